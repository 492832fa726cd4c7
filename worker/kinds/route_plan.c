#include "worker/kinds/args.h"
#include "worker/kinds/kinds.h"
#include "worker/kinds/ride_map.h"

static void
put(struct millrace_job *job, const struct mr_graph *graph, const struct mr_route *route)
{
    millrace_put_map(job, 3);
    millrace_put_str(job, "ms");
    millrace_put_int(job, route->cost.ms);
    millrace_put_str(job, "cm");
    millrace_put_int(job, route->cost.cm);
    millrace_put_str(job, "edges");
    millrace_put_array(job, route->count);
    for (uint32_t i = 0; i < route->count; i++)
        millrace_put_str(job, mr_road_id(mr_graph_road(graph), route->edges[i]));
}

static enum millrace_answer
run(struct millrace_job *job)
{
    const struct mr_graph *graph = mr_ride_map_graph(job);
    struct mr_route_search *search;
    struct mr_route route;
    const char *from, *to;
    uint32_t a, b;

    if (!graph || !mr_args_str(job, "from", NULL, 200, &from) ||
        !mr_args_str(job, "to", NULL, 200, &to) || !mr_ride_map_edge(job, from, &a) ||
        !mr_ride_map_edge(job, to, &b))
        return MILLRACE_FAILED_FOR_GOOD;
    search = mr_ride_map_search(job, graph);
    if (!search)
        return MILLRACE_FAILED;
    if (mr_route_find(search, a, b, &route))
        put(job, graph, &route);
    else
        millrace_put_nil(job);
    mr_route_search_destroy(&search);
    return MILLRACE_SUCCEEDED;
}

const struct millrace_kind mr_kind_route_plan = {
    .name = "route.plan",
    .help = "{\"from\":edge,\"to\":edge,\"class\":\"bus\"} -> {ms,cm,edges}, nil if "
            "there is no way",
    .run = run,
    .prepare = mr_ride_map_prepare,
    .dispose = mr_ride_map_dispose,
};
