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
    bool
        is_quick; /* nothing in it has to be stored by the broker: its answer comes at once */
    struct mr_attempts attempts;
    struct mr_flight *next;
};

struct mr_seat { /* an executor's number */
    bool is_idle;
    struct mr_batch *batch; /* what it was handed, unless it is idle */
    uint32_t limited; /* kind with a running_max, which goes alone; or MR_NO_LIMIT */
    int64_t handed_us;

    /* Of the one that runs now: */
    uint32_t item;     /* in the batch */
    uint64_t serial;   /* the attempt of which the rest speaks */
    bool is_late;      /* past its deadline */
    int64_t cancel_us; /* when its SQL is cancelled (again) */
    int64_t hung_us;   /* when it counts as hung; set at the deadline */
};

#define MR_NO_LIMIT UINT32_MAX

struct mr_session_kind { /* by index in the registry */
    uint32_t running;    /* only counted for those with a limit */
    bool is_isolated;
    bool goes_alone; /* never in a batch with others */
};

struct mr_session {
    struct mr_session_conf conf;
    mr_session_act_fn act;
    void *context;

    struct mr_seat *seats;
    struct mr_batch *batches; /* one a seat, then those of replaced executors */
    struct mr_session_kind *kinds;
    uint32_t idle_seats, replaced;
    int64_t take_back_us; /* when something is to be taken back, as of the last tick */

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
    uint32_t quick_flights;
    bool was_full; /* the last DONE: the rest of what was there follows */

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

/* session_seat.c */
int64_t mr_session_earlier(int64_t a, int64_t b);
enum mr_status mr_session_seats_new(struct mr_session *session) MR_MUST_CHECK;
void mr_session_seats_free(struct mr_session *session);
/* A RUNNING one that has not started: to the front of the queue. False: it has. */
bool mr_session_take_back(struct mr_session *session, struct mr_attempt *attempt);
void mr_session_take_all_back(struct mr_session *session);
/* Hand over what is queued; what waits behind a long one comes back before. */
void mr_session_seats_start(struct mr_session *session, struct mr_now now);
/* Timeouts, hangs. Returns when there is more to do. */
int64_t mr_session_seats_watch(struct mr_session *session, struct mr_now now);
/* Set why it has to stop, unless it has been told before; the tick cancels its SQL. */
void mr_session_stop(struct mr_attempt *attempt, enum mr_stop why);
/* The same for all that run. */
void mr_session_stop_all(struct mr_session *session, enum mr_stop why);

#endif
