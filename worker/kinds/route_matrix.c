#include "worker/kinds/args.h"
#include "worker/kinds/kinds.h"
#include "worker/kinds/ride_map.h"

/* Two numbers of at most 9 bytes a cell: 50,000 cells stay below the 1 MiB of a result. */
enum { CELLS_MAX = 50000 };

struct matrix {
    uint32_t *from, *to;
    uint32_t from_count, to_count;
    struct mr_graph_cost *costs; /* row by row */
};

static uint32_t *
edges_of(struct millrace_job *job, const char *key, uint32_t *count)
{
    const char *const *ids = millrace_arg_strs(job, key, count);
    uint32_t *edges;

    if (!ids || *count == 0 || *count > CELLS_MAX) {
        millrace_fail_for_good(job, "\"%s\" must be a list of edges, not empty", key);
        return NULL;
    }
    edges = millrace_alloc(job, *count * sizeof *edges);
    if (!edges) {
        millrace_fail_for_good(job, "\"%s\" is too long", key);
        return NULL;
    }
    for (uint32_t i = 0; i < *count; i++) {
        if (!mr_ride_map_edge(job, ids[i], &edges[i]))
            return NULL;
    }
    return edges;
}

static bool
is_cancelled(void *job)
{
    return millrace_is_cancelled(job);
}

static bool
fill(struct millrace_job *job, const struct mr_graph *graph, struct matrix *m)
{
    struct mr_route_search *search = mr_ride_map_search(job, graph);
    bool is_whole = search != NULL;

    for (uint32_t i = 0; i < m->from_count && is_whole; i++) {
        is_whole = !millrace_is_cancelled(job) &&
                   mr_route_costs(search, m->from[i], m->to, m->to_count, is_cancelled,
                       job, m->costs + (size_t)i * m->to_count);
        millrace_progress(job, (i + 1) * 1000 / m->from_count, NULL);
    }
    mr_route_search_destroy(&search);
    return is_whole;
}

static void
put_numbers(
    struct millrace_job *job, const struct matrix *m, const char *name, bool is_ms)
{
    millrace_put_str(job, name);
    millrace_put_array(job, m->from_count);
    for (uint32_t i = 0; i < m->from_count; i++) {
        millrace_put_array(job, m->to_count);
        for (uint32_t k = 0; k < m->to_count; k++) {
            const struct mr_graph_cost *cost = &m->costs[(size_t)i * m->to_count + k];

            if (cost->ms < 0)
                millrace_put_nil(job);
            else
                millrace_put_int(job, is_ms ? cost->ms : cost->cm);
        }
    }
}

static enum millrace_answer
run(struct millrace_job *job)
{
    const struct mr_graph *graph = mr_ride_map_graph(job);
    struct matrix m = {.from = NULL};
    uint64_t cells;

    if (!graph || !(m.from = edges_of(job, "from", &m.from_count)) ||
        !(m.to = edges_of(job, "to", &m.to_count)))
        return MILLRACE_FAILED_FOR_GOOD;
    cells = (uint64_t)m.from_count * m.to_count;
    if (cells <= CELLS_MAX)
        m.costs = millrace_alloc(job, (size_t)cells * sizeof *m.costs);
    if (!m.costs)
        return millrace_fail_for_good(job,
            "%llu cells are too many; ask for at most %d (from times to) at a time",
            (unsigned long long)cells, CELLS_MAX);
    if (!fill(job, graph, &m))
        return millrace_fail(job, "told to stop, or out of memory");
    millrace_put_map(job, 2);
    put_numbers(job, &m, "ms", true);
    put_numbers(job, &m, "cm", false);
    return MILLRACE_SUCCEEDED;
}

const struct millrace_kind mr_kind_route_matrix = {
    .name = "route.matrix",
    .help = "{\"from\":[edge,...],\"to\":[edge,...],\"class\":\"bus\"} -> "
            "{ms:[[...]],cm:[[...]]}",
    .run = run,
    .prepare = mr_ride_map_prepare,
    .dispose = mr_ride_map_dispose,
};
