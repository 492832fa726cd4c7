#include "schemas/sql/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "schemas/sql/migrate.h"
#include "schemas/sql/store_priv.h"

#define ANSWER_MS 30000
/* Of the advisory locks of shards; 0x6d72 is for the schema (migrate.c, 0001_millrace.sql). */
#define LOCK_CLASS 0x6d73
#define DAY_MS INT64_C(86400000)
#define RAISE_IDS_MAX 50000 /* finished ids that one look for the mark passes over */

/* ---- connection ------------------------------------------------------------------------------- */

enum mr_status
mr_store_is_ready(struct mr_store *store, struct mr_err *err)
{
    if (store->pg && mr_pg_is_alive(store->pg))
        return MR_OK;
    return mr_err_set(err, MR_STORE_DOWN, "PostgreSQL is away",
        "the connection was lost and is not back yet",
        "Check that PostgreSQL runs; we try again.");
}

/* Plans must not depend on statistics of tables that were empty when they were made: every
 * statement of ours has an index that is right at any size. A row that is held by a worker
 * that stopped half way may delay others for a second, not for ever. */
static const char setup_sql[] =
    "select set_config('enable_seqscan', 'off', false), "
    "set_config('enable_hashjoin', 'off', false), "
    "set_config('enable_mergejoin', 'off', false), "
    "set_config('plan_cache_mode', 'force_generic_plan', false), "
    "set_config('lock_timeout', '1s', false), "
    "('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint";

static enum mr_status
set_up(struct mr_store *store, struct mr_pg *pg, struct mr_err *err)
{
    struct pg_result *result = NULL;
    enum mr_status status = mr_pg_run(pg, setup_sql, 0, NULL, &result, err);
    int64_t timeline;

    if (status != MR_OK)
        return status;
    timeline = mr_pg_int(result, 0, 5);
    mr_pg_free_result(&result);
    if (timeline < store->timeline)
        return mr_err_setf(err, MR_STORE_DOWN, "this PostgreSQL is an old one",
            "Stop the server that was replaced, or take it out of the connection string.",
            "it is on timeline %lld, the one we wrote to was on %lld",
            (long long)timeline, (long long)store->timeline);
    store->timeline = timeline;
    return MR_OK;
}

static enum mr_status
connect_store(struct mr_store *store, struct mr_err *err)
{
    struct mr_pg *pg = NULL;
    char name[64], id[MR_UUID_TEXT_MAX];
    enum mr_status status;

    /* The last digits of an id are those that tell brokers apart; the first are a time. */
    snprintf(name, sizeof name, "millrace broker %s, shard %u",
        mr_uuid_format(store->broker, id) + 28, store->shard);
    status = mr_pg_open(&pg, store->conninfo, name, err);
    if (status != MR_OK)
        return status;
    pg->limit_ms = ANSWER_MS;
    status = mr_migrate_check(pg, err);
    if (status == MR_OK)
        status = set_up(store, pg, err);
    if (status == MR_OK)
        status = mr_stmt_prepare(pg, MR_STMT_STORE, err);
    if (status == MR_OK)
        status = mr_store_rights_listen(store, pg, err);
    if (status != MR_OK) {
        mr_pg_close(&pg);
        return status;
    }
    mr_pg_close(&store->pg);
    store->pg = pg;
    store->has_lock = false;
    return MR_OK;
}

enum mr_status
mr_store_open(struct mr_store **out, const char *conninfo, uint32_t shard,
    struct mr_uuid broker, struct mr_err *err)
{
    struct mr_store *store = calloc(1, sizeof *store);
    enum mr_status status;

    *out = NULL;
    if (!store)
        return mr_err_set(err, MR_NO_MEMORY, "cannot open the store", NULL, NULL);
    store->shard = shard;
    store->broker = broker;
    store->conninfo = strdup(conninfo);
    if (!store->conninfo) {
        mr_store_close(&store);
        return mr_err_set(err, MR_NO_MEMORY, "cannot open the store", NULL, NULL);
    }
    status = connect_store(store, err);
    if (status != MR_OK)
        mr_store_close(&store);
    *out = store;
    return status;
}

void
mr_store_close(struct mr_store **store)
{
    if (!*store)
        return;
    mr_pg_close(&(*store)->pg);
    mr_stmt_args_fini(&(*store)->args);
    free((*store)->order);
    free((*store)->doubted);
    free((*store)->conninfo);
    free(*store);
    *store = NULL;
}

