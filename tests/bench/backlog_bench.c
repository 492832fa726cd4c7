/*
 * BENCH_JOBS (10,000,000) jobs wait: what the broker needs of memory, how fast it hands out jobs
 * while as many wait, against the same with 10,000, and how long it takes from the start of a
 * broker that was killed until it hands out jobs again. Two workers of four threads. Each job that
 * ends is replaced by a new one, so that the number that waits stays. One run.
 */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/bench.h"

enum {
    JOBS = 10000000,
    FEW = 10000,
    CHUNK = 100000,
    MARKS = 8,
    WORKERS = 2,
    THREADS = 4
};
enum { SECONDS = 10, LOOK_MS = 5, LOADED_MS = 300000, ROOM = 1000000 };

static void
run_sql(struct mr_bench *bench, const char *sql)
{
    struct mr_err err = {.why = ""};

    if (mr_pg_run(bench->pg, sql, 0, NULL, NULL, &err))
        mr_bench_fail(bench, sql, err.why);
}

static void
start_workers(struct mr_bench *bench)
{
    for (int i = 0; i < mr_bench_workers(WORKERS); i++)
        mr_bench_start_worker(bench, i);
}

static void
stop_workers(struct mr_bench *bench)
{
    for (int i = 0; i < mr_bench_workers(WORKERS); i++)
        mr_bench_stop_worker(bench, i, SIGTERM);
}

/* VmRSS, VmHWM in megabytes. */
static double
memory_mb(struct mr_bench *bench, const char *what)
{
    char path[64], line[256];
    double kib = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/status", (int)bench->stack.broker.pid);
    file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, what, strlen(what)) == 0)
            kib = strtod(line + strlen(what), NULL);
    }
    if (file)
        fclose(file);
    return kib * 1024 / 1e6;
}

static double
fill(struct mr_bench *bench, uint32_t jobs)
{
    double seconds = 0;

    for (uint32_t i = 0; i < jobs; i += CHUNK)
        seconds += mr_bench_fill(bench, jobs - i < CHUNK ? jobs - i : CHUNK);
    return seconds;
}

struct level {
    double jobs_per_s, submitted_per_s, cpu_s_per_100k;
    uint64_t added;
};

/* So many go on waiting, for SECONDS or until `most` have ended: a backlog is handed out faster
 * than new jobs come. */
static struct level
hold_level(struct mr_bench *bench, int64_t level, int64_t most)
{
    int64_t began_us, before, done = 0, elapsed_us = 0;
    struct level out = {.added = 0};
    double cpu_s;

    start_workers(bench);
    cpu_s = mr_bench_cpu_s();
    before = mr_bench_stat(bench, "succeeded");
    began_us = mr_bench_now_us();
    while (elapsed_us < SECONDS * INT64_C(1000000) && done < most) {
        int64_t missing = level - mr_bench_stat(bench, "jobs");

        if (missing > 0) {
            (void)mr_bench_fill(bench, (uint32_t)missing);
            out.added += (uint64_t)missing;
        }
        done = mr_bench_stat(bench, "succeeded") - before;
        elapsed_us = mr_bench_now_us() - began_us;
    }
    out.jobs_per_s = (double)done * 1e6 / (double)elapsed_us;
    out.submitted_per_s = (double)out.added * 1e6 / (double)elapsed_us;
    out.cpu_s_per_100k = (mr_bench_cpu_s() - cpu_s) * 100000 / (double)done;
    return out;
}

struct restart {
    double first_s, loaded_s;
};

static void
breathe(struct mr_bench *bench, int64_t began_us)
{
    if (mr_bench_now_us() - began_us > LOADED_MS * INT64_C(1000))
        mr_bench_fail(bench, "the broker does not come back", "see .millrace/bench");
    (void)poll(NULL, 0, LOOK_MS);
}

static double
seconds_since(int64_t began_us)
{
    return (double)(mr_bench_now_us() - began_us) / 1e6;
}

