/*
 * The session's decisions, driven by hand: no thread, no socket, no database. Time is a number
 * that the tests move.
 */
#include "worker/session.h"

#include <check.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MS = 1000, THREADS = 2, PREFETCH = 3, HEARTBEAT_MS = 1000 };

static enum millrace_answer
run(struct millrace_job *job)
{
    (void)job;
    return MILLRACE_SUCCEEDED;
}

static const struct millrace_kind plain = {.name = "a.plain", .run = run};
static const struct millrace_kind alone = {
    .name = "b.alone", .run = run, .running_max = 1};
static const struct millrace_kind *const kinds[] = {&plain, &alone, NULL};

static struct mr_registry *registry;
static struct mr_session *session;
static struct mr_session_conf conf;
static struct mr_now now;

/* What the session wanted since the last look. */
static struct mr_attempt *started[64];
static uint32_t seats[64], start_count;
static uint32_t cancel_count, replace_count, hurry_count, last_seat;
static struct mr_attempt *replaced;

/* With an executor or the committer: the session leaves these to whoever has them. */
static struct mr_attempt *away[64];
static uint32_t away_count;

static void
come_back(struct mr_attempt *attempt)
{
    uint32_t i = 0;

    while (i < away_count && away[i] != attempt)
        i++;
    ck_assert_uint_lt(i, away_count);
    away[i] = away[--away_count];
    mr_session_returned(session, attempt);
}

static void
on_act(
    void *context, enum mr_session_act act, uint32_t executor, struct mr_attempt *attempt)
{
    ck_assert_ptr_eq(context, &conf);
    last_seat = executor;
    switch (act) {
    case MR_SESSION_START:
        ck_assert_uint_lt(start_count, 64);
        seats[start_count] = executor;
        started[start_count++] = attempt;
        ck_assert_uint_lt(away_count, 64);
        away[away_count++] = attempt;
        return;
    case MR_SESSION_CANCEL:
        cancel_count++;
        return;
    case MR_SESSION_REPLACE:
        replaced = attempt;
        replace_count++;
        return;
    case MR_SESSION_HURRY:
        hurry_count++;
        return;
    }
}

static void
make_session(void)
{
    mr_session_destroy(&session);
    ck_assert_int_eq(mr_session_new(&session, &conf, on_act, &conf), MR_OK);
}

static void
set_up(void)
{
    now = (struct mr_now){.mono_us = 1000 * MS, .wall_us = INT64_C(1700000000000000)};
    start_count = cancel_count = replace_count = hurry_count = 0;
    ck_assert_int_eq(mr_registry_new(&registry), MR_OK);
    ck_assert_int_eq(mr_registry_add(registry, kinds, "test", NULL), MR_OK);
    conf = (struct mr_session_conf){.threads = THREADS,
        .prefetch = PREFETCH,
        .prefetch_max = PREFETCH,
        .results_max = 4,
        .results_bytes_max = 1000,
        .hang_grace_ms = 500,
        .spares = 1,
        .drain_ms = 2000,
        .hash_key = {1, 2},
        .kinds = registry};
    make_session();
}

static void
tear_down(void)
{
    mr_session_destroy(&session);
    while (away_count)
        mr_attempt_destroy(&away[--away_count]);
    mr_registry_destroy(&registry);
}

/* ---- the broker's side --------------------------------------------------------------------- */

struct heard {
    struct mr_msg msg;
    struct mr_done dones[64];
    char texts[64][80];
    uint32_t done_count, flags;
    struct mr_held held[64];
    uint32_t held_count;
    uint64_t credit;
    uint64_t done_corr;
    uint32_t messages[MR_VERB_COUNT];
};
static struct heard heard;

static void
hear_done(const struct mr_msg *msg)
{
    struct mr_dones dones;

    ck_assert_int_eq(mr_get_dones(msg, &dones), MR_OK);
    heard.flags |= dones.flags;
    heard.done_corr = msg->corr;
    while (dones.dones) {
        struct mr_done *done = &heard.dones[heard.done_count];

        ck_assert_int_eq(mr_get_done(&dones, done), MR_OK);
        (void)snprintf(heard.texts[heard.done_count++], 80, "%.*s", (int)done->text.n,
            done->text.n ? (const char *)done->text.p : "");
    }
}

static void
hear_beat(const struct mr_msg *msg)
{
    struct mr_beat beat;

    ck_assert_int_eq(mr_get_beat(msg, &beat), MR_OK);
    while (beat.held)
        ck_assert_int_eq(mr_get_held(&beat, &heard.held[heard.held_count++]), MR_OK);
}

/* Everything that the session has to say now. */
static const struct heard *
hear(void)
{
    struct mr_wr wr;

    memset(&heard, 0, sizeof heard);
    mr_wr_init(&wr, MR_MESSAGE_BYTES_MAX);
    while (mr_session_say(session, now, &wr)) {
        struct mr_msg msg;

        ck_assert_int_eq(wr.status, MR_OK);
        ck_assert_int_eq(mr_msg_open(mr_wr_span(&wr), &msg), MR_OK);
        heard.messages[msg.verb]++;
        if (msg.verb == MR_DONE)
            hear_done(&msg);
        else if (msg.verb == MR_BEAT)
            hear_beat(&msg);
        else if (msg.verb == MR_CREDIT)
            ck_assert_int_eq(mr_get_credit(&msg, &heard.credit), MR_OK);
        mr_wr_reset(&wr);
    }
    mr_wr_fini(&wr);
    return &heard;
}