enum mr_status
mr_store_reconnect(struct mr_store *store, struct mr_err *err)
{
    return connect_store(store, err);
}

/* ---- ownership ------------------------------------------------------------------------------------ */

static enum mr_status
try_lock(struct mr_store *store, struct mr_err *err)
{
    struct pg_result *result = NULL;
    enum mr_status status;
    char class_text[16], shard[16];
    const char *const params[] = {class_text, shard};

    if (store->has_lock)
        return MR_OK;
    snprintf(class_text, sizeof class_text, "%d", LOCK_CLASS);
    snprintf(shard, sizeof shard, "%d", (int)store->shard);
    status = mr_pg_run(store->pg, "select pg_try_advisory_lock($1::integer, $2::integer)",
        2, params, &result, err);
    if (status != MR_OK)
        return status;
    store->has_lock = strcmp(mr_pg_text(result, 0, 0), "t") == 0;
    mr_pg_free_result(&result);
    return MR_OK;
}

static enum mr_status
name_owner(struct mr_store *store, struct mr_err *err)
{
    struct pg_result *result = NULL;
    char shard[16];
    const char *const params[] = {shard};
    enum mr_status status;

    snprintf(shard, sizeof shard, "%d", (int)store->shard);
    status = mr_pg_run(store->pg,
        "select owner, endpoints, epoch, greatest(0, extract(epoch from "
        "lease_until - clock_timestamp())::numeric(12, 1)) "
        "from millrace.shard where shard = $1",
        1, params, &result, err);
    if (status != MR_OK)
        return status;
    if (mr_pg_rows(result) == 0)
        status = mr_err_set(err, MR_BUSY, "the shard is taken",
            "another broker is about to claim it", "Wait; we try again.");
    else
        status = mr_err_setf(err, MR_BUSY, "the shard is taken",
            "Nothing to do: this broker takes over when that one ends.",
            "broker %s at %s owns it under epoch %s; its lease has %s s left",
            mr_pg_text(result, 0, 0), mr_pg_text(result, 0, 1), mr_pg_text(result, 0, 2),
            mr_pg_text(result, 0, 3));
    mr_pg_free_result(&result);
    return status;
}

static enum mr_status
take_over(struct mr_store *store, const char *endpoints, uint32_t lease_ms,
    struct pg_result **result, struct mr_err *err)
{
    char shard[16], owner[MR_UUID_TEXT_MAX], lease[16];
    const char *const params[] = {
        shard, owner, endpoints, lease, store->has_lock ? "t" : "f"};

    snprintf(shard, sizeof shard, "%d", (int)store->shard);
    snprintf(lease, sizeof lease, "%u", lease_ms);
    mr_uuid_format(store->broker, owner);
    return mr_pg_run(store->pg,
        "insert into millrace.shard as s (shard, epoch, owner, endpoints, lease_until) "
        "values ($1, 1, $2, $3, clock_timestamp() + $4::bigint * interval '1 "
        "millisecond') "
        "on conflict (shard) do update set epoch = s.epoch + 1, owner = excluded.owner, "
        "endpoints = excluded.endpoints, lease_until = excluded.lease_until "
        "where $5::boolean or s.lease_until < clock_timestamp() returning epoch, "
        "low_water",
        5, params, result, err);
}

enum mr_status
mr_store_claim(struct mr_store *store, const char *endpoints, uint32_t lease_ms,
    uint64_t *epoch, struct mr_err *err)
{
    struct pg_result *result = NULL;
    enum mr_status status = mr_store_is_ready(store, err);

    if (status == MR_OK)
        status = try_lock(store, err);
    if (status == MR_OK)
        status = take_over(store, endpoints, lease_ms, &result, err);
    if (status != MR_OK)
        return status;
    if (mr_pg_rows(result) == 0) {
        mr_pg_free_result(&result);
        return name_owner(store, err);
    }
    store->epoch = (uint64_t)mr_pg_int(result, 0, 0);
    status = mr_uuid_parse(mr_span_str(mr_pg_text(result, 0, 1)), &store->low_water);
    mr_pg_free_result(&result);
    if (status != MR_OK)
        return mr_err_set(err, MR_INTERNAL, "cannot read the low-water mark", NULL, NULL);
    *epoch = store->epoch;
    return mr_store_look_ahead(store, err);
}

