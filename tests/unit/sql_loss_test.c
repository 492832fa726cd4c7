/* What the database says of attempts that were lost or crashed. */
#include "schemas/sql/store.h"
#include "tests/support/pg_fixture.h"

#include <stdio.h>
#include <string.h>

static struct mr_store *store;
static struct mr_pg *pg;
static char losses[256];
static uint32_t found_count;

static void
setup(void)
{
    store = pg_fixture_store(NULL);
    pg = pg_fixture_open("test");
    found_count = 0;
}

static void
teardown(void)
{
    mr_pg_close(&pg);
    mr_store_close(&store);
}

static bool
on_found(void *context, const struct mr_found *found)
{
    (void)context;
    found_count++;
    snprintf(losses, sizeof losses, "%.*s", (int)found->losses.n,
        found->losses.n ? (const char *)found->losses.p : "");
    return true;
}

static const char *
losses_of(struct mr_uuid id)
{
    struct mr_err err = {0};

    ck_ok(mr_store_find(store, &id, 1, on_found, NULL, &err), err);
    return losses;
}

static struct mr_store_op
attempt_of(struct mr_uuid id, uint32_t attempt, enum mr_attempt_outcome outcome)
{
    return (struct mr_store_op){.type = MR_STORE_ATTEMPT,
        .id = id,
        .attempt = attempt,
        .attempt_outcome = outcome,
        .worker = mr_span_str(attempt % 2 ? "w1" : "w2"),
        .started_at_us = INT64_C(1645557741000000)};
}

START_TEST(losses_are_told_in_order_with_their_workers)
{
    struct mr_store_op ops[6] = {pg_fixture_job()};
    struct mr_uuid id = ops[0].id;

    ops[1] = attempt_of(id, 11, MR_ATTEMPT_CRASHED);
    ops[2] = attempt_of(id, 2, MR_ATTEMPT_LOST);
    ops[3] = attempt_of(id, 3, MR_ATTEMPT_FAILED);
    ops[4] = attempt_of(id, 4, MR_ATTEMPT_LOST);
    ops[4].started_at_us = 0; /* only queued */
    ops[5] = attempt_of(id, 5, MR_ATTEMPT_LOST);
    ops[5].worker = MR_SPAN_NONE;
    pg_fixture_must_commit(store, ops, 1);
    ck_assert_str_eq(losses_of(id), "");
    pg_fixture_must_commit(store, ops + 1, 5);
    ck_assert_str_eq(
        losses_of(id), "attempt 2 lost on w2, attempt 5 lost, attempt 11 crashed on w1");
}
END_TEST

START_TEST(of_what_is_finished_they_are_not_told)
{
    struct mr_store_op ops[3] = {pg_fixture_job()};
    struct mr_uuid id = ops[0].id;

    ops[1] = attempt_of(id, 1, MR_ATTEMPT_LOST);
    ops[2] = (struct mr_store_op){
        .type = MR_STORE_RESULT, .id = id, .attempt = 1, .outcome = MR_FAILED};
    pg_fixture_must_commit(store, ops, 3);
    ck_assert_str_eq(losses_of(id), "");
    ck_assert_uint_eq(found_count, 1);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("sql/loss");
    TCase *tcase = tcase_create("loss");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, losses_are_told_in_order_with_their_workers);
    tcase_add_test(tcase, of_what_is_finished_they_are_not_told);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
