/*
 * Which fault strikes whom, when, and for how long. Pure: a function of the seed, the length of
 * the run and the faults that were asked for.
 */
#ifndef MR_CHAOS_SCHEDULE_H
#define MR_CHAOS_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/status.h"

enum mr_fault {
    MR_FAULT_KILL_WORKER,
    MR_FAULT_KILL_BROKER,
    MR_FAULT_KILL_CLIENT,
    MR_FAULT_FREEZE_WORKER, /* for longer than the lease */
    MR_FAULT_FREEZE_BROKER,
    MR_FAULT_DB_CRASH,    /* the server stops at once, as if the power had failed */
    MR_FAULT_DB_PANIC,    /* SIGKILL of a backend: the server restarts by itself */
    MR_FAULT_DB_BACKEND,  /* backends are terminated while they commit */
    MR_FAULT_USURP_SHARD, /* another broker claims the shard, and is gone */
    MR_FAULT_CUT_WORKER,  /* a worker host and the broker do not hear each other */
    MR_FAULT_CUT_CLIENT,
    MR_FAULT_CUT_DB,        /* nobody hears PostgreSQL */
    MR_FAULT_CUT_WORKER_DB, /* a worker host and PostgreSQL */
    MR_FAULTS
};

/* "kill-worker"; static storage. */
const char *mr_fault_name(enum mr_fault fault);

struct mr_fault_event {
    int64_t at_us; /* from the begin of the run */
    enum mr_fault fault;
    uint32_t target;  /* to be taken modulo the number of those that can be struck */
    int64_t hold_us;  /* until it is healed: restarted, thawed, linked again */
    uint32_t variant; /* a number for the fault's own use */
};

struct mr_schedule {
    struct mr_fault_event *events; /* by time */
    uint32_t count;
};

/* `faults`: names by commas, each with "*N" if it is to strike so much more often; NULL: all. MR_BAD_ARGUMENT: not a name. To be freed. */
enum mr_status mr_schedule_make(struct mr_schedule *schedule, uint64_t seed,
    int64_t length_us, const char *faults, struct mr_err *err) MR_MUST_CHECK;
void mr_schedule_free(struct mr_schedule *schedule);

#endif
