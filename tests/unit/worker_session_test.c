/* The session: credit, starting, reporting. */
#include "tests/unit/worker_rig.h"

/* ---- credit ------------------------------------------------------------------------------------ */

START_TEST(credit_is_what_was_taken_and_what_there_is_room_for)
{
    connect();
    ck_assert_uint_eq(hear()->messages[MR_CREDIT], 0); /* nothing new */
    send_jobs(1, 5);
    tick();
    ck_assert_uint_eq(start_count, 2);
    ck_assert_uint_eq(hear()->messages[MR_CREDIT], 0); /* full */
    end_with(0, MR_DID_FAIL);
    ck_assert_uint_eq(hear()->credit, 6);
    end_with(1, MR_DID_FAIL);
    tick();
    ck_assert_uint_eq(hear()->credit, 7);
}
END_TEST

START_TEST(credit_counts_anew_from_each_welcome)
{
    connect();
    send_jobs(1, 3);
    tick();
    mr_session_fell(session);
    ck_assert_uint_eq(hear()->messages[MR_BEAT], 0); /* nothing to say to nobody */
    mr_session_welcomed(session, now, HEARTBEAT_MS);
    ck_assert_uint_eq(hear()->credit, THREADS + PREFETCH - 3);
}
END_TEST

START_TEST(jobs_beyond_the_credit_are_given_back)
{
    connect();
    send_jobs(1, 6);
    ck_assert_uint_eq(hear()->done_count, 1);
    ck_assert_int_eq(heard.dones[0].report, MR_DID_GIVE_BACK);
    ck_assert(mr_uuid_eq(heard.dones[0].id, id_of(6)));
}
END_TEST

START_TEST(results_that_wait_hold_credit_back)
{
    connect();
    /* Five run and go to the committer, which is slow. */
    for (unsigned i = 0; i < 5; i++) {
        send_jobs(i, 1);
        tick();
        to_store(i, 10);
    }
    /* 9 in all may be held (2 + 3 + 4): room for 4 more, not for 5. */
    ck_assert_uint_eq(hear()->credit, 9);
    mr_attempt_report(started[0], MR_DID_SUCCEED, MR_SPAN_NONE);
    come_back(started[0]);
    ck_assert_uint_eq(hear()->messages[MR_CREDIT], 0); /* not acknowledged yet */
    mr_session_acked(session, heard.done_corr);
    ck_assert_uint_eq(hear()->credit, 10);
}
END_TEST

START_TEST(large_results_that_wait_hold_credit_back)
{
    connect();
    send_jobs(1, 1);
    tick();
    to_store(0, 1000);
    ck_assert_uint_eq(hear()->messages[MR_CREDIT], 0);
    mr_attempt_report(started[0], MR_DID_SUCCEED, MR_SPAN_NONE);
    come_back(started[0]); /* its body is stored and small here */
    ck_assert_uint_eq(hear()->credit, 6);
}
END_TEST

/* ---- starting ------------------------------------------------------------------------------------ */

START_TEST(jobs_start_in_order_on_idle_executors)
{
    connect();
    send_jobs(1, 4);
    ck_assert_int_eq(tick(), now.mono_us + HEARTBEAT_MS * MS);
    ck_assert_uint_eq(start_count, 2);
    ck_assert(mr_uuid_eq(started[0]->id, id_of(1)));
    ck_assert(mr_uuid_eq(started[1]->id, id_of(2)));
    ck_assert_uint_ne(seats[0], seats[1]);
    ck_assert_uint_eq(mr_session_running(session), 2);
    end_with(1, MR_DID_FAIL);
    tick();
    ck_assert_uint_eq(start_count, 3);
    ck_assert(mr_uuid_eq(started[2]->id, id_of(3)));
    ck_assert_uint_eq(seats[2], seats[1]);
}
END_TEST

