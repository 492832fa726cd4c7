#include "worker/road/road_priv.h"

#include "worker/road/decimal.h"

#include <expat.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    EDGES_MAX = 2000000,
    LANES_MAX = 8000000,
    LINKS_MAX = 8000000,
    POINTS_MAX = 64000000,
    EDGE_LANES_MAX = 255,
    TEXT_MAX = 1 << 30,
    CHUNK = 1 << 16,
};

/* So that a whole path of the largest map stays below 2^63 ms: 2e6 edges * 1e12 ms. */
#define LENGTH_CM_MAX INT64_C(1000000000)

struct raw_edge {
    struct mr_road_edge edge;
    uint32_t line;
    bool is_kept;
};

struct raw_link {
    size_t from, to; /* offsets in the loader's own text */
    uint8_t from_lane, to_lane;
    uint32_t line;
};

struct text {
    char *p;
    size_t n, cap;
};

struct loader {
    const char *path;
    XML_Parser parser;
    struct mr_road *road;
    struct raw_edge *edges;
    struct raw_link *links;
    struct text names,
        ends; /* kept with the map; ends of links, until they are resolved */
    uint32_t edge_count, edge_cap, lane_cap, point_cap, link_count, link_cap;
    bool is_in_edge, has_root;
    enum mr_status status;
    struct mr_err *err;
};

static void
refuse(struct loader *l, enum mr_status status, uint32_t line, const char *cause,
    const char *detail)
{
    char what[160];

    if (l->status)
        return;
    snprintf(what, sizeof what, "cannot read the map %.120s", l->path);
    l->status = mr_err_setf(l->err, status, what,
        "Give a SUMO network file (*.net.xml), as netconvert writes it.",
        "line %u: %s%s%.200s", line, cause, detail ? ": " : "", detail ? detail : "");
    if (l->parser)
        XML_StopParser(l->parser, XML_FALSE);
}

static uint32_t
line_now(const struct loader *l)
{
    return (uint32_t)XML_GetCurrentLineNumber(l->parser);
}

static void
refuse_here(struct loader *l, const char *cause, const char *detail)
{
    refuse(l, MR_MALFORMED, line_now(l), cause, detail);
}

/* Room for one more item; false, and refused, at the cap or without memory. */
static bool
grow(struct loader *l, void **items, size_t item_bytes, uint32_t count, uint32_t *cap,
    uint32_t max)
{
    uint32_t wanted = *cap ? *cap * 2 : 1024;
    void *p;

    if (count < *cap)
        return true;
    if (count >= max) {
        refuse(l, MR_TOO_BIG, line_now(l), "the map is larger than this program takes",
            NULL);
        return false;
    }
    p = realloc(*items, (wanted < max ? wanted : max) * item_bytes);
    if (!p) {
        refuse(l, MR_NO_MEMORY, line_now(l), "out of memory", NULL);
        return false;
    }
    *items = p;
    *cap = wanted < max ? wanted : max;
    return true;
}

static bool
keep_text(struct loader *l, struct text *text, const char *s, size_t *offset)
{
    size_t n = strlen(s) + 1;

    if (text->n + n > text->cap) {
        size_t wanted = text->cap * 2 + n + CHUNK;
        char *p = wanted <= TEXT_MAX ? realloc(text->p, wanted) : NULL;

        if (!p) {
            refuse(l, MR_NO_MEMORY, line_now(l), "no room for its names", NULL);
            return false;
        }
        text->p = p;
        text->cap = wanted;
    }
    memcpy(text->p + text->n, s, n);
    *offset = text->n;
    text->n += n;
    return true;
}

static const char *
attribute(const XML_Char **attributes, const char *name)
{
    for (; attributes[0]; attributes += 2) {
        if (strcmp(attributes[0], name) == 0)
            return attributes[1];
    }
    return NULL;
}

