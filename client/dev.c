#include "client/dev.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cluster.h"
#include "client/dev_keys.h"
#include "client/proc.h"
#include "schemas/base/clock.h"
#include "schemas/sql/migrate.h"
#include "schemas/sql/pg.h"

#define CHILDREN_MAX 65 /* the broker and its workers */
#define ARGS_MAX 24
#define ENDPOINT_MAX 256
#define START_MS 60000
#define LOOK_MS 200
#define BACKOFF_BASE_MS 200
#define BACKOFF_CAP_MS 5000
#define STEADY_MS 10000 /* running so long makes earlier deaths forgotten */
#define WORKER_STOP_MS 20000
#define BROKER_STOP_MS 10000

struct child {
    char name[32]; /* "broker", "worker-1" */
    char program[PATH_MAX];
    char ready[PATH_MAX], log[PATH_MAX];
    const char *argv[ARGS_MAX];
    struct mr_proc proc;
    const char
        *env[2]; /* where the database is: on a command line everybody would see it */
    int64_t started_ms, restart_ms; /* restart_ms 0: it runs, or is not wanted */
    int deaths;
};

struct dev {
    const struct mr_dev_options *options;
    FILE *out, *err;
    bool is_json;
    char dir[PATH_MAX], endpoints_path[PATH_MAX];
    int lock_fd, signal_fd;
    bool is_stopping, is_hurried;
    sigset_t old_mask;
    struct mr_cluster *cluster;
    struct mr_dev_keys keys;
    char database[PATH_MAX + 64], database_env[PATH_MAX + 96];
    char front[ENDPOINT_MAX], back[ENDPOINT_MAX];
    const char *front_arg, *back_arg; /* what the broker is told */
    char threads[24];
    struct child *children; /* the broker first */
    int count;
};

static int64_t
now_ms(void)
{
    return mr_clock_now().mono_us / 1000;
}

/* Any signal stops us; a second one makes haste. True once one has come. */
static bool
must_stop(struct dev *dev)
{
    struct signalfd_siginfo info;

    while (read(dev->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        dev->is_hurried = dev->is_stopping;
        dev->is_stopping = true;
    }
    return dev->is_stopping;
}

static enum mr_status
os_failure(struct mr_err *err, const char *what, const char *path)
{
    return mr_err_setf(err, MR_DENIED, what, "Choose another folder with --data DIR.",
        "%s: %s.", path, strerror(errno));
}

/* ---- Before anything runs ------------------------------------------------------------------ */

static enum mr_status
take_signals(struct dev *dev, struct mr_err *err)
{
    sigset_t ours;

    (void)sigemptyset(&ours);
    (void)sigaddset(&ours, SIGINT);
    (void)sigaddset(&ours, SIGTERM);
    (void)sigaddset(&ours, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &ours, &dev->old_mask) == 0)
        dev->signal_fd = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
    return dev->signal_fd >= 0 ? MR_OK
                               : os_failure(err, "Nothing was started.", "signals");
}

