#include "client/lib_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/clock.h"
#include "schemas/wire/frames.h"

#include <zmq.h>

#define GREET_US 2000000     /* from connecting to WELCOME */
#define RETRY_BASE_US 100000 /* between connections */
#define RETRY_CAP_US 2000000
#define REFUSED_US 5000000 /* after an answer that will hardly change */
#define HEARTBEATS_MISSED_MAX 3
#define AGAIN_US 5000000 /* a WATCH is repeated so often */
#define SCAN_US 5000     /* deadlines are looked at no more often */
#define POLL_MS_MAX 1000
#define FULL_MS_MAX 5 /* what does not wake us may have deadlines */

/* ---- Small things --------------------------------------------------------------------------- */

static int64_t
now_us(void)
{
    return mr_clock_mono_us();
}

static uint64_t
random_next(struct mr_lib_link *link)
{
    /* Marsaglia's xorshift64: it only spreads retries. */
    link->random ^= link->random << 13;
    link->random ^= link->random >> 7;
    link->random ^= link->random << 17;
    return link->random;
}

int64_t
mr_lib_link_backoff_us(
    struct mr_lib_link *link, unsigned n, int64_t base_us, int64_t cap_us)
{
    int64_t wait_us = n < 16 ? base_us << n : cap_us;

    if (wait_us > cap_us)
        wait_us = cap_us;
    return wait_us / 2 + (int64_t)(random_next(link) % (uint64_t)(wait_us / 2 + 1));
}

void
mr_lib_link_say(struct mr_lib_link *link, struct mr_span text)
{
    size_t n = mr_span_cut(text, MR_LIB_TEXT_MAX - 1).n;

    if (n)
        memcpy(link->text, text.p, n);
    link->text[n] = '\0';
}

static const char *
endpoint_of(const struct mr_lib_link *link)
{
    return link->mr->endpoints[link->endpoint];
}

/* ---- Requests --------------------------------------------------------------------------------- */

static void
open_insert(struct mr_lib_link *link, struct mr_lib_req *req)
{
    req->prev = NULL;
    req->next = link->open;
    if (link->open)
        link->open->prev = req;
    link->open = req;
    if (req->deadline_us < link->next_deadline_us)
        link->next_deadline_us = req->deadline_us;
}

void
mr_lib_link_end(
    struct mr_lib_link *link, struct mr_lib_req *req, int code, struct mr_span text)
{
    *(req->prev ? &req->prev->next : &link->open) = req->next;
    if (req->next)
        req->next->prev = req->prev;
    mr_lib_submit_forget(link, req);
    mr_lib_watch_forget(link, req);
    req->code = code;
    if (code && code == link->refusal)
        req->advice = link->advice;
    if (text.n)
        mr_lib_request_say(req, text);
    if (!req->is_async) {
        (void)sem_post(&req->done);
        return;
    }
    mr_mailbox_push(link->mr->completions, &req->node);
    link->has_completed = true; /* the bell: once a turn */
}

/* What the broker's last word on it was, if that is all that is to be known. */
static int
late_code(const struct mr_lib_link *link, const struct mr_lib_req *req)
{
    const struct mr_lib_unit *unit = req->unit_count ? &req->units[0] : NULL;

    if (unit && unit->code && !unit->is_settled && !unit->flight && !unit->is_unsure)
        return unit->code;
    if (req->was_sent)
        return MR_TIMEOUT;
    if (link->state == MR_LIB_UP)
        return MR_BUSY;
    return link->refusal ? link->refusal : MR_UNREACHABLE;
}

static void
end_late(struct mr_lib_link *link, struct mr_lib_req *req)
{
    char text[MR_LIB_TEXT_MAX + 64];

    if (req->text)
        (void)snprintf(text, sizeof text, "%s", req->text);
    else if (link->state == MR_LIB_UP)
        (void)snprintf(text, sizeof text, "%s did not answer in time%s%s",
            endpoint_of(link), link->text[0] ? "; the last word was: " : ".", link->text);
    else if (link->text[0])
        (void)snprintf(text, sizeof text, "%s", link->text);
    else
        (void)snprintf(text, sizeof text, "No broker answers at %s.", endpoint_of(link));
    mr_lib_link_end(link, req, late_code(link, req), mr_span_str(text));
}

