/*
 * A handler's transaction in as few round trips as can be. BEGIN travels with the first statement
 * that is sent. A statement that nobody waits for is queued: it travels with the next one that
 * somebody waits for, or with the result row and COMMIT (finish.h). What is queued has not been
 * sent: to forget it costs nothing. A text that comes again on a connection is prepared there.
 * One thread.
 */
#ifndef MR_SQL_TX_H
#define MR_SQL_TX_H

#include <stdbool.h>
#include <stddef.h>

#include "schemas/sql/pg.h"
#include "schemas/wire/msg.h"

/* More than this does not wait together. */
#define MR_TX_QUEUED_MAX 256
#define MR_TX_BYTES_MAX ((size_t)256 * 1024)

struct mr_tx;

/* What a queued statement has to do; else nothing of the transaction may commit. */
struct mr_tx_demand {
    long rows;        /* touched: inserted, updated, deleted or selected */
    const char *text; /* the reason if it did not; NULL: one that names the statement */
    bool for_good;    /* for the caller: mr_tx_is_refused_for_good */
};

enum mr_status mr_tx_new(struct mr_tx **out) MR_MUST_CHECK;
void mr_tx_destroy(struct mr_tx **tx);

/* Start afresh: what is queued is not sent. The transaction itself is the connection's. */
void mr_tx_reset(struct mr_tx *tx);

/* What is sent from now on waits at most half a second for a lock that somebody else has
 * (lock_timeout, for this transaction): MR_BUSY then. To be called before anything is sent. */
void mr_tx_be_impatient(struct mr_tx *tx);

/* A place in the queue, to come back to: false if something of what came later was sent. */
struct mr_tx_mark {
    int count;
    unsigned flights;
};
struct mr_tx_mark mr_tx_mark(const struct mr_tx *tx);
bool mr_tx_was_sent(const struct mr_tx *tx, struct mr_tx_mark mark);
bool mr_tx_cut(struct mr_tx *tx, struct mr_tx_mark mark) MR_MUST_CHECK;

bool mr_tx_is_empty(const struct mr_tx *tx);
/* No more: mr_tx_send it now. */
bool mr_tx_is_full(const struct mr_tx *tx);

/* Queue a copy of a statement with text parameters. `demand` may be NULL. Not full before. */
enum mr_status mr_tx_queue(struct mr_tx *tx, const char *sql, int count,
    const char *const *params, const struct mr_tx_demand *demand,
    struct mr_err *err) MR_MUST_CHECK;
/* ... a follow-up job of `parent`. The same id again does nothing. */
enum mr_status mr_tx_queue_inbox(struct mr_tx *tx, const struct mr_job_new *job,
    struct mr_uuid parent, struct mr_err *err) MR_MUST_CHECK;

/*
 * Send what is queued, in an open transaction (which is opened if it is not). The first statement
 * that fails gives the status; the transaction is left as the server left it, and the queue is
 * empty either way. MR_BAD_ARGUMENT: also a demand that was not met, see below.
 */
enum mr_status mr_tx_send(
    struct mr_tx *tx, struct mr_pg *pg, struct mr_err *err) MR_MUST_CHECK;
/* ... and this statement behind it, in the same round trip. */
enum mr_status mr_tx_run(struct mr_tx *tx, struct mr_pg *pg, const char *sql, int count,
    const char *const *params, struct pg_result **result,
    struct mr_err *err) MR_MUST_CHECK;

/* Until the next reset nothing may commit: a demand was not met, or the caller says so, because
 * a statement is missing. */
void mr_tx_refuse(struct mr_tx *tx);
bool mr_tx_is_refused(const struct mr_tx *tx);
bool mr_tx_is_refused_for_good(const struct mr_tx *tx);

#endif
