#include "tests/flagship/stack.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schemas/sql/migrate.h"
#include "schemas/sql/pg.h"

extern char **environ;

enum { READY_MS = 30000, STOP_MS = 15000, TREE_FDS = 16, PATH_BYTES = 2200 };

static enum mr_status
fail(struct mr_err *err, enum mr_status status, const char *what, const char *subject,
    const char *todo)
{
    return mr_err_setf(err, status, what, todo, "%s: %s", subject, strerror(errno));
}

/* ---- The folder ----------------------------------------------------------------------------- */

static int
remove_one(const char *path, const struct stat *facts, int kind, struct FTW *walk)
{
    (void)facts, (void)kind, (void)walk;
    return remove(path);
}

/* Nothing that the caller has set for other millraces must reach ours. */
static void
forget_settings(void)
{
    char name[128];

    for (char **entry = environ; *entry;) {
        size_t n = strcspn(*entry, "=");

        if (strncmp(*entry, "MILLRACE_", 9) != 0 || n >= sizeof name) {
            entry++;
            continue;
        }
        memcpy(name, *entry, n);
        name[n] = '\0';
        unsetenv(name); /* moves the next one here */
    }
}

/* mkdir -p */
static bool
make_folder(const char *path)
{
    char part[PATH_BYTES];

    for (const char *slash = path; slash;) {
        slash = strchr(slash + 1, '/');
        snprintf(part, sizeof part, "%.*s",
            slash ? (int)(slash - path) : (int)strlen(path), path);
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return false;
    }
    return true;
}

enum mr_status
mr_stack_open(struct mr_stack *stack, const char *folder, struct mr_err *err)
{
    static const char what[] = "The flagship's folder cannot be used";
    char lock[PATH_BYTES], absolute[PATH_MAX];

    *stack = (struct mr_stack){.lock = -1};
    forget_settings();
    if (strlen(folder) > sizeof stack->folder / 2 || !make_folder(folder) ||
        !realpath(folder, absolute) || strlen(absolute) >= sizeof stack->folder)
        return fail(err, MR_DENIED, what, folder, "Run make where you may write.");
    memcpy(stack->folder, absolute, strlen(absolute) + 1);
    snprintf(lock, sizeof lock, "%s.lock", stack->folder);
    stack->lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (stack->lock < 0)
        return fail(err, MR_DENIED, what, lock, "Run make as the user of the last time.");
    if (flock(stack->lock, LOCK_EX | LOCK_NB) != 0)
        return fail(err, MR_BUSY, what, "another flagship is running in it",
            "Wait until it ends, then start again.");
    if (nftw(stack->folder, remove_one, TREE_FDS, FTW_DEPTH | FTW_PHYS) != 0 ||
        !make_folder(stack->folder))
        return fail(err, MR_DENIED, what, stack->folder,
            "Remove it as the user who ran the flagship last time.");
    snprintf(
        stack->provider_log, sizeof stack->provider_log, "%s/charges.tsv", stack->folder);
    return MR_OK;
}

/* ---- Starting ------------------------------------------------------------------------------- */

static void
path_of(const struct mr_stack *stack, const char *name, const char *ending,
    char out[PATH_BYTES])
{
    snprintf(out, PATH_BYTES, "%s/%s.%s", stack->folder, name, ending);
}

/* argv[0] is the program's plain name; its log is FOLDER/NAME.log, its ready file FOLDER/NAME.ready.
 * `log_name` tells several of a kind apart. */
static enum mr_status
spawn(struct mr_stack *stack, struct mr_proc *proc, const char **argv,
    const char *log_name, const char *ready_flag, struct mr_err *err)
{
    char program[PATH_MAX], log[PATH_BYTES], ready[PATH_BYTES];
    struct mr_proc_spec spec = {.argv = argv, .output = log, .death_signal = SIGTERM};
    enum mr_status status = mr_proc_find(argv[0], program, sizeof program, err);
    int n = 0;

    if (status)
        return status;
    path_of(stack, log_name, "log", log);
    path_of(stack, log_name, "ready", ready);
    (void)unlink(ready); /* of one that was killed */
    while (argv[n])
        n++;
    argv[0] = program;
    argv[n++] = ready_flag;
    argv[n++] = ready;
    argv[n] = NULL;
    return mr_proc_start(proc, &spec, err);
}

