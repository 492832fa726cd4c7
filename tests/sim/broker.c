#include "tests/sim/sim.h"

#define PROBE_US INT64_C(500000)
#define DRAIN_US INT64_C(2000000)
#define OVERSLEPT_US_MIN 250000
#define CHECK_ONE_IN 24

/* ---- life ------------------------------------------------------------------------------------ */

/* Clients are of one principal or the other, by their number; the second has quotas. Made once,
 * and only read. */
static const struct mr_rights *
rights_of_all(void)
{
    static const char *const names[] = {"even", "odd", "crew"};
    static struct mr_rights *rights;

    if (rights)
        return rights;
    MR_ASSERT(mr_rights_new(&rights, (struct mr_hash_key){1, 2}) == MR_OK);
    for (uint32_t i = 0; i < 3; i++) {
        struct mr_rights_row row = {
            .type = MR_ROW_PRINCIPAL, .principal = i + 1, .text = mr_span_str(names[i])};

        if (i == 1)
            row.quota = (struct mr_quota){
                .jobs_per_s = 300, .waiting_max = 250, .payload_bytes_max = 1 << 20};
        MR_ASSERT(mr_rights_add(rights, &row) == MR_OK);
        row = (struct mr_rights_row){.type = MR_ROW_GRANT,
            .principal = i + 1,
            .text = mr_span_str(i == 2 ? "worker" : "front-end"),
            .queue = mr_span_str("*"),
            .kind = mr_span_str("*")};
        MR_ASSERT(mr_rights_add(rights, &row) == MR_OK);
    }
    MR_ASSERT(mr_rights_seal(rights) == MR_OK);
    return rights;
}

static void
start(struct sim *sim)
{
    struct sim_broker *broker = &sim->broker;
    char kind[3];

    broker->conf.seed = sim_random(sim, 0) + broker->instance;
    SIM_MUST(mr_core_new(&broker->core, &broker->conf, sim_act, sim) == MR_OK);
    mr_core_set_rights(broker->core, sim->now, rights_of_all());
    broker->instance++;
    broker->phase = SIM_SERVING;
    broker->has_loaded = broker->wants_sweep = false;
    broker->is_up = broker->writer_is_up = true;
    broker->due_us = 0;
    broker->ready_seq = 0;
    broker->current = SIM_NONE;
    broker->sweep_us = broker->last_turn_us = 0;
    broker->returned = 0;
    broker->probe_us = sim->now.mono_us + PROBE_US;
    memset(broker->lane_seq, 0, sizeof broker->lane_seq);
    for (uint32_t i = 0; i < sim->submitted; i++)
        sim->jobs[i].ready_seq = 0;
    sim->store.epoch++;
    sim_log(sim, "broker serves", broker->instance, sim->store.epoch, 0);
    for (uint32_t i = 0; i < SIM_KINDS; i++) {
        (void)snprintf(kind, sizeof kind, "k%u", i % 10);
        if (sim->store.kinds_known >> i & 1)
            SIM_MUST(mr_core_knows_kind(broker->core, mr_span_str(kind)) == MR_OK);
    }
    mr_core_load_begins(broker->core, sim->now);
    sim_writer_load(sim, 0);
}

static void
take_counts(struct sim *sim)
{
    struct mr_core_stats stats;

    mr_core_stats(sim->broker.core, &stats);
    sim->counts[SIM_N_RETRIED] += stats.retried;
    sim->counts[SIM_N_SNOOZED] += stats.snoozed;
    sim->counts[SIM_N_TIMED_OUT] += stats.timed_out;
    sim->counts[SIM_N_LOST] += stats.lost;
    sim->counts[SIM_N_CRASHED] += stats.crashed;
    sim->counts[SIM_N_GIVEN_BACK] += stats.given_back;
    sim->counts[SIM_N_STALE] += stats.stale;
    sim->counts[SIM_N_ADOPTED] += stats.adopted;
    sim->counts[SIM_N_QUARANTINED] += stats.quarantined;
}

/* Everything in memory is gone, and every connection with it. */
static void
die(struct sim *sim, bool is_taken_over)
{
    struct sim_broker *broker = &sim->broker;

    mr_core_check(broker->core);
    for (uint32_t i = 0; i < SIM_PEERS_MAX; i++)
        sim_peers_forget(sim, i);
    sim_writer_die(sim, is_taken_over);
    take_counts(sim);
    mr_core_destroy(&broker->core);
    broker->phase = SIM_DOWN;
    sim_conn_lose_all(sim);
    broker->starts_us = sim->now.mono_us + 1 + sim_random_us(sim, 800000);
    sim->frozen_until_us[SIM_BROKER] = 0;
    if (!sim->is_ending)
        sim_wake(sim, SIM_BROKER, broker->starts_us);
}

