/*
 * How the broker starts and what it says when it cannot: each mistake has an exit code, what
 * happened, why, and what to do.
 */
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>
#include <zmq.h>

static struct rig rig;

static void
set_up(void)
{
    rig_open(&rig);
}

static void
tear_down(void)
{
    rig_close(&rig);
}

/* Run the broker with these flags; it has to end with that code and these words. */
static void
refuse(int code, const char *const *flags, const char *word, const char *other)
{
    const char *argv[RIG_ARGS_MAX] = {rig_program("millrace-broker")};
    char text[8192];
    int got;

    for (int i = 0; flags[i]; i++)
        argv[i + 1] = flags[i];
    got = rig_run(&rig, argv, text, sizeof text);
    ck_assert_msg(got == code, "exit code %d: %s", got, text);
    ck_assert_msg(strstr(text, word) != NULL, "\"%s\" is not in: %s", word, text);
    ck_assert_msg(strstr(text, other) != NULL, "\"%s\" is not in: %s", other, text);
}

START_TEST(help_lists_settings)
{
    const char *argv[] = {rig_program("millrace-broker"), "--help", NULL};
    char text[16384];

    ck_assert_int_eq(rig_run(&rig, argv, text, sizeof text), 0);
    ck_assert_ptr_nonnull(strstr(text, "--jobs-max"));
    ck_assert_ptr_nonnull(strstr(text, "--ready-file"));
}
END_TEST

START_TEST(check_reads_settings_only)
{
    const char *argv[] = {
        rig_program("millrace-broker"), "--check", "--jobs-max", "1000", NULL};

    ck_assert_int_eq(rig_run(&rig, argv, NULL, 0), 0);
}
END_TEST

START_TEST(wrong_settings)
{
    refuse(EX_CONFIG, (const char *const[]){"--check", "--job-max", "7", NULL},
        "--job-max", "--help");
    refuse(EX_CONFIG, (const char *const[]){"--check", "--jobs-max", "many", NULL},
        "many", "jobs_max");
    refuse(EX_CONFIG, (const char *const[]){"--check", "--front", "udp://x:1", NULL},
        "udp://x:1", "tcp://");
    refuse(EX_CONFIG, (const char *const[]){"--check", "--front", "", NULL}, "front",
        "at least one");
    refuse(EX_CONFIG,
        (const char *const[]){
            "--check", "--backoff-base-ms", "9", "--backoff-cap-ms", "8", NULL},
        "backoff_base_ms is 9", "Raise");
    refuse(EX_CONFIG,
        (const char *const[]){
            "--check", "--id-past-hours", "49", "--retention-days", "2", NULL},
        "would run again", "retention_days");
}
END_TEST

START_TEST(other_hosts_only_when_asked_for)
{
    const char *flags[] = {"--check", "--back", "tcp://0.0.0.0:*", NULL};
    const char *argv[] = {rig_program("millrace-broker"), "--check", "--back",
        "tcp://0.0.0.0:*", "--insecure", NULL};

    refuse(EX_CONFIG, flags, "open to other hosts", "insecure = yes");
    ck_assert_int_eq(rig_run(&rig, argv, NULL, 0), 0);
}
END_TEST

START_TEST(port_taken)
{
    const char *flags[] = {"--front", NULL, "--database", rig.conninfo, NULL};

    rig_broker(&rig, NULL);
    flags[1] = rig.front;
    refuse(EX_UNAVAILABLE, flags, rig.front, "choose another port");
}
END_TEST

START_TEST(database_down_and_no_wait)
{
    const char *flags[] = {"--no-wait", "--database", "host=/nonexistent dbname=x", NULL};

    refuse(EX_UNAVAILABLE, flags, "/nonexistent", "millrace-broker: ");
}
END_TEST

START_TEST(schema_missing)
{
    const char *flags[] = {"--database", pg_fixture_database(false), NULL};

    refuse(EX_CONFIG, flags, "millrace migrate", "schema");
}
END_TEST

START_TEST(schema_too_new)
{
    const char *flags[] = {"--database", rig.conninfo, NULL};
    struct mr_err err = {0};

    ck_ok(mr_pg_run(rig.pg,
              "insert into millrace.migration (set, number, name, digest) values "
              "('millrace', 9999, 'from the future', '\\x00')",
              0, NULL, NULL, &err),
        err);
    refuse(EX_CONFIG, flags, "newer", "nstall");
}
END_TEST

/* The cluster trusts its socket; this role is asked for a password. */
static void
ask_for_password(const char *role)
{
    const char *path = pg_fixture_text(rig.pg, "select current_setting('hba_file')");
    FILE *file = fopen(path, "w");
    struct mr_err err = {0};

    ck_assert_ptr_nonnull(file);
    fprintf(file, "local all %s scram-sha-256\nlocal all all trust\n", role);
    fclose(file);
    ck_ok(mr_pg_run(rig.pg, "select pg_reload_conf()", 0, NULL, NULL, &err), err);
}

