/*
 * A table of equal slots with a cap, taken and given back in O(1), numbered from 1 (0: none).
 * Memory is reserved at once and touched only when it is used. Pure; one thread.
 */
#ifndef MR_CORE_SLAB_H
#define MR_CORE_SLAB_H

#include <stddef.h>
#include <stdint.h>

#include "schemas/base/status.h"

struct mr_slab {
    uint8_t *base;   /* slot 0 is never handed out */
    size_t stride;   /* bytes of a slot, at least 4 */
    uint32_t max;    /* slots */
    uint32_t used;   /* taken now */
    uint32_t fresh;  /* the highest number ever handed out */
    uint32_t unused; /* head of the list of slots that came back */
};

enum mr_status mr_slab_init(
    struct mr_slab *slab, uint32_t max, size_t stride) MR_MUST_CHECK;
void mr_slab_fini(struct mr_slab *slab);

/* A zeroed slot, 0 when the table is full. */
uint32_t mr_slab_take(struct mr_slab *slab);
void mr_slab_give(struct mr_slab *slab, uint32_t slot);

static inline void *
mr_slab_at(const struct mr_slab *slab, uint32_t slot)
{
    return slab->base + slot * slab->stride;
}

#endif
