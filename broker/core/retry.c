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
    };
}

uint32_t
mr_retry_delay_ms(const struct mr_retry_policy *policy, uint32_t failures,
    uint32_t asked_ms, uint64_t random)
{
    uint64_t delay = policy->backoff_base_ms;
    uint64_t fifth;

    for (uint32_t n = 1; n < failures && delay < policy->backoff_cap_ms; n++)
        delay *= 2;
    if (delay > policy->backoff_cap_ms)
        delay = policy->backoff_cap_ms;
    fifth = delay / 5;
    delay = delay - fifth + random % (2 * fifth + 1);
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
