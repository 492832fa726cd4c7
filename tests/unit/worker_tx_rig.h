/*
 * A rig for attempts of transactional kinds: a real database behind a proxy that counts round
 * trips and loses connections, two accounts and a ledger. Included by the tests themselves.
 */
#ifndef MR_TESTS_WORKER_TX_RIG_H
#define MR_TESTS_WORKER_TX_RIG_H

#include "worker/run.h"

#include <check.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include <czmq.h>

#include "schemas/base/clock.h"
#include "tests/support/pg_fixture.h"
#include "tests/support/pg_proxy.h"
#include "worker/canceller.h"

typedef enum millrace_answer (*handler_fn)(struct millrace_job *own);

static struct mr_store *store;
static struct mr_pg *pg; /* looks on */
static struct pg_proxy *proxy;
static struct mr_mailbox *box;
static struct mr_guard guard;
static struct mr_db db;
static struct millrace_job *job;
static struct mr_attempt *attempt;
static struct mr_uuid id;
static int calls;

static inline bool
pause_for(void *context, int ms)
{
    (void)context;
    (void)poll(NULL, 0, ms);
    return true;
}

static inline void
await_cancel(void *context)
{
    (void)context;
    do
        mr_mailbox_wait(box, -1);
    while (!mr_note_take(box));
}

static inline void
new_job(void)
{
    struct mr_store_op op = pg_fixture_job();

    pg_fixture_must_commit(store, &op, 1);
    id = op.id;
}

static inline void
set_up(void)
{
    struct mr_run_conf conf = {.db = &db,
        .guard = &guard,
        .worker = mr_span_str("w1"),
        .pause = pause_for,
        .await_cancel = await_cancel};

    store = pg_fixture_store(NULL);
    pg = pg_fixture_open("test");
    pg_fixture_text(pg, "create table public.account (id integer primary key, "
                        "cents bigint not null check (cents > -1000))");
    pg_fixture_text(pg, "insert into public.account values (1, 100), (2, 100)");
    pg_fixture_text(pg, "create table public.ledger (job text, cents bigint)");
    new_job();
    proxy = pg_proxy_start(pg_fixture_conninfo());
    ck_assert_int_eq(mr_mailbox_new(&box), MR_OK);
    mr_canceller_guard_init(&guard, box);
    db = (struct mr_db){
        .conninfo = pg_proxy_conninfo(proxy), .name = "mr:test", .guard = &guard};
    ck_assert_int_eq(mr_run_new(&job, &conf), MR_OK);
    attempt = mr_attempt_new();
    ck_assert_ptr_nonnull(attempt);
    calls = 0;
}

static inline void
tear_down(void)
{
    mr_attempt_destroy(&attempt);
    mr_run_destroy(&job);
    mr_db_close(&db);
    mr_canceller_guard_fini(&guard);
    mr_mailbox_destroy(&box);
    pg_proxy_stop(&proxy);
    mr_pg_close(&pg);
    mr_store_close(&store);
}

static inline enum mr_run_end
run_as(handler_fn run, bool is_transactional)
{
    static struct millrace_kind kind;
    struct mr_job_sent sent = {.id = id, .attempt = 1};

    kind = (struct millrace_kind){
        .name = "test.kind", .run = run, .is_transactional = is_transactional};
    mr_attempt_reset(attempt);
    ck_assert_int_eq(mr_attempt_set(attempt, &sent, &kind, 1), MR_OK);
    return mr_run_attempt(job, attempt);
}

static inline void
ck_report(handler_fn run, enum mr_report report)
{
    ck_assert_int_eq(run_as(run, true), MR_RUN_OVER);
    ck_assert_msg(attempt->done.report == report, "%d: %.*s", attempt->done.report,
        (int)attempt->done.text.n, (const char *)attempt->done.text.p);
}

static inline void
ck_text(const char *text)
{
    ck_assert_msg(mr_span_is(attempt->done.text, text), "%.*s", (int)attempt->done.text.n,
        (const char *)attempt->done.text.p);
}

/* The server may have committed just after we looked; then the row that stands is ours. */
static inline bool
is_success(const struct mr_attempt *of)
{
    return of->done.report == MR_DID_SUCCEED ||
           (of->done.report == MR_WAS_FINISHED && of->done.outcome == MR_SUCCEEDED);
}

/* Cents of the two accounts, rows of the ledger, result rows. */
static inline void
ck_state(const char *state)
{
    ck_assert_str_eq(
        pg_fixture_text(pg, "select string_agg(cents::text, ' ' order by id) || ' ' || "
                            "(select count(*) from public.ledger) || ' ' || "
                            "(select count(*) from millrace.result) from public.account"),
        state);
}

static const char take[] = "update account set cents = cents - $1 where id = $2";
static const char give[] = "update account set cents = cents + $1 where id = $2";
static const char book[] = "insert into ledger values ($1, $2)";

static inline enum millrace_answer
transfer(struct millrace_job *own)
{
    char cents[8] = "10", from[8] = "1", to[8] = "2";
    const char *const taken[] = {cents, from}, *const given[] = {cents, to};
    const char *const booked[] = {millrace_job_id(own), cents};

    calls++;
    if (!millrace_sql_later(own, take, 2, taken) ||
        !millrace_sql_later(own, give, 2, given) ||
        !millrace_sql_later(own, book, 2, booked))
        return millrace_sql_failed(own);
    memset(cents, 'x', sizeof cents - 1); /* they were copied */
    memset(from, 'x', sizeof from - 1);
    memset(to, 'x', sizeof to - 1);
    mr_wr_reset(&attempt->body); /* some call it twice */
    millrace_put_str(own, "ok");
    return MILLRACE_SUCCEEDED;
}

/* Round trips of one more job, once connection and statements are there. */
static inline int64_t
trips_of(handler_fn run)
{
    int64_t before = 0;

    for (int i = 0; i < 3; i++) {
        new_job();
        before = pg_proxy_trips(proxy);
        ck_report(run, MR_DID_SUCCEED);
    }
    return pg_proxy_trips(proxy) - before;
}

#endif
