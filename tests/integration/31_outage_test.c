/*
 * PostgreSQL is away for a while: stopped in order, at once, or cut off, with jobs under way.
 * Nothing is acknowledged meanwhile, submitters get STORE_DOWN, what is computed during the absence
 * is kept by the workers and stored afterwards, and nobody has to do anything. The figures are
 * printed. OUTAGE_MS: how long it is away (2500). What is kept is bounded, also when it is away
 * for a worker only and the broker would go on sending.
 */
#include "client/cluster.h"
#include "schemas/sql/finish.h"
#include "schemas/sql/migrate.h"
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JOBS 120
#define HELLO "\x81\xa4name\xa3you"
#define RESULTS "select count(*) from millrace.result"

static struct rig rig;
static struct mr_cluster *cluster;
static struct millrace *mr;
static struct rig_peer peer;

static int
outage_ms(void)
{
    const char *text = getenv("OUTAGE_MS");

    return text && *text ? atoi(text) : 2500;
}

static void
set_up(void)
{
    static const char *const settings[] = {"autovacuum=off", NULL};
    struct mr_cluster_options options = {.settings = settings};
    struct mr_err err = {0};
    int applied = 0;

    ck_ok(mr_cluster_start(&cluster, &options, &err), err);
    rig_open_on(&rig, mr_cluster_conninfo(cluster));
    ck_ok(mr_migrate(rig.pg, "millrace", &applied, &err), err);
    ck_ok(
        mr_pg_run(rig.pg, "create table greeting (name text)", 0, NULL, NULL, &err), err);
}

static void
tear_down(void)
{
    millrace_close(mr);
    rig_close(&rig);
    mr_cluster_stop(&cluster);
}

static void
await_word(const char *word)
{
    int64_t until = rig_now_ms() + RIG_WAIT_MS;
    char line[256] = "";

    while (!line[0]) {
        mr_proc_last_line(rig.output, word, line, sizeof line);
        ck_assert_msg(rig_now_ms() < until, "nobody says %s", word);
        rig_breathe();
    }
}

/* Calculations, and every fourth a transaction. */
static void
submit_all(struct millrace_id ids[JOBS])
{
    for (int i = 0; i < JOBS; i++) {
        struct millrace_job job;

        millrace_job_init(&job, i % 4 ? "test.sleep" : "demo.hello");
        job.args = i % 4 ? "\x81\xa2ms\x32" : HELLO;
        job.args_bytes = i % 4 ? 5 : sizeof HELLO - 1;
        job.timeout_ms = 1000; /* shorter than the absence: waiting is nobody's fault */
        ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_OK);
        ids[i] = job.id;
    }
}

static void
expect_refusals(void)
{
    for (int i = 0; i < 20; i++) {
        struct mr_job_new job = {.id = mr_uuid_new(INT64_C(1000) * rig_now_ms()),
            .kind = mr_span_str("test.noop"),
            .payload = mr_span("\xc0", 1)};
        size_t mark = mr_put_submit_open(&peer.wr, 7, mr_span_str(MR_QUEUE_DEFAULT), 0);

        mr_put_submit_job(&peer.wr, &job);
        mr_put_submit_close(&peer.wr, mark, 1);
        rig_peer_send(&peer);
        rig_peer_expect_error(&peer, MR_STORE_DOWN);
    }
}

static void
pass(int64_t until)
{
    while (rig_now_ms() < until) {
        ck_assert(mr_proc_is_alive(&rig.broker));
        ck_assert(mr_proc_is_alive(&rig.workers[0]));
        rig_breathe();
    }
}

static void
come_back(int64_t *acked_ms, int64_t *stored_ms)
{
    struct mr_err err = {0};
    int64_t began, before;

    ck_ok(mr_cluster_resume(cluster, &err), err);
    began = rig_now_ms();
    mr_pg_close(&rig.pg);
    ck_ok(mr_pg_open(&rig.pg, rig.conninfo, "rig", &err), err);
    before = rig_int(&rig, RESULTS);
    *acked_ms = *stored_ms = -1;
    (void)rig_submit(mr, "test.noop", NULL, 0);
    *acked_ms = rig_now_ms() - began;
    while (rig_int(&rig, RESULTS) <= before)
        ck_assert_int_lt(rig_now_ms(), began + RIG_WAIT_MS);
    *stored_ms = rig_now_ms() - began;
}

