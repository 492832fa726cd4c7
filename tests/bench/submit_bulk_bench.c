/*
 * One client, all jobs in one call of millrace_submit_many: until each is durable. The queue is
 * paused meanwhile; then the jobs run, so that their rows can be counted. Compared with the half
 * of the floor that writes jobs.
 */
#include <stdio.h>

#include "tests/support/bench_limits.h"

enum { JOBS = 1000000, WARM_UP = 20000 };

enum { RATE, LIMIT, RATIO, CPU, FIGURES };

static struct mr_bench_figure figures[FIGURES + 1] = {[RATE] = {.name = "jobs_per_s"},
    [LIMIT] = {.name = "limit_jobs_per_s"},
    [RATIO] = {.name = "ratio"},
    [CPU] = {.name = "cpu_s_per_100k"}};

static void
run(struct mr_bench *bench, uint32_t jobs, int i)
{
    double cpu_s;

    mr_bench_begin(bench);
    mr_bench_pause(bench);
    cpu_s = mr_bench_cpu_s();
    figures[RATE].runs[i] = jobs / mr_bench_fill(bench, jobs);
    figures[CPU].runs[i] = (mr_bench_cpu_s() - cpu_s) * 100000 / jobs;
    mr_bench_resume(bench);
    mr_bench_await_idle(bench);
    mr_bench_check(bench, jobs, jobs);
    figures[RATIO].runs[i] = figures[RATE].runs[i] / figures[LIMIT].runs[i];
}

int
main(void)
{
    static const char *const broker[] = {"--jobs-max", "2000000", NULL};
    struct mr_bench_setup setup = {
        .workers = mr_bench_workers(1), .threads = mr_bench_threads(2), .broker = broker};
    uint32_t jobs = mr_bench_jobs(JOBS);
    struct mr_bench bench;
    char about[128];

    mr_bench_open(&bench, &setup);
    (void)mr_bench_flow(
        &bench, &(struct mr_bench_flow){.jobs = WARM_UP, .in_flight = 4096});
    for (int i = 0; i < mr_bench_runs(); i++) {
        figures[LIMIT].runs[i] = mr_bench_floor(&bench, MR_BENCH_JOB, jobs);
        run(&bench, jobs, i);
    }
    snprintf(about, sizeof about,
        "\"limit\":\"floor, jobs\",\"jobs\":%u,\"payload_bytes\":%d", jobs,
        MR_BENCH_PAYLOAD_BYTES);
    mr_bench_print(&bench, "submit-bulk", about, figures);
    return mr_bench_end(&bench);
}
