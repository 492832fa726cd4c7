/*
 * The kinds of the chaos rig. Transfers between accounts, a ledger and chains of follow-ups, all
 * without a constraint that would hide a second effect; calculations that the checker does again;
 * slow ones that a freeze catches with the transaction open; and poison. Each handler writes its
 * begin and its end into $CHAOS_FOLDER/starts-PID.log, one write a line:
 *
 *     time_us pid S|E id attempt kind
 */
#include "worker/millrace_worker.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BREATH_MS 20
#define HUGE_BYTES ((size_t)2 * 1024 * 1024)

static int starts = -1;

static int64_t
now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static void
note(const struct millrace_job *job, char what)
{
    char line[256];
    int n = snprintf(line, sizeof line, "%" PRId64 "\t%d\t%c\t%s\t%u\t%s\n", now_us(),
        (int)getpid(), what, millrace_job_id(job), millrace_job_attempt(job),
        millrace_job_kind(job));

    if (n > 0 && (size_t)n < sizeof line)
        (void)!write(starts, line, (size_t)n);
}

static bool
prepare(const struct millrace_host *host, char *why, size_t why_bytes)
{
    const char *folder = getenv("CHAOS_FOLDER");
    char path[512];

    (void)host;
    if (starts >= 0)
        return true;
    (void)snprintf(
        path, sizeof path, "%s/starts-%d.log", folder ? folder : ".", (int)getpid());
    starts = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (starts < 0)
        (void)snprintf(why, why_bytes,
            "The chaos kinds are off: %s cannot be written; set CHAOS_FOLDER.", path);
    return starts >= 0;
}

/* Until it was told to stop, or so long. */
static void
linger(const struct millrace_job *job, int64_t ms, bool is_deaf)
{
    int64_t until_us = now_us() + ms * 1000;

    while (now_us() < until_us && (is_deaf || !millrace_is_cancelled(job)))
        (void)poll(NULL, 0, BREATH_MS);
}

/* ---- transfers ------------------------------------------------------------------------------- */

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

    (void)snprintf(number, sizeof number, "%" PRId64, account);
    (void)snprintf(sum, sizeof sum, "%" PRId64, cents);
    return millrace_sql(
        job, "update account set cents = cents + $1 where id = $2", 2, params);
}

/* The smaller account first, so that two transfers never wait for each other. */
static bool
book(struct millrace_job *job, const struct move *move)
{
    char values[5][24];
    const char *const params[] = {millrace_job_id(job), values[0], millrace_job_kind(job),
        values[1], values[2], values[3], values[4]};

    if (move->from < move->to
            ? !(add(job, move->from, -move->cents) && add(job, move->to, move->cents))
            : !(add(job, move->to, move->cents) && add(job, move->from, -move->cents)))
        return false;
    (void)snprintf(values[0], 24, "%u", millrace_job_attempt(job));
    (void)snprintf(values[1], 24, "%" PRId64, move->from);
    (void)snprintf(values[2], 24, "%" PRId64, move->to);
    (void)snprintf(values[3], 24, "%" PRId64, move->cents);
    (void)snprintf(values[4], 24, "%d", (int)getpid());
    return millrace_sql(
        job, "insert into ledger values ($1, $2, $3, $4, $5, $6, $7)", 7, params);
}

enum mode { WELL, FAILS_FIRST, FAILS_FOR_GOOD };

static enum millrace_answer
transfer(struct millrace_job *job)
{
    struct move move;
    int64_t mode = WELL;

    if (!read_move(job, &move) || !millrace_arg_int(job, "mode", &mode))
        return millrace_fail_for_good(job, "give from, to, cents and mode");
    if (!book(job, &move))
        return millrace_sql_failed(job);
    if (mode == FAILS_FOR_GOOD)
        return millrace_fail_for_good(job, "as it was asked to");
    if (mode == FAILS_FIRST && millrace_job_attempt(job) == 1)
        return millrace_fail(job, "as it was asked to, the first time");
    millrace_put_int(job, move.cents);
    return MILLRACE_SUCCEEDED;
}

/* Everything is written, and the transaction stays open: what a freeze makes of it is a late
 * finisher. */
static enum millrace_answer
slow(struct millrace_job *job)
{
    struct move move;
    int64_t ms;

    if (!read_move(job, &move) || !millrace_arg_int(job, "ms", &ms))
        return millrace_fail_for_good(job, "give ms, from, to and cents");
    if (!book(job, &move))
        return millrace_sql_failed(job);
    linger(job, ms, false);
    millrace_put_int(job, move.cents);
    return MILLRACE_SUCCEEDED;
}

/* ---- chains ---------------------------------------------------------------------------------- */

static bool
submit_next(struct millrace_job *job, int64_t depth)
{
    struct millrace_follow_up next = {.kind = "chaos.chain",
        .priority = MILLRACE_PRIORITY_DEFAULT,
        .attempts_max = 100};
    struct millrace_pack *pack = millrace_pack_new(job);
    char child[37], number[24];
    const char *const params[] = {millrace_job_id(job), child, number};

    millrace_pack_map(pack, 1);
    millrace_pack_str(pack, "depth");
    millrace_pack_int(pack, depth - 1);
    next.payload = millrace_pack_bytes(pack, &next.payload_bytes);
    (void)snprintf(number, sizeof number, "%" PRId64, depth);
    return millrace_submit(job, "next", &next, child) &&
           millrace_sql(job, "insert into chain values ($1, $2, $3)", 3, params);
}

