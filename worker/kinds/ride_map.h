/*
 * The road map of the worker's setting `map`, read once per process and shared by the kinds that
 * need streets; and one graph for each vehicle class, made when it is first asked for.
 */
#ifndef MR_KINDS_RIDE_MAP_H
#define MR_KINDS_RIDE_MAP_H

#include "worker/millrace_worker.h"
#include "worker/road/route.h"

/* For `prepare` and `dispose` of a kind; main thread. The last dispose frees the map. */
bool mr_ride_map_prepare(const struct millrace_host *host, char *why, size_t why_bytes);
void mr_ride_map_dispose(void);

/* Any executor. Each false (NULL) has recorded why. */

/* The graph of the argument "class" (default "bus"). */
const struct mr_graph *mr_ride_map_graph(struct millrace_job *job);
const struct mr_graph *mr_ride_map_graph_of(
    struct millrace_job *job, const char *class_name);
bool mr_ride_map_edge(struct millrace_job *job, const char *id, uint32_t *edge);
/* NULL without memory; destroy it before the handler returns. */
struct mr_route_search *mr_ride_map_search(
    struct millrace_job *job, const struct mr_graph *graph);

#endif
