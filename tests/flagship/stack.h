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

/* NULL: not given to the workers, who then do not offer the kinds that need it. */
struct mr_stack_options {
    const char *map_path;
    const char *load; /* a shared object with kinds */
    bool pays_without_key;
};

/* What may be killed: a worker by its number from 0, or this. */
#define MR_STACK_BROKER (-1)

struct mr_stack {
    char folder[2048]; /* absolute; logs, data, the provider's log */
    int lock;
    struct mr_cluster *cluster;
    struct mr_proc provider, broker, workers[MR_STACK_WORKERS];
    bool is_broker_away, is_worker_away[MR_STACK_WORKERS]; /* killed by us */
    struct mr_stack_options options;                       /* of the workers */
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
/* Ready when the broker has welcomed both. What the options point to outlives the stack. */
enum mr_status mr_stack_workers(struct mr_stack *stack,
    const struct mr_stack_options *options, struct mr_err *err) MR_MUST_CHECK;

/* SIGKILL, and nothing is left of the process. It is not missed until it is started again. */
void mr_stack_kill(struct mr_stack *stack, int which);
/* Start it again as it was, the broker at the same endpoints. Does not wait until it is ready. */
enum mr_status mr_stack_revive(
    struct mr_stack *stack, int which, struct mr_err *err) MR_MUST_CHECK;
/* Started (again), and ready. */
bool mr_stack_is_ready(const struct mr_stack *stack, int which);
/* Its process, to be signalled; 0 in `pid` if it was never started. */
struct mr_proc *mr_stack_proc(struct mr_stack *stack, int which);

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
