/*
 * What libzmq tells of connections. A lost one makes us look at once which worker it was. And a
 * process that has no file descriptor left would be asked by libzmq for one again and again, with
 * a whole processor: so the last ones are kept, and whoever comes in on one of them is shown
 * out again; it tries later by itself. Those who were there before see nothing of it. The
 * loop's thread.
 */
#ifndef MR_BROKER_DOOR_H
#define MR_BROKER_DOOR_H

#include "broker/broker.h"

/* After the sockets were opened. MR_NO_MEMORY. */
enum mr_status mr_door_open(struct mr_broker *broker, void *context) MR_MUST_CHECK;
/* Before they are closed. */
void mr_door_close(struct mr_broker *broker);

/* Once a turn. */
void mr_door_look(struct mr_broker *broker);

#endif
