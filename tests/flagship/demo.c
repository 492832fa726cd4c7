/*
 * The flagship: ride dispatch on real streets, through the whole path (`make run`).
 *
 *     millrace-demo [--map FILE] [--break] [--only-rush] [--folder DIR]
 *
 * Fetches the map, starts PostgreSQL, the payment provider, a broker and two workers, plays the
 * scenario's requests at 400 times real speed and then all of them within five seconds (half way
 * through these a worker and the broker are killed), waits until nothing is left to do, and lets
 * the checker judge. Exit: 0 every check held; 1 one did
 * not, or something failed; 64 usage; 130 stopped. The variables MAP and BREAK do what the flags
 * do; other settings of the caller's (MILLRACE_*) are not looked at.
 */
#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "tests/flagship/demo_feed.h"
#include "tests/flagship/demo_verdict.h"

enum {
    REQUESTS = 100,
    REPLAY_SPEED = 400,
    RUSH_SPEED = 150,
    RUSH_MS = 5000,
    FETCH_MS = 300000,
    READY_MS = 20000,
    DRAIN_MS = 60000,
    EXIT_USAGE = 64,
    EXIT_STOPPED = 130,
};

/* With this one the provider loses 7 and fails 23 of the first 230 calls, the first reply with the
 * third call: enough that a missing key never goes unnoticed, even in a short run. */
#define PROVIDER_SEED 26

struct demo {
    const char *map, *folder, *program;
    bool breaks, is_only_rush;
    struct mr_demo_show show;
    struct mr_demo_plan plan;
    struct mr_stack stack;
    struct mr_demo_feed feed;
    struct mr_demo_ep ep;
    struct mr_demo_fault fault;
    struct mr_demo_tally replay, rush;
    bool held;
};

static const char *const prefixes[] = {"replay-", "rush-"};

/* ---- Before ---------------------------------------------------------------------------------- */

static enum mr_status
fetch(char *folder, size_t room, struct mr_err *err)
{
    static const char script[] = "tests/flagship/fetch_map.sh";
    const char *argv[] = {"/bin/sh", script, folder, NULL};
    struct mr_proc_spec spec = {.argv = argv};

    if (access(script, R_OK) != 0)
        return mr_err_setf(err, MR_NOT_FOUND, "The map cannot be fetched",
            "Start it with `make run`.", "%s is not here", script);
    snprintf(folder, room, ".millrace/map");
    return mr_proc_run(&spec, FETCH_MS, err);
}

static enum mr_status
load_plan(struct demo *demo, struct mr_err *err)
{
    struct mr_demo_plan *plan = &demo->plan;
    char folder[PATH_MAX], junctions[32];
    enum mr_status status;

    mr_demo_show_begin(&demo->show, "Streets and requests");
    if (demo->map) {
        status = mr_demo_plan_load_map(plan, demo->map, REQUESTS, err);
    } else {
        status = fetch(folder, sizeof folder, err);
        if (!status)
            status = mr_demo_plan_load_scenario(plan, folder, err);
    }
    if (status)
        return status;
    mr_demo_show_end(&demo->show,
        "%s junctions, %.1f km usable by %s, %u street names; %u requests%s",
        mr_demo_show_grouped(mr_road_junctions(plan->road), junctions),
        (double)mr_graph_length_cm(plan->graph) / 1e5, plan->vehicle_class,
        mr_road_street_names(plan->road), plan->count,
        plan->is_generated ? " of our own (a fixed seed)" : "");
    return MR_OK;
}

static enum mr_status
make_fleet(struct demo *demo, struct mr_err *err)
{
    enum mr_status status = MR_OK;
    char id[16];

    for (int i = 0; i < MR_DEMO_VEHICLES && !status; i++) {
        const char *params[] = {id, demo->plan.vehicle_class,
            mr_road_id(demo->plan.road, demo->plan.vehicle_edges[i])};

        snprintf(id, sizeof id, "van-%02d", i + 1);
        status = mr_pg_run(demo->feed.pg,
            "insert into ride.vehicle (id, class, edge) values ($1, $2, $3)", 3, params,
            NULL, err);
    }
    return status;
}

