/*
 * From a 16-byte key to a slot: open addressing with linear probing, at most half full, keyed
 * hash because peers choose the keys. The keys themselves stay in the slots, at their front.
 * Pure; one thread.
 */
#ifndef MR_CORE_IDS_H
#define MR_CORE_IDS_H

#include "broker/core/slab.h"
#include "schemas/base/hash.h"
#include "schemas/base/uuid.h"

struct mr_ids_entry {
    uint32_t slot; /* 0: empty */
    uint32_t hash;
};

struct mr_ids {
    struct mr_ids_entry *entries;
    uint32_t mask; /* entries - 1 */
    uint32_t count;
    struct mr_hash_key key;
    const struct mr_slab *slab; /* borrowed: where the slots lie */
};

enum mr_status mr_ids_init(
    struct mr_ids *ids, const struct mr_slab *slab, struct mr_hash_key key) MR_MUST_CHECK;
void mr_ids_fini(struct mr_ids *ids);

/* The slot whose key this is, 0 if there is none. */
uint32_t mr_ids_find(const struct mr_ids *ids, const struct mr_uuid *id);

/* The key stands in the slot already and in no other slot of the table. */
void mr_ids_add(struct mr_ids *ids, uint32_t slot);
void mr_ids_remove(struct mr_ids *ids, uint32_t slot);

/* Another slot with the same key takes the place. */
void mr_ids_replace(struct mr_ids *ids, uint32_t from, uint32_t to);

#endif
