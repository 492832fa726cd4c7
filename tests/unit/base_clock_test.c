/* Expected texts are from `date -u -d @SECONDS`. */
#include "schemas/base/clock.h"

#include <check.h>
#include <time.h>

START_TEST(formats_known_instants)
{
    char text[28];

    ck_assert_str_eq(mr_clock_format(0, text), "1970-01-01T00:00:00.000000Z");
    ck_assert_str_eq(
        mr_clock_format(INT64_C(1795484987123456), text), "2026-11-24T01:49:47.123456Z");
    ck_assert_str_eq(
        mr_clock_format(INT64_C(951782400000001), text), "2000-02-29T00:00:00.000001Z");
    ck_assert_str_eq(
        mr_clock_format(INT64_C(4107542399999999), text), "2100-02-28T23:59:59.999999Z");
}
END_TEST

START_TEST(times_before_1970_round_down)
{
    char text[28];

    ck_assert_str_eq(mr_clock_format(-1, text), "1969-12-31T23:59:59.999999Z");
    ck_assert_str_eq(mr_clock_format(-1000000, text), "1969-12-31T23:59:59.000000Z");
}
END_TEST

/* What a peer sends as a time can be any number: the text always has its 27 characters. */
START_TEST(times_that_no_calendar_has_are_clamped)
{
    char text[28];

    ck_assert_str_eq(mr_clock_format(INT64_MIN, text), "0000-01-01T00:00:00.000000Z");
    ck_assert_str_eq(mr_clock_format(INT64_MAX, text), "9999-12-31T23:59:59.999999Z");
    ck_assert_str_eq(mr_clock_format(INT64_C(253402300800000000), text),
        "9999-12-31T23:59:59.999999Z");
}
END_TEST

START_TEST(reads_both_clocks)
{
    int64_t before_s = (int64_t)time(NULL);
    struct mr_now a = mr_clock_now();
    struct mr_now b = mr_clock_now();
    int64_t after_s = (int64_t)time(NULL);

    ck_assert_int_ge(b.mono_us, a.mono_us);
    /* time() reads a coarser clock, which may lag by a tick. */
    ck_assert_int_ge(a.wall_us / 1000000, before_s - 1);
    ck_assert_int_le(b.wall_us / 1000000, after_s + 1);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("base/clock");
    TCase *tcase = tcase_create("clock");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, formats_known_instants);
    tcase_add_test(tcase, times_before_1970_round_down);
    tcase_add_test(tcase, times_that_no_calendar_has_are_clamped);
    tcase_add_test(tcase, reads_both_clocks);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
