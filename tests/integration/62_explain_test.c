/*
 * `millrace explain` for each reason that can be held still from outside, with a broker, workers
 * and PostgreSQL as they are. The others (others are before it, a payload is being read back, the
 * database is being asked) last for a moment only: tests/unit/core_look_test.c.
 */
#include "client/cluster.h"
#include "schemas/sql/migrate.h"
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct rig rig;
static struct millrace *mr;
static char text[65536];

static void
work(int threads)
{
    const char *const more[] = {
        "--load", rig_program("tests/loadable/why.so"), "--prefetch", "0", NULL};

    rig_worker(&rig, 0, threads, more);
}

static void
set_up(void)
{
    rig_open(&rig);
    rig_broker(&rig, NULL);
    work(2);
    mr = rig_client(&rig);
}

static void
tear_down(void)
{
    millrace_close(mr);
    mr = NULL;
    rig_close(&rig);
}

static int
explain(struct millrace_id id)
{
    char line[128], id_text[MILLRACE_ID_TEXT];

    snprintf(line, sizeof line, "$0 explain %s", millrace_id_format(&id, id_text));
    return rig_sh(&rig, line, text, sizeof text);
}

/* As soon as it is so. */
static void
because(struct millrace_id id, const char *reason)
{
    int64_t end_ms = rig_now_ms() + RIG_WAIT_MS;

    while (explain(id) != 0 || !strstr(text, reason)) {
        ck_assert_msg(rig_now_ms() < end_ms, "\"%s\" is not in: %s", reason, text);
        rig_breathe();
    }
}

/* It says this, too. */
static void
also(const char *more)
{
    ck_assert_msg(strstr(text, more) != NULL, "\"%s\" is not in: %s", more, text);
}

static struct millrace_id
submit(const char *kind)
{
    return rig_submit(mr, kind, NULL, 0);
}

START_TEST(not_yet)
{
    struct millrace_id id;
    struct millrace_job job;

    ck_assert_int_eq(rig_sh(&rig, "$0 pause default", text, sizeof text), 0);
    id = submit("test.noop");
    because(id, "queue default is paused; to go on: millrace resume default");
    ck_assert_int_eq(rig_sh(&rig, "$0 resume default", text, sizeof text), 0);
    because(id, "it is finished: succeeded at 20");
    also("with attempt 1");

    millrace_job_init(&job, "test.noop");
    job.delay_ms = 3600000;
    ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_OK);
    because(job.id, "waits until 20");
    also("the time that it was submitted for");

    millrace_job_init(&job, "test.fail");
    job.backoff_base_ms = job.backoff_cap_ms = 3600000;
    ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_OK);
    because(job.id, "in backoff after attempt 1 until 20");
    also("its error was: failed, as asked");

    because(submit("why.snooze"), "snoozed by attempt 1 until 20");
}
END_TEST

START_TEST(who_should_run_it)
{
    struct millrace_id first, id;

    first = submit("why.one");
    because(first, "attempt 1 is running on worker w0 since 20");
    because(first, ", 40.5% done: page 81 of 200");
    id = submit("why.one");
    because(id, "the limit of kind why.one is reached at 1 of 1 workers");
    also("at most 1 at a time");
    submit("why.stay");
    id = submit("why.stay");
    because(id, "no credit: all 2 threads of 1 workers are busy (w0)");
    mr_proc_stop(&rig.workers[0], SIGKILL, 0);
    because(id, "no worker offers kind why.stay; start one that does");
}
END_TEST

START_TEST(how_it_ended)
{
    struct millrace_job job;
    struct millrace_id id;
    char line[128], id_text[MILLRACE_ID_TEXT];

    millrace_job_init(&job, "test.fail");
    job.attempts_max = 1;
    ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_OK);
    because(job.id, "it failed, its attempts are used up, at 20");
    also("with attempt 1: failed, as asked");
    also("millrace redrive ");

    millrace_job_init(&job, "test.fail");
    job.args = "\x81\xa8"
               "for_good\xc3";
    job.args_bytes = 11;
    ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_OK);
    because(job.id, "it failed for good at 20");

    millrace_job_init(&job, "test.noop");
    job.delay_ms = 3600000;
    ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_OK);
    ck_assert_int_eq(millrace_cancel(mr, &job.id, RIG_WAIT_MS, NULL), MILLRACE_OK);
    because(job.id, "it is finished: cancelled at 20");
    also("before it ran");

    ck_assert_int_eq(rig_sh(&rig, "$0 pause default", text, sizeof text), 0);
    millrace_job_init(&job, "test.noop");
    job.expires_at_us = (int64_t)(rig_int(&rig, "select (extract(epoch from "
                                                "clock_timestamp()) * 1000)::bigint") +
                                  1500) *
                        1000;
    ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_OK);
    because(job.id, "it is finished: expired at 20");
    ck_assert_int_eq(rig_sh(&rig, "$0 resume default", text, sizeof text), 0);

    id = submit("why.stay");
    because(id, "is running");
    snprintf(line, sizeof line, "$0 cancel %s", millrace_id_format(&id, id_text));
    ck_assert_int_eq(rig_sh(&rig, line, text, sizeof text), 0);
    because(id, "it is finished: cancelled at 20");

    id = millrace_id_new();
    ck_assert_int_eq(explain(id), 66);
    also("there is no job with this id");
}
END_TEST

