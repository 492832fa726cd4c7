/*
 * A real PostgreSQL for the tests of a program: one private cluster, and for each test a fresh
 * database with the schema in it. Failing to get one fails the test, with the reason.
 */
#ifndef MR_TESTS_SUPPORT_PG_FIXTURE_H
#define MR_TESTS_SUPPORT_PG_FIXTURE_H

#include <check.h>

#include "client/cluster.h"
#include "schemas/base/arena.h"
#include "schemas/sql/finish.h"
#include "schemas/sql/pg.h"
#include "schemas/sql/store.h"

/* Start the cluster, run the suite, stop the cluster; returns main's exit code. `settings` as
 * of mr_cluster_options, NULL: only what makes tests fast. */
int pg_fixture_run(Suite *suite, const char *const *settings);

struct mr_cluster *pg_fixture_cluster(void);

/* Connection string of a new database; with_schema: migrated. Lives until the next call. */
const char *pg_fixture_database(bool with_schema);

/* Connection string of the database made last. */
const char *pg_fixture_conninfo(void);

struct mr_pg *pg_fixture_open(const char *application_name);

/* Must succeed; the first value of the first row as a number (0: none or null). */
int64_t pg_fixture_int(struct mr_pg *pg, const char *sql);
/* As text, terminated, in static memory; "" for null. */
const char *pg_fixture_text(struct mr_pg *pg, const char *sql);

/* An owned store of a fresh database, shard 0, lease 60 s. */
struct mr_store *pg_fixture_store(uint64_t *epoch);

/* A job to be stored: default queue, kind test.noop, payload "\x01", a new id. */
struct mr_store_op pg_fixture_job(void);

/* Commit `ops`; spans found live until the next call. */
enum mr_status pg_fixture_commit(
    struct mr_store *store, struct mr_store_op *ops, uint32_t count, struct mr_err *err);
/* ... which must succeed. */
void pg_fixture_must_commit(
    struct mr_store *store, struct mr_store_op *ops, uint32_t count);

#define ck_ok(call, err)                                                                 \
    do {                                                                                 \
        enum mr_status got_ = (call);                                                    \
        ck_assert_msg(got_ == MR_OK, "%s: %s: %s: %s", #call, mr_status_name(got_),      \
            (err).what, (err).why);                                                      \
    } while (0)

#define ck_status(got, wanted)                                                           \
    do {                                                                                 \
        enum mr_status got_ = (got);                                                     \
        ck_assert_msg(got_ == (wanted), "%s is %s, not %s", #got, mr_status_name(got_),  \
            mr_status_name(wanted));                                                     \
    } while (0)

/* From its return on commits wait for a standby of that name, which does not exist; or, "", they do no
 * longer. That a session sees the setting says nothing: it is the checkpointer who makes commits
 * wait, when it gets to it. So a commit has to show it. */
void pg_fixture_standby(struct mr_pg *pg, const char *name);
/* A process that ends the first session whose commit waits so, and itself. To be waited for. */
pid_t pg_fixture_cutter(void);

#endif
