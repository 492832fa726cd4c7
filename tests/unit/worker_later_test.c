/*
 * Statements that a handler queues: in its transaction, in order, in as few round trips as can be,
 * and whatever goes wrong with one of them fails the attempt.
 */
#include "tests/unit/worker_tx_rig.h"

/* ---- success ------------------------------------------------------------------------------------ */

START_TEST(a_transfer_is_one_round_trip)
{
    ck_assert_int_eq(trips_of(transfer), 1);
    ck_state("70 130 3 3");
    ck_assert(mr_span_is(attempt->done.body, "\xa2ok"));
    ck_assert(atomic_load(&attempt->is_handled));
    ck_assert(!mr_pg_in_transaction(db.pg));
}
END_TEST

static enum millrace_answer
look_between(struct millrace_job *own)
{
    const char *const booked[] = {"a", NULL};
    struct millrace_rows *rows;

    if (!millrace_sql_later(own, book, 2, booked))
        return millrace_sql_failed(own);
    rows = millrace_sql(own, "select count(*), sum(cents) from ledger", 0, NULL);
    if (!rows)
        return millrace_sql_failed(own);
    ck_assert_int_eq(millrace_rows_int(rows, 0, 0), ++calls);
    ck_assert_ptr_null(millrace_rows_text(rows, 0, 1)); /* null is null */
    return MILLRACE_SUCCEEDED;
}

START_TEST(what_is_waited_for_takes_the_queue_along)
{
    ck_assert_int_eq(trips_of(look_between), 2); /* ... and COMMIT */
    ck_state("100 100 3 3");
}
END_TEST

static enum millrace_answer
submit(struct millrace_job *own)
{
    struct millrace_follow_up next = {
        .kind = "test.noop", .priority = MILLRACE_PRIORITY_DEFAULT};
    char text[37];

    return millrace_submit(own, "next", &next, text) ? MILLRACE_SUCCEEDED
                                                     : millrace_sql_failed(own);
}

START_TEST(a_follow_up_waits_as_well)
{
    ck_assert_int_eq(trips_of(submit), 1);
    ck_assert(attempt->rings);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.inbox"), 3);
}
END_TEST

static enum millrace_answer
fail_with_a_queue(struct millrace_job *own)
{
    (void)transfer(own);
    return millrace_fail(own, "not today");
}

START_TEST(who_fails_sends_nothing)
{
    int64_t before;

    ck_report(transfer, MR_DID_SUCCEED);
    new_job();
    before = pg_proxy_trips(proxy);
    ck_report(fail_with_a_queue, MR_DID_FAIL);
    ck_text("not today");
    ck_assert_int_eq(pg_proxy_trips(proxy), before);
    ck_report(transfer, MR_DID_SUCCEED); /* and nothing of it is left over */
    ck_state("80 120 2 2");
}
END_TEST

static enum millrace_answer
queue_much(struct millrace_job *own)
{
    static char large[400 * 1024];
    const char *const params[] = {large, "1"};

    memset(large, 'x', sizeof large - 1);
    for (int i = 0; i < 600; i++)
        if (!millrace_sql_later(own, "insert into ledger values ('', 1)", 0, NULL))
            return millrace_sql_failed(own);
    for (int i = 0; i < 10; i++)
        if (!millrace_sql_later(own, book, 2, params))
            return millrace_sql_failed(own);
    return MILLRACE_SUCCEEDED;
}

START_TEST(a_long_queue_is_sent_in_parts)
{
    ck_assert_int_eq(trips_of(queue_much), 2 + 10 + 1);
    ck_state("100 100 1830 3");
}
END_TEST

static enum millrace_answer
use_connection(struct millrace_job *own)
{
    (void)transfer(own);
    ck_assert_ptr_nonnull(millrace_pg(own));
    ck_assert(mr_pg_in_transaction(db.pg));
    ck_assert(mr_tx_is_empty(own->tx));
    return MILLRACE_SUCCEEDED;
}

START_TEST(the_bare_connection_has_no_queue)
{
    ck_report(use_connection, MR_DID_SUCCEED);
    ck_state("90 110 1 1");
}
END_TEST

/* ---- what fails ------------------------------------------------------------------------------------ */

static enum millrace_answer
break_in_the_middle(struct millrace_job *own)
{
    (void)transfer(own);
    (void)millrace_sql_later(
        own, "update account set cents =\n\t-1000 where id = 1", 0, NULL);
    return transfer(own);
}

static const char broken[] =
    "queued statement failed (update account set cents =  -1000 where id = 1): new row "
    "for relation \"account\" violates check constraint \"account_cents_check\" "
    "(SQLSTATE 23514)";

