/* Ownership and reconnecting, against a real server. */
#include "schemas/sql/store.h"

#include <signal.h>
#include <stdlib.h>

#include "schemas/base/clock.h"
#include "schemas/sql/audit.h"
#include "schemas/sql/migrate.h"
#include "tests/support/pg_fixture.h"

static const struct mr_audit_row entry = {
    .action = {(const uint8_t *)"act", 3}, .is_allowed = true};
static const struct mr_uuid broker_a = {{0xa}}, broker_b = {{0xb}};

static struct mr_store *
open_store(struct mr_uuid broker)
{
    struct mr_store *store = NULL;
    struct mr_err err = {0};

    ck_ok(mr_store_open(&store, pg_fixture_conninfo(), 0, broker, &err), err);
    return store;
}

START_TEST(the_first_claim_is_epoch_1)
{
    struct mr_err err = {0};
    struct mr_store *a;
    struct mr_pg *pg;
    uint64_t epoch = 0;

    pg_fixture_database(true);
    a = open_store(broker_a);
    ck_ok(mr_store_claim(a, "tcp://a:1", 60000, &epoch, &err), err);
    ck_assert_uint_eq(epoch, 1);
    pg = pg_fixture_open("test");
    ck_assert_str_eq(pg_fixture_text(pg, "select owner from millrace.shard"),
        "0a000000-0000-0000-0000-000000000000");
    ck_assert_str_eq(
        pg_fixture_text(pg, "select endpoints from millrace.shard"), "tcp://a:1");
    mr_pg_close(&pg);
    mr_store_close(&a);
}
END_TEST

START_TEST(a_living_owner_is_named)
{
    struct mr_err err = {0};
    struct mr_store *a, *b;
    uint64_t epoch = 0;

    pg_fixture_database(true);
    a = open_store(broker_a);
    b = open_store(broker_b);
    ck_ok(mr_store_claim(a, "tcp://a:1", 60000, &epoch, &err), err);
    ck_status(mr_store_claim(b, "tcp://b:1", 60000, &epoch, &err), MR_BUSY);
    ck_assert_ptr_nonnull(strstr(err.why, "tcp://a:1"));
    ck_ok(mr_store_renew(a, 60000, &err), err);
    mr_store_close(&a);
    mr_store_close(&b);
}
END_TEST

/* Its lock went with its session; the lease that is left is no reason to wait. */
START_TEST(a_vanished_owner_is_followed_at_once)
{
    struct mr_err err = {0};
    struct mr_store *a, *b;
    uint64_t epoch = 0;
    int64_t until_us;

    pg_fixture_database(true);
    a = open_store(broker_a);
    b = open_store(broker_b);
    ck_ok(mr_store_claim(a, "tcp://a:1", 600000, &epoch, &err), err);
    mr_store_close(&a);
    /* The server notices a closed connection in its own time. */
    until_us = mr_clock_now().mono_us + 10000000;
    while (mr_store_claim(b, "tcp://b:1", 60000, &epoch, &err) == MR_BUSY)
        ck_assert(mr_clock_now().mono_us < until_us);
    ck_assert_uint_eq(epoch, 2);
    mr_store_close(&b);
}
END_TEST

/* A frozen owner keeps its lock, but not its lease. What it does afterwards is refused. */
START_TEST(a_frozen_owner_is_fenced)
{
    struct mr_store_op op = pg_fixture_job();
    struct mr_err err = {0};
    const char *const sessions[] = {"test"};
    struct mr_store_batch batch = {.end_sessions = sessions, .end_session_count = 1};
    struct mr_span kind = mr_span_str("k");
    struct mr_store *a, *b;
    struct mr_pg *pg;
    uint64_t epoch = 0;
    bool more;

    pg_fixture_database(true);
    a = open_store(broker_a);
    b = open_store(broker_b);
    ck_ok(mr_store_claim(a, "tcp://a:1", 0, &epoch, &err), err);
    ck_ok(mr_store_claim(b, "tcp://b:1", 60000, &epoch, &err), err);
    ck_assert_uint_eq(epoch, 2);
    ck_status(mr_store_renew(a, 60000, &err), MR_FENCED);
    ck_status(pg_fixture_commit(a, &op, 1, &err), MR_FENCED);
    ck_status(mr_store_take_inbox(a, 10, NULL, NULL, &more, &err), MR_FENCED);
    ck_status(mr_store_keep_house(a, 7, &err), MR_FENCED);
    ck_status(mr_store_set_paused(a, kind, true, &entry, &err), MR_FENCED);
    ck_status(mr_store_add_kinds(a, &kind, 1, &err), MR_FENCED);
    pg = pg_fixture_open("test");
    ck_status(mr_store_commit(a, &batch, &err), MR_FENCED);
    ck_assert_int_eq(pg_fixture_int(pg, "select 1"), 1); /* its session was not ended */
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.queue"), 0);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.kind"), 0);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.job"), 0);
    pg_fixture_must_commit(b, &op, 1);
    ck_status(op.status, MR_OK);
    mr_pg_close(&pg);
    mr_store_close(&a);
    mr_store_close(&b);
}
END_TEST