static enum mr_status
start(struct mr_stack *stack, struct mr_proc *proc, const char **argv,
    const char *log_name, const char *ready_flag, struct mr_err *err)
{
    char log[PATH_BYTES], ready[PATH_BYTES], last[256];
    enum mr_status status = spawn(stack, proc, argv, log_name, ready_flag, err);

    path_of(stack, log_name, "log", log);
    path_of(stack, log_name, "ready", ready);
    if (!status)
        status = mr_proc_wait_file(proc, ready, READY_MS, err);
    if (!status)
        return MR_OK;
    mr_proc_last_line(log, NULL, last, sizeof last);
    return mr_err_setf(err, status, "A program of the flagship did not start",
        "Its log says more; mend the cause and start again.", "%s (see %s)", last, log);
}

static enum mr_status
migrate(struct mr_pg *pg, struct mr_err *err)
{
    int applied;
    enum mr_status status = mr_migrate(pg, "millrace", &applied, err);

    return status ? status : mr_migrate(pg, "ride", &applied, err);
}

enum mr_status
mr_stack_database(struct mr_stack *stack, struct mr_err *err)
{
    struct mr_cluster_options options = {.dir = stack->folder};
    enum mr_status status = mr_cluster_start(&stack->cluster, &options, err);
    struct mr_pg *pg = NULL;

    if (status)
        return status;
    status = mr_pg_open(&pg, mr_cluster_conninfo(stack->cluster), "flagship", err);
    if (!status)
        status = migrate(pg, err);
    mr_pg_close(&pg);
    return status;
}

enum mr_status
mr_stack_provider(struct mr_stack *stack, uint64_t seed, struct mr_err *err)
{
    char number[24], path[PATH_BYTES], port[16] = "";
    const char *argv[12] = {
        "millrace-payd", "--log", stack->provider_log, "--seed", number};
    enum mr_status status;
    FILE *file;

    snprintf(number, sizeof number, "%llu", (unsigned long long)seed);
    status = start(stack, &stack->provider, argv, "provider", "--port-file", err);
    if (status)
        return status;
    path_of(stack, "provider", "ready", path);
    file = fopen(path, "re");
    if (!file || !fgets(port, sizeof port, file))
        status = fail(err, MR_INTERNAL, "The provider's port is not known", path, NULL);
    if (file)
        fclose(file);
    port[strcspn(port, "\n")] = '\0';
    snprintf(stack->pay_url, sizeof stack->pay_url, "http://127.0.0.1:%s", port);
    return status;
}

/* "front tcp://127.0.0.1:4711" */
static bool
read_endpoints(struct mr_stack *stack, const char *path)
{
    char line[512];
    FILE *file = fopen(path, "re");

    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "front ", 6) == 0)
            snprintf(stack->front, sizeof stack->front, "%.127s", line + 6);
        else if (strncmp(line, "back ", 5) == 0)
            snprintf(stack->back, sizeof stack->back, "%.127s", line + 5);
    }
    if (file)
        fclose(file);
    return stack->front[0] && stack->back[0];
}

/* `launch`: spawn, or start. */
typedef enum mr_status (*launch_fn)(struct mr_stack *stack, struct mr_proc *proc,
    const char **argv, const char *log_name, const char *ready_flag, struct mr_err *err);

static enum mr_status
launch_broker(struct mr_stack *stack, launch_fn launch, struct mr_err *err)
{
    const char *argv[16] = {"millrace-broker", "--config", "/dev/null", "--database",
        mr_cluster_conninfo(stack->cluster)};

    if (stack->front[0]) { /* again: it is found where it was */
        argv[5] = "--front";
        argv[6] = stack->front;
        argv[7] = "--back";
        argv[8] = stack->back;
    }
    return launch(stack, &stack->broker, argv, "broker", "--ready-file", err);
}

enum mr_status
mr_stack_broker(struct mr_stack *stack, struct mr_err *err)
{
    char path[PATH_BYTES];
    enum mr_status status = launch_broker(stack, start, err);

    if (status)
        return status;
    path_of(stack, "broker", "ready", path);
    if (read_endpoints(stack, path))
        return MR_OK;
    return mr_err_set(
        err, MR_INTERNAL, "The broker's endpoints are not known", path, NULL);
}

static void
name_of(int which, char out[32])
{
    snprintf(out, 32, which == MR_STACK_BROKER ? "broker" : "worker-%d", which + 1);
}

static enum mr_status
launch_worker(struct mr_stack *stack, int which, launch_fn launch, struct mr_err *err)
{
    const struct mr_stack_options *options = &stack->options;
    const char *const given[][2] = {{"--map", options->map_path},
        {"--pay-url", stack->pay_url[0] ? stack->pay_url : NULL},
        {"--load", options->load},
        {"--pay-without-key", options->pays_without_key ? "yes" : NULL}};
    char name[32], threads[8];
    const char *argv[24] = {"millrace-worker", "--config", "/dev/null", "--endpoint",
        stack->back, "--database", mr_cluster_conninfo(stack->cluster), "--threads",
        threads, "--name", name};
    size_t n = 11;

    for (size_t k = 0; k < sizeof given / sizeof *given; k++) {
        if (given[k][1]) {
            argv[n++] = given[k][0];
            argv[n++] = given[k][1];
        }
    }
    snprintf(threads, sizeof threads, "%d", MR_STACK_THREADS);
    name_of(which, name);
    return launch(stack, &stack->workers[which], argv, name, "--ready-file", err);
}

