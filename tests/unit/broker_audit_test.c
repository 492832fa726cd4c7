/*
 * What the loop notes for the audit log: refusals gathered by the second, in bounded memory, and
 * handed over one task at a time.
 */
#include "broker/audit.h"

#include <check.h>

#include <stdio.h>
#include <stdlib.h>

#include "broker/writer.h"

#define SECOND_US INT64_C(1000000)

static struct mr_broker *broker;
static struct mr_task *given; /* to the writer, one at most */

void
mr_writer_give(struct mr_writer *writer, struct mr_task *task)
{
    (void)writer;
    ck_assert_ptr_null(given);
    given = task;
}

static void
set_up(void)
{
    broker = calloc(1, sizeof *broker);
    ck_assert_ptr_nonnull(broker);
    broker->epoch = 7;
    broker->now = (struct mr_now){SECOND_US, 1700000000 * SECOND_US};
    ck_assert_int_eq(mr_auditor_new(&broker->auditor), MR_OK);
}

static void
tear_down(void)
{
    mr_task_destroy(&given);
    mr_auditor_destroy(&broker->auditor);
    ck_assert_ptr_null(broker->auditor);
    free(broker);
}

static void
refuse(const char *principal, const char *action, const char *object)
{
    mr_audit_note(broker, &(struct mr_audit){.principal = mr_span_str(principal),
                              .action = mr_span_str(action),
                              .object = mr_span_str(object),
                              .detail = mr_span_str("the right is missing")});
}

static void
later(int64_t us)
{
    broker->now.mono_us += us;
    broker->now.wall_us += us;
}

/* The writer is done with what it was given. */
static void
written(enum mr_status status)
{
    struct mr_task *task = given;

    given = NULL;
    ck_assert_ptr_nonnull(task);
    task->status = status;
    mr_audit_written(broker, task);
}

static const struct mr_audit_row *
row_of(const char *principal, const char *action)
{
    ck_assert_ptr_nonnull(given);
    for (uint32_t i = 0; i < given->audit_count; i++) {
        const struct mr_audit_row *row = &given->audits[i];

        if (mr_span_is(row->principal, principal) && mr_span_is(row->action, action))
            return row;
    }
    ck_abort_msg("no row of %s, %s", principal, action);
    return NULL;
}

START_TEST(equal_refusals_of_a_second_are_one_row)
{
    for (int i = 0; i < 1000; i++) {
        refuse("mallory", "submit", "q1");
        refuse("mallory", "submit", "q2");
        later(900);
        mr_audit_dispatch(broker);
    }
    ck_assert_ptr_null(given);
    ck_assert_int_eq(mr_audit_next_us(broker), 2 * SECOND_US);
    ck_assert(!mr_audit_is_idle(broker));
    later(100000);
    mr_audit_dispatch(broker);
    ck_assert_ptr_nonnull(given);
    ck_assert_uint_eq(given->audit_count, 2);
    ck_assert(mr_span_is(given->audits[0].object, "q1"));
    ck_assert(mr_span_is(given->audits[1].object, "q2"));
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(given->audits[i].count, 1000);
        ck_assert(!given->audits[i].is_allowed);
        ck_assert_int_eq(given->audits[i].at_us, 1700000000 * SECOND_US);
    }
    written(MR_OK);
    ck_assert_uint_eq(broker->counters.audited, 2);
    ck_assert(mr_audit_is_idle(broker));
    ck_assert_int_eq(mr_audit_next_us(broker), INT64_MAX);
}
END_TEST

