/*
 * The kinds of the benches: bench.answer does nothing and returns 32 bytes, so that what is
 * measured is millrace; bench.isolated is the same in a child process; bench.stamp returns when it
 * started, bench.mark and bench.hold write it down.
 */
#include "worker/millrace_worker.h"

#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static enum millrace_answer
run(struct millrace_job *job)
{
    static const unsigned char answer[30];

    millrace_put_bin(job, answer, sizeof answer); /* and 2 bytes in front of them */
    return MILLRACE_SUCCEEDED;
}

static long long
now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static enum millrace_answer
stamp(struct millrace_job *job)
{
    long long started_us = now_us();

    millrace_put_map(job, 1);
    millrace_put_str(job, "us");
    millrace_put_int(job, started_us);
    return MILLRACE_SUCCEEDED;
}

/* Slow enough that a table of waiting jobs stays nearly what it was. */
static enum millrace_answer
mark(struct millrace_job *job)
{
    const char *const params[] = {millrace_job_id(job)};

    if (!millrace_sql(
            job, "insert into public.mark values ($1, clock_timestamp())", 1, params))
        return millrace_sql_failed(job);
    (void)poll(NULL, 0, 50);
    return MILLRACE_SUCCEEDED;
}

/* Writes down attempt, process and microseconds; the first attempt stays until it is ended. */
static enum millrace_answer
hold(struct millrace_job *job)
{
    long long started_us = now_us();
    const char *path;
    FILE *file;

    if (!millrace_arg_str(job, "path", &path))
        return millrace_fail_for_good(job, "give path");
    file = fopen(path, "ae");
    if (!file)
        return millrace_fail_for_good(job, "%s cannot be written to", path);
    fprintf(file, "%u %d %lld\n", millrace_job_attempt(job), (int)getpid(), started_us);
    fclose(file);
    while (millrace_job_attempt(job) == 1)
        (void)poll(NULL, 0, 1000);
    return MILLRACE_SUCCEEDED;
}

static const struct millrace_kind answer_kind = {
    .name = "bench.answer", .help = "anything -> 32 bytes", .run = run};
static const struct millrace_kind stamp_kind = {
    .name = "bench.stamp", .help = "nothing -> {us}: when it started", .run = stamp};
static const struct millrace_kind isolated_kind = {.name = "bench.isolated",
    .help = "anything -> 32 bytes",
    .run = run,
    .is_isolated = true};
static const struct millrace_kind mark_kind = {.name = "bench.mark",
    .help = "writes down when it started",
    .run = mark,
    .is_transactional = true};

static const struct millrace_kind hold_kind = {
    .name = "bench.hold", .help = "{path}; its first attempt never ends", .run = hold};

extern const int millrace_kinds_api;
const int millrace_kinds_api = MILLRACE_KINDS_API;

extern const struct millrace_kind *const millrace_kinds[];
const struct millrace_kind *const millrace_kinds[] = {
    &answer_kind, &stamp_kind, &isolated_kind, &mark_kind, &hold_kind, 0};
