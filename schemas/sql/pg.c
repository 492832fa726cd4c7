#include "schemas/sql/pg.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "schemas/base/clock.h"
#include "schemas/sql/known.h"
#include "schemas/sql/pg_priv.h"

#define SERVER_VERSION_MIN 150000
#define TEXT_MAX 400 /* of a server's message in ours */

struct mr_pg_cancel {
    PGcancel *cancel;
};

/* ---- errors ---------------------------------------------------------------------------------- */

/* The longest prefix that fits decides; append what production teaches. */
static const struct {
    const char *prefix;
    enum mr_status status;
} classes[] = {
    {"MR001", MR_FENCED},
    {"MR002", MR_FINISHED},
    {"MR003", MR_NO_JOB},
    {"MR004", MR_BAD_ARGUMENT}, /* a queued statement touched another number of rows */
    {"MR005", MR_NOT_FOUND},    /* no such principal or grant */
    {"40001", MR_BUSY},         /* serialization failure */
    {"40P01", MR_BUSY},         /* deadlock */
    {"55P03", MR_BUSY},         /* a lock was not free in time */
    {"53100", MR_STORE_FULL},
    {"53", MR_STORE_DOWN}, /* connections, memory, a configured limit */
    {"08", MR_STORE_DOWN},
    {"57P0", MR_STORE_DOWN},  /* shutting down, starting up, session ended */
    {"25P03", MR_STORE_DOWN}, /* session ended: idle in a transaction */
    {"25006", MR_STORE_DOWN}, /* read only: it became a standby */
    {"57014", MR_CANCELLED},
    {"28", MR_DENIED},
    {"42501", MR_DENIED},
    {"42P01", MR_VERSION}, /* no such table, schema, function, column */
    {"3F000", MR_VERSION},
    {"42883", MR_VERSION},
    {"42703", MR_VERSION},
    {"22", MR_BAD_ARGUMENT},
    {"23", MR_BAD_ARGUMENT},
};

enum mr_status
mr_pg_classify(const char *sqlstate)
{
    enum mr_status status = MR_INTERNAL;
    size_t longest = 0;

    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        size_t n = strlen(classes[i].prefix);

        if (n > longest && strncmp(sqlstate, classes[i].prefix, n) == 0) {
            longest = n;
            status = classes[i].status;
        }
    }
    return status;
}

static const char *
todo_of(enum mr_status status)
{
    switch (status) {
    case MR_STORE_DOWN:
        return "Check that PostgreSQL runs and accepts connections; we try again.";
    case MR_STORE_FULL:
        return "Make room on the disk of PostgreSQL; nothing is lost meanwhile.";
    case MR_DENIED:
        return "Check user, password and rights in the connection string and "
               "pg_hba.conf.";
    case MR_VERSION:
        return "Run: millrace migrate";
    case MR_BUSY:
        return "Try again.";
    case MR_FENCED:
        return "Another broker owns the shard; stop this one.";
    default:
        return NULL;
    }
}

/* Without the newline that libpq ends its messages with. */
static void
copy_message(char out[TEXT_MAX], const char *text)
{
    size_t n = strlen(text);

    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
        n--;
    n = mr_span_cut(mr_span(text, n), TEXT_MAX - 1).n;
    memcpy(out, text, n);
    out[n] = '\0';
    for (char *p = out; *p; p++) {
        if (*p == '\n' || *p == '\t')
            *p = ' ';
    }
}

enum mr_status
mr_pg_fail(struct mr_pg *pg, const struct pg_result *result, const char *what,
    struct mr_err *err)
{
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *hint = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_HINT) : NULL;
    const char *primary =
        result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    enum mr_status status;
    char text[TEXT_MAX];

    snprintf(pg->sqlstate, sizeof pg->sqlstate, "%s", state ? state : "");
    /* After a write that failed libpq may not have seen yet that the connection has ended. */
    if (!state && !pg->is_dead)
        (void)PQconsumeInput(pg->conn);
    if (pg->is_dead || PQstatus(pg->conn) != CONNECTION_OK)
        status = MR_STORE_DOWN;
    else
        status = mr_pg_classify(pg->sqlstate);
    /* An ended session may have been told why: rights and disks are worth knowing. */
    if (status == MR_STORE_DOWN && state && mr_pg_classify(state) != MR_INTERNAL)
        status = mr_pg_classify(state);
    copy_message(text, primary       ? primary
                       : pg->is_dead ? "no answer from the server in time"
                       : result      ? PQresultErrorMessage(result)
                                     : PQerrorMessage(pg->conn));
    return mr_err_setf(err, status, what, hint ? hint : todo_of(status), "%s%s%s%s",
        text[0] ? text : "the connection to PostgreSQL was lost",
        state ? " (SQLSTATE " : "", state ? state : "", state ? ")" : "");
}

