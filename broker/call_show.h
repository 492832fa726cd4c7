/*
 * The answer to `show`: the stored job, and what is in memory of it. The loop's thread.
 */
#ifndef MR_BROKER_CALL_SHOW_H
#define MR_BROKER_CALL_SHOW_H

#include "broker/broker.h"
#include "broker/task.h"

/* Nil if there is no such job, or if its queue, kind and owner are not for this peer. `scope`: whose
 * jobs it may be told of from memory. */
void mr_call_show_write(const struct mr_broker *broker, uint32_t peer,
    enum mr_scope scope, struct mr_wr *wr, const struct mr_task *task);

#endif
