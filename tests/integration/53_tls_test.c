/*
 * A PostgreSQL that is reached over TCP with TLS and SCRAM only: who has the right certificate, name
 * and password gets in; who has not is told why, and no secret is in what is said.
 */
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RIGHT "S3cret-that-is-right"
#define WRONG "S3cret-that-is-wrong"

static char folder[] = "/tmp/millrace-tls-XXXXXX";
static char address[32]; /* a loopback address of our own, so that port 5432 is free */
static struct rig rig;
static char text[1 << 16];

static void
shell(const char *line)
{
    const char *const argv[] = {"/bin/sh", "-ec", line, "sh", folder, NULL};
    int code = rig_run(&rig, argv, text, sizeof text);

    ck_assert_msg(code == 0, "%s: %d: %s", line, code, text);
}

/* ---- the server ------------------------------------------------------------------------------------- */

/* One authority for the server, and another one that has nothing to do with it. */
static const char make_certificates[] =
    "cd \"$1\"; chmod 755 .\n"
    "for ca in ours others; do openssl req -x509 -newkey ec -pkeyopt "
    "ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=$ca -keyout $ca.key -out "
    "$ca.crt; done\n"
    "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "
    "/CN=db.test -keyout server.key -out server.csr\n"
    "printf 'subjectAltName=DNS:db.test\\n' > server.ext\n"
    "openssl x509 -req -in server.csr -CA ours.crt -CAkey ours.key -CAcreateserial "
    "-days 2 -extfile server.ext -out server.crt\n"
    "umask 077; printf '*:*:*:*:" RIGHT "\\n' > right\n";

static void
give_to_server(const char *name, const char *content, const struct stat *owner)
{
    char path[512], line[1024];

    snprintf(
        path, sizeof path, "%s/%s", pg_fixture_text(rig.pg, "show data_directory"), name);
    if (content) {
        FILE *file = fopen(path, "w");

        ck_assert_ptr_nonnull(file);
        ck_assert_int_ge(fputs(content, file), 0);
        ck_assert_int_eq(fclose(file), 0);
    } else {
        snprintf(line, sizeof line, "cp \"$1/%s\" '%s'", name, path);
        shell(line);
    }
    ck_assert_int_eq(chmod(path, 0600), 0);
    if (geteuid() == 0)
        ck_assert_int_eq(chown(path, owner->st_uid, owner->st_gid), 0);
}

/* Sessions that begin from now on are under the new settings. */
static void
reload(void)
{
    char sql[128];
    int64_t until = rig_now_ms() + RIG_WAIT_MS;
    bool is_loaded = false;

    snprintf(sql, sizeof sql, "select (pg_conf_load_time() > '%s')::int",
        pg_fixture_text(rig.pg, "select clock_timestamp()"));
    pg_fixture_text(rig.pg, "select pg_reload_conf()");
    while (!is_loaded) {
        struct mr_pg *pg = pg_fixture_open("reload");

        is_loaded = pg_fixture_int(pg, sql) == 1;
        mr_pg_close(&pg);
        ck_assert_int_lt(rig_now_ms(), until);
        rig_breathe();
    }
}

static void
let_in(const char *how)
{
    char hba[256];
    struct stat owner;

    ck_assert_int_eq(stat(pg_fixture_text(rig.pg, "show hba_file"), &owner), 0);
    snprintf(
        hba, sizeof hba, "local all all trust\nhostssl all all 127.0.0.0/8 %s\n", how);
    give_to_server("pg_hba.conf", hba, &owner);
    reload();
}

static void
set_up(void)
{
    struct stat owner;

    rig_open(&rig);
    shell(make_certificates);
    ck_assert_int_eq(stat(pg_fixture_text(rig.pg, "show hba_file"), &owner), 0);
    give_to_server("server.crt", NULL, &owner);
    give_to_server("server.key", NULL, &owner);
    pg_fixture_text(rig.pg, "alter system set ssl = on");
    let_in("scram-sha-256");
    pg_fixture_text(rig.pg, "drop role if exists b1, w1");
    pg_fixture_text(
        rig.pg, "create role b1 login in role millrace_broker password '" RIGHT "'");
    pg_fixture_text(
        rig.pg, "create role w1 login in role millrace_worker password '" RIGHT "'");
}

static void
tear_down(void)
{
    rig_close(&rig);
}

/* ---- who gets in -------------------------------------------------------------------------------------- */

/* As the page of the tables recommends it; `more` comes behind, and wins. */
static const char *
as(const char *user, const char *more)
{
    static char out[2][1024];
    static unsigned next;
    char *conninfo = out[next++ % 2];

    snprintf(conninfo, sizeof out[0],
        "host=db.test hostaddr=%s port=5432 dbname=%s user=%s passfile=%s/right "
        "sslmode=verify-full sslrootcert=%s/ours.crt channel_binding=require "
        "gssencmode=disable %s",
        address, pg_fixture_text(rig.pg, "select current_database()"), user, folder,
        folder, more);
    return conninfo;
}

