#include "schemas/sql/bin.h"

#include <endian.h>
#include <limits.h>
#include <stdlib.h>

#include <libpq-fe.h>

#include "schemas/wire/msg.h"

#define CAP_MIN 4096
#define EPOCH_US INT64_C(946684800000000) /* 2000-01-01, where PostgreSQL counts from */

void
mr_bin_fini(struct mr_bin *bin)
{
    free(bin->p);
    *bin = (struct mr_bin){0};
}

void
mr_bin_reset(struct mr_bin *bin)
{
    bin->n = 0;
    bin->is_full = false;
}

static bool
grow(struct mr_bin *bin, size_t n)
{
    size_t cap = bin->cap ? bin->cap : CAP_MIN;
    uint8_t *p;

    if (bin->is_full || n > MR_BIN_BYTES_MAX - bin->n) {
        bin->is_full = true;
        return false;
    }
    while (cap < bin->n + n)
        cap *= 2;
    p = realloc(bin->p, cap);
    if (!p) {
        bin->is_full = true;
        return false;
    }
    bin->p = p;
    bin->cap = cap;
    return true;
}

/* The cap is a power of two, as the limit is: what is within the one is within the other. */
static inline bool
make_room(struct mr_bin *bin, size_t n)
{
    return (!bin->is_full && n <= bin->cap - bin->n) || grow(bin, n);
}

void
mr_bin_raw(struct mr_bin *bin, const void *bytes, size_t n)
{
    if (n == 0 || !make_room(bin, n))
        return;
    memcpy(bin->p + bin->n, bytes, n);
    bin->n += n;
}

static inline void
store_be4(uint8_t *to, uint32_t v)
{
    v = htobe32(v);
    memcpy(to, &v, sizeof v);
}

static inline void
put_be4(struct mr_bin *bin, uint32_t v)
{
    if (!make_room(bin, sizeof v))
        return;
    store_be4(bin->p + bin->n, v);
    bin->n += sizeof v;
}

void
mr_bin_i16(struct mr_bin *bin, int16_t v)
{
    uint16_t be = htobe16((uint16_t)v);

    mr_bin_raw(bin, &be, sizeof be);
}

/* A length and as many bytes: with `bytes` known where it is called, a few instructions. */
static inline void
put_number(struct mr_bin *bin, uint64_t v, size_t bytes)
{
    uint64_t be = htobe64(v << (64 - 8 * bytes));

    if (!make_room(bin, 4 + bytes))
        return;
    store_be4(bin->p + bin->n, (uint32_t)bytes);
    memcpy(bin->p + bin->n + 4, &be, bytes);
    bin->n += 4 + bytes;
}

void
mr_bin_put_null(struct mr_bin *bin)
{
    put_be4(bin, UINT32_MAX);
}

void
mr_bin_put_uuid(struct mr_bin *bin, struct mr_uuid v)
{
    mr_bin_put_bytes(bin, mr_span(v.b, sizeof v.b));
}

void
mr_bin_put_some_uuid(struct mr_bin *bin, struct mr_uuid v)
{
    if (mr_uuid_is_none(v))
        mr_bin_put_null(bin);
    else
        mr_bin_put_uuid(bin, v);
}

void
mr_bin_put_bool(struct mr_bin *bin, bool v)
{
    put_number(bin, v, 1);
}

void
mr_bin_put_int2(struct mr_bin *bin, int16_t v)
{
    put_number(bin, (uint64_t)v, 2);
}

void
mr_bin_put_int4(struct mr_bin *bin, int32_t v)
{
    put_number(bin, (uint64_t)v, 4);
}

void
mr_bin_put_int8(struct mr_bin *bin, int64_t v)
{
    put_number(bin, (uint64_t)v, 8);
}

void
mr_bin_put_some_int2(struct mr_bin *bin, uint32_t v)
{
    if (v == 0)
        mr_bin_put_null(bin);
    else
        put_number(bin, v, 2);
}

void
mr_bin_put_jitter(struct mr_bin *bin, uint32_t jitter)
{
    if (jitter == 0)
        mr_bin_put_null(bin);
    else
        put_number(bin, mr_jitter_percent(jitter), 2);
}

void
mr_bin_put_some_int4(struct mr_bin *bin, uint32_t v)
{
    if (v == 0)
        mr_bin_put_null(bin);
    else
        put_number(bin, v, 4);
}

void
mr_bin_put_some_int8(struct mr_bin *bin, int64_t v)
{
    if (v == 0)
        mr_bin_put_null(bin);
    else
        mr_bin_put_int8(bin, v);
}

