#include "schemas/sql/store_priv.h"

#define LOOK_MAX 2000u
#define PAGE_MAX 1000u
#define HISTORY_PAGE_MAX 100u
/* A page ends above it; what one more job may add (1,000 attempts) still fits into a reply. */
#define PAGE_BYTES_GOAL (1024u * 1024)
#define YEAR_9999_US INT64_C(253370764800000000)

/* ---- the list ------------------------------------------------------------------------------------ */

static const struct mr_list_field fields[] = {
    {"id", MR_FORM_ID},
    {"kind", MR_FORM_TEXT},
    {"queue", MR_FORM_TEXT},
    {"finished_at", MR_FORM_TIME},
    {"attempts", MR_FORM_INT},
    {"reason", MR_FORM_TEXT},
    {"error", MR_FORM_TEXT},
    {"redriven_as", MR_FORM_ID},
    {"redrive_of", MR_FORM_ID},
    {"priority", MR_FORM_INT},
    {"lane", MR_FORM_TEXT},
    {"submitted_at", MR_FORM_TIME},
    {"worker", MR_FORM_TEXT},
};
#define FIELDS ((int)(sizeof fields / sizeof fields[0]))
enum { COL_ID, COL_KIND, COL_QUEUE, COL_FINISHED_AT };

static uint32_t
page_limit(const struct mr_dead_filter *filter)
{
    uint32_t max = filter->with_history ? HISTORY_PAGE_MAX : PAGE_MAX;

    return filter->limit && filter->limit < max ? filter->limit : max;
}

static void
put_filter(struct mr_args *args, const struct mr_dead_filter *filter)
{
    mr_stmt_args_reset(args);
    mr_bin_put_some_time(mr_stmt_arg(args), filter->since_us ? filter->since_us : 1);
    mr_bin_put_some_time(
        mr_stmt_arg(args), filter->until_us ? filter->until_us : YEAR_9999_US);
    mr_bin_put_uuid(mr_stmt_arg(args), filter->before);
    mr_bin_put_int8(mr_stmt_arg(args), LOOK_MAX);
    mr_bin_put_some_bytes(mr_stmt_arg(args), filter->kind);
    mr_bin_put_some_bytes(mr_stmt_arg(args), filter->queue);
    mr_bin_put_some_bytes(mr_stmt_arg(args), filter->reason);
    mr_bin_put_bool(mr_stmt_arg(args), filter->with_redriven);
    mr_list_put_reach(args, filter->reach);
}

static enum mr_status
put_dead(struct mr_store *store, const struct pg_result *rows, int at, bool with_history,
    struct mr_wr *out, struct mr_err *err)
{
    mr_wr_map(out, (uint32_t)FIELDS + with_history);
    mr_list_put(out, rows, at, fields, FIELDS);
    if (!with_history)
        return MR_OK;
    return mr_list_put_attempts(store, mr_bin_uuid(rows, at, COL_ID), out, err);
}

/* *at is where the page ended: the row behind it, or their number. */
static enum mr_status
put_page(struct mr_store *store, const struct mr_dead_filter *filter,
    const struct pg_result *rows, int *at, struct mr_wr *out, struct mr_err *err)
{
    uint32_t limit = page_limit(filter), count = 0;
    size_t mark = mr_wr_array_open(out);
    enum mr_status status = MR_OK;

    for (*at = 0; *at < mr_pg_rows(rows) && status == MR_OK; (*at)++) {
        if (count == limit || out->n > PAGE_BYTES_GOAL)
            break;
        if (mr_bin_is_null(rows, *at, COL_KIND))
            continue;
        status = put_dead(store, rows, *at, filter->with_history, out, err);
        count++;
    }
    mr_wr_close(out, mark, count);
    return status;
}

/* Where to go on, if there may be more. */
static void
put_place(const struct pg_result *rows, int at, struct mr_wr *out)
{
    char text[MR_UUID_TEXT_MAX];
    bool is_end = at == mr_pg_rows(rows) && at < (int)LOOK_MAX;

    mr_wr_cstr(out, "until_us");
    if (is_end)
        mr_wr_nil(out);
    else
        mr_wr_int(out, mr_bin_time(rows, at - 1, COL_FINISHED_AT));
    mr_wr_cstr(out, "before");
    mr_wr_cstr(
        out, is_end ? NULL : mr_uuid_format(mr_bin_uuid(rows, at - 1, COL_ID), text));
}

