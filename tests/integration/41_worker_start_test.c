/*
 * What a worker is given at its start and cannot use: files of kinds that are none, maps that
 * are none. Each is named with its place, its cause and what to do.
 */
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

static struct rig rig;
static char file[128];

static void
set_up(void)
{
    rig_open(&rig);
    snprintf(file, sizeof file, "%s/input", rig.folder);
}

static void
tear_down(void)
{
    (void)unlink(file);
    rig_close(&rig);
}

static void
write_file(const char *text)
{
    FILE *out = fopen(file, "w");

    ck_assert_ptr_nonnull(out);
    ck_assert_int_ge(fputs(text, out), 0);
    ck_assert_int_eq(fclose(out), 0);
}

/* ---- kinds ------------------------------------------------------------------------------------ */

/* It ends at once, and says these words. */
static void
refuse_load(const char *path, const char *again, const char *word, const char *other)
{
    const char *argv[] = {rig_program("millrace-worker"), "--endpoint",
        "tcp://127.0.0.1:9", "--database", rig.conninfo, "--load", path,
        again ? "--load" : NULL, again, NULL};
    char text[16384];
    int code = rig_run(&rig, argv, text, sizeof text);

    ck_assert_msg(code == EX_CONFIG, "%s: exit code %d: %s", path, code, text);
    ck_assert_msg(strstr(text, word) != NULL, "\"%s\" is not in: %s", word, text);
    ck_assert_msg(strstr(text, other) != NULL, "\"%s\" is not in: %s", other, text);
}

START_TEST(files_that_hold_no_kinds)
{
    const char *hello = rig_program("tests/loadable/hello.so");

    refuse_load(hello, hello, "demo.hello is there already", "another name");
    refuse_load("/nonexistent/mine.so", NULL, "/nonexistent/mine.so", "cc -shared");
    refuse_load("mine.so", NULL, "has no slash", "./mine.so");
    write_file("no shared object\n");
    refuse_load(file, NULL, file, "could not be loaded");
    refuse_load(
        rig_program("libmillrace.so"), NULL, "does not export", "millrace_worker.h");
    refuse_load(rig_program("tests/loadable/later.so"), NULL, "version 4 of the API",
        "Build it again");
}
END_TEST

/* ---- maps ------------------------------------------------------------------------------------- */

/* In what the programs have said; written before the worker was ready. */
static void
expect_said(const char *const *words)
{
    static char text[65536];
    FILE *in = fopen(rig.output, "r");
    size_t n;

    ck_assert_ptr_nonnull(in);
    n = fread(text, 1, sizeof text - 1, in);
    text[n] = '\0';
    fclose(in);
    for (int i = 0; words[i]; i++)
        ck_assert_msg(
            strstr(text, words[i]) != NULL, "\"%s\" is not in: %s", words[i], text);
}

/* The kinds that need the map are not offered; the others are. */
static void
start_with_map(const char *path)
{
    struct millrace_job job;
    struct millrace *mr;

    rig_broker(&rig, NULL);
    rig_worker(&rig, 0, 1, (const char *const[]){"--map", path, NULL});
    mr = rig_client(&rig);
    millrace_job_init(&job, "route.plan");
    ck_assert_int_eq(rig_verdict(mr, &job), MILLRACE_NO_KIND);
    rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
    millrace_close(mr);
}

START_TEST(a_map_that_is_missing)
{
    start_with_map("/nonexistent/city.net.xml");
    expect_said((const char *const[]){
        "kind_off kind=route.plan", "/nonexistent/city.net.xml", "No such file", NULL});
}
END_TEST

START_TEST(a_map_that_is_broken)
{
    write_file("<?xml version=\"1.0\"?>\n<net>\n  <edge id=\"a\">\n</net>\n");
    start_with_map(file);
    expect_said((const char *const[]){
        "kind_off kind=route.plan", file, "line 4", "mismatched tag", NULL});
}
END_TEST

START_TEST(a_map_that_is_empty)
{
    write_file("<net>\n</net>\n");
    start_with_map(file);
    expect_said((const char *const[]){"kind_off kind=route.plan", file, "no edge", NULL});
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("worker start");
    TCase *tcase = tcase_create("worker start");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, files_that_hold_no_kinds);
    tcase_add_test(tcase, a_map_that_is_missing);
    tcase_add_test(tcase, a_map_that_is_broken);
    tcase_add_test(tcase, a_map_that_is_empty);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
