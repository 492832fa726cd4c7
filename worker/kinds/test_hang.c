#include "worker/kinds/args.h"
#include "worker/kinds/kinds.h"
#include "worker/kinds/pause.h"

static enum millrace_answer
run(struct millrace_job *job)
{
    int64_t ms;

    if (!mr_args_int(job, "ms", INT32_MAX, 0, INT32_MAX, &ms))
        return MILLRACE_FAILED_FOR_GOOD;
    mr_pause_ms(job, ms, false);
    millrace_put_int(job, ms);
    return MILLRACE_SUCCEEDED;
}

const struct millrace_kind mr_kind_test_hang = {
    .name = "test.hang",
    .help = "{\"ms\":24 days} -> ms; does not return before, whatever it is told",
    .run = run,
};
