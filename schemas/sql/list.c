#include "schemas/sql/store_priv.h"

#include <stdlib.h>

#include <libpq-fe.h>

#define LIST_MAX 1000u

static const struct mr_list_field job_fields[] = {
    {"id", MR_FORM_ID},
    {"kind", MR_FORM_TEXT},
    {"queue", MR_FORM_TEXT},
    {"state", MR_FORM_TEXT},
    {"priority", MR_FORM_INT},
    {"attempts", MR_FORM_INT},
    {"submitted_at", MR_FORM_TIME},
    {"run_at", MR_FORM_TIME},
    {"finished_at", MR_FORM_TIME},
    {"error", MR_FORM_TEXT},
    /* Of one job only. */
    {"retry_at", MR_FORM_TIME},
    {"expires_at", MR_FORM_TIME},
    {"lane", MR_FORM_TEXT},
    {"started_at", MR_FORM_TIME},
    {"worker", MR_FORM_TEXT},
    {"timeout_ms", MR_FORM_INT},
    {"attempts_max", MR_FORM_INT},
    {"backoff_base_ms", MR_FORM_INT},
    {"backoff_cap_ms", MR_FORM_INT},
    {"backoff_factor_percent", MR_FORM_INT},
    {"backoff_jitter_percent", MR_FORM_INT},
    {"submitted_by", MR_FORM_TEXT},
    {"trace", MR_FORM_TEXT},
    {"shard", MR_FORM_INT},
    {"redrive_of", MR_FORM_ID},
    {"redriven_as", MR_FORM_ID},
    {"reason", MR_FORM_TEXT},
    {"payload", MR_FORM_BIN},
    {"body", MR_FORM_BIN},
};
#define LIST_FIELDS 10
#define SHOW_FIELDS ((int)(sizeof job_fields / sizeof job_fields[0]))

static const struct mr_list_field attempt_fields[] = {
    {"attempt", MR_FORM_INT},
    {"outcome", MR_FORM_TEXT},
    {"worker", MR_FORM_TEXT},
    {"started_at", MR_FORM_TIME},
    {"finished_at", MR_FORM_TIME},
    {"retry_at", MR_FORM_TIME},
    {"error", MR_FORM_TEXT},
};
#define ATTEMPT_FIELDS ((int)(sizeof attempt_fields / sizeof attempt_fields[0]))

static void
put_value(struct mr_wr *out, const struct pg_result *row, int at, int column,
    enum mr_list_form form)
{
    char text[MR_UUID_TEXT_MAX];

    if (mr_bin_is_null(row, at, column)) {
        mr_wr_nil(out);
        return;
    }
    switch (form) {
    case MR_FORM_ID:
        mr_wr_cstr(out, mr_uuid_format(mr_bin_uuid(row, at, column), text));
        break;
    case MR_FORM_TEXT:
        mr_wr_str(out, mr_bin_span(row, at, column));
        break;
    case MR_FORM_INT:
        mr_wr_int(out, mr_bin_int(row, at, column));
        break;
    case MR_FORM_TIME:
        mr_wr_int(out, mr_bin_time(row, at, column));
        break;
    case MR_FORM_BIN:
        mr_wr_bin(out, mr_bin_span(row, at, column));
        break;
    }
}

void
mr_list_put(struct mr_wr *out, const struct pg_result *row, int at,
    const struct mr_list_field *fields, int count)
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

void
mr_list_put_reach(struct mr_args *args, struct mr_reach reach)
{
    struct mr_bin *bin = mr_stmt_arg(args);

    if (reach.is_any)
        mr_bin_put_some_bytes(bin, MR_SPAN_NONE); /* null: no filter */
    else
        mr_bin_put_bytes(bin, reach.owner);
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
    mr_list_put(listing->out, row, 0, job_fields, LIST_FIELDS);
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
    mr_list_put_reach(args, filter->reach);
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
    mr_list_put(listing->out, row, 0, attempt_fields, ATTEMPT_FIELDS);
    listing->count++;
    return listing->out->status == MR_OK;
}

enum mr_status
mr_list_put_attempts(
    struct mr_store *store, struct mr_uuid id, struct mr_wr *out, struct mr_err *err)
{
    struct listing listing = {.out = out};
    enum mr_status status;
    size_t mark;

    mr_stmt_args_reset(&store->args);
    mr_bin_put_uuid(mr_stmt_arg(&store->args), id);
    mr_wr_cstr(out, "attempt_rows");
    mark = mr_wr_array_open(out);
    status = mr_pg_each(
        store->pg, MR_STMT_SHOW_ATTEMPTS, &store->args, on_attempt, &listing, err);
    mr_wr_close(out, mark, listing.count);
    return status;
}

enum mr_status
mr_store_show(struct mr_store *store, struct mr_uuid id, struct mr_reach reach,
    struct mr_wr *out, struct mr_err *err)
{
    struct mr_args *args = &store->args;
    struct pg_result *result = NULL;
    enum mr_status status = mr_store_is_ready(store, err);

    if (status != MR_OK)
        return status;
    mr_stmt_args_reset(args);
    mr_bin_put_uuid(mr_stmt_arg(args), id);
    mr_list_put_reach(args, reach);
    status = mr_pg_exec(store->pg, MR_STMT_SHOW, args, &result, err);
    if (status != MR_OK)
        return status;
    if (mr_pg_rows(result) == 0) {
        mr_pg_free_result(&result);
        mr_wr_nil(out);
        return written(out, "show a job", err);
    }
    mr_wr_map(out, SHOW_FIELDS + 1);
    mr_list_put(out, result, 0, job_fields, SHOW_FIELDS);
    mr_pg_free_result(&result);
    status = mr_list_put_attempts(store, id, out, err);
    return status == MR_OK ? written(out, "show a job", err) : status;
}
