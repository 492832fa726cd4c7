#include "schemas/wire/pack_priv.h"

#define SKIP_DEPTH_MAX 32u

struct mr_rd
mr_rd_open(struct mr_span bytes)
{
    return (struct mr_rd){bytes.p, mr_span_end(bytes), MR_OK};
}

static void
fail(struct mr_rd *rd, enum mr_status status)
{
    if (rd->status == MR_OK)
        rd->status = status;
    rd->p = rd->end;
}

enum mr_pack_type
mr_rd_peek(const struct mr_rd *rd)
{
    return rd->status == MR_OK ? mr_pack_head_read(rd->p, rd->end).type : MR_PACK_END;
}

/* The head of the next value if it is of the wanted type; the cursor stands behind it. */
static bool
take(struct mr_rd *rd, enum mr_pack_type type, struct mr_pack_head *head)
{
    if (rd->status != MR_OK)
        return false;
    *head = mr_pack_head_read(rd->p, rd->end);
    if (head->type != type) {
        fail(rd, MR_MALFORMED);
        return false;
    }
    rd->p += head->bytes;
    return true;
}

uint64_t
mr_rd_uint(struct mr_rd *rd, uint64_t max)
{
    struct mr_pack_head head;
    if (!take(rd, MR_PACK_UINT, &head))
        return 0;
    if (head.number > max) {
        fail(rd, MR_MALFORMED);
        return 0;
    }
    return head.number;
}

int64_t
mr_rd_int(struct mr_rd *rd)
{
    struct mr_pack_head head;
    if (mr_rd_peek(rd) == MR_PACK_UINT)
        return (int64_t)mr_rd_uint(rd, INT64_MAX);
    return take(rd, MR_PACK_NEGATIVE, &head) ? (int64_t)head.number : 0;
}

bool
mr_rd_bool(struct mr_rd *rd)
{
    struct mr_pack_head head;
    return take(rd, MR_PACK_BOOL, &head) && head.number != 0;
}

double
mr_rd_double(struct mr_rd *rd)
{
    struct mr_pack_head head;
    enum mr_pack_type type = mr_rd_peek(rd);
    if (type == MR_PACK_UINT && take(rd, type, &head))
        return (double)head.number;
    if (type == MR_PACK_NEGATIVE && take(rd, type, &head))
        return (double)(int64_t)head.number;
    if (!take(rd, MR_PACK_FLOAT, &head))
        return 0;
    if (head.bytes == 5) {
        uint32_t bits = (uint32_t)head.number;
        float single;
        memcpy(&single, &bits, sizeof single);
        return (double)single;
    }
    double v;
    memcpy(&v, &head.number, sizeof v);
    return v;
}

static struct mr_span
take_bytes(struct mr_rd *rd, enum mr_pack_type type, size_t max_bytes)
{
    struct mr_pack_head head;
    if (!take(rd, type, &head))
        return MR_SPAN_NONE;
    if (head.number > (uint64_t)(rd->end - rd->p)) {
        fail(rd, MR_MALFORMED);
        return MR_SPAN_NONE;
    }
    if (head.number > max_bytes) {
        fail(rd, MR_TOO_BIG);
        return MR_SPAN_NONE;
    }
    struct mr_span out = mr_span(rd->p, (size_t)head.number);
    rd->p += head.number;
    return out;
}

struct mr_span
mr_rd_str(struct mr_rd *rd, size_t max_bytes)
{
    return take_bytes(rd, MR_PACK_STR, max_bytes);
}

struct mr_span
mr_rd_bin(struct mr_rd *rd, size_t max_bytes)
{
    return take_bytes(rd, MR_PACK_BIN, max_bytes);
}

static uint32_t
take_count(struct mr_rd *rd, enum mr_pack_type type, uint32_t max_count)
{
    struct mr_pack_head head;
    if (!take(rd, type, &head))
        return 0;
    if (head.number > max_count) {
        fail(rd, MR_TOO_BIG);
        return 0;
    }
    if (mr_pack_head_children(&head) > (uint64_t)(rd->end - rd->p)) {
        fail(rd, MR_MALFORMED);
        return 0;
    }
    return (uint32_t)head.number;
}

uint32_t
mr_rd_array(struct mr_rd *rd, uint32_t max_count)
{
    return take_count(rd, MR_PACK_ARRAY, max_count);
}

uint32_t
mr_rd_map(struct mr_rd *rd, uint32_t max_count)
{
    return take_count(rd, MR_PACK_MAP, max_count);
}

void
mr_rd_nil(struct mr_rd *rd)
{
    struct mr_pack_head head;
    (void)take(rd, MR_PACK_NIL, &head);
}

bool
mr_rd_skip_nil(struct mr_rd *rd)
{
    if (mr_rd_peek(rd) != MR_PACK_NIL)
        return false;
    rd->p++;
    return true;
}

void
mr_rd_skip(struct mr_rd *rd)
{
    uint64_t left[SKIP_DEPTH_MAX + 1] = {1};
    unsigned depth = 0;

    for (;;) {
        while (left[depth] == 0) {
            if (depth == 0)
                return;
            depth--;
        }
        left[depth]--;
        enum mr_pack_type type = mr_rd_peek(rd);
        if (type == MR_PACK_STR || type == MR_PACK_BIN) {
            (void)take_bytes(rd, type, SIZE_MAX);
        } else if (type == MR_PACK_ARRAY || type == MR_PACK_MAP) {
            uint64_t count = take_count(rd, type, UINT32_MAX);
            if (depth == SKIP_DEPTH_MAX)
                fail(rd, MR_TOO_BIG);
            else
                left[++depth] = type == MR_PACK_MAP ? count * 2 : count;
        } else {
            struct mr_pack_head head;
            if (type == MR_PACK_END || !take(rd, type, &head))
                fail(rd, MR_MALFORMED);
        }
        if (rd->status != MR_OK)
            return;
    }
}

void
mr_rd_skip_n(struct mr_rd *rd, uint32_t count)
{
    for (; count > 0 && rd->status == MR_OK; count--)
        mr_rd_skip(rd);
}

struct mr_span
mr_rd_raw(struct mr_rd *rd)
{
    const uint8_t *from = rd->p;
    mr_rd_skip(rd);
    return rd->status == MR_OK ? mr_span(from, (size_t)(rd->p - from)) : MR_SPAN_NONE;
}
