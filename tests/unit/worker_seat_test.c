/* The session: jobs that share a transaction, and what comes of those that could not. */
#include "tests/unit/worker_rig.h"

enum { TIMEOUT_MS = 100 };

static struct mr_job_sent
grouped_job(unsigned n)
{
    struct mr_job_sent sent = job_of(n);

    sent.kind = mr_span_str("c.grouped");
    sent.timeout_ms = TIMEOUT_MS;
    return sent;
}

/* 1 to 4 with the first executor, 5 to 8 with the other one; however long they may run. */
static void
hand_over(void)
{
    conf.prefetch = conf.prefetch_max = 40;
    conf.results_max = 1000;
    make_session();
    mr_session_welcomed(session, now, HEARTBEAT_MS);
    (void)hear();
    for (unsigned i = 1; i <= 8; i++) {
        struct mr_job_sent sent = grouped_job(i);

        send(&sent);
    }
    (void)tick();
    ck_assert_uint_eq(batches[0]->count, 4);
    ck_assert_uint_eq(batches[1]->count, 4);
    ck_assert_uint_eq(start_count, 8);
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_ptr_eq(batches[0]->items[i].group, &grouped);
}

/* As the executor does it when the group came to nothing. */
static void
end_apart(uint32_t i)
{
    atomic_store(&started[i]->is_handled, true);
    started[i]->comes_back = started[i]->is_alone = true;
    come_back(started[i]);
}

START_TEST(a_group_is_handed_over_at_once)
{
    hand_over();
}
END_TEST

START_TEST(only_first_attempts_share)
{
    struct mr_job_sent second = grouped_job(1), other = job_of(3);
    const struct mr_batch *batch;

    conf.prefetch = conf.prefetch_max = 40;
    conf.guess_us = 10;
    make_session();
    mr_session_welcomed(session, now, HEARTBEAT_MS);
    (void)hear();
    second.attempt = 2;
    send(&second);
    second = grouped_job(2);
    send(&second);
    send(&other);
    claims_max = 0;
    (void)tick();
    batch = batches[0];
    ck_assert_uint_eq(batch->count, 3);
    ck_assert_ptr_null(batch->items[0].group);
    ck_assert_ptr_eq(batch->items[1].group, &grouped);
    ck_assert_ptr_null(batch->items[2].group);
}
END_TEST

START_TEST(what_comes_back_runs_alone)
{
    hand_over();
    for (uint32_t i = 0; i < 4; i++)
        end_apart(i);
    ck_assert_uint_eq(hear()->done_count, 0);
    mr_session_idle(session, 0);
    ck_assert_uint_eq(mr_session_held(session), 8);
    (void)tick();
    ck_assert_uint_ge(start_count, 9);
    ck_assert_ptr_null(batches[0]->items[0].group);
    ck_assert(!atomic_load(&started[8]->is_handled));
    for (uint32_t i = 8; i < start_count; i++)
        mr_attempt_report(started[i], MR_DID_FAIL, MR_SPAN_NONE);
    come_back(started[8]);
    ck_assert_uint_eq(hear()->done_count, 1);
}
END_TEST

START_TEST(what_comes_back_at_the_end_is_given_back)
{
    hand_over();
    mr_session_drain(session, now);
    (void)hear();
    end_apart(2);
    ck_assert_uint_eq(hear()->done_count, 1);
    ck_assert_int_eq(heard.dones[0].report, MR_DID_GIVE_BACK);
}
END_TEST

START_TEST(what_comes_back_and_is_stale_is_forgotten)
{
    hand_over();
    revoke(2, 1, MR_WHY_STALE);
    end_apart(1);
    ck_assert_uint_eq(hear()->done_count, 0);
    ck_assert_uint_eq(mr_session_held(session), 7);
}
END_TEST

/* Whoever of them it is. */
START_TEST(a_stop_of_one_cancels_the_sql_of_all)
{
    hand_over();
    revoke(6, 1, MR_WHY_CANCELLED);
    (void)tick();
    ck_assert_uint_eq(cancel_count, 1);
    ck_assert_uint_eq(last_seat, 1);
    for (uint32_t i = 4; i < 8; i++)
        ck_assert_int_eq(stop_of(i), i == 5 ? MR_STOP_CANCELLED : MR_STOP_NOT);
    wait_ms(300);
    (void)tick();
    ck_assert_uint_ge(cancel_count, 2);
}
END_TEST

/* Nobody is to blame; each has its whole time when it runs alone. */
START_TEST(a_group_that_takes_too_long)
{
    hand_over();
    for (uint32_t i = 4; i < 8; i++)
        atomic_store(&started[i]->is_handled, true);
    wait_ms(TIMEOUT_MS - 1);
    (void)tick();
    ck_assert_int_eq(stop_of(0), MR_STOP_NOT);
    wait_ms(1);
    (void)tick();
    for (uint32_t i = 0; i < 8; i++)
        ck_assert_int_eq(stop_of(i), i < 4 ? MR_STOP_ALONE : MR_STOP_NOT);
    ck_assert_uint_eq(cancel_count, 1);
    revoke(2, 1, MR_WHY_CANCELLED); /* that it is told otherwise still counts */
    ck_assert_int_eq(stop_of(1), MR_STOP_CANCELLED);
    for (uint32_t i = 0; i < 4; i++)
        end_apart(i);
    ck_assert_int_eq(stop_of(0), MR_STOP_NOT);
    ck_assert_int_eq(stop_of(1), MR_STOP_CANCELLED);
    mr_session_idle(session, 0);
    claims_max = 1;
    (void)tick();
    ck_assert_uint_eq(start_count, 9);
    wait_ms(TIMEOUT_MS - 1);
    (void)tick();
    ck_assert_int_eq(stop_of(8), MR_STOP_NOT);
    wait_ms(1);
    (void)tick();
    ck_assert_int_eq(stop_of(8), MR_STOP_TIMED_OUT);
}
END_TEST

START_TEST(a_group_that_hangs)
{
    hand_over();
    for (uint32_t i = 4; i < 8; i++)
        atomic_store(&started[i]->is_handled, true);
    wait_ms(TIMEOUT_MS);
    (void)tick();
    wait_ms(500);
    (void)tick();
    ck_assert_uint_eq(replace_count, 1);
    ck_assert_uint_eq(hear()->done_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert(mr_uuid_eq(heard.dones[i].id, id_of(1 + i)));
        ck_assert_int_eq(heard.dones[i].report, MR_DID_TIME_OUT);
    }
    for (uint32_t i = 0; i < 4; i++) /* its thread comes round */
        end_apart(i);
    ck_assert_uint_eq(hear()->done_count, 0);
}
END_TEST

int
main(void)
{
    const TTest *const tests[] = {a_group_is_handed_over_at_once,
        only_first_attempts_share, what_comes_back_runs_alone,
        what_comes_back_at_the_end_is_given_back,
        what_comes_back_and_is_stale_is_forgotten, a_stop_of_one_cancels_the_sql_of_all,
        a_group_that_takes_too_long, a_group_that_hangs, NULL};

    return run_suite("worker/seat", tests);
}
