/*
 * 64 threads of one process on one handle, each one job at a time, waiting until it is durable.
 * The queue is paused meanwhile; then the jobs run, so that their rows can be counted. Compared
 * with one connection that inserts and commits one row at a time.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/bench_limits.h"

enum {
    JOBS = 200000,
    CALLERS = 64,
    COMMITS = 3000,
    WARM_UP = 20000,
    DEADLINE_MS = 60000
};

enum { RATE, LIMIT, RATIO, CPU, P50, P99, FIGURES };

static struct mr_bench_figure figures[FIGURES + 1] = {[RATE] = {.name = "acks_per_s"},
    [LIMIT] = {.name = "limit_commits_per_s"},
    [RATIO] = {.name = "ratio"},
    [CPU] = {.name = "cpu_s_per_100k"},
    [P50] = {.name = "p50_ms"},
    [P99] = {.name = "p99_ms"}};

struct caller {
    pthread_t thread;
    struct millrace *mr;
    struct millrace_pack args;
    int64_t *took_us;
    uint32_t jobs;
    struct millrace_error error; /* code 0: all went well */
};

static void *
call(void *arg)
{
    struct caller *caller = arg;

    for (uint32_t i = 0; i < caller->jobs && !caller->error.code; i++) {
        int64_t began_us = mr_bench_now_us();
        struct millrace_job job;

        millrace_job_init(&job, "bench.answer");
        job.args = caller->args.bytes;
        job.args_bytes = caller->args.n;
        (void)millrace_submit(caller->mr, &job, DEADLINE_MS, &caller->error);
        caller->took_us[i] = mr_bench_now_us() - began_us;
    }
    return NULL;
}

/* Seconds; all have begun before the first ends. */
static double
call_all(struct mr_bench *bench, struct caller *callers)
{
    int64_t began_us = mr_bench_now_us();

    for (int i = 0; i < CALLERS; i++) {
        if (pthread_create(&callers[i].thread, NULL, call, &callers[i]) != 0)
            mr_bench_fail(bench, "no thread", "");
    }
    for (int i = 0; i < CALLERS; i++)
        (void)pthread_join(callers[i].thread, NULL);
    began_us = mr_bench_now_us() - began_us;
    for (int i = 0; i < CALLERS; i++) {
        if (callers[i].error.code)
            mr_bench_fail(bench, callers[i].error.what, callers[i].error.why);
    }
    return (double)began_us / 1e6;
}

static void
run(struct mr_bench *bench, uint32_t each, int64_t *took_us, int i)
{
    static const unsigned char nothing[MR_BENCH_PAYLOAD_BYTES - 2];
    static struct caller callers[CALLERS];
    struct millrace_pack args = {.bytes = NULL};
    uint32_t jobs = each * CALLERS;
    double cpu_s;

    millrace_pack_bin(&args, nothing, sizeof nothing);
    for (uint32_t k = 0; k < CALLERS; k++)
        callers[k] = (struct caller){
            .mr = bench->mr, .args = args, .took_us = took_us + k * each, .jobs = each};
    mr_bench_begin(bench);
    mr_bench_pause(bench);
    cpu_s = mr_bench_cpu_s();
    figures[RATE].runs[i] = jobs / call_all(bench, callers);
    figures[CPU].runs[i] = (mr_bench_cpu_s() - cpu_s) * 100000 / jobs;
    mr_bench_resume(bench);
    mr_bench_await_idle(bench);
    mr_bench_check(bench, jobs, jobs);
    figures[RATIO].runs[i] = figures[RATE].runs[i] / figures[LIMIT].runs[i];
    figures[P50].runs[i] = mr_bench_percentile_ms(took_us, jobs, 50);
    figures[P99].runs[i] = mr_bench_percentile_ms(took_us, jobs, 99);
    millrace_pack_free(&args);
}

int
main(void)
{
    struct mr_bench_setup setup = {
        .workers = mr_bench_workers(1), .threads = mr_bench_threads(2)};
    uint32_t each = (mr_bench_jobs(JOBS) + CALLERS - 1) / CALLERS;
    int64_t *took_us = calloc((size_t)each * CALLERS, sizeof *took_us);
    struct mr_bench bench;
    char about[128];

    mr_bench_open(&bench, &setup);
    if (!took_us)
        mr_bench_fail(&bench, "no memory", "for the times of all jobs");
    (void)mr_bench_flow(
        &bench, &(struct mr_bench_flow){.jobs = WARM_UP, .in_flight = 4096});
    for (int i = 0; i < mr_bench_runs(); i++) {
        figures[LIMIT].runs[i] = mr_bench_commits(&bench, COMMITS, NULL);
        run(&bench, each, took_us, i);
    }
    snprintf(about, sizeof about,
        "\"limit\":\"commits of one "
        "row\",\"jobs\":%u,\"payload_bytes\":%d,\"callers\":%d",
        each * CALLERS, MR_BENCH_PAYLOAD_BYTES, CALLERS);
    mr_bench_print(&bench, "submit-64", about, figures);
    free(took_us);
    return mr_bench_end(&bench);
}
