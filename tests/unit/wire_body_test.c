/* Arguments and results. The bytes are python3-msgpack's: msgpack.packb({...}). */
#include <math.h>

#include <check.h>
#include <msgpack.h>

#include "schemas/wire/body.h"
#include "schemas/wire/limits.h"

#define BYTES(...)                                                                       \
    mr_span((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static struct mr_body *body;

static void
set_up(void)
{
    ck_assert_int_eq(mr_body_new(&body), MR_OK);
}

static void
tear_down(void)
{
    mr_body_destroy(&body);
    ck_assert_ptr_null(body);
    mr_body_destroy(&body); /* twice is fine */
}

/* {"n": -7, "big": 2**63, "x": 1.5, "f32": as float 0.5, "yes": True, "s": "ab", "l": ["x", 2],
 *  "nil": None, "b": b"\x01"} */
static const uint8_t sample[] = {0x89, 0xa1, 'n', 0xf9, 0xa3, 'b', 'i', 'g', 0xcf, 0x80,
    0, 0, 0, 0, 0, 0, 0, 0xa1, 'x', 0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 0xa3, 'f', '3',
    '2', 0xca, 0x3f, 0, 0, 0, 0xa3, 'y', 'e', 's', 0xc3, 0xa1, 's', 0xa2, 'a', 'b', 0xa1,
    'l', 0x92, 0xa1, 'x', 0x02, 0xa3, 'n', 'i', 'l', 0xc0, 0xa1, 'b', 0xc4, 0x01, 0x01};

START_TEST(each_type_is_read_by_its_key)
{
    int64_t n;
    double x;
    bool yes;
    struct mr_span s;
    uint32_t count;

    ck_assert_int_eq(mr_body_decode(body, mr_span(sample, sizeof sample)), MR_OK);
    ck_assert(mr_body_int(body, "n", &n) && n == -7);
    ck_assert(mr_body_double(body, "n", &x) && fabs(x + 7) < 1e-12);
    ck_assert(mr_body_double(body, "x", &x) && fabs(x - 1.5) < 1e-12);
    ck_assert(mr_body_double(body, "f32", &x) && fabs(x - 0.5) < 1e-12);
    ck_assert(mr_body_bool(body, "yes", &yes) && yes);
    ck_assert(mr_body_str(body, "s", &s) && mr_span_is(s, "ab"));
    ck_assert(s.p > sample && s.p < sample + sizeof sample); /* borrowed, not copied */
    ck_assert(mr_body_array(body, "l", &count) && count == 2);
    ck_assert(mr_body_array_str(body, "l", 0, &s) && mr_span_is(s, "x"));
    ck_assert(mr_body_array_int(body, "l", 1, &n) && n == 2);
    ck_assert(mr_body_has(body, "nil"));
    ck_assert_int_eq(mr_body_root(body)->type, MSGPACK_OBJECT_MAP);
}
END_TEST

START_TEST(a_wrong_type_or_key_is_false)
{
    int64_t n = 42;
    double x;
    bool yes;
    struct mr_span s;
    uint32_t count;

    ck_assert_int_eq(mr_body_decode(body, mr_span(sample, sizeof sample)), MR_OK);
    ck_assert(!mr_body_int(body, "big", &n)); /* 2^63 is out of range */
    ck_assert(!mr_body_int(body, "x", &n));   /* no rounding */
    ck_assert(!mr_body_int(body, "s", &n));
    ck_assert(!mr_body_int(body, "missing", &n));
    ck_assert(!mr_body_int(body, "", &n));
    ck_assert_int_eq(n, 42);
    ck_assert(!mr_body_double(body, "yes", &x));
    ck_assert(!mr_body_double(body, "missing", &x));
    ck_assert(!mr_body_bool(body, "n", &yes));
    ck_assert(!mr_body_str(body, "b", &s)); /* bin is not text */
    ck_assert(!mr_body_array(body, "s", &count));
    ck_assert(!mr_body_array_str(body, "l", 1, &s));
    ck_assert(!mr_body_array_int(body, "l", 0, &n));
    ck_assert(!mr_body_array_int(body, "l", 2, &n));
    ck_assert(!mr_body_array_int(body, "missing", 0, &n));
    ck_assert(!mr_body_has(body, "missing"));
}
END_TEST

START_TEST(what_is_no_map_has_no_keys)
{
    static const uint8_t others[] = {0xc0, 0x07, 0x90, 0xa0, 0x80};
    int64_t n;
    for (size_t i = 0; i < sizeof others; i++) {
        ck_assert_int_eq(mr_body_decode(body, mr_span(&others[i], 1)), MR_OK);
        ck_assert(!mr_body_has(body, "n"));
        ck_assert(!mr_body_int(body, "n", &n));
    }
    /* Keys that are not text are passed over. */
    static const uint8_t mixed[] = {0x82, 1, 2, 0xa1, 'n', 3};
    ck_assert_int_eq(mr_body_decode(body, mr_span(mixed, sizeof mixed)), MR_OK);
    ck_assert(mr_body_int(body, "n", &n) && n == 3);
}
END_TEST

START_TEST(no_bytes_are_nil)
{
    ck_assert_int_eq(mr_body_decode(body, MR_SPAN_NONE), MR_OK);
    ck_assert_int_eq(mr_body_root(body)->type, MSGPACK_OBJECT_NIL);
}
END_TEST

START_TEST(bad_bytes_are_refused_and_leave_nil)
{
    ck_assert_int_eq(mr_body_decode(body, mr_span(sample, sizeof sample)), MR_OK);
    for (size_t n = 1; n < sizeof sample; n++) {
        ck_assert_int_eq(mr_body_decode(body, mr_span(sample, n)), MR_MALFORMED);
        ck_assert_int_eq(mr_body_root(body)->type, MSGPACK_OBJECT_NIL);
    }
    ck_assert_int_eq(mr_body_decode(body, BYTES(1, 2)), MR_MALFORMED);
    ck_assert_int_eq(mr_body_decode(body, BYTES(0xd4, 0, 0)), MR_MALFORMED);
    ck_assert_int_eq(
        mr_body_decode(body, BYTES(0xdd, 0xff, 0xff, 0xff, 0xff)), MR_MALFORMED);
    ck_assert_int_eq(mr_body_decode(body, BYTES(0xa1, 0xff)), MR_MALFORMED);
}
END_TEST

/* The limit of the page is what really passes: the library has a limit of its own. */
START_TEST(nesting_up_to_the_limit_and_no_further)
{
    uint8_t deep[MR_PAYLOAD_DEPTH_MAX + 2];
    memset(deep, 0x91, sizeof deep);
    deep[MR_PAYLOAD_DEPTH_MAX] = 1;
    ck_assert_int_eq(
        mr_body_decode(body, mr_span(deep, MR_PAYLOAD_DEPTH_MAX + 1)), MR_OK);
    ck_assert_int_eq(mr_body_root(body)->type, MSGPACK_OBJECT_ARRAY);
    deep[MR_PAYLOAD_DEPTH_MAX] = 0x90;
    ck_assert_int_eq(
        mr_body_decode(body, mr_span(deep, MR_PAYLOAD_DEPTH_MAX + 1)), MR_TOO_BIG);
}
END_TEST

START_TEST(a_body_is_used_again_and_again)
{
    int64_t n;
    for (int i = 0; i < 100000; i++)
        ck_assert_int_eq(mr_body_decode(body, mr_span(sample, sizeof sample)), MR_OK);
    ck_assert(mr_body_int(body, "n", &n) && n == -7);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("wire/body");
    TCase *tcase = tcase_create("body");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, each_type_is_read_by_its_key);
    tcase_add_test(tcase, a_wrong_type_or_key_is_false);
    tcase_add_test(tcase, what_is_no_map_has_no_keys);
    tcase_add_test(tcase, no_bytes_are_nil);
    tcase_add_test(tcase, bad_bytes_are_refused_and_leave_nil);
    tcase_add_test(tcase, nesting_up_to_the_limit_and_no_further);
    tcase_add_test(tcase, a_body_is_used_again_and_again);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
