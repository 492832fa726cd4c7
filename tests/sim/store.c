#include "tests/sim/sim.h"

#define BATCH_MAX 20

bool
sim_store_finish(
    struct sim *sim, uint32_t index, enum mr_outcome outcome, uint32_t attempt)
{
    struct sim_job *job = &sim->jobs[index];

    SIM_MUST(job->is_stored);
    if (job->is_finished)
        return false;
    job->is_finished = true;
    job->outcome = outcome;
    job->result_attempt = attempt;
    job->results++;
    return true;
}

struct mr_stored_job
sim_store_row(const struct sim *sim, uint32_t index, bool with_payload)
{
    const struct sim_job *job = &sim->jobs[index];
    struct mr_stored_job row = {.job = sim_job_new(sim, index, false),
        .submitted_by = mr_span_str("client"),
        .submitted_at_us = job->submitted_at_us,
        .attempts = job->attempts,
        .failures = job->failures,
        .losses = job->losses,
        .retry_at_us = job->retry_at_us};

    if (!with_payload)
        row.job.payload = MR_SPAN_NONE;
    return row;
}

void
sim_store_request(struct sim *sim, const struct sim_request *request)
{
    uint32_t at = (sim->first_request + sim->request_count++) % SIM_REQUESTS;

    SIM_MUST(sim->request_count < SIM_REQUESTS);
    sim->requests[at] = *request;
}

void
sim_store_forget(struct sim *sim)
{
    sim->first_request = sim->request_count = sim->batch = 0;
    sim->is_store_down = sim->is_applied = false;
}

/* ---- one row ------------------------------------------------------------------------------------ */

static void
fill_found(const struct sim_job *job, struct mr_store_op *op)
{
    op->status = MR_FINISHED;
    op->found_outcome = job->outcome;
    op->found_attempt = job->result_attempt;
}

static void
store_job(struct sim *sim, struct sim_request *request)
{
    struct sim_job *job = &sim->jobs[request->job];

    request->op.status = MR_OK;
    if (job->is_stored && request->is_forged) {
        request->op.status = MR_CONFLICT;
    } else if (job->is_finished) {
        fill_found(job, &request->op);
    } else if (job->is_stored) {
        request->op.status = MR_KNOWN;
    } else {
        SIM_MUST(!request->is_forged);
        job->is_stored = true;
        job->submitted_at_us = request->op.submitted_at_us;
    }
}

static void
store_attempt(struct sim *sim, struct sim_request *request)
{
    struct sim_job *job = &sim->jobs[request->job];
    uint32_t attempt = request->op.attempt;
    uint64_t bit = attempt < 64 ? UINT64_C(1) << attempt : 0;

    SIM_MUST(job->is_stored && attempt > 0);
    request->op.status = MR_OK;
    if (job->recorded & bit)
        return;
    job->recorded |= bit;
    if (attempt > job->attempts)
        job->attempts = attempt;
    job->retry_at_us = request->op.retry_at_us;
    job->losses +=
        request->op.attempt_outcome == MR_ATTEMPT_LOST && request->op.started_at_us != 0;
    job->failures += request->op.attempt_outcome == MR_ATTEMPT_FAILED ||
                     request->op.attempt_outcome == MR_ATTEMPT_TIMED_OUT;
}

static void
store_result(struct sim *sim, struct sim_request *request)
{
    if (sim_store_finish(sim, request->job, request->op.outcome, request->op.attempt))
        request->op.status = MR_OK;
    else
        fill_found(&sim->jobs[request->job], &request->op);
}

/* ---- the writer's connection: one batch or question at a time -------------------------------- */

static struct sim_request *
request_at(struct sim *sim, uint32_t n)
{
    return &sim->requests[(sim->first_request + n) % SIM_REQUESTS];
}

static void
drop_requests(struct sim *sim, uint32_t n)
{
    sim->first_request = (sim->first_request + n) % SIM_REQUESTS;
    sim->request_count -= n;
}

static void
apply(struct sim *sim)
{
    static void (*const writers[])(struct sim *, struct sim_request *) = {
        [MR_STORE_JOB] = store_job,
        [MR_STORE_ATTEMPT] = store_attempt,
        [MR_STORE_RESULT] = store_result,
    };

    for (uint32_t i = 0; i < sim->batch; i++)
        writers[request_at(sim, i)->op.type](sim, request_at(sim, i));
}

static void
answer(struct sim *sim)
{
    uint32_t n = sim->batch;

    sim->batch = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct sim_request request = *request_at(sim, 0);

        drop_requests(sim, 1);
        mr_core_stored(sim->core, sim->now, &request.op);
    }
}

static void
answer_question(struct sim *sim, const struct sim_request *request)
{
    const struct sim_job *job = &sim->jobs[request->job];
    struct mr_found found = {.id = job->id,
        .exists = job->is_stored,
        .is_finished = job->is_finished,
        .outcome = job->outcome,
        .attempt = job->result_attempt};
    struct mr_stored_job row = sim_store_row(sim, request->job, true);

    if (request->type == SIM_FIND)
        mr_core_found(sim->core, sim->now, &found);
    else if (request->type == SIM_READ)
        mr_core_read_back(sim->core, sim->now, job->id,
            job->is_stored && !job->is_finished ? &row : NULL);
}

static void
take_batch(struct sim *sim)
{
    while (sim->batch < sim->request_count && sim->batch < BATCH_MAX &&
           request_at(sim, sim->batch)->type == SIM_STORE)
        sim->batch++;
    sim->store_answers_us = sim->now.mono_us + (int64_t)sim_random(sim, 4000);
    /* The commit may have happened some time before it is known, or not. */
    sim->is_applied = sim->batch && sim_random(sim, 2);
    if (sim->is_applied)
        apply(sim);
}

static void
commit_or_fail(struct sim *sim)
{
    if (sim_fault(
            sim, 60)) { /* the connection breaks; nobody knows whether it was in time */
        sim->is_store_down = true;
        sim->store_answers_us = sim->now.mono_us + (int64_t)sim_random(sim, 100000);
        mr_core_store_is_up(sim->core, sim->now, false);
        return;
    }
    if (sim->is_store_down) {
        sim->is_store_down = false;
        mr_core_store_is_up(sim->core, sim->now, true);
        sim->is_applied = false;
    }
    if (!sim->is_applied)
        apply(sim); /* again, perhaps */
    answer(sim);
}

void
sim_store_step(struct sim *sim)
{
    if (sim->batch == 0 && sim->request_count == 0)
        return;
    if (sim->batch == 0 && request_at(sim, 0)->type == SIM_STORE) {
        take_batch(sim);
    } else if (sim->batch == 0) {
        struct sim_request request = *request_at(sim, 0);

        drop_requests(sim, 1);
        answer_question(sim, &request);
    } else if (sim->now.mono_us >= sim->store_answers_us) {
        commit_or_fail(sim);
    }
}
