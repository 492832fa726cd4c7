#include "broker/core/look.h"

#include "broker/core/job.h"
#include "broker/core/roster.h"

void
mr_look_stats(const struct mr_core *core, struct mr_core_stats *out)
{
    *out = core->stats;
    out->jobs = core->jobs.used;
    out->storing = core->by_state[MR_JOB_STORING];
    out->waiting = core->by_state[MR_JOB_WAITING];
    out->ready = core->by_state[MR_JOB_READY];
    out->sent = core->by_state[MR_JOB_SENT];
    out->settling = core->by_state[MR_JOB_SETTLING];
    out->recovered = core->by_state[MR_JOB_RECOVERED];
    out->checking = core->by_state[MR_JOB_CHECKING];
    out->payload_bytes = core->pool.bytes;
    out->loading = core->is_partial;
    out->workers = core->workers;
    out->clients = core->clients;
    out->watches = core->watchers.used;
    out->lanes = core->lanes.used;
}

uint64_t
mr_core_stale(const struct mr_core *core)
{
    return core->stats.stale;
}

bool
mr_look_next_queue(
    const struct mr_core *core, uint32_t *cursor, struct mr_core_queue_info *out)
{
    while (*cursor < core->queue_names.fresh) {
        uint16_t number = (uint16_t)++ * cursor;
        const struct mr_queue *queue = &core->queues[number];

        if (!core->queue_names.names[number].bytes)
            continue;
        *out =
            (struct mr_core_queue_info){.name = mr_names_text(&core->queue_names, number),
                .is_paused = queue->is_paused,
                .waiting = queue->waiting,
                .ready = queue->ready,
                .sent = queue->sent,
                .finished = queue->finished};
        return true;
    }
    return false;
}

bool
mr_look_next_worker(
    const struct mr_core *core, uint32_t *cursor, struct mr_core_worker_info *out)
{
    while (*cursor < core->peers_max) {
        uint32_t number = (*cursor)++;
        const struct mr_peer *peer = mr_roster_find(core, number, MR_ROLE_WORKER);
        uint64_t credit;

        if (!peer)
            continue;
        credit = peer->credit > peer->sent ? peer->credit - peer->sent : 0;
        *out = (struct mr_core_worker_info){.peer = number,
            .name = mr_roster_name(core, number),
            .instance = peer->instance,
            .threads = peer->threads,
            .sent = peer->held,
            .credit = credit > UINT32_MAX ? UINT32_MAX : (uint32_t)credit,
            .kinds = peer->offer_count,
            .heard_us = peer->heard_us,
            .is_draining = peer->is_draining};
        return true;
    }
    return false;
}

bool
mr_look_next_kind(
    const struct mr_core *core, uint32_t *cursor, struct mr_core_kind_info *out)
{
    while (*cursor < core->kind_names.fresh) {
        uint16_t number = (uint16_t)++ * cursor;
        const struct mr_kind *kind = &core->kinds[number];

        if (!core->kind_names.names[number].bytes)
            continue;
        *out =
            (struct mr_core_kind_info){.name = mr_names_text(&core->kind_names, number),
                .workers = kind->workers,
                .ready = kind->ready,
                .sent = kind->sent};
        return true;
    }
    return false;
}

enum mr_status
mr_look_job(const struct mr_core *core, struct mr_uuid id, struct mr_core_job_info *out)
{
    static const char *const names[MR_JOB_STATES] = {
        [MR_JOB_FREE] = "unknown",
        [MR_JOB_STORING] = "storing",
        [MR_JOB_WAITING] = "waiting",
        [MR_JOB_READY] = "ready",
        [MR_JOB_SENT] = "running",
        [MR_JOB_SETTLING] = "settling",
        [MR_JOB_RECOVERED] = "recovered",
        [MR_JOB_CHECKING] = "checking",
    };
    uint32_t slot = mr_ids_find(&core->job_ids, &id);
    const struct mr_job *job;

    if (!slot)
        return MR_NO_JOB;
    job = mr_job_at(core, slot);
    *out = (struct mr_core_job_info){.state = names[job->state],
        .attempt = job->attempt,
        .permille = mr_extra_of(core, job)->permille,
        .progress = mr_job_note(core, job)};
    if (job->peer != MR_NO_PEER)
        out->worker = mr_roster_name(core, job->peer);
    return MR_OK;
}
