/*
 * Jobs that share transactions, some of which fail, while their worker is killed and started
 * again: each has its row once, or none when it failed.
 */
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <signal.h>

enum { JOBS = 2000, OF = 50 };

static struct rig rig;

static void
start_worker(void)
{
    rig_worker(&rig, 0, 2,
        (const char *const[]){"--load", rig_program("tests/loadable/group.so"), NULL});
}

static void
ck_none(const char *sql)
{
    ck_assert_msg(rig_int(&rig, sql) == 0, "%s", sql);
}

START_TEST(each_once)
{
    struct mr_err err = {0};
    struct millrace *mr;

    rig_open(&rig);
    ck_ok(mr_pg_run(rig.pg, "create table public.added (job uuid, n bigint)", 0, NULL,
              NULL, &err),
        err);
    rig_broker(&rig, (const char *const[]){"--heartbeat-ms", "200", NULL});
    mr = rig_client(&rig);
    start_worker(); /* so that the kind is known; what it is to do comes later */
    mr_proc_signal(&rig.workers[0], SIGKILL);
    for (int i = 0; i < JOBS; i++)
        (void)rig_submit(mr, "group.add", "n", i);
    for (int kills = 1; kills <= 3; kills++) {
        start_worker();
        rig_wait_stat(mr, "succeeded", JOBS / 8 * kills);
        mr_proc_signal(&rig.workers[0], SIGKILL);
    }
    start_worker();
    rig_wait_int(&rig, "select count(*) from millrace.result", JOBS);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.result where "
                                   "outcome = 2 and error like '% is not wanted'"),
        JOBS / OF);
    ck_assert_int_gt(rig_int(&rig, "select count(*) from millrace.attempt where "
                                   "attempt = 1 and error = 'the first time'"),
        0);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from public.added"), JOBS - JOBS / OF);
    ck_none("select count(*) - count(distinct job) from public.added");
    ck_none("select count(*) from public.added a left join millrace.result r on "
            "r.id = a.job and r.outcome = 1 and "
            "millrace.msgpack_to_jsonb(r.body)::text = a.n::text where r.id is null");
    ck_none("select count(*) from public.added where n % 50 = 7");
    /* They did share, up to 25 a transaction; those that were lost ran alone. */
    ck_assert_int_ge(
        rig_int(&rig, "select max(count) from (select count(*) from public.added "
                      "group by xmin::text) x"),
        20);
    ck_none("select count(*) from (select from public.added a join millrace.result r on "
            "r.id = a.job group by a.xmin::text having count(*) > 25 or "
            "count(*) > 1 and max(r.attempt) > 1) x");
    millrace_close(mr);
    rig_close(&rig);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("group");
    TCase *tcase = tcase_create("group");

    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, each_once);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
