/* The way of a job through the core, and each turn it may take. */
#include "tests/unit/core_rig.h"

START_TEST(a_job_is_stored_then_acknowledged_then_sent_then_finished)
{
    struct rig rig;
    struct mr_job_new job;
    struct mr_done done = {.attempt = 1, .report = MR_DID_SUCCEED};

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 10, NULL);
    rig_forget(&rig);
    job = rig_job(&rig);
    job.trace = mr_span_str("trace-1");
    rig_submit(&rig, MR_SUBMIT_WATCH, &job);
    rig_tick(&rig);
    ck_assert_uint_eq(rig.count, 1); /* the row and nothing else */
    ck_assert_int_eq(rig.said[0].action.act, MR_ACT_STORE);
    ck_assert_int_eq(rig.said[0].op.type, MR_STORE_JOB);
    ck_assert_int_eq(rig.said[0].op.submitted_at_us, RIG_WALL_US);
    ck_assert_str_eq(rig_state(&rig, job.id), "storing");

    rig_commit(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_ACK), 1);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_ACK)->action.corr, 7);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_ACK)->action.count, 1);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_ACK)->action.verdict_count, 0);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 0);

    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 1);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_JOB)->action.peer, 2);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_JOB)->job.attempt, 1);
    ck_assert_str_eq(rig_last(&rig, MR_ACT_JOB)->kind, "k");
    ck_assert_str_eq(rig_last(&rig, MR_ACT_JOB)->queue, "q");
    ck_assert_str_eq(rig_last(&rig, MR_ACT_JOB)->body, "\xc3");
    ck_assert_str_eq(rig_last(&rig, MR_ACT_JOB)->text, "trace-1");
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_JOB)->job.timeout_ms, 60000);

    done.id = job.id;
    done.body = mr_span_str("42");
    rig_done(&rig, 2, done);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_ACK)->action.corr, 9);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_ACK)->action.verdict_count, 0);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_EVENT), 1);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.type, MR_EVENT_FINISHED);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.outcome, MR_SUCCEEDED);
    ck_assert_str_eq(rig_last(&rig, MR_ACT_EVENT)->body, "42");
    ck_assert_str_eq(rig_state(&rig, job.id), "");
    ck_assert_uint_eq(rig_stats(&rig).jobs, 0);
    ck_assert_uint_eq(rig_stats(&rig).payload_bytes, 0);
    ck_assert_uint_eq(rig_stats(&rig).succeeded, 1);
    rig_stop(&rig);
}
END_TEST

static void
add(TCase *tcase)
{
    tcase_add_test(tcase, a_job_is_stored_then_acknowledged_then_sent_then_finished);
}

int
main(void)
{
    return rig_run("core/life", add) != 0;
}
