#include "schemas/sql/store_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "schemas/base/mutant.h"
#include "schemas/sql/copy.h"

/*
 * A commit, step by step:
 *
 *   end sessions -> arrange (by table and id, doubles and impossible ids aside)
 *     -> write ranges, halved at a bad row -> judge what was there before
 *
 * Rows are written in the order of their ids, so that two writers that meet in one table wait
 * for each other in one direction only.
 */

/* ---- arranging ---------------------------------------------------------------------------------- */

static int
compare_keys(const struct mr_store_op *a, const struct mr_store_op *b)
{
    int by_id;

    if (a->type != b->type)
        return a->type < b->type ? -1 : 1;
    by_id = memcmp(a->id.b, b->id.b, sizeof a->id.b);
    if (by_id != 0 || a->type != MR_STORE_ATTEMPT || a->attempt == b->attempt)
        return by_id;
    return a->attempt < b->attempt ? -1 : 1;
}

static int
compare_places(const void *a, const void *b, void *context)
{
    const struct mr_store_op *ops = context;
    uint32_t at = *(const uint32_t *)a, bt = *(const uint32_t *)b;
    int by_key = compare_keys(&ops[at], &ops[bt]);

    return by_key != 0 ? by_key : at < bt ? -1 : at > bt;
}

static bool
is_arranged(const uint32_t *order, uint32_t n, const struct mr_store_op *ops)
{
    for (uint32_t i = 1; i < n; i++) {
        if (compare_keys(&ops[order[i - 1]], &ops[order[i]]) > 0)
            return false;
    }
    return true;
}

static void
refuse(struct mr_store_batch *batch, struct mr_store_op *op, enum mr_status status,
    const char *why)
{
    struct mr_span text = mr_span_str(why);

    op->status = status;
    /* Without room the number has to do. */
    if (!mr_arena_copy(batch->arena, text, &op->found_text))
        op->found_text = MR_SPAN_NONE;
}

static bool
is_beyond(const struct mr_store *store, const struct mr_store_op *op)
{
    return mr_uuid_ms(op->id) >= store->horizon_ms;
}

/* What stands until it is known better: "was there before". */
static enum mr_status
presumed(const struct mr_store_op *op)
{
    switch (op->type) {
    case MR_STORE_JOB:
        return MR_KNOWN;
    case MR_STORE_ATTEMPT:
        return MR_OK; /* there already counts, too */
    case MR_STORE_RESULT:
        return MR_FINISHED;
    }
    return MR_INTERNAL;
}

static enum mr_status
arrange(struct mr_store *store, struct mr_store_batch *batch, uint32_t *count,
    struct mr_err *err)
{
    uint32_t n = 0, kept = 0;

    if (batch->count > MR_STORE_OPS_MAX)
        return mr_err_set(err, MR_TOO_BIG, "commit a batch",
            "more than 65,536 rows at a time", "Make smaller batches.");
    if (store->order_cap < batch->count) {
        uint32_t *order = realloc(store->order, batch->count * sizeof *order);

        if (!order)
            return mr_err_set(err, MR_NO_MEMORY, "commit a batch", NULL, NULL);
        store->order = order;
        store->order_cap = batch->count;
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        struct mr_store_op *op = &batch->ops[i];

        op->found_text = op->found_body = MR_SPAN_NONE;
        op->status = presumed(op);
        if (is_beyond(store, op))
            refuse(batch, op, MR_BAD_ID, "the id's time is too far in the future");
        else
            store->order[n++] = i;
    }
    /* New ids rise with time: mostly they come in order. */
    if (!is_arranged(store->order, n, batch->ops))
        qsort_r(store->order, n, sizeof *store->order, compare_places, batch->ops);
    /* The first of equal ones is written, the others are judged against it. */
    for (uint32_t i = 0; i < n; i++) {
        if (kept == 0 || compare_keys(&batch->ops[store->order[kept - 1]],
                             &batch->ops[store->order[i]]) != 0)
            store->order[kept++] = store->order[i];
    }
    *count = kept;
    return MR_OK;
}

/* ---- writing -------------------------------------------------------------------------------------- */

