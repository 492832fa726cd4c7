#include "tests/support/script.h"

#include <check.h>
#include <poll.h>
#include <string.h>

#include "schemas/base/clock.h"
#include "schemas/wire/frames.h"

struct script script;

void
script_bind_to(const char *endpoint)
{
    int zero = 0;
    size_t n = sizeof script.endpoint;

    script.has_session = false;
    script.socket = zmq_socket(script.context, ZMQ_ROUTER);
    ck_assert_ptr_nonnull(script.socket);
    ck_assert_int_eq(zmq_setsockopt(script.socket, ZMQ_LINGER, &zero, sizeof zero), 0);
    /* The port of a socket that was just closed may be busy for a moment. */
    for (int i = 0; zmq_bind(script.socket, endpoint) != 0; i++) {
        ck_assert_int_lt(i, 500);
        poll(NULL, 0, 10);
    }
    ck_assert_int_eq(
        zmq_getsockopt(script.socket, ZMQ_LAST_ENDPOINT, script.endpoint, &n), 0);
}

void
script_set_up(void)
{
    memset(&script, 0, sizeof script);
    script.window_jobs = 10000;
    script.context = zmq_ctx_new();
    zmq_msg_init(&script.from);
    zmq_msg_init(&script.frame);
    script_bind_to("tcp://127.0.0.1:*");
    script.mr = millrace_open(
        &(struct millrace_options){.endpoints = script.endpoint, .name = "a test"},
        &script.error);
    ck_assert_ptr_nonnull(script.mr);
}

void
script_tear_down(void)
{
    millrace_close(script.mr);
    zmq_msg_close(&script.from);
    zmq_msg_close(&script.frame);
    zmq_close(script.socket);
    zmq_ctx_term(script.context);
}

/* The next message of any verb within timeout_ms. */
bool
script_receive(int timeout_ms)
{
    zmq_pollitem_t item = {.socket = script.socket, .events = ZMQ_POLLIN};

    if (zmq_poll(&item, 1, timeout_ms) <= 0)
        return false;
    ck_assert_int_gt(zmq_msg_recv(&script.from, script.socket, 0), 0);
    script.n = 0;
    do {
        size_t n = (size_t)zmq_msg_recv(&script.frame, script.socket, 0);

        ck_assert(mr_frame_fits(script.n, n, !zmq_msg_more(&script.frame)));
        memcpy(script.bytes + script.n, zmq_msg_data(&script.frame), n);
        script.n += n;
    } while (zmq_msg_more(&script.frame));
    ck_assert_int_eq(mr_msg_open(mr_span(script.bytes, script.n), &script.msg), MR_OK);
    return true;
}

void
script_reply(struct mr_wr *wr)
{
    zmq_msg_t to;

    ck_assert_int_eq(wr->status, MR_OK);
    zmq_msg_init(&to);
    zmq_msg_copy(&to, &script.from);
    ck_assert_int_ge(zmq_msg_send(&to, script.socket, ZMQ_SNDMORE), 0);
    ck_assert_int_ge(zmq_send(script.socket, wr->p, wr->n, 0), 0);
    mr_wr_fini(wr);
}

void
script_welcome(void)
{
    struct mr_welcome answer = {.proto = 1,
        .session = 7,
        .heartbeat_ms = 200,
        .payload_bytes_max = MR_PAYLOAD_BYTES_MAX,
        .result_bytes_max = MR_RESULT_BYTES_MAX,
        .message_bytes_max = MR_MESSAGE_BYTES_MAX,
        .jobs_per_message_max = MR_JOBS_PER_MESSAGE_MAX,
        .window_jobs = script.window_jobs};
    struct mr_wr wr;

    mr_wr_init(&wr, 4096);
    mr_put_welcome(&wr, script.msg.corr, &answer);
    script_reply(&wr);
    script.has_session = true;
    script.pings = 0;
}

