/*
 * Sealed payloads with everything real: who can read them, what opens and what does not, keys that are
 * rotated under way, dead jobs once more. The key that opens them is in files of this test alone.
 */
#include "tests/integration/seal_rig.h"

#include "client/cluster_bin.h"

/* ---- who can read it --------------------------------------------------------------------------------- */

/* Each way in, and each way through a worker. */
static void
send_all_ways(void)
{
    runs(0, "$0 submit seal.see " ARGS "--seal-file $R --wait -o json");
    shows(SUM);
    runs(0, "for i in 1 2 3 4 5 6 7 8; do echo "
            "'{\"kind\":\"seal.group\",\"args\":{\"marker\":\"" MARKER
            "\"}}'; done > $K/batch; $0 batch $K/batch --seal-file $R");
    ck_assert_ptr_nonnull(strstr(text, SUM));
    runs(0, "$0 submit seal.pass_on " ARGS "--seal-file $R --wait");
    /* Fails, is tried again and dies: its errors are kept. */
    runs(1,
        "$0 submit test.fail " ARGS "--seal-file $R --attempts 2 --backoff 1ms --wait");
    runs(0, "$0 submit seal.see '{\"marker\":\"" CONTROL "\"}' --wait");
    rig_wait_int(&rig, UNFINISHED, 0);
}

static int64_t
rows_with(const char *view, const char *wanted)
{
    char sql[256];

    (void)snprintf(sql, sizeof sql,
        "select count(*) from millrace.%s v where v::text like '%%%s%%'", view, wanted);
    return rig_int(&rig, sql);
}

/* Lines of it, or -1. */
static int
lines_with(const char *command, const char *wanted)
{
    (void)snprintf(line, sizeof line, "%s | grep -a -c %s", command, wanted);
    (void)rig_sh(&rig, line, text, sizeof text);
    return atoi(text);
}

static void
nobody_finds_it(void)
{
    static const char *const views[] = {
        "jobs", "attempts", "dead", "job", "result", "inbox"};
    char bin[PATH_MAX], dump[PATH_MAX + 600], logs[256];

    ck_assert(mr_cluster_bin_find(bin, 0));
    (void)snprintf(dump, sizeof dump, "PATH=$PATH:%s pg_dump '%s'", bin, rig.conninfo);
    (void)snprintf(logs, sizeof logs, "cat %s", rig.output);
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++)
        ck_assert_int_eq(rows_with(views[i], MARKER), 0);
    ck_assert_int_eq(rows_with("jobs", CONTROL), 1);
    /* Columns of bytes are in hexadecimal digits there. */
    ck_assert_int_ge(
        lines_with(dump, "$(printf " CONTROL " | od -An -tx1 | tr -d ' \\n')"), 1);
    ck_assert_int_eq(
        lines_with(dump, "$(printf " MARKER " | od -An -tx1 | tr -d ' \\n')"), 0);
    ck_assert_int_eq(lines_with(dump, MARKER), 0);
    ck_assert_int_ge(lines_with(logs, "name=w0"), 1);
    ck_assert_int_eq(lines_with(logs, MARKER), 0);
    ck_assert_int_eq(lines_with(logs, "$(tail -1 $R | cut -d' ' -f2)"), 0);
}

/* `how` makes hexadecimal digits of the line of the first key. */
static int
copies_of_key(const char *how, const char *process)
{
    runs(0,
        "for p in %s; do ${PYTHON:-python3} tests/integration/in_memory.py $p "
        "$(tail -1 $R | %s); done | sort -n | tail -1",
        process, how);
    return atoi(text);
}

/* Raw in the worker, where it has to be; as text, as it stands in the file, nowhere any more; in no way in
 * the process in which kinds run. */
