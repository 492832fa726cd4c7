/*
 * CURVE from end to end: who has a key that is registered works as ever, everybody else gets the
 * refusal that is his, and nobody is disturbed by it. No secret is seen anywhere.
 */
#include <sys/stat.h>

#include "schemas/sql/principal.h"
#include "schemas/wire/curve.h"
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>
#include <zmq.h>

#define TEXT_BYTES 16384
#define LARGE 300000u

static struct rig rig;
static char text[TEXT_BYTES];
static char paths[8][128];

/* FOLDER/NAME.EXT, in one of a few places that are used in turn. */
static const char *
path_of(const char *name, const char *ext)
{
    static int next;
    char *path = paths[next++ % 8];

    (void)snprintf(path, sizeof paths[0], "%s/%s.%s", rig.folder, name, ext);
    return path;
}

static void
make_key(const char *name)
{
    struct mr_curve *curve;
    struct mr_err err;

    ck_assert_int_eq(mr_curve_new(&curve, &err), MR_OK);
    ck_assert_msg(mr_curve_write(curve, rig.folder, name, &err) == MR_OK, "%s", err.why);
    mr_curve_destroy(&curve);
}

static void
change(enum mr_principal_verb verb, const char *name, const char *key, const char *role,
    const char *right)
{
    struct mr_principal_change wanted = {.verb = verb};
    char said[MR_PRINCIPAL_TEXT_BYTES];
    struct mr_err err;

    wanted.fields[MR_PRINCIPAL_NAME] = name;
    wanted.fields[MR_PRINCIPAL_KEY] = key;
    wanted.fields[MR_PRINCIPAL_ROLE] = role;
    wanted.fields[MR_PRINCIPAL_RIGHT] = right;
    ck_assert_msg(mr_principal_change(rig.pg, &wanted, said, &err) == MR_OK, "%s %s",
        err.what, err.why);
}

static void
enroll(const char *name, const char *role)
{
    char key[MR_CURVE_ROOM];
    struct mr_err err;

    ck_assert_int_eq(mr_curve_read_public(path_of(name, "pub"), key, &err), MR_OK);
    change(MR_PRINCIPAL_ADD, name, key, role, NULL);
}

/* From now on everything that is started is `name`. */
static void
become(const char *name)
{
    if (name)
        ck_assert_int_eq(setenv("MILLRACE_KEY_FILE", path_of(name, "key"), 1), 0);
    else
        (void)unsetenv("MILLRACE_KEY_FILE");
    if (name)
        ck_assert_int_eq(setenv("MILLRACE_SERVER_KEY", path_of("broker", "pub"), 1), 0);
    else
        (void)unsetenv("MILLRACE_SERVER_KEY");
}

static void
start_broker(void)
{
    (void)unsetenv("MILLRACE_SERVER_KEY");
    rig_broker(&rig, (const char *const[]){"--key-file", path_of("broker", "key"), NULL});
}

static void
set_up(void)
{
    rig_open(&rig);
    make_key("broker");
    make_key("me");
    make_key("w0");
    make_key("stranger");
    enroll("me", "front-end");
    change(MR_PRINCIPAL_GRANT, "me", NULL, NULL, "operator");
    change(MR_PRINCIPAL_GRANT, "me", NULL, NULL, "auditor");
    enroll("w0", "worker");
    become(NULL);
}

static void
tear_down(void)
{
    become(NULL);
    rig_close(&rig);
}

static void
start_worker(void)
{
    become("w0");
    rig_worker(&rig, 0, 2, NULL);
    become("me");
}

/* What all programs have said so far has that in it, now or soon. */
static void
await_output(const char *wanted)
{
    int64_t end_ms = rig_now_ms() + RIG_WAIT_MS;
    bool has = false;

    while (!has && rig_now_ms() < end_ms) {
        FILE *file = fopen(rig.output, "re");
        char line[2048];

        while (file && !has && fgets(line, sizeof line, file))
            has = strstr(line, wanted) != NULL;
        if (file)
            fclose(file);
        rig_breathe();
    }
    ck_assert_msg(has, "nobody said: %s", wanted);
}

static void
expect_works(struct millrace *mr)
{
    rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
}

