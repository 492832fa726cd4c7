#include "broker/core/done.h"

#include "broker/core/job.h"
#include "broker/core/receipt.h"
#include "broker/core/recover.h"
#include "broker/core/roster.h"
#include "broker/core/run.h"
#include "broker/core/say.h"
#include "broker/core/settle.h"
#include "broker/core/watch.h"

void
mr_done_open(
    struct mr_core *core, uint32_t peer, uint64_t corr, uint32_t flags, uint32_t dones)
{
    enum mr_status status = MR_OK;
    const char *why = "";

    core->done = (struct mr_intake){.peer = peer, .flags = flags};
    if (!mr_roster_find(core, peer, MR_ROLE_WORKER)) {
        status = MR_NO_SESSION;
        why = "say HELLO as a worker first";
    } else if (dones > MR_ITEMS_PER_MESSAGE_MAX) {
        status = MR_TOO_BIG;
        why = "too many outcomes in one message; split it";
    } else if (core->is_loading || core->done_must_wait) {
        /* Which attempts are current is not known yet; the worker sends it again. */
        status = MR_STARTING;
        why = "the broker is loading its unfinished jobs; send this again";
    } else {
        core->done.receipt = mr_receipt_open(core, peer, corr, dones, core->slips.max);
        if (!core->done.receipt) {
            status = MR_BUSY;
            why = "too many outcomes wait for their commit; send this again later";
        }
    }
    core->done_must_wait = false;
    if (status)
        mr_say_error(core, peer, corr, status, why);
}

void
mr_done_close(struct mr_core *core)
{
    if (core->done.receipt) {
        if (core->done.flags & MR_DONE_DOORBELL)
            mr_say_sweep(core);
        mr_receipt_close(core, core->done.receipt, core->done.taken);
    }
    core->done = (struct mr_intake){0};
}

/* ---- by report: the job is SENT, and held by this worker ------------------------------------- */

static struct mr_settle_attempt
attempt_of(const struct mr_done *done, enum mr_attempt_outcome outcome)
{
    return (struct mr_settle_attempt){.outcome = outcome,
        .text = done->text,
        .started_at_us = done->started_at_us,
        .finished_at_us = done->finished_at_us,
        .delay_ms = done->retry_after_ms};
}

static struct mr_event
end_of(const struct mr_done *done)
{
    return (struct mr_event){.id = done->id,
        .type = MR_EVENT_FINISHED,
        .attempt = done->attempt,
        .outcome = done->report == MR_DID_SUCCEED ? MR_SUCCEEDED : done->outcome,
        .text = done->text,
        .body = done->body,
        .at_us = done->finished_at_us};
}

static void
on_finished(struct mr_core *core, uint32_t slot, const struct mr_done *done)
{
    struct mr_event end = end_of(done);

    mr_settle_finish(core, slot, &end);
}

static void
on_failed(struct mr_core *core, uint32_t slot, const struct mr_done *done)
{
    struct mr_settle_attempt attempt = attempt_of(done, MR_ATTEMPT_FAILED);

    mr_settle_failure(core, slot, &attempt, done->report == MR_DID_FAIL_FOR_GOOD);
}

static void
on_timed_out(struct mr_core *core, uint32_t slot, const struct mr_done *done)
{
    struct mr_settle_attempt attempt = attempt_of(done, MR_ATTEMPT_TIMED_OUT);

    core->stats.timed_out++;
    mr_settle_failure(core, slot, &attempt, false);
}

/* Without a time it comes back after the shortest backoff: a snooze is never a busy loop. */
static void
on_snoozed(struct mr_core *core, uint32_t slot, const struct mr_done *done)
{
    struct mr_settle_attempt attempt = attempt_of(done, MR_ATTEMPT_SNOOZED);

    if (mr_job_at(core, slot)->flags & MR_JOB_CANCEL) {
        mr_settle_result(core, slot, MR_OUT_CANCELLED, mr_span_str("cancelled"));
        return;
    }
    core->stats.snoozed++;
    if (!attempt.delay_ms)
        attempt.delay_ms = mr_job_policy(core, slot).backoff_base_ms;
    mr_settle_attempt(core, slot, &attempt);
}

/* No row: nothing happened. The attempt's number is not used again all the same, so that a
 * repeated DONE can never be taken for one about the next attempt. */
