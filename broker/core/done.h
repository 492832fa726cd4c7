/*
 * DONE messages: what became of attempts, as the worker that holds them says. Entry points;
 * see core.h.
 */
#ifndef MR_CORE_DONE_H
#define MR_CORE_DONE_H

#include "broker/core/core_priv.h"

void mr_done_ahead(struct mr_core *core, uint32_t peer, const struct mr_done *done);
void mr_done_open(
    struct mr_core *core, uint32_t peer, uint64_t corr, uint32_t flags, uint32_t dones);
void mr_done_take(struct mr_core *core, const struct mr_done *done);
void mr_done_close(struct mr_core *core);

#endif
