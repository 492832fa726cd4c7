/* Lost workers, reconnected workers, restarted brokers. */
#include "tests/unit/core_rig.h"

static void
hold(struct rig *rig, uint32_t peer, struct mr_uuid id, uint32_t attempt)
{
    struct mr_held held = {.id = id, .attempt = attempt};

    mr_core_held(rig->core, rig->now, peer, &held);
    mr_core_check(rig->core);
}

/* ---- workers that are lost ---------------------------------------------------------------------- */

START_TEST(a_lost_attempt_is_recorded_then_looked_up_then_run_elsewhere)
{
    struct rig rig;
    struct mr_uuid id;
    const struct mr_store_op *op;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 4, NULL);
    id = rig_sent_to(&rig, 2);
    rig_forget(&rig);
    mr_core_leaves(rig.core, rig.now, 2, mr_span_str("unreachable"));
    ck_assert_int_eq(rig.said[0].action.act, MR_ACT_END_SESSIONS); /* first of all */
    ck_assert_uint_eq(rig.said[0].action.id.b[0], 102);
    op = &rig_last(&rig, MR_ACT_STORE)->op;
    ck_assert_int_eq(op->attempt_outcome, MR_ATTEMPT_LOST);
    ck_assert_uint_eq(op->attempt, 1);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_DROP_PEER)->action.peer, 2);
    rig_worker(&rig, 3, 1, 4, NULL);
    rig_commit(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_FIND), 1);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 0);
    rig_answer_find(&rig, id, false);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_JOB)->action.peer, 3);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_JOB)->job.attempt, 2);
    ck_assert_uint_eq(rig_stats(&rig).lost, 1);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_lost_worker_may_have_finished_its_job)
{
    struct rig rig;
    struct mr_uuid id;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 4, NULL);
    id = rig_sent_to(&rig, 2);
    mr_core_watch(rig.core, rig.now, 0, id, true, MR_SCOPE_ANY);
    mr_core_leaves(rig.core, rig.now, 2, mr_span_str("unreachable"));
    rig_commit(&rig);
    rig_answer_find(&rig, id, true);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.outcome, MR_SUCCEEDED);
    ck_assert_uint_eq(rig_stats(&rig).jobs, 0);
    rig_stop(&rig);
}
END_TEST

/* Three heartbeats of 1 s. */
START_TEST(silence_is_noticed_and_sound_prevents_it)
{
    struct rig rig;
    struct mr_uuid id;
    int64_t next;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 4, NULL);
    id = rig_sent_to(&rig, 2);
    rig_move(&rig, 2000000);
    mr_core_heard(rig.core, rig.now, 2);
    rig_move(&rig, 2999999);
    next = rig_tick(&rig);
    ck_assert_int_eq(next, rig.now.mono_us + 1);
    ck_assert_str_eq(rig_state(&rig, id), "running");
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_DROP_PEER), 2); /* the clients */
    rig_move(&rig, 1);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_DROP_PEER), 3);
    ck_assert_str_eq(rig_state(&rig, id), "settling");
    rig_commit(&rig);
    rig_stop(&rig);
}
END_TEST

START_TEST(lost_jobs_keep_their_order_at_the_front)
{
    struct rig rig;
    struct mr_uuid ids[3], late;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 3, 3, NULL);
    for (int i = 0; i < 3; i++) {
        ids[i] = rig_ready(&rig);
        rig_move(&rig, 1000);
    }
    rig_tick(&rig);
    late = rig_ready(&rig);
    mr_core_leaves(rig.core, rig.now, 2, mr_span_str("died"));
    rig_commit(&rig);
    for (int i = 0; i < 3; i++)
        rig_answer_find(&rig, ids[(i + 1) % 3], false); /* in whatever order */
    rig_worker(&rig, 3, 4, 4, NULL);
    rig_forget(&rig);
    rig_tick(&rig);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert(mr_uuid_eq(rig_nth(&rig, MR_ACT_JOB, i)->job.id, ids[i]));
    ck_assert(mr_uuid_eq(rig_nth(&rig, MR_ACT_JOB, 3)->job.id, late));
    rig_stop(&rig);
}
END_TEST

