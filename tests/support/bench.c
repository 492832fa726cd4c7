#include "tests/support/bench.h"

#include <dirent.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
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

/* ---- Settings --------------------------------------------------------------------------------- */

static uint32_t
from_environment(const char *name, uint32_t usual, uint32_t most)
{
    const char *text = getenv(name);
    unsigned long value = text && *text ? strtoul(text, NULL, 10) : usual;

    if (value >= 1 && value <= most)
        return (uint32_t)value;
    fprintf(stderr, "%s is %s: give 1 to %u\n", name, text ? text : "", most);
    exit(EXIT_FAILURE);
}

int
mr_bench_runs(void)
{
    return (int)from_environment("BENCH_RUNS", 3, MR_BENCH_RUNS_MAX);
}

uint32_t
mr_bench_jobs(uint32_t usual)
{
    return from_environment("BENCH_JOBS", usual, 100000000);
}

uint32_t
mr_bench_in_flight(uint32_t usual)
{
    return from_environment("BENCH_IN_FLIGHT", usual, 1000000);
}

int
mr_bench_workers(int usual)
{
    return (int)from_environment("BENCH_WORKERS", (uint32_t)usual, MR_BENCH_WORKERS_MAX);
}

int
mr_bench_threads(int usual)
{
    return (int)from_environment("BENCH_THREADS", (uint32_t)usual, 1024);
}

/* ---- Programs --------------------------------------------------------------------------------- */

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
append(const char **argv, const char *const *more)
{
    size_t n = 0;

    while (argv[n])
        n++;
    for (size_t i = 0; more && more[i] && i < MR_BENCH_FLAGS_MAX; i++)
        argv[n++] = more[i];
    argv[n] = NULL;
}

/* NAME.log and NAME.ready in the bench's folder; returns when it is ready. */
static void
start(struct mr_bench *bench, struct mr_proc *proc, const char *name, const char **argv,
    const char *const *more)
{
    char log[PATH_MAX], ready[PATH_MAX], last[256];
    const char *const flag[] = {"--ready-file", ready, NULL};
    struct mr_proc_spec spec = {.argv = argv, .output = log};
    struct mr_err err = {.why = ""};

    snprintf(log, sizeof log, "%s/%s.log", bench->stack.folder, name);
    snprintf(ready, sizeof ready, "%s/%s.ready", bench->stack.folder, name);
    (void)unlink(ready);
    append(argv, more);
    append(argv, flag);
    *proc = (struct mr_proc){.pid = 0};
    if (!mr_proc_start(proc, &spec, &err) &&
        !mr_proc_wait_file(proc, ready, READY_MS, &err))
        return;
    mr_proc_last_line(log, NULL, last, sizeof last);
    mr_bench_fail(bench, err.what, last[0] ? last : err.why);
}

static void
read_endpoints(struct mr_bench *bench)
{
    struct mr_stack *stack = &bench->stack;
    char ready[PATH_MAX];
    FILE *file;

    snprintf(ready, sizeof ready, "%s/broker.ready", stack->folder);
    file = fopen(ready, "re");
    if (!file || fscanf(file, "front %127s back %127s", stack->front, stack->back) != 2)
        mr_bench_fail(bench, "the broker did not say where it listens", ready);
    fclose(file);
}

void
mr_bench_start_broker(struct mr_bench *bench)
{
    struct mr_stack *stack = &bench->stack;
    const char *argv[16 + MR_BENCH_FLAGS_MAX] = {"millrace-broker", "--config",
        "/dev/null", "--database", mr_cluster_conninfo(stack->cluster), "--front",
        stack->front[0] ? stack->front : "tcp://127.0.0.1:*", "--back",
        stack->back[0] ? stack->back : "tcp://127.0.0.1:*"};

    start(bench, &stack->broker, "broker", argv, bench->setup.broker);
    read_endpoints(bench);
}

void
mr_bench_start_worker(struct mr_bench *bench, int number)
{
    char name[32], threads[16];
    const char *argv[16 + MR_BENCH_FLAGS_MAX] = {"millrace-worker", "--config",
        "/dev/null", "--database", mr_cluster_conninfo(bench->stack.cluster),
        "--endpoint", bench->stack.back, "--load", kinds, "--threads", threads, "--name",
        name};

    snprintf(name, sizeof name, "worker-%d", number + 1);
    snprintf(threads, sizeof threads, "%d", bench->setup.threads);
    start(bench, &bench->workers[number], name, argv, bench->setup.worker);
}

void
mr_bench_stop_worker(struct mr_bench *bench, int number, int signal_number)
{
    (void)mr_proc_stop(&bench->workers[number], signal_number, READY_MS);
    bench->workers[number] = (struct mr_proc){.pid = 0};
}

struct millrace *
mr_bench_client(struct mr_bench *bench)
{
    struct millrace_options options = {.endpoints = bench->stack.front,
        .name = "bench",
        .outstanding_max = bench->setup.outstanding_max};
    struct millrace_error error;
    struct millrace *mr = millrace_open(&options, &error);

    if (!mr || millrace_ready(mr, READY_MS, &error))
        mr_bench_fail(bench, error.what, error.why);
    return mr;
}

