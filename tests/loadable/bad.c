/*
 * Handlers that do what a handler must not: results that are none, answers that are none, SQL
 * that is left in ruins, a transaction that is ended behind millrace's back. For tests.
 *
 * Each writes a row into public.bad first, so that a test can see what became of it.
 */
#include "worker/millrace_worker.h"

#include <stdlib.h>

/* libpq's own, as a kind that links it has them. */
struct pg_result;
struct pg_result *PQexec(struct pg_conn *connection, const char *sql);
void PQclear(struct pg_result *result);

static bool
put_row(struct millrace_job *job)
{
    const char *kind = millrace_job_kind(job);

    return millrace_sql(job, "insert into public.bad (kind) values ($1)", 1, &kind) !=
           NULL;
}

static bool
raw(struct millrace_job *job, const char *sql)
{
    struct pg_conn *connection = millrace_pg(job);

    if (!connection)
        return false;
    PQclear(PQexec(connection, sql));
    return true;
}

static enum millrace_answer
large(struct millrace_job *job)
{
    static const char piece[64 * 1024];

    if (!put_row(job))
        return millrace_sql_failed(job);
    millrace_put_array(job, 17);
    for (int i = 0; i < 17; i++)
        millrace_put_bin(job, piece, sizeof piece);
    return MILLRACE_SUCCEEDED;
}

static enum millrace_answer
unfinished(struct millrace_job *job)
{
    if (!put_row(job))
        return millrace_sql_failed(job);
    millrace_put_map(job, 2);
    millrace_put_str(job, "only");
    millrace_put_int(job, 1);
    return MILLRACE_SUCCEEDED;
}

static enum millrace_answer
two_values(struct millrace_job *job)
{
    if (!put_row(job))
        return millrace_sql_failed(job);
    millrace_put_int(job, 1);
    millrace_put_int(job, 2);
    return MILLRACE_SUCCEEDED;
}

static enum millrace_answer
deep(struct millrace_job *job)
{
    if (!put_row(job))
        return millrace_sql_failed(job);
    for (int i = 0; i < 1000; i++)
        millrace_put_array(job, 1);
    millrace_put_nil(job);
    return MILLRACE_SUCCEEDED;
}

static enum millrace_answer
no_text(struct millrace_job *job)
{
    if (!put_row(job))
        return millrace_sql_failed(job);
    millrace_put_str(job, "\xff\xfe");
    return MILLRACE_SUCCEEDED;
}

static enum millrace_answer
no_answer(struct millrace_job *job)
{
    int64_t answer = 77;

    (void)millrace_arg_int(job, "answer", &answer);
    if (!put_row(job))
        return millrace_sql_failed(job);
    return (enum millrace_answer)answer;
}

/* Succeeds as if nothing had been, with a statement that failed behind it. */
static enum millrace_answer
failed_sql(struct millrace_job *job)
{
    if (!put_row(job))
        return millrace_sql_failed(job);
    (void)millrace_sql(job, "select 1 / 0", 0, NULL);
    return MILLRACE_SUCCEEDED;
}

static enum millrace_answer
commits(struct millrace_job *job)
{
    return put_row(job) && raw(job, "commit") ? MILLRACE_SUCCEEDED
                                              : millrace_sql_failed(job);
}

static enum millrace_answer
rolls_back(struct millrace_job *job)
{
    return put_row(job) && raw(job, "rollback") ? MILLRACE_SUCCEEDED
                                                : millrace_sql_failed(job);
}

/* Leaves the connection in the middle of a COPY, where it takes no statement. */
static enum millrace_answer
copies(struct millrace_job *job)
{
    return put_row(job) && raw(job, "copy public.bad from stdin")
               ? MILLRACE_SUCCEEDED
               : millrace_sql_failed(job);
}

static enum millrace_answer
ends_session(struct millrace_job *job)
{
    if (put_row(job))
        (void)millrace_sql(job, "select pg_terminate_backend(pg_backend_pid())", 0, NULL);
    return millrace_sql_failed(job);
}

static enum millrace_answer
exits(struct millrace_job *job)
{
    if (!put_row(job))
        return millrace_sql_failed(job);
    _Exit(0);
}

#define KIND(function)                                                                   \
    &(const struct millrace_kind)                                                        \
    {                                                                                    \
        .name = "bad." #function, .help = "does what it must not", .run = function,      \
        .is_transactional = true                                                         \
    }

const struct millrace_kind *const millrace_kinds[] = {KIND(large), KIND(unfinished),
    KIND(two_values), KIND(deep), KIND(no_text), KIND(no_answer), KIND(failed_sql),
    KIND(commits), KIND(rolls_back), KIND(copies), KIND(ends_session), KIND(exits), NULL};
const int millrace_kinds_api = MILLRACE_KINDS_API;
