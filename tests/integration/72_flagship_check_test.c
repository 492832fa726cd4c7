/*
 * The checker against a real database: one that is right passes, and each kind of damage turns
 * exactly the check red that is for it. Expected routes of the grid are worked out by hand.
 */
#include "client/cluster.h"
#include "schemas/sql/migrate.h"
#include "tests/flagship/check.h"

#include <check.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct mr_cluster *cluster;
static struct mr_pg *pg;
static struct mr_road *road;
static struct mr_err err;
static char log_path[] = "/tmp/check_test_XXXXXX";

/*
 * Two streets in a row, 1,000 m and 2,020 m at 10 m/s: 302,000 ms and 302,000 cm; 3,020 m cost
 * 4.30 + 8.40 + 0.052 = 12.75 EUR. From b alone: 202,000 of both, 4.30 + 5.656 = 9.96 EUR.
 */
static const char map[] =
    "<net><edge id=\"a\"><lane id=\"a_0\" index=\"0\" length=\"1000\" "
    "speed=\"10\"/></edge>"
    "<edge id=\"b\"><lane id=\"b_0\" index=\"0\" length=\"2020\" speed=\"10\"/></edge>"
    "<connection from=\"a\" to=\"b\" fromLane=\"0\" toLane=\"0\"/></net>";

/* A database as a good run leaves it. Ids are readable: ride 1 is ...0001, its jobs 11 to 15. */
static const char *const fixture[] = {
    "create schema t",
    "create function t.id(n int) returns uuid language sql as"
    " $$ select ('01900000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid $$",
    "create function t.str(s text) returns bytea language sql as $$ select"
    " decode('d9' || lpad(to_hex(octet_length(s)), 2, '0'), 'hex') || convert_to(s, "
    "'UTF8') $$",
    "create function t.int(n bigint) returns bytea language sql as"
    " $$ select decode('ce' || lpad(to_hex(n), 8, '0'), 'hex') $$",
    "create function t.map(variadic v bytea[]) returns bytea language sql as $$ select"
    " decode(to_hex(128 + cardinality(v) / 2), 'hex') || string_agg(x, ''::bytea order "
    "by n)"
    " from unnest(v) with ordinality as u(x, n) $$",
    "create function t.job(n int, kind text, payload bytea, body bytea, attempt int "
    "default 1,"
    " outcome int default 1) returns void language sql as $$"
    " insert into millrace.job (id, submitted_at, shard, priority, queue, kind, payload)"
    " values (t.id(n), '2026-01-01', 0, 4, 'default', kind, payload);"
    " insert into millrace.result (id, started_at, finished_at, attempt, outcome, body)"
    " values (t.id(n), '2026-01-01', '2026-01-01 00:00:00.005', attempt, outcome, body) "
    "$$",
    "create function t.request(n int, ride int, key text, from_edge text, outcome int "
    "default 1,"
    " is_repeat boolean default false) returns void language sql as $$"
    " select t.job(n, 'ride.request', t.map(t.str('rider'), t.str('ann'), t.str('key'),"
    " t.str(key), t.str('from'), t.str(from_edge), t.str('to'), t.str('b')), case when "
    "outcome"
    " = 1 then t.map(t.str('ride'), t.str(t.id(ride)::text), t.str('is_repeat'),"
    " decode(case when is_repeat then 'c3' else 'c2' end, 'hex')) end, 1, outcome) $$",
    "create function t.ride(n int, from_edge text, ms bigint, fare bigint, since "
    "timestamptz)"
    " returns void language sql as $$"
    " select t.request(n, n, 'k' || n, from_edge);"
    " select t.job(n * 10 + 1, 'route.plan', null, t.map(t.str('ms'), t.int(ms), "
    "t.str('cm'),"
    " t.int(ms)));"
    " select t.job(n * 10 + 2, 'ride.match', null, null, 3);"
    " select t.job(n * 10 + 3, 'fare.quote', null, t.map(t.str('cents'), t.int(fare)));"
    " select t.job(n * 10 + 4, 'pay.charge', null, null, 2);"
    " select t.job(n * 10 + 5, 'ride.finish', null, null);"
    " insert into ride.ride (id, rider, request_key, class, from_edge, to_edge, speed,"
    " patience_ms, requested_at, state, vehicle_id, matched_at, pickup_ms, route_ms, "
    "route_cm,"
    " tariff, fare_cents, charge_id) values (t.id(n), 'ann', 'k' || n, 'bus', from_edge, "
    "'b', 1,"
    " 1000, since, 'done', 'v1', since, 0, ms, ms, 'berlin', fare, 'ch_' || n);"
    " insert into ride.event (ride_id, n, state, at, job, attempt, follow_ups) values"
    " (t.id(n), 1, 'requested', since, t.id(n), 1, array[t.id(n * 10 + 1), t.id(n * 10 + "
    "2)]),"
    " (t.id(n), 2, 'matched', since + '1 s', t.id(n * 10 + 2), 3,"
    " array[t.id(n * 10 + 3), t.id(n * 10 + 4)]),"
    " (t.id(n), 3, 'charged', since + '2 s', t.id(n * 10 + 4), 2, array[t.id(n * 10 + "
    "5)]),"
    " (t.id(n), 4, 'done', since + '9 s', t.id(n * 10 + 5), 1, '{}');"
    " insert into ride.ledger_entry (txn, account, cents, ride_id) values"
    " (t.id(n * 10 + 5), 'rider:ann', -fare, t.id(n)),"
    " (t.id(n * 10 + 5), 'driver:v1', fare - fare / 5, t.id(n)),"
    " (t.id(n * 10 + 5), 'commission', fare / 5, t.id(n)) $$",
    "create function t.fill() returns void language plpgsql as $$ begin"
    " truncate millrace.job, millrace.result, millrace.attempt, millrace.inbox,"
    " ride.vehicle, ride.ride, ride.event, ride.ledger_entry;"
    " insert into ride.vehicle values ('v1', 'bus', 'b'), ('v2', 'bus', 'a');"
    " perform t.ride(1, 'a', 302000, 1275, '2026-01-01 10:00Z');"
    " perform t.ride(2, 'b', 202000, 996, '2026-01-01 10:01Z');"
    " perform t.request(3, 1, 'k1', 'a', 1, true);"
    " perform t.request(4, 1, 'k1', 'b', 2); end $$",
};

