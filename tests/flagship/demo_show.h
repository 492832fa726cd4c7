/*
 * What the flagship says while it runs: phases with their durations, a line for each ride, how
 * far the rush has come. Plain lines; on a terminal that can, with colours (not with NO_COLOR).
 * Everything is flushed at once, so that a pipe shows it when it happens. Main thread.
 */
#ifndef MR_FLAGSHIP_DEMO_SHOW_H
#define MR_FLAGSHIP_DEMO_SHOW_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/status.h"

struct mr_demo_show {
    bool has_colour;
    int64_t began_us, phase_us;
};

void mr_demo_show_open(struct mr_demo_show *show);

/* "-- database", and when it is over "   3.1 s  what came of it". */
void mr_demo_show_begin(struct mr_demo_show *show, const char *phase);
void mr_demo_show_end(struct mr_demo_show *show, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void mr_demo_show_line(struct mr_demo_show *show, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A heading that stands for success or failure. */
void mr_demo_show_verdict(struct mr_demo_show *show, bool is_good, const char *text);
void mr_demo_show_error(struct mr_demo_show *show, const struct mr_err *err);

struct mr_demo_show_ride {
    uint32_t n, of;                          /* the n-th that ended */
    const char *state, *from, *to, *vehicle; /* vehicle NULL: it got none */
    int64_t pickup_ms, route_ms, fare_cents;
};
void mr_demo_show_one(struct mr_demo_show *show, const struct mr_demo_show_ride *ride);

/* "6,574,821"; for numbers that are not negative. Returns `out`. */
const char *mr_demo_show_grouped(int64_t v, char out[32]);

double mr_demo_show_seconds(const struct mr_demo_show *show); /* since it was opened */

#endif
