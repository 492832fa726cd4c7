#include "client/dev_keys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schemas/sql/principal.h"
#include "schemas/wire/curve.h"

#define DIR_BYTES 4000 /* dev.c takes no longer one */

static void
place(
    const struct mr_dev_keys *keys, const char *name, const char *ext, char out[PATH_MAX])
{
    (void)snprintf(out, PATH_MAX, "%.*s/%s.%s", DIR_BYTES, keys->dir, name, ext);
}

static enum mr_status
make_one(const struct mr_dev_keys *keys, const char *name, struct mr_err *err)
{
    char path[PATH_MAX];
    struct mr_curve *curve;
    enum mr_status status;

    place(keys, name, "key", path);
    if (access(path, F_OK) == 0)
        return MR_OK;
    status = mr_curve_new(&curve, err);
    if (status == MR_OK)
        status = mr_curve_write(curve, keys->dir, name, err);
    mr_curve_destroy(&curve);
    return status;
}

enum mr_status
mr_dev_keys_make(struct mr_dev_keys *keys, const char *dir, struct mr_err *err)
{
    static const char *const names[] = {MR_DEV_BROKER, MR_DEV_ME, MR_DEV_WORKER};
    enum mr_status status = MR_OK;

    (void)snprintf(keys->dir, sizeof keys->dir, "%.*s/keys", DIR_BYTES - 8, dir);
    if (mkdir(keys->dir, 0700) != 0 && errno != EEXIST)
        return mr_err_setf(err, MR_DENIED, "The folder cannot be made.",
            "Choose another folder with --data DIR.", "%.400s: %s.", keys->dir,
            strerror(errno));
    place(keys, MR_DEV_BROKER, "key", keys->broker_key);
    place(keys, MR_DEV_BROKER, "pub", keys->broker_pub);
    place(keys, MR_DEV_ME, "key", keys->my_key);
    place(keys, MR_DEV_WORKER, "key", keys->worker_key);
    for (size_t i = 0; i < sizeof names / sizeof *names && status == MR_OK; i++)
        status = make_one(keys, names[i], err);
    return status;
}

/* ---- registering ------------------------------------------------------------------------------ */

static enum mr_status
count(struct mr_pg *pg, const char *sql, const char *param, int64_t *out,
    struct mr_err *err)
{
    struct pg_result *result = NULL;
    enum mr_status status = mr_pg_run(pg, sql, 1, &param, &result, err);

    *out = status ? 0 : mr_pg_int(result, 0, 0);
    mr_pg_free_result(&result);
    return status;
}

static enum mr_status
change(struct mr_pg *pg, enum mr_principal_verb verb, const char *name, const char *key,
    const char *role, struct mr_err *err)
{
    struct mr_principal_change wanted = {.verb = verb};
    char text[MR_PRINCIPAL_TEXT_BYTES];

    wanted.fields[MR_PRINCIPAL_NAME] = name;
    wanted.fields[MR_PRINCIPAL_KEY] = key;
    wanted.fields[verb == MR_PRINCIPAL_ADD ? MR_PRINCIPAL_ROLE : MR_PRINCIPAL_RIGHT] =
        role;
    return mr_principal_change(pg, &wanted, text, err);
}

static enum mr_status
add(struct mr_pg *pg, const char *name, const char *key, const char *const *roles,
    struct mr_err *err)
{
    enum mr_status status = change(pg, MR_PRINCIPAL_ADD, name, key, roles[0], err);

    for (int i = 1; roles[i] && status == MR_OK; i++)
        status = change(pg, MR_PRINCIPAL_GRANT, name, NULL, roles[i], err);
    return status;
}

static enum mr_status
register_one(const struct mr_dev_keys *keys, struct mr_pg *pg, const char *name,
    const char *const *roles, struct mr_err *err)
{
    char path[PATH_MAX], key[MR_CURVE_ROOM];
    int64_t principals, known;
    enum mr_status status;

    place(keys, name, "key", path);
    status = mr_curve_read_public(path, key, err);
    if (status == MR_OK)
        status = count(pg, "select count(*) from millrace.principal where name = $1",
            name, &principals, err);
    if (status == MR_OK)
        status = count(pg, "select count(*) from millrace.principal_key where key = $1",
            key, &known, err);
    if (status || known)
        return status;
    /* A folder of keys that was deleted: new ones for the same principal. */
    return principals ? change(pg, MR_PRINCIPAL_ROTATE, name, key, NULL, err)
                      : add(pg, name, key, roles, err);
}

enum mr_status
mr_dev_keys_register(const struct mr_dev_keys *keys, struct mr_pg *pg, struct mr_err *err)
{
    static const char *const all[] = {
        "front-end", "operator", "auditor", "administrator", NULL};
    static const char *const worker[] = {"worker", NULL};
    enum mr_status status = register_one(keys, pg, MR_DEV_ME, all, err);

    return status ? status : register_one(keys, pg, MR_DEV_WORKER, worker, err);
}
