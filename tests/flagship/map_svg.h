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

/* How many rides went over each edge, and over each turn (in the order of mr_graph_next, all
 * edges' turns behind each other). */
struct mr_map_svg_uses {
    uint32_t *edges, *turns;
};

struct mr_map_svg {
    const struct mr_graph *graph; /* of the rides' class */
    struct mr_map_svg_uses uses;
    const struct mr_rides_stop *stops; /* may be none */
    uint32_t stop_count;
    const char *title;
    const char *attribution; /* "© OpenStreetMap contributors" or what the map needs */
};

/* Count the done rides, from the results of their route.plan jobs. An edge that is not on the map
 * is MR_MALFORMED. */
enum mr_status mr_map_svg_uses_read(struct mr_pg *pg, const struct mr_graph *graph,
    struct mr_map_svg_uses *uses, struct mr_err *err) MR_MUST_CHECK;
void mr_map_svg_uses_free(struct mr_map_svg_uses *uses);

/* Write the picture; it appears whole or not at all. MR_DENIED if it cannot be written. */
enum mr_status mr_map_svg_write(
    const char *path, const struct mr_map_svg *map, struct mr_err *err) MR_MUST_CHECK;

#endif
