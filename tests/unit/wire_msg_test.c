/*
 * What the golden messages cannot show: sizes at the limits, every prefix and damaged byte of
 * a message, what the accessors do after a failure.
 */
#include <stdlib.h>

#include <check.h>

#include "tests/support/wire_echo.h"

static struct mr_wr wr;
static struct mr_msg msg;

static void
set_up(void)
{
    mr_wr_init(&wr, MR_MESSAGE_BYTES_MAX);
}

static void
tear_down(void)
{
    mr_wr_fini(&wr);
}

static struct mr_uuid
numbered(uint32_t n)
{
    struct mr_uuid id = {{0x01, 0x93, 0, 0, 0, 0, 0x70, 0, 0x80}};
    memcpy(id.b + 12, &n, sizeof n);
    return id;
}

static void
opens(void)
{
    ck_assert_int_eq(wr.status, MR_OK);
    ck_assert_int_eq(mr_msg_open(mr_wr_span(&wr), &msg), MR_OK);
}

static void
put_submit(uint32_t jobs, size_t payload_bytes)
{
    uint8_t *payload = calloc(1, payload_bytes + 1);
    size_t mark = mr_put_submit_open(&wr, 9, mr_span_str("default"), MR_SUBMIT_WATCH);

    ck_assert_ptr_nonnull(payload);
    for (uint32_t i = 0; i < jobs; i++) {
        struct mr_job_new job = {.id = numbered(i),
            .kind = mr_span_str("test.noop"),
            .payload = mr_span(payload, payload_bytes),
            .priority = MR_PRIORITY_DEFAULT};
        mr_put_submit_job(&wr, &job);
    }
    mr_put_submit_close(&wr, mark, jobs);
    free(payload);
}

START_TEST(as_many_jobs_as_a_message_may_hold)
{
    struct mr_submit submit;
    struct mr_job_new job;

    put_submit(MR_JOBS_PER_MESSAGE_MAX, 100);
    opens();
    ck_assert_int_eq(mr_get_submit(&msg, &submit), MR_OK);
    ck_assert_uint_eq(submit.jobs, MR_JOBS_PER_MESSAGE_MAX);
    for (uint32_t i = 0; submit.jobs > 0; i++) {
        struct mr_uuid id = numbered(i);
        ck_assert_int_eq(mr_get_submit_job(&submit, &job), MR_OK);
        ck_assert(mr_uuid_eq(job.id, id));
        ck_assert_uint_eq(job.payload.n, 100);
    }
}
END_TEST

START_TEST(one_job_more_is_too_big)
{
    struct mr_submit submit;
    put_submit(MR_JOBS_PER_MESSAGE_MAX + 1, 10);
    opens();
    ck_assert_int_eq(mr_get_submit(&msg, &submit), MR_TOO_BIG);
}
END_TEST

/* One fat job must not condemn its neighbours: the broker gives it a verdict of its own. */
START_TEST(a_payload_above_its_limit_is_still_handed_out)
{
    struct mr_submit submit;
    struct mr_job_new job;

    put_submit(2, MR_PAYLOAD_BYTES_MAX + 1);
    opens();
    ck_assert_int_eq(mr_get_submit(&msg, &submit), MR_OK);
    ck_assert_int_eq(mr_get_submit_job(&submit, &job), MR_OK);
    ck_assert_uint_eq(job.payload.n, MR_PAYLOAD_BYTES_MAX + 1);
    ck_assert_int_eq(mr_get_submit_job(&submit, &job), MR_OK);
    ck_assert_uint_eq(submit.jobs, 0);
}
END_TEST

START_TEST(a_message_above_the_limit_is_neither_written_nor_read)
{
    put_submit(5, MR_PAYLOAD_BYTES_MAX);
    ck_assert_int_eq(wr.status, MR_TOO_BIG);

    uint8_t *bytes = calloc(1, MR_MESSAGE_BYTES_MAX + 1);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_int_eq(
        mr_msg_open(mr_span(bytes, MR_MESSAGE_BYTES_MAX + 1), &msg), MR_TOO_BIG);
    free(bytes);
}
END_TEST

START_TEST(a_result_at_its_limit_and_above)
{
    uint8_t *bytes = calloc(1, MR_RESULT_BYTES_MAX + 1);
    struct mr_events events;
    struct mr_event event = {.type = MR_EVENT_FINISHED, .outcome = MR_SUCCEEDED};

    ck_assert_ptr_nonnull(bytes);
    for (size_t more = 0; more < 2; more++) {
        mr_wr_reset(&wr);
        event.body = mr_span(bytes, MR_RESULT_BYTES_MAX + more);
        size_t mark = mr_put_events_open(&wr, 0);
        mr_put_event(&wr, &event);
        mr_put_events_close(&wr, mark, 1);
        opens();
        ck_assert_int_eq(mr_get_events(&msg, &events), MR_OK);
        struct mr_event got;
        ck_assert_int_eq(mr_get_event(&events, &got), more ? MR_TOO_BIG : MR_OK);
    }
    free(bytes);
}
END_TEST

