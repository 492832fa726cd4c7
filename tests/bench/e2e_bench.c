/*
 * Throughput of the whole path: one front end submits, the broker stores, a worker runs, results
 * are stored and come back, all at the same time. A job carries 100 bytes and returns 32. Compared
 * with the floor (the same rows by two bare connections) and shown beside the pump (the same
 * messages, and nothing else).
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/bench_limits.h"

enum { JOBS = 1000000, WARM_UP = 20000, IN_FLIGHT = 12288, PUMP_JOBS = 200000 };
/* SUBMIT and its ACK, JOBS, DONE and its ACK, EVENT */
enum { MESSAGES_A_BATCH = 6 };

enum { RATE, LIMIT, RATIO, CPU, P50, P99, PUMP, PUMP_ONE, JOBS_A_MESSAGE, FIGURES };

static struct mr_bench_figure figures[FIGURES + 1] = {[RATE] = {.name = "jobs_per_s"},
    [LIMIT] = {.name = "limit_jobs_per_s"},
    [RATIO] = {.name = "ratio"},
    [CPU] = {.name = "cpu_s_per_100k"},
    [P50] = {.name = "p50_ms"},
    [P99] = {.name = "p99_ms"},
    [PUMP] = {.name = "pump_jobs_per_s"},
    [PUMP_ONE] = {.name = "pump_singly_jobs_per_s"},
    [JOBS_A_MESSAGE] = {.name = "jobs_a_message"}};

/* The pump at that size of message, and with each job alone. */
static void
run_pump(struct mr_bench *bench, uint32_t jobs, int i)
{
    double seen = figures[JOBS_A_MESSAGE].runs[i];
    uint32_t batch = seen < 1 ? 1 : (uint32_t)(seen + 0.5);

    figures[PUMP].runs[i] = mr_bench_pump(bench, batch, jobs);
    figures[PUMP_ONE].runs[i] =
        mr_bench_pump(bench, 1, jobs < PUMP_JOBS ? jobs : PUMP_JOBS);
}

static int64_t
messages(struct mr_bench *bench)
{
    return mr_bench_stat(bench, "received") + mr_bench_stat(bench, "messages_sent");
}

static void
run(struct mr_bench *bench, const struct mr_bench_flow *flow, int i)
{
    int64_t before = messages(bench);
    double cpu_s = mr_bench_cpu_s();
    uint32_t jobs = flow->jobs;

    mr_bench_begin(bench);
    figures[RATE].runs[i] = jobs / mr_bench_flow(bench, flow);
    figures[CPU].runs[i] = (mr_bench_cpu_s() - cpu_s) * 100000 / jobs;
    figures[JOBS_A_MESSAGE].runs[i] =
        (double)jobs * MESSAGES_A_BATCH / (double)(messages(bench) - before);
    mr_bench_check(bench, jobs, jobs);
    figures[RATIO].runs[i] = figures[RATE].runs[i] / figures[LIMIT].runs[i];
    figures[P50].runs[i] = mr_bench_percentile_ms(flow->took_us, jobs, 50);
    figures[P99].runs[i] = mr_bench_percentile_ms(flow->took_us, jobs, 99);
}

int
main(void)
{
    struct mr_bench_setup setup = {
        .workers = mr_bench_workers(1), .threads = mr_bench_threads(2)};
    struct mr_bench_flow flow = {
        .jobs = mr_bench_jobs(JOBS), .in_flight = mr_bench_in_flight(IN_FLIGHT)};
    struct mr_bench bench;
    char about[256];

    mr_bench_open(&bench, &setup);
    (void)mr_bench_flow(
        &bench, &(struct mr_bench_flow){.jobs = WARM_UP, .in_flight = 4096});
    flow.took_us = calloc(flow.jobs, sizeof *flow.took_us);
    if (!flow.took_us)
        mr_bench_fail(&bench, "no memory", "for the times of all jobs");
    for (int i = 0; i < mr_bench_runs(); i++) {
        figures[LIMIT].runs[i] = mr_bench_floor(&bench, MR_BENCH_BOTH, flow.jobs);
        run(&bench, &flow, i);
        run_pump(&bench, flow.jobs, i);
    }
    snprintf(about, sizeof about,
        "\"limit\":\"floor\",\"jobs\":%u,\"payload_bytes\":%d,\"result_bytes\":%d,"
        "\"in_flight\":%u",
        flow.jobs, MR_BENCH_PAYLOAD_BYTES, MR_BENCH_RESULT_BYTES, flow.in_flight);
    mr_bench_print(&bench, "e2e", about, figures);
    free(flow.took_us);
    return mr_bench_end(&bench);
}
