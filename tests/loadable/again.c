/*
 * Kinds that always fail: again.slow with a backoff of its own, again.plain with none;
 * again.parent submits one of the latter with a backoff.
 */
#include "worker/millrace_worker.h"

static enum millrace_answer
fail(struct millrace_job *job)
{
    return millrace_fail(job, "as always");
}

static enum millrace_answer
parent(struct millrace_job *job)
{
    struct millrace_follow_up next = {.kind = "again.plain",
        .priority = MILLRACE_PRIORITY_DEFAULT,
        .attempts_max = 3,
        .backoff_base_ms = 10,
        .backoff_cap_ms = 5000,
        .backoff_factor_percent = 1000,
        .backoff_jitter_percent = MILLRACE_NO_JITTER};

    if (!millrace_submit(job, "next", &next, NULL))
        return millrace_sql_failed(job);
    return MILLRACE_SUCCEEDED;
}

static const struct millrace_kind slow_kind = {.name = "again.slow",
    .help = "fails three times",
    .run = fail,
    .attempts_max = 3,
    .backoff_base_ms = 20,
    .backoff_cap_ms = 5000,
    .backoff_factor_percent = 1000,
    .backoff_jitter_percent = MILLRACE_NO_JITTER};
static const struct millrace_kind plain_kind = {
    .name = "again.plain", .help = "fails", .run = fail};
static const struct millrace_kind parent_kind = {.name = "again.parent",
    .help = "submits an again.plain",
    .run = parent,
    .is_transactional = true};

const struct millrace_kind *const millrace_kinds[] = {
    &slow_kind, &plain_kind, &parent_kind, NULL};
const int millrace_kinds_api = MILLRACE_KINDS_API;
