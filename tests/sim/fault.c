#include "tests/sim/sim.h"

static uint32_t
some_worker(struct sim *sim)
{
    return (uint32_t)sim_random(sim, sim->rates.workers);
}

/* Mostly for less than a lease, sometimes for long. */
static int64_t
some_time(struct sim *sim)
{
    int64_t lease_us = sim->broker.conf.heartbeat_ms * INT64_C(3000);

    return 1000 + sim_random_us(sim, sim_random(sim, 2) ? lease_us : 4 * lease_us);
}

static void
crash_worker(struct sim *sim)
{
    sim_worker_crash(sim, some_worker(sim));
}

static void
freeze(struct sim *sim, uint32_t who, enum sim_count count)
{
    int64_t us = some_time(sim);

    if (sim->frozen_until_us[who] > sim->now.mono_us)
        return;
    sim_log(sim, "frozen", who, (uint64_t)us, 0);
    sim_count(sim, count);
    sim->frozen_until_us[who] = sim->now.mono_us + us;
}

static void
freeze_worker(struct sim *sim)
{
    freeze(sim, some_worker(sim), SIM_N_WORKER_FREEZES);
}

static void
unplug_worker(struct sim *sim)
{
    sim_worker_unplug(sim, some_worker(sim));
}

static void
drain_worker(struct sim *sim)
{
    sim_worker_drain(sim, some_worker(sim));
}

static void
crash_broker(struct sim *sim)
{
    sim_broker_crash(sim, sim_random(sim, 3) == 0);
}

static void
freeze_broker(struct sim *sim)
{
    if (sim->broker.phase == SIM_SERVING)
        freeze(sim, SIM_BROKER, SIM_N_BROKER_FREEZES);
}

static void
drain_broker(struct sim *sim)
{
    sim_broker_drain(sim);
}

static void
crash_client(struct sim *sim)
{
    sim_client_crash(sim, (uint32_t)sim_random(sim, sim->rates.clients));
}

static uint32_t
some_conn(struct sim *sim)
{
    uint32_t first = (uint32_t)sim_random(sim, SIM_CONNS_MAX);

    first %= 2 * (sim->rates.workers + sim->rates.clients);
    return sim->conns[first].is_used && !sim->conns[first].has_left ? first : SIM_NONE;
}

static void
cut(struct sim *sim)
{
    uint32_t conn = some_conn(sim);

    if (conn == SIM_NONE)
        return;
    sim_count(sim, SIM_N_CUTS);
    sim_conn_cut(sim, conn);
}

static void
stall(struct sim *sim)
{
    uint32_t conn = some_conn(sim);

    if (conn == SIM_NONE)
        return;
    sim_count(sim, SIM_N_STALLS);
    sim_conn_stall(sim, conn, some_time(sim));
}

static void
stop_store(struct sim *sim)
{
    sim_store_goes_down(
        sim, 1000 + sim_random_us(sim, sim_random(sim, 3) ? 300000 : 5000000));
}

static void
step_clock(struct sim *sim)
{
    int64_t us = sim_random_us(sim, 20000000) - 10000000;

    if (!sim->rates.has_clock_steps)
        return;
    sim_log(sim, "clock step", (uint64_t)us, 0, 0);
    sim_count(sim, SIM_N_CLOCK_STEPS);
    sim->now.wall_us += us;
}

void
sim_fault_strike(struct sim *sim)
{
    static void (*const faults[])(struct sim *) = {
        crash_worker,
        freeze_worker,
        unplug_worker,
        drain_worker,
        crash_broker,
        freeze_broker,
        drain_broker,
        crash_client,
        cut,
        stall,
        stop_store,
        step_clock,
    };
    uint32_t which = (uint32_t)sim_random(sim, sizeof faults / sizeof *faults);

    if (sim->is_healing)
        return;
    if (sim->rates.faults >> which & 1)
        faults[which](sim);
    sim_at(sim, sim->now.mono_us + 1 + sim_random_us(sim, 2 * sim->rates.fault_every_us),
        SIM_FAULT, 0, 0, 0);
}
