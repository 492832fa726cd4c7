/*
 * Kinds in processes of their own: whatever a handler does there, it costs its job alone. The
 * worker's process, its other threads and their jobs live on, no process is left behind, and what
 * works in the worker works there just as well.
 */
#include "tests/support/pg_fixture.h"
#include "tests/support/procfs.h"
#include "tests/support/rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CRASHED 5 /* outcome of an attempt */
#define TIMED_OUT 3
#define MEMORY_MIB "64"

static struct rig rig;
static struct millrace *mr;
static pid_t worker; /* lives through it all */

static void
set_up(void)
{
    struct mr_err err = {0};

    rig_open(&rig);
    ck_ok(mr_pg_run(rig.pg, "create table public.bad (kind text)", 0, NULL, NULL, &err),
        err);
}

static void
tear_down(void)
{
    millrace_close(mr);
    rig_close(&rig);
}

/* ... of flags that follow those that all tests have. */
static void
start(const char *losses, int threads, const char *const *more)
{
    static char loads[1024];
    const char *flags[RIG_ARGS_MAX] = {
        "--load", loads, "--isolate-memory-mib", MEMORY_MIB, "--isolate-grace-ms", "100"};
    int n = 6;

    snprintf(loads, sizeof loads, "%s,%s,%s,%s", rig_program("tests/loadable/wild.so"),
        rig_program("tests/loadable/bad.so"), rig_program("tests/loadable/hello.so"),
        rig_program("tests/loadable/mix.so"));
    while (more && *more)
        flags[n++] = *more++;
    rig_broker(&rig,
        (const char *const[]){"--losses-max", losses, "--heartbeat-ms", "500", NULL});
    mr = rig_client(&rig);
    rig_worker(&rig, 0, threads, flags);
    worker = rig.workers[0].pid;
}

static void
start_worker(int threads, const char *const *more)
{
    start("3", threads, more);
}

static struct millrace_id
submit(struct millrace_job *job)
{
    ck_assert_int_eq(rig_verdict(mr, job), MILLRACE_OK);
    return job->id;
}

static struct millrace_job
job_of(const char *kind)
{
    struct millrace_job job;

    millrace_job_init(&job, kind);
    job.attempts_max = 1;
    return job;
}

static void
wait_for(struct millrace_id id, struct millrace_result *result)
{
    struct millrace_error error;
    int code = millrace_wait(mr, &id, RIG_WAIT_MS, result, &error);

    ck_assert_msg(code == 0, "%s: %s", millrace_code_name(code), error.why);
}

/* Its end, whose text (of a failure) has that word in it. */
static void
expect_end(struct millrace_id id, int outcome, const char *word)
{
    struct millrace_result result;

    wait_for(id, &result);
    ck_assert_msg(result.outcome == outcome, "%s instead of %s: %s",
        millrace_outcome_name(result.outcome), millrace_outcome_name(outcome),
        result.text ? result.text : "");
    ck_assert_msg(!word || (result.text && strstr(result.text, word)),
        "\"%s\" is not in: %s", word, result.text ? result.text : "");
    millrace_result_free(&result);
}

static int64_t
answer_of(struct millrace_id id)
{
    struct millrace_result result;
    int64_t number = 0;

    wait_for(id, &result);
    ck_assert_msg(result.outcome == MILLRACE_SUCCEEDED, "%s", result.text);
    ck_assert(millrace_get_int(result.body, result.body_bytes, "pid", &number));
    millrace_result_free(&result);
    return number;
}

/* Attempts with that outcome whose error is like that. */
static int64_t
attempts(int outcome, const char *like)
{
    char sql[256];

    snprintf(sql, sizeof sql,
        "select count(*) from millrace.attempt where outcome = %d and error like '%s'",
        outcome, like);
    return rig_int(&rig, sql);
}

static void
expect_worker_lives(void)
{
    rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
    ck_assert(answer_of(rig_submit(mr, "wild.keeps", "mib", 0)) > 0);
    ck_assert(mr_proc_is_alive(&rig.workers[0]));
    ck_assert_int_eq(rig.workers[0].pid, worker);
}

/* ---- processes ---------------------------------------------------------------------------------- */

static void
expect_gone(pid_t pid)
{
    int64_t until = rig_now_ms() + RIG_WAIT_MS;

    while (procfs_is_there(pid)) {
        ck_assert_msg(rig_now_ms() < until, "process %d is still there", (int)pid);
        rig_breathe();
    }
}

