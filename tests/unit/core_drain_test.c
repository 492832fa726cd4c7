/* Workers that are told to end, and those that end in order. */
#include "tests/unit/core_rig.h"

START_TEST(a_drained_worker_is_told_and_sent_nothing_more)
{
    struct rig rig;
    struct mr_uuid held, other;
    uint32_t cursor = 0;
    struct mr_core_worker_info info;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 4, 8, NULL);
    held = rig_sent_to(&rig, 2);
    mr_core_drain_worker(rig.core, rig.now, 2);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_DRAIN)->action.peer, 2);
    other = rig_ready(&rig);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, other), "ready");
    ck_assert(mr_core_next_worker(rig.core, &cursor, &info) && info.is_draining);
    rig_report(&rig, 2, held, 1, MR_DID_SUCCEED); /* what it has, it may finish */
    ck_assert_uint_eq(rig_stats(&rig).succeeded, 1);
    rig_worker(&rig, 3, 4, 8, NULL);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_JOB)->action.peer, 3);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_DRAIN), 1);
    rig_stop(&rig);
}
END_TEST

/* The word may have been lost with the connection. Another process is not meant. */
START_TEST(a_drained_worker_that_connects_again_is_told_again)
{
    struct rig rig;
    struct mr_uuid id;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 4, NULL);
    mr_core_drain_worker(rig.core, rig.now, 2);
    rig_worker(&rig, 2, 1, 4, NULL);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_DRAIN), 2);
    id = rig_ready(&rig);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, id), "ready");
    rig_worker(&rig, 3, 1, 4, NULL);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_DRAIN), 2);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_JOB)->action.peer, 3);
    rig_stop(&rig);
}
END_TEST

/* It ends for a reason of its own: nobody has to tell it. */
START_TEST(a_worker_that_says_so_is_sent_nothing_more)
{
    struct rig rig;
    struct mr_uuid id;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 4, 8, NULL);
    id = rig_sent_to(&rig, 2);
    mr_core_worker_ends(rig.core, rig.now, 2);
    mr_core_worker_ends(rig.core, rig.now, 0); /* a client */
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_DRAIN), 0);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_DROP_PEER), 0); /* it is still there */
    rig_report(&rig, 2, id, 1, MR_DID_GIVE_BACK);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, id), "ready");
    rig_stop(&rig);
}
END_TEST

START_TEST(only_workers_can_be_drained)
{
    struct rig rig;

    rig_init(&rig);
    rig_start(&rig);
    mr_core_drain_worker(rig.core, rig.now, 0); /* a client */
    mr_core_drain_worker(rig.core, rig.now, 5); /* nobody */
    mr_core_drain_worker(rig.core, rig.now, UINT32_MAX);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_DRAIN), 0);
    rig_stop(&rig);
}
END_TEST

START_TEST(why_a_job_waits_for_an_ending_worker)
{
    struct rig rig;
    struct mr_uuid id;
    char text[256];

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 4, NULL);
    mr_core_drain_worker(rig.core, rig.now, 2);
    id = rig_ready(&rig);
    ck_assert_int_eq(mr_core_explain(rig.core, rig.now, id, text, sizeof text), MR_OK);
    ck_assert_str_eq(
        text, "every worker that offers kind k is ending (1); start another one");
    rig_stop(&rig);
}
END_TEST

/* Said BYE with something in hand: no row, no loss, but the database is asked. */
START_TEST(what_an_ending_worker_holds_is_handed_back)
{
    struct rig rig;
    struct mr_uuid ids[3];

    rig_init(&rig);
    rig.conf.losses_max = 1;
    rig_start(&rig);
    rig_worker(&rig, 2, 3, 3, NULL);
    for (int i = 0; i < 3; i++) {
        ids[i] = rig_sent_to(&rig, 2);
        rig_move(&rig, 1000);
    }
    rig_forget(&rig);
    mr_core_says_bye(rig.core, rig.now, 2, mr_span_str("stopped"));
    mr_core_check(rig.core);
    ck_assert_int_eq(rig.said[0].action.act, MR_ACT_END_SESSIONS);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_STORE), 0);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_FIND), 3);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_DROP_PEER)->action.peer, 2);
    rig_worker(&rig, 3, 3, 3, NULL);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 0);
    rig_answer_find(&rig, ids[2], false);
    rig_answer_find(&rig, ids[0], true); /* its commit stands */
    rig_answer_find(&rig, ids[1], false);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 2);
    ck_assert(mr_uuid_eq(rig_nth(&rig, MR_ACT_JOB, 0)->job.id, ids[1]));
    ck_assert(mr_uuid_eq(rig_nth(&rig, MR_ACT_JOB, 1)->job.id, ids[2]));
    ck_assert_uint_eq(rig_nth(&rig, MR_ACT_JOB, 1)->job.attempt, 2);
    ck_assert_uint_eq(rig_stats(&rig).given_back, 3);
    ck_assert_uint_eq(rig_stats(&rig).lost, 0);
    ck_assert_uint_eq(rig_stats(&rig).quarantined, 0);
    ck_assert_uint_eq(rig_stats(&rig).succeeded, 1);
    rig_stop(&rig);
}
END_TEST

START_TEST(handed_back_and_cancelled_is_cancelled)
{
    struct rig rig;
    struct mr_uuid id;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 4, NULL);
    id = rig_sent_to(&rig, 2);
    mr_core_cancel(rig.core, rig.now, 0, 5, id, MR_SCOPE_ANY);
    mr_core_says_bye(rig.core, rig.now, 2, mr_span_str("stopped"));
    rig_answer_find(&rig, id, false);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_STORE)->op.outcome, MR_OUT_CANCELLED);
    rig_commit(&rig);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_REPLY)->action.code, MR_OK);
    rig_stop(&rig);
}
END_TEST

static void
add(TCase *tcase)
{
    tcase_add_test(tcase, a_drained_worker_is_told_and_sent_nothing_more);
    tcase_add_test(tcase, a_drained_worker_that_connects_again_is_told_again);
    tcase_add_test(tcase, a_worker_that_says_so_is_sent_nothing_more);
    tcase_add_test(tcase, only_workers_can_be_drained);
    tcase_add_test(tcase, why_a_job_waits_for_an_ending_worker);
    tcase_add_test(tcase, what_an_ending_worker_holds_is_handed_back);
    tcase_add_test(tcase, handed_back_and_cancelled_is_cancelled);
}

int
main(void)
{
    return rig_run("core/drain", add) != 0;
}
