/*
 * What the benches share: a private PostgreSQL as it comes (fsync on), broker and workers with
 * given settings; a stream of jobs; the check that each job has exactly one row in `job` and one
 * in `result`; processor time of all processes together; one JSON line for each result, the
 * median of its runs, with what it has to reach. Main thread only, except where it says otherwise.
 *
 *     mr_bench_open(&bench, &(struct mr_bench_setup){.workers = 1, .threads = 2});
 *     for (int i = 0; i < mr_bench_runs(); i++) {
 *         limit->runs[i] = mr_bench_floor(&bench, MR_BENCH_BOTH, jobs);     (bench_limits.h)
 *         mr_bench_begin(&bench);
 *         rate->runs[i] = jobs / mr_bench_flow(&bench, &flow);
 *         mr_bench_check(&bench, jobs, jobs);
 *         ratio->runs[i] = rate->runs[i] / limit->runs[i];
 *     }
 *     mr_bench_print(&bench, "e2e", "\"limit\":\"floor\"", figures);
 *     return mr_bench_end(&bench);
 *
 * From the environment: BENCH_RUNS (3), BENCH_JOBS, BENCH_IN_FLIGHT, BENCH_WORKERS, BENCH_THREADS
 * instead of what the bench would take; BENCH_JUDGE: end with failure when a ratio is red.
 */
#ifndef MR_SUPPORT_BENCH_H
#define MR_SUPPORT_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "client/millrace.h"
#include "schemas/base/uuid.h"
#include "schemas/sql/pg.h"
#include "tests/flagship/stack.h"
#include "tests/support/bench_judge.h"

enum { MR_BENCH_RUNS_MAX = 32, MR_BENCH_WORKERS_MAX = 16, MR_BENCH_FLAGS_MAX = 16 };
/* What a job of the benches carries and returns, as it is stored. */
enum { MR_BENCH_PAYLOAD_BYTES = 100, MR_BENCH_RESULT_BYTES = 32 };

/* Everything is borrowed and outlives the bench. */
struct mr_bench_setup {
    int workers;               /* processes, numbers 0 to workers - 1; 0: none yet */
    int threads;               /* of each; 0: one for each processor */
    const char *const *broker; /* more flags and values, NULL-ended; NULL: none */
    const char *const *worker;
    uint32_t outstanding_max; /* of the handle; 0: as it comes */
};

struct mr_bench {
    struct mr_stack stack; /* its broker, not its workers */
    struct mr_bench_setup setup;
    struct mr_proc workers[MR_BENCH_WORKERS_MAX];
    struct mr_pg *pg;
    struct millrace *mr;  /* NULL without programs */
    struct mr_uuid began; /* jobs of this run have ids above it */
    bool is_red;
};

/* Each ends the process with what went wrong if it cannot. `setup` NULL: PostgreSQL only. */
void mr_bench_open(struct mr_bench *bench, const struct mr_bench_setup *setup);
void mr_bench_close(struct mr_bench *bench);
/* Closes it; what main returns: failure if BENCH_JUDGE is set and a line was red. */
int mr_bench_end(struct mr_bench *bench);
_Noreturn void mr_bench_fail(struct mr_bench *bench, const char *what, const char *why);

/* With the settings of the setup; returns when it serves, or is welcomed. The broker a second
 * time: at the same endpoints. */
void mr_bench_start_broker(struct mr_bench *bench);
void mr_bench_start_worker(struct mr_bench *bench, int number);
/* In order, or by SIGKILL. */
void mr_bench_stop_worker(struct mr_bench *bench, int number, int signal_number);
/* A handle of the broker, welcomed. To be closed before mr_bench_end. */
struct millrace *mr_bench_client(struct mr_bench *bench);

/* Path of the shared object with their kinds. After mr_bench_open. */
const char *mr_bench_kinds(void);

/* The environment's, else what is given. */
int mr_bench_runs(void);
uint32_t mr_bench_jobs(uint32_t usual);
uint32_t mr_bench_in_flight(uint32_t usual);
int mr_bench_workers(int usual);
int mr_bench_threads(int usual);

/* Seconds of processor time of this process and all that it has started, ended ones included. */
double mr_bench_cpu_s(void);
/* Any thread. */
int64_t mr_bench_now_us(void);

/* First value of the first row; 0: none, or null. */
double mr_bench_number(struct mr_bench *bench, const char *sql);
/* A counter or a state of the broker's `stats`. */
int64_t mr_bench_stat(struct mr_bench *bench, const char *name);

/* ---- Jobs ------------------------------------------------------------------------------------- */

/* A run begins: jobs submitted from now on are its own. */
void mr_bench_begin(struct mr_bench *bench);
/* Since then so many jobs: so many rows in `job`, with ids of their own; of those so many have a
 * row in `result`, one each; and nothing else is there. Else the bench fails. */
void mr_bench_check(struct mr_bench *bench, uint64_t jobs, uint64_t results);

/* A stream of jobs, submitted, run, and their results taken, at the same time. */
struct mr_bench_flow {
    const char *kind; /* NULL: bench.answer with 100 bytes, which returns 32 */
    uint32_t jobs;
    uint32_t in_flight; /* at most so many submitted and not yet taken */
    int64_t
        *took_us; /* from submit to result, in the order they came; NULL: not wanted */
};
/* Seconds. Each has to succeed. */
double mr_bench_flow(struct mr_bench *bench, const struct mr_bench_flow *flow);

/* The queue "default" hands out nothing, or does again. */
void mr_bench_pause(struct mr_bench *bench);
void mr_bench_resume(struct mr_bench *bench);
/* So many jobs as of the flow in one call, durable; its seconds. Nobody waits for their results. */
double mr_bench_fill(struct mr_bench *bench, uint32_t jobs);
/* Until the broker has no unfinished job. */
void mr_bench_await_idle(struct mr_bench *bench);

/* ---- Figures ---------------------------------------------------------------------------------- */

/* Nearest rank of sorted values (they are sorted by the call). */
double mr_bench_percentile_ms(int64_t *us, uint32_t n, double percent);

/* One number in each run; NULL name ends the list. */
struct mr_bench_figure {
    const char *name; /* of the JSON key; the range goes to name_min and name_max */
    double runs[MR_BENCH_RUNS_MAX];
};

/* {"bench":"e2e","jobs_per_s":median,"jobs_per_s_min":..,"jobs_per_s_max":..,...,
 * "targets":{"ratio":{"must":..,"aim":..,"holds":..}},...}; `about` is JSON that is put in as it is
 * ("\"jobs\":1000"). Figures named in the table of bench_judge.c are judged. */
void mr_bench_print(struct mr_bench *bench, const char *name, const char *about,
    const struct mr_bench_figure *figures);

#endif
