/*
 * The database's roles. Programs that log in with no more than their role has do all that they are
 * for; and whoever has stolen one of these log-ins tries everything else.
 */
#include "schemas/sql/migrate.h"
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct rig rig;
static struct millrace *mr;
static char text[1 << 20];

static const char *
as(const char *user)
{
    static char out[4][640];
    static unsigned next;
    char *conninfo = out[next++ % 4];

    /* The last one counts. */
    snprintf(conninfo, sizeof out[0], "%s user=%s", rig.conninfo, user);
    return conninfo;
}

static struct mr_pg *
open_as(const char *user, const char *application_name)
{
    struct mr_pg *pg = NULL;
    struct mr_err err = {0};

    ck_ok(mr_pg_open(&pg, as(user), application_name, &err), err);
    return pg;
}

static void
set_up(void)
{
    static const char *const logins[] = {
        "drop role if exists b1, w1, r1, nobody1, mig1",
        "create role b1 login in role millrace_broker",
        "create role w1 login in role millrace_worker",
        "create role r1 login in role millrace_reader",
        "create role nobody1 login",
        "create role mig1 login createdb",
    };

    rig_open(&rig);
    for (size_t i = 0; i < sizeof logins / sizeof *logins; i++)
        pg_fixture_text(rig.pg, logins[i]);
}

static void
tear_down(void)
{
    if (mr)
        millrace_close(mr);
    mr = NULL;
    rig_close(&rig);
}

static void
runs(int code, const char *line)
{
    int got = rig_sh(&rig, line, text, sizeof text);

    ck_assert_msg(got == code, "%s: %d, not %d: %s", line, got, code, text);
}

static void
shows(const char *wanted)
{
    ck_assert_msg(strstr(text, wanted) != NULL, "\"%s\" is not in: %s", wanted, text);
}

/* ---- what they are for --------------------------------------------------------------------------- */

static void
start_programs(void)
{
    char superuser[sizeof rig.conninfo];
    int room = sizeof rig.conninfo - 16;
    const char *const load[] = {"--load", rig_program("tests/loadable/hold.so"), NULL};

    pg_fixture_text(rig.pg, "create table public.held (id int primary key)");
    pg_fixture_text(rig.pg, "grant select, insert on public.held to millrace_worker");
    memcpy(superuser, rig.conninfo, sizeof superuser);
    snprintf(rig.conninfo, sizeof rig.conninfo, "%.*s user=b1", room, superuser);
    rig_broker(&rig, (const char *const[]){"--heartbeat-ms", "200", NULL});
    snprintf(rig.conninfo, sizeof rig.conninfo, "%.*s user=w1", room, superuser);
    rig_worker(&rig, 0, 2, load);
    rig_worker(&rig, 1, 1, load);
    memcpy(rig.conninfo, superuser, sizeof superuser);
    mr = rig_client(&rig);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from pg_stat_activity where datname = "
                      "current_database() and usename = 'b1'"),
        1);
}

