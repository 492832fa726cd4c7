/*
 * The audit log, as an auditor reads it and as somebody with every right over the database would
 * falsify it: whatever is changed, missing or added shows.
 */
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROWS 9

/* Triggers keep people from mistakes; whoever owns the server goes past them. */
#define ATTACK "set session_replication_role = replica; "

static struct rig rig;
static char text[1 << 20];

static void
sql(const char *statements)
{
    struct mr_pg *pg = pg_fixture_open("attacker");
    char all[2048];

    /* As one string: several statements have no parameters. */
    snprintf(all, sizeof all, "do $attack$ begin %s end $attack$", statements);
    pg_fixture_text(pg, ATTACK "");
    pg_fixture_text(pg, all);
    mr_pg_close(&pg);
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

static void
add(int count)
{
    for (int i = 0; i < count; i++)
        pg_fixture_text(rig.pg,
            "select millrace.audit_add('pause', 'nightly', 'allowed', 'olga', "
            "'rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7', 1, 'why', 'front', 3, 7, "
            "'2026-11-24 01:49:47.000001+00')");
}

static void
set_up(void)
{
    rig_open(&rig);
    ck_assert_int_eq(setenv("MILLRACE_DATABASE", rig.conninfo, 1), 0);
}

static void
tear_down(void)
{
    rig_close(&rig);
}

START_TEST(an_empty_log_is_well)
{
    runs(0, "$0 audit verify");
    shows("OK: 0 entries, head "
          "0000000000000000000000000000000000000000000000000000000000000000\n");
    runs(0, "$0 audit list");
}
END_TEST

/* The expected hashes were made from the description of the encoding by python3's hashlib:
 *   f = lambda b: b'\0' if b is None else b'\1' + struct.pack('>I', len(b)) + b
 *   sha256(b''.join(map(f, [b'millrace audit 1', seq, at, ..., epoch, previous])))  */
START_TEST(hashes_are_those_of_another_implementation)
{
    static const char *const expected[] = {
        "39adf4e8e84c3be97906acc62b3d29a628887e3bd17a5f1e78d653e046b4f5fc",
        "626b221e8c5b334e6defd3926d04299343a84f7413a4374efb17a7af1f167488",
    };

    add(1);
    pg_fixture_text(rig.pg,
        "select millrace.audit_add(action => 'h\xc3\xa9llo', decision => 'refused', "
        "count => 100000, detail => '', source => 'x', at => '1969-12-31 "
        "23:59:59.5+00')");
    for (int i = 0; i < 2; i++) {
        char line[256];

        snprintf(line, sizeof line,
            "select encode(hash, 'hex') from millrace.audit where seq = %d", i + 1);
        ck_assert_str_eq(pg_fixture_text(rig.pg, line), expected[i]);
    }
    runs(0, "$0 audit verify");
    shows("OK: 2 entries, head ");
    shows(expected[1]);
    runs(0, "$0 audit verify -o json");
    shows("\"entries\":2");
}
END_TEST

static const struct {
    const char *attack, *said;
} attacks[] = {
    /* Each column of one row. */
    {"update millrace.audit set seq = 50 where seq = 9;", "Row 9 is missing"},
    {"update millrace.audit set at = at + interval '1 microsecond' where seq = 5;",
        "Row 5 was changed"},
    {"update millrace.audit set principal = 'mallory' where seq = 5;",
        "Row 5 was changed"},
    {"update millrace.audit set principal = null where seq = 5;", "Row 5 was changed"},
    {"update millrace.audit set principal = '' where seq = 5;", "Row 5 was changed"},
    {"update millrace.audit set key = reverse(key) where seq = 5;", "Row 5 was changed"},
    {"update millrace.audit set action = 'resume' where seq = 5;", "Row 5 was changed"},
    {"update millrace.audit set object = 'nightly ' where seq = 5;", "Row 5 was changed"},
    {"update millrace.audit set decision = 'refused' where seq = 5;",
        "Row 5 was changed"},
    {"update millrace.audit set count = 2 where seq = 5;", "Row 5 was changed"},
    {"update millrace.audit set detail = null where seq = 5;", "Row 5 was changed"},
    {"update millrace.audit set source = 'back' where seq = 5;", "Row 5 was changed"},
    {"update millrace.audit set shard = 4 where seq = 5;", "Row 5 was changed"},
    {"update millrace.audit set epoch = 8 where seq = 5;", "Row 5 was changed"},
    {"update millrace.audit set previous = hash where seq = 5;",
        "Row 5 does not follow row 4"},
    {"update millrace.audit set hash = previous where seq = 5;", "Row 5 was changed"},
    /* Text that moves from one column into the next. */
    {"update millrace.audit set detail = 'wh', source = 'yfront' where seq = 5;",
        "Row 5 was changed"},
    {"update millrace.audit set detail = source, source = detail where seq = 5;",
        "Row 5 was changed"},
    {"alter table millrace.audit drop constraint audit_at_check; update "
     "millrace.audit set at = 'infinity' where seq = 5;",
        "Row 5 was changed"},
    /* Rows that are gone. */
    {"delete from millrace.audit where seq = 1;", "Row 1 is missing"},
    {"delete from millrace.audit where seq = 5;", "Row 5 is missing"},
    {"delete from millrace.audit where seq = 9;", "Row 9 should be the last one"},
    {"delete from millrace.audit;", "Row 9 should be the last one"},
    {"truncate millrace.audit;", "Row 9 should be the last one"},
    {"delete from millrace.audit where seq = 5; update millrace.audit set seq = seq - 1 "
     "where seq = 6;",
        "Row 5 does not follow row 4"},
    /* Exchanged: all but their numbers. */
    {"update millrace.audit a set hash = b.hash, previous = b.previous, at = b.at from "
     "millrace.audit b where (a.seq, b.seq) in ((4, 5), (5, 4));",
        "Row 4 does not follow row 3"},
    {"update millrace.audit set seq = 100 where seq = 4; update millrace.audit set seq = "
     "4 where seq = 5; update millrace.audit set seq = 5 where seq = 100;",
        "Row 4 does not follow row 3"},
    /* Put in: at the end, before the beginning, twice, and beside another one. */
    {"insert into millrace.audit select 10, at, principal, key, action, object, "
     "decision, "
     "count, detail, source, shard, epoch, hash, hash from millrace.audit where seq = 9;",
        "Row 10 was changed"},
    {"insert into millrace.audit select 11, at, principal, key, action, object, "
     "decision, "
     "count, detail, source, shard, epoch, hash, hash from millrace.audit where seq = 9;",
        "Row 10 is missing"},
    {"insert into millrace.audit select -3, at, principal, key, action, object, "
     "decision, "
     "count, detail, source, shard, epoch, hash, hash from millrace.audit where seq = 9;",
        "Row -3 does not belong there"},
    {"alter table millrace.audit drop constraint audit_pkey; insert into millrace.audit "
     "select * from millrace.audit where seq = 5;",
        "Row 5 does not belong there"},
    /* One at the end that is right in itself, with a head that says so: only one thing is
     * left to find it, see below; with a head that does not: */
    {"insert into millrace.audit select x.* from (select (jsonb_populate_record(a, "
     "jsonb_build_object('seq', 10, 'previous', a.hash))).* from millrace.audit a where "
     "seq = 9) x; update millrace.audit a set hash = millrace.audit_hash(a) where seq = "
     "10;",
        "Row 9 should be the last one, and row 10 is"},
    /* The head. */
    {"delete from millrace.audit_head;", "which one is the last is missing"},
    {"update millrace.audit_head set hash = sha256('x');", "Row 9 is not the one"},
    {"update millrace.audit_head set seq = 8;", "Row 8 should be the last one"},
    {"delete from millrace.audit where seq = 9; update millrace.audit_head set seq = 8;",
        "Row 8 is not the one"},
};

START_TEST(what_is_falsified_is_found)
{
    add(ROWS);
    runs(0, "$0 audit verify");
    pg_fixture_text(rig.pg, "create table kept as select * from millrace.audit");
    pg_fixture_text(
        rig.pg, "create table kept_head as select * from millrace.audit_head");
    for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++) {
        sql(attacks[i].attack);
        runs(65, i % 2 ? "$0 audit verify" : "$0 audit verify -o json");
        shows("The audit log is not what was written.");
        shows(attacks[i].said);
        sql("truncate millrace.audit, millrace.audit_head; insert into millrace.audit "
            "select * from kept; insert into millrace.audit_head select * from "
            "kept_head;");
    }
    runs(0, "$0 audit verify");
}
END_TEST

