/*
 * Rows by COPY BINARY: with many rows it costs a third of an insert, and two thirds of its log. One simple query begins the transaction, does what must be first, copies and,
 * when nothing is to follow, commits: two round trips. COPY knows no "on conflict": when it
 * fails nothing is written, and the caller takes the way that can decide about rows. One thread.
 */
#ifndef MR_SQL_COPY_H
#define MR_SQL_COPY_H

#include "schemas/sql/pg_priv.h"

/* From so many rows on. Measured, in CPU us a row of both sides, insert against COPY: job 19.5 and
 * 13.4 at 32 rows, 13.2 and 8.5 at 64, 8.3 and 5.1 at 250; result 16.8 and 13.5, 13.0 and 8.0,
 * 7.3 and 3.2. Below 20 the second round trip costs more. */
#define MR_COPY_MIN 32u
#define MR_COPY_FIRST_MAX 160

struct mr_copy {
    struct mr_pg *pg;
    struct mr_bin *bin; /* the caller's memory: rows are put here */
    enum mr_stmt_copy table;
    bool is_whole; /* commit at the end; else the transaction stays open */
    /* Prepared statements to be executed first, each ended by a semicolon. Text, because libpq has
     * no COPY in a pipeline: made of numbers and ids of ours only. */
    char first[MR_COPY_FIRST_MAX];
};

/* Begin. MR_NOT_FOUND: one of the first statements is a query that found no row. */
enum mr_status mr_copy_start(struct mr_copy *copy, struct mr_err *err) MR_MUST_CHECK;

/* After each row. False: no use in going on, mr_copy_end says why. */
bool mr_copy_row(struct mr_copy *copy);

/* MR_OK: all rows are in the open transaction, or, if the copy is whole, durable. Else, as after
 * mr_copy_start that failed: rolled back, or the connection is gone (MR_STORE_DOWN; then it may
 * have committed). */
enum mr_status mr_copy_end(struct mr_copy *copy, struct mr_err *err) MR_MUST_CHECK;

#endif
