#include "schemas/base/clock.h"

#include <stdio.h>
#include <time.h>

#include "schemas/base/status.h"

static int64_t
read_us(clockid_t id)
{
    struct timespec t;

    MR_ASSERT(clock_gettime(id, &t) == 0);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

struct mr_now
mr_clock_now(void)
{
    return (struct mr_now){
        .mono_us = read_us(CLOCK_MONOTONIC),
        .wall_us = read_us(CLOCK_REALTIME),
    };
}

int64_t
mr_clock_mono_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t
mr_clock_wall_us(void)
{
    return read_us(CLOCK_REALTIME);
}

char *
mr_clock_format(int64_t wall_us, char out[28])
{
    /* Years 0 to 9999: what has four digits. Beyond that the nearest end. */
    const int64_t first_us = -62167219200 * INT64_C(1000000);
    const int64_t last_us = INT64_C(253402300800) * 1000000 - 1;
    int64_t us = wall_us < first_us ? first_us : wall_us > last_us ? last_us : wall_us;
    int64_t rest = ((us % 1000000) + 1000000) % 1000000;
    time_t seconds = (time_t)((us - rest) / 1000000);
    struct tm tm;
    char text[64];

    MR_ASSERT(gmtime_r(&seconds, &tm) != NULL);
    snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year + 1900,
        tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)rest);
    snprintf(out, 28, "%.27s", text);
    return out;
}
