#include "schemas/sql/copy.h"

#include <stdio.h>
#include <string.h>

#include <libpq-fe.h>

#define CHUNK_BYTES (64u * 1024) /* the server reads as much at a time */
#define TEXT_MAX 1024

/* Signature, flags, length of the header's extension. */
static const char header[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0";
static const char cut_off[] = "cut off by the client";

static enum mr_status
fail(struct mr_copy *copy, const struct pg_result *result, struct mr_err *err)
{
    return mr_pg_fail(copy->pg, result, mr_stmt_copy_what(copy->table), err);
}

/* Results of the simple query up to the one that is not a finished statement, which is returned
 * (NULL: the end). *last_is_commit: the last finished one was COMMIT, and did it. */
static struct pg_result *
read_on(struct mr_copy *copy, bool *found_all, bool *last_is_commit)
{
    for (;;) {
        struct pg_result *result = mr_pg_next(copy->pg);
        ExecStatusType got = PQresultStatus(result);

        if (!result || (got != PGRES_COMMAND_OK && got != PGRES_TUPLES_OK))
            return result;
        *last_is_commit = strcmp(PQcmdStatus(result), "COMMIT") == 0;
        if (got == PGRES_TUPLES_OK && PQntuples(result) == 0)
            *found_all = false;
        PQclear(result);
    }
}

static enum mr_status
give_up(struct mr_copy *copy, enum mr_status status)
{
    mr_pg_drain(copy->pg);
    mr_pg_rollback(copy->pg);
    return status;
}

enum mr_status
mr_copy_start(struct mr_copy *copy, struct mr_err *err)
{
    struct mr_pg *pg = copy->pg;
    bool found_all = true, is_commit = false;
    struct pg_result *result;
    enum mr_status status = MR_OK;
    char text[TEXT_MAX];
    int n = snprintf(text, sizeof text, "begin; %s%s%s", copy->first,
        mr_stmt_copy_text(copy->table), copy->is_whole ? "; commit" : "");

    MR_ASSERT(n > 0 && (size_t)n < sizeof text);
    pg->sqlstate[0] = '\0';
    pg->is_in_doubt = false;
    if (pg->is_dead || !PQsendQuery(pg->conn, text))
        return fail(copy, NULL, err);
    result = read_on(copy, &found_all, &is_commit);
    if (PQresultStatus(result) != PGRES_COPY_IN)
        status = fail(copy, result, err);
    else if (!found_all)
        status = mr_err_set(err, MR_NOT_FOUND, mr_stmt_copy_what(copy->table),
            "what must be there first is not there", NULL);
    PQclear(result);
    if (status == MR_NOT_FOUND && PQputCopyEnd(pg->conn, cut_off) != 1)
        status = fail(copy, NULL, err);
    if (status != MR_OK)
        return give_up(copy, status);
    mr_bin_reset(copy->bin);
    mr_bin_raw(copy->bin, header, sizeof header - 1);
    return MR_OK;
}

static bool
send_rows(struct mr_copy *copy)
{
    struct mr_bin *bin = copy->bin;

    return !bin->is_full &&
           PQputCopyData(copy->pg->conn, (const char *)bin->p, (int)bin->n) == 1;
}

bool
mr_copy_row(struct mr_copy *copy)
{
    if (copy->bin->n < CHUNK_BYTES)
        return !copy->bin->is_full;
    if (!send_rows(copy)) {
        copy->bin->is_full = true;
        return false;
    }
    mr_bin_reset(copy->bin);
    return true;
}

enum mr_status
mr_copy_end(struct mr_copy *copy, struct mr_err *err)
{
    struct mr_pg *pg = copy->pg;
    bool found_all = true, is_commit = false;
    struct pg_result *result;
    enum mr_status status = MR_OK;

    mr_bin_i16(copy->bin, -1);
    if (PQputCopyEnd(pg->conn, send_rows(copy) ? NULL : cut_off) != 1)
        return give_up(copy, fail(copy, NULL, err));
    result = read_on(copy, &found_all, &is_commit);
    /* COMMIT of a failed transaction answers ROLLBACK, and no error. The end of the results is
     * the server's word that it is ready again: only with it is anything known. */
    if (result || !mr_pg_is_alive(pg) || (copy->is_whole && !is_commit))
        status = fail(copy, result, err);
    PQclear(result);
    if (copy->bin->is_full && mr_pg_is_alive(pg))
        status = mr_err_set(err, MR_NO_MEMORY, mr_stmt_copy_what(copy->table),
            "its rows do not fit into memory", "Send less at a time.");
    if (status != MR_OK)
        return give_up(copy, status);
    if (copy->is_whole && pg->is_in_doubt)
        return mr_err_set(err, MR_STORE_DOWN, "a commit is in doubt",
            "PostgreSQL stopped waiting for its standby", "Check the standby.");
    return MR_OK;
}
