/*
 * What the flagship drives: the map, the requests on it and where the vehicles stand. Either the
 * real scenario (its own request list, whose totals are published), the small grid that stands
 * in for it, or any other map with requests drawn from a fixed seed between streets of its
 * largest part in which everything reaches everything. One thread.
 */
#ifndef MR_FLAGSHIP_DEMO_PLAN_H
#define MR_FLAGSHIP_DEMO_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/status.h"
#include "worker/road/graph.h"
#include "worker/road/rides.h"

#define MR_DEMO_VEHICLES 12

struct mr_demo_request {
    uint32_t from, to; /* edges of the map */
    int64_t depart_ms; /* since the scenario's start, real time */
    char rider[32];
};

struct mr_demo_plan {
    char map_path[4096];
    struct mr_road *road;
    struct mr_graph *graph;
    struct mr_rides *rides; /* the scenario's stops; NULL for generated requests */
    const char *vehicle_class;
    struct mr_demo_request *requests;
    uint32_t count;
    bool is_published; /* its totals are known from outside */
    bool is_generated; /* the requests are ours */
    uint32_t vehicle_edges[MR_DEMO_VEHICLES];
};

/* `folder` holds what fetch_map.sh puts there. */
enum mr_status mr_demo_plan_load_scenario(
    struct mr_demo_plan *plan, const char *folder, struct mr_err *err) MR_MUST_CHECK;

/* Any SUMO network; `count` requests. MR_BAD_ARGUMENT if nothing on it can be driven. */
enum mr_status mr_demo_plan_load_map(struct mr_demo_plan *plan, const char *path,
    uint32_t count, struct mr_err *err) MR_MUST_CHECK;

/* Frees everything; fine on a zeroed one. */
void mr_demo_plan_fini(struct mr_demo_plan *plan);

#endif
