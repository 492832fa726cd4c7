/* The session: signs of life, revocations, timeouts, the end, and all of it together. */
#include "tests/unit/worker_rig.h"

/* ---- BEAT ------------------------------------------------------------------------------------------ */

START_TEST(beats_come_with_the_heartbeat_and_say_what_is_held)
{
    connect();
    ck_assert_uint_eq(hear()->messages[MR_BEAT], 0);
    send_jobs(1, 3);
    tick();
    mr_attempt_progress(started[0], 250, mr_span_str("a quarter"));
    mr_attempt_progress(started[0], 500, mr_span_str("half"));
    wait_ms(HEARTBEAT_MS - 1);
    ck_assert_uint_eq(hear()->messages[MR_BEAT], 0);
    wait_ms(1);
    ck_assert_uint_eq(hear()->messages[MR_BEAT], 1);
    ck_assert_uint_eq(heard.held_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        bool is_first = mr_uuid_eq(heard.held[i].id, id_of(1));

        ck_assert_uint_eq(heard.held[i].attempt, 1);
        ck_assert_uint_eq(heard.held[i].permille, is_first ? 500 : 0);
    }
    wait_ms(HEARTBEAT_MS);
    ck_assert_uint_eq(hear()->held_count, 3);
}
END_TEST

START_TEST(the_first_thing_said_is_a_beat)
{
    struct mr_wr wr;
    struct mr_msg msg;

    mr_wr_init(&wr, MR_MESSAGE_BYTES_MAX);
    ck_assert(!mr_session_say(session, now, &wr));
    mr_session_welcomed(session, now, HEARTBEAT_MS);
    ck_assert(mr_session_say(session, now, &wr));
    ck_assert_int_eq(mr_msg_open(mr_wr_span(&wr), &msg), MR_OK);
    ck_assert_int_eq(msg.verb, MR_BEAT);
    mr_wr_fini(&wr);
}
END_TEST

/* ---- REVOKE ----------------------------------------------------------------------------------------- */

START_TEST(queued_jobs_are_cancelled_at_once)
{
    connect();
    send_jobs(1, 5);
    tick();
    revoke(3, 1, MR_WHY_CANCELLED);
    revoke(4, 1, MR_WHY_TIMED_OUT);
    revoke(5, 1, MR_WHY_STALE);
    ck_assert_uint_eq(hear()->done_count, 2);
    ck_assert_int_eq(heard.dones[0].report, MR_DID_CANCEL);
    ck_assert_int_eq(heard.dones[1].report, MR_DID_TIME_OUT);
    ck_assert_uint_eq(mr_session_held(session), 4);
}
END_TEST

START_TEST(running_jobs_are_told_to_stop_again_and_again)
{
    connect();
    send_jobs(1, 2);
    tick();
    revoke(2, 1, MR_WHY_CANCELLED);
    ck_assert_int_eq(stop_of(0), MR_STOP_NOT);
    ck_assert_int_eq(stop_of(1), MR_STOP_CANCELLED);
    tick();
    ck_assert_uint_eq(cancel_count, 1);
    ck_assert_uint_eq(last_seat, seats[1]);
    tick();
    ck_assert_uint_eq(cancel_count, 1);
    wait_ms(250);
    tick();
    ck_assert_uint_eq(cancel_count, 2);
    atomic_store(&started[1]->is_handled, true);
    wait_ms(250);
    tick();
    ck_assert_uint_eq(cancel_count, 2); /* the handler is through */
    revoke(2, 1, MR_WHY_TIMED_OUT);
    ck_assert_int_eq(stop_of(1), MR_STOP_CANCELLED); /* the first reason stays */
}
END_TEST

