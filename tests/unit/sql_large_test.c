/* What a commit does with many jobs, by COPY where it can be, against a real server. */
#include "schemas/sql/store.h"

#include <stdio.h>
#include <stdlib.h>

#include "schemas/base/clock.h"
#include "tests/support/pg_fixture.h"
#include "tests/support/pg_proxy.h"

#define LARGE 1000

static struct mr_store *store;
static struct mr_pg *pg;

static void
setup(void)
{
    store = pg_fixture_store(NULL);
    pg = pg_fixture_open("test");
}

static void
teardown(void)
{
    mr_pg_close(&pg);
    mr_store_close(&store);
}

static struct mr_store_op
attempt_of(struct mr_uuid id, uint32_t attempt)
{
    return (struct mr_store_op){
        .type = MR_STORE_ATTEMPT,
        .id = id,
        .attempt = attempt,
        .attempt_outcome = MR_ATTEMPT_FAILED,
        .text = mr_span_str("no"),
        .worker = mr_span_str("w1"),
        .started_at_us = INT64_C(1645557742000000),
        .finished_at_us = INT64_C(1645557742250000),
        .retry_at_us = INT64_C(1645557743000000),
    };
}

static struct mr_store_op
result_of(struct mr_uuid id, enum mr_outcome outcome)
{
    return (struct mr_store_op){
        .type = MR_STORE_RESULT,
        .id = id,
        .attempt = 3,
        .outcome = outcome,
        .text = mr_span_str("gave up"),
        .finished_at_us = INT64_C(1645557742250000),
    };
}

static struct mr_store_op *
make_jobs(int count)
{
    struct mr_store_op *ops = calloc((size_t)count, sizeof *ops);

    for (int i = 0; i < count; i++)
        ops[i] = pg_fixture_job();
    return ops;
}

START_TEST(a_large_batch_and_its_repeat)
{
    struct mr_store_op *ops = make_jobs(LARGE);

    ops[1].job.redrive_of = ops[0].id;
    pg_fixture_must_commit(store, ops, LARGE);
    for (int i = 0; i < LARGE; i++)
        ck_status(ops[i].status, MR_OK);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.job n join "
                                        "millrace.job o on o.id = n.redrive_of"),
        1);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.job"), LARGE);
    pg_fixture_must_commit(store, ops, LARGE);
    for (int i = 0; i < LARGE; i++)
        ck_status(ops[i].status, MR_KNOWN);
    free(ops);
}
END_TEST

/* One known id among many new ones, not marked: COPY fails, the other way decides. */
START_TEST(a_large_batch_with_one_known_id)
{
    struct mr_store_op *ops = make_jobs(LARGE);

    pg_fixture_must_commit(store, &ops[17], 1);
    ops[18] = ops[17];
    ops[18].job.payload = mr_span("\x05", 1);
    pg_fixture_must_commit(store, ops, LARGE);
    for (int i = 0; i < LARGE; i++)
        ck_status(ops[i].status, i == 17 ? MR_KNOWN : i == 18 ? MR_CONFLICT : MR_OK);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.job"), LARGE - 1);
    free(ops);
}
END_TEST

static const int counts[] = {1, 31, 32, 33, 250, 4096};

START_TEST(any_number_is_stored)
{
    int count = counts[_i];
    struct mr_store_op *ops = make_jobs(count);

    for (int i = 0; i < count; i++)
        ops[i].job.timeout_ms = (uint32_t)i + 1;
    ops[0].job.payload = MR_SPAN_NONE;
    ops[count / 2].job.payload = mr_span("\0\377\377", 3);
    pg_fixture_must_commit(store, ops, (uint32_t)count);
    for (int i = 0; i < count; i++)
        ck_status(ops[i].status, MR_OK);
    ck_assert_int_eq(
        pg_fixture_int(pg,
            "select count(distinct timeout_ms) from millrace.job where kind = "
            "'test.noop' and queue = 'default' and submitted_by = 'a test' and "
            "num_nulls(lane, run_at, expires_at, attempts_max, backoff_base_ms, "
            "backoff_cap_ms, backoff_factor_percent, backoff_jitter_percent, trace, "
            "redrive_of) = 10"),
        count);
    free(ops);
}
END_TEST