/* Whoever I am now is refused with that code and these words, without waiting for a timeout. */
static void
expect_refusal(int code, const char *why, const char *todo)
{
    struct millrace *mr = rig_client(&rig);
    struct millrace_error error = {.code = 0};
    struct millrace_job job;

    ck_assert_int_eq(millrace_ready(mr, RIG_WAIT_MS, &error), code);
    ck_assert_msg(strstr(error.why, why), "%s", error.why);
    ck_assert_msg(strstr(error.todo, todo), "%s", error.todo);
    millrace_job_init(&job, "test.noop");
    ck_assert_int_eq(millrace_submit(mr, &job, RIG_WAIT_MS, &error), code);
    ck_assert_msg(strstr(error.why, why), "%s", error.why);
    millrace_close(mr);
}

/* Without a key: the broker hangs up as soon as it sees that, mostly before it has said why. So
 * either of two codes, but words about keys in any case. */
static void
expect_hint(void)
{
    struct millrace *mr = rig_client(&rig);
    struct millrace_error error = {.code = 0};
    int code = millrace_ready(mr, 2000, &error);

    ck_assert_msg(code == MILLRACE_DENIED || code == MILLRACE_UNREACHABLE, "%d %s", code,
        error.why);
    ck_assert_msg(strstr(error.why, "key"), "%s", error.why);
    millrace_close(mr);
}

/* ---- it works ------------------------------------------------------------------------------------ */

START_TEST(jobs_go_through)
{
    static char args[LARGE];
    struct millrace_job job;
    struct millrace_result result;
    struct millrace_error error;
    struct millrace *mr;

    start_broker();
    start_worker();
    mr = rig_client(&rig);
    expect_works(mr);
    /* Many frames, each sealed by itself. */
    args[0] = (char)0xc6;
    args[3] = (char)((LARGE - 5) >> 8);
    args[2] = (char)((LARGE - 5) >> 16);
    args[4] = (char)((LARGE - 5) & 0xff);
    millrace_job_init(&job, "test.noop");
    job.args = args;
    job.args_bytes = sizeof args;
    ck_assert_msg(
        millrace_run(mr, &job, RIG_WAIT_MS, &result, &error) == 0, "%s", error.why);
    ck_assert_int_eq(result.outcome, MILLRACE_SUCCEEDED);
    millrace_result_free(&result);
    ck_assert_int_eq(rig_stat(mr, "keys"), 2);
    ck_assert_int_ge(rig_stat(mr, "let_in"), 2);
    ck_assert_int_eq(rig_stat(mr, "keys_refused"), 0);
    ck_assert_int_eq(rig_stat(mr, "nameless"), 0);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.job where submitted_by <> 'me'"), 0);
    ck_assert_int_eq(rig_sh(&rig, "\"$0\" stats", text, sizeof text), 0);
    ck_assert_ptr_nonnull(strstr(text, "is_encrypted"));
    millrace_close(mr);
}
END_TEST

/* A front end that was written from the protocol's page. */
START_TEST(in_another_language)
{
    const char *python = getenv("PYTHON");
    const char *argv[] = {python ? python : "python3", "tests/integration/client.py",
        rig.front, "test.noop", "test.fail", "--key-file", path_of("me", "key"),
        "--server-key", path_of("broker", "pub"), NULL};
    const char *strange[] = {argv[0], argv[1], rig.front, "--timeout", "2", "--key-file",
        path_of("stranger", "key"), "--server-key", argv[8], NULL};

    start_broker();
    start_worker();
    ck_assert_msg(rig_run(&rig, argv, text, sizeof text) == 0, "%s", text);
    ck_assert_int_eq(rig_run(&rig, strange, text, sizeof text), 2);
    ck_assert_ptr_null(strstr(text, "welcome"));
}
END_TEST

/* A broker that comes back has not read yet whom it knows: that is no refusal. */
START_TEST(a_broker_that_comes_back_is_found)
{
    struct millrace *mr;

    start_broker();
    start_worker();
    mr = rig_client(&rig);
    expect_works(mr);
    mr_proc_signal(&rig.broker, SIGKILL);
    ck_assert(mr_proc_wait(&rig.broker, RIG_WAIT_MS));
    start_broker();
    expect_works(mr);
    ck_assert_int_eq(rig_stat(mr, "keys_refused"), 0);
    millrace_close(mr);
}
END_TEST

/* ---- who is refused -------------------------------------------------------------------------------- */

