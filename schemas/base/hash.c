#include "schemas/base/hash.h"

#include <errno.h>
#include <sys/random.h>

#include "schemas/base/status.h"

struct state {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t
rotl(uint64_t x, int by)
{
    return (x << by) | (x >> (64 - by));
}

static inline void
rounds(struct state *s, int count)
{
    for (int i = 0; i < count; i++) {
        s->v0 += s->v1;
        s->v1 = rotl(s->v1, 13) ^ s->v0;
        s->v0 = rotl(s->v0, 32);
        s->v2 += s->v3;
        s->v3 = rotl(s->v3, 16) ^ s->v2;
        s->v0 += s->v3;
        s->v3 = rotl(s->v3, 21) ^ s->v0;
        s->v2 += s->v1;
        s->v1 = rotl(s->v1, 17) ^ s->v2;
        s->v2 = rotl(s->v2, 32);
    }
}

static inline void
absorb(struct state *s, uint64_t word)
{
    s->v3 ^= word;
    rounds(s, 2);
    s->v0 ^= word;
}

/* The paper's words are little-endian whatever the machine is. */
static inline uint64_t
load(const uint8_t *p, size_t n)
{
    uint64_t word = 0;

    for (size_t i = 0; i < n; i++)
        word |= (uint64_t)p[i] << (8 * i);
    return word;
}

struct mr_hash_key
mr_hash_key_random(void)
{
    struct mr_hash_key key;
    ssize_t n;

    do
        n = getrandom(&key, sizeof key, 0);
    while (n < 0 && errno == EINTR);
    MR_ASSERT(n == (ssize_t)sizeof key);
    return key;
}

uint64_t
mr_hash(struct mr_hash_key key, struct mr_span bytes)
{
    struct state s = {
        .v0 = key.k0 ^ 0x736f6d6570736575,
        .v1 = key.k1 ^ 0x646f72616e646f6d,
        .v2 = key.k0 ^ 0x6c7967656e657261,
        .v3 = key.k1 ^ 0x7465646279746573,
    };
    size_t whole = bytes.n / 8 * 8;

    for (size_t i = 0; i < whole; i += 8)
        absorb(&s, load(bytes.p + i, 8));
    if (bytes.n > whole)
        absorb(&s, (uint64_t)bytes.n << 56 | load(bytes.p + whole, bytes.n - whole));
    else
        absorb(&s, (uint64_t)bytes.n << 56);
    s.v2 ^= 0xff;
    rounds(&s, 4);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
