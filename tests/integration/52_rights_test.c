/*
 * Who may do what, through the doors: every role, every action, own and other jobs, queues that are
 * granted and queues that are not, over CURVE with a real broker and a real PostgreSQL. What
 * is expected stands in one table, written from the rules and not from the code.
 */
#include "tests/integration/rights_rig.h"

/* ---- the table ----------------------------------------------------------------------------------- */

/* Of each four: own job in "open", own job in "shut", another one's in "open", another one's in
 * "shut". Of two: "open", "shut". */
static const struct {
    const char *name;
    enum verdict submit[2], watch[4], fetch[4], cancel[4], list[2], stats, operate[2],
        administer, run;
} table[] = {
    {.name = "front",
        .submit = {YES, NO},
        .watch = {YES, GONE, GONE, GONE},
        .fetch = {YES, GONE, GONE, GONE},
        .cancel = {YES, GONE, GONE, GONE},
        .list = {YES, NO},
        .stats = NO,
        .operate = {NO, NO},
        .administer = NO,
        .run = NO},
    {.name = "barred",
        .submit = {YES, NO},
        .watch = {YES, GONE, GONE, GONE},
        .fetch = {YES, GONE, GONE, GONE},
        .cancel = {YES, GONE, GONE, GONE},
        .list = {YES, NO},
        .stats = NO,
        .operate = {NO, NO},
        .administer = NO,
        .run = NO},
    {.name = "work",
        .submit = {NO, NO},
        .watch = {NO, NO, NO, NO},
        .fetch = {NO, NO, NO, NO},
        .cancel = {NO, NO, NO, NO},
        .list = {NO, NO},
        .stats = NO,
        .operate = {NO, NO},
        .administer = NO,
        .run = YES},
    {.name = "oper",
        .submit = {NO, NO},
        .watch = {YES, GONE, YES, GONE},
        .fetch = {YES, GONE, YES, GONE},
        .cancel = {YES, GONE, YES, GONE},
        .list = {YES, NO},
        .stats = YES,
        .operate = {YES, NO},
        .administer = NO,
        .run = NO},
    {.name = "audit",
        .submit = {NO, NO},
        .watch = {YES, GONE, YES, GONE},
        .fetch = {YES, GONE, YES, GONE},
        .cancel = {NO, NO, NO, NO},
        .list = {YES, NO},
        .stats = YES,
        .operate = {NO, NO},
        .administer = NO,
        .run = NO},
    {.name = "admin",
        .submit = {NO, NO},
        .watch = {NO, NO, NO, NO},
        .fetch = {NO, NO, NO, NO},
        .cancel = {NO, NO, NO, NO},
        .list = {NO, NO},
        .stats = NO,
        .operate = {NO, NO},
        .administer = YES,
        .run = NO},
    {.name = "chief",
        .submit = {YES, YES},
        .watch = {YES, YES, YES, YES},
        .fetch = {YES, YES, YES, YES},
        .cancel = {YES, YES, YES, YES},
        .list = {YES, YES},
        .stats = YES,
        .operate = {YES, YES},
        .administer = YES,
        .run = YES},
    {.name = "nobody",
        .submit = {NO, NO},
        .watch = {NO, NO, NO, NO},
        .fetch = {NO, NO, NO, NO},
        .cancel = {NO, NO, NO, NO},
        .list = {NO, NO},
        .stats = NO,
        .operate = {NO, NO},
        .administer = NO,
        .run = NO},
};
#define ROWS (sizeof table / sizeof *table)

/* ---- the matrix ----------------------------------------------------------------------------------------- */

enum { WATCHED, FETCHED, CANCELLED, USES };
static struct mr_uuid jobs[ROWS][USES][4]; /* as the fours of the table */

/* Each job for one use; the broker has all of them in the end. */
static void
put_jobs(void)
{
    struct rig_peer chief;
    struct mr_reply reply;
    int64_t until = rig_now_ms() + RIG_WAIT_MS;
    struct mr_uuid last = {{0}};

    for (size_t row = 0; row < ROWS; row++) {
        for (int use = 0; use < USES; use++) {
            for (int i = 0; i < 4; i++)
                last = jobs[row][use][i] =
                    put_job(i < 2 ? table[row].name : STRANGER, i % 2 ? "shut" : "open");
        }
    }
    ck_assert(enter(&chief, "chief", MR_ROLE_CLIENT, NULL));
    do {
        ck_assert_int_lt(rig_now_ms(), until);
        rig_breathe();
        call(&chief, "explain", "id", mr_span(last.b, sizeof last.b), &reply);
    } while (
        reply.code != MR_OK || rig_int(&rig, "select count(*) from millrace.inbox") != 0);
    rig_peer_close(&chief);
}

static void
expect(size_t row, const char *action, int which, enum verdict got, enum verdict wanted)
{
    static const char *const words[] = {"NO", "YES", "GONE"};

    ck_assert_msg(got == wanted, "%s %s %d: %s, not %s", table[row].name, action, which,
        words[got], words[wanted]);
}

