#include "broker/core/settle.h"

#include "broker/core/job.h"
#include "broker/core/lane.h"
#include "broker/core/receipt.h"
#include "broker/core/recover.h"
#include "broker/core/roster.h"
#include "broker/core/say.h"
#include "broker/core/watch.h"
#include "schemas/base/mutant.h"

#include <stdio.h>

/* ---- rows to be stored ---------------------------------------------------------------------- */

static struct mr_span
cut(struct mr_span text)
{
    return mr_span_cut(text, MR_ERROR_BYTES_MAX);
}

void
mr_settle_attempt(
    struct mr_core *core, uint32_t slot, const struct mr_settle_attempt *from)
{
    struct mr_job *job = mr_job_at(core, slot);
    struct mr_store_op op = {.type = MR_STORE_ATTEMPT,
        .id = job->id,
        .ref = slot,
        .attempt = job->attempt,
        .attempt_outcome = from->outcome,
        .text = cut(from->text),
        .worker = mr_roster_name(core, job->peer),
        .started_at_us = from->started_at_us,
        .finished_at_us = from->finished_at_us};

    if (from->is_unstarted)
        op.started_at_us = 0;
    else if (!op.started_at_us)
        op.started_at_us = mr_core_wall_of(core, job->sent_us);
    if (!op.finished_at_us)
        op.finished_at_us = core->now.wall_us;
    job->due_us = core->now.mono_us + from->delay_ms * INT64_C(1000);
    if (!from->is_last)
        op.retry_at_us = core->now.wall_us + from->delay_ms * INT64_C(1000);
    mr_job_move(core, slot, MR_JOB_SETTLING);
    mr_say_store(core, &op);
}

static void
settle_end(struct mr_core *core, uint32_t slot, enum mr_outcome outcome,
    enum mr_dead_reason reason, struct mr_span text)
{
    struct mr_job *job = mr_job_at(core, slot);
    struct mr_store_op op = {.type = MR_STORE_RESULT,
        .id = job->id,
        .ref = slot,
        .attempt = job->attempt,
        .outcome = outcome,
        .reason = reason,
        .text = cut(text),
        .finished_at_us = core->now.wall_us};

    mr_job_move(core, slot, MR_JOB_SETTLING);
    job->flags |= MR_JOB_LAST;
    mr_say_store(core, &op);
}

void
mr_settle_result(
    struct mr_core *core, uint32_t slot, enum mr_outcome outcome, struct mr_span text)
{
    settle_end(core, slot, outcome, MR_DEAD_NOT, text);
}

static void
settle_dead(
    struct mr_core *core, uint32_t slot, enum mr_dead_reason reason, struct mr_span text)
{
    settle_end(core, slot, MR_FAILED, reason, text);
}

void
mr_settle_failure(struct mr_core *core, uint32_t slot,
    const struct mr_settle_attempt *from, bool is_for_good)
{
    struct mr_job *job = mr_job_at(core, slot);
    struct mr_retry_policy policy = mr_job_policy(core, slot);
    struct mr_settle_attempt attempt = *from;
    uint32_t asked_ms = from->delay_ms;
    struct mr_extra *extra = mr_extra_make(core, job);

    if (extra->failures < UINT16_MAX)
        extra->failures++;
    attempt.is_last = is_for_good || extra->failures >= policy.attempts_max ||
                      job->flags & MR_JOB_CANCEL;
    attempt.delay_ms = 0;
    if (!attempt.is_last)
        attempt.delay_ms = mr_retry_delay_ms(
            &policy, extra->failures, asked_ms, mr_retry_random(&core->random));
    mr_settle_attempt(core, slot, &attempt);
    if (job->flags & MR_JOB_CANCEL)
        mr_settle_result(core, slot, MR_OUT_CANCELLED, from->text);
    else if (attempt.is_last)
        settle_dead(
            core, slot, is_for_good ? MR_DEAD_FOR_GOOD : MR_DEAD_USED_UP, from->text);
    else
        core->stats.retried++;
}