START_TEST(an_absence)
{
    static const int signals[] = {SIGINT, SIGQUIT};
    struct millrace_id ids[JOBS];
    int64_t acked_ms, stored_ms, began;

    rig_broker(&rig, (const char *const[]){"--timeout-slack-ms", "200", NULL});
    rig_worker(&rig, 0, 2,
        (const char *const[]){
            "--prefetch", "40", "--load", rig_program("tests/loadable/hello.so"), NULL});
    mr = rig_client(&rig);
    rig_peer_open(&peer, rig.front);
    rig_peer_hello(&peer, MR_ROLE_CLIENT, NULL);
    submit_all(ids);
    rig_wait_stat(mr, "sent", 20);
    mr_cluster_halt(cluster, signals[_i]);
    began = rig_now_ms();
    await_word("store-down");
    expect_refusals();
    await_word("results_kept");
    pass(began + outage_ms());
    come_back(&acked_ms, &stored_ms);
    for (int i = 0; i < JOBS; i++)
        rig_expect(mr, ids[i], MILLRACE_SUCCEEDED);
    printf("{\"bench\":\"outage\",\"stopped\":\"%s\",\"away_ms\":%d,\"acked_ms\":%" PRId64
           ",\"stored_ms\":%" PRId64 "}\n",
        _i ? "at once" : "in order", outage_ms(), acked_ms, stored_ms);
    fflush(stdout);
    /* Nobody lost, failed or timed out: it was only away. */
    ck_assert_str_eq(
        pg_fixture_text(rig.pg, "select string_agg(j.kind || ' ' || a.outcome || ': ' || "
                                "coalesce(a.error, ''), ', ') from millrace.attempts a "
                                "join millrace.job j using (id)"),
        "");
    /* (A transaction that was under way is given back: its next attempt is no failure.) */
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.result join millrace.job using (id) "
                      "where attempt <> 1 and kind <> 'demo.hello'"),
        0);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from greeting"), JOBS / 4);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.job where kind = 'test.noop'"), 1);
    rig_peer_close(&peer);
}
END_TEST

/* ---- what is kept is bounded ---------------------------------------------------------------- */

#define KEPT_JOBS 60
#define THREADS 2
#define AHEAD 3
#define LOOKS 200
#define ITS_SESSIONS                                                                     \
    "from pg_stat_activity where application_name like '" MR_WORKER_SESSION_PREFIX "%'"

/* The worker's own way to PostgreSQL's socket: a link, which can be taken away. */
static char way[128], real[512];

static void
open_way(void)
{
    char folder[256];

    ck_assert_int_eq(sscanf(real, "host=%255s", folder), 1);
    ck_assert_int_eq(symlink(folder, way), 0);
}

static void
close_way(void)
{
    ck_assert_int_eq(unlink(way), 0);
    ck_assert_int_gt(
        rig_int(&rig, "select count(pg_terminate_backend(pid)) " ITS_SESSIONS), 0);
    rig_wait_int(&rig, "select count(*) " ITS_SESSIONS, 0);
}

static void
start_worker_with_a_way(const char *bound, const char *value)
{
    char ahead[8];
    const char *const more[] = {"--prefetch", ahead, bound, value, "--load",
        rig_program("tests/loadable/large.so"), NULL};

    snprintf(ahead, sizeof ahead, "%d", AHEAD);
    snprintf(real, sizeof real, "%s", rig.conninfo);
    snprintf(way, sizeof way, "%s/way", rig.folder);
    open_way();
    ck_assert_int_lt(
        snprintf(rig.conninfo, sizeof rig.conninfo, "host=%s%s", way, strchr(real, ' ')),
        (int)sizeof rig.conninfo);
    rig_worker(&rig, 0, THREADS, more);
    snprintf(rig.conninfo, sizeof rig.conninfo, "%s", real);
}

static void
never_above(int64_t held)
{
    for (int i = 0; i < LOOKS; i++) {
        ck_assert_int_le(rig_stat(mr, "sent"), held);
        rig_breathe();
    }
}

/* By number: threads + what is fetched ahead + results_max. By size: when three results of 300
 * KiB wait, less than a MiB, there is credit for a full pipeline once more, and then no more. */
START_TEST(what_is_kept_is_bounded)
{
    static const struct {
        const char *name, *value;
        int kib, least, most;
    } bounds[] = {{"--results-max", "5", 1, THREADS + AHEAD + 5, THREADS + AHEAD + 5},
        {"--results-mib-max", "1", 300, 4, 3 + THREADS + AHEAD}};
    struct millrace_id ids[KEPT_JOBS];
    struct mr_err err = {0};

    rig_broker(&rig, NULL);
    start_worker_with_a_way(bounds[_i].name, bounds[_i].value);
    mr = rig_client(&rig);
    rig_expect(mr, rig_submit(mr, "large.fill", "kib", 1), MILLRACE_SUCCEEDED);
    close_way();
    for (int i = 0; i < KEPT_JOBS; i++)
        ids[i] = rig_submit(mr, "large.fill", "kib", bounds[_i].kib);
    await_word("results_kept");
    rig_wait_stat(mr, "sent", bounds[_i].least);
    never_above(bounds[_i].most);
    /* Then it is away for all. */
    mr_cluster_halt(cluster, SIGQUIT);
    await_word("store-down");
    ck_ok(mr_cluster_resume(cluster, &err), err);
    mr_pg_close(&rig.pg);
    ck_ok(mr_pg_open(&rig.pg, rig.conninfo, "rig", &err), err);
    (void)rig_submit(mr, "large.fill", "kib", 1);
    never_above(bounds[_i].most);
    ck_assert_int_eq(rig_int(&rig, RESULTS), 1);
    open_way();
    for (int i = 0; i < KEPT_JOBS; i++)
        rig_expect(mr, ids[i], MILLRACE_SUCCEEDED);
    rig_wait_int(&rig, RESULTS " where outcome = 1 and attempt = 1", KEPT_JOBS + 2);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.attempt"), 0);
    ck_assert_int_eq(rig_int(&rig, RESULTS " where octet_length(body) <= 1024"), 0);
    ck_assert_int_eq(unlink(way), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("outage");
    TCase *tcase = tcase_create("outage");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tcase, 400);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_loop_test(tcase, an_absence, 0, 2);
    tcase_add_loop_test(tcase, what_is_kept_is_bounded, 0, 2);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
