/* How results become durable, against a real server. */
#include "schemas/sql/finish.h"

#include <stdio.h>
#include <stdlib.h>

#include "schemas/base/clock.h"
#include "tests/support/pg_fixture.h"

static struct mr_store *store;
static struct mr_pg *worker, *pg;
static struct mr_arena *arena;
static struct mr_store_op job;

static void
setup(void)
{
    store = pg_fixture_store(NULL);
    pg = pg_fixture_open("test");
    worker = pg_fixture_open("mr:worker");
    job = pg_fixture_job();
    pg_fixture_must_commit(store, &job, 1);
    ck_assert_int_eq(mr_arena_new(&arena, 16 << 20), MR_OK);
    pg_fixture_text(pg, "create table public.effect (n integer)");
}

static void
teardown(void)
{
    mr_arena_destroy(&arena);
    mr_pg_close(&worker);
    mr_pg_close(&pg);
    mr_store_close(&store);
}

static struct mr_finish
finish_of(struct mr_uuid id, uint32_t attempt)
{
    return (struct mr_finish){
        .id = id,
        .attempt = attempt,
        .worker = mr_span_str("w1"),
        .body = mr_span("\xa2ok", 3),
        .started_at_us = INT64_C(1645557742000000),
        .finished_at_us = INT64_C(1645557742250000),
        .status = MR_INTERNAL,
    };
}

static enum mr_status
finish_one(struct mr_finish *finish, struct mr_err *err)
{
    enum mr_status status = mr_finish_one(worker, NULL, finish, err);

    if (status == MR_OK && finish->status == MR_FINISHED)
        status = mr_finish_found(worker, finish, arena, err);
    return status;
}

static void
take_effect(void)
{
    struct mr_err err = {0};

    ck_ok(mr_pg_begin(worker, &err), err);
    ck_ok(mr_pg_run(worker, "insert into public.effect values (1)", 0, NULL, NULL, &err),
        err);
}

static int64_t
effects(void)
{
    return pg_fixture_int(pg, "select count(*) from public.effect");
}

START_TEST(a_result_and_its_effect_are_one)
{
    struct mr_finish finish = finish_of(job.id, 2);
    struct mr_err err = {0};

    take_effect();
    ck_assert(mr_pg_in_transaction(worker));
    ck_ok(finish_one(&finish, &err), err);
    ck_status(finish.status, MR_OK);
    ck_assert(!mr_pg_in_transaction(worker));
    ck_assert_int_eq(effects(), 1);
    ck_assert_str_eq(
        pg_fixture_text(pg, "select concat_ws('|', state, attempts, worker, result, "
                            "extract(epoch from finished_at - started_at)) "
                            "from millrace.jobs"),
        "succeeded|2|w1|\"ok\"|0.250000");
}
END_TEST

START_TEST(who_comes_second_has_no_effect)
{
    struct mr_finish first = finish_of(job.id, 1), second = finish_of(job.id, 2);
    struct mr_err err = {0};

    first.body = mr_span("\x07", 1);
    ck_ok(finish_one(&first, &err), err);
    take_effect();
    ck_ok(finish_one(&second, &err), err);
    ck_status(second.status, MR_FINISHED);
    ck_assert_int_eq(second.found_outcome, MR_SUCCEEDED);
    ck_assert_uint_eq(second.found_attempt, 1);
    ck_assert(mr_span_eq(second.found_body, mr_span("\x07", 1)));
    ck_assert_int_eq(effects(), 0);
    ck_assert(!mr_pg_in_transaction(worker));
}
END_TEST

START_TEST(a_cancelled_job_has_no_effect)
{
    struct mr_store_op end = {.type = MR_STORE_RESULT,
        .id = job.id,
        .outcome = MR_OUT_CANCELLED,
        .text = mr_span_str("by hand")};
    struct mr_finish finish = finish_of(job.id, 1);
    struct mr_err err = {0};

    pg_fixture_must_commit(store, &end, 1);
    take_effect();
    ck_ok(finish_one(&finish, &err), err);
    ck_status(finish.status, MR_FINISHED);
    ck_assert_int_eq(finish.found_outcome, MR_OUT_CANCELLED);
    ck_assert(mr_span_is(finish.found_text, "by hand"));
    ck_assert_int_eq(effects(), 0);
}
END_TEST

START_TEST(a_job_that_does_not_exist)
{
    struct mr_finish finish = finish_of(mr_uuid_new(mr_clock_now().wall_us), 1);
    struct mr_err err = {0};

    take_effect();
    ck_ok(finish_one(&finish, &err), err);
    ck_status(finish.status, MR_NO_JOB);
    ck_assert_int_eq(effects(), 0);
}
END_TEST

