/*
 * The flagship itself, shortened to its rush: a worker and the broker are killed half way, it ends
 * green and leaves no process behind; without
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

#include "client/cluster.h"
#include "client/proc.h"
#include "schemas/sql/pg.h"

#define FOLDER ".millrace/test-flagship"
#define OUTPUT ".millrace/test-flagship.out"

enum { RUN_MS = 100000, TEXT_BYTES = 1 << 18, TEST_S = 150, DEATHS = 2 };

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

/* Where PostgreSQL could not use the folder, a dump of its data is there. */
static void
restore_dump(const struct mr_cluster *data)
{
    char program[4096];
    const char *argv[] = {program, "-q", "-d", mr_cluster_conninfo(data), "-f",
        FOLDER "/flagship.sql", NULL};
    struct mr_proc_spec spec = {.argv = argv, .output = FOLDER "/restore.log"};
    struct mr_err err = {.why = ""};

    snprintf(program, sizeof program, "%s/psql", mr_cluster_bin_dir(data));
    if (access(program, X_OK) != 0)
        argv[0] = "psql";
    ck_assert_msg(mr_proc_run(&spec, RUN_MS, &err) == MR_OK, "%s", err.why);
}

static int64_t
number(struct mr_pg *pg, const char *sql)
{
    struct mr_err err = {.why = ""};
    struct pg_result *rows = NULL;
    int64_t out;

    ck_assert_msg(mr_pg_run(pg, sql, 0, NULL, &rows, &err) == MR_OK, "%s", err.why);
    out = mr_pg_int(rows, 0, 0);
    mr_pg_free_result(&rows);
    return out;
}

/* What the tables say of both deaths. */
static void
look_at_the_tables(void)
{
    struct mr_cluster_options options = {.dir = FOLDER};
    struct mr_err err = {.why = ""};
    struct mr_cluster *data;
    struct mr_pg *pg;

    ck_assert_msg(mr_cluster_start(&data, &options, &err) == MR_OK, "%s", err.why);
    if (*mr_cluster_note(data))
        restore_dump(data);
    ck_assert(mr_pg_open(&pg, mr_cluster_conninfo(data), "test", &err) == MR_OK);
    ck_assert_int_ge(number(pg, "select epoch from millrace.shard where shard = 0"), 2);
    ck_assert_int_gt(
        number(pg, "select count(*) from millrace.attempts where outcome = 'lost' and"
                   " worker = 'worker-1'"),
        0);
    /* Each of these jobs was done all the same: one at least by a later attempt, for it was sent
     * to a worker that could not run it; others perhaps by the lost one itself, if it was killed
     * between its commit and its report. */
    ck_assert_int_eq(
        number(pg,
            "select count(*) from millrace.attempts a where outcome = 'lost' and not"
            " exists (select from millrace.result r where r.id = a.id and r.outcome = "
            "1)"),
        0);
    ck_assert_int_gt(
        number(pg,
            "select count(*) from millrace.attempts a join millrace.result r using (id)"
            " where a.outcome = 'lost' and r.outcome = 1 and r.attempt > a.attempt"),
        0);
    mr_pg_close(&pg);
    mr_cluster_stop(&data);
}

static unsigned
times(const char *word)
{
    unsigned n = 0;

    for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
        n++;
    return n;
}

START_TEST(green)
{
    int code = run(NULL, NULL);

    ck_assert_msg(code == 0, "exit %d; it said:\n%s", code, text);
    ck_assert_ptr_nonnull(strstr(text, "Every check held."));
    ck_assert_ptr_nonnull(strstr(text, "double-assigned 0"));
    ck_assert_ptr_nonnull(strstr(text, "charged twice 0"));
    ck_assert_ptr_nonnull(strstr(text, "ledger 0.00"));
    ck_assert_uint_eq(times("is killed with SIGKILL"), DEATHS);
    ck_assert_uint_eq(times(" is back "), DEATHS);
    ck_assert_ptr_nonnull(strstr(text, "ok   faults"));
    ck_assert_int_eq(access(".millrace/map.svg", R_OK), 0);
    ck_assert_int_eq(processes_left(), 0);
    look_at_the_tables();
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
    ck_assert_uint_eq(times("FAIL"), 1);
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
    static const char *const words[] = {"Rush:", "worker-1 (", "the broker ("};
    int64_t tries = RUN_MS / 20;

    start(NULL, NULL);
    do {
        ck_assert_msg(
            !mr_proc_wait(&demo, 20) && tries-- > 0, "it ended by itself:\n%s", text);
        read_output();
    } while (!strstr(text, words[_i]));
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
    tcase_add_loop_test(whole, stopped_half_way, 0, 3);
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
