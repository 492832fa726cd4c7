#include "schemas/sql/finish_cols.h"

static void
put_id(struct mr_bin *bin, const struct mr_finish *finish)
{
    mr_bin_put_uuid(bin, finish->id);
}

static void
put_attempt(struct mr_bin *bin, const struct mr_finish *finish)
{
    mr_bin_put_int4(bin, (int32_t)finish->attempt);
}

static void
put_worker(struct mr_bin *bin, const struct mr_finish *finish)
{
    mr_bin_put_some_words(bin, finish->worker);
}

static void
put_started_at(struct mr_bin *bin, const struct mr_finish *finish)
{
    mr_bin_put_some_time(bin, finish->started_at_us);
}

static void
put_finished_at(struct mr_bin *bin, const struct mr_finish *finish)
{
    mr_bin_put_some_time(bin, finish->finished_at_us);
}

static void
put_body(struct mr_bin *bin, const struct mr_finish *finish)
{
    mr_bin_put_some_bytes(bin, finish->body);
}

static const struct {
    enum mr_bin_type type;
    void (*put)(struct mr_bin *bin, const struct mr_finish *finish);
} cols[MR_FINISH_COLS] = {
    [MR_FINISH_ID] = {MR_BIN_UUID, put_id},
    [MR_FINISH_ATTEMPT] = {MR_BIN_INT4, put_attempt},
    [MR_FINISH_WORKER] = {MR_BIN_TEXT, put_worker},
    [MR_FINISH_STARTED_AT] = {MR_BIN_TIME, put_started_at},
    [MR_FINISH_FINISHED_AT] = {MR_BIN_TIME, put_finished_at},
    [MR_FINISH_BODY] = {MR_BIN_BYTEA, put_body},
};

enum mr_bin_type
mr_finish_col_type(enum mr_finish_col col)
{
    return cols[col].type;
}

void
mr_finish_col_put(
    enum mr_finish_col col, struct mr_bin *bin, const struct mr_finish *finish)
{
    cols[col].put(bin, finish);
}
