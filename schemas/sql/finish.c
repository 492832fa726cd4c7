#include "schemas/sql/finish.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "schemas/base/clock.h"
#include "schemas/base/mutant.h"
#include "schemas/sql/copy.h"
#include "schemas/sql/finish_cols.h"
#include "schemas/sql/tx_priv.h"

#define FOUND_BYTES (8 * 1024 * 1024) /* bodies of one look-up */

/* Columns of MR_STMT_FIND. */
enum {
    COL_N,
    COL_IS_JOB,
    COL_OUTCOME,
    COL_ATTEMPT,
    COL_FINISHED_AT,
    COL_ERROR,
    COL_BODY,
    COL_LEFT_OUT,
    COL_WORKER
};

/* ---- looking for what stands --------------------------------------------------------------------- */

struct looking {
    struct mr_pg *pg;
    struct mr_finish *const *finishes;
    uint32_t *pending; /* numbers of finishes */
    uint32_t count;
    struct mr_arena *arena;
    bool for_settling;
};

static enum mr_status
ask(const struct looking *look, struct mr_args *args, struct pg_result **result,
    struct mr_err *err)
{
    struct mr_bin *bin;
    size_t mark;

    mr_stmt_args_reset(args);
    bin = mr_stmt_arg(args);
    mark = mr_bin_array_open(bin, MR_BIN_INT4);
    for (uint32_t i = 0; i < look->count; i++)
        mr_bin_put_int4(bin, (int32_t)i);
    mr_bin_array_close(bin, mark, look->count);
    (void)mr_stmt_arg(args);
    mark = mr_bin_array_open(bin, MR_BIN_UUID);
    for (uint32_t i = 0; i < look->count; i++)
        mr_bin_put_uuid(bin, look->finishes[look->pending[i]]->id);
    mr_bin_array_close(bin, mark, look->count);
    mr_bin_put_int8(mr_stmt_arg(args), FOUND_BYTES);
    return mr_pg_exec(look->pg, MR_STMT_FIND, args, result, err);
}

static bool
is_ours(const struct mr_finish *finish, const struct pg_result *result, int row)
{
    return mr_bin_int(result, row, COL_OUTCOME) == MR_SUCCEEDED &&
           (uint32_t)mr_bin_int(result, row, COL_ATTEMPT) == finish->attempt &&
           mr_span_eq(mr_bin_span(result, row, COL_WORKER), finish->worker);
}

static enum mr_status
judge_one(const struct looking *look, struct mr_finish *finish,
    const struct pg_result *result, int row)
{
    if (mr_bin_is_null(result, row, COL_OUTCOME)) {
        if (look->for_settling)
            finish->status = MR_NOT_FOUND;
        else
            finish->status = mr_bin_int(result, row, COL_IS_JOB) ? MR_BUSY : MR_NO_JOB;
        return MR_OK;
    }
    if (look->for_settling && is_ours(finish, result, row)) {
        finish->status = MR_OK;
        return MR_OK;
    }
    finish->status = MR_FINISHED;
    finish->found_outcome = (enum mr_outcome)mr_bin_int(result, row, COL_OUTCOME);
    finish->found_attempt = (uint32_t)mr_bin_int(result, row, COL_ATTEMPT);
    if (!mr_arena_copy(
            look->arena, mr_bin_span(result, row, COL_ERROR), &finish->found_text) ||
        !mr_arena_copy(
            look->arena, mr_bin_span(result, row, COL_BODY), &finish->found_body))
        return MR_NO_MEMORY;
    return MR_OK;
}

/* Fills status and found_* of all pending ones. */
static enum mr_status
look_up(struct looking *look, struct mr_err *err)
{
    struct mr_args args = {0};
    enum mr_status status = MR_OK;

    while (look->count > 0 && status == MR_OK) {
        struct pg_result *result = NULL;
        uint32_t left = 0;

        status = ask(look, &args, &result, err);
        for (int row = 0; status == MR_OK && row < PQntuples(result); row++) {
            uint32_t n = (uint32_t)mr_bin_int(result, row, COL_N);

            MR_ASSERT(n < look->count);
            if (mr_bin_int(result, row, COL_LEFT_OUT) && row > 0)
                look->pending[left++] = look->pending[n];
            else
                status = judge_one(look, look->finishes[look->pending[n]], result, row);
        }
        if (status == MR_NO_MEMORY)
            (void)mr_err_set(err, status, "look results up",
                "the memory given for what is stored is full", "Use a larger arena.");
        mr_pg_free_result(&result);
        look->count = left;
    }
    mr_stmt_args_fini(&args);
    return status;
}

