#include "tests/sim/sim.h"

#define WALL_US INT64_C(1764000000000000)
#define HEALING_US (INT64_C(900) * 1000000)
#define DRAINING_US (INT64_C(120) * 1000000)
#define LOOK_US INT64_C(50000) /* how often it is asked whether all is quiet */
#define EVENTS_MAX 40000       /* in that time: more is somebody who spins */

/* ---- time ------------------------------------------------------------------------------------ */

static const struct sim *world; /* the one that runs */

struct mr_now __wrap_mr_clock_now(void);

/* Put in the place of the real clock by the linker: whatever asks for the time gets ours. */
struct mr_now
__wrap_mr_clock_now(void)
{
    return world->now;
}

/* ---- history ---------------------------------------------------------------------------------- */

_Noreturn void
sim_fail(const struct sim *sim, const char *what, const char *file, int line)
{
    fflush(stdout);
    fprintf(stderr, "seed %llu at %.6f s (%s:%d): this does not hold: %s\n",
        (unsigned long long)sim->seed, (double)(sim->now.mono_us - sim->began_us) / 1e6,
        file, line, what);
    abort();
}

static uint64_t
mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9fb21c651e98df25);
    return hash ^ hash >> 32;
}

void
sim_log(struct sim *sim, const char *what, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t hash = mix(sim->hash, (uint64_t)sim->now.mono_us);

    for (const char *p = what; *p; p++)
        hash = mix(hash, (uint8_t)*p);
    sim->hash = mix(mix(mix(hash, a), b), c);
    if (sim->is_loud)
        printf("%12.6f %-18s %llu %llu %llu\n",
            (double)(sim->now.mono_us - sim->began_us) / 1e6, what, (unsigned long long)a,
            (unsigned long long)b, (unsigned long long)c);
}

void
sim_count(struct sim *sim, enum sim_count count)
{
    sim->counts[count]++;
}

/* ---- chance ------------------------------------------------------------------------------------ */

uint64_t
sim_random(struct sim *sim, uint64_t below)
{
    uint64_t z = (sim->random += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return below ? z % below : z;
}

int64_t
sim_random_us(struct sim *sim, int64_t below)
{
    return (int64_t)sim_random(sim, (uint64_t)below);
}

bool
sim_chance(struct sim *sim, uint32_t per_mille)
{
    return sim_random(sim, 1000) < per_mille;
}

bool
sim_fault(struct sim *sim, uint32_t per_mille)
{
    return !sim->is_healing && sim_chance(sim, per_mille);
}

/* ---- events: a heap by time, and in the order of their making --------------------------------- */

static bool
is_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->seq < b->seq);
}

void
sim_at(struct sim *sim, int64_t at_us, enum sim_what what, uint32_t who, uint32_t arg,
    uint64_t stamp)
{
    struct sim_event event = {
        .at_us = at_us < sim->now.mono_us ? sim->now.mono_us : at_us,
        .seq = ++sim->event_seq,
        .stamp = stamp,
        .who = who,
        .what = (uint16_t)what,
        .arg = (uint16_t)arg};
    uint32_t at = sim->event_count++;

    SIM_MUST(sim->event_count <= SIM_EVENTS_MAX);
    for (; at > 0 && is_before(&event, &sim->events[(at - 1) / 2]); at = (at - 1) / 2)
        sim->events[at] = sim->events[(at - 1) / 2];
    sim->events[at] = event;
}

static struct sim_event
next_event(struct sim *sim)
{
    struct sim_event first = sim->events[0];
    struct sim_event last = sim->events[--sim->event_count];
    uint32_t at = 0, child;

    while ((child = 2 * at + 1) < sim->event_count) {
        if (child + 1 < sim->event_count &&
            is_before(&sim->events[child + 1], &sim->events[child]))
            child++;
        if (!is_before(&sim->events[child], &last))
            break;
        sim->events[at] = sim->events[child];
        at = child;
    }
    sim->events[at] = last;
    return first;
}