START_TEST(a_suspect)
{
    struct millrace_id one, two;
    const char *const three[] = {"--losses-max", "3", NULL};
    int64_t end_ms;

    mr_proc_stop(&rig.broker, SIGTERM, RIG_WAIT_MS);
    rig_broker(&rig, three);
    one = submit("why.stay");
    two = submit("why.stay");
    for (int loss = 1; loss <= 2; loss++) {
        because(one, "is running on worker w0");
        because(two, "is running on worker w0");
        because(one, "40.5%"); /* it has begun: the worker has said so */
        because(two, "40.5%");
        mr_proc_stop(&rig.workers[0], SIGKILL, 0);
        because(one, "no worker offers");
        because(two, "no worker offers");
        work(2);
    }
    end_ms = rig_now_ms() + RIG_WAIT_MS;
    for (;;) {
        ck_assert_int_eq(explain(one), 0);
        if (strstr(text, "so it is sent alone"))
            break;
        ck_assert_int_eq(explain(two), 0);
        if (strstr(text, "so it is sent alone"))
            break;
        ck_assert_msg(rig_now_ms() < end_ms, "nobody waits alone: %s", text);
        rig_breathe();
    }
    also("2 times its worker or its process ended with it");
}
END_TEST

START_TEST(quarantined)
{
    const char *const once[] = {"--losses-max", "1", NULL};
    struct millrace_id id;

    mr_proc_stop(&rig.broker, SIGTERM, RIG_WAIT_MS);
    rig_broker(&rig, once);
    id = submit("why.die");
    because(id, "quarantined: 1 times");
    also("millrace redrive ");
}
END_TEST

/* Somebody holds the shard's row: nothing can be committed. */
START_TEST(on_the_way_to_the_database)
{
    struct millrace_job job;
    struct millrace_id id = submit("why.stay");
    struct millrace_error error;

    because(id, "is running");
    millrace_job_init(&job, "test.noop");
    pg_fixture_text(rig.pg, "begin");
    pg_fixture_text(rig.pg, "select 1 from millrace.shard for update");
    ck_assert_int_eq(millrace_submit_start(
                         mr, &job, MILLRACE_UNTIL_DURABLE, RIG_WAIT_MS, NULL, &error),
        MILLRACE_OK);
    because(job.id, "it is being stored");
    mr_proc_stop(&rig.workers[0], SIGKILL, 0);
    because(id, "what became of attempt 1 is being stored");
    pg_fixture_text(rig.pg, "rollback");
    because(job.id, "no worker offers");
}
END_TEST

/* A PostgreSQL of its own, that can be stopped without harm to other tests. */
static struct mr_cluster *
own_cluster(void)
{
    struct mr_cluster_options options = {.settings = NULL};
    struct mr_cluster *cluster = NULL;
    struct mr_err err = {0};
    struct mr_pg *pg = NULL;
    int applied;

    ck_ok(mr_cluster_start(&cluster, &options, &err), err);
    ck_ok(mr_pg_open(&pg, mr_cluster_conninfo(cluster), "test", &err), err);
    ck_ok(mr_migrate(pg, "millrace", &applied, &err), err);
    mr_pg_close(&pg);
    return cluster;
}

