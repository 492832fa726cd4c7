/*
 * The scanner and msgpack-c agree: on a million random values in every encoding that the
 * specification has for them, which both must take, and on as many that were broken afterwards.
 * Where we refuse on purpose what msgpack-c takes (extension types, text that is not UTF-8),
 * pack_judge.h says so by other means than the scanner's.
 */
#include <stdlib.h>

#include <check.h>

#include "schemas/wire/body.h"
#include "schemas/wire/limits.h"
#include "schemas/wire/pack.h"
#include "tests/support/pack_judge.h"

#define BODIES 1000000
#define ROOM 4096
#define DEPTH_MAX 32
#define SEED UINT64_C(0x6d696c6c72616365)

/* ---- random values ---------------------------------------------------------------------------- */

struct making {
    uint64_t random;
    uint8_t bytes[ROOM];
    size_t n;
    unsigned budget; /* values that may still be begun */
    unsigned deepest;
};

static struct making making;
static uint64_t made[256]; /* by first byte: which encodings there were */

/* Marsaglia's xorshift64*. */
static uint64_t
any(uint64_t below)
{
    making.random ^= making.random >> 12;
    making.random ^= making.random << 25;
    making.random ^= making.random >> 27;
    return (making.random * UINT64_C(0x2545f4914f6cdd1d) >> 16) % below;
}

static void
put(uint8_t byte)
{
    MR_ASSERT(making.n < ROOM);
    making.bytes[making.n++] = byte;
}

static void
put_first(uint8_t byte)
{
    made[byte]++;
    put(byte);
}

static void
put_number(uint64_t number, unsigned bytes)
{
    while (bytes-- > 0)
        put((uint8_t)(number >> 8 * bytes));
}

/* A count in any of the forms that can hold it, `forms` of 1, 2 and 4 bytes from `first` on. */
static void
put_count(uint64_t count, uint8_t first, unsigned bytes_least)
{
    unsigned bytes = bytes_least << any(bytes_least == 1 ? 3 : 2);
    unsigned form = bytes == 1 ? 0 : bytes == 2 ? 1 : 2;

    put_first((uint8_t)(first + form - (bytes_least == 2)));
    put_number(count, bytes);
}

static void
make_int(void)
{
    static const uint8_t firsts[] = {0xcc, 0xcd, 0xce, 0xcf, 0xd0, 0xd1, 0xd2, 0xd3};
    uint64_t which = any(10);

    if (which == 8) {
        put_first((uint8_t)any(0x80));
    } else if (which == 9) {
        put_first((uint8_t)(0xe0 + any(0x20)));
    } else {
        put_first(firsts[which]);
        /* small numbers in long forms, too */
        put_number(any(2) ? any(200) : any(UINT64_MAX), 1u << which % 4);
    }
}

static void
make_point(uint32_t point)
{
    if (point < 0x80) {
        put((uint8_t)point);
    } else if (point < 0x800) {
        put((uint8_t)(0xc0 | point >> 6));
        put((uint8_t)(0x80 | (point & 0x3f)));
    } else if (point < 0x10000) {
        put((uint8_t)(0xe0 | point >> 12));
        put((uint8_t)(0x80 | (point >> 6 & 0x3f)));
        put((uint8_t)(0x80 | (point & 0x3f)));
    } else {
        put((uint8_t)(0xf0 | point >> 18));
        put((uint8_t)(0x80 | (point >> 12 & 0x3f)));
        put((uint8_t)(0x80 | (point >> 6 & 0x3f)));
        put((uint8_t)(0x80 | (point & 0x3f)));
    }
}

static uint32_t
any_point(void)
{
    static const uint32_t edges[] = {
        0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff};
    uint32_t point = (uint32_t)any(0x110000);

    if (any(3) == 0)
        return edges[any(sizeof edges / sizeof *edges)];
    if (any(3) == 0)
        return point % 0x80;
    return point >= 0xd800 && point < 0xe000 ? point - 0x800 : point;
}

static void
make_str(void)
{
    size_t at = making.n, n;
    uint8_t text[64];

    for (uint64_t left = any(12); left > 0; left--)
        make_point(any_point());
    n = making.n - at;
    memcpy(text, making.bytes + at, n);
    making.n = at;
    if (n < 32 && any(2))
        put_first((uint8_t)(0xa0 + n));
    else
        put_count(n, 0xd9, 1);
    for (size_t i = 0; i < n; i++)
        put(text[i]);
}

static void
make_bin(void)
{
    uint64_t n = any(8) ? any(12) : any(300);

    if (n > 255 && any(2)) {
        put_first(0xc5);
        put_number(n, 2);
    } else if (n > 255) {
        put_first(0xc6);
        put_number(n, 4);
    } else {
        put_count(n, 0xc4, 1);
    }
    while (n-- > 0)
        put((uint8_t)any(256));
}

