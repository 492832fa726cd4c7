#include "schemas/base/arena.h"

#include <check.h>
#include <string.h>

static struct mr_arena *
arena_of(size_t bytes_max)
{
    struct mr_arena *arena = NULL;

    ck_assert_int_eq(mr_arena_new(&arena, bytes_max), MR_OK);
    return arena;
}

START_TEST(pieces_are_aligned_and_apart)
{
    struct mr_arena *arena = arena_of(1 << 20);
    uint8_t *pieces[200];

    for (size_t i = 0; i < 200; i++) {
        pieces[i] = mr_arena_alloc(arena, i);
        ck_assert_ptr_nonnull(pieces[i]);
        ck_assert_uint_eq((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)i, i);
    }
    for (size_t i = 0; i < 200; i++) {
        for (size_t j = 0; j < i; j++)
            ck_assert_uint_eq(pieces[i][j], (uint8_t)i);
    }
    ck_assert_uint_ge(mr_arena_used(arena), 199 * 200 / 2);
    mr_arena_destroy(&arena);
    ck_assert_ptr_null(arena);
    mr_arena_destroy(&arena); /* nothing to do */
}
END_TEST

START_TEST(the_cap_holds)
{
    struct mr_arena *arena = arena_of(10000);
    size_t pieces = 0;

    while (mr_arena_alloc(arena, 100))
        pieces++;
    ck_assert_uint_ge(pieces, 10000 / 112 - 2); /* 112: rounded up to 16 */
    ck_assert_uint_le(pieces * 100, 10000);
    ck_assert_uint_le(mr_arena_used(arena), 10000);
    mr_arena_destroy(&arena);
}
END_TEST

START_TEST(the_whole_cap_can_be_one_piece)
{
    struct mr_arena *arena = arena_of(100000);

    ck_assert_ptr_null(mr_arena_alloc(arena, 100001));
    ck_assert_ptr_nonnull(mr_arena_alloc(arena, 100000));
    ck_assert_ptr_null(mr_arena_alloc(arena, 1));
    mr_arena_destroy(&arena);
}
END_TEST

START_TEST(sizes_near_the_end_of_the_number_are_refused)
{
    struct mr_arena *arena = arena_of(SIZE_MAX);
    struct mr_span huge = {(const uint8_t *)"x", SIZE_MAX};
    struct mr_span out;

    ck_assert_ptr_nonnull(mr_arena_alloc(arena, 5));
    ck_assert_ptr_null(mr_arena_alloc(arena, SIZE_MAX));
    ck_assert_ptr_null(mr_arena_alloc(arena, SIZE_MAX - 8));
    ck_assert_ptr_null(mr_arena_str(arena, huge));
    ck_assert(!mr_arena_copy(arena, huge, &out));
    ck_assert_ptr_nonnull(mr_arena_alloc(arena, 5));
    mr_arena_destroy(&arena);
}
END_TEST

START_TEST(an_arena_of_nothing_gives_nothing)
{
    struct mr_arena *arena = arena_of(0);

    ck_assert_ptr_null(mr_arena_alloc(arena, 1));
    ck_assert_ptr_nonnull(mr_arena_alloc(arena, 0));
    ck_assert_uint_eq(mr_arena_used(arena), 0);
    mr_arena_destroy(&arena);
}
END_TEST

START_TEST(copies_are_our_own)
{
    struct mr_arena *arena = arena_of(4096);
    char from[] = "hello";
    struct mr_span copy;
    char *text = mr_arena_str(arena, mr_span(from, 4));

    ck_assert(mr_arena_copy(arena, mr_span(from, 5), &copy));
    from[0] = 'j';
    ck_assert(mr_span_is(copy, "hello"));
    ck_assert_str_eq(text, "hell");
    ck_assert_str_eq(mr_arena_str(arena, MR_SPAN_NONE), "");
    ck_assert(mr_arena_copy(arena, MR_SPAN_NONE, &copy));
    ck_assert_uint_eq(copy.n, 0);
    mr_arena_destroy(&arena);
}
END_TEST

START_TEST(full_says_so_and_harms_nothing)
{
    struct mr_arena *arena = arena_of(64);
    struct mr_span from = mr_span_str("0123456789012345678901234567890123456789");
    struct mr_span copy;
    char *text = mr_arena_str(arena, from);

    ck_assert_str_eq(text, (const char *)from.p);
    ck_assert(!mr_arena_copy(arena, from, &copy));
    ck_assert_ptr_null(mr_arena_str(arena, from));
    ck_assert_str_eq(text, (const char *)from.p);
    mr_arena_destroy(&arena);
}
END_TEST

/* From the second round on it is the same memory: nothing is allocated. */
START_TEST(reset_makes_room_again)
{
    struct mr_arena *arena = arena_of(50000);
    void *before[11] = {NULL}, *now[11];

    for (int round = 0; round < 1000; round++) {
        mr_arena_reset(arena);
        ck_assert_uint_eq(mr_arena_used(arena), 0);
        for (int i = 0; i < 11; i++) {
            now[i] = mr_arena_alloc(arena, 1400);
            ck_assert_ptr_nonnull(now[i]);
        }
        if (round > 1)
            ck_assert_mem_eq(now, before, sizeof now);
        memcpy(before, now, sizeof now);
    }
    mr_arena_destroy(&arena);
}
END_TEST

START_TEST(what_a_reset_keeps_costs_nobody_a_piece)
{
    struct mr_arena *arena = arena_of(50000);

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 10; i++)
            ck_assert_ptr_nonnull(mr_arena_alloc(arena, 2000));
        mr_arena_reset(arena);
        ck_assert_ptr_nonnull(mr_arena_alloc(arena, 50000));
        ck_assert_ptr_null(mr_arena_alloc(arena, 1));
        mr_arena_reset(arena);
    }
    mr_arena_destroy(&arena);
}
END_TEST

/* A large crowd once must not hold memory for good. */
START_TEST(a_reset_keeps_no_large_chunk)
{
    const size_t large = 16 * MR_ARENA_KEPT_BYTES_MAX;
    struct mr_arena *arena = arena_of(large);

    ck_assert_ptr_nonnull(mr_arena_alloc(arena, large / 2));
    mr_arena_reset(arena);
    /* The whole cap is there again, although nothing unused had to go. */
    ck_assert_ptr_nonnull(mr_arena_alloc(arena, 1));
    ck_assert_ptr_nonnull(mr_arena_alloc(arena, large - 64 * 1024));
    mr_arena_destroy(&arena);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("base/arena");
    TCase *tcase = tcase_create("arena");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, pieces_are_aligned_and_apart);
    tcase_add_test(tcase, the_cap_holds);
    tcase_add_test(tcase, the_whole_cap_can_be_one_piece);
    tcase_add_test(tcase, sizes_near_the_end_of_the_number_are_refused);
    tcase_add_test(tcase, an_arena_of_nothing_gives_nothing);
    tcase_add_test(tcase, copies_are_our_own);
    tcase_add_test(tcase, full_says_so_and_harms_nothing);
    tcase_add_test(tcase, reset_makes_room_again);
    tcase_add_test(tcase, what_a_reset_keeps_costs_nobody_a_piece);
    tcase_add_test(tcase, a_reset_keeps_no_large_chunk);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
