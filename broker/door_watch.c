#include "broker/door_priv.h"

#include "schemas/base/log.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOOK_US 50000           /* at our memory, when there is a turn anyway */
#define LOOK_IDLE_US 250000     /* nobody is woken more often for that */
#define LOOK_AGAIN_US 10000     /* at those that are suspected */
#define GROWTH_BYTES (8u << 20) /* of our memory: no reason to ask so many connections */
/* A message in frames, encrypted: 42 bytes more for each 2048; and what a login takes. */
#define ENDLESS_BYTES (MR_MESSAGE_BYTES_MAX + MR_MESSAGE_BYTES_MAX / 32 + (64u << 10))
/* libzmq keeps the whole buffer of 8 KiB, and a table for it, because of one small frame in it: so
 * small segments cost more than their bytes. The shortest that TCP is used with has 536. */
#define ENDLESS_SEGMENTS (ENDLESS_BYTES / 512)
#define SEGMENT_COST (12u << 10)
#define SEGMENT_BYTES_MIN 512u
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

/* What came through a connection and belongs to no message that we have. False: we do not know,
 * it is not TCP. */
static bool
ask(struct mr_door_peer *peer, uint32_t fd)
{
    struct tcp_info info = {0};
    socklen_t n = sizeof info;
    int unread = 0;
    uint64_t taken, more;
    uint32_t segments;

    if (getsockopt((int)fd, IPPROTO_TCP, TCP_INFO, &info, &n) != 0 ||
        ioctl((int)fd, FIONREAD, &unread) != 0)
        return false;
    taken = (uint64_t)info.tcpi_bytes_received - (uint64_t)unread;
    more = taken - peer->taken;
    segments = info.tcpi_data_segs_in - peer->segments;
    peer->bytes_open = taken > peer->heard ? taken - peer->heard : 0;
    if (peer->bytes_open >= more)
        peer->segments_open += segments;
    else
        peer->segments_open = (uint32_t)(segments * peer->bytes_open / more);
    peer->taken = taken;
    peer->segments += segments;
    return true;
}

static uint64_t
cost_of(const struct mr_door_peer *peer)
{
    return peer->bytes_open / SEGMENT_BYTES_MIN >= peer->segments_open
               ? peer->bytes_open
               : (uint64_t)peer->segments_open * SEGMENT_COST;
}

/* Twice in a row, since what came whole just now may not have reached us yet. */
static void
judge(struct mr_broker *broker, uint32_t fd, bool is_drained)
{
    struct mr_door *door = broker->door;
    struct mr_door_peer *peer = &door->peers[fd];

    door->has_suspects = true;
    if (!peer->suspect_us) {
        peer->suspect_us = broker->now.mono_us;
        return;
    }
    if ((!is_drained && broker->now.mono_us - peer->suspect_us <= BUSY_US) ||
        !mr_door_show_out(door, fd))
        return;
    peer->is_shut = true;
    door->counters.endless_out++;
    mr_log(MR_LOG_WARN, "endless-message",
        "side=%s bytes=%llu why=\"a connection that sent so much of a message without "
        "its "
        "end was closed: no message may have more, or there were too many\"",
        peer->side == MR_FRONT ? "front" : "back", (unsigned long long)peer->bytes_open);
}

static bool
is_there(const struct mr_door_peer *peer)
{
    return peer->state != MR_DOOR_NOBODY && !peer->is_shut;
}

static bool
is_endless(const struct mr_door_peer *peer)
{
    return peer->bytes_open > ENDLESS_BYTES || peer->segments_open > ENDLESS_SEGMENTS;
}

/* The larger ones, until the others may stay. One by one would be too slow: who sends so much
 * sends more meanwhile. */
static void
judge_hoarders(struct mr_broker *broker, uint64_t sum, uint64_t most, bool is_drained)
{
    struct mr_door *door = broker->door;
    uint64_t limit = (uint64_t)broker->settings->unfinished_mib_max << 20;

    for (uint32_t fd = 0; fd < door->peers_end; fd++) {
        struct mr_door_peer *peer = &door->peers[fd];
        uint64_t cost = cost_of(peer);

        if (!is_there(peer) || is_endless(peer))
            continue;
        if (sum <= limit || cost < most / 2) {
            peer->suspect_us = 0;
            continue;
        }
        judge(broker, fd, is_drained);
        sum -= peer->is_shut ? cost : 0;
    }
}

static void
ask_all(struct mr_broker *broker, bool is_drained)
{
    struct mr_door *door = broker->door;
    uint64_t sum = 0, most = 0;

    door->has_suspects = false;
    for (uint32_t fd = 0; fd < door->peers_end; fd++) {
        struct mr_door_peer *peer = &door->peers[fd];

        if (!is_there(peer) || !ask(peer, fd))
            continue;
        sum += cost_of(peer);
        if (is_endless(peer))
            judge(broker, fd, is_drained);
        else if (cost_of(peer) > most)
            most = cost_of(peer);
    }
    judge_hoarders(broker, sum, most, is_drained);
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
    if (door->has_suspects)
        door->look_us = broker->now.mono_us + LOOK_AGAIN_US;
}

static void
watch_mute(struct mr_broker *broker)
{
    uint64_t mute = broker->door->counters.mute_logins;

    if (mute <= (uint64_t)broker->settings->mute_logins_max || broker->fatal.status)
        return;
    (void)mr_err_setf(&broker->fatal, MR_NO_MEMORY,
        "The broker ends, to be started again.",
        "Start it again, and find out whose key it is: `ss -tn` shows where they come "
        "from.",
        "%llu connections logged in and never said a word; libzmq may keep memory for "
        "each.",
        (unsigned long long)mute);
}

int64_t
mr_door_watch(struct mr_broker *broker, bool is_drained)
{
    struct mr_door *door = broker->door;
    int64_t next_us, look_us;

    if (door->counters.connections == 0)
        return INT64_MAX;
    watch_memory(broker, is_drained);
    watch_mute(broker);
    next_us = mr_door_end_silence(broker, is_drained);
    look_us = door->look_us + (door->has_suspects ? 0 : LOOK_IDLE_US - LOOK_US);
    return next_us < look_us ? next_us : look_us;
}
