/*
 * One attempt and the handler's view of it, without a database: arguments, results, answers,
 * stops. Expected bytes are msgpack's specification by hand.
 */
#include "worker/run.h"

#include <check.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct millrace_job *job;
static struct mr_attempt *attempt;

typedef enum millrace_answer (*handler_fn)(struct millrace_job *job);

/* Runs `run` with these arguments. */
static enum mr_run_end
run_with(handler_fn run, const void *args, size_t bytes)
{
    static struct millrace_kind kind;
    struct mr_job_sent sent = {.attempt = 7, .payload = mr_span(args, bytes)};

    kind = (struct millrace_kind){.name = "test.kind", .run = run};
    ck_assert_int_eq(
        mr_uuid_parse(mr_span_str("01900000-0000-7000-8000-000000000001"), &sent.id),
        MR_OK);
    mr_attempt_reset(attempt);
    ck_assert_int_eq(mr_attempt_set(attempt, &sent, &kind, 1), MR_OK);
    return mr_run_attempt(job, attempt);
}

static enum mr_run_end
run(handler_fn handler)
{
    return run_with(handler, NULL, 0);
}

static void
ck_report(handler_fn handler, enum mr_report report, const char *text)
{
    ck_assert_int_eq(run(handler), MR_RUN_OVER);
    ck_assert_int_eq(attempt->done.report, report);
    ck_assert_msg(mr_span_is(attempt->done.text, text), "%.*s", (int)attempt->done.text.n,
        (const char *)attempt->done.text.p);
    ck_assert_uint_eq(attempt->done.body.n, 0);
}

static void
ck_result(handler_fn handler, const char *bytes, size_t n)
{
    ck_assert_int_eq(run(handler), MR_RUN_TO_STORE);
    ck_assert_uint_eq(attempt->finish.body.n, n);
    if (n)
        ck_assert_mem_eq(attempt->finish.body.p, bytes, n);
}

static void
set_up(void)
{
    struct mr_run_conf conf = {.worker = mr_span_str("w")};

    ck_assert_int_eq(mr_run_new(&job, &conf), MR_OK);
    attempt = mr_attempt_new();
    ck_assert_ptr_nonnull(attempt);
}

static void
tear_down(void)
{
    mr_attempt_destroy(&attempt);
    mr_run_destroy(&job);
}

/* ---- what was asked ---------------------------------------------------------------------------- */

/* {"i": -5, "u": 200, "d": 1.5, "b": true, "s": "text", "z": "a\0b", "n": nil,
 *  "l": ["x", "yz"], "m": ["x", 1], "e": []} */
static const char arguments[] = "\x8a\xa1i\xfb\xa1u\xcc\xc8\xa1"
                                "d\xcb\x3f\xf8\0\0\0\0\0\0\xa1"
                                "b\xc3\xa1s\xa4text\xa1z\xa3"
                                "a\0b\xa1n\xc0\xa1l\x92\xa1x\xa2yz\xa1m\x92\xa1x\x01\xa1"
                                "e\x90";

static enum millrace_answer
look_at_arguments(struct millrace_job *own)
{
    const char *text = "untouched";
    const char *const *list;
    uint32_t count = 9;
    size_t bytes;
    int64_t i = 0;
    double d = 0;
    bool b = false;

    ck_assert_str_eq(millrace_job_id(own), "01900000-0000-7000-8000-000000000001");
    ck_assert_str_eq(millrace_job_kind(own), "test.kind");
    ck_assert_uint_eq(millrace_job_attempt(own), 7);
    ck_assert_mem_eq(millrace_job_payload(own, &bytes), arguments, sizeof arguments - 1);
    ck_assert_uint_eq(bytes, sizeof arguments - 1);
    ck_assert(millrace_arg_int(own, "i", &i) && i == -5);
    ck_assert(millrace_arg_int(own, "u", &i) && i == 200);
    ck_assert(!millrace_arg_int(own, "d", &i) && !millrace_arg_int(own, "none", &i));
    ck_assert(i == 200);
    ck_assert(millrace_arg_double(own, "d", &d) && fabs(d - 1.5) < 1e-12);
    ck_assert(!millrace_arg_double(own, "s", &d));
    ck_assert(millrace_arg_bool(own, "b", &b) && b);
    ck_assert(!millrace_arg_bool(own, "i", &b));
    ck_assert(!millrace_arg_str(own, "z", &text) && !millrace_arg_str(own, "n", &text));
    ck_assert(!millrace_arg_str(own, "i", &text));
    ck_assert_str_eq(text, "untouched");
    ck_assert(millrace_arg_str(own, "s", &text));
    ck_assert_str_eq(text, "text");
    list = millrace_arg_strs(own, "l", &count);
    ck_assert_ptr_nonnull(list);
    ck_assert_uint_eq(count, 2);
    ck_assert_str_eq(list[0], "x");
    ck_assert_str_eq(list[1], "yz");
    ck_assert_ptr_null(millrace_arg_strs(own, "m", &count));
    ck_assert_ptr_null(millrace_arg_strs(own, "s", &count));
    ck_assert_ptr_nonnull(millrace_arg_strs(own, "e", &count));
    ck_assert_uint_eq(count, 0);
    ck_assert(millrace_arg_is_given(own, "n") && !millrace_arg_is_given(own, "none"));
    return MILLRACE_SUCCEEDED;
}

