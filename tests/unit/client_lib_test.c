/* The library against a scripted broker: submits, wrong use, bad luck. */
#include "client/millrace.h"

#include <check.h>
#include <poll.h>
#include <string.h>

#include "tests/support/script.h"

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
    ck_assert_int_eq(
        millrace_submit_start(script.mr, &job, 0, 0, &job, &script.error), 0);
    script_expect(MR_SUBMIT);
    submit = script_submit_in_hand();
    ck_assert(mr_span_is(submit.queue, "nightly"));
    ck_assert_uint_eq(submit.flags, 0);
    ck_assert_uint_eq(submit.jobs, 1);
    got = script_next_job(&submit);
    ck_assert_mem_eq(got.id.b, job.id.b, 16);
    ck_assert(mr_span_is(got.kind, "calc.ep"));
    ck_assert(mr_span_eq(got.payload, mr_span(args, sizeof args)));
    ck_assert(mr_span_is(got.lane, "berlin"));
    ck_assert_uint_eq(got.priority, 9);
    ck_assert_uint_eq(got.delay_ms, 1500);
    ck_assert_uint_eq(got.timeout_ms, 60000);
    ck_assert_uint_eq(got.attempts_max, 3);
    ck_assert(mr_span_is(got.trace, "t-1"));
    script_ack_one(MR_OK);
    {
        struct millrace_completion done = script_completion();

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
        script_start("test.noop", MILLRACE_UNTIL_DURABLE, 0);
        script_expect(MR_SUBMIT);
        script_ack_one(codes[i]);
        script_expect_code((int)codes[i]);
    }
}
END_TEST

START_TEST(busy_is_repeated_with_the_same_id)
{
    static const enum mr_status codes[] = {MR_BUSY, MR_STORE_DOWN, MR_STARTING};
    struct millrace_id id = script_start("test.noop", MILLRACE_UNTIL_DURABLE, 0);

    for (size_t i = 0; i < 4; i++) {
        struct mr_submit submit;

        script_expect(MR_SUBMIT);
        submit = script_submit_in_hand();
        ck_assert_uint_eq(submit.flags, i ? MR_SUBMIT_RESENT : 0);
        ck_assert_mem_eq(script_next_job(&submit).id.b, id.b, 16);
        script_ack_one(i < 3 ? codes[i] : MR_OK);
    }
    script_expect_code(0);
}
END_TEST

START_TEST(busy_to_the_end_is_told_as_such)
{
    script_start("test.noop", MILLRACE_UNTIL_DURABLE, 2000);
    script_expect(MR_SUBMIT);
    /* Beyond the deadline: nothing is under way then. */
    script_ack(1, &(struct mr_verdict){.code = MR_BUSY}, 1, 60000);
    script_expect_code(MILLRACE_BUSY);
}
END_TEST

START_TEST(no_answer_is_a_timeout)
{
    script_start("test.noop", MILLRACE_UNTIL_DURABLE, 300);
    script_expect(MR_SUBMIT);
    script_expect_code(MILLRACE_TIMEOUT);
    script_ack_one(MR_OK); /* too late: it hurts nobody */
    script_start("test.noop", MILLRACE_UNTIL_DURABLE, 0);
    script_expect(MR_SUBMIT);
    script_ack_one(MR_OK);
    script_expect_code(0);
}
END_TEST

/* What is enough for a message that does not wait for the one under way. */
#define LARGE 256

START_TEST(a_lost_connection_is_mended_and_all_said_again)
{
    enum { ALL = 1 + LARGE + 1 };
    char endpoint[256];
    struct millrace_id ids[ALL];

    ids[0] = script_start("test.noop", MILLRACE_UNTIL_DURABLE, SCRIPT_DEADLINE_MS);
    script_expect(MR_SUBMIT);
    for (int i = 1; i <= LARGE; i++)
        ids[i] = script_start("test.noop", MILLRACE_UNTIL_DURABLE, SCRIPT_DEADLINE_MS);
    script_expect(MR_SUBMIT);
    ck_assert_uint_eq(script_submit_in_hand().jobs, LARGE);
    ids[ALL - 1] = script_start("test.noop", MILLRACE_UNTIL_DURABLE, SCRIPT_DEADLINE_MS);
    memcpy(endpoint, script.endpoint, sizeof endpoint);
    zmq_close(script.socket);
    script_bind_to(endpoint);
    for (int got = 0; got < ALL;) {
        struct mr_submit submit;

        script_expect(MR_SUBMIT);
        submit = script_submit_in_hand();
        if (got == 0)
            ck_assert_uint_eq(submit.flags, MR_SUBMIT_RESENT);
        for (uint32_t n = submit.jobs; n > 0; n--)
            ck_assert_mem_eq(script_next_job(&submit).id.b, ids[got++].b, 16);
        script_ack(script_submit_in_hand().jobs, NULL, 0, 0);
    }
    for (int i = 0; i < ALL; i++)
        script_expect_code(0);
}
END_TEST

