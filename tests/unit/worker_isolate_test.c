/*
 * Which kinds run in child processes, how the end of one reads, and what a worker and its child say
 * to each other: bytes that are none of theirs are noticed, whatever they are.
 */
#include "worker/child_wire.h"
#include "worker/isolate.h"

#include <check.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEY UINT64_C(0x1122334455667788)

static enum millrace_answer
run(struct millrace_job *job)
{
    (void)job;
    return MILLRACE_SUCCEEDED;
}

static const struct millrace_kind plain = {.name = "a.plain", .run = run};
static const struct millrace_kind asks = {
    .name = "b.asks", .run = run, .is_isolated = true, .memory_mib_max = 7};

START_TEST(who_runs_isolated)
{
    static const struct {
        const char *setting;
        bool plain, asks;
    } rows[] = {
        {"", false, true},
        {"yes", true, true},
        {"no", false, false},
        {"a.plain", true, true},
        {"x.other, a.plain", true, true},
        {"a.plain2,a.plai,no.kind", false, true},
        {",,", false, true},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ck_assert_msg(mr_isolate_is_on(rows[i].setting, &plain) == rows[i].plain,
            "\"%s\"", rows[i].setting);
        ck_assert_msg(mr_isolate_is_on(rows[i].setting, &asks) == rows[i].asks, "\"%s\"",
            rows[i].setting);
    }
    ck_assert_uint_eq(mr_isolate_memory_mib(&plain, 100), 100);
    ck_assert_uint_eq(mr_isolate_memory_mib(&plain, 0), 0);
    ck_assert_uint_eq(mr_isolate_memory_mib(&asks, 100), 7);
}
END_TEST

/* waitpid(2): the low seven bits are the signal, the next byte the exit code. */
START_TEST(how_it_ended)
{
    static const struct {
        struct mr_isolate_end end;
        const char *says, *says_not;
    } rows[] = {
        {{.wait_status = SIGSEGV}, "ended by SIGSEGV", "MiB"},
        {{.wait_status = SIGABRT}, "ended by SIGABRT", "MiB"},
        {{.wait_status = SIGKILL}, "SIGKILL: not by millrace", NULL},
        {{.wait_status = 40}, "ended by signal 40", NULL},
        {{.wait_status = 3 << 8}, "exited with code 3", NULL},
        {{.wait_status = 0}, "exited with code 0", NULL},
        {{.wait_status = 256, .memory_mib = 64}, "exited with code 1", "MiB"},
        {{.wait_status = SIGKILL, .is_broken = true}, "closed its connection", "SIGKILL"},
        {{.wait_status = SIGSEGV, .memory_mib = 64, .grown_kib = 10 * 1024},
            "used 10 of its 64 MiB", "raise"},
        {{.wait_status = SIGSEGV, .memory_mib = 64, .grown_kib = 56 * 1024},
            "used up its memory (56 of 64 MiB)", NULL},
        {{.wait_status = SIGSEGV, .memory_mib = 64, .grown_kib = 55 * 1024},
            "used 55 of its 64 MiB", NULL},
        {{.wait_status = SIGSEGV, .memory_mib = 64, .grown_kib = -5}, "used 0 of its 64",
            NULL},
    };
    char text[MR_ERROR_BYTES_MAX], small[10];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mr_isolate_describe(&rows[i].end, text, sizeof text);
        ck_assert_msg(strstr(text, rows[i].says) != NULL, "row %zu: %s", i, text);
        ck_assert_msg(
            !rows[i].says_not || !strstr(text, rows[i].says_not), "row %zu: %s", i, text);
        mr_isolate_describe(&rows[i].end, small, sizeof small);
        ck_assert_uint_eq(strlen(small), sizeof small - 1);
    }
}
END_TEST

/* ---- frames ------------------------------------------------------------------------------------ */

static int pair[2];
static struct mr_frames in;
static struct mr_wr out;
static enum mr_child_word word;
static struct mr_rd rd;