static void
keys_stay_in_the_worker(void)
{
    static const char raw[] = "cut -d' ' -f2";
    static const char as_text[] =
        "cut -d' ' -f2 | tr -d '\\n' | od -v -An -tx1 | tr -d ' \\n'";
    char worker[32], children[64];

    if (geteuid() != 0)
        return; /* nobody else may look into them */
    (void)snprintf(worker, sizeof worker, "%d", (int)rig.workers[0].pid);
    (void)snprintf(children, sizeof children, "$(cat /proc/%s/task/*/children)", worker);
    runs(0, "echo %s | wc -w", children);
    ck_assert_int_ge(atoi(text), 1);
    ck_assert_int_ge(copies_of_key(raw, worker), 1);
    ck_assert_int_eq(copies_of_key(as_text, worker), 0);
    ck_assert_int_eq(copies_of_key(raw, children), 0);
    ck_assert_int_eq(copies_of_key(as_text, children), 0);
}

START_TEST(only_handlers_see_it)
{
    work(0, _i == 0
                ? (const char *const[]){"--seal-file", ring, NULL}
                : (const char *const[]){"--seal-file", ring, "--isolate", "yes", NULL});
    send_all_ways();
    nobody_finds_it();
    if (_i == 1)
        keys_stay_in_the_worker();
    /* The follow-up job, too, is sealed, and its handler saw what it should. */
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.jobs where kind = 'seal.see' and "
                      "payload ? 'sealed' and result::text = '" SUM "'"),
        2);
    ck_assert_int_eq(rig_int(&rig, "select count(distinct key) from millrace.seals"), 1);
    ck_assert_int_eq(
        rig_int(&rig, "select jobs from millrace.seals where key is not null"), 12);
    runs(0,
        "$0 show $($0 jobs --kind seal.pass_on -o json | grep -o '[0-9a-f-]\\{36\\}')");
    shows("sealed");
    runs(0, "$0 dead -o json && $0 jobs -o json && $0 stats");
    hides(MARKER);
}
END_TEST

/* ---- what does not open ------------------------------------------------------------------------------- */

/* A pair of jobs for each, told apart by their lane. */
static const struct change {
    const char *sql, *says;
    int dead;
} changes[] = {
    {"update millrace.job j set payload = (select payload from millrace.job o where "
     "o.lane = j.lane "
     "and o.id <> j.id) where lane = ",
        "SEAL_BROKEN", 2},
    {"update millrace.job j set payload = (select payload from millrace.job o where "
     "o.lane = j.lane "
     "order by o.id limit 1) where lane = ",
        "SEAL_BROKEN", 1},
    {"update millrace.job set kind = 'seal.group' where lane = ", "SEAL_BROKEN", 2},
    {"update millrace.job set payload = substring(payload for 40) where lane = ",
        "SEAL_BROKEN", 2},
    {"update millrace.job set payload = set_byte(payload, 50, get_byte(payload, 50) # 1) "
     "where lane "
     "= ",
        "SEAL_BROKEN", 2},
    {"update millrace.job set payload = '\\x81a66d61726b6572a178' where lane = ",
        "SEAL_MISSING", 2},
    {"update millrace.job set payload = null where lane = ", "SEAL_MISSING", 2},
    {"update millrace.job set payload = payload where lane = ", "", 0},
};
#define CHANGES ((int)(sizeof changes / sizeof changes[0]))

static void
submit_pairs(void)
{
    struct millrace *mr = client_with(ring);

    work_with(0, ring); /* the broker is told of the kinds */
    stop_worker(0);
    for (int i = 0; i < 2 * CHANGES; i++) {
        struct millrace_pack args = marker_args(i % 2 ? "second" : "first");
        struct millrace_job job;
        char lane[16];

        (void)snprintf(lane, sizeof lane, "%d", i / 2);
        millrace_job_init(&job, "seal.see");
        job.lane = lane;
        job.args = args.bytes;
        job.args_bytes = args.n;
        ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_OK);
        millrace_pack_free(&args);
    }
    millrace_close(mr);
}

