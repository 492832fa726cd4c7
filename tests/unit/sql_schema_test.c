/* What the schema does by itself: payloads as JSON, views, ids, plans; on a real server. */
#include "schemas/sql/stmt.h"

#include <stdio.h>
#include <stdlib.h>

#include "schemas/base/clock.h"
#include "tests/support/pg_fixture.h"

static struct mr_pg *pg;

static void
setup(void)
{
    pg_fixture_database(true);
    pg = pg_fixture_open("test");
}

static void
teardown(void)
{
    mr_pg_close(&pg);
}

/* ---- msgpack: bytes by hand from the specification (spec.md), numbers from IEEE 754 ------------ */

static const struct {
    const char *hex, *json; /* NULL: null, it is not one whole value of ours */
} values[] = {
    {"00", "0"}, {"7f", "127"}, {"e0", "-32"}, {"ff", "-1"}, {"c0", "null"},
    {"c2", "false"}, {"c3", "true"}, {"ccff", "255"}, {"cdffff", "65535"},
    {"ceffffffff", "4294967295"}, {"cfffffffffffffffff", "18446744073709551615"},
    {"d080", "-128"}, {"d18000", "-32768"}, {"d280000000", "-2147483648"},
    {"d38000000000000000", "-9223372036854775808"}, {"d30000000000000001", "1"},
    {"ca3fc00000", "1.5"}, {"cabf800000", "-1"}, {"cb3ff8000000000000", "1.5"},
    {"cb400921fb54442d18", "3.141592653589793"}, {"cb0000000000000000", "0"},
    {"cb7ff0000000000000", "\"Infinity\""}, {"cbfff0000000000000", "\"-Infinity\""},
    {"cb7ff8000000000000", "\"NaN\""}, {"ca7f800000", "\"Infinity\""}, {"a0", "\"\""},
    {"a568656c6c6f", "\"hello\""}, {"d903e282ac", "\"\xe2\x82\xac\""},
    {"da000122", "\"\\\"\""}, {"db0000000178", "\"x\""},
    {"c403000102", "\"\\\\x000102\""}, {"c50001ff", "\"\\\\xff\""},
    {"c600000000", "\"\\\\x\""}, {"90", "[]"}, {"93010203", "[1, 2, 3]"},
    {"dc000201c0", "[1, null]"}, {"dd0000000101", "[1]"}, {"80", "{}"},
    {"82a16101a1629102", "{\"a\": 1, \"b\": [2]}"}, {"de0001a16101", "{\"a\": 1}"},
    {"df00000001a16101", "{\"a\": 1}"}, {"810102", "{\"1\": 2}"},
    {"81c402abcd01", "{\"\\\\xabcd\": 1}"},
    /* Sealed (the first of schemas/wire/vectors/seal), and what only looks like it. */
    {"c73153017096ce09a3ccc02f61e0b06a6accf9e80a537fc43aa9abcd37f3af9b4b8c38375d2513f0e34"
     "6aa"
     "03842ea7d581881725",
        "{\"sealed\": \"7096ce09a3ccc02f\"}"},
    {"c8010053017096ce09a3ccc02f000000", "{\"sealed\": \"7096ce09a3ccc02f\"}"},
    {"c90001000053017096ce09a3ccc02f00", "{\"sealed\": \"7096ce09a3ccc02f\"}"},
    {"c73153017096ce09a3ccc02f000000", NULL}, {"c73153027096ce09a3ccc02f61e0b06a", NULL},
    {"c73152017096ce09a3ccc02f61e0b06a", NULL},
    {"c63153017096ce09a3ccc02f61e0b06a", NULL},
    /* Not one whole value. */
    {"", NULL}, {"c1", NULL}, {"cc", NULL}, {"cfff", NULL}, {"a5686c", NULL},
    {"93", NULL}, {"9301", NULL}, {"81a161", NULL}, {"0000", NULL}, {"c404ff", NULL},
    {"dbffffffff", NULL}, {"ddffffffff", NULL}, {"d40102", NULL}, /* ext */
    {"c7010203", NULL}, {"a1ff", NULL},                           /* not UTF-8 */
    {"a100", NULL}, /* JSON in SQL has no NUL */
};

START_TEST(msgpack_is_shown_as_json)
{
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct pg_result *result = NULL;
        struct mr_err err = {0};
        const char *params[] = {values[i].hex};
        const char *got;

        ck_ok(mr_pg_run(pg, "select millrace.msgpack_to_jsonb(decode($1, 'hex'))::text",
                  1, params, &result, &err),
            err);
        got = mr_pg_text(result, 0, 0);
        if (values[i].json)
            ck_assert_msg(got && strcmp(got, values[i].json) == 0, "%s: %s, not %s",
                values[i].hex, got ? got : "null", values[i].json);
        else
            ck_assert_msg(!got, "%s: %s, not null", values[i].hex, got);
        mr_pg_free_result(&result);
    }
}
END_TEST

