#include "broker/core/quota.h"

#define SECOND_NS INT64_C(1000000000)
#define MS_NS INT64_C(1000000)

static int64_t
cost_ns(const struct mr_quota *quota)
{
    int64_t ns = SECOND_NS / quota->jobs_per_s;

    return ns > 0 ? ns : 1;
}

/* What has been taken out and not come back yet, as the time that it takes to come back. */
static int64_t
debt_ns(const struct mr_quota_use *use, int64_t now_us)
{
    int64_t ns = use->full_ns - now_us * 1000;

    return ns > 0 ? ns : 0;
}

enum mr_quota_limit
mr_quota_judge(const struct mr_quota *quota, const struct mr_quota_use *use,
    int64_t now_us, uint64_t payload_bytes)
{
    if (quota->payload_bytes_max && payload_bytes > quota->payload_bytes_max)
        return MR_QUOTA_PAYLOAD;
    if (quota->waiting_max && use->jobs >= quota->waiting_max)
        return MR_QUOTA_WAITING;
    if (quota->payload_bytes_max &&
        use->payload_bytes + payload_bytes > quota->payload_bytes_max)
        return MR_QUOTA_BYTES;
    if (quota->jobs_per_s && debt_ns(use, now_us) + cost_ns(quota) > SECOND_NS)
        return MR_QUOTA_RATE;
    return MR_QUOTA_NONE;
}

void
mr_quota_take(const struct mr_quota *quota, struct mr_quota_use *use, int64_t now_us)
{
    if (quota->jobs_per_s)
        use->full_ns = now_us * 1000 + debt_ns(use, now_us) + cost_ns(quota);
}

void
mr_quota_change(const struct mr_quota *from, const struct mr_quota *to,
    struct mr_quota_use *use, int64_t now_us)
{
    int64_t debt = from->jobs_per_s ? debt_ns(use, now_us) : 0;

    if (!to->jobs_per_s || to->jobs_per_s == from->jobs_per_s)
        return;
    debt = debt * from->jobs_per_s / to->jobs_per_s;
    use->full_ns = now_us * 1000 + (debt < SECOND_NS ? debt : SECOND_NS);
}

uint32_t
mr_quota_wait_ms(const struct mr_quota *quota, const struct mr_quota_use *use,
    int64_t now_us, uint32_t jobs)
{
    int64_t want_ns, wait_ns;

    if (!quota->jobs_per_s)
        return 0;
    want_ns = jobs < quota->jobs_per_s ? jobs * cost_ns(quota) : SECOND_NS;
    wait_ns = debt_ns(use, now_us) + want_ns - SECOND_NS;
    return wait_ns > 0 ? (uint32_t)((wait_ns + MS_NS - 1) / MS_NS) : 0;
}

bool
mr_quota_has_session(const struct mr_quota *quota, const struct mr_quota_use *use)
{
    return !quota->connections_max || use->sessions < quota->connections_max;
}

static const struct {
    const char *name;
    enum mr_status code;
    const char *text;
} limits[MR_QUOTA_LIMITS] = {
    [MR_QUOTA_NONE] = {"", MR_OK, ""},
    [MR_QUOTA_PAYLOAD] = {"payload_bytes_max", MR_LIMIT,
        "the payload alone is above the principal's payload_bytes_max; store it "
        "elsewhere "
        "and pass a reference, or ask an administrator for more"},
    [MR_QUOTA_WAITING] = {"waiting_max", MR_BUSY,
        "the principal has as many unfinished jobs as its waiting_max; submit again when "
        "some are finished"},
    [MR_QUOTA_BYTES] = {"payload_bytes_max", MR_BUSY,
        "the payloads of the principal's unfinished jobs are at its payload_bytes_max; "
        "submit again when some are finished"},
    [MR_QUOTA_RATE] = {"jobs_per_s", MR_BUSY,
        "the principal submits more jobs in a second than its jobs_per_s; submit again "
        "after the hint"},
    [MR_QUOTA_SESSIONS] = {"connections_max", MR_LIMIT,
        "the principal has as many connections as its connections_max; close one, or ask "
        "an administrator for more"},
};

const char *
mr_quota_name(enum mr_quota_limit limit)
{
    return limits[limit].name;
}

enum mr_status
mr_quota_code(enum mr_quota_limit limit)
{
    return limits[limit].code;
}

const char *
mr_quota_text(enum mr_quota_limit limit)
{
    return limits[limit].text;
}
