#include "broker/core/ids.h"

#include <stdlib.h>

static uint32_t
hash_of(const struct mr_ids *ids, const struct mr_uuid *id)
{
    return (uint32_t)mr_hash(ids->key, mr_span(id->b, sizeof id->b));
}

static const struct mr_uuid *
key_of(const struct mr_ids *ids, uint32_t slot)
{
    return mr_slab_at(ids->slab, slot);
}

enum mr_status
mr_ids_init(struct mr_ids *ids, const struct mr_slab *slab, struct mr_hash_key key)
{
    size_t entries = 16;

    while (entries < (size_t)slab->max * 2)
        entries *= 2;
    *ids = (struct mr_ids){.mask = (uint32_t)(entries - 1), .key = key, .slab = slab};
    ids->entries = calloc(entries, sizeof *ids->entries);
    return ids->entries ? MR_OK : MR_NO_MEMORY;
}

void
mr_ids_fini(struct mr_ids *ids)
{
    free(ids->entries);
    *ids = (struct mr_ids){0};
}

uint32_t
mr_ids_find(const struct mr_ids *ids, const struct mr_uuid *id)
{
    uint32_t hash = hash_of(ids, id);

    for (uint32_t i = hash & ids->mask; ids->entries[i].slot; i = (i + 1) & ids->mask) {
        const struct mr_ids_entry *entry = &ids->entries[i];

        if (entry->hash == hash && mr_uuid_eq(*key_of(ids, entry->slot), *id))
            return entry->slot;
    }
    return 0;
}

void
mr_ids_add(struct mr_ids *ids, uint32_t slot)
{
    uint32_t hash = hash_of(ids, key_of(ids, slot));
    uint32_t i = hash & ids->mask;

    MR_ASSERT(ids->count <= ids->mask / 2);
    while (ids->entries[i].slot)
        i = (i + 1) & ids->mask;
    ids->entries[i] = (struct mr_ids_entry){slot, hash};
    ids->count++;
}

static uint32_t
place_of(const struct mr_ids *ids, uint32_t slot)
{
    uint32_t i = hash_of(ids, key_of(ids, slot)) & ids->mask;

    while (ids->entries[i].slot != slot) {
        MR_ASSERT(ids->entries[i].slot);
        i = (i + 1) & ids->mask;
    }
    return i;
}

/* No tombstones: entries behind the hole move up unless their home lies behind it. */
void
mr_ids_remove(struct mr_ids *ids, uint32_t slot)
{
    uint32_t hole = place_of(ids, slot);
    uint32_t i = hole;

    for (;;) {
        uint32_t home;

        i = (i + 1) & ids->mask;
        if (!ids->entries[i].slot)
            break;
        home = ids->entries[i].hash & ids->mask;
        if (((i - home) & ids->mask) >= ((i - hole) & ids->mask)) {
            ids->entries[hole] = ids->entries[i];
            hole = i;
        }
    }
    ids->entries[hole] = (struct mr_ids_entry){0};
    ids->count--;
}

void
mr_ids_replace(struct mr_ids *ids, uint32_t from, uint32_t to)
{
    ids->entries[place_of(ids, from)].slot = to;
}
