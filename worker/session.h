/*
 * What a worker decides: which attempt starts when, what it may be sent, what it has to report,
 * what it holds. Pure: (event, now) -> actions, and messages that are asked for when the socket
 * has room. No socket, no thread, no clock, no database: link.c drives it, and so can a
 * simulator. One thread at a time.
 *
 *     JOBS --> QUEUED --idle executor--> RUNNING --executor idle----> STORING (committer)
 *                 |                         |                            |
 *                 | given back, revoked     | failed, own transaction    | result durable
 *                 +-----------------------> REPORTED <-------------------+
 *                                              | DONE
 *                                              v
 *                        (free) <--- ACK --- SENT ---connection lost---> REPORTED
 *
 * An executor is handed a batch: one attempt, or several while they are short. What it has not
 * claimed is taken back when the one before it turns out to be long, when it is revoked, and at
 * the end.
 *
 * An attempt that was revoked as stale, or whose job came again under a newer number, is
 * disowned: nobody is told what becomes of it (promise P3 makes that safe), and when its
 * executor returns it is forgotten.
 *
 * Credit is an absolute number since WELCOME: what was taken, and as many again as there is
 * room for. There is room for threads + prefetch attempts that are queued or run (more while
 * jobs are short, and what is too much when they turn out to be long is given back), as long as
 * at most results_max (and results_bytes_max) that have run wait to be stored and acknowledged.
 */
#ifndef MR_WORKER_SESSION_H
#define MR_WORKER_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/clock.h"
#include "schemas/base/hash.h"
#include "schemas/base/status.h"
#include "schemas/wire/msg.h"
#include "worker/attempt.h"
#include "worker/batch.h"
#include "worker/registry.h"

struct mr_session;

struct mr_session_conf {
    uint32_t threads;
    uint32_t prefetch, prefetch_max; /* between these the pace decides; see pace.h */
    uint32_t guess_us; /* how long a job runs, before one has; 0: MR_PACE_AHEAD_US */
    uint32_t results_max;
    uint64_t results_bytes_max;
    uint32_t hang_grace_ms; /* past its timeout, until an executor is written off */
    uint32_t spares;        /* executors that may be written off and replaced */
    uint32_t drain_ms;      /* from drain until what still runs is told to stop */
    struct mr_hash_key hash_key;
    const struct mr_registry *kinds;
    const char *isolate; /* the setting; NULL: as the kinds ask */
};

enum mr_session_act {
    MR_SESSION_START,   /* executor `executor`, which is idle, gets the batch */
    MR_SESSION_CANCEL,  /* its SQL in flight is to be cancelled; attempt->stop says why */
    MR_SESSION_REPLACE, /* the executor hangs: a new thread takes its number */
    MR_SESSION_HURRY,   /* the committer gives back what it cannot store now */
};

/* START: `batch`, which is the session's again when the executor is idle; if it never is, because
 * it was replaced, when the session is destroyed. CANCEL, REPLACE: `attempt`. */
typedef void (*mr_session_act_fn)(void *context, enum mr_session_act act,
    uint32_t executor, struct mr_batch *batch, struct mr_attempt *attempt);

/* All executors count as idle. */
enum mr_status mr_session_new(struct mr_session **out, const struct mr_session_conf *conf,
    mr_session_act_fn act, void *context) MR_MUST_CHECK;
/* Frees what it has in hand, and the batches; attempts that run are left to those who have
 * them. */
void mr_session_destroy(struct mr_session **session);

/* ---- the link ------------------------------------------------------------------------------ */

/* WELCOME: a new count of credit begins; everything unacknowledged is reported again. */
void mr_session_welcomed(
    struct mr_session *session, struct mr_now now, uint32_t heartbeat_ms);

/* The connection is gone: nothing to say until the next WELCOME. */
void mr_session_fell(struct mr_session *session);

/* The next message that wants to be sent, if there is one, into the empty `wr`. */
bool mr_session_say(struct mr_session *session, struct mr_now now, struct mr_wr *wr);

/* ---- the broker ------------------------------------------------------------------------------ */

/* One item of JOBS. MR_NO_MEMORY, or more than was ever permitted: close the connection. */
enum mr_status mr_session_job(struct mr_session *session, struct mr_now now,
    const struct mr_job_sent *sent) MR_MUST_CHECK;

void mr_session_revoked(
    struct mr_session *session, struct mr_now now, const struct mr_revoked *revoked);

/* ACK of a DONE. */
void mr_session_acked(struct mr_session *session, uint64_t corr);

/* ERROR in answer to a DONE: 1xx, it is said again after the hint; else what it reported is
 * given up and the number of outcomes comes back. */
uint32_t mr_session_refused(struct mr_session *session, struct mr_now now, uint64_t corr,
    enum mr_status code, uint32_t retry_after_ms);

/* ---- the executors and the committer ----------------------------------------------------------- */

/* An executor is through with its batch: what has not come back is with the committer, and
 * attempt->stored_bytes says how much that is. Not for executors that were replaced. */
void mr_session_idle(struct mr_session *session, uint32_t executor);

/* An attempt came back, with attempt->done filled. */
void mr_session_returned(struct mr_session *session, struct mr_attempt *attempt);

/* ---- time and the end ---------------------------------------------------------------------------- */

/* Timeouts, hangs, starts. Once per turn, after the events. Returns the monotonic time of the
 * next thing to do. */
int64_t mr_session_tick(struct mr_session *session, struct mr_now now);

/* Give back what has not started, take nothing more; after drain_ms tell the rest to stop, and
 * after hang_grace_ms more be over. Again: over at once. */
void mr_session_drain(struct mr_session *session, struct mr_now now);

bool mr_session_is_draining(const struct mr_session *session);
/* Draining, and nothing is left or the time is up. */
bool mr_session_is_over(const struct mr_session *session, struct mr_now now);

/* More executors hung than could be replaced: the session drains by itself. */
bool mr_session_is_worn_out(const struct mr_session *session);

/* Attempts in hand, whatever their state; of these, on executors. */
uint32_t mr_session_held(const struct mr_session *session);
uint32_t mr_session_running(const struct mr_session *session);

#endif
