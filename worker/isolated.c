#include "worker/isolated.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "schemas/base/arena.h"
#include "schemas/base/clock.h"
#include "schemas/base/confine.h"
#include "schemas/base/log.h"
#include "worker/canceller.h"
#include "worker/child.h"
#include "worker/child_wire.h"
#include "worker/executor.h"
#include "worker/isolate.h"
#include "worker/kinds/kinds.h"
#include "worker/registry.h"

#define TEXTS_BYTES_MAX ((size_t)1 << 20)
#define PARENT_GONE SIGRTMAX
#define NEVER_US INT64_MAX
#define NEWS_US 100000 /* between two looks */
#define OOM_SCORE                                                                        \
    "500" /* of 1,000: sooner than the worker, if memory runs out everywhere */

struct isolated {
    int fd;
    struct mr_frames in;
    struct mr_wr out;
    struct mr_arena *texts;
    struct mr_child_start start;
    struct mr_registry *registry;
    struct mr_mailbox *box, *store; /* from the executor: over, and to be stored */
    struct mr_canceller *canceller;
    struct mr_executor *executor;
    struct mr_batch batch; /* of the one attempt */
    struct mr_attempt *attempt;
    bool is_running, is_handled, is_over;
    struct mr_seal_ask *ask; /* of the executor, which waits for it */
    int statm;
    int64_t data_bytes; /* at the start */
    struct rlimit limit;

    /* From the executor: it is worth looking at the attempt. Lowered when that was done, which is
     * not all the time, however often a handler has progress to tell. */
    struct mr_note news;
    atomic_bool has_news;
    int64_t news_us, next_news_us; /* when to look, not before */
};

/* ---- nobody is left behind ------------------------------------------------------------------------ */

/* Itself, and what its handlers started. */
static void
kill_group(int number)
{
    (void)number;
    (void)kill(0, SIGKILL);
}

static void
do_nothing(int number)
{
    (void)number;
}

/* The worker ends its children by itself, in order. Whoever ends all processes of a service at
 * once with SIGTERM means the worker, and Ctrl-C as well. */
static bool
set_up_signals(void)
{
    static const int left_to_worker[] = {SIGTERM, SIGINT, SIGHUP};
    struct sigaction action = {.sa_handler = do_nothing, .sa_flags = SA_RESTART};

    for (size_t i = 0; i < sizeof left_to_worker / sizeof left_to_worker[0]; i++)
        if (sigaction(left_to_worker[i], &action, NULL) != 0)
            return false;
    action.sa_handler = SIG_IGN;
    if (sigaction(SIGPIPE, &action, NULL) != 0)
        return false;
    action.sa_handler = kill_group;
    /* If the worker is gone before this, its end of the socket pair is closed. */
    return sigaction(PARENT_GONE, &action, NULL) == 0 &&
           prctl(PR_SET_PDEATHSIG, PARENT_GONE) == 0;
}

/* A thread's own wish when the parent goes, beside the main thread's: who is stopped (SIGSTOP) would
 * else not get to handle that one. */
static void
wish_to_go_on(void *context)
{
    (void)context;
    (void)prctl(PR_SET_PDEATHSIG, SIGCONT);
}

static void
set_up_limits(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd >= 0) {
        (void)!write(fd, OOM_SCORE, sizeof OOM_SCORE - 1);
        (void)close(fd);
    }
    /* Last: that file is root's then. The setting is the worker's own. */
    mr_confine_memory(false);
}

/* ---- memory ---------------------------------------------------------------------------------------- */

/* Private memory that may be written, as RLIMIT_DATA counts it. */
static int64_t
data_bytes(const struct isolated *isolated)
{
    char text[128];
    ssize_t n = pread(isolated->statm, text, sizeof text - 1, 0);
    long long pages = 0;

    text[n > 0 ? n : 0] = '\0';
    if (sscanf(text, "%*u %*u %*u %*u %*u %lld", &pages) != 1)
        return 0;
    return pages * sysconf(_SC_PAGESIZE);
}

static void
limit_memory(struct isolated *isolated, uint32_t memory_mib)
{
    struct rlimit limit = isolated->limit;
    rlim_t wanted = (rlim_t)data_bytes(isolated) + ((rlim_t)memory_mib << 20);

    if (memory_mib && wanted < limit.rlim_max)
        limit.rlim_cur = wanted;
    (void)setrlimit(RLIMIT_DATA, &limit);
}

static bool
has_grown(const struct isolated *isolated)
{
    int64_t most_mib = isolated->start.settings.isolate_growth_mib;

    return most_mib && data_bytes(isolated) - isolated->data_bytes > most_mib << 20;
}

/* ---- talking ----------------------------------------------------------------------------------------- */

