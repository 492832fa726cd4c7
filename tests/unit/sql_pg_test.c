/* The connection, against a real server. */
#include "schemas/sql/pg.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "schemas/base/clock.h"
#include "tests/support/pg_fixture.h"

static void
must_be_refused(const char *conninfo, enum mr_status wanted, const char *why)
{
    struct mr_pg *pg = NULL;
    struct mr_err err = {0};

    ck_status(mr_pg_open(&pg, conninfo, "test", &err), wanted);
    ck_assert_ptr_null(pg);
    ck_assert_int_eq(err.status, wanted);
    ck_assert_msg(
        strstr(err.why, why) != NULL, "\"%s\" does not say \"%s\"", err.why, why);
    ck_assert_str_ne(err.what, "");
    ck_assert_str_ne(err.todo, "");
}

START_TEST(who_cannot_connect_is_told_why)
{
    char text[512];
    const char *base = mr_cluster_conninfo(pg_fixture_cluster());

    must_be_refused("host=/nowhere dbname=x", MR_STORE_DOWN, "/nowhere");
    must_be_refused("host=127.0.0.1 port=1 dbname=x", MR_STORE_DOWN, "127.0.0.1");
    must_be_refused("hos=127.0.0.1", MR_BAD_SETTING, "hos");
    must_be_refused("just_a_name", MR_BAD_SETTING, "just_a_name");
    must_be_refused("host=127.0.0.1 port=many", MR_BAD_SETTING, "many");
    must_be_refused("host=a port", MR_BAD_SETTING, "port");
    must_be_refused("postgresql://[::1", MR_BAD_SETTING, "URI");
    snprintf(text, sizeof text, "%s dbname=nosuch", base);
    must_be_refused(text, MR_DENIED, "database \"nosuch\" does not exist");
    snprintf(text, sizeof text, "%s user=nobody_here", base);
    must_be_refused(text, MR_DENIED, "role \"nobody_here\" does not exist");
}
END_TEST

/* Each holds Sekret in its password, and is wrong in a way that libpq quotes. */
START_TEST(no_part_of_a_password_is_repeated)
{
    static const char *const wrong[] = {
        "host=h password=my Sekret1",
        "host=h password=my Sekret=1",
        "host=h PASSWORD = x Sekret",
        "postgresql://u:Sekret%zz@h/db",
        "postgresql://u:Sekret@[::1/db",
        "postgresql://u:p@ss:Sekret@127.0.0.1/db",
        "postgresql://u:a@Sekret@127.0.0.1:1/db",
        "postgres://u:p@127.0.0.1:1/Sekret@x?port=Sekret",
    };

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct mr_pg *pg = NULL;
        struct mr_err err = {0};

        ck_assert_int_ne(mr_pg_open(&pg, wrong[i], "test", &err), MR_OK);
        ck_assert_msg(!strstr(err.why, "Sekret") && !strstr(err.todo, "Sekret"),
            "%s: %s %s", wrong[i], err.why, err.todo);
        ck_assert_msg(strstr(err.why, "may belong to a password"), "%s", err.why);
    }
    /* Where there is none, the words that help are still said. */
    must_be_refused("postgresql://u@nosuchhost.invalid/x", MR_STORE_DOWN, "nosuchhost");
}
END_TEST

