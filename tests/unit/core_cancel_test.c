/* Cancels that meet something else. What was acknowledged as cancelled changes no more. */
#include "tests/unit/core_rig.h"

static void
cancel(struct rig *rig, struct mr_uuid id)
{
    mr_core_cancel(rig->core, rig->now, 0, 5, id, MR_SCOPE_ANY);
    mr_core_check(rig->core);
}

static void
ck_replied(struct rig *rig, enum mr_status code)
{
    ck_assert_uint_eq(rig_said(rig, MR_ACT_REPLY), 1);
    ck_assert_int_eq(rig_last(rig, MR_ACT_REPLY)->action.code, code);
    ck_assert_uint_eq(rig_stats(rig).jobs, 0);
}

START_TEST(success_on_its_way_is_first)
{
    struct rig rig;
    struct mr_uuid id;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 4, NULL);
    id = rig_sent_to(&rig, 2);
    cancel(&rig, id);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_REVOKE)->revoked.why, MR_WHY_CANCELLED);
    rig_report(&rig, 2, id, 1, MR_DID_SUCCEED); /* it crossed the word to stop */
    ck_replied(&rig, MR_FINISHED);
    ck_assert_uint_eq(rig_stats(&rig).succeeded, 1);
    ck_assert_uint_eq(rig_stats(&rig).cancelled, 0);
    rig_stop(&rig);
}
END_TEST

/* The attempt's row is on its way: the retry that it announces does not come. */
START_TEST(while_a_retry_is_stored)
{
    static const enum mr_report reports[] = {
        MR_DID_FAIL, MR_DID_TIME_OUT, MR_DID_SNOOZE, MR_DID_CRASH};
    struct rig rig;
    struct mr_uuid id;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 4, NULL);
    id = rig_sent_to(&rig, 2);
    rig_report(&rig, 2, id, 1, reports[_i]);
    cancel(&rig, id);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REPLY), 0);
    ck_assert_ptr_nonnull(rig_answer(&rig, MR_OK));
    if (reports[_i] == MR_DID_CRASH)
        rig_answer_find(&rig, id, false);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_STORE)->op.outcome, MR_OUT_CANCELLED);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REPLY), 0); /* not before it is durable */
    rig_commit(&rig);
    ck_replied(&rig, MR_OK);
    rig_move(&rig, INT64_C(3600) * 1000000);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 1); /* the one before */
    rig_stop(&rig);
}
END_TEST

static struct mr_uuid
recovered(struct rig *rig)
{
    struct mr_stored_job stored = {.attempts = 1, .failures = 1};

    rig_init(rig);
    ck_assert_int_eq(mr_core_new(&rig->core, &rig->conf, rig_on_action, rig), MR_OK);
    stored.job = rig_job(rig);
    ck_assert_int_eq(mr_core_loaded(rig->core, rig->now, &stored), MR_OK);
    mr_core_load_done(rig->core, rig->now);
    ck_assert_int_eq(
        mr_core_client_joins(rig->core, rig->now, 0, 0, mr_span_str("client")), MR_OK);
    return stored.job.id;
}

/* Loaded at start, and a worker may hold it: it is told that it is stale, whatever it says. */
START_TEST(what_a_worker_may_hold_since_before_the_start)
{
    struct rig rig;
    struct mr_uuid id = recovered(&rig);
    struct mr_held held = {.id = id, .attempt = 2};

    ck_assert_str_eq(rig_state(&rig, id), "recovered");
    cancel(&rig, id);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_STORE)->op.outcome, MR_OUT_CANCELLED);
    rig_worker(&rig, 2, 1, 4, NULL);
    mr_core_held(rig.core, rig.now, 2, &held);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_REVOKE)->revoked.why, MR_WHY_STALE);
    rig_report(&rig, 2, id, 2, MR_DID_FAIL);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_STORE), 1); /* no row for that any more */
    rig_commit(&rig);
    ck_replied(&rig, MR_OK);
    mr_core_held(rig.core, rig.now, 2, &held);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_REVOKE)->revoked.why, MR_WHY_STALE);
    rig_stop(&rig);
}
END_TEST

/* ... and it committed before our row: that stands. */
START_TEST(what_a_worker_committed_before_the_row)
{
    struct rig rig;
    struct mr_uuid id = recovered(&rig);
    struct rig_said *said;

    cancel(&rig, id);
    said = rig_last(&rig, MR_ACT_STORE);
    said->op.status = MR_FINISHED;
    said->op.found_outcome = MR_SUCCEEDED;
    said->op.found_attempt = 2;
    mr_core_stored(rig.core, rig.now, &said->op);
    ck_replied(&rig, MR_FINISHED);
    ck_assert_uint_eq(rig_stats(&rig).succeeded, 1);
    rig_stop(&rig);
}
END_TEST

