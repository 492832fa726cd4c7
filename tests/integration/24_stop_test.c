/*
 * Programs that are told to stop, with signals and from outside. No attempt is spent: the table
 * of attempts stays empty and every job ends as if nothing had been.
 */
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define HOUR_MS 3600000
#define ATTEMPTS "select count(*) from millrace.attempt"
#define LONG "600000" /* ms; whoever waits so long fails the test */

static struct rig rig;
static struct millrace *mr;

static void
set_up(void)
{
    rig_open(&rig);
    rig_broker(&rig, (const char *const[]){"--drain-ms", LONG, NULL});
    mr = rig_client(&rig);
}

static void
tear_down(void)
{
    millrace_close(mr);
    rig_close(&rig);
}

static void
ck_ended(struct mr_proc *proc, int code)
{
    ck_assert(mr_proc_wait(proc, RIG_WAIT_MS));
    ck_assert_int_eq(mr_proc_exit_code(proc), code);
}

static void
wait_log(const char *word)
{
    for (int64_t until = rig_now_ms() + RIG_WAIT_MS;;) {
        char line[256];

        mr_proc_last_line(rig.output, word, line, sizeof line);
        if (line[0])
            return;
        ck_assert(rig_now_ms() < until);
        rig_breathe();
    }
}

static void
cancel(struct millrace_id id)
{
    ck_assert_int_eq(millrace_cancel(mr, &id, RIG_WAIT_MS, NULL), MILLRACE_OK);
}

/* One runs for five seconds, others are queued behind it that would run for an hour. */
enum { QUEUED = 5 };

static struct millrace_id
fill_worker(struct millrace_id queued[QUEUED], const char *drain_ms)
{
    const char *const more[] = {
        "--prefetch", "8", "--drain-ms", drain_ms, "--hang-grace-ms", LONG, NULL};
    struct millrace_id running;

    rig_worker(&rig, 0, 1, more);
    running = rig_submit(mr, "test.sleep", "ms", 5000);
    for (int i = 0; i < QUEUED; i++)
        queued[i] = rig_submit(mr, "test.sleep", "ms", HOUR_MS);
    rig_wait_stat(mr, "sent", 1 + QUEUED);
    return running;
}

static void
ck_filled(struct millrace_id running, const struct millrace_id queued[QUEUED])
{
    ck_ended(&rig.workers[0], 0);
    rig_expect(mr, running, MILLRACE_SUCCEEDED);
    ck_assert_int_eq(rig_int(&rig, "select attempt from millrace.result"), 1);
    ck_assert_int_eq(rig_stat(mr, "given_back"), QUEUED);
    ck_assert_int_eq(rig_stat(mr, "ready"), QUEUED);
    for (int i = 0; i < QUEUED; i++)
        cancel(queued[i]);
    ck_assert_int_eq(rig_int(&rig, ATTEMPTS), 0);
    rig_worker(&rig, 1, 1, NULL);
    rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
}

START_TEST(a_worker_that_is_told_to_stop)
{
    struct millrace_id queued[QUEUED], running = fill_worker(queued, LONG);

    mr_proc_signal(&rig.workers[0], SIGTERM);
    ck_filled(running, queued);
}
END_TEST

static int
drain(const char *who, char *text, size_t room)
{
    const char *argv[] = {
        rig_program("millrace"), "drain", "--worker", who, "--endpoint", rig.front, NULL};

    return rig_run(&rig, argv, text, room);
}

START_TEST(a_worker_that_is_drained_from_outside)
{
    struct millrace_id queued[QUEUED], running = fill_worker(queued, LONG);
    char text[4096];

    ck_assert_msg(drain("w0", text, sizeof text) == 0, "%s", text);
    ck_assert_msg(strstr(text, "1 told to end in order: w0 (") != NULL, "%s", text);
    ck_filled(running, queued);
}
END_TEST

/* By the first characters of its instance; the other one goes on. */
START_TEST(one_of_two_workers_is_drained)
{
    char text[4096], *instance;

    rig_worker(&rig, 0, 1, NULL);
    rig_worker(&rig, 1, 1, NULL);
    ck_assert_int_eq(drain("w0", text, sizeof text), 0);
    ck_ended(&rig.workers[0], 0);
    ck_assert(mr_proc_is_alive(&rig.workers[1]));
    ck_assert_int_ne(drain("w0", text, sizeof text), 0); /* there is none any more */
    ck_assert_int_ne(drain("w", text, sizeof text), 0);
    ck_assert_msg(strstr(text, "no worker that is connected has this name") != NULL &&
                      strstr(text, "millrace workers") != NULL,
        "%s", text);
    rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
    ck_assert_int_eq(rig_run(&rig,
                         (const char *const[]){rig_program("millrace"), "workers", "-o",
                             "json", "--endpoint", rig.front, NULL},
                         text, sizeof text),
        0);
    instance = strstr(text, "\"instance\"");
    ck_assert_ptr_nonnull(instance);
    instance = strchr(instance + strlen("\"instance\""), '"');
    ck_assert_ptr_nonnull(instance);
    instance[1 + 14] = '\0';
    ck_assert_int_eq(drain(instance + 1, text, sizeof text), 0);
    ck_ended(&rig.workers[1], 0);
}
END_TEST

