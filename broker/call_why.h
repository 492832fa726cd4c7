/*
 * Why a job does not run, as one sentence: from the core if it has the job, else from what the
 * database says. The loop's thread.
 */
#ifndef MR_BROKER_CALL_WHY_H
#define MR_BROKER_CALL_WHY_H

#include "broker/broker.h"
#include "broker/task.h"

#define MR_WHY_BYTES 1024

/* False: it is not in memory. `wants_more`: the database knows an error that belongs to it. */
bool mr_call_why_now(const struct mr_broker *broker, struct mr_uuid id,
    char out[MR_WHY_BYTES], bool *wants_more);

/* After the database was asked. False: there is no such job. `may_see_now`: what is in memory
 * under this id may be told, too. */
bool mr_call_why_stored(const struct mr_broker *broker, struct mr_uuid id,
    const struct mr_why_row *row, bool may_see_now, char out[MR_WHY_BYTES]);

#endif
