/*
 * What is killed, stopped or full: workers, the broker, PostgreSQL, tables. Nothing that was
 * accepted is lost and nothing takes effect twice.
 */
#include "client/cluster.h"
#include "schemas/sql/migrate.h"
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FINISHED "select count(*) from millrace.result where outcome = 1"
#define LOST "select count(*) from millrace.attempt where outcome = 2"

static struct rig rig;
static struct millrace *mr;

static void
set_up(void)
{
    rig_open(&rig);
}

static void
tear_down(void)
{
    if (mr)
        millrace_close(mr);
    rig_close(&rig);
}

static void
submit_many(const char *kind, const char *args, size_t args_bytes, int count)
{
    struct millrace_job *jobs = calloc((size_t)count, sizeof *jobs);
    int *codes = calloc((size_t)count, sizeof *codes);
    struct millrace_error error;

    for (int i = 0; i < count; i++) {
        millrace_job_init(&jobs[i], kind);
        jobs[i].args = args;
        jobs[i].args_bytes = args_bytes;
    }
    ck_assert_msg(millrace_submit_many(
                      mr, jobs, (size_t)count, codes, RIG_WAIT_MS, &error) == MILLRACE_OK,
        "%s", error.why);
    free(jobs);
    free(codes);
}

START_TEST(killed_worker)
{
    struct millrace_id id;

    rig_broker(&rig, NULL);
    rig_worker(&rig, 0, 1, NULL);
    mr = rig_client(&rig);
    id = rig_submit(mr, "test.sleep", "ms", 1500);
    rig_wait_stat(mr, "sent", 1);
    rig_worker(&rig, 1, 1, NULL);
    mr_proc_signal(&rig.workers[0], SIGKILL);
    rig_expect(mr, id, MILLRACE_SUCCEEDED);
    ck_assert_int_eq(rig_int(&rig, LOST), 1);
    ck_assert_int_eq(rig_int(&rig, "select attempt from millrace.result"), 2);
}
END_TEST

/* Frozen, not dead, in the middle of a transaction: its database session is ended, so that the
 * next attempt gets the row that it had locked; what it says when it wakes up changes nothing. */
START_TEST(frozen_worker)
{
    const char *const load[] = {"--load", rig_program("tests/loadable/hold.so"), NULL};
    struct millrace_id id;
    struct mr_err err = {0};

    ck_ok(mr_pg_run(rig.pg, "create table public.held (id int primary key)", 0, NULL,
              NULL, &err),
        err);
    rig_broker(&rig, (const char *const[]){"--heartbeat-ms", "200", NULL});
    rig_worker(&rig, 0, 1, load);
    mr = rig_client(&rig);
    id = rig_submit(mr, "test.hold", NULL, 0);
    rig_wait_int(&rig,
        "select count(*) from pg_stat_activity where datname = current_database() and "
        "state = 'idle in transaction'",
        1);
    mr_proc_signal(&rig.workers[0], SIGSTOP);
    rig_worker(&rig, 1, 1, load);
    rig_expect(mr, id, MILLRACE_SUCCEEDED);
    mr_proc_signal(&rig.workers[0], SIGCONT);
    rig_wait_stat(mr, "workers", 2);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.result"), 1);
    ck_assert_int_eq(rig_int(&rig, "select attempt from millrace.result"), 2);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from public.held"), 1);
    ck_assert_int_eq(rig_int(&rig, LOST), 1);
    /* Nobody's process alive with its consumer dead: it works again. */
    ck_assert(mr_proc_stop(&rig.workers[1], SIGTERM, RIG_WAIT_MS));
    id = rig_submit(mr, "test.noop", NULL, 0);
    rig_expect(mr, id, MILLRACE_SUCCEEDED);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.result where worker = 'w0'"), 1);
}
END_TEST

/* The end of this connection that `proc` has is shut down, from outside. 0: it has none; -1: not
 * allowed here. */
static int
cut_connections(const struct mr_proc *proc, const char *endpoint)
{
    int process = (int)syscall(SYS_pidfd_open, proc->pid, 0), cuts = 0;
    uint16_t port = (uint16_t)atoi(strrchr(endpoint, ':') + 1);

    ck_assert_int_ge(process, 0);
    for (int number = 0; number < 256 && cuts >= 0; number++) {
        int fd = (int)syscall(SYS_pidfd_getfd, process, number, 0);
        struct sockaddr_in6 peer = {
            0}; /* (libzmq maps IPv4; the port is at the same place) */
        socklen_t n = sizeof peer;

        if (fd < 0 && errno == EPERM)
            cuts = -1;
        if (fd < 0)
            continue;
        if (getpeername(fd, (struct sockaddr *)&peer, &n) == 0 &&
            (peer.sin6_family == AF_INET6 || peer.sin6_family == AF_INET) &&
            ntohs(peer.sin6_port) == port)
            cuts += shutdown(fd, SHUT_RDWR) == 0;
        (void)close(fd);
    }
    (void)close(process);
    return cuts;
}

