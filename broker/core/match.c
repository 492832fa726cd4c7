#include "broker/core/match.h"

#include "broker/core/job.h"
#include "broker/core/lane.h"
#include "broker/core/roster.h"
#include "broker/core/run.h"
#include "broker/core/say.h"

/* How far ahead payloads of a lane are read back: as many as a batch has, so that reading costs
 * few round trips; asked for again when half of them have been handed out. */
#define READ_AHEAD 2048
/* The first few may take all the room that there is, more may while they take less than this
 * part of it. */
#define READ_FEW 64
#define READ_SHARE 4
/* What a payload is taken to cost before its size is known. */
#define READ_BYTES_UNKNOWN 1024
#define SWEEP_US (INT64_C(1000) * 1000)

struct choice {
    uint32_t lane;
    int64_t rank, ready_us;
};

static void
consider(struct mr_core *core, const struct mr_peer *worker,
    const struct mr_offered *offer, struct choice *best)
{
    const struct mr_kind *kind = &core->kinds[offer->kind];

    for (uint32_t bits = kind->occupied; bits; bits &= bits - 1) {
        uint32_t priority = (uint32_t)__builtin_ctz(bits);
        uint32_t cell = kind->rings[priority];
        const struct mr_job *job;
        int64_t waited_us, rank;
        uint32_t lane;

        if (offer->run == MR_RUN_SOME)
            cell = mr_run_cell(core, worker->principal, offer->kind, cell);
        if (!cell)
            continue;
        lane = core->cells[cell].front;
        job = mr_job_at(core, mr_lane_at(core, lane)->head);
        waited_us = core->now.mono_us - job->ready_us;
        rank = priority + waited_us / (core->conf.age_ms * INT64_C(1000));
        if (best->lane && (rank < best->rank ||
                              (rank == best->rank && job->ready_us >= best->ready_us)))
            continue;
        if (worker->suspects && mr_job_is_suspect(core, job))
            continue;
        *best = (struct choice){lane, rank, job->ready_us};
    }
}

static uint32_t
choose_lane(struct mr_core *core, const struct mr_peer *worker)
{
    struct choice best = {0};

    for (uint32_t i = 0; i < worker->offer_count; i++) {
        const struct mr_offered *offer = &worker->offers[i];

        if (offer->run == MR_RUN_NONE ||
            (offer->running_max && offer->running >= offer->running_max))
            continue;
        consider(core, worker, offer, &best);
    }
    return best.lane;
}

/* Ask for what is not in memory among the next of the lane, within what the pool can take. How
 * many were asked for. */
static uint32_t
read_ahead(struct mr_core *core, struct mr_lane *lane)
{
    uint64_t share = (core->pool.bytes_max - core->conf.payload_bytes_max) / READ_SHARE;
    uint32_t slot = lane->head;
    uint64_t bytes = 0;
    uint32_t asked = 0;

    for (uint32_t n = 0; slot && n < READ_AHEAD && (n < READ_FEW || bytes < share); n++) {
        struct mr_job *job = mr_job_at(core, slot);
        uint64_t cost = mr_pool_cost(job->payload_bytes
                                         ? (size_t)job->payload_bytes + MR_TRACE_BYTES_MAX
                                         : READ_BYTES_UNKNOWN);

        bytes += cost;
        if (job->flags & MR_JOB_ABSENT && !(job->flags & MR_JOB_READING)) {
            if (core->pool.bytes + core->reading_bytes + cost > core->pool.bytes_max)
                break;
            job->flags |= MR_JOB_READING;
            mr_extra_make(core, job)->reading_bytes = (uint32_t)cost;
            core->reading_bytes += cost;
            mr_say_read_payload(core, job->id);
            asked++;
        }
        slot = job->next;
    }
    lane->ask_in = asked / 2;
    return asked;
}

/* The head's payload is in the database. The lane stands aside until the head is there. */
static void
read_back(struct mr_core *core, uint32_t lane_slot)
{
    if (read_ahead(core, mr_lane_at(core, lane_slot)))
        mr_lane_refresh(core, lane_slot);
    else
        mr_lane_starve(core, lane_slot);
}

