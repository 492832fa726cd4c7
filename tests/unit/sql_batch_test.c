/* What a commit does with each row, against a real server. */
#include "schemas/sql/store.h"

#include <stdio.h>
#include <stdlib.h>

#include "schemas/base/clock.h"
#include "tests/support/pg_fixture.h"

#define LARGE 1000 /* COPY */

static struct mr_store *store;
static struct mr_pg *pg;

static void
setup(void)
{
    store = pg_fixture_store(NULL);
    pg = pg_fixture_open("test");
}

static void
teardown(void)
{
    mr_pg_close(&pg);
    mr_store_close(&store);
}

static struct mr_store_op
attempt_of(struct mr_uuid id, uint32_t attempt)
{
    return (struct mr_store_op){
        .type = MR_STORE_ATTEMPT,
        .id = id,
        .attempt = attempt,
        .attempt_outcome = MR_ATTEMPT_FAILED,
        .text = mr_span_str("no"),
        .worker = mr_span_str("w1"),
        .started_at_us = INT64_C(1645557742000000),
        .finished_at_us = INT64_C(1645557742250000),
        .retry_at_us = INT64_C(1645557743000000),
    };
}

static struct mr_store_op
result_of(struct mr_uuid id, enum mr_outcome outcome)
{
    return (struct mr_store_op){
        .type = MR_STORE_RESULT,
        .id = id,
        .attempt = 3,
        .outcome = outcome,
        .text = mr_span_str("gave up"),
        .finished_at_us = INT64_C(1645557742250000),
    };
}

static struct mr_store_op *
make_jobs(int count)
{
    struct mr_store_op *ops = calloc((size_t)count, sizeof *ops);

    for (int i = 0; i < count; i++)
        ops[i] = pg_fixture_job();
    return ops;
}

START_TEST(every_column_arrives)
{
    struct mr_store_op op = pg_fixture_job();

    op.submitted_at_us = INT64_C(1645557742000000); /* 2022-02-22 19:22:22 UTC */
    op.job.queue = mr_span_str("q");
    op.job.kind = mr_span_str("k.x");
    op.job.priority = 9;
    op.job.lane = mr_span_str("l");
    op.job.run_at_us = INT64_C(1645557742000001);
    op.job.expires_at_us = INT64_C(946684800000000); /* where PostgreSQL's time starts */
    op.job.timeout_ms = UINT32_MAX;
    op.job.attempts_max = 1000;
    op.job.backoff_base_ms = 1;
    op.job.backoff_cap_ms = 4000000000;
    op.job.backoff_factor_percent = 100;
    op.job.backoff_jitter = MR_JITTER_NONE;
    op.job.trace = mr_span_str("00-ab");
    op.job.redrive_of.b[15] = 7;
    op.job.payload = mr_span("\x93\x01\xc0\xa1z", 5);
    pg_fixture_must_commit(store, &op, 1);
    ck_status(op.status, MR_OK);
    ck_assert_str_eq(
        pg_fixture_text(pg,
            "select concat_ws('|', submitted_at at time zone 'UTC', shard, priority, "
            "queue, kind, lane, run_at at time zone 'UTC', expires_at at time zone "
            "'UTC', "
            "timeout_ms, attempts_max, backoff_base_ms, backoff_cap_ms, "
            "backoff_factor_percent, backoff_jitter_percent, submitted_by, trace, "
            "payload, redrive_of) from millrace.job"),
        "2022-02-22 19:22:22|0|9|q|k.x|l|2022-02-22 19:22:22.000001|2000-01-01 00:00:00|"
        "4294967295|1000|1|4000000000|100|0|a test|00-ab|\\x9301c0a17a|"
        "00000000-0000-0000-0000-000000000007");
}
END_TEST

START_TEST(what_is_not_given_is_null)
{
    struct mr_store_op op = pg_fixture_job();

    op.job.payload = op.submitted_by = MR_SPAN_NONE;
    pg_fixture_must_commit(store, &op, 1);
    ck_assert_int_eq(
        pg_fixture_int(pg,
            "select num_nulls(lane, run_at, expires_at, timeout_ms, attempts_max, "
            "backoff_base_ms, backoff_cap_ms, backoff_factor_percent, "
            "backoff_jitter_percent, submitted_by, trace, payload, redrive_of) "
            "from millrace.job"),
        13);
}
END_TEST

