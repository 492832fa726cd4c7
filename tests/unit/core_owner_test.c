/*
 * Whose jobs are whose: another principal's job is answered as one that does not exist is,
 * wherever it is; only who may see any sees it.
 */
#include "tests/unit/core_rig.h"

#define MINE mr_span_str("local") /* peers 0 and 1 */
#define THEIRS mr_span_str("another")
#define SPY 2 /* a client that is another principal */

static struct rig rig;
static struct mr_rights *rights;
static const char *const principals[] = {"local", "another", "third", "fourth", "fifth",
    "sixth", "seventh", "eighth", "ninth", "tenth"};

static void
setup(void)
{
    rights = rig_rights(principals, sizeof principals / sizeof *principals);
    rig_init(&rig);
    rig_start(&rig);
    mr_core_set_rights(rig.core, rig.now, rights);
    ck_assert_int_eq(
        mr_core_client_joins(rig.core, rig.now, SPY, 2, mr_span_str("spy")), MR_OK);
}

static void
teardown(void)
{
    rig_stop(&rig);
    mr_rights_destroy(&rights);
}

/* What the database says of it: there, or finished. */
static void
find(struct mr_uuid id, struct mr_span owner, bool is_finished)
{
    struct mr_found found = {.id = id,
        .exists = owner.n > 0,
        .is_finished = is_finished,
        .submitted_by = owner,
        .outcome = MR_SUCCEEDED,
        .body = mr_span_str("secret")};

    mr_core_found(rig.core, rig.now, &found);
    mr_core_check(rig.core);
}

/* What the spy is told of it, from a clean slate: a WATCH and a cancel, each answered after one
 * look into the database. */
static void
must_be_unknown(struct mr_uuid id, struct mr_span owner, bool is_finished)
{
    uint32_t finds = rig_said(&rig, MR_ACT_FIND);

    mr_core_watch(rig.core, rig.now, SPY, id, true, MR_SCOPE_OWN);
    mr_core_cancel(rig.core, rig.now, SPY, 9, id, MR_SCOPE_OWN);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_FIND), finds + 1);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_EVENT), 0);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REPLY), 0);
    find(id, owner, is_finished);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_EVENT), 1);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.type, MR_EVENT_NO_JOB);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_EVENT)->event.text.n, 0);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_EVENT)->event.body.n, 0);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REPLY), 1);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_REPLY)->action.code, MR_NO_JOB);
    ck_assert_str_eq(rig_last(&rig, MR_ACT_REPLY)->text,
        "there is no unfinished or finished job with this id");
    rig_forget(&rig);
}

START_TEST(a_job_of_another_is_unknown)
{
    struct mr_uuid ready = rig_ready(&rig), running;
    struct mr_job_new late = rig_job(&rig);
    struct mr_uuid gone = rig_id(&rig);

    late.delay_ms = 60000;
    rig_accept(&rig, &late);
    rig_worker(&rig, 4, 1, 1, NULL);
    rig_tick(&rig);
    running = rig_last(&rig, MR_ACT_JOB)->job.id;
    ck_assert(mr_uuid_eq(running, ready));
    ready = rig_ready(&rig);
    rig_forget(&rig);
    must_be_unknown(ready, MINE, false);
    must_be_unknown(late.id, MINE, false);
    must_be_unknown(running, MINE, false);
    must_be_unknown(gone, MINE, true);
    must_be_unknown(gone, MR_SPAN_NONE, false); /* there never was such a job */
    must_be_unknown(gone, mr_span_str("who has never been here"), true);
    ck_assert_str_eq(rig_state(&rig, running), "running"); /* nothing was cancelled */
    ck_assert_str_eq(rig_state(&rig, late.id), "waiting");
}
END_TEST