static void
end_overdue(struct mr_lib_link *link, int64_t now)
{
    struct mr_lib_req *next;

    if (now < link->next_deadline_us)
        return;
    link->next_deadline_us = MR_LIB_NEVER;
    for (struct mr_lib_req *req = link->open; req; req = next) {
        next = req->next;
        if (req->deadline_us <= now)
            end_late(link, req);
        else if (req->deadline_us < link->next_deadline_us)
            link->next_deadline_us = req->deadline_us;
    }
    if (link->next_deadline_us < now + SCAN_US)
        link->next_deadline_us = now + SCAN_US;
}

void
mr_lib_link_admit(struct mr_lib_link *link, struct mr_lib_req *req)
{
    if (req->type == MR_LIB_STOP) {
        link->is_stopping = true;
        (void)sem_post(&req->done);
        return;
    }
    open_insert(link, req);
    if (!mr_lib_watch_admit(link, req)) {
        mr_lib_link_end(link, req, MR_NO_MEMORY, mr_span_str("No memory."));
        return;
    }
    mr_lib_submit_admit(link, req);
    if (req->type == MR_LIB_CALL)
        link->has_unsent_calls = true;
    if (req->type == MR_LIB_READY && (link->state == MR_LIB_UP || link->refusal))
        mr_lib_link_end(
            link, req, link->refusal, mr_span_str(link->refusal ? link->text : ""));
}

static void
end_ready(struct mr_lib_link *link, int code)
{
    struct mr_lib_req *next;

    for (struct mr_lib_req *req = link->open; req; req = next) {
        next = req->next;
        if (req->type == MR_LIB_READY)
            mr_lib_link_end(link, req, code, mr_span_str(code ? link->text : ""));
    }
}

void
mr_lib_link_refused(struct mr_lib_link *link, int code, const char *advice)
{
    struct mr_lib_req *next;

    link->refusal = code;
    link->advice = advice;
    for (struct mr_lib_req *req = link->open; req; req = next) {
        next = req->next;
        if (!req->was_sent)
            mr_lib_link_end(link, req, code, mr_span_str(link->text));
    }
}

static void
flush_calls(struct mr_lib_link *link)
{
    if (!link->has_unsent_calls)
        return;
    for (struct mr_lib_req *req = link->open; req; req = req->next) {
        if (req->type != MR_LIB_CALL || req->corr)
            continue;
        if (!mr_lib_link_is_free(link))
            return;
        req->corr = ++link->corr;
        req->was_sent = true;
        mr_put_call_open(&link->out, req->corr, req->method);
        mr_wr_raw(&link->out, mr_wr_span(&req->bytes));
        mr_lib_link_send(link);
    }
    link->has_unsent_calls = false;
}

static struct mr_lib_req *
find_call(struct mr_lib_link *link, uint64_t corr)
{
    struct mr_lib_req *req = corr ? link->open : NULL;

    while (req && (req->type != MR_LIB_CALL || req->corr != corr))
        req = req->next;
    return req;
}

/* ---- The connection --------------------------------------------------------------------------- */

bool
mr_lib_link_is_free(const struct mr_lib_link *link)
{
    return link->state == MR_LIB_UP && link->out.n == 0 && !link->fall;
}

void
mr_lib_link_send(struct mr_lib_link *link)
{
    int rc;

    if (link->out.status) {
        link->fall = (int)link->out.status;
        mr_wr_reset(&link->out);
        return;
    }
    rc = mr_frames_send(link->socket, mr_wr_span(&link->out));
    link->has_used = true;
    if (rc >= 0) {
        link->said_us = link->now_us;
        mr_wr_reset(&link->out);
    } else if (errno != EAGAIN) {
        link->fall = MR_UNREACHABLE;
    }
}

