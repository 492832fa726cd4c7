/*
 * Who may do what, through the doors: every role, every action, own and other jobs, queues that are
 * granted and queues that are not, over CURVE with a real broker and a real PostgreSQL. What
 * is expected stands in one table, written from the rules and not from the code. Then what
 * changes while people are connected: revoked, rotated, denied.
 */
#include "schemas/wire/curve.h"
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include "schemas/base/clock.h"

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

/* ---- the table ----------------------------------------------------------------------------------- */

enum verdict {
    NO,   /* DENIED, and the right that is missing is named */
    YES,  /* done */
    GONE, /* as if there were no such job */
};

/* Of each four: own job in "open", own job in "shut", another one's in "open", another one's in
 * "shut". Of two: "open", "shut". */
static const struct {
    const char *name;
    enum verdict submit[2], watch[4], fetch[4], cancel[4], list[2], stats, operate[2],
        administer, run;
} table[] = {
    {.name = "front",
        .submit = {YES, NO},
        .watch = {YES, GONE, GONE, GONE},
        .fetch = {YES, GONE, GONE, GONE},
        .cancel = {YES, GONE, GONE, GONE},
        .list = {YES, NO},
        .stats = NO,
        .operate = {NO, NO},
        .administer = NO,
        .run = NO},
    {.name = "barred",
        .submit = {YES, NO},
        .watch = {YES, GONE, GONE, GONE},
        .fetch = {YES, GONE, GONE, GONE},
        .cancel = {YES, GONE, GONE, GONE},
        .list = {YES, NO},
        .stats = NO,
        .operate = {NO, NO},
        .administer = NO,
        .run = NO},
    {.name = "work",
        .submit = {NO, NO},
        .watch = {NO, NO, NO, NO},
        .fetch = {NO, NO, NO, NO},
        .cancel = {NO, NO, NO, NO},
        .list = {NO, NO},
        .stats = NO,
        .operate = {NO, NO},
        .administer = NO,
        .run = YES},
    {.name = "oper",
        .submit = {NO, NO},
        .watch = {YES, GONE, YES, GONE},
        .fetch = {YES, GONE, YES, GONE},
        .cancel = {YES, GONE, YES, GONE},
        .list = {YES, NO},
        .stats = YES,
        .operate = {YES, NO},
        .administer = NO,
        .run = NO},
    {.name = "audit",
        .submit = {NO, NO},
        .watch = {YES, GONE, YES, GONE},
        .fetch = {YES, GONE, YES, GONE},
        .cancel = {NO, NO, NO, NO},
        .list = {YES, NO},
        .stats = YES,
        .operate = {NO, NO},
        .administer = NO,
        .run = NO},
    {.name = "admin",
        .submit = {NO, NO},
        .watch = {NO, NO, NO, NO},
        .fetch = {NO, NO, NO, NO},
        .cancel = {NO, NO, NO, NO},
        .list = {NO, NO},
        .stats = NO,
        .operate = {NO, NO},
        .administer = YES,
        .run = NO},
    {.name = "chief",
        .submit = {YES, YES},
        .watch = {YES, YES, YES, YES},
        .fetch = {YES, YES, YES, YES},
        .cancel = {YES, YES, YES, YES},
        .list = {YES, YES},
        .stats = YES,
        .operate = {YES, YES},
        .administer = YES,
        .run = YES},
    {.name = "nobody",
        .submit = {NO, NO},
        .watch = {NO, NO, NO, NO},
        .fetch = {NO, NO, NO, NO},
        .cancel = {NO, NO, NO, NO},
        .list = {NO, NO},
        .stats = NO,
        .operate = {NO, NO},
        .administer = NO,
        .run = NO},
};
#define ROWS (sizeof table / sizeof *table)

/* ---- people and their keys ------------------------------------------------------------------------ */

static struct rig rig;
static struct mr_curve *broker_key, *keys[PEOPLE];
static struct mr_err err;

