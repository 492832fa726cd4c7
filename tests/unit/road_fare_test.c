/* Expected cents are the Berlin tariff worked out by hand. */
#include "worker/road/fare.h"

#include <check.h>

#include <stdlib.h>

static int64_t
total(struct mr_fare_ask ask)
{
    struct mr_fare fare;
    const char *why;

    ck_assert(mr_fare_quote(&ask, &fare, &why));
    ck_assert_ptr_null(why);
    ck_assert_int_eq(fare.base + fare.distance + fare.waiting + fare.extras, fare.total);
    return fare.total;
}

static const char *
refused(struct mr_fare_ask ask)
{
    struct mr_fare fare;
    const char *why = NULL;

    ck_assert(!mr_fare_quote(&ask, &fare, &why));
    ck_assert_ptr_nonnull(why);
    return why;
}

START_TEST(distance_in_three_tiers)
{
    static const struct {
        int64_t metres, cents;
    } rows[] = {{0, 430}, {1020, 716}, {2999, 1270}, {3000, 1270}, {3001, 1270},
        {7000, 2310}, {10000, 2940}, {10000000, 430 + 840 + 1040 + 2098530}};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        ck_assert_int_eq(
            total((struct mr_fare_ask){.metres = rows[i].metres}), rows[i].cents);
}
END_TEST

/* 25 m cost exactly 7.00 cents, 1 m 0.28; 30 s wait 27.5, so 55 s 50.41666... */
START_TEST(one_rounding_of_the_sum)
{
    ck_assert_int_eq(total((struct mr_fare_ask){.metres = 25}), 437);
    ck_assert_int_eq(total((struct mr_fare_ask){.metres = 1}), 430);
    ck_assert_int_eq(total((struct mr_fare_ask){.metres = 2}), 431);
    ck_assert_int_eq(total((struct mr_fare_ask){.waiting_s = 30}), 458);
    ck_assert_int_eq(total((struct mr_fare_ask){.waiting_s = 55}), 480);
    /* 0.28 + 27.5 = 27.78 rounds once to 28. */
    ck_assert_int_eq(total((struct mr_fare_ask){.metres = 1, .waiting_s = 30}), 458);
    ck_assert_int_eq(total((struct mr_fare_ask){.waiting_s = 3600}), 430 + 3300);
}
END_TEST

START_TEST(extras_are_capped)
{
    ck_assert_int_eq(total((struct mr_fare_ask){.passengers = 4}), 430);
    ck_assert_int_eq(total((struct mr_fare_ask){.passengers = 5}), 930);
    ck_assert_int_eq(total((struct mr_fare_ask){.bulky = 3}), 730);
    ck_assert_int_eq(total((struct mr_fare_ask){.passengers = 8, .bulky = 2}), 1130);
    ck_assert_int_eq(total((struct mr_fare_ask){.passengers = 8, .bulky = 3}), 1130);
}
END_TEST

START_TEST(metres_are_rounded_half_up)
{
    ck_assert_int_eq(mr_fare_metres(0), 0);
    ck_assert_int_eq(mr_fare_metres(49), 0);
    ck_assert_int_eq(mr_fare_metres(50), 1);
    ck_assert_int_eq(mr_fare_metres(149), 1);
    ck_assert_int_eq(mr_fare_metres(150), 2);
}
END_TEST

START_TEST(wrong_input_is_refused_with_a_reason)
{
    ck_assert_str_eq(
        refused((struct mr_fare_ask){.tariff = "berlin"}), "there is no such tariff");
    ck_assert_str_eq(
        refused((struct mr_fare_ask){.metres = -1}), "metres must be 0 to 10000000");
    refused((struct mr_fare_ask){.metres = 10000001});
    refused((struct mr_fare_ask){.metres = INT64_MAX});
    refused((struct mr_fare_ask){.waiting_s = -1});
    refused((struct mr_fare_ask){.waiting_s = INT64_MAX});
    refused((struct mr_fare_ask){.passengers = 9});
    refused((struct mr_fare_ask){.passengers = -1});
    refused((struct mr_fare_ask){.bulky = INT64_MAX});
    refused((struct mr_fare_ask){.bulky = -1});
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("road/fare");
    TCase *tcase = tcase_create("fare");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, distance_in_three_tiers);
    tcase_add_test(tcase, one_rounding_of_the_sum);
    tcase_add_test(tcase, extras_are_capped);
    tcase_add_test(tcase, metres_are_rounded_half_up);
    tcase_add_test(tcase, wrong_input_is_refused_with_a_reason);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
