/* What a handler may answer, and when it is tried again, through real processes and a restart. */
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static struct rig rig;
static struct millrace *mr;

static void
start(void)
{
    rig_broker(&rig, NULL);
    rig_worker(&rig, 0, 1,
        (const char *const[]){"--load", rig_program("tests/loadable/again.so"), NULL});
}

static void
set_up(void)
{
    rig_open(&rig);
    start();
    mr = rig_client(&rig);
}

static void
tear_down(void)
{
    millrace_close(mr);
    rig_close(&rig);
}

/* With SIGKILL, so that nothing is said to anybody. */
static void
start_again(void)
{
    mr_proc_signal(&rig.workers[0], SIGKILL);
    mr_proc_signal(&rig.broker, SIGKILL);
    ck_assert(mr_proc_wait(&rig.workers[0], RIG_WAIT_MS));
    ck_assert(mr_proc_wait(&rig.broker, RIG_WAIT_MS));
    start();
}

static struct millrace_id
submit_failing(const char *args, size_t bytes)
{
    struct millrace_job job;

    millrace_job_init(&job, "test.fail");
    job.args = args;
    job.args_bytes = bytes;
    ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_OK);
    return job.id;
}

START_TEST(for_good_is_for_good)
{
    struct millrace_id id = submit_failing("\x82\xa5times\x09\xa8"
                                           "for_good\xc3",
        18);

    rig_expect(mr, id, MILLRACE_FAILED);
    start_again();
    rig_expect(mr, id, MILLRACE_FAILED);
    rig_wait_stat(mr, "jobs", 0);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.attempt where attempt = 1 and "
                      "outcome = 1 and retry_at is null"),
        1);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.attempt"), 1);
}
END_TEST

/* 4 s, and the backoff would be 1 s: neither the broker before nor the one after is earlier. */
START_TEST(retry_after_outlives_the_broker)
{
    struct millrace_id id = submit_failing("\x82\xa5times\x01\xae"
                                           "retry_after_ms\xcd\x0f\xa0",
        26);

    rig_wait_int(&rig, "select count(*) from millrace.attempt", 1);
    start_again();
    rig_expect(mr, id, MILLRACE_SUCCEEDED);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.attempt where retry_at "
                                   ">= finished_at + interval '4 s'"),
        1);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.attempt a join millrace.result r "
                      "using (id) where r.started_at >= a.retry_at and r.attempt = 2"),
        1);
}
END_TEST

/* Ten times as long each time, and no chance in it: 20 ms, 200 ms, then it is over. */
START_TEST(a_kind_has_its_backoff)
{
    rig_expect(mr, rig_submit(mr, "again.slow", NULL, 0), MILLRACE_FAILED);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.attempt where retry_at >= "
                      "finished_at + interval '2 ms' * 10 ^ attempt"),
        2);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.attempt"), 3);
}
END_TEST

START_TEST(a_follow_up_has_its_backoff)
{
    rig_expect(mr, rig_submit(mr, "again.parent", NULL, 0), MILLRACE_SUCCEEDED);
    rig_wait_int(&rig, "select count(*) from millrace.result where outcome = 2", 1);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.attempt where retry_at >= "
                      "finished_at + interval '1 ms' * 10 ^ attempt"),
        2);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.job where kind = 'again.plain' and "
                      "backoff_factor_percent = 1000 and backoff_jitter_percent = 0"),
        1);
}
END_TEST

/* What was said on the command line, in a line of a batch, and in plain SQL is in the row. */
START_TEST(a_job_has_its_backoff)
{
    char file[128], text[4096];
    const char *submit[] = {rig_program("millrace"), "submit", "test.noop", "--wait",
        "--backoff", "2s", "--backoff-cap", "1m", "--backoff-factor", "150",
        "--backoff-jitter", "0", "--endpoint", rig.front, NULL};
    const char *batch[] = {
        rig_program("millrace"), "batch", file, "--endpoint", rig.front, NULL};
    struct mr_err err = {0};
    FILE *out;

    ck_assert_msg(rig_run(&rig, submit, text, sizeof text) == 0, "%s", text);
    snprintf(file, sizeof file, "%s/jobs.jsonl", rig.folder);
    out = fopen(file, "w");
    ck_assert_ptr_nonnull(out);
    fputs("{\"kind\":\"test.noop\",\"backoff_base_ms\":2000,\"backoff_cap_ms\":60000,"
          "\"backoff_factor_percent\":150,\"backoff_jitter_percent\":0}\n",
        out);
    fclose(out);
    ck_assert_msg(rig_run(&rig, batch, text, sizeof text) == 0, "%s", text);
    ck_ok(mr_pg_run(rig.pg,
              "insert into millrace.inbox (kind, backoff_base_ms, backoff_cap_ms, "
              "backoff_factor_percent, backoff_jitter_percent) values "
              "('test.noop', 2000, 60000, 150, 0)",
              0, NULL, NULL, &err),
        err);
    rig_wait_int(&rig, "select count(*) from millrace.result", 3);
    ck_assert_int_eq(
        rig_int(&rig,
            "select count(*) from millrace.job where backoff_base_ms = 2000 and "
            "backoff_cap_ms = 60000 and backoff_factor_percent = 150 and "
            "backoff_jitter_percent = 0"),
        3);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("retry");
    TCase *tcase = tcase_create("retry");

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, for_good_is_for_good);
    tcase_add_test(tcase, retry_after_outlives_the_broker);
    tcase_add_test(tcase, a_kind_has_its_backoff);
    tcase_add_test(tcase, a_follow_up_has_its_backoff);
    tcase_add_test(tcase, a_job_has_its_backoff);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
