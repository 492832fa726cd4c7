#include "worker/kinds/pause.h"

#include <time.h>

enum { SLICE_MS = 5 };

int64_t
mr_pause_now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

bool
mr_pause_ms(const struct millrace_job *job, int64_t ms, bool heeds_cancel)
{
    int64_t until = mr_pause_now_ms() + ms;

    for (int64_t left = ms; left > 0; left = until - mr_pause_now_ms()) {
        int64_t slice = left < SLICE_MS ? left : SLICE_MS;
        struct timespec t = {.tv_nsec = (long)slice * 1000000};

        if (heeds_cancel && millrace_is_cancelled(job))
            return false;
        clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
    }
    return true;
}
