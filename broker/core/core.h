/*
 * The broker's decisions: which job is in which state, who may run what, what has to be
 * stored and who has to be told. Pure: (event, now) -> actions. No socket, no SQL, no clock, no
 * thread of its own: the same code runs in the broker's loop, in the simulator under virtual
 * time, and under a fuzzer. One thread at a time.
 *
 *              submit           commit              due              credit
 *   (nothing) -------> STORING -------> WAITING ---------> READY ---------------> SENT
 *                         | refused        ^  ^ retry, snooze |                    | DONE
 *                         v                |  +---------------|--- SETTLING <------+
 *                      (nothing)           |                  |        |           | worker lost
 *   RECOVERED --grace over, none held it---+                  |        v           v
 *       | a worker holds it -> SENT                           |    (finished) <- CHECKING
 *       +--------------------------------- cancel, expiry --> SETTLING
 *
 * Every change of state goes through one function (job_move in job.c). What is finished leaves
 * memory; the truth about it is its row in `result`. Every table has a cap; a full one is a
 * typed refusal, never an allocation.
 *
 * Order: jobs of a lane (lane.h) start in the order in which they became ready; one that was
 * given back or lost goes to the front. Times: run_at and delays are turned into monotonic time
 * at acceptance, so that a step of the wall clock moves none of them; an expiry is compared
 * with the wall clock again when its timer fires and when the job would be sent.
 *
 * Answers come as actions through one callback, in order, during the call that caused them;
 * what they point to lives until the callback returns. The callback never calls the core.
 */
#ifndef MR_BROKER_CORE_CORE_H
#define MR_BROKER_CORE_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/core/quota.h"
#include "broker/core/rights.h"
#include "schemas/base/clock.h"
#include "schemas/base/hash.h"
#include "schemas/base/status.h"
#include "schemas/base/uuid.h"
#include "schemas/sql/rows.h"
#include "schemas/wire/msg.h"

struct mr_core;

/* ---- settings ------------------------------------------------------------------------------ */

struct mr_core_conf {
    uint32_t shard;
    uint32_t jobs_max; /* unfinished jobs in memory */
    uint64_t
        payload_bytes_max; /* of their payloads; above it payloads are read back when due */
    uint32_t storing_max;       /* jobs that wait for their commit */
    uint64_t storing_bytes_max; /* ... and their payload bytes */
    uint32_t workers_max, clients_max;
    uint32_t queues_max, kinds_max, lanes_max, watches_max;
    uint32_t owners_max;    /* principals with jobs or sessions, 16383 at most */
    uint32_t heartbeat_ms;  /* a peer is silent too long after three of them */
    uint32_t grace_ms;      /* after a start: how long workers may claim what they hold */
    uint32_t age_ms;        /* waiting that long raises a job's priority by one */
    uint32_t busy_retry_ms; /* the hint in BUSY */
    uint32_t attempts_max, timeout_ms, backoff_base_ms, backoff_cap_ms; /* defaults */
    uint32_t backoff_factor_percent, backoff_jitter_percent;            /* defaults */
    uint32_t timeout_slack_ms; /* the worker enforces a timeout; so much later we do */
    /* A job that was running so often when its worker or its process ended is quarantined
     * (failed). What was only queued in that worker is lost, too, but not to blame. */
    uint32_t losses_max;
    int64_t id_past_ms, id_future_ms; /* how far an id's time may be from now */
    bool refuses_unknown_kinds;
    uint64_t seed; /* of the jitter */
    struct mr_hash_key hash_key;
};

/* Sensible values for one host (caps for 1,000,000 jobs). */
void mr_core_conf_default(struct mr_core_conf *conf);

/* ---- actions -------------------------------------------------------------------------------- */

enum mr_act {
    MR_ACT_STORE, /* op: write this row in the next batch; answer: mr_core_stored */
    MR_ACT_END_SESSIONS, /* instance: end that worker's database sessions before the batch */
    MR_ACT_FIND,     /* id: is there a result, is there a job? answer: mr_core_found */
    MR_ACT_READ,     /* id: payload wanted; answer: mr_core_read_back */
    MR_ACT_SWEEP,    /* look into the inbox; answer: mr_core_loaded for each */
    MR_ACT_ADD_KIND, /* text: a kind never seen before; remember it */
    MR_ACT_ACK,      /* peer, corr, count, verdicts */
    MR_ACT_ERROR, /* peer, corr, code, text, retry_after_ms: a whole message is refused */
    MR_ACT_REPLY, /* peer, corr, code, text: answer to cancel */
    MR_ACT_JOB,   /* peer, job: dispatch */
    MR_ACT_EVENT, /* peer, event */
    MR_ACT_REVOKE,    /* peer, revoked */
    MR_ACT_DRAIN,     /* peer: tell this worker to end in order */
    MR_ACT_DROP_PEER, /* peer, text: forgotten; its number may be used again */
};