/* Again and again, idle and busy; broker and worker live on, and the worker has to be sent jobs
 * each time. */
START_TEST(cut_worker)
{
    enum { CUTS = 8 };

    rig_broker(&rig, NULL);
    rig_worker(&rig, 0, 2, NULL);
    mr = rig_client(&rig);
    for (int i = 0; i < CUTS; i++) {
        struct millrace_id busy = rig_submit(mr, "test.sleep", "ms", i % 2 ? 200 : 0);
        int64_t until = rig_now_ms() + RIG_WAIT_MS;
        int cuts;

        while ((cuts = cut_connections(&rig.workers[0], rig.back)) == 0) {
            ck_assert_int_lt(rig_now_ms(), until); /* it never came back */
            rig_breathe();
        }
        if (cuts < 0) {
            fprintf(stderr, "no connection can be cut here: cut_worker left out\n");
            return;
        }
        rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
        rig_expect(mr, busy, MILLRACE_SUCCEEDED);
    }
    ck_assert_int_eq(rig_int(&rig, FINISHED), 2 * CUTS);
    ck_assert(mr_proc_is_alive(&rig.workers[0]));
    ck_assert_int_eq(rig_stat(mr, "workers"), 1);
}
END_TEST

/* A job that ends its worker's process three times is given up, with a reason; those that were
 * queued behind it in that worker are lost as often and go on. */
START_TEST(job_that_kills_workers)
{
    enum { OTHERS = 5 };
    struct millrace_id id, others[OTHERS];
    const char *const ahead[] = {"--prefetch", "8", NULL};

    rig_broker(&rig, (const char *const[]){"--unknown-kinds", "accept", NULL});
    mr = rig_client(&rig);
    id = rig_submit(mr, "test.crash", NULL, 0);
    for (int i = 0; i < OTHERS; i++)
        others[i] = rig_submit(mr, "test.noop", NULL, 0);
    for (int worker = 0; worker < 3; worker++) {
        rig_worker(&rig, worker, 1, ahead);
        ck_assert(mr_proc_wait(&rig.workers[worker], RIG_WAIT_MS));
    }
    rig_expect(mr, id, MILLRACE_FAILED);
    rig_worker(&rig, 3, 1, NULL);
    for (int i = 0; i < OTHERS; i++)
        rig_expect(mr, others[i], MILLRACE_SUCCEEDED);
    ck_assert_int_eq(
        rig_int(&rig,
            "select count(*) from millrace.result where error like 'quarantined: 3 times "
            "%(attempt 1 lost on w0, attempt 2 lost on w1, attempt 3 lost on w2)%' and "
            "error like '%millrace redrive ' || id"),
        1);
    ck_assert_int_gt(rig_int(&rig, LOST " and started_at is null"), 0);
    ck_assert_int_eq(rig_int(&rig, LOST " and started_at is not null"), 3);
}
END_TEST

START_TEST(killed_broker)
{
    enum { JOBS = 400 };

    rig_broker(&rig, NULL);
    rig_worker(&rig, 0, 2, NULL);
    rig_worker(&rig, 1, 2, NULL);
    mr = rig_client(&rig);
    submit_many("test.sleep", "\x81\xa2ms\x0a", 5, JOBS);
    mr_proc_signal(&rig.broker, SIGKILL);
    ck_assert(mr_proc_wait(&rig.broker, RIG_WAIT_MS));
    rig_broker(&rig, (const char *const[]){"--grace-ms", "3000", NULL});
    rig_wait_int(&rig, "select count(*) from millrace.result", JOBS);
    ck_assert_int_eq(rig_int(&rig, FINISHED), JOBS);
    rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
}
END_TEST

/* A broker that was frozen does not take its workers for dead when it wakes up. */
START_TEST(frozen_broker)
{
    struct millrace_id id;

    rig_broker(&rig, (const char *const[]){"--heartbeat-ms", "200", NULL});
    rig_worker(&rig, 0, 1, NULL);
    mr = rig_client(&rig);
    id = rig_submit(mr, "test.sleep", "ms", 3000);
    rig_wait_stat(mr, "sent", 1);
    mr_proc_signal(&rig.broker, SIGSTOP);
    (void)poll(NULL, 0, 1500); /* how long it is frozen */
    mr_proc_signal(&rig.broker, SIGCONT);
    rig_expect(mr, id, MILLRACE_SUCCEEDED);
    ck_assert_int_eq(rig_int(&rig, "select attempt from millrace.result"), 1);
    ck_assert_int_eq(rig_int(&rig, LOST), 0);
}
END_TEST

