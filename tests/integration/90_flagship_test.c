/*
 * The flagship itself, shortened to its rush: it ends green and leaves no process behind; without
 * the idempotency key it ends red; what it cannot use it names.
 */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/proc.h"

#define FOLDER ".millrace/test-flagship"
#define OUTPUT ".millrace/test-flagship.out"

enum { RUN_MS = 60000, TEXT_BYTES = 1 << 18, TEST_S = 100 };

static char text[TEXT_BYTES]; /* what it said */
static struct mr_proc demo;

static void
read_output(void)
{
    FILE *file = fopen(OUTPUT, "re");
    size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;

    text[n] = '\0';
    if (file)
        fclose(file);
}

static void
start(const char *a, const char *b)
{
    const char *build = getenv("MILLRACE_BUILD");
    char program[4096];
    const char *argv[] = {
        program, "--only-rush", "--folder", FOLDER, a, a ? b : NULL, NULL};
    const char *env[] = {"MAP", "BREAK", "MILLRACE_ENDPOINT=tcp://127.0.0.1:1",
        "MILLRACE_HEARTBEAT_MS=nonsense", NULL};
    struct mr_proc_spec spec = {.argv = argv,
        .env = env,
        .output = OUTPUT,
        .death_signal = SIGTERM}; /* it has to stop its own children */
    struct mr_err err = {.why = ""};

    snprintf(program, sizeof program, "%s/millrace-demo", build ? build : "build");
    (void)unlink(OUTPUT);
    ck_assert_msg(mr_proc_start(&demo, &spec, &err) == MR_OK, "%s", err.why);
}

static int
run(const char *a, const char *b)
{
    bool is_over;

    start(a, b);
    is_over = mr_proc_wait(&demo, RUN_MS);
    mr_proc_stop(&demo, SIGTERM, RUN_MS);
    read_output();
    ck_assert_msg(is_over, "it did not end; it said:\n%s", text);
    return mr_proc_exit_code(&demo);
}

static void
tear_down(void)
{
    mr_proc_stop(&demo, SIGTERM, RUN_MS);
}

/* Processes that name the flagship's folder on their command line. */
static int
processes_left(void)
{
    DIR *folder = opendir("/proc");
    char path[300], line[4096];
    int found = 0;

    ck_assert_ptr_nonnull(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        ssize_t n;
        int fd;

        snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        n = read(fd, line, sizeof line - 1);
        close(fd);
        if (n > 0 && memmem(line, (size_t)n, FOLDER, strlen(FOLDER)))
            found++;
    }
    closedir(folder);
    return found;
}

START_TEST(green)
{
    int code = run(NULL, NULL);

    ck_assert_msg(code == 0, "exit %d; it said:\n%s", code, text);
    ck_assert_ptr_nonnull(strstr(text, "Every check held."));
    ck_assert_ptr_nonnull(strstr(text, "double-assigned 0"));
    ck_assert_ptr_nonnull(strstr(text, "charged twice 0"));
    ck_assert_ptr_nonnull(strstr(text, "ledger 0.00"));
    ck_assert_int_eq(access(".millrace/map.svg", R_OK), 0);
    ck_assert_int_eq(processes_left(), 0);
}
END_TEST

/* The line that convinces a sceptic: the checker does find what it is there for. */
START_TEST(red_without_the_key)
{
    int code = run("--break", NULL);

    ck_assert_msg(code == 1, "exit %d; it said:\n%s", code, text);
    ck_assert_ptr_nonnull(strstr(text, "RED, as it must be"));
    ck_assert_ptr_nonnull(strstr(text, "FAIL charged twice"));
    ck_assert_ptr_null(strstr(text, "FAIL double-assigned"));
    ck_assert_ptr_null(strstr(text, "FAIL ledger"));
    ck_assert_int_eq(processes_left(), 0);
}
END_TEST

START_TEST(another_map)
{
    int code = run("--map", "tests/flagship/grid.net.xml");

    ck_assert_msg(code == 0, "exit %d; it said:\n%s", code, text);
    ck_assert_ptr_nonnull(strstr(text, "No totals are published for this map"));
}
END_TEST

START_TEST(stopped_half_way)
{
    int64_t tries = RUN_MS / 20;

    start(NULL, NULL);
    do {
        ck_assert_msg(
            !mr_proc_wait(&demo, 20) && tries-- > 0, "it ended by itself:\n%s", text);
        read_output();
    } while (!strstr(text, "Rush:"));
    mr_proc_signal(&demo, SIGINT);
    ck_assert(mr_proc_wait(&demo, RUN_MS));
    ck_assert_int_eq(mr_proc_exit_code(&demo), 130);
    ck_assert_int_eq(processes_left(), 0);
}
END_TEST

START_TEST(no_map)
{
    ck_assert_int_eq(run("--map", "/nonexistent/x.net.xml"), 1);
    ck_assert_ptr_nonnull(strstr(text, "/nonexistent/x.net.xml"));
    ck_assert_int_eq(processes_left(), 0);
}
END_TEST

START_TEST(not_a_map)
{
    ck_assert_int_eq(run("--map", "tests/flagship/grid.rides.xml"), 1);
    ck_assert_ptr_nonnull(strstr(text, "grid.rides.xml"));
}
END_TEST

START_TEST(usage)
{
    ck_assert_int_eq(run("--fast", NULL), 64);
    ck_assert_ptr_nonnull(strstr(text, "usage:"));
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("flagship");
    TCase *whole = tcase_create("whole"), *wrong = tcase_create("wrong input");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(whole, TEST_S);
    tcase_add_checked_fixture(whole, NULL, tear_down);
    tcase_add_test(whole, green);
    tcase_add_test(whole, red_without_the_key);
    tcase_add_test(whole, another_map);
    tcase_add_test(whole, stopped_half_way);
    suite_add_tcase(suite, whole);
    tcase_set_timeout(wrong, TEST_S);
    tcase_add_checked_fixture(wrong, NULL, tear_down);
    tcase_add_test(wrong, no_map);
    tcase_add_test(wrong, not_a_map);
    tcase_add_test(wrong, usage);
    suite_add_tcase(suite, wrong);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
