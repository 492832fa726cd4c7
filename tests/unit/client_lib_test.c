/*
 * The library against a scripted broker: a real ROUTER socket whose answers the test chooses, so
 * that BUSY, lost connections and late answers come exactly when they are wanted. What a real
 * broker does with it is tested in tests/integration.
 */
#include "client/millrace.h"

#include <check.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/clock.h"
#include "schemas/wire/msg.h"

#include <zmq.h>

#define DEADLINE_MS 10000
#define NOTHING_MS 150 /* how long to listen for what must not come */

struct broker {
    void *context, *socket;
    char endpoint[256];
    zmq_msg_t from, frame;
    struct mr_msg msg;
    uint32_t window_jobs;
    bool has_session;
};

static struct broker broker;
static struct millrace *mr;
static struct millrace_error error;

static void
bind_to(const char *endpoint)
{
    int zero = 0;
    size_t n = sizeof broker.endpoint;

    broker.has_session = false;
    broker.socket = zmq_socket(broker.context, ZMQ_ROUTER);
    ck_assert_ptr_nonnull(broker.socket);
    ck_assert_int_eq(zmq_setsockopt(broker.socket, ZMQ_LINGER, &zero, sizeof zero), 0);
    /* The port of a socket that was just closed may be busy for a moment. */
    for (int i = 0; zmq_bind(broker.socket, endpoint) != 0; i++) {
        ck_assert_int_lt(i, 500);
        poll(NULL, 0, 10);
    }
    ck_assert_int_eq(
        zmq_getsockopt(broker.socket, ZMQ_LAST_ENDPOINT, broker.endpoint, &n), 0);
}

static void
set_up(void)
{
    memset(&broker, 0, sizeof broker);
    broker.window_jobs = 10000;
    broker.context = zmq_ctx_new();
    zmq_msg_init(&broker.from);
    zmq_msg_init(&broker.frame);
    bind_to("tcp://127.0.0.1:*");
    mr = millrace_open(
        &(struct millrace_options){.endpoints = broker.endpoint, .name = "a test"},
        &error);
    ck_assert_ptr_nonnull(mr);
}

static void
tear_down(void)
{
    millrace_close(mr);
    zmq_msg_close(&broker.from);
    zmq_msg_close(&broker.frame);
    zmq_close(broker.socket);
    zmq_ctx_term(broker.context);
}

/* The next message of any verb within timeout_ms. */
static bool
receive(int timeout_ms)
{
    zmq_pollitem_t item = {.socket = broker.socket, .events = ZMQ_POLLIN};

    if (zmq_poll(&item, 1, timeout_ms) <= 0)
        return false;
    ck_assert_int_gt(zmq_msg_recv(&broker.from, broker.socket, 0), 0);
    ck_assert_int_gt(zmq_msg_recv(&broker.frame, broker.socket, 0), 0);
    ck_assert(!zmq_msg_more(&broker.frame));
    ck_assert_int_eq(
        mr_msg_open(mr_span(zmq_msg_data(&broker.frame), zmq_msg_size(&broker.frame)),
            &broker.msg),
        MR_OK);
    return true;
}

static void
reply(struct mr_wr *wr)
{
    zmq_msg_t to;

    ck_assert_int_eq(wr->status, MR_OK);
    zmq_msg_init(&to);
    zmq_msg_copy(&to, &broker.from);
    ck_assert_int_ge(zmq_msg_send(&to, broker.socket, ZMQ_SNDMORE), 0);
    ck_assert_int_ge(zmq_send(broker.socket, wr->p, wr->n, 0), 0);
    mr_wr_fini(wr);
}

static void
welcome(void)
{
    struct mr_welcome answer = {.proto = 1,
        .session = 7,
        .heartbeat_ms = 200,
        .payload_bytes_max = MR_PAYLOAD_BYTES_MAX,
        .result_bytes_max = MR_RESULT_BYTES_MAX,
        .message_bytes_max = MR_MESSAGE_BYTES_MAX,
        .jobs_per_message_max = MR_JOBS_PER_MESSAGE_MAX,
        .window_jobs = broker.window_jobs};
    struct mr_wr wr;

    mr_wr_init(&wr, 4096);
    mr_put_welcome(&wr, broker.msg.corr, &answer);
    reply(&wr);
    broker.has_session = true;
}