START_TEST(silence_is_a_lost_connection_too)
{
    script_start("test.noop", MILLRACE_UNTIL_DURABLE, SCRIPT_DEADLINE_MS);
    script_expect(MR_SUBMIT);
    /* No PING is answered: after three heartbeats of 200 ms there comes a new HELLO. */
    do
        ck_assert(script_receive(SCRIPT_DEADLINE_MS));
    while (script.msg.verb == MR_PING);
    ck_assert_int_eq(script.msg.verb, MR_HELLO);
    script_welcome();
    script_expect(MR_SUBMIT);
    ck_assert_uint_eq(script_submit_in_hand().flags, MR_SUBMIT_RESENT);
    script_ack_one(MR_OK);
    script_expect_code(0);
}
END_TEST

START_TEST(no_session_means_hello_again)
{
    script_start("test.noop", MILLRACE_UNTIL_DURABLE, SCRIPT_DEADLINE_MS);
    script_expect(MR_SUBMIT);
    script.has_session = false;
    script_no_session();
    script_expect(MR_SUBMIT);
    script_ack_one(MR_OK);
    script_expect_code(0);
}
END_TEST

START_TEST(one_message_for_what_gathered)
{
    struct mr_submit submit;
    int messages = 0;

    for (int i = 0; i < 500; i++)
        script_start("test.noop", MILLRACE_UNTIL_DURABLE, 0);
    for (uint32_t got = 0; got < 500; messages++) {
        script_expect(MR_SUBMIT);
        submit = script_submit_in_hand();
        got += submit.jobs;
        script_ack(submit.jobs, NULL, 0, 0);
    }
    for (int i = 0; i < 500; i++)
        script_expect_code(0);
    ck_assert_int_lt(messages, 100);
}
END_TEST

/* A message is under way: its corr is for the caller to answer later. */
static uint64_t
fill_the_way(void)
{
    script_start("test.noop", MILLRACE_UNTIL_DURABLE, 0);
    script_expect(MR_SUBMIT);
    return script.msg.corr;
}

START_TEST(what_gathers_on_the_way_is_the_next_message)
{
    uint64_t first = fill_the_way();

    for (int i = 0; i < LARGE - 1; i++)
        script_start("test.noop", MILLRACE_UNTIL_DURABLE, 0);
    ck_assert(!script_expect_within(MR_SUBMIT, SCRIPT_NOTHING_MS));
    script.msg.corr = first;
    script_ack_one(MR_OK);
    script_expect(MR_SUBMIT);
    ck_assert_uint_eq(script_submit_in_hand().jobs, LARGE - 1);
    script_expect_code(0);
}
END_TEST

/* Enough for a large message does not wait for the small ones. */
START_TEST(large_messages_wait_for_nobody)
{
    (void)fill_the_way();
    for (int i = 0; i < LARGE; i++)
        script_start("test.noop", MILLRACE_UNTIL_DURABLE, 0);
    script_expect(MR_SUBMIT);
    ck_assert_uint_eq(script_submit_in_hand().jobs, LARGE);
}
END_TEST

START_TEST(a_message_that_all_have_given_up_holds_nobody_up)
{
    script_start("test.noop", MILLRACE_UNTIL_DURABLE, 300);
    script_expect(MR_SUBMIT);
    script_expect_code(MILLRACE_TIMEOUT);
    script_start("test.noop", MILLRACE_UNTIL_DURABLE, 0);
    script_expect(MR_SUBMIT);
}
END_TEST

/* Nothing wakes the thread for a job that it could not send. */
START_TEST(deadlines_hold_while_the_way_is_full)
{
    (void)fill_the_way();
    script_start("test.noop", MILLRACE_UNTIL_DURABLE, 100);
    script_expect_code(MILLRACE_BUSY);
}
END_TEST

/* Else it would see a job only when a heartbeat wakes it. */
START_TEST(the_thread_is_woken_again_when_the_way_is_free)
{
    enum { ROUNDS = 50 };

    (void)fill_the_way();
    script_ack_one(MR_OK);
    script_expect_code(0);
    script.pings = 0;
    for (int i = 0; i < ROUNDS; i++) {
        script_start("test.noop", MILLRACE_UNTIL_DURABLE, 0);
        script_expect(MR_SUBMIT);
        script_ack_one(MR_OK);
        script_expect_code(0);
    }
    ck_assert_int_lt(script.pings, ROUNDS / 2);
}
END_TEST

