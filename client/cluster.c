#include "client/cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cluster_bin.h"
#include "client/cluster_priv.h"
#include "schemas/base/clock.h"

#define START_MS 60000
#define INITDB_MS 60000
#define STOP_MS 15000
#define LEFTOVER_MS 10000 /* how long a killed server's children may hold its memory */
#define LOOK_AGAIN_MS 20

static const char *const server_env[] = {"LC_ALL=C", "LANGUAGE=C", "PGDATA", "PGHOST",
    "PGPORT", "PGUSER", "PGDATABASE", "PGOPTIONS", NULL};

static int
remove_one(const char *path, const struct stat *facts, int type, struct FTW *at)
{
    (void)facts;
    (void)type;
    (void)at;
    (void)remove(path);
    return 0;
}

static void
remove_tree(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- Programs --------------------------------------------------------------------------- */

/* The version that made the data folder; 0 if there is none yet. */
static long
data_version(const char *data)
{
    char path[PATH_MAX];
    char text[16] = "";
    FILE *file = mr_cluster_join(path, data, "PG_VERSION") ? fopen(path, "re") : NULL;

    if (!file)
        return 0;
    if (!fgets(text, sizeof text, file))
        text[0] = '\0';
    fclose(file);
    return strtol(text, NULL, 10);
}

static enum mr_status
find_programs(struct mr_cluster *cluster, struct mr_err *err)
{
    long wanted = data_version(cluster->data);

    if (mr_cluster_bin_find(cluster->bin, wanted))
        return MR_OK;
    return mr_cluster_refuse(err, MR_NOT_FOUND,
        "Install it (Debian: apt-get install postgresql-15), or use one that runs "
        "elsewhere with --database.",
        "initdb and postgres, version 15 or newer, are neither in PATH nor in",
        "/usr/lib/postgresql");
}

/* ---- Create ------------------------------------------------------------------------------- */

static enum mr_status
run_as_user(const struct mr_cluster *cluster, const char *const *argv, struct mr_err *err)
{
    struct mr_proc_spec spec = {.argv = argv,
        .env = server_env,
        .output = cluster->log,
        .directory = "/",
        .uid = cluster->uid,
        .gid = cluster->gid,
        .has_user = cluster->has_user};

    return mr_proc_run(&spec, INITDB_MS, err);
}

static enum mr_status
make_database(const struct mr_cluster *cluster, const char *data, struct mr_err *err)
{
    char program[PATH_MAX];
    /* The single-user server takes its one statement from the shell: no connection needed. */
    const char *const argv[] = {"/bin/sh", "-c",
        "echo 'create database millrace' | \"$0\" --single -F -D \"$1\" template1",
        program, data, NULL};

    return mr_cluster_join(program, cluster->bin, "postgres")
               ? run_as_user(cluster, argv, err)
               : MR_INTERNAL;
}

/* Made beside its place and renamed when it is complete: a creation that was cut short is
 * never taken for a cluster. */
static enum mr_status
create(const struct mr_cluster *cluster, struct mr_err *err)
{
    char program[PATH_MAX];
    char fresh[PATH_MAX];
    const char *const argv[] = {program, "-D", fresh, "-U", "millrace", "-E", "UTF8",
        "--locale=C", "--auth-local=trust", "--auth-host=reject", "--no-instructions",
        cluster->temp[0] ? "--no-sync" : NULL, NULL};
    enum mr_status status;

    if (!mr_cluster_join(program, cluster->bin, "initdb") ||
        !mr_cluster_join(fresh, cluster->dir, "pg.new"))
        return mr_cluster_refuse(
            err, MR_BAD_ARGUMENT, NULL, "the name is too long:", cluster->dir);
    remove_tree(fresh);
    if (mkdir(fresh, 0700) != 0 ||
        (cluster->has_user && chown(fresh, cluster->uid, cluster->gid) != 0))
        return mr_cluster_fail(err, MR_DENIED, "Choose another folder with --data DIR.",
            "cannot make the folder", fresh);
    status = run_as_user(cluster, argv, err);
    if (!status)
        status = make_database(cluster, fresh, err);
    if (!status && rename(fresh, cluster->data) != 0)
        status = mr_cluster_fail(
            err, MR_INTERNAL, "Remove it and start again.", "cannot rename", fresh);
    if (status)
        remove_tree(fresh);
    return status;
}

static enum mr_status
create_if_missing(const struct mr_cluster *cluster, struct mr_err *err)
{
    struct stat facts;

    if (stat(cluster->data, &facts) != 0)
        return create(cluster, err);
    if (!cluster->has_user && facts.st_uid != geteuid())
        return mr_cluster_refuse(err, MR_DENIED,
            "Start millrace as that user (or as root), or choose another folder with "
            "--data DIR.",
            "the data folder belongs to another user:", cluster->data);
    if (data_version(cluster->data) == 0)
        return mr_cluster_refuse(err, MR_BAD_ARGUMENT,
            "Choose another folder with --data DIR, or move that one away.",
            "this is there already, and is not a PostgreSQL data folder:", cluster->data);
    return MR_OK;
}

/* ---- Start -------------------------------------------------------------------------------- */

/* Line `wanted` (from 1) of postmaster.pid; "" if it has none. */
static void
pid_file_line(const struct mr_cluster *cluster, int wanted, char *out, int room)
{
    char path[PATH_MAX];
    char line[PATH_MAX + 2]; /* one of them is the data folder */
    FILE *file =
        mr_cluster_join(path, cluster->data, "postmaster.pid") ? fopen(path, "re") : NULL;

    out[0] = '\0';
    if (!file)
        return;
    line[0] = '\0';
    for (int i = 0; i < wanted; i++)
        if (!fgets(line, sizeof line, file)) {
            line[0] = '\0';
            break;
        }
    fclose(file);
    line[strcspn(line, "\n")] = '\0';
    (void)snprintf(out, (size_t)room, "%s", line);
}

static pid_t
pid_in_file(const struct mr_cluster *cluster)
{
    char line[32];

    pid_file_line(cluster, 1, line, sizeof line);
    return (pid_t)strtol(line, NULL, 10);
}

/* A server works in its data folder: so a process with that number that is somewhere else
 * has only inherited the number. */
static bool
is_server(const struct mr_cluster *cluster, pid_t pid)
{
    char link[64];
    struct stat there, ours;

    (void)snprintf(link, sizeof link, "/proc/%ld/cwd", (long)pid);
    return pid > 1 && stat(link, &there) == 0 && stat(cluster->data, &ours) == 0 &&
           there.st_dev == ours.st_dev && there.st_ino == ours.st_ino;
}

/* Its parent has ended, and init has adopted it. */
static bool
is_orphan(pid_t pid)
{
    char path[64];
    char text[512] = "";
    const char *state;
    FILE *file;
    size_t n;

    (void)snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    file = fopen(path, "re");
    if (!file)
        return true;
    n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    /* "pid (name) state parent": the name may hold anything, so from its end on. */
    state = strrchr(text, ')');
    return !state || strtol(state + 4, NULL, 10) <= 1;
}

static enum mr_status
clear_leftovers(const struct mr_cluster *cluster, struct mr_err *err)
{
    static const char *const names[] = {
        "postmaster.pid", ".s.PGSQL.5432.lock", ".s.PGSQL.5432"};
    int64_t end_ms = mr_clock_now().mono_us / 1000 + LEFTOVER_MS;
    pid_t pid = pid_in_file(cluster);

    /* One whose starter was killed is stopping: it is given the time. */
    while (is_server(cluster, pid) && is_orphan(pid) &&
           mr_clock_now().mono_us / 1000 < end_ms)
        (void)poll(NULL, 0, LOOK_AGAIN_MS);
    if (is_server(cluster, pid))
        return mr_err_setf(err, MR_BUSY, "The private PostgreSQL could not be started.",
            "Stop the other millrace, or choose another folder with --data DIR.",
            "another server (process %ld) runs on %s.", (long)pid, cluster->data);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[PATH_MAX];

        if (mr_cluster_join(path, cluster->data, names[i]))
            (void)unlink(path);
    }
    return MR_OK;
}

