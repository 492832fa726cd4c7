#include "tests/chaos/schedule.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/base/span.h"
#include "tests/chaos/dice.h"

#define CALM_US                                                                          \
    INT64_C(1500000) /* at the begin: something has to run that can be struck */

#define OFTEN_MAX 50

/* How many in two minutes, and for how long. */
static const struct plan {
    const char *name;
    uint32_t count;
    uint32_t hold_min_ms, hold_max_ms;
} plans[MR_FAULTS] = {
    [MR_FAULT_KILL_WORKER] = {"kill-worker", 56, 0, 400},
    [MR_FAULT_KILL_BROKER] = {"kill-broker", 24, 0, 300},
    [MR_FAULT_KILL_CLIENT] = {"kill-client", 24, 0, 500},
    [MR_FAULT_FREEZE_WORKER] = {"freeze-worker", 20, 1200, 2500},
    [MR_FAULT_FREEZE_BROKER] = {"freeze-broker", 7, 1200, 2500},
    [MR_FAULT_DB_CRASH] = {"db-crash", 8, 0, 700},
    [MR_FAULT_DB_PANIC] = {"db-panic", 4, 0, 0},
    [MR_FAULT_DB_BACKEND] = {"db-backend", 16, 0, 0},
    [MR_FAULT_USURP_SHARD] = {"usurp-shard", 3, 0, 0},
    [MR_FAULT_CUT_WORKER] = {"link-cut-worker", 4, 700, 3000},
    [MR_FAULT_CUT_CLIENT] = {"link-cut-client", 3, 700, 3000},
    [MR_FAULT_CUT_DB] = {"link-cut-db", 3, 500, 2000},
    [MR_FAULT_CUT_WORKER_DB] = {"link-cut-worker-db", 3, 700, 3000},
};

const char *
mr_fault_name(enum mr_fault fault)
{
    return plans[fault].name;
}

/* How often each is to strike: 0 not at all, 1 as planned, more of it with "name*N". */
static enum mr_status
choose(const char *faults, uint32_t often[MR_FAULTS], struct mr_err *err)
{
    for (int i = 0; i < MR_FAULTS; i++)
        often[i] = faults == NULL;
    while (faults && *faults) {
        size_t n = strcspn(faults, ",*");
        uint32_t times =
            faults[n] == '*' ? (uint32_t)strtoul(faults + n + 1, NULL, 10) : 1;
        int i = 0;

        while (i < MR_FAULTS && !mr_span_is(mr_span(faults, n), plans[i].name))
            i++;
        if (i == MR_FAULTS || times == 0 || times > OFTEN_MAX)
            return mr_err_setf(err, MR_BAD_ARGUMENT, "there is no such fault",
                "tests/chaos/README.md lists them.", "%.*s", (int)n, faults);
        often[i] = times;
        faults += strcspn(faults, ",");
        faults += *faults == ',';
    }
    return MR_OK;
}

static uint32_t
count_of(int fault, uint32_t often, int64_t length_us)
{
    int64_t count =
        (plans[fault].count * length_us * often + INT64_C(119999999)) / 120000000;

    return (uint32_t)count;
}

/* One in each of `count` equal parts of the run, so that the number is certain and the
 * moments are not. */
static void
spread(struct mr_schedule *schedule, int fault, uint32_t count, int64_t length_us,
    struct mr_dice *dice)
{
    int64_t part_us = (length_us - CALM_US) / count;
    const struct plan *plan = &plans[fault];

    for (uint32_t i = 0; i < count; i++) {
        int64_t begin_us = CALM_US + part_us * i;

        schedule->events[schedule->count++] = (struct mr_fault_event){
            .at_us = begin_us + mr_dice_below(dice, (uint32_t)part_us),
            .fault = (enum mr_fault)fault,
            .target = (uint32_t)(mr_dice_next(dice) >> 40),
            .hold_us = INT64_C(1000) *
                       mr_dice_between(dice, plan->hold_min_ms, plan->hold_max_ms),
            .variant = (uint32_t)(mr_dice_next(dice) >> 40),
        };
    }
}

static int
by_time(const void *a, const void *b)
{
    const struct mr_fault_event *one = a, *other = b;

    if (one->at_us != other->at_us)
        return one->at_us < other->at_us ? -1 : 1;
    return (int)one->fault - (int)other->fault;
}

enum mr_status
mr_schedule_make(struct mr_schedule *schedule, uint64_t seed, int64_t length_us,
    const char *faults, struct mr_err *err)
{
    uint32_t often[MR_FAULTS];
    enum mr_status status = choose(faults, often, err);
    uint32_t total = 0;

    *schedule = (struct mr_schedule){NULL, 0};
    if (status)
        return status;
    if (length_us < 2 * CALM_US)
        return mr_err_set(err, MR_BAD_ARGUMENT, "the run is too short",
            "nothing can be struck in it", "Give it three seconds at least.");
    for (int i = 0; i < MR_FAULTS; i++)
        total += count_of(i, often[i], length_us);
    schedule->events = calloc(total, sizeof *schedule->events);
    if (!schedule->events)
        return mr_err_set(err, MR_NO_MEMORY, "no schedule was made", NULL, NULL);
    for (int i = 0; i < MR_FAULTS; i++) {
        struct mr_dice dice = mr_dice_of(seed, 1, (uint64_t)i);

        if (often[i])
            spread(schedule, i, count_of(i, often[i], length_us), length_us, &dice);
    }
    qsort(schedule->events, schedule->count, sizeof *schedule->events, by_time);
    return MR_OK;
}

void
mr_schedule_free(struct mr_schedule *schedule)
{
    free(schedule->events);
    *schedule = (struct mr_schedule){NULL, 0};
}
