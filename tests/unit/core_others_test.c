/*
 * What other brokers over ZeroMQ got wrong, as their users reported it: each of these tests would be red
 * if we had that bug.
 */
#include "tests/unit/core_rig.h"

#include <malloc.h>

#define MANY 5000

static struct mr_uuid
ready_of(struct rig *rig, const char *kind)
{
    struct mr_job_new job = rig_job(rig);

    job.kind = mr_span_str(kind);
    return rig_accept(rig, &job);
}

static struct mr_uuid
last_sent(struct rig *rig, uint32_t peer, const char *kind)
{
    const struct rig_said *said = rig_last(rig, MR_ACT_JOB);

    ck_assert_ptr_nonnull(said);
    ck_assert_uint_eq(said->action.peer, peer);
    ck_assert_str_eq(said->kind, kind);
    return said->job.id;
}

/* zeromq/majordomo, 73: queued requests stay queued because the end of one starts none. Nothing
 * comes from the worker but its report: the credit was given before. */
START_TEST(the_end_of_one_starts_the_next)
{
    struct mr_offer one = {.kind = mr_span_str("k"), .running_max = 1};
    struct rig rig;
    struct mr_uuid ids[4];

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 4, 100, &one);
    for (int i = 0; i < 4; i++)
        ids[i] = rig_ready(&rig);
    for (int i = 0; i < 4; i++) {
        rig_tick(&rig);
        ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), (uint32_t)i + 1);
        ck_assert(mr_uuid_eq(last_sent(&rig, 2, "k"), ids[i]));
        /* However it ends. */
        rig_report(&rig, 2, ids[i], 1, i % 2 ? MR_DID_FAIL_FOR_GOOD : MR_DID_SUCCEED);
        rig_commit(&rig);
    }
    ck_assert_uint_eq(rig_stats(&rig).jobs, 0);
    rig_stop(&rig);
}
END_TEST

/* zeromq/majordomo, 61: a worker that is through comes back to the list of another service. */
START_TEST(a_worker_that_is_through_gets_what_it_offers)
{
    struct mr_offer offers[2] = {{.kind = mr_span_str("a")}, {.kind = mr_span_str("b")}};
    struct rig rig;

    rig_init(&rig);
    rig_start(&rig);
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_int_eq(mr_core_knows_kind(rig.core, offers[i].kind), MR_OK);
        rig_worker(&rig, 2 + i, 1, 100, &offers[i]);
    }
    for (uint32_t i = 0; i < 20; i++) {
        uint32_t which = i / 2 % 2;
        struct mr_uuid id = ready_of(&rig, which ? "b" : "a");

        rig_tick(&rig);
        ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), i + 1);
        ck_assert(mr_uuid_eq(last_sent(&rig, 2 + which, which ? "b" : "a"), id));
        rig_report(&rig, 2 + which, id, 1, MR_DID_SUCCEED);
    }
    /* With its own worker gone a job waits; the other, idle, does not get it. */
    mr_core_leaves(rig.core, rig.now, 2, mr_span_str("bye"));
    ck_assert_str_eq(rig_state(&rig, ready_of(&rig, "a")), "ready");
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 20);
    rig_stop(&rig);
}
END_TEST

/* zeromq/malamute, 89: what was sent to a worker that is dead is gone. All of it comes again,
 * what it ran and what it had not begun, in its order. */
START_TEST(what_a_dead_worker_was_sent_comes_again)
{
    struct rig rig;
    struct mr_uuid ids[5];

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 2, 5, NULL);
    for (int i = 0; i < 5; i++)
        ids[i] = rig_sent_to(&rig, 2);
    mr_core_leaves(rig.core, rig.now, 2, mr_span_str("died"));
    rig_worker(&rig, 3, 5, 5, NULL);
    rig_commit(&rig);
    for (int i = 0; i < 5; i++)
        rig_answer_find(&rig, ids[i], false);
    rig_forget(&rig);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 5);
    for (uint32_t i = 0; i < 5; i++) {
        const struct rig_said *said = rig_nth(&rig, MR_ACT_JOB, i);

        ck_assert(mr_uuid_eq(said->job.id, ids[i]));
        ck_assert_uint_eq(said->job.attempt, 2);
    }
    rig_stop(&rig);
}
END_TEST