void
mr_store_arg_fence(struct mr_store *store)
{
    mr_stmt_args_reset(&store->args);
    mr_bin_put_int4(mr_stmt_arg(&store->args), (int32_t)store->shard);
    mr_bin_put_int8(mr_stmt_arg(&store->args), (int64_t)store->epoch);
}

enum mr_status
mr_store_renew(struct mr_store *store, uint32_t lease_ms, struct mr_err *err)
{
    struct pg_result *result = NULL;
    enum mr_status status = mr_store_is_ready(store, err);

    /* A new connection has to get its lock back. Without it the lease alone speaks for us. */
    if (status == MR_OK)
        status = try_lock(store, err);
    if (status != MR_OK)
        return status;
    mr_store_arg_fence(store);
    mr_bin_put_int8(mr_stmt_arg(&store->args), lease_ms);
    status = mr_pg_exec(store->pg, MR_STMT_RENEW, &store->args, &result, err);
    if (status != MR_OK)
        return status;
    if (mr_pg_rows(result) == 0)
        status = mr_err_setf(err, MR_FENCED, "the shard is lost",
            "Another broker owns it; stop this one.", "its epoch is not %llu any more",
            (unsigned long long)store->epoch);
    else if (mr_bin_int(result, 0, 1) != store->rights_version)
        store->has_heard = true;
    mr_pg_free_result(&result);
    return status;
}

/* ---- days, low-water mark ---------------------------------------------------------------------------- */

enum mr_status
mr_store_look_ahead(struct mr_store *store, struct mr_err *err)
{
    struct pg_result *result = NULL;
    enum mr_status status;
    int made = 0, dropped = 0;

    status = mr_partitions_keep(store->pg, MR_STORE_DAYS_AHEAD, 0, &made, &dropped, err);
    if (status != MR_OK)
        return status;
    /* The newest day's name; its end is where ids stop being taken. */
    status = mr_pg_run(store->pg,
        "select (extract(epoch from to_date(max(right(c.relname, 8)), 'YYYYMMDD')) "
        "* 1000)::bigint from pg_inherits i join pg_class c on c.oid = i.inhrelid "
        "where i.inhparent = 'millrace.job'::regclass and c.relname ~ '^job_[0-9]{8}$'",
        0, NULL, &result, err);
    if (status != MR_OK)
        return status;
    store->horizon_ms = mr_pg_int(result, 0, 0) + DAY_MS;
    mr_pg_free_result(&result);
    return MR_OK;
}

enum mr_status
mr_store_raise(struct mr_store *store, bool *more, struct mr_err *err)
{
    struct pg_result *result = NULL;
    enum mr_status status = mr_store_is_ready(store, err);

    *more = false;
    if (status != MR_OK)
        return status;
    mr_store_arg_fence(store);
    mr_bin_put_int8(mr_stmt_arg(&store->args), RAISE_IDS_MAX);
    status = mr_pg_exec(store->pg, MR_STMT_RAISE, &store->args, &result, err);
    if (status != MR_OK) {
        /* Raised or not: until it is known again, each batch of jobs sees to it itself. */
        memset(store->low_water.b, 0xff, sizeof store->low_water.b);
        return status;
    }
    if (mr_pg_rows(result) == 0) {
        status = mr_err_set(err, MR_FENCED, "the shard is lost", "its epoch has moved",
            "Another broker owns it; stop this one.");
    } else {
        store->low_water = mr_bin_uuid(result, 0, 0);
        *more = mr_bin_int(result, 0, 1) != 0;
    }
    mr_pg_free_result(&result);
    return status;
}

enum mr_status
mr_store_keep_house(struct mr_store *store, int retention_days, struct mr_err *err)
{
    enum mr_status status = mr_store_is_ready(store, err);
    int made = 0, dropped = 0;
    bool more;

    if (status == MR_OK)
        status = mr_store_raise(store, &more, err);
    if (status == MR_OK)
        status = mr_partitions_keep(store->pg, MR_STORE_DAYS_AHEAD,
            retention_days > 0 ? retention_days : 1, &made, &dropped, err);
    if (status == MR_OK)
        status = mr_store_look_ahead(store, err);
    return status;
}

/* ---- small tables ---------------------------------------------------------------------------------------- */

