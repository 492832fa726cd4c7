#include "worker/road/route.h"

#include <stdlib.h>
#include <string.h>

enum { STOP_EVERY = 4096 };

/* What is known of an edge in the search number `round`; older rounds count as nothing. */
struct seen {
    struct mr_graph_cost cost;
    uint32_t before; /* the edge it was reached from */
    uint32_t heap;   /* place in the heap */
    uint32_t round;
    bool is_settled;
};

struct mr_route_search {
    const struct mr_graph *graph;
    struct seen *seen;
    uint32_t *heap; /* edges; each at most once, so it never outgrows the map */
    uint32_t heap_count;
    uint32_t *path;
    uint32_t *wanted; /* round in which this edge is a target */
    uint32_t round;
    uint32_t edges;
};

enum mr_status
mr_route_search_new(const struct mr_graph *graph, struct mr_route_search **out)
{
    struct mr_route_search *s = calloc(1, sizeof *s);

    *out = NULL;
    if (!s)
        return MR_NO_MEMORY;
    s->graph = graph;
    s->edges = mr_road_edges(mr_graph_road(graph));
    s->seen = calloc(s->edges, sizeof *s->seen);
    s->heap = calloc(s->edges, sizeof *s->heap);
    s->path = calloc(s->edges, sizeof *s->path);
    s->wanted = calloc(s->edges, sizeof *s->wanted);
    if (!s->seen || !s->heap || !s->path || !s->wanted) {
        mr_route_search_destroy(&s);
        return MR_NO_MEMORY;
    }
    *out = s;
    return MR_OK;
}

void
mr_route_search_destroy(struct mr_route_search **search)
{
    struct mr_route_search *s = *search;

    if (!s)
        return;
    free(s->seen);
    free(s->heap);
    free(s->path);
    free(s->wanted);
    free(s);
    *search = NULL;
}

static bool
is_less(struct mr_graph_cost a, struct mr_graph_cost b)
{
    return a.ms < b.ms || (a.ms == b.ms && a.cm < b.cm);
}

static void
place(struct mr_route_search *s, uint32_t at, uint32_t edge)
{
    s->heap[at] = edge;
    s->seen[edge].heap = at;
}

static void
sift_up(struct mr_route_search *s, uint32_t at)
{
    uint32_t edge = s->heap[at];

    while (at > 0) {
        uint32_t parent = (at - 1) / 2;

        if (!is_less(s->seen[edge].cost, s->seen[s->heap[parent]].cost))
            break;
        place(s, at, s->heap[parent]);
        at = parent;
    }
    place(s, at, edge);
}

static uint32_t
pop(struct mr_route_search *s)
{
    uint32_t top = s->heap[0];
    uint32_t edge = s->heap[--s->heap_count];
    uint32_t at = 0;

    for (uint32_t child = 1; child < s->heap_count; child = 2 * at + 1) {
        if (child + 1 < s->heap_count &&
            is_less(s->seen[s->heap[child + 1]].cost, s->seen[s->heap[child]].cost))
            child++;
        if (!is_less(s->seen[s->heap[child]].cost, s->seen[edge].cost))
            break;
        place(s, at, s->heap[child]);
        at = child;
    }
    if (s->heap_count > 0)
        place(s, at, edge);
    return top;
}

static void
reach(
    struct mr_route_search *s, uint32_t edge, uint32_t before, struct mr_graph_cost until)
{
    struct mr_graph_cost own = mr_graph_edge_cost(s->graph, edge);
    struct mr_graph_cost cost = {.ms = until.ms + own.ms, .cm = until.cm + own.cm};
    struct seen *e = &s->seen[edge];
    bool is_new = e->round != s->round;

    if (!is_new && (e->is_settled || !is_less(cost, e->cost)))
        return;
    *e =
        (struct seen){.cost = cost, .before = before, .heap = e->heap, .round = s->round};
    if (is_new) {
        s->heap[s->heap_count] = edge;
        e->heap = s->heap_count++;
    }
    sift_up(s, e->heap);
}

static void
begin(struct mr_route_search *s)
{
    s->heap_count = 0;
    if (++s->round == 0) {
        memset(s->seen, 0, s->edges * sizeof *s->seen);
        memset(s->wanted, 0, s->edges * sizeof *s->wanted);
        s->round = 1;
    }
}

static uint32_t
want(struct mr_route_search *s, const uint32_t *to, uint32_t count)
{
    uint32_t different = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (s->wanted[to[i]] != s->round && mr_graph_is_usable(s->graph, to[i])) {
            s->wanted[to[i]] = s->round;
            different++;
        }
    }
    return different;
}

/* Settle edges in the order of their cost until all targets are. False: told to stop. */
static bool
search(struct mr_route_search *s, uint32_t from, uint32_t targets, mr_route_stop_fn stop,
    void *context)
{
    uint32_t settled = 0;

    if (mr_graph_is_usable(s->graph, from))
        reach(s, from, MR_ROAD_NONE, (struct mr_graph_cost){0});
    while (s->heap_count > 0 && targets > 0) {
        uint32_t count, edge = pop(s);
        const uint32_t *next = mr_graph_next(s->graph, edge, &count);

        s->seen[edge].is_settled = true;
        targets -= s->wanted[edge] == s->round;
        for (uint32_t i = 0; i < count; i++)
            reach(s, next[i], edge, s->seen[edge].cost);
        if (++settled % STOP_EVERY == 0 && stop && stop(context))
            return false;
    }
    return true;
}

static bool
is_reached(const struct mr_route_search *s, uint32_t edge)
{
    return s->seen[edge].round == s->round && s->seen[edge].is_settled;
}

bool
mr_route_find(struct mr_route_search *s, uint32_t from, uint32_t to, struct mr_route *out)
{
    uint32_t at = s->edges;

    *out = (struct mr_route){.count = 0};
    begin(s);
    if (!search(s, from, want(s, &to, 1), NULL, NULL) || !is_reached(s, to))
        return false;
    for (uint32_t e = to; e != MR_ROAD_NONE; e = s->seen[e].before)
        s->path[--at] = e;
    out->cost = s->seen[to].cost;
    out->edges = s->path + at;
    out->count = s->edges - at;
    return true;
}

bool
mr_route_costs(struct mr_route_search *s, uint32_t from, const uint32_t *to,
    uint32_t count, mr_route_stop_fn stop, void *context, struct mr_graph_cost *costs)
{
    begin(s);
    if (!search(s, from, want(s, to, count), stop, context))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        bool is_found = is_reached(s, to[i]);

        costs[i] =
            is_found ? s->seen[to[i]].cost : (struct mr_graph_cost){.ms = -1, .cm = -1};
    }
    return true;
}
