/* Kinds that put a job into a situation that `millrace explain` has to tell. */
#include "worker/millrace_worker.h"

#include <poll.h>
#include <signal.h>

static enum millrace_answer
snooze(struct millrace_job *job)
{
    return millrace_snooze(job, 3600000);
}

static enum millrace_answer
stay(struct millrace_job *job)
{
    millrace_progress(job, 405, "page 81 of 200");
    while (!millrace_is_cancelled(job))
        (void)poll(NULL, 0, 10);
    return MILLRACE_SUCCEEDED;
}

static enum millrace_answer
die(struct millrace_job *job)
{
    (void)job;
    raise(SIGKILL);
    return MILLRACE_SUCCEEDED;
}

static const struct millrace_kind snooze_kind = {
    .name = "why.snooze", .help = "comes back in an hour", .run = snooze};
static const struct millrace_kind stay_kind = {
    .name = "why.stay", .help = "runs until it is cancelled", .run = stay};
static const struct millrace_kind one_kind = {
    .name = "why.one", .help = "the same, one at a time", .run = stay, .running_max = 1};
static const struct millrace_kind die_kind = {
    .name = "why.die", .help = "ends its worker", .run = die};
const struct millrace_kind *const millrace_kinds[] = {
    &snooze_kind, &stay_kind, &one_kind, &die_kind, NULL};
const int millrace_kinds_api = MILLRACE_KINDS_API;
