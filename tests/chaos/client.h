/*
 * One client of the rig, a process: submits jobs at a pace, submits some of them again with the
 * same and with another body, cancels, watches and shows some, and writes all of it into its
 * history. Started again after a kill it reads that history, calls what was under way unknown, and
 * submits that again.
 */
#ifndef MR_CHAOS_CLIENT_H
#define MR_CHAOS_CLIENT_H

#include <stdint.h>

struct mr_chaos_client_options {
    const char *endpoint;
    const char *history; /* path */
    uint32_t number;
    uint32_t per_second; /* new jobs */
    uint64_t seed;
    int64_t base_ms; /* wall time of the run's begin */
};

/* Until SIGTERM; then until nothing is under way or unknown. Exit code: 0; 1 if that took too
 * long or the history could not be written. */
int mr_chaos_client_run(const struct mr_chaos_client_options *options);

#endif
