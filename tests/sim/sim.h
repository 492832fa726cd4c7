/*
 * A world in one thread under virtual time, made from one seed: a broker's real core, model
 * clients and workers, a network that loses what was under way when a connection breaks, and a
 * model of the database that fails before, during and after its commits. Nothing here is
 * random but by the seed: a failing seed fails again.
 *
 *   sim_test.c  seeds, faults, what must hold in the end
 *   broker.c    the loop around the core, its crashes, what must hold at each action
 *   client.c    submits, submits again, watches, cancels
 *   worker.c    runs jobs, fails, freezes, dies, comes back
 *   store.c     rows; one request at a time, like the writer's connection
 */
#ifndef MR_TESTS_SIM_SIM_H
#define MR_TESTS_SIM_SIM_H

#include "broker/core/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIM_JOBS 120
#define SIM_CLIENTS 2
#define SIM_WORKERS 3
#define SIM_ACTORS (SIM_CLIENTS + SIM_WORKERS)
#define SIM_ITEMS 24
#define SIM_MESSAGES 1024 /* under way in one direction of a connection */
#define SIM_REQUESTS 16384
#define SIM_HELD 64
#define SIM_PEERS 12

/* What the handler does, chosen with the job. */
enum sim_way {
    SIM_SUCCEEDS,
    SIM_FAILS_ONCE,
    SIM_FAILS_ALWAYS,
    SIM_FAILS_FOR_GOOD,
    SIM_SNOOZES_ONCE,
    SIM_HANGS_ONCE, /* until its timeout */
    SIM_KILLS_ITS_WORKER,
    SIM_WAYS,
};

struct sim_job {
    struct mr_uuid id;
    uint8_t payload[24];
    uint32_t payload_bytes;
    uint8_t queue, kind, lane, priority;
    enum sim_way way;
    int64_t run_at_us, expires_at_us;
    uint32_t attempts_max;
    uint32_t client;

    /* what the client knows */
    bool is_acked, is_refused, has_heard, has_cancelled;
    enum mr_outcome heard;
    enum mr_status cancel_reply; /* MR_OK: none yet, or cancelled */
    bool is_cancel_answered;

    /* rows */
    bool is_stored, is_finished;
    enum mr_outcome outcome;
    uint32_t result_attempt, attempts, failures, losses, results;
    int64_t retry_at_us, submitted_at_us;
    uint64_t recorded; /* attempts below 64 that have a row, as bits */

    uint32_t tries; /* how often a handler was started */
};

enum sim_type {
    SIM_SUBMIT,
    SIM_WATCH,
    SIM_CANCEL, /* from clients */
    SIM_CREDIT,
    SIM_DONE,
    SIM_BEAT,
    SIM_PING, /* from workers, PING from both */
    SIM_ACK,
    SIM_EVENT,
    SIM_REPLY,
    SIM_ERROR,
    SIM_JOB,
    SIM_REVOKE,
    SIM_NO_SESSION,
};

struct sim_item {
    uint32_t job; /* index */
    uint32_t attempt, code;
    enum mr_report report;
    enum mr_outcome outcome;
    bool is_forged; /* SUBMIT: with another payload than the job's */
};

struct sim_message {
    int64_t at_us; /* when it arrives */
    uint32_t actor;
    enum sim_type type;
    uint64_t corr;
    uint32_t flags, count, n;
    struct sim_item items[SIM_ITEMS];
};

/* A run of a handler, or a job that waits for a thread (ends_us 0). */
struct sim_run {
    bool is_used, is_revoked;
    enum mr_why why;
    uint32_t job, attempt;
    int64_t ends_us, times_out_us;
};

struct sim_outbox { /* a message that has to be acknowledged */
    bool is_used;
    struct sim_message message;
    int64_t again_us;
};

struct sim_actor {
    bool is_worker, is_connected;
    uint32_t connection; /* which one it is */
    int64_t connects_us, frozen_until_us, next_us;
    uint64_t corr;
    struct sim_outbox outbox[SIM_HELD];

