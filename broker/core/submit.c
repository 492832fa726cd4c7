#include "broker/core/submit.h"

#include "broker/core/job.h"
#include "broker/core/lane.h"
#include "broker/core/owner.h"
#include "broker/core/receipt.h"
#include "broker/core/roster.h"
#include "broker/core/say.h"
#include "broker/core/watch.h"
#include "schemas/base/mutant.h"

#define YEAR_US (INT64_C(366) * 24 * 3600 * 1000000)
#define RUN_AT_YEARS_MAX 10

/* ---- the message ------------------------------------------------------------------------------ */

static enum mr_status
judge_message(const struct mr_core *core, uint32_t peer, uint32_t flags, uint32_t jobs,
    const char **why)
{
    *why = "say HELLO as a client first";
    if (!mr_roster_find(core, peer, MR_ROLE_CLIENT))
        return MR_NO_SESSION;
    *why = "too many jobs in one message; split it";
    if (jobs > MR_JOBS_PER_MESSAGE_MAX)
        return MR_TOO_BIG;
    *why = "the broker is being stopped; submit to another one";
    if (core->is_draining)
        return MR_DRAINING;
    *why = "the broker is loading its unfinished jobs";
    if (core->is_loading)
        return MR_STARTING;
    *why =
        "the database cannot be reached, so nothing can be accepted; submit again later";
    if (!core->is_store_up)
        return MR_STORE_DOWN;
    *why = "the broker holds as many unfinished jobs as it can; submit again later";
    if (core->jobs.used >= core->jobs.max)
        return MR_BUSY;
    *why = "the broker watches as many jobs as it can; submit without watching, or later";
    if (flags & MR_SUBMIT_WATCH && jobs > core->watchers.max - core->watchers.used)
        return MR_BUSY;
    return MR_OK;
}

enum mr_status
mr_submit_open(
    struct mr_core *core, uint32_t peer, uint64_t corr, uint32_t flags, uint32_t jobs)
{
    const char *why;
    enum mr_status status = judge_message(core, peer, flags, jobs, &why);

    core->submit = (struct mr_intake){.peer = peer, .flags = flags};
    if (status == MR_OK) {
        core->submit.receipt =
            mr_receipt_open(core, peer, corr, jobs, core->submit_slips_max);
        if (core->submit.receipt)
            return MR_OK;
        status = MR_BUSY;
        why = "too many jobs wait for their commit; submit again later";
    }
    core->stats.refused += jobs;
    mr_say_error(core, peer, corr, status, why);
    return status;
}

void
mr_submit_close(struct mr_core *core)
{
    if (core->submit.receipt)
        mr_receipt_close(core, core->submit.receipt, core->submit.taken);
    core->submit = (struct mr_intake){0};
}

/* ---- one job ------------------------------------------------------------------------------------ */

static enum mr_status
judge_id(const struct mr_core *core, struct mr_uuid id, const char **why)
{
    int64_t now_ms = core->now.wall_us / 1000;
    int64_t id_ms = mr_uuid_ms(id);

    *why = "the id is not a UUID of version 7";
    if (!mr_uuid_is_v7(id))
        return MR_BAD_ID;
    *why = "the id's time is too far in the past; make a new id when you submit";
    if (id_ms < now_ms - core->conf.id_past_ms)
        return MR_BAD_ID;
    *why = "the id's time is too far in the future; compare the clocks of the two hosts";
    if (id_ms > now_ms + core->conf.id_future_ms)
        return MR_BAD_ID;
    return MR_OK;
}

static enum mr_status
judge_sizes(const struct mr_job_new *job, const char **why)
{
    *why =
        "the payload is larger than the limit; store it elsewhere and pass a reference";
    if (job->payload.n > MR_PAYLOAD_BYTES_MAX)
        return MR_TOO_BIG;
    *why = "a queue's name has 1 to 64 characters, without blanks";
    if (!mr_names_is_good(job->queue))
        return MR_BAD_ARGUMENT;
    *why = "a kind's name has 1 to 64 characters, without blanks";
    if (!mr_names_is_good(job->kind))
        return MR_BAD_ARGUMENT;
    *why = "a lane's key has at most 64 bytes";
    if (job->lane.n > MR_NAME_BYTES_MAX)
        return MR_BAD_ARGUMENT;
    *why = "a trace context has at most 128 bytes";
    if (job->trace.n > MR_TRACE_BYTES_MAX)
        return MR_BAD_ARGUMENT;
    *why = "a priority is a number from 0 to 9";
    if (job->priority > MR_PRIORITY_MAX)
        return MR_BAD_ARGUMENT;
    return MR_OK;
}

