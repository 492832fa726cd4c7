#include <stdlib.h>

#include "schemas/wire/pack.h"

#define ROOM_FIRST 256u

void
mr_wr_init(struct mr_wr *wr, size_t max_bytes)
{
    *wr = (struct mr_wr){.max = max_bytes, .is_owner = true};
}

void
mr_wr_init_fixed(struct mr_wr *wr, void *memory, size_t bytes)
{
    *wr = (struct mr_wr){.p = memory, .cap = bytes, .max = bytes};
}

void
mr_wr_fini(struct mr_wr *wr)
{
    if (wr->is_owner)
        free(wr->p);
    *wr = (struct mr_wr){.max = wr->max, .is_owner = wr->is_owner};
}

void
mr_wr_reset(struct mr_wr *wr)
{
    wr->n = 0;
    wr->status = MR_OK;
}

struct mr_span
mr_wr_span(const struct mr_wr *wr)
{
    return mr_span(wr->p, wr->n);
}

uint8_t *
mr_wr_take(struct mr_wr *wr, size_t *n)
{
    MR_ASSERT(wr->is_owner);
    uint8_t *memory = wr->p;
    *n = wr->n;
    wr->p = NULL;
    wr->n = wr->cap = 0;
    wr->status = MR_OK;
    return memory;
}

static bool
grow(struct mr_wr *wr, size_t need)
{
    size_t cap = wr->cap ? wr->cap
                 : wr->max < ROOM_FIRST
                     ? wr->max /* the room is never more than the cap */
                     : ROOM_FIRST;
    while (cap < need)
        cap = cap > wr->max / 2 ? wr->max : cap * 2;
    uint8_t *memory = realloc(wr->p, cap);
    if (!memory) {
        wr->status = MR_NO_MEMORY;
        return false;
    }
    wr->p = memory;
    wr->cap = cap;
    return true;
}

/* When what is there is not enough. */
static uint8_t *
more_room(struct mr_wr *wr, size_t n)
{
    if (wr->status != MR_OK)
        return NULL;
    if (n > wr->max - wr->n) {
        wr->status = MR_TOO_BIG;
        return NULL;
    }
    if (wr->n + n > wr->cap && (!wr->is_owner || !grow(wr, wr->n + n))) {
        if (wr->status == MR_OK)
            wr->status = MR_TOO_BIG;
        return NULL;
    }
    uint8_t *at = wr->p + wr->n;
    wr->n += n;
    return at;
}

/* Room for n more bytes, NULL (and the sticky error) if there is none. */
static inline uint8_t *
room(struct mr_wr *wr, size_t n)
{
    uint8_t *at;

    if (wr->status != MR_OK || n > wr->cap - wr->n)
        return more_room(wr, n);
    at = wr->p + wr->n;
    wr->n += n;
    return at;
}

/* One byte, then a number of `bytes` bytes, most significant first. */
static inline void
put(struct mr_wr *wr, uint8_t first, uint64_t number, unsigned bytes)
{
    uint8_t *at = room(wr, 1 + bytes);
    if (!at)
        return;
    *at = first;
    for (unsigned i = 0; i < bytes; i++)
        at[1 + i] = (uint8_t)(number >> (8 * (bytes - 1 - i)));
}

static void
put_bytes(struct mr_wr *wr, struct mr_span v)
{
    uint8_t *at = v.n > 0 ? room(wr, v.n) : NULL;
    if (at)
        memcpy(at, v.p, v.n);
}

void
mr_wr_nil(struct mr_wr *wr)
{
    put(wr, 0xc0, 0, 0);
}

void
mr_wr_bool(struct mr_wr *wr, bool v)
{
    put(wr, v ? 0xc3 : 0xc2, 0, 0);
}

void
mr_wr_uint(struct mr_wr *wr, uint64_t v)
{
    if (v <= 0x7f)
        put(wr, (uint8_t)v, 0, 0);
    else if (v <= UINT8_MAX)
        put(wr, 0xcc, v, 1);
    else if (v <= UINT16_MAX)
        put(wr, 0xcd, v, 2);
    else if (v <= UINT32_MAX)
        put(wr, 0xce, v, 4);
    else
        put(wr, 0xcf, v, 8);
}

void
mr_wr_int(struct mr_wr *wr, int64_t v)
{
    if (v >= 0)
        mr_wr_uint(wr, (uint64_t)v);
    else if (v >= -32)
        put(wr, (uint8_t)v, 0, 0);
    else if (v >= INT8_MIN)
        put(wr, 0xd0, (uint64_t)v, 1);
    else if (v >= INT16_MIN)
        put(wr, 0xd1, (uint64_t)v, 2);
    else if (v >= INT32_MIN)
        put(wr, 0xd2, (uint64_t)v, 4);
    else
        put(wr, 0xd3, (uint64_t)v, 8);
}

void
mr_wr_double(struct mr_wr *wr, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    put(wr, 0xcb, bits, 8);
}

/* A length or count in its shortest form; `fix` holds up to fix_max in the first byte. */
static void
put_length(
    struct mr_wr *wr, size_t n, uint8_t fix, size_t fix_max, const uint8_t firsts[3])
{
    if (n <= fix_max)
        put(wr, (uint8_t)(fix | n), 0, 0);
    else if (n <= UINT8_MAX && firsts[0])
        put(wr, firsts[0], n, 1);
    else if (n <= UINT16_MAX)
        put(wr, firsts[1], n, 2);
    else if (n <= UINT32_MAX)
        put(wr, firsts[2], n, 4);
    else if (wr->status == MR_OK)
        wr->status = MR_TOO_BIG;
}

void
mr_wr_str(struct mr_wr *wr, struct mr_span v)
{
    put_length(wr, v.n, 0xa0, 31, (const uint8_t[3]){0xd9, 0xda, 0xdb});
    put_bytes(wr, v);
}

void
mr_wr_cstr(struct mr_wr *wr, const char *v)
{
    if (v)
        mr_wr_str(wr, mr_span_str(v));
    else
        mr_wr_nil(wr);
}

void
mr_wr_bin(struct mr_wr *wr, struct mr_span v)
{
    if (v.n <= UINT8_MAX)
        put(wr, 0xc4, v.n, 1);
    else if (v.n <= UINT16_MAX)
        put(wr, 0xc5, v.n, 2);
    else
        put(wr, 0xc6, v.n, 4);
    put_bytes(wr, v);
}

void
mr_wr_array(struct mr_wr *wr, uint32_t count)
{
    put_length(wr, count, 0x90, 15, (const uint8_t[3]){0, 0xdc, 0xdd});
}

void
mr_wr_map(struct mr_wr *wr, uint32_t count)
{
    put_length(wr, count, 0x80, 15, (const uint8_t[3]){0, 0xde, 0xdf});
}

void
mr_wr_raw(struct mr_wr *wr, struct mr_span value)
{
    put_bytes(wr, value);
}

size_t
mr_wr_array_open(struct mr_wr *wr)
{
    size_t mark = wr->n;
    put(wr, 0xdd, 0, 4);
    return mark;
}

size_t
mr_wr_map_open(struct mr_wr *wr)
{
    size_t mark = wr->n;
    put(wr, 0xdf, 0, 4);
    return mark;
}

void
mr_wr_close(struct mr_wr *wr, size_t mark, uint32_t count)
{
    if (wr->status != MR_OK)
        return;
    for (unsigned i = 0; i < 4; i++)
        wr->p[mark + 1 + i] = (uint8_t)(count >> (8 * (3 - i)));
}