static enum mr_status
start_database(struct demo *demo, struct mr_err *err)
{
    enum mr_status status;

    mr_demo_show_begin(&demo->show, "PostgreSQL, private, with the schema");
    status = mr_stack_database(&demo->stack, err);
    if (!status)
        status = mr_pg_open(
            &demo->feed.pg, mr_cluster_conninfo(demo->stack.cluster), "flagship", err);
    if (!status)
        status = make_fleet(demo, err);
    if (status)
        return status;
    if (*mr_cluster_note(demo->stack.cluster))
        mr_demo_show_line(&demo->show, "%s", mr_cluster_note(demo->stack.cluster));
    mr_demo_show_end(&demo->show, "%d vehicles", MR_DEMO_VEHICLES);
    return MR_OK;
}

static enum mr_status
open_client(struct demo *demo, struct mr_err *err)
{
    struct millrace_error error;

    demo->feed.mr = millrace_open(
        &(struct millrace_options){.endpoints = demo->stack.front, .name = "flagship"},
        &error);
    if (demo->feed.mr && millrace_ready(demo->feed.mr, READY_MS, &error) == MILLRACE_OK)
        return MR_OK;
    return mr_err_set(err, MR_INTERNAL, error.what, error.why, error.todo);
}

static enum mr_status
start_programs(struct demo *demo, struct mr_err *err)
{
    struct mr_stack_options options = {
        .map_path = demo->plan.map_path, .pays_without_key = demo->breaks};
    enum mr_status status;

    mr_demo_show_begin(&demo->show, "Payment provider, broker, two workers");
    status = mr_stack_provider(&demo->stack, PROVIDER_SEED, err);
    if (!status)
        status = mr_stack_broker(&demo->stack, err);
    if (!status)
        status = mr_stack_workers(&demo->stack, &options, err);
    if (!status)
        status = open_client(demo, err);
    if (status)
        return status;
    mr_demo_show_line(&demo->show, "the provider fails 10%% of calls and loses the reply"
                                   " after charging in 3%%");
    if (demo->breaks)
        mr_demo_show_line(
            &demo->show, "BREAK: it is not told the idempotency key; this must end red");
    mr_demo_show_end(&demo->show, "%d workers of %d threads at %s", MR_STACK_WORKERS,
        MR_STACK_THREADS, demo->stack.back);
    return MR_OK;
}

/* ---- The rides ------------------------------------------------------------------------------- */

static enum mr_status
check_ep(struct demo *demo, struct mr_err *err)
{
    const struct mr_demo_ep *ep = &demo->ep;
    char pairs[32];

    if (ep->state != MR_DEMO_EP_RIGHT)
        return mr_err_set(err, MR_INTERNAL, "calc.ep, class S, is wrong", ep->why,
            "The published counts are in tests/flagship/demo_ep.c.");
    mr_demo_show_line(&demo->show,
        "beside it: calc.ep class S, 256 blocks: %s pairs and all ring counts as"
        " published (%.1f s)",
        mr_demo_show_grouped(ep->pairs, pairs),
        (double)(ep->ended_us - ep->began_us) / 1e6);
    return MR_OK;
}

static enum mr_status
replay(struct demo *demo, struct mr_err *err)
{
    const struct mr_demo_plan *plan = &demo->plan;
    struct mr_demo_phase phase = {.prefix = prefixes[0],
        .length_ms = plan->requests[plan->count - 1].depart_ms / REPLAY_SPEED,
        .speed = REPLAY_SPEED,
        .shows_rides = true,
        .ep = &demo->ep};
    enum mr_status status;

    mr_demo_show_begin(&demo->show, "Replay: the requests at 400 times real speed");
    status = mr_demo_feed_play(&demo->feed, &phase, &demo->replay, err);
    if (!status)
        status = check_ep(demo, err);
    if (!status)
        mr_demo_show_end(&demo->show, "%u rides", demo->replay.rides);
    return status;
}

static enum mr_status
rush(struct demo *demo, struct mr_err *err)
{
    struct mr_demo_phase phase = {.prefix = prefixes[1],
        .length_ms = RUSH_MS,
        .speed = RUSH_SPEED,
        .asks_again = true,
        .fault = &demo->fault};
    const struct mr_demo_tally *tally = &demo->rush;
    enum mr_status status;

    mr_demo_show_begin(&demo->show, "Rush: the same within five seconds, 12 vehicles");
    status = mr_demo_feed_play(&demo->feed, &phase, &demo->rush, err);
    if (status)
        return status;
    if (tally->again_right != tally->again)
        return mr_err_setf(err, MR_INTERNAL, "Asking again did not give the first ride",
            "See the logs in .millrace.", "only %u of %u got what they should",
            tally->again_right, tally->again);
    mr_demo_show_end(&demo->show,
        "%u rides; %u asked again (same job, same key, other ride): none made a second "
        "ride",
        tally->rides, tally->again);
    return MR_OK;
}

