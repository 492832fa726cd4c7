#include "broker/core/recover.h"

#include "broker/core/job.h"
#include "broker/core/owner.h"
#include "broker/core/roster.h"
#include "broker/core/run.h"
#include "broker/core/say.h"
#include "broker/core/settle.h"
#include "broker/core/watch.h"
#include "schemas/base/mutant.h"

#define RELEASED_PER_TICK 50000

/* ---- claims: attempts of jobs that are still to be loaded -------------------------------------- */

static struct mr_claim *
claim_at(const struct mr_core *core, uint32_t slot)
{
    return mr_slab_at(&core->claims, slot);
}

static void
drop_claim(struct mr_core *core, uint32_t slot)
{
    mr_ids_remove(&core->claim_ids, slot);
    mr_slab_give(&core->claims, slot);
}

bool
mr_recover_claim(struct mr_core *core, uint32_t peer, struct mr_uuid id, uint32_t attempt)
{
    uint32_t slot = mr_ids_find(&core->claim_ids, &id);
    struct mr_claim *claim;

    if (slot && claim_at(core, slot)->is_gone) {
        drop_claim(core, slot);
        return false;
    }
    if (!slot) {
        slot = mr_slab_take(&core->claims);
        if (!slot)
            return true;
        *claim_at(core, slot) = (struct mr_claim){.id = id};
        mr_ids_add(&core->claim_ids, slot);
    }
    claim = claim_at(core, slot);
    claim->peer = peer;
    claim->serial = core->peers[peer].serial;
    claim->attempt = attempt;
    if (core->is_loading || claim->is_asked)
        return true; /* it may come by itself; the worker will say again that it holds it */
    claim->is_asked = true;
    mr_say_read(core, id);
    return true;
}

void
mr_recover_drop_claim(struct mr_core *core, struct mr_uuid id)
{
    uint32_t slot = mr_ids_find(&core->claim_ids, &id);

    if (slot)
        drop_claim(core, slot);
}

void
mr_recover_forget_claims(struct mr_core *core)
{
    for (uint32_t slot = core->claims.fresh; slot > 0 && core->claims.used > 0; slot--) {
        struct mr_uuid id = claim_at(core, slot)->id;

        if (mr_ids_find(&core->claim_ids, &id) == slot)
            drop_claim(core, slot);
    }
}

static bool
is_there(const struct mr_core *core, const struct mr_claim *claim)
{
    return mr_roster_find(core, claim->peer, MR_ROLE_WORKER) &&
           core->peers[claim->peer].serial == claim->serial;
}

void
mr_recover_fetched(
    struct mr_core *core, struct mr_uuid id, const struct mr_stored_job *stored)
{
    uint32_t slot = mr_ids_find(&core->claim_ids, &id);
    struct mr_claim claim;

    if (!slot)
        return;
    claim_at(core, slot)->is_asked = false;
    claim = *claim_at(core, slot);
    if (stored && mr_recover_loaded(core, stored) == MR_BUSY)
        return; /* no room for it now; the worker will say again that it holds it */
    if (stored) {
        mr_recover_drop_claim(core, id);
        return;
    }
    /* What became of it may have been said already and wait only to be taken. */
    claim_at(core, slot)->is_gone = true;
    if (is_there(core, &claim))
        mr_say_revoke(core, claim.peer, id, claim.attempt, MR_WHY_STALE);
}

/* A worker has said that it holds the job that was loaded just now. */
static bool
is_adopted(struct mr_core *core, uint32_t slot)
{
    struct mr_job *job = mr_job_at(core, slot);
    uint32_t found = mr_ids_find(&core->claim_ids, &job->id);
    struct mr_claim claim;

    if (!found)
        return false;
    claim = *claim_at(core, found);
    drop_claim(core, found);
    if (claim.is_gone || !is_there(core, &claim) || claim.attempt <= job->attempt ||
        !mr_run_peer_may(core, claim.peer, job))
        return false;
    mr_job_move(core, slot, MR_JOB_RECOVERED);
    mr_recover_adopt(core, slot, claim.peer, claim.attempt);
    return true;
}

/* ---- ends: of jobs whose rows may be on their way ------------------------------------------------ */

void
mr_recover_note_end(struct mr_core *core, struct mr_uuid id, bool is_claimed)
{
    uint32_t slot = mr_ids_find(&core->ended_ids, &id);
    struct mr_ended *ended;

    if (!core->is_partial)
        return;
    if (slot) {
        ended = mr_slab_at(&core->ended, slot);
        ended->is_claimed = ended->is_claimed && is_claimed;
        return;
    }
    slot = mr_slab_take(&core->ended);
    if (!slot) {
        core->ended_is_full = true;
        return;
    }
    ended = mr_slab_at(&core->ended, slot);
    *ended = (struct mr_ended){.id = id, .is_claimed = is_claimed};
    mr_ids_add(&core->ended_ids, slot);
}

/* What is known, not only claimed. */
static bool
has_ended(struct mr_core *core, uint32_t ended)
{
    return ended &&
           !((const struct mr_ended *)mr_slab_at(&core->ended, ended))->is_claimed;
}