struct range {
    struct mr_store *store;
    struct mr_store_batch *batch;
    uint32_t from, attempts, results, to; /* jobs, attempts, results in store->order */
};

static struct range
make_range(
    struct mr_store *store, struct mr_store_batch *batch, uint32_t from, uint32_t to)
{
    struct range range = {store, batch, from, from, from, to};
    const struct mr_store_op *ops = batch->ops;

    while (range.attempts < to && ops[store->order[range.attempts]].type == MR_STORE_JOB)
        range.attempts++;
    range.results = range.attempts;
    while (
        range.results < to && ops[store->order[range.results]].type == MR_STORE_ATTEMPT)
        range.results++;
    return range;
}

static void
add_arrays(struct mr_pipe *pipe, const struct range *range, enum mr_stmt stmt,
    const struct mr_cols *cols, uint32_t from, uint32_t to, int *place)
{
    struct mr_store *store = range->store;

    *place = -1;
    if (from == to)
        return;
    mr_cols_arrays(
        cols, &store->args, range->batch->ops, store->order, from, to, store->shard);
    *place = mr_pg_pipe_add(pipe, stmt, &store->args);
}

/* An id below the mark would not be found at the next start. */
static const struct mr_store_op *
first_below_mark(const struct range *range)
{
    const struct mr_store *store = range->store;
    const struct mr_store_op *first;

    if (range->from == range->attempts)
        return NULL;
    first = &range->batch->ops[store->order[range->from]];
    return memcmp(first->id.b, store->low_water.b, sizeof first->id.b) < 0 ? first : NULL;
}

static void
add_lower(struct mr_pipe *pipe, const struct range *range)
{
    struct mr_store *store = range->store;
    const struct mr_store_op *first = first_below_mark(range);

    if (!first)
        return;
    mr_stmt_args_reset(&store->args);
    mr_bin_put_int4(mr_stmt_arg(&store->args), (int32_t)store->shard);
    mr_bin_put_uuid(mr_stmt_arg(&store->args), first->id);
    (void)mr_pg_pipe_add(pipe, MR_STMT_LOWER, &store->args);
}

static void
add_begin(struct mr_pipe *pipe, struct mr_store *store)
{
    (void)mr_pg_pipe_add(pipe, MR_STMT_BEGIN, NULL);
    mr_store_arg_fence(store);
    if (!MR_MUTANT(fence_dropped))
        (void)mr_pg_pipe_add(pipe, MR_STMT_FENCE, &store->args);
}

