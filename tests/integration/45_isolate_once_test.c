/*
 * Child processes are killed at random moments in the middle of transfers with follow-up jobs:
 * before the first statement, in a transaction, at COMMIT, after it, or between two jobs. Each
 * transfer is booked once. The ledger has no constraint that would help.
 */
#include "tests/support/pg_fixture.h"
#include "tests/support/procfs.h"
#include "tests/support/rig.h"

#include <signal.h>

enum { TRANSFERS = 200, ACCOUNTS = 10 };

static struct rig rig;
static struct millrace *mr;
static uint64_t seed = 20261125;

static uint32_t
dice(uint32_t sides)
{
    /* Knuth's MMIX generator; the upper bits are the good ones. */
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33) % sides;
}

static void
set_up(void)
{
    static const char *const sqls[] = {
        "create table public.account (id int primary key, cents bigint not null)",
        "insert into public.account select i, 0 from generate_series(0, 9) as i",
        "create table public.ledger (job uuid, attempt int, from_id int, to_id int, "
        "cents "
        "bigint, child uuid)"};
    struct mr_err err = {0};

    rig_open(&rig);
    for (size_t i = 0; i < sizeof sqls / sizeof *sqls; i++)
        ck_ok(mr_pg_run(rig.pg, sqls[i], 0, NULL, NULL, &err), err);
    rig_broker(&rig, (const char *const[]){"--losses-max", "255", NULL});
    rig_worker(&rig, 0, 2,
        (const char *const[]){"--load", rig_program("tests/loadable/mix.so"), "--isolate",
            "mix.transfer,mix.child", NULL});
    mr = rig_client(&rig);
}

static void
tear_down(void)
{
    millrace_close(mr);
    rig_close(&rig);
}

static struct millrace_id
submit_transfer(int number)
{
    struct millrace_pack args = {0};
    struct millrace_job job;

    millrace_pack_map(&args, 4);
    millrace_pack_str(&args, "from");
    millrace_pack_int(&args, number % ACCOUNTS);
    millrace_pack_str(&args, "to");
    millrace_pack_int(
        &args, (number + 1 + number / ACCOUNTS % (ACCOUNTS - 1)) % ACCOUNTS);
    millrace_pack_str(&args, "cents");
    millrace_pack_int(&args, 1 + number);
    millrace_pack_str(&args, "mode");
    millrace_pack_int(&args, 0);
    millrace_job_init(&job, "mix.transfer");
    job.args = args.bytes;
    job.args_bytes = args.n;
    job.attempts_max = 1000;
    job.backoff_base_ms = job.backoff_cap_ms = 10;
    ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_OK);
    millrace_pack_free(&args);
    return job.id;
}

static int
kill_one(void)
{
    pid_t pids[4];
    int n = procfs_children(rig.workers[0].pid, pids, 4);

    return n && kill(pids[dice((uint32_t)n)], SIGKILL) == 0;
}

START_TEST(killed_at_any_moment)
{
    static struct millrace_id ids[TRANSFERS];
    int64_t until, booked;
    int kills = 0;

    for (int i = 0; i < TRANSFERS; i++) {
        ids[i] = submit_transfer(i);
        kills += dice(4) == 0 && kill_one();
    }
    until = rig_now_ms() + 3 * RIG_WAIT_MS;
    do {
        ck_assert_msg(rig_now_ms() < until, "it goes on and on");
        booked = rig_int(&rig, "select count(*) from public.ledger");
        for (uint32_t i = dice(10); i > 0; i--)
            rig_breathe();
        kills += booked < TRANSFERS && kill_one();
    } while (booked < TRANSFERS);
    for (int i = 0; i < TRANSFERS; i++)
        rig_expect(mr, ids[i], MILLRACE_SUCCEEDED);
    rig_wait_int(&rig, "select count(*) from millrace.result", 2 * TRANSFERS);
    ck_assert_int_gt(kills, 5);
    ck_assert_int_gt(rig_int(&rig, "select count(*) from millrace.attempt where error "
                                   "like 'crashed: % SIGKILL%'"),
        0);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from public.ledger"), TRANSFERS);
    ck_assert_int_eq(
        rig_int(&rig, "select count(distinct job) from public.ledger"), TRANSFERS);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from public.ledger join "
                                   "millrace.result on id = child where outcome = 1"),
        TRANSFERS);
    ck_assert_int_eq(
        rig_int(&rig,
            "select count(*) from public.account where cents <> coalesce((select "
            "sum(case to_id when id then l.cents else -l.cents end) from "
            "public.ledger as l where id in (from_id, to_id)), 0)"),
        0);
    ck_assert(mr_proc_is_alive(&rig.workers[0]));
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("isolate once");
    TCase *tcase = tcase_create("isolate once");

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, killed_at_any_moment);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
