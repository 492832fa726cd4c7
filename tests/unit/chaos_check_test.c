/*
 * The checker, against a run that was made up: as it is it holds, and each kind of damage turns
 * exactly those rows red that are there for it.
 */
#include "tests/unit/chaos_rig.h"

/* ---- verdicts ------------------------------------------------------------------------------------- */

static void
check(enum mr_chaos_profile profile)
{
    struct mr_err err = {0};

    ck_ok(mr_chaos_check(pg, folder, profile, report, &err), err);
}

static void
red_rows(char *out, size_t room)
{
    size_t n = 0;

    out[0] = '\0';
    for (uint32_t i = 0; i < report->count; i++)
        if (!report->rows[i].held)
            n += (size_t)snprintf(
                out + n, room - n, "%s%s", n ? ", " : "", report->rows[i].name);
}

static void
expect_red(const char *wanted)
{
    char red[400];

    red_rows(red, sizeof red);
    if (strcmp(red, wanted) != 0)
        mr_chaos_print(report, stderr);
    ck_assert_str_eq(red, wanted);
    ck_assert_int_eq(report->held, wanted[0] == '\0');
}

static const struct mr_chaos_row *
row_of(const char *name)
{
    for (uint32_t i = 0; i < report->count; i++)
        if (strcmp(report->rows[i].name, name) == 0)
            return &report->rows[i];
    ck_abort_msg("no row %s", name);
}

static double
figure(const char *name)
{
    for (uint32_t i = 0; i < report->figure_count; i++)
        if (strcmp(report->figures[i].name, name) == 0)
            return report->figures[i].value;
    ck_abort_msg("no figure %s", name);
}

START_TEST(a_good_run_holds)
{
    check(MR_CHAOS_MUTANT);
    expect_red("");
    ck_assert_int_eq(row_of("C1 ends")->examined, 27);
    ck_assert_int_eq(row_of("C2 results")->examined, 23);
    ck_assert_int_eq(row_of("C6 epochs")->examined, 5);
    ck_assert_int_eq(row_of("C9 forgeries")->examined, 1);
}
END_TEST

START_TEST(figures_are_counted)
{
    check(MR_CHAOS_MUTANT);
    ck_assert_int_eq((int)figure("acknowledged"), 26);
    ck_assert_int_eq((int)figure("jobs"), 27);
    ck_assert_int_eq((int)figure("succeeded"), 25);
    ck_assert_int_eq((int)figure("failed"), 1);
    ck_assert_int_eq((int)figure("cancelled"), 1);
    ck_assert_int_eq((int)figure("redeliveries"), 1);
    ck_assert_int_eq((int)figure("kills"), 1);
    ck_assert_int_eq((int)figure("fault.kill-worker"), 1);
    ck_assert_int_eq((int)figure("refused_finishes"), 3);
    ck_assert_int_eq((int)figure("restarts"), 1);
    ck_assert_int_eq((int)figure("restart_max_ms"), 2000); /* 7000 us to 2007000 us */
    ck_assert_int_eq((int)(figure("drain_s") * 10), 15);
    ck_assert_int_eq((int)figure("lost"), 0);
}
END_TEST

/* ---- damage in the tables --------------------------------------------------------------------------- */