START_TEST(what_is_changed_in_the_table_fails_for_good)
{
    struct mr_err err = {0};

    submit_pairs();
    /* The broker has payloads in memory: it is to read them from the table again. */
    ck_assert(mr_proc_stop(&rig.broker, SIGTERM, RIG_WAIT_MS));
    for (int i = 0; i < CHANGES; i++) {
        (void)snprintf(line, sizeof line, "%s'%d'", changes[i].sql, i);
        ck_ok(mr_pg_run(rig.pg, line, 0, NULL, NULL, &err), err);
    }
    rig_broker(&rig, NULL);
    work(0, (const char *const[]){
                "--seal-file", ring, "--seal-only", "seal.see,seal.group,no.such", NULL});
    rig_wait_int(&rig, UNFINISHED, 0);
    for (int i = 0; i < CHANGES; i++) {
        (void)snprintf(line, sizeof line,
            "select count(*) from millrace.dead where reason = 'for-good' and attempts = "
            "1 and "
            "lane = '%d' and error like '%s:%%'",
            i, changes[i].says);
        ck_assert_msg(rig_int(&rig, line) == changes[i].dead, "%s", changes[i].sql);
    }
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.result where outcome = 1"), 3);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.result where error like "
                      "'%first%' or error like '%second%'"),
        0);
}
END_TEST

/* Those of a group that comes to nothing run once more, alone: they are open by then. */
START_TEST(a_group_that_breaks_apart_is_still_sealed)
{
    work(0, (const char *const[]){"--seal-file", ring, "--seal-only", "yes", NULL});
    runs(0, "$0 pause default; for i in 1 2 3 4 5 6 7 8; do "
            "echo '{\"kind\":\"seal.group\",\"args\":{\"marker\":\"x\"}}'; "
            "echo '{\"kind\":\"seal.group\",\"args\":{}}'; done > $K/batch; "
            "$0 batch $K/batch --no-wait --seal-file $R && $0 resume default");
    rig_wait_int(&rig, UNFINISHED, 0);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.result where outcome = 1"), 8);
    ck_assert_int_eq(
        rig_int(&rig,
            "select count(*) from millrace.dead where error = '`marker` is missing'"),
        8);
    runs(1, "$0 submit test.noop --wait");
    shows("SEAL_MISSING");
}
END_TEST

START_TEST(without_the_key_it_is_tried_again)
{
    if (_i == 0)
        work(0, (const char *const[]){NULL});
    else
        work_with(0, other);
    runs(1, "$0 submit seal.see " ARGS "--seal-file $R --attempts 1 --wait");
    shows("SEAL_NO_KEY");
    shows(_i == 0 ? "has no keyring" : "not in this worker's keyring");
    hides(MARKER);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.dead where reason = 'used-up'"), 1);
    /* It waits for a worker that has it. */
    runs(0, "$0 submit seal.see " ARGS "--seal-file $R --attempts 2");
    rig_wait_int(&rig,
        "select count(*) from millrace.attempts where outcome = 'failed' and retry_at > "
        "clock_timestamp() + interval '15 s'",
        1);
    /* What is not sealed goes on as ever. */
    runs(0, "$0 submit seal.see " ARGS "--wait");
    shows(SUM);
}
END_TEST

/* ---- submitting again, and keys that change -------------------------------------------------------------- */

