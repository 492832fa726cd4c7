/*
 * The payment provider over real HTTP: what idempotency keys are for, and that its log tells
 * the truth about it.
 */
#include "client/proc.h"

#include <check.h>
#include <curl/curl.h>

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/payd_test_XXXXXX";
static char port_file[64], log_file[64], program[4096];
static struct mr_proc payd;
static struct mr_err err;
static unsigned port;

static void
set_up(void)
{
    const char *build = getenv("MILLRACE_BUILD");

    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(port_file, sizeof port_file, "%s/port", folder);
    snprintf(log_file, sizeof log_file, "%s/log", folder);
    snprintf(program, sizeof program, "%s/millrace-payd", build ? build : "build");
}

static void
tear_down(void)
{
    rmdir(folder);
}

static void
start(const char *fail, const char *lose)
{
    const char *argv[] = {program, "--port-file", port_file, "--log", log_file, "--seed",
        "7", "--fail-permille", fail, "--lose-permille", lose, NULL};
    struct mr_proc_spec spec = {.argv = argv};
    FILE *file;

    payd = (struct mr_proc){.pid = 0};
    ck_assert_msg(mr_proc_start(&payd, &spec, &err) == MR_OK, "%s", err.why);
    ck_assert_msg(
        mr_proc_wait_file(&payd, port_file, 10000, &err) == MR_OK, "%s", err.why);
    file = fopen(port_file, "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%u", &port), 1);
    fclose(file);
}

static void
stop(void)
{
    ck_assert(mr_proc_stop(&payd, SIGTERM, 5000));
    ck_assert_int_eq(mr_proc_exit_code(&payd), 0);
    unlink(port_file);
    unlink(log_file);
}

static size_t
on_body(char *bytes, size_t one, size_t n, void *context)
{
    size_t have = strlen(context);

    ck_assert_uint_lt(have + n, 256);
    memcpy((char *)context + have, bytes, n);
    ((char *)context)[have + n] = '\0';
    return one * n;
}

/* The status; 0: no reply. `path` NULL: /charges. */
static long
post(const char *key, const char *body, const char *path, char answer[256])
{
    struct curl_slist *headers = NULL;
    CURL *curl = curl_easy_init();
    char url[128], line[128];
    long status = 0;

    snprintf(url, sizeof url, "http://127.0.0.1:%u%s", port, path ? path : "/charges");
    snprintf(line, sizeof line, "Idempotency-Key: %s", key ? key : "");
    if (key)
        headers = curl_slist_append(headers, line);
    answer[0] = '\0';
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    if (body)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 10000L);
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return status;
}

static int
lines_of_log(void)
{
    FILE *file = fopen(log_file, "r");
    int lines = 0;

    ck_assert_ptr_nonnull(file);
    for (int c; (c = fgetc(file)) != EOF;)
        lines += c == '\n';
    fclose(file);
    return lines;
}

START_TEST(a_key_is_charged_once)
{
    char first[256], again[256];

    start("0", "0");
    ck_assert_int_eq(post("k1", "{\"amount\":716,\"ride\":\"r1\"}", NULL, first), 200);
    ck_assert_int_eq(strncmp(first, "{\"id\":\"ch_", 10), 0);
    ck_assert_int_eq(post("k1", "{\"amount\":716,\"ride\":\"r1\"}", NULL, again), 200);
    ck_assert_str_eq(first, again);
    ck_assert_int_eq(lines_of_log(), 1);
    ck_assert_int_eq(post("k1", "{\"amount\":717,\"ride\":\"r1\"}", NULL, again), 409);
    ck_assert_int_eq(post("k2", "{\"amount\":716,\"ride\":\"r1\"}", NULL, again), 200);
    ck_assert_str_ne(first, again);
    ck_assert_int_eq(lines_of_log(), 2);
    stop();
}
END_TEST

START_TEST(without_a_key_every_call_charges)
{
    char answer[256];

    start("0", "0");
    for (int i = 1; i <= 3; i++) {
        ck_assert_int_eq(post(NULL, "{\"amount\":5,\"ride\":\"r1\"}", NULL, answer), 200);
        ck_assert_int_eq(lines_of_log(), i);
    }
    stop();
}
END_TEST

