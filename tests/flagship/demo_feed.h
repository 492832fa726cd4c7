/*
 * Plays the requests of the plan: submits each when it is due through the client library, shows
 * rides as the database says that they ended, and ends when all have. In the rush, every tenth
 * rider asks again in three ways that must not make a second ride, and processes are killed
 * (demo_fault.h). During the replay, which
 * leaves the processors idle, the kernel `calc.ep` is computed beside it (demo_ep.h).
 * Main thread.
 */
#ifndef MR_FLAGSHIP_DEMO_FEED_H
#define MR_FLAGSHIP_DEMO_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "client/millrace.h"
#include "schemas/base/status.h"
#include "schemas/sql/pg.h"
#include "tests/flagship/demo_ep.h"
#include "tests/flagship/demo_fault.h"
#include "tests/flagship/demo_plan.h"
#include "tests/flagship/demo_show.h"
#include "tests/flagship/stack.h"

struct mr_demo_feed {
    struct millrace *mr;
    struct mr_pg *pg; /* only reads */
    const struct mr_demo_plan *plan;
    struct mr_demo_show *show;
    struct mr_stack *stack;
    int signals; /* a signalfd: readable when somebody wants us to stop */
};

struct mr_demo_phase {
    const char *prefix; /* of the request keys: "replay-" */
    int64_t length_ms;  /* from the first to the last request */
    uint32_t speed;     /* the drive is simulated so many times faster than real */
    bool shows_rides;   /* a line each, otherwise one a second */
    bool asks_again;
    struct mr_demo_ep *ep;       /* NULL: none */
    struct mr_demo_fault *fault; /* NULL: nothing is killed */
};

struct mr_demo_tally {
    uint32_t rides, answered;    /* answered: the request's own job has a result */
    uint32_t again, again_right; /* asked again; and got what they should */
    double p50_ms, p99_ms;       /* of a request: from submitting it to its result */
};

/* MR_CANCELLED: somebody wants us to stop. MR_TIMEOUT, MR_INTERNAL: a program has ended. The tally
 * is filled in any case. */
enum mr_status mr_demo_feed_play(struct mr_demo_feed *feed,
    const struct mr_demo_phase *phase, struct mr_demo_tally *tally,
    struct mr_err *err) MR_MUST_CHECK;

/* Wait until no job is unfinished and the inbox is empty. */
enum mr_status mr_demo_feed_drain(
    struct mr_demo_feed *feed, int timeout_ms, struct mr_err *err) MR_MUST_CHECK;

#endif
