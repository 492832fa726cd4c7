/*
 * One client, one job at a time: from submit until it is durable. The queue is paused meanwhile;
 * then the jobs run, so that their rows can be counted. Compared with one connection that inserts
 * and commits one row at a time.
 */
#include <stdio.h>

#include "tests/support/bench_limits.h"

enum { JOBS_MAX = 100000, JOBS = 3000, WARM_UP = 5000, DEADLINE_MS = 60000 };

enum { P50, LIMIT, RATIO, P99, LIMIT_P99, RATE, CPU, FIGURES };

static struct mr_bench_figure figures[FIGURES + 1] = {[P50] = {.name = "p50_ms"},
    [LIMIT] = {.name = "limit_p50_ms"},
    [RATIO] = {.name = "ratio"},
    [P99] = {.name = "p99_ms"},
    [LIMIT_P99] = {.name = "limit_p99_ms"},
    [RATE] = {.name = "acks_per_s"},
    [CPU] = {.name = "cpu_s_per_100k"}};

static int64_t took_us[JOBS_MAX];

static void
submit_all(struct mr_bench *bench, uint32_t jobs)
{
    static const unsigned char nothing[MR_BENCH_PAYLOAD_BYTES - 2];
    struct millrace_pack args = {.bytes = NULL};
    struct millrace_error error;
    struct millrace_job job;

    millrace_pack_bin(&args, nothing, sizeof nothing);
    for (uint32_t i = 0; i < jobs; i++) {
        int64_t began_us = mr_bench_now_us();

        millrace_job_init(&job, "bench.answer");
        job.args = args.bytes;
        job.args_bytes = args.n;
        if (millrace_submit(bench->mr, &job, DEADLINE_MS, &error))
            mr_bench_fail(bench, error.what, error.why);
        took_us[i] = mr_bench_now_us() - began_us;
    }
    millrace_pack_free(&args);
}

static void
run_limit(struct mr_bench *bench, uint32_t commits, int i)
{
    (void)mr_bench_commits(bench, commits, took_us);
    figures[LIMIT].runs[i] = mr_bench_percentile_ms(took_us, commits, 50);
    figures[LIMIT_P99].runs[i] = mr_bench_percentile_ms(took_us, commits, 99);
}

static void
run(struct mr_bench *bench, uint32_t jobs, int i)
{
    int64_t began_us;
    double cpu_s;

    mr_bench_begin(bench);
    mr_bench_pause(bench);
    cpu_s = mr_bench_cpu_s();
    began_us = mr_bench_now_us();
    submit_all(bench, jobs);
    figures[RATE].runs[i] = jobs * 1e6 / (double)(mr_bench_now_us() - began_us);
    figures[CPU].runs[i] = (mr_bench_cpu_s() - cpu_s) * 100000 / jobs;
    mr_bench_resume(bench);
    mr_bench_await_idle(bench);
    mr_bench_check(bench, jobs, jobs);
    figures[P50].runs[i] = mr_bench_percentile_ms(took_us, jobs, 50);
    figures[P99].runs[i] = mr_bench_percentile_ms(took_us, jobs, 99);
    figures[RATIO].runs[i] = figures[P50].runs[i] / figures[LIMIT].runs[i];
}

int
main(void)
{
    struct mr_bench_setup setup = {
        .workers = mr_bench_workers(1), .threads = mr_bench_threads(2)};
    uint32_t wanted = mr_bench_jobs(JOBS), jobs = wanted < JOBS_MAX ? wanted : JOBS_MAX;
    struct mr_bench bench;
    char about[128];

    mr_bench_open(&bench, &setup);
    (void)mr_bench_flow(
        &bench, &(struct mr_bench_flow){.jobs = WARM_UP, .in_flight = 4096});
    for (int i = 0; i < mr_bench_runs(); i++) {
        run_limit(&bench, jobs, i);
        run(&bench, jobs, i);
    }
    snprintf(about, sizeof about,
        "\"limit\":\"commits of one "
        "row\",\"jobs\":%u,\"payload_bytes\":%d,\"in_flight\":1",
        jobs, MR_BENCH_PAYLOAD_BYTES);
    mr_bench_print(&bench, "submit-1", about, figures);
    return mr_bench_end(&bench);
}
