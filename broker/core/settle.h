/*
 * What became of a job: rows that have to be stored, and what their being stored, found or
 * read back means for it. A job that is finished leaves memory here.
 */
#ifndef MR_CORE_SETTLE_H
#define MR_CORE_SETTLE_H

#include "broker/core/core_priv.h"

/* How an attempt ended; the spans are borrowed for the call. */
struct mr_settle_attempt {
    enum mr_attempt_outcome outcome;
    struct mr_span text;
    int64_t started_at_us, finished_at_us; /* wall; 0: as far as the broker knows */
    uint32_t delay_ms;                     /* until the next one */
    bool is_last;                          /* there is no next one: retry_at stays null */
    bool is_unstarted;                     /* it was only queued: started_at stays null */
};

/* SENT -> SETTLING with a row in `attempt`. */
void mr_settle_attempt(
    struct mr_core *core, uint32_t slot, const struct mr_settle_attempt *attempt);

/* Any unfinished state -> SETTLING with a row in `result`. */
void mr_settle_result(
    struct mr_core *core, uint32_t slot, enum mr_outcome outcome, struct mr_span text);

/* A failure that counts: another attempt after the backoff, or the end. */
void mr_settle_failure(struct mr_core *core, uint32_t slot,
    const struct mr_settle_attempt *attempt, bool is_for_good);

/* For a job that comes from the database: its last attempt's row was stored, and the broker
 * died before the result's. True: it fails. */
bool mr_settle_exhausted(struct mr_core *core, uint32_t slot);

/* Nobody knows whether it committed: the database is asked before it runs again. What was
 * running counts towards quarantine. */
void mr_settle_lost(
    struct mr_core *core, uint32_t slot, struct mr_span reason, bool was_running);
void mr_settle_crashed(
    struct mr_core *core, uint32_t slot, const struct mr_settle_attempt *attempt);

/* SENT -> CHECKING: its worker ended in order without a word about it. */
void mr_settle_handed_back(struct mr_core *core, uint32_t slot);
void mr_settle_overdue(struct mr_core *core, uint32_t slot);

/* Its result is durable: `event` is the last one. */
void mr_settle_finish(struct mr_core *core, uint32_t slot, const struct mr_event *event);

/* Entry points (see core.h). */
void mr_settle_stored(struct mr_core *core, const struct mr_store_op *op);
void mr_settle_found(struct mr_core *core, const struct mr_found *found);
void mr_settle_read_back(
    struct mr_core *core, struct mr_uuid id, const struct mr_stored_job *stored);

#endif
