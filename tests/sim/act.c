#include "tests/sim/sim.h"

static uint64_t
bit_of(uint32_t attempt)
{
    return attempt < 64 ? UINT64_C(1) << attempt : 0;
}

/* ---- rows ------------------------------------------------------------------------------------ */

bool
sim_job_is(const struct sim *sim, uint32_t job, const char *state)
{
    struct mr_core_job_info info;

    return mr_core_job(sim->broker.core, sim->jobs[job].id, &info) == MR_OK &&
           strcmp(info.state, state) == 0;
}

void
sim_job_returns(struct sim *sim, uint32_t job)
{
    sim->broker.returned += sim->jobs[job].returned_in != sim->broker.instance;
    sim->jobs[job].returned_in = sim->broker.instance;
    sim->jobs[job].ready_seq = 0;
}

/* The broker's own clock ran out. Not for what a worker that has come back does not know of: that
 * is lost, and was so before. */
static void
judge_overdue(
    const struct sim *sim, const struct sim_job *job, const struct mr_store_op *op)
{
    struct mr_uuid instance = sim_worker_named(op->worker);
    const struct sim_worker *worker = &sim->workers[instance.b[0] - 1];
    int64_t given_up_us =
        worker->greeted_us + sim->broker.conf.grace_ms * INT64_C(1000) + 1000;

    if (job->sent_in != sim->broker.instance || /* adopted */
        !mr_uuid_eq(worker->instance, instance) || worker->greeted_us <= job->sent_us ||
        (job->taken == op->attempt && mr_uuid_eq(job->taker, instance)))
        return;
    SIM_MUST(sim->broker.last_turn_us <= given_up_us);
}

/* What is recorded of an attempt is what its worker says, or what the broker may conclude. */
static void
judge_attempt(
    const struct sim *sim, const struct sim_job *job, const struct mr_store_op *op)
{
    uint64_t bit = bit_of(op->attempt);
    uint64_t failed = job->reported[MR_DID_FAIL] | job->reported[MR_DID_FAIL_FOR_GOOD] |
                      job->reported[MR_DID_CANCEL];
    enum mr_attempt_outcome outcome = op->attempt_outcome;

    SIM_MUST(job->is_stored && op->attempt > 0);
    if (sim->broker.is_reporting)
        SIM_MUST(mr_uuid_eq(sim_worker_named(op->worker), sim->broker.reporter));
    else if (outcome == MR_ATTEMPT_TIMED_OUT)
        judge_overdue(sim, job, op);
    if (!bit)
        return;
    SIM_MUST(job->sent & bit);
    if (outcome == MR_ATTEMPT_FAILED)
        SIM_MUST(failed & bit);
    if (outcome == MR_ATTEMPT_SNOOZED)
        SIM_MUST(job->reported[MR_DID_SNOOZE] & bit);
    if (outcome == MR_ATTEMPT_CRASHED)
        SIM_MUST(job->reported[MR_DID_CRASH] & bit);
}

static void
judge_result(
    const struct sim *sim, const struct sim_job *job, const struct mr_store_op *op)
{
    SIM_MUST(job->is_stored);
    if (op->outcome == MR_OUT_CANCELLED)
        SIM_MUST(job->has_cancelled);
    else if (op->outcome == MR_OUT_EXPIRED)
        SIM_MUST(job->expires_at_us &&
                 (job->expires_at_us <= sim->now.wall_us || sim->rates.has_clock_steps));
    else
        SIM_MUST(op->outcome == MR_FAILED && job->cancelled_in != sim->broker.instance);
}

/* All but those whose worker is there and does not know of them. */
static bool
is_lost_with_worker(const struct mr_store_op *op)
{
    static const char unknown[] = "its worker did not know";

    return op->type == MR_STORE_ATTEMPT && op->attempt_outcome == MR_ATTEMPT_LOST &&
           !(op->text.n > sizeof unknown &&
               memcmp(op->text.p, unknown, sizeof unknown - 1) == 0);
}