/* 32 levels and one more. */
START_TEST(nesting_is_bounded)
{
    ck_assert_str_eq(
        pg_fixture_text(pg, "select millrace.msgpack_to_jsonb(decode(repeat('91', 32) || "
                            "'01', 'hex')) is not null"),
        "t");
    ck_assert_str_eq(
        pg_fixture_text(pg, "select millrace.msgpack_to_jsonb(decode(repeat('91', 33) || "
                            "'01', 'hex')) is null"),
        "t");
}
END_TEST

/* Whatever the bytes are, a view must not raise. */
START_TEST(no_bytes_raise)
{
    ck_assert_int_eq(
        pg_fixture_int(pg,
            "select count(*) from (select millrace.msgpack_to_jsonb(substring(sha256("
            "int4send(n)) from 1 for n % 32)) from generate_series(1, 5000) n) x"),
        5000);
}
END_TEST

/* ---- ids ------------------------------------------------------------------------------------------------ */

START_TEST(ids_made_by_sql_are_ours)
{
    struct mr_now now = mr_clock_now();
    struct mr_uuid id;

    ck_status(
        mr_uuid_parse(mr_span_str(pg_fixture_text(pg, "select millrace.new_id()")), &id),
        MR_OK);
    ck_assert(mr_uuid_is_v7(id));
    ck_assert_int_ge(mr_uuid_ms(id), now.wall_us / 1000);
    ck_assert_int_lt(mr_uuid_ms(id), now.wall_us / 1000 + 60000);
    /* RFC 9562, appendix A.6 */
    ck_assert_int_eq(pg_fixture_int(pg,
                         "select millrace.id_ms('017f22e2-79b0-7cc3-98c4-dc0c0c07398f')"),
        INT64_C(1645557742000));
    ck_assert_str_eq(
        pg_fixture_text(
            pg, "select millrace.id_floor('2022-02-22 14:22:22.00-05'::timestamptz)"),
        "017f22e2-79b0-0000-0000-000000000000");
}
END_TEST

/* ---- views ------------------------------------------------------------------------------------------- */

static const char states_sql[] =
    "select string_agg(kind || ' ' || state || ' ' || attempts || ' ' || "
    "coalesce(error, '-'), ', ' order by kind) from millrace.jobs";

START_TEST(views_say_it_in_words)
{
    pg_fixture_text(pg,
        "insert into millrace.job (id, submitted_at, shard, priority, queue, "
        "kind) select millrace.new_id(), now(), 0, 4, 'q', 'k' || n from "
        "generate_series(0, 5) n");
    pg_fixture_text(pg,
        "insert into millrace.result (id, finished_at, attempt, outcome, "
        "error, body) select id, now(), 2, right(kind, 1)::int, 'e', '\\x01' "
        "from millrace.job where kind between 'k1' and 'k4'");
    pg_fixture_text(pg,
        "insert into millrace.attempt (id, attempt, outcome, error) select "
        "id, n, n, 'a' || n from millrace.job, generate_series(1, 5) n "
        "where kind = 'k5'");
    ck_assert_str_eq(pg_fixture_text(pg, states_sql),
        "k0 waiting 0 -, k1 succeeded 2 -, k2 failed 2 e, k3 cancelled 2 e, k4 expired 2 "
        "e, "
        "k5 retrying 5 a5");
    ck_assert_str_eq(
        pg_fixture_text(pg, "select string_agg(outcome, ', ' order by attempt) from "
                            "millrace.attempts"),
        "failed, lost, timed out, snoozed, crashed");
    pg_fixture_text(pg, "insert into millrace.queue (name, paused) values ('z', true)");
    ck_assert_str_eq(pg_fixture_text(pg,
                         "select string_agg(queue || ' ' || unfinished || ' ' || paused, "
                         "', ' order by queue) from millrace.queues"),
        "q 2 false, z 0 true");
}
END_TEST

/* The words of the views are those of the enum. */
START_TEST(words_are_the_same_everywhere)
{
    for (int i = 1; i <= 4; i++) {
        char sql[64];

        snprintf(sql, sizeof sql, "select millrace.outcome_word(%d::smallint)", i);
        ck_assert_str_eq(pg_fixture_text(pg, sql), mr_outcome_name((enum mr_outcome)i));
    }
}
END_TEST

