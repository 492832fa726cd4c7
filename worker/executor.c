#include "worker/executor.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <czmq.h>

#include "schemas/base/clock.h"
#include "schemas/base/log.h"
#include "worker/db.h"
#include "worker/run.h"

struct mr_executor {
    struct mr_executor_conf conf;
    struct mr_mailbox *box;
    struct mr_note stop;
    struct mr_executor_idle idle;
    struct mr_guard guard;
    struct mr_db db;
    struct millrace_job *job;
    struct mr_child *child; /* NULL: nothing is isolated */
    zactor_t *actor;
    atomic_bool is_ended;
    struct mr_note nudge;
    atomic_bool is_nudged; /* the nudge is under way */
    bool is_stopping;      /* own thread */
    bool is_sealed;        /* own thread: what was asked for is there */
};

/* While a batch is in hand nothing else comes but STOP, WAKE, NUDGE and SEAL. True: WAKE came. */
static bool
take_control(struct mr_executor *executor)
{
    bool was_woken = false;
    struct mr_note *note;

    while ((note = mr_note_take(executor->box))) {
        if (note->type == MR_NOTE_STOP)
            executor->is_stopping = true;
        else if (note->type == MR_NOTE_NUDGE)
            atomic_store(&executor->is_nudged, false);
        else if (note->type == MR_NOTE_SEAL)
            executor->is_sealed = true;
        else
            was_woken = note->type == MR_NOTE_WAKE;
    }
    return was_woken;
}

static bool
pause_for(void *context, int ms)
{
    struct mr_executor *executor = context;
    int64_t until_us = mr_clock_mono_us() + ms * INT64_C(1000);
    int64_t left_us = ms * INT64_C(1000);

    while (left_us > 0 && !executor->is_stopping) {
        mr_mailbox_wait(executor->box, (int)((left_us + 999) / 1000));
        (void)take_control(executor);
        left_us = until_us - mr_clock_mono_us();
    }
    return !executor->is_stopping;
}

static void
await_cancel(void *context)
{
    struct mr_executor *executor = context;

    do
        mr_mailbox_wait(executor->box, -1);
    while (!take_control(executor));
}

static bool
take_nudge(void *context)
{
    struct mr_executor *executor = context;

    (void)take_control(executor);
    return executor->is_stopping;
}

static void
tell_news(void *context)
{
    struct mr_executor *executor = context;

    if (executor->conf.on_news)
        executor->conf.on_news(executor->conf.context);
}

static enum mr_status
seal(void *context, struct mr_seal_ask *ask)
{
    struct mr_executor *executor = context;

    if (executor->conf.opener)
        return mr_opener_seal(executor->conf.opener, executor->job->attempt->id, ask);
    executor->is_sealed = false;
    executor->conf.ask_to_seal(executor->conf.context, ask);
    while (!executor->is_sealed) {
        mr_mailbox_wait(executor->box, -1);
        (void)take_control(executor);
    }
    return ask->status;
}

static void
pass_on(struct mr_executor *executor, struct mr_attempt *attempt, enum mr_run_end end)
{
    if (end == MR_RUN_ALONE)
        attempt->comes_back = attempt->is_alone = true;
    if (end == MR_RUN_TO_STORE) {
        attempt->stored_bytes = attempt->body.n;
        mr_note_give(executor->conf.committer, &attempt->note);
    } else {
        mr_note_give(executor->conf.session, &attempt->note);
    }
}

/* False: it is over. */
static bool
is_open(struct mr_executor *executor, struct mr_attempt *attempt)
{
    if (mr_opener_open(executor->conf.opener, attempt))
        return true;
    pass_on(executor, attempt, MR_RUN_OVER);
    return false;
}

static void
run_attempt(struct mr_executor *executor, struct mr_attempt *attempt)
{
    if (!is_open(executor, attempt))
        return;
    if (!attempt->is_isolated) {
        pass_on(executor, attempt, mr_run_attempt(executor->job, attempt));
        return;
    }
    pass_on(executor, attempt, mr_child_run(executor->child, attempt));
    mr_child_tend(executor->child);
}

/* The one at `at`, which is claimed, and those behind it that may share its transaction: what is
 * there, it waits for nobody. Returns the place of the next one. */
static uint32_t
run_group(struct mr_executor *executor, struct mr_batch *batch, uint32_t at)
{
    const struct millrace_kind *kind = batch->items[at].group;
    struct mr_attempt *attempts[MR_GROUP_MAX] = {batch->items[at].attempt};
    enum mr_run_end ends[MR_GROUP_MAX];
    uint32_t count = is_open(executor, attempts[0]), next = at + 1;

    while (next < batch->count && count < kind->group_max &&
           batch->items[next].group == kind) {
        if (mr_batch_claim(&batch->items[next], mr_clock_mono_us()) &&
            is_open(executor, batch->items[next].attempt))
            attempts[count++] = batch->items[next].attempt;
        next++;
    }
    if (count == 0)
        return next;
    if (count == 1) {
        run_attempt(executor, attempts[0]);
        return next;
    }
    mr_run_group(executor->job, attempts, count, ends);
    for (uint32_t i = 0; i < count; i++)
        pass_on(executor, attempts[i], ends[i]);
    return next;
}