static void
set_up(void)
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    in = (struct mr_frames){.key = KEY};
    mr_wr_init(&out, 2 * MR_FRAME_BYTES_MAX);
}

static void
tear_down(void)
{
    (void)close(pair[0]);
    (void)close(pair[1]);
    free(in.bytes);
    mr_wr_fini(&out);
}

static void
give(const void *bytes, size_t n)
{
    ck_assert_int_eq(send(pair[0], bytes, n, MSG_DONTWAIT), (ssize_t)n);
    ck_assert(mr_frames_read(&in, pair[1]));
}

static enum mr_status
next(void)
{
    return mr_frames_next(&in, &word, &rd);
}

/* Whole, byte by byte, and several at once. */
START_TEST(frames_arrive_as_they_like)
{
    mr_child_put_words(&out, KEY, MR_CHILD_STOP, 5, 2);
    mr_child_put_text(&out, KEY, MR_CHILD_PROGRESS, 6, 1000, mr_span_str("half"));
    for (size_t i = 0; i + 1 < out.n; i++) {
        give(out.p + i, 1);
        if (next() == MR_OK)
            ck_assert_int_eq(word, MR_CHILD_STOP);
    }
    ck_assert_int_eq(next(), MR_NOT_FOUND);
    give(out.p + out.n - 1, 1);
    ck_assert_int_eq(next(), MR_OK);
    ck_assert_int_eq(word, MR_CHILD_PROGRESS);
    ck_assert_uint_eq(mr_rd_uint(&rd, 9), 6);
    give(out.p, out.n);
    ck_assert_int_eq(next(), MR_OK);
    ck_assert_int_eq(word, MR_CHILD_STOP);
    ck_assert_uint_eq(mr_rd_uint(&rd, 9), 5);
    ck_assert_uint_eq(mr_rd_uint(&rd, 9), 2);
    ck_assert_int_eq(next(), MR_OK);
    ck_assert_uint_eq(mr_rd_uint(&rd, 9), 6);
    ck_assert_uint_eq(mr_rd_uint(&rd, 1000), 1000);
    ck_assert(mr_span_is(mr_rd_bin(&rd, 9), "half"));
    ck_assert_int_eq(next(), MR_NOT_FOUND);
    ck_assert(!in.is_hung_up);
    (void)shutdown(pair[0], SHUT_WR);
    ck_assert(!mr_frames_read(&in, pair[1]));
    ck_assert(in.is_hung_up);
}
END_TEST

/* A frame with these bytes in the place of the array. */
static void
give_frame(uint64_t key, uint32_t length, const char *body, size_t n)
{
    char bytes[64];

    memcpy(bytes, &length, sizeof length);
    memcpy(bytes + sizeof length, &key, sizeof key);
    memcpy(bytes + 12, body, n);
    give(bytes, 12 + n);
}

START_TEST(frames_that_are_none)
{
    static const struct {
        uint64_t key;
        uint32_t length;
        const char *body;
        size_t n;
    } rows[] = {
        {KEY + 1, 3, "\x92\x05\x01", 3},                           /* another's key */
        {KEY, UINT32_MAX, "\x92", 1},                              /* longer than any */
        {KEY, MR_FRAME_BYTES_MAX + 1, "\x92", 1}, {KEY, 0, "", 0}, /* no value */
        {KEY, 1, "\x05", 1},                                       /* no array */
        {KEY, 1, "\x90", 1},                                       /* no word */
        {KEY, 2, "\x91\x0c", 2},                                   /* no word of ours */
        {KEY, 2, "\x91\xc1", 2},                                   /* no msgpack */
        {KEY, 3, "\x91\x05\x05", 3}, /* more than one value */
        {KEY, 2, "\x92\x05", 2},     /* less than one */
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        in.n = in.at = 0;
        give_frame(rows[i].key, rows[i].length, rows[i].body, rows[i].n);
        ck_assert_msg(next() == MR_MALFORMED, "row %zu", i);
    }
    in.n = in.at = 0;
    give("garbage garbage garbage", 23);
    ck_assert_int_eq(next(), MR_MALFORMED);
    ck_assert_uint_le(in.room, 65536);
}
END_TEST

