/*
 * Who gets a connection: the handler asked as libzmq asks it, and over real handshakes; then the
 * probe, against doors with one thing missing each.
 */
#include "broker/zap.h"

#include <check.h>
#include <czmq.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "broker/probe.h"
#include "broker/socket.h"
#include "schemas/base/clock.h"

#define ZAP "inproc://zeromq.zap.01"
#define DEADLINE_MS 20000
#define ZAP_ENFORCE_DOMAIN 93
#define MANY 100000u

static void *context;
static struct mr_zap *zap;
static struct mr_curve *server, *me, *stranger;

static struct mr_curve *
new_key(void)
{
    struct mr_curve *key;
    struct mr_err err;

    ck_assert_int_eq(mr_curve_new(&key, &err), MR_OK);
    return key;
}

static void
set_up(void)
{
    context = zsys_init();
    ck_assert_int_eq(mr_zap_new(&zap, context), MR_OK);
    server = new_key();
    me = new_key();
    stranger = new_key();
}

static void
tear_down(void)
{
    mr_zap_destroy(&zap);
    mr_curve_destroy(&server);
    mr_curve_destroy(&me);
    mr_curve_destroy(&stranger);
    zsys_shutdown();
}

/* ---- asked as libzmq asks ------------------------------------------------------------------------ */

struct reply {
    char request[64], status[8], user[64];
};

static void
send_all(
    void *socket, const char *const *frames, size_t count, const void *last, size_t n)
{
    for (size_t i = 0; i < count; i++)
        ck_assert_int_ge(zmq_send(socket, frames[i], strlen(frames[i]), ZMQ_SNDMORE), 0);
    ck_assert_int_ge(zmq_send(socket, last, n, 0), 0);
}

static void
receive_text(void *socket, char *out, size_t room)
{
    int n = zmq_recv(socket, out, room - 1, 0);

    ck_assert_int_ge(n, 0);
    ck_assert_int_lt(n, (int)room);
    out[n] = '\0';
}

static void
receive_reply(void *socket, struct reply *out)
{
    char other[64];

    receive_text(socket, other, sizeof other);
    ck_assert_str_eq(other, "1.0");
    receive_text(socket, out->request, sizeof out->request);
    receive_text(socket, out->status, sizeof out->status);
    receive_text(socket, other, sizeof other);
    receive_text(socket, out->user, sizeof out->user);
    receive_text(socket, other, sizeof other);
    ck_assert_str_eq(other, "");
}

static void *
open_asker(void)
{
    void *socket = zmq_socket(context, ZMQ_REQ);
    int wait_ms = DEADLINE_MS, linger_ms = 0;

    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &wait_ms, sizeof wait_ms);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    ck_assert_int_eq(zmq_connect(socket, ZAP), 0);
    return socket;
}

static struct reply
ask(void *socket, const char *domain, const char *mechanism, const void *credential,
    size_t n)
{
    const char *frames[] = {"1.0", "q7", domain, "10.1.2.3", "id", mechanism};
    struct reply reply;

    send_all(socket, frames, 6, credential, n);
    receive_reply(socket, &reply);
    ck_assert_str_eq(reply.request, "q7");
    return reply;
}

static struct reply
ask_key(void *socket, const char *text)
{
    uint8_t key[32];

    ck_assert_ptr_nonnull(zmq_z85_decode(key, text));
    return ask(socket, mr_curve_domain(MR_CURVE_BY_KEY), "CURVE", key, sizeof key);
}

static void
publish(const struct mr_curve *const *keys, size_t count)
{
    struct mr_zap_key texts[8];

    for (size_t i = 0; i < count; i++)
        memcpy(texts[i].text, mr_curve_public(keys[i]), MR_CURVE_TEXT);
    ck_assert_int_eq(mr_zap_publish(zap, texts, count), MR_OK);
}

static void
await_keys(uint64_t wanted)
{
    int64_t end_us = mr_clock_mono_us() + DEADLINE_MS * INT64_C(1000);
    struct mr_zap_counts counts;

    do {
        mr_zap_counts(zap, &counts);
        (void)poll(NULL, 0, 1);
    } while (counts.keys != wanted && mr_clock_mono_us() < end_us);
    ck_assert_uint_eq(counts.keys, wanted);
}