static enum millrace_answer
notice_the_break(struct millrace_job *own)
{
    (void)break_in_the_middle(own);
    ck_assert_ptr_null(millrace_sql(own, "select 1", 0, NULL));
    ck_assert_str_eq(millrace_sqlstate(own), "23514");
    ck_assert_ptr_null(millrace_sql(own, "select 1", 0, NULL));
    ck_assert_str_eq(millrace_sqlstate(own), "23514"); /* the cause stays */
    return millrace_sql_failed(own);
}

START_TEST(a_queued_statement_fails_in_the_middle)
{
    ck_report(break_in_the_middle, MR_DID_FAIL);
    ck_text(broken);
    ck_assert_int_eq(calls, 2); /* not again in place */
    ck_report(notice_the_break, MR_DID_FAIL);
    ck_text(broken);
    ck_state("100 100 0 0");
    ck_report(transfer, MR_DID_SUCCEED); /* on the same connection */
    ck_state("90 110 1 1");
}
END_TEST

static enum millrace_answer
queue_nonsense(struct millrace_job *own)
{
    const char *const one[] = {"1"};

    switch (calls++) {
    case 0:
        (void)millrace_sql_later(own, "no sql", 0, NULL);
        break;
    case 1:
        (void)millrace_sql_later(own, book, 1, one); /* one is missing */
        break;
    case 2:
        ck_assert(!millrace_sql_later(own, book, -1, one));
        break;
    case 3:
        (void)millrace_sql_later(own, "copy ledger to stdout", 0, NULL);
        break;
    case 4:
        (void)millrace_sql_later(own, "select 1; select 2", 0, NULL);
        break;
    case 5:
        ck_assert(!millrace_sql_later(own, " COMMIT", 0, NULL));
        break;
    case 6:
        ck_assert(!millrace_sql_later(own, "rollback;", 0, NULL));
        break;
    default:
        ck_assert_ptr_null(millrace_sql(own, "copy ledger from stdin", 0, NULL));
        return millrace_sql_failed(own);
    }
    return transfer(own);
}

START_TEST(nonsense_is_refused)
{
    static const char *const parts[] = {"syntax error", "bind message supplies 1",
        "number of parameters", "COPY needs the connection", "multiple commands",
        "not the handler's to end", "not the handler's to end",
        "COPY needs the connection"};

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        calls = (int)i;
        ck_assert_int_eq(run_as(queue_nonsense, true), MR_RUN_OVER);
        ck_assert_int_eq(attempt->done.report, MR_DID_FAIL);
        ck_assert_msg(memmem(attempt->done.text.p, attempt->done.text.n, parts[i],
                          strlen(parts[i])) != NULL,
            "%zu: %.*s", i, (int)attempt->done.text.n,
            (const char *)attempt->done.text.p);
        ck_state("100 100 0 0");
    }
    calls = 0;
    ck_report(transfer, MR_DID_SUCCEED);
}
END_TEST

START_TEST(a_calculation_may_not_queue)
{
    ck_assert_int_eq(run_as(transfer, false), MR_RUN_OVER);
    ck_assert_int_eq(attempt->done.report, MR_DID_FAIL);
    ck_text("a statement was not queued: only transactional kinds may; what this one "
            "writes is rolled back");
}
END_TEST

static enum millrace_answer
collide(struct millrace_job *own)
{
    (void)transfer(own);
    if (calls < 4)
        (void)millrace_sql_later(own,
            "do $$ begin raise exception 'too late' using errcode = '40001'; end $$", 0,
            NULL);
    return MILLRACE_SUCCEEDED;
}

START_TEST(serialization_failures_run_again_in_place)
{
    ck_report(collide, MR_DID_SUCCEED);
    ck_assert_int_eq(calls, 4);
    ck_state("90 110 1 1");
}
END_TEST

static enum millrace_answer
recover(struct millrace_job *own)
{
    ck_assert_ptr_nonnull(millrace_sql(own, "savepoint a", 0, NULL));
    (void)millrace_sql_later(own, "update account set cents = -1000", 0, NULL);
    ck_assert_ptr_null(millrace_sql(own, "select 1", 0, NULL));
    ck_assert_ptr_nonnull(millrace_sql(own, "rollback to a", 0, NULL));
    return transfer(own);
}

START_TEST(a_savepoint_is_the_handlers)
{
    ck_report(recover, MR_DID_SUCCEED);
    ck_state("90 110 1 1");
}
END_TEST

static enum millrace_answer
end_it(struct millrace_job *own)
{
    (void)transfer(own);
    ck_assert_ptr_nonnull(millrace_sql(own, "rollback", 0, NULL));
    return MILLRACE_SUCCEEDED;
}

START_TEST(a_transaction_that_was_ended_at_once)
{
    ck_report(end_it, MR_DID_FAIL_FOR_GOOD);
    ck_text(
        "the job's transaction is gone: the handler ended it; that is done for it, with "
        "the result");
    ck_state("100 100 0 0");
}
END_TEST

