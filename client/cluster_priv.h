/*
 * What cluster*.c share. Nobody else includes this.
 */
#ifndef MR_CLIENT_CLUSTER_PRIV_H
#define MR_CLIENT_CLUSTER_PRIV_H

#include <limits.h>

#include "client/cluster.h"
#include "client/proc.h"

#define MR_CLUSTER_SETTINGS_MAX 32

struct mr_cluster {
    char bin[PATH_MAX];
    char dir[PATH_MAX]; /* absolute */
    char data[PATH_MAX];
    char log[PATH_MAX];
    char socket_dir[PATH_MAX];
    char temp[PATH_MAX]; /* ours to remove; "" if there is none */
    char conninfo[PATH_MAX + 64];
    char note[512];
    bool has_user;
    uid_t uid;
    gid_t gid;
    char *settings[MR_CLUSTER_SETTINGS_MAX + 1];
    int timeout_ms;
    struct mr_proc server;
};

/* Fill `err`: what failed with which path, and errno unless it is 0. */
enum mr_status mr_cluster_fail(struct mr_err *err, enum mr_status status,
    const char *todo, const char *what_failed, const char *path);
/* The same where errno says nothing. */
enum mr_status mr_cluster_refuse(struct mr_err *err, enum mr_status status,
    const char *todo, const char *text, const char *path);

/* "dir/name"; false if it is too long. */
bool mr_cluster_join(char out[PATH_MAX], const char *dir, const char *name);

/* cluster_place.c: as whom PostgreSQL runs, where its data and its socket are. */
enum mr_status mr_cluster_place_choose(struct mr_cluster *cluster,
    const struct mr_cluster_options *options, struct mr_err *err) MR_MUST_CHECK;

#endif
