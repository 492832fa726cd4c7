/*
 * The verbs, both directions of each, so that the two ends of the protocol change in one
 * place. The reference is schemas/wire/README.md. Hot verbs are iterators over the received
 * bytes and writers into a buffer: no allocation, no copy. All spans borrow from the message.
 * Pure; any thread.
 *
 * A message is one msgpack array [verb, corr, ...body]. frames.h has how it travels.
 */
#ifndef MR_WIRE_MSG_H
#define MR_WIRE_MSG_H

#include "schemas/base/span.h"
#include "schemas/base/status.h"
#include "schemas/base/uuid.h"
#include "schemas/wire/limits.h"
#include "schemas/wire/pack.h"

enum mr_verb {
    MR_HELLO = 0,
    MR_WELCOME = 1,
    MR_PING = 2,
    MR_BYE = 3,
    MR_ERROR = 4,
    MR_SUBMIT = 5,
    MR_ACK = 6,
    MR_WATCH = 7,
    MR_EVENT = 8,
    MR_CREDIT = 9,
    MR_JOBS = 10,
    MR_DONE = 11,
    MR_BEAT = 12,
    MR_REVOKE = 13,
    MR_CALL = 14,
    MR_REPLY = 15,
};
#define MR_VERB_COUNT 16

const char *mr_verb_name(enum mr_verb verb); /* "HELLO"; "?" if out of range */

/* A received message, scanned and opened. `body` stands behind corr; `fields` are left in it. */
struct mr_msg {
    enum mr_verb verb;
    uint64_t corr; /* echoes in the answer; 0 where none is expected */
    uint32_t fields;
    struct mr_rd body;
};

/* Scan, then open. MR_MALFORMED or MR_TOO_BIG for anything that is not one of ours. */
enum mr_status mr_msg_open(struct mr_span frame, struct mr_msg *out) MR_MUST_CHECK;

/* Every mr_get_* takes an opened message of its verb and returns MR_OK, MR_MALFORMED or
 * MR_TOO_BIG; every mr_put_* appends to a writer (its error is sticky in the writer). Trailing
 * fields that a sender left out have the default named here; extra ones are ignored. */

/* ---- HELLO, WELCOME, PING, BYE, ERROR ------------------------------------------------- */

/* In our structs a jitter is 1 to 100 percent, 0 when none was given, or this: given, and
 * none. On the wire and in SQL it is 0 to 100, or not there. */
#define MR_JITTER_NONE 255u

static inline uint32_t
mr_jitter_of(uint32_t percent)
{
    return percent ? percent : MR_JITTER_NONE;
}

/* Of one that was given. */
static inline uint32_t
mr_jitter_percent(uint32_t jitter)
{
    return jitter == MR_JITTER_NONE ? 0 : jitter;
}

static inline bool
mr_backoff_is_good(uint32_t factor_percent, uint32_t jitter)
{
    return (factor_percent == 0 || (factor_percent >= MR_BACKOFF_FACTOR_MIN &&
                                       factor_percent <= MR_BACKOFF_FACTOR_MAX)) &&
           (jitter <= MR_BACKOFF_JITTER_MAX || jitter == MR_JITTER_NONE);
}

enum mr_role { MR_ROLE_CLIENT = 1, MR_ROLE_WORKER = 2 };

/* One kind that a worker offers, with its policy. */
struct mr_offer {
    struct mr_span kind;
    uint32_t running_max;     /* at most so many at a time in this process; 0: no limit */
    uint32_t timeout_ms;      /* of one attempt; 0: the broker's default */
    uint32_t attempts_max;    /* 0: the broker's default */
    uint32_t backoff_base_ms; /* 0: the broker's default */
    uint32_t backoff_cap_ms;
    uint32_t backoff_factor_percent; /* 0: the broker's default */
    uint32_t backoff_jitter;         /* see MR_JITTER_NONE; 0: the broker's default */
    bool is_transactional;
};

struct mr_hello {
    uint32_t proto_min, proto_max;
    enum mr_role role;
    struct mr_uuid instance; /* of the process; the same across reconnects */
    struct mr_span name;     /* for people: host:pid or what the user chose */
    uint32_t threads;        /* workers */
    uint32_t offers;         /* workers; how many follow, take them with mr_get_offer */
    struct mr_rd offers_rd;
};

enum mr_status mr_get_hello(const struct mr_msg *msg, struct mr_hello *out) MR_MUST_CHECK;
enum mr_status mr_get_offer(struct mr_hello *hello, struct mr_offer *out) MR_MUST_CHECK;
/* `offers`: array of hello->offers rows (offers_rd is not used). */
void mr_put_hello(struct mr_wr *wr, uint64_t corr, const struct mr_hello *hello,
    const struct mr_offer *offers);

