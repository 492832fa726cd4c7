#include "broker/core/check.h"

#include "broker/core/lane.h"
#include "broker/core/receipt.h"
#include "broker/core/roster.h"

/* What is counted by walking over all jobs, and must agree with what is kept. */
struct totals {
    uint32_t by_state[MR_JOB_STATES];
    uint64_t storing_bytes, reading_bytes, pool_bytes, pool_blocks, payload_bytes;
    uint32_t timers, waiting_slips;
};

/* ---- jobs ------------------------------------------------------------------------------------- */

static void
count_block(struct totals *totals, size_t bytes)
{
    if (bytes == 0)
        return;
    totals->pool_blocks++;
    totals->pool_bytes += mr_pool_cost(bytes);
}

static void
check_flags(const struct mr_core *core, const struct mr_job *job)
{
    const struct mr_extra *extra = mr_extra_of(core, job);

    MR_ASSERT(!(job->flags & MR_JOB_DIGEST) || job->flags & MR_JOB_ABSENT);
    MR_ASSERT(!(job->flags & MR_JOB_FETCHED) || !(job->flags & MR_JOB_ABSENT));
    MR_ASSERT(!(job->flags & MR_JOB_UNCONFIRMED) || job->state == MR_JOB_SENT);
    MR_ASSERT(!(job->flags & MR_JOB_LAST) || job->state == MR_JOB_SETTLING);
    MR_ASSERT(!(job->flags & MR_JOB_LOST) || job->state == MR_JOB_SETTLING ||
              job->state == MR_JOB_CHECKING);
    MR_ASSERT(!extra->reading_bytes || job->flags & MR_JOB_READING);
    MR_ASSERT(!extra->note || job->state == MR_JOB_SENT);
    MR_ASSERT((job->state == MR_JOB_SENT) == (job->peer != MR_NO_PEER));
}

static void
check_timer(const struct mr_core *core, uint32_t slot, struct totals *totals)
{
    const struct mr_job *job = mr_job_at(core, slot);
    bool is_set = mr_wheel_is_set(&core->wheel, slot);

    totals->timers += is_set;
    MR_ASSERT(is_set == ((job->flags & MR_JOB_TIMED) != 0));
    if (job->state == MR_JOB_WAITING || job->state == MR_JOB_SENT)
        MR_ASSERT(is_set);
    else if (job->state == MR_JOB_READY)
        MR_ASSERT(is_set == (mr_extra_of(core, job)->expires_at_us != 0));
    else
        MR_ASSERT(!is_set);
}

static void
check_waiters(const struct mr_core *core, uint32_t slot, struct totals *totals)
{
    const struct mr_job *job = mr_job_at(core, slot);

    for (uint32_t slip = job->waiters; slip; slip = mr_receipt_slip(core, slip)->next) {
        const struct mr_slip *item = mr_receipt_slip(core, slip);

        MR_ASSERT(item->type >= MR_SLIP_FIRST && item->type <= MR_SLIP_DONE);
        MR_ASSERT(item->type != MR_SLIP_FIRST || job->state == MR_JOB_STORING);
        MR_ASSERT(item->type != MR_SLIP_DONE || job->state == MR_JOB_SETTLING);
        MR_ASSERT(item->type != MR_SLIP_AGAIN || job->state == MR_JOB_STORING ||
                  job->flags & MR_JOB_READING);
        totals->waiting_slips++;
    }
}

static void
check_jobs(const struct mr_core *core, struct totals *totals)
{
    uint32_t used = 0, extras = 0;

    for (uint32_t slot = 1; slot <= core->jobs.fresh; slot++) {
        const struct mr_job *job = mr_job_at(core, slot);

        if (job->state == MR_JOB_FREE)
            continue;
        MR_ASSERT(job->state < MR_JOB_STATES);
        used++;
        totals->by_state[job->state]++;
        totals->payload_bytes += job->payload_bytes;
        if (job->state == MR_JOB_STORING)
            totals->storing_bytes += job->payload_bytes;
        totals->reading_bytes += mr_extra_of(core, job)->reading_bytes;
        extras += job->extra != 0;
        if (!(job->flags & MR_JOB_ABSENT))
            count_block(totals, (size_t)job->payload_bytes + job->trace_bytes);
        if (mr_extra_of(core, job)->note)
            count_block(totals, MR_NOTE_BYTES);
        MR_ASSERT(mr_ids_find(&core->job_ids, &job->id) == slot);
        MR_ASSERT(job->lane && job->queue && job->kind);
        check_flags(core, job);
        check_timer(core, slot, totals);
        check_waiters(core, slot, totals);
    }
    MR_ASSERT(used == core->jobs.used && used == core->job_ids.count);
    MR_ASSERT(
        extras == core->extras.used && !mr_extra_of(core, &(struct mr_job){0})->note);
    MR_ASSERT(used <= core->conf.jobs_max);
    MR_ASSERT(totals->timers == core->wheel.count);
    MR_ASSERT(totals->storing_bytes == core->storing_bytes);
    MR_ASSERT(totals->reading_bytes == core->reading_bytes);
    for (uint32_t state = 1; state < MR_JOB_STATES; state++)
        MR_ASSERT(totals->by_state[state] == core->by_state[state]);
    MR_ASSERT(core->by_state[MR_JOB_STORING] <= core->conf.storing_max);
}