static struct mr_curve *
key_new(void)
{
    struct mr_curve *key;

    ck_ok(mr_curve_new(&key, &err), err);
    return key;
}

/* A statement with text parameters, as many as there are before the first NULL. */
static void
sql(const char *statement, const char *a, const char *b, const char *c)
{
    const char *const params[] = {a, b, c};
    int count = !a ? 0 : !b ? 1 : !c ? 2 : 3;

    ck_ok(mr_pg_run(rig.pg, statement, count, params, NULL, &err), err);
}

/* `kind` NULL: all kinds. */
static void
put_grant(const char *name, const char *right, bool is_denied, const char *queue,
    const char *kind)
{
    const char *const params[] = {name, right, is_denied ? "t" : "f", queue, kind};

    ck_ok(mr_pg_run(rig.pg,
              "select millrace.principal_grant_put($1, $2, $3::boolean, $4, $5, null)", 5,
              params, NULL, &err),
        err);
}

static struct mr_curve **
key_of(const char *name)
{
    for (size_t i = 0; i < PEOPLE; i++) {
        if (strcmp(people[i].name, name) == 0)
            return &keys[i];
    }
    ck_abort_msg("nobody is called %s", name);
}

static void
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

static void
set_up(void)
{
    const char *const more[] = {"--key-file", broker_file, "--sweep-ms", "50", NULL};

    rig_open(&rig);
    add_people();
    sql("insert into millrace.kind (name) values ($1)", KIND, NULL, NULL);
    broker_key = key_new();
    ck_ok(mr_curve_write(broker_key, rig.folder, "broker", &err), err);
    (void)snprintf(broker_file, sizeof broker_file, "%s/broker.key", rig.folder);
    rig_broker(&rig, more);
}

static void
tear_down(void)
{
    rig_close(&rig);
    for (size_t i = 0; i < PEOPLE; i++)
        mr_curve_destroy(&keys[i]);
    mr_curve_destroy(&broker_key);
}

/* ---- conversations ---------------------------------------------------------------------------------- */

/* Connected under that key, nothing said yet. */
static void
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
static void
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

static void
say_hello(struct rig_peer *peer, enum mr_role role, const char *kind)
{
    struct mr_offer offer = {.kind = mr_span_str(kind)};
    struct mr_hello hello = {.proto_min = 1,
        .proto_max = 1,
        .role = role,
        .instance = mr_uuid_new(mr_clock_now().wall_us),
        .name = mr_span_str("raw"),
        .threads = role == MR_ROLE_WORKER ? 1 : 0,
        .offers = kind ? 1 : 0};

    mr_put_hello(&peer->wr, 1, &hello, &offer);
    rig_peer_send(peer);
    receive(peer);
}

/* An ERROR with DENIED, and words that name a right. */
static bool
is_denial(struct mr_span text)
{
    char copy[1024];
    size_t n = text.n < sizeof copy - 1 ? text.n : sizeof copy - 1;

    memcpy(copy, text.p, n);
    copy[n] = '\0';
    return strstr(copy, "may not") && strstr(copy, "right `");
}

static enum verdict
error_verdict(const struct rig_peer *peer)
{
    struct mr_error error;

    ck_assert_int_eq(mr_get_error(&peer->msg, &error), MR_OK);
    ck_assert_msg(error.code == MR_DENIED && is_denial(error.text), "%s: %.*s",
        mr_status_name(error.code), (int)error.text.n, (const char *)error.text.p);
    return NO;
}

/* True: welcome. */
static bool
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

static enum verdict
try_submit(struct rig_peer *peer, const char *queue)
{
    struct mr_job_new job = {.id = mr_uuid_new(mr_clock_now().wall_us),
        .kind = mr_span_str(KIND),
        .payload = mr_span("\xc0", 1),
        .priority = MR_PRIORITY_DEFAULT};
    struct mr_ack ack;
    struct mr_verdict verdict;
    size_t mark = mr_put_submit_open(&peer->wr, 5, mr_span_str(queue), 0);

    mr_put_submit_job(&peer->wr, &job);
    mr_put_submit_close(&peer->wr, mark, 1);
    rig_peer_send(peer);
    rig_peer_expect(peer, MR_ACK);
    ck_assert_int_eq(mr_get_ack(&peer->msg, &ack), MR_OK);
    if (ack.verdicts == 0)
        return YES;
    ck_assert_int_eq(mr_get_verdict(&ack, &verdict), MR_OK);
    ck_assert_int_eq(verdict.code, MR_DENIED);
    ck_assert(is_denial(verdict.text));
    return NO;
}

