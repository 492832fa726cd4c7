/* The private PostgreSQL: a real one each time. */
#include "client/cluster.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/proc.h"
#include "schemas/sql/pg.h"

static struct mr_cluster *cluster;
static struct mr_err err;
static char dir[64];

static void
set_up(void)
{
    cluster = NULL;
    strcpy(dir, "/tmp/millrace-cl-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(chmod(dir, 0755), 0);
}

static void
tear_down(void)
{
    const char *const argv[] = {"rm", "-rf", dir, NULL};
    struct mr_proc_spec spec = {.argv = argv};

    mr_cluster_stop(&cluster);
    ck_assert_int_eq(mr_proc_run(&spec, 20000, &err), MR_OK);
}

static void
start_in(const char *where)
{
    static const char *const settings[] = {"fsync=off", "max_connections=10", NULL};
    struct mr_cluster_options options = {
        .dir = where, .is_dir_required = true, .settings = settings};

    ck_assert_msg(mr_cluster_start(&cluster, &options, &err) == MR_OK, "%s", err.why);
}

/* The first column of the first row. */
static const char *
ask(const char *sql)
{
    static char text[256];
    struct pg_result *result = NULL;
    struct mr_pg *pg = NULL;

    ck_assert_msg(mr_pg_open(&pg, mr_cluster_conninfo(cluster), "a test", &err) == MR_OK,
        "%s", err.why);
    ck_assert_msg(mr_pg_run(pg, sql, 0, NULL, &result, &err) == MR_OK, "%s", err.why);
    text[0] = '\0';
    if (mr_pg_rows(result) > 0 && mr_pg_text(result, 0, 0))
        snprintf(text, sizeof text, "%s", mr_pg_text(result, 0, 0));
    mr_pg_free_result(&result);
    mr_pg_close(&pg);
    return text;
}

START_TEST(it_starts_and_is_private)
{
    start_in(dir);
    ck_assert(mr_cluster_is_alive(cluster));
    ck_assert_str_eq(ask("select current_database()"), "millrace");
    ck_assert_str_eq(ask("show listen_addresses"), "");
    ck_assert_str_eq(ask("show unix_socket_permissions"), "0700");
    ck_assert_str_eq(ask("show max_connections"), "10");
    ck_assert_str_eq(ask("show server_encoding"), "UTF8");
    ck_assert_str_eq(mr_cluster_note(cluster), "");
}
END_TEST

static void
leave_pid_file(pid_t pid)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof path, "%s/pg/postmaster.pid", dir);
    file = fopen(path, "w");
    fprintf(file, "%ld\n%s/pg\n", (long)pid, dir);
    fclose(file);
}

START_TEST(data_outlives_it)
{
    struct mr_cluster_options options = {.dir = dir};
    struct mr_cluster *second = NULL;

    start_in(dir);
    ask("create table public.t as select 42 as n");
    ask("checkpoint");
    /* Two on one folder. */
    ck_assert_int_eq(mr_cluster_start(&second, &options, &err), MR_BUSY);
    ck_assert_ptr_null(second);
    ck_assert_ptr_nonnull(strstr(err.todo, "--data"));
    /* A killed server comes back. */
    mr_cluster_halt(cluster, SIGKILL);
    ck_assert(!mr_cluster_is_alive(cluster));
    ck_assert_msg(mr_cluster_resume(cluster, &err) == MR_OK, "%s", err.why);
    ck_assert_str_eq(ask("select n from public.t"), "42");
    mr_cluster_stop(&cluster);
    ck_assert_ptr_null(cluster);
    /* The number in a stale pid file may belong to anybody by now: here, to us. */
    leave_pid_file(getpid());
    start_in(dir);
    ck_assert_str_eq(ask("select n from public.t"), "42");
}
END_TEST

/* The starter is killed: the server goes too, and its files do not stand in the way. */
/* Its sessions hold the shared memory a moment longer than it lives, and each has a last word for
 * the log. */
START_TEST(a_busy_server_is_killed_and_started_at_once)
{
    enum { SESSIONS = 60, ROUNDS = 6 };
    static const char *const settings[] = {"max_connections=100", "fsync=off", NULL};
    struct mr_cluster_options options = {.settings = settings};
    struct mr_pg *sessions[SESSIONS];

    ck_assert_int_eq(mr_cluster_start(&cluster, &options, &err), MR_OK);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < SESSIONS; i++)
            ck_assert_int_eq(
                mr_pg_open(&sessions[i], mr_cluster_conninfo(cluster), "busy", &err),
                MR_OK);
        mr_cluster_halt(cluster, SIGKILL);
        ck_assert_msg(mr_cluster_resume(cluster, &err) == MR_OK, "%s", err.why);
        for (int i = 0; i < SESSIONS; i++)
            mr_pg_close(&sessions[i]);
    }
    mr_cluster_stop(&cluster);
}
END_TEST

