/*
 * The door-keeper: who sent this, and may they? It asks core/rights.h, which knows; here is what
 * follows from the answer: words, counters, the log, and what a change of rights does to sessions
 * that are open. The loop's thread.
 */
#ifndef MR_BROKER_GUARD_H
#define MR_BROKER_GUARD_H

#include "broker/broker.h"

/* Rights have been read anew: each message is judged by them from now on. Takes `rights`. */
void mr_guard_set_rights(struct mr_broker *broker, struct mr_rights *rights);

/* A moment after that: workers whose key or principal is revoked are lost; front ends of whom that is
 * true, or whose rights have changed, have to say HELLO again, so that they are told only of
 * what they may still watch. In each turn; when it is due (monotonic, INT64_MAX: not). */
void mr_guard_tick(struct mr_broker *broker);
int64_t mr_guard_next_us(const struct mr_broker *broker);

/* The one place where a refusal is written down: in the audit log and, rationed, in ours. `action`: a
 * right or verb. `count` times in one message. */
void mr_guard_note(struct mr_broker *broker, enum mr_side side, struct mr_span user,
    const char *action, struct mr_span object, const char *why, uint32_t count);

/* The principal of a User-Id, 0 if its messages are to be refused: it is unknown, or revoked. */
uint32_t mr_guard_who(const struct mr_broker *broker, struct mr_span user);

/* A message with another key than the session had that is open at its address: counted and
 * noted. It is dropped without an answer, which would go to the victim. */
void mr_guard_on_theft(struct mr_broker *broker, uint32_t peer, struct mr_span user);

/* A HELLO of this principal. MR_OK, or MR_DENIED and the words. */
enum mr_status mr_guard_hello(struct mr_broker *broker, uint32_t principal,
    const struct mr_hello *hello, char why[MR_RIGHTS_TEXT_BYTES]) MR_MUST_CHECK;

/* What the session's principal may, over queue and kind (empty: all of them). All, if there are no
 * rights: a broker without them lets nobody in, and the core alone, in tests, asks nobody. */
struct mr_scope_range mr_guard_over(const struct mr_broker *broker, uint32_t peer,
    enum mr_right right, struct mr_span queue, struct mr_span kind);

/* ... for one queue and one kind. */
enum mr_scope mr_guard_may(const struct mr_broker *broker, uint32_t peer,
    enum mr_right right, struct mr_span queue, struct mr_span kind);

/* It was refused, `count` times in one message: counted, noted, and put into words. */
struct mr_span mr_guard_refuse(struct mr_broker *broker, uint32_t peer,
    enum mr_right right, struct mr_span queue, struct mr_span kind, uint32_t count,
    char why[MR_RIGHTS_TEXT_BYTES]);

#endif
