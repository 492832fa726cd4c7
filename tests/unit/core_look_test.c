/* What people see of the core: why a job does not run, and the lists. */
#include "tests/unit/core_rig.h"

static struct mr_uuid
sent_to(struct rig *rig, uint32_t peer)
{
    struct mr_uuid id = rig_ready(rig);

    rig_tick(rig);
    ck_assert_str_eq(rig_state(rig, id), "running");
    ck_assert_uint_eq(rig_last(rig, MR_ACT_JOB)->action.peer, peer);
    return id;
}

static void
expect_why(struct rig *rig, struct mr_uuid id, const char *says)
{
    char why[400];

    ck_assert_int_eq(mr_core_explain(rig->core, rig->now, id, why, sizeof why), MR_OK);
    if (!strstr(why, says))
        ck_abort_msg("\"%s\" does not say \"%s\"", why, says);
}

START_TEST(why_a_job_does_not_run)
{
    struct rig rig;
    struct mr_job_new job;
    struct mr_uuid id, queued;
    struct mr_offer one = {.kind = mr_span_str("k"), .running_max = 1};
    char why[200];

    rig_init(&rig);
    rig_start(&rig);
    job = rig_job(&rig);
    rig_submit(&rig, 0, &job);
    expect_why(&rig, job.id, "being stored");
    rig_commit(&rig);
    id = job.id;
    expect_why(&rig, id, "no worker offers kind k");
    rig_worker(&rig, 2, 1, 0, NULL);
    expect_why(&rig, id, "no credit: all 1 threads");
    ck_assert_int_eq(
        mr_core_set_paused(rig.core, rig.now, mr_span_str("q"), true), MR_OK);
    expect_why(&rig, id, "queue q is paused");
    ck_assert_int_eq(
        mr_core_set_paused(rig.core, rig.now, mr_span_str("q"), false), MR_OK);
    mr_core_store_is_up(rig.core, rig.now, false);
    expect_why(&rig, id, "the store is down");
    mr_core_store_is_up(rig.core, rig.now, true);
    mr_core_leaves(rig.core, rig.now, 2, MR_SPAN_NONE);
    rig_worker(&rig, 2, 4, 4, &one);
    rig_tick(&rig);
    expect_why(&rig, id, "attempt 1 is running on worker worker since 2025-11-24T");
    queued = rig_ready(&rig);
    expect_why(&rig, queued, "the limit of kind k is reached");
    rig_report(&rig, 2, id, 1, MR_DID_FAIL);
    expect_why(&rig, id, "attempt 1 is being stored");
    rig_commit(&rig);
    expect_why(&rig, id, "in backoff after attempt 1 until 2025-11-24T");
    job = rig_job(&rig);
    job.delay_ms = 5000;
    rig_accept(&rig, &job);
    expect_why(&rig, job.id, "waits until 2025-11-24T");
    ck_assert_int_eq(
        mr_core_explain(rig.core, rig.now, rig_id(&rig), why, sizeof why), MR_NO_JOB);
    rig_stop(&rig);
}
END_TEST

/* Each sentence names who or what, and what to do. */
START_TEST(what_can_be_done_about_it)
{
    struct rig rig;
    struct mr_uuid id, next;
    char why[400], cut[12];

    rig_init(&rig);
    rig_start(&rig);
    id = rig_ready(&rig);
    expect_why(&rig, id, "start one that does");
    rig_worker(&rig, 2, 1, 0, NULL);
    expect_why(&rig, id, "(worker); wait, or start more workers");
    ck_assert_int_eq(
        mr_core_set_paused(rig.core, rig.now, mr_span_str("q"), true), MR_OK);
    expect_why(&rig, id, "millrace resume q");
    ck_assert_int_eq(
        mr_core_set_paused(rig.core, rig.now, mr_span_str("q"), false), MR_OK);
    mr_core_credit(rig.core, rig.now, 2, 1);
    expect_why(&rig, id, "it is the next one");
    next = rig_ready(&rig);
    expect_why(&rig, next, "others are before it: 1 in its lane, and 2 jobs of kind k");
    mr_core_drain(rig.core, rig.now);
    expect_why(&rig, next, "the broker is being stopped");
    /* Cut where it has to be, and no further. */
    ck_assert_int_eq(mr_core_explain(rig.core, rig.now, next, why, sizeof why), MR_OK);
    ck_assert_int_eq(mr_core_explain(rig.core, rig.now, next, cut, sizeof cut), MR_OK);
    ck_assert_uint_eq(strlen(cut), sizeof cut - 1);
    ck_assert_int_eq(strncmp(cut, why, sizeof cut - 1), 0);
    rig_stop(&rig);
}
END_TEST

