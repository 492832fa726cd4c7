/* Keyrings: who may read them, where they are looked for, and the command that makes and changes them. */
#include "tests/integration/seal_rig.h"

/* ---- settings ------------------------------------------------------------------------------------------------- */

START_TEST(a_keyring_that_others_can_read_is_refused)
{
    struct millrace_options options = {.endpoints = rig.front, .seal_file = ring};
    struct millrace_error error;

    runs(0, "chmod 640 $R");
    runs(78, "%s --endpoint tcp://127.0.0.1:1 --database \"%s\" --seal-file $R",
        rig_program("millrace-worker"), rig.conninfo);
    shows("others may read");
    runs(78, "$0 submit test.noop --seal-file $R");
    shows("has mode 0640");
    runs(78, "$0 seal show $R");
    ck_assert_ptr_null(millrace_open(&options, &error));
    ck_assert_int_eq(error.code, MILLRACE_BAD_SETTING);
    ck_assert_ptr_nonnull(strstr(error.todo, "chmod 600"));
    /* Whoever only looks needs no keys. */
    runs(0, "MILLRACE_SEAL_FILE=$R $0 jobs");
    runs(0, "chmod 600 $R");
    runs(78, "$0 submit test.noop --seal-file $R.none");
    shows("millrace seal new");
}
END_TEST

START_TEST(the_variable_and_the_credential_count)
{
    work(0, (const char *const[]){NULL});
    runs(1, "MILLRACE_SEAL_FILE=$R $0 submit seal.see " ARGS "--attempts 1 --wait");
    shows("SEAL_NO_KEY");
    runs(1, "cp $R $K/millrace.seal; CREDENTIALS_DIRECTORY=$K $0 submit seal.see " ARGS
            "--attempts 1 --wait");
    shows("SEAL_NO_KEY");
    stop_worker(0);
    ck_assert_int_eq(setenv("CREDENTIALS_DIRECTORY", keys, 1), 0);
    work(0, (const char *const[]){NULL});
    ck_assert_int_eq(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    runs(0, "MILLRACE_SEAL_FILE=$R $0 submit seal.see " ARGS "--wait");
    shows(SUM);
}
END_TEST

START_TEST(keyrings_are_made_and_changed_by_the_command)
{
    char first[32];

    runs(0, "$0 seal show $R -o json");
    shows("\"does\":\"seals, opens\"");
    runs(0, "$0 seal show $R -o json | grep -o '[0-9a-f]\\{16\\}'");
    (void)snprintf(first, sizeof first, "%.16s", text);
    runs(73,
        "$0 seal new $R || test $? = 65 && exit 73"); /* what is there is not overwritten */
    runs(64, "$0 seal rotate $R");
    shows("There is one key in it");
    runs(64, "$0 seal drop $R");
    shows("the one that seals");
    runs(0, "$0 seal add $R");
    shows(first);
    runs(66, "$0 seal drop $R --key 0123456789abcdef");
    runs(66, "$0 seal rotate $R --key 0123456789abcdef");
    runs(0, "$0 seal rotate $R && $0 seal show $R | tail -1");
    shows(first);
    runs(0, "$0 seal drop $R --key %s", first);
    hides(first);
    runs(64, "$0 seal burn $R");
    runs(78, "$0 seal show $R.none");
    runs(78, "echo nonsense >> $R; $0 seal show $R");
    shows("line 4");
    runs(0, "stat -c %%a $O");
    shows("600");
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("48_keyring");
    TCase *tcase = tcase_create("keyring");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, a_keyring_that_others_can_read_is_refused);
    tcase_add_test(tcase, the_variable_and_the_credential_count);
    tcase_add_test(tcase, keyrings_are_made_and_changed_by_the_command);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
