/* Each test runs in a folder of its own that is removed afterwards. */
#include "schemas/base/conf.h"

#include <check.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct settings {
    const char *store;
    const char *log;
    int64_t threads;
    int64_t cap_bytes;
    bool is_loud;
};

static const struct mr_conf_row rows[] = {
    {.name = "store_url",
        .type = MR_CONF_STRING,
        .offset = offsetof(struct settings, store),
        .help = "where PostgreSQL is",
        .is_secret = true},
    {.name = "log_level",
        .type = MR_CONF_CHOICE,
        .offset = offsetof(struct settings, log),
        .initial = "info",
        .choices = "error|warn|info",
        .help = "what is written"},
    {.name = "threads",
        .type = MR_CONF_INT,
        .offset = offsetof(struct settings, threads),
        .initial = "4",
        .min = 1,
        .max = 64,
        .help = "executors"},
    {.name = "cap_bytes",
        .type = MR_CONF_INT,
        .offset = offsetof(struct settings, cap_bytes),
        .min = INT64_MIN,
        .max = INT64_MAX,
        .help = "any number"},
    {.name = "loud",
        .type = MR_CONF_BOOL,
        .offset = offsetof(struct settings, is_loud),
        .initial = "false",
        .help = "more words"},
    {.name = NULL},
};

static char folder[PATH_MAX], home[PATH_MAX];
static struct settings values;
static struct mr_conf *conf;
static struct mr_err err;
static int argi;

static void
set_up(void)
{
    static const char *const names[] = {
        "CONFIG", "STORE_URL", "LOG_LEVEL", "THREADS", "CAP_BYTES", "LOUD"};
    char variable[64];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(variable, sizeof variable, "MILLRACE_%s", names[i]);
        unsetenv(variable);
    }
    strcpy(folder, "/tmp/mr_conf_XXXXXX");
    ck_assert_ptr_nonnull(getcwd(home, sizeof home));
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chdir(folder), 0);
    memset(&err, 0, sizeof err);
    ck_assert_int_eq(mr_conf_new(&conf, "worker", rows, &values), MR_OK);
}

static void
tear_down(void)
{
    mr_conf_destroy(&conf);
    ck_assert_ptr_null(values.store);
    mr_conf_destroy(&conf);
    unlink("millrace.ini");
    unlink("other.ini");
    ck_assert_int_eq(chdir(home), 0);
    ck_assert_int_eq(rmdir(folder), 0);
}

static void
write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "we");

    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

/* Words are separated by single spaces; argv[0] is the program. */
static enum mr_status
load(const char *words)
{
    static char text[1024];
    char *argv[32] = {(char *)"program"};
    int argc = 1;

    snprintf(text, sizeof text, "%s", words);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    argi = 1;
    return mr_conf_load(conf, argc, argv, &argi, &err);
}

static void
refused(const char *words, const char *why, const char *todo)
{
    ck_assert_int_eq(load(words), MR_BAD_SETTING);
    ck_assert_int_eq(err.status, MR_BAD_SETTING);
    ck_assert_str_eq(err.why, why);
    ck_assert_str_eq(err.todo, todo);
    ck_assert_uint_gt(strlen(err.what), 0);
}

START_TEST(defaults)
{
    values.threads = 99;
    values.is_loud = true;
    ck_assert_int_eq(load(""), MR_OK);
    ck_assert_str_eq(values.store, "");
    ck_assert_str_eq(values.log, "info");
    ck_assert_int_eq(values.threads, 4);
    ck_assert_int_eq(values.cap_bytes, 0);
    ck_assert(!values.is_loud);
}
END_TEST

START_TEST(flag_over_variable_over_file_over_default)
{
    write_file("millrace.ini",
        "# remark\n[common]\nlog_level = warn\n[worker]\nthreads = 5\ncap_bytes=-7\n"
        "loud = yes\n[broker]\nthreads = no number\n");
    setenv("MILLRACE_THREADS", "6", 1);
    setenv("MILLRACE_CAP_BYTES", "8", 1);
    ck_assert_int_eq(load("--threads 7"), MR_OK);
    ck_assert_str_eq(values.log, "warn");
    ck_assert_int_eq(values.cap_bytes, 8);
    ck_assert_int_eq(values.threads, 7);
    ck_assert(values.is_loud);
}
END_TEST

