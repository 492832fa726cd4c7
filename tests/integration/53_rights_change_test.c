/*
 * Rights that change while people are connected: denied, revoked, rotated; what workers are sent; and
 * the command that changes them. Over CURVE, with a real broker and a real PostgreSQL.
 */
#include "tests/integration/rights_rig.h"

/* ---- workers --------------------------------------------------------------------------------------------- */

START_TEST(a_worker_is_sent_only_what_it_may_run)
{
    struct rig_peer worker;
    struct mr_jobs list;
    struct mr_job_sent job;
    struct mr_uuid shut, open;

    ck_assert(enter(&worker, "work", MR_ROLE_WORKER, KIND));
    mr_put_credit(&worker.wr, 10);
    rig_peer_send(&worker);
    shut = put_job(STRANGER, "shut");
    open = put_job(STRANGER, "open");
    rig_peer_expect(&worker, MR_JOBS);
    ck_assert_int_eq(mr_get_jobs(&worker.msg, &list), MR_OK);
    ck_assert_uint_eq(list.jobs, 1);
    ck_assert_int_eq(mr_get_job(&list, &job), MR_OK);
    ck_assert(mr_uuid_eq(job.id, open));
    ck_assert(!mr_uuid_eq(job.id, shut));
    rig_peer_close(&worker);
}
END_TEST

START_TEST(a_worker_that_offers_what_it_may_not_run_is_sent_away)
{
    struct rig_peer worker;
    struct mr_error error;

    put_grant("work", "run", false, NULL, "ride.*");
    sql("select millrace.principal_grant_drop('work', 'worker', 'open*', null)", NULL,
        NULL, NULL);
    connect_as(&worker, *key_of("work"), rig.back);
    do
        say_hello(&worker, MR_ROLE_WORKER, "pay.charge");
    while (worker.msg.verb == MR_WELCOME); /* until the broker has read the change */
    ck_assert_int_eq(mr_get_error(&worker.msg, &error), MR_OK);
    ck_assert_int_eq(error.code, MR_DENIED);
    ck_assert_msg(
        mr_span_is(error.text, "principal `work` may not run kind `pay.charge`: "
                               "it lacks the right `run` there"),
        "%.*s", (int)error.text.n, (const char *)error.text.p);
    say_hello(&worker, MR_ROLE_WORKER, "ride.match");
    ck_assert_int_eq(worker.msg.verb, MR_WELCOME);
    rig_peer_close(&worker);
}
END_TEST

/* ---- changes ----------------------------------------------------------------------------------------------- */

/* Asks until the answer is another one; a broken broker goes on for ever. */
static void
stats_until_denied(struct rig_peer *peer)
{
    int64_t until = rig_now_ms() + RIG_WAIT_MS;

    for (;;) {
        mr_put_call_open(&peer->wr, 7, "stats");
        mr_wr_map(&peer->wr, 0);
        rig_peer_send(peer);
        receive(peer);
        if (peer->msg.verb != MR_REPLY)
            return;
        ck_assert_int_lt(rig_now_ms(), until);
        rig_breathe();
    }
}

START_TEST(who_is_revoked_gets_nothing_done_over_a_connection_that_is_open)
{
    struct rig_peer oper, front;
    struct mr_error error;

    ck_assert(enter(&oper, "oper", MR_ROLE_CLIENT, NULL));
    ck_assert(enter(&front, "front", MR_ROLE_CLIENT, NULL));
    ck_assert_int_eq(try_call(&oper, "stats", NULL, NULL), YES);
    sql("select millrace.principal_revoke('oper', true)", NULL, NULL, NULL);
    stats_until_denied(&oper);
    ck_assert_int_eq(oper.msg.verb, MR_ERROR);
    ck_assert_int_eq(mr_get_error(&oper.msg, &error), MR_OK);
    ck_assert(error.code == MR_DENIED || error.code == MR_NO_SESSION);
    do {
        say_hello(&oper, MR_ROLE_CLIENT, NULL);
        ck_assert_int_eq(mr_get_error(&oper.msg, &error), MR_OK);
    } while (error.code == MR_NO_SESSION);
    ck_assert_int_eq(error.code, MR_DENIED);
    /* Nobody else is disturbed. */
    ck_assert_int_eq(try_submit(&front, "open"), YES);
    rig_peer_close(&oper);
    rig_peer_close(&front);
}
END_TEST

