/*
 * What happens half way through the rush: a worker and then the broker are killed with SIGKILL,
 * and started again, while requests go on being asked. Each step says what it did, and when.
 * It never waits: it is asked to go on from time to time. Main thread.
 *
 *   WATCHING --two fifths of the rides done--> CORNERED --it was sent jobs, kill--> MOURNED
 *   --attempts recorded as lost, half of the rides done, kill--> DOWN --ready--> UP --new jobs
 *   run--> REPLACED --worker ready--> RELEASED --nothing is held back for others--> OVER
 */
#ifndef MR_FLAGSHIP_DEMO_FAULT_H
#define MR_FLAGSHIP_DEMO_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "client/millrace.h"
#include "schemas/base/status.h"
#include "schemas/sql/pg.h"
#include "tests/flagship/demo_show.h"
#include "tests/flagship/stack.h"

enum mr_demo_fault_state {
    MR_DEMO_FAULT_WATCHING,
    MR_DEMO_FAULT_CORNERED,
    MR_DEMO_FAULT_MOURNED,
    MR_DEMO_FAULT_DOWN,
    MR_DEMO_FAULT_UP,
    MR_DEMO_FAULT_REPLACED,
    MR_DEMO_FAULT_RELEASED,
    MR_DEMO_FAULT_OVER,
};

struct mr_demo_fault {
    enum mr_demo_fault_state state;
    int64_t frozen_us, worker_gone_us, broker_gone_us; /* monotonic */
    char ready_at[40]; /* the database's time when the broker was back */
    bool has_asked;
    int64_t held;  /* by the worker when it was frozen, as the broker counts */
    int64_t epoch; /* of the broker before it was killed */
};

struct mr_demo_fault_world {
    struct mr_demo_show *show;
    struct mr_stack *stack;
    struct mr_pg *pg; /* only reads */
    struct millrace *mr;
    uint32_t ended, rides; /* rides that have ended, and all of them */
};

/* Do what is to be done by now. */
enum mr_status mr_demo_fault_tick(struct mr_demo_fault *fault,
    const struct mr_demo_fault_world *world, struct mr_err *err) MR_MUST_CHECK;

/* From the database: how many attempts were lost, and the broker's epoch. *held: both faults have
 * left their mark there. */
enum mr_status mr_demo_fault_judge(const struct mr_demo_fault *fault, struct mr_pg *pg,
    bool *held, struct mr_err *err) MR_MUST_CHECK;

#endif
