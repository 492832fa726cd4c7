#include "tests/sim/sim.h"

#define BUSY_PER_MILLE 10
#define IDLE_US (INT64_C(60) * 1000000) /* idle_in_transaction_session_timeout */

/* ---- rows ------------------------------------------------------------------------------------- */

struct mr_stored_job
sim_store_row(const struct sim *sim, uint32_t index, bool with_payload)
{
    const struct sim_job *job = &sim->jobs[index];
    struct mr_stored_job row = {.job = sim_job_new(sim, index, false),
        .submitted_by = sim_owner(sim, index),
        .submitted_at_us = job->submitted_at_us,
        .attempts = job->attempts,
        .failures = job->failures,
        .losses = job->losses,
        .retry_at_us = job->retry_at_us};

    if (!with_payload)
        row.job.payload = MR_SPAN_NONE;
    if (row.job.delay_ms) { /* the broker has made it a time */
        row.job.run_at_us = job->submitted_at_us + row.job.delay_ms * INT64_C(1000);
        row.job.delay_ms = 0;
    }
    return row;
}

/* The primary key: whoever comes second is told what stands. */
static bool
finish(struct sim *sim, uint32_t index, enum mr_outcome outcome, uint32_t attempt,
    struct mr_uuid finisher)
{
    struct sim_job *job = &sim->jobs[index];

    SIM_MUST(job->is_stored);
    if (job->is_finished)
        return false;
    sim_log(sim, "finished", index, outcome, attempt);
    job->is_finished = true;
    job->outcome = outcome;
    job->result_attempt = attempt;
    job->finisher = finisher;
    return true;
}

/* ---- the broker's rows --------------------------------------------------------------------------- */

static struct mr_span
body_of(const struct sim *sim, const struct sim_job *job)
{
    return job->is_finished && job->outcome == MR_SUCCEEDED
               ? sim_job_result((uint32_t)(job - sim->jobs))
               : MR_SPAN_NONE;
}

static void
fill_found(const struct sim *sim, const struct sim_job *job, struct mr_store_op *op)
{
    op->status = MR_FINISHED;
    op->found_body = body_of(sim, job);
    op->found_outcome = job->outcome;
    op->found_attempt = job->result_attempt;
}

static void
store_job(struct sim *sim, struct sim_request *request)
{
    struct sim_job *job = &sim->jobs[request->job];

    if (job->is_stored && request->is_forged) {
        request->op.status = MR_CONFLICT;
        sim_count(sim, SIM_N_CONFLICTS);
    } else if (job->is_finished) {
        fill_found(sim, job, &request->op);
    } else if (job->is_stored) {
        request->op.status = MR_KNOWN;
    } else {
        SIM_MUST(!request->is_forged);
        job->is_stored = true;
        job->submitted_at_us = request->op.submitted_at_us;
    }
}

/* A lost worker's transactions were ended before this: one that is only frozen would hold its
 * locks, and the next attempt would wait for them. */
static void
judge_sessions(const struct sim *sim, const struct sim_request *request)
{
    for (uint32_t i = 0; i < SIM_TXS_MAX; i++) {
        const struct sim_tx *tx = &sim->store.txs[i];

        if (tx->is_used && !tx->is_ended && tx->job == request->job &&
            mr_uuid_eq(tx->instance, request->lost))
            SIM_MUST(tx->opened_us > request->lost_us);
    }
}

static void
store_attempt(struct sim *sim, struct sim_request *request)
{
    struct sim_job *job = &sim->jobs[request->job];
    const struct mr_store_op *op = &request->op;
    uint64_t bit = op->attempt < 64 ? UINT64_C(1) << op->attempt : 0;
    enum mr_attempt_outcome outcome = op->attempt_outcome;

    SIM_MUST(job->is_stored && op->attempt > 0);
    if (request->lost_us)
        judge_sessions(sim, request);
    if (job->recorded & bit)
        return; /* by an earlier try, or an earlier broker's */
    job->recorded |= bit;
    if (op->attempt >= job->attempts) {
        job->attempts = op->attempt;
        job->retry_at_us = op->retry_at_us;
    }
    job->losses +=
        (outcome == MR_ATTEMPT_LOST && op->started_at_us != 0) ||
        outcome == MR_ATTEMPT_CRASHED; /* what was only queued is not to blame */
    job->failures += outcome == MR_ATTEMPT_FAILED || outcome == MR_ATTEMPT_TIMED_OUT;
}