static void
put_hello(struct mr_lib_link *link)
{
    struct mr_hello hello = {.proto_min = MR_PROTO_VERSION,
        .proto_max = MR_PROTO_VERSION,
        .role = MR_ROLE_CLIENT,
        .instance = link->mr->instance,
        .name = mr_span_str(link->mr->name)};

    mr_wr_reset(&link->out);
    mr_put_hello(&link->out, ++link->corr, &hello, NULL);
    mr_lib_link_send(link);
}

static void
connect_next(struct mr_lib_link *link, int64_t now)
{
    link->fall = 0;
    link->state = MR_LIB_GREETING;
    mr_lib_socket_open(link, endpoint_of(link));
    if (link->fall)
        return;
    link->greet_until_us = now + GREET_US;
    put_hello(link);
}

/* Give the connection up, keep what has to be said again, go to the next endpoint. */
static void
fall(struct mr_lib_link *link, int64_t now)
{
    unsigned rounds;

    mr_lib_socket_close(link);
    link->state = MR_LIB_DOWN;
    link->fall = 0;
    mr_wr_reset(&link->out);
    mr_lib_submit_restart(link);
    link->resume_us = 0;
    for (struct mr_lib_req *req = link->open; req; req = req->next)
        req->corr = 0;
    link->has_unsent_calls = true;
    link->endpoint = (link->endpoint + 1) % link->mr->endpoint_count;
    rounds = link->misses++ / link->mr->endpoint_count;
    link->next_try_us = now + (link->refusal ? REFUSED_US
                                             : mr_lib_link_backoff_us(link, rounds,
                                                   RETRY_BASE_US, RETRY_CAP_US));
}

/* ---- What the broker says ---------------------------------------------------------------------- */

static void
on_welcome(struct mr_lib_link *link, const struct mr_msg *msg, int64_t now)
{
    struct mr_welcome welcome;

    if (link->state != MR_LIB_GREETING || mr_get_welcome(msg, &welcome) ||
        welcome.heartbeat_ms == 0)
        return;
    link->state = MR_LIB_UP;
    link->misses = 0;
    link->refusal = 0;
    link->text[0] = '\0';
    link->heartbeat_ms = welcome.heartbeat_ms;
    link->window_jobs = welcome.window_jobs ? welcome.window_jobs : 1;
    link->dropped_count = 0;
    mr_lib_watch_again(link, now + 1);
    end_ready(link, MR_OK);
}

static void
on_ping(struct mr_lib_link *link, const struct mr_msg *msg, int64_t now)
{
    bool asks = false;

    (void)now;
    /* If the socket is full, there is enough on its way that says we live. */
    if (mr_get_ping(msg, &asks) || !asks || !mr_lib_link_is_free(link))
        return;
    mr_put_ping(&link->out, msg->corr, false);
    mr_lib_link_send(link);
}

static void
on_bye(struct mr_lib_link *link, const struct mr_msg *msg, int64_t now)
{
    struct mr_span reason = MR_SPAN_NONE;
    uint32_t flags;

    (void)now;
    if (mr_get_bye(msg, &reason, &flags) == MR_OK)
        mr_lib_link_say(link, reason);
    link->fall = MR_DRAINING;
}

static void
on_error(struct mr_lib_link *link, const struct mr_msg *msg, int64_t now)
{
    struct mr_error error;
    struct mr_lib_req *call;

    if (mr_get_error(msg, &error))
        return;
    if (link->state == MR_LIB_GREETING) {
        mr_lib_link_say(link, error.text);
        link->fall = (int)error.code;
        if (error.code >= 300 && error.code < 400) {
            mr_lib_link_refused(link, (int)error.code, NULL);
        }
        return;
    }
    call = find_call(link, msg->corr);
    if (call)
        mr_lib_link_end(link, call, (int)error.code, error.text);
    else if (!mr_lib_submit_on_error(link, msg->corr, &error, now))
        mr_lib_link_say(link, error.text);
    if (error.code == MR_NO_SESSION || (error.code >= 200 && error.code < 300))
        link->fall = (int)error.code;
}

