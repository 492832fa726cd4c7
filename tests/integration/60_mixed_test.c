/*
 * Half a minute of everything at once: transfers with follow-up jobs from 200 submitters, while
 * workers and the broker are killed and frozen and PostgreSQL is stopped at once, in an order
 * that a seed decides (MILLRACE_SEED). Afterwards the database is asked whether every promise was
 * kept. The ledger has no constraint that would help.
 */
#include "client/cluster.h"
#include "schemas/sql/migrate.h"
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define HANDLES 8
#define SUBMITTERS 200
#define JOBS_MAX 12000
#define ACCOUNTS 40
#define RUN_MS 18000
#define PAUSE_MS 400 /* of a submitter between two jobs */
#define WORKERS 2
#define SUBMIT_MS 60000

struct sent {
    struct millrace_id id;
    int outcome; /* 0: acknowledged only */
    bool is_acknowledged, is_watched;
    uint32_t submitter;
};

static struct rig rig;
static struct mr_cluster *cluster;
static struct millrace *handles[HANDLES];
static struct sent sent[JOBS_MAX];
static uint32_t sent_count, answered;
static int64_t next_ms[SUBMITTERS]; /* INT64_MAX: one is under way */
static uint64_t seed;

static uint32_t
dice(uint32_t sides)
{
    /* Knuth's MMIX generator; the upper bits are the good ones. */
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33) % sides;
}

/* ---- submitters ------------------------------------------------------------------------------- */

static void
put_args(struct millrace_pack *pack)
{
    uint32_t from = dice(ACCOUNTS), mode = dice(20);

    millrace_pack_map(pack, 4);
    millrace_pack_str(pack, "from");
    millrace_pack_int(pack, from);
    millrace_pack_str(pack, "to");
    millrace_pack_int(pack, (from + 1 + dice(ACCOUNTS - 1)) % ACCOUNTS);
    millrace_pack_str(pack, "cents");
    millrace_pack_int(pack, 1 + dice(999));
    millrace_pack_str(pack, "mode");
    millrace_pack_int(pack, mode < 3 ? mode : 0);
}

static void
submit_one(uint32_t submitter)
{
    struct sent *one = &sent[sent_count];
    struct millrace_pack args = {0};
    struct millrace_error error;
    struct millrace_job job;
    int code;

    if (sent_count == JOBS_MAX)
        return;
    put_args(&args);
    millrace_job_init(&job, "mix.transfer");
    job.args = args.bytes;
    job.args_bytes = args.n;
    job.attempts_max = 1000;
    job.backoff_base_ms = job.backoff_cap_ms = 50;
    *one =
        (struct sent){.id = job.id, .submitter = submitter, .is_watched = dice(2) == 0};
    code = millrace_submit_start(handles[submitter % HANDLES], &job,
        one->is_watched ? MILLRACE_UNTIL_FINISHED : MILLRACE_UNTIL_DURABLE, SUBMIT_MS,
        one, &error);
    ck_assert_msg(code == MILLRACE_OK, "%s: %s", error.what, error.why);
    millrace_pack_free(&args);
    sent_count++;
    next_ms[submitter] = INT64_MAX;
}

static void
take_completions(void)
{
    struct millrace_completion done;

    for (int i = 0; i < HANDLES; i++) {
        while (millrace_poll(handles[i], &done)) {
            struct sent *one = done.tag;

            ck_assert_msg(done.code == MILLRACE_OK || done.code == MILLRACE_KNOWN ||
                              done.code == MILLRACE_FINISHED,
                "%s: %s: %s", millrace_code_name(done.code), done.error.what,
                done.error.why);
            one->is_acknowledged = true;
            one->outcome = one->is_watched ? done.result.outcome : 0;
            next_ms[one->submitter] = rig_now_ms() + PAUSE_MS;
            answered++;
            millrace_result_free(&done.result);
        }
    }
}

/* Go on submitting for so long; 0: only look. */
static void
pump(int64_t ms)
{
    int64_t until = rig_now_ms() + ms;

    do {
        int64_t now = rig_now_ms();

        take_completions();
        for (uint32_t i = 0; i < SUBMITTERS; i++)
            if (now >= next_ms[i])
                submit_one(i);
        rig_breathe();
    } while (rig_now_ms() < until);
}

/* ---- what happens to them ------------------------------------------------------------------------ */