/* ---- one ---------------------------------------------------------------------------------------------- */

static void
put_finish(struct mr_args *args, const struct mr_finish *finish)
{
    mr_bin_put_uuid(mr_stmt_arg(args), finish->id);
    mr_bin_put_int4(mr_stmt_arg(args), (int32_t)finish->attempt);
    mr_bin_put_some_words(mr_stmt_arg(args), finish->worker);
    mr_bin_put_some_time(mr_stmt_arg(args), finish->started_at_us);
    mr_bin_put_some_time(mr_stmt_arg(args), finish->finished_at_us);
    mr_bin_put_some_bytes(mr_stmt_arg(args), finish->body);
}

static enum mr_status
find_one(struct mr_pg *pg, struct mr_finish *finish, struct mr_arena *arena,
    bool for_settling, struct mr_err *err)
{
    uint32_t pending = 0;
    struct looking look = {.pg = pg,
        .finishes = &finish,
        .pending = &pending,
        .count = 1,
        .arena = arena,
        .for_settling = for_settling};

    return look_up(&look, err);
}

/* BEGIN unless a handler has it open, what is queued, the row, COMMIT. */
static enum mr_status
write_one(struct mr_pg *pg, struct mr_tx *tx, const struct mr_finish *finish,
    struct mr_err *err)
{
    struct mr_args args = {0};
    struct mr_pipe pipe;
    enum mr_status status;

    mr_pg_pipe_open(&pipe, pg, err);
    mr_tx_begin(tx, &pipe);
    mr_tx_put(tx, &pipe);
    if (MR_MUTANT(result_apart)) {
        (void)mr_pg_pipe_add(&pipe, MR_STMT_COMMIT, NULL);
        (void)mr_pg_pipe_add(&pipe, MR_STMT_BEGIN, NULL);
    }
    put_finish(&args, finish);
    /* Raises an error if somebody was first: the COMMIT behind it is then skipped. */
    (void)mr_pg_pipe_add(&pipe, MR_STMT_FINISH, &args);
    (void)mr_pg_pipe_add(&pipe, MR_STMT_COMMIT, NULL);
    status = mr_pg_pipe_run(&pipe);
    mr_pg_pipe_fini(&pipe);
    mr_stmt_args_fini(&args);
    return mr_tx_done(tx, pg, status, err);
}

enum mr_status
mr_finish_one(
    struct mr_pg *pg, struct mr_tx *tx, struct mr_finish *finish, struct mr_err *err)
{
    enum mr_status status = mr_stmt_prepare(pg, MR_STMT_WORKER, err);

    if (status == MR_OK && mr_tx_has_checks(tx))
        status = mr_tx_send(tx, pg, err); /* the last word is ours, before COMMIT */
    if (status != MR_OK) {
        mr_pg_rollback(pg);
        return status;
    }
    status = write_one(pg, tx, finish, err);
    if (status == MR_STORE_DOWN && MR_MUTANT(done_on_ok))
        status = MR_OK;
    finish->status = status;
    if (mr_tx_has_failed(tx))
        return status;
    if (status == MR_FINISHED || status == MR_NO_JOB || status == MR_BAD_ARGUMENT)
        return MR_OK;
    return status;
}

enum mr_status
mr_finish_found(struct mr_pg *pg, struct mr_finish *finish, struct mr_arena *arena,
    struct mr_err *err)
{
    return find_one(pg, finish, arena, false, err);
}

/* It may have been committed here, and not yet on a standby that has to confirm: what is written
 * now is confirmed after it. */
static enum mr_status
flush(struct mr_pg *pg, struct mr_err *err)
{
    struct mr_pipe pipe;
    enum mr_status status;

    mr_pg_pipe_open(&pipe, pg, err);
    (void)mr_pg_pipe_add(&pipe, MR_STMT_BEGIN, NULL);
    (void)mr_pg_pipe_add(&pipe, MR_STMT_FLUSH, NULL);
    (void)mr_pg_pipe_add(&pipe, MR_STMT_COMMIT, NULL);
    status = mr_pg_pipe_run(&pipe);
    mr_pg_pipe_fini(&pipe);
    return status;
}

