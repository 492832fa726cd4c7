/*
 * millrace-broker: settings, signals, start, stop.
 */
#include "broker/act.h"
#include "broker/audit.h"
#include "broker/broker.h"
#include "broker/door.h"
#include "broker/errand.h"
#include "broker/loop.h"
#include "broker/probe.h"
#include "broker/ready.h"
#include "broker/socket.h"
#include "broker/writer.h"
#include "broker/zap.h"
#include "schemas/base/confine.h"
#include "schemas/base/log.h"

#include <czmq.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#ifndef MILLRACE_VERSION
#define MILLRACE_VERSION "unknown"
#endif

#define PROGRAM "millrace-broker"
#define LINGER_MS 1000  /* for the last messages */
#define FILES_OTHER 256 /* descriptors that are not connections */

static const char intro[] =
    "usage: " PROGRAM " [--help] [--version] [--check] [--config FILE] [settings]\n"
    "\n"
    "  " PROGRAM " --front tcp://127.0.0.1:7654 --back tcp://127.0.0.1:7655 \\\n"
    "      --database 'host=/run/postgresql dbname=millrace'\n"
    "\n"
    "Takes jobs from front ends, stores them in PostgreSQL and hands them to workers.\n"
    "SIGTERM: finish what is being stored and end; a second one: end at once.\n"
    "--check reads the settings, says what is wrong with them and ends.\n"
    "\n";

enum wish { WISH_RUN, WISH_HELP, WISH_VERSION, WISH_CHECK };

static const struct {
    enum mr_status status;
    int code;
} exits[] = {
    {MR_STORE_DOWN, EX_UNAVAILABLE},
    {MR_STORE_FULL, EX_UNAVAILABLE},
    {MR_ADDRESS_IN_USE, EX_UNAVAILABLE},
    {MR_FENCED, EX_TEMPFAIL},
    {MR_DENIED, EX_NOPERM},
    {MR_VERSION, EX_CONFIG},
    {MR_BAD_SETTING, EX_CONFIG},
    {MR_BAD_ARGUMENT, EX_CONFIG},
    {MR_NOT_FOUND, EX_CONFIG},
    {MR_NO_MEMORY, EX_OSERR},
};

static int
complain(const struct mr_err *err)
{
    fprintf(stderr, PROGRAM ": %s\n  %s\n  %s\n", err->what, err->why, err->todo);
    for (size_t i = 0; i < sizeof exits / sizeof *exits; i++) {
        if (exits[i].status == err->status)
            return exits[i].code;
    }
    return EX_SOFTWARE;
}

/* ---- settings ---------------------------------------------------------------------------------- */

/* Takes the words that are no settings out of argv. */
static enum wish
take_wish(int *argc, char **argv)
{
    static const char *const words[] = {
        [WISH_HELP] = "--help", [WISH_VERSION] = "--version", [WISH_CHECK] = "--check"};
    enum wish wish = WISH_RUN;
    int kept = 1;

    for (int i = 1; i < *argc; i++) {
        bool is_wish = false;

        for (int w = WISH_HELP; w <= WISH_CHECK; w++) {
            if (strcmp(argv[i], words[w]) == 0) {
                wish = (enum wish)w;
                is_wish = true;
            }
        }
        if (!is_wish)
            argv[kept++] = argv[i];
    }
    *argc = kept;
    return wish;
}

static enum mr_status
load_settings(struct mr_conf *conf, struct mr_settings *settings, struct mr_curve **key,
    int argc, char **argv, struct mr_err *err)
{
    int argi = 1;
    enum mr_status status = mr_conf_load(conf, argc, argv, &argi, err);

    if (status == MR_OK && argi < argc)
        status = mr_err_setf(err, MR_BAD_SETTING, "The command line cannot be read.",
            "`" PROGRAM " --help` lists the settings.", "\"%s\" is not a setting.",
            argv[argi]);
    if (status == MR_OK)
        status = mr_curve_load(key, settings->key_file, err);
    return status ? status : mr_settings_check(settings, *key != NULL, err);
}

/* ---- the process ----------------------------------------------------------------------------- */

