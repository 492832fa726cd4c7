/*
 * Connections that are lost at COMMIT, at five points around it, hundreds of times, between broker
 * and PostgreSQL and between worker and PostgreSQL. Only the rows can tell what happened. No
 * verdict may be wrong: what was acknowledged is there, what was reported as a success has its
 * row, nothing has taken effect twice, and everything ends. The ledger has no constraint that
 * would help. CUTS: how many at each point and side (40).
 */
#include "tests/support/pg_fixture.h"
#include "tests/support/pg_proxy.h"
#include "tests/support/rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IN_FLIGHT 24
#define JOBS_MAX 200000
#define SUBMIT_MS 120000
#define CUT_EVERY 3
#define RUN_MS 1800000
#define IDS_MAX 256 /* in one statement */

struct sent {
    struct millrace_id id;
    int outcome;
    bool is_transfer;
};

static struct rig rig;
static struct millrace *mr;
static struct pg_proxy *proxies[2]; /* the broker's, the worker's */
static struct sent *sent;
static uint32_t sent_count, answered;

static int64_t
cuts_wanted(void)
{
    const char *text = getenv("CUTS");

    return text && *text ? atoi(text) : 40;
}

static void
run_sql(const char *sql)
{
    struct mr_err err = {0};

    ck_ok(mr_pg_run(rig.pg, sql, 0, NULL, NULL, &err), err);
}

static void
set_up(void)
{
    char real[512];

    rig_open(&rig);
    run_sql("create table account as select id, 100000::bigint as cents "
            "from generate_series(0, 39) id");
    run_sql("alter table account add primary key (id)");
    run_sql("create table ledger (job uuid, attempt integer, source integer, target "
            "integer, cents bigint, child uuid)");
    snprintf(real, sizeof real, "%s", rig.conninfo);
    for (int i = 0; i < 2; i++)
        proxies[i] = pg_proxy_start(real);
    snprintf(rig.conninfo, sizeof rig.conninfo, "%s", pg_proxy_conninfo(proxies[0]));
    rig_broker(&rig, NULL);
    snprintf(rig.conninfo, sizeof rig.conninfo, "%s", pg_proxy_conninfo(proxies[1]));
    rig_worker(&rig, 0, 4,
        (const char *const[]){"--load", rig_program("tests/loadable/mix.so"), NULL});
    mr = rig_client(&rig);
    sent = calloc(JOBS_MAX, sizeof *sent);
}

static void
tear_down(void)
{
    millrace_close(mr);
    rig_close(&rig);
    for (int i = 0; i < 2; i++)
        pg_proxy_stop(&proxies[i]);
    free(sent);
}

/* ---- load --------------------------------------------------------------------------------------- */

/* Every third is a calculation: its result goes the committer's way. */
static void
submit_one(void)
{
    struct sent *one = &sent[sent_count];
    struct millrace_pack args = {0};
    struct millrace_error error;
    struct millrace_job job;

    one->is_transfer = sent_count % 3 != 0;
    millrace_job_init(&job, one->is_transfer ? "mix.transfer" : "mix.child");
    if (one->is_transfer) {
        millrace_pack_map(&args, 4);
        millrace_pack_str(&args, "from");
        millrace_pack_int(&args, sent_count % 40);
        millrace_pack_str(&args, "to");
        millrace_pack_int(&args, (sent_count % 40 + 1 + sent_count % 7) % 40);
        millrace_pack_str(&args, "cents");
        millrace_pack_int(&args, 1 + sent_count % 999);
        millrace_pack_str(&args, "mode");
        millrace_pack_int(&args, 0);
        job.args = args.bytes;
        job.args_bytes = args.n;
    }
    job.attempts_max = 1000;
    job.backoff_base_ms = job.backoff_cap_ms = 20;
    one->id = job.id;
    ck_assert_int_eq(
        millrace_submit_start(mr, &job, MILLRACE_UNTIL_FINISHED, SUBMIT_MS, one, &error),
        MILLRACE_OK);
    millrace_pack_free(&args);
    sent_count++;
}

static void
take_completions(void)
{
    struct millrace_completion done;

    while (millrace_poll(mr, &done)) {
        struct sent *one = done.tag;

        ck_assert_msg(done.code == MILLRACE_OK, "%s: %s: %s",
            millrace_code_name(done.code), done.error.what, done.error.why);
        one->outcome = done.result.outcome;
        answered++;
        millrace_result_free(&done.result);
    }
}