/* Small batches and COPY, both ways; retries, death, redriving; lists; policy; by plain SQL. */
START_TEST(everything_works)
{
    struct millrace_id id;

    start_programs();
    rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
    runs(0, "for i in $(seq 500); do echo '{\"kind\":\"test.noop\"}'; done > "
            "$JOBS_FILE; $0 batch $JOBS_FILE > /dev/null; code=$?; rm -f "
            "$JOBS_FILE*; exit $code");
    runs(1, "$0 submit test.fail --attempts 2 --backoff 10ms --wait");
    runs(0, "$0 dead");
    shows("test.fail");
    runs(0, "$0 redrive --all --yes");
    shows("1 submitted anew");
    rig_wait_int(&rig, "select count(*) from millrace.dead", 2);
    runs(0, "$0 pause slow && $0 submit test.noop --queue slow");
    runs(0, "$0 explain $($0 jobs --queue slow -o json | "
            "grep -o '[0-9a-f-]\\{36\\}' | head -n 1)");
    shows("paused");
    runs(0, "$0 cancel $($0 jobs --queue slow -o json | "
            "grep -o '[0-9a-f-]\\{36\\}' | head -n 1)");
    runs(0, "$0 resume slow");
    runs(0, "$0 show $($0 jobs --state failed -o json | "
            "grep -o '[0-9a-f-]\\{36\\}' | head -n 1)");
    shows("attempt");
    pg_fixture_text(
        rig.pg, "insert into millrace.inbox (kind, queue) values ('test.noop', 'sql')");
    rig_wait_int(&rig,
        "select count(*) from millrace.jobs where queue = 'sql' and state = 'succeeded'",
        1);
    /* A transaction of a handler, in its own table; the worker freezes in it, and the broker ends
     * its session. */
    id = rig_submit(mr, "test.hold", NULL, 0);
    rig_wait_int(&rig,
        "select count(*) from pg_stat_activity where datname = current_database() and "
        "state = 'idle in transaction' and usename = 'w1'",
        1);
    for (int i = 0; i < 2; i++)
        mr_proc_signal(&rig.workers[i], SIGSTOP);
    rig_wait_int(&rig,
        "select count(*) from pg_stat_activity where datname = current_database() and "
        "state = 'idle in transaction' and usename = 'w1'",
        0);
    for (int i = 0; i < 2; i++)
        mr_proc_signal(&rig.workers[i], SIGCONT);
    rig_expect(mr, id, MILLRACE_SUCCEEDED);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from public.held"), 1);
    /* A broker that starts anew loads, claims, makes days. */
    ck_assert(mr_proc_stop(&rig.broker, SIGTERM, RIG_WAIT_MS));
    ck_assert_int_eq(mr_proc_exit_code(&rig.broker), 0);
}
END_TEST

START_TEST(a_reader_reads)
{
    struct mr_pg *reader;

    start_programs();
    rig_expect(mr, rig_submit(mr, "test.sleep", "ms", 1), MILLRACE_SUCCEEDED);
    runs(1, "$0 submit test.fail --attempts 1 --wait");
    reader = open_as("r1", "dashboard");
    ck_assert_str_eq(pg_fixture_text(reader, "select payload->>'ms' from millrace.jobs "
                                             "where kind = 'test.sleep'"),
        "1");
    ck_assert_int_eq(pg_fixture_int(reader, "select count(*) from millrace.attempts"), 1);
    ck_assert_int_eq(pg_fixture_int(reader, "select count(*) from millrace.queues"), 0);
    ck_assert_str_eq(
        pg_fixture_text(reader, "select kind || coalesce(redriven_as::text, ' not') "
                                "from millrace.dead"),
        "test.fail not");
    ck_assert_int_eq(
        pg_fixture_int(reader, "select count(*) from millrace.jobs where id >= "
                               "millrace.id_floor(now() - interval '1 hour')"),
        2);
    mr_pg_close(&reader);
}
END_TEST

/* An auditor is granted two tables, and can verify. */
START_TEST(an_auditor_verifies)
{
    char line[1024];

    pg_fixture_text(rig.pg, "select millrace.audit_add('drain')");
    snprintf(line, sizeof line, "$0 audit verify --database '%s'", as("nobody1"));
    runs(77, line);
    pg_fixture_text(rig.pg, "grant usage on schema millrace to nobody1");
    pg_fixture_text(
        rig.pg, "grant select on millrace.audit, millrace.audit_head to nobody1");
    runs(0, line);
    shows("OK: 1 entries");
    pg_fixture_text(rig.pg, "drop owned by nobody1");
}
END_TEST

/* ---- what they may not ----------------------------------------------------------------------------- */