void
mr_settle_lost(
    struct mr_core *core, uint32_t slot, struct mr_span reason, bool was_running)
{
    char text[256];

    (void)snprintf(text, sizeof text, "%.*s%s", (int)mr_span_cut(reason, 200).n,
        (const char *)reason.p, was_running ? "" : "; it had not started");
    core->stats.lost++;
    mr_settle_attempt(core, slot,
        &(struct mr_settle_attempt){.outcome = MR_ATTEMPT_LOST,
            .text = mr_span_str(text),
            .is_unstarted = !was_running});
    mr_job_at(core, slot)->flags |=
        MR_JOB_LOST | (was_running ? 0 : MR_JOB_UNSTARTED | MR_JOB_AT_ONCE);
}

void
mr_settle_crashed(
    struct mr_core *core, uint32_t slot, const struct mr_settle_attempt *attempt)
{
    core->stats.crashed++;
    mr_settle_attempt(core, slot, attempt);
    mr_job_at(core, slot)->flags |= MR_JOB_LOST | MR_JOB_CRASHED;
}

void
mr_settle_handed_back(struct mr_core *core, uint32_t slot)
{
    struct mr_job *job = mr_job_at(core, slot);

    core->stats.given_back++;
    mr_job_move(core, slot, MR_JOB_CHECKING);
    job->flags |= MR_JOB_RETURNED;
    job->due_us = 0;
    mr_say_find(core, job->id);
}

void
mr_settle_overdue(struct mr_core *core, uint32_t slot)
{
    const struct mr_job *job = mr_job_at(core, slot);
    char text[128];

    core->stats.timed_out++;
    mr_say_revoke(core, job->peer, job->id, job->attempt, MR_WHY_TIMED_OUT);
    (void)snprintf(text, sizeof text,
        "timed out: no report from the worker %lld ms after it was sent",
        (long long)((core->now.mono_us - job->sent_us) / 1000));
    mr_settle_failure(core, slot,
        &(struct mr_settle_attempt){
            .outcome = MR_ATTEMPT_TIMED_OUT, .text = mr_span_str(text)},
        false);
}

/* ---- who waits ------------------------------------------------------------------------------- */

/* Settle the waiters of these types (bits) with a code; MR_SLIP_FIRST has its own. A submitter
 * whose job was refused does not go on watching. */
static void
tell_waiters(struct mr_core *core, uint32_t slot, uint32_t types, enum mr_status first,
    enum mr_status others, struct mr_span text)
{
    struct mr_job *job = mr_job_at(core, slot);
    struct mr_uuid id = job->id;
    uint32_t slip = job->waiters;
    uint32_t next;

    job->waiters = 0;
    for (; slip; slip = next) {
        struct mr_slip *item = mr_receipt_slip(core, slip);
        enum mr_status code = item->type == MR_SLIP_FIRST ? first : others;
        uint32_t peer = mr_receipt_peer(core, slip);

        next = item->next;
        if (!(types & 1u << item->type)) {
            item->next = job->waiters;
            job->waiters = slip;
            continue;
        }
        if (item->made_watch && peer != MR_NO_PEER && code != MR_OK && code != MR_KNOWN &&
            code != MR_FINISHED)
            mr_watch_remove(core, peer, id);
        mr_receipt_settle(core, slip, code, text);
    }
}

#define SUBMITTERS (1u << MR_SLIP_FIRST | 1u << MR_SLIP_AGAIN)
#define REPORTERS (1u << MR_SLIP_DONE)

static void
count_outcome(struct mr_core *core, enum mr_outcome outcome)
{
    switch (outcome) {
    case MR_SUCCEEDED:
        core->stats.succeeded++;
        break;
    case MR_FAILED:
        core->stats.failed++;
        break;
    case MR_OUT_CANCELLED:
        core->stats.cancelled++;
        break;
    case MR_OUT_EXPIRED:
        core->stats.expired++;
        break;
    }
}