/* ---- messages ------------------------------------------------------------------------------------ */

static struct mr_attempt *
attempt_of(uint64_t serial)
{
    struct mr_attempt *attempt = mr_attempt_new();
    struct mr_job_sent sent = {.id.b = {1, 2, 3},
        .attempt = 4,
        .payload = mr_span_str("\x01"),
        .queue = mr_span_str("q"),
        .trace = mr_span_str("t"),
        .timeout_ms = 500};

    ck_assert_ptr_nonnull(attempt);
    ck_assert_int_eq(mr_attempt_set(attempt, &sent, &asks, serial), MR_OK);
    return attempt;
}

START_TEST(attempts_arrive_as_they_are)
{
    struct mr_attempt *attempt = attempt_of(99);
    struct mr_job_sent sent;
    enum mr_stop stop;
    uint64_t serial;
    uint32_t memory_mib;

    atomic_store(&attempt->stop, MR_STOP_CANCELLED);
    mr_child_put_attempt(&out, KEY, attempt, 64);
    give(out.p, out.n);
    ck_assert_int_eq(next(), MR_OK);
    ck_assert_int_eq(word, MR_CHILD_ATTEMPT);
    ck_assert_int_eq(
        mr_child_get_attempt(&rd, &sent, &serial, &stop, &memory_mib), MR_OK);
    ck_assert(mr_uuid_eq(sent.id, attempt->id));
    ck_assert(mr_span_is(sent.kind, "b.asks") && mr_span_is(sent.payload, "\x01") &&
              mr_span_is(sent.queue, "q") && mr_span_is(sent.trace, "t"));
    ck_assert_uint_eq(sent.attempt, 4);
    ck_assert_uint_eq(sent.timeout_ms, 500);
    ck_assert_uint_eq(serial, 99);
    ck_assert_uint_eq(memory_mib, 64);
    ck_assert_int_eq(stop, MR_STOP_CANCELLED);
    mr_attempt_destroy(&attempt);
}
END_TEST

/* What the child says about its attempt is what the worker has to report. */
START_TEST(outcomes_arrive_as_they_are)
{
    struct mr_attempt *theirs = attempt_of(7), *ours = attempt_of(7);
    enum mr_run_end end = MR_RUN_TO_STORE;
    bool is_spent = false;

    theirs->done.started_at_us = 11;
    theirs->done.finished_at_us = 22;
    theirs->done.retry_after_ms = 33;
    mr_attempt_report(theirs, MR_DID_FAIL, mr_span_str("so it went"));
    mr_child_put_outcome(&out, KEY, theirs, MR_RUN_OVER, true);
    give(out.p, out.n);
    ck_assert_int_eq(next(), MR_OK);
    ck_assert_int_eq(
        mr_child_get_outcome(&rd, ours, mr_span_str("w"), &end, &is_spent), MR_OK);
    ck_assert(is_spent && end == MR_RUN_OVER);
    ck_assert_int_eq(ours->done.report, MR_DID_FAIL);
    ck_assert(mr_span_is(ours->done.text, "so it went"));
    ck_assert_int_eq(ours->done.started_at_us, 11);
    ck_assert_int_eq(ours->done.finished_at_us, 22);
    ck_assert_uint_eq(ours->done.retry_after_ms, 33);

    mr_wr_reset(&out);
    mr_wr_int(&theirs->body, 5);
    mr_child_put_outcome(&out, KEY, theirs, MR_RUN_TO_STORE, false);
    give(out.p, out.n);
    ck_assert_int_eq(next(), MR_OK);
    ck_assert_int_eq(
        mr_child_get_outcome(&rd, ours, mr_span_str("w"), &end, &is_spent), MR_OK);
    ck_assert(!is_spent && end == MR_RUN_TO_STORE);
    ck_assert(
        mr_span_is(ours->finish.body, "\x05") && mr_span_is(ours->finish.worker, "w"));
    ck_assert(mr_uuid_eq(ours->finish.id, ours->id));
    ck_assert_uint_eq(ours->finish.attempt, 4);
    mr_attempt_destroy(&theirs);
    mr_attempt_destroy(&ours);
}
END_TEST

