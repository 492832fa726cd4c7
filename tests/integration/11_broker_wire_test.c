/*
 * Wrong bytes, wrong order, wrong socket: raw peers against a real broker. Whatever one of them
 * does, the broker answers with a code, goes on, and serves the others.
 */
#include "schemas/base/clock.h"
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#define KIND "wire.test"
#define DAY_MS (INT64_C(24) * 3600 * 1000)

static struct rig rig;
static struct rig_peer client, worker, other;

static void
set_up(void)
{
    rig_open(&rig);
    rig_broker(&rig, (const char *const[]){"--storing-max", "100", NULL});
    rig_peer_open(&client, rig.front);
    rig_peer_open(&worker, rig.back);
    rig_peer_hello(&worker, MR_ROLE_WORKER, KIND);
    rig_peer_hello(&client, MR_ROLE_CLIENT, NULL);
}

static void
tear_down(void)
{
    rig_peer_close(&client);
    rig_peer_close(&worker);
    rig_close(&rig);
}

/* The broker is there and takes a job of a client that did nothing wrong. */
static void
still_serves(void)
{
    (void)rig_peer_submit(&client, KIND);
    ck_assert(mr_proc_is_alive(&rig.broker));
}

static void
give_credit(uint64_t limit)
{
    mr_put_credit(&worker.wr, limit);
    rig_peer_send(&worker);
}

static void
expect_job(struct rig_peer *peer, struct mr_uuid id, uint32_t attempt)
{
    struct mr_jobs jobs;
    struct mr_job_sent job;

    rig_peer_expect(peer, MR_JOBS);
    ck_assert_int_eq(mr_get_jobs(&peer->msg, &jobs), MR_OK);
    ck_assert_uint_eq(jobs.jobs, 1);
    ck_assert_int_eq(mr_get_job(&jobs, &job), MR_OK);
    ck_assert(mr_uuid_eq(job.id, id));
    ck_assert_uint_eq(job.attempt, attempt);
}

static void
send_done(
    struct rig_peer *peer, struct mr_uuid id, uint32_t attempt, enum mr_report report)
{
    size_t mark = mr_put_dones_open(&peer->wr, 5, 0);
    struct mr_done done = {.id = id,
        .attempt = attempt,
        .report = report,
        .text = report == MR_DID_SUCCEED ? MR_SPAN_NONE : mr_span_str("no")};

    mr_put_done(&peer->wr, &done);
    mr_put_dones_close(&peer->wr, mark, 1);
    rig_peer_send(peer);
}

/* The verdict on the only item of the ACK that comes next; MR_OK if there is none. */
static enum mr_status
next_verdict(struct rig_peer *peer)
{
    struct mr_ack ack;
    struct mr_verdict verdict = {.code = MR_OK};

    rig_peer_expect(peer, MR_ACK);
    ck_assert_int_eq(mr_get_ack(&peer->msg, &ack), MR_OK);
    if (ack.verdicts)
        ck_assert_int_eq(mr_get_verdict(&ack, &verdict), MR_OK);
    return verdict.code;
}

static void
expect_finished(struct rig_peer *peer, struct mr_uuid id, enum mr_outcome outcome)
{
    struct mr_events events;
    struct mr_event event;

    do {
        rig_peer_expect(peer, MR_EVENT);
        ck_assert_int_eq(mr_get_events(&peer->msg, &events), MR_OK);
        ck_assert_int_eq(mr_get_event(&events, &event), MR_OK);
        ck_assert(mr_uuid_eq(event.id, id));
    } while (event.type != MR_EVENT_FINISHED);
    ck_assert_int_eq(event.outcome, outcome);
}

/* ---- no conversation ------------------------------------------------------------------------- */

