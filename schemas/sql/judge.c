#include "schemas/sql/store_priv.h"

#include "schemas/base/mutant.h"

#include <libpq-fe.h>

/* Columns of MR_STMT_FIND and MR_STMT_JUDGE_JOBS. */
enum {
    COL_N,
    COL_IS_JOB,
    COL_OUTCOME,
    COL_ATTEMPT,
    COL_FINISHED_AT,
    COL_ERROR,
    COL_BODY,
    COL_LEFT_OUT,
    COL_SAME
};

struct looking {
    struct mr_store *store;
    struct mr_store_batch *batch;
    const uint32_t *pending; /* ops asked for */
    uint32_t count;
};

typedef void (*put_fn)(struct mr_bin *bin, const struct mr_store_op *op, uint32_t n);

static void
put_n(struct mr_bin *bin, const struct mr_store_op *op, uint32_t n)
{
    (void)op;
    mr_bin_put_int4(bin, (int32_t)n);
}

static void
put_id(struct mr_bin *bin, const struct mr_store_op *op, uint32_t n)
{
    (void)n;
    mr_bin_put_uuid(bin, op->id);
}

static void
put_queue(struct mr_bin *bin, const struct mr_store_op *op, uint32_t n)
{
    (void)n;
    mr_bin_put_bytes(bin, op->job.queue);
}

static void
put_kind(struct mr_bin *bin, const struct mr_store_op *op, uint32_t n)
{
    (void)n;
    mr_bin_put_bytes(bin, op->job.kind);
}

static void
put_payload(struct mr_bin *bin, const struct mr_store_op *op, uint32_t n)
{
    (void)n;
    mr_bin_put_some_bytes(bin, op->job.payload);
}

static void
put_submitted_by(struct mr_bin *bin, const struct mr_store_op *op, uint32_t n)
{
    (void)n;
    mr_bin_put_some_words(bin, op->submitted_by);
}

static void
put_array(const struct looking *look, enum mr_bin_type type, put_fn put)
{
    struct mr_bin *bin = mr_stmt_arg(&look->store->args);
    size_t mark = mr_bin_array_open(bin, type);

    for (uint32_t i = 0; i < look->count; i++)
        put(bin, &look->batch->ops[look->pending[i]], i);
    mr_bin_array_close(bin, mark, look->count);
}

static enum mr_status
ask(const struct looking *look, bool for_jobs, struct pg_result **result,
    struct mr_err *err)
{
    struct mr_args *args = &look->store->args;

    mr_stmt_args_reset(args);
    put_array(look, MR_BIN_INT4, put_n);
    put_array(look, MR_BIN_UUID, put_id);
    if (for_jobs) {
        put_array(look, MR_BIN_TEXT, put_queue);
        put_array(look, MR_BIN_TEXT, put_kind);
        put_array(look, MR_BIN_BYTEA, put_payload);
        put_array(look, MR_BIN_TEXT, put_submitted_by);
    }
    mr_bin_put_int8(mr_stmt_arg(args), MR_STORE_FOUND_BYTES);
    return mr_pg_exec(
        look->store->pg, for_jobs ? MR_STMT_JUDGE_JOBS : MR_STMT_FIND, args, result, err);
}

/* False if the arena is full: the submitter is told to come again. */
static bool
take_found(struct mr_store_batch *batch, struct mr_store_op *op,
    const struct pg_result *result, int row)
{
    op->found_outcome = (enum mr_outcome)mr_bin_int(result, row, COL_OUTCOME);
    op->found_attempt = (uint32_t)mr_bin_int(result, row, COL_ATTEMPT);
    op->found_finished_at_us = mr_bin_time(result, row, COL_FINISHED_AT);
    return mr_arena_copy(
               batch->arena, mr_bin_span(result, row, COL_ERROR), &op->found_text) &&
           mr_arena_copy(
               batch->arena, mr_bin_span(result, row, COL_BODY), &op->found_body);
}

static void
judge_one(struct mr_store_batch *batch, struct mr_store_op *op,
    const struct pg_result *result, int row)
{
    bool is_finished = !mr_bin_is_null(result, row, COL_OUTCOME);

    if (op->type == MR_STORE_JOB && !mr_bin_int(result, row, COL_IS_JOB))
        op->status = MR_BUSY; /* what was in the way is gone */
    else if (op->type == MR_STORE_JOB && !mr_bin_int(result, row, COL_SAME) &&
             !MR_MUTANT(replay_uncompared))
        op->status = MR_CONFLICT;
    else if (op->type == MR_STORE_JOB && !is_finished)
        op->status = MR_KNOWN;
    else if (!is_finished)
        op->status = MR_BUSY;
    else
        op->status = take_found(batch, op, result, row) ? MR_FINISHED : MR_BUSY;
}

/* Judges what was answered in full; the others move to the front of `pending`. */
static uint32_t
judge_answers(
    const struct looking *look, uint32_t *pending, const struct pg_result *result)
{
    uint32_t left = 0;

    for (int row = 0; row < PQntuples(result); row++) {
        uint32_t n = (uint32_t)mr_bin_int(result, row, COL_N);

        MR_ASSERT(n < look->count);
        /* Ordered by n, so the place written to has been read. The first is never left out. */
        if (mr_bin_int(result, row, COL_LEFT_OUT) && row > 0)
            pending[left++] = pending[n];
        else
            judge_one(look->batch, &look->batch->ops[pending[n]], result, row);
    }
    return left;
}

static enum mr_status
judge_type(struct mr_store *store, struct mr_store_batch *batch, uint32_t *pending,
    uint32_t count, bool for_jobs, struct mr_err *err)
{
    while (count > 0) {
        struct looking look = {store, batch, pending, count};
        struct pg_result *result;
        enum mr_status status = ask(&look, for_jobs, &result, err);

        if (status != MR_OK)
            return status;
        count = judge_answers(&look, pending, result);
        mr_pg_free_result(&result);
    }
    return MR_OK;
}

enum mr_status
mr_judge_ops(struct mr_store *store, struct mr_store_batch *batch, uint32_t *pending,
    uint32_t count, struct mr_err *err)
{
    uint32_t jobs = 0;
    enum mr_status status;

    /* Jobs to the front. */
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = pending[i];

        if (batch->ops[at].type != MR_STORE_JOB)
            continue;
        pending[i] = pending[jobs];
        pending[jobs++] = at;
    }
    status = judge_type(store, batch, pending, jobs, true, err);
    if (status == MR_OK)
        status = judge_type(store, batch, pending + jobs, count - jobs, false, err);
    return status;
}
