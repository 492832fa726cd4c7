/*
 * A world in one thread under virtual time, made from one seed: the broker's real core, workers
 * with their real session logic, messages as they go over the wire, model clients, handlers and
 * committers, a network that delays and loses, and a model of the database that fails before, at
 * and after its commits. Nothing here is random but by the seed: a failing seed fails again.
 *
 *   sim_test.c  runs seeds, counts, prints the line that replays a failing one
 *   world.c     the loop over events; time, chance, history
 *   draw.c      what a seed makes: how many, how large, which faults
 *   fault.c     when what breaks
 *   net.c       connections: in order each, lost in part when they break
 *   broker.c    the process around the core: turns, phases, crashes
 *   peers.c     messages to and from its peers
 *   act.c       the core's actions, and what must hold at each
 *   writer.c    the broker's tasks for the database, one at a time
 *   store.c     rows, transactions, locks, the epoch
 *   worker.c    the process around the session: link, notes, crashes
 *   run.c       its executors and their handlers
 *   committer.c its committer
 *   client.c    submits, submits again, watches, cancels
 *   judge.c     what must hold in the end
 */
#ifndef MR_TESTS_SIM_SIM_H
#define MR_TESTS_SIM_SIM_H

#include "broker/core/core.h"
#include "schemas/wire/msg.h"
#include "worker/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIM_JOBS_MAX = 1024,
    SIM_WORKERS_MAX = 20,
    SIM_CLIENTS_MAX = 50,
    SIM_ACTORS_MAX = SIM_WORKERS_MAX + SIM_CLIENTS_MAX, /* workers come first */
    SIM_BROKER = SIM_ACTORS_MAX,                        /* as one who takes turns */
    SIM_PEERS_MAX = 96,
    SIM_CONNS_MAX = 512,
    SIM_THREADS_MAX = 8,
    SIM_RUNS_MAX = 2 * SIM_THREADS_MAX, /* with those that were written off */
    SIM_TXS_MAX = 512,
    SIM_COMMITS_MAX = 512,
    SIM_ROWS_MAX = 32, /* of a committer's batch */
    SIM_NOTES_MAX = 256,
    SIM_EVENTS_MAX = 32768,
    SIM_SUBMIT_MAX = 12, /* jobs in a message */
    SIM_OUTBOX_MAX = 24,
    SIM_TASKS_MAX = 256,
    SIM_KINDS = 4,
    SIM_QUEUES = 3,
    SIM_LANES = 4,
    SIM_PATTERN = 1024,
};
#define SIM_NONE UINT32_MAX
/* Of a client by its number: 1 or 2; of all workers. */
#define SIM_PRINCIPAL(client) (1 + (client) % 2)
#define SIM_CREW 3
#define SIM_NEVER INT64_MAX

/* ---- what happened how often; see sim_test.c for which may not stay 0 ------------------------ */

#define SIM_COUNTS(X)                                                                    \
    X(JOBS, "jobs")                                                                      \
    X(ACKED, "acknowledged")                                                             \
    X(SENT, "attempts sent")                                                             \
    X(REDELIVERED, "redeliveries")                                                       \
    X(SUCCEEDED, "succeeded")                                                            \
    X(FAILED, "failed")                                                                  \
    X(CANCELLED, "cancelled")                                                            \
    X(EXPIRED, "expired")                                                                \
    X(RETRIED, "retries")                                                                \
    X(SNOOZED, "snoozes")                                                                \
    X(TIMED_OUT, "timeouts")                                                             \
    X(LOST, "attempts lost")                                                             \
    X(CRASHED, "attempts crashed")                                                       \
    X(GIVEN_BACK, "given back")                                                          \
    X(STALE, "stale reports")                                                            \
    X(ADOPTED, "attempts adopted")                                                       \
    X(QUARANTINED, "quarantined")                                                        \
    X(KNOWN, "submitted again")                                                          \
    X(CONFLICTS, "conflicts")                                                            \
    X(SPIED, "looks at others' jobs")                                                    \
    X(REFUSED, "submits refused")                                                        \
    X(FOLLOW_UPS, "follow-ups")                                                          \
    X(SWEPT, "moved from the inbox")                                                     \
    X(LATE, "late finishers that lost")                                                  \
    X(IN_DOUBT, "commits in doubt")                                                      \
    X(WRITER_DOUBT, "batches in doubt")                                                  \
    X(FENCED, "batches fenced")                                                          \
    X(SESSIONS_ENDED, "transactions ended")                                              \
    X(BUSY_ROWS, "rows that were busy")                                                  \
    X(WORKER_CRASHES, "worker crashes")                                                  \
    X(WORKER_FREEZES, "worker freezes")                                                  \
    X(UNPLUGGED, "workers unplugged")                                                    \
    X(WORKER_DRAINS, "worker drains")                                                    \
    X(BATCHES, "batches of several attempts")                                            \
    X(TAKEN_BACK, "attempts taken back from a batch")                                    \
    X(WRITTEN_OFF, "executors written off")                                              \
    X(WORN_OUT, "workers worn out")                                                      \
    X(CLIENT_CRASHES, "client crashes")                                                  \
    X(BROKER_CRASHES, "broker crashes")                                                  \
    X(BROKER_FREEZES, "broker freezes")                                                  \
    X(BROKER_DRAINS, "broker drains")                                                    \
    X(CUTS, "connections cut")                                                           \
    X(STALLS, "connections stalled")                                                     \
    X(STORE_OUTAGES, "store outages")                                                    \
    X(CLOCK_STEPS, "clock steps")                                                        \
    X(MESSAGES, "messages")                                                              \
    X(CHECKS, "whole checks of the core")

