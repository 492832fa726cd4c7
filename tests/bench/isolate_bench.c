/*
 * What a child process costs: the same job that does nothing, on the workers' threads and in their
 * child processes. Processor time is that of everything together, so that the difference is the
 * child's: two more threads to wake, and the arguments and the result through a socket pair.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/bench.h"

enum { JOBS = 20000, WARM_UP = 2000, IN_FLIGHT = 2048, DEADLINE_MS = 60000 };

static void
submit(struct mr_bench *bench, const char *kind)
{
    struct millrace_error error;
    struct millrace_job job;

    millrace_job_init(&job, kind);
    if (millrace_submit_start(
            bench->mr, &job, MILLRACE_UNTIL_FINISHED, DEADLINE_MS, NULL, &error))
        mr_bench_fail(bench, error.what, error.why);
}

static void
take_one(struct mr_bench *bench)
{
    struct millrace_completion completion;

    if (millrace_finish(bench->mr, DEADLINE_MS, &completion) != 1)
        mr_bench_fail(bench, "no job ends any more", "see .millrace/bench");
    if (completion.code || completion.result.outcome != MILLRACE_SUCCEEDED)
        mr_bench_fail(bench, "a job did not succeed", completion.error.why);
    millrace_result_free(&completion.result);
}

static void
run(struct mr_bench *bench, const char *kind, int jobs)
{
    int sent = 0;

    for (int done = 0; done < jobs; done++) {
        while (sent < jobs && sent - done < IN_FLIGHT) {
            submit(bench, kind);
            sent++;
        }
        take_one(bench);
    }
}

/* Jobs per second and microseconds of processor time for each. */
static void
measure(struct mr_bench *bench, const char *kind, double *jobs_per_s, double *cpu_us)
{
    int64_t began_us = mr_bench_now_us();
    double began_s = mr_bench_cpu_s();

    run(bench, kind, JOBS);
    *jobs_per_s = JOBS / ((double)(mr_bench_now_us() - began_us) / 1e6);
    *cpu_us = (mr_bench_cpu_s() - began_s) * 1e6 / JOBS;
}

int
main(void)
{
    struct mr_bench_figure figures[] = {{.name = "plain_jobs_per_s"},
        {.name = "plain_cpu_us"}, {.name = "isolated_jobs_per_s"},
        {.name = "isolated_cpu_us"}, {.name = "child_cpu_us"}, {.name = NULL}};
    struct mr_bench bench;
    char about[64];

    mr_bench_open(&bench, &(struct mr_bench_setup){.workers = 2, .threads = 4});
    run(&bench, "bench.answer", WARM_UP);
    run(&bench, "bench.isolated", WARM_UP);
    for (int i = 0; i < mr_bench_runs(); i++) {
        measure(&bench, "bench.answer", &figures[0].runs[i], &figures[1].runs[i]);
        measure(&bench, "bench.isolated", &figures[2].runs[i], &figures[3].runs[i]);
        figures[4].runs[i] = figures[3].runs[i] - figures[1].runs[i];
    }
    snprintf(about, sizeof about, "\"jobs\":%d,\"in_flight\":%d", JOBS, IN_FLIGHT);
    mr_bench_print(&bench, "isolate", about, figures);
    return mr_bench_end(&bench);
}