START_TEST(a_lost_reply_has_charged)
{
    char answer[256];

    start("0", "1000");
    ck_assert_int_eq(post("k1", "{\"amount\":5,\"ride\":\"r1\"}", NULL, answer), 0);
    ck_assert_int_eq(lines_of_log(), 1);
    ck_assert_int_eq(post("k1", "{\"amount\":5,\"ride\":\"r1\"}", NULL, answer), 0);
    ck_assert_int_eq(lines_of_log(), 1);
    stop();
}
END_TEST

START_TEST(a_failed_call_has_not)
{
    char answer[256];

    start("1000", "0");
    ck_assert_int_eq(post("k1", "{\"amount\":5,\"ride\":\"r1\"}", NULL, answer), 503);
    ck_assert_int_eq(lines_of_log(), 0);
    stop();
}
END_TEST

/* The fate of the n-th call depends on the seed and n alone. */
START_TEST(misfortune_can_be_repeated)
{
    char fates[2][201], answer[256], key[16];
    int bad = 0;

    for (int run = 0; run < 2; run++) {
        start("100", "30");
        for (int i = 0; i < 200; i++) {
            long status;

            snprintf(key, sizeof key, "k%d", i);
            status = post(key, "{\"amount\":5,\"ride\":\"r1\"}", NULL, answer);
            fates[run][i] = status == 200 ? '.' : status == 503 ? 'f' : 'l';
            bad += status != 200;
        }
        fates[run][200] = '\0';
        stop();
    }
    ck_assert_str_eq(fates[0], fates[1]);
    ck_assert_ptr_nonnull(strchr(fates[0], 'f'));
    ck_assert_ptr_nonnull(strchr(fates[0], 'l'));
    ck_assert_int_lt(bad, 200);
}
END_TEST

START_TEST(wrong_requests)
{
    static const char *const bodies[] = {"", "x", "{}", "{\"amount\":0,\"ride\":\"r\"}",
        "{\"amount\":-1,\"ride\":\"r\"}", "{\"amount\":1.5,\"ride\":\"r\"}",
        "{\"amount\":\"1\",\"ride\":\"r\"}", "{\"amount\":1}", "{\"ride\":\"r\"}",
        "{\"amount\":1,\"ride\":\"\"}", "{\"amount\":1,\"ride\":\"a\\tb\"}",
        "{\"amount\":1,\"ride\":\"r\",\"more\":1}",
        "{\"amount\":1,\"amount\":2,\"ride\":\"r\"}"};
    char answer[256], long_body[8000];

    start("0", "0");
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
        ck_assert_msg(post("k", bodies[i], NULL, answer) == 400, "%s", bodies[i]);
    memset(long_body, ' ', sizeof long_body - 1);
    long_body[sizeof long_body - 1] = '\0';
    ck_assert_int_eq(post("k", long_body, NULL, answer), 400);
    ck_assert_int_eq(post("a b", "{\"amount\":1,\"ride\":\"r\"}", NULL, answer), 400);
    ck_assert_int_eq(post("k", "{}", "/other", answer), 404);
    ck_assert_int_eq(post("k", NULL, NULL, answer), 405);
    ck_assert_int_eq(lines_of_log(), 0);
    stop();
}
END_TEST

START_TEST(wrong_command_lines)
{
    static const char *const lines[][6] = {{"--port-file", "x"}, {"--log", "x"},
        {"--port-file", "x", "--log", "y", "--seed=-1"},
        {"--port-file", "x", "--log", "y", "--fail-permille=1001"},
        {"--port-file", "x", "--log", "y", "more"}};

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const char *argv[8] = {program};
        struct mr_proc_spec spec = {.argv = argv, .output = "/dev/null"};

        memcpy(argv + 1, lines[i], sizeof lines[i]);
        payd = (struct mr_proc){.pid = 0};
        ck_assert_int_eq(mr_proc_start(&payd, &spec, &err), MR_OK);
        ck_assert(mr_proc_wait(&payd, 10000));
        ck_assert_int_eq(mr_proc_exit_code(&payd), 64);
    }
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("flagship/payd");
    TCase *tcase = tcase_create("payd");
    SRunner *runner;
    int failed;

    tcase_add_unchecked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_key_is_charged_once);
    tcase_add_test(tcase, without_a_key_every_call_charges);
    tcase_add_test(tcase, a_lost_reply_has_charged);
    tcase_add_test(tcase, a_failed_call_has_not);
    tcase_add_test(tcase, misfortune_can_be_repeated);
    tcase_add_test(tcase, wrong_requests);
    tcase_add_test(tcase, wrong_command_lines);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
