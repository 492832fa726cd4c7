#include "tests/chaos/copier.h"

#include <string.h>

#define GREETING_BYTES 64
#define FLAG_MORE 1u
#define FLAG_LONG 2u
#define FLAG_COMMAND 4u

static size_t
smaller(uint64_t a, size_t b)
{
    return a < b ? (size_t)a : b;
}

/* One step: bytes of the greeting, a byte of a header, or bytes of a body. True at the end of a
 * frame. */
static bool
step(struct mr_copier *copier, const uint8_t *in, size_t n, size_t *at)
{
    size_t part;

    if (copier->greeting_seen < GREETING_BYTES) {
        part = smaller(GREETING_BYTES - copier->greeting_seen, n - *at);
        copier->greeting_seen += (uint32_t)part;
        *at += part;
        return false;
    }
    if (copier->header_left > 0) {
        copier->body_left = copier->body_left << 8 | in[(*at)++];
        copier->header_left--;
        return copier->header_left == 0 && copier->body_left == 0;
    }
    if (copier->body_left > 0) {
        part = smaller(copier->body_left, n - *at);
        copier->body_left -= part;
        *at += part;
        return copier->body_left == 0;
    }
    copier->flags = in[(*at)++];
    copier->header_left = copier->flags & FLAG_LONG ? 8 : 1;
    return false;
}

size_t
mr_copier_pass(
    struct mr_copier *copier, const uint8_t *in, size_t n, uint8_t *out, bool says_twice)
{
    size_t begin = 0, copied = 0, at = 0, filled = 0;
    bool has_begin = !copier->is_inside;

    while (at < n) {
        size_t before = at;

        if (!copier->is_inside) {
            begin = before;
            has_begin = true;
            copier->is_inside = copier->greeting_seen >= GREETING_BYTES;
        }
        if (!step(copier, in, n, &at) || copier->flags & FLAG_MORE)
            continue;
        copier->is_inside = false;
        if (!says_twice || !has_begin || copier->flags & FLAG_COMMAND)
            continue;
        memcpy(out + filled, in + copied, at - copied);
        filled += at - copied;
        copied = at;
        memcpy(out + filled, in + begin, at - begin);
        filled += at - begin;
    }
    memcpy(out + filled, in + copied, n - copied);
    return filled + n - copied;
}