/* What a worker runs while the broker is away stays its own. */
START_TEST(running_jobs_survive_the_broker)
{
    struct millrace_id id;

    rig_broker(&rig, NULL);
    rig_worker(&rig, 0, 1, NULL);
    mr = rig_client(&rig);
    id = rig_submit(mr, "test.sleep", "ms", 3000);
    rig_wait_stat(mr, "sent", 1);
    mr_proc_signal(&rig.broker, SIGKILL);
    ck_assert(mr_proc_wait(&rig.broker, RIG_WAIT_MS));
    rig_broker(&rig, NULL);
    rig_expect(mr, id, MILLRACE_SUCCEEDED);
    ck_assert_int_eq(rig_int(&rig, "select attempt from millrace.result"), 1);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.attempt"), 0);
}
END_TEST

static void
migrate(const char *conninfo)
{
    struct mr_pg *pg = NULL;
    struct mr_err err = {0};
    int applied;

    ck_ok(mr_pg_open(&pg, conninfo, "test", &err), err);
    ck_ok(mr_migrate(pg, "millrace", &applied, &err), err);
    mr_pg_close(&pg);
}

static struct mr_cluster *
own_cluster(void)
{
    static const char *const settings[] = {"autovacuum=off", NULL};
    struct mr_cluster_options options = {.settings = settings};
    struct mr_cluster *cluster = NULL;
    struct mr_err err = {0};

    ck_ok(mr_cluster_start(&cluster, &options, &err), err);
    migrate(mr_cluster_conninfo(cluster));
    return cluster;
}

static void
look_again(const char *conninfo)
{
    struct mr_err err = {0};

    mr_pg_close(&rig.pg);
    ck_ok(mr_pg_open(&rig.pg, conninfo, "rig", &err), err);
}

/* Once in order, once as if the power had failed. */
START_TEST(restarted_database)
{
    enum { JOBS = 300 };
    struct mr_cluster *cluster = own_cluster();
    struct mr_err err = {0};
    struct millrace_job late;
    struct millrace_error error;
    int code;

    rig_close(&rig);
    rig_open_on(&rig, mr_cluster_conninfo(cluster));
    rig_broker(&rig, NULL);
    rig_worker(&rig, 0, 2, NULL);
    mr = rig_client(&rig);
    submit_many("test.sleep", "\x81\xa2ms\x0a", 5, JOBS);
    mr_cluster_halt(cluster, _i ? SIGQUIT : SIGINT);
    /* Nothing can be accepted meanwhile; the library goes on trying. */
    millrace_job_init(&late, "test.noop");
    ck_assert_int_ne(millrace_submit(mr, &late, 300, &error), MILLRACE_OK);
    ck_ok(mr_cluster_resume(cluster, &err), err);
    look_again(mr_cluster_conninfo(cluster));
    /* New, or stored in the very last moment before. */
    code = rig_verdict(mr, &late);
    ck_assert(code == MILLRACE_OK || code == MILLRACE_KNOWN || code == MILLRACE_FINISHED);
    rig_wait_int(&rig, FINISHED, JOBS + 1);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.job"), JOBS + 1);
    millrace_close(mr);
    mr = NULL;
    rig_close(&rig);
    mr_cluster_stop(&cluster);
    rig_open(&rig);
}
END_TEST

/* Down when the broker starts: it waits, and serves when the database is there. */
START_TEST(database_down_at_start)
{
    struct mr_cluster *cluster = own_cluster();
    struct mr_err err = {0};
    char ready[128];
    const char *argv[] = {rig_program("millrace-broker"), "--database",
        mr_cluster_conninfo(cluster), "--ready-file", ready, NULL};
    struct mr_proc_spec spec = {.argv = argv, .output = rig.output};

    snprintf(ready, sizeof ready, "%s/broker", rig.folder);
    mr_cluster_halt(cluster, SIGINT);
    ck_ok(mr_proc_start(&rig.broker, &spec, &err), err);
    for (int64_t until = rig_now_ms() + RIG_WAIT_MS;;) {
        char line[256];

        mr_proc_last_line(rig.output, "store-down", line, sizeof line);
        if (line[0])
            break;
        ck_assert(rig_now_ms() < until);
        rig_breathe();
    }
    ck_assert(mr_proc_is_alive(&rig.broker));
    ck_ok(mr_cluster_resume(cluster, &err), err);
    ck_ok(mr_proc_wait_file(&rig.broker, ready, RIG_WAIT_MS, &err), err);
    ck_assert(mr_proc_stop(&rig.broker, SIGTERM, RIG_WAIT_MS));
    ck_assert_int_eq(mr_proc_exit_code(&rig.broker), 0);
    mr_cluster_stop(&cluster);
}
END_TEST

