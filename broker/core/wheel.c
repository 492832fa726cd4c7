#include "broker/core/wheel.h"

#include <stdlib.h>

#define BITS 6
#define SPAN_MS_MAX ((INT64_C(1) << (BITS * MR_WHEEL_LEVELS - 1)) - 1)

enum mr_status
mr_wheel_init(struct mr_wheel *wheel, uint32_t max, int64_t now_ms)
{
    *wheel = (struct mr_wheel){.max = max, .at_ms = now_ms < 0 ? 0 : now_ms};
    wheel->timers = calloc((size_t)max + 1, sizeof *wheel->timers);
    return wheel->timers ? MR_OK : MR_NO_MEMORY;
}

void
mr_wheel_fini(struct mr_wheel *wheel)
{
    free(wheel->timers);
    *wheel = (struct mr_wheel){0};
}

static uint16_t
bucket_of(const struct mr_wheel *wheel, int64_t due_ms)
{
    uint64_t differs = (uint64_t)due_ms ^ (uint64_t)wheel->at_ms;
    uint32_t level = differs ? (uint32_t)(63 - __builtin_clzll(differs)) / BITS : 0;
    uint32_t slot;

    if (level >= MR_WHEEL_LEVELS)
        level = MR_WHEEL_LEVELS - 1;
    slot = (uint32_t)((uint64_t)due_ms >> (level * BITS)) & (MR_WHEEL_SLOTS - 1);
    return (uint16_t)(1 + level * MR_WHEEL_SLOTS + slot);
}

static void
put(struct mr_wheel *wheel, uint32_t id)
{
    struct mr_timer *timer = &wheel->timers[id];
    uint32_t bucket, head;

    timer->bucket = bucket_of(wheel, timer->due_ms);
    bucket = timer->bucket - 1u;
    head = wheel->heads[bucket];
    if (!head) {
        wheel->heads[bucket] = timer->prev = timer->next = id;
        wheel->occupied[bucket / MR_WHEEL_SLOTS] |= UINT64_C(1)
                                                    << (bucket % MR_WHEEL_SLOTS);
        return;
    }
    timer->next = head;
    timer->prev = wheel->timers[head].prev;
    wheel->timers[timer->prev].next = id;
    wheel->timers[head].prev = id;
}

static void
pull(struct mr_wheel *wheel, uint32_t id)
{
    struct mr_timer *timer = &wheel->timers[id];
    uint32_t bucket = timer->bucket - 1u;

    if (timer->next == id) {
        wheel->heads[bucket] = 0;
        wheel->occupied[bucket / MR_WHEEL_SLOTS] &=
            ~(UINT64_C(1) << (bucket % MR_WHEEL_SLOTS));
    } else {
        wheel->timers[timer->prev].next = timer->next;
        wheel->timers[timer->next].prev = timer->prev;
        if (wheel->heads[bucket] == id)
            wheel->heads[bucket] = timer->next;
    }
    timer->bucket = 0;
}

void
mr_wheel_set(struct mr_wheel *wheel, uint32_t id, int64_t due_ms)
{
    MR_ASSERT(id > 0 && id <= wheel->max);
    mr_wheel_clear(wheel, id);
    if (due_ms < wheel->at_ms)
        due_ms = wheel->at_ms;
    if (due_ms - wheel->at_ms > SPAN_MS_MAX)
        due_ms = wheel->at_ms + SPAN_MS_MAX;
    wheel->timers[id].due_ms = due_ms;
    put(wheel, id);
    wheel->count++;
}

void
mr_wheel_clear(struct mr_wheel *wheel, uint32_t id)
{
    if (!wheel->timers[id].bucket)
        return;
    pull(wheel, id);
    wheel->count--;
}

bool
mr_wheel_is_set(const struct mr_wheel *wheel, uint32_t id)
{
    return wheel->timers[id].bucket != 0;
}

/* The bucket that comes next and the time at which it begins. */
static bool
first(const struct mr_wheel *wheel, uint32_t *bucket, int64_t *begins_ms)
{
    for (uint32_t level = 0; level < MR_WHEEL_LEVELS; level++) {
        uint32_t shift = level * BITS;
        uint32_t slot;
        uint64_t block;

        if (!wheel->occupied[level])
            continue;
        slot = (uint32_t)__builtin_ctzll(wheel->occupied[level]);
        block = (uint64_t)wheel->at_ms >> (shift + BITS) << (shift + BITS);
        *bucket = level * MR_WHEEL_SLOTS + slot;
        *begins_ms = (int64_t)(block | (uint64_t)slot << shift);
        return true;
    }
    return false;
}

/* A slot of a higher level has come: what is in it goes to lower ones, in its order, so that
 * equal times stay first come, first served. */
static void
cascade(struct mr_wheel *wheel, uint32_t bucket)
{
    uint32_t id;

    while ((id = wheel->heads[bucket]) != 0) {
        pull(wheel, id);
        put(wheel, id);
    }
}

uint32_t
mr_wheel_pop(struct mr_wheel *wheel, int64_t now_ms)
{
    uint32_t bucket = 0;
    int64_t begins_ms = 0;

    while (first(wheel, &bucket, &begins_ms) && begins_ms <= now_ms) {
        uint32_t id = wheel->heads[bucket];

        if (begins_ms > wheel->at_ms)
            wheel->at_ms = begins_ms;
        if (bucket < MR_WHEEL_SLOTS) {
            mr_wheel_clear(wheel, id);
            return id;
        }
        cascade(wheel, bucket);
    }
    /* Every occupied slot begins later, so each timer stays on its level. */
    if (now_ms > wheel->at_ms)
        wheel->at_ms = now_ms;
    return 0;
}

int64_t
mr_wheel_next_ms(const struct mr_wheel *wheel)
{
    uint32_t bucket = 0;
    int64_t begins_ms = INT64_MAX;

    return first(wheel, &bucket, &begins_ms) ? begins_ms : INT64_MAX;
}
