/*
 * The actions, one function each: fills struct mr_action and calls back.
 */
#ifndef MR_CORE_SAY_H
#define MR_CORE_SAY_H

#include "broker/core/core_priv.h"

void mr_say_error(struct mr_core *core, uint32_t peer, uint64_t corr, enum mr_status code,
    const char *text);
void mr_say_reply(struct mr_core *core, uint32_t peer, uint64_t corr, enum mr_status code,
    const char *text);
void mr_say_event(struct mr_core *core, uint32_t peer, const struct mr_event *event);
void mr_say_revoke(struct mr_core *core, uint32_t peer, struct mr_uuid id,
    uint32_t attempt, enum mr_why why);
void mr_say_find(struct mr_core *core, struct mr_uuid id);
/* Its row and its attempts; only its payload. */
void mr_say_read(struct mr_core *core, struct mr_uuid id);
void mr_say_read_payload(struct mr_core *core, struct mr_uuid id);
void mr_say_store(struct mr_core *core, const struct mr_store_op *op);
void mr_say_add_kind(struct mr_core *core, struct mr_span kind);
void mr_say_sweep(struct mr_core *core);
void mr_say_end_sessions(struct mr_core *core, struct mr_uuid instance);
void mr_say_drain(struct mr_core *core, uint32_t peer);
void mr_say_drop_peer(struct mr_core *core, uint32_t peer, struct mr_span reason);

#endif
