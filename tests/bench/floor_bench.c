/*
 * What the database alone allows: two bare connections, one copies job rows, the other result
 * rows, in transactions of 4,000 rows in binary form. No broker, no worker. Both at the same time,
 * which e2e is compared with; then each alone, for those who write only one of them.
 */
#include <stdio.h>

#include "tests/support/bench_limits.h"

enum { JOBS = 1000000 };

static void
measure(struct mr_bench *bench, const char *half_name, enum mr_bench_half half)
{
    struct mr_bench_figure figures[] = {
        {.name = "jobs_per_s"}, {.name = "cpu_s_per_100k"}, {.name = NULL}};
    uint32_t jobs = mr_bench_jobs(JOBS);
    char about[160];

    for (int i = 0; i < mr_bench_runs(); i++) {
        double cpu_s = mr_bench_cpu_s();

        figures[0].runs[i] = mr_bench_floor(bench, half, jobs);
        figures[1].runs[i] = (mr_bench_cpu_s() - cpu_s) * 100000 / jobs;
    }
    snprintf(about, sizeof about,
        "\"half\":\"%s\",\"jobs\":%u,\"payload_bytes\":%d,\"result_bytes\":%d,\"batch\":%"
        "d",
        half_name, jobs, MR_BENCH_PAYLOAD_BYTES, MR_BENCH_RESULT_BYTES,
        MR_BENCH_FLOOR_BATCH);
    mr_bench_print(bench, "floor", about, figures);
}

int
main(void)
{
    struct mr_bench bench;

    mr_bench_open(&bench, NULL);
    measure(&bench, "both", MR_BENCH_BOTH);
    measure(&bench, "job", MR_BENCH_JOB);
    measure(&bench, "result", MR_BENCH_RESULT);
    return mr_bench_end(&bench);
}
