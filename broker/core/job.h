/*
 * A job's slot: made from a submission or a stored row, moved from state to state, freed. Every
 * change of state is mr_job_move().
 */
#ifndef MR_CORE_JOB_H
#define MR_CORE_JOB_H

#include "broker/core/core_priv.h"
#include "broker/core/retry.h"

/*
 * A slot for it, state FREE; *slot is 0 on failure: MR_BUSY (jobs_max), MR_LIMIT (too many
 * names or lanes). *why says which, static. The payload is kept if it fits into the budget.
 */
enum mr_status mr_job_new(struct mr_core *core, const struct mr_job_new *job,
    uint16_t owner, int64_t submitted_at_us, uint32_t *slot,
    const char **why) MR_MUST_CHECK;
/* What its rows say of its attempts so far. */
void mr_job_set_history(
    struct mr_core *core, uint32_t slot, const struct mr_stored_job *stored);

void mr_job_free(struct mr_core *core, uint32_t slot);

void mr_job_move(struct mr_core *core, uint32_t slot, enum mr_job_state state);

/* Where an unfinished job belongs now: cancelled or expired ones to SETTLING (their result is
 * stored), others to WAITING or READY. */
void mr_job_route(struct mr_core *core, uint32_t slot);

/* By the wall clock now. */
bool mr_job_is_expired(const struct mr_core *core, const struct mr_job *job);

void mr_job_cancel(struct mr_core *core, uint32_t slot);

/* Its timer fired. */
void mr_job_on_timer(struct mr_core *core, uint32_t slot);

/* The policy for it at the worker that holds it (SENT), else at any that offers its kind. */
struct mr_retry_policy mr_job_policy(const struct mr_core *core, uint32_t slot);

uint32_t mr_job_timeout_ms(const struct mr_core *core, uint32_t slot); /* of it */

/* Payloads. `keep_bytes`: how full the pool may get. False: no room, the job is ABSENT. */
bool mr_job_keep_payload(struct mr_core *core, uint32_t slot, struct mr_span payload,
    struct mr_span trace, uint64_t keep_bytes);
void mr_job_drop_payload(struct mr_core *core, uint32_t slot);
struct mr_span mr_job_payload(const struct mr_job *job);
struct mr_span mr_job_trace(const struct mr_job *job);
/* A payload's size, whether or not it is kept. */
void mr_job_set_bytes(struct mr_core *core, struct mr_job *job, size_t bytes);

/* Who holds it. */
static inline void
mr_job_set_peer(struct mr_job *job, uint32_t peer)
{
    job->peer = peer & MR_NO_PEER;
}

uint64_t mr_job_digest(const struct mr_core *core, struct mr_span payload);

/* Progress text of a job that is SENT; cut to what is kept. */
void mr_job_set_note(struct mr_core *core, uint32_t slot, struct mr_span text);
struct mr_span mr_job_note(const struct mr_core *core, const struct mr_job *job);

#endif
