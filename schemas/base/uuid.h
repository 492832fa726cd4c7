/*
 * Job ids: UUID version 7 (RFC 9562, section 5.7), 48 bits of milliseconds, then random bits.
 * The submitter makes the id before it sends; the id is the idempotency key.
 */
#ifndef MR_BASE_UUID_H
#define MR_BASE_UUID_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/span.h"
#include "schemas/base/status.h"

#define MR_UUID_TEXT_MAX 37 /* 36 characters and the terminator */

struct mr_uuid {
    uint8_t b[16];
};

/* A new version 7 id for the given wall time. The 74 random bits come from getrandom(2), some
 * hundred ids' worth at a time for each thread; a forked child draws its own. Ids of different
 * milliseconds are in order of time; those of one millisecond are in no order at all, not even
 * within a thread. Any thread. Aborts if the kernel has no randomness to give (never on Linux
 * 4.8+). */
struct mr_uuid mr_uuid_new(int64_t wall_us);

/* A version 7 id that depends only on (parent, ordinal): the id of a follow-up job or of a
 * batch line, so that doing it again gives the same id. Keeps the parent's milliseconds; the
 * other bits are a keyed-by-nothing 128-bit hash of both. */
struct mr_uuid mr_uuid_derive(
    struct mr_uuid parent, struct mr_span label, uint64_t ordinal);

/* Milliseconds since 1970 that the id carries. */
int64_t mr_uuid_ms(struct mr_uuid id);

bool mr_uuid_is_v7(struct mr_uuid id);

/* The 36-character form, hyphens required, either case; anything else is MR_BAD_ID. */
enum mr_status mr_uuid_parse(struct mr_span text, struct mr_uuid *out) MR_MUST_CHECK;

/* Lower case with hyphens; returns out. */
char *mr_uuid_format(struct mr_uuid id, char out[MR_UUID_TEXT_MAX]);

/* All zeros stands for "none". */
static inline bool
mr_uuid_is_none(struct mr_uuid id)
{
    static const struct mr_uuid none = {{0}};

    return memcmp(id.b, none.b, sizeof id.b) == 0;
}

static inline bool
mr_uuid_eq(struct mr_uuid a, struct mr_uuid b)
{
    return memcmp(a.b, b.b, sizeof a.b) == 0;
}

#endif
