/*
 * The processes of the flagship and of the benches: a private PostgreSQL with the schema, the
 * payment provider, a broker and two workers, all on free ports, all in one folder. They are children of the calling
 * thread and end with it. Main thread only.
 */
#ifndef MR_FLAGSHIP_STACK_H
#define MR_FLAGSHIP_STACK_H

#include <stdbool.h>
#include <stdint.h>

#include "client/cluster.h"
#include "client/proc.h"
#include "schemas/base/status.h"

enum { MR_STACK_WORKERS = 2, MR_STACK_THREADS = 4 };

struct mr_stack {
    char folder[2048]; /* absolute; logs, data, the provider's log */
    int lock;
    struct mr_cluster *cluster;
    struct mr_proc provider, broker, workers[MR_STACK_WORKERS];
    char front[128], back[128], pay_url[64];
    char provider_log[2100];
};

/* Forget the caller's settings (MILLRACE_*) so that only ours count, make the folder empty, one flagship at a time: MR_BUSY while another one has it, MR_DENIED. */
enum mr_status mr_stack_open(
    struct mr_stack *stack, const char *folder, struct mr_err *err) MR_MUST_CHECK;

/* One at a time, in this order, so that each can be told and timed. On failure `err` ends with the
 * last line that the program said. */
enum mr_status mr_stack_database(
    struct mr_stack *stack, struct mr_err *err) MR_MUST_CHECK;
/* The n-th call fails or loses its reply as `seed` says. */
enum mr_status mr_stack_provider(
    struct mr_stack *stack, uint64_t seed, struct mr_err *err) MR_MUST_CHECK;
enum mr_status mr_stack_broker(struct mr_stack *stack, struct mr_err *err) MR_MUST_CHECK;
/* NULL: not given to the workers, who then do not offer the kinds that need it. */
struct mr_stack_options {
    const char *map_path;
    const char *load; /* a shared object with kinds */
    bool pays_without_key;
};

/* Ready when the broker has welcomed both. */
enum mr_status mr_stack_workers(struct mr_stack *stack,
    const struct mr_stack_options *options, struct mr_err *err) MR_MUST_CHECK;

/* NULL while all of them run, else the name of one that has ended. */
const char *mr_stack_missing(struct mr_stack *stack);

/* In order: workers, broker, provider (PostgreSQL stays). Fine on what was never started. NULL,
 * or the name of one that did not end well (a code other than 0, or it had to be killed). */
const char *mr_stack_stop_programs(struct mr_stack *stack);
/* Those, PostgreSQL and the lock. */
void mr_stack_close(struct mr_stack *stack);
/* Closes it and removes its folder. */
void mr_stack_remove(struct mr_stack *stack);

#endif
