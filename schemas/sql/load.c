#include "schemas/sql/store_priv.h"

#include "schemas/base/mutant.h"

#include <stdlib.h>

#include <libpq-fe.h>

/* Columns of what mr_stored_job is filled from. */
enum {
    COL_ID,
    COL_QUEUE,
    COL_KIND,
    COL_PRIORITY,
    COL_LANE,
    COL_RUN_AT,
    COL_EXPIRES_AT,
    COL_TIMEOUT,
    COL_ATTEMPTS_MAX,
    COL_BACKOFF_BASE,
    COL_BACKOFF_CAP,
    COL_BACKOFF_FACTOR,
    COL_BACKOFF_JITTER,
    COL_TRACE,
    COL_SUBMITTED_BY,
    COL_SUBMITTED_AT,
    COL_PAYLOAD,
    COL_ATTEMPTS,
    COL_FAILURES,
    COL_LOSSES,
    COL_NEAR_LOSSES,
    COL_RETRY_AT,
    COL_TAKEN,            /* inbox: rows that were there */
    COL_WENT = COL_TAKEN, /* load: ids that were looked at, and the last of them */
    COL_WENT_TO,
    COL_PAYLOAD_BYTES
};

static void
take_job(const struct pg_result *row, int at, struct mr_stored_job *out)
{
    *out = (struct mr_stored_job){
        .job =
            {
                .id = mr_bin_uuid(row, at, COL_ID),
                .queue = mr_bin_span(row, at, COL_QUEUE),
                .kind = mr_bin_span(row, at, COL_KIND),
                .payload = mr_bin_span(row, at, COL_PAYLOAD),
                .priority = (uint8_t)mr_bin_int(row, at, COL_PRIORITY),
                .lane = mr_bin_span(row, at, COL_LANE),
                .run_at_us = mr_bin_time(row, at, COL_RUN_AT),
                .expires_at_us = mr_bin_time(row, at, COL_EXPIRES_AT),
                .timeout_ms = (uint32_t)mr_bin_int(row, at, COL_TIMEOUT),
                .attempts_max = (uint32_t)mr_bin_int(row, at, COL_ATTEMPTS_MAX),
                .backoff_base_ms = (uint32_t)mr_bin_int(row, at, COL_BACKOFF_BASE),
                .backoff_cap_ms = (uint32_t)mr_bin_int(row, at, COL_BACKOFF_CAP),
                .backoff_factor_percent =
                    (uint32_t)mr_bin_int(row, at, COL_BACKOFF_FACTOR),
                .backoff_jitter = mr_bin_jitter(row, at, COL_BACKOFF_JITTER),
                .trace = mr_bin_span(row, at, COL_TRACE),
            },
        .submitted_by = mr_bin_span(row, at, COL_SUBMITTED_BY),
        .submitted_at_us = mr_bin_time(row, at, COL_SUBMITTED_AT),
        .attempts = (uint32_t)mr_bin_int(row, at, COL_ATTEMPTS),
        .failures = (uint32_t)mr_bin_int(row, at, COL_FAILURES),
        .losses = (uint32_t)mr_bin_int(row, at, COL_LOSSES),
        .near_losses = (uint32_t)mr_bin_int(row, at, COL_NEAR_LOSSES),
        .retry_at_us = mr_bin_time(row, at, COL_RETRY_AT),
    };
}

struct loading {
    mr_stored_job_fn fn;
    void *context;
    struct mr_uuid last;
    uint32_t went;
    bool is_stopped, tells_bytes;
};

static bool
on_job(void *context, const struct pg_result *row)
{
    struct loading *loading = context;
    struct mr_stored_job job;

    take_job(row, 0, &job);
    if (loading->tells_bytes && !job.job.payload.n)
        job.payload_bytes = (uint32_t)mr_bin_int(row, 0, COL_PAYLOAD_BYTES);
    loading->is_stopped = !loading->fn(loading->context, &job);
    loading->last = job.job.id;
    return !loading->is_stopped;
}

/* Columns of MR_STMT_READ_PAYLOADS. */
enum { PAYLOAD_ID, PAYLOAD_TRACE, PAYLOAD_BYTES };

static bool
on_payload(void *context, const struct pg_result *row)
{
    struct loading *loading = context;
    struct mr_stored_job job = {.job = {.id = mr_bin_uuid(row, 0, PAYLOAD_ID),
                                    .trace = mr_bin_span(row, 0, PAYLOAD_TRACE),
                                    .payload = mr_bin_span(row, 0, PAYLOAD_BYTES)},
        .lacks_history = true};

    return loading->fn(loading->context, &job);
}

/* Every row tells how far the look went; one without an id tells nothing else. */
static bool
on_loaded(void *context, const struct pg_result *row)
{
    struct loading *loading = context;

    loading->went = (uint32_t)mr_bin_int(row, 0, COL_WENT);
    if (!mr_bin_is_null(row, 0, COL_ID) && !on_job(context, row))
        return false;
    if (loading->went > 0)
        loading->last = mr_bin_uuid(row, 0, COL_WENT_TO);
    return true;
}

