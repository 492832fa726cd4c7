/*
 * The worker's conversation with the broker: a thread with one DEALER that drives the session
 * (session.h, where the decisions are) and owns the pool. It connects to one endpoint at a time,
 * goes to the next when the broker is silent for three heartbeats, and keeps what is running
 * all the while.
 */
#ifndef MR_WORKER_LINK_H
#define MR_WORKER_LINK_H

#include <stdbool.h>

#include "schemas/base/mailbox.h"
#include "schemas/base/status.h"
#include "schemas/base/uuid.h"
#include "schemas/wire/curve.h"
#include "worker/note.h"
#include "worker/registry.h"
#include "worker/settings.h"

struct mr_link;
struct mr_opener;

struct mr_link_conf {
    const struct mr_settings
        *settings; /* all borrowed; names and endpoints are checked */
    const struct mr_registry *registry;
    const struct mr_curve_peer *peer; /* fits the endpoints */
    struct mr_uuid instance;
    const char *name; /* for people, 1 to 64 printable characters */
    const struct mr_opener *opener;
    const char *loads; /* shared objects that the registry loaded, by commas */
    uint32_t threads, prefetch, prefetch_max;
    struct mr_mailbox *main; /* gets one MR_NOTE_OVER */
};

/* MR_NOTE_OVER carries this. */
struct mr_link_over {
    struct mr_note note;
    bool is_worn_out; /* more threads hung than could be replaced */
    bool is_stuck;    /* some are in handlers still: they cannot be joined, only left */
};

/* Starts the thread. */
enum mr_status mr_link_new(
    struct mr_link **out, const struct mr_link_conf *conf) MR_MUST_CHECK;

/* Main thread: end in order; the second time, at once. More are ignored. */
void mr_link_drain(struct mr_link *link);

/* After MR_NOTE_OVER, unless it said stuck. */
void mr_link_destroy(struct mr_link **link);

#endif
