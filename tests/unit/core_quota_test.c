/* What a principal may use: by hand arithmetic, then in the core. */
#include "tests/unit/core_rig.h"

#define MS INT64_C(1000)

/* ---- arithmetic ------------------------------------------------------------------------------ */

static uint32_t
how_many(const struct mr_quota *quota, struct mr_quota_use *use, int64_t now_us)
{
    uint32_t n = 0;

    while (n < 1000 && mr_quota_judge(quota, use, now_us, 1) == MR_QUOTA_NONE) {
        mr_quota_take(quota, use, now_us);
        n++;
    }
    return n;
}

/* Four in a second: one comes back every 250 ms, and never are there more than four. */
START_TEST(a_bucket_of_four)
{
    struct mr_quota quota = {.jobs_per_s = 4};
    struct mr_quota_use use = {0};
    int64_t now_us = 5000 * MS;

    ck_assert_uint_eq(mr_quota_wait_ms(&quota, &use, now_us, 4), 0);
    ck_assert_uint_eq(how_many(&quota, &use, now_us), 4);
    ck_assert_int_eq(mr_quota_judge(&quota, &use, now_us, 1), MR_QUOTA_RATE);
    ck_assert_uint_eq(mr_quota_wait_ms(&quota, &use, now_us, 1), 250);
    ck_assert_uint_eq(mr_quota_wait_ms(&quota, &use, now_us, 3), 750);
    ck_assert_uint_eq(mr_quota_wait_ms(&quota, &use, now_us, 4), 1000);
    ck_assert_uint_eq(mr_quota_wait_ms(&quota, &use, now_us, 4000), 1000);
    ck_assert_uint_eq(how_many(&quota, &use, now_us + 249 * MS), 0);
    ck_assert_uint_eq(mr_quota_wait_ms(&quota, &use, now_us + 249 * MS, 1), 1);
    ck_assert_uint_eq(how_many(&quota, &use, now_us + 250 * MS), 1);
    ck_assert_uint_eq(how_many(&quota, &use, now_us + 1000 * MS), 3);
    ck_assert_uint_eq(how_many(&quota, &use, now_us + 60000 * MS), 4);
}
END_TEST

/* A third of a second is 333,333,333.3 ns: the wait is rounded up to a millisecond. */
START_TEST(rates_that_do_not_divide)
{
    struct mr_quota quota = {.jobs_per_s = 3}, fast = {.jobs_per_s = 2147483647};
    struct mr_quota_use use = {0}, fast_use = {0};
    uint32_t n = 0;

    ck_assert_uint_eq(how_many(&quota, &use, 0), 3);
    ck_assert_uint_eq(mr_quota_wait_ms(&quota, &use, 0, 1), 334);
    for (int64_t ms = 1; ms <= 100000; ms++)
        n += how_many(&quota, &use, ms * MS);
    ck_assert_uint_eq(n, 300); /* in 100 s */
    ck_assert_uint_eq(how_many(&fast, &fast_use, 0), 1000);
}
END_TEST

/* Four that are out of a bucket of four are four out of one of eight, and all of one of two. */
START_TEST(another_rate)
{
    struct mr_quota four = {.jobs_per_s = 4}, eight = {.jobs_per_s = 8};
    struct mr_quota two = {.jobs_per_s = 2}, none = {0};
    struct mr_quota_use use = {0};

    ck_assert_uint_eq(how_many(&four, &use, 0), 4);
    mr_quota_change(&four, &eight, &use, 0);
    ck_assert_uint_eq(how_many(&eight, &use, 0), 4);
    mr_quota_change(&eight, &two, &use, 0);
    ck_assert_uint_eq(how_many(&two, &use, 999 * MS / 2), 0);
    ck_assert_uint_eq(how_many(&two, &use, 500 * MS), 1);
    mr_quota_change(&two, &none, &use, 500 * MS);
    mr_quota_change(&none, &four, &use, 500 * MS);
    ck_assert_uint_eq(how_many(&four, &use, 500 * MS), 4);
}
END_TEST

