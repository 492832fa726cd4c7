/*
 * What a broker writes into the audit log: every deed of an operator, every refused attempt; as often
 * as it happened, in bounded space, also when the database was away.
 */
#include "schemas/base/clock.h"
#include "schemas/sql/migrate.h"
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEEDS 1000
#define REFUSALS 100000
#define LOG_BYTES_MAX 10000000

static struct rig rig;
static struct millrace *mr;
static char text[1 << 16];

static void
start_broker(void)
{
    ck_assert_int_eq(setenv("MILLRACE_DATABASE", rig.conninfo, 1), 0);
    rig_broker(&rig, NULL);
    mr = rig_client(&rig);
}

static void
set_up(void)
{
    rig_open(&rig);
    start_broker();
}

static void
tear_down(void)
{
    millrace_close(mr);
    rig_close(&rig);
}

static void
runs(int code, const char *line)
{
    int got = rig_sh(&rig, line, text, sizeof text);

    ck_assert_msg(got == code, "%s: %d, not %d: %s", line, got, code, text);
}

static void
verifies(int64_t entries)
{
    char wanted[64];

    snprintf(wanted, sizeof wanted, "OK: %lld entries", (long long)entries);
    runs(0, "$0 audit verify");
    ck_assert_msg(strstr(text, wanted) != NULL, "%s: %s", wanted, text);
}

static const char *
last(void)
{
    return pg_fixture_text(rig.pg,
        "select concat_ws('|', decision, action, coalesce(object, '-'), principal, "
        "coalesce(key, '-'), source, shard, epoch) from millrace.audit order by seq desc "
        "limit 1");
}

/* A thousand answers, a thousand entries, and they are there when the answer is. */
START_TEST(a_deed_is_an_entry)
{
    struct millrace_error error;

    for (int i = 0; i < DEEDS; i++) {
        struct millrace_pack pack = {0};
        char queue[16];
        void *reply = NULL;
        size_t bytes;

        snprintf(queue, sizeof queue, "q%d", i % 7);
        millrace_pack_map(&pack, 1);
        millrace_pack_str(&pack, "queue");
        millrace_pack_str(&pack, queue);
        ck_assert_msg(millrace_call(mr, i % 2 ? "resume" : "pause", pack.bytes, pack.n,
                          RIG_WAIT_MS, &reply, &bytes, &error) == 0,
            "%s", error.why);
        free(reply);
        millrace_pack_free(&pack);
        if (i % 100 == 0)
            ck_assert_int_eq(rig_int(&rig, "select seq from millrace.audit_head"), i + 1);
    }
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.audit"), DEEDS);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.audit where action = "
                                   "case when seq % 2 = 1 then 'pause' else 'resume' end "
                                   "and object = 'q' || (seq - 1) % 7 and decision = "
                                   "'allowed' and principal = 'local' and count = 1"),
        DEEDS);
    verifies(DEEDS);
}
END_TEST

START_TEST(each_deed_says_what_it_was)
{
    static const struct {
        const char *line, *entry; /* %s: the job */
        int code;
    } deeds[] = {
        {"$0 pause night", "allowed|pause|night|local|-|front|0|1", 0},
        {"$0 resume night", "allowed|resume|night|local|-|front|0|1", 0},
        {"$0 cancel $JOB", "allowed|cancel|%s|local|-|front|0|1", 65},
        {"$0 redrive $JOB --yes", "allowed|redrive|%s|local|-|front|0|1", 0},
        {"$0 drain --worker w0", "allowed|drain-worker|w0|local|-|front|0|1", 0},
        {"$0 drain --worker nobody", "allowed|drain-worker|nobody|local|-|front|0|1", 66},
        {"$0 drain", "allowed|drain|-|local|-|front|0|1", 0},
    };
    struct millrace_job dead;
    struct millrace_id id;
    char job[MILLRACE_ID_TEXT], entry[256];

    rig_worker(&rig, 0, 1, NULL);
    millrace_job_init(&dead, "test.fail");
    dead.attempts_max = 1;
    ck_assert_int_eq(rig_verdict(mr, &dead), MILLRACE_OK);
    id = dead.id;
    rig_expect(mr, id, MILLRACE_FAILED);
    ck_assert_int_eq(setenv("JOB", millrace_id_format(&id, job), 1), 0);
    for (size_t i = 0; i < sizeof deeds / sizeof *deeds; i++) {
        const char *place = strstr(deeds[i].entry, "%s");

        runs(deeds[i].code, deeds[i].line);
        snprintf(entry, sizeof entry, "%.*s%s%s",
            (int)(place ? place - deeds[i].entry : 99), deeds[i].entry, place ? job : "",
            place ? place + 2 : "");
        ck_assert_str_eq(last(), entry);
    }
    verifies(sizeof deeds / sizeof *deeds);
}
END_TEST

