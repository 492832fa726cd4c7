/* Reading: what is unfinished, the inbox, look-ups, lists; against a real server. */
#include "schemas/sql/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "schemas/base/clock.h"
#include "tests/support/pg_fixture.h"

#define JOBS_MAX 4000

/* What came, in order; spans only as copies. */
struct seen {
    struct mr_stored_job jobs[JOBS_MAX];
    char payload[JOBS_MAX][8];
    char kind[JOBS_MAX][65];
    uint32_t count, stop_at;
};
static struct seen seen;

static struct mr_store *store;
static struct mr_pg *pg;
static uint32_t found_count, finished_count, missing_count;
static size_t body_bytes;

static void
setup(void)
{
    store = pg_fixture_store(NULL);
    pg = pg_fixture_open("test");
    memset(&seen, 0, sizeof seen); /* tests may share a process */
    found_count = finished_count = missing_count = 0;
    body_bytes = 0;
}

static void
teardown(void)
{
    mr_pg_close(&pg);
    mr_store_close(&store);
}

static bool
on_job(void *context, const struct mr_stored_job *job)
{
    (void)context;
    ck_assert_uint_lt(seen.count, JOBS_MAX);
    seen.jobs[seen.count] = *job;
    snprintf(seen.payload[seen.count], 8, "%.*s", (int)job->job.payload.n,
        (const char *)job->job.payload.p);
    snprintf(seen.kind[seen.count], 65, "%.*s", (int)job->job.kind.n,
        (const char *)job->job.kind.p);
    seen.count++;
    return seen.count != seen.stop_at;
}

static void
add_jobs(int count)
{
    struct mr_store_op *ops = calloc((size_t)count, sizeof *ops);

    for (int i = 0; i < count; i++) {
        ops[i] = pg_fixture_job();
        ops[i].job.payload = mr_span("\xa1p", 2);
    }
    pg_fixture_must_commit(store, ops, (uint32_t)count);
    free(ops);
}

static bool
load(struct mr_uuid *after, uint32_t limit, bool with_payload)
{
    struct mr_err err = {0};
    struct mr_uuid last;
    bool more;

    ck_ok(mr_store_load(
              store, *after, limit, with_payload, on_job, NULL, &last, &more, &err),
        err);
    *after = last;
    return more;
}

START_TEST(all_unfinished_in_order)
{
    struct mr_uuid after = {{0}};
    int calls = 1;

    add_jobs(1000);
    pg_fixture_text(pg, "insert into millrace.result (id, finished_at, attempt, outcome) "
                        "select id, now(), 1, 1 from (select id, row_number() over "
                        "(order by id) as n from millrace.job) x where n % 2 = 0");
    while (load(&after, 300, true))
        calls++;
    ck_assert_int_eq(calls, 4); /* 300 ids at a time, finished or not */
    ck_assert_uint_eq(seen.count, 500);
    for (uint32_t i = 1; i < seen.count; i++)
        ck_assert_int_lt(memcmp(seen.jobs[i - 1].job.id.b, seen.jobs[i].job.id.b, 16), 0);
    ck_assert_str_eq(seen.payload[499], "\xa1p");
}
END_TEST

START_TEST(every_field_comes_back)
{
    struct mr_store_op op = pg_fixture_job();
    const struct mr_job_new *job = &seen.jobs[0].job;
    struct mr_uuid after = {{0}};

    op.submitted_at_us = INT64_C(1645557742000123);
    op.job.priority = 0;
    op.job.run_at_us = INT64_C(1645557742000001);
    op.job.expires_at_us = INT64_C(1645557742000002);
    op.job.timeout_ms = UINT32_MAX;
    op.job.attempts_max = 1000;
    op.job.backoff_base_ms = 5;
    op.job.backoff_cap_ms = UINT32_MAX;
    op.job.backoff_factor_percent = 1000;
    op.job.backoff_jitter = MR_JITTER_NONE;
    pg_fixture_must_commit(store, &op, 1);
    ck_assert(!load(&after, 10, false));
    ck_assert(mr_uuid_eq(after, op.id));
    ck_assert(mr_uuid_eq(job->id, op.id));
    ck_assert_uint_eq(job->payload.n, 0); /* not asked for */
    ck_assert_int_eq(job->priority, 0);
    ck_assert_int_eq(job->run_at_us, INT64_C(1645557742000001));
    ck_assert_int_eq(job->expires_at_us, INT64_C(1645557742000002));
    ck_assert_uint_eq(job->timeout_ms, UINT32_MAX);
    ck_assert_uint_eq(job->attempts_max, 1000);
    ck_assert_uint_eq(job->backoff_base_ms, 5);
    ck_assert_uint_eq(job->backoff_cap_ms, UINT32_MAX);
    ck_assert_uint_eq(job->backoff_factor_percent, 1000);
    ck_assert_uint_eq(job->backoff_jitter, MR_JITTER_NONE);
    ck_assert_uint_eq(job->delay_ms, 0);
    ck_assert_int_eq(seen.jobs[0].submitted_at_us, INT64_C(1645557742000123));
    ck_assert_str_eq(seen.kind[0], "test.noop");
}
END_TEST

