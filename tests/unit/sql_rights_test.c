/*
 * Principals, keys and grants on a real server: what the tables refuse whoever writes them, what
 * administrators' functions say, and how a broker hears of a change.
 */
#include "schemas/sql/principal.h"
#include "schemas/sql/store.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/pg_fixture.h"

#define KEY_A "0123456789abcdefghijABCDEFGHIJ.-:+=^!/*?"
#define KEY_B "&<>()[]{}@%$#0123456789abcdefghijABCDEFG"

static struct mr_pg *pg;
static struct mr_err err;

static void
set_up(void)
{
    pg_fixture_database(true);
    pg = pg_fixture_open("test");
}

static void
tear_down(void)
{
    mr_pg_close(&pg);
}

static void
must(const char *sql)
{
    ck_ok(mr_pg_run(pg, sql, 0, NULL, NULL, &err), err);
}

/* ---- what the tables refuse ------------------------------------------------------------------------ */

static const char *const refused[] = {
    "insert into millrace.principal (name) values ('')",
    "insert into millrace.principal (name) values ('a b')",
    "insert into millrace.principal (name) values (repeat('x', 65))",
    "insert into millrace.principal (name) values ('local')",
    "insert into millrace.principal (name, jobs_per_s) values ('x', 0)",
    "insert into millrace.principal (name, waiting_max) values ('x', -1)",
    "update millrace.principal set name = 'q' where name = 'p'",
    "update millrace.principal set number = 7 where name = 'p'",
    "delete from millrace.principal where name = 'anyone'",
    "insert into millrace.principal_key values ('short', 'p')",
    "insert into millrace.principal_key values (repeat('~', 40), 'p')",
    "insert into millrace.principal_key values (repeat('a', 41), 'p')",
    "insert into millrace.principal_key values (repeat('a', 40), 'nobody')",
    "insert into millrace.principal_key values (repeat('a', 40), 'local')",
    "insert into millrace.principal_key values (repeat('a', 40), 'anyone')",
    "insert into millrace.principal_key values ('" KEY_A "', 'anyone')",
    "update millrace.principal_key set principal = 'other'",
    "update millrace.principal_key set key = repeat('a', 40)",
    "delete from millrace.principal_key",
    "insert into millrace.principal_grant (principal, role) values ('p', 'king')",
    "insert into millrace.principal_grant (principal, action) values ('p', 'reign')",
    "insert into millrace.principal_grant (principal) values ('p')",
    "insert into millrace.principal_grant (principal, role, action) values ('p', "
    "'worker', "
    "'run')",
    "insert into millrace.principal_grant (principal, role, queue) values ('p', "
    "'worker', "
    "'a*b')",
    "insert into millrace.principal_grant (principal, role, queue) values ('p', "
    "'worker', "
    "'**')",
    "insert into millrace.principal_grant (principal, role, queue) values ('p', "
    "'worker', "
    "'')",
    "insert into millrace.principal_grant (principal, role, kind) values ('p', 'worker', "
    "'a b')",
    "insert into millrace.principal_grant (principal, role, scope) values ('p', "
    "'worker', "
    "'any')",
    "insert into millrace.principal_grant (principal, action, scope) values ('p', 'run', "
    "'any')",
    "insert into millrace.principal_grant (principal, action) values ('p', 'watch')",
    "insert into millrace.principal_grant (principal, action, is_denied, scope) values "
    "('p', 'watch', true, 'any')",
    "insert into millrace.principal_grant (principal, role, queue) values ('p', "
    "'administrator', 'q')",
    "insert into millrace.principal_grant (principal, action, kind) values ('p', "
    "'administer', 'k')",
    "insert into millrace.principal_grant (principal, role) values ('nobody', 'worker')",
    "insert into millrace.principal_grant (principal, role) values ('local', 'worker')",
};

START_TEST(what_cannot_be_is_refused)
{
    must("insert into millrace.principal (name) values ('p'), ('other')");
    must("insert into millrace.principal_key (key, principal) values ('" KEY_A "', 'p')");
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        ck_assert_msg(mr_pg_run(pg, refused[i], 0, NULL, NULL, &err) == MR_BAD_ARGUMENT,
            "%s: %s", refused[i], err.why);
}
END_TEST

/* ---- functions ---------------------------------------------------------------------------------------- */

static enum mr_status
change(enum mr_principal_verb verb, const char *name, enum mr_principal_field field,
    const char *value)
{
    struct mr_principal_change what = {.verb = verb};
    char text[MR_PRINCIPAL_TEXT_BYTES];

    what.fields[field] = value;
    what.fields[MR_PRINCIPAL_NAME] = name;
    return mr_principal_change(pg, &what, text, &err);
}