/* One's own jobs are nobody else's business. */
START_TEST(a_cancel_is_an_entry_if_it_is_somebody_elses_job)
{
    struct millrace_id own;
    struct millrace_job job;
    char line[96], entry[128], other[64];

    rig_worker(&rig, 0, 1, NULL);
    runs(0, "$0 pause slow");
    millrace_job_init(&job, "test.noop");
    job.queue = "slow";
    ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_OK);
    own = job.id;
    ck_assert_int_eq(millrace_cancel(mr, &own, RIG_WAIT_MS, NULL), MILLRACE_OK);
    ck_assert_str_eq(last(), "allowed|pause|slow|local|-|front|0|1");
    snprintf(other, sizeof other, "%s",
        pg_fixture_text(rig.pg, "insert into millrace.inbox (kind, queue) values "
                                "('test.noop', 'slow') returning id"));
    rig_wait_stat(mr, "jobs", 1);
    snprintf(line, sizeof line, "$0 cancel %s", other);
    runs(0, line);
    snprintf(entry, sizeof entry, "allowed|cancel|%s|local|-|front|0|1", other);
    ck_assert_str_eq(last(), entry);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.result where outcome = 3"), 2);
    verifies(2);
}
END_TEST

/* A hundred thousand refusals: counted to the last one, in a few rows. */
START_TEST(refusals_are_counted_in_bounded_space)
{
    struct rig_peer peer;
    int64_t before = rig_int(&rig, "select pg_total_relation_size('millrace.audit')");

    rig_peer_open(&peer, rig.front);
    rig_peer_hello(&peer, MR_ROLE_CLIENT, NULL);
    for (int i = 0; i < REFUSALS; i++) {
        mr_put_credit(&peer.wr, (uint64_t)i);
        rig_peer_send(&peer);
    }
    rig_wait_int(&rig,
        "select coalesce(sum(count), 0) from millrace.audit where decision = 'refused' "
        "and action = 'CREDIT' and principal = 'local' and source = 'front'",
        REFUSALS);
    ck_assert_int_lt(rig_int(&rig, "select count(*) from millrace.audit"), 100);
    ck_assert_int_lt(
        rig_int(&rig, "select pg_total_relation_size('millrace.audit')") - before,
        LOG_BYTES_MAX);
    verifies(rig_int(&rig, "select count(*) from millrace.audit"));
    rig_peer_close(&peer);
}
END_TEST

static void
submit_to(struct rig_peer *peer, int number)
{
    struct mr_job_new job = {.id = mr_uuid_new(mr_clock_now().wall_us),
        .kind = mr_span_str("test.noop"),
        .priority = 4};
    char queue[65];
    size_t mark;

    snprintf(queue, sizeof queue, "no.%061d", number);
    mark = mr_put_submit_open(&peer->wr, (uint64_t)number + 1, mr_span_str(queue), 0);
    mr_put_submit_job(&peer->wr, &job);
    mr_put_submit_close(&peer->wr, mark, 1);
    rig_peer_send(peer);
}

/* The same with as many kinds of refusal as there are: the worst that one peer can do. */
START_TEST(refusals_of_all_kinds_are_counted_in_bounded_space)
{
    enum { AT_ONCE = 100 };
    struct rig_peer peer;
    struct millrace_job job;
    int64_t before = rig_int(&rig, "select pg_total_relation_size('millrace.audit')");
    int tries = 0;

    pg_fixture_text(rig.pg,
        "select millrace.principal_grant_put('local', 'submit', true, "
        "'no.*', null, null)");
    do {
        millrace_job_init(&job, "test.noop");
        job.queue = "no.0";
        rig_breathe();
    } while (rig_verdict(mr, &job) != MR_DENIED && ++tries < 1000);
    ck_assert_int_lt(tries, 1000);
    rig_peer_open(&peer, rig.front);
    rig_peer_hello(&peer, MR_ROLE_CLIENT, NULL);
    for (int i = 0; i < REFUSALS; i += AT_ONCE) {
        for (int j = 0; j < AT_ONCE; j++)
            submit_to(&peer, i + j);
        for (int j = 0; j < AT_ONCE; j++)
            rig_peer_expect(&peer, MR_ACK);
    }
    rig_wait_int(&rig,
        "select coalesce(sum(count), 0) from millrace.audit where decision = 'refused' "
        "and principal = 'local' and object is distinct from 'no.0'",
        REFUSALS);
    ck_assert_int_lt(
        rig_int(&rig, "select pg_total_relation_size('millrace.audit')") - before,
        LOG_BYTES_MAX);
    printf("{\"bench\":\"audit\",\"refusals\":%d,\"rows\":%lld,\"bytes\":%lld}\n",
        REFUSALS, (long long)rig_int(&rig, "select count(*) from millrace.audit"),
        (long long)(rig_int(&rig, "select pg_total_relation_size('millrace.audit')") -
                    before));
    rig_peer_close(&peer);
}
END_TEST