void
mr_recover_forget_ended(struct mr_core *core)
{
    for (uint32_t slot = core->ended.fresh; slot > 0 && core->ended.used > 0; slot--) {
        const struct mr_ended *ended = mr_slab_at(&core->ended, slot);

        if (mr_ids_find(&core->ended_ids, &ended->id) != slot)
            continue;
        mr_ids_remove(&core->ended_ids, slot);
        mr_slab_give(&core->ended, slot);
    }
    core->ended_is_full = false;
}

/* Too much has ended to know whether this one has, or one says so who need not know. */
static void
ask_for_end(struct mr_core *core, uint32_t slot)
{
    mr_job_move(core, slot, MR_JOB_CHECKING);
    mr_say_find(core, mr_job_at(core, slot)->id);
}

/* ---- rows ---------------------------------------------------------------------------------------- */

enum mr_status
mr_recover_loaded(struct mr_core *core, const struct mr_stored_job *stored)
{
    const struct mr_job_new *from = &stored->job;
    bool is_absent =
        from->payload.n == 0; /* not asked for: a real one has a byte at least */
    struct mr_job_new bare = *from;
    uint32_t slot = mr_ids_find(&core->job_ids, &from->id);
    uint32_t ended = mr_ids_find(&core->ended_ids, &from->id);
    struct mr_job *job;
    uint16_t owner;
    const char *why;
    enum mr_status status;

    /* What is being stored under this id may be refused, because of this row. */
    if (slot)
        return mr_job_at(core, slot)->state == MR_JOB_STORING ? MR_BUSY : MR_OK;
    if (has_ended(core, ended))
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
    status = mr_owner_number(core, stored->submitted_by, &owner);
    if (status == MR_OK)
        status = mr_job_new(core, &bare, owner, stored->submitted_at_us, &slot, &why);
    if (status)
        return MR_BUSY; /* whichever table is full: come again when it is not */
    job = mr_job_at(core, slot);
    if (is_absent) {
        job->flags |= MR_JOB_ABSENT;
        mr_job_set_bytes(
            core, job, mr_u32_min(stored->payload_bytes, MR_PAYLOAD_BYTES_MAX));
    }
    mr_job_set_history(core, slot, stored);
    if (!stored->retry_at_us && from->run_at_us)
        job->due_us = mr_core_mono_of(core, from->run_at_us);
    if (is_adopted(core, slot))
        return MR_OK;
    if (ended || (core->ended_is_full && !core->is_loading))
        ask_for_end(core, slot);
    else if (core->is_loading)
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
    mr_job_set_peer(job, peer);
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

    if (event.permille == mr_extra_of(core, job)->permille &&
        mr_span_eq(held->text, mr_job_note(core, job)))
        return;
    mr_extra_make(core, job)->permille = (uint16_t)event.permille;
    mr_job_set_note(core, slot, held->text);
    mr_watch_tell(core, &event, mr_job_at(core, slot)->owner);
}

static void
is_stale(struct mr_core *core, uint32_t peer, const struct mr_held *held)
{
    core->stats.stale++;
    mr_say_revoke(core, peer, held->id, held->attempt, MR_WHY_STALE);
}

void
mr_recover_held(struct mr_core *core, uint32_t peer, const struct mr_held *held)
{
    uint32_t slot = mr_ids_find(&core->job_ids, &held->id);
    struct mr_job *job;

    if (!mr_roster_find(core, peer, MR_ROLE_WORKER))
        return;
    if (!slot) {
        if (!core->is_partial || !mr_recover_claim(core, peer, held->id, held->attempt))
            is_stale(core, peer, held);
        return;
    }
    job = mr_job_at(core, slot);
    if (job->state == MR_JOB_RECOVERED && held->attempt > job->attempt &&
        mr_run_peer_may(core, peer, job))
        mr_recover_adopt(core, slot, peer, held->attempt);
    if (job->state != MR_JOB_SENT || job->peer != peer || job->attempt != held->attempt) {
        is_stale(core, peer, held);
        return;
    }
    job->flags &= (uint16_t)~MR_JOB_UNCONFIRMED;
    if (job->flags &
        MR_JOB_CANCEL) /* the first word may have been lost with a connection */
        mr_say_revoke(core, peer, held->id, held->attempt, MR_WHY_CANCELLED);
    take_progress(core, slot, held);
}

/* They were here before all that came since the start, so they go to the front of their lanes,
 * the youngest first: else brokers that are started again and again would hand out what is new,
 * and never what is old. */
bool
mr_recover_release(struct mr_core *core)
{
    for (uint32_t n = 0; core->recovered_last && n < RELEASED_PER_TICK; n++) {
        uint32_t slot = core->recovered_last;
        struct mr_job *job = mr_job_at(core, slot);

        if (mr_settle_exhausted(core, slot))
            continue;
        if (job->due_us <= core->now.mono_us) {
            int64_t submitted_us = mr_core_mono_of(core, job->submitted_at_us);

            job->flags |= MR_JOB_RETURNED;
            job->ready_us = job->due_us > submitted_us ? job->due_us : submitted_us;
        }
        mr_job_route(core, slot);
    }
    return core->recovered_last != 0;
}
