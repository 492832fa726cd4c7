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

/* ---- time --------------------------------------------------------------------------------------- */

/* Due 250 ms after acceptance: not a tick before, and the core says when to look. */
START_TEST(a_delayed_job_starts_on_time)
{
    struct rig rig;
    struct mr_job_new job;
    int64_t next;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 4, 4, NULL);
    job = rig_job(&rig);
    job.delay_ms = 250;
    rig_submit(&rig, 0, &job);
    ck_assert_int_eq(
        rig_last(&rig, MR_ACT_STORE)->op.job.run_at_us, RIG_WALL_US + 250000);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_STORE)->op.job.delay_ms, 0);
    rig_move(&rig, 40000); /* the commit takes a while: the delay does not begin anew */
    rig_commit(&rig);
    ck_assert_str_eq(rig_state(&rig, job.id), "waiting");
    next = rig_tick(&rig);
    ck_assert_int_le(next, 1000000000 + 250000);
    rig_move(&rig, 250000 - 40000 - 1);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 0);
    rig_move(&rig, 1);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 1);
    rig_stop(&rig);
}
END_TEST

/* Ticks only when the core asks for them: 200 delays of 0 to 60 s, each at most 1 ms late. */
START_TEST(the_time_of_the_next_tick_is_never_too_late)
{
    struct rig rig;
    int64_t due[200];
    struct mr_uuid ids[200];
    uint32_t started = 0;

    rig_init(&rig);
    rig.conf.heartbeat_ms = 1000000;
    rig_start(&rig);
    rig_worker(&rig, 2, 1000, 1000, NULL);
    for (uint32_t i = 0; i < 200; i++) {
        struct mr_job_new job = rig_job(&rig);

        job.run_at_us = RIG_WALL_US + 1 + (int64_t)i * i * 1500 + (int64_t)i * 37;
        due[i] = job.run_at_us;
        ids[i] = rig_accept(&rig, &job);
    }
    rig_forget(&rig);
    while (started < 200) {
        int64_t next = rig_tick(&rig);

        for (; started < rig_said(&rig, MR_ACT_JOB); started++) {
            ck_assert(
                mr_uuid_eq(rig_nth(&rig, MR_ACT_JOB, started)->job.id, ids[started]));
            ck_assert_int_ge(rig.now.wall_us, due[started]);
            ck_assert_int_le(rig.now.wall_us, due[started] + 1000);
        }
        ck_assert(started == 200 || (next > rig.now.mono_us && next < INT64_MAX));
        if (started < 200)
            rig_move(&rig, next - rig.now.mono_us);
    }
    rig_stop(&rig);
}
END_TEST

START_TEST(what_expires_while_it_waits_or_is_ready_is_not_started)
{
    struct rig rig;
    struct mr_job_new job;

    rig_init(&rig);
    rig_start(&rig);
    job = rig_job(&rig);
    job.expires_at_us = RIG_WALL_US + 1000000;
    rig_submit(&rig, MR_SUBMIT_WATCH, &job);
    rig_commit(&rig);
    rig_move(&rig, 999000);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, job.id), "ready");
    rig_move(&rig, 1000);
    rig_worker(&rig, 2, 4, 4, NULL);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 0);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_STORE)->op.type, MR_STORE_RESULT);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_STORE)->op.outcome, MR_OUT_EXPIRED);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_EVENT), 0); /* not before it is durable */
    rig_commit(&rig);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.outcome, MR_OUT_EXPIRED);
    ck_assert_uint_eq(rig_stats(&rig).expired, 1);
    rig_stop(&rig);
}
END_TEST

