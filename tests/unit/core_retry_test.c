#include "broker/core/retry.h"
#include "tests/unit/core_rig.h"

/* base 1000, cap 10000, doubled: 1000, 2000, 4000, 8000, 10000, 10000 by hand, each a fifth
 * more or less. */
START_TEST(backoff_doubles_up_to_its_cap)
{
    static const uint32_t middles[] = {1000, 2000, 4000, 8000, 10000, 10000};
    struct mr_retry_policy policy = {.backoff_base_ms = 1000,
        .backoff_cap_ms = 10000,
        .backoff_factor_percent = 200,
        .backoff_jitter = 20};

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

/* Each column by hand, rounded down at each step. */
START_TEST(factors_make_these_tables)
{
    static const struct {
        uint32_t base_ms, cap_ms, factor_percent, delays_ms[8];
    } tables[] = {
        {1000, 10000, 100, {1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000}},
        {1000, 10000, 150, {1000, 1500, 2250, 3375, 5062, 7593, 10000, 10000}},
        {100, 600000, 300, {100, 300, 900, 2700, 8100, 24300, 72900, 218700}},
        {7, 1000000, 1000, {7, 70, 700, 7000, 70000, 700000, 1000000, 1000000}},
        {1, 1000, 110, {1, 1, 1, 1, 1, 1, 1, 1}}, /* 1.1 is 1 in whole milliseconds */
        {500, 400, 200, {400, 400, 400, 400, 400, 400, 400, 400}},
    };

    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        struct mr_retry_policy policy = {.backoff_base_ms = tables[t].base_ms,
            .backoff_cap_ms = tables[t].cap_ms,
            .backoff_factor_percent = tables[t].factor_percent,
            .backoff_jitter = MR_JITTER_NONE};

        for (uint32_t n = 1; n <= 8; n++)
            ck_assert_uint_eq(mr_retry_delay_ms(&policy, n, 0, 12345678901),
                tables[t].delays_ms[n - 1]);
    }
}
END_TEST

/* Of 1000 ms: the least, the middle and the most that chance can give. */
START_TEST(jitter_swings_so_much_and_no_more)
{
    static const struct {
        uint32_t jitter, least, most;
    } rows[] = {
        {MR_JITTER_NONE, 1000, 1000}, {1, 990, 1010}, {33, 670, 1330}, {100, 0, 2000}};
    struct mr_retry_policy policy = {
        .backoff_base_ms = 1000, .backoff_cap_ms = 10000, .backoff_factor_percent = 200};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t least = UINT32_MAX, most = 0;
        uint64_t state = 7;

        policy.backoff_jitter = rows[i].jitter;
        ck_assert_uint_eq(mr_retry_delay_ms(&policy, 1, 0, 0), rows[i].least);
        for (int n = 0; n < 50000; n++) {
            uint32_t delay = mr_retry_delay_ms(&policy, 1, 0, mr_retry_random(&state));

            least = delay < least ? delay : least;
            most = delay > most ? delay : most;
        }
        ck_assert_uint_eq(least, rows[i].least);
        ck_assert_uint_eq(most, rows[i].most);
    }
}
END_TEST

START_TEST(what_the_handler_asks_for_is_a_minimum)
{
    struct mr_retry_policy policy = {.backoff_base_ms = 1000,
        .backoff_cap_ms = 10000,
        .backoff_factor_percent = 200,
        .backoff_jitter = 20};

    ck_assert_uint_eq(mr_retry_delay_ms(&policy, 1, 30000, 200), 30000);
    ck_assert_uint_eq(mr_retry_delay_ms(&policy, 1, 500, 200), 1000);
}
END_TEST

START_TEST(odd_numbers_do_no_harm)
{
    struct mr_retry_policy zero = {0};
    struct mr_retry_policy huge = {.backoff_base_ms = UINT32_MAX - 1,
        .backoff_cap_ms = UINT32_MAX,
        .backoff_factor_percent = MR_BACKOFF_FACTOR_MAX,
        .backoff_jitter = 20};
    struct mr_retry_policy low_cap = {.backoff_base_ms = 1000,
        .backoff_cap_ms = 10,
        .backoff_factor_percent = 200,
        .backoff_jitter = 20};

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
    struct mr_retry_policy initial = {10, 11, 12, 13, 140, 15};
    struct mr_retry_policy is = mr_retry_policy_of(&job, &offer, &initial);

    ck_assert_uint_eq(is.timeout_ms, 7);
    ck_assert_uint_eq(is.attempts_max, 9);
    ck_assert_uint_eq(is.backoff_base_ms, 12);
    ck_assert_uint_eq(is.backoff_cap_ms, 13);
    ck_assert_uint_eq(is.backoff_factor_percent, 140);
    ck_assert_uint_eq(is.backoff_jitter, 15);
    offer.backoff_jitter = MR_JITTER_NONE; /* none is said, too */
    is = mr_retry_policy_of(&job, &offer, &initial);
    ck_assert_uint_eq(mr_jitter_percent(is.backoff_jitter), 0);
    job.backoff_jitter = 3;
    job.backoff_factor_percent = 100;
    is = mr_retry_policy_of(&job, &offer, &initial);
    ck_assert_uint_eq(is.backoff_jitter, 3);
    ck_assert_uint_eq(is.backoff_factor_percent, 100);
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
    tcase_add_test(tcase, factors_make_these_tables);
    tcase_add_test(tcase, jitter_swings_so_much_and_no_more);
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