START_TEST(why_a_running_job_is_not_done)
{
    struct rig rig;
    struct mr_uuid id;
    struct mr_held held = {
        .attempt = 1, .permille = 405, .text = mr_span_str("page 81 of 200")};

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 1, NULL);
    held.id = id = sent_to(&rig, 2);
    mr_core_held(rig.core, rig.now, 2, &held);
    expect_why(&rig, id, ", 40.5% done: page 81 of 200");
    rig_worker(&rig, 3, 1, 1, NULL); /* another instance: nothing changes */
    expect_why(&rig, id, "page 81 of 200");
    mr_core_cancel(rig.core, rig.now, 0, 3, id, MR_SCOPE_ANY);
    expect_why(&rig, id, "it was asked to stop, because it is to be cancelled");
    rig_stop(&rig);
}
END_TEST

START_TEST(why_a_job_comes_later)
{
    struct rig rig;
    struct mr_uuid id;
    struct mr_done snooze = {
        .attempt = 1, .report = MR_DID_SNOOZE, .retry_after_ms = 60000};

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 1, NULL);
    snooze.id = id = sent_to(&rig, 2);
    rig_done(&rig, 2, snooze);
    mr_core_store_is_up(rig.core, rig.now, false);
    expect_why(
        &rig, id, "what became of attempt 1 is being stored, and the store is down");
    mr_core_store_is_up(rig.core, rig.now, true);
    rig_commit(&rig);
    expect_why(&rig, id, "snoozed by attempt 1 until 2025-11-24T16:01:00");
    rig_stop(&rig);
}
END_TEST

START_TEST(why_a_lost_job_waits)
{
    struct rig rig;
    struct mr_uuid bad, good;
    struct mr_found found = {.exists = true};

    rig_init(&rig);
    rig.conf.losses_max = 3;
    rig_start(&rig);
    bad = rig_ready(&rig);
    good = rig_ready(&rig);
    for (uint32_t loss = 1; loss <= 2; loss++) {
        rig_worker(&rig, 2, 2, 4, NULL);
        rig_tick(&rig);
        mr_core_leaves(rig.core, rig.now, 2, mr_span_str("died"));
        rig_commit(&rig);
        expect_why(&rig, good, "the database is asked whether attempt");
        found.id = bad;
        mr_core_found(rig.core, rig.now, &found);
        found.id = good;
        mr_core_found(rig.core, rig.now, &found);
    }
    rig_worker(&rig, 2, 2, 4, NULL);
    rig_tick(&rig);
    expect_why(&rig, bad, "attempt 3 is running");
    expect_why(&rig, good,
        "2 times its worker or its process ended with it, so it is sent alone");
    rig_stop(&rig);
}
END_TEST

START_TEST(why_a_recovered_job_waits)
{
    struct rig rig;
    struct mr_stored_job stored;

    rig_init(&rig);
    ck_assert_int_eq(mr_core_new(&rig.core, &rig.conf, rig_on_action, &rig), MR_OK);
    stored = (struct mr_stored_job){.job = rig_job(&rig)};
    ck_assert_int_eq(mr_core_loaded(rig.core, rig.now, &stored), MR_OK);
    expect_why(
        &rig, stored.job.id, "waits whether a worker still runs it; it is loading");
    mr_core_load_done(rig.core, rig.now);
    expect_why(
        &rig, stored.job.id, "waits whether a worker still runs it, until 2025-11-");
    rig_stop(&rig);
}
END_TEST

