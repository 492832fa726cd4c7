#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include <czmq.h>

#include "schemas/base/clock.h"
#include "schemas/base/confine.h"
#include "schemas/base/log.h"
#include "schemas/sql/migrate.h"
#include "schemas/sql/pg.h"
#include "worker/child.h"
#include "worker/db.h"
#include "worker/isolated.h"
#include "worker/kinds/kinds.h"
#include "worker/link.h"
#include "worker/opener.h"
#include "worker/pace.h"
#include "worker/registry.h"
#include "worker/settings.h"

#define EX_WORN_OUT                                                                      \
    1 /* more handlers hung than threads could be replaced: start it again */

struct worker {
    struct mr_settings settings;
    struct mr_conf *conf;
    struct mr_registry *registry;
    struct mr_opener opener;
    struct mr_mailbox *box; /* notes for this thread */
    struct mr_link *link;
    struct mr_curve_peer peer;
    struct mr_uuid instance;
    char name[MR_NAME_BYTES_MAX + 1];
    char *loads;
    int signals; /* signalfd */
};

static int
complain(const struct mr_err *err, int code)
{
    fprintf(stderr, "millrace-worker: %s\n", err->what);
    if (err->why[0])
        fprintf(stderr, "  why: %s\n", err->why);
    if (err->todo[0])
        fprintf(stderr, "  what to do: %s\n", err->todo);
    return code;
}

static int
exit_code_of(enum mr_status status)
{
    switch (status) {
    case MR_DENIED:
        return EX_NOPERM;
    case MR_VERSION:
    case MR_BAD_SETTING:
        return EX_CONFIG;
    case MR_STORE_DOWN:
        return EX_UNAVAILABLE;
    default:
        return EX_SOFTWARE;
    }
}

/* ---- settings ---------------------------------------------------------------------------------- */

/* host:process, with what may not be in a name replaced. */
static void
default_name(char out[MR_NAME_BYTES_MAX + 1])
{
    char host[48] = "";

    if (gethostname(host, sizeof host - 1) != 0 || !host[0])
        (void)snprintf(host, sizeof host, "worker");
    (void)snprintf(out, MR_NAME_BYTES_MAX + 1, "%s:%d", host, (int)getpid());
}

static enum mr_status
check_settings(struct worker *worker, struct mr_err *err)
{
    struct mr_settings *settings = &worker->settings;
    const char *rest = settings->endpoint;
    char endpoint[256];
    int count = 0;

    for (; mr_settings_next(&rest, endpoint, sizeof endpoint); count++)
        if (!strstr(endpoint, "://"))
            return mr_err_setf(err, MR_BAD_SETTING, "An endpoint cannot be used.",
                "Give it as the broker prints it, such as tcp://127.0.0.1:5701.",
                "endpoint: \"%.100s\" is not of the form tcp://host:port.", endpoint);
    if (count == 0)
        return mr_err_set(err, MR_BAD_SETTING, "The worker does not know its broker.",
            "No endpoint was given.",
            "Give --endpoint tcp://HOST:PORT, the endpoint that the broker prints as "
            "\"back\".");
    (void)snprintf(worker->name, sizeof worker->name, "%s", settings->name);
    if (!worker->name[0])
        default_name(worker->name);
    for (char *c = worker->name; *c; c++)
        if (*c < '!' || *c > '~')
            *c = '-';
    return MR_OK;
}

static enum mr_status
load_keys(struct worker *worker, struct mr_err *err)
{
    const struct mr_settings *settings = &worker->settings;
    const char *rest = settings->endpoint;
    char endpoint[256];
    enum mr_status status = mr_curve_peer_load(&worker->peer, settings->key_file,
        settings->server_key, settings->is_insecure, err);

    while (status == MR_OK && mr_settings_next(&rest, endpoint, sizeof endpoint))
        status = mr_curve_peer_check(&worker->peer, endpoint, err);
    return status;
}

/* True: there is nothing more to do, and *code is how it went. */
static bool
read_settings(struct worker *worker, int argc, char **argv, int *code)
{
    struct mr_err err = {0};
    int at = 1;
    enum mr_status status =
        mr_conf_new(&worker->conf, "worker", mr_settings_rows, &worker->settings);

    if (status == MR_OK)
        status = mr_conf_load(worker->conf, argc, argv, &at, &err);
    if (status) {
        *code = complain(&err, EX_CONFIG);
        return true;
    }
    *code = EX_OK;
    if (at < argc && strcmp(argv[at], "--version") == 0) {
        puts("millrace-worker " MILLRACE_VERSION);
        return true;
    }
    if (at < argc && (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0)) {
        puts("millrace-worker --endpoint tcp://127.0.0.1:5701 --database CONNINFO\n"
             "Runs jobs. Ctrl-C ends it in order, a second one at once.\n");
        mr_conf_print_help(worker->conf, stdout);
        return true;
    }
    if (at < argc) {
        fprintf(stderr,
            "millrace-worker: there is no flag or argument \"%s\"\n"
            "  what to do: millrace-worker --help\n",
            argv[at]);
        *code = EX_USAGE;
        return true;
    }
    status = check_settings(worker, &err);
    if (status == MR_OK)
        status = load_keys(worker, &err);
    if (status)
        *code = complain(&err, status == MR_DENIED ? EX_NOPERM : EX_CONFIG);
    return status != MR_OK;
}