enum mr_status
mr_store_queues(struct mr_store *store, mr_queue_fn fn, void *context, struct mr_err *err)
{
    struct pg_result *result = NULL;
    enum mr_status status = mr_store_is_ready(store, err);

    if (status == MR_OK)
        status =
            mr_pg_run(store->pg, "select name, paused from millrace.queue order by name",
                0, NULL, &result, err);
    if (status != MR_OK)
        return status;
    for (int i = 0; i < mr_pg_rows(result); i++) {
        struct mr_span name = mr_span_str(mr_pg_text(result, i, 0));

        if (!fn(context, name, strcmp(mr_pg_text(result, i, 1), "t") == 0))
            break;
    }
    mr_pg_free_result(&result);
    return MR_OK;
}

/* Text parameters of PQexecParams end at a NUL: names with one are none. */
static enum mr_status
name_param(struct mr_span name, char out[MR_NAME_BYTES_MAX + 1], struct mr_err *err)
{
    if (name.n == 0 || name.n > MR_NAME_BYTES_MAX || memchr(name.p, 0, name.n))
        return mr_err_set(err, MR_BAD_ARGUMENT, "not a name",
            "names have 1 to 64 bytes and no NUL", NULL);
    memcpy(out, name.p, name.n);
    out[name.n] = '\0';
    return MR_OK;
}

static void
fence_params(const struct mr_store *store, char shard[16], char epoch[24])
{
    snprintf(shard, 16, "%d", (int)store->shard);
    snprintf(epoch, 24, "%llu", (unsigned long long)store->epoch);
}

enum mr_status
mr_store_set_paused(struct mr_store *store, struct mr_span queue, bool is_paused,
    const struct mr_audit_row *audit, struct mr_err *err)
{
    char name[MR_NAME_BYTES_MAX + 1];
    enum mr_status status = name_param(queue, name, err);
    struct mr_pipe pipe;

    if (status == MR_OK)
        status = mr_store_is_ready(store, err);
    if (status != MR_OK)
        return status;
    mr_pg_pipe_open(&pipe, store->pg, err);
    (void)mr_pg_pipe_add(&pipe, MR_STMT_BEGIN, NULL);
    mr_store_arg_fence(store);
    (void)mr_pg_pipe_add(&pipe, MR_STMT_FENCE, &store->args);
    mr_stmt_args_reset(&store->args);
    mr_bin_put_bytes(mr_stmt_arg(&store->args), queue);
    mr_bin_put_bool(mr_stmt_arg(&store->args), is_paused);
    (void)mr_pg_pipe_add(&pipe, MR_STMT_PAUSE, &store->args);
    mr_store_arg_audit(store, audit, 1);
    (void)mr_pg_pipe_add(&pipe, MR_STMT_AUDIT, &store->args);
    (void)mr_pg_pipe_add(&pipe, MR_STMT_COMMIT, NULL);
    status = mr_pg_pipe_run(&pipe);
    mr_pg_pipe_fini(&pipe);
    return status;
}

enum mr_status
mr_store_kinds(struct mr_store *store, mr_kind_fn fn, void *context, struct mr_err *err)
{
    struct pg_result *result = NULL;
    enum mr_status status = mr_store_is_ready(store, err);

    if (status == MR_OK)
        status = mr_pg_run(store->pg, "select name from millrace.kind order by name", 0,
            NULL, &result, err);
    if (status != MR_OK)
        return status;
    for (int i = 0; i < mr_pg_rows(result); i++) {
        if (!fn(context, mr_span_str(mr_pg_text(result, i, 0))))
            break;
    }
    mr_pg_free_result(&result);
    return MR_OK;
}

enum mr_status
mr_store_add_kinds(struct mr_store *store, const struct mr_span *kinds, uint32_t count,
    struct mr_err *err)
{
    enum mr_status status = mr_store_is_ready(store, err);

    /* At most a few hundred in the life of a system: one by one. */
    for (uint32_t i = 0; i < count && status == MR_OK; i++) {
        char name[MR_NAME_BYTES_MAX + 1], shard[16], epoch[24];
        const char *const params[] = {name, shard, epoch};

        fence_params(store, shard, epoch);
        status = name_param(kinds[i], name, err);
        if (status == MR_OK)
            status = mr_pg_run(store->pg,
                "with f as materialized (select millrace.fence($2::integer, $3::bigint)) "
                "insert into millrace.kind (name) select $1::text from f "
                "on conflict do nothing",
                3, params, NULL, err);
    }
    return status;
}
