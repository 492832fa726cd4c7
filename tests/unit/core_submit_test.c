/* What may be submitted, what is refused and why, and submitting again. */
#include "tests/unit/core_rig.h"

/* The code of the only verdict of the last ACK; MR_OK when there was none. */
static enum mr_status
verdict(struct rig *rig)
{
    const struct rig_said *ack = rig_last(rig, MR_ACT_ACK);

    ck_assert_ptr_nonnull(ack);
    return ack->action.verdict_count ? ack->verdicts[0].code : MR_OK;
}

static enum mr_status
verdict_on(struct rig *rig, const struct mr_job_new *job)
{
    rig_forget(rig);
    rig_submit(rig, 0, job);
    rig_commit(rig);
    mr_core_check(rig->core);
    return verdict(rig);
}

static void
set_id_ms(struct mr_uuid *id, int64_t ms)
{
    for (int i = 0; i < 6; i++)
        id->b[i] = (uint8_t)((uint64_t)ms >> (40 - 8 * i));
}

START_TEST(wrong_jobs_get_their_code_and_a_reason)
{
    static uint8_t big[MR_PAYLOAD_BYTES_MAX + 1];
    static char long_name[200];
    struct {
        enum mr_status code;
        const char *says;
        struct mr_job_new job;
    } cases[24];
    struct rig rig;
    size_t n = 0;
    struct mr_job_new good;

    memset(long_name, 'x', sizeof long_name);
    rig_init(&rig);
    rig_start(&rig);
#define CASE(status, text, ...)                                                          \
    good = rig_job(&rig);                                                                \
    __VA_ARGS__;                                                                         \
    cases[n].code = status;                                                              \
    cases[n].says = text;                                                                \
    cases[n++].job = good
    CASE(MR_BAD_ID, "version 7", good.id.b[6] = 0x40);
    CASE(MR_BAD_ID, "past", set_id_ms(&good.id, RIG_WALL_US / 1000 - 8 * 86400000LL));
    CASE(MR_BAD_ID, "future", set_id_ms(&good.id, RIG_WALL_US / 1000 + 61000));
    CASE(MR_TOO_BIG, "payload", good.payload = mr_span(big, sizeof big));
    CASE(MR_BAD_ARGUMENT, "queue", good.queue = mr_span(long_name, 65));
    CASE(MR_BAD_ARGUMENT, "kind", good.kind = mr_span_str("a b"));
    CASE(MR_BAD_ARGUMENT, "lane", good.lane = mr_span(long_name, 65));
    CASE(MR_BAD_ARGUMENT, "trace", good.trace = mr_span(long_name, 129));
    CASE(MR_BAD_ARGUMENT, "priority", good.priority = 10);
    CASE(MR_BAD_ARGUMENT, "attempts", good.attempts_max = 1001);
    CASE(MR_BAD_ARGUMENT, "backoff", good.backoff_base_ms = 2, good.backoff_cap_ms = 1);
    CASE(MR_BAD_ARGUMENT, "factor", good.backoff_factor_percent = 99);
    CASE(MR_BAD_ARGUMENT, "factor", good.backoff_factor_percent = 1001);
    CASE(MR_BAD_ARGUMENT, "jitter", good.backoff_jitter = 101);
    CASE(MR_BAD_ARGUMENT, "both", good.run_at_us = RIG_WALL_US, good.delay_ms = 1);
    CASE(MR_BAD_ARGUMENT, "ten years", good.run_at_us = INT64_MAX);
    CASE(MR_EXPIRED, "expiry", good.expires_at_us = RIG_WALL_US);
    CASE(MR_BAD_ARGUMENT, "may start", good.delay_ms = 1000,
        good.expires_at_us = RIG_WALL_US + 1000000);
    CASE(MR_NO_KIND, "no worker has ever offered", good.kind = mr_span_str("unheard"));
#undef CASE
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(verdict_on(&rig, &cases[i].job), cases[i].code);
        ck_assert_ptr_nonnull(strstr(rig_last(&rig, MR_ACT_ACK)->text, cases[i].says));
        ck_assert_uint_eq(rig_said(&rig, MR_ACT_STORE), 0);
    }
    ck_assert_uint_eq(rig_stats(&rig).refused, n);
    ck_assert_uint_eq(rig_stats(&rig).jobs, 0);
    rig_stop(&rig);
}
END_TEST

