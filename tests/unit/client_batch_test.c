#include "client/batch_state.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/batch_line.h"

static char folder[64], path[96];
static struct mr_err err;

static void
set_up(void)
{
    strcpy(folder, "/tmp/millrace-batch-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/state", folder);
}

static void
tear_down(void)
{
    (void)unlink(path);
    ck_assert_int_eq(rmdir(folder), 0); /* nothing else was left there */
}

static struct mr_batch_digest
digest_of(const char *const *lines)
{
    struct mr_batch_digest digest = {0, 0};

    while (*lines)
        mr_batch_state_digest(&digest, mr_span_str(*lines++));
    return digest;
}
#define DIGEST(...) digest_of((const char *const[]){__VA_ARGS__, NULL})

START_TEST(a_second_run_is_the_same_batch)
{
    struct mr_batch_digest digest = DIGEST("a\n", "b\n");
    struct mr_uuid first, second;
    bool was_begun;

    ck_assert_int_eq(mr_batch_state_open(path, &digest, &first, &was_begun, &err), MR_OK);
    ck_assert(!was_begun);
    ck_assert(mr_uuid_is_v7(first));
    ck_assert_int_eq(
        mr_batch_state_open(path, &digest, &second, &was_begun, &err), MR_OK);
    ck_assert(was_begun);
    ck_assert(mr_uuid_eq(first, second));
}
END_TEST

START_TEST(another_input_is_refused)
{
    struct mr_batch_digest one = DIGEST("a\n", "b\n");
    struct mr_batch_digest others[] = {DIGEST("a\n"), DIGEST("b\n", "a\n"),
        DIGEST("a\n", "b\n", "\n"), DIGEST("a\nb\n")};
    struct mr_uuid id;
    bool was_begun;

    ck_assert_int_eq(mr_batch_state_open(path, &one, &id, &was_begun, &err), MR_OK);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        ck_assert_int_eq(
            mr_batch_state_open(path, &others[i], &id, &was_begun, &err), MR_CONFLICT);
        ck_assert_ptr_nonnull(strstr(err.todo, "--again"));
    }
}
END_TEST

START_TEST(what_is_no_state_is_left_alone)
{
    static const char *const bad[] = {"", "my notes\n", "millrace batch 1\nid x\n",
        "millrace batch 1\nid 919108f7-52d1-4320-9bac-f847db4148a8\ndigest 0\n",
        "millrace batch 2\nid 017f22e2-79b0-7cc3-98c4-dc0c0c07398f\n"};
    struct mr_batch_digest digest = DIGEST("a\n");

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        FILE *file = fopen(path, "w");
        char now[128] = "";
        struct mr_uuid id;
        bool was_begun;

        fputs(bad[i], file);
        fclose(file);
        ck_assert_int_eq(
            mr_batch_state_open(path, &digest, &id, &was_begun, &err), MR_MALFORMED);
        file = fopen(path, "r");
        ck_assert_uint_eq(fread(now, 1, sizeof now - 1, file), strlen(bad[i]));
        fclose(file);
        ck_assert_str_eq(now, bad[i]);
    }
}
END_TEST

START_TEST(a_place_that_cannot_be_written)
{
    struct mr_batch_digest digest = DIGEST("a\n");
    struct mr_uuid id;
    bool was_begun;

    ck_assert_int_eq(
        mr_batch_state_open("/nonexistent/state", &digest, &id, &was_begun, &err),
        MR_DENIED);
    ck_assert_ptr_nonnull(strstr(err.todo, "--state"));
    ck_assert_int_eq(
        mr_batch_state_open(folder, &digest, &id, &was_begun, &err), MR_MALFORMED);
}
END_TEST

START_TEST(lines_have_their_own_ids)
{
    struct mr_uuid batch = mr_uuid_new(1);
    struct mr_uuid other = mr_uuid_new(1);

    for (uint64_t i = 1; i <= 100; i++) {
        struct mr_uuid id = mr_batch_state_job(batch, i);

        ck_assert(mr_uuid_is_v7(id));
        ck_assert(mr_uuid_eq(id, mr_batch_state_job(batch, i)));
        ck_assert(!mr_uuid_eq(id, mr_batch_state_job(batch, i + 1)));
        ck_assert(!mr_uuid_eq(id, mr_batch_state_job(other, i)));
        ck_assert_int_eq(mr_uuid_ms(id), mr_uuid_ms(batch));
    }
}
END_TEST

START_TEST(a_line_with_everything)
{
    static const char text[] =
        "{\"kind\":\"k\",\"args\":[1],\"id\":\"017f22e2-79b0-7cc3-98c4-dc0c0c07398f\","
        "\"queue\":\"q\",\"priority\":9,\"lane\":\"l\",\"delay_ms\":0,\"timeout_ms\":5,"
        "\"attempts_max\":2,\"run_at\":\"1970-01-01T00:00:01Z\","
        "\"expires_at\":\"1970-01-01T00:00:02Z\"}";
    struct mr_batch_line line;

    ck_assert_msg(
        mr_batch_line_parse(mr_span_str(text), "x", &line, &err) == MR_OK, "%s", err.why);
    ck_assert_str_eq(line.job.kind, "k");
    ck_assert_str_eq(line.job.queue, "q");
    ck_assert_str_eq(line.job.lane, "l");
    ck_assert(line.has_id);
    ck_assert_uint_eq(line.job.id.b[0], 0x01);
    ck_assert_uint_eq(line.job.id.b[15], 0x8f);
    ck_assert_int_eq(line.job.priority, 9);
    ck_assert_uint_eq(line.job.timeout_ms, 5);
    ck_assert_uint_eq(line.job.attempts_max, 2);
    ck_assert_int_eq(line.job.run_at_us, 1000000);
    ck_assert_int_eq(line.job.expires_at_us, 2000000);
    ck_assert_uint_eq(line.job.args_bytes, 2);
    ck_assert_mem_eq(line.job.args, "\x91\x01", 2);
    mr_batch_line_fini(&line);
    ck_assert_int_eq(
        mr_batch_line_parse(mr_span_str("{\"kind\":\"k\"}"), "x", &line, &err), MR_OK);
    ck_assert(!line.has_id);
    ck_assert_int_eq(line.job.priority, 4);
    ck_assert_ptr_null(line.job.args);
    mr_batch_line_fini(&line);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("client_batch");
    TCase *cases = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, a_second_run_is_the_same_batch);
    tcase_add_test(cases, another_input_is_refused);
    tcase_add_test(cases, what_is_no_state_is_left_alone);
    tcase_add_test(cases, a_place_that_cannot_be_written);
    tcase_add_test(cases, lines_have_their_own_ids);
    tcase_add_test(cases, a_line_with_everything);
    suite_add_tcase(suite, cases);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