const char *
mr_pg_sqlstate(const struct mr_pg *pg)
{
    return pg->sqlstate;
}

/* ---- opening ------------------------------------------------------------------------------------- */

/* libpq quotes what it cannot read: of a password with a blank the second word looks like an option
 * to it, of one with an @ what follows looks like a host. `is_read`: the string as such was fine. */
static void
copy_safely(char out[TEXT_MAX], const char *message, const char *conninfo, bool is_read)
{
    const char *at = strchr(conninfo, '@');
    bool has_password = at || strcasestr(conninfo, "pass");
    bool is_ambiguous = at && strchr(at + 1, '@');

    if (strchr(message, '"') && (is_ambiguous || (has_password && !is_read)))
        message = "a part of the connection string cannot be used; it is not repeated "
                  "because it may belong to a password (with blanks: password='a b'; in "
                  "a URI % is %25 and @ is %40)";
    copy_message(out, message);
}

/* Before a session exists libpq tells no SQLSTATE, only the server's words. */
static const struct {
    const char *words;
    enum mr_status status;
    const char *todo;
} refusals[] = {
    {"password authentication failed", MR_DENIED,
        "Check user and password in the connection string."},
    {"no password supplied", MR_DENIED,
        "Put a password into the connection string, PGPASSFILE or PGPASSWORD."},
    {"authentication failed", MR_DENIED, "Check user and pg_hba.conf of the server."},
    {"no pg_hba.conf entry", MR_DENIED,
        "Let this user and host in: pg_hba.conf of the server. If it asks for TLS, say "
        "sslmode=verify-full."},
    {"certificate verify failed", MR_DENIED,
        "Name the authority that signed the server's certificate in sslrootcert, or find "
        "out who answers there."},
    {"does not match host name", MR_DENIED,
        "Use the name that is in the server's certificate as host, or find out who "
        "answers there."},
    {"does not support SSL", MR_DENIED,
        "Switch ssl on in the server: sslmode asks for it."},
    {"channel binding", MR_DENIED,
        "The server does not prove that it knows the password: let it use scram-sha-256, "
        "or find out who answers there."},
    {"permission denied", MR_DENIED, "Give the user the right to connect."},
    {"is not permitted to log in", MR_DENIED, "Use a role with the LOGIN attribute."},
    {"root certificate", MR_DENIED, "Check sslmode and sslrootcert."},
    {"starting up", MR_STORE_DOWN, "Wait; we try again."},
    {"shutting down", MR_STORE_DOWN, "Wait; we try again."},
    {"too many", MR_STORE_DOWN, "Raise max_connections or close other sessions."},
    {"invalid integer value", MR_BAD_SETTING, "Mend the connection string."},
    {"invalid port number", MR_BAD_SETTING, "Mend the connection string."},
};

static enum mr_status
refused(const char *conninfo, const char *message, struct mr_err *err)
{
    const char *what = "cannot connect to PostgreSQL";
    const char *end = strstr(message, "does not exist");
    char text[TEXT_MAX];

    copy_safely(text, message, conninfo, true);
    if (end && strstr(message, "FATAL:  database \""))
        return mr_err_set(err, MR_DENIED, what, text,
            "Create it (createdb NAME) or name another one in the connection string.");
    if (end && strstr(message, "FATAL:  role \""))
        return mr_err_set(err, MR_DENIED, what, text,
            "Create it (createuser NAME) or name another user in the connection string.");
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        if (strstr(message, refusals[i].words))
            return mr_err_set(err, refusals[i].status, what, text, refusals[i].todo);
    }
    return mr_err_set(err, MR_STORE_DOWN, what, text,
        "Check that PostgreSQL runs there, and host and port in the connection string.");
}