static void
no_session(void)
{
    struct mr_error says = {.code = MR_NO_SESSION, .text = mr_span_str("who are you")};
    struct mr_wr wr;

    mr_wr_init(&wr, 256);
    mr_put_error(&wr, broker.msg.corr, &says);
    reply(&wr);
}

static void
pong(void)
{
    struct mr_wr wr;
    bool ask;

    ck_assert_int_eq(mr_get_ping(&broker.msg, &ask), MR_OK);
    if (!ask)
        return;
    mr_wr_init(&wr, 64);
    mr_put_ping(&wr, broker.msg.corr, false);
    reply(&wr);
}

/* The next message of that verb; greets and answers pings meanwhile. */
static bool
expect_within(enum mr_verb verb, int timeout_ms)
{
    int64_t end_us = mr_clock_now().mono_us + (int64_t)timeout_ms * 1000;
    int64_t left_us;

    while ((left_us = end_us - mr_clock_now().mono_us) > 0) {
        if (!receive((int)(left_us / 1000) + 1))
            continue;
        if (broker.msg.verb == MR_HELLO)
            welcome();
        else if (!broker.has_session)
            no_session();
        else if (broker.msg.verb == verb)
            return true;
        else if (broker.msg.verb == MR_PING)
            pong();
        else
            ck_abort_msg("unexpected %s", mr_verb_name(broker.msg.verb));
    }
    return false;
}

static void
expect(enum mr_verb verb)
{
    ck_assert_msg(expect_within(verb, DEADLINE_MS), "no %s came", mr_verb_name(verb));
}

static void
ack(uint32_t count, const struct mr_verdict *verdicts, uint32_t verdict_count,
    uint32_t retry_ms)
{
    struct mr_wr wr;

    mr_wr_init(&wr, 65536);
    mr_put_ack(&wr, broker.msg.corr, count, verdicts, verdict_count, retry_ms);
    reply(&wr);
}

static void
ack_one(enum mr_status code)
{
    struct mr_verdict verdict = {
        .index = 0, .code = code, .text = mr_span_str("because of the test")};

    ack(1, &verdict, code != MR_OK, 1);
}

static struct mr_submit
submit_in_hand(void)
{
    struct mr_submit submit;

    ck_assert_int_eq(mr_get_submit(&broker.msg, &submit), MR_OK);
    return submit;
}

static struct mr_job_new
next_job(struct mr_submit *submit)
{
    struct mr_job_new job;

    ck_assert_int_eq(mr_get_submit_job(submit, &job), MR_OK);
    return job;
}

static void
event(struct mr_event event_of)
{
    struct mr_wr wr;
    size_t mark;

    mr_wr_init(&wr, 4 * 1024 * 1024);
    mark = mr_put_events_open(&wr, 0);
    mr_put_event(&wr, &event_of);
    mr_put_events_close(&wr, mark, 1);
    reply(&wr);
}

static struct mr_uuid
uuid_of(const struct millrace_id *id)
{
    struct mr_uuid uuid;

    memcpy(uuid.b, id->b, sizeof uuid.b);
    return uuid;
}

static struct millrace_id
start(const char *kind, unsigned until, int timeout_ms)
{
    struct millrace_job job;

    millrace_job_init(&job, kind);
    ck_assert_int_eq(millrace_submit_start(mr, &job, until, timeout_ms, NULL, &error), 0);
    return job.id;
}

static struct millrace_completion
completion(void)
{
    struct millrace_completion out;

    ck_assert_int_eq(millrace_finish(mr, DEADLINE_MS, &out), 1);
    return out;
}

static void
expect_code(int code)
{
    struct millrace_completion out = completion();

    ck_assert_msg(out.code == code, "%d %s, not %d", out.code, out.error.why, code);
    millrace_result_free(&out.result);
}

/* ---- Submit ------------------------------------------------------------------------------- */

