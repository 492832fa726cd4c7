#include "schemas/sql/store_priv.h"

#include <stdlib.h>

#include <libpq-fe.h>

#define LIST_MAX 1000u

/* How a column becomes a value: nil if it is null. */
enum form { FORM_ID, FORM_TEXT, FORM_INT, FORM_TIME, FORM_BIN };

struct field {
    const char *name;
    enum form form;
};

static const struct field job_fields[] = {
    {"id", FORM_ID},
    {"kind", FORM_TEXT},
    {"queue", FORM_TEXT},
    {"state", FORM_TEXT},
    {"priority", FORM_INT},
    {"attempts", FORM_INT},
    {"submitted_at", FORM_TIME},
    {"run_at", FORM_TIME},
    {"finished_at", FORM_TIME},
    {"error", FORM_TEXT},
    /* Of one job only. */
    {"retry_at", FORM_TIME},
    {"expires_at", FORM_TIME},
    {"lane", FORM_TEXT},
    {"started_at", FORM_TIME},
    {"worker", FORM_TEXT},
    {"timeout_ms", FORM_INT},
    {"attempts_max", FORM_INT},
    {"backoff_base_ms", FORM_INT},
    {"backoff_cap_ms", FORM_INT},
    {"backoff_factor_percent", FORM_INT},
    {"backoff_jitter_percent", FORM_INT},
    {"submitted_by", FORM_TEXT},
    {"trace", FORM_TEXT},
    {"shard", FORM_INT},
    {"payload", FORM_BIN},
    {"body", FORM_BIN},
};
#define LIST_FIELDS 10
#define SHOW_FIELDS ((int)(sizeof job_fields / sizeof job_fields[0]))

static const struct field attempt_fields[] = {
    {"attempt", FORM_INT},
    {"outcome", FORM_TEXT},
    {"worker", FORM_TEXT},
    {"started_at", FORM_TIME},
    {"finished_at", FORM_TIME},
    {"retry_at", FORM_TIME},
    {"error", FORM_TEXT},
};
#define ATTEMPT_FIELDS ((int)(sizeof attempt_fields / sizeof attempt_fields[0]))

static void
put_value(
    struct mr_wr *out, const struct pg_result *row, int at, int column, enum form form)
{
    char text[MR_UUID_TEXT_MAX];

    if (mr_bin_is_null(row, at, column)) {
        mr_wr_nil(out);
        return;
    }
    switch (form) {
    case FORM_ID:
        mr_wr_cstr(out, mr_uuid_format(mr_bin_uuid(row, at, column), text));
        break;
    case FORM_TEXT:
        mr_wr_str(out, mr_bin_span(row, at, column));
        break;
    case FORM_INT:
        mr_wr_int(out, mr_bin_int(row, at, column));
        break;
    case FORM_TIME:
        mr_wr_int(out, mr_bin_time(row, at, column));
        break;
    case FORM_BIN:
        mr_wr_bin(out, mr_bin_span(row, at, column));
        break;
    }
}

static void
put_fields(struct mr_wr *out, const struct pg_result *row, int at,
    const struct field *fields, int count)
{
    for (int i = 0; i < count; i++) {
        mr_wr_cstr(out, fields[i].name);
        put_value(out, row, at, i, fields[i].form);
    }
}

static enum mr_status
written(const struct mr_wr *out, const char *what, struct mr_err *err)
{
    if (out->status == MR_OK)
        return MR_OK;
    return mr_err_set(
        err, out->status, what, "the answer is too large", "Ask for fewer jobs.");
}

struct listing {
    struct mr_wr *out;
    uint32_t count;
};

static bool
on_row(void *context, const struct pg_result *row)
{
    struct listing *listing = context;

    mr_wr_map(listing->out, LIST_FIELDS);
    put_fields(listing->out, row, 0, job_fields, LIST_FIELDS);
    listing->count++;
    return listing->out->status == MR_OK;
}

enum mr_status
mr_store_list(struct mr_store *store, const struct mr_job_filter *filter,
    struct mr_wr *out, struct mr_err *err)
{
    struct listing listing = {.out = out};
    struct mr_args *args = &store->args;
    enum mr_status status = mr_store_is_ready(store, err);
    size_t mark;

    if (status != MR_OK)
        return status;
    mr_stmt_args_reset(args);
    mr_bin_put_some_bytes(mr_stmt_arg(args), filter->state);
    mr_bin_put_some_bytes(mr_stmt_arg(args), filter->kind);
    mr_bin_put_some_bytes(mr_stmt_arg(args), filter->queue);
    mr_bin_put_some_time(mr_stmt_arg(args), filter->since_us);
    mr_bin_put_some_time(mr_stmt_arg(args), filter->until_us);
    mr_bin_put_int8(
        mr_stmt_arg(args), filter->limit < LIST_MAX ? filter->limit : LIST_MAX);
    mark = mr_wr_array_open(out);
    status = mr_pg_each(store->pg, MR_STMT_LIST, args, on_row, &listing, err);
    mr_wr_close(out, mark, listing.count);
    return status == MR_OK ? written(out, "list jobs", err) : status;
}

static bool
on_attempt(void *context, const struct pg_result *row)
{
    struct listing *listing = context;

    mr_wr_map(listing->out, ATTEMPT_FIELDS);
    put_fields(listing->out, row, 0, attempt_fields, ATTEMPT_FIELDS);
    listing->count++;
    return listing->out->status == MR_OK;
}

enum mr_status
mr_store_show(
    struct mr_store *store, struct mr_uuid id, struct mr_wr *out, struct mr_err *err)
{
    struct listing listing = {.out = out};
    struct mr_args *args = &store->args;
    struct pg_result *result = NULL;
    enum mr_status status = mr_store_is_ready(store, err);
    size_t mark;

    if (status != MR_OK)
        return status;
    mr_stmt_args_reset(args);
    mr_bin_put_uuid(mr_stmt_arg(args), id);
    status = mr_pg_exec(store->pg, MR_STMT_SHOW, args, &result, err);
    if (status != MR_OK)
        return status;
    if (mr_pg_rows(result) == 0) {
        mr_pg_free_result(&result);
        mr_wr_nil(out);
        return written(out, "show a job", err);
    }
    mr_wr_map(out, SHOW_FIELDS + 1);
    put_fields(out, result, 0, job_fields, SHOW_FIELDS);
    mr_pg_free_result(&result);
    mr_wr_cstr(out, "attempt_rows");
    mark = mr_wr_array_open(out);
    status =
        mr_pg_each(store->pg, MR_STMT_SHOW_ATTEMPTS, args, on_attempt, &listing, err);
    mr_wr_close(out, mark, listing.count);
    return status == MR_OK ? written(out, "show a job", err) : status;
}