static bool
has_enough(int64_t wanted)
{
    for (int i = 0; i < 2; i++) {
        for (int cut = 0; cut < PG_PROXY_CUTS; cut++) {
            if (pg_proxy_count(proxies[i], (enum pg_proxy_cut)cut) < wanted)
                return false;
        }
    }
    return true;
}

/* ---- verdicts ----------------------------------------------------------------------------------- */

static void
note_sent(void)
{
    static char sql[IDS_MAX * 64 + 64];
    char id[MILLRACE_ID_TEXT];

    run_sql("create table told (id uuid, outcome smallint, is_transfer boolean)");
    for (uint32_t at = 0; at < sent_count;) {
        int n = snprintf(sql, sizeof sql, "insert into told values ");

        for (uint32_t rows = 0; rows < IDS_MAX && at < sent_count; rows++, at++)
            n += snprintf(sql + n, sizeof sql - (size_t)n, "%s('%s',%d,%s)",
                rows ? "," : "", millrace_id_format(&sent[at].id, id), sent[at].outcome,
                sent[at].is_transfer ? "true" : "false");
        run_sql(sql);
    }
    run_sql("create index on told (id)");
    run_sql("create index on ledger (job)");
    run_sql("analyze");
}

static void
ck_none(const char *what, const char *sql)
{
    int64_t n = rig_int(&rig, sql);

    ck_assert_msg(n == 0, "%s: %" PRId64, what, n);
}

static void
judge(void)
{
    ck_none("told of an end that is not there",
        "select count(*) from told t left join millrace.result r using (id) "
        "where r.outcome is distinct from t.outcome");
    ck_none("jobs that nobody sent",
        "select count(*) from millrace.job j left join told t using (id) left join "
        "ledger l on l.child = j.id where t.id is null and l.job is null");
    ck_none("transfers that are not booked exactly once",
        "select count(*) from (select t.id from told t left join ledger l on l.job = "
        "t.id "
        "where t.is_transfer group by t.id having count(l.job) <> 1) x");
    ck_none("booked by another attempt than the one that stands",
        "select count(*) from ledger l join millrace.result r on r.id = l.job "
        "where r.attempt <> l.attempt or r.outcome <> 1");
    ck_none("money made or lost", "select sum(cents) - 40 * 100000 from account");
    ck_none("follow-up jobs that are missing or not finished",
        "select count(*) from ledger l left join millrace.result r on r.id = l.child "
        "where r.outcome is distinct from 1");
    ck_none("failed although nothing fails",
        "select count(*) from millrace.result where outcome <> 1");
}

START_TEST(connections_lost_at_commit)
{
    int64_t wanted = cuts_wanted(), until = rig_now_ms() + RUN_MS;

    for (int i = 0; i < 2; i++)
        pg_proxy_cut_every(proxies[i], CUT_EVERY);
    while (!has_enough(wanted)) {
        ck_assert_msg(rig_now_ms() < until, "too few cuts");
        take_completions();
        while (sent_count - answered < IN_FLIGHT && sent_count < JOBS_MAX)
            submit_one();
        rig_breathe();
    }
    for (int i = 0; i < 2; i++)
        pg_proxy_cut_every(proxies[i], 0);
    until = rig_now_ms() + RIG_WAIT_MS;
    while (answered < sent_count) {
        take_completions();
        ck_assert_msg(rig_now_ms() < until, "%u of %u answered", answered, sent_count);
        rig_breathe();
    }
    rig_wait_int(&rig, "select count(*) from millrace.inbox", 0);
    rig_wait_int(&rig,
        "select count(*) from millrace.job j left join millrace.result r using (id) "
        "where r.id is null",
        0);
    ck_assert(mr_proc_is_alive(&rig.broker));
    ck_assert(mr_proc_is_alive(&rig.workers[0]));
    note_sent();
    judge();
    for (int i = 0; i < 2; i++) {
        printf("%s: %" PRId64 " commits, cut", i ? "worker" : "broker",
            pg_proxy_commits(proxies[i]));
        for (int cut = 0; cut < PG_PROXY_CUTS; cut++)
            printf(" %s %" PRId64, pg_proxy_cut_name((enum pg_proxy_cut)cut),
                pg_proxy_count(proxies[i], (enum pg_proxy_cut)cut));
        printf("; ");
    }
    printf("jobs %u, wrong verdicts 0\n", sent_count);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("commit");
    TCase *tcase = tcase_create("commit");

    tcase_set_timeout(tcase, 0);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, connections_lost_at_commit);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