START_TEST(who_may_see_any_sees_it)
{
    struct mr_uuid id = rig_ready(&rig), gone = rig_id(&rig);

    mr_core_watch(rig.core, rig.now, SPY, id, true, MR_SCOPE_ANY);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.type, MR_EVENT_WAITING);
    mr_core_watch(rig.core, rig.now, SPY, gone, true, MR_SCOPE_ANY);
    find(gone, MINE, true);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.type, MR_EVENT_FINISHED);
    ck_assert_str_eq(rig_last(&rig, MR_ACT_EVENT)->body, "secret");
    mr_core_cancel(rig.core, rig.now, SPY, 9, id, MR_SCOPE_ANY);
    rig_commit(&rig);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_REPLY)->action.code, MR_OK);
    ck_assert_str_eq(rig_state(&rig, id), "");
}
END_TEST

/* Who asked in vain is not told what becomes of it later. */
START_TEST(an_early_watch_hears_nothing)
{
    struct mr_job_new job = rig_job(&rig);
    struct mr_held held = {.id = job.id, .attempt = 1, .permille = 500};

    mr_core_watch(rig.core, rig.now, SPY, job.id, true, MR_SCOPE_OWN);
    rig_submit(&rig, MR_SUBMIT_WATCH, &job);
    rig_commit(&rig);
    rig_worker(&rig, 4, 1, 1, NULL);
    rig_tick(&rig);
    ck_assert_str_eq(rig_state(&rig, job.id), "running");
    mr_core_held(rig.core, rig.now, 4, &held);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_EVENT), 1); /* progress, to peer 0 */
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_EVENT)->action.peer, 0);
    rig_report(&rig, 4, job.id, 1, MR_DID_FAIL);
    rig_commit(&rig);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_EVENT), 2); /* retrying, to peer 0 */
    find(job.id, MINE, false);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_EVENT), 3);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_EVENT)->action.peer, SPY);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.type, MR_EVENT_NO_JOB);
}
END_TEST

/* ... nor is it when the job is finished before the database has answered. */
START_TEST(an_end_is_not_for_others)
{
    struct mr_uuid id;

    rig_worker(&rig, 4, 1, 1, NULL);
    id = rig_sent_to(&rig, 4);
    mr_core_watch(rig.core, rig.now, 0, id, true, MR_SCOPE_OWN);
    mr_core_watch(rig.core, rig.now, SPY, id, true, MR_SCOPE_OWN);
    mr_core_cancel(rig.core, rig.now, SPY, 9, id, MR_SCOPE_OWN);
    rig_forget(&rig);
    rig_report(&rig, 4, id, 1, MR_DID_SUCCEED);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_EVENT), 2);
    for (uint32_t i = 0; i < 2; i++) {
        const struct rig_said *said = rig_nth(&rig, MR_ACT_EVENT, i);

        ck_assert_int_eq(said->event.type,
            said->action.peer == SPY ? MR_EVENT_NO_JOB : MR_EVENT_FINISHED);
    }
    ck_assert_int_eq(rig_last(&rig, MR_ACT_REPLY)->action.code, MR_NO_JOB);
    ck_assert_uint_eq(rig_stats(&rig).watches, 0);
}
END_TEST

/* Nor does anybody notice that another one asks: not even of an end that its worker has yet to
 * report. */
START_TEST(a_look_in_vain_is_not_noticed)
{
    struct mr_uuid id;

    rig_worker(&rig, 4, 1, 1, NULL);
    id = rig_sent_to(&rig, 4);
    mr_core_watch(rig.core, rig.now, 0, id, true, MR_SCOPE_OWN);
    mr_core_cancel(rig.core, rig.now, 1, 5, id, MR_SCOPE_OWN);
    rig_forget(&rig);
    must_be_unknown(id, MINE, false);
    mr_core_watch(rig.core, rig.now, SPY, id, true, MR_SCOPE_OWN);
    find(id, MINE, true);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_EVENT), 1);
    ck_assert_uint_eq(rig_last(&rig, MR_ACT_EVENT)->action.peer, SPY);
    ck_assert_int_eq(rig_last(&rig, MR_ACT_EVENT)->event.type, MR_EVENT_NO_JOB);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REVOKE), 0);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_REPLY), 0);
}
END_TEST

