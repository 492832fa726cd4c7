#include "broker/core/lane.h"

#include <string.h>

/* How far a returned job looks for its place among others that were returned. */
#define RETURNED_SCAN_MAX 256

/* Two keys with one hash would share a lane: more order than asked for, no harm. */
static struct mr_uuid
key_of(const struct mr_core *core, uint16_t queue, uint16_t kind, uint8_t priority,
    struct mr_span key)
{
    struct mr_uuid out = {{0}};
    uint64_t hash;

    out.b[0] = priority;
    out.b[1] = key.n > 0;
    memcpy(out.b + 2, &queue, sizeof queue);
    if (key.n == 0) {
        memcpy(out.b + 4, &kind, sizeof kind);
        return out;
    }
    hash = mr_hash(core->conf.hash_key, key);
    memcpy(out.b + 8, &hash, sizeof hash);
    return out;
}

uint32_t
mr_lane_acquire(struct mr_core *core, uint16_t queue, uint16_t kind, uint8_t priority,
    struct mr_span key)
{
    struct mr_uuid id = key_of(core, queue, kind, priority, key);
    uint32_t slot = core->lane_last;
    struct mr_lane *lane;

    if (!slot || !mr_uuid_eq(mr_lane_at(core, slot)->key, id))
        slot = mr_ids_find(&core->lane_ids, &id);
    if (!slot) {
        slot = mr_slab_take(&core->lanes);
        if (!slot)
            return 0;
        lane = mr_lane_at(core, slot);
        *lane = (struct mr_lane){
            .key = id, .queue = queue, .priority = priority, .has_key = key.n > 0};
        mr_ids_add(&core->lane_ids, slot);
    }
    mr_lane_at(core, slot)->jobs++;
    core->lane_last = slot;
    return slot;
}

static void
forget_starved(struct mr_core *core, uint32_t slot)
{
    uint32_t *at = &core->starved;

    while (*at != slot)
        at = &mr_lane_at(core, *at)->starved_next;
    *at = mr_lane_at(core, slot)->starved_next;
}

void
mr_lane_release(struct mr_core *core, uint32_t slot)
{
    struct mr_lane *lane = mr_lane_at(core, slot);

    MR_ASSERT(lane->jobs > 0);
    if (--lane->jobs > 0)
        return;
    MR_ASSERT(!lane->head && !lane->cell);
    if (lane->is_starved)
        forget_starved(core, slot);
    mr_ids_remove(&core->lane_ids, slot);
    mr_slab_give(&core->lanes, slot);
    if (core->lane_last == slot)
        core->lane_last = 0;
}

/* ---- rings ------------------------------------------------------------------------------- */

static struct mr_kind *
kind_of_cell(struct mr_core *core, uint32_t index)
{
    return &core->kinds[index / MR_PRIORITIES / (core->conf.queues_max + 1)];
}

static uint16_t
queue_of_cell(const struct mr_core *core, uint32_t index)
{
    return (uint16_t)(index / MR_PRIORITIES % (core->conf.queues_max + 1));
}

static void
link_cell(struct mr_core *core, uint32_t index)
{
    struct mr_cell *cell = &core->cells[index];
    struct mr_kind *kind = kind_of_cell(core, index);
    uint32_t priority = index % MR_PRIORITIES;
    uint32_t front = kind->rings[priority];

    if (!front) {
        kind->rings[priority] = cell->prev = cell->next = index;
        kind->occupied |= 1u << priority;
    } else {
        cell->next = front;
        cell->prev = core->cells[front].prev;
        core->cells[cell->prev].next = index;
        core->cells[front].prev = index;
    }
    cell->is_linked = true;
    core->linked_cells++;
}

static void
unlink_cell(struct mr_core *core, uint32_t index)
{
    struct mr_cell *cell = &core->cells[index];
    struct mr_kind *kind = kind_of_cell(core, index);
    uint32_t priority = index % MR_PRIORITIES;

    if (cell->next == index) {
        kind->rings[priority] = 0;
        kind->occupied &= ~(1u << priority);
    } else {
        core->cells[cell->prev].next = cell->next;
        core->cells[cell->next].prev = cell->prev;
        if (kind->rings[priority] == index)
            kind->rings[priority] = cell->next;
    }
    cell->is_linked = false;
    core->linked_cells--;
}

static void
join(struct mr_core *core, uint32_t slot, uint32_t index)
{
    struct mr_lane *lane = mr_lane_at(core, slot);
    struct mr_cell *cell = &core->cells[index];

    lane->cell = index;
    if (!cell->front) {
        cell->front = lane->prev = lane->next = slot;
        if (!core->queues[queue_of_cell(core, index)].is_paused)
            link_cell(core, index);
        return;
    }
    lane->next = cell->front;
    lane->prev = mr_lane_at(core, cell->front)->prev;
    mr_lane_at(core, lane->prev)->next = slot;
    mr_lane_at(core, lane->next)->prev = slot;
}