void
mr_bin_put_some_time(struct mr_bin *bin, int64_t us)
{
    int64_t v;

    if (us == 0) {
        mr_bin_put_null(bin);
        return;
    }
    /* The smallest number means -infinity there; one more is merely out of range, and said so. */
    if (__builtin_sub_overflow(us, EPOCH_US, &v) || v == INT64_MIN)
        v = INT64_MIN + 1;
    mr_bin_put_int8(bin, v);
}

void
mr_bin_put_bytes(struct mr_bin *bin, struct mr_span v)
{
    if (v.n > MR_BIN_BYTES_MAX) {
        bin->is_full = true;
        return;
    }
    if (!make_room(bin, 4 + v.n))
        return;
    store_be4(bin->p + bin->n, (uint32_t)v.n);
    if (v.n > 0)
        memcpy(bin->p + bin->n + 4, v.p, v.n);
    bin->n += 4 + v.n;
}

void
mr_bin_put_some_bytes(struct mr_bin *bin, struct mr_span v)
{
    if (v.n == 0)
        mr_bin_put_null(bin);
    else
        mr_bin_put_bytes(bin, v);
}

/* Bytes of the valid UTF-8 character at p, 0 if there is none (RFC 3629, section 4). */
static size_t
character_bytes(const uint8_t *p, size_t n)
{
    uint8_t low = 0x80, high = 0xbf;
    size_t bytes;

    if (p[0] < 0x80)
        return p[0] != 0;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    bytes = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (bytes > n)
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < bytes; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    }
    return bytes;
}

void
mr_bin_put_some_words(struct mr_bin *bin, struct mr_span v)
{
    size_t start = bin->n + 4;

    mr_bin_put_some_bytes(bin, v);
    if (bin->is_full)
        return;
    for (size_t i = 0; i < v.n;) {
        size_t bytes = character_bytes(v.p + i, v.n - i);

        if (bytes == 0)
            bin->p[start + i] = '?';
        i += bytes ? bytes : 1;
    }
}

/* Field length, dimensions 1, may have nulls, element type, count, lower bound 1. */
size_t
mr_bin_array_open(struct mr_bin *bin, enum mr_bin_type element)
{
    size_t mark = bin->n;

    put_be4(bin, 0);
    put_be4(bin, 1);
    put_be4(bin, 1);
    put_be4(bin, (uint32_t)element);
    put_be4(bin, 0);
    put_be4(bin, 1);
    return mark;
}

void
mr_bin_array_close(struct mr_bin *bin, size_t mark, uint32_t count)
{
    if (bin->is_full)
        return;
    store_be4(bin->p + mark, (uint32_t)(bin->n - mark - 4));
    store_be4(bin->p + mark + 16, count);
}

bool
mr_bin_is_null(const struct pg_result *result, int row, int column)
{
    return PQgetisnull(result, row, column);
}

int64_t
mr_bin_int(const struct pg_result *result, int row, int column)
{
    struct mr_span cell = mr_bin_span(result, row, column);
    uint64_t v = 0;

    MR_ASSERT(cell.n <= 8);
    if (cell.n == 0)
        return 0;
    for (size_t i = 0; i < cell.n; i++)
        v = v << 8 | cell.p[i];
    switch (cell.n) {
    case 2:
        return (int16_t)v;
    case 4:
        return (int32_t)v;
    default:
        return (int64_t)v;
    }
}

int64_t
mr_bin_time(const struct pg_result *result, int row, int column)
{
    int64_t v = mr_bin_int(result, row, column);

    if (mr_bin_is_null(result, row, column))
        return 0;
    return __builtin_add_overflow(v, EPOCH_US, &v) ? INT64_MAX : v;
}

uint32_t
mr_bin_jitter(const struct pg_result *result, int row, int column)
{
    if (mr_bin_is_null(result, row, column))
        return 0;
    return mr_jitter_of((uint32_t)mr_bin_int(result, row, column));
}

struct mr_uuid
mr_bin_uuid(const struct pg_result *result, int row, int column)
{
    struct mr_span cell = mr_bin_span(result, row, column);
    struct mr_uuid id = {{0}};

    MR_ASSERT(cell.n == sizeof id.b || cell.n == 0);
    if (cell.n > 0)
        memcpy(id.b, cell.p, sizeof id.b);
    return id;
}

struct mr_span
mr_bin_span(const struct pg_result *result, int row, int column)
{
    return mr_span(
        PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
}