START_TEST(the_limits_themselves_are_good)
{
    static uint8_t big[MR_PAYLOAD_BYTES_MAX];
    char name[64];
    struct rig rig;
    struct mr_job_new job;

    memset(name, 'n', sizeof name);
    rig_init(&rig);
    rig.conf.payload_bytes_max = UINT64_C(8) << 20;
    rig_start(&rig);
    job = rig_job(&rig);
    job.payload = mr_span(big, sizeof big);
    job.queue = mr_span(name, sizeof name);
    job.lane = mr_span(name, sizeof name);
    job.priority = 9;
    job.attempts_max = 1000;
    ck_assert_int_eq(verdict_on(&rig, &job), MR_OK);
    job = rig_job(&rig);
    set_id_ms(&job.id, RIG_WALL_US / 1000 - 7 * 86400000LL);
    ck_assert_int_eq(verdict_on(&rig, &job), MR_OK);
    job = rig_job(&rig);
    set_id_ms(&job.id, RIG_WALL_US / 1000 + 60000);
    ck_assert_int_eq(verdict_on(&rig, &job), MR_OK);
    rig_stop(&rig);
}
END_TEST

START_TEST(one_bad_job_does_not_harm_its_neighbours)
{
    struct rig rig;
    struct mr_job_new jobs[3];

    rig_init(&rig);
    rig_start(&rig);
    rig_forget(&rig);
    ck_assert_int_eq(mr_core_submit_open(rig.core, rig.now, 0, 5, 0, 3), MR_OK);
    for (int i = 0; i < 3; i++) {
        jobs[i] = rig_job(&rig);
        if (i == 1)
            jobs[i].priority = 77;
        mr_core_submit_job(rig.core, rig.now, &jobs[i]);
    }
    mr_core_submit_close(rig.core, rig.now);
    ck_assert_uint_eq(
        rig_said(&rig, MR_ACT_ACK), 0); /* not before the others are durable */
    rig_answer(&rig, MR_OK);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_ACK), 0);
    rig_answer(&rig, MR_OK);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_ACK), 1);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_ACK)->action.count, 3);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_ACK)->action.verdict_count, 1);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_ACK)->verdicts[0].index, 1);
    ck_assert_uint_eq(rig_stats(&rig).ready, 2);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_row_that_the_database_refuses_is_a_verdict_with_its_reason)
{
    struct rig rig;
    struct mr_job_new job;
    struct rig_said *row;

    rig_init(&rig);
    rig_start(&rig);
    rig_forget(&rig);
    job = rig_job(&rig);
    rig_submit(&rig, MR_SUBMIT_WATCH, &job);
    row = rig_nth(&rig, MR_ACT_STORE, 0);
    row->op.found_text = mr_span_str("no partition for it");
    rig_answer(&rig, MR_BAD_ARGUMENT);
    ck_assert_int_eq(verdict(&rig), MR_BAD_ARGUMENT);
    ck_assert_str_eq(rig_last(&rig, MR_ACT_ACK)->text, "no partition for it");
    ck_assert_uint_eq(rig_stats(&rig).jobs, 0);
    ck_assert_uint_eq(rig_stats(&rig).watches, 0);
    rig_stop(&rig);
}
END_TEST

START_TEST(the_same_again_is_known_and_another_body_is_a_conflict)
{
    struct rig rig;
    struct mr_job_new job, other;

    rig_init(&rig);
    rig_start(&rig);
    job = rig_job(&rig);
    ck_assert_int_eq(verdict_on(&rig, &job), MR_OK);
    ck_assert_int_eq(verdict_on(&rig, &job), MR_KNOWN);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_STORE), 0);
    other = job;
    other.payload = mr_span_str("\xc2");
    ck_assert_int_eq(verdict_on(&rig, &other), MR_CONFLICT);
    other = job;
    other.queue = mr_span_str("q2");
    ck_assert_int_eq(verdict_on(&rig, &other), MR_CONFLICT);
    other = job;
    other.kind = mr_span_str("k2");
    ck_assert_int_eq(verdict_on(&rig, &other), MR_CONFLICT);
    other = job;
    other.priority = 9; /* options are not compared: the first submission's stand */
    ck_assert_int_eq(verdict_on(&rig, &other), MR_KNOWN);
    ck_assert_uint_eq(rig_stats(&rig).jobs, 1);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_repeat_of_what_is_being_stored_waits_for_that_commit)
{
    struct rig rig;
    struct mr_job_new job;

    rig_init(&rig);
    rig_start(&rig);
    rig_forget(&rig);
    job = rig_job(&rig);
    ck_assert_int_eq(mr_core_submit_open(rig.core, rig.now, 0, 1, 0, 2), MR_OK);
    mr_core_submit_job(rig.core, rig.now, &job);
    mr_core_submit_job(rig.core, rig.now, &job); /* twice in one message */
    mr_core_submit_close(rig.core, rig.now);
    ck_assert_int_eq(mr_core_submit_open(rig.core, rig.now, 1, 2, 0, 1), MR_OK);
    mr_core_submit_job(rig.core, rig.now, &job); /* and from another client */
    mr_core_submit_close(rig.core, rig.now);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_STORE), 1);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_ACK), 0);
    rig_commit(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_ACK), 2);
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_uint_eq(rig_nth(&rig, MR_ACT_ACK, i)->action.verdict_count, 1);
        ck_assert_int_eq(rig_nth(&rig, MR_ACT_ACK, i)->verdicts[0].code, MR_KNOWN);
    }
    ck_assert_uint_eq(rig_stats(&rig).ready, 1);
    rig_stop(&rig);
}
END_TEST