/* Submitters whose payload could not be compared in time are asked to come again: then the
 * database compares. */
static void
forget(struct mr_core *core, uint32_t slot)
{
    tell_waiters(core, slot, REPORTERS, MR_OK, MR_OK, MR_SPAN_NONE);
    tell_waiters(core, slot, SUBMITTERS, MR_BUSY, MR_BUSY,
        mr_span_str("the job was being finished; submit it again to learn how"));
    mr_job_free(core, slot);
}

void
mr_settle_finish(struct mr_core *core, uint32_t slot, const struct mr_event *event)
{
    count_outcome(core, event->outcome);
    core->queues[mr_job_at(core, slot)->queue].finished++;
    mr_watch_close(core, event, mr_job_at(core, slot)->owner);
    forget(core, slot);
}

/* ---- stored ----------------------------------------------------------------------------------- */

static void
finish_as_found(struct mr_core *core, uint32_t slot, const struct mr_store_op *op)
{
    mr_settle_finish(core, slot,
        &(struct mr_event){.id = op->id,
            .type = MR_EVENT_FINISHED,
            .attempt = op->found_attempt,
            .outcome = op->found_outcome,
            .text = op->found_text,
            .body = op->found_body,
            .at_us = op->found_finished_at_us});
}

/* It was in the database before, and not in memory: attempts may have been made. Its row says
 * how many. */
static void
on_known_job(struct mr_core *core, uint32_t slot)
{
    struct mr_job *job = mr_job_at(core, slot);

    core->stats.known++;
    tell_waiters(core, slot, SUBMITTERS, MR_KNOWN, MR_KNOWN, MR_SPAN_NONE);
    mr_job_move(core, slot, MR_JOB_CHECKING);
    job->flags |= MR_JOB_READING;
    mr_say_read(core, job->id);
}

/* There may be a job with that id all the same (CONFLICT): others who watch it are told what
 * the database says. */
static void
on_refused_job(struct mr_core *core, uint32_t slot, const struct mr_store_op *op)
{
    struct mr_uuid id = op->id;

    core->stats.refused++;
    tell_waiters(core, slot, SUBMITTERS, op->status, op->status, op->found_text);
    mr_job_free(core, slot);
    mr_watch_ask(core, id);
}

static void
on_stored_job(struct mr_core *core, uint32_t slot, const struct mr_store_op *op)
{
    if (mr_job_at(core, slot)->state != MR_JOB_STORING)
        return;
    if (op->status == MR_OK) {
        core->stats.submitted++;
        tell_waiters(core, slot, SUBMITTERS, MR_OK, MR_KNOWN, MR_SPAN_NONE);
        mr_job_route(core, slot);
    } else if (op->status == MR_KNOWN) {
        on_known_job(core, slot);
    } else if (op->status == MR_FINISHED) {
        core->stats.known++;
        tell_waiters(core, slot, SUBMITTERS, MR_FINISHED, MR_FINISHED, MR_SPAN_NONE);
        mr_watch_close(core,
            &(struct mr_event){.id = op->id,
                .type = MR_EVENT_FINISHED,
                .attempt = op->found_attempt,
                .outcome = op->found_outcome,
                .text = op->found_text,
                .body = op->found_body,
                .at_us = op->found_finished_at_us},
            mr_job_at(core, slot)->owner);
        mr_job_free(core, slot);
    } else {
        on_refused_job(core, slot, op);
    }
}

/* Somebody's transaction held the row for so long that the batch went on without it. */
static void
store_again(struct mr_core *core, const struct mr_store_op *op)
{
    struct mr_store_op again = *op;

    again.status = MR_OK;
    again.found_text = MR_SPAN_NONE;
    mr_say_store(core, &again);
}

/* A row that was refused as data changes nothing about what happened: the job goes on, and
 * whoever reported it hears why its history has a gap. */