static const struct {
    const char *sql, *red, *kinds; /* the latter of the first red row */
} damages[] = {
    {"with r as (delete from millrace.result where id = " ID(
         31) ")"
             " delete from millrace.job where id = " ID(31),
        "C1 ends", "lost 1"},
    {"delete from millrace.result where id = " ID(31), "C1 ends, C10 sums",
        "without an end 1"},
    {"with r as (delete from millrace.result where id = " ID(
         31) "), j as (delete from"
             " millrace.job where id = " ID(
                 31) ") insert into millrace.inbox (id, kind) values"
                     " (" ID(31) ", 'chaos.calc')",
        "C1 ends", "left in the inbox 1"},
    {"insert into ledger select * from ledger where job = " ID(05),
        "C2 effects, C10 sums", "took effect more than once 1"},
    {"delete from ledger where job = " ID(05), "C2 effects, C10 sums",
        "succeeded without effect 1"},
    {"insert into ledger values (" ID(50) ", 1, 'chaos.transfer', 1, 2, 100, 11)",
        "C2 effects, C10 sums", "took effect without having succeeded 1"},
    {"insert into ledger (job, attempt, kind, pid) values (" ID(
         31) ", 1, 'chaos.calc', 12)",
        "C2 effects, C10 sums", "effect of a kind that has none 1"},
    {"update ledger set target = 3 where job = " ID(05), "C2 effects",
        "another effect than was asked for 1"},
    {"update millrace.result set body = '\\x07' where id = " ID(31), "C2 results",
        "another result than is right 1"},
    {"update millrace.result set body = null where id = " ID(05), "C2 results",
        "another result than is right 1"},
    {"select add(" ID(99) ", 'chaos.calc', " CALC ", 3, 0, null)",
        "C3 phantoms, C10 sums", "phantom job 1, phantom result 1"},
    {"insert into millrace.attempt (id, attempt, outcome) values (" ID(99) ", 1, 1)",
        "C3 phantoms", "phantom attempt 1"},
    {"insert into ledger (job, attempt, kind, pid) values (" ID(
         99) ", 1, 'chaos.chain', 11)",
        "C3 phantoms, C10 sums", "phantom ledger row 1"},
    {"update account set cents = cents - 1 where id = 3", "C4 balances",
        "money made or lost 1, torn transfer 1"},
    {"update account set cents = cents + case id when 3 then 1 else -1 end where id > 2",
        "C4 balances", "torn transfer 2"},
    {"update millrace.result set attempt = 7 where id = " ID(31), "C5 finishers",
        "finished by an attempt that never began 1"},
    {"update millrace.result set attempt = 1 where id = " ID(52), "C5 finishers",
        "finished by an attempt whose handler had not ended 1"},
    {"update ledger set attempt = 2 where job = " ID(05), "C5 finishers",
        "effect of another attempt than the one that finished 1"},
    {"update ledger set pid = 12 where job = " ID(05), "C5 finishers",
        "effect of a process that did not run the attempt 1"},
    {"insert into millrace.attempt (id, attempt, outcome, worker) values (" ID(
         31) ", 1, 1, 'w1')",
        "C5 finishers", "the attempt that finished is recorded as failed 1"},
    {"insert into millrace.attempt (id, attempt, outcome) values (" ID(31) ", 1, 2)",
        "C5 losses", "lost, though nothing had happened 1"},
    {"insert into epoch_record (what, broker) values ('attempt', 'aaaaaaaa')",
        "C6 epochs", "written under an epoch that was over 1"},
    {"insert into epoch_record (what, broker) values ('attempt', 'cccccccc')",
        "C6 epochs", "written without a claim 1"},
    {"insert into epoch_record (what, broker, epoch) values ('claim', 'cccccccc', 2)",
        "C6 epochs", "an epoch that is not new 1"},
    {"delete from epoch_record", "C6 epochs", ""},
    {"update millrace.result set outcome = 2 where id = " ID(50),
        "C7 cancels, C10 attempts", "cancelled, and yet it ended 1"},
    {"update millrace.result set outcome = 4 where id = " ID(51), "C7 outcomes",
        "told of another outcome 1"},
    {"delete from chain", "C3 phantoms, C10 chains, C10 sums",
        "phantom job 1, phantom ledger row 1, phantom result 1, phantom start 1"},
    {"insert into chain values (" ID(40) ", " ID(98) ", 1)", "C10 chains, C10 sums",
        "has more than one child 1"},
    {"update chain set child = " ID(98), "C3 phantoms, C10 chains",
        "phantom job 1, phantom ledger row 1, phantom result 1, phantom start 1"},
    {"update millrace.job set payload = " CHAIN_1 " where id = " ID(41), "C10 chains",
        "its child is another one 1, succeeded without its child 1"},
    {"update millrace.result set error = 'quarantined: lost' where id = " ID(51),
        "C10 attempts", "quarantined after too few losses 1"},
    {"delete from millrace.attempt where id = " ID(51), "C10 attempts",
        "failed without an attempt that failed 1"},
    {"insert into millrace.attempt (id, attempt, outcome) values (" ID(51) ", 2, 2)",
        "C10 attempts", "ended by an attempt before its last 1"},
};

START_TEST(damage_in_the_tables_is_red)
{
    run_sql(damages[_i].sql);
    check(MR_CHAOS_MUTANT);
    expect_red(damages[_i].red);
    for (uint32_t i = 0; i < report->count; i++) {
        if (report->rows[i].held)
            continue;
        ck_assert_str_eq(report->rows[i].kinds, damages[_i].kinds);
        break;
    }
}
END_TEST

