/*
 * When to try again: pure arithmetic on a policy.
 */
#ifndef MR_CORE_RETRY_H
#define MR_CORE_RETRY_H

#include "schemas/wire/msg.h"

#include <stdint.h>

struct mr_retry_policy {
    uint32_t timeout_ms, attempts_max, backoff_base_ms, backoff_cap_ms;
    uint32_t backoff_factor_percent;
    uint32_t backoff_jitter; /* see MR_JITTER_NONE in schemas/wire/msg.h */
};

/* The first of each number that is not 0: the job's own, what the worker offers for the kind,
 * the default. */
struct mr_retry_policy mr_retry_policy_of(const struct mr_retry_policy *job,
    const struct mr_retry_policy *offer, const struct mr_retry_policy *initial);

/* Before the attempt that follows the n-th failure (n >= 1): base * (factor / 100)^(n - 1), each
 * power rounded down, at most the cap; then up to `jitter` percent of that (rounded down) more or
 * less, evenly by `random` (any 64 bits); never less than the handler asked for. With base 1000,
 * cap 10000, factor 150, no jitter: 1000, 1500, 2250, 3375, 5062, 7593, 10000, 10000, ... */
uint32_t mr_retry_delay_ms(const struct mr_retry_policy *policy, uint32_t failures,
    uint32_t asked_ms, uint64_t random);

/* The next of a sequence of 64-bit numbers that depends on the seed only (splitmix64). */
uint64_t mr_retry_random(uint64_t *state);

#endif
