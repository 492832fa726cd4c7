/*
 * One handler per verb: front.c has those of front ends, back.c those of workers, hello.c how a
 * conversation begins, call.c everything cold. MR_OK, or what is wrong with the message:
 * talk.c tells the peer. The loop's thread.
 */
#ifndef MR_BROKER_VERBS_H
#define MR_BROKER_VERBS_H

#include "broker/broker.h"

/* Opens a conversation, or another one at the same address. Answers by itself. */
void mr_hello_on_hello(struct mr_broker *broker, enum mr_side side,
    struct mr_span routing, struct mr_span user, const struct mr_msg *msg);

enum mr_status mr_front_on_submit(
    struct mr_broker *broker, uint32_t peer, const struct mr_msg *msg) MR_MUST_CHECK;
enum mr_status mr_front_on_watch(
    struct mr_broker *broker, uint32_t peer, const struct mr_msg *msg) MR_MUST_CHECK;

enum mr_status mr_back_on_credit(
    struct mr_broker *broker, uint32_t peer, const struct mr_msg *msg) MR_MUST_CHECK;
enum mr_status mr_back_on_done(
    struct mr_broker *broker, uint32_t peer, const struct mr_msg *msg) MR_MUST_CHECK;
enum mr_status mr_back_on_beat(
    struct mr_broker *broker, uint32_t peer, const struct mr_msg *msg) MR_MUST_CHECK;

#endif
