#include "tests/sim/sim.h"

#define RETRY_BASE_US INT64_C(100000)
#define PARKED_RETRY_US 50000
#define SWEEP_EVERY_US INT64_C(2000000)
#define ORPHAN_US 900000
#define TASKS_GATHERED 32       /* of a type; then they grow beyond the size of a batch */
#define NEWS_DOWN SIM_TASKS_MAX /* among the answers, beside tasks */
#define NEWS_UP (SIM_TASKS_MAX + 1)

/* ---- tasks ------------------------------------------------------------------------------------ */

static uint32_t
new_task(struct sim *sim, enum sim_task_type type)
{
    struct sim_broker *broker = &sim->broker;
    uint32_t number = 0;
    struct sim_task *task;

    while (number < SIM_TASKS_MAX && broker->tasks[number].is_used)
        number++;
    SIM_MUST(number < SIM_TASKS_MAX);
    task = &broker->tasks[number];
    *task = (struct sim_task){.type = type,
        .epoch = sim->store.epoch,
        .is_used = true,
        .cap = task->cap,
        .requests = task->requests};
    broker->filling[type][broker->filled[type]++] = number;
    return number;
}

static struct sim_task *
last_of(struct sim *sim, enum sim_task_type type)
{
    uint32_t filled = sim->broker.filled[type];

    return filled ? &sim->broker.tasks[sim->broker.filling[type][filled - 1]] : NULL;
}

static struct sim_request *
append(struct sim_task *task)
{
    if (task->n == task->cap) {
        task->cap = task->cap ? 2 * task->cap : 16;
        task->requests = realloc(task->requests, task->cap * sizeof *task->requests);
        if (!task->requests)
            abort();
    }
    task->requests[task->n] = (struct sim_request){0};
    return &task->requests[task->n++];
}

struct sim_request *
sim_writer_add(struct sim *sim, enum sim_task_type type)
{
    struct sim_task *task = last_of(sim, type);

    if (type == SIM_SWEEP || type == SIM_LOAD) /* the store fills these */
        return NULL;
    if (!task ||
        (task->n >= sim->rates.batch && sim->broker.filled[type] < TASKS_GATHERED))
        task = &sim->broker.tasks[new_task(sim, type)];
    return append(task);
}

void
sim_writer_end_sessions(struct sim *sim, struct mr_uuid instance)
{
    struct sim_task *task = last_of(sim, SIM_COMMIT_ROWS);

    if (!task || task->ended_count == SIM_WORKERS_MAX)
        task = &sim->broker.tasks[new_task(sim, SIM_COMMIT_ROWS)];
    task->ended[task->ended_count++] = instance;
}

void
sim_writer_load(struct sim *sim, uint32_t after)
{
    sim->broker.tasks[new_task(sim, SIM_LOAD)].after = after;
}

static void
free_task(struct sim *sim, uint32_t number)
{
    sim->broker.tasks[number].is_used = false;
}

/* ---- the thread: one at a time, again until it is answered ---------------------------------------- */

static void
try_it(struct sim *sim)
{
    struct sim_broker *broker = &sim->broker;
    bool fails = sim->store.is_down || sim_fault(sim, sim->rates.commit_fails);
    int64_t at_us = sim->now.mono_us + 1 + sim_random_us(sim, sim->rates.commit_us);

    broker->try = ++sim->stamps;
    broker->is_applied = false;
    broker->will_apply = !sim->store.is_down && !(fails && sim_random(sim, 3) == 0);
    broker->answers = !fails;
    if (broker->will_apply)
        sim_at(sim, at_us, SIM_WRITER_APPLY, 0, 0, broker->try);
    sim_at(sim, at_us + 1 + sim_random_us(sim, sim->rates.latency_us), SIM_WRITER, 0, 0,
        broker->try);
}

static void
kick(struct sim *sim)
{
    struct sim_broker *broker = &sim->broker;

    if (broker->current != SIM_NONE || broker->given_count == 0)
        return;
    broker->current = broker->given[0];
    memmove(broker->given, broker->given + 1,
        --broker->given_count * sizeof broker->given[0]);
    broker->backs_off = false;
    broker->retries = 0;
    try_it(sim);
}

