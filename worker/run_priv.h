/*
 * What run.c and group.c share. Nobody else includes this.
 */
#ifndef MR_WORKER_RUN_PRIV_H
#define MR_WORKER_RUN_PRIV_H

#include "worker/run.h"

/* The attempt's arguments and times, before its first call. False: they are no msgpack. */
bool mr_run_take_arguments(struct millrace_job *job);
/* Before each call: nothing of the one before. The transaction stays as it is. */
void mr_run_forget_call(struct millrace_job *job);
void mr_run_free_rows(struct millrace_job *job);
/* NULL: the result may be stored. */
const char *mr_run_mistake_in(const struct mr_wr *body);

bool mr_run_has_transaction(const struct millrace_job *job);
/* ... and nothing is queued any more; no SQL of the handler can be cancelled any more. */
void mr_run_roll_back(struct millrace_job *job);

/* The connection was lost at COMMIT: wait for another one, look for the row, report what is there.
 * False: it is not there, nothing is reported. */
bool mr_run_settle(struct millrace_job *job);

#endif
