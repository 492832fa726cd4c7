/*
 * Who comes in: what libzmq tells of connections, by file descriptor. Keys are checked by the ZAP
 * thread, rights by message; here it is about what a connection costs us.
 *
 * - A stranger is a connection from which no message has come yet: it may not have logged in. There
 *   are MR_STRANGERS_MAX of them at most, and the last file descriptors are kept free: when it
 *   gets tight the oldest stranger is shown out. Who has a key is no stranger for longer than a
 *   few round trips; who is silent gives way to those who come after it.
 * - A message that never ends is kept by libzmq until it does, and we do not hear of it. So when
 *   memory grows each connection is asked how much came through it since its last message: with
 *   more than a message may have, it is shown out.
 * - Who has logged in and then says nothing is shown out, too.
 * - libzmq numbers peers that set no routing id: five bytes, a zero and a count. It ends the process
 *   when a number is taken that it is about to give. So who claims one is shown out with its
 *   first message; the count begins at random, where only we know.
 * - libzmq ignores who logs in under the routing id of another that is connected, and keeps 10 to
 *   18 KB for it as long as the socket is there. It does not tell which those are; when there
 *   were mute_logins_max of which we heard nothing, the broker ends, to be started again.
 * - A lost connection makes us look at once which worker it was.
 *
 * Shown out is who finds the connection closed; it may come again. The loop's thread.
 */
#ifndef MR_BROKER_DOOR_H
#define MR_BROKER_DOOR_H

#include "broker/broker.h"

#define MR_STRANGERS_MAX 1024u
#define MR_SILENT_MS 7000 /* libzmq cuts off who has not logged in after MR_LOGIN_MS */

/* Totals, but for the first two. */
struct mr_door_counters {
    uint64_t connections, unheard;
    uint64_t accepted;
    uint64_t logins_refused;   /* protocol, mechanism, key; or left without a word */
    uint64_t logins_broken;    /* left in the middle of it */
    uint64_t logins_timed_out; /* not done within MR_LOGIN_MS */
    uint64_t crowded_out;      /* shown out: too many strangers at once */
    uint64_t silent_out;       /* shown out: nothing said within MR_SILENT_MS */
    uint64_t claimed_out;      /* shown out: took a routing id that is libzmq's to give */
    uint64_t mute_logins;      /* of which no message has come, and perhaps never will */
    uint64_t endless_out;      /* shown out: a message without an end */
};

/* After the sockets were opened. MR_NO_MEMORY. */
enum mr_status mr_door_open(struct mr_broker *broker, void *context) MR_MUST_CHECK;
/* Before they are closed. */
void mr_door_close(struct mr_broker *broker);

/* Once a turn, when there may be news. */
void mr_door_look(struct mr_broker *broker);

/* A message of so many bytes, as they came, through this descriptor (ZMQ_SRCFD; -1: that is
 * not known). */
void mr_door_heard(struct mr_broker *broker, enum mr_side side, int fd,
    struct mr_span routing, size_t bytes);

/* Once a turn, after messages were taken in; is_drained: all that there were. When to call again,
 * at the latest. */
int64_t mr_door_watch(struct mr_broker *broker, bool is_drained);

/* All 0 before it is open. */
const struct mr_door_counters *mr_door_counters(const struct mr_broker *broker);

#endif