/* The worker is gone, or what it says is: nobody wants to know what goes on here. */
static _Noreturn void
leave(const struct isolated *isolated)
{
    if (isolated->in.is_hung_up)
        kill_group(0);
    _exit(MR_CHILD_EXIT_DEAF);
}

static void
send_out(struct isolated *isolated)
{
    size_t sent = 0;

    while (sent < isolated->out.n) {
        ssize_t n = send(
            isolated->fd, isolated->out.p + sent, isolated->out.n - sent, MSG_NOSIGNAL);

        if (n < 0)
            leave(isolated);
        sent += (size_t)n;
    }
    mr_wr_reset(&isolated->out);
}

static void
say_outcome(struct isolated *isolated, enum mr_run_end end)
{
    struct rlimit limit = isolated->limit;

    (void)setrlimit(RLIMIT_DATA, &limit);
    isolated->is_running = false;
    mr_child_put_outcome(
        &isolated->out, isolated->in.key, isolated->attempt, end, has_grown(isolated));
    send_out(isolated);
    mr_attempt_reset(isolated->attempt);
}

static void
on_news(void *context)
{
    struct isolated *isolated = context;

    if (!atomic_exchange(&isolated->has_news, true))
        mr_note_give(isolated->box, &isolated->news);
}

static void
tell_news(struct isolated *isolated, int64_t now)
{
    struct mr_attempt *attempt = isolated->attempt;
    struct mr_progress *progress;
    bool is_handled;

    isolated->news_us = NEVER_US;
    isolated->next_news_us = now + NEWS_US;
    atomic_store(&isolated->has_news, false);
    if (!isolated->is_running)
        return;
    is_handled = atomic_load(&attempt->is_handled);
    if (is_handled != isolated->is_handled)
        mr_child_put_words(&isolated->out, isolated->in.key, MR_CHILD_HANDLED,
            attempt->serial, is_handled);
    isolated->is_handled = is_handled;
    progress = atomic_exchange(&attempt->progress, NULL);
    if (progress)
        mr_child_put_text(&isolated->out, isolated->in.key, MR_CHILD_PROGRESS,
            attempt->serial, progress->permille,
            mr_span(progress->text, progress->bytes));
    free(progress);
    send_out(isolated);
}

static void
ask_to_seal(void *context, struct mr_seal_ask *ask)
{
    struct isolated *isolated = context;

    mr_note_give(isolated->box, &ask->note);
}

static void
answer_ask(struct isolated *isolated, enum mr_status status)
{
    struct mr_seal_ask *ask = isolated->ask;

    isolated->ask = NULL;
    ask->status = status;
    mr_executor_sealed(isolated->executor, ask);
}

/* The worker has the keys. */
static void
pass_on_ask(struct isolated *isolated, struct mr_seal_ask *ask)
{
    isolated->ask = ask;
    mr_child_put_seal(&isolated->out, isolated->in.key, isolated->attempt->serial, ask);
    if (isolated->out.status == MR_OK) {
        send_out(isolated);
        return;
    }
    mr_wr_reset(&isolated->out);
    answer_ask(isolated, MR_NO_MEMORY);
}

static void
take_notes(struct isolated *isolated)
{
    struct mr_note *note;

    mr_mailbox_hush(isolated->box);
    while ((note = mr_note_take(isolated->box))) {
        if (note == &isolated->news)
            isolated->news_us = isolated->next_news_us;
        else if (note->type == MR_NOTE_SEAL)
            pass_on_ask(isolated, (struct mr_seal_ask *)(void *)note);
        else if (note->type == MR_NOTE_IDLE) /* the attempt came before, here or there */
            say_outcome(
                isolated, mr_note_take(isolated->store) ? MR_RUN_TO_STORE : MR_RUN_OVER);
    }
}

/* ---- listening --------------------------------------------------------------------------------------- */

static bool
hear_attempt(struct isolated *isolated, struct mr_rd *rd)
{
    struct mr_attempt *attempt = isolated->attempt;
    struct mr_job_sent sent = {.attempt = 0};
    const struct millrace_kind *kind;
    enum mr_stop stop;
    uint64_t serial;
    uint32_t memory_mib;

    if (isolated->is_running ||
        mr_child_get_attempt(rd, &sent, &serial, &stop, &memory_mib))
        return false;
    kind = mr_registry_find(isolated->registry, sent.kind, NULL);
    if (mr_attempt_set(attempt, &sent, kind, serial))
        return false;
    atomic_store(&attempt->stop, (int)stop);
    isolated->is_running = true;
    isolated->is_handled = false;
    if (!kind) {
        mr_attempt_report(attempt, MR_DID_FAIL,
            mr_span_str("the kind could not be prepared in its own process; the worker's "
                        "log says why"));
        say_outcome(isolated, MR_RUN_OVER);
        return true;
    }
    limit_memory(isolated, memory_mib);
    mr_batch_reset(&isolated->batch);
    mr_batch_add(&isolated->batch, attempt, mr_clock_now().mono_us);
    mr_executor_start(isolated->executor, &isolated->batch);
    return true;
}