static void
submit_as(uint32_t peer, const struct mr_job_new *job)
{
    rig_forget(&rig);
    ck_assert_int_eq(
        mr_core_submit_open(rig.core, rig.now, peer, 7, MR_SUBMIT_WATCH, 1), MR_OK);
    mr_core_submit_job(rig.core, rig.now, job);
    mr_core_submit_close(rig.core, rig.now);
    mr_core_check(rig.core);
}

static enum mr_status
verdict(void)
{
    const struct rig_said *ack = rig_last(&rig, MR_ACT_ACK);

    ck_assert_ptr_nonnull(ack);
    return ack->action.verdict_count ? ack->verdicts[0].code : MR_OK;
}

START_TEST(an_id_of_another_is_a_conflict)
{
    struct mr_job_new job = rig_job(&rig), forged;

    submit_as(0, &job);
    ck_assert(mr_span_is(rig_last(&rig, MR_ACT_STORE)->op.submitted_by, "local"));
    submit_as(SPY, &job);
    ck_assert_int_eq(verdict(), MR_BUSY); /* whose it is has to be settled first */
    teardown();
    setup();
    job = forged = rig_job(&rig);
    rig_accept(&rig, &job);
    submit_as(SPY, &job);
    ck_assert_int_eq(verdict(), MR_CONFLICT);
    ck_assert_uint_eq(rig_stats(&rig).watches, 0);
    submit_as(1, &job); /* the same principal's other session */
    ck_assert_int_eq(verdict(), MR_KNOWN);
    forged.payload = mr_span_str("other");
    submit_as(1, &forged);
    ck_assert_int_eq(verdict(), MR_CONFLICT);
}
END_TEST

/* It was not in memory, and the row that stands is another's: the database says so. */
START_TEST(a_stored_id_of_another_is_a_conflict)
{
    struct mr_job_new job = rig_job(&rig);

    submit_as(SPY, &job);
    mr_core_watch(rig.core, rig.now, 0, job.id, true, MR_SCOPE_OWN);
    mr_core_cancel(rig.core, rig.now, 1, 5, job.id, MR_SCOPE_OWN);
    find(job.id, MINE, true);
    ck_assert_uint_eq(rig_said(&rig, MR_ACT_EVENT), 2); /* the spy watches, too */
    for (uint32_t i = 0; i < 2; i++) {
        const struct rig_said *said = rig_nth(&rig, MR_ACT_EVENT, i);

        ck_assert_int_eq(said->event.type,
            said->action.peer == SPY ? MR_EVENT_NO_JOB : MR_EVENT_FINISHED);
    }
    ck_assert_int_eq(rig_last(&rig, MR_ACT_REPLY)->action.code, MR_FINISHED);
    rig_answer(&rig, MR_CONFLICT);
    ck_assert_int_eq(verdict(), MR_CONFLICT);
    ck_assert_str_eq(rig_state(&rig, job.id), "");
}
END_TEST

START_TEST(a_row_says_whose_it_is)
{
    struct mr_stored_job rows[3];
    char long_name[100];

    memset(long_name, 'x', sizeof long_name);
    for (uint32_t i = 0; i < 3; i++)
        rows[i] = (struct mr_stored_job){.job = rig_job(&rig)};
    rows[0].submitted_by = THEIRS;
    rows[1].submitted_by = mr_span(long_name, sizeof long_name); /* no principal's */
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_int_eq(mr_core_loaded(rig.core, rig.now, &rows[i]), MR_OK);
        mr_core_check(rig.core);
    }
    ck_assert(mr_core_may_see(rig.core, SPY, rows[0].job.id, MR_SCOPE_OWN));
    ck_assert(!mr_core_may_see(rig.core, 0, rows[0].job.id, MR_SCOPE_OWN));
    ck_assert(mr_core_may_see(rig.core, 0, rows[0].job.id, MR_SCOPE_ANY));
    ck_assert(!mr_core_may_see(rig.core, SPY, rows[1].job.id, MR_SCOPE_OWN));
    ck_assert(!mr_core_may_see(rig.core, SPY, rows[2].job.id, MR_SCOPE_OWN));
    ck_assert(mr_core_may_see(rig.core, SPY, rows[2].job.id, MR_SCOPE_ANY));
    ck_assert(mr_core_may_see(rig.core, 0, rig_id(&rig), MR_SCOPE_OWN)); /* not there */
}
END_TEST

