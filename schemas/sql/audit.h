/*
 * The audit log: who did what, and who was refused. The database chains the rows (0007_audit.sql);
 * the broker's writer adds them, a person's program reads them back.
 */
#ifndef MR_SQL_AUDIT_H
#define MR_SQL_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/span.h"
#include "schemas/base/status.h"
#include "schemas/sql/pg.h"
#include "schemas/sql/store.h"

/* ---- writing ------------------------------------------------------------------------------- */

/* One entry to be written. Empty spans are null; what a text column would refuse becomes '?'. */
struct mr_audit_row {
    int64_t at_us; /* since 1970; 0: when it is written */
    struct mr_span principal, key, action, object, detail, source;
    uint64_t count; /* how often; 0 is 1 */
    bool is_allowed;
};

/* All of them, in this order, in one transaction of their own. Not under the epoch: what was
 * refused was refused, whoever owns the shard now. Repeating it after MR_STORE_DOWN may write
 * them twice. */
enum mr_status mr_store_audit(struct mr_store *store, const struct mr_audit_row *rows,
    uint32_t count, struct mr_err *err) MR_MUST_CHECK;

/* ---- reading ------------------------------------------------------------------------------- */

/* Columns as text, in the order in which they are hashed; NULL: null. */
enum mr_audit_column {
    MR_AUDIT_SEQ,
    MR_AUDIT_AT, /* microseconds since 1970; null: not a time */
    MR_AUDIT_PRINCIPAL,
    MR_AUDIT_KEY,
    MR_AUDIT_ACTION,
    MR_AUDIT_OBJECT,
    MR_AUDIT_DECISION,
    MR_AUDIT_COUNT,
    MR_AUDIT_DETAIL,
    MR_AUDIT_SOURCE,
    MR_AUDIT_SHARD,
    MR_AUDIT_EPOCH,
    MR_AUDIT_PREVIOUS, /* hex */
    MR_AUDIT_HASH,     /* hex */
};
#define MR_AUDIT_COLUMNS (MR_AUDIT_HASH + 1)

/* `columns` live during the call only. Return false to stop. */
typedef bool (*mr_audit_fn)(void *context, const char *const columns[MR_AUDIT_COLUMNS]);

/* The next `limit` rows above `after` (INT64_MIN: from the start), by seq. *count: how many. */
enum mr_status mr_audit_read(struct mr_pg *pg, int64_t after, uint32_t limit,
    mr_audit_fn fn, void *context, uint32_t *count, struct mr_err *err) MR_MUST_CHECK;

/* What the database says of the log as a whole, at one moment. */
struct mr_audit_end {
    bool has_head; /* the row of audit_head is there */
    int64_t head_seq;
    char head_hash[65]; /* hex */
    int64_t last_seq;   /* of the rows; 0: there is none */
    int64_t rows;
};
enum mr_status mr_audit_read_end(
    struct mr_pg *pg, struct mr_audit_end *end, struct mr_err *err) MR_MUST_CHECK;

/* Filters of `millrace audit list`; NULL and 0 do not filter. */
struct mr_audit_filter {
    const char *principal;
    int64_t since_us;
    bool is_refused; /* only these */
    uint32_t limit;
};
/* The newest first. */
enum mr_status mr_audit_list(struct mr_pg *pg, const struct mr_audit_filter *filter,
    mr_audit_fn fn, void *context, struct mr_err *err) MR_MUST_CHECK;

#endif
