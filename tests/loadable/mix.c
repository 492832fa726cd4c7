/*
 * The kinds of the mixed run: mix.transfer moves cents between two accounts and submits a
 * follow-up job, mix.child is a calculation. The ledger has no unique constraint: nothing but
 * millrace keeps a transfer from being booked twice.
 */
#include "worker/millrace_worker.h"

#include <stdio.h>

enum mode { WELL, FAILS_FIRST, FAILS_FOR_GOOD };

static bool
add(struct millrace_job *job, int64_t account, int64_t cents)
{
    static const struct millrace_expect one = {.rows = 1};
    char number[24], sum[24];
    const char *const params[] = {sum, number};

    (void)snprintf(number, sizeof number, "%lld", (long long)account);
    (void)snprintf(sum, sizeof sum, "%lld", (long long)cents);
    return millrace_sql_expect(
        job, &one, "update account set cents = cents + $1 where id = $2", 2, params);
}

/* The smaller account first, so that two transfers never wait for each other. */
static bool
move(struct millrace_job *job, int64_t from, int64_t to, int64_t cents)
{
    if (from < to)
        return add(job, from, -cents) && add(job, to, cents);
    return add(job, to, cents) && add(job, from, -cents);
}

static bool
book(struct millrace_job *job, int64_t from, int64_t to, int64_t cents)
{
    struct millrace_follow_up next = {
        .kind = "mix.child", .priority = MILLRACE_PRIORITY_DEFAULT, .attempts_max = 1000};
    char values[4][24], child[37];
    const char *const params[] = {
        millrace_job_id(job), values[0], values[1], values[2], values[3], child};

    if (!millrace_submit(job, "child", &next, child))
        return false;
    (void)snprintf(values[0], 24, "%u", millrace_job_attempt(job));
    (void)snprintf(values[1], 24, "%lld", (long long)from);
    (void)snprintf(values[2], 24, "%lld", (long long)to);
    (void)snprintf(values[3], 24, "%lld", (long long)cents);
    return millrace_sql_later(
        job, "insert into ledger values ($1, $2, $3, $4, $5, $6)", 6, params);
}

static enum millrace_answer
transfer(struct millrace_job *job)
{
    int64_t from = 0, to = 0, cents = 0, mode = 0;

    if (!millrace_arg_int(job, "from", &from) || !millrace_arg_int(job, "to", &to) ||
        !millrace_arg_int(job, "cents", &cents) || !millrace_arg_int(job, "mode", &mode))
        return millrace_fail_for_good(job, "give from, to, cents and mode");
    if (!move(job, from, to, cents) || !book(job, from, to, cents))
        return millrace_sql_failed(job);
    /* Who fails has written before. */
    if (mode != WELL && !millrace_sql(job, "select 1", 0, NULL))
        return millrace_sql_failed(job);
    if (mode == FAILS_FOR_GOOD)
        return millrace_fail_for_good(job, "as it was asked to");
    if (mode == FAILS_FIRST && millrace_job_attempt(job) == 1)
        return millrace_fail(job, "as it was asked to, the first time");
    return MILLRACE_SUCCEEDED;
}

static enum millrace_answer
child(struct millrace_job *job)
{
    millrace_put_int(job, 7);
    return MILLRACE_SUCCEEDED;
}

static const struct millrace_kind transfer_kind = {.name = "mix.transfer",
    .help = "{from, to, cents, mode} -> nil",
    .run = transfer,
    .is_transactional = true};
static const struct millrace_kind child_kind = {
    .name = "mix.child", .help = "nil -> 7", .run = child};

extern const int millrace_kinds_api;
const int millrace_kinds_api = MILLRACE_KINDS_API;

extern const struct millrace_kind *const millrace_kinds[];
const struct millrace_kind *const millrace_kinds[] = {&transfer_kind, &child_kind, 0};