START_TEST(a_killed_starter)
{
    int fds[2];
    char byte;
    pid_t starter;

    ck_assert_int_eq(pipe(fds), 0);
    starter = fork();
    if (starter == 0) {
        start_in(dir);
        (void)!write(fds[1], "x", 1);
        for (;;)
            pause();
    }
    close(fds[1]);
    ck_assert_int_eq(read(fds[0], &byte, 1), 1);
    close(fds[0]);
    ck_assert_int_eq(kill(starter, SIGKILL), 0);
    ck_assert_int_eq(waitpid(starter, NULL, 0), starter);
    start_in(dir);
    ck_assert_str_eq(ask("select 1"), "1");
}
END_TEST

START_TEST(a_creation_that_was_cut_short)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof path, "%s/pg.new", dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/pg.new/PG_VERSION", dir);
    file = fopen(path, "w");
    fputs("15\n", file);
    fclose(file);
    start_in(dir);
    ck_assert_str_eq(ask("select 1"), "1");
}
END_TEST

START_TEST(somebody_elses_folder)
{
    struct mr_cluster_options options = {.dir = dir, .is_dir_required = true};
    char path[128];

    snprintf(path, sizeof path, "%s/pg", dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(mr_cluster_start(&cluster, &options, &err), MR_BAD_ARGUMENT);
    ck_assert_ptr_null(cluster);
    ck_assert_int_eq(rmdir(path), 0); /* as it was */
    options.dir = "/proc/nowhere";
    ck_assert_int_eq(mr_cluster_start(&cluster, &options, &err), MR_DENIED);
}
END_TEST

START_TEST(a_setting_that_postgres_refuses)
{
    static const char *const settings[] = {"no_such_setting=1", NULL};
    struct mr_cluster_options options = {.dir = dir, .settings = settings};

    ck_assert_int_eq(mr_cluster_start(&cluster, &options, &err), MR_STORE_DOWN);
    ck_assert_ptr_nonnull(strstr(err.why, "no_such_setting"));
}
END_TEST

START_TEST(a_temporary_one_leaves_nothing)
{
    char path[256];

    start_in(NULL);
    ck_assert_str_eq(ask("select 1"), "1");
    snprintf(path, sizeof path, "%s", mr_cluster_log_path(cluster));
    ck_assert_int_eq(access(path, F_OK), 0);
    mr_cluster_stop(&cluster);
    *strrchr(path, '/') = '\0';
    ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

/* As root: a folder that PostgreSQL's user cannot enter. */
START_TEST(a_folder_of_roots_own)
{
    struct mr_cluster_options options = {.dir = dir, .is_dir_required = true};

    if (geteuid() != 0)
        return;
    ck_assert_int_eq(chmod(dir, 0700), 0);
    ck_assert_int_eq(mr_cluster_start(&cluster, &options, &err), MR_DENIED);
    options.is_dir_required = false;
    ck_assert_int_eq(mr_cluster_start(&cluster, &options, &err), MR_OK);
    ck_assert_ptr_nonnull(strstr(mr_cluster_note(cluster), "--data DIR"));
    ck_assert_str_eq(ask("select 1"), "1");
}
END_TEST

/* A socket's path has 107 bytes at most; this folder's name alone has more. */
START_TEST(a_long_name)
{
    char path[512];

    snprintf(path, sizeof path, "%s/%0150d", dir, 7);
    start_in(path);
    ck_assert_str_eq(ask("select 1"), "1");
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("client_cluster");
    TCase *cases = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, it_starts_and_is_private);
    tcase_add_test(cases, data_outlives_it);
    tcase_add_test(cases, a_busy_server_is_killed_and_started_at_once);
    tcase_add_test(cases, a_killed_starter);
    tcase_add_test(cases, a_creation_that_was_cut_short);
    tcase_add_test(cases, somebody_elses_folder);
    tcase_add_test(cases, a_setting_that_postgres_refuses);
    tcase_add_test(cases, a_temporary_one_leaves_nothing);
    tcase_add_test(cases, a_folder_of_roots_own);
    tcase_add_test(cases, a_long_name);
    suite_add_tcase(suite, cases);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
