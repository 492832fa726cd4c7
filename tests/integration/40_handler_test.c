/*
 * Handlers that crash, return what is no result, leave the database in ruins or never return:
 * each gets a verdict in words, and the jobs beside it see nothing of it.
 */
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMED_OUT "select count(*) from millrace.attempt where outcome = 3"
#define HELLO "\x81\xa4name\xa3you"

static struct rig rig;
static struct millrace *mr;

static void
set_up(void)
{
    struct mr_err err = {0};

    rig_open(&rig);
    ck_ok(mr_pg_run(rig.pg, "create table public.bad (kind text)", 0, NULL, NULL, &err),
        err);
}

static void
tear_down(void)
{
    if (mr)
        millrace_close(mr);
    mr = NULL;
    rig_close(&rig);
}

static struct millrace_id
submit(struct millrace_job *job)
{
    ck_assert_int_eq(rig_verdict(mr, job), MILLRACE_OK);
    return job->id;
}

/* It fails, and says so with that word. */
static void
expect_failure(struct millrace_id id, const char *word)
{
    struct millrace_result result;
    struct millrace_error error;
    int code = millrace_wait(mr, &id, RIG_WAIT_MS, &result, &error);

    ck_assert_msg(code == 0, "%s: %s", millrace_code_name(code), error.why);
    ck_assert_int_eq(result.outcome, MILLRACE_FAILED);
    ck_assert_ptr_nonnull(result.text);
    ck_assert_msg(
        strstr(result.text, word) != NULL, "\"%s\" is not in: %s", word, result.text);
    millrace_result_free(&result);
}

static bool
is_over(struct millrace_id id)
{
    struct millrace_result result;
    int code = millrace_fetch(mr, &id, RIG_WAIT_MS, &result, NULL);

    millrace_result_free(&result);
    return code == MILLRACE_OK;
}

/* ---- crashes ---------------------------------------------------------------------------------- */

/* As `dev` does: a worker that has died is started again, until the job has its verdict. */
static void
look_after_worker(struct millrace_id id, int threads)
{
    int64_t until = rig_now_ms() + RIG_WAIT_MS;

    while (!is_over(id)) {
        ck_assert_msg(rig_now_ms() < until, "it goes on and on");
        if (!mr_proc_wait(&rig.workers[0], 20))
            continue;
        ck_assert_int_ne(mr_proc_exit_code(&rig.workers[0]), 0);
        rig_worker(&rig, 0, threads, NULL);
    }
}

START_TEST(a_crash)
{
    static const struct {
        const char *args;
        size_t bytes;
    } ways[] = {{"\x81\xa3how\xa4segv", 10}, {"\x81\xa3how\xa5\x61\x62ort", 11},
        {"\x81\xa3how\xa4kill", 10}, {"\x81\xa3how\xa3\x66pe", 9}};
    enum { OTHERS = 8 };
    struct millrace_job job;
    struct millrace_id others[OTHERS];

    rig_broker(
        &rig, (const char *const[]){"--losses-max", "3", "--heartbeat-ms", "200", NULL});
    rig_worker(&rig, 0, 4, NULL);
    mr = rig_client(&rig);
    for (int i = 0; i < OTHERS; i++)
        others[i] = rig_submit(mr, "test.sleep", "ms", 100);
    millrace_job_init(&job, "test.crash");
    job.args = ways[_i].args;
    job.args_bytes = ways[_i].bytes;
    job.priority = 9;
    submit(&job);
    look_after_worker(job.id, 4);
    if (!mr_proc_is_alive(&rig.workers[0]))
        rig_worker(&rig, 0, 4, NULL);
    expect_failure(job.id, "quarantined");
    for (int i = 0; i < OTHERS; i++)
        rig_expect(mr, others[i], MILLRACE_SUCCEEDED);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.result"), OTHERS + 1);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.attempt join "
                                   "millrace.job using (id) where kind = 'test.crash' "
                                   "and outcome = 2 and started_at is not null"),
        3);
}
END_TEST

/* exit() in a handler: it looks like an orderly end to the supervisor only. */
START_TEST(an_exit)
{
    struct millrace_job job;
    const char *const load[] = {"--load", rig_program("tests/loadable/bad.so"), NULL};

    rig_broker(
        &rig, (const char *const[]){"--losses-max", "1", "--heartbeat-ms", "200", NULL});
    rig_worker(&rig, 0, 1, load);
    mr = rig_client(&rig);
    millrace_job_init(&job, "bad.exits");
    submit(&job);
    ck_assert(mr_proc_wait(&rig.workers[0], RIG_WAIT_MS));
    rig_worker(&rig, 0, 1, load);
    expect_failure(job.id, "quarantined");
    ck_assert_int_eq(rig_int(&rig, "select count(*) from public.bad"), 0);
    rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
}
END_TEST

/* ---- garbage ---------------------------------------------------------------------------------- */

