/*
 * From bytes to the core: every message that a peer sends is opened, judged and handed to the
 * handler of its verb. Who has not said HELLO gets NO_SESSION, and a verb that does not belong
 * on a socket DENIED. Wrong bytes are counted and answered within limits; they never do harm.
 * The loop's thread.
 */
#ifndef MR_BROKER_TALK_H
#define MR_BROKER_TALK_H

#include "broker/broker.h"

/* One message. `user` is who sent it, as the handshake found out (zap.h): 40 characters of a public key, or
 * `local` or `anyone`. Empty: refused, whatever it says. */
void mr_talk_message(struct mr_broker *broker, enum mr_side side, struct mr_span routing,
    struct mr_span user, struct mr_span bytes);

/* A message of several frames, of which there are none. */
void mr_talk_multipart(
    struct mr_broker *broker, enum mr_side side, struct mr_span routing);

/* Answers. Nothing happens if the peer left meanwhile. */
void mr_talk_error(
    struct mr_broker *broker, uint32_t peer, uint64_t corr, const struct mr_error *error);
/* A REPLY without a result. */
void mr_talk_reply(struct mr_broker *broker, uint32_t peer, uint64_t corr,
    enum mr_status code, struct mr_span text);

/* To everybody: BYE. */
void mr_talk_bye(struct mr_broker *broker, const char *reason);

/* PING to workers that hold jobs: one that was killed is unreachable, and noticed at once. */
void mr_talk_probe(struct mr_broker *broker);

#endif
