/*
 * What goes out, gathered per peer: all jobs for one worker that a turn of the loop decides on
 * make one JOBS message, all events for one client one EVENT, and so on. Flushed when the
 * verb changes, when a message is large enough, and at the end of the turn. The loop's
 * thread.
 *
 * A peer whose pipe is full gets a bounded number of bytes set aside for it. Above that its
 * events are dropped (a client asks again) and for anything else it is given up.
 */
#ifndef MR_BROKER_GATHER_H
#define MR_BROKER_GATHER_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/session.h"
#include "schemas/wire/msg.h"

struct mr_gather;

struct mr_meter; /* meter.h */

struct mr_gather_counters {
    uint64_t messages, bytes, events_dropped, unreachable, too_slow, too_big;
};

/* Borrows all. */
enum mr_status mr_gather_new(struct mr_gather **out, struct mr_sessions *sessions,
    void *const sockets[2], struct mr_meter *meter) MR_MUST_CHECK;
void mr_gather_destroy(struct mr_gather **gather);

/* Items that share a message. Each may be called for a number that is free: then nothing
 * happens. */
void mr_gather_job(
    struct mr_gather *gather, uint32_t peer, const struct mr_job_sent *job);
void mr_gather_event(
    struct mr_gather *gather, uint32_t peer, const struct mr_event *event);
void mr_gather_revoke(
    struct mr_gather *gather, uint32_t peer, const struct mr_revoked *revoked);

/* A whole message: write it with any mr_put_*, then post it. */
struct mr_wr *mr_gather_open(struct mr_gather *gather, uint32_t peer, enum mr_verb verb);
void mr_gather_post(struct mr_gather *gather, uint32_t peer);

/* Send everything. */
void mr_gather_flush(struct mr_gather *gather);

/* Before a session is removed: send what is there, forget what cannot be sent. */
void mr_gather_drop(struct mr_gather *gather, uint32_t peer);

/* Sessions that turned out to be gone, one after the other; MR_NO_SESSION_NUMBER at the end. */
uint32_t mr_gather_next_gone(struct mr_gather *gather);

bool mr_gather_has_gone(const struct mr_gather *gather);

/* True while something was set aside: flush again in a few milliseconds. */
bool mr_gather_is_waiting(const struct mr_gather *gather);

const struct mr_gather_counters *mr_gather_counters(const struct mr_gather *gather);

#endif
