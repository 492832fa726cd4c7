/* Waiting inside the misbehaviour kit (test.*), in monotonic time. */
#ifndef MR_KINDS_PAUSE_H
#define MR_KINDS_PAUSE_H

#include "worker/millrace_worker.h"

int64_t mr_pause_now_ms(void);

/* Sleep so long, or until the job is cancelled if `heeds_cancel`; false then. */
bool mr_pause_ms(const struct millrace_job *job, int64_t ms, bool heeds_cancel);

#endif
