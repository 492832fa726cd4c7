#include "tests/sim/sim.h"

#define AWAIT_US 60000 /* before it tries again */

static void
wake_up(struct sim *sim, struct sim_worker *worker, int64_t at_us)
{
    worker->committer.stamp = ++sim->stamps;
    sim_at(sim, at_us, SIM_COMMITTER, worker->number, 0, worker->committer.stamp);
}

static void
kick(struct sim *sim, struct sim_worker *worker)
{
    if (worker->committer.commit == SIM_NONE &&
        (!worker->committer.is_paused || worker->committer.is_hurried))
        wake_up(sim, worker, sim->now.mono_us + 1);
}

void
sim_committer_take(struct sim *sim, struct sim_worker *worker, struct mr_attempt *attempt)
{
    struct sim_committer *committer = &worker->committer;

    attempt->store_next = NULL;
    *(committer->first ? &committer->last->store_next : &committer->first) = attempt;
    committer->last = attempt;
    kick(sim, worker);
}

void
sim_committer_hurry(struct sim *sim, struct sim_worker *worker)
{
    worker->committer.is_hurried = true;
    kick(sim, worker);
}

/* ---- a batch --------------------------------------------------------------------------------- */

static void
fill_batch(struct sim_committer *committer)
{
    while (committer->first && committer->count < SIM_ROWS_MAX) {
        committer->batch[committer->count++] = committer->first;
        committer->first = committer->first->store_next;
    }
}

static void
send_batch(struct sim *sim, struct sim_worker *worker)
{
    struct sim_committer *committer = &worker->committer;

    fill_batch(committer);
    if (!committer->count)
        return;
    committer->commit = sim_commit_new(sim, worker->instance, SIM_NONE);
    for (uint32_t i = 0; i < committer->count; i++)
        sim_commit_add(sim, committer->commit, sim_index(committer->batch[i]->id),
            committer->batch[i]->number);
    wake_up(sim, worker, sim_commit_send(sim, committer->commit));
}

/* A row that met another one under way is kept for the next batch. */
static void
give_stored(struct sim *sim, struct sim_worker *worker, const struct sim_commit *commit)
{
    struct sim_committer *committer = &worker->committer;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < commit->n; i++) {
        struct mr_attempt *attempt = committer->batch[i];

        if (commit->rows[i].status == MR_BUSY) {
            committer->batch[kept++] = attempt;
            continue;
        }
        attempt->finish.status = commit->rows[i].status;
        sim_run_found(attempt, commit->rows[i].found);
        mr_attempt_report_stored(attempt);
        sim_worker_give(sim, worker, (struct sim_note){.attempt = attempt});
    }
    committer->count = kept;
}

static void
give_all(struct sim *sim, struct sim_worker *worker)
{
    struct sim_committer *committer = &worker->committer;

    for (uint32_t i = 0; i < committer->count; i++) {
        mr_attempt_report(
            committer->batch[i], MR_DID_GIVE_BACK, mr_span_str("it could not be stored"));
        sim_worker_give(sim, worker, (struct sim_note){.attempt = committer->batch[i]});
    }
    committer->count = 0;
}

static void
take_batch(struct sim *sim, struct sim_worker *worker)
{
    struct sim_committer *committer = &worker->committer;
    struct sim_commit *commit = &sim->store.commits[committer->commit];

    if (commit->answers) {
        SIM_MUST(commit->is_applied);
        give_stored(sim, worker, commit);
    } else {
        sim_count(sim, SIM_N_IN_DOUBT);
        if (committer->is_hurried)
            give_all(sim, worker);
    }
    sim_commit_free(sim, committer->commit);
    committer->commit = SIM_NONE;
}

/* Its batch is answered, or it has something to do. What could not be stored is tried again
 * after a while. */
void
sim_committer_step(struct sim *sim, uint32_t number, uint64_t stamp)
{
    struct sim_worker *worker = &sim->workers[number];
    struct sim_committer *committer = &worker->committer;

    if (!worker->session || committer->stamp != stamp)
        return;
    committer->is_paused = false;
    if (committer->commit != SIM_NONE) {
        take_batch(sim, worker);
        committer->is_paused = committer->count > 0;
    }
    if (committer->is_paused)
        wake_up(sim, worker, sim->now.mono_us + 1 + sim_random_us(sim, AWAIT_US));
    else
        send_batch(sim, worker);
}

void
sim_committer_destroy(struct sim *sim, struct sim_worker *worker)
{
    struct sim_committer *committer = &worker->committer;

    for (uint32_t i = 0; i < committer->count; i++)
        mr_attempt_destroy(&committer->batch[i]);
    while (committer->first) {
        struct mr_attempt *attempt = committer->first;

        committer->first = attempt->store_next;
        mr_attempt_destroy(&attempt);
    }
    if (committer->commit != SIM_NONE)
        sim_commit_free(sim, committer->commit);
    committer->count = 0;
    committer->commit = SIM_NONE;
}