static void
store_result(struct sim *sim, struct sim_request *request)
{
    struct sim_job *job = &sim->jobs[request->job];

    if (!finish(sim, request->job, request->op.outcome, request->op.attempt,
            (struct mr_uuid){{0}}))
        fill_found(sim, job, &request->op);
}

/* Somebody else's transaction holds what this row needs; it does not wait for ever. */
static bool
is_busy(struct sim *sim, const struct sim_request *request)
{
    if (request->op.type == MR_STORE_ATTEMPT || !sim_fault(sim, BUSY_PER_MILLE))
        return false;
    sim_count(sim, SIM_N_BUSY_ROWS);
    return true;
}

static void
end_sessions(struct sim *sim, struct mr_uuid instance)
{
    struct sim_store *store = &sim->store;

    for (uint32_t i = 0; i < SIM_TXS_MAX; i++) {
        if (!store->txs[i].is_used || store->txs[i].is_ended ||
            !mr_uuid_eq(store->txs[i].instance, instance))
            continue;
        sim_log(sim, "ended", store->txs[i].job, store->txs[i].attempt, 0);
        sim_count(sim, SIM_N_SESSIONS_ENDED);
        sim_tx_end(sim, i);
    }
    for (uint32_t i = 0; i < SIM_COMMITS_MAX; i++) {
        struct sim_commit *commit = &store->commits[i];

        if (commit->is_used && !commit->is_applied &&
            mr_uuid_eq(commit->instance, instance))
            commit->applies = commit->answers = false;
    }
}

static void
commit_rows(struct sim *sim, struct sim_task *task)
{
    static void (*const writers[])(struct sim *, struct sim_request *) = {
        [MR_STORE_JOB] = store_job,
        [MR_STORE_ATTEMPT] = store_attempt,
        [MR_STORE_RESULT] = store_result,
    };

    for (uint32_t i = 0; i < task->ended_count; i++)
        end_sessions(sim, task->ended[i]);
    for (uint32_t i = 0; i < task->n; i++) {
        struct sim_request *request = &task->requests[i];

        request->op.status = MR_OK;
        if (is_busy(sim, request))
            request->op.status = MR_BUSY;
        else
            writers[request->op.type](sim, request);
    }
}

/* ---- the broker's questions ------------------------------------------------------------------------ */

static void
find(struct sim *sim, struct sim_task *task)
{
    for (uint32_t i = 0; i < task->n; i++) {
        struct sim_request *request = &task->requests[i];
        const struct sim_job *job = &sim->jobs[request->job];

        request->found = (struct mr_found){.id = job->id,
            .exists = job->is_stored,
            .is_finished = job->is_finished,
            .submitted_by = sim_owner(sim, request->job),
            .outcome = job->outcome,
            .body = body_of(sim, job),
            .attempt = job->result_attempt};
    }
}

static void
read_back(struct sim *sim, struct sim_task *task)
{
    for (uint32_t i = 0; i < task->n; i++) {
        struct sim_request *request = &task->requests[i];
        const struct sim_job *job = &sim->jobs[request->job];

        request->is_there = job->is_stored && !job->is_finished;
        request->row = sim_store_row(sim, request->job, true);
    }
}

/* Room for one more row of a task that the store fills. */
static struct sim_request *
row_of(struct sim_task *task, uint32_t job)
{
    if (task->n == task->cap) {
        task->cap = task->cap ? 2 * task->cap : 16;
        task->requests = realloc(task->requests, task->cap * sizeof *task->requests);
        if (!task->requests)
            abort();
    }
    task->requests[task->n] = (struct sim_request){.job = job};
    return &task->requests[task->n++];
}

static void
load(struct sim *sim, struct sim_task *task)
{
    task->n = 0;
    task->has_more = false;
    for (uint32_t i = task->after; i < sim->submitted; i++) {
        if (!sim->jobs[i].is_stored || sim->jobs[i].is_finished)
            continue;
        if (task->n == sim->rates.page) {
            task->has_more = true;
            return;
        }
        row_of(task, i)->row = sim_store_row(sim, i, false);
        task->last = i + 1;
    }
}

