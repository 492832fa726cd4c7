/*
 * The loop: takes messages in, asks the core, sends what came of it, sleeps until the next thing
 * is due. Runs in main's thread, which has all signals blocked.
 */
#ifndef MR_BROKER_LOOP_H
#define MR_BROKER_LOOP_H

#include "broker/broker.h"

/* Returns when the broker has been stopped (MR_OK), or could not go on (broker->fatal). */
enum mr_status mr_loop_run(struct mr_broker *broker) MR_MUST_CHECK;

#endif
