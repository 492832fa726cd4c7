#include "broker/core/retry.h"
#include "tests/unit/core_rig.h"

/* base 1000, cap 10000: 1000, 2000, 4000, 8000, 10000, 10000 by hand, each a fifth more or
 * less. */
START_TEST(backoff_doubles_up_to_its_cap)
{
    static const uint32_t middles[] = {1000, 2000, 4000, 8000, 10000, 10000};
    struct mr_retry_policy policy = {.backoff_base_ms = 1000, .backoff_cap_ms = 10000};

    for (uint32_t n = 1; n <= 6; n++) {
        uint32_t fifth = middles[n - 1] / 5;

        ck_assert_uint_eq(
            mr_retry_delay_ms(&policy, n, 0, 0), middles[n - 1] - fifth); /* the least */
        ck_assert_uint_eq(mr_retry_delay_ms(&policy, n, 0, 2 * fifth),
            middles[n - 1] + fifth); /* the most */
        ck_assert_uint_eq(mr_retry_delay_ms(&policy, n, 0, fifth), middles[n - 1]);
    }
}
END_TEST

START_TEST(what_the_handler_asks_for_is_a_minimum)
{
    struct mr_retry_policy policy = {.backoff_base_ms = 1000, .backoff_cap_ms = 10000};

    ck_assert_uint_eq(mr_retry_delay_ms(&policy, 1, 30000, 200), 30000);
    ck_assert_uint_eq(mr_retry_delay_ms(&policy, 1, 500, 200), 1000);
}
END_TEST

START_TEST(odd_numbers_do_no_harm)
{
    struct mr_retry_policy zero = {0};
    struct mr_retry_policy huge = {
        .backoff_base_ms = UINT32_MAX, .backoff_cap_ms = UINT32_MAX};
    struct mr_retry_policy low_cap = {.backoff_base_ms = 1000, .backoff_cap_ms = 10};

    ck_assert_uint_eq(mr_retry_delay_ms(&zero, 1000, 0, 12345), 0);
    ck_assert_uint_eq(
        mr_retry_delay_ms(&huge, 1000, 0, 2u * (UINT32_MAX / 5)), UINT32_MAX);
    ck_assert_uint_le(mr_retry_delay_ms(&low_cap, 1, 0, UINT64_MAX), 12);
}
END_TEST

START_TEST(the_first_number_that_is_given_counts)
{
    struct mr_retry_policy job = {.timeout_ms = 7};
    struct mr_retry_policy offer = {.timeout_ms = 8, .attempts_max = 9};
    struct mr_retry_policy initial = {10, 11, 12, 13};
    struct mr_retry_policy is = mr_retry_policy_of(&job, &offer, &initial);

    ck_assert_uint_eq(is.timeout_ms, 7);
    ck_assert_uint_eq(is.attempts_max, 9);
    ck_assert_uint_eq(is.backoff_base_ms, 12);
    ck_assert_uint_eq(is.backoff_cap_ms, 13);
}
END_TEST

/* splitmix64 of seed 0, published with the algorithm (Vigna's splitmix64.c). */
START_TEST(the_sequence_is_splitmix64)
{
    uint64_t state = 0;

    ck_assert_uint_eq(mr_retry_random(&state), UINT64_C(0xe220a8397b1dcdaf));
    ck_assert_uint_eq(mr_retry_random(&state), UINT64_C(0x6e789e6aa1b965f4));
    ck_assert_uint_eq(mr_retry_random(&state), UINT64_C(0x06c45d188009454f));
}
END_TEST

static void
add(TCase *tcase)
{
    tcase_add_test(tcase, backoff_doubles_up_to_its_cap);
    tcase_add_test(tcase, what_the_handler_asks_for_is_a_minimum);
    tcase_add_test(tcase, odd_numbers_do_no_harm);
    tcase_add_test(tcase, the_first_number_that_is_given_counts);
    tcase_add_test(tcase, the_sequence_is_splitmix64);
}

int
main(void)
{
    return rig_run("core/retry", add) != 0;
}
