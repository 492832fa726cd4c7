#include "broker/core/job.h"

#include "broker/core/lane.h"
#include "broker/core/owner.h"
#include "broker/core/roster.h"
#include "broker/core/run.h"
#include "broker/core/say.h"
#include "broker/core/settle.h"

#include <string.h>

/* ---- payloads and notes ------------------------------------------------------------------- */

uint64_t
mr_job_digest(const struct mr_core *core, struct mr_span payload)
{
    return mr_hash(core->conf.hash_key, payload);
}

struct mr_span
mr_job_payload(const struct mr_job *job)
{
    if (job->flags & MR_JOB_ABSENT)
        return MR_SPAN_NONE;
    return mr_span(job->u.payload, job->payload_bytes);
}

struct mr_span
mr_job_trace(const struct mr_job *job)
{
    if (job->flags & MR_JOB_ABSENT || job->trace_bytes == 0)
        return MR_SPAN_NONE;
    return mr_span(job->u.payload + job->payload_bytes, job->trace_bytes);
}

void
mr_job_set_bytes(struct mr_core *core, struct mr_job *job, size_t bytes)
{
    mr_owner_resized(core, job, job->payload_bytes, (uint32_t)bytes);
    job->payload_bytes = (uint32_t)bytes & 0xffffffu;
}

bool
mr_job_keep_payload(struct mr_core *core, uint32_t slot, struct mr_span payload,
    struct mr_span trace, uint64_t keep_bytes)
{
    struct mr_job *job = mr_job_at(core, slot);
    size_t bytes = payload.n + trace.n;
    uint8_t *block = NULL;

    if (bytes && core->pool.bytes + mr_pool_cost(bytes) <= keep_bytes)
        block = mr_pool_alloc(&core->pool, bytes);
    if (bytes && !block)
        return false;
    if (payload.n)
        memcpy(block, payload.p, payload.n);
    if (trace.n)
        memcpy(block + payload.n, trace.p, trace.n);
    mr_job_set_bytes(core, job, payload.n);
    job->trace_bytes = (uint8_t)trace.n;
    job->u.payload = block;
    job->flags &= (uint16_t) ~(MR_JOB_ABSENT | MR_JOB_DIGEST);
    return true;
}

static void
free_payload(struct mr_core *core, struct mr_job *job)
{
    if (!(job->flags & MR_JOB_ABSENT) && job->u.payload)
        mr_pool_free(
            &core->pool, job->u.payload, (size_t)job->payload_bytes + job->trace_bytes);
    job->u.payload = NULL;
}

static void
set_absent(struct mr_job *job, uint64_t digest)
{
    job->u.digest = digest;
    job->flags |= MR_JOB_ABSENT | MR_JOB_DIGEST;
    job->flags &= (uint16_t)~MR_JOB_FETCHED;
}

void
mr_job_drop_payload(struct mr_core *core, uint32_t slot)
{
    struct mr_job *job = mr_job_at(core, slot);
    uint64_t digest = mr_job_digest(core, mr_job_payload(job));

    free_payload(core, job);
    set_absent(job, digest);
}

struct mr_span
mr_job_note(const struct mr_core *core, const struct mr_job *job)
{
    const uint8_t *note = mr_extra_of(core, job)->note;

    return note ? mr_span(note + 1, note[0]) : MR_SPAN_NONE;
}

void
mr_job_set_note(struct mr_core *core, uint32_t slot, struct mr_span text)
{
    struct mr_extra *extra = mr_extra_make(core, mr_job_at(core, slot));

    if (text.n && !extra->note)
        extra->note = mr_pool_alloc(&core->pool, MR_NOTE_BYTES);
    if (!extra->note)
        return; /* memory is short: progress is the first thing to go */
    extra->note[0] = (uint8_t)mr_span_cut(text, MR_NOTE_BYTES - 1).n;
    if (text.n)
        memcpy(extra->note + 1, text.p, extra->note[0]);
}

static void
free_note(struct mr_core *core, struct mr_job *job)
{
    struct mr_extra *extra = job->extra ? mr_extra_make(core, job) : NULL;

    if (!extra)
        return;
    if (extra->note)
        mr_pool_free(&core->pool, extra->note, MR_NOTE_BYTES);
    extra->note = NULL;
    extra->permille = 0;
}

