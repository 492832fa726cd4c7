#include "tests/chaos/history.h"

#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[64];
static int fd;

static void
set_up(void)
{
    strcpy(path, "/tmp/millrace-history-XXXXXX");
    close(mkstemp(path));
    fd = mr_history_open(path);
    ck_assert_int_ge(fd, 0);
}

static void
tear_down(void)
{
    close(fd);
    unlink(path);
}

static size_t
contents(char *bytes, size_t room)
{
    int in = open(path, O_RDONLY);
    ssize_t n = read(in, bytes, room - 1);

    close(in);
    ck_assert_int_ge(n, 0);
    bytes[n] = '\0';
    return (size_t)n;
}

static struct mr_history_line
full_line(void)
{
    return (struct mr_history_line){.at_us = 1234567,
        .client = 7,
        .op = MR_HISTORY_WATCH,
        .phase = MR_HISTORY_OK,
        .id = mr_span_str("0198f7a0-0000-7000-8000-000000000001"),
        .kind = mr_span_str("chaos.calc"),
        .digest = UINT64_C(0xab),
        .code = mr_span_str("OK"),
        .outcome = mr_span_str("succeeded"),
        .attempt = 3,
        .text = mr_span_str("all\twell\n")};
}

START_TEST(a_line_is_as_the_page_says)
{
    struct mr_history_line line = full_line();
    char bytes[1024];

    ck_assert_int_eq(mr_history_put(fd, &line), MR_OK);
    contents(bytes, sizeof bytes);
    ck_assert_str_eq(bytes,
        "1234567\t7\twatch\tok\t0198f7a0-0000-7000-8000-000000000001\t"
        "chaos.calc\t00000000000000ab\tOK\tsucceeded\t3\tall well \n");
}
END_TEST

START_TEST(what_was_written_is_read)
{
    struct mr_history_line line = full_line(), got;
    char bytes[1024];
    size_t n;

    line.text = line.code = line.outcome = line.kind = MR_SPAN_NONE;
    line.digest = 0;
    ck_assert_int_eq(mr_history_put(fd, &line), MR_OK);
    n = contents(bytes, sizeof bytes);
    ck_assert_int_eq(mr_history_parse(mr_span(bytes, n - 1), &got), MR_OK);
    ck_assert_int_eq(got.at_us, line.at_us);
    ck_assert_uint_eq(got.client, 7);
    ck_assert_int_eq(got.op, MR_HISTORY_WATCH);
    ck_assert_int_eq(got.phase, MR_HISTORY_OK);
    ck_assert(mr_span_eq(got.id, line.id));
    ck_assert_uint_eq(got.text.n + got.code.n + got.outcome.n + got.kind.n, 0);
    ck_assert_uint_eq(got.digest, 0);
    ck_assert_uint_eq(got.attempt, 3);
}
END_TEST

START_TEST(a_long_text_is_cut_and_its_line_stays_whole)
{
    struct mr_history_line line = full_line(), got;
    char text[3000], bytes[4096];
    size_t n;

    memset(text, 'x', sizeof text);
    line.text = mr_span(text, sizeof text);
    ck_assert_int_eq(mr_history_put(fd, &line), MR_OK);
    n = contents(bytes, sizeof bytes);
    ck_assert_int_eq(mr_history_parse(mr_span(bytes, n - 1), &got), MR_OK);
    ck_assert_uint_eq(got.text.n, 400);
}
END_TEST

START_TEST(processes_do_not_mix_their_lines)
{
    struct mr_history_line line = full_line();
    char *bytes = malloc(1 << 20), *at = bytes;
    size_t n, lines = 0;

    for (int child = 0; child < 4; child++) {
        if (fork() == 0) {
            for (int i = 0; i < 500; i++)
                if (mr_history_put(fd, &line))
                    _exit(1);
            _exit(0);
        }
    }
    for (int child = 0, code; child < 4; child++) {
        ck_assert_int_gt(wait(&code), 0);
        ck_assert_int_eq(code, 0);
    }
    n = contents(bytes, 1 << 20);
    for (char *end; (end = memchr(at, '\n', n - (size_t)(at - bytes))); at = end + 1) {
        ck_assert_int_eq(mr_history_parse(mr_span(at, (size_t)(end - at)), &line), MR_OK);
        lines++;
    }
    ck_assert_uint_eq(lines, 2000);
    free(bytes);
}
END_TEST

#define ID "0198f7a0-0000-7000-8000-000000000001"

static const char *const no_lines[] = {
    "", "\t", "1\t2\tsubmit\tok\t" ID "\tk\t-\tOK\t-\t0",    /* one field too few */
    "1\t2\tsubmit\tok\t" ID "\tk\t-\tOK\t-\t0\t-\t-",        /* too many */
    "1\t2\tsubmit\tok\t" ID "\tk\t-\tOK\t-\t0\t",            /* torn */
    "1\t2\tsubmits\tok\t" ID "\tk\t-\tOK\t-\t0\t-",          /* no such op */
    "1\t2\tsubmit\tokay\t" ID "\tk\t-\tOK\t-\t0\t-",         /* no such phase */
    "x\t2\tsubmit\tok\t" ID "\tk\t-\tOK\t-\t0\t-",           /* no time */
    "-1\t2\tsubmit\tok\t" ID "\tk\t-\tOK\t-\t0\t-",          /* before time */
    "1\t-\tsubmit\tok\t" ID "\tk\t-\tOK\t-\t0\t-",           /* nobody */
    "1\t2\tsubmit\tok\t0198f7a0\tk\t-\tOK\t-\t0\t-",         /* no id */
    "1\t2\tsubmit\tok\t" ID "\tk\txyz\tOK\t-\t0\t-",         /* no digest */
    "1\t2\tsubmit\tok\t" ID "\tk\t-\tOK\t-\t99999999999\t-", /* no attempt */
};

START_TEST(what_is_no_line_is_refused)
{
    struct mr_history_line line;

    ck_assert_int_eq(mr_history_parse(mr_span_str(no_lines[_i]), &line), MR_MALFORMED);
}
END_TEST

START_TEST(a_full_disk_is_said)
{
    struct mr_history_line line = full_line();
    int full = open("/dev/full", O_WRONLY);

    ck_assert_int_ge(full, 0);
    ck_assert_int_eq(mr_history_put(full, &line), MR_STORE_FULL);
    close(full);
}
END_TEST

START_TEST(digests_differ_and_last)
{
    /* What older runs have written has to stay readable. */
    ck_assert_uint_eq(mr_history_digest("a", 1), mr_history_digest("a", 1));
    ck_assert_uint_ne(mr_history_digest("a", 1), mr_history_digest("b", 1));
    ck_assert_uint_ne(mr_history_digest("a", 1), mr_history_digest("a\0", 2));
    ck_assert_uint_ne(mr_history_digest("", 0), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("chaos_history");
    TCase *tc = tcase_create("history");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, a_line_is_as_the_page_says);
    tcase_add_test(tc, what_was_written_is_read);
    tcase_add_test(tc, a_long_text_is_cut_and_its_line_stays_whole);
    tcase_add_test(tc, processes_do_not_mix_their_lines);
    tcase_add_loop_test(
        tc, what_is_no_line_is_refused, 0, sizeof no_lines / sizeof no_lines[0]);
    tcase_add_test(tc, a_full_disk_is_said);
    tcase_add_test(tc, digests_differ_and_last);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
