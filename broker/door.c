#include "broker/door.h"

#include "broker/door_priv.h"
#include "broker/socket.h"
#include "schemas/base/log.h"

#include <zmq.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define COMPLAIN_US 10000000
#define PROBE_US 10000
#define ENDPOINT_BYTES 256
#define EARLIER_MAX 64 /* connections before we were told of them */
#define PEERS_MAX (1u << 17)
#define EVENTS                                                                           \
    (ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED |       \
        ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL)

static const char *const names[2] = {[MR_FRONT] = "front", [MR_BACK] = "back"};

/* ---- open, close --------------------------------------------------------------------------------- */

static enum mr_status
watch(void *context, void *socket, const char *name, void **out)
{
    char endpoint[64];
    int no_limit = 0;

    (void)snprintf(endpoint, sizeof endpoint, "inproc://door-%s", name);
    *out = NULL;
    if (zmq_socket_monitor(socket, endpoint, EVENTS) != 0)
        return MR_NO_MEMORY;
    *out = zmq_socket(context, ZMQ_PAIR);
    /* With a limit libzmq would wait for us, holding a lock that zmq_socket_monitor wants. */
    return *out && zmq_setsockopt(*out, ZMQ_RCVHWM, &no_limit, sizeof no_limit) == 0 &&
                   zmq_connect(*out, endpoint) == 0
               ? MR_OK
               : MR_NO_MEMORY;
}

static uint32_t
descriptors_max(void)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < PEERS_MAX
               ? (uint32_t)limit.rlim_cur
               : PEERS_MAX;
}

enum mr_status
mr_door_open(struct mr_broker *broker, void *context)
{
    struct mr_door *door = calloc(1, sizeof *door);

    broker->door = door;
    if (!door)
        return MR_NO_MEMORY;
    door->oldest = door->newest = MR_NO_FD;
    door->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    door->peers_max = descriptors_max();
    door->peers = calloc(door->peers_max, sizeof *door->peers);
    if (!door->peers)
        return MR_NO_MEMORY;
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
    struct mr_door *door = broker->door;
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
    if (!door)
        return;
    if (door->statm >= 0)
        (void)close(door->statm);
    free(door->peers);
    free(door);
    broker->door = NULL;
}

const struct mr_door_counters *
mr_door_counters(const struct mr_broker *broker)
{
    static const struct mr_door_counters none;

    return broker->door ? &broker->door->counters : &none;
}

/* ---- strangers ------------------------------------------------------------------------------------ */

static uint64_t
cookie_of(uint32_t fd)
{
    uint64_t cookie = 0;
    socklen_t n = sizeof cookie;

    return getsockopt((int)fd, SOL_SOCKET, SO_COOKIE, &cookie, &n) == 0 ? cookie : 0;
}

bool
mr_door_show_out(const struct mr_door *door, uint32_t fd)
{
    return cookie_of(fd) == door->peers[fd].cookie && shutdown((int)fd, SHUT_RDWR) == 0;
}

static void
list(struct mr_door *door, uint32_t fd)
{
    struct mr_door_peer *peer = &door->peers[fd];

    peer->state = MR_DOOR_STRANGER;
    peer->newer = MR_NO_FD;
    peer->older = door->newest;
    if (door->newest == MR_NO_FD)
        door->oldest = fd;
    else
        door->peers[door->newest].newer = fd;
    door->newest = fd;
    door->counters.unheard++;
}

static void
unlist(struct mr_door *door, uint32_t fd)
{
    struct mr_door_peer *peer = &door->peers[fd];

    if (peer->older == MR_NO_FD)
        door->oldest = peer->newer;
    else
        door->peers[peer->older].newer = peer->newer;
    if (peer->newer == MR_NO_FD)
        door->newest = peer->older;
    else
        door->peers[peer->newer].older = peer->older;
    peer->state = MR_DOOR_KNOWN;
    door->counters.unheard--;
}

static bool
show_out_oldest(struct mr_door *door)
{
    uint32_t fd = door->oldest;
    bool is_out;

    /* It counts as gone now, though libzmq closes it a little later. */
    unlist(door, fd);
    is_out = mr_door_show_out(door, fd);
    if (is_out) {
        door->peers[fd].is_leaving = true;
        door->leaving++;
    }
    return is_out;
}

int64_t
mr_door_end_silence(struct mr_broker *broker, bool is_drained)
{
    struct mr_door *door = broker->door;
    int64_t until_us;

    while (door->oldest != MR_NO_FD) {
        until_us = door->peers[door->oldest].since_us + MR_SILENT_MS * INT64_C(1000);
        if (broker->now.mono_us < until_us)
            return until_us;
        if (!is_drained)
            return broker->now.mono_us;
        if (show_out_oldest(door))
            door->counters.silent_out++;
    }
    return INT64_MAX;
}

static void
complain(struct mr_broker *broker)
{
    struct mr_door *door = broker->door;

    if (broker->now.mono_us < door->complain_us)
        return;
    door->complain_us = broker->now.mono_us + COMPLAIN_US;
    mr_log(MR_LOG_WARN, "no-descriptors",
        "connections=%llu why=\"hardly any file descriptor is left; who has said nothing "
        "yet is sent away\" todo=\"raise the limit of open files (ulimit -n), or let "
        "fewer "
        "connect\"",
        (unsigned long long)door->counters.connections);
}

