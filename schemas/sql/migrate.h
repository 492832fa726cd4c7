/*
 * The schema and its versions. Numbered forward-only SQL files are compiled in; a set is
 * "millrace" (the queue itself) or the tables of one pack of kinds ("ride"). To change the
 * schema: add a file with the next number, never edit one that was released, raise
 * the version that programs require. Main threads only.
 */
#ifndef MR_SQL_MIGRATE_H
#define MR_SQL_MIGRATE_H

#include "schemas/base/status.h"
#include "schemas/base/uuid.h"
#include "schemas/sql/pg.h"

/* Apply what is missing of a set, each file in its own transaction, under an advisory lock so
 * that two at a time are safe. *applied: how many files. Also makes the partitions of
 * yesterday to `days_ahead` days from now. A file whose text differs from the one that was
 * applied gives MR_VERSION. */
enum mr_status mr_migrate(
    struct mr_pg *pg, const char *set, int *applied, struct mr_err *err) MR_MUST_CHECK;

/* MR_OK if the database has exactly the version that this build needs; MR_VERSION with "run
 * millrace migrate" (too old) or "install the newer millrace" (too new). */
enum mr_status mr_migrate_check(struct mr_pg *pg, struct mr_err *err) MR_MUST_CHECK;

/* Partitions: make those of the coming days, drop those whose jobs are all finished and older
 * than `retention_days` (a few stragglers are moved on into a partition of their own, never
 * dropped). *made, *dropped count daily partitions. Called by the broker's writer once an
 * hour and by `millrace migrate`. */
enum mr_status mr_partitions_keep(struct mr_pg *pg, int days_ahead, int retention_days,
    int *made, int *dropped, struct mr_err *err) MR_MUST_CHECK;

#endif