enum mr_status
mr_finish_settle(struct mr_pg *pg, struct mr_finish *finish, struct mr_arena *arena,
    struct mr_err *err)
{
    enum mr_status status = mr_stmt_prepare(pg, MR_STMT_WORKER, err);

    if (status == MR_OK)
        status = find_one(pg, finish, arena, true, err);
    if (status == MR_OK && finish->status == MR_OK)
        status = flush(pg, err);
    return status;
}

/* ---- many ----------------------------------------------------------------------------------------------- */

#define MANY_MAX 65536u

struct many {
    struct mr_pg *pg;
    struct mr_finish *const *finishes;
    uint32_t *order; /* by id; of equal ones the first */
    uint32_t count;
    struct mr_args *args; /* memory for each try */
};

static const struct mr_finish *
peek(const struct many *many, uint32_t at)
{
    return many->finishes[many->order[at]];
}

static int
compare_ids(const void *a, const void *b, void *context)
{
    struct mr_finish *const *finishes = context;
    uint32_t at = *(const uint32_t *)a, bt = *(const uint32_t *)b;
    int by_id = memcmp(finishes[at]->id.b, finishes[bt]->id.b, sizeof finishes[at]->id.b);

    return by_id != 0 ? by_id : at < bt ? -1 : at > bt;
}

static void
arrange(struct many *many, uint32_t count)
{
    void *finishes = (void *)(uintptr_t)many->finishes;
    bool is_arranged = true;

    for (uint32_t i = 0; i < count; i++) {
        many->order[i] = i;
        many->finishes[i]->status = MR_FINISHED; /* until it is known better */
        many->finishes[i]->found_text = many->finishes[i]->found_body = MR_SPAN_NONE;
        is_arranged = is_arranged && (i == 0 || compare_ids(&many->order[i - 1],
                                                    &many->order[i], finishes) < 0);
    }
    if (!is_arranged)
        qsort_r(many->order, count, sizeof *many->order, compare_ids, finishes);
    for (uint32_t i = 0; i < count; i++) {
        if (many->count == 0 || !mr_uuid_eq(peek(many, many->count - 1)->id,
                                    many->finishes[many->order[i]]->id))
            many->order[many->count++] = many->order[i];
    }
}

static const struct mr_finish *
whose_body(const struct many *many, uint32_t at, uint32_t to)
{
    return peek(many, MR_MUTANT(rows_crossed) && at + 1 < to ? at + 1 : at);
}

/* ---- by statement ---------------------------------------------------------------------------------- */

static void
mark_written(const struct many *many, uint32_t from, const struct pg_result *result)
{
    uint32_t at = from;

    /* Both are sorted by id: the statement inserts and returns in that order. */
    for (int i = 0; i < PQntuples(result); i++) {
        struct mr_uuid id = mr_bin_uuid(result, i, 0);

        while (at < many->count && !mr_uuid_eq(peek(many, at)->id, id))
            at++;
        MR_ASSERT(at < many->count);
        many->finishes[many->order[at]]->status = MR_OK;
    }
}

static void
put_arrays(const struct many *many, uint32_t from, uint32_t to)
{
    mr_stmt_args_reset(many->args);
    for (enum mr_finish_col col = 0; col < MR_FINISH_COLS; col++) {
        struct mr_bin *bin = mr_stmt_arg(many->args);
        size_t mark = mr_bin_array_open(bin, mr_finish_col_type(col));

        for (uint32_t i = from; i < to; i++)
            mr_finish_col_put(col, bin,
                col == MR_FINISH_BODY ? whose_body(many, i, to) : peek(many, i));
        mr_bin_array_close(bin, mark, to - from);
    }
}

static enum mr_status
write_by_statement(
    const struct many *many, uint32_t from, uint32_t to, struct mr_err *err)
{
    struct mr_pipe pipe;
    enum mr_status status;
    bool is_written = false;
    int place;

    put_arrays(many, from, to);
    mr_pg_pipe_open(&pipe, many->pg, err);
    (void)mr_pg_pipe_add(&pipe, MR_STMT_BEGIN, NULL);
    place = mr_pg_pipe_add(&pipe, MR_STMT_FINISH_MANY, many->args);
    (void)mr_pg_pipe_add(&pipe, MR_STMT_COMMIT, NULL);
    status = mr_pg_pipe_run(&pipe);
    if (status == MR_OK) {
        mark_written(many, from, pipe.results[place]);
        is_written = PQntuples(pipe.results[place]) > 0;
    }
    mr_pg_pipe_fini(&pipe);
    return status == MR_OK && !is_written ? flush(many->pg, err) : status;
}