/* Which of two bodies an id belongs to is not known before the first one's commit: the id may
 * be an older job's, and the second body that job's own. */
START_TEST(another_body_is_judged_when_the_first_is_stored)
{
    struct rig rig;
    struct mr_job_new forged, job;

    rig_init(&rig);
    rig_start(&rig);
    forged = job = rig_job(&rig);
    forged.payload = mr_span_str("\xc2");
    rig_submit(&rig, 0, &forged);
    rig_submit(&rig, MR_SUBMIT_RESENT, &job);
    ck_assert_int_eq(verdict(&rig), MR_BUSY);
    rig_answer(&rig, MR_CONFLICT);
    ck_assert_int_eq(verdict(&rig), MR_CONFLICT);
    rig_submit(&rig, MR_SUBMIT_RESENT, &job);
    rig_answer(&rig, MR_FINISHED);
    ck_assert_int_eq(verdict(&rig), MR_FINISHED);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_finished_job_submitted_again_gets_its_result)
{
    struct rig rig;
    struct mr_job_new job;
    struct rig_said *row;

    rig_init(&rig);
    rig_start(&rig);
    rig_forget(&rig);
    job = rig_job(&rig);
    rig_submit(&rig, MR_SUBMIT_WATCH | MR_SUBMIT_RESENT, &job);
    row = rig_nth(&rig, MR_ACT_STORE, 0);
    ck_assert(row->op.is_resent);
    row->op.found_outcome = MR_SUCCEEDED;
    row->op.found_attempt = 3;
    row->op.found_body = mr_span_str("result");
    rig_answer(&rig, MR_FINISHED);
    ck_assert_int_eq(verdict(&rig), MR_FINISHED);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.outcome, MR_SUCCEEDED);
    ck_assert_str_eq(rig_last(&rig, MR_ACT_EVENT)->body, "result");
    ck_assert_uint_eq(rig_stats(&rig).jobs, 0);
    rig_stop(&rig);
}
END_TEST

/* The database has it, memory has not: how many attempts were made is read first. */
START_TEST(a_known_row_brings_its_history)
{
    struct rig rig;
    struct mr_job_new job;
    struct mr_stored_job row;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 5, NULL);
    rig_forget(&rig);
    job = rig_job(&rig);
    rig_submit(&rig, MR_SUBMIT_RESENT, &job);
    rig_answer(&rig, MR_KNOWN);
    ck_assert_int_eq(verdict(&rig), MR_KNOWN);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 0);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_READ), 1);
    ck_assert(rig_last(&rig, MR_ACT_READ)->action.with_history);
    /* Its payload alone does not say how often it has failed. */
    row = (struct mr_stored_job){.job = job, .lacks_history = true};
    mr_core_read_back(rig.core, rig.now, job.id, &row);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 0);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_READ), 2);
    row = (struct mr_stored_job){.job = job, .attempts = 6, .failures = 4};
    mr_core_read_back(rig.core, rig.now, job.id, &row);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_JOB)->job.attempt, 7);
    rig_report(&rig, 2, job.id, 7, MR_DID_FAIL); /* the fifth failure of five */
    rig_commit(&rig);
    ck_assert_uint_eq(rig_stats(&rig).failed, 1);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_repeat_that_expired_meanwhile_is_judged_by_the_database)
{
    struct rig rig;
    struct mr_job_new job;

    rig_init(&rig);
    rig_start(&rig);
    job = rig_job(&rig);
    job.expires_at_us = RIG_WALL_US + 1000;
    rig_move(&rig, 2000);
    ck_assert_int_eq(verdict_on(&rig, &job), MR_EXPIRED);
    rig_forget(&rig);
    rig_submit(&rig, MR_SUBMIT_RESENT, &job);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_STORE), 1);
    rig_commit(&rig); /* it was not there: accepted, and expired at once */
    ck_assert_int_eq(verdict(&rig), MR_OK);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_STORE)->op.outcome, MR_OUT_EXPIRED);
    ck_assert_uint_eq(rig_stats(&rig).expired, 1);
    rig_stop(&rig);
}
END_TEST