START_TEST(wrong_password)
{
    char conninfo[600];
    struct mr_err err = {0};

    ck_ok(mr_pg_run(rig.pg, "create role guarded login superuser password 'right'", 0,
              NULL, NULL, &err),
        err);
    ask_for_password("guarded");
    snprintf(conninfo, sizeof conninfo, "%s user=guarded password=wrong", rig.conninfo);
    refuse(EX_NOPERM, (const char *const[]){"--no-wait", "--database", conninfo, NULL},
        "password", "millrace-broker: ");
}
END_TEST

START_TEST(termination_ends_it_and_removes_the_ready_file)
{
    char path[128];

    rig_broker(&rig, NULL);
    snprintf(path, sizeof path, "%s/broker", rig.folder);
    ck_assert_int_eq(access(path, R_OK), 0);
    ck_assert(mr_proc_stop(&rig.broker, SIGTERM, RIG_WAIT_MS));
    ck_assert_int_eq(mr_proc_exit_code(&rig.broker), 0);
    ck_assert_int_ne(access(path, R_OK), 0);
}
END_TEST

/* Of two brokers on one shard one serves; when it is killed the other does, one epoch on. */
START_TEST(standby_takes_over)
{
    static struct rig_peer peer;
    char ready[128];
    const char *argv[] = {rig_program("millrace-broker"), "--database", rig.conninfo,
        "--ready-file", ready, NULL};
    struct mr_proc_spec spec = {.argv = argv, .output = rig.output};
    struct mr_proc standby = {.pid = 0};
    struct mr_err err = {0};
    struct mr_welcome welcome;
    char endpoint[128];
    FILE *file;

    snprintf(ready, sizeof ready, "%s/standby", rig.folder);
    rig_broker(&rig, (const char *const[]){"--lease-ms", "1000", NULL});
    ck_ok(mr_proc_start(&standby, &spec, &err), err);
    rig_wait_int(&rig,
        "select count(*) from pg_stat_activity where datname = current_database() and "
        "application_name <> 'rig' and backend_type = 'client backend'",
        2);
    ck_assert_int_ne(access(ready, R_OK), 0);
    mr_proc_signal(&rig.broker, SIGKILL);
    ck_ok(mr_proc_wait_file(&standby, ready, RIG_WAIT_MS, &err), err);

    file = fopen(ready, "r");
    ck_assert_int_eq(fscanf(file, "front %127s", endpoint), 1);
    fclose(file);
    rig_peer_open(&peer, endpoint);
    rig_peer_hello(&peer, MR_ROLE_CLIENT, NULL);
    ck_assert_int_eq(mr_get_welcome(&peer.msg, &welcome), MR_OK);
    ck_assert_uint_eq(welcome.epoch, 2);
    rig_peer_close(&peer);
    ck_assert(mr_proc_stop(&standby, SIGTERM, RIG_WAIT_MS));
    ck_assert_int_eq(mr_proc_exit_code(&standby), 0);
    (void)mr_proc_wait(&rig.broker, RIG_WAIT_MS);
}
END_TEST

/* Stopped for longer than its lease and then let go: the old owner notices, and ends. */
START_TEST(fenced_broker_ends)
{
    struct mr_err err = {0};

    rig_broker(&rig, (const char *const[]){"--lease-ms", "900", NULL});
    ck_ok(mr_pg_run(
              rig.pg, "update millrace.shard set epoch = epoch + 1", 0, NULL, NULL, &err),
        err);
    ck_assert(mr_proc_wait(&rig.broker, RIG_WAIT_MS));
    ck_assert_int_eq(mr_proc_exit_code(&rig.broker), EX_TEMPFAIL);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("broker: start");
    TCase *tcase = tcase_create("start");

    tcase_set_timeout(tcase, 90);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, help_lists_settings);
    tcase_add_test(tcase, check_reads_settings_only);
    tcase_add_test(tcase, wrong_settings);
    tcase_add_test(tcase, other_hosts_only_when_asked_for);
    tcase_add_test(tcase, port_taken);
    tcase_add_test(tcase, database_down_and_no_wait);
    tcase_add_test(tcase, schema_missing);
    tcase_add_test(tcase, schema_too_new);
    tcase_add_test(tcase, wrong_password);
    tcase_add_test(tcase, termination_ends_it_and_removes_the_ready_file);
    tcase_add_test(tcase, standby_takes_over);
    tcase_add_test(tcase, fenced_broker_ends);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
