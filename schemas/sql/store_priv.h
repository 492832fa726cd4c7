/*
 * The store's inside, for the files of this folder that make it up: store.c (life, ownership,
 * small tables), batch.c (commit), judge.c (what was there before), load.c (reading),
 * list.c and dead.c (for people).
 */
#ifndef MR_SQL_STORE_PRIV_H
#define MR_SQL_STORE_PRIV_H

#include "schemas/sql/cols.h"
#include "schemas/sql/pg_priv.h"
#include "schemas/sql/store.h"

#define MR_STORE_OPS_MAX 65536u                 /* of one batch */
#define MR_STORE_FOUND_BYTES (8u * 1024 * 1024) /* bodies of one look-up */
#define MR_STORE_INBOX_BYTES (8u * 1024 * 1024) /* payloads of one take */
#define MR_STORE_DAYS_AHEAD 3

struct mr_store {
    struct mr_pg *pg; /* NULL or dead: reconnect */
    char *conninfo;
    uint32_t shard;
    struct mr_uuid broker;
    uint64_t epoch;   /* 0: not claimed */
    bool is_in_doubt; /* a batch was not answered: its rows may be there */
    bool has_lock;    /* this connection holds the shard's advisory lock */
    int64_t timeline; /* of the server we spoke to last */
    struct mr_uuid low_water;
    int64_t horizon_ms;  /* days are made up to here */
    struct mr_args args; /* reused */
    uint32_t *order;     /* of the batch under way: ops to be written, by table and id */
    uint32_t order_cap;
    int64_t rights_version;  /* as it was read last */
    bool has_heard;          /* rights have changed since, or may have */
    struct mr_uuid *doubted; /* inbox rows whose move was not answered: moved or not */
    uint32_t doubted_count;
};

/* MR_STORE_DOWN with words if there is no usable connection. */
enum mr_status mr_store_is_ready(
    struct mr_store *store, struct mr_err *err) MR_MUST_CHECK;

/* Days exist for all ids below: reads the horizon, makes days first if it is near. */
enum mr_status mr_store_look_ahead(
    struct mr_store *store, struct mr_err *err) MR_MUST_CHECK;

/* From now on the server tells this connection when rights change. */
enum mr_status mr_store_rights_listen(
    struct mr_store *store, struct mr_pg *pg, struct mr_err *err) MR_MUST_CHECK;

void mr_store_arg_fence(struct mr_store *store);

/* Parameters of MR_STMT_AUDIT. */
struct mr_audit_row;
void mr_store_arg_audit(
    struct mr_store *store, const struct mr_audit_row *rows, uint32_t count);

/*
 * Ops that were not written because something was there: `pending` are numbers of ops of
 * type JOB or RESULT; fills status and found_*. Reads only; call after the commit.
 */
enum mr_status mr_judge_ops(struct mr_store *store, struct mr_store_batch *batch,
    uint32_t *pending, uint32_t count, struct mr_err *err) MR_MUST_CHECK;

/* ---- lists for people ----------------------------------------------------------------------- */

/* How a column becomes a value: nil if it is null. */
enum mr_list_form { MR_FORM_ID, MR_FORM_TEXT, MR_FORM_INT, MR_FORM_TIME, MR_FORM_BIN };

struct mr_list_field {
    const char *name;
    enum mr_list_form form;
};

/* A parameter: the owner to filter by, null for any. */
void mr_list_put_reach(struct mr_args *args, struct mr_reach reach);

/* The first `count` columns of a row as pairs of a map that is open. */
void mr_list_put(struct mr_wr *out, const struct pg_result *row, int at,
    const struct mr_list_field *fields, int count);

/* The pair attempt_rows: what became of the attempts that did not succeed. */
enum mr_status mr_list_put_attempts(struct mr_store *store, struct mr_uuid id,
    struct mr_wr *out, struct mr_err *err) MR_MUST_CHECK;

#endif
