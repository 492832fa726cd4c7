/* The session: batches of short jobs, and what is taken back from them. */
#include "tests/unit/worker_rig.h"

/* Jobs are taken to run for 10 us, so that ten of them make two batches of five. */
static void
connect_short(void)
{
    conf.guess_us = 10;
    conf.prefetch_max = 40;
    conf.results_max = 1000;
    make_session();
    mr_session_welcomed(session, now, HEARTBEAT_MS);
    ck_assert_uint_eq(hear()->credit, THREADS + 40);
}

static void
hand_over(uint32_t claims)
{
    connect_short();
    claims_max = claims;
    send_jobs(1, 10);
    tick();
    ck_assert_uint_eq(batches[0]->count, 5);
    ck_assert_uint_eq(batches[1]->count, 5);
    ck_assert_uint_eq(start_count, 2 * claims);
}

START_TEST(short_jobs_are_handed_over_in_batches_in_their_order)
{
    hand_over(5);
    for (uint32_t i = 0; i < 10; i++)
        ck_assert(mr_uuid_eq(started[i]->id, id_of(1 + i)));
    ck_assert_uint_eq(mr_session_running(session), 2);
    ck_assert_uint_eq(mr_session_held(session), 10);
}
END_TEST

/* Some come back at once, some are with the committer when the executor is idle. */
START_TEST(each_of_a_batch_is_reported)
{
    hand_over(5);
    for (uint32_t i = 0; i < 3; i++) {
        mr_attempt_report(started[i], MR_DID_FAIL, MR_SPAN_NONE);
        come_back(started[i]);
    }
    started[3]->stored_bytes = started[4]->stored_bytes = 100;
    mr_session_idle(session, 0);
    ck_assert_uint_eq(mr_session_running(session), 1);
    ck_assert_uint_eq(hear()->done_count, 3);
    for (uint32_t i = 3; i < 5; i++) {
        mr_attempt_report(started[i], MR_DID_SUCCEED, MR_SPAN_NONE);
        come_back(started[i]);
    }
    ck_assert_uint_eq(hear()->done_count, 2);
    send_jobs(11, 1);
    tick();
    ck_assert_uint_eq(start_count, 11); /* the first executor is idle again */
    ck_assert_uint_eq(seats[10], 0);
}
END_TEST

START_TEST(kinds_with_a_limit_go_alone)
{
    struct mr_job_sent limited = job_of(3);

    limited.kind = mr_span_str("b.alone");
    connect_short();
    send_jobs(1, 2);
    send(&limited);
    send_jobs(4, 4);
    tick();
    ck_assert_uint_eq(batches[0]->count, 2); /* up to the limited one */
    ck_assert_uint_eq(batches[1]->count, 1);
    ck_assert(mr_uuid_eq(started[2]->id, id_of(3)));
}
END_TEST

/* ---- taken back -------------------------------------------------------------------------------- */

START_TEST(what_waits_behind_a_long_one_runs_elsewhere)
{
    hand_over(1);
    claims_max = 5;
    for (uint32_t i = 1; i < 5; i++) /* the second executor is through with its batch */
        ck_assert(claim(1, i));
    mr_session_idle(session, 1);
    ck_assert_int_eq(tick(), now.mono_us + 5 * MS);
    wait_ms(5);
    tick();
    /* 2, 3, 4 and 5 stood behind 1. */
    ck_assert_uint_eq(start_count, 10);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert(mr_uuid_eq(started[6 + i]->id, id_of(2 + i)));
        ck_assert_uint_eq(seats[6 + i], 1);
    }
    for (uint32_t i = 1; i < 5; i++)
        ck_assert(!claim(0, i));
}
END_TEST

/* A thread that has not come to its batch yet does not run a long job. */
START_TEST(nothing_is_taken_back_before_the_first_has_started)
{
    hand_over(0);
    wait_ms(5);
    ck_assert_int_eq(tick(), now.mono_us + 5 * MS);
    for (uint32_t i = 0; i < 5; i++)
        ck_assert(claim(0, i));
}
END_TEST

START_TEST(what_has_not_started_can_be_revoked)
{
    hand_over(1);
    revoke(2, 1, MR_WHY_CANCELLED);
    revoke(3, 1, MR_WHY_STALE);
    revoke(1, 1, MR_WHY_CANCELLED); /* this one runs */
    ck_assert_uint_eq(hear()->done_count, 1);
    ck_assert(mr_uuid_eq(heard.dones[0].id, id_of(2)));
    ck_assert_int_eq(heard.dones[0].report, MR_DID_CANCEL);
    ck_assert_int_eq(stop_of(0), MR_STOP_CANCELLED);
    ck_assert(!claim(0, 1));
    ck_assert(!claim(0, 2));
    ck_assert(claim(0, 3));
    ck_assert_uint_eq(mr_session_held(session), 9); /* the stale one is forgotten */
}
END_TEST

