/* `millrace migrate` against databases that it must leave alone. */
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

static struct rig rig;

static void
set_up(void)
{
    rig_open(&rig);
}

static void
tear_down(void)
{
    rig_close(&rig);
}

static void
migrate(int code, const char *database, const char *word, const char *other)
{
    const char *argv[] = {
        rig_program("millrace"), "migrate", "--database", database, NULL};
    char text[8192];
    int got = rig_run(&rig, argv, text, sizeof text);

    ck_assert_msg(got == code, "exit code %d: %s", got, text);
    ck_assert_msg(strstr(text, word) != NULL, "\"%s\" is not in: %s", word, text);
    ck_assert_msg(strstr(text, other) != NULL, "\"%s\" is not in: %s", other, text);
}

static void
run_sql(const char *sql)
{
    struct mr_err err = {0};

    ck_ok(mr_pg_run(rig.pg, sql, 0, NULL, NULL, &err), err);
}

START_TEST(up_to_date)
{
    migrate(EX_OK, rig.conninfo, "up to date", "millrace");
}
END_TEST

START_TEST(too_new)
{
    run_sql("insert into millrace.migration (set, number, name, digest) "
            "values ('millrace', 9999, 'later', '')");
    migrate(EX_CONFIG, rig.conninfo, "has version 9999", "Install the newer millrace");
}
END_TEST

START_TEST(edited)
{
    run_sql("update millrace.migration set digest = 'other' where number = 1");
    migrate(EX_CONFIG, rig.conninfo, "a schema file was changed", "never edited");
}
END_TEST

START_TEST(nobody_there)
{
    migrate(EX_TEMPFAIL, "host=/nonexistent dbname=x user=y", "/nonexistent", "next:");
    migrate(EX_CONFIG, "host=/nonexistent dbnam=x", "dbnam", "next:");
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("migrate");
    TCase *tcase = tcase_create("migrate");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, up_to_date);
    tcase_add_test(tcase, too_new);
    tcase_add_test(tcase, edited);
    tcase_add_test(tcase, nobody_there);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
