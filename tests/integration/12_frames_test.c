/*
 * Messages to the broker that are longer than a frame: around the seams what arrives is what
 * was sent; frames that are not as the page has them are refused as a whole; a frame that is
 * too large costs its sender the connection. Nobody else is disturbed.
 */
#include "schemas/base/clock.h"
#include "schemas/wire/frames.h"
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#define KIND "wire.test"
#define PAYLOAD_BYTES_MAX 1000000u
#define HEADER_BYTES 5 /* of a msgpack bin */

static struct rig rig;
static struct rig_peer client, worker, other;
static struct millrace *mr;

static void
set_up(void)
{
    rig_open(&rig);
    rig_broker(&rig, NULL);
    rig_peer_open(&client, rig.front);
    rig_peer_open(&worker, rig.back);
    rig_peer_hello(&worker, MR_ROLE_WORKER, KIND);
    rig_peer_hello(&client, MR_ROLE_CLIENT, NULL);
    mr = rig_client(&rig);
}

static void
tear_down(void)
{
    millrace_close(mr);
    rig_peer_close(&client);
    rig_peer_close(&worker);
    rig_close(&rig);
}

static void
still_serves(void)
{
    (void)rig_peer_submit(&client, KIND);
    ck_assert(mr_proc_is_alive(&rig.broker));
}

/* A bin of n bytes that differ from frame to frame. */
static struct mr_span
payload_of(size_t n)
{
    static uint8_t bytes[PAYLOAD_BYTES_MAX + HEADER_BYTES];

    bytes[0] = 0xc6;
    for (int i = 0; i < 4; i++)
        bytes[1 + i] = (uint8_t)(n >> (24 - 8 * i));
    for (size_t i = 0; i < n; i++)
        bytes[HEADER_BYTES + i] = (uint8_t)(i % 251 + i / MR_WIRE_FRAME_BYTES_MAX);
    return mr_span(bytes, n + HEADER_BYTES);
}

static void
expect_stored(struct mr_uuid id, struct mr_span payload)
{
    size_t room = 2 * payload.n + 256, at;
    char *sql = malloc(room), text[MR_UUID_TEXT_MAX];

    ck_assert_ptr_nonnull(sql);
    at = (size_t)snprintf(sql, room, "select (payload = decode('");
    for (size_t i = 0; i < payload.n; i++)
        at += (size_t)snprintf(sql + at, room - at, "%02x", payload.p[i]);
    (void)snprintf(sql + at, room - at,
        "', 'hex'))::int from millrace.job where id = '%s'", mr_uuid_format(id, text));
    ck_assert_int_eq(rig_int(&rig, sql), 1);
    free(sql);
}

/* Length of the message. */
static size_t
submit_and_look(size_t n)
{
    struct mr_job_new job = {.id = mr_uuid_new(mr_clock_now().wall_us),
        .kind = mr_span_str(KIND),
        .payload = payload_of(n),
        .priority = MR_PRIORITY_DEFAULT};
    size_t mark = mr_put_submit_open(
        &client.wr, 77, mr_span_str(MR_QUEUE_DEFAULT), MR_SUBMIT_WATCH);
    size_t message_n;
    struct mr_ack ack;

    mr_put_submit_job(&client.wr, &job);
    mr_put_submit_close(&client.wr, mark, 1);
    message_n = client.wr.n;
    rig_peer_send(&client);
    rig_peer_expect(&client, MR_ACK);
    ck_assert_int_eq(mr_get_ack(&client.msg, &ack), MR_OK);
    ck_assert_uint_eq(ack.verdicts, 0);
    expect_stored(job.id, job.payload);
    return message_n;
}

START_TEST(what_arrives_is_what_was_sent)
{
    size_t n = MR_WIRE_FRAME_BYTES_MAX - 100, message_n;
    unsigned seams = 0;

    do {
        message_n = submit_and_look(n++);
        seams += message_n == MR_WIRE_FRAME_BYTES_MAX - 1 ||
                 message_n == MR_WIRE_FRAME_BYTES_MAX ||
                 message_n == MR_WIRE_FRAME_BYTES_MAX + 1;
    } while (message_n < MR_WIRE_FRAME_BYTES_MAX + 3);
    ck_assert_uint_eq(seams, 3);
    ck_assert_uint_eq(
        submit_and_look(n + MR_WIRE_FRAME_BYTES_MAX - 4), 2 * MR_WIRE_FRAME_BYTES_MAX);
    (void)submit_and_look(n + MR_WIRE_FRAME_BYTES_MAX - 3);
    (void)submit_and_look(PAYLOAD_BYTES_MAX);
    ck_assert_int_eq(rig_stat(mr, "multipart") + rig_stat(mr, "malformed"), 0);
    still_serves();
}
END_TEST

