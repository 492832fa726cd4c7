/* Who gets which job, and in which order. */
#include "tests/unit/core_rig.h"

static struct mr_uuid
ready_in(struct rig *rig, const char *queue, uint8_t priority, const char *lane)
{
    struct mr_job_new job = rig_job(rig);

    job.queue = mr_span_str(queue);
    job.priority = priority;
    job.lane = mr_span_str(lane);
    return rig_accept(rig, &job);
}

/* The n-th job that was sent is this one. */
static void
expect_sent(struct rig *rig, uint32_t n, struct mr_uuid id)
{
    const struct rig_said *said = rig_nth(rig, MR_ACT_JOB, n);

    ck_assert_ptr_nonnull(said);
    ck_assert(mr_uuid_eq(said->job.id, id));
}

static uint32_t
sent_to(const struct rig *rig, uint32_t peer)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < rig->count; i++)
        n += rig->said[i].action.act == MR_ACT_JOB && rig->said[i].action.peer == peer;
    return n;
}

START_TEST(nine_comes_before_zero_and_equals_in_order)
{
    struct rig rig;
    struct mr_uuid low, a, b, high;

    rig_init(&rig);
    rig_start(&rig);
    low = ready_in(&rig, "q", 0, "");
    a = ready_in(&rig, "q", 4, "");
    b = ready_in(&rig, "q", 4, "");
    high = ready_in(&rig, "q", 9, "");
    rig_worker(&rig, 2, 4, 4, NULL);
    rig_tick(&rig);
    expect_sent(&rig, 0, high);
    expect_sent(&rig, 1, a);
    expect_sent(&rig, 2, b);
    expect_sent(&rig, 3, low);
    rig_stop(&rig);
}
END_TEST

/* age_ms 1000: after 5.5 s a job of priority 0 counts as 5, more than a fresh 4, less than a
 * fresh 6. */
START_TEST(waiting_raises_a_job)
{
    struct rig rig;
    struct mr_uuid old, four, six;

    rig_init(&rig);
    rig.conf.age_ms = 1000;
    rig.conf.heartbeat_ms = 100000;
    rig_start(&rig);
    old = ready_in(&rig, "q", 0, "");
    rig_move(&rig, 5500000);
    four = ready_in(&rig, "q", 4, "");
    six = ready_in(&rig, "q", 6, "");
    rig_worker(&rig, 2, 4, 4, NULL);
    rig_tick(&rig);
    expect_sent(&rig, 0, six);
    expect_sent(&rig, 1, old);
    expect_sent(&rig, 2, four);
    rig_stop(&rig);
}
END_TEST

START_TEST(at_equal_rank_the_longer_wait_goes_first)
{
    struct rig rig;
    struct mr_uuid old, fresh;

    rig_init(&rig);
    rig.conf.age_ms = 1000;
    rig.conf.heartbeat_ms = 100000;
    rig_start(&rig);
    old = ready_in(&rig, "q", 3, "");
    rig_move(&rig, 1000000);
    fresh = ready_in(&rig, "q", 4, "");
    rig_worker(&rig, 2, 4, 4, NULL);
    rig_tick(&rig);
    expect_sent(&rig, 0, old);
    expect_sent(&rig, 1, fresh);
    rig_stop(&rig);
}
END_TEST

/* Ten jobs in one queue, then two in another: they alternate. */
START_TEST(queues_take_turns)
{
    struct rig rig;
    struct mr_uuid many[10], few[2];

    rig_init(&rig);
    rig_start(&rig);
    for (int i = 0; i < 10; i++)
        many[i] = ready_in(&rig, "many", 4, "");
    for (int i = 0; i < 2; i++)
        few[i] = ready_in(&rig, "few", 4, "");
    rig_worker(&rig, 2, 12, 12, NULL);
    rig_tick(&rig);
    expect_sent(&rig, 0, many[0]);
    expect_sent(&rig, 1, few[0]);
    expect_sent(&rig, 2, many[1]);
    expect_sent(&rig, 3, few[1]);
    expect_sent(&rig, 4, many[2]);
    rig_stop(&rig);
}
END_TEST

