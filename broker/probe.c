#include "broker/probe.h"

#include "broker/settings.h"
#include "schemas/base/clock.h"
#include "schemas/wire/curve.h"

#include <zmq.h>

#include <stdio.h>
#include <string.h>

#define ENDPOINT_BYTES 256
#define WAIT_MS 10000 /* for an answer on a busy host */
#define LOOK_MS 50

struct probe {
    void *context;
    const char *server_key;
};

enum knock { BY_STRANGE_KEY, IN_PLAIN_TEXT, BY_PASSWORD, KNOCKS };

static const char *const words[KNOCKS] = {[BY_STRANGE_KEY] = "a key that nobody knows",
    [IN_PLAIN_TEXT] = "no key at all",
    [BY_PASSWORD] = "a password"};

static enum mr_status
no_memory(struct mr_err *err)
{
    return mr_err_set(err, MR_NO_MEMORY, "The broker cannot start.",
        "No memory or descriptors to look at its own doors.",
        "Free some memory or file descriptors (`ulimit -n`).");
}

static enum mr_status
unknown(const char *endpoint, struct mr_err *err)
{
    return mr_err_setf(err, MR_BAD_SETTING, "The broker does not start.",
        "Let this host connect to its own endpoint (a packet filter?), or listen "
        "elsewhere.",
        "It could not find out whether strangers are refused at %s.", endpoint);
}

static enum mr_status
let_in(enum knock knock, const char *endpoint, struct mr_err *err)
{
    return mr_err_setf(err, MR_DENIED, "The broker does not start.",
        "This is a fault of millrace or of this libzmq: report it. Until then listen on "
        "ipc:// only.",
        "At %s somebody with %s was let in.", endpoint, words[knock]);
}

/* ---- one knock -------------------------------------------------------------------------------- */

static enum mr_status
dress(void *socket, enum knock knock, const char *endpoint, const char *server_key,
    struct mr_err *err)
{
    struct mr_curve_peer peer = {.own = NULL};
    int linger_ms = 0, v6 = strchr(endpoint, '[') != NULL;
    enum mr_status status;

    (void)zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    (void)zmq_setsockopt(socket, ZMQ_IPV6, &v6, sizeof v6);
    if (knock == BY_PASSWORD) {
        (void)zmq_setsockopt(socket, ZMQ_PLAIN_USERNAME, "probe", 5);
        (void)zmq_setsockopt(socket, ZMQ_PLAIN_PASSWORD, "probe", 5);
    }
    if (knock != BY_STRANGE_KEY)
        return MR_OK;
    (void)snprintf(peer.server, sizeof peer.server, "%s", server_key);
    status = mr_curve_new(&peer.own, err);
    if (status == MR_OK)
        (void)mr_curve_peer_apply(&peer, socket, endpoint);
    mr_curve_peer_fini(&peer);
    return status;
}

static enum mr_status
await(void *monitor, enum knock knock, const char *endpoint, struct mr_err *err)
{
    zmq_pollitem_t item = {.socket = monitor, .events = ZMQ_POLLIN};
    int64_t until_us = mr_clock_mono_us() + WAIT_MS * INT64_C(1000);

    while (mr_clock_mono_us() < until_us) {
        enum mr_curve_event event = mr_curve_event(monitor);

        if (event == MR_CURVE_WELCOME)
            return let_in(knock, endpoint, err);
        if (event != MR_CURVE_NOTHING)
            return MR_OK; /* hung up on, in one way or another */
        (void)zmq_poll(&item, 1, LOOK_MS);
    }
    return unknown(endpoint, err);
}

static enum mr_status
knock_once(
    const struct probe *probe, enum knock knock, const char *endpoint, struct mr_err *err)
{
    void *socket = zmq_socket(probe->context, ZMQ_DEALER);
    void *monitor = socket ? mr_curve_watch(probe->context, socket) : NULL;
    enum mr_status status = monitor ? MR_OK : no_memory(err);

    if (status == MR_OK)
        status = dress(socket, knock, endpoint, probe->server_key, err);
    if (status == MR_OK)
        status = zmq_connect(socket, endpoint) == 0 ? await(monitor, knock, endpoint, err)
                                                    : unknown(endpoint, err);
    mr_curve_unwatch(socket, &monitor);
    if (socket)
        (void)zmq_close(socket);
    return status;
}

static enum mr_status
knock_at_all(const struct probe *probe, const char *list, struct mr_err *err)
{
    const char *rest = list;
    char endpoint[ENDPOINT_BYTES];
    enum mr_status status = MR_OK;

    while (
        status == MR_OK && mr_settings_next_endpoint(&rest, endpoint, sizeof endpoint)) {
        if (strncmp(endpoint, "tcp://", strlen("tcp://")) != 0)
            continue;
        for (int knock = 0; knock < KNOCKS && status == MR_OK; knock++)
            status = knock_once(probe, (enum knock)knock, endpoint, err);
    }
    return status;
}

enum mr_status
mr_probe_run(void *context, const char *front, const char *back, const char *server_key,
    struct mr_err *err)
{
    struct probe probe = {.context = context, .server_key = server_key};
    enum mr_status status = knock_at_all(&probe, front, err);

    return status ? status : knock_at_all(&probe, back, err);
}
