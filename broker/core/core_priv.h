/*
 * What the files of the core share: one struct, the slots in its tables, and its clock (`now`
 * is set by every entry point in core.c). Nobody outside broker/core includes this.
 */
#ifndef MR_CORE_CORE_PRIV_H
#define MR_CORE_CORE_PRIV_H

#include "broker/core/core.h"
#include "broker/core/ids.h"
#include "broker/core/names.h"
#include "broker/core/pool.h"
#include "broker/core/quota.h"
#include "broker/core/retry.h"
#include "broker/core/slab.h"
#include "broker/core/wheel.h"

#define MR_PRIORITIES (MR_PRIORITY_MAX + 1)
#define MR_PEER_BITS 18
#define MR_NO_PEER ((1u << MR_PEER_BITS) - 1)
#define MR_OWNER_BITS 14
#define MR_OWNERS_MAX ((1u << MR_OWNER_BITS) - 1)
#define MR_NOTE_BYTES                                                                    \
    128u /* progress text that is kept: a length byte and so many less one */

/* ---- jobs ---------------------------------------------------------------------------------- */

enum mr_job_state {
    MR_JOB_FREE,
    MR_JOB_STORING,   /* its row is on the way to the database */
    MR_JOB_WAITING,   /* for run_at, a retry or the end of a snooze */
    MR_JOB_READY,     /* in its lane */
    MR_JOB_SENT,      /* held by a worker */
    MR_JOB_SETTLING,  /* an attempt's or the result's row is on the way */
    MR_JOB_RECOVERED, /* from the database at start: a worker may claim it */
    MR_JOB_CHECKING,  /* the database is asked what became of it */
};
#define MR_JOB_STATES (MR_JOB_CHECKING + 1)

#define MR_JOB_ABSENT 1u      /* the payload is not in memory */
#define MR_JOB_DIGEST 2u      /* ... but its digest is */
#define MR_JOB_CANCEL 4u      /* somebody wants it cancelled */
#define MR_JOB_UNCONFIRMED 8u /* sent over an earlier session: does the worker have it? */
#define MR_JOB_LOST 16u    /* SETTLING, CHECKING: with its worker, or with its process */
#define MR_JOB_READING 32u /* the payload has been asked for */
#define MR_JOB_LAST 64u    /* SETTLING: the result's row, not only an attempt's */
#define MR_JOB_RETURNED 128u /* READY: it was at the head of its lane before */
#define MR_JOB_FETCHED 256u  /* the payload was read back above the budget */
#define MR_JOB_SNOOZED 512u  /* WAITING: because it asked for it */
#define MR_JOB_DOUBTED 1024u /* CHECKING: the database did not know it; asked once more */
#define MR_JOB_CRASHED 2048u /* LOST: its process ended, the worker goes on */
#define MR_JOB_UNSTARTED 4096u /* LOST: it was only queued in its worker */
#define MR_JOB_AT_ONCE 8192u   /* was lost so: goes to a free thread only, no queue */
#define MR_JOB_TIMED 16384u    /* its timer is set: else the wheel need not be touched */

/* What most jobs do not have, in a table of its own: ten million jobs that wait are to fit into
 * memory. All zero: as if it were not there. */
struct mr_extra {
    uint8_t *note;                        /* SENT: progress text, MR_NOTE_BYTES */
    int64_t expires_at_us;                /* wall, 0: never */
    uint32_t reading_bytes;               /* set aside for READING */
    uint32_t timeout_ms, backoff_base_ms, /* 0: the kind's or the default */
        backoff_cap_ms;
    uint16_t backoff_factor_percent, attempts_max; /* 0: as above */
    uint16_t failures, permille;
    uint8_t losses, near_losses; /* while it ran; while it was queued in a worker */
    uint8_t backoff_jitter;      /* see MR_JITTER_NONE */
};

struct mr_job {
    struct mr_uuid id; /* first: the key */
    union {
        uint8_t *payload; /* payload, then trace; NULL when both are empty */
        uint64_t digest;  /* MR_JOB_ABSENT and MR_JOB_DIGEST */
    } u;
    int64_t submitted_at_us; /* wall */
    int64_t ready_us;        /* monotonic: since when it has been ready */
    union {
        int64_t sent_us; /* monotonic; SENT */
        int64_t due_us;  /* monotonic; else: not before */
    };
    uint32_t prev, next; /* in the lane, the worker's list or the recovered ones */
    uint32_t lane, waiters;
    uint32_t extra;                 /* 0: nothing of it */
    uint32_t attempt;               /* highest number given */
    uint32_t peer : MR_PEER_BITS;   /* SENT: who holds it */
    uint32_t owner : MR_OWNER_BITS; /* whose it is; 0: nobody's */
    uint32_t payload_bytes : 24, trace_bytes : 8;
    uint16_t queue, kind;
    uint16_t flags;
    uint8_t state, priority;
};
_Static_assert(sizeof(struct mr_job) <= 88, "a waiting job's bytes are counted");
_Static_assert(MR_PAYLOAD_BYTES_MAX < 1u << 24, "a payload's size has its bits");