static void
on_ack(struct mr_lib_link *link, const struct mr_msg *msg, int64_t now)
{
    mr_lib_submit_on_ack(link, msg, now);
}

static void
on_event(struct mr_lib_link *link, const struct mr_msg *msg, int64_t now)
{
    (void)now;
    mr_lib_watch_on_event(link, msg);
}

static void
on_reply(struct mr_lib_link *link, const struct mr_msg *msg, int64_t now)
{
    struct mr_lib_req *req = find_call(link, msg->corr);
    struct mr_reply reply;

    (void)now;
    if (!req)
        return;
    if (mr_get_reply(msg, &reply)) {
        mr_lib_link_end(
            link, req, MR_MALFORMED, mr_span_str("The reply could not be read."));
        return;
    }
    mr_wr_reset(&req->bytes);
    mr_wr_raw(&req->bytes, reply.result);
    mr_lib_link_end(
        link, req, req->bytes.status ? MR_NO_MEMORY : (int)reply.code, reply.text);
}

typedef void (*message_fn)(
    struct mr_lib_link *link, const struct mr_msg *msg, int64_t now);

static const struct {
    message_fn fn;
    bool needs_session;
} handlers[MR_VERB_COUNT] = {
    [MR_WELCOME] = {on_welcome, false},
    [MR_PING] = {on_ping, true},
    [MR_BYE] = {on_bye, false},
    [MR_ERROR] = {on_error, false},
    [MR_ACK] = {on_ack, true},
    [MR_EVENT] = {on_event, true},
    [MR_REPLY] = {on_reply, true},
};

void
mr_lib_link_frame(struct mr_lib_link *link, struct mr_span frame, int64_t now)
{
    struct mr_msg msg;

    if (mr_msg_open(frame, &msg) || !handlers[msg.verb].fn)
        return;
    link->heard_us = link->now_us = now;
    if (handlers[msg.verb].needs_session && link->state != MR_LIB_UP)
        return;
    handlers[msg.verb].fn(link, &msg, now);
}

/* ---- The turn ----------------------------------------------------------------------------------- */

static void
keep_alive(struct mr_lib_link *link, int64_t now)
{
    int64_t beat_us = (int64_t)link->heartbeat_ms * 1000;

    if (link->state == MR_LIB_GREETING && now >= link->greet_until_us) {
        (void)snprintf(
            link->text, sizeof link->text, "No broker answers at %s.", endpoint_of(link));
        link->fall = MR_UNREACHABLE;
    }
    if (link->state != MR_LIB_UP)
        return;
    if (now - link->heard_us > HEARTBEATS_MISSED_MAX * beat_us) {
        (void)snprintf(link->text, sizeof link->text,
            "The broker at %s has fallen silent.", endpoint_of(link));
        link->fall = MR_UNREACHABLE;
        return;
    }
    if (now - link->said_us >= beat_us && mr_lib_link_is_free(link)) {
        mr_put_ping(&link->out, ++link->corr, true);
        mr_lib_link_send(link);
    }
    if (now >= link->again_us) {
        link->again_us = now + AGAIN_US / 5;
        mr_lib_watch_again(link, now - AGAIN_US);
    }
}