static void
apply(struct sim *sim)
{
    struct sim_broker *broker = &sim->broker;

    broker->will_apply = false;
    broker->is_applied = true;
    sim_store_apply(sim, &broker->tasks[broker->current]);
    SIM_MUST(!broker->tasks[broker->current].is_fenced);
}

void
sim_writer_on_apply(struct sim *sim, uint64_t try)
{
    if (sim->broker.try == try && sim->broker.will_apply)
        apply(sim);
}

/* The store crashes: what was under way is done or not, and nobody is told. */
void
sim_writer_store_fell(struct sim *sim)
{
    struct sim_broker *broker = &sim->broker;

    if (broker->phase == SIM_DOWN || broker->current == SIM_NONE)
        return;
    broker->answers = false;
    if (broker->will_apply && sim_random(sim, 2))
        apply(sim);
    broker->will_apply = false;
}

static void
say(struct sim *sim, uint32_t what)
{
    sim->broker.answered[sim->broker.answered_count++] = what;
    sim_wake(sim, SIM_BROKER, sim->now.mono_us + 1 + sim_random_us(sim, 200));
}

static void
back_off(struct sim *sim)
{
    struct sim_broker *broker = &sim->broker;
    int64_t us = RETRY_BASE_US << (broker->retries < 4 ? broker->retries : 4);

    if (broker->writer_is_up)
        say(sim, NEWS_DOWN);
    broker->writer_is_up = false;
    broker->retries++;
    broker->backs_off = true;
    broker->try = ++sim->stamps;
    sim_at(sim, sim->now.mono_us + us, SIM_WRITER, 0, 0, broker->try);
}

void
sim_writer_on_answer(struct sim *sim, uint64_t try)
{
    struct sim_broker *broker = &sim->broker;

    if (broker->phase == SIM_DOWN || broker->try != try || broker->current == SIM_NONE)
        return;
    if (broker->backs_off) {
        broker->backs_off = false;
        try_it(sim);
        return;
    }
    if (!broker->answers) {
        sim_log(sim, "no answer", broker->current, broker->is_applied, 0);
        if (broker->is_applied)
            sim_count(sim, SIM_N_WRITER_DOUBT);
        broker->will_apply = false;
        back_off(sim);
        return;
    }
    SIM_MUST(broker->is_applied);
    if (!broker->writer_is_up)
        say(sim, NEWS_UP);
    broker->writer_is_up = true;
    say(sim, broker->current);
    broker->current = SIM_NONE;
    kick(sim);
}

/* ---- the loop's side: giving ------------------------------------------------------------------------ */

static void
give_first(struct sim *sim, enum sim_task_type type)
{
    struct sim_broker *broker = &sim->broker;
    uint32_t *filling = broker->filling[type];

    if (!broker->filled[type] || broker->is_away[type])
        return;
    broker->is_away[type] = true;
    broker->given[broker->given_count++] = filling[0];
    memmove(filling, filling + 1, --broker->filled[type] * sizeof *filling);
    kick(sim);
}

static void
give_sweep(struct sim *sim)
{
    struct sim_broker *broker = &sim->broker;

    if (mr_core_is_loading(broker->core) || broker->parked_count ||
        broker->is_away[SIM_SWEEP] || broker->phase != SIM_SERVING ||
        !(broker->wants_sweep || sim->now.mono_us >= broker->sweep_us))
        return;
    broker->wants_sweep = false;
    broker->sweep_us = sim->now.mono_us + SWEEP_EVERY_US;
    (void)new_task(sim, SIM_SWEEP);
    give_first(sim, SIM_SWEEP);
}

void
sim_writer_dispatch(struct sim *sim)
{
    give_first(sim, SIM_COMMIT_ROWS);
    give_first(sim, SIM_FIND);
    give_first(sim, SIM_READ);
    if (!sim->broker.parked_count && !sim->broker.is_away[SIM_LOAD]) {
        if (sim->broker.filled[SIM_LOAD])
            mr_core_load_asks(sim->broker.core);
        give_first(sim, SIM_LOAD);
    }
    give_sweep(sim);
}