START_TEST(cancelled_while_it_was_being_lost)
{
    struct rig rig;
    struct mr_uuid id;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 4, NULL);
    id = rig_sent_to(&rig, 2);
    mr_core_leaves(rig.core, rig.now, 2, mr_span_str("died"));
    mr_core_cancel(rig.core, rig.now, 0, 5, id, MR_SCOPE_ANY);
    rig_commit(&rig);
    rig_answer_find(&rig, id, false);
    rig_commit(&rig);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_REPLY)->action.code, MR_OK);
    ck_assert_uint_eq(rig_stats(&rig).cancelled, 1);
    rig_stop(&rig);
}
END_TEST

/* The answer may be to a question from before the row was there: it is asked once more. */
START_TEST(a_row_that_is_gone_is_looked_for_twice)
{
    struct rig rig;
    struct mr_uuid id;
    struct mr_found none = {0};

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 4, NULL);
    id = rig_sent_to(&rig, 2);
    mr_core_watch(rig.core, rig.now, 0, id, true, MR_SCOPE_ANY);
    mr_core_leaves(rig.core, rig.now, 2, mr_span_str("died"));
    rig_commit(&rig);
    none.id = id;
    mr_core_found(rig.core, rig.now, &none);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_FIND), 2);
    ck_assert_str_eq(rig_state(&rig, id), "checking");
    mr_core_found(rig.core, rig.now, &none);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.type, MR_EVENT_NO_JOB);
    ck_assert_uint_eq(rig_stats(&rig).jobs, 0);
    rig_stop(&rig);
}
END_TEST

/* ---- workers that come back ------------------------------------------------------------------------ */

START_TEST(a_worker_that_connects_again_keeps_what_it_has)
{
    struct rig rig;
    struct mr_uuid kept, gone;
    struct mr_offer offer = {.kind = mr_span_str("k")};
    struct mr_hello hello = {.role = MR_ROLE_WORKER, .threads = 2, .offers = 1};

    rig_init(&rig);
    rig.conf.grace_ms = 2000;
    rig_start(&rig);
    rig_worker(&rig, 2, 2, 4, NULL);
    kept = rig_sent_to(&rig, 2);
    gone = rig_sent_to(&rig, 2);
    hello.instance.b[0] = 102; /* the same process */
    ck_assert_int_eq(
        mr_core_worker_joins(rig.core, rig.now, 5, 0, &hello, &offer), MR_OK);
    mr_core_check(rig.core);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_DROP_PEER)->action.peer, 2);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_END_SESSIONS), 0);
    hold(&rig, 5, kept, 1);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REVOKE), 0);
    rig_move(&rig, 1999999);
    mr_core_heard(rig.core, rig.now, 5);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, gone), "running");
    rig_move(&rig, 1);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, gone), "settling"); /* it never arrived there */
    ck_assert_str_eq(rig_state(&rig, kept), "running");
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_END_SESSIONS), 0); /* the worker is alive */
    rig_report(&rig, 5, kept, 1, MR_DID_SUCCEED);
    ck_assert_uint_eq(rig_stats(&rig).succeeded, 1);
    rig_commit(&rig);
    rig_stop(&rig);
}
END_TEST

START_TEST(another_process_at_the_same_number_takes_nothing_over)
{
    struct rig rig;
    struct mr_uuid id;
    struct mr_offer offer = {.kind = mr_span_str("k")};
    struct mr_hello hello = {.role = MR_ROLE_WORKER, .threads = 2, .offers = 1};

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 2, 4, NULL);
    id = rig_sent_to(&rig, 2);
    hello.instance.b[0] = 77;
    ck_assert_int_eq(
        mr_core_worker_joins(rig.core, rig.now, 2, 0, &hello, &offer), MR_OK);
    mr_core_check(rig.core);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_END_SESSIONS), 1);
    ck_assert_str_eq(rig_state(&rig, id), "settling");
    rig_commit(&rig);
    rig_stop(&rig);
}
END_TEST

