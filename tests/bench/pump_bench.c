/*
 * What ZeroMQ alone allows: a ROUTER-ROUTER balancer between a client and a worker, with the
 * messages of millrace and nothing behind them, by the number of jobs in each message.
 */
#include <stdio.h>

#include "tests/support/bench_limits.h"

enum { JOBS_MAX = 2000000, ROUNDS_MAX = 100000 };

static void
measure(struct mr_bench *bench, uint32_t batch)
{
    struct mr_bench_figure figures[] = {
        {.name = "jobs_per_s"}, {.name = "cpu_s_per_100k"}, {.name = NULL}};
    uint32_t most = batch < JOBS_MAX / ROUNDS_MAX ? batch * ROUNDS_MAX : JOBS_MAX;
    uint32_t jobs = mr_bench_jobs(most);
    char about[96];

    for (int i = 0; i < mr_bench_runs(); i++) {
        double cpu_s = mr_bench_cpu_s();

        figures[0].runs[i] = mr_bench_pump(bench, batch, jobs);
        figures[1].runs[i] = (mr_bench_cpu_s() - cpu_s) * 100000 / jobs;
    }
    snprintf(about, sizeof about, "\"jobs\":%u,\"jobs_a_message\":%u", jobs, batch);
    mr_bench_print(bench, "pump", about, figures);
}

int
main(void)
{
    static const uint32_t batches[] = {1, 8, 64, 512, 4096};
    struct mr_bench bench;

    mr_bench_open(&bench, NULL);
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++)
        measure(&bench, batches[i]);
    return mr_bench_end(&bench);
}