/* Short jobs open the pipeline; a long one closes it, and what is too much goes back. */
START_TEST(short_jobs_are_fetched_ahead_and_given_back)
{
    conf.prefetch_max = 40;
    conf.results_max = 1000;
    make_session();
    connect();
    for (unsigned i = 1; i <= 60; i++) {
        send_jobs(i, 1);
        tick();
        started[i - 1]->done.started_at_us = now.wall_us;
        started[i - 1]->done.finished_at_us = now.wall_us + 20;
        end_with(i - 1, MR_DID_FAIL);
        (void)hear();
    }
    mr_session_fell(session); /* so that all of it is said again */
    mr_session_welcomed(session, now, HEARTBEAT_MS);
    ck_assert_uint_eq(hear()->credit, THREADS + 40);
    start_count = 0;
    claims_max = 1;
    send_jobs(101, THREADS + 40);
    tick();
    ck_assert_uint_eq(start_count, THREADS);
    wait_ms(5); /* both are long: what waits behind them comes back */
    tick();
    for (uint32_t i = 0; i < 10; i++) { /* a row of long ones */
        ck_assert_uint_eq(start_count, THREADS + i);
        started[i]->done.started_at_us = now.wall_us - 2000 * MS;
        started[i]->done.finished_at_us = now.wall_us;
        end_with(i, MR_DID_FAIL);
        tick();
    }
    (void)hear();
    /* Beside the two that run, 2 * PREFETCH + THREADS may stay. */
    ck_assert_uint_gt(heard.done_count, 10);
    ck_assert_uint_le(THREADS + 40 - heard.done_count, THREADS + 2 * PREFETCH + THREADS);
    ck_assert_int_eq(heard.dones[10].report, MR_DID_GIVE_BACK);
}
END_TEST

START_TEST(a_kind_with_a_limit_lets_others_pass)
{
    struct mr_job_sent first = job_of(1), second = job_of(2);

    first.kind = second.kind = mr_span_str("b.alone");
    connect();
    send(&first);
    send(&second);
    send_jobs(3, 1);
    tick();
    ck_assert_uint_eq(start_count, 2);
    ck_assert(mr_uuid_eq(started[1]->id, id_of(3)));
    end_with(1, MR_DID_FAIL);
    tick();
    ck_assert_uint_eq(start_count, 2); /* an idle executor, but not for this kind */
    end_with(0, MR_DID_FAIL);
    tick();
    ck_assert_uint_eq(start_count, 3);
    ck_assert(mr_uuid_eq(started[2]->id, id_of(2)));
}
END_TEST

START_TEST(an_unknown_kind_fails_for_good)
{
    struct mr_job_sent sent = job_of(1);

    sent.kind = mr_span_str("no.such");
    connect();
    send(&sent);
    tick();
    ck_assert_uint_eq(start_count, 0);
    ck_assert_uint_eq(hear()->done_count, 1);
    ck_assert_int_eq(heard.dones[0].report, MR_DID_FAIL_FOR_GOOD);
    ck_assert_str_eq(heard.texts[0], "this worker does not offer the kind no.such");
}
END_TEST

START_TEST(what_is_sent_outlives_the_message)
{
    char kind[] = "a.plain", payload[] = "\x05", queue[] = "left", trace[] = "abc";
    struct mr_job_sent sent = {.id = id_of(1),
        .attempt = 3,
        .kind = mr_span_str(kind),
        .payload = mr_span_str(payload),
        .queue = mr_span_str(queue),
        .trace = mr_span_str(trace),
        .timeout_ms = 7};

    connect();
    send(&sent);
    memset(kind, 0, sizeof kind);
    memset(payload, 0, sizeof payload);
    memset(queue, 0, sizeof queue);
    memset(trace, 0, sizeof trace);
    tick();
    ck_assert_uint_eq(started[0]->number, 3);
    ck_assert_ptr_eq(started[0]->kind, &plain);
    ck_assert(mr_span_is(started[0]->payload, "\x05"));
    ck_assert(mr_span_is(started[0]->queue, "left"));
    ck_assert(mr_span_is(started[0]->trace, "abc"));
    ck_assert_uint_eq(started[0]->timeout_ms, 7);
}
END_TEST

/* ---- the same job again --------------------------------------------------------------------------- */

START_TEST(the_same_attempt_again_is_ignored)
{
    connect();
    send_jobs(1, 1);
    send_jobs(1, 1);
    tick();
    send_jobs(1, 1);
    tick();
    ck_assert_uint_eq(start_count, 1);
    ck_assert_uint_eq(mr_session_held(session), 1);
    ck_assert_uint_eq(hear()->done_count, 0);
    ck_assert_uint_eq(heard.credit, 7); /* the broker has counted all three */
}
END_TEST

START_TEST(a_newer_attempt_of_a_queued_job_takes_its_place)
{
    struct mr_job_sent newer = job_of(1);

    newer.attempt = 2;
    connect();
    send_jobs(1, 1);
    send(&newer);
    tick();
    ck_assert_uint_eq(start_count, 1);
    ck_assert_uint_eq(started[0]->number, 2);
}
END_TEST

