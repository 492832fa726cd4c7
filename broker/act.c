#include "broker/act.h"

#include "broker/broker.h"
#include "broker/errand.h"
#include "broker/talk.h"
#include "schemas/base/log.h"

typedef void (*act_fn)(struct mr_broker *broker, const struct mr_action *action);

static void
on_store(struct mr_broker *broker, const struct mr_action *action)
{
    mr_errand_store(broker->errand, action->op);
}

static void
on_end_sessions(struct mr_broker *broker, const struct mr_action *action)
{
    mr_errand_end_sessions(broker->errand, action->id);
}

static void
on_find(struct mr_broker *broker, const struct mr_action *action)
{
    mr_errand_find(broker->errand, action->id);
}

static void
on_read(struct mr_broker *broker, const struct mr_action *action)
{
    mr_errand_read(broker->errand, action->id, action->with_history);
}

static void
on_sweep(struct mr_broker *broker, const struct mr_action *action)
{
    (void)action;
    mr_errand_sweep(broker->errand);
}

static void
on_add_kind(struct mr_broker *broker, const struct mr_action *action)
{
    mr_errand_add_kind(broker->errand, action->text);
}

static void
on_ack(struct mr_broker *broker, const struct mr_action *action)
{
    struct mr_wr *wr = mr_gather_open(broker->gather, action->peer, MR_ACK);

    if (!wr)
        return;
    mr_put_ack(wr, action->corr, action->count, action->verdicts, action->verdict_count,
        action->retry_after_ms);
    mr_gather_post(broker->gather, action->peer);
}

static void
on_error(struct mr_broker *broker, const struct mr_action *action)
{
    mr_talk_error(broker, action->peer, action->corr,
        &(struct mr_error){.code = action->code,
            .text = action->text,
            .retry_after_ms = action->retry_after_ms});
}

static void
on_reply(struct mr_broker *broker, const struct mr_action *action)
{
    mr_talk_reply(broker, action->peer, action->corr, action->code, action->text);
}

static void
on_job(struct mr_broker *broker, const struct mr_action *action)
{
    mr_gather_job(broker->gather, action->peer, action->job);
}

static void
on_event(struct mr_broker *broker, const struct mr_action *action)
{
    mr_gather_event(broker->gather, action->peer, action->event);
}

static void
on_revoke(struct mr_broker *broker, const struct mr_action *action)
{
    mr_gather_revoke(broker->gather, action->peer, action->revoked);
}

static void
on_drain(struct mr_broker *broker, const struct mr_action *action)
{
    struct mr_wr *wr = mr_gather_open(broker->gather, action->peer, MR_BYE);

    if (!wr)
        return;
    mr_put_bye(wr, 0, mr_span_str("an operator drains this worker"), MR_BYE_DRAIN);
    mr_gather_post(broker->gather, action->peer);
}

static void
on_drop_peer(struct mr_broker *broker, const struct mr_action *action)
{
    struct mr_session *session = mr_session_at(broker->sessions, action->peer);

    if (!session)
        return;
    mr_log(session->role == MR_ROLE_WORKER ? MR_LOG_INFO : MR_LOG_DEBUG, "left",
        "role=%s name=\"%s\" reason=\"%.*s\"",
        session->role == MR_ROLE_WORKER ? "worker" : "client", session->name,
        (int)action->text.n, action->text.n ? (const char *)action->text.p : "");
    mr_gather_drop(broker->gather, action->peer);
    mr_session_remove(broker->sessions, action->peer);
}

static const act_fn acts[] = {
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

void
mr_act(void *context, const struct mr_action *action)
{
    acts[action->act](context, action);
}