static void
open_log(const struct worker *worker)
{
    enum mr_log_level level = MR_LOG_INFO;

    (void)mr_log_level_parse(worker->settings.log_level, &level);
    mr_log_open("millrace-worker", level);
    mr_log_thread("main");
}

/* ---- kinds ------------------------------------------------------------------------------------- */

/* Names in `isolate` that mean nothing here. */
static void
warn_of_strangers(const struct worker *worker)
{
    const char *rest = worker->settings.isolate;
    char name[128];

    if (strcmp(rest, "yes") == 0 || strcmp(rest, "no") == 0)
        return;
    while (mr_settings_next(&rest, name, sizeof name))
        if (!mr_registry_find(worker->registry, mr_span_str(name), NULL))
            mr_log(MR_LOG_WARN, "isolate",
                "kind=\"%s\" why=\"there is no such kind here: give yes, no, or names\"",
                name);
}

static enum mr_status
load_kinds(struct worker *worker, struct mr_err *err)
{
    struct millrace_host host = {.settings = &worker->settings};
    const char *rest = worker->loads ? worker->loads : worker->settings.load;
    char path[4096];
    enum mr_status status = mr_registry_new(&worker->registry);

    if (status == MR_OK)
        status = mr_registry_add(worker->registry, mr_kinds_builtin, "built in", err);
    while (status == MR_OK && mr_settings_next(&rest, path, sizeof path))
        status = mr_registry_load(worker->registry, path, err);
    if (status == MR_OK)
        mr_registry_prepare(worker->registry, &host);
    if (status == MR_OK)
        warn_of_strangers(worker);
    return status;
}

/* ---- signals and the database -------------------------------------------------------------------- */

/* Blocked here and so in every thread; read in this one. */
static enum mr_status
open_signals(struct worker *worker)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0 ||
        sigaction(SIGPIPE, &ignore, NULL) != 0)
        return MR_INTERNAL;
    worker->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return worker->signals < 0 ? MR_INTERNAL : MR_OK;
}

static bool
take_signal(struct worker *worker)
{
    struct signalfd_siginfo info;

    return read(worker->signals, &info, sizeof info) == (ssize_t)sizeof info;
}

/* True if a signal came within `ms`. */
static bool
wait_signal(struct worker *worker, int ms)
{
    struct pollfd poller = {.fd = worker->signals, .events = POLLIN};

    return poll(&poller, 1, ms) > 0 && take_signal(worker);
}

static enum mr_status
look_at_database(struct worker *worker, struct mr_err *err)
{
    char name[MR_DB_NAME_MAX];
    struct mr_pg *pg = NULL;
    enum mr_status status = mr_pg_open(
        &pg, worker->settings.database, mr_db_name(worker->instance, name), err);

    if (status == MR_OK)
        status = mr_migrate_check(pg, err);
    mr_pg_close(&pg);
    return status;
}

/* Waits for a database that is down; MR_CANCELLED if a signal ended that. What waiting cannot
 * mend is returned. */
static enum mr_status
await_database(struct worker *worker, struct mr_err *err)
{
    for (unsigned n = 0;; n++) {
        enum mr_status status = look_at_database(worker, err);

        if (!mr_status_is_retryable(status))
            return status;
        if (n == 0)
            mr_log(MR_LOG_WARN, "store_down", "waiting=yes why=\"%s: %s\"", err->what,
                err->why);
        if (wait_signal(worker, mr_db_pause_ms(n)))
            return MR_CANCELLED;
    }
}

/* ---- run ---------------------------------------------------------------------------------------- */

