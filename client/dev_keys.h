/*
 * The keys of `millrace dev`: made once, kept in its folder, and known to its database. Main's
 * thread.
 */
#ifndef MR_CLIENT_DEV_KEYS_H
#define MR_CLIENT_DEV_KEYS_H

#include <limits.h>

#include "schemas/base/status.h"
#include "schemas/sql/pg.h"

/* Principals, and names of the files. `dev` may do everything, `dev-worker` run jobs. */
#define MR_DEV_BROKER "broker"
#define MR_DEV_ME "dev"
#define MR_DEV_WORKER "dev-worker"

struct mr_dev_keys {
    char dir[PATH_MAX]; /* of the files, mode 0700 */
    char broker_key[PATH_MAX], broker_pub[PATH_MAX];
    char my_key[PATH_MAX], worker_key[PATH_MAX];
};

/* Those that are missing are made, in `dir`/keys. `dir` is an absolute path. MR_DENIED: the folder. */
enum mr_status mr_dev_keys_make(
    struct mr_dev_keys *keys, const char *dir, struct mr_err *err) MR_MUST_CHECK;

/* The database knows them afterwards. What an administrator has changed since stays. */
enum mr_status mr_dev_keys_register(
    const struct mr_dev_keys *keys, struct mr_pg *pg, struct mr_err *err) MR_MUST_CHECK;

#endif
