/*
 * A session driven by hand: no thread, no socket, no database. Time is a number that the tests
 * move. What the session wants and says is written down. One session at a time.
 */
#ifndef MR_TESTS_UNIT_WORKER_RIG_H
#define MR_TESTS_UNIT_WORKER_RIG_H

#include "worker/session.h"

#include <check.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MS = 1000, THREADS = 2, PREFETCH = 3, HEARTBEAT_MS = 1000 };

static inline enum millrace_answer
run(struct millrace_job *job)
{
    (void)job;
    return MILLRACE_SUCCEEDED;
}

static const struct millrace_kind plain = {.name = "a.plain", .run = run};
static const struct millrace_kind alone = {
    .name = "b.alone", .run = run, .running_max = 1};
static const struct millrace_kind grouped = {
    .name = "c.grouped", .run = run, .is_transactional = true, .group_max = 4};
static const struct millrace_kind *const kinds[] = {&plain, &alone, &grouped, NULL};

static struct mr_registry *registry;
static struct mr_session *session;
static struct mr_session_conf conf;
static struct mr_now now;

/* What the session wanted since the last look. */
static struct mr_attempt *started[64];
static uint32_t seats[64], start_count;
static struct mr_batch *batches[THREADS]; /* as handed over last */
static uint32_t claims_max;               /* items of a batch that start at once */
static uint32_t cancel_count, replace_count, hurry_count, last_seat;
static struct mr_attempt *replaced;

/* With an executor or the committer: the session leaves these to whoever has them. */
static struct mr_attempt *away[64];
static uint32_t away_count;

static inline void
come_back(struct mr_attempt *attempt)
{
    uint32_t i = 0;

    while (i < away_count && away[i] != attempt)
        i++;
    ck_assert_uint_lt(i, away_count);
    away[i] = away[--away_count];
    mr_session_returned(session, attempt);
}

/* The executor comes to this item of its batch: false, it was taken back. */
static inline bool
claim(uint32_t executor, uint32_t i)
{
    struct mr_batch_item *item = &batches[executor]->items[i];

    if (!mr_batch_claim(item, now.mono_us))
        return false;
    ck_assert_uint_lt(start_count, 64);
    seats[start_count] = executor;
    started[start_count++] = item->attempt;
    ck_assert_uint_lt(away_count, 64);
    away[away_count++] = item->attempt;
    return true;
}

static inline void
on_act(void *context, enum mr_session_act act, uint32_t executor, struct mr_batch *batch,
    struct mr_attempt *attempt)
{
    ck_assert_ptr_eq(context, &conf);
    last_seat = executor;
    switch (act) {
    case MR_SESSION_START:
        ck_assert_int_eq(batch->note.type, MR_NOTE_BATCH);
        batches[executor] = batch;
        for (uint32_t i = 0; i < batch->count && i < claims_max; i++)
            ck_assert(claim(executor, i));
        return;
    case MR_SESSION_CANCEL:
        cancel_count++;
        return;
    case MR_SESSION_REPLACE:
        replaced = attempt;
        replace_count++;
        return;
    case MR_SESSION_HURRY:
        hurry_count++;
        return;
    }
}

static inline void
make_session(void)
{
    mr_session_destroy(&session);
    ck_assert_int_eq(mr_session_new(&session, &conf, on_act, &conf), MR_OK);
}

static inline void
set_up(void)
{
    now = (struct mr_now){.mono_us = 1000 * MS, .wall_us = INT64_C(1700000000000000)};
    start_count = cancel_count = replace_count = hurry_count = 0;
    claims_max = MR_BATCH_MAX;
    ck_assert_int_eq(mr_registry_new(&registry), MR_OK);
    ck_assert_int_eq(mr_registry_add(registry, kinds, "test", NULL), MR_OK);
    conf = (struct mr_session_conf){.threads = THREADS,
        .prefetch = PREFETCH,
        .prefetch_max = PREFETCH,
        .results_max = 4,
        .results_bytes_max = 1000,
        .hang_grace_ms = 500,
        .spares = 1,
        .drain_ms = 2000,
        .hash_key = {1, 2},
        .kinds = registry};
    make_session();
}

static inline void
tear_down(void)
{
    mr_session_destroy(&session);
    while (away_count)
        mr_attempt_destroy(&away[--away_count]);
    mr_registry_destroy(&registry);
}

/* ---- the broker's side --------------------------------------------------------------------- */