/* Every field makes a difference, and so does where one ends and the next begins. */
START_TEST(refusals_that_differ_are_rows_of_their_own)
{
    static const char *const texts[][6] = {
        {"p", "k", "a", "o", "d", "s"},
        {"P", "k", "a", "o", "d", "s"},
        {"p", "K", "a", "o", "d", "s"},
        {"p", "k", "A", "o", "d", "s"},
        {"p", "k", "a", "O", "d", "s"},
        {"p", "k", "a", "o", "D", "s"},
        {"p", "k", "a", "o", "d", "S"},
        {"p", "k", "a", "od", "", "s"},
    };
    enum { ROWS = sizeof texts / sizeof *texts };

    for (int i = 0; i < ROWS * 2; i++) {
        const char *const *t = texts[i % ROWS];

        mr_audit_note(broker, &(struct mr_audit){.principal = mr_span_str(t[0]),
                                  .key = mr_span_str(t[1]),
                                  .action = mr_span_str(t[2]),
                                  .object = mr_span_str(t[3]),
                                  .detail = mr_span_str(t[4]),
                                  .source = mr_span_str(t[5])});
    }
    mr_audit_flush(broker);
    ck_assert_ptr_nonnull(given);
    ck_assert_uint_eq(given->audit_count, ROWS);
    for (int i = 0; i < ROWS; i++)
        ck_assert_uint_eq(given->audits[i].count, 2);
}
END_TEST

/* One who is refused in a thousand ways fills the log with nine rows and hides nobody. */
START_TEST(noise_is_summed_up_and_hides_nobody)
{
    char object[32];

    for (int i = 0; i < 1000; i++) {
        snprintf(object, sizeof object, "job %d", i);
        refuse("mallory", "fetch", object);
    }
    refuse("alice", "drain", "");
    mr_audit_flush(broker);
    ck_assert_ptr_nonnull(given);
    ck_assert_uint_eq(given->audit_count, 8 + 1 + 1);
    ck_assert_uint_eq(row_of("mallory", "several")->count, 1000 - 8);
    ck_assert_uint_eq(row_of("alice", "drain")->count, 1);
}
END_TEST

/* Keys cost a stranger nothing: all strangers are one in this. */
START_TEST(strangers_with_many_keys_are_one)
{
    char key[41];

    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "%040d", i);
        mr_audit_note(broker, &(struct mr_audit){.key = mr_span_str(key),
                                  .action = mr_span_str("handshake"),
                                  .detail = mr_span_str("unknown key")});
    }
    refuse("alice", "drain", "");
    mr_audit_flush(broker);
    ck_assert_ptr_nonnull(given);
    ck_assert_uint_eq(given->audit_count, 8 + 1 + 1);
    ck_assert_uint_eq(row_of("", "several")->count, 1000 - 8);
    ck_assert_uint_eq(row_of("alice", "drain")->count, 1);
}
END_TEST

/* More principals than there are rows: one row says how many are not listed. */
START_TEST(more_principals_than_rows_are_counted)
{
    char name[32];
    uint64_t sum = 0;

    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "p%d", i);
        refuse(name, "submit", "q");
    }
    mr_audit_flush(broker);
    ck_assert_ptr_nonnull(given);
    ck_assert_uint_le(given->audit_count, 65);
    for (uint32_t i = 0; i < given->audit_count; i++)
        sum += given->audits[i].count;
    ck_assert_uint_eq(sum, 1000);
    ck_assert_uint_eq(row_of("", "several")->count, 1000 - 64);
}
END_TEST

START_TEST(acts_are_a_row_each_and_at_once)
{
    struct mr_audit drain = {.principal = mr_span_str("olga"),
        .action = mr_span_str("drain"),
        .is_allowed = true};

    for (int i = 0; i < 3; i++)
        mr_audit_note(broker, &drain);
    mr_audit_dispatch(broker);
    ck_assert_ptr_nonnull(given);
    ck_assert_uint_eq(given->audit_count, 3);
    ck_assert(given->audits[2].is_allowed);
    ck_assert_uint_eq(given->audits[2].count, 1);
    /* One task at a time. */
    mr_audit_note(broker, &drain);
    mr_audit_dispatch(broker);
    written(MR_OK);
    mr_audit_dispatch(broker);
    ck_assert_ptr_nonnull(given);
    ck_assert_uint_eq(given->audit_count, 1);
}
END_TEST

