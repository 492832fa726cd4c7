#include "broker/core/slab.h"

#include <stdlib.h>
#include <string.h>

enum mr_status
mr_slab_init(struct mr_slab *slab, uint32_t max, size_t stride)
{
    *slab = (struct mr_slab){.stride = stride, .max = max};
    slab->base = calloc((size_t)max + 1, stride);
    return slab->base ? MR_OK : MR_NO_MEMORY;
}

void
mr_slab_fini(struct mr_slab *slab)
{
    free(slab->base);
    *slab = (struct mr_slab){0};
}

uint32_t
mr_slab_take(struct mr_slab *slab)
{
    uint32_t slot = slab->unused;

    if (slot) {
        memcpy(&slab->unused, mr_slab_at(slab, slot), sizeof slab->unused);
        memset(mr_slab_at(slab, slot), 0, sizeof slab->unused);
    } else if (slab->fresh < slab->max) {
        slot = ++slab->fresh;
    } else {
        return 0;
    }
    slab->used++;
    return slot;
}

void
mr_slab_give(struct mr_slab *slab, uint32_t slot)
{
    MR_ASSERT(slot > 0 && slot <= slab->fresh && slab->used > 0);
    memset(mr_slab_at(slab, slot), 0, slab->stride);
    memcpy(mr_slab_at(slab, slot), &slab->unused, sizeof slab->unused);
    slab->unused = slot;
    slab->used--;
}
