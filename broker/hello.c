#include "broker/verbs.h"

#include "broker/guard.h"
#include "broker/socket.h"
#include "broker/talk.h"
#include "schemas/base/log.h"

#include <stdio.h>
#include <string.h>

#define ANSWER_BYTES 1024

/* Who says HELLO, and where an answer goes. */
struct visitor {
    enum mr_side side;
    struct mr_span routing, user;
    uint32_t principal;
    uint64_t corr;
};

/* Straight to the address: there is no session. */
static void
refuse(struct mr_broker *broker, const struct visitor *visitor, enum mr_status code,
    const char *text)
{
    uint8_t memory[ANSWER_BYTES];
    struct mr_wr wr;

    broker->counters.hello_refused++;
    if (code == MR_DENIED)
        mr_guard_note(
            broker, visitor->side, visitor->user, "HELLO", MR_SPAN_NONE, text, 1);
    mr_wr_init_fixed(&wr, memory, sizeof memory);
    mr_put_error(&wr, visitor->corr,
        &(struct mr_error){.code = code,
            .text = mr_span_str(text),
            .retry_after_ms = mr_status_is_retryable(code)
                                  ? (uint32_t)broker->settings->busy_retry_ms
                                  : 0});
    /* A peer that left, or does not read, has to ask again. */
    if (wr.status == MR_OK)
        (void)mr_socket_send(
            broker->sockets[visitor->side], visitor->routing, mr_wr_span(&wr));
}

static enum mr_status
judge(const struct mr_broker *broker, const struct visitor *visitor,
    const struct mr_hello *hello, const char **why)
{
    enum mr_side side = visitor->side;

    *why = "this broker speaks version 1 of the protocol only";
    if (hello->proto_min > MR_PROTO_VERSION || hello->proto_max < MR_PROTO_VERSION)
        return MR_VERSION;
    *why = side == MR_FRONT
               ? "this endpoint is for front ends; workers use the other one"
               : "this endpoint is for workers; front ends use the other one";
    if (hello->role != (side == MR_FRONT ? MR_ROLE_CLIENT : MR_ROLE_WORKER))
        return MR_DENIED;
    *why = "leave the routing id of the socket unset";
    if (visitor->routing.n > MR_ROUTING_BYTES_MAX)
        return MR_MALFORMED;
    *why = "the broker waits for its shard: another one owns it, or the database is down";
    if (broker->phase == MR_PHASE_STARTING)
        return MR_STARTING;
    *why = "the broker is being stopped";
    if (broker->phase != MR_PHASE_SERVING)
        return MR_DRAINING;
    return MR_OK;
}

static enum mr_status
take_offers(struct mr_broker *broker, struct mr_hello *hello)
{
    struct mr_hello left = *hello;

    if (hello->offers > MR_KINDS_PER_WORKER_MAX)
        return MR_TOO_BIG;
    for (uint32_t i = 0; i < hello->offers; i++) {
        enum mr_status status = mr_get_offer(&left, &broker->offers[i]);

        if (status)
            return status;
    }
    return MR_OK;
}

static enum mr_status
join(struct mr_broker *broker, uint32_t number, const struct mr_hello *hello)
{
    uint32_t principal = mr_session_at(broker->sessions, number)->principal;

    if (hello->role == MR_ROLE_CLIENT)
        return mr_core_client_joins(
            broker->core, broker->now, number, principal, hello->name);
    return mr_core_worker_joins(
        broker->core, broker->now, number, principal, hello, broker->offers);
}

static void
remember(struct mr_session *session, const struct visitor *visitor,
    const struct mr_hello *hello, uint64_t digest)
{
    size_t n = hello->name.n < MR_NAME_BYTES_MAX ? hello->name.n : MR_NAME_BYTES_MAX;

    session->role = hello->role;
    session->principal = visitor->principal;
    session->rights_digest = digest;
    memcpy(session->user, visitor->user.p, visitor->user.n);
    session->user[visitor->user.n] = '\0';
    if (n)
        memcpy(session->name, hello->name.p, n);
    session->name[n] = '\0';
}

