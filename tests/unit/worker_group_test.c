/*
 * Several jobs in one transaction: all of them or none, each with a result of its own, and whoever
 * does not fit runs alone, exactly once.
 */
#include "worker/executor.h"

#include "tests/unit/worker_tx_rig.h"

enum { COUNT = 20 };

static struct mr_attempt *attempts[COUNT];
static enum mr_run_end ends[COUNT];
static int odd; /* the one that is not like the others */

static void
set_up_group(void)
{
    set_up();
    for (int i = 0; i < COUNT; i++) {
        attempts[i] = mr_attempt_new();
        ck_assert_ptr_nonnull(attempts[i]);
    }
    odd = 7;
}

static void
tear_down_group(void)
{
    for (int i = 0; i < COUNT; i++)
        mr_attempt_destroy(&attempts[i]);
    tear_down();
}

static struct millrace_kind kind;

/* New jobs in the database, as first attempts. The payload is the number. */
static void
fill(handler_fn run)
{
    static uint8_t numbers[COUNT];

    kind = (struct millrace_kind){
        .name = "test.kind", .run = run, .is_transactional = true, .group_max = COUNT};
    for (int i = 0; i < COUNT; i++) {
        struct mr_job_sent sent = {.attempt = 1};

        new_job();
        numbers[i] = (uint8_t)i;
        sent.id = id;
        sent.payload = mr_span(&numbers[i], 1);
        mr_attempt_reset(attempts[i]);
        ck_assert_int_eq(
            mr_attempt_set(attempts[i], &sent, &kind, (uint64_t)i + 1), MR_OK);
    }
}

static int
number_of(struct millrace_job *own)
{
    size_t bytes;

    return *(const uint8_t *)millrace_job_payload(own, &bytes);
}

static void
run_group(handler_fn run)
{
    fill(run);
    mr_run_group(job, attempts, COUNT, ends);
    ck_assert(!db.pg || !mr_pg_in_transaction(db.pg));
    ck_assert(mr_tx_is_empty(job->tx));
    ck_assert(mr_canceller_guard_close(&guard));
}

/* As the executor does it, by way of the session. */
static void
run_the_rest_alone(void)
{
    for (int i = 0; i < COUNT; i++) {
        if (ends[i] != MR_RUN_ALONE)
            continue;
        atomic_store(&attempts[i]->is_handled, false);
        ends[i] = mr_run_attempt(job, attempts[i]);
    }
}

static void
ck_ends(enum mr_run_end all, enum mr_run_end the_odd_one)
{
    for (int i = 0; i < COUNT; i++)
        ck_assert_msg(ends[i] == (i == odd ? the_odd_one : all), "%d: %d", i, ends[i]);
}

static void
ck_done(enum mr_report the_odd_one, const char *text)
{
    for (int i = 0; i < COUNT; i++) {
        const struct mr_done *done = &attempts[i]->done;

        ck_assert_int_eq(ends[i], MR_RUN_OVER);
        ck_assert_msg(done->report == (i == odd ? the_odd_one : MR_DID_SUCCEED),
            "%d: %d: %.*s", i, done->report, (int)done->text.n,
            (const char *)done->text.p);
        if (done->report == MR_DID_SUCCEED)
            ck_assert(mr_span_eq(done->body, mr_span(&(uint8_t){(uint8_t)i}, 1)));
        if (i == odd && text)
            ck_assert_msg(mr_span_is(done->text, text), "%.*s", (int)done->text.n,
                (const char *)done->text.p);
    }
}

/* So many of them have moved a cent and have a row; nobody twice. */
static void
ck_moved(int moved)
{
    char state[64];

    (void)snprintf(
        state, sizeof state, "%d %d %d %d", 100 - moved, 100 + moved, moved, moved);
    ck_state(state);
    ck_assert_int_eq(
        pg_fixture_int(pg, "select count(distinct l.job) from public.ledger l "
                           "join millrace.result r on r.id = l.job::uuid"),
        moved);
}

