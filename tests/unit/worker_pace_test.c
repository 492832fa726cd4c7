/*
 * How far ahead a worker fetches. Expected values by hand: 10 ms of work for each thread.
 */
#include "worker/pace.h"

#include <check.h>
#include <stdlib.h>

START_TEST(nothing_known_is_the_least)
{
    struct mr_pace pace = mr_pace_new(4, 4, 512, 0);

    ck_assert_uint_eq(mr_pace_ahead(&pace), 4);
}
END_TEST

START_TEST(short_jobs_are_fetched_by_the_hundred)
{
    struct mr_pace pace = mr_pace_new(4, 4, 512, 0);

    for (int i = 0; i < 1000; i++)
        mr_pace_ran(&pace, 100);
    ck_assert_uint_eq(mr_pace_ahead(&pace), 400); /* 4 * 10,000 / 100 */
}
END_TEST

START_TEST(there_is_a_most)
{
    struct mr_pace pace = mr_pace_new(4, 4, 512, 0);

    for (int i = 0; i < 1000; i++)
        mr_pace_ran(&pace, -5); /* a clock that was set back */
    ck_assert_uint_eq(mr_pace_ahead(&pace), 512);
}
END_TEST

/* One may have lost its processor; a row of them means it. */
START_TEST(a_row_of_long_jobs_is_believed)
{
    struct mr_pace pace = mr_pace_new(4, 4, 512, 100);

    mr_pace_ran(&pace, 1000000);
    ck_assert_uint_eq(mr_pace_ahead(&pace), 200); /* 4 * 10,000 / 200 */
    for (int i = 0; i < 6; i++)
        mr_pace_ran(&pace, 1000000);
    ck_assert_uint_eq(mr_pace_ahead(&pace), 4); /* 12,800 us: 3, but 4 is the least */
    mr_pace_ran(&pace, 100);
    ck_assert_uint_eq(mr_pace_ahead(&pace), 4); /* one short job changes little */
}
END_TEST

/* Jobs of 20 us: a thread gets its share of what waits, 50 us of work at least, 1 ms at most. */
START_TEST(a_batch_is_a_share_of_what_waits)
{
    struct mr_pace pace = mr_pace_new(4, 4, 512, 20);

    ck_assert_uint_eq(mr_pace_batch(&pace, 100, 4), 25);
    ck_assert_uint_eq(mr_pace_batch(&pace, 101, 4), 26);
    ck_assert_uint_eq(mr_pace_batch(&pace, 3, 4), 2); /* 50 / 20 */
    ck_assert_uint_eq(mr_pace_batch(&pace, 1000, 4), 50);
    ck_assert_uint_eq(mr_pace_batch(&pace, 1000, 1), 50);
}
END_TEST

START_TEST(long_jobs_are_handed_over_one_by_one)
{
    struct mr_pace pace = mr_pace_new(4, 4, 512, 600);

    ck_assert_uint_eq(mr_pace_batch(&pace, 1000, 1), 1);
    pace = mr_pace_new(4, 4, 512, 0);
    ck_assert_uint_eq(mr_pace_batch(&pace, 1000, 1), 1);
}
END_TEST

START_TEST(no_choice_is_no_choice)
{
    struct mr_pace pace = mr_pace_new(4, 7, 7, 0);

    mr_pace_ran(&pace, 1);
    ck_assert_uint_eq(mr_pace_ahead(&pace), 7);
    mr_pace_ran(&pace, 1000000);
    ck_assert_uint_eq(mr_pace_ahead(&pace), 7);
}
END_TEST

START_TEST(what_is_here_stays_unless_it_would_wait_long)
{
    struct mr_pace pace = mr_pace_new(4, 4, 512, 0);

    mr_pace_ran(&pace, 20000);
    ck_assert_uint_eq(mr_pace_ahead(&pace), 4);
    ck_assert_uint_eq(mr_pace_keep(&pace), 94); /* 4 * 250,000 / (10,000 + 10,000 / 16) */
    mr_pace_ran(&pace, 10000000);
    ck_assert_uint_eq(
        mr_pace_keep(&pace), 12); /* twice what is fetched, and the threads */
    for (int i = 0; i < 1000; i++)
        mr_pace_ran(&pace, 0);
    ck_assert_uint_eq(mr_pace_keep(&pace), 62500); /* 16 us: it does not fall below */
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("worker/pace");
    TCase *tests = tcase_create("pace");
    SRunner *runner;
    int failed;

    tcase_add_test(tests, nothing_known_is_the_least);
    tcase_add_test(tests, short_jobs_are_fetched_by_the_hundred);
    tcase_add_test(tests, there_is_a_most);
    tcase_add_test(tests, a_row_of_long_jobs_is_believed);
    tcase_add_test(tests, a_batch_is_a_share_of_what_waits);
    tcase_add_test(tests, long_jobs_are_handed_over_one_by_one);
    tcase_add_test(tests, no_choice_is_no_choice);
    tcase_add_test(tests, what_is_here_stays_unless_it_would_wait_long);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
