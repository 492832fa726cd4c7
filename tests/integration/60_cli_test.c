/*
 * What people touch, as they touch it: `millrace dev` with a real PostgreSQL, broker and worker,
 * and the commands against it, each as a process of its own.
 */
#include <check.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/proc.h"
#include "schemas/base/clock.h"

#define DEADLINE_MS 60000
#define LINES 400
/* What the library takes from the environment, as `dev` wrote it down. */
#define KEYS                                                                             \
    "export MILLRACE_KEY_FILE=$(sed -n 's/key_file = //p' data/endpoints.ini) "          \
    "MILLRACE_SERVER_KEY=$(sed -n 's/server_key = //p' data/endpoints.ini); "

static char folder[64], program[4096], example[4096];
static struct mr_proc dev;
static struct mr_err err;
static char text[65536];

static void
at(char path[128], const char *name)
{
    snprintf(path, 128, "%s/%s", folder, name);
}

static const char *
read_file(const char *name)
{
    char path[128];
    FILE *file;
    size_t n;

    at(path, name);
    file = fopen(path, "r");
    n = file ? fread(text, 1, sizeof text - 1, file) : 0;
    text[n] = '\0';
    if (file)
        fclose(file);
    return text;
}

static void
write_file(const char *name, const char *content)
{
    char path[128];
    FILE *file;

    at(path, name);
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(content, file);
    fclose(file);
}

static void
spawn(struct mr_proc *proc, const char *output, const char *const *argv)
{
    char path[128];
    struct mr_proc_spec spec = {
        .argv = argv, .directory = folder, .output = path, .death_signal = SIGTERM};

    at(path, output);
    (void)unlink(path);
    ck_assert_msg(mr_proc_start(proc, &spec, &err) == MR_OK, "%s %s", argv[0], err.why);
}

/* Runs a line of the shell in our folder, $0 is the command, $1 the example; its exit code.
 * What it says is in `text`. */
static int
sh(const char *line)
{
    const char *const argv[] = {"/bin/bash", "-c", line, program, example, NULL};
    struct mr_proc proc;

    spawn(&proc, "out", argv);
    ck_assert_msg(mr_proc_wait(&proc, DEADLINE_MS), "%s takes too long", line);
    (void)read_file("out");
    return mr_proc_exit_code(&proc);
}

static void
runs(int code, const char *line)
{
    int got = sh(line);

    ck_assert_msg(got == code, "%s: %d, not %d: %s", line, got, code, text);
}

static void
shows(const char *wanted)
{
    ck_assert_msg(strstr(text, wanted) != NULL, "\"%s\" is not in: %s", wanted, text);
}

static void
wait_for_text(const char *file, const char *wanted)
{
    int64_t end_us = mr_clock_now().mono_us + DEADLINE_MS * INT64_C(1000);

    while (!strstr(read_file(file), wanted)) {
        ck_assert_msg(mr_clock_now().mono_us < end_us, "no \"%s\" in: %s", wanted, text);
        ck_assert_msg(mr_proc_is_alive(&dev), "dev has ended: %s", read_file(file));
        (void)mr_proc_wait(&dev, 20);
    }
}

/* How many processes have both words on their command line; each is sent the signal (0: none). */
static int
processes(const char *word, const char *other, int signal)
{
    DIR *all = opendir("/proc");
    struct dirent *entry;
    int count = 0;

    ck_assert_ptr_nonnull(all);
    while ((entry = readdir(all))) {
        char path[300], line[4096];
        FILE *file;
        size_t n;

        snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        file = atoi(entry->d_name) > 1 ? fopen(path, "r") : NULL;
        if (!file)
            continue;
        n = fread(line, 1, sizeof line - 1, file);
        fclose(file);
        for (size_t i = 0; i < n; i++)
            line[i] = line[i] ? line[i] : ' ';
        line[n] = '\0';
        if (!strstr(line, word) || !strstr(line, other))
            continue;
        count++;
        if (signal)
            (void)kill(atoi(entry->d_name), signal);
    }
    closedir(all);
    return count;
}

static void
start_dev(void)
{
    const char *const argv[] = {program, "dev", "--threads", "4", "--data", "data", NULL};

    spawn(&dev, "dev.out", argv);
    wait_for_text("dev.out", "ready ");
    runs(0, "mkdir -p .millrace && cp data/endpoints.ini .millrace/");
}