START_TEST(arguments_by_key)
{
    ck_assert_int_eq(
        run_with(look_at_arguments, arguments, sizeof arguments - 1), MR_RUN_TO_STORE);
}
END_TEST

static enum millrace_answer
expect_none(struct millrace_job *own)
{
    int64_t i;

    ck_assert(!millrace_arg_is_given(own, "i") && !millrace_arg_int(own, "i", &i));
    return MILLRACE_SUCCEEDED;
}

START_TEST(arguments_may_be_nil_or_no_map)
{
    ck_assert_int_eq(run(expect_none), MR_RUN_TO_STORE);
    ck_assert_int_eq(run_with(expect_none, "\xc0", 1), MR_RUN_TO_STORE);
    ck_assert_int_eq(run_with(expect_none, "\x91\x01", 2), MR_RUN_TO_STORE);
    ck_assert_int_eq(
        run_with(look_at_arguments, arguments, sizeof arguments - 1), MR_RUN_TO_STORE);
    ck_assert_int_eq(run_with(expect_none, "\x05", 1), MR_RUN_TO_STORE);
}
END_TEST

static enum millrace_answer
must_not_run(struct millrace_job *own)
{
    ck_abort_msg("it ran, %s", millrace_job_kind(own));
    return MILLRACE_SUCCEEDED;
}

START_TEST(garbage_as_arguments)
{
    static const struct {
        const char *bytes;
        size_t n;
    } garbage[] = {{"\xc1", 1}, {"\x81\xa1", 2}, {"\x01\x02", 2},
        {"\xdf\xff\xff\xff\xff", 5}, {"\xa1\xff", 2}};

    for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++) {
        ck_assert_int_eq(
            run_with(must_not_run, garbage[i].bytes, garbage[i].n), MR_RUN_OVER);
        ck_assert_int_eq(attempt->done.report, MR_DID_FAIL_FOR_GOOD);
        ck_assert(
            mr_span_is(attempt->done.text, "the arguments are not one msgpack value"));
    }
}
END_TEST

/* ---- what came out -------------------------------------------------------------------------------- */

static enum millrace_answer
put_everything(struct millrace_job *own)
{
    millrace_put_map(own, 4);
    millrace_put_str(own, "a");
    millrace_put_array(own, 3);
    millrace_put_int(own, -1);
    millrace_put_bool(own, true);
    millrace_put_nil(own);
    millrace_put_str(own, "b");
    millrace_put_bin(own, "\x01\x02", 2);
    millrace_put_str(own, "c");
    millrace_put_msgpack(own, "\x91\x05", 2);
    millrace_put_str(own, "d");
    millrace_put_double(own, 1.5);
    return MILLRACE_SUCCEEDED;
}

static enum millrace_answer
put_nothing(struct millrace_job *own)
{
    (void)own;
    return MILLRACE_SUCCEEDED;
}