struct mr_action {
    enum mr_act act;
    uint32_t peer;
    uint64_t corr;
    struct mr_uuid id; /* FIND, READ; END_SESSIONS: the worker's instance */
    bool with_history; /* READ: not only the payload, also what became of its attempts */
    enum mr_status code;
    struct mr_span text;
    uint32_t count; /* ACK: items in the message */
    const struct mr_verdict *verdicts;
    uint32_t verdict_count;
    uint32_t retry_after_ms;
    const struct mr_store_op *op;
    const struct mr_job_sent *job;
    const struct mr_event *event;
    const struct mr_revoked *revoked;
};

typedef void (*mr_core_act_fn)(void *context, const struct mr_action *action);

enum mr_status mr_core_new(struct mr_core **out, const struct mr_core_conf *conf,
    mr_core_act_fn act, void *context) MR_MUST_CHECK;
void mr_core_destroy(struct mr_core **core);

/* ---- peers ------------------------------------------------------------------------------------ */

/* Who may do what, from now on. Borrowed until the next call, or until the core is gone. What
 * workers may not run any more they are not sent; what they hold they may finish. NULL, as in the
 * beginning: everybody everything. */
void mr_core_set_rights(
    struct mr_core *core, struct mr_now now, const struct mr_rights *rights);

/* `peer` is the loop's number for a session, below workers_max + clients_max; `principal` who it
 * acts for and what it submits belongs to (by its name), 0: nobody asks. MR_BUSY: no room;
 * MR_LIMIT: its connections_max is reached. */
enum mr_status mr_core_client_joins(struct mr_core *core, struct mr_now now,
    uint32_t peer, uint32_t principal, struct mr_span name) MR_MUST_CHECK;

/* `offers`: hello->offers rows. A worker of the same instance that is still known is replaced:
 * what it held stays with the new session until its first BEATs said what is left of it
 * (within grace_ms). MR_MALFORMED for a bad kind name; MR_DENIED if that instance is another
 * principal's. */
enum mr_status mr_core_worker_joins(struct mr_core *core, struct mr_now now,
    uint32_t peer, uint32_t principal, const struct mr_hello *hello,
    const struct mr_offer *offers) MR_MUST_CHECK;

/* Any message of the peer counts as life. */
void mr_core_heard(struct mr_core *core, struct mr_now now, uint32_t peer);

/* We ourselves were away (stopped, swapped out): nobody's silence meanwhile counts. Before the
 * next tick. */
void mr_core_overslept(struct mr_core *core, struct mr_now now);

/* Was unreachable on send, or fell silent. A worker's attempts become lost. Emits DROP_PEER. */
void mr_core_leaves(
    struct mr_core *core, struct mr_now now, uint32_t peer, struct mr_span reason);

/* Ended in order. What a worker still holds then (it was not given the time to wait for it) is
 * handed back: no attempt is spent. Emits DROP_PEER. */
void mr_core_says_bye(
    struct mr_core *core, struct mr_now now, uint32_t peer, struct mr_span reason);

/* ---- clients ----------------------------------------------------------------------------------- */

/* One SUBMIT message: open, each job, close. Open refuses the whole message with MR_BUSY,
 * MR_STORE_DOWN, MR_STARTING or MR_DRAINING (emits ERROR, takes nothing: do not go on). The
 * ACK comes when every job has its verdict. */
enum mr_status mr_core_submit_open(struct mr_core *core, struct mr_now now, uint32_t peer,
    uint64_t corr, uint32_t flags, uint32_t jobs) MR_MUST_CHECK;
/* Of a message with MR_SUBMIT_RESENT, a job whose expiry is over goes to the store all the same:
 * it may be there, finished even. */
void mr_core_submit_job(
    struct mr_core *core, struct mr_now now, const struct mr_job_new *job);
/* Instead of the next job: its submitter may not. `why` is copied, and may be empty. */
void mr_core_submit_denied(struct mr_core *core, struct mr_now now, struct mr_span why);
void mr_core_submit_close(struct mr_core *core, struct mr_now now);

