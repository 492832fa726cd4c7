/* slab, ids, names, pool: the tables under the core. */
#include "broker/core/ids.h"
#include "broker/core/names.h"
#include "broker/core/pool.h"
#include "tests/unit/core_rig.h"

struct row {
    struct mr_uuid id;
    uint32_t value;
};

static struct row *
row_at(struct mr_slab *slab, uint32_t slot)
{
    return mr_slab_at(slab, slot);
}

START_TEST(a_full_slab_says_so_and_takes_again_what_came_back)
{
    struct mr_slab slab;
    uint32_t slot;

    ck_assert_int_eq(mr_slab_init(&slab, 3, sizeof(struct row)), MR_OK);
    for (uint32_t i = 1; i <= 3; i++)
        ck_assert_uint_eq(mr_slab_take(&slab), i);
    ck_assert_uint_eq(mr_slab_take(&slab), 0);
    row_at(&slab, 2)->value = 5;
    mr_slab_give(&slab, 2);
    ck_assert_uint_eq(slab.used, 2);
    slot = mr_slab_take(&slab);
    ck_assert_uint_eq(slot, 2);
    ck_assert_uint_eq(row_at(&slab, slot)->value, 0); /* zeroed */
    ck_assert_uint_eq(row_at(&slab, slot)->id.b[0], 0);
    ck_assert_uint_eq(mr_slab_take(&slab), 0);
    mr_slab_fini(&slab);
}
END_TEST

/* Ids that differ in two bytes only, added and removed in a fixed mix. */
START_TEST(ids_are_found_until_they_are_removed)
{
    enum { N = 1000 };
    struct mr_slab slab;
    struct mr_ids_hash hash;
    struct mr_ids ids;
    bool is_in[N] = {false};
    uint32_t slots[N];

    ck_assert_int_eq(mr_slab_init(&slab, N, sizeof(struct row)), MR_OK);
    mr_ids_hash_init(&hash, (struct mr_hash_key){3, 4});
    ck_assert_int_eq(mr_ids_init(&ids, &slab, &hash), MR_OK);
    for (uint32_t step = 0; step < 20000; step++) {
        uint32_t n = step * 7919 % N;
        struct mr_uuid id = {{0}};

        id.b[0] = (uint8_t)n;
        id.b[15] = (uint8_t)(n >> 8);
        if (is_in[n]) {
            ck_assert_uint_eq(mr_ids_find(&ids, &id), slots[n]);
            mr_ids_remove(&ids, slots[n]);
            mr_slab_give(&slab, slots[n]);
        } else {
            slots[n] = mr_slab_take(&slab);
            row_at(&slab, slots[n])->id = id;
            mr_ids_add(&ids, slots[n]);
        }
        is_in[n] = !is_in[n];
        ck_assert_uint_eq(mr_ids_find(&ids, &id), is_in[n] ? slots[n] : 0);
        if (step % 500 == 0) {
            for (uint32_t i = 0; i < N; i++) {
                id.b[0] = (uint8_t)i;
                id.b[15] = (uint8_t)(i >> 8);
                ck_assert_uint_eq(mr_ids_find(&ids, &id), is_in[i] ? slots[i] : 0);
            }
        }
    }
    mr_ids_fini(&ids);
    mr_slab_fini(&slab);
}
END_TEST