enum sim_count {
#define X(name, text) SIM_N_##name,
    SIM_COUNTS(X)
#undef X
        SIM_COUNT_MAX,
};

/* ---- jobs ------------------------------------------------------------------------------------- */

/* What the handler does, chosen with the job. */
enum sim_way {
    SIM_SUCCEEDS,
    SIM_FAILS_ONCE,
    SIM_FAILS_ALWAYS,
    SIM_FAILS_FOR_GOOD,
    SIM_SNOOZES,    /* twice */
    SIM_HANGS_ONCE, /* far beyond its timeout, deaf */
    SIM_SLOW_ONCE,  /* likewise, but it heeds */
    SIM_KILLS,      /* its worker, while there are faults */
    SIM_CRASHES,    /* its own process, while there are faults; perhaps at its commit */
    SIM_FOLLOWED,   /* puts a job into the inbox */
    SIM_WAYS,
};

struct sim_job {
    struct mr_uuid id;
    uint32_t payload_bytes, client, follow_up;
    uint8_t queue, kind, lane, priority;
    uint8_t owner; /* principal: its client's, or its parent's */
    enum sim_way way;
    int64_t run_at_us, expires_at_us;
    uint32_t delay_ms, attempts_max;

    /* what clients know */
    bool is_acked, is_refused, has_heard, has_cancelled, is_cancel_answered;
    enum mr_outcome heard;
    uint32_t seen_attempt, seen_round; /* by whose it is, in which connection */

    /* what the broker was told and has said; its order in its lane while nothing happened to it */
    bool is_cancel_confirmed;
    uint64_t ready_seq;
    /* In which instance of the broker, 0: none; and the number of its last attempt there. */
    uint32_t cancelled_in, lost_in, over_in, returned_in, sent_in, last_sent;
    int64_t sent_us;
    /* The worker that the last attempt came to, its number, and whether that worker began it. */
    struct mr_uuid taker;
    uint32_t taken;
    bool has_begun;

    /* rows */
    bool is_stored, is_inbox, is_doubted_move, is_finished;
    enum mr_outcome outcome;
    struct mr_uuid finisher;
    uint32_t result_attempt, attempts, failures, losses, effects;
    int64_t retry_at_us, submitted_at_us;
    uint64_t recorded; /* attempts below 64 that have a row, as bits */
    uint32_t lock_tx;  /* + 1: the transaction that has written its account */

    /* attempts below 64, as bits: sent, and by what was reported of them */
    uint64_t sent, reported[MR_REPORT_LAST + 1];
    uint32_t handled; /* how often a handler ran to its end */
};

/* ---- the network -------------------------------------------------------------------------------- */

struct sim_message {
    struct sim_message *next;
    int64_t at_us;
    size_t n;
    uint8_t bytes[];
};

struct sim_pipe {
    struct sim_message *first, *last;
    int64_t last_us, stall_until_us;
};

struct sim_conn {
    bool is_used, is_cut, has_left; /* has_left: the actor closed it */
    uint32_t actor, peer;           /* peer: what the broker knows it by */
    struct sim_pipe to_broker, to_actor;
};