static enum verdict
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
static void
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

static enum verdict
try_call(struct rig_peer *peer, const char *method, const char *key, const char *value)
{
    struct mr_reply reply;

    call(peer, method, key, mr_span_str(value), &reply);
    ck_assert_msg(reply.code == MR_OK || reply.code == MR_DENIED, "%s: %s", method,
        mr_status_name(reply.code));
    return reply.code == MR_OK ? YES : NO;
}

static enum verdict
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
static enum verdict
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

/* ---- the matrix ----------------------------------------------------------------------------------------- */

enum { WATCHED, FETCHED, CANCELLED, USES };
static struct mr_uuid jobs[ROWS][USES][4]; /* as the fours of the table */

static struct mr_uuid
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

/* Each job for one use; the broker has all of them in the end. */
static void
put_jobs(void)
{
    struct rig_peer chief;
    struct mr_reply reply;
    int64_t until = rig_now_ms() + RIG_WAIT_MS;
    struct mr_uuid last = {{0}};

    for (size_t row = 0; row < ROWS; row++) {
        for (int use = 0; use < USES; use++) {
            for (int i = 0; i < 4; i++)
                last = jobs[row][use][i] =
                    put_job(i < 2 ? table[row].name : STRANGER, i % 2 ? "shut" : "open");
        }
    }
    ck_assert(enter(&chief, "chief", MR_ROLE_CLIENT, NULL));
    do {
        ck_assert_int_lt(rig_now_ms(), until);
        rig_breathe();
        call(&chief, "explain", "id", mr_span(last.b, sizeof last.b), &reply);
    } while (
        reply.code != MR_OK || rig_int(&rig, "select count(*) from millrace.inbox") != 0);
    rig_peer_close(&chief);
}

static void
expect(size_t row, const char *action, int which, enum verdict got, enum verdict wanted)
{
    static const char *const words[] = {"NO", "YES", "GONE"};

    ck_assert_msg(got == wanted, "%s %s %d: %s, not %s", table[row].name, action, which,
        words[got], words[wanted]);
}

/* Whoever is sent away at HELLO may nothing of what there is behind that door. */
static void
expect_nothing(size_t row)
{
    for (int i = 0; i < 4; i++) {
        expect(row, "submit", i % 2, NO, table[row].submit[i % 2]);
        expect(row, "watch", i, NO, table[row].watch[i]);
        expect(row, "fetch", i, NO, table[row].fetch[i]);
        expect(row, "cancel", i, NO, table[row].cancel[i]);
        expect(row, "list", i % 2, NO, table[row].list[i % 2]);
        expect(row, "operate", i % 2, NO, table[row].operate[i % 2]);
    }
    expect(row, "stats", 0, NO, table[row].stats);
    expect(row, "administer", 0, NO, table[row].administer);
}

/* A list has the caller's own jobs, and those of others only if it may see them one by one. */
static enum verdict
is_listed(struct rig_peer *peer, struct mr_uuid id)
{
    struct mr_reply reply;
    char shown[MR_UUID_TEXT_MAX];

    call(peer, "jobs", "queue", mr_span_str("open"), &reply);
    if (reply.code == MR_DENIED)
        return NO;
    return memmem(reply.result.p, reply.result.n, mr_uuid_format(id, shown), 36) ? YES
                                                                                 : GONE;
}