START_TEST(a_stale_job_is_stopped_and_forgotten)
{
    connect();
    send_jobs(1, 1);
    tick();
    revoke(1, 1, MR_WHY_STALE);
    ck_assert_int_eq(stop_of(0), MR_STOP_STALE);
    wait_ms(HEARTBEAT_MS);
    ck_assert_uint_eq(hear()->held_count, 0);
    end_with(0, MR_DID_GIVE_BACK);
    ck_assert_uint_eq(hear()->done_count, 0);
    ck_assert_uint_eq(mr_session_held(session), 0);
}
END_TEST

START_TEST(what_is_not_held_is_not_revoked)
{
    connect();
    send_jobs(1, 1);
    tick();
    revoke(1, 2, MR_WHY_CANCELLED);
    revoke(7, 1, MR_WHY_CANCELLED);
    ck_assert_int_eq(stop_of(0), MR_STOP_NOT);
    end_with(0, MR_DID_FAIL);
    revoke(1, 1, MR_WHY_STALE); /* reported already */
    ck_assert_uint_eq(hear()->done_count, 1);
}
END_TEST

/* ---- timeouts ------------------------------------------------------------------------------------------ */

static void
start_with_timeout(unsigned n, uint32_t timeout_ms)
{
    struct mr_job_sent sent = job_of(n);

    sent.timeout_ms = timeout_ms;
    send(&sent);
    tick();
}

START_TEST(a_timeout_stops_the_attempt)
{
    connect();
    start_with_timeout(1, 100);
    ck_assert_int_eq(tick(), now.mono_us + 100 * MS);
    wait_ms(99);
    tick();
    ck_assert_int_eq(stop_of(0), MR_STOP_NOT);
    wait_ms(1);
    tick();
    ck_assert_int_eq(stop_of(0), MR_STOP_TIMED_OUT);
    ck_assert_uint_eq(cancel_count, 1);
    end_with(0, MR_DID_TIME_OUT);
    wait_ms(10000);
    tick();
    ck_assert_uint_eq(replace_count, 0);
}
END_TEST

START_TEST(storing_a_result_does_not_time_out)
{
    connect();
    start_with_timeout(1, 100);
    to_store(0, 10); /* the committer has it */
    wait_ms(10000);
    tick();
    ck_assert_int_eq(stop_of(0), MR_STOP_NOT);
    start_with_timeout(2, 100);
    atomic_store(&started[1]->is_handled, true); /* its transaction is being finished */
    wait_ms(10000);
    tick();
    ck_assert_int_eq(stop_of(1), MR_STOP_NOT);
    ck_assert_uint_eq(replace_count, 0);
    come_back(started[0]);
}
END_TEST

START_TEST(an_executor_that_hangs_is_replaced)
{
    connect();
    start_with_timeout(1, 100);
    wait_ms(100);
    tick();
    wait_ms(500);
    tick();
    ck_assert_uint_eq(replace_count, 1);
    ck_assert_ptr_eq(replaced, started[0]);
    ck_assert_uint_eq(hear()->done_count, 1);
    ck_assert_int_eq(heard.dones[0].report, MR_DID_TIME_OUT);
    ck_assert_uint_eq(heard.dones[0].attempt, 1);
    mr_session_acked(session, heard.done_corr);
    ck_assert_uint_eq(mr_session_held(session), 0);
    /* The number is used again, and the late attempt is nobody's business. */
    send_jobs(2, 2);
    tick();
    ck_assert_uint_eq(start_count, 3);
    mr_attempt_report(started[0], MR_DID_SUCCEED, MR_SPAN_NONE);
    come_back(started[0]);
    ck_assert_uint_eq(hear()->done_count, 0);
    ck_assert_uint_eq(mr_session_held(session), 2);
    ck_assert(!mr_session_is_worn_out(session));
}
END_TEST