START_TEST(a_job_arrives_as_it_was_given)
{
    static const unsigned char args[] = {0x81, 0xa1, 'n', 0x05}; /* {"n":5} */
    struct millrace_job job;
    struct mr_submit submit;
    struct mr_job_new got;

    millrace_job_init(&job, "calc.ep");
    job.queue = "nightly";
    job.args = args;
    job.args_bytes = sizeof args;
    job.priority = 9;
    job.lane = "berlin";
    job.delay_ms = 1500;
    job.timeout_ms = 60000;
    job.attempts_max = 3;
    job.trace = "t-1";
    ck_assert_int_eq(millrace_submit_start(mr, &job, 0, 0, &job, &error), 0);
    expect(MR_SUBMIT);
    submit = submit_in_hand();
    ck_assert(mr_span_is(submit.queue, "nightly"));
    ck_assert_uint_eq(submit.flags, 0);
    ck_assert_uint_eq(submit.jobs, 1);
    got = next_job(&submit);
    ck_assert_mem_eq(got.id.b, job.id.b, 16);
    ck_assert(mr_span_is(got.kind, "calc.ep"));
    ck_assert(mr_span_eq(got.payload, mr_span(args, sizeof args)));
    ck_assert(mr_span_is(got.lane, "berlin"));
    ck_assert_uint_eq(got.priority, 9);
    ck_assert_uint_eq(got.delay_ms, 1500);
    ck_assert_uint_eq(got.timeout_ms, 60000);
    ck_assert_uint_eq(got.attempts_max, 3);
    ck_assert(mr_span_is(got.trace, "t-1"));
    ack_one(MR_OK);
    {
        struct millrace_completion done = completion();

        ck_assert_int_eq(done.code, 0);
        ck_assert_ptr_eq(done.tag, &job);
        ck_assert_mem_eq(done.result.id.b, job.id.b, 16);
    }
}
END_TEST

START_TEST(verdicts_come_out_as_codes)
{
    static const enum mr_status codes[] = {MR_KNOWN, MR_FINISHED, MR_CONFLICT, MR_EXPIRED,
        MR_NO_KIND, MR_BAD_ID, MR_TOO_BIG, MR_LIMIT};

    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        start("test.noop", MILLRACE_UNTIL_DURABLE, 0);
        expect(MR_SUBMIT);
        ack_one(codes[i]);
        expect_code((int)codes[i]);
    }
}
END_TEST

START_TEST(busy_is_repeated_with_the_same_id)
{
    static const enum mr_status codes[] = {MR_BUSY, MR_STORE_DOWN, MR_STARTING};
    struct millrace_id id = start("test.noop", MILLRACE_UNTIL_DURABLE, 0);

    for (size_t i = 0; i < 4; i++) {
        struct mr_submit submit;

        expect(MR_SUBMIT);
        submit = submit_in_hand();
        ck_assert_uint_eq(submit.flags, i ? MR_SUBMIT_RESENT : 0);
        ck_assert_mem_eq(next_job(&submit).id.b, id.b, 16);
        ack_one(i < 3 ? codes[i] : MR_OK);
    }
    expect_code(0);
}
END_TEST

START_TEST(busy_to_the_end_is_told_as_such)
{
    start("test.noop", MILLRACE_UNTIL_DURABLE, 300);
    while (expect_within(MR_SUBMIT, 2 * NOTHING_MS)) {
        ack_one(MR_BUSY);
    }
    expect_code(MILLRACE_BUSY);
}
END_TEST

START_TEST(no_answer_is_a_timeout)
{
    start("test.noop", MILLRACE_UNTIL_DURABLE, 300);
    expect(MR_SUBMIT);
    expect_code(MILLRACE_TIMEOUT);
    /* A late answer finds nobody, and hurts nobody. */
    ack_one(MR_OK);
    start("test.noop", MILLRACE_UNTIL_DURABLE, 0);
    expect(MR_SUBMIT);
    ack_one(MR_OK);
    expect_code(0);
}
END_TEST

START_TEST(a_lost_connection_is_mended_and_all_said_again)
{
    char endpoint[256];
    struct millrace_id ids[3];

    ids[0] = start("test.noop", MILLRACE_UNTIL_DURABLE, DEADLINE_MS);
    expect(MR_SUBMIT);
    ids[1] = start("test.noop", MILLRACE_UNTIL_DURABLE, DEADLINE_MS);
    expect(MR_SUBMIT);
    ids[2] = start("test.noop", MILLRACE_UNTIL_DURABLE, DEADLINE_MS);
    memcpy(endpoint, broker.endpoint, sizeof endpoint);
    zmq_close(broker.socket);
    bind_to(endpoint);
    for (int got = 0; got < 3;) {
        struct mr_submit submit;

        expect(MR_SUBMIT);
        submit = submit_in_hand();
        if (got == 0)
            ck_assert_uint_eq(submit.flags, MR_SUBMIT_RESENT);
        for (uint32_t n = submit.jobs; n > 0; n--)
            ck_assert_mem_eq(next_job(&submit).id.b, ids[got++].b, 16);
        ack(submit_in_hand().jobs, NULL, 0, 0);
    }
    for (int i = 0; i < 3; i++)
        expect_code(0);
}
END_TEST

