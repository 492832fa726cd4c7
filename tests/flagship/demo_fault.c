#include "tests/flagship/demo_fault.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/clock.h"
#include "schemas/wire/pack.h"

enum {
    VICTIM = 0, /* the first worker */
    ASK_MS = 10000,
    CORNERED_S = 2, /* below the time after which the broker takes it for dead */
};

typedef enum mr_status (*step_fn)(struct mr_demo_fault *fault,
    const struct mr_demo_fault_world *world, struct mr_err *err);

static double
since_s(int64_t us)
{
    return (double)(mr_clock_now().mono_us - us) / 1e6;
}

/* One number from the database. */
static enum mr_status
look_up(struct mr_pg *pg, const char *sql, int64_t *out, struct mr_err *err)
{
    struct pg_result *rows = NULL;
    enum mr_status status = mr_pg_run(pg, sql, 0, NULL, &rows, err);

    *out = status ? 0 : mr_pg_int(rows, 0, 0);
    mr_pg_free_result(&rows);
    return status;
}

static const char lost_sql[] =
    "select count(*) from millrace.attempts where outcome = 'lost'";
static const char epoch_sql[] = "select epoch from millrace.shard where shard = 0";
static const char unfinished_sql[] =
    "select count(*) from millrace.job j where not exists"
    " (select from millrace.result r where r.id = j.id)";

/* ---- The worker ------------------------------------------------------------------------------ */

/* Before half of the rides, so that both faults are in the middle. */
static enum mr_status
on_watching(struct mr_demo_fault *fault, const struct mr_demo_fault_world *world,
    struct mr_err *err)
{
    (void)err;
    if (world->ended * 5 < world->rides * 2)
        return MR_OK;
    /* Frozen first, for the moment of asking: so it is known what it holds when it dies. */
    mr_proc_signal(mr_stack_proc(world->stack, VICTIM), SIGSTOP);
    fault->frozen_us = mr_clock_now().mono_us;
    fault->state = MR_DEMO_FAULT_CORNERED;
    return MR_OK;
}

static enum mr_status
ask_broker(const struct mr_demo_fault_world *world, const char *method, void **reply,
    size_t *bytes, struct mr_err *err)
{
    struct millrace_error error;

    if (millrace_call(world->mr, method, NULL, 0, ASK_MS, reply, bytes, &error))
        return mr_err_set(err, MR_INTERNAL, error.what, error.why, error.todo);
    return MR_OK;
}

/* The number under `wanted` of the next map, if `name` is NULL or what stands under "name". */
static int64_t
number_of(struct mr_rd *rd, const char *wanted, const char *name)
{
    uint32_t keys = mr_rd_map(rd, UINT16_MAX);
    bool is_it = !name;
    int64_t number = 0;

    for (uint32_t k = 0; k < keys && !rd->status; k++) {
        struct mr_span key = mr_rd_str(rd, 64);

        if (mr_span_is(key, wanted))
            number = mr_rd_int(rd);
        else if (name && mr_span_is(key, "name"))
            is_it = mr_span_is(mr_rd_str(rd, 256), name);
        else
            mr_rd_skip(rd);
    }
    return is_it && !rd->status ? number : 0;
}

/* How many jobs the broker counts as the worker's; -1: it does not know that worker (any more). */
static enum mr_status
ask_held(const struct mr_demo_fault_world *world, int64_t *held, struct mr_err *err)
{
    void *reply = NULL;
    size_t bytes = 0;
    enum mr_status status = ask_broker(world, "workers", &reply, &bytes, err);
    struct mr_rd rd = mr_rd_open(mr_span(reply, bytes));
    uint32_t workers = status ? 0 : mr_rd_array(&rd, UINT16_MAX);

    *held = -1;
    for (uint32_t i = 0; i < workers && !rd.status; i++) {
        struct mr_rd again = rd;
        /* It has threads: so many mean that this is its map. */
        bool is_it = number_of(&again, "threads", "worker-1") > 0;
        int64_t running = number_of(&rd, "running", "worker-1");

        if (is_it)
            *held = running;
    }
    free(reply);
    return status;
}

