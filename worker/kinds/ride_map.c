#include "worker/kinds/ride_map.h"

#include "worker/kinds/args.h"

#include <stdatomic.h>
#include <stdio.h>

enum { CLASSES_MAX = 64 };

static struct mr_road *road;
static unsigned users;
/* By class. Whoever makes one first puts it in place; others drop theirs. */
static struct mr_graph *_Atomic graphs[CLASSES_MAX];

bool
mr_ride_map_prepare(const struct millrace_host *host, char *why, size_t why_bytes)
{
    const char *path = millrace_host_setting(host, "map");
    struct mr_err err = {.status = MR_OK};

    if (users > 0) {
        users++;
        return true;
    }
    if (!path || !*path) {
        snprintf(why, why_bytes,
            "there is no road map: set `map` to a SUMO network file (*.net.xml)");
        return false;
    }
    if (mr_road_load(path, &road, &err)) {
        snprintf(why, why_bytes, "%s: %s. %s", err.what, err.why, err.todo);
        return false;
    }
    users = 1;
    return true;
}

void
mr_ride_map_dispose(void)
{
    if (users == 0 || --users > 0)
        return;
    for (size_t i = 0; i < CLASSES_MAX; i++) {
        struct mr_graph *graph = atomic_exchange(&graphs[i], NULL);

        mr_graph_destroy(&graph);
    }
    mr_road_destroy(&road);
}

const struct mr_graph *
mr_ride_map_graph_of(struct millrace_job *job, const char *class_name)
{
    int class = mr_road_class(class_name);
    struct mr_graph *made, *there = NULL;
    struct mr_err err;

    if (class >= 0)
        there = atomic_load(&graphs[class]);
    if (there)
        return there;
    if (mr_graph_new(road, class_name, &made, &err)) {
        millrace_fail_for_good(job, "%s: %s. %s", err.what, err.why, err.todo);
        return NULL;
    }
    if (atomic_compare_exchange_strong(&graphs[class], &there, made))
        return made;
    mr_graph_destroy(&made);
    return there;
}

const struct mr_graph *
mr_ride_map_graph(struct millrace_job *job)
{
    const char *class_name;

    return mr_args_str(job, "class", "bus", 32, &class_name)
               ? mr_ride_map_graph_of(job, class_name)
               : NULL;
}

bool
mr_ride_map_edge(struct millrace_job *job, const char *id, uint32_t *edge)
{
    *edge = mr_road_find(road, id);
    if (*edge != MR_ROAD_NONE)
        return true;
    millrace_fail_for_good(job, "there is no edge \"%.100s\" on this map", id);
    return false;
}

struct mr_route_search *
mr_ride_map_search(struct millrace_job *job, const struct mr_graph *graph)
{
    struct mr_route_search *search;

    if (mr_route_search_new(graph, &search) == MR_OK)
        return search;
    millrace_fail(job, "out of memory");
    return NULL;
}