void
sim_wake(struct sim *sim, uint32_t who, int64_t at_us)
{
    if (at_us <= sim->now.mono_us)
        at_us = sim->now.mono_us + 1;
    if (at_us >= sim->turn_us[who])
        return;
    sim->turn_us[who] = at_us;
    sim_at(sim, at_us, SIM_TURN, who, 0, 0);
}

/* ---- jobs ---------------------------------------------------------------------------------------- */

uint32_t
sim_index(struct mr_uuid id)
{
    return (uint32_t)id.b[14] << 8 | id.b[15];
}

struct mr_uuid
sim_instance(uint32_t number, uint32_t generation)
{
    struct mr_uuid instance = {{0}};

    instance.b[0] = (uint8_t)(1 + number);
    instance.b[1] = (uint8_t)(generation >> 8);
    instance.b[2] = (uint8_t)generation;
    return instance;
}

void
sim_worker_name(struct mr_uuid instance, char name[16])
{
    (void)snprintf(name, 16, "w%u.%u", instance.b[0] - 1u,
        (unsigned)instance.b[1] << 8 | instance.b[2]);
}

struct mr_uuid
sim_worker_named(struct mr_span name)
{
    char text[16] = {0};
    unsigned number = 0, generation = 0;

    if (name.n)
        memcpy(text, name.p, name.n < sizeof text ? name.n : sizeof text - 1);
    if (sscanf(text, "w%u.%u", &number, &generation) != 2)
        return (struct mr_uuid){{0}};
    return sim_instance(number, generation);
}

static struct mr_uuid
make_id(const struct sim *sim, uint32_t index)
{
    uint64_t ms = (uint64_t)sim->now.wall_us / 1000;
    struct mr_uuid id = {{0}};

    for (int i = 0; i < 6; i++)
        id.b[i] = (uint8_t)(ms >> (40 - 8 * i));
    id.b[6] = 0x70;
    id.b[8] = 0x80;
    id.b[14] = (uint8_t)(index >> 8);
    id.b[15] = (uint8_t)index;
    return id;
}

uint32_t
sim_job_make(struct sim *sim, uint32_t client)
{
    uint32_t index = sim->submitted;

    if (index == SIM_JOBS_MAX)
        return SIM_NONE;
    sim->submitted++;
    sim_count(sim, SIM_N_JOBS);
    sim->jobs[index] = (struct sim_job){
        .id = make_id(sim, index), .client = client, .follow_up = SIM_NONE};
    if (client != SIM_NONE)
        sim->jobs[index].owner = (uint8_t)SIM_PRINCIPAL(client);
    sim_draw_job(sim, &sim->jobs[index]);
    sim_log(sim, "job", index, client, sim->jobs[index].way);
    return index;
}

struct mr_span
sim_owner(const struct sim *sim, uint32_t job)
{
    return mr_span_str(sim->jobs[job].owner == 1 ? "even" : "odd");
}

bool
sim_is_own(const struct sim *sim, uint32_t client, uint32_t job)
{
    return sim->jobs[job].owner == SIM_PRINCIPAL(client);
}

/* Bytes that tell one job from the next. */
static struct mr_span
bytes_of(uint32_t index, uint32_t n)
{
    static uint8_t pattern[SIM_PATTERN + 256];

    if (!pattern[1])
        for (uint32_t i = 0; i < sizeof pattern; i++)
            pattern[i] = (uint8_t)(i % 251 + i / 251);
    return mr_span(pattern + index % 256, n);
}

struct mr_span
sim_job_result(uint32_t job)
{
    return bytes_of(job + 7, 1 + job % 90);
}

struct mr_job_new
sim_job_new(const struct sim *sim, uint32_t index, bool is_forged)
{
    static const uint8_t forged[] = "forged";
    const struct sim_job *job = &sim->jobs[index];

    return (struct mr_job_new){.id = job->id,
        .queue = mr_span_str(sim_name('q', job->queue)),
        .kind = mr_span_str(sim_name('k', job->kind)),
        .payload = is_forged ? mr_span(forged, sizeof forged)
                             : bytes_of(index, job->payload_bytes),
        .priority = job->priority,
        .lane = job->lane ? mr_span_str(sim_name('l', job->lane)) : MR_SPAN_NONE,
        .run_at_us = job->run_at_us,
        .delay_ms = job->delay_ms,
        .expires_at_us = job->expires_at_us,
        .attempts_max = job->attempts_max};
}