START_TEST(submitting_again_is_safe_whatever_key_comes_first)
{
    struct millrace_id id = millrace_id_new(), late = millrace_id_new();
    struct millrace *mr = client_with(ring), *rotated, *forgot;

    work_with(0, ring);
    ck_assert_int_eq(submit_marker(mr, "seal.see", id, MARKER), MILLRACE_OK);
    rig_expect(mr, id, MILLRACE_SUCCEEDED);
    ck_assert_int_eq(submit_marker(mr, "seal.see", id, MARKER), MILLRACE_FINISHED);
    ck_assert_int_eq(submit_marker(mr, "seal.see", id, "another"), MILLRACE_CONFLICT);
    ck_assert_int_eq(submit_marker(mr, "seal.group", id, MARKER), MILLRACE_CONFLICT);
    runs(0, "$0 pause default");
    ck_assert_int_eq(submit_marker(mr, "seal.see", late, MARKER), MILLRACE_OK);
    ck_assert_int_eq(submit_marker(mr, "seal.see", late, MARKER), MILLRACE_KNOWN);

    runs(0, "cp $R $K/new && $0 seal add $K/new && $0 seal rotate $K/new && $0 seal add "
            "$K/new && $0 seal rotate $K/new");
    (void)snprintf(line, sizeof line, "%s/new", keys);
    rotated = client_with(line);
    ck_assert_int_eq(submit_marker(rotated, "seal.see", id, MARKER), MILLRACE_FINISHED);
    ck_assert_int_eq(submit_marker(rotated, "seal.see", late, MARKER), MILLRACE_KNOWN);
    ck_assert_int_eq(
        submit_marker(rotated, "seal.see", id, "another"), MILLRACE_CONFLICT);
    forgot = client_with(other);
    ck_assert_int_eq(submit_marker(forgot, "seal.see", id, MARKER), MILLRACE_CONFLICT);
    millrace_close(forgot);
    forgot = client_with("");
    ck_assert_int_eq(submit_marker(forgot, "seal.see", id, MARKER), MILLRACE_CONFLICT);
    millrace_close(forgot);
    millrace_close(rotated);
    millrace_close(mr);
}
END_TEST

#define FLOW 150

/* Jobs that are still under way when the next step is taken; every tenth makes a sealed follow-up. */
static void
flow(struct millrace *mr)
{
    struct millrace_pack args = marker_args(MARKER);
    struct millrace_error error;

    for (int i = 0; i < FLOW; i++) {
        struct millrace_job job;

        millrace_job_init(&job, i % 10 ? "seal.see" : "seal.pass_on");
        job.args = args.bytes;
        job.args_bytes = args.n;
        job.delay_ms = (uint32_t)(i % 5) * 100;
        ck_assert_int_eq(millrace_submit_start(mr, &job, MILLRACE_UNTIL_FINISHED,
                             RIG_WAIT_MS * 2, NULL, &error),
            MILLRACE_OK);
    }
    millrace_pack_free(&args);
}

static void
land(struct millrace *mr)
{
    struct millrace_completion done;

    for (int i = 0; i < FLOW; i++) {
        ck_assert_int_eq(millrace_finish(mr, RIG_WAIT_MS * 2, &done), 1);
        ck_assert_msg(
            done.code == MILLRACE_OK && done.result.outcome == MILLRACE_SUCCEEDED,
            "%d %d %s", done.code, done.result.outcome,
            done.result.text ? done.result.text : "");
        millrace_result_free(&done.result);
    }
    millrace_close(mr);
}

/* One worker after the other, in order: there is always one. */
static void
restart_workers(void)
{
    for (int i = 0; i < 2; i++) {
        stop_worker(i);
        work_with(i, ring);
    }
}

START_TEST(keys_are_rotated_with_jobs_in_flight)
{
    struct millrace *first, *second, *third;
    char old[64];

    work_with(0, ring);
    work_with(1, ring);
    runs(0, "$0 seal show $R -o json | grep -o '[0-9a-f]\\{16\\}'");
    (void)snprintf(old, sizeof old, "%.16s", text);

    first = client_with(ring);
    flow(first);
    runs(0, "$0 seal add $R"); /* step 1: all can open what will come */
    restart_workers();
    second = client_with(ring);
    flow(second);
    runs(0, "$0 seal rotate $R"); /* step 2: it is sealed with from now on */
    third = client_with(ring);
    flow(third);
    restart_workers();
    land(first);
    land(second);
    land(third);
    rig_wait_int(&rig, UNFINISHED, 0);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.seals"), 2);
    (void)snprintf(line, sizeof line,
        "select count(*) from millrace.seals where key = '%s' and unfinished = 0 and "
        "dead = 0",
        old);
    ck_assert_int_eq(rig_int(&rig, line), 1);
    runs(0, "$0 seal drop $R --key %s", old); /* step 3: nothing is left of it */
    hides(old);
    restart_workers();
    first = client_with(ring);
    flow(first);
    land(first);
    rig_wait_int(&rig, UNFINISHED, 0);
    /* None was lost, and none even failed an attempt. */
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.result where outcome = 1"),
        4 * (FLOW + FLOW / 10));
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.attempts where outcome = 'failed'"),
        0);
}
END_TEST

