/*
 * What the core decided, done: rows to the writer, messages to peers. Called by the core in the
 * middle of its work; never calls it back. The loop's thread.
 */
#ifndef MR_BROKER_ACT_H
#define MR_BROKER_ACT_H

#include "broker/core/core.h"

/* `context` is the struct mr_broker. */
void mr_act(void *context, const struct mr_action *action);

#endif