/* ---- damage in the histories -------------------------------------------------------------------------- */

static const struct {
    enum mr_history_op op;
    enum mr_history_phase phase;
    const char *id, *kind, *hex, *code, *outcome;
    const char *red;
} told[] = {
    {MR_HISTORY_SUBMIT, MR_HISTORY_OK, BARE(54), "chaos.calc", CALC, "OK", NULL,
        "C1 ends"},
    {MR_HISTORY_RESUBMIT, MR_HISTORY_OK, BARE(54), "chaos.calc", CALC, "KNOWN", NULL,
        "C1 ends"},
    {MR_HISTORY_WATCH, MR_HISTORY_OK, BARE(31), "", NULL, "OK", "failed", "C7 outcomes"},
    {MR_HISTORY_WATCH, MR_HISTORY_OK, BARE(31), "", CALC, "OK", "succeeded",
        "C7 outcomes"},
    {MR_HISTORY_WATCH, MR_HISTORY_OK, BARE(53), "", NULL, "OK", "failed", "C7 outcomes"},
    {MR_HISTORY_CANCEL, MR_HISTORY_OK, BARE(31), "", NULL, "OK", NULL, "C7 cancels"},
    {MR_HISTORY_CANCEL, MR_HISTORY_OK, BARE(53), "", NULL, "OK", NULL, "C7 cancels"},
    {MR_HISTORY_CANCEL, MR_HISTORY_FAIL, BARE(53), "", NULL, "FINISHED", NULL,
        "C7 cancels"},
    {MR_HISTORY_SHOW, MR_HISTORY_OK, BARE(32), "", NULL, "KNOWN", NULL, "C8 order"},
    {MR_HISTORY_SHOW, MR_HISTORY_OK, BARE(31), "", NULL, "NO_JOB", NULL, "C8 order"},
    {MR_HISTORY_CANCEL, MR_HISTORY_FAIL, BARE(31), "", NULL, "NO_JOB", NULL, "C8 order"},
    {MR_HISTORY_RESUBMIT, MR_HISTORY_FAIL, BARE(31), "chaos.calc", CALC, "CONFLICT", NULL,
        "C9 keys"},
    {MR_HISTORY_FORGE, MR_HISTORY_OK, BARE(31), "chaos.calc", FAIL, "KNOWN", NULL,
        "C9 keys, C9 forgeries"},
    {MR_HISTORY_FORGE, MR_HISTORY_FAIL, BARE(54), "chaos.calc", FAIL, "CONFLICT", NULL,
        "C9 keys"},
    /* What is not known, or says nothing, is no damage. */
    {MR_HISTORY_FORGE, MR_HISTORY_UNKNOWN, BARE(31), "chaos.calc", FAIL, "TIMEOUT", NULL,
        ""},
    {MR_HISTORY_CANCEL, MR_HISTORY_UNKNOWN, BARE(31), "", NULL, "TIMEOUT", NULL, ""},
    {MR_HISTORY_RESUBMIT, MR_HISTORY_OK, BARE(32), "chaos.calc", CALC, "KNOWN", NULL, ""},
    {MR_HISTORY_SHOW, MR_HISTORY_UNKNOWN, BARE(32), "", NULL, "TIMEOUT", NULL, ""},
    {MR_HISTORY_SUBMIT, MR_HISTORY_FAIL, BARE(54), "chaos.calc", CALC, "BUSY", NULL, ""},
};

START_TEST(damage_in_the_histories_is_red)
{
    ask(told[_i].op, told[_i].phase, told[_i].id, told[_i].kind, told[_i].hex,
        told[_i].code, told[_i].outcome);
    check(MR_CHAOS_MUTANT);
    expect_red(told[_i].red);
}
END_TEST

START_TEST(calls_that_overlap_have_no_order)
{
    say(MR_HISTORY_SHOW, MR_HISTORY_INVOKE, BARE(31), "", NULL, NULL, NULL);
    ask(MR_HISTORY_WATCH, MR_HISTORY_OK, BARE(31), "", RIGHT, "OK", "succeeded");
    say(MR_HISTORY_SHOW, MR_HISTORY_OK, BARE(31), "", NULL, "KNOWN", NULL);
    check(MR_CHAOS_MUTANT);
    expect_red("");
}
END_TEST

