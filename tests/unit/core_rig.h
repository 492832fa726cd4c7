/*
 * A core under test, with its actions written down: what it says is copied and looked at
 * afterwards; rows "to be stored" wait until the test decides what became of them. Time stands
 * still unless it is moved. One core at a time.
 */
#ifndef MR_TESTS_UNIT_CORE_RIG_H
#define MR_TESTS_UNIT_CORE_RIG_H

#include "broker/core/core.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define RIG_SAID_MAX 20000
#define RIG_TEXT_MAX 256
#define RIG_VERDICTS_MAX 64
#define RIG_OWNER mr_span_str("local")        /* of what its peers submit */
#define RIG_WALL_US INT64_C(1764000000000000) /* 2025-11-24 */

struct rig_said {
    struct mr_action action; /* its pointers and spans lead to the copies below */
    struct mr_store_op op;
    struct mr_job_sent job;
    struct mr_event event;
    struct mr_revoked revoked;
    struct mr_verdict verdicts[RIG_VERDICTS_MAX];
    size_t op_text_bytes;    /* before it was cut for the copy */
    char text[RIG_TEXT_MAX]; /* of the action, op or event */
    char kind[RIG_TEXT_MAX], queue[RIG_TEXT_MAX], body[RIG_TEXT_MAX];
};

struct rig {
    struct mr_core *core;
    struct mr_core_conf conf;
    struct mr_now now;
    struct rig_said *said;
    uint32_t count; /* said so far */
    uint32_t done;  /* ops before this one have been answered */
    uint64_t ids;   /* made so far */
};

static inline struct mr_span
rig_copy(char out[RIG_TEXT_MAX], struct mr_span from)
{
    size_t n = from.n < RIG_TEXT_MAX - 1 ? from.n : RIG_TEXT_MAX - 1;

    if (n)
        memcpy(out, from.p, n);
    out[n] = 0;
    return mr_span(out, n);
}

static inline void
rig_on_action(void *context, const struct mr_action *action)
{
    struct rig *rig = context;
    struct rig_said *said = &rig->said[rig->count++];

    ck_assert_uint_lt(rig->count, RIG_SAID_MAX);
    memset(said, 0, sizeof *said);
    said->action = *action;
    said->action.text = rig_copy(said->text, action->text);
    if (action->op) {
        said->op = *action->op;
        said->op_text_bytes = action->op->text.n;
        said->op.text = rig_copy(said->text, action->op->text);
        said->op.job.kind = rig_copy(said->kind, action->op->job.kind);
        said->op.job.queue = rig_copy(said->queue, action->op->job.queue);
        said->op.job.payload = rig_copy(said->body, action->op->job.payload);
    }
    if (action->job) {
        said->job = *action->job;
        said->job.kind = rig_copy(said->kind, action->job->kind);
        said->job.queue = rig_copy(said->queue, action->job->queue);
        said->job.payload = rig_copy(said->body, action->job->payload);
        said->job.trace = rig_copy(said->text, action->job->trace);
    }
    if (action->event) {
        said->event = *action->event;
        said->event.text = rig_copy(said->text, action->event->text);
        said->event.body = rig_copy(said->body, action->event->body);
    }
    if (action->revoked)
        said->revoked = *action->revoked;
    for (uint32_t i = 0; i < action->verdict_count && i < RIG_VERDICTS_MAX; i++) {
        said->verdicts[i] = action->verdicts[i];
        if (action->verdict_count == 1)
            said->verdicts[i].text = rig_copy(said->text, action->verdicts[i].text);
    }
}

/* Small tables; tests change rig->conf before rig_start(). */
static inline void
rig_init(struct rig *rig)
{
    *rig = (struct rig){.now = {1000000000, RIG_WALL_US}};
    mr_core_conf_default(&rig->conf);
    rig->conf.jobs_max = 1000;
    rig->conf.storing_max = 1000;
    rig->conf.workers_max = 8;
    rig->conf.clients_max = 8;
    rig->conf.queues_max = 8;
    rig->conf.kinds_max = 8;
    rig->conf.owners_max = 8;
    rig->conf.lanes_max = 100;
    rig->conf.watches_max = 100;
    rig->conf.payload_bytes_max = 1 << 20;
    rig->said = calloc(RIG_SAID_MAX, sizeof *rig->said);
    ck_assert_ptr_nonnull(rig->said);
}

