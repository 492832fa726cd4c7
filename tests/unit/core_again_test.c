/* Submitted again, stored again: what the simulator found. */
#include "tests/unit/core_rig.h"

static enum mr_status
nth_verdict(struct rig *rig, uint32_t n)
{
    const struct rig_said *ack = rig_nth(rig, MR_ACT_ACK, n);

    ck_assert_ptr_nonnull(ack);
    return ack->action.verdict_count ? ack->verdicts[0].code : MR_OK;
}

/* Its row was held by somebody else for so long that the batch was committed without it. */
START_TEST(a_result_that_met_a_busy_row_is_stored_again)
{
    struct rig rig;
    struct mr_uuid id;
    struct rig_said *again;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 5, NULL);
    id = rig_sent_to(&rig, 2);
    mr_core_watch(rig.core, rig.now, 0, id, true, MR_SCOPE_ANY);
    rig_forget(&rig);
    rig_report(&rig, 2, id, 1, MR_DID_FAIL_FOR_GOOD);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_STORE), 2);
    rig_answer(&rig, MR_OK);
    rig_answer(&rig, MR_BUSY);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_EVENT), 0);
    ck_assert_str_eq(rig_state(&rig, id), "settling");
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_STORE), 3);
    again = rig_last(&rig, MR_ACT_STORE);
    ck_assert_int_eq(again->op.outcome, MR_FAILED);
    ck_assert_int_eq(again->op.status, MR_OK);
    rig_commit(&rig);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.type, MR_EVENT_FINISHED);
    ck_assert_uint_eq(rig_stats(&rig).jobs, 0);
    rig_stop(&rig);
}
END_TEST

START_TEST(an_attempt_that_met_a_busy_row_is_stored_again)
{
    struct rig rig;
    struct mr_uuid id;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 5, NULL);
    id = rig_sent_to(&rig, 2);
    rig_forget(&rig);
    rig_report(&rig, 2, id, 1, MR_DID_FAIL);
    rig_answer(&rig, MR_BUSY);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_STORE), 2);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_ACK), 0);
    rig_commit(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_ACK), 1);
    ck_assert_int_eq(nth_verdict(&rig, 0), MR_OK);
    ck_assert_str_eq(rig_state(&rig, id), "waiting");
    rig_stop(&rig);
}
END_TEST

/* A delay counts from when the job was sent for the first time, so a repeat says nothing about
 * whether it may still start. */
START_TEST(a_repeat_of_a_delayed_job_is_judged_by_the_database)
{
    struct rig rig;
    struct mr_job_new job;

    rig_init(&rig);
    rig_start(&rig);
    job = rig_job(&rig);
    job.delay_ms = 1000;
    job.expires_at_us = RIG_WALL_US + 1500000;
    rig_move(&rig, 600000);
    rig_forget(&rig);
    rig_submit(&rig, 0, &job);
    ck_assert_int_eq(nth_verdict(&rig, 0), MR_BAD_ARGUMENT);
    rig_forget(&rig);
    rig_submit(&rig, MR_SUBMIT_RESENT, &job);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_STORE), 1);
    rig_answer(&rig, MR_FINISHED);
    ck_assert_int_eq(nth_verdict(&rig, 0), MR_FINISHED);
    rig_stop(&rig);
}
END_TEST

/* Loaded without its payload, submitted again, and finished by a worker before the payload was
 * read: whoever waits for the comparison is told to come again. */
START_TEST(a_repeat_whose_job_was_finished_meanwhile_comes_again)
{
    struct rig rig;
    struct mr_job_new job;
    struct mr_stored_job row;

    rig_init(&rig);
    ck_assert_int_eq(mr_core_new(&rig.core, &rig.conf, rig_on_action, &rig), MR_OK);
    ck_assert_int_eq(mr_core_knows_kind(rig.core, mr_span_str("k")), MR_OK);
    ck_assert_int_eq(
        mr_core_client_joins(rig.core, rig.now, 0, 0, mr_span_str("client")), MR_OK);
    job = rig_job(&rig);
    row = (struct mr_stored_job){.job = job, .submitted_by = RIG_OWNER};
    row.job.payload = MR_SPAN_NONE;
    ck_assert_int_eq(mr_core_loaded(rig.core, rig.now, &row), MR_OK);
    mr_core_load_done(rig.core, rig.now);
    rig_submit(&rig, MR_SUBMIT_RESENT, &job);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_READ), 1);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_ACK), 0);
    mr_core_read_back(rig.core, rig.now, job.id, NULL);
    mr_core_check(rig.core);
    ck_assert_int_eq(nth_verdict(&rig, 0), MR_BUSY);
    rig_stop(&rig);
}
END_TEST

/* While jobs are still being loaded, somebody submits another body under the id of one of them. The
 * row waits for the verdict on that, and is there when it is refused. */
START_TEST(a_row_waits_for_what_is_being_stored_under_its_id)
{
    struct rig rig;
    struct mr_job_new job, forged;
    struct mr_stored_job row;

    rig_init(&rig);
    rig_start(&rig);
    forged = job = rig_job(&rig);
    forged.payload = mr_span_str("\xc2");
    row = (struct mr_stored_job){.job = job, .submitted_by = RIG_OWNER};
    rig_submit(&rig, MR_SUBMIT_RESENT, &forged);
    ck_assert_int_eq(mr_core_loaded(rig.core, rig.now, &row), MR_BUSY);
    rig_answer(&rig, MR_CONFLICT);
    ck_assert_uint_eq(rig_stats(&rig).jobs, 0);
    ck_assert_int_eq(mr_core_loaded(rig.core, rig.now, &row), MR_OK);
    ck_assert_str_eq(rig_state(&rig, job.id), "ready");
    ck_assert_int_eq(mr_core_loaded(rig.core, rig.now, &row), MR_OK); /* it is there */
    rig_stop(&rig);
}
END_TEST

static void
add(TCase *tcase)
{
    tcase_add_test(tcase, a_result_that_met_a_busy_row_is_stored_again);
    tcase_add_test(tcase, an_attempt_that_met_a_busy_row_is_stored_again);
    tcase_add_test(tcase, a_repeat_of_a_delayed_job_is_judged_by_the_database);
    tcase_add_test(tcase, a_repeat_whose_job_was_finished_meanwhile_comes_again);
    tcase_add_test(tcase, a_row_waits_for_what_is_being_stored_under_its_id);
}

int
main(void)
{
    return rig_run("core/again", add);
}
