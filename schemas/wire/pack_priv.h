/* Shared by the reader and the scanner: what the first byte of a value says. */
#ifndef MR_WIRE_PACK_PRIV_H
#define MR_WIRE_PACK_PRIV_H

#include "schemas/wire/pack.h"

#define MR_PACK_SCAN_DEPTH 64 /* levels that the scanner has room for */

/* The head of one value. */
struct mr_pack_head {
    enum mr_pack_type type; /* MR_PACK_END: not a value that we accept, or cut short */
    size_t bytes;           /* of the head; a string's or bin's bytes follow it */
    uint64_t number;        /* integer or float bits, true, length, or count */
};

/* Never reads past `end`. Lengths are not yet compared with what is left. */
struct mr_pack_head mr_pack_head_read(const uint8_t *p, const uint8_t *end);

/* Values that follow a container's head: its items, or twice its pairs. */
static inline uint64_t
mr_pack_head_children(const struct mr_pack_head *head)
{
    return head->type == MR_PACK_ARRAY ? head->number
           : head->type == MR_PACK_MAP ? head->number * 2
                                       : 0;
}

#endif
