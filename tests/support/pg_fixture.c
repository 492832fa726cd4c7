#include "tests/support/pg_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "schemas/base/clock.h"
#include "schemas/sql/migrate.h"

#define ARENA_BYTES (64u * 1024 * 1024)

static const char *const fast[] = {"fsync=off", "autovacuum=off", NULL};

static struct mr_cluster *cluster;
static char conninfo[512];
static struct mr_arena *arena;

static enum mr_status
open_to(const char *database, const char *name, struct mr_pg **out, struct mr_err *err)
{
    snprintf(conninfo, sizeof conninfo, "%s dbname=%s", mr_cluster_conninfo(cluster),
        database);
    return mr_pg_open(out, conninfo, name, err);
}

/* Databases with the schema are copies of this one. */
static enum mr_status
make_template(struct mr_err *err)
{
    struct mr_pg *pg = NULL;
    enum mr_status status = open_to("postgres", "fixture", &pg, err);
    int applied = 0;

    if (status == MR_OK)
        status = mr_pg_run(pg, "create database fixture", 0, NULL, NULL, err);
    if (pg)
        mr_pg_close(&pg);
    if (status == MR_OK)
        status = open_to("fixture", "fixture", &pg, err);
    if (status == MR_OK)
        status = mr_migrate(pg, "millrace", &applied, err);
    if (pg)
        mr_pg_close(&pg);
    return status;
}

int
pg_fixture_run(Suite *suite, const char *const *settings)
{
    struct mr_cluster_options options = {.settings = settings ? settings : fast};
    struct mr_err err = {0};
    SRunner *runner = srunner_create(suite);
    int failed;

    if (mr_cluster_start(&cluster, &options, &err) != MR_OK ||
        make_template(&err) != MR_OK) {
        fprintf(stderr, "no PostgreSQL to test with: %s: %s\n%s\n", err.what, err.why,
            err.todo);
        mr_cluster_stop(&cluster);
        srunner_free(runner);
        return 1;
    }
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    mr_arena_destroy(&arena);
    mr_cluster_stop(&cluster);
    return failed != 0;
}

struct mr_cluster *
pg_fixture_cluster(void)
{
    return cluster;
}

const char *
pg_fixture_database(bool with_schema)
{
    static unsigned number;
    struct mr_err err = {0};
    struct mr_pg *pg = NULL;
    char name[64], sql[128];

    /* Tests run in processes of their own, one after another. */
    snprintf(name, sizeof name, "t%ld_%u", (long)getpid(), ++number);
    snprintf(sql, sizeof sql, "create database %s template %s", name,
        with_schema ? "fixture" : "template0");
    ck_ok(open_to("postgres", "fixture", &pg, &err), err);
    ck_ok(mr_pg_run(pg, sql, 0, NULL, NULL, &err), err);
    mr_pg_close(&pg);
    snprintf(
        conninfo, sizeof conninfo, "%s dbname=%s", mr_cluster_conninfo(cluster), name);
    return conninfo;
}

const char *
pg_fixture_conninfo(void)
{
    return conninfo;
}

struct mr_pg *
pg_fixture_open(const char *application_name)
{
    struct mr_err err = {0};
    struct mr_pg *pg = NULL;

    ck_ok(mr_pg_open(&pg, conninfo, application_name, &err), err);
    return pg;
}

const char *
pg_fixture_text(struct mr_pg *pg, const char *sql)
{
    static char text[4096];
    struct pg_result *result = NULL;
    struct mr_err err = {0};

    ck_assert_msg(
        mr_pg_run(pg, sql, 0, NULL, &result, &err) == MR_OK, "%s: %s", sql, err.why);
    text[0] = '\0';
    if (mr_pg_rows(result) > 0 && mr_pg_text(result, 0, 0))
        snprintf(text, sizeof text, "%s", mr_pg_text(result, 0, 0));
    mr_pg_free_result(&result);
    return text;
}