static int
take_over_signals(void)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGPIPE);
    /* Blocked here, so in every thread that is started later. */
    MR_ASSERT(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    (void)sigdelset(&set, SIGPIPE);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void
raise_file_limit(const struct mr_settings *settings)
{
    struct rlimit limit;
    rlim_t wanted =
        (rlim_t)settings->workers_max + (rlim_t)settings->clients_max + FILES_OTHER;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
        mr_log(MR_LOG_WARN, "few-files",
            "limit=%llu wanted=%llu todo=\"raise ulimit -n, or lower workers_max and "
            "clients_max\"",
            (unsigned long long)limit.rlim_cur, (unsigned long long)wanted);
}

/* ---- start ------------------------------------------------------------------------------------- */

static enum mr_status
no_memory(struct mr_err *err)
{
    return mr_err_set(err, MR_NO_MEMORY, "The broker cannot start.",
        "There is not enough memory for its tables.",
        "Lower jobs_max, lanes_max or watches_max, or give it more memory.");
}

static enum mr_status
make_tables(struct mr_broker *broker, struct mr_err *err)
{
    struct mr_core_conf conf;
    enum mr_status status;

    mr_settings_core(broker->settings, &conf);
    status = mr_core_new(&broker->core, &conf, mr_act, broker);
    if (status == MR_BAD_ARGUMENT)
        return mr_err_set(err, MR_BAD_SETTING, "The broker cannot start.",
            "Two limits are too large together.",
            "Lower queues_max or kinds_max; their product is bounded.");
    broker->joined = malloc(MR_MESSAGE_BYTES_MAX);
    if (status || !broker->joined || mr_mailbox_new(&broker->answers) ||
        mr_session_table_new(
            &broker->sessions, conf.workers_max + conf.clients_max, conf.hash_key) ||
        mr_gather_new(
            &broker->gather, broker->sessions, broker->sockets, &broker->meter) ||
        mr_errand_new(&broker->errand, broker) || mr_auditor_new(&broker->auditor))
        return no_memory(err);
    return MR_OK;
}

/* Nobody has been told yet where we listen, and nothing is read from the sockets. */
static enum mr_status
try_doors(struct mr_broker *broker, void *context, struct mr_err *err)
{
    broker->is_open = mr_settings_is_open(broker->settings, broker->key != NULL);
    if (broker->is_open)
        mr_log(MR_LOG_WARN, "insecure",
            "why=\"whoever reaches front or back may submit and run jobs, and read "
            "along\" "
            "todo=\"set key_file\"");
    if (!broker->key)
        return MR_OK;
    return mr_probe_run(context, broker->bound[MR_FRONT], broker->bound[MR_BACK],
        mr_curve_public(broker->key), err);
}

static enum mr_status
open_sockets(struct mr_broker *broker, void *context, struct mr_err *err)
{
    enum mr_status status = mr_zap_new(&broker->zap, context) ? no_memory(err) : MR_OK;

    if (status == MR_OK)
        status = mr_socket_open(&broker->sockets[MR_FRONT], context,
            broker->settings->front, broker->key, broker->bound[MR_FRONT], MR_BOUND_BYTES,
            &broker->first_numbers[MR_FRONT], err);
    if (status == MR_OK)
        status = mr_socket_open(&broker->sockets[MR_BACK], context,
            broker->settings->back, broker->key, broker->bound[MR_BACK], MR_BOUND_BYTES,
            &broker->first_numbers[MR_BACK], err);
    if (status == MR_OK)
        status = try_doors(broker, context, err);
    if (status == MR_OK && mr_door_open(broker, context))
        status = no_memory(err);
    return status;
}

static enum mr_status
start_writer(struct mr_broker *broker, struct mr_err *err)
{
    const struct mr_settings *settings = broker->settings;
    struct mr_writer_conf conf = {.database = settings->database,
        .endpoints = broker->bound[MR_FRONT],
        .shard = (uint32_t)settings->shard,
        .lease_ms = (uint32_t)settings->lease_ms,
        .retention_days = (int)settings->retention_days,
        .waits = !settings->does_not_wait,
        .instance = broker->instance,
        .answers = broker->answers};

    return mr_writer_new(&broker->writer, &conf) ? no_memory(err) : MR_OK;
}

/* The last thing that may need root is done: what is opened from here on is the user's own. */
static enum mr_status
drop_rights(const struct mr_confine *confine, struct mr_err *err)
{
    enum mr_status status = mr_confine_enter(confine, err);

    if (status == MR_OK && mr_confine_is_root_by_chance(confine))
        mr_log(MR_LOG_WARN, "root",
            "why=\"a bug in here would be a bug with all rights on this host\" "
            "todo=\"set user to somebody who owns nothing else\"");
    return status;
}

static enum mr_status
start(struct mr_broker *broker, const struct mr_confine *confine, void *context,
    struct mr_err *err)
{
    enum mr_status status;

    broker->now = mr_clock_now();
    broker->instance = mr_uuid_new(broker->now.wall_us);
    status = open_sockets(broker, context, err);
    if (status == MR_OK)
        status = drop_rights(confine, err);
    if (status == MR_OK)
        status = make_tables(broker, err);
    if (status == MR_OK)
        status = start_writer(broker, err);
    return status;
}

/* ---- stop -------------------------------------------------------------------------------------- */

static void
empty_mailbox(struct mr_broker *broker)
{
    struct mr_node *node;

    while (broker->answers && (node = mr_mailbox_take(broker->answers)) != NULL) {
        struct mr_task *task = (struct mr_task *)node;

        mr_task_destroy(&task);
    }
    if (broker->answers)
        mr_mailbox_destroy(&broker->answers);
}

static void
stop(struct mr_broker *broker)
{
    mr_ready_remove(broker->settings->ready_file);
    /* The writer sits in a database that does not answer, or somebody is in a hurry. What it
     * has in hand is committed or not; nobody was told either way. */
    if (broker->writer && (broker->is_hurried || !broker->writer_has_stopped)) {
        mr_log(MR_LOG_WARN, "ended-at-once", "without waiting for the database");
        _exit(broker->fatal.status ? complain(&broker->fatal) : EX_TEMPFAIL);
    }
    mr_writer_destroy(&broker->writer);
    mr_errand_destroy(&broker->errand);
    mr_auditor_destroy(&broker->auditor);
    mr_gather_destroy(&broker->gather);
    mr_session_table_destroy(&broker->sessions);
    mr_core_destroy(&broker->core);
    mr_rights_destroy(&broker->rights);
    empty_mailbox(broker);
    mr_door_close(broker);
    mr_socket_close(&broker->sockets[MR_FRONT], LINGER_MS);
    mr_socket_close(&broker->sockets[MR_BACK], LINGER_MS);
    mr_zap_destroy(&broker->zap);
}

static int
run(const struct mr_settings *settings, const struct mr_curve *key)
{
    struct mr_broker *broker = calloc(1, sizeof *broker);
    enum mr_log_level level = MR_LOG_INFO;
    struct mr_confine confine;
    struct mr_err err = {0};
    enum mr_status status;
    int code = EX_OK;

    if (!broker)
        return EX_OSERR;
    (void)mr_log_level_parse(settings->log_level, &level); /* a choice: one of them */
    mr_log_open(PROGRAM, level);
    mr_log_thread("loop");
    broker->settings = settings;
    broker->key = key;
    broker->signals = take_over_signals();
    raise_file_limit(settings);
    (void)setenv("ZSYS_SIGHANDLER", "false", 1);
    zsys_handler_set(NULL);
    status = mr_confine_begin(&confine, settings->user, settings->keeps_core_dumps, &err);
    if (status == MR_OK)
        status = start(broker, &confine, zsys_init(), &err);
    if (status == MR_OK)
        status = mr_loop_run(broker);
    if (status)
        code = complain(broker->fatal.status ? &broker->fatal : &err);
    stop(broker);
    zsys_shutdown();
    (void)close(broker->signals);
    free(broker->joined);
    free(broker);
    mr_log(MR_LOG_INFO, "ended", "code=%d", code);
    return code;
}

int
main(int argc, char **argv)
{
    struct mr_settings settings = {0};
    enum wish wish = take_wish(&argc, argv);
    struct mr_conf *conf = NULL;
    struct mr_curve *key = NULL;
    struct mr_err err = {0};
    enum mr_status status;
    int code = EX_OK;

    if (wish == WISH_VERSION)
        return puts(PROGRAM " " MILLRACE_VERSION) < 0 ? EX_IOERR : EX_OK;
    if (mr_conf_new(&conf, "broker", mr_settings_rows, &settings))
        return EX_OSERR;
    status = load_settings(conf, &settings, &key, argc, argv, &err);
    if (wish == WISH_HELP) {
        fputs(intro, stdout);
        mr_conf_print_help(conf, stdout);
    } else if (status) {
        code = complain(&err);
    } else if (wish == WISH_CHECK) {
        puts("The settings are fine.");
    } else {
        code = run(&settings, key);
    }
    mr_curve_destroy(&key);
    mr_conf_destroy(&conf);
    return code;
}