/* Principals of these names, numbered from 1, each of which may everything. To be destroyed. */
static inline struct mr_rights *
rig_rights(const char *const *names, uint32_t count)
{
    static const char *const roles[] = {
        "front-end", "worker", "operator", "administrator"};
    struct mr_rights *rights;

    ck_assert_int_eq(mr_rights_new(&rights, (struct mr_hash_key){1, 2}), MR_OK);
    for (uint32_t i = 0; i < count; i++) {
        struct mr_rights_row row = {
            .type = MR_ROW_PRINCIPAL, .principal = i + 1, .text = mr_span_str(names[i])};

        ck_assert_int_eq(mr_rights_add(rights, &row), MR_OK);
        row.type = MR_ROW_GRANT;
        row.queue = row.kind = mr_span_str("*");
        for (size_t k = 0; k < sizeof roles / sizeof *roles; k++) {
            row.text = mr_span_str(roles[k]);
            ck_assert_int_eq(mr_rights_add(rights, &row), MR_OK);
        }
    }
    ck_assert_int_eq(mr_rights_seal(rights), MR_OK);
    return rights;
}

/* A core that has loaded (nothing) and knows the kind "k"; peers 0 and 1 are clients. */
static inline void
rig_start(struct rig *rig)
{
    ck_assert_int_eq(mr_core_new(&rig->core, &rig->conf, rig_on_action, rig), MR_OK);
    mr_core_load_done(rig->core, rig->now);
    ck_assert_int_eq(mr_core_knows_kind(rig->core, mr_span_str("k")), MR_OK);
    for (uint32_t peer = 0; peer < 2; peer++)
        ck_assert_int_eq(
            mr_core_client_joins(rig->core, rig->now, peer, 0, mr_span_str("client")),
            MR_OK);
}

static inline void
rig_stop(struct rig *rig)
{
    mr_core_check(rig->core);
    mr_core_destroy(&rig->core);
    free(rig->said);
}

/* Ids in ascending order, of the time that it is. */
static inline struct mr_uuid
rig_id(struct rig *rig)
{
    uint64_t ms = (uint64_t)rig->now.wall_us / 1000;
    struct mr_uuid id = {{0}};

    for (int i = 0; i < 6; i++)
        id.b[i] = (uint8_t)(ms >> (40 - 8 * i));
    id.b[6] = 0x70;
    id.b[8] = 0x80;
    rig->ids++;
    for (int i = 0; i < 4; i++)
        id.b[12 + i] = (uint8_t)(rig->ids >> (24 - 8 * i));
    return id;
}

static inline struct mr_job_new
rig_job(struct rig *rig)
{
    return (struct mr_job_new){.id = rig_id(rig),
        .queue = mr_span_str("q"),
        .kind = mr_span_str("k"),
        .payload = mr_span_str("\xc3"),
        .priority = MR_PRIORITY_DEFAULT};
}

/* One message with one job. */
static inline void
rig_submit(struct rig *rig, uint32_t flags, const struct mr_job_new *job)
{
    ck_assert_int_eq(mr_core_submit_open(rig->core, rig->now, 0, 7, flags, 1), MR_OK);
    mr_core_submit_job(rig->core, rig->now, job);
    mr_core_submit_close(rig->core, rig->now);
}

static inline int64_t
rig_tick(struct rig *rig)
{
    int64_t next = mr_core_tick(rig->core, rig->now);

    mr_core_check(rig->core);
    return next;
}

static inline void
rig_move(struct rig *rig, int64_t us)
{
    rig->now.mono_us += us;
    rig->now.wall_us += us;
}

/* The next row that waits is answered so. NULL when none waits. */
static inline struct rig_said *
rig_answer(struct rig *rig, enum mr_status status)
{
    for (; rig->done < rig->count; rig->done++) {
        struct rig_said *said = &rig->said[rig->done];

        if (said->action.act != MR_ACT_STORE)
            continue;
        rig->done++;
        said->op.status = status;
        mr_core_stored(rig->core, rig->now, &said->op);
        mr_core_check(rig->core);
        return said;
    }
    return NULL;
}

