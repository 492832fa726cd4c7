/* Cancelling and watching. */
#include "tests/unit/core_rig.h"

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

/* ---- cancel ------------------------------------------------------------------------------------------ */

START_TEST(cancelling_what_does_not_run)
{
    struct rig rig;
    struct mr_job_new storing, delayed;
    struct mr_uuid id;

    rig_init(&rig);
    rig_start(&rig);
    delayed = rig_job(&rig);
    delayed.delay_ms = 60000;
    rig_accept(&rig, &delayed);
    id = rig_ready(&rig);
    storing = rig_job(&rig);
    rig_submit(&rig, 0, &storing);
    mr_core_cancel(rig.core, rig.now, 1, 21, delayed.id, MR_SCOPE_ANY);
    mr_core_cancel(rig.core, rig.now, 1, 22, id, MR_SCOPE_ANY);
    mr_core_cancel(rig.core, rig.now, 1, 23, storing.id, MR_SCOPE_ANY);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REPLY), 0); /* nothing is durable yet */
    rig_commit(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REPLY), 3);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_int_eq(rig_nth(&rig, MR_ACT_REPLY, i)->action.code, MR_OK);
    ck_assert_uint_eq(rig_stats(&rig).cancelled, 3);
    ck_assert_uint_eq(rig_stats(&rig).jobs, 0);
    rig_stop(&rig);
}
END_TEST

START_TEST(cancelling_what_runs_asks_its_worker)
{
    static const struct {
        enum mr_report report;
        enum mr_status reply;
    } cases[] = {
        {MR_DID_CANCEL, MR_OK},
        {MR_DID_FAIL, MR_OK},
        {MR_DID_SNOOZE, MR_OK},
        {MR_DID_GIVE_BACK, MR_OK},
        {MR_DID_SUCCEED, MR_FINISHED},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig rig;
        struct mr_uuid id;

        rig_init(&rig);
        rig_start(&rig);
        rig_worker(&rig, 2, 1, 4, NULL);
        id = sent_job(&rig, rig_job(&rig));
        mr_core_cancel(rig.core, rig.now, 1, 21, id, MR_SCOPE_ANY);
        ck_assert_int_eq(rig_last(&rig, MR_ACT_REVOKE)->revoked.why, MR_WHY_CANCELLED);
        ck_assert_uint_eq(rig_said(&rig, MR_ACT_REPLY), 0);
        rig_report(&rig, 2, id, 1, cases[i].report);
        rig_commit(&rig);
        ck_assert_int_eq(rig_last(&rig, MR_ACT_REPLY)->action.code, cases[i].reply);
        ck_assert_uint_eq(rig_last(&rig, MR_ACT_REPLY)->action.corr, 21);
        ck_assert_uint_eq(rig_stats(&rig).jobs, 0);
        rig_stop(&rig);
    }
}
END_TEST

START_TEST(cancelling_what_is_not_in_memory_asks_the_database)
{
    struct rig rig;
    struct mr_found found = {0};

    rig_init(&rig);
    rig_start(&rig);
    found.id = rig_id(&rig);
    mr_core_cancel(rig.core, rig.now, 1, 21, found.id, MR_SCOPE_ANY);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_FIND), 1);
    mr_core_found(rig.core, rig.now, &found);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_REPLY)->action.code, MR_NO_JOB);
    found.exists = found.is_finished = true;
    found.outcome = MR_SUCCEEDED;
    mr_core_cancel(rig.core, rig.now, 1, 22, found.id, MR_SCOPE_ANY);
    mr_core_found(rig.core, rig.now, &found);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_REPLY)->action.code, MR_FINISHED);
    ck_assert_uint_eq(rig_stats(&rig).watches, 0);
    rig_stop(&rig);
}
END_TEST

