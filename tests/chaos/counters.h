/*
 * What the programs say of themselves: the broker's stats, sampled as long as it answers and summed
 * over its lives (what it counted between the last sample and a kill is missing), and the lines in
 * the logs of PostgreSQL and of the workers. counters.log holds them: "name value".
 */
#ifndef MR_CHAOS_COUNTERS_H
#define MR_CHAOS_COUNTERS_H

#include <stdbool.h>
#include <stdint.h>

#include "client/millrace.h"
#include "tests/chaos/crew.h"

#define MR_COUNTERS_STATS 10

struct mr_counters_book {
    struct millrace *mr;
    int64_t sums[MR_COUNTERS_STATS], last[MR_COUNTERS_STATS];
    pid_t pid; /* of the broker that `last` is of */
    int64_t next_us;
};

enum mr_status mr_counters_open(struct mr_counters_book *book, const struct mr_crew *crew,
    struct mr_err *err) MR_MUST_CHECK;
void mr_counters_close(struct mr_counters_book *book);

/* A sample, when it is time for one. */
void mr_counters_turn(struct mr_counters_book *book, struct mr_crew *crew);
/* The sum of a figure of the broker's, 0 for a name that is none. */
int64_t mr_counters_sum(const struct mr_counters_book *book, const char *name);

/* Reads the logs and writes counters.log. */
enum mr_status mr_counters_write(const struct mr_counters_book *book,
    const struct mr_crew *crew, struct mr_err *err) MR_MUST_CHECK;

#endif