/* ---- the store ------------------------------------------------------------------------------------ */

/* A worker's open transaction. */
struct sim_tx {
    bool is_used, is_ended; /* ended: by the server */
    struct mr_uuid instance;
    uint32_t job, attempt, follow_up;
    int64_t opened_us;
};

/* A worker's COMMIT under way: of a transaction, or of a committer's rows. */
struct sim_commit {
    bool is_used, is_applied, has_owner, applies, answers;
    struct mr_uuid instance;
    uint32_t tx; /* SIM_NONE: rows only */
    uint32_t n;
    struct {
        uint32_t job, attempt;
        enum mr_status status;
        enum mr_outcome found;
    } rows[SIM_ROWS_MAX];
};

enum sim_task_type { SIM_COMMIT_ROWS, SIM_FIND, SIM_READ, SIM_LOAD, SIM_SWEEP };
#define SIM_TASK_TYPES (SIM_SWEEP + 1)

struct sim_request {
    uint32_t job;
    bool is_forged; /* of another body or owner than the job's */
    bool is_there, with_history;
    int64_t
        lost_us; /* when this worker was taken for lost, and its sessions were to end */
    struct mr_uuid lost;
    struct mr_store_op op;
    struct mr_found found;
    struct mr_stored_job row;
};

struct sim_task {
    enum sim_task_type type;
    uint64_t epoch;
    bool is_used, is_fenced, has_more;
    uint32_t n, cap, taken, after, last;
    struct sim_request *requests;
    uint32_t ended_count;
    struct mr_uuid ended[SIM_WORKERS_MAX];
};

struct sim_store {
    bool is_down;
    uint64_t epoch;
    uint32_t kinds_known; /* bits */
    struct sim_tx txs[SIM_TXS_MAX];
    struct sim_commit commits[SIM_COMMITS_MAX];
};

/* ---- the broker ------------------------------------------------------------------------------------- */

enum sim_phase { SIM_DOWN, SIM_STARTING, SIM_SERVING, SIM_DRAINING };

struct sim_peer {
    uint32_t conn; /* + 1 */
    struct mr_uuid instance;
    bool is_gone;
    int verb; /* of the message being built; -1: none */
    uint32_t items;
    size_t mark;
    struct mr_wr wr;
};

struct sim_broker {
    enum sim_phase phase;
    struct mr_core *core;
    struct mr_core_conf conf;
    uint32_t instance; /* counts starts */
    struct sim_peer peers[SIM_PEERS_MAX];
    int64_t starts_us, claims_us, due_us, probe_us, drain_until_us, sweep_us, parked_us;
    bool has_loaded, wants_sweep;
    uint64_t ready_seq, lane_seq[SIM_QUEUES][SIM_KINDS][MR_PRIORITY_MAX + 1][SIM_LANES];

    /* tasks by number in `tasks`, SIM_NONE for none */
    struct sim_task tasks[SIM_TASKS_MAX];
    uint32_t filling[SIM_TASK_TYPES][SIM_TASKS_MAX], filled[SIM_TASK_TYPES];
    bool is_away[SIM_TASK_TYPES];
    uint32_t given[SIM_TASK_TYPES], given_count, current, parked[2], parked_count;
    uint64_t try; /* tells events of this try from earlier ones */
    bool will_apply, is_applied, answers, backs_off;
    bool is_up, writer_is_up; /* as the core was told; as the writer sees it */
    uint32_t retries;
    struct mr_uuid reporter; /* whose DONE is being taken */
    bool is_reporting, has_revoked;
    enum mr_status replied; /* last */
    uint32_t returned;      /* jobs that stand at the front of their lanes, at most */
    int64_t last_turn_us;
    uint32_t answered[2 * SIM_TASKS_MAX], answered_count;
};

/* ---- workers ------------------------------------------------------------------------------------------ */

enum sim_run_phase {
    SIM_RUN_BEGINS,
    SIM_RUN_LOCKS,
    SIM_RUN_HANDLES,
    SIM_RUN_COMMITS,
    SIM_RUN_SETTLES,
    SIM_RUN_AWAITS, /* the database, to be run again */
};

struct sim_run {
    bool is_used, is_written_off, saw_stop, heeds;
    uint32_t seat, tx, commit, tries;
    uint64_t stamp; /* tells its events from those of others before it */
    enum sim_run_phase phase;
    enum millrace_answer answer;
    struct mr_attempt *attempt;
    struct mr_batch *batch;
    uint32_t item; /* of the batch */
};

