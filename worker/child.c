#include "worker/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "schemas/base/clock.h"
#include "schemas/base/hash.h"
#include "schemas/base/log.h"
#include "worker/child_wire.h"
#include "worker/isolate.h"
#include "worker/opener.h"

#define NEVER_US INT64_MAX
#define LOOK_MS 250 /* where nobody rings */
#define BYE_MS 500  /* for a child to end in order */
#define END_MS 1000 /* from the end of its socket to its own */
#define REFUSED_BYTES 1024

extern char **environ;

struct mr_child {
    struct mr_child_conf conf;
    pid_t pid; /* 0: there is none */
    int pidfd, fd;
    int wait_status;
    struct mr_frames in;
    struct mr_wr out;
    size_t sent; /* of `out` */
    uint32_t jobs;
    int64_t base_kib, peak_kib; /* resident memory at its start, at most */
    bool is_ready, is_spent, is_broken;
    char refused[REFUSED_BYTES]; /* why it could not start */

    /* The attempt that runs. */
    struct mr_attempt *attempt;
    enum mr_run_end end;
    bool is_over; /* its outcome is there */
    bool is_told; /* that it has to stop */
    bool is_killed, is_ending;
    int64_t kill_us;
};

/* ---- the process ------------------------------------------------------------------------------- */

