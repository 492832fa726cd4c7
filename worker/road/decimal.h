/*
 * Decimal numbers of a map file as integers, never through floating point: 8.04 m divided by
 * 16.00 m/s is 502.5 ms exactly and must round up to 503, but in doubles it comes out below the
 * half. Pure; any thread.
 */
#ifndef MR_ROAD_DECIMAL_H
#define MR_ROAD_DECIMAL_H

#include <stdbool.h>
#include <stdint.h>

/*
 * "13.89" -> 1389: hundredths, further digits rounded half away from zero. An optional sign,
 * digits, at most one point, at least one digit, nothing else. False for any other text, NULL,
 * and values beyond +-10^12 hundredths.
 */
bool mr_decimal_hundredths(const char *text, int64_t *out);

/* The same for the part of `text` up to `end` (a coordinate in a list). */
bool mr_decimal_part(const char *text, const char *end, int64_t *out);

/* "200.0" -> 200000: thousandths. */
bool mr_decimal_thousandths(const char *text, int64_t *out);

#endif
