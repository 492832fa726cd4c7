#include "schemas/base/uuid.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "schemas/base/hash.h"

/* Public on purpose: whoever derives an id from the same things must get the same id. Never
 * change them, ids that were derived before would be submitted a second time. */
static const struct mr_hash_key derive_high = {
    .k0 = 0x6d696c6c72616365, .k1 = 0x2d64657269766531};
static const struct mr_hash_key derive_low = {
    .k0 = 0x6d696c6c72616365, .k1 = 0x2d64657269766532};

static void
put_ms(struct mr_uuid *id, int64_t ms)
{
    for (int i = 0; i < 6; i++)
        id->b[i] = (uint8_t)((uint64_t)ms >> (8 * (5 - i)));
}

static void
put_marks(struct mr_uuid *id)
{
    id->b[6] = (uint8_t)(0x70 | (id->b[6] & 0x0f)); /* version 7 */
    id->b[8] = (uint8_t)(0x80 | (id->b[8] & 0x3f)); /* variant 10 */
}

/* ---- Random bytes ----------------------------------------------------------------------------- */

#define POOL_BYTES 4096u

/* Bytes of the kernel's that no id has used yet: a system call for 400 ids. What was used is
 * wiped. */
static _Thread_local struct {
    uint64_t life; /* in which they were taken */
    size_t left;   /* unused ones, at the end */
    uint8_t bytes[POOL_BYTES];
} pool;

/* In a page of its own, which the kernel gives to a child as zeros, however it was forked: a child
 * has the parent's pools in its memory, but not its life. */
static _Atomic uint64_t *_Atomic life_page;
static _Atomic uint64_t no_page; /* the kernel cannot do it */

static void
fill(void *to, size_t n)
{
    ssize_t got;

    for (uint8_t *at = to; n > 0; at += got, n -= (size_t)got) {
        do
            got = getrandom(at, n, 0);
        while (got < 0 && errno == EINTR);
        MR_ASSERT(got > 0);
    }
}

static _Atomic uint64_t *
make_page(void)
{
    size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
    void *memory =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    _Atomic uint64_t *page = memory == MAP_FAILED ? &no_page : memory;
    _Atomic uint64_t *first = NULL;

    if (page != &no_page && madvise(memory, bytes, MADV_WIPEONFORK) != 0)
        page = &no_page;
    if (!atomic_compare_exchange_strong(&life_page, &first, page))
        page = first; /* another thread was quicker */
    if (memory != MAP_FAILED && page != memory)
        (void)munmap(memory, bytes);
    return page;
}

/* A number that no other process has, not even a child or parent; 0: there is none. */
static uint64_t
life_now(void)
{
    _Atomic uint64_t *page = atomic_load_explicit(&life_page, memory_order_acquire);
    uint64_t life, fresh;

    if (!page)
        page = make_page();
    life = atomic_load_explicit(page, memory_order_relaxed);
    if (life || page == &no_page)
        return life;
    fill(&fresh, sizeof fresh);
    fresh |= 1;
    return atomic_compare_exchange_strong(page, &life, fresh) ? fresh : life;
}

static void
take_random(uint8_t *to, size_t n)
{
    uint64_t life = life_now();
    uint8_t *from;

    if (!life) {
        fill(to, n);
        return;
    }
    if (pool.life != life || pool.left < n) {
        fill(pool.bytes, sizeof pool.bytes);
        pool.left = sizeof pool.bytes;
        pool.life = life;
    }
    from = pool.bytes + sizeof pool.bytes - pool.left;
    memcpy(to, from, n);
    explicit_bzero(from, n);
    pool.left -= n;
}

struct mr_uuid
mr_uuid_new(int64_t wall_us)
{
    struct mr_uuid id;

    MR_ASSERT(wall_us >= 0);
    take_random(id.b + 6, sizeof id.b - 6);
    put_ms(&id, wall_us / 1000);
    put_marks(&id);
    return id;
}

/* ---- Ids that follow from others -------------------------------------------------------------- */

static void
put_u64(uint8_t *to, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        to[i] = (uint8_t)(value >> (8 * (7 - i)));
}

/* Hash of (hash of label, parent, ordinal): fixed width, so that no two inputs run together
 * and a label of any length needs no memory. */
static uint64_t
derive_half(
    struct mr_hash_key key, struct mr_uuid parent, struct mr_span label, uint64_t ordinal)
{
    uint8_t text[sizeof parent.b + 32];

    memcpy(text, parent.b, sizeof parent.b);
    put_u64(text + 16, ordinal);
    put_u64(text + 24, (uint64_t)label.n);
    put_u64(text + 32, mr_hash(derive_high, label));
    put_u64(text + 40, mr_hash(derive_low, label));
    return mr_hash(key, mr_span(text, sizeof text));
}

struct mr_uuid
mr_uuid_derive(struct mr_uuid parent, struct mr_span label, uint64_t ordinal)
{
    struct mr_uuid id;

    put_u64(id.b, derive_half(derive_high, parent, label, ordinal));
    put_u64(id.b + 8, derive_half(derive_low, parent, label, ordinal));
    memcpy(id.b, parent.b, 6);
    put_marks(&id);
    return id;
}

/* ---- Bytes and text --------------------------------------------------------------------------- */

int64_t
mr_uuid_ms(struct mr_uuid id)
{
    int64_t ms = 0;

    for (int i = 0; i < 6; i++)
        ms = ms << 8 | id.b[i];
    return ms;
}

bool
mr_uuid_is_v7(struct mr_uuid id)
{
    return id.b[6] >> 4 == 7 && id.b[8] >> 6 == 2;
}

static int
hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool
is_hyphen_place(size_t at)
{
    return at == 8 || at == 13 || at == 18 || at == 23;
}

enum mr_status
mr_uuid_parse(struct mr_span text, struct mr_uuid *out)
{
    struct mr_uuid id = {{0}};
    size_t digits = 0;

    if (text.n != MR_UUID_TEXT_MAX - 1)
        return MR_BAD_ID;
    for (size_t i = 0; i < text.n; i++) {
        int value = hex_value(text.p[i]);

        if (is_hyphen_place(i) != (text.p[i] == '-'))
            return MR_BAD_ID;
        if (is_hyphen_place(i))
            continue;
        if (value < 0)
            return MR_BAD_ID;
        id.b[digits / 2] = (uint8_t)(id.b[digits / 2] << 4 | value);
        digits++;
    }
    *out = id;
    return MR_OK;
}

char *
mr_uuid_format(struct mr_uuid id, char out[MR_UUID_TEXT_MAX])
{
    static const char digits[] = "0123456789abcdef";
    char *to = out;

    for (size_t i = 0; i < sizeof id.b; i++) {
        if (is_hyphen_place((size_t)(to - out)))
            *to++ = '-';
        *to++ = digits[id.b[i] >> 4];
        *to++ = digits[id.b[i] & 0x0f];
    }
    *to = '\0';
    return out;
}
