/*
 * A run of the chaos rig that was made up: tables, histories, starts and faults that a checker
 * has to find good. For the tests of the checker only.
 */
#ifndef MR_TESTS_UNIT_CHAOS_RIG_H
#define MR_TESTS_UNIT_CHAOS_RIG_H

#include "tests/chaos/check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/chaos/history.h"
#include "tests/support/pg_fixture.h"

#define ID(n) "'0198f7a0-0000-7000-8000-0000000000" #n "'"
#define BARE(n) "0198f7a0-0000-7000-8000-0000000000" #n
#define TRANSFER "'\\x83a466726f6d01a2746f02a563656e747364'" /* 1 to 2, 100 cents */
#define CALC "'\\x82a47365656405a16e03'"                     /* seed 5, n 3 */
#define RIGHT "'\\xcf690643ba749626f1'" /* 7567810691941672689, by Python */
#define CHAIN_1 "'\\x81a5646570746801'"
#define CHAIN_0 "'\\x81a5646570746800'"
#define SLOW "'\\x84a26d7309a466726f6d03a2746f04a563656e747307'" /* 3 to 4, 7 cents */
#define FAIL "'\\x81a3686f77a46661696c'"

static char folder[64];
static struct mr_pg *pg;
static struct mr_chaos_report *report;

/* ---- a good run ---------------------------------------------------------------------------------- */

static const char *const tables[] = {
    "create table account (id int primary key, opening bigint not null,"
    " cents bigint not null)",
    "create table ledger (job uuid not null, attempt int not null, kind text not null,"
    " source int, target int, cents bigint, pid int,"
    " at timestamptz default clock_timestamp())",
    "create table chain (parent uuid, child uuid, depth int)"};

static const char *const emptied[] = {"delete from account", "delete from ledger",
    "delete from chain", "delete from epoch_record", "delete from millrace.job",
    "delete from millrace.result", "delete from millrace.attempt",
    "delete from millrace.inbox"};

/* Twenty transfers, 01 to 20; 31 and 32 calculations; 40 with its child 41; 50 cancelled; 51
 * failed; 52 lost once with its worker. */
static const char *const rows[] = {
    "insert into account values (1, 5000, 3000), (2, 0, 2000), (3, 10, 3), (4, 0, 7)",
    "create or replace function add(id uuid, kind text, payload bytea, outcome int, "
    "attempt int,"
    " body bytea, error text default null) returns void language sql as $$"
    " insert into millrace.job (id, submitted_at, shard, priority, queue, kind, payload)"
    " values ($1, now(), 0, 4, 'default', $2, $3);"
    " insert into millrace.result (id, finished_at, attempt, outcome, worker, error, "
    "body)"
    " values ($1, now(), $5, $4, 'w1', $7, $6) $$",
    "select add(('0198f7a0-0000-7000-8000-0000000000' || lpad(n::text, 2, '0'))::uuid,"
    " 'chaos.transfer', " TRANSFER ", 1, 1, '\\x64') from generate_series(1, 20) n",
    "insert into ledger select ('0198f7a0-0000-7000-8000-0000000000' ||"
    " lpad(n::text, 2, '0'))::uuid, 1, 'chaos.transfer', 1, 2, 100, 11"
    " from generate_series(1, 20) n",
    "select add(" ID(31) ", 'chaos.calc', " CALC ", 1, 1, " RIGHT ")",
    "select add(" ID(32) ", 'chaos.calc', " CALC ", 1, 1, " RIGHT ")",
    "select add(" ID(40) ", 'chaos.chain', " CHAIN_1 ", 1, 1, '\\x01')",
    "select add(" ID(41) ", 'chaos.chain', " CHAIN_0 ", 1, 1, '\\x00')",
    "insert into ledger (job, attempt, kind, pid) values (" ID(
        40) ", 1, 'chaos.chain', 11),"
            " (" ID(41) ", 1, 'chaos.chain', 11)",
    "insert into chain values (" ID(40) ", " ID(41) ", 1)",
    "select add(" ID(50) ", 'chaos.transfer', " TRANSFER ", 3, 0, null, 'cancelled')",
    "select add(" ID(51) ", 'chaos.poison', " FAIL ", 2, 1, null, 'as it was asked to')",
    "insert into millrace.attempt (id, attempt, outcome, worker) values (" ID(
        51) ", 1, 1, 'w1')",
    "select add(" ID(52) ", 'chaos.slow', " SLOW ", 1, 2, '\\x07')",
    "insert into millrace.attempt (id, attempt, outcome, worker) values (" ID(
        52) ", 1, 2, 'w1')",
    "insert into ledger values (" ID(52) ", 2, 'chaos.slow', 3, 4, 7, 12)",
    "insert into epoch_record (what, broker, epoch) values ('claim', 'aaaaaaaa', 1),"
    " ('job', 'aaaaaaaa', null), ('claim', 'bbbbbbbb', 2), ('job', 'bbbbbbbb', null),"
    " ('result', 'bbbbbbbb', null)"};