/* ---- lanes and rings ------------------------------------------------------------------------------ */

static uint32_t
check_lane(const struct mr_core *core, uint32_t slot)
{
    const struct mr_lane *lane = mr_lane_at(core, slot);
    uint32_t count = 0, last = 0, want = 0;

    for (uint32_t at = lane->head; at; at = mr_job_at(core, at)->next) {
        const struct mr_job *job = mr_job_at(core, at);

        MR_ASSERT(job->state == MR_JOB_READY && job->lane == slot && job->prev == last);
        MR_ASSERT(job->queue == lane->queue && job->priority == lane->priority);
        last = at;
        count++;
    }
    MR_ASSERT(lane->tail == last && count <= lane->jobs);
    if (lane->head && !lane->is_starved &&
        !(mr_job_at(core, lane->head)->flags & MR_JOB_READING))
        want = mr_lane_cell(
            core, mr_job_at(core, lane->head)->kind, lane->queue, lane->priority);
    MR_ASSERT(lane->cell == want);
    return count;
}

static uint32_t
check_cell(const struct mr_core *core, uint32_t index)
{
    const struct mr_cell *cell = &core->cells[index];
    uint32_t lane = cell->front;
    uint32_t count = 0;

    if (!lane) {
        MR_ASSERT(!cell->is_linked);
        return 0;
    }
    do {
        MR_ASSERT(mr_lane_at(core, lane)->cell == index);
        MR_ASSERT(mr_lane_at(core, mr_lane_at(core, lane)->next)->prev == lane);
        lane = mr_lane_at(core, lane)->next;
        count++;
    } while (lane != cell->front);
    return count;
}

static void
check_kind(const struct mr_core *core, uint32_t number, uint32_t *linked, uint32_t *lanes)
{
    const struct mr_kind *kind = &core->kinds[number];

    for (uint8_t priority = 0; priority < MR_PRIORITIES; priority++) {
        uint32_t in_ring = 0, should = 0;

        for (uint16_t queue = 1; queue <= core->queue_names.fresh; queue++) {
            uint32_t index = mr_lane_cell(core, (uint16_t)number, queue, priority);

            *lanes += check_cell(core, index);
            MR_ASSERT(core->cells[index].is_linked ==
                      (core->cells[index].front && !core->queues[queue].is_paused));
            should += core->cells[index].is_linked;
        }
        for (uint32_t at = kind->rings[priority]; at; at = core->cells[at].next) {
            MR_ASSERT(core->cells[at].is_linked);
            in_ring++;
            if (core->cells[at].next == kind->rings[priority])
                break;
        }
        MR_ASSERT(in_ring == should);
        MR_ASSERT(!(kind->occupied >> priority & 1) == (should == 0));
        *linked += should;
    }
}

static void
check_lanes(const struct mr_core *core)
{
    uint32_t used = 0, ready = 0, linked = 0, in_cells = 0, with_cell = 0;

    for (uint32_t slot = 1; slot <= core->lanes.fresh; slot++) {
        if (!mr_lane_at(core, slot)->jobs)
            continue;
        used++;
        ready += check_lane(core, slot);
        with_cell += mr_lane_at(core, slot)->cell != 0;
    }
    for (uint32_t kind = 1; kind <= core->kind_names.fresh; kind++)
        check_kind(core, kind, &linked, &in_cells);
    MR_ASSERT(used == core->lanes.used && used == core->lane_ids.count);
    MR_ASSERT(ready == core->by_state[MR_JOB_READY]);
    MR_ASSERT(in_cells == with_cell);
    MR_ASSERT(linked == core->linked_cells);
}

/* ---- peers -------------------------------------------------------------------------------------- */

static uint32_t
check_worker(const struct mr_core *core, uint32_t number)
{
    const struct mr_peer *peer = &core->peers[number];
    uint32_t count = 0, offered = 0, running = 0, suspects = 0, last = 0;

    for (uint32_t slot = peer->jobs; slot; slot = mr_job_at(core, slot)->next) {
        MR_ASSERT(mr_job_at(core, slot)->state == MR_JOB_SENT);
        MR_ASSERT(mr_job_at(core, slot)->peer == number);
        offered += mr_roster_offer(core, number, mr_job_at(core, slot)->kind) != NULL;
        suspects += mr_job_is_suspect(core, mr_job_at(core, slot));
        last = slot;
        count++;
    }
    for (uint32_t i = 0; i < peer->offer_count; i++)
        running += peer->offers[i].running;
    MR_ASSERT(count == peer->held && running == offered);
    MR_ASSERT(suspects == peer->suspects);
    MR_ASSERT(!count || last == peer->oldest_job);
    MR_ASSERT(peer->sent <= peer->credit); /* never overdrawn */
    MR_ASSERT(core->peers[peer->next].prev == number);
    return count;
}

