#include "tests/sim/sim.h"

static enum millrace_answer
never(struct millrace_job *job)
{
    (void)job;
    return MILLRACE_FAILED_FOR_GOOD; /* handlers are modelled: see run.c */
}

const char *
sim_name(char letter, uint32_t number)
{
    static const char *const names[3][4] = {
        {"q0", "q1", "q2", "q3"}, {"k0", "k1", "k2", "k3"}, {"l0", "l1", "l2", "l3"}};

    return names[letter == 'q' ? 0 : letter == 'k' ? 1 : 2][number % 4];
}

static uint32_t
one_of(struct sim *sim, uint32_t a, uint32_t b, uint32_t c)
{
    uint64_t n = sim_random(sim, 3);

    return n == 0 ? a : n == 1 ? b : c;
}

/* Small worlds find most for the time they take; large ones meet what needs many. */
static void
draw_sizes(struct sim *sim)
{
    struct sim_rates *rates = &sim->rates;
    uint64_t size = sim_random(sim, 100);
    uint32_t workers = size < 65 ? 3 : size < 95 ? 8 : SIM_WORKERS_MAX;
    uint32_t clients = size < 65 ? 2 : size < 95 ? 8 : SIM_CLIENTS_MAX;
    uint32_t jobs = size < 65 ? 100 : size < 95 ? 400 : 900;

    rates->workers = 1 + (uint32_t)sim_random(sim, workers);
    rates->clients = 1 + (uint32_t)sim_random(sim, clients);
    rates->jobs = 3 + (uint32_t)sim_random(sim, jobs);
    sim->to_submit = rates->jobs;
}

/* Each world has only some sorts of faults: one sort alone, often, goes deep. */
static void
draw_rates(struct sim *sim)
{
    struct sim_rates *rates = &sim->rates;

    rates->faults = (uint32_t)(sim_random(sim, 0) & sim_random(sim, 0));
    rates->has_clock_steps = sim_random(sim, 10) == 0;
    rates->faults_us =
        2000000 + sim_random_us(sim, sim_random(sim, 2) ? 30000000 : 120000000);
    rates->fault_every_us = 50000 + sim_random_us(sim, 1500000);
    rates->latency_us = 200 + sim_random_us(sim, sim_random(sim, 4) ? 2000 : 40000);
    rates->handler_us = 500 + sim_random_us(sim, sim_random(sim, 3) ? 30000 : 400000);
    if (sim_random(sim, 3) == 0) /* short enough for batches */
        rates->handler_us = 10 + sim_random_us(sim, 500);
    rates->commit_us = 300 + sim_random_us(sim, sim_random(sim, 4) ? 4000 : 60000);
    rates->commit_fails = one_of(sim, 0, 20, 120);
    rates->odd_ways = one_of(sim, 100, 400, 800);
    rates->page = 1 + (uint32_t)sim_random(sim, sim_random(sim, 2) ? 5 : 1000);
    rates->batch = 1 + (uint32_t)sim_random(sim, sim_random(sim, 2) ? 8 : 64);
}

static void
draw_kinds(struct sim *sim)
{
    const struct millrace_kind *all[SIM_KINDS + 1] = {NULL}, *some[SIM_KINDS] = {NULL};

    for (uint32_t i = 0; i < SIM_KINDS; i++) {
        sim->kinds[i] = (struct millrace_kind){.name = sim_name('k', i),
            .run = never,
            .is_transactional = i % 2 == 1,
            .running_max = i == 2 ? 1 + (uint32_t)sim_random(sim, 3) : 0,
            .timeout_ms = i == 3 ? 100 + (uint32_t)sim_random(sim, 2000) : 0,
            .backoff_base_ms = i == 1 ? 5 : 0,
            .backoff_factor_percent = i == 1 ? 100 + (uint32_t)sim_random(sim, 900) : 0,
            .attempts_max = i == 3 ? (uint32_t)sim_random(sim, 4) : 0};
        all[i] = &sim->kinds[i];
        if (i + 1 < SIM_KINDS)
            some[i] = &sim->kinds[i];
    }
    SIM_MUST(mr_registry_new(&sim->registry) == MR_OK);
    SIM_MUST(mr_registry_new(&sim->some) == MR_OK);
    SIM_MUST(mr_registry_add(sim->registry, all, "simulator", NULL) == MR_OK);
    SIM_MUST(mr_registry_add(sim->some, some, "simulator", NULL) == MR_OK);
}

