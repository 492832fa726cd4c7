/*
 * Linked beside libFuzzer, in the place of calloc() and free() for large blocks: a broker's core
 * takes 20 MB of tables, and the address sanitizer spends more time on marking these than the
 * core does on an input. Here they stay mapped, are zero again by dropping their pages, end where
 * a page begins that nobody may touch, and cannot be touched while they are free.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "schemas/base/status.h"

#define LARGE_BYTES ((size_t)128 * 1024)
#define PAGE_BYTES ((size_t)4096)

enum { BLOCKS_MAX = 64 };

void *__real_calloc(size_t count, size_t size);
void __real_free(void *p);
void *__wrap_calloc(size_t count, size_t size);
void __wrap_free(void *p);

struct block {
    uint8_t *pages;
    size_t pages_bytes, bytes;
    bool is_used;
};

static struct block blocks[BLOCKS_MAX];
static unsigned block_count;

static uint8_t *
start_of(const struct block *block)
{
    return block->pages + block->pages_bytes - (block->bytes + 15) / 16 * 16;
}

static struct block *
block_for(size_t bytes)
{
    struct block *block = blocks;
    struct block *end = blocks + block_count;

    while (block < end && (block->is_used || block->bytes != bytes))
        block++;
    if (block < end || block_count == BLOCKS_MAX)
        return block < end ? block : NULL;
    block_count++;
    *block = (struct block){.bytes = bytes,
        .pages_bytes = (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES};
    block->pages = mmap(NULL, block->pages_bytes + PAGE_BYTES, PROT_NONE,
        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MR_ASSERT(block->pages != MAP_FAILED);
    return block;
}

void *
__wrap_calloc(size_t count, size_t size)
{
    struct block *block = NULL;

    if (size && count >= LARGE_BYTES / size && count <= SIZE_MAX / 2 / size)
        block = block_for(count * size);
    if (!block)
        return __real_calloc(count, size);
    block->is_used = true;
    MR_ASSERT(mprotect(block->pages, block->pages_bytes, PROT_READ | PROT_WRITE) == 0);
    return start_of(block);
}

void
__wrap_free(void *p)
{
    for (unsigned i = 0; p && i < block_count; i++) {
        struct block *block = &blocks[i];

        if (p != start_of(block))
            continue;
        MR_ASSERT(block->is_used); /* not freed twice */
        block->is_used = false;
        MR_ASSERT(madvise(block->pages, block->pages_bytes, MADV_DONTNEED) == 0);
        MR_ASSERT(mprotect(block->pages, block->pages_bytes, PROT_NONE) == 0);
        return;
    }
    __real_free(p);
}
