/*
 * How a worker's results become durable (promise P3): a result row in the handler's own
 * transaction, or many rows in the committer's. Whoever comes second hits the primary key,
 * writes nothing, and learns what is stored.
 */
#ifndef MR_SQL_FINISH_H
#define MR_SQL_FINISH_H

#include "schemas/base/arena.h"
#include "schemas/sql/pg.h"
#include "schemas/sql/tx.h"
#include "schemas/wire/msg.h"

/* application_name of every connection of a worker: this and the 32 lower-case hex digits of
 * its instance. By it the broker ends the sessions of a lost worker. */
#define MR_WORKER_SESSION_PREFIX "mr:"

struct mr_finish {
    struct mr_uuid id;
    uint32_t attempt;
    struct mr_span worker; /* name for people */
    struct mr_span body;   /* msgpack; empty is stored as null */
    int64_t started_at_us, finished_at_us;
    /* Ours, false at first: a batch with it was not answered. It may be there already. */
    bool is_in_doubt;

    /* Out: MR_OK stored now; MR_FINISHED somebody was first, found_* say what stands (spans in
     * the arena given to the call); MR_NO_JOB the job row does not exist; MR_BAD_ARGUMENT. */
    enum mr_status status;
    enum mr_outcome found_outcome;
    uint32_t found_attempt;
    struct mr_span found_text, found_body;
};

/*
 * In one round trip: what is queued in `tx` (NULL: nothing), the succeeded result row and COMMIT,
 * in the open transaction of `pg`, or in one of its own when none is open. (In two, if there are
 * demands that the server cannot judge.) The function's own status: MR_OK: finish->status is true
 * and durable; MR_FINISHED: it was rolled back, mr_finish_found says what stands. MR_STORE_DOWN:
 * unknown whether it committed; reconnect, then mr_finish_settle. MR_BUSY: 40001 or 40P01 at
 * commit, rolled back, run the handler again. Others, also of a queued statement: rolled back.
 */
enum mr_status mr_finish_one(struct mr_pg *pg, struct mr_tx *tx, struct mr_finish *finish,
    struct mr_err *err) MR_MUST_CHECK;

/*
 * The same for several jobs that share the transaction, all by one worker: each of their rows, or
 * nothing. MR_OK: all are stored, and each status is MR_OK. MR_STORE_DOWN: unknown; reconnect,
 * then mr_finish_settle each of them. Others: it was rolled back; MR_FINISHED: some row cannot be
 * written, which of them is not said.
 */
enum mr_status mr_finish_group(struct mr_pg *pg, struct mr_tx *tx,
    struct mr_finish *const *finishes, uint32_t count, struct mr_err *err) MR_MUST_CHECK;

/* After MR_FINISHED of mr_finish_one: look for what stands, into found_*. */
enum mr_status mr_finish_found(struct mr_pg *pg, struct mr_finish *finish,
    struct mr_arena *arena, struct mr_err *err) MR_MUST_CHECK;

/* After a connection that was lost at COMMIT: look for the row. finish->status becomes MR_OK
 * (ours is there: same attempt and worker), MR_FINISHED (another's) or MR_NOT_FOUND (it did not
 * commit: run again). What is MR_OK is then as durable as after an answer to its COMMIT. */
enum mr_status mr_finish_settle(struct mr_pg *pg, struct mr_finish *finish,
    struct mr_arena *arena, struct mr_err *err) MR_MUST_CHECK;

/* The committer's batch: all rows in one transaction, each with its own status. May be repeated
 * after MR_STORE_DOWN: rows that are already there show as MR_FINISHED with our attempt. A row
 * that somebody else holds for half a second gets MR_BUSY, found by halving the batch: give it
 * again later. Needs 4 bytes a row of the arena beside what is found. Changes lock_timeout and
 * plan_cache_mode of the session: the connection should run nothing else. */
enum mr_status mr_finish_batch(struct mr_pg *pg, struct mr_finish *const *finishes,
    uint32_t count, struct mr_arena *arena, struct mr_err *err) MR_MUST_CHECK;

/* A follow-up job of `parent`, whose owner owns it, in the open transaction. The same id again in
 * the same or another transaction does nothing. */
enum mr_status mr_inbox_put(struct mr_pg *pg, const struct mr_job_new *job,
    struct mr_uuid parent, struct mr_err *err) MR_MUST_CHECK;

#endif
