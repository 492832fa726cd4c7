/*
 * The flagship's checker. It believes nothing that the programs say of themselves: it reads the
 * committed tables, the payment provider's own log and the map, all at one snapshot, and
 * compares in both directions. No rows is a failure. Call it after draining. One thread.
 */
#ifndef MR_FLAGSHIP_CHECK_H
#define MR_FLAGSHIP_CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "schemas/base/status.h"
#include "schemas/sql/pg.h"
#include "worker/road/road.h"

#define MR_CHECK_ROWS_MAX 24
#define MR_CHECK_UNKNOWN INT64_C(-1)

/* Rides whose request key begins with the prefix, and what they must add up to
 * (MR_CHECK_UNKNOWN: not known for this map). */
struct mr_check_phase {
    const char *name, *key_prefix;
    int64_t rides;
    int64_t route_ms, route_cm, fare_cents;
};

struct mr_check_input {
    struct mr_pg *pg; /* no transaction open */
    const struct mr_road *road;
    const char *provider_log; /* path */
    const struct mr_check_phase *phases;
    uint32_t phase_count; /* at most 4 */
};

struct mr_check_row {
    char name[32];
    char rule[80];    /* what must hold */
    int64_t examined; /* 0 is a failure */
    int64_t damage;
    char worst[256]; /* an example, "" without damage */
    bool held;
};

struct mr_check_report {
    struct mr_check_row rows[MR_CHECK_ROWS_MAX];
    uint32_t count;
    bool held; /* all of them */

    int64_t rides_done, double_assigned, charged_twice;
    int64_t ledger_cents;                   /* sum of all entries: 0 */
    int64_t route_ms, route_cm, fare_cents; /* of all done rides */
    int64_t expected_ms, expected_cm,
        expected_cents; /* of all phases, or MR_CHECK_UNKNOWN */
    double p50_ms,
        p99_ms;        /* from when a job could start (submitted, or due) to its result */
    double jobs_per_s; /* from the first submit to the last result of the last phase */
};

/* MR_OK: the report is filled, report->held is the verdict. Others: it could not be made (database
 * gone, log unreadable), which is no pass. */
enum mr_status mr_check_run(const struct mr_check_input *input,
    struct mr_check_report *report, struct mr_err *err) MR_MUST_CHECK;

/* The table for people. */
void mr_check_print(const struct mr_check_report *report, FILE *out);

#endif
