#include "schemas/sql/tx.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <libpq-fe.h>

#include "schemas/base/arena.h"
#include "schemas/sql/known.h"
#include "schemas/sql/tx_priv.h"

#define ARENA_BYTES_MAX ((size_t)16 * 1024 * 1024)
#define SHOWN_MAX 110 /* of a statement, in errors */
#define PARAMS_MAX 65535
#define UNMET "MR004"

struct item {
    const char *sql;  /* as it is sent; NULL: a statement of ours */
    const char *text; /* as the handler wrote it */
    int count;
    const char *const *params;
    const struct mr_args *inbox; /* of one of ours */
    struct mr_tx_demand demand;
    bool is_demanded;
    bool is_checked; /* by us: the server does not do it */
    bool is_awaited; /* the handler waits for the result */
    bool has_prepare;
    struct mr_known_stmt *known;
};

struct mr_tx {
    struct mr_arena *arena; /* copies of what is queued */
    struct item items[MR_TX_QUEUED_MAX + 1];
    int count, sent;
    bool has_checks;
    bool is_refused, is_refused_for_good;
    bool is_impatient;
    unsigned flights; /* so often the queue was emptied */

    /* Of the pipeline that was run last. */
    bool has_failed; /* one of these, and first */
    bool is_stale;   /* the server knows a prepared statement no more, or differently */
    struct pg_result *result; /* of the one that is awaited */
};

enum mr_status
mr_tx_new(struct mr_tx **out)
{
    struct mr_tx *tx = calloc(1, sizeof *tx);

    *out = NULL;
    if (!tx)
        return MR_NO_MEMORY;
    if (mr_arena_new(&tx->arena, ARENA_BYTES_MAX)) {
        free(tx);
        return MR_NO_MEMORY;
    }
    *out = tx;
    return MR_OK;
}

void
mr_tx_destroy(struct mr_tx **tx)
{
    if (!*tx)
        return;
    mr_arena_destroy(&(*tx)->arena);
    free(*tx);
    *tx = NULL;
}

static void
forget_items(struct mr_tx *tx)
{
    tx->count = tx->sent = 0;
    tx->has_checks = false;
    tx->flights++;
    mr_arena_reset(tx->arena);
}

void
mr_tx_reset(struct mr_tx *tx)
{
    forget_items(tx);
    tx->is_refused = tx->is_refused_for_good = tx->has_failed = false;
    tx->is_impatient = false;
}

void
mr_tx_be_impatient(struct mr_tx *tx)
{
    tx->is_impatient = true;
}

struct mr_tx_mark
mr_tx_mark(const struct mr_tx *tx)
{
    return (struct mr_tx_mark){.count = tx->count, .flights = tx->flights};
}

bool
mr_tx_was_sent(const struct mr_tx *tx, struct mr_tx_mark mark)
{
    return tx->flights != mark.flights;
}

bool
mr_tx_cut(struct mr_tx *tx, struct mr_tx_mark mark)
{
    if (mr_tx_was_sent(tx, mark))
        return false;
    tx->count = mark.count;
    tx->is_refused = tx->is_refused_for_good = false;
    return true;
}

bool
mr_tx_is_empty(const struct mr_tx *tx)
{
    return tx->count == 0;
}

bool
mr_tx_is_full(const struct mr_tx *tx)
{
    return tx->count >= MR_TX_QUEUED_MAX || mr_arena_used(tx->arena) >= MR_TX_BYTES_MAX;
}

void
mr_tx_refuse(struct mr_tx *tx)
{
    tx->is_refused = true;
}

bool
mr_tx_is_refused(const struct mr_tx *tx)
{
    return tx->is_refused;
}

bool
mr_tx_is_refused_for_good(const struct mr_tx *tx)
{
    return tx->is_refused_for_good;
}

bool
mr_tx_has_failed(const struct mr_tx *tx)
{
    return tx && tx->has_failed;
}

bool
mr_tx_has_checks(const struct mr_tx *tx)
{
    return tx && tx->has_checks;
}

/* ---- queueing -------------------------------------------------------------------------------- */

static enum mr_status
no_room(struct mr_err *err)
{
    return mr_err_set(err, MR_NO_MEMORY, "SQL statement failed",
        "there is no memory to queue it (16 MiB)", "Queue less at a time.");
}

static bool
begins_with(const char *sql, const char *word)
{
    size_t n = strlen(word);

    while (isspace((unsigned char)*sql))
        sql++;
    return strncasecmp(sql, word, n) == 0 && !isalnum((unsigned char)sql[n]);
}

