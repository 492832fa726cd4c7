/* Dead jobs in a real PostgreSQL: which they are, page by page, and their second life. */
#include "tests/support/pg_fixture.h"

#include <stdio.h>
#include <string.h>

#include "schemas/sql/audit.h"
#include "schemas/sql/stmt.h"
#include "schemas/wire/pack.h"

static const struct mr_audit_row entry = {
    .action = {(const uint8_t *)"act", 3}, .is_allowed = true};
static struct mr_store *store;
static struct mr_pg *pg;
static struct mr_wr wr;
static struct mr_err err;
static const struct mr_resealed no_payload;
static const struct mr_reach reach_any = {.is_any = true};

static void
setup(void)
{
    store = pg_fixture_store(NULL);
    pg = pg_fixture_open("test");
    mr_wr_init(&wr, 4u << 20);
}

static void
teardown(void)
{
    mr_store_close(&store);
    mr_pg_close(&pg);
    mr_wr_fini(&wr);
}

/* `count` jobs of a kind that died a second apart, the first at `from`; reason by number. */
static void
bury(const char *kind, int count, const char *from, int reason)
{
    char sql[1024];

    snprintf(sql, sizeof sql,
        "with j as (insert into millrace.job (id, submitted_at, shard, priority, queue, "
        "kind, "
        "lane, run_at, attempts_max, timeout_ms, backoff_base_ms, backoff_cap_ms, "
        "backoff_factor_percent, backoff_jitter_percent, trace, payload, submitted_by) "
        "select "
        "millrace.new_id(), "
        "now(), 0, 7, 'q-' || '%s', '%s', 'l', now(), 3, 500, 10, 20, 150, 0, 't', "
        "decode('a1' || "
        "to_hex(64 + n %% 26), 'hex'), 'me' from generate_series(1, %d) n returning id) "
        "insert into millrace.result (id, finished_at, attempt, outcome, error, reason) "
        "select id, '%s'::timestamptz + row_number() over () * interval '1 second', 3, "
        "2, "
        "'e', nullif(%d, 0) from j",
        kind, kind, count, from, reason);
    pg_fixture_text(pg, sql);
}

#define NOON "2026-11-24T12:00:00Z"
#define NOON_US INT64_C(1795521600000000)

struct page {
    uint32_t count;
    struct mr_uuid first, last;
    int64_t until_us; /* 0: the end */
    struct mr_uuid before;
    uint32_t attempt_rows;
};

static void
read_row(struct mr_rd *rd, struct mr_uuid *id, struct page *page)
{
    uint32_t pairs = mr_rd_map(rd, 32);

    for (uint32_t i = 0; i < pairs; i++) {
        struct mr_span key = mr_rd_str(rd, 64);

        if (mr_span_is(key, "id")) {
            ck_status(mr_uuid_parse(mr_rd_str(rd, 64), id), MR_OK);
        } else if (mr_span_is(key, "attempt_rows")) {
            page->attempt_rows = mr_rd_array(rd, 1000);
            mr_rd_skip_n(rd, page->attempt_rows);
        } else {
            mr_rd_skip(rd);
        }
    }
}

static struct page
list(const struct mr_dead_filter *filter)
{
    struct page page = {0};
    struct mr_rd rd;

    mr_wr_reset(&wr);
    ck_ok(mr_store_dead(store, filter, &wr, &err), err);
    rd = mr_rd_open(mr_wr_span(&wr));
    ck_assert_uint_eq(mr_rd_map(&rd, 3), 3);
    ck_assert(mr_span_is(mr_rd_str(&rd, 64), "jobs"));
    page.count = mr_rd_array(&rd, 1000);
    for (uint32_t i = 0; i < page.count; i++)
        read_row(&rd, i ? &page.last : &page.first, &page);
    if (page.count == 1)
        page.last = page.first;
    ck_assert(mr_span_is(mr_rd_str(&rd, 64), "until_us"));
    page.until_us = mr_rd_skip_nil(&rd) ? 0 : mr_rd_int(&rd);
    ck_assert(mr_span_is(mr_rd_str(&rd, 64), "before"));
    if (page.until_us)
        ck_status(mr_uuid_parse(mr_rd_str(&rd, 64), &page.before), MR_OK);
    else
        mr_rd_nil(&rd);
    ck_status(rd.status, MR_OK);
    return page;
}

