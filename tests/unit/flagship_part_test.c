/*
 * The largest connected part, on maps small enough to see it. On the real one it has 1,251 edges
 * for buses and 696 for cars (tested where the map is: tests/integration).
 */
#include "tests/flagship/part.h"

#include <check.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EDGE(id)                                                                         \
    "<edge id=\"" id "\"><lane id=\"" id                                                 \
    "_0\" index=\"0\" length=\"10\" speed=\"10\" shape=\"0,0 1,1\"/></edge>"
#define CLOSED(id)                                                                       \
    "<edge id=\"" id "\"><lane id=\"" id "_0\" index=\"0\" length=\"10\" speed=\"10\" "  \
    "disallow=\"all\" shape=\"0,0 1,1\"/></edge>"
#define LINK(from, to)                                                                   \
    "<connection from=\"" from "\" to=\"" to "\" fromLane=\"0\" toLane=\"0\"/>"

/* The ids of the largest part, "a b c"; "none". */
static const char *
part_of(const char *net)
{
    static char text[64];
    char path[] = "/tmp/part_test_XXXXXX";
    int fd = mkstemp(path);
    struct mr_graph *graph;
    struct mr_road *road;
    uint32_t *edges, count;
    enum mr_status status;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, net, strlen(net)), (ssize_t)strlen(net));
    close(fd);
    status = mr_road_load(path, &road, NULL);
    unlink(path);
    ck_assert_int_eq(status, MR_OK);
    ck_assert_int_eq(mr_graph_new(road, "bus", &graph, NULL), MR_OK);
    status = mr_part_largest(graph, &edges, &count);
    snprintf(text, sizeof text, "none");
    if (!status) {
        text[0] = '\0';
        for (uint32_t i = 0; i < count; i++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s",
                i ? " " : "", mr_road_id(road, edges[i]));
        free(edges);
    }
    mr_graph_destroy(&graph);
    mr_road_destroy(&road);
    return text;
}

START_TEST(a_ring)
{
    ck_assert_str_eq(part_of("<net>" EDGE("a") EDGE("b") EDGE("c") LINK("a", "b")
                             LINK("b", "c") LINK("c", "a") "</net>"),
        "a b c");
}
END_TEST

/* Two rings and a one-way street from one to the other: the larger ring. */
START_TEST(two_rings)
{
    ck_assert_str_eq(
        part_of("<net>" EDGE("a") EDGE("b") EDGE("c") EDGE("d") EDGE("e") EDGE("f")
                LINK("a", "b") LINK("b", "a") LINK("b", "c") LINK("c", "d") LINK("d", "e")
                    LINK("e", "f") LINK("f", "d") "</net>"),
        "d e f");
}
END_TEST

/* The way back is found only after the part behind it was looked at. */
START_TEST(a_ring_with_a_dead_end)
{
    ck_assert_str_eq(
        part_of("<net>" EDGE("a") EDGE("b") EDGE("c") EDGE("d") LINK("a", "b")
                LINK("b", "c") LINK("c", "d") LINK("b", "d") LINK("c", "a") "</net>"),
        "a b c");
}
END_TEST

/* Two rings that share a street are one part. */
START_TEST(an_eight)
{
    ck_assert_str_eq(part_of("<net>" EDGE("a") EDGE("b") EDGE("c") EDGE("d") EDGE("e")
                             LINK("a", "b") LINK("b", "a") LINK("b", "c") LINK("c", "d")
                                 LINK("d", "b") LINK("e", "a") "</net>"),
        "a b c d");
}
END_TEST

START_TEST(streets_without_turns)
{
    ck_assert_str_eq(part_of("<net>" EDGE("a") EDGE("b") "</net>"), "a");
}
END_TEST

START_TEST(nothing_is_open)
{
    ck_assert_str_eq(part_of("<net>" CLOSED("a") CLOSED("b") "</net>"), "none");
}
END_TEST

START_TEST(a_closed_street_cuts_the_ring)
{
    ck_assert_str_eq(part_of("<net>" EDGE("a") EDGE("b") CLOSED("c") LINK("a", "b")
                             LINK("b", "c") LINK("c", "a") "</net>"),
        "a");
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("flagship_part");
    TCase *all = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(all, a_ring);
    tcase_add_test(all, two_rings);
    tcase_add_test(all, a_ring_with_a_dead_end);
    tcase_add_test(all, an_eight);
    tcase_add_test(all, streets_without_turns);
    tcase_add_test(all, nothing_is_open);
    tcase_add_test(all, a_closed_street_cuts_the_ring);
    suite_add_tcase(suite, all);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
