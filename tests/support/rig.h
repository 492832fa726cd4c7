/*
 * The real thing for tests: a broker and workers as processes, on free ports, over a fresh
 * database of pg_fixture.h; peers that speak raw bytes to it. Failing to start fails the test
 * with the program's own words. Everything ends with the test's process.
 *
 * Waiting is always for a condition, with a deadline that only a broken program reaches.
 */
#ifndef MR_TESTS_SUPPORT_RIG_H
#define MR_TESTS_SUPPORT_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "client/millrace.h"
#include "client/proc.h"
#include "schemas/sql/pg.h"
#include "schemas/wire/msg.h"

#define RIG_WORKERS_MAX 4
#define RIG_ARGS_MAX 24
#define RIG_WAIT_MS 20000

struct rig {
    char folder[64];
    char conninfo[512];
    char front[128], back[128]; /* as announced; kept when the broker is started again */
    char output[128];           /* what all programs say */
    struct mr_proc broker;
    struct mr_proc workers[RIG_WORKERS_MAX];
    struct mr_pg *pg;
};

/* A folder and a fresh database with the schema; no program yet. */
void rig_open(struct rig *rig);
/* ... over that database, which has the schema. */
void rig_open_on(struct rig *rig, const char *conninfo);
/* Ends what runs and removes the folder. */
void rig_close(struct rig *rig);

/* `more`: flags besides endpoints, database and ready file; NULL-ended, or NULL. Returns when it
 * serves. A second time: at the same endpoints. */
void rig_broker(struct rig *rig, const char *const *more);
/* A worker with that number, when it has been welcomed. */
void rig_worker(struct rig *rig, int number, int threads, const char *const *more);

/* Any program of ours, to its end: exit code, what it said in `text` (may be NULL). */
int rig_run(struct rig *rig, const char *const *argv, char *text, size_t room);
/* A line of the shell, in which "$0" is the command `millrace`, connected to this broker. */
int rig_sh(struct rig *rig, const char *line, char *text, size_t room);
/* Path of a program of ours; static memory of four of them. */
const char *rig_program(const char *name);

/* A client of the broker. To be closed by the test. */
struct millrace *rig_client(const struct rig *rig);

/* Submit a job of that kind with JSON-free arguments: {key: value}, or none when key is NULL. */
struct millrace_id rig_submit(
    struct millrace *mr, const char *kind, const char *key, int64_t value);
/* What millrace_submit says about any job. */
int rig_verdict(struct millrace *mr, const struct millrace_job *job);
/* ... wait for its end and expect that outcome. */
void rig_expect(struct millrace *mr, struct millrace_id id, int outcome);

/* First value of the first row, as a number. */
int64_t rig_int(struct rig *rig, const char *sql);
/* Until it is `wanted`. */
void rig_wait_int(struct rig *rig, const char *sql, int64_t wanted);
/* Until the broker's `stats` says so. */
int64_t rig_stat(struct millrace *mr, const char *name);
void rig_wait_stat(struct millrace *mr, const char *name, int64_t at_least);
/* A pause between two looks at a condition. */
void rig_breathe(void);
int64_t rig_now_ms(void);

/* ---- raw peers ------------------------------------------------------------------------------ */

struct rig_peer {
    void *context, *socket;
    uint8_t bytes[64 * 1024]; /* of the message that was received last */
    struct mr_msg msg;
    struct mr_wr wr; /* for messages to be sent */
};

void rig_peer_open(struct rig_peer *peer, const char *endpoint);
void rig_peer_close(struct rig_peer *peer);
/* HELLO; workers offer `kind`. */
void rig_peer_say_hello(struct rig_peer *peer, enum mr_role role, const char *kind);
/* HELLO and WELCOME. */
void rig_peer_hello(struct rig_peer *peer, enum mr_role role, const char *kind);
/* What is in peer->wr, which is empty then. */
void rig_peer_send(struct rig_peer *peer);
void rig_peer_send_bytes(struct rig_peer *peer, const void *bytes, size_t n);
/* The next message that is no PING, opened in peer->msg; it has to be of that verb. */
void rig_peer_expect(struct rig_peer *peer, enum mr_verb verb);
/* ... an ERROR with that code. */
void rig_peer_expect_error(struct rig_peer *peer, enum mr_status code);
/* One job of that kind, with an id of now, without arguments; the ACK is awaited. */
struct mr_uuid rig_peer_submit(struct rig_peer *peer, const char *kind);

#endif