static uint32_t
count_of(struct mr_dead_filter filter)
{
    uint32_t count = 0;
    struct page page;

    filter.limit = filter.limit ? filter.limit : 1000;
    filter.reach.is_any = !filter.reach.owner.n;
    do {
        page = list(&filter);
        ck_assert_uint_le(page.count, filter.limit);
        count += page.count;
        filter.until_us = page.until_us;
        filter.before = page.before;
    } while (page.until_us);
    return count;
}

/* ---- the list -------------------------------------------------------------------------------- */

START_TEST(filters)
{
    bury("a", 5, NOON, 1);
    bury("b", 3, NOON, 2);
    bury("c", 2, NOON, 3);
    bury("d", 1, NOON, 0);
    pg_fixture_text(pg,
        "insert into millrace.job (id, submitted_at, shard, priority, queue, "
        "kind) select millrace.new_id(), now(), 0, 4, 'q', 'alive'");
    pg_fixture_text(pg, "insert into millrace.result (id, finished_at, attempt, outcome) "
                        "select id, now(), 1, 3 from millrace.job where kind = 'alive'");
    ck_assert_uint_eq(count_of((struct mr_dead_filter){0}), 11);
    ck_assert_uint_eq(count_of((struct mr_dead_filter){.kind = mr_span_str("b")}), 3);
    ck_assert_uint_eq(count_of((struct mr_dead_filter){.queue = mr_span_str("q-a")}), 5);
    ck_assert_uint_eq(
        count_of((struct mr_dead_filter){.reason = mr_span_str("quarantined")}), 2);
    ck_assert_uint_eq(
        count_of((struct mr_dead_filter){.reason = mr_span_str("unknown")}), 1);
    ck_assert_uint_eq(count_of((struct mr_dead_filter){
                          .kind = mr_span_str("b"), .reason = mr_span_str("used-up")}),
        0);
    /* From (included) to (not included). */
    ck_assert_uint_eq(count_of((struct mr_dead_filter){.kind = mr_span_str("a"),
                          .since_us = NOON_US + 2000000,
                          .until_us = NOON_US + 4000000}),
        2);
}
END_TEST

START_TEST(pages_follow_each_other)
{
    struct mr_dead_filter filter = {.limit = 4, .reach = {.is_any = true}};
    struct page page;

    bury("a", 6, NOON, 1);
    bury("b", 6, NOON, 1); /* the same times: the id decides */
    ck_assert_uint_eq(count_of(filter), 12);
    page = list(&filter);
    ck_assert_uint_eq(page.count, 4);
    ck_assert(mr_uuid_eq(page.before, page.last));
    ck_assert_int_eq(page.until_us, NOON_US + 5000000);
    ck_assert_str_eq(pg_fixture_text(pg,
                         "select string_agg(extract(second from finished_at)::int::text, "
                         "'' order by finished_at desc) from millrace.dead"),
        "665544332211");
    filter.limit = 12;
    page = list(&filter);
    ck_assert_uint_eq(page.count, 12);
    filter.until_us = page.until_us; /* full, and not known to be the last */
    filter.before = page.before;
    if (page.until_us)
        ck_assert_uint_eq(list(&filter).count, 0);
}
END_TEST

/* However few of many the filter lets through, a call looks at 2,000 only. */
START_TEST(a_call_is_bounded)
{
    struct page page;

    bury("rare", 1, "2026-11-24T00:00:00Z", 1);
    bury("common", 4500, NOON, 1);
    page = list(&(struct mr_dead_filter){
        .reach = {.is_any = true}, .kind = mr_span_str("rare"), .limit = 10});
    ck_assert_uint_eq(page.count, 0);
    ck_assert_int_ne(page.until_us, 0);
    ck_assert_uint_eq(count_of((struct mr_dead_filter){.kind = mr_span_str("rare")}), 1);
}
END_TEST

