#include "tests/sim/sim.h"

#define TRIES_MAX 5
#define LOCK_US 20000  /* how often a row that is held is asked for again */
#define AWAIT_US 60000 /* likewise the database */
#define LONG_US (INT64_C(20) * 1000000)

/* The worker to which `context` of the session's callback belongs has no way to the world. */
static struct sim *
sim_of(struct sim_worker *worker)
{
    size_t first = offsetof(struct sim, workers);

    return (struct sim *)(void *)((char *)(worker - worker->number) - first);
}

static void
soon(struct sim *sim, const struct sim_worker *worker, const struct sim_run *run,
    int64_t at_us)
{
    sim_at(
        sim, at_us, SIM_RUN, worker->number, (uint32_t)(run - worker->runs), run->stamp);
}

static enum mr_stop
stop_of(const struct sim_run *run)
{
    return (enum mr_stop)atomic_load(&run->attempt->stop);
}

static struct sim_job *
job_of(struct sim *sim, const struct sim_run *run)
{
    return &sim->jobs[sim_index(run->attempt->id)];
}

/* ---- what the session wants ------------------------------------------------------------------- */

/* The next of a batch, or the executor is idle. */
static void
start(struct sim *sim, struct sim_worker *worker, uint32_t seat, struct mr_batch *batch,
    uint32_t item)
{
    struct mr_attempt *attempt;
    struct sim_run *run;
    uint32_t i = 0, kind;

    while (
        item < batch->count && !mr_batch_claim(&batch->items[item], sim->now.mono_us)) {
        sim_count(sim, SIM_N_TAKEN_BACK);
        item++;
    }
    if (item == batch->count) {
        sim_worker_give(sim, worker, (struct sim_note){.seat = seat});
        return;
    }
    attempt = batch->items[item].attempt;
    kind = (uint32_t)(attempt->kind->name[1] - '0');

    while (i < SIM_RUNS_MAX && worker->runs[i].is_used)
        i++;
    SIM_MUST(i < SIM_RUNS_MAX);
    run = &worker->runs[i];
    *run = (struct sim_run){.is_used = true,
        .seat = seat,
        .batch = batch,
        .item = item,
        .tx = SIM_NONE,
        .commit = SIM_NONE,
        .stamp = ++sim->stamps,
        .phase = SIM_RUN_BEGINS,
        .attempt = attempt};
    worker->running[kind]++;
    SIM_MUST(!attempt->kind->running_max ||
             worker->running[kind] <= attempt->kind->running_max);
    sim_log(sim, "starts", worker->number, sim_index(attempt->id), attempt->number);
    if (job_of(sim, run)->taken == attempt->number &&
        mr_uuid_eq(job_of(sim, run)->taker, worker->instance))
        job_of(sim, run)->has_begun = true;
    soon(sim, worker, run, sim->now.mono_us + 1 + sim_random_us(sim, 100));
}

static struct sim_run *
run_of(struct sim *sim, struct sim_worker *worker, const struct mr_attempt *attempt)
{
    for (uint32_t i = 0; i < SIM_RUNS_MAX; i++)
        if (worker->runs[i].is_used && worker->runs[i].attempt == attempt)
            return &worker->runs[i];
    sim_fail(sim, "the attempt is on an executor", __FILE__, __LINE__);
}

/* Its SQL fails, or its handler looks at the flag: it returns soon, if it heeds. */
static void
cancel(struct sim *sim, struct sim_worker *worker, struct sim_run *run)
{
    if (!run->heeds || run->saw_stop ||
        (run->phase != SIM_RUN_HANDLES && run->phase != SIM_RUN_LOCKS))
        return;
    run->saw_stop = true;
    run->phase = SIM_RUN_HANDLES;
    run->stamp = ++sim->stamps;
    soon(sim, worker, run, sim->now.mono_us + 1 + sim_random_us(sim, 2000));
}

void
sim_run_act(void *context, enum mr_session_act act, uint32_t executor,
    struct mr_batch *batch, struct mr_attempt *attempt)
{
    struct sim_worker *worker = context;
    struct sim *sim = sim_of(worker);

    switch (act) {
    case MR_SESSION_START:
        if (batch->count > 1)
            sim_count(sim, SIM_N_BATCHES);
        start(sim, worker, executor, batch, 0);
        break;
    case MR_SESSION_CANCEL:
        cancel(sim, worker, run_of(sim, worker, attempt));
        break;
    case MR_SESSION_REPLACE:
        sim_log(sim, "written off", worker->number, executor, sim_index(attempt->id));
        sim_count(sim, SIM_N_WRITTEN_OFF);
        run_of(sim, worker, attempt)->is_written_off = true;
        worker->running[attempt->kind->name[1] - '0']--;
        break;
    case MR_SESSION_HURRY:
        sim_committer_hurry(sim, worker);
        break;
    }
}

