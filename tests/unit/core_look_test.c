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
    char why[200];

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
    tcase_add_test(tcase, lists_show_what_is_there);
}

int
main(void)
{
    return rig_run("core/look", add) != 0;
}