/* Killed, and started again; the workers come at once, and go when they were handed jobs. */
static struct restart
restart(struct mr_bench *bench)
{
    struct mr_err err = {.why = ""};
    struct restart out = {.first_s = 0};
    int64_t began_us;

    mr_stack_kill(&bench->stack, MR_STACK_BROKER);
    began_us = mr_bench_now_us();
    if (mr_stack_revive(&bench->stack, MR_STACK_BROKER, &err))
        mr_bench_fail(bench, err.what, err.why);
    start_workers(bench);
    while (mr_bench_stat(bench, "dispatched") == 0)
        breathe(bench, began_us);
    out.first_s = seconds_since(began_us);
    stop_workers(bench);
    /* What is still to come would have been handed out as it came. */
    while (mr_bench_stat(bench, "loading"))
        breathe(bench, began_us);
    out.loaded_s = seconds_since(began_us);
    return out;
}

static struct mr_bench_figure figures[] = {{.name = "ratio"}, {.name = "jobs_per_s"},
    {.name = "limit_jobs_per_s"}, {.name = "submitted_per_s"},
    {.name = "limit_submitted_per_s"}, {.name = "cpu_s_per_100k"},
    {.name = "limit_cpu_s_per_100k"}, {.name = "broker_mb"}, {.name = "broker_peak_mb"},
    {.name = "fill_jobs_per_s"}, {.name = "restart_s"}, {.name = "loaded_s"},
    {.name = "broker_loaded_mb"}, {.name = NULL}};

static void
put(size_t *n, double value)
{
    figures[(*n)++].runs[0] = value;
}

static void
run(struct mr_bench *bench, uint32_t jobs)
{
    struct level few, many;
    struct restart again;
    uint64_t submitted;
    int64_t left;
    double fill_s;
    size_t n = 0;

    few = hold_level(bench, FEW, INT64_MAX);
    mr_bench_await_idle(bench);
    stop_workers(bench);
    fill_s = fill(bench, jobs);
    run_sql(bench, "checkpoint");
    many = hold_level(bench, jobs, jobs / 2);
    stop_workers(bench);
    put(&n, many.jobs_per_s / few.jobs_per_s);
    put(&n, many.jobs_per_s);
    put(&n, few.jobs_per_s);
    put(&n, many.submitted_per_s);
    put(&n, few.submitted_per_s);
    put(&n, many.cpu_s_per_100k);
    put(&n, few.cpu_s_per_100k);
    put(&n, memory_mb(bench, "VmRSS:"));
    put(&n, memory_mb(bench, "VmHWM:"));
    put(&n, jobs / fill_s);
    left = mr_bench_stat(bench, "jobs");
    if (left < FEW)
        mr_bench_fail(bench, "hardly a job waits any more", "give more BENCH_JOBS");
    again = restart(bench);
    put(&n, again.first_s);
    put(&n, again.loaded_s);
    put(&n, memory_mb(bench, "VmRSS:"));
    if (mr_bench_stat(bench, "jobs") + mr_bench_stat(bench, "succeeded") < left)
        mr_bench_fail(bench, "the broker has not loaded all jobs", "see .millrace/bench");
    submitted = few.added + jobs + many.added;
    mr_bench_check(bench, submitted, submitted - (uint64_t)mr_bench_stat(bench, "jobs"));
}

int
main(void)
{
    static struct mr_bench bench;
    uint32_t jobs = mr_bench_jobs(JOBS);
    char about[160], jobs_max[16];

    setenv("BENCH_RUNS", "1", 1);
    mr_bench_open(&bench, NULL);
    /* Not as a flag: the broker that is started again has to have it too. */
    snprintf(jobs_max, sizeof jobs_max, "%u", jobs + ROOM);
    setenv("MILLRACE_JOBS_MAX", jobs_max, 1);
    bench.setup = (struct mr_bench_setup){
        .workers = mr_bench_workers(WORKERS), .threads = mr_bench_threads(THREADS)};
    mr_bench_start_broker(&bench);
    bench.mr = mr_bench_client(&bench);
    mr_bench_begin(&bench);
    run(&bench, jobs);
    snprintf(about, sizeof about,
        "\"waiting\":%u,\"few\":%d,\"payload_bytes\":%d,\"jobs_max\":%s", jobs, FEW,
        MR_BENCH_PAYLOAD_BYTES, jobs_max);
    mr_bench_print(&bench, "backlog", about, figures);
    return mr_bench_end(&bench);
}