/* The broker ends before the row is stored: nothing was acknowledged, and the next one, which has
 * not heard of it, runs the job. */
START_TEST(nothing_is_acknowledged_before_the_row)
{
    struct rig rig;
    struct mr_uuid id;
    struct mr_stored_job stored = {.attempts = 0};

    rig_init(&rig);
    rig_start(&rig);
    stored.job = rig_job(&rig);
    id = rig_accept(&rig, &stored.job);
    cancel(&rig, id);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REPLY), 0);
    mr_core_destroy(&rig.core);
    ck_assert_int_eq(mr_core_new(&rig.core, &rig.conf, rig_on_action, &rig), MR_OK);
    ck_assert_int_eq(mr_core_loaded(rig.core, rig.now, &stored), MR_OK);
    mr_core_load_done(rig.core, rig.now);
    rig_move(&rig, rig.conf.grace_ms * INT64_C(1000));
    rig_worker(&rig, 2, 1, 4, NULL);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, id), "running");
    rig_stop(&rig);
}
END_TEST

/* It was taken for lost, cancelled meanwhile, and comes back with all it knows. */
START_TEST(what_comes_late_changes_nothing)
{
    static const enum mr_report reports[] = {MR_DID_SUCCEED, MR_DID_FAIL,
        MR_DID_FAIL_FOR_GOOD, MR_DID_SNOOZE, MR_DID_GIVE_BACK, MR_DID_CANCEL,
        MR_DID_TIME_OUT, MR_DID_CRASH};
    struct rig rig;
    struct mr_uuid id;
    struct mr_held held = {.attempt = 1};
    uint32_t stored;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 4, NULL);
    held.id = id = rig_sent_to(&rig, 2);
    cancel(&rig, id);
    mr_core_leaves(rig.core, rig.now, 2, mr_span_str("silent"));
    rig_commit(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REPLY), 0);
    rig_answer_find(&rig, id, false);
    rig_commit(&rig);
    ck_replied(&rig, MR_OK);
    stored = rig_said(&rig, MR_ACT_STORE);
    rig_worker(&rig, 2, 1, 4, NULL); /* the same process */
    mr_core_held(rig.core, rig.now, 2, &held);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_REVOKE)->revoked.why, MR_WHY_STALE);
    for (size_t i = 0; i < sizeof reports / sizeof *reports; i++) {
        rig_report(&rig, 2, id, 1, reports[i]);
        ck_assert_uint_eq(rig_last(&rig, MR_ACT_ACK)->action.verdict_count, 1);
        ck_assert_int_eq(rig_last(&rig, MR_ACT_ACK)->verdicts[0].code, MR_STALE);
    }
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_STORE), stored);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REPLY), 1);
    ck_assert_uint_eq(rig_stats(&rig).cancelled, 1);
    rig_stop(&rig);
}
END_TEST

/* Its worker says nothing: the broker's own clock ends it, as cancelled and not for a retry. */
START_TEST(a_worker_that_does_not_answer)
{
    struct rig rig;
    struct mr_uuid id;

    rig_init(&rig);
    rig.conf.timeout_ms = 1000;
    rig.conf.timeout_slack_ms = 0;
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 4, NULL);
    id = rig_sent_to(&rig, 2);
    cancel(&rig, id);
    rig_move(&rig, 1000000);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REPLY), 0);
    rig_commit(&rig);
    ck_replied(&rig, MR_OK);
    ck_assert_uint_eq(rig_stats(&rig).retried, 0);
    rig_stop(&rig);
}
END_TEST

static void
add(TCase *tcase)
{
    tcase_add_test(tcase, success_on_its_way_is_first);
    tcase_add_loop_test(tcase, while_a_retry_is_stored, 0, 4);
    tcase_add_test(tcase, what_a_worker_may_hold_since_before_the_start);
    tcase_add_test(tcase, what_a_worker_committed_before_the_row);
    tcase_add_test(tcase, nothing_is_acknowledged_before_the_row);
    tcase_add_test(tcase, what_comes_late_changes_nothing);
    tcase_add_test(tcase, a_worker_that_does_not_answer);
}

int
main(void)
{
    return rig_run("core/cancel", add) != 0;
}