static void
connect(void)
{
    mr_session_welcomed(session, now, HEARTBEAT_MS);
    ck_assert_uint_eq(hear()->credit, THREADS + PREFETCH);
}

static struct mr_uuid
id_of(unsigned n)
{
    struct mr_uuid id = {{0}};

    id.b[14] = (uint8_t)(n >> 8);
    id.b[15] = (uint8_t)n;
    return id;
}

static struct mr_job_sent
job_of(unsigned n)
{
    return (struct mr_job_sent){.id = id_of(n),
        .attempt = 1,
        .kind = mr_span_str("a.plain"),
        .payload = mr_span_str("\x01"),
        .queue = mr_span_str("default"),
        .timeout_ms = 0};
}

static void
send(const struct mr_job_sent *sent)
{
    ck_assert_int_eq(mr_session_job(session, now, sent), MR_OK);
}

/* n jobs, numbered from `first`. */
static void
send_jobs(unsigned first, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct mr_job_sent sent = job_of(first + i);

        send(&sent);
    }
}

static int64_t
tick(void)
{
    return mr_session_tick(session, now);
}

static void
wait_ms(int64_t ms)
{
    now.mono_us += ms * MS;
    now.wall_us += ms * MS;
}

static void
revoke(unsigned n, uint32_t attempt, enum mr_why why)
{
    mr_session_revoked(session, now,
        &(struct mr_revoked){.id = id_of(n), .attempt = attempt, .why = why});
}

/* ---- the executors' side --------------------------------------------------------------------- */

/* What was started as `i`th ends: report, then idle. */
static void
end_with(uint32_t i, enum mr_report report)
{
    mr_attempt_report(started[i], report, mr_span_str("so it went"));
    come_back(started[i]);
    mr_session_idle(session, now, seats[i], 0);
}

static int
stop_of(uint32_t i)
{
    return atomic_load(&started[i]->stop);
}

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
        mr_session_idle(session, now, seats[i], 10);
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
    mr_session_idle(session, now, seats[0], 1000);
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
    send_jobs(101, THREADS + 40);
    tick();
    ck_assert_uint_eq(start_count, THREADS);
    started[0]->done.started_at_us = now.wall_us - 2000 * MS;
    started[0]->done.finished_at_us = now.wall_us;
    end_with(0, MR_DID_FAIL);
    tick();
    (void)hear();
    /* One of the 40 started; 2 * PREFETCH + THREADS may stay. */
    ck_assert_uint_eq(heard.done_count, 1 + 39 - (2 * PREFETCH + THREADS));
    ck_assert_int_eq(heard.dones[1].report, MR_DID_GIVE_BACK);
    ck_assert(
        mr_uuid_eq(heard.dones[1].id, id_of(100 + THREADS + 40))); /* newest first */
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

START_TEST(an_older_attempt_is_ignored)
{
    struct mr_job_sent newer = job_of(1);

    newer.attempt = 2;
    connect();
    send(&newer);
    send_jobs(1, 1);
    tick();
    ck_assert_uint_eq(start_count, 1);
    ck_assert_uint_eq(started[0]->number, 2);
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
    mr_session_idle(session, now, seats[0], 10); /* the committer has it */
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
            mr_session_idle(session, now, seats[i], any(100));
            return;
        }
        mr_attempt_report(started[i], MR_DID_FAIL, MR_SPAN_NONE);
        come_back(started[i]);
        mr_session_idle(session, now, seats[i], 0);
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
    const TTest *const tests[] = {credit_is_what_was_taken_and_what_there_is_room_for,
        credit_counts_anew_from_each_welcome, jobs_beyond_the_credit_are_given_back,
        results_that_wait_hold_credit_back, large_results_that_wait_hold_credit_back,
        jobs_start_in_order_on_idle_executors,
        short_jobs_are_fetched_ahead_and_given_back, a_kind_with_a_limit_lets_others_pass,
        an_unknown_kind_fails_for_good, what_is_sent_outlives_the_message,
        the_same_attempt_again_is_ignored,
        a_newer_attempt_of_a_queued_job_takes_its_place,
        a_newer_attempt_of_a_running_job_runs_beside_it, an_older_attempt_is_ignored,
        reports_are_gathered_and_kept_until_acknowledged,
        an_acknowledged_report_is_forgotten, reports_are_repeated_in_a_new_session,
        a_broker_that_is_busy_is_told_again_after_its_hint,
        a_report_that_is_refused_for_good_is_given_up,
        large_reports_travel_in_several_messages,
        beats_come_with_the_heartbeat_and_say_what_is_held,
        the_first_thing_said_is_a_beat, queued_jobs_are_cancelled_at_once,
        running_jobs_are_told_to_stop_again_and_again,
        a_stale_job_is_stopped_and_forgotten, what_is_not_held_is_not_revoked,
        a_timeout_stops_the_attempt, storing_a_result_does_not_time_out,
        an_executor_that_hangs_is_replaced, without_spares_the_session_drains,
        draining_gives_back_what_has_not_started, draining_has_an_end,
        the_second_signal_ends_it_at_once, nothing_is_lost_over_many_sessions, NULL};
    Suite *suite = suite_create("worker/session");
    TCase *tcase = tcase_create("session");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    for (size_t i = 0; tests[i]; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