static void
start_broker(void)
{
    rig_broker(&rig, (const char *const[]){"--losses-max", "255", "--heartbeat-ms", "300",
                         "--grace-ms", "1500", "--lease-ms", "1000", NULL});
}

static void
start_worker(int number)
{
    rig_worker(&rig, number, 4,
        (const char *const[]){"--load", rig_program("tests/loadable/mix.so"), NULL});
}

static void
kill_worker(void)
{
    int number = (int)dice(WORKERS);

    mr_proc_signal(&rig.workers[number], SIGKILL);
    ck_assert(mr_proc_wait(&rig.workers[number], RIG_WAIT_MS));
    pump(dice(300));
    start_worker(number);
}

/* Longer than three heartbeats: it is given up, and then comes back. */
static void
freeze_worker(void)
{
    int number = (int)dice(WORKERS);

    mr_proc_signal(&rig.workers[number], SIGSTOP);
    pump(1300);
    mr_proc_signal(&rig.workers[number], SIGCONT);
}

static void
kill_broker(void)
{
    mr_proc_signal(&rig.broker, SIGKILL);
    ck_assert(mr_proc_wait(&rig.broker, RIG_WAIT_MS));
    pump(dice(300));
    start_broker();
}

static void
halt_database(void)
{
    struct mr_err err = {0};

    mr_cluster_halt(cluster, SIGQUIT);
    pump(dice(500));
    ck_ok(mr_cluster_resume(cluster, &err), err);
}

static void
halt_database_and_kill_broker(void)
{
    struct mr_err err = {0};

    mr_cluster_halt(cluster, SIGQUIT);
    pump(dice(200));
    mr_proc_signal(&rig.broker, SIGKILL);
    ck_assert(mr_proc_wait(&rig.broker, RIG_WAIT_MS));
    ck_ok(mr_cluster_resume(cluster, &err), err);
    start_broker();
}

/* Nobody ends but by our hand. */
static void
ck_alive(void)
{
    ck_assert_msg(mr_proc_is_alive(&rig.broker), "the broker ended by itself");
    for (int i = 0; i < WORKERS; i++)
        ck_assert_msg(mr_proc_is_alive(&rig.workers[i]), "worker %d ended by itself", i);
}

/* Each once, in an order that the dice decide, and again. */
static void
harm(void)
{
    static void (*const harms[])(void) = {kill_worker, halt_database, kill_broker,
        freeze_worker, halt_database_and_kill_broker, kill_worker};
    enum { HARMS = sizeof harms / sizeof harms[0] };
    int64_t until = rig_now_ms() + RUN_MS;
    bool is_done[HARMS] = {false};
    uint32_t done = 0;

    pump(1000);
    while (rig_now_ms() < until || done < HARMS) {
        uint32_t next = dice(HARMS);

        while (done < HARMS && is_done[next])
            next = (next + 1) % HARMS;
        is_done[next] = true;
        done++;
        harms[next]();
        pump(300 + dice(900));
        ck_alive();
    }
}

/* ---- what the database says ---------------------------------------------------------------------- */

static void
run_sql(const char *sql)
{
    struct mr_err err = {0};

    ck_ok(mr_pg_run(rig.pg, sql, 0, NULL, NULL, &err), err);
}

static void
look_again(void)
{
    struct mr_err err = {0};

    mr_pg_close(&rig.pg);
    ck_ok(mr_pg_open(&rig.pg, rig.conninfo, "rig", &err), err);
}

static void
note_acknowledged(void)
{
    enum { ROWS = 200, ROW_BYTES = 64 };
    static char sql[ROWS * ROW_BYTES + 64];
    char id[MILLRACE_ID_TEXT];

    run_sql("create table acknowledged (id uuid, outcome smallint)");
    for (uint32_t at = 0; at < sent_count;) {
        int n = snprintf(sql, sizeof sql, "insert into acknowledged values ");

        for (uint32_t rows = 0; rows < ROWS && at < sent_count; rows++, at++)
            n += snprintf(sql + n, sizeof sql - (size_t)n, "%s('%s',%d)", rows ? "," : "",
                millrace_id_format(&sent[at].id, id), sent[at].outcome);
        run_sql(sql);
    }
}

static void
ck_none(const char *what, const char *sql)
{
    int64_t n = rig_int(&rig, sql);

    ck_assert_msg(n == 0, "%s: %" PRId64, what, n);
}

