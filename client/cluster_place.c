#include "client/cluster_priv.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOCKET_DIR_MAX 90 /* of the 107 bytes of a socket's path, its own name needs 15 */

enum mr_status
mr_cluster_fail(struct mr_err *err, enum mr_status status, const char *todo,
    const char *what_failed, const char *path)
{
    return mr_err_setf(err, status, "The private PostgreSQL could not be started.", todo,
        "%s %s%s%s", what_failed, path, errno ? ": " : ".", errno ? strerror(errno) : "");
}

/* The cause is in the text, not in errno. */
enum mr_status
mr_cluster_refuse(struct mr_err *err, enum mr_status status, const char *todo,
    const char *text, const char *path)
{
    errno = 0;
    return mr_cluster_fail(err, status, todo, text, path);
}

bool
mr_cluster_join(char out[PATH_MAX], const char *dir, const char *name)
{
    return snprintf(out, PATH_MAX, "%s/%s", dir, name) < PATH_MAX;
}

/* ---- Whose and where ---------------------------------------------------------------------- */

static void
choose_user(struct mr_cluster *cluster)
{
    static const char *const names[] = {"postgres", "nobody"};
    struct stat facts;

    if (geteuid() != 0)
        return;
    cluster->has_user = true;
    if (stat(cluster->data, &facts) == 0 && facts.st_uid != 0) {
        cluster->uid = facts.st_uid;
        cluster->gid = facts.st_gid;
        return;
    }
    cluster->uid = 65534;
    cluster->gid = 65534;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct passwd *entry = getpwnam(names[i]);

        if (entry && entry->pw_uid != 0) {
            cluster->uid = entry->pw_uid;
            cluster->gid = entry->pw_gid;
            return;
        }
    }
}

/* Asked in a child that has become that user: modes alone do not tell (ACLs, mounts). */
static bool
can_enter(const struct mr_cluster *cluster, const char *path, int mode)
{
    int status = -1;
    pid_t pid;

    if (!cluster->has_user)
        return access(path, mode) == 0;
    pid = fork();
    if (pid == 0)
        _exit(setgid(cluster->gid) != 0 || setuid(cluster->uid) != 0 ||
              access(path, mode) != 0);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static enum mr_status
make_dir(const char *path, struct mr_err *err)
{
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return mr_cluster_fail(err, MR_DENIED, "Choose another folder with --data DIR.",
            "cannot make the folder", path);
    return MR_OK;
}

/* A folder of our own that belongs to PostgreSQL's user. */
static enum mr_status
make_temp(struct mr_cluster *cluster, struct mr_err *err)
{
    const char *wanted = getenv("TMPDIR");
    const char *places[] = {wanted && wanted[0] == '/' ? wanted : "/tmp", "/tmp"};

    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char *temp = cluster->temp;

        if (snprintf(temp, PATH_MAX, "%s/millrace-XXXXXX", places[i]) > SOCKET_DIR_MAX ||
            !mkdtemp(temp)) {
            temp[0] = '\0';
            continue;
        }
        if ((!cluster->has_user || chown(temp, cluster->uid, cluster->gid) == 0) &&
            can_enter(cluster, temp, R_OK | W_OK | X_OK))
            return MR_OK;
        (void)rmdir(temp);
        temp[0] = '\0';
    }
    return mr_cluster_fail(err, MR_DENIED,
        "Set TMPDIR to a folder that every user may enter.",
        "cannot make a temporary folder in", places[0]);
}

static enum mr_status
use_dir(struct mr_cluster *cluster, const char *dir, struct mr_err *err)
{
    if (strlen(dir) > PATH_MAX - 32 || strpbrk(dir, "'\\\n"))
        return mr_cluster_refuse(err, MR_BAD_ARGUMENT,
            "Choose another folder with --data DIR.",
            "the name is too long, or has a quote or a backslash:", dir);
    (void)snprintf(cluster->dir, PATH_MAX, "%s", dir);
    (void)mr_cluster_join(cluster->data, dir, "pg");
    (void)mr_cluster_join(cluster->log, dir, "pg.log");
    return MR_OK;
}

static enum mr_status
use_temp(struct mr_cluster *cluster, struct mr_err *err)
{
    enum mr_status status = cluster->temp[0] ? MR_OK : make_temp(cluster, err);

    return status ? status : use_dir(cluster, cluster->temp, err);
}

static enum mr_status
cannot_enter(struct mr_cluster *cluster, const struct mr_cluster_options *options,
    struct mr_err *err)
{
    char dir[PATH_MAX];

    memcpy(dir, cluster->dir, sizeof dir);
    if (options->is_dir_required)
        return mr_cluster_refuse(err, MR_DENIED,
            "Choose a folder that every user may enter with --data DIR, or start "
            "millrace as an ordinary user.",
            "PostgreSQL does not run as root, and its user cannot enter", dir);
    (void)snprintf(cluster->note, sizeof cluster->note,
        "PostgreSQL's user cannot enter %.200s: the data is in a temporary folder and is "
        "removed at the end. To keep it: --data DIR, with a folder that every user may "
        "enter.",
        dir);
    return use_temp(cluster, err);
}

static enum mr_status
choose_dir(struct mr_cluster *cluster, const struct mr_cluster_options *options,
    struct mr_err *err)
{
    char absolute[PATH_MAX];
    enum mr_status status;

    if (!options->dir) {
        choose_user(cluster);
        return use_temp(cluster, err);
    }
    status = make_dir(options->dir, err);
    if (status)
        return status;
    if (!realpath(options->dir, absolute))
        return mr_cluster_fail(err, MR_DENIED, "Choose another folder with --data DIR.",
            "cannot enter", options->dir);
    status = use_dir(cluster, absolute, err);
    if (status)
        return status;
    choose_user(cluster);
    return can_enter(cluster, absolute, X_OK) ? MR_OK
                                              : cannot_enter(cluster, options, err);
}

static enum mr_status
choose_socket(struct mr_cluster *cluster, struct mr_err *err)
{
    enum mr_status status = MR_OK;

    if (strlen(cluster->data) > SOCKET_DIR_MAX) {
        status = cluster->temp[0] ? MR_OK : make_temp(cluster, err);
        (void)snprintf(cluster->socket_dir, PATH_MAX, "%s", cluster->temp);
    } else {
        (void)snprintf(cluster->socket_dir, PATH_MAX, "%s", cluster->data);
    }
    (void)snprintf(cluster->conninfo, sizeof cluster->conninfo,
        strchr(cluster->socket_dir, ' ') ? "host='%s' dbname=millrace user=millrace"
                                         : "host=%s dbname=millrace user=millrace",
        cluster->socket_dir);
    return status;
}

enum mr_status
mr_cluster_place_choose(struct mr_cluster *cluster,
    const struct mr_cluster_options *options, struct mr_err *err)
{
    enum mr_status status = choose_dir(cluster, options, err);

    return status ? status : choose_socket(cluster, err);
}
