#include "broker/task.h"

#include "schemas/sql/finish.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rows, and what the store finds out about them, beside MR_BATCH_BYTES_GOAL. */
#define COMMIT_BYTES_MAX (256u * 1024 * 1024)
/* Kept from one use to the next: a full batch of small rows needs no other memory. */
#define COMMIT_BYTES_FIRST (2u * 1024 * 1024)
/* MR_TASK_IDS_MAX rows of the largest kind and some more. */
#define LOOK_BYTES_MAX (128u * 1024 * 1024)
/* MR_AUDIT_ROWS_MAX rows of the longest texts. */
#define AUDIT_BYTES_MAX (512u * 1024)
#define COLD_BYTES_MAX (16u * 1024 * 1024)
/* Above it payloads are left out of what is taken from the inbox: the core reads them back when
 * they are due. */
#define SWEEP_BYTES_GOAL (8u * 1024 * 1024)
#define REPLY_BYTES_MAX (MR_MESSAGE_BYTES_MAX - 4096)

static const struct {
    uint32_t ops, ids, founds, jobs, audits;
    size_t bytes_max;
} room_of[MR_TASK_TYPES] = {
    [MR_TASK_COMMIT] = {.ops = MR_BATCH_ROWS_MAX, .bytes_max = COMMIT_BYTES_MAX},
    [MR_TASK_FIND] = {.ids = MR_TASK_IDS_MAX,
        .founds = MR_TASK_IDS_MAX,
        .bytes_max = LOOK_BYTES_MAX},
    [MR_TASK_READ] = {.ids = MR_READ_IDS_MAX,
        .jobs = MR_READ_IDS_MAX,
        .bytes_max = LOOK_BYTES_MAX},
    [MR_TASK_SWEEP] = {.jobs = MR_SWEEP_ROWS_MAX, .bytes_max = COLD_BYTES_MAX},
    [MR_TASK_LOAD] = {.jobs = MR_LOAD_ROWS_MAX, .bytes_max = COLD_BYTES_MAX},
    [MR_TASK_ADD_KIND] = {.bytes_max = 4096},
    [MR_TASK_PAUSE] = {.audits = 1, .bytes_max = 4096},
    [MR_TASK_PRINCIPAL] = {.bytes_max = 4096},
    [MR_TASK_PRINCIPALS] = {.bytes_max = 4096},
    [MR_TASK_LIST] = {.bytes_max = 4096},
    [MR_TASK_SHOW] = {.ids = 1, .bytes_max = 4096},
    [MR_TASK_DEAD] = {.bytes_max = 4096},
    [MR_TASK_REDRIVE] = {.ids = MR_REDRIVE_MAX,
        .audits = 1,
        .bytes_max = MR_PAYLOAD_BYTES_MAX + 4096},
    [MR_TASK_EXPLAIN] = {.ids = 1, .bytes_max = COLD_BYTES_MAX},
    [MR_TASK_DEED] = {.ids = 1, .audits = 1, .bytes_max = 4096},
    [MR_TASK_AUDIT] = {.audits = MR_AUDIT_ROWS_MAX, .bytes_max = AUDIT_BYTES_MAX},
    [MR_TASK_NEWS] = {.bytes_max = COLD_BYTES_MAX},
};

static bool
make_room(struct mr_task *task)
{
    enum mr_task_type type = task->type;

    if (room_of[type].ops) {
        task->batch.ops = malloc(room_of[type].ops * sizeof *task->batch.ops);
        task->ended = malloc(MR_SESSIONS_ENDED_MAX * sizeof *task->ended);
        if (!task->batch.ops || !task->ended)
            return false;
    }
    if (room_of[type].ids) {
        task->ids = malloc(room_of[type].ids * sizeof *task->ids);
        if (!task->ids)
            return false;
    }
    if (room_of[type].founds) {
        task->founds = malloc(room_of[type].founds * sizeof *task->founds);
        if (!task->founds)
            return false;
    }
    if (room_of[type].jobs) {
        task->jobs = malloc(room_of[type].jobs * sizeof *task->jobs);
        if (!task->jobs)
            return false;
    }
    if (room_of[type].audits) {
        task->audits = malloc(room_of[type].audits * sizeof *task->audits);
        if (!task->audits)
            return false;
    }
    if (mr_arena_new(&task->arena, room_of[type].bytes_max))
        return false;
    if (room_of[type].ops && !mr_arena_alloc(task->arena, COMMIT_BYTES_FIRST))
        return false;
    mr_arena_reset(task->arena);
    return true;
}

struct mr_task *
mr_task_new(enum mr_task_type type)
{
    struct mr_task *task = calloc(1, sizeof *task);

    if (!task)
        return NULL;
    task->type = type;
    mr_wr_init(&task->out, REPLY_BYTES_MAX);
    if (!make_room(task)) {
        mr_task_destroy(&task);
        return NULL;
    }
    task->batch.arena = task->arena;
    task->batch.end_sessions = task->ended;
    return task;
}

void
mr_task_destroy(struct mr_task **task)
{
    if (!*task)
        return;
    mr_arena_destroy(&(*task)->arena);
    mr_wr_fini(&(*task)->out);
    mr_rights_destroy(&(*task)->rights);
    free((*task)->batch.ops);
    free((*task)->ended);
    free((*task)->ids);
    free((*task)->founds);
    free((*task)->jobs);
    free((*task)->audits);
    free(*task);
    *task = NULL;
}