/* What an earlier sweep had moved, without an answer, is handed out all the same. */
static void
sweep(struct sim *sim, struct sim_task *task)
{
    task->n = 0;
    task->has_more = false;
    for (uint32_t i = 0; i < sim->submitted; i++) {
        struct sim_job *job = &sim->jobs[i];

        if (!job->is_inbox && !job->is_doubted_move)
            continue;
        if (task->n == sim->rates.page) {
            task->has_more = true;
            return;
        }
        if (job->is_inbox) {
            sim_log(sim, "swept", i, 0, 0);
            sim_count(sim, SIM_N_SWEPT);
            job->is_stored = job->is_doubted_move = true;
            job->is_inbox = false;
            job->submitted_at_us = sim->now.wall_us;
        }
        row_of(task, i)->row = sim_store_row(sim, i, true);
    }
}

void
sim_store_apply(struct sim *sim, struct sim_task *task)
{
    static void (*const work[])(struct sim *, struct sim_task *) = {
        [SIM_COMMIT_ROWS] = commit_rows,
        [SIM_FIND] = find,
        [SIM_READ] = read_back,
        [SIM_LOAD] = load,
        [SIM_SWEEP] = sweep,
    };

    if (task->epoch != sim->store.epoch) { /* the shard has another owner */
        sim_log(sim, "fenced", task->epoch, sim->store.epoch, task->n);
        sim_count(sim, SIM_N_FENCED);
        task->is_fenced = true;
        return;
    }
    work[task->type](sim, task);
}

/* ---- workers' transactions ------------------------------------------------------------------------- */

uint32_t
sim_tx_open(struct sim *sim, struct mr_uuid instance, uint32_t job, uint32_t attempt)
{
    for (uint32_t i = 0; i < SIM_TXS_MAX; i++) {
        if (sim->store.txs[i].is_used)
            continue;
        sim->store.txs[i] = (struct sim_tx){.is_used = true,
            .instance = instance,
            .job = job,
            .attempt = attempt,
            .follow_up = SIM_NONE,
            .opened_us = sim->now.mono_us};
        return i;
    }
    sim_fail(sim, "there is room for a transaction", __FILE__, __LINE__);
}

bool
sim_tx_is_open(const struct sim *sim, uint32_t tx)
{
    return tx != SIM_NONE && !sim->store.txs[tx].is_ended;
}

/* The row that the handler writes; one that is held is waited for. The server ends transactions
 * that nobody goes on with. */
bool
sim_tx_lock(struct sim *sim, uint32_t tx)
{
    struct sim_job *job = &sim->jobs[sim->store.txs[tx].job];

    if (job->lock_tx && job->lock_tx != tx + 1 &&
        sim->now.mono_us - sim->store.txs[job->lock_tx - 1].opened_us > IDLE_US)
        sim_tx_end(sim, job->lock_tx - 1);
    if (job->lock_tx && job->lock_tx != tx + 1)
        return false;
    job->lock_tx = tx + 1;
    return true;
}

/* Rolled back, or committed. */
void
sim_tx_end(struct sim *sim, uint32_t tx)
{
    struct sim_job *job = &sim->jobs[sim->store.txs[tx].job];

    sim->store.txs[tx].is_ended = true;
    if (job->lock_tx == tx + 1)
        job->lock_tx = 0;
}

/* The process is gone, and with it its connections; a COMMIT that was sent goes on. */
void
sim_store_closed(struct sim *sim, struct mr_uuid instance)
{
    struct sim_store *store = &sim->store;

    for (uint32_t i = 0; i < SIM_TXS_MAX; i++) {
        bool is_committing = false;

        if (!store->txs[i].is_used || !mr_uuid_eq(store->txs[i].instance, instance))
            continue;
        for (uint32_t k = 0; k < SIM_COMMITS_MAX; k++)
            is_committing =
                is_committing || (store->commits[k].is_used && store->commits[k].tx == i);
        if (is_committing)
            continue;
        sim_tx_end(sim, i);
        store->txs[i].is_used = false;
    }
}

/* ---- their commits -------------------------------------------------------------------------------------- */

uint32_t
sim_commit_new(struct sim *sim, struct mr_uuid instance, uint32_t tx)
{
    for (uint32_t i = 0; i < SIM_COMMITS_MAX; i++) {
        if (sim->store.commits[i].is_used)
            continue;
        sim->store.commits[i] = (struct sim_commit){
            .is_used = true, .has_owner = true, .instance = instance, .tx = tx};
        return i;
    }
    sim_fail(sim, "there is room for a commit", __FILE__, __LINE__);
}

void
sim_commit_add(struct sim *sim, uint32_t number, uint32_t job, uint32_t attempt)
{
    struct sim_commit *commit = &sim->store.commits[number];

    SIM_MUST(commit->n < SIM_ROWS_MAX);
    commit->rows[commit->n].job = job;
    commit->rows[commit->n++].attempt = attempt;
}

