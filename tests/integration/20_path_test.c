/*
 * The way of a job with nothing going wrong: broker, worker and PostgreSQL as they are, driven
 * through the client library, by plain SQL, and by a client in Python.
 */
#include "schemas/base/clock.h"
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FINISHED "select count(*) from millrace.result where outcome = 1"

static struct rig rig;
static struct millrace *mr;

static void
set_up(void)
{
    rig_open(&rig);
    rig_broker(&rig, NULL);
    rig_worker(&rig, 0, 1, NULL);
    mr = rig_client(&rig);
}

static void
tear_down(void)
{
    millrace_close(mr);
    rig_close(&rig);
}

static void
operate(const char *method, const char *queue)
{
    struct millrace_pack args = {0};
    struct millrace_error error;
    void *reply = NULL;
    size_t n;
    int code;

    millrace_pack_map(&args, 1);
    millrace_pack_str(&args, "queue");
    millrace_pack_str(&args, queue);
    code = millrace_call(mr, method, args.bytes, args.n, RIG_WAIT_MS, &reply, &n, &error);
    ck_assert_msg(code == 0, "%s: %s", method, error.why);
    free(reply);
    millrace_pack_free(&args);
}

static struct millrace_id
submit(struct millrace_job *job)
{
    ck_assert_int_eq(rig_verdict(mr, job), MILLRACE_OK);
    return job->id;
}

START_TEST(submit_run_fetch)
{
    struct millrace_id id = rig_submit(mr, "test.sleep", "ms", 1);
    struct millrace *stranger;
    struct millrace_result result;

    rig_expect(mr, id, MILLRACE_SUCCEEDED);
    /* Later, and somebody else: it is in the database. */
    stranger = rig_client(&rig);
    ck_assert_int_eq(
        millrace_fetch(stranger, &id, RIG_WAIT_MS, &result, NULL), MILLRACE_OK);
    ck_assert_int_eq(result.outcome, MILLRACE_SUCCEEDED);
    ck_assert_uint_eq(result.attempt, 1);
    ck_assert_uint_eq(result.body_bytes, 1);
    ck_assert_int_eq(*(unsigned char *)result.body, 1); /* msgpack of 1 */
    millrace_result_free(&result);
    millrace_close(stranger);
    ck_assert_int_eq(rig_int(&rig, FINISHED), 1);
}
END_TEST

START_TEST(many_at_once)
{
    enum { JOBS = 5000 };
    struct millrace_job *jobs = calloc(JOBS, sizeof *jobs);
    int *codes = calloc(JOBS, sizeof *codes);
    struct millrace_error error;

    for (int i = 0; i < JOBS; i++)
        millrace_job_init(&jobs[i], "test.noop");
    ck_assert_msg(
        millrace_submit_many(mr, jobs, JOBS, codes, RIG_WAIT_MS, &error) == MILLRACE_OK,
        "%s", error.why);
    rig_wait_int(&rig, FINISHED, JOBS);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.job"), JOBS);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.attempt"), 0);
    free(jobs);
    free(codes);
}
END_TEST

START_TEST(the_same_again)
{
    struct millrace_job job;

    millrace_job_init(&job, "test.noop");
    job.queue = "held";
    operate("pause", "held");
    submit(&job);
    ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_KNOWN);
    job.kind = "test.sleep";
    ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_CONFLICT);
    job.kind = "test.noop";
    operate("resume", "held");
    rig_expect(mr, job.id, MILLRACE_SUCCEEDED);
    ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_FINISHED);
    job.args = "\x01";
    job.args_bytes = 1;
    ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_CONFLICT);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.job"), 1);
}
END_TEST

/* Not a moment earlier; how much later is for the benches to say. */
START_TEST(not_before_its_time)
{
    struct millrace_job delayed, timed;

    millrace_job_init(&delayed, "test.noop");
    delayed.delay_ms = 300;
    submit(&delayed);
    millrace_job_init(&timed, "test.noop");
    timed.run_at_us = mr_clock_now().wall_us + 300000;
    submit(&timed);
    rig_expect(mr, delayed.id, MILLRACE_SUCCEEDED);
    rig_expect(mr, timed.id, MILLRACE_SUCCEEDED);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.result join millrace.job using "
                      "(id) where started_at < run_at"),
        0);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.job where run_at is not null"), 2);
}
END_TEST

