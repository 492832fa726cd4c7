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
    mr_core_watch(rig.core, rig.now, 0, id, true, MR_SCOPE_ANY);
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
    mr_core_watch(rig.core, rig.now, 0, id, true, MR_SCOPE_ANY);
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
    mr_core_cancel(rig.core, rig.now, 0, 5, id, MR_SCOPE_ANY);
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

/* ---- what was running and what was only queued ---------------------------------------------------- */

static uint32_t
rows_of(struct rig *rig, struct mr_uuid id, bool started)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < rig->count; i++) {
        const struct rig_said *said = &rig->said[i];

        if (said->action.act == MR_ACT_STORE && said->op.type == MR_STORE_ATTEMPT &&
            said->op.attempt_outcome == MR_ATTEMPT_LOST && mr_uuid_eq(said->op.id, id))
            n += (said->op.started_at_us != 0) == started;
    }
    return n;
}

static void
lose(struct rig *rig, uint32_t peer, const struct mr_uuid *ids, uint32_t count)
{
    mr_core_leaves(rig->core, rig->now, peer, mr_span_str("died"));
    rig_commit(rig);
    for (uint32_t i = 0; i < count; i++)
        rig_answer_find(rig, ids[i], false);
}

/* Two threads, four jobs: the first two that were sent were running. */
START_TEST(what_was_queued_is_not_to_blame)
{
    struct rig rig;
    struct mr_uuid ids[4];

    rig_init(&rig);
    rig_start(&rig);
    for (int i = 0; i < 4; i++) {
        ids[i] = rig_ready(&rig);
        rig_move(&rig, 1000);
    }
    rig_worker(&rig, 2, 2, 4, NULL);
    rig_tick(&rig);
    for (int i = 0; i < 4; i++)
        ck_assert_str_eq(rig_state(&rig, ids[i]), "running");
    lose(&rig, 2, ids, 4);
    for (int i = 0; i < 4; i++) {
        ck_assert_uint_eq(rows_of(&rig, ids[i], true), i < 2 ? 1 : 0);
        ck_assert_uint_eq(rows_of(&rig, ids[i], false), i < 2 ? 0 : 1);
    }
    ck_assert_uint_eq(rig_stats(&rig).lost, 4);
    rig_stop(&rig);
}
END_TEST

/* One thread; three jobs have run and their reports are under way when the fourth ends the
 * worker, again and again before one of them arrives. It is taken for queued once; then it waits
 * for a free thread, and nobody is sent past it. */
START_TEST(a_job_that_ends_workers_behind_others_is_found)
{
    struct rig rig;
    struct mr_uuid ids[5];

    rig_init(&rig);
    rig.conf.losses_max = 3;
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 5, NULL);
    for (int i = 0; i < 5; i++) {
        ids[i] = rig_sent_to(&rig, 2);
        rig_move(&rig, 1000);
    }
    lose(&rig, 2, ids, 5);
    ck_assert_uint_eq(rows_of(&rig, ids[3], false), 1);
    rig_worker(&rig, 2, 1, 100, NULL);
    for (int i = 0; i < 3; i++) {
        rig_tick(&rig);
        ck_assert_str_eq(rig_state(&rig, ids[i]), "running");
        ck_assert_str_eq(rig_state(&rig, ids[i + 1]), "ready");
        rig_report(&rig, 2, ids[i], 2, MR_DID_SUCCEED);
    }
    for (int loss = 1; loss <= 3; loss++) {
        rig_tick(&rig);
        ck_assert_str_eq(rig_state(&rig, ids[3]), "running");
        ck_assert_str_eq(rig_state(&rig, ids[4]), "ready");
        lose(&rig, 2, ids + 3, 1);
        rig_worker(&rig, 2, 1, 100, NULL);
    }
    rig_commit(&rig);
    ck_assert_uint_eq(rig_stats(&rig).quarantined, 1);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, ids[4]), "running");
    rig_stop(&rig);
}
END_TEST