/* One thing that is tried with each table; `letter` stands for it below. */
static const struct {
    char letter;
    const char *sql; /* with the table's name and, perhaps, a column of it */
} deeds[] = {
    {'S', "select t.* from millrace.%1$s t limit 0"},
    {'I', "insert into millrace.%1$s default values"},
    {'U', "update millrace.%1$s set %2$s = %2$s where false"},
    {'D', "delete from millrace.%1$s where false"},
    {'T', "truncate millrace.%1$s"},
    {'X', "drop table millrace.%1$s cascade"},
    {'A', "alter table millrace.%1$s add column x int"},
    {'N', "alter table millrace.%1$s rename to other"},
    {'O', "alter table millrace.%1$s owner to current_user"},
    /* (Only a warning tells that it had no effect.) */
    {'G', "do $$ begin grant select, insert on millrace.%1$s to public; if not "
          "has_table_privilege('nobody1', 'millrace.%1$s', 'select') then raise "
          "insufficient_privilege; end if; end $$"},
    {'Y', "alter table millrace.%1$s disable trigger all"},
    {'R', "create rule r as on insert to millrace.%1$s do instead nothing"},
    {'L', "lock table millrace.%1$s in access exclusive mode"},
    {'F', "create table public.f (x uuid references millrace.%1$s)"},
};

static const struct {
    const char *name, *column;
    const char *broker, *worker; /* letters of what they may; a reader may nothing */
} tables[] = {
    {"job", "id", "SI", ""},
    {"attempt", "id", "SI", "S"},
    {"result", "outcome", "SI", "SI"},
    {"result", "body", "SI", "SI"},
    {"inbox", "kind", "SIDL", "I"},
    {"shard", "epoch", "SIUL", ""},
    {"queue", "paused", "SIUL", ""},
    {"kind", "name", "SI", ""},
    {"migration", "digest", "S", "S"},
    {"audit", "principal", "", ""},
    {"audit", "hash", "", ""},
    {"audit_head", "hash", "", ""},
    {"principal", "revoked_at", "S", ""},
    {"principal_key", "principal", "S", ""},
    {"principal_grant", "is_denied", "S", ""},
    {"rights", "version", "S", ""},
    {"job_rest", "id", "", ""},
    {"attempt_rest", "id", "", ""},
    {"result_rest", "id", "", ""},
    {"job_today", "id", "", ""},
    {"attempt_today", "id", "", ""},
    {"result_today", "id", "", ""},
};