static enum millrace_answer
chain(struct millrace_job *job)
{
    char attempt[24], pid[24];
    const char *const params[] = {millrace_job_id(job), attempt, pid};
    int64_t depth;

    if (!millrace_arg_int(job, "depth", &depth))
        return millrace_fail_for_good(job, "give depth");
    (void)snprintf(attempt, sizeof attempt, "%u", millrace_job_attempt(job));
    (void)snprintf(pid, sizeof pid, "%d", (int)getpid());
    if (!millrace_sql(job,
            "insert into ledger (job, attempt, kind, pid) "
            "values ($1, $2, 'chaos.chain', $3)",
            3, params) ||
        (depth > 0 && !submit_next(job, depth)))
        return millrace_sql_failed(job);
    millrace_put_int(job, depth);
    return MILLRACE_SUCCEEDED;
}

/* ---- others ---------------------------------------------------------------------------------- */

static enum millrace_answer
calc(struct millrace_job *job)
{
    int64_t seed, n;
    uint64_t x;

    if (!millrace_arg_int(job, "seed", &seed) || !millrace_arg_int(job, "n", &n))
        return millrace_fail_for_good(job, "give seed and n");
    x = (uint64_t)seed;
    for (int64_t i = 0; i < n; i++)
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    millrace_put_int(job, (int64_t)(x >> 1));
    return MILLRACE_SUCCEEDED;
}

static enum millrace_answer
put_huge(struct millrace_job *job)
{
    void *bytes = millrace_alloc(job, HUGE_BYTES);

    if (!bytes)
        return millrace_fail_for_good(job, "no memory for the huge result");
    memset(bytes, 7, HUGE_BYTES);
    millrace_put_bin(job, bytes, HUGE_BYTES);
    return MILLRACE_SUCCEEDED;
}

static enum millrace_answer
poison(struct millrace_job *job)
{
    const char *how;

    if (!millrace_arg_str(job, "how", &how))
        return millrace_fail_for_good(job, "give how");
    if (strcmp(how, "crash") == 0)
        abort();
    if (strcmp(how, "huge") == 0)
        return put_huge(job);
    if (strcmp(how, "hang") == 0) {
        linger(job, 3000, true);
        return millrace_fail(job, "it was not stopped");
    }
    if (strcmp(how, "flaky") == 0 && millrace_job_attempt(job) < 3)
        return millrace_fail(job, "as it was asked to, until the third attempt");
    if (strcmp(how, "flaky") == 0) {
        millrace_put_int(job, 3);
        return MILLRACE_SUCCEEDED;
    }
    return millrace_fail_for_good(job, "as it was asked to");
}

static enum millrace_answer
snooze(struct millrace_job *job)
{
    int64_t times;

    if (!millrace_arg_int(job, "times", &times))
        return millrace_fail_for_good(job, "give times");
    if (millrace_job_attempt(job) <= times)
        return millrace_snooze(job, 50);
    millrace_put_int(job, times);
    return MILLRACE_SUCCEEDED;
}

/* ---- descriptors ----------------------------------------------------------------------------- */

/* run() of a kind, between the two lines that tell of it. */
#define NOTED(handler)                                                                   \
    static enum millrace_answer handler##_noted(struct millrace_job *job)                \
    {                                                                                    \
        enum millrace_answer answer;                                                     \
                                                                                         \
        note(job, 'S');                                                                  \
        answer = handler(job);                                                           \
        note(job, 'E');                                                                  \
        return answer;                                                                   \
    }                                                                                    \
    static const struct millrace_kind handler##_kind

NOTED(transfer) = {.name = "chaos.transfer",
    .help = "{from, to, cents, mode} -> cents",
    .run = transfer_noted,
    .prepare = prepare,
    .is_transactional = true};
NOTED(slow) = {.name = "chaos.slow",
    .help = "{ms, from, to, cents} -> cents",
    .run = slow_noted,
    .prepare = prepare,
    .is_transactional = true};
NOTED(chain) = {.name = "chaos.chain",
    .help = "{depth} -> depth",
    .run = chain_noted,
    .prepare = prepare,
    .is_transactional = true};
NOTED(calc) = {.name = "chaos.calc",
    .help = "{seed, n} -> a number that n steps lead to",
    .run = calc_noted,
    .prepare = prepare};
NOTED(poison) = {.name = "chaos.poison",
    .help = "{how} -> harm",
    .run = poison_noted,
    .prepare = prepare};
NOTED(snooze) = {.name = "chaos.snooze",
    .help = "{times} -> times",
    .run = snooze_noted,
    .prepare = prepare};

extern const int millrace_kinds_api;
const int millrace_kinds_api = MILLRACE_KINDS_API;

extern const struct millrace_kind *const millrace_kinds[];
const struct millrace_kind *const millrace_kinds[] = {&transfer_kind, &slow_kind,
    &chain_kind, &calc_kind, &poison_kind, &snooze_kind, NULL};