/*
 * Whose a job is: its submitter's principal's, by name; a row says so in submitted_by. Below, a
 * `scope` that is not MR_SCOPE_ANY is for the caller's own jobs: another one's is answered as an id
 * that does not exist is, after the same look into the database. To submit another one's id is
 * MR_CONFLICT, whatever is in it.
 */

/* Answered by an EVENT: WAITING, FINISHED or NO_JOB. watches_max reached: ERROR with corr 0.
 * A watch keeps its scope until it ends; watching again can only widen it. */
void mr_core_watch(struct mr_core *core, struct mr_now now, uint32_t peer,
    struct mr_uuid id, bool on, enum mr_scope scope);

/* REPLY comes when the verdict is final: MR_OK (will never run, or stopped), MR_FINISHED,
 * MR_NO_JOB. A running job is revoked first; its worker's answer decides. MR_BUSY: ask again
 * (watches_max reached, or the job is in the database and not loaded yet). */
void mr_core_cancel(struct mr_core *core, struct mr_now now, uint32_t peer, uint64_t corr,
    struct mr_uuid id, enum mr_scope scope);

/* ---- workers ------------------------------------------------------------------------------------ */

void mr_core_credit(
    struct mr_core *core, struct mr_now now, uint32_t peer, uint64_t limit);

/* One DONE message: each outcome ahead, then open, each outcome, close; ACK when all is durable.
 * While jobs are being loaded, or too many outcomes wait, ERROR with STARTING or BUSY: the worker
 * sends it again. `ahead` finds outcomes of jobs that are still to be loaded, and asks for these.
 * Outcomes of attempts that are not current change nothing but are acknowledged (verdict
 * MR_STALE). */
void mr_core_done_ahead(
    struct mr_core *core, struct mr_now now, uint32_t peer, const struct mr_done *done);
void mr_core_done_open(struct mr_core *core, struct mr_now now, uint32_t peer,
    uint64_t corr, uint32_t flags, uint32_t dones);
void mr_core_done(struct mr_core *core, struct mr_now now, const struct mr_done *done);
void mr_core_done_close(struct mr_core *core, struct mr_now now);

/* One item of a BEAT: progress; adopts a recovered attempt; is revoked as stale if the job is
 * finished, cancelled or given to another. */
void mr_core_held(
    struct mr_core *core, struct mr_now now, uint32_t peer, const struct mr_held *held);

/* ---- the store ------------------------------------------------------------------------------------ */

/* What became of a row (status and found_* filled). */
void mr_core_stored(
    struct mr_core *core, struct mr_now now, const struct mr_store_op *op);

/* At start: load_begins, each unfinished job, load_done. Until grace_ms after its beginning nothing
 * is handed out, so that workers can say what they hold. Then what is loaded runs, although more
 * may be to come; a job that a worker holds is fetched when it says so. Without load_begins
 * the grace begins with load_done. load_asks: rows are read from now on, and all that were read
 * before have been given; a job that ends meanwhile is not made unfinished by its row. */
void mr_core_load_begins(struct mr_core *core, struct mr_now now);
void mr_core_load_asks(struct mr_core *core);
void mr_core_load_done(struct mr_core *core, struct mr_now now);

/* Nothing is taken or handed out yet. */
bool mr_core_is_loading(const struct mr_core *core);

/* An unfinished job from the database, at start or from the inbox. MR_BUSY when memory is full, or
 * while something is being stored under that id: stop loading, go on later. MR_BAD_ARGUMENT: a row that cannot be a job; go on with the next. */
enum mr_status mr_core_loaded(struct mr_core *core, struct mr_now now,
    const struct mr_stored_job *job) MR_MUST_CHECK;

void mr_core_found(struct mr_core *core, struct mr_now now, const struct mr_found *found);

/* `job` NULL: the job is finished or gone. */
void mr_core_read_back(struct mr_core *core, struct mr_now now, struct mr_uuid id,
    const struct mr_stored_job *job);

/* Down: submits are refused with STORE_DOWN and nothing new is dispatched. */
void mr_core_store_is_up(struct mr_core *core, struct mr_now now, bool is_up);

/* ---- operators ----------------------------------------------------------------------------------- */

enum mr_status mr_core_set_paused(struct mr_core *core, struct mr_now now,
    struct mr_span queue, bool is_paused) MR_MUST_CHECK;

/* A kind that some worker once offered (from the table `kind`, at start). */
enum mr_status mr_core_knows_kind(
    struct mr_core *core, struct mr_span kind) MR_MUST_CHECK;