/* ---- slots ---------------------------------------------------------------------------------- */

/* The names and the lane; their numbers are counted when all of them are there. */
static enum mr_status
find_place(struct mr_core *core, struct mr_job *job, const struct mr_job_new *from,
    const char **why)
{
    bool is_new;

    job->queue = mr_names_intern(&core->queue_names, from->queue, &is_new);
    *why = "too many queues are in use; use one that exists, or raise queues_max";
    if (!job->queue)
        return MR_LIMIT;
    if (is_new) {
        core->queues[job->queue] = (struct mr_queue){0};
        mr_run_renamed(core);
    }
    core->queue_names.names[job->queue].refs++;
    job->kind = mr_roster_kind(core, from->kind, false);
    *why = "too many kinds are in use; raise kinds_max";
    if (job->kind) {
        core->kind_names.names[job->kind].refs++;
        job->lane =
            mr_lane_acquire(core, job->queue, job->kind, job->priority, from->lane);
        *why = "too many lanes are in use; come again when some are empty";
        if (job->lane)
            return MR_OK;
        core->kind_names.names[job->kind].refs--;
    }
    core->queue_names.names[job->queue].refs--;
    return job->kind ? MR_BUSY : MR_LIMIT;
}

/* What it was submitted with beside the usual. */
static void
set_options(struct mr_core *core, struct mr_job *job, const struct mr_job_new *from)
{
    struct mr_extra *extra;

    if (!from->expires_at_us && !from->timeout_ms && !from->backoff_base_ms &&
        !from->backoff_cap_ms && !from->backoff_factor_percent && !from->backoff_jitter &&
        !from->attempts_max)
        return;
    extra = mr_extra_make(core, job);
    extra->expires_at_us = from->expires_at_us;
    extra->timeout_ms = from->timeout_ms;
    extra->backoff_base_ms = from->backoff_base_ms;
    extra->backoff_cap_ms = from->backoff_cap_ms;
    extra->backoff_factor_percent =
        (uint16_t)mr_u32_min(from->backoff_factor_percent, MR_BACKOFF_FACTOR_MAX);
    extra->backoff_jitter = (uint8_t)mr_u32_min(from->backoff_jitter, MR_JITTER_NONE);
    extra->attempts_max = (uint16_t)mr_u32_min(from->attempts_max, MR_ATTEMPTS_MAX);
}

enum mr_status
mr_job_new(struct mr_core *core, const struct mr_job_new *from, uint16_t owner,
    int64_t submitted_at_us, uint32_t *out, const char **why)
{
    uint32_t slot = mr_slab_take(&core->jobs);
    struct mr_job *job = mr_job_at(core, slot);
    enum mr_status status;

    *out = 0;
    *why = "the broker holds as many unfinished jobs as it can";
    if (!slot)
        return MR_BUSY;
    *job = (struct mr_job){.id = from->id,
        .submitted_at_us = submitted_at_us,
        .priority = from->priority,
        .peer = MR_NO_PEER};
    status = find_place(core, job, from, why);
    if (status) {
        mr_slab_give(&core->jobs, slot);
        return status;
    }
    mr_owner_takes(core, slot, owner);
    set_options(core, job, from);
    mr_ids_add(&core->job_ids, slot);
    mr_job_set_bytes(core, job, from->payload.n);
    if (!mr_job_keep_payload(
            core, slot, from->payload, from->trace, core->conf.payload_bytes_max))
        set_absent(job, mr_job_digest(core, from->payload));
    *out = slot;
    return MR_OK;
}

void
mr_job_set_history(
    struct mr_core *core, uint32_t slot, const struct mr_stored_job *stored)
{
    struct mr_job *job = mr_job_at(core, slot);
    struct mr_extra *extra;

    job->attempt = stored->attempts;
    if (job->extra || stored->failures || stored->losses || stored->near_losses) {
        extra = mr_extra_make(core, job);
        extra->failures = (uint16_t)mr_u32_min(stored->failures, UINT16_MAX);
        extra->losses = (uint8_t)mr_u32_min(stored->losses, UINT8_MAX);
        extra->near_losses = (uint8_t)mr_u32_min(stored->near_losses, UINT8_MAX);
    }
    if (stored->near_losses)
        job->flags |= MR_JOB_AT_ONCE;
    if (stored->retry_at_us)
        job->due_us = mr_core_mono_of(core, stored->retry_at_us);
}

