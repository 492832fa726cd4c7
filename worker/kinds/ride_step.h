/*
 * What all steps of a ride do in their transactions: submit the next jobs and write the event
 * that names them. False (no id): a statement failed, return millrace_sql_failed(job).
 */
#ifndef MR_KINDS_RIDE_STEP_H
#define MR_KINDS_RIDE_STEP_H

#include "worker/millrace_worker.h"

#define MR_RIDE_ID_TEXT 37

/* A follow-up whose payload is {"ride": ride} or, with `key`, {"ride": ride, key: value}. */
bool mr_ride_step_follow(struct millrace_job *job, const char *kind, const char *ride,
    const char *key, const char *value, uint32_t delay_ms, char id[MR_RIDE_ID_TEXT]);

/* The event: this attempt brought the ride into `state` and submitted up to two jobs
 * (NULL: none). */
bool mr_ride_step_record(struct millrace_job *job, const char *ride, const char *state,
    const char *first, const char *second);

/* Text of a number, in the job's arena; "" when that is full (SQL will object). */
const char *mr_ride_step_text(struct millrace_job *job, int64_t v);

#endif
