/*
 * Memory for payloads under a budget: size classes in slabs of 256 KiB that are taken when
 * needed and given back when they are empty, but for some of them; a block above 32 KiB is an
 * allocation of its own. At steady state small blocks allocate nothing. One thread.
 */
#ifndef MR_CORE_POOL_H
#define MR_CORE_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "schemas/base/status.h"

#define MR_POOL_CLASSES 19 /* 64 bytes to 32 KiB */

/* Empty slabs that are kept for whichever class needs one: 16 MiB. */
#define MR_POOL_SPARES_MAX 64u

struct mr_pool_slab;

struct mr_pool {
    uint64_t bytes_max; /* of blocks, rounded up to their class */
    uint64_t bytes;     /* of blocks now */
    uint64_t blocks;
    struct mr_pool_slab *open[MR_POOL_CLASSES]; /* slabs with a free block */
    struct mr_pool_slab *spare;                 /* empty ones, of no class */
    uint32_t spares, slabs;
};

void mr_pool_init(struct mr_pool *pool, uint64_t bytes_max);
/* Every block must have been freed. */
void mr_pool_fini(struct mr_pool *pool);

/* What a block of that size counts. */
uint64_t mr_pool_cost(size_t bytes);

/* NULL when the budget or memory is out. `bytes` > 0; freed with the same number. */
void *mr_pool_alloc(struct mr_pool *pool, size_t bytes) MR_MUST_CHECK;
void mr_pool_free(struct mr_pool *pool, void *block, size_t bytes);

#endif