START_TEST(flags_end_at_the_first_foreign_word)
{
    ck_assert_int_eq(
        load("--threads=2 --loud --store-url=a=b submit --threads 3"), MR_OK);
    ck_assert_int_eq(argi, 4);
    ck_assert_int_eq(values.threads, 2);
    ck_assert_str_eq(values.store, "a=b");
    ck_assert(values.is_loud);
    ck_assert_int_eq(load("--loud=off --thread 3"), MR_OK);
    ck_assert_int_eq(argi, 2);
    ck_assert(!values.is_loud);
    ck_assert_int_eq(load("--threads_ 3"), MR_OK);
    ck_assert_int_eq(argi, 1);
    ck_assert_int_eq(load("-- --threads 3"), MR_OK);
    ck_assert_int_eq(argi, 1);
    ck_assert_int_eq(load("--threads 3 --threads 9"), MR_OK); /* the last one counts */
    ck_assert_int_eq(values.threads, 9);
    ck_assert_int_eq(argi, 5);
}
END_TEST

START_TEST(the_file_is_found)
{
    write_file("other.ini", "[worker]\nthreads = 11\n");
    write_file("millrace.ini", "[worker]\nthreads = 12\n");
    ck_assert_int_eq(load(""), MR_OK);
    ck_assert_int_eq(values.threads, 12);
    ck_assert_int_eq(load("--config other.ini"), MR_OK);
    ck_assert_int_eq(values.threads, 11);
    ck_assert_int_eq(argi, 3);
    setenv("MILLRACE_CONFIG", "other.ini", 1);
    ck_assert_int_eq(load(""), MR_OK);
    ck_assert_int_eq(values.threads, 11);
    ck_assert_int_eq(load("--config=millrace.ini"), MR_OK);
    ck_assert_int_eq(values.threads, 12);
}
END_TEST

START_TEST(a_file_that_was_asked_for_must_be_there)
{
    refused("--config none.ini", "none.ini: No such file or directory.",
        "Check the path and who may read it.");
    setenv("MILLRACE_CONFIG", "gone.ini", 1);
    refused("", "gone.ini: No such file or directory.",
        "Check the path and who may read it.");
    refused(
        "--config /tmp", "/tmp: Is a directory.", "Check that it is an ordinary file.");
}
END_TEST

START_TEST(a_wrong_key_names_file_line_and_the_nearest)
{
    write_file("millrace.ini", "[worker]\n\nthreds = 5\n");
    refused("", "millrace.ini:3: [worker] has \"threds\".", "Did you mean \"threads\"?");
    write_file("millrace.ini", "[worker]\nquantum_foam = 5\n");
    refused("", "millrace.ini:2: [worker] has \"quantum_foam\".",
        "Remove it; \"config show\" lists what there is.");
    write_file("millrace.ini", "[common]\nlog_levle = info\n");
    refused(
        "", "millrace.ini:2: [common] has \"log_levle\".", "Did you mean \"log_level\"?");
    write_file("millrace.ini", "[workre]\nthreads = 5\n");
    refused("", "millrace.ini:2: this is in [workre].", "Did you mean [worker]?");
    write_file("millrace.ini", "threads = 5\n");
    refused("", "millrace.ini:1: it stands above the first [section].",
        "Put [common] or [worker] above it.");
}
END_TEST

START_TEST(what_belongs_to_others_is_left_alone)
{
    write_file("millrace.ini",
        "[common]\nfront_endpoint = tcp://x\n[broker]\nthreds = 1\n[client]\nx = y\n");
    ck_assert_int_eq(load(""), MR_OK);
    ck_assert_int_eq(values.threads, 4);
}
END_TEST

START_TEST(a_key_twice_is_a_mistake)
{
    write_file("millrace.ini", "[worker]\nthreads = 5\n[common]\nthreads = 6\n");
    ck_assert_int_eq(load(""), MR_BAD_SETTING);
    ck_assert_str_eq(err.why, "millrace.ini:4: \"threads\" was set in line 2 already.");
    write_file("millrace.ini", "[worker]\nstore_url = a\n  b = c\n");
    ck_assert_int_eq(load(""), MR_BAD_SETTING);
    ck_assert_str_eq(err.why, "millrace.ini:3: \"store_url\" was set in line 2 already.");
}
END_TEST

