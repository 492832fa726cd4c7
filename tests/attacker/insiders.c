/*
 * Good keys, bad intent: what is not refused at the door is refused message by message.
 */
#include "tests/attacker/attack.h"

#include "schemas/base/clock.h"
#include "schemas/wire/frames.h"

#include <sodium.h>
#include <zmq.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIND "attack.job"
#define CLOSED_MS 15000
#define NOTHING_MS 150 /* how long to listen for what must not come */

/* ---- messages that are none -------------------------------------------------------------------------- */

static int64_t
garbage(void)
{
    static const struct {
        const char *bytes;
        size_t n;
    } says[] = {{"", 0}, {"\0", 1}, {"\xc1\xc1\xc1", 3}, {"\xdd\xff\xff\xff\xff", 5},
        {"\xdc\0\2\x63\0", 5}, {"\x92\5\xc6\xff\xff\xff\xff", 7},
        {"\x95\5\1\xa7"
         "default\0\xdd\x7f\xff\xff\xff",
            17}};
    struct zmtp z;

    attack_join(&z, FRONT, MR_ROLE_CLIENT, NULL);
    for (size_t i = 0; i < sizeof says / sizeof *says; i++) {
        ck_assert(zmtp_say_frame(&z, 0, says[i].bytes, says[i].n));
        zmtp_expect_error(&z, MR_MALFORMED);
    }
    zmtp_close(&z);
    return sizeof says / sizeof *says;
}

static int64_t
oversized(void)
{
    static const uint8_t zeros[MR_WIRE_FRAME_BYTES_MAX];
    struct zmtp z;

    attack_join(&z, FRONT, MR_ROLE_CLIENT, NULL);
    for (size_t n = 0; n <= MR_MESSAGE_BYTES_MAX; n += sizeof zeros)
        ck_assert(zmtp_say_frame(&z, ZMTP_MORE, zeros, sizeof zeros));
    ck_assert(zmtp_say_frame(&z, 0, zeros, 1));
    zmtp_expect_error(&z, MR_MALFORMED);
    zmtp_close(&z);
    return 1;
}

/* libzmq keeps what says that more will follow, and tells us nothing. How much until it is closed? */
static void
send_without_end(enum who who, const char *endpoint, bool has_said_hello, size_t frame_n)
{
    static const uint8_t zeros[MR_WIRE_FRAME_BYTES_MAX];
    int64_t before = attack_resident(), most = before, now, sent = 0;
    int64_t until_ms = rig_now_ms() + CLOSED_MS;
    struct zmtp z;

    attack_login(&z, who, endpoint);
    if (has_said_hello)
        zmtp_join(&z, MR_ROLE_CLIENT, NULL);
    while (zmtp_say_frame(&z, ZMTP_MORE, zeros, frame_n)) {
        sent++;
        if (sent % 2048)
            continue;
        now = attack_resident();
        most = now > most ? now : most;
        ck_assert_msg(rig_now_ms() < until_ms, "it goes on after %lld frames, %lld MiB",
            (long long)sent, (long long)((most - before) >> 20));
    }
    zmtp_close(&z);
    printf("%-46s %lld frames of %zu bytes were let in, %lld MiB at most\n", "",
        (long long)sent, frame_n, (long long)((most - before) >> 20));
}

static int64_t
endless(void)
{
    send_without_end(FRONT, target.front, true, MR_WIRE_FRAME_BYTES_MAX);
    send_without_end(WORKER, target.back, false, MR_WIRE_FRAME_BYTES_MAX);
    return 2;
}

static int64_t
endless_of_nothing(void)
{
    send_without_end(FRONT, target.front, true, 0);
    send_without_end(WORKER, target.back, false, 0);
    return 2;
}

/* Each sends less than a message may have, but there are many, and none ends. */
static int64_t
hoard(void)
{
    enum { PEERS = 200, FRAMES = 1500 };
    static const uint8_t zeros[MR_WIRE_FRAME_BYTES_MAX];
    static struct zmtp z[PEERS];
    int64_t before = attack_resident(), most = before, now;
    int64_t out = attack_stat("endless_out");

    for (int i = 0; i < PEERS; i++) {
        attack_join(&z[i], FRONT, MR_ROLE_CLIENT, NULL);
        for (int n = 0; n < FRAMES; n++)
            (void)zmtp_say_frame(&z[i], ZMTP_MORE, zeros, sizeof zeros);
        now = attack_resident();
        most = now > most ? now : most;
    }
    rig_wait_stat(target.mr, "endless_out", out + 1);
    printf("%-46s %d x 3 MiB: %lld MiB at most\n", "", PEERS,
        (long long)((most - before) >> 20));
    for (int i = 0; i < PEERS; i++)
        zmtp_close(&z[i]);
    return 1;
}

