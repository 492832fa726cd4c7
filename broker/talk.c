#include "broker/talk.h"

#include "broker/audit.h"
#include "broker/call.h"
#include "broker/guard.h"
#include "broker/socket.h"
#include "broker/verbs.h"

#include <string.h>

#define SECOND_US 1000000
#define SCOLDS_MAX 200u /* answers to wrong messages in a second, in all */

/* ---- answers ------------------------------------------------------------------------------------ */

void
mr_talk_error(
    struct mr_broker *broker, uint32_t peer, uint64_t corr, const struct mr_error *error)
{
    struct mr_wr *wr = mr_gather_open(broker->gather, peer, MR_ERROR);

    if (!wr)
        return;
    mr_put_error(wr, corr, error);
    mr_gather_post(broker->gather, peer);
}

void
mr_talk_reply(struct mr_broker *broker, uint32_t peer, uint64_t corr, enum mr_status code,
    struct mr_span text)
{
    struct mr_wr *wr = mr_gather_open(broker->gather, peer, MR_REPLY);

    if (!wr)
        return;
    mr_put_reply_open(wr, corr, code, text);
    mr_wr_nil(wr);
    mr_gather_post(broker->gather, peer);
}

/* Answers to what is wrong are rationed: they are never worth more than the others' jobs. */
static bool
may_scold(struct mr_broker *broker)
{
    if (broker->now.mono_us - broker->scold_window_us >= SECOND_US) {
        broker->scold_window_us = broker->now.mono_us;
        broker->scolds = 0;
    }
    if (broker->scolds >= SCOLDS_MAX) {
        broker->counters.scolds_withheld++;
        return false;
    }
    broker->scolds++;
    return true;
}

static void
scold(struct mr_broker *broker, enum mr_side side, struct mr_span routing, uint64_t corr,
    enum mr_status code, const char *text)
{
    uint8_t memory[512];
    struct mr_wr wr;

    if (!may_scold(broker))
        return;
    mr_wr_init_fixed(&wr, memory, sizeof memory);
    mr_put_error(&wr, corr, &(struct mr_error){.code = code, .text = mr_span_str(text)});
    /* Who left or does not read misses nothing that matters. */
    (void)mr_socket_send(broker->sockets[side], routing, mr_wr_span(&wr));
}

/* The number of a request that cannot be read otherwise, 0 if not even that. */
static uint64_t
corr_of(struct mr_span bytes)
{
    struct mr_rd rd = mr_rd_open(bytes);
    uint64_t corr;

    (void)mr_rd_array(&rd, UINT32_MAX);
    (void)mr_rd_uint(&rd, MR_VERB_COUNT - 1);
    corr = mr_rd_uint(&rd, UINT64_MAX);
    return rd.status == MR_OK ? corr : 0;
}

/* ---- verbs ---------------------------------------------------------------------------------------- */

typedef enum mr_status (*verb_fn)(
    struct mr_broker *broker, uint32_t peer, const struct mr_msg *msg);

static enum mr_status
on_ping(struct mr_broker *broker, uint32_t peer, const struct mr_msg *msg)
{
    struct mr_wr *wr;
    bool asks = false;
    enum mr_status status = mr_get_ping(msg, &asks);

    if (status || !asks)
        return status;
    wr = mr_gather_open(broker->gather, peer, MR_PING);
    if (wr) {
        mr_put_ping(wr, msg->corr, false);
        mr_gather_post(broker->gather, peer);
    }
    return MR_OK;
}

static enum mr_status
on_bye(struct mr_broker *broker, uint32_t peer, const struct mr_msg *msg)
{
    struct mr_span reason;
    uint32_t flags;
    enum mr_status status = mr_get_bye(msg, &reason, &flags);
    bool is_ending = flags & MR_BYE_DRAIN &&
                     mr_session_at(broker->sessions, peer)->role == MR_ROLE_WORKER;
    struct mr_wr *wr;

    if (status)
        return status;
    if (is_ending) { /* not gone yet */
        mr_core_worker_ends(broker->core, broker->now, peer);
        return MR_OK;
    }
    wr = mr_gather_open(broker->gather, peer, MR_ACK);
    if (wr) {
        mr_put_ack(wr, msg->corr, 0, NULL, 0, 0);
        mr_gather_post(broker->gather, peer);
    }
    mr_core_says_bye(
        broker->core, broker->now, peer, reason.n ? reason : mr_span_str("said BYE"));
    return MR_OK;
}

#define ON_FRONT (1u << MR_FRONT)
#define ON_BACK (1u << MR_BACK)

/* Which socket a verb may come through, and who handles it. HELLO comes before all that. */
static const struct {
    unsigned sides;
    verb_fn handle;
} verbs[MR_VERB_COUNT] = {
    [MR_PING] = {ON_FRONT | ON_BACK, on_ping},
    [MR_BYE] = {ON_FRONT | ON_BACK, on_bye},
    [MR_SUBMIT] = {ON_FRONT, mr_front_on_submit},
    [MR_WATCH] = {ON_FRONT, mr_front_on_watch},
    [MR_CALL] = {ON_FRONT, mr_call_on_call},
    [MR_CREDIT] = {ON_BACK, mr_back_on_credit},
    [MR_DONE] = {ON_BACK, mr_back_on_done},
    [MR_BEAT] = {ON_BACK, mr_back_on_beat},
};

