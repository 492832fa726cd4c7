#include "broker/errand.h"

#include "broker/audit.h"
#include "broker/call.h"
#include "broker/guard.h"
#include "broker/keys.h"
#include "broker/writer.h"
#include "schemas/base/log.h"

#include <stdlib.h>
#include <string.h>

#define SPARE_MAX 3u
#define ASKED_MAX 64u         /* requests of people under way */
#define PARKED_RETRY_US 50000 /* memory was full: try again */

/* Tasks of one type: those that wait, oldest first; at most one is with the writer. */
struct lane {
    enum mr_task_type type;
    struct mr_task *first, *last, *spare;
    uint32_t spare_count;
    bool is_away;
};

struct mr_errand {
    struct mr_broker *broker;
    struct lane commits, finds, reads, sweeps, loads;
    struct mr_task *parked; /* rows that found no room in the core yet, oldest first */
    int64_t parked_us, sweep_us; /* monotonic, when to try again */
    uint32_t asked;
    bool wants_sweep, is_claimed;
};

enum mr_status
mr_errand_new(struct mr_errand **out, struct mr_broker *broker)
{
    struct mr_errand *errand = calloc(1, sizeof *errand);

    *out = errand;
    if (!errand)
        return MR_NO_MEMORY;
    errand->broker = broker;
    errand->commits.type = MR_TASK_COMMIT;
    errand->finds.type = MR_TASK_FIND;
    errand->reads.type = MR_TASK_READ;
    errand->sweeps.type = MR_TASK_SWEEP;
    errand->loads.type = MR_TASK_LOAD;
    return MR_OK;
}

static void
free_list(struct mr_task **list)
{
    while (*list) {
        struct mr_task *task = *list;

        *list = task->next;
        mr_task_destroy(&task);
    }
}

static void
free_lane(struct lane *lane)
{
    free_list(&lane->first);
    free_list(&lane->spare);
}

void
mr_errand_destroy(struct mr_errand **errand)
{
    if (!*errand)
        return;
    free_lane(&(*errand)->commits);
    free_lane(&(*errand)->finds);
    free_lane(&(*errand)->reads);
    free_lane(&(*errand)->sweeps);
    free_lane(&(*errand)->loads);
    free_list(&(*errand)->parked);
    free(*errand);
    *errand = NULL;
}

/* ---- filling ----------------------------------------------------------------------------------- */

static struct mr_task *
append(struct lane *lane)
{
    struct mr_task *task = lane->spare;

    if (task) {
        lane->spare = task->next;
        lane->spare_count--;
        task->next = NULL;
    } else {
        task = mr_task_new(lane->type);
        MR_ASSERT(task); /* out of memory: a restart loses nothing */
    }
    if (lane->first)
        lane->last->next = task;
    else
        lane->first = task;
    lane->last = task;
    return task;
}

static void
give_back(struct lane *lane, struct mr_task *task)
{
    mr_task_reset(task);
    if (lane->spare_count == SPARE_MAX) {
        mr_task_destroy(&task);
        return;
    }
    task->next = lane->spare;
    lane->spare = task;
    lane->spare_count++;
}

void
mr_errand_store(struct mr_errand *errand, const struct mr_store_op *op)
{
    struct lane *lane = &errand->commits;

    if (lane->first && mr_task_add_op(lane->last, op))
        return;
    MR_ASSERT(mr_task_add_op(append(lane), op));
}

void
mr_errand_end_sessions(struct mr_errand *errand, struct mr_uuid instance)
{
    struct lane *lane = &errand->commits;

    if (lane->first && mr_task_end_sessions(lane->last, instance))
        return;
    MR_ASSERT(mr_task_end_sessions(append(lane), instance));
}

static void
look_up(struct lane *lane, struct mr_uuid id)
{
    if (lane->first && mr_task_add_id(lane->last, id))
        return;
    MR_ASSERT(mr_task_add_id(append(lane), id));
}

void
mr_errand_find(struct mr_errand *errand, struct mr_uuid id)
{
    look_up(&errand->finds, id);
}

void
mr_errand_read(struct mr_errand *errand, struct mr_uuid id, bool with_history)
{
    errand->broker->counters.reads++;
    look_up(&errand->reads, id);
    errand->reads.last->with_history |= with_history;
}

void
mr_errand_sweep(struct mr_errand *errand)
{
    errand->wants_sweep = true;
}

void
mr_errand_add_kind(struct mr_errand *errand, struct mr_span kind)
{
    struct mr_task *task = mr_task_new(MR_TASK_ADD_KIND);

    MR_ASSERT(task && mr_arena_copy(task->arena, kind, &task->name));
    mr_writer_give(errand->broker->writer, task);
}