/* Failed and timed out count as failures, lost and crashed as losses if they had started,
 * snoozed as neither. */
START_TEST(attempts_are_summed_up)
{
    struct mr_store_op ops[7];
    struct mr_uuid after = {{0}};

    ops[0] = pg_fixture_job();
    for (int i = 1; i <= 6; i++) {
        ops[i] = (struct mr_store_op){.type = MR_STORE_ATTEMPT,
            .id = ops[0].id,
            .attempt = (uint32_t)i,
            .attempt_outcome = (enum mr_attempt_outcome)i,
            .started_at_us = INT64_C(1645557741000000) + i,
            .retry_at_us = INT64_C(1645557742000000) + i};
    }
    ops[6].attempt_outcome = MR_ATTEMPT_LOST;
    ops[6].started_at_us = 0; /* it was only queued in the worker that was lost */
    ops[6].retry_at_us = INT64_C(1645557742000005);
    pg_fixture_must_commit(store, ops, 7);
    load(&after, 10, false);
    ck_assert_uint_eq(seen.jobs[0].attempts, 6);
    ck_assert_uint_eq(seen.jobs[0].failures, 2);
    ck_assert_uint_eq(seen.jobs[0].losses, 2);
    ck_assert_uint_eq(seen.jobs[0].near_losses, 1);
    ck_assert_int_eq(seen.jobs[0].retry_at_us, INT64_C(1645557742000005));
}
END_TEST

START_TEST(whoever_loads_may_stop)
{
    struct mr_uuid after = {{0}};

    add_jobs(1000);
    seen.stop_at = 3;
    ck_assert(load(&after, 1000, true));
    ck_assert_uint_eq(seen.count, 3);
    ck_assert(mr_uuid_eq(after, seen.jobs[2].job.id));
    seen.stop_at = 0;
    ck_assert(!load(&after, 2000, true));
    ck_assert_uint_eq(seen.count, 1000);
}
END_TEST

START_TEST(other_shards_are_left_alone)
{
    struct mr_uuid after = {{0}};

    add_jobs(3);
    pg_fixture_text(pg, "insert into millrace.job (id, submitted_at, shard, priority, "
                        "queue, kind) values (millrace.new_id(), now(), 1, 4, 'q', 'k')");
    ck_assert(!load(&after, 10, false));
    ck_assert_uint_eq(seen.count, 3);
}
END_TEST

/* The mark moves up behind what is finished, never past what is not. */
START_TEST(the_mark_stays_below_what_is_unfinished)
{
    struct mr_store_op ops[3];
    struct mr_uuid after = {{0}};
    struct mr_err err = {0};
    int64_t old_us = mr_clock_now().wall_us - INT64_C(3600) * 1000000;

    for (int i = 0; i < 3; i++) {
        ops[i] = pg_fixture_job();
        ops[i].id = ops[i].job.id = mr_uuid_new(old_us + i * 1000);
    }
    pg_fixture_must_commit(store, ops, 3);
    pg_fixture_text(pg, "insert into millrace.result (id, finished_at, attempt, outcome) "
                        "select id, now(), 1, 1 from millrace.job order by id limit 1");
    ck_ok(mr_store_keep_house(store, 7, &err), err);
    ck_assert_int_eq(
        pg_fixture_int(pg, "select millrace.id_ms(low_water) from millrace.shard"),
        mr_uuid_ms(ops[1].id));
    load(&after, 10, false);
    ck_assert_uint_eq(seen.count, 2);
    /* All done: the mark goes on, up to ten minutes ago. */
    pg_fixture_text(pg,
        "insert into millrace.result (id, finished_at, attempt, outcome) "
        "select id, now(), 1, 1 from millrace.job on conflict do nothing");
    ck_ok(mr_store_keep_house(store, 7, &err), err);
    ck_assert_int_gt(
        pg_fixture_int(pg, "select millrace.id_ms(low_water) from millrace.shard"),
        mr_uuid_ms(ops[2].id));
}
END_TEST

