/* What the loader fills and the map reads; only for siblings in worker/road. */
#ifndef MR_ROAD_ROAD_PRIV_H
#define MR_ROAD_ROAD_PRIV_H

#include "worker/road/road.h"

#include <stddef.h>

struct mr_road_edge {
    size_t id, name; /* offsets in text */
    uint32_t lane, lanes;
    uint32_t point, points;
};

struct mr_road {
    struct mr_road_edge *edges; /* sorted by id */
    struct mr_road_lane *lanes;
    struct mr_road_point *points;
    struct mr_road_link *links;
    char *text;
    uint32_t edge_count, lane_count, point_count, link_count;
    uint32_t junctions, street_names;
};

/* The bits of a blank-separated list of class names. "all" is every bit; names that we do not
 * know are other programs' classes and set none. */
uint64_t mr_road_class_bits(const char *list);

#endif
