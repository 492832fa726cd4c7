/* How the results of a large batch become durable, by COPY where it can be, on a real server. */
#include "schemas/sql/finish.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "schemas/base/clock.h"
#include "tests/support/pg_fixture.h"
#include "tests/support/pg_proxy.h"

#define LARGE 300 /* of the cases that do not say otherwise */

static struct mr_store *store;
static struct mr_pg *worker, *pg;
static struct mr_arena *arena;
static struct mr_finish *finishes, **list;

static void
setup(void)
{
    store = pg_fixture_store(NULL);
    pg = pg_fixture_open("test");
    worker = pg_fixture_open("mr:worker");
    ck_assert_int_eq(mr_arena_new(&arena, 16 << 20), MR_OK);
}

static void
teardown(void)
{
    mr_arena_destroy(&arena);
    mr_pg_close(&worker);
    mr_pg_close(&pg);
    mr_store_close(&store);
}

static struct mr_finish
finish_of(struct mr_uuid id, uint32_t attempt)
{
    return (struct mr_finish){
        .id = id,
        .attempt = attempt,
        .worker = mr_span_str("w1"),
        .body = mr_span("\xa2ok", 3),
        .started_at_us = INT64_C(1645557742000000),
        .finished_at_us = INT64_C(1645557742250000),
        .status = MR_INTERNAL,
    };
}

/* So many jobs and a result for each, all to be freed by free_many. */
static void
make_many(uint32_t count)
{
    struct mr_store_op *ops = calloc(count, sizeof *ops);

    finishes = calloc(count, sizeof *finishes);
    list = calloc(count, sizeof(struct mr_finish *));
    for (uint32_t i = 0; i < count; i++)
        ops[i] = pg_fixture_job();
    pg_fixture_must_commit(store, ops, count);
    for (uint32_t i = 0; i < count; i++) {
        finishes[i] = finish_of(ops[i].id, 1);
        list[i] = &finishes[i];
    }
    free(ops);
}

static void
free_many(void)
{
    free(finishes);
    free(list);
}

static int64_t
stored(void)
{
    return pg_fixture_int(pg, "select count(*) from millrace.result");
}

static void
put_result(struct mr_uuid id, uint32_t attempt, const char *name)
{
    char sql[256], text[MR_UUID_TEXT_MAX];

    snprintf(sql, sizeof sql,
        "select millrace.finish('%s', %u, '%s', null, null, '\\x07')",
        mr_uuid_format(id, text), attempt, name);
    pg_fixture_text(pg, sql);
}

/* Rows that COPY wrote and then had to take back are seen in no count but this one. */
static int64_t
rows_taken_back(void)
{
    pg_fixture_text(pg, "select pg_stat_force_next_flush()");
    pg_fixture_text(worker, "select pg_stat_force_next_flush()");
    return pg_fixture_int(pg, "select coalesce(sum(n_dead_tup), 0) from "
                              "pg_stat_user_tables where relname like 'result%'");
}

static const uint32_t counts[] = {1, 31, 32, 33, 250, 4096};

START_TEST(any_number_is_stored)
{
    uint32_t count = counts[_i];
    struct mr_err err = {0};

    make_many(count);
    for (uint32_t i = 0; i < count; i++) {
        finishes[i].attempt = i + 1;
        finishes[i].body = mr_span(&finishes[i].attempt, sizeof finishes[i].attempt);
        list[i] = &finishes[count - 1 - i]; /* not in the order of their ids */
    }
    ck_ok(mr_finish_batch(worker, list, count, arena, &err), err);
    for (uint32_t i = 0; i < count; i++)
        ck_status(finishes[i].status, MR_OK);
    ck_assert_int_eq(stored(), count);
    /* Each body holds its row's attempt, lower byte first. */
    ck_assert_int_eq(
        pg_fixture_int(pg,
            "select count(*) from millrace.result where outcome = 1 and worker = 'w1' "
            "and error is null and reason is null "
            "and extract(epoch from started_at) = 1645557742 "
            "and extract(epoch from finished_at) = 1645557742.25 "
            "and get_byte(body, 0) + 256 * get_byte(body, 1) = attempt"),
        count);
    ck_assert(!mr_pg_in_transaction(worker));
    free_many();
}
END_TEST

