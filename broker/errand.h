/*
 * The loop's side of the writer: what has to be stored or looked up is gathered into tasks
 * while the writer is busy with the last one of its type; whatever gathered is the next one.
 * Answers go to the core. The loop's thread.
 */
#ifndef MR_BROKER_ERRAND_H
#define MR_BROKER_ERRAND_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/broker.h"
#include "broker/task.h"

struct mr_errand;

enum mr_status mr_errand_new(
    struct mr_errand **out, struct mr_broker *broker) MR_MUST_CHECK;
/* After the writer has stopped. */
void mr_errand_destroy(struct mr_errand **errand);

/* Copied. Memory is bounded by what the core lets wait. */
void mr_errand_store(struct mr_errand *errand, const struct mr_store_op *op);
void mr_errand_end_sessions(struct mr_errand *errand, struct mr_uuid instance);
void mr_errand_find(struct mr_errand *errand, struct mr_uuid id);
void mr_errand_read(struct mr_errand *errand, struct mr_uuid id, bool with_history);
void mr_errand_sweep(struct mr_errand *errand);
void mr_errand_add_kind(struct mr_errand *errand, struct mr_span kind);

/* The shard is ours: load what is unfinished. */
void mr_errand_load(struct mr_errand *errand);

/* A request of a person. MR_BUSY when too many are under way; the task is freed then. */
enum mr_status mr_errand_ask(
    struct mr_errand *errand, struct mr_task *task) MR_MUST_CHECK;

/* Take all answers that are there and tell the core. */
void mr_errand_collect(struct mr_errand *errand);

/* Give the writer what has gathered. At the end of a turn. */
void mr_errand_dispatch(struct mr_errand *errand);

/* When the loop has to come here again (monotonic), INT64_MAX for never. */
int64_t mr_errand_next_us(const struct mr_errand *errand);

/* Nothing waits for a commit and nothing is under way. */
bool mr_errand_is_idle(const struct mr_errand *errand);

#endif