void
mr_job_free(struct mr_core *core, uint32_t slot)
{
    struct mr_job *job = mr_job_at(core, slot);

    MR_ASSERT(!job->waiters);
    if (job->state != MR_JOB_FREE)
        mr_job_move(core, slot, MR_JOB_FREE);
    free_payload(core, job);
    core->reading_bytes -= mr_extra_of(core, job)->reading_bytes;
    if (job->extra)
        mr_slab_give(&core->extras, job->extra);
    core->queue_names.names[job->queue].refs--;
    core->kind_names.names[job->kind].refs--;
    mr_owner_lets_go(core, slot);
    mr_lane_release(core, job->lane);
    mr_ids_remove(&core->job_ids, slot);
    mr_slab_give(&core->jobs, slot);
}

/* ---- states: leaving one, joining another ----------------------------------------------------- */

static void
set_timer(struct mr_core *core, uint32_t slot, int64_t mono_us)
{
    mr_wheel_set(&core->wheel, slot, mono_us / 1000 + (mono_us % 1000 > 0));
    mr_job_at(core, slot)->flags |= MR_JOB_TIMED;
}

static int64_t
expiry_us(const struct mr_core *core, const struct mr_job *job)
{
    int64_t wall_us = mr_extra_of(core, job)->expires_at_us;

    return wall_us ? mr_core_mono_of(core, wall_us) : INT64_MAX;
}

static void
join_storing(struct mr_core *core, uint32_t slot)
{
    core->storing_bytes += mr_job_at(core, slot)->payload_bytes;
}

static void
leave_storing(struct mr_core *core, uint32_t slot)
{
    core->storing_bytes -= mr_job_at(core, slot)->payload_bytes;
}

static void
join_waiting(struct mr_core *core, uint32_t slot)
{
    struct mr_job *job = mr_job_at(core, slot);
    int64_t expiry = expiry_us(core, job);

    set_timer(core, slot, job->due_us < expiry ? job->due_us : expiry);
    core->queues[job->queue].waiting++;
}

static void
leave_waiting(struct mr_core *core, uint32_t slot)
{
    mr_job_at(core, slot)->flags &= (uint16_t)~MR_JOB_SNOOZED;
    core->queues[mr_job_at(core, slot)->queue].waiting--;
}

static void
join_ready(struct mr_core *core, uint32_t slot)
{
    struct mr_job *job = mr_job_at(core, slot);

    if (!(job->flags & MR_JOB_RETURNED))
        job->ready_us = core->now.mono_us;
    if (mr_extra_of(core, job)->expires_at_us)
        set_timer(core, slot, expiry_us(core, job));
    core->queues[job->queue].ready++;
    core->kinds[job->kind].ready++;
    mr_lane_push(core, slot);
}

static void
leave_ready(struct mr_core *core, uint32_t slot)
{
    struct mr_job *job = mr_job_at(core, slot);

    mr_lane_pull(core, slot);
    job->flags &= (uint16_t)~MR_JOB_RETURNED;
    core->queues[job->queue].ready--;
    core->kinds[job->kind].ready--;
}

/* The worker enforces the timeout from the moment it starts the job. The backstop adds what
 * may be queued before it there, and some slack for the report's way. */
static void
join_sent(struct mr_core *core, uint32_t slot)
{
    struct mr_job *job = mr_job_at(core, slot);
    struct mr_peer *peer = &core->peers[job->peer];
    uint32_t rounds = peer->held / peer->threads;
    uint32_t timeout_ms;

    mr_roster_hold(core, slot);
    job->sent_us = core->now.mono_us;
    timeout_ms = mr_job_timeout_ms(core, slot);
    if (timeout_ms > peer->timeout_max_ms)
        peer->timeout_max_ms = timeout_ms;
    set_timer(core, slot,
        job->sent_us + ((int64_t)rounds * peer->timeout_max_ms + timeout_ms +
                           core->conf.timeout_slack_ms) *
                           1000);
    core->queues[job->queue].sent++;
    core->kinds[job->kind].sent++;
}

