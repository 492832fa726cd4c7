#include "worker/kinds/kinds.h"

static enum millrace_answer
run(struct millrace_job *job)
{
    (void)job;
    return MILLRACE_SUCCEEDED;
}

const struct millrace_kind mr_kind_test_noop = {
    .name = "test.noop",
    .help = "anything -> nil; does nothing",
    .run = run,
};