static enum mr_status
open_link(struct worker *worker)
{
    struct mr_link_conf conf = {.settings = &worker->settings,
        .registry = worker->registry,
        .opener = &worker->opener,
        .peer = &worker->peer,
        .instance = worker->instance,
        .name = worker->name,
        .loads = worker->loads ? worker->loads : worker->settings.load,
        .main = worker->box};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t threads = worker->settings.threads;

    if (threads == 0)
        threads = cores > 0 ? cores : 1;
    conf.threads = (uint32_t)threads;
    conf.prefetch = conf.prefetch_max = (uint32_t)worker->settings.prefetch;
    if (worker->settings.prefetch < 0) {
        conf.prefetch = conf.threads;
        conf.prefetch_max =
            conf.threads > MR_PACE_AHEAD_MAX ? conf.threads : MR_PACE_AHEAD_MAX;
    }
    mr_log(MR_LOG_INFO, "start", "name=%s threads=%u prefetch=%u..%u kinds=%u",
        worker->name, conf.threads, conf.prefetch, conf.prefetch_max,
        mr_registry_count(worker->registry));
    return mr_link_new(&worker->link, &conf);
}

/* Until the link is over; signals are passed on. */
static struct mr_link_over *
serve(struct worker *worker)
{
    struct mr_note *note = NULL;

    while (!note) {
        struct pollfd pollers[] = {
            {.fd = worker->signals, .events = POLLIN},
            {.fd = mr_mailbox_fd(worker->box), .events = POLLIN},
        };

        (void)poll(pollers, 2, -1);
        while (take_signal(worker)) {
            mr_log(MR_LOG_INFO, "stopping", "drain_ms=%lld",
                (long long)worker->settings.drain_ms);
            mr_link_drain(worker->link);
        }
        mr_mailbox_hush(worker->box);
        note = mr_note_take(worker->box);
    }
    return (struct mr_link_over *)(void *)note;
}

static void
fini(struct worker *worker)
{
    mr_link_destroy(&worker->link);
    mr_opener_fini(&worker->opener);
    mr_registry_destroy(&worker->registry);
    mr_mailbox_destroy(&worker->box);
    mr_curve_peer_fini(&worker->peer);
    mr_conf_destroy(&worker->conf);
    free(worker->loads);
    if (worker->signals >= 0)
        (void)close(worker->signals);
    zsys_shutdown();
}

/* Before anybody else's code: kinds, and what the broker sends. */
static enum mr_status
drop_rights(const struct worker *worker, struct mr_err *err)
{
    const struct mr_settings *settings = &worker->settings;
    struct mr_confine confine;
    enum mr_status status =
        mr_confine_begin(&confine, settings->user, settings->keeps_core_dumps, err);

    if (status == MR_OK)
        status = mr_confine_enter(&confine, err);
    if (status == MR_OK && mr_confine_is_root_by_chance(&confine))
        mr_log(MR_LOG_WARN, "root",
            "why=\"every job runs with all rights on this host\" "
            "todo=\"set user to somebody who owns nothing else\"");
    return status;
}

static int
run(struct worker *worker)
{
    struct mr_err err = {0};
    struct mr_link_over *over;
    enum mr_status status =
        mr_opener_read(&worker->opener, worker->settings.seal_file, &err);
    int code;

    if (status == MR_OK)
        status = drop_rights(worker, &err);
    if (status == MR_OK)
        status = open_signals(worker);
    if (status == MR_OK)
        status = mr_mailbox_new(&worker->box);
    if (status == MR_OK)
        status = load_kinds(worker, &err);
    if (status == MR_OK)
        status = mr_opener_choose(
            &worker->opener, worker->settings.seal_only, worker->registry);
    if (status == MR_OK)
        status = await_database(worker, &err);
    if (status == MR_CANCELLED)
        return EX_OK;
    if (status == MR_OK)
        status = open_link(worker);
    if (status) {
        if (!err.what[0])
            (void)mr_err_set(&err, status, "The worker could not start.",
                mr_status_text(status), NULL);
        return complain(&err, exit_code_of(status));
    }
    over = serve(worker);
    code = over->is_worn_out ? EX_WORN_OUT : EX_OK;
    mr_log(over->is_worn_out ? MR_LOG_ERROR : MR_LOG_INFO, "end", "code=%d stuck=%s%s",
        code, over->is_stuck ? "yes" : "no",
        over->is_worn_out ? " why=\"too many handlers hang; start the worker again\""
                          : "");
    if (over->is_stuck)
        _exit(code); /* a handler that does not return cannot be joined */
    return code;
}

int
main(int argc, char **argv)
{
    struct worker worker = {.signals = -1};
    int code;

    (void)zsys_handler_set(NULL);
    if (argc > 1 && strcmp(argv[1], MR_CHILD_ARGUMENT) == 0)
        return mr_isolated_main();
    worker.instance = mr_uuid_new(mr_clock_now().wall_us);
    if (!read_settings(&worker, argc, argv, &code)) {
        worker.loads = mr_settings_all_loads(argc, argv);
        open_log(&worker);
        code = run(&worker);
    }
    fini(&worker);
    return code;
}