static void
make_room(struct mr_broker *broker)
{
    struct mr_door *door = broker->door;

    if (door->wanted)
        complain(broker);
    while (door->oldest != MR_NO_FD &&
           (door->leaving < door->wanted || door->counters.unheard > MR_STRANGERS_MAX)) {
        if (show_out_oldest(door))
            door->counters.crowded_out++;
    }
    door->wanted = 0;
}

/* ---- events --------------------------------------------------------------------------------------- */

/* The kernel gives the lowest number that is free: a high one says how many are taken. Workers
 * may go further than front ends; what nobody gets is for the database and for files. */
static uint32_t
wanted_because_of(enum mr_side side, uint32_t fd)
{
    static const struct {
        rlim_t part, most;
    } kept[2] = {[MR_FRONT] = {8, 64}, [MR_BACK] = {16, 32}};
    struct rlimit limit;
    rlim_t n;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return 0;
    n = limit.rlim_cur / kept[side].part;
    n = n < kept[side].most ? n : kept[side].most;
    return fd + n >= limit.rlim_cur ? (uint32_t)(fd + n + 1 - limit.rlim_cur) : 0;
}

static void
on_gone(struct mr_broker *broker, uint32_t fd)
{
    struct mr_door *door = broker->door;
    struct mr_door_peer *peer = &door->peers[fd];
    bool is_late = broker->now.mono_us - peer->since_us >= MR_LOGIN_MS * INT64_C(950);

    if (peer->state == MR_DOOR_NOBODY)
        return;
    if (peer->state == MR_DOOR_STRANGER) {
        if (!door->is_failing[peer->side])
            door->counters.logins_refused++;
        else if (is_late)
            door->counters.logins_timed_out++;
        else
            door->counters.logins_broken++;
        unlist(door, fd);
    }
    door->is_failing[peer->side] = false;
    door->leaving -= peer->is_leaving;
    peer->is_leaving = false;
    peer->state = MR_DOOR_NOBODY;
    door->counters.connections--;
}

static void
on_accepted(struct mr_broker *broker, enum mr_side side, uint32_t fd)
{
    struct mr_door *door = broker->door;
    uint32_t wanted;

    if (door->peers[fd].state != MR_DOOR_NOBODY)
        on_gone(broker, fd); /* an event of it was lost */
    door->peers[fd] = (struct mr_door_peer){
        .cookie = cookie_of(fd), .since_us = broker->now.mono_us, .side = (uint8_t)side};
    if (fd >= door->peers_end)
        door->peers_end = fd + 1;
    door->counters.accepted++;
    door->counters.connections++;
    list(door, fd);
    wanted = wanted_because_of(side, fd);
    if (wanted > door->wanted)
        door->wanted = wanted;
}

static void
on_event(struct mr_broker *broker, enum mr_side side, uint16_t event, int value)
{
    struct mr_door *door = broker->door;
    int64_t soon_us = broker->now.mono_us + PROBE_US;

    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL) {
        door->is_failing[side] = true; /* its DISCONNECTED, with the number, is next */
        return;
    }
    if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
        door->counters.mute_logins++;
        return;
    }
    if (value < 0)
        return;
    if ((uint32_t)value >= door->peers_max) {
        if (event == ZMQ_EVENT_ACCEPTED)
            (void)shutdown(value, SHUT_RDWR);
        return;
    }
    if (event == ZMQ_EVENT_ACCEPTED) {
        on_accepted(broker, side, (uint32_t)value);
        return;
    }
    on_gone(broker, (uint32_t)value);
    /* Who it was libzmq does not tell: all that hold jobs are tried, once the pipe is gone. */
    if (side == MR_BACK && broker->now.mono_us >= broker->forgives_until_us &&
        broker->probe_us > soon_us)
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
    make_room(broker);
}

/* ---- messages ------------------------------------------------------------------------------------- */

/* One of libzmq's form that it cannot have given yet. */
static bool
is_claimed(const struct mr_broker *broker, enum mr_side side, struct mr_span routing)
{
    uint32_t number = 0, away;

    if (routing.n != 5 || routing.p[0] != 0)
        return false;
    for (size_t i = 1; i < routing.n; i++)
        number = number << 8 | routing.p[i];
    away = number - broker->first_numbers[side];
    if (away > UINT32_MAX / 2)
        away = -away; /* connected before we asked */
    return away > broker->door->counters.accepted + EARLIER_MAX;
}

void
mr_door_heard(struct mr_broker *broker, enum mr_side side, int fd, struct mr_span routing,
    size_t bytes)
{
    struct mr_door *door = broker->door;

    if (fd < 0 || (uint32_t)fd >= door->peers_max)
        return;
    door->peers[fd].heard += bytes;
    if (door->peers[fd].state == MR_DOOR_KNOWN)
        return;
    /* That it was accepted was told before, but perhaps not read. */
    mr_door_look(broker);
    if (door->peers[fd].state != MR_DOOR_STRANGER)
        return;
    door->peers[fd].heard = bytes;
    door->counters.mute_logins -= door->counters.mute_logins > 0;
    unlist(door, (uint32_t)fd);
    if (is_claimed(broker, side, routing) && mr_door_show_out(door, (uint32_t)fd))
        door->counters.claimed_out++;
}