/* The wall clock is set back 10 s: a delay goes on as it was, an expiry waits for the wall. */
START_TEST(a_step_of_the_wall_clock)
{
    struct rig rig;
    struct mr_job_new delayed, expiring;

    rig_init(&rig);
    rig_start(&rig);
    delayed = rig_job(&rig);
    delayed.delay_ms = 1000;
    rig_accept(&rig, &delayed);
    expiring = rig_job(&rig);
    expiring.expires_at_us = RIG_WALL_US + 1000000;
    rig_accept(&rig, &expiring);
    rig.now.wall_us -= 10000000;
    rig_move(&rig, 1001000);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, delayed.id), "ready");
    ck_assert_str_eq(rig_state(&rig, expiring.id), "ready");
    rig_move(&rig, 10000000);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, expiring.id), "settling");
    rig_commit(&rig);
    rig_stop(&rig);
}
END_TEST

/* ---- reports --------------------------------------------------------------------------------------- */

static struct mr_uuid
sent_job(struct rig *rig, struct mr_job_new job)
{
    struct mr_uuid id;

    rig_submit(rig, MR_SUBMIT_WATCH, &job);
    rig_commit(rig);
    id = job.id;
    rig_tick(rig);
    ck_assert_str_eq(rig_state(rig, id), "running");
    rig_forget(rig);
    return id;
}

/* base 1 s: after the first failure 0.8 to 1.2 s, after the second 1.6 to 2.4 s, then the end. */
START_TEST(failures_are_retried_with_backoff_and_then_it_is_over)
{
    struct rig rig;
    struct mr_job_new job;
    struct mr_uuid id;

    rig_init(&rig);
    rig.conf.heartbeat_ms = 100000;
    rig_start(&rig);
    rig_worker(&rig, 2, 4, 40, NULL);
    job = rig_job(&rig);
    job.attempts_max = 3;
    id = sent_job(&rig, job);
    for (uint32_t attempt = 1; attempt <= 2; attempt++) {
        int64_t base_us = attempt * 1000000;
        const struct mr_store_op *op;

        rig_report(&rig, 2, id, attempt, MR_DID_FAIL);
        op = &rig_last(&rig, MR_ACT_STORE)->op;
        ck_assert_int_eq(op->type, MR_STORE_ATTEMPT);
        ck_assert_int_eq(op->attempt_outcome, MR_ATTEMPT_FAILED);
        ck_assert_uint_eq(op->attempt, attempt);
        ck_assert_int_ge(op->retry_at_us - rig.now.wall_us, base_us * 8 / 10);
        ck_assert_int_le(op->retry_at_us - rig.now.wall_us, base_us * 12 / 10);
        ck_assert_uint_eq(rig_said(&rig, MR_ACT_ACK), 0);
        rig_commit(&rig);
        ck_assert_uint_eq(rig_said(&rig, MR_ACT_ACK), 1); /* durable now */
        ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.type, MR_EVENT_RETRYING);
        ck_assert_str_eq(rig_last(&rig, MR_ACT_EVENT)->text, "oops");
        ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.at_us, op->retry_at_us);
        ck_assert_str_eq(rig_state(&rig, id), "waiting");
        rig_forget(&rig);
        rig_move(&rig, base_us * 12 / 10);
        rig_tick(&rig);
        ck_assert_uint_eq(rig_last(&rig, MR_ACT_JOB)->job.attempt, attempt + 1);
        rig_forget(&rig);
    }
    rig_report(&rig, 2, id, 3, MR_DID_FAIL);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_STORE), 2);
    ck_assert_int_eq(rig_nth(&rig, MR_ACT_STORE, 0)->op.type, MR_STORE_ATTEMPT);
    ck_assert_int_eq(rig_nth(&rig, MR_ACT_STORE, 0)->op.retry_at_us, 0);
    ck_assert_int_eq(rig_nth(&rig, MR_ACT_STORE, 1)->op.type, MR_STORE_RESULT);
    ck_assert_int_eq(rig_nth(&rig, MR_ACT_STORE, 1)->op.outcome, MR_FAILED);
    rig_answer(&rig, MR_OK);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_ACK), 0);
    rig_answer(&rig, MR_OK);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_ACK), 1);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.type, MR_EVENT_FINISHED);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.outcome, MR_FAILED);
    ck_assert_str_eq(rig_last(&rig, MR_ACT_EVENT)->text, "oops");
    ck_assert_uint_eq(rig_stats(&rig).jobs, 0);
    rig_stop(&rig);
}
END_TEST