static void
draw_broker(struct sim *sim)
{
    struct mr_core_conf *conf = &sim->broker.conf;

    mr_core_conf_default(conf);
    conf->jobs_max =
        sim_random(sim, 3) ? SIM_JOBS_MAX : 8 + (uint32_t)sim_random(sim, 40);
    conf->storing_max = sim_random(sim, 3) ? 1000 : 4 + (uint32_t)sim_random(sim, 20);
    conf->payload_bytes_max = sim_random(sim, 2) ? 1 << 20 : 64 * sim_random(sim, 60);
    conf->workers_max = sim->rates.workers + (uint32_t)sim_random(sim, 4);
    conf->clients_max = sim->rates.clients + (uint32_t)sim_random(sim, 4);
    conf->queues_max = conf->kinds_max = 4;
    conf->lanes_max = sim_random(sim, 4) ? 1000 : 30;
    conf->watches_max =
        sim_random(sim, 4) ? 2000 : SIM_SUBMIT_MAX + (uint32_t)sim_random(sim, 20);
    conf->heartbeat_ms = sim->rates.clients > 8 ? 1000 : one_of(sim, 100, 300, 1000);
    conf->grace_ms = 20 + (uint32_t)sim_random(sim, sim_random(sim, 2) ? 300 : 3000);
    conf->age_ms = 20 + (uint32_t)sim_random(sim, 1000);
    conf->busy_retry_ms = 20;
    conf->attempts_max = 1 + (uint32_t)sim_random(sim, 4);
    conf->timeout_ms = 50 + (uint32_t)sim_random(sim, 3000);
    conf->timeout_slack_ms = 20 + (uint32_t)sim_random(sim, 2000);
    conf->backoff_base_ms = 1 + (uint32_t)sim_random(sim, 300);
    conf->backoff_cap_ms = conf->backoff_base_ms + (uint32_t)sim_random(sim, 2000);
    conf->backoff_factor_percent = 100 + (uint32_t)sim_random(sim, 400);
    conf->backoff_jitter_percent = (uint32_t)sim_random(sim, 101);
    conf->losses_max = 1 + (uint32_t)sim_random(sim, 6);
    conf->refuses_unknown_kinds = sim_random(sim, 2);
    conf->hash_key = (struct mr_hash_key){sim->seed, 1};
    if (sim->rates.has_clock_steps)
        conf->id_future_ms = conf->id_past_ms;
    sim->broker.current = SIM_NONE;
}

void
sim_draw(struct sim *sim)
{
    draw_sizes(sim);
    draw_rates(sim);
    draw_kinds(sim);
    draw_broker(sim);
    for (uint32_t i = 0; i < sim->rates.workers; i++)
        sim_worker_draw(sim, i);
    for (uint32_t i = 0; i < sim->rates.clients; i++) {
        sim->clients[i].number = i;
        sim->clients[i].end.conn = SIM_NONE;
    }
}

void
sim_draw_job(struct sim *sim, struct sim_job *job)
{
    int64_t now = sim->now.wall_us;

    job->payload_bytes =
        1 + (uint32_t)sim_random(sim, sim_random(sim, 8) ? 100 : SIM_PATTERN - 1);
    job->queue = (uint8_t)sim_random(sim, SIM_QUEUES);
    job->kind = (uint8_t)sim_random(sim, SIM_KINDS);
    job->lane = (uint8_t)(sim_random(sim, 2) * sim_random(sim, SIM_LANES));
    job->priority =
        (uint8_t)(sim_random(sim, 2) ? sim_random(sim, 10) : MR_PRIORITY_DEFAULT);
    job->attempts_max = (uint32_t)(sim_random(sim, 2) * sim_random(sim, 4));
    if (sim_chance(sim, sim->rates.odd_ways))
        job->way = (enum sim_way)sim_random(sim, SIM_WAYS);
    if (job->client == SIM_NONE)
        return;
    if (sim_random(sim, 8) == 0)
        job->run_at_us = now + sim_random_us(sim, 3000000);
    else if (sim_random(sim, 8) == 0)
        job->delay_ms = 1 + (uint32_t)sim_random(sim, 2000);
    if (sim_random(sim, 8) == 0)
        job->expires_at_us = now + 100000 + sim_random_us(sim, 8000000);
}
