/* A calculation with a result of many bytes that cannot be compressed: {kib} -> so much of it. */
#include "worker/millrace_worker.h"

#include <stdlib.h>

#define KIB_MAX 1000

static enum millrace_answer
fill(struct millrace_job *job)
{
    uint64_t state = UINT64_C(88172645463325252);
    int64_t kib = 0;
    size_t n;
    unsigned char *bytes;

    if (!millrace_arg_int(job, "kib", &kib) || kib < 1 || kib > KIB_MAX)
        return millrace_fail_for_good(job, "give kib, 1 to %d", KIB_MAX);
    n = (size_t)kib * 1024;
    bytes = malloc(n);
    if (!bytes)
        return millrace_fail(job, "out of memory");
    for (size_t i = 0; i < n; i++) {
        state ^= state << 13; /* xorshift64 */
        state ^= state >> 7;
        state ^= state << 17;
        bytes[i] = (unsigned char)(state >> 32);
    }
    millrace_put_bin(job, bytes, n);
    free(bytes);
    return MILLRACE_SUCCEEDED;
}

static const struct millrace_kind fill_kind = {
    .name = "large.fill", .help = "{kib} -> that many KiB", .run = fill};

extern const struct millrace_kind *const millrace_kinds[];
const struct millrace_kind *const millrace_kinds[] = {&fill_kind, NULL};
extern const int millrace_kinds_api;
const int millrace_kinds_api = MILLRACE_KINDS_API;
