/*
 * Every hot statement that we run, in one table: name, text, types of parameters. Prepared once
 * per connection, so that a drift between C and SQL shows when a program starts and not under
 * load. Results are binary. Used by the .c files of this folder only.
 */
#ifndef MR_SQL_STMT_H
#define MR_SQL_STMT_H

#include "schemas/base/status.h"
#include "schemas/sql/bin.h"

struct mr_pg;

enum mr_stmt {
    /* both */
    MR_STMT_BEGIN,
    MR_STMT_COMMIT,
    MR_STMT_FLUSH,
    MR_STMT_FIND,
    /* the broker's writer */
    MR_STMT_FENCE,
    MR_STMT_ADD_JOBS,
    MR_STMT_ADD_ATTEMPTS,
    MR_STMT_ADD_RESULTS,
    MR_STMT_LOWER,
    MR_STMT_JUDGE_JOBS,
    MR_STMT_END_SESSIONS,
    MR_STMT_LOAD,
    MR_STMT_READ,
    MR_STMT_READ_PAYLOADS,
    MR_STMT_TAKE_INBOX,
    MR_STMT_AWAIT_INBOX,
    MR_STMT_RENEW,
    MR_STMT_RAISE,
    MR_STMT_LIST,
    MR_STMT_SHOW,
    MR_STMT_SHOW_ATTEMPTS,
    MR_STMT_DEAD,
    MR_STMT_REDRIVE_ALONE,
    MR_STMT_REDRIVE,
    MR_STMT_WHY,
    MR_STMT_AUDIT,
    MR_STMT_PAUSE,
    /* workers */
    MR_STMT_FINISH,
    MR_STMT_FINISH_GROUP,
    MR_STMT_IMPATIENT,
    MR_STMT_INBOX_PUT,
    /* a worker's committer */
    MR_STMT_FINISH_MANY,
    MR_STMT_IS_JOB,
};
#define MR_STMT_COUNT (MR_STMT_IS_JOB + 1)

enum mr_stmt_set {
    MR_STMT_BOTH = 1,
    MR_STMT_STORE = 2,
    MR_STMT_WORKER = 4,
    MR_STMT_BATCH = 8
};

/* COPY cannot be prepared, and is not in a pipeline: see copy.h. */
enum mr_stmt_copy { MR_STMT_COPY_JOBS, MR_STMT_COPY_RESULTS };

/* Parameters of one call. Zeroed memory is empty; start a call with mr_args_reset. */
#define MR_ARGS_MAX 19
struct mr_args {
    struct mr_bin bin;
    int count;
    size_t at[MR_ARGS_MAX];
};
void mr_stmt_args_reset(struct mr_args *args);
/* The next field that is written into args->bin is the next parameter. */
struct mr_bin *mr_stmt_arg(struct mr_args *args);
void mr_stmt_args_fini(struct mr_args *args);

/* Prepare the statements of a set, and those of MR_STMT_BOTH, unless this connection has
 * them; one round trip. In an open transaction too. MR_VERSION if the schema does not fit. */
enum mr_status mr_stmt_prepare(
    struct mr_pg *pg, enum mr_stmt_set set, struct mr_err *err) MR_MUST_CHECK;

/* Send one. `args` may be NULL (no parameters); its memory is free again afterwards. */
enum mr_status mr_stmt_send(struct mr_pg *pg, enum mr_stmt stmt,
    const struct mr_args *args, struct mr_err *err) MR_MUST_CHECK;

/* What it does, in a few words, for errors. */
const char *mr_stmt_what(enum mr_stmt stmt);

const char *mr_stmt_copy_text(enum mr_stmt_copy copy);
const char *mr_stmt_copy_what(enum mr_stmt_copy copy);

/* Prepared name (also for EXECUTE) and text. */
const char *mr_stmt_name(enum mr_stmt stmt);
const char *mr_stmt_text(enum mr_stmt stmt);

#endif
