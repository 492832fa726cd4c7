#include "tests/sim/sim.h"

#define THREADS 2
#define WINDOW 5
#define BEAT_US 40000
#define TIMEOUT_US 150000

static uint32_t
held(const struct sim_actor *actor)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < SIM_HELD; i++)
        n += actor->runs[i].is_used;
    return n;
}

static void
report(struct sim *sim, uint32_t number, const struct sim_run *run, enum mr_report what,
    enum mr_outcome outcome)
{
    struct sim_message *message = sim_send(sim, number, SIM_DONE, true);

    message->corr = ++sim->actors[number].corr;
    message->items[message->n++] = (struct sim_item){
        .job = run->job, .attempt = run->attempt, .report = what, .outcome = outcome};
    sim_outbox_put(sim, number, message);
}

/* What it does and knows is gone; another process takes its place. */
static void
die(struct sim *sim, uint32_t number)
{
    struct sim_actor *actor = &sim->actors[number];

    sim->crashes++;
    actor->instance++;
    memset(actor->runs, 0, sizeof actor->runs);
    memset(actor->outbox, 0, sizeof actor->outbox);
    sim_lose_connection(sim, number, sim_random(sim, 2));
}

/* ---- runs ------------------------------------------------------------------------------------------ */

static void
succeed(struct sim *sim, uint32_t number, const struct sim_run *run)
{
    if (sim_store_finish(sim, run->job, MR_SUCCEEDED, run->attempt))
        report(sim, number, run, MR_DID_SUCCEED, MR_SUCCEEDED);
    else
        report(sim, number, run, MR_WAS_FINISHED, sim->jobs[run->job].outcome);
}

static void
end_run(struct sim *sim, uint32_t number, struct sim_run *run)
{
    struct sim_run mine = *run;
    struct sim_job *job = &sim->jobs[run->job];

    *run = (struct sim_run){0};
    job->tries++;
    if (job->way == SIM_FAILS_ALWAYS || (job->way == SIM_FAILS_ONCE && job->tries == 1))
        report(sim, number, &mine, MR_DID_FAIL, 0);
    else if (job->way == SIM_FAILS_FOR_GOOD)
        report(sim, number, &mine, MR_DID_FAIL_FOR_GOOD, 0);
    else if (job->way == SIM_SNOOZES_ONCE && job->tries == 1)
        report(sim, number, &mine, MR_DID_SNOOZE, 0);
    else if (job->way == SIM_KILLS_ITS_WORKER && !sim->is_healing && sim_random(sim, 2))
        die(sim, number);
    else if (sim_fault(sim, 30))
        report(sim, number, &mine, MR_DID_GIVE_BACK, 0);
    else
        succeed(sim, number, &mine);
    if (sim_fault(sim, 10))
        die(sim, number); /* its commit stands, its report may be lost */
}

static void
stop_run(struct sim *sim, uint32_t number, struct sim_run *run)
{
    struct sim_run mine = *run;

    *run = (struct sim_run){0};
    if (mine.why == MR_WHY_CANCELLED)
        report(sim, number, &mine, mine.ends_us ? MR_DID_CANCEL : MR_DID_GIVE_BACK, 0);
}

static void
step_runs(struct sim *sim, uint32_t number)
{
    struct sim_actor *actor = &sim->actors[number];
    uint32_t running = 0;

    for (uint32_t i = 0; i < SIM_HELD; i++) {
        struct sim_run *run = &actor->runs[i];

        if (run->is_used && run->is_revoked) {
            stop_run(sim, number, run);
        } else if (run->is_used && run->ends_us &&
                   sim->now.mono_us >= run->times_out_us) {
            struct sim_run mine = *run;

            sim->jobs[run->job].tries++;
            *run = (struct sim_run){0};
            report(sim, number, &mine, MR_DID_TIME_OUT, 0);
        } else if (run->is_used && run->ends_us && sim->now.mono_us >= run->ends_us) {
            end_run(sim, number, run);
        }
        running += run->is_used && run->ends_us;
    }
    for (uint32_t i = 0; i < SIM_HELD && running < THREADS; i++) {
        struct sim_run *run = &actor->runs[i];
        bool hangs;

        if (!run->is_used || run->ends_us)
            continue;
        hangs =
            sim->jobs[run->job].way == SIM_HANGS_ONCE && sim->jobs[run->job].tries == 0;
        run->ends_us = sim->now.mono_us + (hangs ? INT64_C(3600000000)
                                                 : 1 + (int64_t)sim_random(sim, 30000));
        run->times_out_us = sim->now.mono_us + TIMEOUT_US;
        running++;
    }
}

