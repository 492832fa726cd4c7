/* What a seed decides: faults and jobs. */
#include <check.h>

#include <stdlib.h>
#include <string.h>

#include "tests/chaos/dice.h"
#include "tests/chaos/jobs.h"
#include "tests/chaos/schedule.h"

#define MINUTE_US INT64_C(60000000)

static struct mr_schedule
make(uint64_t seed, int64_t length_us, const char *faults)
{
    struct mr_schedule schedule;
    struct mr_err err = {0};

    ck_assert_msg(mr_schedule_make(&schedule, seed, length_us, faults, &err) == MR_OK,
        "%s: %s", err.what, err.why);
    return schedule;
}

static uint32_t
count(const struct mr_schedule *schedule, enum mr_fault first, enum mr_fault last)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < schedule->count; i++)
        n += schedule->events[i].fault >= first && schedule->events[i].fault <= last;
    return n;
}

/* The generator's published first outputs for the state 1234567. */
START_TEST(dice_are_splitmix64)
{
    static const uint64_t published[] = {UINT64_C(6457827717110365317),
        UINT64_C(3203168211198807973), UINT64_C(9817491932198370423),
        UINT64_C(4593380528125082431), UINT64_C(16408922859458223821)};
    struct mr_dice dice = {1234567};
    bool seen[6] = {false};

    for (int i = 0; i < 5; i++)
        ck_assert_uint_eq(mr_dice_next(&dice), published[i]);
    for (int i = 0; i < 1000; i++)
        seen[mr_dice_between(&dice, 0, 5)] = true;
    for (int i = 0; i < 6; i++)
        ck_assert(seen[i]);
    ck_assert_uint_eq(mr_dice_below(&dice, 1), 0);
}
END_TEST

START_TEST(a_seed_is_a_schedule)
{
    struct mr_schedule one = make(7, 2 * MINUTE_US, NULL);
    struct mr_schedule same = make(7, 2 * MINUTE_US, NULL);
    struct mr_schedule other = make(8, 2 * MINUTE_US, NULL);

    ck_assert_uint_eq(one.count, same.count);
    ck_assert_mem_eq(one.events, same.events, one.count * sizeof *one.events);
    ck_assert_uint_eq(one.count, other.count);
    ck_assert_int_ne(one.events[0].at_us, other.events[0].at_us);
    for (uint32_t i = 1; i < one.count; i++)
        ck_assert_int_le(one.events[i - 1].at_us, one.events[i].at_us);
    ck_assert_int_lt(one.events[one.count - 1].at_us, 2 * MINUTE_US);
    mr_schedule_free(&one);
    mr_schedule_free(&same);
    mr_schedule_free(&other);
}
END_TEST

/* In 20 seeds of two minutes: 2,000 kills, 500 freezes, 200 database crashes, 200 cuts. */
START_TEST(two_minutes_have_enough_of_each)
{
    struct mr_schedule schedule = make(1, 2 * MINUTE_US, NULL);
    struct mr_schedule shorter = make(1, MINUTE_US / 10, NULL);

    ck_assert_uint_ge(count(&schedule, MR_FAULT_KILL_WORKER, MR_FAULT_KILL_CLIENT), 100);
    ck_assert_uint_ge(
        count(&schedule, MR_FAULT_FREEZE_WORKER, MR_FAULT_FREEZE_BROKER), 25);
    ck_assert_uint_ge(count(&schedule, MR_FAULT_DB_CRASH, MR_FAULT_DB_PANIC), 10);
    ck_assert_uint_ge(count(&schedule, MR_FAULT_CUT_WORKER, MR_FAULT_CUT_WORKER_DB), 10);
    for (int fault = 0; fault < MR_FAULTS; fault++)
        ck_assert_uint_ge(count(&shorter, (enum mr_fault)fault, (enum mr_fault)fault), 1);
    mr_schedule_free(&schedule);
    mr_schedule_free(&shorter);
}
END_TEST

