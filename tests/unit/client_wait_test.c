/* The library against a scripted broker: waiting for results. */
#include "client/millrace.h"

#include <check.h>
#include <string.h>

#include "tests/support/script.h"

static struct mr_uuid
watched(void)
{
    struct mr_watch watch;
    struct mr_uuid id;

    ck_assert_int_eq(mr_get_watch(&script.msg, &watch), MR_OK);
    ck_assert_uint_eq(watch.ids, 1);
    ck_assert(watch.on);
    ck_assert_int_eq(mr_get_watch_id(&watch, &id), MR_OK);
    return id;
}

START_TEST(until_finished_brings_the_result)
{
    static const unsigned char body[] = {0x93, 1, 2, 3};
    struct millrace_id id = script_start("test.noop", MILLRACE_UNTIL_FINISHED, 0);
    struct millrace_completion done;

    script_expect(MR_SUBMIT);
    ck_assert_uint_eq(script_submit_in_hand().flags, MR_SUBMIT_WATCH);
    script_ack_one(MR_OK);
    script_event((struct mr_event){.id = script_uuid_of(&id),
        .type = MR_EVENT_FINISHED,
        .attempt = 2,
        .outcome = MR_FAILED,
        .text = mr_span_str("no road"),
        .body = mr_span(body, sizeof body)});
    done = script_completion();
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
    struct millrace_id id = script_start("test.noop", MILLRACE_UNTIL_FINISHED, 0);

    script_expect(MR_SUBMIT);
    script_ack_one(MR_KNOWN);
    script_expect(MR_WATCH);
    ck_assert(mr_uuid_eq(watched(), script_uuid_of(&id)));
    script_event((struct mr_event){
        .id = script_uuid_of(&id), .type = MR_EVENT_FINISHED, .outcome = MR_SUCCEEDED});
    script_expect_code(0);
}
END_TEST

START_TEST(waits_are_asked_again_after_a_reconnect)
{
    struct millrace_id id = millrace_id_new();
    char endpoint[256];

    ck_assert_int_eq(
        millrace_wait_start(script.mr, &id, SCRIPT_DEADLINE_MS, NULL, &script.error), 0);
    script_expect(MR_WATCH);
    script_event((struct mr_event){.id = script_uuid_of(&id), .type = MR_EVENT_WAITING});
    memcpy(endpoint, script.endpoint, sizeof endpoint);
    zmq_close(script.socket);
    script_bind_to(endpoint);
    script_expect(MR_WATCH);
    /* At once, not when waits are asked for again anyway: many heartbeats later. */
    ck_assert_int_le(script.pings, 2);
    ck_assert(mr_uuid_eq(watched(), script_uuid_of(&id)));
    script_event((struct mr_event){.id = script_uuid_of(&id),
        .type = MR_EVENT_FINISHED,
        .outcome = MR_OUT_CANCELLED});
    script_expect_code(0);
}
END_TEST

START_TEST(no_such_job)
{
    struct millrace_id id = millrace_id_new();

    ck_assert_int_eq(
        millrace_wait_start(script.mr, &id, SCRIPT_DEADLINE_MS, NULL, &script.error), 0);
    script_expect(MR_WATCH);
    script_event((struct mr_event){.id = script_uuid_of(&id), .type = MR_EVENT_NO_JOB});
    script_expect_code(MILLRACE_NO_JOB);
}
END_TEST

START_TEST(two_waits_for_one_job_both_end)
{
    struct millrace_id id = millrace_id_new();

    ck_assert_int_eq(
        millrace_wait_start(script.mr, &id, SCRIPT_DEADLINE_MS, NULL, &script.error), 0);
    script_expect(MR_WATCH);
    ck_assert_int_eq(
        millrace_wait_start(script.mr, &id, SCRIPT_DEADLINE_MS, NULL, &script.error), 0);
    script_expect(MR_WATCH);
    script_event((struct mr_event){
        .id = script_uuid_of(&id), .type = MR_EVENT_FINISHED, .outcome = MR_SUCCEEDED});
    script_expect_code(0);
    script_expect_code(0);
}
END_TEST

START_TEST(a_wait_that_is_given_up_is_unwatched)
{
    struct millrace_id id = millrace_id_new();
    struct mr_watch watch;

    ck_assert_int_eq(millrace_wait_start(script.mr, &id, 200, NULL, &script.error), 0);
    script_expect(MR_WATCH);
    script_expect_code(MILLRACE_TIMEOUT);
    script_expect(MR_WATCH);
    ck_assert_int_eq(mr_get_watch(&script.msg, &watch), MR_OK);
    ck_assert(!watch.on);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("client_wait");
    TCase *with = tcase_create("scripted broker");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(with, script_set_up, script_tear_down);
    tcase_set_timeout(with, 60);
    tcase_add_test(with, until_finished_brings_the_result);
    tcase_add_test(with, a_job_that_was_there_is_asked_for);
    tcase_add_test(with, waits_are_asked_again_after_a_reconnect);
    tcase_add_test(with, no_such_job);
    tcase_add_test(with, two_waits_for_one_job_both_end);
    tcase_add_test(with, a_wait_that_is_given_up_is_unwatched);
    suite_add_tcase(suite, with);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
