/*
 * From a 16-byte key to a slot: open addressing with linear probing, keyed hash because peers
 * choose the keys. The keys themselves stay in the slots, at their front.
 *
 * The table is as large as what is in it asks for, so that few ids touch little memory: it
 * grows fourfold when it is two thirds full, and what was there moves over step by step with
 * later additions, so no addition takes long. All sizes are reserved at the start and touched
 * only when they are used: growing cannot fail. It never shrinks. Pure; one thread.
 */
#ifndef MR_CORE_IDS_H
#define MR_CORE_IDS_H

#include "broker/core/slab.h"
#include "schemas/base/hash.h"
#include "schemas/base/uuid.h"

/* The id that was hashed last: one event asks several tables about one id. */
struct mr_ids_hash {
    struct mr_hash_key key;
    struct mr_uuid id;
    uint32_t hash;
};

void mr_ids_hash_init(struct mr_ids_hash *hash, struct mr_hash_key key);

struct mr_ids_entry {
    uint32_t slot; /* 0: empty */
    uint32_t hash;
};

#define MR_IDS_LEVELS 16

struct mr_ids_table {
    struct mr_ids_entry *entries;
    uint32_t mask; /* entries - 1 */
};

struct mr_ids {
    struct mr_ids_table now;
    struct mr_ids_table before; /* entries NULL: nothing is left in a smaller one */
    uint32_t moved;             /* places of it that have been looked at */
    uint32_t level, levels;
    struct mr_ids_table all[MR_IDS_LEVELS]; /* smallest first */
    uint32_t count;
    struct mr_ids_hash *hash;   /* borrowed, may be shared */
    const struct mr_slab *slab; /* borrowed: where the slots lie */
};

enum mr_status mr_ids_init(struct mr_ids *ids, const struct mr_slab *slab,
    struct mr_ids_hash *hash) MR_MUST_CHECK;
void mr_ids_fini(struct mr_ids *ids);

/* The slot whose key this is, 0 if there is none. */
uint32_t mr_ids_find(const struct mr_ids *ids, const struct mr_uuid *id);

/* The key stands in the slot already and in no other slot of the table. */
void mr_ids_add(struct mr_ids *ids, uint32_t slot);
void mr_ids_remove(struct mr_ids *ids, uint32_t slot);

/* Another slot with the same key takes the place. */
void mr_ids_replace(struct mr_ids *ids, uint32_t from, uint32_t to);

#endif