static bool
small_number(const char *text, unsigned long max, uint8_t *out)
{
    char *end;
    unsigned long v;

    if (!text || text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    v = strtoul(text, &end, 10);
    if (errno || *end || v > max)
        return false;
    *out = (uint8_t)v;
    return true;
}

static void
on_edge(struct loader *l, const XML_Char **attributes)
{
    const char *id = attribute(attributes, "id");
    const char *name = attribute(attributes, "name");
    const char *function = attribute(attributes, "function");
    struct raw_edge *e;

    if (!id || !*id) {
        refuse_here(l, "an edge without an id", NULL);
        return;
    }
    /* A colon is reserved for what lies inside junctions. */
    if (id[0] == ':')
        return;
    if (!grow(l, (void **)&l->edges, sizeof *l->edges, l->edge_count, &l->edge_cap,
            EDGES_MAX))
        return;
    e = &l->edges[l->edge_count];
    *e = (struct raw_edge){.line = line_now(l)};
    e->is_kept = !function || strcmp(function, "normal") == 0;
    e->edge.lane = l->road->lane_count;
    e->edge.point = l->road->point_count;
    if (!keep_text(l, &l->names, id, &e->edge.id) ||
        !keep_text(l, &l->names, name ? name : "", &e->edge.name))
        return;
    l->edge_count++;
    l->is_in_edge = true;
}

static bool
on_point(struct loader *l, const char *p, const char *end)
{
    const char *comma = memchr(p, ',', (size_t)(end - p));
    const char *y_end = comma ? memchr(comma + 1, ',', (size_t)(end - comma - 1)) : NULL;
    int64_t x, y;

    if (!comma || !mr_decimal_part(p, comma, &x) ||
        !mr_decimal_part(comma + 1, y_end ? y_end : end, &y) || x < INT32_MIN ||
        x > INT32_MAX || y < INT32_MIN || y > INT32_MAX) {
        refuse_here(l, "not a position", p);
        return false;
    }
    if (!grow(l, (void **)&l->road->points, sizeof *l->road->points, l->road->point_count,
            &l->point_cap, POINTS_MAX))
        return false;
    l->road->points[l->road->point_count++] =
        (struct mr_road_point){.x_cm = (int32_t)x, .y_cm = (int32_t)y};
    return true;
}

/* The innermost lane comes last: its line replaces those before it. */
static void
on_shape(struct loader *l, struct mr_road_edge *edge, const char *shape)
{
    l->road->point_count = edge->point;
    while (*shape) {
        const char *end = shape + strcspn(shape, " ");

        if (end != shape && !on_point(l, shape, end))
            return;
        shape = end + strspn(end, " ");
    }
    edge->points = l->road->point_count - edge->point;
}

static uint64_t
usable_by(const XML_Char **attributes)
{
    const char *allow = attribute(attributes, "allow");
    const char *disallow = attribute(attributes, "disallow");

    if (allow && *allow)
        return mr_road_class_bits(allow);
    return disallow ? ~mr_road_class_bits(disallow) : UINT64_MAX;
}

static void
on_lane(struct loader *l, const XML_Char **attributes)
{
    struct mr_road_edge *edge = &l->edges[l->edge_count - 1].edge;
    struct mr_road_lane lane = {.classes = usable_by(attributes)};
    const char *shape = attribute(attributes, "shape");
    uint8_t index;

    if (!small_number(attribute(attributes, "index"), EDGE_LANES_MAX - 1, &index) ||
        index != edge->lanes) {
        refuse_here(
            l, "lanes must be numbered 0, 1, 2, ...", attribute(attributes, "index"));
    } else if (!mr_decimal_hundredths(attribute(attributes, "length"), &lane.length_cm) ||
               lane.length_cm < 0 || lane.length_cm > LENGTH_CM_MAX) {
        refuse_here(l, "not a lane's length in metres", attribute(attributes, "length"));
    } else if (!mr_decimal_hundredths(attribute(attributes, "speed"), &lane.speed_cm_s) ||
               lane.speed_cm_s < 0 || lane.speed_cm_s > LENGTH_CM_MAX) {
        refuse_here(l, "not a lane's speed in m/s", attribute(attributes, "speed"));
    } else if (grow(l, (void **)&l->road->lanes, sizeof lane, l->road->lane_count,
                   &l->lane_cap, LANES_MAX)) {
        l->road->lanes[l->road->lane_count++] = lane;
        edge->lanes++;
        on_shape(l, edge, shape ? shape : "");
    }
}

static void
on_connection(struct loader *l, const XML_Char **attributes)
{
    const char *from = attribute(attributes, "from");
    const char *to = attribute(attributes, "to");
    struct raw_link link = {.line = line_now(l)};

    if (!from || !to) {
        refuse_here(l, "a connection without from or to", NULL);
        return;
    }
    if (from[0] == ':' || to[0] == ':')
        return;
    if (!small_number(
            attribute(attributes, "fromLane"), EDGE_LANES_MAX, &link.from_lane) ||
        !small_number(attribute(attributes, "toLane"), EDGE_LANES_MAX, &link.to_lane)) {
        refuse_here(l, "a connection without the numbers of its lanes, from", from);
        return;
    }
    if (grow(
            l, (void **)&l->links, sizeof link, l->link_count, &l->link_cap, LINKS_MAX) &&
        keep_text(l, &l->ends, from, &link.from) && keep_text(l, &l->ends, to, &link.to))
        l->links[l->link_count++] = link;
}

static void
on_junction(struct loader *l, const XML_Char **attributes)
{
    const char *type = attribute(attributes, "type");

    if (!type || strcmp(type, "internal") != 0)
        l->road->junctions++;
}

static void XMLCALL
on_start(void *context, const XML_Char *element, const XML_Char **attributes)
{
    struct loader *l = context;

    if (l->status)
        return;
    if (!l->has_root) {
        l->has_root = true;
        if (strcmp(element, "net") != 0)
            refuse_here(l, "this is not a SUMO network, its root element is", element);
    } else if (strcmp(element, "edge") == 0) {
        on_edge(l, attributes);
    } else if (strcmp(element, "lane") == 0 && l->is_in_edge) {
        on_lane(l, attributes);
    } else if (strcmp(element, "connection") == 0) {
        on_connection(l, attributes);
    } else if (strcmp(element, "junction") == 0) {
        on_junction(l, attributes);
    }
}

static void XMLCALL
on_end(void *context, const XML_Char *element)
{
    struct loader *l = context;

    if (strcmp(element, "edge") == 0)
        l->is_in_edge = false;
}

static void
parse(struct loader *l, FILE *file)
{
    bool is_last = false;

    while (!l->status && !is_last) {
        void *chunk = XML_GetBuffer(l->parser, CHUNK);
        size_t n = chunk ? fread(chunk, 1, CHUNK, file) : 0;

        if (!chunk) {
            refuse(l, MR_NO_MEMORY, line_now(l), "out of memory", NULL);
            return;
        }
        if (ferror(file)) {
            refuse_here(l, "reading failed", strerror(errno));
            return;
        }
        is_last = n < CHUNK;
        if (XML_ParseBuffer(l->parser, (int)n, is_last) != XML_STATUS_OK)
            refuse_here(l, "broken XML", XML_ErrorString(XML_GetErrorCode(l->parser)));
    }
    if (!l->status && l->edge_count == 0)
        refuse_here(l, "the network has no edges", NULL);
}

static int
by_id(const void *a, const void *b, void *text)
{
    const struct raw_edge *x = a, *y = b;

    return strcmp((const char *)text + x->edge.id, (const char *)text + y->edge.id);
}

/* Sort the edges, drop those that are not for traffic. */
static void
settle_edges(struct loader *l)
{
    struct mr_road *road = l->road;

    qsort_r(l->edges, l->edge_count, sizeof *l->edges, by_id, l->names.p);
    for (uint32_t i = 1; i < l->edge_count; i++) {
        if (by_id(&l->edges[i - 1], &l->edges[i], l->names.p) == 0) {
            refuse(l, MR_MALFORMED, l->edges[i].line, "two edges have the id",
                l->names.p + l->edges[i].edge.id);
            return;
        }
    }
    road->edges = calloc(l->edge_count, sizeof *road->edges);
    if (!road->edges) {
        refuse(l, MR_NO_MEMORY, line_now(l), "out of memory", NULL);
        return;
    }
    for (uint32_t i = 0; i < l->edge_count; i++) {
        if (l->edges[i].is_kept)
            road->edges[road->edge_count++] = l->edges[i].edge;
    }
    road->text = l->names.p;
    l->names.p = NULL;
    if (road->edge_count == 0)
        refuse(
            l, MR_MALFORMED, line_now(l), "the network has no edges for traffic", NULL);
}

/* The edge at an end of a connection; MR_ROAD_NONE for one that is there but was not kept. */
static uint32_t
end_of(struct loader *l, const struct raw_link *raw, size_t offset, uint8_t lane)
{
    const char *id = l->ends.p + offset;
    uint32_t edge = mr_road_find(l->road, id);

    if (edge != MR_ROAD_NONE) {
        if (lane >= l->road->edges[edge].lanes)
            refuse(l, MR_MALFORMED, raw->line,
                "a connection names a lane that does not exist, of", id);
        return edge;
    }
    for (uint32_t low = 0, high = l->edge_count; low < high;) {
        uint32_t middle = low + (high - low) / 2;
        int order = strcmp(l->road->text + l->edges[middle].edge.id, id);

        if (order == 0)
            return MR_ROAD_NONE;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    refuse(
        l, MR_MALFORMED, raw->line, "a connection names an edge that does not exist", id);
    return MR_ROAD_NONE;
}

static void
settle_links(struct loader *l)
{
    struct mr_road *road = l->road;

    road->links = calloc(l->link_count ? l->link_count : 1, sizeof *road->links);
    if (!road->links) {
        refuse(l, MR_NO_MEMORY, line_now(l), "out of memory", NULL);
        return;
    }
    for (uint32_t i = 0; i < l->link_count && !l->status; i++) {
        const struct raw_link *raw = &l->links[i];
        uint32_t from = end_of(l, raw, raw->from, raw->from_lane);
        uint32_t to = end_of(l, raw, raw->to, raw->to_lane);

        if (from != MR_ROAD_NONE && to != MR_ROAD_NONE)
            road->links[road->link_count++] = (struct mr_road_link){.from = from,
                .to = to,
                .from_lane = raw->from_lane,
                .to_lane = raw->to_lane};
    }
}

static int
by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void
count_names(struct loader *l)
{
    const struct mr_road *road = l->road;
    const char **names = calloc(road->edge_count, sizeof *names);

    if (!names) {
        refuse(l, MR_NO_MEMORY, line_now(l), "out of memory", NULL);
        return;
    }
    for (uint32_t i = 0; i < road->edge_count; i++)
        names[i] = mr_road_name(road, i);
    qsort(names, road->edge_count, sizeof *names, by_text);
    for (uint32_t i = 0; i < road->edge_count; i++) {
        if (*names[i] && (i == 0 || strcmp(names[i - 1], names[i]) != 0))
            l->road->street_names++;
    }
    free(names);
}

static void
read_map(struct loader *l, FILE *file)
{
    l->road = calloc(1, sizeof *l->road);
    l->parser = XML_ParserCreate(NULL);
    if (!l->road || !l->parser) {
        l->status = mr_err_set(
            l->err, MR_NO_MEMORY, "cannot read the map", "out of memory", NULL);
        return;
    }
    XML_SetUserData(l->parser, l);
    XML_SetElementHandler(l->parser, on_start, on_end);
    parse(l, file);
    if (!l->status)
        settle_edges(l);
    if (!l->status)
        settle_links(l);
    if (!l->status)
        count_names(l);
}

enum mr_status
mr_road_load(const char *path, struct mr_road **out, struct mr_err *err)
{
    struct loader l = {.path = path, .err = err};
    FILE *file = fopen(path, "rb");
    char what[160];

    *out = NULL;
    if (!file) {
        snprintf(what, sizeof what, "cannot open the map %.120s", path);
        return mr_err_set(err, MR_NOT_FOUND, what, strerror(errno),
            "Check the path, or fetch the map: tests/flagship/fetch_map.sh.");
    }
    read_map(&l, file);
    fclose(file);
    if (l.parser)
        XML_ParserFree(l.parser);
    free(l.edges);
    free(l.links);
    free(l.names.p);
    free(l.ends.p);
    if (l.status)
        mr_road_destroy(&l.road);
    *out = l.road;
    return l.status;
}
