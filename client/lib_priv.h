/*
 * What the files of libmillrace share. The calling threads make requests and give them to the
 * I/O thread through a mailbox; only the I/O thread ends them (also when their deadline is
 * over), so a request has one owner at a time. Everything below `struct mr_lib_link` belongs to
 * the I/O thread.
 */
#ifndef MR_CLIENT_LIB_PRIV_H
#define MR_CLIENT_LIB_PRIV_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/millrace.h"
#include "schemas/base/hash.h"
#include "schemas/base/mailbox.h"
#include "schemas/base/status.h"
#include "schemas/base/uuid.h"
#include "schemas/wire/curve.h"
#include "schemas/wire/msg.h"
#include "schemas/wire/seal.h"

#define MR_LIB_ENDPOINTS_MAX 16
#define MR_LIB_TEXT_MAX 512
#define MR_LIB_NEVER INT64_MAX
/* One message with jobs is under way, and what gathers meanwhile is the next one; a few more if
 * they are large. */
#define MR_LIB_FLIGHTS_MAX 4
#define MR_LIB_LARGE_JOBS 256u

struct mr_lib_req;
struct mr_lib_flight;

/* One job on its way to being durable. */
struct mr_lib_unit {
    struct mr_lib_unit *next, *prev; /* in the list of those to be sent */
    struct mr_lib_req *req;
    struct mr_lib_flight *flight; /* the message that carries it; NULL: not under way */
    struct mr_span job;           /* its encoding */
    uint32_t flight_index;
    int code; /* the broker's last word; the verdict, once is_settled */
    bool is_listed, is_settled;
    bool was_sent;
    bool is_resent; /* answered with "later", or not at all */
    bool is_unsure; /* not answered at all: an earlier message may have stored it */
};

/* One id that somebody waits for. */
struct mr_lib_waiter {
    struct mr_lib_waiter *next; /* in its bucket */
    struct mr_lib_waiter *ask_next,
        *ask_prev; /* among those whose WATCH has to be sent */
    struct mr_lib_req *req;
    struct mr_uuid id;
    uint64_t hash;    /* of the id */
    int64_t asked_us; /* when WATCH was sent last */
    bool is_armed;    /* false: its own submit is not acknowledged yet */
    bool is_listed, is_asking;
};

enum mr_lib_type { MR_LIB_READY, MR_LIB_SUBMIT, MR_LIB_WAIT, MR_LIB_CALL, MR_LIB_STOP };

/* One piece of memory with its units, its waiters and what those point to behind it. */
struct mr_lib_req {
    struct mr_node node; /* first: mailbox nodes are cast back */
    struct mr_lib_req *next, *prev;
    enum mr_lib_type type;
    bool is_async;
    bool was_sent;          /* something of it, at least once */
    bool wants_only_a_look; /* fetch: WAITING is an answer */
    int code;
    int64_t deadline_us; /* monotonic */
    void *tag;
    char *text;         /* why, for a failure; NULL: nothing to say */
    const char *advice; /* what to do; static; NULL: what the code says */

    struct mr_uuid id;    /* of an asynchronous job */
    struct mr_span queue; /* of all its units */
    struct mr_lib_unit *units;
    struct mr_lib_waiter *waiters;
    uint32_t unit_count, units_left;
    uint32_t waiter_count, found; /* found: index of the waiter that ended it */
    struct millrace_result result;
    sem_t done; /* blocking calls */

    const char *method; /* CALL */
    uint64_t corr;      /* 0: it has to be sent */
    struct mr_wr bytes; /* args, then the reply */
};

/* A SUBMIT that is not acknowledged. */
struct mr_lib_flight {
    struct mr_lib_flight *next;
    uint64_t corr;
    uint32_t count, awaited;     /* awaited: units whose requests have not ended */
    struct mr_lib_unit *units[]; /* NULL: its request has ended meanwhile */
};

enum mr_lib_state { MR_LIB_DOWN, MR_LIB_GREETING, MR_LIB_UP };

struct mr_lib_link {
    struct millrace *mr;
    bool is_stopping;
    bool is_full;       /* as the gate says */
    bool is_rung;       /* the inbox's bell: hush it */
    bool has_completed; /* completions were pushed whose bell is not rung yet */
    int64_t now_us;     /* when this turn began */
    uint64_t random;

