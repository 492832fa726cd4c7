/*
 * A second host joins with two commands: `millrace invite` on the first one, `millrace-worker` on the
 * second. Two network namespaces, TCP between them, CURVE on it. Needs root for the namespaces.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/proc.h"

#define DEADLINE_MS 120000

static char folder[64], program[4096], worker[4096];

static void
set_up(void)
{
    struct mr_err err;

    (void)snprintf(folder, sizeof folder, "/tmp/millrace-join-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chmod(folder, 0755), 0);
    ck_assert_int_eq(mr_proc_find("millrace", program, sizeof program, &err), MR_OK);
    ck_assert_int_eq(mr_proc_find("millrace-worker", worker, sizeof worker, &err), MR_OK);
}

static void
tear_down(void)
{
    char line[128];

    (void)snprintf(line, sizeof line, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(line), 0);
}

/* $0 is the command, $1 the worker. The namespaces go with the last process in them. */
static const char script[] =
    "set -e\n"
    "soon() { for i in $(seq 600); do eval \"$1\" && return 0; sleep 0.1; done; "
    "echo \"never: $1\"; return 1; }\n"
    "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n"
    "ip link set lo up\n"
    "unshare -n sleep 300 & other=$!\n"
    "soon '[ \"$(readlink /proc/$other/ns/net)\" != \"$(readlink /proc/$$/ns/net)\" ]'\n"
    "on_other() { nsenter -t $other -n \"$@\"; }\n"
    "ip link add msg type veth peer name msg netns $other\n"
    "ip addr add 10.77.9.1/24 dev msg; ip link set msg up\n"
    "on_other ip link set lo up; on_other ip addr add 10.77.9.2/24 dev msg\n"
    "on_other ip link set msg up\n"
    "$0 dev --no-worker --back tcp://10.77.9.1:7655 > dev.out 2>&1 &\n"
    "soon 'grep -q ready dev.out'\n"
    /* The two commands. */
    "$0 invite worker2 --at tcp://10.77.9.1:7655\n"
    "nsenter -t $other -n $1 --config worker2.join > worker.out 2>&1 &\n"
    "soon '$0 workers | grep -q 10.77.9.2 || grep -q connected worker.out'\n"
    "$0 submit test.noop --wait\n"
    /* What went over the wire was for the two of them only. */
    "$0 stats | grep 'is_encrypted *yes'\n"
    "[ \"$(stat -c %a worker2.join)\" = 600 ]\n"
    /* Without the key, or with that of nobody, nobody gets in. */
    "! on_other $1 --endpoint tcp://10.77.9.1:7655 --database host=/nowhere\n"
    "$0 key new thief\n"
    "sed -i 's/^key_file.*/key_file = thief.key/; /^\\[key\\]/,$d' worker2.join\n"
    "nsenter -t $other -n $1 --config worker2.join > thief.out 2>&1 &\n"
    "soon 'grep -q \"does not know\" thief.out'\n"
    /* Another invitation of that name is none. */
    "rm worker2.join\n"
    "! $0 invite worker2 --at tcp://10.77.9.1:7655\n"
    "[ ! -e worker2.join ]\n"
    "echo all is well\n";

START_TEST(a_second_host)
{
    const char *const argv[] = {
        "unshare", "-n", "/bin/bash", "-c", script, program, worker, NULL};
    char path[128], text[8192] = "";
    struct mr_proc_spec spec = {
        .argv = argv, .directory = folder, .output = path, .death_signal = SIGTERM};
    struct mr_proc proc;
    struct mr_err err;
    FILE *file;
    size_t n;

    if (geteuid() != 0)
        return; /* namespaces are root's to make */
    (void)snprintf(path, sizeof path, "%s/out", folder);
    ck_assert_msg(mr_proc_start(&proc, &spec, &err) == MR_OK, "%s", err.why);
    ck_assert(mr_proc_wait(&proc, DEADLINE_MS));
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    n = fread(text, 1, sizeof text - 1, file);
    text[n] = '\0';
    fclose(file);
    ck_assert_msg(
        mr_proc_exit_code(&proc) == 0 && strstr(text, "all is well"), "%s", text);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("a second host");
    TCase *tcase = tcase_create("join");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tcase, 180);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_second_host);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