/* ---- lanes and rings ------------------------------------------------------------------------ */

/* Ready jobs of one queue, key (or kind, when there is no key) and priority, in order. */
struct mr_lane {
    struct mr_uuid key; /* first: priority, queue, kind or keyed hash of the lane's key */
    uint32_t head, tail;
    uint32_t prev, next; /* ring of the cell */
    uint32_t cell;       /* 0: in none (empty, or its head is being read back) */
    uint32_t jobs;       /* that belong to it, in any state */
    uint32_t starved_next;
    uint32_t ask_in; /* handed out so many more: payloads are asked for again */
    uint16_t queue;
    uint8_t priority;
    bool is_starved, has_key;
};

/* Lanes of one kind, queue and priority that have something to run. */
struct mr_cell {
    uint32_t front;      /* lane that is next */
    uint32_t prev, next; /* ring of the kind at this priority */
    bool is_linked;      /* not: empty or the queue is paused */
};

struct mr_kind {
    uint32_t rings[MR_PRIORITIES]; /* cell that is next */
    uint32_t occupied;             /* bit per priority */
    uint32_t workers, ready, sent;
    bool is_known;
};

struct mr_queue {
    bool is_paused;
    uint32_t waiting, ready, sent;
    uint64_t finished;
};

/* ---- owners ---------------------------------------------------------------------------------- */

/* A principal that has jobs in memory or sessions; its name is in owner_names. */
struct mr_owner {
    struct mr_quota quota; /* as long as it has a session */
    struct mr_quota_use use;
};

/* ---- peers ---------------------------------------------------------------------------------- */

/* Of the queues with jobs of a kind: which may a worker run? */
enum mr_run { MR_RUN_NONE, MR_RUN_SOME, MR_RUN_ALL };

struct mr_offered {
    uint16_t kind;
    enum mr_run run;
    uint32_t running, running_max; /* running_max 0: no limit */
    struct mr_retry_policy policy; /* what is 0 is not said */
};

struct mr_peer {
    int role;           /* 0: nobody */
    uint32_t principal; /* 0: nobody asks */
    uint32_t serial;    /* tells one user of the number from the next */
    uint16_t owner;     /* of what it submits: the principal by name */
    uint8_t name_bytes;
    char name[MR_NAME_BYTES_MAX];
    int64_t heard_us;
    uint32_t older, newer; /* by heard_us */
    uint32_t watchers;     /* first of its list */

    /* workers */
    struct mr_uuid instance;
    uint32_t threads, held, jobs; /* jobs: first of its list, newest first */
    uint32_t oldest_job;          /* last of its list */
    uint32_t suspects;            /* of those held: see mr_job_is_suspect */
    uint64_t credit, sent;        /* since WELCOME */
    struct mr_offered *offers;
    uint32_t offer_count, offer_last; /* last: the one that was asked for last */
    uint32_t prev, next;              /* ring of workers */
    uint32_t timeout_max_ms;          /* of what it has been sent since it held nothing */
    int64_t confirm_us; /* when unconfirmed attempts are given up; 0: none */
    bool is_draining;   /* it was told to end */
};

/* What was asked of rights before: a table without chains, the last one stands. */
#define MR_RUN_MEMO 4096u
struct mr_run_memo {
    uint32_t serial, principal;
    uint16_t kind, queue;
    bool may;
};

/* ---- who waits for what ------------------------------------------------------------------------ */

enum mr_slip_type { MR_SLIP_FIRST = 1, MR_SLIP_AGAIN, MR_SLIP_DONE, MR_SLIP_VERDICT };

/* One item of a message: waits on a job, then is its verdict. */
struct mr_slip {
    uint32_t next; /* of the job's waiters, or of the receipt's verdicts */
    uint32_t receipt;
    uint16_t index, code;
    uint8_t type;
    bool made_watch, is_copy;
    uint16_t text_bytes;
    const char *text;
    uint64_t digest; /* AGAIN: of the payload */
};

/* One SUBMIT or DONE message that has not been acknowledged yet. */
struct mr_receipt {
    uint32_t peer, serial;
    uint64_t corr;
    uint32_t reserved; /* slips */
    uint32_t count, pending;
    uint32_t first, last, verdicts;
    uint32_t hinted, retry_after_ms; /* BUSY with a hint of their own; the longest */
    bool is_open;
};

enum mr_watch_type { MR_WATCHES = 1, MR_CANCELS };

struct mr_watcher {
    struct mr_uuid id;             /* first: the key */
    uint64_t corr;                 /* CANCELS */
    uint32_t prev, next;           /* others who watch the same id */
    uint32_t peer_prev, peer_next; /* what else the peer watches */
    uint32_t peer;
    uint8_t type;
    bool is_asked;  /* not in memory: the database has been asked */
    bool sees_any;  /* not only its own principal's jobs */
    bool is_uneven; /* that depends on the job's queue or kind */
};

/* Workers try again every two seconds to store what they have. */
#define MR_STORE_BACK_US INT64_C(5000000)

