/*
 * Between the files of the checker. What was read from files and worked out in C lies in temporary
 * tables, beside the committed ones:
 *
 *     seen     a line of a history; `invoked` is the seq of the line that began the call
 *     begun    a handler's start (what = S) or end (E)
 *     crash    processes that a poison job ended, and when it began
 *     fault    what the driver did
 *     counter  what the driver collected from logs
 *     told     what the payload of a job asks for, and what its result says
 */
#ifndef MR_CHAOS_CHECK_PRIV_H
#define MR_CHAOS_CHECK_PRIV_H

#include "tests/chaos/check.h"

enum mr_status mr_chaos_load(struct mr_pg *pg, const char *folder, struct mr_err *err);
enum mr_status mr_chaos_tell(struct mr_pg *pg, struct mr_err *err);

/* A question lists what was looked at: (id, problem, note); problem is null if nothing is wrong,
 * else a category in words. */
struct mr_chaos_sql {
    const char *name, *rule, *query;
};

extern const struct mr_chaos_sql mr_chaos_sql_all[];
extern const uint32_t mr_chaos_sql_count;

/* All that is known about job $1: (line). */
extern const char mr_chaos_story_sql[];

/* Adds the figures, then the rows that judge them (C11). */
enum mr_status mr_chaos_measure(struct mr_pg *pg, enum mr_chaos_profile profile,
    struct mr_chaos_report *report, struct mr_err *err);

struct mr_chaos_row *mr_chaos_row_add(
    struct mr_chaos_report *report, const char *name, const char *rule);

#endif
