/*
 * Process isolation, the decisions: which kinds run in child processes, how much memory these may
 * take, how the end of one reads. Pure; any thread. child.h is the worker's side of a child,
 * isolated.h the child's own.
 */
#ifndef MR_WORKER_ISOLATE_H
#define MR_WORKER_ISOLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/millrace_worker.h"

/* The setting `isolate`: "" as the kinds ask; "yes" all; "no" none, whatever they ask; or names by
 * commas, besides those that ask. */
bool mr_isolate_is_on(const char *setting, const struct millrace_kind *kind);

/* What an attempt may add to the memory of its process; 0: no limit. `mib` is the worker's
 * setting for kinds that do not say. */
uint32_t mr_isolate_memory_mib(const struct millrace_kind *kind, int64_t mib);

/* A child that is gone, or had to go. */
struct mr_isolate_end {
    int wait_status;     /* as of waitpid(2) */
    bool is_broken;      /* it was killed because it could not be understood any more */
    uint32_t memory_mib; /* it might add; 0: no limit */
    int64_t grown_kib;   /* resident memory it had added at its peak */
};

/* How it ended, why, and what to do, as text for the report of its attempt. */
void mr_isolate_describe(const struct mr_isolate_end *end, char *out, size_t room);

#endif