static void
set_up(void)
{
    strcpy(folder, "/tmp/millrace-it-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chmod(folder, 0755), 0);
    ck_assert_int_eq(mr_proc_find("millrace", program, sizeof program, &err), MR_OK);
    snprintf(example, sizeof example, "%.4000s", program);
    strcpy(strrchr(example, '/'), "/tests/examples/frontend");
    unsetenv("MILLRACE_ENDPOINT");
    unsetenv("MILLRACE_CONFIG");
    start_dev();
}

static void
tear_down(void)
{
    const char *const argv[] = {"rm", "-rf", folder, NULL};
    struct mr_proc_spec spec = {.argv = argv};

    (void)mr_proc_stop(&dev, SIGTERM, DEADLINE_MS);
    ck_assert_int_eq(mr_proc_run(&spec, DEADLINE_MS, &err), MR_OK);
}

START_TEST(one_job)
{
    runs(0, "$0 submit test.noop --wait");
    runs(0, "$0 submit test.sleep '{\"ms\":1}' --wait -o json");
    shows("\"outcome\":\"succeeded\"");
    runs(0, "echo '{\"ms\":1}' | $0 submit test.sleep - --wait");
    runs(0, "echo '{\"ms\":1}' > a.json; $0 submit test.sleep @a.json --wait");
    runs(1, "$0 submit test.fail '{\"for_good\":true}' --wait");
    shows("failed after attempt 1");
    runs(65, "$0 submit test.nop");
    shows("Did you mean \"test.noop\"?");
    runs(65, "$0 submit test.noop --id 0198c0de-0000-7000-8000-000000000001");
    shows("past");
    runs(2, "$0 submit test.noop --expires -1s --wait");
    runs(66, "$0 wait 0198c0de-0000-7000-8000-000000000001");
    runs(66, "$0 show 0198c0de-0000-7000-8000-000000000001");
    runs(75,
        "id=$($0 submit test.sleep '{\"ms\":60000}'); $0 wait $id --for 50ms; rc=$?; "
        "$0 cancel $id; exit $rc");
    /* The same id again is the same job; another body is refused. */
    runs(0, "id=$($0 submit test.noop '{\"n\":1}'); $0 wait $id && "
            "$0 submit test.noop '{\"n\":1}' --id $id -o json");
    shows("\"status\":\"finished\"");
    runs(65, "id=$($0 submit test.noop '{\"n\":1}'); $0 submit test.noop '{\"n\":2}' "
             "--id $id");
    shows("why:");
}
END_TEST

START_TEST(lists_and_levers)
{
    runs(0,
        "$0 pause night; $0 submit test.noop --queue night > id; $0 explain $(cat id)");
    shows("pause");
    runs(0, "$0 usage -o json");
    shows("\"principal\":\"dev\"");
    runs(0, "$0 queues -o json");
    shows("\"name\":\"night\",\"is_paused\":true");
    runs(0, "$0 show $(cat id)");
    shows("test.noop");
    runs(0, "$0 cancel $(cat id)");
    runs(2, "$0 wait $(cat id)");
    shows("was cancelled");
    runs(0, "$0 submit test.noop --queue night > id; $0 resume night; $0 wait $(cat id)");
    runs(65, "$0 cancel $(cat id)");
    runs(0, "$0 jobs --queue night --state succeeded -o json");
    shows("\"state\":\"succeeded\"");
    ck_assert_ptr_null(strstr(text, "\"cancelled\""));
    runs(0, "$0 jobs --since -1h");
    shows("submitted_at");
    runs(0, "$0 kinds");
    shows("test.noop");
    runs(0, "$0 workers");
    shows("worker-1");
    runs(0, "$0 stats -o json");
    shows("\"is_store_up\":true");
    runs(0, "$0 migrate");
    shows("up to date");
    runs(75, "$0 migrate --database 'host=/nonexistent dbname=x user=y'");
}
END_TEST

/* The sum of a list's numbers of that name in `text`, all elements; with `name` of one only. */
static long long
sum_of(const char *list, const char *name, const char *number)
{
    char key[64];
    const char *at, *end;
    long long sum = 0;

    snprintf(key, sizeof key, "\"%s\":[", list);
    at = strstr(text, key);
    ck_assert_msg(at != NULL, "no %s in: %s", key, text);
    end = strchr(at, ']');
    if (name) {
        snprintf(key, sizeof key, "\"%s\"", name);
        at = strstr(at, key);
        ck_assert_msg(at && at < end, "no %s in: %s", key, text);
        end = strchr(at, '}');
    }
    snprintf(key, sizeof key, "\"%s\":", number);
    while ((at = strstr(at, key)) != NULL && at < end) {
        at += strlen(key);
        sum += strtoll(at, NULL, 10);
    }
    return sum;
}

static long long
number_of(const char *number)
{
    char key[64];
    const char *at;

    snprintf(key, sizeof key, "\"%s\":", number);
    at = strstr(text, key);
    ck_assert_msg(at != NULL, "no %s in: %s", key, text);
    return strtoll(at + strlen(key), NULL, 10);
}

START_TEST(the_loop_says_where_its_time_goes)
{
    static const char *const phases[] = {
        "receive", "decode", "schedule", "encode", "send", "wait"};
    static const char *const received[] = {"HELLO", "SUBMIT", "DONE", "CREDIT"};
    static const char *const sent[] = {"WELCOME", "ACK", "JOBS", "EVENT"};
    long long times[6], in[4], out[4], us, cpu_us, commit_us, commits;

    runs(0, "$0 submit test.noop --wait && $0 stats -o json");
    for (int i = 0; i < 6; i++)
        times[i] = sum_of("phases", phases[i], "times");
    for (int i = 0; i < 4; i++) {
        in[i] = sum_of("verbs", received[i], "received");
        out[i] = sum_of("verbs", sent[i], "sent");
    }
    us = sum_of("phases", NULL, "us");
    cpu_us = number_of("loop_cpu_us");
    commit_us = number_of("commit_us");
    commits = sum_of("commits", NULL, "commits");
    ck_assert_int_eq(commits, number_of("batches"));
    ck_assert_int_eq(sum_of("verbs", NULL, "received"), number_of("received"));
    runs(0, "$0 submit test.noop --wait && $0 stats -o json");
    for (int i = 0; i < 6; i++)
        ck_assert_int_gt(sum_of("phases", phases[i], "times"), times[i]);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_gt(sum_of("verbs", received[i], "received"), in[i]);
        ck_assert_int_gt(sum_of("verbs", sent[i], "sent"), out[i]);
    }
    ck_assert_int_gt(sum_of("phases", NULL, "us"), us);
    ck_assert_int_gt(number_of("loop_cpu_us"), cpu_us);
    ck_assert_int_gt(number_of("commit_us"), commit_us);
    ck_assert_int_gt(sum_of("commits", NULL, "commits"), commits);
    runs(0, "$0 stats");
    shows("rows_min");
    shows("schedule");
    shows("SUBMIT");
}
END_TEST