static void
on_stored_attempt(struct mr_core *core, uint32_t slot, const struct mr_store_op *op)
{
    struct mr_job *job = mr_job_at(core, slot);
    struct mr_event event = {.id = op->id,
        .type = MR_EVENT_RETRYING,
        .attempt = op->attempt,
        .text = op->text,
        .at_us = op->retry_at_us};

    if (job->state != MR_JOB_SETTLING || job->flags & MR_JOB_LAST ||
        op->attempt != job->attempt)
        return;
    if (op->status == MR_BUSY) {
        store_again(core, op);
        return;
    }
    tell_waiters(core, slot, REPORTERS, op->status, op->status, op->found_text);
    if (job->flags & MR_JOB_LOST) {
        mr_job_move(core, slot, MR_JOB_CHECKING);
        mr_say_find(core, job->id);
        return;
    }
    if (!(job->flags & MR_JOB_CANCEL))
        mr_watch_tell(core, &event, job->owner);
    if (op->attempt_outcome == MR_ATTEMPT_SNOOZED)
        job->flags |= MR_JOB_SNOOZED;
    mr_job_route(core, slot);
}

/* Refused as data: the database will not have it, so it stays unfinished there and is loaded
 * again at the next start. */
static void
on_refused_result(struct mr_core *core, uint32_t slot, const struct mr_store_op *op)
{
    struct mr_event event = {
        .id = op->id, .type = MR_EVENT_NO_JOB, .text = op->found_text};

    core->stats.refused++;
    tell_waiters(core, slot, REPORTERS, op->status, op->status, op->found_text);
    mr_watch_close(core, &event, mr_job_at(core, slot)->owner);
    forget(core, slot);
}

static void
on_stored_result(struct mr_core *core, uint32_t slot, const struct mr_store_op *op)
{
    const struct mr_job *job = mr_job_at(core, slot);

    if (job->state != MR_JOB_SETTLING || !(job->flags & MR_JOB_LAST))
        return;
    if (op->status == MR_FINISHED)
        finish_as_found(core, slot, op);
    else if (op->status == MR_BUSY)
        store_again(core, op);
    else if (op->status != MR_OK)
        on_refused_result(core, slot, op);
    else
        mr_settle_finish(core, slot,
            &(struct mr_event){.id = op->id,
                .type = MR_EVENT_FINISHED,
                .attempt = op->attempt,
                .outcome = op->outcome,
                .text = op->text,
                .at_us = op->finished_at_us});
}

/* The job may have left meanwhile, and another one be in its place. */
static uint32_t
slot_of(const struct mr_core *core, const struct mr_store_op *op)
{
    const struct mr_job *job;

    if (op->ref && op->ref <= core->jobs.fresh) {
        job = mr_job_at(core, op->ref);
        if (job->state != MR_JOB_FREE && mr_uuid_eq(job->id, op->id))
            return op->ref;
    }
    return mr_ids_find(&core->job_ids, &op->id);
}

void
mr_settle_stored(struct mr_core *core, const struct mr_store_op *op)
{
    static void (*const handlers[])(
        struct mr_core *, uint32_t, const struct mr_store_op *) = {
        [MR_STORE_JOB] = on_stored_job,
        [MR_STORE_ATTEMPT] = on_stored_attempt,
        [MR_STORE_RESULT] = on_stored_result,
    };
    uint32_t slot = slot_of(core, op);

    if (slot)
        handlers[op->type](core, slot, op);
}

/* ---- found -------------------------------------------------------------------------------------- */

bool
mr_settle_exhausted(struct mr_core *core, uint32_t slot)
{
    const struct mr_job *job = mr_job_at(core, slot);
    const struct mr_extra *extra = mr_extra_of(core, job);
    char text[96];

    if (job->flags & MR_JOB_CANCEL)
        return false;
    if (extra->losses >=
        core->conf.losses_max) { /* with which workers, the database knows */
        mr_job_move(core, slot, MR_JOB_CHECKING);
        mr_say_find(core, job->id);
        return true;
    }
    if (!extra->failures || extra->failures < mr_job_policy(core, slot).attempts_max)
        return false;
    (void)snprintf(text, sizeof text, "failed %u times; its attempts say how",
        (unsigned)extra->failures);
    settle_dead(core, slot, MR_DEAD_USED_UP, mr_span_str(text));
    return true;
}

