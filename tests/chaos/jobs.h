/*
 * The jobs of a run: the n-th of a client is a function of (seed, client, n), so that a client
 * that was killed knows what it had sent from its history alone. Twins are jobs that two clients
 * submit at the same moment, under the same id.
 */
#ifndef MR_CHAOS_JOBS_H
#define MR_CHAOS_JOBS_H

#include <stdbool.h>
#include <stdint.h>

#include "client/millrace.h"

#define MR_CHAOS_ACCOUNTS 1000
#define MR_CHAOS_OPENING 100000 /* cents of each account at the begin */
#define MR_CHAOS_CLIENTS_MAX 64

/* Numbers from here on are twins; clients 2k and 2k + 1 have the same. */
#define MR_CHAOS_TWINS UINT32_C(0x40000000)

struct mr_chaos_job {
    struct millrace_job job; /* id is not set, but for twins */
    struct millrace_pack body;
};

/* `base_ms`: wall time at the begin of the run, in the ids of twins. `forged`: another body under
 * the same id. To be freed; job->args borrows from it. */
void mr_chaos_job_make(struct mr_chaos_job *job, uint64_t seed, uint32_t client,
    uint32_t number, int64_t base_ms, bool forged);
void mr_chaos_job_free(struct mr_chaos_job *job);

#endif
