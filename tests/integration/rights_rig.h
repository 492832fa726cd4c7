/*
 * For tests of rights: a broker that speaks CURVE, people with keys and roles, and what they try over
 * raw conversations.
 */
#ifndef MR_TESTS_INTEGRATION_RIGHTS_RIG_H
#define MR_TESTS_INTEGRATION_RIGHTS_RIG_H

#include "schemas/base/clock.h"
#include "schemas/wire/curve.h"
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <stdio.h>
#include <string.h>
#include <zmq.h>

#define KIND "test.noop"
#define STRANGER "stranger" /* whose jobs are those of others */

/* The broker knows this many by a key; who they are is in the table below. */
static const struct {
    const char *name, *role, *queue;
} people[] = {
    {"front", "front-end", "open*"},
    {"barred", "front-end", "*"}, /* and the role is denied to it for "shut" */
    {"work", "worker", "open*"},
    {"oper", "operator", "open*"},
    {"audit", "auditor", "open*"},
    {"admin", "administrator", NULL},
    {"chief", "operator", "*"}, /* and all other roles */
    {"nobody", NULL, NULL},
    {STRANGER, "front-end", "*"},
};
#define PEOPLE (sizeof people / sizeof *people)

enum verdict {
    NO,   /* DENIED, and the right that is missing is named */
    YES,  /* done */
    GONE, /* as if there were no such job */
};

/* ---- people and their keys ------------------------------------------------------------------------ */

static struct rig rig;
static struct mr_curve *broker_key, *keys[PEOPLE];
static struct mr_err err;

static inline struct mr_curve *
key_new(void)
{
    struct mr_curve *key;

    ck_ok(mr_curve_new(&key, &err), err);
    return key;
}

/* A statement with text parameters, as many as there are before the first NULL. */
static inline void
sql(const char *statement, const char *a, const char *b, const char *c)
{
    const char *const params[] = {a, b, c};
    int count = !a ? 0 : !b ? 1 : !c ? 2 : 3;

    ck_ok(mr_pg_run(rig.pg, statement, count, params, NULL, &err), err);
}

/* `kind` NULL: all kinds. */
static inline void
put_grant(const char *name, const char *right, bool is_denied, const char *queue,
    const char *kind)
{
    const char *const params[] = {name, right, is_denied ? "t" : "f", queue, kind};

    ck_ok(mr_pg_run(rig.pg,
              "select millrace.principal_grant_put($1, $2, $3::boolean, $4, $5, null)", 5,
              params, NULL, &err),
        err);
}

static inline struct mr_curve **
key_of(const char *name)
{
    for (size_t i = 0; i < PEOPLE; i++) {
        if (strcmp(people[i].name, name) == 0)
            return &keys[i];
    }
    ck_abort_msg("nobody is called %s", name);
}

static inline void
add_people(void)
{
    static const char *const roles[] = {
        "front-end", "worker", "auditor", "administrator"};

    for (size_t i = 0; i < PEOPLE; i++) {
        keys[i] = key_new();
        sql("select millrace.principal_add($1, $2, null, null, null)", people[i].name,
            mr_curve_public(keys[i]), NULL);
        if (people[i].role)
            put_grant(people[i].name, people[i].role, false, people[i].queue, NULL);
    }
    put_grant("barred", "front-end", true, "shut", NULL);
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        put_grant("chief", roles[i], false, NULL, NULL);
}

static char broker_file[128];

static inline void
set_up(void)
{
    const char *const more[] = {
        "--key-file", broker_file, "--sweep-ms", "50", "--heartbeat-ms", "20000", NULL};

    rig_open(&rig);
    add_people();
    sql("insert into millrace.kind (name) values ($1)", KIND, NULL, NULL);
    broker_key = key_new();
    ck_ok(mr_curve_write(broker_key, rig.folder, "broker", &err), err);
    (void)snprintf(broker_file, sizeof broker_file, "%s/broker.key", rig.folder);
    rig_broker(&rig, more);
}

static inline void
tear_down(void)
{
    rig_close(&rig);
    for (size_t i = 0; i < PEOPLE; i++)
        mr_curve_destroy(&keys[i]);
    mr_curve_destroy(&broker_key);
}

/* ---- conversations ---------------------------------------------------------------------------------- */

