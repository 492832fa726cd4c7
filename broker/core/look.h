/*
 * Looking in: gauges and lists. Changes nothing. See core.h.
 */
#ifndef MR_CORE_LOOK_H
#define MR_CORE_LOOK_H

#include "broker/core/core_priv.h"

void mr_look_stats(const struct mr_core *core, struct mr_core_stats *out);
bool mr_look_next_queue(
    const struct mr_core *core, uint32_t *cursor, struct mr_core_queue_info *out);
bool mr_look_next_worker(
    const struct mr_core *core, uint32_t *cursor, struct mr_core_worker_info *out);
bool mr_look_next_kind(
    const struct mr_core *core, uint32_t *cursor, struct mr_core_kind_info *out);
enum mr_status mr_look_job(const struct mr_core *core, struct mr_uuid id,
    struct mr_core_job_info *out) MR_MUST_CHECK;

#endif