/* The database is away: so many rows wait, the rest is counted and told when it is back. */
START_TEST(rows_wait_bounded_and_what_is_dropped_is_told)
{
    enum { NOTED = 100000, ROOM = 16 * MR_AUDIT_ROWS_MAX };
    struct mr_audit act = {.action = mr_span_str("drain"), .is_allowed = true};
    uint64_t sum = 0, dropped = 0;

    broker->epoch = 0; /* not even claimed */
    for (int i = 0; i < NOTED; i++)
        mr_audit_note(broker, &act);
    mr_audit_dispatch(broker);
    ck_assert_ptr_null(given);
    ck_assert_uint_eq(broker->counters.audit_dropped, NOTED - ROOM);
    broker->epoch = 7;
    for (int i = 0; i < 100 && !mr_audit_is_idle(broker); i++) {
        mr_audit_dispatch(broker);
        ck_assert_ptr_nonnull(given);
        for (uint32_t at = 0; at < given->audit_count; at++) {
            bool is_told = mr_span_is(given->audits[at].action, "dropped");

            *(is_told ? &dropped : &sum) += given->audits[at].count;
        }
        written(MR_OK);
    }
    ck_assert_uint_eq(sum, ROOM);
    ck_assert_uint_eq(dropped, NOTED - ROOM);
}
END_TEST

START_TEST(rows_that_the_database_refuses_are_counted_and_not_tried_in_a_hurry)
{
    refuse("mallory", "submit", "q");
    mr_audit_flush(broker);
    written(MR_DENIED);
    ck_assert_uint_eq(broker->counters.audit_dropped, 1);
    mr_audit_dispatch(broker);
    ck_assert_ptr_null(given);
    ck_assert_int_eq(mr_audit_next_us(broker), broker->now.mono_us + SECOND_US);
    later(SECOND_US);
    mr_audit_dispatch(broker);
    ck_assert_uint_eq(row_of("", "dropped")->count, 1);
}
END_TEST

START_TEST(texts_are_cut_and_stay_text)
{
    char longer[4096];
    struct mr_audit it = {.is_allowed = true};
    const struct mr_audit_row *row;

    memset(longer, 'x', sizeof longer);
    for (size_t i = 0; i < sizeof longer; i += 2)
        memcpy(longer + i, "\xc3\xa9", 2);
    it.principal = it.key = it.action = it.object = it.detail = it.source =
        mr_span(longer + 1, sizeof longer - 1);
    mr_audit_note(broker, &it);
    it.is_allowed = false;
    mr_audit_note(broker, &it);
    mr_audit_flush(broker);
    ck_assert_ptr_nonnull(given);
    ck_assert_uint_eq(given->audit_count, 2);
    row = &given->audits[1];
    ck_assert_uint_le(row->principal.n + row->key.n + row->action.n + row->object.n +
                          row->detail.n + row->source.n,
        512);
    ck_assert_uint_eq(row->detail.n % 2, 1); /* the stray byte, then whole characters */
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("broker/audit");
    TCase *tcase = tcase_create("audit");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, equal_refusals_of_a_second_are_one_row);
    tcase_add_test(tcase, refusals_that_differ_are_rows_of_their_own);
    tcase_add_test(tcase, noise_is_summed_up_and_hides_nobody);
    tcase_add_test(tcase, strangers_with_many_keys_are_one);
    tcase_add_test(tcase, more_principals_than_rows_are_counted);
    tcase_add_test(tcase, acts_are_a_row_each_and_at_once);
    tcase_add_test(tcase, rows_wait_bounded_and_what_is_dropped_is_told);
    tcase_add_test(
        tcase, rows_that_the_database_refuses_are_counted_and_not_tried_in_a_hurry);
    tcase_add_test(tcase, texts_are_cut_and_stay_text);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