START_TEST(the_mark_stays_below_the_inbox)
{
    struct mr_err err = {0};

    pg_fixture_text(pg, "insert into millrace.inbox (id, kind) values "
                        "('017f22e2-79b0-7cc3-98c4-dc0c0c07398f', 'k')");
    ck_ok(mr_store_keep_house(store, 7, &err), err);
    ck_assert_int_eq(
        pg_fixture_int(pg, "select millrace.id_ms(low_water) from millrace.shard"),
        INT64_C(1645557742000));
}
END_TEST

static uint32_t payload_count;

static bool
on_payload(void *context, const struct mr_stored_job *job)
{
    (void)context;
    ck_assert(job->lacks_history);
    ck_assert(mr_span_is(job->job.payload, "\x01"));
    ck_assert(!mr_uuid_is_none(job->job.id));
    ck_assert_uint_eq(job->job.kind.n, 0);
    payload_count++;
    return true;
}

START_TEST(jobs_are_read_back)
{
    struct mr_store_op ops[3];
    struct mr_uuid ids[4] = {{{0}}};
    struct mr_err err = {0};

    for (int i = 0; i < 3; i++) {
        ops[i] = pg_fixture_job();
        ids[i] = ops[i].id;
    }
    ids[3] = mr_uuid_new(mr_clock_now().wall_us);
    pg_fixture_must_commit(store, ops, 3);
    pg_fixture_text(pg, "insert into millrace.result (id, finished_at, attempt, outcome) "
                        "select id, now(), 1, 1 from millrace.job order by id limit 1");
    ck_ok(mr_store_read(store, ids, 4, true, on_job, NULL, &err), err);
    ck_assert_uint_eq(seen.count, 2);
    ck_assert_str_eq(seen.payload[0], "\x01");
    ck_ok(mr_store_read(store, ids, 4, false, on_payload, NULL, &err), err);
    ck_assert_uint_eq(payload_count, 2);
}
END_TEST

static bool
on_found(void *context, const struct mr_found *found)
{
    const struct mr_uuid *ids = context;

    ck_assert(mr_uuid_eq(found->id, ids[found_count]));
    found_count++;
    finished_count += found->is_finished;
    missing_count += !found->exists;
    ck_assert(mr_span_is(found->submitted_by, found->exists ? "a test" : ""));
    body_bytes += found->body.n;
    if (found->is_finished)
        ck_assert_int_eq(found->outcome, MR_SUCCEEDED);
    return true;
}

START_TEST(ids_are_looked_up)
{
    struct mr_store_op ops[2];
    struct mr_uuid ids[4];
    struct mr_err err = {0};

    for (int i = 0; i < 2; i++) {
        ops[i] = pg_fixture_job();
        ids[i] = ops[i].id;
    }
    ids[2] = mr_uuid_new(mr_clock_now().wall_us);
    ids[3] = ids[0]; /* asked for twice */
    pg_fixture_must_commit(store, ops, 2);
    pg_fixture_text(pg, "insert into millrace.result (id, finished_at, attempt, outcome, "
                        "body) select id, now(), 1, 1, '\\xc0' from millrace.job");
    pg_fixture_text(pg, "delete from millrace.result where id > "
                        "(select id from millrace.job order by id limit 1)");
    ck_ok(mr_store_find(store, ids, 4, on_found, ids, &err), err);
    ck_assert_uint_eq(found_count, 4);
    ck_assert_uint_eq(missing_count, 1);
    ck_assert_uint_ge(finished_count, 1);
    ck_assert_uint_eq(body_bytes, finished_count);
    ck_ok(mr_store_find(store, ids, 0, on_found, ids, &err), err);
}
END_TEST

static bool
take(uint32_t limit)
{
    struct mr_err err = {0};
    bool more = false;

    ck_ok(mr_store_take_inbox(store, limit, on_job, NULL, &more, &err), err);
    return more;
}

