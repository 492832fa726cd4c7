#include "broker/door_priv.h"

#include "schemas/base/log.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOOK_US 100000
#define GROWTH_BYTES (8u << 20) /* of our memory: no reason to ask so many connections */
/* Of a message in frames, encrypted: 42 bytes for each 2048, and what a login takes. */
#define ENDLESS_BYTES (MR_MESSAGE_BYTES_MAX + MR_MESSAGE_BYTES_MAX / 32 + (64u << 10))
/* A loop with so much to do that it never has taken in all may be slow to hear of a message. */
#define BUSY_US 5000000

static uint64_t
resident_bytes(const struct mr_door *door)
{
    char text[64];
    unsigned long long size, pages = 0;
    ssize_t n = door->statm >= 0 ? pread(door->statm, text, sizeof text - 1, 0) : -1;

    if (n <= 0)
        return 0;
    text[n] = '\0';
    return sscanf(text, "%llu %llu", &size, &pages) == 2
               ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE)
               : 0;
}

/* Bytes that libzmq has taken from a connection so far; 0 for what is not TCP. */
static uint64_t
taken_from(uint32_t fd)
{
    struct tcp_info info = {0};
    socklen_t n = sizeof info;
    int unread = 0;

    if (getsockopt((int)fd, IPPROTO_TCP, TCP_INFO, &info, &n) != 0 ||
        ioctl((int)fd, FIONREAD, &unread) != 0)
        return 0;
    return (uint64_t)info.tcpi_bytes_received - (uint64_t)unread;
}

/* What has come whole since the last time is not held against it. */
static bool
is_too_much(struct mr_door_peer *peer, uint32_t fd)
{
    uint64_t taken = taken_from(fd);

    if (peer->heard != peer->heard_before) {
        peer->heard_before = peer->heard;
        peer->taken = taken;
    }
    return taken > peer->taken && taken - peer->taken > ENDLESS_BYTES;
}

/* Twice in a row, since what came whole just now may not have reached us yet. */
static void
judge(struct mr_broker *broker, uint32_t fd, bool is_drained)
{
    struct mr_door *door = broker->door;
    struct mr_door_peer *peer = &door->peers[fd];

    if (!is_too_much(peer, fd)) {
        peer->suspect_us = 0;
        return;
    }
    if (!peer->suspect_us) {
        peer->suspect_us = broker->now.mono_us;
    } else if ((is_drained || broker->now.mono_us - peer->suspect_us > BUSY_US) &&
               mr_door_show_out(door, fd)) {
        door->counters.endless_out++;
        mr_log(MR_LOG_WARN, "endless-message",
            "side=%s why=\"a connection sent more than a message may have, without an "
            "end: it was closed\"",
            peer->side == MR_FRONT ? "front" : "back");
    }
    door->has_suspects = true;
}

static void
ask_all(struct mr_broker *broker, bool is_drained)
{
    struct mr_door *door = broker->door;

    door->has_suspects = false;
    for (uint32_t fd = 0; fd < door->peers_end; fd++) {
        if (door->peers[fd].state != MR_DOOR_NOBODY)
            judge(broker, fd, is_drained);
    }
}

static void
watch_memory(struct mr_broker *broker, bool is_drained)
{
    struct mr_door *door = broker->door;
    uint64_t resident;

    if (broker->now.mono_us < door->look_us)
        return;
    door->look_us = broker->now.mono_us + LOOK_US;
    resident = resident_bytes(door);
    if (resident < door->resident)
        door->resident = resident;
    if (door->has_suspects || resident - door->resident >= GROWTH_BYTES) {
        door->resident = resident;
        ask_all(broker, is_drained);
    }
}

int64_t
mr_door_watch(struct mr_broker *broker, bool is_drained)
{
    struct mr_door *door = broker->door;
    int64_t next_us;

    if (door->counters.connections == 0)
        return INT64_MAX;
    watch_memory(broker, is_drained);
    next_us = mr_door_end_silence(broker, is_drained);
    return next_us < door->look_us ? next_us : door->look_us;
}