static int64_t
wait_after(struct rig *rig, uint32_t peer, struct mr_uuid id, uint32_t failure)
{
    int64_t retry_at_us;

    rig_tick(rig);
    rig_report(rig, peer, id, failure, MR_DID_FAIL);
    retry_at_us = rig_last(rig, MR_ACT_STORE)->op.retry_at_us;
    rig_commit(rig);
    retry_at_us -= rig->now.wall_us;
    rig_move(rig, retry_at_us);
    return retry_at_us / 1000;
}

/* Job before kind before setting, number by number; no jitter, so that they are exact. */
START_TEST(the_policy_of_job_kind_and_broker)
{
    struct mr_offer offer = {.kind = mr_span_str("k"),
        .backoff_base_ms = 100,
        .backoff_factor_percent = 300,
        .backoff_jitter = MR_JITTER_NONE};
    struct rig rig;
    struct mr_job_new job;

    rig_init(&rig);
    rig.conf.heartbeat_ms = 60000;
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 100, &offer);
    job = rig_job(&rig);
    rig_accept(&rig, &job);
    ck_assert_int_eq(wait_after(&rig, 2, job.id, 1), 100);
    ck_assert_int_eq(wait_after(&rig, 2, job.id, 2), 300);
    ck_assert_int_eq(wait_after(&rig, 2, job.id, 3), 900);
    rig_tick(&rig);
    rig_report(&rig, 2, job.id, 4, MR_DID_SUCCEED);
    job = rig_job(&rig);
    job.backoff_factor_percent = 100;
    job.backoff_base_ms = 7;
    rig_accept(&rig, &job);
    ck_assert_int_eq(wait_after(&rig, 2, job.id, 1), 7);
    ck_assert_int_eq(wait_after(&rig, 2, job.id, 2), 7);
    rig_stop(&rig);
}
END_TEST

/* The handler's own word, "not before", goes before a shorter backoff and behind a longer one. */
START_TEST(retry_after_is_heeded)
{
    struct mr_offer offer = {.kind = mr_span_str("k"),
        .backoff_base_ms = 1000,
        .backoff_jitter = MR_JITTER_NONE};
    struct rig rig;
    struct mr_uuid id;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 4, &offer);
    id = rig_sent_to(&rig, 2);
    rig_done(&rig, 2,
        (struct mr_done){
            .id = id, .attempt = 1, .report = MR_DID_FAIL, .retry_after_ms = 45000});
    ck_assert_int_eq(
        rig_last(&rig, MR_ACT_STORE)->op.retry_at_us, rig.now.wall_us + 45000000);
    rig_commit(&rig);
    rig_stop(&rig);
}
END_TEST

START_TEST(do_not_retry_is_heeded)
{
    struct rig rig;
    struct mr_uuid id;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 4, 40, NULL);
    id = sent_job(&rig, rig_job(&rig));
    rig_report(&rig, 2, id, 1, MR_DID_FAIL_FOR_GOOD);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_STORE), 2);
    rig_commit(&rig);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.outcome, MR_FAILED);
    ck_assert_uint_eq(rig_stats(&rig).failed, 1);
    rig_stop(&rig);
}
END_TEST

/* 1,999 letters and one of two bytes: the last has no room, and half of it is no text. */
START_TEST(a_long_reason_is_cut_between_characters)
{
    struct rig rig;
    struct mr_uuid id;
    char text[2001];

    memset(text, 'a', 1999);
    memcpy(text + 1999, "\xc3\xa4", 2);
    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 1, NULL);
    id = rig_ready(&rig);
    rig_tick(&rig);
    rig_done(&rig, 2,
        (struct mr_done){.id = id,
            .attempt = 1,
            .report = MR_DID_FAIL_FOR_GOOD,
            .text = mr_span(text, sizeof text)});
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_STORE)->op_text_bytes, 1999);
    rig_stop(&rig);
}
END_TEST

