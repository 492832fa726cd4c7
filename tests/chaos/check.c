/*
 * check FOLDER CONNINFO [--profile ci|long|mutant]: judges a run. Exit code: 0 every check held,
 * 1 damage, 2 no verdict.
 */
#include "tests/chaos/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HELD, DAMAGE, NO_VERDICT };

static const char *const profile_names[MR_CHAOS_PROFILES] = {
    [MR_CHAOS_MUTANT] = "mutant", [MR_CHAOS_LONG] = "long", [MR_CHAOS_CI] = "ci"};

static int
say(const struct mr_err *err)
{
    fprintf(stderr, "There is no verdict: %s: %s %s\n", err->what, err->why, err->todo);
    return NO_VERDICT;
}

static bool
read_profile(int argc, char **argv, enum mr_chaos_profile *profile)
{
    *profile = MR_CHAOS_CI;
    if (argc == 3)
        return true;
    if (argc != 5 || strcmp(argv[3], "--profile") != 0)
        return false;
    for (*profile = 0; *profile < MR_CHAOS_PROFILES; ++*profile)
        if (strcmp(argv[4], profile_names[*profile]) == 0)
            return true;
    return false;
}

int
main(int argc, char **argv)
{
    struct mr_chaos_report *report = calloc(1, sizeof *report);
    enum mr_chaos_profile profile;
    struct mr_err err = {0};
    struct mr_pg *pg = NULL;
    int code;

    if (!report || !read_profile(argc, argv, &profile)) {
        fprintf(stderr, "usage: check FOLDER CONNINFO [--profile ci|long|mutant]\n");
        return NO_VERDICT;
    }
    if (mr_pg_open(&pg, argv[2], "millrace chaos check", &err) ||
        mr_chaos_check(pg, argv[1], profile, report, &err) ||
        mr_chaos_summary(report, argv[1], &err)) {
        code = say(&err);
    } else {
        mr_chaos_print(report, stdout);
        code = report->held ? HELD : DAMAGE;
    }
    mr_pg_close(&pg);
    free(report);
    return code;
}