/* Connected under that key, nothing said yet. */
static inline void
connect_as(struct rig_peer *peer, const struct mr_curve *own, const char *endpoint)
{
    char secret_file[192], dir[128];
    struct mr_curve_peer identity = {.own = NULL};
    static unsigned next;
    char name[32];
    int zero = 0;

    (void)snprintf(dir, sizeof dir, "%s", rig.folder);
    (void)snprintf(name, sizeof name, "peer%u", next++);
    ck_ok(mr_curve_write(own, dir, name, &err), err);
    (void)snprintf(secret_file, sizeof secret_file, "%s/%s.key", dir, name);
    ck_ok(mr_curve_peer_load(
              &identity, secret_file, mr_curve_public(broker_key), false, &err),
        err);
    peer->context = zmq_ctx_new();
    peer->socket = zmq_socket(peer->context, ZMQ_DEALER);
    ck_assert_ptr_nonnull(peer->socket);
    ck_assert_int_eq(zmq_setsockopt(peer->socket, ZMQ_LINGER, &zero, sizeof zero), 0);
    ck_assert(mr_curve_peer_apply(&identity, peer->socket, endpoint));
    ck_assert_int_eq(zmq_connect(peer->socket, endpoint), 0);
    mr_wr_init(&peer->wr, MR_MESSAGE_BYTES_MAX);
    mr_curve_peer_fini(&identity);
}

/* The next message that is none of those that come by themselves. */
static inline void
receive(struct rig_peer *peer)
{
    int timeout_ms = RIG_WAIT_MS, n;

    ck_assert_int_eq(
        zmq_setsockopt(peer->socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms), 0);
    do {
        n = zmq_recv(peer->socket, peer->bytes, sizeof peer->bytes, 0);
        ck_assert_msg(n >= 0, "no answer came");
        ck_assert_int_eq(mr_msg_open(mr_span(peer->bytes, (size_t)n), &peer->msg), MR_OK);
    } while (peer->msg.verb == MR_PING);
}

static inline void
say_hello(struct rig_peer *peer, enum mr_role role, const char *kind)
{
    rig_peer_say_hello(peer, role, kind);
    receive(peer);
}

/* An ERROR with DENIED, and words that name a right. */
static inline bool
is_denial(struct mr_span text)
{
    char copy[1024];
    size_t n = text.n < sizeof copy - 1 ? text.n : sizeof copy - 1;

    memcpy(copy, text.p, n);
    copy[n] = '\0';
    return strstr(copy, "may not") && strstr(copy, "right `");
}

static inline enum verdict
error_verdict(const struct rig_peer *peer)
{
    struct mr_error error;

    ck_assert_int_eq(mr_get_error(&peer->msg, &error), MR_OK);
    ck_assert_msg(error.code == MR_DENIED && is_denial(error.text), "%s: %.*s",
        mr_status_name(error.code), (int)error.text.n, (const char *)error.text.p);
    return NO;
}

/* True: welcome. */
static inline bool
enter(struct rig_peer *peer, const char *name, enum mr_role role, const char *kind)
{
    connect_as(peer, *key_of(name), role == MR_ROLE_CLIENT ? rig.front : rig.back);
    say_hello(peer, role, kind);
    if (peer->msg.verb == MR_WELCOME)
        return true;
    ck_assert_int_eq(error_verdict(peer), NO);
    return false;
}

/* ---- what they try ------------------------------------------------------------------------------------ */

static inline void
send_submit(struct rig_peer *peer, const char *queue)
{
    struct mr_job_new job = {.id = mr_uuid_new(mr_clock_now().wall_us),
        .kind = mr_span_str(KIND),
        .payload = mr_span("\xc0", 1),
        .priority = MR_PRIORITY_DEFAULT};
    size_t mark = mr_put_submit_open(&peer->wr, 5, mr_span_str(queue), 0);

    mr_put_submit_job(&peer->wr, &job);
    mr_put_submit_close(&peer->wr, mark, 1);
    rig_peer_send(peer);
}

static inline enum verdict
ack_verdict(const struct rig_peer *peer)
{
    struct mr_ack ack;
    struct mr_verdict verdict;

    ck_assert_int_eq(mr_get_ack(&peer->msg, &ack), MR_OK);
    if (ack.verdicts == 0)
        return YES;
    ck_assert_int_eq(mr_get_verdict(&ack, &verdict), MR_OK);
    ck_assert_int_eq(verdict.code, MR_DENIED);
    ck_assert(is_denial(verdict.text));
    return NO;
}

