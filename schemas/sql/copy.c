#include "schemas/sql/store_priv.h"

#include <string.h>

#include <libpq-fe.h>

#define CHUNK_BYTES (256u * 1024)

static const char what[] = "store jobs by COPY";
static const char start_sql[] =
    "copy millrace.job (id, submitted_at, shard, priority, queue, kind, lane, run_at, "
    "expires_at, timeout_ms, attempts_max, backoff_base_ms, backoff_cap_ms, "
    "backoff_factor_percent, backoff_jitter_percent, submitted_by, trace, payload, "
    "redrive_of) "
    "from stdin (format binary)";
/* Signature, flags, length of the header's extension. */
static const char header[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0";

static bool
put_rows(struct mr_store *store, const struct mr_store_batch *batch, uint32_t from,
    uint32_t to)
{
    struct mr_bin *bin = &store->args.bin;

    mr_stmt_args_reset(&store->args);
    mr_bin_raw(bin, header, sizeof header - 1);
    for (uint32_t at = from; at < to; at++) {
        mr_cols_row(&mr_cols_job, bin, &batch->ops[store->order[at]], store->shard);
        if (bin->is_full)
            return false;
        if (bin->n < CHUNK_BYTES)
            continue;
        if (PQputCopyData(store->pg->conn, (const char *)bin->p, (int)bin->n) != 1)
            return false;
        mr_bin_reset(bin);
    }
    mr_bin_i16(bin, -1);
    return !bin->is_full &&
           PQputCopyData(store->pg->conn, (const char *)bin->p, (int)bin->n) == 1;
}

enum mr_status
mr_copy_jobs(struct mr_store *store, const struct mr_store_batch *batch, uint32_t from,
    uint32_t to, struct mr_err *err)
{
    struct mr_pg *pg = store->pg;
    struct pg_result *result = NULL;
    enum mr_status status = MR_OK;
    bool is_whole;

    if (!PQsendQuery(pg->conn, start_sql))
        return mr_pg_fail(pg, NULL, what, err);
    result = mr_pg_next(pg);
    if (PQresultStatus(result) != PGRES_COPY_IN) {
        status = mr_pg_fail(pg, result, what, err);
        goto out;
    }
    is_whole = put_rows(store, batch, from, to);
    if (PQputCopyEnd(pg->conn, is_whole ? NULL : "cut off by the client") != 1) {
        status = mr_pg_fail(pg, NULL, what, err);
        goto out;
    }
    PQclear(result);
    result = mr_pg_next(pg);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        status = mr_pg_fail(pg, result, what, err);
out:
    PQclear(result);
    mr_pg_drain(pg);
    return status;
}