START_TEST(a_job_again_is_known)
{
    struct mr_store_op op = pg_fixture_job();

    pg_fixture_must_commit(store, &op, 1);
    ck_status(op.status, MR_OK);
    pg_fixture_must_commit(store, &op, 1);
    ck_status(op.status, MR_KNOWN);
    op.job.priority = 7; /* not part of what a job is */
    pg_fixture_must_commit(store, &op, 1);
    ck_status(op.status, MR_KNOWN);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.job"), 1);
}
END_TEST

START_TEST(another_body_is_a_conflict)
{
    struct mr_store_op op = pg_fixture_job(), kind, queue, body, none, owner, nobody;

    pg_fixture_must_commit(store, &op, 1);
    kind = queue = body = none = owner = nobody = op;
    kind.job.kind = mr_span_str("test.fail");
    queue.job.queue = mr_span_str("other");
    body.job.payload = mr_span("\x02", 1);
    none.job.payload = MR_SPAN_NONE;
    owner.submitted_by = mr_span_str("another");
    nobody.submitted_by = MR_SPAN_NONE;
    pg_fixture_must_commit(store, &kind, 1);
    ck_status(kind.status, MR_CONFLICT);
    pg_fixture_must_commit(store, &queue, 1);
    ck_status(queue.status, MR_CONFLICT);
    pg_fixture_must_commit(store, &body, 1);
    ck_status(body.status, MR_CONFLICT);
    pg_fixture_must_commit(store, &none, 1);
    ck_status(none.status, MR_CONFLICT);
    pg_fixture_must_commit(store, &owner, 1);
    ck_status(owner.status, MR_CONFLICT);
    pg_fixture_must_commit(store, &nobody, 1);
    ck_status(nobody.status, MR_CONFLICT);
    ck_assert_str_eq(pg_fixture_text(pg, "select payload from millrace.job"), "\\x01");
}
END_TEST

START_TEST(no_payload_is_a_body_too)
{
    struct mr_store_op op = pg_fixture_job();

    op.job.payload = MR_SPAN_NONE;
    pg_fixture_must_commit(store, &op, 1);
    pg_fixture_must_commit(store, &op, 1);
    ck_status(op.status, MR_KNOWN);
}
END_TEST

START_TEST(a_finished_job_again_brings_its_result)
{
    struct mr_store_op op = pg_fixture_job(), end = result_of(op.id, MR_FAILED);
    struct mr_store_op theirs = op;

    theirs.submitted_by = mr_span_str("another");
    pg_fixture_must_commit(store, &op, 1);
    pg_fixture_must_commit(store, &end, 1);
    ck_status(end.status, MR_OK);
    pg_fixture_must_commit(store, &op, 1);
    ck_status(op.status, MR_FINISHED);
    ck_assert_int_eq(op.found_outcome, MR_FAILED);
    ck_assert_uint_eq(op.found_attempt, 3);
    ck_assert(mr_span_is(op.found_text, "gave up"));
    ck_assert_uint_eq(op.found_body.n, 0);
    ck_assert_int_eq(op.found_finished_at_us, INT64_C(1645557742250000));
    op.job.payload = mr_span("\x02", 1);
    pg_fixture_must_commit(store, &op, 1);
    ck_status(op.status, MR_CONFLICT);
    theirs.found_attempt = 0;
    pg_fixture_must_commit(store, &theirs, 1);
    ck_status(theirs.status, MR_CONFLICT); /* and nothing of how it went */
    ck_assert_uint_eq(theirs.found_attempt, 0);
}
END_TEST

START_TEST(twice_in_one_batch)
{
    struct mr_store_op ops[4];

    ops[0] = ops[1] = ops[2] = pg_fixture_job();
    ops[1].job.payload = mr_span("\x02", 1);
    ops[3] = pg_fixture_job();
    pg_fixture_must_commit(store, ops, 4);
    ck_status(ops[0].status, MR_OK); /* the first wins */
    ck_status(ops[1].status, MR_CONFLICT);
    ck_status(ops[2].status, MR_KNOWN);
    ck_status(ops[3].status, MR_OK);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.job"), 2);
}
END_TEST