static enum mr_status
take_dir(struct dev *dev, struct mr_err *err)
{
    char path[PATH_MAX];

    if (mkdir(dev->options->dir, 0755) != 0 && errno != EEXIST)
        return os_failure(err, "The folder cannot be made.", dev->options->dir);
    if (!realpath(dev->options->dir, dev->dir) || strlen(dev->dir) > PATH_MAX - 64)
        return os_failure(err, "The folder cannot be entered.", dev->options->dir);
    (void)snprintf(path, sizeof path, "%.4000s/dev.lock", dev->dir);
    (void)snprintf(dev->endpoints_path, sizeof dev->endpoints_path,
        "%.4000s/endpoints.ini", dev->dir);
    dev->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (dev->lock_fd < 0)
        return os_failure(err, "The folder cannot be written to.", path);
    if (flock(dev->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return MR_OK;
    return mr_err_setf(err, MR_BUSY, "Nothing was started.",
        "Stop the other one, or choose another folder with --data DIR.",
        "Another \"millrace dev\" runs in %s.", dev->dir);
}

/* ---- The database ---------------------------------------------------------------------------- */

static enum mr_status
migrate(struct dev *dev, const char *set, struct mr_err *err)
{
    struct mr_pg *pg = NULL;
    int applied = 0;
    enum mr_status status = mr_pg_open(&pg, dev->database, "millrace dev", err);

    if (!status)
        status = mr_migrate(pg, set, &applied, err);
    mr_pg_close(&pg);
    return status;
}

static enum mr_status
register_keys(struct dev *dev, struct mr_err *err)
{
    struct mr_pg *pg = NULL;
    enum mr_status status = mr_pg_open(&pg, dev->database, "millrace dev", err);

    if (!status)
        status = mr_dev_keys_register(&dev->keys, pg, err);
    mr_pg_close(&pg);
    return status;
}

static enum mr_status
start_database(struct dev *dev, struct mr_err *err)
{
    struct mr_cluster_options options = {
        .dir = dev->dir, .is_dir_required = dev->options->is_dir_given};
    enum mr_status status = mr_cluster_start(&dev->cluster, &options, err);

    if (status)
        return status;
    if (mr_cluster_note(dev->cluster)[0])
        fprintf(dev->err, "millrace: %s\n", mr_cluster_note(dev->cluster));
    (void)snprintf(
        dev->database, sizeof dev->database, "%s", mr_cluster_conninfo(dev->cluster));
    status = mr_dev_keys_make(&dev->keys, dev->dir, err);
    if (!status)
        status = migrate(dev, "millrace", err);
    if (!status)
        status = register_keys(dev, err);
    if (!status && dev->options->pack)
        status = migrate(dev, dev->options->pack, err);
    return status;
}

/* ---- Children --------------------------------------------------------------------------------- */

static enum mr_status
describe(struct dev *dev, struct child *child, const char *name, const char *program,
    struct mr_err *err)
{
    (void)snprintf(child->name, sizeof child->name, "%s", name);
    (void)snprintf(
        child->ready, sizeof child->ready, "%.4000s/%s.ready", dev->dir, child->name);
    (void)snprintf(
        child->log, sizeof child->log, "%.4000s/%s.log", dev->dir, child->name);
    (void)snprintf(dev->database_env, sizeof dev->database_env, "MILLRACE_DATABASE=%s",
        dev->database);
    child->env[0] = dev->database_env;
    return mr_proc_find(program, child->program, sizeof child->program, err);
}

static void
describe_broker_args(struct dev *dev, struct child *child)
{
    const char *argv[] = {child->program, "--front", dev->front_arg, "--back",
        dev->back_arg, "--ready-file", child->ready, "--key-file", dev->keys.broker_key,
        NULL};

    memcpy(child->argv, argv, sizeof argv);
}

static void
describe_worker_args(struct dev *dev, struct child *child)
{
    const char *argv[] = {child->program, "--endpoint", dev->back, "--ready-file",
        child->ready, "--name", child->name, "--key-file", dev->keys.worker_key,
        "--server-key", dev->keys.broker_pub, NULL};
    size_t n = sizeof argv / sizeof argv[0] - 1;

    memcpy(child->argv, argv, sizeof argv);
    if (dev->options->threads) {
        child->argv[n++] = "--threads";
        child->argv[n++] = dev->threads;
    }
    if (dev->options->load) {
        child->argv[n++] = "--load";
        child->argv[n++] = dev->options->load;
    }
    child->argv[n] = NULL;
}

static enum mr_status
launch(struct child *child, struct mr_err *err)
{
    struct mr_proc_spec spec = {
        .argv = child->argv, .env = child->env, .output = child->log};

    (void)unlink(child->ready);
    child->started_ms = now_ms();
    child->restart_ms = 0;
    return mr_proc_start(&child->proc, &spec, err);
}

/* MR_CANCELLED: a signal came first. */
static enum mr_status
wait_ready(struct dev *dev, struct child *child, struct mr_err *err)
{
    int64_t end_ms = now_ms() + START_MS;
    enum mr_status status = MR_TIMEOUT;
    char line[300];

    while (status == MR_TIMEOUT && now_ms() < end_ms) {
        if (must_stop(dev))
            return MR_CANCELLED;
        status = mr_proc_wait_file(&child->proc, child->ready, LOOK_MS, err);
    }
    if (!status)
        return MR_OK;
    mr_proc_last_line(child->log, "error", line, sizeof line);
    if (!line[0])
        mr_proc_last_line(child->log, NULL, line, sizeof line);
    return mr_err_setf(err, status, "A program did not become ready.",
        "Its log tells more.", "%s: %s (%.200s)", child->name, line, child->log);
}

/* "front tcp://..." and "back tcp://..." of the broker's ready file. */
static enum mr_status
read_endpoints(struct dev *dev, const struct child *broker, struct mr_err *err)
{
    FILE *file = fopen(broker->ready, "re");
    char key[16], url[ENDPOINT_MAX];

    dev->front[0] = dev->back[0] = '\0';
    while (file && fscanf(file, "%15s %255s", key, url) == 2) {
        if (strcmp(key, "front") == 0 && !dev->front[0])
            (void)snprintf(dev->front, sizeof dev->front, "%s", url);
        if (strcmp(key, "back") == 0 && !dev->back[0])
            (void)snprintf(dev->back, sizeof dev->back, "%s", url);
    }
    if (file)
        fclose(file);
    if (dev->front[0] && dev->back[0])
        return MR_OK;
    return mr_err_setf(err, MR_INTERNAL, "The broker did not say where it listens.",
        "Are broker and command of the same version?", "%s", broker->ready);
}

static enum mr_status
start_broker(struct dev *dev, struct mr_err *err)
{
    struct child *child = &dev->children[0];
    const struct mr_dev_options *options = dev->options;
    enum mr_status status = describe(dev, child, "broker", "millrace-broker", err);

    dev->front_arg = options->front ? options->front : "tcp://127.0.0.1:*";
    dev->back_arg = options->back ? options->back : "tcp://127.0.0.1:*";
    if (status)
        return status;
    describe_broker_args(dev, child);
    dev->count = 1;
    status = launch(child, err);
    if (!status)
        status = wait_ready(dev, child, err);
    if (!status)
        status = read_endpoints(dev, child, err);
    /* From now on they are fixed: a broker that is started again is found where it was. */
    if (!options->front)
        dev->front_arg = dev->front;
    if (!options->back)
        dev->back_arg = dev->back;
    describe_broker_args(dev, child);
    return status;
}

static enum mr_status
start_workers(struct dev *dev, struct mr_err *err)
{
    enum mr_status status = MR_OK;

    (void)snprintf(dev->threads, sizeof dev->threads, "%" PRId64, dev->options->threads);
    for (int64_t i = 0; i < dev->options->workers && !status; i++) {
        struct child *child = &dev->children[dev->count];
        char name[32];

        (void)snprintf(name, sizeof name, "worker-%" PRId64, i + 1);
        status = describe(dev, child, name, "millrace-worker", err);
        if (status)
            return status;
        describe_worker_args(dev, child);
        dev->count++;
        status = launch(child, err);
    }
    for (int i = 1; i < dev->count && !status; i++)
        status = wait_ready(dev, &dev->children[i], err);
    return status;
}

/* ---- Up --------------------------------------------------------------------------------------- */

/* Complete or not there. */
static enum mr_status
write_endpoints(struct dev *dev, struct mr_err *err)
{
    char fresh[PATH_MAX + 8];
    FILE *file;
    bool is_good;

    (void)snprintf(fresh, sizeof fresh, "%s.new", dev->endpoints_path);
    file = fopen(fresh, "we");
    if (!file)
        return os_failure(err, "The endpoints cannot be written down.", fresh);
    fputs("# Written by \"millrace dev\" while it runs; commands in the folder above "
          "read it.\n"
          "[common]\n",
        file);
    if (dev->front[0])
        fprintf(file, "endpoint = %s\nkey_file = %s\nserver_key = %s\n", dev->front,
            dev->keys.my_key, dev->keys.broker_pub);
    fprintf(file, "database = %s\n", dev->database);
    is_good = fflush(file) == 0;
    is_good = fclose(file) == 0 && is_good;
    if (is_good && rename(fresh, dev->endpoints_path) == 0)
        return MR_OK;
    return os_failure(err, "The endpoints cannot be written down.", dev->endpoints_path);
}

static void
announce(const struct dev *dev)
{
    bool has_broker = dev->front[0] != '\0';

    if (dev->is_json) {
        fprintf(dev->out, "{\"state\":\"ready\",\"front\":\"%s\",\"back\":\"%s\",",
            dev->front, dev->back);
        if (has_broker)
            fprintf(dev->out, "\"key_file\":\"%s\",\"server_key\":\"%s\",",
                dev->keys.my_key, dev->keys.broker_pub);
        fprintf(dev->out, "\"database\":\"%s\",\"workers\":%d}\n", dev->database,
            has_broker ? dev->count - 1 : 0);
    } else {
        fprintf(dev->out, "database  %s\n", dev->database);
        if (has_broker)
            fprintf(dev->out, "front     %s\nback      %s\nkeys      %s\n", dev->front,
                dev->back, dev->keys.dir);
        fprintf(dev->out, "logs      %s\n", dev->dir);
        if (has_broker)
            fprintf(dev->out, "ready     try: millrace submit test.noop --wait\n");
        else
            fprintf(dev->out, "ready     try: psql '%s'\n", dev->database);
    }
    (void)fflush(dev->out);
}

static enum mr_status
start_all(struct dev *dev, struct mr_err *err)
{
    enum mr_status status = start_database(dev, err);

    if (!status && must_stop(dev))
        return MR_CANCELLED;
    if (!status && !dev->options->only_database)
        status = start_broker(dev, err);
    if (!status && !dev->options->only_database)
        status = start_workers(dev, err);
    if (!status)
        status = write_endpoints(dev, err);
    if (!status)
        announce(dev);
    return status;
}

/* ---- Watch over them ----------------------------------------------------------------------------- */

static void
on_death(struct dev *dev, struct child *child)
{
    int64_t now = now_ms();
    int64_t wait_ms;
    char line[200];

    if (now - child->started_ms > STEADY_MS)
        child->deaths = 0;
    wait_ms =
        child->deaths < 6 ? (int64_t)BACKOFF_BASE_MS << child->deaths : BACKOFF_CAP_MS;
    if (wait_ms > BACKOFF_CAP_MS)
        wait_ms = BACKOFF_CAP_MS;
    child->deaths++;
    child->restart_ms = now + wait_ms;
    mr_proc_last_line(child->log, NULL, line, sizeof line);
    fprintf(dev->err,
        "millrace: %s has died (code %d); it is started again. Its last words in %s: "
        "%s\n",
        child->name, mr_proc_exit_code(&child->proc), child->log, line);
}

static void
look_after(struct dev *dev, struct child *child)
{
    struct mr_err err;

    if (child->restart_ms == 0 && !mr_proc_is_alive(&child->proc))
        on_death(dev, child);
    if (child->restart_ms == 0 || now_ms() < child->restart_ms)
        return;
    if (launch(child, &err)) {
        fprintf(dev->err, "millrace: %s %s\n", err.what, err.why);
        child->restart_ms = now_ms() + BACKOFF_CAP_MS;
    }
}

static void
look_after_database(struct dev *dev)
{
    struct mr_err err;

    if (mr_cluster_is_alive(dev->cluster))
        return;
    fprintf(dev->err, "millrace: PostgreSQL has died; it is started again. Its log: %s\n",
        mr_cluster_log_path(dev->cluster));
    if (mr_cluster_resume(dev->cluster, &err))
        fprintf(dev->err, "millrace: %s %s\n", err.what, err.why);
}

static void
watch(struct dev *dev)
{
    struct pollfd poller = {.fd = dev->signal_fd, .events = POLLIN};

    while (!must_stop(dev)) {
        look_after_database(dev);
        for (int i = 0; i < dev->count; i++)
            look_after(dev, &dev->children[i]);
        (void)poll(&poller, 1, LOOK_MS);
    }
}

/* ---- Down ----------------------------------------------------------------------------------------- */

/* All at once, then each is waited for; a second signal shortens that to nothing. */
static void
stop_children(struct dev *dev, int from, int to, int grace_ms)
{
    int64_t end_ms = now_ms() + grace_ms;

    for (int i = from; i < to; i++)
        mr_proc_signal(&dev->children[i].proc, SIGTERM);
    for (int i = from; i < to; i++) {
        struct mr_proc *proc = &dev->children[i].proc;

        while (!mr_proc_wait(proc, LOOK_MS) && now_ms() < end_ms && !dev->is_hurried)
            (void)must_stop(dev);
        (void)mr_proc_stop(proc, SIGKILL, LOOK_MS);
        (void)unlink(dev->children[i].ready);
    }
}

static void
stop_all(struct dev *dev)
{
    if (dev->is_stopping && dev->count && !dev->is_json)
        fprintf(dev->err, "millrace: stopping; once more makes haste.\n");
    stop_children(dev, 1, dev->count, WORKER_STOP_MS);
    stop_children(dev, 0, dev->count ? 1 : 0, BROKER_STOP_MS);
    mr_cluster_stop(&dev->cluster);
    if (dev->lock_fd >= 0) {
        if (dev->endpoints_path[0] && dev->dir[0])
            (void)unlink(dev->endpoints_path);
        (void)close(dev->lock_fd);
    }
    if (dev->signal_fd >= 0) {
        (void)must_stop(dev); /* none is left to kill us when they are let through */
        (void)close(dev->signal_fd);
        (void)sigprocmask(SIG_SETMASK, &dev->old_mask, NULL);
    }
}

enum mr_status
mr_dev_run(const struct mr_dev_options *options, FILE *out, FILE *err_out, bool is_json,
    struct mr_err *err)
{
    struct dev dev = {.options = options,
        .out = out,
        .err = err_out,
        .is_json = is_json,
        .lock_fd = -1,
        .signal_fd = -1,
        .children = calloc(CHILDREN_MAX, sizeof(struct child))};
    enum mr_status status;

    if (!dev.children)
        return mr_err_set(err, MR_NO_MEMORY, "Nothing was started.", "No memory.", NULL);
    status = take_signals(&dev, err);
    if (!status)
        status = take_dir(&dev, err);
    if (status && dev.lock_fd >= 0) {
        (void)close(dev.lock_fd); /* another's: its files are left alone */
        dev.lock_fd = -1;
    }
    if (!status)
        status = start_all(&dev, err);
    if (!status)
        watch(&dev);
    stop_all(&dev);
    free(dev.children);
    return status == MR_CANCELLED ? MR_OK : status;
}