/* A queue with three lanes gets no more turns than one with a single lane. */
START_TEST(lanes_take_turns_within_their_queue)
{
    struct rig rig;
    struct mr_uuid x[3], y[3];

    rig_init(&rig);
    rig_start(&rig);
    x[0] = ready_in(&rig, "x", 4, "a");
    x[1] = ready_in(&rig, "x", 4, "b");
    x[2] = ready_in(&rig, "x", 4, "c");
    for (int i = 0; i < 3; i++)
        y[i] = ready_in(&rig, "y", 4, "");
    rig_worker(&rig, 2, 12, 12, NULL);
    rig_tick(&rig);
    for (uint32_t i = 0; i < 3; i++) {
        expect_sent(&rig, 2 * i, x[i]);
        expect_sent(&rig, 2 * i + 1, y[i]);
    }
    rig_stop(&rig);
}
END_TEST

START_TEST(a_keyed_lane_starts_in_order_over_kinds)
{
    struct rig rig;
    struct mr_uuid ids[4];
    struct mr_offer offer = {.kind = mr_span_str("other")};

    rig_init(&rig);
    rig_start(&rig);
    ck_assert_int_eq(mr_core_knows_kind(rig.core, mr_span_str("other")), MR_OK);
    for (int i = 0; i < 4; i++) {
        struct mr_job_new job = rig_job(&rig);

        job.kind = mr_span_str(i == 1 ? "other" : "k");
        job.lane = mr_span_str("key");
        ids[i] = rig_accept(&rig, &job);
    }
    rig_worker(&rig, 2, 4, 4, NULL);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 1); /* the second is of another kind */
    rig_worker(&rig, 3, 4, 4, &offer);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 4);
    for (uint32_t i = 0; i < 4; i++)
        expect_sent(&rig, i, ids[i]);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_kind_without_workers_blocks_nobody)
{
    struct rig rig;
    struct mr_job_new job;
    struct mr_uuid id;

    rig_init(&rig);
    rig.conf.refuses_unknown_kinds = false;
    rig_start(&rig);
    job = rig_job(&rig);
    job.kind = mr_span_str("nobody");
    job.priority = 9;
    rig_accept(&rig, &job);
    id = rig_ready(&rig);
    rig_worker(&rig, 2, 4, 4, NULL);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 1);
    expect_sent(&rig, 0, id);
    rig_stop(&rig);
}
END_TEST

/* ---- credit ------------------------------------------------------------------------------------- */

START_TEST(credit_is_absolute_and_never_overdrawn)
{
    struct rig rig;

    rig_init(&rig);
    rig_start(&rig);
    for (int i = 0; i < 10; i++)
        rig_ready(&rig);
    rig_worker(&rig, 2, 2, 3, NULL);
    rig_tick(&rig);
    ck_assert_uint_eq(sent_to(&rig, 2), 3);
    mr_core_credit(rig.core, rig.now, 2, 3); /* repeated */
    mr_core_credit(rig.core, rig.now, 2, 1); /* lower: an old message */
    rig_tick(&rig);
    ck_assert_uint_eq(sent_to(&rig, 2), 3);
    mr_core_credit(rig.core, rig.now, 2, 5);
    mr_core_credit(rig.core, rig.now, 0, 100); /* a client has none to give */
    mr_core_credit(rig.core, rig.now, 9999, 100);
    rig_tick(&rig);
    ck_assert_uint_eq(sent_to(&rig, 2), 5);
    rig_stop(&rig);
}
END_TEST