/* ---- jobs of others ----------------------------------------------------------------------------------- */

static struct zmtp holder, forger;

/* A job of the known front end that `holder` has, and `forger` has not. */
static struct mr_job_sent
hand_out(struct millrace_id *id)
{
    struct mr_jobs jobs;
    struct mr_job_sent job;

    attack_join(&holder, OTHER_WORKER, MR_ROLE_WORKER, KIND);
    attack_join(&forger, WORKER, MR_ROLE_WORKER, "attack.other");
    *id = rig_submit(target.mr, KIND, NULL, 0);
    mr_put_credit(&holder.wr, 1);
    zmtp_say(&holder);
    zmtp_expect(&holder, MR_JOBS);
    ck_assert_int_eq(mr_get_jobs(&holder.msg, &jobs), MR_OK);
    ck_assert_int_eq(mr_get_job(&jobs, &job), MR_OK);
    ck_assert_mem_eq(&job.id, id, sizeof job.id);
    return job;
}

static enum mr_status
done(struct zmtp *z, const struct mr_job_sent *job, uint32_t attempt,
    enum mr_report report)
{
    struct mr_verdict verdict = {.code = MR_OK};
    struct mr_done one = {.id = job->id,
        .attempt = attempt,
        .report = report,
        .text = report == MR_DID_SUCCEED ? MR_SPAN_NONE : mr_span_str("forged")};
    size_t mark = mr_put_dones_open(&z->wr, 5, 0);
    struct mr_ack ack;

    mr_put_done(&z->wr, &one);
    mr_put_dones_close(&z->wr, mark, 1);
    zmtp_say(z);
    do
        zmtp_expect_any(z);
    while (z->msg.verb != MR_ACK);
    ck_assert_int_eq(mr_get_ack(&z->msg, &ack), MR_OK);
    if (ack.verdicts)
        ck_assert_int_eq(mr_get_verdict(&ack, &verdict), MR_OK);
    return verdict.code;
}

/* Its holder says how it ends, and that holds. */
static void
end_well(const struct mr_job_sent *job, struct millrace_id id)
{
    ck_assert_int_eq(done(&holder, job, job->attempt, MR_DID_FAIL_FOR_GOOD), MR_OK);
    rig_expect(target.mr, id, MILLRACE_FAILED);
    zmtp_close(&holder);
    zmtp_close(&forger);
}

static int64_t
forged_done(void)
{
    static const enum mr_report reports[] = {
        MR_DID_SUCCEED, MR_DID_FAIL, MR_DID_FAIL_FOR_GOOD};
    struct millrace_id id;
    struct mr_job_sent job = hand_out(&id);

    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(done(&forger, &job, job.attempt, reports[i]), MR_STALE);
        ck_assert_int_eq(done(&forger, &job, job.attempt + 1, reports[i]), MR_STALE);
    }
    end_well(&job, id);
    return 6;
}

static int64_t
forged_beat(void)
{
    struct millrace_id id;
    struct mr_job_sent job = hand_out(&id);
    struct mr_held held = {.id = job.id, .attempt = job.attempt, .permille = 900};
    struct mr_revoke revoke;
    struct mr_revoked item;

    for (int i = 0; i < 3; i++, held.attempt++) {
        size_t mark = mr_put_beat_open(&forger.wr, 0);

        mr_put_held(&forger.wr, &held);
        mr_put_beat_close(&forger.wr, mark, 1);
        zmtp_say(&forger);
        zmtp_expect(&forger, MR_REVOKE);
        ck_assert_int_eq(mr_get_revoke(&forger.msg, &revoke), MR_OK);
        ck_assert_int_eq(mr_get_revoked(&revoke, &item), MR_OK);
        ck_assert_int_eq(item.why, MR_WHY_STALE);
    }
    end_well(&job, id);
    return 3;
}

/* When a worker is lost its sessions in the database are ended, which are found by its instance: that
 * is no secret. */