/* A job of the lane was handed out. In time before those that were read back all are. */
static void
ask_ahead(struct mr_core *core, uint32_t slot)
{
    struct mr_lane *lane = mr_lane_at(core, slot);

    if (lane->ask_in && --lane->ask_in == 0 && read_ahead(core, lane))
        mr_lane_refresh(core, slot);
}

static void
dispatch(struct mr_core *core, uint32_t slot, uint32_t number)
{
    struct mr_job *job = mr_job_at(core, slot);
    struct mr_peer *worker = &core->peers[number];
    struct mr_job_sent sent;
    uint32_t lane = job->lane;
    uint32_t cell = mr_lane_at(core, lane)->cell;

    job->attempt++;
    mr_job_set_peer(job, number);
    mr_job_move(core, slot, MR_JOB_SENT);
    mr_lane_served(core, lane, cell);
    ask_ahead(core, lane);
    worker->sent++;
    core->stats.dispatched++;
    sent = (struct mr_job_sent){.id = job->id,
        .attempt = job->attempt,
        .kind = mr_names_text(&core->kind_names, job->kind),
        .payload = mr_job_payload(job),
        .queue = mr_names_text(&core->queue_names, job->queue),
        .trace = mr_job_trace(job),
        .timeout_ms = mr_job_timeout_ms(core, slot),
        .submitted_at_us = job->submitted_at_us};
    core->act(core->context,
        &(struct mr_action){
            .act = MR_ACT_JOB, .peer = number, .id = job->id, .job = &sent});
    if (job->flags & MR_JOB_FETCHED && core->pool.bytes > core->conf.payload_bytes_max)
        mr_job_drop_payload(core, slot);
}

/* One job for this worker, if there is one for it. */
static bool
serve(struct mr_core *core, uint32_t number, bool only_idle)
{
    struct mr_peer *worker = &core->peers[number];
    uint32_t lane;

    if (worker->is_draining || worker->sent >= worker->credit ||
        (only_idle && worker->held >= worker->threads))
        return false;
    while ((lane = choose_lane(core, worker)) != 0) {
        uint32_t slot = mr_lane_at(core, lane)->head;
        const struct mr_job *job = mr_job_at(core, slot);

        if (job->flags & MR_JOB_AT_ONCE && worker->held >= worker->threads)
            return false;
        if (mr_job_is_expired(core, job)) {
            mr_job_route(core, slot); /* its timer is about to fire */
        } else if (job->flags & MR_JOB_ABSENT) {
            read_back(core, lane);
        } else {
            dispatch(core, slot, number);
            return true;
        }
    }
    return false;
}

static void
pass(struct mr_core *core, bool only_idle)
{
    uint32_t idle_turns = 0;

    while (core->linked_cells && idle_turns < core->workers) {
        uint32_t number = core->turn;

        core->turn = core->peers[number].next;
        idle_turns = serve(core, number, only_idle) ? 0 : idle_turns + 1;
    }
}

/* Payloads that were read back above the budget for jobs that then did not run (their worker
 * went away) keep others from being read. At most once a second, such are dropped again. */
static void
drop_fetched(struct mr_core *core)
{
    if (core->now.mono_us < core->sweep_fetched_us)
        return;
    core->sweep_fetched_us = core->now.mono_us + SWEEP_US;
    for (uint32_t slot = 1; slot <= core->jobs.fresh; slot++) {
        if (mr_job_at(core, slot)->flags & MR_JOB_FETCHED &&
            mr_job_at(core, slot)->state != MR_JOB_FREE)
            mr_job_drop_payload(core, slot);
    }
}

void
mr_match_run(struct mr_core *core)
{
    if (core->is_loading || core->is_draining || !core->is_store_up || !core->workers)
        return;
    if (core->starved && core->reading_bytes == 0)
        drop_fetched(core);
    mr_lane_feed(core);
    pass(core, true);
    pass(core, false);
}
