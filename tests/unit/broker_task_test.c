/*
 * Batches own what is in them, and know when they are full.
 */
#include "broker/task.h"

#include <check.h>

#include <stdlib.h>
#include <string.h>

static struct mr_task *task;

static void
tear_down(void)
{
    mr_task_destroy(&task);
    ck_assert_ptr_null(task);
}

static void
make(enum mr_task_type type)
{
    task = mr_task_new(type);
    ck_assert_ptr_nonnull(task);
}

static struct mr_store_op
job_op(const char *kind, const void *payload, size_t n)
{
    return (struct mr_store_op){.type = MR_STORE_JOB,
        .job = {.queue = mr_span_str("q"),
            .kind = mr_span_str(kind),
            .payload = mr_span(payload, n)}};
}

START_TEST(rows_are_copied)
{
    char kind[] = "kind", payload[] = "payload";
    struct mr_store_op op = job_op(kind, payload, sizeof payload);

    make(MR_TASK_COMMIT);
    ck_assert(mr_task_add_op(task, &op));
    memset(kind, 'x', 4);
    memset(payload, 'x', 7);
    ck_assert_uint_eq(task->batch.count, 1);
    ck_assert(mr_span_is(task->batch.ops[0].job.kind, "kind"));
    ck_assert(
        mr_span_eq(task->batch.ops[0].job.payload, mr_span("payload", sizeof payload)));
    mr_task_reset(task);
    ck_assert_uint_eq(task->batch.count, 0);
}
END_TEST

START_TEST(a_name_is_copied_once_and_another_one_is_not_taken_for_it)
{
    char kind[] = "kind.a";
    struct mr_store_op op = job_op(kind, "p", 1);
    size_t used;

    make(MR_TASK_COMMIT);
    op.submitted_by = mr_span_str("me");
    ck_assert(mr_task_add_op(task, &op));
    used = mr_arena_used(task->arena);
    ck_assert(mr_task_add_op(task, &op)); /* its payload, and nothing else */
    ck_assert_uint_le(mr_arena_used(task->arena) - used, 16);
    kind[5] = 'b';
    ck_assert(mr_task_add_op(task, &op));
    op.job.kind = mr_span_str("kind");
    op.submitted_by = MR_SPAN_NONE;
    ck_assert(mr_task_add_op(task, &op));
    memset(kind, 'x', 6);
    ck_assert(mr_span_is(task->batch.ops[0].job.kind, "kind.a"));
    ck_assert(mr_span_is(task->batch.ops[1].job.kind, "kind.a"));
    ck_assert(mr_span_is(task->batch.ops[2].job.kind, "kind.b"));
    ck_assert(mr_span_is(task->batch.ops[3].job.kind, "kind"));
    ck_assert(mr_span_is(task->batch.ops[2].submitted_by, "me"));
    ck_assert_uint_eq(task->batch.ops[3].submitted_by.n, 0);
}
END_TEST

START_TEST(what_was_read_is_found_by_id)
{
    struct mr_stored_job row = {.attempts = 0};

    make(MR_TASK_READ);
    mr_task_sort_jobs(task); /* nothing came back */
    ck_assert_ptr_null(mr_task_find_job(task, row.job.id));
    for (uint32_t i = 0; i < MR_READ_IDS_MAX; i++) {
        row.attempts = i * 7919 % MR_READ_IDS_MAX;
        row.job.id.b[0] = (uint8_t)(row.attempts >> 8);
        row.job.id.b[15] = (uint8_t)row.attempts;
        ck_assert(mr_task_add_id(task, row.job.id));
        ck_assert(mr_task_add_job(task, &row));
    }
    ck_assert(!mr_task_add_id(task, row.job.id));
    mr_task_sort_jobs(task);
    for (uint32_t i = 0; i < MR_READ_IDS_MAX; i++) {
        const struct mr_stored_job *job = mr_task_find_job(task, task->ids[i]);

        ck_assert_ptr_nonnull(job);
        ck_assert_uint_eq(job->attempts, i * 7919 % MR_READ_IDS_MAX);
    }
    row.job.id.b[7] = 1;
    ck_assert_ptr_null(mr_task_find_job(task, row.job.id));
}
END_TEST