struct mr_welcome {
    uint32_t proto;
    uint64_t session;        /* nonce of this conversation */
    struct mr_uuid instance; /* of the broker */
    uint32_t shard;
    uint64_t epoch;
    uint32_t heartbeat_ms; /* say something at least this often */
    uint32_t payload_bytes_max, result_bytes_max, message_bytes_max, jobs_per_message_max;
    uint32_t window_jobs; /* jobs a client may have unacknowledged */
    int64_t wall_us;      /* the broker's clock */
};

enum mr_status mr_get_welcome(
    const struct mr_msg *msg, struct mr_welcome *out) MR_MUST_CHECK;
void mr_put_welcome(struct mr_wr *wr, uint64_t corr, const struct mr_welcome *welcome);

/* PING [ask]: ask true wants a PING with ask false back. */
enum mr_status mr_get_ping(const struct mr_msg *msg, bool *ask) MR_MUST_CHECK;
void mr_put_ping(struct mr_wr *wr, uint64_t corr, bool ask);

/* To a worker: end in order. From one: that is what it does. The conversation goes on until
 * then. */
#define MR_BYE_DRAIN 1u

/* BYE [reason, flags] */
enum mr_status mr_get_bye(
    const struct mr_msg *msg, struct mr_span *reason, uint32_t *flags) MR_MUST_CHECK;
void mr_put_bye(struct mr_wr *wr, uint64_t corr, struct mr_span reason, uint32_t flags);

/* ERROR [code, text, retry_after_ms]; corr is that of the cause. */
struct mr_error {
    enum mr_status code; /* MR_INTERNAL for a number that we do not know */
    struct mr_span text;
    uint32_t retry_after_ms;
};
enum mr_status mr_get_error(const struct mr_msg *msg, struct mr_error *out) MR_MUST_CHECK;
void mr_put_error(struct mr_wr *wr, uint64_t corr, const struct mr_error *error);

/* ---- SUBMIT and its ACK ---------------------------------------------------------------- */

/* One job as it is submitted. Numbers that are 0 and spans that are empty mean "not given";
 * priority is MR_PRIORITY_DEFAULT unless given. */
struct mr_job_new {
    struct mr_uuid id;
    struct mr_span queue; /* the message's; never empty after decoding */
    struct mr_span kind;
    struct mr_span payload; /* msgpack, opaque here */
    uint8_t priority;       /* 0..9, 9 first */
    struct mr_span lane;    /* key: jobs of one queue, key and priority start in order */
    int64_t run_at_us;      /* wall; or */
    uint32_t delay_ms;      /* from the broker's clock at acceptance */
    int64_t expires_at_us;  /* wall: not started later than this */
    uint32_t timeout_ms;    /* of one attempt */
    uint32_t attempts_max;
    uint32_t backoff_base_ms, backoff_cap_ms;
    uint32_t backoff_factor_percent;
    uint32_t backoff_jitter; /* see MR_JITTER_NONE */
    struct mr_uuid
        redrive_of; /* the dead job in place of which it is submitted; zeros: none */
    struct mr_span trace;
};

#define MR_SUBMIT_WATCH 1u  /* push EVENTs for these jobs to this session */
#define MR_SUBMIT_RESENT 2u /* some of these may have been sent before */

/* SUBMIT [queue, flags, [job...], defaults]; job = [id, kind, payload, options]; options and
 * defaults are maps with the small integer keys of the reference page, or nil. */
struct mr_submit {
    struct mr_span queue;
    uint32_t flags;
    uint32_t jobs; /* left to take with mr_get_submit_job */
    struct mr_rd rd;
    struct mr_job_new defaults;
};
enum mr_status mr_get_submit(
    const struct mr_msg *msg, struct mr_submit *out) MR_MUST_CHECK;
/* Takes the next job; only while out->jobs > 0. The id may be any 16 bytes: judge it. */
enum mr_status mr_get_submit_job(
    struct mr_submit *submit, struct mr_job_new *out) MR_MUST_CHECK;

/* Returns the mark to close with the number of jobs. */
size_t mr_put_submit_open(
    struct mr_wr *wr, uint64_t corr, struct mr_span queue, uint32_t flags);
void mr_put_submit_job(struct mr_wr *wr, const struct mr_job_new *job);
void mr_put_submit_close(struct mr_wr *wr, size_t mark, uint32_t jobs);

/* ACK [count, [[index, code, text]...], retry_after_ms]. For a SUBMIT: all of its `count` jobs
 * are durable but for those listed, each with its verdict (index in the message). KNOWN and
 * FINISHED are good news: durable before. For DONE and BYE: count outcomes taken. */
