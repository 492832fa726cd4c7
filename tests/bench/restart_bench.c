/*
 * How soon a broker that was killed hands out jobs again, by the number of jobs that wait and that
 * are finished: from the start of its process to the first start of a handler. One worker of
 * four threads stays where it is. The tables are filled by plain SQL, the ids spread over a day,
 * the waiting ones among the finished.
 *
 *     restart_bench [WAITING FINISHED]...      default: 0 0 100000 1000000 1000000 10000000
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/bench.h"

enum { READY_MS = 300000, CHUNK = 500000, LOOK_MS = 5, IN_HAND_MS = 300 };

struct rig {
    struct mr_bench bench;
    char load[4096], log[2100], ready[2100], worker_ready[2100];
    char front[128], back[128];
    struct mr_proc broker, worker;
};

static void
run_sql(struct rig *rig, const char *sql)
{
    struct mr_err err = {.why = ""};

    if (mr_pg_run(rig->bench.pg, sql, 0, NULL, NULL, &err))
        mr_bench_fail(&rig->bench, sql, err.why);
}

static double
number(struct rig *rig, const char *sql)
{
    struct pg_result *row = NULL;
    struct mr_err err = {.why = ""};
    double value = 0;

    if (mr_pg_run(rig->bench.pg, sql, 0, NULL, &row, &err))
        mr_bench_fail(&rig->bench, sql, err.why);
    if (mr_pg_rows(row) > 0 && mr_pg_text(row, 0, 0))
        value = strtod(mr_pg_text(row, 0, 0), NULL);
    mr_pg_free_result(&row);
    return value;
}

/* ---- rows ------------------------------------------------------------------------------------- */

/* Job number i of n: its time lies i/n of the way from 24 hours ago to ten minutes ago; every
 * `every`th waits. */
static void
fill(struct rig *rig, long waiting, long finished)
{
    static const char make[] =
        "create function public.fill(from_i bigint, to_i bigint, n bigint, every bigint, "
        "began_ms bigint) returns void language sql as $$ "
        "with made as materialized (select i, began_ms + i * 85800000 / n as ms, "
        "md5(i::text) as salt from generate_series(from_i, to_i - 1) i), "
        "named as materialized (select i, ms, (lpad(to_hex(ms), 12, '0') || '7' || "
        "left(salt, 3) || '8' || substr(salt, 4, 15))::uuid as id from made), "
        "put as (insert into millrace.job (id, submitted_at, shard, priority, queue, "
        "kind, payload) select id, to_timestamp(ms / 1000.0), 0, 4, 'default', "
        "'bench.mark', '\\xc462'::bytea || decode(repeat('00', 98), 'hex') from named) "
        "insert into millrace.result (id, finished_at, started_at, attempt, outcome, "
        "worker, body) select id, to_timestamp(ms / 1000.0), to_timestamp(ms / 1000.0), "
        "1, 1, 'filler', '\\xc41e'::bytea || decode(repeat('00', 30), 'hex') from named "
        "where i % every <> 0 $$";
    long n = waiting + finished, every = waiting ? n / waiting : n + 1;
    char sql[256];
    double began_ms =
        number(rig, "select floor(extract(epoch from now() - interval '24 hours') * "
                    "1000)::bigint");

    run_sql(rig, "drop function if exists public.fill");
    run_sql(rig, "truncate millrace.job, millrace.attempt, millrace.result");
    run_sql(rig, make);
    for (long i = 0; i < n; i += CHUNK) {
        snprintf(sql, sizeof sql, "select public.fill(%ld, %ld, %ld, %ld, %.0f)", i,
            i + CHUNK < n ? i + CHUNK : n, n, every, began_ms);
        run_sql(rig, sql);
    }
    run_sql(rig, "create table if not exists public.mark (id uuid, at timestamptz)");
    run_sql(rig, "truncate public.mark");
    run_sql(rig, "update millrace.shard set low_water = default");
    run_sql(rig, "checkpoint");
}

/* ---- processes -------------------------------------------------------------------------------- */

static void
start(struct rig *rig, struct mr_proc *proc, const char *const *argv)
{
    struct mr_proc_spec spec = {.argv = argv, .output = rig->log};
    struct mr_err err = {.why = ""};

    *proc = (struct mr_proc){.pid = 0};
    if (mr_proc_start(proc, &spec, &err))
        mr_bench_fail(&rig->bench, err.what, err.why);
}

static void
start_broker(struct rig *rig)
{
    const char *argv[] = {"millrace-broker", "--front", rig->front, "--back", rig->back,
        "--database", mr_cluster_conninfo(rig->bench.stack.cluster), "--jobs-max",
        "2000000", "--ready-file", rig->ready, NULL};

    (void)unlink(rig->ready);
    start(rig, &rig->broker, argv);
}

static void
start_worker(struct rig *rig)
{
    const char *argv[] = {"millrace-worker", "--endpoint", rig->back, "--database",
        mr_cluster_conninfo(rig->bench.stack.cluster), "--threads", "4", "--prefetch",
        "0", "--load", rig->load, "--ready-file", rig->worker_ready, NULL};

    (void)unlink(rig->worker_ready);
    start(rig, &rig->worker, argv);
}

static void
await_file(struct rig *rig, struct mr_proc *proc, const char *path)
{
    struct mr_err err = {.why = ""};

    if (mr_proc_wait_file(proc, path, READY_MS, &err))
        mr_bench_fail(&rig->bench, err.what, err.why);
}