START_TEST(only_known_keys_get_in)
{
    void *asker = open_asker();
    struct reply reply = ask_key(asker, mr_curve_public(me));
    struct mr_zap_counts counts;

    /* Before anything is known: no verdict, but no way in. */
    ck_assert_str_eq(reply.status, "500");
    ck_assert_str_eq(reply.user, "");
    publish((const struct mr_curve *const[]){server, me}, 2);
    await_keys(2);
    reply = ask_key(asker, mr_curve_public(me));
    ck_assert_str_eq(reply.status, "200");
    ck_assert_str_eq(reply.user, mr_curve_public(me));
    reply = ask_key(asker, mr_curve_public(stranger));
    ck_assert_str_eq(reply.status, "400");
    ck_assert_str_eq(reply.user, "");
    mr_zap_counts(zap, &counts);
    ck_assert_uint_eq(counts.admitted, 1);
    ck_assert_uint_eq(counts.refused[MR_ZAP_TOO_EARLY], 1);
    ck_assert_uint_eq(counts.refused[MR_ZAP_UNKNOWN_KEY], 1);
    zmq_close(asker);
}
END_TEST

/* Whoever was known gets the same answer as somebody who never was. */
START_TEST(revoked_is_as_unknown)
{
    void *asker = open_asker();
    struct reply revoked, unknown;

    publish((const struct mr_curve *const[]){me, server}, 2);
    await_keys(2);
    ck_assert_str_eq(ask_key(asker, mr_curve_public(me)).status, "200");
    publish((const struct mr_curve *const[]){server}, 1);
    await_keys(1);
    revoked = ask_key(asker, mr_curve_public(me));
    unknown = ask_key(asker, mr_curve_public(stranger));
    ck_assert_str_eq(revoked.status, "400");
    ck_assert_str_eq(revoked.status, unknown.status);
    ck_assert_str_eq(revoked.user, unknown.user);
    publish(NULL, 0);
    await_keys(0);
    ck_assert_str_eq(ask_key(asker, mr_curve_public(server)).status, "400");
    zmq_close(asker);
}
END_TEST

START_TEST(plain_is_named_after_its_door)
{
    void *asker = open_asker();
    struct reply reply = ask(asker, mr_curve_domain(MR_CURVE_BY_HOST), "NULL", "", 0);

    ck_assert_str_eq(reply.status, "200");
    ck_assert_str_eq(reply.user, "local");
    reply = ask(asker, mr_curve_domain(MR_CURVE_BY_ALL), "NULL", "", 0);
    ck_assert_str_eq(reply.status, "200");
    ck_assert_str_eq(reply.user, "anyone");
    zmq_close(asker);
}
END_TEST

START_TEST(nothing_else_gets_in)
{
    static const struct {
        enum mr_curve_way way;
        const char *mechanism;
    } wrong[] = {{MR_CURVE_BY_KEY, "NULL"}, {MR_CURVE_BY_KEY, "PLAIN"},
        {MR_CURVE_BY_KEY, "GSSAPI"}, {MR_CURVE_BY_KEY, ""}, {MR_CURVE_BY_HOST, "PLAIN"},
        {MR_CURVE_BY_HOST, "CURVE"}, {MR_CURVE_BY_ALL, "PLAIN"}};
    void *asker = open_asker();
    uint8_t key[33] = {0};

    publish((const struct mr_curve *const[]){me}, 1);
    await_keys(1);
    ck_assert_ptr_nonnull(zmq_z85_decode(key, mr_curve_public(me)));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ck_assert_str_eq(
            ask(asker, mr_curve_domain(wrong[i].way), wrong[i].mechanism, key, 32).status,
            "400");
    ck_assert_str_eq(ask(asker, "", "NULL", "", 0).status, "400");
    ck_assert_str_eq(ask(asker, "millrace", "CURVE", key, 32).status, "400");
    ck_assert_str_eq(
        ask(asker, mr_curve_domain(MR_CURVE_BY_KEY), "CURVE", key, 31).status, "400");
    ck_assert_str_eq(
        ask(asker, mr_curve_domain(MR_CURVE_BY_KEY), "CURVE", key, 33).status, "400");
    zmq_close(asker);
}
END_TEST