static enum mr_status
judge_numbers(const struct mr_core *core, const struct mr_job_new *job, const char **why)
{
    *why = "a job may have at most 1000 attempts";
    if (job->attempts_max > MR_ATTEMPTS_MAX)
        return MR_BAD_ARGUMENT;
    *why = "backoff_base_ms is larger than backoff_cap_ms";
    if (job->backoff_cap_ms && job->backoff_base_ms > job->backoff_cap_ms)
        return MR_BAD_ARGUMENT;
    *why = "the backoff's factor is 100 to 1000 percent, its jitter 0 to 100";
    if (!mr_backoff_is_good(job->backoff_factor_percent, job->backoff_jitter))
        return MR_BAD_ARGUMENT;
    *why = "give run_at or delay_ms, not both";
    if (job->run_at_us && job->delay_ms)
        return MR_BAD_ARGUMENT;
    *why = "run_at is not between 1970 and ten years from now";
    if (job->run_at_us < 0 ||
        job->run_at_us > core->now.wall_us + RUN_AT_YEARS_MAX * YEAR_US)
        return MR_BAD_ARGUMENT;
    *why = "expires_at is before 1970";
    if (job->expires_at_us < 0)
        return MR_BAD_ARGUMENT;
    /* A repeat may be of a job that is there, finished even: the database knows. If it is not,
     * it is accepted and expires. */
    *why = "its expiry was over when it was submitted";
    if (job->expires_at_us && job->expires_at_us <= core->now.wall_us)
        return core->submit.flags & MR_SUBMIT_RESENT ? MR_OK : MR_EXPIRED;
    *why = "it would expire before it may start; move run_at or expires_at";
    if (job->expires_at_us && job->expires_at_us <= job->run_at_us)
        return MR_BAD_ARGUMENT;
    /* Its delay counted from when it was sent for the first time. */
    if (job->expires_at_us && !(core->submit.flags & MR_SUBMIT_RESENT) &&
        job->expires_at_us - core->now.wall_us <= job->delay_ms * INT64_C(1000))
        return MR_BAD_ARGUMENT;
    return MR_OK;
}

static enum mr_status
judge_job(struct mr_core *core, const struct mr_job_new *job, const char **why)
{
    enum mr_status status = judge_id(core, job->id, why);
    uint16_t kind;

    if (status == MR_OK)
        status = judge_sizes(job, why);
    if (status == MR_OK)
        status = judge_numbers(core, job, why);
    if (status)
        return status;
    kind = mr_names_find(&core->kind_names, job->kind);
    *why = "no worker has ever offered this kind; check its name, or start such a worker";
    if (core->conf.refuses_unknown_kinds && !(kind && core->kinds[kind].is_known))
        return MR_NO_KIND;
    *why = "too many jobs wait for their commit; submit this one again later";
    if (core->by_state[MR_JOB_STORING] >= core->conf.storing_max)
        return MR_BUSY;
    *why = "too many bytes wait for their commit; submit this one again later";
    if (core->by_state[MR_JOB_STORING] &&
        core->storing_bytes + job->payload.n > core->conf.storing_bytes_max)
        return MR_BUSY;
    return MR_OK;
}

/* True: it is new. A client that watches already goes on, whatever becomes of this item. */
static bool
start_watching(struct mr_core *core, struct mr_uuid id)
{
    bool made = false;

    if (core->submit.flags & MR_SUBMIT_WATCH) {
        bool has_room =
            mr_watch_add(core, core->submit.peer, id, MR_WATCHES, 0, MR_SCOPE_OWN, &made);

        MR_ASSERT(has_room); /* judge_message() saw to it */
    }
    return made;
}

static uint16_t
owner_of_message(const struct mr_core *core)
{
    return core->peers[core->submit.peer].owner;
}

static void
accept(struct mr_core *core, const struct mr_job_new *job, uint32_t slot, uint32_t index)
{
    struct mr_store_op op = {.type = MR_STORE_JOB,
        .id = job->id,
        .job = *job,
        .ref = slot,
        .submitted_by = mr_owner_name(core, owner_of_message(core)),
        .submitted_at_us = core->now.wall_us,
        .is_resent = core->submit.flags & MR_SUBMIT_RESENT};
    struct mr_job *mine = mr_job_at(core, slot);
    struct mr_owner *owner = &core->owners[mine->owner];

    if (job->delay_ms) {
        op.job.run_at_us = core->now.wall_us + job->delay_ms * INT64_C(1000);
        op.job.delay_ms = 0;
    }
    mine->due_us = op.job.run_at_us ? mr_core_mono_of(core, op.job.run_at_us) : 0;
    mr_quota_take(&owner->quota, &owner->use, core->now.mono_us);
    if (MR_MUTANT(ack_before_commit))
        mr_receipt_verdict(core, core->submit.receipt, index, MR_OK, NULL);
    else
        mr_receipt_wait(core, core->submit.receipt, index, MR_SLIP_FIRST, slot, 0,
            start_watching(core, job->id));
    mr_job_move(core, slot, MR_JOB_STORING);
    mr_say_store(core, &op);
}

