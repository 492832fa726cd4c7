#include "schemas/wire/curve.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <zmq.h>

#include "schemas/wire/curve_priv.h"

/* In the library since 4.3.0, in its header only for those who ask for drafts. */
#ifndef ZMQ_ZAP_ENFORCE_DOMAIN
#define ZMQ_ZAP_ENFORCE_DOMAIN 93
#endif

static const char *const domains[] = {[MR_CURVE_BY_KEY] = "millrace.key",
    [MR_CURVE_BY_HOST] = "millrace.host",
    [MR_CURVE_BY_ALL] = "millrace.all"};

static void
set(void *socket, int option, const void *value, size_t n)
{
    /* Only out of our own mistake, or by a libzmq that cannot be used, could one be refused. */
    MR_ASSERT(zmq_setsockopt(socket, option, value, n) == 0);
}

static void
set_int(void *socket, int option, int value)
{
    set(socket, option, &value, sizeof value);
}

/* ---- where an endpoint leads to ------------------------------------------------------------------ */

/* tcp://HOST:PORT, or tcp://SOURCE;HOST:PORT: the host, false if there is none. */
static bool
take_host(const char *endpoint, char out[64])
{
    const char *from = endpoint + strlen("tcp://");
    const char *source_end = strchr(from, ';');
    const char *end;
    size_t n;

    if (source_end)
        from = source_end + 1;
    end = strrchr(from, ':');
    if (!end)
        return false;
    if (*from == '[' && end > from + 1 && end[-1] == ']') {
        from++;
        end--;
    }
    n = (size_t)(end - from);
    if (n == 0 || n >= 64)
        return false;
    memcpy(out, from, n);
    out[n] = '\0';
    return true;
}