/* This worker is told to end in order and sent nothing more, nor when it connects again. */
void mr_core_drain_worker(struct mr_core *core, struct mr_now now, uint32_t peer);

/* It said itself that it ends in order: it is sent nothing more. */
void mr_core_worker_ends(struct mr_core *core, struct mr_now now, uint32_t peer);

/* No new submits (DRAINING), no new dispatch. */
void mr_core_drain(struct mr_core *core, struct mr_now now);

/* ---- time ------------------------------------------------------------------------------------------ */

/* Everything that is due: retries, delays, expiry, timeouts, silent peers, grace. Then match
 * ready jobs with credit. Call once per turn of the loop, after the events. Returns the
 * monotonic time of the next thing to do (INT64_MAX: nothing). */
int64_t mr_core_tick(struct mr_core *core, struct mr_now now);

/* ---- looking in ------------------------------------------------------------------------------------- */

struct mr_core_stats {
    uint32_t jobs, storing, waiting, ready, sent, settling, recovered, checking;
    uint64_t payload_bytes;
    uint32_t loading; /* 1: some unfinished jobs may be in the database only */
    uint32_t workers, clients, watches, lanes;
    uint64_t submitted, known, refused, dispatched, succeeded, failed, cancelled, expired;
    uint64_t retried, snoozed, lost, crashed, timed_out, given_back, stale, adopted,
        quarantined, over_quota;
};
void mr_core_stats(const struct mr_core *core, struct mr_core_stats *out);
/* Its `stale` alone. */
uint64_t mr_core_stale(const struct mr_core *core);

struct mr_core_queue_info {
    struct mr_span name;
    bool is_paused;
    uint32_t waiting, ready, sent;
    uint64_t finished;
};
struct mr_core_owner_info {
    struct mr_span name;
    struct mr_quota quota; /* while it has a session */
    struct mr_quota_use use;
};
struct mr_core_worker_info {
    uint32_t peer;
    struct mr_span name;
    struct mr_uuid instance;
    uint32_t threads, sent, credit, kinds;
    int64_t heard_us; /* monotonic */
    bool is_draining;
};
struct mr_core_kind_info {
    struct mr_span name;
    uint32_t workers, ready, sent;
};
/* By number from 0; false past the last. Names live until the next call that is not one of
 * these. Gaps are skipped: *cursor starts at 0 and is moved. */
bool mr_core_next_queue(
    const struct mr_core *core, uint32_t *cursor, struct mr_core_queue_info *out);
bool mr_core_next_worker(
    const struct mr_core *core, uint32_t *cursor, struct mr_core_worker_info *out);
/* Principals that have, or lately had, jobs or sessions. */
bool mr_core_next_owner(
    const struct mr_core *core, uint32_t *cursor, struct mr_core_owner_info *out);
bool mr_core_next_kind(
    const struct mr_core *core, uint32_t *cursor, struct mr_core_kind_info *out);

/* Why is this job not running? One sentence into `out`: "no worker offers kind x", "queue y is
 * paused", "waits until ...", "in backoff after attempt 2 until ...", "no credit: all n threads
 * are busy", "the store is down", "running on worker w since ...". MR_NO_JOB if it is not in
 * memory (ask the store). */
enum mr_status mr_core_explain(const struct mr_core *core, struct mr_now now,
    struct mr_uuid id, char *out, size_t out_bytes) MR_MUST_CHECK;

/* Is it in memory, and how: "waiting", "ready", "running", ... with progress. */
struct mr_core_job_info {
    const char *state;
    uint32_t attempt, permille;
    struct mr_span worker, progress;
};
enum mr_status mr_core_job(const struct mr_core *core, struct mr_uuid id,
    struct mr_core_job_info *out) MR_MUST_CHECK;

/* Whom this peer speaks for; lives as long as the session. */
struct mr_span mr_core_principal(const struct mr_core *core, uint32_t peer);

/* False: what is in memory under this id is not for this peer: to be answered as if it were not
 * there. To be asked before mr_core_explain() and mr_core_job() for somebody's sake. */
bool mr_core_may_see(
    const struct mr_core *core, uint32_t peer, struct mr_uuid id, enum mr_scope scope);

/* Every invariant that can be checked from inside (counts, links, caps); aborts on the first
 * that does not hold. For the simulator and tests: linear in the number of jobs. */
void mr_core_check(const struct mr_core *core);

#endif
