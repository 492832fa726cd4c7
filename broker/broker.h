/*
 * What the files of the loop share. All of it belongs to the thread that runs the loop (main);
 * the writer thread sees tasks only. Nobody outside broker/ includes this.
 */
#ifndef MR_BROKER_BROKER_H
#define MR_BROKER_BROKER_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/core/core.h"
#include "broker/core/rights.h"
#include "broker/gather.h"
#include "broker/meter.h"
#include "broker/session.h"
#include "broker/settings.h"
#include "schemas/base/clock.h"
#include "schemas/base/mailbox.h"
#include "schemas/base/status.h"
#include "schemas/base/uuid.h"
#include "schemas/wire/msg.h"

struct mr_auditor; /* audit.h */
struct mr_curve;   /* schemas/wire/curve.h */
struct mr_door;    /* door.h */
struct mr_errand;  /* errand.h */
struct mr_writer;  /* writer.h */
struct mr_zap;     /* zap.h */

enum mr_phase {
    MR_PHASE_STARTING, /* the shard is not ours yet: HELLO is answered with STARTING */
    MR_PHASE_SERVING,
    MR_PHASE_DRAINING, /* what is being committed is finished, then all are told BYE */
    MR_PHASE_ENDED,
};

/* Since the start. What peers did wrong is counted here and nowhere else. */
struct mr_counters {
    uint64_t received, received_bytes, malformed, multipart, no_session, denied;
    uint64_t nameless; /* messages without a User-Id */
    uint64_t hello_refused, scolds_withheld, turns, batches, rows, sweeps, reads;
    uint64_t audited, audit_dropped;
};

/* What was refused because a right was missing, and who was not whom they were before. */
struct mr_guard {
    uint64_t refused[MR_RIGHTS];
    uint64_t strangers; /* messages under a key that is unknown or revoked */
    uint64_t thefts;    /* messages under another key than the session at their address */
    int64_t look_us;    /* when sessions are looked at; 0: they have been */
    int64_t window_us;  /* lines of the log in this second */
    uint32_t lines;
};

#define MR_BOUND_BYTES 1024

struct mr_broker {
    const struct mr_settings *settings;
    const struct mr_curve *key; /* NULL: tcp:// is plain, too */
    struct mr_core *core;
    struct mr_rights *rights; /* who may do what; NULL until the shard is ours */
    struct mr_sessions *sessions;
    struct mr_gather *gather;
    struct mr_errand *errand;
    struct mr_auditor *auditor;
    struct mr_writer *writer;
    struct mr_mailbox *answers; /* of the writer */
    struct mr_zap *zap;         /* who gets a connection */
    void *sockets[2];           /* by enum mr_side */
    char bound[2][MR_BOUND_BYTES];
    struct mr_door *door;
    uint32_t first_numbers[2]; /* that libzmq gave to peers, by enum mr_side */
    void *door_events[2];      /* what libzmq tells of their connections */
    int signals;               /* signalfd */
    uint8_t *joined;           /* the frames of a message, MR_MESSAGE_BYTES_MAX of them */
    struct mr_uuid instance;
    uint64_t epoch;
    enum mr_phase phase;
    struct mr_now now; /* of this turn */
    int64_t drain_until_us, probe_us, scold_window_us;
    int64_t due_us;            /* when the next turn should begin, 0: before the first */
    int64_t forgives_until_us; /* till then, peers that cannot be reached are kept */
    uint32_t scolds;           /* answers to strangers in this second */
    bool has_signals, has_doors, has_answers; /* may have, as far as the last poll said */
    bool is_open; /* in plain text to other hosts, as `insecure` allowed */
    bool is_announced, is_hurried, is_store_up, writer_has_stopped;
    struct mr_counters counters;
    struct mr_guard guard;
    struct mr_meter meter;
    struct mr_offer offers[MR_KINDS_PER_WORKER_MAX]; /* of the HELLO in hand */
    struct mr_err fatal; /* why the loop ended, if status is set */
};

#endif