enum mr_status
mr_store_dead(struct mr_store *store, const struct mr_dead_filter *filter,
    struct mr_wr *out, struct mr_err *err)
{
    struct pg_result *rows = NULL;
    enum mr_status status = mr_store_is_ready(store, err);
    int at = 0;

    if (status != MR_OK)
        return status;
    put_filter(&store->args, filter);
    status = mr_pg_exec(store->pg, MR_STMT_DEAD, &store->args, &rows, err);
    if (status != MR_OK)
        return status;
    mr_wr_map(out, 3);
    mr_wr_cstr(out, "jobs");
    status = put_page(store, filter, rows, &at, out, err);
    put_place(rows, at, out);
    mr_pg_free_result(&rows);
    if (status == MR_OK && out->status != MR_OK)
        status = mr_err_set(err, out->status, "list dead jobs", "the answer is too large",
            "Ask for fewer jobs.");
    return status;
}

/* ---- redrive --------------------------------------------------------------------------------------- */

enum { NEW_OLD_ID, NEW_IS_JOB, NEW_OUTCOME, NEW_KNOWN, NEW_ID, NEW_IS_SEALED };

static const char *
verdict_of(const struct pg_result *rows, int at)
{
    if (!mr_bin_is_null(rows, at, NEW_ID))
        return "submitted";
    if (!mr_bin_int(rows, at, NEW_IS_JOB))
        return "no job";
    if (mr_bin_int(rows, at, NEW_OUTCOME) != MR_FAILED)
        return "not dead";
    if (!mr_bin_is_null(rows, at, NEW_KNOWN))
        return "known";
    return mr_bin_int(rows, at, NEW_IS_SEALED) ? "sealed" : "later";
}

static void
put_verdicts(const struct pg_result *rows, struct mr_wr *out)
{
    mr_wr_array(out, (uint32_t)mr_pg_rows(rows));
    for (int at = 0; at < mr_pg_rows(rows); at++) {
        int as = mr_bin_is_null(rows, at, NEW_ID) ? NEW_KNOWN : NEW_ID;
        char text[MR_UUID_TEXT_MAX];

        mr_wr_map(out, 3);
        mr_wr_cstr(out, "id");
        mr_wr_cstr(out, mr_uuid_format(mr_bin_uuid(rows, at, NEW_OLD_ID), text));
        mr_wr_cstr(out, "verdict");
        mr_wr_cstr(out, verdict_of(rows, at));
        mr_wr_cstr(out, "as");
        mr_wr_cstr(out, mr_bin_is_null(rows, at, as)
                            ? NULL
                            : mr_uuid_format(mr_bin_uuid(rows, at, as), text));
    }
}

static void
put_redrive(struct mr_args *args, const struct mr_uuid *ids, uint32_t count,
    const struct mr_resealed *resealed, struct mr_reach reach)
{
    struct mr_bin *bin;
    size_t mark;

    mr_stmt_args_reset(args);
    bin = mr_stmt_arg(args);
    mark = mr_bin_array_open(bin, MR_BIN_UUID);
    for (uint32_t i = 0; i < count; i++)
        mr_bin_put_uuid(bin, ids[i]);
    mr_bin_array_close(bin, mark, count);
    mr_list_put_reach(args, reach);
    mr_bin_put_int8(mr_stmt_arg(args), MR_STORE_INBOX_BYTES);
    mr_bin_put_uuid(mr_stmt_arg(args), resealed->as);
    mr_bin_put_some_bytes(mr_stmt_arg(args), resealed->payload);
}

