/*
 * Loader, graph and router on maps small enough to work out by hand. The real map has its test in
 * tests/integration.
 */
#include "worker/road/rides.h"
#include "worker/road/route.h"

#include <check.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LANE(edge, index, more)                                                          \
    "<lane id=\"" edge "_" index "\" index=\"" index "\" " more " shape=\"0,0 1,1\"/>"
#define EDGE(id, more) "<edge id=\"" id "\">" LANE(id, "0", more) "</edge>"
#define LINK(from, to)                                                                   \
    "<connection from=\"" from "\" to=\"" to "\" fromLane=\"0\" toLane=\"0\"/>"

static struct mr_err err;

/* A file with that text; removed when it has been read. */
static void
write_file(char path[32], const char *text)
{
    FILE *file;
    int fd;

    memcpy(path, "/tmp/road_test_XXXXXX", 22);
    fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    file = fdopen(fd, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static enum mr_status
load(const char *text, struct mr_road **out)
{
    enum mr_status status;
    char path[32];

    memset(&err, 0, sizeof err);
    write_file(path, text);
    status = mr_road_load(path, out, &err);
    unlink(path);
    if (status)
        ck_assert_msg(strstr(err.what, path) != NULL, "%s", err.what);
    return status;
}

static struct mr_graph *
graph_of(const char *text, const char *class)
{
    struct mr_road *road;
    struct mr_graph *graph;

    ck_assert_msg(load(text, &road) == MR_OK, "%s: %s", err.what, err.why);
    ck_assert_int_eq(mr_graph_new(road, class, &graph, &err), MR_OK);
    return graph;
}

static void
destroy(struct mr_graph *graph)
{
    struct mr_road *road = (struct mr_road *)mr_graph_road(graph);

    mr_graph_destroy(&graph);
    mr_road_destroy(&road);
}

static struct mr_graph_cost
cost_of(const struct mr_graph *graph, const char *id)
{
    uint32_t edge = mr_road_find(mr_graph_road(graph), id);

    ck_assert_uint_ne(edge, MR_ROAD_NONE);
    return mr_graph_edge_cost(graph, edge);
}

/* "ms cm a b c", or "none". */
static const char *
way(const struct mr_graph *graph, const char *from, const char *to)
{
    static char text[256];
    const struct mr_road *road = mr_graph_road(graph);
    struct mr_route_search *search;
    struct mr_route route;
    int n;

    ck_assert_int_eq(mr_route_search_new(graph, &search), MR_OK);
    if (!mr_route_find(
            search, mr_road_find(road, from), mr_road_find(road, to), &route)) {
        mr_route_search_destroy(&search);
        return "none";
    }
    n = snprintf(text, sizeof text, "%lld %lld", (long long)route.cost.ms,
        (long long)route.cost.cm);
    for (uint32_t i = 0; i < route.count; i++)
        n += snprintf(
            text + n, sizeof text - (size_t)n, " %s", mr_road_id(road, route.edges[i]));
    mr_route_search_destroy(&search);
    return text;
}

START_TEST(an_edge_without_lanes_or_shape)
{
    struct mr_graph *g = graph_of("<net><edge id=\"a\"/></net>", "bus");
    uint32_t lanes = 7, points = 7;

    ck_assert_ptr_null(mr_road_lanes(mr_graph_road(g), 0, &lanes));
    ck_assert_ptr_null(mr_road_shape(mr_graph_road(g), 0, &points));
    ck_assert_uint_eq(lanes + points, 0);
    ck_assert(!mr_graph_is_usable(g, 0));
    destroy(g);
}
END_TEST

/* 804 / 1600 s is 502.5 ms: integers say 503, doubles 502. */
START_TEST(times_are_rounded_in_integers)
{
    struct mr_graph *g =
        graph_of("<net>" EDGE("a", "length=\"8.04\" speed=\"16.00\"")
                     EDGE("b", "length=\"8.03\" speed=\"16.00\"") "</net>",
            "bus");

    ck_assert_int_eq(cost_of(g, "a").ms, 503);
    ck_assert_int_eq(cost_of(g, "a").cm, 804);
    ck_assert_int_eq(cost_of(g, "b").ms, 502);
    destroy(g);
}
END_TEST

START_TEST(permissions)
{
    struct mr_graph *g = graph_of(
        "<net>" EDGE("named", "length=\"1\" speed=\"1\" allow=\"tram bus\"") EDGE(
            "others", "length=\"1\" speed=\"1\" allow=\"tram busy\"")
            EDGE("not_me", "length=\"1\" speed=\"1\" disallow=\"tram bus\"") EDGE(
                "not_others", "length=\"1\" speed=\"1\" disallow=\"tram\"")
                EDGE("all", "length=\"1\" speed=\"1\" allow=\"all\"") EDGE(
                    "closed", "length=\"1\" speed=\"1\" disallow=\"all\"") EDGE("empty",
                    "length=\"1\" speed=\"1\" allow=\"\" disallow=\"bus\"") EDGE("both",
                    "length=\"1\" speed=\"1\" allow=\"bus\" disallow=\"bus\"")
                    EDGE("still", "length=\"1\" speed=\"0\"")
                        EDGE("free", "length=\"1\" speed=\"1\"") "</net>",
        "bus");
    static const char *const usable[] = {"named", "not_others", "all", "both", "free"};
    static const char *const closed[] = {"others", "not_me", "closed", "empty", "still"};

    for (size_t i = 0; i < 5; i++) {
        ck_assert_msg(cost_of(g, usable[i]).ms == 1000, "%s", usable[i]);
        ck_assert_msg(cost_of(g, closed[i]).ms == -1, "%s", closed[i]);
    }
    ck_assert_uint_eq(mr_graph_usable_edges(g), 5);
    ck_assert_int_eq(mr_graph_length_cm(g), 500);
    destroy(g);
}
END_TEST

/* Length of the lowest usable lane, speed of the fastest usable one. */
START_TEST(lanes_of_one_edge)
{
    struct mr_graph *g = graph_of(
        "<net><edge id=\"e\">" LANE(
            "e", "0", "length=\"50\" speed=\"99\" allow=\"bicycle\"") LANE("e", "1",
            "length=\"40\" speed=\"5\"") LANE("e", "2", "length=\"30\" speed=\"8\"")
            LANE("e", "3", "length=\"20\" speed=\"20\" disallow=\"bus\"") "</edge></net>",
        "bus");

    ck_assert_int_eq(cost_of(g, "e").cm, 4000);
    ck_assert_int_eq(cost_of(g, "e").ms, 5000);
    destroy(g);
}
END_TEST

START_TEST(only_edges_for_traffic)
{
    struct mr_road *road;

    ck_assert_int_eq(
        load("<net><edge id=\":x\"><lane id=\":x_0\"/></edge>"
             "<edge id=\"c\" function=\"connector\"/>"
             "<edge id=\"n\" function=\"normal\" name=\"Way\">" LANE("n", "0",
                 "length=\"1\" speed=\"1\"") "</edge><edge id=\"m\"/>"
                                             "<junction id=\"1\" type=\"priority\"/>"
                                             "<junction id=\"2\" type=\"internal\"/>"
                                             "<connection from=\"c\" to=\"n\" "
                                             "fromLane=\"0\" toLane=\"0\"/>"
                                             "<connection from=\":x\" to=\"n\" "
                                             "fromLane=\"0\" toLane=\"0\"/>"
                                             "</net>",
            &road),
        MR_OK);
    ck_assert_uint_eq(mr_road_edges(road), 2);
    ck_assert_uint_eq(mr_road_junctions(road), 1);
    ck_assert_uint_eq(mr_road_street_names(road), 1);
    ck_assert_str_eq(mr_road_name(road, mr_road_find(road, "n")), "Way");
    ck_assert_str_eq(mr_road_name(road, mr_road_find(road, "m")), "");
    ck_assert_uint_eq(mr_road_find(road, "c"), MR_ROAD_NONE);
    mr_road_destroy(&road);
}
END_TEST

/* a to d over b (2 s, long) or c (3 s, short); x is for bicycles only. */
static const char *const diamond = "<net>" EDGE("a", "length=\"10\" speed=\"10\"")
    EDGE("b", "length=\"20\" speed=\"10\"") EDGE("c", "length=\"3\" speed=\"1\"")
        EDGE("d", "length=\"10\" speed=\"10\"")
            EDGE("x", "length=\"1\" speed=\"9\" allow=\"bicycle\"") LINK("a", "b")
                LINK("a", "c") LINK("a", "b") LINK("b", "d") LINK("c", "d") LINK("a", "x")
                    LINK("x", "d") "</net>";

START_TEST(the_quickest_way)
{
    struct mr_graph *g = graph_of(diamond, "bus");

    ck_assert_uint_eq(mr_graph_turns(g), 4);
    ck_assert_str_eq(way(g, "a", "d"), "4000 4000 a b d");
    ck_assert_str_eq(way(g, "a", "a"), "1000 1000 a");
    ck_assert_str_eq(way(g, "d", "a"), "none");
    ck_assert_str_eq(way(g, "a", "x"), "none");
    ck_assert_str_eq(way(g, "x", "d"), "none");
    ck_assert_str_eq(way(g, "x", "x"), "none");
    destroy(g);
    g = graph_of(diamond, "bicycle");
    ck_assert_str_eq(way(g, "a", "d"), "2111 2100 a x d");
    destroy(g);
}
END_TEST

/* Both ways take 2 s; the one by c is shorter, whatever the order of the edges. */
START_TEST(among_equals_the_shorter)
{
    struct mr_graph *g =
        graph_of("<net>" EDGE("a", "length=\"1\" speed=\"1\"") EDGE("b",
                     "length=\"20\" speed=\"20\"") EDGE("c", "length=\"10\" speed=\"10\"")
                     EDGE("d", "length=\"1\" speed=\"1\"") LINK("a", "b") LINK("a", "c")
                         LINK("b", "d") LINK("c", "d") "</net>",
            "bus");

    ck_assert_str_eq(way(g, "a", "d"), "3000 1200 a c d");
    destroy(g);
}
END_TEST

START_TEST(a_turn_needs_two_usable_lanes)
{
    struct mr_graph *g = graph_of(
        "<net><edge id=\"a\">" LANE(
            "a", "0", "length=\"1\" speed=\"1\" allow=\"tram\"") LANE("a", "1",
            "length=\"1\" speed=\"1\"") "</edge>" EDGE("b",
            "length=\"1\" speed=\"1\"") EDGE("c", "length=\"1\" speed=\"1\"") LINK("a",
            "b") "<connection from=\"a\" to=\"c\" fromLane=\"1\" toLane=\"0\"/></net>",
        "bus");

    ck_assert_str_eq(way(g, "a", "b"), "none");
    ck_assert_str_eq(way(g, "a", "c"), "2000 200 a c");
    destroy(g);
}
END_TEST

static bool
stop_now(void *context)
{
    return context != NULL;
}

START_TEST(one_to_many_equals_one_to_one)
{
    struct mr_graph *g = graph_of(diamond, "bus");
    const struct mr_road *road = mr_graph_road(g);
    uint32_t to[] = {mr_road_find(road, "d"), mr_road_find(road, "x"),
        mr_road_find(road, "a"), mr_road_find(road, "d")};
    struct mr_route_search *search;
    struct mr_graph_cost costs[4];

    ck_assert_int_eq(mr_route_search_new(g, &search), MR_OK);
    for (int again = 0; again < 3; again++) {
        ck_assert(mr_route_costs(search, to[2], to, 4, stop_now, NULL, costs));
        ck_assert_int_eq(costs[0].ms, 4000);
        ck_assert_int_eq(costs[1].ms, -1);
        ck_assert_int_eq(costs[2].cm, 1000);
        ck_assert_int_eq(costs[3].cm, 4000);
    }
    mr_route_search_destroy(&search);
    destroy(g);
}
END_TEST

/* Every pair of our grid, against the plainest algorithm there is: relax every turn until nothing
 * changes. */
static void
relax_all(
    const struct mr_graph *g, uint32_t from, struct mr_graph_cost *best, uint32_t edges)
{
    for (uint32_t e = 0; e < edges; e++)
        best[e] = (struct mr_graph_cost){.ms = -1, .cm = -1};
    if (!mr_graph_is_usable(g, from))
        return;
    best[from] = mr_graph_edge_cost(g, from);
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t e = 0; e < edges; e++) {
            uint32_t count;
            const uint32_t *next = mr_graph_next(g, e, &count);

            for (uint32_t i = 0; best[e].ms >= 0 && i < count; i++) {
                struct mr_graph_cost own = mr_graph_edge_cost(g, next[i]);
                struct mr_graph_cost by = {best[e].ms + own.ms, best[e].cm + own.cm};
                struct mr_graph_cost *to = &best[next[i]];

                if (to->ms < 0 || by.ms < to->ms || (by.ms == to->ms && by.cm < to->cm)) {
                    *to = by;
                    changed = true;
                }
            }
        }
    }
}

