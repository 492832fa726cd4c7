/*
 * A front end for the benches whose jobs have arguments, or come at a given rate: submits, takes
 * what ended, at the same time, in one thread. A job that does not succeed ends the bench.
 */
#ifndef MR_SUPPORT_STREAM_H
#define MR_SUPPORT_STREAM_H

#include <stdint.h>

#include "tests/support/bench.h"

struct mr_stream {
    const char *kind;
    /* Arguments of job number i, into an empty pack; NULL: nil. */
    void (*put_args)(struct millrace_pack *pack, uint32_t i);
    /* NULL: nobody wants to know. */
    void (*on_end)(
        void *context, const struct millrace_result *result, int64_t submitted_us);
    void *context;
    uint32_t in_flight; /* at most so many submitted and not yet taken */
    double jobs_per_s;  /* 0: as fast as they end */
};

/* Jobs number 0 to jobs - 1; seconds until the last has ended. */
double mr_stream_jobs(
    struct mr_bench *bench, const struct mr_stream *stream, uint32_t jobs);
/* For so long; how many. Then all of them have ended. */
uint32_t mr_stream_seconds(
    struct mr_bench *bench, const struct mr_stream *stream, double seconds);

#endif