static void
leave(struct mr_core *core, uint32_t slot)
{
    struct mr_lane *lane = mr_lane_at(core, slot);
    uint32_t index = lane->cell;
    struct mr_cell *cell = &core->cells[index];

    if (!index)
        return;
    lane->cell = 0;
    if (lane->next == slot) {
        cell->front = 0;
        if (cell->is_linked)
            unlink_cell(core, index);
        return;
    }
    mr_lane_at(core, lane->prev)->next = lane->next;
    mr_lane_at(core, lane->next)->prev = lane->prev;
    if (cell->front == slot)
        cell->front = lane->next;
}

void
mr_lane_refresh(struct mr_core *core, uint32_t slot)
{
    struct mr_lane *lane = mr_lane_at(core, slot);
    uint32_t want = 0;

    if (lane->head && !lane->is_starved) {
        const struct mr_job *head = mr_job_at(core, lane->head);

        if (!(head->flags & MR_JOB_READING))
            want = mr_lane_cell(core, head->kind, lane->queue, lane->priority);
    }
    if (want == lane->cell)
        return;
    leave(core, slot);
    if (want)
        join(core, slot, want);
}

void
mr_lane_served(struct mr_core *core, uint32_t slot, uint32_t index)
{
    struct mr_kind *kind = kind_of_cell(core, index);

    if (mr_lane_at(core, slot)->cell == index)
        leave(core, slot);
    if (kind->rings[index % MR_PRIORITIES] == index) {
        kind->rings[index % MR_PRIORITIES] = core->cells[index].next;
    } else if (core->cells[index]
                   .is_linked) { /* its worker may not run those before it */
        unlink_cell(core, index);
        link_cell(core, index);
    }
    mr_lane_refresh(core, slot);
}

void
mr_lane_starve(struct mr_core *core, uint32_t slot)
{
    struct mr_lane *lane = mr_lane_at(core, slot);

    MR_ASSERT(!lane->is_starved);
    lane->is_starved = true;
    lane->starved_next = core->starved;
    core->starved = slot;
    mr_lane_refresh(core, slot);
}

void
mr_lane_feed(struct mr_core *core)
{
    while (core->starved) {
        uint32_t slot = core->starved;
        struct mr_lane *lane = mr_lane_at(core, slot);

        core->starved = lane->starved_next;
        lane->is_starved = false;
        mr_lane_refresh(core, slot);
    }
}

void
mr_lane_pause_queue(struct mr_core *core, uint16_t queue, bool is_paused)
{
    core->queues[queue].is_paused = is_paused;
    for (uint32_t kind = 1; kind <= core->kind_names.fresh; kind++) {
        for (uint8_t priority = 0; priority < MR_PRIORITIES; priority++) {
            uint32_t index = mr_lane_cell(core, (uint16_t)kind, queue, priority);
            const struct mr_cell *cell = &core->cells[index];

            if (cell->front && cell->is_linked && is_paused)
                unlink_cell(core, index);
            else if (cell->front && !cell->is_linked && !is_paused)
                link_cell(core, index);
        }
    }
}

/* ---- jobs --------------------------------------------------------------------------------- */

/* The job before which a returned one goes; 0: it is alone. */
static uint32_t
place_of_returned(
    const struct mr_core *core, const struct mr_lane *lane, const struct mr_job *job)
{
    uint32_t at = lane->head;

    for (uint32_t steps = 0; at && steps < RETURNED_SCAN_MAX; steps++) {
        const struct mr_job *other = mr_job_at(core, at);

        if (!(other->flags & MR_JOB_RETURNED) || other->ready_us > job->ready_us)
            break;
        at = other->next;
    }
    return at;
}

void
mr_lane_push(struct mr_core *core, uint32_t job_slot)
{
    struct mr_job *job = mr_job_at(core, job_slot);
    struct mr_lane *lane = mr_lane_at(core, job->lane);
    uint32_t before =
        job->flags & MR_JOB_RETURNED ? place_of_returned(core, lane, job) : 0;

    job->next = before;
    job->prev = before ? mr_job_at(core, before)->prev : lane->tail;
    if (job->prev)
        mr_job_at(core, job->prev)->next = job_slot;
    else
        lane->head = job_slot;
    if (before)
        mr_job_at(core, before)->prev = job_slot;
    else
        lane->tail = job_slot;
    mr_lane_refresh(core, job->lane);
}

void
mr_lane_pull(struct mr_core *core, uint32_t job_slot)
{
    struct mr_job *job = mr_job_at(core, job_slot);
    struct mr_lane *lane = mr_lane_at(core, job->lane);

    if (job->prev)
        mr_job_at(core, job->prev)->next = job->next;
    else
        lane->head = job->next;
    if (job->next)
        mr_job_at(core, job->next)->prev = job->prev;
    else
        lane->tail = job->prev;
    job->prev = job->next = 0;
    mr_lane_refresh(core, job->lane);
}