START_TEST(keys_come_and_go)
{
    ck_status(change(MR_PRINCIPAL_ADD, "p", MR_PRINCIPAL_KEY, KEY_A), MR_OK);
    ck_status(change(MR_PRINCIPAL_ADD, "p", MR_PRINCIPAL_NAME, "p"), MR_BAD_ARGUMENT);
    ck_status(change(MR_PRINCIPAL_ADD, "q", MR_PRINCIPAL_KEY, KEY_A), MR_BAD_ARGUMENT);
    ck_assert_int_eq(
        pg_fixture_int(pg, "select count(*) from millrace.principal where name = 'q'"),
        0);
    ck_status(change(MR_PRINCIPAL_ROTATE, "p", MR_PRINCIPAL_KEY, KEY_B), MR_OK);
    ck_status(change(MR_PRINCIPAL_ROTATE, "p", MR_PRINCIPAL_KEY, KEY_B), MR_OK);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.principal_key "
                                        "where principal = 'p' and revoked_at is null"),
        2);
    ck_status(change(MR_PRINCIPAL_RETIRE, "p", MR_PRINCIPAL_NAME, "p"), MR_OK);
    ck_assert_str_eq(pg_fixture_text(pg, "select key from millrace.principal_key "
                                         "where principal = 'p' and revoked_at is null"),
        KEY_B);
    /* What was retired opens nothing again. */
    ck_status(change(MR_PRINCIPAL_ROTATE, "p", MR_PRINCIPAL_KEY, KEY_A), MR_BAD_ARGUMENT);
    ck_status(change(MR_PRINCIPAL_ROTATE, "q", MR_PRINCIPAL_KEY, KEY_A), MR_NOT_FOUND);
    ck_status(change(MR_PRINCIPAL_ROTATE, "p", MR_PRINCIPAL_NAME, "p"), MR_BAD_ARGUMENT);
}
END_TEST

START_TEST(limits_are_set_and_taken_away)
{
    ck_status(change(MR_PRINCIPAL_ADD, "p", MR_PRINCIPAL_NAME, "p"), MR_OK);
    ck_status(change(MR_PRINCIPAL_LIMIT, "p", MR_PRINCIPAL_WAITING_MAX, "7"), MR_OK);
    ck_status(change(MR_PRINCIPAL_LIMIT, "p", MR_PRINCIPAL_JOBS_PER_S, "5"), MR_OK);
    ck_assert_int_eq(pg_fixture_int(pg, "select waiting_max * 10 + jobs_per_s from "
                                        "millrace.principal where name = 'p'"),
        75);
    ck_status(change(MR_PRINCIPAL_LIMIT, "p", MR_PRINCIPAL_WAITING_MAX, "0"), MR_OK);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.principal "
                                        "where name = 'p' and waiting_max is null"),
        1);
    ck_status(
        change(MR_PRINCIPAL_LIMIT, "p", MR_PRINCIPAL_JOBS_PER_S, "-1"), MR_BAD_ARGUMENT);
    ck_status(change(MR_PRINCIPAL_LIMIT, "p", MR_PRINCIPAL_JOBS_PER_S, "many"),
        MR_BAD_ARGUMENT);
    ck_status(
        change(MR_PRINCIPAL_LIMIT, "q", MR_PRINCIPAL_JOBS_PER_S, "1"), MR_NOT_FOUND);
}
END_TEST

/* ---- hearing of it -------------------------------------------------------------------------------------- */

static struct mr_store *
open_store(void)
{
    struct mr_store *store;
    uint64_t epoch;

    ck_ok(mr_store_open(&store, pg_fixture_conninfo(), 0, (struct mr_uuid){{1}}, &err),
        err);
    ck_ok(mr_store_claim(store, "tcp://a:1", 60000, &epoch, &err), err);
    return store;
}

static bool
count_row(void *context, const struct mr_rights_row *row)
{
    int *counts = context;

    counts[row->type]++;
    return true;
}

static void
wait_until_moved(struct mr_store *store)
{
    for (int i = 0; !mr_store_rights_moved(store); i++) {
        struct pollfd fd = {.fd = mr_store_fd(store), .events = POLLIN};

        ck_assert_int_lt(i, 100);
        ck_assert_int_ge(poll(&fd, 1, 20000), 1);
    }
}

START_TEST(a_change_is_heard)
{
    struct mr_store *store = open_store();
    int counts[3] = {0};

    ck_assert(mr_store_rights_moved(store)); /* never read yet */
    ck_ok(mr_store_rights(store, count_row, counts, &err), err);
    ck_assert_int_eq(counts[MR_ROW_PRINCIPAL], 2);
    ck_assert_int_eq(counts[MR_ROW_KEY], 0);
    ck_assert_int_eq(counts[MR_ROW_GRANT], 7);
    ck_assert(!mr_store_rights_moved(store));
    must("insert into millrace.principal (name) values ('p')");
    wait_until_moved(store);
    memset(counts, 0, sizeof counts);
    ck_ok(mr_store_rights(store, count_row, counts, &err), err);
    ck_assert_int_eq(counts[MR_ROW_PRINCIPAL], 3);
    must("update millrace.principal set revoked_at = now() where name = 'local'");
    wait_until_moved(store);
    mr_store_close(&store);
}
END_TEST

/* The notification got lost: the version tells. */
START_TEST(a_change_that_was_not_heard_shows_with_the_next_renewal)
{
    struct mr_store *store = open_store();
    int counts[3] = {0};

    ck_ok(mr_store_rights(store, count_row, counts, &err), err);
    must("update millrace.rights set version = version + 1");
    ck_assert(!mr_store_rights_moved(store));
    ck_ok(mr_store_renew(store, 60000, &err), err);
    ck_assert(mr_store_rights_moved(store));
    ck_ok(mr_store_rights(store, count_row, counts, &err), err);
    ck_ok(mr_store_renew(store, 60000, &err), err);
    ck_assert(!mr_store_rights_moved(store));
    mr_store_close(&store);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("sql/rights");
    TCase *tcase = tcase_create("rights");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, what_cannot_be_is_refused);
    tcase_add_test(tcase, keys_come_and_go);
    tcase_add_test(tcase, limits_are_set_and_taken_away);
    tcase_add_test(tcase, a_change_is_heard);
    tcase_add_test(tcase, a_change_that_was_not_heard_shows_with_the_next_renewal);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
