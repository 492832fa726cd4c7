/* Kinds that prove that they have read {"marker": TEXT} without writing it anywhere: the result is the
 * sum of its bytes. */
#include "worker/millrace_worker.h"

static enum millrace_answer
see(struct millrace_job *job)
{
    const char *marker;
    int64_t sum = 0;

    if (!millrace_arg_str(job, "marker", &marker))
        return millrace_fail_for_good(job, "`marker` is missing");
    for (; *marker; marker++)
        sum += *marker;
    millrace_put_int(job, sum);
    return MILLRACE_SUCCEEDED;
}

/* Hands the marker on to a follow-up job. */
static enum millrace_answer
pass_on(struct millrace_job *job)
{
    struct millrace_follow_up next = {
        .kind = "seal.see", .priority = MILLRACE_PRIORITY_DEFAULT};
    struct millrace_pack *pack = millrace_pack_new(job);
    const char *marker;

    if (!millrace_arg_str(job, "marker", &marker))
        return millrace_fail_for_good(job, "`marker` is missing");
    millrace_pack_map(pack, 1);
    millrace_pack_str(pack, "marker");
    millrace_pack_str(pack, marker);
    next.payload = millrace_pack_bytes(pack, &next.payload_bytes);
    return millrace_submit(job, "next", &next, NULL) ? MILLRACE_SUCCEEDED
                                                     : millrace_sql_failed(job);
}

static const struct millrace_kind see_kind = {
    .name = "seal.see", .help = "{marker} -> the sum of its bytes", .run = see};
static const struct millrace_kind group_kind = {.name = "seal.group",
    .help = "{marker} -> the sum of its bytes, several in a transaction",
    .run = see,
    .is_transactional = true,
    .group_max = 16};
static const struct millrace_kind pass_on_kind = {.name = "seal.pass_on",
    .help = "{marker} -> nil, and a job seal.see",
    .run = pass_on,
    .is_transactional = true};
const struct millrace_kind *const millrace_kinds[] = {
    &see_kind, &group_kind, &pass_on_kind, NULL};
const int millrace_kinds_api = MILLRACE_KINDS_API;