static void
walk(size_t row, struct rig_peer *peer)
{
    static const char *const queues[] = {"open", "shut"};

    for (int i = 0; i < 4; i++) {
        expect(
            row, "watch", i, try_watch(peer, jobs[row][WATCHED][i]), table[row].watch[i]);
        expect(
            row, "fetch", i, try_show(peer, jobs[row][FETCHED][i]), table[row].fetch[i]);
        expect(row, "cancel", i, try_cancel(peer, jobs[row][CANCELLED][i]),
            table[row].cancel[i]);
    }
    for (int i = 0; i < 4; i += 2)
        expect(row, "listed", i, is_listed(peer, jobs[row][FETCHED][i]),
            table[row].list[0] == NO ? NO : table[row].fetch[i]);
    for (int i = 0; i < 2; i++) {
        expect(row, "submit", i, try_submit(peer, queues[i]), table[row].submit[i]);
        expect(row, "list", i, try_call(peer, "jobs", "queue", queues[i]),
            table[row].list[i]);
        expect(row, "list", 2 + i, try_call(peer, "dead", "queue", queues[i]),
            table[row].list[i]);
        expect(row, "operate", i, try_call(peer, "pause", "queue", queues[i]),
            table[row].operate[i]);
        expect(row, "operate", 2 + i, try_call(peer, "resume", "queue", queues[i]),
            table[row].operate[i]);
    }
    expect(row, "stats", 0, try_call(peer, "stats", NULL, NULL), table[row].stats);
    expect(row, "stats", 1, try_call(peer, "workers", NULL, NULL), table[row].stats);
    expect(row, "stats", 2, try_call(peer, "queues", NULL, NULL), table[row].stats);
    expect(row, "administer", 0, try_call(peer, "principals", NULL, NULL),
        table[row].administer);
    expect(row, "administer", 1, try_call(peer, "principal_revoke", "name", "anyone"),
        table[row].administer);
}

START_TEST(everybody_may_what_the_table_says)
{
    put_jobs();
    for (size_t row = 0; row < ROWS; row++) {
        struct rig_peer peer;

        if (enter(&peer, table[row].name, MR_ROLE_CLIENT, NULL))
            walk(row, &peer);
        else
            expect_nothing(row);
        rig_peer_close(&peer);
        expect(row, "run", 0,
            enter(&peer, table[row].name, MR_ROLE_WORKER, KIND) ? YES : NO,
            table[row].run);
        rig_peer_close(&peer);
    }
}
END_TEST

/* The broker cannot be stopped by whoever may operate some queues. */
START_TEST(what_concerns_all_queues_is_for_who_may_all)
{
    struct rig_peer peer;

    ck_assert(enter(&peer, "oper", MR_ROLE_CLIENT, NULL));
    ck_assert_int_eq(try_call(&peer, "drain", NULL, NULL), NO);
    ck_assert_int_eq(try_call(&peer, "jobs", NULL, NULL), NO);
    rig_peer_close(&peer);
    ck_assert(enter(&peer, "chief", MR_ROLE_CLIENT, NULL));
    ck_assert_int_eq(try_call(&peer, "jobs", NULL, NULL), YES);
    ck_assert_int_eq(try_call(&peer, "drain", NULL, NULL), YES);
    rig_peer_close(&peer);
}
END_TEST

/* ---- workers --------------------------------------------------------------------------------------------- */

START_TEST(a_worker_is_sent_only_what_it_may_run)
{
    struct rig_peer worker;
    struct mr_jobs list;
    struct mr_job_sent job;
    struct mr_uuid shut, open;

    ck_assert(enter(&worker, "work", MR_ROLE_WORKER, KIND));
    mr_put_credit(&worker.wr, 10);
    rig_peer_send(&worker);
    shut = put_job(STRANGER, "shut");
    open = put_job(STRANGER, "open");
    rig_peer_expect(&worker, MR_JOBS);
    ck_assert_int_eq(mr_get_jobs(&worker.msg, &list), MR_OK);
    ck_assert_uint_eq(list.jobs, 1);
    ck_assert_int_eq(mr_get_job(&list, &job), MR_OK);
    ck_assert(mr_uuid_eq(job.id, open));
    ck_assert(!mr_uuid_eq(job.id, shut));
    rig_peer_close(&worker);
}
END_TEST

