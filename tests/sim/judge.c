#include "tests/sim/sim.h"

static void
judge_job(const struct sim *sim, const struct sim_job *job)
{
    uint32_t attempts_max = job->attempts_max;
    uint32_t kind_max = sim->kinds[job->kind].attempts_max;

    SIM_MUST(!job->is_acked || job->is_stored);
    SIM_MUST(!job->is_stored || job->is_finished);
    SIM_MUST(!job->is_inbox);
    SIM_MUST(job->effects == (job->is_finished && job->outcome == MR_SUCCEEDED));
    if (!job->is_finished)
        return;
    if (job->client != SIM_NONE)
        SIM_MUST(!job->is_acked || (job->has_heard && job->heard == job->outcome));
    SIM_MUST(job->outcome != MR_OUT_CANCELLED || job->has_cancelled);
    SIM_MUST(job->outcome != MR_OUT_EXPIRED || job->expires_at_us);
    SIM_MUST(
        !job->is_refused || job->outcome == MR_OUT_EXPIRED || sim->rates.has_clock_steps);
    SIM_MUST(
        job->outcome != MR_SUCCEEDED ||
        (job->handled && job->way != SIM_FAILS_ALWAYS && job->way != SIM_FAILS_FOR_GOOD));
    SIM_MUST(job->outcome != MR_FAILED || job->failures || job->losses);
    if (attempts_max == 0)
        attempts_max = kind_max > sim->broker.conf.attempts_max
                           ? kind_max
                           : sim->broker.conf.attempts_max;
    SIM_MUST(job->failures <= attempts_max);
    SIM_MUST(job->losses <= sim->broker.conf.losses_max);
}

/* A job that was put into the inbox by a transaction is there if, and only if, that committed. */
static void
judge_follow_up(const struct sim *sim, const struct sim_job *job)
{
    if (job->follow_up == SIM_NONE)
        return;
    SIM_MUST(sim->jobs[job->follow_up].is_stored ==
             (job->is_finished && job->outcome == MR_SUCCEEDED));
}

static void
take_counts(struct sim *sim)
{
    static const enum sim_count of[] = {[MR_SUCCEEDED] = SIM_N_SUCCEEDED,
        [MR_FAILED] = SIM_N_FAILED,
        [MR_OUT_CANCELLED] = SIM_N_CANCELLED,
        [MR_OUT_EXPIRED] = SIM_N_EXPIRED};

    for (uint32_t i = 0; i < sim->submitted; i++)
        if (sim->jobs[i].is_finished)
            sim_count(sim, of[sim->jobs[i].outcome]);
}

void
sim_judge_end(struct sim *sim)
{
    struct mr_core_stats stats;

    mr_core_check(sim->broker.core);
    mr_core_stats(sim->broker.core, &stats);
    for (uint32_t i = 0; i < sim->submitted; i++) {
        judge_job(sim, &sim->jobs[i]);
        judge_follow_up(sim, &sim->jobs[i]);
    }
    SIM_MUST(stats.payload_bytes == 0 && stats.lanes == 0);
    take_counts(sim);
}
