/*
 * Jobs that have failed for ever, as an operator deals with them: the commands, a broker, workers
 * and PostgreSQL as they are.
 */
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEAD "select count(*) from millrace.dead where redriven_as is null"
#define RESULTS "select md5(string_agg(r::text, ',' order by id)) from millrace.result r "

static struct rig rig;
static struct millrace *mr;
static char text[1 << 20];

static void
work(void)
{
    const char *const load[] = {"--load", rig_program("tests/loadable/why.so"), NULL};

    rig_worker(&rig, 0, 2, load);
}

static void
set_up(void)
{
    const char *const once[] = {"--losses-max", "1", NULL};

    rig_open(&rig);
    rig_broker(&rig, once);
    work();
    mr = rig_client(&rig);
}

static void
tear_down(void)
{
    millrace_close(mr);
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

static void
hides(const char *unwanted)
{
    ck_assert_msg(!strstr(text, unwanted), "\"%s\" is in: %s", unwanted, text);
}

static void
kill_three_ways(void)
{
    runs(
        1, "$0 submit test.fail --attempts 1 --queue night --lane l --priority 7 --wait");
    runs(1, "$0 submit test.fail '{\"for_good\":true}' --wait");
    runs(1, "$0 submit why.die --wait");
    shows("quarantined");
    work();
}

START_TEST(three_ways_to_die)
{
    kill_three_ways();
    runs(0, "$0 dead");
    shows("used-up");
    shows("for-good");
    shows("quarantined");
    hides("redriven_as");
    runs(0, "$0 dead --reason used-up");
    shows("test.fail");
    hides("for-good");
    hides("why.die");
    runs(0, "$0 dead --kind why.die");
    shows("quarantined");
    hides("test.fail");
    runs(0, "$0 dead --queue night | tail -n +2 | wc -l");
    ck_assert_int_eq(atoi(text), 1);
    runs(0, "$0 dead --since -1h --until +1h --limit 2 | tail -n +2 | wc -l");
    ck_assert_int_eq(atoi(text), 2);
    runs(0, "$0 dead --until -1h -o json");
    ck_assert_str_eq(text, "[]\n");
    runs(0, "$0 dead --queue night -o json");
    shows("\"attempt_rows\":[{\"attempt\":1,\"outcome\":\"failed\",\"worker\":\"w0\"");
    runs(0, "$0 dead $($0 dead --queue night -o json | grep -o '[0-9a-f-]\\{36\\}' | "
            "head -1)");
    shows("attempts that did not succeed");
    shows("used-up");
}
END_TEST

START_TEST(redriven_once)
{
    char before[64];

    kill_three_ways();
    strcpy(before, pg_fixture_text(rig.pg, RESULTS));
    /* A dry run changes nothing and says how to do it. */
    runs(0, "$0 redrive --kind test.fail");
    shows("2 dead jobs would be submitted anew");
    shows("millrace redrive --yes --kind test.fail");
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.job"), 3);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.inbox"), 0);
    runs(0, "$0 redrive --kind test.fail -o json");
    shows("\"would_submit\":2");
    runs(0, "$0 redrive --kind test.fail --rate 20 --yes");
    shows("2 submitted anew");
    rig_wait_int(&rig, "select count(*) from millrace.job", 5);
    ck_assert_int_eq(
        rig_int(&rig,
            "select count(*) from millrace.job n join millrace.job o on o.id = "
            "n.redrive_of where n.kind = o.kind and n.queue = o.queue and "
            "n.lane is not distinct from o.lane and n.priority = o.priority and "
            "n.payload is not distinct from o.payload and "
            "n.attempts_max is not distinct from o.attempts_max"),
        2);
    /* They die as the first ones did, and are dead in their own right: the old ones are not
     * submitted again. */
    rig_wait_int(&rig, DEAD, 3);
    runs(0, "$0 dead --redriven | tail -n +2 | wc -l");
    ck_assert_int_eq(atoi(text), 5);
    runs(0, "$0 redrive --kind test.fail --yes -o json");
    shows("\"verdict\":\"submitted\"");
    rig_wait_int(&rig, "select count(*) from millrace.job", 7);
    rig_wait_int(&rig, DEAD, 3);
    ck_assert_int_eq(
        rig_int(&rig, "select count(distinct redrive_of) from millrace.job"), 4);
    ck_assert_str_eq(pg_fixture_text(rig.pg,
                         RESULTS "where id in (select id from millrace.job order by "
                                 "submitted_at limit 3)"),
        before);
}
END_TEST

START_TEST(by_id_and_both_ways)
{
    runs(1, "$0 submit test.fail --attempts 1 --wait");
    runs(0, "$0 dead -o json | grep -o '\"id\":\"[^\"]*' | cut -d'\"' -f4 | tr -d '\\n'");
    ck_assert_uint_eq(strlen(text), 36);
    setenv("OLD", text, 1);
    runs(0, "$0 redrive $OLD");
    shows("1 dead job would be submitted anew");
    runs(0, "$0 redrive $OLD --yes");
    shows("redriven as");
    rig_wait_int(&rig, "select count(*) from millrace.job", 2);
    runs(0, "$0 redrive $OLD --yes");
    shows("was redriven before, as");
    shows("0 submitted anew, 1 had been before");
    runs(0, "$0 show $OLD | grep redriven_as | cut -c 18- | tr -d '\\n '");
    ck_assert_uint_eq(strlen(text), 36);
    setenv("NEW", text, 1);
    runs(0, "[ $($0 show $NEW | grep redrive_of | tr -s ' ' | cut -d' ' -f2) = $OLD ]");
    runs(0, "$0 explain $OLD");
    shows("It was redriven as");
    shows(getenv("NEW"));
}
END_TEST

