/* What is queued, for the files of this folder that send it. Not installed, not for others. */
#ifndef MR_SQL_TX_PRIV_H
#define MR_SQL_TX_PRIV_H

#include "schemas/sql/pg_priv.h"
#include "schemas/sql/tx.h"

/* BEGIN, unless it is open, as this transaction wants it. `tx` may be NULL. */
void mr_tx_begin(struct mr_tx *tx, struct mr_pipe *pipe);
/* Between mr_pg_pipe_open and mr_pg_pipe_run: send all that is queued here. `tx` may be NULL. */
void mr_tx_put(struct mr_tx *tx, struct mr_pipe *pipe);
/* Within mr_pg_pipe_run: read the results of these. */
void mr_tx_take(struct mr_tx *tx, struct mr_pipe *pipe);
/* After mr_pg_pipe_run, with what it returned: the queue is empty. The status to go on with. */
enum mr_status mr_tx_done(
    struct mr_tx *tx, struct mr_pg *pg, enum mr_status status, struct mr_err *err);
/* The last thing that failed in a pipeline was one of these. */
bool mr_tx_has_failed(const struct mr_tx *tx);
/* Whether there is a demand that only we can judge, once the row counts are here. */
bool mr_tx_has_checks(const struct mr_tx *tx);

/* Parameters of MR_STMT_INBOX_PUT. */
void mr_inbox_args(
    struct mr_args *args, const struct mr_job_new *job, struct mr_uuid parent);

#endif
