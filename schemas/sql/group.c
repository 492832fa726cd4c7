/* finish.h: several jobs in one transaction. */
#include "schemas/sql/finish.h"

#include "schemas/base/mutant.h"
#include "schemas/sql/tx_priv.h"

typedef void (*put_fn)(struct mr_bin *bin, const struct mr_finish *finish);

static void
put_id(struct mr_bin *bin, const struct mr_finish *finish)
{
    mr_bin_put_uuid(bin, finish->id);
}

static void
put_attempt(struct mr_bin *bin, const struct mr_finish *finish)
{
    mr_bin_put_int4(bin, (int32_t)finish->attempt);
}

static void
put_started_at(struct mr_bin *bin, const struct mr_finish *finish)
{
    mr_bin_put_some_time(bin, finish->started_at_us);
}

static void
put_finished_at(struct mr_bin *bin, const struct mr_finish *finish)
{
    mr_bin_put_some_time(bin, finish->finished_at_us);
}

static void
put_body(struct mr_bin *bin, const struct mr_finish *finish)
{
    mr_bin_put_some_bytes(bin, finish->body);
}

static void
put_array(struct mr_args *args, enum mr_bin_type type, put_fn put,
    struct mr_finish *const *finishes, uint32_t count)
{
    struct mr_bin *bin = mr_stmt_arg(args);
    size_t mark = mr_bin_array_open(bin, type);

    for (uint32_t i = 0; i < count; i++)
        put(bin, finishes[i]);
    mr_bin_array_close(bin, mark, count);
}

static enum mr_status
write_group(struct mr_pg *pg, struct mr_tx *tx, struct mr_finish *const *finishes,
    uint32_t count, struct mr_err *err)
{
    struct mr_args args = {0};
    struct mr_pipe pipe;
    enum mr_status status;

    mr_pg_pipe_open(&pipe, pg, err);
    mr_tx_begin(tx, &pipe);
    mr_tx_put(tx, &pipe);
    put_array(&args, MR_BIN_UUID, put_id, finishes, count);
    put_array(&args, MR_BIN_INT4, put_attempt, finishes, count);
    mr_bin_put_some_words(mr_stmt_arg(&args), finishes[0]->worker);
    put_array(&args, MR_BIN_TIME, put_started_at, finishes, count);
    put_array(&args, MR_BIN_TIME, put_finished_at, finishes, count);
    put_array(&args, MR_BIN_BYTEA, put_body, finishes, count);
    (void)mr_pg_pipe_add(&pipe, MR_STMT_FINISH_GROUP, &args);
    (void)mr_pg_pipe_add(&pipe, MR_STMT_COMMIT, NULL);
    status = mr_pg_pipe_run(&pipe);
    mr_pg_pipe_fini(&pipe);
    mr_stmt_args_fini(&args);
    return mr_tx_done(tx, pg, status, err);
}

enum mr_status
mr_finish_group(struct mr_pg *pg, struct mr_tx *tx, struct mr_finish *const *finishes,
    uint32_t count, struct mr_err *err)
{
    enum mr_status status = mr_stmt_prepare(pg, MR_STMT_WORKER, err);

    MR_ASSERT(count > 0);
    if (status == MR_OK && mr_tx_has_checks(tx))
        status = mr_tx_send(tx, pg, err); /* the last word is ours, before COMMIT */
    if (status != MR_OK) {
        mr_pg_rollback(pg);
        return status;
    }
    status = write_group(pg, tx, finishes, count, err);
    if (status == MR_STORE_DOWN && MR_MUTANT(done_on_ok))
        status = MR_OK;
    for (uint32_t i = 0; status == MR_OK && i < count; i++)
        finishes[i]->status = MR_OK;
    return status;
}