/* Beside jobs by COPY, what else there is; and a mark that has to be lowered. */
START_TEST(a_large_batch_of_everything)
{
    struct mr_store_op *ops = make_jobs(LARGE + 3);
    struct mr_err err = {0};

    ck_ok(mr_store_keep_house(store, 7, &err), err);
    ops[5].id = ops[5].job.id = mr_uuid_new(INT64_C(1645557742000000));
    ops[LARGE] = attempt_of(ops[7].id, 1);
    ops[LARGE + 1] = result_of(ops[7].id, MR_FAILED);
    ops[LARGE + 2] = result_of(ops[7].id, MR_OUT_EXPIRED);
    pg_fixture_must_commit(store, ops, LARGE + 3);
    for (int i = 0; i < LARGE + 2; i++)
        ck_status(ops[i].status, MR_OK);
    ck_status(ops[LARGE + 2].status, MR_FINISHED);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.job"), LARGE);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.attempt"), 1);
    ck_assert_int_eq(pg_fixture_int(pg, "select outcome from millrace.result"), 2);
    ck_assert_int_eq(
        pg_fixture_int(pg, "select millrace.id_ms(low_water) from millrace.shard"),
        INT64_C(1645557742000));
    free(ops);
}
END_TEST

/* Nothing of it is stored, by whichever way. */
START_TEST(a_batch_of_a_lost_shard_is_fenced)
{
    struct mr_store_op *ops = make_jobs(LARGE);
    struct mr_err err = {0};
    uint32_t count = _i ? LARGE : 1;

    pg_fixture_text(pg, "update millrace.shard set epoch = epoch + 1");
    ck_status(pg_fixture_commit(store, ops, count, &err), MR_FENCED);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.job"), 0);
    pg_fixture_text(pg, "update millrace.shard set epoch = epoch - 1");
    pg_fixture_must_commit(store, ops, count); /* the connection is as good as new */
    ck_status(ops[0].status, MR_OK);
    free(ops);
}
END_TEST

START_TEST(a_connection_lost_at_the_commit_of_a_large_batch)
{
    enum pg_proxy_cut cut = (enum pg_proxy_cut)_i;
    struct mr_store_op *ops = make_jobs(LARGE + 40 * PG_PROXY_CUTS);
    struct pg_proxy *proxy = pg_proxy_start(pg_fixture_conninfo());
    struct mr_store *other = NULL;
    struct mr_err err = {0};
    uint64_t epoch;

    ck_ok(mr_store_open(&other, pg_proxy_conninfo(proxy), 1,
              mr_uuid_new(mr_clock_now().wall_us), &err),
        err);
    ck_ok(mr_store_claim(other, "tcp://127.0.0.1:1", 60000, &epoch, &err), err);
    pg_proxy_cut_every(proxy, 1);
    /* Smaller ones use the cuts before it up. */
    for (int i = 0; i <= _i; i++) {
        struct mr_store_op *some = i < _i ? ops + LARGE + i * 40 : ops;

        ck_status(
            pg_fixture_commit(other, some, i < _i ? 40 : LARGE, &err), MR_STORE_DOWN);
        ck_ok(mr_store_reconnect(other, &err), err);
    }
    ck_assert_int_eq(pg_proxy_count(proxy, cut), 1);
    pg_proxy_cut_every(proxy, 0);
    pg_fixture_must_commit(other, ops, LARGE);
    for (int i = 0; i < LARGE; i++) {
        /* Before the sync: its backend may see the end of the connection first. */
        if (cut != PG_PROXY_BEFORE_SYNC)
            ck_status(ops[i].status, cut == PG_PROXY_BEFORE_COMMIT ? MR_OK : MR_KNOWN);
        ck_status(ops[i].status, ops[0].status);
    }
    mr_store_close(&other);
    pg_proxy_stop(&proxy);
    free(ops);
}
END_TEST

START_TEST(a_large_batch_that_is_sent_again)
{
    struct mr_store_op *ops = make_jobs(LARGE);

    pg_fixture_must_commit(store, ops, 400);
    ops[0].is_resent = true;
    pg_fixture_must_commit(store, ops, LARGE);
    for (int i = 0; i < LARGE; i++)
        ck_status(ops[i].status, i < 400 ? MR_KNOWN : MR_OK);
    free(ops);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("sql/large");
    TCase *tcase = tcase_create("large");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_large_batch_and_its_repeat);
    tcase_add_test(tcase, a_large_batch_with_one_known_id);
    tcase_add_loop_test(
        tcase, any_number_is_stored, 0, (int)(sizeof counts / sizeof counts[0]));
    tcase_add_test(tcase, a_large_batch_of_everything);
    tcase_add_loop_test(tcase, a_batch_of_a_lost_shard_is_fenced, 0, 2);
    tcase_add_loop_test(
        tcase, a_connection_lost_at_the_commit_of_a_large_batch, 0, PG_PROXY_CUTS);
    tcase_add_test(tcase, a_large_batch_that_is_sent_again);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
