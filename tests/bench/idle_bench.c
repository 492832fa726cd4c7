/*
 * Nothing to do: broker, two workers of four threads, ten handles of front ends. Processor time of
 * all processes together in percent of one processor, by program, and transactions a second as
 * PostgreSQL counts them. What PostgreSQL does by itself is looked at before any program of ours
 * runs. IDLE_S seconds (20) a run.
 */
#include <dirent.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/bench.h"
#include "tests/support/procfs.h"

enum { SECONDS = 20, SETTLE_MS = 5000, WORKERS = 2, THREADS = 4, CLIENTS = 10 };
enum { CHILDREN_MAX = 256, PROGRAMS = 4 };

/* ---- What they took --------------------------------------------------------------------------- */

/* Seconds of all threads that it has; ticks would be too coarse. */
static double
threads_cpu_s(pid_t pid)
{
    char path[300];
    unsigned long long ns, sum = 0;
    DIR *folder;

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder)) != NULL;) {
        FILE *file;

        snprintf(
            path, sizeof path, "/proc/%d/task/%.16s/schedstat", (int)pid, entry->d_name);
        file = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
        if (file && fscanf(file, "%llu", &ns) == 1)
            sum += ns;
        if (file)
            fclose(file);
    }
    if (folder)
        closedir(folder);
    return (double)sum / 1e9;
}

static double
tree_cpu_s(pid_t pid)
{
    pid_t children[CHILDREN_MAX];
    int count = procfs_children(pid, children, CHILDREN_MAX);
    double sum = threads_cpu_s(pid);

    for (int i = 0; i < count; i++)
        sum += tree_cpu_s(children[i]);
    return sum;
}

struct usage {
    double cpu_s[PROGRAMS]; /* PostgreSQL, broker, workers, clients */
    double commits;
};

static struct usage
look(struct mr_bench *bench)
{
    struct usage usage = {.commits = 0};

    usage.commits = mr_bench_number(
        bench, "select sum(xact_commit + xact_rollback) from pg_stat_database");
    usage.cpu_s[0] = tree_cpu_s(mr_cluster_pid(bench->stack.cluster));
    usage.cpu_s[1] = bench->stack.broker.pid ? tree_cpu_s(bench->stack.broker.pid) : 0;
    for (int i = 0; i < MR_BENCH_WORKERS_MAX; i++)
        usage.cpu_s[2] += bench->workers[i].pid ? tree_cpu_s(bench->workers[i].pid) : 0;
    usage.cpu_s[3] = threads_cpu_s(getpid());
    return usage;
}

static struct usage
idle(struct mr_bench *bench, int seconds)
{
    struct usage before = look(bench), after;

    (void)poll(NULL, 0, seconds * 1000);
    after = look(bench);
    for (int i = 0; i < PROGRAMS; i++)
        after.cpu_s[i] -= before.cpu_s[i];
    after.commits -= before.commits;
    return after;
}

/* ---- Runs ------------------------------------------------------------------------------------- */

enum { CPU, QUERIES, POSTGRES, BROKER, WORKER, CLIENT };

static void
put(struct mr_bench_figure *figures, int run, const struct usage *usage, double own,
    int seconds)
{
    figures[CPU].runs[run] = 0;
    for (int i = 0; i < PROGRAMS; i++) {
        double percent = usage->cpu_s[i] * 100 / seconds;

        figures[POSTGRES + i].runs[run] = percent;
        figures[CPU].runs[run] += percent;
    }
    figures[QUERIES].runs[run] = (usage->commits - own) / seconds;
}

int
main(void)
{
    static struct mr_bench bench;
    struct mr_bench_figure figures[] = {{.name = "cpu_percent"},
        {.name = "queries_per_s"}, {.name = "postgres_percent"},
        {.name = "broker_percent"}, {.name = "workers_percent"},
        {.name = "clients_percent"}, {.name = NULL}};
    const char *text = getenv("IDLE_S");
    int seconds = text ? atoi(text) : SECONDS;
    struct millrace *clients[CLIENTS];
    struct usage own, usage;
    char about[256];

    mr_bench_open(&bench, NULL);
    (void)poll(NULL, 0, SETTLE_MS);
    own = idle(&bench, seconds);
    bench.setup = (struct mr_bench_setup){.workers = WORKERS, .threads = THREADS};
    mr_bench_start_broker(&bench);
    for (int i = 0; i < WORKERS; i++)
        mr_bench_start_worker(&bench, i);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = mr_bench_client(&bench);
    (void)poll(NULL, 0, SETTLE_MS);
    for (int run = 0; run < mr_bench_runs(); run++) {
        usage = idle(&bench, seconds);
        put(figures, run, &usage, own.commits, seconds);
    }
    for (int i = 0; i < CLIENTS; i++)
        millrace_close(clients[i]);
    snprintf(about, sizeof about,
        "\"clients\":%d,\"seconds\":%d,\"postgres_alone_percent\":%.3f,"
        "\"postgres_alone_queries_per_s\":%.3f",
        CLIENTS, seconds, own.cpu_s[0] * 100 / seconds, own.commits / seconds);
    mr_bench_print(&bench, "idle", about, figures);
    return mr_bench_end(&bench);
}
