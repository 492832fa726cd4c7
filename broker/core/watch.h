/*
 * Who wants to hear of a job: watchers (WATCH, or SUBMIT with its flag) and those who asked to
 * cancel it and wait for the outcome. Kept by job id, not by slot: an id may be watched that
 * is not in memory.
 */
#ifndef MR_CORE_WATCH_H
#define MR_CORE_WATCH_H

#include "broker/core/core_priv.h"

/* False when watches_max is reached. A second WATCH of the same peer and id is the first, with the
 * wider scope of the two. *made: it is new. */
bool mr_watch_add(struct mr_core *core, uint32_t peer, struct mr_uuid id,
    enum mr_watch_type type, uint64_t corr, enum mr_scope scope, bool *made);
/* WATCHES only. */
void mr_watch_remove(struct mr_core *core, uint32_t peer, struct mr_uuid id);
void mr_watch_drop_peer(struct mr_core *core, uint32_t peer);

/* To all who watch event->id and may see a job of that owner; they go on watching. */
void mr_watch_tell(struct mr_core *core, const struct mr_event *event, uint32_t owner);

/* The last event: watchers get it, those who cancel their reply (MR_OK when the outcome is
 * cancelled, else MR_FINISHED; NO_JOB for MR_EVENT_NO_JOB); who may not see a job of that owner
 * is told NO_JOB; all are forgotten. */
void mr_watch_close(struct mr_core *core, const struct mr_event *event, uint32_t owner);

/* Have the database asked about an id that is watched and not in memory. */
void mr_watch_ask(struct mr_core *core, struct mr_uuid id);
/* ... although it may have been asked: by now it knows more. */
void mr_watch_ask_anew(struct mr_core *core, struct mr_uuid id);

/* The database was asked for the sake of somebody who watches or cancels this id. */
void mr_watch_found(struct mr_core *core, const struct mr_found *found);

/* Entry points (see core.h). */
void mr_watch_request(
    struct mr_core *core, uint32_t peer, struct mr_uuid id, bool on, enum mr_scope scope);
void mr_watch_cancel(struct mr_core *core, uint32_t peer, uint64_t corr,
    struct mr_uuid id, enum mr_scope scope);

#endif
