#include "worker/link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <czmq.h>

#include "schemas/base/clock.h"
#include "schemas/base/hash.h"
#include "schemas/base/log.h"
#include "schemas/wire/frames.h"
#include "schemas/wire/msg.h"
#include "worker/link_priv.h"

#define GREET_US INT64_C(2000000) /* from connecting to WELCOME */
#define RETRY_BASE_US 200000      /* between connections */
#define RETRY_CAP_US 1000000 /* a broker that is back waits for us 2.5 s (grace_ms) */
#define REFUSED_US INT64_C(5000000) /* after an answer that will hardly change */
#define HEARTBEATS_MISSED_MAX 3
#define POLL_MS_MAX 1000
#define RECEIVE_MAX 64            /* messages a turn */
#define LEAVE_US INT64_C(1000000) /* for handlers to heed, at the end */
#define HWM 64

/* ---- the socket ------------------------------------------------------------------------------ */

static void
set_option(void *socket, int option, int value)
{
    /* Only out of our own mistake could one of these be refused. */
    MR_ASSERT(zmq_setsockopt(socket, option, &value, sizeof value) == 0);
}

static void *
socket_new(void *context)
{
    void *socket = zmq_socket(context, ZMQ_DEALER);
    int64_t bytes_max = MR_MESSAGE_BYTES_MAX;

    if (!socket)
        return NULL;
    set_option(socket, ZMQ_LINGER, 0);
    set_option(socket, ZMQ_SNDHWM, HWM);
    set_option(socket, ZMQ_RCVHWM, HWM);
    set_option(socket, ZMQ_IMMEDIATE, 1);
    set_option(socket, ZMQ_IPV6, 1);
    set_option(socket, ZMQ_RECONNECT_IVL, 100);
    set_option(socket, ZMQ_RECONNECT_IVL_MAX, 250);
    set_option(socket, ZMQ_TCP_KEEPALIVE, 1);
    set_option(socket, ZMQ_TCP_KEEPALIVE_IDLE, 10);
    set_option(socket, ZMQ_TCP_KEEPALIVE_INTVL, 3);
    set_option(socket, ZMQ_TCP_KEEPALIVE_CNT, 3);
    MR_ASSERT(zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &bytes_max, sizeof bytes_max) == 0);
    return socket;
}

void
mr_link_send(struct mr_link *link)
{
    int rc;

    if (link->out.status) {
        mr_link_talk_fall(link, "no memory for a message", MR_SPAN_NONE);
        mr_wr_reset(&link->out);
        return;
    }
    rc = mr_frames_send(link->socket, mr_wr_span(&link->out));
    if (rc >= 0) {
        mr_wr_reset(&link->out);
    } else if (errno != EAGAIN) {
        mr_link_talk_fall(link, "cannot send", mr_span_str(zmq_strerror(errno)));
    }
}

static void
put_hello(struct mr_link *link)
{
    struct mr_hello hello = {.proto_min = MR_PROTO_VERSION,
        .proto_max = MR_PROTO_VERSION,
        .role = MR_ROLE_WORKER,
        .instance = link->conf.instance,
        .name = mr_span_str(link->conf.name),
        .threads = link->conf.threads,
        .offers = mr_registry_count(link->conf.registry)};

    mr_wr_reset(&link->out);
    mr_put_hello(&link->out, ++link->corr, &hello, link->offers);
}

/* Why nobody answers, if libzmq knows: a key that is refused is not tried again soon. */
static void
look_at_handshake(struct mr_link *link)
{
    enum mr_curve_event event = MR_CURVE_WELCOME;
    struct mr_err err;

    while (event == MR_CURVE_WELCOME)
        event = mr_curve_event(link->monitor);
    if (link->state != MR_LINK_GREETING || event == MR_CURVE_NOTHING)
        return;
    link->is_refused =
        mr_curve_explain(event, link->conf.peer, link->endpoint, &err) == MR_DENIED;
    mr_link_talk_fall(link, err.why, mr_span_str(link->is_refused ? err.todo : ""));
}

static void
next_endpoint(struct mr_link *link)
{
    if (!mr_settings_next(&link->rest, link->endpoint, sizeof link->endpoint)) {
        link->rest = link->conf.settings->endpoint;
        link->rounds++;
        (void)mr_settings_next(&link->rest, link->endpoint, sizeof link->endpoint);
    }
}