/* One thread here, four there, credit for ten each: five jobs find five idle threads. */
START_TEST(idle_threads_come_before_prefetching)
{
    struct rig rig;

    rig_init(&rig);
    rig_start(&rig);
    rig_worker(&rig, 2, 1, 10, NULL);
    rig_worker(&rig, 3, 4, 10, NULL);
    for (int i = 0; i < 5; i++)
        rig_ready(&rig);
    rig_tick(&rig);
    ck_assert_uint_eq(sent_to(&rig, 2), 1);
    ck_assert_uint_eq(sent_to(&rig, 3), 4);
    for (int i = 0; i < 4; i++)
        rig_ready(&rig);
    rig_tick(&rig); /* now they are queued, by turns */
    ck_assert_uint_eq(sent_to(&rig, 2), 3);
    ck_assert_uint_eq(sent_to(&rig, 3), 6);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_kind_has_its_limit_in_a_worker)
{
    struct rig rig;
    struct mr_offer offer = {.kind = mr_span_str("k"), .running_max = 2};
    struct mr_uuid first;

    rig_init(&rig);
    rig_start(&rig);
    first = rig_ready(&rig);
    for (int i = 0; i < 5; i++)
        rig_ready(&rig);
    rig_worker(&rig, 2, 8, 8, &offer);
    rig_tick(&rig);
    ck_assert_uint_eq(sent_to(&rig, 2), 2);
    rig_report(&rig, 2, first, 1, MR_DID_SUCCEED);
    rig_tick(&rig);
    ck_assert_uint_eq(sent_to(&rig, 2), 3);
    rig_stop(&rig);
}
END_TEST

/* ---- pause, drain, store ---------------------------------------------------------------------- */

START_TEST(a_paused_queue_stands_still_and_goes_on)
{
    struct rig rig;
    struct mr_uuid other;
    struct mr_core_queue_info info;
    uint32_t cursor = 0;

    rig_init(&rig);
    rig_start(&rig);
    ready_in(&rig, "p", 4, "");
    ck_assert_int_eq(
        mr_core_set_paused(rig.core, rig.now, mr_span_str("p"), true), MR_OK);
    ready_in(&rig, "p", 4, "key"); /* arrives while it is paused */
    other = ready_in(&rig, "q", 0, "");
    rig_worker(&rig, 2, 4, 4, NULL);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 1);
    expect_sent(&rig, 0, other);
    ck_assert(mr_core_next_queue(rig.core, &cursor, &info));
    ck_assert(mr_span_is(info.name, "p") && info.is_paused);
    ck_assert_uint_eq(info.ready, 2);
    ck_assert_int_eq(
        mr_core_set_paused(rig.core, rig.now, mr_span_str("p"), true), MR_OK); /* again */
    mr_core_check(rig.core);
    ck_assert_int_eq(
        mr_core_set_paused(rig.core, rig.now, mr_span_str("p"), false), MR_OK);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 3);
    ck_assert_int_eq(
        mr_core_set_paused(rig.core, rig.now, MR_SPAN_NONE, true), MR_BAD_ARGUMENT);
    rig_stop(&rig);
}
END_TEST

START_TEST(nothing_is_sent_while_the_store_is_down_or_the_broker_drains)
{
    struct rig rig;

    rig_init(&rig);
    rig_start(&rig);
    rig_ready(&rig);
    rig_worker(&rig, 2, 4, 4, NULL);
    mr_core_store_is_up(rig.core, rig.now, false);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 0);
    mr_core_store_is_up(rig.core, rig.now, true);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 1);
    mr_core_drain(rig.core, rig.now);
    rig_report(&rig, 2, rig_last(&rig, MR_ACT_JOB)->job.id, 1, MR_DID_GIVE_BACK);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 1);
    rig_stop(&rig);
}
END_TEST

/* ---- payloads above the budget ------------------------------------------------------------------ */

/* A budget of one class-64 block: the second and third payload are read back when due. */
START_TEST(payloads_above_the_budget_are_read_back_when_due)
{
    struct rig rig;
    struct mr_job_new jobs[3];

    rig_init(&rig);
    rig.conf.payload_bytes_max = 64;
    rig_start(&rig);
    for (int i = 0; i < 3; i++) {
        jobs[i] = rig_job(&rig);
        jobs[i].trace = mr_span_str("tr");
        rig_accept(&rig, &jobs[i]);
    }
    ck_assert_uint_eq(rig_stats(&rig).payload_bytes, 64);
    rig_worker(&rig, 2, 4, 4, NULL);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 1);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_READ), 2); /* both at once */
    for (int i = 2; i > 0; i--) {                      /* in the wrong order */
        struct mr_stored_job row = {.job = jobs[i]};

        mr_core_read_back(rig.core, rig.now, jobs[i].id, &row);
        mr_core_check(rig.core);
    }
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 3);
    for (uint32_t i = 0; i < 3; i++) {
        expect_sent(&rig, i, jobs[i].id); /* the order is kept */
        ck_assert_str_eq(rig_nth(&rig, MR_ACT_JOB, i)->body, "\xc3");
        ck_assert_str_eq(rig_nth(&rig, MR_ACT_JOB, i)->text, "tr");
    }
    ck_assert_uint_eq(rig_stats(&rig).payload_bytes, 64); /* dropped again once sent */
    rig_stop(&rig);
}
END_TEST

