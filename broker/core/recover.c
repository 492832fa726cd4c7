#include "broker/core/recover.h"

#include "broker/core/job.h"
#include "broker/core/roster.h"
#include "broker/core/say.h"
#include "broker/core/settle.h"
#include "broker/core/watch.h"
#include "schemas/base/mutant.h"

#define RELEASED_PER_TICK 50000

enum mr_status
mr_recover_loaded(struct mr_core *core, const struct mr_stored_job *stored)
{
    const struct mr_job_new *from = &stored->job;
    bool is_absent =
        from->payload.n == 0; /* not asked for: a real one has a byte at least */
    struct mr_job_new bare = *from;
    uint32_t slot;
    struct mr_job *job;
    const char *why;
    enum mr_status status;

    if (mr_ids_find(&core->job_ids, &from->id))
        return MR_OK;
    if (core->is_loading && ((MR_MUTANT(recovery_skips) && from->id.b[15] % 8 == 0) ||
                                (MR_MUTANT(retry_forgotten) && stored->retry_at_us)))
        return MR_OK;
    if (!mr_names_is_good(from->queue) || !mr_names_is_good(from->kind) ||
        from->priority > MR_PRIORITY_MAX || from->trace.n > MR_TRACE_BYTES_MAX ||
        from->payload.n > MR_PAYLOAD_BYTES_MAX)
        return MR_BAD_ARGUMENT;
    if (is_absent)
        bare.trace = MR_SPAN_NONE; /* it is read back with the payload */
    status = mr_job_new(core, &bare, stored->submitted_at_us, &slot, &why);
    if (status)
        return MR_BUSY; /* whichever table is full: come again when it is not */
    job = mr_job_at(core, slot);
    if (is_absent)
        job->flags |= MR_JOB_ABSENT;
    job->attempt = stored->attempts;
    job->failures = (uint16_t)mr_u32_min(stored->failures, UINT16_MAX);
    job->losses = (uint16_t)mr_u32_min(stored->losses, UINT16_MAX);
    if (stored->retry_at_us)
        job->due_us = mr_core_mono_of(core, stored->retry_at_us);
    else if (from->run_at_us)
        job->due_us = mr_core_mono_of(core, from->run_at_us);
    if (core->is_loading)
        mr_job_move(core, slot, MR_JOB_RECOVERED);
    else if (!mr_settle_exhausted(core, slot))
        mr_job_route(core, slot);
    return MR_OK;
}

void
mr_recover_adopt(struct mr_core *core, uint32_t slot, uint32_t peer, uint32_t attempt)
{
    struct mr_job *job = mr_job_at(core, slot);

    core->stats.adopted++;
    job->attempt = attempt;
    job->peer = peer;
    mr_job_move(core, slot, MR_JOB_SENT);
    mr_roster_set_oldest(core, slot); /* a BEAT names the newest first */
}

static void
take_progress(struct mr_core *core, uint32_t slot, const struct mr_held *held)
{
    struct mr_job *job = mr_job_at(core, slot);
    struct mr_event event = {.id = held->id,
        .type = MR_EVENT_PROGRESS,
        .attempt = held->attempt,
        .permille = mr_u32_min(held->permille, 1000),
        .text = held->text,
        .at_us = core->now.wall_us};

    if (event.permille == job->permille && mr_span_eq(held->text, mr_job_note(job)))
        return;
    job->permille = (uint16_t)event.permille;
    mr_job_set_note(core, slot, held->text);
    mr_watch_tell(core, &event);
}

void
mr_recover_held(struct mr_core *core, uint32_t peer, const struct mr_held *held)
{
    uint32_t slot = mr_ids_find(&core->job_ids, &held->id);
    struct mr_job *job;

    if (!mr_roster_find(core, peer, MR_ROLE_WORKER))
        return;
    if (!slot) {
        if (!core->is_loading) /* else it may be among those that are still to come */
            mr_say_revoke(core, peer, held->id, held->attempt, MR_WHY_STALE);
        return;
    }
    job = mr_job_at(core, slot);
    if (job->state == MR_JOB_RECOVERED && held->attempt > job->attempt)
        mr_recover_adopt(core, slot, peer, held->attempt);
    if (job->state != MR_JOB_SENT || job->peer != peer || job->attempt != held->attempt) {
        mr_say_revoke(core, peer, held->id, held->attempt, MR_WHY_STALE);
        return;
    }
    job->flags &= (uint16_t)~MR_JOB_UNCONFIRMED;
    if (job->flags &
        MR_JOB_CANCEL) /* the first word may have been lost with a connection */
        mr_say_revoke(core, peer, held->id, held->attempt, MR_WHY_CANCELLED);
    take_progress(core, slot, held);
}

bool
mr_recover_release(struct mr_core *core)
{
    for (uint32_t n = 0; core->recovered_first && n < RELEASED_PER_TICK; n++) {
        uint32_t slot = core->recovered_first;

        if (!mr_settle_exhausted(core, slot))
            mr_job_route(core, slot);
    }
    return core->recovered_first != 0;
}
