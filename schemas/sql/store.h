/*
 * What the broker's writer thread does with PostgreSQL: own a shard, commit batches under its
 * epoch, load what is unfinished, look things up. One thread. The store never decides about
 * jobs; it says what is durable.
 */
#ifndef MR_SQL_STORE_H
#define MR_SQL_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/arena.h"
#include "schemas/base/span.h"
#include "schemas/base/status.h"
#include "schemas/base/uuid.h"
#include "schemas/sql/pg.h"
#include "schemas/sql/principal.h"
#include "schemas/sql/rows.h"
#include "schemas/wire/pack.h"

struct mr_store;
struct mr_audit_row; /* audit.h */

/* Connect as the writer of `shard` and check the schema's version. */
enum mr_status mr_store_open(struct mr_store **out, const char *conninfo, uint32_t shard,
    struct mr_uuid broker, struct mr_err *err) MR_MUST_CHECK;
void mr_store_close(struct mr_store **store);

/* After MR_STORE_DOWN: one attempt to connect again. The epoch is kept and checked by the next
 * commit. Refuses a server of an older timeline than the last one (MR_STORE_DOWN). */
enum mr_status mr_store_reconnect(
    struct mr_store *store, struct mr_err *err) MR_MUST_CHECK;

/* ---- ownership ---------------------------------------------------------------------------- */

/* Try to become the owner: epoch + 1. MR_BUSY while another owner is alive (its advisory lock
 * is held and its lease has not run out); then `err->why` names it. `endpoints` is what
 * others are told. */
enum mr_status mr_store_claim(struct mr_store *store, const char *endpoints,
    uint32_t lease_ms, uint64_t *epoch, struct mr_err *err) MR_MUST_CHECK;

/* Every few seconds, one statement: renew the lease under the epoch (MR_FENCED if it moved), and
 * see whether rights have changed. */
enum mr_status mr_store_renew(
    struct mr_store *store, uint32_t lease_ms, struct mr_err *err) MR_MUST_CHECK;

/* ---- batches ------------------------------------------------------------------------------- */

struct mr_store_batch {
    struct mr_arena *arena; /* holds what ops point to; the store adds found_* to it */
    struct mr_store_op *ops;
    uint32_t count;
    /* Names of worker sessions (application_name) to end before anything is written. */
    const char *const *end_sessions;
    uint32_t end_session_count;
};

/*
 * One transaction: epoch check, jobs, attempts, results, and always a WAL record of its own.
 * Small batches are one pipelined round trip, large ones COPY BINARY with the former as their
 * fallback. Returns after the server's word that it is ready again: MR_OK means that every op's status is filled and
 * durable. A batch that fails as data is split in halves until the bad row stands alone.
 * An id beyond the days that are made gets MR_BAD_ID. MR_BUSY as an op's status: somebody else
 * held that row for a second, or the arena has no room for what was found; send it again later.
 * MR_STORE_DOWN, MR_STORE_FULL, MR_BUSY: nothing is known; call again with the same batch
 * (after mr_store_reconnect): what was stored shows as MR_KNOWN/MR_FINISHED/MR_OK, because every
 * op can be repeated. MR_FENCED: stop.
 */
enum mr_status mr_store_commit(struct mr_store *store, struct mr_store_batch *batch,
    struct mr_err *err) MR_MUST_CHECK;

/* ---- reading ------------------------------------------------------------------------------- */

/* `job` and its spans live during the call only. Return false to stop. */
typedef bool (*mr_stored_job_fn)(void *context, const struct mr_stored_job *job);

/* The unfinished jobs of the shard among the next `limit` ids above `after`, in id order,
 * payloads included when `with_payload`. *last is how far it went (feed it back as `after`),
 * *more says whether another call is needed; there may be no job in between. Starts from the
 * shard's low-water mark. */
enum mr_status mr_store_load(struct mr_store *store, struct mr_uuid after, uint32_t limit,
    bool with_payload, mr_stored_job_fn fn, void *context, struct mr_uuid *last,
    bool *more, struct mr_err *err) MR_MUST_CHECK;

/* Jobs by id, payloads included; those that do not exist or are finished are left out. Without
 * history: only id, trace and payload, at half the cost. */