START_TEST(a_worker_that_offers_what_it_may_not_run_is_sent_away)
{
    struct rig_peer worker;
    struct mr_error error;

    sql("select millrace.principal_grant_drop('work', 'worker', 'open*', null)", NULL,
        NULL, NULL);
    put_grant("work", "run", false, NULL, "ride.*");
    connect_as(&worker, *key_of("work"), rig.back);
    do
        say_hello(&worker, MR_ROLE_WORKER, "pay.charge");
    while (worker.msg.verb == MR_WELCOME); /* until the broker has read the change */
    ck_assert_int_eq(mr_get_error(&worker.msg, &error), MR_OK);
    ck_assert_int_eq(error.code, MR_DENIED);
    ck_assert_msg(
        mr_span_is(error.text, "principal `work` may not run kind `pay.charge`: "
                               "it lacks the right `run` there"),
        "%.*s", (int)error.text.n, (const char *)error.text.p);
    say_hello(&worker, MR_ROLE_WORKER, "ride.match");
    ck_assert_int_eq(worker.msg.verb, MR_WELCOME);
    rig_peer_close(&worker);
}
END_TEST

/* ---- changes ----------------------------------------------------------------------------------------------- */

/* Asks until the answer is another one; a broken broker goes on for ever. */
static void
stats_until_denied(struct rig_peer *peer)
{
    int64_t until = rig_now_ms() + RIG_WAIT_MS;

    for (;;) {
        mr_put_call_open(&peer->wr, 7, "stats");
        mr_wr_map(&peer->wr, 0);
        rig_peer_send(peer);
        receive(peer);
        if (peer->msg.verb != MR_REPLY)
            return;
        ck_assert_int_lt(rig_now_ms(), until);
        rig_breathe();
    }
}

START_TEST(who_is_revoked_gets_nothing_done_over_a_connection_that_is_open)
{
    struct rig_peer oper, front;
    struct mr_error error;

    ck_assert(enter(&oper, "oper", MR_ROLE_CLIENT, NULL));
    ck_assert(enter(&front, "front", MR_ROLE_CLIENT, NULL));
    ck_assert_int_eq(try_call(&oper, "stats", NULL, NULL), YES);
    sql("select millrace.principal_revoke('oper', true)", NULL, NULL, NULL);
    stats_until_denied(&oper);
    ck_assert_int_eq(oper.msg.verb, MR_ERROR);
    ck_assert_int_eq(mr_get_error(&oper.msg, &error), MR_OK);
    ck_assert(error.code == MR_DENIED || error.code == MR_NO_SESSION);
    do {
        say_hello(&oper, MR_ROLE_CLIENT, NULL);
        ck_assert_int_eq(mr_get_error(&oper.msg, &error), MR_OK);
    } while (error.code == MR_NO_SESSION);
    ck_assert_int_eq(error.code, MR_DENIED);
    /* Nobody else is disturbed. */
    ck_assert_int_eq(try_submit(&front, "open"), YES);
    rig_peer_close(&oper);
    rig_peer_close(&front);
}
END_TEST

START_TEST(a_revoked_worker_is_a_lost_worker)
{
    struct rig_peer worker, chief;
    struct mr_jobs list;
    struct mr_job_sent job;

    ck_assert(enter(&worker, "work", MR_ROLE_WORKER, KIND));
    mr_put_credit(&worker.wr, 1);
    rig_peer_send(&worker);
    (void)put_job(STRANGER, "open");
    rig_peer_expect(&worker, MR_JOBS);
    sql("select millrace.principal_revoke('work', true)", NULL, NULL, NULL);
    rig_wait_int(&rig, "select count(*) from millrace.attempt where outcome = 2", 1);
    rig_peer_expect(&worker, MR_ERROR);
    /* Its job goes to somebody else. */
    ck_assert(enter(&chief, "chief", MR_ROLE_WORKER, KIND));
    mr_put_credit(&chief.wr, 1);
    rig_peer_send(&chief);
    rig_peer_expect(&chief, MR_JOBS);
    ck_assert_int_eq(mr_get_jobs(&chief.msg, &list), MR_OK);
    ck_assert_int_eq(mr_get_job(&list, &job), MR_OK);
    ck_assert_uint_eq(job.attempt, 2);
    rig_peer_close(&worker);
    rig_peer_close(&chief);
}
END_TEST