/* All rows that wait, and those that follow from them, are durable. */
static inline void
rig_commit(struct rig *rig)
{
    while (rig_answer(rig, MR_OK))
        ;
}

/* The job is ready (unless it is delayed). */
static inline struct mr_uuid
rig_accept(struct rig *rig, const struct mr_job_new *job)
{
    rig_submit(rig, 0, job);
    rig_commit(rig);
    return job->id;
}

static inline struct mr_uuid
rig_ready(struct rig *rig)
{
    struct mr_job_new job = rig_job(rig);

    return rig_accept(rig, &job);
}

static inline void
rig_worker(struct rig *rig, uint32_t peer, uint32_t threads, uint64_t credit,
    const struct mr_offer *offer)
{
    struct mr_offer plain = {.kind = mr_span_str("k")};
    struct mr_hello hello = {.role = MR_ROLE_WORKER,
        .name = mr_span_str("worker"),
        .threads = threads,
        .offers = 1};

    hello.instance.b[0] = (uint8_t)(100 + peer);
    ck_assert_int_eq(mr_core_worker_joins(
                         rig->core, rig->now, peer, 0, &hello, offer ? offer : &plain),
        MR_OK);
    mr_core_credit(rig->core, rig->now, peer, credit);
}

/* One message with one outcome. */
static inline void
rig_done(struct rig *rig, uint32_t peer, struct mr_done done)
{
    mr_core_done_open(rig->core, rig->now, peer, 9, 0, 1);
    mr_core_done(rig->core, rig->now, &done);
    mr_core_done_close(rig->core, rig->now);
    mr_core_check(rig->core);
}

static inline void
rig_report(struct rig *rig, uint32_t peer, struct mr_uuid id, uint32_t attempt,
    enum mr_report report)
{
    rig_done(rig, peer,
        (struct mr_done){
            .id = id, .attempt = attempt, .report = report, .text = mr_span_str("oops")});
}

/* The n-th of its sort from `from` on; n counts from 0; NULL if there are fewer. */
static inline struct rig_said *
rig_nth(struct rig *rig, enum mr_act act, uint32_t n)
{
    for (uint32_t i = 0; i < rig->count; i++) {
        if (rig->said[i].action.act == act && n-- == 0)
            return &rig->said[i];
    }
    return NULL;
}

static inline uint32_t
rig_said(const struct rig *rig, enum mr_act act)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < rig->count; i++)
        n += rig->said[i].action.act == act;
    return n;
}

static inline struct rig_said *
rig_last(struct rig *rig, enum mr_act act)
{
    uint32_t n = rig_said(rig, act);

    return n ? rig_nth(rig, act, n - 1) : NULL;
}

/* What was said so far is forgotten; rows that wait must have been answered. */
static inline void
rig_forget(struct rig *rig)
{
    rig->count = rig->done = 0;
}

/* The state by name; "" when it is not in memory. */
static inline const char *
rig_state(const struct rig *rig, struct mr_uuid id)
{
    struct mr_core_job_info info;

    return mr_core_job(rig->core, id, &info) == MR_OK ? info.state : "";
}

static inline struct mr_core_stats
rig_stats(const struct rig *rig)
{
    struct mr_core_stats stats;

    mr_core_stats(rig->core, &stats);
    return stats;
}

static inline struct mr_uuid
rig_sent_to(struct rig *rig, uint32_t peer)
{
    struct mr_uuid id = rig_ready(rig);

    rig_tick(rig);
    ck_assert_str_eq(rig_state(rig, id), "running");
    ck_assert_uint_eq(rig_last(rig, MR_ACT_JOB)->action.peer, peer);
    return id;
}

static inline void
rig_answer_find(struct rig *rig, struct mr_uuid id, bool is_finished)
{
    struct mr_found found = {
        .id = id, .exists = true, .is_finished = is_finished, .outcome = MR_SUCCEEDED};

    mr_core_found(rig->core, rig->now, &found);
    mr_core_check(rig->core);
}

static inline int
rig_run(const char *name, void (*add)(TCase *tcase))
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    SRunner *runner;
    int failed;

    tcase_set_timeout(tcase, 60);
    add(tcase);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed;
}

#endif