/* While the database is away an operator can still drain; the entry comes when it is back, as do
 * those of what was refused meanwhile. */
START_TEST(entries_wait_for_the_database)
{
    struct mr_cluster_options options = {.dir = NULL};
    struct mr_cluster *cluster = NULL;
    struct mr_err err = {0};
    struct rig_peer peer;
    int applied = 0;

    ck_ok(mr_cluster_start(&cluster, &options, &err), err);
    rig_open_on(&rig, mr_cluster_conninfo(cluster));
    ck_ok(mr_migrate(rig.pg, "millrace", &applied, &err), err);
    start_broker();
    rig_peer_open(&peer, rig.front);
    rig_peer_hello(&peer, MR_ROLE_CLIENT, NULL);
    mr_cluster_halt(cluster, SIGQUIT);
    do
        runs(0, "$0 stats -o json");
    while (strstr(text, "\"is_store_up\":true") != NULL);
    for (int i = 0; i < 10; i++) {
        mr_put_credit(&peer.wr, (uint64_t)i);
        rig_peer_send(&peer);
    }
    runs(0, "$0 drain");
    ck_ok(mr_cluster_resume(cluster, &err), err);
    mr_pg_close(&rig.pg);
    ck_ok(mr_pg_open(&rig.pg, rig.conninfo, "rig", &err), err);
    rig_wait_int(&rig, "select count(*) from millrace.audit where action = 'drain'", 1);
    rig_wait_int(&rig,
        "select sum(count) from millrace.audit where action = 'CREDIT' and decision = "
        "'refused'",
        10);
    rig_peer_close(&peer);
    tear_down();
    mr_cluster_stop(&cluster);
}
END_TEST

/* A worker reports on attempts that nobody gave it. */
START_TEST(what_is_made_up_is_an_entry)
{
    struct rig_peer peer;

    rig_peer_open(&peer, rig.back);
    rig_peer_hello(&peer, MR_ROLE_WORKER, "test.noop");
    for (int i = 0; i < 3; i++) {
        struct mr_done done = {.id = mr_uuid_new(mr_clock_now().wall_us),
            .attempt = 1,
            .report = MR_DID_SUCCEED};
        size_t mark = mr_put_dones_open(&peer.wr, 5, 0);

        mr_put_done(&peer.wr, &done);
        mr_put_dones_close(&peer.wr, mark, 1);
        rig_peer_send(&peer);
        rig_peer_expect(&peer, MR_ACK);
    }
    rig_wait_int(&rig,
        "select coalesce(sum(count), 0) from millrace.audit where decision = 'refused' "
        "and action = 'DONE' and source = 'back' and principal = 'local'",
        3);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.result"), 0);
    rig_peer_close(&peer);
}
END_TEST

/* What was noted in the last second is written before it ends. */
START_TEST(a_broker_that_ends_leaves_nothing_unsaid)
{
    struct rig_peer peer;

    rig_peer_open(&peer, rig.front);
    rig_peer_hello(&peer, MR_ROLE_CLIENT, NULL);
    mr_put_credit(&peer.wr, 1);
    rig_peer_send(&peer);
    rig_peer_expect_error(&peer, MR_DENIED);
    ck_assert(mr_proc_stop(&rig.broker, SIGTERM, RIG_WAIT_MS));
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.audit"), 1);
    ck_assert_str_eq(last(), "refused|CREDIT|-|local|-|front|0|1");
    rig_peer_close(&peer);
}
END_TEST

/* The log cannot be written: then what has to be in it is not done. */
START_TEST(no_deed_without_its_entry)
{
    pg_fixture_text(rig.pg, "alter table millrace.audit_head rename to away");
    runs(70, "$0 pause night");
    runs(70, "$0 drain");
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.queue"), 0);
    pg_fixture_text(rig.pg, "alter table millrace.away rename to audit_head");
    runs(0, "$0 pause night");
    verifies(1);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("52_audited");
    TCase *cases = tcase_create("audited"), *alone = tcase_create("alone");

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, a_deed_is_an_entry);
    tcase_add_test(cases, each_deed_says_what_it_was);
    tcase_add_test(cases, a_cancel_is_an_entry_if_it_is_somebody_elses_job);
    tcase_add_test(cases, refusals_are_counted_in_bounded_space);
    tcase_add_test(cases, refusals_of_all_kinds_are_counted_in_bounded_space);
    tcase_add_test(cases, what_is_made_up_is_an_entry);
    tcase_add_test(cases, a_broker_that_ends_leaves_nothing_unsaid);
    tcase_add_test(cases, no_deed_without_its_entry);
    suite_add_tcase(suite, cases);
    /* With a PostgreSQL of its own, which it stops. */
    tcase_set_timeout(alone, 120);
    tcase_add_test(alone, entries_wait_for_the_database);
    suite_add_tcase(suite, alone);
    return pg_fixture_run(suite, NULL);
}