START_TEST(without_hello)
{
    rig_peer_open(&other, _i ? rig.back : rig.front);
    mr_put_ping(&other.wr, 9, true);
    rig_peer_send(&other);
    rig_peer_expect_error(&other, MR_NO_SESSION);
    ck_assert_uint_eq(other.msg.corr, 9);
    mr_put_credit(&other.wr, 100);
    rig_peer_send(&other);
    rig_peer_expect_error(&other, MR_NO_SESSION);
    rig_peer_close(&other);
    still_serves();
}
END_TEST

static const struct {
    const char *bytes;
    size_t n;
    enum mr_status code;
} garbage[] = {
    {"", 0, MR_MALFORMED}, {"GET / HTTP/1.1\r\n\r\n", 18, MR_MALFORMED},
    {"\x94", 1, MR_MALFORMED},                         /* cut off */
    {"\xdd\xff\xff\xff\xff", 5, MR_MALFORMED},         /* four thousand million items */
    {"\x92\x05\xc6\xff\xff\xff\xff", 7, MR_MALFORMED}, /* so many bytes */
    {"\xc1", 1, MR_MALFORMED},                         /* reserved */
    {"\x93\x63\x00\x00", 4, MR_MALFORMED},             /* verb 99 */
    {"\x93\x05\x00\xd4\x01\x00", 6, MR_MALFORMED},     /* an extension */
    {"\x94\x05\x00\xa1\xff\x00", 6, MR_MALFORMED},     /* not UTF-8 */
    {"\x92\x02\x00\x00", 4, MR_MALFORMED},             /* something after the end */
    {"\x93\x02\x00\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\xc0", 15,
        MR_TOO_BIG},                       /* nested too deep */
    {"\x93\x00\x00\xc0", 4, MR_MALFORMED}, /* HELLO without a map */
};

START_TEST(garbage_is_answered)
{
    rig_peer_open(&other, rig.front);
    rig_peer_send_bytes(&other, garbage[_i].bytes, garbage[_i].n);
    rig_peer_expect_error(&other, garbage[_i].code);
    rig_peer_close(&other);
    rig_peer_open(&other, rig.back);
    rig_peer_send_bytes(&other, garbage[_i].bytes, garbage[_i].n);
    rig_peer_expect_error(&other, garbage[_i].code);
    rig_peer_close(&other);
    /* In the middle of a conversation, too, which then goes on. */
    rig_peer_send_bytes(&client, garbage[_i].bytes, garbage[_i].n);
    rig_peer_expect_error(&client, garbage[_i].code);
    still_serves();
}
END_TEST

/* Answers to nonsense are rationed, and a flood of it keeps nobody else out. */
START_TEST(flood_of_garbage)
{
    rig_peer_open(&other, rig.front);
    for (int i = 0; i < 5000; i++)
        rig_peer_send_bytes(&other, "\xc1\xc1\xc1", 3);
    still_serves();
    rig_peer_close(&other);
}
END_TEST

/* ---- HELLO ------------------------------------------------------------------------------------ */

static void
say_hello(
    struct rig_peer *peer, uint32_t proto_min, uint32_t proto_max, enum mr_role role)
{
    struct mr_hello hello = {.proto_min = proto_min,
        .proto_max = proto_max,
        .role = role,
        .instance = mr_uuid_new(mr_clock_now().wall_us),
        .name = mr_span_str("raw")};

    mr_put_hello(&peer->wr, 3, &hello, NULL);
    rig_peer_send(peer);
}

START_TEST(hello_of_another_version)
{
    rig_peer_open(&other, rig.front);
    say_hello(&other, 2, 7, MR_ROLE_CLIENT);
    rig_peer_expect_error(&other, MR_VERSION);
    rig_peer_close(&other);
    still_serves();
}
END_TEST

START_TEST(hello_at_the_wrong_socket)
{
    rig_peer_open(&other, rig.front);
    say_hello(&other, 1, 1, MR_ROLE_WORKER);
    rig_peer_expect_error(&other, MR_DENIED);
    rig_peer_close(&other);
    rig_peer_open(&other, rig.back);
    say_hello(&other, 1, 1, MR_ROLE_CLIENT);
    rig_peer_expect_error(&other, MR_DENIED);
    rig_peer_close(&other);
    still_serves();
}
END_TEST