static void
dress(struct mr_link *link)
{
    link->monitor = mr_curve_watch(link->context, link->socket);
    (void)mr_curve_peer_apply(link->conf.peer, link->socket, link->endpoint);
}

static void
undress(struct mr_link *link)
{
    mr_curve_unwatch(link->socket, &link->monitor);
    if (link->socket)
        (void)zmq_close(link->socket);
    link->socket = NULL;
}

static void
connect_next(struct mr_link *link, int64_t now)
{
    next_endpoint(link);
    link->state = MR_LINK_GREETING;
    link->greet_until_us = now + GREET_US;
    link->must_fall = false;
    link->socket = socket_new(link->context);
    if (link->socket)
        dress(link);
    if (!link->socket || zmq_connect(link->socket, link->endpoint) != 0) {
        mr_link_talk_fall(link, "cannot connect", mr_span_str(zmq_strerror(errno)));
        return;
    }
    put_hello(link);
    mr_link_send(link);
}

static uint64_t
random_next(struct mr_link *link)
{
    /* Marsaglia's xorshift64: it only spreads retries. */
    link->random ^= link->random << 13;
    link->random ^= link->random >> 7;
    link->random ^= link->random << 17;
    return link->random;
}

/* Give the connection up; what is held stays. */
static void
fall(struct mr_link *link, int64_t now)
{
    uint32_t n = link->rounds < 4 ? link->rounds : 4;
    int64_t wait_us = RETRY_BASE_US << n;

    if (wait_us > RETRY_CAP_US)
        wait_us = RETRY_CAP_US;
    wait_us = wait_us / 2 + (int64_t)(random_next(link) % (uint64_t)(wait_us / 2 + 1));
    if (link->is_refused)
        wait_us = REFUSED_US;
    if (link->state == MR_LINK_UP || link->is_refused || !link->has_complained)
        mr_log(MR_LOG_WARN, "broker_lost", "endpoint=%s why=\"%s\" held=%u",
            link->endpoint, link->why, mr_session_held(link->session));
    link->has_complained = true;
    undress(link);
    link->state = MR_LINK_DOWN;
    link->must_fall = link->is_refused = false;
    link->next_try_us = now + wait_us;
    mr_wr_reset(&link->out);
    mr_session_fell(link->session);
}

/* ---- the session and its surroundings ------------------------------------------------------------ */

/* False when there is nothing more. */
static bool
receive_one(struct mr_link *link, struct mr_now now)
{
    zmq_msg_t frame;

    (void)zmq_msg_init(&frame);
    if (zmq_msg_recv(&frame, link->socket, ZMQ_DONTWAIT) < 0) {
        bool again = errno == EINTR;

        (void)zmq_msg_close(&frame);
        return again;
    }
    if (!zmq_msg_more(&frame))
        mr_link_talk_frame(
            link, mr_span(zmq_msg_data(&frame), zmq_msg_size(&frame)), now);
    /* Messages of more frames are not ours: swallowed to their end. */
    while (zmq_msg_more(&frame))
        if (zmq_msg_recv(&frame, link->socket, ZMQ_DONTWAIT) < 0 && errno != EINTR)
            break;
    (void)zmq_msg_close(&frame);
    return true;
}

/* ---- what the session wants ---------------------------------------------------------------------- */

static void
on_act(void *context, enum mr_session_act act, uint32_t executor, struct mr_batch *batch,
    struct mr_attempt *attempt)
{
    struct mr_link *link = context;
    char id[MR_UUID_TEXT_MAX];

    switch (act) {
    case MR_SESSION_START:
        mr_pool_start(link->pool, executor, batch);
        return;
    case MR_SESSION_CANCEL:
        mr_pool_cancel(link->pool, executor, attempt);
        return;
    case MR_SESSION_REPLACE:
        mr_log(MR_LOG_ERROR, "hung", "id=%s attempt=%u kind=%s executor=%u",
            mr_uuid_format(attempt->id, id), attempt->number, attempt->kind->name,
            executor);
        if (mr_pool_replace(link->pool, executor)) {
            mr_log(MR_LOG_ERROR, "no_thread", "why=\"none can be started\"");
            link->is_out_of_threads = true;
        }
        return;
    case MR_SESSION_HURRY:
        mr_pool_hurry(link->pool);
        return;
    }
}