static void
write_lines(void)
{
    char path[128];
    FILE *file;

    at(path, "jobs.jsonl");
    file = fopen(path, "w");
    for (int i = 0; i < LINES; i++)
        fprintf(file, "{\"kind\":\"test.sleep\",\"args\":{\"ms\":5}}\n");
    fclose(file);
}

/* Killed half way and run again: every line has one job, and every job one result. */
START_TEST(a_batch_that_is_killed)
{
    const char *const argv[] = {program, "batch", "jobs.jsonl", NULL};
    struct mr_proc batch;
    char path[128];

    write_lines();
    spawn(&batch, "first.out", argv);
    at(path, "first.out");
    ck_assert_int_eq(mr_proc_wait_file(&batch, path, DEADLINE_MS, &err), MR_OK);
    (void)mr_proc_stop(&batch, SIGKILL, 0);
    runs(0, "$0 batch jobs.jsonl 2> second.err > second; wc -l < second");
    ck_assert_int_eq(atoi(text), LINES);
    runs(0, "$0 batch jobs.jsonl 2> third.err | sort > third; sort second | cmp - third");
    runs(0, "cut -d'\"' -f4 third | sort -u | wc -l");
    ck_assert_int_eq(atoi(text), LINES);
    runs(0, "$0 jobs --kind test.sleep --limit 1000 -o json | grep -o '\"id\"' | wc -l");
    ck_assert_int_eq(atoi(text), LINES);
    /* Another input under the same state. */
    runs(65, "echo '{\"kind\":\"test.noop\"}' >> jobs.jsonl; $0 batch jobs.jsonl");
    shows("has changed");
    runs(0, "$0 batch --again jobs.jsonl | wc -l");
    ck_assert_int_eq(atoi(text), LINES + 1);
    write_file("mixed.jsonl", "{\"kind\":\"test.noop\"}\n"
                              "{\"kind\":\"test.fail\",\"args\":{\"for_good\":true}}\n");
    runs(1, "$0 batch mixed.jsonl");
    write_file("mixed.jsonl", "{\"kind\":\"test.noop\"}\n{\"kind\":\"no.such\"}\n");
    runs(65, "$0 batch --again mixed.jsonl");
    shows("\"outcome\":\"refused\"");
    shows("\"outcome\":\"succeeded\"");
}
END_TEST