START_TEST(every_pair_of_the_grid)
{
    struct mr_route_search *search;
    struct mr_graph_cost best[64];
    struct mr_graph *g;
    struct mr_road *road;
    uint32_t edges;

    ck_assert_msg(mr_road_load("tests/flagship/grid.net.xml", &road, &err) == MR_OK,
        "%s: %s", err.what, err.why);
    edges = mr_road_edges(road);
    ck_assert_uint_eq(edges, 48);
    ck_assert_int_eq(mr_graph_new(road, "bus", &g, &err), MR_OK);
    ck_assert_int_eq(mr_route_search_new(g, &search), MR_OK);
    for (uint32_t from = 0; from < edges; from++) {
        relax_all(g, from, best, edges);
        for (uint32_t to = 0; to < edges; to++) {
            struct mr_route route;
            bool is_found = mr_route_find(search, from, to, &route);

            ck_assert(is_found == (best[to].ms >= 0));
            if (!is_found)
                continue;
            ck_assert_int_eq(route.cost.ms, best[to].ms);
            ck_assert_int_eq(route.cost.cm, best[to].cm);
            ck_assert_uint_eq(route.edges[0], from);
            ck_assert_uint_eq(route.edges[route.count - 1], to);
        }
    }
    mr_route_search_destroy(&search);
    mr_graph_destroy(&g);
    mr_road_destroy(&road);
}
END_TEST

