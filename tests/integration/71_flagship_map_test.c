/*
 * The real map: streets of Berlin-Adlershof and the scenario's 100 requests, fetched as the
 * flagship does it, against published totals. Where they cannot be fetched, only our grid is
 * tried and the output says so.
 */
#include "tests/flagship/part.h"
#include "worker/road/fare.h"
#include "worker/road/rides.h"
#include "worker/road/route.h"

#include <check.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct mr_road *road;
static struct mr_rides *rides;
static struct mr_err err;
static bool is_real;

static void
set_up(void)
{
    char word[16] = "";
    FILE *file;

    ck_assert_int_eq(system("tests/flagship/fetch_map.sh .millrace/map"), 0);
    file = fopen(".millrace/map/source", "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_ptr_nonnull(fgets(word, sizeof word, file));
    fclose(file);
    is_real = strcmp(word, "real\n") == 0;
    ck_assert_msg(mr_road_load(".millrace/map/osm.net.xml", &road, &err) == MR_OK,
        "%s: %s", err.what, err.why);
    ck_assert_msg(mr_rides_load(".millrace/map/drtstops.xml",
                      ".millrace/map/rides_demo.xml", &rides, &err) == MR_OK,
        "%s: %s", err.what, err.why);
}

static void
tear_down(void)
{
    mr_rides_destroy(&rides);
    mr_road_destroy(&road);
}

struct totals {
    int64_t ms, cm, cents;
    uint32_t without_way;
};

static struct totals
totals_of(const char *class_name)
{
    struct mr_route_search *search;
    struct totals t = {.ms = 0};
    struct mr_graph *graph;

    ck_assert_int_eq(mr_graph_new(road, class_name, &graph, &err), MR_OK);
    ck_assert_int_eq(mr_route_search_new(graph, &search), MR_OK);
    for (uint32_t i = 0; i < rides->request_count; i++) {
        uint32_t from = mr_road_find(road, rides->stops[rides->requests[i].from].edge);
        uint32_t to = mr_road_find(road, rides->stops[rides->requests[i].to].edge);
        struct mr_graph_cost cost;
        struct mr_route route;
        struct mr_fare fare;
        const char *why;

        ck_assert_uint_ne(from, MR_ROAD_NONE);
        ck_assert_uint_ne(to, MR_ROAD_NONE);
        ck_assert(mr_route_costs(search, from, &to, 1, NULL, NULL, &cost));
        if (!mr_route_find(search, from, to, &route)) {
            ck_assert_int_eq(cost.ms, -1);
            t.without_way++;
            continue;
        }
        ck_assert_int_eq(cost.ms, route.cost.ms);
        ck_assert_int_eq(cost.cm, route.cost.cm);
        ck_assert(mr_fare_quote(
            &(struct mr_fare_ask){.metres = mr_fare_metres(cost.cm)}, &fare, &why));
        t.ms += cost.ms;
        t.cm += cost.cm;
        t.cents += fare.total;
    }
    mr_route_search_destroy(&search);
    mr_graph_destroy(&graph);
    return t;
}

START_TEST(usable_parts_of_the_map)
{
    static const struct {
        const char *class_name;
        uint32_t edges, turns;
        int64_t metres;
    } rows[] = {{"bus", 1313, 3351, 58908}, {"delivery", 1313, 3351, 58908},
        {"passenger", 740, 1620, 37707}, {"taxi", 740, 1620, 37707}};

    if (!is_real) {
        printf("NOT REAL INPUT: published figures not compared\n");
        return;
    }
    ck_assert_uint_eq(mr_road_edges(road), 1943);
    ck_assert_uint_eq(mr_road_junctions(road), 1033);
    ck_assert_uint_eq(mr_road_street_names(road), 68);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct mr_graph *graph;

        ck_assert_int_eq(mr_graph_new(road, rows[i].class_name, &graph, &err), MR_OK);
        ck_assert_uint_eq(mr_graph_usable_edges(graph), rows[i].edges);
        ck_assert_uint_eq(mr_graph_turns(graph), rows[i].turns);
        ck_assert_int_eq((mr_graph_length_cm(graph) + 50) / 100, rows[i].metres);
        mr_graph_destroy(&graph);
    }
}
END_TEST

START_TEST(hundred_requests)
{
    struct totals bus = totals_of("bus");

    ck_assert_uint_eq(bus.without_way, 0);
    if (!is_real)
        return;
    ck_assert_uint_eq(rides->request_count, 100);
    ck_assert_uint_eq(rides->stop_count, 8);
    ck_assert_int_eq(bus.ms, 6574821);
    ck_assert_int_eq(bus.cm, 8334040);
    ck_assert_int_eq(bus.cents, 66334);
}
END_TEST

/* With cars only, three of the eight stops lie on roads that are closed: rides to them have no
 * way, which is an answer and not an error. */
START_TEST(closed_roads)
{
    uint32_t closed = 0;
    struct mr_graph *graph;

    ck_assert_int_eq(mr_graph_new(road, "passenger", &graph, &err), MR_OK);
    for (uint32_t i = 0; i < rides->stop_count; i++)
        closed += !mr_graph_is_usable(graph, mr_road_find(road, rides->stops[i].edge));
    mr_graph_destroy(&graph);
    if (!is_real)
        return;
    ck_assert_uint_eq(closed, 3);
    ck_assert_uint_gt(totals_of("passenger").without_way, 0);
}
END_TEST

static void
expect_part(const char *class_name, uint32_t edges, int64_t length_cm)
{
    uint32_t *part, count;
    struct mr_graph *graph;
    int64_t cm = 0;

    ck_assert_int_eq(mr_graph_new(road, class_name, &graph, &err), MR_OK);
    ck_assert_int_eq(mr_part_largest(graph, &part, &count), MR_OK);
    for (uint32_t i = 0; i < count; i++)
        cm += mr_graph_edge_cost(graph, part[i]).cm;
    ck_assert_uint_eq(count, edges);
    ck_assert_int_eq((cm + 50) / 100, (length_cm + 50) / 100);
    free(part);
    mr_graph_destroy(&graph);
}

/* Published: 1,251 edges of 51.963 km for buses, 696 of 31.731 km for cars. */
START_TEST(largest_parts)
{
    if (!is_real)
        return;
    expect_part("bus", 1251, 5196300);
    expect_part("passenger", 696, 3173100);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("flagship/map");
    TCase *tcase = tcase_create("map");
    SRunner *runner;
    int failed;

    tcase_add_unchecked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, usable_parts_of_the_map);
    tcase_add_test(tcase, hundred_requests);
    tcase_add_test(tcase, closed_roads);
    tcase_add_test(tcase, largest_parts);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
