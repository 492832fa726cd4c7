#include "schemas/sql/audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "schemas/sql/store_priv.h"

/* ---- writing ----------------------------------------------------------------------------------- */

typedef void (*put_fn)(struct mr_bin *bin, const struct mr_audit_row *row);

#define PUT(name, expression)                                                            \
    static void name(struct mr_bin *bin, const struct mr_audit_row *row)                 \
    {                                                                                    \
        expression;                                                                      \
    }
PUT(put_at, mr_bin_put_some_time(bin, row->at_us))
PUT(put_principal, mr_bin_put_some_words(bin, row->principal))
PUT(put_key, mr_bin_put_some_words(bin, row->key))
PUT(put_action, mr_bin_put_some_words(bin, row->action))
PUT(put_object, mr_bin_put_some_words(bin, row->object))
PUT(put_decision,
    mr_bin_put_bytes(bin, mr_span_str(row->is_allowed ? "allowed" : "refused")))
PUT(put_count, mr_bin_put_int8(bin, row->count ? (int64_t)row->count : 1))
PUT(put_detail, mr_bin_put_some_words(bin, row->detail))
PUT(put_source, mr_bin_put_some_words(bin, row->source))

/* As MR_STMT_AUDIT takes them. */
static const struct {
    enum mr_bin_type type;
    put_fn put;
} cols[] = {
    {MR_BIN_TIME, put_at},
    {MR_BIN_TEXT, put_principal},
    {MR_BIN_TEXT, put_key},
    {MR_BIN_TEXT, put_action},
    {MR_BIN_TEXT, put_object},
    {MR_BIN_TEXT, put_decision},
    {MR_BIN_INT8, put_count},
    {MR_BIN_TEXT, put_detail},
    {MR_BIN_TEXT, put_source},
};

void
mr_store_arg_audit(
    struct mr_store *store, const struct mr_audit_row *rows, uint32_t count)
{
    mr_stmt_args_reset(&store->args);
    for (size_t i = 0; i < sizeof cols / sizeof *cols; i++) {
        struct mr_bin *bin = mr_stmt_arg(&store->args);
        size_t mark = mr_bin_array_open(bin, cols[i].type);

        for (uint32_t at = 0; at < count; at++)
            cols[i].put(bin, &rows[at]);
        mr_bin_array_close(bin, mark, count);
    }
    mr_bin_put_int4(mr_stmt_arg(&store->args), (int32_t)store->shard);
    mr_bin_put_int8(mr_stmt_arg(&store->args), (int64_t)store->epoch);
}

enum mr_status
mr_store_audit(struct mr_store *store, const struct mr_audit_row *rows, uint32_t count,
    struct mr_err *err)
{
    enum mr_status status = mr_store_is_ready(store, err);

    if (status != MR_OK || count == 0)
        return status;
    mr_store_arg_audit(store, rows, count);
    return mr_pg_exec(store->pg, MR_STMT_AUDIT, &store->args, NULL, err);
}

/* ---- reading ----------------------------------------------------------------------------------- */

/* In the order of enum mr_audit_column. */
#define COLUMNS                                                                          \
    "a.seq, case when isfinite(a.at) then "                                              \
    "trunc(extract(epoch from a.at) * 1000000)::bigint end, a.principal, a.key, "        \
    "a.action, a.object, a.decision, a.count, a.detail, a.source, a.shard, a.epoch, "    \
    "encode(a.previous, 'hex'), encode(a.hash, 'hex') from millrace.audit a "

static uint32_t
hand_out(const struct pg_result *result, mr_audit_fn fn, void *context)
{
    int rows = mr_pg_rows(result);

    for (int row = 0; row < rows; row++) {
        const char *columns[MR_AUDIT_COLUMNS];

        for (int i = 0; i < MR_AUDIT_COLUMNS; i++)
            columns[i] = mr_pg_text(result, row, i);
        if (!fn(context, columns))
            break;
    }
    return (uint32_t)rows;
}

enum mr_status
mr_audit_read(struct mr_pg *pg, int64_t after, uint32_t limit, mr_audit_fn fn,
    void *context, uint32_t *count, struct mr_err *err)
{
    struct pg_result *result = NULL;
    char after_text[24], limit_text[16];
    const char *const params[] = {after_text, limit_text};
    enum mr_status status;

    *count = 0;
    snprintf(after_text, sizeof after_text, "%" PRId64, after);
    snprintf(limit_text, sizeof limit_text, "%" PRIu32, limit);
    status = mr_pg_run(pg,
        "select " COLUMNS "where a.seq > $1::bigint order by a.seq limit $2::bigint", 2,
        params, &result, err);
    if (status != MR_OK)
        return status;
    *count = hand_out(result, fn, context);
    mr_pg_free_result(&result);
    return MR_OK;
}

enum mr_status
mr_audit_read_end(struct mr_pg *pg, struct mr_audit_end *end, struct mr_err *err)
{
    struct pg_result *result = NULL;
    enum mr_status status = mr_pg_run(pg,
        "select h.seq, encode(h.hash, 'hex'), r.last, r.rows from (select max(a.seq) as "
        "last, count(*) as rows from millrace.audit a) r "
        "left join millrace.audit_head h on true",
        0, NULL, &result, err);
    const char *hash;

    *end = (struct mr_audit_end){0};
    if (status != MR_OK)
        return status;
    hash = mr_pg_text(result, 0, 1);
    end->has_head = mr_pg_rows(result) == 1 && hash && strlen(hash) == 64;
    if (end->has_head) {
        end->head_seq = mr_pg_int(result, 0, 0);
        memcpy(end->head_hash, hash, sizeof end->head_hash);
    }
    end->last_seq = mr_pg_int(result, 0, 2);
    end->rows = mr_pg_int(result, 0, 3);
    mr_pg_free_result(&result);
    return MR_OK;
}

enum mr_status
mr_audit_list(struct mr_pg *pg, const struct mr_audit_filter *filter, mr_audit_fn fn,
    void *context, struct mr_err *err)
{
    struct pg_result *result = NULL;
    char since[24], limit[16];
    const char *const params[] = {
        filter->principal, since, filter->is_refused ? "t" : "f", limit};
    enum mr_status status;

    snprintf(since, sizeof since, "%" PRId64, filter->since_us);
    snprintf(limit, sizeof limit, "%" PRIu32, filter->limit);
    status = mr_pg_run(pg,
        "select " COLUMNS "where ($1::text is null or a.principal = $1) "
        "and a.at >= 'epoch'::timestamptz + $2::bigint * interval '1 microsecond' "
        "and (not $3::boolean or a.decision = 'refused') "
        "order by a.seq desc limit $4::bigint",
        4, params, &result, err);
    if (status != MR_OK)
        return status;
    (void)hand_out(result, fn, context);
    mr_pg_free_result(&result);
    return MR_OK;
}