/* A third is reported: then the third that was sent is on its thread. */
START_TEST(what_was_reported_makes_room)
{
    struct rig rig;
    struct mr_uuid ids[3];

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 3, NULL);
    for (int i = 0; i < 3; i++)
        ids[i] = rig_sent_to(&rig, 2);
    rig_report(&rig, 2, ids[0], 1, MR_DID_SUCCEED);
    lose(&rig, 2, ids + 1, 2);
    ck_assert_uint_eq(rows_of(&rig, ids[1], true), 1);
    ck_assert_uint_eq(rows_of(&rig, ids[2], false), 1);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_queued_one_is_never_quarantined)
{
    struct rig rig;
    struct mr_uuid ids[2];

    rig_init(&rig);
    rig.conf.losses_max = 3;
    rig_start(&rig);
    ids[0] = rig_ready(&rig);
    rig_move(&rig, 1000);
    ids[1] = rig_ready(&rig);
    for (uint32_t loss = 1; loss <= 3; loss++) {
        rig_worker(&rig, 2, 1, 2, NULL);
        rig_tick(&rig);
        lose(&rig, 2, ids, 2);
    }
    rig_commit(&rig);
    ck_assert_uint_eq(rig_stats(&rig).quarantined, 1);
    ck_assert_str_eq(rig_state(&rig, ids[1]), "ready");
    rig_stop(&rig);
}
END_TEST

/* What ends workers is queued first and runs as soon as an older one is through, whose report
 * gets lost with the worker: the older one looks guilty, and it does not. They part in time. */
START_TEST(what_ran_beside_is_not_taken_for_it)
{
    struct rig rig;
    struct mr_uuid ids[2]; /* the good, the bad */

    rig_init(&rig);
    rig.conf.losses_max = 3;
    rig_start(&rig);
    ids[0] = rig_ready(&rig);
    ids[1] = rig_ready(&rig);
    rig_worker(&rig, 2, 1, 2, NULL);
    rig_tick(&rig);
    lose(&rig, 2, ids, 2);
    for (uint32_t loss = 2; rig_stats(&rig).quarantined == 0; loss++) {
        ck_assert_uint_le(loss, 4);
        rig_worker(&rig, 2, 2, 4, NULL);
        rig_tick(&rig);
        if (strcmp(rig_state(&rig, ids[0]), "running") == 0 &&
            strcmp(rig_state(&rig, ids[1]), "ready") == 0) {
            rig_report(&rig, 2, ids[0], loss, MR_DID_SUCCEED);
            rig_tick(&rig);
        }
        lose(&rig, 2, ids, 2);
    }
    rig_commit(&rig);
    ck_assert_uint_eq(rig_stats(&rig).succeeded, 1);
    ck_assert_uint_eq(rig_stats(&rig).failed, 1);
    rig_stop(&rig);
}
END_TEST

/* After a restart of the broker a worker says what it has, newest first. */
START_TEST(the_order_survives_a_restart_of_the_broker)
{
    struct mr_stored_job stored = {.attempts = 0};
    struct rig rig;
    struct mr_uuid ids[3];

    rig_init(&rig);
    ck_assert_int_eq(mr_core_new(&rig.core, &rig.conf, rig_on_action, &rig), MR_OK);
    for (int i = 0; i < 3; i++) {
        stored.job = rig_job(&rig);
        ids[i] = stored.job.id;
        ck_assert_int_eq(mr_core_loaded(rig.core, rig.now, &stored), MR_OK);
    }
    mr_core_load_done(rig.core, rig.now);
    rig_worker(&rig, 2, 1, 3, NULL);
    for (int i = 2; i >= 0; i--) {
        struct mr_held held = {.id = ids[i], .attempt = 1};

        mr_core_held(rig.core, rig.now, 2, &held);
        mr_core_check(rig.core);
    }
    lose(&rig, 2, ids, 3);
    ck_assert_uint_eq(rows_of(&rig, ids[0], true), 1);
    ck_assert_uint_eq(rows_of(&rig, ids[1], false), 1);
    ck_assert_uint_eq(rows_of(&rig, ids[2], false), 1);
    rig_stop(&rig);
}
END_TEST

/* The same process connects again and does not have it: JOBS was lost on the way. */
START_TEST(what_never_arrived_is_not_to_blame)
{
    struct rig rig;
    struct mr_uuid id;

    rig_init(&rig);
    rig.conf.heartbeat_ms = 60000;
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 4, NULL);
    id = rig_sent_to(&rig, 2);
    rig_worker(&rig, 2, 1, 4, NULL);
    rig_move(&rig, rig.conf.grace_ms * INT64_C(1000));
    rig_tick(&rig);
    rig_commit(&rig);
    ck_assert_uint_eq(rows_of(&rig, id, false), 1);
    ck_assert_str_eq(rig_last(&rig, MR_ACT_STORE)->text,
        "its worker did not know of it after it connected again; it had not started");
    rig_answer_find(&rig, id, false);
    rig_stop(&rig);
}
END_TEST

/* ---- quarantine --------------------------------------------------------------------------------- */