/* The number that a handler wrote into that file. */
static pid_t
read_pid(const char *path)
{
    int64_t until = rig_now_ms() + RIG_WAIT_MS;
    char line[32] = "";

    while (!strchr(line, '\n')) {
        FILE *file = fopen(path, "r");

        ck_assert_msg(rig_now_ms() < until, "nothing was written to %s", path);
        if (!file || !fgets(line, sizeof line, file))
            rig_breathe();
        if (file)
            fclose(file);
    }
    (void)unlink(path);
    return (pid_t)strtol(line, NULL, 10);
}

/* ---- handlers that crash ------------------------------------------------------------------------ */

/* Beside others, again and again: they lose nothing, it gets its verdict. */
START_TEST(a_crash)
{
    static const struct {
        const char *kind, *says;
    } ways[] = {
#ifdef __SANITIZE_ADDRESS__ /* which has a handler of its own */
        {"wild.touches_nothing", "crashed: % exited with code 1 %"},
#else
        {"wild.touches_nothing", "crashed: % SIGSEGV%"},
#endif
        {"wild.aborts", "crashed: % SIGABRT%"},
        {"wild.exits", "crashed: % exited with code 3 %"},
        {"wild.kills_itself", "crashed: % SIGKILL%not by millrace%"},
        {"bad.exits", "crashed: % exited with code 0 %"},
    };
    enum { OTHERS = 20 };
    struct millrace_job job = job_of(ways[_i].kind);
    struct millrace_id others[OTHERS];

    start_worker(2, (const char *const[]){"--isolate", "bad.exits", NULL});
    submit(&job);
    for (int i = 0; i < OTHERS; i++)
        others[i] = rig_submit(mr, i % 2 ? "test.sleep" : "wild.keeps", "ms", 10);
    expect_end(job.id, MILLRACE_FAILED, "quarantined");
    for (int i = 0; i < OTHERS; i++)
        rig_expect(mr, others[i], MILLRACE_SUCCEEDED);
    ck_assert_int_eq(attempts(CRASHED, ways[_i].says), 3);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.attempt"), 3);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from public.bad"), 0);
    expect_worker_lives();
}
END_TEST

/* The address sanitizer never runs out of memory quietly: nothing to see of it there. */
#ifdef __SANITIZE_ADDRESS__
#define HAS_OWN_MEMORY true
#else
#define HAS_OWN_MEMORY false
#endif

START_TEST(a_leak)
{
    struct millrace_job job = job_of("wild.leaks");

    start_worker(1, NULL);
    if (HAS_OWN_MEMORY)
        return;
    submit(&job);
    expect_end(job.id, MILLRACE_FAILED, "quarantined");
    ck_assert_int_eq(
        attempts(CRASHED, "crashed: %it had used up its memory (% of " MEMORY_MIB
                          " MiB)%memory_mib_max%"),
        3);
    expect_worker_lives();
}
END_TEST

START_TEST(ten_gibibytes_at_once)
{
    struct millrace_job job = job_of("wild.wants_much");

    start_worker(1, NULL);
    if (HAS_OWN_MEMORY)
        return;
    submit(&job);
    expect_end(job.id, MILLRACE_FAILED, "no memory for 10 GiB");
    expect_worker_lives();
}
END_TEST

/* Every job has its whole allowance, whatever those before it have left behind; and in time
 * another process takes the place of one that keeps too much. */
START_TEST(memory_that_is_kept)
{
    pid_t first, next;

    start_worker(1, (const char *const[]){"--isolate-growth-mib", "100", NULL});
    first = (pid_t)answer_of(rig_submit(mr, "wild.keeps", "mib", 40));
    ck_assert_int_eq(answer_of(rig_submit(mr, "wild.keeps", "mib", 40)), first);
    ck_assert_int_eq(answer_of(rig_submit(mr, "wild.keeps", "mib", 40)), first);
    next = (pid_t)answer_of(rig_submit(mr, "wild.keeps", "mib", 0));
    ck_assert_int_ne(next, first);
    expect_gone(first);
    ck_assert_int_eq(answer_of(rig_submit(mr, "wild.keeps", "mib", 0)), next);
}
END_TEST

START_TEST(so_many_jobs_a_process)
{
    int64_t pids[6];

    start_worker(1, (const char *const[]){"--isolate-jobs-max", "2", NULL});
    for (int i = 0; i < 6; i++)
        pids[i] = answer_of(rig_submit(mr, "wild.keeps", "mib", 0));
    for (int i = 1; i < 6; i++)
        ck_assert_msg((pids[i] == pids[i - 1]) == (i % 2 == 1), "job %d", i);
    expect_gone((pid_t)pids[0]);
    expect_gone((pid_t)pids[2]);
}
END_TEST

