/* Who may be sent what: rights of workers by queue and kind, and their change while jobs wait. */
#include "tests/unit/core_rig.h"

#include <stdio.h>

enum { NIGHT = 1, PAY, NOTHING }; /* principals */

static struct mr_rights *rights;

static void
add_row(enum mr_rights_row_type type, uint32_t principal, const char *text,
    const char *queue, const char *kind, bool is_denied)
{
    struct mr_rights_row row = {.type = type,
        .principal = principal,
        .text = mr_span_str(text),
        .queue = mr_span_str(queue),
        .kind = mr_span_str(kind),
        .is_denied = is_denied};

    ck_assert_int_eq(mr_rights_add(rights, &row), MR_OK);
}

/* night: queues that begin so. pay: all queues, but not the one called locked. */
static void
begin(struct rig *rig)
{
    ck_assert_int_eq(mr_rights_new(&rights, (struct mr_hash_key){1, 2}), MR_OK);
    add_row(MR_ROW_PRINCIPAL, NIGHT, "night", "", "", false);
    add_row(MR_ROW_PRINCIPAL, PAY, "pay", "", "", false);
    add_row(MR_ROW_PRINCIPAL, NOTHING, "nothing", "", "", false);
    add_row(MR_ROW_GRANT, NIGHT, "run", "night*", "*", false);
    add_row(MR_ROW_GRANT, PAY, "worker", "*", "*", false);
    add_row(MR_ROW_GRANT, PAY, "run", "locked", "*", true);
    add_row(MR_ROW_GRANT, NOTHING, "front-end", "*", "*", false);
    ck_assert_int_eq(mr_rights_seal(rights), MR_OK);
    rig_init(rig);
    rig_start(rig);
    mr_core_set_rights(rig->core, rig->now, rights);
}

static void
end(struct rig *rig)
{
    rig_stop(rig);
    mr_rights_destroy(&rights);
}

static void
join(struct rig *rig, uint32_t peer, uint32_t principal, uint64_t credit)
{
    struct mr_offer offer = {.kind = mr_span_str("k")};
    struct mr_hello hello = {
        .role = MR_ROLE_WORKER, .name = mr_span_str("w"), .threads = 9, .offers = 1};

    hello.instance.b[0] = (uint8_t)peer;
    ck_assert_int_eq(
        mr_core_worker_joins(rig->core, rig->now, peer, principal, &hello, &offer),
        MR_OK);
    mr_core_credit(rig->core, rig->now, peer, credit);
}

static struct mr_uuid
ready_in(struct rig *rig, const char *queue, const char *lane)
{
    struct mr_job_new job = rig_job(rig);

    job.queue = mr_span_str(queue);
    job.lane = mr_span_str(lane);
    return rig_accept(rig, &job);
}

START_TEST(a_worker_gets_jobs_of_the_queues_that_it_may_run)
{
    struct rig rig;
    struct mr_uuid day, night, nights, locked;

    begin(&rig);
    day = ready_in(&rig, "day", "");
    night = ready_in(&rig, "night", "");
    nights = ready_in(&rig, "nights", "");
    locked = ready_in(&rig, "locked", "");
    join(&rig, 2, NIGHT, 9);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, day), "ready");
    ck_assert_str_eq(rig_state(&rig, night), "running");
    ck_assert_str_eq(rig_state(&rig, nights), "running");
    join(&rig, 3, PAY, 9);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, day), "running");
    ck_assert_str_eq(rig_state(&rig, locked), "ready");
    end(&rig);
}
END_TEST

START_TEST(a_worker_without_the_right_gets_nothing)
{
    struct rig rig;
    struct mr_uuid id;
    char why[1000];

    begin(&rig);
    id = ready_in(&rig, "night", "");
    join(&rig, 2, NOTHING, 9);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, id), "ready");
    ck_assert_int_eq(mr_core_explain(rig.core, rig.now, id, why, sizeof why), MR_OK);
    ck_assert_msg(strstr(why, "may not run") != NULL, "%s", why);
    end(&rig);
}
END_TEST