static void
leave_sent(struct mr_core *core, uint32_t slot)
{
    struct mr_job *job = mr_job_at(core, slot);

    mr_roster_release(core, slot);
    free_note(core, job);
    job->peer = MR_NO_PEER;
    job->flags &= (uint16_t)~MR_JOB_UNCONFIRMED;
    core->queues[job->queue].sent--;
    core->kinds[job->kind].sent--;
}

static void
join_recovered(struct mr_core *core, uint32_t slot)
{
    struct mr_job *job = mr_job_at(core, slot);

    job->prev = core->recovered_last;
    job->next = 0;
    if (job->prev)
        mr_job_at(core, job->prev)->next = slot;
    else
        core->recovered_first = slot;
    core->recovered_last = slot;
}

static void
leave_recovered(struct mr_core *core, uint32_t slot)
{
    struct mr_job *job = mr_job_at(core, slot);

    if (job->prev)
        mr_job_at(core, job->prev)->next = job->next;
    else
        core->recovered_first = job->next;
    if (job->next)
        mr_job_at(core, job->next)->prev = job->prev;
    else
        core->recovered_last = job->prev;
    job->prev = job->next = 0;
}

static void
leave_settling(struct mr_core *core, uint32_t slot)
{
    mr_job_at(core, slot)->flags &= (uint16_t)~MR_JOB_LAST;
}

static void
leave_checking(struct mr_core *core, uint32_t slot)
{
    mr_job_at(core, slot)->flags &=
        (uint16_t) ~(MR_JOB_LOST | MR_JOB_DOUBTED | MR_JOB_CRASHED | MR_JOB_UNSTARTED);
}

typedef void (*state_fn)(struct mr_core *core, uint32_t slot);

#define TO(state) (1u << MR_JOB_##state)
static const struct {
    state_fn join, leave; /* NULL: nothing to do */
    uint32_t to;          /* the states that may follow, as bits */
} states[MR_JOB_STATES] = {
    [MR_JOB_FREE] = {NULL, NULL,
        TO(STORING) | TO(RECOVERED) | TO(WAITING) | TO(READY) | TO(SETTLING) |
            TO(CHECKING)},
    [MR_JOB_STORING] = {join_storing, leave_storing,
        TO(FREE) | TO(WAITING) | TO(READY) | TO(SETTLING) | TO(CHECKING)},
    [MR_JOB_WAITING] = {join_waiting, leave_waiting, TO(READY) | TO(SETTLING)},
    [MR_JOB_READY] = {join_ready, leave_ready, TO(SENT) | TO(SETTLING) | TO(CHECKING)},
    [MR_JOB_SENT] = {join_sent, leave_sent,
        TO(FREE) | TO(READY) | TO(SETTLING) | TO(CHECKING)},
    [MR_JOB_SETTLING] = {NULL, leave_settling,
        TO(FREE) | TO(WAITING) | TO(READY) | TO(SETTLING) | TO(CHECKING)},
    [MR_JOB_RECOVERED] = {join_recovered, leave_recovered,
        TO(SENT) | TO(WAITING) | TO(READY) | TO(SETTLING) | TO(CHECKING)},
    [MR_JOB_CHECKING] = {NULL, leave_checking,
        TO(FREE) | TO(WAITING) | TO(READY) | TO(SETTLING) | TO(CHECKING)},
};
#undef TO

void
mr_job_move(struct mr_core *core, uint32_t slot, enum mr_job_state state)
{
    struct mr_job *job = mr_job_at(core, slot);

    MR_ASSERT(states[job->state].to & (1u << state));
    if (job->flags & MR_JOB_TIMED)
        mr_wheel_clear(&core->wheel, slot);
    job->flags &= (uint16_t)~MR_JOB_TIMED;
    if (states[job->state].leave)
        states[job->state].leave(core, slot);
    core->by_state[job->state]--;
    job->state = (uint8_t)state;
    core->by_state[state]++;
    if (states[state].join)
        states[state].join(core, slot);
}

/* ---- where to --------------------------------------------------------------------------------- */

bool
mr_job_is_expired(const struct mr_core *core, const struct mr_job *job)
{
    int64_t wall_us = mr_extra_of(core, job)->expires_at_us;

    return wall_us && core->now.wall_us >= wall_us;
}

static void
expire(struct mr_core *core, uint32_t slot)
{
    mr_settle_result(core, slot, MR_OUT_EXPIRED,
        mr_span_str("its expiry was over before it could be started"));
}

