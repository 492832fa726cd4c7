#include "broker/writer_run.h"

#include "schemas/base/mutant.h"

#define KINDS_LOADED_MAX 60000u
#define QUEUES_LOADED_MAX 60000u

/* ---- what the store hands out, copied into the task --------------------------------------- */

struct taking {
    struct mr_task *task;
    bool is_full; /* by our own mistake: the limits given to the store fit the room */
};

static bool
take_job(void *context, const struct mr_stored_job *job)
{
    struct taking *taking = context;

    taking->is_full = !mr_task_add_job(taking->task, job);
    return !taking->is_full;
}

/* As many as fit into a batch's bytes, one at least: the rest is asked for again. */
static bool
take_read(void *context, const struct mr_stored_job *job)
{
    struct taking *taking = context;

    taking->is_full = !mr_task_add_job(taking->task, job);
    taking->task->has_more = mr_arena_used(taking->task->arena) > MR_BATCH_BYTES_GOAL;
    return !taking->is_full && !taking->task->has_more;
}

static bool
take_found(void *context, const struct mr_found *found)
{
    struct taking *taking = context;

    taking->is_full = !mr_task_add_found(taking->task, found);
    return !taking->is_full;
}

static enum mr_status
judge(enum mr_status status, const struct taking *taking, struct mr_err *err)
{
    if (status == MR_OK && taking->is_full)
        return mr_err_set(err, MR_NO_MEMORY, "Rows could not be taken over.",
            "There is no memory left for them.", "Give the broker more memory.");
    return status;
}

/* ---- by type --------------------------------------------------------------------------------- */

typedef enum mr_status (*run_fn)(struct mr_store *store, struct mr_task *task);

static enum mr_status
run_commit(struct mr_store *store, struct mr_task *task)
{
    return mr_store_commit(store, &task->batch, &task->err);
}

static enum mr_status
run_find(struct mr_store *store, struct mr_task *task)
{
    struct taking taking = {.task = task};
    enum mr_status status =
        mr_store_find(store, task->ids, task->id_count, take_found, &taking, &task->err);

    return judge(status, &taking, &task->err);
}

static enum mr_status
run_read(struct mr_store *store, struct mr_task *task)
{
    struct taking taking = {.task = task};
    enum mr_status status = mr_store_read(store, task->ids, task->id_count,
        task->with_history, take_read, &taking, &task->err);

    if (status == MR_OK)
        mr_task_sort_jobs(task);
    return judge(status, &taking, &task->err);
}

static enum mr_status
run_sweep(struct mr_store *store, struct mr_task *task)
{
    struct taking taking = {.task = task};
    enum mr_status status = mr_store_take_inbox(
        store, MR_SWEEP_ROWS_MAX, take_job, &taking, &task->has_more, &task->err);

    return judge(status, &taking, &task->err);
}

static enum mr_status
run_load(struct mr_store *store, struct mr_task *task)
{
    struct taking taking = {.task = task};
    struct mr_uuid last = task->after;
    enum mr_status status = mr_store_load(store, task->after, MR_LOAD_ROWS_MAX, false,
        take_job, &taking, &last, &task->has_more, &task->err);

    if (status == MR_OK)
        task->after = last;
    return judge(status, &taking, &task->err);
}

static enum mr_status
run_add_kind(struct mr_store *store, struct mr_task *task)
{
    return mr_store_add_kinds(store, &task->name, 1, &task->err);
}

static enum mr_status
run_pause(struct mr_store *store, struct mr_task *task)
{
    return mr_store_set_paused(
        store, task->name, task->is_paused, task->audits, &task->err);
}

static enum mr_status
run_list(struct mr_store *store, struct mr_task *task)
{
    mr_wr_reset(&task->out);
    return mr_store_list(store, &task->filter, &task->out, &task->err);
}

static enum mr_status
run_show(struct mr_store *store, struct mr_task *task)
{
    mr_wr_reset(&task->out);
    return mr_store_show(store, task->ids[0], task->reach, &task->out, &task->err);
}

static enum mr_status
run_dead(struct mr_store *store, struct mr_task *task)
{
    mr_wr_reset(&task->out);
    return mr_store_dead(store, &task->dead, &task->out, &task->err);
}

static enum mr_status
run_redrive(struct mr_store *store, struct mr_task *task)
{
    mr_wr_reset(&task->out);
    return mr_store_redrive(store, task->ids, task->id_count, &task->resealed,
        task->reach, task->audits, &task->out, &task->err);
}

static enum mr_status
run_explain(struct mr_store *store, struct mr_task *task)
{
    return mr_store_why(
        store, task->ids[0], task->reach, task->arena, &task->why, &task->err);
}

static enum mr_status
run_audit(struct mr_store *store, struct mr_task *task)
{
    return mr_store_audit(store, task->audits, task->audit_count, &task->err);
}

static enum mr_status
run_principal(struct mr_store *store, struct mr_task *task)
{
    mr_wr_reset(&task->out);
    return mr_store_change_principal(store, &task->change, &task->out, &task->err);
}