static void
check_peers(const struct mr_core *core)
{
    uint32_t workers = 0, clients = 0, held = 0, aged = 0;
    int64_t heard_us = INT64_MIN;

    for (uint32_t number = 0; number < core->peers_max; number++) {
        if (core->peers[number].role == MR_ROLE_WORKER) {
            workers++;
            held += check_worker(core, number);
        } else if (core->peers[number].role == MR_ROLE_CLIENT) {
            clients++;
            MR_ASSERT(!core->peers[number].jobs);
        }
    }
    for (uint32_t at = core->oldest; at != MR_NO_PEER; at = core->peers[at].newer) {
        MR_ASSERT(core->peers[at].heard_us >= heard_us);
        heard_us = core->peers[at].heard_us;
        aged++;
    }
    MR_ASSERT(workers == core->workers && clients == core->clients);
    MR_ASSERT(aged == workers + clients && held == core->by_state[MR_JOB_SENT]);
    MR_ASSERT(workers <= core->conf.workers_max && clients <= core->conf.clients_max);
}

/* ---- slips and watchers ----------------------------------------------------------------------------- */

static void
check_receipts(const struct mr_core *core, struct totals *totals)
{
    uint32_t used = 0, pending = 0, verdicts = 0, reserved = 0;

    for (uint32_t slot = 1; slot <= core->receipts.fresh; slot++) {
        const struct mr_receipt *receipt = mr_slab_at(&core->receipts, slot);

        if (!receipt->serial)
            continue;
        used++;
        reserved += receipt->reserved;
        pending += receipt->pending;
        verdicts += receipt->verdicts;
        MR_ASSERT(receipt->is_open || receipt->pending);
        for (uint32_t slip = receipt->first; slip;
             slip = mr_receipt_slip(core, slip)->next) {
            const struct mr_slip *item = mr_receipt_slip(core, slip);

            MR_ASSERT(item->type == MR_SLIP_VERDICT && item->receipt == slot);
            if (item->is_copy)
                count_block(totals, item->text_bytes);
        }
    }
    MR_ASSERT(used == core->receipts.used && reserved == core->slips_reserved);
    MR_ASSERT(pending == totals->waiting_slips);
    MR_ASSERT(pending + verdicts == core->slips.used && core->slips.used <= reserved);
}

static void
check_watchers(const struct mr_core *core)
{
    uint32_t used = 0, first = 0;

    for (uint32_t number = 0; number < core->peers_max; number++) {
        uint32_t at = core->peers[number].watchers;

        while (at) {
            const struct mr_watcher *watcher = mr_slab_at(&core->watchers, at);

            MR_ASSERT(watcher->peer == number);
            first += !watcher->prev;
            used++;
            at = watcher->peer_next;
        }
    }
    MR_ASSERT(used == core->watchers.used && first == core->watch_ids.count);
}

static void
check_names(const struct mr_core *core)
{
    uint64_t queues = 0, kinds = 0, offers = 0;

    for (uint32_t i = 1; i <= core->queue_names.fresh; i++)
        queues += core->queue_names.names[i].refs;
    for (uint32_t i = 1; i <= core->kind_names.fresh; i++) {
        kinds += core->kind_names.names[i].refs;
        offers += core->kinds[i].workers;
    }
    MR_ASSERT(queues == core->jobs.used && kinds == core->jobs.used + offers);
}

static void
check_owners(const struct mr_core *core, const struct totals *totals)
{
    uint32_t jobs = 0, sessions = 0;
    uint64_t bytes = 0;

    for (uint32_t i = 0; i <= core->owner_names.fresh; i++) {
        const struct mr_quota_use *use = &core->owners[i].use;

        jobs += use->jobs;
        sessions += use->sessions;
        bytes += use->payload_bytes;
        MR_ASSERT(core->owner_names.names[i].refs == use->jobs + use->sessions);
        MR_ASSERT(use->jobs || !use->payload_bytes);
        MR_ASSERT(i == 0 || core->owner_names.names[i].bytes ||
                  core->owner_names.names[i].refs == 0);
    }
    MR_ASSERT(jobs == core->jobs.used && sessions == core->workers + core->clients);
    MR_ASSERT(core->owners[0].use.sessions == 0);
    MR_ASSERT(bytes == totals->payload_bytes);
}

void
mr_check_all(const struct mr_core *core)
{
    struct totals totals = {0};

    check_jobs(core, &totals);
    check_lanes(core);
    check_peers(core);
    check_receipts(core, &totals);
    check_watchers(core);
    check_names(core);
    check_owners(core, &totals);
    MR_ASSERT(totals.pool_bytes == core->pool.bytes);
    MR_ASSERT(totals.pool_blocks == core->pool.blocks);
}
