/*
 * A picture of the map: all streets thin and grey, those that rides have used coloured and as
 * wide as they were used, stops with their names, a legend, where the data comes from. One thread.
 */
#ifndef MR_FLAGSHIP_MAP_SVG_H
#define MR_FLAGSHIP_MAP_SVG_H

#include <stdint.h>

#include "schemas/base/status.h"
#include "schemas/sql/pg.h"
#include "worker/road/graph.h"
#include "worker/road/rides.h"

struct mr_map_svg {
    const struct mr_graph *graph; /* of the rides' class */
    const uint32_t *uses;         /* by edge: rides that went over it */
    const struct mr_rides_stop *stops;
    uint32_t stop_count;
    const char *title;
    const char *attribution; /* "(c) OpenStreetMap contributors" or what the map needs */
};

/* Count how many done rides went over each edge, from the results of their route.plan jobs:
 * uses has mr_road_edges(road) numbers. Edges that the map does not have are MR_MALFORMED. */
enum mr_status mr_map_svg_uses(struct mr_pg *pg, const struct mr_road *road,
    uint32_t *uses, struct mr_err *err) MR_MUST_CHECK;

/* Write the picture; it appears whole or not at all. MR_DENIED if it cannot be written. */
enum mr_status mr_map_svg_write(
    const char *path, const struct mr_map_svg *map, struct mr_err *err) MR_MUST_CHECK;

#endif
