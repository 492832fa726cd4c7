#include "broker/socket.h"

#include "broker/settings.h"
#include "schemas/wire/limits.h"

#include <zmq.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HWM 64 /* messages per peer and direction */
#define BACKLOG 4096
#define ENDPOINT_BYTES 256

static void
set(void *socket, int option, int value)
{
    /* Only out of our own mistake could one of these be refused. */
    MR_ASSERT(zmq_setsockopt(socket, option, &value, sizeof value) == 0);
}

static void *
socket_new(void *context)
{
    void *socket;
    int64_t bytes_max = MR_WIRE_FRAME_BYTES_MAX + MR_WIRE_FRAME_BYTES_SPARE;

    /* libzmq draws with it where the numbers of peers begin, and would seed it with the time. */
    srandom((unsigned)mr_hash_key_random().k0);
    socket = zmq_socket(context, ZMQ_ROUTER);
    if (!socket)
        return NULL;
    MR_ASSERT(zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &bytes_max, sizeof bytes_max) == 0);
    set(socket, ZMQ_ROUTER_MANDATORY, 1);
    set(socket, ZMQ_ROUTER_HANDOVER, 0);
    set(socket, ZMQ_SNDHWM, HWM);
    set(socket, ZMQ_RCVHWM, HWM);
    set(socket, ZMQ_LINGER, 0);
    set(socket, ZMQ_BACKLOG, BACKLOG);
    set(socket, ZMQ_HANDSHAKE_IVL, MR_LOGIN_MS);
    set(socket, ZMQ_TCP_KEEPALIVE, 1);
    set(socket, ZMQ_TCP_KEEPALIVE_IDLE, 10);
    set(socket, ZMQ_TCP_KEEPALIVE_INTVL, 3);
    set(socket, ZMQ_TCP_KEEPALIVE_CNT, 3);
    set(socket, ZMQ_TCP_MAXRT, 10000);
    return socket;
}

/* The number that libzmq gives to a peer that sets no routing id, the first of them. */
static bool
learn_first_number(void *context, void *socket, uint32_t *out)
{
    static const char here[] = "inproc://first-number";
    void *peer = zmq_socket(context, ZMQ_DEALER);
    uint8_t id[8] = {0};
    bool is_learnt = peer && zmq_bind(socket, here) == 0 &&
                     zmq_connect(peer, here) == 0 && zmq_send(peer, "", 0, 0) == 0 &&
                     zmq_recv(socket, id, sizeof id, 0) == 5 &&
                     zmq_recv(socket, NULL, 0, 0) == 0 && zmq_unbind(socket, here) == 0;

    *out = (uint32_t)id[1] << 24 | (uint32_t)id[2] << 16 | (uint32_t)id[3] << 8 | id[4];
    if (peer)
        (void)zmq_close(peer);
    return is_learnt;
}

static enum mr_status
explain(int error, const char *endpoint, struct mr_err *err)
{
    if (error == EADDRINUSE)
        return mr_err_setf(err, MR_ADDRESS_IN_USE, "The broker cannot listen.",
            "Stop the other program (`ss -ltnp` shows it), or choose another port; * "
            "takes "
            "a free one.",
            "Another program listens at %s already.", endpoint);
    if (error == EACCES)
        return mr_err_setf(err, MR_DENIED, "The broker cannot listen.",
            "Choose a port above 1023, or a folder that this user may write.",
            "This user may not bind to %s.", endpoint);
    return mr_err_setf(err, MR_BAD_SETTING, "The broker cannot listen.",
        "Correct the endpoint: tcp://ADDRESS:PORT with an address of this host, or "
        "ipc://PATH.",
        "%s: %s.", endpoint, zmq_strerror(error));
}

enum mr_curve_way
mr_socket_way(const char *endpoint, bool has_key)
{
    if (has_key && strncmp(endpoint, "tcp://", strlen("tcp://")) == 0)
        return MR_CURVE_BY_KEY;
    return mr_curve_is_local(endpoint) ? MR_CURVE_BY_HOST : MR_CURVE_BY_ALL;
}

static enum mr_status
bind_one(void *socket, const char *endpoint, const struct mr_curve *key, char *bound,
    size_t bound_bytes, struct mr_err *err)
{
    char real[ENDPOINT_BYTES] = "";
    size_t real_bytes = sizeof real, used = strlen(bound);
    int n;

    /* With it an address of version 4 would be announced in the form of version 6, which not
     * every peer can connect to. */
    set(socket, ZMQ_IPV6, strchr(endpoint, '[') != NULL);
    mr_curve_admit(socket, mr_socket_way(endpoint, key != NULL), key);
    if (zmq_bind(socket, endpoint) != 0)
        return explain(errno, endpoint, err);
    MR_ASSERT(zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, real, &real_bytes) == 0);
    n = snprintf(bound + used, bound_bytes - used, "%s%s", used ? "," : "", real);
    if (n < 0 || (size_t)n >= bound_bytes - used)
        return mr_err_set(err, MR_BAD_SETTING, "The broker cannot listen.",
            "There are too many endpoints.", "Give fewer of them.");
    return MR_OK;
}

enum mr_status
mr_socket_open(void **out, void *context, const char *endpoints,
    const struct mr_curve *key, char *bound, size_t bound_bytes, uint32_t *first_number,
    struct mr_err *err)
{
    void *socket = socket_new(context);
    const char *rest = endpoints;
    char endpoint[ENDPOINT_BYTES];
    enum mr_status status = MR_OK;

    *out = NULL;
    bound[0] = '\0';
    if (!socket || !learn_first_number(context, socket, first_number)) {
        status = mr_err_setf(err, MR_NO_MEMORY, "The broker cannot listen.",
            "Free some memory or file descriptors (`ulimit -n`).",
            "No socket could be made: %s.", zmq_strerror(errno));
        mr_socket_close(&socket, 0);
        return status;
    }
    while (status == MR_OK && mr_settings_next_endpoint(&rest, endpoint, sizeof endpoint))
        status = bind_one(socket, endpoint, key, bound, bound_bytes, err);
    if (status) {
        mr_socket_close(&socket, 0);
        return status;
    }
    *out = socket;
    return MR_OK;
}

void
mr_socket_close(void **socket, int linger_ms)
{
    if (!*socket)
        return;
    set(*socket, ZMQ_LINGER, linger_ms);
    (void)zmq_close(*socket);
    *socket = NULL;
}

static enum mr_sent
verdict(void)
{
    if (errno == EAGAIN)
        return MR_SENT_FULL;
    MR_ASSERT(errno == EHOSTUNREACH);
    return MR_SENT_NOBODY;
}

enum mr_sent
mr_socket_send(void *socket, struct mr_span routing, struct mr_span bytes)
{
    int rc;

    do
        rc = zmq_send(socket, routing.p, routing.n, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    while (rc < 0 && errno == EINTR);
    if (rc < 0)
        return verdict();
    /* The first frame chose the pipe and found room in it: this one goes the same way, or, if
     * the peer left just now, nowhere. */
    do
        rc = zmq_send(socket, bytes.p, bytes.n, ZMQ_DONTWAIT);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? verdict() : MR_SENT;
}