static inline enum verdict
try_submit(struct rig_peer *peer, const char *queue)
{
    send_submit(peer, queue);
    rig_peer_expect(peer, MR_ACK);
    return ack_verdict(peer);
}

static inline enum verdict
try_watch(struct rig_peer *peer, struct mr_uuid id)
{
    struct mr_events events;
    struct mr_event event;

    mr_put_watch(&peer->wr, 6, &id, 1, true);
    rig_peer_send(peer);
    receive(peer);
    if (peer->msg.verb == MR_ERROR) {
        enum verdict verdict = error_verdict(peer);

        rig_peer_expect(peer, MR_EVENT); /* whoever waits need not wait for ever */
        return verdict;
    }
    ck_assert_int_eq(peer->msg.verb, MR_EVENT);
    ck_assert_int_eq(mr_get_events(&peer->msg, &events), MR_OK);
    ck_assert_int_eq(mr_get_event(&events, &event), MR_OK);
    return event.type == MR_EVENT_NO_JOB ? GONE : YES;
}

/* CALL with one argument, or none. The REPLY is in `reply`; a sentence as its text. */
static inline void
call(struct rig_peer *peer, const char *method, const char *key, struct mr_span value,
    struct mr_reply *reply)
{
    mr_put_call_open(&peer->wr, 7, method);
    mr_wr_map(&peer->wr, key ? 1 : 0);
    if (key)
        mr_wr_cstr(&peer->wr, key);
    if (key && strcmp(key, "id") == 0)
        mr_wr_bin(&peer->wr, value);
    else if (key)
        mr_wr_str(&peer->wr, value);
    rig_peer_send(peer);
    do
        receive(peer);
    while (peer->msg.verb == MR_EVENT);
    ck_assert_int_eq(peer->msg.verb, MR_REPLY);
    ck_assert_int_eq(mr_get_reply(&peer->msg, reply), MR_OK);
    if (reply->code == MR_DENIED)
        ck_assert_msg(is_denial(reply->text), "%.*s", (int)reply->text.n,
            (const char *)reply->text.p);
}

static inline enum verdict
try_call(struct rig_peer *peer, const char *method, const char *key, const char *value)
{
    struct mr_reply reply;

    call(peer, method, key, mr_span_str(value), &reply);
    ck_assert_msg(reply.code == MR_OK || reply.code == MR_DENIED, "%s: %s", method,
        mr_status_name(reply.code));
    return reply.code == MR_OK ? YES : NO;
}

static inline enum verdict
try_show(struct rig_peer *peer, struct mr_uuid id)
{
    struct mr_reply reply;

    call(peer, "show", "id", mr_span(id.b, sizeof id.b), &reply);
    if (reply.code == MR_DENIED)
        return NO;
    ck_assert_int_eq(reply.code, MR_OK);
    return reply.result.n == 1 && reply.result.p[0] == 0xc0 ? GONE : YES;
}

/* What is said of a job that is not for the caller is, to the letter, what is said of none. */
static inline enum verdict
try_cancel(struct rig_peer *peer, struct mr_uuid id)
{
    struct mr_uuid none = mr_uuid_new(mr_clock_now().wall_us);
    struct mr_reply reply;
    char text[256];

    call(peer, "cancel", "id", mr_span(id.b, sizeof id.b), &reply);
    if (reply.code == MR_DENIED || reply.code == MR_OK)
        return reply.code == MR_OK ? YES : NO;
    ck_assert_int_eq(reply.code, MR_NO_JOB);
    (void)snprintf(
        text, sizeof text, "%.*s", (int)reply.text.n, (const char *)reply.text.p);
    call(peer, "cancel", "id", mr_span(none.b, sizeof none.b), &reply);
    ck_assert_int_eq(reply.code, MR_NO_JOB);
    ck_assert(mr_span_is(reply.text, text));
    return GONE;
}

static inline struct mr_uuid
put_job(const char *owner, const char *queue)
{
    struct mr_uuid id;
    char text[256];

    (void)snprintf(text, sizeof text,
        "insert into millrace.inbox (kind, queue, submitted_by) values ('" KIND
        "', '%s', '%s') returning id",
        queue, owner);
    ck_assert_int_eq(
        mr_uuid_parse(mr_span_str(pg_fixture_text(rig.pg, text)), &id), MR_OK);
    return id;
}

#endif