START_TEST(results_in_the_order_of_msgpack)
{
    static const char bytes[] = "\x84\xa1"
                                "a\x93\xff\xc3\xc0\xa1"
                                "b\xc4\x02\x01\x02\xa1"
                                "c\x91\x05\xa1"
                                "d\xcb\x3f\xf8\0\0\0\0\0\0";

    ck_result(put_everything, bytes, sizeof bytes - 1);
    ck_assert_uint_eq(attempt->finish.attempt, 7);
    ck_assert(mr_span_is(attempt->finish.worker, "w"));
    ck_assert_int_gt(attempt->finish.started_at_us, 0);
    ck_assert_int_ge(attempt->finish.finished_at_us, attempt->finish.started_at_us);
    ck_result(put_nothing, NULL, 0);
}
END_TEST

static enum millrace_answer
put_half(struct millrace_job *own)
{
    millrace_put_map(own, 2);
    millrace_put_str(own, "a");
    millrace_put_int(own, 1);
    return MILLRACE_SUCCEEDED;
}

static enum millrace_answer
put_two(struct millrace_job *own)
{
    millrace_put_int(own, 1);
    millrace_put_int(own, 2);
    return MILLRACE_SUCCEEDED;
}

static enum millrace_answer
put_latin(struct millrace_job *own)
{
    millrace_put_str(own, "\xe9t\xe9");
    return MILLRACE_SUCCEEDED;
}

static char mebibyte[1 << 20];

static enum millrace_answer
put_large(struct millrace_job *own)
{
    millrace_put_bin(own, mebibyte, sizeof mebibyte - 5); /* and 5 in front of it: fits */
    return MILLRACE_SUCCEEDED;
}

static enum millrace_answer
put_too_large(struct millrace_job *own)
{
    millrace_put_bin(own, mebibyte, sizeof mebibyte - 4);
    return MILLRACE_SUCCEEDED;
}

START_TEST(results_that_are_none)
{
    static const char what[] = "the result is not one whole value: the counts given to "
                               "put_map and put_array do not "
                               "fit what followed, or a text is no UTF-8";

    ck_report(put_half, MR_DID_FAIL_FOR_GOOD, what);
    ck_report(put_two, MR_DID_FAIL_FOR_GOOD, what);
    ck_report(put_latin, MR_DID_FAIL_FOR_GOOD, what);
    ck_report(put_too_large, MR_DID_FAIL_FOR_GOOD, "the result is larger than 1 MiB");
    ck_assert_int_eq(run(put_large), MR_RUN_TO_STORE);
    ck_assert_uint_eq(attempt->finish.body.n, MR_RESULT_BYTES_MAX);
    ck_result(put_nothing, NULL, 0); /* nothing of it is left */
}
END_TEST

/* ---- answers ------------------------------------------------------------------------------------------ */

static enum millrace_answer
fail_softly(struct millrace_job *own)
{
    millrace_put_int(own, 1);
    return millrace_fail(own, "no %s after %d tries", "luck", 3);
}

static enum millrace_answer
fail_mutely(struct millrace_job *own)
{
    (void)own;
    return MILLRACE_FAILED;
}

static enum millrace_answer
fail_for_good(struct millrace_job *own)
{
    return millrace_fail_for_good(own, "never");
}

static enum millrace_answer
fail_until(struct millrace_job *own)
{
    return millrace_fail_retry_after(own, 1500, "too many requests");
}

static enum millrace_answer
snooze(struct millrace_job *own)
{
    return millrace_snooze(own, 250);
}

static enum millrace_answer
answer_99(struct millrace_job *own)
{
    (void)own;
    return (enum millrace_answer)99;
}

START_TEST(answers)
{
    ck_report(fail_softly, MR_DID_FAIL, "no luck after 3 tries");
    ck_assert_uint_eq(attempt->done.retry_after_ms, 0);
    ck_report(fail_mutely, MR_DID_FAIL, "the handler failed and gave no reason");
    ck_report(fail_for_good, MR_DID_FAIL_FOR_GOOD, "never");
    ck_report(fail_until, MR_DID_FAIL, "too many requests");
    ck_assert_uint_eq(attempt->done.retry_after_ms, 1500);
    ck_report(snooze, MR_DID_SNOOZE, "");
    ck_assert_uint_eq(attempt->done.retry_after_ms, 250);
    ck_report(
        answer_99, MR_DID_FAIL_FOR_GOOD, "the handler returned 99, which is no answer");
}
END_TEST

static enum millrace_answer
fail_at_length(struct millrace_job *own)
{
    static char text[3000];

    memset(text, 'x', sizeof text - 1);
    memcpy(text + 1998, "\xe2\x82\xac", 3); /* a euro sign across the limit */
    return millrace_fail(own, "%s", text);
}