/* One thread, so that what comes next has the same connection. */
static void
start_bad(void)
{
    rig_broker(&rig, NULL);
    rig_worker(&rig, 0, 1,
        (const char *const[]){"--load", rig_program("tests/loadable/bad.so"), "--load",
            rig_program("tests/loadable/hello.so"), NULL});
    mr = rig_client(&rig);
}

static void
expect_sound_connection(void)
{
    struct millrace_job job;

    millrace_job_init(&job, "demo.hello");
    job.args = HELLO;
    job.args_bytes = sizeof HELLO - 1;
    submit(&job);
    rig_expect(mr, job.id, MILLRACE_SUCCEEDED);
    ck_assert(mr_proc_is_alive(&rig.workers[0]));
}

START_TEST(garbage)
{
    static const struct {
        const char *kind, *says;
        int rows;
    } rows[] = {
        {"bad.large", "larger than 1 MiB", 0},
        {"bad.unfinished", "not one whole value", 0},
        {"bad.two_values", "not one whole value", 0},
        {"bad.deep", "not one whole value", 0},
        {"bad.no_text", "not one whole value", 0},
        {"bad.no_answer", "returned 77", 0},
        {"bad.failed_sql", "division by zero", 0},
        {"bad.commits", "the job's transaction is gone", 1},
        {"bad.rolls_back", "the job's transaction is gone", 0},
        {"bad.copies", "", 0},
        {"bad.ends_session", "terminat", 0},
    };

    start_bad();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct millrace_job job;
        struct mr_err err = {0};

        millrace_job_init(&job, rows[i].kind);
        job.attempts_max = 1;
        submit(&job);
        expect_failure(job.id, rows[i].says);
        ck_assert_msg(rig_int(&rig, "select count(*) from public.bad") == rows[i].rows,
            "rows of %s", rows[i].kind);
        ck_ok(mr_pg_run(rig.pg, "truncate public.bad", 0, NULL, NULL, &err), err);
        expect_sound_connection();
    }
}
END_TEST

START_TEST(answers_out_of_range)
{
    static const int64_t answers[] = {-1, 0, 5, 255, INT32_MAX};

    start_bad();
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++)
        expect_failure(
            rig_submit(mr, "bad.no_answer", "answer", answers[i]), "which is no answer");
}
END_TEST

/* ---- no return -------------------------------------------------------------------------------- */

static struct millrace_job
hanging(void)
{
    struct millrace_job job;

    millrace_job_init(&job, "test.hang");
    job.timeout_ms = 300;
    job.attempts_max = 1;
    return job;
}

START_TEST(no_return)
{
    const char *const flags[] = {
        "--hang-grace-ms", "50", "--executor-spares", "1", "--drain-ms", "100", NULL};
    struct millrace_job first = hanging(), second = hanging();

    rig_broker(&rig, NULL);
    rig_worker(&rig, 0, 1, flags);
    mr = rig_client(&rig);
    submit(&first);
    expect_failure(first.id, "timed out");
    ck_assert_int_eq(rig_int(&rig, TIMED_OUT), 1);
    /* The only thread is gone; its spare has taken over. */
    rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
    ck_assert(mr_proc_is_alive(&rig.workers[0]));
    /* None is left after the next one: it ends, so that somebody starts it again. */
    submit(&second);
    expect_failure(second.id, "timed out");
    ck_assert(mr_proc_wait(&rig.workers[0], RIG_WAIT_MS));
    ck_assert_int_eq(mr_proc_exit_code(&rig.workers[0]), 1);
    rig_worker(&rig, 0, 1, flags);
    rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
    ck_assert_int_eq(rig_int(&rig, TIMED_OUT), 2);
}
END_TEST

/* Those on other threads, and those that wait, go on. */
START_TEST(no_return_beside_others)
{
    enum { OTHERS = 30 };
    struct millrace_job job = hanging();
    struct millrace_id others[OTHERS];

    rig_broker(&rig, NULL);
    rig_worker(&rig, 0, 2,
        (const char *const[]){"--hang-grace-ms", "50", "--drain-ms", "100", NULL});
    mr = rig_client(&rig);
    submit(&job);
    for (int i = 0; i < OTHERS; i++)
        others[i] = rig_submit(mr, "test.sleep", "ms", 20);
    for (int i = 0; i < OTHERS; i++)
        rig_expect(mr, others[i], MILLRACE_SUCCEEDED);
    expect_failure(job.id, "timed out");
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.attempt"), 1); /* the hanging one */
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("handler");
    TCase *tcase = tcase_create("handler");

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_loop_test(tcase, a_crash, 0, 4);
    tcase_add_test(tcase, an_exit);
    tcase_add_test(tcase, garbage);
    tcase_add_test(tcase, answers_out_of_range);
    tcase_add_test(tcase, no_return);
    tcase_add_test(tcase, no_return_beside_others);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