struct sim_note {
    struct mr_attempt *attempt; /* NULL: an executor is idle */
    uint32_t seat;
};

struct sim_committer {
    struct mr_attempt *first, *last;
    struct mr_attempt *batch[SIM_ROWS_MAX];
    uint32_t count, commit;
    uint64_t stamp;
    bool is_hurried, is_paused;
};

enum sim_link { SIM_LINK_DOWN, SIM_LINK_GREETS, SIM_LINK_UP };

/* What workers and clients have in common. */
struct sim_end {
    enum sim_link state;
    uint32_t conn; /* SIM_NONE: none */
    int64_t heard_us, asked_us, greet_until_us, next_try_us, heartbeat_us;
    uint32_t rounds;
    bool must_fall;
    uint64_t corr;
};

struct sim_worker {
    uint32_t number, generation;
    struct mr_uuid instance;
    struct mr_session_conf conf;
    struct mr_session *session; /* NULL: the process is down */
    struct sim_end end;
    int64_t restarts_us, greeted_us; /* greeted: by the broker that runs */
    bool is_unplugged, is_draining, was_refused, has_beaten; /* refused: a DONE */
    uint64_t said_credit, got;                               /* since WELCOME */
    struct sim_run runs[SIM_RUNS_MAX];
    struct sim_note notes[SIM_NOTES_MAX];
    uint32_t note_count;
    struct sim_committer committer;
    uint32_t running[SIM_KINDS]; /* handlers that count against running_max */
};

/* ---- clients -------------------------------------------------------------------------------------------- */

struct sim_item {
    uint32_t job;
    bool is_forged;
};

struct sim_outbox {
    bool is_used;
    enum mr_verb verb;
    uint64_t corr;
    uint32_t flags, n;
    int64_t again_us;
    struct sim_item items[SIM_SUBMIT_MAX];
};

struct sim_client {
    struct sim_end end;
    uint32_t number, round; /* round: how often it was welcomed */
    int64_t acts_us;
    struct sim_outbox outbox[SIM_OUTBOX_MAX];
    uint32_t outbox_count;
};

/* ---- the world -------------------------------------------------------------------------------------------- */

enum sim_what {
    SIM_TURN,         /* who: actor or SIM_BROKER */
    SIM_RUN,          /* who: worker; arg: run's number; stamp */
    SIM_COMMITTER,    /* who: worker; stamp */
    SIM_APPLY,        /* who: commit */
    SIM_WRITER_APPLY, /* stamp: try */
    SIM_WRITER,       /* stamp: try */
    SIM_ORPHAN,       /* who: task */
    SIM_FAULT,
    SIM_STORE_UP,
};

struct sim_event {
    int64_t at_us;
    uint64_t seq, stamp;
    uint32_t who;
    uint16_t what, arg;
};

struct sim_rates { /* what a seed makes of the world; per mille unless said otherwise */
    uint32_t workers, clients, jobs;
    int64_t faults_us, fault_every_us, latency_us, handler_us, commit_us;
    uint32_t faults;       /* bits of enum sim_fault in fault.c */
    uint32_t commit_fails; /* of a worker's or the writer's transactions */
    uint32_t odd_ways;     /* jobs that do not simply succeed */
    uint32_t page;         /* rows of a page at start and of a sweep */
    uint32_t batch;        /* rows of a batch */
    bool has_clock_steps;
};

struct sim {
    uint64_t seed, random, hash, stamps;
    struct mr_now now;
    int64_t began_us;
    bool is_healing, is_ending, is_loud;
    struct sim_rates rates;
    uint64_t counts[SIM_COUNT_MAX];

    struct sim_event *events; /* heap */
    uint32_t event_count;
    uint64_t event_seq;
    int64_t turn_us[SIM_BROKER + 1]; /* when its next turn is */
    int64_t frozen_until_us[SIM_BROKER + 1];

    struct sim_job jobs[SIM_JOBS_MAX];
    uint32_t submitted; /* jobs that exist so far */
    uint32_t to_submit; /* that clients will still make */
    struct sim_conn conns[SIM_CONNS_MAX];
    uint32_t conns_used; /* from here on none ever was */
    struct sim_store store;
    struct sim_broker broker;
    struct sim_worker workers[SIM_WORKERS_MAX];
    struct sim_client clients[SIM_CLIENTS_MAX];

