#include "tests/support/bench.h"

#include <dirent.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schemas/base/clock.h"

enum { READY_MS = 20000, PROCESSES_MAX = 4096 };

_Noreturn void
mr_bench_fail(struct mr_bench *bench, const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    mr_bench_close(bench);
    exit(EXIT_FAILURE);
}

static char kinds[PATH_MAX];

const char *
mr_bench_kinds(void)
{
    return kinds;
}

/* Our programs lie two folders above the bench's own. */
static void
find_programs(void)
{
    char self[PATH_MAX] = "", path[2 * PATH_MAX];
    const char *old = getenv("PATH");
    char *build;

    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
        return;
    build = dirname(dirname(dirname(self)));
    snprintf(path, sizeof path, "%s:%.4000s", build, old ? old : "/usr/bin:/bin");
    setenv("PATH", path, 1);
    snprintf(kinds, sizeof kinds, "%.4000s/tests/loadable/bench.so", build);
}

static void
open_programs(struct mr_bench *bench)
{
    struct mr_err err = {.why = ""};
    struct millrace_error error;

    if (mr_stack_broker(&bench->stack, &err) ||
        mr_stack_workers(&bench->stack, &(struct mr_stack_options){.load = kinds}, &err))
        mr_bench_fail(bench, err.what, err.why);
    bench->mr = millrace_open(
        &(struct millrace_options){.endpoints = bench->stack.front, .name = "bench"},
        &error);
    if (!bench->mr || millrace_ready(bench->mr, READY_MS, &error))
        mr_bench_fail(bench, error.what, error.why);
}

void
mr_bench_open(struct mr_bench *bench, bool with_programs)
{
    struct mr_err err = {.why = ""};

    *bench = (struct mr_bench){.stack = {.lock = -1}};
    find_programs();
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (mr_stack_open(&bench->stack, ".millrace/bench", &err) ||
        mr_stack_database(&bench->stack, &err) ||
        mr_pg_open(&bench->pg, mr_cluster_conninfo(bench->stack.cluster), "bench", &err))
        mr_bench_fail(bench, err.what, err.why);
    if (with_programs)
        open_programs(bench);
}

void
mr_bench_close(struct mr_bench *bench)
{
    millrace_close(bench->mr);
    bench->mr = NULL;
    mr_pg_close(&bench->pg);
    mr_stack_remove(&bench->stack);
}

int64_t
mr_bench_now_us(void)
{
    return mr_clock_now().mono_us;
}

/* ---- Processor time --------------------------------------------------------------------------- */

struct process {
    long pid, parent;
    double cpu; /* ticks, those of its ended children included */
    bool is_ours;
};

static bool
read_process(const char *pid, struct process *out)
{
    char path[300], text[1024] = "";
    unsigned long long ticks[4];
    const char *after;
    FILE *file;
    size_t n;

    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    file = fopen(path, "re");
    if (!file)
        return false;
    n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    after = strrchr(text, ')'); /* a name may hold anything */
    *out = (struct process){.pid = strtol(pid, NULL, 10)};
    if (!after || sscanf(after + 1,
                      " %*c %ld %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu",
                      &out->parent, &ticks[0], &ticks[1], &ticks[2], &ticks[3]) != 5)
        return false;
    for (int i = 0; i < 4; i++)
        out->cpu += (double)ticks[i];
    return true;
}

double
mr_bench_cpu_s(void)
{
    static struct process all[PROCESSES_MAX];
    DIR *folder = opendir("/proc");
    bool has_changed = true;
    double ticks = 0;
    size_t n = 0;

    for (struct dirent *entry; folder && (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && n < PROCESSES_MAX &&
            read_process(entry->d_name, &all[n]))
            n++;
    }
    if (folder)
        closedir(folder);
    for (size_t i = 0; i < n; i++)
        all[i].is_ours = all[i].pid == (long)getpid();
    while (has_changed) {
        has_changed = false;
        for (size_t i = 0; i < n; i++) {
            for (size_t k = 0; k < n && !all[i].is_ours; k++) {
                if (all[k].is_ours && all[k].pid == all[i].parent)
                    all[i].is_ours = has_changed = true;
            }
        }
    }
    for (size_t i = 0; i < n; i++)
        ticks += all[i].is_ours ? all[i].cpu : 0;
    return ticks / (double)sysconf(_SC_CLK_TCK);
}

/* ---- Figures ---------------------------------------------------------------------------------- */

static int
by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

double
mr_bench_percentile_ms(int64_t *us, uint32_t n, double percent)
{
    uint32_t rank = (uint32_t)((double)n * percent / 100 + 0.999999);

    qsort(us, n, sizeof *us, by_time);
    return n ? (double)us[rank ? rank - 1 : 0] / 1e3 : 0;
}

static int
by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void
print_figure(const struct mr_bench_figure *figure)
{
    double runs[MR_BENCH_RUNS];

    memcpy(runs, figure->runs, sizeof runs);
    qsort(runs, MR_BENCH_RUNS, sizeof *runs, by_size);
    printf(",\"%s\":%.3f,\"%s_min\":%.3f,\"%s_max\":%.3f", figure->name,
        runs[MR_BENCH_RUNS / 2], figure->name, runs[0], figure->name,
        runs[MR_BENCH_RUNS - 1]);
}

static const char *
commit(char out[64])
{
    FILE *git = popen("git describe --always --dirty --exclude '*' 2>/dev/null", "re");

    if (!git || !fgets(out, 64, git))
        snprintf(out, 64, "unknown");
    if (git)
        pclose(git);
    out[strcspn(out, "\n")] = '\0';
    return out;
}

void
mr_bench_print(struct mr_bench *bench, const char *name, const char *about,
    const struct mr_bench_figure *figures)
{
    static const char sql[] =
        "select current_setting('fsync'), current_setting('synchronous_commit'),"
        " current_setting('server_version')";
    struct pg_result *row = NULL;
    struct mr_err err = {.why = ""};
    char revision[64];

    if (mr_pg_run(bench->pg, sql, 0, NULL, &row, &err))
        mr_bench_fail(bench, err.what, err.why);
    printf("{\"bench\":\"%s\",%s", name, about);
    for (; figures->name; figures++)
        print_figure(figures);
    printf(",\"runs\":%d,\"cpus\":%ld,\"durability\":\"fsync %s, synchronous_commit %s\","
           "\"postgresql\":\"%s\",\"commit\":\"%s\"}\n",
        MR_BENCH_RUNS, sysconf(_SC_NPROCESSORS_ONLN), mr_pg_text(row, 0, 0),
        mr_pg_text(row, 0, 1), mr_pg_text(row, 0, 2), commit(revision));
    mr_pg_free_result(&row);
}