static int64_t
forged_instance(void)
{
    struct millrace_id id;
    struct mr_job_sent job = hand_out(&id);
    struct zmtp z;

    attack_login(&z, WORKER, target.back);
    z.instance = holder.instance;
    zmtp_say_hello(&z, MR_ROLE_WORKER, "attack.other");
    zmtp_expect_error(&z, MR_DENIED);
    zmtp_close(&z);
    end_well(&job, id);
    return 1;
}

/* More credit than there are jobs gets nobody a job of a kind that it does not run. */
static int64_t
forged_credit(void)
{
    struct millrace_id id;
    struct mr_job_sent job = hand_out(&id);
    struct zmtp z;

    mr_put_credit(&forger.wr, INT64_MAX);
    zmtp_say(&forger);
    (void)rig_submit(target.mr, KIND, NULL, 0);
    ck_assert_msg(!zmtp_hears(&forger, NOTHING_MS), "the forger got %s",
        mr_verb_name(forger.msg.verb));
    attack_join(&z, FRONT, MR_ROLE_CLIENT, NULL);
    mr_put_credit(&z.wr, INT64_MAX);
    zmtp_say(&z);
    zmtp_expect_error(&z, MR_DENIED);
    zmtp_close(&z);
    end_well(&job, id);
    return 1;
}

/* No HELLO; and after BYE, when the conversation is over. */
static int64_t
no_session(void)
{
    struct zmtp z;

    attack_login(&z, WORKER, target.back);
    for (int i = 0; i < 4; i++) {
        size_t mark;

        if (i % 2)
            mr_put_credit(&z.wr, 100);
        if (i % 2 == 0) {
            mark = mr_put_beat_open(&z.wr, 0);
            mr_put_beat_close(&z.wr, mark, 0);
        }
        zmtp_say(&z);
        zmtp_expect_error(&z, MR_NO_SESSION);
        if (i == 1) {
            zmtp_join(&z, MR_ROLE_WORKER, KIND);
            mr_put_bye(&z.wr, 9, mr_span_str("good bye"), 0);
            zmtp_say(&z);
            zmtp_expect(&z, MR_ACK);
        }
    }
    zmtp_close(&z);
    return 4;
}

/* ---- rights ---------------------------------------------------------------------------------------------- */

static void
hello_is_denied(enum who who, const char *endpoint, enum mr_role role, const char *kind,
    const char *user_id)
{
    struct zmtp z;

    zmtp_open(&z, endpoint, &target.keys[who]);
    if (user_id)
        zmtp_property(&z, "User-Id", user_id, strlen(user_id));
    ck_assert(zmtp_login(&z));
    zmtp_say_hello(&z, role, kind);
    zmtp_expect_error(&z, MR_DENIED);
    zmtp_close(&z);
}

static int64_t
wrong_endpoint(void)
{
    hello_is_denied(FRONT, target.back, MR_ROLE_WORKER, KIND, NULL);
    hello_is_denied(FRONT, target.back, MR_ROLE_CLIENT, NULL, NULL);
    hello_is_denied(WORKER, target.front, MR_ROLE_CLIENT, NULL, NULL);
    hello_is_denied(WORKER, target.front, MR_ROLE_WORKER, KIND, NULL);
    return 4;
}

static int64_t
foreign_kinds(void)
{
    hello_is_denied(WORKER, target.back, MR_ROLE_WORKER, "test.noop", NULL);
    hello_is_denied(WORKER, target.back, MR_ROLE_WORKER, "attack", NULL);
    hello_is_denied(WORKER, target.back, MR_ROLE_WORKER, "*", NULL);
    return 3;
}

/* What a peer says of itself in the login is never who it is. */
static int64_t
claimed_user(void)
{
    char text[41];

    ck_assert_ptr_nonnull(
        zmq_z85_encode(text, target.keys[WORKER].public, ZMTP_KEY_BYTES));
    hello_is_denied(FRONT, target.back, MR_ROLE_WORKER, KIND, text);
    hello_is_denied(FRONT, target.back, MR_ROLE_WORKER, KIND, "local");
    return 2;
}