/* What libpq would print to our standard error. One warning matters: a commit that went on
 * without its standby (the text is fixed because lc_messages is C). */
static void
on_notice(void *context, const PGresult *notice)
{
    struct mr_pg *pg = context;
    const char *text = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);

    if (text && strstr(text, "synchronous replication"))
        pg->is_in_doubt = true;
}

/* One round trip. What the server's owner has set otherwise, and we only prefer, stays. Our own
 * statements name their schema; the path is the handlers'. A role called millrace must not
 * make them put their tables among ours. */
static const char setup_sql[] =
    "select set_config('jit', 'off', false), "
    "(select set_config('search_path', 'public', false) "
    "where current_setting('search_path') = '\"$user\", public'), "
    "set_config('client_min_messages', 'warning', false), "
    "(select set_config('client_connection_check_interval', '2s', false) "
    "where current_setting('client_connection_check_interval') = '0'), "
    "(select set_config('idle_in_transaction_session_timeout', '60s', false) "
    "where current_setting('idle_in_transaction_session_timeout') = '0'), "
    "(select set_config('lc_messages', 'C', false) "
    "where has_parameter_privilege('lc_messages', 'set'))";

static enum mr_status
check_conninfo(const char *conninfo, struct mr_err *err)
{
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo, &message);
    enum mr_status status = MR_OK;
    char text[TEXT_MAX];

    if (!options) {
        copy_safely(text, message ? message : "out of memory", conninfo, false);
        status = mr_err_set(err, MR_BAD_SETTING, "not a connection string", text,
            "Write it as \"host=... dbname=... user=...\" or postgresql://user@host/db.");
    }
    PQfreemem(message);
    PQconninfoFree(options);
    return status;
}

static PGconn *
connect_to(const char *conninfo, const char *application_name)
{
    /* Later ones win: first what we prefer, then what was asked for, then what we need. */
    const char *const names[] = {"connect_timeout", "keepalives_idle",
        "keepalives_interval", "keepalives_count", "tcp_user_timeout",
        "target_session_attrs", "dbname", "application_name", "client_encoding", NULL};
    const char *const values[] = {"3", "10", "3", "3", "5000", "read-write", conninfo,
        application_name, "UTF8", NULL};

    return PQconnectdbParams(names, values, 1);
}

enum mr_status
mr_pg_open(struct mr_pg **out, const char *conninfo, const char *application_name,
    struct mr_err *err)
{
    enum mr_status status = check_conninfo(conninfo, err);
    struct mr_pg *pg;

    *out = NULL;
    if (status != MR_OK)
        return status;
    pg = calloc(1, sizeof *pg);
    if (!pg)
        return mr_err_set(err, MR_NO_MEMORY, "cannot connect to PostgreSQL", NULL, NULL);
    pg->conn = connect_to(conninfo, application_name);
    if (!pg->conn) {
        status =
            mr_err_set(err, MR_NO_MEMORY, "cannot connect to PostgreSQL", NULL, NULL);
        goto fail;
    }
    if (PQstatus(pg->conn) != CONNECTION_OK) {
        status = refused(conninfo, PQerrorMessage(pg->conn), err);
        goto fail;
    }
    if (PQserverVersion(pg->conn) < SERVER_VERSION_MIN) {
        status = mr_err_setf(err, MR_VERSION, "this PostgreSQL is too old",
            "Use PostgreSQL 15 or newer.", "the server has version %d",
            PQserverVersion(pg->conn) / 10000);
        goto fail;
    }
    PQsetNoticeReceiver(pg->conn, on_notice, pg);
    status = mr_pg_run(pg, setup_sql, 0, NULL, NULL, err);
    if (status != MR_OK)
        goto fail;
    *out = pg;
    return MR_OK;
fail:
    mr_pg_close(&pg);
    return status;
}

void
mr_pg_close(struct mr_pg **pg)
{
    if (!*pg)
        return;
    PQfinish((*pg)->conn);
    mr_known_free(&(*pg)->known);
    free(*pg);
    *pg = NULL;
}

bool
mr_pg_is_alive(const struct mr_pg *pg)
{
    return !pg->is_dead && PQstatus(pg->conn) == CONNECTION_OK;
}