/* ---- After ----------------------------------------------------------------------------------- */

static enum mr_status
judge(struct demo *demo, struct mr_err *err)
{
    struct mr_demo_verdict v = {.pg = demo->feed.pg,
        .plan = &demo->plan,
        .show = &demo->show,
        .provider_log = demo->stack.provider_log,
        .prefixes = demo->is_only_rush ? prefixes + 1 : prefixes,
        .phases = demo->is_only_rush ? 1 : 2};
    char svg[PATH_MAX], folder[PATH_MAX];
    bool faults_happened = false;
    enum mr_status status;

    mr_demo_show_begin(&demo->show, "Drain, then check");
    status = mr_demo_feed_drain(&demo->feed, DRAIN_MS, err);
    if (!status)
        status = mr_demo_verdict_check(&v, &demo->held, err);
    if (!status)
        status = mr_demo_fault_judge(&demo->fault, demo->feed.pg, &faults_happened, err);
    if (status)
        return status;
    demo->held = demo->held && faults_happened;
    if (!demo->is_only_rush)
        printf("  request to its result: p50 %.1f ms, p99 %.1f ms in the replay\n",
            demo->replay.p50_ms, demo->replay.p99_ms);
    printf("  request to its result: p50 %.1f ms, p99 %.1f ms in the rush\n",
        demo->rush.p50_ms, demo->rush.p99_ms);
    snprintf(folder, sizeof folder, "%s", demo->folder);
    snprintf(svg, sizeof svg, "%.4000s/map.svg", dirname(folder));
    status = mr_demo_verdict_draw(&v, svg, err);
    if (!status)
        printf("  the streets by use: %s\n", svg);
    return status;
}

/* Where the data goes with a temporary folder, a dump of it stays: *dumped. */
static enum mr_status
keep_data(struct demo *demo, bool *dumped, struct mr_err *err)
{
    char program[PATH_MAX], out[PATH_MAX], log[PATH_MAX];
    const char *argv[] = {program, "--no-owner", "--file", out,
        mr_cluster_conninfo(demo->stack.cluster), NULL};
    struct mr_proc_spec spec = {.argv = argv, .output = log};

    *dumped = *mr_cluster_note(demo->stack.cluster) != '\0';
    if (!*dumped)
        return MR_OK;
    snprintf(
        program, sizeof program, "%s/pg_dump", mr_cluster_bin_dir(demo->stack.cluster));
    if (access(program, X_OK) != 0)
        argv[0] = "pg_dump";
    snprintf(out, sizeof out, "%s/flagship.sql", demo->folder);
    snprintf(log, sizeof log, "%s/dump.log", demo->folder);
    return mr_proc_run(&spec, DRAIN_MS, err);
}

static void
print_hints(const struct demo *demo, const char *conninfo, bool is_dump)
{
    static const char *const queries[] = {"select kind, state, count(*), max(attempts) "
                                          "as attempts from millrace.jobs group by"
                                          " 1, 2 order by 1, 2",
        "select vehicle, count(*) as rides, sum(metres) as metres, sum(fare_eur) as eur "
        "from"
        " ride.rides group by 1 order by 1",
        "select e.n, e.state, e.at, e.attempt, j.kind, j.result from ride.event e join"
        " millrace.jobs j on j.id = e.job where e.ride_id = (select id from ride.ride "
        "where"
        " request_key = 'rush-17') order by 1"};
    char bin[PATH_MAX];

    snprintf(bin, sizeof bin, "%s", demo->program);
    printf("\nTo look at the tables, start their database again and try one of these:\n");
    printf("  %s/millrace dev --only-database --data %s\n", dirname(bin),
        is_dump ? "/tmp/flagship" : demo->folder);
    if (is_dump) {
        conninfo = "host=/tmp/flagship/pg dbname=millrace user=millrace";
        printf("  psql -q -o /dev/null '%s' -c 'set client_min_messages = error;"
               " drop schema if exists ride, millrace cascade' -f %s/flagship.sql\n",
            conninfo, demo->folder);
    }
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++)
        printf("  psql '%s' -c \"%s\"\n", conninfo, queries[i]);
}

static void
close_all(struct demo *demo)
{
    millrace_close(demo->feed.mr);
    mr_pg_close(&demo->feed.pg);
    mr_stack_close(&demo->stack);
    mr_demo_plan_fini(&demo->plan);
    close(demo->feed.signals);
}