START_TEST(workers_that_cannot_be_taken)
{
    struct rig rig;
    struct mr_offer offers[9];
    struct mr_hello hello = {.role = MR_ROLE_WORKER, .threads = 2, .offers = 1};
    static const char *const kinds[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i"};

    rig_init(&rig);
    rig.conf.workers_max = 2;
    rig_start(&rig);
    for (int i = 0; i < 9; i++)
        offers[i] = (struct mr_offer){.kind = mr_span_str(kinds[i])};
    ck_assert_int_eq(
        mr_core_worker_joins(rig.core, rig.now, 99, 0, &hello, offers), MR_BAD_ARGUMENT);
    offers[0].kind = mr_span_str("a b");
    ck_assert_int_eq(
        mr_core_worker_joins(rig.core, rig.now, 2, 0, &hello, offers), MR_MALFORMED);
    mr_core_check(rig.core);
    offers[0].kind = mr_span_str("a");
    hello.offers = 9; /* kinds_max is 8, and one is there */
    ck_assert_int_eq(
        mr_core_worker_joins(rig.core, rig.now, 2, 0, &hello, offers), MR_BUSY);
    mr_core_check(rig.core);
    ck_assert_uint_eq(rig_stats(&rig).workers, 0);
    for (uint32_t peer = 2; peer < 5; peer++) {
        hello.instance.b[0] = (uint8_t)peer;
        hello.offers = 1;
        ck_assert_int_eq(mr_core_worker_joins(rig.core, rig.now, peer, 0, &hello, offers),
            peer < 4 ? MR_OK : MR_BUSY);
    }
    rig_stop(&rig);
}
END_TEST

START_TEST(a_new_kind_is_announced_once)
{
    struct rig rig;
    struct mr_offer offer = {.kind = mr_span_str("brand.new")};

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 1, &offer);
    rig_worker(&rig, 3, 1, 1, &offer);
    rig_worker(&rig, 4, 1, 1, NULL); /* "k" was known */
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_ADD_KIND), 1);
    ck_assert_str_eq(rig_last(&rig, MR_ACT_ADD_KIND)->text, "brand.new");
    rig_stop(&rig);
}
END_TEST

START_TEST(what_a_worker_should_not_hold_is_revoked)
{
    struct rig rig;
    struct mr_uuid id;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 4, NULL);
    rig_worker(&rig, 3, 1, 0, NULL);
    id = rig_sent_to(&rig, 2);
    hold(&rig, 3, id, 1); /* another's */
    hold(&rig, 2, id, 7); /* another attempt */
    hold(&rig, 2, rig_id(&rig), 1);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REVOKE), 3);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_REVOKE)->revoked.why, MR_WHY_STALE);
    hold(&rig, 2, id, 1);
    hold(&rig, 0, id, 1); /* not a worker */
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REVOKE), 3);
    rig_stop(&rig);
}
END_TEST

/* ---- brokers that come back --------------------------------------------------------------------------- */

static struct mr_uuid
load(struct rig *rig, const struct mr_stored_job *from)
{
    struct mr_stored_job row = *from;

    row.job = rig_job(rig);
    ck_assert_int_eq(mr_core_loaded(rig->core, rig->now, &row), MR_OK);
    ck_assert_int_eq(
        mr_core_loaded(rig->core, rig->now, &row), MR_OK); /* twice is once */
    return row.job.id;
}

static void
start_loading(struct rig *rig)
{
    rig_init(rig);
    rig->conf.grace_ms = 1000;
    ck_assert_int_eq(mr_core_new(&rig->core, &rig->conf, rig_on_action, rig), MR_OK);
}