START_TEST(faults_can_be_chosen)
{
    struct mr_schedule all = make(5, MINUTE_US, NULL);
    struct mr_schedule some = make(5, MINUTE_US, "kill-broker,db-crash");
    struct mr_err err = {0};
    struct mr_schedule bad;
    uint32_t n = 0;

    ck_assert_uint_eq(
        some.count, count(&all, MR_FAULT_KILL_BROKER, MR_FAULT_KILL_BROKER) +
                        count(&all, MR_FAULT_DB_CRASH, MR_FAULT_DB_CRASH));
    /* At the same moments as among all of them. */
    for (uint32_t i = 0; i < all.count; i++)
        if (all.events[i].fault == MR_FAULT_KILL_BROKER ||
            all.events[i].fault == MR_FAULT_DB_CRASH)
            ck_assert_int_eq(all.events[i].at_us, some.events[n++].at_us);
    ck_assert_int_eq(mr_schedule_make(&bad, 5, MINUTE_US, "kill-worker,sabotage", &err),
        MR_BAD_ARGUMENT);
    ck_assert_str_eq(err.why, "sabotage");
    ck_assert_int_eq(mr_schedule_make(&bad, 5, 1000, NULL, &err), MR_BAD_ARGUMENT);
    mr_schedule_free(&all);
    mr_schedule_free(&some);
}
END_TEST

static void
ck_same_body(const struct mr_chaos_job *a, const struct mr_chaos_job *b, bool is_same)
{
    ck_assert_int_eq(
        a->body.n == b->body.n && memcmp(a->body.bytes, b->body.bytes, a->body.n) == 0,
        is_same);
}

START_TEST(a_number_is_a_job)
{
    struct mr_chaos_job job, same, other, forged;

    mr_chaos_job_make(&job, 1, 3, 17, 0, false);
    mr_chaos_job_make(&same, 1, 3, 17, 1, false);
    mr_chaos_job_make(&other, 1, 4, 17, 0, false);
    mr_chaos_job_make(&forged, 1, 3, 17, 0, true);
    ck_assert_str_eq(job.job.kind, same.job.kind);
    ck_same_body(&job, &same, true);
    ck_same_body(&job, &other, false);
    ck_assert_str_eq(job.job.kind, forged.job.kind);
    ck_same_body(&job, &forged, false);
    mr_chaos_job_free(&job);
    mr_chaos_job_free(&same);
    mr_chaos_job_free(&other);
    mr_chaos_job_free(&forged);
}
END_TEST

START_TEST(twins_are_one_job_of_two_clients)
{
    const int64_t base_ms = INT64_C(1795000000000);
    struct mr_chaos_job one, other, third;
    char text[MILLRACE_ID_TEXT];
    struct millrace_id id;

    mr_chaos_job_make(&one, 1, 4, MR_CHAOS_TWINS + 9, base_ms, false);
    mr_chaos_job_make(&other, 1, 5, MR_CHAOS_TWINS + 9, base_ms, false);
    mr_chaos_job_make(&third, 1, 6, MR_CHAOS_TWINS + 9, base_ms, false);
    ck_assert_mem_eq(one.job.id.b, other.job.id.b, 16);
    ck_same_body(&one, &other, true);
    ck_assert_mem_ne(one.job.id.b, third.job.id.b, 16);
    ck_assert_int_eq(
        millrace_id_parse(millrace_id_format(&one.job.id, text), &id), MILLRACE_OK);
    mr_chaos_job_free(&one);
    mr_chaos_job_free(&other);
    mr_chaos_job_free(&third);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("chaos/schedule");
    TCase *tcase = tcase_create("schedule");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, dice_are_splitmix64);
    tcase_add_test(tcase, a_seed_is_a_schedule);
    tcase_add_test(tcase, two_minutes_have_enough_of_each);
    tcase_add_test(tcase, faults_can_be_chosen);
    tcase_add_test(tcase, a_number_is_a_job);
    tcase_add_test(tcase, twins_are_one_job_of_two_clients);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