void
mr_job_route(struct mr_core *core, uint32_t slot)
{
    struct mr_job *job = mr_job_at(core, slot);

    if (job->flags & MR_JOB_CANCEL)
        mr_settle_result(core, slot, MR_OUT_CANCELLED, mr_span_str("cancelled"));
    else if (mr_job_is_expired(core, job))
        expire(core, slot);
    else if (job->due_us > core->now.mono_us)
        mr_job_move(core, slot, MR_JOB_WAITING);
    else
        mr_job_move(core, slot, MR_JOB_READY);
}

void
mr_job_cancel(struct mr_core *core, uint32_t slot)
{
    struct mr_job *job = mr_job_at(core, slot);

    if (job->flags & MR_JOB_LAST)
        return; /* its result is on the way already and will say what became of it */
    job->flags |= MR_JOB_CANCEL;
    switch ((enum mr_job_state)job->state) {
    case MR_JOB_WAITING:
    case MR_JOB_READY:
    case MR_JOB_RECOVERED:
        mr_job_route(core, slot);
        break;
    case MR_JOB_SENT:
        mr_say_revoke(core, job->peer, job->id, job->attempt, MR_WHY_CANCELLED);
        break;
    case MR_JOB_STORING: /* the flag is looked at when the answer is here */
    case MR_JOB_SETTLING:
    case MR_JOB_CHECKING:
    case MR_JOB_FREE:
        break;
    }
}

/* A timer may be early in wall time, when that clock was set back. */
void
mr_job_on_timer(struct mr_core *core, uint32_t slot)
{
    struct mr_job *job = mr_job_at(core, slot);

    job->flags &= (uint16_t)~MR_JOB_TIMED; /* the wheel has cleared it */
    if (job->state == MR_JOB_SENT) {
        if (core->is_store_up && core->now.mono_us >= core->store_back_us)
            mr_settle_overdue(core, slot);
        else /* its result may be waiting for the database */
            set_timer(core, slot, core->now.mono_us + MR_STORE_BACK_US);
        return;
    }
    MR_ASSERT(job->state == MR_JOB_WAITING || job->state == MR_JOB_READY);
    if (mr_job_is_expired(core, job)) {
        expire(core, slot);
    } else if (job->state == MR_JOB_WAITING && job->due_us <= core->now.mono_us) {
        mr_job_route(core, slot);
    } else {
        int64_t at_us = expiry_us(core, job);

        if (job->state == MR_JOB_WAITING && job->due_us < at_us)
            at_us = job->due_us;
        set_timer(core, slot, at_us);
    }
}

static const struct mr_offered *
offer_for(const struct mr_core *core, const struct mr_job *job)
{
    return job->peer != MR_NO_PEER ? mr_roster_offer(core, job->peer, job->kind)
                                   : mr_roster_any_offer(core, job->kind);
}

uint32_t
mr_job_timeout_ms(const struct mr_core *core, uint32_t slot)
{
    const struct mr_job *job = mr_job_at(core, slot);
    const struct mr_extra *extra = mr_extra_of(core, job);
    const struct mr_offered *offer = extra->timeout_ms ? NULL : offer_for(core, job);

    if (extra->timeout_ms)
        return extra->timeout_ms;
    return offer && offer->policy.timeout_ms ? offer->policy.timeout_ms
                                             : core->conf.timeout_ms;
}

struct mr_retry_policy
mr_job_policy(const struct mr_core *core, uint32_t slot)
{
    const struct mr_job *job = mr_job_at(core, slot);
    const struct mr_offered *offer = offer_for(core, job);
    const struct mr_extra *extra = mr_extra_of(core, job);
    struct mr_retry_policy own = {extra->timeout_ms, extra->attempts_max,
        extra->backoff_base_ms, extra->backoff_cap_ms, extra->backoff_factor_percent,
        extra->backoff_jitter};
    struct mr_retry_policy unsaid = {0};
    struct mr_retry_policy initial = {core->conf.timeout_ms, core->conf.attempts_max,
        core->conf.backoff_base_ms, core->conf.backoff_cap_ms,
        core->conf.backoff_factor_percent,
        mr_jitter_of(core->conf.backoff_jitter_percent)};

    return mr_retry_policy_of(&own, offer ? &offer->policy : &unsaid, &initial);
}