struct pg_conn *
mr_pg_raw(struct mr_pg *pg)
{
    return pg->conn;
}

/* ---- results ----------------------------------------------------------------------------------------- */

/* True when a result can be had without waiting. */
static bool
await(struct mr_pg *pg)
{
    int64_t until_us = mr_clock_now().mono_us + (int64_t)pg->limit_ms * 1000;

    while (PQisBusy(pg->conn)) {
        struct pollfd fd = {.fd = PQsocket(pg->conn), .events = POLLIN};
        int64_t left_ms = (until_us - mr_clock_now().mono_us) / 1000;

        if (left_ms <= 0 || fd.fd < 0)
            return false;
        /* An interrupted or early poll just looks again. */
        (void)poll(&fd, 1, (int)left_ms);
        if (!PQconsumeInput(pg->conn))
            return true; /* PQgetResult tells */
    }
    return true;
}

struct pg_result *
mr_pg_next(struct mr_pg *pg)
{
    if (pg->is_dead)
        return NULL;
    if (pg->limit_ms > 0 && !await(pg)) {
        pg->is_dead = true;
        return NULL;
    }
    return PQgetResult(pg->conn);
}

void
mr_pg_drain(struct mr_pg *pg)
{
    struct pg_result *result;

    while ((result = mr_pg_next(pg)) != NULL) {
        ExecStatusType got = PQresultStatus(result);

        PQclear(result);
        /* COPY never ends by reading on. */
        if (got == PGRES_COPY_IN || got == PGRES_COPY_OUT || got == PGRES_COPY_BOTH) {
            pg->is_dead = true;
            return;
        }
    }
}

static enum mr_status
take_result(
    struct mr_pg *pg, const char *what, struct pg_result **out, struct mr_err *err)
{
    struct pg_result *result = mr_pg_next(pg), *more;
    enum mr_status status = MR_OK;

    /* A text of several statements has several results: the first error or the last result. */
    while (result) {
        ExecStatusType got = PQresultStatus(result);

        if (got != PGRES_COMMAND_OK && got != PGRES_TUPLES_OK && got != PGRES_EMPTY_QUERY)
            break;
        more = mr_pg_next(pg);
        if (!more)
            break;
        PQclear(result);
        result = more;
    }
    if (!result || pg->is_dead ||
        (PQresultStatus(result) != PGRES_COMMAND_OK &&
            PQresultStatus(result) != PGRES_TUPLES_OK))
        status = mr_pg_fail(pg, result, what, err);
    mr_pg_drain(pg);
    if (status == MR_OK && out)
        *out = result;
    else
        PQclear(result);
    return status;
}

enum mr_status
mr_pg_run(struct mr_pg *pg, const char *sql, int count, const char *const *params,
    struct pg_result **result, struct mr_err *err)
{
    pg->sqlstate[0] = '\0';
    if (result)
        *result = NULL;
    if (!PQsendQueryParams(pg->conn, sql, count, NULL, params, NULL, NULL, 0))
        return mr_pg_fail(pg, NULL, "SQL statement failed", err);
    return take_result(pg, "SQL statement failed", result, err);
}

enum mr_status
mr_pg_script(struct mr_pg *pg, const char *sql, const char *what, struct mr_err *err)
{
    pg->sqlstate[0] = '\0';
    if (!PQsendQuery(pg->conn, sql))
        return mr_pg_fail(pg, NULL, what, err);
    return take_result(pg, what, NULL, err);
}

enum mr_status
mr_pg_exec(struct mr_pg *pg, enum mr_stmt stmt, const struct mr_args *args,
    struct pg_result **result, struct mr_err *err)
{
    enum mr_status status;

    pg->sqlstate[0] = '\0';
    if (result)
        *result = NULL;
    status = mr_stmt_send(pg, stmt, args, err);
    if (status != MR_OK)
        return status;
    return take_result(pg, mr_stmt_what(stmt), result, err);
}

/* The rest of what somebody does not want any more. */
static void
stop_rows(struct mr_pg *pg)
{
    PGcancel *cancel = PQgetCancel(pg->conn);
    char text[256];

    /* If it fails the rest is merely read. */
    if (cancel)
        (void)PQcancel(cancel, text, sizeof text);
    PQfreeCancel(cancel);
    mr_pg_drain(pg);
}