START_TEST(any_bytes_are_stored)
{
    static uint8_t large[1 << 20];
    struct mr_err err = {0};

    make_many(LARGE);
    for (uint32_t i = 0; i < LARGE; i++)
        finishes[i].attempt = i + 1;
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (uint8_t)(i * 31 >> 3);
    finishes[1].body = MR_SPAN_NONE;
    finishes[2].body = mr_span("\0\0", 2);
    finishes[3].body =
        mr_span("\377\377\377\377", 4); /* as the end of the rows is said */
    finishes[4].body = mr_span(large, sizeof large);
    finishes[5].body = mr_span(large + 1, sizeof large - 1);
    finishes[6].worker = mr_span("a\0b\xff", 4); /* words for people */
    finishes[7].worker = MR_SPAN_NONE;
    finishes[8].started_at_us = 0;
    finishes[9].finished_at_us = 0; /* the statement's: the server's clock */
    ck_ok(mr_finish_batch(worker, list, LARGE, arena, &err), err);
    for (uint32_t i = 0; i < LARGE; i++)
        ck_status(finishes[i].status, MR_OK);
    ck_assert_str_eq(
        pg_fixture_text(pg,
            "select string_agg(concat_ws('|', coalesce(left(body::text, 10), 'null'), "
            "octet_length(body), coalesce(worker, '-'), started_at is null, "
            "finished_at > now() - interval '1 hour'), ' ' order by attempt) from "
            "millrace.result where attempt <= 10"),
        "\\xa26f6b|3|w1|f|f null|w1|f|f \\x0000|2|w1|f|f \\xffffffff|4|w1|f|f "
        "\\x0003070b|1048576|w1|f|f \\x03070b0f|1048575|w1|f|f \\xa26f6b|3|a?b?|f|f "
        "\\xa26f6b|3|-|f|f \\xa26f6b|3|w1|t|f \\xa26f6b|3|w1|f|t");
    ck_assert_int_eq(
        pg_fixture_int(pg,
            "select count(*) from millrace.result where octet_length(body) > 1000000 and "
            "get_byte(body, 524288) = case octet_length(body) when 1048576 then "
            "(524288 * 31 >> 3) & 255 else (524289 * 31 >> 3) & 255 end"),
        2);
    free_many();
}
END_TEST

/* Everything at once that can be in the way of a COPY, and that is not held by anybody. */
START_TEST(what_is_there_already_does_not_hold_the_others)
{
    struct mr_err err = {0};

    make_many(LARGE);
    put_result(finishes[100].id, 9, "w9");              /* another attempt was first */
    put_result(finishes[200].id, 1, "w1");              /* ours, and not answered */
    finishes[LARGE - 1] = finish_of(finishes[7].id, 5); /* the same job twice */
    finishes[150].id = mr_uuid_new(mr_clock_now().wall_us); /* of no job */
    ck_ok(mr_finish_batch(worker, list, LARGE, arena, &err), err);
    for (uint32_t i = 0; i < LARGE; i++)
        ck_status(finishes[i].status, i == 150 ? MR_NO_JOB
                                      : i == 100 || i == 200 || i == LARGE - 1
                                          ? MR_FINISHED
                                          : MR_OK);
    ck_assert_uint_eq(finishes[100].found_attempt, 9);
    ck_assert(mr_span_eq(finishes[100].found_body, mr_span("\x07", 1)));
    ck_assert_uint_eq(finishes[200].found_attempt, 1);
    ck_assert_uint_eq(finishes[LARGE - 1].found_attempt, 1);
    ck_assert_int_eq(stored(), LARGE - 2);

    ck_ok(mr_finish_batch(worker, list, LARGE, arena, &err), err);
    ck_status(finishes[0].status, MR_FINISHED);
    ck_assert_uint_eq(finishes[0].found_attempt, 1);
    ck_assert_int_eq(stored(), LARGE - 2);
    free_many();
}
END_TEST

START_TEST(a_double_does_not_need_the_statement)
{
    struct mr_err err = {0};

    make_many(LARGE);
    finishes[LARGE - 1] = finish_of(finishes[7].id, 5);
    ck_ok(mr_finish_batch(worker, list, LARGE, arena, &err), err);
    for (uint32_t i = 0; i < LARGE; i++)
        ck_status(finishes[i].status, i == LARGE - 1 ? MR_FINISHED : MR_OK);
    ck_assert_int_eq(stored(), LARGE - 1);
    ck_assert_int_eq(rows_taken_back(), 0);
    free_many();
}
END_TEST

START_TEST(a_held_row_is_found_in_a_large_batch)
{
    struct mr_err err = {0};

    make_many(LARGE);
    ck_ok(mr_pg_begin(pg, &err), err);
    put_result(finishes[200].id, 9, "w9");
    ck_ok(mr_finish_batch(worker, list, LARGE, arena, &err), err);
    for (uint32_t i = 0; i < LARGE; i++)
        ck_status(finishes[i].status, i == 200 ? MR_BUSY : MR_OK);
    mr_pg_rollback(pg);
    ck_assert_int_eq(stored(), LARGE - 1);
    ck_ok(mr_finish_batch(worker, &list[200], 1, arena, &err), err);
    ck_status(finishes[200].status, MR_OK);
    free_many();
}
END_TEST

/* A worker that is connected to another database than its broker. */
START_TEST(results_of_unknown_jobs_are_not_copied)
{
    struct mr_err err = {0};

    make_many(LARGE);
    pg_fixture_text(pg, "delete from millrace.job");
    ck_ok(mr_finish_batch(worker, list, LARGE, arena, &err), err);
    for (uint32_t i = 0; i < LARGE; i++)
        ck_status(finishes[i].status, MR_NO_JOB);
    ck_assert_int_eq(stored(), 0);
    free_many();
}
END_TEST