static void
quarantine(struct mr_core *core, uint32_t slot, struct mr_span losses)
{
    const struct mr_job *job = mr_job_at(core, slot);
    char text[MR_ERROR_BYTES_MAX], id[MR_UUID_TEXT_MAX];

    core->stats.quarantined++;
    (void)snprintf(text, sizeof text,
        "quarantined: %u times its worker or its process ended while it ran%s%.*s%s. "
        "Look "
        "what in it ends a process; to see it again, run it in a worker of its own "
        "(--threads 1): millrace redrive %s",
        (unsigned)mr_extra_of(core, job)->losses, losses.n ? " (" : "",
        (int)mr_span_cut(losses, MR_ERROR_BYTES_MAX / 2).n,
        losses.n ? (const char *)losses.p : "", losses.n ? ")" : "",
        mr_uuid_format(job->id, id));
    settle_dead(core, slot, MR_DEAD_QUARANTINED, mr_span_str(text));
}

static void
count_loss(struct mr_core *core, struct mr_job *job)
{
    struct mr_extra *extra = mr_extra_make(core, job);
    uint8_t *count = job->flags & MR_JOB_UNSTARTED ? &extra->near_losses : &extra->losses;

    if (*count < UINT8_MAX && !MR_MUTANT(loss_uncounted))
        ++*count;
}

static void
on_not_finished(struct mr_core *core, uint32_t slot, struct mr_span losses)
{
    struct mr_job *job = mr_job_at(core, slot);
    struct mr_event event = {.id = job->id,
        .type = MR_EVENT_RETRYING,
        .attempt = job->attempt,
        .text = mr_span_str(job->flags & MR_JOB_CRASHED ? "its process ended under it"
                                                        : "lost with its worker"),
        .at_us = core->now.wall_us};

    if (job->flags & MR_JOB_LOST)
        count_loss(core, job);
    if (mr_extra_of(core, job)->losses + (MR_MUTANT(quarantine_early) ? 1u : 0u) >=
            core->conf.losses_max &&
        !(job->flags & MR_JOB_CANCEL)) {
        quarantine(core, slot, losses);
        return;
    }
    if (job->flags & MR_JOB_LOST) {
        mr_watch_tell(core, &event, job->owner);
        job->flags |= MR_JOB_RETURNED;
    }
    mr_job_route(core, slot);
}

void
mr_settle_found(struct mr_core *core, const struct mr_found *found)
{
    uint32_t slot = mr_ids_find(&core->job_ids, &found->id);
    struct mr_event event = {.id = found->id, .type = MR_EVENT_NO_JOB};

    /* Asked for a job's sake, or for somebody's who watches an id. */
    if (!slot || mr_job_at(core, slot)->state != MR_JOB_CHECKING ||
        mr_job_at(core, slot)->flags & MR_JOB_READING) {
        mr_watch_found(core, found);
    } else if (found->is_finished) {
        mr_settle_finish(core, slot,
            &(struct mr_event){.id = found->id,
                .type = MR_EVENT_FINISHED,
                .attempt = found->attempt,
                .outcome = found->outcome,
                .text = found->text,
                .body = found->body,
                .at_us = found->finished_at_us});
    } else if (found->exists) {
        on_not_finished(core, slot, found->losses);
    } else if (!(mr_job_at(core, slot)->flags & MR_JOB_DOUBTED)) {
        mr_job_at(core, slot)->flags |= MR_JOB_DOUBTED;
        mr_say_find(
            core, found->id); /* the answer may be to a question from before it was */
    } else {
        mr_watch_close(core, &event, mr_job_at(core, slot)->owner);
        forget(core, slot);
    }
}