/* Also what no table is meant by. */
static const struct {
    const char *roles; /* who tries: b, w, r */
    const char *sql;
} others[] = {
    {"bwr", "set role millrace_owner"},
    {"wr", "set role millrace_broker"},
    {"br", "set role millrace_worker"},
    {"bw", "set role millrace_reader"},
    {"bwr", "set session authorization millrace"},
    {"bwr", "grant millrace_owner to current_user"},
    {"bwr", "grant millrace_worker to nobody1"},
    {"bwr", "alter role current_user superuser"},
    {"bwr", "alter role millrace_owner login"},
    {"bwr", "create role mallory"},
    {"bwr", "create database mallory"},
    {"bwr", "create schema mallory"},
    {"bwr", "create table public.mallory (id int)"},
    {"bwr", "create table millrace.mallory (id int)"},
    {"bwr", "create view millrace.mallory as select 1"},
    {"bwr", "create function millrace.mallory() returns int language sql return 1"},
    {"bwr", "create or replace function millrace.fence(integer, bigint) returns void "
            "language sql as 'select'"},
    {"bwr", "alter function millrace.audit_hash(millrace.audit) security invoker"},
    {"bwr", "drop function millrace.new_id() cascade"},
    {"bwr", "drop schema millrace cascade"},
    {"bwr", "alter schema millrace rename to other"},
    {"bwr", "drop view millrace.jobs cascade"},
    {"bwr", "alter default privileges for role millrace_owner grant all on tables to "
            "public"},
    {"bwr", "set session_replication_role = replica"},
    {"bwr", "alter system set archive_command = 'x'"},
    {"bwr", "copy (select 1) to program 'true'"},
    {"bwr", "copy (select 1) to '/tmp/millrace-mallory'"},
    {"bwr", "select pg_read_file('postgresql.conf')"},
    {"bwr", "select pg_ls_dir('.')"},
    {"bwr", "select lo_import('/etc/passwd')"},
    {"bwr", "select pg_reload_conf()"},
    {"bwr", "select pg_switch_wal()"},
    {"bwr", "select * from pg_authid"},
    {"bwr", "select * from pg_hba_file_rules"},
    {"bwr", "create event trigger e on ddl_command_start execute function "
            "millrace.audit_refuse()"},
    {"bwr", "select count(pg_terminate_backend(pid)) from pg_stat_activity where "
            "application_name = 'rig'"},
    {"bwr", "select count(pg_cancel_backend(pid)) from pg_stat_activity where "
            "application_name = 'rig'"},
    /* The owner's functions. */
    {"wr", "select millrace.audit_add('x')"},
    {"wr", "select millrace.fence(0, 1)"},
    {"wr", "select millrace.days_make(3)"},
    {"wr", "select millrace.day_drop(current_date, 1, 0)"},
    {"wr", "select millrace.rest_sweep(1)"},
    {"wr", "select millrace.end_sessions('{mr:x}')"},
    {"wr", "select millrace.principal_add('mallory', null, 'administrator', null, null)"},
    {"wr", "select millrace.principal_grant_put('anyone', 'administrator', false, null, "
           "null, null)"},
    {"wr", "select millrace.principal_revoke('local', true)"},
    {"wr", "select * from millrace.principals"},
    {"br", "select millrace.finish(gen_random_uuid(), 1, 'x', now(), now(), null)"},
    {"r", "select millrace.new_id()"},
    {"r", "insert into millrace.inbox (kind) values ('test.noop')"},
    {"w", "select payload from millrace.job limit 0"},
    {"w", "select count(*) from millrace.jobs"},
    {"w", "select id from millrace.inbox limit 0"},
    {"w", "delete from millrace.result where id = gen_random_uuid()"},
    {"w", "insert into millrace.result (id, finished_at, attempt, outcome) values "
          "(gen_random_uuid(), now(), 1, 1) on conflict (id) do update set body = "
          "excluded.body"},
    {"w", "merge into millrace.result r using (select gen_random_uuid() as id) s on r.id "
          "= s.id when matched then update set body = null"},
    {"w", "insert into millrace.result (id, finished_at, attempt, outcome, error, "
          "reason) values (gen_random_uuid(), now(), 1, 2, 'x', 1)"},
    {"w", "select id from millrace.result for update"},
    {"w", "insert into millrace.job (id, submitted_at, shard, priority, queue, kind) "
          "values (gen_random_uuid(), now(), 0, 4, 'q', 'k')"},
    {"bwr", "insert into millrace.audit (at, action, decision, count) values (now(), "
            "'x', 'allowed', 1)"},
};

/* In a transaction that is rolled back, where that can be. */
static bool
is_refused(struct mr_pg *pg, const char *sql)
{
    bool is_alone =
        strncmp(sql, "create database", 15) == 0 || strncmp(sql, "alter system", 12) == 0;
    struct mr_err err = {0};
    bool is_refused;

    if (!is_alone)
        ck_ok(mr_pg_begin(pg, &err), err);
    (void)!mr_pg_run(pg, sql, 0, NULL, NULL, &err);
    is_refused = strcmp(mr_pg_sqlstate(pg), "42501") == 0;
    mr_pg_rollback(pg);
    return is_refused;
}

static void
try_tables(struct mr_pg *pg, size_t table, const char *may, int *refused)
{
    char name[64], day[16], sql[512];

    snprintf(day, sizeof day, "%s",
        pg_fixture_text(pg, "select to_char(now() at time zone 'UTC', 'YYYYMMDD')"));
    snprintf(name, sizeof name, "%s", tables[table].name);
    if (strstr(name, "today"))
        snprintf(strstr(name, "today"), 16, "%s", day);
    for (size_t i = 0; i < sizeof deeds / sizeof *deeds; i++) {
        bool is_allowed = strchr(may, deeds[i].letter) != NULL;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(sql, sizeof sql, deeds[i].sql, name, tables[table].column);
#pragma GCC diagnostic pop
        ck_assert_msg(is_refused(pg, sql) != is_allowed, "%s is %s", sql,
            is_allowed ? "refused" : "not refused");
        *refused += !is_allowed;
    }
}