START_TEST(calls_need_not_wait_for_jobs)
{
    uint64_t first = fill_the_way();
    struct millrace_job job;

    millrace_job_init(&job, "test.noop");
    ck_assert_int_eq(millrace_wait_start(script.mr, &job.id, 0, &job, &script.error), 0);
    script_expect(MR_WATCH);
    script.msg.corr = first;
    script_ack_one(MR_OK);
    script_expect_code(0);
}
END_TEST

/* Nor does one wait for the other's: the first message has what was there, then come all of the
 * other queue, then the rest. Each queue's jobs stay in order. */
START_TEST(queues_do_not_share_a_message)
{
    enum { JOBS = 40 };
    static const char *const queues[] = {"even", "odd"};
    struct millrace_id ids[JOBS];
    uint32_t got[2] = {0, 0};
    int messages = 0;

    ck_assert(!script_expect_within(MR_SUBMIT, SCRIPT_NOTHING_MS));
    for (int i = 0; i < JOBS; i++) {
        struct millrace_job job;

        millrace_job_init(&job, "test.noop");
        job.queue = queues[i % 2];
        ids[i] = job.id;
        ck_assert_int_eq(millrace_submit_start(script.mr, &job, 0, 0, NULL, NULL), 0);
    }
    for (; got[0] + got[1] < JOBS; messages++) {
        struct mr_submit submit;
        uint32_t which, jobs;

        script_expect(MR_SUBMIT);
        submit = script_submit_in_hand();
        which = mr_span_is(submit.queue, queues[1]);
        jobs = submit.jobs;
        for (uint32_t i = 0; i < jobs; i++)
            ck_assert_mem_eq(
                script_next_job(&submit).id.b, ids[2 * got[which]++ + which].b, 16);
        script_ack(jobs, NULL, 0, 0);
    }
    ck_assert_int_le(messages, 3);
    for (int i = 0; i < JOBS; i++)
        script_expect_code(0);
}
END_TEST

START_TEST(the_window_is_kept)
{
    uint32_t got = 0;

    script.window_jobs = 10;
    for (int i = 0; i < 25; i++)
        script_start("test.noop", MILLRACE_UNTIL_DURABLE, 0);
    while (got < 10) {
        script_expect(MR_SUBMIT);
        got += script_submit_in_hand().jobs;
        ck_assert_uint_le(got, 10);
        if (got < 10)
            ck_assert_uint_ge(got, 1);
        if (got == 10)
            break;
    }
    ck_assert(!script_expect_within(MR_SUBMIT, SCRIPT_NOTHING_MS));
}
END_TEST

/* ---- Wrong use and bad luck ----------------------------------------------------------------- */

static void
is_refused(const struct millrace_job *job, int code)
{
    script.error.code = 0;
    ck_assert_int_eq(
        millrace_submit_start(script.mr, job, 0, 0, NULL, &script.error), code);
    ck_assert_int_eq(script.error.code, code);
    ck_assert_str_ne(script.error.why, "");
    ck_assert_str_ne(script.error.todo, "");
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
    ck_assert(!script_expect_within(MR_SUBMIT, SCRIPT_NOTHING_MS));
}
END_TEST

START_TEST(bad_endpoints_are_refused)
{
    static const char *const bad[] = {"", ",", "127.0.0.1:1", "http://x", "inproc://x"};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct millrace_options options = {.endpoints = bad[i]};

        ck_assert_ptr_null(millrace_open(&options, &script.error));
        ck_assert_int_eq(script.error.code, MILLRACE_BAD_ARGUMENT);
    }
}
END_TEST

START_TEST(nobody_there)
{
    struct millrace_options options = {.endpoints = "ipc:///nonexistent/socket"};
    struct millrace *lonely = millrace_open(&options, &script.error);
    struct millrace_job job;

    ck_assert_ptr_nonnull(lonely);
    millrace_job_init(&job, "test.noop");
    ck_assert_int_eq(millrace_ready(lonely, 100, &script.error), MILLRACE_UNREACHABLE);
    ck_assert_int_eq(
        millrace_submit(lonely, &job, 100, &script.error), MILLRACE_UNREACHABLE);
    millrace_close(lonely);
}
END_TEST

