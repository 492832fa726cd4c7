/* Migrations and days, against a real server. */
#include "schemas/sql/migrate.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "schemas/base/clock.h"
#include "tests/support/pg_fixture.h"

static const char count_days[] =
    "select count(*) from pg_inherits where inhparent = 'millrace.job'::regclass";

START_TEST(once_and_then_nothing)
{
    struct mr_err err = {0};
    struct mr_pg *pg;
    int applied = 0;

    pg_fixture_database(false);
    pg = pg_fixture_open("test");
    ck_status(mr_migrate_check(pg, &err), MR_VERSION);
    ck_assert_ptr_nonnull(strstr(err.todo, "millrace migrate"));
    ck_ok(mr_migrate(pg, "millrace", &applied, &err), err);
    ck_assert_int_ge(applied, 1);
    ck_ok(mr_migrate_check(pg, &err), err);
    ck_ok(mr_migrate(pg, "millrace", &applied, &err), err);
    ck_assert_int_eq(applied, 0);
    /* Yesterday, today, three days, and what has no day. */
    ck_assert_int_eq(pg_fixture_int(pg, count_days), 6);
    ck_ok(mr_migrate(pg, "ride", &applied, &err), err);
    ck_assert_int_ge(applied, 1);
    ck_status(mr_migrate(pg, "nonsense", &applied, &err), MR_NOT_FOUND);
    mr_pg_close(&pg);
}
END_TEST

START_TEST(several_at_a_time)
{
    enum { CHILDREN = 4, FILES = 10 };
    pid_t children[CHILDREN];
    struct mr_pg *pg;

    pg_fixture_database(false);
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        ck_assert_int_ge(children[i], 0);
        if (children[i] == 0) {
            struct mr_err err = {0};
            struct mr_pg *own = NULL;
            int applied = 0;
            bool is_good =
                mr_pg_open(&own, pg_fixture_conninfo(), "test", &err) == MR_OK &&
                mr_migrate(own, "millrace", &applied, &err) == MR_OK;

            if (!is_good)
                fprintf(stderr, "%s: %s\n", err.what, err.why);
            _exit(is_good ? applied : 99);
        }
    }
    for (int i = 0, applied = 0; i < CHILDREN; i++) {
        int status;

        ck_assert_int_eq(waitpid(children[i], &status, 0), children[i]);
        ck_assert(WIFEXITED(status));
        applied += WEXITSTATUS(status);
        if (i == CHILDREN - 1)
            ck_assert_int_eq(applied, FILES);
    }
    pg = pg_fixture_open("test");
    ck_assert_int_eq(
        pg_fixture_int(pg, "select count(*) from millrace.migration"), FILES);
    mr_pg_close(&pg);
}
END_TEST

START_TEST(an_edited_file_is_noticed)
{
    struct mr_err err = {0};
    struct mr_pg *pg;
    int applied = 0;

    pg_fixture_database(true);
    pg = pg_fixture_open("test");
    pg_fixture_text(pg, "update millrace.migration set digest = 'x'");
    ck_status(mr_migrate(pg, "millrace", &applied, &err), MR_VERSION);
    ck_assert_ptr_nonnull(strstr(err.why, "0001_millrace.sql"));
    ck_assert_int_eq(applied, 0);
    mr_pg_close(&pg);
}
END_TEST

START_TEST(a_newer_database_is_left_alone)
{
    struct mr_err err = {0};
    struct mr_pg *pg;
    int applied = 0;

    pg_fixture_database(true);
    pg = pg_fixture_open("test");
    pg_fixture_text(pg, "insert into millrace.migration (set, number, name, digest) "
                        "values ('millrace', 99, '0099_later.sql', 'x')");
    ck_status(mr_migrate_check(pg, &err), MR_VERSION);
    ck_assert_ptr_nonnull(strstr(err.todo, "newer millrace"));
    ck_status(mr_migrate(pg, "millrace", &applied, &err), MR_VERSION);
    ck_assert_ptr_nonnull(strstr(err.todo, "newer millrace"));
    mr_pg_close(&pg);
}
END_TEST