enum mr_status
mr_store_load(struct mr_store *store, struct mr_uuid after, uint32_t limit,
    bool with_payload, mr_stored_job_fn fn, void *context, struct mr_uuid *last,
    bool *more, struct mr_err *err)
{
    struct loading loading = {
        .fn = fn, .context = context, .last = after, .tells_bytes = true};
    struct mr_args *args = &store->args;
    enum mr_status status = mr_store_is_ready(store, err);

    if (status != MR_OK)
        return status;
    mr_stmt_args_reset(args);
    mr_bin_put_int4(mr_stmt_arg(args), (int32_t)store->shard);
    mr_bin_put_uuid(mr_stmt_arg(args), after);
    mr_bin_put_int8(mr_stmt_arg(args), limit);
    mr_bin_put_bool(mr_stmt_arg(args), with_payload);
    mr_bin_put_uuid(mr_stmt_arg(args), store->low_water);
    status = mr_pg_each(store->pg, MR_STMT_LOAD, args, on_loaded, &loading, err);
    *last = loading.last;
    *more = loading.is_stopped || loading.went == limit;
    return status;
}

static void
put_ids(struct mr_args *args, const struct mr_uuid *ids, uint32_t count)
{
    struct mr_bin *bin = mr_stmt_arg(args);
    size_t mark = mr_bin_array_open(bin, MR_BIN_UUID);

    for (uint32_t i = 0; i < count; i++)
        mr_bin_put_uuid(bin, ids[i]);
    mr_bin_array_close(bin, mark, count);
}

enum mr_status
mr_store_read(struct mr_store *store, const struct mr_uuid *ids, uint32_t count,
    bool with_history, mr_stored_job_fn fn, void *context, struct mr_err *err)
{
    struct loading loading = {.fn = fn, .context = context};
    enum mr_status status = mr_store_is_ready(store, err);

    if (status != MR_OK)
        return status;
    mr_stmt_args_reset(&store->args);
    put_ids(&store->args, ids, count);
    return mr_pg_each(store->pg, with_history ? MR_STMT_READ : MR_STMT_READ_PAYLOADS,
        &store->args, with_history ? on_job : on_payload, &loading, err);
}

/* ---- inbox ------------------------------------------------------------------------------------------ */

/*
 * A move whose COMMIT was not answered has happened or has not. If it has, nobody else will
 * ever hand these jobs out: their ids are kept until that is known.
 */

/* Moves rows within a transaction that is open afterwards. */
static enum mr_status
move_inbox(struct mr_store *store, uint32_t limit, struct mr_pipe *pipe, int *place,
    struct mr_err *err)
{
    /* Ids for which no day is made yet have to wait. */
    struct mr_uuid horizon = {{0}};

    for (int i = 0; i < 6; i++)
        horizon.b[i] = (uint8_t)((uint64_t)store->horizon_ms >> (8 * (5 - i)));
    mr_pg_pipe_open(pipe, store->pg, err);
    (void)mr_pg_pipe_add(pipe, MR_STMT_BEGIN, NULL);
    mr_store_arg_fence(store);
    (void)mr_pg_pipe_add(pipe, MR_STMT_FENCE, &store->args);
    mr_stmt_args_reset(&store->args);
    mr_bin_put_int4(mr_stmt_arg(&store->args), (int32_t)store->shard);
    mr_bin_put_int8(mr_stmt_arg(&store->args), limit);
    mr_bin_put_uuid(mr_stmt_arg(&store->args), horizon);
    mr_bin_put_int8(mr_stmt_arg(&store->args), MR_STORE_INBOX_BYTES);
    *place = mr_pg_pipe_add(pipe, MR_STMT_TAKE_INBOX, &store->args);
    return mr_pg_pipe_run(pipe);
}

static enum mr_status
doubt(struct mr_store *store, const struct pg_result *rows, struct mr_err *err)
{
    int count = PQntuples(rows);
    struct mr_uuid *ids =
        realloc(store->doubted, (size_t)(count ? count : 1) * sizeof *store->doubted);

    if (!ids)
        return mr_err_set(err, MR_NO_MEMORY, "take jobs from the inbox", NULL, NULL);
    store->doubted = ids;
    for (int i = 0; i < count; i++) {
        if (!mr_bin_is_null(rows, i, COL_ID))
            ids[store->doubted_count++] = mr_bin_uuid(rows, i, COL_ID);
    }
    return MR_OK;
}

static enum mr_status
commit_move(struct mr_store *store, const struct pg_result *rows, struct mr_err *err)
{
    enum mr_status status = doubt(store, rows, err);
    struct mr_pipe pipe;

    if (status != MR_OK) {
        mr_pg_rollback(store->pg);
        return status;
    }
    mr_pg_pipe_open(&pipe, store->pg, err);
    (void)mr_pg_pipe_add(&pipe, MR_STMT_COMMIT, NULL);
    status = mr_pg_pipe_run(&pipe);
    mr_pg_pipe_fini(&pipe);
    if (status == MR_OK)
        store->doubted_count = 0;
    return status;
}