/* Nothing but libzmq talks to it; all the same it never stands still. */
START_TEST(malformed_questions_are_refused)
{
    const char *few[] = {"1.0", "q7"};
    const char *old[] = {"2.0", "q7", "millrace.host", "10.1.2.3", "id"};
    const char *many[] = {
        "1.0", "q7", "millrace.key", "10.1.2.3", "id", "CURVE", "a", "b", "c", "d", "e"};
    static char large[4096];
    void *asker = open_asker();
    struct mr_zap_counts counts;
    struct reply reply;

    send_all(asker, few, 2, "x", 1);
    receive_reply(asker, &reply);
    ck_assert_str_eq(reply.status, "400");
    send_all(asker, old, 5, "NULL", 4);
    receive_reply(asker, &reply);
    ck_assert_str_eq(reply.status, "400");
    send_all(asker, many, 11, "f", 1);
    receive_reply(asker, &reply);
    ck_assert_str_eq(reply.status, "400");
    memset(large, 'a', sizeof large);
    reply = ask(asker, "millrace.host", "NULL", large, sizeof large);
    ck_assert_str_eq(reply.status, "400");
    mr_zap_counts(zap, &counts);
    ck_assert_uint_eq(counts.admitted, 0);
    ck_assert_uint_ge(counts.refused[MR_ZAP_MALFORMED], 3);
    ck_assert_str_eq(ask(asker, "millrace.host", "NULL", "", 0).status, "200");
    zmq_close(asker);
}
END_TEST

/* Told some of them in a second; the others are counted, and the next one says how many. */
START_TEST(refusals_are_told_within_bounds)
{
    void *asker = open_asker();
    struct mr_zap_refusal *refusal;
    struct mr_zap_counts counts;
    uint64_t told = 0, withheld = 0;

    publish(NULL, 0);
    ck_assert_str_eq(ask_key(asker, mr_curve_public(me)).status, "400");
    for (int i = 1; i < 1000; i++)
        (void)ask_key(asker, mr_curve_public(me));
    mr_zap_hush(zap);
    while ((refusal = mr_zap_take(zap)) != NULL) {
        ck_assert_int_eq(refusal->reason, MR_ZAP_UNKNOWN_KEY);
        ck_assert_str_eq(refusal->address, "10.1.2.3");
        ck_assert_str_eq(refusal->key, mr_curve_public(me));
        told++;
        withheld += refusal->withheld;
        mr_zap_give_back(zap, refusal);
    }
    mr_zap_counts(zap, &counts);
    ck_assert_uint_eq(counts.refused[MR_ZAP_UNKNOWN_KEY], 1000);
    ck_assert_uint_ge(told, 1);
    ck_assert_uint_lt(told, 500);
    ck_assert_uint_lt(told + withheld, 1001);
    zmq_close(asker);
}
END_TEST

static struct mr_zap_key *
many_keys(void)
{
    struct mr_zap_key *keys = calloc(MANY, sizeof *keys);

    ck_assert_ptr_nonnull(keys);
    for (uint32_t i = 0; i < MANY; i++) {
        uint8_t bytes[32] = {(uint8_t)i, (uint8_t)(i >> 8), (uint8_t)(i >> 16)};
        char text[MR_CURVE_ROOM];

        ck_assert_ptr_nonnull(zmq_z85_encode(text, bytes, sizeof bytes));
        memcpy(keys[i].text, text, MR_CURVE_TEXT);
    }
    return keys;
}

/* Each of 100,000 is found, nobody else is, and a new table replaces them whole. */
START_TEST(a_hundred_thousand_keys)
{
    struct mr_zap_key *keys = many_keys();
    void *asker = open_asker();
    char text[MR_CURVE_ROOM] = "";

    ck_assert_int_eq(mr_zap_publish(zap, keys, MANY), MR_OK);
    await_keys(MANY);
    for (uint32_t i = 0; i < MANY; i += 97) {
        memcpy(text, keys[i].text, MR_CURVE_TEXT);
        ck_assert_str_eq(ask_key(asker, text).status, "200");
    }
    ck_assert_str_eq(ask_key(asker, mr_curve_public(me)).status, "400");
    ck_assert_int_eq(mr_zap_publish(zap, keys, MANY / 2), MR_OK);
    await_keys(MANY / 2);
    memcpy(text, keys[MANY - 1].text, MR_CURVE_TEXT);
    ck_assert_str_eq(ask_key(asker, text).status, "400");
    memcpy(text, keys[0].text, MR_CURVE_TEXT);
    ck_assert_str_eq(ask_key(asker, text).status, "200");
    zmq_close(asker);
    free(keys);
}
END_TEST

/* ---- real handshakes ------------------------------------------------------------------------------ */

static void *
listen_with(const char *endpoint, const struct mr_curve *key, char bound[256])
{
    void *socket;
    uint32_t first_number;
    struct mr_err err = {.status = MR_OK};

    ck_assert_msg(mr_socket_open(&socket, context, endpoint, key, bound, 256,
                      &first_number, &err) == MR_OK,
        "%s %s", err.what, err.why);
    return socket;
}

