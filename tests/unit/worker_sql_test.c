/*
 * One attempt with a real database: the handler's transaction and the result commit together or
 * not at all, exactly once, whatever happens to connections.
 */
#include "worker/run.h"

#include <check.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <czmq.h>

#include "schemas/base/clock.h"
#include "tests/support/pg_fixture.h"
#include "worker/canceller.h"
#include "worker/executor.h"

static struct mr_store *store;
static struct mr_pg *pg; /* the test's own look at the tables */
static struct mr_mailbox *box;
static struct mr_guard guard;
static struct mr_db db;
static struct millrace_job *job;
static struct mr_attempt *attempt;
static struct mr_uuid id;
static int calls;

typedef enum millrace_answer (*handler_fn)(struct millrace_job *own);

static bool
pause_for(void *context, int ms)
{
    (void)context;
    (void)poll(NULL, 0, ms);
    return true;
}

static void
await_cancel(void *context)
{
    (void)context;
    do
        mr_mailbox_wait(box, -1);
    while (!mr_note_take(box));
}

static void
set_up(void)
{
    struct mr_store_op op;
    struct mr_run_conf conf = {.db = &db,
        .guard = &guard,
        .worker = mr_span_str("w1"),
        .pause = pause_for,
        .await_cancel = await_cancel};

    store = pg_fixture_store(NULL);
    pg = pg_fixture_open("test");
    pg_fixture_text(pg, "create table public.effect (n integer)");
    op = pg_fixture_job();
    pg_fixture_must_commit(store, &op, 1);
    id = op.id;
    ck_assert_int_eq(mr_mailbox_new(&box), MR_OK);
    mr_canceller_guard_init(&guard, box);
    db = (struct mr_db){
        .conninfo = pg_fixture_conninfo(), .name = "mr:test", .guard = &guard};
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
    mr_canceller_guard_fini(&guard);
    mr_mailbox_destroy(&box);
    mr_pg_close(&pg);
    mr_store_close(&store);
}

static enum mr_run_end
run_as(handler_fn run, bool is_transactional, uint32_t number)
{
    static struct millrace_kind kind;
    struct mr_job_sent sent = {.id = id, .attempt = number};

    kind = (struct millrace_kind){
        .name = "test.kind", .run = run, .is_transactional = is_transactional};
    mr_attempt_reset(attempt);
    ck_assert_int_eq(mr_attempt_set(attempt, &sent, &kind, number), MR_OK);
    return mr_run_attempt(job, attempt);
}

static void
ck_report(handler_fn run, enum mr_report report)
{
    ck_assert_int_eq(run_as(run, true, 1), MR_RUN_OVER);
    ck_assert_msg(attempt->done.report == report, "%d: %.*s", attempt->done.report,
        (int)attempt->done.text.n, (const char *)attempt->done.text.p);
}

static bool
text_has(const char *part)
{
    return memmem(attempt->done.text.p, attempt->done.text.n, part, strlen(part)) != NULL;
}

static void
ck_rows(int64_t effects, int64_t results, int64_t follow_ups)
{
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from public.effect"), effects);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.result"), results);
    ck_assert_int_eq(
        pg_fixture_int(pg, "select count(*) from millrace.inbox"), follow_ups);
}

static bool
take_effect(struct millrace_job *own)
{
    return millrace_sql(own, "insert into public.effect values (1)", 0, NULL) != NULL;
}

/* ---- success ------------------------------------------------------------------------------------ */

static enum millrace_answer
succeed(struct millrace_job *own)
{
    const char *const params[] = {"41", NULL};
    struct millrace_rows *rows;

    calls++;
    if (!take_effect(own))
        return millrace_sql_failed(own);
    rows = millrace_sql(own, "select $1::int + 1, $2::text, 'x'", 2, params);
    ck_assert_ptr_nonnull(rows);
    ck_assert_int_eq(millrace_rows_count(rows), 1);
    ck_assert_int_eq(millrace_rows_int(rows, 0, 0), 42);
    ck_assert_ptr_null(millrace_rows_text(rows, 0, 1));
    ck_assert_int_eq(millrace_rows_int(rows, 0, 1), 0);
    ck_assert_str_eq(millrace_rows_text(rows, 0, 2), "x");
    ck_assert_ptr_null(millrace_rows_text(rows, 1, 0));
    ck_assert_ptr_null(millrace_rows_text(rows, 0, 9));
    ck_assert_ptr_nonnull(millrace_pg(own));
    millrace_put_str(own, "ok");
    return MILLRACE_SUCCEEDED;
}

