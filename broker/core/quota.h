/*
 * What a principal may use at a time: jobs in a second, unfinished jobs, their payloads, sessions.
 * Arithmetic on plain structs: no clock, no table. Limits are struct mr_quota (rows.h), 0: none.
 *
 * Jobs in a second go by a bucket that holds what one second brings and is refilled evenly; what is
 * kept is when it will be full again, in nanoseconds, so that nothing has to be refilled.
 */
#ifndef MR_CORE_QUOTA_H
#define MR_CORE_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/status.h"
#include "schemas/sql/rows.h"

/* Which limit it is that refuses. */
enum mr_quota_limit {
    MR_QUOTA_NONE,
    MR_QUOTA_PAYLOAD, /* this job's alone is above it: waiting does not help */
    MR_QUOTA_WAITING,
    MR_QUOTA_BYTES,
    MR_QUOTA_RATE,
    MR_QUOTA_SESSIONS,
};
#define MR_QUOTA_LIMITS (MR_QUOTA_SESSIONS + 1)

/* All zero: nothing is used. */
struct mr_quota_use {
    uint32_t jobs; /* unfinished ones */
    uint32_t sessions;
    uint64_t
        payload_bytes; /* of these jobs, in memory or not, as far as they are known */
    int64_t full_ns;   /* monotonic: when the bucket is full again */
    uint64_t refused[MR_QUOTA_LIMITS];
};

/* May it submit one more job now? MR_QUOTA_NONE: yes; take it then. */
enum mr_quota_limit mr_quota_judge(const struct mr_quota *quota,
    const struct mr_quota_use *use, int64_t now_us, uint64_t payload_bytes);

/* One job out of the bucket. */
void mr_quota_take(
    const struct mr_quota *quota, struct mr_quota_use *use, int64_t now_us);

/* There is another quota from now on: as many jobs are out of the bucket as before. */
void mr_quota_change(const struct mr_quota *from, const struct mr_quota *to,
    struct mr_quota_use *use, int64_t now_us);

/* How long, in milliseconds, until there are so many jobs in the bucket, or until it is full. */
uint32_t mr_quota_wait_ms(const struct mr_quota *quota, const struct mr_quota_use *use,
    int64_t now_us, uint32_t jobs);

bool mr_quota_has_session(const struct mr_quota *quota, const struct mr_quota_use *use);

/* The limit by the name that it has everywhere, and the code and the words of its refusal. */
const char *mr_quota_name(enum mr_quota_limit limit);
enum mr_status mr_quota_code(enum mr_quota_limit limit);
const char *mr_quota_text(enum mr_quota_limit limit);

#endif