START_TEST(without_spares_the_session_drains)
{
    connect();
    start_with_timeout(1, 100);
    start_with_timeout(2, 100);
    send_jobs(3, 1);
    wait_ms(100);
    tick();
    wait_ms(500);
    tick();
    ck_assert_uint_eq(replace_count, 1);
    ck_assert(mr_session_is_worn_out(session));
    ck_assert_uint_eq(hear()->done_count, 3); /* two timed out, one given back */
    ck_assert_uint_eq(heard.messages[MR_CREDIT], 0);
    mr_session_acked(session, heard.done_corr);
    ck_assert(mr_session_is_over(session, now));
    for (uint32_t i = 0; i < 2; i++) /* so that nothing leaks here */
        come_back(started[i]);
}
END_TEST

/* ---- the end --------------------------------------------------------------------------------------------- */

/* Once a conversation, and before what is given back, so that it is not sent again at once. */
START_TEST(draining_is_said_first)
{
    connect();
    send_jobs(1, 3);
    tick();
    ck_assert_uint_eq(hear()->messages[MR_BYE], 0);
    mr_session_drain(session, now);
    ck_assert_uint_eq(hear()->messages[MR_BYE], 1);
    ck_assert_uint_eq(heard.dones_at_bye, 1); /* none yet */
    ck_assert_uint_eq(heard.messages[MR_DONE], 1);
    mr_session_acked(session, heard.done_corr);
    ck_assert_uint_eq(hear()->messages[MR_BYE], 0);
    mr_session_fell(session);
    mr_session_welcomed(session, now, HEARTBEAT_MS);
    ck_assert_uint_eq(hear()->messages[MR_BYE], 1);
    end_with(0, MR_DID_FAIL);
    end_with(1, MR_DID_FAIL);
    mr_session_acked(session, hear()->done_corr);
    ck_assert(mr_session_is_over(session, now));
}
END_TEST

START_TEST(draining_gives_back_what_has_not_started)
{
    connect();
    send_jobs(1, 5);
    tick();
    mr_session_drain(session, now);
    ck_assert_uint_eq(hear()->done_count, 3);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_int_eq(heard.dones[i].report, MR_DID_GIVE_BACK);
    mr_session_acked(session, heard.done_corr);
    end_with(0, MR_DID_FAIL);
    ck_assert_uint_eq(hear()->messages[MR_CREDIT], 0);
    send_jobs(9, 1); /* crossed our drain on its way */
    ck_assert_uint_eq(hear()->done_count, 1);
    ck_assert_int_eq(heard.dones[0].report, MR_DID_GIVE_BACK);
    mr_session_acked(session, heard.done_corr);
    ck_assert(!mr_session_is_over(session, now));
    end_with(1, MR_DID_FAIL);
    mr_session_fell(session);
    mr_session_welcomed(session, now, HEARTBEAT_MS);
    mr_session_acked(session, hear()->done_corr);
    ck_assert(mr_session_is_over(session, now));
    ck_assert_uint_eq(hurry_count, 0);
}
END_TEST

START_TEST(draining_has_an_end)
{
    connect();
    send_jobs(1, 1);
    tick();
    mr_session_drain(session, now);
    wait_ms(1999);
    tick();
    ck_assert_int_eq(stop_of(0), MR_STOP_NOT);
    ck_assert_int_eq(mr_session_tick(session, now), now.mono_us - 999 * MS);
    (void)hear();
    ck_assert_int_eq(tick(), now.mono_us + 1 * MS);
    wait_ms(1);
    tick();
    ck_assert_int_eq(stop_of(0), MR_STOP_DRAIN);
    ck_assert_uint_eq(hurry_count, 1);
    wait_ms(499);
    tick();
    ck_assert_uint_eq(hurry_count, 1);
    ck_assert(!mr_session_is_over(session, now));
    wait_ms(1);
    ck_assert(mr_session_is_over(session, now));
    end_with(0, MR_DID_GIVE_BACK);
}
END_TEST

START_TEST(the_second_signal_ends_it_at_once)
{
    connect();
    send_jobs(1, 1);
    tick();
    ck_assert(!mr_session_is_over(session, now));
    mr_session_drain(session, now);
    ck_assert(!mr_session_is_over(session, now));
    mr_session_drain(session, now);
    ck_assert(mr_session_is_over(session, now));
    end_with(0, MR_DID_GIVE_BACK);
}
END_TEST