/* What happened, how often, where, what to do. */
START_TEST(the_reason_of_a_quarantine_is_whole)
{
    struct mr_stored_job stored = {.attempts = 4, .losses = 3};
    struct mr_found found = {.exists = true,
        .losses = mr_span_str("attempt 1 lost on w1, attempt 2 crashed on w2")};
    struct rig rig;
    char id[MR_UUID_TEXT_MAX];
    const char *text;

    rig_init(&rig);
    ck_assert_int_eq(mr_core_new(&rig.core, &rig.conf, rig_on_action, &rig), MR_OK);
    stored.job = rig_job(&rig);
    ck_assert_int_eq(mr_core_loaded(rig.core, rig.now, &stored), MR_OK);
    mr_core_load_done(rig.core, rig.now);
    rig_move(&rig, rig.conf.grace_ms * INT64_C(1000));
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, stored.job.id), "checking");
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_FIND), 1);
    found.id = stored.job.id;
    mr_core_found(rig.core, rig.now, &found);
    text = rig_last(&rig, MR_ACT_STORE)->text;
    ck_assert_int_eq(rig_last(&rig, MR_ACT_STORE)->op.outcome, MR_FAILED);
    ck_assert_ptr_eq(strstr(text, "quarantined: 3 times its worker or its process ended "
                                  "while it ran (attempt 1 lost on w1, attempt 2 crashed "
                                  "on w2)"),
        text);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_STORE)->op_text_bytes,
        strlen("quarantined: 3 times its worker or its process ended while it ran "
               "(attempt 1 lost on w1, attempt 2 crashed on w2). Look what in it ends a "
               "process; to see it again, run it in a worker of its own (--threads 1): "
               "millrace redrive ") +
            strlen(mr_uuid_format(stored.job.id, id)));
    rig_commit(&rig);
    ck_assert_uint_eq(rig_stats(&rig).jobs, 0);
    rig_stop(&rig);
}
END_TEST

/* Meanwhile somebody may have finished it, or want it cancelled. */
START_TEST(a_quarantine_is_only_for_what_is_unfinished)
{
    struct mr_stored_job stored = {.attempts = 3, .losses = 3};
    struct rig rig;
    struct mr_uuid ids[2];

    rig_init(&rig);
    ck_assert_int_eq(mr_core_new(&rig.core, &rig.conf, rig_on_action, &rig), MR_OK);
    for (int i = 0; i < 2; i++) {
        stored.job = rig_job(&rig);
        ids[i] = stored.job.id;
        ck_assert_int_eq(mr_core_loaded(rig.core, rig.now, &stored), MR_OK);
    }
    mr_core_load_done(rig.core, rig.now);
    ck_assert_int_eq(
        mr_core_client_joins(rig.core, rig.now, 0, 0, mr_span_str("client")), MR_OK);
    mr_core_overslept(rig.core, rig.now);
    rig_move(&rig, rig.conf.grace_ms * INT64_C(1000));
    mr_core_heard(rig.core, rig.now, 0);
    rig_tick(&rig);
    mr_core_cancel(rig.core, rig.now, 0, 5, ids[1], MR_SCOPE_ANY);
    rig_answer_find(&rig, ids[0], true);
    rig_answer_find(&rig, ids[1], false);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_STORE)->op.outcome, MR_OUT_CANCELLED);
    rig_commit(&rig);
    ck_assert_uint_eq(rig_stats(&rig).quarantined, 0);
    ck_assert_uint_eq(rig_stats(&rig).jobs, 0);
    rig_stop(&rig);
}
END_TEST

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
    ck_assert_ptr_nonnull(
        strstr(rig_last(&rig, MR_ACT_STORE)->text, "quarantined: 3 times its worker"));
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
    tcase_add_test(tcase, what_was_queued_is_not_to_blame);
    tcase_add_test(tcase, a_job_that_ends_workers_behind_others_is_found);
    tcase_add_test(tcase, what_was_reported_makes_room);
    tcase_add_test(tcase, a_queued_one_is_never_quarantined);
    tcase_add_test(tcase, what_ran_beside_is_not_taken_for_it);
    tcase_add_test(tcase, the_order_survives_a_restart_of_the_broker);
    tcase_add_test(tcase, what_never_arrived_is_not_to_blame);
    tcase_add_test(tcase, the_reason_of_a_quarantine_is_whole);
    tcase_add_test(tcase, a_quarantine_is_only_for_what_is_unfinished);
    tcase_add_test(tcase, a_job_that_kills_its_workers_is_quarantined);
    tcase_add_test(tcase, what_may_end_a_worker_is_sent_alone);
}

int
main(void)
{
    return rig_run("core/loss", add) != 0;
}
