/* Lines are read back through a pipe in the place of standard error. */
#include "schemas/base/log.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char heard[65536];

static int pipe_ends[2], saved_stderr;

static void
begin(void)
{
    ck_assert_int_eq(pipe(pipe_ends), 0);
    saved_stderr = dup(STDERR_FILENO);
    ck_assert_int_ge(dup2(pipe_ends[1], STDERR_FILENO), 0);
    close(pipe_ends[1]);
}

static const char *
end(void)
{
    size_t n = 0;
    ssize_t got;

    ck_assert_int_ge(dup2(saved_stderr, STDERR_FILENO), 0);
    close(saved_stderr);
    while ((got = read(pipe_ends[0], heard + n, sizeof heard - 1 - n)) > 0)
        n += (size_t)got;
    close(pipe_ends[0]);
    heard[n] = '\0';
    return heard;
}

static bool
matches(const char *text, const char *pattern)
{
    regex_t regex;
    bool is_match;

    ck_assert_int_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    is_match = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return is_match;
}

START_TEST(a_line_has_all_its_parts)
{
    begin();
    mr_log_open("broker", MR_LOG_INFO);
    mr_log_thread("loop");
    mr_log(MR_LOG_WARN, "peer-lost", "peer=%d why=\"%s\"", 7, "three beats");
    ck_assert(matches(end(),
        "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\.[0-9]{6}Z warn broker/loop peer-lost "
        "peer=7 why=\"three beats\"\n$"));
}
END_TEST

START_TEST(levels_below_are_silent)
{
    begin();
    mr_log_open("broker", MR_LOG_WARN);
    mr_log(MR_LOG_INFO, "quiet", "a=%d", 1);
    mr_log(MR_LOG_DEBUG, "quiet", "a=%d", 1);
    mr_log(MR_LOG_ERROR, "loud", "a=%d", 1);
    end();
    ck_assert_ptr_null(strstr(heard, "quiet"));
    ck_assert_ptr_nonnull(strstr(heard, "loud"));
}
END_TEST

START_TEST(nobody_forges_a_second_line)
{
    begin();
    mr_log_open("broker", MR_LOG_INFO);
    mr_log(MR_LOG_INFO, "kind", "name=%s", "a\n2026 error\r\x1b[2J\x7f");
    end();
    ck_assert_ptr_nonnull(strstr(heard, "name=a?2026 error??[2J?\n"));
    ck_assert_ptr_eq(strchr(heard, '\n'), heard + strlen(heard) - 1);
}
END_TEST

START_TEST(long_lines_are_cut)
{
    char text[5000];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    begin();
    mr_log_open("broker", MR_LOG_INFO);
    mr_log(MR_LOG_INFO, "long", "text=%s", text);
    mr_log(MR_LOG_INFO, text, "text=%s", text);
    mr_log(MR_LOG_INFO, "after", "a=%d", 1);
    end();
    ck_assert_uint_eq(strcspn(heard, "\n"), 1023); /* 1,024 with its end */
    ck_assert_uint_eq(strcspn(heard + 1024, "\n"), 1023);
    ck_assert_ptr_nonnull(strstr(heard + 2048, " after a=1\n"));
}
END_TEST

START_TEST(errno_survives)
{
    begin();
    mr_log_open("broker", MR_LOG_INFO);
    errno = ENOSPC;
    mr_log(MR_LOG_INFO, "x", "a=%d", 1);
    ck_assert_int_eq(errno, ENOSPC);
    end();
}
END_TEST

static void *
write_hundred(void *name)
{
    mr_log_thread(name);
    for (int i = 0; i < 100; i++)
        mr_log(MR_LOG_INFO, "count", "i=%d end=1", i);
    return NULL;
}

START_TEST(threads_have_names_and_whole_lines)
{
    char names[4][32] = {"alpha", "beta", "gamma", "a-name-of-more-than-fifteen"};
    pthread_t threads[4];
    int lines = 0;

    begin();
    mr_log_open("worker", MR_LOG_INFO);
    mr_log_thread("main");
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, write_hundred, names[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    end();
    for (char *line = strtok(heard, "\n"); line; line = strtok(NULL, "\n")) {
        ck_assert(matches(line,
            "Z info worker/(alpha|beta|gamma|a-name-of-more-) count i=[0-9]+ end=1$"));
        lines++;
    }
    ck_assert_int_eq(lines, 400);
}
END_TEST

START_TEST(level_names)
{
    enum mr_log_level level = MR_LOG_ERROR;

    ck_assert(mr_log_level_parse("debug", &level));
    ck_assert_int_eq(level, MR_LOG_DEBUG);
    ck_assert(mr_log_level_parse("error", &level));
    ck_assert_int_eq(level, MR_LOG_ERROR);
    ck_assert(!mr_log_level_parse("Debug", &level));
    ck_assert(!mr_log_level_parse("", &level));
    ck_assert(!mr_log_level_parse("warning", &level));
    ck_assert_int_eq(level, MR_LOG_ERROR);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("base/log");
    TCase *tcase = tcase_create("log");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, a_line_has_all_its_parts);
    tcase_add_test(tcase, levels_below_are_silent);
    tcase_add_test(tcase, nobody_forges_a_second_line);
    tcase_add_test(tcase, long_lines_are_cut);
    tcase_add_test(tcase, errno_survives);
    tcase_add_test(tcase, threads_have_names_and_whole_lines);
    tcase_add_test(tcase, level_names);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
