/*
 * The chaos rig (make chaos): see README.md here.
 *
 *     chaos [--seed N] [--minutes M] [--jobs N] [--faults NAMES] [--folder DIR] [--profile P]
 *         [--keep] [--proxy]
 *     chaos client ENDPOINT HISTORY NUMBER RATE SEED BASE_MS
 *     chaos proxy BOARD
 *
 * Exit: 0 every promise was kept; 1 one was not, or the run came to nothing; 64 usage.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schemas/base/clock.h"
#include "tests/chaos/client.h"
#include "tests/chaos/counters.h"
#include "tests/chaos/crew.h"
#include "tests/chaos/faults.h"
#include "tests/chaos/proxy.h"
#include "tests/chaos/schedule.h"

enum {
    EXIT_USAGE = 64,
    BREATH_MS = 5,
    LEAVE_MS = 90000, /* clients settle what they do not know */
    STOP_MS = 20000,
    CHECK_MS = 300000,
};

struct run {
    uint64_t seed;
    double minutes;
    uint32_t jobs;
    const char *faults_wanted, *folder, *profile;
    bool keeps, avoids_namespaces;
    int lock;
    struct mr_crew crew;
    struct mr_schedule schedule;
    struct mr_faults faults;
    struct mr_counters_book counters;
    int64_t drain_ms;
    bool is_bad;
};

static volatile sig_atomic_t is_stopped;

static void
on_signal(int number)
{
    (void)number;
    is_stopped = 1;
}

static int64_t
now_us(void)
{
    return mr_clock_now().mono_us;
}

static void
complain(struct run *run, const char *what, const char *why)
{
    fprintf(stderr, "chaos: %s%s%s\n", what, why[0] ? ": " : "", why);
    run->is_bad = true;
}

/* ---- the folder -------------------------------------------------------------------------------------- */

static int
remove_one(const char *path, const struct stat *facts, int kind, struct FTW *walk)
{
    (void)facts, (void)kind, (void)walk;
    return remove(path);
}

static bool
make_folder(const char *path)
{
    char part[PATH_MAX];

    for (const char *slash = path; slash;) {
        slash = strchr(slash + 1, '/');
        (void)snprintf(part, sizeof part, "%.*s",
            slash ? (int)(slash - path) : (int)strlen(path), path);
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return false;
    }
    return true;
}

/* Empty, and ours alone. */
static bool
open_folder(struct run *run)
{
    char name[64], lock[PATH_MAX + 8];

    (void)snprintf(name, sizeof name, ".millrace/chaos/%" PRIu64, run->seed);
    if (!make_folder(run->folder ? run->folder : name) ||
        !realpath(run->folder ? run->folder : name, run->crew.folder))
        return false;
    (void)snprintf(lock, sizeof lock, "%s.lock", run->crew.folder);
    run->lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    return run->lock >= 0 && flock(run->lock, LOCK_EX | LOCK_NB) == 0 &&
           nftw(run->crew.folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0 &&
           make_folder(run->crew.folder);
}

static void
close_folder(struct run *run)
{
    char lock[PATH_MAX + 8];

    (void)snprintf(lock, sizeof lock, "%s.lock", run->crew.folder);
    if (run->is_bad || run->keeps)
        printf("kept: %s (histories, logs of all programs, PostgreSQL's data in pg/)\n",
            run->crew.folder);
    else
        (void)nftw(run->crew.folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (run->lock >= 0)
        (void)unlink(lock);
}

/* ---- the run ----------------------------------------------------------------------------------------- */

static void
tell(void *context, const struct mr_strike *strike)
{
    struct run *run = context;

    printf("%7.2f  %-18s  %-40s %9" PRId64 " %9" PRId64 "\n",
        (double)(now_us() - run->faults.begin_us) / 1e6,
        mr_fault_name(strike->event.fault), strike->detail,
        mr_counters_sum(&run->counters, "submitted"),
        mr_counters_sum(&run->counters, "succeeded") +
            mr_counters_sum(&run->counters, "failed"));
    (void)fflush(stdout);
}

static void
turn(struct run *run)
{
    (void)poll(NULL, 0, BREATH_MS);
    mr_crew_tend(&run->crew);
    mr_counters_turn(&run->counters, &run->crew);
}

static void
harm(struct run *run)
{
    int64_t until_us = now_us() + (int64_t)(run->minutes * 60e6);

    printf("%7s  %-18s  %-40s %9s %9s\n", "s", "fault", "", "stored", "finished");
    while (!is_stopped && (now_us() < until_us || !mr_faults_is_over(&run->faults))) {
        turn(run);
        mr_faults_turn(&run->faults);
    }
    mr_faults_heal_all(&run->faults);
    printf("%7.2f  all is healed\n", (double)(now_us() - run->faults.begin_us) / 1e6);
    (void)fflush(stdout);
}

static bool
have_left(struct mr_actor *actors, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!mr_actor_has_left(&actors[i]))
            return false;
    }
    return true;
}

