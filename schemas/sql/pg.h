/*
 * One PostgreSQL connection: open, reconnect, run, transaction. The folder schemas/sql is the
 * only user of libpq. A connection belongs to one thread; only mr_pg_cancel may be called from
 * another one. All statements carry parameters; nothing is built from text.
 */
#ifndef MR_SQL_PG_H
#define MR_SQL_PG_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/span.h"
#include "schemas/base/status.h"

struct mr_pg;
struct mr_pg_cancel;
struct pg_conn;   /* libpq's PGconn */
struct pg_result; /* libpq's PGresult */

/*
 * Connect (connect_timeout 3 s unless conninfo says otherwise, keep-alives and
 * tcp_user_timeout set, target_session_attrs read-write unless given), switch lc_messages to C
 * and, unless the role or database has its own, the search path to `public`: handlers' tables
 * go there. `application_name` is how the broker finds and ends a lost worker's sessions.
 * MR_STORE_DOWN when the server cannot be reached,
 * MR_DENIED for a wrong password, a missing right, role or database, MR_BAD_SETTING for a
 * connection string that is none, MR_VERSION for a server below 15.
 */
enum mr_status mr_pg_open(struct mr_pg **out, const char *conninfo,
    const char *application_name, struct mr_err *err) MR_MUST_CHECK;
void mr_pg_close(struct mr_pg **pg);

bool mr_pg_is_alive(const struct mr_pg *pg);

/* Text parameters. `result` is freed with mr_pg_free_result by the caller (NULL: not wanted). */
enum mr_status mr_pg_run(struct mr_pg *pg, const char *sql, int count,
    const char *const *params, struct pg_result **result,
    struct mr_err *err) MR_MUST_CHECK;
void mr_pg_free_result(struct pg_result **result);

int mr_pg_rows(const struct pg_result *result);
long mr_pg_affected(const struct pg_result *result);
const char *mr_pg_text(
    const struct pg_result *result, int row, int column);               /* NULL: null */
int64_t mr_pg_int(const struct pg_result *result, int row, int column); /* 0: null */

enum mr_status mr_pg_begin(struct mr_pg *pg, struct mr_err *err) MR_MUST_CHECK;
/* Never fails: a dead connection has rolled back. Keeps mr_pg_sqlstate. */
void mr_pg_rollback(struct mr_pg *pg);

/* True if a transaction is open (a failed one included). */
bool mr_pg_in_transaction(const struct mr_pg *pg);

/* SQLSTATE of the last error, "" if there was none; lives until the next call. */
const char *mr_pg_sqlstate(const struct mr_pg *pg);

/*
 * What an SQLSTATE means for us, from one table: 40001, 40P01, 55P03 (a lock was not free in
 * time) -> MR_BUSY; 08xxx, 57P0x, 53xxx, 25006 (read only) and a lost connection ->
 * MR_STORE_DOWN; 53100 -> MR_STORE_FULL; 28xxx, 42501 -> MR_DENIED; 23xxx, 22xxx ->
 * MR_BAD_ARGUMENT; 57014 (cancelled) -> MR_CANCELLED; 42P01, 3F000, 42883, 42703 (no such
 * table, schema, function, column) -> MR_VERSION; ours: MR001 (the fence) -> MR_FENCED, MR002 ->
 * MR_FINISHED, MR003 -> MR_NO_JOB, MR004 (another number of rows than was demanded) ->
 * MR_BAD_ARGUMENT, MR005 (no such principal or grant) -> MR_NOT_FOUND; the rest -> MR_INTERNAL.
 */
enum mr_status mr_pg_classify(const char *sqlstate);

struct pg_conn *mr_pg_raw(struct mr_pg *pg);

/* A handle by which another thread stops the statement in flight. Take it after open, give it
 * to that thread, free it there. Never used around a COMMIT of ours. */
struct mr_pg_cancel *mr_pg_cancel_new(struct mr_pg *pg);
enum mr_status mr_pg_cancel(
    struct mr_pg_cancel *cancel) MR_MUST_CHECK; /* blocks on connect */
void mr_pg_cancel_free(struct mr_pg_cancel **cancel);

#endif
