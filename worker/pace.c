#include "worker/pace.h"

/* Weight of a shorter run: a sixteenth, so that it takes many short jobs to be believed. */
#define FALL 16

struct mr_pace
mr_pace_new(uint32_t threads, uint32_t least, uint32_t most, uint32_t guess_us)
{
    int64_t run_us = guess_us ? guess_us : MR_PACE_AHEAD_US;

    return (struct mr_pace){.threads = threads,
        .least = least,
        .most = most,
        .run_us = run_us,
        .mean_us = run_us};
}

void
mr_pace_ran(struct mr_pace *pace, int64_t run_us)
{
    if (run_us < 1)
        run_us = 1;
    if (run_us > pace->run_us)
        pace->run_us = run_us < 2 * pace->run_us ? run_us : 2 * pace->run_us;
    else
        pace->run_us -= (pace->run_us - run_us + FALL - 1) / FALL;
    pace->mean_us += (run_us - pace->mean_us) / FALL;
}

uint32_t
mr_pace_ahead(const struct mr_pace *pace)
{
    int64_t ahead = pace->threads * MR_PACE_AHEAD_US / pace->run_us;

    if (ahead < pace->least)
        return pace->least;
    return ahead > pace->most ? pace->most : (uint32_t)ahead;
}

uint32_t
mr_pace_batch(const struct mr_pace *pace, uint32_t waiting, uint32_t idle)
{
    int64_t most = MR_PACE_BATCH_US / pace->run_us;
    int64_t least = MR_PACE_BATCH_MIN_US / pace->run_us;
    int64_t n = (waiting + (int64_t)idle - 1) / idle;

    if (n < least)
        n = least;
    if (n > most)
        n = most;
    return n > 1 ? (uint32_t)n : 1;
}

uint32_t
mr_pace_keep(const struct mr_pace *pace)
{
    int64_t keep = pace->threads * MR_PACE_KEEP_US / pace->mean_us;
    int64_t least = 2 * (int64_t)mr_pace_ahead(pace) + pace->threads;

    if (keep < least)
        keep = least;
    return keep < UINT32_MAX ? (uint32_t)keep : UINT32_MAX;
}