START_TEST(who_comes_second_writes_nothing)
{
    ck_report(transfer, MR_DID_SUCCEED);
    ck_report(transfer, MR_WAS_FINISHED);
    ck_assert(mr_span_is(attempt->done.body, "\xa2ok"));
    ck_state("90 110 1 1");
}
END_TEST

/* ---- demands ---------------------------------------------------------------------------------------- */

static struct millrace_expect demand;
static const char *demanding;
static bool is_looking;

/* The one with a demand stands between others. */
static enum millrace_answer
demand_rows(struct millrace_job *own)
{
    const char *const params[] = {"60", "1"};
    bool is_good = transfer(own) == MILLRACE_SUCCEEDED &&
                   millrace_sql_expect(own, &demand, demanding, 2, params);

    if (is_looking) {
        ck_assert_ptr_null(millrace_sql(own, "select 1", 0, NULL));
        ck_assert_ptr_null(millrace_sql(own, "rollback to a", 0, NULL));
        ck_assert(!millrace_sql_later(own, "select 1", 0, NULL));
    }
    (void)transfer(own);
    return is_good ? MILLRACE_SUCCEEDED : millrace_sql_failed(own);
}

static const char plain[] =
    "  update account set cents = cents - $1 where id = $2 and cents >= $1 -- if";
static const char returning_some[] = "update account set cents = cents - $1 "
                                     "where id = $2 and cents >= $1 returning cents";
static const char with_some[] =
    "with x as (select 1) update account set cents = cents - $1 where id = $2 "
    "and cents >= $1";
static const char some[] =
    "select cents from account where id = $2 and cents >= $1::bigint for update";
static const char *const others[] = {returning_some, with_some, some};

START_TEST(a_demand_that_is_met)
{
    demand = (struct millrace_expect){.rows = 1};
    demanding = plain;
    calls = 0;
    ck_report(demand_rows, MR_DID_SUCCEED);
    ck_state("20 120 2 1");
    pg_fixture_text(pg, "update public.account set cents = 1000000");
    ck_assert_int_eq(trips_of(demand_rows), 1); /* judged by the server */
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        demanding = others[i];
        ck_assert_int_eq(trips_of(demand_rows), 2);
    }
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.result"), 13);
}
END_TEST

static void
ck_unmet(enum mr_report report, const char *text)
{
    ck_report(demand_rows, report);
    ck_text(text);
    ck_state("50 100 0 0");
}

START_TEST(a_demand_that_is_not_met)
{
    pg_fixture_text(pg, "update public.account set cents = 50 where id = 1");
    for (int i = 0; i < 8; i++) {
        is_looking = i % 2;
        demand = (struct millrace_expect){
            .rows = 1, .text = "the account is overdrawn", .for_good = i % 4 >= 2};
        demanding = i < 4 ? plain : others[i % 3];
        ck_unmet(demand.for_good ? MR_DID_FAIL_FOR_GOOD : MR_DID_FAIL,
            "the account is overdrawn");
    }
    is_looking = false;
    demand = (struct millrace_expect){.rows = 2};
    demanding = plain;
    ck_unmet(MR_DID_FAIL,
        "queued statement failed (  update account set cents = cents - $1 where id = $2 "
        "and cents >= $1 -- if): it touched 0 rows, not 2 (SQLSTATE MR004)");
    demanding = others[2];
    ck_unmet(MR_DID_FAIL,
        "queued statement failed (select cents from account where id = $2 and cents >= "
        "$1::bigint for update): it touched 0 rows, not 2");
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("worker/later");
    TCase *tcase = tcase_create("later");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_transfer_is_one_round_trip);
    tcase_add_test(tcase, what_is_waited_for_takes_the_queue_along);
    tcase_add_test(tcase, a_follow_up_waits_as_well);
    tcase_add_test(tcase, who_fails_sends_nothing);
    tcase_add_test(tcase, a_long_queue_is_sent_in_parts);
    tcase_add_test(tcase, the_bare_connection_has_no_queue);
    tcase_add_test(tcase, a_queued_statement_fails_in_the_middle);
    tcase_add_test(tcase, nonsense_is_refused);
    tcase_add_test(tcase, a_calculation_may_not_queue);
    tcase_add_test(tcase, serialization_failures_run_again_in_place);
    tcase_add_test(tcase, a_savepoint_is_the_handlers);
    tcase_add_test(tcase, a_transaction_that_was_ended_at_once);
    tcase_add_test(tcase, who_comes_second_writes_nothing);
    tcase_add_test(tcase, a_demand_that_is_met);
    tcase_add_test(tcase, a_demand_that_is_not_met);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
