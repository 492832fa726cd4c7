/* The command line without a broker: words, options, settings, help, exit codes. */
#include "client/cli.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *out_text, *err_text;
static char folder[] = "/tmp/millrace-cli-XXXXXX";

/* Runs `millrace` with the words of one line (blanks between, no quoting); the exit code. */
static int
run(const char *line)
{
    char words[512];
    char *argv[32] = {"millrace"};
    char *rest = words;
    char *word;
    size_t out_n, err_n;
    int argc = 1;
    int code;
    FILE *out, *err;

    free(out_text);
    free(err_text);
    out = open_memstream(&out_text, &out_n);
    err = open_memstream(&err_text, &err_n);
    snprintf(words, sizeof words, "%s", line);
    while ((word = strsep(&rest, " ")))
        argv[argc++] = word;
    code = mr_cli_run(argc, argv, out, err);
    fclose(out);
    fclose(err);
    return code;
}

static void
set_up(void)
{
    strcpy(folder, "/tmp/millrace-cli-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chdir(folder), 0);
    unsetenv("MILLRACE_ENDPOINT");
    unsetenv("MILLRACE_DATABASE");
    unsetenv("MILLRACE_OUTPUT");
    unsetenv("MILLRACE_CONFIG");
    setenv("MILLRACE_TIMEOUT_MS", "200", 1);
}

static void
tear_down(void)
{
    (void)remove("millrace.ini");
    (void)remove(".millrace/endpoints.ini");
    (void)rmdir(".millrace");
    (void)remove("jobs.jsonl");
    (void)remove("jobs.jsonl.millrace-state");
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_eq(rmdir(folder), 0);
    free(out_text);
    free(err_text);
    out_text = err_text = NULL;
}

static void
put(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static void
says(const char *text)
{
    ck_assert_msg(strstr(err_text, text) != NULL, "\"%s\" is not in: %s", text, err_text);
}

/* ---- The table ---------------------------------------------------------------------------- */

START_TEST(every_command_is_complete)
{
    for (const struct mr_cli_command *c = mr_cli_commands; c->name; c++) {
        char line[128];
        int options = 0;

        snprintf(line, sizeof line, "help %s", c->name);
        ck_assert_int_eq(run(line), MR_CLI_OK);
        ck_assert_msg(strncmp(out_text, "Example: ", 9) == 0,
            "%s: the example is not first", c->name);
        ck_assert_ptr_nonnull(strstr(out_text, c->help));
        ck_assert_ptr_nonnull(strstr(out_text, "Exit codes"));
        ck_assert_msg(strstr(c->example, "millrace ") && strstr(c->example, c->name),
            "%s: the example is of another command", c->name);
        ck_assert_int_le(c->words_min, c->words_max);
        ck_assert_int_le(c->words_max, MR_CLI_WORDS_MAX);
        for (const struct mr_cli_option *o = c->options; o && o->name; o++, options++) {
            ck_assert_ptr_nonnull(strstr(out_text, o->help));
            ck_assert_ptr_null(strpbrk(o->name, "_ "));
        }
        ck_assert_int_le(options, MR_CLI_OPTIONS_MAX);
    }
}
END_TEST

START_TEST(the_verbs_that_were_asked_for_are_there)
{
    static const char *const verbs[] = {"dev", "submit", "batch", "wait", "show", "jobs",
        "queues", "workers", "kinds", "usage", "pause", "resume", "cancel", "explain",
        "drain", "dead", "redrive", "stats", "migrate", "config", "version", "help",
        "completion"};

    ck_assert_int_eq(run("--help"), MR_CLI_OK);
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        char line[64];

        snprintf(line, sizeof line, "\n  %s ", verbs[i]);
        ck_assert_msg(strstr(out_text, line) != NULL, "%s", verbs[i]);
    }
}
END_TEST

START_TEST(completion_is_a_script_that_knows_everything)
{
    FILE *shell;

    ck_assert_int_eq(run("completion bash"), MR_CLI_OK);
    for (const struct mr_cli_command *c = mr_cli_commands; c->name; c++)
        for (const struct mr_cli_option *o = c->options; o && o->name; o++)
            ck_assert_ptr_nonnull(strstr(out_text, o->name));
    shell = popen("bash -n", "w");
    fputs(out_text, shell);
    ck_assert_int_eq(pclose(shell), 0);
    shell = popen("bash -s > found", "w");
    fputs(out_text, shell);
    fputs("COMP_WORDS=(millrace su); COMP_CWORD=1; _millrace; echo \"${COMPREPLY[@]}\"\n",
        shell);
    fputs("COMP_WORDS=(millrace submit --wa); COMP_CWORD=2; _millrace; echo "
          "\"${COMPREPLY[@]}\"\n",
        shell);
    ck_assert_int_eq(pclose(shell), 0);
    {
        char text[64] = "";
        FILE *found = fopen("found", "r");

        ck_assert_uint_gt(fread(text, 1, sizeof text - 1, found), 0);
        fclose(found);
        (void)remove("found");
        ck_assert_str_eq(text, "submit\n--wait\n");
    }
    ck_assert_int_eq(run("completion fish"), MR_CLI_USAGE);
}
END_TEST

/* ---- Wrong words ----------------------------------------------------------------------------- */

START_TEST(wrong_use)
{
    static const struct {
        const char *line;
        int code;
        const char *says;
    } cases[] = {
        {"submt x", MR_CLI_USAGE, "\"submit\""},
        {"qqqqqqqqq", MR_CLI_USAGE, "millrace help"},
        {"help submt", MR_CLI_USAGE, "\"submit\""},
        {"submit", MR_CLI_USAGE, "Something is missing"},
        {"submit a b c", MR_CLI_USAGE, "a word too many"},
        {"submit a --wiat", MR_CLI_USAGE, "\"--wait\""},
        {"submit a --priority", MR_CLI_USAGE, "no value"},
        {"submit a --timeout-m 3", MR_CLI_USAGE, "\"--timeout-ms\""},
        {"jobs --wait", MR_CLI_USAGE, "no such option"},
        {"version -x", MR_CLI_USAGE, "no such option"},
        {"version -o xml", MR_CLI_CONFIG, "output"},
        {"version -o", MR_CLI_USAGE, "no value"},
        {"submit a --priority 10", MR_CLI_USAGE, "from 0 to 9"},
        {"submit a --priority x", MR_CLI_USAGE, "from 0 to 9"},
        {"submit a --attempts 0", MR_CLI_USAGE, "from 1 to 1000"},
        {"submit a --backoff 5", MR_CLI_USAGE, "250ms"},
        {"submit a --backoff-cap x", MR_CLI_USAGE, "250ms"},
        {"submit a --backoff-factor 99", MR_CLI_USAGE, "from 100 to 1000"},
        {"submit a --backoff-factor 1001", MR_CLI_USAGE, "from 100 to 1000"},
        {"submit a --backoff-jitter 101", MR_CLI_USAGE, "from 0 to 100"},
        {"submit a --backoff-jitter -1", MR_CLI_USAGE, "from 0 to 100"},
        {"submit a --delay 5", MR_CLI_USAGE, "250ms"},
        {"submit a --delay 5w", MR_CLI_USAGE, "250ms"},
        {"submit a --delay 99999999d", MR_CLI_USAGE, "too long"},
        {"submit a --at yesterday", MR_CLI_USAGE, "2026-11-24T01:49:47Z"},
        {"submit a --at 2026-11-24T01:49:47", MR_CLI_USAGE, "UTC"},
        {"submit a --id 1234", MR_CLI_DATA, "not a UUID"},
        {"submit a {", MR_CLI_DATA, "line 1, column 1"},
        {"submit a @nothing.json", MR_CLI_NO_INPUT, "nothing.json"},
        {"jobs --state faild", MR_CLI_USAGE, "\"failed\""},
        {"jobs --limit 1001", MR_CLI_USAGE, "from 1 to 1000"},
        {"show 1", MR_CLI_DATA, "not a UUID"},
        {"dead 1", MR_CLI_DATA, "not a UUID"},
        {"dead --reason usedup", MR_CLI_USAGE, "\"used-up\""},
        {"dead --reason x", MR_CLI_USAGE,
            "One of used-up, for-good, quarantined, unknown."},
        {"dead --limit 0", MR_CLI_USAGE, "from 1 to 100000"},
        {"dead --since yesterday", MR_CLI_USAGE, "2026-11-24T01:49:47Z"},
        {"dead --kind \xff", MR_CLI_DATA, "UTF-8"},
        {"redrive", MR_CLI_USAGE, "--all"},
        {"redrive --yes", MR_CLI_USAGE, "--all"},
        {"redrive 1", MR_CLI_DATA, "not a UUID"},
        {"redrive --all 0198c0de-0000-7000-8000-000000000001", MR_CLI_USAGE, "either"},
        {"redrive --kind k 0198c0de-0000-7000-8000-000000000001", MR_CLI_USAGE, "either"},
        {"redrive --kind k --rate 0", MR_CLI_USAGE, "from 1 to 1000000"},
        {"redrive --kind k --rate x", MR_CLI_USAGE, "from 1 to 1000000"},
        {"redrive --kind k --limit -1", MR_CLI_USAGE, "from 1 to"},
        {"redrive --kin k", MR_CLI_USAGE, "\"--kind\""},
        {"cancel 1", MR_CLI_DATA, "not a UUID"},
        {"wait 1", MR_CLI_DATA, "not a UUID"},
        {"config shwo", MR_CLI_USAGE, "config show"},
        {"dev --workers 65", MR_CLI_USAGE, "from 0 to 64"},
        {"migrate", MR_CLI_CONFIG, "No database is set"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int code = run(cases[i].line);

        ck_assert_msg(code == cases[i].code, "%s: %d, %s", cases[i].line, code, err_text);
        says(cases[i].says);
        says("why:");
        says("next:");
    }
    ck_assert_int_eq(run(""), MR_CLI_USAGE);
}
END_TEST

START_TEST(nobody_to_talk_to)
{
    ck_assert_int_eq(run("submit test.noop"), MR_CLI_UNREACHABLE);
    says("millrace dev");
    ck_assert_int_eq(
        run("stats --endpoint ipc:///nonexistent/socket"), MR_CLI_UNREACHABLE);
    says("No broker answers at ipc:///nonexistent/socket");
    ck_assert_int_eq(run("queues --endpoint nonsense"), MR_CLI_USAGE);
    ck_assert_int_eq(
        run("jobs -o json --endpoint ipc:///nonexistent/socket"), MR_CLI_UNREACHABLE);
    ck_assert_ptr_nonnull(strstr(err_text, "{\"error\":{\"code\":106,"));
    ck_assert_str_eq(out_text, "");
}
END_TEST

START_TEST(codes_have_their_exit)
{
    static const struct {
        int code, exit_code;
    } pairs[] = {{0, 0}, {MILLRACE_BUSY, 75}, {MILLRACE_TIMEOUT, 75},
        {MILLRACE_STORE_DOWN, 75}, {MILLRACE_UNREACHABLE, 69}, {MILLRACE_DENIED, 77},
        {MILLRACE_WRONG_VERSION, 78}, {MILLRACE_NO_JOB, 66}, {MILLRACE_CONFLICT, 65},
        {MILLRACE_NO_KIND, 65}, {MILLRACE_TOO_BIG, 65}, {MILLRACE_EXPIRED, 2},
        {MILLRACE_INTERNAL, 70}, {12345, 70}};

    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        ck_assert_int_eq(mr_cli_exit_of(pairs[i].code), pairs[i].exit_code);
    ck_assert_int_eq(mr_cli_exit_of_outcome(MILLRACE_SUCCEEDED), 0);
    ck_assert_int_eq(mr_cli_exit_of_outcome(MILLRACE_FAILED), 1);
    ck_assert_int_eq(mr_cli_exit_of_outcome(MILLRACE_WAS_CANCELLED), 2);
    ck_assert_int_eq(mr_cli_exit_of_outcome(MILLRACE_HAS_EXPIRED), 2);
}
END_TEST

/* ---- Settings --------------------------------------------------------------------------------- */

START_TEST(settings_and_where_they_come_from)
{
    ck_assert_int_eq(run("config show --origin"), MR_CLI_OK);
    ck_assert_ptr_nonnull(strstr(out_text, "endpoint =   # default"));
    ck_assert_ptr_nonnull(strstr(out_text, "timeout_ms = 200  # MILLRACE_TIMEOUT_MS"));
    put("millrace.ini", "[client]\nendpoint = tcp://a:1\n");
    ck_assert_int_eq(run("config show --origin"), MR_CLI_OK);
    ck_assert_ptr_nonnull(strstr(out_text, "endpoint = tcp://a:1  # millrace.ini:2"));
    ck_assert_int_eq(run("config --endpoint=tcp://b:2 show --origin"), MR_CLI_OK);
    ck_assert_ptr_nonnull(strstr(out_text, "endpoint = tcp://b:2  # --endpoint"));
    ck_assert_int_eq(run("config show"), MR_CLI_OK);
    ck_assert_ptr_null(strstr(out_text, "#"));
    ck_assert_int_eq(run("config show -o json"), MR_CLI_OK);
    ck_assert_ptr_nonnull(strstr(out_text,
        "\"endpoint\":{\"value\":\"tcp://a:1\",\"origin\":\"millrace.ini:2\"}"));
    put("millrace.ini", "[client]\nendpont = tcp://a:1\n");
    ck_assert_int_eq(run("config show"), MR_CLI_CONFIG);
    says("millrace.ini:2");
    says("\"endpoint\"");
}
END_TEST

START_TEST(what_dev_wrote_is_read)
{
    ck_assert_int_eq(system("mkdir .millrace"), 0);
    put(".millrace/endpoints.ini",
        "[common]\nendpoint = tcp://127.0.0.1:9\ndatabase = host=/x dbname=y\n");
    ck_assert_int_eq(run("config show --origin"), MR_CLI_OK);
    ck_assert_ptr_nonnull(
        strstr(out_text, "endpoint = tcp://127.0.0.1:9  # .millrace/endpoints.ini:2"));
    ck_assert_ptr_nonnull(strstr(out_text, "database = ***"));
    /* Whoever sets an endpoint is left alone. */
    ck_assert_int_eq(run("config show --origin --endpoint tcp://c:3"), MR_CLI_OK);
    ck_assert_ptr_nonnull(strstr(out_text, "endpoint = tcp://c:3  # --endpoint"));
}
END_TEST

START_TEST(the_sample_can_be_used)
{
    ck_assert_int_eq(run("config sample"), MR_CLI_OK);
    put("millrace.ini", out_text);
    ck_assert_int_eq(run("config show"), MR_CLI_OK);
}
END_TEST

START_TEST(about)
{
    ck_assert_int_eq(run("version"), MR_CLI_OK);
    ck_assert_ptr_nonnull(strstr(out_text, millrace_version()));
    ck_assert_int_eq(run("--version"), MR_CLI_OK);
    ck_assert_int_eq(run("version -ojson"), MR_CLI_OK);
    ck_assert_ptr_nonnull(strstr(out_text, "{\"version\":"));
    ck_assert_int_eq(run("help -o json"), MR_CLI_OK);
    ck_assert_ptr_nonnull(strstr(out_text, "\"name\":\"submit\""));
}
END_TEST

/* ---- Times and lengths -------------------------------------------------------------------------- */

START_TEST(times)
{
    struct mr_err err;
    int64_t ms, us;

    ck_assert_int_eq(mr_cli_parse_duration("250ms", 1000, &ms, &err), MR_OK);
    ck_assert_int_eq(ms, 250);
    ck_assert_int_eq(mr_cli_parse_duration("2h", INT64_MAX, &ms, &err), MR_OK);
    ck_assert_int_eq(ms, 7200000);
    ck_assert_int_eq(mr_cli_parse_duration("1d", 86400000, &ms, &err), MR_OK);
    ck_assert_int_eq(mr_cli_parse_duration("1d", 86399999, &ms, &err), MR_BAD_ARGUMENT);
    /* date -u -d 2026-11-24T01:49:47Z +%s */
    ck_assert_int_eq(mr_cli_parse_time("2026-11-24T01:49:47Z", 0, &us, &err), MR_OK);
    ck_assert_int_eq(us, INT64_C(1795484987000000));
    ck_assert_int_eq(mr_cli_parse_time("2026-11-24T01:49:47.25Z", 0, &us, &err), MR_OK);
    ck_assert_int_eq(us, INT64_C(1795484987250000));
    ck_assert_int_eq(mr_cli_parse_time("+5m", 1000000, &us, &err), MR_OK);
    ck_assert_int_eq(us, 301000000);
    ck_assert_int_eq(mr_cli_parse_time("-1s", 1000000, &us, &err), MR_OK);
    ck_assert_int_eq(us, 0);
    ck_assert_int_ne(mr_cli_parse_time("2026-11-24T01:49:47.Z", 0, &us, &err), MR_OK);
    ck_assert_int_ne(mr_cli_parse_time("2026-13-24T01:49:47Z", 0, &us, &err), MR_OK);
    ck_assert_int_ne(mr_cli_parse_time("+5", 0, &us, &err), MR_OK);
    ck_assert_int_ne(mr_cli_parse_time("", 0, &us, &err), MR_OK);
}
END_TEST

/* ---- Batches that never get as far as a broker ------------------------------------------------------ */

START_TEST(a_bad_line_is_named_and_nothing_is_sent)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"{\"kind\":\"a\"}\n{\"kind\":}\n", "line 2 of jobs.jsonl: line 1, column 9"},
        {"\n\n[]\n", "line 3 of jobs.jsonl"},
        {"{}\n", "which kind"},
        {"{\"kind\":1}\n", "has to be a text"},
        {"{\"kind\":\"a\",\"prioritty\":1}\n", "did you mean \"priority\""},
        {"{\"kind\":\"a\",\"priority\":10}\n", "whole number"},
        {"{\"kind\":\"a\",\"priority\":\"1\"}\n", "whole number"},
        {"{\"kind\":\"a\",\"delay_ms\":-1}\n", "whole number"},
        {"{\"kind\":\"a\",\"run_at\":\"noon\"}\n", "has to be a time"},
        {"{\"kind\":\"a\",\"id\":\"noon\"}\n", "has to be a UUID"},
        {"{\"kind\":\"a\",\"args\":{\"$bin\":\"?\"}}\n", "base64"},
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put("jobs.jsonl", bad[i].text);
        ck_assert_int_eq(run("batch jobs.jsonl"), MR_CLI_DATA);
        says(bad[i].says);
        ck_assert_int_ne(access("jobs.jsonl.millrace-state", F_OK), 0);
    }
    ck_assert_int_eq(run("batch nothing.jsonl"), MR_CLI_NO_INPUT);
    ck_assert_int_eq(run("batch -"), MR_CLI_USAGE);
    put("jobs.jsonl", "{\"kind\":\"a\"}\n");
    ck_assert_int_eq(run("batch jobs.jsonl"), MR_CLI_UNREACHABLE);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("client_cli");
    TCase *cases = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, every_command_is_complete);
    tcase_add_test(cases, the_verbs_that_were_asked_for_are_there);
    tcase_add_test(cases, completion_is_a_script_that_knows_everything);
    tcase_add_test(cases, wrong_use);
    tcase_add_test(cases, nobody_to_talk_to);
    tcase_add_test(cases, codes_have_their_exit);
    tcase_add_test(cases, settings_and_where_they_come_from);
    tcase_add_test(cases, what_dev_wrote_is_read);
    tcase_add_test(cases, the_sample_can_be_used);
    tcase_add_test(cases, about);
    tcase_add_test(cases, times);
    tcase_add_test(cases, a_bad_line_is_named_and_nothing_is_sent);
    suite_add_tcase(suite, cases);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
