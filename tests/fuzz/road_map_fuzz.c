/*
 * Any bytes as a SUMO network: refused with a reason, or a map whose every number leads to
 * something that is there, and on which a route can be looked for.
 */
#include "tests/fuzz/fuzz.h"

#include "worker/road/graph.h"
#include "worker/road/road.h"
#include "worker/road/route.h"

const char *const fuzz_seeds[] = {"tests/flagship/grid.net.xml", NULL};

static void
look_at_edges(const struct mr_road *road)
{
    for (uint32_t i = 0; i < mr_road_edges(road); i++) {
        uint32_t lanes, points;
        const struct mr_road_lane *lane = mr_road_lanes(road, i, &lanes);
        const struct mr_road_point *point = mr_road_shape(road, i, &points);
        int64_t sum = 0;

        for (uint32_t k = 0; k < lanes; k++) {
            MR_ASSERT(lane[k].length_cm >= 0 && lane[k].speed_cm_s >= 0);
            sum += lane[k].length_cm;
        }
        for (uint32_t k = 0; k < points; k++)
            sum += point[k].x_cm + point[k].y_cm;
        (void)sum;
        MR_ASSERT(mr_road_find(road, mr_road_id(road, i)) == i);
        MR_ASSERT(mr_road_name(road, i));
    }
    MR_ASSERT(mr_road_find(road, "") == MR_ROAD_NONE);
}

static void
look_at_links(const struct mr_road *road)
{
    uint32_t links, lanes;
    const struct mr_road_link *link = mr_road_links(road, &links);

    for (uint32_t i = 0; i < links; i++) {
        MR_ASSERT(link[i].from < mr_road_edges(road) && link[i].to < mr_road_edges(road));
        (void)mr_road_lanes(road, link[i].from, &lanes);
        MR_ASSERT(link[i].from_lane < lanes);
        (void)mr_road_lanes(road, link[i].to, &lanes);
        MR_ASSERT(link[i].to_lane < lanes);
    }
}

/* The cost of a way is that of its edges, and each leads to the next. */
static void
go(const struct mr_graph *graph, struct mr_route_search *search, uint32_t from,
    uint32_t to)
{
    struct mr_graph_cost sum = {0}, quick;
    struct mr_route way;
    bool is_way = mr_route_find(search, from, to, &way);

    for (uint32_t i = 0; is_way && i < way.count; i++) {
        struct mr_graph_cost edge = mr_graph_edge_cost(graph, way.edges[i]);
        uint32_t count, k = 0;
        const uint32_t *next = mr_graph_next(graph, way.edges[i], &count);

        sum = (struct mr_graph_cost){sum.ms + edge.ms, sum.cm + edge.cm};
        while (i + 1 < way.count && k < count && next[k] != way.edges[i + 1])
            k++;
        MR_ASSERT(i + 1 == way.count || k < count);
    }
    MR_ASSERT(!is_way || (sum.ms == way.cost.ms && sum.cm == way.cost.cm));
    sum = way.cost;
    MR_ASSERT(mr_route_costs(search, from, &to, 1, NULL, NULL, &quick));
    MR_ASSERT(is_way ? quick.ms == sum.ms && quick.cm == sum.cm : quick.ms == -1);
}

static void
drive(const struct mr_road *road)
{
    uint32_t last = mr_road_edges(road) - 1;
    struct mr_route_search *search;
    struct mr_graph *graph;

    MR_ASSERT(mr_graph_new(road, "bus", &graph, NULL) == MR_OK);
    MR_ASSERT(mr_graph_usable_edges(graph) <= mr_road_edges(road));
    MR_ASSERT(mr_route_search_new(graph, &search) == MR_OK);
    go(graph, search, 0, last);
    go(graph, search, last, 0);
    mr_route_search_destroy(&search);
    mr_graph_destroy(&graph);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct mr_err err = {.status = MR_OK};
    struct mr_road *road;
    enum mr_status status = mr_road_load(fuzz_file(0, mr_span(bytes, n)), &road, &err);

    if (status) {
        MR_ASSERT(!road && (status == MR_MALFORMED || status == MR_TOO_BIG));
        MR_ASSERT(err.status == status && err.what[0] && err.why[0] && err.todo[0]);
        return 0;
    }
    MR_ASSERT(mr_road_edges(road) > 0);
    look_at_edges(road);
    look_at_links(road);
    drive(road);
    mr_road_destroy(&road);
    return 0;
}