START_TEST(silence_is_a_lost_connection_too)
{
    start("test.noop", MILLRACE_UNTIL_DURABLE, DEADLINE_MS);
    expect(MR_SUBMIT);
    /* No PING is answered: after three heartbeats of 200 ms there comes a new HELLO. */
    do
        ck_assert(receive(DEADLINE_MS));
    while (broker.msg.verb == MR_PING);
    ck_assert_int_eq(broker.msg.verb, MR_HELLO);
    welcome();
    expect(MR_SUBMIT);
    ck_assert_uint_eq(submit_in_hand().flags, MR_SUBMIT_RESENT);
    ack_one(MR_OK);
    expect_code(0);
}
END_TEST

START_TEST(no_session_means_hello_again)
{
    start("test.noop", MILLRACE_UNTIL_DURABLE, DEADLINE_MS);
    expect(MR_SUBMIT);
    broker.has_session = false;
    no_session();
    expect(MR_SUBMIT);
    ack_one(MR_OK);
    expect_code(0);
}
END_TEST

START_TEST(one_message_for_what_gathered)
{
    struct mr_submit submit;
    int messages = 0;

    for (int i = 0; i < 500; i++)
        start("test.noop", MILLRACE_UNTIL_DURABLE, 0);
    for (uint32_t got = 0; got < 500; messages++) {
        expect(MR_SUBMIT);
        submit = submit_in_hand();
        got += submit.jobs;
        ack(submit.jobs, NULL, 0, 0);
    }
    for (int i = 0; i < 500; i++)
        expect_code(0);
    ck_assert_int_lt(messages, 100);
}
END_TEST

START_TEST(queues_do_not_share_a_message)
{
    struct millrace_job job;

    ck_assert_int_eq(expect_within(MR_SUBMIT, NOTHING_MS), false);
    for (int i = 0; i < 4; i++) {
        millrace_job_init(&job, "test.noop");
        job.queue = i % 2 ? "odd" : "even";
        ck_assert_int_eq(millrace_submit_start(mr, &job, 0, 0, NULL, NULL), 0);
    }
    for (int i = 0; i < 4; i++) {
        expect(MR_SUBMIT);
        ck_assert(mr_span_is(submit_in_hand().queue, i % 2 ? "odd" : "even"));
        ack_one(MR_OK);
    }
    for (int i = 0; i < 4; i++)
        expect_code(0);
}
END_TEST

START_TEST(the_window_is_kept)
{
    uint32_t got = 0;

    broker.window_jobs = 10;
    for (int i = 0; i < 25; i++)
        start("test.noop", MILLRACE_UNTIL_DURABLE, 0);
    while (got < 10) {
        expect(MR_SUBMIT);
        got += submit_in_hand().jobs;
        ck_assert_uint_le(got, 10);
        if (got < 10)
            ck_assert_uint_ge(got, 1);
        if (got == 10)
            break;
    }
    ck_assert(!expect_within(MR_SUBMIT, NOTHING_MS));
}
END_TEST

/* ---- Wait --------------------------------------------------------------------------------- */

static struct mr_uuid
watched(void)
{
    struct mr_watch watch;
    struct mr_uuid id;

    ck_assert_int_eq(mr_get_watch(&broker.msg, &watch), MR_OK);
    ck_assert_uint_eq(watch.ids, 1);
    ck_assert(watch.on);
    ck_assert_int_eq(mr_get_watch_id(&watch, &id), MR_OK);
    return id;
}

