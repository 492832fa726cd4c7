/* msgpack: expected bytes are those of the specification, or of msgpack-c where it says so. */
#include <math.h>
#include <stdlib.h>

#include <check.h>
#include <msgpack.h>

#include "schemas/wire/pack.h"

#define BYTES(...)                                                                       \
    mr_span((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void
wrote(struct mr_wr *wr, struct mr_span expected)
{
    ck_assert_int_eq(wr->status, MR_OK);
    ck_assert_uint_eq(wr->n, expected.n);
    ck_assert_mem_eq(wr->p, expected.p, expected.n);
    mr_wr_reset(wr);
}

/* The specification's table of formats, at each end of each range. */
static const struct {
    int64_t v;
    uint8_t n, bytes[9];
} ints[] = {
    {0, 1, {0x00}},
    {127, 1, {0x7f}},
    {128, 2, {0xcc, 0x80}},
    {255, 2, {0xcc, 0xff}},
    {256, 3, {0xcd, 0x01, 0x00}},
    {65535, 3, {0xcd, 0xff, 0xff}},
    {65536, 5, {0xce, 0x00, 0x01, 0x00, 0x00}},
    {4294967295, 5, {0xce, 0xff, 0xff, 0xff, 0xff}},
    {4294967296, 9, {0xcf, 0, 0, 0, 1, 0, 0, 0, 0}},
    {INT64_MAX, 9, {0xcf, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
    {-1, 1, {0xff}},
    {-32, 1, {0xe0}},
    {-33, 2, {0xd0, 0xdf}},
    {-128, 2, {0xd0, 0x80}},
    {-129, 3, {0xd1, 0xff, 0x7f}},
    {-32768, 3, {0xd1, 0x80, 0x00}},
    {-32769, 5, {0xd2, 0xff, 0xff, 0x7f, 0xff}},
    {INT32_MIN, 5, {0xd2, 0x80, 0, 0, 0}},
    {INT64_C(-2147483649), 9, {0xd3, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff}},
    {INT64_MIN, 9, {0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0}},
};

START_TEST(integers_take_their_shortest_form)
{
    struct mr_wr wr;
    struct mr_span bytes = mr_span(ints[_i].bytes, ints[_i].n);
    struct mr_rd rd = mr_rd_open(bytes);

    mr_wr_init(&wr, 64);
    mr_wr_int(&wr, ints[_i].v);
    wrote(&wr, bytes);
    ck_assert_int_eq(mr_pack_scan(bytes, 1), MR_OK);
    ck_assert_int_eq(mr_rd_peek(&rd), ints[_i].v < 0 ? MR_PACK_NEGATIVE : MR_PACK_UINT);
    ck_assert_int_eq(mr_rd_int(&rd), ints[_i].v);
    ck_assert_int_eq(rd.status, MR_OK);
    ck_assert_ptr_eq(rd.p, rd.end);
    rd = mr_rd_open(bytes);
    if (ints[_i].v >= 0) {
        mr_wr_uint(&wr, (uint64_t)ints[_i].v);
        wrote(&wr, bytes);
        ck_assert_uint_eq(mr_rd_uint(&rd, UINT64_MAX), (uint64_t)ints[_i].v);
        ck_assert_int_eq(rd.status, MR_OK);
    } else {
        ck_assert_uint_eq(mr_rd_uint(&rd, UINT64_MAX), 0);
        ck_assert_int_eq(rd.status, MR_MALFORMED);
    }
    mr_wr_fini(&wr);
}
END_TEST

START_TEST(each_prefix_of_a_value_is_refused)
{
    for (uint8_t n = 0; n < ints[_i].n; n++) {
        struct mr_rd rd = mr_rd_open(mr_span(ints[_i].bytes, n));
        ck_assert_int_eq(mr_pack_scan(mr_span(ints[_i].bytes, n), 1), MR_MALFORMED);
        ck_assert_int_eq(mr_rd_peek(&rd), MR_PACK_END);
        ck_assert_int_eq(mr_rd_int(&rd), 0);
        ck_assert_int_eq(rd.status, MR_MALFORMED);
    }
}
END_TEST

START_TEST(integers_may_come_in_a_longer_form)
{
    static const uint8_t forms[][9] = {{0xcc, 5}, {0xcd, 0, 5}, {0xce, 0, 0, 0, 5},
        {0xcf, 0, 0, 0, 0, 0, 0, 0, 5}, {0xd0, 5}, {0xd1, 0, 5}, {0xd2, 0, 0, 0, 5},
        {0xd3, 0, 0, 0, 0, 0, 0, 0, 5}};
    static const uint8_t sizes[] = {2, 3, 5, 9, 2, 3, 5, 9};

    for (size_t i = 0; i < sizeof sizes; i++) {
        struct mr_rd rd = mr_rd_open(mr_span(forms[i], sizes[i]));
        ck_assert_uint_eq(mr_rd_uint(&rd, 5), 5);
        ck_assert_int_eq(rd.status, MR_OK);
        ck_assert_ptr_eq(rd.p, rd.end);
    }
}
END_TEST

START_TEST(a_number_above_the_maximum_fails_the_cursor)
{
    struct mr_rd rd = mr_rd_open(BYTES(9, 10, 1));
    ck_assert_uint_eq(mr_rd_uint(&rd, 9), 9);
    ck_assert_uint_eq(mr_rd_uint(&rd, 9), 0);
    ck_assert_int_eq(rd.status, MR_MALFORMED);
    ck_assert_uint_eq(mr_rd_uint(&rd, 9), 0); /* sticky */
    ck_assert_int_eq(mr_rd_peek(&rd), MR_PACK_END);

    rd = mr_rd_open(BYTES(0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0)); /* 2^63 */
    ck_assert_int_eq(mr_rd_int(&rd), 0);
    ck_assert_int_eq(rd.status, MR_MALFORMED);
}
END_TEST

START_TEST(the_other_scalars)
{
    struct mr_wr wr;
    mr_wr_init(&wr, 64);
    mr_wr_nil(&wr);
    mr_wr_bool(&wr, false);
    mr_wr_bool(&wr, true);
    mr_wr_cstr(&wr, NULL);
    mr_wr_double(&wr, -2.5);
    wrote(&wr, BYTES(0xc0, 0xc2, 0xc3, 0xc0, 0xcb, 0xc0, 0x04, 0, 0, 0, 0, 0, 0));
    mr_wr_fini(&wr);

    struct mr_rd rd = mr_rd_open(BYTES(0xc0, 0xc2, 0xc3, 0xca, 0xc0, 0x20, 0, 0, 0xcb,
        0xc0, 0x04, 0, 0, 0, 0, 0, 0, 0x07, 0xff, 0xc0));
    mr_rd_nil(&rd);
    ck_assert(!mr_rd_skip_nil(&rd));
    ck_assert(!mr_rd_bool(&rd));
    ck_assert(mr_rd_bool(&rd));
    ck_assert(fabs(mr_rd_double(&rd) + 2.5) < 1e-12); /* float 32 */
    ck_assert(fabs(mr_rd_double(&rd) + 2.5) < 1e-12);
    ck_assert(fabs(mr_rd_double(&rd) - 7) < 1e-12);
    ck_assert(fabs(mr_rd_double(&rd) + 1) < 1e-12);
    ck_assert(mr_rd_skip_nil(&rd));
    ck_assert_int_eq(rd.status, MR_OK);
    ck_assert_int_eq(mr_rd_peek(&rd), MR_PACK_END);
    mr_rd_nil(&rd);
    ck_assert_int_eq(rd.status, MR_MALFORMED);
}
END_TEST

/* First bytes of strings, bins, arrays and maps at both ends of each form. */
START_TEST(lengths_take_their_shortest_form)
{
    static const struct {
        uint32_t n;
        uint8_t head_bytes, str[5], bin_bytes, bin[5], list_bytes, list[5], map[5];
    } rows[] = {
        {0, 1, {0xa0}, 2, {0xc4, 0}, 1, {0x90}, {0x80}},
        {15, 1, {0xaf}, 2, {0xc4, 15}, 1, {0x9f}, {0x8f}},
        {16, 1, {0xb0}, 2, {0xc4, 16}, 3, {0xdc, 0, 16}, {0xde, 0, 16}},
        {31, 1, {0xbf}, 2, {0xc4, 31}, 3, {0xdc, 0, 31}, {0xde, 0, 31}},
        {32, 2, {0xd9, 32}, 2, {0xc4, 32}, 3, {0xdc, 0, 32}, {0xde, 0, 32}},
        {255, 2, {0xd9, 255}, 2, {0xc4, 255}, 3, {0xdc, 0, 255}, {0xde, 0, 255}},
        {256, 3, {0xda, 1, 0}, 3, {0xc5, 1, 0}, 3, {0xdc, 1, 0}, {0xde, 1, 0}},
        {65535, 3, {0xda, 255, 255}, 3, {0xc5, 255, 255}, 3, {0xdc, 255, 255},
            {0xde, 255, 255}},
        {65536, 5, {0xdb, 0, 1, 0, 0}, 5, {0xc6, 0, 1, 0, 0}, 5, {0xdd, 0, 1, 0, 0},
            {0xdf, 0, 1, 0, 0}},
    };
    static char text[65536];
    struct mr_wr wr;

    memset(text, 'a', sizeof text);
    mr_wr_init(&wr, 1 << 20);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mr_span value = mr_span(text, rows[i].n);
        mr_wr_str(&wr, value);
        ck_assert_mem_eq(wr.p, rows[i].str, rows[i].head_bytes);
        ck_assert_uint_eq(wr.n, rows[i].head_bytes + rows[i].n);
        ck_assert_int_eq(mr_pack_scan(mr_wr_span(&wr), 1), MR_OK);
        ck_assert_int_eq(mr_pack_scan(mr_span(wr.p, wr.n - 1), 1), MR_MALFORMED);
        struct mr_rd rd = mr_rd_open(mr_wr_span(&wr));
        ck_assert(mr_span_eq(mr_rd_str(&rd, rows[i].n), value));
        mr_wr_reset(&wr);
        mr_wr_bin(&wr, value);
        ck_assert_mem_eq(wr.p, rows[i].bin, rows[i].bin_bytes);
        rd = mr_rd_open(mr_wr_span(&wr));
        ck_assert(mr_span_eq(mr_rd_bin(&rd, rows[i].n), value));
        mr_wr_reset(&wr);
        mr_wr_array(&wr, rows[i].n);
        wrote(&wr, mr_span(rows[i].list, rows[i].list_bytes));
        mr_wr_map(&wr, rows[i].n);
        wrote(&wr, mr_span(rows[i].map, rows[i].list_bytes));
    }
    mr_wr_fini(&wr);
}
END_TEST

START_TEST(a_length_above_the_maximum_is_too_big)
{
    struct mr_rd rd = mr_rd_open(BYTES(0xa3, 'a', 'b', 'c'));
    ck_assert_uint_eq(mr_rd_str(&rd, 2).n, 0);
    ck_assert_int_eq(rd.status, MR_TOO_BIG);
    rd = mr_rd_open(BYTES(0xc4, 3, 'a', 'b', 'c'));
    ck_assert_uint_eq(mr_rd_bin(&rd, 2).n, 0);
    ck_assert_int_eq(rd.status, MR_TOO_BIG);
    rd = mr_rd_open(BYTES(0x93, 1, 2, 3));
    ck_assert_uint_eq(mr_rd_array(&rd, 2), 0);
    ck_assert_int_eq(rd.status, MR_TOO_BIG);
    rd = mr_rd_open(BYTES(0x82, 1, 2, 3, 4));
    ck_assert_uint_eq(mr_rd_map(&rd, 1), 0);
    ck_assert_int_eq(rd.status, MR_TOO_BIG);
}
END_TEST

/* Without a scan before it the reader is still safe: a count it cannot back is refused. */
START_TEST(a_count_that_the_bytes_cannot_hold_is_refused)
{
    static const uint8_t lies[][6] = {{0x93, 1, 2}, {0xdd, 0xff, 0xff, 0xff, 0xff, 0},
        {0x82, 1, 2, 3}, {0xdf, 0x80, 0, 0, 1, 0}};
    static const uint8_t sizes[] = {3, 6, 4, 6};

    for (size_t i = 0; i < sizeof sizes; i++) {
        struct mr_rd rd = mr_rd_open(mr_span(lies[i], sizes[i]));
        ck_assert_int_eq(mr_pack_scan(mr_span(lies[i], sizes[i]), 8), MR_MALFORMED);
        if (mr_rd_peek(&rd) == MR_PACK_ARRAY)
            ck_assert_uint_eq(mr_rd_array(&rd, UINT32_MAX), 0);
        else
            ck_assert_uint_eq(mr_rd_map(&rd, UINT32_MAX), 0);
        ck_assert_int_eq(rd.status, MR_MALFORMED);
    }
    struct mr_rd rd = mr_rd_open(BYTES(0xdb, 0xff, 0xff, 0xff, 0xff, 'a'));
    ck_assert_uint_eq(mr_rd_str(&rd, SIZE_MAX).n, 0);
    ck_assert_int_eq(rd.status, MR_MALFORMED);
}
END_TEST

START_TEST(skipping_and_raw_take_whole_values)
{
    /* {1: [nil, "ab", {}]}, bin, 7 */
    struct mr_rd rd =
        mr_rd_open(BYTES(0x81, 1, 0x93, 0xc0, 0xa2, 'a', 'b', 0x80, 0xc4, 1, 9, 7));
    struct mr_span raw = mr_rd_raw(&rd);
    ck_assert_uint_eq(raw.n, 8);
    mr_rd_skip_n(&rd, 1);
    ck_assert_uint_eq(mr_rd_uint(&rd, 7), 7);
    ck_assert_int_eq(rd.status, MR_OK);
    mr_rd_skip(&rd);
    ck_assert_int_eq(rd.status, MR_MALFORMED);

    uint8_t deep[34];
    memset(deep, 0x91, sizeof deep);
    deep[32] = 0;
    rd = mr_rd_open(mr_span(deep, 33));
    mr_rd_skip(&rd);
    ck_assert_int_eq(rd.status, MR_OK);
    deep[32] = 0x91;
    deep[33] = 0;
    rd = mr_rd_open(mr_span(deep, 34));
    mr_rd_skip(&rd);
    ck_assert_int_eq(rd.status, MR_TOO_BIG);
}
END_TEST

/* ---- writer ------------------------------------------------------------------------------ */

START_TEST(the_writer_stops_at_its_cap)
{
    struct mr_wr wr;
    char big[2000] = {0};

    mr_wr_init(&wr, 1000);
    for (int i = 0; i < 1000; i++)
        mr_wr_uint(&wr, 1);
    ck_assert_int_eq(wr.status, MR_OK);
    ck_assert_uint_eq(wr.n, 1000);
    mr_wr_uint(&wr, 1);
    ck_assert_int_eq(wr.status, MR_TOO_BIG);
    mr_wr_reset(&wr);
    mr_wr_bin(&wr, mr_span(big, sizeof big));
    ck_assert_int_eq(wr.status, MR_TOO_BIG);
    mr_wr_nil(&wr); /* sticky */
    ck_assert_int_eq(wr.status, MR_TOO_BIG);
    mr_wr_fini(&wr);
}
END_TEST

START_TEST(fixed_memory_is_never_exceeded)
{
    uint8_t memory[5] = {0, 0, 0, 0, 0xee};
    struct mr_wr wr;

    mr_wr_init_fixed(&wr, memory, 4);
    mr_wr_str(&wr, mr_span_str("abc"));
    ck_assert_int_eq(wr.status, MR_OK);
    mr_wr_nil(&wr);
    ck_assert_int_eq(wr.status, MR_TOO_BIG);
    ck_assert_uint_eq(memory[4], 0xee);
    mr_wr_fini(&wr);
}
END_TEST

START_TEST(open_lists_are_closed_with_their_count)
{
    struct mr_wr wr;
    mr_wr_init(&wr, 64);
    size_t list = mr_wr_array_open(&wr);
    mr_wr_uint(&wr, 1);
    size_t map = mr_wr_map_open(&wr);
    mr_wr_uint(&wr, 2);
    mr_wr_raw(&wr, BYTES(0x91, 3));
    mr_wr_close(&wr, map, 1);
    mr_wr_close(&wr, list, 2);
    wrote(&wr, BYTES(0xdd, 0, 0, 0, 2, 1, 0xdf, 0, 0, 0, 1, 2, 0x91, 3));

    size_t n;
    mr_wr_uint(&wr, 5);
    uint8_t *taken = mr_wr_take(&wr, &n);
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(taken[0], 5);
    free(taken);
    mr_wr_uint(&wr, 6); /* still usable */
    wrote(&wr, BYTES(6));
    mr_wr_fini(&wr);

    mr_wr_init(&wr, 3); /* no room for the mark: closing must not write */
    list = mr_wr_array_open(&wr);
    mr_wr_close(&wr, list, 1);
    ck_assert_int_eq(wr.status, MR_TOO_BIG);
    mr_wr_fini(&wr);
}
END_TEST

/* ---- scanner -------------------------------------------------------------------------------- */

START_TEST(nesting_is_counted_in_containers)
{
    uint8_t deep[64];
    for (unsigned depth = 1; depth < 40; depth++) {
        memset(deep, 0x91, depth);
        deep[depth] = 1;
        ck_assert_int_eq(mr_pack_scan(mr_span(deep, depth + 1), depth), MR_OK);
        ck_assert_int_eq(mr_pack_scan(mr_span(deep, depth + 1), depth - 1), MR_TOO_BIG);
        deep[depth - 1] = 0x90; /* an empty one counts as well */
        ck_assert_int_eq(mr_pack_scan(mr_span(deep, depth), depth), MR_OK);
        ck_assert_int_eq(mr_pack_scan(mr_span(deep, depth), depth - 1), MR_TOO_BIG);
    }
    ck_assert_int_eq(mr_pack_scan(BYTES(0x81, 1, 0x81, 1, 1), 2), MR_OK);
    ck_assert_int_eq(mr_pack_scan(BYTES(0x81, 1, 0x81, 1, 1), 1), MR_TOO_BIG);
    ck_assert_int_eq(mr_pack_scan(BYTES(7), 0), MR_OK);
}
END_TEST

START_TEST(exactly_one_value)
{
    ck_assert_int_eq(mr_pack_scan(MR_SPAN_NONE, 8), MR_MALFORMED);
    ck_assert_int_eq(mr_pack_scan(BYTES(1, 1), 8), MR_MALFORMED);
    ck_assert_int_eq(mr_pack_scan(BYTES(0x90, 0x90), 8), MR_MALFORMED);
    ck_assert_int_eq(mr_pack_scan(BYTES(0x92, 1), 8), MR_MALFORMED);
}
END_TEST

START_TEST(ext_types_and_the_reserved_byte_are_refused)
{
    static const uint8_t firsts[] = {
        0xc1, 0xc7, 0xc8, 0xc9, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8};
    for (size_t i = 0; i < sizeof firsts; i++) {
        uint8_t bytes[64] = {firsts[i]};
        struct mr_rd rd = mr_rd_open(mr_span(bytes, sizeof bytes));
        for (size_t n = 1; n < sizeof bytes; n++)
            ck_assert_int_eq(mr_pack_scan(mr_span(bytes, n), 8), MR_MALFORMED);
        ck_assert_int_eq(mr_rd_peek(&rd), MR_PACK_END);
        mr_rd_skip(&rd);
        ck_assert_int_eq(rd.status, MR_MALFORMED);
    }
}
END_TEST

/* Table 3-7 of the Unicode standard, and the usual offenders. */
START_TEST(text_has_to_be_utf8)
{
    static const char *const good[] = {"", "a", "\x7f", "\xc2\x80", "\xdf\xbf",
        "\xe0\xa0\x80", "\xe1\x80\x80", "\xec\xbf\xbf", "\xed\x9f\xbf", "\xee\x80\x80",
        "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf3\xbf\xbf\xbf", "\xf4\x8f\xbf\xbf",
        "M\xc3\xbcnz"};
    static const char *const bad[] = {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2",
        "\xc2 ", "\xc2\xc0", "\xe0\x9f\xbf", "\xe0\xa0", "\xed\xa0\x80", "\xed\xbf\xbf",
        "\xef\xbf ", "\xf0\x8f\xbf\xbf", "\xf0\x90\x80", "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80", "\xfe", "\xff", "a\xe1\x80\xc0z"};
    uint8_t bytes[40];

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        bytes[0] = (uint8_t)(0xa0 | strlen(good[i]));
        memcpy(bytes + 1, good[i], strlen(good[i]));
        ck_assert_msg(
            mr_pack_scan(mr_span(bytes, 1 + strlen(good[i])), 1) == MR_OK, "good %zu", i);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        bytes[0] = (uint8_t)(0xa0 | strlen(bad[i]));
        memcpy(bytes + 1, bad[i], strlen(bad[i]));
        ck_assert_msg(mr_pack_scan(mr_span(bytes, 1 + strlen(bad[i])), 1) == MR_MALFORMED,
            "bad %zu", i);
    }
}
END_TEST

/* ---- agreement with msgpack-c ----------------------------------------------------------------- */

static uint64_t seed = 20261124;

static uint32_t
draw(uint32_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33) % below;
}

static void
pack_random(msgpack_packer *pk, unsigned depth)
{
    static const char text[] = "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnop";
    uint32_t n = draw(5), size = draw(sizeof text - 1);

    switch (draw(depth > 0 ? 10 : 8)) {
    case 0:
        msgpack_pack_nil(pk);
        return;
    case 1:
        msgpack_pack_true(pk);
        return;
    case 2:
        msgpack_pack_uint64(pk, ((uint64_t)draw(UINT32_MAX) << 32 | draw(9)) >> draw(64));
        return;
    case 3:
        msgpack_pack_int64(pk, -(int64_t)((uint64_t)draw(UINT32_MAX) << 31 >> draw(62)));
        return;
    case 4:
        msgpack_pack_double(pk, draw(1000) / 8.0);
        return;
    case 5:
        msgpack_pack_float(pk, (float)draw(1000) / 8.0f);
        return;
    case 6:
        msgpack_pack_str(pk, size);
        msgpack_pack_str_body(pk, text, size);
        return;
    case 7:
        msgpack_pack_bin(pk, size);
        msgpack_pack_bin_body(pk, text, size);
        return;
    case 8:
        msgpack_pack_array(pk, n);
        while (n-- > 0)
            pack_random(pk, depth - 1);
        return;
    default:
        msgpack_pack_map(pk, n);
        for (n *= 2; n > 0; n--)
            pack_random(pk, depth - 1);
        return;
    }
}

static bool
has_ext(const msgpack_object *o)
{
    bool found = o->type == MSGPACK_OBJECT_EXT;
    if (o->type == MSGPACK_OBJECT_ARRAY)
        for (uint32_t i = 0; i < o->via.array.size; i++)
            found = found || has_ext(&o->via.array.ptr[i]);
    if (o->type == MSGPACK_OBJECT_MAP)
        for (uint32_t i = 0; i < o->via.map.size; i++)
            found = found || has_ext(&o->via.map.ptr[i].key) ||
                    has_ext(&o->via.map.ptr[i].val);
    return found;
}

/* Is it one whole value without ext, as msgpack-c sees it? Bounded: nothing may claim more
 * than its bytes can hold (the library allocates first). */
static bool
other_accepts(const char *bytes, size_t n)
{
    msgpack_unpacked unpacked;
    size_t offset = 0;
    msgpack_unpacked_init(&unpacked);
    bool good =
        msgpack_unpack_next(&unpacked, bytes, n, &offset) == MSGPACK_UNPACK_SUCCESS &&
        offset == n && !has_ext(&unpacked.data);
    msgpack_unpacked_destroy(&unpacked);
    return good;
}

static bool
is_plain(const char *bytes, size_t n)
{
    /* Large counts would make the other one allocate; 0x80 and above inside text is not its
     * concern. Neither occurs in what we make, only in what we damage. */
    for (size_t i = 0; i < n; i++) {
        uint8_t b = (uint8_t)bytes[i];
        if (b == 0xdc || b == 0xdd || b == 0xde || b == 0xdf ||
            (b >= 0xa0 && b <= 0xbf) || (b >= 0xd9 && b <= 0xdb))
            return false;
    }
    return true;
}

START_TEST(the_scanner_agrees_with_msgpack_c)
{
    msgpack_sbuffer out;
    msgpack_packer pk;
    unsigned good = 0, damaged_bad = 0, compared = 0;

    msgpack_sbuffer_init(&out);
    for (int round = 0; round < 20000; round++) {
        msgpack_sbuffer_clear(&out);
        msgpack_packer_init(&pk, &out, msgpack_sbuffer_write);
        pack_random(&pk, 6);
        struct mr_span bytes = mr_span(out.data, out.size);
        ck_assert_int_eq(mr_pack_scan(bytes, 8), MR_OK);
        struct mr_rd rd = mr_rd_open(bytes);
        mr_rd_skip(&rd);
        ck_assert_int_eq(rd.status, MR_OK);
        ck_assert_ptr_eq(rd.p, rd.end);
        good++;

        size_t cut = draw((uint32_t)out.size);
        ck_assert_int_eq(mr_pack_scan(mr_span(out.data, cut), 8), MR_MALFORMED);
        for (uint32_t hits = 1 + draw(3); hits > 0; hits--)
            out.data[draw((uint32_t)out.size)] = (char)draw(256);
        bool ours = mr_pack_scan(bytes, 32) == MR_OK;
        if (ours)
            ck_assert(other_accepts(out.data, out.size));
        else
            damaged_bad++;
        if (is_plain(out.data, out.size)) {
            ck_assert_int_eq(other_accepts(out.data, out.size), ours);
            compared++;
        }
    }
    msgpack_sbuffer_destroy(&out);
    ck_assert_uint_eq(good, 20000);
    ck_assert_uint_gt(damaged_bad, 1000);
    ck_assert_uint_gt(compared, 1000);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("wire/pack");
    TCase *tcase = tcase_create("pack");
    const int int_count = sizeof ints / sizeof *ints;
    SRunner *runner;
    int failed;

    tcase_add_loop_test(tcase, integers_take_their_shortest_form, 0, int_count);
    tcase_add_loop_test(tcase, each_prefix_of_a_value_is_refused, 0, int_count);
    tcase_add_test(tcase, integers_may_come_in_a_longer_form);
    tcase_add_test(tcase, a_number_above_the_maximum_fails_the_cursor);
    tcase_add_test(tcase, the_other_scalars);
    tcase_add_test(tcase, lengths_take_their_shortest_form);
    tcase_add_test(tcase, a_length_above_the_maximum_is_too_big);
    tcase_add_test(tcase, a_count_that_the_bytes_cannot_hold_is_refused);
    tcase_add_test(tcase, skipping_and_raw_take_whole_values);
    tcase_add_test(tcase, the_writer_stops_at_its_cap);
    tcase_add_test(tcase, fixed_memory_is_never_exceeded);
    tcase_add_test(tcase, open_lists_are_closed_with_their_count);
    tcase_add_test(tcase, nesting_is_counted_in_containers);
    tcase_add_test(tcase, exactly_one_value);
    tcase_add_test(tcase, ext_types_and_the_reserved_byte_are_refused);
    tcase_add_test(tcase, text_has_to_be_utf8);
    tcase_add_test(tcase, the_scanner_agrees_with_msgpack_c);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