START_TEST(an_iterator_that_failed_stays_failed)
{
    struct mr_watch watch;
    struct mr_uuid id;

    mr_wr_array(&wr, 3);
    mr_wr_uint(&wr, MR_WATCH);
    mr_wr_uint(&wr, 0);
    mr_wr_array(&wr, 2);
    mr_wr_uint(&wr, 1);
    mr_wr_bin(&wr, mr_span("0123456789abcdef", 16));
    opens();
    ck_assert_int_eq(mr_get_watch(&msg, &watch), MR_OK);
    ck_assert_int_eq(mr_get_watch_id(&watch, &id), MR_MALFORMED);
    ck_assert_int_eq(mr_get_watch_id(&watch, &id), MR_MALFORMED);
}
END_TEST

START_TEST(defaults_are_there_without_a_job)
{
    struct mr_submit submit;

    mr_wr_array(&wr, 6);
    mr_wr_uint(&wr, MR_SUBMIT);
    mr_wr_uint(&wr, 1);
    mr_wr_cstr(&wr, "q");
    mr_wr_uint(&wr, 0);
    mr_wr_array(&wr, 0);
    mr_wr_map(&wr, 1);
    mr_wr_uint(&wr, 2);
    mr_wr_uint(&wr, 9);
    opens();
    ck_assert_int_eq(mr_get_submit(&msg, &submit), MR_OK);
    ck_assert_uint_eq(submit.defaults.priority, 9);
    ck_assert(mr_span_is(submit.defaults.queue, "q"));
}
END_TEST

START_TEST(names_of_verbs_and_outcomes)
{
    ck_assert_str_eq(mr_verb_name(MR_HELLO), "HELLO");
    ck_assert_str_eq(mr_verb_name(MR_REPLY), "REPLY");
    ck_assert_str_eq(mr_verb_name((enum mr_verb)16), "?");
    ck_assert_str_eq(mr_verb_name((enum mr_verb) - 1), "?");
    ck_assert_str_eq(mr_outcome_name(MR_SUCCEEDED), "succeeded");
    ck_assert_str_eq(mr_outcome_name(MR_FAILED), "failed");
    ck_assert_str_eq(mr_outcome_name(MR_OUT_CANCELLED), "cancelled");
    ck_assert_str_eq(mr_outcome_name(MR_OUT_EXPIRED), "expired");
    ck_assert_str_eq(mr_outcome_name((enum mr_outcome)0), "?");
    ck_assert_str_eq(mr_outcome_name((enum mr_outcome)5), "?");
}
END_TEST

/* ---- damage --------------------------------------------------------------------------------- */

/* Reads what may be anything from memory that ends with it; returns the status. */
static enum mr_status
read_all(const uint8_t *bytes, size_t n)
{
    uint8_t *exact = malloc(n ? n : 1);
    char *line = NULL;
    size_t line_bytes;
    struct mr_wr again;
    FILE *out = open_memstream(&line, &line_bytes);

    ck_assert(exact && out);
    memcpy(exact, bytes, n);
    mr_wr_init(&again, MR_MESSAGE_BYTES_MAX);
    enum mr_status status = echo_message(mr_span(exact, n), out, &again);
    fclose(out);
    mr_wr_fini(&again);
    free(line);
    free(exact);
    return status;
}

static size_t
read_seed(const char *verb, uint8_t *into, size_t room)
{
    char path[256];
    int n = snprintf(path, sizeof path, "tests/fuzz/corpus/wire_%s/first", verb);

    for (int i = 0; i < n; i++)
        if (path[i] >= 'A' && path[i] <= 'Z')
            path[i] = (char)(path[i] + ('a' - 'A'));
    FILE *in = fopen(path, "rb");
    ck_assert_msg(in != NULL, "%s: run this from the top folder", path);
    size_t got = fread(into, 1, room, in);
    fclose(in);
    ck_assert_uint_gt(got, 0);
    return got;
}

START_TEST(cut_anywhere_it_is_malformed)
{
    uint8_t bytes[1024];
    size_t n = read_seed(mr_verb_name((enum mr_verb)_i), bytes, sizeof bytes);

    ck_assert_int_eq(read_all(bytes, n), MR_OK);
    for (size_t cut = 0; cut < n; cut++)
        ck_assert_int_eq(read_all(bytes, cut), MR_MALFORMED);
}
END_TEST