enum mr_status
mr_pg_each(struct mr_pg *pg, enum mr_stmt stmt, const struct mr_args *args,
    mr_pg_row_fn fn, void *context, struct mr_err *err)
{
    enum mr_status status;
    struct pg_result *result;

    pg->sqlstate[0] = '\0';
    status = mr_stmt_send(pg, stmt, args, err);
    if (status != MR_OK)
        return status;
    if (!PQsetSingleRowMode(pg->conn))
        return mr_pg_fail(pg, NULL, mr_stmt_what(stmt), err);
    for (;;) {
        ExecStatusType got;
        bool goes_on;

        result = mr_pg_next(pg);
        got = PQresultStatus(result);
        if (got != PGRES_SINGLE_TUPLE)
            break;
        goes_on = fn(context, result);
        PQclear(result);
        if (!goes_on) {
            stop_rows(pg);
            return mr_pg_is_alive(pg) ? MR_OK
                                      : mr_pg_fail(pg, NULL, mr_stmt_what(stmt), err);
        }
    }
    if (!result || PQresultStatus(result) != PGRES_TUPLES_OK)
        status = mr_pg_fail(pg, result, mr_stmt_what(stmt), err);
    PQclear(result);
    mr_pg_drain(pg);
    return status;
}

void
mr_pg_free_result(struct pg_result **result)
{
    PQclear(*result);
    *result = NULL;
}

int
mr_pg_rows(const struct pg_result *result)
{
    return PQntuples(result);
}

long
mr_pg_affected(const struct pg_result *result)
{
    /* libpq asks for a result that it may write to, but only reads this. */
    return strtol(PQcmdTuples((PGresult *)(uintptr_t)result), NULL, 10);
}

const char *
mr_pg_text(const struct pg_result *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column);
}

int64_t
mr_pg_int(const struct pg_result *result, int row, int column)
{
    const char *text = mr_pg_text(result, row, column);

    return text ? (int64_t)strtoll(text, NULL, 10) : 0;
}

/* ---- transactions ---------------------------------------------------------------------------------------- */

enum mr_status
mr_pg_begin(struct mr_pg *pg, struct mr_err *err)
{
    if (mr_pg_in_transaction(pg))
        return mr_err_set(err, MR_INTERNAL, "cannot begin a transaction",
            "one is open already on this connection", NULL);
    return mr_pg_script(pg, "begin", "cannot begin a transaction", err);
}

void
mr_pg_rollback(struct mr_pg *pg)
{
    char sqlstate[sizeof pg->sqlstate];

    if (!mr_pg_is_alive(pg) || !mr_pg_in_transaction(pg))
        return;
    /* The caller still wants to know why. */
    memcpy(sqlstate, pg->sqlstate, sizeof sqlstate);
    /* What cannot be rolled back is not committed either: such a connection is closed. */
    if (mr_pg_script(pg, "rollback", "cannot roll back", NULL) != MR_OK)
        pg->is_dead = true;
    memcpy(pg->sqlstate, sqlstate, sizeof sqlstate);
}

bool
mr_pg_in_transaction(const struct mr_pg *pg)
{
    PGTransactionStatusType got = PQtransactionStatus(pg->conn);

    return got == PQTRANS_INTRANS || got == PQTRANS_INERROR || got == PQTRANS_ACTIVE;
}

/* ---- cancelling from another thread -------------------------------------------------------------------- */

struct mr_pg_cancel *
mr_pg_cancel_new(struct mr_pg *pg)
{
    struct mr_pg_cancel *cancel = calloc(1, sizeof *cancel);

    if (!cancel)
        return NULL;
    cancel->cancel = PQgetCancel(pg->conn);
    if (!cancel->cancel)
        mr_pg_cancel_free(&cancel);
    return cancel;
}

enum mr_status
mr_pg_cancel(struct mr_pg_cancel *cancel)
{
    char text[256];

    return PQcancel(cancel->cancel, text, sizeof text) ? MR_OK : MR_STORE_DOWN;
}

void
mr_pg_cancel_free(struct mr_pg_cancel **cancel)
{
    if (!*cancel)
        return;
    PQfreeCancel((*cancel)->cancel);
    free(*cancel);
    *cancel = NULL;
}