static enum millrace_answer
fail_in_latin(struct millrace_job *own)
{
    return millrace_fail(own, "caf\xe9 \x01 \xc3\xa9\n");
}

START_TEST(texts_are_cut_and_made_utf8)
{
    ck_assert_int_eq(run(fail_at_length), MR_RUN_OVER);
    ck_assert_uint_eq(
        attempt->done.text.n, 2000); /* 1,998, then two bytes of no character */
    ck_assert_mem_eq(attempt->done.text.p + 1997, "x??", 3);
    ck_report(fail_in_latin, MR_DID_FAIL, "caf? ? \xc3\xa9\n");
}
END_TEST

/* Well-formed and ill-formed sequences of Unicode 15, table 3-7. */
START_TEST(utf8_of_the_standard)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"\x7e\xc2\x80\xdf\xbf", "\x7e\xc2\x80\xdf\xbf"},
        {"\xe0\xa0\x80\xed\x9f\xbf\xef\xbf\xbf", "\xe0\xa0\x80\xed\x9f\xbf\xef\xbf\xbf"},
        {"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"},
        {"\xc0\x80", "??"},
        {"\xe0\x9f\x80", "???"},
        {"\xed\xa0\x80", "???"},
        {"\xf0\x8f\x80\x80", "????"},
        {"\xf4\x90\x80\x80", "????"},
        {"\xf5\x80", "??"},
        {"\xe2\x82", "??"},
        {"\xc3(", "?("},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[64];
        size_t n = mr_attempt_clean_text(out, sizeof out, mr_span_str(cases[i].in));

        ck_assert_msg(mr_span_is(mr_span(out, n), cases[i].out), "case %zu", i);
    }
}
END_TEST

/* ---- while it runs ------------------------------------------------------------------------------------- */

static enum mr_stop stop_as;

/* Somebody revokes it while it runs. */
static enum millrace_answer
be_stopped(struct millrace_job *own)
{
    ck_assert(!millrace_is_cancelled(own));
    atomic_store(&attempt->stop, (int)stop_as);
    ck_assert(millrace_is_cancelled(own));
    return MILLRACE_SUCCEEDED; /* any answer will do */
}

static enum millrace_answer
not_notice(struct millrace_job *own)
{
    atomic_store(&attempt->stop, (int)stop_as);
    millrace_put_int(own, 5);
    return MILLRACE_SUCCEEDED;
}

START_TEST(stops_that_were_heeded)
{
    stop_as = MR_STOP_CANCELLED;
    ck_report(be_stopped, MR_DID_CANCEL, "cancelled");
    stop_as = MR_STOP_TIMED_OUT;
    ck_report(be_stopped, MR_DID_TIME_OUT, "timed out");
    stop_as = MR_STOP_DRAIN;
    ck_report(be_stopped, MR_DID_GIVE_BACK, "the worker was stopped");
    stop_as = MR_STOP_STALE;
    ck_report(be_stopped, MR_DID_GIVE_BACK, "the worker was stopped");
}
END_TEST

START_TEST(stops_that_were_not_noticed)
{
    stop_as = MR_STOP_CANCELLED;
    ck_result(not_notice, "\x05", 1);
}
END_TEST

START_TEST(stops_before_it_starts)
{
    static const struct millrace_kind kind = {.name = "test.kind", .run = must_not_run};
    struct mr_job_sent sent = {.attempt = 1};

    ck_assert_int_eq(mr_attempt_set(attempt, &sent, &kind, 1), MR_OK);
    atomic_store(&attempt->stop, MR_STOP_CANCELLED);
    ck_assert_int_eq(mr_run_attempt(job, attempt), MR_RUN_OVER);
    ck_assert_int_eq(attempt->done.report, MR_DID_CANCEL);
}
END_TEST

static enum millrace_answer
use_memory(struct millrace_job *own)
{
    unsigned char *some = millrace_alloc(own, 1 << 20);
    int mebibytes = 1;

    ck_assert_ptr_nonnull(some);
    some[0] = some[(1 << 20) - 1] = 1;
    while (millrace_alloc(own, 1 << 20))
        mebibytes++;
    ck_assert_int_le(mebibytes, 16);
    ck_assert_int_ge(mebibytes, 15);
    return MILLRACE_SUCCEEDED;
}