enum mr_status
mr_store_redrive(struct mr_store *store, const struct mr_uuid *ids, uint32_t count,
    const struct mr_resealed *resealed, struct mr_reach reach,
    const struct mr_audit_row *audit, struct mr_wr *out, struct mr_err *err)
{
    enum mr_status status = mr_store_is_ready(store, err);
    struct mr_pipe pipe;
    int place;

    MR_ASSERT(count <= MR_REDRIVE_MAX && (count == 1 || !resealed->payload.n));
    if (status != MR_OK)
        return status;
    mr_pg_pipe_open(&pipe, store->pg, err);
    (void)mr_pg_pipe_add(&pipe, MR_STMT_BEGIN, NULL);
    mr_store_arg_fence(store);
    (void)mr_pg_pipe_add(&pipe, MR_STMT_FENCE, &store->args);
    (void)mr_pg_pipe_add(&pipe, MR_STMT_REDRIVE_ALONE, NULL);
    put_redrive(&store->args, ids, count, resealed, reach);
    place = mr_pg_pipe_add(&pipe, MR_STMT_REDRIVE, &store->args);
    /* What was there already was somebody's commit: it is as durable as what is new, because an
     * entry of the audit log is. */
    mr_store_arg_audit(store, audit, 1);
    (void)mr_pg_pipe_add(&pipe, MR_STMT_AUDIT, &store->args);
    (void)mr_pg_pipe_add(&pipe, MR_STMT_COMMIT, NULL);
    status = mr_pg_pipe_run(&pipe);
    if (status == MR_OK)
        put_verdicts(pipe.results[place], out);
    mr_pg_pipe_fini(&pipe);
    return status;
}

/* ---- why --------------------------------------------------------------------------------------------- */

enum {
    WHY_SHARD,
    WHY_OUTCOME,
    WHY_RESULT_ATTEMPT,
    WHY_FINISHED_AT,
    WHY_REASON,
    WHY_RESULT_ERROR,
    WHY_ATTEMPT,
    WHY_ATTEMPT_ERROR,
    WHY_REDRIVEN_AS,
    WHY_IS_IN_INBOX
};

enum mr_status
mr_store_why(struct mr_store *store, struct mr_uuid id, struct mr_reach reach,
    struct mr_arena *arena, struct mr_why_row *out, struct mr_err *err)
{
    struct pg_result *row = NULL;
    enum mr_status status = mr_store_is_ready(store, err);
    bool is_finished, has_room;

    if (status != MR_OK)
        return status;
    mr_stmt_args_reset(&store->args);
    mr_bin_put_uuid(mr_stmt_arg(&store->args), id);
    mr_list_put_reach(&store->args, reach);
    status = mr_pg_exec(store->pg, MR_STMT_WHY, &store->args, &row, err);
    if (status != MR_OK)
        return status;
    is_finished = !mr_bin_is_null(row, 0, WHY_OUTCOME);
    *out = (struct mr_why_row){
        .is_job = !mr_bin_is_null(row, 0, WHY_SHARD),
        .is_finished = is_finished,
        .is_in_inbox = mr_bin_int(row, 0, WHY_IS_IN_INBOX) != 0,
        .is_redriven = !mr_bin_is_null(row, 0, WHY_REDRIVEN_AS),
        .shard = (uint32_t)mr_bin_int(row, 0, WHY_SHARD),
        .outcome = (enum mr_outcome)mr_bin_int(row, 0, WHY_OUTCOME),
        .attempt =
            (uint32_t)mr_bin_int(row, 0, is_finished ? WHY_RESULT_ATTEMPT : WHY_ATTEMPT),
        .finished_at_us = mr_bin_time(row, 0, WHY_FINISHED_AT),
    };
    if (out->is_redriven)
        out->redriven_as = mr_bin_uuid(row, 0, WHY_REDRIVEN_AS);
    has_room =
        mr_arena_copy(arena, mr_bin_span(row, 0, WHY_REASON), &out->reason) &&
        mr_arena_copy(arena,
            mr_bin_span(row, 0, is_finished ? WHY_RESULT_ERROR : WHY_ATTEMPT_ERROR),
            &out->error);
    mr_pg_free_result(&row);
    return has_room ? MR_OK : mr_err_set(err, MR_NO_MEMORY, "look a job up", NULL, NULL);
}
