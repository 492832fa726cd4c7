/*
 * The method `drain` for workers: who is meant, and what is said of it. The loop's thread.
 */
#ifndef MR_BROKER_CALL_DRAIN_H
#define MR_BROKER_CALL_DRAIN_H

#include "broker/broker.h"

#define MR_CALL_DRAIN_BYTES 1152

/* Tell all workers of that name, or whose instance begins so, to end in order. Returns how many;
 * `text` says which, as far as there is room, or that there is none. */
uint32_t mr_call_drain_workers(
    struct mr_broker *broker, struct mr_span who, char *text, size_t room);

#endif