/* ---- by COPY ------------------------------------------------------------------------------------------- */

/*
 * The statement asks of each row whether its job exists: 1.6 of its 6.8 us a row, measured. A
 * worker is only sent jobs that are committed, and a job's row stays for a day at least
 * (JOB_STAYS_MS), so for young ids one look is enough: it finds a worker that writes to
 * another database than its broker's, or one that was set back. Then, and for old ids, whose row
 * may have been swept away while a late attempt went on, the statement decides.
 */
#define JOB_STAYS_MS INT64_C(86400000)

static bool
can_copy(const struct many *many, uint32_t from, uint32_t to)
{
    int64_t id_ms = (int64_t)mr_uuid_ms(peek(many, from)->id);

    if (to - from < MR_COPY_MIN || id_ms <= mr_clock_now().wall_us / 1000 - JOB_STAYS_MS)
        return false;
    for (uint32_t at = from; at < to; at++) {
        if (peek(many, at)->is_in_doubt)
            return false;
    }
    return true;
}

static void
put_row(struct mr_bin *bin, const struct mr_finish *finish, struct mr_span body)
{
    mr_bin_i16(bin, 7);
    mr_bin_put_uuid(bin, finish->id);
    mr_bin_put_int2(bin, MR_SUCCEEDED);
    mr_bin_put_int4(bin, (int32_t)finish->attempt);
    mr_bin_put_some_words(bin, finish->worker);
    mr_bin_put_some_time(bin, finish->started_at_us);
    mr_bin_put_some_time(bin, finish->finished_at_us);
    mr_bin_put_some_bytes(bin, body);
}

static enum mr_status
write_by_copy(const struct many *many, uint32_t from, uint32_t to, struct mr_err *err)
{
    struct mr_copy copy = {.pg = many->pg,
        .bin = &many->args->bin,
        .table = MR_STMT_COPY_RESULTS,
        .is_whole = true};
    char id[MR_UUID_TEXT_MAX];
    enum mr_status status;

    (void)snprintf(copy.first, sizeof copy.first, "execute %s ('%s'); ",
        mr_stmt_name(MR_STMT_IS_JOB), mr_uuid_format(peek(many, from)->id, id));
    status = mr_copy_start(&copy, err);
    if (status != MR_OK)
        return status;
    for (uint32_t at = from; at < to; at++) {
        put_row(copy.bin, peek(many, at), whose_body(many, at, to)->body);
        if (!mr_copy_row(&copy))
            break;
    }
    status = mr_copy_end(&copy, err);
    for (uint32_t at = from; status == MR_OK && at < to; at++)
        many->finishes[many->order[at]]->status = MR_OK;
    return status;
}

static enum mr_status
write_range(const struct many *many, uint32_t from, uint32_t to, struct mr_err *err)
{
    enum mr_status status;

    if (can_copy(many, from, to)) {
        status = write_by_copy(many, from, to, err);
        /* About a row, an id that is there already among them: the statement decides. */
        if (status != MR_BAD_ARGUMENT && status != MR_NOT_FOUND)
            return status;
    }
    return write_by_statement(many, from, to, err);
}

/* A row that somebody else is about to write, and does not get done with, is found by halving,
 * so that the others need not wait for it. */
static enum mr_status
write_halving(const struct many *many, uint32_t from, uint32_t to, struct mr_err *err)
{
    enum mr_status status = write_range(many, from, to, err);
    uint32_t middle = from + (to - from) / 2;

    if (status == MR_OK || strcmp(mr_pg_sqlstate(many->pg), "55P03") != 0)
        return status;
    if (to - from == 1) {
        many->finishes[many->order[from]]->status = MR_BUSY;
        return MR_OK;
    }
    status = write_halving(many, from, middle, err);
    return status == MR_OK ? write_halving(many, middle, to, err) : status;
}

/* A row that is held by somebody is not waited for long. And plans must not depend on statistics,
 * nor be made again for each batch, which costs more than a small batch itself. */