/* Tables for a few jobs only: most are refused with BUSY at first, and all are run in the end. */
START_TEST(full_tables)
{
    enum { JOBS = 2000 };

    rig_broker(&rig, (const char *const[]){"--jobs-max", "50", "--storing-max", "20",
                         "--busy-retry-ms", "5", NULL});
    rig_worker(&rig, 0, 2, NULL);
    mr = rig_client(&rig);
    submit_many("test.noop", NULL, 0, JOBS);
    rig_wait_int(&rig, FINISHED, JOBS);
    ck_assert_int_gt(rig_stat(mr, "refused"), 0);
}
END_TEST

/* More unfinished jobs in the database than fit into memory: loaded as room comes up. */
START_TEST(more_jobs_than_memory)
{
    enum { JOBS = 500 };
    struct mr_err err = {0};

    rig_broker(&rig, NULL);
    rig_worker(&rig, 0, 1, NULL);
    ck_assert(mr_proc_stop(&rig.workers[0], SIGTERM, RIG_WAIT_MS));
    mr = rig_client(&rig);
    submit_many("test.noop", NULL, 0, JOBS);
    ck_assert(mr_proc_stop(&rig.broker, SIGTERM, RIG_WAIT_MS));
    /* And some that come by SQL meanwhile. */
    ck_ok(mr_pg_run(rig.pg,
              "insert into millrace.inbox (kind) select 'test.noop' from "
              "generate_series(1, 100)",
              0, NULL, NULL, &err),
        err);
    rig_broker(&rig, (const char *const[]){"--jobs-max", "40", "--grace-ms", "10", NULL});
    rig_worker(&rig, 1, 2, NULL);
    rig_wait_int(&rig, FINISHED, JOBS + 100);
}
END_TEST

/* SIGTERM while commits are under way: what was acknowledged is there. */
START_TEST(stopped_under_load)
{
    enum { JOBS = 3000 };
    struct millrace_job *jobs = calloc(JOBS, sizeof *jobs);
    struct millrace_completion done;
    struct millrace_error error;
    int acknowledged = 0;

    rig_broker(&rig, (const char *const[]){"--unknown-kinds", "accept", NULL});
    mr = rig_client(&rig);
    ck_assert_int_eq(millrace_ready(mr, RIG_WAIT_MS, &error), MILLRACE_OK);
    for (int i = 0; i < JOBS; i++) {
        millrace_job_init(&jobs[i], "test.noop");
        ck_assert_int_eq(millrace_submit_start(
                             mr, &jobs[i], MILLRACE_UNTIL_DURABLE, 3000, NULL, &error),
            MILLRACE_OK);
    }
    mr_proc_signal(&rig.broker, SIGTERM);
    for (int i = 0; i < JOBS; i++) {
        ck_assert_int_eq(millrace_finish(mr, RIG_WAIT_MS, &done), 1);
        acknowledged += done.code == MILLRACE_OK;
        millrace_result_free(&done.result);
    }
    ck_assert(mr_proc_wait(&rig.broker, RIG_WAIT_MS));
    ck_assert_int_eq(mr_proc_exit_code(&rig.broker), 0);
    ck_assert_int_ge(rig_int(&rig, "select count(*) from millrace.job"), acknowledged);
    free(jobs);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("failure");
    TCase *tcase = tcase_create("failure");

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, killed_worker);
    tcase_add_test(tcase, frozen_worker);
    tcase_add_test(tcase, cut_worker);
    tcase_add_test(tcase, job_that_kills_workers);
    tcase_add_test(tcase, killed_broker);
    tcase_add_test(tcase, frozen_broker);
    tcase_add_test(tcase, running_jobs_survive_the_broker);
    tcase_add_loop_test(tcase, restarted_database, 0, 2);
    tcase_add_test(tcase, database_down_at_start);
    tcase_add_test(tcase, full_tables);
    tcase_add_test(tcase, more_jobs_than_memory);
    tcase_add_test(tcase, stopped_under_load);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
