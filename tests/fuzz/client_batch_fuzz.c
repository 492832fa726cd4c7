/* Any bytes as a line of a batch: refused with a reason, or a job that the library can send. */
#include "tests/fuzz/fuzz.h"

#include "client/batch_line.h"
#include "schemas/wire/limits.h"

const char *const fuzz_seeds[] = {NULL};

static void
look_at(const struct mr_batch_line *line)
{
    const struct millrace_job *job = &line->job;

    MR_ASSERT(job->kind && json_is_object(line->json));
    MR_ASSERT(job->priority >= 0 && job->priority <= (int)MR_PRIORITY_MAX);
    MR_ASSERT(job->attempts_max <= MR_ATTEMPTS_MAX);
    MR_ASSERT(!job->args == !job->args_bytes && job->args_bytes <= MR_PAYLOAD_BYTES_MAX);
    MR_ASSERT(!job->args || mr_pack_scan(mr_span(job->args, job->args_bytes),
                                MR_PAYLOAD_DEPTH_MAX) == MR_OK);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct mr_err err = {.status = MR_OK};
    struct mr_batch_line line;
    enum mr_status status = mr_batch_line_parse(mr_span(bytes, n), "line 1", &line, &err);

    if (status) {
        MR_ASSERT(err.status == status && err.what[0] && err.why[0]);
        return 0;
    }
    look_at(&line);
    mr_batch_line_fini(&line);
    return 0;
}
