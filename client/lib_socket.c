#include "client/lib_priv.h"

#include <errno.h>
#include <stdio.h>

#include <zmq.h>

#define HWM 64

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
 * other end may be another one, which knows nothing of us: so it has to tell. */
static void
open_monitor(struct mr_lib_link *link)
{
    char address[64];

    (void)snprintf(address, sizeof address, "inproc://monitor-%u", ++link->monitor_count);
    if (zmq_socket_monitor(link->socket, address, ZMQ_EVENT_DISCONNECTED) != 0)
        return;
    link->monitor = zmq_socket(link->mr->context, ZMQ_PAIR);
    if (!link->monitor)
        return;
    set_option(link->monitor, ZMQ_LINGER, 0);
    if (zmq_connect(link->monitor, address) == 0)
        return;
    (void)zmq_close(link->monitor);
    link->monitor = NULL;
}

void
mr_lib_socket_listen(struct mr_lib_link *link)
{
    char event[16];

    if (!link->monitor || zmq_recv(link->monitor, event, sizeof event, ZMQ_DONTWAIT) < 0)
        return;
    (void)snprintf(link->text, sizeof link->text, "The connection to %s was lost.",
        link->mr->endpoints[link->endpoint]);
    link->fall = MR_UNREACHABLE;
}

void
mr_lib_socket_close(struct mr_lib_link *link)
{
    if (link->socket) {
        (void)zmq_socket_monitor(link->socket, NULL, 0);
        (void)zmq_close(link->socket);
    }
    if (link->monitor)
        (void)zmq_close(link->monitor);
    link->socket = NULL;
    link->monitor = NULL;
}

void
mr_lib_socket_open(struct mr_lib_link *link, const char *endpoint)
{
    link->socket = socket_new(link->mr->context);
    if (link->socket)
        open_monitor(link);
    if (link->socket && zmq_connect(link->socket, endpoint) == 0)
        return;
    link->fall = MR_UNREACHABLE;
    (void)snprintf(
        link->text, sizeof link->text, "%s: %s.", endpoint, zmq_strerror(errno));
}