static void
on_given_back(struct mr_core *core, uint32_t slot, const struct mr_done *done)
{
    struct mr_job *job = mr_job_at(core, slot);

    (void)done;
    core->stats.given_back++;
    if (job->flags & MR_JOB_CANCEL) {
        mr_settle_result(core, slot, MR_OUT_CANCELLED, mr_span_str("cancelled"));
        return;
    }
    job->flags |= MR_JOB_RETURNED;
    job->due_us = 0;
    mr_job_route(core, slot);
}

static void
on_cancelled(struct mr_core *core, uint32_t slot, const struct mr_done *done)
{
    if (mr_job_at(core, slot)->flags & MR_JOB_CANCEL)
        mr_settle_result(core, slot, MR_OUT_CANCELLED,
            done->text.n ? done->text : mr_span_str("cancelled"));
    else
        on_failed(core, slot, done); /* nobody asked for it */
}

/* The worker lives on, and nothing else that it holds is touched. */
static void
on_crashed(struct mr_core *core, uint32_t slot, const struct mr_done *done)
{
    struct mr_settle_attempt attempt = attempt_of(done, MR_ATTEMPT_CRASHED);

    attempt.delay_ms = 0;
    mr_settle_crashed(core, slot, &attempt);
}

typedef void (*report_fn)(
    struct mr_core *core, uint32_t slot, const struct mr_done *done);

static const struct {
    report_fn handle;
    bool is_durable; /* by the worker, or nothing to store: no waiting */
} reports[MR_REPORT_LAST + 1] = {
    [MR_DID_SUCCEED] = {on_finished, true},
    [MR_DID_FAIL] = {on_failed, false},
    [MR_DID_FAIL_FOR_GOOD] = {on_failed, false},
    [MR_DID_SNOOZE] = {on_snoozed, false},
    [MR_DID_GIVE_BACK] = {on_given_back, true},
    [MR_DID_CANCEL] = {on_cancelled, false},
    [MR_DID_TIME_OUT] = {on_timed_out, false},
    [MR_WAS_FINISHED] = {on_finished, true},
    [MR_DID_CRASH] = {on_crashed, false},
};

/* A job that is still to be loaded, and need not be any more: who waits for it is told, by the
 * database, which knows whose it is. */
static void
take_end(struct mr_core *core, const struct mr_done *done)
{
    if (reports[done->report].handle != on_finished)
        return;
    mr_recover_note_end(core, done->id, true);
    mr_watch_ask_anew(core, done->id);
}

/* The worker holds the attempt, or held it before the broker was started again. */
static bool
is_current(struct mr_core *core, uint32_t slot, const struct mr_done *done)
{
    const struct mr_job *job = mr_job_at(core, slot);

    if (job->state == MR_JOB_RECOVERED && done->attempt > job->attempt &&
        mr_run_peer_may(core, core->done.peer, job))
        mr_recover_adopt(core, slot, core->done.peer, done->attempt);
    return job->state == MR_JOB_SENT && job->peer == core->done.peer &&
           job->attempt == done->attempt;
}

/* What is durable, or asks for nothing to be stored, does not need its job. */
void
mr_done_ahead(struct mr_core *core, uint32_t peer, const struct mr_done *done)
{
    if (!core->is_partial || core->is_loading || done->report < MR_DID_SUCCEED ||
        done->report > MR_REPORT_LAST || mr_ids_find(&core->job_ids, &done->id))
        return;
    if (reports[done->report].is_durable) {
        mr_recover_drop_claim(core, done->id);
    } else {
        core->done_must_wait |= mr_recover_claim(core, peer, done->id, done->attempt);
    }
}

void
mr_done_take(struct mr_core *core, const struct mr_done *done)
{
    uint32_t index = core->done.taken;
    uint32_t slot;

    if (!core->done.receipt)
        return;
    core->done.taken++;
    if (done->report < MR_DID_SUCCEED || done->report > MR_REPORT_LAST ||
        (done->report == MR_WAS_FINISHED &&
            (done->outcome < MR_SUCCEEDED || done->outcome > MR_OUT_EXPIRED))) {
        mr_receipt_verdict(core, core->done.receipt, index, MR_BAD_ARGUMENT,
            "there is no such report or outcome");
        return;
    }
    slot = mr_ids_find(&core->job_ids, &done->id);
    if (!slot && core->is_partial)
        take_end(core, done);
    if (!slot || !is_current(core, slot, done)) {
        core->stats.stale++;
        mr_receipt_verdict(core, core->done.receipt, index, MR_STALE, NULL);
        return;
    }
    if (!reports[done->report].is_durable)
        mr_receipt_wait(core, core->done.receipt, index, MR_SLIP_DONE, slot, 0, false);
    reports[done->report].handle(core, slot, done);
}