START_TEST(a_forgery_that_came_first_is_the_job)
{
    /* The original was never answered: 53 may belong to whoever came. */
    run_sql("select add(" ID(53) ", 'chaos.poison', " FAIL ", 3, 0, null)");
    ask(MR_HISTORY_FORGE, MR_HISTORY_OK, BARE(53), "chaos.poison", FAIL, "OK", NULL);
    ask(MR_HISTORY_RESUBMIT, MR_HISTORY_FAIL, BARE(53), "chaos.calc", CALC, "CONFLICT",
        NULL);
    check(MR_CHAOS_MUTANT);
    expect_red("");
}
END_TEST

/* ---- damage in other files ------------------------------------------------------------------------- */

static const struct {
    const char *file, *text, *red;
} lines[] = {
    {"starts-13.log", "6500 13 S " BARE(51) " 3 chaos.poison\n", ""},
    {"starts-12.log", "4950 12 S " BARE(41) " 9 chaos.chain\n", "C10 chains"},
    {"starts-13.log", "1 13 S " BARE(99) " 1 chaos.calc\n", "C3 phantoms"},
    {"faults.log", "200000000 drain heal\n", "C12 drained"},
    {"counters.log", "drain_s_max 1\n", "C12 drained"},
    {"history-02.log", "torn in the midd", ""},
};

START_TEST(damage_in_other_files_is_red)
{
    append(lines[_i].file, lines[_i].text);
    check(MR_CHAOS_MUTANT);
    expect_red(lines[_i].red);
}
END_TEST

static void
forget(const char *name)
{
    char path[128];

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    ck_assert_int_eq(unlink(path), 0);
}

START_TEST(a_queue_that_never_became_empty_is_red)
{
    forget("faults.log");
    append("faults.log", "7000 kill-worker fire pid=11\n3000000 drain fire\n");
    check(MR_CHAOS_MUTANT);
    expect_red("C12 drained");
}
END_TEST

START_TEST(a_run_that_was_not_drained_is_red)
{
    forget("faults.log");
    append("faults.log", "7000 kill-worker fire pid=11\n");
    check(MR_CHAOS_MUTANT);
    expect_red("C12 drained");
}
END_TEST

START_TEST(a_run_that_tested_nothing_is_red)
{
    check(MR_CHAOS_CI);
    expect_red("C11 not empty");
    ck_assert_ptr_nonnull(
        strstr(row_of("C11 not empty")->kinds, "acknowledged 26 of 20000"));
    check(MR_CHAOS_LONG);
    expect_red("C11 not empty");
}
END_TEST

START_TEST(the_worst_example_has_its_story)
{
    run_sql("insert into ledger select * from ledger where job = " ID(05));
    check(MR_CHAOS_MUTANT);
    ck_assert_str_eq(row_of("C2 effects")->worst_id, BARE(05));
    ck_assert_ptr_nonnull(strstr(row_of("C2 effects")->story, "submit ok"));
    ck_assert_ptr_nonnull(strstr(row_of("C2 effects")->story, "handler"));
    ck_assert_ptr_nonnull(
        strstr(row_of("C2 effects")->story, "ledger  attempt 1 pid 11"));
    ck_assert_ptr_nonnull(
        strstr(row_of("C2 effects")->story, "result  attempt 1 succeeded"));
}
END_TEST

START_TEST(the_summary_can_be_summed)
{
    struct mr_err err = {0};
    char path[128], line[128];
    bool has_jobs = false, is_bad = false;
    FILE *file;

    run_sql("insert into ledger select * from ledger where job = " ID(05));
    check(MR_CHAOS_MUTANT);
    ck_ok(mr_chaos_summary(report, folder, &err), err);
    (void)snprintf(path, sizeof path, "%s/summary", folder);
    file = fopen(path, "r");
    ck_assert_ptr_nonnull(fgets(line, sizeof line, file));
    ck_assert_str_eq(line, "held 0\n");
    while (fgets(line, sizeof line, file)) {
        has_jobs |= strcmp(line, "jobs 27\n") == 0;
        is_bad |= strcmp(line, "bad.C2 1\n") == 0;
    }
    fclose(file);
    ck_assert(has_jobs && is_bad);
}
END_TEST

/* ---- no verdict --------------------------------------------------------------------------------------- */

