/*
 * From routing ids to numbers and back.
 */
#include "broker/session.h"

#include <check.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX 50u

static struct mr_sessions *sessions;

static void
set_up(void)
{
    ck_assert_int_eq(
        mr_session_table_new(&sessions, MAX, (struct mr_hash_key){1, 2}), MR_OK);
}

static void
tear_down(void)
{
    mr_session_table_destroy(&sessions);
    ck_assert_ptr_null(sessions);
}

static struct mr_span
routing(uint32_t i)
{
    static uint8_t bytes[5];

    bytes[0] = 0;
    bytes[1] = (uint8_t)(i >> 24);
    bytes[2] = (uint8_t)(i >> 16);
    bytes[3] = (uint8_t)(i >> 8);
    bytes[4] = (uint8_t)i;
    return mr_span(bytes, sizeof bytes);
}

START_TEST(added_is_found_until_removed)
{
    uint32_t number = mr_session_add(sessions, MR_FRONT, routing(7));

    ck_assert_uint_lt(number, MAX);
    ck_assert_uint_eq(mr_session_find(sessions, MR_FRONT, routing(7)), number);
    ck_assert_uint_eq(
        mr_session_find(sessions, MR_FRONT, routing(8)), MR_NO_SESSION_NUMBER);
    mr_session_remove(sessions, number);
    ck_assert_uint_eq(
        mr_session_find(sessions, MR_FRONT, routing(7)), MR_NO_SESSION_NUMBER);
    ck_assert_ptr_null(mr_session_at(sessions, number));
}
END_TEST

START_TEST(sides_are_apart)
{
    uint32_t front = mr_session_add(sessions, MR_FRONT, routing(7));
    uint32_t back = mr_session_add(sessions, MR_BACK, routing(7));

    ck_assert_uint_ne(front, back);
    ck_assert_uint_eq(mr_session_find(sessions, MR_FRONT, routing(7)), front);
    ck_assert_uint_eq(mr_session_find(sessions, MR_BACK, routing(7)), back);
}
END_TEST

START_TEST(full_table_refuses)
{
    for (uint32_t i = 0; i < MAX; i++)
        ck_assert_uint_ne(
            mr_session_add(sessions, MR_FRONT, routing(i)), MR_NO_SESSION_NUMBER);
    ck_assert_uint_eq(
        mr_session_add(sessions, MR_FRONT, routing(MAX)), MR_NO_SESSION_NUMBER);
    mr_session_remove(sessions, 3);
    ck_assert_uint_eq(mr_session_add(sessions, MR_FRONT, routing(MAX)), 3);
}
END_TEST

START_TEST(long_routing_id_is_refused)
{
    uint8_t bytes[MR_ROUTING_BYTES_MAX + 1] = {1};

    ck_assert_uint_eq(mr_session_add(sessions, MR_FRONT, mr_span(bytes, sizeof bytes)),
        MR_NO_SESSION_NUMBER);
    ck_assert_uint_eq(mr_session_find(sessions, MR_FRONT, mr_span(bytes, sizeof bytes)),
        MR_NO_SESSION_NUMBER);
    ck_assert_uint_ne(
        mr_session_add(sessions, MR_FRONT, mr_span(bytes, MR_ROUTING_BYTES_MAX)),
        MR_NO_SESSION_NUMBER);
}
END_TEST

/* HELLO again at the same address: the earlier number lives on, its address leads to the new. */
START_TEST(unlisted_lives_on)
{
    uint32_t earlier = mr_session_add(sessions, MR_FRONT, routing(7));
    uint32_t later;

    mr_session_unlist(sessions, earlier);
    later = mr_session_add(sessions, MR_FRONT, routing(7));
    ck_assert_uint_ne(earlier, later);
    ck_assert_uint_eq(mr_session_find(sessions, MR_FRONT, routing(7)), later);
    ck_assert_ptr_nonnull(mr_session_at(sessions, earlier));
    mr_session_remove(sessions, earlier);
    ck_assert_uint_eq(mr_session_find(sessions, MR_FRONT, routing(7)), later);
}
END_TEST