static enum mr_status
joins(uint32_t peer, uint32_t principal)
{
    return mr_core_client_joins(
        rig.core, rig.now, peer, principal, mr_span_str("client"));
}

/* A full table is refused; who has left and has no job makes room. */
START_TEST(owners_are_bounded)
{
    struct mr_job_new job = rig_job(&rig);
    struct mr_stored_job row = {.job = rig_job(&rig), .submitted_by = mr_span_str("row")};

    submit_as(SPY, &job);
    rig_commit(&rig);
    mr_core_leaves(rig.core, rig.now, SPY, mr_span_str("left"));
    for (uint32_t i = 0; i < 20; i++) /* one after the other */
        ck_assert_int_eq(joins(3, 3 + i % 8), MR_OK);
    for (uint32_t peer = 3; peer < 9; peer++) /* with local and the spy: 8 */
        ck_assert_int_eq(joins(peer, peer), MR_OK);
    ck_assert_int_eq(joins(9, 10), MR_BUSY);
    ck_assert_int_eq(joins(9, 1), MR_BUSY); /* clients_max: 8 */
    ck_assert_int_eq(mr_core_loaded(rig.core, rig.now, &row), MR_BUSY);
    mr_core_leaves(rig.core, rig.now, 8, mr_span_str("left"));
    ck_assert_int_eq(mr_core_loaded(rig.core, rig.now, &row), MR_OK);
    ck_assert(!mr_core_may_see(rig.core, 0, job.id, MR_SCOPE_OWN)); /* still the spy's */
    ck_assert_int_eq(joins(9, 11), MR_BAD_ARGUMENT); /* there is no such principal */
}
END_TEST

/* A worker of another principal that gives its instance for ours gets nothing of what it holds. */
START_TEST(an_instance_is_not_taken_over)
{
    struct mr_offer offer = {.kind = mr_span_str("k")};
    struct mr_hello hello = {
        .role = MR_ROLE_WORKER, .name = mr_span_str("w"), .threads = 1, .offers = 1};
    struct mr_uuid id;

    rig_worker(&rig, 4, 1, 1, NULL);
    id = rig_sent_to(&rig, 4);
    hello.instance.b[0] = 104;
    ck_assert_int_eq(
        mr_core_worker_joins(rig.core, rig.now, 5, 2, &hello, &offer), MR_DENIED);
    rig_report(&rig, 5, id, 1, MR_DID_SUCCEED);
    ck_assert_str_eq(rig_state(&rig, id), "running");
    ck_assert_int_eq(
        mr_core_worker_joins(rig.core, rig.now, 5, 0, &hello, &offer), MR_OK);
}
END_TEST

static void
add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_job_of_another_is_unknown);
    tcase_add_test(tcase, who_may_see_any_sees_it);
    tcase_add_test(tcase, an_early_watch_hears_nothing);
    tcase_add_test(tcase, an_end_is_not_for_others);
    tcase_add_test(tcase, a_look_in_vain_is_not_noticed);
    tcase_add_test(tcase, an_id_of_another_is_a_conflict);
    tcase_add_test(tcase, a_stored_id_of_another_is_a_conflict);
    tcase_add_test(tcase, a_row_says_whose_it_is);
    tcase_add_test(tcase, owners_are_bounded);
    tcase_add_test(tcase, an_instance_is_not_taken_over);
}

int
main(void)
{
    return rig_run("core/owner", add) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
