/*
 * A kind of which many jobs share a transaction: group.add {n} writes a row. One in 50 fails for
 * good when its row has been sent, one in 50 the first time, before anything of it was. The table
 * has no constraint that would help.
 */
#include "worker/millrace_worker.h"

#include <stdio.h>

static enum millrace_answer
add(struct millrace_job *job)
{
    char number[24];
    const char *const params[] = {millrace_job_id(job), number};
    int64_t n = 0;

    if (!millrace_arg_int(job, "n", &n))
        return millrace_fail_for_good(job, "give n");
    (void)snprintf(number, sizeof number, "%lld", (long long)n);
    if (!millrace_sql_later(job, "insert into public.added values ($1, $2)", 2, params))
        return millrace_sql_failed(job);
    if (n % 50 == 9 && millrace_job_attempt(job) == 1)
        return millrace_fail(job, "the first time");
    if (n % 50 == 7) {
        if (!millrace_sql(job, "select 1", 0, NULL))
            return millrace_sql_failed(job);
        return millrace_fail_for_good(job, "%lld is not wanted", (long long)n);
    }
    millrace_put_int(job, n);
    return MILLRACE_SUCCEEDED;
}

static const struct millrace_kind add_kind = {.name = "group.add",
    .help = "{n} -> n",
    .run = add,
    .is_transactional = true,
    .backoff_base_ms = 10,
    .group_max = 25};

extern const int millrace_kinds_api;
const int millrace_kinds_api = MILLRACE_KINDS_API;

extern const struct millrace_kind *const millrace_kinds[];
const struct millrace_kind *const millrace_kinds[] = {&add_kind, 0};