START_TEST(higher_priority_first)
{
    struct millrace_job jobs[10];

    operate("pause", "held");
    for (int i = 0; i < 10; i++) {
        millrace_job_init(&jobs[i], "test.sleep");
        jobs[i].queue = "held";
        jobs[i].priority = i;
        jobs[i].args = "\x81\xa2ms\x05";
        jobs[i].args_bytes = 5;
        submit(&jobs[i]);
    }
    operate("resume", "held");
    for (int i = 0; i < 10; i++)
        rig_expect(mr, jobs[i].id, MILLRACE_SUCCEEDED);
    /* One thread: in the order of their starts, each is less urgent than the one before. */
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from (select priority - lag(priority) over "
                      "(order by started_at) as step from millrace.result join "
                      "millrace.job using (id)) as s where step > 0"),
        0);
}
END_TEST

START_TEST(paused_queues_wait_others_do_not)
{
    struct millrace_job held;

    millrace_job_init(&held, "test.noop");
    held.queue = "held";
    operate("pause", "held");
    submit(&held);
    for (int i = 0; i < 20; i++)
        rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
    ck_assert_int_eq(rig_int(&rig, FINISHED), 20);
    operate("resume", "held");
    rig_expect(mr, held.id, MILLRACE_SUCCEEDED);
}
END_TEST

/* What a person paused stays paused when the broker is started again. */
START_TEST(pause_outlives_the_broker)
{
    struct millrace_job held;

    millrace_job_init(&held, "test.noop");
    held.queue = "held";
    operate("pause", "held");
    submit(&held);
    ck_assert(mr_proc_stop(&rig.broker, SIGTERM, RIG_WAIT_MS));
    rig_broker(&rig, NULL);
    rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
    ck_assert_int_eq(rig_int(&rig, FINISHED), 1);
    operate("resume", "held");
    rig_expect(mr, held.id, MILLRACE_SUCCEEDED);
}
END_TEST

START_TEST(refused)
{
    struct millrace_job job;

    millrace_job_init(&job, "no.such.kind");
    ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_NO_KIND);
    millrace_job_init(&job, "test.noop");
    job.expires_at_us = mr_clock_now().wall_us - 1;
    ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_EXPIRED);
    millrace_job_init(&job, "test.noop");
    memset(job.id.b, 1, 6);
    ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_BAD_ID);
    memset(job.id.b, 0x7f, 6);
    ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_BAD_ID);
    memset(job.id.b, 0xff, sizeof job.id.b);
    ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_BAD_ID);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.job"), 0);
}
END_TEST

START_TEST(expires_while_it_waits)
{
    struct millrace_job job;

    millrace_job_init(&job, "test.noop");
    job.queue = "held";
    job.expires_at_us = mr_clock_now().wall_us + 200000;
    operate("pause", "held");
    submit(&job);
    rig_expect(mr, job.id, MILLRACE_HAS_EXPIRED);
}
END_TEST

START_TEST(cancelled_while_it_waits)
{
    struct millrace_job job;

    millrace_job_init(&job, "test.noop");
    job.delay_ms = 3600000;
    submit(&job);
    ck_assert_int_eq(millrace_cancel(mr, &job.id, RIG_WAIT_MS, NULL), MILLRACE_OK);
    rig_expect(mr, job.id, MILLRACE_WAS_CANCELLED);
    /* Again: it is what was wanted. */
    ck_assert_int_eq(millrace_cancel(mr, &job.id, RIG_WAIT_MS, NULL), MILLRACE_OK);
    job.id = rig_submit(mr, "test.noop", NULL, 0);
    rig_expect(mr, job.id, MILLRACE_SUCCEEDED);
    ck_assert_int_eq(millrace_cancel(mr, &job.id, RIG_WAIT_MS, NULL), MILLRACE_FINISHED);
    job.id = millrace_id_new();
    ck_assert_int_eq(millrace_cancel(mr, &job.id, RIG_WAIT_MS, NULL), MILLRACE_NO_JOB);
}
END_TEST

