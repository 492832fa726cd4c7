#include "client/proc.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "schemas/base/clock.h"

#define DEADLINE_MS 20000
#define SH(script) ((const char *const[]){"/bin/sh", "-c", script, NULL})

static struct mr_proc proc;
static struct mr_err err;
static char path[64];

static void
set_up(void)
{
    int fd;

    memset(&proc, 0, sizeof proc);
    strcpy(path, "/tmp/millrace-proc-XXXXXX");
    fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void
tear_down(void)
{
    (void)mr_proc_stop(&proc, SIGKILL, 0);
    (void)unlink(path);
}

static int
run(const char *const *argv, const char *const *env)
{
    struct mr_proc_spec spec = {.argv = argv, .env = env, .output = path};

    ck_assert_msg(mr_proc_start(&proc, &spec, &err) == MR_OK, "%s", err.why);
    ck_assert(mr_proc_wait(&proc, DEADLINE_MS));
    return mr_proc_exit_code(&proc);
}

static const char *
output(void)
{
    static char line[256];

    mr_proc_last_line(path, NULL, line, sizeof line);
    return line;
}

START_TEST(exit_codes)
{
    ck_assert_int_eq(run(SH("exit 0"), NULL), 0);
    ck_assert_int_eq(run(SH("exit 3"), NULL), 3);
    ck_assert_int_eq(run(SH("kill -9 $$"), NULL), 128 + SIGKILL);
    ck_assert(!mr_proc_is_alive(&proc));
    mr_proc_signal(&proc, SIGTERM); /* nobody is there any more */
}
END_TEST

START_TEST(environment_and_output)
{
    setenv("MR_PROC_OLD", "old", 1);
    setenv("MR_PROC_GONE", "gone", 1);
    ck_assert_int_eq(run(SH("echo $MR_PROC_OLD $MR_PROC_NEW ${MR_PROC_GONE-none}; cat"),
                         (const char *const[]){"MR_PROC_NEW=new", "MR_PROC_GONE", NULL}),
        0);
    ck_assert_str_eq(output(), "old new none");
}
END_TEST

START_TEST(what_cannot_be_started)
{
    const char *const missing[] = {"/nonexistent/program", NULL};
    const char *const folder[] = {"/tmp", NULL};
    struct mr_proc_spec spec = {.argv = missing};

    ck_assert_int_eq(mr_proc_start(&proc, &spec, &err), MR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.why, "/nonexistent/program"));
    spec.argv = folder;
    ck_assert_int_eq(mr_proc_start(&proc, &spec, &err), MR_DENIED);
    spec.argv = SH("exit 0");
    spec.directory = "/nonexistent";
    ck_assert_int_ne(mr_proc_start(&proc, &spec, &err), MR_OK);
    spec.directory = NULL;
    spec.output = "/nonexistent/log";
    ck_assert_int_ne(mr_proc_start(&proc, &spec, &err), MR_OK);
    ck_assert(!mr_proc_is_alive(&proc));
}
END_TEST

START_TEST(stopping)
{
    struct mr_proc_spec spec = {.argv = SH("echo up; exec sleep 1000"), .output = path};

    ck_assert_int_eq(mr_proc_start(&proc, &spec, &err), MR_OK);
    ck_assert(!mr_proc_wait(&proc, 0));
    ck_assert(mr_proc_is_alive(&proc));
    ck_assert_int_eq(mr_proc_exit_code(&proc), -1);
    ck_assert(mr_proc_stop(&proc, SIGTERM, DEADLINE_MS));
    ck_assert_int_eq(mr_proc_exit_code(&proc), 128 + SIGTERM);
}
END_TEST

/* One that does not listen is killed, and its children with it. */
START_TEST(stopping_the_deaf)
{
    struct mr_proc_spec spec = {
        .argv = SH("trap '' TERM; sleep 1000 & echo $! > $OUT.pid; echo up; wait; wait"),
        .output = path};
    char pid_path[80], assignment[80];
    const char *env[] = {assignment, NULL};
    char text[32] = "";
    FILE *file;

    snprintf(assignment, sizeof assignment, "OUT=%s", path);
    snprintf(pid_path, sizeof pid_path, "%s.pid", path);
    spec.env = env;
    ck_assert_int_eq(mr_proc_start(&proc, &spec, &err), MR_OK);
    ck_assert_int_eq(mr_proc_wait_file(&proc, path, DEADLINE_MS, &err), MR_OK);
    ck_assert(!mr_proc_stop(&proc, SIGTERM, 50));
    ck_assert_int_eq(mr_proc_exit_code(&proc), 128 + SIGKILL);
    file = fopen(pid_path, "r");
    ck_assert_ptr_nonnull(fgets(text, sizeof text, file));
    fclose(file);
    (void)unlink(pid_path);
    /* Dead; or dead and not yet collected by whoever adopted it. */
    for (int64_t end = mr_clock_now().mono_us + DEADLINE_MS * INT64_C(1000);;) {
        char state[256] = "";

        snprintf(pid_path, sizeof pid_path, "/proc/%ld/stat", strtol(text, NULL, 10));
        file = fopen(pid_path, "r");
        if (!file || !fgets(state, sizeof state, file) || strstr(state, ") Z"))
            break;
        fclose(file);
        ck_assert_msg(mr_clock_now().mono_us < end, "it lives: %s", state);
    }
    if (file)
        fclose(file);
}
END_TEST