START_TEST(a_revoked_worker_is_a_lost_worker)
{
    struct rig_peer worker, chief;
    struct mr_jobs list;
    struct mr_job_sent job;

    ck_assert(enter(&worker, "work", MR_ROLE_WORKER, KIND));
    mr_put_credit(&worker.wr, 1);
    rig_peer_send(&worker);
    (void)put_job(STRANGER, "open");
    rig_peer_expect(&worker, MR_JOBS);
    sql("select millrace.principal_revoke('work', true)", NULL, NULL, NULL);
    rig_wait_int(&rig, "select count(*) from millrace.attempt where outcome = 2", 1);
    rig_peer_expect(&worker, MR_ERROR);
    /* Its job goes to somebody else. */
    ck_assert(enter(&chief, "chief", MR_ROLE_WORKER, KIND));
    mr_put_credit(&chief.wr, 1);
    rig_peer_send(&chief);
    rig_peer_expect(&chief, MR_JOBS);
    ck_assert_int_eq(mr_get_jobs(&chief.msg, &list), MR_OK);
    ck_assert_int_eq(mr_get_job(&list, &job), MR_OK);
    ck_assert_uint_eq(job.attempt, 2);
    rig_peer_close(&worker);
    rig_peer_close(&chief);
}
END_TEST

/* Its session has ended; perhaps it was told so more than once. */
static void
hello_again(struct rig_peer *peer)
{
    struct mr_hello hello = {.proto_min = 1, .proto_max = 1, .role = MR_ROLE_CLIENT};
    struct mr_error error;

    mr_put_hello(&peer->wr, 1, &hello, NULL);
    rig_peer_send(peer);
    for (receive(peer); peer->msg.verb != MR_WELCOME; receive(peer)) {
        ck_assert_int_eq(mr_get_error(&peer->msg, &error), MR_OK);
        ck_assert_int_eq(error.code, MR_NO_SESSION);
    }
}

/* A deny is added while the session is open; the grant stays. A front end whose rights have changed
 * begins anew, so that it is told of nothing that it may not watch any more. */
START_TEST(deny_wins_and_holds_for_who_is_connected)
{
    struct rig_peer front;
    struct mr_error error;
    int64_t until = rig_now_ms() + RIG_WAIT_MS;

    ck_assert(enter(&front, "front", MR_ROLE_CLIENT, NULL));
    ck_assert_int_eq(try_submit(&front, "open.too"), YES);
    put_grant("front", "submit", true, "open.*", "test.*");
    do {
        ck_assert_int_lt(rig_now_ms(), until);
        rig_breathe();
        send_submit(&front, "open.too");
        receive(&front);
    } while (front.msg.verb == MR_ACK && ack_verdict(&front) == YES);
    if (front.msg.verb == MR_ACK)
        rig_peer_expect(&front, MR_ERROR);
    ck_assert_int_eq(mr_get_error(&front.msg, &error), MR_OK);
    ck_assert_int_eq(error.code, MR_NO_SESSION);
    hello_again(&front);
    ck_assert_int_eq(try_submit(&front, "open.too"), NO);
    ck_assert_int_eq(try_submit(&front, "open"), YES);
    rig_peer_close(&front);
}
END_TEST

/* A key that the broker has not read yet is sent away for good: connect again. */
static void
enter_when_known(struct rig_peer *peer, const struct mr_curve *key)
{
    struct mr_hello hello = {.proto_min = 1, .proto_max = 1, .role = MR_ROLE_CLIENT};
    int64_t until = rig_now_ms() + RIG_WAIT_MS;
    zmq_pollitem_t item = {.events = ZMQ_POLLIN};

    for (;;) {
        connect_as(peer, key, rig.front);
        mr_put_hello(&peer->wr, 1, &hello, NULL);
        rig_peer_send(peer);
        item.socket = peer->socket;
        if (zmq_poll(&item, 1, 1000) == 1)
            break;
        rig_peer_close(peer);
        ck_assert_int_lt(rig_now_ms(), until);
    }
    rig_peer_expect(peer, MR_WELCOME);
}

/* Two keys side by side, then only the new one: jobs go through under both, none fails. */
START_TEST(keys_change_hands_without_a_failed_job)
{
    struct rig_peer old, fresh;
    struct mr_curve *key = key_new();
    struct mr_error error;

    ck_assert(enter(&old, "front", MR_ROLE_CLIENT, NULL));
    ck_assert_int_eq(try_submit(&old, "open"), YES);
    sql("select millrace.principal_rotate('front', $1, false)", mr_curve_public(key),
        NULL, NULL);
    ck_assert_int_eq(try_submit(&old, "open"), YES);
    enter_when_known(&fresh, key);
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(try_submit(&old, "open"), YES);
        ck_assert_int_eq(try_submit(&fresh, "open"), YES);
    }
    sql("select millrace.principal_rotate('front', null, true)", NULL, NULL, NULL);
    /* The old one is told so, and the new one goes on. */
    rig_peer_expect(&old, MR_ERROR);
    ck_assert_int_eq(mr_get_error(&old.msg, &error), MR_OK);
    ck_assert_int_eq(error.code, MR_NO_SESSION);
    say_hello(&old, MR_ROLE_CLIENT, NULL);
    ck_assert_int_eq(old.msg.verb, MR_ERROR);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(try_submit(&fresh, "open"), YES);
    rig_wait_int(
        &rig, "select count(*) from millrace.job where submitted_by = 'front'", 62);
    rig_peer_close(&old);
    rig_peer_close(&fresh);
    mr_curve_destroy(&key);
}
END_TEST

