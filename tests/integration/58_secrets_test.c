/*
 * Nothing that is secret is in what the programs say, at the most talkative level, whatever goes
 * wrong; nor on their command lines. Five secrets are planted; then a session of mistakes.
 */
#include "tests/support/pg_fixture.h"
#include "tests/support/procfs.h"
#include "tests/support/rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FROM_FILE "Sekret-file-1"         /* the broker's password, in its ini file */
#define FROM_VARIABLE "Sekret-variable-2" /* the worker's and the commands' */
#define PAYLOAD "SekretPayload"           /* one token to a parser */
#define RESULT "Sekret-result-4"
#define KEY_HEX 64 /* characters of the seal key, the fifth */

static struct rig rig;
static char ini[128], ring[128], key[KEY_HEX + 1] = "not made yet";
static char text[1 << 20], line[2048];

/* ---- what was said -------------------------------------------------------------------------------- */

static void
hides(const char *where, const char *said, size_t n)
{
    const char *const secrets[] = {FROM_FILE, FROM_VARIABLE, PAYLOAD, RESULT, key};

    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        const char *found = memmem(said, n, secrets[i], strlen(secrets[i]));
        size_t before = found ? (size_t)(found - said) : 0;

        before = before < 200 ? before : 200;
        ck_assert_msg(!found, "%s has %s: %.*s", where, secrets[i], (int)before + 40,
            found - before);
    }
}

static void
shows(const char *word)
{
    ck_assert_msg(strstr(text, word) != NULL, "\"%s\" is not in: %.3000s", word, text);
}

/* The command "$0": its code, what it says about it, and nothing secret in that. */
static void
says(int code, const char *word, const char *command)
{
    int got = rig_sh(&rig, command, text, sizeof text);

    ck_assert_msg(got == code, "%s: %d, not %d: %.3000s", command, got, code, text);
    shows(word);
    hides(command, text, strlen(text));
}

static void
read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    size_t n;

    ck_assert_msg(file != NULL, "%s", path);
    n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    for (size_t i = 0; i < n; i++)
        text[i] = text[i] ? text[i] : ' ';
    text[n] = '\0';
}

static void
hides_on_command_line(pid_t pid)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
    read_file(path);
    shows("millrace-");
    hides(path, text, strlen(text));
}

/* ---- the programs ---------------------------------------------------------------------------------- */

static void
start(struct mr_proc *proc, const char *const *argv, const char *ready)
{
    struct mr_proc_spec spec = {.argv = argv, .output = rig.output};
    struct mr_err err = {0};

    ck_ok(mr_proc_start(proc, &spec, &err), err);
    ck_ok(mr_proc_wait_file(proc, ready, 30000, &err), err);
}

static void
start_broker(void)
{
    static char ready[128];
    const char *const argv[] = {
        rig_program("millrace-broker"), "--config", ini, "--ready-file", ready, NULL};
    FILE *file = fopen(ini, "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_gt(
        fprintf(file, "[broker]\ndatabase = %s password=%s\nlog_level = debug\n",
            rig.conninfo, FROM_FILE),
        0);
    ck_assert_int_eq(fclose(file), 0);
    snprintf(ready, sizeof ready, "%s/broker", rig.folder);
    start(&rig.broker, argv, ready);
    file = fopen(ready, "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "front %127s back %127s", rig.front, rig.back), 2);
    fclose(file);
}

static void
start_worker(void)
{
    static char ready[128];
    const char *const argv[] = {rig_program("millrace-worker"), "--endpoint", rig.back,
        "--log-level", "debug", "--threads", "2", "--isolate", "test.crash",
        "--seal-file", ring, "--load", rig_program("tests/loadable/hello.so"),
        "--ready-file", ready, NULL};

    snprintf(ready, sizeof ready, "%s/worker0", rig.folder);
    start(&rig.workers[0], argv, ready);
}

static void
set_up(void)
{
    rig_open(&rig);
    snprintf(ini, sizeof ini, "%s/ini", rig.folder);
    snprintf(ring, sizeof ring, "%s/ring", rig.folder);
    snprintf(line, sizeof line, "%s password=%s", rig.conninfo, FROM_VARIABLE);
    ck_assert_int_eq(setenv("MILLRACE_DATABASE", line, 1), 0);
    ck_assert_int_eq(setenv("R", ring, 1), 0);
    says(0, "seals", "$0 seal new $R");
    read_file(ring);
    snprintf(key, sizeof key, "%s", strrchr(text, ' ') + 1);
    ck_assert_uint_eq(strspn(key, "0123456789abcdef"), KEY_HEX);
    start_broker();
    start_worker();
}

static void
tear_down(void)
{
    (void)unlink(ini);
    (void)unlink(ring);
    rig_close(&rig);
    ck_assert_int_eq(unsetenv("MILLRACE_DATABASE"), 0);
}

/* ---- a session of mistakes -------------------------------------------------------------------------- */

static void
send_nonsense(void)
{
    static const char *const nonsense[] = {
        PAYLOAD, "\x93\x03\x01\xc4\x10" PAYLOAD, "\x92\xa6HELLO" PAYLOAD "\x01"};
    struct rig_peer peer;

    rig_peer_open(&peer, rig.front);
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++)
        rig_peer_send_bytes(&peer, nonsense[i], strlen(nonsense[i]));
    rig_peer_expect(&peer, MR_ERROR);
    hides("ERROR", (const char *)peer.bytes, sizeof peer.bytes);
    rig_peer_close(&peer);
}