    struct millrace_kind kinds[SIM_KINDS];
    struct mr_registry *registry, *some; /* some: without the last kind */
    struct mr_wr wr;                     /* scratch for one message */
};

/* world.c */
_Noreturn void sim_fail(
    const struct sim *sim, const char *what, const char *file, int line);
#define SIM_MUST(e) ((e) ? (void)0 : sim_fail(sim, #e, __FILE__, __LINE__))
uint64_t sim_random(struct sim *sim, uint64_t below); /* 0: any number */
int64_t sim_random_us(struct sim *sim, int64_t below);
/* True n times in a thousand; sim_fault never when the world heals. */
bool sim_chance(struct sim *sim, uint32_t per_mille);
bool sim_fault(struct sim *sim, uint32_t per_mille);
void sim_at(struct sim *sim, int64_t at_us, enum sim_what what, uint32_t who,
    uint32_t arg, uint64_t stamp);
/* Its next turn is then, or sooner. */
void sim_wake(struct sim *sim, uint32_t who, int64_t at_us);
/* Part of the history: hashed, and printed when asked for. */
void sim_log(struct sim *sim, const char *what, uint64_t a, uint64_t b, uint64_t c);
void sim_count(struct sim *sim, enum sim_count count);
/* One world from beginning to end; its memory is used again. */
void sim_run_seed(struct sim *sim, uint64_t seed);
uint32_t sim_index(struct mr_uuid id);
struct mr_uuid sim_instance(uint32_t number, uint32_t generation);
/* A worker's name says which instance it is, and back. */
void sim_worker_name(struct mr_uuid instance, char name[16]);
struct mr_uuid sim_worker_named(struct mr_span name);
/* Of a job, as its row has it. */
struct mr_span sim_owner(const struct sim *sim, uint32_t job);
bool sim_is_own(const struct sim *sim, uint32_t client, uint32_t job);
bool sim_peer_is_own(const struct sim *sim, uint32_t peer, uint32_t job); /* a client */
struct mr_job_new sim_job_new(const struct sim *sim, uint32_t job, bool is_forged);
/* What its handler answers with when it succeeds. */
struct mr_span sim_job_result(uint32_t job);
/* SIM_NONE: there are as many as there can be. */
uint32_t sim_job_make(struct sim *sim, uint32_t client);

/* draw.c */
void sim_draw(struct sim *sim);
void sim_draw_job(struct sim *sim, struct sim_job *job);
const char *sim_name(char letter, uint32_t number); /* "q0", "k2", ... */

/* fault.c */
void sim_fault_strike(struct sim *sim);

/* net.c */
uint32_t sim_conn_open(struct sim *sim, uint32_t actor);
void sim_conn_leave(struct sim *sim, uint32_t conn); /* the actor closes it */
void sim_conn_drop(struct sim *sim, uint32_t conn);  /* the broker forgets it */
void sim_conn_tidy(struct sim *sim, uint32_t conn);  /* it may be over */
void sim_conn_stall(struct sim *sim, uint32_t conn, int64_t us);
void sim_conn_cut(struct sim *sim, uint32_t conn);
void sim_conn_lose_all(struct sim *sim); /* the broker died */
void sim_net_reset(struct sim *sim);
/* False: it cannot be delivered, and the broker's side is told. */
bool sim_send(struct sim *sim, uint32_t conn, bool to_broker, struct mr_span bytes);
/* The next that has arrived, to be freed; NULL if there is none. */
struct sim_message *sim_take(struct sim *sim, uint32_t conn, bool to_broker);
/* What workers and clients do alike: see net.c. */
void sim_end_fall(struct sim *sim, struct sim_end *end, uint32_t actor);
void sim_end_connect(struct sim *sim, struct sim_end *end, uint32_t actor);
void sim_end_say(struct sim *sim, struct sim_end *end);
void sim_end_watch(struct sim *sim, struct sim_end *end);
int64_t sim_end_due_us(const struct sim_end *end);
/* True: it was about the connection and is dealt with. */
bool sim_end_takes(struct sim *sim, struct sim_end *end, const struct mr_msg *msg);