static uint32_t *
find_place(const struct range *range, uint32_t from, uint32_t to, struct mr_uuid id)
{
    uint32_t *order = range->store->order;

    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        int by = memcmp(range->batch->ops[order[middle]].id.b, id.b, sizeof id.b);

        if (by == 0)
            return &order[middle];
        if (by < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return NULL;
}

/* Ids that came back were written by us. */
static void
mark_written(
    const struct range *range, const struct pg_result *result, uint32_t from, uint32_t to)
{
    for (int i = 0; i < PQntuples(result); i++) {
        uint32_t *place = find_place(range, from, to, mr_bin_uuid(result, i, 0));

        MR_ASSERT(place != NULL);
        range->batch->ops[*place].status = MR_OK;
    }
}

/* Mutant: they were sent, that is as good as stored. */
static enum mr_status
take_for_written(const struct range *range)
{
    for (uint32_t at = range->from; at < range->to; at++)
        range->batch->ops[range->store->order[at]].status = MR_OK;
    return MR_OK;
}

/* Everything behind the jobs, up to the COMMIT and its sync. The COMMIT flushes whatever there was
 * to be written: the fence's row lock is a WAL record. */
static enum mr_status
finish_write(struct mr_pipe *pipe, const struct range *range, int jobs)
{
    enum mr_status status;
    int attempts, results;

    add_arrays(pipe, range, MR_STMT_ADD_ATTEMPTS, &mr_cols_attempt, range->attempts,
        range->results, &attempts);
    add_arrays(pipe, range, MR_STMT_ADD_RESULTS, &mr_cols_result, range->results,
        range->to, &results);
    (void)mr_pg_pipe_add(pipe, MR_STMT_COMMIT, NULL);
    status = mr_pg_pipe_run(pipe);
    if (status == MR_OK && jobs >= 0)
        mark_written(range, pipe->results[jobs], range->from, range->attempts);
    if (status == MR_OK && results >= 0)
        mark_written(range, pipe->results[results], range->results, range->to);
    mr_pg_pipe_fini(pipe);
    if (status == MR_STORE_DOWN && MR_MUTANT(ack_on_ok))
        return take_for_written(range);
    return status;
}

static enum mr_status
write_by_unnest(const struct range *range, struct mr_err *err)
{
    struct mr_pipe pipe;
    int jobs;

    mr_pg_pipe_open(&pipe, range->store->pg, err);
    add_begin(&pipe, range->store);
    add_lower(&pipe, range);
    add_arrays(&pipe, range, MR_STMT_ADD_JOBS, &mr_cols_job, range->from, range->attempts,
        &jobs);
    return finish_write(&pipe, range, jobs);
}

/* The fence, and the mark if need be, in front of the rows. */
static void
put_first(const struct range *range, struct mr_copy *copy)
{
    const struct mr_store *store = range->store;
    const struct mr_store_op *lower = first_below_mark(range);
    char fence[64] = "", mark[96] = "", id[MR_UUID_TEXT_MAX];

    if (!MR_MUTANT(fence_dropped))
        (void)snprintf(fence, sizeof fence, "execute %s (%d, %lld); ",
            mr_stmt_name(MR_STMT_FENCE), (int)store->shard, (long long)store->epoch);
    if (lower)
        (void)snprintf(mark, sizeof mark, "execute %s (%d, '%s'); ",
            mr_stmt_name(MR_STMT_LOWER), (int)store->shard,
            mr_uuid_format(lower->id, id));
    (void)snprintf(copy->first, sizeof copy->first, "%s%s", fence, mark);
}

/* The jobs, and, when there is nothing else in the range, the COMMIT. */
static enum mr_status
copy_jobs(const struct range *range, bool is_whole, struct mr_err *err)
{
    struct mr_store *store = range->store;
    struct mr_copy copy = {.pg = store->pg,
        .bin = &store->args.bin,
        .table = MR_STMT_COPY_JOBS,
        .is_whole = is_whole};
    enum mr_status status;

    put_first(range, &copy);
    status = mr_copy_start(&copy, err);
    if (status != MR_OK)
        return status;
    for (uint32_t at = range->from; at < range->attempts; at++) {
        mr_cols_row(
            &mr_cols_job, copy.bin, &range->batch->ops[store->order[at]], store->shard);
        if (!mr_copy_row(&copy))
            break;
    }
    status = mr_copy_end(&copy, err);
    if (status == MR_STORE_DOWN && is_whole && MR_MUTANT(ack_on_ok))
        return take_for_written(range);
    return status;
}

static enum mr_status
write_by_copy(const struct range *range, struct mr_err *err)
{
    struct mr_store *store = range->store;
    bool is_whole = range->attempts == range->to;
    enum mr_status status = copy_jobs(range, is_whole, err);
    struct mr_pipe pipe;

    if (status == MR_OK && !is_whole) {
        mr_pg_pipe_open(&pipe, store->pg, err);
        status = finish_write(&pipe, range, -1);
    }
    for (uint32_t at = range->from; status == MR_OK && at < range->attempts; at++)
        range->batch->ops[store->order[at]].status = MR_OK;
    return status;
}

/* COPY has no "on conflict": for jobs that nobody marked as sent before, nor we ourselves. */
static bool
can_copy(const struct range *range)
{
    if (range->attempts - range->from < MR_COPY_MIN || range->store->is_in_doubt)
        return false;
    for (uint32_t at = range->from; at < range->attempts; at++) {
        if (range->batch->ops[range->store->order[at]].is_resent)
            return false;
    }
    return true;
}

static enum mr_status
write_range(const struct range *range, struct mr_err *err)
{
    enum mr_status status;

    if (can_copy(range)) {
        status = write_by_copy(range, err);
        if (status == MR_OK || strcmp(mr_pg_sqlstate(range->store->pg), "23505") != 0)
            return status;
    }
    return write_by_unnest(range, err);
}

/* A row's own fault, or a row that somebody else holds. */
static bool
is_about_a_row(const struct mr_store *store, enum mr_status status)
{
    return status == MR_BAD_ARGUMENT || strcmp(mr_pg_sqlstate(store->pg), "55P03") == 0;
}

static uint32_t
middle_of(const struct range *range)
{
    /* Tables apart first: what waits for somebody's lock is a result. */
    if (range->results > range->from && range->results < range->to)
        return range->results;
    return range->from + (range->to - range->from) / 2;
}

static enum mr_status
write_halving(struct mr_store *store, struct mr_store_batch *batch, uint32_t from,
    uint32_t to, struct mr_err *err)
{
    struct range range = make_range(store, batch, from, to);
    enum mr_status status = write_range(&range, err);
    uint32_t middle;

    if (status == MR_OK || !mr_pg_is_alive(store->pg) || !is_about_a_row(store, status))
        return status;
    if (to - from <= 1) {
        if (to > from)
            refuse(batch, &batch->ops[store->order[from]], status, err->why);
        return to > from ? MR_OK : status;
    }
    middle = middle_of(&range);
    status = write_halving(store, batch, from, middle, err);
    return status == MR_OK ? write_halving(store, batch, middle, to, err) : status;
}

/* ---- all together ------------------------------------------------------------------------------------ */

static enum mr_status
end_sessions(
    struct mr_store *store, const struct mr_store_batch *batch, struct mr_err *err)
{
    enum mr_status status;
    struct mr_bin *bin;
    size_t mark;

    if (batch->end_session_count == 0)
        return MR_OK;
    /* These sessions belong to workers of whoever owns the shard now. */
    mr_store_arg_fence(store);
    status = mr_pg_exec(store->pg, MR_STMT_FENCE, &store->args, NULL, err);
    if (status != MR_OK)
        return status;
    mr_stmt_args_reset(&store->args);
    bin = mr_stmt_arg(&store->args);
    mark = mr_bin_array_open(bin, MR_BIN_TEXT);
    for (uint32_t i = 0; i < batch->end_session_count; i++)
        mr_bin_put_bytes(bin, mr_span_str(batch->end_sessions[i]));
    mr_bin_array_close(bin, mark, batch->end_session_count);
    return mr_pg_exec(store->pg, MR_STMT_END_SESSIONS, &store->args, NULL, err);
}

/* After the commit store->order is free again: it takes the ops to be judged. */
static enum mr_status
judge(struct mr_store *store, struct mr_store_batch *batch, struct mr_err *err)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < batch->count; i++) {
        if (batch->ops[i].status == MR_KNOWN || batch->ops[i].status == MR_FINISHED)
            store->order[count++] = i;
    }
    return count == 0 ? MR_OK : mr_judge_ops(store, batch, store->order, count, err);
}

/* Days are normally made hours before they are needed. */
static enum mr_status
look_ahead(struct mr_store *store, const struct mr_store_batch *batch, struct mr_err *err)
{
    for (uint32_t i = 0; i < batch->count; i++) {
        if (is_beyond(store, &batch->ops[i]))
            return mr_store_look_ahead(store, err);
    }
    return MR_OK;
}

enum mr_status
mr_store_commit(struct mr_store *store, struct mr_store_batch *batch, struct mr_err *err)
{
    struct mr_err local;
    enum mr_status status;
    uint32_t count = 0;

    if (!err)
        err = &local; /* a refused row's text is taken from it */
    status = mr_store_is_ready(store, err);
    if (status == MR_OK)
        status = end_sessions(store, batch, err);
    if (status == MR_OK)
        status = look_ahead(store, batch, err);
    if (status == MR_OK)
        status = arrange(store, batch, &count, err);
    if (status == MR_OK)
        status = write_halving(store, batch, 0, count, err);
    if (status == MR_OK || status == MR_STORE_DOWN)
        store->is_in_doubt = status == MR_STORE_DOWN;
    if (status == MR_OK)
        status = judge(store, batch, err);
    return status;
}