static void
make_small(void)
{
    static const uint8_t firsts[] = {0xc0, 0xc2, 0xc3, 0xca, 0xcb};
    uint8_t first = firsts[any(sizeof firsts)];

    put_first(first);
    if (first >= 0xca)
        put_number(any(UINT64_MAX), first == 0xca ? 4 : 8);
}

static void make_value(unsigned depth);

static void
make_container(unsigned depth)
{
    bool is_map = any(2);
    uint64_t most = making.budget < 20 ? making.budget : 20;
    uint64_t count = any(4) ? any(4) : any(most + 1);

    if (count > most)
        count = most;
    if (count < 16 && any(2))
        put_first((uint8_t)((is_map ? 0x80 : 0x90) + count));
    else
        put_count(count, is_map ? 0xde : 0xdc, 2);
    for (uint64_t i = 0; i < count << is_map; i++)
        make_value(depth + 1);
}

static void
make_value(unsigned depth)
{
    uint64_t which = any(depth < 4 ? 8 : 12);

    if (depth > making.deepest)
        making.deepest = depth;
    making.budget -= making.budget > 0;
    if ((which >= 6 || depth == 0) && depth < DEPTH_MAX && making.budget)
        make_container(depth);
    else if (which < 2)
        make_int();
    else if (which == 2)
        make_str();
    else if (which == 3)
        make_bin();
    else
        make_small();
}

/* A value within as many containers as a payload may have, or fewer. */
static void
make_body(void)
{
    unsigned nests = any(16) ? 0 : (unsigned)any(DEPTH_MAX + 1);

    making.n = 0;
    making.budget = 30;
    making.deepest = 0;
    for (unsigned i = 0; i < nests; i++)
        put_first(0x91);
    make_value(nests);
}

/* ---- broken values ------------------------------------------------------------------------------ */

static void
break_it(void)
{
    size_t at = any(making.n);

    switch (any(6)) {
    case 0: /* a bit */
        making.bytes[at] ^= (uint8_t)(1u << any(8));
        return;
    case 1: /* a byte that means much */
        making.bytes[at] = (uint8_t)(0xc0 + any(0x20));
        return;
    case 2: /* the end is missing */
        making.n = at;
        return;
    case 3: /* something behind it */
        put((uint8_t)any(256));
        return;
    case 4: /* a byte less */
        memmove(making.bytes + at, making.bytes + at + 1, making.n - at - 1);
        making.n--;
        return;
    default: /* a byte more */
        put(0);
        memmove(making.bytes + at + 1, making.bytes + at, making.n - at - 1);
        making.bytes[at] = (uint8_t)any(256);
    }
}

/* ---- what both say ------------------------------------------------------------------------------- */

static struct mr_body *body;

static void
agree(unsigned i, bool is_good)
{
    struct mr_span bytes = mr_span(making.bytes, making.n);
    enum mr_status scanned = mr_pack_scan(bytes, MR_PAYLOAD_DEPTH_MAX);
    enum mr_status decoded = mr_body_decode(body, bytes);
    struct judged judged = judge(bytes, MR_PAYLOAD_DEPTH_MAX);

    /* Assertions of check write to a file each time. */
    if ((scanned == MR_OK) == (judged.status == MR_OK) &&
        (scanned == MR_OK || !is_good) && decoded == (bytes.n ? scanned : MR_OK))
        return;
    ck_abort_msg("value %u of %zu bytes (%s): the scanner says %s, the decoder %s, "
                 "msgpack-c %s",
        i, making.n, is_good ? "good" : "broken", mr_status_name(scanned),
        mr_status_name(decoded), mr_status_name(judged.status));
}

START_TEST(a_million_good_ones_and_a_million_broken_ones)
{
    unsigned refused = 0, deepest = 0;

    ck_assert_int_eq(mr_body_new(&body), MR_OK);
    making.random = SEED;
    for (unsigned i = 0; i < BODIES; i++) {
        make_body();
        deepest = making.deepest > deepest ? making.deepest : deepest;
        agree(i, true);
        break_it();
        agree(i, false);
        refused +=
            mr_pack_scan(mr_span(making.bytes, making.n), MR_PAYLOAD_DEPTH_MAX) != MR_OK;
    }
    mr_body_destroy(&body);
    /* They were what this test is for. */
    ck_assert_uint_eq(deepest, DEPTH_MAX);
    ck_assert_uint_gt(refused, BODIES / 3);
    for (unsigned first = 0; first < 256; first++)
        ck_assert_msg(made[first] > 0 || first == 0xc1 ||
                          (first >= 0xc7 && first <= 0xc9) ||
                          (first >= 0xd4 && first <= 0xd8),
            "no value began with %02x", first);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("wire/agree");
    TCase *tcase = tcase_create("agree");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tcase, 200);
    tcase_add_test(tcase, a_million_good_ones_and_a_million_broken_ones);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