START_TEST(a_newer_attempt_of_a_running_job_runs_beside_it)
{
    struct mr_job_sent newer = job_of(1);

    newer.attempt = 2;
    connect();
    send_jobs(1, 1);
    tick();
    send(&newer);
    tick();
    ck_assert_uint_eq(start_count, 2);
    ck_assert_int_eq(stop_of(0), MR_STOP_STALE);
    ck_assert_int_eq(stop_of(1), MR_STOP_NOT);
    end_with(0, MR_DID_GIVE_BACK); /* nobody wants to know */
    ck_assert_uint_eq(hear()->done_count, 0);
    end_with(1, MR_DID_FAIL);
    ck_assert_uint_eq(hear()->done_count, 1);
    ck_assert_uint_eq(heard.dones[0].attempt, 2);
}
END_TEST

/* From a broker that was started again and counts anew: it waits for the report of the number
 * that it sent, and would wait in vain. */
START_TEST(an_attempt_with_a_smaller_number_counts_too)
{
    struct mr_job_sent newer = job_of(1);

    newer.attempt = 2;
    connect();
    send(&newer);
    tick();
    send_jobs(1, 1);
    tick();
    ck_assert_uint_eq(start_count, 2);
    ck_assert_int_eq(stop_of(0), MR_STOP_STALE);
    end_with(0, MR_DID_GIVE_BACK);
    ck_assert_uint_eq(hear()->done_count, 0);
    end_with(1, MR_DID_FAIL);
    ck_assert_uint_eq(hear()->done_count, 1);
    ck_assert_uint_eq(heard.dones[0].attempt, 1);
}
END_TEST

/* ---- reports ------------------------------------------------------------------------------------- */

START_TEST(reports_are_gathered_and_kept_until_acknowledged)
{
    connect();
    send_jobs(1, 3);
    tick();
    started[1]->rings = true;
    started[0]->done.started_at_us = 5;
    end_with(0, MR_DID_FAIL);
    end_with(1, MR_DID_SNOOZE);
    ck_assert_uint_eq(hear()->messages[MR_DONE], 1);
    ck_assert_uint_eq(heard.done_count, 2);
    ck_assert_uint_eq(heard.flags, MR_DONE_DOORBELL);
    ck_assert_int_eq(heard.dones[0].report, MR_DID_FAIL);
    ck_assert_int_eq(heard.dones[0].started_at_us, 5);
    ck_assert_str_eq(heard.texts[0], "so it went");
    ck_assert_int_eq(heard.dones[1].report, MR_DID_SNOOZE);
    ck_assert_uint_eq(mr_session_held(session), 3);
    ck_assert_uint_eq(hear()->messages[MR_DONE], 0);
    mr_session_acked(session, 4711); /* of nothing of ours */
    ck_assert_uint_eq(mr_session_held(session), 3);
}
END_TEST

/* Successes are acknowledged at once: what ends meanwhile travels together. */
START_TEST(reports_gather_while_the_last_ones_are_under_way)
{
    uint64_t corr = 0;

    conf.results_max = 1000;
    make_session();
    connect();
    send_jobs(1, 5);
    for (uint32_t i = 0; i < 3; i++) {
        tick();
        end_with(i, MR_DID_SUCCEED);
        ck_assert_uint_eq(hear()->done_count, i == 0);
        corr = i == 0 ? heard.done_corr : corr;
    }
    mr_session_acked(session, corr);
    ck_assert_uint_eq(hear()->messages[MR_DONE], 1);
    ck_assert_uint_eq(heard.done_count, 2);
}
END_TEST

START_TEST(nobody_waits_for_what_the_broker_has_to_store)
{
    connect();
    send_jobs(1, 3);
    tick();
    end_with(0, MR_DID_FAIL);
    ck_assert_uint_eq(hear()->done_count, 1);
    end_with(1, MR_DID_SUCCEED);
    ck_assert_uint_eq(hear()->done_count, 1);
}
END_TEST

START_TEST(those_that_gather_wait_no_longer_than_their_number_allows)
{
    conf.prefetch = conf.prefetch_max = conf.results_max = 1000;
    make_session();
    mr_session_welcomed(session, now, HEARTBEAT_MS);
    (void)hear();
    send_jobs(1, 300);
    for (uint32_t i = 0; i < 257; i++) {
        start_count = 0;
        tick();
        mr_attempt_report(started[0], MR_DID_SUCCEED, MR_SPAN_NONE);
        come_back(started[0]);
        mr_session_idle(session, seats[0]);
        (void)hear();
        ck_assert_uint_eq(heard.done_count, i == 0 ? 1 : i == 256 ? 256 : 0);
    }
}
END_TEST

