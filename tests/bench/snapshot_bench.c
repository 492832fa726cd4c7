/*
 * A snapshot is held open in PostgreSQL (a dump, a forgotten session) while jobs come at half of
 * what the system can: the last tenth of the time against the first, how large the tables get
 * for each job against a while without a snapshot, and what the system can at the end.
 * SNAPSHOT_S seconds (600), one run; a tenth of it more for the while without.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/bench.h"
#include "tests/support/stream.h"

enum { SECONDS = 600, FULL_JOBS = 100000, WARM_UP = 50000, IN_FLIGHT = 8192 };
enum { WORKERS = 2, THREADS = 4, TIMES_MAX = 8000000 };

/* ---- A while at a given rate ------------------------------------------------------------------ */

static struct times {
    int64_t us[TIMES_MAX];
    uint32_t n;
} times;

static void
put_args(struct millrace_pack *pack, uint32_t i)
{
    static const unsigned char bytes[MR_BENCH_PAYLOAD_BYTES - 2];

    (void)i;
    millrace_pack_bin(pack, bytes, sizeof bytes);
}

static void
on_end(void *context, const struct millrace_result *result, int64_t submitted_us)
{
    (void)context, (void)result;
    if (times.n < TIMES_MAX)
        times.us[times.n++] = mr_bench_now_us() - submitted_us;
}

struct leg {
    double jobs, jobs_per_s, cpu_s_per_100k, p50_ms, p99_ms;
};

static struct leg
go(struct mr_bench *bench, double jobs_per_s, double seconds)
{
    struct mr_stream stream = {.kind = "bench.answer",
        .put_args = put_args,
        .on_end = on_end,
        .in_flight = mr_bench_in_flight(IN_FLIGHT),
        .jobs_per_s = jobs_per_s};
    double cpu_s = mr_bench_cpu_s();
    int64_t began_us = mr_bench_now_us();
    struct leg leg;

    times.n = 0;
    leg.jobs = mr_stream_seconds(bench, &stream, seconds);
    leg.jobs_per_s = leg.jobs * 1e6 / (double)(mr_bench_now_us() - began_us);
    leg.cpu_s_per_100k = (mr_bench_cpu_s() - cpu_s) * 100000 / leg.jobs;
    leg.p50_ms = mr_bench_percentile_ms(times.us, times.n, 50);
    leg.p99_ms = mr_bench_percentile_ms(times.us, times.n, 99);
    return leg;
}

static double
full_speed(struct mr_bench *bench, uint32_t jobs)
{
    struct mr_bench_flow flow = {
        .jobs = jobs, .in_flight = mr_bench_in_flight(IN_FLIGHT)};

    return jobs / mr_bench_flow(bench, &flow);
}

/* ---- Tables ----------------------------------------------------------------------------------- */

/* Of job, attempt, result and their indexes; of all other tables; rows that are dead. */
struct tables {
    double hot_bytes, other_bytes, dead;
};

#define SIZE "select coalesce(sum(pg_total_relation_size(relid)), 0) "
#define FROM "from pg_stat_user_tables where schemaname = 'millrace'"
#define HOT "relname ~ '^(job|attempt|result)'"

static struct tables
look(struct mr_bench *bench)
{
    return (struct tables){.hot_bytes = mr_bench_number(bench, SIZE FROM " and " HOT),
        .other_bytes = mr_bench_number(bench, SIZE FROM " and not " HOT),
        .dead = mr_bench_number(bench, "select sum(n_dead_tup) " FROM)};
}

static void
hold_snapshot(struct mr_bench *bench, struct mr_pg **out)
{
    static const char *const sql[] = {"set idle_in_transaction_session_timeout = 0",
        "begin isolation level repeatable read",
        "select count(*) from (select 1 from millrace.job limit 1) as one"};
    struct mr_err err = {.why = ""};

    if (mr_pg_open(out, mr_cluster_conninfo(bench->stack.cluster), "snapshot", &err) ||
        mr_pg_run(*out, sql[0], 0, NULL, NULL, &err) ||
        mr_pg_run(*out, sql[1], 0, NULL, NULL, &err) ||
        mr_pg_run(*out, sql[2], 0, NULL, NULL, &err))
        mr_bench_fail(bench, err.what, err.why);
}

