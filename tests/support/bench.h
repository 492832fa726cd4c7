/*
 * What the benches share: a private PostgreSQL as it comes (fsync on), broker, two workers of four
 * threads; processor time of all processes together; one JSON line for each result, the median
 * of its runs. One thread.
 */
#ifndef MR_SUPPORT_BENCH_H
#define MR_SUPPORT_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "client/millrace.h"
#include "schemas/sql/pg.h"
#include "tests/flagship/stack.h"

enum { MR_BENCH_RUNS = 3 };

struct mr_bench {
    struct mr_stack stack;
    struct mr_pg *pg;
    struct millrace *mr; /* NULL without programs */
};

/* Each ends the process with what went wrong if it cannot. */
void mr_bench_open(struct mr_bench *bench, bool with_programs);
void mr_bench_close(struct mr_bench *bench);
_Noreturn void mr_bench_fail(struct mr_bench *bench, const char *what, const char *why);

/* Path of the shared object with their kinds. After mr_bench_open. */
const char *mr_bench_kinds(void);

/* Seconds of processor time of this process and all that it has started, ended ones included. */
double mr_bench_cpu_s(void);
int64_t mr_bench_now_us(void);

/* Nearest rank of sorted values (they are sorted by the call). */
double mr_bench_percentile_ms(int64_t *us, uint32_t n, double percent);

/* One number in each run; NULL name ends the list. */
struct mr_bench_figure {
    const char *name; /* of the JSON key; the range goes to name_min and name_max */
    double runs[MR_BENCH_RUNS];
};

/* {"bench":"e2e","jobs_per_s":median,"jobs_per_s_min":..,"jobs_per_s_max":..,...}; `about` is
 * JSON that is put in as it is ("\"jobs\":1000"). */
void mr_bench_print(struct mr_bench *bench, const char *name, const char *about,
    const struct mr_bench_figure *figures);

#endif