START_TEST(a_stolen_login)
{
    static const char *const logins[] = {"b1", "w1", "r1"};
    const char *login = logins[_i];
    struct mr_pg *pg = open_as(login, "mallory");
    int refused = 0;

    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        try_tables(pg, i,
            login[0] == 'b'   ? tables[i].broker
            : login[0] == 'w' ? tables[i].worker
                              : "",
            &refused);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (!strchr(others[i].roles, login[0]))
            continue;
        ck_assert_msg(is_refused(pg, others[i].sql), "%s: %s is not refused (%s)", login,
            others[i].sql, mr_pg_sqlstate(pg));
        refused++;
    }
    ck_assert_int_ge(refused, 200);
    mr_pg_close(&pg);
}
END_TEST

/* The broker's way to end sessions ends those of workers, and no others. */
START_TEST(only_sessions_of_workers_are_ended)
{
    struct mr_pg *broker = open_as("b1", "broker");
    struct mr_pg *worker = open_as("w1", "mr:0123"), *reader = open_as("r1", "mr:0123");
    struct mr_pg *person = open_as("millrace", "mr:0123");
    struct mr_pg *tool = open_as("w1", "psql");

    ck_assert_int_eq(
        pg_fixture_int(broker, "select millrace.end_sessions('{mr:0123,psql}')"), 1);
    rig_wait_int(&rig,
        "select count(*) from pg_stat_activity where application_name in ('mr:0123', "
        "'psql') and datname = current_database()",
        3);
    ck_assert_int_eq(pg_fixture_int(reader, "select 1"), 1);
    ck_assert_int_eq(pg_fixture_int(person, "select 1"), 1);
    ck_assert_int_eq(pg_fixture_int(tool, "select 1"), 1);
    mr_pg_close(&broker);
    mr_pg_close(&worker);
    mr_pg_close(&reader);
    mr_pg_close(&person);
    mr_pg_close(&tool);
}
END_TEST

/* Of a day that is not over nothing is dropped, whatever the broker says. */
START_TEST(no_day_is_dropped_before_its_time)
{
    struct mr_pg *broker = open_as("b1", "broker");
    struct mr_err err = {0};

    ck_status(mr_pg_run(broker, "select millrace.day_drop(current_date, -100, 1000000)",
                  0, NULL, NULL, &err),
        MR_BAD_ARGUMENT);
    ck_status(mr_pg_run(broker, "select millrace.day_drop(current_date - 1, 0, 1000000)",
                  0, NULL, NULL, &err),
        MR_BAD_ARGUMENT);
    ck_assert_int_le(pg_fixture_int(broker, "select millrace.days_make(1000000)"), 33);
    mr_pg_close(&broker);
}
END_TEST

/* ---- how they were made ------------------------------------------------------------------------------ */

START_TEST(all_belongs_to_the_owner_and_every_function_has_its_path)
{
    ck_assert_str_eq(pg_fixture_text(rig.pg,
                         "select string_agg(p.oid::regprocedure::text, ', ') from "
                         "pg_proc p where p.pronamespace = 'millrace'::regnamespace "
                         "and p.prosqlbody is null and not exists (select from "
                         "unnest(p.proconfig) c where c like 'search_path=%')"),
        "");
    ck_assert_str_eq(pg_fixture_text(rig.pg,
                         "select string_agg(p.oid::regprocedure::text, ', ') from "
                         "pg_proc p where p.pronamespace = 'millrace'::regnamespace "
                         "and has_function_privilege('nobody1', p.oid, 'execute')"),
        "");
    ck_assert_str_eq(pg_fixture_text(rig.pg,
                         "select string_agg(p.oid::regprocedure::text, ', ') from "
                         "pg_proc p where p.pronamespace = 'millrace'::regnamespace "
                         "and p.proowner <> 'millrace_owner'::regrole"),
        "");
    ck_assert_str_eq(
        pg_fixture_text(rig.pg, "select string_agg(c.relname, ', ') from pg_class c "
                                "where c.relnamespace = 'millrace'::regnamespace and "
                                "c.relowner <> 'millrace_owner'::regrole"),
        "");
    ck_assert_str_eq(
        pg_fixture_text(rig.pg, "select string_agg(rolname, ', ') from pg_roles where "
                                "rolname like 'millrace\\_%' and (rolcanlogin or "
                                "rolsuper or rolcreaterole or rolcreatedb or "
                                "rolbypassrls or rolreplication)"),
        "");
}
END_TEST