/* Who can rewrite all of it, head included, cannot rewrite what was noted elsewhere. */
START_TEST(a_log_that_was_written_anew_is_found_by_its_noted_head)
{
    add(ROWS);
    runs(0, "$0 audit verify > $HEAD_FILE; cat $HEAD_FILE");
    add(1);
    runs(0, "$0 audit verify --head $(sed 's/.* //' $HEAD_FILE)");
    shows("OK: 10 entries");
    sql("update millrace.audit set principal = 'nobody' where seq = 4; "
        "for i in 4..10 loop update millrace.audit a set previous = (select b.hash from "
        "millrace.audit b where b.seq = i - 1) where seq = i; update millrace.audit a "
        "set "
        "hash = millrace.audit_hash(a) where seq = i; end loop; update "
        "millrace.audit_head set hash = (select hash from millrace.audit where seq = "
        "10);");
    runs(0, "$0 audit verify");
    runs(65, "$0 audit verify --head $(sed 's/.* //' $HEAD_FILE)");
    shows("No row has the hash that was noted");
    runs(64, "$0 audit verify --head 00ff");
    shows("64 digits");
}
END_TEST

START_TEST(nobody_changes_it_by_mistake)
{
    static const char *const tries[] = {
        "update millrace.audit set count = 2",
        "update millrace.audit set count = 2 where false",
        "delete from millrace.audit",
        "truncate millrace.audit",
        "truncate millrace.audit, millrace.audit_head",
        "delete from millrace.audit_head",
        "insert into millrace.audit_head values (false, 1, '')",
    };
    struct mr_err err = {0};

    add(2);
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        ck_status(mr_pg_run(rig.pg, tries[i], 0, NULL, NULL, &err), MR_DENIED);
        ck_assert_ptr_nonnull(strstr(err.why, "what happened stays written"));
    }
    /* Whatever an insert says, the row takes its place behind the last one. */
    pg_fixture_text(rig.pg,
        "insert into millrace.audit (seq, at, action, decision, count, previous, hash) "
        "values (77, now(), 'x', 'allowed', 1, '', '')");
    runs(0, "$0 audit verify");
    shows("OK: 3 entries");
}
END_TEST

