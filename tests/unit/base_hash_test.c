/* Vectors of the SipHash paper's reference code (key 00..0f, message 00, 01, ..., n-1). */
#include "schemas/base/hash.h"

#include <check.h>

static const struct mr_hash_key paper_key = {
    .k0 = 0x0706050403020100, .k1 = 0x0f0e0d0c0b0a0908};

static uint64_t
hash_of_first(size_t n)
{
    uint8_t message[64];

    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (uint8_t)i;
    return mr_hash(paper_key, mr_span(message, n));
}

START_TEST(appendix_a_of_the_paper)
{
    ck_assert_uint_eq(hash_of_first(15), 0xa129ca6149be45e5);
}
END_TEST

/* vectors_sip64 of the reference implementation, read as little-endian words. */
START_TEST(reference_vectors)
{
    static const uint64_t expected[] = {
        0x726fdb47dd0e0e31,
        0x74f839c593dc67fd,
        0x0d6c8009d9a94f5a,
        0x85676696d7fb7e2d,
        0xcf2794e0277187b7,
        0x18765564cd99a68d,
        0xcbc9466e58fee3ce,
        0xab0200f58b01d137,
        0x93f5f5799a932462,
    };

    for (size_t n = 0; n < sizeof expected / sizeof expected[0]; n++)
        ck_assert_uint_eq(hash_of_first(n), expected[n]);
    ck_assert_uint_eq(hash_of_first(63), 0x958a324ceb064572);
}
END_TEST

START_TEST(empty_span_may_be_null)
{
    ck_assert_uint_eq(mr_hash(paper_key, MR_SPAN_NONE), 0x726fdb47dd0e0e31);
}
END_TEST

START_TEST(start_need_not_be_aligned)
{
    uint8_t room[17] = {0};

    for (size_t i = 0; i < 15; i++)
        room[1 + i] = (uint8_t)i;
    ck_assert_uint_eq(mr_hash(paper_key, mr_span(room + 1, 15)), 0xa129ca6149be45e5);
}
END_TEST

START_TEST(random_keys_differ)
{
    struct mr_hash_key a = mr_hash_key_random();
    struct mr_hash_key b = mr_hash_key_random();

    ck_assert(a.k0 != b.k0 || a.k1 != b.k1);
    ck_assert_uint_ne(mr_hash(a, mr_span_str("x")), mr_hash(b, mr_span_str("x")));
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("base/hash");
    TCase *tcase = tcase_create("hash");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, appendix_a_of_the_paper);
    tcase_add_test(tcase, reference_vectors);
    tcase_add_test(tcase, empty_span_may_be_null);
    tcase_add_test(tcase, start_need_not_be_aligned);
    tcase_add_test(tcase, random_keys_differ);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