/* What it held when it was frozen it may have run, and only the report is missing; what is sent to
 * it afterwards can only be lost. */
static enum mr_status
on_cornered(struct mr_demo_fault *fault, const struct mr_demo_fault_world *world,
    struct mr_err *err)
{
    int64_t held;
    enum mr_status status = ask_held(world, &held, err);

    if (status)
        return status;
    if (!fault->has_asked)
        fault->held = held;
    fault->has_asked = true;
    if (held <= fault->held && since_s(fault->frozen_us) < CORNERED_S)
        return MR_OK;
    mr_demo_show_line(world->show,
        "!! %.1f s  worker-1 (process %d) is killed with SIGKILL, jobs in its hands",
        mr_demo_show_seconds(world->show), (int)mr_stack_proc(world->stack, VICTIM)->pid);
    mr_stack_kill(world->stack, VICTIM);
    fault->worker_gone_us = mr_clock_now().mono_us;
    fault->state = MR_DEMO_FAULT_MOURNED;
    return MR_OK;
}

/* ---- The broker ------------------------------------------------------------------------------- */

static enum mr_status
kill_broker(struct mr_demo_fault *fault, const struct mr_demo_fault_world *world,
    struct mr_err *err)
{
    int64_t unfinished;
    enum mr_status status = look_up(world->pg, epoch_sql, &fault->epoch, err);
    int process = (int)mr_stack_proc(world->stack, MR_STACK_BROKER)->pid;

    if (status)
        return status;
    mr_stack_kill(world->stack, MR_STACK_BROKER);
    fault->broker_gone_us = mr_clock_now().mono_us;
    fault->state = MR_DEMO_FAULT_DOWN;
    status = look_up(world->pg, unfinished_sql, &unfinished, err);
    if (!status)
        status = mr_stack_revive(world->stack, MR_STACK_BROKER, err);
    if (!status)
        mr_demo_show_line(world->show,
            "!! %.1f s  the broker (process %d) is killed with SIGKILL and started again;"
            " %" PRId64 " jobs unfinished",
            mr_demo_show_seconds(world->show), process, unfinished);
    return status;
}

static enum mr_status
on_mourned(struct mr_demo_fault *fault, const struct mr_demo_fault_world *world,
    struct mr_err *err)
{
    int64_t held, lost = 0;
    enum mr_status status = ask_held(world, &held, err);

    if (!status)
        status = look_up(world->pg, lost_sql, &lost, err);
    if (status || held >= 0 || lost == 0 || world->ended * 2 < world->rides)
        return status;
    mr_demo_show_line(world->show,
        "   %.1f s  it was noticed: attempts recorded as lost: %" PRId64
        "; their jobs run on worker-2",
        mr_demo_show_seconds(world->show), lost);
    return kill_broker(fault, world, err);
}

static enum mr_status
on_down(struct mr_demo_fault *fault, const struct mr_demo_fault_world *world,
    struct mr_err *err)
{
    struct pg_result *rows = NULL;
    int64_t epoch = 0;
    enum mr_status status;

    if (!mr_stack_is_ready(world->stack, MR_STACK_BROKER))
        return MR_OK;
    status = mr_pg_run(world->pg, "select clock_timestamp()", 0, NULL, &rows, err);
    if (!status) {
        snprintf(fault->ready_at, sizeof fault->ready_at, "%s", mr_pg_text(rows, 0, 0));
        status = look_up(world->pg, epoch_sql, &epoch, err);
    }
    mr_pg_free_result(&rows);
    if (status)
        return status;
    mr_demo_show_line(world->show,
        "   %.1f s  the broker is back after %.1f s, epoch %" PRId64 " became %" PRId64,
        mr_demo_show_seconds(world->show), since_s(fault->broker_gone_us), fault->epoch,
        epoch);
    fault->state = MR_DEMO_FAULT_UP;
    return MR_OK;
}

/* What worker-2 has queued it starts without a broker; a job that is younger than the broker came
 * through it. */
