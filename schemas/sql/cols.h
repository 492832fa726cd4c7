/*
 * The columns that the broker writes, once for both ways in: as arrays for unnest and as rows
 * for COPY. The order is that of the statements in stmt.c. Pure.
 */
#ifndef MR_SQL_COLS_H
#define MR_SQL_COLS_H

#include "schemas/sql/bin.h"
#include "schemas/sql/rows.h"
#include "schemas/sql/stmt.h"

struct mr_cols; /* one table's */

extern const struct mr_cols mr_cols_job, mr_cols_attempt, mr_cols_result;

/* One array per column, of ops[order[from..to)]. */
void mr_cols_arrays(const struct mr_cols *cols, struct mr_args *args,
    const struct mr_store_op *ops, const uint32_t *order, uint32_t from, uint32_t to,
    uint32_t shard);

/* One row of COPY BINARY. */
void mr_cols_row(const struct mr_cols *cols, struct mr_bin *bin,
    const struct mr_store_op *op, uint32_t shard);

#endif
