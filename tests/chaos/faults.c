#include "tests/chaos/faults.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schemas/base/clock.h"

#define LATE_US 100000 /* one that nobody could suffer is tried again after that */
#define HUNT_SQL "select chaos_hunt(150, 5)"
#define AIM_SQL "select chaos_aim(150)"

static int64_t
now_us(void)
{
    return mr_clock_now().mono_us;
}

static void
write_line(const struct mr_faults *faults, const char *fault, const char *phase,
    const char *detail)
{
    char line[256];
    int n = snprintf(
        line, sizeof line, "%" PRId64 "\t%s\t%s\t%s\n", now_us(), fault, phase, detail);

    if (n > 0)
        (void)!write(faults->log, line, (size_t)n);
}

static void
note(const struct mr_faults *faults, const struct mr_strike *strike, const char *phase)
{
    write_line(faults, mr_fault_name(strike->event.fault), phase, strike->detail);
}

void
mr_faults_note_drain(struct mr_faults *faults, bool is_over)
{
    write_line(faults, "drain", is_over ? "heal" : "fire", "-");
}

/* ---- processes -------------------------------------------------------------------------------------- */

/* The next from `target` on that runs and is not frozen. */
static struct mr_actor *
victim(struct mr_actor *actors, uint32_t count, uint32_t target)
{
    for (uint32_t i = 0; i < count; i++) {
        struct mr_actor *actor = &actors[(target + i) % count];

        if (mr_actor_runs(actor) && !actor->is_frozen)
            return actor;
    }
    return NULL;
}

static bool
choose(struct mr_faults *faults, struct mr_strike *strike)
{
    struct mr_crew *crew = faults->crew;

    switch (strike->event.fault) {
    case MR_FAULT_KILL_BROKER:
    case MR_FAULT_FREEZE_BROKER:
        strike->actor = victim(&crew->broker, 1, 0);
        break;
    case MR_FAULT_KILL_CLIENT:
        strike->actor = victim(crew->clients, MR_CREW_CLIENTS, strike->event.target);
        break;
    default:
        strike->actor = victim(crew->workers, MR_CREW_WORKERS, strike->event.target);
    }
    if (!strike->actor)
        return false;
    strike->pid = strike->actor->proc.pid;
    (void)snprintf(strike->detail, sizeof strike->detail, "pid=%d %s", (int)strike->pid,
        mr_actor_name(strike->actor));
    return true;
}

static bool
fire_kill(struct mr_faults *faults, struct mr_strike *strike)
{
    if (!choose(faults, strike))
        return false;
    mr_actor_kill(strike->actor, strike->event.hold_us);
    return true;
}

static bool
fire_freeze(struct mr_faults *faults, struct mr_strike *strike)
{
    if (!choose(faults, strike))
        return false;
    mr_actor_freeze(strike->actor, true);
    return true;
}

/* It may have been killed meanwhile, and be another one. */
static void
heal_freeze(struct mr_faults *faults, struct mr_strike *strike)
{
    (void)faults;
    if (strike->actor->is_frozen && strike->actor->proc.pid == strike->pid)
        mr_actor_freeze(strike->actor, false);
}

/* ---- PostgreSQL ------------------------------------------------------------------------------------- */

static bool
fire_crash(struct mr_faults *faults, struct mr_strike *strike)
{
    struct mr_crew *crew = faults->crew;
    bool is_hard = strike->event.variant % 3 == 0;

    if (crew->is_db_halted)
        return false;
    (void)snprintf(strike->detail, sizeof strike->detail, "pid=%d %s",
        (int)mr_cluster_pid(crew->cluster), is_hard ? "killed" : "stopped at once");
    crew->is_db_halted = true;
    mr_pg_close(&crew->pg);
    mr_cluster_halt(crew->cluster, is_hard ? SIGKILL : SIGQUIT);
    return true;
}

static void
heal_crash(struct mr_faults *faults, struct mr_strike *strike)
{
    struct mr_crew *crew = faults->crew;
    struct mr_err err = {0};

    (void)strike;
    mr_net_enter(&crew->net, MR_PLACE_DB);
    if (mr_cluster_resume(crew->cluster, &err)) {
        fprintf(stderr, "%s: %s\n", err.what, err.why);
        crew->surprises++;
    }
    mr_net_enter(&crew->net, MR_PLACE_BROKER);
    crew->is_db_halted = false;
}

/* One backend, the broker's at its COMMIT if possible: the server ends all of them and recovers. */
static bool
fire_panic(struct mr_faults *faults, struct mr_strike *strike)
{
    int64_t pid = mr_crew_int(faults->crew, AIM_SQL);

    if (pid <= 1)
        return false;
    (void)snprintf(
        strike->detail, sizeof strike->detail, "pid=%" PRId64 " a backend, killed", pid);
    (void)kill((pid_t)pid, SIGKILL);
    return true;
}

static bool
fire_hunt(struct mr_faults *faults, struct mr_strike *strike)
{
    int64_t n = mr_crew_int(faults->crew, HUNT_SQL);

    if (n < 0)
        return false;
    faults->backends_ended += (uint32_t)n;
    (void)snprintf(strike->detail, sizeof strike->detail,
        "%" PRId64 " terminated while they committed", n);
    return true;
}

/* What a second broker does that takes over. The first one has to notice, and to end. */
static bool
fire_usurp(struct mr_faults *faults, struct mr_strike *strike)
{
    int64_t epoch = mr_crew_int(faults->crew,
        "update millrace.shard set epoch = epoch + 1, owner = gen_random_uuid(), "
        "endpoints = 'nowhere', lease_until = clock_timestamp() returning epoch");

    if (epoch < 1)
        return false;
    (void)snprintf(
        strike->detail, sizeof strike->detail, "epoch %" PRId64 " is another's", epoch);
    return true;
}

