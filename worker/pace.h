/*
 * How many attempts to fetch ahead: enough that a thread is never idle while the next jobs are on
 * their way, few enough that no job waits long behind others here while another worker is
 * idle. Short jobs come by the hundred, long ones one for each thread. Likewise how many to hand
 * to a thread at a time. Pure; one thread.
 */
#ifndef MR_WORKER_PACE_H
#define MR_WORKER_PACE_H

#include <stdint.h>

/* What is fetched ahead is work for about so long. */
#define MR_PACE_AHEAD_US INT64_C(10000)

/* What would wait longer than this is given back. */
#define MR_PACE_KEEP_US INT64_C(250000)

/* The most, however short the jobs are. */
#define MR_PACE_AHEAD_MAX 2048

/* A hand-over is work for at most so long; and, even if other threads are idle, for at least so
 * long: waking one costs a tenth of it. */
#define MR_PACE_BATCH_US INT64_C(1000)
#define MR_PACE_BATCH_MIN_US INT64_C(50)

struct mr_pace {
    uint32_t threads;
    uint32_t least, most; /* attempts ahead; equal: no choice */
    int64_t run_us;       /* how long a handler runs, typically */
    int64_t mean_us;      /* the same on average */
};

/* Until something has run it is taken to run for guess_us; 0: so long that `least` it is. */
struct mr_pace mr_pace_new(
    uint32_t threads, uint32_t least, uint32_t most, uint32_t guess_us);

/* A handler ran for so long (a clock that was set back: below 0, counts as 0). What is taken to
 * be typical at most doubles with it: one that lost its processor for a while says nothing
 * about the others, a row of long ones is soon believed. */
void mr_pace_ran(struct mr_pace *pace, int64_t run_us);

uint32_t mr_pace_ahead(const struct mr_pace *pace);

/* How many to hand over when so many wait and so many threads, one at least, are idle. */
uint32_t mr_pace_batch(const struct mr_pace *pace, uint32_t waiting, uint32_t idle);

/* What was fetched ahead may be up to so many; the rest is given back. Far more than is fetched:
 * it costs less to wait MR_PACE_KEEP_US here than to be sent to and fro when short and long
 * jobs are mixed. */
uint32_t mr_pace_keep(const struct mr_pace *pace);

#endif
