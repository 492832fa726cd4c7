/*
 * SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012): the hash for
 * every table whose keys a peer can choose. Checked against the paper's own test vectors.
 */
#ifndef MR_BASE_HASH_H
#define MR_BASE_HASH_H

#include <stdint.h>

#include "schemas/base/span.h"

struct mr_hash_key {
    uint64_t k0, k1;
};

/* A key from getrandom(2), one per process or table. */
struct mr_hash_key mr_hash_key_random(void);

uint64_t mr_hash(struct mr_hash_key key, struct mr_span bytes);

#endif