START_TEST(no_limit_and_what_is_at_it)
{
    struct mr_quota none = {0};
    struct mr_quota all = {
        .jobs_per_s = 1, .waiting_max = 2, .payload_bytes_max = 10, .connections_max = 1};
    struct mr_quota_use much = {
        .jobs = 4000000000u, .payload_bytes = UINT64_C(1) << 60, .sessions = 4000000000u};
    struct mr_quota_use use = {.jobs = 1, .payload_bytes = 4, .sessions = 1};

    ck_assert_int_eq(mr_quota_judge(&none, &much, 0, 1 << 20), MR_QUOTA_NONE);
    ck_assert_uint_eq(mr_quota_wait_ms(&none, &much, 0, 5), 0);
    ck_assert(mr_quota_has_session(&none, &much));
    ck_assert_int_eq(mr_quota_judge(&all, &use, 0, 6), MR_QUOTA_NONE);
    ck_assert_int_eq(mr_quota_judge(&all, &use, 0, 7), MR_QUOTA_BYTES);
    ck_assert_int_eq(mr_quota_judge(&all, &use, 0, 10), MR_QUOTA_BYTES);
    ck_assert_int_eq(mr_quota_judge(&all, &use, 0, 11), MR_QUOTA_PAYLOAD);
    use.jobs = 2;
    ck_assert_int_eq(mr_quota_judge(&all, &use, 0, 6), MR_QUOTA_WAITING);
    ck_assert(!mr_quota_has_session(&all, &use));
    use.sessions = 0;
    ck_assert(mr_quota_has_session(&all, &use));
}
END_TEST

/* Who is refused is told by which limit; only where waiting helps is it BUSY. */
START_TEST(words_name_the_limit)
{
    for (int i = MR_QUOTA_PAYLOAD; i < MR_QUOTA_LIMITS; i++) {
        enum mr_quota_limit limit = (enum mr_quota_limit)i;
        bool is_for_good = i == MR_QUOTA_PAYLOAD || i == MR_QUOTA_SESSIONS;

        ck_assert_ptr_nonnull(strstr(mr_quota_text(limit), mr_quota_name(limit)));
        ck_assert_int_eq(mr_quota_code(limit), is_for_good ? MR_LIMIT : MR_BUSY);
    }
}
END_TEST

/* ---- in the core ------------------------------------------------------------------------------- */

static struct rig rig;
static struct mr_rights *rights;

/* Principal 1, "a", has this quota; principal 2, "b", has none. */
static void
limit(struct mr_quota quota)
{
    struct mr_rights *next;

    ck_assert_int_eq(mr_rights_new(&next, (struct mr_hash_key){1, 2}), MR_OK);
    for (uint32_t i = 1; i <= 2; i++) {
        struct mr_rights_row row = {.type = MR_ROW_PRINCIPAL,
            .principal = i,
            .text = mr_span_str(i == 1 ? "a" : "b"),
            .quota = i == 1 ? quota : (struct mr_quota){0}};

        ck_assert_int_eq(mr_rights_add(next, &row), MR_OK);
        row.type = MR_ROW_GRANT;
        row.queue = row.kind = mr_span_str("*");
        row.text = mr_span_str("worker");
        ck_assert_int_eq(mr_rights_add(next, &row), MR_OK);
    }
    ck_assert_int_eq(mr_rights_seal(next), MR_OK);
    mr_core_set_rights(rig.core, rig.now, next);
    mr_rights_destroy(&rights);
    rights = next;
}

enum { A = 2, B = 3 }; /* clients of the two */

static void
begin(struct mr_quota quota)
{
    rig_init(&rig);
    rig_start(&rig);
    limit(quota);
    for (uint32_t peer = A; peer <= B; peer++)
        ck_assert_int_eq(mr_core_client_joins(rig.core, rig.now, peer, peer - A + 1,
                             mr_span_str("client")),
            MR_OK);
}

static void
end(void)
{
    rig_stop(&rig);
    mr_rights_destroy(&rights);
}

static struct mr_core_owner_info
info_of(const char *name)
{
    struct mr_core_owner_info info;
    uint32_t cursor = 0;

    while (mr_core_next_owner(rig.core, &cursor, &info))
        if (mr_span_is(info.name, name))
            return info;
    ck_abort_msg("there is no owner %s", name);
}

/* So many new jobs in one message; how many were refused with that code. */
static uint32_t
submit(uint32_t peer, uint32_t jobs, struct mr_span payload, enum mr_status code)
{
    const struct rig_said *ack;
    uint32_t refused;

    rig_forget(&rig);
    ck_assert_int_eq(mr_core_submit_open(rig.core, rig.now, peer, 7, 0, jobs), MR_OK);
    for (uint32_t i = 0; i < jobs; i++) {
        struct mr_job_new job = rig_job(&rig);

        job.payload = payload;
        mr_core_submit_job(rig.core, rig.now, &job);
    }
    mr_core_submit_close(rig.core, rig.now);
    rig_commit(&rig);
    ack = rig_last(&rig, MR_ACT_ACK);
    refused = ack->action.verdict_count;
    for (uint32_t i = 0; i < refused; i++)
        ck_assert_int_eq(ack->verdicts[i].code, code);
    return refused;
}