struct mr_ack {
    uint32_t count;
    uint32_t verdicts; /* left to take */
    uint32_t retry_after_ms;
    struct mr_rd rd;
};
struct mr_verdict {
    uint32_t index;
    enum mr_status code;
    struct mr_span text; /* may be empty */
};
enum mr_status mr_get_ack(const struct mr_msg *msg, struct mr_ack *out) MR_MUST_CHECK;
enum mr_status mr_get_verdict(struct mr_ack *ack, struct mr_verdict *out) MR_MUST_CHECK;
void mr_put_ack(struct mr_wr *wr, uint64_t corr, uint32_t count,
    const struct mr_verdict *verdicts, uint32_t verdict_count, uint32_t retry_after_ms);

/* ---- WATCH and EVENT ------------------------------------------------------------------- */

/* WATCH [[id...]] and, from a client, UNWATCH is WATCH [[id...], false]. */
struct mr_watch {
    bool on;
    uint32_t ids; /* left to take */
    struct mr_rd rd;
};
enum mr_status mr_get_watch(const struct mr_msg *msg, struct mr_watch *out) MR_MUST_CHECK;
enum mr_status mr_get_watch_id(struct mr_watch *watch, struct mr_uuid *out) MR_MUST_CHECK;
void mr_put_watch(
    struct mr_wr *wr, uint64_t corr, const struct mr_uuid *ids, uint32_t count, bool on);

enum mr_outcome {
    MR_SUCCEEDED = 1,
    MR_FAILED = 2,
    MR_OUT_CANCELLED = 3,
    MR_OUT_EXPIRED = 4,
};
const char *mr_outcome_name(enum mr_outcome outcome); /* "succeeded", ... as in SQL */

enum mr_event_type {
    MR_EVENT_PROGRESS = 1, /* permille, text */
    MR_EVENT_RETRYING = 2, /* attempt failed; at_us: the next one; text: the error */
    MR_EVENT_FINISHED = 3, /* outcome, body or text */
    MR_EVENT_NO_JOB = 4,   /* no such id */
    MR_EVENT_WAITING = 5,  /* answer to WATCH: accepted, not finished */
};

/* EVENT [[[id, type, attempt, a, text, body, at_us]...]]: a is permille or outcome. */
struct mr_event {
    struct mr_uuid id;
    enum mr_event_type type;
    uint32_t attempt;
    uint32_t permille;
    enum mr_outcome outcome;
    struct mr_span text;
    struct mr_span body;
    int64_t at_us;
};
struct mr_events {
    uint32_t events; /* left to take */
    struct mr_rd rd;
};
enum mr_status mr_get_events(
    const struct mr_msg *msg, struct mr_events *out) MR_MUST_CHECK;
enum mr_status mr_get_event(struct mr_events *events, struct mr_event *out) MR_MUST_CHECK;
size_t mr_put_events_open(struct mr_wr *wr, uint64_t corr);
void mr_put_event(struct mr_wr *wr, const struct mr_event *event);
void mr_put_events_close(struct mr_wr *wr, size_t mark, uint32_t events);

/* ---- CREDIT, JOBS, DONE, BEAT, REVOKE --------------------------------------------------- */

/* CREDIT [limit]: jobs the worker permits in all since WELCOME. Lower than before: ignored. */
enum mr_status mr_get_credit(const struct mr_msg *msg, uint64_t *limit) MR_MUST_CHECK;
void mr_put_credit(struct mr_wr *wr, uint64_t limit);

/* JOBS [[[id, attempt, kind, payload, timeout_ms, queue, trace, submitted_at_us]...]] */
struct mr_job_sent {
    struct mr_uuid id;
    uint32_t attempt;
    struct mr_span kind, payload, queue, trace;
    uint32_t timeout_ms;
    int64_t submitted_at_us;
};
struct mr_jobs {
    uint32_t jobs; /* left to take */
    struct mr_rd rd;
};
enum mr_status mr_get_jobs(const struct mr_msg *msg, struct mr_jobs *out) MR_MUST_CHECK;
enum mr_status mr_get_job(struct mr_jobs *jobs, struct mr_job_sent *out) MR_MUST_CHECK;
size_t mr_put_jobs_open(struct mr_wr *wr, uint64_t corr);
void mr_put_job(struct mr_wr *wr, const struct mr_job_sent *job);
void mr_put_jobs_close(struct mr_wr *wr, size_t mark, uint32_t jobs);