static void
run_sql(const char *sql)
{
    struct mr_err err = {0};

    ck_ok(mr_pg_run(pg, sql, 0, NULL, NULL, &err), err);
}

static void
append(const char *name, const char *text)
{
    char path[128];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "a");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    ck_assert_int_eq(fclose(file), 0);
}

static uint64_t
digest_of(const char *hex)
{
    uint8_t bytes[64];
    size_t n = 0;

    for (const char *p = hex + 3; *p != '\''; p += 2) { /* behind '\x */
        char two[3] = {p[0], p[1], '\0'};

        bytes[n++] = (uint8_t)strtol(two, NULL, 16);
    }
    return mr_history_digest(bytes, n);
}

/* One line of client 1. `hex` of the body as SQL writes it, NULL: none. */
static void
say(enum mr_history_op op, enum mr_history_phase phase, const char *id, const char *kind,
    const char *hex, const char *code, const char *outcome)
{
    static int64_t at_us = 1000;
    char path[128];
    struct mr_history_line line = {.at_us = at_us++,
        .client = 1,
        .op = op,
        .phase = phase,
        .id = mr_span_str(id),
        .kind = mr_span_str(kind),
        .digest = hex ? digest_of(hex) : 0,
        .code = mr_span_str(code),
        .outcome = mr_span_str(outcome)};
    int fd;

    (void)snprintf(path, sizeof path, "%s/history-01.log", folder);
    fd = mr_history_open(path);
    ck_assert_int_eq(mr_history_put(fd, &line), MR_OK);
    close(fd);
}

static void
ask(enum mr_history_op op, enum mr_history_phase phase, const char *id, const char *kind,
    const char *hex, const char *code, const char *outcome)
{
    bool is_submit = op <= MR_HISTORY_FORGE;

    say(op, MR_HISTORY_INVOKE, id, kind, is_submit ? hex : NULL, NULL, NULL);
    say(op, phase, id, kind, hex, code, outcome);
}

static void
submit(const char *id, const char *kind, const char *hex)
{
    ask(MR_HISTORY_SUBMIT, MR_HISTORY_OK, id, kind, hex, "OK", NULL);
}