/* The connection that carried the word to stop was lost: who still holds it is told again. */
START_TEST(a_cancel_is_repeated_to_who_still_holds_the_job)
{
    struct rig rig;
    struct mr_held held = {.attempt = 1};

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 1, NULL);
    held.id = rig_ready(&rig);
    rig_tick(&rig);
    mr_core_held(rig.core, rig.now, 2, &held);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REVOKE), 0);
    mr_core_cancel(rig.core, rig.now, 0, 3, held.id, MR_SCOPE_ANY);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REVOKE), 1);
    rig_worker(&rig, 2, 1, 1, NULL); /* it says HELLO again */
    mr_core_held(rig.core, rig.now, 2, &held);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REVOKE), 2);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_REVOKE)->revoked.why, MR_WHY_CANCELLED);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_REVOKE)->revoked.attempt, 1);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_snooze_spends_no_attempt)
{
    struct rig rig;
    struct mr_job_new job;
    struct mr_uuid id;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 4, 40, NULL);
    job = rig_job(&rig);
    job.attempts_max = 1;
    id = sent_job(&rig, job);
    for (uint32_t attempt = 1; attempt <= 5; attempt++) {
        rig_done(&rig, 2,
            (struct mr_done){.id = id,
                .attempt = attempt,
                .report = MR_DID_SNOOZE,
                .retry_after_ms = 700});
        ck_assert_int_eq(
            rig_last(&rig, MR_ACT_STORE)->op.attempt_outcome, MR_ATTEMPT_SNOOZED);
        ck_assert_int_eq(
            rig_last(&rig, MR_ACT_STORE)->op.retry_at_us, rig.now.wall_us + 700000);
        rig_commit(&rig);
        rig_move(&rig, 700000);
        mr_core_heard(rig.core, rig.now, 2);
        rig_tick(&rig);
        ck_assert_uint_eq(rig_last(&rig, MR_ACT_JOB)->job.attempt, attempt + 1);
    }
    ck_assert_uint_eq(rig_stats(&rig).snoozed, 5);
    rig_stop(&rig);
}
END_TEST