/* A late attempt of jobs that were finished and swept away long ago. */
START_TEST(results_of_old_jobs_are_asked_for_one_by_one)
{
    struct mr_err err = {0};
    int64_t day_ago_us = mr_clock_now().wall_us - INT64_C(90000) * 1000000;
    struct mr_store_op oldest = pg_fixture_job();

    oldest.id = oldest.job.id = mr_uuid_new(day_ago_us - 1000000);
    pg_fixture_must_commit(store, &oldest, 1);
    make_many(LARGE);
    finishes[0].id = oldest.id;
    for (uint32_t i = 1; i < LARGE; i++)
        finishes[i].id = mr_uuid_new(day_ago_us);
    ck_ok(mr_finish_batch(worker, list, LARGE, arena, &err), err);
    for (uint32_t i = 0; i < LARGE; i++)
        ck_status(finishes[i].status, i == 0 ? MR_OK : MR_NO_JOB);
    ck_assert_int_eq(stored(), 1);
    free_many();
}
END_TEST

/* ---- connections that are lost on the way ----------------------------------------------------- */

START_TEST(lost_at_the_commit_of_a_large_batch)
{
    struct pg_proxy *proxy = pg_proxy_start(pg_fixture_conninfo());
    enum pg_proxy_cut cut = (enum pg_proxy_cut)_i;
    struct mr_err err = {0};
    struct mr_pg *cuttable = NULL;

    make_many(LARGE + 40 * PG_PROXY_CUTS);
    pg_proxy_cut_every(proxy, 1);
    /* Smaller ones use the cuts before it up. */
    for (int i = 0; i <= _i; i++) {
        struct mr_finish **some = i < _i ? list + LARGE + i * 40 : list;

        ck_ok(mr_pg_open(&cuttable, pg_proxy_conninfo(proxy), "mr:cut", &err), err);
        ck_status(mr_finish_batch(cuttable, some, i < _i ? 40 : LARGE, arena, &err),
            MR_STORE_DOWN);
        ck_assert(!mr_pg_is_alive(cuttable));
        mr_pg_close(&cuttable);
    }
    ck_assert_int_eq(pg_proxy_count(proxy, cut), 1);
    ck_assert_int_eq(pg_proxy_commits(proxy), _i + 1);
    ck_assert(finishes[0].is_in_doubt && finishes[LARGE - 1].is_in_doubt);
    ck_ok(mr_finish_batch(worker, list, LARGE, arena, &err), err);
    for (uint32_t i = 0; i < LARGE; i++) {
        /* Before the sync: its backend may see the end of the connection first. */
        if (cut != PG_PROXY_BEFORE_SYNC)
            ck_status(
                finishes[i].status, cut == PG_PROXY_BEFORE_COMMIT ? MR_OK : MR_FINISHED);
        ck_status(finishes[i].status, finishes[0].status);
        if (finishes[i].status != MR_OK)
            ck_assert_uint_eq(finishes[i].found_attempt, 1);
    }
    pg_proxy_stop(&proxy);
    free_many();
}
END_TEST

/* Its session is ended while the server waits for a row in the middle. */
START_TEST(lost_in_the_middle_of_a_copy)
{
    struct mr_err err = {0};
    pid_t killer;
    int status;

    make_many(LARGE);
    ck_ok(mr_pg_begin(pg, &err), err);
    put_result(finishes[200].id, 9, "w9");
    killer = fork();
    if (killer == 0) {
        struct mr_pg *other = pg_fixture_open("killer");

        while (pg_fixture_int(other,
                   "select count(pg_terminate_backend(pid)) from pg_stat_activity where "
                   "application_name = 'mr:worker' and wait_event_type = 'Lock'") == 0)
            continue;
        mr_pg_close(&other);
        _exit(0);
    }
    ck_assert_int_gt(killer, 0);
    ck_status(mr_finish_batch(worker, list, LARGE, arena, &err), MR_STORE_DOWN);
    ck_assert_int_eq(waitpid(killer, &status, 0), killer);
    ck_assert_int_eq(status, 0);
    mr_pg_rollback(pg);
    ck_assert_int_eq(stored(), 0);
    mr_pg_close(&worker);
    worker = pg_fixture_open("mr:worker");
    ck_ok(mr_finish_batch(worker, list, LARGE, arena, &err), err);
    for (uint32_t i = 0; i < LARGE; i++)
        ck_status(finishes[i].status, MR_OK);
    ck_assert_int_eq(stored(), LARGE);
    free_many();
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("sql/copy");
    TCase *tcase = tcase_create("copy");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(
        tcase, any_number_is_stored, 0, (int)(sizeof counts / sizeof counts[0]));
    tcase_add_test(tcase, any_bytes_are_stored);
    tcase_add_test(tcase, what_is_there_already_does_not_hold_the_others);
    tcase_add_test(tcase, a_double_does_not_need_the_statement);
    tcase_add_test(tcase, a_held_row_is_found_in_a_large_batch);
    tcase_add_test(tcase, results_of_unknown_jobs_are_not_copied);
    tcase_add_test(tcase, results_of_old_jobs_are_asked_for_one_by_one);
    tcase_add_loop_test(tcase, lost_at_the_commit_of_a_large_batch, 0, PG_PROXY_CUTS);
    tcase_add_test(tcase, lost_in_the_middle_of_a_copy);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
