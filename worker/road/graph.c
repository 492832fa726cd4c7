#include "worker/road/graph.h"

#include <stdlib.h>
#include <string.h>

struct mr_graph {
    const struct mr_road *road;
    struct mr_graph_cost *costs; /* by edge; ms < 0: not usable */
    uint32_t *first; /* by edge, one more than there are: its turns in next[] */
    uint32_t *next;
    uint64_t class_bit;
    uint32_t usable_edges;
    int64_t length_cm;
};

/* Lowest lane's length, fastest lane's speed, of those that are usable. */
static struct mr_graph_cost
cost_of(const struct mr_graph *g, uint32_t edge)
{
    uint32_t count;
    const struct mr_road_lane *lanes = mr_road_lanes(g->road, edge, &count);
    int64_t length = -1, speed = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (!(lanes[i].classes & g->class_bit))
            continue;
        if (length < 0)
            length = lanes[i].length_cm;
        if (lanes[i].speed_cm_s > speed)
            speed = lanes[i].speed_cm_s;
    }
    if (length < 0 || speed == 0)
        return (struct mr_graph_cost){.ms = -1};
    return (struct mr_graph_cost){
        .ms = (2000 * length + speed) / (2 * speed),
        .cm = length,
    };
}

static bool
is_lane_usable(const struct mr_graph *g, uint32_t edge, uint8_t lane)
{
    uint32_t count;

    return mr_road_lanes(g->road, edge, &count)[lane].classes & g->class_bit;
}

static bool
is_turn(const struct mr_graph *g, const struct mr_road_link *link)
{
    return mr_graph_is_usable(g, link->from) && mr_graph_is_usable(g, link->to) &&
           is_lane_usable(g, link->from, link->from_lane) &&
           is_lane_usable(g, link->to, link->to_lane);
}

static bool
has_turn(const uint32_t *turns, uint32_t count, uint32_t to)
{
    for (uint32_t i = 0; i < count; i++) {
        if (turns[i] == to)
            return true;
    }
    return false;
}

/* Gather the turns by the edge they leave (a counting sort; filled[] counts what each has so
 * far), let each pair stand once (many lanes' connections make one turn), close the gaps. */
static void
fill_turns(struct mr_graph *g, const struct mr_road_link *links, uint32_t count,
    uint32_t *filled)
{
    uint32_t edges = mr_road_edges(g->road);
    uint32_t written = 0;

    for (uint32_t i = 0; i < count; i++)
        g->first[links[i].from + 1] += is_turn(g, &links[i]);
    for (uint32_t e = 0; e < edges; e++)
        g->first[e + 1] += g->first[e];
    for (uint32_t i = 0; i < count; i++) {
        uint32_t from = links[i].from;
        uint32_t *turns = g->next + g->first[from];

        if (is_turn(g, &links[i]) && !has_turn(turns, filled[from], links[i].to))
            turns[filled[from]++] = links[i].to;
    }
    for (uint32_t e = 0; e < edges; e++) {
        memmove(g->next + written, g->next + g->first[e], filled[e] * sizeof *g->next);
        g->first[e] = written;
        written += filled[e];
    }
    g->first[edges] = written;
}

enum mr_status
mr_graph_new(const struct mr_road *road, const char *vehicle_class, struct mr_graph **out,
    struct mr_err *err)
{
    int class = mr_road_class(vehicle_class);
    uint32_t count, edges = mr_road_edges(road);
    const struct mr_road_link *links = mr_road_links(road, &count);
    uint32_t *filled = NULL;
    struct mr_graph *g;

    *out = NULL;
    if (class < 0)
        return mr_err_setf(err, MR_BAD_ARGUMENT, "unknown vehicle class",
            "Use one of SUMO's classes, such as bus, passenger, taxi, delivery, bicycle.",
            "there is no class \"%.64s\"", vehicle_class ? vehicle_class : "");
    g = calloc(1, sizeof *g);
    if (!g)
        goto fail;
    g->road = road;
    g->class_bit = UINT64_C(1) << class;
    g->costs = calloc(edges, sizeof *g->costs);
    g->first = calloc((size_t)edges + 1, sizeof *g->first);
    g->next = calloc(count ? count : 1, sizeof *g->next);
    filled = calloc(edges, sizeof *filled);
    if (!g->costs || !g->first || !g->next || !filled)
        goto fail;
    for (uint32_t e = 0; e < edges; e++) {
        g->costs[e] = cost_of(g, e);
        if (g->costs[e].ms >= 0) {
            g->usable_edges++;
            g->length_cm += g->costs[e].cm;
        }
    }
    fill_turns(g, links, count, filled);
    free(filled);
    *out = g;
    return MR_OK;
fail:
    free(filled);
    mr_graph_destroy(&g);
    return mr_err_set(err, MR_NO_MEMORY, "cannot prepare the map", "out of memory", NULL);
}

void
mr_graph_destroy(struct mr_graph **graph)
{
    if (!*graph)
        return;
    free((*graph)->costs);
    free((*graph)->first);
    free((*graph)->next);
    free(*graph);
    *graph = NULL;
}

const struct mr_road *
mr_graph_road(const struct mr_graph *graph)
{
    return graph->road;
}

bool
mr_graph_is_usable(const struct mr_graph *graph, uint32_t edge)
{
    return graph->costs[edge].ms >= 0;
}

struct mr_graph_cost
mr_graph_edge_cost(const struct mr_graph *graph, uint32_t edge)
{
    return graph->costs[edge];
}

const uint32_t *
mr_graph_next(const struct mr_graph *graph, uint32_t edge, uint32_t *count)
{
    *count = graph->first[edge + 1] - graph->first[edge];
    return graph->next + graph->first[edge];
}

uint32_t
mr_graph_usable_edges(const struct mr_graph *graph)
{
    return graph->usable_edges;
}

uint32_t
mr_graph_turns(const struct mr_graph *graph)
{
    return graph->first[mr_road_edges(graph->road)];
}

int64_t
mr_graph_length_cm(const struct mr_graph *graph)
{
    return graph->length_cm;
}
