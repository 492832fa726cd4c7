/*
 * sim_test [SEEDS]: that many worlds (300). SEED=n runs that one only, and says more. What must
 * hold at each step is checked where it happens; what must hold in the end is here: every job
 * that was acknowledged is finished exactly once, everybody who asked has heard how, and the
 * broker's memory is empty.
 */
#include "tests/sim/sim.h"

#define FAULTS_US (INT64_C(4) * 1000 * 1000)
#define HEALING_US (INT64_C(120) * 1000 * 1000)
#define WALL_US INT64_C(1764000000000000)

_Noreturn void
sim_fail(const struct sim *sim, const char *what, int line)
{
    fprintf(stderr,
        "seed %llu at %.3f s (line %d): this does not hold: %s\n"
        "run again with SEED=%llu\n",
        (unsigned long long)sim->seed, (double)(sim->now.wall_us - WALL_US) / 1e6, line,
        what, (unsigned long long)sim->seed);
    abort();
}

uint64_t
sim_random(struct sim *sim, uint64_t below)
{
    uint64_t z = (sim->random += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return below ? (z ^ (z >> 31)) % below : 0;
}

bool
sim_fault(struct sim *sim, uint32_t per_mille)
{
    return !sim->is_healing && sim_random(sim, 1000) < per_mille;
}

uint32_t
sim_index(struct mr_uuid id)
{
    return (uint32_t)id.b[14] << 8 | id.b[15];
}

struct mr_job_new
sim_job_new(const struct sim *sim, uint32_t index, bool is_forged)
{
    static const uint8_t forged[] = "forged";
    static const char *const queues[] = {"q0", "q1", "q2"};
    static const char *const kinds[] = {"k0", "k1"};
    static const char *const lanes[] = {"", "a", "b", "c"};
    const struct sim_job *job = &sim->jobs[index];

    return (struct mr_job_new){.id = job->id,
        .queue = mr_span_str(queues[job->queue]),
        .kind = mr_span_str(kinds[job->kind]),
        .payload = is_forged ? mr_span(forged, sizeof forged)
                             : mr_span(job->payload, job->payload_bytes),
        .priority = job->priority,
        .lane = mr_span_str(lanes[job->lane]),
        .run_at_us = job->run_at_us,
        .expires_at_us = job->expires_at_us,
        .attempts_max = job->attempts_max};
}

/* ---- the network ---------------------------------------------------------------------------------- */

struct sim_message *
sim_send(struct sim *sim, uint32_t actor, enum sim_type type, bool to_broker)
{
    struct sim_pipe *pipe = &sim->pipes[actor * 2 + to_broker];
    struct sim_message *message = &sim->nowhere;
    int64_t at_us = sim->now.mono_us + (int64_t)sim_random(sim, 3000);

    if (sim->actors[actor].is_connected) {
        uint32_t last = (pipe->first + pipe->count - 1) % SIM_MESSAGES;

        SIM_MUST(pipe->count < SIM_MESSAGES);
        if (pipe->count && pipe->messages[last].at_us > at_us)
            at_us = pipe->messages[last].at_us;
        message = &pipe->messages[(pipe->first + pipe->count++) % SIM_MESSAGES];
    }
    *message = (struct sim_message){.at_us = at_us, .actor = actor, .type = type};
    return message;
}

void
sim_lose_connection(struct sim *sim, uint32_t number, bool hears)
{
    struct sim_actor *actor = &sim->actors[number];

    if (!actor->is_connected)
        return;
    sim_broker_disconnect(sim, number, hears);
    actor->is_connected = false;
    actor->connects_us = sim->now.mono_us + (int64_t)sim_random(sim, 100000);
    sim->pipes[number * 2].count = sim->pipes[number * 2 + 1].count = 0;
}

static void
connect(struct sim *sim, uint32_t number)
{
    struct sim_actor *actor = &sim->actors[number];

    actor->connection++;
    actor->is_connected = true;
    sim_broker_connect(sim, number);
    if (!actor->is_connected)
        return;
    if (actor->is_worker)
        sim_worker_connected(sim, number);
    else
        sim_outbox_step(sim, number, true);
}

static bool
take(struct sim *sim, struct sim_pipe *pipe, struct sim_message *out)
{
    if (!pipe->count || pipe->messages[pipe->first].at_us > sim->now.mono_us)
        return false;
    *out = pipe->messages[pipe->first];
    pipe->first = (pipe->first + 1) % SIM_MESSAGES;
    pipe->count--;
    return true;
}

static void
receive(struct sim *sim, const struct sim_message *message)
{
    if (message->type == SIM_NO_SESSION)
        sim_lose_connection(sim, message->actor, true);
    else if (sim->actors[message->actor].is_worker)
        sim_worker_receive(sim, message);
    else
        sim_client_receive(sim, message);
}

static void
step_actor(struct sim *sim, uint32_t number)
{
    struct sim_actor *actor = &sim->actors[number];
    struct sim_message message;

    while (take(sim, &sim->pipes[number * 2 + 1], &message))
        sim_broker_receive(sim, &message);
    if (sim->now.mono_us < actor->frozen_until_us)
        return;
    if (sim_fault(sim, 1) && sim_random(sim, 2))
        actor->frozen_until_us = sim->now.mono_us + (int64_t)sim_random(sim, 800000);
    if (sim_fault(sim, 2))
        sim_lose_connection(sim, number, sim_random(sim, 2));
    if (!actor->is_connected && sim->is_broker_up &&
        sim->now.mono_us >= actor->connects_us)
        connect(sim, number);
    while (take(sim, &sim->pipes[number * 2], &message))
        receive(sim, &message);
    if (actor->is_worker)
        sim_worker_step(sim, number);
    else if (actor->is_connected)
        sim_client_step(sim, number);
}

/* ---- the world ------------------------------------------------------------------------------------ */

static void
init(struct sim *sim, uint64_t seed, struct sim_pipe *pipes, struct sim_request *requests)
{
    *sim = (struct sim){.seed = seed,
        .random = seed * UINT64_C(0x2545f4914f6cdd1d),
        .now = {INT64_C(5000000000), WALL_US},
        .pipes = pipes,
        .requests = requests};
    for (uint32_t i = 0; i < SIM_ACTORS; i++) {
        sim->actors[i].is_worker = i >= SIM_CLIENTS;
        sim->pipes[i * 2].count = sim->pipes[i * 2 + 1].count = 0;
    }
    mr_core_conf_default(&sim->conf);
    sim->conf.seed = seed;
    sim->conf.jobs_max = sim_random(sim, 3) ? 1000 : 40;
    sim->conf.storing_max = sim_random(sim, 3) ? 1000 : 12;
    sim->conf.payload_bytes_max = sim_random(sim, 2) ? 1 << 20 : 64 * sim_random(sim, 20);
    sim->conf.workers_max = 5;
    sim->conf.clients_max = SIM_PEERS - 5;
    sim->conf.queues_max = 4;
    sim->conf.kinds_max = 4;
    sim->conf.lanes_max = sim_random(sim, 4) ? 1000 : 30;
    sim->conf.watches_max = sim_random(sim, 4) ? 1000 : 20;
    sim->conf.heartbeat_ms = 100;
    sim->conf.grace_ms = 300;
    sim->conf.age_ms = 100;
    sim->conf.attempts_max = 3;
    sim->conf.timeout_ms = 150;
    sim->conf.timeout_slack_ms = 100;
    sim->conf.backoff_base_ms = 10;
    sim->conf.backoff_cap_ms = 100;
    sim->conf.losses_max = 4;
}

static void
step(struct sim *sim)
{
    int64_t us = 500 + (int64_t)sim_random(sim, 2000);

    sim->now.mono_us += us;
    sim->now.wall_us += us;
    if (sim_fault(sim, 1) && sim_random(sim, 3) == 0 && sim->is_broker_up)
        sim_broker_stop(sim);
    sim_broker_step(sim);
    for (uint32_t i = 0; i < SIM_ACTORS; i++)
        step_actor(sim, i);
}

static bool
is_quiet(const struct sim *sim)
{
    struct mr_core_stats stats;

    if (!sim->is_broker_up || !sim->is_loaded || sim->submitted < SIM_JOBS ||
        !sim_client_is_content(sim))
        return false;
    mr_core_stats(sim->core, &stats);
    return stats.jobs == 0 && stats.watches == 0;
}

static void
judge_job(const struct sim *sim, const struct sim_job *job)
{
    SIM_MUST(!job->is_acked || job->is_finished);
    SIM_MUST(!job->is_stored || job->is_finished);
    SIM_MUST(job->results == job->is_finished);
    if (!job->is_finished)
        return;
    SIM_MUST(!job->is_acked || (job->has_heard && job->heard == job->outcome));
    SIM_MUST(job->outcome != MR_OUT_CANCELLED || job->has_cancelled);
    SIM_MUST(job->outcome != MR_OUT_EXPIRED || job->expires_at_us);
    SIM_MUST(
        job->outcome != MR_SUCCEEDED ||
        (job->tries && job->way != SIM_FAILS_ALWAYS && job->way != SIM_FAILS_FOR_GOOD));
    SIM_MUST(job->outcome != MR_FAILED || job->failures || job->losses);
    SIM_MUST(job->failures <= (job->attempts_max ? job->attempts_max : 3));
    SIM_MUST(job->losses <= sim->conf.losses_max);
}

static void
run(uint64_t seed, struct sim_pipe *pipes, struct sim_request *requests, bool is_loud)
{
    static struct sim world;
    struct sim *sim = &world;
    struct mr_core_stats stats;
    int64_t heals_us, ends_us;

    init(sim, seed, pipes, requests);
    sim_broker_start(sim);
    heals_us = sim->now.mono_us + FAULTS_US;
    ends_us = heals_us + HEALING_US;
    while (!is_quiet(sim)) {
        step(sim);
        sim->is_healing = sim->now.mono_us >= heals_us;
        SIM_MUST(sim->now.mono_us < ends_us); /* it comes to rest */
    }
    mr_core_check(sim->core);
    mr_core_stats(sim->core, &stats);
    for (uint32_t i = 0; i < sim->submitted; i++)
        judge_job(sim, &sim->jobs[i]);
    SIM_MUST(stats.payload_bytes == 0 && stats.lanes == 0);
    if (is_loud)
        printf("seed %llu: %u jobs, %llu sent, %llu crashes of workers, %.1f s\n",
            (unsigned long long)seed, sim->submitted, (unsigned long long)sim->jobs_sent,
            (unsigned long long)sim->crashes, (double)(sim->now.wall_us - WALL_US) / 1e6);
    mr_core_destroy(&sim->core);
}

int
main(int argc, char **argv)
{
    struct sim_pipe *pipes = calloc(SIM_ACTORS * 2, sizeof *pipes);
    struct sim_request *requests = calloc(SIM_REQUESTS, sizeof *requests);
    const char *one = getenv("SEED");
    unsigned long seeds = argc > 1 ? strtoul(argv[1], NULL, 10) : 300;

    if (!pipes || !requests) {
        fprintf(stderr, "sim_test: out of memory\n");
        return 1;
    }
    if (one) {
        run(strtoull(one, NULL, 10), pipes, requests, true);
    } else {
        for (unsigned long seed = 1; seed <= seeds; seed++)
            run(seed, pipes, requests, false);
        /* a seed is a check; a failing one has ended the program */
        printf("100%%: Checks: %lu, Failures: 0, Errors: 0\n", seeds);
    }
    free(pipes);
    free(requests);
    return 0;
}