START_TEST(history_comes_with_it)
{
    struct page page;

    bury("a", 150, NOON, 1);
    pg_fixture_text(pg,
        "insert into millrace.attempt (id, attempt, outcome, error) select "
        "id, n, 1, repeat('x', 2000) from millrace.job, "
        "generate_series(1, 3) n");
    page = list(&(struct mr_dead_filter){
        .reach = {.is_any = true}, .with_history = true, .limit = 1000});
    ck_assert_uint_eq(page.count, 100); /* a page is smaller with it */
    ck_assert_uint_eq(page.attempt_rows, 3);
    pg_fixture_text(pg,
        "insert into millrace.attempt (id, attempt, outcome, error) select "
        "id, n, 1, repeat('x', 2000) from millrace.job, "
        "generate_series(4, 60) n");
    page = list(&(struct mr_dead_filter){
        .reach = {.is_any = true}, .with_history = true, .limit = 100});
    ck_assert_uint_ge(page.count, 5); /* and smaller still when it is long */
    ck_assert_uint_le(page.count, 10);
    ck_assert_uint_eq(
        count_of((struct mr_dead_filter){.with_history = true, .limit = 100}), 150);
}
END_TEST

/* ---- redrive ---------------------------------------------------------------------------------- */

#define IDS_MAX 1000
static struct mr_uuid ids[IDS_MAX], as[IDS_MAX];
static char verdicts[IDS_MAX][16];

static uint32_t
dead_ids(void)
{
    struct pg_result *result = NULL;
    uint32_t count;

    ck_ok(mr_pg_run(pg, "select id from millrace.dead order by finished_at, id", 0, NULL,
              &result, &err),
        err);
    count = (uint32_t)mr_pg_rows(result);
    for (uint32_t i = 0; i < count; i++)
        ck_status(
            mr_uuid_parse(mr_span_str(mr_pg_text(result, (int)i, 0)), &ids[i]), MR_OK);
    mr_pg_free_result(&result);
    return count;
}

/* How many have that verdict. */
static uint32_t
redrive_of(struct mr_reach reach, uint32_t count, const char *verdict)
{
    uint32_t rows, found = 0;
    struct mr_rd rd;

    mr_wr_reset(&wr);
    ck_ok(
        mr_store_redrive(store, ids, count, &no_payload, reach, &entry, &wr, &err), err);
    rd = mr_rd_open(mr_wr_span(&wr));
    rows = mr_rd_array(&rd, IDS_MAX);
    for (uint32_t i = 0; i < rows; i++) {
        struct mr_span text;

        ck_assert_uint_eq(mr_rd_map(&rd, 3), 3);
        mr_rd_skip_n(&rd, 3);
        text = mr_rd_str(&rd, 15);
        memcpy(verdicts[i], text.p, text.n);
        verdicts[i][text.n] = '\0';
        found += strcmp(verdicts[i], verdict) == 0;
        mr_rd_skip(&rd);
        if (!mr_rd_skip_nil(&rd))
            ck_status(mr_uuid_parse(mr_rd_str(&rd, 64), &as[i]), MR_OK);
    }
    ck_status(rd.status, MR_OK);
    return found;
}

static uint32_t
redrive(uint32_t count, const char *verdict)
{
    return redrive_of(reach_any, count, verdict);
}

static bool
count_job(void *context, const struct mr_stored_job *job)
{
    (void)job;
    ++*(int *)context;
    return true;
}

static int
take_inbox(void)
{
    int count = 0;
    bool more;

    ck_ok(mr_store_take_inbox(store, 1000, count_job, &count, &more, &err), err);
    return count;
}

static const char same_sql[] =
    "select count(*) from millrace.job n join millrace.job o on o.id = n.redrive_of "
    "where "
    "n.queue = o.queue and n.kind = o.kind and n.payload = o.payload and n.priority = "
    "o.priority and n.lane = o.lane and n.attempts_max = o.attempts_max and n.timeout_ms "
    "= "
    "o.timeout_ms and n.backoff_base_ms = o.backoff_base_ms and n.backoff_cap_ms = "
    "o.backoff_cap_ms and n.backoff_factor_percent = o.backoff_factor_percent and "
    "n.backoff_jitter_percent = o.backoff_jitter_percent and n.trace = o.trace and "
    "n.run_at is null and n.submitted_by = 'me' "
    "and substr(n.id::text, 15, 1) = '7' and abs(millrace.id_ms(n.id) - "
    "extract(epoch from clock_timestamp()) * 1000) < 600000";
static const char results_sql[] =
    "select md5(string_agg(r::text, ',' order by id)) from millrace.result r";