/* ---- the end of a run ---------------------------------------------------------------------------- */

static void
close_tx(struct sim *sim, struct sim_run *run)
{
    if (run->tx == SIM_NONE)
        return;
    sim_tx_end(sim, run->tx);
    sim->store.txs[run->tx].is_used = false;
    run->tx = SIM_NONE;
}

/* The attempt has gone to the session, or to the committer; then the executor is idle. One that
 * was written off is not asked any more. */
static void
end(struct sim *sim, struct sim_worker *worker, struct sim_run *run)
{
    uint32_t kind = (uint32_t)(run->attempt->kind->name[1] - '0');
    bool is_seated = !run->is_written_off;

    close_tx(sim, run);
    run->is_used = false;
    if (!is_seated)
        return;
    worker->running[kind]--;
    start(sim, worker, run->seat, run->batch, run->item + 1);
}

static void
over(struct sim *sim, struct sim_worker *worker, struct sim_run *run)
{
    sim_log(sim, "reports", worker->number, sim_index(run->attempt->id),
        run->attempt->done.report);
    sim_worker_give(sim, worker, (struct sim_note){.attempt = run->attempt});
    end(sim, worker, run);
}

static void
report(
    struct sim *sim, struct sim_worker *worker, struct sim_run *run, enum mr_report what)
{
    run->attempt->rings = false;
    mr_attempt_report(run->attempt, what, mr_span_str("as the seed would have it"));
    over(sim, worker, run);
}

static void
report_stopped(struct sim *sim, struct sim_worker *worker, struct sim_run *run)
{
    enum mr_stop stop = stop_of(run);

    report(sim, worker, run,
        stop == MR_STOP_CANCELLED   ? MR_DID_CANCEL
        : stop == MR_STOP_TIMED_OUT ? MR_DID_TIME_OUT
                                    : MR_DID_GIVE_BACK);
}

/* ---- one call of the handler ------------------------------------------------------------------------ */

static void
again(struct sim *sim, struct sim_worker *worker, struct sim_run *run)
{
    close_tx(sim, run);
    if (run->tries == TRIES_MAX) {
        report(sim, worker, run, MR_DID_FAIL);
        return;
    }
    run->phase = SIM_RUN_AWAITS;
    soon(sim, worker, run, sim->now.mono_us + 1 + sim_random_us(sim, AWAIT_US));
}

/* How long it runs, whether it hears that it has to stop, what it answers. */
static int64_t
plan(struct sim *sim, struct sim_run *run)
{
    static const enum millrace_answer answers[SIM_WAYS] = {
        [SIM_SUCCEEDS] = MILLRACE_SUCCEEDED,
        [SIM_FAILS_ALWAYS] = MILLRACE_FAILED,
        [SIM_FAILS_FOR_GOOD] = MILLRACE_FAILED_FOR_GOOD,
    };
    struct sim_job *job = job_of(sim, run);
    bool is_first = job->handled == 0;
    int64_t us = 1 + sim_random_us(sim, sim->rates.handler_us);

    run->heeds = sim_random(sim, 4) != 0;
    run->answer = answers[job->way] ? answers[job->way] : MILLRACE_SUCCEEDED;
    if (job->way == SIM_FAILS_ONCE && is_first)
        run->answer = MILLRACE_FAILED;
    if (job->way == SIM_SNOOZES && job->handled < 2)
        run->answer = MILLRACE_SNOOZED;
    if (job->way == SIM_HANGS_ONCE && is_first)
        run->heeds = false;
    if (job->way == SIM_SLOW_ONCE && is_first)
        run->heeds = true;
    if ((job->way == SIM_HANGS_ONCE || job->way == SIM_SLOW_ONCE) && is_first)
        us += LONG_US;
    return us;
}

static void
handle(struct sim *sim, struct sim_worker *worker, struct sim_run *run)
{
    struct mr_attempt *attempt = run->attempt;

    run->phase = SIM_RUN_HANDLES;
    if (sim_random(sim, 4) == 0)
        mr_attempt_progress(
            attempt, (uint32_t)sim_random(sim, 1001), mr_span_str("on the way"));
    soon(sim, worker, run, sim->now.mono_us + plan(sim, run));
}

