/*
 * A connection's inside, for the files of this folder. Not installed, not for others.
 */
#ifndef MR_SQL_PG_PRIV_H
#define MR_SQL_PG_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/status.h"
#include "schemas/sql/pg.h"
#include "schemas/sql/stmt.h"

struct mr_known;
struct mr_tx;

struct mr_pg {
    struct pg_conn *conn;
    struct mr_known *known; /* statements of handlers; NULL until there is one */
    char sqlstate[6];
    unsigned prepared; /* enum mr_stmt_set */
    int limit_ms;      /* longest wait for an answer; 0: none */
    bool is_dead;      /* given up by us: no answer in time */
    bool is_in_doubt;  /* the server said that a commit may not have reached a standby */
};

/* Remember the error of `result` (NULL: of the connection), explain it in `err`, return its
 * status (never MR_OK). Does not free the result. */
enum mr_status mr_pg_fail(struct mr_pg *pg, const struct pg_result *result,
    const char *what, struct mr_err *err);

/* The next result as PQgetResult gives it, but within limit_ms; NULL also when time is over
 * (then the connection is dead). */
struct pg_result *mr_pg_next(struct mr_pg *pg);

/* Read and free what is left of a plain statement. */
void mr_pg_drain(struct mr_pg *pg);

/* Several statements as one text without parameters: migrations. */
enum mr_status mr_pg_script(struct mr_pg *pg, const char *sql, const char *what,
    struct mr_err *err) MR_MUST_CHECK;

/* ---- a pipeline: several statements, one round trip --------------------------------------------- */

#define MR_PIPE_MAX 8
struct mr_pipe {
    struct mr_pg *pg;
    enum mr_stmt stmts[MR_PIPE_MAX];
    struct pg_result *results[MR_PIPE_MAX]; /* after a run; freed by mr_pg_pipe_fini */
    int count;
    struct mr_tx *tx; /* what it has queued was sent before stmts[tx_at]; NULL: nothing */
    int tx_at;
    bool keeps_transaction; /* also when something failed */
    enum mr_status status;  /* of the first thing that failed */
    struct mr_err *err;
};

void mr_pg_pipe_open(struct mr_pipe *pipe, struct mr_pg *pg, struct mr_err *err);
/* Send one; returns its place in results[]. Errors are sticky. */
int mr_pg_pipe_add(struct mr_pipe *pipe, enum mr_stmt stmt, const struct mr_args *args);
/*
 * Sync, read all results, leave pipeline mode. MR_OK only after the server's answer to the
 * sync, and only if every COMMIT in it answered COMMIT. After an error that leaves the connection
 * alive, an open transaction is rolled back, unless the pipe keeps it.
 */
enum mr_status mr_pg_pipe_run(struct mr_pipe *pipe) MR_MUST_CHECK;
void mr_pg_pipe_fini(struct mr_pipe *pipe);

/* One statement alone, whole result (freed by the caller, NULL: not wanted). */
enum mr_status mr_pg_exec(struct mr_pg *pg, enum mr_stmt stmt, const struct mr_args *args,
    struct pg_result **result, struct mr_err *err) MR_MUST_CHECK;

/* One statement alone, row by row: memory for one row only. `fn` gets a result with that
 * one row; false stops (the rest is cancelled). */
typedef bool (*mr_pg_row_fn)(void *context, const struct pg_result *row);
enum mr_status mr_pg_each(struct mr_pg *pg, enum mr_stmt stmt, const struct mr_args *args,
    mr_pg_row_fn fn, void *context, struct mr_err *err) MR_MUST_CHECK;

#endif