START_TEST(effect_and_result_commit_together)
{
    ck_report(succeed, MR_DID_SUCCEED);
    ck_rows(1, 1, 0);
    ck_assert(mr_span_is(attempt->done.body, "\xa2ok"));
    ck_assert_str_eq(
        pg_fixture_text(pg, "select worker || ' ' || attempt || ' ' || outcome "
                            "from millrace.result"),
        "w1 1 1");
    ck_assert(!attempt->rings);
}
END_TEST

START_TEST(who_comes_second_learns_what_stands)
{
    ck_report(succeed, MR_DID_SUCCEED);
    ck_assert_int_eq(run_as(succeed, true, 2), MR_RUN_OVER);
    ck_assert_int_eq(attempt->done.report, MR_WAS_FINISHED);
    ck_assert_int_eq(attempt->done.outcome, MR_SUCCEEDED);
    ck_assert(mr_span_is(attempt->done.body, "\xa2ok"));
    ck_assert_int_eq(calls, 2);
    ck_rows(1, 1, 0);
}
END_TEST

START_TEST(a_job_that_does_not_exist_fails_for_good)
{
    id.b[15] ^= 1;
    ck_report(succeed, MR_DID_FAIL_FOR_GOOD);
    ck_rows(0, 0, 0);
}
END_TEST

START_TEST(sql_of_a_calculation_is_rolled_back)
{
    ck_assert_int_eq(run_as(succeed, false, 1), MR_RUN_TO_STORE);
    ck_assert(mr_span_is(attempt->finish.body, "\xa2ok"));
    ck_rows(0, 0, 0);
    ck_assert(!mr_pg_in_transaction(db.pg));
}
END_TEST

/* ---- failure -------------------------------------------------------------------------------------- */

static enum millrace_answer
fail_after_effect(struct millrace_job *own)
{
    ck_assert(take_effect(own));
    return millrace_fail(own, "not today");
}

static enum millrace_answer
snooze_after_effect(struct millrace_job *own)
{
    ck_assert(take_effect(own));
    return millrace_snooze(own, 10);
}

START_TEST(what_fails_leaves_nothing_behind)
{
    ck_report(fail_after_effect, MR_DID_FAIL);
    ck_rows(0, 0, 0);
    ck_report(snooze_after_effect, MR_DID_SNOOZE);
    ck_rows(0, 0, 0);
    ck_report(succeed, MR_DID_SUCCEED); /* on the same connection */
    ck_rows(1, 1, 0);
}
END_TEST

static enum millrace_answer
divide_by_zero(struct millrace_job *own)
{
    ck_assert(take_effect(own));
    ck_assert_ptr_null(millrace_sql(own, "select 1/0", 0, NULL));
    ck_assert_str_eq(millrace_sqlstate(own), "22012");
    ck_assert_ptr_null(millrace_sql(own, "select 1", 0, NULL)); /* it is aborted */
    ck_assert_str_eq(millrace_sqlstate(own), "22012");          /* the cause stays */
    calls++;
    return millrace_sql_failed(own);
}

static enum millrace_answer
ignore_an_error(struct millrace_job *own)
{
    ck_assert(take_effect(own));
    ck_assert_ptr_null(millrace_sql(own, "select 1/0", 0, NULL));
    return MILLRACE_SUCCEEDED;
}

START_TEST(wrong_statements_fail_the_attempt)
{
    ck_report(divide_by_zero, MR_DID_FAIL);
    ck_assert(text_has("division by zero"));
    ck_assert_int_eq(calls, 1);
    ck_rows(0, 0, 0);
}
END_TEST

START_TEST(an_error_that_the_handler_ignores_is_no_success)
{
    ck_report(ignore_an_error, MR_DID_FAIL);
    ck_rows(0, 0, 0);
}
END_TEST