static bool
move_cent(struct millrace_job *own)
{
    const char *const taken[] = {"1", "1"}, *const given[] = {"1", "2"};
    const char *const booked[] = {millrace_job_id(own), "1"};

    calls++;
    millrace_put_int(own, number_of(own));
    return millrace_sql_later(own, take, 2, taken) &&
           millrace_sql_later(own, give, 2, given) &&
           millrace_sql_later(own, book, 2, booked);
}

static enum millrace_answer
move(struct millrace_job *own)
{
    return move_cent(own) ? MILLRACE_SUCCEEDED : millrace_sql_failed(own);
}

/* ---- success ----------------------------------------------------------------------------------- */

START_TEST(a_group_is_one_round_trip)
{
    int64_t before;

    run_group(move);
    run_group(move);
    before = pg_proxy_trips(proxy);
    run_group(move);
    ck_assert_int_eq(pg_proxy_trips(proxy) - before, 1);
    odd = -1;
    ck_done(MR_DID_SUCCEED, NULL);
    ck_moved(3 * COUNT);
    ck_assert_int_eq(calls, 3 * COUNT);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(distinct xmin::text) from "
                                        "millrace.result"),
        3);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.result where "
                                        "worker = 'w1' and attempt = 1 and outcome = 1 "
                                        "and finished_at >= started_at"),
        3 * COUNT);
    for (int i = 0; i < COUNT; i++)
        ck_assert(atomic_load(&attempts[i]->is_handled));
}
END_TEST

static enum millrace_answer
move_and_look(struct millrace_job *own)
{
    struct millrace_rows *rows = NULL;

    if (move_cent(own))
        rows = millrace_sql(own, "select count(*) from ledger", 0, NULL);
    if (!rows)
        return millrace_sql_failed(own);
    ck_assert_int_eq(millrace_rows_int(rows, 0, 0), calls); /* of those before it, too */
    return MILLRACE_SUCCEEDED;
}

START_TEST(handlers_may_wait_for_rows)
{
    run_group(move_and_look);
    odd = -1;
    ck_done(MR_DID_SUCCEED, NULL);
    ck_moved(COUNT);
}
END_TEST

static enum millrace_answer
answer_only(struct millrace_job *own)
{
    millrace_put_int(own, number_of(own));
    return MILLRACE_SUCCEEDED;
}

START_TEST(without_sql_the_committer_stores_them)
{
    run_group(answer_only);
    ck_ends(MR_RUN_TO_STORE, MR_RUN_TO_STORE);
    ck_assert(mr_span_is(attempts[3]->finish.body, "\x03"));
}
END_TEST

/* ---- one that does not fit ------------------------------------------------------------------------ */

static enum millrace_answer
fail_queued(struct millrace_job *own)
{
    bool is_good = move_cent(own);

    return is_good && number_of(own) == odd ? millrace_fail(own, "not %d", odd)
                                            : MILLRACE_SUCCEEDED;
}

START_TEST(who_fails_before_anything_was_sent_is_left_out)
{
    run_group(fail_queued);
    ck_ends(MR_RUN_OVER, MR_RUN_ALONE);
    ck_moved(COUNT - 1);
    run_the_rest_alone();
    ck_done(MR_DID_FAIL, "not 7");
    ck_moved(COUNT - 1);
}
END_TEST

static enum millrace_answer
snooze_first(struct millrace_job *own)
{
    return number_of(own) == odd ? millrace_snooze(own, 5) : move(own);
}

START_TEST(the_first_one_may_be_left_out)
{
    odd = 0;
    run_group(snooze_first);
    ck_ends(MR_RUN_OVER, MR_RUN_ALONE);
    run_the_rest_alone();
    ck_done(MR_DID_SNOOZE, "");
    ck_moved(COUNT - 1);
}
END_TEST

START_TEST(garbage_as_arguments_is_left_out)
{
    fill(move);
    attempts[odd]->payload = mr_span("\xc1", 1);
    mr_run_group(job, attempts, COUNT, ends);
    ck_ends(MR_RUN_OVER, MR_RUN_ALONE);
    run_the_rest_alone();
    ck_done(MR_DID_FAIL_FOR_GOOD, "the arguments are not one msgpack value");
    ck_moved(COUNT - 1);
}
END_TEST