/* ---- the loop ------------------------------------------------------------------------------------- */

static void
take_turn(struct sim *sim, const struct sim_event *event)
{
    uint32_t who = event->who;

    if (sim->turn_us[who] != event->at_us)
        return; /* it took one meanwhile */
    sim->turn_us[who] = SIM_NEVER;
    if (who == SIM_BROKER)
        sim_broker_turn(sim);
    else if (who < SIM_WORKERS_MAX)
        sim_worker_turn(sim, who);
    else
        sim_client_turn(sim, who - SIM_WORKERS_MAX);
}

/* SIM_NONE: the event is nobody's who could be frozen. */
static uint32_t
owner_of(const struct sim_event *event)
{
    if (event->what == SIM_TURN || event->what == SIM_RUN || event->what == SIM_COMMITTER)
        return event->who;
    return event->what == SIM_WRITER ? (uint32_t)SIM_BROKER : SIM_NONE;
}

static void
happen(struct sim *sim, const struct sim_event *event)
{
    switch ((enum sim_what)event->what) {
    case SIM_TURN:
        take_turn(sim, event);
        break;
    case SIM_RUN:
        sim_run_step(sim, event->who, event->arg, event->stamp);
        break;
    case SIM_COMMITTER:
        sim_committer_step(sim, event->who, event->stamp);
        break;
    case SIM_APPLY:
        sim_commit_apply(sim, event->who);
        break;
    case SIM_WRITER_APPLY:
        sim_writer_on_apply(sim, event->stamp);
        break;
    case SIM_WRITER:
        sim_writer_on_answer(sim, event->stamp);
        break;
    case SIM_ORPHAN:
        sim_writer_on_orphan(sim, event->who);
        break;
    case SIM_FAULT:
        sim_fault_strike(sim);
        break;
    case SIM_STORE_UP:
        sim->store.is_down = false;
        break;
    }
}

/* Whoever is frozen does it when it thaws. */
static void
step(struct sim *sim)
{
    struct sim_event event;
    uint32_t owner;

    SIM_MUST(sim->event_count > 0);
    event = next_event(sim);
    sim->now.wall_us += event.at_us - sim->now.mono_us;
    sim->now.mono_us = event.at_us;
    owner = owner_of(&event);
    if (owner != SIM_NONE && sim->frozen_until_us[owner] > sim->now.mono_us) {
        if (event.what == SIM_TURN && sim->turn_us[owner] != event.at_us)
            return;
        if (event.what == SIM_TURN)
            sim->turn_us[owner] = sim->frozen_until_us[owner];
        sim_at(sim, sim->frozen_until_us[owner], event.what, event.who, event.arg,
            event.stamp);
        return;
    }
    happen(sim, &event);
}

/* ---- a world ---------------------------------------------------------------------------------------- */

static void
begin(struct sim *sim, uint64_t seed)
{
    struct sim_event *events = sim->events;
    struct mr_wr wr = sim->wr;
    bool is_loud = sim->is_loud;

    memset(sim, 0, sizeof *sim);
    sim->events = events ? events : calloc(SIM_EVENTS_MAX, sizeof *events);
    if (!sim->events)
        abort();
    sim->wr = wr;
    sim->is_loud = is_loud;
    sim->seed = seed;
    sim->random = seed * UINT64_C(0x2545f4914f6cdd1d);
    sim->now = (struct mr_now){INT64_C(5000000000), WALL_US};
    sim->began_us = sim->now.mono_us;
    for (uint32_t i = 0; i <= SIM_BROKER; i++)
        sim->turn_us[i] = SIM_NEVER;
    world = sim;
    sim_draw(sim);
    sim_wake(sim, SIM_BROKER, sim->now.mono_us + 1);
    for (uint32_t i = 0; i < sim->rates.workers; i++)
        sim_wake(sim, i, sim->now.mono_us + 1 + sim_random_us(sim, 200000));
    for (uint32_t i = 0; i < sim->rates.clients; i++)
        sim_wake(
            sim, SIM_WORKERS_MAX + i, sim->now.mono_us + 1 + sim_random_us(sim, 200000));
    sim_at(sim, sim->now.mono_us + sim->rates.fault_every_us, SIM_FAULT, 0, 0, 0);
}

