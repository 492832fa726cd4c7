#include "client/lib_priv.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include <zmq.h>

#define HWM 64
#define RECEIVE_MAX 256 /* messages a turn */

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
    set_option(socket, ZMQ_RECONNECT_IVL_MAX, 1000);
    set_option(socket, ZMQ_TCP_KEEPALIVE, 1);
    set_option(socket, ZMQ_TCP_KEEPALIVE_IDLE, 10);
    set_option(socket, ZMQ_TCP_KEEPALIVE_INTVL, 3);
    set_option(socket, ZMQ_TCP_KEEPALIVE_CNT, 3);
    MR_ASSERT(zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &bytes_max, sizeof bytes_max) == 0);
    return socket;
}

/* libzmq mends a broken connection by itself, and would hide from us that the broker at the
 * other end may be another one, which knows nothing of us: so it has to tell. And it would try
 * for ever with a key that is refused. */
static void
open_monitor(struct mr_lib_link *link)
{
    link->monitor = mr_curve_watch(link->mr->context, link->socket);
}

void
mr_lib_socket_listen(struct mr_lib_link *link)
{
    const char *endpoint = link->mr->endpoints[link->endpoint];
    enum mr_curve_event event = MR_CURVE_WELCOME;
    struct mr_err err;

    link->may_break = false;
    while (event == MR_CURVE_WELCOME)
        event = mr_curve_event(link->monitor);
    if (event == MR_CURVE_NOTHING)
        return;
    /* Whoever refuses us may hang up before it has said so: then it is as the last time. */
    if (event == MR_CURVE_BROKEN && link->refusal == MR_DENIED) {
        link->fall = MR_DENIED;
        mr_lib_link_refused(link, link->fall, link->advice);
        return;
    }
    link->fall = (int)mr_curve_explain(event, &link->mr->peer, endpoint, &err);
    (void)snprintf(link->text, sizeof link->text, "%s", err.why);
    if (link->fall == MR_DENIED)
        mr_lib_link_refused(link, link->fall, mr_curve_advice(event, &link->mr->peer));
}

void
mr_lib_socket_close(struct mr_lib_link *link)
{
    mr_curve_unwatch(link->socket, &link->monitor);
    if (link->socket)
        (void)zmq_close(link->socket);
    link->socket = NULL;
    link->socket_fd = link->monitor_fd = -1;
    link->may_hear = link->may_break = false;
}

static int
fd_of(void *socket)
{
    int fd = -1;
    size_t n = sizeof fd;

    if (!socket || zmq_getsockopt(socket, ZMQ_FD, &fd, &n) != 0)
        return -1;
    return fd;
}

void
mr_lib_socket_open(struct mr_lib_link *link, const char *endpoint)
{
    link->socket = socket_new(link->mr->context);
    if (link->socket) {
        open_monitor(link);
        (void)mr_curve_peer_apply(&link->mr->peer, link->socket, endpoint);
    }
    link->socket_fd = fd_of(link->socket);
    link->monitor_fd = fd_of(link->monitor);
    link->may_hear = link->may_break = true; /* nobody has looked yet */
    if (link->socket && zmq_connect(link->socket, endpoint) == 0)
        return;
    link->fall = MR_UNREACHABLE;
    (void)snprintf(
        link->text, sizeof link->text, "%s: %s.", endpoint, zmq_strerror(errno));
}

/* False when there is nothing more. */
static bool
receive_one(struct mr_lib_link *link)
{
    zmq_msg_t frame;
    bool is_alone;

    (void)zmq_msg_init(&frame);
    if (zmq_msg_recv(&frame, link->socket, ZMQ_DONTWAIT) < 0) {
        bool again = errno == EINTR;

        (void)zmq_msg_close(&frame);
        return again;
    }
    is_alone = !zmq_msg_more(&frame);
    if (is_alone)
        mr_lib_link_frame(
            link, mr_span(zmq_msg_data(&frame), zmq_msg_size(&frame)), link->now_us);
    /* Messages of more frames are not ours: swallowed to their end. */
    while (zmq_msg_more(&frame))
        if (zmq_msg_recv(&frame, link->socket, ZMQ_DONTWAIT) < 0 && errno != EINTR)
            break;
    (void)zmq_msg_close(&frame);
    return true;
}

/* What is more than a turn's worth is left to the next one. */
void
mr_lib_socket_receive(struct mr_lib_link *link)
{
    for (int i = 0; i < RECEIVE_MAX && link->may_hear && link->socket && !link->fall; i++)
        link->may_hear = receive_one(link);
}

/* The descriptor of a socket only tells of changes, and to send is to take note of them: then one
 * has to look. */
static void
look(struct mr_lib_link *link)
{
    int events = 0;
    size_t n = sizeof events;

    if (!link->has_used || !link->socket || link->may_hear)
        return;
    link->has_used = false;
    if (zmq_getsockopt(link->socket, ZMQ_EVENTS, &events, &n) == 0)
        link->may_hear = events & (ZMQ_POLLIN | (link->out.n ? ZMQ_POLLOUT : 0));
}

void
mr_lib_socket_wait(struct mr_lib_link *link, int timeout_ms)
{
    struct pollfd polls[] = {{.fd = mr_mailbox_fd(link->mr->inbox), .events = POLLIN},
        {.fd = link->socket_fd, .events = POLLIN},
        {.fd = link->monitor_fd, .events = POLLIN}};

    look(link);
    if (link->may_hear || link->may_break)
        return;
    (void)poll(polls, sizeof polls / sizeof *polls, timeout_ms);
    link->is_rung = polls[0].revents != 0;
    link->may_hear = polls[1].revents != 0;
    link->may_break = polls[2].revents != 0;
}
