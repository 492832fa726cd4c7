/*
 * Throughput of the whole path: one front end submits, the broker stores, two workers of four
 * threads run, results are stored and come back, all at the same time. A job carries 100 bytes and
 * returns 32. Also the time from submit to result of a job in that crowd.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/bench.h"

enum {
    JOBS = 100000,
    WARM_UP = 5000,
    IN_FLIGHT = 8192,
    PAYLOAD_BYTES = 98, /* and 2 in front of them */
    RESULT_BYTES = 32,
    DEADLINE_MS = 60000,
};

struct flight {
    int64_t began_us;
};

static struct flight flights[JOBS];
static int64_t took_us[JOBS];

static void
submit(struct mr_bench *bench, struct flight *flight, const struct millrace_pack *args)
{
    struct millrace_error error;
    struct millrace_job job;

    millrace_job_init(&job, "bench.answer");
    job.args = args->bytes;
    job.args_bytes = args->n;
    flight->began_us = mr_bench_now_us();
    if (millrace_submit_start(
            bench->mr, &job, MILLRACE_UNTIL_FINISHED, DEADLINE_MS, flight, &error))
        mr_bench_fail(bench, error.what, error.why);
}

static void
on_completion(
    struct mr_bench *bench, struct millrace_completion *completion, uint32_t *done)
{
    const struct flight *flight = completion->tag;

    if (completion->code || completion->result.outcome != MILLRACE_SUCCEEDED)
        mr_bench_fail(bench, "a job did not succeed", completion->error.why);
    if (completion->result.body_bytes != RESULT_BYTES)
        mr_bench_fail(bench, "a job did not return 32 bytes", "");
    took_us[*done] = mr_bench_now_us() - flight->began_us;
    ++*done;
    millrace_result_free(&completion->result);
}

/* Wait for one, then take all that are there. */
static void
take(struct mr_bench *bench, uint32_t *done)
{
    struct millrace_completion completion;

    if (millrace_finish(bench->mr, DEADLINE_MS, &completion) != 1)
        mr_bench_fail(bench, "no job ends any more", "see .millrace/bench");
    do
        on_completion(bench, &completion, done);
    while (millrace_poll(bench->mr, &completion) == 1);
}

/* Seconds for so many jobs. */
static double
run(struct mr_bench *bench, uint32_t jobs)
{
    static const unsigned char bytes[PAYLOAD_BYTES];
    struct millrace_pack args = {.bytes = NULL};
    int64_t began_us = mr_bench_now_us();
    uint32_t sent = 0, done = 0;

    millrace_pack_bin(&args, bytes, sizeof bytes);
    while (done < jobs) {
        while (sent < jobs && sent - done < IN_FLIGHT)
            submit(bench, &flights[sent++], &args);
        take(bench, &done);
    }
    millrace_pack_free(&args);
    return (double)(mr_bench_now_us() - began_us) / 1e6;
}

int
main(void)
{
    struct mr_bench_figure figures[] = {{.name = "jobs_per_s"},
        {.name = "cpu_s_per_100k"}, {.name = "p50_ms"}, {.name = "p99_ms"},
        {.name = NULL}};
    struct mr_bench bench;
    char about[128];

    mr_bench_open(&bench, true);
    (void)run(&bench, WARM_UP);
    for (int i = 0; i < MR_BENCH_RUNS; i++) {
        double cpu_s = mr_bench_cpu_s();

        figures[0].runs[i] = JOBS / run(&bench, JOBS);
        figures[1].runs[i] = (mr_bench_cpu_s() - cpu_s) * 100000 / JOBS;
        figures[2].runs[i] = mr_bench_percentile_ms(took_us, JOBS, 50);
        figures[3].runs[i] = mr_bench_percentile_ms(took_us, JOBS, 99);
    }
    snprintf(about, sizeof about,
        "\"jobs\":%d,\"payload_bytes\":%d,\"result_bytes\":%d,\"in_flight\":%d", JOBS,
        PAYLOAD_BYTES + 2, RESULT_BYTES, IN_FLIGHT);
    mr_bench_print(&bench, "e2e", about, figures);
    mr_bench_close(&bench);
    return EXIT_SUCCESS;
}