static uint32_t
hint(void)
{
    return rig_last(&rig, MR_ACT_ACK)->action.retry_after_ms;
}

/* The hint is when all that were refused would get through. */
START_TEST(too_many_in_a_second)
{
    struct mr_job_new job;

    begin((struct mr_quota){.jobs_per_s = 4});
    ck_assert_uint_eq(submit(A, 6, mr_span_str("x"), MR_BUSY), 2);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_ACK)->verdicts[0].index, 4);
    ck_assert_uint_eq(hint(), 500);
    ck_assert_uint_eq(submit(A, 1, mr_span_str("x"), MR_BUSY), 1);
    ck_assert_ptr_nonnull(strstr(rig_last(&rig, MR_ACT_ACK)->text, "jobs_per_s"));
    ck_assert_uint_eq(hint(), 250);
    ck_assert_uint_eq(submit(B, 50, mr_span_str("x"), MR_BUSY), 0); /* another one's */
    rig_move(&rig, 500 * MS);
    ck_assert_uint_eq(submit(A, 2, mr_span_str("x"), MR_BUSY), 0);
    ck_assert_uint_eq(submit(A, 1, mr_span_str("x"), MR_BUSY), 1);
    ck_assert_uint_eq(info_of("a").use.refused[MR_QUOTA_RATE], 4);
    ck_assert_uint_eq(rig_stats(&rig).over_quota, 4);
    limit((struct mr_quota){.jobs_per_s = 1000}); /* at once */
    ck_assert_uint_eq(submit(A, 30, mr_span_str("x"), MR_BUSY), 0);
    limit((struct mr_quota){.jobs_per_s = 1});
    rig_move(&rig, 1000 * MS);
    job = rig_job(&rig);
    for (uint32_t i = 0; i < 5; i++) { /* what is known takes nothing */
        ck_assert_int_eq(mr_core_submit_open(rig.core, rig.now, A, 7, 0, 1), MR_OK);
        mr_core_submit_job(rig.core, rig.now, &job);
        mr_core_submit_close(rig.core, rig.now);
        rig_commit(&rig);
        ck_assert_int_eq(rig_last(&rig, MR_ACT_ACK)->action.verdict_count ? MR_KNOWN : 0,
            i ? MR_KNOWN : 0);
    }
    end();
}
END_TEST

START_TEST(too_many_unfinished)
{
    struct mr_uuid id;

    begin((struct mr_quota){.waiting_max = 2});
    ck_assert_uint_eq(submit(A, 3, mr_span_str("x"), MR_BUSY), 1);
    ck_assert_uint_eq(hint(), 200); /* busy_retry_ms */
    ck_assert_ptr_nonnull(strstr(rig_last(&rig, MR_ACT_ACK)->text, "waiting_max"));
    ck_assert_uint_eq(info_of("a").use.jobs, 2);
    ck_assert_uint_eq(submit(B, 20, mr_span_str("x"), MR_BUSY), 0);
    rig_worker(&rig, 8, 1, 1, NULL);
    rig_tick(&rig);
    id = rig_last(&rig, MR_ACT_JOB)->job.id;
    ck_assert_uint_eq(submit(A, 1, mr_span_str("x"), MR_BUSY), 1); /* runs: unfinished */
    rig_report(&rig, 8, id, 1, MR_DID_SUCCEED);
    ck_assert_uint_eq(submit(A, 2, mr_span_str("x"), MR_BUSY), 1);
    ck_assert_uint_eq(info_of("a").use.refused[MR_QUOTA_WAITING], 3);
    end();
}
END_TEST