/* COPY takes the other way to the fence. */
START_TEST(a_large_batch_is_fenced)
{
    enum { COUNT = 300 };
    struct mr_store_op *ops = calloc(COUNT, sizeof *ops);
    struct mr_err err = {0};
    uint64_t epoch;
    struct mr_store *store = pg_fixture_store(&epoch);
    struct mr_pg *pg = pg_fixture_open("test");

    for (int i = 0; i < COUNT; i++)
        ops[i] = pg_fixture_job();
    pg_fixture_int(pg, "update millrace.shard set epoch = epoch + 1 returning 1");
    ck_status(pg_fixture_commit(store, ops, COUNT, &err), MR_FENCED);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.job"), 0);
    free(ops);
    mr_pg_close(&pg);
    mr_store_close(&store);
}
END_TEST

/* While a transaction of the owner is open, the epoch stands still. */
START_TEST(the_fence_holds_until_the_commit)
{
    struct mr_err err = {0};
    uint64_t epoch;
    struct mr_store *store = pg_fixture_store(&epoch);
    struct mr_pg *holder = pg_fixture_open("holder"), *pg = pg_fixture_open("test");

    ck_ok(mr_pg_begin(holder, &err), err);
    pg_fixture_text(holder, "select millrace.fence(0, 1)");
    pg_fixture_text(pg, "set lock_timeout = '50ms'");
    ck_status(
        mr_pg_run(pg, "update millrace.shard set epoch = epoch + 1", 0, NULL, NULL, &err),
        MR_BUSY);
    mr_pg_rollback(holder);
    ck_ok(
        mr_pg_run(pg, "update millrace.shard set epoch = epoch + 1", 0, NULL, NULL, &err),
        err);
    ck_status(
        mr_pg_run(pg, "select millrace.fence(0, 1)", 0, NULL, NULL, &err), MR_FENCED);
    ck_assert_str_eq(mr_pg_sqlstate(pg), "MR001");
    mr_pg_close(&holder);
    mr_pg_close(&pg);
    mr_store_close(&store);
}
END_TEST

START_TEST(a_lost_session_comes_back)
{
    struct mr_store_op op = pg_fixture_job();
    struct mr_err err = {0};
    uint64_t epoch;
    struct mr_store *store = pg_fixture_store(&epoch);
    struct mr_pg *pg = pg_fixture_open("test");

    ck_assert_int_eq(
        pg_fixture_int(pg, "select count(pg_terminate_backend(pid, 5000)) from "
                           "pg_stat_activity where datname = current_database() and "
                           "application_name like 'millrace broker%'"),
        1);
    ck_status(pg_fixture_commit(store, &op, 1, &err), MR_STORE_DOWN);
    ck_status(pg_fixture_commit(store, &op, 1, &err), MR_STORE_DOWN);
    ck_ok(mr_store_reconnect(store, &err), err);
    pg_fixture_must_commit(store, &op, 1);
    ck_status(op.status, MR_OK);
    ck_ok(mr_store_renew(store, 60000, &err), err);
    mr_pg_close(&pg);
    mr_store_close(&store);
}
END_TEST