/* ---- links ------------------------------------------------------------------------------------------ */

static const struct {
    enum mr_link first;
    uint32_t count;
} links[MR_FAULTS] = {
    [MR_FAULT_CUT_WORKER] = {MR_LINK_WORKERS_0, 2},
    [MR_FAULT_CUT_CLIENT] = {MR_LINK_CLIENTS_0, 2},
    [MR_FAULT_CUT_DB] = {MR_LINK_DB, 1},
    [MR_FAULT_CUT_WORKER_DB] = {MR_LINK_WORKERS_0_DB, 2},
};

static bool
is_cut(const struct mr_faults *faults, enum mr_link link)
{
    for (uint32_t i = 0; i < faults->strike_count; i++) {
        if (faults->strikes[i].event.fault >= MR_FAULT_CUT_WORKER &&
            faults->strikes[i].link == link)
            return true;
    }
    return false;
}

static bool
fire_cut(struct mr_faults *faults, struct mr_strike *strike)
{
    enum mr_fault fault = strike->event.fault;
    uint32_t host = strike->event.target % links[fault].count;

    strike->link = (enum mr_link)((uint32_t)links[fault].first + host);
    if (is_cut(faults, strike->link))
        return false;
    (void)snprintf(strike->detail, sizeof strike->detail, "host %" PRIu32 ", %s", host,
        mr_net_cut(&faults->crew->net, strike->link, strike->event.variant));
    return true;
}

static void
heal_cut(struct mr_faults *faults, struct mr_strike *strike)
{
    mr_net_heal(&faults->crew->net, strike->link);
}

/* ---- all -------------------------------------------------------------------------------------------- */

static const struct {
    bool (*fire)(struct mr_faults *faults, struct mr_strike *strike);
    void (*heal)(
        struct mr_faults *faults, struct mr_strike *strike); /* NULL: by itself */
} acts[MR_FAULTS] = {
    [MR_FAULT_KILL_WORKER] = {fire_kill, NULL},
    [MR_FAULT_KILL_BROKER] = {fire_kill, NULL},
    [MR_FAULT_KILL_CLIENT] = {fire_kill, NULL},
    [MR_FAULT_FREEZE_WORKER] = {fire_freeze, heal_freeze},
    [MR_FAULT_FREEZE_BROKER] = {fire_freeze, heal_freeze},
    [MR_FAULT_DB_CRASH] = {fire_crash, heal_crash},
    [MR_FAULT_DB_PANIC] = {fire_panic, NULL},
    [MR_FAULT_DB_BACKEND] = {fire_hunt, NULL},
    [MR_FAULT_USURP_SHARD] = {fire_usurp, NULL},
    [MR_FAULT_CUT_WORKER] = {fire_cut, heal_cut},
    [MR_FAULT_CUT_CLIENT] = {fire_cut, heal_cut},
    [MR_FAULT_CUT_DB] = {fire_cut, heal_cut},
    [MR_FAULT_CUT_WORKER_DB] = {fire_cut, heal_cut},
};

enum mr_status
mr_faults_open(struct mr_faults *faults, struct mr_crew *crew,
    const struct mr_schedule *schedule, struct mr_err *err)
{
    char path[PATH_MAX + 16];

    *faults =
        (struct mr_faults){.crew = crew, .schedule = schedule, .begin_us = now_us()};
    (void)snprintf(path, sizeof path, "%s/faults.log", crew->folder);
    faults->log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (faults->log >= 0)
        return MR_OK;
    return mr_err_set(err, MR_DENIED, "the faults cannot be written down", path, NULL);
}

void
mr_faults_close(struct mr_faults *faults)
{
    if (faults->log >= 0)
        (void)close(faults->log);
    faults->log = -1;
}

static void
heal(struct mr_faults *faults, uint32_t i)
{
    struct mr_strike strike = faults->strikes[i];

    faults->strikes[i] = faults->strikes[--faults->strike_count];
    acts[strike.event.fault].heal(faults, &strike);
    note(faults, &strike, "heal");
}

static void
heal_due(struct mr_faults *faults, int64_t until_us)
{
    uint32_t i = 0;

    while (i < faults->strike_count) {
        if (faults->strikes[i].heal_at_us <= until_us)
            heal(faults, i);
        else
            i++;
    }
}

/* False: nobody can suffer it now. */
static bool
fire(struct mr_faults *faults, const struct mr_fault_event *event)
{
    struct mr_strike strike = {.event = *event};

    if (!acts[event->fault].fire(faults, &strike))
        return false;
    note(faults, &strike, "fire");
    faults->fired[event->fault]++;
    strike.heal_at_us = now_us() + event->hold_us;
    if (acts[event->fault].heal)
        faults->strikes[faults->strike_count++] = strike;
    if (faults->tell)
        faults->tell(faults->context, &strike);
    return true;
}

void
mr_faults_turn(struct mr_faults *faults)
{
    heal_due(faults, now_us());
    while (
        faults->next < faults->schedule->count && faults->strike_count < MR_STRIKES_MAX) {
        struct mr_fault_event *event = &faults->schedule->events[faults->next];

        if (now_us() < faults->begin_us + event->at_us)
            return;
        if (!fire(faults, event)) {
            event->at_us = now_us() - faults->begin_us + LATE_US;
            return;
        }
        faults->next++;
    }
}

bool
mr_faults_is_over(const struct mr_faults *faults)
{
    return faults->next == faults->schedule->count;
}

void
mr_faults_heal_all(struct mr_faults *faults)
{
    heal_due(faults, INT64_MAX);
}