/* ---- again in place ---------------------------------------------------------------------------------- */

static int failures; /* calls that meet a serialization failure */

static enum millrace_answer
collide(struct millrace_job *own)
{
    calls++;
    if (!take_effect(own) ||
        (calls <= failures &&
            !millrace_sql(own,
                "do $$ begin raise exception 'too late' using errcode = '40001'; end $$",
                0, NULL)))
        return millrace_sql_failed(own);
    return MILLRACE_SUCCEEDED;
}

START_TEST(serialization_failures_run_again_in_place)
{
    failures = 4;
    ck_report(collide, MR_DID_SUCCEED);
    ck_assert_int_eq(calls, 5);
    ck_rows(1, 1, 0);
}
END_TEST

START_TEST(but_not_for_ever)
{
    failures = 100;
    ck_report(collide, MR_DID_FAIL);
    ck_assert_int_eq(calls, MR_RUN_TRIES_MAX);
    ck_assert(text_has("too late"));
    ck_rows(0, 0, 0);
}
END_TEST

static enum millrace_answer
lose_connection(struct millrace_job *own)
{
    calls++;
    if (!take_effect(own) ||
        (calls == 1 &&
            !millrace_sql(own, "select pg_terminate_backend(pg_backend_pid())", 0, NULL)))
        return millrace_sql_failed(own);
    return MILLRACE_SUCCEEDED;
}

START_TEST(a_lost_connection_is_made_again)
{
    ck_report(lose_connection, MR_DID_SUCCEED);
    ck_assert_int_eq(calls, 2);
    ck_rows(1, 1, 0);
}
END_TEST

/* The server ends the session in the middle of our COMMIT, before it is done. */
START_TEST(a_connection_lost_before_commit_runs_again)
{
    pg_fixture_text(pg, "create sequence public.once");
    pg_fixture_text(pg,
        "create function public.die() returns trigger language plpgsql as $$ begin "
        "if nextval('public.once') = 1 then perform "
        "pg_terminate_backend(pg_backend_pid()); "
        "end if; return null; end $$");
    pg_fixture_text(pg, "create constraint trigger die after insert on public.effect "
                        "deferrable initially deferred for each row "
                        "execute function public.die()");
    ck_report(succeed, MR_DID_SUCCEED);
    ck_assert_int_eq(calls, 2);
    ck_rows(1, 1, 0);
}
END_TEST

/* ---- follow-up jobs --------------------------------------------------------------------------------------- */

static char first_id[37], second_id[37];
static struct millrace_follow_up follow_up;
static bool is_failing;

static enum millrace_answer
submit_two(struct millrace_job *own)
{
    struct millrace_follow_up plain = {
        .kind = "test.noop", .priority = MILLRACE_PRIORITY_DEFAULT};
    struct millrace_follow_up full = {.kind = "test.other",
        .queue = "left",
        .payload = "\x05",
        .payload_bytes = 1,
        .priority = 9,
        .lane = "l",
        .delay_ms = 1000,
        .timeout_ms = 7,
        .attempts_max = 3,
        .backoff_base_ms = 8,
        .backoff_cap_ms = 9,
        .backoff_factor_percent = 150,
        .backoff_jitter_percent = MILLRACE_NO_JITTER};

    if (!millrace_submit(own, "one", &plain, first_id) ||
        !millrace_submit(own, "two", &full, second_id))
        return millrace_sql_failed(own);
    return is_failing ? MILLRACE_FAILED : MILLRACE_SUCCEEDED;
}

