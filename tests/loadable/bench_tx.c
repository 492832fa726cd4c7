/*
 * The transfers of the tx bench: two updates of accounts and a row of the ledger. bench.transfer
 * waits for each statement, bench.transfer_queued for none; up to 20 of bench.transfer_grouped
 * share a transaction. The ledger has no unique constraint: nothing but millrace keeps a transfer
 * from being booked twice.
 */
#include "worker/millrace_worker.h"

#include <stdio.h>

struct move {
    int64_t from, to, cents;
};

static bool
read_move(struct millrace_job *job, struct move *move)
{
    return millrace_arg_int(job, "from", &move->from) &&
           millrace_arg_int(job, "to", &move->to) &&
           millrace_arg_int(job, "cents", &move->cents);
}

typedef bool (*run_fn)(
    struct millrace_job *job, const char *sql, int count, const char *const *params);

static bool
run_now(struct millrace_job *job, const char *sql, int count, const char *const *params)
{
    return millrace_sql(job, sql, count, params) != NULL;
}

static bool
add(struct millrace_job *job, run_fn run, int64_t account, int64_t cents)
{
    char number[24], sum[24];
    const char *const params[] = {sum, number};

    (void)snprintf(number, sizeof number, "%lld", (long long)account);
    (void)snprintf(sum, sizeof sum, "%lld", (long long)cents);
    return run(job, "update account set cents = cents + $1 where id = $2", 2, params);
}

static bool
book(struct millrace_job *job, run_fn run, const struct move *move)
{
    char values[3][24];
    const char *const params[] = {millrace_job_id(job), values[0], values[1], values[2]};

    (void)snprintf(values[0], sizeof values[0], "%lld", (long long)move->from);
    (void)snprintf(values[1], sizeof values[1], "%lld", (long long)move->to);
    (void)snprintf(values[2], sizeof values[2], "%lld", (long long)move->cents);
    return run(job, "insert into ledger values ($1, $2, $3, $4)", 4, params);
}

/* `from` is the smaller one, so that two transfers never wait for each other. */
static enum millrace_answer
transfer_by(struct millrace_job *job, run_fn run)
{
    struct move move;

    if (!read_move(job, &move) || move.from >= move.to)
        return millrace_fail_for_good(job, "give from, a larger to, and cents");
    if (!add(job, run, move.from, -move.cents) || !add(job, run, move.to, move.cents) ||
        !book(job, run, &move))
        return millrace_sql_failed(job);
    return MILLRACE_SUCCEEDED;
}

static enum millrace_answer
transfer(struct millrace_job *job)
{
    return transfer_by(job, run_now);
}

static enum millrace_answer
queue_transfer(struct millrace_job *job)
{
    return transfer_by(job, millrace_sql_later);
}

static const struct millrace_kind transfer_kind = {.name = "bench.transfer",
    .help = "{from, to, cents} -> nil",
    .run = transfer,
    .is_transactional = true};
static const struct millrace_kind queued_kind = {.name = "bench.transfer_queued",
    .help = "{from, to, cents} -> nil",
    .run = queue_transfer,
    .is_transactional = true};
static const struct millrace_kind grouped_kind = {.name = "bench.transfer_grouped",
    .help = "{from, to, cents} -> nil",
    .run = queue_transfer,
    .is_transactional = true,
    .group_max = 20};

extern const int millrace_kinds_api;
const int millrace_kinds_api = MILLRACE_KINDS_API;

extern const struct millrace_kind *const millrace_kinds[];
const struct millrace_kind *const millrace_kinds[] = {
    &transfer_kind, &queued_kind, &grouped_kind, 0};
