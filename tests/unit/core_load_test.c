/* A broker that begins to work before it has loaded all that is unfinished. */
#include "tests/unit/core_rig.h"

static void
hold(struct rig *rig, uint32_t peer, struct mr_uuid id, uint32_t attempt)
{
    struct mr_held held = {.id = id, .attempt = attempt};

    mr_core_held(rig->core, rig->now, peer, &held);
    mr_core_check(rig->core);
}

static void
report(struct rig *rig, uint32_t peer, struct mr_uuid id, enum mr_report how)
{
    struct mr_done done = {.id = id, .attempt = 1, .report = how};

    mr_core_done_ahead(rig->core, rig->now, peer, &done);
    rig_report(rig, peer, id, 1, how);
}

static struct mr_stored_job
row(struct rig *rig)
{
    return (struct mr_stored_job){.job = rig_job(rig), .submitted_by = RIG_OWNER};
}

static void
load(struct rig *rig, const struct mr_stored_job *job)
{
    ck_assert_int_eq(mr_core_loaded(rig->core, rig->now, job), MR_OK);
    mr_core_check(rig->core);
}

static void
fetched(struct rig *rig, struct mr_uuid id, const struct mr_stored_job *job)
{
    mr_core_read_back(rig->core, rig->now, id, job);
    mr_core_check(rig->core);
}

/* One second of grace, one worker; it is over, and more is to come. */
static void
begin(struct rig *rig)
{
    rig_init(rig);
    rig->conf.grace_ms = 1000;
    ck_assert_int_eq(mr_core_new(&rig->core, &rig->conf, rig_on_action, rig), MR_OK);
    mr_core_load_begins(rig->core, rig->now);
    rig_worker(rig, 2, 4, 4, NULL);
}

static void
end_grace(struct rig *rig)
{
    rig_move(rig, 1000000);
    rig_tick(rig);
    ck_assert(!mr_core_is_loading(rig->core));
}

START_TEST(what_is_loaded_runs_although_more_is_to_come)
{
    struct rig rig;
    struct mr_stored_job early, late;

    begin(&rig);
    early = row(&rig);
    late = row(&rig);
    load(&rig, &early);
    rig_move(&rig, 999999);
    ck_assert_int_eq(rig_tick(&rig), rig.now.mono_us + 1);
    ck_assert(mr_core_is_loading(rig.core));
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 0);
    rig_move(&rig, 1);
    rig_tick(&rig);
    ck_assert(!mr_core_is_loading(rig.core));
    ck_assert_str_eq(rig_state(&rig, early.job.id), "running");
    load(&rig, &late);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, late.job.id), "running");
    ck_assert_uint_eq(rig_stats(&rig).loading, 1);
    mr_core_load_done(rig.core, rig.now);
    ck_assert_uint_eq(rig_stats(&rig).loading, 0);
    rig_stop(&rig);
}
END_TEST

/* The one that holds it may have committed it: only the database knows. */
START_TEST(watching_what_is_recovered_asks_the_database)
{
    struct rig rig;
    struct mr_stored_job job;

    begin(&rig);
    job = row(&rig);
    load(&rig, &job);
    ck_assert_int_eq(
        mr_core_client_joins(rig.core, rig.now, 1, 0, mr_span_str("client")), MR_OK);
    mr_core_watch(rig.core, rig.now, 1, job.job.id, true, MR_SCOPE_ANY);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_EVENT), 0);
    rig_answer_find(&rig, job.job.id, false);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.type, MR_EVENT_WAITING);
    rig_stop(&rig);
}
END_TEST

