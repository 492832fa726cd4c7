/*
 * Ready jobs to workers with credit. A worker with an idle thread comes before one that would
 * only queue the job; among equals they take turns. For each worker the lane that is next
 * among the kinds it offers: highest priority, where having waited age_ms counts as one more,
 * then the longest wait. Lanes of one kind and priority take turns (lane.h).
 */
#ifndef MR_CORE_MATCH_H
#define MR_CORE_MATCH_H

#include "broker/core/core_priv.h"

void mr_match_run(struct mr_core *core);

#endif