/* By hand, with other arguments: it counts as redriven all the same. */
START_TEST(in_place_of_a_dead_one)
{
    runs(1, "$0 submit test.fail '{\"for_good\":true}' --wait");
    runs(0, "id=$($0 dead -o json | grep -o '\"id\":\"[^\"]*' | cut -d'\"' -f4); "
            "$0 submit test.noop '{\"n\":1}' --redrive-of $id --wait; $0 explain $id");
    shows("It was redriven as");
    runs(0, "$0 redrive --all --yes");
    shows("0 submitted anew");
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.job n join millrace.dead d "
                      "on d.id = n.redrive_of where n.kind = 'test.noop'"),
        1);
    runs(65, "$0 submit test.noop --redrive-of 1");
}
END_TEST

START_TEST(what_is_wrong_is_said)
{
    runs(66, "id=$($0 submit test.noop); $0 wait $id; $0 redrive --yes $id");
    shows("That job is not dead");
    shows("is succeeded");
    runs(66, "id=$($0 submit test.noop); $0 wait $id; $0 dead $id");
    shows("That job is not dead");
    runs(66, "$0 redrive 0198c0de-0000-7000-8000-000000000001");
    shows("There is no such job");
    runs(0, "$0 redrive --all --yes");
    shows("0 submitted anew");
    runs(0, "$0 dead");
    shows("finished_at");
}
END_TEST

/* The method itself, for those who come without the command. */
START_TEST(wrong_calls)
{
    static const struct {
        const char *method, *args;
        size_t n;
    } calls[] = {
        {"redrive", "\x80", 1},
        {"redrive", "\x81\xa3ids\x90", 6},
        {"redrive", "\x81\xa3ids\x91\xc4\x01\x00", 9},
        {"redrive", "\x81\xa3ids\x91\xa1x", 8},
        {"dead",
            "\x81\xa6"
            "before\xd9\x24"
            "0198c0de-0000-7000-8000-000000000001",
            46},
    };

    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        struct millrace_error error = {0};
        void *reply = NULL;
        size_t n;

        ck_assert_int_eq(millrace_call(mr, calls[i].method, calls[i].args, calls[i].n,
                             RIG_WAIT_MS, &reply, &n, &error),
            MILLRACE_BAD_ARGUMENT);
        free(reply);
    }
}
END_TEST

/* Killed in the middle, and the broker too; then once more: every one exactly once. */
START_TEST(interrupted)
{
    enum { JOBS = 400 };
    const char *const once[] = {"--losses-max", "1", NULL};
    struct millrace_job jobs[JOBS];
    struct mr_proc redrive = {.pid = 0};
    const char *const argv[] = {
        rig_program("millrace"), "redrive", "--all", "--yes", "--rate", "200", NULL};
    struct mr_proc_spec spec = {.argv = argv, .output = "/dev/null"};
    struct mr_err err;

    for (int i = 0; i < JOBS; i++) {
        millrace_job_init(&jobs[i], "test.fail");
        jobs[i].attempts_max = 1;
    }
    ck_assert_int_eq(
        millrace_submit_many(mr, jobs, JOBS, (int[JOBS]){0}, RIG_WAIT_MS, NULL),
        MILLRACE_OK);
    rig_wait_int(&rig, DEAD, JOBS);
    /* The new ones do not run, so that the dead ones are these. */
    runs(0, "$0 pause default");
    ck_ok(mr_proc_start(&redrive, &spec, &err), err);
    while (rig_int(&rig,
               "select count(*) from millrace.job where redrive_of is not null") < 50)
        rig_breathe();
    mr_proc_stop(&redrive, SIGKILL, 0);
    ck_assert_int_gt(rig_int(&rig, DEAD), 0);
    ck_ok(mr_proc_start(&redrive, &spec, &err), err);
    rig_breathe();
    mr_proc_stop(&rig.broker, SIGKILL, 0);
    (void)mr_proc_stop(&redrive, SIGTERM, RIG_WAIT_MS);
    rig_broker(&rig, once);
    runs(0, "$0 redrive --all --yes --timeout-ms 30000");
    rig_wait_int(
        &rig, "select count(*) from millrace.job where redrive_of is not null", JOBS);
    ck_assert_int_eq(
        rig_int(&rig, "select count(distinct redrive_of) from millrace.job"), JOBS);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.inbox"), 0);
    runs(0, "$0 redrive --all --yes");
    shows("0 submitted anew");
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("61_dead");
    TCase *cases = tcase_create("dead");

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 180);
    tcase_add_test(cases, three_ways_to_die);
    tcase_add_test(cases, redriven_once);
    tcase_add_test(cases, by_id_and_both_ways);
    tcase_add_test(cases, in_place_of_a_dead_one);
    tcase_add_test(cases, what_is_wrong_is_said);
    tcase_add_test(cases, wrong_calls);
    tcase_add_test(cases, interrupted);
    suite_add_tcase(suite, cases);
    return pg_fixture_run(suite, NULL);
}
