/*
 * The map as one vehicle class sees it: which edges it may use, what they cost, and which turns
 * exist between them. Made once, read by any thread.
 *
 * Rules (any correct router agrees to the millisecond): a lane is usable if its allow list
 * names the class, or it has none and its disallow list does not; an edge is usable if a lane of
 * it is; its length is that of its lowest usable lane, its speed that of its fastest one; it
 * costs (2000 L + S) / (2 S) ms with L in cm and S in cm/s, in integers, which is L / S
 * rounded half up. A turn exists if some connection joins two usable lanes. An edge whose fastest
 * usable lane has speed 0 is closed.
 */
#ifndef MR_ROAD_GRAPH_H
#define MR_ROAD_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/status.h"
#include "worker/road/road.h"

struct mr_graph;

struct mr_graph_cost {
    int64_t ms, cm;
};

/* The map must outlive the graph. MR_BAD_ARGUMENT for a class that SUMO does not have. */
enum mr_status mr_graph_new(const struct mr_road *road, const char *vehicle_class,
    struct mr_graph **out, struct mr_err *err) MR_MUST_CHECK;
void mr_graph_destroy(struct mr_graph **graph);

const struct mr_road *mr_graph_road(const struct mr_graph *graph);
bool mr_graph_is_usable(const struct mr_graph *graph, uint32_t edge);
struct mr_graph_cost mr_graph_edge_cost(const struct mr_graph *graph, uint32_t edge);

/* Where one may go after `edge`; borrowed. */
const uint32_t *mr_graph_next(
    const struct mr_graph *graph, uint32_t edge, uint32_t *count);

/* Totals over the usable part. */
uint32_t mr_graph_usable_edges(const struct mr_graph *graph);
uint32_t mr_graph_turns(const struct mr_graph *graph);
int64_t mr_graph_length_cm(const struct mr_graph *graph);

#endif
