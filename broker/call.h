/*
 * CALL and REPLY: everything that people and tools ask. Methods, their arguments and results are
 * in one table here and on the page schemas/wire/README.md. What needs the database goes
 * through the writer and is answered when it comes back. The loop's thread.
 */
#ifndef MR_BROKER_CALL_H
#define MR_BROKER_CALL_H

#include "broker/broker.h"
#include "broker/task.h"

enum mr_status mr_call_on_call(
    struct mr_broker *broker, uint32_t peer, const struct mr_msg *msg) MR_MUST_CHECK;

/* The writer has done what was asked: REPLY. The task stays the caller's. */
void mr_call_answer(struct mr_broker *broker, const struct mr_task *task);

#endif