static void
refuse(struct mr_core *core, uint32_t index, enum mr_status code, const char *why)
{
    core->stats.refused++;
    mr_receipt_verdict(core, core->submit.receipt, index, code, why);
}

/* False: its owner has used up what it may, and is told so. */
static bool
is_within_quota(struct mr_core *core, const struct mr_job_new *job, uint32_t index)
{
    struct mr_owner *owner = &core->owners[owner_of_message(core)];
    int64_t now_us = core->now.mono_us;
    enum mr_quota_limit limit =
        mr_quota_judge(&owner->quota, &owner->use, now_us, job->payload.n);

    if (limit == MR_QUOTA_NONE)
        return true;
    owner->use.refused[limit]++;
    core->stats.over_quota++;
    if (limit != MR_QUOTA_RATE) {
        refuse(core, index, mr_quota_code(limit), mr_quota_text(limit));
        return false;
    }
    core->stats.refused++;
    mr_receipt_busy(core, core->submit.receipt, index, mr_quota_text(limit),
        mr_quota_wait_ms(&owner->quota, &owner->use, now_us, ++core->submit.above_rate));
    return false;
}

/* The payload is in the database only: it is read back and compared then. */
static void
compare_later(
    struct mr_core *core, const struct mr_job_new *job, uint32_t slot, uint32_t index)
{
    struct mr_job *mine = mr_job_at(core, slot);

    mr_receipt_wait(core, core->submit.receipt, index, MR_SLIP_AGAIN, slot,
        mr_job_digest(core, job->payload), start_watching(core, job->id));
    if (mine->flags & MR_JOB_READING)
        return;
    mine->flags |= MR_JOB_READING;
    if (mine->state == MR_JOB_READY)
        mr_lane_refresh(core, mine->lane);
    mr_say_read(core, job->id);
}

static void
recognise(
    struct mr_core *core, const struct mr_job_new *job, uint32_t slot, uint32_t index)
{
    const struct mr_job *mine = mr_job_at(core, slot);
    bool is_same = mine->owner == owner_of_message(core) &&
                   mr_names_find(&core->queue_names, job->queue) == mine->queue &&
                   mr_names_find(&core->kind_names, job->kind) == mine->kind;

    if (is_same && mine->flags & MR_JOB_ABSENT && !(mine->flags & MR_JOB_DIGEST)) {
        compare_later(core, job, slot, index);
        return;
    }
    if (is_same && mine->flags & MR_JOB_ABSENT)
        is_same = mr_job_digest(core, job->payload) == mine->u.digest;
    else if (is_same)
        is_same = mr_span_eq(job->payload, mr_job_payload(mine));
    if (MR_MUTANT(forgery_known))
        is_same = true;
    if (!is_same && mine->state == MR_JOB_STORING) {
        refuse(core, index, MR_BUSY,
            "another job is being stored under this id; send it again to learn which one "
            "the id belongs to");
        return;
    }
    if (!is_same) {
        refuse(core, index, MR_CONFLICT,
            "this id belongs to a job with another queue, kind or payload; make a new "
            "id");
        return;
    }
    core->stats.known++;
    if (mine->state == MR_JOB_STORING) {
        mr_receipt_wait(core, core->submit.receipt, index, MR_SLIP_AGAIN, slot, 0,
            start_watching(core, job->id));
    } else {
        start_watching(core, job->id);
        mr_receipt_verdict(core, core->submit.receipt, index, MR_KNOWN, NULL);
    }
}

void
mr_submit_job(struct mr_core *core, const struct mr_job_new *job)
{
    uint32_t index = core->submit.taken;
    uint32_t slot;
    enum mr_status status;
    const char *why;

    if (!core->submit.receipt)
        return;
    core->submit.taken++;
    slot = mr_ids_find(&core->job_ids, &job->id);
    if (slot) {
        recognise(core, job, slot, index);
        return;
    }
    status = judge_job(core, job, &why);
    if (status == MR_OK && !is_within_quota(core, job, index))
        return;
    if (status == MR_OK)
        status =
            mr_job_new(core, job, owner_of_message(core), core->now.wall_us, &slot, &why);
    if (status)
        refuse(core, index, status, why);
    else
        accept(core, job, slot, index);
}

void
mr_submit_denied(struct mr_core *core, struct mr_span why)
{
    uint32_t index = core->submit.taken;

    if (!core->submit.receipt)
        return;
    core->submit.taken++;
    core->stats.refused++;
    mr_receipt_refuse(core, core->submit.receipt, index, MR_DENIED, why);
}