/* A constraint that is checked at the end must not look like a success. */
START_TEST(a_commit_that_fails)
{
    struct mr_finish finish = finish_of(job.id, 1);
    struct mr_err err = {0};

    pg_fixture_text(pg, "create table public.pair (a integer unique deferrable "
                        "initially deferred)");
    take_effect();
    ck_ok(
        mr_pg_run(worker, "insert into public.pair values (1), (1)", 0, NULL, NULL, &err),
        err);
    ck_ok(finish_one(&finish, &err), err);
    ck_status(finish.status, MR_BAD_ARGUMENT);
    ck_assert_int_eq(effects(), 0);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.result"), 0);
}
END_TEST

/* A handler that did not notice that its transaction failed. */
START_TEST(a_failed_transaction_is_not_finished)
{
    struct mr_finish finish = finish_of(job.id, 1), again = finish;
    struct mr_err err = {0};

    take_effect();
    ck_status(mr_pg_run(worker, "select 1 / 0", 0, NULL, NULL, &err), MR_BAD_ARGUMENT);
    ck_assert_int_ne(finish_one(&finish, &err), MR_OK);
    ck_assert_int_eq(effects(), 0);
    ck_assert(!mr_pg_in_transaction(worker));
    ck_ok(finish_one(&again, &err), err);
    ck_status(again.status, MR_OK);
}
END_TEST

START_TEST(serialization_failures_are_busy)
{
    struct mr_finish finish = finish_of(job.id, 1);
    struct mr_err err = {0};

    pg_fixture_text(pg, "insert into public.effect values (0)");
    ck_ok(mr_pg_run(worker, "begin isolation level repeatable read", 0, NULL, NULL, &err),
        err);
    pg_fixture_int(worker, "select n from public.effect");
    pg_fixture_text(pg, "update public.effect set n = 1");
    ck_status(mr_pg_run(worker, "update public.effect set n = 2", 0, NULL, NULL, &err),
        MR_BUSY);
    mr_pg_rollback(worker);
    ck_assert_str_eq(mr_pg_sqlstate(worker), "40001");

    /* Found at the commit only: two that each read what the other wrote. */
    for (int i = 0; i < 2; i++) {
        struct mr_pg *side = i == 0 ? worker : pg;

        ck_ok(mr_pg_run(side, "begin isolation level serializable", 0, NULL, NULL, &err),
            err);
        pg_fixture_int(side, "select count(*) from public.effect");
        pg_fixture_text(side, "insert into public.effect values (7)");
    }
    pg_fixture_text(pg, "commit");
    ck_status(finish_one(&finish, &err), MR_BUSY);
    ck_assert(!mr_pg_in_transaction(worker));
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.result"), 0);
}
END_TEST

START_TEST(settling_after_a_lost_connection)
{
    struct mr_finish finish = finish_of(job.id, 1), other = finish_of(job.id, 2);
    struct mr_err err = {0};

    take_effect();
    pg_fixture_int(pg, "select count(pg_terminate_backend(pid, 5000)) from "
                       "pg_stat_activity where application_name = 'mr:worker'");
    ck_status(finish_one(&finish, &err), MR_STORE_DOWN);
    ck_assert(!mr_pg_is_alive(worker));
    mr_pg_close(&worker);
    worker = pg_fixture_open("mr:worker");
    ck_ok(mr_finish_settle(worker, &finish, arena, &err), err);
    ck_status(finish.status, MR_NOT_FOUND);
    ck_assert_int_eq(effects(), 0);

    ck_ok(finish_one(&finish, &err), err);
    ck_status(finish.status, MR_OK);
    ck_ok(mr_finish_settle(worker, &finish, arena, &err), err);
    ck_status(finish.status, MR_OK);
    ck_ok(mr_finish_settle(worker, &other, arena, &err), err);
    ck_status(other.status, MR_FINISHED);
    ck_assert_uint_eq(other.found_attempt, 1);
    other = finish_of(job.id, 1);
    other.worker = mr_span_str("w2");
    ck_ok(mr_finish_settle(worker, &other, arena, &err), err);
    ck_status(other.status, MR_FINISHED);
}
END_TEST

