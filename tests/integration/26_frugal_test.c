/*
 * What broker and workers cost while they do their work, and while there is none: no row of a job is
 * updated or deleted, PostgreSQL is not polled and not listened to, and the broker's memory does
 * not grow with what is done.
 */
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 2000
#define BATCHES 12
#define IDLE_MS 4000
#define COMMITS_PER_S 8         /* the lease is renewed once a second */
#define GROWTH_BYTES_PER_JOB 20 /* less than the smallest allocation */
#define FINISHED "select count(*) from millrace.result"

static struct rig rig;
static struct millrace *mr;

static void
set_up(void)
{
    rig_open(&rig);
    rig_broker(&rig, NULL);
    rig_worker(&rig, 0, 2, NULL);
    mr = rig_client(&rig);
}

static void
tear_down(void)
{
    millrace_close(mr);
    rig_close(&rig);
}

static void
submit_batch(const char *kind, int count)
{
    struct millrace_job *jobs = calloc((size_t)count, sizeof *jobs);
    int *codes = calloc((size_t)count, sizeof *codes);
    struct millrace_error error;

    ck_assert(jobs && codes);
    for (int i = 0; i < count; i++) {
        millrace_job_init(&jobs[i], kind);
        jobs[i].attempts_max = 2;
        jobs[i].backoff_base_ms = jobs[i].backoff_cap_ms = 1;
    }
    ck_assert_msg(millrace_submit_many(mr, jobs, (size_t)count, codes, 3 * RIG_WAIT_MS,
                      &error) == MILLRACE_OK,
        "%s", error.why);
    free(jobs);
    free(codes);
}

/* Bloat. What programs did is counted when they have ended, at the latest. */
START_TEST(no_row_of_a_job_is_changed)
{
    enum { WELL = 300, FAILING = 20 };
    static const char of_jobs[] =
        "from pg_stat_user_tables where schemaname = 'millrace' and "
        "relname ~ '^(job|result|attempt)_'";
    char sql[256];

    submit_batch("test.noop", WELL);
    submit_batch("test.fail", FAILING);
    rig_wait_int(&rig, FINISHED, WELL + FAILING);
    ck_assert(mr_proc_stop(&rig.workers[0], SIGTERM, RIG_WAIT_MS));
    ck_assert(mr_proc_stop(&rig.broker, SIGTERM, RIG_WAIT_MS));
    snprintf(sql, sizeof sql, "select (sum(n_tup_ins) >= %d)::int %s",
        2 * (WELL + FAILING) + FAILING, of_jobs);
    rig_wait_int(&rig, sql, 1);
    snprintf(sql, sizeof sql, "select sum(n_tup_upd + n_tup_del) %s", of_jobs);
    ck_assert_int_eq(rig_int(&rig, sql), 0);
}
END_TEST

/* Polling, LISTEN. A job that is due in an hour gives nobody a reason to look. */
START_TEST(nothing_is_asked_while_nothing_happens)
{
    static const char commits[] = "select xact_commit from pg_stat_database where "
                                  "datname = current_database()";
    struct millrace_job later;
    int64_t began_ms, before, made;

    rig_worker(&rig, 1, 8, NULL);
    rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
    millrace_job_init(&later, "test.noop");
    later.delay_ms = 3600000;
    ck_assert_int_eq(rig_verdict(mr, &later), MILLRACE_OK);
    before = rig_int(&rig, commits);
    began_ms = rig_now_ms();
    while (rig_now_ms() < began_ms + IDLE_MS)
        rig_breathe();
    made = rig_int(&rig, commits) - before;
    /* Those of before that had not been counted: as many as sessions, and a few. */
    ck_assert_int_le(made, COMMITS_PER_S * (rig_now_ms() - began_ms) / 1000 + 30);
    ck_assert_int_gt(made, 0);
    ck_assert_int_eq(
        rig_int(&rig,
            "select count(*) from pg_stat_activity where query ~* '^ *(un)?listen'"),
        0);
}
END_TEST

static int64_t
memory_kib(const struct mr_proc *proc)
{
    char path[64], line[256];
    int64_t kib = -1;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/status", (int)proc->pid);
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    while (kib < 0 && fgets(line, sizeof line, file))
        (void)sscanf(line, "RssAnon: %" SCNd64 " kB", &kib);
    fclose(file);
    ck_assert_int_gt(kib, 0);
    return kib;
}

static void
operate(const char *what)
{
    struct millrace_pack args = {0};
    struct millrace_error error;
    void *reply = NULL;
    size_t n = 0;

    millrace_pack_map(&args, 1);
    millrace_pack_str(&args, "queue");
    millrace_pack_str(&args, "default");
    ck_assert_msg(millrace_call(mr, what, args.bytes, args.n, RIG_WAIT_MS, &reply, &n,
                      &error) == MILLRACE_OK,
        "%s", error.why);
    free(reply);
    millrace_pack_free(&args);
}

/* After the first batches, which fill what is kept for reuse. All of a batch is there at once
 * each time, however fast the worker is: the most that is held is always the same. */
START_TEST(memory_does_not_grow_with_what_is_done)
{
    int64_t before = 0, grown;

    for (int i = 1; i <= 2 * BATCHES; i++) {
        operate("pause");
        submit_batch("test.noop", BATCH);
        operate("resume");
        rig_wait_int(&rig, FINISHED, INT64_C(1) * i * BATCH);
        if (i == BATCHES)
            before = memory_kib(&rig.broker);
    }
    grown = memory_kib(&rig.broker) - before;
    printf("%d jobs later the broker has %" PRId64 " KiB more than %" PRId64 " KiB\n",
        BATCHES * BATCH, grown, before);
    fflush(stdout);
    ck_assert_int_lt(grown * 1024, INT64_C(1) * GROWTH_BYTES_PER_JOB * BATCHES * BATCH);
}
END_TEST

int
main(void)
{
    const char *build = getenv("MILLRACE_BUILD");
    Suite *suite = suite_create("frugal");
    TCase *tcase = tcase_create("frugal");

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, no_row_of_a_job_is_changed);
    tcase_add_test(tcase, nothing_is_asked_while_nothing_happens);
    if (build && strstr(build, "asan")) /* keeps what is freed for a while */
        fprintf(stderr, "a sanitizer's memory says nothing: growth left out\n");
    else
        tcase_add_test(tcase, memory_does_not_grow_with_what_is_done);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