int64_t
pg_fixture_int(struct mr_pg *pg, const char *sql)
{
    return strtoll(pg_fixture_text(pg, sql), NULL, 10);
}

struct mr_store *
pg_fixture_store(uint64_t *epoch)
{
    struct mr_store *store = NULL;
    struct mr_err err = {0};
    uint64_t local;

    ck_ok(mr_store_open(&store, pg_fixture_database(true), 0,
              mr_uuid_new(mr_clock_now().wall_us), &err),
        err);
    ck_ok(mr_store_claim(store, "tcp://127.0.0.1:1", 60000, epoch ? epoch : &local, &err),
        err);
    return store;
}

struct mr_store_op
pg_fixture_job(void)
{
    struct mr_now now = mr_clock_now();
    struct mr_uuid id = mr_uuid_new(now.wall_us);

    return (struct mr_store_op){
        .type = MR_STORE_JOB,
        .id = id,
        .job = {.id = id,
            .queue = mr_span_str(MR_QUEUE_DEFAULT),
            .kind = mr_span_str("test.noop"),
            .payload = mr_span("\x01", 1),
            .priority = MR_PRIORITY_DEFAULT},
        .submitted_by = mr_span_str("a test"),
        .submitted_at_us = now.wall_us,
        .status = MR_INTERNAL,
    };
}

enum mr_status
pg_fixture_commit(
    struct mr_store *store, struct mr_store_op *ops, uint32_t count, struct mr_err *err)
{
    struct mr_store_batch batch = {.ops = ops, .count = count};

    if (!arena)
        ck_assert_int_eq(mr_arena_new(&arena, ARENA_BYTES), MR_OK);
    mr_arena_reset(arena);
    batch.arena = arena;
    return mr_store_commit(store, &batch, err);
}

void
pg_fixture_must_commit(struct mr_store *store, struct mr_store_op *ops, uint32_t count)
{
    struct mr_err err = {0};

    ck_ok(pg_fixture_commit(store, ops, count, &err), err);
}

/* ---- commits that are cut ------------------------------------------------------------------- */

#define COMMIT "select pg_logical_emit_message(true, 'test', '')"

/* Also in a process beside the test's, where check's macros would spoil the test's messages. */
static void
cut_a_commit(struct mr_pg *pg)
{
    struct pg_result *result = NULL;
    struct mr_err err = {0};
    long cut = 0;

    while (
        cut == 0 && mr_pg_run(pg,
                        "select count(pg_terminate_backend(pid)) from pg_stat_activity "
                        "where wait_event = 'SyncRep'",
                        0, NULL, &result, &err) == MR_OK) {
        cut = strtol(mr_pg_text(result, 0, 0), NULL, 10);
        mr_pg_free_result(&result);
    }
}

static void
commit_until_cut(struct mr_pg *pg)
{
    struct mr_err err = {0};

    while (mr_pg_run(pg, COMMIT, 0, NULL, NULL, &err) == MR_OK)
        ;
}

static pid_t
start(void (*run)(struct mr_pg *pg))
{
    struct mr_pg *pg = NULL;
    struct mr_err err = {0};
    pid_t child = fork();

    if (child == 0) {
        if (mr_pg_open(&pg, conninfo, "beside", &err) == MR_OK)
            run(pg);
        _exit(0);
    }
    ck_assert_int_gt(child, 0);
    return child;
}

pid_t
pg_fixture_cutter(void)
{
    return start(cut_a_commit);
}

void
pg_fixture_standby(struct mr_pg *pg, const char *name)
{
    char sql[128];
    pid_t committer;

    snprintf(sql, sizeof sql, "alter system set synchronous_standby_names = '%s'", name);
    pg_fixture_text(pg, sql);
    pg_fixture_text(pg, "select pg_reload_conf()");
    if (name[0] == '\0') {
        pg_fixture_text(pg, COMMIT);
        return;
    }
    committer = start(commit_until_cut);
    cut_a_commit(pg);
    ck_assert_int_eq(waitpid(committer, NULL, 0), committer);
}