START_TEST(the_database_is_down)
{
    struct mr_cluster *cluster = own_cluster();
    struct mr_err err = {0};
    struct millrace_job late;
    struct millrace_id id;

    tear_down();
    rig_open_on(&rig, mr_cluster_conninfo(cluster));
    rig_broker(&rig, NULL);
    work(2);
    mr = rig_client(&rig);
    ck_assert_int_eq(rig_sh(&rig, "$0 pause default", text, sizeof text), 0);
    id = submit("test.noop");
    mr_cluster_halt(cluster, SIGINT);
    /* It is noticed when something is to be stored. */
    millrace_job_init(&late, "test.noop");
    ck_assert_int_ne(millrace_submit(mr, &late, 300, NULL), MILLRACE_OK);
    because(id, "the store is down");
    also("see to PostgreSQL");
    ck_assert_int_eq(explain(millrace_id_new()), 75);
    also("the database cannot be reached");
    ck_ok(mr_cluster_resume(cluster, &err), err);
    because(id, "is paused");
    tear_down();
    mr_cluster_stop(&cluster);
    set_up();
}
END_TEST

START_TEST(the_broker_is_started_and_stopped)
{
    const char *const patient[] = {"--grace-ms", "3600000", NULL};
    struct millrace_id id, late;

    id = submit("why.stay");
    because(id, "is running");
    mr_proc_stop(&rig.workers[0], SIGKILL, 0);
    because(id, "no worker offers");
    mr_proc_stop(&rig.broker, SIGKILL, 0);
    rig_broker(&rig, patient);
    because(id, "the broker was started again and waits whether a worker still runs it");
    mr_proc_stop(&rig.broker, SIGKILL, 0);
    rig_broker(&rig, NULL);
    late = submit("test.noop");
    ck_assert_int_eq(rig_sh(&rig, "$0 drain", text, sizeof text), 0);
    because(late, "the broker is being stopped: nothing is started until");
}
END_TEST

START_TEST(not_in_memory)
{
    const char *const small[] = {"--jobs-max", "2", "--sweep-ms", "3600000", NULL};
    struct millrace_id id;
    const char *put =
        "insert into millrace.inbox (kind) values ('test.noop') returning id";

    mr_proc_stop(&rig.workers[0], SIGKILL, 0);
    mr_proc_stop(&rig.broker, SIGTERM, RIG_WAIT_MS);
    pg_fixture_text(rig.pg,
        "insert into millrace.job (id, submitted_at, shard, priority, "
        "queue, kind) select millrace.new_id(), now(), 0, 4, 'q', "
        "'test.noop' from generate_series(1, 3)");
    rig_broker(&rig, small);
    ck_assert_int_eq(
        millrace_id_parse(pg_fixture_text(rig.pg,
                              "select id from millrace.job order by id desc limit 1"),
            &id),
        MILLRACE_OK);
    because(id, "it is stored, and the broker's memory is full (2 unfinished jobs)");
    also("raise jobs_max");
    ck_assert_int_eq(millrace_id_parse(pg_fixture_text(rig.pg, put), &id), MILLRACE_OK);
    because(id, "it is in the inbox, and the broker's memory is full");
    pg_fixture_text(rig.pg,
        "insert into millrace.job (id, submitted_at, shard, priority, "
        "queue, kind) select millrace.new_id(), now(), 7, 4, 'q', 'far'");
    ck_assert_int_eq(
        millrace_id_parse(
            pg_fixture_text(rig.pg, "select id from millrace.job where kind = 'far'"),
            &id),
        MILLRACE_OK);
    because(id, "it belongs to shard 7, and this broker has shard 0");
}
END_TEST

/* Until the next look into the inbox, which somebody holds for as long as this takes. */
START_TEST(in_the_inbox)
{
    const char *const rarely[] = {"--sweep-ms", "3600000", NULL};
    struct millrace_id id;

    mr_proc_stop(&rig.broker, SIGTERM, RIG_WAIT_MS);
    rig_broker(&rig, rarely);
    rig_wait_stat(mr, "sweeps", 1);
    ck_assert_int_eq(millrace_id_parse(pg_fixture_text(rig.pg,
                                           "insert into millrace.inbox (kind) values "
                                           "('test.noop') returning id"),
                         &id),
        MILLRACE_OK);
    because(id, "it is in the inbox: the broker takes it in within 3600 s");
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("62_explain");
    TCase *cases = tcase_create("explain");

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 180);
    tcase_add_test(cases, not_yet);
    tcase_add_test(cases, who_should_run_it);
    tcase_add_test(cases, how_it_ended);
    tcase_add_test(cases, a_suspect);
    tcase_add_test(cases, quarantined);
    tcase_add_test(cases, on_the_way_to_the_database);
    tcase_add_test(cases, the_database_is_down);
    tcase_add_test(cases, the_broker_is_started_and_stopped);
    tcase_add_test(cases, not_in_memory);
    tcase_add_test(cases, in_the_inbox);
    suite_add_tcase(suite, cases);
    return pg_fixture_run(suite, NULL);
}