/* One that was started again at that moment did not yet know what to do with a SIGTERM. */
static bool
has_ended_well(struct mr_actor *actor)
{
    int code = mr_proc_exit_code(&actor->proc);

    return code == 0 || code == 128 + SIGTERM;
}

static void
await_leave(struct run *run, struct mr_actor *actors, uint32_t count, int64_t limit_ms)
{
    int64_t until_us = now_us() + limit_ms * 1000;

    /* One that is between two lives has to have one to end it in order. */
    for (uint32_t i = 0; i < count; i++) {
        while (!mr_actor_runs(&actors[i]) && now_us() < until_us)
            turn(run);
        mr_actor_ask_to_leave(&actors[i]);
    }
    while (!have_left(actors, count) && now_us() < until_us)
        turn(run);
    for (uint32_t i = 0; i < count; i++) {
        if (!mr_actor_has_left(&actors[i]))
            complain(run, mr_actor_name(&actors[i]), "did not end in time");
        else if (!has_ended_well(&actors[i]))
            complain(run, mr_actor_name(&actors[i]), "did not end well");
    }
}

/* C12. */
static void
drain(struct run *run, int64_t healed_us)
{
    static const char sql[] =
        "select (select count(*) from millrace.inbox) + (select count(*) from "
        "millrace.job j "
        "where not exists (select from millrace.result r where r.id = j.id))";
    int64_t until_us = now_us() + MR_CREW_DRAIN_S_MAX * INT64_C(1000000), left = -1;

    while (now_us() < until_us && (left = mr_crew_int(&run->crew, sql)) != 0) {
        for (int i = 0; i < 20; i++)
            turn(run);
    }
    run->drain_ms = (now_us() - healed_us) / 1000;
    if (left == 0)
        printf("%7.2f  every job has ended, %.1f s after the heal\n",
            (double)(now_us() - run->faults.begin_us) / 1e6, (double)run->drain_ms / 1e3);
    else
        fprintf(stderr, "%" PRId64 " jobs have not ended %d s after the heal\n", left,
            MR_CREW_DRAIN_S_MAX);
    if (left == 0)
        mr_faults_note_drain(&run->faults, true);
    else
        run->is_bad = true;
}

/* ---- the end ----------------------------------------------------------------------------------------- */

/* What the checker asks of a run for it to count: less of a short one. */
static const char *
profile_of(const struct run *run)
{
    if (run->profile)
        return run->profile;
    if (run->faults_wanted)
        return "mutant";
    return run->minutes < 2 ? "long" : "ci";
}

static void
judge(struct run *run)
{
    char program[PATH_MAX];
    const char *const argv[] = {program, run->crew.folder,
        mr_cluster_conninfo(run->crew.cluster), "--profile", profile_of(run), NULL};
    struct mr_proc_spec spec = {.argv = argv};
    struct mr_err err = {0};

    (void)fflush(stdout);
    if (mr_proc_find("tests/chaos/check", program, sizeof program, &err) ||
        mr_proc_run(&spec, CHECK_MS, &err))
        complain(run, err.what, err.why);
}

static void
end(struct run *run)
{
    int64_t healed_us = now_us();
    struct mr_err err = {0};

    mr_faults_note_drain(&run->faults, false);
    await_leave(run, run->crew.clients, MR_CREW_CLIENTS, LEAVE_MS);
    drain(run, healed_us);
    await_leave(run, run->crew.workers, MR_CREW_WORKERS, STOP_MS);
    await_leave(run, &run->crew.broker, 1, STOP_MS);
    if (mr_counters_write(&run->counters, &run->crew, &err))
        complain(run, err.what, err.why);
    judge(run);
    if (run->crew.surprises)
        complain(run, "programs ended by themselves, or did not start", "");
}

static void
sum_up(const struct run *run)
{
    uint32_t kills = run->faults.fired[MR_FAULT_KILL_WORKER] +
                     run->faults.fired[MR_FAULT_KILL_BROKER] +
                     run->faults.fired[MR_FAULT_KILL_CLIENT];
    uint32_t cuts = 0;

    for (int i = MR_FAULT_CUT_WORKER; i < MR_FAULTS; i++)
        cuts += run->faults.fired[i];
    printf("SEED=%" PRIu64 " %s: %" PRIu32 " kills, %" PRIu32 " freezes, %" PRIu32
           " database crashes, %" PRIu32 " cuts, %" PRIu32
           " backends ended at COMMIT; drained in %.1f s\n",
        run->seed, run->is_bad ? "RED" : "green", kills,
        run->faults.fired[MR_FAULT_FREEZE_WORKER] +
            run->faults.fired[MR_FAULT_FREEZE_BROKER],
        run->faults.fired[MR_FAULT_DB_CRASH] + run->faults.fired[MR_FAULT_DB_PANIC], cuts,
        run->faults.backends_ended, (double)run->drain_ms / 1e3);
    if (run->is_bad)
        printf("again: make chaos SEED=%" PRIu64 " MINUTES=%g JOBS=%" PRIu32 "%s%s\n",
            run->seed, run->minutes, run->jobs, run->faults_wanted ? " FAULTS=" : "",
            run->faults_wanted ? run->faults_wanted : "");
}

