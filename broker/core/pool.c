#include "broker/core/pool.h"

#include <stdlib.h>
#include <string.h>

#define SLAB_BYTES (256u * 1024)
#define SMALL_BYTES_MAX 32768u
#define HEADER_BYTES 64u

/* At the front of its own memory, which is aligned to its size: a block finds it by mask. */
struct mr_pool_slab {
    struct mr_pool_slab *prev, *next; /* slabs of the class with a free block */
    uint8_t *unused; /* blocks that came back, linked through themselves */
    uint32_t used, fresh, max;
};

_Static_assert(sizeof(struct mr_pool_slab) <= HEADER_BYTES, "the header has its room");

/* 64, 96, 128, 192, ... 32768: two classes to a doubling, so at most a third is wasted. */
static size_t
class_bytes(uint32_t class)
{
    size_t bytes = (size_t)64 << (class / 2);

    return class % 2 ? bytes + bytes / 2 : bytes;
}

static uint32_t
class_of(size_t bytes)
{
    uint32_t class = 0;

    if (bytes > 64) {
        class = 2u * (uint32_t)(63 - __builtin_clzll((unsigned long long)bytes - 1) - 6);
        while (class_bytes(class) < bytes)
            class ++;
    }
    return class;
}

void
mr_pool_init(struct mr_pool *pool, uint64_t bytes_max)
{
    *pool = (struct mr_pool){.bytes_max = bytes_max};
}

static void
unlink_slab(struct mr_pool *pool, uint32_t class, struct mr_pool_slab *slab)
{
    if (slab->prev)
        slab->prev->next = slab->next;
    else
        pool->open[class] = slab->next;
    if (slab->next)
        slab->next->prev = slab->prev;
    slab->prev = slab->next = NULL;
}

static void
link_slab(struct mr_pool *pool, uint32_t class, struct mr_pool_slab *slab)
{
    slab->prev = NULL;
    slab->next = pool->open[class];
    if (slab->next)
        slab->next->prev = slab;
    pool->open[class] = slab;
}

void
mr_pool_fini(struct mr_pool *pool)
{
    MR_ASSERT(pool->blocks == 0);
    for (uint32_t class = 0; class < MR_POOL_CLASSES; class ++) {
        struct mr_pool_slab *slab;

        while ((slab = pool->open[class]) != NULL) {
            unlink_slab(pool, class, slab);
            free(slab);
        }
    }
    while (pool->spare) {
        struct mr_pool_slab *slab = pool->spare;

        pool->spare = slab->next;
        free(slab);
    }
    *pool = (struct mr_pool){0};
}

uint64_t
mr_pool_cost(size_t bytes)
{
    return bytes > SMALL_BYTES_MAX ? bytes : class_bytes(class_of(bytes));
}

static struct mr_pool_slab *
new_slab(struct mr_pool *pool, uint32_t class)
{
    struct mr_pool_slab *slab = pool->spare;

    if (slab) {
        pool->spare = slab->next;
        pool->spares--;
    } else {
        slab = aligned_alloc(SLAB_BYTES, SLAB_BYTES);
        if (!slab)
            return NULL;
        pool->slabs++;
    }
    *slab = (struct mr_pool_slab){0};
    slab->max = (uint32_t)((SLAB_BYTES - HEADER_BYTES) / class_bytes(class));
    link_slab(pool, class, slab);
    return slab;
}

static void *
take_small(struct mr_pool *pool, uint32_t class)
{
    struct mr_pool_slab *slab = pool->open[class];
    uint8_t *block;

    if (!slab && (slab = new_slab(pool, class)) == NULL)
        return NULL;
    if (slab->unused) {
        block = slab->unused;
        memcpy(&slab->unused, block, sizeof slab->unused);
    } else {
        block = (uint8_t *)slab + HEADER_BYTES + slab->fresh++ * class_bytes(class);
    }
    if (++slab->used == slab->max)
        unlink_slab(pool, class, slab);
    return block;
}

void *
mr_pool_alloc(struct mr_pool *pool, size_t bytes)
{
    uint64_t cost = mr_pool_cost(bytes);
    void *block;

    if (cost > pool->bytes_max || pool->bytes > pool->bytes_max - cost)
        return NULL;
    block = bytes > SMALL_BYTES_MAX ? malloc(bytes) : take_small(pool, class_of(bytes));
    if (!block)
        return NULL;
    pool->bytes += cost;
    pool->blocks++;
    return block;
}

static void
retire(struct mr_pool *pool, uint32_t class, struct mr_pool_slab *slab)
{
    unlink_slab(pool, class, slab);
    if (pool->spares == MR_POOL_SPARES_MAX) {
        free(slab);
        pool->slabs--;
        return;
    }
    slab->next = pool->spare;
    pool->spare = slab;
    pool->spares++;
}

/* One empty slab of a class stays where it is, and some are kept for all, so that jobs that come
 * and go in crowds allocate nothing. */
static void
give_small(struct mr_pool *pool, uint32_t class, uint8_t *block)
{
    struct mr_pool_slab *slab =
        (struct mr_pool_slab *)((uintptr_t)block & ~(uintptr_t)(SLAB_BYTES - 1));

    memcpy(block, &slab->unused, sizeof slab->unused);
    slab->unused = block;
    if (slab->used-- == slab->max)
        link_slab(pool, class, slab);
    if (slab->used == 0 && (slab->prev || slab->next))
        retire(pool, class, slab);
}

void
mr_pool_free(struct mr_pool *pool, void *block, size_t bytes)
{
    uint64_t cost = mr_pool_cost(bytes);

    MR_ASSERT(block && pool->blocks > 0 && pool->bytes >= cost);
    pool->bytes -= cost;
    pool->blocks--;
    if (bytes > SMALL_BYTES_MAX)
        free(block);
    else
        give_small(pool, class_of(bytes), block);
}