START_TEST(until_finished_brings_the_result)
{
    static const unsigned char body[] = {0x93, 1, 2, 3};
    struct millrace_id id = start("test.noop", MILLRACE_UNTIL_FINISHED, 0);
    struct millrace_completion done;

    expect(MR_SUBMIT);
    ck_assert_uint_eq(submit_in_hand().flags, MR_SUBMIT_WATCH);
    ack_one(MR_OK);
    event((struct mr_event){.id = uuid_of(&id),
        .type = MR_EVENT_FINISHED,
        .attempt = 2,
        .outcome = MR_FAILED,
        .text = mr_span_str("no road"),
        .body = mr_span(body, sizeof body)});
    done = completion();
    ck_assert_int_eq(done.code, 0);
    ck_assert_int_eq(done.result.outcome, MILLRACE_FAILED);
    ck_assert_uint_eq(done.result.attempt, 2);
    ck_assert_str_eq(done.result.text, "no road");
    ck_assert_uint_eq(done.result.body_bytes, sizeof body);
    ck_assert_mem_eq(done.result.body, body, sizeof body);
    millrace_result_free(&done.result);
    ck_assert_ptr_null(done.result.body);
}
END_TEST

START_TEST(a_job_that_was_there_is_asked_for)
{
    struct millrace_id id = start("test.noop", MILLRACE_UNTIL_FINISHED, 0);

    expect(MR_SUBMIT);
    ack_one(MR_KNOWN);
    expect(MR_WATCH);
    ck_assert(mr_uuid_eq(watched(), uuid_of(&id)));
    event((struct mr_event){
        .id = uuid_of(&id), .type = MR_EVENT_FINISHED, .outcome = MR_SUCCEEDED});
    expect_code(0);
}
END_TEST

START_TEST(waits_are_asked_again_after_a_reconnect)
{
    struct millrace_id id = millrace_id_new();
    char endpoint[256];

    ck_assert_int_eq(millrace_wait_start(mr, &id, DEADLINE_MS, NULL, &error), 0);
    expect(MR_WATCH);
    event((struct mr_event){.id = uuid_of(&id), .type = MR_EVENT_WAITING});
    memcpy(endpoint, broker.endpoint, sizeof endpoint);
    zmq_close(broker.socket);
    bind_to(endpoint);
    expect(MR_WATCH);
    ck_assert(mr_uuid_eq(watched(), uuid_of(&id)));
    event((struct mr_event){
        .id = uuid_of(&id), .type = MR_EVENT_FINISHED, .outcome = MR_OUT_CANCELLED});
    expect_code(0);
}
END_TEST

START_TEST(no_such_job)
{
    struct millrace_id id = millrace_id_new();

    ck_assert_int_eq(millrace_wait_start(mr, &id, DEADLINE_MS, NULL, &error), 0);
    expect(MR_WATCH);
    event((struct mr_event){.id = uuid_of(&id), .type = MR_EVENT_NO_JOB});
    expect_code(MILLRACE_NO_JOB);
}
END_TEST

START_TEST(two_waits_for_one_job_both_end)
{
    struct millrace_id id = millrace_id_new();

    ck_assert_int_eq(millrace_wait_start(mr, &id, DEADLINE_MS, NULL, &error), 0);
    expect(MR_WATCH);
    ck_assert_int_eq(millrace_wait_start(mr, &id, DEADLINE_MS, NULL, &error), 0);
    expect(MR_WATCH);
    event((struct mr_event){
        .id = uuid_of(&id), .type = MR_EVENT_FINISHED, .outcome = MR_SUCCEEDED});
    expect_code(0);
    expect_code(0);
}
END_TEST

START_TEST(a_wait_that_is_given_up_is_unwatched)
{
    struct millrace_id id = millrace_id_new();
    struct mr_watch watch;

    ck_assert_int_eq(millrace_wait_start(mr, &id, 200, NULL, &error), 0);
    expect(MR_WATCH);
    expect_code(MILLRACE_TIMEOUT);
    expect(MR_WATCH);
    ck_assert_int_eq(mr_get_watch(&broker.msg, &watch), MR_OK);
    ck_assert(!watch.on);
}
END_TEST

/* ---- Wrong use and bad luck ----------------------------------------------------------------- */

static void
is_refused(const struct millrace_job *job, int code)
{
    error.code = 0;
    ck_assert_int_eq(millrace_submit_start(mr, job, 0, 0, NULL, &error), code);
    ck_assert_int_eq(error.code, code);
    ck_assert_str_ne(error.why, "");
    ck_assert_str_ne(error.todo, "");
}