START_TEST(each_is_submitted_once)
{
    char before[64];
    uint32_t count;

    bury("a", 20, NOON, 1);
    strcpy(before, pg_fixture_text(pg, results_sql));
    count = dead_ids();
    ck_assert_uint_eq(redrive(count, "submitted"), 20);
    ck_assert_uint_eq(redrive(count, "known"), 20); /* in the inbox still */
    ck_assert_int_eq(take_inbox(), 20);
    ck_assert_uint_eq(redrive(count, "known"), 20);
    ck_assert_int_eq(take_inbox(), 0);
    ck_assert_int_eq(pg_fixture_int(pg, same_sql), 20);
    ck_assert_str_eq(pg_fixture_text(pg, results_sql), before);
    ck_assert_uint_eq(count_of((struct mr_dead_filter){0}), 0);
    ck_assert_uint_eq(count_of((struct mr_dead_filter){.with_redriven = true}), 20);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.dead d join "
                                        "millrace.job n on n.id = d.redriven_as and "
                                        "n.redrive_of = d.id"),
        20);
}
END_TEST

/* In the order that was asked for, whatever their ids say: a lane keeps it. */
START_TEST(the_order_is_kept)
{
    uint32_t count;

    bury("a", 300, NOON, 1);
    count = dead_ids();
    for (uint32_t i = 0; i < count / 2; i++) {
        struct mr_uuid id = ids[i];

        ids[i] = ids[count - 1 - i];
        ids[count - 1 - i] = id;
    }
    ck_assert_uint_eq(redrive(count, "submitted"), 300);
    for (uint32_t i = 1; i < count; i++)
        ck_assert_int_lt(memcmp(as[i - 1].b, as[i].b, sizeof as[i].b), 0);
    ck_assert_int_eq(take_inbox(), 300);
    ck_assert_int_eq(
        pg_fixture_int(pg,
            "select count(*) from (select o.finished_at > lag(o.finished_at) "
            "over (order by n.id) as is_wrong from millrace.job n join "
            "millrace.result o on o.id = n.redrive_of) x where is_wrong"),
        0);
}
END_TEST

/* A redriven job that dies is dead in its own right. */
START_TEST(a_second_death)
{
    bury("a", 1, NOON, 1);
    ck_assert_uint_eq(dead_ids(), 1);
    ck_assert_uint_eq(redrive(1, "submitted"), 1);
    ck_assert_int_eq(take_inbox(), 1);
    pg_fixture_text(pg, "insert into millrace.result (id, finished_at, attempt, outcome, "
                        "reason) select id, now(), 1, 2, 1 from millrace.job where "
                        "redrive_of is not null");
    ck_assert_uint_eq(count_of((struct mr_dead_filter){0}), 1);
    ck_assert_uint_eq(dead_ids(), 2);
    ck_assert_uint_eq(redrive(2, "submitted"), 1);
    ck_assert_uint_eq(redrive(2, "known"), 2);
}
END_TEST

START_TEST(what_is_not_dead_is_left_alone)
{
    bury("a", 1, NOON, 1);
    ck_assert_uint_eq(dead_ids(), 1);
    ids[1] = ids[0]; /* twice in one message: once */
    ids[2] = mr_uuid_new(INT64_C(1700000000000000));
    ck_assert_uint_eq(redrive(3, "submitted"), 1);
    ck_assert_uint_eq(redrive(3, "no job"), 1);
    pg_fixture_text(pg, "update millrace.result set outcome = 3");
    ck_assert_uint_eq(redrive(1, "not dead"), 1);
    pg_fixture_text(pg, "delete from millrace.result");
    ck_assert_uint_eq(redrive(1, "not dead"), 1);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.inbox"), 1);
}
END_TEST

/* 8 MiB in one transaction; the rest another time, and none is forgotten. */
START_TEST(large_payloads_take_turns)
{
    uint32_t later;

    bury("a", 20, NOON, 1);
    pg_fixture_text(pg, "alter table millrace.job alter payload set storage external");
    pg_fixture_text(pg, "update millrace.job set payload = decode(repeat('c0', 1048576), "
                        "'hex')");
    ck_assert_uint_eq(dead_ids(), 20);
    ck_assert_uint_eq(redrive(20, "submitted"), 8);
    later = redrive(20, "later");
    ck_assert_uint_eq(
        later, 12); /* the first eight count, too: ask for the others alone */
    memmove(ids, ids + 8, 12 * sizeof ids[0]);
    ck_assert_uint_eq(redrive(12, "submitted"), 8);
    ck_assert_uint_eq(redrive(12, "later"), 4);
}
END_TEST