static const char good_log[] = "ch_1\t01900000-0000-7000-8000-000000000001\t"
                               "01900000-0000-7000-8000-000000000001\t1275\n"
                               "ch_2\t01900000-0000-7000-8000-000000000002\t"
                               "01900000-0000-7000-8000-000000000002\t996\n";

static void
sql(const char *text)
{
    ck_assert_msg(
        mr_pg_run(pg, text, 0, NULL, NULL, &err) == MR_OK, "%s: %s", text, err.why);
}

static void
write_log(const char *text)
{
    FILE *file = fopen(log_path, "w");

    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    ck_assert_int_eq(fclose(file), 0);
}

static void
load_map(void)
{
    char path[] = "/tmp/check_test_XXXXXX";
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, map, sizeof map - 1), (int)(sizeof map - 1));
    close(fd);
    ck_assert_int_eq(mr_road_load(path, &road, &err), MR_OK);
    unlink(path);
}

static void
set_up(void)
{
    struct mr_cluster_options options = {.dir = NULL};
    int applied;

    ck_assert_msg(
        mr_cluster_start(&cluster, &options, &err) == MR_OK, "%s: %s", err.what, err.why);
    ck_assert_int_eq(mr_pg_open(&pg, mr_cluster_conninfo(cluster), "test", &err), MR_OK);
    ck_assert_msg(mr_migrate(pg, "millrace", &applied, &err) == MR_OK, "%s", err.why);
    ck_assert_msg(mr_migrate(pg, "ride", &applied, &err) == MR_OK, "%s", err.why);
    for (size_t i = 0; i < sizeof fixture / sizeof fixture[0]; i++)
        sql(fixture[i]);
    /* So that the checker, too, can be shown what the tables refuse. */
    sql("alter table ride.ledger_entry disable trigger ledger_balance");
    load_map();
    ck_assert_int_ge(mkstemp(log_path), 0);
}

static void
tear_down(void)
{
    unlink(log_path);
    mr_road_destroy(&road);
    mr_pg_close(&pg);
    mr_cluster_stop(&cluster);
}

static enum mr_status
run(struct mr_check_report *report)
{
    static const struct mr_check_phase phases[] = {
        {"calm", "k1", 1, 302000, 302000, 1275}, {"rush", "k2", 1, 202000, 202000, 996}};
    struct mr_check_input input = {.pg = pg,
        .road = road,
        .provider_log = log_path,
        .phases = phases,
        .phase_count = 2};

    return mr_check_run(&input, report, &err);
}

/* Names of the checks that are red, separated by commas. */
static const char *
red(const char *damage, const char *log)
{
    static char names[512];
    struct mr_check_report report;

    sql("select t.fill()");
    if (damage)
        sql(damage);
    write_log(log ? log : good_log);
    ck_assert_msg(run(&report) == MR_OK, "%s: %s: %s", damage, err.what, err.why);
    names[0] = '\0';
    for (uint32_t i = 0; i < report.count; i++) {
        if (report.rows[i].held)
            continue;
        ck_assert_msg(report.rows[i].worst[0] != '\0', "%s", report.rows[i].name);
        if (names[0])
            strcat(names, ",");
        strcat(names, report.rows[i].name);
    }
    ck_assert(report.held == (names[0] == '\0'));
    return names;
}