/* Any byte may become any other: a message or a typed refusal, nothing else. */
START_TEST(damaged_anywhere_it_is_read_or_refused)
{
    uint8_t bytes[1024];
    size_t n = read_seed(mr_verb_name((enum mr_verb)_i), bytes, sizeof bytes);
    unsigned refused = 0;

    for (size_t at = 0; at < n; at++) {
        uint8_t was = bytes[at];
        for (unsigned v = 0; v < 256; v += 5) {
            bytes[at] = (uint8_t)v;
            enum mr_status status = read_all(bytes, n);
            ck_assert(status == MR_OK || status == MR_MALFORMED || status == MR_TOO_BIG);
            refused += status != MR_OK;
        }
        bytes[at] = was;
    }
    ck_assert_uint_gt(refused, 0);
}
END_TEST

/* The page promises the numbers of limits.h and status.h. */
static bool
page_has(const char *page, const char *wanted)
{
    return strstr(page, wanted) != NULL;
}

START_TEST(the_page_says_what_the_code_does)
{
    static char page[256 * 1024];
    static const struct {
        const char *name;
        unsigned long value;
    } limits[] = {{"MR_MESSAGE_BYTES_MAX", MR_MESSAGE_BYTES_MAX},
        {"MR_WIRE_FRAME_BYTES_MAX", MR_WIRE_FRAME_BYTES_MAX},
        {"MR_PAYLOAD_BYTES_MAX", MR_PAYLOAD_BYTES_MAX},
        {"MR_RESULT_BYTES_MAX", MR_RESULT_BYTES_MAX},
        {"MR_JOBS_PER_MESSAGE_MAX", MR_JOBS_PER_MESSAGE_MAX},
        {"MR_ITEMS_PER_MESSAGE_MAX", MR_ITEMS_PER_MESSAGE_MAX},
        {"MR_DEPTH_MAX", MR_DEPTH_MAX}, {"MR_PAYLOAD_DEPTH_MAX", MR_PAYLOAD_DEPTH_MAX},
        {"MR_NAME_BYTES_MAX", MR_NAME_BYTES_MAX},
        {"MR_ERROR_BYTES_MAX", MR_ERROR_BYTES_MAX},
        {"MR_TRACE_BYTES_MAX", MR_TRACE_BYTES_MAX},
        {"MR_KINDS_PER_WORKER_MAX", MR_KINDS_PER_WORKER_MAX},
        {"MR_PRIORITY_MAX", MR_PRIORITY_MAX},
        {"MR_PRIORITY_DEFAULT", MR_PRIORITY_DEFAULT},
        {"MR_ATTEMPTS_MAX", MR_ATTEMPTS_MAX}, {"MR_PROTO_VERSION", MR_PROTO_VERSION}};
    char row[128];
    FILE *in = fopen("schemas/wire/README.md", "r");

    ck_assert_msg(in != NULL, "run this from the top folder");
    ck_assert_uint_gt(fread(page, 1, sizeof page - 1, in), 0);
    fclose(in);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        snprintf(row, sizeof row, "| `%s` | %lu |", limits[i].name, limits[i].value);
        ck_assert_msg(page_has(page, row), "the page lacks: %s", row);
    }
    for (int code = 0; code < 1000; code++) {
        if (!mr_status_is_known(code))
            continue;
        snprintf(
            row, sizeof row, "| %d | `%s` |", code, mr_status_name((enum mr_status)code));
        ck_assert_msg(page_has(page, row), "the page lacks: %s", row);
    }
    for (int verb = 0; verb < MR_VERB_COUNT; verb++) {
        snprintf(
            row, sizeof row, "| %d | `%s` |", verb, mr_verb_name((enum mr_verb)verb));
        ck_assert_msg(page_has(page, row), "the page lacks: %s", row);
    }
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("wire/msg");
    TCase *tcase = tcase_create("msg");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, as_many_jobs_as_a_message_may_hold);
    tcase_add_test(tcase, one_job_more_is_too_big);
    tcase_add_test(tcase, a_payload_above_its_limit_is_still_handed_out);
    tcase_add_test(tcase, a_message_above_the_limit_is_neither_written_nor_read);
    tcase_add_test(tcase, a_result_at_its_limit_and_above);
    tcase_add_test(tcase, an_iterator_that_failed_stays_failed);
    tcase_add_test(tcase, defaults_are_there_without_a_job);
    tcase_add_test(tcase, names_of_verbs_and_outcomes);
    tcase_add_loop_test(tcase, cut_anywhere_it_is_malformed, 0, MR_VERB_COUNT);
    tcase_add_loop_test(tcase, damaged_anywhere_it_is_read_or_refused, 0, MR_VERB_COUNT);
    tcase_add_test(tcase, the_page_says_what_the_code_does);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
