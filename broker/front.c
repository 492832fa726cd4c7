#include "broker/verbs.h"

#include "broker/guard.h"
#include "broker/talk.h"
#include "schemas/base/mutant.h"

#define WORDS_MAX                                                                        \
    16u /* denied jobs of one message that are told why: the code says it, too */

/* May this message's jobs be submitted? Asked once for all of them, or else, if it depends on the
 * kind, once for jobs of one kind in a row. */
struct gate {
    struct mr_broker *broker;
    uint32_t peer, denied;
    struct mr_scope_range range;
    struct mr_span queue, kind; /* kind: of the job before */
    bool may;                   /* ... and what was said of it */
};

static bool
may_submit(struct gate *gate, struct mr_span kind)
{
    if (gate->range.least == gate->range.most)
        return gate->range.least == MR_SCOPE_ANY;
    if (!mr_span_eq(gate->kind, kind)) {
        gate->may = mr_guard_may(gate->broker, gate->peer, MR_RIGHT_SUBMIT, gate->queue,
                        kind) == MR_SCOPE_ANY;
        gate->kind = kind;
    }
    return gate->may;
}

static void
take_job(struct gate *gate, const struct mr_job_new *job)
{
    struct mr_broker *broker = gate->broker;
    char why[MR_RIGHTS_TEXT_BYTES];
    struct mr_span words = MR_SPAN_NONE;

    if (may_submit(gate, job->kind)) {
        mr_core_submit_job(broker->core, broker->now, job);
        return;
    }
    if (gate->denied++ < WORDS_MAX)
        words = mr_guard_refuse(
            broker, gate->peer, MR_RIGHT_SUBMIT, gate->queue, job->kind, 1, why);
    mr_core_submit_denied(broker->core, broker->now, words);
}

/* A message is taken whole or not at all: it is read once to judge it, then to act on it. */
enum mr_status
mr_front_on_submit(struct mr_broker *broker, uint32_t peer, const struct mr_msg *msg)
{
    struct mr_submit submit, again;
    struct mr_job_new job;
    struct gate gate;
    char why[MR_RIGHTS_TEXT_BYTES];
    enum mr_status status = mr_get_submit(msg, &submit);
    uint32_t jobs = submit.jobs;

    if (status)
        return status;
    again = submit;
    gate = (struct gate){.broker = broker,
        .peer = peer,
        .queue = submit.queue,
        .range =
            mr_guard_over(broker, peer, MR_RIGHT_SUBMIT, submit.queue, MR_SPAN_NONE)};
    /* Who may not watch these jobs is not told of them. */
    if (!mr_guard_over(broker, peer, MR_RIGHT_WATCH, submit.queue, MR_SPAN_NONE).least)
        again.flags &= ~MR_SUBMIT_WATCH;
    while (submit.jobs) {
        status = mr_get_submit_job(&submit, &job);
        if (status)
            return status;
    }
    /* A refusal has been answered by the core. */
    if (mr_core_submit_open(
            broker->core, broker->now, peer, msg->corr, again.flags, jobs))
        return MR_OK;
    while (again.jobs) {
        status = mr_get_submit_job(&again, &job);
        MR_ASSERT(status == MR_OK);
        if (MR_MUTANT(resent_under_new_id) && again.flags & MR_SUBMIT_RESENT)
            job.id.b[15] ^= 1;
        take_job(&gate, &job);
    }
    if (gate.denied > WORDS_MAX)
        (void)mr_guard_refuse(broker, peer, MR_RIGHT_SUBMIT, gate.queue, MR_SPAN_NONE,
            gate.denied - WORDS_MAX, why);
    mr_core_submit_close(broker->core, broker->now);
    return MR_OK;
}

/* Told as such, and, as ids that nobody has, to whoever waits for an end. */
static enum mr_status
refuse_watch(struct mr_broker *broker, uint32_t peer, const struct mr_msg *msg,
    struct mr_watch *watch)
{
    char why[MR_RIGHTS_TEXT_BYTES];
    struct mr_event event = {.type = MR_EVENT_NO_JOB};
    enum mr_status status = MR_OK;

    mr_talk_error(broker, peer, msg->corr,
        &(struct mr_error){.code = MR_DENIED,
            .text = mr_guard_refuse(broker, peer, MR_RIGHT_WATCH, MR_SPAN_NONE,
                MR_SPAN_NONE, watch->ids, why)});
    while (status == MR_OK && watch->ids) {
        status = mr_get_watch_id(watch, &event.id);
        if (status == MR_OK)
            mr_gather_event(broker->gather, peer, &event);
    }
    return status;
}

enum mr_status
mr_front_on_watch(struct mr_broker *broker, uint32_t peer, const struct mr_msg *msg)
{
    struct mr_scope_range range =
        mr_guard_over(broker, peer, MR_RIGHT_WATCH, MR_SPAN_NONE, MR_SPAN_NONE);
    struct mr_watch watch;
    struct mr_uuid id;
    enum mr_status status = mr_get_watch(msg, &watch);

    if (status == MR_OK && watch.on && !range.most)
        return refuse_watch(broker, peer, msg, &watch);
    while (status == MR_OK && watch.ids) {
        status = mr_get_watch_id(&watch, &id);
        if (status == MR_OK)
            mr_core_watch(broker->core, broker->now, peer, id, watch.on, range.least);
    }
    return status;
}