START_TEST(attempts_are_kept_once)
{
    struct mr_store_op job = pg_fixture_job(), ops[3];

    pg_fixture_must_commit(store, &job, 1);
    ops[0] = ops[2] = attempt_of(job.id, 1);
    ops[1] = attempt_of(job.id, 2);
    ops[1].attempt_outcome = MR_ATTEMPT_LOST;
    pg_fixture_must_commit(store, ops, 3);
    pg_fixture_must_commit(store, ops, 3);
    for (int i = 0; i < 3; i++)
        ck_status(ops[i].status, MR_OK);
    ck_assert_str_eq(
        pg_fixture_text(pg,
            "select string_agg(concat_ws(' ', attempt, outcome, worker, error, "
            "extract(epoch from finished_at)), ', ' order by attempt) "
            "from millrace.attempts"),
        "1 failed w1 no 1645557742.250000, 2 lost w1 no 1645557742.250000");
}
END_TEST

START_TEST(the_first_result_stands)
{
    struct mr_store_op job = pg_fixture_job(), ops[2], later;

    pg_fixture_must_commit(store, &job, 1);
    ops[0] = result_of(job.id, MR_OUT_CANCELLED);
    ops[1] = result_of(job.id, MR_OUT_EXPIRED);
    pg_fixture_must_commit(store, ops, 2);
    ck_status(ops[0].status, MR_OK);
    ck_status(ops[1].status, MR_FINISHED);
    ck_assert_int_eq(ops[1].found_outcome, MR_OUT_CANCELLED);
    later = result_of(job.id, MR_FAILED);
    pg_fixture_must_commit(store, &later, 1);
    ck_status(later.status, MR_FINISHED);
    ck_assert_int_eq(later.found_outcome, MR_OUT_CANCELLED);
    ck_assert_str_eq(pg_fixture_text(pg, "select state from millrace.jobs"), "cancelled");
}
END_TEST

START_TEST(a_job_and_its_end_in_one_batch)
{
    struct mr_store_op ops[3];

    ops[2] = pg_fixture_job();
    ops[1] = attempt_of(ops[2].id, 1);
    ops[0] = result_of(ops[2].id, MR_FAILED);
    pg_fixture_must_commit(store, ops, 3);
    for (int i = 0; i < 3; i++)
        ck_status(ops[i].status, MR_OK);
}
END_TEST

/* Invalid UTF-8 in a name is one row's fault; its neighbours do not suffer. */
static void
one_bad_row(int count, int bad)
{
    struct mr_store_op *ops = make_jobs(count);

    ops[bad].job.kind = mr_span("\xff\xfe", 2);
    pg_fixture_must_commit(store, ops, (uint32_t)count);
    for (int i = 0; i < count; i++)
        ck_status(ops[i].status, i == bad ? MR_BAD_ARGUMENT : MR_OK);
    ck_assert_ptr_nonnull(
        memmem(ops[bad].found_text.p, ops[bad].found_text.n, "22021", 5));
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.job"), count - 1);
    free(ops);
}

START_TEST(a_bad_row_stands_alone)
{
    one_bad_row(1, 0);
}
END_TEST

START_TEST(a_bad_row_among_few)
{
    one_bad_row(7, 6);
}
END_TEST

START_TEST(a_bad_row_in_a_large_batch)
{
    one_bad_row(LARGE, 500);
}
END_TEST

START_TEST(many_ways_to_be_bad)
{
    struct mr_store_op ops[9];

    for (int i = 0; i < 9; i++)
        ops[i] = pg_fixture_job();
    ops[0].job.priority = 10;
    ops[1].job.kind = MR_SPAN_NONE;
    ops[2].job.queue = mr_span("a\0b", 3);
    ops[3].job.run_at_us = INT64_MIN + 1;
    ops[4].job.run_at_us = INT64_MIN;
    ops[5].job.attempts_max = UINT32_MAX;
    ops[6].submitted_at_us = 0;
    ops[7].job.lane = mr_span("\xc3", 1);
    pg_fixture_must_commit(store, ops, 9);
    for (int i = 0; i < 8; i++)
        ck_assert_msg(ops[i].status == MR_BAD_ARGUMENT, "row %d: %s", i,
            mr_status_name(ops[i].status));
    ck_status(ops[8].status, MR_OK);
}
END_TEST

