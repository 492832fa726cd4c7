/*
 * What the broker can tell at once about itself: each writes one msgpack value. Shapes are on
 * the page schemas/wire/README.md. The loop's thread.
 */
#ifndef MR_BROKER_CALL_LISTS_H
#define MR_BROKER_CALL_LISTS_H

#include "broker/broker.h"

void mr_call_lists_stats(const struct mr_broker *broker, struct mr_wr *wr);
void mr_call_lists_queues(const struct mr_broker *broker, struct mr_wr *wr);
void mr_call_lists_workers(const struct mr_broker *broker, struct mr_wr *wr);
void mr_call_lists_usage(const struct mr_broker *broker, struct mr_wr *wr);
void mr_call_lists_kinds(const struct mr_broker *broker, struct mr_wr *wr);

#endif