START_TEST(a_payload_that_is_gone_means_that_the_job_is_finished)
{
    struct rig rig;
    struct mr_uuid id;
    struct mr_found found = {
        .exists = true, .is_finished = true, .outcome = MR_SUCCEEDED};

    rig_init(&rig);
    rig.conf.payload_bytes_max = 0;
    rig_start(&rig);
    id = rig_ready(&rig);
    rig_worker(&rig, 2, 4, 4, NULL);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_READ), 1);
    mr_core_read_back(rig.core, rig.now, id, NULL);
    mr_core_check(rig.core);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_FIND), 1);
    found.id = id;
    mr_core_found(rig.core, rig.now, &found);
    ck_assert_uint_eq(rig_stats(&rig).jobs, 0);
    ck_assert_uint_eq(rig_stats(&rig).succeeded, 1);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_repeat_is_compared_by_digest_or_after_reading_back)
{
    struct rig rig;
    struct mr_job_new job;
    struct mr_stored_job row;

    rig_init(&rig);
    rig.conf.payload_bytes_max = 0;
    rig_start(&rig);
    job = rig_job(&rig);
    rig_accept(&rig, &job);
    rig_forget(&rig);
    rig_submit(&rig, 0, &job);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_ACK)->verdicts[0].code, MR_KNOWN);
    job.payload = mr_span_str("\xc2");
    rig_submit(&rig, 0, &job);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_ACK)->verdicts[0].code, MR_CONFLICT);

    row = (struct mr_stored_job){
        .job = rig_job(&rig), .submitted_by = RIG_OWNER}; /* loaded without its payload */
    job = row.job;
    row.job.payload = MR_SPAN_NONE;
    ck_assert_int_eq(mr_core_loaded(rig.core, rig.now, &row), MR_OK);
    rig_forget(&rig);
    rig_submit(&rig, 0, &job);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_ACK), 0);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_READ), 1);
    mr_core_check(rig.core);
    row.job.payload = mr_span_str("\xc3");
    mr_core_read_back(rig.core, rig.now, job.id, &row);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_ACK)->verdicts[0].code, MR_KNOWN);
    rig_stop(&rig);
}
END_TEST

START_TEST(a_job_that_goes_while_its_payload_is_read_leaves_nothing_behind)
{
    struct rig rig;
    struct mr_job_new job;
    struct mr_stored_job row;

    rig_init(&rig);
    rig.conf.payload_bytes_max = 0;
    rig_start(&rig);
    job = rig_job(&rig);
    row = (struct mr_stored_job){.job = job, .submitted_by = RIG_OWNER};
    rig_accept(&rig, &job);
    rig_worker(&rig, 2, 4, 4, NULL);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_READ), 1);
    ck_assert(!rig_last(&rig, MR_ACT_READ)->action.with_history);
    mr_core_cancel(rig.core, rig.now, 0, 3, job.id, MR_SCOPE_ANY);
    rig_commit(&rig);
    ck_assert_str_eq(rig_state(&rig, job.id), "");
    mr_core_read_back(rig.core, rig.now, job.id, &row); /* too late */
    ck_assert_uint_eq(rig_stats(&rig).payload_bytes, 0);
    rig_stop(&rig);
}
END_TEST

/* There is room for seven payloads of 1 MiB above the budget. They are read for a worker that
 * then goes away; another's job gets the room all the same. */
