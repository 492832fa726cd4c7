/*
 * Latency of one job at a time in an idle system: from submit to the acknowledgement (it is
 * durable) and from submit to its result (it has run and the result is durable, too).
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/bench.h"

enum { JOBS = 300, WARM_UP = 30, DEADLINE_MS = 10000 };

static int64_t took_us[JOBS];

static void
one(struct mr_bench *bench, bool waits_for_result, int64_t *took)
{
    struct millrace_result result = {.outcome = 0};
    struct millrace_error error;
    struct millrace_job job;
    int64_t began_us = mr_bench_now_us();

    millrace_job_init(&job, "bench.answer");
    if (!waits_for_result) {
        if (millrace_submit(bench->mr, &job, DEADLINE_MS, &error))
            mr_bench_fail(bench, error.what, error.why);
        *took = mr_bench_now_us() - began_us;
        /* The next one finds the system idle again. */
        if (millrace_wait(bench->mr, &job.id, DEADLINE_MS, &result, &error))
            mr_bench_fail(bench, error.what, error.why);
    } else {
        if (millrace_run(bench->mr, &job, DEADLINE_MS, &result, &error))
            mr_bench_fail(bench, error.what, error.why);
        *took = mr_bench_now_us() - began_us;
    }
    if (result.outcome != MILLRACE_SUCCEEDED)
        mr_bench_fail(bench, "a job did not succeed", result.text ? result.text : "");
    millrace_result_free(&result);
}

static void
measure(struct mr_bench *bench, const char *name, bool waits_for_result)
{
    struct mr_bench_figure figures[] = {
        {.name = "p50_ms"}, {.name = "p99_ms"}, {.name = NULL}};
    char about[64];

    for (int i = 0; i < mr_bench_runs(); i++) {
        for (int k = 0; k < JOBS; k++)
            one(bench, waits_for_result, &took_us[k]);
        figures[0].runs[i] = mr_bench_percentile_ms(took_us, JOBS, 50);
        figures[1].runs[i] = mr_bench_percentile_ms(took_us, JOBS, 99);
    }
    snprintf(about, sizeof about, "\"jobs\":%d,\"in_flight\":1", JOBS);
    mr_bench_print(bench, name, about, figures);
}

int
main(void)
{
    struct mr_bench bench;

    mr_bench_open(&bench, &(struct mr_bench_setup){.workers = 2, .threads = 4});
    for (int i = 0; i < WARM_UP; i++)
        one(&bench, true, &took_us[0]);
    measure(&bench, "latency_submit_to_ack", false);
    measure(&bench, "latency_submit_to_result", true);
    mr_bench_close(&bench);
    return EXIT_SUCCESS;
}