START_TEST(bad_jobs_are_refused_before_they_are_sent)
{
    static const unsigned char half[] = {0x92, 0x01};
    static unsigned char large[MR_PAYLOAD_BYTES_MAX + 1];
    char long_name[80];
    struct millrace_job job;

    memset(long_name, 'k', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    millrace_job_init(&job, "test.noop");
    job.kind = NULL;
    is_refused(&job, MILLRACE_BAD_ARGUMENT);
    millrace_job_init(&job, "test.noop");
    job.kind = "";
    is_refused(&job, MILLRACE_BAD_ARGUMENT);
    millrace_job_init(&job, "test.noop");
    job.kind = "has space";
    is_refused(&job, MILLRACE_BAD_ARGUMENT);
    millrace_job_init(&job, "test.noop");
    job.kind = long_name;
    is_refused(&job, MILLRACE_BAD_ARGUMENT);
    millrace_job_init(&job, "test.noop");
    job.queue = "";
    is_refused(&job, MILLRACE_BAD_ARGUMENT);
    millrace_job_init(&job, "test.noop");
    job.lane = "a\nb";
    is_refused(&job, MILLRACE_BAD_ARGUMENT);
    millrace_job_init(&job, "test.noop");
    job.priority = 10;
    is_refused(&job, MILLRACE_BAD_ARGUMENT);
    millrace_job_init(&job, "test.noop");
    job.priority = -1;
    is_refused(&job, MILLRACE_BAD_ARGUMENT);
    millrace_job_init(&job, "test.noop");
    job.delay_ms = 1;
    job.run_at_us = 1;
    is_refused(&job, MILLRACE_BAD_ARGUMENT);
    millrace_job_init(&job, "test.noop");
    job.args_bytes = 1;
    is_refused(&job, MILLRACE_BAD_ARGUMENT);
    millrace_job_init(&job, "test.noop");
    job.args = half;
    job.args_bytes = sizeof half;
    is_refused(&job, MILLRACE_MALFORMED);
    millrace_job_init(&job, "test.noop");
    job.args = large;
    job.args_bytes = sizeof large;
    is_refused(&job, MILLRACE_TOO_BIG);
    ck_assert(!expect_within(MR_SUBMIT, NOTHING_MS));
}
END_TEST

START_TEST(bad_endpoints_are_refused)
{
    static const char *const bad[] = {"", ",", "127.0.0.1:1", "http://x", "inproc://x"};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct millrace_options options = {.endpoints = bad[i]};

        ck_assert_ptr_null(millrace_open(&options, &error));
        ck_assert_int_eq(error.code, MILLRACE_BAD_ARGUMENT);
    }
}
END_TEST

START_TEST(nobody_there)
{
    struct millrace_options options = {.endpoints = "ipc:///nonexistent/socket"};
    struct millrace *lonely = millrace_open(&options, &error);
    struct millrace_job job;

    ck_assert_ptr_nonnull(lonely);
    millrace_job_init(&job, "test.noop");
    ck_assert_int_eq(millrace_ready(lonely, 100, &error), MILLRACE_UNREACHABLE);
    ck_assert_int_eq(millrace_submit(lonely, &job, 100, &error), MILLRACE_UNREACHABLE);
    millrace_close(lonely);
}
END_TEST

START_TEST(the_second_endpoint_is_tried)
{
    char both[300];
    struct millrace_options options = {.endpoints = both};

    snprintf(both, sizeof both, "ipc:///nonexistent/socket, %s", broker.endpoint);
    millrace_close(mr);
    mr = millrace_open(&options, &error);
    ck_assert_ptr_nonnull(mr);
    start("test.noop", MILLRACE_UNTIL_DURABLE, DEADLINE_MS);
    expect(MR_SUBMIT);
    ack_one(MR_OK);
    expect_code(0);
}
END_TEST

START_TEST(outstanding_has_a_cap)
{
    struct millrace_options options = {
        .endpoints = broker.endpoint, .outstanding_max = 3};
    struct millrace_job job;

    millrace_close(mr);
    mr = millrace_open(&options, &error);
    for (int i = 0; i < 4; i++) {
        millrace_job_init(&job, "test.noop");
        ck_assert_int_eq(millrace_submit_start(mr, &job, 0, 0, NULL, &error),
            i < 3 ? 0 : MILLRACE_BUSY);
    }
}
END_TEST