START_TEST(hello_again_starts_anew)
{
    struct mr_welcome first, second;

    rig_peer_open(&other, rig.front);
    rig_peer_hello(&other, MR_ROLE_CLIENT, NULL);
    ck_assert_int_eq(mr_get_welcome(&other.msg, &first), MR_OK);
    rig_peer_hello(&other, MR_ROLE_CLIENT, NULL);
    ck_assert_int_eq(mr_get_welcome(&other.msg, &second), MR_OK);
    ck_assert(first.session != second.session);
    (void)rig_peer_submit(&other, KIND);
    rig_peer_close(&other);
    still_serves();
}
END_TEST

/* A long routing id of the peer's own choice: it has to leave that to libzmq. */
START_TEST(routing_id_of_its_own)
{
    char id[200];

    memset(id, 'x', sizeof id);
    rig_peer_open(&other, rig.front);
    rig_peer_close(&other);
    other.context = zmq_ctx_new();
    other.socket = zmq_socket(other.context, ZMQ_DEALER);
    mr_wr_init(&other.wr, 1000);
    ck_assert_int_eq(zmq_setsockopt(other.socket, ZMQ_ROUTING_ID, id, sizeof id), 0);
    ck_assert_int_eq(zmq_connect(other.socket, rig.front), 0);
    say_hello(&other, 1, 1, MR_ROLE_CLIENT);
    rig_peer_expect_error(&other, MR_MALFORMED);
    rig_peer_close(&other);
    still_serves();
}
END_TEST

/* ---- verbs where they do not belong ---------------------------------------------------------- */

START_TEST(worker_verbs_at_the_front)
{
    struct mr_uuid id = rig_peer_submit(&client, KIND);
    size_t mark;

    mr_put_credit(&client.wr, 1000);
    rig_peer_send(&client);
    rig_peer_expect_error(&client, MR_DENIED);
    send_done(&client, id, 1, MR_DID_SUCCEED);
    rig_peer_expect_error(&client, MR_DENIED);
    mark = mr_put_beat_open(&client.wr, 0);
    mr_put_beat_close(&client.wr, mark, 0);
    rig_peer_send(&client);
    rig_peer_expect_error(&client, MR_DENIED);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.result"), 0);
    still_serves();
}
END_TEST

START_TEST(client_verbs_at_the_back)
{
    size_t mark = mr_put_submit_open(&worker.wr, 1, mr_span_str("default"), 0);

    mr_put_submit_close(&worker.wr, mark, 0);
    rig_peer_send(&worker);
    rig_peer_expect_error(&worker, MR_DENIED);
    mr_put_call_open(&worker.wr, 2, "stats");
    mr_wr_map(&worker.wr, 0);
    rig_peer_send(&worker);
    rig_peer_expect_error(&worker, MR_DENIED);
    still_serves();
}
END_TEST

START_TEST(broker_verbs_from_a_peer)
{
    mr_put_ack(&client.wr, 1, 1, NULL, 0, 0);
    rig_peer_send(&client);
    rig_peer_expect_error(&client, MR_DENIED);
    still_serves();
}
END_TEST

START_TEST(methods)
{
    struct mr_reply reply;

    mr_put_call_open(&client.wr, 4, "format-disk");
    mr_wr_map(&client.wr, 0);
    rig_peer_send(&client);
    rig_peer_expect(&client, MR_REPLY);
    ck_assert_int_eq(mr_get_reply(&client.msg, &reply), MR_OK);
    ck_assert_int_eq(reply.code, MR_NO_METHOD);
    mr_put_call_open(&client.wr, 5, "show");
    mr_wr_map(&client.wr, 1);
    mr_wr_cstr(&client.wr, "id");
    mr_wr_cstr(&client.wr, "not an id");
    rig_peer_send(&client);
    rig_peer_expect(&client, MR_REPLY);
    ck_assert_int_eq(mr_get_reply(&client.msg, &reply), MR_OK);
    ck_assert_int_eq(reply.code, MR_BAD_ARGUMENT);
    mr_put_call_open(&client.wr, 6, "jobs");
    mr_wr_map(&client.wr, 1);
    mr_wr_cstr(&client.wr, "limit");
    mr_wr_cstr(&client.wr, "seven");
    rig_peer_send(&client);
    rig_peer_expect_error(&client, MR_MALFORMED);
    still_serves();
}
END_TEST