/* ---- through the command ------------------------------------------------------------------------------------ */

static char text[1 << 16];

static void
runs(int code, const char *who, const char *line)
{
    char all[1024];
    int got;
    enum mr_status status = mr_curve_write(*key_of(who), rig.folder, who, &err);

    ck_assert_msg(status == MR_OK || status == MR_CONFLICT, "%s", err.why);
    (void)snprintf(all, sizeof all,
        "export MILLRACE_KEY_FILE=%s/%s.key MILLRACE_SERVER_KEY=%s/broker.pub; %s",
        rig.folder, who, rig.folder, line);
    got = rig_sh(&rig, all, text, sizeof text);
    ck_assert_msg(got == code, "%s: %d, not %d: %s", line, got, code, text);
}

static void
shows(const char *wanted)
{
    ck_assert_msg(strstr(text, wanted) != NULL, "\"%s\" is not in: %s", wanted, text);
}

START_TEST(administrators_change_rights_through_the_broker)
{
    char line[512];
    struct mr_curve *key = key_new();

    ck_ok(mr_curve_write(key, rig.folder, "app1", &err), err);
    (void)snprintf(line, sizeof line,
        "\"$0\" principal add app1 --role front-end --queue 'night*' --key %s/app1.pub",
        rig.folder);
    runs(77, "front", line);
    shows("it lacks the right `administer`");
    runs(0, "admin", line);
    runs(65, "admin", line); /* there is one */
    runs(0, "admin", "\"$0\" principal show app1");
    shows("night*");
    shows(mr_curve_public(key));
    runs(0, "admin", "\"$0\" principal list");
    shows("front-end queue=night*");
    runs(0, "admin", "\"$0\" principal grant app1 fetch --scope any");
    runs(0, "admin", "\"$0\" principal deny app1 submit --kind 'pay.*'");
    runs(0, "admin", "\"$0\" principal limit app1 --jobs-per-s 5");
    runs(0, "admin", "\"$0\" -o json principal show app1");
    shows("\"jobs_per_s\":5");
    shows("\"scope\":\"any\"");
    runs(0, "admin", "\"$0\" principal ungrant app1 submit --kind 'pay.*'");
    runs(66, "admin", "\"$0\" principal ungrant app1 submit --kind 'pay.*'");
    runs(65, "admin", "\"$0\" principal grant app1 submit --queue 'a*b'");
    runs(65, "admin", "\"$0\" principal grant app1 reign");
    runs(66, "admin", "\"$0\" principal revoke app2");
    runs(66, "admin", "\"$0\" principal show app2");
    runs(64, "admin", "\"$0\" principal grant app1");
    runs(64, "admin", "\"$0\" principal crown app1");
    runs(0, "admin", "\"$0\" principal revoke app1");
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.audit where principal = 'admin' "
                      "and object = 'app1' and decision = 'allowed'") > 0,
        1);
    mr_curve_destroy(&key);
}
END_TEST

/* Without a broker and without any administrator yet. */
START_TEST(the_first_administrator_is_made_in_the_database)
{
    char line[768];

    (void)snprintf(line, sizeof line,
        "\"$0\" principal add root --role administrator --key %s/broker.pub --direct "
        "--database '%s'",
        rig.folder, rig.conninfo);
    runs(0, "nobody", line);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.principal_grant "
                                   "where principal = 'root' and role = 'administrator'"),
        1);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("53_rights_change");
    TCase *cases = tcase_create("rights");

    tcase_set_timeout(cases, 120);
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, a_worker_is_sent_only_what_it_may_run);
    tcase_add_test(cases, a_worker_that_offers_what_it_may_not_run_is_sent_away);
    tcase_add_test(
        cases, who_is_revoked_gets_nothing_done_over_a_connection_that_is_open);
    tcase_add_test(cases, a_revoked_worker_is_a_lost_worker);
    tcase_add_test(cases, deny_wins_and_holds_for_who_is_connected);
    tcase_add_test(cases, keys_change_hands_without_a_failed_job);
    tcase_add_test(cases, administrators_change_rights_through_the_broker);
    tcase_add_test(cases, the_first_administrator_is_made_in_the_database);
    suite_add_tcase(suite, cases);
    return pg_fixture_run(suite, NULL);
}