/* Of an honest worker that was late, or made up: from here both look the same. */
static void
note_stale(struct mr_broker *broker, uint32_t peer, enum mr_verb verb, uint64_t attempts)
{
    struct mr_audit what;

    if (!mr_session_at(broker->sessions, peer))
        return;
    what = mr_audit_act(broker, peer, mr_verb_name(verb), MR_SPAN_NONE);
    what.is_allowed = false;
    what.detail = mr_span_str("attempts that this worker does not hold (any more)");
    mr_audit_note_many(broker, &what, attempts);
}

static void
dispatch(struct mr_broker *broker, enum mr_side side, struct mr_span routing,
    uint32_t peer, const struct mr_msg *msg)
{
    static const char wrong_side[] = "this verb does not belong on this endpoint";
    uint64_t stale = mr_core_stale(broker->core);
    enum mr_status status;

    if (!(verbs[msg->verb].sides & 1u << side)) {
        broker->counters.denied++;
        mr_guard_note(broker, side,
            mr_span_str(mr_session_at(broker->sessions, peer)->user),
            mr_verb_name(msg->verb), MR_SPAN_NONE, wrong_side, 1);
        scold(broker, side, routing, msg->corr, MR_DENIED, wrong_side);
        return;
    }
    mr_core_heard(broker->core, broker->now, peer);
    status = verbs[msg->verb].handle(broker, peer, msg);
    if (mr_core_stale(broker->core) != stale)
        note_stale(broker, peer, msg->verb, mr_core_stale(broker->core) - stale);
    if (status) {
        broker->counters.malformed++;
        scold(broker, side, routing, msg->corr, status,
            "the body of this message is not as the protocol's page has it");
    }
}

void
mr_talk_message(struct mr_broker *broker, enum mr_side side, struct mr_span routing,
    struct mr_span user, struct mr_span bytes)
{
    static const char stranger[] =
        "this key opens nothing (any more): ask an administrator";
    uint32_t peer;
    struct mr_msg msg;
    enum mr_status status = mr_msg_open(bytes, &msg);

    broker->counters.received++;
    broker->counters.received_bytes += bytes.n;
    if (!user.n) {
        broker->counters.nameless++;
        scold(broker, side, routing, corr_of(bytes), MR_DENIED,
            "nobody knows who sent this");
        return;
    }
    if (status) {
        broker->counters.malformed++;
        scold(broker, side, routing, corr_of(bytes), status,
            "this is not a message of the protocol");
        return;
    }
    broker->meter.received[msg.verb]++;
    peer = mr_session_find(broker->sessions, side, routing);
    if (peer != MR_NO_SESSION_NUMBER &&
        !mr_span_is(user, mr_session_at(broker->sessions, peer)->user)) {
        mr_guard_on_theft(broker, peer, user);
        return;
    }
    if (broker->rights && !mr_guard_who(broker, user)) {
        broker->guard.strangers++;
        mr_guard_note(
            broker, side, user, mr_verb_name(msg.verb), MR_SPAN_NONE, stranger, 1);
        scold(broker, side, routing, msg.corr, MR_DENIED, stranger);
        return;
    }
    if (msg.verb == MR_HELLO) {
        mr_hello_on_hello(broker, side, routing, user, &msg);
        return;
    }
    if (peer != MR_NO_SESSION_NUMBER) {
        dispatch(broker, side, routing, peer, &msg);
        return;
    }
    broker->counters.no_session++;
    if (msg.verb != MR_BYE)
        scold(broker, side, routing, msg.corr, MR_NO_SESSION,
            "say HELLO: this broker does not know you, or has forgotten you");
}

void
mr_talk_multipart(struct mr_broker *broker, enum mr_side side, struct mr_span routing)
{
    broker->counters.received++;
    broker->counters.multipart++;
    scold(broker, side, routing, 0, MR_MALFORMED,
        "the frames of a message have 2048 bytes each, but for the last; use a DEALER "
        "and no "
        "empty delimiter");
}

/* ---- to many ---------------------------------------------------------------------------------------- */

void
mr_talk_bye(struct mr_broker *broker, const char *reason)
{
    for (uint32_t i = 0; i < mr_session_max(broker->sessions); i++) {
        struct mr_wr *wr = mr_gather_open(broker->gather, i, MR_BYE);

        if (!wr)
            continue;
        mr_put_bye(wr, 0, mr_span_str(reason), 0);
        mr_gather_post(broker->gather, i);
    }
}

void
mr_talk_probe(struct mr_broker *broker)
{
    struct mr_core_worker_info info;
    uint32_t cursor = 0;

    while (mr_core_next_worker(broker->core, &cursor, &info)) {
        struct mr_wr *wr =
            info.sent ? mr_gather_open(broker->gather, info.peer, MR_PING) : NULL;

        if (!wr)
            continue;
        mr_put_ping(wr, 0, false);
        mr_gather_post(broker->gather, info.peer);
    }
}