START_TEST(who_is_right_gets_in)
{
    char socket[sizeof rig.conninfo];
    struct millrace *mr;

    memcpy(socket, rig.conninfo, sizeof socket);
    snprintf(rig.conninfo, sizeof rig.conninfo, "%.500s", as("b1", ""));
    rig_broker(&rig, NULL);
    snprintf(rig.conninfo, sizeof rig.conninfo, "%.500s", as("w1", ""));
    rig_worker(&rig, 0, 1, NULL);
    memcpy(rig.conninfo, socket, sizeof socket);
    mr = rig_client(&rig);
    rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
    ck_assert_int_eq(rig_int(&rig, "select count(distinct usename) from pg_stat_activity "
                                   "join pg_stat_ssl using (pid) where usename in ('b1', "
                                   "'w1') and ssl and version >= 'TLSv1.2'"),
        2);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from pg_stat_activity join "
                                   "pg_stat_ssl using (pid) where usename in ('b1', "
                                   "'w1') and not ssl"),
        0);
    millrace_close(mr);
}
END_TEST

/* ---- who does not ------------------------------------------------------------------------------------- */

static const struct {
    const char *more, *why, *next;
} wrongs[] = {
    {"sslrootcert=%s/others.crt", "certificate verify failed", "sslrootcert"},
    {"sslrootcert=%s/nothing.crt", "root certificate file", "sslrootcert"},
    {"host=elsewhere.test", "does not match host name \"elsewhere.test\"",
        "name that is in the server's certificate"},
    {"sslmode=disable channel_binding=disable", "no encryption", "sslmode=verify-full"},
    {"password=" WRONG, "password authentication failed", "password"},
    {"passfile=%s/nothing", "no password supplied", "PGPASSFILE"},
};

/* Both programs: the code says that a right is missing, the words say which. */
static void
expect_refusal(const char *more, const char *why, const char *next)
{
    static const char *const programs[] = {"millrace-broker", "millrace-worker"};

    for (int i = 0; i < 2; i++) {
        const char *conninfo = as(i ? "w1" : "b1", more);
        const char *const broker[] = {rig_program(programs[0]), "--database", conninfo,
            "--front", "tcp://127.0.0.1:*", "--back", "tcp://127.0.0.1:*", "--no-wait",
            "--log-level", "debug", NULL};
        const char *const worker[] = {rig_program(programs[1]), "--database", conninfo,
            "--endpoint", "tcp://127.0.0.1:1", "--log-level", "debug", NULL};
        int code = rig_run(&rig, i ? worker : broker, text, sizeof text);

        ck_assert_msg(code == 77, "%s with %s: %d: %s", programs[i], more, code, text);
        ck_assert_msg(strstr(text, why) != NULL, "%s is not in: %s", why, text);
        ck_assert_msg(strstr(text, next) != NULL, "%s is not in: %s", next, text);
        ck_assert_msg(strstr(text, "S3cret") == NULL, "a secret is in: %s", text);
    }
}

START_TEST(who_is_wrong_is_told_why)
{
    char more[256];
    const char *place = strstr(wrongs[_i].more, "%s");

    snprintf(more, sizeof more, "%.*s%s%s",
        (int)(place ? (size_t)(place - wrongs[_i].more) : strlen(wrongs[_i].more)),
        wrongs[_i].more, place ? folder : "", place ? place + 2 : "");
    expect_refusal(more, wrongs[_i].why, wrongs[_i].next);
}
END_TEST

/* A server that lets everybody in has not shown that it knows the password: it may be another one. */
START_TEST(a_server_that_proves_nothing)
{
    let_in("trust");
    expect_refusal("", "channel binding", "prove");
}
END_TEST

START_TEST(a_server_that_wants_the_password_itself)
{
    let_in("password");
    expect_refusal("", "channel binding", "prove");
}
END_TEST

START_TEST(a_server_without_tls)
{
    pg_fixture_text(rig.pg, "alter system set ssl = off");
    reload();
    expect_refusal("", "does not support SSL", "ssl");
}
END_TEST

/* Nor does the server's own log have it. */
START_TEST(the_server_says_no_secret_either)
{
    char line[512];

    expect_refusal("password=" WRONG, "password authentication failed", "password");
    snprintf(line, sizeof line, "! grep -a " WRONG " '%s'",
        mr_cluster_log_path(pg_fixture_cluster()));
    shell(line);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("53_tls");
    TCase *cases = tcase_create("tls");
    char listen[64], clean[64];
    const char *const settings[] = {"fsync=off", "autovacuum=off", listen, NULL};
    int failed, pid = (int)getpid();

    if (!mkdtemp(folder))
        return 1;
    snprintf(address, sizeof address, "127.%d.%d.%d", 64 + pid / 62500 % 64,
        1 + pid / 250 % 250, 1 + pid % 250);
    snprintf(listen, sizeof listen, "listen_addresses=%s", address);
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, who_is_right_gets_in);
    tcase_add_loop_test(
        cases, who_is_wrong_is_told_why, 0, sizeof wrongs / sizeof *wrongs);
    tcase_add_test(cases, a_server_that_proves_nothing);
    tcase_add_test(cases, a_server_that_wants_the_password_itself);
    tcase_add_test(cases, a_server_without_tls);
    tcase_add_test(cases, the_server_says_no_secret_either);
    suite_add_tcase(suite, cases);
    failed = pg_fixture_run(suite, settings);
    snprintf(clean, sizeof clean, "%s/", folder);
    for (const char *const *name = (const char *const[]){"ours.key", "ours.crt",
             "ours.srl", "others.key", "others.crt", "server.key", "server.csr",
             "server.ext", "server.crt", "right", NULL};
         *name; name++) {
        char path[128];

        snprintf(path, sizeof path, "%s%s", clean, *name);
        (void)unlink(path);
    }
    (void)rmdir(folder);
    return failed;
}