/* ---- read back ------------------------------------------------------------------------------------ */

static void
compare_waiters(struct mr_core *core, uint32_t slot, uint64_t digest)
{
    struct mr_job *job = mr_job_at(core, slot);
    uint32_t slip = job->waiters;
    uint32_t next;

    job->waiters = 0;
    for (; slip; slip = next) {
        struct mr_slip *item = mr_receipt_slip(core, slip);

        next = item->next;
        if (item->type == MR_SLIP_AGAIN) {
            mr_receipt_settle(core, slip, item->digest == digest ? MR_KNOWN : MR_CONFLICT,
                MR_SPAN_NONE);
        } else {
            item->next = job->waiters;
            job->waiters = slip;
        }
    }
}

/* What a job looked like in the database when it was submitted again. */
static void
adopt_history(struct mr_core *core, uint32_t slot, const struct mr_stored_job *stored)
{
    mr_job_set_history(core, slot, stored);
    mr_job_at(core, slot)->submitted_at_us = stored->submitted_at_us;
    if (!mr_settle_exhausted(core, slot))
        mr_job_route(core, slot);
}

/* READY jobs are read back to be run, and above the budget if need be; whatever else has become
 * of it meanwhile, the digest is worth keeping. */
static void
keep_what_was_read(
    struct mr_core *core, uint32_t slot, const struct mr_stored_job *stored)
{
    struct mr_job *job = mr_job_at(core, slot);
    uint64_t limit =
        job->state == MR_JOB_READY ? core->pool.bytes_max : core->conf.payload_bytes_max;

    if (!(job->flags & MR_JOB_ABSENT))
        return;
    if (mr_job_keep_payload(core, slot, stored->job.payload, stored->job.trace, limit)) {
        if (core->pool.bytes > core->conf.payload_bytes_max)
            job->flags |= MR_JOB_FETCHED;
        return;
    }
    mr_job_set_bytes(core, job, stored->job.payload.n);
    job->u.digest = mr_job_digest(core, stored->job.payload);
    job->flags |= MR_JOB_DIGEST;
}

void
mr_settle_read_back(
    struct mr_core *core, struct mr_uuid id, const struct mr_stored_job *stored)
{
    uint32_t slot = mr_ids_find(&core->job_ids, &id);
    struct mr_job *job;

    if (!slot && !(stored && stored->lacks_history))
        mr_recover_fetched(core, id, stored);
    if (!slot || !(mr_job_at(core, slot)->flags & MR_JOB_READING))
        return;
    job = mr_job_at(core, slot);
    job->flags &= (uint16_t)~MR_JOB_READING;
    if (mr_extra_of(core, job)->reading_bytes) {
        core->reading_bytes -= mr_extra_of(core, job)->reading_bytes;
        mr_extra_make(core, job)->reading_bytes = 0;
    }
    if (stored) {
        compare_waiters(core, slot, mr_job_digest(core, stored->job.payload));
        keep_what_was_read(core, slot, stored);
    } else {
        tell_waiters(core, slot, 1u << MR_SLIP_AGAIN, MR_BUSY, MR_BUSY,
            mr_span_str("the job was being finished; submit it again to learn how"));
    }
    if (job->state == MR_JOB_CHECKING && stored && stored->lacks_history) {
        job->flags |= MR_JOB_READING; /* asked for when it was still to be run */
        mr_say_read(core, id);
    } else if (job->state == MR_JOB_CHECKING && stored) {
        adopt_history(core, slot, stored);
    } else if (job->state == MR_JOB_CHECKING) {
        mr_say_find(core, id);
    } else if (job->state == MR_JOB_READY && stored) {
        mr_lane_refresh(core, job->lane);
    } else if (job->state == MR_JOB_READY) {
        mr_job_move(core, slot, MR_JOB_CHECKING);
        mr_say_find(core, id);
    }
}
