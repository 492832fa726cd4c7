/*
 * Calculations: blocks of calc.ep on all processors, by one worker with a thread for each,
 * against as many plain threads that take the same blocks in turn and call the same function.
 * A block is what calc.ep takes by itself, 65,536 pairs (calc), or sixteen times as many
 * (calc-long). Both have to count the same pairs.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/bench.h"
#include "tests/support/stream.h"
#include "worker/kinds/ep.h"

enum { JOBS = 2048, IN_FLIGHT = 1024, M = 24, THREADS_MAX = 256 };

static const struct size {
    const char *bench;
    uint32_t blocks, jobs_by; /* the number of jobs is divided by that */
} sizes[] = {{"calc", 256, 1}, {"calc-long", 16, 16}};
enum { SIZES = sizeof sizes / sizeof *sizes };

static uint32_t blocks; /* of this size */

static void
put_args(struct millrace_pack *pack, uint32_t i)
{
    millrace_pack_map(pack, 3);
    millrace_pack_str(pack, "m");
    millrace_pack_int(pack, M);
    millrace_pack_str(pack, "k");
    millrace_pack_int(pack, i % blocks);
    millrace_pack_str(pack, "blocks");
    millrace_pack_int(pack, blocks);
}

static void
on_end(void *context, const struct millrace_result *result, int64_t submitted_us)
{
    int64_t *pairs = context, one = 0;

    (void)submitted_us;
    if (millrace_get_int(result->body, result->body_bytes, "pairs", &one))
        *pairs += one;
}

/* ---- Plain threads ---------------------------------------------------------------------------- */

struct plain {
    uint32_t jobs;
    _Atomic uint32_t next;
    _Atomic int64_t pairs;
};

static void *
take_blocks(void *context)
{
    struct plain *plain = context;
    struct mr_ep ep;

    for (;;) {
        uint32_t i = atomic_fetch_add(&plain->next, 1);

        if (i >= plain->jobs)
            return NULL;
        (void)mr_ep_block(M, i % blocks, blocks, NULL, NULL, &ep);
        atomic_fetch_add(&plain->pairs, ep.pairs);
    }
}

static double
run_plain(struct mr_bench *bench, struct plain *plain, int threads)
{
    int64_t began_us = mr_bench_now_us();
    pthread_t all[THREADS_MAX];

    for (int i = 0; i < threads; i++) {
        if (pthread_create(&all[i], NULL, take_blocks, plain) != 0)
            mr_bench_fail(bench, "cannot start a thread", "");
    }
    for (int i = 0; i < threads; i++)
        (void)pthread_join(all[i], NULL);
    return (double)(mr_bench_now_us() - began_us) / 1e6;
}

/* ---- Both in turn ----------------------------------------------------------------------------- */

enum { RATE, LIMIT, RATIO, CPU, LIMIT_CPU, CPU_RATIO };

static void
measure(struct mr_bench *bench, struct mr_bench_figure *figures, int run, uint32_t jobs,
    int threads)
{
    int64_t pairs = 0;
    struct plain plain = {.jobs = jobs};
    struct mr_stream stream = {.kind = "calc.ep",
        .put_args = put_args,
        .on_end = on_end,
        .context = &pairs,
        .in_flight = mr_bench_in_flight(IN_FLIGHT)};
    double cpu_s = mr_bench_cpu_s();

    figures[LIMIT].runs[run] = jobs / run_plain(bench, &plain, threads);
    figures[LIMIT_CPU].runs[run] = (mr_bench_cpu_s() - cpu_s) * 100000 / jobs;
    mr_bench_begin(bench);
    cpu_s = mr_bench_cpu_s();
    figures[RATE].runs[run] = jobs / mr_stream_jobs(bench, &stream, jobs);
    figures[CPU].runs[run] = (mr_bench_cpu_s() - cpu_s) * 100000 / jobs;
    figures[CPU_RATIO].runs[run] = figures[LIMIT_CPU].runs[run] / figures[CPU].runs[run];
    figures[RATIO].runs[run] = figures[RATE].runs[run] / figures[LIMIT].runs[run];
    mr_bench_check(bench, jobs, jobs);
    if (pairs != plain.pairs)
        mr_bench_fail(bench, "the jobs count other pairs than the plain loop", "");
}

static void
measure_size(struct mr_bench *bench, const struct size *size, uint32_t jobs, int threads)
{
    struct mr_bench_figure figures[] = {{.name = "jobs_per_s"},
        {.name = "limit_jobs_per_s"}, {.name = "ratio"}, {.name = "cpu_s_per_100k"},
        {.name = "limit_cpu_s_per_100k"}, {.name = "cpu_ratio"}, {.name = NULL}};
    char about[160];

    blocks = size->blocks;
    measure(bench, figures, 0, jobs / 4, threads);
    for (int run = 0; run < mr_bench_runs(); run++)
        measure(bench, figures, run, jobs, threads);
    snprintf(about, sizeof about,
        "\"limit\":\"plain threads\",\"jobs\":%u,\"pairs_of_each\":%u", jobs,
        (1U << M) / blocks);
    mr_bench_print(bench, size->bench, about, figures);
}

int
main(void)
{
    static struct mr_bench bench;
    int threads = mr_bench_threads((int)sysconf(_SC_NPROCESSORS_ONLN));
    uint32_t jobs = mr_bench_jobs(JOBS);

    if (threads > THREADS_MAX)
        threads = THREADS_MAX;
    mr_bench_open(&bench, &(struct mr_bench_setup){.workers = 1, .threads = threads});
    for (size_t i = 0; i < SIZES; i++)
        measure_size(&bench, &sizes[i], jobs / sizes[i].jobs_by, threads);
    return mr_bench_end(&bench);
}