START_TEST(the_second_endpoint_is_tried)
{
    char both[300];
    struct millrace_options options = {.endpoints = both};

    snprintf(both, sizeof both, "ipc:///nonexistent/socket, %s", script.endpoint);
    millrace_close(script.mr);
    script.mr = millrace_open(&options, &script.error);
    ck_assert_ptr_nonnull(script.mr);
    script_start("test.noop", MILLRACE_UNTIL_DURABLE, SCRIPT_DEADLINE_MS);
    script_expect(MR_SUBMIT);
    script_ack_one(MR_OK);
    script_expect_code(0);
}
END_TEST

START_TEST(outstanding_has_a_cap)
{
    struct millrace_options options = {
        .endpoints = script.endpoint, .outstanding_max = 3};
    struct millrace_job job;

    millrace_close(script.mr);
    script.mr = millrace_open(&options, &script.error);
    for (int i = 0; i < 4; i++) {
        millrace_job_init(&job, "test.noop");
        ck_assert_int_eq(
            millrace_submit_start(script.mr, &job, 0, 0, NULL, &script.error),
            i < 3 ? 0 : MILLRACE_BUSY);
    }
}
END_TEST

START_TEST(garbage_from_a_broker_is_survived)
{
    static const char *const garbage[] = {
        "", "\xc1", "\x92\x05", "hello", "\x93\xcd\x10\x00\x00\xc0"};

    script_start("test.noop", MILLRACE_UNTIL_DURABLE, 0);
    script_expect(MR_SUBMIT);
    for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++) {
        zmq_msg_t to;

        zmq_msg_init(&to);
        zmq_msg_copy(&to, &script.from);
        ck_assert_int_ge(zmq_msg_send(&to, script.socket, ZMQ_SNDMORE), 0);
        ck_assert_int_ge(zmq_send(script.socket, garbage[i], strlen(garbage[i]),
                             ZMQ_SNDMORE * (i == 3)),
            0);
        if (i == 3)
            ck_assert_int_ge(zmq_send(script.socket, "more", 4, 0), 0);
    }
    script_ack_one(MR_OK);
    script_expect_code(0);
}
END_TEST

START_TEST(a_wrong_ack_is_not_believed)
{
    struct mr_verdict verdict = {.index = 5, .code = MR_CONFLICT};

    script_start("test.noop", MILLRACE_UNTIL_DURABLE, SCRIPT_DEADLINE_MS);
    script_expect(MR_SUBMIT);
    script_ack(1, &verdict, 1, 0);
    script_expect(MR_SUBMIT);
    ck_assert_uint_eq(script_submit_in_hand().flags, MR_SUBMIT_RESENT);
    script_ack(2, NULL, 0, 0);
    script_expect(MR_SUBMIT);
    script_ack_one(MR_OK);
    script_expect_code(0);
}
END_TEST

START_TEST(closing_with_things_under_way)
{
    struct millrace_id id = millrace_id_new();

    for (int i = 0; i < 100; i++)
        script_start("test.noop", i % 2 ? MILLRACE_UNTIL_FINISHED : 0, 0);
    ck_assert_int_eq(
        millrace_wait_start(script.mr, &id, MILLRACE_FOREVER, NULL, &script.error), 0);
    script_expect(MR_SUBMIT);
}
END_TEST

START_TEST(a_hello_that_is_refused)
{
    struct mr_error says = {.code = MR_VERSION, .text = mr_span_str("too old")};
    struct millrace_options options = {.endpoints = script.endpoint};
    struct mr_wr wr;

    millrace_close(script.mr);
    while (script_receive(SCRIPT_NOTHING_MS))
        continue;
    script.mr = millrace_open(&options, &script.error);
    ck_assert(script_receive(SCRIPT_DEADLINE_MS));
    ck_assert_int_eq(script.msg.verb, MR_HELLO);
    mr_wr_init(&wr, 256);
    mr_put_error(&wr, script.msg.corr, &says);
    script_reply(&wr);
    ck_assert_int_eq(millrace_ready(script.mr, SCRIPT_DEADLINE_MS, &script.error),
        MILLRACE_WRONG_VERSION);
    ck_assert_str_eq(script.error.why, "too old");
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

    tcase_add_checked_fixture(with, script_set_up, script_tear_down);
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
    tcase_add_test(with, what_gathers_on_the_way_is_the_next_message);
    tcase_add_test(with, large_messages_wait_for_nobody);
    tcase_add_test(with, a_message_that_all_have_given_up_holds_nobody_up);
    tcase_add_test(with, deadlines_hold_while_the_way_is_full);
    tcase_add_test(with, calls_need_not_wait_for_jobs);
    tcase_add_test(with, the_thread_is_woken_again_when_the_way_is_free);
    tcase_add_test(with, queues_do_not_share_a_message);
    tcase_add_test(with, the_window_is_kept);
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