/* Through every size of the table, with removals while it moves from one to the next. */
START_TEST(ids_stay_found_while_their_table_grows)
{
    enum { N = 200000 };
    struct mr_ids_hash hash;
    struct mr_slab slab;
    struct mr_ids ids;
    uint32_t left = 0, moving = 0;

    mr_ids_hash_init(&hash, (struct mr_hash_key){5, 6});
    ck_assert_int_eq(mr_slab_init(&slab, N, sizeof(struct row)), MR_OK);
    ck_assert_int_eq(mr_ids_init(&ids, &slab, &hash), MR_OK);
    for (uint32_t n = 1; n <= N; n++) {
        uint32_t slot = mr_slab_take(&slab);

        ck_assert_uint_eq(slot, n);
        memcpy(row_at(&slab, slot)->id.b + 4, &n, sizeof n);
        mr_ids_add(&ids, slot);
        moving += ids.before.entries != NULL;
        if (n % 3 == 0) { /* one that came long before: in the smaller table, often */
            mr_ids_remove(&ids, n / 3 * 2);
            left--;
        }
        left++;
        ck_assert_uint_eq(ids.count, left);
        for (uint32_t at = n; at > 0;
             at /= 3) { /* while some have moved and some have not */
            struct mr_uuid id = row_at(&slab, at)->id;
            bool is_gone = at % 2 == 0 && at / 2 * 3 <= n;

            ck_assert_uint_eq(mr_ids_find(&ids, &id), is_gone ? 0 : at);
        }
    }
    ck_assert_uint_gt(moving, 1000);
    ck_assert_uint_eq(ids.level + 1, ids.levels);
    for (uint32_t n = 1; n <= N; n++) {
        struct mr_uuid id = row_at(&slab, n)->id;
        bool is_gone = n % 2 == 0 && n / 2 * 3 <= N;

        ck_assert_uint_eq(mr_ids_find(&ids, &id), is_gone ? 0 : n);
    }
    mr_ids_fini(&ids);
    mr_slab_fini(&slab);
}
END_TEST

START_TEST(names_are_numbers_and_idle_ones_make_room)
{
    struct mr_names names;
    bool is_new;
    uint16_t a, b;

    ck_assert_int_eq(mr_names_init(&names, 2, (struct mr_hash_key){1, 2}), MR_OK);
    a = mr_names_intern(&names, mr_span_str("a"), &is_new);
    ck_assert(a && is_new);
    ck_assert_uint_eq(mr_names_intern(&names, mr_span_str("a"), &is_new), a);
    ck_assert(!is_new);
    b = mr_names_intern(&names, mr_span_str("b"), &is_new);
    names.names[a].refs = 1;
    names.names[b].is_pinned = true;
    ck_assert_uint_eq(mr_names_intern(&names, mr_span_str("c"), &is_new), 0);
    ck_assert(!is_new);
    names.names[a].refs = 0;
    ck_assert_uint_eq(mr_names_intern(&names, mr_span_str("c"), &is_new), a);
    ck_assert(is_new);
    ck_assert_uint_eq(mr_names_find(&names, mr_span_str("a")), 0);
    ck_assert_uint_eq(mr_names_find(&names, mr_span_str("b")), b);
    ck_assert(mr_span_is(mr_names_text(&names, a), "c"));
    mr_names_fini(&names);
}
END_TEST

START_TEST(bad_names)
{
    char longest[65];

    memset(longest, 'x', 64);
    longest[64] = 0;
    ck_assert(mr_names_is_good(mr_span_str("ride.match-2_x")));
    ck_assert(mr_names_is_good(mr_span_str(longest)));
    ck_assert(mr_names_is_good(mr_span_str("stra\xc3\x9f"
                                           "e")));
    ck_assert(!mr_names_is_good(MR_SPAN_NONE));
    ck_assert(!mr_names_is_good(mr_span_str("a b")));
    ck_assert(!mr_names_is_good(mr_span_str("a\nb")));
    ck_assert(!mr_names_is_good(mr_span("a\0b", 3)));
    ck_assert(!mr_names_is_good(mr_span(longest, 65)));
}
END_TEST

