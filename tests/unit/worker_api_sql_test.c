/*
 * One attempt and its transaction, against a real server: what happens when the connection is
 * lost in the middle, when the handler ends the transaction itself, and when somebody was first.
 */
#include "tests/support/pg_fixture.h"
#include "worker/run.h"

#include "schemas/base/clock.h"

#include <stdio.h>

static struct mr_pg *pg; /* looks on */
static struct mr_db db;
static struct millrace_job *job;
static struct mr_attempt *attempt;
static int calls;

static bool
go_on(void *context, int ms)
{
    (void)context;
    (void)ms;
    return true;
}

static void
set_up(void)
{
    struct mr_run_conf conf = {.db = &db, .worker = mr_span_str("w1"), .pause = go_on};

    db = (struct mr_db){.conninfo = pg_fixture_database(true), .name = "under test"};
    pg = pg_fixture_open("onlooker");
    (void)pg_fixture_text(pg, "create table note (text text)");
    ck_assert_int_eq(mr_run_new(&job, &conf), MR_OK);
    attempt = mr_attempt_new();
    ck_assert_ptr_nonnull(attempt);
    calls = 0;
}

static void
tear_down(void)
{
    mr_attempt_destroy(&attempt);
    mr_run_destroy(&job);
    mr_db_close(&db);
    mr_pg_close(&pg);
}

static enum mr_run_end run(enum millrace_answer (*handler)(struct millrace_job *own))
{
    static struct millrace_kind kind;
    struct mr_job_sent sent = {.attempt = 1};
    enum mr_run_end end;

    kind = (struct millrace_kind){
        .name = "test.kind", .run = handler, .is_transactional = true};
    ck_assert_int_eq(
        mr_uuid_parse(
            mr_span_str(pg_fixture_text(pg, "select millrace.new_id()")), &sent.id),
        MR_OK);
    (void)pg_fixture_text(pg, "delete from millrace.job");
    {
        char sql[256], id[MR_UUID_TEXT_MAX];

        (void)snprintf(sql, sizeof sql,
            "insert into millrace.job (id, submitted_at, shard, priority, queue, kind) "
            "values ('%s', now(), 0, 4, 'default', 'test.kind')",
            mr_uuid_format(sent.id, id));
        (void)pg_fixture_text(pg, sql);
    }
    mr_attempt_reset(attempt);
    ck_assert_int_eq(mr_attempt_set(attempt, &sent, &kind, 1), MR_OK);
    end = mr_run_attempt(job, attempt);
    ck_assert(!db.pg || !mr_pg_in_transaction(db.pg));
    return end;
}

static void
end_session(void)
{
    ck_assert_int_eq(pg_fixture_int(pg, "select count(pg_terminate_backend(pid, 5000)) "
                                        "from pg_stat_activity where application_name = "
                                        "'under test'"),
        1);
}

static void
note(struct millrace_job *own, const char *text)
{
    /* Careless on purpose: whether it worked is not looked at. */
    (void)millrace_sql(own, "insert into note values ($1)", 1, &text);
}

static int64_t
notes(const char *text)
{
    char sql[128];

    (void)snprintf(sql, sizeof sql, "select count(*) from note where text = '%s'", text);
    return pg_fixture_int(pg, sql);
}

static enum millrace_answer
careless(struct millrace_job *own)
{
    calls++;
    note(own, "debit");
    if (calls == 1) {
        end_session();
        note(own, "finds the connection lost");
    }
    note(own, "credit");
    return MILLRACE_SUCCEEDED;
}

/* Not half of what it wrote, and not a result without it. */
START_TEST(a_lost_transaction_is_not_gone_on_with)
{
    ck_assert_int_eq(run(careless), MR_RUN_OVER);
    ck_assert_int_eq(attempt->done.report, MR_DID_SUCCEED);
    ck_assert_int_eq(calls, 2);
    ck_assert_int_eq(notes("debit"), 1);
    ck_assert_int_eq(notes("credit"), 1);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from note"), 2);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.result"), 1);
}
END_TEST

static enum millrace_answer
loses_it_at_the_end(struct millrace_job *own)
{
    calls++;
    note(own, "debit");
    if (calls == 1) {
        end_session();
        note(own, "finds the connection lost");
    }
    return MILLRACE_SUCCEEDED;
}

START_TEST(a_success_without_its_writes_is_none)
{
    ck_assert_int_eq(run(loses_it_at_the_end), MR_RUN_OVER);
    ck_assert_int_eq(attempt->done.report, MR_DID_SUCCEED);
    ck_assert_int_eq(calls, 2);
    ck_assert_int_eq(notes("debit"), 1);
}
END_TEST

static enum millrace_answer
is_cut_off(struct millrace_job *own)
{
    calls++;
    note(own, "debit");
    if (calls == 1)
        end_session();
    return MILLRACE_SUCCEEDED;
}

/* The commit itself finds that the connection is lost. */
START_TEST(a_commit_that_finds_nobody)
{
    ck_assert_int_eq(run(is_cut_off), MR_RUN_OVER);
    ck_assert_int_eq(attempt->done.report, MR_DID_SUCCEED);
    ck_assert_int_eq(calls, 2);
    ck_assert_int_eq(notes("debit"), 1);
}
END_TEST

static enum millrace_answer
commits(struct millrace_job *own)
{
    calls++;
    note(own, "debit");
    (void)millrace_sql(own, "commit", 0, NULL);
    return MILLRACE_SUCCEEDED;
}

static enum millrace_answer
rolls_back(struct millrace_job *own)
{
    calls++;
    note(own, "debit");
    (void)millrace_sql(own, "rollback", 0, NULL);
    note(own, "credit");
    return MILLRACE_SUCCEEDED;
}

START_TEST(a_handler_does_not_end_its_transaction)
{
    static enum millrace_answer (*const handlers[])(struct millrace_job * own) = {
        commits, rolls_back};

    ck_assert_int_eq(run(handlers[_i]), MR_RUN_OVER);
    ck_assert_int_eq(attempt->done.report, MR_DID_FAIL_FOR_GOOD);
    ck_assert_int_eq(calls, 1);
    ck_assert_int_eq(notes("credit"), 0);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.result"), 0);
}
END_TEST

static enum millrace_answer
is_second(struct millrace_job *own)
{
    /* Another worker's attempt of the same number. */
    (void)pg_fixture_text(pg, "insert into millrace.result (id, finished_at, attempt, "
                              "outcome, worker, body) "
                              "select id, now(), 1, 1, 'w2', '\\x01' from millrace.job");
    note(own, "debit");
    millrace_put_int(own, 2);
    return MILLRACE_SUCCEEDED;
}

START_TEST(what_stands_is_reported)
{
    ck_assert_int_eq(run(is_second), MR_RUN_OVER);
    ck_assert_int_eq(attempt->done.report, MR_WAS_FINISHED);
    ck_assert_int_eq(attempt->done.outcome, MR_SUCCEEDED);
    ck_assert_uint_eq(attempt->done.body.n, 1);
    ck_assert_int_eq(attempt->done.body.p[0], 1);
    ck_assert_int_eq(notes("debit"), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("worker/api_sql");
    TCase *tcase = tcase_create("transaction");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_lost_transaction_is_not_gone_on_with);
    tcase_add_test(tcase, a_success_without_its_writes_is_none);
    tcase_add_test(tcase, a_commit_that_finds_nobody);
    tcase_add_loop_test(tcase, a_handler_does_not_end_its_transaction, 0, 2);
    tcase_add_test(tcase, what_stands_is_reported);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