START_TEST(an_older_database_is_said)
{
    struct mr_err err = {0};
    struct mr_pg *pg;

    pg_fixture_database(true);
    pg = pg_fixture_open("test");
    pg_fixture_text(pg, "delete from millrace.migration");
    ck_status(mr_migrate_check(pg, &err), MR_VERSION);
    ck_assert_ptr_nonnull(strstr(err.todo, "millrace migrate"));
    mr_pg_close(&pg);
}
END_TEST

/* Somebody else's table is in the way: nothing of the file remains. */
START_TEST(a_file_is_applied_whole_or_not_at_all)
{
    struct mr_err err = {0};
    struct mr_pg *pg;
    int applied = 0;

    pg_fixture_database(false);
    pg = pg_fixture_open("test");
    pg_fixture_text(pg, "create schema millrace");
    pg_fixture_text(pg, "create table millrace.kind (a int)");
    ck_assert_int_ne(mr_migrate(pg, "millrace", &applied, &err), MR_OK);
    ck_assert_ptr_nonnull(strstr(err.what, "0001_millrace.sql"));
    ck_assert_int_eq(applied, 0);
    ck_assert_int_eq(
        pg_fixture_int(pg, "select count(*) from pg_tables where schemaname = 'millrace' "
                           "and tablename = 'job'"),
        0);
    ck_assert(!mr_pg_in_transaction(pg));
    pg_fixture_text(pg, "drop table millrace.kind");
    ck_ok(mr_migrate(pg, "millrace", &applied, &err), err);
    mr_pg_close(&pg);
}
END_TEST

START_TEST(a_role_without_rights)
{
    struct mr_err err = {0};
    struct mr_pg *pg;
    char sql[128];
    int applied = 0;

    pg_fixture_database(false);
    pg = pg_fixture_open("test");
    snprintf(sql, sizeof sql, "create role plain%ld", (long)getpid());
    pg_fixture_text(pg, sql);
    snprintf(sql, sizeof sql, "set role plain%ld", (long)getpid());
    pg_fixture_text(pg, sql);
    ck_status(mr_migrate(pg, "millrace", &applied, &err), MR_DENIED);
    ck_assert_str_ne(err.todo, "");
    mr_pg_close(&pg);
}
END_TEST

/* ---- days ------------------------------------------------------------------------------------------ */

static struct mr_pg *pg;

static void
setup(void)
{
    pg_fixture_database(true);
    pg = pg_fixture_open("test");
}

static void
teardown(void)
{
    mr_pg_close(&pg);
}

static void
keep(int days_ahead, int retention_days, int made_wanted, int dropped_wanted)
{
    struct mr_err err = {0};
    int made = -1, dropped = -1;

    ck_ok(mr_partitions_keep(pg, days_ahead, retention_days, &made, &dropped, &err), err);
    ck_assert_int_eq(made, made_wanted);
    ck_assert_int_eq(dropped, dropped_wanted);
}

/* A day `ago` days before today, as it was made then, with finished jobs. */
static void
old_day(int ago, int jobs, const char *finished_at)
{
    char sql[1200];

    snprintf(sql, sizeof sql,
        "do $$ declare p text; d timestamptz := date_trunc('day', now(), 'UTC') - %d * "
        "interval '1 day'; begin perform set_config('role', 'millrace_owner', true); "
        "foreach p in array '{job,attempt,result}'::text[] loop "
        "execute format('create table millrace.%%I partition of millrace.%%I for values "
        "from (%%L) to (%%L)', p || to_char(d at time zone 'UTC', '_YYYYMMDD'), p, "
        "millrace.id_floor(d), millrace.id_floor(d + interval '1 day')); end loop; "
        "insert into millrace.job (id, submitted_at, shard, priority, queue, kind) "
        "select "
        "overlay(millrace.new_id()::text placing left(millrace.id_floor(d)::text, 13) "
        "from 1)"
        "::uuid, d, 0, 4, 'q', 'k' from generate_series(1, %d); end $$",
        ago, jobs);
    pg_fixture_text(pg, sql);
    snprintf(sql, sizeof sql,
        "insert into millrace.result (id, finished_at, attempt, outcome) select id, %s, "
        "1, 1 "
        "from millrace.job on conflict do nothing",
        finished_at);
    pg_fixture_text(pg, sql);
    pg_fixture_text(pg,
        "insert into millrace.attempt (id, attempt, outcome) select id, 1, 1 "
        "from millrace.job on conflict do nothing");
}