START_TEST(cancelling_what_is_submitted_while_the_database_is_asked)
{
    struct rig rig;
    struct mr_job_new job;
    struct mr_found none = {0};

    rig_init(&rig);
    rig_start(&rig);
    job = rig_job(&rig);
    none.id = job.id;
    mr_core_cancel(rig.core, rig.now, 1, 21, job.id, MR_SCOPE_ANY);
    rig_accept(&rig, &job);
    mr_core_found(rig.core, rig.now, &none); /* it was not there yet */
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REPLY), 0);
    rig_commit(&rig);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_REPLY)->action.code, MR_OK);
    ck_assert_uint_eq(rig_stats(&rig).cancelled, 1);
    rig_stop(&rig);
}
END_TEST

START_TEST(somebody_elses_result_stands_against_ours)
{
    struct rig rig;
    struct mr_uuid id;
    struct rig_said *row;

    rig_init(&rig);
    rig_start(&rig);
    id = rig_ready(&rig);
    rig_forget(&rig);
    mr_core_cancel(rig.core, rig.now, 1, 21, id, MR_SCOPE_ANY);
    row = rig_nth(&rig, MR_ACT_STORE, 0);
    row->op.found_outcome = MR_SUCCEEDED;
    rig_answer(&rig, MR_FINISHED);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_REPLY)->action.code, MR_FINISHED);
    ck_assert_uint_eq(rig_stats(&rig).succeeded, 1);
    ck_assert_uint_eq(rig_stats(&rig).cancelled, 0);
    rig_stop(&rig);
}
END_TEST

/* ---- watching ----------------------------------------------------------------------------------------- */

START_TEST(watchers_hear_what_happens_until_they_leave)
{
    struct rig rig;
    struct mr_uuid id;
    struct mr_held held = {.attempt = 1, .permille = 250, .text = mr_span_str("halfway")};
    struct mr_core_job_info info;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 4, NULL);
    id = rig_ready(&rig);
    mr_core_watch(rig.core, rig.now, 0, id, true, MR_SCOPE_ANY);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.type, MR_EVENT_WAITING);
    mr_core_watch(rig.core, rig.now, 0, id, true, MR_SCOPE_ANY); /* twice is once */
    mr_core_watch(rig.core, rig.now, 1, id, true, MR_SCOPE_ANY);
    rig_tick(&rig);
    rig_forget(&rig);
    held.id = id;
    mr_core_held(rig.core, rig.now, 2, &held);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_EVENT), 2);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_EVENT)->event.permille, 250);
    ck_assert_str_eq(rig_last(&rig, MR_ACT_EVENT)->text, "halfway");
    mr_core_held(rig.core, rig.now, 2, &held); /* nothing new */
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_EVENT), 2);
    ck_assert_int_eq(mr_core_job(rig.core, id, &info), MR_OK);
    ck_assert_uint_eq(info.permille, 250);
    ck_assert(mr_span_is(info.progress, "halfway"));
    mr_core_watch(rig.core, rig.now, 1, id, false, MR_SCOPE_ANY);
    mr_core_check(rig.core);
    mr_core_leaves(rig.core, rig.now, 0, mr_span_str("bye"));
    rig_report(&rig, 2, id, 1, MR_DID_SUCCEED);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_EVENT), 2);
    ck_assert_uint_eq(rig_stats(&rig).watches, 0);
    rig_stop(&rig);
}
END_TEST

START_TEST(watching_what_is_not_in_memory)
{
    struct rig rig;
    struct mr_found found = {.exists = true, .is_finished = true, .outcome = MR_FAILED};

    rig_init(&rig);
    rig.conf.watches_max = 2;
    rig_start(&rig);
    found.id = rig_id(&rig);
    mr_core_watch(rig.core, rig.now, 0, found.id, true, MR_SCOPE_ANY);
    mr_core_watch(rig.core, rig.now, 1, found.id, true, MR_SCOPE_ANY);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_FIND), 1); /* one question for both */
    mr_core_watch(rig.core, rig.now, 0, rig_id(&rig), true, MR_SCOPE_ANY);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_ERROR)->action.code, MR_BUSY);
    found.text = mr_span_str("why");
    mr_core_found(rig.core, rig.now, &found);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_EVENT), 2);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.outcome, MR_FAILED);
    ck_assert_str_eq(rig_last(&rig, MR_ACT_EVENT)->text, "why");
    ck_assert_uint_eq(rig_stats(&rig).watches, 0);
    rig_stop(&rig);
}
END_TEST

