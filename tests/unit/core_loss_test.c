/* Attempts that ended with their worker or their process, and jobs that end those. */
#include "tests/unit/core_rig.h"

/* ---- a process that ended under an attempt ------------------------------------------------------ */

START_TEST(a_crashed_attempt_is_recorded_then_looked_up_then_run_again)
{
    struct rig rig;
    struct mr_uuid id, other;
    const struct rig_said *said;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 2, 4, NULL);
    id = rig_sent_to(&rig, 2);
    other = rig_sent_to(&rig, 2);
    rig_forget(&rig);
    rig_report(&rig, 2, id, 1, MR_DID_CRASH);
    said = rig_last(&rig, MR_ACT_STORE);
    ck_assert_int_eq(said->op.attempt_outcome, MR_ATTEMPT_CRASHED);
    ck_assert_uint_eq(said->op.attempt, 1);
    ck_assert_str_eq(said->text, "oops");
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_ACK), 0); /* not before it is durable */
    rig_commit(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_ACK), 1);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_FIND), 1);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 0);
    rig_answer_find(&rig, id, false);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_JOB)->job.attempt, 2);
    /* Nothing else of the worker's is touched. */
    ck_assert_str_eq(rig_state(&rig, other), "running");
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_END_SESSIONS), 0);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_DROP_PEER), 0);
    ck_assert_uint_eq(rig_stats(&rig).crashed, 1);
    ck_assert_uint_eq(rig_stats(&rig).lost, 0);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_crashed_attempt_may_have_committed)
{
    struct rig rig;
    struct mr_uuid id;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 4, NULL);
    id = rig_sent_to(&rig, 2);
    mr_core_watch(rig.core, rig.now, 0, id, true);
    rig_report(&rig, 2, id, 1, MR_DID_CRASH);
    rig_commit(&rig);
    rig_answer_find(&rig, id, true);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.outcome, MR_SUCCEEDED);
    ck_assert_uint_eq(rig_stats(&rig).jobs, 0);
    rig_stop(&rig);
}
END_TEST

START_TEST(who_waits_hears_that_it_crashed)
{
    struct rig rig;
    struct mr_uuid id;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 4, NULL);
    id = rig_sent_to(&rig, 2);
    mr_core_watch(rig.core, rig.now, 0, id, true);
    rig_report(&rig, 2, id, 1, MR_DID_CRASH);
    rig_commit(&rig);
    rig_answer_find(&rig, id, false);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.type, MR_EVENT_RETRYING);
    ck_assert_str_eq(rig_last(&rig, MR_ACT_EVENT)->text, "its process ended under it");
    rig_tick(&rig);
    mr_core_leaves(
        rig.core, rig.now, 2, mr_span_str("died")); /* the next time it is not */
    rig_commit(&rig);
    rig_answer_find(&rig, id, false);
    ck_assert_str_eq(rig_last(&rig, MR_ACT_EVENT)->text, "lost with its worker");
    rig_stop(&rig);
}
END_TEST

/* One failure is permitted: crashes are no failures, and three of them are the end all the same. */
START_TEST(crashes_count_as_losses_and_not_as_failures)
{
    struct rig rig;
    struct mr_job_new job;

    rig_init(&rig);
    rig.conf.losses_max = 3;
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 4, NULL);
    job = rig_job(&rig);
    job.attempts_max = 1;
    rig_accept(&rig, &job);
    for (uint32_t attempt = 1; attempt <= 3; attempt++) {
        rig_tick(&rig);
        ck_assert_str_eq(rig_state(&rig, job.id), "running");
        rig_report(&rig, 2, job.id, attempt, MR_DID_CRASH);
        rig_commit(&rig);
        rig_answer_find(&rig, job.id, false);
    }
    ck_assert_int_eq(rig_last(&rig, MR_ACT_STORE)->op.outcome, MR_FAILED);
    rig_commit(&rig);
    ck_assert_uint_eq(rig_stats(&rig).jobs, 0);
    ck_assert_uint_eq(rig_stats(&rig).quarantined, 1);
    rig_stop(&rig);
}
END_TEST