START_TEST(days_are_made_ahead)
{
    keep(3, 7, 0, 0);
    keep(5, 7, 2, 0);
    ck_assert_int_eq(pg_fixture_int(pg, count_days), 8);
    ck_assert_int_eq(pg_fixture_int(pg,
                         "select count(*) from pg_inherits i join pg_class c on c.oid = "
                         "inhrelid where relname in ("
                         "to_char((now() + interval '5 days') at time zone 'UTC', "
                         "'\"job_\"YYYYMMDD'), to_char(now() at time zone 'UTC', "
                         "'\"attempt_\"YYYYMMDD'), to_char((now() - interval '1 day') at "
                         "time zone 'UTC', '\"result_\"YYYYMMDD'))"),
        3);
}
END_TEST

START_TEST(rows_find_their_day)
{
    pg_fixture_text(pg,
        "insert into millrace.job (id, submitted_at, shard, priority, queue, "
        "kind) values (millrace.new_id(), now(), 0, 4, 'q', 'k')");
    ck_assert_int_eq(
        pg_fixture_int(pg,
            "select count(*) from millrace.job where tableoid::regclass::text "
            "= to_char(now() at time zone 'UTC', '\"millrace.job_\"YYYYMMDD')"),
        1);
}
END_TEST

START_TEST(a_finished_day_is_dropped)
{
    old_day(20, 100, "now() - interval '19 days'");
    old_day(5, 100, "now() - interval '4 days'");
    keep(3, 7, 0, 1);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.job"), 100);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.attempt"), 100);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.result"), 100);
    keep(3, 7, 0, 0);
}
END_TEST

START_TEST(stragglers_move_on)
{
    old_day(20, 100, "now() - interval '19 days'");
    /* One is not finished, one only just. */
    pg_fixture_text(pg, "delete from millrace.result where id = "
                        "(select id from millrace.job order by id limit 1)");
    pg_fixture_text(pg, "update millrace.result set finished_at = now() where id = "
                        "(select id from millrace.result order by id limit 1)");
    keep(3, 7, 0, 1);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.job_rest"), 2);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.attempt_rest"), 2);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.result_rest"), 1);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.job"), 2);
    /* Finished long enough, they go too. */
    pg_fixture_text(
        pg, "update millrace.result_rest set finished_at = now() - interval '8 d'");
    keep(3, 7, 0, 0);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.job"), 1);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.attempt"), 1);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.result"), 0);
}
END_TEST

START_TEST(many_unfinished_jobs_keep_their_day)
{
    old_day(20, 10001, "now()");
    keep(3, 7, 0, 0);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.job"), 10001);
}
END_TEST

START_TEST(a_day_that_is_being_read_waits)
{
    struct mr_pg *reader = pg_fixture_open("reader");
    struct mr_err err = {0};

    old_day(20, 10, "now() - interval '19 days'");
    ck_ok(mr_pg_begin(reader, &err), err);
    pg_fixture_int(reader, "select count(*) from millrace.job");
    keep(3, 7, 0, 0);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.job"), 10);
    mr_pg_rollback(reader);
    keep(3, 7, 0, 1);
    mr_pg_close(&reader);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("sql/migrate");
    TCase *files = tcase_create("files"), *days = tcase_create("days");

    tcase_set_timeout(files, 60);
    tcase_add_test(files, once_and_then_nothing);
    tcase_add_test(files, several_at_a_time);
    tcase_add_test(files, an_edited_file_is_noticed);
    tcase_add_test(files, a_newer_database_is_left_alone);
    tcase_add_test(files, an_older_database_is_said);
    tcase_add_test(files, a_file_is_applied_whole_or_not_at_all);
    tcase_add_test(files, a_role_without_rights);
    suite_add_tcase(suite, files);
    tcase_set_timeout(days, 60);
    tcase_add_checked_fixture(days, setup, teardown);
    tcase_add_test(days, days_are_made_ahead);
    tcase_add_test(days, rows_find_their_day);
    tcase_add_test(days, a_finished_day_is_dropped);
    tcase_add_test(days, stragglers_move_on);
    tcase_add_test(days, many_unfinished_jobs_keep_their_day);
    tcase_add_test(days, a_day_that_is_being_read_waits);
    suite_add_tcase(suite, days);
    return pg_fixture_run(suite, NULL);
}