static enum millrace_answer
fail_sent(struct millrace_job *own)
{
    bool is_good = move_cent(own) && millrace_sql(own, "select 1", 0, NULL);

    return is_good && number_of(own) == odd ? millrace_fail(own, "not %d", odd)
                                            : MILLRACE_SUCCEEDED;
}

static enum millrace_answer
fail_on_connection(struct millrace_job *own)
{
    (void)move_cent(own);
    (void)millrace_pg(own); /* nobody knows what it is used for */
    return number_of(own) == odd ? millrace_fail(own, "not 7") : MILLRACE_SUCCEEDED;
}

static enum millrace_answer
fail_by_sql(struct millrace_job *own)
{
    bool is_good = move_cent(own);

    if (number_of(own) == odd)
        (void)millrace_sql_later(own, "select 1 / 0", 0, NULL);
    return is_good ? MILLRACE_SUCCEEDED : millrace_sql_failed(own);
}

static enum millrace_answer
demand_too_much(struct millrace_job *own)
{
    static const struct millrace_expect one = {.rows = 1, .text = "overdrawn"};
    const char *const params[] = {number_of(own) == odd ? "1000" : "0", "1"};

    (void)move_cent(own);
    (void)millrace_sql_expect(own, &one,
        "update account set cents = cents - $1 where id = $2 and cents >= $1", 2, params);
    return MILLRACE_SUCCEEDED;
}

static enum millrace_answer
end_it(struct millrace_job *own)
{
    (void)move_cent(own);
    if (number_of(own) == odd)
        (void)millrace_sql(own, "rollback", 0, NULL);
    return MILLRACE_SUCCEEDED;
}

/* Nothing is committed; then each alone. */
static void
ck_apart(handler_fn run, enum mr_report report, const char *text)
{
    run_group(run);
    ck_ends(MR_RUN_ALONE, MR_RUN_ALONE);
    ck_state("100 100 0 0");
    run_the_rest_alone();
    ck_done(report, text);
    ck_moved(COUNT - 1);
}

START_TEST(who_fails_later_takes_the_others_along)
{
    static const struct {
        handler_fn run;
        enum mr_report report;
        const char *text;
    } cases[] = {
        {fail_sent, MR_DID_FAIL, "not 7"},
        {fail_on_connection, MR_DID_FAIL, "not 7"},
        {fail_by_sql, MR_DID_FAIL,
            "queued statement failed (select 1 / 0): division by zero (SQLSTATE 22012)"},
        {demand_too_much, MR_DID_FAIL, "overdrawn"},
        {end_it, MR_DID_FAIL_FOR_GOOD,
            "the job's transaction is gone: the handler ended it; that is done for it, "
            "with the result"},
    };

    ck_apart(cases[_i].run, cases[_i].report, cases[_i].text);
}
END_TEST

START_TEST(a_result_that_stands)
{
    char sql[256], text[37];

    fill(move);
    (void)mr_uuid_format(attempts[odd]->id, text);
    (void)snprintf(sql, sizeof sql,
        "insert into millrace.result (id, outcome, attempt, error, finished_at) "
        "values ('%s', 3, 1, 'by hand', clock_timestamp())",
        text);
    pg_fixture_text(pg, sql);
    mr_run_group(job, attempts, COUNT, ends);
    ck_ends(MR_RUN_ALONE, MR_RUN_ALONE);
    ck_state("100 100 0 1");
    run_the_rest_alone();
    ck_done(MR_WAS_FINISHED, "by hand");
    ck_state("81 119 19 20");
}
END_TEST

START_TEST(a_job_that_does_not_exist)
{
    fill(move);
    attempts[odd]->id.b[15] ^= 1;
    mr_run_group(job, attempts, COUNT, ends);
    ck_ends(MR_RUN_ALONE, MR_RUN_ALONE);
    run_the_rest_alone();
    ck_assert_int_eq(attempts[odd]->done.report, MR_DID_FAIL_FOR_GOOD);
    ck_moved(COUNT - 1);
}
END_TEST