/* The old session may still be at its COMMIT: its locks are waited for first. */
static enum mr_status
settle_doubt(
    struct mr_store *store, mr_stored_job_fn fn, void *context, struct mr_err *err)
{
    enum mr_status status;

    mr_stmt_args_reset(&store->args);
    put_ids(&store->args, store->doubted, store->doubted_count);
    status = mr_pg_exec(store->pg, MR_STMT_AWAIT_INBOX, &store->args, NULL, err);
    if (status == MR_OK)
        status = mr_store_read(
            store, store->doubted, store->doubted_count, true, fn, context, err);
    if (status == MR_OK)
        store->doubted_count = 0;
    return status;
}

static void
hand_out(const struct pg_result *rows, mr_stored_job_fn fn, void *context)
{
    /* They are moved now: all are handed out, whatever fn says. One row without an id says that
     * nothing was new. */
    for (int i = 0; i < PQntuples(rows); i++) {
        struct mr_stored_job job;

        if (mr_bin_is_null(rows, i, COL_ID))
            continue;
        take_job(rows, i, &job);
        (void)fn(context, &job);
    }
}

enum mr_status
mr_store_take_inbox(struct mr_store *store, uint32_t limit, mr_stored_job_fn fn,
    void *context, bool *more, struct mr_err *err)
{
    enum mr_status status = mr_store_is_ready(store, err);
    struct mr_pipe pipe;
    int place = 0;

    *more = false;
    if (status != MR_OK)
        return status;
    if (MR_MUTANT(inbox_doubt_forgotten))
        store->doubted_count = 0;
    if (store->doubted_count > 0) {
        *more = true;
        return settle_doubt(store, fn, context, err);
    }
    status = move_inbox(store, limit, &pipe, &place, err);
    if (status == MR_OK)
        status = commit_move(store, pipe.results[place], err);
    if (status == MR_OK) {
        *more = mr_bin_int(pipe.results[place], 0, COL_TAKEN) > 0;
        hand_out(pipe.results[place], fn, context);
    }
    mr_pg_pipe_fini(&pipe);
    return status;
}

/* ---- looking up ------------------------------------------------------------------------------------------ */

/* Columns of MR_STMT_FIND. */
enum {
    FIND_N,
    FIND_IS_JOB,
    FIND_OUTCOME,
    FIND_ATTEMPT,
    FIND_FINISHED_AT,
    FIND_ERROR,
    FIND_BODY,
    FIND_BODY_IS_LEFT_OUT,
    FIND_WORKER,
    FIND_LOSSES,
    FIND_SUBMITTED_BY,
    FIND_QUEUE,
    FIND_KIND
};

struct finding {
    const struct mr_uuid *ids;
    mr_found_fn fn;
    void *context;
};

static bool
on_found(void *context, const struct pg_result *row)
{
    const struct finding *finding = context;
    bool is_finished = !mr_bin_is_null(row, 0, FIND_OUTCOME);
    struct mr_found found = {
        .id = finding->ids[mr_bin_int(row, 0, FIND_N)],
        .exists = is_finished || mr_bin_int(row, 0, FIND_IS_JOB),
        .is_finished = is_finished,
        .outcome = (enum mr_outcome)mr_bin_int(row, 0, FIND_OUTCOME),
        .attempt = (uint32_t)mr_bin_int(row, 0, FIND_ATTEMPT),
        .submitted_by = mr_bin_span(row, 0, FIND_SUBMITTED_BY),
        .queue = mr_bin_span(row, 0, FIND_QUEUE),
        .kind = mr_bin_span(row, 0, FIND_KIND),
        .text = mr_bin_span(row, 0, FIND_ERROR),
        .body = mr_bin_span(row, 0, FIND_BODY),
        .losses = mr_bin_span(row, 0, FIND_LOSSES),
        .finished_at_us = mr_bin_time(row, 0, FIND_FINISHED_AT),
    };

    return finding->fn(finding->context, &found);
}

enum mr_status
mr_store_find(struct mr_store *store, const struct mr_uuid *ids, uint32_t count,
    mr_found_fn fn, void *context, struct mr_err *err)
{
    struct finding finding = {ids, fn, context};
    struct mr_args *args = &store->args;
    enum mr_status status = mr_store_is_ready(store, err);
    struct mr_bin *bin;
    size_t mark;

    if (status != MR_OK)
        return status;
    mr_stmt_args_reset(args);
    bin = mr_stmt_arg(args);
    mark = mr_bin_array_open(bin, MR_BIN_INT4);
    for (uint32_t i = 0; i < count; i++)
        mr_bin_put_int4(bin, (int32_t)i);
    mr_bin_array_close(bin, mark, count);
    put_ids(args, ids, count);
    /* Row by row: no bound on the sum of the bodies. */
    mr_bin_put_int8(mr_stmt_arg(args), INT64_MAX);
    return mr_pg_each(store->pg, MR_STMT_FIND, args, on_found, &finding, err);
}