static void
run_many(struct rig *rig)
{
    for (int i = 0; i < MANY; i++) {
        struct mr_uuid id = rig_sent_to(rig, 2);

        mr_core_watch(rig->core, rig->now, 0, id, true, MR_SCOPE_ANY);
        rig_report(rig, 2, id, 1, i % 3 ? MR_DID_SUCCEED : MR_DID_FAIL_FOR_GOOD);
        rig_commit(rig);
        rig_forget(rig);
    }
}

/* zeromq/malamute, 93 and 45: memory grows with what was done until the kernel ends the broker.
 * (Of the whole process: tests/integration/26_frugal_test.c.) */
START_TEST(memory_does_not_grow_with_what_is_done)
{
    struct rig rig;
    struct mr_core_stats stats;
    size_t before;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, UINT32_MAX, NULL);
    run_many(&rig);
    before = mallinfo2().uordblks;
    for (int i = 0; i < 3; i++)
        run_many(&rig);
    ck_assert_uint_le(mallinfo2().uordblks, before);
    stats = rig_stats(&rig);
    ck_assert_uint_eq(stats.succeeded + stats.failed, 4 * MANY);
    ck_assert_uint_eq(stats.jobs + stats.watches + stats.lanes, 0);
    ck_assert_uint_eq(stats.payload_bytes, 0);
    rig_stop(&rig);
}
END_TEST

/* zeromq/malamute, 311: the broker asserts when a worker leaves. Here in each state that a job of
 * its may be in, with others queued for it, twice, and without ever having been there. */
START_TEST(workers_leave_whenever_they_like)
{
    static const enum mr_report reports[] = {
        MR_DID_FAIL, MR_DID_SNOOZE, MR_DID_GIVE_BACK, MR_DID_TIME_OUT, MR_DID_CRASH};
    struct rig rig;

    rig_init(&rig);
    rig_start(&rig);
    for (uint32_t i = 0; i < 2 + sizeof reports / sizeof reports[0]; i++) {
        struct mr_uuid id;

        rig_worker(&rig, 2, 1, 1, NULL);
        id = rig_sent_to(&rig, 2);
        (void)rig_ready(&rig);
        rig_tick(&rig);
        if (i == 0)
            mr_core_cancel(rig.core, rig.now, 0, 5, id, MR_SCOPE_ANY);
        else if (i > 1)
            rig_report(&rig, 2, id, 1, reports[i - 2]);
        for (int n = 0; n < 2; n++) { /* its row is still on its way */
            mr_core_leaves(rig.core, rig.now, 2, mr_span_str("bye"));
            mr_core_check(rig.core);
        }
        mr_core_leaves(rig.core, rig.now, 7, mr_span_str("never came"));
        mr_core_leaves(rig.core, rig.now, 9999, mr_span_str("no such peer"));
        rig_commit(&rig);
        rig_tick(&rig);
        rig_stop(&rig);
        rig_init(&rig);
        rig_start(&rig);
    }
    ck_assert_uint_eq(rig_stats(&rig).workers, 0);
    rig_stop(&rig);
}
END_TEST

static void
add(TCase *tcase)
{
    tcase_add_test(tcase, the_end_of_one_starts_the_next);
    tcase_add_test(tcase, a_worker_that_is_through_gets_what_it_offers);
    tcase_add_test(tcase, what_a_dead_worker_was_sent_comes_again);
    tcase_add_test(tcase, memory_does_not_grow_with_what_is_done);
    tcase_add_test(tcase, workers_leave_whenever_they_like);
}

int
main(void)
{
    return rig_run("core/others", add) != 0;
}
