/*
 * What the broker learns about jobs that it did not accept itself: rows loaded at start or from
 * the inbox, and attempts that workers say they hold. Entry points; see core.h.
 */
#ifndef MR_CORE_RECOVER_H
#define MR_CORE_RECOVER_H

#include "broker/core/core_priv.h"

enum mr_status mr_recover_loaded(
    struct mr_core *core, const struct mr_stored_job *stored) MR_MUST_CHECK;

/* A RECOVERED job is SENT after all, and this worker holds it. */
void mr_recover_adopt(
    struct mr_core *core, uint32_t slot, uint32_t peer, uint32_t attempt);

/* One item of a BEAT. */
void mr_recover_held(struct mr_core *core, uint32_t peer, const struct mr_held *held);

/* A worker holds an attempt of a job that is not in memory, while some are still to be loaded: the
 * job is fetched by its id, and is the worker's when it comes. No room: nothing; it says so again
 * in a while. False: it was fetched, and is finished or gone. */
bool mr_recover_claim(
    struct mr_core *core, uint32_t peer, struct mr_uuid id, uint32_t attempt);
void mr_recover_drop_claim(struct mr_core *core, struct mr_uuid id);
void mr_recover_forget_claims(struct mr_core *core);
/* The answer; `stored` NULL: it is finished or gone. */
void mr_recover_fetched(
    struct mr_core *core, struct mr_uuid id, const struct mr_stored_job *stored);

/* An end was told, or is known. Its row may be on its way here, read before that, and is left out
 * then. Claimed by a worker that is not known to hold the job: the database is asked first. */
void mr_recover_note_end(struct mr_core *core, struct mr_uuid id, bool is_claimed);
void mr_recover_forget_ended(struct mr_core *core);

/* The grace is over: RECOVERED jobs that nobody claimed run again. A part of them in each
 * call; true if there are more. */
bool mr_recover_release(struct mr_core *core);

#endif
