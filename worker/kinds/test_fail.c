#include "worker/kinds/args.h"
#include "worker/kinds/kinds.h"

static enum millrace_answer
run(struct millrace_job *job)
{
    int64_t times, retry_after_ms;
    bool is_for_good = false;

    if (!mr_args_int(job, "times", INT32_MAX, 0, INT32_MAX, &times) ||
        !mr_args_int(job, "retry_after_ms", -1, 0, 86400000, &retry_after_ms))
        return MILLRACE_FAILED_FOR_GOOD;
    if (millrace_arg_is_given(job, "for_good") &&
        !millrace_arg_bool(job, "for_good", &is_for_good))
        return millrace_fail_for_good(job, "\"for_good\" must be true or false");
    if (millrace_job_attempt(job) > times) {
        millrace_put_int(job, millrace_job_attempt(job));
        return MILLRACE_SUCCEEDED;
    }
    if (is_for_good)
        return millrace_fail_for_good(job, "failed for good, as asked");
    if (retry_after_ms >= 0)
        return millrace_fail_retry_after(
            job, (uint32_t)retry_after_ms, "failed, as asked; not before the hint");
    return millrace_fail(job, "failed, as asked");
}

const struct millrace_kind mr_kind_test_fail = {
    .name = "test.fail",
    .help = "{\"times\":n,\"for_good\":bool,\"retry_after_ms\":ms} -> attempt; fails so "
            "often",
    .run = run,
};
