#include "worker/kinds/args.h"
#include "worker/kinds/kinds.h"
#include "worker/kinds/pause.h"

enum { MS_MAX = 86400000, LAPS = 20000 };

/* Some work between two looks at the clock. */
static uint64_t
laps(uint64_t x)
{
    for (int i = 0; i < LAPS; i++)
        x = x * UINT64_C(6364136223846793005) + 1;
    return x;
}

static enum millrace_answer
run(struct millrace_job *job)
{
    int64_t ms, started = mr_pause_now_ms();
    volatile uint64_t kept = 1;

    if (!mr_args_int(job, "ms", 1000, 0, MS_MAX, &ms))
        return MILLRACE_FAILED_FOR_GOOD;
    for (int64_t spent = 0; spent < ms; spent = mr_pause_now_ms() - started) {
        if (millrace_is_cancelled(job))
            return millrace_fail(job, "told to stop after %lld ms", (long long)spent);
        kept = laps(kept);
        millrace_progress(job, (uint32_t)(spent * 1000 / ms), "spinning");
    }
    millrace_put_int(job, ms);
    return MILLRACE_SUCCEEDED;
}

const struct millrace_kind mr_kind_test_spin = {
    .name = "test.spin",
    .help = "{\"ms\":1000} -> ms; keeps a processor busy, reports progress, heeds cancel",
    .run = run,
};
