#include "tests/flagship/map_svg.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MARGIN = 40, WIDTH = 1400, FOOT = 76, STEPS = 5 };

/* Where the map lies and how much of it is a pixel. */
struct frame {
    double min_x, min_y, max_x, max_y; /* cm */
    double scale;                      /* pixels a cm */
    int height;
};

/* From rarely to often, readable side by side and for the colour-blind. */
static const char *const colours[STEPS] = {
    "#7fb7d6", "#3f8fc4", "#5b6fb8", "#b0508f", "#d9413a"};

/* The number of the turn from one edge to another, or MR_ROAD_NONE. */
static uint32_t
turn_of(const struct mr_graph *graph, uint32_t from, uint32_t to)
{
    uint32_t count;
    const uint32_t *all = mr_graph_next(graph, 0, &count);
    const uint32_t *next = mr_graph_next(graph, from, &count);

    for (uint32_t i = 0; i < count; i++) {
        if (next[i] == to)
            return (uint32_t)(next + i - all);
    }
    return MR_ROAD_NONE;
}

static bool
count_row(const struct mr_graph *graph, const struct pg_result *rows, int i,
    struct mr_map_svg_uses *uses)
{
    const struct mr_road *road = mr_graph_road(graph);
    uint32_t times = (uint32_t)mr_pg_int(rows, i, 2);
    uint32_t edge = mr_road_find(road, mr_pg_text(rows, i, 0));
    uint32_t next, turn;

    if (edge == MR_ROAD_NONE)
        return false;
    uses->edges[edge] += times;
    if (!mr_pg_text(rows, i, 1))
        return true;
    next = mr_road_find(road, mr_pg_text(rows, i, 1));
    turn = next == MR_ROAD_NONE ? MR_ROAD_NONE : turn_of(graph, edge, next);
    if (turn == MR_ROAD_NONE)
        return false;
    uses->turns[turn] += times;
    return true;
}

enum mr_status
mr_map_svg_uses_read(struct mr_pg *pg, const struct mr_graph *graph,
    struct mr_map_svg_uses *uses, struct mr_err *err)
{
    static const char sql[] =
        "select edge, next, count(*) from (select x.edge, lead(x.edge) over (partition by"
        " r.id order by x.n) as next from ride.ride r join ride.event e on e.ride_id = "
        "r.id"
        " and e.state = 'requested' join millrace.result s on s.id = e.follow_ups[1],"
        " jsonb_array_elements_text(millrace.msgpack_to_jsonb(s.body)->'edges')"
        " with ordinality as x(edge, n) where r.state = 'done') as gone group by edge, "
        "next";
    struct pg_result *rows = NULL;
    enum mr_status status;

    uses->edges = calloc(mr_road_edges(mr_graph_road(graph)) + 1, sizeof *uses->edges);
    uses->turns = calloc(mr_graph_turns(graph) + 1, sizeof *uses->turns);
    status = uses->edges && uses->turns
                 ? mr_pg_run(pg, sql, 0, NULL, &rows, err)
                 : mr_err_set(
                       err, MR_NO_MEMORY, "cannot draw the rides", "out of memory", NULL);
    for (int i = 0; !status && i < mr_pg_rows(rows); i++) {
        if (!count_row(graph, rows, i, uses))
            status = mr_err_setf(err, MR_MALFORMED, "cannot draw the rides",
                "Draw them on the map that they were planned on.",
                "a route has the edge %.100s, or a turn from it, that this map does not "
                "have",
                mr_pg_text(rows, i, 0));
    }
    mr_pg_free_result(&rows);
    if (status)
        mr_map_svg_uses_free(uses);
    return status;
}

void
mr_map_svg_uses_free(struct mr_map_svg_uses *uses)
{
    free(uses->edges);
    free(uses->turns);
    *uses = (struct mr_map_svg_uses){.edges = NULL};
}