/* An attempt that a worker says it holds, of a job that is not loaded yet. */
struct mr_claim {
    struct mr_uuid id; /* first: the key */
    uint32_t peer, serial, attempt;
    bool is_asked; /* the database has been asked for the job */
    bool is_gone;  /* ... and has said that it is not unfinished any more */
};

struct mr_ended {
    struct mr_uuid id;   /* first: the key */
    uint32_t is_claimed; /* a worker says so that was not known to hold it */
};

/* The message that is being taken in. */
struct mr_intake {
    uint32_t peer, receipt, flags, taken;
    uint32_t above_rate; /* refused for jobs_per_s */
};

struct mr_core {
    struct mr_core_conf conf;
    mr_core_act_fn act;
    void *context;
    struct mr_now now;
    struct mr_core_stats stats; /* the counters; gauges are made on demand */
    uint64_t random;

    struct mr_ids_hash id_hash; /* of all tables below */
    struct mr_slab jobs;
    struct mr_slab extras; /* as many as jobs: there is always one left */
    struct mr_ids job_ids;
    struct mr_wheel wheel; /* a timer per job */
    struct mr_pool pool;
    uint32_t by_state[MR_JOB_STATES];
    uint64_t storing_bytes, reading_bytes;
    uint32_t recovered_first, recovered_last;

    struct mr_names queue_names, kind_names, owner_names;
    struct mr_owner *owners;
    struct mr_queue *queues;
    struct mr_kind *kinds;
    struct mr_slab lanes;
    struct mr_ids lane_ids;
    uint32_t lane_last; /* that was asked for: the next job is often of the same */
    struct mr_cell *cells;
    uint32_t linked_cells;
    uint32_t
        starved; /* first lane whose head could not be read back for want of memory */
    int64_t sweep_fetched_us;

    struct mr_peer *peers;
    uint32_t peers_max, workers, clients;
    uint32_t oldest, newest; /* peers by when they were heard */
    uint32_t turn;           /* worker that is next */
    int64_t confirm_us;      /* the earliest of the workers' */
    uint32_t serial;
    const struct mr_found *found;   /* that is being taken in, NULL: none */
    const struct mr_rights *rights; /* borrowed; NULL: everybody may everything */
    struct mr_run_memo *run_memo;
    uint32_t run_serial; /* what was remembered under another one is forgotten */

    struct mr_slab slips, receipts, watchers;
    struct mr_ids watch_ids;
    uint32_t slips_reserved, submit_slips_max;
    struct mr_verdict *verdicts; /* scratch for one ACK */
    struct mr_intake submit, done;

    bool is_loading, is_draining, is_store_up; /* loading: nothing is handed out yet */
    bool is_partial;        /* some jobs are only in the database yet */
    bool done_must_wait;    /* the DONE that comes is about such a job */
    int64_t grace_until_us; /* 0: the grace has not begun */
    int64_t store_back_us;  /* results that waited for the database are stored by then */
    struct mr_slab claims;
    struct mr_ids claim_ids;
    struct mr_slab
        ended; /* ids that ended while rows were on their way from the database */
    struct mr_ids ended_ids;
    bool ended_is_full; /* some more have */
};

static inline struct mr_job *
mr_job_at(const struct mr_core *core, uint32_t slot)
{
    return mr_slab_at(&core->jobs, slot);
}

static inline const struct mr_extra *
mr_extra_of(const struct mr_core *core, const struct mr_job *job)
{
    return mr_slab_at(&core->extras, job->extra); /* 0: nobody's, and zeros */
}

/* To be written to. */
static inline struct mr_extra *
mr_extra_make(struct mr_core *core, struct mr_job *job)
{
    if (!job->extra)
        job->extra = mr_slab_take(&core->extras);
    MR_ASSERT(job->extra);
    return mr_slab_at(&core->extras, job->extra);
}

static inline struct mr_lane *
mr_lane_at(const struct mr_core *core, uint32_t slot)
{
    return mr_slab_at(&core->lanes, slot);
}

static inline uint32_t
mr_u32_min(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Was there when its worker or its process ended so often that it may be what ends them. A
 * worker gets one such job at a time: the others that were lost with it are not lost again
 * because of it. Those that were only queued count here, too: one that was taken for queued and
 * ran is then not behind those that ran beside it, and parts from them in time. */
static inline bool
mr_job_is_suspect(const struct mr_core *core, const struct mr_job *job)
{
    const struct mr_extra *extra = mr_extra_of(core, job);
    uint32_t seen = (uint32_t)extra->losses + extra->near_losses;

    return seen && seen * 2u >= core->conf.losses_max;
}

/* Monotonic time of a wall time, by the difference of the clocks now. A later step of the wall
 * clock moves no delay (it is a duration by then); an expiry is compared with the wall again
 * when its timer fires. */
static inline int64_t
mr_core_mono_of(const struct mr_core *core, int64_t wall_us)
{
    return wall_us - core->now.wall_us + core->now.mono_us;
}

static inline int64_t
mr_core_wall_of(const struct mr_core *core, int64_t mono_us)
{
    return mono_us - core->now.mono_us + core->now.wall_us;
}

#endif
