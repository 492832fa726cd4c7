/*
 * A road map: the edges, lanes and lane connections of a SUMO network (.net.xml), read once and
 * never changed afterwards, so that any number of threads may look at it. It knows nothing of
 * vehicle classes' routes (graph.h) or fares (fare.h). Lengths are centimetres, speeds
 * centimetres a second, all parsed as decimals into integers.
 *
 * Only edges without a `function` or with "normal" are kept; junction interiors, crossings and
 * walking areas are skipped. Edges are numbered by their ids in byte order.
 */
#ifndef MR_ROAD_ROAD_H
#define MR_ROAD_ROAD_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/status.h"

#define MR_ROAD_NONE UINT32_MAX

struct mr_road;

struct mr_road_point {
    int32_t x_cm, y_cm; /* y grows to the north */
};

struct mr_road_lane {
    uint64_t classes; /* bit n: usable by mr_road_class n */
    int64_t length_cm;
    int64_t speed_cm_s;
};

/* One permitted movement from a lane to a lane. */
struct mr_road_link {
    uint32_t from, to; /* edges */
    uint8_t from_lane, to_lane;
};

/*
 * Read a map. MR_NOT_FOUND: the file cannot be opened. MR_MALFORMED: it is not a SUMO network,
 * has broken XML, a bad number or no edges. MR_TOO_BIG: over 2 million edges or 8 million
 * connections. `err` names file, line and cause. The file is streamed; expat bounds what
 * entities may grow to.
 */
enum mr_status mr_road_load(
    const char *path, struct mr_road **out, struct mr_err *err) MR_MUST_CHECK;
void mr_road_destroy(struct mr_road **road);

uint32_t mr_road_edges(const struct mr_road *road);
uint32_t mr_road_junctions(const struct mr_road *road);    /* internal ones not counted */
uint32_t mr_road_street_names(const struct mr_road *road); /* different ones */

/* The edge with that id, or MR_ROAD_NONE. O(log n). */
uint32_t mr_road_find(const struct mr_road *road, const char *id);

/* All borrowed from the map; `edge` must be below mr_road_edges(). NULL where there are none. */
const char *mr_road_id(const struct mr_road *road, uint32_t edge);
const char *mr_road_name(
    const struct mr_road *road, uint32_t edge); /* "" if it has none */
/* The middle line of its innermost lane, for drawing. */
const struct mr_road_point *mr_road_shape(
    const struct mr_road *road, uint32_t edge, uint32_t *points);
/* By lane index, 0 is the outermost. */
const struct mr_road_lane *mr_road_lanes(
    const struct mr_road *road, uint32_t edge, uint32_t *lanes);
const struct mr_road_link *mr_road_links(const struct mr_road *road, uint32_t *links);

/* SUMO's vehicle classes by name ("bus", "passenger", ...): 0..63, or -1 for an unknown one. */
int mr_road_class(const char *name);

#endif