START_TEST(lines_that_are_nothing_are_refused)
{
    char text[400];

    write_file("millrace.ini", "[worker]\nthreads 5\n");
    refused("", "millrace.ini:2: this is none of the three.",
        "Write \"name = value\", \"[section]\" or \"# remark\".");
    write_file("millrace.ini", "[worker\nthreads = 5\n");
    ck_assert_int_eq(load(""), MR_BAD_SETTING);
    ck_assert_ptr_nonnull(strstr(err.why, "millrace.ini:1:"));
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    memcpy(text, "[worker]\nstore_url=", strlen("[worker]\nstore_url="));
    write_file("millrace.ini", text);
    ck_assert_int_eq(load(""), MR_BAD_SETTING);
    ck_assert_ptr_nonnull(strstr(err.why, "millrace.ini:2: the line is longer than "));
}
END_TEST

START_TEST(wrong_numbers)
{
    static const char *const bad[] = {"0", "65", "x", "4x", "4.0", "0x4", "+4", "-",
        "1e1", "99999999999999999999", "-99999999999999999999", "--loud"};
    char words[64], why[128];

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(words, sizeof words, "--threads %s", bad[i]);
        snprintf(why, sizeof why, "--threads: threads cannot be \"%s\".", bad[i]);
        refused(words, why, "Give threads a whole number from 1 to 64.");
    }
    refused("--threads=", "--threads: threads cannot be \"\".",
        "Give threads a whole number from 1 to 64.");
    ck_assert_int_eq(load("--cap-bytes -9223372036854775808"), MR_OK);
    ck_assert(values.cap_bytes == INT64_MIN);
    ck_assert_int_eq(load("--cap-bytes 9223372036854775807"), MR_OK);
    ck_assert(values.cap_bytes == INT64_MAX);
    ck_assert_int_eq(load("--cap-bytes 9223372036854775808"), MR_BAD_SETTING);
}
END_TEST

START_TEST(wrong_values_say_where_they_came_from)
{
    write_file("millrace.ini", "[worker]\nlog_level = in\n");
    refused("", "millrace.ini:2: log_level cannot be \"in\".",
        "Give log_level one of error|warn|info.");
    unlink("millrace.ini");
    setenv("MILLRACE_LOUD", "maybe", 1);
    refused("", "MILLRACE_LOUD: loud cannot be \"maybe\".", "Give loud true or false.");
    unsetenv("MILLRACE_LOUD");
    refused("--log-level error|warn", "--log-level: log_level cannot be \"error|warn\".",
        "Give log_level one of error|warn|info.");
    refused("--log-level=", "--log-level: log_level cannot be \"\".",
        "Give log_level one of error|warn|info.");
    refused(
        "--loud --threads", "--threads is the last word.", "Write its value behind it.");
    refused("--config", "--config is the last word.", "Write its value behind it.");
}
END_TEST

START_TEST(words_for_true_and_false)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};

    for (int i = 0; i < 4; i++) {
        setenv("MILLRACE_LOUD", yes[i], 1);
        ck_assert_int_eq(load(""), MR_OK);
        ck_assert(values.is_loud);
        setenv("MILLRACE_LOUD", no[i], 1);
        ck_assert_int_eq(load(""), MR_OK);
        ck_assert(!values.is_loud);
    }
}
END_TEST

static char *
printed(void (*print)(const struct mr_conf *, FILE *))
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);

    ck_assert_ptr_nonnull(out);
    print(conf, out);
    fclose(out);
    return text;
}

static void
show_with_origin(const struct mr_conf *what, FILE *out)
{
    mr_conf_show(what, out, true);
}

static void
show_plain(const struct mr_conf *what, FILE *out)
{
    mr_conf_show(what, out, false);
}