START_TEST(classes)
{
    struct mr_graph *g = graph_of(diamond, "passenger");
    struct mr_graph *none;

    ck_assert_int_eq(
        mr_graph_new(mr_graph_road(g), "rocket", &none, &err), MR_BAD_ARGUMENT);
    ck_assert_ptr_null(none);
    ck_assert_ptr_nonnull(strstr(err.why, "rocket"));
    ck_assert_int_eq(mr_graph_new(mr_graph_road(g), "", &none, &err), MR_BAD_ARGUMENT);
    ck_assert_int_eq(mr_graph_new(mr_graph_road(g), NULL, &none, &err), MR_BAD_ARGUMENT);
    ck_assert_int_eq(mr_road_class("all"), -1);
    destroy(g);
}
END_TEST

/* What is wrong, the status, the line, a word of the cause. */
START_TEST(broken_maps)
{
    static const struct {
        const char *text, *line, *cause;
    } rows[] = {
        {"", "line 1:", "broken XML"},
        {"no xml", "line 1:", "broken XML"},
        {"<net>\n\n<edge id=\"a\">", "line 3:", "broken XML"},
        {"<net/>", "line 1:", "no edges"},
        {"<net><edge id=\":i\"/></net>", "line 1:", "no edges"},
        {"<net><edge id=\"c\" function=\"connector\"/></net>", "line 1:", "for traffic"},
        {"<routes/>", "line 1:", "not a SUMO network"},
        {"<net>\n<edge/></net>", "line 2:", "without an id"},
        {"<net>\n<edge id=\"a\"/>\n<edge id=\"a\"/></net>", "line ", "two edges"},
        {"<net><edge id=\"a\">\n<lane index=\"0\" length=\"x\" "
         "speed=\"1\"/></edge></net>",
            "line 2:", "length"},
        {"<net><edge id=\"a\"><lane index=\"0\" speed=\"1\"/></edge></net>",
            "line 1:", "length"},
        {"<net><edge id=\"a\"><lane index=\"0\" length=\"-1\" speed=\"1\"/></edge></net>",
            "line 1:", "length"},
        {"<net><edge id=\"a\"><lane index=\"0\" length=\"1e3\" "
         "speed=\"1\"/></edge></net>",
            "line 1:", "length"},
        {"<net><edge id=\"a\"><lane index=\"0\" length=\"1\" speed=\"-1\"/></edge></net>",
            "line 1:", "speed"},
        {"<net><edge id=\"a\"><lane index=\"1\" length=\"1\" speed=\"1\"/></edge></net>",
            "line 1:", "numbered"},
        {"<net><edge id=\"a\"><lane length=\"1\" speed=\"1\"/></edge></net>",
            "line 1:", "numbered"},
        {"<net><edge id=\"a\"><lane index=\"0\" length=\"1\" speed=\"1\" "
         "shape=\"1\"/></edge>"
         "</net>",
            "line 1:", "position"},
        {"<net><edge id=\"a\"><lane index=\"0\" length=\"1\" speed=\"1\" "
         "shape=\"1,99999999999\"/></edge></net>",
            "line 1:", "position"},
        {"<net>" EDGE("a", "length=\"1\" speed=\"1\"") "\n" LINK("a", "b") "</net>",
            "line 2:", "does not exist: b"},
        {"<net>" EDGE(
             "a", "length=\"1\" speed=\"1\"") "\n\n<connection from=\"a\" to=\"a\" "
                                              "fromLane=\"0\" toLane=\"1\"/></net>",
            "line 3:", "lane that does not exist"},
        {"<net>" EDGE("a", "length=\"1\" speed=\"1\"") "<connection from=\"a\"/></net>",
            "line 1:", "without from or to"},
        {"<net>" EDGE(
             "a", "length=\"1\" speed=\"1\"") "<connection from=\"a\" to=\"a\" "
                                              "fromLane=\"-1\" toLane=\"0\"/></net>",
            "line 1:", "numbers of its lanes"},
    };
    struct mr_road *road;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ck_assert_msg(load(rows[i].text, &road) == MR_MALFORMED, "row %zu", i);
        ck_assert_ptr_null(road);
        ck_assert_msg(strstr(err.why, rows[i].line) != NULL, "row %zu: %s", i, err.why);
        ck_assert_msg(strstr(err.why, rows[i].cause) != NULL, "row %zu: %s", i, err.why);
    }
}
END_TEST