void
sim_broker_crash(struct sim *sim, bool is_taken_over)
{
    if (sim->broker.phase != SIM_SERVING && sim->broker.phase != SIM_DRAINING)
        return;
    sim_log(sim, "broker dies", sim->broker.instance, is_taken_over, 0);
    sim_count(sim, SIM_N_BROKER_CRASHES);
    die(sim, is_taken_over);
}

void
sim_broker_drain(struct sim *sim)
{
    struct sim_broker *broker = &sim->broker;

    if (broker->phase != SIM_SERVING)
        return;
    sim_log(sim, "broker drains", broker->instance, 0, 0);
    sim_count(sim, SIM_N_BROKER_DRAINS);
    broker->phase = SIM_DRAINING;
    broker->drain_until_us = sim->now.mono_us + DRAIN_US;
    mr_core_drain(broker->core, sim->now);
    sim_wake(sim, SIM_BROKER, sim->now.mono_us + 1);
}

void
sim_broker_destroy(struct sim *sim)
{
    for (uint32_t i = 0; i < SIM_PEERS_MAX; i++) {
        sim_peers_forget(sim, i);
        mr_wr_fini(&sim->broker.peers[i].wr);
    }
    mr_core_destroy(&sim->broker.core);
    sim_writer_destroy(sim);
}

/* ---- a turn: as the real loop's ------------------------------------------------------------------ */

static void
look_at_clock(struct sim *sim)
{
    struct sim_broker *broker = &sim->broker;
    int64_t late_us = sim->now.mono_us - broker->due_us;

    if (broker->due_us && late_us >= OVERSLEPT_US_MIN &&
        late_us >= broker->conf.heartbeat_ms * INT64_C(1000)) {
        sim_log(sim, "overslept", (uint64_t)late_us, 0, 0);
        mr_core_overslept(broker->core, sim->now);
    }
}

static void
probe(struct sim *sim)
{
    struct mr_core_worker_info info;
    uint32_t cursor = 0;

    if (sim->now.mono_us < sim->broker.probe_us)
        return;
    sim->broker.probe_us = sim->now.mono_us + PROBE_US;
    while (mr_core_next_worker(sim->broker.core, &cursor, &info)) {
        struct mr_wr *wr = info.sent ? sim_peers_open(sim, info.peer, MR_PING) : NULL;

        if (wr)
            mr_put_ping(wr, 0, false);
    }
}

static bool
has_drained(const struct sim *sim)
{
    struct mr_core_stats stats;

    mr_core_stats(sim->broker.core, &stats);
    return sim_writer_is_idle(sim) && !stats.storing && !stats.settling;
}

static void
check(struct sim *sim)
{
    const struct sim_broker *broker = &sim->broker;
    const struct mr_core_conf *conf = &broker->conf;
    struct mr_core_stats stats;

    mr_core_stats(broker->core, &stats);
    SIM_MUST(stats.jobs <= conf->jobs_max);
    SIM_MUST(stats.storing <= conf->storing_max);
    SIM_MUST(stats.watches <= conf->watches_max && stats.lanes <= conf->lanes_max);
    SIM_MUST(stats.workers <= conf->workers_max && stats.clients <= conf->clients_max);
    if (sim_random(sim, CHECK_ONE_IN))
        return;
    sim_count(sim, SIM_N_CHECKS);
    mr_core_check(broker->core);
}

static int64_t
sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void
serve(struct sim *sim)
{
    struct sim_broker *broker = &sim->broker;
    int64_t next_us;

    look_at_clock(sim);
    sim_peers_take_in(sim);
    sim_writer_collect(sim);
    probe(sim);
    sim_peers_reap(sim);
    next_us = mr_core_tick(broker->core, sim->now);
    if (broker->phase == SIM_DRAINING &&
        (has_drained(sim) || sim->now.mono_us >= broker->drain_until_us)) {
        sim_peers_bye(sim);
        sim_peers_flush(sim);
        die(sim, false);
        return;
    }
    sim_writer_dispatch(sim);
    sim_peers_flush(sim);
    check(sim);
    next_us = sooner(next_us, broker->probe_us);
    next_us = sooner(next_us, sim_writer_due_us(sim));
    if (broker->phase == SIM_DRAINING)
        next_us = sooner(next_us, broker->drain_until_us);
    broker->due_us = next_us;
    broker->last_turn_us = sim->now.mono_us;
    sim_wake(sim, SIM_BROKER, next_us);
}

void
sim_broker_turn(struct sim *sim)
{
    if (sim->broker.phase == SIM_DOWN && !sim->is_ending) {
        if (sim->now.mono_us < sim->broker.starts_us)
            sim_wake(sim, SIM_BROKER, sim->broker.starts_us);
        else if (sim->store.is_down) /* the shard cannot be claimed */
            sim_wake(sim, SIM_BROKER, sim->now.mono_us + 100000);
        else
            start(sim);
    }
    if (sim->broker.phase == SIM_SERVING || sim->broker.phase == SIM_DRAINING)
        serve(sim);
}