/* ---- handlers that do not return ---------------------------------------------------------------- */

/* The only thread is back at once, for as long as it takes. */
START_TEST(an_endless_loop)
{
    enum { LOOPS = 4, OTHERS = 10 };
    struct millrace_id loops[LOOPS], others[OTHERS];

    start_worker(
        1, (const char *const[]){"--hang-grace-ms", "1", "--executor-spares", "0", NULL});
    for (int i = 0; i < LOOPS; i++) {
        struct millrace_job job = job_of("wild.loops");

        job.timeout_ms = 500;
        loops[i] = submit(&job);
    }
    for (int i = 0; i < OTHERS; i++)
        others[i] = rig_submit(mr, "test.noop", NULL, 0);
    for (int i = 0; i < OTHERS; i++)
        rig_expect(mr, others[i], MILLRACE_SUCCEEDED);
    for (int i = 0; i < LOOPS; i++)
        expect_end(loops[i], MILLRACE_FAILED, "timed out");
    ck_assert_int_gt(attempts(TIMED_OUT, "timed out: %its process was killed"), 0);
    ck_assert_int_eq(attempts(TIMED_OUT, "timed out%"), LOOPS);
    expect_worker_lives();
}
END_TEST

static struct millrace_id
submit_path(const char *kind, char path[128], uint32_t timeout_ms)
{
    struct millrace_job job = job_of(kind);
    struct millrace_pack args = {0};

    snprintf(path, 128, "%s/pid", rig.folder);
    millrace_pack_map(&args, 1);
    millrace_pack_str(&args, "path");
    millrace_pack_str(&args, path);
    job.args = args.bytes;
    job.args_bytes = args.n;
    job.timeout_ms = timeout_ms;
    submit(&job);
    millrace_pack_free(&args);
    return job.id;
}

/* What a handler started goes with it: when it is killed, and when it ends by itself, though the
 * other one holds the socket. */
START_TEST(a_process_of_its_own)
{
    char path[128];
    struct millrace_id id;
    pid_t pid;

    start_worker(1, NULL);
    id = submit_path("wild.forks", path, 300);
    pid = read_pid(path);
    expect_end(id, MILLRACE_FAILED, "was killed");
    expect_gone(pid);
    id = submit_path("wild.forks_and_exits", path, 0);
    pid = read_pid(path);
    expect_end(id, MILLRACE_FAILED, "quarantined");
    expect_gone(pid);
    (void)unlink(path);
    expect_worker_lives();
}
END_TEST

START_TEST(garbage_into_every_descriptor)
{
    struct millrace_job job = job_of("wild.scribbles");

    start_worker(2, NULL);
    submit(&job);
    expect_end(job.id, MILLRACE_FAILED, "quarantined");
    ck_assert_int_eq(attempts(CRASHED, "crashed: %"), 3);
    expect_worker_lives();
}
END_TEST

/* ... and loops for ever. Whether anybody notices before its time is up is a matter of moments. */
START_TEST(every_descriptor_closed)
{
    struct millrace_job job = job_of("wild.closes");

    start_worker(1, NULL);
    job.timeout_ms = 300;
    submit(&job);
    expect_end(job.id, MILLRACE_FAILED, NULL);
    ck_assert_int_gt(attempts(TIMED_OUT, "timed out: %") +
                         attempts(CRASHED, "crashed: its process closed its connection%"),
        0);
    expect_worker_lives();
}
END_TEST

START_TEST(a_cancel_that_is_ignored)
{
    char path[128];
    struct millrace_id id;
    struct millrace_error error;
    pid_t other, child;

    start_worker(1, NULL);
    id = submit_path("wild.forks", path, 0);
    other = read_pid(path);
    child = procfs_parent(other);
    ck_assert_int_eq(millrace_cancel(mr, &id, RIG_WAIT_MS, &error), MILLRACE_OK);
    expect_end(id, MILLRACE_WAS_CANCELLED, NULL);
    expect_gone(child);
    expect_gone(other);
    expect_worker_lives();
}
END_TEST

/* Its SQL is cancelled, so that it need not be killed, and nothing is left of what it wrote. */
START_TEST(sql_that_takes_an_hour)
{
    struct millrace_job job = job_of("wild.sleeps_in_sql");
    pid_t child[2];

    start_worker(1, (const char *const[]){"--isolate-grace-ms", "60000", NULL});
    job.timeout_ms = 400;
    submit(&job);
    expect_end(job.id, MILLRACE_FAILED, "timed out");
    ck_assert_int_eq(attempts(TIMED_OUT, "timed out"), 1);
    ck_assert_int_eq(procfs_children(worker, child, 2), 1);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from public.bad"), 0);
    expect_worker_lives();
}
END_TEST