/* Its own server: the trust of the fixture's would let any password in. */
START_TEST(a_wrong_password_is_said)
{
    static const char hba[] = "local all pass_me scram-sha-256\nlocal all all trust\n";
    struct mr_cluster_options options = {0};
    struct mr_cluster *cluster = NULL;
    struct mr_pg *pg = NULL;
    struct mr_err err = {0};
    char path[600], text[700];
    FILE *file;

    ck_ok(mr_cluster_start(&cluster, &options, &err), err);
    ck_ok(mr_pg_open(&pg, mr_cluster_conninfo(cluster), "test", &err), err);
    ck_ok(
        mr_pg_run(pg, "create role pass_me login password 'right'", 0, NULL, NULL, &err),
        err);
    snprintf(path, sizeof path, "%s", pg_fixture_text(pg, "show hba_file"));
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(hba, file), 0);
    ck_assert_int_eq(fclose(file), 0);
    pg_fixture_text(pg, "select pg_reload_conf()");
    snprintf(text, sizeof text, "%s user=pass_me password=wrong",
        mr_cluster_conninfo(cluster));
    /* The postmaster reads the file when it gets to it. */
    for (int64_t until_us = mr_clock_now().mono_us + 10000000;;) {
        struct mr_pg *other = NULL;

        if (mr_pg_open(&other, text, "test", &err) == MR_DENIED)
            break;
        mr_pg_close(&other);
        ck_assert(mr_clock_now().mono_us < until_us);
    }
    must_be_refused(text, MR_DENIED, "password authentication failed");
    snprintf(text, sizeof text, "%s user=pass_me", mr_cluster_conninfo(cluster));
    must_be_refused(text, MR_DENIED, "no password supplied");
    mr_pg_close(&pg);
    snprintf(text, sizeof text, "%s user=pass_me password=right",
        mr_cluster_conninfo(cluster));
    ck_ok(mr_pg_open(&pg, text, "test", &err), err);
    /* A role without rights on what it asks for. */
    ck_status(mr_pg_run(pg, "select * from pg_authid", 0, NULL, NULL, &err), MR_DENIED);
    ck_assert_str_eq(mr_pg_sqlstate(pg), "42501");
    mr_pg_close(&pg);
    mr_cluster_stop(&cluster);
}
END_TEST

START_TEST(a_session_is_set_up)
{
    struct mr_pg *pg;

    pg_fixture_database(false);
    pg = pg_fixture_open("mr:0123");
    ck_assert_str_eq(pg_fixture_text(pg, "show application_name"), "mr:0123");
    ck_assert_str_eq(pg_fixture_text(pg, "show search_path"), "public");
    ck_assert_str_eq(pg_fixture_text(pg, "show lc_messages"), "C");
    ck_assert_str_eq(pg_fixture_text(pg, "show client_encoding"), "UTF8");
    ck_assert_str_eq(
        pg_fixture_text(pg, "show idle_in_transaction_session_timeout"), "1min");
    mr_pg_close(&pg);
    mr_pg_close(&pg); /* twice is fine */
}
END_TEST

START_TEST(statements_and_their_values)
{
    const char *const params[] = {"42", NULL, "a'b\"c; drop"};
    struct pg_result *result = NULL;
    struct mr_err err = {0};
    struct mr_pg *pg;

    pg_fixture_database(false);
    pg = pg_fixture_open("test");
    ck_ok(mr_pg_run(pg, "select $1::int, $2::int, $3::text", 3, params, &result, &err),
        err);
    ck_assert_int_eq(mr_pg_rows(result), 1);
    ck_assert_int_eq(mr_pg_int(result, 0, 0), 42);
    ck_assert_ptr_null(mr_pg_text(result, 0, 1));
    ck_assert_int_eq(mr_pg_int(result, 0, 1), 0);
    ck_assert_str_eq(mr_pg_text(result, 0, 2), "a'b\"c; drop");
    mr_pg_free_result(&result);
    ck_assert_ptr_null(result);
    ck_ok(mr_pg_run(pg, "create table public.t (a int)", 0, NULL, NULL, &err), err);
    ck_ok(mr_pg_run(
              pg, "insert into public.t values (1), (2), (3)", 0, NULL, &result, &err),
        err);
    ck_assert_int_eq(mr_pg_affected(result), 3);
    mr_pg_free_result(&result);
    mr_pg_close(&pg);
}
END_TEST

