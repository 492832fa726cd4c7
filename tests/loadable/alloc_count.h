/*
 * What alloc_count.so counts into, in a file that both map. Only ever grows.
 */
#ifndef MR_LOADABLE_ALLOC_COUNT_H
#define MR_LOADABLE_ALLOC_COUNT_H

#include <stdatomic.h>
#include <stdint.h>

struct alloc_counts {
    _Atomic uint64_t ours, our_bytes;
    _Atomic uint64_t zmq;
};

#endif