static void
free_if_over(struct sim *sim, uint32_t number)
{
    struct sim_commit *commit = &sim->store.commits[number];

    if (!commit->is_applied || commit->has_owner)
        return;
    if (commit->tx != SIM_NONE) {
        sim_tx_end(sim, commit->tx);
        sim->store.txs[commit->tx].is_used = false;
    }
    commit->is_used = false;
}

int64_t
sim_commit_send(struct sim *sim, uint32_t number)
{
    struct sim_commit *commit = &sim->store.commits[number];
    bool fails = sim->store.is_down || sim_fault(sim, sim->rates.commit_fails);
    int64_t at_us = sim->now.mono_us + 1 + sim_random_us(sim, sim->rates.commit_us);

    commit->answers = !fails;
    commit->applies = !sim->store.is_down && !(fails && sim_random(sim, 3) == 0);
    sim_at(sim, at_us, SIM_APPLY, number, 0, 0);
    if (fails) /* perhaps before the server is through with it */
        return sim->now.mono_us + 1 + sim_random_us(sim, 2 * sim->rates.commit_us);
    return at_us + 1 + sim_random_us(sim, sim->rates.latency_us);
}

static void
apply_row(struct sim *sim, struct sim_commit *commit, uint32_t i)
{
    uint32_t index = commit->rows[i].job, attempt = commit->rows[i].attempt;
    struct sim_job *job = &sim->jobs[index];

    SIM_MUST(attempt >= 64 || job->sent >> attempt & 1); /* it was really issued */
    if (sim_fault(sim, BUSY_PER_MILLE)) { /* another transaction is in the way */
        commit->rows[i].status = MR_BUSY;
        return;
    }
    if (finish(sim, index, MR_SUCCEEDED, attempt, commit->instance)) {
        commit->rows[i].status = MR_OK;
        job->effects++;
        return;
    }
    sim_count(sim, SIM_N_LATE);
    commit->rows[i].status = MR_FINISHED;
    commit->rows[i].found = job->outcome;
}

static void
commit_tx(struct sim *sim, struct sim_commit *commit)
{
    struct sim_tx *tx = &sim->store.txs[commit->tx];

    if (tx->is_ended) {
        commit->answers = false;
        return;
    }
    apply_row(sim, commit, 0);
    if (commit->rows[0].status == MR_OK && tx->follow_up != SIM_NONE) {
        sim_log(sim, "follow-up", tx->job, tx->follow_up, 0);
        sim->jobs[tx->follow_up].is_inbox = true;
    }
    sim_tx_end(sim, commit->tx);
}

static void
apply_now(struct sim *sim, struct sim_commit *commit)
{
    if (commit->tx != SIM_NONE) {
        commit_tx(sim, commit);
        return;
    }
    for (uint32_t i = 0; i < commit->n; i++)
        apply_row(sim, commit, i);
}

void
sim_commit_apply(struct sim *sim, uint32_t number)
{
    struct sim_commit *commit = &sim->store.commits[number];

    commit->is_applied = true;
    if (commit->applies)
        apply_now(sim, commit);
    else if (commit->tx != SIM_NONE)
        sim_tx_end(sim, commit->tx);
    free_if_over(sim, number);
}

void
sim_commit_free(struct sim *sim, uint32_t number)
{
    sim->store.commits[number].has_owner = false;
    free_if_over(sim, number);
}

/* ---- the server crashes -------------------------------------------------------------------------------- */

void
sim_store_goes_down(struct sim *sim, int64_t us)
{
    struct sim_store *store = &sim->store;

    sim_log(sim, "store goes down", (uint64_t)us, 0, 0);
    sim_count(sim, SIM_N_STORE_OUTAGES);
    for (uint32_t i = 0; i < SIM_COMMITS_MAX; i++) {
        struct sim_commit *commit = &store->commits[i];

        if (!commit->is_used)
            continue;
        if (!commit->is_applied && commit->applies && sim_random(sim, 2))
            apply_now(sim, commit);
        if (!commit->is_applied)
            commit->applies = false;
        commit->answers = false;
    }
    sim_writer_store_fell(sim);
    for (uint32_t i = 0; i < SIM_TXS_MAX; i++)
        if (store->txs[i].is_used)
            sim_tx_end(sim, i);
    store->is_down = true;
    sim_at(sim, sim->now.mono_us + us, SIM_STORE_UP, 0, 0, 0);
}