static void
read_endpoints(struct rig *rig)
{
    FILE *file = fopen(rig->ready, "re");

    if (!file || fscanf(file, "front %127s back %127s", rig->front, rig->back) != 2)
        mr_bench_fail(&rig->bench, "the broker did not say where it listens", "");
    fclose(file);
}

static double
resident_mib(const struct mr_proc *proc)
{
    char path[64], line[256];
    long kib = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/status", (int)proc->pid);
    file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        (void)sscanf(line, "VmHWM: %ld kB", &kib);
    if (file)
        fclose(file);
    return (double)kib / 1024;
}

/* ---- one restart ------------------------------------------------------------------------------ */

/* With nothing waiting, there is nothing to hand out but what a front end submits now. */
static void
submit_some(struct rig *rig)
{
    run_sql(rig, "insert into millrace.inbox (kind) select 'bench.mark' from "
                 "generate_series(1, 40)");
}

/* Seconds until the first handler started; 0: none has. */
static double
first_start_s(struct rig *rig, double since)
{
    char sql[160];

    snprintf(sql, sizeof sql,
        "select extract(epoch from min(at)) - %.6f from public.mark "
        "where at > to_timestamp(%.6f)",
        since, since);
    return number(rig, sql);
}

struct figures {
    double dispatch_s, ready_s, resident_mib;
};

static struct figures
restart(struct rig *rig, bool is_empty)
{
    struct figures out = {0};
    double since;
    int64_t began_us, until_us;
    bool is_ready = false;

    (void)mr_proc_stop(&rig->broker, SIGKILL, READY_MS);
    if (is_empty)
        submit_some(rig);
    /* What the worker had in hand has started before. */
    (void)mr_proc_wait(&rig->worker, IN_HAND_MS);
    since = number(rig, "select extract(epoch from clock_timestamp())");
    began_us = mr_bench_now_us();
    until_us = began_us + READY_MS * INT64_C(1000);
    start_broker(rig);
    while (!is_ready || out.dispatch_s <= 0) {
        if (!is_ready && access(rig->ready, R_OK) == 0) {
            is_ready = true;
            out.ready_s = (double)(mr_bench_now_us() - began_us) / 1e6;
        }
        out.dispatch_s = first_start_s(rig, since);
        if (mr_bench_now_us() > until_us || !mr_proc_is_alive(&rig->broker))
            mr_bench_fail(&rig->bench, "the broker does not come back", rig->log);
        (void)mr_proc_wait(&rig->broker, LOOK_MS);
    }
    out.resident_mib = resident_mib(&rig->broker);
    return out;
}

static void
measure(struct rig *rig, long waiting, long finished)
{
    struct mr_bench_figure figures[] = {{.name = "first_start_s"}, {.name = "loaded_s"},
        {.name = "jobs_loaded_per_s"}, {.name = "broker_mib"}, {.name = NULL}};
    int64_t began_us = mr_bench_now_us();
    char about[128];
    double fill_s;

    fill(rig, waiting, finished);
    fill_s = (double)(mr_bench_now_us() - began_us) / 1e6;
    snprintf(rig->front, sizeof rig->front, "tcp://127.0.0.1:*");
    snprintf(rig->back, sizeof rig->back, "tcp://127.0.0.1:*");
    start_broker(rig);
    await_file(rig, &rig->broker, rig->ready);
    read_endpoints(rig);
    start_worker(rig);
    await_file(rig, &rig->worker, rig->worker_ready);
    for (int i = 0; i < mr_bench_runs(); i++) {
        struct figures got = restart(rig, waiting == 0);

        figures[0].runs[i] = got.dispatch_s;
        figures[1].runs[i] = got.ready_s;
        figures[2].runs[i] = (double)waiting / got.ready_s;
        figures[3].runs[i] = got.resident_mib;
    }
    (void)mr_proc_stop(&rig->worker, SIGKILL, READY_MS);
    (void)mr_proc_stop(&rig->broker, SIGKILL, READY_MS);
    snprintf(about, sizeof about, "\"waiting\":%ld,\"finished\":%ld,\"fill_s\":%.1f",
        waiting, finished, fill_s);
    mr_bench_print(&rig->bench, "restart", about, figures);
}

int
main(int argc, char **argv)
{
    static const long sizes[] = {0, 0, 100000, 1000000, 1000000, 10000000};
    static struct rig rig;

    mr_bench_open(&rig.bench, NULL);
    snprintf(rig.load, sizeof rig.load, "%s", mr_bench_kinds());
    snprintf(rig.log, sizeof rig.log, "%s/log", rig.bench.stack.folder);
    snprintf(rig.ready, sizeof rig.ready, "%s/ready", rig.bench.stack.folder);
    snprintf(rig.worker_ready, sizeof rig.worker_ready, "%s/worker-ready",
        rig.bench.stack.folder);
    if (argc > 2) {
        for (int i = 1; i + 1 < argc; i += 2)
            measure(&rig, strtol(argv[i], NULL, 10), strtol(argv[i + 1], NULL, 10));
    } else {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i += 2)
            measure(&rig, sizes[i], sizes[i + 1]);
    }
    mr_bench_close(&rig.bench);
    return EXIT_SUCCESS;
}