static void
take_notes(struct mr_link *link, struct mr_now now)
{
    struct mr_note *note;

    mr_mailbox_hush(link->box);
    while ((note = mr_note_take(link->box))) {
        struct mr_executor_idle *idle = (struct mr_executor_idle *)(void *)note;

        if (note->type == MR_NOTE_ATTEMPT)
            mr_session_returned(link->session, (struct mr_attempt *)(void *)note);
        else if (note->type == MR_NOTE_DRAIN)
            mr_session_drain(link->session, now);
        else if (mr_pool_is_seated(link->pool, idle->executor))
            mr_session_idle(link->session, mr_executor_number(idle->executor));
    }
}

static void
say_all(struct mr_link *link, struct mr_now now)
{
    if (link->socket && link->out.n)
        mr_link_send(link);
    while (link->state == MR_LINK_UP && !link->must_fall && link->out.n == 0 &&
           mr_session_say(link->session, now, &link->out))
        mr_link_send(link);
}

/* ---- the turn ----------------------------------------------------------------------------------- */

static void
look_at_silence(struct mr_link *link, int64_t now)
{
    if (link->state == MR_LINK_GREETING && now >= link->greet_until_us)
        mr_link_talk_fall(link, "nobody answers", MR_SPAN_NONE);
    if (link->state == MR_LINK_UP &&
        now - link->heard_us > HEARTBEATS_MISSED_MAX * link->heartbeat_us)
        mr_link_talk_fall(link, "silent for three heartbeats", MR_SPAN_NONE);
}

/* BEATs are not answered: a broker that has nothing to say is asked for a sign of life. */
static void
ask_for_life(struct mr_link *link, int64_t now)
{
    if (link->state != MR_LINK_UP || link->out.n || link->must_fall ||
        now - link->heard_us < link->heartbeat_us ||
        now - link->asked_us < link->heartbeat_us)
        return;
    link->asked_us = now;
    mr_put_ping(&link->out, ++link->corr, true);
    mr_link_send(link);
}