/* The part where the class may drive, with some air around; railways may lead far away. */
static struct frame
frame_of(const struct mr_map_svg *map)
{
    const struct mr_road *road = mr_graph_road(map->graph);
    struct frame f = {.min_x = 1e18, .min_y = 1e18, .max_x = -1e18, .max_y = -1e18};
    double air, width, height;

    for (uint32_t e = 0; e < mr_road_edges(road); e++) {
        uint32_t count;
        const struct mr_road_point *p = mr_road_shape(road, e, &count);

        for (uint32_t i = 0; mr_graph_is_usable(map->graph, e) && i < count; i++) {
            f.min_x = p[i].x_cm < f.min_x ? p[i].x_cm : f.min_x;
            f.max_x = p[i].x_cm > f.max_x ? p[i].x_cm : f.max_x;
            f.min_y = p[i].y_cm < f.min_y ? p[i].y_cm : f.min_y;
            f.max_y = p[i].y_cm > f.max_y ? p[i].y_cm : f.max_y;
        }
    }
    if (f.max_x < f.min_x)
        f = (struct frame){.max_x = 1, .max_y = 1};
    width = f.max_x - f.min_x;
    height = f.max_y - f.min_y;
    air = 0.03 * (width > height ? width : height) + 1;
    f.min_x -= air, f.min_y -= air, f.max_x += air, f.max_y += air;
    f.scale = (WIDTH - 2 * MARGIN) / (f.max_x - f.min_x);
    f.height = (int)((f.max_y - f.min_y) * f.scale) + 2 * MARGIN + FOOT;
    return f;
}

static double
x_of(const struct frame *f, int32_t x_cm)
{
    return MARGIN + (x_cm - f->min_x) * f->scale;
}

static double
y_of(const struct frame *f, int32_t y_cm)
{
    return MARGIN + (f->max_y - y_cm) * f->scale;
}

static void
put_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '&')
            fputs("&amp;", out);
        else if (*text == '"')
            fputs("&quot;", out);
        else
            fputc(*text, out);
    }
}

static void
put_line(FILE *out, const struct frame *f, const struct mr_road *road, uint32_t edge)
{
    uint32_t count;
    const struct mr_road_point *p = mr_road_shape(road, edge, &count);

    for (uint32_t i = 0; i < count; i++)
        fprintf(out, "%c%.1f %.1f", i == 0 ? 'M' : 'L', x_of(f, p[i].x_cm),
            y_of(f, p[i].y_cm));
}

/* Over the junction, straight. */
static void
put_turn(FILE *out, const struct frame *f, const struct mr_road *road, uint32_t from,
    uint32_t to)
{
    uint32_t a_count, b_count;
    const struct mr_road_point *a = mr_road_shape(road, from, &a_count);
    const struct mr_road_point *b = mr_road_shape(road, to, &b_count);

    if (a_count == 0 || b_count == 0)
        return;
    a += a_count - 1;
    fprintf(out, "M%.1f %.1fL%.1f %.1f", x_of(f, a->x_cm), y_of(f, a->y_cm),
        x_of(f, b->x_cm), y_of(f, b->y_cm));
}

/* Streets that the class cannot use (foot, rail) are paler. One path for each shade. */
static void
put_streets(
    FILE *out, const struct frame *f, const struct mr_map_svg *map, bool is_usable)
{
    const struct mr_road *road = mr_graph_road(map->graph);

    fprintf(out, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"%s\" d=\"",
        is_usable ? "#c3c7cc" : "#e6e4de", is_usable ? "1.6" : "0.8");
    for (uint32_t e = 0; e < mr_road_edges(road); e++) {
        uint32_t count;
        const uint32_t *next = mr_graph_next(map->graph, e, &count);

        if (mr_graph_is_usable(map->graph, e) == is_usable)
            put_line(out, f, road, e);
        for (uint32_t i = 0; is_usable && i < count; i++)
            put_turn(out, f, road, e, next[i]);
    }
    fprintf(out, "\"/>\n");
}

static uint32_t
most_used(const struct mr_map_svg *map)
{
    uint32_t most = 1;

    for (uint32_t e = 0; e < mr_road_edges(mr_graph_road(map->graph)); e++)
        most = map->uses.edges[e] > most ? map->uses.edges[e] : most;
    return most;
}

static uint32_t
step_of(uint32_t uses, uint32_t most)
{
    return (uses - 1) * STEPS / most;
}

