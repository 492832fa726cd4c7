/*
 * What an executor is handed at a time: one attempt, or several while they are short, so that
 * a wake-up serves many. The session fills it and gives it; the executor claims item after item,
 * in order, and says that it is idle when it is through. Meanwhile the session may take back
 * what has not been claimed: whoever changes `claim` from open first has the attempt.
 */
#ifndef MR_WORKER_BATCH_H
#define MR_WORKER_BATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "worker/attempt.h"
#include "worker/note.h"

#define MR_BATCH_MAX 256u

enum mr_claim { MR_CLAIM_OPEN, MR_CLAIM_STARTED, MR_CLAIM_TAKEN_BACK };

struct mr_batch_item {
    struct mr_attempt *attempt; /* NULL, for the session, when it is not there any more */
    const struct millrace_kind *group; /* whose jobs it may share a transaction with */
    _Atomic int64_t started_us;        /* monotonic; of the first: when it was given */
    _Atomic int claim;                 /* enum mr_claim */
};

struct mr_batch {
    struct mr_note note; /* BATCH, to the executor */
    uint32_t count;
    struct mr_batch_item items[MR_BATCH_MAX];
};

/* Session, before it gives the batch: empty. */
static inline void
mr_batch_reset(struct mr_batch *batch)
{
    batch->note.type = MR_NOTE_BATCH;
    batch->count = 0;
}

/* After a loss the other one may still hold its row: whoever waits for it waits alone. */
static inline const struct millrace_kind *
mr_batch_group_of(const struct mr_attempt *attempt)
{
    bool may = attempt->kind->group_max > 1 && attempt->number == 1 &&
               !attempt->is_alone && !attempt->is_isolated;

    return may ? attempt->kind : NULL;
}

/* ... one more; not more than MR_BATCH_MAX. */
static inline void
mr_batch_add(struct mr_batch *batch, struct mr_attempt *attempt, int64_t now_us)
{
    struct mr_batch_item *item = &batch->items[batch->count++];

    item->attempt = attempt;
    item->group = mr_batch_group_of(attempt);
    atomic_store_explicit(&item->started_us, now_us, memory_order_relaxed);
    atomic_store_explicit(&item->claim, MR_CLAIM_OPEN, memory_order_relaxed);
}

/* Executor: true, the attempt is its own from now on. */
static inline bool
mr_batch_claim(struct mr_batch_item *item, int64_t now_us)
{
    int open = MR_CLAIM_OPEN;

    atomic_store_explicit(&item->started_us, now_us, memory_order_relaxed);
    return atomic_compare_exchange_strong_explicit(&item->claim, &open, MR_CLAIM_STARTED,
        memory_order_acq_rel, memory_order_acquire);
}

/* Session: true, it has not started and never will. */
static inline bool
mr_batch_take_back(struct mr_batch_item *item)
{
    int open = MR_CLAIM_OPEN;

    return atomic_compare_exchange_strong_explicit(&item->claim, &open,
        MR_CLAIM_TAKEN_BACK, memory_order_acq_rel, memory_order_acquire);
}

static inline enum mr_claim
mr_batch_claim_of(const struct mr_batch_item *item)
{
    return (enum mr_claim)atomic_load_explicit(&item->claim, memory_order_acquire);
}

#endif