START_TEST(a_good_run_passes)
{
    struct mr_check_report report;

    ck_assert_str_eq(red(NULL, NULL), "");
    ck_assert_int_eq(run(&report), MR_OK);
    ck_assert_int_eq(report.rides_done, 2);
    ck_assert_int_eq(report.ledger_cents, 0);
    ck_assert_int_eq(report.route_ms, 504000);
    ck_assert_int_eq(report.expected_cents, 2271);
    ck_assert(report.p50_ms == 5.0);
    mr_check_print(&report, stdout);
}
END_TEST

/* The damage, and the checks that must object: no more, no fewer. */
static const struct {
    const char *damage, *red;
} controls[] = {
    {"update ride.event set at = '2026-01-01 10:01:05Z' where n = 4 and ride_id = "
     "t.id(1)",
        "double-assigned"},
    {"update ride.vehicle set ride_id = t.id(1) where id = 'v1'", "ends"},
    {"update millrace.result set body = t.map(t.str('ride'), t.str(t.id(99)::text)) where"
     " id = t.id(3)",
        "ends,fences,request keys"},
    {"update ride.ledger_entry set cents = cents + 1 where account = 'commission' and"
     " ride_id = t.id(1)",
        "ledger"},
    {"delete from ride.ledger_entry where ride_id = t.id(2)", "ledger"},
    {"update ride.ledger_entry set account = 'rider:bob' where account = 'rider:ann' and"
     " ride_id = t.id(1)",
        "ledger"},
    {"insert into ride.ledger_entry (txn, account, cents, ride_id) select t.id(98), "
     "account,"
     " cents, ride_id from ride.ledger_entry where ride_id = t.id(1)",
        "ledger"},
    {"update ride.ledger_entry set cents = case account when 'commission' then 1 else"
     " cents + 254 end where ride_id = t.id(1) and account <> 'rider:ann'",
        ""},
    {"delete from ride.event where n = 2 and ride_id = t.id(2)",
        "steps,fences,results,outbox"},
    {"update ride.event set at = '2026-01-01 09:00Z' where n = 3 and ride_id = t.id(1)",
        "steps"},
    {"update ride.event set attempt = 7 where n = 2 and ride_id = t.id(1)", "fences"},
    {"update ride.event set job = t.id(97) where n = 4 and ride_id = t.id(1)", "fences"},
    {"select t.job(96, 'ride.match', null, null)", "fences,outbox"},
    {"update millrace.result set body = t.map(t.str('ms'), t.int(1), t.str('cm'), "
     "t.int(1))"
     " where id = t.id(11)",
        "results"},
    {"update millrace.result set body = t.map(t.str('cents'), t.int(1)) where id = "
     "t.id(13)",
        "results"},
    {"select t.request(5, 1, 'k1', 'b', 1, true)", "request keys"},
    {"select t.request(5, 2, 'k1', 'a', 1, true)", "request keys"},
    {"select t.request(5, 1, 'k1', 'a', 2)", "request keys"},
    {"delete from millrace.result where id = t.id(11)", "results,outbox"},
    {"insert into millrace.inbox (kind) values ('ride.finish')", "outbox"},
    {"update ride.event set follow_ups = '{}' where n = 3 and ride_id = t.id(1)",
        "outbox"},
    {"update ride.event set follow_ups = follow_ups || t.id(95) where n = 3 and"
     " ride_id = t.id(1)",
        "outbox"},
};

START_TEST(each_damage_turns_its_check_red)
{
    const char *found = red(controls[_i].damage, NULL);

    ck_assert_msg(strcmp(found, controls[_i].red) == 0, "%s: red were %s, expected %s",
        controls[_i].damage, found, controls[_i].red);
}
END_TEST

/* Wrong in the rides and consistently so in everything that follows: only the map knows. */
START_TEST(consistent_lies_are_recomputed)
{
    ck_assert_str_eq(red("update ride.ride set route_ms = 1 where id = t.id(1);", NULL),
        "results,recomputed,calm");
    ck_assert_str_eq(red("update ride.ride set to_edge = 'a' where id = t.id(2)", NULL),
        "request keys,recomputed");
    ck_assert_str_eq(
        red("update ride.ride set from_edge = 'zz' where id = t.id(2)", NULL),
        "request keys,recomputed");
    ck_assert_str_eq(
        red("update ride.ride set class = 'rocket' where id = t.id(2)", NULL),
        "request keys,recomputed");
}
END_TEST

