/*
 * Lanes, and the rings in which they take turns. A lane holds the ready jobs of one queue, key
 * and priority, first in first out; jobs without a lane key share a lane by kind. Jobs of a
 * keyed lane START in order (they may run side by side, and one that is retried or snoozed
 * joins again at the end); one that its worker gave back or was lost with goes to its front.
 *
 *   kind, priority --> ring of cells (a cell: one queue) --> ring of lanes --> jobs
 *
 * Turns go round over queues first, then over the lanes of a queue, so that neither a queue
 * with many jobs nor one with many lanes crowds out another. A lane stands in the cell of its
 * head job's kind. The cells of a paused queue are in no ring.
 */
#ifndef MR_CORE_LANE_H
#define MR_CORE_LANE_H

#include "broker/core/core_priv.h"

/* Find or make the lane and count one more job that belongs to it. 0: lanes_max reached. */
uint32_t mr_lane_acquire(struct mr_core *core, uint16_t queue, uint16_t kind,
    uint8_t priority, struct mr_span key);
/* One job less; the last one frees the lane. */
void mr_lane_release(struct mr_core *core, uint32_t slot);

/* MR_JOB_RETURNED goes to the front, in order of ready_us with others of its sort. */
void mr_lane_push(struct mr_core *core, uint32_t job_slot);
void mr_lane_pull(struct mr_core *core, uint32_t job_slot);

/* The head's flags changed: the lane may have to leave or join a cell. */
void mr_lane_refresh(struct mr_core *core, uint32_t slot);

/* A job was taken from the lane when it stood in that cell: the lane and its queue go behind
 * the others. */
void mr_lane_served(struct mr_core *core, uint32_t slot, uint32_t cell);

/* Keep the lane out of the rings until the next mr_lane_feed(). */
void mr_lane_starve(struct mr_core *core, uint32_t slot);
void mr_lane_feed(struct mr_core *core);

void mr_lane_pause_queue(struct mr_core *core, uint16_t queue, bool is_paused);

static inline uint32_t
mr_lane_cell(const struct mr_core *core, uint16_t kind, uint16_t queue, uint8_t priority)
{
    uint32_t pair = (uint32_t)kind * (core->conf.queues_max + 1) + queue;

    return pair * MR_PRIORITIES + priority;
}

#endif