START_TEST(no_such_map)
{
    struct mr_road *road;

    ck_assert_int_eq(mr_road_load("/nowhere/x.net.xml", &road, &err), MR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.what, "/nowhere/x.net.xml"));
    ck_assert_int_eq(mr_road_load("/tmp", &road, &err), MR_MALFORMED);
}
END_TEST

#define STOPS                                                                            \
    "<additional><busStop id=\"s\" lane=\"e_x_1\"/><busStop id=\"t\" lane=\"-f#0_0\" "   \
    "name=\"Tee\"/></additional>"

static enum mr_status
load_rides(const char *stops, const char *requests, struct mr_rides **out)
{
    enum mr_status status;
    char a[32], b[32];

    write_file(a, stops);
    write_file(b, requests);
    status = mr_rides_load(a, b, out, &err);
    unlink(a);
    unlink(b);
    return status;
}

START_TEST(requests_between_stops)
{
    struct mr_rides *rides;

    ck_assert_int_eq(load_rides(STOPS,
                         "<routes><person id=\"p\" depart=\"200.5\"><stop busStop=\"s\"/>"
                         "<ride busStop=\"t\"/></person></routes>",
                         &rides),
        MR_OK);
    ck_assert_str_eq(rides->stops[0].edge, "e_x");
    ck_assert_str_eq(rides->stops[0].name, "s");
    ck_assert_str_eq(rides->stops[1].edge, "-f#0");
    ck_assert_str_eq(rides->stops[1].name, "Tee");
    ck_assert_uint_eq(rides->request_count, 1);
    ck_assert_int_eq(rides->requests[0].depart_ms, 200500);
    ck_assert_uint_eq(rides->requests[0].to, 1);
    mr_rides_destroy(&rides);
}
END_TEST

