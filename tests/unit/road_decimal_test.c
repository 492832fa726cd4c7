#include "worker/road/decimal.h"

#include <check.h>

#include <stdlib.h>
#include <string.h>

static int64_t
hundredths(const char *text)
{
    int64_t v;

    ck_assert_msg(mr_decimal_hundredths(text, &v), "%s", text);
    return v;
}

START_TEST(digits_become_integers)
{
    ck_assert_int_eq(hundredths("8.04"), 804);
    ck_assert_int_eq(hundredths("16"), 1600);
    ck_assert_int_eq(hundredths("16."), 1600);
    ck_assert_int_eq(hundredths(".5"), 50);
    ck_assert_int_eq(hundredths("-1.25"), -125);
    ck_assert_int_eq(hundredths("+1.25"), 125);
    ck_assert_int_eq(hundredths("0"), 0);
    ck_assert_int_eq(hundredths("000013.8"), 1380);
}
END_TEST

START_TEST(further_digits_round)
{
    ck_assert_int_eq(hundredths("1.004"), 100);
    ck_assert_int_eq(hundredths("1.005"), 101);
    ck_assert_int_eq(hundredths("1.0049999"), 100);
    ck_assert_int_eq(hundredths("-1.005"), -101);
    ck_assert_int_eq(hundredths("0.995"), 100);
}
END_TEST

START_TEST(thousandths)
{
    int64_t v;

    ck_assert(mr_decimal_thousandths("200.0", &v));
    ck_assert_int_eq(v, 200000);
    ck_assert(mr_decimal_thousandths("0.0005", &v));
    ck_assert_int_eq(v, 1);
}
END_TEST

START_TEST(a_part_ends_where_it_is_told)
{
    const char *text = "12.5,7";
    int64_t v;

    ck_assert(mr_decimal_part(text, text + 4, &v));
    ck_assert_int_eq(v, 1250);
    ck_assert(!mr_decimal_part(text, text + 5, &v));
    ck_assert(!mr_decimal_part(text, text, &v));
}
END_TEST

START_TEST(other_texts_are_refused)
{
    static const char *const texts[] = {"", ".", "-", "+", "1.2.3", "1e3", "0x10", " 1",
        "1 ", "1,5", "--1", "nan", "inf", "1.-5", "99999999999999999999",
        "10000000000.01"};
    int64_t v;

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        ck_assert_msg(!mr_decimal_hundredths(texts[i], &v), "%s", texts[i]);
    ck_assert(!mr_decimal_hundredths(NULL, &v));
    ck_assert_int_eq(hundredths("10000000000"), INT64_C(1000000000000));
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("road/decimal");
    TCase *tcase = tcase_create("decimal");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, digits_become_integers);
    tcase_add_test(tcase, further_digits_round);
    tcase_add_test(tcase, thousandths);
    tcase_add_test(tcase, a_part_ends_where_it_is_told);
    tcase_add_test(tcase, other_texts_are_refused);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
