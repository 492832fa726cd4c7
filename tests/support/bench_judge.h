/*
 * What the benches have to reach, in one table, and whether a figure does. Pure.
 */
#ifndef MR_SUPPORT_BENCH_JUDGE_H
#define MR_SUPPORT_BENCH_JUDGE_H

#include <stdbool.h>

/* Of the median of a figure, on 2 cores, with PostgreSQL as it comes (fsync and
 * synchronous_commit on). */
struct mr_bench_target {
    const char *bench, *figure;
    double must, aim;
    bool is_most; /* must is the most that it may be, else the least */
    bool
        is_ratio; /* to a limit measured in the same run, or a count: true on any machine */
};

/* NULL: there is none. */
const struct mr_bench_target *mr_bench_target(const char *bench, const char *figure);

/* RED is what no noise of a busy machine explains: a ratio that is worse than half of `must`, or
 * not a number. A figure that is no ratio says nothing on another machine and is never red. */
enum mr_bench_verdict { MR_BENCH_HOLDS = 1, MR_BENCH_SHORT = 2, MR_BENCH_RED = 3 };

enum mr_bench_verdict mr_bench_judge(const struct mr_bench_target *target, double value);

#endif
