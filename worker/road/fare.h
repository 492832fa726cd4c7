/*
 * Taxi fares by tariff, in integers: everything is added up exactly (in parts of 1/3000 cent)
 * and rounded to cents once, half up. Real meters tick in steps; ours is exact to the metre.
 * Pure; any thread.
 */
#ifndef MR_ROAD_FARE_H
#define MR_ROAD_FARE_H

#include <stdbool.h>
#include <stdint.h>

/* Berlin, in force since 20 December 2022 (twelfth amending ordinance, 10 November 2022):
 * 4.30 EUR, 2.80/km to 3 km, 2.60/km to 7 km, 2.10/km beyond, waiting 33 EUR/h, 5 EUR for 5 to
 * 8 passengers, 1 EUR a bulky item, extras capped at 7 EUR. The hailed short trip is not
 * offered. */
#define MR_FARE_BERLIN "berlin-2022-12-20"

struct mr_fare_ask {
    const char *tariff; /* NULL: MR_FARE_BERLIN */
    int64_t metres;
    int64_t waiting_s;
    int64_t passengers; /* 0 counts as 1 */
    int64_t bulky;      /* items */
};

/* In cents; the parts add up to the total (the rounding is in `distance`). */
struct mr_fare {
    const char *tariff;
    int64_t total, base, distance, waiting, extras;
};

/* Metres of a way, rounded half up. */
int64_t mr_fare_metres(int64_t cm);

/* False, and a reason in *why (static): unknown tariff, a negative number, over 10,000 km, a
 * week of waiting, 8 passengers or 100 items. */
bool mr_fare_quote(const struct mr_fare_ask *ask, struct mr_fare *out, const char **why);

#endif