START_TEST(the_inbox_is_taken)
{
    struct mr_uuid after = {{0}};

    ck_assert(!take(10));
    pg_fixture_text(pg,
        "insert into millrace.inbox (kind, payload, priority, lane, run_at, "
        "attempts_max) select 'k.' || n, '\\x01', n, 'l', "
        "to_timestamp(1645557742), 3 from generate_series(1, 5) n");
    ck_assert(take(3));
    ck_assert_uint_eq(seen.count, 3);
    ck_assert(take(3));
    ck_assert_uint_eq(seen.count, 5);
    ck_assert(!take(3));
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.inbox"), 0);
    ck_assert_int_eq(seen.jobs[0].job.run_at_us, INT64_C(1645557742000000));
    ck_assert_uint_eq(seen.jobs[0].job.attempts_max, 3);
    seen.count = 0;
    load(&after, 10, true);
    ck_assert_uint_eq(seen.count, 5);
}
END_TEST

/* A follow-up job that was taken before and is put in once more. */
START_TEST(the_inbox_knows_what_it_had)
{
    add_jobs(1);
    pg_fixture_text(
        pg, "insert into millrace.inbox (id, kind) select id, 'again' from millrace.job");
    ck_assert(take(10));
    ck_assert_uint_eq(seen.count, 0);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.inbox"), 0);
    ck_assert_str_eq(pg_fixture_text(pg, "select kind from millrace.job"), "test.noop");
}
END_TEST

/* The mark was raised and nobody was told: a job below it is found at the next start all the
 * same. */
START_TEST(a_raise_without_an_answer_hides_no_job)
{
    struct mr_store_op op = pg_fixture_job();
    struct mr_uuid after = {{0}};
    struct mr_err err = {0};
    pid_t cutter;
    uint64_t epoch;

    op.id = mr_uuid_new(mr_clock_now().wall_us - INT64_C(3600000000));
    pg_fixture_standby(pg, "nobody");
    cutter = pg_fixture_cutter();
    ck_status(mr_store_keep_house(store, 7, &err), MR_STORE_DOWN);
    ck_assert_int_eq(waitpid(cutter, NULL, 0), cutter);
    pg_fixture_standby(pg, "");
    ck_ok(mr_store_reconnect(store, &err), err);
    pg_fixture_must_commit(store, &op, 1);
    ck_ok(mr_store_claim(store, "tcp://a:1", 60000, &epoch, &err), err);
    load(&after, 10, true);
    ck_assert_uint_eq(seen.count, 1);
}
END_TEST

/* The rows are moved and nobody was told: the next call tells. */
START_TEST(a_move_without_an_answer_is_told_later)
{
    struct mr_err err = {0};
    bool more = false;
    pid_t cutter;

    pg_fixture_text(pg, "insert into millrace.inbox (kind) values ('a'), ('b')");
    pg_fixture_standby(pg, "nobody");
    cutter = pg_fixture_cutter();
    ck_status(mr_store_take_inbox(store, 10, on_job, NULL, &more, &err), MR_STORE_DOWN);
    ck_assert_int_eq(waitpid(cutter, NULL, 0), cutter);
    pg_fixture_standby(pg, "");
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.job"), 2);
    ck_assert_uint_eq(seen.count, 0);
    ck_ok(mr_store_reconnect(store, &err), err);
    ck_assert(take(10));
    ck_assert_uint_eq(seen.count, 2);
    ck_assert(!take(10));
    ck_assert_uint_eq(seen.count, 2);
}
END_TEST

/* ... and what was not moved is moved later. */
START_TEST(a_move_that_was_undone_is_made_later)
{
    struct mr_err err = {0};
    bool more = false;

    pg_fixture_text(pg,
        "create function public.cut() returns trigger language plpgsql as $$ begin "
        "perform pg_terminate_backend(pg_backend_pid()); return null; end $$");
    pg_fixture_text(pg, "create constraint trigger cut after insert on millrace.job "
                        "deferrable initially deferred for each row execute function "
                        "public.cut()");
    pg_fixture_text(pg, "insert into millrace.inbox (kind) values ('a'), ('b')");
    ck_status(mr_store_take_inbox(store, 10, on_job, NULL, &more, &err), MR_STORE_DOWN);
    pg_fixture_text(pg, "drop trigger cut on millrace.job");
    ck_ok(mr_store_reconnect(store, &err), err);
    ck_assert(take(10));
    ck_assert_uint_eq(seen.count, 0);
    ck_assert(take(10));
    ck_assert_uint_eq(seen.count, 2);
}
END_TEST