START_TEST(what_crashed_and_is_cancelled_is_cancelled)
{
    struct rig rig;
    struct mr_uuid id;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 4, NULL);
    id = rig_sent_to(&rig, 2);
    mr_core_cancel(rig.core, rig.now, 0, 5, id);
    rig_report(&rig, 2, id, 1, MR_DID_CRASH);
    rig_commit(&rig);
    rig_answer_find(&rig, id, false);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_STORE)->op.outcome, MR_OUT_CANCELLED);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REPLY), 0); /* not before it is durable */
    rig_commit(&rig);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_REPLY)->action.code, MR_OK);
    rig_stop(&rig);
}
END_TEST

/* ---- quarantine --------------------------------------------------------------------------------- */

START_TEST(a_job_that_kills_its_workers_is_quarantined)
{
    struct rig rig;
    struct mr_uuid id;

    rig_init(&rig);
    rig.conf.losses_max = 3;
    rig_start(&rig);
    id = rig_ready(&rig);
    for (uint32_t loss = 1; loss <= 3; loss++) {
        rig_worker(&rig, 2, 1, 4, NULL);
        rig_tick(&rig);
        ck_assert_str_eq(rig_state(&rig, id), "running");
        mr_core_leaves(rig.core, rig.now, 2, mr_span_str("died"));
        rig_commit(&rig);
        rig_answer_find(&rig, id, false);
    }
    ck_assert_int_eq(rig_last(&rig, MR_ACT_STORE)->op.outcome, MR_FAILED);
    ck_assert_str_eq(
        rig_last(&rig, MR_ACT_STORE)->text, "quarantined: lost with its worker 3 times");
    rig_commit(&rig);
    ck_assert_uint_eq(rig_stats(&rig).jobs, 0);
    ck_assert_uint_eq(rig_stats(&rig).quarantined, 1);
    rig_stop(&rig);
}
END_TEST

/* Two that were lost together again and again: apart from then on, so that only the one at fault
 * is lost once more. */
START_TEST(what_may_end_a_worker_is_sent_alone)
{
    struct rig rig;
    struct mr_uuid bad, good, fresh;

    rig_init(&rig);
    rig.conf.losses_max = 3;
    rig_start(&rig);
    bad = rig_ready(&rig);
    good = rig_ready(&rig);
    for (uint32_t loss = 1; loss <= 2; loss++) {
        rig_worker(&rig, 2, 2, 4, NULL);
        rig_tick(&rig);
        ck_assert_str_eq(rig_state(&rig, bad), "running");
        ck_assert_str_eq(rig_state(&rig, good), "running");
        mr_core_leaves(rig.core, rig.now, 2, mr_span_str("died"));
        rig_commit(&rig);
        rig_answer_find(&rig, bad, false);
        rig_answer_find(&rig, good, false);
    }
    rig_worker(&rig, 2, 2, 4, NULL);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, bad), "running");
    ck_assert_str_eq(rig_state(&rig, good), "ready");
    mr_core_leaves(rig.core, rig.now, 2, mr_span_str("died"));
    rig_commit(&rig);
    rig_answer_find(&rig, bad, false);
    ck_assert_uint_eq(rig_stats(&rig).quarantined, 1);
    rig_commit(&rig);
    fresh = rig_ready(&rig);
    rig_worker(&rig, 2, 2, 4, NULL);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, good), "running");
    ck_assert_str_eq(rig_state(&rig, fresh), "running");
    rig_stop(&rig);
}
END_TEST

static void
add(TCase *tcase)
{
    tcase_add_test(tcase, a_crashed_attempt_is_recorded_then_looked_up_then_run_again);
    tcase_add_test(tcase, a_crashed_attempt_may_have_committed);
    tcase_add_test(tcase, who_waits_hears_that_it_crashed);
    tcase_add_test(tcase, crashes_count_as_losses_and_not_as_failures);
    tcase_add_test(tcase, what_crashed_and_is_cancelled_is_cancelled);
    tcase_add_test(tcase, a_job_that_kills_its_workers_is_quarantined);
    tcase_add_test(tcase, what_may_end_a_worker_is_sent_alone);
}

int
main(void)
{
    return rig_run("core/loss", add) != 0;
}