static bool
hear_stop(struct isolated *isolated, struct mr_rd *rd)
{
    struct mr_attempt *attempt = isolated->attempt;
    uint64_t serial = mr_rd_uint(rd, UINT64_MAX);
    int stop = (int)mr_rd_uint(rd, MR_STOP_DRAIN), not_yet = MR_STOP_NOT;

    if (!isolated->is_running || attempt->serial != serial)
        return true; /* it has ended meanwhile */
    (void)atomic_compare_exchange_strong(&attempt->stop, &not_yet, stop);
    if (!atomic_load(&attempt->is_handled))
        mr_canceller_ask(
            isolated->canceller, mr_executor_guard(isolated->executor), serial);
    return true;
}

static bool
hear_sealed(struct isolated *isolated, struct mr_rd *rd)
{
    const struct mr_seal_ask *ask = isolated->ask;
    uint64_t serial = mr_rd_uint(rd, UINT64_MAX);
    enum mr_status status = (enum mr_status)mr_rd_uint(rd, UINT16_MAX);
    struct mr_span sealed = mr_rd_bin(rd, MR_FRAME_BYTES_MAX);

    if (!ask || serial != isolated->attempt->serial || rd->status ||
        (status == MR_OK && sealed.n != mr_seal_bytes(ask->plain.n)))
        return false;
    if (status == MR_OK)
        memcpy(ask->out, sealed.p, sealed.n);
    answer_ask(isolated, status);
    return true;
}

static bool
hear_bye(struct isolated *isolated, struct mr_rd *rd)
{
    (void)rd;
    isolated->is_over = true;
    return !isolated->is_running;
}

static void
hear(struct isolated *isolated)
{
    static bool (*const hearers[])(struct isolated *, struct mr_rd *) = {
        [MR_CHILD_ATTEMPT] = hear_attempt,
        [MR_CHILD_STOP] = hear_stop,
        [MR_CHILD_BYE] = hear_bye,
        [MR_CHILD_SEALED] = hear_sealed,
    };
    enum mr_child_word word;
    struct mr_rd rd;
    enum mr_status status;

    if (!mr_frames_read(&isolated->in, isolated->fd))
        leave(isolated);
    while ((status = mr_frames_next(&isolated->in, &word, &rd)) == MR_OK)
        if (!hearers[word] || !hearers[word](isolated, &rd) || rd.status)
            leave(isolated);
    if (status != MR_NOT_FOUND)
        leave(isolated);
}

static int
poll_ms(const struct isolated *isolated, int64_t now)
{
    if (isolated->is_over || now >= isolated->news_us)
        return 0;
    return isolated->news_us == NEVER_US ? -1
                                         : (int)((isolated->news_us - now + 999) / 1000);
}

static void
serve(struct isolated *isolated)
{
    while (!isolated->is_over) {
        int64_t now = mr_clock_now().mono_us;
        struct pollfd pollers[] = {
            {.fd = isolated->fd, .events = POLLIN},
            {.fd = mr_mailbox_fd(isolated->box), .events = POLLIN},
        };

        hear(isolated); /* first: much may have come together with START */
        take_notes(isolated);
        if (now >= isolated->news_us)
            tell_news(isolated, now);
        (void)poll(pollers, 2, poll_ms(isolated, now));
    }
}

/* ---- start and end ------------------------------------------------------------------------------------- */

static bool
hear_start(struct isolated *isolated)
{
    struct pollfd poller = {.fd = isolated->fd, .events = POLLIN};
    enum mr_status status = MR_NOT_FOUND;
    enum mr_child_word word;
    struct mr_rd rd;

    while (status == MR_NOT_FOUND) {
        (void)poll(&poller, 1, -1);
        if (!mr_frames_read(&isolated->in, isolated->fd))
            return false;
        status = mr_frames_next(&isolated->in, &word, &rd);
    }
    return status == MR_OK && word == MR_CHILD_START &&
           mr_child_get_start(&rd, isolated->texts, &isolated->start) == MR_OK;
}

static void
open_log(const struct isolated *isolated)
{
    enum mr_log_level level = MR_LOG_INFO;
    char name[16];

    (void)mr_log_level_parse(isolated->start.settings.log_level, &level);
    mr_log_open("millrace-worker", level);
    (void)snprintf(name, sizeof name, "child-%u", isolated->start.number);
    mr_log_thread(name);
}