START_TEST(conversations_have_numbers_of_their_own)
{
    uint32_t number = mr_session_add(sessions, MR_FRONT, routing(7));
    uint64_t nonce = mr_session_at(sessions, number)->nonce;

    mr_session_remove(sessions, number);
    number = mr_session_add(sessions, MR_FRONT, routing(7));
    ck_assert(mr_session_at(sessions, number)->nonce != nonce);
}
END_TEST

/* Against a plain array, for long enough that chains form and break everywhere. */
START_TEST(agrees_with_a_plain_array)
{
    uint32_t numbers[200];
    uint32_t used = 0;
    uint32_t random = 1;

    for (int i = 0; i < 200; i++)
        numbers[i] = MR_NO_SESSION_NUMBER;
    for (int step = 0; step < 20000; step++) {
        uint32_t i;

        random = random * 1664525u + 1013904223u; /* Numerical Recipes */
        i = (random >> 8) % 200;
        ck_assert_uint_eq(mr_session_find(sessions, MR_BACK, routing(i)), numbers[i]);
        if (numbers[i] != MR_NO_SESSION_NUMBER) {
            mr_session_remove(sessions, numbers[i]);
            numbers[i] = MR_NO_SESSION_NUMBER;
            used--;
        } else {
            numbers[i] = mr_session_add(sessions, MR_BACK, routing(i));
            ck_assert((numbers[i] == MR_NO_SESSION_NUMBER) == (used == MAX));
            used += used < MAX;
        }
    }
}
END_TEST

#define MANY 32768u
#define ID_BYTES 32u

/* Pairs of bytes a and b that become a - 1 and b + 33: all ids of it have the same value under
 * Bernstein's hash, and the same last bytes. The others are as random as they can be. */
static void
make_id(uint8_t out[ID_BYTES], uint32_t i, bool collides)
{
    memset(out, 7, ID_BYTES);
    if (!collides) {
        for (size_t k = 0; k < ID_BYTES; k += sizeof i) {
            i = i * 1664525u + 1013904223u;
            memcpy(out + k, &i, sizeof i);
        }
        return;
    }
    for (size_t pair = 0; i; pair++, i /= 7) {
        out[2 * pair] = (uint8_t)(7 - i % 7);
        out[2 * pair + 1] = (uint8_t)(7 + 33 * (i % 7));
    }
}

static int64_t
cpu_ns(void)
{
    struct timespec now;

    ck_assert_int_eq(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static int64_t
fill_and_find(bool collides)
{
    struct mr_sessions *many = NULL;
    uint8_t id[ID_BYTES];
    int64_t began_ns;

    ck_assert_int_eq(mr_session_table_new(&many, MANY, mr_hash_key_random()), MR_OK);
    began_ns = cpu_ns();
    for (uint32_t i = 0; i < MANY; i++) {
        make_id(id, i, collides);
        ck_assert_uint_ne(
            mr_session_add(many, MR_FRONT, mr_span(id, sizeof id)), MR_NO_SESSION_NUMBER);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        make_id(id, i, collides);
        ck_assert_uint_ne(mr_session_find(many, MR_FRONT, mr_span(id, sizeof id)),
            MR_NO_SESSION_NUMBER);
    }
    began_ns = cpu_ns() - began_ns;
    mr_session_table_destroy(&many);
    return began_ns;
}

/* A ratio within one run, in turn: without a key in the hash it is in the thousands. */
START_TEST(ids_that_collide_cost_no_more_than_others)
{
    int64_t random_ns = 0, colliding_ns = 0;

    for (int i = 0; i < 5; i++) {
        random_ns += fill_and_find(false);
        colliding_ns += fill_and_find(true);
    }
    ck_assert_int_lt(colliding_ns, 2 * random_ns);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("broker: sessions");
    TCase *tcase = tcase_create("sessions");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, added_is_found_until_removed);
    tcase_add_test(tcase, sides_are_apart);
    tcase_add_test(tcase, full_table_refuses);
    tcase_add_test(tcase, long_routing_id_is_refused);
    tcase_add_test(tcase, unlisted_lives_on);
    tcase_add_test(tcase, conversations_have_numbers_of_their_own);
    tcase_add_test(tcase, agrees_with_a_plain_array);
    tcase_add_test(tcase, ids_that_collide_cost_no_more_than_others);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
