/*
 * What CURVE costs: the stream of e2e over TCP in plain text and with keys, in turn, each with its
 * own broker and worker over the same database. The ratio of the two rates.
 */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/sql/principal.h"
#include "schemas/wire/curve.h"
#include "tests/support/bench.h"

enum { JOBS = 300000, WARM_UP = 20000, IN_FLIGHT = 12288 };

enum { RATIO, CURVE, PLAIN, CURVE_CPU, PLAIN_CPU, FIGURES };

static struct mr_bench_figure figures[FIGURES + 1] = {[RATIO] = {.name = "ratio"},
    [CURVE] = {.name = "jobs_per_s"},
    [PLAIN] = {.name = "plain_jobs_per_s"},
    [CURVE_CPU] = {.name = "cpu_s_per_100k"},
    [PLAIN_CPU] = {.name = "plain_cpu_s_per_100k"}};

static char paths[4][PATH_MAX];
static const char *const broker_flags[] = {"--key-file", paths[0], NULL};
static const char *const worker_flags[] = {
    "--key-file", paths[2], "--server-key", paths[1], NULL};

static void
make_key(struct mr_bench *bench, const char *name, const char *role)
{
    struct mr_principal_change change = {.verb = MR_PRINCIPAL_ADD};
    char text[MR_PRINCIPAL_TEXT_BYTES];
    struct mr_curve *curve;
    struct mr_err err = {.status = MR_OK};
    enum mr_status status = mr_curve_new(&curve, &err);

    if (status == MR_OK)
        status = mr_curve_write(curve, bench->stack.folder, name, &err);
    change.fields[MR_PRINCIPAL_NAME] = name;
    change.fields[MR_PRINCIPAL_ROLE] = role;
    if (status == MR_OK)
        change.fields[MR_PRINCIPAL_KEY] = mr_curve_public(curve);
    if (status == MR_OK && role)
        status = mr_principal_change(bench->pg, &change, text, &err);
    change.verb = MR_PRINCIPAL_GRANT;
    change.fields[MR_PRINCIPAL_RIGHT] = "auditor";
    if (status == MR_OK && role)
        status = mr_principal_change(bench->pg, &change, text, &err);
    mr_curve_destroy(&curve);
    if (status)
        mr_bench_fail(bench, err.what, err.why);
}

static void
make_keys(struct mr_bench *bench)
{
    make_key(bench, "broker", NULL);
    make_key(bench, "worker", "worker");
    make_key(bench, "front", "front-end");
    snprintf(paths[0], sizeof paths[0], "%.2000s/broker.key", bench->stack.folder);
    snprintf(paths[1], sizeof paths[1], "%.2000s/broker.pub", bench->stack.folder);
    snprintf(paths[2], sizeof paths[2], "%.2000s/worker.key", bench->stack.folder);
    snprintf(paths[3], sizeof paths[3], "%.2000s/front.key", bench->stack.folder);
}

static void
stop(struct mr_bench *bench)
{
    millrace_close(bench->mr);
    bench->mr = NULL;
    for (int i = 0; i < bench->setup.workers; i++)
        mr_bench_stop_worker(bench, i, SIGTERM);
    (void)mr_proc_stop(&bench->stack.broker, SIGTERM, 20000);
}

/* Broker, workers and front end again, this time with keys, or without. */
static void
start(struct mr_bench *bench, bool with_keys)
{
    stop(bench);
    bench->setup.broker = with_keys ? broker_flags : NULL;
    bench->setup.worker = with_keys ? worker_flags : NULL;
    if (with_keys) {
        (void)setenv("MILLRACE_KEY_FILE", paths[3], 1);
        (void)setenv("MILLRACE_SERVER_KEY", paths[1], 1);
    }
    mr_bench_start_broker(bench);
    for (int i = 0; i < bench->setup.workers; i++)
        mr_bench_start_worker(bench, i);
    bench->mr = mr_bench_client(bench);
    (void)unsetenv("MILLRACE_KEY_FILE");
    (void)unsetenv("MILLRACE_SERVER_KEY");
    (void)mr_bench_flow(
        bench, &(struct mr_bench_flow){.jobs = WARM_UP, .in_flight = 4096});
}

static void
run(struct mr_bench *bench, const struct mr_bench_flow *flow, bool with_keys, int i)
{
    double cpu_s;

    start(bench, with_keys);
    cpu_s = mr_bench_cpu_s();
    mr_bench_begin(bench);
    figures[with_keys ? CURVE : PLAIN].runs[i] = flow->jobs / mr_bench_flow(bench, flow);
    figures[with_keys ? CURVE_CPU : PLAIN_CPU].runs[i] =
        (mr_bench_cpu_s() - cpu_s) * 100000 / flow->jobs;
    mr_bench_check(bench, flow->jobs, flow->jobs);
}

int
main(void)
{
    struct mr_bench_setup setup = {
        .workers = mr_bench_workers(1), .threads = mr_bench_threads(2)};
    struct mr_bench_flow flow = {
        .jobs = mr_bench_jobs(JOBS), .in_flight = mr_bench_in_flight(IN_FLIGHT)};
    struct mr_bench bench;
    char about[256];

    mr_bench_open(&bench, &setup);
    make_keys(&bench);
    for (int i = 0; i < mr_bench_runs(); i++) {
        /* Whoever comes second finds larger tables: they take turns at that, too. */
        run(&bench, &flow, i % 2 != 0, i);
        run(&bench, &flow, i % 2 == 0, i);
        figures[RATIO].runs[i] = figures[CURVE].runs[i] / figures[PLAIN].runs[i];
    }
    snprintf(about, sizeof about,
        "\"limit\":\"plain text\",\"jobs\":%u,\"payload_bytes\":%d,\"result_bytes\":%d,"
        "\"in_flight\":%u",
        flow.jobs, MR_BENCH_PAYLOAD_BYTES, MR_BENCH_RESULT_BYTES, flow.in_flight);
    mr_bench_print(&bench, "curve", about, figures);
    return mr_bench_end(&bench);
}
