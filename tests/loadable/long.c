/*
 * Kinds that work for a long time and say nothing meanwhile: long.burn keeps a processor busy,
 * long.query is one SQL statement of its own transaction, long.write sleeps and then writes.
 * For the run that shows that a live job is never taken for a lost one.
 */
#include "worker/millrace_worker.h"

#include <stdio.h>
#include <time.h>

static int64_t
now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static enum millrace_answer
burn(struct millrace_job *job)
{
    int64_t ms = 0, until_ms;
    volatile uint64_t kept = 1;

    if (!millrace_arg_int(job, "ms", &ms))
        return millrace_fail_for_good(job, "give ms");
    until_ms = now_ms() + ms;
    while (now_ms() < until_ms)
        for (int i = 0; i < 1000000; i++)
            kept = kept * UINT64_C(6364136223846793005) + 1;
    millrace_put_int(job, millrace_job_attempt(job));
    return MILLRACE_SUCCEEDED;
}

static enum millrace_answer
note(struct millrace_job *job)
{
    char attempt[16];
    const char *const params[] = {millrace_job_id(job), attempt};

    (void)snprintf(attempt, sizeof attempt, "%u", millrace_job_attempt(job));
    return millrace_sql(job, "insert into public.long values ($1, $2)", 2, params)
               ? MILLRACE_SUCCEEDED
               : millrace_sql_failed(job);
}

static enum millrace_answer
query(struct millrace_job *job)
{
    int64_t ms = 0;
    char seconds[32];
    const char *const params[] = {seconds};

    if (!millrace_arg_int(job, "ms", &ms))
        return millrace_fail_for_good(job, "give ms");
    (void)snprintf(
        seconds, sizeof seconds, "%lld.%03d", (long long)(ms / 1000), (int)(ms % 1000));
    if (!millrace_sql(job, "select pg_sleep($1)", 1, params))
        return millrace_sql_failed(job);
    return note(job);
}

static enum millrace_answer
write_late(struct millrace_job *job)
{
    int64_t ms = 0;
    struct timespec pause;

    if (!millrace_arg_int(job, "ms", &ms))
        return millrace_fail_for_good(job, "give ms");
    pause = (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&pause, &pause) != 0)
        ;
    return note(job);
}

static const struct millrace_kind kinds[] = {
    {.name = "long.burn", .help = "{ms} -> attempt; burns a processor", .run = burn},
    {.name = "long.query",
        .help = "{ms}; one statement takes so long",
        .run = query,
        .is_transactional = true},
    {.name = "long.write",
        .help = "{ms}; sleeps, then writes",
        .run = write_late,
        .is_transactional = true},
};
const struct millrace_kind *const millrace_kinds[] = {
    &kinds[0], &kinds[1], &kinds[2], NULL};
const int millrace_kinds_api = MILLRACE_KINDS_API;
