/*
 * The embarrassingly parallel kernel of the NAS Parallel Benchmarks (EP): pairs of Gaussian
 * deviates from a linear congruential generator (multiplier 5^13, modulus 2^46, seed
 * 271828183), counted in square rings. 2^m pairs are cut into equal blocks; each block jumps to
 * its place in the sequence, so that blocks may run anywhere in any order. Pure; any thread.
 */
#ifndef MR_KINDS_EP_H
#define MR_KINDS_EP_H

#include <stdbool.h>
#include <stdint.h>

#define MR_EP_RINGS 10

struct mr_ep {
    int64_t counts[MR_EP_RINGS]; /* accepted pairs by ring */
    int64_t pairs;               /* accepted: the sum of the counts */
    double sx, sy;
};

/* True stops the block. */
typedef bool (*mr_ep_stop_fn)(const void *context);

/* Block `k` of `blocks` (a power of two, at most 2^m), m 1..40. False: stopped. */
bool mr_ep_block(unsigned m, uint64_t k, uint64_t blocks, mr_ep_stop_fn stop,
    const void *context, struct mr_ep *out);

#endif
