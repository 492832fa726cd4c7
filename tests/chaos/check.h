/*
 * The checker of the chaos rig. It believes nothing that the programs say of themselves: it reads
 * what clients wrote (history.h), what handlers wrote when they began and ended, what the driver
 * did, and the committed tables; all at one snapshot, in both directions. Nothing to look at is a
 * failure. Call it after heal and drain. One thread. The checks are listed in README.md.
 */
#ifndef MR_CHAOS_CHECK_H
#define MR_CHAOS_CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "schemas/base/status.h"
#include "schemas/sql/pg.h"

#define MR_CHAOS_ROWS_MAX 32
#define MR_CHAOS_FIGURES_MAX 128
#define MR_CHAOS_STORY_BYTES_MAX 16384

/* What a run must have seen to count as a test (C11). */
enum mr_chaos_profile {
    MR_CHAOS_MUTANT, /* short: jobs of some kinds, whatever the faults */
    MR_CHAOS_LONG,   /* one seed of many: each class of fault */
    MR_CHAOS_CI,     /* the figures that hold for a run on its own */
    MR_CHAOS_PROFILES
};

struct mr_chaos_row {
    const char *name, *rule; /* C1 ends; what must hold */
    int64_t examined;        /* 0 is a failure */
    int64_t damage;
    char kinds[400]; /* "lost 3, without an end 1" */
    char worst[400]; /* the first one, "" without damage */
    char worst_id[40];
    char story[MR_CHAOS_STORY_BYTES_MAX]; /* all that is known about it, line by line */
    bool held;
};

struct mr_chaos_figure {
    char name[48];
    double value;
};

struct mr_chaos_report {
    struct mr_chaos_row rows[MR_CHAOS_ROWS_MAX];
    uint32_t count;
    struct mr_chaos_figure figures[MR_CHAOS_FIGURES_MAX];
    uint32_t figure_count;
    bool held; /* all of them */
};

/* To be run in the database before the first broker starts: keeps a record of which broker, under
 * which epoch, wrote when (C6). */
enum mr_status mr_chaos_watch(struct mr_pg *pg, struct mr_err *err) MR_MUST_CHECK;

/* MR_OK: the report is filled, report->held is the verdict. Others: there is no verdict (database
 * gone, a file that cannot be read), which is no pass. `pg` has no transaction open. */
enum mr_status mr_chaos_check(struct mr_pg *pg, const char *folder,
    enum mr_chaos_profile profile, struct mr_chaos_report *report,
    struct mr_err *err) MR_MUST_CHECK;

/* The table for people. */
void mr_chaos_print(const struct mr_chaos_report *report, FILE *out);

/* FOLDER/summary: `name value` lines, to be summed over runs. */
enum mr_status mr_chaos_summary(const struct mr_chaos_report *report, const char *folder,
    struct mr_err *err) MR_MUST_CHECK;

#endif