START_TEST(more_than_one_portion_is_read)
{
    pg_fixture_text(rig.pg,
        "select count(millrace.audit_add('x', i::text)) from generate_series(1, 2500) i");
    runs(0, "$0 audit verify");
    shows("OK: 2500 entries");
    sql("delete from millrace.audit where seq = 1001;");
    runs(65, "$0 audit verify");
    shows("Row 1001 is missing");
}
END_TEST

/* An entry of a transaction that does not come to be is none, and leaves no gap. */
START_TEST(an_entry_ends_with_its_transaction)
{
    struct mr_err err = {0};

    ck_ok(mr_pg_begin(rig.pg, &err), err);
    add(2);
    mr_pg_rollback(rig.pg);
    add(2);
    runs(0, "$0 audit verify");
    shows("OK: 2 entries");
}
END_TEST

/* Whichever way it is made, and in its transaction. */
START_TEST(a_change_of_rights_is_an_entry)
{
    static const struct {
        const char *sql, *entry;
    } changes[] = {
        {"select millrace.principal_add('app1', "
         "'rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7', "
         "null, null, null)",
            "principal_key insert|app1|||database user millrace"},
        {"select millrace.principal_grant_put('app1', 'submit', true, 'night', null, "
         "null)",
            "principal_grant insert|app1|action=submit is_denied=true kind=* "
            "queue=night||database user millrace"},
        {"select set_config('millrace.principal', 'olga', false)", NULL},
        {"select millrace.principal_limit('app1', 7, null, null, null)",
            "principal update|app1|jobs_per_s=7|olga|database user millrace"},
        {"update millrace.principal_key set revoked_at = '2026-11-24 01:49:47+00'", NULL},
        {"delete from millrace.principal_grant where principal = 'app1'",
            "principal_grant delete|app1|action=submit is_denied=true kind=* "
            "queue=night|olga|database user millrace"},
    };

    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        pg_fixture_text(rig.pg, changes[i].sql);
        if (!changes[i].entry)
            continue;
        ck_assert_str_eq(
            pg_fixture_text(rig.pg,
                "select concat_ws('|', action, object, regexp_replace(coalesce(detail, "
                "''), '(added_at|key)=\\S+ ?', '', 'g'), coalesce(principal, ''), "
                "source) "
                "from millrace.audit order by seq desc limit 1"),
            changes[i].entry);
    }
    runs(0, "$0 audit verify");
    shows("OK: 6 entries");
}
END_TEST