static void
on_store(struct sim *sim, const struct mr_action *action)
{
    const struct mr_store_op *op = action->op;
    uint32_t index = sim_index(op->id);
    struct sim_job *job = &sim->jobs[index];
    struct mr_job_new same = sim_job_new(sim, index, false);
    struct sim_request *request;

    sim_log(sim, "store", index, op->type, op->attempt);
    SIM_MUST(op->type == MR_STORE_JOB || !job->is_cancel_confirmed);
    if (op->type == MR_STORE_ATTEMPT && op->worker.n)
        judge_attempt(sim, job, op);
    job->lost_in = 0;
    if (op->type == MR_STORE_ATTEMPT && (op->attempt_outcome == MR_ATTEMPT_LOST ||
                                            op->attempt_outcome == MR_ATTEMPT_CRASHED))
        job->lost_in = sim->broker.instance;
    if (op->type == MR_STORE_RESULT)
        judge_result(sim, job, op);
    request = sim_writer_add(sim, SIM_COMMIT_ROWS);
    request->job = index;
    request->op = *op;
    request->lost_us = is_lost_with_worker(op) ? sim->now.mono_us : 0;
    request->lost = sim_worker_named(op->worker);
    request->is_forged = op->type == MR_STORE_JOB &&
                         !(mr_span_eq(op->job.payload, same.payload) &&
                             mr_span_eq(op->submitted_by, sim_owner(sim, index)));
    request->op.text = request->op.worker = MR_SPAN_NONE; /* borrowed for the call only */
    request->op.submitted_by = MR_SPAN_NONE;
    request->op.job = (struct mr_job_new){.run_at_us = op->job.run_at_us};
}

static void
on_end_sessions(struct sim *sim, const struct mr_action *action)
{
    sim_log(sim, "end sessions", action->id.b[0], action->id.b[2], 0);
    sim_writer_end_sessions(sim, action->id);
}

static void
on_find(struct sim *sim, const struct mr_action *action)
{
    sim_writer_add(sim, SIM_FIND)->job = sim_index(action->id);
}

static void
on_read(struct sim *sim, const struct mr_action *action)
{
    struct sim_request *request = sim_writer_add(sim, SIM_READ);

    request->job = sim_index(action->id);
    request->with_history = action->with_history;
}

static void
on_sweep(struct sim *sim, const struct mr_action *action)
{
    (void)action;
    sim->broker.wants_sweep = true;
}

static void
on_add_kind(struct sim *sim, const struct mr_action *action)
{
    SIM_MUST(action->text.n == 2);
    sim->store.kinds_known |= 1u << (action->text.p[1] - '0');
}

/* ---- to peers ---------------------------------------------------------------------------------- */

static void
on_ack(struct sim *sim, const struct mr_action *action)
{
    struct mr_wr *wr = sim_peers_open(sim, action->peer, MR_ACK);

    if (wr)
        mr_put_ack(wr, action->corr, action->count, action->verdicts,
            action->verdict_count, action->retry_after_ms);
}

static void
on_error(struct sim *sim, const struct mr_action *action)
{
    struct mr_wr *wr = sim_peers_open(sim, action->peer, MR_ERROR);

    sim_log(sim, "error", action->peer, action->corr, (uint64_t)action->code);
    sim_peers_refuse(sim, action->peer);
    if (wr)
        mr_put_error(wr, action->corr,
            &(struct mr_error){.code = action->code,
                .text = action->text,
                .retry_after_ms = action->retry_after_ms});
}

static void
on_reply(struct sim *sim, const struct mr_action *action)
{
    struct mr_wr *wr = sim_peers_open(sim, action->peer, MR_REPLY);

    sim->broker.replied = action->code;
    sim_log(sim, "reply", action->peer, action->corr, (uint64_t)action->code);
    if (!wr)
        return;
    mr_put_reply_open(wr, action->corr, action->code, action->text);
    mr_wr_nil(wr);
}

/* What was given back or lost stands before all to which nothing has happened yet. */
static void
judge_front(struct sim *sim, const struct sim_job *fresh)
{
    for (uint32_t i = 0; sim->broker.returned && i < sim->submitted; i++) {
        struct sim_job *job = &sim->jobs[i];

        if (job->returned_in != sim->broker.instance)
            continue;
        if (!sim_job_is(sim, i, "ready")) {
            job->returned_in = 0;
            sim->broker.returned--;
            continue;
        }
        SIM_MUST(job->queue != fresh->queue || job->priority != fresh->priority ||
                 job->lane != fresh->lane || (!job->lane && job->kind != fresh->kind));
    }
}

/* These start in the order in which they became ready. */
static void
judge_order(struct sim *sim, const struct sim_job *job, uint32_t attempt)
{
    uint64_t *seq =
        &sim->broker
             .lane_seq[job->queue][job->lane ? 0 : job->kind][job->priority][job->lane];

    if (!job->ready_seq || attempt != 1)
        return;
    SIM_MUST(job->ready_seq > *seq);
    *seq = job->ready_seq;
    judge_front(sim, job);
}