START_TEST(a_batch_has_a_verdict_for_each)
{
    enum { COUNT = 50 };
    struct mr_store_op ops[COUNT];
    struct mr_finish finishes[COUNT + 2], *list[COUNT + 2];
    struct mr_err err = {0};

    for (int i = 0; i < COUNT; i++)
        ops[i] = pg_fixture_job();
    pg_fixture_must_commit(store, ops, COUNT);
    for (int i = 0; i < COUNT; i++)
        finishes[i] = finish_of(ops[i].id, 1);
    finishes[COUNT] = finish_of(mr_uuid_new(mr_clock_now().wall_us), 1);
    finishes[COUNT + 1] = finish_of(ops[5].id, 9); /* the same job twice */
    for (int i = 0; i < COUNT + 2; i++)
        list[COUNT + 1 - i] = &finishes[i];
    finishes[7].body = MR_SPAN_NONE;
    ck_ok(finish_one(&finishes[7], &err), err);
    ck_ok(mr_finish_batch(worker, list, COUNT + 2, arena, &err), err);
    for (int i = 0; i < COUNT; i++)
        ck_status(finishes[i].status, i == 7 || i == 5 ? MR_FINISHED : MR_OK);
    ck_assert_uint_eq(finishes[7].found_attempt, 1);
    ck_assert_uint_eq(finishes[5].found_attempt, 9); /* it stood first in the list */
    ck_status(finishes[COUNT].status, MR_NO_JOB);
    ck_status(finishes[COUNT + 1].status, MR_OK);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.result"), COUNT);

    ck_ok(mr_finish_batch(worker, list, COUNT + 2, arena, &err), err);
    ck_status(finishes[0].status, MR_FINISHED);
    ck_assert_uint_eq(finishes[0].found_attempt, 1);
    ck_ok(mr_finish_batch(worker, list, 0, arena, &err), err);
}
END_TEST

START_TEST(a_batch_after_a_lost_connection)
{
    struct mr_finish finish = finish_of(job.id, 1), *list[] = {&finish};
    struct mr_err err = {0};

    pg_fixture_int(pg, "select count(pg_terminate_backend(pid, 5000)) from "
                       "pg_stat_activity where application_name = 'mr:worker'");
    ck_status(mr_finish_batch(worker, list, 1, arena, &err), MR_STORE_DOWN);
    mr_pg_close(&worker);
    worker = pg_fixture_open("mr:worker");
    ck_ok(mr_finish_batch(worker, list, 1, arena, &err), err);
    ck_status(finish.status, MR_OK);
}
END_TEST

/* Somebody stopped between a result and its COMMIT. */
START_TEST(a_row_that_is_held_does_not_hold_the_batch)
{
    enum { COUNT = 5 };
    struct mr_store_op ops[COUNT];
    struct mr_finish finishes[COUNT], *list[COUNT];
    struct mr_err err = {0};
    char sql[256], id[MR_UUID_TEXT_MAX];

    for (int i = 0; i < COUNT; i++) {
        ops[i] = pg_fixture_job();
        finishes[i] = finish_of(ops[i].id, 2);
        list[i] = &finishes[i];
    }
    pg_fixture_must_commit(store, ops, COUNT);
    ck_ok(mr_pg_begin(pg, &err), err);
    snprintf(sql, sizeof sql, "select millrace.finish('%s', 1, 'w', null, null, null)",
        mr_uuid_format(ops[3].id, id));
    pg_fixture_text(pg, sql);
    ck_ok(mr_finish_batch(worker, list, COUNT, arena, &err), err);
    for (int i = 0; i < COUNT; i++)
        ck_status(finishes[i].status, i == 3 ? MR_BUSY : MR_OK);
    mr_pg_rollback(pg);
    ck_ok(mr_finish_batch(worker, &list[3], 1, arena, &err), err);
    ck_status(finishes[3].status, MR_OK);
}
END_TEST

/* A repeat writes no row; without a WAL record of its own its COMMIT would flush nothing, and
 * "it is there" would be less durable than "it is stored". */
START_TEST(a_repeated_batch_is_flushed)
{
    struct mr_finish finish = finish_of(job.id, 1), *list[] = {&finish};
    struct mr_err err = {0};
    int64_t before;

    ck_ok(mr_finish_batch(worker, list, 1, arena, &err), err);
    ck_ok(mr_finish_batch(worker, list, 1, arena, &err), err);
    before = pg_fixture_int(pg, "select pg_current_wal_flush_lsn() - '0/0'::pg_lsn");
    ck_ok(mr_finish_batch(worker, list, 1, arena, &err), err);
    ck_status(finish.status, MR_FINISHED);
    ck_assert_int_gt(
        pg_fixture_int(pg, "select pg_current_wal_flush_lsn() - '0/0'::pg_lsn"), before);
}
END_TEST

