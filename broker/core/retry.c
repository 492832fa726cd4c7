#include "broker/core/retry.h"

static uint32_t
first_given(uint32_t a, uint32_t b, uint32_t c)
{
    if (a)
        return a;
    return b ? b : c;
}

struct mr_retry_policy
mr_retry_policy_of(const struct mr_retry_policy *job, const struct mr_retry_policy *offer,
    const struct mr_retry_policy *initial)
{
    return (struct mr_retry_policy){
        .timeout_ms =
            first_given(job->timeout_ms, offer->timeout_ms, initial->timeout_ms),
        .attempts_max =
            first_given(job->attempts_max, offer->attempts_max, initial->attempts_max),
        .backoff_base_ms = first_given(
            job->backoff_base_ms, offer->backoff_base_ms, initial->backoff_base_ms),
        .backoff_cap_ms = first_given(
            job->backoff_cap_ms, offer->backoff_cap_ms, initial->backoff_cap_ms),
        .backoff_factor_percent = first_given(job->backoff_factor_percent,
            offer->backoff_factor_percent, initial->backoff_factor_percent),
        .backoff_jitter = first_given(
            job->backoff_jitter, offer->backoff_jitter, initial->backoff_jitter),
    };
}

uint32_t
mr_retry_delay_ms(const struct mr_retry_policy *policy, uint32_t failures,
    uint32_t asked_ms, uint64_t random)
{
    uint64_t delay = policy->backoff_base_ms; /* 32 bits by 1000: never more than 64 */
    uint64_t swing;

    for (uint32_t n = 1; n < failures && delay < policy->backoff_cap_ms; n++)
        delay = delay * policy->backoff_factor_percent / 100;
    if (delay > policy->backoff_cap_ms)
        delay = policy->backoff_cap_ms;
    swing = delay * mr_jitter_percent(policy->backoff_jitter) / 100;
    delay = delay - swing + random % (2 * swing + 1);
    if (delay < asked_ms)
        delay = asked_ms;
    return delay > UINT32_MAX ? UINT32_MAX : (uint32_t)delay;
}

uint64_t
mr_retry_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}
