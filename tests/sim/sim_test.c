/*
 * sim_test [SEEDS [SECONDS [FROM]]]: that many worlds (2000), on all processors, for at most so
 * long (15 s); a failing one ends the program with the line that replays it. SEED=n runs that one only
 * and prints a hash of its history, TRACE=1 the history itself.
 */
#include "tests/sim/sim.h"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES_MAX 16
#define FULL_SEEDS 5000 /* so many are expected to meet everything */

/* Of one process, in memory that is shared with the one that started it. */
struct totals {
    uint64_t seed; /* that it runs */
    uint64_t seeds, us, counts[SIM_COUNT_MAX];
};

static int64_t
real_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* What the processes took, on however busy a machine. */
static double
cpu_seconds(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_CHILDREN, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static struct sim *
new_world(void)
{
    struct sim *sim = calloc(1, sizeof *sim);

    /* The core's tables are large and hardly touched: not from the heap, which is cleared. */
    (void)mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    if (!sim)
        abort();
    mr_wr_init(&sim->wr, MR_MESSAGE_BYTES_MAX);
    return sim;
}

static void
free_world(struct sim *sim)
{
    mr_wr_fini(&sim->wr);
    free(sim->events);
    free(sim);
}

static void
add(struct totals *totals, const struct sim *sim)
{
    totals->seeds++;
    totals->us += (uint64_t)(sim->now.mono_us - sim->began_us);
    for (uint32_t i = 0; i < SIM_COUNT_MAX; i++)
        totals->counts[i] += sim->counts[i];
}

static void
run_range(
    uint64_t from, uint64_t to, uint64_t step, int64_t until_ms, struct totals *totals)
{
    struct sim *sim = new_world();

    for (uint64_t seed = from; seed < to && real_ms() < until_ms; seed += step) {
        totals->seed = seed;
        sim_run_seed(sim, seed);
        add(totals, sim);
    }
    free_world(sim);
}

/* However it ended: by one of our checks, an assertion of the product, or a sanitizer. */
static bool
is_good(pid_t pid, const struct totals *totals)
{
    int status;

    if (waitpid(pid, &status, 0) == pid && status == 0)
        return true;
    fprintf(stderr, "replay it: make sim SEED=%llu   (TRACE=1 prints what led there)\n",
        (unsigned long long)totals->seed);
    return false;
}

/* False: one of them failed, and has said so. */
static bool
run_all(
    uint64_t from, uint64_t to, int64_t until_ms, struct totals *totals, long processes)
{
    pid_t pids[PROCESSES_MAX];
    bool are_good = true;

    for (long i = 0; i < processes; i++) {
        pids[i] = fork();
        if (pids[i] < 0)
            abort();
        if (pids[i] > 0)
            continue;
        run_range(from + (uint64_t)i, to, (uint64_t)processes, until_ms, &totals[i]);
        exit(0);
    }
    for (long i = 0; i < processes; i++)
        are_good = is_good(pids[i], &totals[i]) && are_good;
    return are_good;
}

/* What a run of that size has not met is not tested by it. */
static bool
is_empty(const struct totals *all)
{
    static const char *const names[] = {
#define X(name, text) text,
        SIM_COUNTS(X)
#undef X
    };
    bool is_empty = false;

    for (uint32_t i = 0; i < SIM_COUNT_MAX; i++) {
        printf("  %-28s %llu\n", names[i], (unsigned long long)all->counts[i]);
        if (all->counts[i] == 0 && all->seeds >= FULL_SEEDS) {
            fprintf(stderr, "never happened: %s\n", names[i]);
            is_empty = true;
        }
    }
    return is_empty;
}

static int
report(const struct totals *totals, long processes, int64_t took_ms)
{
    struct totals all = {0};
    double hours, minutes = (double)(took_ms ? took_ms : 1) / 60000;

    for (long i = 0; i < processes; i++) {
        all.seeds += totals[i].seeds;
        all.us += totals[i].us;
        for (uint32_t k = 0; k < SIM_COUNT_MAX; k++)
            all.counts[k] += totals[i].counts[k];
    }
    hours = (double)all.us / 3.6e9;
    printf("%llu seeds, %.1f simulated hours in %.1f s: %.1f hours in a minute; "
           "%.1f s of processors: %.1f hours in a minute of each\n",
        (unsigned long long)all.seeds, hours, minutes * 60, hours / minutes,
        cpu_seconds(), hours / (cpu_seconds() / 60));
    if (is_empty(&all) || !all.seeds)
        return 1;
    /* a seed is a check; a failing one has ended the program */
    printf(
        "100%%: Checks: %llu, Failures: 0, Errors: 0\n", (unsigned long long)all.seeds);
    return 0;
}

static int
run_one(uint64_t seed)
{
    struct sim *sim = new_world();
    uint64_t hash;

    sim->is_loud = getenv("TRACE") != NULL;
    (void)setvbuf(stdout, NULL, _IOLBF, 0); /* all of it, however it ends */
    sim_run_seed(sim, seed);
    hash = sim->hash;
    printf("seed %llu: %u workers, %u clients, %u jobs, %.1f s, history %016llx\n",
        (unsigned long long)seed, sim->rates.workers, sim->rates.clients, sim->submitted,
        (double)(sim->now.mono_us - sim->began_us) / 1e6, (unsigned long long)hash);
    sim->is_loud = false;
    sim_run_seed(sim, seed);
    if (sim->hash != hash) {
        fprintf(stderr, "a second run of it has another history: %016llx\n",
            (unsigned long long)sim->hash);
        return 1;
    }
    free_world(sim);
    return 0;
}

int
main(int argc, char **argv)
{
    const char *one = getenv("SEED");
    uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000;
    int64_t seconds = argc > 2 ? strtoll(argv[2], NULL, 10) : 15;
    uint64_t from = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    long processes = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t began_ms = real_ms();
    struct totals *totals;

    if (one && *one)
        return run_one(strtoull(one, NULL, 10));
    processes = processes < 1 ? 1 : processes > PROCESSES_MAX ? PROCESSES_MAX : processes;
    totals = mmap(NULL, sizeof *totals * PROCESSES_MAX, PROT_READ | PROT_WRITE,
        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (totals == MAP_FAILED ||
        !run_all(from, from + seeds, began_ms + seconds * 1000, totals, processes) ||
        run_one(from))
        return 1;
    return report(totals, processes, real_ms() - began_ms);
}
