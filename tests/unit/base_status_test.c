/* Numbers are a contract: the expected ones are written out here, not taken from the enum. */
#include "schemas/base/status.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

START_TEST(numbers_names_and_duties)
{
    static const struct {
        long code;
        const char *name;
        bool is_retryable;
    } expected[] = {
        {0, "OK", false},
        {101, "BUSY", true},
        {102, "STORE_DOWN", true},
        {103, "STORE_FULL", true},
        {104, "STARTING", true},
        {105, "TIMEOUT", true},
        {106, "UNREACHABLE", true},
        {201, "MOVED", false},
        {202, "FENCED", false},
        {203, "DRAINING", false},
        {301, "MALFORMED", false},
        {302, "TOO_BIG", false},
        {303, "BAD_ID", false},
        {304, "DENIED", false},
        {305, "VERSION", false},
        {306, "NO_METHOD", false},
        {307, "OVER_CREDIT", false},
        {308, "BAD_ARGUMENT", false},
        {309, "BAD_SETTING", false},
        {310, "NO_KIND", false},
        {311, "NOT_FOUND", false},
        {312, "ADDRESS_IN_USE", false},
        {401, "KNOWN", false},
        {402, "CONFLICT", false},
        {403, "FINISHED", false},
        {404, "EXPIRED", false},
        {405, "LIMIT", false},
        {406, "STALE", false},
        {407, "NO_JOB", false},
        {408, "CANCELLED", false},
        {409, "JOB_FAILED", false},
        {501, "NO_SESSION", false},
        {900, "INTERNAL", false},
        {901, "NO_MEMORY", false},
    };
    size_t known = 0;

    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        enum mr_status status = (enum mr_status)expected[i].code;

        ck_assert(mr_status_is_known(expected[i].code));
        ck_assert_str_eq(mr_status_name(status), expected[i].name);
        ck_assert_uint_gt(strlen(mr_status_text(status)), 4);
        ck_assert_int_eq(mr_status_is_retryable(status), expected[i].is_retryable);
    }
    for (long code = -10; code < 2000; code++)
        known += mr_status_is_known(code);
    ck_assert_uint_eq(known, sizeof expected / sizeof expected[0]);
}
END_TEST

START_TEST(unknown_numbers_have_a_name_too)
{
    ck_assert_str_eq(mr_status_name((enum mr_status)999), "UNKNOWN");
    ck_assert_ptr_nonnull(mr_status_text((enum mr_status)999));
    ck_assert(!mr_status_is_known(-1));
    ck_assert(!mr_status_is_known(4294967397)); /* 2^32 + 101 */
}
END_TEST

START_TEST(err_is_filled_cut_and_terminated)
{
    struct mr_err err;
    char text[1000];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ck_assert_int_eq(mr_err_set(&err, MR_BUSY, text, text, text), MR_BUSY);
    ck_assert_int_eq(err.status, MR_BUSY);
    ck_assert_uint_eq(strlen(err.what), sizeof err.what - 1);
    ck_assert_uint_eq(strlen(err.why), sizeof err.why - 1);
    ck_assert_uint_eq(strlen(err.todo), sizeof err.todo - 1);
    ck_assert_int_eq(mr_err_set(&err, MR_DENIED, NULL, NULL, NULL), MR_DENIED);
    ck_assert_str_eq(err.what, "");
    ck_assert_str_eq(err.why, "");
    ck_assert_str_eq(err.todo, "");
    ck_assert_int_eq(mr_err_set(NULL, MR_BUSY, "a", "b", "c"), MR_BUSY);
}
END_TEST

START_TEST(err_is_formatted)
{
    struct mr_err err;

    ck_assert_int_eq(
        mr_err_setf(&err, MR_TOO_BIG, "w", "t", "%d of %s", 7, "x"), MR_TOO_BIG);
    ck_assert_str_eq(err.what, "w");
    ck_assert_str_eq(err.why, "7 of x");
    ck_assert_str_eq(err.todo, "t");
    ck_assert_int_eq(mr_err_setf(NULL, MR_BUSY, "w", "t", "%d", 7), MR_BUSY);
    /* Adding to what is there. */
    mr_err_setf(&err, MR_TOO_BIG, err.what, err.todo, "again: %s", err.why);
    ck_assert_str_eq(err.why, "again: 7 of x");
    mr_err_setf(&err, MR_TOO_BIG, "w", "t", "%2000d", 7);
    ck_assert_uint_eq(strlen(err.why), sizeof err.why - 1);
}
END_TEST

START_TEST(assertions_abort)
{
    MR_ASSERT(1 + 1 == 2);
    MR_ASSERT(1 + 1 == 3);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("base/status");
    TCase *tcase = tcase_create("status");
    SRunner *runner;
    const char *fork_setting = getenv("CK_FORK");
    int failed;

    tcase_add_test(tcase, numbers_names_and_duties);
    tcase_add_test(tcase, unknown_numbers_have_a_name_too);
    tcase_add_test(tcase, err_is_filled_cut_and_terminated);
    tcase_add_test(tcase, err_is_formatted);
    if (!fork_setting || strcmp(fork_setting, "no") != 0)
        tcase_add_test_raise_signal(tcase, assertions_abort, SIGABRT);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