static enum mr_status
launch(struct mr_cluster *cluster, struct mr_err *err)
{
    const char *argv[16 + 2 * MR_CLUSTER_SETTINGS_MAX] = {NULL};
    char program[PATH_MAX];
    struct mr_proc_spec spec = {.argv = argv,
        .env = server_env,
        .output = cluster->log,
        .directory = "/",
        .death_signal = SIGINT,
        .uid = cluster->uid,
        .gid = cluster->gid,
        .has_user = cluster->has_user};
    size_t n = 0;

    if (!mr_cluster_join(program, cluster->bin, "postgres"))
        return mr_cluster_refuse(
            err, MR_BAD_ARGUMENT, NULL, "the name is too long:", cluster->bin);
    argv[n++] = program;
    argv[n++] = "-D";
    argv[n++] = cluster->data;
    argv[n++] = "-k";
    argv[n++] = cluster->socket_dir;
    argv[n++] = "-c";
    argv[n++] = "listen_addresses=";
    argv[n++] = "-c";
    argv[n++] = "unix_socket_permissions=0700";
    argv[n++] = "-c";
    argv[n++] = "log_line_prefix=%m [%p] %a ";
    for (size_t i = 0; cluster->settings[i]; i++) {
        argv[n++] = "-c";
        argv[n++] = cluster->settings[i];
    }
    return mr_proc_start(&cluster->server, &spec, err);
}

/* Line 8 of postmaster.pid is how pg_ctl learns it, too. */
static bool
is_ready(const struct mr_cluster *cluster)
{
    char line[32];

    pid_file_line(cluster, 8, line, sizeof line);
    return pid_in_file(cluster) == cluster->server.pid && strncmp(line, "ready", 5) == 0;
}

static int64_t
now_ms(void)
{
    return mr_clock_now().mono_us / 1000;
}