/* ---- jobs ---------------------------------------------------------------------------------------- */

static struct mr_job_new
good_job(void)
{
    return (struct mr_job_new){.id = mr_uuid_new(mr_clock_now().wall_us),
        .kind = mr_span_str(KIND),
        .payload = mr_span("\xc0", 1),
        .priority = MR_PRIORITY_DEFAULT};
}

static enum mr_status
verdict_on(const struct mr_job_new *job)
{
    size_t mark = mr_put_submit_open(&client.wr, 8, mr_span_str("default"), 0);

    mr_put_submit_job(&client.wr, job);
    mr_put_submit_close(&client.wr, mark, 1);
    rig_peer_send(&client);
    return next_verdict(&client);
}

START_TEST(verdicts)
{
    int64_t now_us = mr_clock_now().wall_us;
    struct mr_job_new job = good_job();
    uint8_t *large = calloc(1, MR_PAYLOAD_BYTES_MAX + 1);

    ck_assert_int_eq(verdict_on(&job), MR_OK);
    ck_assert_int_eq(verdict_on(&job), MR_KNOWN);
    job.payload = mr_span("\x01", 1);
    ck_assert_int_eq(verdict_on(&job), MR_CONFLICT);
    job = good_job();
    job.kind = mr_span_str("no.such.kind");
    ck_assert_int_eq(verdict_on(&job), MR_NO_KIND);
    job = good_job();
    job.id = mr_uuid_new(now_us - 400 * DAY_MS * 1000);
    ck_assert_int_eq(verdict_on(&job), MR_BAD_ID);
    job.id = mr_uuid_new(now_us + 2 * DAY_MS * 1000);
    ck_assert_int_eq(verdict_on(&job), MR_BAD_ID);
    memset(&job.id, 0x44, sizeof job.id);
    ck_assert_int_eq(verdict_on(&job), MR_BAD_ID);
    job = good_job();
    job.expires_at_us = now_us - 1000000;
    ck_assert_int_eq(verdict_on(&job), MR_EXPIRED);
    job = good_job();
    job.payload = mr_span(large, MR_PAYLOAD_BYTES_MAX + 1);
    ck_assert_int_eq(verdict_on(&job), MR_TOO_BIG);
    job.payload = mr_span(large, MR_PAYLOAD_BYTES_MAX);
    ck_assert_int_eq(verdict_on(&job), MR_OK);
    job = good_job();
    job.expires_at_us = job.run_at_us = now_us + 1000000;
    ck_assert_int_eq(verdict_on(&job), MR_BAD_ARGUMENT);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.job"), 2);
    free(large);
}
END_TEST

/* One wrong item: nothing of that message is taken. */
START_TEST(half_a_submit)
{
    struct mr_job_new job = good_job();
    size_t mark = mr_put_submit_open(&client.wr, 8, mr_span_str("default"), 0);

    mr_put_submit_job(&client.wr, &job);
    mr_wr_array(&client.wr, 2);
    mr_wr_uint(&client.wr, 1);
    mr_wr_nil(&client.wr);
    mr_put_submit_close(&client.wr, mark, 2);
    rig_peer_send(&client);
    rig_peer_expect_error(&client, MR_MALFORMED);
    still_serves();
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.job"), 1);
}
END_TEST

