#include "broker/core/ids.h"

#include <stdlib.h>

#define SIZE_FIRST 1024u
#define GROWTH 4u
#define MOVED_PER_ADD                                                                    \
    8u /* places of the smaller table: it is empty long before the next */
#define GONE                                                                             \
    UINT32_MAX /* the smaller table's: moved or removed, others may lie behind it */

void
mr_ids_hash_init(struct mr_ids_hash *hash, struct mr_hash_key key)
{
    *hash = (struct mr_ids_hash){.key = key};
    hash->hash = (uint32_t)mr_hash(key, mr_span(hash->id.b, sizeof hash->id.b));
}

static uint32_t
hash_of(const struct mr_ids *ids, const struct mr_uuid *id)
{
    struct mr_ids_hash *last = ids->hash;

    if (!mr_uuid_eq(last->id, *id)) {
        last->id = *id;
        last->hash = (uint32_t)mr_hash(last->key, mr_span(id->b, sizeof id->b));
    }
    return last->hash;
}

static const struct mr_uuid *
key_of(const struct mr_ids *ids, uint32_t slot)
{
    return mr_slab_at(ids->slab, slot);
}

/* The largest holds all slots and is three quarters full then, the others are fractions. */
enum mr_status
mr_ids_init(struct mr_ids *ids, const struct mr_slab *slab, struct mr_ids_hash *hash)
{
    size_t last = SIZE_FIRST, first;

    *ids = (struct mr_ids){.hash = hash, .slab = slab, .levels = 1};
    while (last / 4 * 3 < slab->max)
        last *= 2;
    for (first = last; first / GROWTH >= SIZE_FIRST; first /= GROWTH)
        ids->levels++;
    MR_ASSERT(ids->levels <= MR_IDS_LEVELS);
    for (uint32_t i = 0; i < ids->levels; i++, first *= GROWTH) {
        ids->all[i].entries = calloc(first, sizeof *ids->all[i].entries);
        ids->all[i].mask = (uint32_t)(first - 1);
        if (!ids->all[i].entries)
            return MR_NO_MEMORY;
    }
    ids->now = ids->all[0];
    return MR_OK;
}

void
mr_ids_fini(struct mr_ids *ids)
{
    for (uint32_t i = 0; i < MR_IDS_LEVELS; i++)
        free(ids->all[i].entries);
    *ids = (struct mr_ids){0};
}

/* ---- one table -------------------------------------------------------------------------------- */

static uint32_t
find_in(const struct mr_ids *ids, const struct mr_ids_table *table, uint32_t hash,
    const struct mr_uuid *id)
{
    for (uint32_t i = hash & table->mask; table->entries[i].slot;
         i = (i + 1) & table->mask) {
        const struct mr_ids_entry *entry = &table->entries[i];

        if (entry->hash == hash && entry->slot != GONE &&
            mr_uuid_eq(*key_of(ids, entry->slot), *id))
            return entry->slot;
    }
    return 0;
}

static void
put(struct mr_ids_table *table, struct mr_ids_entry entry)
{
    uint32_t i = entry.hash & table->mask;

    while (table->entries[i].slot)
        i = (i + 1) & table->mask;
    table->entries[i] = entry;
}

/* Where the slot stands, NULL if it is in the other table. */
static struct mr_ids_entry *
place_in(const struct mr_ids_table *table, uint32_t hash, uint32_t slot)
{
    uint32_t i = hash & table->mask;

    while (table->entries[i].slot != slot) {
        if (!table->entries[i].slot)
            return NULL;
        i = (i + 1) & table->mask;
    }
    return &table->entries[i];
}

/* No tombstones: entries behind the hole move up unless their home lies behind it. */
static void
close_hole(struct mr_ids_table *table, uint32_t hole)
{
    uint32_t i = hole;

    for (;;) {
        uint32_t home;

        i = (i + 1) & table->mask;
        if (!table->entries[i].slot)
            break;
        home = table->entries[i].hash & table->mask;
        if (((i - home) & table->mask) >= ((i - hole) & table->mask)) {
            table->entries[hole] = table->entries[i];
            hole = i;
        }
    }
    table->entries[hole] = (struct mr_ids_entry){0};
}

/* ---- growing ---------------------------------------------------------------------------------- */

static void
grow(struct mr_ids *ids)
{
    ids->before = ids->now;
    ids->moved = 0;
    ids->now = ids->all[++ids->level];
}

/* The last place has been looked at: its memory goes back. */
static void
end_move(struct mr_ids *ids)
{
    free(ids->before.entries);
    ids->all[ids->level - 1].entries = NULL;
    ids->before = (struct mr_ids_table){0};
}

static void
move_some(struct mr_ids *ids)
{
    for (uint32_t n = 0; n < MOVED_PER_ADD; n++) {
        struct mr_ids_entry *from = &ids->before.entries[ids->moved];

        if (from->slot && from->slot != GONE) {
            put(&ids->now, *from);
            from->slot = GONE;
        }
        if (ids->moved++ == ids->before.mask) {
            end_move(ids);
            return;
        }
    }
}

/* ---- both ------------------------------------------------------------------------------------- */

uint32_t
mr_ids_find(const struct mr_ids *ids, const struct mr_uuid *id)
{
    uint32_t hash, slot;

    if (!ids->count)
        return 0;
    hash = hash_of(ids, id);
    slot = find_in(ids, &ids->now, hash, id);
    if (!slot && ids->before.entries)
        slot = find_in(ids, &ids->before, hash, id);
    return slot;
}

void
mr_ids_add(struct mr_ids *ids, uint32_t slot)
{
    if (ids->before.entries)
        move_some(ids);
    else if (ids->count >= (ids->now.mask + 1) / 3 * 2 && ids->level + 1 < ids->levels)
        grow(ids);
    MR_ASSERT(ids->count < ids->now.mask);
    put(&ids->now, (struct mr_ids_entry){slot, hash_of(ids, key_of(ids, slot))});
    ids->count++;
}

static struct mr_ids_entry *
place_of(const struct mr_ids *ids, uint32_t slot, bool *is_before)
{
    uint32_t hash = hash_of(ids, key_of(ids, slot));
    struct mr_ids_entry *place = place_in(&ids->now, hash, slot);

    *is_before = !place;
    if (!place && ids->before.entries)
        place = place_in(&ids->before, hash, slot);
    MR_ASSERT(place);
    return place;
}

void
mr_ids_remove(struct mr_ids *ids, uint32_t slot)
{
    bool is_before;
    struct mr_ids_entry *place = place_of(ids, slot, &is_before);

    if (is_before)
        place->slot = GONE;
    else
        close_hole(&ids->now, (uint32_t)(place - ids->now.entries));
    ids->count--;
}

void
mr_ids_replace(struct mr_ids *ids, uint32_t from, uint32_t to)
{
    bool is_before;

    place_of(ids, from, &is_before)->slot = to;
}
