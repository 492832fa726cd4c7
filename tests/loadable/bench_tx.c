/*
 * The transfers of the tx bench: bench.transfer moves cents between two accounts and writes a row
 * into the ledger. The ledger has no unique constraint: nothing but millrace keeps a transfer
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

static bool
add(struct millrace_job *job, int64_t account, int64_t cents)
{
    char number[24], sum[24];
    const char *const params[] = {sum, number};

    (void)snprintf(number, sizeof number, "%lld", (long long)account);
    (void)snprintf(sum, sizeof sum, "%lld", (long long)cents);
    return millrace_sql(
        job, "update account set cents = cents + $1 where id = $2", 2, params);
}

static bool
book(struct millrace_job *job, const struct move *move)
{
    char values[3][24];
    const char *const params[] = {millrace_job_id(job), values[0], values[1], values[2]};

    (void)snprintf(values[0], sizeof values[0], "%lld", (long long)move->from);
    (void)snprintf(values[1], sizeof values[1], "%lld", (long long)move->to);
    (void)snprintf(values[2], sizeof values[2], "%lld", (long long)move->cents);
    return millrace_sql(job, "insert into ledger values ($1, $2, $3, $4)", 4, params);
}

/* `from` is the smaller one, so that two transfers never wait for each other. */
static enum millrace_answer
transfer(struct millrace_job *job)
{
    struct move move;

    if (!read_move(job, &move) || move.from >= move.to)
        return millrace_fail_for_good(job, "give from, a larger to, and cents");
    if (!add(job, move.from, -move.cents) || !add(job, move.to, move.cents) ||
        !book(job, &move))
        return millrace_sql_failed(job);
    return MILLRACE_SUCCEEDED;
}

static const struct millrace_kind transfer_kind = {.name = "bench.transfer",
    .help = "{from, to, cents} -> nil",
    .run = transfer,
    .is_transactional = true};

extern const int millrace_kinds_api;
const int millrace_kinds_api = MILLRACE_KINDS_API;

extern const struct millrace_kind *const millrace_kinds[];
const struct millrace_kind *const millrace_kinds[] = {&transfer_kind, 0};
