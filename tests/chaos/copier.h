/*
 * Follows one direction of a ZMTP 3 connection (rfc.zeromq.org/spec/23) through pieces of any size,
 * and says whole messages twice. Pure.
 */
#ifndef MR_CHAOS_COPIER_H
#define MR_CHAOS_COPIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mr_copier {
    uint32_t greeting_seen; /* bytes of it */
    uint32_t header_left;   /* bytes of the frame's length that are still to come */
    uint64_t body_left;
    uint8_t flags;  /* of the frame */
    bool is_inside; /* of a message */
};

/* `out` has room for 2 * n bytes; returns how many it got: `in`, and when `says_twice` behind each
 * message that lies wholly in `in` the same message once more. Commands are never said twice. */
size_t mr_copier_pass(
    struct mr_copier *copier, const uint8_t *in, size_t n, uint8_t *out, bool says_twice);

#endif