/* ---- nobody is left behind ------------------------------------------------------------------------ */

/* In the middle of a job that does not end; `other`: what it started. */
static pid_t
looping_child(pid_t *other)
{
    char path[128];
    pid_t child;

    (void)submit_path("wild.forks", path, 0);
    *other = read_pid(path);
    child = procfs_parent(*other);
    ck_assert_int_eq(procfs_parent(child), worker);
    return child;
}

/* A frozen child as well, which can do nothing about it itself. */
START_TEST(the_worker_is_killed)
{
    pid_t child, other;

    start_worker(2, NULL);
    child = looping_child(&other);
    if (_i == 1)
        ck_assert_int_eq(kill(child, SIGSTOP), 0);
    while (_i == 1 && procfs_state(child) != 'T')
        rig_breathe();
    mr_proc_signal(&rig.workers[0], SIGKILL);
    expect_gone(child);
    expect_gone(other);
}
END_TEST

/* In order, and at once; in the middle of a job. Whoever stops a service sends SIGTERM to all of
 * its processes: the children leave it to the worker. */
START_TEST(the_worker_is_stopped)
{
    pid_t child, other;
    int signals = _i + 1;

    start_worker(1, (const char *const[]){"--drain-ms", signals == 1 ? "100" : "60000",
                        "--hang-grace-ms", "60000", NULL});
    child = looping_child(&other);
    ck_assert_int_eq(kill(child, SIGTERM), 0);
    ck_assert_int_eq(kill(child, SIGINT), 0);
    for (int i = 0; i < signals; i++)
        mr_proc_signal(&rig.workers[0], SIGTERM);
    if (signals > 1) /* two at once are one */
        while (!mr_proc_wait(&rig.workers[0], 50))
            mr_proc_signal(&rig.workers[0], SIGTERM);
    ck_assert(mr_proc_wait(&rig.workers[0], RIG_WAIT_MS));
    ck_assert_int_eq(mr_proc_exit_code(&rig.workers[0]), 0);
    ck_assert(!procfs_is_there(child));
    expect_gone(other);
    /* Not its fault: it is to run elsewhere. */
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.attempt where outcome = 5"), 0);
}
END_TEST

/* ---- what works in the worker works there --------------------------------------------------------- */

#define NAME                                                                             \
    "\x81\xa4name\xa3"                                                                   \
    "Ada"
#define TIMES "\x81\xa5times\x02"
#define FOR_GOOD                                                                         \
    "\x81\xa8"                                                                           \
    "for_good\xc3"
#define LATER "\x82\xa5times\x01\xaeretry_after_ms\x32"

START_TEST(the_same_in_both)
{
    static const struct {
        const char *kind, *args, *says;
        int attempts_max, outcome;
        const char *body;
    } rows[] = {
        {"test.noop", NULL, NULL, 1, MILLRACE_SUCCEEDED, ""},
        {"test.fail", TIMES, NULL, 3, MILLRACE_SUCCEEDED, "03"},
        {"test.fail", TIMES, "", 2, MILLRACE_FAILED, NULL},
        {"test.fail", FOR_GOOD, "", 3, MILLRACE_FAILED, NULL},
        {"test.fail", LATER, NULL, 2, MILLRACE_SUCCEEDED, "02"},
        {"demo.hello", NAME, NULL, 1, MILLRACE_SUCCEEDED, "81a568656c6c6fa3416461"},
        {"demo.hello", NULL, "`name` is missing", 3, MILLRACE_FAILED, NULL},
        {"wild.snoozes", NULL, NULL, 1, MILLRACE_SUCCEEDED, "02"},
        {"bad.large", NULL, "larger than 1 MiB", 1, MILLRACE_FAILED, NULL},
        {"bad.unfinished", NULL, "not one whole value", 1, MILLRACE_FAILED, NULL},
        {"bad.no_text", NULL, "not one whole value", 1, MILLRACE_FAILED, NULL},
        {"bad.no_answer", NULL, "returned 77", 1, MILLRACE_FAILED, NULL},
        {"bad.failed_sql", NULL, "division by zero", 1, MILLRACE_FAILED, NULL},
        {"bad.rolls_back", NULL, "transaction is gone", 1, MILLRACE_FAILED, NULL},
        {"bad.copies", NULL, "", 1, MILLRACE_FAILED, NULL},
        {"bad.ends_session", NULL, "terminat", 1, MILLRACE_FAILED, NULL},
    };

    start_worker(1, (const char *const[]){"--isolate", _i ? "yes" : "no", NULL});
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct millrace_job job = job_of(rows[i].kind);
        struct millrace_result result;
        char hex[64] = "";

        job.args = rows[i].args;
        job.args_bytes = rows[i].args ? strlen(rows[i].args) : 0;
        job.attempts_max = (uint32_t)rows[i].attempts_max;
        job.backoff_base_ms = 10;
        wait_for(submit(&job), &result);
        ck_assert_msg(result.outcome == rows[i].outcome, "row %zu: %s, %s", i,
            millrace_outcome_name(result.outcome), result.text ? result.text : "");
        ck_assert_msg(!rows[i].says || strstr(result.text, rows[i].says), "row %zu: %s",
            i, result.text);
        for (size_t k = 0; k < result.body_bytes && k < 31; k++)
            snprintf(hex + 2 * k, 3, "%02x", ((unsigned char *)result.body)[k]);
        ck_assert_msg(
            !rows[i].body || strcmp(hex, rows[i].body) == 0, "row %zu: %s", i, hex);
        millrace_result_free(&result);
    }
    ck_assert_int_eq(rig_int(&rig, "select count(*) from public.bad"), 0);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from greeting"), 1);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.attempt where outcome = 5"), 0);
    expect_worker_lives();
}
END_TEST