/* No more faults: what is frozen thaws, what is down comes back. */
static void
heal(struct sim *sim)
{
    sim->is_healing = true;
    sim_log(sim, "heal", 0, 0, 0);
    for (uint32_t i = 0; i < sim->rates.workers; i++)
        if (sim->workers[i].is_unplugged)
            sim_worker_unplug(sim, i);
    for (uint32_t i = 0; i <= SIM_BROKER; i++)
        if (sim->frozen_until_us[i] > sim->now.mono_us + 1000000)
            sim->frozen_until_us[i] = sim->now.mono_us + 1000000;
}

static bool
is_quiet(const struct sim *sim)
{
    struct mr_core_stats stats;

    if (sim->to_submit || sim->broker.phase != SIM_SERVING || !sim->broker.has_loaded ||
        !sim_clients_are_content(sim))
        return false;
    for (uint32_t i = 0; i < sim->submitted; i++)
        if ((sim->jobs[i].is_stored || sim->jobs[i].is_inbox) &&
            !sim->jobs[i].is_finished)
            return false;
    mr_core_stats(sim->broker.core, &stats);
    return stats.jobs == 0 && stats.watches == 0;
}

static bool
have_workers_left(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->rates.workers; i++)
        if (sim->workers[i].session)
            return false;
    return true;
}

static bool
has_broker_left(const struct sim *sim)
{
    return sim->broker.phase == SIM_DOWN;
}

/* What keeps the world from its rest. */
static void
explain(const struct sim *sim)
{
    char why[256] = "there is no broker";
    uint32_t left = 10;

    for (uint32_t i = 0; i < sim->submitted && left; i++) {
        const struct sim_job *job = &sim->jobs[i];

        if (job->is_finished || !(job->is_stored || job->is_inbox))
            continue;
        if (sim->broker.core && mr_core_explain(sim->broker.core, sim->now, job->id, why,
                                    sizeof why) != MR_OK)
            (void)snprintf(why, sizeof why, "the broker does not know it");
        left--;
        fprintf(stderr, "job %u of kind %u: %s\n", i, job->kind, why);
    }
}

/* Until `is_done`; within `limit_us`. */
static void
run_until(struct sim *sim, bool (*is_done)(const struct sim *sim), int64_t limit_us)
{
    int64_t ends_us = sim->now.mono_us + limit_us;
    int64_t look_us = sim->now.mono_us;
    uint32_t events = 0;

    for (;;) {
        SIM_MUST(++events < EVENTS_MAX);
        if (sim->now.mono_us >= look_us) {
            look_us = sim->now.mono_us + LOOK_US;
            events = 0;
            if (is_done(sim))
                return;
        }
        step(sim);
        if (sim->now.mono_us >= ends_us)
            explain(sim);
        SIM_MUST(sim->now.mono_us < ends_us); /* it comes to rest */
    }
}

static bool
are_faults_over(const struct sim *sim)
{
    return sim->now.mono_us >= sim->began_us + sim->rates.faults_us;
}

void
sim_run_seed(struct sim *sim, uint64_t seed)
{
    begin(sim, seed);
    run_until(sim, are_faults_over, sim->rates.faults_us + DRAINING_US);
    heal(sim);
    run_until(sim, is_quiet, HEALING_US);
    sim_judge_end(sim);
    sim->is_ending = true;
    for (uint32_t i = 0; i < sim->rates.workers; i++)
        sim_worker_drain(sim, i);
    run_until(sim, have_workers_left, DRAINING_US);
    sim_broker_drain(sim);
    run_until(sim, has_broker_left, DRAINING_US);
    sim_log(sim, "end", sim->submitted, 0, 0);
    sim_broker_destroy(sim);
    sim_net_reset(sim);
    mr_registry_destroy(&sim->registry);
    mr_registry_destroy(&sim->some);
}