START_TEST(a_newer_attempt_replaces_one_that_has_not_started)
{
    struct mr_job_sent newer = job_of(3);

    newer.attempt = 2;
    hand_over(1);
    send(&newer);
    ck_assert_uint_eq(mr_session_held(session), 10);
    ck_assert(!claim(0, 2));
    for (uint32_t i = 1; i < 5; i++)
        ck_assert(claim(1, i));
    mr_session_idle(session, 1);
    tick();
    ck_assert_uint_eq(started[start_count - 1]->number, 2);
}
END_TEST

START_TEST(what_an_executor_that_ends_has_not_claimed_comes_back)
{
    hand_over(1);
    mr_session_idle(session, 0);
    tick(); /* on the same one here: 2, 3, 4 and 5 */
    ck_assert_uint_eq(batches[0]->count, 4);
    ck_assert(mr_uuid_eq(started[2]->id, id_of(2)));
}
END_TEST

START_TEST(what_has_not_started_is_given_back_at_the_end)
{
    hand_over(1);
    mr_session_drain(session, now);
    ck_assert_uint_eq(hear()->done_count, 8);
    for (uint32_t i = 0; i < 8; i++)
        ck_assert_int_eq(heard.dones[i].report, MR_DID_GIVE_BACK);
    ck_assert(mr_uuid_eq(heard.dones[7].id, id_of(5)) ||
              mr_uuid_eq(heard.dones[7].id, id_of(10)));
    ck_assert_int_eq(tick(), now.mono_us + HEARTBEAT_MS * MS);
}
END_TEST

/* ---- time ------------------------------------------------------------------------------------------ */

static void
hand_over_with_timeout(uint32_t timeout_ms)
{
    connect_short();
    claims_max = 1;
    for (unsigned i = 1; i <= 5; i++) {
        struct mr_job_sent sent = job_of(i);

        sent.timeout_ms = timeout_ms;
        send(&sent);
    }
    tick();
    ck_assert_uint_eq(batches[0]->count, 5);
}

START_TEST(a_timeout_counts_from_the_start_of_each)
{
    hand_over_with_timeout(4);
    wait_ms(3);
    atomic_store(&started[0]->is_handled, true);
    ck_assert(claim(0, 1));
    wait_ms(1); /* the first would be late by now */
    (void)tick();
    ck_assert_int_eq(stop_of(1), MR_STOP_NOT);
    wait_ms(3);
    (void)tick();
    ck_assert_int_eq(stop_of(1), MR_STOP_TIMED_OUT);
    ck_assert_int_eq(stop_of(0), MR_STOP_NOT);
    ck_assert_uint_eq(cancel_count, 1);
}
END_TEST

/* The handler was called again in place: it is watched as before. */
START_TEST(one_that_is_handled_again_is_late_all_the_same)
{
    hand_over_with_timeout(4);
    atomic_store(&started[0]->is_handled, true);
    (void)tick();
    atomic_store(&started[0]->is_handled, false);
    wait_ms(4);
    (void)tick();
    ck_assert_int_eq(stop_of(0), MR_STOP_TIMED_OUT);
}
END_TEST

START_TEST(the_others_of_a_hung_executor_run_elsewhere)
{
    hand_over_with_timeout(2);
    atomic_store(&started[0]->is_handled, true);
    started[0]->stored_bytes = 1;
    ck_assert(claim(0, 1));
    wait_ms(2);
    (void)tick();
    ck_assert_int_eq(stop_of(1), MR_STOP_TIMED_OUT);
    wait_ms(500);
    claims_max = 5;
    (void)tick();
    ck_assert_uint_eq(replace_count, 1);
    ck_assert_ptr_eq(replaced, started[1]);
    (void)tick();
    ck_assert_uint_eq(
        start_count, 5); /* 3, 4, 5: on the other one, or on the new thread */
    ck_assert_uint_eq(hear()->done_count, 1);
    ck_assert_int_eq(heard.dones[0].report, MR_DID_TIME_OUT);
    /* The first is stored after all, and the hung one comes round. */
    mr_attempt_report(started[0], MR_DID_SUCCEED, MR_SPAN_NONE);
    come_back(started[0]);
    ck_assert_uint_eq(hear()->done_count, 1);
    come_back(started[1]);
    ck_assert_uint_eq(hear()->done_count, 0);
}
END_TEST

int
main(void)
{
    const TTest *const tests[] = {short_jobs_are_handed_over_in_batches_in_their_order,
        each_of_a_batch_is_reported, kinds_with_a_limit_go_alone,
        what_waits_behind_a_long_one_runs_elsewhere,
        nothing_is_taken_back_before_the_first_has_started,
        what_has_not_started_can_be_revoked,
        a_newer_attempt_replaces_one_that_has_not_started,
        what_an_executor_that_ends_has_not_claimed_comes_back,
        what_has_not_started_is_given_back_at_the_end,
        a_timeout_counts_from_the_start_of_each,
        one_that_is_handled_again_is_late_all_the_same,
        the_others_of_a_hung_executor_run_elsewhere, NULL};

    return run_suite("worker/batch", tests);
}
