#include <stdio.h>
#include <string.h>

#include "schemas/sql/migrate.h"
#include "schemas/sql/pg_priv.h"

#define STRAGGLERS_MAX 10000 /* more than so many unfinished jobs hold their day back */
#define DAYS_AT_ONCE 1000

/* Attaching and dropping want locks that everybody waits behind: if one is not free soon, the
 * next hour will do. */
static const char lock_timeout_sql[] = "set local lock_timeout = '300ms'";

/* One statement in a transaction of its own; *value is its first column. */
static enum mr_status
run_alone(struct mr_pg *pg, const char *sql, int count, const char *const *params,
    int64_t *value, struct mr_err *err)
{
    struct pg_result *result = NULL;
    enum mr_status status = mr_pg_begin(pg, err);

    *value = 0;
    if (status == MR_OK)
        status = mr_pg_script(pg, lock_timeout_sql, "keep partitions", err);
    if (status == MR_OK)
        status = mr_pg_run(pg, sql, count, params, &result, err);
    if (status == MR_OK)
        *value = mr_pg_int(result, 0, 0);
    mr_pg_free_result(&result);
    if (status == MR_OK)
        status = mr_pg_script(pg, "commit", "keep partitions", err);
    if (status != MR_OK)
        mr_pg_rollback(pg);
    return status;
}

static enum mr_status
make_days(struct mr_pg *pg, int days_ahead, int *made, struct mr_err *err)
{
    struct pg_result *result = NULL;
    char days[16];
    const char *const params[] = {days};
    int64_t count = 0;
    enum mr_status status;

    snprintf(days, sizeof days, "%d", days_ahead);
    /* Nearly always nothing is missing, and a look takes no lock. */
    status = mr_pg_run(
        pg, "select millrace.days_missing($1::integer)", 1, params, &result, err);
    if (status != MR_OK)
        return status;
    count = mr_pg_int(result, 0, 0);
    mr_pg_free_result(&result);
    if (count == 0)
        return MR_OK;
    status =
        run_alone(pg, "select millrace.days_make($1::integer)", 1, params, &count, err);
    *made = (int)count;
    return status;
}

static enum mr_status
drop_day(struct mr_pg *pg, const char *day, const char *retention, int *dropped,
    struct mr_err *err)
{
    char stragglers[16];
    const char *const params[] = {day, retention, stragglers};
    enum mr_status status;
    int64_t is_dropped = 0;

    snprintf(stragglers, sizeof stragglers, "%d", STRAGGLERS_MAX);
    status = run_alone(pg,
        "select millrace.day_drop($1::date, $2::integer, $3::integer)::integer", 3,
        params, &is_dropped, err);
    *dropped += (int)is_dropped;
    return strcmp(pg->sqlstate, "55P03") == 0 ? MR_OK : status;
}

static enum mr_status
drop_days(struct mr_pg *pg, int retention_days, int *dropped, struct mr_err *err)
{
    struct pg_result *days = NULL;
    char retention[16];
    const char *const params[] = {retention};
    enum mr_status status;
    int64_t swept;

    snprintf(retention, sizeof retention, "%d", retention_days);
    status =
        mr_pg_run(pg, "select millrace.days_old($1::integer)", 1, params, &days, err);
    for (int i = 0; status == MR_OK && i < mr_pg_rows(days) && i < DAYS_AT_ONCE; i++)
        status = drop_day(pg, mr_pg_text(days, i, 0), retention, dropped, err);
    mr_pg_free_result(&days);
    if (status != MR_OK)
        return status;
    return run_alone(
        pg, "select millrace.rest_sweep($1::integer)", 1, params, &swept, err);
}

enum mr_status
mr_partitions_keep(struct mr_pg *pg, int days_ahead, int retention_days, int *made,
    int *dropped, struct mr_err *err)
{
    enum mr_status status;

    *made = *dropped = 0;
    status = make_days(pg, days_ahead, made, err);
    if (status == MR_OK && retention_days > 0)
        status = drop_days(pg, retention_days, dropped, err);
    return status;
}