START_TEST(an_acknowledged_report_is_forgotten)
{
    uint64_t corr;

    connect();
    send_jobs(1, 1);
    tick();
    end_with(0, MR_DID_FAIL);
    corr = hear()->done_corr;
    mr_session_acked(session, corr);
    ck_assert_uint_eq(mr_session_held(session), 0);
    mr_session_acked(session, corr);
    mr_session_fell(session);
    mr_session_welcomed(session, now, HEARTBEAT_MS);
    ck_assert_uint_eq(hear()->done_count, 0);
}
END_TEST

START_TEST(reports_are_repeated_in_a_new_session)
{
    connect();
    send_jobs(1, 2);
    tick();
    end_with(0, MR_DID_FAIL);
    ck_assert_uint_eq(hear()->done_count, 1);
    end_with(1, MR_DID_FAIL_FOR_GOOD);
    ck_assert_uint_eq(hear()->done_count, 1);
    mr_session_welcomed(session, now, HEARTBEAT_MS);
    ck_assert_uint_eq(hear()->done_count, 2);
    ck_assert_uint_eq(heard.held_count, 2); /* held until acknowledged */
}
END_TEST

START_TEST(a_broker_that_is_busy_is_told_again_after_its_hint)
{
    uint64_t corr;

    connect();
    send_jobs(1, 1);
    tick();
    end_with(0, MR_DID_FAIL);
    corr = hear()->done_corr;
    ck_assert_uint_eq(mr_session_refused(session, now, corr, MR_BUSY, 300), 0);
    ck_assert_uint_eq(hear()->done_count, 0);
    ck_assert_int_eq(tick(), now.mono_us + 300 * MS);
    wait_ms(300);
    ck_assert_uint_eq(hear()->done_count, 1);
    ck_assert_uint_ne(heard.done_corr, corr);
    mr_session_acked(session, heard.done_corr);
    ck_assert_uint_eq(mr_session_held(session), 0);
}
END_TEST

START_TEST(a_report_that_is_refused_for_good_is_given_up)
{
    connect();
    send_jobs(1, 2);
    tick();
    end_with(0, MR_DID_FAIL);
    end_with(1, MR_DID_FAIL);
    ck_assert_uint_eq(
        mr_session_refused(session, now, hear()->done_corr, MR_MALFORMED, 0), 2);
    ck_assert_uint_eq(mr_session_held(session), 0);
    ck_assert_uint_eq(mr_session_refused(session, now, 999, MR_MALFORMED, 0), 0);
}
END_TEST

START_TEST(large_reports_travel_in_several_messages)
{
    static uint8_t large[200 * 1024];

    conf.results_bytes_max = 1 << 30;
    make_session();
    connect();
    send_jobs(1, 2);
    tick();
    for (uint32_t i = 0; i < 2; i++) {
        mr_wr_bin(&started[i]->body, mr_span(large, sizeof large));
        mr_attempt_report(started[i], MR_DID_SUCCEED, MR_SPAN_NONE);
        come_back(started[i]);
    }
    ck_assert_uint_eq(hear()->messages[MR_DONE], 2);
    ck_assert_uint_eq(heard.done_count, 2);
}
END_TEST

int
main(void)
{
    const TTest *const tests[] = {credit_is_what_was_taken_and_what_there_is_room_for,
        credit_counts_anew_from_each_welcome, jobs_beyond_the_credit_are_given_back,
        results_that_wait_hold_credit_back, large_results_that_wait_hold_credit_back,
        jobs_start_in_order_on_idle_executors,
        short_jobs_are_fetched_ahead_and_given_back, a_kind_with_a_limit_lets_others_pass,
        an_unknown_kind_fails_for_good, what_is_sent_outlives_the_message,
        the_same_attempt_again_is_ignored,
        a_newer_attempt_of_a_queued_job_takes_its_place,
        a_newer_attempt_of_a_running_job_runs_beside_it,
        an_attempt_with_a_smaller_number_counts_too,
        reports_are_gathered_and_kept_until_acknowledged,
        reports_gather_while_the_last_ones_are_under_way,
        nobody_waits_for_what_the_broker_has_to_store,
        those_that_gather_wait_no_longer_than_their_number_allows,
        an_acknowledged_report_is_forgotten, reports_are_repeated_in_a_new_session,
        a_broker_that_is_busy_is_told_again_after_its_hint,
        a_report_that_is_refused_for_good_is_given_up,
        large_reports_travel_in_several_messages, NULL};

    return run_suite("worker/session", tests);
}