/* What became of an attempt, as the worker reports it. */
enum mr_report {
    MR_DID_SUCCEED = 1, /* result row committed by the worker */
    MR_DID_FAIL = 2,    /* may be retried */
    MR_DID_FAIL_FOR_GOOD = 3,
    MR_DID_SNOOZE = 4,    /* come back at retry_after_ms; no attempt spent */
    MR_DID_GIVE_BACK = 5, /* not started, or could not be stored; no attempt spent */
    MR_DID_CANCEL = 6,    /* stopped because it was revoked as cancelled */
    MR_DID_TIME_OUT = 7,
    MR_WAS_FINISHED = 8, /* a result row was there already; outcome, body as stored */
    MR_DID_CRASH = 9, /* its process ended under it; nobody knows whether it committed */
};
#define MR_REPORT_LAST MR_DID_CRASH

struct mr_done {
    struct mr_uuid id;
    uint32_t attempt;
    enum mr_report report;
    enum mr_outcome outcome; /* WAS_FINISHED only */
    struct mr_span text;     /* error text */
    struct mr_span body;     /* result, msgpack */
    int64_t started_at_us, finished_at_us;
    uint32_t retry_after_ms; /* FAIL: asked for by the handler; 0: backoff decides */
};

#define MR_DONE_DOORBELL 1u /* rows were put into inbox */

/* DONE [flags, [[id, attempt, report, text, body, started_at_us, finished_at_us,
 * retry_after_ms, outcome]...]]; corr numbers the message, resent until ACK echoes it. */
struct mr_dones {
    uint32_t flags;
    uint32_t dones; /* left to take */
    struct mr_rd rd;
};
enum mr_status mr_get_dones(const struct mr_msg *msg, struct mr_dones *out) MR_MUST_CHECK;
enum mr_status mr_get_done(struct mr_dones *dones, struct mr_done *out) MR_MUST_CHECK;
size_t mr_put_dones_open(struct mr_wr *wr, uint64_t corr, uint32_t flags);
void mr_put_done(struct mr_wr *wr, const struct mr_done *done);
void mr_put_dones_close(struct mr_wr *wr, size_t mark, uint32_t dones);

/* BEAT [[[id, attempt, permille, text]...]]: every attempt the worker holds that is running or
 * queued in it, split over several messages if need be; permille 0 and no text mostly. */
struct mr_held {
    struct mr_uuid id;
    uint32_t attempt;
    uint32_t permille; /* 0..1000 */
    struct mr_span text;
};
struct mr_beat {
    uint32_t held; /* left to take */
    struct mr_rd rd;
};
enum mr_status mr_get_beat(const struct mr_msg *msg, struct mr_beat *out) MR_MUST_CHECK;
enum mr_status mr_get_held(struct mr_beat *beat, struct mr_held *out) MR_MUST_CHECK;
size_t mr_put_beat_open(struct mr_wr *wr, uint64_t corr);
void mr_put_held(struct mr_wr *wr, const struct mr_held *held);
void mr_put_beat_close(struct mr_wr *wr, size_t mark, uint32_t held);

/* REVOKE [[[id, attempt, why]...]] */
enum mr_why { MR_WHY_CANCELLED = 1, MR_WHY_TIMED_OUT = 2, MR_WHY_STALE = 3 };
struct mr_revoked {
    struct mr_uuid id;
    uint32_t attempt;
    enum mr_why why;
};
struct mr_revoke {
    uint32_t items; /* left to take */
    struct mr_rd rd;
};
enum mr_status mr_get_revoke(
    const struct mr_msg *msg, struct mr_revoke *out) MR_MUST_CHECK;
enum mr_status mr_get_revoked(
    struct mr_revoke *revoke, struct mr_revoked *out) MR_MUST_CHECK;
size_t mr_put_revoke_open(struct mr_wr *wr, uint64_t corr);
void mr_put_revoked(struct mr_wr *wr, const struct mr_revoked *item);
void mr_put_revoke_close(struct mr_wr *wr, size_t mark, uint32_t items);

/* ---- CALL and REPLY: everything cold ----------------------------------------------------- */

/* CALL [method, args]: args is a map (at most 32 keys), read it with a cursor. */
struct mr_call {
    struct mr_span method;
    struct mr_rd args; /* stands before the map */
};
enum mr_status mr_get_call(const struct mr_msg *msg, struct mr_call *out) MR_MUST_CHECK;
/* Writes up to the args; the caller writes the map. */
void mr_put_call_open(struct mr_wr *wr, uint64_t corr, const char *method);

/* REPLY [code, text, result]: result is any value, nil on failure. */
struct mr_reply {
    enum mr_status code;
    struct mr_span text;
    struct mr_span result; /* one msgpack value */
};
enum mr_status mr_get_reply(const struct mr_msg *msg, struct mr_reply *out) MR_MUST_CHECK;
/* Writes up to the result; the caller writes the value. */
void mr_put_reply_open(
    struct mr_wr *wr, uint64_t corr, enum mr_status code, struct mr_span text);

#endif
