/*
 * How threads hand things over: a many-senders, one-receiver queue of intrusive nodes with an
 * eventfd as its bell. No lock. Ownership of the node's struct goes with it. It has no cap of
 * its own: what may be in flight is bounded by credit, slots or the one-batch rule of whoever
 * sends. (Algorithm: Dmitry Vyukov, "Intrusive MPSC node-based queue".)
 */
#ifndef MR_BASE_MAILBOX_H
#define MR_BASE_MAILBOX_H

#include "schemas/base/status.h"

struct mr_node {
    struct mr_node *_Atomic next;
};

struct mr_mailbox;

enum mr_status mr_mailbox_new(struct mr_mailbox **out) MR_MUST_CHECK;

/* The owner must have taken everything out: nodes left inside are not freed. */
void mr_mailbox_destroy(struct mr_mailbox **box);

/* Give the node away and ring, if the receiver could be asleep. Any thread. */
void mr_mailbox_give(struct mr_mailbox *box, struct mr_node *node);

/* The same in two steps, for a sender with many nodes: push them all, then ring once. A node
 * that was pushed may be taken at once. Any thread. */
void mr_mailbox_push(struct mr_mailbox *box, struct mr_node *node);
void mr_mailbox_ring(struct mr_mailbox *box);

/* The oldest node or NULL. Receiver only. */
struct mr_node *mr_mailbox_take(struct mr_mailbox *box);

/* To be polled for reading. When it is readable: mr_mailbox_hush() first, then take until
 * NULL. */
int mr_mailbox_fd(const struct mr_mailbox *box);
void mr_mailbox_hush(struct mr_mailbox *box);

/* Sleep until something may be there, at most timeout_ms (-1: for ever). For receivers that
 * have nothing else to poll. Returns at once if something is there; hushes by itself. */
void mr_mailbox_wait(struct mr_mailbox *box, int timeout_ms);

#endif
