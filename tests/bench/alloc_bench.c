/*
 * Heap allocations of the broker's loop for each job, once it runs evenly: the broker is started
 * with tests/loadable/alloc_count.so in front of the C library's allocator. Ours and libzmq's are
 * told apart by who called.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/loadable/alloc_count.h"
#include "tests/support/bench.h"

enum { JOBS = 50000, WARM_UP = 100000, IN_FLIGHT = 8192, WORKERS = 2, THREADS = 4 };

static struct alloc_counts *
map_counts(struct mr_bench *bench, const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    void *memory = MAP_FAILED;

    if (fd >= 0 && ftruncate(fd, sizeof(struct alloc_counts)) == 0)
        memory = mmap(
            NULL, sizeof(struct alloc_counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        mr_bench_fail(bench, "cannot map a file", path);
    (void)close(fd);
    return memory;
}

/* Only the broker is counted. */
static struct alloc_counts *
start(struct mr_bench *bench)
{
    struct alloc_counts *counts;
    char path[2200], shim[4096];

    mr_bench_open(bench, NULL);
    snprintf(path, sizeof path, "%s/allocations", bench->stack.folder);
    snprintf(shim, sizeof shim, "%.*s/alloc_count.so",
        (int)(strrchr(mr_bench_kinds(), '/') - mr_bench_kinds()), mr_bench_kinds());
    counts = map_counts(bench, path);
    setenv("ALLOC_COUNT", path, 1);
    setenv("ALLOC_THREAD", "loop", 1);
    setenv("LD_PRELOAD", shim, 1);
    mr_bench_start_broker(bench);
    unsetenv("LD_PRELOAD");
    bench->setup.threads = mr_bench_threads(THREADS);
    for (int i = 0; i < mr_bench_workers(WORKERS); i++)
        mr_bench_start_worker(bench, i);
    bench->mr = mr_bench_client(bench);
    return counts;
}

int
main(void)
{
    static struct mr_bench bench;
    struct mr_bench_figure figures[] = {{.name = "allocs_per_job"}, {.name = "allocs"},
        {.name = "alloc_bytes_per_job"}, {.name = "zmq_allocs_per_job"}, {.name = NULL}};
    struct mr_bench_flow flow = {
        .jobs = WARM_UP, .in_flight = mr_bench_in_flight(IN_FLIGHT)};
    struct alloc_counts *counts = start(&bench);
    char about[64];

    (void)mr_bench_flow(&bench, &flow);
    if (counts->ours == 0)
        mr_bench_fail(&bench, "no allocation was counted", "the broker has no shim");
    flow.jobs = mr_bench_jobs(JOBS);
    for (int run = 0; run < mr_bench_runs(); run++) {
        uint64_t ours = counts->ours, bytes = counts->our_bytes, zmq = counts->zmq;

        mr_bench_begin(&bench);
        (void)mr_bench_flow(&bench, &flow);
        figures[1].runs[run] = (double)(counts->ours - ours);
        figures[0].runs[run] = figures[1].runs[run] / flow.jobs;
        figures[2].runs[run] = (double)(counts->our_bytes - bytes) / flow.jobs;
        figures[3].runs[run] = (double)(counts->zmq - zmq) / flow.jobs;
        mr_bench_check(&bench, flow.jobs, flow.jobs);
    }
    snprintf(about, sizeof about, "\"jobs\":%u,\"thread\":\"loop\"", flow.jobs);
    mr_bench_print(&bench, "alloc", about, figures);
    return mr_bench_end(&bench);
}