/* A deny is added while the session is open; the grant stays. */
START_TEST(deny_wins_and_holds_for_who_is_connected)
{
    struct rig_peer front;
    struct mr_error error;
    int64_t until = rig_now_ms() + RIG_WAIT_MS;
    enum verdict verdict = YES;

    ck_assert(enter(&front, "front", MR_ROLE_CLIENT, NULL));
    ck_assert_int_eq(try_submit(&front, "open.too"), YES);
    put_grant("front", "submit", true, "open.*", "test.*");
    while (verdict == YES) {
        ck_assert_int_lt(rig_now_ms(), until);
        rig_breathe();
        verdict = try_submit(&front, "open.too");
    }
    /* Its session begins anew, so that it is told of nothing that it may not watch any more. */
    rig_peer_expect(&front, MR_ERROR);
    ck_assert_int_eq(mr_get_error(&front.msg, &error), MR_OK);
    ck_assert_int_eq(error.code, MR_NO_SESSION);
    say_hello(&front, MR_ROLE_CLIENT, NULL);
    ck_assert_int_eq(front.msg.verb, MR_WELCOME);
    ck_assert_int_eq(try_submit(&front, "open.too"), NO);
    ck_assert_int_eq(try_submit(&front, "open"), YES);
    rig_peer_close(&front);
}
END_TEST

/* Two keys side by side, then only the new one: jobs go through under both, none fails. */
START_TEST(keys_change_hands_without_a_failed_job)
{
    struct rig_peer old, fresh;
    struct mr_curve *key = key_new();
    struct mr_error error;

    ck_assert(enter(&old, "front", MR_ROLE_CLIENT, NULL));
    ck_assert_int_eq(try_submit(&old, "open"), YES);
    sql("select millrace.principal_rotate('front', $1, false)", mr_curve_public(key),
        NULL, NULL);
    ck_assert_int_eq(try_submit(&old, "open"), YES);
    connect_as(&fresh, key, rig.front); /* libzmq tries again until the key is known */
    say_hello(&fresh, MR_ROLE_CLIENT, NULL);
    ck_assert_int_eq(fresh.msg.verb, MR_WELCOME);
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(try_submit(&old, "open"), YES);
        ck_assert_int_eq(try_submit(&fresh, "open"), YES);
    }
    sql("select millrace.principal_rotate('front', null, true)", NULL, NULL, NULL);
    /* The old one is told so, and the new one goes on. */
    rig_peer_expect(&old, MR_ERROR);
    ck_assert_int_eq(mr_get_error(&old.msg, &error), MR_OK);
    ck_assert_int_eq(error.code, MR_NO_SESSION);
    say_hello(&old, MR_ROLE_CLIENT, NULL);
    ck_assert_int_eq(old.msg.verb, MR_ERROR);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(try_submit(&fresh, "open"), YES);
    rig_wait_int(
        &rig, "select count(*) from millrace.job where submitted_by = 'front'", 62);
    rig_peer_close(&old);
    rig_peer_close(&fresh);
    mr_curve_destroy(&key);
}
END_TEST

/* ---- through the command ------------------------------------------------------------------------------------ */

static char text[1 << 16];