/* The stroke of something that `uses` rides went over. */
static void
put_stroke(FILE *out, uint32_t uses, uint32_t most)
{
    fprintf(out, "<path stroke=\"%s\" stroke-width=\"%.1f\" d=\"",
        colours[step_of(uses, most)], 2.2 + 6.0 * uses / most);
}

static void
put_used_edge(FILE *out, const struct frame *f, const struct mr_map_svg *map,
    uint32_t edge, uint32_t most)
{
    const struct mr_road *road = mr_graph_road(map->graph);
    const char *name = mr_road_name(road, edge);

    put_stroke(out, map->uses.edges[edge], most);
    put_line(out, f, road, edge);
    fprintf(out, "\"><title>");
    put_text(out, *name ? name : mr_road_id(road, edge));
    fprintf(out, ": %u rides</title></path>\n", map->uses.edges[edge]);
}

/* Often used ones come last, on top. */
static void
put_routes(FILE *out, const struct frame *f, const struct mr_map_svg *map)
{
    const struct mr_road *road = mr_graph_road(map->graph);
    uint32_t most = most_used(map), count;
    const uint32_t *all = mr_graph_next(map->graph, 0, &count);

    fprintf(
        out, "<g fill=\"none\" stroke-linecap=\"round\" stroke-linejoin=\"round\">\n");
    for (uint32_t step = 0; step < STEPS; step++) {
        for (uint32_t e = 0; e < mr_road_edges(road); e++) {
            const uint32_t *next = mr_graph_next(map->graph, e, &count);

            if (map->uses.edges[e] > 0 && step_of(map->uses.edges[e], most) == step)
                put_used_edge(out, f, map, e, most);
            for (uint32_t i = 0; i < count; i++) {
                uint32_t uses = map->uses.turns[next + i - all];

                if (uses == 0 || step_of(uses, most) != step)
                    continue;
                put_stroke(out, uses, most);
                put_turn(out, f, road, e, next[i]);
                fprintf(out, "\"/>\n");
            }
        }
    }
    fprintf(out, "</g>\n");
}

/* Near the right border the name goes to the left of its stop. */
static void
put_stop(FILE *out, const struct frame *f, const struct mr_map_svg *map,
    const struct mr_rides_stop *stop)
{
    const struct mr_road *road = mr_graph_road(map->graph);
    uint32_t edge = mr_road_find(road, stop->edge), count = 0;
    const struct mr_road_point *p = NULL;
    double x, y;
    bool is_right;

    if (edge != MR_ROAD_NONE)
        p = mr_road_shape(road, edge, &count);
    if (count < 2)
        return;
    x = (x_of(f, p[count / 2 - 1].x_cm) + x_of(f, p[count / 2].x_cm)) / 2;
    y = (y_of(f, p[count / 2 - 1].y_cm) + y_of(f, p[count / 2].y_cm)) / 2;
    is_right = x > WIDTH - 220;
    fprintf(out,
        "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"7\" fill=\"#fff\" stroke=\"#1f2933\""
        " stroke-width=\"2.5\"/><text x=\"%.1f\" y=\"%.1f\" font-size=\"19\""
        " font-weight=\"600\" text-anchor=\"%s\" fill=\"#1f2933\" stroke=\"#fbfaf7\""
        " stroke-width=\"5\" stroke-linejoin=\"round\" paint-order=\"stroke\">",
        x, y, is_right ? x - 14 : x + 14, y - 9, is_right ? "end" : "start");
    put_text(out, stop->name);
    fprintf(out, "</text>\n");
}

/* The longest round number of metres that is at most a fifth of the picture. */
static void
put_scale(FILE *out, const struct frame *f)
{
    static const int metres[] = {10000, 5000, 2000, 1000, 500, 200, 100, 50};
    double y = f->height - 26, x = MARGIN;
    int m = 20;

    for (size_t i = sizeof metres / sizeof metres[0]; i-- > 0;)
        m = metres[i] * 100 * f->scale < WIDTH / 5.0 ? metres[i] : m;
    fprintf(out,
        "<path stroke=\"#52606d\" stroke-width=\"2\" fill=\"none\""
        " d=\"M%.1f %.1fv8h%.1fv-8\"/><text x=\"%.1f\" y=\"%.1f\" font-size=\"15\""
        " fill=\"#52606d\">%d m</text>\n",
        x, y - 8, m * 100 * f->scale, x + m * 100 * f->scale + 10, y + 2, m);
}