static enum mr_status
begin(struct run *run, struct mr_err *err)
{
    enum mr_status status = mr_schedule_make(&run->schedule, run->seed,
        (int64_t)(run->minutes * 60e6), run->faults_wanted, err);
    struct mr_crew *crew = &run->crew;

    if (status)
        return status;
    if (!open_folder(run))
        return mr_err_setf(err, MR_DENIED, "the run's folder cannot be used", NULL,
            "%.200s: %s", crew->folder, strerror(errno));
    crew->seed = run->seed;
    crew->base_ms = mr_clock_now().wall_us / 1000;
    crew->per_second = 1 + (uint32_t)(run->jobs / (run->minutes * 60 * MR_CREW_CLIENTS));
    status = mr_crew_open(crew, run->avoids_namespaces, err);
    if (status == MR_OK)
        status = mr_counters_open(&run->counters, crew, err);
    if (status == MR_OK)
        status = mr_faults_open(&run->faults, crew, &run->schedule, err);
    run->faults.tell = tell;
    run->faults.context = run;
    return status;
}

static int
drive(struct run *run)
{
    struct mr_err err = {0};
    struct sigaction action = {.sa_handler = on_signal};

    run->faults.log = run->lock = -1;
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    if (begin(run, &err)) {
        complain(run, err.what, err.why);
    } else {
        printf("SEED=%" PRIu64 ", %g minutes, %" PRIu32 " faults, about %" PRIu32
               " jobs; %s\n",
            run->seed, run->minutes, run->schedule.count, run->jobs,
            run->crew.net.note[0] ? run->crew.net.note : "network namespaces");
        mr_crew_start(&run->crew);
        harm(run);
        if (is_stopped)
            complain(run, "stopped by hand", "");
        else
            end(run);
        sum_up(run);
    }
    mr_faults_close(&run->faults);
    mr_counters_close(&run->counters);
    mr_crew_close(&run->crew);
    mr_schedule_free(&run->schedule);
    close_folder(run);
    return run->is_bad ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- arguments --------------------------------------------------------------------------------------- */

static int
usage(void)
{
    fprintf(stderr, "usage: chaos [--seed N] [--minutes M] [--jobs N] [--faults NAMES] "
                    "[--folder DIR] [--profile ci|long|mutant] [--keep] [--proxy]\n");
    return EXIT_USAGE;
}

static bool
read_options(struct run *run, int argc, char **argv)
{
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
        {"minutes", required_argument, NULL, 'm'}, {"jobs", required_argument, NULL, 'j'},
        {"faults", required_argument, NULL, 'f'},
        {"folder", required_argument, NULL, 'd'},
        {"profile", required_argument, NULL, 'r'}, {"keep", no_argument, NULL, 'k'},
        {"proxy", no_argument, NULL, 'p'}, {NULL, 0, NULL, 0}};
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 's':
            run->seed = strtoull(optarg, NULL, 10);
            break;
        case 'm':
            run->minutes = strtod(optarg, NULL);
            break;
        case 'j':
            run->jobs = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'f':
            run->faults_wanted = *optarg ? optarg : NULL;
            break;
        case 'd':
            run->folder = optarg;
            break;
        case 'r':
            run->profile = optarg;
            break;
        case 'k':
            run->keeps = true;
            break;
        case 'p':
            run->avoids_namespaces = true;
            break;
        default:
            return false;
        }
    }
    return optind == argc && run->minutes > 0 && run->minutes <= 600;
}

static int
be_client(char **argv)
{
    struct mr_chaos_client_options options = {.endpoint = argv[2],
        .history = argv[3],
        .number = (uint32_t)strtoul(argv[4], NULL, 10),
        .per_second = (uint32_t)strtoul(argv[5], NULL, 10),
        .seed = strtoull(argv[6], NULL, 10),
        .base_ms = strtoll(argv[7], NULL, 10)};

    return mr_chaos_client_run(&options);
}

int
main(int argc, char **argv)
{
    static struct run run = {.seed = 1, .minutes = 2, .jobs = 50000};

    if (argc == 8 && strcmp(argv[1], "client") == 0)
        return be_client(argv);
    if (argc == 3 && strcmp(argv[1], "proxy") == 0)
        return mr_proxy_run(argv[2]);
    if (!read_options(&run, argc, argv))
        return usage();
    if (!realpath("/proc/self/exe", run.crew.program)) {
        complain(&run, "this program's own path is not known", strerror(errno));
        return EXIT_FAILURE;
    }
    return drive(&run);
}
