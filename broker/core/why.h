/*
 * Why a job does not run: the reason that binds now, and what to do about it. Changes nothing.
 * See core.h.
 */
#ifndef MR_CORE_WHY_H
#define MR_CORE_WHY_H

#include "broker/core/core_priv.h"

/* Wall times are by the clocks of `now`. */
enum mr_status mr_why_explain(const struct mr_core *core, struct mr_now now,
    struct mr_uuid id, char *out, size_t out_bytes) MR_MUST_CHECK;

#endif