static void
call(struct sim *sim, struct sim_worker *worker, struct sim_run *run)
{
    struct mr_attempt *attempt = run->attempt;
    uint32_t index = sim_index(attempt->id);

    run->tries++;
    run->saw_stop = run->heeds = false;
    if (!attempt->kind->is_transactional) {
        handle(sim, worker, run);
        return;
    }
    if (sim->store.is_down) {
        again(sim, worker, run);
        return;
    }
    run->tx = sim_tx_open(sim, worker->instance, index, attempt->number);
    run->heeds = true; /* while it waits, in SQL */
    run->phase = SIM_RUN_LOCKS;
    soon(sim, worker, run, sim->now.mono_us + 1);
}

static void
wait_for_lock(struct sim *sim, struct sim_worker *worker, struct sim_run *run)
{
    if (!sim_tx_is_open(sim, run->tx))
        again(sim, worker, run);
    else if (sim_tx_lock(sim, run->tx))
        handle(sim, worker, run);
    else
        soon(sim, worker, run, sim->now.mono_us + 1 + sim_random_us(sim, LOCK_US));
}

static void
follow_up(struct sim *sim, struct sim_run *run)
{
    struct sim_job *job = job_of(sim, run);

    if (job->follow_up == SIM_NONE) {
        job->follow_up = sim_job_make(sim, SIM_NONE);
        if (job->follow_up != SIM_NONE)
            sim->jobs[job->follow_up].owner = job->owner;
        if (job->follow_up != SIM_NONE)
            sim_count(sim, SIM_N_FOLLOW_UPS);
    }
    sim->store.txs[run->tx].follow_up = job->follow_up;
    run->attempt->rings = job->follow_up != SIM_NONE;
}

static void
succeed(struct sim *sim, struct sim_worker *worker, struct sim_run *run)
{
    struct mr_attempt *attempt = run->attempt;

    attempt->done.finished_at_us = sim->now.wall_us;
    attempt->finish = (struct mr_finish){.id = attempt->id, .attempt = attempt->number};
    mr_wr_reset(&attempt->body);
    mr_wr_raw(&attempt->body, sim_job_result(sim_index(attempt->id)));
    if (!attempt->kind->is_transactional) {
        attempt->stored_bytes = attempt->body.n;
        sim_committer_take(sim, worker, attempt);
        end(sim, worker, run);
        return;
    }
    if (!sim_tx_is_open(sim, run->tx)) {
        again(sim, worker, run);
        return;
    }
    if (job_of(sim, run)->way == SIM_FOLLOWED)
        follow_up(sim, run);
    run->commit = sim_commit_new(sim, worker->instance, run->tx);
    sim_commit_add(sim, run->commit, sim_index(attempt->id), attempt->number);
    run->tx = SIM_NONE; /* the commit's from now on */
    run->phase = SIM_RUN_COMMITS;
    soon(sim, worker, run, sim_commit_send(sim, run->commit));
}

/* Nobody hears what became of its COMMIT, if it came to that. */
static void
crash(struct sim *sim, struct sim_worker *worker, struct sim_run *run)
{
    const struct mr_attempt *attempt = run->attempt;

    if (sim_tx_is_open(sim, run->tx) && sim_random(sim, 2)) {
        run->commit = sim_commit_new(sim, worker->instance, run->tx);
        sim_commit_add(sim, run->commit, sim_index(attempt->id), attempt->number);
        run->tx = SIM_NONE;
        (void)sim_commit_send(sim, run->commit);
        sim_commit_free(sim, run->commit);
        run->commit = SIM_NONE;
    }
    report(sim, worker, run, MR_DID_CRASH);
}

static void
judge_answer(struct sim *sim, struct sim_worker *worker, struct sim_run *run)
{
    struct sim_job *job = job_of(sim, run);
    struct mr_attempt *attempt = run->attempt;

    atomic_store(&attempt->is_handled, true);
    if (stop_of(run) != MR_STOP_NOT && run->saw_stop) {
        report_stopped(sim, worker, run);
        return;
    }
    job->handled++;
    if (job->way == SIM_KILLS && sim_fault(sim, 500)) {
        sim_worker_crash(sim, worker->number);
        return;
    }
    if (job->way == SIM_CRASHES && sim_fault(sim, 700)) {
        crash(sim, worker, run);
        return;
    }
    if (sim_random(sim, 8) == 0)
        attempt->done.retry_after_ms = (uint32_t)sim_random(sim, 400);
    if (run->answer == MILLRACE_SUCCEEDED)
        succeed(sim, worker, run);
    else
        report(sim, worker, run,
            run->answer == MILLRACE_FAILED    ? MR_DID_FAIL
            : run->answer == MILLRACE_SNOOZED ? MR_DID_SNOOZE
                                              : MR_DID_FAIL_FOR_GOOD);
}

void
sim_run_found(struct mr_attempt *attempt, enum mr_outcome outcome)
{
    attempt->finish.found_outcome = outcome;
    attempt->finish.found_body =
        outcome == MR_SUCCEEDED ? sim_job_result(sim_index(attempt->id)) : MR_SPAN_NONE;
}