/* Two at a time, over two connections: the second waits for the first and finds what it did. */
START_TEST(two_brokers_at_once)
{
    char sql[128];

    bury("a", 1, NOON, 1);
    ck_assert_uint_eq(dead_ids(), 1);
    pg_fixture_text(pg, "begin");
    pg_fixture_text(pg, "select pg_advisory_xact_lock(28018, 2)");
    mr_wr_reset(&wr);
    ck_status(mr_store_redrive(store, ids, 1, &no_payload, reach_any, &entry, &wr, &err),
        MR_BUSY);
    snprintf(sql, sizeof sql,
        "insert into millrace.inbox (kind, redrive_of) select 'a', id "
        "from millrace.dead");
    pg_fixture_text(pg, sql);
    pg_fixture_text(pg, "commit");
    ck_assert_uint_eq(redrive(1, "known"), 1);
}
END_TEST

START_TEST(a_fenced_broker_redrives_nothing)
{
    bury("a", 1, NOON, 1);
    ck_assert_uint_eq(dead_ids(), 1);
    pg_fixture_text(pg, "update millrace.shard set epoch = epoch + 1");
    ck_status(mr_store_redrive(store, ids, 1, &no_payload, reach_any, &entry, &wr, &err),
        MR_FENCED);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.inbox"), 0);
    ck_assert_int_eq(pg_fixture_int(pg, "select count(*) from millrace.audit"), 0);
}
END_TEST

/* As if those of others were not there, whether or not they were redriven before. */
START_TEST(others_are_out_of_reach)
{
    struct mr_reach mine = {.owner = mr_span_str("me")};
    struct mr_reach theirs = {.owner = mr_span_str("you")};
    struct mr_reach nobodys = {0};
    struct mr_arena *arena = NULL;
    struct mr_why_row row;

    ck_status(mr_arena_new(&arena, 1 << 20), MR_OK);
    bury("a", 2, NOON, 1);
    ck_assert_uint_eq(dead_ids(), 2);
    ck_assert_uint_eq(count_of((struct mr_dead_filter){.reach = mine}), 2);
    ck_assert_uint_eq(count_of((struct mr_dead_filter){.reach = theirs}), 0);
    ck_assert_uint_eq(redrive_of(theirs, 2, "no job"), 2);
    ck_assert_uint_eq(redrive_of(nobodys, 2, "no job"), 2);
    ck_assert_int_eq(take_inbox(), 0);
    ck_assert_uint_eq(redrive_of(mine, 1, "submitted"), 1);
    as[0] = (struct mr_uuid){{0}};
    ck_assert_uint_eq(redrive_of(theirs, 1, "no job"), 1);
    ck_assert(mr_uuid_eq(as[0], (struct mr_uuid){{0}}));
    ck_ok(mr_store_why(store, ids[0], mine, arena, &row, &err), err);
    ck_assert(row.is_job && row.is_finished && row.is_redriven);
    ck_ok(mr_store_why(store, row.redriven_as, mine, arena, &row, &err), err);
    ck_assert(row.is_in_inbox);
    ck_ok(mr_store_why(store, ids[0], theirs, arena, &row, &err), err);
    ck_assert(!row.is_job && !row.is_finished && !row.is_redriven && !row.error.n);
    mr_arena_destroy(&arena);
}
END_TEST

/* ---- why ------------------------------------------------------------------------------------------- */

