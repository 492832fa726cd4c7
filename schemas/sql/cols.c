#include "schemas/sql/cols.h"

typedef void (*put_fn)(struct mr_bin *bin, const struct mr_store_op *op, uint32_t shard);

struct col {
    enum mr_bin_type type;
    put_fn put;
};

struct mr_cols {
    const struct col *cols;
    int count;
};

#define COL(name, expression)                                                            \
    static void name(struct mr_bin *bin, const struct mr_store_op *op, uint32_t shard)   \
    {                                                                                    \
        (void)op;                                                                        \
        (void)shard;                                                                     \
        expression;                                                                      \
    }

/* ---- job --------------------------------------------------------------------------------------- */

COL(put_id, mr_bin_put_uuid(bin, op->id))
COL(put_submitted_at, mr_bin_put_some_time(bin, op->submitted_at_us))
COL(put_shard, mr_bin_put_int4(bin, (int32_t)shard))
COL(put_priority, mr_bin_put_int2(bin, op->job.priority))
COL(put_queue, mr_bin_put_bytes(bin, op->job.queue))
COL(put_kind, mr_bin_put_bytes(bin, op->job.kind))
COL(put_lane, mr_bin_put_some_bytes(bin, op->job.lane))
COL(put_run_at, mr_bin_put_some_time(bin, op->job.run_at_us))
COL(put_expires_at, mr_bin_put_some_time(bin, op->job.expires_at_us))
COL(put_timeout, mr_bin_put_some_int8(bin, op->job.timeout_ms))
COL(put_attempts_max, mr_bin_put_some_int4(bin, op->job.attempts_max))
COL(put_backoff_base, mr_bin_put_some_int8(bin, op->job.backoff_base_ms))
COL(put_backoff_cap, mr_bin_put_some_int8(bin, op->job.backoff_cap_ms))
COL(put_backoff_factor, mr_bin_put_some_int2(bin, op->job.backoff_factor_percent))
COL(put_backoff_jitter, mr_bin_put_jitter(bin, op->job.backoff_jitter))
COL(put_submitted_by, mr_bin_put_some_words(bin, op->submitted_by))
COL(put_trace, mr_bin_put_some_words(bin, op->job.trace))
COL(put_payload, mr_bin_put_some_bytes(bin, op->job.payload))
COL(put_redrive_of, mr_bin_put_some_uuid(bin, op->job.redrive_of))

static const struct col job[] = {
    {MR_BIN_UUID, put_id},
    {MR_BIN_TIME, put_submitted_at},
    {MR_BIN_INT4, put_shard},
    {MR_BIN_INT2, put_priority},
    {MR_BIN_TEXT, put_queue},
    {MR_BIN_TEXT, put_kind},
    {MR_BIN_TEXT, put_lane},
    {MR_BIN_TIME, put_run_at},
    {MR_BIN_TIME, put_expires_at},
    {MR_BIN_INT8, put_timeout},
    {MR_BIN_INT4, put_attempts_max},
    {MR_BIN_INT8, put_backoff_base},
    {MR_BIN_INT8, put_backoff_cap},
    {MR_BIN_INT2, put_backoff_factor},
    {MR_BIN_INT2, put_backoff_jitter},
    {MR_BIN_TEXT, put_submitted_by},
    {MR_BIN_TEXT, put_trace},
    {MR_BIN_BYTEA, put_payload},
    {MR_BIN_UUID, put_redrive_of},
};

/* ---- attempt, result ----------------------------------------------------------------------------- */

COL(put_attempt, mr_bin_put_int4(bin, (int32_t)op->attempt))
COL(put_attempt_outcome, mr_bin_put_int2(bin, (int16_t)op->attempt_outcome))
COL(put_outcome, mr_bin_put_int2(bin, (int16_t)op->outcome))
COL(put_reason, mr_bin_put_some_int2(bin, op->reason))
COL(put_started_at, mr_bin_put_some_time(bin, op->started_at_us))
COL(put_finished_at, mr_bin_put_some_time(bin, op->finished_at_us))
COL(put_retry_at, mr_bin_put_some_time(bin, op->retry_at_us))
COL(put_worker, mr_bin_put_some_words(bin, op->worker))
COL(put_text, mr_bin_put_some_words(bin, op->text))

static const struct col attempt[] = {
    {MR_BIN_UUID, put_id},
    {MR_BIN_INT4, put_attempt},
    {MR_BIN_INT2, put_attempt_outcome},
    {MR_BIN_TIME, put_started_at},
    {MR_BIN_TIME, put_finished_at},
    {MR_BIN_TIME, put_retry_at},
    {MR_BIN_TEXT, put_worker},
    {MR_BIN_TEXT, put_text},
};

static const struct col result[] = {
    {MR_BIN_UUID, put_id},
    {MR_BIN_INT4, put_attempt},
    {MR_BIN_INT2, put_outcome},
    {MR_BIN_TIME, put_started_at},
    {MR_BIN_TIME, put_finished_at},
    {MR_BIN_TEXT, put_worker},
    {MR_BIN_TEXT, put_text},
    {MR_BIN_INT2, put_reason},
};

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

const struct mr_cols mr_cols_job = {job, COUNT(job)};
const struct mr_cols mr_cols_attempt = {attempt, COUNT(attempt)};
const struct mr_cols mr_cols_result = {result, COUNT(result)};

void
mr_cols_arrays(const struct mr_cols *cols, struct mr_args *args,
    const struct mr_store_op *ops, const uint32_t *order, uint32_t from, uint32_t to,
    uint32_t shard)
{
    mr_stmt_args_reset(args);
    for (int i = 0; i < cols->count; i++) {
        struct mr_bin *bin = mr_stmt_arg(args);
        size_t mark = mr_bin_array_open(bin, cols->cols[i].type);

        for (uint32_t at = from; at < to; at++)
            cols->cols[i].put(bin, &ops[order[at]], shard);
        mr_bin_array_close(bin, mark, to - from);
    }
}

void
mr_cols_row(const struct mr_cols *cols, struct mr_bin *bin, const struct mr_store_op *op,
    uint32_t shard)
{
    mr_bin_i16(bin, (int16_t)cols->count);
    for (int i = 0; i < cols->count; i++)
        cols->cols[i].put(bin, op, shard);
}
