/*
 * What the worker's threads say to each other through their mailboxes. The struct that a note
 * begins goes with it: who takes a note owns the rest.
 *
 *     session -> executor    BATCH    run these           STOP  end
 *     executor -> committer  ATTEMPT  store its result
 *     executor -> session    ATTEMPT  over, not stored    IDLE  give me the next batch
 *     committer -> session   ATTEMPT  over, stored
 *     session -> canceller   CANCEL   stop its SQL        STOP  end
 *     canceller -> executor  WAKE     the cancel is over
 *     session -> executor    NUDGE    look at `stop` of the attempt that runs in your child
 *     executor -> session    NEWS     look at the attempt that runs; in children
 *     executor -> session    SEAL     a follow-up job, and back when that is done; in children
 *     main -> session        DRAIN
 *     session -> committer   HURRY    give back what cannot be stored now; STOP  end
 *     session -> main        OVER
 */
#ifndef MR_WORKER_NOTE_H
#define MR_WORKER_NOTE_H

#include "schemas/base/mailbox.h"

enum mr_note_type {
    MR_NOTE_ATTEMPT,
    MR_NOTE_BATCH,
    MR_NOTE_IDLE,
    MR_NOTE_CANCEL,
    MR_NOTE_WAKE,
    MR_NOTE_NUDGE,
    MR_NOTE_NEWS,
    MR_NOTE_SEAL,
    MR_NOTE_HURRY,
    MR_NOTE_DRAIN,
    MR_NOTE_STOP,
    MR_NOTE_OVER,
};

struct mr_note {
    struct mr_node node; /* first: a node is its note */
    enum mr_note_type type;
};

static inline void
mr_note_give(struct mr_mailbox *box, struct mr_note *note)
{
    mr_mailbox_give(box, &note->node);
}

/* Many notes, then one ring. */
static inline void
mr_note_push(struct mr_mailbox *box, struct mr_note *note)
{
    mr_mailbox_push(box, &note->node);
}

static inline struct mr_note *
mr_note_take(struct mr_mailbox *box)
{
    return (struct mr_note *)(void *)mr_mailbox_take(box);
}

#endif