START_TEST(follow_ups_exist_if_the_attempt_commits)
{
    char before[37];

    is_failing = true;
    ck_report(submit_two, MR_DID_FAIL);
    ck_assert(!attempt->rings);
    ck_rows(0, 0, 0);
    memcpy(before, first_id, sizeof before);
    is_failing = false;
    ck_report(submit_two, MR_DID_SUCCEED);
    ck_assert(attempt->rings);
    ck_rows(0, 1, 2);
    ck_assert_str_eq(first_id, before); /* the same attempt after attempt */
    ck_assert_str_ne(first_id, second_id);
    ck_assert_str_eq(
        pg_fixture_text(pg, "select id from millrace.inbox where kind = "
                            "'test.noop' and queue = 'default' and priority = 4"),
        first_id);
    ck_assert_str_eq(pg_fixture_text(pg,
                         "select id from millrace.inbox where kind = 'test.other' and "
                         "queue = 'left' and priority = 9 and lane = 'l' and payload = "
                         "'\\x05' and timeout_ms = 7 and attempts_max = 3 and "
                         "backoff_base_ms = 8 and backoff_cap_ms = 9 and "
                         "backoff_factor_percent = 150 and backoff_jitter_percent = 0 "
                         "and run_at > clock_timestamp()"),
        second_id);
}
END_TEST

static enum millrace_answer
submit_wrongly(struct millrace_job *own)
{
    ck_assert(!millrace_submit(own, "label", &follow_up, NULL));
    return millrace_sql_failed(own);
}

START_TEST(wrong_follow_ups_are_refused)
{
    static const struct millrace_follow_up wrong[] = {
        {.kind = NULL},
        {.kind = ""},
        {.kind = "with space"},
        {.kind = "k", .queue = "\x01"},
        {.kind = "k", .lane = ""},
        {.kind = "k", .priority = 10},
        {.kind = "k", .attempts_max = 1001},
        {.kind = "k", .backoff_factor_percent = 99},
        {.kind = "k", .backoff_jitter_percent = 101},
        {.kind = "k", .payload = "\xc1", .payload_bytes = 1},
        {.kind = "k", .payload = "\x01\x02", .payload_bytes = 2},
    };

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        follow_up = wrong[i];
        ck_report(submit_wrongly, MR_DID_FAIL);
        ck_assert(text_has("a follow-up job was refused: "));
    }
    follow_up = (struct millrace_follow_up){.kind = "k"};
    ck_assert_int_eq(run_as(submit_wrongly, false, 1), MR_RUN_OVER);
    ck_assert(text_has("only transactional kinds may submit follow-up jobs"));
    ck_rows(0, 0, 0);
}
END_TEST

/* ---- cancelling SQL in flight ----------------------------------------------------------------------------- */

static enum millrace_answer
sleep_long(struct millrace_job *own)
{
    if (!millrace_sql(own, "select pg_sleep(60)", 0, NULL)) {
        ck_assert_str_eq(millrace_sqlstate(own), "57014");
        return millrace_sql_failed(own);
    }
    return MILLRACE_SUCCEEDED;
}

/* As the session does it, once the statement is seen to run. */
static void
stop_it(zsock_t *pipe, void *argument)
{
    struct mr_canceller *canceller = argument;
    struct mr_pg *look = pg_fixture_open("look");
    int64_t until_us = mr_clock_now().mono_us + 20000000;

    zsock_signal(pipe, 0);
    while (pg_fixture_int(look,
               "select count(*) from pg_stat_activity where state = 'active' "
               "and query = 'select pg_sleep(60)'") == 0) {
        ck_assert_int_lt(mr_clock_now().mono_us, until_us);
        (void)poll(NULL, 0, 5);
    }
    atomic_store(&attempt->stop, MR_STOP_TIMED_OUT);
    mr_canceller_ask(canceller, &guard, 99); /* some other attempt's: not ours */
    mr_canceller_ask(canceller, &guard, 1);
    mr_pg_close(&look);
}

START_TEST(a_stop_cancels_sql_in_flight)
{
    struct mr_canceller *canceller = NULL;
    zactor_t *other;

    (void)zsys_handler_set(NULL);
    ck_assert_int_eq(mr_canceller_new(&canceller), MR_OK);
    other = zactor_new(stop_it, canceller);
    ck_report(sleep_long, MR_DID_TIME_OUT);
    zactor_destroy(&other);
    mr_canceller_destroy(&canceller);
    ck_report(succeed, MR_DID_SUCCEED); /* the connection is as good as before */
    ck_rows(1, 1, 0);
}
END_TEST