static int64_t
earliest(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static long
poll_ms(const struct mr_link *link, int64_t due_us, int64_t now)
{
    int64_t ms;

    if (link->state == MR_LINK_DOWN)
        due_us = earliest(due_us, link->next_try_us);
    if (link->state == MR_LINK_GREETING)
        due_us = earliest(due_us, link->greet_until_us);
    if (due_us <= now)
        return 0;
    ms = (due_us - now + 999) / 1000;
    return ms < POLL_MS_MAX ? (long)ms : POLL_MS_MAX;
}

static void
sleep_until(struct mr_link *link, int64_t due_us)
{
    zmq_pollitem_t items[] = {
        {.fd = mr_mailbox_fd(link->box), .events = ZMQ_POLLIN},
        {.socket = link->socket,
            .events = (short)(ZMQ_POLLIN | (link->out.n ? ZMQ_POLLOUT : 0))},
        {.socket = link->monitor, .events = ZMQ_POLLIN},
    };
    int count = 1 + (link->socket != NULL) + (link->monitor != NULL);

    (void)zmq_poll(items, count, poll_ms(link, due_us, mr_clock_now().mono_us));
}

static int64_t
turn(struct mr_link *link)
{
    struct mr_now now = mr_clock_now();
    int64_t due_us;

    take_notes(link, now);
    if (link->state == MR_LINK_DOWN && now.mono_us >= link->next_try_us)
        connect_next(link, now.mono_us);
    for (int i = 0; i < RECEIVE_MAX && link->socket && !link->must_fall; i++)
        if (!receive_one(link, now))
            break;
    if (link->monitor && !link->must_fall)
        look_at_handshake(link);
    due_us = mr_session_tick(link->session, now);
    say_all(link, now);
    ask_for_life(link, now.mono_us);
    look_at_silence(link, now.mono_us);
    if (link->must_fall)
        fall(link, now.mono_us);
    return due_us;
}

/* ---- the end -------------------------------------------------------------------------------------- */

static void
say_bye(struct mr_link *link)
{
    int linger_ms = 200;

    if (link->state == MR_LINK_UP && link->out.n == 0) {
        (void)zmq_setsockopt(link->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
        mr_put_bye(&link->out, 0, mr_span_str("stopped"), 0);
        mr_link_send(link);
    }
    undress(link);
    link->state = MR_LINK_DOWN;
}

/* Handlers that heed get a moment to return. */
static bool
end_pool(struct mr_link *link)
{
    int64_t until_us = mr_clock_now().mono_us + LEAVE_US;

    mr_pool_stop(link->pool);
    while (!mr_pool_is_ended(link->pool) && mr_clock_now().mono_us < until_us) {
        mr_mailbox_wait(link->box, 5);
        take_notes(link, mr_clock_now());
    }
    if (!mr_pool_is_ended(link->pool))
        return false;
    take_notes(link, mr_clock_now());
    mr_pool_destroy(&link->pool);
    take_notes(link, mr_clock_now()); /* what the committer could not store */
    return true;
}

static void
run(zsock_t *pipe, void *argument)
{
    struct mr_link *link = argument;

    mr_log_thread("session");
    zsock_signal(pipe, 0);
    while (
        !mr_session_is_over(link->session, mr_clock_now()) && !link->is_out_of_threads) {
        int64_t due_us = turn(link);

        if (!mr_session_is_over(link->session, mr_clock_now()))
            sleep_until(link, due_us);
    }
    say_bye(link);
    link->over.is_worn_out =
        link->is_out_of_threads || mr_session_is_worn_out(link->session);
    link->over.is_stuck = !end_pool(link);
    mr_note_give(link->conf.main, &link->over.note);
}

/* ---- life ---------------------------------------------------------------------------------------- */

static enum mr_status
open_parts(struct mr_link *link)
{
    const struct mr_settings *settings = link->conf.settings;
    struct mr_session_conf session = {.threads = link->conf.threads,
        .prefetch = link->conf.prefetch,
        .prefetch_max = link->conf.prefetch_max,
        .results_max = (uint32_t)settings->results_max,
        .results_bytes_max = (uint64_t)settings->results_mib_max << 20,
        .hang_grace_ms = (uint32_t)settings->hang_grace_ms,
        .spares = (uint32_t)settings->executor_spares,
        .drain_ms = (uint32_t)settings->drain_ms,
        .hash_key = mr_hash_key_random(),
        .kinds = link->conf.registry,
        .isolate = settings->isolate};
    struct mr_pool_conf pool = {.threads = link->conf.threads,
        .spares = (uint32_t)settings->executor_spares,
        .conninfo = settings->database,
        .db_name = mr_db_name(link->conf.instance, link->db_name),
        .worker = mr_span_str(link->conf.name),
        .opener = link->conf.opener,
        .settings = settings,
        .loads = link->conf.loads};
    enum mr_status status = mr_mailbox_new(&link->box);

    link->random = session.hash_key.k0 | 1;
    link->rest = settings->endpoint;
    link->context = zmq_ctx_new();
    link->offers =
        calloc(mr_registry_count(link->conf.registry) + 1, sizeof *link->offers);
    if (status || !link->context || !link->offers)
        return MR_NO_MEMORY;
    mr_registry_offers(link->conf.registry, link->offers);
    status = mr_session_new(&link->session, &session, on_act, link);
    pool.session = link->box;
    return status ? status : mr_pool_new(&link->pool, &pool);
}

static void
free_link(struct mr_link *link)
{
    if (link->pool) {
        mr_pool_stop(link->pool);
        mr_pool_destroy(&link->pool);
    }
    mr_session_destroy(&link->session);
    if (link->context)
        (void)zmq_ctx_term(link->context);
    mr_mailbox_destroy(&link->box);
    mr_wr_fini(&link->out);
    free(link->offers);
    free(link);
}

enum mr_status
mr_link_new(struct mr_link **out, const struct mr_link_conf *conf)
{
    struct mr_link *link = calloc(1, sizeof *link);

    *out = NULL;
    if (!link)
        return MR_NO_MEMORY;
    link->conf = *conf;
    link->drain.type = link->hurry.type = MR_NOTE_DRAIN;
    link->over.note.type = MR_NOTE_OVER;
    mr_wr_init(&link->out, MR_MESSAGE_BYTES_MAX);
    if (open_parts(link))
        goto fail;
    link->actor = zactor_new(run, link);
    if (!link->actor)
        goto fail;
    *out = link;
    return MR_OK;
fail:
    free_link(link);
    return MR_NO_MEMORY;
}

void
mr_link_drain(struct mr_link *link)
{
    if (link->drains == 0)
        mr_note_give(link->box, &link->drain);
    else if (link->drains == 1)
        mr_note_give(link->box, &link->hurry);
    link->drains++;
}

void
mr_link_destroy(struct mr_link **link)
{
    if (!*link)
        return;
    zactor_destroy(&(*link)->actor);
    free_link(*link);
    *link = NULL;
}
