/*
 * Outcomes of calls, and the same numbers on the wire. Append only: a number that was
 * released never changes its meaning. Any thread. No state.
 */
#ifndef MR_BASE_STATUS_H
#define MR_BASE_STATUS_H

#include <stdbool.h>
#include <stddef.h>

#define MR_MUST_CHECK __attribute__((warn_unused_result))
#define MR_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* The class (the hundreds) is the duty of whoever receives the number. */
enum mr_status {
    MR_OK = 0,

    /* 1xx: try again here, after the hint. */
    MR_BUSY = 101,        /* a table or window is full */
    MR_STORE_DOWN = 102,  /* PostgreSQL cannot be reached or refuses writes */
    MR_STORE_FULL = 103,  /* PostgreSQL's disk is full */
    MR_STARTING = 104,    /* the broker is loading what it has to know */
    MR_TIMEOUT = 105,     /* no answer in time; the outcome is unknown: ask by id */
    MR_UNREACHABLE = 106, /* no broker answers at the endpoint */

    /* 2xx: go elsewhere. */
    MR_MOVED = 201,
    MR_FENCED = 202,   /* another broker owns the shard (epoch moved) */
    MR_DRAINING = 203, /* the broker is being stopped */

    /* 3xx: your mistake; do not resend as it is. */
    MR_MALFORMED = 301,
    MR_TOO_BIG = 302,
    MR_BAD_ID = 303, /* not a UUIDv7, or too far from now */
    MR_DENIED = 304,
    MR_VERSION = 305, /* protocol or schema version */
    MR_NO_METHOD = 306,
    MR_OVER_CREDIT = 307,
    MR_BAD_ARGUMENT = 308,
    MR_BAD_SETTING = 309,
    MR_NO_KIND = 310, /* no worker has ever offered this kind */
    MR_NOT_FOUND = 311,
    MR_ADDRESS_IN_USE = 312,

    /* 4xx: verdict on one job. */
    MR_KNOWN = 401,    /* same id, same body: accepted before, not finished */
    MR_CONFLICT = 402, /* same id, another body: refused */
    MR_FINISHED = 403, /* same id, same body: finished, the result stands */
    MR_EXPIRED = 404,  /* its expiry was over before it could be accepted */
    MR_LIMIT = 405,
    MR_STALE = 406, /* not the current attempt of that job */
    MR_NO_JOB = 407,
    MR_CANCELLED = 408,
    MR_JOB_FAILED = 409,

    /* 5xx: conversation state; say HELLO again. */
    MR_NO_SESSION = 501,

    /* 9xx: our mistake. */
    MR_INTERNAL = 900,
    MR_NO_MEMORY = 901,
};

/* "BUSY", "STORE_DOWN", ...: the spelling used on the wire's page, in SQL and in logs.
 * Never NULL ("UNKNOWN" for a number that is not in the table). Static storage. */
const char *mr_status_name(enum mr_status status);

/* One sentence for people: what it means and what to do. Static storage. */
const char *mr_status_text(enum mr_status status);

/* True if `code` is a number of the enum: to be asked of anything that came from a peer. */
bool mr_status_is_known(long code);

/* True for class 1xx: the same request may succeed later at the same place. */
bool mr_status_is_retryable(enum mr_status status);

/*
 * What a person is told: what happened, why, what to do. Owned by the caller, filled only
 * on failure; every part is cut to its room and always terminated.
 */
struct mr_err {
    enum mr_status status;
    char what[160];
    char why[512];
    char todo[256];
};

/* Fill `err` (which may be NULL) and return `status`, so that failing is one line. The
 * three texts may be NULL. */
enum mr_status mr_err_set(struct mr_err *err, enum mr_status status, const char *what,
    const char *why, const char *todo);

/* The same with a formatted `why`. */
enum mr_status mr_err_setf(struct mr_err *err, enum mr_status status, const char *what,
    const char *todo, const char *why_format, ...) MR_PRINTF(5, 6);

/* Stays on in release. For our own mistakes only, never for bytes from a peer, rows or
 * settings: prints file, line and the expression, and aborts. */
#define MR_ASSERT(e) ((e) ? (void)0 : mr_assert_failed(#e, __FILE__, __LINE__))
_Noreturn void mr_assert_failed(const char *expression, const char *file, int line);

#endif
