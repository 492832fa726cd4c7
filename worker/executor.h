/*
 * A thread that runs attempts, one at a time: one connection, one arena. It is given a batch of
 * them only when it is idle; after its run each goes to the session (it is over) or to the
 * committer (its result is to be stored), and at the end the executor says that it is idle. Attempts of
 * isolated kinds it passes on to its child process (child.h). The same thread, alone with a main
 * thread, is what runs them there (isolated.h).
 */
#ifndef MR_WORKER_EXECUTOR_H
#define MR_WORKER_EXECUTOR_H

#include <stdbool.h>

#include "schemas/base/mailbox.h"
#include "schemas/base/status.h"
#include "worker/batch.h"
#include "worker/canceller.h"
#include "worker/child.h"
#include "worker/opener.h"

struct mr_executor;

struct mr_executor_conf {
    uint32_t number;
    const char *conninfo, *db_name; /* borrowed, as is everything here */
    struct mr_span worker;          /* name for people */
    struct mr_mailbox *session, *committer;
    const struct mr_opener *opener; /* NULL: payloads are open already */
    const struct mr_child_conf
        *child; /* all but what is the executor's; NULL: nothing is isolated */
    void *context;
    void (*on_start)(void *context); /* own thread, first of all; may be NULL */
    void (*on_news)(void *context);  /* own thread: as in struct mr_run_conf */
    /* Own thread, without an opener: somebody else seals it and says mr_executor_sealed. NULL:
     * follow-up jobs are not sealed. */
    void (*ask_to_seal)(void *context, struct mr_seal_ask *ask);
};

/* MR_NOTE_IDLE carries this. */
struct mr_executor_idle {
    struct mr_note note;
    struct mr_executor *executor;
};

enum mr_status mr_executor_new(
    struct mr_executor **out, const struct mr_executor_conf *conf) MR_MUST_CHECK;

/* Give it a batch; it is idle. Session's thread. */
void mr_executor_start(struct mr_executor *executor, struct mr_batch *batch);

/* An attempt that it runs in its child has to stop: attempt->stop says why. Session's thread. */
void mr_executor_nudge(struct mr_executor *executor);

/* The answer to ask_to_seal is there. */
void mr_executor_sealed(struct mr_executor *executor, struct mr_seal_ask *ask);

/* Tell it to end when it is through with what it has. Once. */
void mr_executor_stop(struct mr_executor *executor);

/* True when its thread is through with everything: destroy will not block. */
bool mr_executor_is_ended(const struct mr_executor *executor);

/* After stop; waits for the thread. */
void mr_executor_destroy(struct mr_executor **executor);

uint32_t mr_executor_number(const struct mr_executor *executor);
struct mr_guard *mr_executor_guard(struct mr_executor *executor);

#endif