/* Room for seven payloads of 1 MiB above the budget: the eighth job waits for it. */
START_TEST(why_a_payload_is_not_there)
{
    static uint8_t big[MR_PAYLOAD_BYTES_MAX];
    struct mr_offer other = {.kind = mr_span_str("other")};
    struct mr_stored_job rows[8] = {0};
    struct rig rig;

    rig_init(&rig);
    rig.conf.payload_bytes_max = 0;
    rig_start(&rig);
    ck_assert_int_eq(mr_core_knows_kind(rig.core, other.kind), MR_OK);
    for (int i = 0; i < 8; i++) {
        rows[i].job = rig_job(&rig);
        rows[i].job.payload = mr_span(big, sizeof big);
        if (i == 7)
            rows[i].job.kind = other.kind;
        rig_accept(&rig, &rows[i].job);
    }
    rig_worker(&rig, 2, 10, 10, NULL);
    rig_tick(&rig);
    expect_why(&rig, rows[0].job.id, "its payload is being read back");
    rig_worker(&rig, 3, 1, 1, &other);
    rig_tick(&rig);
    expect_why(&rig, rows[7].job.id, "waits for memory for payloads");
    rig_stop(&rig);
}
END_TEST

static enum mr_dead_reason
reason_of_last(struct rig *rig)
{
    ck_assert_int_eq(rig_last(rig, MR_ACT_STORE)->op.type, MR_STORE_RESULT);
    ck_assert_int_eq(rig_last(rig, MR_ACT_STORE)->op.outcome, MR_FAILED);
    return rig_last(rig, MR_ACT_STORE)->op.reason;
}

START_TEST(a_dead_job_says_why_it_is)
{
    struct rig rig;
    struct mr_job_new job;
    struct mr_uuid id;
    struct mr_found found = {.exists = true};

    rig_init(&rig);
    rig.conf.losses_max = 1;
    rig_start(&rig);
    rig_worker(&rig, 2, 4, 100, NULL);
    id = sent_to(&rig, 2);
    rig_report(&rig, 2, id, 1, MR_DID_FAIL_FOR_GOOD);
    ck_assert_int_eq(reason_of_last(&rig), MR_DEAD_FOR_GOOD);
    job = rig_job(&rig);
    job.attempts_max = 1;
    rig_accept(&rig, &job);
    rig_tick(&rig);
    rig_report(&rig, 2, job.id, 1, MR_DID_TIME_OUT);
    ck_assert_int_eq(reason_of_last(&rig), MR_DEAD_USED_UP);
    found.id = sent_to(&rig, 2);
    mr_core_leaves(rig.core, rig.now, 2, mr_span_str("died"));
    rig_commit(&rig);
    mr_core_found(rig.core, rig.now, &found);
    ck_assert_int_eq(reason_of_last(&rig), MR_DEAD_QUARANTINED);
    rig_commit(&rig);
    id = rig_ready(&rig);
    mr_core_cancel(rig.core, rig.now, 0, 3, id, MR_SCOPE_ANY);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_STORE)->op.reason, MR_DEAD_NOT);
    rig_stop(&rig);
}
END_TEST

START_TEST(lists_show_what_is_there)
{
    struct rig rig;
    struct mr_core_worker_info worker;
    struct mr_core_kind_info kind;
    uint32_t cursor = 0;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 5, 3, 4, NULL);
    sent_to(&rig, 5);
    ck_assert(mr_core_next_worker(rig.core, &cursor, &worker));
    ck_assert_uint_eq(worker.peer, 5);
    ck_assert_uint_eq(worker.threads, 3);
    ck_assert_uint_eq(worker.sent, 1);
    ck_assert_uint_eq(worker.credit, 3);
    ck_assert(mr_span_is(worker.name, "worker"));
    ck_assert(!mr_core_next_worker(rig.core, &cursor, &worker));
    cursor = 0;
    ck_assert(mr_core_next_kind(rig.core, &cursor, &kind));
    ck_assert(mr_span_is(kind.name, "k"));
    ck_assert_uint_eq(kind.workers, 1);
    ck_assert_uint_eq(kind.sent, 1);
    ck_assert(!mr_core_next_kind(rig.core, &cursor, &kind));
    rig_stop(&rig);
}
END_TEST

static void
add(TCase *tcase)
{
    tcase_add_test(tcase, why_a_job_does_not_run);
    tcase_add_test(tcase, what_can_be_done_about_it);
    tcase_add_test(tcase, why_a_running_job_is_not_done);
    tcase_add_test(tcase, why_a_job_comes_later);
    tcase_add_test(tcase, why_a_lost_job_waits);
    tcase_add_test(tcase, why_a_recovered_job_waits);
    tcase_add_test(tcase, why_a_payload_is_not_there);
    tcase_add_test(tcase, a_dead_job_says_why_it_is);
    tcase_add_test(tcase, lists_show_what_is_there);
}

int
main(void)
{
    return rig_run("core/look", add) != 0;
}
