/*
 * From an attempt to what came of it: calls the handler, finishes its transaction, tries again
 * in place what the database asks to try again. Blocks; executors' threads only. The public API
 * (millrace_worker.h, in the files api_*.c) works on the struct below.
 */
#ifndef MR_WORKER_RUN_H
#define MR_WORKER_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/arena.h"
#include "schemas/base/status.h"
#include "schemas/sql/tx.h"
#include "schemas/wire/body.h"
#include "worker/attempt.h"
#include "worker/canceller.h"
#include "worker/db.h"

#define MR_RUN_ARENA_BYTES_MAX ((size_t)16 * 1024 * 1024)
#define MR_RUN_TRIES_MAX                                                                 \
    5 /* in place, after serialization failures and lost connections */

struct mr_seal_ask;

/* What the thread lends. */
struct mr_run_conf {
    struct mr_db *db;       /* NULL: SQL fails */
    struct mr_guard *guard; /* NULL: nothing is cancelled here */
    struct mr_span worker;  /* name for people, in result rows */
    void *context;
    /* Wait so long, or until the worker has to stop: false then. */
    bool (*pause)(void *context, int ms);
    /* The guard could not be closed: wait until it can. */
    void (*await_cancel)(void *context);
    /* There is progress, or is_handled has changed where that may last; may be NULL. */
    void (*on_news)(void *context);
    /* Seal the payload of a follow-up job; NULL: they are not sealed. */
    enum mr_status (*seal)(void *context, struct mr_seal_ask *ask);
};

/* A follow-up job of the attempt that runs. */
struct mr_seal_ask {
    struct mr_note note; /* MR_NOTE_SEAL: on its way through a child process */
    struct mr_span label, kind, plain;
    uint8_t *out; /* room for mr_seal_bytes(plain.n) */
    enum mr_status status;
};

struct millrace_rows {
    struct pg_result *result;
    struct millrace_rows *next;
};

/* One executor's: used for one attempt after the other. */
struct millrace_job {
    struct mr_run_conf conf;
    struct mr_attempt *attempt;
    struct mr_arena *arena;
    struct mr_body *args;
    char id[MR_UUID_TEXT_MAX];
    char kind[MR_NAME_BYTES_MAX + 1];

    struct mr_tx *tx;           /* statements that wait to be sent */
    struct millrace_rows *rows; /* to be freed after run() */
    struct mr_err err;          /* of the last failed statement */
    enum mr_status sql_status;
    char sqlstate[6];
    bool is_open;         /* the guard is: what is sent may be cancelled */
    bool has_begun;       /* this call of the handler had a transaction */
    bool says_sql_failed; /* the handler returned millrace_sql_failed() */
    bool saw_stop;        /* the handler was told, so that its answer may be anything */
    bool is_text_given;
    char text[MR_ERROR_BYTES_MAX + 1];
    uint32_t retry_after_ms;
};

enum mr_status mr_run_new(
    struct millrace_job **out, const struct mr_run_conf *conf) MR_MUST_CHECK;
void mr_run_destroy(struct millrace_job **job);

enum mr_run_end {
    MR_RUN_OVER,     /* attempt->done is filled; what has to be durable is */
    MR_RUN_TO_STORE, /* attempt->finish is filled: the committer's turn */
    MR_RUN_ALONE,    /* of a group: nothing of it has happened; to be run again, alone */
};
enum mr_run_end mr_run_attempt(struct millrace_job *job, struct mr_attempt *attempt);

/*
 * Several attempts of one kind with a group_max, first ones, in one transaction (group.c). Whoever
 * fails before anything of it was sent is left out, to be run alone; else, and when a lock is not
 * free in time, one has to stop, or a result stands, nothing is committed and all are to be run
 * alone. ends[i] is that of attempts[i].
 */
void mr_run_group(struct millrace_job *job, struct mr_attempt *const *attempts,
    uint32_t count, enum mr_run_end *ends);

/* attempt->finish, from what the attempt says about itself. */
void mr_run_fill_finish(struct mr_attempt *attempt, struct mr_span worker);

/* For the API: somebody may want to look at the attempt. */
void mr_run_tell(const struct millrace_job *job);

/* For the API: a statement may be sent or queued. False: job->err and sql_status say why. */
bool mr_run_is_ready(struct millrace_job *job);

/* For the API: in the transaction, which is opened with it: what is queued, and this statement
 * unless `sql` is NULL. False as above. */
bool mr_run_sql(struct millrace_job *job, const char *sql, int count,
    const char *const *params, struct pg_result **result);

/* For the API: a statement failed with this. What merely follows from an earlier failure ("the
 * transaction is aborted") does not take its place. */
void mr_run_sql_failed(
    struct millrace_job *job, enum mr_status status, const struct mr_err *err);

/* For the API: what stands between the two parts of the reason. */
const char *mr_run_colon(const struct mr_err *err);

#endif
