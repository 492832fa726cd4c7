#include "schemas/base/status.h"

#include "schemas/base/span.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct row {
    enum mr_status status;
    const char *name;
    const char *text;
};

#define ROW(name, text)                                                                  \
    {                                                                                    \
        MR_##name, #name, text                                                           \
    }

static const struct row rows[] = {
    ROW(OK, "Done."),
    ROW(BUSY, "The broker is full at the moment; send the same again after the hint."),
    ROW(STORE_DOWN, "PostgreSQL cannot be reached or refuses writes; nothing was "
                    "accepted, send the same "
                    "again later."),
    ROW(STORE_FULL, "The disk of PostgreSQL is full; nothing was accepted. Make room, "
                    "then send the same "
                    "again."),
    ROW(STARTING, "The broker is still loading; send the same again in a moment."),
    ROW(TIMEOUT, "No answer in time, so the outcome is unknown; ask for the job by its "
                 "id, or submit "
                 "it again with the same id."),
    ROW(UNREACHABLE,
        "No broker answers at the endpoint; check that it runs and that the endpoint is "
        "right."),
    ROW(MOVED, "Another broker has this now; connect to the endpoint that it names."),
    ROW(FENCED, "Another broker owns the shard by now; connect to that one and send the "
                "same again."),
    ROW(DRAINING, "The broker is being stopped; use another endpoint or wait for it."),
    ROW(MALFORMED, "The bytes are not a valid message; mend the program that sent them, "
                   "do not resend."),
    ROW(TOO_BIG, "Larger than the limit; send less, or a reference to the data."),
    ROW(BAD_ID, "Not a UUID of version 7, or its time is too far from now; make a new id "
                "and check "
                "the clock."),
    ROW(DENIED, "These credentials do not allow this; ask whoever runs the broker."),
    ROW(VERSION, "The two sides speak different versions of the protocol or of the "
                 "schema; upgrade "
                 "the older one."),
    ROW(NO_METHOD, "The broker has no such method; check its spelling and version."),
    ROW(OVER_CREDIT, "More jobs were sent than there was credit for."),
    ROW(BAD_ARGUMENT, "An argument is missing or has a wrong value."),
    ROW(BAD_SETTING, "A setting is unknown or has a wrong value."),
    ROW(NO_KIND,
        "No worker has ever offered this kind; check its spelling or start a worker that "
        "has it."),
    ROW(NOT_FOUND, "There is no such thing under that name."),
    ROW(ADDRESS_IN_USE, "Another program already listens on that address; stop it or "
                        "choose another port."),
    ROW(KNOWN, "The same job was accepted before and is not finished; it counts once."),
    ROW(CONFLICT, "The id belongs to a job with another body, so this one was refused; "
                  "make a new id."),
    ROW(FINISHED, "The same job was accepted before and is finished; its result stands."),
    ROW(EXPIRED, "Its expiry was over before it could be accepted; it was not stored."),
    ROW(LIMIT, "A limit of the queue or of the kind does not allow this job."),
    ROW(STALE, "Not the current attempt of that job; drop what it produced."),
    ROW(NO_JOB, "There is no job with that id."),
    ROW(CANCELLED, "The job was cancelled."),
    ROW(JOB_FAILED, "The job ran and failed; its error says why."),
    ROW(NO_SESSION, "The broker does not know this session; say HELLO again."),
    ROW(INTERNAL, "A mistake of ours; please report it with the log lines around it."),
    ROW(NO_MEMORY, "Out of memory; give the program more or lower its limits."),
};

static const struct row *
find(long code)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if ((long)rows[i].status == code)
            return &rows[i];
    }
    return NULL;
}

const char *
mr_status_name(enum mr_status status)
{
    const struct row *row = find((long)status);

    return row ? row->name : "UNKNOWN";
}

const char *
mr_status_text(enum mr_status status)
{
    const struct row *row = find((long)status);

    return row ? row->text : "A number that this version does not know.";
}

bool
mr_status_is_known(long code)
{
    return find(code) != NULL;
}

bool
mr_status_is_retryable(enum mr_status status)
{
    return (int)status / 100 == 1;
}

static void
copy(char *to, size_t room, const char *from)
{
    struct mr_span text = mr_span_cut(mr_span_str(from), room - 1);

    if (text.n > 0)
        memmove(to, text.p, text.n);
    to[text.n] = '\0';
}

enum mr_status
mr_err_set(struct mr_err *err, enum mr_status status, const char *what, const char *why,
    const char *todo)
{
    if (!err)
        return status;
    err->status = status;
    copy(err->what, sizeof err->what, what);
    copy(err->why, sizeof err->why, why);
    copy(err->todo, sizeof err->todo, todo);
    return status;
}

enum mr_status
mr_err_setf(struct mr_err *err, enum mr_status status, const char *what, const char *todo,
    const char *why_format, ...)
{
    char why[sizeof err->why];
    va_list args;

    if (!err)
        return status;
    /* First into a room of its own: the arguments may point into err itself. */
    va_start(args, why_format);
    if (vsnprintf(why, sizeof why, why_format, args) < 0)
        why[0] = '\0';
    va_end(args);
    return mr_err_set(err, status, what, why, todo);
}

_Noreturn void
mr_assert_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "millrace: %s:%d: this must hold but does not: %s\n", file, line,
        expression);
    abort();
}
