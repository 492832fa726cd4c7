/*
 * Handlers that would take a worker's process with them, or never give it back: they ask for a
 * process of their own. For tests.
 */
#include "worker/millrace_worker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define LEAK_MIB 256 /* an end, in case that nothing stops it */

static unsigned char *volatile kept[LEAK_MIB];
static volatile bool is_tired; /* never */

static enum millrace_answer
loop_for_ever(void)
{
    while (!is_tired)
        ;
    return MILLRACE_FAILED;
}

static enum millrace_answer
touches_nothing(struct millrace_job *job)
{
    volatile int *volatile nowhere = NULL;

    *nowhere = 1;
    return millrace_fail_for_good(job, "it went on");
}

static enum millrace_answer
aborts(struct millrace_job *job)
{
    (void)job;
    abort();
}

static enum millrace_answer
exits(struct millrace_job *job)
{
    (void)job;
    _exit(3);
}

static enum millrace_answer
kills_itself(struct millrace_job *job)
{
    (void)raise(SIGKILL);
    return millrace_fail_for_good(job, "it went on");
}

/* As careless code does. */
static enum millrace_answer
leaks(struct millrace_job *job)
{
    for (int i = 0; i < LEAK_MIB; i++) {
        kept[i] = malloc(MIB);
        memset(kept[i], 1, MIB);
    }
    millrace_put_int(job, LEAK_MIB);
    return MILLRACE_SUCCEEDED;
}

/* As careful code does. */
static enum millrace_answer
wants_much(struct millrace_job *job)
{
    unsigned char *volatile much = malloc(10240 * MIB);

    if (!much)
        return millrace_fail_for_good(job, "no memory for 10 GiB");
    free(much);
    return MILLRACE_SUCCEEDED;
}

/* Leaves so much behind; tells in which process. */
static enum millrace_answer
keeps(struct millrace_job *job)
{
    int64_t mib = 0;

    (void)millrace_arg_int(job, "mib", &mib);
    for (int i = 0; i < mib && i < LEAK_MIB; i++) {
        kept[i] = malloc(MIB);
        if (!kept[i])
            return millrace_fail_for_good(job, "no memory");
        memset(kept[i], 1, MIB);
    }
    millrace_put_map(job, 1);
    millrace_put_str(job, "pid");
    millrace_put_int(job, getpid());
    return MILLRACE_SUCCEEDED;
}

static enum millrace_answer
loops(struct millrace_job *job)
{
    sigset_t all;

    millrace_progress(job, 500, "looping");
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, NULL);
    return loop_for_ever();
}

/* Writes the number of a process into a file: "path". */
static bool
tell(struct millrace_job *job, pid_t pid)
{
    const char *path;
    FILE *file;

    if (!millrace_arg_str(job, "path", &path))
        return false;
    file = fopen(path, "w");
    if (!file)
        return false;
    (void)fprintf(file, "%d\n", (int)pid);
    return fclose(file) == 0;
}

/* A process that would live for ever, with everything open that its parent has. */
static enum millrace_answer
forks(struct millrace_job *job)
{
    pid_t pid = fork();

    if (pid == 0)
        for (;;)
            (void)pause();
    if (!tell(job, pid))
        return millrace_fail_for_good(job, "give a path");
    return loop_for_ever();
}

/* ... and ends itself, beside it. */
static enum millrace_answer
forks_and_exits(struct millrace_job *job)
{
    pid_t pid = fork();

    if (pid == 0)
        for (;;)
            (void)pause();
    if (!tell(job, pid))
        return millrace_fail_for_good(job, "give a path");
    _exit(0);
}

static enum millrace_answer
scribbles(struct millrace_job *job)
{
    static const char garbage[256] = "garbage";

    for (int fd = 3; fd < 1024; fd++)
        (void)!write(fd, garbage, sizeof garbage);
    millrace_put_str(job, "done");
    return MILLRACE_SUCCEEDED;
}

static enum millrace_answer
closes(struct millrace_job *job)
{
    (void)job;
    for (int fd = 0; fd < 1024; fd++)
        (void)close(fd);
    return loop_for_ever();
}

static enum millrace_answer
snoozes(struct millrace_job *job)
{
    if (millrace_job_attempt(job) == 1)
        return millrace_snooze(job, 20);
    millrace_put_int(job, millrace_job_attempt(job));
    return MILLRACE_SUCCEEDED;
}

/* A row, and then nothing for an hour, in SQL. */
static enum millrace_answer
sleeps_in_sql(struct millrace_job *job)
{
    if (!millrace_sql(job, "insert into public.bad values ('wild')", 0, NULL) ||
        !millrace_sql(job, "select pg_sleep(3600)", 0, NULL))
        return millrace_sql_failed(job);
    return MILLRACE_SUCCEEDED;
}

#define KIND(function, has_transaction)                                                  \
    &(const struct millrace_kind)                                                        \
    {                                                                                    \
        .name = "wild." #function, .help = "does what it says", .run = function,         \
        .is_isolated = true, .is_transactional = has_transaction                         \
    }

extern const int millrace_kinds_api;
const int millrace_kinds_api = MILLRACE_KINDS_API;

extern const struct millrace_kind *const millrace_kinds[];
const struct millrace_kind *const millrace_kinds[] = {KIND(touches_nothing, false),
    KIND(aborts, false), KIND(exits, false), KIND(kills_itself, false),
    KIND(leaks, false), KIND(wants_much, false), KIND(keeps, false), KIND(loops, false),
    KIND(forks, false), KIND(forks_and_exits, false), KIND(scribbles, false),
    KIND(closes, false), KIND(snoozes, false), KIND(sleeps_in_sql, true), NULL};