/* Words for people must not stand in the way: what text cannot hold becomes '?'. */
START_TEST(errors_may_hold_any_bytes)
{
    struct mr_store_op job = pg_fixture_job(), attempt = attempt_of(job.id, 1),
                       ops[2] = {job, attempt};

    ops[1].text = mr_span("a\0b\xff\xe2\x82\xac\xed\xa0\x80", 10);
    pg_fixture_must_commit(store, ops, 2);
    ck_status(ops[1].status, MR_OK);
    ck_assert_str_eq(
        pg_fixture_text(pg, "select error from millrace.attempt"), "a?b?\xe2\x82\xac???");
}
END_TEST

START_TEST(ids_from_the_far_future_are_refused)
{
    struct mr_store_op ops[2];

    ops[0] = ops[1] = pg_fixture_job();
    ops[0].id = ops[0].job.id =
        mr_uuid_new(mr_clock_now().wall_us + INT64_C(30) * 86400 * 1000000);
    pg_fixture_must_commit(store, ops, 2);
    ck_status(ops[0].status, MR_BAD_ID);
    ck_assert_uint_gt(ops[0].found_text.n, 0);
    ck_status(ops[1].status, MR_OK);
}
END_TEST

START_TEST(old_ids_lower_the_mark)
{
    struct mr_store_op ops[2];
    struct mr_err err = {0};

    ops[0] = ops[1] = pg_fixture_job();
    pg_fixture_must_commit(store, &ops[0], 1);
    ck_ok(mr_store_keep_house(store, 7, &err), err);
    ck_assert_int_gt(
        pg_fixture_int(pg, "select millrace.id_ms(low_water) from millrace.shard"), 0);
    ops[1].id = ops[1].job.id = mr_uuid_new(INT64_C(1645557742000000));
    pg_fixture_must_commit(store, &ops[1], 1);
    ck_status(ops[1].status, MR_OK);
    ck_assert_int_eq(
        pg_fixture_int(pg, "select millrace.id_ms(low_water) from millrace.shard"),
        INT64_C(1645557742000));
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.job_rest"), 1);
}
END_TEST

/* Results that are found again are given in full, however many there are. */
START_TEST(large_results_are_all_found)
{
    enum { COUNT = 20 };
    struct mr_store_op ops[COUNT];

    for (int i = 0; i < COUNT; i++)
        ops[i] = pg_fixture_job();
    pg_fixture_must_commit(store, ops, COUNT);
    pg_fixture_int(pg, "insert into millrace.result (id, finished_at, attempt, outcome, "
                       "body) select id, now(), 1, 1, convert_to(repeat('x', 1000000) || "
                       "row_number() over (order by id), 'UTF8') from millrace.job "
                       "returning 1");
    pg_fixture_must_commit(store, ops, COUNT);
    for (int i = 0; i < COUNT; i++) {
        ck_status(ops[i].status, MR_FINISHED);
        ck_assert_uint_ge(ops[i].found_body.n, 1000001);
    }
}
END_TEST

START_TEST(no_room_for_what_is_found)
{
    struct mr_store_op op = pg_fixture_job();
    struct mr_store_batch batch = {.ops = &op, .count = 1};
    struct mr_err err = {0};

    pg_fixture_must_commit(store, &op, 1);
    pg_fixture_int(pg, "insert into millrace.result (id, finished_at, attempt, outcome, "
                       "body) select id, now(), 1, 1, convert_to(repeat('x', 100000), "
                       "'UTF8') from millrace.job returning 1");
    ck_assert_int_eq(mr_arena_new(&batch.arena, 10000), MR_OK);
    ck_ok(mr_store_commit(store, &batch, &err), err);
    ck_status(op.status, MR_BUSY);
    mr_arena_destroy(&batch.arena);
}
END_TEST

/* A worker that stopped between its result and its COMMIT: whoever meets the row waits a
 * second, the others do not suffer; ending its session by name frees the row. */