struct heard {
    struct mr_msg msg;
    struct mr_done dones[300];
    char texts[300][80];
    uint32_t done_count, flags;
    struct mr_held held[64];
    uint32_t held_count;
    uint64_t credit;
    uint64_t done_corr;
    uint32_t messages[MR_VERB_COUNT];
    uint32_t dones_at_bye; /* when BYE came, and one more; 0: it did not */
};
static struct heard heard;

static inline void
hear_done(const struct mr_msg *msg)
{
    struct mr_dones dones;

    ck_assert_int_eq(mr_get_dones(msg, &dones), MR_OK);
    heard.flags |= dones.flags;
    heard.done_corr = msg->corr;
    while (dones.dones) {
        struct mr_done *done = &heard.dones[heard.done_count];

        ck_assert_int_eq(mr_get_done(&dones, done), MR_OK);
        (void)snprintf(heard.texts[heard.done_count++], 80, "%.*s", (int)done->text.n,
            done->text.n ? (const char *)done->text.p : "");
    }
}

static inline void
hear_beat(const struct mr_msg *msg)
{
    struct mr_beat beat;

    ck_assert_int_eq(mr_get_beat(msg, &beat), MR_OK);
    while (beat.held)
        ck_assert_int_eq(mr_get_held(&beat, &heard.held[heard.held_count++]), MR_OK);
}

/* Everything that the session has to say now. */
static inline const struct heard *
hear(void)
{
    struct mr_wr wr;

    memset(&heard, 0, sizeof heard);
    mr_wr_init(&wr, MR_MESSAGE_BYTES_MAX);
    while (mr_session_say(session, now, &wr)) {
        struct mr_msg msg;

        ck_assert_int_eq(wr.status, MR_OK);
        ck_assert_int_eq(mr_msg_open(mr_wr_span(&wr), &msg), MR_OK);
        heard.messages[msg.verb]++;
        if (msg.verb == MR_DONE)
            hear_done(&msg);
        else if (msg.verb == MR_BEAT)
            hear_beat(&msg);
        else if (msg.verb == MR_BYE)
            heard.dones_at_bye = heard.messages[MR_DONE] + 1;
        else if (msg.verb == MR_CREDIT)
            ck_assert_int_eq(mr_get_credit(&msg, &heard.credit), MR_OK);
        mr_wr_reset(&wr);
    }
    mr_wr_fini(&wr);
    return &heard;
}

static inline void
connect(void)
{
    mr_session_welcomed(session, now, HEARTBEAT_MS);
    ck_assert_uint_eq(hear()->credit, THREADS + PREFETCH);
}

static inline struct mr_uuid
id_of(unsigned n)
{
    struct mr_uuid id = {{0}};

    id.b[14] = (uint8_t)(n >> 8);
    id.b[15] = (uint8_t)n;
    return id;
}

static inline struct mr_job_sent
job_of(unsigned n)
{
    return (struct mr_job_sent){.id = id_of(n),
        .attempt = 1,
        .kind = mr_span_str("a.plain"),
        .payload = mr_span_str("\x01"),
        .queue = mr_span_str("default"),
        .timeout_ms = 0};
}

static inline void
send(const struct mr_job_sent *sent)
{
    ck_assert_int_eq(mr_session_job(session, now, sent), MR_OK);
}

/* n jobs, numbered from `first`. */
static inline void
send_jobs(unsigned first, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct mr_job_sent sent = job_of(first + i);

        send(&sent);
    }
}

static inline int64_t
tick(void)
{
    return mr_session_tick(session, now);
}

static inline void
wait_ms(int64_t ms)
{
    now.mono_us += ms * MS;
    now.wall_us += ms * MS;
}

static inline void
revoke(unsigned n, uint32_t attempt, enum mr_why why)
{
    mr_session_revoked(session, now,
        &(struct mr_revoked){.id = id_of(n), .attempt = attempt, .why = why});
}

/* ---- the executors' side --------------------------------------------------------------------- */

/* What was started as `i`th ends: report, then idle. */
static inline void
end_with(uint32_t i, enum mr_report report)
{
    mr_attempt_report(started[i], report, mr_span_str("so it went"));
    come_back(started[i]);
    mr_session_idle(session, seats[i]);
}

/* What was started as `i`th goes to the committer, then its executor is idle. */
static inline void
to_store(uint32_t i, size_t bytes)
{
    started[i]->stored_bytes = bytes;
    mr_session_idle(session, seats[i]);
}

static inline int
stop_of(uint32_t i)
{
    return atomic_load(&started[i]->stop);
}

/* Runs them all; main's exit code. */
static inline int
run_suite(const char *name, const TTest *const *tests)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create("session");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    for (; *tests; tests++)
        tcase_add_test(tcase, *tests);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

#endif