void
mr_bench_open(struct mr_bench *bench, const struct mr_bench_setup *setup)
{
    struct mr_err err = {.why = ""};

    *bench = (struct mr_bench){.stack = {.lock = -1}};
    find_programs();
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (mr_stack_open(&bench->stack, ".millrace/bench", &err) ||
        mr_stack_database(&bench->stack, &err) ||
        mr_pg_open(&bench->pg, mr_cluster_conninfo(bench->stack.cluster), "bench", &err))
        mr_bench_fail(bench, err.what, err.why);
    if (!setup)
        return;
    bench->setup = *setup;
    mr_bench_start_broker(bench);
    for (int i = 0; i < setup->workers && i < MR_BENCH_WORKERS_MAX; i++)
        mr_bench_start_worker(bench, i);
    bench->mr = mr_bench_client(bench);
}

void
mr_bench_close(struct mr_bench *bench)
{
    millrace_close(bench->mr);
    bench->mr = NULL;
    for (int i = 0; i < MR_BENCH_WORKERS_MAX; i++)
        mr_bench_stop_worker(bench, i, SIGTERM);
    mr_pg_close(&bench->pg);
    mr_stack_remove(&bench->stack);
}

int
mr_bench_end(struct mr_bench *bench)
{
    bool is_red = bench->is_red;

    mr_bench_close(bench);
    return is_red ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- What is there ---------------------------------------------------------------------------- */

double
mr_bench_number(struct mr_bench *bench, const char *sql)
{
    struct pg_result *row = NULL;
    struct mr_err err = {.why = ""};
    double value = 0;

    if (mr_pg_run(bench->pg, sql, 0, NULL, &row, &err))
        mr_bench_fail(bench, sql, err.why);
    if (mr_pg_rows(row) > 0 && mr_pg_text(row, 0, 0))
        value = strtod(mr_pg_text(row, 0, 0), NULL);
    mr_pg_free_result(&row);
    return value;
}

int64_t
mr_bench_stat(struct mr_bench *bench, const char *name)
{
    struct millrace_error error;
    void *reply = NULL;
    size_t n = 0;
    int64_t value = 0;

    if (millrace_call(bench->mr, "stats", NULL, 0, READY_MS, &reply, &n, &error))
        mr_bench_fail(bench, error.what, error.why);
    if (!millrace_get_int(reply, n, name, &value))
        mr_bench_fail(bench, "the broker does not count", name);
    free(reply);
    return value;
}

int64_t
mr_bench_now_us(void)
{
    return mr_clock_mono_us();
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

static double
median(const struct mr_bench_figure *figure, double sorted[MR_BENCH_RUNS_MAX])
{
    int n = mr_bench_runs();

    memcpy(sorted, figure->runs, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, by_size);
    return sorted[n / 2];
}

static void
print_figure(const struct mr_bench_figure *figure)
{
    double runs[MR_BENCH_RUNS_MAX], middle = median(figure, runs);

    printf(",\"%s\":%.3f,\"%s_min\":%.3f,\"%s_max\":%.3f", figure->name, middle,
        figure->name, runs[0], figure->name, runs[mr_bench_runs() - 1]);
}

/* "targets":{"ratio":{"must":0.55,"aim":0.8,"holds":true},...} */
static void
print_targets(
    struct mr_bench *bench, const char *name, const struct mr_bench_figure *figures)
{
    const char *comma = "";
    double runs[MR_BENCH_RUNS_MAX];

    printf(",\"targets\":{");
    for (; figures->name; figures++) {
        const struct mr_bench_target *target = mr_bench_target(name, figures->name);
        double value = median(figures, runs);
        enum mr_bench_verdict verdict;

        if (!target)
            continue;
        verdict = mr_bench_judge(target, value);
        printf("%s\"%s\":{\"must\":%.3f,\"aim\":%.3f,\"holds\":%s}", comma,
            target->figure, target->must, target->aim,
            verdict == MR_BENCH_HOLDS ? "true" : "false");
        comma = ",";
        if (verdict == MR_BENCH_RED && getenv("BENCH_JUDGE")) {
            fprintf(stderr,
                "%s: %s is %.3f; it must be %s %.3f, and not even half holds\n", name,
                target->figure, value, target->is_most ? "at most" : "at least",
                target->must);
            bench->is_red = true;
        }
    }
    printf("}");
}

static void
print_flags(const char *name, const char *const *flags)
{
    printf(",\"%s\":\"", name);
    for (size_t i = 0; flags && flags[i]; i++)
        printf("%s%s", i ? " " : "", flags[i]);
    printf("\"");
}

static void
print_settings(const struct mr_bench *bench)
{
    printf(",\"settings\":{\"workers\":%d,\"threads\":%d", bench->setup.workers,
        bench->setup.threads);
    print_flags("broker", bench->setup.broker);
    print_flags("worker", bench->setup.worker);
    printf("}");
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
    for (const struct mr_bench_figure *figure = figures; figure->name; figure++)
        print_figure(figure);
    print_targets(bench, name, figures);
    print_settings(bench);
    printf(",\"runs\":%d,\"cpus\":%ld,\"durability\":\"fsync %s, synchronous_commit %s\","
           "\"postgresql\":\"%s\",\"commit\":\"%s\"}\n",
        mr_bench_runs(), sysconf(_SC_NPROCESSORS_ONLN), mr_pg_text(row, 0, 0),
        mr_pg_text(row, 0, 1), mr_pg_text(row, 0, 2), commit(revision));
    mr_pg_free_result(&row);
}