/* A standby may not have confirmed it when the connection was lost. */
START_TEST(a_settled_commit_is_flushed)
{
    struct mr_finish finish = finish_of(job.id, 1);
    struct mr_err err = {0};
    int64_t before;

    ck_ok(finish_one(&finish, &err), err);
    before = pg_fixture_int(pg, "select pg_current_wal_flush_lsn() - '0/0'::pg_lsn");
    ck_ok(mr_finish_settle(worker, &finish, arena, &err), err);
    ck_status(finish.status, MR_OK);
    ck_assert_int_gt(
        pg_fixture_int(pg, "select pg_current_wal_flush_lsn() - '0/0'::pg_lsn"), before);
}
END_TEST

static struct mr_job_new
follow_up(void)
{
    struct mr_job_new next = {
        .id = mr_uuid_derive(job.id, mr_span_str("next"), 1),
        .kind = mr_span_str("test.next"),
        .payload = mr_span("\x91\x01", 2),
        .priority = 4,
        .delay_ms = 60000,
        .timeout_ms = 5,
        .attempts_max = 2,
        .backoff_factor_percent = 1000,
        .backoff_jitter = 100,
    };

    return next;
}

START_TEST(follow_up_jobs_are_part_of_the_transaction)
{
    struct mr_finish finish = finish_of(job.id, 1);
    struct mr_job_new next = follow_up();
    struct mr_err err = {0};

    take_effect();
    ck_ok(mr_inbox_put(worker, &next, job.id, &err), err);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.inbox"), 0);
    mr_pg_rollback(worker);
    take_effect();
    ck_ok(mr_inbox_put(worker, &next, job.id, &err), err);
    ck_ok(mr_inbox_put(worker, &next, job.id, &err), err);
    ck_ok(finish_one(&finish, &err), err);
    ck_assert_str_eq(
        pg_fixture_text(pg,
            "select concat_ws('|', kind, queue, payload, priority, timeout_ms, "
            "attempts_max, backoff_factor_percent, backoff_jitter_percent, "
            "submitted_by, run_at - clock_timestamp() between '50 s' and "
            "'60 s') from millrace.inbox"),
        "test.next|default|\\x9101|4|5|2|1000|100|a test|t");
}
END_TEST

START_TEST(bad_follow_up_jobs_are_refused)
{
    struct mr_job_new next = follow_up();
    struct mr_err err = {0};

    next.kind = mr_span_str("with space");
    ck_status(mr_inbox_put(pg, &next, job.id, &err), MR_BAD_ARGUMENT);
    next = follow_up();
    next.priority = 10;
    ck_status(mr_inbox_put(pg, &next, job.id, &err), MR_BAD_ARGUMENT);
    next = follow_up();
    next.attempts_max = 1001;
    ck_status(mr_inbox_put(pg, &next, job.id, &err), MR_BAD_ARGUMENT);
    next = follow_up();
    next.backoff_factor_percent = 99;
    ck_status(mr_inbox_put(pg, &next, job.id, &err), MR_BAD_ARGUMENT);
    next = follow_up();
    next.backoff_jitter = 101;
    ck_status(mr_inbox_put(pg, &next, job.id, &err), MR_BAD_ARGUMENT);
    next = follow_up();
    next.id.b[6] = 0x4f;
    ck_status(mr_inbox_put(pg, &next, job.id, &err), MR_BAD_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.todo, "millrace.new_id()"));
    next = follow_up();
    next.id = mr_uuid_new(mr_clock_now().wall_us + INT64_C(2) * 86400 * 1000000);
    ck_status(mr_inbox_put(pg, &next, job.id, &err), MR_BAD_ARGUMENT);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.inbox"), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("sql/finish");
    TCase *tcase = tcase_create("finish");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_result_and_its_effect_are_one);
    tcase_add_test(tcase, who_comes_second_has_no_effect);
    tcase_add_test(tcase, a_cancelled_job_has_no_effect);
    tcase_add_test(tcase, a_job_that_does_not_exist);
    tcase_add_test(tcase, a_commit_that_fails);
    tcase_add_test(tcase, a_failed_transaction_is_not_finished);
    tcase_add_test(tcase, serialization_failures_are_busy);
    tcase_add_test(tcase, settling_after_a_lost_connection);
    tcase_add_test(tcase, a_batch_has_a_verdict_for_each);
    tcase_add_test(tcase, a_row_that_is_held_does_not_hold_the_batch);
    tcase_add_test(tcase, a_repeated_batch_is_flushed);
    tcase_add_test(tcase, a_settled_commit_is_flushed);
    tcase_add_test(tcase, a_batch_after_a_lost_connection);
    tcase_add_test(tcase, follow_up_jobs_are_part_of_the_transaction);
    tcase_add_test(tcase, bad_follow_up_jobs_are_refused);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