/* ---- dead jobs ------------------------------------------------------------------------------------------------ */

START_TEST(a_dead_one_is_sealed_anew)
{
    work(0, (const char *const[]){NULL});
    runs(1, "$0 submit seal.see " ARGS "--seal-file $R --attempts 1 --wait");
    runs(1, "$0 submit seal.see '{}' --attempts 1 --wait");
    runs(65, "$0 redrive --all --yes");
    shows("there is no keyring here");
    shows("--seal-file");
    shows("1 submitted anew, 1 are sealed and were not");
    runs(65, "$0 redrive --all --yes --seal-file $O");
    shows("which is not in the keyring");
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.seals s where s.key is not null "
                      "and s.jobs = 1"),
        1);
    stop_worker(0);
    work_with(0, ring);
    runs(0, "$0 redrive $($0 dead -o json | grep -o '{[^{]*used-up' | grep -o "
            "'[0-9a-f-]\\{36\\}' "
            "| head -1) --yes --seal-file $R");
    shows("1 submitted anew");
    rig_wait_int(&rig,
        "select count(*) from millrace.jobs j where payload ? 'sealed' and result::text "
        "= '" SUM "' and exists (select from millrace.job n where n.id = j.id and "
        "n.redrive_of is not null)",
        1);
    /* Once, as any. */
    runs(0, "$0 redrive --reason used-up --yes --seal-file $R");
    shows("0 submitted anew");
}
END_TEST

START_TEST(the_broker_takes_no_payload_that_is_not_sealed)
{
    work(0, (const char *const[]){NULL});
    runs(1, "$0 submit seal.see " ARGS "--seal-file $R --attempts 1 --wait");
    for (int i = 0; i < 4; i++) {
        struct millrace *mr = client_with("");
        struct millrace_id id = millrace_id_new();
        struct millrace_pack args = {.n = 0};
        struct millrace_error error;
        void *reply = NULL;
        size_t n;

        millrace_pack_map(&args, i == 3 ? 2 : 3);
        millrace_pack_str(&args, "ids");
        millrace_pack_array(&args, i == 0 ? 2 : 1);
        millrace_pack_bin(&args, id.b, 16);
        if (i == 0)
            millrace_pack_bin(&args, id.b, 16);
        millrace_pack_str(&args, "payload");
        millrace_pack_bin(&args, i == 2 ? "\x80" : "\xc7\x01\x53\x01", i == 2 ? 1 : 4);
        if (i < 3) {
            millrace_pack_str(&args, "as");
            id.b[6] = i == 1 ? 0x40 : id.b[6]; /* another version */
            millrace_pack_bin(&args, id.b, 16);
        }
        ck_assert_int_eq(
            millrace_call(mr, "redrive", args.bytes, args.n, 0, &reply, &n, &error),
            MILLRACE_BAD_ARGUMENT);
        millrace_pack_free(&args);
        millrace_close(mr);
    }
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("47_seal");
    TCase *tcase = tcase_create("seal");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, only_handlers_see_it, 0, 2);
    tcase_add_test(tcase, what_is_changed_in_the_table_fails_for_good);
    tcase_add_test(tcase, a_group_that_breaks_apart_is_still_sealed);
    tcase_add_loop_test(tcase, without_the_key_it_is_tried_again, 0, 2);
    tcase_add_test(tcase, submitting_again_is_safe_whatever_key_comes_first);
    tcase_add_test(tcase, keys_are_rotated_with_jobs_in_flight);
    tcase_add_test(tcase, a_dead_one_is_sealed_anew);
    tcase_add_test(tcase, the_broker_takes_no_payload_that_is_not_sealed);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