enum mr_status mr_store_read(struct mr_store *store, const struct mr_uuid *ids,
    uint32_t count, bool with_history, mr_stored_job_fn fn, void *context,
    struct mr_err *err) MR_MUST_CHECK;

/* Move up to `limit` inbox rows (and 8 MiB of payloads) into `job`, in one transaction under the
 * epoch, and hand out those that are new: all of them, they are moved by then, whatever fn
 * returns; choose `limit` by the room there is. *more: there may be others. When a call was left
 * without an answer (MR_STORE_DOWN), the next one hands out what it had moved all the same. Kinds and numbers
 * that cannot be taken are refused by the inbox itself, in the transaction that puts them in. */
enum mr_status mr_store_take_inbox(struct mr_store *store, uint32_t limit,
    mr_stored_job_fn fn, void *context, bool *more, struct mr_err *err) MR_MUST_CHECK;

typedef bool (*mr_found_fn)(void *context, const struct mr_found *found);

/* For each id, in any order: is there a result (with body), is there a job? */
enum mr_status mr_store_find(struct mr_store *store, const struct mr_uuid *ids,
    uint32_t count, mr_found_fn fn, void *context, struct mr_err *err) MR_MUST_CHECK;

/* ---- who may do what ---------------------------------------------------------------------- */

/* What to poll for reading: the server says by itself when rights change. -1: not connected. */
int mr_store_fd(const struct mr_store *store);

/* Have principals, keys or grants changed since they were read, as far as the server's
 * notifications and the last renewal say? True also after a new connection. Does not wait. */
bool mr_store_rights_moved(struct mr_store *store);

/* All of them, as they are at one moment: principals, then keys, then grants. False from `fn`
 * stops. */
typedef bool (*mr_rights_row_fn)(void *context, const struct mr_rights_row *row);
enum mr_status mr_store_rights(struct mr_store *store, mr_rights_row_fn fn, void *context,
    struct mr_err *err) MR_MUST_CHECK;

/* For administrators: see principal.h. `out`: {text}, or what mr_principal_list or, with a name,
 * mr_principal_show writes. */
enum mr_status mr_store_change_principal(struct mr_store *store,
    const struct mr_principal_change *change, struct mr_wr *out,
    struct mr_err *err) MR_MUST_CHECK;
enum mr_status mr_store_principals(struct mr_store *store, const char *name,
    struct mr_wr *out, struct mr_err *err) MR_MUST_CHECK;

/* ---- cold: policy and lists ------------------------------------------------------------------ */

typedef bool (*mr_queue_fn)(void *context, struct mr_span queue, bool is_paused);
enum mr_status mr_store_queues(struct mr_store *store, mr_queue_fn fn, void *context,
    struct mr_err *err) MR_MUST_CHECK;
/* `audit` (audit.h) is written in the same transaction. */
enum mr_status mr_store_set_paused(struct mr_store *store, struct mr_span queue,
    bool is_paused, const struct mr_audit_row *audit, struct mr_err *err) MR_MUST_CHECK;

/* Kinds that any worker has ever offered. */
typedef bool (*mr_kind_fn)(void *context, struct mr_span kind);
enum mr_status mr_store_kinds(struct mr_store *store, mr_kind_fn fn, void *context,
    struct mr_err *err) MR_MUST_CHECK;
enum mr_status mr_store_add_kinds(struct mr_store *store, const struct mr_span *kinds,
    uint32_t count, struct mr_err *err) MR_MUST_CHECK;

/* Whose jobs an answer may be about: the zero value sees none. What is out of reach is answered
 * as if it were not there. */
struct mr_reach {
    bool is_any;
    struct mr_span owner; /* submitted_by, when not any */
};

/* Filters of `millrace jobs`; empty spans and zeros do not filter. */
struct mr_job_filter {
    struct mr_span state; /* waiting (incl. running), retrying, succeeded, failed, ... */
    struct mr_span kind, queue;
    int64_t since_us, until_us; /* submitted_at */
    uint32_t limit;             /* at most 1,000 */
    struct mr_reach reach;
};
/* Writes one msgpack array of maps, newest first: id, kind, queue, state, priority, attempts,
 * submitted_at, run_at, finished_at, error. Ids are strings, times microseconds since 1970
 * (UTC), what is not there is nil. */