static enum mr_status
run_principals(struct mr_store *store, struct mr_task *task)
{
    mr_wr_reset(&task->out);
    return mr_store_principals(
        store, task->change.fields[MR_PRINCIPAL_NAME], &task->out, &task->err);
}

static const run_fn run_of[MR_TASK_TYPES] = {
    [MR_TASK_COMMIT] = run_commit,
    [MR_TASK_FIND] = run_find,
    [MR_TASK_READ] = run_read,
    [MR_TASK_SWEEP] = run_sweep,
    [MR_TASK_LOAD] = run_load,
    [MR_TASK_ADD_KIND] = run_add_kind,
    [MR_TASK_PAUSE] = run_pause,
    [MR_TASK_PRINCIPAL] = run_principal,
    [MR_TASK_PRINCIPALS] = run_principals,
    [MR_TASK_LIST] = run_list,
    [MR_TASK_SHOW] = run_show,
    [MR_TASK_DEAD] = run_dead,
    [MR_TASK_REDRIVE] = run_redrive,
    [MR_TASK_EXPLAIN] = run_explain,
    [MR_TASK_DEED] = run_audit,
    [MR_TASK_AUDIT] = run_audit,
};

/* A repeated look-up starts anew: what an earlier try took over is forgotten. A COMMIT's arena
 * holds the rows themselves and is left alone. */
static void
forget_answers(struct mr_task *task)
{
    if (task->type == MR_TASK_FIND || task->type == MR_TASK_READ ||
        task->type == MR_TASK_SWEEP || task->type == MR_TASK_LOAD)
        mr_arena_reset(task->arena);
    task->found_count = task->job_count = 0;
    task->has_more = false;
}

enum mr_status
mr_writer_run(struct mr_store *store, struct mr_task *task)
{
    MR_ASSERT(run_of[task->type]);
    forget_answers(task);
    task->status = run_of[task->type](store, task);
    if (MR_MUTANT(fenced_goes_on) && task->status == MR_FENCED)
        task->status = MR_OK;
    return task->status;
}

/* ---- kinds and queues --------------------------------------------------------------------------- */

static bool
take_kind(void *context, struct mr_span kind)
{
    struct mr_task *news = context;

    return news->kind_count < KINDS_LOADED_MAX &&
           mr_arena_copy(news->arena, kind, &news->kinds[news->kind_count]) &&
           ++news->kind_count;
}

static bool
take_queue(void *context, struct mr_span queue, bool is_paused)
{
    struct mr_task *news = context;
    struct mr_queue_row *row = &news->queues[news->queue_count];

    row->is_paused = is_paused;
    return news->queue_count < QUEUES_LOADED_MAX &&
           mr_arena_copy(news->arena, queue, &row->name) && ++news->queue_count;
}

enum mr_status
mr_writer_run_policy(struct mr_store *store, struct mr_task *news)
{
    enum mr_status status;

    news->kind_count = news->queue_count = 0;
    mr_arena_reset(news->arena);
    news->kinds = mr_arena_alloc(news->arena, KINDS_LOADED_MAX * sizeof *news->kinds);
    news->queues = mr_arena_alloc(news->arena, QUEUES_LOADED_MAX * sizeof *news->queues);
    if (!news->kinds || !news->queues)
        return mr_err_set(&news->err, MR_NO_MEMORY, "The broker cannot start.",
            "There is no memory for the names of kinds and queues.",
            "Give it more memory.");
    status = mr_store_kinds(store, take_kind, news, &news->err);
    if (status == MR_OK)
        status = mr_store_queues(store, take_queue, news, &news->err);
    if (status == MR_OK)
        status = mr_writer_run_rights(store, news);
    return status;
}

/* ---- rights --------------------------------------------------------------------------------------- */

struct reading {
    struct mr_rights *rights;
    enum mr_status status;
};

static bool
take_right(void *context, const struct mr_rights_row *row)
{
    struct reading *reading = context;

    reading->status = mr_rights_add(reading->rights, row);
    return reading->status == MR_OK;
}

enum mr_status
mr_writer_run_rights(struct mr_store *store, struct mr_task *news)
{
    struct reading reading = {.status = MR_OK};
    enum mr_status status;

    mr_rights_destroy(&news->rights);
    if (mr_rights_new(&reading.rights, mr_hash_key_random()))
        return mr_err_set(&news->err, MR_NO_MEMORY, "Rights cannot be read.",
            "There is no memory for them.", "Give the broker more memory.");
    status = mr_store_rights(store, take_right, &reading, &news->err);
    if (status == MR_OK && reading.status == MR_OK)
        reading.status = mr_rights_seal(reading.rights);
    if (status == MR_OK && reading.status)
        status = mr_err_set(&news->err, reading.status, "Rights cannot be read.",
            mr_status_text(reading.status),
            "Look for what is out of bounds: select * from millrace.principals");
    if (status == MR_OK)
        news->rights = reading.rights;
    else
        mr_rights_destroy(&reading.rights);
    return status;
}