static int
set_up_spawn(
    posix_spawn_file_actions_t *files, posix_spawnattr_t *attributes, int child_fd)
{
    sigset_t none, all;
    int failed;

    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    failed = posix_spawn_file_actions_adddup2(files, child_fd, MR_CHILD_FD);
    failed |=
        posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    failed |= posix_spawn_file_actions_addclosefrom_np(files, MR_CHILD_FD + 1);
    failed |= posix_spawnattr_setsigmask(attributes, &none);
    failed |= posix_spawnattr_setsigdefault(attributes, &all);
    failed |= posix_spawnattr_setpgroup(attributes, 0);
    failed |= posix_spawnattr_setflags(attributes,
        POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return failed;
}

static int
spawn(struct mr_child *child, int child_fd)
{
    char *const argv[] = {"millrace-worker", MR_CHILD_ARGUMENT, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    int failed = posix_spawn_file_actions_init(&files);

    if (failed)
        return failed;
    failed = posix_spawnattr_init(&attributes);
    if (failed) {
        (void)posix_spawn_file_actions_destroy(&files);
        return failed;
    }
    failed = set_up_spawn(&files, &attributes, child_fd);
    if (!failed)
        failed = posix_spawn(
            &child->pid, child->conf.program, &files, &attributes, argv, environ);
    if (failed)
        child->pid = 0;
    (void)posix_spawnattr_destroy(&attributes);
    (void)posix_spawn_file_actions_destroy(&files);
    return failed;
}

static void
say_start(struct mr_child *child)
{
    struct mr_child_start start = {.number = child->conf.number,
        .db_name = child->conf.db_name,
        .worker = child->conf.worker,
        .loads = child->conf.loads,
        .settings = *child->conf.settings,
        .seals = child->conf.opener && child->conf.opener->ring};

    mr_child_put_start(&child->out, child->in.key, &start);
}

/* False: it does not listen any more. What it said last may still be there. */
static bool
talk_to(struct mr_child *child)
{
    while (child->sent < child->out.n) {
        ssize_t n = send(child->fd, child->out.p + child->sent,
            child->out.n - child->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK;
        child->sent += (size_t)n;
    }
    mr_wr_reset(&child->out);
    child->sent = 0;
    return true;
}

/* 0, or why not. */
static int
start(struct mr_child *child)
{
    int pair[2], failed;

    child->is_ready = child->is_spent = child->is_broken = false;
    child->refused[0] = '\0';
    child->jobs = 0;
    child->base_kib = child->peak_kib = 0;
    child->in.n = child->in.at = 0;
    child->in.key = mr_hash_key_random().k0 | 1;
    child->sent = 0;
    mr_wr_reset(&child->out);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return errno;
    failed = spawn(child, pair[1]);
    (void)close(pair[1]);
    if (failed) {
        (void)close(pair[0]);
        return failed;
    }
    child->fd = pair[0];
    child->pidfd = pidfd_open(child->pid, 0);
    say_start(child);
    (void)talk_to(child); /* it prepares its kinds while there is nothing to do */
    mr_log(MR_LOG_DEBUG, "child", "pid=%d", (int)child->pid);
    return 0;
}

/* It and what it started, whether it is gone already or not. */
static void
end_process(struct mr_child *child)
{
    struct rusage usage = {.ru_maxrss = 0};
    pid_t pid;

    if (!child->pid)
        return;
    (void)kill(-child->pid, SIGKILL);
    do
        pid = wait4(child->pid, &child->wait_status, 0, &usage);
    while (pid < 0 && errno == EINTR);
    if (usage.ru_maxrss > child->peak_kib)
        child->peak_kib = usage.ru_maxrss;
    (void)close(child->fd);
    if (child->pidfd >= 0)
        (void)close(child->pidfd);
    child->fd = child->pidfd = -1;
    child->pid = 0;
}

/* ---- what it says -------------------------------------------------------------------------------- */

static bool
is_of_attempt(const struct mr_child *child, uint64_t serial)
{
    return child->attempt && !child->is_over && serial == child->attempt->serial;
}

static bool
hear_ready(struct mr_child *child, struct mr_rd *rd)
{
    child->base_kib = (int64_t)mr_rd_uint(rd, INT64_MAX);
    child->is_ready = true;
    return true;
}

static bool
hear_refused(struct mr_child *child, struct mr_rd *rd)
{
    struct mr_span text;

    mr_rd_skip_n(rd, 2);
    text = mr_rd_bin(rd, REFUSED_BYTES - 1);
    if (text.n)
        memcpy(child->refused, text.p, text.n);
    child->refused[text.n] = '\0';
    return true;
}

static bool
hear_handled(struct mr_child *child, struct mr_rd *rd)
{
    bool is_ours = is_of_attempt(child, mr_rd_uint(rd, UINT64_MAX));

    if (is_ours)
        atomic_store(&child->attempt->is_handled, mr_rd_uint(rd, 1) == 1);
    return is_ours;
}

static bool
hear_progress(struct mr_child *child, struct mr_rd *rd)
{
    bool is_ours = is_of_attempt(child, mr_rd_uint(rd, UINT64_MAX));
    uint32_t permille = (uint32_t)mr_rd_uint(rd, 1000);
    struct mr_span text = mr_rd_bin(rd, MR_PROGRESS_BYTES_MAX);

    if (is_ours && !rd->status)
        mr_attempt_progress(child->attempt, permille, text);
    return is_ours;
}

static bool
hear_outcome(struct mr_child *child, struct mr_rd *rd)
{
    if (!child->attempt || child->is_over ||
        mr_child_get_outcome(
            rd, child->attempt, child->conf.worker, &child->end, &child->is_spent))
        return false;
    child->is_over = true;
    return true;
}

/* For no other job than a follow-up of the one that it runs: the id is made here. */
static bool
hear_seal(struct mr_child *child, struct mr_rd *rd)
{
    struct mr_seal_ask ask = {.status = MR_NO_MEMORY};
    struct mr_span sealed = MR_SPAN_NONE;
    uint64_t serial;

    if (mr_child_get_seal(rd, &serial, &ask) || !is_of_attempt(child, serial))
        return false;
    ask.out = malloc(mr_seal_bytes(ask.plain.n));
    if (ask.out)
        ask.status = mr_opener_seal(child->conf.opener, child->attempt->id, &ask);
    if (ask.status == MR_OK)
        sealed = mr_span(ask.out, mr_seal_bytes(ask.plain.n));
    mr_child_put_text(&child->out, child->in.key, MR_CHILD_SEALED, serial,
        (uint64_t)ask.status, sealed);
    free(ask.out);
    return true;
}

/* False: it is not to be understood. */
static bool
hear(struct mr_child *child)
{
    static bool (*const hearers[])(struct mr_child *, struct mr_rd *) = {
        [MR_CHILD_READY] = hear_ready,
        [MR_CHILD_REFUSED] = hear_refused,
        [MR_CHILD_HANDLED] = hear_handled,
        [MR_CHILD_PROGRESS] = hear_progress,
        [MR_CHILD_OUTCOME] = hear_outcome,
        [MR_CHILD_SEAL] = hear_seal,
        [MR_CHILD_LAST] = NULL,
    };
    enum mr_child_word word;
    struct mr_rd rd;
    enum mr_status status;

    while ((status = mr_frames_next(&child->in, &word, &rd)) == MR_OK)
        if (!hearers[word] || !hearers[word](child, &rd) || rd.status)
            return false;
    return status == MR_NOT_FOUND;
}

/* False: it is gone, or has to go. */
static bool
listen_to(struct mr_child *child)
{
    bool is_there = mr_frames_read(&child->in, child->fd);

    /* What it said before its end counts: perhaps that it has committed. */
    if (hear(child))
        return is_there;
    child->is_broken = true;
    return false;
}

/* ---- an attempt ------------------------------------------------------------------------------------ */

static void
take_notes(struct mr_child *child)
{
    mr_mailbox_hush(child->conf.box);
    child->is_ending = child->conf.take_notes(child->conf.context) || child->is_ending;
    if (child->attempt)
        child->is_told =
            false; /* told again: a cancel between two statements stops neither */
}

static void
heed_stop(struct mr_child *child, int64_t now)
{
    int stop = atomic_load(&child->attempt->stop);

    if (stop == MR_STOP_NOT || child->is_told)
        return;
    if (child->kill_us == NEVER_US)
        child->kill_us = now + child->conf.settings->isolate_grace_ms * INT64_C(1000);
    child->is_told = true;
    mr_child_put_words(&child->out, child->in.key, MR_CHILD_STOP, child->attempt->serial,
        (uint64_t)stop);
}

static bool
must_die(const struct mr_child *child, int64_t now)
{
    return child->is_ending ||
           (now >= child->kill_us && !atomic_load(&child->attempt->is_handled));
}

static int
poll_ms(const struct mr_child *child, int64_t now)
{
    int64_t left_us = child->kill_us - now;

    /* Nobody rings for those who only wait for the database. */
    if (child->pidfd < 0 || atomic_load(&child->attempt->is_handled))
        return LOOK_MS;
    if (child->kill_us == NEVER_US)
        return -1;
    return left_us > 0 ? (int)((left_us + 999) / 1000) : 0;
}

/* It says nothing more, as when it ends, or when a handler closed its socket. */
static void
await_end(struct mr_child *child)
{
    struct pollfd poller = {.fd = child->pidfd, .events = POLLIN};

    if (child->pidfd >= 0 && !child->is_broken && poll(&poller, 1, END_MS) == 0)
        child->is_broken = true;
}

/* False: the process is gone. */
static bool
turn(struct mr_child *child)
{
    int64_t now = mr_clock_now().mono_us;
    bool is_there = true;

    heed_stop(child, now);
    if (must_die(child, now)) {
        child->is_killed = true;
        (void)listen_to(child); /* it may have come to an end just now */
        return false;
    }
    is_there = talk_to(child);
    struct pollfd pollers[] = {
        {.fd = child->fd,
            .events = (short)(POLLIN | (is_there && child->out.n ? POLLOUT : 0))},
        {.fd = mr_mailbox_fd(child->conf.box), .events = POLLIN},
        {.fd = child->pidfd, .events = POLLIN},
    };
    (void)poll(pollers, 3, is_there ? poll_ms(child, now) : 0);
    if (pollers[1].revents)
        take_notes(child);
    if (pollers[2].revents) { /* looked at first: whatever it wrote is there by now */
        (void)listen_to(child);
        return false;
    }
    if (listen_to(child))
        return true;
    await_end(child);
    return false;
}

static void
report_end(struct mr_child *child, uint32_t memory_mib)
{
    struct mr_attempt *attempt = child->attempt;
    struct mr_isolate_end end = {.wait_status = child->wait_status,
        .is_broken = child->is_broken ||
                     (WIFEXITED(child->wait_status) &&
                         WEXITSTATUS(child->wait_status) == MR_CHILD_EXIT_DEAF),
        .memory_mib = memory_mib,
        .grown_kib = child->peak_kib - child->base_kib};
    int stop = atomic_load(&attempt->stop);
    const char *how = child->is_killed
                          ? "did not stop when it was told to, and its process was killed"
                          : "its process ended before the answer";
    char text[MR_ERROR_BYTES_MAX];

    mr_isolate_describe(&end, text, sizeof text);
    attempt->rings = false;
    if (child->is_ending || stop == MR_STOP_DRAIN || stop == MR_STOP_STALE)
        mr_attempt_report(
            attempt, MR_DID_GIVE_BACK, mr_span_str("the worker was stopped"));
    else if (stop == MR_STOP_CANCELLED)
        mr_attempt_reportf(attempt, MR_DID_CANCEL, "cancelled: %s", how);
    else if (stop == MR_STOP_TIMED_OUT)
        mr_attempt_reportf(attempt, MR_DID_TIME_OUT, "timed out: %s", how);
    else if (child->is_ready)
        mr_attempt_report(attempt, MR_DID_CRASH, mr_span_str(text));
    else
        mr_attempt_reportf(attempt, MR_DID_FAIL, "the process for it did not come up: %s",
            child->refused[0] ? child->refused : text);
}

/* False: reported, there will be none. */
static bool
have_process(struct mr_child *child)
{
    struct pollfd poller = {.fd = child->pidfd, .events = POLLIN};
    int failed = 0;

    if (child->pid && child->pidfd >= 0 && poll(&poller, 1, 0) > 0)
        end_process(child); /* it went while it had nothing to do */
    if (!child->pid)
        failed = start(child);
    if (failed)
        mr_attempt_reportf(child->attempt, MR_DID_FAIL,
            "no process could be started for it: %s", strerror(failed));
    return !failed;
}

enum mr_run_end
mr_child_run(struct mr_child *child, struct mr_attempt *attempt)
{
    uint32_t memory_mib =
        mr_isolate_memory_mib(attempt->kind, child->conf.settings->isolate_memory_mib);
    bool is_there = true;

    attempt->done.started_at_us = mr_clock_now().wall_us;
    attempt->done.finished_at_us = 0;
    child->attempt = attempt;
    child->end = MR_RUN_OVER;
    child->is_over = child->is_told = child->is_killed = child->is_ending = false;
    child->kill_us = NEVER_US;
    if (have_process(child)) {
        child->jobs++;
        mr_child_put_attempt(&child->out, child->in.key, attempt, memory_mib);
        while (is_there && !child->is_over)
            is_there = turn(child);
        if (!is_there)
            end_process(child);
        if (!child->is_over)
            report_end(child, memory_mib);
    }
    atomic_store(&attempt->is_handled, true);
    child->attempt = NULL;
    return child->end;
}

/* ---- its end --------------------------------------------------------------------------------------- */

/* Its kinds may want to dispose of something. */
static void
say_goodbye(struct mr_child *child)
{
    struct pollfd poller = {.fd = child->pidfd, .events = POLLIN};

    mr_child_put_words(&child->out, child->in.key, MR_CHILD_BYE, 0, 0);
    if (child->is_ready && talk_to(child) && child->pidfd >= 0)
        (void)poll(&poller, 1, BYE_MS);
    end_process(child);
}

void
mr_child_tend(struct mr_child *child)
{
    bool is_spent =
        child->is_spent || child->jobs >= child->conf.settings->isolate_jobs_max;

    if (child->pid && is_spent) {
        mr_log(MR_LOG_DEBUG, "child_spent", "pid=%d jobs=%u why=\"%s\"", (int)child->pid,
            child->jobs, child->is_spent ? "it has grown" : "it has served long enough");
        say_goodbye(child);
    }
    /* One that never came up would not the next time either. */
    if (!child->pid && child->is_ready && !child->is_ending)
        (void)start(child);
}

pid_t
mr_child_pid(const struct mr_child *child)
{
    return child->pid;
}

enum mr_status
mr_child_new(struct mr_child **out, const struct mr_child_conf *conf)
{
    struct mr_child *child = calloc(1, sizeof *child);

    *out = child;
    if (!child)
        return MR_NO_MEMORY;
    child->conf = *conf;
    child->fd = child->pidfd = -1;
    mr_wr_init(&child->out, 2 * MR_FRAME_BYTES_MAX);
    return MR_OK;
}

void
mr_child_destroy(struct mr_child **child)
{
    struct mr_child *gone = *child;

    if (!gone)
        return;
    if (gone->pid)
        say_goodbye(gone);
    mr_wr_fini(&gone->out);
    free(gone->in.bytes);
    free(gone);
    *child = NULL;
}
