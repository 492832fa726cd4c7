/*
 * A private PostgreSQL: created, started and stopped by us, reachable only through a unix
 * socket in a folder that nobody else may enter. It never touches a system-wide cluster.
 * PostgreSQL refuses to run as root: then it runs as the owner of its data folder, or as user
 * `postgres`, or as `nobody`. One thread, the one that lives longest (see proc.h).
 *
 * DIR/pg is the data folder, DIR/pg.log what the server says.
 */
#ifndef MR_CLIENT_CLUSTER_H
#define MR_CLIENT_CLUSTER_H

#include <stdbool.h>
#include <sys/types.h>

#include "schemas/base/status.h"

struct mr_cluster;

struct mr_cluster_options {
    /* Folder of the cluster, made if it is not there. NULL: a temporary one, removed by
     * mr_cluster_stop. */
    const char *dir;
    /* False: when PostgreSQL's user cannot enter `dir` (a checkout below /root), use a temporary
     * folder and say so in mr_cluster_note(). True: that is MR_DENIED. */
    bool is_dir_required;
    /* "name=value" settings of the server, NULL-ended; may be NULL. */
    const char *const *settings;
    /* For starting; 0: 60,000. */
    int timeout_ms;
};

/* Find the programs, create the cluster if there is none, start it, wait until it accepts
 * connections. What a killed predecessor left behind is cleared away first. MR_NOT_FOUND: no
 * PostgreSQL of version 15 or newer; MR_BUSY: another one runs on the folder; MR_DENIED;
 * MR_TIMEOUT; MR_STORE_DOWN: it ended again, with the last line of its log. */
enum mr_status mr_cluster_start(struct mr_cluster **out,
    const struct mr_cluster_options *options, struct mr_err *err) MR_MUST_CHECK;

/* Fast shutdown (then immediate, then killed), and the temporary folder is removed. NULL and
 * a pointer to NULL are fine. */
void mr_cluster_stop(struct mr_cluster **cluster);

/* Connection string: database and user "millrace". Lives as long as the cluster. */
const char *mr_cluster_conninfo(const struct mr_cluster *cluster);
const char *mr_cluster_log_path(const struct mr_cluster *cluster);
const char *mr_cluster_bin_dir(const struct mr_cluster *cluster); /* of psql and others */

/* One line for people about what is not as asked for; "" if there is nothing to say. */
const char *mr_cluster_note(const struct mr_cluster *cluster);

bool mr_cluster_is_alive(struct mr_cluster *cluster);
pid_t mr_cluster_pid(const struct mr_cluster *cluster);

/* For tests and supervisors: end the server with a signal (SIGINT fast, SIGQUIT at once, SIGKILL
 * as if the power failed) and keep the data; start it again at the same place. */
void mr_cluster_halt(struct mr_cluster *cluster, int signal_number);
enum mr_status mr_cluster_resume(
    struct mr_cluster *cluster, struct mr_err *err) MR_MUST_CHECK;

#endif