START_TEST(the_pool_keeps_its_budget_and_its_blocks_apart)
{
    static const size_t sizes[] = {
        1, 64, 65, 96, 97, 128, 200, 1000, 5000, 32768, 32769, 100000};
    enum { N = sizeof sizes / sizeof *sizes };
    struct mr_pool pool;
    uint8_t *blocks[N];

    mr_pool_init(&pool, 1 << 20);
    ck_assert_uint_eq(mr_pool_cost(1), 64);
    ck_assert_uint_eq(mr_pool_cost(64), 64);
    ck_assert_uint_eq(mr_pool_cost(65), 96);
    ck_assert_uint_eq(mr_pool_cost(97), 128);
    ck_assert_uint_eq(mr_pool_cost(129), 192);
    ck_assert_uint_eq(mr_pool_cost(32768), 32768);
    ck_assert_uint_eq(mr_pool_cost(32769), 32769);
    for (size_t i = 0; i < N; i++) {
        blocks[i] = mr_pool_alloc(&pool, sizes[i]);
        ck_assert_ptr_nonnull(blocks[i]);
        memset(blocks[i], (int)i + 1, sizes[i]);
    }
    for (size_t i = 0; i < N; i++) {
        ck_assert_uint_eq(blocks[i][0], i + 1);
        ck_assert_uint_eq(blocks[i][sizes[i] - 1], i + 1);
        mr_pool_free(&pool, blocks[i], sizes[i]);
    }
    ck_assert_uint_eq(pool.bytes, 0);
    ck_assert_ptr_null(mr_pool_alloc(&pool, (1 << 20) + 1));
    mr_pool_fini(&pool);
}
END_TEST

START_TEST(the_pool_gives_empty_slabs_back)
{
    enum { N = 500000 };
    static uint8_t *blocks[N];
    struct mr_pool pool;
    uint32_t most;

    mr_pool_init(&pool, N * 64);
    for (size_t i = 0; i < N; i++)
        ck_assert_ptr_nonnull(blocks[i] = mr_pool_alloc(&pool, 50));
    ck_assert_ptr_null(mr_pool_alloc(&pool, 50));
    most = pool.slabs;
    ck_assert_uint_ge(most, 122); /* 500,000 * 64 bytes in slabs of 256 KiB */
    ck_assert_uint_le(most, 123);
    for (size_t i = 0; i < N; i++)
        mr_pool_free(&pool, blocks[i], 50);
    ck_assert_uint_eq(pool.slabs, 1 + MR_POOL_SPARES_MAX);
    mr_pool_fini(&pool);
}
END_TEST

/* 200,000 * 64 bytes are 49 slabs, 100,000 * 128 bytes another 49: no more than one crowd's. */
START_TEST(crowds_that_come_and_go_share_the_pools_slabs)
{
    enum { N = 200000, CROWDS = 6 };
    static uint8_t *blocks[N];
    struct mr_pool pool;

    mr_pool_init(&pool, (uint64_t)N * 64);
    for (size_t crowd = 0; crowd < CROWDS; crowd++) {
        size_t bytes = crowd % 2 ? 128 : 64, n = crowd % 2 ? N / 2 : N;

        for (size_t i = 0; i < n; i++)
            ck_assert_ptr_nonnull(blocks[i] = mr_pool_alloc(&pool, bytes));
        for (size_t i = 0; i < n; i++)
            mr_pool_free(&pool, blocks[i], bytes);
        ck_assert_uint_le(pool.slabs, 51);
    }
    mr_pool_fini(&pool);
}
END_TEST

static void
add(TCase *tcase)
{
    tcase_add_test(tcase, a_full_slab_says_so_and_takes_again_what_came_back);
    tcase_add_test(tcase, ids_are_found_until_they_are_removed);
    tcase_add_test(tcase, ids_stay_found_while_their_table_grows);
    tcase_add_test(tcase, names_are_numbers_and_idle_ones_make_room);
    tcase_add_test(tcase, bad_names);
    tcase_add_test(tcase, the_pool_keeps_its_budget_and_its_blocks_apart);
    tcase_add_test(tcase, the_pool_gives_empty_slabs_back);
    tcase_add_test(tcase, crowds_that_come_and_go_share_the_pools_slabs);
}

int
main(void)
{
    return rig_run("core/tables", add) != 0;
}
