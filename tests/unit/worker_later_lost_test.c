/*
 * Statements that a handler queues, when the attempt has to stop, the connection is lost, or the
 * table is another one; and how often they are prepared.
 */
#include "tests/unit/worker_tx_rig.h"

#include <czmq.h>

/* ---- prepared once ------------------------------------------------------------------------------------- */

static enum millrace_answer
count_prepared(struct millrace_job *own)
{
    struct millrace_rows *rows;

    if (transfer(own) != MILLRACE_SUCCEEDED)
        return MILLRACE_FAILED;
    rows = millrace_sql(own,
        "select count(*) from pg_prepared_statements where name like 'handler%'", 0,
        NULL);
    ck_assert_ptr_nonnull(rows);
    calls = (int)millrace_rows_int(rows, 0, 0);
    return MILLRACE_SUCCEEDED;
}

START_TEST(what_comes_again_is_prepared_once)
{
    static const int counts[] = {0, 4, 4, 4};

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        new_job();
        ck_report(count_prepared, MR_DID_SUCCEED);
        ck_assert_int_eq(calls, counts[i]);
    }
}
END_TEST

static enum millrace_answer
many_texts(struct millrace_job *own)
{
    char sql[64];

    for (int i = 0; i < 2000; i++) {
        (void)snprintf(sql, sizeof sql, "insert into ledger values ('%d', 1)", i % 1000);
        if (!millrace_sql_later(own, sql, 0, NULL))
            return millrace_sql_failed(own);
    }
    return count_prepared(own);
}

START_TEST(there_is_a_limit_to_what_is_prepared)
{
    ck_report(many_texts, MR_DID_SUCCEED);
    new_job();
    ck_report(many_texts, MR_DID_SUCCEED);
    ck_assert_int_le(calls, 256);
    ck_state("80 120 4002 2");
}
END_TEST

static enum millrace_answer
read_all(struct millrace_job *own)
{
    struct millrace_rows *rows = millrace_sql(own, "select * from account", 0, NULL);

    return rows ? transfer(own) : millrace_sql_failed(own);
}

START_TEST(a_table_may_change)
{
    ck_assert_int_eq(trips_of(read_all), 2);
    pg_fixture_text(pg, "alter table public.account add column note text");
    new_job();
    ck_report(read_all, MR_DID_SUCCEED);
    ck_state("60 140 4 4");
}
END_TEST

/* ---- stops -------------------------------------------------------------------------------------------- */

static enum millrace_answer
be_stopped_then_queue(struct millrace_job *own)
{
    (void)transfer(own);
    atomic_store(&attempt->stop, MR_STOP_CANCELLED);
    return MILLRACE_SUCCEEDED;
}

START_TEST(who_has_to_stop_sends_nothing)
{
    ck_report(be_stopped_then_queue, MR_DID_CANCEL);
    ck_state("100 100 0 0");
    ck_report(transfer, MR_DID_SUCCEED);
}
END_TEST

static enum millrace_answer
queue_a_sleep(struct millrace_job *own)
{
    if (!millrace_sql_later(own, "select pg_sleep(60)", 0, NULL))
        return millrace_sql_failed(own);
    return transfer(own);
}

/* As the session does it, once the statement is seen to run. */
static void
stop_it(zsock_t *pipe, void *argument)
{
    struct mr_canceller *canceller = argument;
    struct mr_pg *look = pg_fixture_open("look");
    int64_t until_us = mr_clock_now().mono_us + 20000000;

    zsock_signal(pipe, 0);
    while (pg_fixture_int(look,
               "select count(*) from pg_stat_activity where state = 'active' "
               "and query = 'select pg_sleep(60)'") == 0) {
        ck_assert_int_lt(mr_clock_now().mono_us, until_us);
        (void)poll(NULL, 0, 5);
    }
    ck_assert(!atomic_load(&attempt->is_handled)); /* its timeout still counts */
    atomic_store(&attempt->stop, MR_STOP_TIMED_OUT);
    mr_canceller_ask(canceller, &guard, 1);
    mr_pg_close(&look);
}

START_TEST(a_stop_cancels_what_travels_with_commit)
{
    struct mr_canceller *canceller = NULL;
    zactor_t *other;

    (void)zsys_handler_set(NULL);
    ck_assert_int_eq(mr_canceller_new(&canceller), MR_OK);
    other = zactor_new(stop_it, canceller);
    ck_report(queue_a_sleep, MR_DID_TIME_OUT);
    ck_state("100 100 0 0");
    zactor_destroy(&other);
    mr_canceller_destroy(&canceller);
    ck_assert(mr_canceller_guard_close(&guard));
    ck_report(transfer, MR_DID_SUCCEED); /* the connection is as good as before */
    ck_state("90 110 1 1");
}
END_TEST

/* ---- lost connections ---------------------------------------------------------------------------------- */

START_TEST(a_connection_lost_at_commit)
{
    ck_report(transfer, MR_DID_SUCCEED);
    pg_proxy_cut_every(proxy, 2);
    for (int i = 1; i < 15; i++) {
        char state[64];

        new_job();
        ck_assert_int_eq(run_as(transfer, true), MR_RUN_OVER);
        ck_assert(is_success(attempt));
        (void)snprintf(
            state, sizeof state, "%d %d %d %d", 90 - 10 * i, 110 + 10 * i, i + 1, i + 1);
        ck_state(state);
    }
    for (int cut = 0; cut < PG_PROXY_CUTS; cut++)
        ck_assert_msg(pg_proxy_count(proxy, (enum pg_proxy_cut)cut) > 0, "%s",
            pg_proxy_cut_name((enum pg_proxy_cut)cut));
}
END_TEST

static enum millrace_answer
lose_it_first(struct millrace_job *own)
{
    enum millrace_answer answer = transfer(own);

    if (calls == 1)
        pg_fixture_int(pg, "select count(pg_terminate_backend(pid, 5000)) from "
                           "pg_stat_activity where application_name = 'mr:test'");
    return answer;
}

START_TEST(a_connection_lost_while_statements_wait)
{
    ck_report(transfer, MR_DID_SUCCEED);
    calls = 0;
    new_job();
    ck_report(lose_it_first, MR_DID_SUCCEED);
    ck_assert_int_eq(calls, 2);
    ck_state("80 120 2 2");
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("worker/later_lost");
    TCase *tcase = tcase_create("later_lost");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, what_comes_again_is_prepared_once);
    tcase_add_test(tcase, there_is_a_limit_to_what_is_prepared);
    tcase_add_test(tcase, a_table_may_change);
    tcase_add_test(tcase, who_has_to_stop_sends_nothing);
    tcase_add_test(tcase, a_stop_cancels_what_travels_with_commit);
    tcase_add_test(tcase, a_connection_lost_at_commit);
    tcase_add_test(tcase, a_connection_lost_while_statements_wait);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
