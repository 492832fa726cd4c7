/*
 * test.stuck: writes a row and, in its first attempt, heeds nothing until the file `until` is
 * there; then it goes on as if nothing had happened. For tests of what a handler that was written
 * off does when it wakes up.
 */
#include "worker/millrace_worker.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

static enum millrace_answer
stuck(struct millrace_job *job)
{
    char attempt[16];
    const char *until, *const params[] = {millrace_job_id(job), attempt};

    if (!millrace_arg_str(job, "until", &until))
        return millrace_fail_for_good(job, "give until, the path of a file");
    (void)snprintf(attempt, sizeof attempt, "%u", millrace_job_attempt(job));
    if (!millrace_sql(job, "insert into public.stuck values ($1, $2)", 2, params))
        return millrace_sql_failed(job);
    while (millrace_job_attempt(job) == 1 && access(until, F_OK) != 0)
        (void)poll(NULL, 0, 10);
    return MILLRACE_SUCCEEDED;
}

static const struct millrace_kind stuck_kind = {.name = "test.stuck",
    .help = "{until} -> nil; its first attempt waits for a file, whatever it is told",
    .run = stuck,
    .is_transactional = true};
const struct millrace_kind *const millrace_kinds[] = {&stuck_kind, NULL};
const int millrace_kinds_api = MILLRACE_KINDS_API;