static enum mr_curve_event
next_event(void *monitor)
{
    int64_t end_us = mr_clock_mono_us() + DEADLINE_MS * INT64_C(1000);
    enum mr_curve_event event;

    do {
        event = mr_curve_event(monitor);
        (void)poll(NULL, 0, 1);
    } while (event == MR_CURVE_NOTHING && mr_clock_mono_us() < end_us);
    return event;
}

struct guest {
    void *socket, *monitor;
};

/* Connects with those keys (NULL: none) and says "hello". */
static struct guest
come(const char *endpoint, const struct mr_curve *own, const char *server_key)
{
    struct guest guest = {.socket = zmq_socket(context, ZMQ_DEALER)};
    struct mr_curve_peer peer = {.own = (struct mr_curve *)(uintptr_t)own};
    int linger_ms = 0;

    (void)snprintf(peer.server, sizeof peer.server, "%s", server_key ? server_key : "");
    zmq_setsockopt(guest.socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    guest.monitor = mr_curve_watch(context, guest.socket);
    ck_assert_ptr_nonnull(guest.monitor);
    (void)mr_curve_peer_apply(&peer, guest.socket, endpoint);
    ck_assert_int_eq(zmq_connect(guest.socket, endpoint), 0);
    ck_assert_int_eq(zmq_send(guest.socket, "hello", 5, 0), 5);
    return guest;
}

static void
leave(struct guest *guest)
{
    mr_curve_unwatch(guest->socket, &guest->monitor);
    zmq_close(guest->socket);
}

/* What a listener knows of who sent the next message. */
static void
expect_user(void *socket, const char *user)
{
    zmq_msg_t frame;
    int wait_ms = DEADLINE_MS;

    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &wait_ms, sizeof wait_ms);
    zmq_msg_init(&frame);
    ck_assert_int_ge(zmq_msg_recv(&frame, socket, 0), 0);
    ck_assert_int_ge(zmq_msg_recv(&frame, socket, 0), 0);
    ck_assert_ptr_nonnull(zmq_msg_gets(&frame, "User-Id"));
    ck_assert_str_eq(zmq_msg_gets(&frame, "User-Id"), user);
    zmq_msg_close(&frame);
}

/* One ROUTER with both kinds of doors. */
START_TEST(each_message_says_who_sent_it)
{
    char bound[256], both[128], *tcp, *ipc;
    char folder[] = "/tmp/millrace-zap-XXXXXX";
    void *socket;
    struct guest known, local;

    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(both, sizeof both, "tcp://127.0.0.1:*,ipc://%s/x", folder);
    socket = listen_with(both, server, bound);
    publish((const struct mr_curve *const[]){me}, 1);
    await_keys(1);
    tcp = strtok(bound, ",");
    ipc = strtok(NULL, ",");
    known = come(tcp, me, mr_curve_public(server));
    expect_user(socket, mr_curve_public(me));
    ck_assert_int_eq(next_event(known.monitor), MR_CURVE_WELCOME);
    local = come(ipc, NULL, NULL);
    expect_user(socket, "local");
    leave(&known);
    leave(&local);
    mr_socket_close(&socket, 0);
    (void)unlink(ipc + strlen("ipc://"));
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

/* Whoever sees it first hangs up, and the other one may not learn why. */
static void
expect_mismatch(void *monitor)
{
    enum mr_curve_event event = next_event(monitor);

    ck_assert(event == MR_CURVE_MISMATCH || event == MR_CURVE_BROKEN);
}

START_TEST(each_refusal_has_its_name)
{
    char bound[256], plain_bound[256];
    void *socket = listen_with("tcp://127.0.0.1:*", server, bound);
    void *plain = listen_with("tcp://127.0.0.1:*", NULL, plain_bound);
    struct guest guest = come(bound, me, mr_curve_public(server));

    ck_assert_int_eq(next_event(guest.monitor), MR_CURVE_EARLY);
    leave(&guest);
    publish((const struct mr_curve *const[]){me}, 1);
    await_keys(1);
    guest = come(bound, stranger, mr_curve_public(server));
    ck_assert_int_eq(next_event(guest.monitor), MR_CURVE_REFUSED);
    leave(&guest);
    guest = come(bound, me, mr_curve_public(stranger));
    ck_assert_int_eq(next_event(guest.monitor), MR_CURVE_BROKEN);
    leave(&guest);
    guest = come(bound, NULL, NULL);
    expect_mismatch(guest.monitor);
    leave(&guest);
    guest = come(plain_bound, me, mr_curve_public(server));
    expect_mismatch(guest.monitor);
    leave(&guest);
    mr_socket_close(&socket, 0);
    mr_socket_close(&plain, 0);
}
END_TEST

/* ---- the probe ------------------------------------------------------------------------------------- */

static char door_public[MR_CURVE_ROOM], door_secret[MR_CURVE_ROOM];

/* A door as somebody might build it who forgets something. */
static void *
door(bool has_curve, const char *domain, int is_enforced, char bound[256])
{
    void *socket = zmq_socket(context, ZMQ_ROUTER);
    size_t n = 256;
    int yes = 1;

    if (has_curve) {
        ck_assert_int_eq(zmq_setsockopt(socket, ZMQ_CURVE_SERVER, &yes, sizeof yes), 0);
        ck_assert_int_eq(zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, door_secret, 41), 0);
    }
    if (*domain)
        ck_assert_int_eq(
            zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, domain, strlen(domain)), 0);
    ck_assert_int_eq(
        zmq_setsockopt(socket, ZAP_ENFORCE_DOMAIN, &is_enforced, sizeof is_enforced), 0);
    ck_assert_int_eq(zmq_bind(socket, "tcp://127.0.0.1:*"), 0);
    ck_assert_int_eq(zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, bound, &n), 0);
    return socket;
}