START_TEST(what_is_given_back_goes_to_the_front)
{
    struct rig rig;
    struct mr_uuid a, b, c;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 2, 2, NULL);
    a = rig_ready(&rig);
    b = rig_ready(&rig);
    c = rig_ready(&rig);
    rig_tick(&rig);
    rig_forget(&rig);
    rig_report(&rig, 2, b, 1, MR_DID_GIVE_BACK);
    rig_report(&rig, 2, a, 1, MR_DID_GIVE_BACK);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_STORE), 0); /* no row */
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_ACK), 2);
    rig_report(&rig, 2, a, 1, MR_DID_GIVE_BACK); /* sent twice */
    ck_assert_int_eq(rig_last(&rig, MR_ACT_ACK)->verdicts[0].code, MR_STALE);
    mr_core_credit(rig.core, rig.now, 2, 5);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 3);
    ck_assert(mr_uuid_eq(rig_nth(&rig, MR_ACT_JOB, 2)->job.id, c));
    ck_assert_uint_eq(rig_nth(&rig, MR_ACT_JOB, 0)->job.attempt, 2); /* a new number */
    ck_assert_uint_eq(rig_stats(&rig).given_back, 2);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_report_that_is_not_current_changes_nothing)
{
    struct rig rig;
    struct mr_uuid id, other;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 1, NULL);
    rig_worker(&rig, 3, 1, 0, NULL);
    id = sent_job(&rig, rig_job(&rig));
    other = rig_ready(&rig);
    rig_report(&rig, 3, id, 1, MR_DID_SUCCEED); /* another worker's */
    ck_assert_int_eq(rig_last(&rig, MR_ACT_ACK)->verdicts[0].code, MR_STALE);
    rig_report(&rig, 2, id, 2, MR_DID_SUCCEED); /* another attempt */
    ck_assert_int_eq(rig_last(&rig, MR_ACT_ACK)->verdicts[0].code, MR_STALE);
    rig_report(&rig, 2, other, 1, MR_DID_SUCCEED); /* never sent */
    ck_assert_int_eq(rig_last(&rig, MR_ACT_ACK)->verdicts[0].code, MR_STALE);
    rig_report(&rig, 2, rig_id(&rig), 1, MR_DID_FAIL); /* never heard of */
    ck_assert_int_eq(rig_last(&rig, MR_ACT_ACK)->verdicts[0].code, MR_STALE);
    rig_done(&rig, 2, (struct mr_done){.id = id, .attempt = 1, .report = 99});
    ck_assert_int_eq(rig_last(&rig, MR_ACT_ACK)->verdicts[0].code, MR_BAD_ARGUMENT);
    rig_done(&rig, 2,
        (struct mr_done){
            .id = id, .attempt = 1, .report = MR_WAS_FINISHED, .outcome = 9});
    ck_assert_int_eq(rig_last(&rig, MR_ACT_ACK)->verdicts[0].code, MR_BAD_ARGUMENT);
    ck_assert_str_eq(rig_state(&rig, id), "running");
    ck_assert_str_eq(rig_state(&rig, other), "ready");
    ck_assert_uint_eq(rig_stats(&rig).stale, 4);
    rig_report(&rig, 0, id, 1, MR_DID_SUCCEED); /* a client is no worker */
    ck_assert_int_eq(rig_last(&rig, MR_ACT_ERROR)->action.code, MR_NO_SESSION);
    rig_stop(&rig);
}
END_TEST

START_TEST(was_finished_tells_what_is_stored)
{
    struct rig rig;
    struct mr_uuid id;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 1, NULL);
    id = sent_job(&rig, rig_job(&rig));
    rig_done(&rig, 2,
        (struct mr_done){
            .id = id, .attempt = 1, .report = MR_WAS_FINISHED, .outcome = MR_FAILED});
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.outcome, MR_FAILED);
    ck_assert_uint_eq(rig_stats(&rig).failed, 1);
    rig_stop(&rig);
}
END_TEST

START_TEST(the_doorbell_is_heard_once_a_message)
{
    struct rig rig;
    struct mr_uuid id;
    struct mr_done done;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 1, NULL);
    id = sent_job(&rig, rig_job(&rig));
    done = (struct mr_done){.id = id, .attempt = 1, .report = MR_DID_SUCCEED};
    mr_core_done_open(rig.core, rig.now, 2, 1, MR_DONE_DOORBELL, 2);
    mr_core_done(rig.core, rig.now, &done);
    mr_core_done(rig.core, rig.now, &done);
    mr_core_done_close(rig.core, rig.now);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_SWEEP), 1);
    rig_stop(&rig);
}
END_TEST

/* timeout 1 s, slack 0.5 s: with an idle thread at 1.5 s after it was sent. */
START_TEST(a_worker_that_does_not_enforce_a_timeout)
{
    struct rig rig;
    struct mr_job_new job;
    struct mr_uuid id;

    rig_init(&rig);
    rig.conf.timeout_slack_ms = 500;
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 4, NULL);
    job = rig_job(&rig);
    job.timeout_ms = 1000;
    id = sent_job(&rig, job);
    rig_move(&rig, 1499000);
    mr_core_heard(rig.core, rig.now, 2);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, id), "running");
    rig_move(&rig, 1000);
    rig_tick(&rig);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_REVOKE)->revoked.why, MR_WHY_TIMED_OUT);
    ck_assert_int_eq(
        rig_last(&rig, MR_ACT_STORE)->op.attempt_outcome, MR_ATTEMPT_TIMED_OUT);
    rig_commit(&rig);
    ck_assert_str_eq(rig_state(&rig, id), "waiting"); /* it counts as a failure */
    ck_assert_uint_eq(rig_stats(&rig).timed_out, 1);
    rig_stop(&rig);
}
END_TEST

