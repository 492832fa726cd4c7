/*
 * Between the rights and the thread that lets people in (zap.h): which keys are good, and who came
 * with another one. The loop's thread.
 */
#ifndef MR_BROKER_KEYS_H
#define MR_BROKER_KEYS_H

#include "broker/broker.h"

/* broker->rights are other ones: the keys in them are let in from now on, and no others. */
void mr_keys_publish(struct mr_broker *broker);

/* Once a turn, when there may be news: who was not let in is noted. */
void mr_keys_look(struct mr_broker *broker);

#endif