/* Under a finished job's id somebody else's body is being stored, for which there will be a
 * refusal. Whoever asks for the job meanwhile is told its end. */
START_TEST(watching_a_finished_job_while_a_forgery_is_stored)
{
    struct rig rig;
    struct mr_job_new forged;
    struct mr_found found = {
        .exists = true, .is_finished = true, .outcome = MR_SUCCEEDED};

    rig_init(&rig);
    rig_start(&rig);
    forged = rig_job(&rig);
    rig_submit(&rig, 0, &forged);
    rig_forget(&rig);
    mr_core_watch(rig.core, rig.now, 1, forged.id, true, MR_SCOPE_ANY);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_EVENT), 0);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_FIND), 1);
    found.id = forged.id;
    mr_core_found(rig.core, rig.now, &found);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.type, MR_EVENT_FINISHED);
    ck_assert_uint_eq(rig_stats(&rig).watches, 0);
    rig_stop(&rig);
}
END_TEST

START_TEST(watching_what_is_being_stored)
{
    struct rig rig;
    struct mr_job_new job;
    struct mr_found found = {.exists = false};

    rig_init(&rig);
    rig_start(&rig);
    job = rig_job(&rig);
    rig_submit(&rig, 0, &job);
    rig_forget(&rig);
    mr_core_watch(rig.core, rig.now, 1, job.id, true, MR_SCOPE_ANY);
    found.id = job.id;
    mr_core_found(rig.core, rig.now, &found);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.type, MR_EVENT_WAITING);
    ck_assert_uint_eq(rig_stats(&rig).watches, 1);
    rig_stop(&rig);
}
END_TEST

/* A client that left gets no ACK, and its number may be another's by then. */
START_TEST(an_acknowledgement_is_for_the_session_that_asked)
{
    struct rig rig;
    struct mr_job_new job;

    rig_init(&rig);
    rig_start(&rig);
    rig_forget(&rig);
    job = rig_job(&rig);
    rig_submit(&rig, MR_SUBMIT_WATCH, &job);
    mr_core_leaves(rig.core, rig.now, 0, mr_span_str("bye"));
    ck_assert_int_eq(
        mr_core_client_joins(rig.core, rig.now, 0, 0, mr_span_str("another")), MR_OK);
    rig_commit(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_ACK), 0);
    ck_assert_str_eq(rig_state(&rig, job.id), "ready");
    rig_stop(&rig);
}
END_TEST

static void
add(TCase *tcase)
{
    tcase_add_test(tcase, cancelling_what_does_not_run);
    tcase_add_test(tcase, cancelling_what_runs_asks_its_worker);
    tcase_add_test(tcase, cancelling_what_is_not_in_memory_asks_the_database);
    tcase_add_test(tcase, cancelling_what_is_submitted_while_the_database_is_asked);
    tcase_add_test(tcase, somebody_elses_result_stands_against_ours);
    tcase_add_test(tcase, watchers_hear_what_happens_until_they_leave);
    tcase_add_test(tcase, watching_what_is_not_in_memory);
    tcase_add_test(tcase, watching_a_finished_job_while_a_forgery_is_stored);
    tcase_add_test(tcase, watching_what_is_being_stored);
    tcase_add_test(tcase, an_acknowledgement_is_for_the_session_that_asked);
}

int
main(void)
{
    return rig_run("core/watch", add) != 0;
}