START_TEST(strangers_are_refused_each_in_his_way)
{
    struct millrace *mr;

    start_broker();
    start_worker();
    mr = rig_client(&rig);
    expect_works(mr);
    become("stranger");
    expect_refusal(MILLRACE_DENIED, "does not know", "principal add");
    become(NULL);
    expect_hint();
    become("me");
    ck_assert_int_eq(setenv("MILLRACE_SERVER_KEY", path_of("w0", "pub"), 1), 0);
    {
        struct millrace *lost = rig_client(&rig);
        struct millrace_error error;

        ck_assert_int_eq(millrace_ready(lost, 1000, &error), MILLRACE_UNREACHABLE);
        ck_assert_msg(strstr(error.why, "server_key"), "%s", error.why);
        millrace_close(lost);
    }
    rig_wait_stat(mr, "keys_refused", 1);
    rig_wait_int(&rig,
        "select (count(*) > 0)::int from millrace.audit where action = 'handshake' and "
        "decision = 'refused' and key is not null",
        1);
    expect_works(mr);
    millrace_close(mr);
}
END_TEST

START_TEST(a_worker_with_a_strange_key_waits_until_it_is_known)
{
    struct mr_proc_spec spec = {.output = rig.output};
    const char *argv[] = {rig_program("millrace-worker"), "--endpoint", rig.back,
        "--database", rig.conninfo, "--name", "late", NULL};
    struct mr_err err;
    struct millrace *mr;

    start_broker();
    become("stranger");
    spec.argv = argv;
    ck_assert_int_eq(mr_proc_start(&rig.workers[0], &spec, &err), MR_OK);
    await_output("does not know");
    enroll("stranger", "worker");
    become("me");
    mr = rig_client(&rig);
    rig_wait_stat(mr, "workers", 1);
    expect_works(mr);
    millrace_close(mr);
}
END_TEST

START_TEST(a_revoked_key_opens_nothing)
{
    struct millrace *mr;
    struct millrace_job job;
    int64_t end_ms = rig_now_ms() + RIG_WAIT_MS;
    int code = MILLRACE_OK;

    start_broker();
    start_worker();
    mr = rig_client(&rig);
    expect_works(mr);
    change(MR_PRINCIPAL_REVOKE, "me", NULL, NULL, NULL);
    while (code != MILLRACE_DENIED && rig_now_ms() < end_ms) {
        millrace_job_init(&job, "test.noop");
        code = rig_verdict(mr, &job);
    }
    ck_assert_int_eq(code, MILLRACE_DENIED);
    millrace_close(mr);
    expect_refusal(MILLRACE_DENIED, "has revoked it", "principal add");
}
END_TEST

/* How it ended: whoever of the two hangs up first decides what the other one is told. */
static bool
gets_in(void *context, bool with_password)
{
    void *socket = zmq_socket(context, ZMQ_DEALER);
    void *monitor = mr_curve_watch(context, socket);
    int64_t end_ms = rig_now_ms() + RIG_WAIT_MS;
    enum mr_curve_event event = MR_CURVE_NOTHING;
    int linger_ms = 0;

    zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    if (with_password) {
        zmq_setsockopt(socket, ZMQ_PLAIN_USERNAME, "me", 2);
        zmq_setsockopt(socket, ZMQ_PLAIN_PASSWORD, "me", 2);
    }
    ck_assert_int_eq(zmq_connect(socket, rig.front), 0);
    while (event == MR_CURVE_NOTHING && rig_now_ms() < end_ms) {
        event = mr_curve_event(monitor);
        rig_breathe();
    }
    mr_curve_unwatch(socket, &monitor);
    zmq_close(socket);
    ck_assert_int_ne(event, MR_CURVE_NOTHING);
    return event == MR_CURVE_WELCOME;
}

START_TEST(nobody_talks_it_down_to_plain_text)
{
    void *context = zmq_ctx_new();
    struct millrace *mr;
    int64_t before;

    start_broker();
    become("me");
    mr = rig_client(&rig);
    before = rig_stat(mr, "let_in");
    ck_assert(!gets_in(context, false));
    ck_assert(!gets_in(context, true));
    ck_assert_int_eq(rig_stat(mr, "let_in"), before);
    millrace_close(mr);
    zmq_ctx_term(context);
}
END_TEST

/* ---- starting -------------------------------------------------------------------------------------- */

