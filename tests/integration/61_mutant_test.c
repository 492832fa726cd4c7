/* What is released carries no mutant: neither the switch nor a name. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/rig.h"

#define NAMES_MAX 64

static char *bytes;
static size_t n;

static void
load(const char *name)
{
    FILE *file = fopen(rig_program(name), "rb");
    long size;

    ck_assert_msg(file, "%s is not there", name);
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    size = ftell(file);
    rewind(file);
    n = (size_t)size;
    bytes = malloc(n);
    ck_assert(bytes && fread(bytes, 1, n, file) == n);
    fclose(file);
}

static bool
has(const char *word)
{
    return memmem(bytes, n, word, strlen(word)) != NULL;
}

/* The first column of the list. */
static int
names(char list[NAMES_MAX][64])
{
    FILE *file = fopen("tests/chaos/mutants.list", "r");
    char line[512];
    int count = 0;

    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof line, file))
        if (line[0] != '#' && sscanf(line, "%63s", list[count]) == 1)
            ck_assert_int_lt(++count, NAMES_MAX);
    fclose(file);
    return count;
}

static const struct {
    const char *name, *known; /* a word that it does hold: the search finds something */
} programs[] = {{"millrace-broker", "STORE_DOWN"}, {"millrace-worker", "STORE_DOWN"},
    {"millrace", "STORE_DOWN"}, {"libmillrace.so", "STORE_DOWN"}};

START_TEST(no_release_carries_a_mutant)
{
    char list[NAMES_MAX][64];
    int count = names(list);

    load(programs[_i].name);
    ck_assert(has(programs[_i].known));
    ck_assert(!has("MILLRACE_MUTANT"));
    ck_assert_int_ge(count, 15);
    for (int i = 0; i < count; i++)
        ck_assert_msg(!has(list[i]), "%s carries %s", programs[_i].name, list[i]);
    free(bytes);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("mutant");
    TCase *tc = tcase_create("release");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(
        tc, no_release_carries_a_mutant, 0, sizeof programs / sizeof programs[0]);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
