/*
 * SUBMIT messages: each job is judged, and either stored, or refused with a verdict that says
 * what to do, or recognised as one that is known. Entry points; see core.h.
 */
#ifndef MR_CORE_SUBMIT_H
#define MR_CORE_SUBMIT_H

#include "broker/core/core_priv.h"

enum mr_status mr_submit_open(struct mr_core *core, uint32_t peer, uint64_t corr,
    uint32_t flags, uint32_t jobs) MR_MUST_CHECK;
void mr_submit_job(struct mr_core *core, const struct mr_job_new *job);
void mr_submit_denied(struct mr_core *core, struct mr_span why);
void mr_submit_close(struct mr_core *core);

#endif