enum mr_status mr_store_list(struct mr_store *store, const struct mr_job_filter *filter,
    struct mr_wr *out, struct mr_err *err) MR_MUST_CHECK;
/* Writes one map: as above, and retry_at, expires_at, lane, started_at, worker, timeout_ms,
 * attempts_max, backoff_base_ms, backoff_cap_ms, backoff_factor_percent,
 * backoff_jitter_percent, submitted_by, trace, shard, redrive_of, redriven_as, reason, payload
 * and body (msgpack as bin), attempt_rows: an array of maps (attempt, outcome, worker,
 * started_at, finished_at, retry_at, error). Nil when there is no such job. */
enum mr_status mr_store_show(struct mr_store *store, struct mr_uuid id,
    struct mr_reach reach, struct mr_wr *out, struct mr_err *err) MR_MUST_CHECK;

/* ---- dead jobs: those that have failed for ever ------------------------------------------------- */

#define MR_REDRIVE_MAX 1000u /* ids of one call */

/* Empty spans and zeros do not filter. */
struct mr_dead_filter {
    struct mr_span kind, queue, reason;
    int64_t since_us, until_us; /* finished_at */
    struct mr_uuid before; /* with until_us: go on behind the page that ended with them */
    uint32_t limit;        /* at most 1,000; 100 with the history */
    bool with_redriven;    /* also those that another job was submitted in place of */
    bool with_history;     /* and attempt_rows of each */
    struct mr_reach reach;
};
/* Writes one map: jobs, the latest deaths first (id, kind, queue, finished_at, attempts, reason,
 * error, redriven_as, redrive_of, priority, lane, submitted_at, worker), and until_us and before,
 * which are nil at the end of the list: ask again with them. A call looks at 2,000 dead jobs at
 * most, so that a page may be short, or empty, and not the last one. */
enum mr_status mr_store_dead(struct mr_store *store, const struct mr_dead_filter *filter,
    struct mr_wr *out, struct mr_err *err) MR_MUST_CHECK;

/* A sealed payload opens under the id that it was sealed for: of one job to be redriven, the new id and
 * the payload sealed for that. */
struct mr_resealed {
    struct mr_uuid as;
    struct mr_span payload; /* empty: there is none */
};

/* For each dead job of these ids, once and for all, put a new one into the inbox: same owner, queue,
 * kind, payload, priority, lane and limits, redrive_of = the id. Writes an array of maps: id, verdict
 * ("submitted", "known": it was before, "not dead", "no job", "later": too many bytes for
 * one call, "sealed": its payload is, and `resealed`, which is for the case of one id, is empty), as:
 * the new id. Safe to repeat. `audit` is written in the same transaction. */
enum mr_status mr_store_redrive(struct mr_store *store, const struct mr_uuid *ids,
    uint32_t count, const struct mr_resealed *resealed, struct mr_reach reach,
    const struct mr_audit_row *audit, struct mr_wr *out,
    struct mr_err *err) MR_MUST_CHECK;

/* What the database knows of one job; its spans are copied into `arena`. */
struct mr_why_row {
    bool is_job, is_finished, is_in_inbox, is_redriven;
    uint32_t shard;
    enum mr_outcome outcome;
    uint32_t attempt; /* of the result, else the last that did not succeed; 0: none */
    int64_t finished_at_us;
    struct mr_span reason, error; /* of the result, else of that attempt */
    struct mr_uuid redriven_as;
};
enum mr_status mr_store_why(struct mr_store *store, struct mr_uuid id,
    struct mr_reach reach, struct mr_arena *arena, struct mr_why_row *out,
    struct mr_err *err) MR_MUST_CHECK;

/* Move the low-water mark up, past 50,000 finished jobs at most: a bounded look. *more: there was
 * no unfinished one among them, so look again soon. MR_FENCED. */
enum mr_status mr_store_raise(
    struct mr_store *store, bool *more, struct mr_err *err) MR_MUST_CHECK;

/* Make partitions ahead, drop old ones, move the low-water mark up. */
enum mr_status mr_store_keep_house(
    struct mr_store *store, int retention_days, struct mr_err *err) MR_MUST_CHECK;

#endif
