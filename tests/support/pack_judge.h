/*
 * Another opinion on whether bytes are one msgpack value that we take: msgpack-c's, and of what
 * it lets pass, the rules of the protocol's page on top (no extension types, text in UTF-8,
 * nesting). For the scanner's tests.
 */
#ifndef MR_TEST_PACK_JUDGE_H
#define MR_TEST_PACK_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include <msgpack.h>

#include "schemas/base/span.h"
#include "schemas/base/status.h"

struct judged {
    enum mr_status
        status; /* MR_OK, MR_MALFORMED, MR_TOO_BIG (nothing wrong but the depth) */
    msgpack_object root; /* if MR_OK; lives until the next judge() */
};

/* Bytes of the value's head at p, or of all of it but for containers: 0 if it is cut short. */
static inline size_t
judge_token(const uint8_t *p, size_t left)
{
    static const uint8_t numbers[32] = {[0xc4 - 0xc0] = 1,
        2,
        4,
        1,
        2,
        4,
        4,
        8,
        1,
        2,
        4,
        8,
        1,
        2,
        4,
        8,
        1,
        2,
        4,
        8,
        16,
        1,
        2,
        4,
        2,
        4,
        2,
        4};
    unsigned kind = *p - 0xc0u;
    uint64_t body = (*p & 0xe0) == 0xa0 ? *p & 0x1f : 0, n = 0;

    if (*p < 0xc0 || *p >= 0xe0)
        return 1 + body <= left ? 1 + (size_t)body : 0;
    if (left < 1u + numbers[kind])
        return 0;
    for (unsigned i = 1; i <= numbers[kind]; i++)
        n = n << 8 | p[i];
    if ((*p >= 0xc4 && *p <= 0xc6) || (*p >= 0xd9 && *p <= 0xdb))
        body = n;
    else if (*p >= 0xc7 && *p <= 0xc9)
        body = n + 1; /* an extension's type */
    else if (*p >= 0xd4 && *p <= 0xd8)
        body = 1;
    return 1 + numbers[kind] + body <= left ? 1 + numbers[kind] + (size_t)body : 0;
}

/* True if a count says that there are more values than bytes. msgpack-c would allocate for them
 * before it looks: such a value is not shown to it. */
static inline bool
judge_lies(struct mr_span bytes)
{
    const uint8_t *p = bytes.p, *end = bytes.p + bytes.n;
    size_t token;

    while (p < end && (token = judge_token(p, (size_t)(end - p))) > 0) {
        bool is_container = *p >= 0xdc && *p <= 0xdf;
        uint32_t count = 0;

        for (size_t i = 1; is_container && i < token; i++)
            count = count << 8 | p[i];
        if (count > bytes.n)
            return true;
        p += token;
    }
    return false;
}

/* RFC 3629 by its definition: the shortest form of a code point that is no surrogate. */
static inline bool
judge_text(const char *text, size_t n)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    const uint8_t *p = (const uint8_t *)text;

    for (size_t i = 0; i < n;) {
        unsigned more = p[i] < 0x80             ? 0
                        : (p[i] & 0xe0) == 0xc0 ? 1
                        : (p[i] & 0xf0) == 0xe0 ? 2
                        : (p[i] & 0xf8) == 0xf0 ? 3
                                                : 4;
        uint32_t point = more ? p[i] & (0x3fu >> more) : p[i];

        if (more == 4 || n - i <= more)
            return false;
        for (unsigned k = 1; k <= more; k++) {
            if ((p[i + k] & 0xc0) != 0x80)
                return false;
            point = point << 6 | (p[i + k] & 0x3f);
        }
        if (point < least[more] || point > 0x10ffff ||
            (point >= 0xd800 && point <= 0xdfff))
            return false;
        i += more + 1;
    }
    return true;
}

/* The worst of what is in it: MR_MALFORMED before MR_TOO_BIG. */
static inline enum mr_status
judge_value(const msgpack_object *value, unsigned depth_left)
{
    bool is_array = value->type == MSGPACK_OBJECT_ARRAY;
    bool is_map = value->type == MSGPACK_OBJECT_MAP;
    enum mr_status worst = (is_array || is_map) && depth_left == 0 ? MR_TOO_BIG : MR_OK;
    unsigned below = depth_left ? depth_left - 1 : 0;

    if (value->type == MSGPACK_OBJECT_EXT ||
        (value->type == MSGPACK_OBJECT_STR &&
            !judge_text(value->via.str.ptr, value->via.str.size)))
        return MR_MALFORMED;
    for (uint32_t i = 0; is_array && i < value->via.array.size; i++) {
        enum mr_status status = judge_value(&value->via.array.ptr[i], below);

        worst = status == MR_MALFORMED || worst == MR_OK ? status : worst;
        if (worst == MR_MALFORMED)
            return worst;
    }
    for (uint32_t i = 0; is_map && i < 2 * value->via.map.size; i++) {
        const msgpack_object_kv *pair = &value->via.map.ptr[i / 2];
        enum mr_status status = judge_value(i % 2 ? &pair->val : &pair->key, below);

        worst = status == MR_MALFORMED || worst == MR_OK ? status : worst;
        if (worst == MR_MALFORMED)
            return worst;
    }
    return worst;
}

/* msgpack-c itself stops at 32 levels, so MR_TOO_BIG comes for smaller depths only; at 32 it is
 * MR_MALFORMED. */
static inline struct judged
judge(struct mr_span bytes, unsigned depth_max)
{
    static msgpack_zone zone;
    static bool has_zone;
    struct judged out = {.status = MR_MALFORMED};
    size_t offset = 0;

    if (!has_zone)
        MR_ASSERT(msgpack_zone_init(&zone, 1 << 16));
    has_zone = true;
    msgpack_zone_clear(&zone);
    if (bytes.n == 0 || judge_lies(bytes))
        return out;
    msgpack_unpack_return did =
        msgpack_unpack((const char *)bytes.p, bytes.n, &offset, &zone, &out.root);
    if (did == MSGPACK_UNPACK_SUCCESS && offset == bytes.n)
        out.status = judge_value(&out.root, depth_max);
    return out;
}

#endif
