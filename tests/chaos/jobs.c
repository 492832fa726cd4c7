#include "tests/chaos/jobs.h"

#include <string.h>

#include "tests/chaos/dice.h"

#define ATTEMPTS_MAX 100
#define BACKOFF_MS 50
#define BACKOFF_CAP_MS 200
#define TWIN_EVERY_MS 400 /* in the ids of twins; also how often there is one */

static void
put(struct millrace_pack *body, const char *key, int64_t value)
{
    millrace_pack_str(body, key);
    millrace_pack_int(body, value);
}

static void
put_move(struct millrace_pack *body, struct mr_dice *dice)
{
    uint32_t from = mr_dice_below(dice, MR_CHAOS_ACCOUNTS);

    put(body, "from", from);
    put(body, "to",
        (from + 1 + mr_dice_below(dice, MR_CHAOS_ACCOUNTS - 1)) % MR_CHAOS_ACCOUNTS);
    put(body, "cents", mr_dice_between(dice, 1, 999));
}

static void
make_transfer(struct mr_chaos_job *job, struct mr_dice *dice)
{
    uint32_t mode = mr_dice_below(dice, 20);

    millrace_pack_map(&job->body, 4);
    put_move(&job->body, dice);
    put(&job->body, "mode", mode < 3 ? mode : 0);
}

static void
make_slow(struct mr_chaos_job *job, struct mr_dice *dice)
{
    millrace_pack_map(&job->body, 4);
    put_move(&job->body, dice);
    put(&job->body, "ms", mr_dice_between(dice, 50, 500));
}

static void
make_chain(struct mr_chaos_job *job, struct mr_dice *dice)
{
    millrace_pack_map(&job->body, 1);
    put(&job->body, "depth", mr_dice_between(dice, 1, 3));
}

static void
make_calc(struct mr_chaos_job *job, struct mr_dice *dice)
{
    millrace_pack_map(&job->body, 2);
    put(&job->body, "seed", (int64_t)(mr_dice_next(dice) >> 1));
    put(&job->body, "n", mr_dice_between(dice, 1, 5000));
}

static void
make_snooze(struct mr_chaos_job *job, struct mr_dice *dice)
{
    millrace_pack_map(&job->body, 1);
    put(&job->body, "times", mr_dice_between(dice, 1, 3));
}

static void
make_poison(struct mr_chaos_job *job, struct mr_dice *dice)
{
    uint32_t side = mr_dice_below(dice, 10000);
    const char *how = side < 4500   ? "fail"
                      : side < 9500 ? "flaky"
                      : side < 9800 ? "huge"
                      : side < 9985 ? "hang"
                                    : "crash";

    millrace_pack_map(&job->body, 1);
    millrace_pack_str(&job->body, "how");
    millrace_pack_str(&job->body, how);
    if (strcmp(how, "hang") == 0) {
        job->job.timeout_ms = 500;
        job->job.attempts_max = 2;
    }
}

static void
make_forged(struct mr_chaos_job *job, uint32_t number)
{
    millrace_pack_map(&job->body, 1);
    put(&job->body, "forged", number);
}

/* Of a thousand jobs. */
static const struct mix {
    const char *kind;
    uint32_t share;
    void (*make)(struct mr_chaos_job *job, struct mr_dice *dice);
} mix[] = {
    {"chaos.transfer", 500, make_transfer},
    {"chaos.calc", 365, make_calc},
    {"chaos.chain", 60, make_chain},
    {"chaos.poison", 40, make_poison},
    {"chaos.snooze", 25, make_snooze},
    {"chaos.slow", 10, make_slow},
};

/* A version 7 id (RFC 9562) of that time, with the dice's bits. */
static struct millrace_id
make_id(struct mr_dice *dice, int64_t ms)
{
    uint64_t high = mr_dice_next(dice), low = mr_dice_next(dice);
    struct millrace_id id;

    for (int i = 0; i < 6; i++)
        id.b[i] = (unsigned char)((uint64_t)ms >> (40 - 8 * i));
    for (int i = 6; i < 8; i++)
        id.b[i] = (unsigned char)(high >> (8 * i));
    for (int i = 8; i < 16; i++)
        id.b[i] = (unsigned char)(low >> (8 * (i - 8)));
    id.b[6] = (unsigned char)((id.b[6] & 0x0f) | 0x70);
    id.b[8] = (unsigned char)((id.b[8] & 0x3f) | 0x80);
    return id;
}

void
mr_chaos_job_make(struct mr_chaos_job *job, uint64_t seed, uint32_t client,
    uint32_t number, int64_t base_ms, bool forged)
{
    bool is_twin = number >= MR_CHAOS_TWINS;
    struct mr_dice dice = mr_dice_of(seed, 100 + (is_twin ? client / 2 : client), number);
    uint32_t share = mr_dice_below(&dice, 1000);
    const struct mix *kind = mix;

    while (share >= kind->share)
        share -= kind++->share;
    memset(job, 0, sizeof *job);
    millrace_job_init(&job->job, kind->kind);
    if (is_twin)
        job->job.id =
            make_id(&dice, base_ms + TWIN_EVERY_MS * (int64_t)(number - MR_CHAOS_TWINS));
    job->job.attempts_max = ATTEMPTS_MAX;
    job->job.backoff_base_ms = BACKOFF_MS;
    job->job.backoff_cap_ms = BACKOFF_CAP_MS;
    if (forged)
        make_forged(job, number);
    else
        kind->make(job, &dice);
    job->job.args = job->body.bytes;
    job->job.args_bytes = job->body.n;
}

void
mr_chaos_job_free(struct mr_chaos_job *job)
{
    millrace_pack_free(&job->body);
}
