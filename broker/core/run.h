/*
 * Which jobs a worker may be sent, by the numbers of kind and queue: what rights.h says of their
 * names is remembered, so that no name is compared for a job.
 */
#ifndef MR_CORE_RUN_H
#define MR_CORE_RUN_H

#include "broker/core/core_priv.h"

/* Rights have changed: offers are judged again, and what was remembered is forgotten. */
void mr_run_forget(struct mr_core *core);

/* A number of a queue has got another name. */
void mr_run_renamed(struct mr_core *core);

/* The queues of this kind that the principal may run. */
enum mr_run mr_run_over(const struct mr_core *core, uint32_t principal, uint16_t kind);

bool mr_run_may(struct mr_core *core, uint32_t principal, uint16_t kind, uint16_t queue);

/* ... the worker this job; without being remembered. */
bool mr_run_may_now(const struct mr_core *core, uint32_t peer, const struct mr_job *job);

/* ... the worker this job. */
bool mr_run_peer_may(struct mr_core *core, uint32_t peer, const struct mr_job *job);

/* The first cell from `cell` on in its ring (0: none) whose queue the principal may run. */
uint32_t mr_run_cell(
    struct mr_core *core, uint32_t principal, uint16_t kind, uint32_t cell);

#endif