void
mr_errand_load(struct mr_errand *errand)
{
    errand->is_claimed = true;
    mr_core_load_begins(errand->broker->core, errand->broker->now);
    (void)append(&errand->loads);
}

enum mr_status
mr_errand_ask(struct mr_errand *errand, struct mr_task *task)
{
    if (errand->asked >= ASKED_MAX) {
        mr_task_destroy(&task);
        return MR_BUSY;
    }
    errand->asked++;
    mr_writer_give(errand->broker->writer, task);
    return MR_OK;
}

/* ---- answers ------------------------------------------------------------------------------------- */

/* Nothing is known about what was asked: we cannot go on, and a restart finds out. */
static void
give_up(struct mr_broker *broker, const struct mr_task *task)
{
    if (task->status == MR_DRAINING || broker->fatal.status)
        return;
    broker->fatal = task->err;
    broker->fatal.status = task->status;
}

static void
on_commit(struct mr_errand *errand, struct mr_task *task)
{
    struct mr_broker *broker = errand->broker;

    errand->commits.is_away = false;
    if (task->status == MR_OK) {
        broker->counters.batches++;
        broker->counters.rows += task->batch.count;
        mr_meter_commit(&broker->meter, task->batch.count, task->took_ns);
        for (uint32_t i = 0; i < task->batch.count; i++)
            mr_core_stored(broker->core, broker->now, &task->batch.ops[i]);
    } else {
        give_up(broker, task);
    }
    give_back(&errand->commits, task);
}

static void
on_find(struct mr_errand *errand, struct mr_task *task)
{
    struct mr_broker *broker = errand->broker;

    errand->finds.is_away = false;
    if (task->status)
        give_up(broker, task);
    for (uint32_t i = 0; task->status == MR_OK && i < task->found_count; i++)
        mr_core_found(broker->core, broker->now, &task->founds[i]);
    give_back(&errand->finds, task);
}

static void
on_read(struct mr_errand *errand, struct mr_task *task)
{
    struct mr_broker *broker = errand->broker;

    errand->reads.is_away = false;
    if (task->status)
        give_up(broker, task);
    for (uint32_t i = 0; task->status == MR_OK && i < task->id_count; i++) {
        const struct mr_stored_job *job = mr_task_find_job(task, task->ids[i]);

        if (!job && task->has_more)
            mr_errand_read(errand, task->ids[i], task->with_history);
        else
            mr_core_read_back(broker->core, broker->now, task->ids[i], job);
    }
    give_back(&errand->reads, task);
}

/* False: memory is full, go on later. */
static bool
take_jobs(struct mr_errand *errand, struct mr_task *task)
{
    struct mr_broker *broker = errand->broker;

    while (task->jobs_taken < task->job_count) {
        const struct mr_stored_job *job = &task->jobs[task->jobs_taken];
        enum mr_status status = mr_core_loaded(broker->core, broker->now, job);

        if (status == MR_BUSY)
            return false;
        if (status) {
            char id[MR_UUID_TEXT_MAX];

            mr_log(MR_LOG_WARN, "job-left-out",
                "id=%s status=%s why=\"its row does not "
                "keep the limits\"",
                mr_uuid_format(job->job.id, id), mr_status_name(status));
        }
        task->jobs_taken++;
    }
    return true;
}

static void
after_load(struct mr_errand *errand, struct mr_task *task)
{
    if (task->has_more) {
        struct mr_uuid after = task->after;

        append(&errand->loads)->after = after;
        return;
    }
    mr_log(MR_LOG_INFO, "loaded", "all unfinished jobs are in memory");
    mr_core_load_done(errand->broker->core, errand->broker->now);
}

/* A load and a sweep at most: none is given while one waits here. */
static void
park(struct mr_errand *errand, struct mr_task *task)
{
    struct mr_task **last = &errand->parked;

    while (*last)
        last = &(*last)->next;
    *last = task;
    task->next = NULL;
    errand->parked_us = errand->broker->now.mono_us + PARKED_RETRY_US;
}

static void
finish_rows(struct mr_errand *errand, struct mr_task *task)
{
    if (!take_jobs(errand, task)) {
        park(errand, task);
        return;
    }
    if (task->type == MR_TASK_LOAD) {
        after_load(errand, task);
        give_back(&errand->loads, task);
    } else {
        errand->wants_sweep = errand->wants_sweep || task->has_more;
        give_back(&errand->sweeps, task);
    }
}