/* Its result may be waiting for the database: nobody is timed out for that. */
START_TEST(a_timeout_while_the_database_is_away)
{
    struct rig rig;
    struct mr_job_new job;
    struct mr_uuid id;

    rig_init(&rig);
    rig.conf.timeout_slack_ms = 500;
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 4, NULL);
    job = rig_job(&rig);
    job.timeout_ms = 1000;
    id = sent_job(&rig, job);
    mr_core_store_is_up(rig.core, rig.now, false);
    rig_move(&rig, 60000000);
    mr_core_heard(rig.core, rig.now, 2);
    rig_tick(&rig);
    mr_core_store_is_up(rig.core, rig.now, true);
    rig_move(&rig, 4999000);
    mr_core_heard(rig.core, rig.now, 2);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, id), "running");
    rig_move(&rig, 5000000); /* still nothing: that is the worker's fault */
    mr_core_heard(rig.core, rig.now, 2);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, id), "settling");
    ck_assert_uint_eq(rig_stats(&rig).timed_out, 1);
    rig_commit(&rig);
    rig_stop(&rig);
}
END_TEST

/* One thread, two jobs of 1 s each: the second may take its turn after the first. */
START_TEST(what_is_queued_in_a_worker_has_more_time)
{
    struct rig rig;
    struct mr_job_new first, second;

    rig_init(&rig);
    rig.conf.timeout_slack_ms = 500;
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 4, NULL);
    first = rig_job(&rig);
    second = rig_job(&rig);
    first.timeout_ms = second.timeout_ms = 1000;
    rig_accept(&rig, &first);
    rig_accept(&rig, &second);
    rig_tick(&rig);
    rig_move(&rig, 1500000);
    mr_core_heard(rig.core, rig.now, 2);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, first.id), "settling");
    ck_assert_str_eq(rig_state(&rig, second.id), "running");
    rig_move(&rig, 1000000);
    mr_core_heard(rig.core, rig.now, 2);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, second.id), "settling");
    rig_commit(&rig);
    rig_stop(&rig);
}
END_TEST

static void
add(TCase *tcase)
{
    tcase_add_test(tcase, a_job_is_stored_then_acknowledged_then_sent_then_finished);
    tcase_add_test(tcase, a_delayed_job_starts_on_time);
    tcase_add_test(tcase, the_time_of_the_next_tick_is_never_too_late);
    tcase_add_test(tcase, a_long_reason_is_cut_between_characters);
    tcase_add_test(tcase, a_cancel_is_repeated_to_who_still_holds_the_job);
    tcase_add_test(tcase, what_expires_while_it_waits_or_is_ready_is_not_started);
    tcase_add_test(tcase, a_step_of_the_wall_clock);
    tcase_add_test(tcase, failures_are_retried_with_backoff_and_then_it_is_over);
    tcase_add_test(tcase, the_policy_of_job_kind_and_broker);
    tcase_add_test(tcase, retry_after_is_heeded);
    tcase_add_test(tcase, do_not_retry_is_heeded);
    tcase_add_test(tcase, a_snooze_spends_no_attempt);
    tcase_add_test(tcase, what_is_given_back_goes_to_the_front);
    tcase_add_test(tcase, a_report_that_is_not_current_changes_nothing);
    tcase_add_test(tcase, was_finished_tells_what_is_stored);
    tcase_add_test(tcase, the_doorbell_is_heard_once_a_message);
    tcase_add_test(tcase, a_worker_that_does_not_enforce_a_timeout);
    tcase_add_test(tcase, a_timeout_while_the_database_is_away);
    tcase_add_test(tcase, what_is_queued_in_a_worker_has_more_time);
}

int
main(void)
{
    return rig_run("core/life", add) != 0;
}
