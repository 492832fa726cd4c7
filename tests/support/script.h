/*
 * A scripted broker: a real ROUTER socket whose answers the test chooses, so that BUSY, lost
 * connections and late answers come exactly when they are wanted. What a real broker does is
 * tested in tests/integration. One per process; one thread.
 */
#ifndef MR_TESTS_SUPPORT_SCRIPT_H
#define MR_TESTS_SUPPORT_SCRIPT_H

#include <stdbool.h>

#include "client/millrace.h"
#include "schemas/wire/msg.h"

#include <zmq.h>

#define SCRIPT_DEADLINE_MS 10000
#define SCRIPT_NOTHING_MS 150 /* how long to listen for what must not come */

struct script {
    void *context, *socket;
    char endpoint[256];
    zmq_msg_t from, frame;
    uint8_t bytes[MR_MESSAGE_BYTES_MAX]; /* its frames, joined */
    size_t n;
    struct mr_msg msg; /* the message in hand */
    uint32_t window_jobs;
    bool has_session;
    int pings; /* answered since the last WELCOME */
    struct millrace *mr;
    struct millrace_error error;
};

extern struct script script;

/* (Again) at that endpoint, without any session. */
void script_bind_to(const char *endpoint);

/* The broker's socket, and a client of it in script.mr: fixtures of check. */
void script_set_up(void);
void script_tear_down(void);

/* The next message of any verb, opened in script.msg. */
bool script_receive(int timeout_ms);

/* To whom the last message came from; the writer is freed. */
void script_reply(struct mr_wr *wr);

/* Answers to the message in hand. */
void script_welcome(void);
void script_no_session(void);
void script_pong(void);

/* The next message of that verb; greets and answers pings meanwhile. */
bool script_expect_within(enum mr_verb verb, int timeout_ms);
void script_expect(enum mr_verb verb);

/* Answers to a SUBMIT in hand: `count` jobs, some with verdicts; or one job. */
void script_ack(uint32_t count, const struct mr_verdict *verdicts, uint32_t verdict_count,
    uint32_t retry_ms);
void script_ack_one(enum mr_status code);

/* The SUBMIT in hand and its jobs. */
struct mr_submit script_submit_in_hand(void);
struct mr_job_new script_next_job(struct mr_submit *submit);

/* One EVENT to the peer of the last message. */
void script_event(struct mr_event event_of);
struct mr_uuid script_uuid_of(const struct millrace_id *id);

/* The client's side: start a submit, take a completion, take one with that code. */
struct millrace_id script_start(const char *kind, unsigned until, int timeout_ms);
struct millrace_completion script_completion(void);
void script_expect_code(int code);

#endif