static void
on_load(struct mr_errand *errand, struct mr_task *task)
{
    errand->loads.is_away = false;
    if (task->status) {
        give_up(errand->broker, task);
        give_back(&errand->loads, task);
        return;
    }
    finish_rows(errand, task);
}

static void
on_sweep(struct mr_errand *errand, struct mr_task *task)
{
    errand->sweeps.is_away = false;
    errand->broker->counters.sweeps++;
    if (task->status) {
        /* Without memory, rows that were moved got lost on the way: a restart finds them. */
        if (task->status == MR_NO_MEMORY)
            give_up(errand->broker, task);
        else if (task->status != MR_DRAINING)
            mr_log(MR_LOG_WARN, "sweep-failed", "status=%s why=\"%s\"",
                mr_status_name(task->status), task->err.why);
        give_back(&errand->sweeps, task);
        return;
    }
    finish_rows(errand, task);
}

static void
on_kind_added(struct mr_errand *errand, struct mr_task *task)
{
    (void)errand;
    if (task->status && task->status != MR_DRAINING)
        mr_log(MR_LOG_WARN, "kind-not-stored", "kind=\"%.*s\" status=%s why=\"%s\"",
            (int)task->name.n, (const char *)task->name.p, mr_status_name(task->status),
            task->err.why);
    mr_task_destroy(&task);
}

static void
on_audited(struct mr_errand *errand, struct mr_task *task)
{
    mr_audit_written(errand->broker, task);
}

static void
on_asked(struct mr_errand *errand, struct mr_task *task)
{
    errand->asked--;
    mr_call_answer(errand->broker, task);
    mr_task_destroy(&task);
}

/* ---- news ---------------------------------------------------------------------------------------- */

static void
on_claimed(struct mr_errand *errand, const struct mr_task *task)
{
    struct mr_broker *broker = errand->broker;
    enum mr_status status;

    broker->epoch = task->epoch;
    for (uint32_t i = 0; i < task->kind_count; i++) {
        status = mr_core_knows_kind(broker->core, task->kinds[i]);
        if (status)
            mr_log(MR_LOG_WARN, "kind-left-out", "kind=\"%.*s\" status=%s",
                (int)task->kinds[i].n, (const char *)task->kinds[i].p,
                mr_status_name(status));
    }
    for (uint32_t i = 0; i < task->queue_count; i++) {
        const struct mr_queue_row *queue = &task->queues[i];

        status =
            mr_core_set_paused(broker->core, broker->now, queue->name, queue->is_paused);
        if (status)
            mr_log(MR_LOG_WARN, "queue-left-out", "queue=\"%.*s\" status=%s",
                (int)queue->name.n, (const char *)queue->name.p, mr_status_name(status));
    }
    broker->is_store_up = true;
    mr_core_store_is_up(broker->core, broker->now, true);
    MR_ASSERT(broker->rights); /* they come with the claim: nobody is served without */
    broker->phase = MR_PHASE_SERVING;
    mr_errand_load(errand);
    mr_log(MR_LOG_INFO, "serving", "shard=%lld epoch=%llu front=%s back=%s",
        (long long)broker->settings->shard, (unsigned long long)broker->epoch,
        broker->bound[MR_FRONT], broker->bound[MR_BACK]);
}

static void
on_up_or_down(struct mr_broker *broker, const struct mr_task *task)
{
    bool is_up = task->news == MR_NEWS_UP;

    if (is_up)
        mr_log(MR_LOG_INFO, "store-up", "PostgreSQL answers again");
    else
        mr_log(MR_LOG_WARN, "store-down", "status=%s what=\"%s\" why=\"%s\" todo=\"%s\"",
            mr_status_name(task->err.status), task->err.what, task->err.why,
            task->err.todo);
    broker->is_store_up = is_up;
    mr_core_store_is_up(broker->core, broker->now, is_up);
}

static void
on_rights(struct mr_broker *broker, struct mr_task *task)
{
    if (task->rights) {
        mr_guard_set_rights(broker, task->rights);
        mr_keys_publish(broker);
    }
    task->rights = NULL;
}

