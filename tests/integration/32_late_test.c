/*
 * Attempts that were given up and come back: what they wrote is gone, what stands stays, and
 * somebody has written down that it happened.
 */
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct rig rig;
static struct millrace *mr;
static char until[128];

static void
set_up(void)
{
    struct mr_err err = {0};

    rig_open(&rig);
    ck_ok(mr_pg_run(rig.pg, "create table public.stuck (job uuid, attempt integer)", 0,
              NULL, NULL, &err),
        err);
    snprintf(until, sizeof until, "%s/until", rig.folder);
}

static void
tear_down(void)
{
    (void)unlink(until);
    millrace_close(mr);
    mr = NULL;
    rig_close(&rig);
}

static struct millrace_id
submit_stuck(uint32_t timeout_ms)
{
    struct millrace_pack args = {0};
    struct millrace_job job;

    millrace_job_init(&job, "test.stuck");
    millrace_pack_map(&args, 1);
    millrace_pack_str(&args, "until");
    millrace_pack_str(&args, until);
    job.args = args.bytes;
    job.args_bytes = args.n;
    job.timeout_ms = timeout_ms;
    job.backoff_base_ms = job.backoff_cap_ms = 10;
    ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_OK);
    millrace_pack_free(&args);
    return job.id;
}

static void
wake_up(void)
{
    FILE *file = fopen(until, "we");

    ck_assert_ptr_nonnull(file);
    fclose(file);
}

static void
await_line(const char *word, char *line, size_t room)
{
    int64_t end = rig_now_ms() + RIG_WAIT_MS;

    for (line[0] = '\0'; !line[0];) {
        mr_proc_last_line(rig.output, word, line, room);
        ck_assert_msg(rig_now_ms() < end, "nobody says %s", word);
        rig_breathe();
    }
}

#define RESULTS                                                                          \
    "from millrace.result join millrace.job using (id) where kind = 'test.stuck'"

static void
judge(void)
{
    ck_assert_int_eq(rig_int(&rig, "select count(*) " RESULTS), 1);
    ck_assert_int_eq(rig_int(&rig, "select attempt " RESULTS), 2);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from public.stuck"), 1);
    ck_assert_int_eq(rig_int(&rig, "select attempt from public.stuck"), 2);
}

/* Timed out, written off, replaced: its thread wakes up after another attempt has succeeded, and
 * commits. The row of its result is in the way, so that nothing of it stays. */
START_TEST(a_hung_handler_that_wakes_up)
{
    const char *const flags[] = {
        "--load", rig_program("tests/loadable/stuck.so"), "--hang-grace-ms", "50", NULL};
    char line[512];
    struct millrace_id id;

    rig_broker(&rig, NULL);
    rig_worker(&rig, 0, 1, flags);
    mr = rig_client(&rig);
    id = submit_stuck(200);
    rig_expect(mr, id, MILLRACE_SUCCEEDED);
    await_line(" hung ", line, sizeof line);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.attempt where outcome = 3"), 1);
    wake_up();
    await_line(" late ", line, sizeof line);
    ck_assert_msg(strstr(line, "attempt=1 stands=2") != NULL, "%s", line);
    judge();
    /* The others see nothing of it. */
    rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
    ck_assert(mr_proc_is_alive(&rig.workers[0]));
}
END_TEST

/* Lost by its broker (frozen), run elsewhere, thawed: its database session was ended, so that its
 * COMMIT cannot even be sent. */
START_TEST(a_frozen_worker_that_thaws)
{
    const char *const load[] = {"--load", rig_program("tests/loadable/stuck.so"), NULL};
    struct millrace_id id;

    rig_broker(&rig, (const char *const[]){"--heartbeat-ms", "200", NULL});
    rig_worker(&rig, 0, 1, load);
    mr = rig_client(&rig);
    id = submit_stuck(60000);
    rig_wait_int(&rig,
        "select count(*) from pg_stat_activity where datname = current_database() and "
        "state = 'idle in transaction'",
        1);
    mr_proc_signal(&rig.workers[0], SIGSTOP);
    rig_worker(&rig, 1, 1, load);
    rig_expect(mr, id, MILLRACE_SUCCEEDED);
    wake_up();
    mr_proc_signal(&rig.workers[0], SIGCONT);
    rig_wait_stat(mr, "workers", 2);
    for (int i = 0; i < 10; i++)
        rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
    judge();
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.attempt where outcome = 2"), 1);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("late");
    TCase *tcase = tcase_create("late");

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_hung_handler_that_wakes_up);
    tcase_add_test(tcase, a_frozen_worker_that_thaws);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