/* Longer than the worker may wait: it is told to stop, heeds, and is handed back. */
START_TEST(what_takes_too_long_is_handed_back)
{
    struct millrace_id id;

    rig_worker(&rig, 0, 1, (const char *const[]){"--drain-ms", "100", NULL});
    id = rig_submit(mr, "test.sleep", "ms", HOUR_MS);
    rig_wait_stat(mr, "sent", 1);
    mr_proc_signal(&rig.workers[0], SIGTERM);
    ck_ended(&rig.workers[0], 0);
    rig_wait_stat(mr, "ready", 1);
    ck_assert_int_eq(rig_stat(mr, "given_back"), 1);
    ck_assert_int_eq(rig_int(&rig, ATTEMPTS), 0);
    cancel(id);
}
END_TEST

/* It heeds nothing, and the worker would wait for ten minutes. */
START_TEST(a_second_signal_ends_a_worker_at_once)
{
    struct millrace_id id;

    rig_worker(&rig, 0, 1,
        (const char *const[]){"--drain-ms", LONG, "--hang-grace-ms", LONG, NULL});
    id = rig_submit(mr, "test.hang", "ms", HOUR_MS);
    rig_wait_stat(mr, "sent", 1);
    mr_proc_signal(&rig.workers[0], SIGTERM);
    wait_log("stopping");
    ck_assert(mr_proc_is_alive(&rig.workers[0]));
    mr_proc_signal(&rig.workers[0], SIGTERM);
    ck_ended(&rig.workers[0], 0);
    rig_wait_stat(mr, "ready", 1); /* nothing is held against it */
    ck_assert_int_eq(rig_int(&rig, ATTEMPTS), 0);
    cancel(id);
}
END_TEST

START_TEST(a_broker_that_is_told_to_stop)
{
    struct millrace_id running, waiting;

    rig_worker(&rig, 0, 1, (const char *const[]){"--prefetch", "0", NULL});
    running = rig_submit(mr, "test.sleep", "ms", 3000);
    waiting = rig_submit(mr, "test.noop", NULL, 0);
    rig_wait_stat(mr, "sent", 1);
    mr_proc_signal(&rig.broker, SIGTERM);
    ck_ended(&rig.broker, 0);
    ck_assert(mr_proc_is_alive(&rig.workers[0]));
    rig_broker(&rig, NULL);
    rig_expect(mr, running, MILLRACE_SUCCEEDED);
    rig_expect(mr, waiting, MILLRACE_SUCCEEDED);
    ck_assert_int_eq(rig_int(&rig, ATTEMPTS), 0);
    ck_assert_int_eq(rig_int(&rig, "select max(attempt) from millrace.result"), 1);
}
END_TEST

/* Somebody holds the table, so that a commit does not end. */
START_TEST(a_second_signal_ends_a_broker_at_once)
{
    struct millrace_job job;
    struct mr_err err = {0};

    rig_worker(&rig, 0, 1, NULL);
    rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
    ck_ok(mr_pg_run(rig.pg, "begin", 0, NULL, NULL, &err), err);
    ck_ok(mr_pg_run(
              rig.pg, "lock table millrace.job in exclusive mode", 0, NULL, NULL, &err),
        err);
    millrace_job_init(&job, "test.noop");
    ck_assert_int_eq(
        millrace_submit_start(mr, &job, MILLRACE_UNTIL_DURABLE, RIG_WAIT_MS, NULL, NULL),
        MILLRACE_OK);
    rig_wait_stat(mr, "storing", 1);
    mr_proc_signal(&rig.broker, SIGTERM);
    wait_log("draining");
    ck_assert(mr_proc_is_alive(&rig.broker));
    mr_proc_signal(&rig.broker, SIGTERM);
    ck_ended(&rig.broker, 75);
    ck_ok(mr_pg_run(rig.pg, "rollback", 0, NULL, NULL, &err), err);
    rig_broker(&rig, NULL); /* and what was not acknowledged is sent again */
    rig_expect(mr, job.id, MILLRACE_SUCCEEDED);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("stop");
    TCase *tcase = tcase_create("stop");

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_worker_that_is_told_to_stop);
    tcase_add_test(tcase, a_worker_that_is_drained_from_outside);
    tcase_add_test(tcase, one_of_two_workers_is_drained);
    tcase_add_test(tcase, what_takes_too_long_is_handed_back);
    tcase_add_test(tcase, a_second_signal_ends_a_worker_at_once);
    tcase_add_test(tcase, a_broker_that_is_told_to_stop);
    tcase_add_test(tcase, a_second_signal_ends_a_broker_at_once);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