START_TEST(show_tells_origins_and_no_secrets)
{
    char *text;

    write_file("millrace.ini", "[common]\nlog_level = warn\n");
    setenv("MILLRACE_STORE_URL", "postgresql://u:pw@h/db", 1);
    ck_assert_int_eq(load("--threads=9"), MR_OK);
    text = printed(show_with_origin);
    ck_assert_str_eq(text, "store_url = ***  # MILLRACE_STORE_URL\n"
                           "log_level = warn  # millrace.ini:2\n"
                           "threads = 9  # --threads\n"
                           "cap_bytes = 0  # default\n"
                           "loud = false  # default\n");
    free(text);
    ck_assert_int_eq(load("--store-url= --loud"), MR_OK);
    text = printed(show_plain);
    ck_assert_str_eq(text,
        "store_url = \nlog_level = warn\nthreads = 4\ncap_bytes = 0\nloud = true\n");
    free(text);
}
END_TEST

START_TEST(the_sample_is_a_valid_file)
{
    char *text = printed(mr_conf_print_sample);
    char *c;

    ck_assert_ptr_nonnull(strstr(text, "[worker]\n"));
    ck_assert_ptr_nonnull(strstr(text, "# executors (1 to 64)\n# threads = 4\n"));
    write_file("millrace.ini", text);
    ck_assert_int_eq(load(""), MR_OK);
    /* With the remark sign taken away a line sets what it says. */
    c = strstr(text, "# threads = 4");
    memcpy(c, "  threads = 8", strlen("  threads = 8"));
    memmove(c, c + 2, strlen(c + 2) + 1);
    write_file("millrace.ini", text);
    ck_assert_int_eq(load(""), MR_OK);
    ck_assert_int_eq(values.threads, 8);
    free(text);
}
END_TEST

START_TEST(help_names_flag_variable_and_default)
{
    char *text = printed(mr_conf_print_help);

    ck_assert_ptr_nonnull(
        strstr(text, "--threads N\n      executors (1 to 64) [4]; MILLRACE_THREADS\n"));
    ck_assert_ptr_nonnull(strstr(
        text, "--store-url TEXT\n      where PostgreSQL is; MILLRACE_STORE_URL\n"));
    ck_assert_ptr_nonnull(strstr(text, "--config FILE"));
    free(text);
}
END_TEST

START_TEST(nearest_names)
{
    static const char *const names[] = {"submit", "wait", "show", "jobs", "queues"};
    static const char *const short_name = "log";
    char huge[200];

    memset(huge, 's', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    ck_assert_str_eq(mr_nearest("sumbit", names, 5), "submit");
    ck_assert_str_eq(mr_nearest("job", names, 5), "jobs");
    ck_assert_str_eq(mr_nearest("wait", names, 5), "wait");
    ck_assert_str_eq(mr_nearest("quesesx", names, 5), "queues");
    ck_assert_ptr_null(mr_nearest("elephant", names, 5));
    ck_assert_ptr_null(mr_nearest("", names, 5));
    ck_assert_ptr_null(mr_nearest("xyz", names, 5));
    ck_assert_ptr_null(mr_nearest(huge, names, 5));
    ck_assert_ptr_null(mr_nearest("wait", names, 0));
    ck_assert_ptr_null(
        mr_nearest("xyz", &short_name, 1)); /* 3 edits, nothing in common */
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("base/conf");
    TCase *tcase = tcase_create("conf");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, defaults);
    tcase_add_test(tcase, flag_over_variable_over_file_over_default);
    tcase_add_test(tcase, flags_end_at_the_first_foreign_word);
    tcase_add_test(tcase, the_file_is_found);
    tcase_add_test(tcase, a_file_that_was_asked_for_must_be_there);
    tcase_add_test(tcase, a_wrong_key_names_file_line_and_the_nearest);
    tcase_add_test(tcase, what_belongs_to_others_is_left_alone);
    tcase_add_test(tcase, a_key_twice_is_a_mistake);
    tcase_add_test(tcase, lines_that_are_nothing_are_refused);
    tcase_add_test(tcase, wrong_numbers);
    tcase_add_test(tcase, wrong_values_say_where_they_came_from);
    tcase_add_test(tcase, words_for_true_and_false);
    tcase_add_test(tcase, show_tells_origins_and_no_secrets);
    tcase_add_test(tcase, the_sample_is_a_valid_file);
    tcase_add_test(tcase, help_names_flag_variable_and_default);
    tcase_add_test(tcase, nearest_names);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