    /* The connection. */
    void *socket;              /* NULL when DOWN */
    void *monitor;             /* says when the connection breaks */
    int socket_fd, monitor_fd; /* -1 when DOWN */
    bool may_hear, may_break;  /* there may be something to be received from them */
    bool has_used;             /* sent, and not looked since */
    enum mr_lib_state state;
    unsigned endpoint, misses; /* misses: failures in a row */
    int64_t next_try_us, greet_until_us, heard_us, said_us;
    uint32_t heartbeat_ms, window_jobs;
    uint64_t corr; /* of the last message that wants an answer */
    struct mr_wr
        out;     /* what the socket has not taken yet; n is 0 when there is nothing */
    int fall;    /* the connection is to be given up: why; 0: it is fine */
    int refusal; /* code with which we were refused last; 0: we were not */
    const char *advice; /* ... and what to do about it; static; NULL: nothing special */
    char text[MR_LIB_TEXT_MAX]; /* what went wrong last */

    /* Requests that have not ended. */
    struct mr_lib_req *open;
    int64_t next_deadline_us;
    bool has_unsent_calls;

    /* Submits. */
    struct mr_lib_unit *first,
        *last; /* to be sent: those that were sent before come first */
    uint32_t listed_jobs;
    size_t listed_bytes;
    struct mr_lib_flight *flights, *flights_end;
    uint32_t flight_count, jobs_out, busy_in_a_row;
    uint32_t awaited_flights; /* of these, those for whose answer somebody waits */
    int64_t resume_us;        /* none is sent before */

    /* Waits. */
    struct mr_lib_waiter **buckets;
    uint32_t bucket_count, waiter_count;
    struct mr_lib_waiter *ask_first, *ask_last;
    struct mr_uuid *dropped; /* ids nobody waits for any more; room for one message */
    uint32_t dropped_count;
    int64_t again_us;
};

struct millrace {
    void *context;
    void *thread;
    struct mr_mailbox *inbox, *completions;
    char *endpoints[MR_LIB_ENDPOINTS_MAX];
    unsigned endpoint_count;
    char name[MR_NAME_BYTES_MAX + 1];
    struct mr_uuid instance;
    int default_timeout_ms;
    uint32_t outstanding_max;
    atomic_uint_fast32_t outstanding;
    struct mr_hash_key hash_key;
    struct mr_curve_peer peer; /* constant */
    /* Twice the number of jobs that were given to the thread; odd while it could not send
     * another one, and need not be woken for it. */
    _Atomic uint32_t gate;
    struct mr_seal_ring *ring; /* NULL: nothing is sealed */
};

/* lib_request.c: both threads. New ones are NULL if memory is out. */
struct mr_lib_req *mr_lib_request_new(
    const struct millrace *mr, enum mr_lib_type type, int timeout_ms);
/* Encodes jobs[0..count), count at least 1, and stops early when a message's worth, another
 * queue or a bad job is reached; *taken says how many. A failure is about jobs[0]. */
int mr_lib_request_submit(const struct millrace *mr, const struct millrace_job *jobs,
    size_t count, bool with_waiters, int timeout_ms, size_t *taken,
    struct mr_lib_req **out, struct millrace_error *error);
struct mr_lib_req *mr_lib_request_wait(const struct millrace *mr,
    const struct millrace_id *ids, uint32_t count, int timeout_ms);
/* `args` is a map or empty. */
struct mr_lib_req *mr_lib_request_call(
    const struct millrace *mr, const char *method, struct mr_span args, int timeout_ms);
void mr_lib_request_free(struct mr_lib_req *req);
/* Replaces what it has to say; empty: nothing. */
void mr_lib_request_say(struct mr_lib_req *req, struct mr_span text);
/* Give it away: an asynchronous one may be gone when this returns. */
void mr_lib_request_give(struct millrace *mr, struct mr_lib_req *req);
/* Wait for the end of one that was given and is not asynchronous. */
void mr_lib_request_await(struct mr_lib_req *req);
int mr_lib_error(
    struct millrace_error *error, int code, const char *what, const char *why);
/* What its request says of a code. */
int mr_lib_error_of(struct millrace_error *error, int code, const char *what,
    const struct mr_lib_req *req);

/* lib_seal.c. Open: the ring that the options name, if they do. */
int mr_lib_seal_open(struct millrace *mr, const struct millrace_options *options,
    struct millrace_error *error);