/* The grace runs beside the loading, not behind it. */
START_TEST(the_grace_begins_with_the_loading)
{
    struct rig rig;
    struct mr_stored_job job;

    begin(&rig);
    job = row(&rig);
    load(&rig, &job);
    rig_move(&rig, 900000);
    mr_core_load_done(rig.core, rig.now);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 0);
    rig_move(&rig, 100000);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 1);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_held_job_that_is_not_loaded_yet_is_fetched_and_left_where_it_is)
{
    struct rig rig;
    struct mr_stored_job job;

    begin(&rig);
    job = row(&rig);
    hold(&rig, 2, job.job.id, 1);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_READ), 0); /* perhaps it comes by itself */
    end_grace(&rig);
    hold(&rig, 2, job.job.id, 1);
    hold(&rig, 2, job.job.id, 1);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_READ), 1);
    fetched(&rig, job.job.id, &job);
    ck_assert_str_eq(rig_state(&rig, job.job.id), "running");
    load(&rig, &job); /* now it comes that way, too */
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 0);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REVOKE), 0);
    report(&rig, 2, job.job.id, MR_DID_SUCCEED);
    ck_assert_uint_eq(rig_stats(&rig).succeeded, 1);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_held_job_that_is_loaded_later_is_the_holders)
{
    struct rig rig;
    struct mr_stored_job job, older;

    begin(&rig);
    job = row(&rig);
    older = row(&rig);
    older.attempts = 1;
    hold(&rig, 2, job.job.id, 1);
    hold(&rig, 2, older.job.id, 1); /* that attempt is over: its row is stored */
    end_grace(&rig);
    load(&rig, &job);
    load(&rig, &older);
    ck_assert_str_eq(rig_state(&rig, job.job.id), "running");
    ck_assert_str_eq(rig_state(&rig, older.job.id), "ready");
    ck_assert_uint_eq(rig_stats(&rig).adopted, 1);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_held_job_that_is_finished_is_revoked)
{
    struct rig rig;
    struct mr_uuid id;

    begin(&rig);
    id = rig_id(&rig);
    end_grace(&rig);
    hold(&rig, 2, id, 1);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REVOKE), 0);
    fetched(&rig, id, NULL);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REVOKE), 1);
    mr_core_load_done(rig.core, rig.now);
    hold(&rig, 2, id, 1); /* all is loaded: no more questions */
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REVOKE), 2);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_READ), 1);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_holder_that_has_left_meanwhile_gets_nothing)
{
    struct rig rig;
    struct mr_stored_job job, other;

    begin(&rig);
    job = row(&rig);
    other = row(&rig);
    end_grace(&rig);
    hold(&rig, 2, job.job.id, 1);
    hold(&rig, 2, other.job.id, 1);
    mr_core_leaves(rig.core, rig.now, 2, mr_span_str("gone"));
    rig_worker(&rig, 2, 4, 0, NULL); /* somebody else at the same place */
    fetched(&rig, job.job.id, &job);
    ck_assert_str_eq(rig_state(&rig, job.job.id), "ready");
    fetched(&rig, other.job.id, NULL);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REVOKE), 0);
    mr_core_load_done(rig.core, rig.now);
    rig_stop(&rig);
}
END_TEST

/* A failure needs its job, for its attempts are counted: the worker says it again. */
START_TEST(a_failure_of_a_job_that_is_not_loaded_yet)
{
    struct rig rig;
    struct mr_stored_job job;

    begin(&rig);
    job = row(&rig);
    end_grace(&rig);
    report(&rig, 2, job.job.id, MR_DID_FAIL);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_ERROR)->action.code, MR_STARTING);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_ACK), 0);
    fetched(&rig, job.job.id, &job);
    report(&rig, 2, job.job.id, MR_DID_FAIL);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_ERROR), 1);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_STORE)->op.attempt_outcome, MR_ATTEMPT_FAILED);
    rig_commit(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_ACK), 1);
    rig_stop(&rig);
}
END_TEST

/* A success is durable already: who waits is told, and the job that comes late stays free. */
START_TEST(a_success_of_a_job_that_is_not_loaded_yet)
{
    struct rig rig;
    struct mr_stored_job job;

    begin(&rig);
    ck_assert_int_eq(
        mr_core_client_joins(rig.core, rig.now, 1, 0, mr_span_str("c")), MR_OK);
    job = row(&rig);
    end_grace(&rig);
    mr_core_watch(rig.core, rig.now, 1, job.job.id, true, MR_SCOPE_ANY);
    hold(&rig, 2, job.job.id, 1);
    report(&rig, 2, job.job.id, MR_DID_SUCCEED);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_ERROR), 0);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_ACK), 1);
    /* Whose it is, the database knows; its first answer may be from before the end. */
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_EVENT), 0);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_FIND), 2);
    rig_answer_find(&rig, job.job.id, false);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.type, MR_EVENT_WAITING);
    rig_answer_find(&rig, job.job.id, true);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.type, MR_EVENT_FINISHED);
    /* Read before the result was there: the worker does not hold it any more. */
    fetched(&rig, job.job.id, &job);
    ck_assert_uint_eq(rig_stats(&rig).adopted, 0);
    rig_stop(&rig);
}
END_TEST

/* Read before its end, given after it: nobody hears of it as unfinished again. */
START_TEST(a_row_that_was_read_before_its_job_ended)
{
    struct rig rig;
    struct mr_stored_job job, other;

    begin(&rig);
    job = row(&rig);
    other = row(&rig);
    load(&rig, &job);
    end_grace(&rig);
    mr_core_load_asks(rig.core);
    report(&rig, 2, job.job.id, MR_DID_SUCCEED);
    report(&rig, 2, other.job.id, MR_DID_SUCCEED); /* it was not in memory */
    load(&rig, &job);
    ck_assert_uint_eq(rig_stats(&rig).jobs, 0);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_FIND), 0);
    load(&rig, &other); /* did the worker hold it? The database knows */
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_FIND), 1);
    rig_answer_find(&rig, other.job.id, true);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_stats(&rig).jobs, 0);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 1);
    mr_core_load_asks(rig.core); /* rows that are read from now on are believed again */
    load(&rig, &job);
    ck_assert_uint_eq(rig_stats(&rig).jobs, 1);
    rig_stop(&rig);
}
END_TEST