/* A parent that is killed leaves nothing behind. */
START_TEST(death_of_the_parent)
{
    int fds[2];
    char byte;
    pid_t parent;

    ck_assert_int_eq(pipe(fds), 0);
    parent = fork();
    if (parent == 0) {
        struct mr_proc_spec spec = {.argv = SH("exec sleep 1000")};

        if (mr_proc_start(&proc, &spec, &err) == MR_OK)
            (void)!write(fds[1], "x", 1);
        for (;;)
            pause();
    }
    ck_assert_int_eq(read(fds[0], &byte, 1), 1);
    close(fds[1]);
    ck_assert_int_eq(kill(parent, SIGKILL), 0);
    ck_assert_int_eq(waitpid(parent, NULL, 0), parent);
    /* The child holds the other end of the pipe: its end is the end of the file. */
    ck_assert_int_eq(read(fds[0], &byte, 1), 0);
    close(fds[0]);
}
END_TEST

START_TEST(running_to_the_end)
{
    struct mr_proc_spec spec = {
        .argv = SH("echo error: no luck; exit 7"), .output = path};
    pid_t group;

    ck_assert_int_eq(mr_proc_run(&spec, DEADLINE_MS, &err), MR_INTERNAL);
    ck_assert_ptr_nonnull(strstr(err.why, "code 7"));
    ck_assert_ptr_nonnull(strstr(err.why, "no luck"));
    spec.argv = SH("exit 0");
    ck_assert_int_eq(mr_proc_run(&spec, DEADLINE_MS, &err), MR_OK);
    /* Too slow: its children go with it. */
    spec.argv = SH("echo $$; sleep 1000 & wait");
    ck_assert_int_eq(mr_proc_run(&spec, 500, &err), MR_TIMEOUT);
    group = (pid_t)strtol(output(), NULL, 10);
    ck_assert_int_gt(group, 1);
    for (int64_t end = mr_clock_now().mono_us + DEADLINE_MS * INT64_C(1000);
         kill(-group, 0) == 0;)
        ck_assert_int_lt(mr_clock_now().mono_us, end);
}
END_TEST

START_TEST(waiting_for_a_file)
{
    struct mr_proc_spec spec = {.argv = SH("exit 0")};

    ck_assert_int_eq(mr_proc_start(&proc, &spec, &err), MR_OK);
    ck_assert_int_eq(
        mr_proc_wait_file(&proc, "/nonexistent/x", DEADLINE_MS, &err), MR_INTERNAL);
    ck_assert_int_eq(mr_proc_wait_file(NULL, path, 50, &err), MR_TIMEOUT); /* empty */
    spec.argv = SH("echo up; exec sleep 1000");
    spec.output = path;
    ck_assert_int_eq(mr_proc_start(&proc, &spec, &err), MR_OK);
    ck_assert_int_eq(mr_proc_wait_file(&proc, path, DEADLINE_MS, &err), MR_OK);
}
END_TEST

START_TEST(small_things)
{
    char found[256], line[64];

    ck_assert_uint_gt(mr_proc_free_port(), 1023);
    ck_assert_int_eq(mr_proc_find("sh", found, sizeof found, &err), MR_OK);
    ck_assert_int_eq(access(found, X_OK), 0);
    ck_assert_int_eq(
        mr_proc_find("no-such-program-here", found, sizeof found, &err), MR_NOT_FOUND);
    mr_proc_last_line("/nonexistent", NULL, line, sizeof line);
    ck_assert_str_eq(line, "");
    mr_proc_last_line(NULL, NULL, line, sizeof line);
    ck_assert_str_eq(line, "");
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("client_proc");
    TCase *cases = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, exit_codes);
    tcase_add_test(cases, environment_and_output);
    tcase_add_test(cases, what_cannot_be_started);
    tcase_add_test(cases, stopping);
    tcase_add_test(cases, stopping_the_deaf);
    tcase_add_test(cases, death_of_the_parent);
    tcase_add_test(cases, running_to_the_end);
    tcase_add_test(cases, waiting_for_a_file);
    tcase_add_test(cases, small_things);
    suite_add_tcase(suite, cases);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