START_TEST(broken_requests)
{
    static const char *const texts[] = {"", "<routes/>",
        "<routes><person depart=\"1\"/></routes>", "<routes><person id=\"p\"/></routes>",
        "<routes><person id=\"p\" depart=\"-1\"/></routes>",
        "<routes><person id=\"p\" depart=\"1\"><ride busStop=\"t\"/></person></routes>",
        "<routes><person id=\"p\" depart=\"1\"><stop busStop=\"zz\"/></person></routes>",
        "<routes><person id=\"p\" depart=\"1\"><stop/></person></routes>"};
    struct mr_rides *rides;

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        ck_assert_msg(load_rides(STOPS, texts[i], &rides) == MR_MALFORMED, "row %zu", i);
    ck_assert_int_eq(
        load_rides("<a><busStop id=\"s\" lane=\"nolane\"/></a>", texts[1], &rides),
        MR_MALFORMED);
    ck_assert_int_eq(mr_rides_load("/nowhere", "/nowhere", &rides, &err), MR_NOT_FOUND);
    ck_assert_ptr_null(rides);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("road/route");
    TCase *tcase = tcase_create("route");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, times_are_rounded_in_integers);
    tcase_add_test(tcase, an_edge_without_lanes_or_shape);
    tcase_add_test(tcase, permissions);
    tcase_add_test(tcase, lanes_of_one_edge);
    tcase_add_test(tcase, only_edges_for_traffic);
    tcase_add_test(tcase, the_quickest_way);
    tcase_add_test(tcase, among_equals_the_shorter);
    tcase_add_test(tcase, a_turn_needs_two_usable_lanes);
    tcase_add_test(tcase, one_to_many_equals_one_to_one);
    tcase_add_test(tcase, every_pair_of_the_grid);
    tcase_add_test(tcase, classes);
    tcase_add_test(tcase, broken_maps);
    tcase_add_test(tcase, no_such_map);
    tcase_add_test(tcase, requests_between_stops);
    tcase_add_test(tcase, broken_requests);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