    /* workers */
    uint8_t instance;
    uint64_t credit, got; /* in this connection */
    struct sim_run runs[SIM_HELD];
};

/* One direction of a connection: in order. */
struct sim_pipe {
    uint32_t first, count;
    struct sim_message messages[SIM_MESSAGES];
};

enum sim_request_type { SIM_STORE, SIM_FIND, SIM_READ, SIM_SWEEP };

struct sim_request {
    enum sim_request_type type;
    uint32_t job;
    bool is_forged;
    struct mr_store_op op;
};

struct sim {
    uint64_t seed, random;
    struct mr_now now;
    bool is_healing; /* no more faults */
    struct mr_core *core;
    struct mr_core_conf conf;
    bool is_broker_up;
    int64_t broker_starts_us, load_done_us;
    bool is_loaded;

    struct sim_job jobs[SIM_JOBS];
    uint32_t submitted; /* jobs that exist so far */
    struct sim_actor actors[SIM_ACTORS];
    uint32_t peers[SIM_PEERS]; /* actor + 1, of the core's numbers */
    uint32_t peer_connections[SIM_PEERS];
    struct sim_pipe *pipes;     /* [actor * 2 + to_broker] */
    struct sim_message nowhere; /* what is sent without a connection */

    struct sim_request *requests; /* ring */
    uint32_t first_request, request_count, batch;
    int64_t store_answers_us;
    bool is_store_down, is_applied;
    uint64_t acks, jobs_sent, crashes;
};

_Noreturn void sim_fail(const struct sim *sim, const char *what, int line);
#define SIM_MUST(e) ((e) ? (void)0 : sim_fail(sim, #e, __LINE__))

uint64_t sim_random(struct sim *sim, uint64_t below);
/* True n times in a thousand, and never when the world heals. */
bool sim_fault(struct sim *sim, uint32_t per_mille);

uint32_t sim_index(struct mr_uuid id);
struct mr_job_new sim_job_new(const struct sim *sim, uint32_t job, bool is_forged);

/* broker.c */
void sim_broker_start(struct sim *sim);
void sim_broker_stop(struct sim *sim);
void sim_broker_step(struct sim *sim);
void sim_broker_receive(struct sim *sim, const struct sim_message *message);
/* A connection is made or lost; the broker hears of the latter at once, or by silence. */
void sim_broker_connect(struct sim *sim, uint32_t actor);
void sim_broker_disconnect(struct sim *sim, uint32_t actor, bool hears);

/* sim_test.c: the network */
struct sim_message *sim_send(
    struct sim *sim, uint32_t actor, enum sim_type type, bool to_broker);
void sim_lose_connection(struct sim *sim, uint32_t actor, bool hears);

/* client.c, worker.c */
void sim_client_step(struct sim *sim, uint32_t actor);
void sim_client_receive(struct sim *sim, const struct sim_message *message);
bool sim_client_is_content(const struct sim *sim);
void sim_worker_step(struct sim *sim, uint32_t actor);
void sim_worker_receive(struct sim *sim, const struct sim_message *message);
void sim_worker_connected(struct sim *sim, uint32_t actor);
/* Keep it until it is acknowledged. */
void sim_outbox_put(struct sim *sim, uint32_t actor, const struct sim_message *message);
void sim_outbox_step(struct sim *sim, uint32_t actor, bool all);
const struct sim_outbox *sim_outbox_find(const struct sim_actor *actor, uint64_t corr);
void sim_outbox_drop(struct sim *sim, uint32_t actor, uint64_t corr);

/* store.c */
void sim_store_request(struct sim *sim, const struct sim_request *request);
void sim_store_step(struct sim *sim);
void sim_store_forget(struct sim *sim); /* the broker died: what waited is gone */
/* A worker's transaction. False: another result stands. */
bool sim_store_finish(
    struct sim *sim, uint32_t job, enum mr_outcome outcome, uint32_t attempt);
struct mr_stored_job sim_store_row(
    const struct sim *sim, uint32_t job, bool with_payload);

#endif