START_TEST(memory_has_a_limit_and_is_fresh_for_each_job)
{
    ck_assert_int_eq(run(use_memory), MR_RUN_TO_STORE);
    ck_assert_int_eq(run(use_memory), MR_RUN_TO_STORE);
}
END_TEST

static enum millrace_answer
progress(struct millrace_job *own)
{
    millrace_progress(own, 100, "one");
    millrace_progress(own, 5000, "two\xff");
    millrace_progress(own, 5000, NULL);
    millrace_progress(own, 5000, "three\xff");
    return MILLRACE_SUCCEEDED;
}

START_TEST(the_newest_progress_wins)
{
    const struct mr_progress *seen;

    ck_assert_int_eq(run(progress), MR_RUN_TO_STORE);
    seen = atomic_load(&attempt->progress);
    ck_assert_ptr_nonnull(seen);
    ck_assert_uint_eq(seen->permille, 1000);
    ck_assert(mr_span_is(mr_span(seen->text, seen->bytes), "three?"));
}
END_TEST

static enum millrace_answer
pack(struct millrace_job *own)
{
    struct millrace_pack *small = millrace_pack_new(own);
    char text[601];
    const uint8_t *p;
    size_t n;

    millrace_pack_map(small, 2);
    millrace_pack_str(small, "a");
    millrace_pack_int(small, -1);
    millrace_pack_str(small, "b");
    ck_assert_ptr_null(millrace_pack_bytes(small, &n)); /* not whole yet */
    ck_assert_uint_eq(n, 0);
    millrace_pack_array(small, 1);
    memset(text, 't', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    millrace_pack_str(small, text); /* longer than the first memory */
    p = millrace_pack_bytes(small, &n);
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq(n, 1 + 2 + 1 + 2 + 1 + 3 + 600);
    ck_assert_mem_eq(p,
        "\x82\xa1"
        "a\xff\xa1"
        "b\x91\xda\x02\x58ttt",
        13);
    return MILLRACE_SUCCEEDED;
}

static enum millrace_answer
pack_too_much(struct millrace_job *own)
{
    struct millrace_pack *large = millrace_pack_new(own);
    char text[1025];
    size_t n;

    memset(text, 't', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    millrace_pack_array(large, 100);
    for (int i = 0; i < 100; i++)
        millrace_pack_str(large, text);
    ck_assert_ptr_null(millrace_pack_bytes(large, &n));
    return MILLRACE_SUCCEEDED;
}

START_TEST(small_values_for_follow_ups)
{
    ck_assert_int_eq(run(pack), MR_RUN_TO_STORE);
    ck_assert_int_eq(run(pack_too_much), MR_RUN_TO_STORE);
}
END_TEST

static enum millrace_answer
use_no_database(struct millrace_job *own)
{
    ck_assert_str_eq(millrace_sqlstate(own), "");
    ck_assert_ptr_null(millrace_sql(own, "select 1", 0, NULL));
    ck_assert_ptr_null(millrace_pg(own));
    ck_assert_str_eq(millrace_sqlstate(own), "08006");
    return millrace_sql_failed(own);
}

START_TEST(without_a_database)
{
    ck_report(
        use_no_database, MR_DID_GIVE_BACK, "the connection to the database was lost");
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("worker/run");
    TCase *tcase = tcase_create("run");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, arguments_by_key);
    tcase_add_test(tcase, arguments_may_be_nil_or_no_map);
    tcase_add_test(tcase, garbage_as_arguments);
    tcase_add_test(tcase, results_in_the_order_of_msgpack);
    tcase_add_test(tcase, results_that_are_none);
    tcase_add_test(tcase, answers);
    tcase_add_test(tcase, texts_are_cut_and_made_utf8);
    tcase_add_test(tcase, utf8_of_the_standard);
    tcase_add_test(tcase, stops_that_were_heeded);
    tcase_add_test(tcase, stops_that_were_not_noticed);
    tcase_add_test(tcase, stops_before_it_starts);
    tcase_add_test(tcase, memory_has_a_limit_and_is_fresh_for_each_job);
    tcase_add_test(tcase, the_newest_progress_wins);
    tcase_add_test(tcase, small_values_for_follow_ups);
    tcase_add_test(tcase, without_a_database);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
