/*
 * What session*.c share. Nobody else includes this.
 */
#ifndef MR_WORKER_SESSION_PRIV_H
#define MR_WORKER_SESSION_PRIV_H

#include "worker/pace.h"
#include "worker/session.h"

#define MR_NEVER_US INT64_MAX

struct mr_attempts { /* a list through prev, next */
    struct mr_attempt *first, *last;
    uint32_t count;
};

/* A DONE that was sent and not acknowledged. */
struct mr_flight {
    uint64_t corr;
    struct mr_attempts attempts;
    struct mr_flight *next;
};

struct mr_seat { /* an executor's number */
    bool is_idle;
    struct mr_attempt *attempt; /* NULL once it came back or went to the committer */
    uint32_t kind;              /* index in the registry */
    int64_t deadline_us;        /* of the handler */
    int64_t cancel_us;          /* when its SQL is cancelled (again) */
    int64_t hung_us;            /* when it counts as hung; set at the deadline */
};

struct mr_session {
    struct mr_session_conf conf;
    mr_session_act_fn act;
    void *context;

    struct mr_seat *seats;
    uint32_t *kind_running; /* by index in the registry */
    uint32_t idle_seats, replaced;

    struct mr_attempt **buckets;
    uint32_t bucket_mask;
    struct mr_attempt *free_first;
    struct mr_attempt *all_first; /* held; newest first */
    uint32_t held, held_max;
    uint64_t held_bytes;
    uint64_t serial;

    struct mr_attempts queued, reported;
    uint32_t running;
    struct mr_pace pace;
    struct mr_flight *flights, *free_flights; /* oldest first */
    struct mr_flight **flights_end;

    bool is_up;
    uint64_t corr;
    uint64_t taken, announced; /* credit, since WELCOME */
    int64_t heartbeat_us, beat_us, resume_us;
    bool is_beating; /* a BEAT is being said, perhaps in several messages */
    struct mr_attempt *beat_next;

    bool is_draining, has_said_draining, has_hurried, is_worn_out;
    int64_t stop_us, over_us;
};

/* session.c */
void mr_session_list_put(struct mr_attempts *list, struct mr_attempt *attempt);
void mr_session_list_remove(struct mr_attempts *list, struct mr_attempt *attempt);
/* All of `from` to the front of `to`, `place` set. */
void mr_session_list_move(
    struct mr_attempts *from, struct mr_attempts *to, enum mr_attempt_place place);
/* Out of the tables: it is neither found nor named in BEATs, and never reported. Again: nothing. */
void mr_session_disown(struct mr_session *session, struct mr_attempt *attempt);
/* Out of every table; it may be used again. Not in a list any more. */
void mr_session_forget(struct mr_session *session, struct mr_attempt *attempt);
/* To the pool: nothing of it is counted any more. */
void mr_session_put_free(struct mr_session *session, struct mr_attempt *attempt);
void mr_session_report(struct mr_session *session, struct mr_attempt *attempt);

/* session_time.c */
/* Set why it has to stop, unless it has been told before; the tick cancels its SQL. */
void mr_session_stop(struct mr_attempt *attempt, enum mr_stop why);

#endif