static enum mr_status
migrate_as(const char *user, const char *database, struct mr_err *err)
{
    char conninfo[700];
    struct mr_pg *pg = NULL;
    enum mr_status status;
    int applied = 0;

    snprintf(conninfo, sizeof conninfo, "%s dbname=%s", as(user), database);
    ck_ok(mr_pg_open(&pg, conninfo, "migrate", err), *err);
    status = mr_migrate(pg, "millrace", &applied, err);
    if (status == MR_OK)
        status = mr_migrate(pg, "ride", &applied, err);
    mr_pg_close(&pg);
    return status;
}

/* Who is no superuser: told what an administrator has to do; then it works, and again. */
START_TEST(who_migrates_may_be_an_ordinary_user)
{
    struct mr_err err = {0};
    struct mr_pg *pg = open_as("mig1", "test");
    char sql[128], database[64];

    snprintf(database, sizeof database, "mig%ld", (long)getpid());
    snprintf(sql, sizeof sql, "create database %s", database);
    pg_fixture_text(pg, sql);
    mr_pg_close(&pg);
    ck_status(migrate_as("mig1", database, &err), MR_DENIED);
    ck_assert_ptr_nonnull(strstr(err.why, "mig1 is not a member of millrace_owner"));
    ck_assert_ptr_nonnull(strstr(err.todo, "grant millrace_owner to mig1"));
    pg_fixture_text(rig.pg, "alter role millrace_worker rename to millrace_away");
    ck_status(migrate_as("mig1", database, &err), MR_DENIED);
    ck_assert_ptr_nonnull(strstr(err.why, "millrace_worker does not exist"));
    ck_assert_ptr_nonnull(strstr(err.todo, "create role millrace_worker;"));
    pg_fixture_text(rig.pg, "alter role millrace_away rename to millrace_worker");
    pg_fixture_text(rig.pg, "grant millrace_owner to mig1");
    /* The pack's role is new in this cluster. */
    (void)!migrate_as("mig1", database, &err);
    ck_assert_ptr_nonnull(strstr(err.todo, "create role millrace_ride;"));
    pg_fixture_text(rig.pg, "alter role mig1 createrole");
    ck_ok(migrate_as("mig1", database, &err), err);
    pg_fixture_text(rig.pg, "alter role mig1 nocreaterole");
    ck_ok(migrate_as("mig1", database, &err), err);
    snprintf(sql, sizeof sql, "drop database %s", database);
    pg_fixture_text(rig.pg, sql);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("51_roles");
    TCase *cases = tcase_create("roles");
    char file[64];

    snprintf(file, sizeof file, "/tmp/millrace-roles-%ld.jsonl", (long)getpid());
    if (setenv("JOBS_FILE", file, 1) != 0)
        return 1;
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, everything_works);
    tcase_add_test(cases, a_reader_reads);
    tcase_add_test(cases, an_auditor_verifies);
    tcase_add_loop_test(cases, a_stolen_login, 0, 3);
    tcase_add_test(cases, only_sessions_of_workers_are_ended);
    tcase_add_test(cases, no_day_is_dropped_before_its_time);
    tcase_add_test(cases, all_belongs_to_the_owner_and_every_function_has_its_path);
    tcase_add_test(cases, who_migrates_may_be_an_ordinary_user);
    suite_add_tcase(suite, cases);
    return pg_fixture_run(suite, NULL);
}
