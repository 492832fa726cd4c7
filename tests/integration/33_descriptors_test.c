/*
 * No file descriptors left in the broker, or in a worker: more connections than it may have. Known
 * peers go on, nobody spins, and when others have left, new ones are served. Nothing is done
 * by hand.
 */
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define SPARE 6         /* what the limit leaves free */
#define CROWD 60        /* connections that are tried */
#define LOOK_MS 2000    /* how long we watch it with none left */
#define SPIN_PERCENT 50 /* of the looks */

static struct rig rig;
static struct millrace *mr;
static int crowd[CROWD];

static void
set_up(void)
{
    rig_open(&rig);
    rig_broker(&rig, NULL);
    rig_worker(&rig, 0, 2, NULL);
    mr = rig_client(&rig);
    rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
    for (int i = 0; i < CROWD; i++)
        crowd[i] = -1;
}

static void
disperse(void)
{
    for (int i = 0; i < CROWD; i++) {
        if (crowd[i] >= 0)
            (void)close(crowd[i]);
        crowd[i] = -1;
    }
}

static void
tear_down(void)
{
    disperse();
    millrace_close(mr);
    rig_close(&rig);
}

static int
open_descriptors(const struct mr_proc *proc)
{
    char path[64];
    DIR *folder;
    int n = 0;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)proc->pid);
    folder = opendir(path);
    ck_assert_ptr_nonnull(folder);
    while (readdir(folder))
        n++;
    closedir(folder);
    return n - 2;
}

static void
limit(const struct mr_proc *proc, int descriptors)
{
    struct rlimit now = {.rlim_cur = (rlim_t)descriptors, .rlim_max = 1024};

    ck_assert_int_eq(prlimit(proc->pid, RLIMIT_NOFILE, &now, NULL), 0);
}

/* Threads of it that run, or would if there were a processor: a spinning one always does. */
static int
runnable(const struct mr_proc *proc)
{
    char path[400], text[1024];
    struct dirent *entry;
    int n = 0;
    DIR *folder;

    snprintf(path, sizeof path, "/proc/%d/task", (int)proc->pid);
    folder = opendir(path);
    ck_assert_ptr_nonnull(folder);
    while ((entry = readdir(folder)) != NULL) {
        FILE *file;

        snprintf(
            path, sizeof path, "/proc/%d/task/%s/stat", (int)proc->pid, entry->d_name);
        file = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
        if (!file)
            continue;
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        fclose(file);
        n += strrchr(text, ')') && strrchr(text, ')')[2] == 'R';
    }
    closedir(folder);
    return n;
}

static int
knock(const char *endpoint)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    ck_assert_int_ge(fd, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)atoi(strrchr(endpoint, ':') + 1));
    (void)connect(fd, (struct sockaddr *)&address, sizeof address);
    return fd;
}

/* Those that the handshake's time limit has cut off come again. */
static void
crowd_in(const char *endpoint)
{
    for (int i = 0; i < CROWD; i++) {
        struct pollfd one = {.fd = crowd[i], .events = POLLIN};

        if (crowd[i] >= 0 && poll(&one, 1, 0) > 0 && one.revents & (POLLHUP | POLLERR)) {
            (void)close(crowd[i]);
            crowd[i] = -1;
        }
        if (crowd[i] < 0)
            crowd[i] = knock(endpoint);
    }
}

START_TEST(the_broker_has_none_left)
{
    int before = open_descriptors(&rig.broker), looks = 0, running = 0;
    char line[256] = "";
    int64_t until;
    struct millrace *late;

    limit(&rig.broker, before + SPARE);
    for (until = rig_now_ms() + RIG_WAIT_MS; !line[0]; rig_breathe()) {
        crowd_in(rig.front);
        mr_proc_last_line(rig.output, "no-descriptors", line, sizeof line);
        ck_assert_int_lt(rig_now_ms(), until);
    }
    until = rig_now_ms() + LOOK_MS;
    while (rig_now_ms() < until) {
        crowd_in(rig.front);
        rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
        for (int i = 0; i < 20; i++, looks++) {
            running += runnable(&rig.broker) > 0;
            rig_breathe();
        }
    }
    ck_assert_msg(running * 100 < looks * SPIN_PERCENT,
        "a thread was running in %d of %d looks", running, looks);
    ck_assert(mr_proc_is_alive(&rig.broker));
    ck_assert_int_eq(rig_stat(mr, "lost"), 0);
    disperse();
    late = rig_client(&rig);
    rig_expect(late, rig_submit(late, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
    millrace_close(late);
    rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
}
END_TEST

/* Its connections to broker and database are lost, and it cannot open others. */
START_TEST(a_worker_has_none_left)
{
    struct millrace_id id;

    limit(&rig.workers[0], 8);
    mr_proc_signal(&rig.broker, SIGKILL);
    ck_assert(mr_proc_wait(&rig.broker, RIG_WAIT_MS));
    rig_broker(&rig, NULL);
    id = rig_submit(mr, "test.noop", NULL, 0);
    for (int i = 0; i < 400; i++) {
        ck_assert(mr_proc_is_alive(&rig.workers[0]));
        rig_breathe();
    }
    limit(&rig.workers[0], 1024);
    rig_expect(mr, id, MILLRACE_SUCCEEDED);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("descriptors");
    TCase *tcase = tcase_create("descriptors");

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, the_broker_has_none_left);
    tcase_add_test(tcase, a_worker_has_none_left);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