bool
sim_writer_is_idle(const struct sim *sim)
{
    return !sim->broker.filled[SIM_COMMIT_ROWS] && !sim->broker.is_away[SIM_COMMIT_ROWS];
}

int64_t
sim_writer_due_us(const struct sim *sim)
{
    if (sim->broker.parked_count)
        return sim->broker.parked_us;
    if (mr_core_is_loading(sim->broker.core) || sim->broker.is_away[SIM_SWEEP] ||
        sim->broker.phase != SIM_SERVING)
        return SIM_NEVER;
    return sim->broker.sweep_us;
}

/* ---- the loop's side: answers ------------------------------------------------------------------------ */

static void
on_commit(struct sim *sim, struct sim_task *task)
{
    for (uint32_t i = 0; i < task->n; i++) {
        const struct mr_store_op *op = &task->requests[i].op;
        struct sim_job *job = &sim->jobs[task->requests[i].job];

        sim_log(sim, "stored", task->requests[i].job, op->type, (uint64_t)op->status);
        if (op->type == MR_STORE_JOB && op->status == MR_OK && !op->job.run_at_us)
            job->ready_seq = ++sim->broker.ready_seq;
        if (op->type == MR_STORE_ATTEMPT && job->is_finished && job->lost_in)
            job->over_in = sim->broker.instance; /* a look-up will show it */
        mr_core_stored(sim->broker.core, sim->now, op);
    }
}

static void
on_find(struct sim *sim, struct sim_task *task)
{
    for (uint32_t i = 0; i < task->n; i++) {
        uint32_t index = task->requests[i].job;
        bool was_lost = sim->jobs[index].lost_in == sim->broker.instance &&
                        sim_job_is(sim, index, "checking");

        mr_core_found(sim->broker.core, sim->now, &task->requests[i].found);
        if (was_lost && sim_job_is(sim, index, "ready"))
            sim_job_returns(sim, index);
        if (was_lost && !sim_job_is(sim, index, "checking"))
            sim->jobs[index].lost_in = 0;
    }
}

static void
on_read(struct sim *sim, struct sim_task *task)
{
    for (uint32_t i = 0; i < task->n; i++) {
        const struct sim_request *request = &task->requests[i];
        const struct mr_stored_job *row = &request->row;
        struct mr_stored_job payload = {.job = {.id = row->job.id,
                                            .trace = row->job.trace,
                                            .payload = row->job.payload},
            .lacks_history = true};

        mr_core_read_back(sim->broker.core, sim->now, sim->jobs[request->job].id,
            !request->is_there      ? NULL
            : request->with_history ? row
                                    : &payload);
    }
}

/* False: memory is full, go on later. */
static bool
take_rows(struct sim *sim, struct sim_task *task)
{
    for (; task->taken < task->n; task->taken++) {
        const struct sim_request *request = &task->requests[task->taken];
        enum mr_status status = mr_core_loaded(sim->broker.core, sim->now, &request->row);

        sim_log(sim, "loaded", request->job, (uint64_t)status, 0);
        if (status == MR_BUSY)
            return false;
        SIM_MUST(status == MR_OK);
        sim->jobs[request->job].is_doubted_move = false;
    }
    return true;
}

static void
finish_rows(struct sim *sim, uint32_t number)
{
    struct sim_broker *broker = &sim->broker;
    struct sim_task *task = &broker->tasks[number];

    if (!take_rows(sim, task)) { /* a load and a sweep at most */
        SIM_MUST(broker->parked_count < 2);
        broker->parked[broker->parked_count++] = number;
        broker->parked_us = sim->now.mono_us + PARKED_RETRY_US;
        return;
    }
    if (task->type == SIM_SWEEP) {
        broker->wants_sweep = broker->wants_sweep || task->has_more;
    } else if (task->has_more) {
        sim_writer_load(sim, task->last);
    } else {
        sim_log(sim, "load done", 0, 0, 0);
        broker->has_loaded = true;
        mr_core_load_done(broker->core, sim->now);
    }
    free_task(sim, number);
}