static enum mr_status
on_up(struct mr_demo_fault *fault, const struct mr_demo_fault_world *world,
    struct mr_err *err)
{
    static const char sql[] = "select count(*) from millrace.result r join millrace.job j"
                              " using (id) where j.submitted_at > $1::timestamptz and"
                              " r.started_at > $1::timestamptz";
    const char *since = fault->ready_at;
    struct pg_result *rows = NULL;
    enum mr_status status = mr_pg_run(world->pg, sql, 1, &since, &rows, err);
    bool is_resumed = !status && mr_pg_int(rows, 0, 0) > 0;

    mr_pg_free_result(&rows);
    if (status || (!is_resumed && world->ended < world->rides))
        return status;
    mr_demo_show_line(world->show,
        "   %.1f s  new jobs are accepted and run, %.1f s after the kill",
        mr_demo_show_seconds(world->show), since_s(fault->broker_gone_us));
    fault->state = MR_DEMO_FAULT_REPLACED;
    return mr_stack_revive(world->stack, VICTIM, err);
}

static enum mr_status
on_replaced(struct mr_demo_fault *fault, const struct mr_demo_fault_world *world,
    struct mr_err *err)
{
    (void)err;
    if (!mr_stack_is_ready(world->stack, VICTIM))
        return MR_OK;
    mr_demo_show_line(world->show,
        "   %.1f s  worker-1 is back (process %d), %.1f s after it was killed",
        mr_demo_show_seconds(world->show), (int)mr_stack_proc(world->stack, VICTIM)->pid,
        since_s(fault->worker_gone_us));
    fault->state = MR_DEMO_FAULT_RELEASED;
    return MR_OK;
}

/* After a restart the broker keeps jobs back for a while that a worker might still have. */
static enum mr_status
on_released(struct mr_demo_fault *fault, const struct mr_demo_fault_world *world,
    struct mr_err *err)
{
    void *reply = NULL;
    size_t bytes = 0;
    enum mr_status status = ask_broker(world, "stats", &reply, &bytes, err);
    struct mr_rd rd = mr_rd_open(mr_span(reply, bytes));
    bool is_waiting = !status && number_of(&rd, "recovered", NULL) > 0;

    free(reply);
    if (status || is_waiting)
        return status;
    mr_demo_show_line(world->show,
        "   %.1f s  all jobs from before the kill are handed out again, %.1f s after it",
        mr_demo_show_seconds(world->show), since_s(fault->broker_gone_us));
    fault->state = MR_DEMO_FAULT_OVER;
    return MR_OK;
}

static enum mr_status
on_over(struct mr_demo_fault *fault, const struct mr_demo_fault_world *world,
    struct mr_err *err)
{
    (void)fault, (void)world, (void)err;
    return MR_OK;
}

enum mr_status
mr_demo_fault_tick(struct mr_demo_fault *fault, const struct mr_demo_fault_world *world,
    struct mr_err *err)
{
    static const step_fn steps[] = {
        [MR_DEMO_FAULT_WATCHING] = on_watching,
        [MR_DEMO_FAULT_CORNERED] = on_cornered,
        [MR_DEMO_FAULT_MOURNED] = on_mourned,
        [MR_DEMO_FAULT_DOWN] = on_down,
        [MR_DEMO_FAULT_UP] = on_up,
        [MR_DEMO_FAULT_REPLACED] = on_replaced,
        [MR_DEMO_FAULT_RELEASED] = on_released,
        [MR_DEMO_FAULT_OVER] = on_over,
    };

    return steps[fault->state](fault, world, err);
}

/* ---- After ----------------------------------------------------------------------------------- */

enum mr_status
mr_demo_fault_judge(
    const struct mr_demo_fault *fault, struct mr_pg *pg, bool *held, struct mr_err *err)
{
    int64_t lost = 0, epoch = 0;
    enum mr_status status = look_up(pg, lost_sql, &lost, err);

    if (!status)
        status = look_up(pg, epoch_sql, &epoch, err);
    *held =
        !status && fault->state == MR_DEMO_FAULT_OVER && lost > 0 && epoch > fault->epoch;
    if (!status)
        printf("  %s faults: worker-1 and the broker killed · attempts lost %" PRId64
               " · epoch %" PRId64 " to %" PRId64 "\n",
            *held ? "ok  " : "FAIL", lost, fault->epoch, epoch);
    return status;
}