static const struct {
    const char *file, *text;
    enum mr_status status;
} bad_files[] = {
    {"history-02.log", "this is no line\n", MR_MALFORMED},
    {"starts-13.log", "1 13 S " BARE(31) " 1\n", MR_MALFORMED},
    {"starts-13.log", "1 13 S no-uuid 1 chaos.calc\n", MR_BAD_ARGUMENT},
    {"faults.log", "soon\n", MR_MALFORMED},
    {"counters.log", "many\n", MR_MALFORMED},
};

START_TEST(what_cannot_be_read_gives_no_verdict)
{
    struct mr_err err = {0};

    append(bad_files[_i].file, bad_files[_i].text);
    ck_status(
        mr_chaos_check(pg, folder, MR_CHAOS_MUTANT, report, &err), bad_files[_i].status);
    ck_assert(!report->held);
}
END_TEST

START_TEST(no_run_gives_no_verdict)
{
    struct mr_err err = {0};

    forget("history-01.log");
    ck_status(mr_chaos_check(pg, folder, MR_CHAOS_MUTANT, report, &err), MR_NOT_FOUND);
    ck_status(
        mr_chaos_check(pg, "/nonexistent", MR_CHAOS_MUTANT, report, &err), MR_NOT_FOUND);
    ck_assert(!report->held);
}
END_TEST

/* ---- epochs, as they are recorded ------------------------------------------------------------------------ */

START_TEST(what_brokers_write_is_recorded)
{
    struct mr_store_op job = {0};
    struct mr_store *store;
    struct mr_err err = {0};
    uint64_t epoch;

    pg_fixture_database(true);
    pg = pg_fixture_open("check");
    ck_ok(mr_chaos_watch(pg, &err), err);
    ck_ok(mr_store_open(&store, pg_fixture_conninfo(), 0, mr_uuid_new(1), &err), err);
    ck_ok(mr_store_claim(store, "tcp://here", 60000, &epoch, &err), err);
    ck_assert_str_eq(
        pg_fixture_text(pg, "select string_agg(what || coalesce(epoch, 0), ' ') from"
                            " epoch_record"),
        "claim1");
    job = pg_fixture_job();
    pg_fixture_must_commit(store, &job, 1);
    ck_assert_str_eq(pg_fixture_text(pg,
                         "select string_agg(what || coalesce(epoch, 0), ' ' order by seq)"
                         " from epoch_record"),
        "claim1 job0");
    ck_assert_int_eq(
        pg_fixture_int(pg, "select count(distinct broker) from epoch_record"), 1);
    run_sql("insert into millrace.result (id, finished_at, attempt, outcome) values"
            " (millrace.new_id(), now(), 0, 3)");
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from epoch_record"), 2);
    mr_store_close(&store);
    mr_pg_close(&pg);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("chaos_check");
    TCase *tc = tcase_create("check");

    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, make_database, NULL);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_good_run_holds);
    tcase_add_test(tc, figures_are_counted);
    tcase_add_loop_test(
        tc, damage_in_the_tables_is_red, 0, sizeof damages / sizeof damages[0]);
    tcase_add_loop_test(
        tc, damage_in_the_histories_is_red, 0, sizeof told / sizeof told[0]);
    tcase_add_test(tc, calls_that_overlap_have_no_order);
    tcase_add_test(tc, a_forgery_that_came_first_is_the_job);
    tcase_add_loop_test(
        tc, damage_in_other_files_is_red, 0, sizeof lines / sizeof lines[0]);
    tcase_add_test(tc, a_queue_that_never_became_empty_is_red);
    tcase_add_test(tc, a_run_that_was_not_drained_is_red);
    tcase_add_test(tc, a_run_that_tested_nothing_is_red);
    tcase_add_test(tc, the_worst_example_has_its_story);
    tcase_add_test(tc, the_summary_can_be_summed);
    tcase_add_loop_test(tc, what_cannot_be_read_gives_no_verdict, 0,
        sizeof bad_files / sizeof bad_files[0]);
    tcase_add_test(tc, no_run_gives_no_verdict);
    suite_add_tcase(suite, tc);
    tc = tcase_create("epochs"); /* with a database of its own */
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, what_brokers_write_is_recorded);
    suite_add_tcase(suite, tc);
    return pg_fixture_run(suite, NULL);
}
