#include "tests/support/bench_judge.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>

static enum mr_bench_verdict
judge(const char *bench, const char *figure, double value)
{
    const struct mr_bench_target *target = mr_bench_target(bench, figure);

    ck_assert_ptr_nonnull(target);
    return mr_bench_judge(target, value);
}

/* e2e has to reach 0.55 of the floor: half of that is 0.275. */
START_TEST(a_ratio_below_half_of_its_target_is_red)
{
    ck_assert_int_eq(judge("e2e", "ratio", 0.9), MR_BENCH_HOLDS);
    ck_assert_int_eq(judge("e2e", "ratio", 0.55), MR_BENCH_HOLDS);
    ck_assert_int_eq(judge("e2e", "ratio", 0.54), MR_BENCH_SHORT);
    ck_assert_int_eq(judge("e2e", "ratio", 0.28), MR_BENCH_SHORT);
    ck_assert_int_eq(judge("e2e", "ratio", 0.27), MR_BENCH_RED);
    ck_assert_int_eq(judge("e2e", "ratio", 0), MR_BENCH_RED);
}
END_TEST

/* 1.0 ms to the start where a bare commit takes 0.3 ms: 3.33 times, twice that is 6.67. */
START_TEST(a_ratio_above_twice_its_limit_is_red)
{
    ck_assert_int_eq(judge("latency", "start_ratio", 3.3), MR_BENCH_HOLDS);
    ck_assert_int_eq(judge("latency", "start_ratio", 3.4), MR_BENCH_SHORT);
    ck_assert_int_eq(judge("latency", "start_ratio", 6.6), MR_BENCH_SHORT);
    ck_assert_int_eq(judge("latency", "start_ratio", 6.7), MR_BENCH_RED);
    ck_assert_int_eq(judge("alloc", "allocs_per_job", 0), MR_BENCH_HOLDS);
    ck_assert_int_eq(judge("alloc", "allocs_per_job", 0.005), MR_BENCH_HOLDS);
    ck_assert_int_eq(judge("alloc", "allocs_per_job", 0.5), MR_BENCH_RED);
}
END_TEST

START_TEST(what_is_not_a_number_is_red)
{
    ck_assert_int_eq(judge("e2e", "ratio", (double)NAN), MR_BENCH_RED);
    ck_assert_int_eq(judge("latency", "done_ratio", (double)NAN), MR_BENCH_RED);
}
END_TEST

/* Another machine is allowed to be slow. */
START_TEST(a_time_is_never_red)
{
    ck_assert_int_eq(judge("e2e", "cpu_s_per_100k", 1.1), MR_BENCH_HOLDS);
    ck_assert_int_eq(judge("e2e", "cpu_s_per_100k", 100), MR_BENCH_SHORT);
    ck_assert_int_eq(judge("latency", "start_p50_ms", 1e6), MR_BENCH_SHORT);
}
END_TEST

START_TEST(what_has_no_target_is_not_judged)
{
    ck_assert_ptr_null(mr_bench_target("e2e", "p50_ms"));
    ck_assert_ptr_null(mr_bench_target("nothing", "ratio"));
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("bench_judge");
    TCase *tcase = tcase_create("core");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tcase, a_ratio_below_half_of_its_target_is_red);
    tcase_add_test(tcase, a_ratio_above_twice_its_limit_is_red);
    tcase_add_test(tcase, what_is_not_a_number_is_red);
    tcase_add_test(tcase, a_time_is_never_red);
    tcase_add_test(tcase, what_has_no_target_is_not_judged);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