/* A server of its own: whoever starts one has to be the one that stops it. */
START_TEST(a_server_that_is_away_and_comes_back)
{
    static const char *const settings[] = {"autovacuum=off", NULL};
    struct mr_cluster_options options = {.settings = settings};
    struct mr_store_op op = pg_fixture_job();
    struct mr_cluster *cluster = NULL;
    struct mr_store *store = NULL;
    struct mr_pg *pg = NULL;
    struct mr_err err = {0};
    uint64_t epoch;
    int applied;

    ck_ok(mr_cluster_start(&cluster, &options, &err), err);
    ck_ok(mr_pg_open(&pg, mr_cluster_conninfo(cluster), "test", &err), err);
    ck_ok(mr_migrate(pg, "millrace", &applied, &err), err);
    ck_ok(mr_store_open(&store, mr_cluster_conninfo(cluster), 0, broker_a, &err), err);
    ck_ok(mr_store_claim(store, "tcp://a:1", 60000, &epoch, &err), err);
    pg_fixture_must_commit(store, &op, 1);
    /* As if the power failed: what was acknowledged is there afterwards. */
    mr_cluster_halt(cluster, SIGQUIT);
    ck_status(pg_fixture_commit(store, &op, 1, &err), MR_STORE_DOWN);
    ck_status(mr_store_reconnect(store, &err), MR_STORE_DOWN);
    ck_assert_str_ne(err.todo, "");
    ck_ok(mr_cluster_resume(cluster, &err), err);
    ck_ok(mr_store_reconnect(store, &err), err);
    pg_fixture_must_commit(store, &op, 1);
    ck_status(op.status, MR_KNOWN);
    mr_pg_close(&pg);
    mr_store_close(&store);
    mr_cluster_stop(&cluster);
}
END_TEST

START_TEST(a_missing_schema_is_said)
{
    struct mr_store *store = NULL;
    struct mr_err err = {0};

    pg_fixture_database(false);
    ck_status(
        mr_store_open(&store, pg_fixture_conninfo(), 0, broker_a, &err), MR_VERSION);
    ck_assert_ptr_null(store);
    ck_assert_ptr_nonnull(strstr(err.todo, "millrace migrate"));
}
END_TEST

static bool
collect(void *context, struct mr_span name)
{
    char *text = context;

    strncat(text, (const char *)name.p, name.n);
    strcat(text, " ");
    return true;
}

static bool
collect_queue(void *context, struct mr_span name, bool is_paused)
{
    strcat(context, is_paused ? "!" : "");
    return collect(context, name);
}

START_TEST(kinds_and_queues_are_kept)
{
    const struct mr_span kinds[] = {
        mr_span_str("b.two"), mr_span_str("a.one"), mr_span_str("b.two")};
    struct mr_err err = {0};
    uint64_t epoch;
    struct mr_store *store = pg_fixture_store(&epoch);
    struct mr_pg *pg;
    char text[256] = "";

    ck_ok(mr_store_add_kinds(store, kinds, 3, &err), err);
    ck_ok(mr_store_add_kinds(store, kinds, 1, &err), err);
    ck_ok(mr_store_kinds(store, collect, text, &err), err);
    ck_assert_str_eq(text, "a.one b.two ");
    text[0] = '\0';
    ck_ok(mr_store_set_paused(store, mr_span_str("mail"), true, &entry, &err), err);
    ck_ok(mr_store_set_paused(store, mr_span_str("video"), true, &entry, &err), err);
    ck_ok(mr_store_set_paused(store, mr_span_str("video"), false, &entry, &err), err);
    ck_ok(mr_store_queues(store, collect_queue, text, &err), err);
    ck_assert_str_eq(text, "!mail video ");
    pg = pg_fixture_open("test");
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.audit"), 3);
    pg_fixture_text(pg, "update millrace.shard set epoch = epoch + 1");
    ck_status(
        mr_store_set_paused(store, mr_span_str("mail"), false, &entry, &err), MR_FENCED);
    pg_fixture_text(pg, "update millrace.shard set epoch = epoch - 1");
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.audit"), 3);
    mr_pg_close(&pg);
    ck_status(mr_store_set_paused(store, mr_span("a\0b", 3), true, &entry, &err),
        MR_BAD_ARGUMENT);
    ck_status(
        mr_store_set_paused(store, MR_SPAN_NONE, true, &entry, &err), MR_BAD_ARGUMENT);
    mr_store_close(&store);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("sql/store");
    TCase *tcase = tcase_create("store");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, the_first_claim_is_epoch_1);
    tcase_add_test(tcase, a_living_owner_is_named);
    tcase_add_test(tcase, a_vanished_owner_is_followed_at_once);
    tcase_add_test(tcase, a_frozen_owner_is_fenced);
    tcase_add_test(tcase, a_large_batch_is_fenced);
    tcase_add_test(tcase, the_fence_holds_until_the_commit);
    tcase_add_test(tcase, a_lost_session_comes_back);
    tcase_add_test(tcase, a_server_that_is_away_and_comes_back);
    tcase_add_test(tcase, a_missing_schema_is_said);
    tcase_add_test(tcase, kinds_and_queues_are_kept);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