START_TEST(payloads_that_nobody_takes_make_room_again)
{
    static uint8_t big[MR_PAYLOAD_BYTES_MAX];
    struct mr_offer offer = {.kind = mr_span_str("other")};
    struct mr_stored_job rows[8] = {0};
    struct rig rig;

    rig_init(&rig);
    rig.conf.payload_bytes_max = 0;
    rig_start(&rig);
    ck_assert_int_eq(mr_core_knows_kind(rig.core, offer.kind), MR_OK);
    for (int i = 0; i < 8; i++) {
        rows[i].job = rig_job(&rig);
        rows[i].job.payload = mr_span(big, sizeof big);
        if (i == 7)
            rows[i].job.kind = offer.kind;
        rig_accept(&rig, &rows[i].job);
    }
    rig_worker(&rig, 2, 10, 10, NULL);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_READ), 7);
    mr_core_leaves(rig.core, rig.now, 2, mr_span_str("bye"));
    for (int i = 0; i < 7; i++)
        mr_core_read_back(rig.core, rig.now, rows[i].job.id, &rows[i]);
    ck_assert_uint_eq(rig_stats(&rig).payload_bytes, 7 * sizeof big);
    rig_worker(&rig, 3, 1, 1, &offer);
    rig_forget(&rig);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_READ), 0); /* no room */
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_READ), 1);
    mr_core_read_back(rig.core, rig.now, rows[7].job.id, &rows[7]);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 1);
    rig_stop(&rig);
}
END_TEST

/* Far more than one round trip would bring, and the next before the last ones are used up. */
START_TEST(payloads_are_asked_for_well_ahead)
{
    enum { MANY = 4000, AHEAD = 2048 };
    static struct mr_stored_job rows[MANY];
    struct rig rig;

    rig_init(&rig);
    rig.conf.jobs_max = MANY;
    rig.conf.payload_bytes_max = 64 << 20;
    rig_start(&rig);
    for (int i = 0; i < MANY; i++) {
        rows[i] = (struct mr_stored_job){.job = rig_job(&rig), .submitted_by = RIG_OWNER};
        rows[i].job.payload = MR_SPAN_NONE;
        ck_assert_int_eq(mr_core_loaded(rig.core, rig.now, &rows[i]), MR_OK);
    }
    rig_forget(&rig);
    rig_worker(&rig, 2, 4, AHEAD / 2 - 1, NULL);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_READ), AHEAD);
    for (int i = 0; i < AHEAD; i++) {
        rows[i].job.payload = mr_span_str("\xc0");
        mr_core_read_back(rig.core, rig.now, rows[i].job.id, &rows[i]);
    }
    rig_forget(&rig);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), AHEAD / 2 - 1);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_READ), 0);
    mr_core_credit(rig.core, rig.now, 2, AHEAD / 2);
    rig_forget(&rig);
    rig_tick(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_JOB), 1);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_READ), AHEAD / 2);
    mr_core_check(rig.core);
    rig_stop(&rig);
}
END_TEST

static void
add(TCase *tcase)
{
    tcase_add_test(
        tcase, a_job_that_goes_while_its_payload_is_read_leaves_nothing_behind);
    tcase_add_test(tcase, payloads_are_asked_for_well_ahead);
    tcase_add_test(tcase, payloads_that_nobody_takes_make_room_again);
    tcase_add_test(tcase, nine_comes_before_zero_and_equals_in_order);
    tcase_add_test(tcase, waiting_raises_a_job);
    tcase_add_test(tcase, at_equal_rank_the_longer_wait_goes_first);
    tcase_add_test(tcase, queues_take_turns);
    tcase_add_test(tcase, lanes_take_turns_within_their_queue);
    tcase_add_test(tcase, a_keyed_lane_starts_in_order_over_kinds);
    tcase_add_test(tcase, a_kind_without_workers_blocks_nobody);
    tcase_add_test(tcase, credit_is_absolute_and_never_overdrawn);
    tcase_add_test(tcase, idle_threads_come_before_prefetching);
    tcase_add_test(tcase, a_kind_has_its_limit_in_a_worker);
    tcase_add_test(tcase, a_paused_queue_stands_still_and_goes_on);
    tcase_add_test(tcase, nothing_is_sent_while_the_store_is_down_or_the_broker_drains);
    tcase_add_test(tcase, payloads_above_the_budget_are_read_back_when_due);
    tcase_add_test(tcase, a_payload_that_is_gone_means_that_the_job_is_finished);
    tcase_add_test(tcase, a_repeat_is_compared_by_digest_or_after_reading_back);
}

int
main(void)
{
    return rig_run("core/match", add) != 0;
}
