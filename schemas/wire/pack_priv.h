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

/* Of a value whose first byte is 0xc0 to 0xdf: the others fit into one. */
struct mr_pack_head mr_pack_head_long(const uint8_t *p, const uint8_t *end);

static inline struct mr_pack_head
mr_pack_head_short(uint8_t b)
{
    if (b <= 0x7f)
        return (struct mr_pack_head){MR_PACK_UINT, 1, b};
    if (b >= 0xe0)
        return (struct mr_pack_head){MR_PACK_NEGATIVE, 1, (uint64_t)(int64_t)(int8_t)b};
    if (b <= 0x8f)
        return (struct mr_pack_head){MR_PACK_MAP, 1, b & 0x0f};
    if (b <= 0x9f)
        return (struct mr_pack_head){MR_PACK_ARRAY, 1, b & 0x0f};
    return (struct mr_pack_head){MR_PACK_STR, 1, b & 0x1f};
}

/* Never reads past `end`. Lengths are not yet compared with what is left. Most values of a
 * message are short ones, ids, payloads and times. */
static inline struct mr_pack_head
mr_pack_head_read(const uint8_t *p, const uint8_t *end)
{
    if (p >= end)
        return (struct mr_pack_head){MR_PACK_END, 0, 0};
    if (*p < 0xc0 || *p >= 0xe0)
        return mr_pack_head_short(*p);
    if (*p == 0xc4 && end - p >= 2) /* bin, length in one byte */
        return (struct mr_pack_head){MR_PACK_BIN, 2, p[1]};
    return mr_pack_head_long(p, end);
}

/* Values that follow a container's head: its items, or twice its pairs. */
static inline uint64_t
mr_pack_head_children(const struct mr_pack_head *head)
{
    return head->type == MR_PACK_ARRAY ? head->number
           : head->type == MR_PACK_MAP ? head->number * 2
                                       : 0;
}

#endif
