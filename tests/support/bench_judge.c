#include "tests/support/bench_judge.h"

#include <stddef.h>
#include <string.h>

#define LEAST(bench, figure, must, aim)                                                  \
    {                                                                                    \
        bench, figure, must, aim, false, true                                            \
    }
#define MOST(bench, figure, must, aim)                                                   \
    {                                                                                    \
        bench, figure, must, aim, true, true                                             \
    }
#define MOST_HERE(bench, figure, must, aim)                                              \
    {                                                                                    \
        bench, figure, must, aim, true, false                                            \
    }

/* Where the target is so much on a machine whose bare commits take so long, the ratio of both. */
static const struct mr_bench_target targets[] = {
    LEAST("e2e", "ratio", 0.55, 0.8),
    MOST_HERE("e2e", "cpu_s_per_100k", 1.1, 0.7),
    LEAST("curve", "ratio", 0.85, 0.95),
    LEAST("drain", "ratio", 0.6, 0.85),
    LEAST("submit-bulk", "ratio", 0.6, 0.85),
    LEAST("submit-64", "ratio", 40.0 / 3, 80.0 / 3),
    LEAST("sockets-64", "ratio", 15.0 / 3, 25.0 / 3),
    MOST("submit-1", "ratio", 1.0 / 0.3, 0.65 / 0.3),
    MOST("latency", "start_ratio", 1.0 / 0.3, 0.7 / 0.3),
    MOST("latency", "done_ratio", 1.6 / 0.3, 1.2 / 0.3),
    MOST_HERE("latency", "start_p50_ms", 1.0, 0.7),
    MOST_HERE("latency", "start_p99_ms", 2.0, 1.3),
    MOST_HERE("latency", "done_p50_ms", 1.6, 1.2),
    MOST_HERE("latency", "done_p99_ms", 3.5, 2.2),
    LEAST("tx", "ratio", 0.9, 1.6),
    LEAST("tx-pipelined", "ratio", 0.9, 1.6),
    LEAST("tx-grouped", "ratio", 4.0, 5.5),
    LEAST("calc", "ratio", 0.97, 0.99),
    LEAST("backlog", "ratio", 0.85, 0.85),
    MOST_HERE("backlog", "broker_mb", 1200, 700),
    MOST_HERE("backlog", "restart_s", 15, 5),
    MOST_HERE("idle", "cpu_percent", 0.5, 0.5),
    MOST_HERE("idle", "queries_per_s", 1, 1),
    LEAST("peers", "ratio", 0.9, 0.9),
    MOST("quota", "ratio", 1.5, 1.1),
    LEAST("snapshot", "ratio", 0.9, 0.9),
    /* One in a hundred jobs: what grows now and then is no cost of a job. */
    MOST("alloc", "allocs_per_job", 0.01, 0),
};

const struct mr_bench_target *
mr_bench_target(const char *bench, const char *figure)
{
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        if (strcmp(targets[i].bench, bench) == 0 &&
            strcmp(targets[i].figure, figure) == 0)
            return &targets[i];
    }
    return NULL;
}

/* Comparisons with what is not a number are false. */
enum mr_bench_verdict
mr_bench_judge(const struct mr_bench_target *target, double value)
{
    bool holds = target->is_most ? value <= target->must : value >= target->must;
    bool half_holds =
        target->is_most ? value <= 2 * target->must : value >= target->must / 2;

    if (holds)
        return MR_BENCH_HOLDS;
    return half_holds || !target->is_ratio ? MR_BENCH_SHORT : MR_BENCH_RED;
}
