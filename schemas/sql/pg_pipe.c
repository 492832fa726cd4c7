#include "schemas/sql/pg_priv.h"

#include <string.h>

#include <libpq-fe.h>

#include "schemas/sql/tx_priv.h"

void
mr_pg_pipe_open(struct mr_pipe *pipe, struct mr_pg *pg, struct mr_err *err)
{
    *pipe = (struct mr_pipe){.pg = pg, .err = err};
    pg->sqlstate[0] = '\0';
    pg->is_in_doubt = false;
    if (pg->is_dead || !PQenterPipelineMode(pg->conn))
        pipe->status = mr_pg_fail(pg, NULL, "cannot send to PostgreSQL", err);
}

int
mr_pg_pipe_add(struct mr_pipe *pipe, enum mr_stmt stmt, const struct mr_args *args)
{
    if (pipe->status != MR_OK)
        return 0;
    MR_ASSERT(pipe->count < MR_PIPE_MAX);
    pipe->status = mr_stmt_send(pipe->pg, stmt, args, pipe->err);
    if (pipe->status != MR_OK)
        return 0;
    pipe->stmts[pipe->count] = stmt;
    return pipe->count++;
}

static void
blame(struct mr_pipe *pipe, const struct pg_result *result, const char *what)
{
    if (pipe->status == MR_OK)
        pipe->status = mr_pg_fail(pipe->pg, result, what, pipe->err);
}

/* The results of one statement: one, and the NULL behind it. */
static void
read_one(struct mr_pipe *pipe, int at)
{
    struct pg_result *result = mr_pg_next(pipe->pg);
    ExecStatusType got = PQresultStatus(result);
    const char *what = mr_stmt_what(pipe->stmts[at]);

    if (got != PGRES_COMMAND_OK && got != PGRES_TUPLES_OK)
        blame(pipe, result, what);
    else if (pipe->stmts[at] == MR_STMT_COMMIT &&
             strcmp(PQcmdStatus(result), "COMMIT") != 0)
        /* COMMIT of a failed transaction answers ROLLBACK, and no error. */
        blame(pipe, NULL, what);
    pipe->results[at] = result;
    if (result)
        PQclear(mr_pg_next(pipe->pg));
}

static void
read_all(struct mr_pipe *pipe)
{
    for (int i = 0; i <= pipe->count && mr_pg_is_alive(pipe->pg); i++) {
        if (pipe->tx && i == pipe->tx_at)
            mr_tx_take(pipe->tx, pipe);
        if (i < pipe->count && mr_pg_is_alive(pipe->pg))
            read_one(pipe, i);
    }
}

/* The server may have said why before it hung up. */
static void
blame_loss(struct mr_pipe *pipe, const struct pg_result *result, const char *what)
{
    if (pipe->status != MR_FENCED && pipe->status != MR_STORE_DOWN)
        pipe->status = mr_pg_fail(pipe->pg, result, what, pipe->err);
}

static void
read_sync(struct mr_pipe *pipe)
{
    struct pg_result *result = mr_pg_next(pipe->pg);

    if (PQresultStatus(result) != PGRES_PIPELINE_SYNC) {
        /* Only with this answer is anything known. */
        pipe->pg->is_dead = true;
        blame_loss(pipe, result, "no answer to a commit");
    }
    PQclear(result);
}

enum mr_status
mr_pg_pipe_run(struct mr_pipe *pipe)
{
    struct mr_pg *pg = pipe->pg;

    if (!mr_pg_is_alive(pg) || PQpipelineStatus(pg->conn) == PQ_PIPELINE_OFF) {
        blame(pipe, NULL, "cannot send to PostgreSQL");
        return pipe->status;
    }
    /* A statement that could not be sent must not let those before it commit by the sync: the
     * COMMIT is the last one, so it was not sent either. */
    if (!PQpipelineSync(pg->conn)) {
        blame(pipe, NULL, "cannot send to PostgreSQL");
        pg->is_dead = true;
        return pipe->status;
    }
    read_all(pipe);
    if (mr_pg_is_alive(pg))
        read_sync(pipe);
    else
        blame_loss(pipe, NULL, "connection lost");
    if (!mr_pg_is_alive(pg))
        return pipe->status;
    if (!PQexitPipelineMode(pg->conn)) {
        pg->is_dead = true;
        blame(pipe, NULL, "cannot leave the pipeline");
        return pipe->status;
    }
    if (pipe->status == MR_OK && pg->is_in_doubt)
        pipe->status = mr_err_set(pipe->err, MR_STORE_DOWN, "a commit is in doubt",
            "PostgreSQL stopped waiting for its standby", "Check the standby.");
    if (pipe->status != MR_OK && !pipe->keeps_transaction)
        mr_pg_rollback(pg);
    return pipe->status;
}

void
mr_pg_pipe_fini(struct mr_pipe *pipe)
{
    for (int i = 0; i < pipe->count; i++)
        PQclear(pipe->results[i]);
    pipe->count = 0;
}