/* ---- messages ------------------------------------------------------------------------------------------ */

static void
send_credit(struct sim *sim, uint32_t number)
{
    struct sim_actor *actor = &sim->actors[number];
    uint32_t n = held(actor);
    uint64_t limit = actor->got + (n < WINDOW ? WINDOW - n : 0);

    if (limit <= actor->credit)
        return;
    actor->credit = limit;
    sim_send(sim, number, SIM_CREDIT, true)->corr = limit;
}

static void
send_beat(struct sim *sim, uint32_t number)
{
    struct sim_actor *actor = &sim->actors[number];
    struct sim_message *message = sim_send(sim, number, SIM_BEAT, true);

    for (uint32_t i = 0; i < SIM_HELD; i++) {
        if (actor->runs[i].is_used && message->n < SIM_ITEMS)
            message->items[message->n++] = (struct sim_item){
                .job = actor->runs[i].job, .attempt = actor->runs[i].attempt};
    }
    actor->next_us = sim->now.mono_us + BEAT_US;
}

/* What was reported comes first, so that what is held is what is left. */
void
sim_worker_connected(struct sim *sim, uint32_t number)
{
    struct sim_actor *actor = &sim->actors[number];

    actor->credit = actor->got = 0;
    sim_outbox_step(sim, number, true);
    send_beat(sim, number);
}

void
sim_worker_step(struct sim *sim, uint32_t number)
{
    struct sim_actor *actor = &sim->actors[number];

    if (sim_fault(sim, 1) && sim_random(sim, 3) == 0) {
        die(sim, number);
        return;
    }
    step_runs(sim, number);
    if (!actor->is_connected)
        return;
    sim_outbox_step(sim, number, false);
    send_credit(sim, number);
    if (sim->now.mono_us >= actor->next_us)
        send_beat(sim, number);
}

static void
on_job(struct sim *sim, const struct sim_message *message)
{
    struct sim_actor *actor = &sim->actors[message->actor];
    uint32_t i = 0;

    SIM_MUST(++actor->got <= actor->credit);
    while (i < SIM_HELD && actor->runs[i].is_used)
        i++;
    SIM_MUST(i < SIM_HELD);
    actor->runs[i] = (struct sim_run){.is_used = true,
        .job = message->items[0].job,
        .attempt = message->items[0].attempt};
}

static void
on_revoke(struct sim *sim, const struct sim_message *message)
{
    struct sim_actor *actor = &sim->actors[message->actor];
    const struct sim_item *item = &message->items[0];

    for (uint32_t i = 0; i < SIM_HELD; i++) {
        struct sim_run *run = &actor->runs[i];

        if (!run->is_used || run->job != item->job || run->attempt != item->attempt)
            continue;
        run->is_revoked = true;
        run->why = (enum mr_why)item->code;
    }
}

void
sim_worker_receive(struct sim *sim, const struct sim_message *message)
{
    if (message->type == SIM_JOB)
        on_job(sim, message);
    else if (message->type == SIM_REVOKE)
        on_revoke(sim, message);
    else if (message->type == SIM_ACK)
        sim_outbox_drop(sim, message->actor, message->corr);
    /* An ERROR for a DONE: it is sent again after a while. */
}