/* ---- COMMIT, and when its answer was lost ------------------------------------------------------------- */

static void
committed(struct sim *sim, struct sim_worker *worker, struct sim_run *run,
    enum mr_status status, enum mr_outcome found)
{
    struct mr_attempt *attempt = run->attempt;

    attempt->finish.status = status;
    sim_run_found(attempt, found);
    if (status != MR_OK)
        attempt->rings = false;
    mr_attempt_report_stored(attempt);
    over(sim, worker, run);
}

static void
take_commit(struct sim *sim, struct sim_worker *worker, struct sim_run *run)
{
    struct sim_commit *commit = &sim->store.commits[run->commit];
    bool answers = commit->answers;
    enum mr_status status = commit->rows[0].status;
    enum mr_outcome found = commit->rows[0].found;

    SIM_MUST(!answers || commit->is_applied);
    sim_commit_free(sim, run->commit);
    run->commit = SIM_NONE;
    if (answers && status == MR_BUSY) {
        again(sim, worker, run);
        return;
    }
    if (answers) {
        committed(sim, worker, run, status, found);
        return;
    }
    sim_count(sim, SIM_N_IN_DOUBT);
    run->phase = SIM_RUN_SETTLES;
    soon(sim, worker, run, sim->now.mono_us + 1 + sim_random_us(sim, AWAIT_US));
}

/* Only the row can tell. */
static void
settle(struct sim *sim, struct sim_worker *worker, struct sim_run *run)
{
    const struct sim_job *job = job_of(sim, run);
    enum mr_stop stop = stop_of(run);

    if (stop == MR_STOP_DRAIN || stop == MR_STOP_STALE)
        report(sim, worker, run, MR_DID_GIVE_BACK);
    else if (sim->store.is_down || sim_fault(sim, sim->rates.commit_fails))
        soon(sim, worker, run, sim->now.mono_us + 1 + sim_random_us(sim, AWAIT_US));
    else if (!job->is_finished)
        again(sim, worker, run);
    else if (job->result_attempt == run->attempt->number &&
             mr_uuid_eq(job->finisher, worker->instance))
        committed(sim, worker, run, MR_OK, MR_SUCCEEDED);
    else
        committed(sim, worker, run, MR_FINISHED, job->outcome);
}

static void
await(struct sim *sim, struct sim_worker *worker, struct sim_run *run)
{
    struct mr_attempt *attempt = run->attempt;

    if (stop_of(run) != MR_STOP_NOT) {
        report_stopped(sim, worker, run);
    } else if (sim->now.wall_us - attempt->done.started_at_us >=
               attempt->timeout_ms * INT64_C(1000)) {
        report(sim, worker, run, MR_DID_GIVE_BACK);
    } else if (sim->store.is_down) {
        soon(sim, worker, run, sim->now.mono_us + 1 + sim_random_us(sim, AWAIT_US));
    } else {
        atomic_store(&attempt->is_handled, false);
        call(sim, worker, run);
    }
}

static void
begin(struct sim *sim, struct sim_worker *worker, struct sim_run *run)
{
    run->attempt->done.started_at_us = sim->now.wall_us;
    run->attempt->done.retry_after_ms = 0;
    if (stop_of(run) != MR_STOP_NOT)
        report_stopped(sim, worker, run);
    else
        call(sim, worker, run);
}

void
sim_run_step(struct sim *sim, uint32_t number, uint32_t which, uint64_t stamp)
{
    static void (*const steps[])(struct sim *, struct sim_worker *, struct sim_run *) = {
        [SIM_RUN_BEGINS] = begin,
        [SIM_RUN_LOCKS] = wait_for_lock,
        [SIM_RUN_HANDLES] = judge_answer,
        [SIM_RUN_COMMITS] = take_commit,
        [SIM_RUN_SETTLES] = settle,
        [SIM_RUN_AWAITS] = await,
    };
    struct sim_worker *worker = &sim->workers[number];
    struct sim_run *run = &worker->runs[which];

    if (run->is_used && run->stamp == stamp)
        steps[run->phase](sim, worker, run);
}

/* The process ends: what its threads have in hand is gone. */
void
sim_run_destroy(struct sim *sim, struct sim_worker *worker)
{
    for (uint32_t i = 0; i < SIM_RUNS_MAX; i++) {
        struct sim_run *run = &worker->runs[i];

        if (!run->is_used)
            continue;
        if (run->commit != SIM_NONE)
            sim_commit_free(sim, run->commit);
        mr_attempt_destroy(&run->attempt);
        run->is_used = false;
    }
    sim_committer_destroy(sim, worker);
}
