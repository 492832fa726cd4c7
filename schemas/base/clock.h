/*
 * The two clocks. Durations and deadlines are monotonic; anything that is stored or shown is
 * wall time. The pure parts take `struct mr_now` as a parameter and never read a clock.
 */
#ifndef MR_BASE_CLOCK_H
#define MR_BASE_CLOCK_H

#include <stdint.h>

struct mr_now {
    int64_t mono_us; /* CLOCK_MONOTONIC */
    int64_t wall_us; /* microseconds since 1970-01-01 UTC */
};

/* Read both; one of them, where a job pays for it. Any thread. */
struct mr_now mr_clock_now(void);
int64_t mr_clock_mono_us(void);
int64_t mr_clock_wall_us(void);

/* "2026-11-24T01:49:47.123456Z" into out (at least 28 bytes); returns out. */
char *mr_clock_format(int64_t wall_us, char out[28]);

#endif