START_TEST(garbage_from_a_broker_is_survived)
{
    static const char *const garbage[] = {
        "", "\xc1", "\x92\x05", "hello", "\x93\xcd\x10\x00\x00\xc0"};

    start("test.noop", MILLRACE_UNTIL_DURABLE, 0);
    expect(MR_SUBMIT);
    for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++) {
        zmq_msg_t to;

        zmq_msg_init(&to);
        zmq_msg_copy(&to, &broker.from);
        ck_assert_int_ge(zmq_msg_send(&to, broker.socket, ZMQ_SNDMORE), 0);
        ck_assert_int_ge(zmq_send(broker.socket, garbage[i], strlen(garbage[i]),
                             ZMQ_SNDMORE * (i == 3)),
            0);
        if (i == 3)
            ck_assert_int_ge(zmq_send(broker.socket, "more", 4, 0), 0);
    }
    ack_one(MR_OK);
    expect_code(0);
}
END_TEST

START_TEST(a_wrong_ack_is_not_believed)
{
    struct mr_verdict verdict = {.index = 5, .code = MR_CONFLICT};

    start("test.noop", MILLRACE_UNTIL_DURABLE, DEADLINE_MS);
    expect(MR_SUBMIT);
    ack(1, &verdict, 1, 0);
    expect(MR_SUBMIT);
    ck_assert_uint_eq(submit_in_hand().flags, MR_SUBMIT_RESENT);
    ack(2, NULL, 0, 0);
    expect(MR_SUBMIT);
    ack_one(MR_OK);
    expect_code(0);
}
END_TEST

START_TEST(closing_with_things_under_way)
{
    struct millrace_id id = millrace_id_new();

    for (int i = 0; i < 100; i++)
        start("test.noop", i % 2 ? MILLRACE_UNTIL_FINISHED : 0, 0);
    ck_assert_int_eq(millrace_wait_start(mr, &id, MILLRACE_FOREVER, NULL, &error), 0);
    expect(MR_SUBMIT);
}
END_TEST

START_TEST(a_hello_that_is_refused)
{
    struct mr_error says = {.code = MR_VERSION, .text = mr_span_str("too old")};
    struct millrace_options options = {.endpoints = broker.endpoint};
    struct mr_wr wr;

    millrace_close(mr);
    while (receive(NOTHING_MS))
        continue;
    mr = millrace_open(&options, &error);
    ck_assert(receive(DEADLINE_MS));
    ck_assert_int_eq(broker.msg.verb, MR_HELLO);
    mr_wr_init(&wr, 256);
    mr_put_error(&wr, broker.msg.corr, &says);
    reply(&wr);
    ck_assert_int_eq(millrace_ready(mr, DEADLINE_MS, &error), MILLRACE_WRONG_VERSION);
    ck_assert_str_eq(error.why, "too old");
}
END_TEST

/* ---- Small things --------------------------------------------------------------------------- */

/* Bytes by hand from the msgpack specification. */
START_TEST(packing)
{
    static const unsigned char wanted[] = {0x84, 0xa1, 'a', 0x01, 0xa1, 'b', 0xff, 0xa1,
        'c', 0x92, 0xc3, 0xc0, 0xa1, 'd', 0xa2, 'h', 'i'};
    struct millrace_pack pack = {.bytes = NULL};
    const char *text;
    int64_t number;
    size_t n;

    millrace_pack_map(&pack, 4);
    millrace_pack_str(&pack, "a");
    millrace_pack_int(&pack, 1);
    millrace_pack_str(&pack, "b");
    millrace_pack_int(&pack, -1);
    millrace_pack_str(&pack, "c");
    millrace_pack_array(&pack, 2);
    millrace_pack_bool(&pack, 1);
    millrace_pack_nil(&pack);
    millrace_pack_str(&pack, "d");
    millrace_pack_str(&pack, "hi");
    ck_assert_int_eq(pack.code, 0);
    ck_assert_uint_eq(pack.n, sizeof wanted);
    ck_assert_mem_eq(pack.bytes, wanted, sizeof wanted);
    ck_assert(millrace_get_int(pack.bytes, pack.n, "b", &number) && number == -1);
    ck_assert(millrace_get_str(pack.bytes, pack.n, "d", &text, &n) && n == 2);
    ck_assert(!millrace_get_int(pack.bytes, pack.n, "d", &number));
    ck_assert(!millrace_get_str(pack.bytes, pack.n, "a", &text, &n));
    ck_assert(!millrace_get_int(pack.bytes, pack.n, "z", &number));
    ck_assert(!millrace_get_int(pack.bytes, pack.n - 1, "a", &number));
    ck_assert(!millrace_get_int(NULL, 0, "a", &number));
    millrace_pack_free(&pack);
    ck_assert_ptr_null(pack.bytes);
}
END_TEST