START_TEST(everything_is_explained)
{
    ck_assert_str_eq(
        pg_fixture_text(pg,
            "select string_agg(relname, ' ') from pg_class c where relnamespace = "
            "'millrace'::regnamespace and relkind in ('r', 'p', 'v') and not "
            "relispartition "
            "and obj_description(oid, 'pg_class') is null"),
        "");
}
END_TEST

/* ---- plans -------------------------------------------------------------------------------------------- */

/* With tables that are filled but were never analysed. */
static void
must_use_index(struct mr_pg *session, const char *call)
{
    struct pg_result *result = NULL;
    struct mr_err err = {0};
    char sql[512];

    snprintf(sql, sizeof sql, "explain %s", call);
    ck_ok(mr_pg_run(session, sql, 0, NULL, &result, &err), err);
    for (int i = 0; i < mr_pg_rows(result); i++) {
        const char *line = mr_pg_text(result, i, 0);

        ck_assert_msg(!strstr(line, "Seq Scan on") && !strstr(line, "Hash Join") &&
                          !strstr(line, "Hash Anti Join"),
            "%s: %s", call, line);
    }
    mr_pg_free_result(&result);
}

START_TEST(hot_statements_use_the_keys)
{
    static const char id[] = "'{017f22e2-79b0-7cc3-98c4-dc0c0c07398f}'";
    struct mr_store *store = pg_fixture_store(NULL);
    struct mr_err err = {0};
    char sql[256];

    mr_pg_close(&pg);
    pg = pg_fixture_open("test");
    pg_fixture_text(pg,
        "insert into millrace.job (id, submitted_at, shard, priority, queue, "
        "kind) select millrace.new_id(), now(), 0, 4, 'q', 'k' from "
        "generate_series(1, 20000) n");
    pg_fixture_text(pg, "insert into millrace.result (id, finished_at, attempt, outcome) "
                        "select id, now(), 1, 1 from millrace.job");
    ck_ok(mr_stmt_prepare(pg, MR_STMT_STORE, &err), err);
    ck_ok(mr_stmt_prepare(pg, MR_STMT_BATCH, &err), err);
    pg_fixture_text(pg, "set plan_cache_mode = force_generic_plan");
    snprintf(sql, sizeof sql, "execute %s ('{0}', %s, 1000000)",
        mr_stmt_name(MR_STMT_FIND), id);
    must_use_index(pg, sql);
    snprintf(sql, sizeof sql,
        "execute %s ('{0}', %s, '{q}', '{k}', '{x}', '{o}', 1000000)",
        mr_stmt_name(MR_STMT_JUDGE_JOBS), id);
    must_use_index(pg, sql);
    snprintf(sql, sizeof sql, "execute %s (%s, '{1}', '{w}', '{null}', '{null}', '{x}')",
        mr_stmt_name(MR_STMT_FINISH_MANY), id);
    must_use_index(pg, sql);
    snprintf(
        sql, sizeof sql, "execute %s (millrace.new_id())", mr_stmt_name(MR_STMT_IS_JOB));
    must_use_index(pg, sql);
    /* The rest runs in the writer's session only. */
    pg_fixture_text(pg, "set enable_seqscan = off");
    pg_fixture_text(pg, "set enable_hashjoin = off");
    pg_fixture_text(pg, "set enable_mergejoin = off");
    snprintf(sql, sizeof sql, "execute %s (%s)", mr_stmt_name(MR_STMT_READ), id);
    must_use_index(pg, sql);
    snprintf(sql, sizeof sql,
        "execute %s (0, millrace.new_id(), 1000, true, millrace.new_id())",
        mr_stmt_name(MR_STMT_LOAD));
    must_use_index(pg, sql);
    snprintf(sql, sizeof sql, "execute %s (0, 1, 1000)", mr_stmt_name(MR_STMT_RAISE));
    must_use_index(pg, sql);
    snprintf(sql, sizeof sql, "execute %s (null, null, null, null, null, 10, 'o')",
        mr_stmt_name(MR_STMT_LIST));
    must_use_index(pg, sql);
    snprintf(sql, sizeof sql, "execute %s (millrace.new_id(), 'o')",
        mr_stmt_name(MR_STMT_SHOW));
    must_use_index(pg, sql);
    mr_store_close(&store);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("sql/schema");
    TCase *tcase = tcase_create("schema");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, msgpack_is_shown_as_json);
    tcase_add_test(tcase, nesting_is_bounded);
    tcase_add_test(tcase, no_bytes_raise);
    tcase_add_test(tcase, ids_made_by_sql_are_ours);
    tcase_add_test(tcase, views_say_it_in_words);
    tcase_add_test(tcase, words_are_the_same_everywhere);
    tcase_add_test(tcase, everything_is_explained);
    tcase_add_test(tcase, hot_statements_use_the_keys);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
