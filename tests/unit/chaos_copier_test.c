/* Messages that are said twice. The bytes are written by hand, after rfc.zeromq.org/spec/23. */
#include <check.h>

#include <string.h>

#include "tests/chaos/copier.h"

#define GREETING 64

/* A short command, a message of two frames, a long frame with 3 bytes, an empty message. */
static const uint8_t frames[] = {0x04, 2, 'h', 'i', 0x01, 1, 'a', 0x00, 2, 'b', 'c', 0x02,
    0, 0, 0, 0, 0, 0, 0, 3, 'x', 'y', 'z', 0x00, 0};
static const uint8_t twice[] = {0x04, 2, 'h', 'i', 0x01, 1, 'a', 0x00, 2, 'b', 'c', 0x01,
    1, 'a', 0x00, 2, 'b', 'c', 0x02, 0, 0, 0, 0, 0, 0, 0, 3, 'x', 'y', 'z', 0x02, 0, 0, 0,
    0, 0, 0, 0, 3, 'x', 'y', 'z', 0x00, 0, 0x00, 0};

/* All in pieces of that size. */
static size_t
pass(size_t piece, uint8_t *out, bool says_twice)
{
    struct mr_copier copier = {0};
    uint8_t in[GREETING + sizeof frames];
    size_t filled = 0;

    memset(in, 0x01, GREETING); /* whatever it says */
    memcpy(in + GREETING, frames, sizeof frames);
    for (size_t at = 0; at < sizeof in; at += piece) {
        size_t n = sizeof in - at < piece ? sizeof in - at : piece;

        filled += mr_copier_pass(&copier, in + at, n, out + filled, says_twice);
    }
    return filled;
}

START_TEST(whole_messages_pass_twice)
{
    uint8_t out[512];

    ck_assert_uint_eq(pass(1000, out, true), GREETING + sizeof twice);
    ck_assert_mem_eq(out + GREETING, twice, sizeof twice);
    ck_assert_uint_eq(pass(GREETING, out, true), GREETING + sizeof twice);
    ck_assert_mem_eq(out + GREETING, twice, sizeof twice);
}
END_TEST

START_TEST(what_is_cut_passes_once)
{
    uint8_t out[512];

    for (size_t piece = 1; piece < 200; piece++) {
        ck_assert_uint_eq(pass(piece, out, false), GREETING + sizeof frames);
        ck_assert_mem_eq(out + GREETING, frames, sizeof frames);
    }
    ck_assert_uint_eq(pass(1, out, true), GREETING + sizeof frames);
    ck_assert_mem_eq(out + GREETING, frames, sizeof frames);
    /* 64, 10 bytes: the first message is cut before its last byte. */
    ck_assert_uint_lt(pass(74, out, true), GREETING + sizeof twice);
    ck_assert_uint_gt(pass(74, out, true), GREETING + sizeof frames);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("chaos/copier");
    TCase *tcase = tcase_create("copier");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, whole_messages_pass_twice);
    tcase_add_test(tcase, what_is_cut_passes_once);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
