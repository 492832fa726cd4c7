#include "schemas/wire/pack_priv.h"

/* What the bytes 0xc0 to 0xdf mean: type and the bytes of the number behind the first byte. */
static const struct {
    uint8_t type, number_bytes, is_signed;
} kinds[32] = {
    {MR_PACK_NIL, 0, 0}, {MR_PACK_END, 0, 0}, {MR_PACK_BOOL, 0, 0}, {MR_PACK_BOOL, 0, 0},
    {MR_PACK_BIN, 1, 0}, {MR_PACK_BIN, 2, 0}, {MR_PACK_BIN, 4, 0}, /* c4 */
    {MR_PACK_END, 0, 0}, {MR_PACK_END, 0, 0}, {MR_PACK_END, 0, 0}, /* c7: ext */
    {MR_PACK_FLOAT, 4, 0}, {MR_PACK_FLOAT, 8, 0},                  /* ca */
    {MR_PACK_UINT, 1, 0}, {MR_PACK_UINT, 2, 0}, {MR_PACK_UINT, 4, 0},
    {MR_PACK_UINT, 8, 0}, {MR_PACK_UINT, 1, 1}, {MR_PACK_UINT, 2, 1},
    {MR_PACK_UINT, 4, 1}, {MR_PACK_UINT, 8, 1}, {MR_PACK_END, 0, 0}, {MR_PACK_END, 0, 0},
    {MR_PACK_END, 0, 0},                                           /* d4: fixext */
    {MR_PACK_END, 0, 0}, {MR_PACK_END, 0, 0},                      /* d7 */
    {MR_PACK_STR, 1, 0}, {MR_PACK_STR, 2, 0}, {MR_PACK_STR, 4, 0}, /* d9 */
    {MR_PACK_ARRAY, 2, 0}, {MR_PACK_ARRAY, 4, 0},                  /* dc */
    {MR_PACK_MAP, 2, 0}, {MR_PACK_MAP, 4, 0},                      /* de */
};

static uint64_t
sign_extend(uint64_t v, unsigned bytes)
{
    unsigned shift = 64 - 8 * bytes;
    return (uint64_t)((int64_t)(v << shift) >> shift);
}

struct mr_pack_head
mr_pack_head_long(const uint8_t *p, const uint8_t *end)
{
    static const struct mr_pack_head none = {MR_PACK_END, 0, 0};
    unsigned kind = *p - 0xc0u, n = kinds[kind].number_bytes;
    struct mr_pack_head head = {(enum mr_pack_type)kinds[kind].type, 1 + n, 0};
    if (head.type == MR_PACK_END || (size_t)(end - p) < head.bytes)
        return none;
    for (unsigned i = 1; i <= n; i++)
        head.number = head.number << 8 | p[i];
    if (head.type == MR_PACK_BOOL)
        head.number = *p == 0xc3;
    if (kinds[kind].is_signed) {
        head.number = sign_extend(head.number, n);
        if ((int64_t)head.number < 0)
            head.type = MR_PACK_NEGATIVE;
    }
    return head;
}

/* Bytes of the UTF-8 sequence at p (Unicode 15, table 3-7), 0 if there is none. */
static size_t
utf8_sequence(const uint8_t *p, size_t left)
{
    static const struct {
        uint8_t first, last, low, high, bytes;
    } rows[] = {{0x00, 0x7f, 0, 0, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2},
        {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
        {0xf4, 0xf4, 0x80, 0x8f, 4}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (p[0] < rows[i].first || p[0] > rows[i].last)
            continue;
        if (left < rows[i].bytes)
            return 0;
        if (rows[i].bytes > 1 && (p[1] < rows[i].low || p[1] > rows[i].high))
            return 0;
        for (size_t k = 2; k < rows[i].bytes; k++)
            if ((p[k] & 0xc0) != 0x80)
                return 0;
        return rows[i].bytes;
    }
    return 0;
}

static bool
is_utf8(const uint8_t *p, size_t n)
{
    while (n > 0) {
        uint64_t word;

        if (n >= sizeof word) {
            memcpy(&word, p, sizeof word);
            if (!(word & UINT64_C(0x8080808080808080))) {
                p += sizeof word;
                n -= sizeof word;
                continue;
            }
        }
        size_t step = *p < 0x80 ? 1 : utf8_sequence(p, n);
        if (step == 0)
            return false;
        p += step;
        n -= step;
    }
    return true;
}

enum mr_status
mr_pack_scan(struct mr_span bytes, unsigned depth_max)
{
    const uint8_t *p = bytes.p, *end = mr_span_end(bytes);
    uint64_t left[MR_PACK_SCAN_DEPTH] = {1}; /* values still to come, per level */
    unsigned depth = 0;

    MR_ASSERT(depth_max < MR_PACK_SCAN_DEPTH);
    for (;;) {
        while (left[depth] == 0) {
            if (depth == 0)
                return p == end ? MR_OK : MR_MALFORMED;
            depth--;
        }
        left[depth]--;
        struct mr_pack_head head = mr_pack_head_read(p, end);
        if (head.type == MR_PACK_END)
            return MR_MALFORMED;
        p += head.bytes;
        if (head.type == MR_PACK_STR || head.type == MR_PACK_BIN) {
            if (head.number > (uint64_t)(end - p))
                return MR_MALFORMED;
            if (head.type == MR_PACK_STR && !is_utf8(p, (size_t)head.number))
                return MR_MALFORMED;
            p += head.number;
        } else if (head.type == MR_PACK_ARRAY || head.type == MR_PACK_MAP) {
            /* Each value takes at least a byte, so a count above that is a lie. */
            if (mr_pack_head_children(&head) > (uint64_t)(end - p))
                return MR_MALFORMED;
            if (depth == depth_max)
                return MR_TOO_BIG;
            left[++depth] = mr_pack_head_children(&head);
        }
    }
}
