/*
 * How soon a job runs elsewhere after its worker was killed, or frozen: from the signal to the
 * start of the next attempt's handler. Two workers of one thread, one of which takes the blow and is
 * started again. Idle, and with a process on each processor that does nothing but keep it busy.
 *
 *     rescue_bench [KILLS FREEZES]      default: 60 6
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tests/support/bench.h"

enum { WAIT_MS = 60000, BLOWS_MAX = 2000, LOOK_MS = 2, SPINNERS_MAX = 64 };

struct rig {
    struct mr_bench bench;
    char load[4096], log[2100], path[2100], ready[2][2100], names[2][8];
    struct mr_proc workers[2];
    pid_t spinners[SPINNERS_MAX];
};

static int64_t took_us[BLOWS_MAX];

static void
start_worker(struct rig *rig, int i)
{
    const char *argv[] = {"millrace-worker", "--endpoint", rig->bench.stack.back,
        "--database", mr_cluster_conninfo(rig->bench.stack.cluster), "--threads", "1",
        "--prefetch", "0", "--load", rig->load, "--name", rig->names[i], "--ready-file",
        rig->ready[i], NULL};
    struct mr_proc_spec spec = {.argv = argv, .output = rig->log};
    struct mr_err err = {.why = ""};

    (void)unlink(rig->ready[i]);
    rig->workers[i] = (struct mr_proc){.pid = 0};
    if (mr_proc_start(&rig->workers[i], &spec, &err) ||
        mr_proc_wait_file(&rig->workers[i], rig->ready[i], WAIT_MS, &err))
        mr_bench_fail(&rig->bench, err.what, err.why);
}

struct start {
    int attempt, pid;
    long long us;
};

/* Until that attempt has started. */
static struct start
await(struct rig *rig, int attempt)
{
    int64_t until_us = mr_bench_now_us() + WAIT_MS * INT64_C(1000);
    struct start start = {0};

    while (mr_bench_now_us() < until_us) {
        FILE *file = fopen(rig->path, "re");

        while (file &&
               fscanf(file, "%d %d %lld", &start.attempt, &start.pid, &start.us) == 3)
            if (start.attempt == attempt)
                break;
        if (file)
            fclose(file);
        if (start.attempt == attempt)
            return start;
        (void)mr_proc_wait(&rig->bench.stack.broker, LOOK_MS);
    }
    mr_bench_fail(&rig->bench, "the job does not start", rig->log);
}

static void
submit(struct rig *rig)
{
    struct millrace_pack args = {0};
    struct millrace_error error;
    struct millrace_job job;

    (void)unlink(rig->path);
    millrace_job_init(&job, "bench.hold");
    millrace_pack_map(&args, 1);
    millrace_pack_str(&args, "path");
    millrace_pack_str(&args, rig->path);
    job.args = args.bytes;
    job.args_bytes = args.n;
    job.timeout_ms = 600000;
    if (millrace_submit(rig->bench.mr, &job, WAIT_MS, &error))
        mr_bench_fail(&rig->bench, error.what, error.why);
    millrace_pack_free(&args);
}

/* One blow; microseconds until the job runs again. */
static int64_t
strike(struct rig *rig, int signal_number)
{
    int64_t began_us;
    int victim;

    submit(rig);
    victim = await(rig, 1).pid == (int)rig->workers[1].pid;
    began_us = mr_bench_now_us();
    mr_proc_signal(&rig->workers[victim], signal_number);
    began_us = await(rig, 2).us - began_us;
    (void)mr_proc_stop(&rig->workers[victim], SIGKILL, WAIT_MS);
    start_worker(rig, victim);
    return began_us;
}

static void
measure(struct rig *rig, const char *how, int signal_number, bool is_busy, uint32_t blows)
{
    struct mr_bench_figure figures[] = {
        {.name = "p50_ms"}, {.name = "p99_ms"}, {.name = "worst_ms"}, {.name = NULL}};
    char about[128];

    for (int run = 0; run < mr_bench_runs(); run++) {
        for (uint32_t i = 0; i < blows / (uint32_t)mr_bench_runs(); i++)
            took_us[i] = strike(rig, signal_number);
        figures[0].runs[run] =
            mr_bench_percentile_ms(took_us, blows / (uint32_t)mr_bench_runs(), 50);
        figures[1].runs[run] =
            mr_bench_percentile_ms(took_us, blows / (uint32_t)mr_bench_runs(), 99);
        figures[2].runs[run] =
            mr_bench_percentile_ms(took_us, blows / (uint32_t)mr_bench_runs(), 100);
    }
    snprintf(about, sizeof about, "\"how\":\"%s\",\"blows\":%u,\"busy\":%s", how, blows,
        is_busy ? "true" : "false");
    mr_bench_print(&rig->bench, "rescue", about, figures);
}

static void
spin(struct rig *rig, bool on)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    for (long i = 0; i < cpus && i < SPINNERS_MAX; i++) {
        volatile uint64_t kept = 1;

        if (!on) {
            (void)kill(rig->spinners[i], SIGKILL);
            continue;
        }
        rig->spinners[i] = fork();
        if (rig->spinners[i] != 0)
            continue;
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            kept = kept * UINT64_C(6364136223846793005) + 1;
    }
}

int
main(int argc, char **argv)
{
    uint32_t kills = argc > 2 ? (uint32_t)strtoul(argv[1], NULL, 10) : 60;
    uint32_t freezes = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 6;
    static struct rig rig;
    struct mr_err err = {.why = ""};
    struct millrace_error error;

    mr_bench_open(&rig.bench, NULL);
    if (kills > BLOWS_MAX || freezes > BLOWS_MAX)
        mr_bench_fail(&rig.bench, "too many blows", "2000 at most");
    snprintf(rig.load, sizeof rig.load, "%s", mr_bench_kinds());
    snprintf(rig.log, sizeof rig.log, "%s/log", rig.bench.stack.folder);
    snprintf(rig.path, sizeof rig.path, "%s/starts", rig.bench.stack.folder);
    if (mr_stack_broker(&rig.bench.stack, &err))
        mr_bench_fail(&rig.bench, err.what, err.why);
    for (int i = 0; i < 2; i++) {
        snprintf(rig.names[i], sizeof rig.names[i], "%d", i + 1);
        snprintf(
            rig.ready[i], sizeof rig.ready[i], "%s/ready-%d", rig.bench.stack.folder, i);
        start_worker(&rig, i);
    }
    rig.bench.mr = millrace_open(
        &(struct millrace_options){.endpoints = rig.bench.stack.front, .name = "bench"},
        &error);
    if (!rig.bench.mr)
        mr_bench_fail(&rig.bench, error.what, error.why);
    for (int is_busy = 0; is_busy < 2; is_busy++) {
        if (is_busy)
            spin(&rig, true);
        measure(&rig, "SIGKILL", SIGKILL, is_busy, kills);
        measure(&rig, "SIGSTOP", SIGSTOP, is_busy, freezes);
    }
    spin(&rig, false);
    for (int i = 0; i < 2; i++)
        (void)mr_proc_stop(&rig.workers[i], SIGKILL, WAIT_MS);
    mr_bench_close(&rig.bench);
    return EXIT_SUCCESS;
}