/* ---- whole messages --------------------------------------------------------------------------- */

static enum mr_status
open_code(struct rig *rig, uint32_t peer, uint32_t flags, uint32_t jobs)
{
    struct mr_job_new job = rig_job(rig);
    enum mr_status status;

    rig_forget(rig);
    status = mr_core_submit_open(rig->core, rig->now, peer, 11, flags, jobs);
    if (status) {
        const struct rig_said *error = rig_last(rig, MR_ACT_ERROR);

        ck_assert_int_eq(error->action.code, status);
        ck_assert_uint_eq(error->action.corr, 11);
        ck_assert_uint_gt(error->action.text.n, 0);
        ck_assert(!mr_status_is_retryable(status) || error->action.retry_after_ms > 0);
        mr_core_submit_job(rig->core, rig->now, &job); /* goes nowhere */
        ck_assert_uint_eq(rig_said(rig, MR_ACT_STORE), 0);
    }
    mr_core_submit_close(rig->core, rig->now);
    return status;
}

START_TEST(a_message_is_refused_as_a_whole)
{
    struct rig rig;

    rig_init(&rig);
    rig.conf.watches_max = 3;
    ck_assert_int_eq(mr_core_new(&rig.core, &rig.conf, rig_on_action, &rig), MR_OK);
    ck_assert_int_eq(open_code(&rig, 0, 0, 1), MR_NO_SESSION);
    ck_assert_int_eq(
        mr_core_client_joins(rig.core, rig.now, 0, 0, mr_span_str("client")), MR_OK);
    ck_assert_int_eq(open_code(&rig, 0, 0, 1), MR_STARTING);
    mr_core_load_done(rig.core, rig.now);
    ck_assert_int_eq(open_code(&rig, 0, 0, MR_JOBS_PER_MESSAGE_MAX + 1), MR_TOO_BIG);
    ck_assert_int_eq(open_code(&rig, 7000, 0, 1), MR_NO_SESSION);
    ck_assert_int_eq(open_code(&rig, 0, MR_SUBMIT_WATCH, 4), MR_BUSY);
    mr_core_store_is_up(rig.core, rig.now, false);
    ck_assert_int_eq(open_code(&rig, 0, 0, 1), MR_STORE_DOWN);
    mr_core_store_is_up(rig.core, rig.now, true);
    ck_assert_int_eq(open_code(&rig, 0, 0, 0), MR_OK); /* nothing in it: acknowledged */
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_ACK)->action.count, 0);
    mr_core_drain(rig.core, rig.now);
    ck_assert_int_eq(open_code(&rig, 0, 0, 1), MR_DRAINING);
    rig_stop(&rig);
}
END_TEST

/* Five jobs fit: of six in one message the last gets BUSY, and the next message is refused. */
START_TEST(a_full_table_is_busy_and_loses_nothing)
{
    struct rig rig;

    rig_init(&rig);
    rig.conf.jobs_max = 5;
    rig_start(&rig);
    rig_forget(&rig);
    ck_assert_int_eq(mr_core_submit_open(rig.core, rig.now, 0, 1, 0, 6), MR_OK);
    for (int i = 0; i < 6; i++) {
        struct mr_job_new job = rig_job(&rig);

        mr_core_submit_job(rig.core, rig.now, &job);
    }
    mr_core_submit_close(rig.core, rig.now);
    rig_commit(&rig);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_ACK)->action.verdict_count, 1);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_ACK)->verdicts[0].index, 5);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_ACK)->verdicts[0].code, MR_BUSY);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_ACK)->action.retry_after_ms, 200);
    ck_assert_int_eq(open_code(&rig, 0, 0, 1), MR_BUSY);
    ck_assert_uint_eq(rig_stats(&rig).ready, 5);
    rig_stop(&rig);
}
END_TEST

