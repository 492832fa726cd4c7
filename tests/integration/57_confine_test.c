/*
 * What the programs give up: they are started as root, as in a container, and become somebody who
 * owns nothing; without that they say so. Seen from outside, in /proc.
 */
#include "schemas/base/confine.h"
#include "tests/support/pg_fixture.h"
#include "tests/support/procfs.h"
#include "tests/support/rig.h"

#include <dirent.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#define USER "nobody"

static struct rig rig;
static const struct passwd *user;

/* Everybody may enter that place. */
static void
open_up(const char *path, mode_t mode)
{
    struct stat facts;

    ck_assert_int_eq(stat(path, &facts), 0);
    ck_assert_int_eq(chmod(path, facts.st_mode | mode), 0);
}

/* The cluster's folders are closed to everybody but its user, and so is its socket. */
static void
let_pass(void)
{
    char folder[256] = "", path[300];

    ck_assert_int_eq(sscanf(rig.conninfo, "host=%255s", folder), 1);
    snprintf(path, sizeof path, "%s/.s.PGSQL.5432", folder);
    open_up(path, S_IROTH | S_IWOTH);
    for (char *end; (end = strrchr(folder, '/')) != folder; *end = '\0')
        open_up(folder, S_IXOTH);
}

static void
set_up(void)
{
    rig_open(&rig);
    user = getpwnam(USER);
    ck_assert_ptr_nonnull(user);
    /* Ready files are written by whom the programs became. */
    ck_assert_int_eq(chown(rig.folder, user->pw_uid, user->pw_gid), 0);
    let_pass();
}

static void
tear_down(void)
{
    rig_close(&rig);
}

/* ---- looking ------------------------------------------------------------------------------------ */

/* What stands behind `name` in that file of /proc/PID, without the space around it. */
static const char *
look(pid_t pid, const char *file, const char *name)
{
    static char text[256];
    char path[96], line[512];
    FILE *in;

    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    in = fopen(path, "r");
    ck_assert_msg(in != NULL, "%s", path);
    text[0] = '\0';
    while (!text[0] && fgets(line, sizeof line, in)) {
        const char *value = line + strlen(name);

        if (strncmp(line, name, strlen(name)) != 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(text, sizeof text, "%s", value + strspn(value, " \t"));
    }
    fclose(in);
    return text;
}

static void
expect(pid_t pid, const char *file, const char *name, const char *wanted)
{
    const char *found = look(pid, file, name);

    ck_assert_msg(strcmp(found, wanted) == 0, "%s of %d is \"%s\", not \"%s\"", name,
        (int)pid, found, wanted);
}

/* Files of /proc/PID belong to root when nobody else may look into the process. */
static uid_t
owner(pid_t pid)
{
    char path[64];
    struct stat facts;

    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    ck_assert_int_eq(stat(path, &facts), 0);
    return facts.st_uid;
}

/* One thread: the kernel keeps users and capabilities by thread. */
static void
expect_confined_thread(pid_t pid, const char *status)
{
    static const char *const capabilities[] = {
        "CapInh:", "CapPrm:", "CapEff:", "CapAmb:"};
    char ids[64];

    snprintf(ids, sizeof ids, "%d\t%d\t%d\t%d", (int)user->pw_uid, (int)user->pw_uid,
        (int)user->pw_uid, (int)user->pw_uid);
    expect(pid, status, "Uid:", ids);
    snprintf(ids, sizeof ids, "%d\t%d\t%d\t%d", (int)user->pw_gid, (int)user->pw_gid,
        (int)user->pw_gid, (int)user->pw_gid);
    expect(pid, status, "Gid:", ids);
    snprintf(ids, sizeof ids, "%d ", (int)user->pw_gid);
    expect(pid, status, "Groups:", ids);
    for (size_t i = 0; i < sizeof capabilities / sizeof *capabilities; i++)
        expect(pid, status, capabilities[i], "0000000000000000");
}

static void
expect_confined(pid_t pid)
{
    char path[64];
    struct dirent *entry;
    DIR *folder;
    int count = 0;

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    folder = opendir(path);
    ck_assert_ptr_nonnull(folder);
    while ((entry = readdir(folder))) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "task/%.20s/status", entry->d_name);
        expect_confined_thread(pid, path);
        expect(pid, path, "NoNewPrivs:", "1");
        count++;
    }
    closedir(folder);
    ck_assert_int_gt(count, 1);
}

static void
expect_closed(pid_t pid)
{
    expect(pid, "status", "NoNewPrivs:", "1");
    expect(pid, "limits", "Max core file size",
        "0                    0                    bytes     ");
    ck_assert_uint_eq(owner(pid), 0);
}

static bool
has_said(const char *word)
{
    static char text[262144];
    FILE *file = fopen(rig.output, "r");
    size_t n;

    ck_assert_ptr_nonnull(file);
    n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    return strstr(text, word) != NULL;
}

/* A job runs, in the worker or in a child of it. */
static void
run_a_job(void)
{
    struct millrace *mr = rig_client(&rig);

    rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
    millrace_close(mr);
}

/* ---- tests -------------------------------------------------------------------------------------- */