/* Nobody waits long with all the others. */
START_TEST(a_row_that_somebody_holds)
{
    struct mr_pg *other = pg_fixture_open("other");

    pg_fixture_text(other, "begin");
    pg_fixture_text(other, "update public.account set cents = cents where id = 2");
    run_group(move);
    ck_ends(MR_RUN_ALONE, MR_RUN_ALONE);
    ck_state("100 100 0 0");
    pg_fixture_text(other, "commit");
    mr_pg_close(&other);
    run_the_rest_alone();
    odd = -1;
    ck_done(MR_DID_SUCCEED, NULL);
    ck_moved(COUNT);
}
END_TEST

static enum millrace_answer
collide_once(struct millrace_job *own)
{
    bool is_good = move_cent(own);

    if (calls == COUNT)
        (void)millrace_sql_later(own,
            "do $$ begin raise exception 'too late' using errcode = '40001'; end $$", 0,
            NULL);
    return is_good ? MILLRACE_SUCCEEDED : millrace_sql_failed(own);
}

START_TEST(serialization_failures)
{
    run_group(collide_once);
    ck_ends(MR_RUN_ALONE, MR_RUN_ALONE);
    run_the_rest_alone();
    odd = -1;
    ck_done(MR_DID_SUCCEED, NULL);
    ck_moved(COUNT);
}
END_TEST

/* ---- stops ---------------------------------------------------------------------------------------- */

static enum millrace_answer
move_and_stop_another(struct millrace_job *own)
{
    if (number_of(own) == COUNT / 2)
        atomic_store(&attempts[odd]->stop, MR_STOP_CANCELLED);
    return move(own);
}

START_TEST(a_stop_before_its_turn)
{
    odd = COUNT - 1;
    run_group(move_and_stop_another);
    ck_ends(MR_RUN_OVER, MR_RUN_ALONE);
    run_the_rest_alone();
    ck_done(MR_DID_CANCEL, "cancelled");
    ck_moved(COUNT - 1);
}
END_TEST

START_TEST(a_stop_after_its_turn)
{
    ck_apart(move_and_stop_another, MR_DID_CANCEL, "cancelled");
}
END_TEST

static enum millrace_answer
sleep_in_the_group(struct millrace_job *own)
{
    bool is_good = move_cent(own);

    if (calls == COUNT)
        (void)millrace_sql_later(own, "select pg_sleep(60)", 0, NULL);
    return is_good ? MILLRACE_SUCCEEDED : millrace_sql_failed(own);
}

static bool
is_asleep(struct mr_pg *look)
{
    return pg_fixture_int(look,
               "select count(*) from pg_stat_activity where state = 'active' "
               "and query = 'select pg_sleep(60)'") == 1;
}

/* The session cancels one that is not the last. */
static void
stop_one(zsock_t *pipe, void *argument)
{
    struct mr_canceller *canceller = argument;
    struct mr_pg *look = pg_fixture_open("look");
    int64_t until_us = mr_clock_now().mono_us + 20000000;

    zsock_signal(pipe, 0);
    while (!is_asleep(look)) {
        ck_assert_int_lt(mr_clock_now().mono_us, until_us);
        (void)poll(NULL, 0, 5);
    }
    for (int i = 0; i < COUNT; i++)
        ck_assert(!atomic_load(&attempts[i]->is_handled));
    mr_canceller_ask(canceller, &guard, COUNT + 5); /* not one of them */
    for (int i = 0; i < 100; i++) {
        ck_assert(is_asleep(look));
        (void)poll(NULL, 0, 1);
    }
    atomic_store(&attempts[odd]->stop, MR_STOP_CANCELLED);
    mr_canceller_ask(canceller, &guard, attempts[odd]->serial);
    mr_pg_close(&look);
}

START_TEST(a_stop_cancels_sql_of_the_group)
{
    struct mr_canceller *canceller = NULL;
    zactor_t *other;

    (void)zsys_handler_set(NULL);
    ck_assert_int_eq(mr_canceller_new(&canceller), MR_OK);
    other = zactor_new(stop_one, canceller);
    ck_apart(sleep_in_the_group, MR_DID_CANCEL, "cancelled");
    zactor_destroy(&other);
    mr_canceller_destroy(&canceller);
}
END_TEST

/* ---- lost connections ------------------------------------------------------------------------------ */