START_TEST(what_the_database_knows)
{
    struct mr_arena *arena = NULL;
    struct mr_why_row row;

    ck_status(mr_arena_new(&arena, 1 << 20), MR_OK);
    bury("a", 1, NOON, 3);
    ck_assert_uint_eq(dead_ids(), 1);
    ck_ok(mr_store_why(store, ids[0], reach_any, arena, &row, &err), err);
    ck_assert(row.is_job && row.is_finished && !row.is_in_inbox && !row.is_redriven);
    ck_assert_int_eq(row.outcome, MR_FAILED);
    ck_assert_uint_eq(row.attempt, 3);
    ck_assert_int_eq(row.finished_at_us, NOON_US + 1000000);
    ck_assert(mr_span_is(row.reason, "quarantined") && mr_span_is(row.error, "e"));
    ck_assert_uint_eq(redrive(1, "submitted"), 1);
    ck_ok(mr_store_why(store, as[0], reach_any, arena, &row, &err), err);
    ck_assert(!row.is_job && row.is_in_inbox);
    ck_ok(mr_store_why(store, ids[0], reach_any, arena, &row, &err), err);
    ck_assert(row.is_redriven && mr_uuid_eq(row.redriven_as, as[0]));
    pg_fixture_text(pg, "delete from millrace.result");
    pg_fixture_text(pg,
        "insert into millrace.attempt (id, attempt, outcome, error) select "
        "id, n, 1, 'try ' || n from millrace.job, generate_series(1, 2) n");
    ck_ok(mr_store_why(store, ids[0], reach_any, arena, &row, &err), err);
    ck_assert(row.is_job && !row.is_finished && mr_span_is(row.error, "try 2"));
    ck_ok(mr_store_why(store, mr_uuid_new(0), reach_any, arena, &row, &err), err);
    ck_assert(!row.is_job && !row.is_finished && !row.is_in_inbox);
    mr_arena_destroy(&arena);
}
END_TEST

/* ---- plans ------------------------------------------------------------------------------------------ */

/* A hundred thousand that succeeded beside ten that died: only the few are read. */
START_TEST(succeeded_jobs_cost_nothing)
{
    struct pg_result *result = NULL;
    char sql[512];

    pg_fixture_text(pg,
        "with j as (insert into millrace.job (id, submitted_at, shard, priority, queue, "
        "kind) "
        "select millrace.new_id(), now(), 0, 4, 'q', 'k' from generate_series(1, 100000) "
        "returning id) insert into millrace.result (id, finished_at, attempt, outcome) "
        "select id, now(), 1, 1 from j");
    bury("a", 10, NOON, 1);
    ck_assert_int_lt(
        pg_fixture_int(pg, "select sum(pg_relation_size(indexrelid)) from "
                           "pg_index where indrelid in (select inhrelid from "
                           "pg_inherits where inhparent = "
                           "'millrace.result'::regclass) and indpred is not "
                           "null"),
        200000);
    ck_ok(mr_stmt_prepare(pg, MR_STMT_STORE, &err), err);
    pg_fixture_text(pg, "set plan_cache_mode = force_generic_plan");
    pg_fixture_text(pg, "set enable_seqscan = off");
    pg_fixture_text(pg, "set enable_hashjoin = off");
    pg_fixture_text(pg, "set enable_mergejoin = off");
    snprintf(sql, sizeof sql,
        "explain execute %s ('epoch', 'infinity', millrace.new_id(), 2000, null, null, "
        "null, false, 'me')",
        mr_stmt_name(MR_STMT_DEAD));
    ck_ok(mr_pg_run(pg, sql, 0, NULL, &result, &err), err);
    for (int i = 0; i < mr_pg_rows(result); i++) {
        const char *line = mr_pg_text(result, i, 0);

        ck_assert_msg(
            !strstr(line, "Seq Scan on") && !strstr(line, "Sort  ("), "%s", line);
        ck_assert_msg(!strstr(line, "on result_") || strstr(line, "_finished_at_id_idx"),
            "%s", line);
    }
    mr_pg_free_result(&result);
    ck_assert_uint_eq(count_of((struct mr_dead_filter){0}), 10);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("sql/dead");
    TCase *tcase = tcase_create("dead");

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, filters);
    tcase_add_test(tcase, pages_follow_each_other);
    tcase_add_test(tcase, a_call_is_bounded);
    tcase_add_test(tcase, history_comes_with_it);
    tcase_add_test(tcase, each_is_submitted_once);
    tcase_add_test(tcase, the_order_is_kept);
    tcase_add_test(tcase, a_second_death);
    tcase_add_test(tcase, what_is_not_dead_is_left_alone);
    tcase_add_test(tcase, large_payloads_take_turns);
    tcase_add_test(tcase, two_brokers_at_once);
    tcase_add_test(tcase, a_fenced_broker_redrives_nothing);
    tcase_add_test(tcase, others_are_out_of_reach);
    tcase_add_test(tcase, what_the_database_knows);
    tcase_add_test(tcase, succeeded_jobs_cost_nothing);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}