static void
retry_parked(struct sim *sim)
{
    struct sim_broker *broker = &sim->broker;
    uint32_t count = broker->parked_count;
    uint32_t parked[2] = {broker->parked[0], broker->parked[1]};

    if (!count || sim->now.mono_us < broker->parked_us)
        return;
    broker->parked_count = 0;
    for (uint32_t i = 0; i < count; i++)
        finish_rows(sim, parked[i]);
}

static void
on_answer(struct sim *sim, uint32_t number)
{
    static void (*const handlers[])(struct sim *, struct sim_task *) = {
        [SIM_COMMIT_ROWS] = on_commit, [SIM_FIND] = on_find, [SIM_READ] = on_read};
    struct sim_broker *broker = &sim->broker;
    struct sim_task *task = &broker->tasks[number];

    broker->is_away[task->type] = false;
    if (task->type == SIM_LOAD || task->type == SIM_SWEEP) {
        finish_rows(sim, number);
        return;
    }
    handlers[task->type](sim, task);
    free_task(sim, number);
}

void
sim_writer_collect(struct sim *sim)
{
    struct sim_broker *broker = &sim->broker;

    for (uint32_t i = 0; i < broker->answered_count; i++) {
        uint32_t what = broker->answered[i];

        if (what < SIM_TASKS_MAX) {
            on_answer(sim, what);
            continue;
        }
        broker->is_up = what == NEWS_UP;
        sim_log(sim, "store is up", broker->is_up, 0, 0);
        mr_core_store_is_up(broker->core, sim->now, broker->is_up);
    }
    broker->answered_count = 0;
    retry_parked(sim);
}

/* ---- the end -------------------------------------------------------------------------------------------- */

static void
orphan(struct sim *sim, uint32_t number)
{
    sim_at(
        sim, sim->now.mono_us + sim_random_us(sim, ORPHAN_US), SIM_ORPHAN, number, 0, 0);
}

/* A batch whose broker is gone: nobody hears what became of it. */
void
sim_writer_on_orphan(struct sim *sim, uint32_t number)
{
    struct sim_task *task = &sim->broker.tasks[number];

    SIM_MUST(task->is_used);
    if (!sim->store.is_down)
        sim_store_apply(sim, task);
    for (uint32_t i = 0; i < task->n; i++)
        sim->jobs[task->requests[i].job].is_doubted_move = false;
    free_task(sim, number);
}

/* What was under way may be done all the same. When another broker took over from one that was
 * only frozen, that one may thaw and go on with what it still had to write. */
void
sim_writer_die(struct sim *sim, bool is_taken_over)
{
    struct sim_broker *broker = &sim->broker;
    uint32_t keep = SIM_NONE;

    if (broker->current != SIM_NONE && broker->will_apply &&
        (broker->tasks[broker->current].type == SIM_COMMIT_ROWS ||
            broker->tasks[broker->current].type == SIM_SWEEP))
        orphan(sim, keep = broker->current);
    for (uint32_t i = 0; i < broker->given_count; i++)
        if (!is_taken_over || broker->tasks[broker->given[i]].type != SIM_COMMIT_ROWS)
            free_task(sim, broker->given[i]);
        else
            orphan(sim, broker->given[i]);
    if (broker->current != SIM_NONE && broker->current != keep)
        free_task(sim, broker->current);
    for (uint32_t i = 0; i < broker->parked_count; i++)
        free_task(sim, broker->parked[i]);
    for (uint32_t i = 0; i < broker->answered_count; i++)
        if (broker->answered[i] < SIM_TASKS_MAX)
            free_task(sim, broker->answered[i]);
    for (uint32_t type = 0; type < SIM_TASK_TYPES; type++) {
        for (uint32_t i = 0; i < broker->filled[type]; i++)
            free_task(sim, broker->filling[type][i]);
        broker->filled[type] = 0;
        broker->is_away[type] = false;
    }
    broker->given_count = broker->answered_count = broker->parked_count = 0;
    broker->current = SIM_NONE;
    broker->will_apply = false;
    broker->try = ++sim->stamps;
    for (uint32_t i = 0; i < sim->submitted; i++)
        sim->jobs[i].is_doubted_move = false;
}

void
sim_writer_destroy(struct sim *sim)
{
    for (uint32_t i = 0; i < SIM_TASKS_MAX; i++)
        free(sim->broker.tasks[i].requests);
}