#define RESULTS "left join millrace.result r on r.id = "

static void
judge(void)
{
    ck_none("acknowledged and not finished",
        "select count(*) from acknowledged a " RESULTS "a.id where r.id is null");
    ck_none("reported otherwise than it is stored",
        "select count(*) from acknowledged a join millrace.result r using (id) "
        "where a.outcome <> 0 and a.outcome <> r.outcome");
    ck_none("booked and not succeeded",
        "select count(*) from ledger l " RESULTS
        "l.job where r.outcome is distinct from 1 or r.attempt <> l.attempt");
    ck_none("not booked exactly once",
        "select count(*) from (select j.id from millrace.job j join millrace.result r "
        "using (id) left join ledger l on l.job = j.id where j.kind = 'mix.transfer' and "
        "r.outcome = 1 group by j.id having count(l.job) <> 1) x");
    ck_none("money made or lost", "select sum(cents) - 40 * 100000 from account");
    ck_none("accounts that differ from the ledger",
        "select count(*) from account a where cents <> 100000 "
        "+ (select coalesce(sum(l.cents), 0) from ledger l where l.target = a.id) "
        "- (select coalesce(sum(l.cents), 0) from ledger l where l.source = a.id)");
    ck_none("children that are missing",
        "select count(*) from ledger l left join millrace.job j on j.id = l.child "
        "where j.id is null or j.kind <> 'mix.child'");
    ck_none("children of nobody",
        "select count(*) from millrace.job j left join ledger l on l.child = j.id "
        "where j.kind = 'mix.child' and l.job is null");
    ck_none("children without the right result",
        "select count(*) from millrace.job j " RESULTS "j.id where j.kind = 'mix.child' "
        "and (r.outcome is distinct from 1 or r.body is distinct from '\\x07')");
    ck_none("failed otherwise than it was asked to",
        "select count(*) from millrace.result where outcome <> 1 and "
        "error is distinct from 'as it was asked to'");
}

static void
set_up(void)
{
    static const char *const settings[] = {"autovacuum=off", "max_connections=60", NULL};
    struct mr_cluster_options options = {.settings = settings};
    const char *asked = getenv("MILLRACE_SEED");
    struct mr_err err = {0};
    int applied = 0;

    seed = asked ? strtoull(asked, NULL, 10) : 20260102;
    ck_ok(mr_cluster_start(&cluster, &options, &err), err);
    rig_open_on(&rig, mr_cluster_conninfo(cluster));
    ck_ok(mr_migrate(rig.pg, "millrace", &applied, &err), err);
    run_sql("create table account as select id, 100000::bigint as cents "
            "from generate_series(0, 39) id");
    run_sql("alter table account add primary key (id)");
    run_sql("create table ledger (job uuid, attempt integer, source integer, target "
            "integer, cents bigint, child uuid)");
    start_broker();
    for (int i = 0; i < WORKERS; i++)
        start_worker(i);
    for (int i = 0; i < HANDLES; i++)
        handles[i] = rig_client(&rig);
}

static void
tear_down(void)
{
    for (int i = 0; i < HANDLES; i++)
        millrace_close(handles[i]);
    rig_close(&rig);
    mr_cluster_stop(&cluster);
}

START_TEST(everything_at_once)
{
    int64_t until;

    harm();
    until = rig_now_ms() + RIG_WAIT_MS;
    while (answered < sent_count) {
        take_completions();
        ck_assert_msg(rig_now_ms() < until, "%u of %u answered", answered, sent_count);
        rig_breathe();
    }
    look_again();
    rig_wait_int(&rig, "select count(*) from millrace.inbox", 0);
    rig_wait_int(&rig,
        "select count(*) from millrace.job j left join millrace.result r using (id) "
        "where r.id is null",
        0);
    ck_alive();
    note_acknowledged();
    judge();
    /* An idle run proves nothing. */
    ck_assert_uint_gt(sent_count, 1000);
    ck_assert_int_gt(rig_int(&rig, "select count(*) from ledger"), 500);
    ck_assert_int_gt(
        rig_int(&rig, "select count(*) from millrace.result where outcome = 2"), 10);
    ck_assert_int_gt(
        rig_int(&rig, "select count(*) from millrace.attempt where outcome = 2"), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("mixed run");
    TCase *tcase = tcase_create("mixed");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tcase, 150);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, everything_at_once);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