static enum mr_status
submit(struct zmtp *z, uint64_t corr)
{
    struct mr_job_new job = {.id = mr_uuid_new(mr_clock_now().wall_us),
        .kind = mr_span_str("attack.never"),
        .payload = mr_span("\xc0", 1),
        .priority = MR_PRIORITY_DEFAULT,
        .delay_ms = 3600000};
    size_t mark = mr_put_submit_open(&z->wr, corr, mr_span_str(MR_QUEUE_DEFAULT), 0);
    struct mr_verdict verdict = {.code = MR_OK};
    struct mr_error error;
    struct mr_ack ack;

    mr_put_submit_job(&z->wr, &job);
    mr_put_submit_close(&z->wr, mark, 1);
    zmtp_say(z);
    do
        zmtp_expect_any(z);
    while (z->msg.verb != MR_ACK && z->msg.verb != MR_ERROR);
    if (z->msg.verb == MR_ERROR) {
        ck_assert_int_eq(mr_get_error(&z->msg, &error), MR_OK);
        return error.code;
    }
    ck_assert_int_eq(mr_get_ack(&z->msg, &ack), MR_OK);
    if (ack.verdicts)
        ck_assert_int_eq(mr_get_verdict(&ack, &verdict), MR_OK);
    return verdict.code;
}

static int64_t
revoked(void)
{
    enum { AFTER = 100 };
    int64_t began_ms, jobs;
    struct mr_error error;
    struct zmtp z;

    attack_join(&z, RETIRED, MR_ROLE_CLIENT, NULL);
    ck_assert_int_eq(submit(&z, 1), MR_OK);
    (void)rig_int(
        &target.rig, "select length(millrace.principal_revoke('retired', true))");
    began_ms = rig_now_ms();
    while (submit(&z, 2) == MR_OK)
        ck_assert_int_lt(rig_now_ms() - began_ms, RIG_WAIT_MS);
    printf("%-46s it took %lld ms to take effect\n", "",
        (long long)(rig_now_ms() - began_ms));
    jobs = rig_int(
        &target.rig, "select count(*) from millrace.job where submitted_by = 'retired'");
    for (int i = 0; i < AFTER; i++)
        ck_assert_int_ne(submit(&z, 3), MR_OK);
    ck_assert_int_eq(rig_int(&target.rig, "select count(*) from millrace.job where "
                                          "submitted_by = 'retired'"),
        jobs);
    zmtp_say_hello(&z, MR_ROLE_CLIENT, NULL);
    do
        zmtp_expect_any(&z);
    while (z.msg.verb != MR_ERROR || mr_get_error(&z.msg, &error) ||
           error.code != MR_DENIED);
    zmtp_close(&z);
    zmtp_open(&z, target.front, &target.keys[RETIRED]);
    ck_assert_msg(!zmtp_login(&z), "a revoked key got in");
    zmtp_close(&z);
    return AFTER;
}

const struct attack attacks_of_insiders[] = {
    {"garbage", "ERROR MALFORMED", "malformed", NULL, garbage, 0},
    {"a message of 4 MiB and a byte", "ERROR MALFORMED", "multipart", NULL, oversized, 0},
    {"endless message, full frames", "closed", "endless_out", NULL, endless, 256},
    {"endless message, empty frames", "closed", "endless_out", NULL, endless_of_nothing,
        256},
    {"many unfinished messages", "the largest is closed", "endless_out", NULL, hoard,
        512},
    {"DONE of another's job", "verdict STALE", "stale", NULL, forged_done, 0},
    {"BEAT of another's job", "REVOKE, stale", "stale", NULL, forged_beat, 0},
    {"HELLO with another worker's instance", "ERROR DENIED", "hello_refused", NULL,
        forged_instance, 0},
    {"CREDIT without end, and at the front", "no job; ERROR DENIED", "denied", NULL,
        forged_credit, 0},
    {"messages outside a session", "ERROR NO_SESSION", "no_session", NULL, no_session, 0},
    {"front end's key at the back, worker's at front", "ERROR DENIED", "hello_refused",
        NULL, wrong_endpoint, 0},
    {"kinds that it may not run", "ERROR DENIED", "hello_refused", NULL, foreign_kinds,
        0},
    {"a User-Id of its own choice", "ERROR DENIED", "hello_refused", NULL, claimed_user,
        0},
    {"revoked key on a live connection", "ERROR DENIED, then no login", "strangers", NULL,
        revoked, 0},
    {NULL, NULL, NULL, NULL, NULL, 0},
};