/* The queue that is forbidden stands in front; behind it the others take turns all the same. */
START_TEST(queues_take_turns_behind_one_that_is_forbidden)
{
    struct rig rig;
    struct mr_uuid a[2], b[2];

    begin(&rig);
    (void)ready_in(&rig, "day", "");
    for (int i = 0; i < 2; i++) {
        a[i] = ready_in(&rig, "night.a", i ? "two" : "one");
        b[i] = ready_in(&rig, "night.b", i ? "two" : "one");
    }
    join(&rig, 2, NIGHT, 2);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, a[0]), "running");
    ck_assert_str_eq(rig_state(&rig, b[0]), "running");
    ck_assert_str_eq(rig_state(&rig, a[1]), "ready");
    ck_assert_str_eq(rig_state(&rig, b[1]), "ready");
    end(&rig);
}
END_TEST

START_TEST(a_change_holds_for_workers_that_are_there)
{
    struct rig rig;
    struct mr_rights *before;
    struct mr_uuid first, second;

    begin(&rig);
    join(&rig, 2, NIGHT, 9);
    first = ready_in(&rig, "night", "");
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, first), "running");
    before = rights;
    ck_assert_int_eq(mr_rights_new(&rights, (struct mr_hash_key){3, 4}), MR_OK);
    add_row(MR_ROW_PRINCIPAL, NIGHT, "night", "", "", false);
    add_row(MR_ROW_GRANT, NIGHT, "run", "day", "*", false);
    ck_assert_int_eq(mr_rights_seal(rights), MR_OK);
    mr_core_set_rights(rig.core, rig.now, rights);
    mr_rights_destroy(&before);
    second = ready_in(&rig, "night", "");
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, second), "ready");
    /* What it was given while it might, it may finish. */
    rig_report(&rig, 2, first, 1, MR_DID_SUCCEED);
    ck_assert_str_eq(rig_state(&rig, first), "");
    end(&rig);
}
END_TEST

/* Numbers of queues are used again: queues_max is 8. */
START_TEST(a_queue_with_the_number_of_another_is_not_taken_for_it)
{
    struct rig rig;
    struct mr_uuid id;
    char name[24];

    begin(&rig);
    join(&rig, 2, NIGHT, 100);
    for (int i = 0; i < 20; i++) {
        (void)snprintf(name, sizeof name, "%s%d", i % 2 ? "night" : "day", i);
        id = ready_in(&rig, name, "");
        rig_tick(&rig);
        ck_assert_str_eq(rig_state(&rig, id), i % 2 ? "running" : "ready");
        if (i % 2)
            rig_report(&rig, 2, id, 1, MR_DID_SUCCEED);
        else
            mr_core_cancel(rig.core, rig.now, 0, 5, id, MR_SCOPE_ANY);
        rig_commit(&rig);
        rig_forget(&rig);
    }
    end(&rig);
}
END_TEST

START_TEST(an_instance_is_not_taken_over_by_another_principal)
{
    struct rig rig;
    struct mr_offer offer = {.kind = mr_span_str("k")};
    struct mr_hello hello = {
        .role = MR_ROLE_WORKER, .name = mr_span_str("w"), .threads = 1, .offers = 1};
    struct mr_uuid id;

    begin(&rig);
    join(&rig, 2, NIGHT, 9);
    id = ready_in(&rig, "night", "");
    rig_tick(&rig);
    hello.instance.b[0] = 2;
    ck_assert_int_eq(
        mr_core_worker_joins(rig.core, rig.now, 3, PAY, &hello, &offer), MR_DENIED);
    ck_assert_str_eq(rig_state(&rig, id), "running");
    rig_report(&rig, 2, id, 1, MR_DID_SUCCEED);
    ck_assert_str_eq(rig_state(&rig, id), "");
    end(&rig);
}
END_TEST

static void
add(TCase *tcase)
{
    tcase_add_test(tcase, a_worker_gets_jobs_of_the_queues_that_it_may_run);
    tcase_add_test(tcase, a_worker_without_the_right_gets_nothing);
    tcase_add_test(tcase, queues_take_turns_behind_one_that_is_forbidden);
    tcase_add_test(tcase, a_change_holds_for_workers_that_are_there);
    tcase_add_test(tcase, a_queue_with_the_number_of_another_is_not_taken_for_it);
    tcase_add_test(tcase, an_instance_is_not_taken_over_by_another_principal);
}

int
main(void)
{
    return rig_run("core/run", add) != 0;
}