void
mr_task_reset(struct mr_task *task)
{
    mr_arena_reset(task->arena);
    task->status = MR_OK;
    task->next = NULL;
    task->batch.count = task->batch.end_session_count = 0;
    task->id_count = task->found_count = task->job_count = task->jobs_taken = 0;
    task->has_more = task->with_history = false;
}

/* One row names mostly what the row before it names: that is copied once. */
static bool
copy_name(struct mr_arena *arena, struct mr_span before, struct mr_span *name)
{
    if (name->n && mr_span_eq(before, *name)) {
        *name = before;
        return true;
    }
    return mr_arena_copy(arena, *name, name);
}

static bool
copy_job(struct mr_arena *arena, const struct mr_job_new *before, struct mr_job_new *job)
{
    return copy_name(arena, before->queue, &job->queue) &&
           copy_name(arena, before->kind, &job->kind) &&
           mr_arena_copy(arena, job->payload, &job->payload) &&
           mr_arena_copy(arena, job->lane, &job->lane) &&
           mr_arena_copy(arena, job->trace, &job->trace);
}

bool
mr_task_add_op(struct mr_task *task, const struct mr_store_op *op)
{
    static const struct mr_store_op none;
    struct mr_store_op *copy = &task->batch.ops[task->batch.count];
    const struct mr_store_op *before = task->batch.count ? copy - 1 : &none;

    if (task->batch.count == MR_BATCH_ROWS_MAX ||
        mr_arena_used(task->arena) > MR_BATCH_BYTES_GOAL)
        return false;
    *copy = *op;
    if (op->type == MR_STORE_JOB && !copy_job(task->arena, &before->job, &copy->job))
        return false;
    if (!copy_name(task->arena, before->submitted_by, &copy->submitted_by) ||
        !mr_arena_copy(task->arena, op->text, &copy->text) ||
        !copy_name(task->arena, before->worker, &copy->worker))
        return false;
    task->batch.count++;
    return true;
}

bool
mr_task_end_sessions(struct mr_task *task, struct mr_uuid instance)
{
    size_t prefix = strlen(MR_WORKER_SESSION_PREFIX);
    char *name;

    if (task->batch.end_session_count == MR_SESSIONS_ENDED_MAX)
        return false;
    name = mr_arena_alloc(task->arena, prefix + 2 * sizeof instance.b + 1);
    if (!name)
        return false;
    memcpy(name, MR_WORKER_SESSION_PREFIX, prefix);
    for (size_t i = 0; i < sizeof instance.b; i++)
        (void)snprintf(name + prefix + 2 * i, 3, "%02x", instance.b[i]);
    task->ended[task->batch.end_session_count++] = name;
    return true;
}

bool
mr_task_add_id(struct mr_task *task, struct mr_uuid id)
{
    if (task->id_count == room_of[task->type].ids)
        return false;
    task->ids[task->id_count++] = id;
    return true;
}

bool
mr_task_add_found(struct mr_task *task, const struct mr_found *found)
{
    struct mr_found *copy = &task->founds[task->found_count];

    if (task->found_count == room_of[task->type].founds)
        return false;
    *copy = *found;
    if (!mr_arena_copy(task->arena, found->submitted_by, &copy->submitted_by) ||
        !mr_arena_copy(task->arena, found->queue, &copy->queue) ||
        !mr_arena_copy(task->arena, found->kind, &copy->kind) ||
        !mr_arena_copy(task->arena, found->text, &copy->text) ||
        !mr_arena_copy(task->arena, found->losses, &copy->losses) ||
        !mr_arena_copy(task->arena, found->body, &copy->body))
        return false;
    task->found_count++;
    return true;
}

bool
mr_task_add_job(struct mr_task *task, const struct mr_stored_job *job)
{
    static const struct mr_stored_job none;
    struct mr_stored_job *copy = &task->jobs[task->job_count];
    const struct mr_stored_job *before = task->job_count ? copy - 1 : &none;

    if (task->job_count == room_of[task->type].jobs)
        return false;
    *copy = *job;
    if (task->type != MR_TASK_READ && job->job.payload.n &&
        mr_arena_used(task->arena) > SWEEP_BYTES_GOAL) {
        copy->payload_bytes = (uint32_t)job->job.payload.n;
        copy->job.payload = MR_SPAN_NONE;
    }
    if (!copy_job(task->arena, &before->job, &copy->job) ||
        !copy_name(task->arena, before->submitted_by, &copy->submitted_by))
        return false;
    task->job_count++;
    return true;
}

static int
compare_jobs(const void *a, const void *b)
{
    const struct mr_stored_job *x = a, *y = b;

    return memcmp(x->job.id.b, y->job.id.b, sizeof x->job.id.b);
}

void
mr_task_sort_jobs(struct mr_task *task)
{
    if (task->job_count)
        qsort(task->jobs, task->job_count, sizeof *task->jobs, compare_jobs);
}

const struct mr_stored_job *
mr_task_find_job(const struct mr_task *task, struct mr_uuid id)
{
    struct mr_stored_job key = {.job.id = id};

    if (!task->job_count)
        return NULL;
    return bsearch(&key, task->jobs, task->job_count, sizeof *task->jobs, compare_jobs);
}