enum mr_status
mr_stack_workers(
    struct mr_stack *stack, const struct mr_stack_options *options, struct mr_err *err)
{
    enum mr_status status = MR_OK;

    stack->options = *options;
    for (int i = 0; i < MR_STACK_WORKERS && !status; i++)
        status = launch_worker(stack, i, start, err);
    return status;
}

/* ---- Faults --------------------------------------------------------------------------------- */

struct mr_proc *
mr_stack_proc(struct mr_stack *stack, int which)
{
    return which == MR_STACK_BROKER ? &stack->broker : &stack->workers[which];
}

static bool *
away(struct mr_stack *stack, int which)
{
    return which == MR_STACK_BROKER ? &stack->is_broker_away
                                    : &stack->is_worker_away[which];
}

void
mr_stack_kill(struct mr_stack *stack, int which)
{
    struct mr_proc *proc = mr_stack_proc(stack, which);

    mr_proc_stop(proc, SIGKILL, 0);
    *proc = (struct mr_proc){.pid = 0};
    *away(stack, which) = true;
}

enum mr_status
mr_stack_revive(struct mr_stack *stack, int which, struct mr_err *err)
{
    enum mr_status status = which == MR_STACK_BROKER
                                ? launch_broker(stack, spawn, err)
                                : launch_worker(stack, which, spawn, err);

    *away(stack, which) = status != MR_OK;
    return status;
}

bool
mr_stack_is_ready(const struct mr_stack *stack, int which)
{
    char path[PATH_BYTES], name[32];
    struct stat facts;

    name_of(which, name);
    path_of(stack, name, "ready", path);
    return stat(path, &facts) == 0 && facts.st_size > 0;
}

/* ---- Stopping ------------------------------------------------------------------------------- */

const char *
mr_stack_missing(struct mr_stack *stack)
{
    if (!mr_cluster_is_alive(stack->cluster))
        return "PostgreSQL";
    if (!mr_proc_is_alive(&stack->provider))
        return "the payment provider";
    if (!stack->is_broker_away && !mr_proc_is_alive(&stack->broker))
        return "the broker";
    for (int i = 0; i < MR_STACK_WORKERS; i++) {
        if (!stack->is_worker_away[i] && !mr_proc_is_alive(&stack->workers[i]))
            return "a worker";
    }
    return NULL;
}

/* Not a second SIGTERM when the time is over: that would mean "at once". */
static bool
stop(struct mr_proc *proc)
{
    if (!mr_proc_wait(proc, STOP_MS))
        mr_proc_stop(proc, SIGKILL, 0);
    return proc->pid <= 0 || mr_proc_exit_code(proc) == EXIT_SUCCESS;
}

const char *
mr_stack_stop_programs(struct mr_stack *stack)
{
    const char *bad = NULL;

    for (int i = 0; i < MR_STACK_WORKERS; i++) {
        mr_proc_signal(&stack->workers[i], SIGTERM);
        mr_proc_signal(&stack->workers[i], SIGCONT); /* it may be frozen */
    }
    for (int i = 0; i < MR_STACK_WORKERS; i++) {
        if (!stop(&stack->workers[i]))
            bad = "a worker";
    }
    mr_proc_signal(&stack->broker, SIGTERM);
    if (!stop(&stack->broker))
        bad = "the broker";
    mr_proc_signal(&stack->provider, SIGTERM);
    if (!stop(&stack->provider))
        bad = "the payment provider";
    return bad;
}

void
mr_stack_close(struct mr_stack *stack)
{
    (void)mr_stack_stop_programs(stack);
    mr_cluster_stop(&stack->cluster);
    if (stack->lock >= 0)
        close(stack->lock);
    stack->lock = -1;
}

void
mr_stack_remove(struct mr_stack *stack)
{
    char lock[PATH_BYTES];

    mr_stack_close(stack);
    if (!stack->folder[0])
        return;
    snprintf(lock, sizeof lock, "%s.lock", stack->folder);
    (void)nftw(stack->folder, remove_one, TREE_FDS, FTW_DEPTH | FTW_PHYS);
    (void)unlink(lock);
}