/* Behind it the result row would be in another transaction. */
static bool
is_an_end(const char *sql)
{
    static const char *const words[] = {"commit", "end", "rollback", "abort", "prepare"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (begins_with(sql, words[i]))
            return true;
    return false;
}

/* A plain insert, update or delete: the server itself can refuse a wrong number of rows, so that
 * the COMMIT behind it does not happen. In doubt it is no plain one. */
static bool
is_plain(const char *sql)
{
    return (begins_with(sql, "insert") || begins_with(sql, "update") ||
               begins_with(sql, "delete")) &&
           !strchr(sql, ';') && !strcasestr(sql, "returning");
}

static enum mr_status
check(const char *sql, int count, struct mr_err *err)
{
    if (count < 0 || count > PARAMS_MAX)
        return mr_err_set(err, MR_BAD_ARGUMENT, "SQL statement failed",
            "the number of parameters is not one of 0 to 65535", NULL);
    if (begins_with(sql, "copy"))
        return mr_err_set(err, MR_BAD_ARGUMENT, "SQL statement failed",
            "COPY needs the connection itself, from millrace_pg()", NULL);
    return MR_OK;
}

static const char *
refusing(struct mr_tx *tx, const char *sql, long rows)
{
    static const char format[] =
        "with touched as (%s\nreturning 1) select case when count(*) <> %ld then "
        "millrace.wrong_rows(count(*), %ld) end from touched";
    size_t room = strlen(sql) + sizeof format + 64;
    char *out = mr_arena_alloc(tx->arena, room);

    if (out)
        (void)snprintf(out, room, format, sql, rows, rows);
    return out;
}

static bool
copy_params(struct mr_tx *tx, struct item *item, int count, const char *const *params)
{
    const char **copies;

    item->count = count;
    if (count == 0)
        return true;
    copies = mr_arena_alloc(tx->arena, (size_t)count * sizeof *copies);
    if (!copies)
        return false;
    for (int i = 0; i < count; i++) {
        copies[i] = NULL;
        if (!params[i])
            continue;
        copies[i] = mr_arena_str(tx->arena, mr_span_str(params[i]));
        if (!copies[i])
            return false;
    }
    item->params = copies;
    return true;
}

static bool
copy_demand(struct mr_tx *tx, struct item *item, const struct mr_tx_demand *demand)
{
    item->is_demanded = true;
    item->demand = *demand;
    if (demand->text) {
        item->demand.text = mr_arena_str(tx->arena, mr_span_str(demand->text));
        if (!item->demand.text)
            return false;
    }
    if (is_plain(item->text)) {
        item->sql = refusing(tx, item->text, demand->rows);
        return item->sql != NULL;
    }
    item->is_checked = tx->has_checks = true;
    return true;
}

enum mr_status
mr_tx_queue(struct mr_tx *tx, const char *sql, int count, const char *const *params,
    const struct mr_tx_demand *demand, struct mr_err *err)
{
    struct item *item = &tx->items[tx->count];
    enum mr_status status = check(sql, count, err);

    MR_ASSERT(tx->count < MR_TX_QUEUED_MAX);
    if (status)
        return status;
    if (is_an_end(sql))
        return mr_err_set(err, MR_BAD_ARGUMENT, "SQL statement failed",
            "the transaction is not the handler's to end, nor part of it in a queue",
            NULL);
    *item = (struct item){0};
    item->sql = item->text = mr_arena_str(tx->arena, mr_span_str(sql));
    if (!item->sql || !copy_params(tx, item, count, params) ||
        (demand && !copy_demand(tx, item, demand)))
        return no_room(err);
    tx->count++;
    return MR_OK;
}

enum mr_status
mr_tx_queue_inbox(struct mr_tx *tx, const struct mr_job_new *job, struct mr_uuid parent,
    struct mr_err *err)
{
    struct mr_args *args = mr_arena_alloc(tx->arena, sizeof *args);
    struct mr_args built = {0};
    struct mr_span bytes = MR_SPAN_NONE;
    bool is_whole;

    MR_ASSERT(tx->count < MR_TX_QUEUED_MAX);
    mr_inbox_args(&built, job, parent);
    is_whole = args && !built.bin.is_full &&
               mr_arena_copy(tx->arena, mr_span(built.bin.p, built.bin.n), &bytes);
    if (is_whole) {
        *args = built;
        /* Only read from now on. */
        args->bin.p = (uint8_t *)(uintptr_t)bytes.p;
        tx->items[tx->count++] = (struct item){.inbox = args};
    }
    mr_stmt_args_fini(&built);
    return is_whole ? MR_OK : no_room(err);
}

/* ---- sending ---------------------------------------------------------------------------------- */

static bool
send_theirs(struct mr_pg *pg, struct item *item)
{
    struct mr_known_stmt *known = mr_known_find(&pg->known, item->sql);

    item->known = known;
    if (!known)
        return PQsendQueryParams(pg->conn, item->sql, item->count, NULL, item->params,
                   NULL, NULL, 0) == 1;
    if (known->state == MR_KNOWN_TO_PREPARE) {
        if (!PQsendPrepare(pg->conn, known->name, known->sql, 0, NULL))
            return false;
        known->state = MR_KNOWN_SENT;
        item->has_prepare = true;
    }
    return PQsendQueryPrepared(
               pg->conn, known->name, item->count, item->params, NULL, NULL, 0) == 1;
}

static const char *
shown(const struct item *item, char out[SHOWN_MAX + 40])
{
    char text[SHOWN_MAX + 1];
    size_t n;

    if (item->is_awaited)
        return "SQL statement failed";
    if (!item->sql)
        return mr_stmt_what(MR_STMT_INBOX_PUT);
    n = mr_span_cut(mr_span_str(item->text), SHOWN_MAX).n;
    for (size_t i = 0; i < n; i++)
        text[i] = isspace((unsigned char)item->text[i]) ? ' ' : item->text[i];
    text[n] = '\0';
    (void)snprintf(out, SHOWN_MAX + 40, "queued statement failed (%s%s)", text,
        item->text[n] ? "..." : "");
    return out;
}

static void
blame(struct mr_tx *tx, struct mr_pipe *pipe, const struct item *item,
    const struct pg_result *result)
{
    char what[SHOWN_MAX + 40];

    if (pipe->status != MR_OK)
        return;
    pipe->status = mr_pg_fail(pipe->pg, result, shown(item, what), pipe->err);
    /* Another number of parameters than the text has: no fault of the connection. */
    if (strcmp(mr_pg_sqlstate(pipe->pg), "08P01") == 0 && mr_pg_is_alive(pipe->pg))
        pipe->status = pipe->err->status = MR_BAD_ARGUMENT;
    tx->has_failed = true;
}

void
mr_tx_begin(struct mr_tx *tx, struct mr_pipe *pipe)
{
    if (mr_pg_in_transaction(pipe->pg))
        return;
    (void)mr_pg_pipe_add(pipe, MR_STMT_BEGIN, NULL);
    if (tx && tx->is_impatient)
        (void)mr_pg_pipe_add(pipe, MR_STMT_IMPATIENT, NULL);
}

void
mr_tx_put(struct mr_tx *tx, struct mr_pipe *pipe)
{
    if (!tx)
        return;
    tx->has_failed = tx->is_stale = false;
    tx->sent = 0;
    pipe->tx = tx;
    pipe->tx_at = pipe->count;
    while (pipe->status == MR_OK && tx->sent < tx->count) {
        struct item *item = &tx->items[tx->sent];

        if (item->sql ? send_theirs(pipe->pg, item)
                      : mr_stmt_send(
                            pipe->pg, MR_STMT_INBOX_PUT, item->inbox, pipe->err) == MR_OK)
            tx->sent++;
        else
            blame(tx, pipe, item, NULL);
    }
}

/* ---- reading ---------------------------------------------------------------------------------- */

static bool
is_done(ExecStatusType got)
{
    return got == PGRES_COMMAND_OK || got == PGRES_TUPLES_OK || got == PGRES_EMPTY_QUERY;
}

/* Of the last failure: what was prepared here is not there any more (DISCARD), or its columns
 * have changed (ALTER TABLE). A new connection starts afresh. */
static bool
is_stale(const struct mr_pipe *pipe, const struct item *item)
{
    const char *state = mr_pg_sqlstate(pipe->pg);

    return item->known &&
           (strcmp(state, "26000") == 0 ||
               (strcmp(state, "0A000") == 0 && strstr(pipe->err->why, "cached plan")));
}

static void
take_prepare(struct mr_tx *tx, struct mr_pipe *pipe, struct item *item)
{
    struct pg_result *result = mr_pg_next(pipe->pg);

    if (is_done(PQresultStatus(result))) {
        item->known->state = MR_KNOWN_READY;
    } else {
        item->known->state = MR_KNOWN_TO_PREPARE;
        blame(tx, pipe, item, result);
    }
    PQclear(result);
    if (result)
        PQclear(mr_pg_next(pipe->pg)); /* the NULL behind each */
}

static void
refuse_demand(struct mr_tx *tx, struct mr_pipe *pipe, const struct item *item)
{
    tx->is_refused = true;
    tx->is_refused_for_good = item->demand.for_good;
    if (item->demand.text)
        (void)mr_err_set(pipe->err, MR_BAD_ARGUMENT, "", item->demand.text, NULL);
    pipe->status = MR_BAD_ARGUMENT;
}

static void
check_rows(struct mr_tx *tx, struct mr_pipe *pipe, const struct item *item,
    const struct pg_result *result)
{
    long touched = mr_pg_affected(result);
    char what[SHOWN_MAX + 40];

    if (touched == item->demand.rows || pipe->status != MR_OK)
        return;
    (void)mr_err_setf(pipe->err, MR_BAD_ARGUMENT, shown(item, what), NULL,
        "it touched %ld rows, not %ld", touched, item->demand.rows);
    tx->has_failed = true;
    refuse_demand(tx, pipe, item);
}

static void
take_one(struct mr_tx *tx, struct mr_pipe *pipe, struct item *item)
{
    bool was_good = pipe->status == MR_OK;
    struct pg_result *result;
    ExecStatusType got;

    if (item->has_prepare)
        take_prepare(tx, pipe, item);
    result = mr_pg_next(pipe->pg);
    got = PQresultStatus(result);
    if (!is_done(got))
        blame(tx, pipe, item, result);
    else if (item->is_checked)
        check_rows(tx, pipe, item, result);
    /* It never ends by reading on; what the server makes of the rest is not known. */
    if (got == PGRES_COPY_IN || got == PGRES_COPY_OUT || got == PGRES_COPY_BOTH)
        pipe->pg->is_dead = true;
    if (was_good && pipe->status != MR_OK && is_stale(pipe, item))
        tx->is_stale = true;
    if (was_good && item->is_demanded && strcmp(mr_pg_sqlstate(pipe->pg), UNMET) == 0)
        refuse_demand(tx, pipe, item);
    if (item->is_awaited && is_done(got))
        tx->result = result;
    else
        PQclear(result);
    if (result)
        PQclear(mr_pg_next(pipe->pg));
}

void
mr_tx_take(struct mr_tx *tx, struct mr_pipe *pipe)
{
    for (int i = 0; i < tx->sent && mr_pg_is_alive(pipe->pg); i++)
        take_one(tx, pipe, &tx->items[i]);
}

enum mr_status
mr_tx_done(struct mr_tx *tx, struct mr_pg *pg, enum mr_status status, struct mr_err *err)
{
    if (!tx)
        return status;
    /* What was under way when the connection was lost is that of no connection any more. */
    forget_items(tx);
    if (!tx->is_stale)
        return status;
    pg->is_dead = true;
    return err->status = MR_STORE_DOWN;
}

/* ---- without COMMIT ---------------------------------------------------------------------------- */

static enum mr_status
fly(struct mr_tx *tx, struct mr_pg *pg, struct mr_err *err)
{
    struct mr_pipe pipe;
    enum mr_status status = mr_stmt_prepare(pg, MR_STMT_WORKER, err);

    tx->result = NULL;
    if (status != MR_OK) {
        forget_items(tx);
        return status;
    }
    mr_pg_pipe_open(&pipe, pg, err);
    pipe.keeps_transaction = true;
    mr_tx_begin(tx, &pipe);
    mr_tx_put(tx, &pipe);
    status = mr_pg_pipe_run(&pipe);
    mr_pg_pipe_fini(&pipe);
    status = mr_tx_done(tx, pg, status, err);
    if (status != MR_OK)
        mr_pg_free_result(&tx->result);
    return status;
}

enum mr_status
mr_tx_send(struct mr_tx *tx, struct mr_pg *pg, struct mr_err *err)
{
    if (tx->count > 0 || !mr_pg_in_transaction(pg))
        return fly(tx, pg, err);
    tx->flights++; /* the caller may send something by itself */
    return MR_OK;
}

enum mr_status
mr_tx_run(struct mr_tx *tx, struct mr_pg *pg, const char *sql, int count,
    const char *const *params, struct pg_result **result, struct mr_err *err)
{
    enum mr_status status = check(sql, count, err);

    *result = NULL;
    if (status)
        return status;
    tx->items[tx->count++] = (struct item){
        .sql = sql, .text = sql, .count = count, .params = params, .is_awaited = true};
    status = fly(tx, pg, err);
    *result = tx->result;
    tx->result = NULL;
    return status;
}
