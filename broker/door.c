#include "broker/door.h"

#include "schemas/base/log.h"

#include <zmq.h>

#include <stdio.h>
#include <string.h>

#define CLOSED_US 500000
#define PROBE_US 10000
#define ENDPOINT_BYTES 256

static const char *const names[2] = {[MR_FRONT] = "front", [MR_BACK] = "back"};

static enum mr_status
watch(void *context, void *socket, const char *name, void **out)
{
    char endpoint[64];

    (void)snprintf(endpoint, sizeof endpoint, "inproc://door-%s", name);
    *out = NULL;
    if (zmq_socket_monitor(
            socket, endpoint, ZMQ_EVENT_ACCEPT_FAILED | ZMQ_EVENT_DISCONNECTED) != 0)
        return MR_NO_MEMORY;
    *out = zmq_socket(context, ZMQ_PAIR);
    return *out && zmq_connect(*out, endpoint) == 0 ? MR_OK : MR_NO_MEMORY;
}

enum mr_status
mr_door_open(struct mr_broker *broker, void *context)
{
    for (int side = 0; side < 2; side++) {
        struct mr_door *door = &broker->doors[side];

        if (watch(context, broker->sockets[side], names[side], &door->events))
            return MR_NO_MEMORY;
    }
    return MR_OK;
}

void
mr_door_close(struct mr_broker *broker)
{
    int linger_ms = 0;

    for (int side = 0; side < 2; side++) {
        struct mr_door *door = &broker->doors[side];

        if (!door->events)
            continue;
        (void)zmq_socket_monitor(broker->sockets[side], NULL, 0);
        (void)zmq_setsockopt(door->events, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
        (void)zmq_close(door->events);
        door->events = NULL;
    }
}

/* What has happened since the last look, as ZMQ_EVENT_*. */
static uint16_t
read_events(const struct mr_door *door)
{
    char frame[ENDPOINT_BYTES];
    uint16_t seen = 0;
    bool is_first = true; /* frame of an event: its number; then the endpoint */
    int n;

    while ((n = zmq_recv(door->events, frame, sizeof frame, ZMQ_DONTWAIT)) >= 0) {
        uint16_t event;

        if (is_first && n >= (int)sizeof event) {
            memcpy(&event, frame, sizeof event);
            seen |= event;
        }
        is_first = !is_first;
    }
    return seen;
}

typedef int (*each_fn)(void *socket, const char *endpoint);

/* False if one of the endpoints could not be done. */
static bool
for_each(void *socket, const char *bound, each_fn fn)
{
    const char *rest = bound;
    char endpoint[ENDPOINT_BYTES];
    bool is_good = true;

    while (mr_settings_next_endpoint(&rest, endpoint, sizeof endpoint))
        is_good = fn(socket, endpoint) == 0 && is_good;
    return is_good;
}

static int64_t
look(struct mr_broker *broker, enum mr_side side)
{
    struct mr_door *door = &broker->doors[side];
    void *socket = broker->sockets[side];
    int64_t now = broker->now.mono_us;
    uint16_t seen = read_events(door);

    /* Who it was libzmq does not tell: all that hold jobs are tried, once the pipe is gone. */
    if (side == MR_BACK && seen & ZMQ_EVENT_DISCONNECTED &&
        now >= broker->forgives_until_us && broker->probe_us > now + PROBE_US)
        broker->probe_us = now + PROBE_US;
    if (seen & ZMQ_EVENT_ACCEPT_FAILED && !door->reopen_us) {
        mr_log(MR_LOG_WARN, "no-descriptors",
            "side=%s why=\"no peer can be let in\" todo=\"raise the limit of open files "
            "(ulimit -n), or let fewer connect\"",
            names[side]);
        (void)for_each(socket, broker->bound[side], zmq_unbind);
        door->reopen_us = now + CLOSED_US;
    } else if (door->reopen_us && now >= door->reopen_us) {
        /* Listening needs a descriptor, too. All or none: then all are tried again. */
        bool is_open = for_each(socket, broker->bound[side], zmq_bind);

        if (!is_open)
            (void)for_each(socket, broker->bound[side], zmq_unbind);
        door->reopen_us = is_open ? 0 : now + CLOSED_US;
    }
    return door->reopen_us ? door->reopen_us : INT64_MAX;
}

int64_t
mr_door_look(struct mr_broker *broker)
{
    int64_t front = look(broker, MR_FRONT), back = look(broker, MR_BACK);

    return front < back ? front : back;
}
