#include "broker/core/wheel.h"
#include "tests/unit/core_rig.h"

static uint64_t state;

static uint64_t
next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

START_TEST(a_timer_fires_at_its_time_and_not_before)
{
    static const int64_t delays[] = {1, 2, 63, 64, 65, 4095, 4096, 4097, 262143, 262144,
        16777216, 86400000, INT64_C(31536000000)};

    for (size_t i = 0; i < sizeof delays / sizeof *delays; i++) {
        struct mr_wheel wheel;

        ck_assert_int_eq(mr_wheel_init(&wheel, 4, 1000), MR_OK);
        mr_wheel_set(&wheel, 1, 1000 + delays[i]);
        ck_assert_int_le(mr_wheel_next_ms(&wheel), 1000 + delays[i]);
        ck_assert_uint_eq(mr_wheel_pop(&wheel, 1000 + delays[i] - 1), 0);
        ck_assert(mr_wheel_is_set(&wheel, 1));
        ck_assert_uint_eq(mr_wheel_pop(&wheel, 1000 + delays[i]), 1);
        ck_assert(!mr_wheel_is_set(&wheel, 1));
        ck_assert_int_eq(mr_wheel_next_ms(&wheel), INT64_MAX);
        mr_wheel_fini(&wheel);
    }
}
END_TEST

START_TEST(equal_times_come_in_the_order_in_which_they_were_set)
{
    struct mr_wheel wheel;

    ck_assert_int_eq(mr_wheel_init(&wheel, 100, 0), MR_OK);
    for (uint32_t id = 1; id <= 100; id++)
        mr_wheel_set(&wheel, id, 300000); /* through several levels */
    (void)mr_wheel_pop(&wheel, 299000);
    for (uint32_t id = 1; id <= 100; id++)
        ck_assert_uint_eq(mr_wheel_pop(&wheel, 300000), id);
    mr_wheel_fini(&wheel);
}
END_TEST

START_TEST(moved_cleared_and_past_timers)
{
    struct mr_wheel wheel;

    ck_assert_int_eq(mr_wheel_init(&wheel, 3, 5000), MR_OK);
    mr_wheel_set(&wheel, 1, 6000);
    mr_wheel_set(&wheel, 1, 7000); /* moved */
    mr_wheel_set(&wheel, 2, 6000);
    mr_wheel_clear(&wheel, 2);
    mr_wheel_clear(&wheel, 2); /* again: nothing */
    ck_assert_uint_eq(wheel.count, 1);
    ck_assert_uint_eq(mr_wheel_pop(&wheel, 6999), 0);
    mr_wheel_set(&wheel, 3, 10); /* long past */
    ck_assert_uint_eq(mr_wheel_pop(&wheel, 6999), 3);
    ck_assert_uint_eq(mr_wheel_pop(&wheel, 7000), 1);
    ck_assert_uint_eq(wheel.count, 0);
    mr_wheel_fini(&wheel);
}
END_TEST

/* Against a list that is searched: 2,000 timers, times up to a week. */
START_TEST(it_agrees_with_a_plain_list)
{
    enum { N = 2000 };
    static int64_t due[N + 1];
    struct mr_wheel wheel;
    int64_t now = 123456;

    state = 88172645463325252u;
    ck_assert_int_eq(mr_wheel_init(&wheel, N, now), MR_OK);
    for (uint32_t id = 1; id <= N; id++)
        due[id] = 0;
    for (int round = 0; round < 3000; round++) {
        uint32_t set = 1 + (uint32_t)(next_random() % N);
        uint32_t cleared = 1 + (uint32_t)(next_random() % N);
        int64_t earliest = INT64_MAX;
        int64_t last = 0;
        uint32_t id;

        due[set] =
            now + 1 + (int64_t)(next_random() % (UINT64_C(1) << (next_random() % 30)));
        mr_wheel_set(&wheel, set, due[set]);
        due[cleared] = 0;
        mr_wheel_clear(&wheel, cleared);
        now += (int64_t)(next_random() % 5000);
        while ((id = mr_wheel_pop(&wheel, now)) != 0) {
            ck_assert_int_ne(due[id], 0);
            ck_assert_int_le(due[id], now);
            ck_assert_int_ge(due[id], last);
            last = due[id];
            due[id] = 0;
        }
        for (id = 1; id <= N; id++) {
            ck_assert(due[id] == 0 || due[id] > now);
            if (due[id] && due[id] < earliest)
                earliest = due[id];
        }
        ck_assert_int_le(mr_wheel_next_ms(&wheel), earliest);
        ck_assert_int_gt(mr_wheel_next_ms(&wheel), now);
    }
    mr_wheel_fini(&wheel);
}
END_TEST

static void
add(TCase *tcase)
{
    tcase_add_test(tcase, a_timer_fires_at_its_time_and_not_before);
    tcase_add_test(tcase, equal_times_come_in_the_order_in_which_they_were_set);
    tcase_add_test(tcase, moved_cleared_and_past_timers);
    tcase_add_test(tcase, it_agrees_with_a_plain_list);
}

int
main(void)
{
    return rig_run("core/wheel", add) != 0;
}