START_TEST(an_uncommitted_result_is_waited_for_alone)
{
    const char *const sessions[] = {"mr:dead", "mr:other"};
    struct mr_store_op ops[4];
    struct mr_store_batch batch = {
        .ops = &ops[2], .count = 1, .end_sessions = sessions, .end_session_count = 2};
    struct mr_pg *worker = pg_fixture_open("mr:dead");
    struct mr_err err = {0};
    char sql[256], id[MR_UUID_TEXT_MAX];

    for (int i = 0; i < 2; i++)
        ops[i] = pg_fixture_job();
    pg_fixture_must_commit(store, ops, 2);
    ck_ok(mr_pg_begin(worker, &err), err);
    snprintf(sql, sizeof sql, "select millrace.finish('%s', 1, 'w', null, null, null)",
        mr_uuid_format(ops[0].id, id));
    ck_ok(mr_pg_run(worker, sql, 0, NULL, NULL, &err), err);

    ops[2] = result_of(ops[0].id, MR_FAILED);
    ops[3] = result_of(ops[1].id, MR_FAILED);
    pg_fixture_must_commit(store, &ops[2], 2);
    ck_status(ops[2].status, MR_BUSY);
    ck_status(ops[3].status, MR_OK);

    ck_assert_int_eq(mr_arena_new(&batch.arena, 10000), MR_OK);
    ck_ok(mr_store_commit(store, &batch, &err), err);
    ck_status(ops[2].status, MR_OK);
    mr_arena_destroy(&batch.arena);
    mr_pg_close(&worker);
}
END_TEST

START_TEST(sessions_end_without_rows_too)
{
    const char *const sessions[] = {"mr:dead"};
    struct mr_store_batch batch = {.end_sessions = sessions, .end_session_count = 1};
    struct mr_pg *worker = pg_fixture_open("mr:dead"), *other = pg_fixture_open("mr:x");
    struct mr_err err = {0};

    ck_ok(mr_store_commit(store, &batch, &err), err);
    ck_status(mr_pg_run(worker, "select 1", 0, NULL, NULL, &err), MR_STORE_DOWN);
    ck_ok(mr_pg_run(other, "select 1", 0, NULL, NULL, &err), err);
    mr_pg_close(&worker);
    mr_pg_close(&other);
}
END_TEST

static int64_t
flushed(void)
{
    return pg_fixture_int(pg, "select pg_current_wal_flush_lsn() - '0/0'::pg_lsn");
}

/* A batch that finds everything stored writes no row. It flushes all the same, or its answer
 * could be lost with what it speaks of. */
START_TEST(a_repeat_is_flushed)
{
    struct mr_store_op op = pg_fixture_job();
    int64_t before;

    pg_fixture_must_commit(store, &op, 1);
    pg_fixture_text(pg, "select pg_switch_wal()");
    before = flushed();
    pg_fixture_must_commit(store, &op, 1);
    ck_status(op.status, MR_KNOWN);
    ck_assert_int_gt(flushed(), before);
}
END_TEST

START_TEST(too_many_rows_at_a_time)
{
    struct mr_store_batch batch = {.count = 65537};
    struct mr_err err = {0};

    batch.ops = calloc(batch.count, sizeof *batch.ops);
    ck_status(mr_store_commit(store, &batch, &err), MR_TOO_BIG);
    free(batch.ops);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("sql/batch");
    TCase *tcase = tcase_create("batch");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, every_column_arrives);
    tcase_add_test(tcase, what_is_not_given_is_null);
    tcase_add_test(tcase, a_job_again_is_known);
    tcase_add_test(tcase, another_body_is_a_conflict);
    tcase_add_test(tcase, no_payload_is_a_body_too);
    tcase_add_test(tcase, a_finished_job_again_brings_its_result);
    tcase_add_test(tcase, twice_in_one_batch);
    tcase_add_test(tcase, attempts_are_kept_once);
    tcase_add_test(tcase, the_first_result_stands);
    tcase_add_test(tcase, a_job_and_its_end_in_one_batch);
    tcase_add_test(tcase, a_bad_row_stands_alone);
    tcase_add_test(tcase, a_bad_row_among_few);
    tcase_add_test(tcase, a_bad_row_in_a_large_batch);
    tcase_add_test(tcase, many_ways_to_be_bad);
    tcase_add_test(tcase, errors_may_hold_any_bytes);
    tcase_add_test(tcase, ids_from_the_far_future_are_refused);
    tcase_add_test(tcase, old_ids_lower_the_mark);
    tcase_add_test(tcase, large_results_are_all_found);
    tcase_add_test(tcase, no_room_for_what_is_found);
    tcase_add_test(tcase, an_uncommitted_result_is_waited_for_alone);
    tcase_add_test(tcase, sessions_end_without_rows_too);
    tcase_add_test(tcase, a_repeat_is_flushed);
    tcase_add_test(tcase, too_many_rows_at_a_time);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