static void
write_histories(void)
{
    char id[MR_UUID_TEXT_MAX];

    for (int n = 1; n <= 20; n++) {
        (void)snprintf(id, sizeof id, "0198f7a0-0000-7000-8000-%012d", n);
        submit(id, "chaos.transfer", TRANSFER);
    }
    submit(BARE(31), "chaos.calc", CALC);
    submit(BARE(32), "chaos.calc", CALC);
    submit(BARE(40), "chaos.chain", CHAIN_1);
    submit(BARE(50), "chaos.transfer", TRANSFER);
    submit(BARE(51), "chaos.poison", FAIL);
    submit(BARE(52), "chaos.slow", SLOW);
    ask(MR_HISTORY_SUBMIT, MR_HISTORY_UNKNOWN, BARE(53), "chaos.calc", CALC, "TIMEOUT",
        NULL);
    ask(MR_HISTORY_WATCH, MR_HISTORY_OK, BARE(32), "", RIGHT, "OK", "succeeded");
    ask(MR_HISTORY_WATCH, MR_HISTORY_OK, BARE(51), "", NULL, "OK", "failed");
    ask(MR_HISTORY_RESUBMIT, MR_HISTORY_OK, BARE(32), "chaos.calc", CALC, "KNOWN", NULL);
    ask(MR_HISTORY_FORGE, MR_HISTORY_FAIL, BARE(32), "chaos.calc", FAIL, "CONFLICT",
        NULL);
    ask(MR_HISTORY_CANCEL, MR_HISTORY_OK, BARE(50), "", NULL, "OK", NULL);
    ask(MR_HISTORY_CANCEL, MR_HISTORY_OK, BARE(32), "", NULL, "FINISHED", NULL);
    ask(MR_HISTORY_SHOW, MR_HISTORY_OK, BARE(50), "", NULL, "KNOWN", NULL);
    ask(MR_HISTORY_SHOW, MR_HISTORY_OK, BARE(52), "", "'\\x07'", "OK", "succeeded");
}

static void
begin_and_end(const char *id, int attempt, int pid, const char *kind)
{
    char text[256];

    static int at = 4900; /* a child's is after its parent's */

    at += 60;
    (void)snprintf(text, sizeof text, "%d %d S %s %d %s\n%d\t%d\tE\t%s\t%d\t%s\n", at,
        pid, id, attempt, kind, at + 50, pid, id, attempt, kind);
    append("starts-11.log", text);
}

static void
write_starts(void)
{
    char id[MR_UUID_TEXT_MAX];

    for (int n = 1; n <= 20; n++) {
        (void)snprintf(id, sizeof id, "0198f7a0-0000-7000-8000-%012d", n);
        begin_and_end(id, 1, 11, "chaos.transfer");
    }
    begin_and_end(BARE(31), 1, 12, "chaos.calc");
    begin_and_end(BARE(32), 1, 11, "chaos.calc");
    begin_and_end(BARE(40), 1, 11, "chaos.chain");
    begin_and_end(BARE(41), 1, 11, "chaos.chain");
    begin_and_end(BARE(51), 1, 11, "chaos.poison");
    append("starts-11.log", "6000 11 S " BARE(52) " 1 chaos.slow\n");
    append("starts-12.log", "2007000 12 S " BARE(52) " 2 chaos.slow\n");
    append("starts-12.log", "2008000 12 E " BARE(52) " 2 chaos.slow\n");
}

/* Once: a database for all tests, each of which fills it anew. */
static void
make_database(void)
{
    struct mr_err err = {0};

    pg_fixture_database(true);
    pg = pg_fixture_open("check");
    ck_ok(mr_chaos_watch(pg, &err), err);
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        run_sql(tables[i]);
    mr_pg_close(&pg);
}

static void
setup(void)
{
    pg = pg_fixture_open("check");
    for (size_t i = 0; i < sizeof emptied / sizeof emptied[0]; i++)
        run_sql(emptied[i]);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        run_sql(rows[i]);
    strcpy(folder, "/tmp/millrace-chaos-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    write_histories();
    write_starts();
    append("faults.log", "7000 kill-worker fire pid=11\n8000 kill-worker heal pid=11\n");
    append("faults.log", "3000000 drain fire\n4500000 drain heal all is finished\n");
    append("counters.log", "refused_finishes 3\nin_doubt_settled 2\n");
    report = calloc(1, sizeof *report);
    ck_assert_ptr_nonnull(report);
}

static void
teardown(void)
{
    char command[128];

    mr_pg_close(&pg);
    free(report);
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}

#endif