START_TEST(too_many_bytes)
{
    struct mr_stored_job row = {.submitted_by = mr_span_str("a"), .payload_bytes = 3};
    struct mr_core_owner_info info;

    begin((struct mr_quota){.payload_bytes_max = 10});
    ck_assert_uint_eq(submit(A, 1, mr_span_str("12345678901"), MR_LIMIT), 1);
    ck_assert_uint_eq(hint(), 0);
    ck_assert_uint_eq(submit(A, 1, mr_span_str("123456"), MR_BUSY), 0);
    ck_assert_uint_eq(submit(A, 1, mr_span_str("12345"), MR_BUSY), 1);
    ck_assert_ptr_nonnull(strstr(rig_last(&rig, MR_ACT_ACK)->text, "payload_bytes_max"));
    ck_assert_uint_eq(submit(A, 1, mr_span_str("1"), MR_BUSY), 0);
    row.job = rig_job(&rig); /* accepted before: counted, and never refused */
    row.job.payload = MR_SPAN_NONE;
    for (uint32_t i = 0; i < 2; i++, row.job.id = rig_id(&rig))
        ck_assert_int_eq(mr_core_loaded(rig.core, rig.now, &row), MR_OK);
    info = info_of("a");
    ck_assert_uint_eq(info.use.payload_bytes, 6 + 1 + 3 + 3);
    ck_assert_uint_eq(info.use.refused[MR_QUOTA_PAYLOAD], 1);
    ck_assert_uint_eq(info.use.refused[MR_QUOTA_BYTES], 1);
    ck_assert_uint_eq(submit(B, 1, mr_span_str("12345678901"), MR_BUSY), 0);
    end();
}
END_TEST

/* A row that is refused by the database is not unfinished any more. */
START_TEST(what_is_not_stored_is_given_back)
{
    struct mr_job_new job;

    begin((struct mr_quota){.waiting_max = 1});
    job = rig_job(&rig);
    ck_assert_int_eq(mr_core_submit_open(rig.core, rig.now, A, 7, 0, 1), MR_OK);
    mr_core_submit_job(rig.core, rig.now, &job);
    mr_core_submit_close(rig.core, rig.now);
    rig_answer(&rig, MR_CONFLICT);
    ck_assert_uint_eq(info_of("a").use.jobs, 0);
    ck_assert_uint_eq(info_of("a").use.payload_bytes, 0);
    ck_assert_uint_eq(submit(A, 1, mr_span_str("x"), MR_BUSY), 0);
    end();
}
END_TEST

static enum mr_status
client(uint32_t peer, uint32_t principal)
{
    return mr_core_client_joins(rig.core, rig.now, peer, principal, mr_span_str("c"));
}

static enum mr_status
worker(uint32_t peer, uint32_t principal, uint8_t instance)
{
    struct mr_offer offer = {.kind = mr_span_str("k")};
    struct mr_hello hello = {
        .role = MR_ROLE_WORKER, .name = mr_span_str("w"), .threads = 1, .offers = 1};

    hello.instance.b[0] = instance;
    return mr_core_worker_joins(rig.core, rig.now, peer, principal, &hello, &offer);
}

START_TEST(too_many_sessions)
{
    begin((struct mr_quota){.connections_max = 2});
    ck_assert_int_eq(worker(8, 1, 1), MR_OK);
    ck_assert_int_eq(client(4, 1), MR_LIMIT);
    ck_assert_int_eq(worker(9, 1, 2), MR_LIMIT);
    ck_assert_int_eq(worker(9, 1, 1), MR_OK); /* the same worker, connected anew */
    ck_assert_int_eq(client(4, 2), MR_OK);
    ck_assert_int_eq(client(5, 0), MR_OK);
    ck_assert_uint_eq(info_of("a").use.refused[MR_QUOTA_SESSIONS], 2);
    mr_core_leaves(rig.core, rig.now, A, mr_span_str("left"));
    ck_assert_int_eq(client(6, 1), MR_OK);
    ck_assert_int_eq(client(7, 1), MR_LIMIT);
    limit((struct mr_quota){.connections_max = 1}); /* who is in stays */
    ck_assert_uint_eq(info_of("a").use.sessions, 2);
    ck_assert_int_eq(client(7, 1), MR_LIMIT);
    end();
}
END_TEST

static void
add(TCase *tcase)
{
    tcase_add_test(tcase, a_bucket_of_four);
    tcase_add_test(tcase, rates_that_do_not_divide);
    tcase_add_test(tcase, another_rate);
    tcase_add_test(tcase, no_limit_and_what_is_at_it);
    tcase_add_test(tcase, words_name_the_limit);
    tcase_add_test(tcase, too_many_in_a_second);
    tcase_add_test(tcase, too_many_unfinished);
    tcase_add_test(tcase, too_many_bytes);
    tcase_add_test(tcase, what_is_not_stored_is_given_back);
    tcase_add_test(tcase, too_many_sessions);
}

int
main(void)
{
    return rig_run("core/quota", add) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
