/*
 * The end of the flagship: what the checker finds, what the rides came to, the picture of the
 * map. Call it after draining. Main thread.
 */
#ifndef MR_FLAGSHIP_DEMO_VERDICT_H
#define MR_FLAGSHIP_DEMO_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/status.h"
#include "schemas/sql/pg.h"
#include "tests/flagship/demo_plan.h"
#include "tests/flagship/demo_show.h"

struct mr_demo_verdict {
    struct mr_pg *pg;
    const struct mr_demo_plan *plan;
    struct mr_demo_show *show;
    const char *provider_log;
    const char *const *prefixes; /* of the request keys, one for each phase */
    uint32_t phases;
};

/* Run the checker on all phases and print its table and the totals of each phase. *held is
 * the verdict. */
enum mr_status mr_demo_verdict_check(
    const struct mr_demo_verdict *v, bool *held, struct mr_err *err) MR_MUST_CHECK;

/* Streets coloured by how many rides went over them. */
enum mr_status mr_demo_verdict_draw(
    const struct mr_demo_verdict *v, const char *path, struct mr_err *err) MR_MUST_CHECK;

#endif