START_TEST(cancelled_while_it_runs)
{
    struct millrace_id id = rig_submit(mr, "test.sleep", "ms", 3600000);

    rig_wait_stat(mr, "sent", 1);
    ck_assert_int_eq(millrace_cancel(mr, &id, RIG_WAIT_MS, NULL), MILLRACE_OK);
    rig_expect(mr, id, MILLRACE_WAS_CANCELLED);
    rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
}
END_TEST

START_TEST(tried_again_until_it_succeeds)
{
    struct millrace_job job;

    millrace_job_init(&job, "test.fail");
    job.args = "\x81\xa5times\x02";
    job.args_bytes = 8;
    job.attempts_max = 3;
    job.backoff_base_ms = job.backoff_cap_ms = 1;
    submit(&job);
    rig_expect(mr, job.id, MILLRACE_SUCCEEDED);
    ck_assert_int_eq(rig_int(&rig, "select attempt from millrace.result"), 3);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.attempt where outcome = 1"), 2);
    job.id = millrace_id_new();
    job.attempts_max = 2;
    submit(&job);
    rig_expect(mr, job.id, MILLRACE_FAILED);
}
END_TEST

START_TEST(longer_than_its_timeout)
{
    struct millrace_job job;

    millrace_job_init(&job, "test.sleep");
    job.args = "\x81\xa2ms\xcd\xff\xff";
    job.args_bytes = 7;
    job.timeout_ms = 100;
    job.attempts_max = 1;
    submit(&job);
    rig_expect(mr, job.id, MILLRACE_FAILED);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.attempt where outcome = 3"), 1);
}
END_TEST

START_TEST(submitted_by_plain_sql)
{
    struct mr_err err = {0};

    ck_ok(mr_pg_run(rig.pg,
              "insert into millrace.inbox (kind) select 'test.noop' from "
              "generate_series(1, 100)",
              0, NULL, NULL, &err),
        err);
    rig_wait_int(&rig, FINISHED, 100);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.inbox"), 0);
}
END_TEST

/* A handler from a shared object: its own row and its result in one transaction. */
START_TEST(loaded_kind)
{
    struct millrace_job job;

    rig_worker(&rig, 1, 1,
        (const char *const[]){"--load", rig_program("tests/loadable/hello.so"), NULL});
    millrace_job_init(&job, "demo.hello");
    job.args = "\x81\xa4name\xa3you";
    job.args_bytes = 10;
    submit(&job);
    rig_expect(mr, job.id, MILLRACE_SUCCEEDED);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from greeting where name = 'you'"), 1);
    job.id = millrace_id_new();
    job.args = NULL;
    job.args_bytes = 0;
    submit(&job);
    rig_expect(mr, job.id, MILLRACE_FAILED);
}
END_TEST

/* Written from the protocol's page only. */
START_TEST(client_in_python)
{
    const char *python = getenv("PYTHON");
    const char *argv[] = {python ? python : "/usr/bin/python3",
        "tests/integration/client.py", rig.front, "test.noop", "test.fail", NULL};
    char text[4096];

    ck_assert_msg(rig_run(&rig, argv, text, sizeof text) == 0, "%s", text);
}
END_TEST

static void
add_tests(TCase *tcase)
{
    tcase_add_test(tcase, submit_run_fetch);
    tcase_add_test(tcase, many_at_once);
    tcase_add_test(tcase, the_same_again);
    tcase_add_test(tcase, not_before_its_time);
    tcase_add_test(tcase, higher_priority_first);
    tcase_add_test(tcase, paused_queues_wait_others_do_not);
    tcase_add_test(tcase, pause_outlives_the_broker);
    tcase_add_test(tcase, refused);
    tcase_add_test(tcase, expires_while_it_waits);
    tcase_add_test(tcase, cancelled_while_it_waits);
    tcase_add_test(tcase, cancelled_while_it_runs);
    tcase_add_test(tcase, tried_again_until_it_succeeds);
    tcase_add_test(tcase, longer_than_its_timeout);
    tcase_add_test(tcase, submitted_by_plain_sql);
    tcase_add_test(tcase, loaded_kind);
    tcase_add_test(tcase, client_in_python);
}

int
main(void)
{
    Suite *suite = suite_create("path");
    TCase *tcase = tcase_create("path");

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    add_tests(tcase);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