START_TEST(an_old_inbox_row_lowers_the_mark)
{
    struct mr_err err = {0};
    struct mr_uuid after = {{0}};

    ck_ok(mr_store_keep_house(store, 7, &err), err);
    pg_fixture_text(pg, "insert into millrace.inbox (id, kind) values "
                        "('017f22e2-79b0-7cc3-98c4-dc0c0c07398f', 'k')");
    take(10);
    ck_assert_uint_eq(seen.count, 1);
    ck_assert_int_eq(
        pg_fixture_int(pg, "select millrace.id_ms(low_water) from millrace.shard"),
        INT64_C(1645557742000));
    mr_store_close(&store);
    ck_ok(mr_store_open(&store, pg_fixture_conninfo(), 0, (struct mr_uuid){{1}}, &err),
        err);
    pg_fixture_text(pg, "update millrace.shard set lease_until = now() - interval '1 s'");
    ck_ok(mr_store_claim(store, "x", 60000, &(uint64_t){0}, &err), err);
    load(&after, 10, false);
    ck_assert_uint_eq(seen.count, 2);
}
END_TEST

START_TEST(a_large_inbox_is_taken_in_parts)
{
    pg_fixture_text(pg, "insert into millrace.inbox (kind, payload) select 'k', "
                        "convert_to(repeat('x', 1048576), 'UTF8') "
                        "from generate_series(1, 20)");
    ck_assert(take(1000));
    ck_assert_uint_eq(seen.count, 8);
    while (take(1000))
        ;
    ck_assert_uint_eq(seen.count, 20);
}
END_TEST

/* ---- lists ---------------------------------------------------------------------------------------- */

static uint32_t
list(struct mr_job_filter filter, struct mr_wr *out)
{
    struct mr_err err = {0};
    struct mr_rd rd;

    mr_wr_reset(out);
    filter.reach.is_any = !filter.reach.owner.n;
    ck_ok(mr_store_list(store, &filter, out, &err), err);
    ck_status(mr_pack_scan(mr_wr_span(out), MR_DEPTH_MAX), MR_OK);
    rd = mr_rd_open(mr_wr_span(out));
    return mr_rd_array(&rd, 1000);
}

START_TEST(lists_are_filtered)
{
    struct mr_store_op ops[5];
    struct mr_wr out;

    mr_wr_init(&out, 1 << 20);
    for (int i = 0; i < 4; i++) {
        ops[i] = pg_fixture_job();
        ops[i].submitted_at_us = INT64_C(1000000) * (1645557742 + i);
    }
    ops[1].job.kind = mr_span_str("other");
    ops[2].job.queue = mr_span_str("q2");
    ops[3].submitted_by = mr_span_str("another");
    ops[4] = (struct mr_store_op){.type = MR_STORE_ATTEMPT,
        .id = ops[0].id,
        .attempt = 1,
        .attempt_outcome = MR_ATTEMPT_FAILED};
    pg_fixture_must_commit(store, ops, 5);
    ck_assert_uint_eq(list((struct mr_job_filter){.limit = 10}, &out), 4);
    ck_assert_uint_eq(list((struct mr_job_filter){.limit = 2}, &out), 2);
    ck_assert_uint_eq(
        list((struct mr_job_filter){.limit = 9, .kind = mr_span_str("other")}, &out), 1);
    ck_assert_uint_eq(
        list((struct mr_job_filter){.limit = 9, .queue = mr_span_str("q2")}, &out), 1);
    ck_assert_uint_eq(
        list((struct mr_job_filter){.limit = 9, .state = mr_span_str("retrying")}, &out),
        1);
    ck_assert_uint_eq(
        list((struct mr_job_filter){.limit = 9, .state = mr_span_str("waiting")}, &out),
        3);
    ck_assert_uint_eq(
        list((struct mr_job_filter){.limit = 9, .state = mr_span_str("nonsense")}, &out),
        0);
    ck_assert_uint_eq(
        list((struct mr_job_filter){.limit = 9, .since_us = INT64_C(1645557744000000)},
            &out),
        2);
    ck_assert_uint_eq(
        list((struct mr_job_filter){.limit = 9, .until_us = INT64_C(1645557744000000)},
            &out),
        2);
    ck_assert_uint_eq(list((struct mr_job_filter){.limit = 9,
                               .reach = {.owner = mr_span_str("another")}},
                          &out),
        1);
    mr_wr_fini(&out);
}
END_TEST