/* What is not claimed when we are to end is left: nobody waits for it any more. */
static void
run_batch(struct mr_executor *executor, struct mr_batch *batch)
{
    uint32_t i = 0;

    while (i < batch->count && !executor->is_stopping) {
        if (!mr_batch_claim(&batch->items[i], mr_clock_mono_us())) {
            i++;
        } else if (batch->items[i].group) {
            i = run_group(executor, batch, i);
        } else {
            run_attempt(executor, batch->items[i].attempt);
            i++;
        }
    }
    mr_note_give(executor->conf.session, &executor->idle.note);
}

static void
run(zsock_t *pipe, void *argument)
{
    struct mr_executor *executor = argument;
    char name[16];

    (void)snprintf(name, sizeof name, "executor-%u", executor->conf.number);
    mr_log_thread(name);
    if (executor->conf.on_start)
        executor->conf.on_start(executor->conf.context);
    zsock_signal(pipe, 0);
    while (!executor->is_stopping) {
        struct mr_note *note;

        mr_mailbox_wait(executor->box, -1);
        while ((note = mr_note_take(executor->box))) {
            if (note->type == MR_NOTE_BATCH)
                run_batch(executor, (struct mr_batch *)(void *)note);
            else if (note->type == MR_NOTE_STOP)
                executor->is_stopping = true;
            else if (note->type == MR_NOTE_NUDGE) /* it ended meanwhile */
                atomic_store(&executor->is_nudged, false);
        }
    }
    mr_child_destroy(&executor->child);
    mr_db_close(&executor->db);
    atomic_store(&executor->is_ended, true);
}

static void
free_executor(struct mr_executor *executor)
{
    mr_child_destroy(&executor->child);
    mr_canceller_guard_fini(&executor->guard);
    mr_run_destroy(&executor->job);
    mr_mailbox_destroy(&executor->box);
    free(executor);
}

static enum mr_status
new_child(struct mr_executor *executor)
{
    struct mr_child_conf conf;

    if (!executor->conf.child)
        return MR_OK;
    conf = *executor->conf.child;
    conf.worker = executor->conf.worker;
    conf.number = executor->conf.number;
    conf.box = executor->box;
    conf.context = executor;
    conf.take_notes = take_nudge;
    return mr_child_new(&executor->child, &conf);
}

enum mr_status
mr_executor_new(struct mr_executor **out, const struct mr_executor_conf *conf)
{
    struct mr_executor *executor = calloc(1, sizeof *executor);
    struct mr_run_conf run_conf;

    *out = NULL;
    if (!executor)
        return MR_NO_MEMORY;
    executor->conf = *conf;
    executor->stop.type = MR_NOTE_STOP;
    executor->nudge.type = MR_NOTE_NUDGE;
    atomic_init(&executor->is_nudged, false);
    executor->idle.note.type = MR_NOTE_IDLE;
    executor->idle.executor = executor;
    atomic_init(&executor->is_ended, false);
    if (mr_mailbox_new(&executor->box))
        goto fail;
    mr_canceller_guard_init(&executor->guard, executor->box);
    executor->db = (struct mr_db){
        .conninfo = conf->conninfo, .name = conf->db_name, .guard = &executor->guard};
    run_conf = (struct mr_run_conf){.db = &executor->db,
        .guard = &executor->guard,
        .worker = conf->worker,
        .context = executor,
        .pause = pause_for,
        .await_cancel = await_cancel,
        .on_news = tell_news};
    if (conf->ask_to_seal || (conf->opener && conf->opener->ring))
        run_conf.seal = seal;
    if (mr_run_new(&executor->job, &run_conf) || new_child(executor))
        goto fail;
    executor->actor = zactor_new(run, executor);
    if (!executor->actor)
        goto fail;
    *out = executor;
    return MR_OK;
fail:
    free_executor(executor);
    return MR_NO_MEMORY;
}

void
mr_executor_start(struct mr_executor *executor, struct mr_batch *batch)
{
    mr_note_give(executor->box, &batch->note);
}

void
mr_executor_nudge(struct mr_executor *executor)
{
    if (!atomic_exchange(&executor->is_nudged, true))
        mr_note_give(executor->box, &executor->nudge);
}

void
mr_executor_sealed(struct mr_executor *executor, struct mr_seal_ask *ask)
{
    mr_note_give(executor->box, &ask->note);
}

void
mr_executor_stop(struct mr_executor *executor)
{
    mr_note_give(executor->box, &executor->stop);
}

bool
mr_executor_is_ended(const struct mr_executor *executor)
{
    return atomic_load(&executor->is_ended);
}

void
mr_executor_destroy(struct mr_executor **executor)
{
    if (!*executor)
        return;
    zactor_destroy(&(*executor)->actor);
    free_executor(*executor);
    *executor = NULL;
}

uint32_t
mr_executor_number(const struct mr_executor *executor)
{
    return executor->conf.number;
}

struct mr_guard *
mr_executor_guard(struct mr_executor *executor)
{
    return &executor->guard;
}