START_TEST(the_example_front_end)
{
    runs(0, KEYS "$1 $(sed -n 's/endpoint = //p' data/endpoints.ini) | sort | uniq -c");
    ck_assert_int_eq(atoi(text), 10);
    shows("succeeded");
    runs(1, KEYS "$1 $(sed -n 's/endpoint = //p' data/endpoints.ini) no.such.kind");
}
END_TEST

/* What is made can be shown, a secret never; nothing is written over. And `dev` has its own, which
 * nobody else may read, and which are those of commands in its folder and of nobody else. */
START_TEST(keys)
{
    runs(0, "$0 key new web1");
    shows("web1.pub");
    runs(0, "stat -c %a web1.key web1.pub | tr '\\n' ' '");
    shows("600 644");
    runs(0, "[ \"$($0 key show web1.key)\" = \"$($0 key show web1.pub)\" ]");
    runs(0, "! $0 key show web1.key -o json | grep -qF -- \"$(sed -n "
            "'s/^secret-key = \"\\(.*\\)\"$/\\1/p' web1.key)\"");
    runs(65, "$0 key new web1");
    shows("never written over");
    runs(64, "$0 key new ../web2");
    runs(66, "$0 key show nothing.key");
    runs(0, "chmod 644 web1.key");
    runs(77, "$0 key show web1.key");
    shows("others than its owner");
    runs(64, "$0 key forge web1");
    runs(0, "stat -c %a data/keys data/keys/dev.key data/keys/broker.key | tr '\\n' ' '");
    shows("700 600 600");
    runs(0, "$0 stats | grep is_encrypted");
    shows("yes");
    /* Whoever of the two hangs up first decides what the other one knows. */
    runs(0, "$0 --endpoint $(sed -n 's/endpoint = //p' data/endpoints.ini) queues; c=$?; "
            "[ $c = 77 ] || [ $c = 69 ]");
    shows("key");
    runs(0, "chmod 600 web1.key");
    runs(77, "$0 --endpoint $(sed -n 's/endpoint = //p' data/endpoints.ini) --key-file "
             "web1.key --server-key data/keys/broker.pub queues");
    shows("does not know");
}
END_TEST

/* A child that dies is started again; a job that waits sees nothing of it. */
START_TEST(dev_looks_after_its_children)
{
    runs(0, "$0 pause night; $0 submit test.noop --queue night > id");
    ck_assert_int_eq(processes("millrace-broker ", folder, SIGKILL), 1);
    wait_for_text("dev.out", "broker has died");
    runs(0, "$0 resume night --timeout-ms 30000 || $0 resume night; $0 wait $(cat id)");
    ck_assert_int_eq(processes("millrace-worker ", folder, SIGKILL), 1);
    wait_for_text("dev.out", "worker-1 has died");
    runs(0, "$0 submit test.noop --wait");
    runs(0, "kill -9 $(head -1 data/pg/postmaster.pid)");
    wait_for_text("dev.out", "PostgreSQL has died");
    runs(0, "$0 submit test.noop --wait");
}
END_TEST

START_TEST(a_second_dev_is_refused)
{
    runs(75, "$0 dev --data data");
    shows("Another \"millrace dev\"");
    runs(0, "$0 submit test.noop --wait");
}
END_TEST

/* Stopped or killed: nothing is left running, and it starts again on the same data. */
START_TEST(nothing_is_left)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGKILL};
    int64_t end_us;

    runs(0, "$0 submit test.noop '{\"n\":7}' > id; $0 wait $(cat id)");
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        mr_proc_signal(&dev, signals[i]);
        ck_assert(mr_proc_wait(&dev, DEADLINE_MS));
        ck_assert_int_eq(
            mr_proc_exit_code(&dev), signals[i] == SIGKILL ? 128 + SIGKILL : 0);
        end_us = mr_clock_now().mono_us + DEADLINE_MS * INT64_C(1000);
        while (processes(folder, "/data", 0) > 0)
            ck_assert_msg(mr_clock_now().mono_us < end_us, "something still runs");
        start_dev();
    }
    runs(0, "$0 show $(cat id)");
    shows("succeeded");
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("60_cli");
    TCase *cases = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 300);
    tcase_add_test(cases, one_job);
    tcase_add_test(cases, lists_and_levers);
    tcase_add_test(cases, the_loop_says_where_its_time_goes);
    tcase_add_test(cases, a_batch_that_is_killed);
    tcase_add_test(cases, the_example_front_end);
    tcase_add_test(cases, keys);
    tcase_add_test(cases, dev_looks_after_its_children);
    tcase_add_test(cases, a_second_dev_is_refused);
    tcase_add_test(cases, nothing_is_left);
    suite_add_tcase(suite, cases);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