static const char batches_sql[] =
    "select set_config('lock_timeout', '500ms', false), "
    "set_config('plan_cache_mode', 'force_generic_plan', false)";

static enum mr_status
prepare_batches(struct mr_pg *pg, struct mr_err *err)
{
    enum mr_status status = MR_OK;

    if ((pg->prepared & MR_STMT_BATCH) == 0)
        status = mr_pg_run(pg, batches_sql, 0, NULL, NULL, err);
    return status == MR_OK ? mr_stmt_prepare(pg, MR_STMT_BATCH, err) : status;
}

enum mr_status
mr_finish_batch(struct mr_pg *pg, struct mr_finish *const *finishes, uint32_t count,
    struct mr_arena *arena, struct mr_err *err)
{
    struct mr_args args = {0};
    struct many many = {.pg = pg, .finishes = finishes, .args = &args};
    struct looking look = {.pg = pg, .finishes = finishes, .arena = arena};
    enum mr_status status;

    if (count == 0)
        return MR_OK;
    if (count > MANY_MAX)
        return mr_err_set(err, MR_TOO_BIG, "store results", "more than 65,536 at a time",
            "Make smaller batches.");
    status = prepare_batches(pg, err);
    if (status != MR_OK)
        return status;
    many.order = mr_arena_alloc(arena, count * sizeof *many.order);
    if (!many.order)
        return mr_err_set(err, MR_NO_MEMORY, "store results",
            "the memory given for what is stored is full", "Use a larger arena.");
    arrange(&many, count);
    status = write_halving(&many, 0, many.count, err);
    mr_stmt_args_fini(&args);
    for (uint32_t i = 0; status == MR_STORE_DOWN && i < count; i++)
        finishes[i]->is_in_doubt = true;
    if (status != MR_OK)
        return status;
    look.pending = many.order; /* not needed in order any more */
    for (uint32_t i = 0; i < count; i++) {
        if (finishes[i]->status == MR_FINISHED)
            look.pending[look.count++] = i;
    }
    return look_up(&look, err);
}

/* ---- follow-up jobs ------------------------------------------------------------------------------------------ */

void
mr_inbox_args(struct mr_args *args, const struct mr_job_new *job, struct mr_uuid parent)
{
    mr_bin_put_uuid(mr_stmt_arg(args), job->id);
    mr_bin_put_bytes(mr_stmt_arg(args), job->kind);
    mr_bin_put_bytes(
        mr_stmt_arg(args), job->queue.n > 0 ? job->queue : mr_span_str(MR_QUEUE_DEFAULT));
    mr_bin_put_some_bytes(mr_stmt_arg(args), job->payload);
    mr_bin_put_int2(mr_stmt_arg(args), job->priority);
    mr_bin_put_some_bytes(mr_stmt_arg(args), job->lane);
    mr_bin_put_some_time(mr_stmt_arg(args), job->run_at_us);
    mr_bin_put_some_time(mr_stmt_arg(args), job->expires_at_us);
    mr_bin_put_some_int8(mr_stmt_arg(args), job->timeout_ms);
    mr_bin_put_some_int4(mr_stmt_arg(args), job->attempts_max);
    mr_bin_put_some_int8(mr_stmt_arg(args), job->backoff_base_ms);
    mr_bin_put_some_int8(mr_stmt_arg(args), job->backoff_cap_ms);
    mr_bin_put_some_int2(mr_stmt_arg(args), job->backoff_factor_percent);
    mr_bin_put_jitter(mr_stmt_arg(args), job->backoff_jitter);
    mr_bin_put_uuid(mr_stmt_arg(args), parent);
    mr_bin_put_some_words(mr_stmt_arg(args), job->trace);
    mr_bin_put_some_int8(mr_stmt_arg(args), job->delay_ms);
}

enum mr_status
mr_inbox_put(struct mr_pg *pg, const struct mr_job_new *job, struct mr_uuid parent,
    struct mr_err *err)
{
    struct mr_args args = {0};
    enum mr_status status = mr_stmt_prepare(pg, MR_STMT_WORKER, err);

    if (status != MR_OK)
        return status;
    mr_inbox_args(&args, job, parent);
    status = mr_pg_exec(pg, MR_STMT_INBOX_PUT, &args, NULL, err);
    mr_stmt_args_fini(&args);
    return status;
}
