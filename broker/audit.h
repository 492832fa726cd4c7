/*
 * The loop's side of the audit log: what happened is noted here and handed to the writer. Refusals
 * that are alike are gathered for a second into one row with a count, in a table of fixed
 * size: however many there are, the log grows by a bounded number of rows a second. What an
 * operator does is a row each. While the database is down rows wait, a bounded number of
 * them; what finds no room is counted, and the count is written later. The loop's thread.
 */
#ifndef MR_BROKER_AUDIT_H
#define MR_BROKER_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/broker.h"
#include "broker/task.h"

struct mr_auditor;

/* What happened. Empty spans: unknown, or none. Longer texts are cut off. */
struct mr_audit {
    struct mr_span principal; /* name */
    struct mr_span key;       /* public key, Z85 */
    struct mr_span action;    /* "submit", "cancel", "handshake", ... */
    struct mr_span object;    /* job, queue, worker, ... */
    struct mr_span
        detail; /* which right is missing, why, how; never a secret or payload */
    struct mr_span source; /* "front", "back", an address */
    bool is_allowed;
};

enum mr_status mr_auditor_new(struct mr_auditor **out) MR_MUST_CHECK;
/* After the writer has stopped. */
void mr_auditor_destroy(struct mr_auditor **auditor);

/* Copied. Costs no more than a look into a small table, also when the same is refused a million
 * times a second. */
void mr_audit_note(struct mr_broker *broker, const struct mr_audit *what);
/* ... so many times at once: counted elsewhere. */
void mr_audit_note_many(
    struct mr_broker *broker, const struct mr_audit *what, uint64_t count);

/* What the principal of this session does: to be noted, or copied. Lives as long as the rights
 * that are known now. */
struct mr_audit mr_audit_act(const struct mr_broker *broker, uint32_t peer,
    const char *action, struct mr_span object);

/* A copy for a task that does the act and writes it down in one transaction, or before it is
 * done: into the task's arena. False when that is full. */
bool mr_audit_copy(struct mr_arena *arena, const struct mr_audit *what,
    struct mr_audit_row *row) MR_MUST_CHECK;

/* Give the writer what is due. At the end of a turn. */
void mr_audit_dispatch(struct mr_broker *broker);
/* Everything, at once: the broker ends. */
void mr_audit_flush(struct mr_broker *broker);

/* The writer is done with it; takes the task. */
void mr_audit_written(struct mr_broker *broker, struct mr_task *task);

/* When the loop has to come here again (monotonic), INT64_MAX for never. */
int64_t mr_audit_next_us(const struct mr_broker *broker);

/* Nothing waits or is under way. */
bool mr_audit_is_idle(const struct mr_broker *broker);

#endif