/* MR_STORE_DOWN: it ended again. */
static enum mr_status
wait_ready(struct mr_cluster *cluster, int64_t end_ms, struct mr_err *err)
{
    char line[256];

    while (!is_ready(cluster)) {
        if (mr_proc_wait(&cluster->server, LOOK_AGAIN_MS)) {
            mr_proc_last_line(cluster->log, "FATAL:", line, sizeof line);
            return mr_err_setf(err, MR_STORE_DOWN,
                "The private PostgreSQL could not be started.",
                "Its log tells more; --data DIR uses another folder.",
                "it ended at once: %s (%s)", line, cluster->log);
        }
        if (now_ms() < end_ms)
            continue;
        (void)mr_proc_stop(&cluster->server, SIGQUIT, STOP_MS);
        return mr_cluster_refuse(err, MR_TIMEOUT, "Its log may say why.",
            "it did not become ready in time; the log is", cluster->log);
    }
    return MR_OK;
}

/* Children of a server that was killed may hold its shared memory for a moment; meanwhile they
 * write their own last lines into the log. */
static bool
is_leftover_memory(const struct mr_cluster *cluster)
{
    char line[256], pid[32];

    (void)snprintf(pid, sizeof pid, "[%ld]", (long)cluster->server.pid);
    mr_proc_last_line(cluster->log, "shared memory block", line, sizeof line);
    return strstr(line, pid) != NULL;
}

enum mr_status
mr_cluster_resume(struct mr_cluster *cluster, struct mr_err *err)
{
    int64_t begin_ms = now_ms();
    enum mr_status status = clear_leftovers(cluster, err);

    while (!status) {
        status = launch(cluster, err);
        if (!status)
            status = wait_ready(cluster, begin_ms + cluster->timeout_ms, err);
        if (status != MR_STORE_DOWN || !is_leftover_memory(cluster) ||
            now_ms() - begin_ms > LEFTOVER_MS)
            break;
        (void)poll(NULL, 0, LOOK_AGAIN_MS);
        status = MR_OK;
    }
    return status;
}

static enum mr_status
copy_settings(struct mr_cluster *cluster, const char *const *settings, struct mr_err *err)
{
    for (size_t i = 0; settings && settings[i]; i++) {
        if (i == MR_CLUSTER_SETTINGS_MAX)
            return mr_err_set(
                err, MR_TOO_BIG, "Too many settings for PostgreSQL.", NULL, NULL);
        cluster->settings[i] = strdup(settings[i]);
        if (!cluster->settings[i])
            return mr_err_set(
                err, MR_NO_MEMORY, "PostgreSQL was not started.", "No memory.", NULL);
    }
    return MR_OK;
}

enum mr_status
mr_cluster_start(
    struct mr_cluster **out, const struct mr_cluster_options *options, struct mr_err *err)
{
    struct mr_cluster *cluster = calloc(1, sizeof *cluster);
    enum mr_status status;

    *out = NULL;
    if (!cluster)
        return mr_err_set(
            err, MR_NO_MEMORY, "PostgreSQL was not started.", "No memory.", NULL);
    cluster->timeout_ms = options->timeout_ms ? options->timeout_ms : START_MS;
    status = copy_settings(cluster, options->settings, err);
    if (!status)
        status = mr_cluster_place_choose(cluster, options, err);
    if (!status)
        status = find_programs(cluster, err);
    if (!status)
        status = create_if_missing(cluster, err);
    if (!status)
        status = mr_cluster_resume(cluster, err);
    if (status) {
        mr_cluster_stop(&cluster);
        return status;
    }
    *out = cluster;
    return MR_OK;
}

/* ---- Stop --------------------------------------------------------------------------------- */

void
mr_cluster_halt(struct mr_cluster *cluster, int signal_number)
{
    if (cluster->server.pid <= 0)
        return;
    mr_proc_signal(&cluster->server, signal_number);
    if (!mr_proc_wait(&cluster->server, STOP_MS))
        (void)mr_proc_stop(&cluster->server, SIGQUIT, STOP_MS);
}

void
mr_cluster_stop(struct mr_cluster **cluster)
{
    struct mr_cluster *gone = cluster ? *cluster : NULL;

    if (!gone)
        return;
    mr_cluster_halt(gone, SIGINT);
    if (gone->temp[0])
        remove_tree(gone->temp);
    for (size_t i = 0; gone->settings[i]; i++)
        free(gone->settings[i]);
    free(gone);
    *cluster = NULL;
}

const char *
mr_cluster_conninfo(const struct mr_cluster *cluster)
{
    return cluster->conninfo;
}

const char *
mr_cluster_log_path(const struct mr_cluster *cluster)
{
    return cluster->log;
}

const char *
mr_cluster_bin_dir(const struct mr_cluster *cluster)
{
    return cluster->bin;
}

const char *
mr_cluster_note(const struct mr_cluster *cluster)
{
    return cluster->note;
}

bool
mr_cluster_is_alive(struct mr_cluster *cluster)
{
    return mr_proc_is_alive(&cluster->server);
}

pid_t
mr_cluster_pid(const struct mr_cluster *cluster)
{
    return cluster->server.pid;
}
