#include "worker/road/road.h"

#include "worker/road/road_priv.h"

#include <stdlib.h>
#include <string.h>

/* As listed in SUMO's documentation of abstract vehicle classes; the place is the bit. */
static const char *const classes[] = {"private", "emergency", "authority", "army", "vip",
    "pedestrian", "passenger", "hov", "taxi", "bus", "coach", "delivery", "truck",
    "trailer", "motorcycle", "moped", "bicycle", "evehicle", "tram", "rail_urban", "rail",
    "rail_electric", "rail_fast", "ship", "custom1", "custom2", "container", "cable_car",
    "subway", "aircraft", "wheelchair", "scooter", "drone"};

_Static_assert(sizeof classes / sizeof classes[0] <= 64, "one bit for each class");

static int
class_of(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        if (strlen(classes[i]) == n && memcmp(classes[i], name, n) == 0)
            return (int)i;
    }
    return -1;
}

int
mr_road_class(const char *name)
{
    return name ? class_of(name, strlen(name)) : -1;
}

uint64_t
mr_road_class_bits(const char *list)
{
    uint64_t bits = 0;

    while (*list) {
        size_t n = strcspn(list, " \t\r\n");
        int class = class_of(list, n);

        if (n == 3 && memcmp(list, "all", 3) == 0)
            bits = UINT64_MAX;
        else if (class >= 0)
            bits |= UINT64_C(1) << class;
        list += n;
        list += strspn(list, " \t\r\n");
    }
    return bits;
}

void
mr_road_destroy(struct mr_road **road)
{
    struct mr_road *r = *road;

    if (!r)
        return;
    free(r->edges);
    free(r->lanes);
    free(r->points);
    free(r->links);
    free(r->text);
    free(r);
    *road = NULL;
}

uint32_t
mr_road_edges(const struct mr_road *road)
{
    return road->edge_count;
}

uint32_t
mr_road_junctions(const struct mr_road *road)
{
    return road->junctions;
}

uint32_t
mr_road_street_names(const struct mr_road *road)
{
    return road->street_names;
}

uint32_t
mr_road_find(const struct mr_road *road, const char *id)
{
    uint32_t low = 0, high = road->edge_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = strcmp(road->text + road->edges[middle].id, id);

        if (order == 0)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return MR_ROAD_NONE;
}

const char *
mr_road_id(const struct mr_road *road, uint32_t edge)
{
    return road->text + road->edges[edge].id;
}

const char *
mr_road_name(const struct mr_road *road, uint32_t edge)
{
    return road->text + road->edges[edge].name;
}

const struct mr_road_point *
mr_road_shape(const struct mr_road *road, uint32_t edge, uint32_t *points)
{
    *points = road->edges[edge].points;
    /* Of a map without any shape there are no points to count from. */
    return *points ? road->points + road->edges[edge].point : NULL;
}

const struct mr_road_lane *
mr_road_lanes(const struct mr_road *road, uint32_t edge, uint32_t *lanes)
{
    *lanes = road->edges[edge].lanes;
    return *lanes ? road->lanes + road->edges[edge].lane : NULL;
}

const struct mr_road_link *
mr_road_links(const struct mr_road *road, uint32_t *links)
{
    *links = road->link_count;
    return road->links;
}
