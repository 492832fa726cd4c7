/*
 * test.hold: its first attempt takes a row's lock in its own transaction and then does nothing
 * for a minute; later ones only want that row. For tests of what a frozen worker leaves behind.
 */
#include "worker/millrace_worker.h"

#include <poll.h>

static enum millrace_answer
hold(struct millrace_job *job)
{
    if (!millrace_sql(job, "insert into public.held (id) values (1)", 0, NULL))
        return millrace_sql_failed(job);
    for (int i = 0; i < 600 && millrace_job_attempt(job) == 1; i++) {
        if (millrace_is_cancelled(job))
            break;
        (void)poll(NULL, 0, 100);
    }
    return MILLRACE_SUCCEEDED;
}

static const struct millrace_kind hold_kind = {.name = "test.hold",
    .help = "holds a lock for a minute, once",
    .run = hold,
    .is_transactional = true};
const struct millrace_kind *const millrace_kinds[] = {&hold_kind, NULL};
const int millrace_kinds_api = MILLRACE_KINDS_API;