static void
put_legend(FILE *out, const struct frame *f, const struct mr_map_svg *map)
{
    uint32_t most = most_used(map);
    double x = 430, y = f->height - 26;

    fprintf(out,
        "<text x=\"%.1f\" y=\"%.1f\" font-size=\"15\" fill=\"#52606d\">rides</text>\n", x,
        y + 2);
    x += 56;
    for (uint32_t step = 0; step < STEPS; step++) {
        uint32_t first = (step * most + STEPS - 1) / STEPS + 1;
        uint32_t last = ((step + 1) * most + STEPS - 1) / STEPS;

        if (first > last)
            continue;
        fprintf(out,
            "<path stroke=\"%s\" stroke-width=\"%.1f\" stroke-linecap=\"round\""
            " d=\"M%.1f %.1fh34\"/><text x=\"%.1f\" y=\"%.1f\" font-size=\"15\""
            " fill=\"#52606d\">",
            colours[step], 2.2 + 6.0 * last / most, x, y - 3, x + 44, y + 2);
        fprintf(out, first == last ? "%u</text>\n" : "%u–%u</text>\n", first, last);
        x += 110;
    }
}

/* There is room for 44 characters beside the legend; of a longer text the end says more. */
static void
put_attribution(FILE *out, const char *text)
{
    size_t n = strlen(text);

    if (n > 44) {
        text += n - 44;
        while (((unsigned char)*text & 0xc0) == 0x80)
            text++;
        fputs("…", out);
    }
    put_text(out, text);
}

static void
put_all(FILE *out, const struct mr_map_svg *map)
{
    struct frame f = frame_of(map);

    fprintf(out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\""
        " height=\"%d\" font-family=\"'DejaVu Sans', Verdana, Helvetica, sans-serif\">\n"
        "<rect width=\"%d\" height=\"%d\" fill=\"#fbfaf7\"/>\n"
        "<clipPath id=\"view\"><rect width=\"%d\" height=\"%d\"/></clipPath>\n"
        "<g clip-path=\"url(#view)\">\n",
        WIDTH, f.height, WIDTH, f.height, WIDTH, f.height, WIDTH, f.height - FOOT);
    put_streets(out, &f, map, false);
    put_streets(out, &f, map, true);
    put_routes(out, &f, map);
    for (uint32_t i = 0; i < map->stop_count; i++)
        put_stop(out, &f, map, &map->stops[i]);
    fprintf(out,
        "</g>\n<path d=\"M0 %d.5h%d\" stroke=\"#d9d6ce\"/>\n"
        "<text x=\"%d\" y=\"42\" font-size=\"26\" font-weight=\"700\" fill=\"#1f2933\""
        " stroke=\"#fbfaf7\" stroke-width=\"6\" paint-order=\"stroke\">",
        f.height - FOOT, WIDTH, MARGIN);
    put_text(out, map->title);
    fprintf(out, "</text>\n");
    put_scale(out, &f);
    put_legend(out, &f, map);
    fprintf(out,
        "<text x=\"%d\" y=\"%d\" font-size=\"14\" text-anchor=\"end\" fill=\"#7b8794\">",
        WIDTH - MARGIN, f.height - 24);
    put_attribution(out, map->attribution);
    fprintf(out, "</text>\n</svg>\n");
}

enum mr_status
mr_map_svg_write(const char *path, const struct mr_map_svg *map, struct mr_err *err)
{
    char temporary[4096];
    bool is_good;
    FILE *out;

    snprintf(temporary, sizeof temporary, "%s.new", path);
    out = fopen(temporary, "w");
    if (!out)
        return mr_err_setf(err, MR_DENIED, "cannot write the map",
            "Give a folder that you may write to.", "%.200s: %s", temporary,
            strerror(errno));
    put_all(out, map);
    is_good = !ferror(out);
    is_good = fclose(out) == 0 && is_good && rename(temporary, path) == 0;
    if (is_good)
        return MR_OK;
    unlink(temporary);
    return mr_err_setf(err, MR_DENIED, "cannot write the map", "Is the disk full?",
        "%.200s: %s", path, strerror(errno));
}