/* Only what runs here is prepared here. */
static enum mr_status
load_kinds(struct isolated *isolated, struct mr_err *err)
{
    const struct mr_settings *settings = &isolated->start.settings;
    struct millrace_host host = {.settings = settings};
    const char *rest = isolated->start.loads;
    char path[4096];
    enum mr_status status = mr_registry_new(&isolated->registry);

    if (status == MR_OK)
        status = mr_registry_add(isolated->registry, mr_kinds_builtin, "built in", err);
    while (status == MR_OK && mr_settings_next(&rest, path, sizeof path))
        status = mr_registry_load(isolated->registry, path, err);
    if (status)
        return status;
    mr_registry_keep(isolated->registry, mr_isolate_is_on, settings->isolate);
    mr_registry_prepare(isolated->registry, &host);
    return MR_OK;
}

static enum mr_status
open_parts(struct isolated *isolated)
{
    struct mr_executor_conf conf = {.number = isolated->start.number,
        .conninfo = isolated->start.settings.database,
        .db_name = isolated->start.db_name,
        .worker = isolated->start.worker,
        .context = isolated,
        .on_start = wish_to_go_on,
        .on_news = on_news};

    isolated->attempt = mr_attempt_new();
    isolated->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (!isolated->attempt || mr_mailbox_new(&isolated->box) ||
        mr_mailbox_new(&isolated->store) || mr_canceller_new(&isolated->canceller))
        return MR_NO_MEMORY;
    if (isolated->start.seals)
        conf.ask_to_seal = ask_to_seal;
    conf.session = isolated->box;
    conf.committer = isolated->store;
    return mr_executor_new(&isolated->executor, &conf);
}

static void
say_ready(struct isolated *isolated)
{
    struct rusage usage = {.ru_maxrss = 0};

    (void)getrlimit(RLIMIT_DATA, &isolated->limit);
    (void)getrusage(RUSAGE_SELF, &usage);
    isolated->data_bytes = data_bytes(isolated);
    mr_child_put_words(
        &isolated->out, isolated->in.key, MR_CHILD_READY, (uint64_t)usage.ru_maxrss, 0);
    send_out(isolated);
}

static int
refuse(struct isolated *isolated, enum mr_status status, const struct mr_err *err)
{
    char text[800];

    (void)snprintf(text, sizeof text, "%s %s",
        err->what[0] ? err->what : mr_status_text(status), err->why);
    mr_child_put_text(
        &isolated->out, isolated->in.key, MR_CHILD_REFUSED, 0, 0, mr_span_str(text));
    send_out(isolated);
    return EX_CONFIG;
}

static void
close_parts(struct isolated *isolated)
{
    if (isolated->executor)
        mr_executor_stop(isolated->executor);
    mr_executor_destroy(&isolated->executor);
    mr_canceller_destroy(&isolated->canceller);
    mr_mailbox_destroy(&isolated->store);
    mr_mailbox_destroy(&isolated->box);
    mr_attempt_destroy(&isolated->attempt);
    mr_registry_destroy(&isolated->registry);
    mr_arena_destroy(&isolated->texts);
    mr_wr_fini(&isolated->out);
    free(isolated->in.bytes);
    (void)close(isolated->statm);
}

int
mr_isolated_main(void)
{
    struct isolated isolated = {
        .fd = MR_CHILD_FD, .statm = -1, .news.type = MR_NOTE_NEWS, .news_us = NEVER_US};
    struct mr_err err = {0};
    enum mr_status status;
    int code = EX_OK;

    atomic_init(&isolated.has_news, false);
    mr_wr_init(&isolated.out, 2 * MR_FRAME_BYTES_MAX);
    /* By hand: there is nobody to talk to, and the group is not ours to kill. */
    if (getpgrp() != getpid() || fcntl(MR_CHILD_FD, F_SETFD, FD_CLOEXEC) != 0) {
        fprintf(stderr,
            "millrace-worker: %s is for the worker itself\n"
            "  what to do: millrace-worker --help\n",
            MR_CHILD_ARGUMENT);
        return EX_USAGE;
    }
    set_up_limits();
    if (!set_up_signals() || mr_arena_new(&isolated.texts, TEXTS_BYTES_MAX) ||
        !hear_start(&isolated))
        return EX_SOFTWARE;
    open_log(&isolated);
    status = load_kinds(&isolated, &err);
    if (status == MR_OK)
        status = open_parts(&isolated);
    if (status) {
        code = refuse(&isolated, status, &err);
    } else {
        say_ready(&isolated);
        serve(&isolated);
    }
    close_parts(&isolated);
    return code;
}
