#include "broker/door.h"

#include "schemas/base/log.h"

#include <zmq.h>

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define COMPLAIN_US 10000000
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
            socket, endpoint, ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED) != 0)
        return MR_NO_MEMORY;
    *out = zmq_socket(context, ZMQ_PAIR);
    return *out && zmq_connect(*out, endpoint) == 0 ? MR_OK : MR_NO_MEMORY;
}

enum mr_status
mr_door_open(struct mr_broker *broker, void *context)
{
    for (int side = 0; side < 2; side++) {
        if (watch(
                context, broker->sockets[side], names[side], &broker->door_events[side]))
            return MR_NO_MEMORY;
    }
    return MR_OK;
}

void
mr_door_close(struct mr_broker *broker)
{
    int linger_ms = 0;

    for (int side = 0; side < 2; side++) {
        void *events = broker->door_events[side];

        if (!events)
            continue;
        (void)zmq_socket_monitor(broker->sockets[side], NULL, 0);
        (void)zmq_setsockopt(events, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
        (void)zmq_close(events);
        broker->door_events[side] = NULL;
    }
}

/* The kernel gives the lowest number that is free: a high one says how many are taken. Workers
 * may go further than front ends; what nobody gets is for the database and for files. */
static bool
is_one_of_the_last(enum mr_side side, int fd)
{
    static const struct {
        rlim_t part, most;
    } kept[2] = {[MR_FRONT] = {8, 64}, [MR_BACK] = {16, 32}};
    struct rlimit limit;
    rlim_t n;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return false;
    n = limit.rlim_cur / kept[side].part;
    n = n < kept[side].most ? n : kept[side].most;
    return (rlim_t)fd + n >= limit.rlim_cur;
}

static void
show_out(struct mr_broker *broker, enum mr_side side, int fd)
{
    /* Should it have left meanwhile, and another have its number: that one comes again, too. */
    (void)shutdown(fd, SHUT_RDWR);
    if (broker->now.mono_us < broker->complain_us)
        return;
    broker->complain_us = broker->now.mono_us + COMPLAIN_US;
    mr_log(MR_LOG_WARN, "no-descriptors",
        "side=%s why=\"hardly any file descriptor is left; new peers are sent away\" "
        "todo=\"raise the limit of open files (ulimit -n), or let fewer connect\"",
        names[side]);
}

static void
on_event(struct mr_broker *broker, enum mr_side side, uint16_t event, int value)
{
    int64_t soon_us = broker->now.mono_us + PROBE_US;

    if (event == ZMQ_EVENT_ACCEPTED && is_one_of_the_last(side, value))
        show_out(broker, side, value);
    /* Who it was libzmq does not tell: all that hold jobs are tried, once the pipe is gone. */
    if (event == ZMQ_EVENT_DISCONNECTED && side == MR_BACK &&
        broker->now.mono_us >= broker->forgives_until_us && broker->probe_us > soon_us)
        broker->probe_us = soon_us;
}

/* Two frames: number and value of the event; the endpoint. */
static void
look(struct mr_broker *broker, enum mr_side side)
{
    void *events = broker->door_events[side];
    char frame[ENDPOINT_BYTES];
    int n;

    while ((n = zmq_recv(events, frame, sizeof frame, ZMQ_DONTWAIT)) >= 0) {
        uint16_t event;
        int32_t value;

        if (n != (int)(sizeof event + sizeof value))
            continue;
        memcpy(&event, frame, sizeof event);
        memcpy(&value, frame + sizeof event, sizeof value);
        on_event(broker, side, event, value);
    }
}

void
mr_door_look(struct mr_broker *broker)
{
    look(broker, MR_FRONT);
    look(broker, MR_BACK);
}