/* ---- all together ---------------------------------------------------------------------------------------- */

static uint64_t seed = 88172645463325252u;

static uint32_t
any(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed % below);
}

/* One executor of those that have something to do ends it somehow. */
static void
end_any(bool *is_busy, bool *is_storing)
{
    uint32_t i = start_count ? any(start_count) : 0;

    if (!start_count)
        return;
    if (is_storing[i]) {
        mr_attempt_report(started[i], MR_DID_SUCCEED, MR_SPAN_NONE);
        come_back(started[i]);
        is_storing[i] = false;
    } else if (is_busy[seats[i]]) {
        is_busy[seats[i]] = false;
        is_storing[i] = any(2);
        if (is_storing[i]) {
            to_store(i, any(100));
            return;
        }
        mr_attempt_report(started[i], MR_DID_FAIL, MR_SPAN_NONE);
        come_back(started[i]);
        mr_session_idle(session, seats[i]);
    } else {
        return;
    }
    start_count--;
    started[i] = started[start_count];
    seats[i] = seats[start_count];
    is_storing[i] = is_storing[start_count];
    is_storing[start_count] = false;
}

/* Every job that is sent is reported once in the end, whatever connections do. */
START_TEST(nothing_is_lost_over_many_sessions)
{
    enum { JOBS = 2000 };
    static uint32_t reported[JOBS];
    bool is_busy[THREADS] = {false}, is_storing[64] = {false};
    uint64_t credit = 0, sent = 0;
    unsigned next = 0;
    uint32_t left = JOBS;

    memset(reported, 0, sizeof reported);
    mr_session_welcomed(session, now, HEARTBEAT_MS);
    for (uint32_t turn = 0; left; turn++) {
        uint32_t before;

        ck_assert_uint_lt(turn, 1000000);
        wait_ms(any(50));
        if (any(20) == 0) {
            mr_session_fell(session);
            mr_session_welcomed(session, now, HEARTBEAT_MS);
            credit = sent = 0;
        }
        while (sent < credit && next < JOBS && any(3)) {
            send_jobs(next++, 1);
            sent++;
        }
        end_any(is_busy, is_storing);
        before = start_count;
        tick();
        for (uint32_t i = before; i < start_count; i++)
            is_busy[seats[i]] = true;
        (void)hear();
        if (heard.credit > credit)
            credit = heard.credit;
        /* The answer may be lost on its way; then the report comes again. */
        if (heard.messages[MR_DONE] == 1 && any(10)) {
            for (uint32_t i = 0; i < heard.done_count; i++) {
                uint32_t n =
                    (uint32_t)heard.dones[i].id.b[14] << 8 | heard.dones[i].id.b[15];

                left -= reported[n]++ == 0;
            }
            mr_session_acked(session, heard.done_corr);
        }
        ck_assert_uint_le(mr_session_held(session), THREADS + PREFETCH + 4);
    }
    ck_assert_uint_eq(next, JOBS);
    for (unsigned i = 0; i < JOBS; i++)
        ck_assert_uint_eq(reported[i], 1);
}
END_TEST

int
main(void)
{
    const TTest *const tests[] = {beats_come_with_the_heartbeat_and_say_what_is_held,
        the_first_thing_said_is_a_beat, queued_jobs_are_cancelled_at_once,
        running_jobs_are_told_to_stop_again_and_again,
        a_stale_job_is_stopped_and_forgotten, what_is_not_held_is_not_revoked,
        a_timeout_stops_the_attempt, storing_a_result_does_not_time_out,
        an_executor_that_hangs_is_replaced, without_spares_the_session_drains,
        draining_is_said_first, draining_gives_back_what_has_not_started,
        draining_has_an_end, the_second_signal_ends_it_at_once,
        nothing_is_lost_over_many_sessions, NULL};

    return run_suite("worker/stop", tests);
}
