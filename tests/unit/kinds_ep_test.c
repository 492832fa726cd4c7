/* Published figures of the NAS Parallel Benchmarks, EP class S (2^24 pairs). */
#include "worker/kinds/ep.h"

#include <check.h>

#include <math.h>
#include <stdlib.h>

static const int64_t published_counts[MR_EP_RINGS] = {
    6140517, 5865300, 1100361, 68546, 1648, 17, 0, 0, 0, 0};
static const int64_t published_pairs = 13176389;
static const double published_sx = -3.247834652034740e3, published_sy = -6.958407078382e3;

static void
sum(uint64_t blocks, struct mr_ep *total)
{
    struct mr_ep block;

    *total = (struct mr_ep){.pairs = 0};
    for (uint64_t k = 0; k < blocks; k++) {
        ck_assert(mr_ep_block(24, k, blocks, NULL, NULL, &block));
        total->pairs += block.pairs;
        total->sx += block.sx;
        total->sy += block.sy;
        for (int i = 0; i < MR_EP_RINGS; i++)
            total->counts[i] += block.counts[i];
    }
}

START_TEST(class_s_in_256_blocks)
{
    struct mr_ep total;

    sum(256, &total);
    ck_assert_int_eq(total.pairs, published_pairs);
    for (int i = 0; i < MR_EP_RINGS; i++)
        ck_assert_int_eq(total.counts[i], published_counts[i]);
    ck_assert(fabs((total.sx - published_sx) / published_sx) < 1e-8);
    ck_assert(fabs((total.sy - published_sy) / published_sy) < 1e-8);
}
END_TEST

START_TEST(the_cut_does_not_matter)
{
    struct mr_ep total;

    sum(2, &total);
    ck_assert_int_eq(total.pairs, published_pairs);
    for (int i = 0; i < MR_EP_RINGS; i++)
        ck_assert_int_eq(total.counts[i], published_counts[i]);
}
END_TEST

static bool
stop(const void *context)
{
    return context != NULL;
}

START_TEST(a_block_can_be_stopped)
{
    struct mr_ep block;
    int yes = 1;

    ck_assert(!mr_ep_block(20, 0, 1, stop, &yes, &block));
    ck_assert(mr_ep_block(20, 0, 1, stop, NULL, &block));
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("kinds/ep");
    TCase *tcase = tcase_create("ep");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, class_s_in_256_blocks);
    tcase_add_test(tcase, the_cut_does_not_matter);
    tcase_add_test(tcase, a_block_can_be_stopped);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
