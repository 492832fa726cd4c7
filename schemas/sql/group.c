/* finish.h: several jobs in one transaction. */
#include "schemas/sql/finish.h"

#include "schemas/base/mutant.h"
#include "schemas/sql/finish_cols.h"
#include "schemas/sql/tx_priv.h"

static void
put_array(struct mr_args *args, enum mr_finish_col col, struct mr_finish *const *finishes,
    uint32_t count)
{
    struct mr_bin *bin = mr_stmt_arg(args);
    size_t mark = mr_bin_array_open(bin, mr_finish_col_type(col));

    for (uint32_t i = 0; i < count; i++)
        mr_finish_col_put(col, bin, finishes[i]);
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
    put_array(&args, MR_FINISH_ID, finishes, count);
    put_array(&args, MR_FINISH_ATTEMPT, finishes, count);
    mr_bin_put_some_words(mr_stmt_arg(&args), finishes[0]->worker);
    put_array(&args, MR_FINISH_STARTED_AT, finishes, count);
    put_array(&args, MR_FINISH_FINISHED_AT, finishes, count);
    put_array(&args, MR_FINISH_BODY, finishes, count);
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