void
script_no_session(void)
{
    struct mr_error says = {.code = MR_NO_SESSION, .text = mr_span_str("who are you")};
    struct mr_wr wr;

    mr_wr_init(&wr, 256);
    mr_put_error(&wr, script.msg.corr, &says);
    script_reply(&wr);
}

void
script_pong(void)
{
    struct mr_wr wr;
    bool ask;

    ck_assert_int_eq(mr_get_ping(&script.msg, &ask), MR_OK);
    if (!ask)
        return;
    script.pings++;
    mr_wr_init(&wr, 64);
    mr_put_ping(&wr, script.msg.corr, false);
    script_reply(&wr);
}

/* The next message of that verb; greets and answers pings meanwhile. */
bool
script_expect_within(enum mr_verb verb, int timeout_ms)
{
    int64_t end_us = mr_clock_now().mono_us + (int64_t)timeout_ms * 1000;
    int64_t left_us;

    while ((left_us = end_us - mr_clock_now().mono_us) > 0) {
        if (!script_receive((int)(left_us / 1000) + 1))
            continue;
        if (script.msg.verb == MR_HELLO)
            script_welcome();
        else if (!script.has_session)
            script_no_session();
        else if (script.msg.verb == verb)
            return true;
        else if (script.msg.verb == MR_PING)
            script_pong();
        else
            ck_abort_msg("unexpected %s", mr_verb_name(script.msg.verb));
    }
    return false;
}

void
script_expect(enum mr_verb verb)
{
    ck_assert_msg(
        script_expect_within(verb, SCRIPT_DEADLINE_MS), "no %s came", mr_verb_name(verb));
}

void
script_ack(uint32_t count, const struct mr_verdict *verdicts, uint32_t verdict_count,
    uint32_t retry_ms)
{
    struct mr_wr wr;

    mr_wr_init(&wr, 65536);
    mr_put_ack(&wr, script.msg.corr, count, verdicts, verdict_count, retry_ms);
    script_reply(&wr);
}

void
script_ack_one(enum mr_status code)
{
    struct mr_verdict verdict = {
        .index = 0, .code = code, .text = mr_span_str("because of the test")};

    script_ack(1, &verdict, code != MR_OK, 1);
}

struct mr_submit
script_submit_in_hand(void)
{
    struct mr_submit submit;

    ck_assert_int_eq(mr_get_submit(&script.msg, &submit), MR_OK);
    return submit;
}

struct mr_job_new
script_next_job(struct mr_submit *submit)
{
    struct mr_job_new job;

    ck_assert_int_eq(mr_get_submit_job(submit, &job), MR_OK);
    return job;
}

void
script_event(struct mr_event event_of)
{
    struct mr_wr wr;
    size_t mark;

    mr_wr_init(&wr, 4 * 1024 * 1024);
    mark = mr_put_events_open(&wr, 0);
    mr_put_event(&wr, &event_of);
    mr_put_events_close(&wr, mark, 1);
    script_reply(&wr);
}

struct mr_uuid
script_uuid_of(const struct millrace_id *id)
{
    struct mr_uuid uuid;

    memcpy(uuid.b, id->b, sizeof uuid.b);
    return uuid;
}

struct millrace_id
script_start(const char *kind, unsigned until, int timeout_ms)
{
    struct millrace_job job;

    millrace_job_init(&job, kind);
    ck_assert_int_eq(
        millrace_submit_start(script.mr, &job, until, timeout_ms, NULL, &script.error),
        0);
    return job.id;
}

struct millrace_completion
script_completion(void)
{
    struct millrace_completion out;

    ck_assert_int_eq(millrace_finish(script.mr, SCRIPT_DEADLINE_MS, &out), 1);
    return out;
}

void
script_expect_code(int code)
{
    struct millrace_completion out = script_completion();

    ck_assert_msg(out.code == code, "%d %s, not %d", out.code, out.error.why, code);
    millrace_result_free(&out.result);
}