/* storing_max is 100: of a large message some jobs are refused with BUSY, none is lost. */
START_TEST(busy_is_honest)
{
    enum { JOBS = 1000 };
    size_t mark = mr_put_submit_open(&client.wr, 8, mr_span_str("default"), 0);
    struct mr_ack ack;
    struct mr_verdict verdict;
    uint32_t refused = 0;

    for (int i = 0; i < JOBS; i++) {
        struct mr_job_new job = good_job();

        mr_put_submit_job(&client.wr, &job);
    }
    mr_put_submit_close(&client.wr, mark, JOBS);
    rig_peer_send(&client);
    rig_peer_expect(&client, MR_ACK);
    ck_assert_int_eq(mr_get_ack(&client.msg, &ack), MR_OK);
    ck_assert_uint_eq(ack.count, JOBS);
    for (; ack.verdicts; refused++) {
        ck_assert_int_eq(mr_get_verdict(&ack, &verdict), MR_OK);
        ck_assert_int_eq(verdict.code, MR_BUSY);
    }
    ck_assert_uint_gt(refused, 0);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.job"), JOBS - refused);
}
END_TEST

/* ---- workers ----------------------------------------------------------------------------------- */

START_TEST(job_is_run_and_finished)
{
    struct mr_uuid id = rig_peer_submit(&client, KIND);

    give_credit(1);
    expect_job(&worker, id, 1);
    send_done(&worker, id, 1, MR_DID_SUCCEED);
    ck_assert_int_eq(next_verdict(&worker), MR_OK);
    expect_finished(&client, id, MR_SUCCEEDED);
}
END_TEST

START_TEST(done_of_a_job_it_does_not_have)
{
    struct mr_uuid id = rig_peer_submit(&client, KIND);

    rig_peer_open(&other, rig.back);
    rig_peer_hello(&other, MR_ROLE_WORKER, KIND);
    give_credit(1);
    expect_job(&worker, id, 1);
    send_done(&other, id, 1, MR_DID_FAIL_FOR_GOOD);
    ck_assert_int_eq(next_verdict(&other), MR_STALE);
    send_done(&other, mr_uuid_new(mr_clock_now().wall_us), 1, MR_DID_SUCCEED);
    ck_assert_int_eq(next_verdict(&other), MR_STALE);
    /* Its own, but another attempt. */
    send_done(&worker, id, 2, MR_DID_FAIL_FOR_GOOD);
    ck_assert_int_eq(next_verdict(&worker), MR_STALE);
    send_done(&worker, id, 1, MR_DID_FAIL_FOR_GOOD);
    ck_assert_int_eq(next_verdict(&worker), MR_OK);
    expect_finished(&client, id, MR_FAILED);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.result where outcome = 2"), 1);
    rig_peer_close(&other);
}
END_TEST

/* What it says it holds and does not is taken from it. */
START_TEST(beat_of_a_job_it_does_not_have)
{
    struct mr_held held = {.id = mr_uuid_new(mr_clock_now().wall_us), .attempt = 1};
    struct mr_revoke revoke;
    struct mr_revoked item;
    size_t mark = mr_put_beat_open(&worker.wr, 0);

    mr_put_held(&worker.wr, &held);
    mr_put_beat_close(&worker.wr, mark, 1);
    rig_peer_send(&worker);
    rig_peer_expect(&worker, MR_REVOKE);
    ck_assert_int_eq(mr_get_revoke(&worker.msg, &revoke), MR_OK);
    ck_assert_int_eq(mr_get_revoked(&revoke, &item), MR_OK);
    ck_assert(mr_uuid_eq(item.id, held.id));
    ck_assert_int_eq(item.why, MR_WHY_STALE);
}
END_TEST

