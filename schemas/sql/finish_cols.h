/*
 * The columns of a result row that a worker writes, as parameters: one list for statements that
 * take many rows as arrays, whether they are results of a pool or of a group. Inside
 * schemas/sql only; pure.
 */
#ifndef MR_SQL_FINISH_COLS_H
#define MR_SQL_FINISH_COLS_H

#include "schemas/sql/bin.h"
#include "schemas/sql/finish.h"

enum mr_finish_col {
    MR_FINISH_ID,
    MR_FINISH_ATTEMPT,
    MR_FINISH_WORKER,
    MR_FINISH_STARTED_AT,
    MR_FINISH_FINISHED_AT,
    MR_FINISH_BODY,
    MR_FINISH_COLS
};

/* The type of that column. */
enum mr_bin_type mr_finish_col_type(enum mr_finish_col col);
/* Its value in one row, behind what is in `bin`. */
void mr_finish_col_put(
    enum mr_finish_col col, struct mr_bin *bin, const struct mr_finish *finish);

#endif