static void
make_jobs_fail(void)
{
    /* Results are for whoever submitted; what else is said is looked at. */
    says(0, "", "$0 submit demo.hello '{\"name\":\"" RESULT "\"}' --wait >/dev/null");
    says(0, "",
        "MILLRACE_SEAL_FILE=$R $0 submit demo.hello '{\"name\":\"" PAYLOAD
        "\"}' --wait >/dev/null");
    says(1, "missing",
        "$0 submit demo.hello '{\"nam\":\"" PAYLOAD "\"}' --attempts 1 --wait");
    says(1, "as asked",
        "$0 submit test.fail '{\"times\":9,\"note\":\"" PAYLOAD
        "\"}' --attempts 1 --wait");
    says(1, "crash",
        "$0 submit test.crash '{\"note\":\"" PAYLOAD "\"}' --attempts 1 --wait");
    says(65, "ever offered", "$0 submit no.such '{\"note\":\"" PAYLOAD "\"}'");
    says(65, "column", "$0 submit test.noop '{\"note\":" PAYLOAD "}'");
    says(65, "column", "$0 submit test.noop " PAYLOAD);
}

static void
lose_the_database(void)
{
    int64_t before = rig_int(&rig, "select count(*) from pg_stat_activity where "
                                   "application_name like 'millrace%'");

    ck_assert_int_gt(before, 0);
    (void)rig_int(&rig, "select count(pg_terminate_backend(pid)) from pg_stat_activity "
                        "where application_name like 'millrace%'");
    says(0, "", "$0 submit test.noop --wait >/dev/null");
}

static void
give_wrong_settings(void)
{
    says(78, "may belong to a password",
        "MILLRACE_DATABASE='host=h password=my " FROM_VARIABLE "' ${0}-broker --no-wait");
    says(78, "may belong to a password",
        "MILLRACE_DATABASE='postgresql://u:" FROM_VARIABLE "%zz@h/x' ${0}-worker "
        "--endpoint tcp://127.0.0.1:9");
    says(78, "may belong to a password",
        "MILLRACE_DATABASE='host=h password=my " FROM_VARIABLE "' $0 migrate");
    says(0, "database", "$0 config show --origin");
    says(0, "database", "$0 config show -o json");
    says(0, "database", "$0 --help; ${0}-broker --help; ${0}-worker --help");
}

START_TEST(nothing_secret_is_said)
{
    pid_t child = 0;

    send_nonsense();
    make_jobs_fail();
    says(0, "test.fail", "$0 jobs; $0 dead; $0 stats; $0 queues; $0 workers; $0 kinds");
    hides_on_command_line(rig.broker.pid);
    hides_on_command_line(rig.workers[0].pid);
    if (procfs_children(rig.workers[0].pid, &child, 1) == 1)
        hides_on_command_line(child);
    lose_the_database();
    give_wrong_settings();
    ck_assert(mr_proc_stop(&rig.workers[0], SIGTERM, RIG_WAIT_MS));
    ck_assert(mr_proc_stop(&rig.broker, SIGTERM, RIG_WAIT_MS));
    read_file(rig.output);
    /* They did talk. */
    shows("millrace-broker");
    shows("millrace-worker");
    shows(" child ");
    shows("store");
    hides(rig.output, text, strlen(text));
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("secrets");
    TCase *tcase = tcase_create("secrets");

    tcase_set_timeout(tcase, 90);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, nothing_secret_is_said);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