bool
mr_curve_is_local(const char *endpoint)
{
    struct in_addr v4;
    struct in6_addr v6;
    char host[64];

    if (strncmp(endpoint, "ipc://", strlen("ipc://")) == 0)
        return true;
    if (strncmp(endpoint, "tcp://", strlen("tcp://")) != 0 || !take_host(endpoint, host))
        return false;
    if (strcmp(host, "localhost") == 0)
        return true;
    /* As an address: 127.example.org is a name. */
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* ---- those who listen ----------------------------------------------------------------------- */

const char *
mr_curve_domain(enum mr_curve_way way)
{
    return domains[way];
}

void
mr_curve_admit(void *socket, enum mr_curve_way way, const struct mr_curve *own)
{
    set(socket, ZMQ_ZAP_DOMAIN, domains[way], strlen(domains[way]));
    set_int(socket, ZMQ_ZAP_ENFORCE_DOMAIN, 1);
    set_int(socket, ZMQ_CURVE_SERVER, way == MR_CURVE_BY_KEY);
    if (way == MR_CURVE_BY_KEY)
        set(socket, ZMQ_CURVE_SECRETKEY, own->secret_key, MR_CURVE_ROOM);
}

/* ---- those who connect ---------------------------------------------------------------------- */

static enum mr_status
load_server(struct mr_curve_peer *peer, const char *server_key, struct mr_err *err)
{
    size_t n = strlen(server_key);

    if (n > 4 && strcmp(server_key + n - 4, ".pub") == 0)
        return mr_curve_read_public(server_key, peer->server, err);
    if (!mr_curve_is_public(server_key))
        return mr_err_set(err, MR_BAD_SETTING, "The broker's public key cannot be used.",
            "`server_key` is neither a file *.pub nor 40 characters of Z85.",
            "Give what `millrace key show` prints for the broker's key.");
    memcpy(peer->server, server_key, MR_CURVE_ROOM);
    return MR_OK;
}

enum mr_status
mr_curve_peer_load(struct mr_curve_peer *out, const char *key_file,
    const char *server_key, bool is_insecure, struct mr_err *err)
{
    enum mr_status status;

    *out = (struct mr_curve_peer){.is_insecure = is_insecure};
    status = mr_curve_load(&out->own, key_file, err);
    if (status == MR_OK && server_key && *server_key)
        status = load_server(out, server_key, err);
    if (status == MR_OK && out->own && !out->server[0])
        status = mr_err_set(err, MR_BAD_SETTING, "The broker cannot be recognised.",
            "There is a key of our own, but no public key of the broker.",
            "Set `server_key` to the broker's public key or its .pub file.");
    if (status == MR_OK && out->server[0] && !out->own)
        status = mr_err_set(err, MR_BAD_SETTING, "The broker would not recognise us.",
            "There is a public key of the broker, but no key of our own.",
            "Set `key_file`; `millrace key new NAME` makes one.");
    if (status)
        mr_curve_peer_fini(out);
    return status;
}

void
mr_curve_peer_fini(struct mr_curve_peer *peer)
{
    mr_curve_destroy(&peer->own);
    peer->server[0] = '\0';
}

enum mr_status
mr_curve_peer_check(
    const struct mr_curve_peer *peer, const char *endpoint, struct mr_err *err)
{
    if (peer->own || peer->is_insecure || mr_curve_is_local(endpoint))
        return MR_OK;
    return mr_err_setf(err, MR_BAD_SETTING, "The connection would not be encrypted.",
        "Set `key_file` and `server_key` (`millrace key new NAME` makes a key), or "
        "`insecure = yes` in a network that you trust.",
        "%.200s leaves this host, and there is no key to use.", endpoint);
}

bool
mr_curve_peer_apply(const struct mr_curve_peer *peer, void *socket, const char *endpoint)
{
    if (!peer->own || strncmp(endpoint, "tcp://", strlen("tcp://")) != 0)
        return false;
    set(socket, ZMQ_CURVE_SERVERKEY, peer->server, MR_CURVE_ROOM);
    set(socket, ZMQ_CURVE_PUBLICKEY, peer->own->public_key, MR_CURVE_ROOM);
    set(socket, ZMQ_CURVE_SECRETKEY, peer->own->secret_key, MR_CURVE_ROOM);
    return true;
}

/* ---- how the handshake ended ---------------------------------------------------------------- */

/* What our broker's handler (zap.c) says to a key before it has read its own. */
#define STATUS_LATER 500

#define EVENTS                                                                           \
    (ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED |                            \
        ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |     \
        ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)

void *
mr_curve_watch(void *context, void *socket)
{
    /* A name that was used is free again only some time after its socket was closed. */
    static atomic_uint_fast64_t number;
    char address[64];
    void *monitor;

    (void)snprintf(address, sizeof address, "inproc://watch-%llu",
        (unsigned long long)atomic_fetch_add(&number, 1));
    if (zmq_socket_monitor(socket, address, EVENTS) != 0)
        return NULL;
    monitor = zmq_socket(context, ZMQ_PAIR);
    if (!monitor)
        return NULL;
    set_int(monitor, ZMQ_LINGER, 0);
    if (zmq_connect(monitor, address) == 0)
        return monitor;
    (void)zmq_close(monitor);
    return NULL;
}

void
mr_curve_unwatch(void *socket, void **monitor)
{
    if (socket)
        (void)zmq_socket_monitor(socket, NULL, 0);
    if (*monitor)
        (void)zmq_close(*monitor);
    *monitor = NULL;
}

static enum mr_curve_event
event_of(uint16_t number, uint32_t value)
{
    switch (number) {
    case ZMQ_EVENT_DISCONNECTED:
        return MR_CURVE_LOST;
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        return MR_CURVE_WELCOME;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        return value == STATUS_LATER ? MR_CURVE_EARLY : MR_CURVE_REFUSED;
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
        return value == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH ? MR_CURVE_MISMATCH
                                                                   : MR_CURVE_BROKEN;
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        return MR_CURVE_BROKEN;
    default:
        return MR_CURVE_NOTHING;
    }
}

enum mr_curve_event
mr_curve_event(void *monitor)
{
    uint8_t frame[sizeof(uint16_t) + sizeof(uint32_t)];
    char endpoint[256]; /* the second frame: of no interest */
    uint16_t number;
    uint32_t value;

    for (;;) {
        int n = monitor ? zmq_recv(monitor, frame, sizeof frame, ZMQ_DONTWAIT) : -1;
        enum mr_curve_event event;

        if (n < 0)
            return MR_CURVE_NOTHING;
        (void)zmq_recv(monitor, endpoint, sizeof endpoint, ZMQ_DONTWAIT);
        memcpy(&number, frame, sizeof number);
        memcpy(&value, frame + sizeof number, sizeof value);
        event = n == (int)sizeof frame ? event_of(number, value) : MR_CURVE_NOTHING;
        if (event != MR_CURVE_NOTHING)
            return event;
    }
}

const char *
mr_curve_advice(enum mr_curve_event event, const struct mr_curve_peer *peer)
{
    switch (event) {
    case MR_CURVE_REFUSED:
        return "Have an administrator register it (`millrace principal add`), or use "
               "another `key_file`.";
    case MR_CURVE_MISMATCH:
        return peer->own
                   ? "Give the broker a key, or leave out `key_file` and `server_key`."
                   : "Set `key_file` and `server_key`; `millrace key new NAME` makes a "
                     "key.";
    case MR_CURVE_BROKEN:
        return peer->own
                   ? "Compare `server_key` with `millrace key show` of the broker's "
                     "key file."
                   : "Is it our broker that listens there? Then set `key_file` and "
                     "`server_key`.";
    case MR_CURVE_EARLY:
    case MR_CURVE_LOST:
    case MR_CURVE_WELCOME:
    case MR_CURVE_NOTHING:
        break;
    }
    return "Is it running? Try again in a moment.";
}

enum mr_status
mr_curve_explain(enum mr_curve_event event, const struct mr_curve_peer *peer,
    const char *endpoint, struct mr_err *err)
{
    const char *todo = mr_curve_advice(event, peer);

    if (event == MR_CURVE_REFUSED)
        return mr_err_setf(err, MR_DENIED, "The broker refuses our key.", todo,
            "%.200s does not know %s, or has revoked it.", endpoint,
            peer->own ? peer->own->public_key : "it");
    if (event == MR_CURVE_EARLY)
        return mr_err_setf(err, MR_STARTING, "The broker is starting.", todo,
            "%.200s has not read yet whom it knows.", endpoint);
    if (event == MR_CURVE_MISMATCH)
        return mr_err_setf(err, MR_DENIED, "The broker refuses the connection.", todo,
            peer->own ? "%.200s speaks plain text, and we have a key."
                      : "%.200s wants to know who we are, and we have no key.",
            endpoint);
    if (event == MR_CURVE_BROKEN)
        return mr_err_setf(err, MR_UNREACHABLE, "The broker cannot be reached.", todo,
            peer->own
                ? "%.200s hung up on us: `server_key` is not the key of what listens "
                  "there, it seems."
                : "%.200s hung up on us before we could say anything: perhaps it wants a "
                  "key.",
            endpoint);
    return mr_err_setf(err, MR_UNREACHABLE, "The broker cannot be reached.", todo,
        "The connection to %.200s was lost.", endpoint);
}