START_TEST(errors_are_classified)
{
    static const struct {
        const char *sqlstate;
        enum mr_status status;
    } rows[] = {
        {"40001", MR_BUSY},
        {"40P01", MR_BUSY},
        {"55P03", MR_BUSY},
        {"08006", MR_STORE_DOWN},
        {"08P01", MR_STORE_DOWN},
        {"57P01", MR_STORE_DOWN},
        {"57P03", MR_STORE_DOWN},
        {"53300", MR_STORE_DOWN},
        {"25006", MR_STORE_DOWN},
        {"53100", MR_STORE_FULL},
        {"28P01", MR_DENIED},
        {"28000", MR_DENIED},
        {"42501", MR_DENIED},
        {"23505", MR_BAD_ARGUMENT},
        {"23503", MR_BAD_ARGUMENT},
        {"22P02", MR_BAD_ARGUMENT},
        {"57014", MR_CANCELLED},
        {"42P01", MR_VERSION},
        {"3F000", MR_VERSION},
        {"MR001", MR_FENCED},
        {"MR002", MR_FINISHED},
        {"MR003", MR_NO_JOB},
        {"42601", MR_INTERNAL},
        {"XX000", MR_INTERNAL},
        {"", MR_INTERNAL},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        ck_assert_msg(
            mr_pg_classify(rows[i].sqlstate) == rows[i].status, "%s", rows[i].sqlstate);
}
END_TEST

START_TEST(errors_are_told)
{
    struct pg_result *result = NULL;
    struct mr_err err = {0};
    struct mr_pg *pg;

    pg_fixture_database(false);
    pg = pg_fixture_open("test");
    ck_assert_str_eq(mr_pg_sqlstate(pg), "");
    ck_status(mr_pg_run(pg, "select 'x'::int", 0, NULL, &result, &err), MR_BAD_ARGUMENT);
    ck_assert_ptr_null(result);
    ck_assert_str_eq(mr_pg_sqlstate(pg), "22P02");
    ck_assert_ptr_nonnull(strstr(err.why, "22P02"));
    ck_status(mr_pg_run(pg, "select from millrace.job", 0, NULL, NULL, &err), MR_VERSION);
    ck_assert_ptr_nonnull(strstr(err.todo, "millrace migrate"));
    ck_status(mr_pg_run(pg, "selec 1", 0, NULL, NULL, NULL), MR_INTERNAL);
    /* Two statements are not one. */
    ck_status(mr_pg_run(pg, "select 1; select 2", 0, NULL, NULL, &err), MR_INTERNAL);
    ck_assert_int_eq(pg_fixture_int(pg, "select 7"), 7);
    ck_assert_str_eq(mr_pg_sqlstate(pg), "");
    mr_pg_close(&pg);
}
END_TEST

START_TEST(copy_is_not_a_statement)
{
    struct mr_err err = {0};
    struct mr_pg *pg;

    pg_fixture_database(true);
    pg = pg_fixture_open("test");
    ck_assert_int_ne(
        mr_pg_run(pg, "copy millrace.kind from stdin", 0, NULL, NULL, &err), MR_OK);
    ck_assert(!mr_pg_is_alive(pg));
    ck_status(mr_pg_run(pg, "select 1", 0, NULL, NULL, &err), MR_STORE_DOWN);
    mr_pg_close(&pg);
}
END_TEST

START_TEST(transactions)
{
    struct mr_err err = {0};
    struct mr_pg *pg;

    pg_fixture_database(true);
    pg = pg_fixture_open("test");
    ck_assert(!mr_pg_in_transaction(pg));
    mr_pg_rollback(pg);
    ck_ok(mr_pg_begin(pg, &err), err);
    ck_assert(mr_pg_in_transaction(pg));
    ck_status(mr_pg_begin(pg, &err), MR_INTERNAL);
    pg_fixture_text(pg, "insert into millrace.kind (name) values ('k')");
    ck_status(mr_pg_run(pg, "select 1 / 0", 0, NULL, NULL, &err), MR_BAD_ARGUMENT);
    ck_assert(mr_pg_in_transaction(pg)); /* a failed one */
    mr_pg_rollback(pg);
    ck_assert_str_eq(mr_pg_sqlstate(pg), "22012"); /* still why */
    ck_assert(!mr_pg_in_transaction(pg));
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.kind"), 0);
    mr_pg_close(&pg);
}
END_TEST

START_TEST(a_lost_session_is_noticed)
{
    struct mr_err err = {0};
    struct mr_pg *pg, *other;

    pg_fixture_database(false);
    pg = pg_fixture_open("victim");
    other = pg_fixture_open("test");
    ck_ok(mr_pg_begin(pg, &err), err);
    pg_fixture_int(other, "select count(pg_terminate_backend(pid, 5000)) from "
                          "pg_stat_activity where application_name = 'victim'");
    ck_status(mr_pg_run(pg, "select 1", 0, NULL, NULL, &err), MR_STORE_DOWN);
    ck_assert(!mr_pg_is_alive(pg));
    mr_pg_rollback(pg);
    ck_status(mr_pg_begin(pg, &err), MR_STORE_DOWN);
    mr_pg_close(&pg);
    mr_pg_close(&other);
}
END_TEST

/* From another process, which is all that libpq's cancel needs; it comes again until the
 * statement was there to be met. */
static void
await_server(struct mr_pg **pg)
{
    int64_t until_us = mr_clock_now().mono_us + 30000000;
    struct mr_err err = {0};

    while (mr_pg_open(pg, pg_fixture_conninfo(), "test", &err) != MR_OK)
        ck_assert_msg(mr_clock_now().mono_us < until_us, "%s", err.why);
}

/* Another session's process is killed: the server ends all sessions with a last word. What is
 * written then fails before libpq has seen the end. */
START_TEST(a_crash_of_the_server_is_an_outage)
{
    struct mr_pg *pg = NULL;

    pg_fixture_database(false);
    for (int i = 0; i < 5; i++) {
        struct mr_pg *victim = NULL;
        struct mr_err err = {0};
        pid_t ours, theirs;
        int64_t until_us = mr_clock_now().mono_us + 30000000;

        await_server(&pg);
        ck_ok(mr_pg_open(&victim, pg_fixture_conninfo(), "victim", &err), err);
        ours = (pid_t)pg_fixture_int(pg, "select pg_backend_pid()");
        theirs = (pid_t)pg_fixture_int(victim, "select pg_backend_pid()");
        ck_assert_int_eq(kill(theirs, SIGKILL), 0);
        while (kill(ours, 0) == 0)
            ck_assert_int_lt(mr_clock_now().mono_us, until_us);
        ck_status(mr_pg_begin(pg, &err), MR_STORE_DOWN);
        ck_assert(!mr_pg_is_alive(pg));
        mr_pg_close(&victim);
        mr_pg_close(&pg);
    }
    await_server(&pg);
    mr_pg_close(&pg);
}
END_TEST

START_TEST(a_statement_is_cancelled)
{
    struct mr_pg_cancel *cancel;
    struct mr_err err = {0};
    struct mr_pg *pg;
    pid_t child;

    pg_fixture_database(false);
    pg = pg_fixture_open("test");
    cancel = mr_pg_cancel_new(pg);
    ck_assert_ptr_nonnull(cancel);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        while (mr_pg_cancel(cancel) == MR_OK)
            ;
        _exit(0);
    }
    ck_status(mr_pg_run(pg, "select pg_sleep(60)", 0, NULL, NULL, &err), MR_CANCELLED);
    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    mr_pg_cancel_free(&cancel);
    mr_pg_cancel_free(&cancel);
    mr_pg_close(&pg);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("sql/pg");
    TCase *tcase = tcase_create("pg");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, who_cannot_connect_is_told_why);
    tcase_add_test(tcase, no_part_of_a_password_is_repeated);
    tcase_add_test(tcase, a_wrong_password_is_said);
    tcase_add_test(tcase, a_session_is_set_up);
    tcase_add_test(tcase, statements_and_their_values);
    tcase_add_test(tcase, errors_are_classified);
    tcase_add_test(tcase, errors_are_told);
    tcase_add_test(tcase, copy_is_not_a_statement);
    tcase_add_test(tcase, transactions);
    tcase_add_test(tcase, a_lost_session_is_noticed);
    tcase_add_test(tcase, a_crash_of_the_server_is_an_outage);
    tcase_add_test(tcase, a_statement_is_cancelled);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