static void
judge_dispatch(struct sim *sim, struct sim_job *job, const struct mr_job_sent *sent)
{
    struct mr_job_new same = sim_job_new(sim, sim_index(sent->id), false);

    SIM_MUST(job->is_stored); /* never before the commit */
    SIM_MUST(!job->is_cancel_confirmed && job->over_in != sim->broker.instance);
    SIM_MUST(sim->broker.phase == SIM_SERVING && sim->broker.is_up);
    SIM_MUST(mr_span_eq(sent->payload, same.payload));
    SIM_MUST(mr_span_eq(sent->kind, same.kind) && mr_span_eq(sent->queue, same.queue));
    SIM_MUST(sent->attempt > job->attempts && sent->timeout_ms > 0);
    SIM_MUST(job->sent_in != sim->broker.instance || sent->attempt > job->last_sent);
    job->sent_in = sim->broker.instance;
    job->last_sent = sent->attempt;
    if (!sim->rates.has_clock_steps) {
        SIM_MUST(!job->run_at_us || job->run_at_us <= sim->now.wall_us);
        SIM_MUST(!job->expires_at_us || job->expires_at_us > sim->now.wall_us);
        SIM_MUST(!job->retry_at_us || job->retry_at_us <= sim->now.wall_us);
    }
    judge_order(sim, job, sent->attempt);
}

static void
on_job(struct sim *sim, const struct mr_action *action)
{
    uint32_t index = sim_index(action->job->id);
    struct sim_job *job = &sim->jobs[index];
    struct mr_wr *wr = sim_peers_open(sim, action->peer, MR_JOBS);

    sim_log(sim, "dispatch", index, action->job->attempt, action->peer);
    judge_dispatch(sim, job, action->job);
    sim_count(sim, SIM_N_SENT);
    if (job->sent)
        sim_count(sim, SIM_N_REDELIVERED);
    sim->broker.returned -= job->returned_in == sim->broker.instance;
    job->returned_in = 0;
    job->sent |= bit_of(action->job->attempt);
    job->sent_us = sim->now.mono_us;
    if (wr)
        mr_put_job(wr, action->job);
}

static void
on_event(struct sim *sim, const struct mr_action *action)
{
    const struct mr_event *event = action->event;
    uint32_t index = sim_index(event->id);
    const struct sim_job *job = &sim->jobs[index];
    struct mr_wr *wr = sim_peers_open(sim, action->peer, MR_EVENT);

    sim_log(sim, "event", index, event->type, event->outcome);
    if (event->type == MR_EVENT_FINISHED)
        SIM_MUST(job->is_finished && job->outcome == event->outcome);
    if (event->type == MR_EVENT_FINISHED && event->outcome == MR_SUCCEEDED)
        SIM_MUST(mr_span_eq(event->body, sim_job_result(index)));
    if (!sim_peer_is_own(sim, action->peer, index))
        SIM_MUST(event->type == MR_EVENT_NO_JOB);
    else if (event->type == MR_EVENT_NO_JOB)
        SIM_MUST(!job->is_acked);
    if (wr)
        mr_put_event(wr, event);
}

static void
on_revoke(struct sim *sim, const struct mr_action *action)
{
    struct mr_wr *wr = sim_peers_open(sim, action->peer, MR_REVOKE);

    sim->broker.has_revoked = true;
    sim_log(sim, "revoke", sim_index(action->revoked->id), action->revoked->attempt,
        action->revoked->why);
    if (wr)
        mr_put_revoked(wr, action->revoked);
}

static void
on_drain(struct sim *sim, const struct mr_action *action)
{
    struct mr_wr *wr = sim_peers_open(sim, action->peer, MR_BYE);

    if (wr)
        mr_put_bye(wr, 0, mr_span_str("drain"), MR_BYE_DRAIN);
}

static void
on_drop_peer(struct sim *sim, const struct mr_action *action)
{
    sim_log(sim, "drop peer", action->peer, 0, 0);
    SIM_MUST(sim->broker.peers[action->peer].conn);
    sim_peers_forget(sim, action->peer);
}

void
sim_act(void *context, const struct mr_action *action)
{
    static void (*const handlers[])(struct sim *, const struct mr_action *) = {
        [MR_ACT_STORE] = on_store,
        [MR_ACT_END_SESSIONS] = on_end_sessions,
        [MR_ACT_FIND] = on_find,
        [MR_ACT_READ] = on_read,
        [MR_ACT_SWEEP] = on_sweep,
        [MR_ACT_ADD_KIND] = on_add_kind,
        [MR_ACT_ACK] = on_ack,
        [MR_ACT_ERROR] = on_error,
        [MR_ACT_REPLY] = on_reply,
        [MR_ACT_JOB] = on_job,
        [MR_ACT_EVENT] = on_event,
        [MR_ACT_REVOKE] = on_revoke,
        [MR_ACT_DRAIN] = on_drain,
        [MR_ACT_DROP_PEER] = on_drop_peer,
    };

    handlers[action->act](context, action);
}
