/*
 * One job at a time in an idle system: from submit to the start of its handler, which returns when
 * that was (one host, one clock), and to its result in the client's hand. Both commits, that of the
 * job and that of its result, lie in between. Compared with one bare commit of one row.
 */
#include <stdio.h>

#include "tests/support/bench_limits.h"

enum { JOBS_MAX = 100000, JOBS = 1000, WARM_UP = 200, DEADLINE_MS = 10000 };

enum {
    START_P50,
    START_P99,
    DONE_P50,
    DONE_P99,
    LIMIT,
    START_RATIO,
    DONE_RATIO,
    FIGURES
};

static struct mr_bench_figure figures[FIGURES + 1] = {
    [START_P50] = {.name = "start_p50_ms"},
    [START_P99] = {.name = "start_p99_ms"},
    [DONE_P50] = {.name = "done_p50_ms"},
    [DONE_P99] = {.name = "done_p99_ms"},
    [LIMIT] = {.name = "limit_p50_ms"},
    [START_RATIO] = {.name = "start_ratio"},
    [DONE_RATIO] = {.name = "done_ratio"}};

static int64_t start_us[JOBS_MAX], done_us[JOBS_MAX];

static void
one(struct mr_bench *bench, int64_t *to_start_us, int64_t *to_done_us)
{
    struct millrace_result result = {.outcome = 0};
    struct millrace_error error;
    struct millrace_job job;
    int64_t began_us = mr_bench_now_us(), started_us = 0;

    millrace_job_init(&job, "bench.stamp");
    if (millrace_run(bench->mr, &job, DEADLINE_MS, &result, &error))
        mr_bench_fail(bench, error.what, error.why);
    *to_done_us = mr_bench_now_us() - began_us;
    if (result.outcome != MILLRACE_SUCCEEDED ||
        !millrace_get_int(result.body, result.body_bytes, "us", &started_us))
        mr_bench_fail(bench, "a job did not succeed", result.text ? result.text : "");
    *to_start_us = started_us - began_us;
    millrace_result_free(&result);
}

static void
run(struct mr_bench *bench, uint32_t jobs, int i)
{
    (void)mr_bench_commits(bench, jobs, start_us);
    figures[LIMIT].runs[i] = mr_bench_percentile_ms(start_us, jobs, 50);
    mr_bench_begin(bench);
    for (uint32_t k = 0; k < jobs; k++)
        one(bench, &start_us[k], &done_us[k]);
    mr_bench_check(bench, jobs, jobs);
    figures[START_P50].runs[i] = mr_bench_percentile_ms(start_us, jobs, 50);
    figures[START_P99].runs[i] = mr_bench_percentile_ms(start_us, jobs, 99);
    figures[DONE_P50].runs[i] = mr_bench_percentile_ms(done_us, jobs, 50);
    figures[DONE_P99].runs[i] = mr_bench_percentile_ms(done_us, jobs, 99);
    figures[START_RATIO].runs[i] = figures[START_P50].runs[i] / figures[LIMIT].runs[i];
    figures[DONE_RATIO].runs[i] = figures[DONE_P50].runs[i] / figures[LIMIT].runs[i];
}

int
main(void)
{
    struct mr_bench_setup setup = {
        .workers = mr_bench_workers(1), .threads = mr_bench_threads(2)};
    uint32_t wanted = mr_bench_jobs(JOBS), jobs = wanted < JOBS_MAX ? wanted : JOBS_MAX;
    struct mr_bench bench;
    char about[96];

    mr_bench_open(&bench, &setup);
    for (int i = 0; i < WARM_UP; i++)
        one(&bench, &start_us[0], &done_us[0]);
    for (int i = 0; i < mr_bench_runs(); i++)
        run(&bench, jobs, i);
    snprintf(about, sizeof about,
        "\"limit\":\"commits of one row\",\"jobs\":%u,\"in_flight\":1", jobs);
    mr_bench_print(&bench, "latency", about, figures);
    return mr_bench_end(&bench);
}
