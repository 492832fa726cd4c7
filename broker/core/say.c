#include "broker/core/say.h"

static void
say(struct mr_core *core, struct mr_action action)
{
    core->act(core->context, &action);
}

void
mr_say_error(struct mr_core *core, uint32_t peer, uint64_t corr, enum mr_status code,
    const char *text)
{
    say(core, (struct mr_action){.act = MR_ACT_ERROR,
                  .peer = peer,
                  .corr = corr,
                  .code = code,
                  .text = mr_span_str(text),
                  .retry_after_ms =
                      mr_status_is_retryable(code) ? core->conf.busy_retry_ms : 0});
}

void
mr_say_reply(struct mr_core *core, uint32_t peer, uint64_t corr, enum mr_status code,
    const char *text)
{
    say(core, (struct mr_action){.act = MR_ACT_REPLY,
                  .peer = peer,
                  .corr = corr,
                  .code = code,
                  .text = mr_span_str(text)});
}

void
mr_say_event(struct mr_core *core, uint32_t peer, const struct mr_event *event)
{
    say(core, (struct mr_action){.act = MR_ACT_EVENT, .peer = peer, .event = event});
}

void
mr_say_revoke(struct mr_core *core, uint32_t peer, struct mr_uuid id, uint32_t attempt,
    enum mr_why why)
{
    struct mr_revoked revoked = {.id = id, .attempt = attempt, .why = why};

    say(core,
        (struct mr_action){.act = MR_ACT_REVOKE, .peer = peer, .revoked = &revoked});
}

void
mr_say_find(struct mr_core *core, struct mr_uuid id)
{
    say(core, (struct mr_action){.act = MR_ACT_FIND, .id = id});
}

void
mr_say_read(struct mr_core *core, struct mr_uuid id)
{
    say(core, (struct mr_action){.act = MR_ACT_READ, .id = id, .with_history = true});
}

void
mr_say_read_payload(struct mr_core *core, struct mr_uuid id)
{
    say(core, (struct mr_action){.act = MR_ACT_READ, .id = id});
}

void
mr_say_store(struct mr_core *core, const struct mr_store_op *op)
{
    say(core, (struct mr_action){.act = MR_ACT_STORE, .id = op->id, .op = op});
}

void
mr_say_add_kind(struct mr_core *core, struct mr_span kind)
{
    say(core, (struct mr_action){.act = MR_ACT_ADD_KIND, .text = kind});
}

void
mr_say_sweep(struct mr_core *core)
{
    say(core, (struct mr_action){.act = MR_ACT_SWEEP});
}

void
mr_say_end_sessions(struct mr_core *core, struct mr_uuid instance)
{
    say(core, (struct mr_action){.act = MR_ACT_END_SESSIONS, .id = instance});
}

void
mr_say_drain(struct mr_core *core, uint32_t peer)
{
    say(core, (struct mr_action){.act = MR_ACT_DRAIN, .peer = peer});
}

void
mr_say_drop_peer(struct mr_core *core, uint32_t peer, struct mr_span reason)
{
    say(core, (struct mr_action){.act = MR_ACT_DROP_PEER, .peer = peer, .text = reason});
}