/* Whoever is sent away at HELLO may nothing of what there is behind that door. */
static void
expect_nothing(size_t row)
{
    for (int i = 0; i < 4; i++) {
        expect(row, "submit", i % 2, NO, table[row].submit[i % 2]);
        expect(row, "watch", i, NO, table[row].watch[i]);
        expect(row, "fetch", i, NO, table[row].fetch[i]);
        expect(row, "cancel", i, NO, table[row].cancel[i]);
        expect(row, "list", i % 2, NO, table[row].list[i % 2]);
        expect(row, "operate", i % 2, NO, table[row].operate[i % 2]);
    }
    expect(row, "stats", 0, NO, table[row].stats);
    expect(row, "administer", 0, NO, table[row].administer);
}

/* A list has the caller's own jobs, and those of others only if it may see them one by one. */
static enum verdict
is_listed(struct rig_peer *peer, struct mr_uuid id)
{
    struct mr_reply reply;
    char shown[MR_UUID_TEXT_MAX];

    call(peer, "jobs", "queue", mr_span_str("open"), &reply);
    if (reply.code == MR_DENIED)
        return NO;
    return memmem(reply.result.p, reply.result.n, mr_uuid_format(id, shown), 36) ? YES
                                                                                 : GONE;
}

static void
walk(size_t row, struct rig_peer *peer)
{
    static const char *const queues[] = {"open", "shut"};

    for (int i = 0; i < 4; i++) {
        expect(
            row, "watch", i, try_watch(peer, jobs[row][WATCHED][i]), table[row].watch[i]);
        expect(
            row, "fetch", i, try_show(peer, jobs[row][FETCHED][i]), table[row].fetch[i]);
        expect(row, "cancel", i, try_cancel(peer, jobs[row][CANCELLED][i]),
            table[row].cancel[i]);
    }
    for (int i = 0; i < 4; i += 2)
        expect(row, "listed", i, is_listed(peer, jobs[row][FETCHED][i]),
            table[row].list[0] == NO ? NO : table[row].fetch[i]);
    for (int i = 0; i < 2; i++) {
        expect(row, "submit", i, try_submit(peer, queues[i]), table[row].submit[i]);
        expect(row, "list", i, try_call(peer, "jobs", "queue", queues[i]),
            table[row].list[i]);
        expect(row, "list", 2 + i, try_call(peer, "dead", "queue", queues[i]),
            table[row].list[i]);
        expect(row, "operate", i, try_call(peer, "pause", "queue", queues[i]),
            table[row].operate[i]);
        expect(row, "operate", 2 + i, try_call(peer, "resume", "queue", queues[i]),
            table[row].operate[i]);
    }
    expect(row, "stats", 0, try_call(peer, "stats", NULL, NULL), table[row].stats);
    expect(row, "stats", 1, try_call(peer, "workers", NULL, NULL), table[row].stats);
    expect(row, "stats", 2, try_call(peer, "queues", NULL, NULL), table[row].stats);
    expect(row, "administer", 0, try_call(peer, "principals", NULL, NULL),
        table[row].administer);
    expect(row, "administer", 1, try_call(peer, "principal_revoke", "name", "anyone"),
        table[row].administer);
}

START_TEST(everybody_may_what_the_table_says)
{
    put_jobs();
    for (size_t row = 0; row < ROWS; row++) {
        struct rig_peer peer;

        if (enter(&peer, table[row].name, MR_ROLE_CLIENT, NULL))
            walk(row, &peer);
        else
            expect_nothing(row);
        rig_peer_close(&peer);
        expect(row, "run", 0,
            enter(&peer, table[row].name, MR_ROLE_WORKER, KIND) ? YES : NO,
            table[row].run);
        rig_peer_close(&peer);
    }
}
END_TEST

/* The broker cannot be stopped by whoever may operate some queues. */
START_TEST(what_concerns_all_queues_is_for_who_may_all)
{
    struct rig_peer peer;

    ck_assert(enter(&peer, "oper", MR_ROLE_CLIENT, NULL));
    ck_assert_int_eq(try_call(&peer, "drain", NULL, NULL), NO);
    ck_assert_int_eq(try_call(&peer, "redrive", NULL, NULL), NO);
    ck_assert_int_eq(try_call(&peer, "jobs", NULL, NULL), NO);
    /* An argument that the method has no use for changes nothing. */
    ck_assert_int_eq(try_call(&peer, "drain", "queue", "open"), NO);
    ck_assert_int_eq(try_call(&peer, "redrive", "queue", "open"), NO);
    rig_peer_close(&peer);
    ck_assert(enter(&peer, "chief", MR_ROLE_CLIENT, NULL));
    ck_assert_int_eq(try_call(&peer, "jobs", NULL, NULL), YES);
    ck_assert_int_eq(try_call(&peer, "drain", NULL, NULL), YES);
    rig_peer_close(&peer);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("52_rights");
    TCase *cases = tcase_create("rights");

    tcase_set_timeout(cases, 120);
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, everybody_may_what_the_table_says);
    tcase_add_test(cases, what_concerns_all_queues_is_for_who_may_all);
    suite_add_tcase(suite, cases);
    return pg_fixture_run(suite, NULL);
}