START_TEST(what_waits_for_its_commit_is_bounded_in_number_and_bytes)
{
    static uint8_t big[600];
    struct rig rig;
    struct mr_job_new job;

    rig_init(&rig);
    rig.conf.storing_max = 2;
    rig.conf.storing_bytes_max = 1000;
    rig_start(&rig);
    rig_forget(&rig);
    job = rig_job(&rig);
    job.payload = mr_span(big, sizeof big);
    rig_submit(&rig, 0, &job);
    job.id = rig_id(&rig);
    rig_submit(&rig, 0, &job); /* 1,200 bytes */
    ck_assert_int_eq(verdict(&rig), MR_BUSY);
    job = rig_job(&rig);
    rig_submit(&rig, 0, &job);
    job = rig_job(&rig);
    rig_submit(&rig, 0, &job); /* the third */
    ck_assert_int_eq(verdict(&rig), MR_BUSY);
    rig_commit(&rig);
    ck_assert_uint_eq(rig_stats(&rig).ready, 2);
    rig_stop(&rig);
}
END_TEST

START_TEST(names_and_lanes_are_bounded_and_come_free_again)
{
    struct rig rig;
    struct mr_job_new job;
    char name[3] = "qA";

    rig_init(&rig);
    rig.conf.queues_max = 3;
    rig.conf.lanes_max = 2;
    rig_start(&rig);
    rig_worker(&rig, 2, 4, 10, NULL);
    for (int i = 0; i < 2; i++, name[1]++) {
        job = rig_job(&rig);
        job.queue = mr_span_str(name);
        ck_assert_int_eq(verdict_on(&rig, &job), MR_OK);
    }
    job = rig_job(&rig);
    job.queue = mr_span_str(name);
    ck_assert_int_eq(verdict_on(&rig, &job), MR_BUSY); /* lanes */
    rig_forget(&rig);
    rig_tick(&rig);
    for (uint32_t i = 0; i < 2; i++)
        rig_report(&rig, 2, rig_nth(&rig, MR_ACT_JOB, i)->job.id, 1, MR_DID_SUCCEED);
    for (int i = 0; i < 20; i++) { /* many queues, one after the other */
        name[1] = (char)('a' + i);
        job = rig_job(&rig);
        job.queue = mr_span_str(name);
        ck_assert_int_eq(verdict_on(&rig, &job), MR_OK);
        rig_tick(&rig);
        rig_report(&rig, 2, job.id, 1, MR_DID_SUCCEED);
        mr_core_credit(rig.core, rig.now, 2, 30);
    }
    rig_stop(&rig);
}
END_TEST

START_TEST(settings_that_make_no_sense_are_refused)
{
    struct rig rig;
    struct mr_core *core;

    rig_init(&rig);
    rig.conf.jobs_max = 0;
    ck_assert_int_eq(mr_core_new(&core, &rig.conf, rig_on_action, &rig), MR_BAD_SETTING);
    ck_assert_ptr_null(core);
    rig.conf.jobs_max = 10;
    rig.conf.kinds_max = rig.conf.queues_max = 16384;
    ck_assert_int_eq(mr_core_new(&core, &rig.conf, rig_on_action, &rig), MR_BAD_SETTING);
    free(rig.said);
}
END_TEST

static void
add(TCase *tcase)
{
    tcase_add_test(tcase, wrong_jobs_get_their_code_and_a_reason);
    tcase_add_test(tcase, the_limits_themselves_are_good);
    tcase_add_test(tcase, one_bad_job_does_not_harm_its_neighbours);
    tcase_add_test(tcase, a_row_that_the_database_refuses_is_a_verdict_with_its_reason);
    tcase_add_test(tcase, the_same_again_is_known_and_another_body_is_a_conflict);
    tcase_add_test(tcase, a_repeat_of_what_is_being_stored_waits_for_that_commit);
    tcase_add_test(tcase, another_body_is_judged_when_the_first_is_stored);
    tcase_add_test(tcase, a_finished_job_submitted_again_gets_its_result);
    tcase_add_test(tcase, a_known_row_brings_its_history);
    tcase_add_test(tcase, a_repeat_that_expired_meanwhile_is_judged_by_the_database);
    tcase_add_test(tcase, a_message_is_refused_as_a_whole);
    tcase_add_test(tcase, a_full_table_is_busy_and_loses_nothing);
    tcase_add_test(tcase, what_waits_for_its_commit_is_bounded_in_number_and_bytes);
    tcase_add_test(tcase, names_and_lanes_are_bounded_and_come_free_again);
    tcase_add_test(tcase, settings_that_make_no_sense_are_refused);
}

int
main(void)
{
    return rig_run("core/submit", add) != 0;
}