START_TEST(loaded_jobs_wait_for_those_who_may_hold_them)
{
    struct rig rig;
    struct mr_uuid held, done, nobodys;
    struct mr_stored_job twice = {.attempts = 2, .failures = 2};

    start_loading(&rig);
    rig_worker(&rig, 2, 4, 4, NULL); /* joins while it is loading */
    held = load(&rig, &twice);
    done = load(&rig, &(struct mr_stored_job){0});
    nobodys = load(&rig, &twice);
    hold(&rig, 2, rig_id(&rig), 1); /* not loaded yet, perhaps: left alone */
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REVOKE), 0);
    rig_report(&rig, 2, done, 1, MR_DID_SUCCEED);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_ERROR)->action.code, MR_STARTING);
    mr_core_load_done(rig.core, rig.now);
    hold(&rig, 2, held, 2); /* its row is stored: not that one */
    ck_assert_str_eq(rig_state(&rig, held), "recovered");
    hold(&rig, 2, held, 3);
    ck_assert_str_eq(rig_state(&rig, held), "running");
    rig_report(&rig, 2, done, 1, MR_DID_SUCCEED); /* sent again */
    ck_assert_str_eq(rig_state(&rig, done), "");
    ck_assert_uint_eq(rig_stats(&rig).adopted, 2);
    rig_move(&rig, 999999);
    ck_assert_int_eq(rig_tick(&rig), rig.now.mono_us + 1);
    ck_assert_str_eq(rig_state(&rig, nobodys), "recovered");
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 0);
    rig_move(&rig, 1);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_READ), 0); /* its payload came along */
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 1);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_JOB)->job.attempt, 3);
    rig_report(&rig, 2, held, 3, MR_DID_FAIL); /* the third failure: two are left */
    rig_commit(&rig);
    ck_assert_str_eq(rig_state(&rig, held), "waiting");
    rig_stop(&rig);
}
END_TEST

/* What came in while workers were given time to claim theirs is younger than all of it. */
START_TEST(loaded_jobs_go_before_those_that_came_since)
{
    struct rig rig;
    struct mr_uuid old[3], fresh;

    start_loading(&rig);
    for (int i = 0; i < 3; i++) {
        rig_move(&rig, 1000);
        old[i] = load(
            &rig, &(struct mr_stored_job){.submitted_at_us = rig.now.wall_us - 1000000});
    }
    mr_core_load_done(rig.core, rig.now);
    ck_assert_int_eq(mr_core_knows_kind(rig.core, mr_span_str("k")), MR_OK);
    ck_assert_int_eq(
        mr_core_client_joins(rig.core, rig.now, 0, 0, mr_span_str("client")), MR_OK);
    fresh = rig_ready(&rig);
    ck_assert_str_eq(rig_state(&rig, fresh), "ready");
    rig_move(&rig, 1000000);
    rig_tick(&rig);
    rig_worker(&rig, 2, 1, 100, NULL);
    rig_forget(&rig);
    rig_tick(&rig);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert(mr_uuid_eq(rig_nth(&rig, MR_ACT_JOB, i)->action.id, old[i]));
    ck_assert(mr_uuid_eq(rig_nth(&rig, MR_ACT_JOB, 3)->action.id, fresh));
    rig_stop(&rig);
}
END_TEST

START_TEST(delays_retries_and_expiry_survive_a_restart)
{
    struct rig rig;
    struct mr_stored_job delayed = {0}, retrying = {.attempts = 1, .failures = 1};
    struct mr_stored_job expired = {0};

    start_loading(&rig);
    delayed.job = rig_job(&rig);
    delayed.job.run_at_us = RIG_WALL_US + 5000000;
    retrying.job = rig_job(&rig);
    retrying.retry_at_us = RIG_WALL_US + 6000000;
    expired.job = rig_job(&rig);
    expired.job.expires_at_us = RIG_WALL_US - 1;
    ck_assert_int_eq(mr_core_loaded(rig.core, rig.now, &delayed), MR_OK);
    ck_assert_int_eq(mr_core_loaded(rig.core, rig.now, &retrying), MR_OK);
    ck_assert_int_eq(mr_core_loaded(rig.core, rig.now, &expired), MR_OK);
    mr_core_load_done(rig.core, rig.now);
    rig_move(&rig, 1000000);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, delayed.job.id), "waiting");
    ck_assert_str_eq(rig_state(&rig, retrying.job.id), "waiting");
    ck_assert_int_eq(rig_last(&rig, MR_ACT_STORE)->op.outcome, MR_OUT_EXPIRED);
    rig_commit(&rig);
    rig_move(&rig, 4000000);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, delayed.job.id), "ready");
    ck_assert_str_eq(rig_state(&rig, retrying.job.id), "waiting");
    rig_move(&rig, 1000000);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, retrying.job.id), "ready");
    rig_stop(&rig);
}
END_TEST