/* A worker that offers one kind never gets another. */
START_TEST(only_kinds_that_were_offered)
{
    struct mr_uuid mine, theirs;

    rig_peer_open(&other, rig.back);
    rig_peer_hello(&other, MR_ROLE_WORKER, "wire.other");
    theirs = rig_peer_submit(&client, KIND);
    mine = rig_peer_submit(&client, "wire.other");
    mr_put_credit(&other.wr, 10);
    rig_peer_send(&other);
    expect_job(&other, mine, 1);
    give_credit(10);
    expect_job(&worker, theirs, 1);
    rig_peer_close(&other);
}
END_TEST

/* The connection of a worker breaks: its job runs elsewhere, with a number of its own. */
START_TEST(lost_worker)
{
    struct mr_uuid id = rig_peer_submit(&client, KIND);

    rig_peer_open(&other, rig.back);
    rig_peer_hello(&other, MR_ROLE_WORKER, KIND);
    mr_put_credit(&other.wr, 1);
    rig_peer_send(&other);
    expect_job(&other, id, 1);
    rig_peer_close(&other);
    give_credit(5);
    /* Kept alive while the broker finds out. */
    mr_put_ping(&worker.wr, 1, true);
    rig_peer_send(&worker);
    expect_job(&worker, id, 2);
    send_done(&worker, id, 2, MR_DID_SUCCEED);
    ck_assert_int_eq(next_verdict(&worker), MR_OK);
    expect_finished(&client, id, MR_SUCCEEDED);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.attempt where outcome = 2"), 1);
}
END_TEST

/* Silent for three heartbeats: forgotten, and told so when it speaks again. */
START_TEST(silent_peer_is_forgotten)
{
    rig_peer_open(&other, rig.front);
    rig_peer_hello(&other, MR_ROLE_CLIENT, NULL);
    for (int64_t until = rig_now_ms() + RIG_WAIT_MS;;) {
        struct mr_reply reply;

        mr_put_call_open(&client.wr, 1, "stats");
        mr_wr_map(&client.wr, 0);
        rig_peer_send(&client);
        rig_peer_expect(&client, MR_REPLY);
        ck_assert_int_eq(mr_get_reply(&client.msg, &reply), MR_OK);
        int64_t clients = 0;
        ck_assert(millrace_get_int(reply.result.p, reply.result.n, "clients", &clients));
        if (clients == 1)
            break;
        ck_assert(rig_now_ms() < until);
        rig_breathe();
    }
    mr_put_ping(&other.wr, 1, true);
    rig_peer_send(&other);
    rig_peer_expect_error(&other, MR_NO_SESSION);
    rig_peer_close(&other);
}
END_TEST

static void
add_tests(TCase *tcase)
{
    tcase_add_loop_test(tcase, without_hello, 0, 2);
    tcase_add_loop_test(tcase, garbage_is_answered, 0, sizeof garbage / sizeof *garbage);
    tcase_add_test(tcase, flood_of_garbage);
    tcase_add_test(tcase, hello_of_another_version);
    tcase_add_test(tcase, hello_at_the_wrong_socket);
    tcase_add_test(tcase, hello_again_starts_anew);
    tcase_add_test(tcase, routing_id_of_its_own);
    tcase_add_test(tcase, worker_verbs_at_the_front);
    tcase_add_test(tcase, client_verbs_at_the_back);
    tcase_add_test(tcase, broker_verbs_from_a_peer);
    tcase_add_test(tcase, methods);
    tcase_add_test(tcase, verdicts);
    tcase_add_test(tcase, half_a_submit);
    tcase_add_test(tcase, busy_is_honest);
    tcase_add_test(tcase, job_is_run_and_finished);
    tcase_add_test(tcase, done_of_a_job_it_does_not_have);
    tcase_add_test(tcase, beat_of_a_job_it_does_not_have);
    tcase_add_test(tcase, only_kinds_that_were_offered);
    tcase_add_test(tcase, lost_worker);
    tcase_add_test(tcase, silent_peer_is_forgotten);
}

int
main(void)
{
    Suite *suite = suite_create("broker: wire");
    TCase *tcase = tcase_create("wire");

    tcase_set_timeout(tcase, 90);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    add_tests(tcase);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
