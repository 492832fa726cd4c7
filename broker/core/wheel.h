/*
 * Timers: seven levels of 64 slots, one tick a millisecond, set, cleared and found in O(1). A
 * timer has the number of what it belongs to (1..max), so each has at most one. Pure: time is
 * a parameter; one thread.
 *
 * A timer stands on the level of the highest 6-bit group in which its due time differs from
 * the current time, so everything on a level lies behind the current time of that level, and
 * the first occupied slot of the lowest occupied level is what comes next.
 */
#ifndef MR_CORE_WHEEL_H
#define MR_CORE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/status.h"

#define MR_WHEEL_LEVELS 7 /* 2^42 ms: 139 years */
#define MR_WHEEL_SLOTS 64

struct mr_timer {
    int64_t due_ms;
    uint32_t prev, next; /* ring of the bucket */
    uint16_t bucket;     /* 1 + level * MR_WHEEL_SLOTS + slot; 0: not set */
};

struct mr_wheel {
    struct mr_timer *timers; /* [max + 1] */
    uint32_t max, count;
    int64_t at_ms;
    uint64_t occupied[MR_WHEEL_LEVELS];
    uint32_t heads[MR_WHEEL_LEVELS * MR_WHEEL_SLOTS];
};

/* `now_ms`: the earliest time that will be given. */
enum mr_status mr_wheel_init(
    struct mr_wheel *wheel, uint32_t max, int64_t now_ms) MR_MUST_CHECK;
void mr_wheel_fini(struct mr_wheel *wheel);

/* Set or move; a time in the past is due at once. */
void mr_wheel_set(struct mr_wheel *wheel, uint32_t timer, int64_t due_ms);
void mr_wheel_clear(struct mr_wheel *wheel, uint32_t timer);
bool mr_wheel_is_set(const struct mr_wheel *wheel, uint32_t timer);

/* One timer that is due at `now_ms`, cleared; 0 when there is none left. Earlier ones come
 * first, equal ones in the order in which they were set. */
uint32_t mr_wheel_pop(struct mr_wheel *wheel, int64_t now_ms);

/* When to look again: never later than the first timer, INT64_MAX without any. */
int64_t mr_wheel_next_ms(const struct mr_wheel *wheel);

#endif