START_TEST(ids_and_names)
{
    char text[MILLRACE_ID_TEXT];
    struct millrace_id id = millrace_id_new();
    struct millrace_id back;

    ck_assert_int_eq(millrace_id_parse(millrace_id_format(&id, text), &back), 0);
    ck_assert_mem_eq(&id, &back, sizeof id);
    ck_assert_int_eq(millrace_id_parse("x", &back), MILLRACE_BAD_ID);
    ck_assert_str_eq(millrace_code_name(MILLRACE_BUSY), "BUSY");
    ck_assert_str_eq(millrace_code_name(12345), "UNKNOWN");
    ck_assert_int_eq(millrace_is_retryable(MILLRACE_STORE_DOWN), 1);
    ck_assert_int_eq(millrace_is_retryable(MILLRACE_CONFLICT), 0);
    ck_assert_str_eq(millrace_outcome_name(MILLRACE_FAILED), "failed");
    ck_assert_str_eq(millrace_outcome_name(77), "unfinished");
    /* The public numbers are those of the wire. */
    ck_assert_int_eq(MILLRACE_UNREACHABLE, MR_UNREACHABLE);
    ck_assert_int_eq(MILLRACE_DRAINING, MR_DRAINING);
    ck_assert_int_eq(MILLRACE_NOT_FOUND, MR_NOT_FOUND);
    ck_assert_int_eq(MILLRACE_CANCELLED, MR_CANCELLED);
    ck_assert_int_eq(MILLRACE_NO_MEMORY, MR_NO_MEMORY);
    ck_assert_int_eq(MILLRACE_WRONG_VERSION, MR_VERSION);
    ck_assert_int_eq(MILLRACE_LIMIT, MR_LIMIT);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("client_lib");
    TCase *with = tcase_create("scripted broker");
    TCase *without = tcase_create("alone");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(with, set_up, tear_down);
    tcase_set_timeout(with, 60);
    tcase_add_test(with, a_job_arrives_as_it_was_given);
    tcase_add_test(with, verdicts_come_out_as_codes);
    tcase_add_test(with, busy_is_repeated_with_the_same_id);
    tcase_add_test(with, busy_to_the_end_is_told_as_such);
    tcase_add_test(with, no_answer_is_a_timeout);
    tcase_add_test(with, a_lost_connection_is_mended_and_all_said_again);
    tcase_add_test(with, silence_is_a_lost_connection_too);
    tcase_add_test(with, no_session_means_hello_again);
    tcase_add_test(with, one_message_for_what_gathered);
    tcase_add_test(with, queues_do_not_share_a_message);
    tcase_add_test(with, the_window_is_kept);
    tcase_add_test(with, until_finished_brings_the_result);
    tcase_add_test(with, a_job_that_was_there_is_asked_for);
    tcase_add_test(with, waits_are_asked_again_after_a_reconnect);
    tcase_add_test(with, no_such_job);
    tcase_add_test(with, two_waits_for_one_job_both_end);
    tcase_add_test(with, a_wait_that_is_given_up_is_unwatched);
    tcase_add_test(with, bad_jobs_are_refused_before_they_are_sent);
    tcase_add_test(with, the_second_endpoint_is_tried);
    tcase_add_test(with, outstanding_has_a_cap);
    tcase_add_test(with, garbage_from_a_broker_is_survived);
    tcase_add_test(with, a_wrong_ack_is_not_believed);
    tcase_add_test(with, closing_with_things_under_way);
    tcase_add_test(with, a_hello_that_is_refused);
    suite_add_tcase(suite, with);
    tcase_set_timeout(without, 60);
    tcase_add_test(without, bad_endpoints_are_refused);
    tcase_add_test(without, nobody_there);
    tcase_add_test(without, packing);
    tcase_add_test(without, ids_and_names);
    suite_add_tcase(suite, without);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