/* It was there all the time. */
static void
release_snapshot(struct mr_bench *bench, struct mr_pg **pg)
{
    struct mr_err err = {.why = ""};

    if (mr_pg_run(*pg, "commit", 0, NULL, NULL, &err))
        mr_bench_fail(bench, err.what, err.why);
    mr_pg_close(pg);
}

/* ---- The run ---------------------------------------------------------------------------------- */

static struct mr_bench_figure figures[] = {{.name = "ratio"},
    {.name = "jobs_per_s_first"}, {.name = "jobs_per_s_last"},
    {.name = "cpu_s_per_100k_first"}, {.name = "cpu_s_per_100k_last"},
    {.name = "p50_ms_first"}, {.name = "p50_ms_last"}, {.name = "p99_ms_first"},
    {.name = "p99_ms_last"}, {.name = "full_jobs_per_s_before"},
    {.name = "full_jobs_per_s_after"}, {.name = "full_ratio"},
    {.name = "hot_bytes_per_job"}, {.name = "hot_bytes_per_job_without"},
    {.name = "size_ratio"}, {.name = "dead_rows"}, {.name = "dead_rows_without"},
    {.name = "other_tables_kib"}, {.name = "other_tables_kib_without"}, {.name = NULL}};

static void
put(size_t *n, double value)
{
    figures[(*n)++].runs[0] = value;
}

static void
put_legs(size_t *n, const struct leg *first, const struct leg *last)
{
    put(n, last->jobs_per_s / first->jobs_per_s);
    put(n, first->jobs_per_s);
    put(n, last->jobs_per_s);
    put(n, first->cpu_s_per_100k);
    put(n, last->cpu_s_per_100k);
    put(n, first->p50_ms);
    put(n, last->p50_ms);
    put(n, first->p99_ms);
    put(n, last->p99_ms);
}

static double
run(struct mr_bench *bench, double seconds)
{
    double before = full_speed(bench, FULL_JOBS), after, per_job, per_job_without, jobs;
    struct tables began = look(bench), without, with;
    struct leg calm = go(bench, before / 2, seconds / 10), first, middle, last;
    struct mr_pg *snapshot = NULL;
    size_t n = 0;

    without = look(bench);
    hold_snapshot(bench, &snapshot);
    first = go(bench, before / 2, seconds / 10);
    middle = go(bench, before / 2, seconds * 8 / 10);
    last = go(bench, before / 2, seconds / 10);
    with = look(bench);
    after = full_speed(bench, FULL_JOBS);
    release_snapshot(bench, &snapshot);
    jobs = first.jobs + middle.jobs + last.jobs;
    per_job = (with.hot_bytes - without.hot_bytes) / jobs;
    per_job_without = (without.hot_bytes - began.hot_bytes) / calm.jobs;
    put_legs(&n, &first, &last);
    put(&n, before);
    put(&n, after);
    put(&n, after / before);
    put(&n, per_job);
    put(&n, per_job_without);
    put(&n, per_job / per_job_without);
    put(&n, with.dead);
    put(&n, without.dead);
    put(&n, with.other_bytes / 1024);
    put(&n, without.other_bytes / 1024);
    return calm.jobs + jobs + 2.0 * FULL_JOBS;
}

int
main(void)
{
    static struct mr_bench bench;
    const char *text = getenv("SNAPSHOT_S");
    double seconds = text ? strtod(text, NULL) : SECONDS, jobs;
    char about[64];

    setenv("BENCH_RUNS", "1", 1);
    mr_bench_open(&bench, &(struct mr_bench_setup){.workers = mr_bench_workers(WORKERS),
                              .threads = mr_bench_threads(THREADS)});
    (void)full_speed(&bench, WARM_UP);
    mr_bench_begin(&bench);
    jobs = run(&bench, seconds);
    mr_bench_check(&bench, (uint64_t)jobs, (uint64_t)jobs);
    snprintf(about, sizeof about, "\"jobs\":%.0f,\"seconds\":%.0f", jobs, seconds);
    mr_bench_print(&bench, "snapshot", about, figures);
    return mr_bench_end(&bench);
}