START_TEST(full_by_rows)
{
    struct mr_store_op op = job_op("k", "p", 1);

    make(MR_TASK_COMMIT);
    for (uint32_t i = 0; i < MR_BATCH_ROWS_MAX; i++)
        ck_assert(mr_task_add_op(task, &op));
    ck_assert(!mr_task_add_op(task, &op));
    ck_assert_uint_eq(task->batch.count, MR_BATCH_ROWS_MAX);
}
END_TEST

START_TEST(full_by_bytes)
{
    size_t n = MR_PAYLOAD_BYTES_MAX;
    uint8_t *large = calloc(1, n);
    struct mr_store_op op = job_op("k", large, n);
    uint32_t taken = 0;

    make(MR_TASK_COMMIT);
    while (mr_task_add_op(task, &op))
        taken++;
    /* The goal is passed by the last row, never by more than that one. */
    ck_assert_uint_ge(taken, MR_BATCH_BYTES_GOAL / n);
    ck_assert_uint_le(taken, MR_BATCH_BYTES_GOAL / n + 1);
    free(large);
}
END_TEST

/* "mr:" and 32 hex digits, as workers name their connections. */
START_TEST(sessions_by_name)
{
    struct mr_uuid instance;

    for (size_t i = 0; i < sizeof instance.b; i++)
        instance.b[i] = (uint8_t)(i * 17);
    make(MR_TASK_COMMIT);
    ck_assert(mr_task_end_sessions(task, instance));
    ck_assert_uint_eq(task->batch.end_session_count, 1);
    ck_assert_str_eq(task->batch.end_sessions[0], "mr:00112233445566778899aabbccddeeff");
    for (uint32_t i = 1; i < MR_SESSIONS_ENDED_MAX; i++)
        ck_assert(mr_task_end_sessions(task, instance));
    ck_assert(!mr_task_end_sessions(task, instance));
}
END_TEST

START_TEST(ids_have_a_limit)
{
    make(MR_TASK_FIND);
    for (uint32_t i = 0; i < MR_TASK_IDS_MAX; i++)
        ck_assert(mr_task_add_id(task, (struct mr_uuid){{0}}));
    ck_assert(!mr_task_add_id(task, (struct mr_uuid){{0}}));
}
END_TEST

/* The largest answers that are possible fit. */
START_TEST(room_for_the_largest_results)
{
    uint8_t *large = calloc(1, MR_RESULT_BYTES_MAX);
    struct mr_found found = {.is_finished = true,
        .text = mr_span(large, MR_ERROR_BYTES_MAX),
        .body = mr_span(large, MR_RESULT_BYTES_MAX)};

    make(MR_TASK_FIND);
    for (uint32_t i = 0; i < MR_TASK_IDS_MAX; i++)
        ck_assert(mr_task_add_found(task, &found));
    ck_assert(!mr_task_add_found(task, &found));
    free(large);
}
END_TEST

/* From the inbox: beyond the goal rows come without payload, to be read back when due. */
START_TEST(payloads_are_left_out_when_there_are_many)
{
    uint8_t *large = calloc(1, MR_PAYLOAD_BYTES_MAX);
    struct mr_stored_job job = {.job = job_op("k", large, MR_PAYLOAD_BYTES_MAX).job};

    make(MR_TASK_SWEEP);
    for (uint32_t i = 0; i < MR_SWEEP_ROWS_MAX; i++)
        ck_assert(mr_task_add_job(task, &job));
    ck_assert_uint_eq(task->jobs[0].job.payload.n, MR_PAYLOAD_BYTES_MAX);
    ck_assert_uint_eq(task->jobs[MR_SWEEP_ROWS_MAX - 1].job.payload.n, 0);
    free(large);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("broker: tasks");
    TCase *tcase = tcase_create("tasks");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tcase, NULL, tear_down);
    tcase_add_test(tcase, rows_are_copied);
    tcase_add_test(tcase, a_name_is_copied_once_and_another_one_is_not_taken_for_it);
    tcase_add_test(tcase, what_was_read_is_found_by_id);
    tcase_add_test(tcase, full_by_rows);
    tcase_add_test(tcase, full_by_bytes);
    tcase_add_test(tcase, sessions_by_name);
    tcase_add_test(tcase, ids_have_a_limit);
    tcase_add_test(tcase, room_for_the_largest_results);
    tcase_add_test(tcase, payloads_are_left_out_when_there_are_many);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