/* [word, serial, is to store, report, outcome, text, body, started, finished, retry, rings, spent] */
START_TEST(outcomes_that_are_none)
{
    static const char *const rows[] = {
        "\x9c\x08\x06\xc2\x02\x00\xc4\x00\xc4\x00\x01\x02\x00\xc2\xc2", /* another's */
        "\x9c\x08\x07\xc2\x00\x00\xc4\x00\xc4\x00\x01\x02\x00\xc2\xc2", /* no report */
        "\x9c\x08\x07\xc2\x0a\x00\xc4\x00\xc4\x00\x01\x02\x00\xc2\xc2", /* one unknown */
        "\x9c\x08\x07\xc2\x08\x00\xc4\x00\xc4\x00\x01\x02\x00\xc2\xc2", /* no outcome */
        "\x9c\x08\x07\x05\x02\x00\xc4\x00\xc4\x00\x01\x02\x00\xc2\xc2", /* no bool */
        "\x9b\x08\x07\xc2\x02\x00\xc4\x00\xc4\x00\x01\x02\x00\xc2",     /* too short */
    };
    static const size_t lengths[] = {15, 15, 15, 15, 15, 14};
    struct mr_attempt *attempt = attempt_of(7);
    enum mr_run_end end;
    bool is_spent;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        in.n = in.at = 0;
        give_frame(KEY, (uint32_t)lengths[i], rows[i], lengths[i]);
        ck_assert_int_eq(next(), MR_OK);
        ck_assert_int_eq(word, MR_CHILD_OUTCOME);
        ck_assert_msg(mr_child_get_outcome(&rd, attempt, mr_span_str("w"), &end,
                          &is_spent) == MR_MALFORMED,
            "row %zu", i);
    }
    mr_attempt_destroy(&attempt);
}
END_TEST

START_TEST(settings_arrive_as_they_are)
{
    struct mr_child_start start = {.number = 3,
                              .db_name = "mr:0",
                              .worker = mr_span_str("w"),
                              .loads = "./a.so,./b.so"},
                          got = {.number = 0};
    struct mr_arena *arena;

    ck_assert_int_eq(mr_arena_new(&arena, 65536), MR_OK);
    start.settings.database = "host=h password=\xff";
    start.settings.isolate = "a,b";
    start.settings.threads = 5;
    start.settings.isolate_growth_mib = INT64_MAX;
    mr_child_put_start(&out, KEY, &start);
    give(out.p, out.n);
    ck_assert_int_eq(next(), MR_OK);
    ck_assert_int_eq(word, MR_CHILD_START);
    ck_assert_int_eq(mr_child_get_start(&rd, arena, &got), MR_OK);
    ck_assert_uint_eq(got.number, 3);
    ck_assert_str_eq(got.db_name, "mr:0");
    ck_assert(mr_span_is(got.worker, "w"));
    ck_assert_str_eq(got.loads, "./a.so,./b.so");
    ck_assert_str_eq(got.settings.database, "host=h password=\xff");
    ck_assert_str_eq(got.settings.isolate, "a,b");
    ck_assert_str_eq(got.settings.map, "");
    ck_assert_int_eq(got.settings.threads, 5);
    ck_assert_int_eq(got.settings.isolate_growth_mib, INT64_MAX);
    mr_arena_destroy(&arena);
}
END_TEST

int
main(void)
{
    const TTest *const tests[] = {who_runs_isolated, how_it_ended,
        frames_arrive_as_they_like, frames_that_are_none, attempts_arrive_as_they_are,
        outcomes_arrive_as_they_are, outcomes_that_are_none, settings_arrive_as_they_are};
    Suite *suite = suite_create("isolate");
    TCase *tcase = tcase_create("isolate");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