/* The last attempt's row was stored, the result's was not: no further attempt. */
START_TEST(what_had_failed_for_the_last_time_stays_failed)
{
    struct rig rig;
    struct mr_stored_job spent = {.attempts = 5, .failures = 5};
    struct mr_stored_job lost = {.attempts = 5, .losses = 5};
    struct mr_uuid id;

    start_loading(&rig);
    load(&rig, &spent);
    id = load(&rig, &lost);
    mr_core_load_done(rig.core, rig.now);
    rig_worker(&rig, 2, 4, 4, NULL);
    rig_move(&rig, 1000000);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 0);
    rig_answer_find(&rig, id, false);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_STORE), 2);
    rig_commit(&rig);
    ck_assert_uint_eq(rig_stats(&rig).failed, 2);
    ck_assert_uint_eq(rig_stats(&rig).jobs, 0);
    rig_stop(&rig);
}
END_TEST

START_TEST(rows_from_the_inbox_run_at_once_and_payloads_are_fetched)
{
    struct rig rig;
    struct mr_stored_job row = {0};

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 4, 4, NULL);
    row.job = rig_job(&rig);
    row.job.payload = MR_SPAN_NONE;
    row.job.trace = mr_span_str("t");
    ck_assert_int_eq(mr_core_loaded(rig.core, rig.now, &row), MR_OK);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_READ), 1);
    row.job.payload = mr_span_str("\xc3");
    mr_core_read_back(rig.core, rig.now, row.job.id, &row);
    rig_tick(&rig);
    ck_assert_str_eq(rig_last(&rig, MR_ACT_JOB)->body, "\xc3");
    rig_stop(&rig);
}
END_TEST

START_TEST(loading_stops_when_memory_is_full_and_goes_on_later)
{
    struct rig rig;
    struct mr_stored_job row = {0};
    struct mr_uuid first;

    rig_init(&rig);
    rig.conf.jobs_max = 1;
    rig_start(&rig);
    rig_worker(&rig, 2, 4, 4, NULL);
    first = load(&rig, &row);
    row.job = rig_job(&rig);
    ck_assert_int_eq(mr_core_loaded(rig.core, rig.now, &row), MR_BUSY);
    mr_core_check(rig.core);
    rig_tick(&rig);
    rig_report(&rig, 2, first, 1, MR_DID_SUCCEED);
    ck_assert_int_eq(mr_core_loaded(rig.core, rig.now, &row), MR_OK);
    row.job = rig_job(&rig);
    row.job.priority = 200; /* a row that nobody of ours wrote */
    ck_assert_int_eq(mr_core_loaded(rig.core, rig.now, &row), MR_BAD_ARGUMENT);
    rig_stop(&rig);
}
END_TEST

static void
add(TCase *tcase)
{
    tcase_add_test(tcase, a_lost_attempt_is_recorded_then_looked_up_then_run_elsewhere);
    tcase_add_test(tcase, a_lost_worker_may_have_finished_its_job);
    tcase_add_test(tcase, silence_is_noticed_and_sound_prevents_it);
    tcase_add_test(tcase, lost_jobs_keep_their_order_at_the_front);
    tcase_add_test(tcase, cancelled_while_it_was_being_lost);
    tcase_add_test(tcase, a_row_that_is_gone_is_looked_for_twice);
    tcase_add_test(tcase, a_worker_that_connects_again_keeps_what_it_has);
    tcase_add_test(tcase, another_process_at_the_same_number_takes_nothing_over);
    tcase_add_test(tcase, workers_that_cannot_be_taken);
    tcase_add_test(tcase, a_new_kind_is_announced_once);
    tcase_add_test(tcase, what_a_worker_should_not_hold_is_revoked);
    tcase_add_test(tcase, loaded_jobs_wait_for_those_who_may_hold_them);
    tcase_add_test(tcase, loaded_jobs_go_before_those_that_came_since);
    tcase_add_test(tcase, delays_retries_and_expiry_survive_a_restart);
    tcase_add_test(tcase, what_had_failed_for_the_last_time_stays_failed);
    tcase_add_test(tcase, rows_from_the_inbox_run_at_once_and_payloads_are_fetched);
    tcase_add_test(tcase, loading_stops_when_memory_is_full_and_goes_on_later);
}

int
main(void)
{
    return rig_run("core/recover", add) != 0;
}
