/* Cancelled, acknowledged, and then whoever held the job comes back. */
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <signal.h>

#define IN_TRANSACTION                                                                   \
    "select count(*) from pg_stat_activity where datname = current_database() and "      \
    "state = 'idle in transaction'"
/* Everything that is known of the job, as one number: it must not change any more. */
#define ALL_OF_IT                                                                        \
    "select ('x' || left(md5(coalesce((select string_agg(a::text, ';' order by "         \
    "attempt) from millrace.attempt a), '') || (select string_agg(r::text, ';') from "   \
    "millrace.result r where outcome = 3) || (select count(*) from public.held)), "      \
    "15))::bit(60)::bigint"

static struct rig rig;
static struct millrace *mr;

static void
set_up(void)
{
    struct mr_err err = {0};

    rig_open(&rig);
    ck_ok(mr_pg_run(rig.pg, "create table public.held (id int primary key)", 0, NULL,
              NULL, &err),
        err);
    rig_broker(&rig, (const char *const[]){"--heartbeat-ms", "200", NULL});
    rig_worker(&rig, 0, 1,
        (const char *const[]){"--load", rig_program("tests/loadable/hold.so"), NULL});
    mr = rig_client(&rig);
}

static void
tear_down(void)
{
    millrace_close(mr);
    rig_close(&rig);
}

/* In the middle of its transaction: SQL and flag stop it, and nothing of it stays. */
START_TEST(a_transaction_is_cancelled)
{
    struct millrace_id id = rig_submit(mr, "test.hold", NULL, 0);

    rig_wait_int(&rig, IN_TRANSACTION, 1);
    ck_assert_int_eq(millrace_cancel(mr, &id, RIG_WAIT_MS, NULL), MILLRACE_OK);
    rig_expect(mr, id, MILLRACE_WAS_CANCELLED);
    rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from public.held"), 0);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.attempt"), 0);
    ck_assert_int_eq(millrace_cancel(mr, &id, RIG_WAIT_MS, NULL), MILLRACE_OK);
}
END_TEST

/* Its worker is frozen and cannot be asked: it is taken for lost, the job is cancelled, and when
 * the worker thaws and goes on, all stays as it was acknowledged. */
START_TEST(a_zombie_changes_nothing)
{
    struct millrace_id id = rig_submit(mr, "test.hold", NULL, 0);
    int64_t then;

    rig_wait_int(&rig, IN_TRANSACTION, 1);
    mr_proc_signal(&rig.workers[0], SIGSTOP);
    ck_assert_int_eq(millrace_cancel(mr, &id, RIG_WAIT_MS, NULL), MILLRACE_OK);
    then = rig_int(&rig, ALL_OF_IT);
    mr_proc_signal(&rig.workers[0], SIGCONT);
    /* Its only thread is free again when this has run. */
    rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
    ck_assert_int_eq(rig_int(&rig, ALL_OF_IT), then);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from public.held"), 0);
    rig_expect(mr, id, MILLRACE_WAS_CANCELLED);
}
END_TEST

/* Too late is said, and stays so. */
START_TEST(what_has_finished_is_not_cancelled)
{
    struct millrace_id id = rig_submit(mr, "test.noop", NULL, 0);

    rig_expect(mr, id, MILLRACE_SUCCEEDED);
    ck_assert_int_eq(millrace_cancel(mr, &id, RIG_WAIT_MS, NULL), MILLRACE_FINISHED);
    rig_expect(mr, id, MILLRACE_SUCCEEDED);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("cancel");
    TCase *tcase = tcase_create("cancel");

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_transaction_is_cancelled);
    tcase_add_test(tcase, a_zombie_changes_nothing);
    tcase_add_test(tcase, what_has_finished_is_not_cancelled);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
