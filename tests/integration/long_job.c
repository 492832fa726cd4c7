/*
 * A live job is never rescued by mistake: one calculation that burns a processor, one transaction
 * that is a single statement, one that sleeps before it writes, each for SECONDS_LONG (600) seconds
 * under default heartbeats, while every processor is busy and short jobs go by. None of them
 * says a word meanwhile. At the end each has one attempt and nothing was taken for lost.
 *
 * Too long for `make test`: `make long-job`. SPIN: how many processes do nothing but keep the
 * processors busy (one for each).
 */
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define SPINNERS_MAX 64
#define BUSY_MIN 90 /* per cent: with less it proves nothing */

static struct rig rig;
static struct millrace *mr;
static pid_t spinners[SPINNERS_MAX];
static int spinner_count;

static int
seconds_asked(void)
{
    const char *text = getenv("SECONDS_LONG");
    int seconds = text && *text ? atoi(text) : 600;

    ck_assert_msg(seconds > 0, "SECONDS_LONG=%s is no number of seconds", text);
    return seconds;
}

/* ---- busy processors -------------------------------------------------------------------------- */

static void
spin(void)
{
    volatile uint64_t kept = 1;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;)
        kept = kept * UINT64_C(6364136223846793005) + 1;
}

static void
start_spinners(void)
{
    const char *wish = getenv("SPIN");
    long wanted = wish && *wish ? atoi(wish) : sysconf(_SC_NPROCESSORS_ONLN);

    for (; spinner_count < wanted && spinner_count < SPINNERS_MAX; spinner_count++) {
        pid_t pid = fork();

        ck_assert_int_ge(pid, 0);
        if (pid == 0)
            spin();
        spinners[spinner_count] = pid;
    }
}

static void
stop_spinners(void)
{
    while (spinner_count > 0)
        (void)kill(spinners[--spinner_count], SIGKILL);
}

struct ticks {
    uint64_t idle, all;
};

static struct ticks
read_ticks(void)
{
    unsigned long long v[8] = {0};
    struct ticks ticks = {0};
    FILE *file = fopen("/proc/stat", "re");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0],
                         &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]),
        8);
    fclose(file);
    for (int i = 0; i < 8; i++)
        ticks.all += v[i];
    ticks.idle = v[3] + v[4];
    return ticks;
}

/* ---- the run ------------------------------------------------------------------------------------ */

static struct millrace_id
submit_long(const char *kind, int seconds)
{
    struct millrace_pack args = {0};
    struct millrace_job job;

    millrace_job_init(&job, kind);
    millrace_pack_map(&args, 1);
    millrace_pack_str(&args, "ms");
    millrace_pack_int(&args, seconds * INT64_C(1000));
    job.args = args.bytes;
    job.args_bytes = args.n;
    job.timeout_ms = (uint32_t)seconds * 3000 + 60000;
    ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_OK);
    millrace_pack_free(&args);
    return job.id;
}

static void
set_up(void)
{
    struct mr_err err = {0};

    rig_open(&rig);
    ck_ok(mr_pg_run(rig.pg, "create table public.long (job uuid, attempt integer)", 0,
              NULL, NULL, &err),
        err);
    rig_broker(&rig, NULL);
    rig_worker(&rig, 0, 4,
        (const char *const[]){"--load", rig_program("tests/loadable/long.so"), NULL});
    mr = rig_client(&rig);
    start_spinners();
}

static void
tear_down(void)
{
    stop_spinners();
    millrace_close(mr);
    rig_close(&rig);
}

/* The worst time that a short job took is a figure, not a condition. */
static int64_t
pass_the_time(int seconds, int *shorts)
{
    int64_t until = rig_now_ms() + seconds * INT64_C(1000), worst = 0;

    while (rig_now_ms() < until) {
        int64_t began = rig_now_ms(), took;

        rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
        took = rig_now_ms() - began;
        worst = took > worst ? took : worst;
        ++*shorts;
        for (int i = 0; i < 40; i++)
            rig_breathe();
    }
    return worst;
}

START_TEST(a_live_job_is_never_rescued)
{
    static const char *const kinds[] = {"long.burn", "long.query", "long.write"};
    int seconds = seconds_asked(), shorts = 0;
    struct millrace_id ids[3];
    struct ticks before, after;
    uint64_t busy;
    int64_t worst;

    for (int i = 0; i < 3; i++)
        ids[i] = submit_long(kinds[i], seconds);
    rig_wait_stat(mr, "sent", 3);
    before = read_ticks();
    worst = pass_the_time(seconds, &shorts);
    after = read_ticks();
    busy = 100 - 100 * (after.idle - before.idle) / (after.all - before.all);
    /* A statement or a burning processor may end late; nobody waits for it in vain. */
    for (int i = 0; i < 3; i++) {
        struct millrace_result result;

        ck_assert_int_eq(millrace_wait(mr, &ids[i], 120000, &result, NULL), MILLRACE_OK);
        ck_assert_int_eq(result.outcome, MILLRACE_SUCCEEDED);
        millrace_result_free(&result);
    }
    printf("{\"bench\":\"long_job\",\"seconds\":%d,\"jobs\":3,\"busy_percent\":%llu,"
           "\"short_jobs\":%d,\"short_worst_ms\":%lld,\"attempts_stored\":%lld,"
           "\"lost\":%lld}\n",
        seconds, (unsigned long long)busy, shorts, (long long)worst,
        (long long)rig_int(&rig, "select count(*) from millrace.attempt"),
        (long long)rig_stat(mr, "lost"));
    fflush(stdout);
    ck_assert_uint_ge(busy, BUSY_MIN);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.attempt"), 0);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.result where attempt <> 1"), 0);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from public.long"), 2);
    ck_assert_int_eq(rig_stat(mr, "lost"), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("long job");
    TCase *tcase = tcase_create("long job");

    tcase_set_timeout(tcase, 0);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_live_job_is_never_rescued);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