START_TEST(as_long_as_a_message_may_be)
{
    uint8_t *bytes = calloc(1, MR_MESSAGE_BYTES_MAX + 1);

    rig_peer_send_bytes(&client, bytes, MR_MESSAGE_BYTES_MAX + 1);
    rig_peer_expect_error(&client, MR_MALFORMED);
    ck_assert_int_eq(rig_stat(mr, "multipart"), 1);
    rig_peer_send_bytes(&client, bytes, MR_MESSAGE_BYTES_MAX); /* 0 is no array */
    rig_peer_expect_error(&client, MR_MALFORMED);
    ck_assert_int_eq(rig_stat(mr, "multipart"), 1);
    ck_assert_int_eq(rig_stat(mr, "malformed"), 1);
    free(bytes);
    still_serves();
}
END_TEST

static const struct {
    size_t first, second, last;
} wrong[] = {
    {0, 1, 1}, /* an empty delimiter, as of a REQ */
    {0, MR_WIRE_FRAME_BYTES_MAX, 1},
    {MR_WIRE_FRAME_BYTES_MAX - 1, MR_WIRE_FRAME_BYTES_MAX, 1},
    {MR_WIRE_FRAME_BYTES_MAX + 1, MR_WIRE_FRAME_BYTES_MAX, 1},
    {MR_WIRE_FRAME_BYTES_MAX, MR_WIRE_FRAME_BYTES_MAX - 1, 1},
    {MR_WIRE_FRAME_BYTES_MAX, 0, 1},
    {MR_WIRE_FRAME_BYTES_MAX, MR_WIRE_FRAME_BYTES_MAX, 0},
    {MR_WIRE_FRAME_BYTES_MAX, MR_WIRE_FRAME_BYTES_MAX, MR_WIRE_FRAME_BYTES_MAX + 1},
};

START_TEST(wrong_frames)
{
    static const uint8_t bytes[MR_WIRE_FRAME_BYTES_MAX + 1];

    ck_assert_int_ge(zmq_send(client.socket, bytes, wrong[_i].first, ZMQ_SNDMORE), 0);
    ck_assert_int_ge(zmq_send(client.socket, bytes, wrong[_i].second, ZMQ_SNDMORE), 0);
    ck_assert_int_ge(zmq_send(client.socket, bytes, wrong[_i].last, 0), 0);
    rig_peer_expect_error(&client, MR_MALFORMED);
    ck_assert_int_eq(rig_stat(mr, "multipart"), 1);
    still_serves();
}
END_TEST

/* The connection is closed; the peer comes again by itself, and is not known then. */
START_TEST(a_frame_that_is_too_large)
{
    static const uint8_t bytes[MR_WIRE_FRAME_BYTES_MAX + MR_WIRE_FRAME_BYTES_SPARE + 1];
    zmq_pollitem_t answer = {.events = ZMQ_POLLIN};
    int64_t until_ms = rig_now_ms() + RIG_WAIT_MS;

    rig_peer_open(&other, rig.front);
    rig_peer_hello(&other, MR_ROLE_CLIENT, NULL);
    ck_assert_int_ge(zmq_send(other.socket, bytes, sizeof bytes, 0), 0);
    answer.socket = other.socket;
    /* One that is said before it is lost goes with it. */
    do {
        mr_put_ping(&other.wr, 9, false);
        rig_peer_send(&other);
    } while (zmq_poll(&answer, 1, 5) == 0 && rig_now_ms() < until_ms);
    rig_peer_expect_error(&other, MR_NO_SESSION);
    rig_peer_close(&other);
    still_serves();
}
END_TEST

/* The broker knows each connection by its descriptor, whatever it came over: who is heard is no
 * stranger, and not shown out. */
START_TEST(peers_are_heard)
{
    struct rig there;
    struct millrace *known;

    rig_open(&there);
    if (_i)
        snprintf(there.front, sizeof there.front, "ipc://%s/front", there.folder);
    rig_broker(&there, (const char *const[]){"--unknown-kinds", "accept", NULL});
    known = rig_client(&there);
    (void)rig_submit(known, KIND, NULL, 0);
    ck_assert_int_eq(rig_stat(known, "connections"), 1);
    ck_assert_int_eq(rig_stat(known, "unheard"), 0);
    ck_assert_int_eq(rig_stat(known, "mute_logins"), 0);
    millrace_close(known);
    rig_close(&there);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("frames");
    TCase *tcase = tcase_create("frames");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, what_arrives_is_what_was_sent);
    tcase_add_test(tcase, as_long_as_a_message_may_be);
    tcase_add_loop_test(tcase, wrong_frames, 0, sizeof wrong / sizeof *wrong);
    tcase_add_test(tcase, a_frame_that_is_too_large);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("heard");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, peers_are_heard, 0, 2);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