static enum mr_status
stop(struct demo *demo, char *conninfo, size_t room, bool *is_dump, struct mr_err *err)
{
    enum mr_status status = MR_OK;
    const char *bad;

    mr_demo_show_begin(&demo->show, "Stop everything");
    millrace_close(demo->feed.mr);
    demo->feed.mr = NULL;
    bad = mr_stack_stop_programs(&demo->stack);
    if (bad)
        status = mr_err_setf(err, MR_INTERNAL, "A program did not end well",
            "Its log in that folder says why.", "%s (logs: %.400s)", bad, demo->folder);
    if (!status)
        status = keep_data(demo, is_dump, err);
    snprintf(conninfo, room, "%s", mr_cluster_conninfo(demo->stack.cluster));
    mr_pg_close(&demo->feed.pg);
    mr_stack_close(&demo->stack);
    if (!status)
        mr_demo_show_end(&demo->show, "logs and data: %s", demo->folder);
    return status;
}

static enum mr_status
run(struct demo *demo, struct mr_err *err)
{
    char conninfo[PATH_MAX + 64];
    bool is_dump = false;
    enum mr_status status;

    mr_demo_show_begin(&demo->show, "Clear what the last run has left");
    status = mr_stack_open(&demo->stack, demo->folder, err);

    if (!status)
        status = load_plan(demo, err);
    if (!status)
        status = start_database(demo, err);
    if (!status)
        status = start_programs(demo, err);
    if (!status && !demo->is_only_rush)
        status = replay(demo, err);
    if (!status)
        status = rush(demo, err);
    if (!status)
        status = judge(demo, err);
    if (!status)
        status = stop(demo, conninfo, sizeof conninfo, &is_dump, err);
    if (!status)
        print_hints(demo, conninfo, is_dump);
    return status;
}

/* ---- Options --------------------------------------------------------------------------------- */

static bool
read_options(int argc, char **argv, struct demo *demo)
{
    static const struct option options[] = {{"map", required_argument, NULL, 'm'},
        {"break", no_argument, NULL, 'b'}, {"only-rush", no_argument, NULL, 'r'},
        {"folder", required_argument, NULL, 'f'}, {NULL, 0, NULL, 0}};
    const char *breaks = getenv("BREAK");
    bool is_good = true;

    demo->program = argv[0];
    demo->folder = ".millrace/flagship";
    demo->map = getenv("MAP");
    demo->breaks = breaks && *breaks && strcmp(breaks, "0") != 0;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'm')
            demo->map = optarg;
        else if (c == 'b')
            demo->breaks = true;
        else if (c == 'r')
            demo->is_only_rush = true;
        else if (c == 'f')
            demo->folder = optarg;
        else
            is_good = false;
    }
    if (demo->map && !*demo->map)
        demo->map = NULL;
    return is_good && optind == argc;
}

static int
open_signals(void)
{
    sigset_t wanted;

    sigemptyset(&wanted);
    sigaddset(&wanted, SIGINT);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGHUP);
    sigprocmask(SIG_BLOCK, &wanted, NULL);
    /* A reader that goes away must not keep us from stopping what we started. */
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    return signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
}

int
main(int argc, char **argv)
{
    struct demo demo = {.stack = {.lock = -1}};
    struct mr_err err = {.status = MR_OK};
    enum mr_status status;

    if (!read_options(argc, argv, &demo)) {
        fprintf(stderr, "usage: millrace-demo [--map FILE] [--break] [--only-rush]"
                        " [--folder DIR]\n");
        return EXIT_USAGE;
    }
    mr_demo_show_open(&demo.show);
    demo.feed = (struct mr_demo_feed){.plan = &demo.plan,
        .show = &demo.show,
        .stack = &demo.stack,
        .signals = open_signals()};
    status = demo.feed.signals < 0
                 ? mr_err_set(&err, MR_INTERNAL, "No signals", strerror(errno), NULL)
                 : run(&demo, &err);
    close_all(&demo);
    if (status)
        mr_demo_show_error(&demo.show, &err);
    mr_demo_show_verdict(&demo.show, !status && demo.held,
        status        ? "The flagship did not get to its end."
        : demo.held   ? "Every check held."
        : demo.breaks ? "RED, as it must be without the idempotency key."
                      : "RED: a check did not hold.");
    if (status == MR_CANCELLED)
        return EXIT_STOPPED;
    return !status && demo.held ? EXIT_SUCCESS : EXIT_FAILURE;
}
