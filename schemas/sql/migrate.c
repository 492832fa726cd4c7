#include "schemas/sql/migrate.h"

#include <stdio.h>
#include <string.h>

#include "schemas/sql/migrate_files.h"
#include "schemas/sql/pg_priv.h"

#define DAYS_AHEAD 3
#define LOCK_SQL "select pg_advisory_lock(28018, 0)" /* 0x6d72; shards: store.c */
#define UNLOCK_SQL "select pg_advisory_unlock(28018, 0)"

static const char base_sql[] =
    "create schema if not exists millrace; "
    "create table if not exists millrace.migration (set text not null, "
    "number integer not null, name text not null, digest text not null, "
    "applied_at timestamptz not null default clock_timestamp(), "
    "primary key (set, number)); "
    "comment on table millrace.migration is 'Schema files that were applied.'; "
    "comment on column millrace.migration.digest is 'SHA-256 of the file';";

/* Once roles.sql was applied, what files make belongs to the owner from the start. */
static const char become_owner_sql[] =
    "select set_config('role', r.rolname, true) from pg_namespace n join pg_roles r "
    "on r.oid = n.nspowner where n.nspname = 'millrace' and r.rolname = "
    "'millrace_owner'";

/* What is recorded of a file: '' if nothing. */
static const char recorded_sql[] =
    "select m.digest = encode(sha256(convert_to($3, 'UTF8')), 'hex') "
    "from millrace.migration m where m.set = $1 and m.number = $2::integer";
static const char record_sql[] =
    "insert into millrace.migration (set, number, name, digest) "
    "values ($1, $2::integer, $4, encode(sha256(convert_to($3, 'UTF8')), 'hex'))";

static int
last_number(const char *set)
{
    int last = 0;

    for (const struct mr_migration *file = mr_migrate_files; file->set; file++) {
        if (strcmp(file->set, set) == 0)
            last = file->number;
    }
    return last;
}

static enum mr_status
too_new(const char *set, int have, int known, struct mr_err *err)
{
    return mr_err_setf(err, MR_VERSION, "the database is newer than this program",
        "Install the newer millrace.",
        "its schema \"%s\" has version %d, this program knows %d", set, have, known);
}

static enum mr_status
database_number(struct mr_pg *pg, const char *set, int *number, struct mr_err *err)
{
    struct pg_result *result = NULL;
    const char *const params[] = {set};
    enum mr_status status =
        mr_pg_run(pg, "select max(number) from millrace.migration where set = $1", 1,
            params, &result, err);

    if (status != MR_OK)
        return status;
    *number = (int)mr_pg_int(result, 0, 0);
    mr_pg_free_result(&result);
    return MR_OK;
}

/* *is_there: applied before, as it is now. */
static enum mr_status
is_applied(
    struct mr_pg *pg, const struct mr_migration *file, bool *is_there, struct mr_err *err)
{
    struct pg_result *result = NULL;
    char number[16];
    const char *const params[] = {file->set, number, file->text};
    enum mr_status status;

    snprintf(number, sizeof number, "%d", file->number);
    status = mr_pg_run(pg, recorded_sql, 3, params, &result, err);
    if (status != MR_OK)
        return status;
    *is_there = mr_pg_rows(result) > 0;
    if (*is_there && strcmp(mr_pg_text(result, 0, 0), "t") != 0)
        status = mr_err_setf(err, MR_VERSION, "a schema file was changed",
            "Released files are never edited: put the change into a new one, or use the "
            "millrace that made this database.",
            "%s is not the text that was applied to this database", file->name);
    mr_pg_free_result(&result);
    return status;
}

static enum mr_status
apply(struct mr_pg *pg, const struct mr_migration *file, struct mr_err *err)
{
    char number[16], what[160];
    const char *const params[] = {file->set, number, file->text, file->name};
    enum mr_status status = mr_pg_begin(pg, err);

    snprintf(number, sizeof number, "%d", file->number);
    snprintf(what, sizeof what, "cannot apply %s", file->name);
    if (status == MR_OK && strcmp(file->set, "millrace") == 0)
        status = mr_pg_script(pg, become_owner_sql, "cannot become millrace_owner", err);
    if (status == MR_OK)
        status = mr_pg_script(pg, file->text, what, err);
    if (status == MR_OK)
        status = mr_pg_run(pg, record_sql, 4, params, NULL, err);
    if (status == MR_OK)
        status = mr_pg_script(pg, "commit", what, err);
    if (status != MR_OK)
        mr_pg_rollback(pg);
    return status;
}

static enum mr_status
apply_roles(struct mr_pg *pg, struct mr_err *err)
{
    static const char what[] = "cannot set up the database's roles";
    enum mr_status status = mr_pg_begin(pg, err);

    if (status == MR_OK)
        status = mr_pg_script(pg, mr_migrate_roles, what, err);
    if (status == MR_OK)
        status = mr_pg_script(pg, "commit", what, err);
    if (status != MR_OK)
        mr_pg_rollback(pg);
    return status;
}

static enum mr_status
apply_set(struct mr_pg *pg, const char *set, int *applied, struct mr_err *err)
{
    enum mr_status status;
    int have = 0;

    status = mr_pg_script(pg, base_sql, "cannot prepare the schema", err);
    if (status == MR_OK)
        status = database_number(pg, set, &have, err);
    if (status == MR_OK && have > last_number(set))
        status = too_new(set, have, last_number(set), err);
    for (const struct mr_migration *file = mr_migrate_files; status == MR_OK && file->set;
         file++) {
        bool is_there = false;

        if (strcmp(file->set, set) != 0)
            continue;
        status = is_applied(pg, file, &is_there, err);
        if (status == MR_OK && !is_there) {
            status = apply(pg, file, err);
            *applied += status == MR_OK;
        }
    }
    return status;
}

enum mr_status
mr_migrate(struct mr_pg *pg, const char *set, int *applied, struct mr_err *err)
{
    enum mr_status status, unlocked;
    int made = 0, dropped = 0;

    *applied = 0;
    if (last_number(set) == 0)
        return mr_err_setf(err, MR_NOT_FOUND, "cannot migrate",
            "Known sets are millrace and ride.", "there is no set \"%s\"", set);
    /* Two at a time: the second waits, and finds everything done. */
    status = mr_pg_script(pg, LOCK_SQL, "cannot lock the schema", err);
    if (status != MR_OK)
        return status;
    status = apply_set(pg, set, applied, err);
    if (status == MR_OK)
        status = apply_roles(pg, err);
    if (status == MR_OK && strcmp(set, "millrace") == 0)
        status = mr_partitions_keep(pg, DAYS_AHEAD, 0, &made, &dropped, err);
    unlocked = mr_pg_script(
        pg, UNLOCK_SQL, "cannot unlock the schema", status == MR_OK ? err : NULL);
    return status == MR_OK ? unlocked : status;
}

enum mr_status
mr_migrate_check(struct mr_pg *pg, struct mr_err *err)
{
    int have = 0, need = last_number("millrace");
    enum mr_status status = database_number(pg, "millrace", &have, err);

    if (status == MR_VERSION || (status == MR_OK && have == 0))
        return mr_err_set(err, MR_VERSION, "the database has no schema of millrace",
            "nothing was ever set up in it", "Run: millrace migrate");
    if (status != MR_OK)
        return status;
    if (have > need)
        return too_new("millrace", have, need, err);
    if (have < need)
        return mr_err_setf(err, MR_VERSION, "the database is older than this program",
            "Run: millrace migrate", "its schema has version %d, this program needs %d",
            have, need);
    return MR_OK;
}