static enum mr_status
probe(bool has_curve, const char *domain, int is_enforced)
{
    char bound[256];
    void *socket = door(has_curve, domain, is_enforced, bound);
    struct mr_err err = {.status = MR_OK};
    enum mr_status status = mr_probe_run(context, "", bound, door_public, &err);

    ck_assert(status == MR_OK || (err.what[0] && err.why[0] && err.todo[0]));
    zmq_close(socket);
    return status;
}

START_TEST(the_probe_finds_open_doors)
{
    const char *domain = mr_curve_domain(MR_CURVE_BY_KEY);

    ck_assert_int_eq(zmq_curve_keypair(door_public, door_secret), 0);
    publish((const struct mr_curve *const[]){me}, 1);
    await_keys(1);
    ck_assert_int_eq(probe(true, domain, 1), MR_OK);
    ck_assert_int_eq(probe(false, mr_curve_domain(MR_CURVE_BY_HOST), 1), MR_DENIED);
    ck_assert_int_eq(probe(false, "", 0), MR_DENIED);
}
END_TEST

/* Without a handler libzmq admits any key, unless there is a domain and it is enforced. */
START_TEST(the_probe_finds_that_nobody_is_asked)
{
    const char *domain = mr_curve_domain(MR_CURVE_BY_KEY);

    ck_assert_int_eq(zmq_curve_keypair(door_public, door_secret), 0);
    context = zmq_ctx_new();
    ck_assert_int_eq(probe(true, "", 0), MR_DENIED);
    ck_assert_int_eq(probe(true, domain, 0), MR_DENIED);
    ck_assert_int_eq(probe(true, domain, 1), MR_OK);
    zmq_ctx_term(context);
}
END_TEST

START_TEST(a_door_that_cannot_be_reached_is_no_proof)
{
    struct mr_err err = {.status = MR_OK};

    ck_assert_int_eq(zmq_curve_keypair(door_public, door_secret), 0);
    ck_assert_int_eq(
        mr_probe_run(context, "tcp://nowhere.invalid:*", "", door_public, &err),
        MR_BAD_SETTING);
    ck_assert_ptr_nonnull(strstr(err.why, "nowhere.invalid"));
    /* ipc:// is not looked at: there the file's rights decide. */
    ck_assert_int_eq(
        mr_probe_run(context, "ipc:///nonexistent/x", "", door_public, &err), MR_OK);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("broker: who gets in");
    TCase *tcase = tcase_create("zap");
    SRunner *runner = srunner_create(suite);
    int failed;

    (void)setenv("ZSYS_SIGHANDLER", "false", 1);
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, only_known_keys_get_in);
    tcase_add_test(tcase, revoked_is_as_unknown);
    tcase_add_test(tcase, plain_is_named_after_its_door);
    tcase_add_test(tcase, nothing_else_gets_in);
    tcase_add_test(tcase, malformed_questions_are_refused);
    tcase_add_test(tcase, refusals_are_told_within_bounds);
    tcase_add_test(tcase, a_hundred_thousand_keys);
    tcase_add_test(tcase, each_message_says_who_sent_it);
    tcase_add_test(tcase, each_refusal_has_its_name);
    tcase_add_test(tcase, the_probe_finds_open_doors);
    tcase_add_test(tcase, the_probe_finds_that_nobody_is_asked);
    tcase_add_test(tcase, a_door_that_cannot_be_reached_is_no_proof);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