/* A worker that never held it says that it is finished: it runs all the same. */
START_TEST(an_end_that_is_a_lie_hides_no_job)
{
    struct rig rig;
    struct mr_stored_job job;

    begin(&rig);
    job = row(&rig);
    end_grace(&rig);
    report(&rig, 2, job.job.id, MR_DID_SUCCEED);
    load(&rig, &job);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_FIND), 1);
    rig_answer_find(&rig, job.job.id, false);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, job.job.id), "running");
    rig_stop(&rig);
}
END_TEST

/* More ends than are remembered: the database is asked about each row. */
START_TEST(more_ends_than_can_be_remembered)
{
    enum { ENDS = 65536 + 1 };
    struct rig rig;
    struct mr_stored_job job, ended;

    begin(&rig);
    job = row(&rig);
    ended = row(&rig);
    end_grace(&rig);
    mr_core_load_asks(rig.core);
    for (int i = 0; i < ENDS; i++) {
        rig_report(&rig, 2, rig_id(&rig), 1, MR_DID_SUCCEED);
        rig.count = 0; /* its notes are few */
    }
    load(&rig, &job);
    load(&rig, &ended);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_FIND), 2);
    mr_core_found(
        rig.core, rig.now, &(struct mr_found){.id = job.job.id, .exists = true});
    mr_core_found(rig.core, rig.now,
        &(struct mr_found){.id = ended.job.id,
            .exists = true,
            .is_finished = true,
            .outcome = MR_SUCCEEDED});
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, job.job.id), "running");
    ck_assert_uint_eq(rig_stats(&rig).jobs, 1);
    rig_stop(&rig);
}
END_TEST

/* Told again and again while memory is full and loading stands still: nothing else that the worker
 * has to say may wait for it. */
START_TEST(an_outcome_of_a_job_that_is_finished_does_not_wait)
{
    struct rig rig;
    struct mr_stored_job job;

    begin(&rig);
    job = row(&rig);
    end_grace(&rig);
    report(&rig, 2, job.job.id, MR_DID_TIME_OUT);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_ERROR)->action.code, MR_STARTING);
    fetched(&rig, job.job.id, NULL);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_REVOKE)->revoked.why, MR_WHY_STALE);
    rig_forget(&rig);
    report(&rig, 2, job.job.id, MR_DID_TIME_OUT);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_ERROR), 0);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_ACK)->verdicts[0].code, MR_STALE);
    hold(&rig, 2, job.job.id, 1); /* asked anew */
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_READ), 1);
    fetched(&rig, job.job.id, NULL);
    hold(&rig, 2, job.job.id, 1);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REVOKE), 2);
    rig_stop(&rig);
}
END_TEST

START_TEST(no_room_for_what_is_fetched)
{
    struct rig rig;
    struct mr_stored_job job, other;

    rig_init(&rig);
    rig.conf.grace_ms = 1000;
    rig.conf.jobs_max = 1;
    ck_assert_int_eq(mr_core_new(&rig.core, &rig.conf, rig_on_action, &rig), MR_OK);
    mr_core_load_begins(rig.core, rig.now);
    rig_worker(&rig, 2, 4, 4, NULL);
    other = row(&rig);
    job = row(&rig);
    load(&rig, &other);
    end_grace(&rig);
    hold(&rig, 2, job.job.id, 1);
    fetched(&rig, job.job.id, &job);
    ck_assert_str_eq(rig_state(&rig, job.job.id), "");
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REVOKE), 0);
    report(&rig, 2, other.job.id, MR_DID_SUCCEED);
    hold(&rig, 2, job.job.id, 1);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_READ), 2);
    fetched(&rig, job.job.id, &job);
    ck_assert_str_eq(rig_state(&rig, job.job.id), "running");
    rig_stop(&rig);
}
END_TEST

static void
add(TCase *tcase)
{
    tcase_add_test(tcase, what_is_loaded_runs_although_more_is_to_come);
    tcase_add_test(tcase, watching_what_is_recovered_asks_the_database);
    tcase_add_test(tcase, the_grace_begins_with_the_loading);
    tcase_add_test(
        tcase, a_held_job_that_is_not_loaded_yet_is_fetched_and_left_where_it_is);
    tcase_add_test(tcase, a_held_job_that_is_loaded_later_is_the_holders);
    tcase_add_test(tcase, a_held_job_that_is_finished_is_revoked);
    tcase_add_test(tcase, a_holder_that_has_left_meanwhile_gets_nothing);
    tcase_add_test(tcase, a_failure_of_a_job_that_is_not_loaded_yet);
    tcase_add_test(tcase, a_success_of_a_job_that_is_not_loaded_yet);
    tcase_add_test(tcase, a_row_that_was_read_before_its_job_ended);
    tcase_add_test(tcase, an_end_that_is_a_lie_hides_no_job);
    tcase_add_test(tcase, more_ends_than_can_be_remembered);
    tcase_add_test(tcase, no_room_for_what_is_fetched);
    tcase_add_test(tcase, an_outcome_of_a_job_that_is_finished_does_not_wait);
}

int
main(void)
{
    return rig_run("core/load", add) != 0;
}
