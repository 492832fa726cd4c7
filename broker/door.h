/*
 * What libzmq tells of connections. A lost one makes us look at once which worker it was. And what
 * to do when the process has no file descriptor left for a peer that knocks: libzmq would try
 * to let it in again and again, with a whole processor. So the listening end is taken away for
 * a moment; those who are connected see nothing of it, others try again by themselves. The
 * loop's thread.
 */
#ifndef MR_BROKER_DOOR_H
#define MR_BROKER_DOOR_H

#include "broker/broker.h"

/* After the sockets were opened. MR_NO_MEMORY. */
enum mr_status mr_door_open(struct mr_broker *broker, void *context) MR_MUST_CHECK;
/* Before they are closed. */
void mr_door_close(struct mr_broker *broker);

/* Once a turn; returns when to look again (INT64_MAX: when there is something to read). */
int64_t mr_door_look(struct mr_broker *broker);

#endif