static int64_t
earliest(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int
poll_ms(const struct mr_lib_link *link, int64_t now)
{
    int64_t due = link->next_deadline_us;
    int64_t ms;

    if (link->state == MR_LIB_DOWN)
        due = earliest(due, link->next_try_us);
    if (link->state == MR_LIB_GREETING)
        due = earliest(due, link->greet_until_us);
    if (link->state == MR_LIB_UP) {
        due = earliest(due, link->said_us + (int64_t)link->heartbeat_ms * 1000);
        if (link->first && link->resume_us > now)
            due = earliest(due, link->resume_us);
    }
    if (due <= now)
        return 0;
    ms = earliest((due - now + 999) / 1000, link->is_full ? FULL_MS_MAX : POLL_MS_MAX);
    return (int)ms;
}

void
mr_lib_link_work(struct mr_lib_link *link, int64_t now)
{
    link->now_us = now;
    keep_alive(link, now);
    if (link->fall)
        fall(link, now);
    end_overdue(link, now);
    flush_calls(link);
    mr_lib_submit_flush(link, now);
    mr_lib_watch_flush(link, now);
    if (link->fall)
        fall(link, now);
}

/* False if there were none. */
static bool
take_requests(struct mr_lib_link *link)
{
    struct mr_node *node = mr_mailbox_take(link->mr->inbox);
    bool was_one = node != NULL;

    for (; node; node = mr_mailbox_take(link->mr->inbox))
        mr_lib_link_admit(link, (struct mr_lib_req *)(void *)node);
    return was_one;
}

/* Whether callers have to wake us. True if the answer has changed. */
static bool
set_gate(struct mr_lib_link *link)
{
    bool is_full = link->state == MR_LIB_UP && mr_lib_submit_is_full(link);

    if (is_full == link->is_full)
        return false;
    link->is_full = is_full;
    if (is_full)
        (void)atomic_fetch_or_explicit(&link->mr->gate, 1, memory_order_acq_rel);
    else
        (void)atomic_fetch_and_explicit(&link->mr->gate, ~1u, memory_order_acq_rel);
    return true;
}

static void
turn(struct mr_lib_link *link)
{
    int64_t now = link->now_us = now_us();

    if (link->is_rung)
        mr_mailbox_hush(link->mr->inbox);
    link->is_rung = false;
    (void)take_requests(link);
    if (link->state == MR_LIB_DOWN && now >= link->next_try_us)
        connect_next(link, now);
    mr_lib_socket_receive(link);
    if (link->may_break)
        mr_lib_socket_listen(link);
    if (link->socket && link->out.n && !link->fall)
        mr_lib_link_send(link);
    mr_lib_link_work(link, now);
    /* Those that came before the change have rung for nobody. */
    while (set_gate(link) && take_requests(link))
        mr_lib_link_work(link, now);
    if (link->has_completed)
        mr_mailbox_ring(link->mr->completions);
    link->has_completed = false;
}

static void
say_bye(struct mr_lib_link *link)
{
    int linger_ms = 100;

    if (mr_lib_link_is_free(link)) {
        /* Politeness only: the broker does without. */
        (void)zmq_setsockopt(link->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
        mr_put_bye(&link->out, 0, mr_span_str("closed"), 0);
        mr_lib_link_send(link);
    }
    mr_lib_socket_close(link);
}

void
mr_lib_link_run(void *argument)
{
    struct millrace *mr = argument;
    struct mr_lib_link link = {.mr = mr,
        .socket_fd = -1,
        .monitor_fd = -1,
        .next_deadline_us = MR_LIB_NEVER,
        .random = mr->hash_key.k0 | 1,
        .dropped = calloc(MR_ITEMS_PER_MESSAGE_MAX, sizeof(struct mr_uuid))};

    MR_ASSERT(link.dropped != NULL);
    mr_wr_init(&link.out, MR_MESSAGE_BYTES_MAX);
    while (!link.is_stopping) {
        turn(&link);
        if (!link.is_stopping)
            mr_lib_socket_wait(&link, poll_ms(&link, now_us()));
    }
    say_bye(&link);
    while (link.open)
        mr_lib_link_end(
            &link, link.open, MR_CANCELLED, mr_span_str("The handle was closed."));
    while (link.flights) {
        struct mr_lib_flight *flight = link.flights;

        link.flights = flight->next;
        free(flight);
    }
    mr_wr_fini(&link.out);
    free(link.buckets);
    free(link.dropped);
}
