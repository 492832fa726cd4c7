/*
 * The quickest way over a graph: Dijkstra over edges (turns exist between edges, so junctions
 * are not enough), least milliseconds first, least centimetres among equals. A path costs all
 * its edges, the first and the last in full; from = to is that edge once.
 *
 * A search owns its memory (about 40 bytes an edge) and may be used again and again, by one
 * thread at a time. Results borrow from it until its next use.
 */
#ifndef MR_ROAD_ROUTE_H
#define MR_ROAD_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/status.h"
#include "worker/road/graph.h"

struct mr_route_search;

/* The graph must outlive the search. */
enum mr_status mr_route_search_new(
    const struct mr_graph *graph, struct mr_route_search **out) MR_MUST_CHECK;
void mr_route_search_destroy(struct mr_route_search **search);

/* Asked from time to time while searching: true stops the search. */
typedef bool (*mr_route_stop_fn)(void *context);

struct mr_route {
    struct mr_graph_cost cost;
    const uint32_t *edges;
    uint32_t count;
};

/*
 * One way. False: there is none, or an end is closed to the class. Both must be edges of the map.
 */
bool mr_route_find(
    struct mr_route_search *search, uint32_t from, uint32_t to, struct mr_route *out);

/*
 * From one edge to many, in one search: costs[i] belongs to to[i], ms = -1 where there is no
 * way. False: `stop` said so (it may be NULL) and nothing is known.
 */
bool mr_route_costs(struct mr_route_search *search, uint32_t from, const uint32_t *to,
    uint32_t count, mr_route_stop_fn stop, void *context, struct mr_graph_cost *costs);

#endif