/* broker.c, peers.c, act.c */
void sim_broker_turn(struct sim *sim);
void sim_broker_crash(struct sim *sim, bool is_taken_over);
void sim_broker_drain(struct sim *sim);
void sim_broker_destroy(struct sim *sim);
void sim_peers_take_in(struct sim *sim);
void sim_peers_flush(struct sim *sim);
void sim_peers_reap(struct sim *sim);
void sim_peers_bye(struct sim *sim);
struct mr_wr *sim_peers_open(struct sim *sim, uint32_t peer, enum mr_verb verb);
void sim_peers_refuse(struct sim *sim, uint32_t number); /* its message, with ERROR */
void sim_peers_forget(struct sim *sim, uint32_t peer);
void sim_act(void *context, const struct mr_action *action);
/* Is it in that state, for the core that runs? */
bool sim_job_is(const struct sim *sim, uint32_t job, const char *state);
void sim_job_returns(
    struct sim *sim, uint32_t job); /* it goes to the front of its lane */

/* writer.c */
struct sim_request *sim_writer_add(struct sim *sim, enum sim_task_type type);
void sim_writer_end_sessions(struct sim *sim, struct mr_uuid instance);
void sim_writer_load(struct sim *sim, uint32_t after);
void sim_writer_dispatch(struct sim *sim);
void sim_writer_collect(struct sim *sim);
void sim_writer_on_apply(struct sim *sim, uint64_t try);
void sim_writer_on_answer(struct sim *sim, uint64_t try);
void sim_writer_on_orphan(struct sim *sim, uint32_t task);
void sim_writer_store_fell(struct sim *sim);
void sim_writer_die(struct sim *sim, bool is_taken_over);
bool sim_writer_is_idle(const struct sim *sim);
int64_t sim_writer_due_us(const struct sim *sim);
void sim_writer_destroy(struct sim *sim);

/* store.c */
void sim_store_goes_down(struct sim *sim, int64_t us);
void sim_store_apply(struct sim *sim, struct sim_task *task);
struct mr_stored_job sim_store_row(
    const struct sim *sim, uint32_t job, bool with_payload);
uint32_t sim_tx_open(
    struct sim *sim, struct mr_uuid instance, uint32_t job, uint32_t attempt);
bool sim_tx_is_open(const struct sim *sim, uint32_t tx);
bool sim_tx_lock(struct sim *sim, uint32_t tx);
void sim_tx_end(struct sim *sim, uint32_t tx);
/* The process is gone, and with it its connections. */
void sim_store_closed(struct sim *sim, struct mr_uuid instance);
uint32_t sim_commit_new(struct sim *sim, struct mr_uuid instance, uint32_t tx);
void sim_commit_add(struct sim *sim, uint32_t commit, uint32_t job, uint32_t attempt);
/* Returns when its owner knows. */
int64_t sim_commit_send(struct sim *sim, uint32_t commit);
void sim_commit_apply(struct sim *sim, uint32_t commit);
void sim_commit_free(struct sim *sim, uint32_t commit); /* the owner is through with it */

/* worker.c, run.c */
void sim_worker_draw(struct sim *sim, uint32_t number);
void sim_worker_turn(struct sim *sim, uint32_t number);
void sim_worker_crash(struct sim *sim, uint32_t number);
void sim_worker_unplug(struct sim *sim, uint32_t number);
void sim_worker_drain(struct sim *sim, uint32_t number);
void sim_worker_give(struct sim *sim, struct sim_worker *worker, struct sim_note note);
void sim_run_act(void *context, enum mr_session_act act, uint32_t executor,
    struct mr_batch *batch, struct mr_attempt *attempt);
void sim_run_step(struct sim *sim, uint32_t worker, uint32_t run, uint64_t stamp);
void sim_run_destroy(struct sim *sim, struct sim_worker *worker);
/* Somebody's result stands: what of it the worker is told. */
void sim_run_found(struct mr_attempt *attempt, enum mr_outcome outcome);

/* committer.c */
void sim_committer_take(
    struct sim *sim, struct sim_worker *worker, struct mr_attempt *attempt);
void sim_committer_hurry(struct sim *sim, struct sim_worker *worker);
void sim_committer_step(struct sim *sim, uint32_t worker, uint64_t stamp);
void sim_committer_destroy(struct sim *sim, struct sim_worker *worker);

/* client.c */
void sim_client_turn(struct sim *sim, uint32_t number);
void sim_client_crash(struct sim *sim, uint32_t number);
bool sim_clients_are_content(const struct sim *sim);

/* judge.c */
void sim_judge_end(struct sim *sim);

#endif
