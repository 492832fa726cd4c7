/* Batches whose file is not what it looks like: nothing of them is submitted. */
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define JOB "{\"kind\":\"test.noop\"}\n"
#define JOBS "select count(*) from millrace.job"

static struct rig rig;
static char file[128], state[160];

static void
set_up(void)
{
    rig_open(&rig);
    snprintf(file, sizeof file, "%s/jobs.jsonl", rig.folder);
    snprintf(state, sizeof state, "%s.millrace-state", file);
    rig_broker(&rig, NULL);
    rig_worker(&rig, 0, 1, NULL);
}

static void
tear_down(void)
{
    (void)unlink(file);
    (void)unlink(state);
    rig_close(&rig);
}

static void
batch(int code, const char *path, const char *word)
{
    const char *argv[] = {
        rig_program("millrace"), "batch", path, "--endpoint", rig.front, NULL};
    char text[8192];
    int got = rig_run(&rig, argv, text, sizeof text);

    ck_assert_msg(got == code, "exit code %d: %s", got, text);
    ck_assert_msg(strstr(text, word) != NULL, "\"%s\" is not in: %s", word, text);
}

static void
write_bytes(const char *bytes, size_t n)
{
    FILE *out = fopen(file, "w");

    ck_assert_ptr_nonnull(out);
    ck_assert_uint_eq(fwrite(bytes, 1, n, out), n);
    ck_assert_int_eq(fclose(out), 0);
}

/* A text that ends early must not hide what stands behind it. */
START_TEST(zero_bytes)
{
    static const char first[] = JOB "\0" JOB,
                      inside[] = JOB "{\"kind\":\"test.noop\"}\0x\n";

    write_bytes(first, sizeof first - 1);
    batch(EX_DATAERR, file, "line 2 of");
    write_bytes(inside, sizeof inside - 1);
    batch(EX_DATAERR, file, "line 2 of");
    ck_assert_int_eq(rig_int(&rig, JOBS), 0);
    ck_assert_int_ne(access(state, F_OK), 0);
}
END_TEST

START_TEST(last_line_without_an_end)
{
    write_bytes(JOB JOB, 2 * (sizeof JOB - 1) - 1);
    batch(EX_OK, file, "\"line\":2");
    ck_assert_int_eq(rig_int(&rig, JOBS), 2);
}
END_TEST

/* It could be read once only. */
START_TEST(no_regular_file)
{
    batch(EX_USAGE, "/dev/null", "no regular file");
    batch(EX_USAGE, rig.folder, "no regular file");
    ck_assert_int_eq(rig_int(&rig, JOBS), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("batch");
    TCase *tcase = tcase_create("batch");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, zero_bytes);
    tcase_add_test(tcase, last_line_without_an_end);
    tcase_add_test(tcase, no_regular_file);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