START_TEST(root_becomes_somebody_and_works)
{
    const char *const broker[] = {"--user", USER, NULL};
    const char *const worker[] = {"--user", USER, "--isolate", "yes", NULL};
    pid_t child;

    rig_broker(&rig, broker);
    rig_worker(&rig, 0, 1, worker);
    run_a_job();
    expect_confined(rig.broker.pid);
    expect_closed(rig.broker.pid);
    expect_confined(rig.workers[0].pid);
    expect_closed(rig.workers[0].pid);
    ck_assert_int_eq(procfs_children(rig.workers[0].pid, &child, 1), 1);
    expect_confined(child);
    expect_closed(child);
    ck_assert(!has_said(" root why="));
}
END_TEST

START_TEST(a_death_signal_survives_the_change)
{
    const char *const more[] = {"--user", USER, NULL};
    pid_t broker;
    int told[2];

    /* The rig's programs end with their parent: seen with a parent that goes at once. */
    ck_assert_int_eq(pipe(told), 0);
    if (fork() == 0) {
        rig_broker(&rig, more);
        broker = rig.broker.pid;
        _exit(write(told[1], &broker, sizeof broker) == sizeof broker ? 0 : 1);
    }
    ck_assert_int_eq(read(told[0], &broker, sizeof broker), (int)sizeof broker);
    for (int64_t until = rig_now_ms() + RIG_WAIT_MS; procfs_is_there(broker);
         rig_breathe())
        ck_assert_int_lt(rig_now_ms(), until);
    close(told[0]);
    close(told[1]);
}
END_TEST

START_TEST(who_stays_root_is_warned_and_closed_all_the_same)
{
    rig_broker(&rig, NULL);
    rig_worker(&rig, 0, 1, NULL);
    run_a_job();
    expect_closed(rig.broker.pid);
    expect_closed(rig.workers[0].pid);
    ck_assert(has_said("millrace-broker/loop root why="));
    ck_assert(has_said("millrace-worker/main root why="));
    ck_assert(has_said("todo=\"set user to"));
}
END_TEST

START_TEST(whoever_means_it_is_not_warned)
{
    const char *const more[] = {"--user", "root", NULL};

    rig_broker(&rig, more);
    rig_worker(&rig, 0, 1, more);
    ck_assert(!has_said(" root why="));
}
END_TEST

START_TEST(core_dumps_are_for_those_who_ask)
{
    const char *const more[] = {"--user", USER, "--core-dumps", NULL};
    char before[256];

    snprintf(before, sizeof before, "%s", look(getpid(), "limits", "Max core file size"));
    rig_broker(&rig, more);
    rig_worker(&rig, 0, 1, more);
    expect(rig.broker.pid, "limits", "Max core file size", before);
    expect(rig.workers[0].pid, "limits", "Max core file size", before);
    ck_assert_uint_eq(owner(rig.broker.pid), user->pw_uid);
    ck_assert_uint_eq(owner(rig.workers[0].pid), user->pw_uid);
    expect(rig.broker.pid, "status", "NoNewPrivs:", "1");
}
END_TEST

START_TEST(whom_nobody_can_become)
{
    static const char *const programs[] = {"millrace-broker", "millrace-worker"};

    for (int i = 0; i < 2; i++) {
        const char *const argv[] = {rig_program(programs[i]), "--user", "no-such-user",
            i ? "--endpoint" : NULL, "tcp://127.0.0.1:9", NULL};
        char text[4096];
        int code = rig_run(&rig, argv, text, sizeof text);

        ck_assert_msg(code == EX_CONFIG, "%s: code %d: %s", programs[i], code, text);
        ck_assert_msg(strstr(text, "user is no-such-user") != NULL, "%s", text);
    }
}
END_TEST

/* In a process that is `user` already: what asking for `whom` gives. */
static enum mr_status
ask_as_user(const char *whom)
{
    struct mr_confine confine;
    int wait_status;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        enum mr_status status = MR_INTERNAL;

        if (setgroups(0, NULL) == 0 &&
            setresgid(user->pw_gid, user->pw_gid, user->pw_gid) == 0 &&
            setresuid(user->pw_uid, user->pw_uid, user->pw_uid) == 0)
            status = mr_confine_begin(&confine, whom, false, NULL);
        if (status == MR_OK)
            status = mr_confine_enter(&confine, NULL);
        _exit(status == MR_OK ? 0 : status == MR_DENIED ? 1 : 2);
    }
    ck_assert_int_eq(waitpid(pid, &wait_status, 0), pid);
    ck_assert(WIFEXITED(wait_status));
    return WEXITSTATUS(wait_status) == 0   ? MR_OK
           : WEXITSTATUS(wait_status) == 1 ? MR_DENIED
                                           : MR_INTERNAL;
}

START_TEST(who_is_not_root_stays_who_he_is)
{
    ck_status(ask_as_user(USER), MR_OK);
    ck_status(ask_as_user(""), MR_OK);
    ck_status(ask_as_user("root"), MR_DENIED);
    ck_status(ask_as_user("daemon"), MR_DENIED);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("confine");
    TCase *tcase = tcase_create("confine");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    /* Another user has no rights to give up, and cannot look at those who have. */
    if (geteuid() == 0) {
        tcase_add_test(tcase, root_becomes_somebody_and_works);
        tcase_add_test(tcase, a_death_signal_survives_the_change);
        tcase_add_test(tcase, who_stays_root_is_warned_and_closed_all_the_same);
        tcase_add_test(tcase, whoever_means_it_is_not_warned);
        tcase_add_test(tcase, core_dumps_are_for_those_who_ask);
        tcase_add_test(tcase, whom_nobody_can_become);
        tcase_add_test(tcase, who_is_not_root_stays_who_he_is);
    }
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
