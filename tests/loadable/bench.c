/*
 * The kind of the benches: does nothing and returns 32 bytes, so that what is measured is
 * millrace.
 */
#include "worker/millrace_worker.h"

static enum millrace_answer
run(struct millrace_job *job)
{
    static const unsigned char answer[30];

    millrace_put_bin(job, answer, sizeof answer); /* and 2 bytes in front of them */
    return MILLRACE_SUCCEEDED;
}

static const struct millrace_kind kind = {
    .name = "bench.answer", .help = "anything -> 32 bytes", .run = run};

extern const int millrace_kinds_api;
const int millrace_kinds_api = MILLRACE_KINDS_API;

extern const struct millrace_kind *const millrace_kinds[];
const struct millrace_kind *const millrace_kinds[] = {&kind, 0};
