#include "worker/kinds/args.h"
#include "worker/kinds/kinds.h"
#include "worker/kinds/pause.h"

enum { MS_MAX = 86400000 };

static enum millrace_answer
run(struct millrace_job *job)
{
    int64_t ms;

    if (!mr_args_int(job, "ms", 1000, 0, MS_MAX, &ms))
        return MILLRACE_FAILED_FOR_GOOD;
    if (!mr_pause_ms(job, ms, true))
        return millrace_fail(job, "told to stop while asleep");
    millrace_put_int(job, ms);
    return MILLRACE_SUCCEEDED;
}

const struct millrace_kind mr_kind_test_sleep = {
    .name = "test.sleep",
    .help = "{\"ms\":1000} -> ms; sleeps and heeds cancel",
    .run = run,
};