START_TEST(a_list_without_room)
{
    struct mr_job_filter filter = {.limit = 1000, .reach = {.is_any = true}};
    struct mr_err err = {0};
    char memory[100];
    struct mr_wr out;

    add_jobs(5);
    mr_wr_init_fixed(&out, memory, sizeof memory);
    ck_status(mr_store_list(store, &filter, &out, &err), MR_TOO_BIG);
}
END_TEST

START_TEST(one_job_in_full)
{
    struct mr_reach any = {.is_any = true}, mine = {.owner = mr_span_str("a test")},
                    theirs = {.owner = mr_span_str("another")};
    struct mr_store_op ops[2];
    struct mr_err err = {0};
    struct mr_wr out;
    struct mr_rd rd;
    size_t whole;
    uint32_t fields;
    int seen_fields = 0;

    mr_wr_init(&out, 1 << 20);
    ops[0] = pg_fixture_job();
    ops[1] = (struct mr_store_op){.type = MR_STORE_ATTEMPT,
        .id = ops[0].id,
        .attempt = 1,
        .attempt_outcome = MR_ATTEMPT_TIMED_OUT};
    pg_fixture_must_commit(store, ops, 2);
    ck_ok(mr_store_show(store, ops[0].id, any, &out, &err), err);
    ck_status(mr_pack_scan(mr_wr_span(&out), MR_DEPTH_MAX), MR_OK);
    rd = mr_rd_open(mr_wr_span(&out));
    fields = mr_rd_map(&rd, 100);
    for (uint32_t i = 0; i < fields; i++) {
        struct mr_span key = mr_rd_str(&rd, 64);

        if (mr_span_is(key, "payload")) {
            ck_assert(mr_span_eq(mr_rd_bin(&rd, 10), mr_span("\x01", 1)));
            seen_fields++;
        } else if (mr_span_is(key, "state")) {
            ck_assert(mr_span_is(mr_rd_str(&rd, 64), "retrying"));
            seen_fields++;
        } else if (mr_span_is(key, "attempt_rows")) {
            ck_assert_uint_eq(mr_rd_array(&rd, 10), 1);
            mr_rd_skip(&rd);
            seen_fields++;
        } else
            mr_rd_skip(&rd);
    }
    ck_status(rd.status, MR_OK);
    ck_assert_int_eq(seen_fields, 3);
    whole = out.n;
    mr_wr_reset(&out);
    ck_ok(mr_store_show(store, (struct mr_uuid){{1}}, any, &out, &err), err);
    ck_assert(mr_span_eq(mr_wr_span(&out), mr_span("\xc0", 1)));
    mr_wr_reset(&out);
    ck_ok(mr_store_show(store, ops[0].id, mine, &out, &err), err);
    ck_assert_uint_eq(out.n, whole);
    mr_wr_reset(&out);
    ck_ok(mr_store_show(store, ops[0].id, theirs, &out, &err), err);
    ck_assert(mr_span_eq(mr_wr_span(&out), mr_span("\xc0", 1)));
    mr_wr_fini(&out);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("sql/load");
    TCase *tcase = tcase_create("load");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, all_unfinished_in_order);
    tcase_add_test(tcase, every_field_comes_back);
    tcase_add_test(tcase, attempts_are_summed_up);
    tcase_add_test(tcase, whoever_loads_may_stop);
    tcase_add_test(tcase, other_shards_are_left_alone);
    tcase_add_test(tcase, the_mark_stays_below_what_is_unfinished);
    tcase_add_test(tcase, the_mark_stays_below_the_inbox);
    tcase_add_test(tcase, jobs_are_read_back);
    tcase_add_test(tcase, ids_are_looked_up);
    tcase_add_test(tcase, the_inbox_is_taken);
    tcase_add_test(tcase, the_inbox_knows_what_it_had);
    tcase_add_test(tcase, a_raise_without_an_answer_hides_no_job);
    tcase_add_test(tcase, a_move_without_an_answer_is_told_later);
    tcase_add_test(tcase, a_move_that_was_undone_is_made_later);
    tcase_add_test(tcase, an_old_inbox_row_lowers_the_mark);
    tcase_add_test(tcase, a_large_inbox_is_taken_in_parts);
    tcase_add_test(tcase, lists_are_filtered);
    tcase_add_test(tcase, a_list_without_room);
    tcase_add_test(tcase, one_job_in_full);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