static void
welcome(struct mr_broker *broker, uint32_t number, uint64_t corr)
{
    struct mr_wr *wr = mr_gather_open(broker->gather, number, MR_WELCOME);
    const struct mr_settings *settings = broker->settings;

    if (!wr)
        return;
    mr_put_welcome(wr, corr,
        &(struct mr_welcome){.proto = MR_PROTO_VERSION,
            .session = mr_session_at(broker->sessions, number)->nonce,
            .instance = broker->instance,
            .shard = (uint32_t)settings->shard,
            .epoch = broker->epoch,
            .heartbeat_ms = (uint32_t)settings->heartbeat_ms,
            .payload_bytes_max = MR_PAYLOAD_BYTES_MAX,
            .result_bytes_max = MR_RESULT_BYTES_MAX,
            .message_bytes_max = MR_MESSAGE_BYTES_MAX,
            .jobs_per_message_max = MR_JOBS_PER_MESSAGE_MAX,
            .window_jobs = (uint32_t)settings->window_jobs,
            .wall_us = broker->now.wall_us});
    mr_gather_post(broker->gather, number);
}

/* The conversation that was held at this address before is over. Its number goes on living
 * until the core has let go of it. */
static uint32_t
unlist_earlier(struct mr_broker *broker, enum mr_side side, struct mr_span routing)
{
    uint32_t earlier = mr_session_find(broker->sessions, side, routing);

    if (earlier != MR_NO_SESSION_NUMBER)
        mr_session_unlist(broker->sessions, earlier);
    return earlier;
}

static void
open_session(
    struct mr_broker *broker, const struct visitor *visitor, const struct mr_hello *hello)
{
    uint32_t earlier = unlist_earlier(broker, visitor->side, visitor->routing);
    uint32_t number = mr_session_add(broker->sessions, visitor->side, visitor->routing);
    enum mr_status status = MR_BUSY;

    /* What a worker holds goes on with its new session; a client's old one counts no more. */
    if (earlier != MR_NO_SESSION_NUMBER && hello->role == MR_ROLE_CLIENT)
        mr_core_leaves(
            broker->core, broker->now, earlier, mr_span_str("it said HELLO again"));
    if (number != MR_NO_SESSION_NUMBER) {
        remember(mr_session_at(broker->sessions, number), visitor, hello,
            mr_rights_digest(broker->rights, visitor->principal));
        status = join(broker, number, hello);
    }
    if (earlier != MR_NO_SESSION_NUMBER && mr_session_at(broker->sessions, earlier))
        mr_core_leaves(
            broker->core, broker->now, earlier, mr_span_str("it said HELLO again"));
    if (status) {
        if (number != MR_NO_SESSION_NUMBER)
            mr_session_remove(broker->sessions, number);
        refuse(broker, visitor, status,
            status == MR_BUSY    ? "the broker has as many peers, or kinds, as it may"
            : status == MR_LIMIT ? mr_quota_text(MR_QUOTA_SESSIONS)
            : status == MR_DENIED
                ? "a worker of another principal has this instance; choose a random one"
                : mr_status_text(status));
        return;
    }
    mr_log(hello->role == MR_ROLE_WORKER ? MR_LOG_INFO : MR_LOG_DEBUG, "joined",
        "role=%s name=\"%s\" threads=%u kinds=%u",
        hello->role == MR_ROLE_WORKER ? "worker" : "client",
        mr_session_at(broker->sessions, number)->name, hello->threads, hello->offers);
    welcome(broker, number, visitor->corr);
}

void
mr_hello_on_hello(struct mr_broker *broker, enum mr_side side, struct mr_span routing,
    struct mr_span user, const struct mr_msg *msg)
{
    struct visitor visitor = {.side = side,
        .routing = routing,
        .user = user,
        .principal = mr_guard_who(broker, user),
        .corr = msg->corr};
    struct mr_hello hello;
    char denied[MR_RIGHTS_TEXT_BYTES];
    const char *why = "this HELLO cannot be read";
    enum mr_status status = mr_get_hello(msg, &hello);

    if (status == MR_OK)
        status = judge(broker, &visitor, &hello, &why);
    if (status == MR_OK && hello.role == MR_ROLE_WORKER) {
        why = "the kinds that this worker offers cannot be read";
        status = take_offers(broker, &hello);
    }
    if (status == MR_OK) {
        why = denied;
        status = mr_guard_hello(broker, visitor.principal, &hello, denied);
    }
    if (status) {
        if (status == MR_MALFORMED)
            broker->counters.malformed++;
        refuse(broker, &visitor, status, why);
        return;
    }
    open_session(broker, &visitor, &hello);
}