START_TEST(the_provider_is_compared_both_ways)
{
    char log[1024];

    snprintf(log, sizeof log, "%sch_3\t-\t01900000-0000-7000-8000-000000000002\t996\n",
        good_log);
    ck_assert_str_eq(red(NULL, log), "charged twice");
    snprintf(log, sizeof log, "%sch_3\t-\t01900000-0000-7000-8000-000000000077\t996\n",
        good_log);
    ck_assert_str_eq(red(NULL, log), "charges");
    ck_assert_str_eq(red(NULL, strchr(good_log, '\n') + 1), "charges");
    ck_assert_str_eq(
        red("update ride.ride set charge_id = 'ch_9' where id = t.id(1)", NULL),
        "charges");
    ck_assert_str_eq(
        red("update ride.ride set fare_cents = 1000 where id = t.id(1)", NULL),
        "charges,ledger,results,recomputed,calm");
    ck_assert_str_eq(red(NULL, ""), "charged twice,charges");
}
END_TEST

START_TEST(nothing_is_a_failure)
{
    ck_assert_str_eq(
        red("truncate millrace.job, millrace.result, ride.vehicle, ride.ride,"
            " ride.event, ride.ledger_entry",
            ""),
        "double-assigned,ends,charged twice,charges,ledger,steps,fences,results,request "
        "keys,"
        "outbox,recomputed,calm,rush");
    ck_assert_str_eq(
        red("truncate ride.event", NULL), "double-assigned,steps,fences,results,outbox");
    ck_assert_str_eq(red("truncate ride.ledger_entry", NULL), "ledger");
}
END_TEST

START_TEST(an_unreadable_log_is_no_pass)
{
    static const char *const logs[] = {"nonsense\n", "a\tb\tc\n", "a\tb\tc\td\n",
        "a\tb\tc\t1", "a\tb\tc\t1\td\n", "a\t\tc\t1\n"};
    struct mr_check_report report;

    sql("select t.fill()");
    for (size_t i = 0; i < sizeof logs / sizeof logs[0]; i++) {
        write_log(logs[i]);
        ck_assert_int_eq(run(&report), MR_MALFORMED);
        ck_assert(!report.held);
    }
    unlink(log_path);
    ck_assert_int_eq(run(&report), MR_NOT_FOUND);
    ck_assert(!mr_pg_in_transaction(pg));
}
END_TEST

/* What the checker looks for, the tables already refuse where they can. */
START_TEST(the_tables_defend_themselves)
{
    static const struct {
        const char *sql, *state;
    } rows[] = {
        {"update ride.ride set state = 'charged'", "23505"},
        {"update ride.ride set charge_id = 'ch_1'", "23505"},
        {"update ride.ride set vehicle_id = null", "23514"},
        {"update ride.ride set rider = 'ann', request_key = 'k'", "23505"},
        {"update ride.ledger_entry set cents = 0", "23514"},
        {"update ride.ledger_entry set cents = cents + 1 where account = 'commission'",
            "23514"},
        {"delete from ride.ledger_entry where account = 'commission'", "23514"},
        {"insert into ride.event (ride_id, n, state, job, attempt, follow_ups) values"
         " (t.id(1), 4, 'done', t.id(94), 1, '{}')",
            "23505"},
        {"insert into ride.vehicle values ('a b', 'bus', 'a')", "23514"},
        {"update ride.vehicle set ride_id = t.id(93) where id = 'v1'", "23503"},
    };

    sql("alter table ride.ledger_entry enable trigger ledger_balance");
    sql("select t.fill()");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ck_assert_msg(
            mr_pg_run(pg, rows[i].sql, 0, NULL, NULL, &err) != MR_OK, "%s", rows[i].sql);
        ck_assert_msg(strcmp(mr_pg_sqlstate(pg), rows[i].state) == 0, "%s: %s",
            rows[i].sql, mr_pg_sqlstate(pg));
    }
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("flagship/check");
    TCase *tcase = tcase_create("check");
    SRunner *runner;
    int failed;

    tcase_add_unchecked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_good_run_passes);
    tcase_add_loop_test(
        tcase, each_damage_turns_its_check_red, 0, sizeof controls / sizeof controls[0]);
    tcase_add_test(tcase, consistent_lies_are_recomputed);
    tcase_add_test(tcase, the_provider_is_compared_both_ways);
    tcase_add_test(tcase, nothing_is_a_failure);
    tcase_add_test(tcase, an_unreadable_log_is_no_pass);
    tcase_add_test(tcase, the_tables_defend_themselves);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