START_TEST(a_connection_lost_at_commit)
{
    int over = 0, alone = 0;

    pg_fixture_text(pg, "update public.account set cents = 100000");
    run_group(move);
    odd = -1;
    for (int i = 0; i < 2 * PG_PROXY_CUTS; i++) {
        pg_proxy_cut_next(proxy);
        run_group(move);
        for (int k = 0; k < COUNT; k++)
            *(ends[k] == MR_RUN_OVER ? &over : &alone) += 1;
        run_the_rest_alone();
        for (int k = 0; k < COUNT; k++)
            ck_assert(is_success(attempts[k]));
    }
    ck_assert_int_gt(over, 0); /* both outcomes */
    ck_assert_int_gt(alone, 0);
    ck_state("99780 100220 220 220");
}
END_TEST

/* ---- the executor ------------------------------------------------------------------------------------ */

static void *
take_note(struct mr_mailbox *from)
{
    struct mr_note *note = mr_note_take(from);

    while (!note) {
        mr_mailbox_wait(from, -1);
        note = mr_note_take(from);
    }
    return note;
}

START_TEST(an_executor_takes_what_is_there)
{
    static struct mr_batch batch;
    struct mr_mailbox *session = NULL;
    struct mr_executor *executor = NULL;
    struct mr_executor_conf conf = {.conninfo = pg_proxy_conninfo(proxy),
        .db_name = "mr:test",
        .worker = mr_span_str("w1"),
        .committer = box};
    int64_t before;

    (void)zsys_handler_set(NULL);
    ck_assert_int_eq(mr_mailbox_new(&session), MR_OK);
    conf.session = session;
    ck_assert_int_eq(mr_executor_new(&executor, &conf), MR_OK);
    fill(fail_queued);
    kind.group_max = 8;
    odd = 3;
    attempts[9]->number = 2;       /* an attempt after a loss */
    attempts[12]->is_alone = true; /* its group came to nothing */
    mr_batch_reset(&batch);
    for (int i = 0; i < COUNT; i++)
        mr_batch_add(&batch, attempts[i], 0);
    ck_assert(mr_batch_take_back(&batch.items[14])); /* in the middle of a group */
    before = pg_proxy_commits(proxy);
    mr_executor_start(executor, &batch);
    for (int i = 0; i < COUNT; i++) {
        if (i == 14)
            continue;
        ck_assert_ptr_eq(take_note(session), attempts[i]);
        ck_assert_int_eq(attempts[i]->comes_back, i == odd);
        ck_assert_int_eq(attempts[i]->is_alone, i == odd || i == 12);
        if (i != odd)
            ck_assert_int_eq(attempts[i]->done.report, MR_DID_SUCCEED);
    }
    (void)take_note(session); /* idle */
    /* 0 to 7; 8; 9; 10 and 11; 12; 13 to 19 */
    ck_assert_int_eq(pg_proxy_commits(proxy) - before, 6);
    mr_executor_stop(executor);
    mr_executor_destroy(&executor);
    mr_mailbox_destroy(&session);
    ck_moved(COUNT - 2);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("worker/group");
    TCase *tcase = tcase_create("group");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up_group, tear_down_group);
    tcase_add_test(tcase, a_group_is_one_round_trip);
    tcase_add_test(tcase, handlers_may_wait_for_rows);
    tcase_add_test(tcase, without_sql_the_committer_stores_them);
    tcase_add_test(tcase, who_fails_before_anything_was_sent_is_left_out);
    tcase_add_test(tcase, the_first_one_may_be_left_out);
    tcase_add_test(tcase, garbage_as_arguments_is_left_out);
    tcase_add_loop_test(tcase, who_fails_later_takes_the_others_along, 0, 5);
    tcase_add_test(tcase, a_result_that_stands);
    tcase_add_test(tcase, a_job_that_does_not_exist);
    tcase_add_test(tcase, a_row_that_somebody_holds);
    tcase_add_test(tcase, serialization_failures);
    tcase_add_test(tcase, a_stop_before_its_turn);
    tcase_add_test(tcase, a_stop_after_its_turn);
    tcase_add_test(tcase, a_stop_cancels_sql_of_the_group);
    tcase_add_test(tcase, a_connection_lost_at_commit);
    tcase_add_test(tcase, an_executor_takes_what_is_there);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