START_TEST(it_is_listed)
{
    add(3);
    pg_fixture_text(rig.pg, "select millrace.audit_add('drain', null, 'refused', 'eve')");
    runs(0, "$0 audit list");
    shows("eve");
    shows("olga");
    shows("nightly");
    runs(0, "$0 audit list --refused -o json");
    shows("\"principal\":\"eve\"");
    shows("\"source\":\"database user millrace\"");
    ck_assert_ptr_null(strstr(text, "olga"));
    runs(0, "$0 audit list --principal olga --limit 2 -o json");
    shows("\"seq\":3");
    shows("\"seq\":2");
    ck_assert_ptr_null(strstr(text, "\"seq\":1"));
    ck_assert_ptr_null(strstr(text, "eve"));
    runs(0, "$0 audit list --since -1h -o json");
    shows("eve");
    runs(0, "$0 audit list --since 2026-11-24T01:49:48Z --principal olga -o json");
    ck_assert_str_eq(text, "[]\n");
    runs(64, "$0 audit list --since yesterday");
    runs(64, "$0 audit burn");
    shows("audit verify");
    runs(78, "MILLRACE_DATABASE= $0 audit verify");
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("50_audit");
    TCase *cases = tcase_create("audit");
    char file[] = "/tmp/millrace-head-XXXXXX";
    int fd = mkstemp(file), failed;

    if (fd < 0 || setenv("HEAD_FILE", file, 1) != 0)
        return 1;
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, an_empty_log_is_well);
    tcase_add_test(cases, hashes_are_those_of_another_implementation);
    tcase_add_test(cases, what_is_falsified_is_found);
    tcase_add_test(cases, a_log_that_was_written_anew_is_found_by_its_noted_head);
    tcase_add_test(cases, nobody_changes_it_by_mistake);
    tcase_add_test(cases, more_than_one_portion_is_read);
    tcase_add_test(cases, an_entry_ends_with_its_transaction);
    tcase_add_test(cases, a_change_of_rights_is_an_entry);
    tcase_add_test(cases, it_is_listed);
    suite_add_tcase(suite, cases);
    failed = pg_fixture_run(suite, NULL);
    (void)unlink(file);
    (void)close(fd);
    return failed;
}