/* Whether arguments of so many bytes can be sent. */
bool mr_lib_seal_fits(const struct millrace *mr, size_t args_bytes);
/* With a ring: the row's payload sealed into `room`, mr_seal_bytes() large. */
void mr_lib_seal_row(const struct millrace *mr, struct mr_job_new *row, uint8_t *room);
/* The broker has the job with another payload: seal it with the next key, with which it may have been
 * submitted first. False: there is none. */
bool mr_lib_seal_again(const struct millrace *mr, const struct mr_lib_unit *unit);

/* lib_link.c: the thread. `argument` is the handle. */
void mr_lib_link_run(void *argument);
/* Ends a request: takes it out of everything and hands it back. `text` may be empty. */
void mr_lib_link_end(
    struct mr_lib_link *link, struct mr_lib_req *req, int code, struct mr_span text);
/* HELLO, or the handshake before it, was refused, and will be again. Ends what was never sent; what
 * was may have had an effect, and waits. */
void mr_lib_link_refused(struct mr_lib_link *link, int code, const char *advice);
/* Keeps what went wrong last. */
void mr_lib_link_say(struct mr_lib_link *link, struct mr_span text);
/* True if a message may be put into link->out now. */
bool mr_lib_link_is_free(const struct mr_lib_link *link);
/* Sends link->out, or keeps it until the socket takes it. */
void mr_lib_link_send(struct mr_lib_link *link);
/* A turn's parts that need no socket to read from: a new request (freed, or ended, by its owner
 * later); a message of the broker; all that is due, sent as far as the socket takes it. */
void mr_lib_link_admit(struct mr_lib_link *link, struct mr_lib_req *req);
void mr_lib_link_frame(struct mr_lib_link *link, struct mr_span frame, int64_t now_us);
void mr_lib_link_work(struct mr_lib_link *link, int64_t now_us);
/* base * 2^n, at most cap, with jitter of a half. */
int64_t mr_lib_link_backoff_us(
    struct mr_lib_link *link, unsigned n, int64_t base_us, int64_t cap_us);

/* lib_socket.c. Open: on failure link->fall and link->text say so. Listen: has the connection
 * broken? Then link->fall. Receive: a turn's worth of messages. Wait: until there may be
 * something from the broker or in the inbox. */
void mr_lib_socket_open(struct mr_lib_link *link, const char *endpoint);
void mr_lib_socket_listen(struct mr_lib_link *link);
void mr_lib_socket_receive(struct mr_lib_link *link);
void mr_lib_socket_wait(struct mr_lib_link *link, int timeout_ms);
void mr_lib_socket_close(struct mr_lib_link *link);

/* lib_submit.c */
void mr_lib_submit_admit(struct mr_lib_link *link, struct mr_lib_req *req);
void mr_lib_submit_forget(struct mr_lib_link *link, struct mr_lib_req *req);
void mr_lib_submit_flush(struct mr_lib_link *link, int64_t now_us);
/* True if one more job could not be sent now. */
bool mr_lib_submit_is_full(const struct mr_lib_link *link);
void mr_lib_submit_on_ack(
    struct mr_lib_link *link, const struct mr_msg *msg, int64_t now_us);
/* True if the error was about a SUBMIT of ours. */
bool mr_lib_submit_on_error(struct mr_lib_link *link, uint64_t corr,
    const struct mr_error *error, int64_t now_us);
/* The connection is gone: all that is unacknowledged has to be sent again. */
void mr_lib_submit_restart(struct mr_lib_link *link);

/* lib_watch.c. Admit: false if memory is out. */
bool mr_lib_watch_admit(struct mr_lib_link *link, struct mr_lib_req *req);
/* Its job is known to the broker. `must_ask`: the broker may not tell by itself. */
void mr_lib_watch_arm(struct mr_lib_link *link, struct mr_lib_req *req, bool must_ask);
void mr_lib_watch_forget(struct mr_lib_link *link, struct mr_lib_req *req);
void mr_lib_watch_flush(struct mr_lib_link *link, int64_t now_us);
void mr_lib_watch_on_event(struct mr_lib_link *link, const struct mr_msg *msg);
/* Ask again for those that were asked for before `before_us`. */
void mr_lib_watch_again(struct mr_lib_link *link, int64_t before_us);

#endif