START_TEST(a_cancel_is_not_for_whoever_comes_next)
{
    mr_canceller_guard_open(&guard, 5);
    atomic_store(
        &guard.phase, atomic_load(&guard.phase) + 1); /* the canceller is at it */
    ck_assert(!mr_canceller_guard_close(&guard));
    atomic_store(&guard.phase, 0);
    ck_assert(mr_canceller_guard_close(&guard));
    mr_canceller_guard_open(&guard, 6);
    ck_assert(mr_canceller_guard_close(&guard));
}
END_TEST

/* ---- the thread around it ------------------------------------------------------------------------------------ */

static void *
take(struct mr_mailbox *from)
{
    struct mr_note *note = mr_note_take(from);

    while (!note) {
        mr_mailbox_wait(from, -1);
        note = mr_note_take(from);
    }
    return note;
}

START_TEST(an_executor_passes_attempts_on)
{
    static const struct millrace_kind stores = {.name = "a", .run = succeed},
                                      commits = {.name = "b",
                                          .run = succeed,
                                          .is_transactional = true};
    struct mr_job_sent sent = {.id = id, .attempt = 1};
    struct mr_mailbox *session = NULL;
    struct mr_executor *executor = NULL;
    struct mr_executor_conf conf = {.number = 3,
        .conninfo = pg_fixture_conninfo(),
        .db_name = "mr:test",
        .worker = mr_span_str("w1"),
        .committer = box};
    struct mr_executor_idle *idle;
    static struct mr_batch batch;

    (void)zsys_handler_set(NULL);
    ck_assert_int_eq(mr_mailbox_new(&session), MR_OK);
    conf.session = session;
    ck_assert_int_eq(mr_executor_new(&executor, &conf), MR_OK);
    ck_assert_uint_eq(mr_executor_number(executor), 3);
    ck_assert_int_eq(mr_attempt_set(attempt, &sent, &stores, 1), MR_OK);
    mr_batch_reset(&batch);
    mr_batch_add(&batch, attempt, 0);
    mr_executor_start(executor, &batch);
    ck_assert_ptr_eq(take(box), attempt);
    idle = take(session);
    ck_assert_int_eq(idle->note.type, MR_NOTE_IDLE);
    ck_assert_uint_eq(attempt->stored_bytes, 3);
    ck_assert_int_eq(mr_batch_claim_of(&batch.items[0]), MR_CLAIM_STARTED);
    mr_attempt_reset(attempt);
    ck_assert_int_eq(mr_attempt_set(attempt, &sent, &commits, 2), MR_OK);
    mr_batch_reset(&batch);
    mr_batch_add(&batch, attempt, 0);
    mr_executor_start(executor, &batch);
    ck_assert_ptr_eq(take(session), attempt);
    ck_assert_int_eq(attempt->done.report, MR_DID_SUCCEED);
    ck_assert_ptr_eq(take(session), idle);
    mr_executor_stop(executor);
    mr_executor_destroy(&executor);
    mr_mailbox_destroy(&session);
    ck_rows(1, 1, 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("worker/sql");
    TCase *tcase = tcase_create("sql");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, effect_and_result_commit_together);
    tcase_add_test(tcase, who_comes_second_learns_what_stands);
    tcase_add_test(tcase, a_job_that_does_not_exist_fails_for_good);
    tcase_add_test(tcase, sql_of_a_calculation_is_rolled_back);
    tcase_add_test(tcase, what_fails_leaves_nothing_behind);
    tcase_add_test(tcase, wrong_statements_fail_the_attempt);
    tcase_add_test(tcase, an_error_that_the_handler_ignores_is_no_success);
    tcase_add_test(tcase, serialization_failures_run_again_in_place);
    tcase_add_test(tcase, but_not_for_ever);
    tcase_add_test(tcase, a_lost_connection_is_made_again);
    tcase_add_test(tcase, a_connection_lost_before_commit_runs_again);
    tcase_add_test(tcase, follow_ups_exist_if_the_attempt_commits);
    tcase_add_test(tcase, wrong_follow_ups_are_refused);
    tcase_add_test(tcase, a_stop_cancels_sql_in_flight);
    tcase_add_test(tcase, a_cancel_is_not_for_whoever_comes_next);
    tcase_add_test(tcase, an_executor_passes_attempts_on);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
