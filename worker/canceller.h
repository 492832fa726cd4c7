/*
 * Stops SQL in flight on behalf of the session: libpq's cancel blocks until the server answers,
 * so that it has a thread of its own. A cancel never reaches the next attempt: an executor opens
 * its guard for one attempt and closes it before it finishes, and when a cancel is under way just
 * then it waits until that is over. Nor does it reach a COMMIT of ours, unless statements of the
 * handler travel with it. There a cancel either comes before the end, and nothing is committed, or
 * ends a wait for a standby: that commit is in doubt, and settled as if the connection were lost,
 * with a write of its own that waits for the standby once more.
 */
#ifndef MR_WORKER_CANCELLER_H
#define MR_WORKER_CANCELLER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/mailbox.h"
#include "schemas/base/status.h"
#include "schemas/sql/pg.h"
#include "worker/note.h"

/* Attempts that may share a transaction. */
#define MR_GROUP_MAX 256u

/* One per executor; outlives the canceller. */
struct mr_guard {
    _Atomic uint64_t phase;                 /* serial of the attempt, and what goes on */
    struct mr_pg_cancel *_Atomic handle;    /* of the connection; owned */
    _Atomic uint64_t members[MR_GROUP_MAX]; /* serials, while it is open for a group */
    _Atomic uint32_t member_count;
    struct mr_mailbox *box; /* of the executor */
    struct mr_note wake;    /* to it; in use only while it waits for it */
};

void mr_canceller_guard_init(struct mr_guard *guard, struct mr_mailbox *box);
void mr_canceller_guard_fini(struct mr_guard *guard);

/* Executor: from here to close, SQL of this attempt may be cancelled. */
void mr_canceller_guard_open(struct mr_guard *guard, uint64_t serial);
/* ... SQL of these. */
void mr_canceller_guard_open_group(
    struct mr_guard *guard, const uint64_t *serials, uint32_t count);
/* Executor: true, closed. False: a cancel is under way; close it again when MR_NOTE_WAKE
 * came, then it is true. */
bool mr_canceller_guard_close(struct mr_guard *guard);

/* Executor: the handle of a new connection (NULL: there is none), passed in. */
void mr_canceller_guard_give(struct mr_guard *guard, struct mr_pg_cancel *handle);

struct mr_canceller;

enum mr_status mr_canceller_new(struct mr_canceller **out) MR_MUST_CHECK;
/* Ends the thread; every executor has ended before, or never will. */
void mr_canceller_destroy(struct mr_canceller **canceller);

/* Any thread. Nothing happens if the attempt is over by then, or without memory. */
void mr_canceller_ask(
    struct mr_canceller *canceller, struct mr_guard *guard, uint64_t serial);

#endif