static void
expect_start(int code, const char *const *argv, const char *words)
{
    ck_assert_int_eq(rig_run(&rig, argv, text, sizeof text), code);
    ck_assert_msg(strstr(text, words), "%s", text);
}

START_TEST(key_files_that_cannot_be_used)
{
    const char *broker[] = {rig_program("millrace-broker"), "--check", "--key-file",
        path_of("broker", "key"), "--back", "tcp://0.0.0.0:*", NULL};
    const char *open_to_all[] = {
        rig_program("millrace-broker"), "--check", "--back", "tcp://0.0.0.0:*", NULL};
    const char *worker[] = {rig_program("millrace-worker"), "--endpoint",
        "tcp://192.0.2.1:7655", "--database", rig.conninfo, NULL};

    /* With a key it may listen anywhere, without one only here. */
    expect_start(0, broker, "fine");
    expect_start(EX_CONFIG, open_to_all, "key_file");
    ck_assert_int_eq(chmod(path_of("broker", "key"), 0644), 0);
    expect_start(EX_NOPERM, broker, "others than its owner");
    broker[3] = path_of("broker", "pub");
    expect_start(EX_CONFIG, broker, "no secret");
    broker[3] = path_of("none", "key");
    expect_start(EX_CONFIG, broker, "No such file");
    /* Whoever connects is as careful. */
    expect_start(EX_CONFIG, worker, "leaves this host");
    ck_assert_int_eq(
        rig_sh(&rig, "\"$0\" stats --endpoint tcp://192.0.2.1:7654", text, sizeof text),
        EX_CONFIG);
    ck_assert_ptr_nonnull(strstr(text, "leaves this host"));
    become("me");
    (void)unsetenv("MILLRACE_SERVER_KEY");
    ck_assert_int_eq(rig_sh(&rig, "\"$0\" stats", text, sizeof text), EX_CONFIG);
    ck_assert_ptr_nonnull(strstr(text, "server_key"));
}
END_TEST

START_TEST(insecure_is_said_aloud)
{
    struct millrace *mr;

    (void)snprintf(rig.back, sizeof rig.back, "tcp://0.0.0.0:*");
    rig_broker(&rig, (const char *const[]){"--insecure", NULL});
    await_output("insecure");
    mr = rig_client(&rig);
    ck_assert_int_eq(
        rig_sh(&rig, "\"$0\" stats | grep is_insecure", text, sizeof text), 0);
    ck_assert_msg(strstr(text, "yes"), "%s", text);
    millrace_close(mr);
}
END_TEST

/* The secrets of all who took part, nowhere in what they said or in how they were called. */
START_TEST(no_secret_is_seen)
{
    static const char *const names[] = {"broker", "me", "w0", "stranger"};
    struct millrace *mr;
    char line[512];

    start_broker();
    start_worker();
    mr = rig_client(&rig);
    expect_works(mr);
    become("stranger");
    expect_refusal(MILLRACE_DENIED, "does not know", "principal add");
    millrace_close(mr);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)snprintf(line, sizeof line,
            "s=$(sed -n 's/^secret-key = \"\\(.*\\)\"$/\\1/p' '%s') && [ ${#s} = 40 ] && "
            "! cat '%s' /proc/%ld/cmdline /proc/%ld/cmdline /proc/%ld/environ | grep -qF "
            "-- \"$s\"",
            path_of(names[i], "key"), rig.output, (long)rig.broker.pid,
            (long)rig.workers[0].pid, (long)rig.workers[0].pid);
        ck_assert_msg(
            rig_sh(&rig, line, text, sizeof text) == 0, "%s %s", names[i], text);
    }
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("curve");
    TCase *tcase = tcase_create("curve");

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, jobs_go_through);
    tcase_add_test(tcase, in_another_language);
    tcase_add_test(tcase, a_broker_that_comes_back_is_found);
    tcase_add_test(tcase, strangers_are_refused_each_in_his_way);
    tcase_add_test(tcase, a_worker_with_a_strange_key_waits_until_it_is_known);
    tcase_add_test(tcase, a_revoked_key_opens_nothing);
    tcase_add_test(tcase, nobody_talks_it_down_to_plain_text);
    tcase_add_test(tcase, key_files_that_cannot_be_used);
    tcase_add_test(tcase, insecure_is_said_aloud);
    tcase_add_test(tcase, no_secret_is_seen);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
