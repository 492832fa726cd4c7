/*
 * The wall clock of a program is set an hour forward, then an hour back, while jobs run, wait for
 * their time and come in: broker, worker, front end, each by itself. Nobody is taken for lost, no
 * delay is shortened or lengthened, and an id of another time is taken or refused as the
 * settings say. Debian's libfaketime moves the clock; the monotonic one goes on.
 */
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOUR_US (INT64_C(3600) * 1000000)
#define AN_HOUR_OFF(table, column)                                                       \
    "select count(*) from millrace." table " where abs(extract(epoch from " column       \
    " - now())) > 3000"

static struct rig rig;
static struct millrace *mr;
static char clock_file[128];
static const char *library;

/* Written anew and moved into its place: never seen half. */
static void
step(const char *offset)
{
    char fresh[160];
    FILE *file;

    snprintf(fresh, sizeof fresh, "%s.new", clock_file);
    file = fopen(fresh, "we");
    ck_assert_ptr_nonnull(file);
    fprintf(file, "%s\n", offset);
    fclose(file);
    ck_assert_int_eq(rename(fresh, clock_file), 0);
}

static void
set_up(void)
{
    rig_open(&rig);
    snprintf(clock_file, sizeof clock_file, "%s/clock", rig.folder);
    step("+0");
}

static void
tear_down(void)
{
    millrace_close(mr);
    rig_close(&rig);
    (void)unlink(clock_file);
    (void)rmdir(rig.folder);
}

/* What is started from now on has a clock that we set. */
static void
fake(bool on)
{
    if (!on) {
        (void)unsetenv("LD_PRELOAD");
        return;
    }
    ck_assert_int_eq(setenv("FAKETIME_TIMESTAMP_FILE", clock_file, 1), 0);
    ck_assert_int_eq(setenv("FAKETIME_NO_CACHE", "1", 1), 0);
    ck_assert_int_eq(setenv("DONT_FAKE_MONOTONIC", "1", 1), 0);
    ck_assert_int_eq(setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1", 1), 0);
    ck_assert_int_eq(setenv("LD_PRELOAD", library, 1), 0);
}

static struct millrace_id
submit_delayed(uint32_t delay_ms)
{
    struct millrace_job job;

    millrace_job_init(&job, "test.noop");
    job.delay_ms = delay_ms;
    ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_OK);
    return job.id;
}

static bool
is_finished(struct millrace_id id)
{
    struct millrace_result result;
    int code = millrace_fetch(mr, &id, RIG_WAIT_MS, &result, NULL);

    millrace_result_free(&result);
    return code == MILLRACE_OK;
}

/* Who has the clock: 0 the broker, 1 the worker, 2 both. */
START_TEST(an_hour_forward_and_back)
{
    static const char *const steps[] = {"+3600", "-3600", "+0"};
    struct millrace_id running, later, hours;

    fake(_i != 1);
    rig_broker(&rig, (const char *const[]){
                         "--heartbeat-ms", "300", "--id-future-ms", "7200000", NULL});
    fake(_i != 0);
    rig_worker(&rig, 0, 2, NULL);
    fake(false);
    mr = rig_client(&rig);
    running = rig_submit(mr, "test.sleep", "ms", 4000);
    rig_wait_stat(mr, "sent", 1);
    later = submit_delayed(3000);
    hours = submit_delayed(1800000);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        step(steps[i]);
        for (int n = 0; n < 40; n++) {
            rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
            rig_breathe();
        }
    }
    rig_expect(mr, running, MILLRACE_SUCCEEDED);
    rig_expect(mr, later, MILLRACE_SUCCEEDED);
    /* Half an hour has not passed, whatever the wall clock said meanwhile. */
    ck_assert(!is_finished(hours));
    ck_assert_int_eq(rig_stat(mr, "lost"), 0);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.attempt"), 0);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.result where attempt <> 1"), 0);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.result"), 3 * 40 + 2);
    ck_assert(mr_proc_is_alive(&rig.broker));
    ck_assert(mr_proc_is_alive(&rig.workers[0]));
    /* The clocks did move. */
    if (_i != 1)
        ck_assert_int_ge(rig_int(&rig, AN_HOUR_OFF("job", "submitted_at")), 60);
    if (_i != 0)
        ck_assert_int_ge(rig_int(&rig, AN_HOUR_OFF("result", "finished_at")), 60);
}
END_TEST

static int
submit_at(int64_t offset_us)
{
    struct millrace_job job;
    uint64_t ms;

    millrace_job_init(&job, "test.noop");
    ms = 0;
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | job.id.b[i];
    ms += (uint64_t)(offset_us / 1000);
    for (int i = 0; i < 6; i++)
        job.id.b[i] = (uint8_t)(ms >> (8 * (5 - i)));
    return rig_verdict(mr, &job);
}

/* A front end whose clock is off makes ids of another time: as id_past_hours (24) and id_future_ms
 * (60 s) say. */
START_TEST(ids_of_another_time)
{
    rig_broker(&rig, NULL);
    rig_worker(&rig, 0, 1, NULL);
    mr = rig_client(&rig);
    ck_assert_int_eq(submit_at(-HOUR_US), MILLRACE_OK);
    ck_assert_int_eq(submit_at(30000000), MILLRACE_OK);
    ck_assert_int_eq(submit_at(HOUR_US), MILLRACE_BAD_ID);
    ck_assert_int_eq(submit_at(-25 * HOUR_US), MILLRACE_BAD_ID);
    /* The broker's own clock is an hour behind: right ids are from the future then. */
    ck_assert(mr_proc_stop(&rig.broker, SIGTERM, RIG_WAIT_MS));
    if (!library)
        return;
    step("-3600");
    fake(true);
    rig_broker(&rig, NULL);
    fake(false);
    ck_assert_int_eq(submit_at(0), MILLRACE_BAD_ID);
    step("+0"); /* set right while it runs: all is well without a hand */
    ck_assert_int_eq(submit_at(0), MILLRACE_OK);
    rig_wait_int(&rig, "select count(*) from millrace.result", 3);
}
END_TEST

static const char *
find_library(void)
{
    static const char *const places[] = {
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/faketime/libfaketimeMT.so.1"};

    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (access(places[i], R_OK) == 0)
            return places[i];
    }
    return NULL;
}

int
main(void)
{
    const char *build = getenv("MILLRACE_BUILD");
    Suite *suite = suite_create("clock");
    TCase *tcase = tcase_create("clock");

    library = find_library();
    if (build && strstr(build, "asan"))
        library = NULL; /* a sanitizer wants to be the first library */
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    if (library)
        tcase_add_loop_test(tcase, an_hour_forward_and_back, 0, 3);
    else
        fprintf(stderr, "libfaketime cannot be used here: stepped clocks left out\n");
    tcase_add_test(tcase, ids_of_another_time);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