static void
on_news(struct mr_errand *errand, struct mr_task *task)
{
    struct mr_broker *broker = errand->broker;

    switch (task->news) {
    case MR_NEWS_STANDBY:
        mr_log(MR_LOG_INFO, "standby", "why=\"%s\"", task->err.why);
        break;
    case MR_NEWS_CLAIMED:
        on_rights(broker, task);
        if (broker->phase == MR_PHASE_STARTING)
            on_claimed(errand, task);
        break;
    case MR_NEWS_RIGHTS:
        on_rights(broker, task);
        break;
    case MR_NEWS_DOWN:
    case MR_NEWS_UP:
        on_up_or_down(broker, task);
        break;
    case MR_NEWS_FATAL:
        if (!broker->fatal.status)
            broker->fatal = task->err;
        break;
    case MR_NEWS_STOPPED:
        broker->writer_has_stopped = true;
        break;
    }
    mr_task_destroy(&task);
}

typedef void (*answer_fn)(struct mr_errand *errand, struct mr_task *task);

static const answer_fn answers[MR_TASK_TYPES] = {
    [MR_TASK_COMMIT] = on_commit,
    [MR_TASK_FIND] = on_find,
    [MR_TASK_READ] = on_read,
    [MR_TASK_SWEEP] = on_sweep,
    [MR_TASK_LOAD] = on_load,
    [MR_TASK_ADD_KIND] = on_kind_added,
    [MR_TASK_PAUSE] = on_asked,
    [MR_TASK_PRINCIPAL] = on_asked,
    [MR_TASK_PRINCIPALS] = on_asked,
    [MR_TASK_LIST] = on_asked,
    [MR_TASK_SHOW] = on_asked,
    [MR_TASK_DEAD] = on_asked,
    [MR_TASK_REDRIVE] = on_asked,
    [MR_TASK_EXPLAIN] = on_asked,
    [MR_TASK_DEED] = on_asked,
    [MR_TASK_AUDIT] = on_audited,
    [MR_TASK_NEWS] = on_news,
};

static void
retry_parked(struct mr_errand *errand)
{
    struct mr_task *task = errand->parked, *next;

    if (!task || errand->broker->now.mono_us < errand->parked_us)
        return;
    errand->parked = NULL;
    for (; task; task = next) {
        next = task->next;
        finish_rows(errand, task);
    }
}

void
mr_errand_collect(struct mr_errand *errand)
{
    struct mr_mailbox *box = errand->broker->answers;
    struct mr_node *node = mr_mailbox_take(box);

    /* Before the last look into it: who gives later rings again. */
    if (node || errand->broker->has_answers)
        mr_mailbox_hush(box);
    for (node = node ? node : mr_mailbox_take(box); node; node = mr_mailbox_take(box)) {
        struct mr_task *task = (struct mr_task *)node;

        answers[task->type](errand, task);
    }
    retry_parked(errand);
}

/* ---- giving ---------------------------------------------------------------------------------------- */

static void
give_first(struct mr_errand *errand, struct lane *lane)
{
    struct mr_task *task = lane->first;

    if (!task || lane->is_away)
        return;
    lane->first = task->next;
    task->next = NULL;
    lane->is_away = true;
    mr_writer_give(errand->broker->writer, task);
}

static void
give_load(struct mr_errand *errand)
{
    if (errand->parked || errand->loads.is_away || !errand->loads.first)
        return;
    mr_core_load_asks(errand->broker->core);
    give_first(errand, &errand->loads);
}

/* One sweep at a time, none while rows wait for room. */
static void
give_sweep(struct mr_errand *errand)
{
    int64_t now = errand->broker->now.mono_us;

    if (mr_core_is_loading(errand->broker->core) || errand->parked ||
        errand->sweeps.is_away || errand->broker->phase != MR_PHASE_SERVING ||
        !(errand->wants_sweep || now >= errand->sweep_us))
        return;
    errand->wants_sweep = false;
    errand->sweep_us = now + errand->broker->settings->sweep_ms * 1000;
    (void)append(&errand->sweeps);
    give_first(errand, &errand->sweeps);
}

void
mr_errand_dispatch(struct mr_errand *errand)
{
    if (!errand->is_claimed || errand->broker->writer_has_stopped)
        return;
    give_first(errand, &errand->commits);
    give_first(errand, &errand->finds);
    give_first(errand, &errand->reads);
    give_load(errand);
    give_sweep(errand);
}

int64_t
mr_errand_next_us(const struct mr_errand *errand)
{
    int64_t next = INT64_MAX;

    if (errand->parked)
        return errand->parked_us;
    if (!mr_core_is_loading(errand->broker->core) && !errand->sweeps.is_away &&
        errand->broker->phase == MR_PHASE_SERVING)
        next = errand->sweep_us;
    return next;
}

bool
mr_errand_is_idle(const struct mr_errand *errand)
{
    return !errand->commits.first && !errand->commits.is_away;
}
