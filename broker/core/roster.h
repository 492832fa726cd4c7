/*
 * Who is connected: clients and workers, in the order in which they were last heard; a ring of
 * workers for taking turns; what each worker offers, holds and may still be sent.
 */
#ifndef MR_CORE_ROSTER_H
#define MR_CORE_ROSTER_H

#include "broker/core/core_priv.h"

/* The peer in that role, NULL if it is not there or plays another. */
struct mr_peer *mr_roster_find(const struct mr_core *core, uint32_t peer, int role);

enum mr_status mr_roster_add_client(struct mr_core *core, uint32_t peer,
    uint32_t principal, struct mr_span name) MR_MUST_CHECK;

/* See mr_core_worker_joins(). */
enum mr_status mr_roster_add_worker(struct mr_core *core, uint32_t peer,
    uint32_t principal, const struct mr_hello *hello,
    const struct mr_offer *offers) MR_MUST_CHECK;

void mr_roster_heard(struct mr_core *core, uint32_t peer);
/* As if everybody had just been heard. */
void mr_roster_forgive(struct mr_core *core);

/* What it held is lost, what it watched is forgotten. */
void mr_roster_remove(struct mr_core *core, uint32_t peer, struct mr_span reason);
/* ... is handed back. */
void mr_roster_end(struct mr_core *core, uint32_t peer, struct mr_span reason);
/* Nothing is sent to it any more, and it is told to end. */
void mr_roster_drain(struct mr_core *core, uint32_t peer);

/* Peers that were silent for three heartbeats leave; attempts that nobody confirmed after a
 * reconnect are lost. */
void mr_roster_tick(struct mr_core *core);
int64_t mr_roster_next_us(const struct mr_core *core);

/* A job goes to the worker's list (job->peer is set) or leaves it. */
void mr_roster_hold(struct mr_core *core, uint32_t job_slot);
/* A held job to the other end of the list: older than all others. */
void mr_roster_is_oldest(struct mr_core *core, uint32_t slot);
void mr_roster_release(struct mr_core *core, uint32_t job_slot);
/* It was sent before all others that its worker holds. */
void mr_roster_set_oldest(struct mr_core *core, uint32_t job_slot);

/* NULL if the worker does not offer the kind. */
struct mr_offered *mr_roster_offer(
    const struct mr_core *core, uint32_t peer, uint16_t kind);

/* Of any worker that offers the kind, NULL if there is none. */
struct mr_offered *mr_roster_any_offer(const struct mr_core *core, uint16_t kind);

struct mr_span mr_roster_name(const struct mr_core *core, uint32_t peer);

/* The number of a kind, 0 when there is no room. Emits ADD_KIND for one that was never offered
 * before when `is_offered`. */
uint16_t mr_roster_kind(struct mr_core *core, struct mr_span name, bool is_offered);

void mr_roster_fini(struct mr_core *core);

#endif