START_TEST(a_cancel_that_is_heeded)
{
    struct millrace_id id;

    start_worker(1, (const char *const[]){"--isolate", _i ? "yes" : "no",
                        "--isolate-grace-ms", "60000", NULL});
    id = rig_submit(mr, "test.sleep", "ms", 3600000);
    rig_wait_stat(mr, "sent", 1);
    ck_assert_int_eq(millrace_cancel(mr, &id, RIG_WAIT_MS, NULL), MILLRACE_OK);
    expect_end(id, MILLRACE_WAS_CANCELLED, NULL);
    expect_worker_lives();
}
END_TEST

START_TEST(progress)
{
    static struct rig_peer peer;
    struct mr_event event = {.type = MR_EVENT_WAITING};
    int64_t until = rig_now_ms() + RIG_WAIT_MS;

    start_worker(1, (const char *const[]){"--isolate", _i ? "yes" : "no", NULL});
    rig_peer_open(&peer, rig.front);
    rig_peer_hello(&peer, MR_ROLE_CLIENT, NULL);
    (void)rig_peer_submit(&peer, "test.spin");
    while (event.type != MR_EVENT_PROGRESS || !event.permille) {
        struct mr_events events;

        ck_assert(rig_now_ms() < until);
        rig_peer_expect(&peer, MR_EVENT);
        ck_assert_int_eq(mr_get_events(&peer.msg, &events), MR_OK);
        ck_assert_int_eq(mr_get_event(&events, &event), MR_OK);
        ck_assert_int_ne(event.type, MR_EVENT_FINISHED);
    }
    ck_assert(mr_span_is(event.text, "spinning"));
    rig_peer_close(&peer);
}
END_TEST

static void
add_tests(TCase *tcase)
{
    tcase_add_loop_test(tcase, a_crash, 0, 5);
    tcase_add_test(tcase, a_leak);
    tcase_add_test(tcase, ten_gibibytes_at_once);
    tcase_add_test(tcase, memory_that_is_kept);
    tcase_add_test(tcase, so_many_jobs_a_process);
    tcase_add_test(tcase, an_endless_loop);
    tcase_add_test(tcase, a_process_of_its_own);
    tcase_add_test(tcase, garbage_into_every_descriptor);
    tcase_add_test(tcase, every_descriptor_closed);
    tcase_add_test(tcase, a_cancel_that_is_ignored);
    tcase_add_test(tcase, sql_that_takes_an_hour);
    tcase_add_loop_test(tcase, the_worker_is_killed, 0, 2);
    tcase_add_loop_test(tcase, the_worker_is_stopped, 0, 2);
    tcase_add_loop_test(tcase, the_same_in_both, 0, 2);
    tcase_add_loop_test(tcase, a_cancel_that_is_heeded, 0, 2);
    tcase_add_loop_test(tcase, progress, 0, 2);
}

int
main(void)
{
    Suite *suite = suite_create("isolate");
    TCase *tcase = tcase_create("isolate");

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    add_tests(tcase);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