static void
runs(int code, const char *who, const char *line)
{
    char all[1024];
    int got;
    enum mr_status status = mr_curve_write(*key_of(who), rig.folder, who, &err);

    ck_assert_msg(status == MR_OK || status == MR_CONFLICT, "%s", err.why);
    (void)snprintf(all, sizeof all,
        "export MILLRACE_KEY_FILE=%s/%s.key MILLRACE_SERVER_KEY=%s/broker.pub; %s",
        rig.folder, who, rig.folder, line);
    got = rig_sh(&rig, all, text, sizeof text);
    ck_assert_msg(got == code, "%s: %d, not %d: %s", line, got, code, text);
}

static void
shows(const char *wanted)
{
    ck_assert_msg(strstr(text, wanted) != NULL, "\"%s\" is not in: %s", wanted, text);
}

START_TEST(administrators_change_rights_through_the_broker)
{
    char line[512];
    struct mr_curve *key = key_new();

    ck_ok(mr_curve_write(key, rig.folder, "app1", &err), err);
    (void)snprintf(line, sizeof line,
        "\"$0\" principal add app1 --role front-end --queue 'night*' --key %s/app1.pub",
        rig.folder);
    runs(77, "front", line);
    shows("it lacks the right `administer`");
    runs(0, "admin", line);
    runs(65, "admin", line); /* there is one */
    runs(0, "admin", "\"$0\" principal show app1");
    shows("night*");
    shows(mr_curve_public(key));
    runs(0, "admin", "\"$0\" principal list");
    shows("front-end queue=night*");
    runs(0, "admin", "\"$0\" principal grant app1 fetch --scope any");
    runs(0, "admin", "\"$0\" principal deny app1 submit --kind 'pay.*'");
    runs(0, "admin", "\"$0\" principal limit app1 --jobs-per-s 5");
    runs(0, "admin", "\"$0\" -o json principal show app1");
    shows("\"jobs_per_s\":5");
    shows("\"scope\":\"any\"");
    runs(0, "admin", "\"$0\" principal ungrant app1 submit --kind 'pay.*'");
    runs(66, "admin", "\"$0\" principal ungrant app1 submit --kind 'pay.*'");
    runs(65, "admin", "\"$0\" principal grant app1 submit --queue 'a*b'");
    runs(65, "admin", "\"$0\" principal grant app1 reign");
    runs(66, "admin", "\"$0\" principal revoke app2");
    runs(66, "admin", "\"$0\" principal show app2");
    runs(64, "admin", "\"$0\" principal grant app1");
    runs(64, "admin", "\"$0\" principal crown app1");
    runs(0, "admin", "\"$0\" principal revoke app1");
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.audit where principal = 'admin' "
                      "and object = 'app1' and decision = 'allowed'") > 0,
        1);
    mr_curve_destroy(&key);
}
END_TEST

/* Without a broker and without any administrator yet. */
START_TEST(the_first_administrator_is_made_in_the_database)
{
    char line[768];

    (void)snprintf(line, sizeof line,
        "\"$0\" principal add root --role administrator --key %s/broker.pub --direct "
        "--database '%s'",
        rig.folder, rig.conninfo);
    runs(0, "nobody", line);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.principal_grant "
                                   "where principal = 'root' and role = 'administrator'"),
        1);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("52_rights");
    TCase *cases = tcase_create("rights");

    tcase_set_timeout(cases, 120);
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, everybody_may_what_the_table_says);
    tcase_add_test(cases, what_concerns_all_queues_is_for_who_may_all);
    tcase_add_test(cases, a_worker_is_sent_only_what_it_may_run);
    tcase_add_test(cases, a_worker_that_offers_what_it_may_not_run_is_sent_away);
    tcase_add_test(
        cases, who_is_revoked_gets_nothing_done_over_a_connection_that_is_open);
    tcase_add_test(cases, a_revoked_worker_is_a_lost_worker);
    tcase_add_test(cases, deny_wins_and_holds_for_who_is_connected);
    tcase_add_test(cases, keys_change_hands_without_a_failed_job);
    tcase_add_test(cases, administrators_change_rights_through_the_broker);
    tcase_add_test(cases, the_first_administrator_is_made_in_the_database);
    suite_add_tcase(suite, cases);
    return pg_fixture_run(suite, NULL);
}
