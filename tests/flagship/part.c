#include "tests/flagship/part.h"

#include <stdlib.h>
#include <string.h>

/*
 * Tarjan's algorithm with a stack of our own, because a map may be deeper than a thread's stack:
 * `path` is the walk from the root, `open` the edges whose part is not known yet. An edge that
 * reaches nothing older than itself closes a part: everything above it in `open`.
 */

struct walk {
    const struct mr_graph *graph;
    uint32_t edges;
    uint32_t *memory;
    uint32_t *order; /* when it was first seen, from 1; 0: never */
    uint32_t *low;   /* the oldest open edge it reaches */
    uint32_t *part;  /* 0: open or unseen */
    uint32_t *turn;  /* which way to try next */
    uint32_t *path, *open;
    uint32_t path_n, open_n, seen, parts;
};

static void
enter(struct walk *w, uint32_t edge)
{
    w->order[edge] = w->low[edge] = ++w->seen;
    w->path[w->path_n++] = edge;
    w->open[w->open_n++] = edge;
}

static void
close_part(struct walk *w, uint32_t root)
{
    uint32_t edge;

    w->parts++;
    do {
        edge = w->open[--w->open_n];
        w->part[edge] = w->parts;
    } while (edge != root);
}

static void
leave(struct walk *w, uint32_t edge)
{
    w->path_n--;
    if (w->low[edge] == w->order[edge])
        close_part(w, edge);
    if (w->path_n > 0) {
        uint32_t before = w->path[w->path_n - 1];

        if (w->low[edge] < w->low[before])
            w->low[before] = w->low[edge];
    }
}

static void
explore(struct walk *w, uint32_t root)
{
    enter(w, root);
    while (w->path_n > 0) {
        uint32_t edge = w->path[w->path_n - 1], count;
        const uint32_t *next = mr_graph_next(w->graph, edge, &count);

        if (w->turn[edge] == count) {
            leave(w, edge);
            continue;
        }
        next += w->turn[edge]++;
        if (w->order[*next] == 0)
            enter(w, *next);
        else if (w->part[*next] == 0 && w->order[*next] < w->low[edge])
            w->low[edge] = w->order[*next];
    }
}

/* The number of the largest part, the one with the smallest edge among equals; 0: none. */
static uint32_t
largest(struct walk *w)
{
    uint32_t *sizes =
        w->low; /* not needed any more; there are no more parts than edges */
    uint32_t best = 0;

    memset(sizes, 0, w->edges * sizeof *sizes);
    for (uint32_t edge = 0; edge < w->edges; edge++) {
        if (w->part[edge] > 0)
            sizes[w->part[edge] - 1]++;
    }
    for (uint32_t edge = 0; edge < w->edges; edge++) {
        if (w->part[edge] > 0 &&
            (best == 0 || sizes[w->part[edge] - 1] > sizes[best - 1]))
            best = w->part[edge];
    }
    return best;
}

enum mr_status
mr_part_largest(const struct mr_graph *graph, uint32_t **edges, uint32_t *count)
{
    struct walk w = {.graph = graph, .edges = mr_road_edges(mr_graph_road(graph))};
    uint32_t n = 0, best;

    w.memory = calloc((size_t)w.edges * 6 + 1, sizeof *w.memory);
    if (!w.memory)
        return MR_NO_MEMORY;
    w.order = w.memory;
    w.low = w.order + w.edges;
    w.part = w.low + w.edges;
    w.turn = w.part + w.edges;
    w.path = w.turn + w.edges;
    w.open = w.path + w.edges;
    for (uint32_t edge = 0; edge < w.edges; edge++) {
        if (mr_graph_is_usable(graph, edge) && w.order[edge] == 0)
            explore(&w, edge);
    }
    best = largest(&w);
    /* The memory becomes the answer: what is written never overtakes what is still read. */
    for (uint32_t edge = 0; edge < w.edges; edge++) {
        if (best > 0 && w.part[edge] == best)
            w.memory[n++] = edge;
    }
    if (n == 0)
        free(w.memory);
    else
        *edges = w.memory;
    *count = n;
    return n ? MR_OK : MR_BAD_ARGUMENT;
}
