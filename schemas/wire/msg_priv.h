/* Shared by the files of the verbs: opening, trailing fields, names, item lists. */
#ifndef MR_WIRE_MSG_PRIV_H
#define MR_WIRE_MSG_PRIV_H

#include "schemas/wire/msg.h"

/* The body of a message that must be `verb`, and have at least `least` fields. A failed cursor
 * otherwise. *fields: how many there are. */
struct mr_rd mr_msg_body(
    const struct mr_msg *msg, enum mr_verb verb, uint32_t least, uint32_t *fields);

/* A queue, kind or worker name: 1 to 64 printable ASCII characters without spaces. */
struct mr_span mr_msg_name(struct mr_rd *rd);

/* A 16-byte bin. */
struct mr_uuid mr_msg_uuid(struct mr_rd *rd);

/* Time in microseconds since 1970, not negative. */
int64_t mr_msg_time(struct mr_rd *rd);

/* Percent; 0 or MR_BACKOFF_FACTOR_MIN to _MAX. */
uint32_t mr_msg_factor(struct mr_rd *rd);

/* Percent on the wire; comes out as our structs have it. */
uint32_t mr_msg_jitter(struct mr_rd *rd);

/* Enter an item, which is an array of at least `least` and at most 31 fields. */
uint32_t mr_msg_item(struct mr_rd *rd, uint32_t least);

/* Leave it: skip the fields beyond those `taken`. */
void mr_msg_item_end(struct mr_rd *rd, uint32_t fields, uint32_t taken);

/* [verb, corr, ...] with `fields` fields behind corr. */
void mr_msg_begin(struct mr_wr *wr, enum mr_verb verb, uint64_t corr, uint32_t fields);

void mr_msg_put_uuid(struct mr_wr *wr, struct mr_uuid id);

/* A body that is one list of items and nothing else: reading and writing. */
enum mr_status mr_msg_get_list(const struct mr_msg *msg, enum mr_verb verb, uint32_t max,
    uint32_t *count, struct mr_rd *items) MR_MUST_CHECK;
size_t mr_msg_put_list(struct mr_wr *wr, enum mr_verb verb, uint64_t corr);

#endif
