#include "broker/call.h"

#include "broker/audit.h"
#include "broker/call_args.h"
#include "broker/call_drain.h"
#include "broker/call_lists.h"
#include "broker/call_principal.h"
#include "broker/call_show.h"
#include "broker/call_why.h"
#include "broker/errand.h"
#include "broker/guard.h"
#include "broker/talk.h"
#include "schemas/wire/seal.h"

#include <stdio.h>
#include <string.h>

struct request {
    struct mr_broker *broker;
    uint32_t peer;
    uint64_t corr;
    enum mr_scope scope; /* whose jobs it may be about */
    bool is_uneven;      /* ... if its queue and kind allow that */
    struct mr_span method;
    struct mr_rd raw; /* arguments, unread */
    struct mr_call_args args;
};

/* ---- answering ------------------------------------------------------------------------------------ */

static void
answer(const struct request *request, enum mr_status code, const char *text)
{
    mr_talk_reply(request->broker, request->peer, request->corr, code, mr_span_str(text));
}

/* A sentence as the result: {"text": ...}. */
static void
tell(const struct request *request, const char *text)
{
    struct mr_wr *wr = mr_gather_open(request->broker->gather, request->peer, MR_REPLY);

    if (!wr)
        return;
    mr_put_reply_open(wr, request->corr, MR_OK, MR_SPAN_NONE);
    mr_wr_map(wr, 1);
    mr_wr_cstr(wr, "text");
    mr_wr_cstr(wr, text);
    mr_gather_post(request->broker->gather, request->peer);
}

typedef void (*write_fn)(const struct mr_broker *broker, struct mr_wr *wr);

static void
answer_with(const struct request *request, write_fn write)
{
    struct mr_wr *wr = mr_gather_open(request->broker->gather, request->peer, MR_REPLY);

    if (!wr)
        return;
    mr_put_reply_open(wr, request->corr, MR_OK, MR_SPAN_NONE);
    write(request->broker, wr);
    mr_gather_post(request->broker->gather, request->peer);
}

/* May the caller be told of what is in memory under this id? */
static bool
may_see(const struct request *request, struct mr_uuid id)
{
    return mr_core_may_see(request->broker->core, request->peer, id, request->scope);
}

static bool
is_own(const struct request *request, struct mr_uuid id)
{
    struct mr_core *core = request->broker->core;
    struct mr_core_job_info info;

    return mr_core_job(core, id, &info) == MR_OK &&
           mr_core_may_see(core, request->peer, id, MR_SCOPE_OWN);
}

/* ---- through the writer -------------------------------------------------------------------------- */

static struct mr_task *
task_for(const struct request *request, enum mr_task_type type)
{
    struct mr_task *task = mr_task_new(type);

    MR_ASSERT(task);
    task->peer = request->peer;
    task->corr = request->corr;
    task->nonce = mr_session_at(request->broker->sessions, request->peer)->nonce;
    /* Of another one's job, in a database that does not judge queues, only `show` is judged when it
     * comes back. */
    task->reach.is_any =
        request->scope == MR_SCOPE_ANY && (!request->is_uneven || type == MR_TASK_SHOW);
    MR_ASSERT(mr_arena_copy(task->arena,
        mr_core_principal(request->broker->core, request->peer), &task->reach.owner));
    return task;
}

static void
ask(const struct request *request, struct mr_task *task)
{
    if (mr_errand_ask(request->broker->errand, task))
        answer(request, MR_BUSY, "too many requests are under way; ask again");
}

/* The deed that this task does, or is about, is written down with it. */
static void
write_down(const struct request *request, struct mr_task *task, const char *action,
    struct mr_span object)
{
    struct mr_audit what = mr_audit_act(request->broker, request->peer, action, object);

    MR_ASSERT(mr_audit_copy(task->arena, &what, task->audits));
    task->audit_count = 1;
}

static void
ask_for_id(const struct request *request, enum mr_task_type type)
{
    struct mr_task *task;

    if (!request->args.has_id) {
        answer(request, MR_BAD_ARGUMENT, "give the job's `id`: 16 bytes, or its text");
        return;
    }
    task = task_for(request, type);
    MR_ASSERT(mr_task_add_id(task, request->args.id));
    ask(request, task);
}

/* ---- deeds: written down first, then done ----------------------------------------------------------- */

static void
do_deed(const struct request *request, enum mr_deed deed)
{
    struct mr_broker *broker = request->broker;
    char text[MR_CALL_DRAIN_BYTES];

    switch (deed) {
    case MR_DEED_CANCEL:
        mr_core_cancel(broker->core, broker->now, request->peer, request->corr,
            request->args.id, request->scope);
        return;
    case MR_DEED_DRAIN:
        mr_core_drain(broker->core, broker->now);
        tell(
            request, "no new jobs are accepted or started until the broker is restarted");
        return;
    case MR_DEED_DRAIN_WORKERS:
        if (mr_call_drain_workers(broker, request->args.worker, text, sizeof text))
            tell(request, text);
        else
            answer(request, MR_NOT_FOUND, text);
        return;
    }
}

static void
with_entry(const struct request *request, enum mr_deed deed, const char *action,
    struct mr_span object)
{
    struct mr_task *task;

    /* The database is away: what has to be done is done, and its entry waits. */
    if (!request->broker->is_store_up) {
        struct mr_audit what =
            mr_audit_act(request->broker, request->peer, action, object);

        mr_audit_note(request->broker, &what);
        do_deed(request, deed);
        return;
    }
    task = task_for(request, MR_TASK_DEED);
    task->deed = deed;
    MR_ASSERT(mr_task_add_id(task, request->args.id) &&
              mr_arena_copy(task->arena, request->args.worker, &task->name));
    write_down(request, task, action, object);
    ask(request, task);
}

static void
after_written(struct request *request, const struct mr_task *task)
{
    request->scope = task->reach.is_any ? MR_SCOPE_ANY : MR_SCOPE_OWN;
    request->args.id = task->ids[0];
    request->args.worker = task->name;
    do_deed(request, task->deed);
}

/* ---- methods -------------------------------------------------------------------------------------- */

static void
on_stats(const struct request *request)
{
    answer_with(request, mr_call_lists_stats);
}

static void
on_queues(const struct request *request)
{
    answer_with(request, mr_call_lists_queues);
}

static void
on_workers(const struct request *request)
{
    answer_with(request, mr_call_lists_workers);
}

static void
on_usage(const struct request *request)
{
    answer_with(request, mr_call_lists_usage);
}

static void
on_kinds(const struct request *request)
{
    answer_with(request, mr_call_lists_kinds);
}

static void
set_paused(const struct request *request, bool is_paused)
{
    struct mr_task *task;

    if (request->args.queue.n == 0) {
        answer(request, MR_BAD_ARGUMENT, "give the `queue`");
        return;
    }
    task = task_for(request, MR_TASK_PAUSE);
    task->is_paused = is_paused;
    MR_ASSERT(mr_arena_copy(task->arena, request->args.queue, &task->name));
    write_down(request, task, is_paused ? "pause" : "resume", request->args.queue);
    ask(request, task);
}

static void
on_pause(const struct request *request)
{
    set_paused(request, true);
}

static void
on_resume(const struct request *request)
{
    set_paused(request, false);
}

static void
on_cancel(const struct request *request)
{
    char id[MR_UUID_TEXT_MAX];

    if (!request->args.has_id) {
        answer(request, MR_BAD_ARGUMENT, "give the job's `id`: 16 bytes, or its text");
        return;
    }
    /* One's own are nobody else's business; of others' an operator disposes. */
    if (request->scope == MR_SCOPE_ANY && !is_own(request, request->args.id))
        with_entry(request, MR_DEED_CANCEL, "cancel",
            mr_span_str(mr_uuid_format(request->args.id, id)));
    else
        do_deed(request, MR_DEED_CANCEL);
}

static void
on_show(const struct request *request)
{
    ask_for_id(request, MR_TASK_SHOW);
}

static void
on_jobs(const struct request *request)
{
    const struct mr_call_args *args = &request->args;
    struct mr_task *task = task_for(request, MR_TASK_LIST);

    task->filter = (struct mr_job_filter){.since_us = args->since_us,
        .until_us = args->until_us,
        .reach = task->reach,
        .limit = args->limit ? args->limit : MR_CALL_LIST_DEFAULT};
    MR_ASSERT(mr_arena_copy(task->arena, args->state, &task->filter.state) &&
              mr_arena_copy(task->arena, args->kind, &task->filter.kind) &&
              mr_arena_copy(task->arena, args->queue, &task->filter.queue));
    ask(request, task);
}

static void
on_dead(const struct request *request)
{
    const struct mr_call_args *args = &request->args;
    struct mr_task *task;

    if (args->has_before && !args->until_us) {
        answer(request, MR_BAD_ARGUMENT, "give `until_us` with `before`, as they came");
        return;
    }
    task = task_for(request, MR_TASK_DEAD);
    task->dead = (struct mr_dead_filter){.reach = task->reach,
        .since_us = args->since_us,
        .until_us = args->until_us,
        .before = args->before,
        .limit = args->limit ? args->limit : MR_CALL_LIST_DEFAULT,
        .with_redriven = args->with_redriven,
        .with_history = args->with_history};
    MR_ASSERT(mr_arena_copy(task->arena, args->reason, &task->dead.reason) &&
              mr_arena_copy(task->arena, args->kind, &task->dead.kind) &&
              mr_arena_copy(task->arena, args->queue, &task->dead.queue));
    ask(request, task);
}

/* NULL if what is to be redriven under an id of the asker's choice can be. */
static const char *
flaw_of_resealed(const struct mr_call_args *args)
{
    if (!args->has_as && !args->resealed.payload.n)
        return NULL;
    if (!args->has_as || args->id_count != 1 || !mr_uuid_is_v7(args->resealed.as))
        return "give `as`, a uuid of version 7, and `payload` together, with one id in "
               "`ids`";
    return mr_seal_is_sealed(args->resealed.payload) ? NULL
                                                     : "`payload` has to be a sealed one";
}

static void
on_redrive(const struct request *request)
{
    struct mr_rd rd = request->args.ids;
    struct mr_task *task = task_for(request, MR_TASK_REDRIVE);
    const char *flaw = flaw_of_resealed(&request->args);
    char first[MR_UUID_TEXT_MAX], object[MR_UUID_TEXT_MAX + 32];
    struct mr_uuid id;

    for (uint32_t i = 0; i < request->args.id_count; i++) {
        if (!mr_call_args_id(&rd, &id)) {
            mr_task_destroy(&task);
            break;
        }
        MR_ASSERT(mr_task_add_id(task, id));
    }
    if (!task || task->id_count == 0 || flaw) {
        mr_task_destroy(&task);
        answer(
            request, MR_BAD_ARGUMENT, flaw ? flaw : "give `ids`: an array of jobs' ids");
        return;
    }
    task->resealed.as = request->args.resealed.as;
    MR_ASSERT(mr_arena_copy(
        task->arena, request->args.resealed.payload, &task->resealed.payload));
    (void)snprintf(object, sizeof object, "%s", mr_uuid_format(task->ids[0], first));
    if (task->id_count > 1)
        (void)snprintf(
            object, sizeof object, "%s and %u more", first, task->id_count - 1);
    write_down(request, task, "redrive", mr_span_str(object));
    ask(request, task);
}

static void
on_drain(const struct request *request)
{
    if (request->args.worker.n)
        with_entry(request, MR_DEED_DRAIN_WORKERS, "drain-worker", request->args.worker);
    else
        with_entry(request, MR_DEED_DRAIN, "drain", MR_SPAN_NONE);
}

static void
on_principal(const struct request *request)
{
    struct mr_task *task =
        task_for(request, mr_span_is(request->method, "principals") ? MR_TASK_PRINCIPALS
                                                                    : MR_TASK_PRINCIPAL);
    enum mr_status status = mr_call_principal_read(request->method, request->raw, task);

    task->change.by = mr_arena_str(task->arena,
        mr_rights_name(request->broker->rights,
            mr_session_at(request->broker->sessions, request->peer)->principal));
    if (status == MR_OK) {
        ask(request, task);
        return;
    }
    mr_task_destroy(&task);
    answer(request, status, "an argument is neither a word of 64 bytes nor a number");
}

static void
on_explain(const struct request *request)
{
    char text[MR_WHY_BYTES];
    bool is_known, wants_more;

    is_known = request->args.has_id && may_see(request, request->args.id) &&
               mr_call_why_now(request->broker, request->args.id, text, &wants_more);
    if (is_known && !(wants_more && request->broker->is_store_up))
        tell(request, text);
    else if (request->args.has_id && !request->broker->is_store_up)
        answer(request, MR_STORE_DOWN,
            "it is not in the broker's memory, and the database cannot be reached");
    else
        ask_for_id(request, MR_TASK_EXPLAIN);
}

/* Where the right has to be there. Arguments that the method does not use widen nothing. */
enum where {
    SOMEWHERE,  /* in some queue, for some kind: the answer is the same wherever */
    EVERYWHERE, /* in all queues, for all kinds */
    IN_QUEUE,   /* for all kinds of the argument `queue` */
    LISTED,     /* over all that the filters `queue` and `kind` leave */
    BY_ID,      /* of the job that `id` names: judged when it is known */
};

static const struct method {
    const char *name;
    void (*handle)(const struct request *request);
    enum mr_right right;
    enum mr_scope scope; /* that is needed at least */
    enum where where;
} methods[] = {
    {"stats", on_stats, MR_RIGHT_FETCH, MR_SCOPE_ANY, SOMEWHERE},
    {"queues", on_queues, MR_RIGHT_FETCH, MR_SCOPE_ANY, SOMEWHERE},
    {"workers", on_workers, MR_RIGHT_FETCH, MR_SCOPE_ANY, SOMEWHERE},
    {"usage", on_usage, MR_RIGHT_FETCH, MR_SCOPE_ANY, SOMEWHERE},
    {"kinds", on_kinds, MR_RIGHT_FETCH, MR_SCOPE_OWN, SOMEWHERE},
    {"pause", on_pause, MR_RIGHT_OPERATE, MR_SCOPE_ANY, IN_QUEUE},
    {"resume", on_resume, MR_RIGHT_OPERATE, MR_SCOPE_ANY, IN_QUEUE},
    {"cancel", on_cancel, MR_RIGHT_CANCEL, MR_SCOPE_OWN, BY_ID},
    {"show", on_show, MR_RIGHT_FETCH, MR_SCOPE_OWN, BY_ID},
    {"jobs", on_jobs, MR_RIGHT_FETCH, MR_SCOPE_OWN, LISTED},
    {"dead", on_dead, MR_RIGHT_FETCH, MR_SCOPE_OWN, LISTED},
    {"redrive", on_redrive, MR_RIGHT_OPERATE, MR_SCOPE_ANY, EVERYWHERE},
    {"drain", on_drain, MR_RIGHT_OPERATE, MR_SCOPE_ANY, EVERYWHERE},
    {"explain", on_explain, MR_RIGHT_FETCH, MR_SCOPE_OWN, BY_ID},
    {"principals", on_principal, MR_RIGHT_ADMINISTER, MR_SCOPE_ANY, SOMEWHERE},
    {"principal_add", on_principal, MR_RIGHT_ADMINISTER, MR_SCOPE_ANY, SOMEWHERE},
    {"principal_grant", on_principal, MR_RIGHT_ADMINISTER, MR_SCOPE_ANY, SOMEWHERE},
    {"principal_deny", on_principal, MR_RIGHT_ADMINISTER, MR_SCOPE_ANY, SOMEWHERE},
    {"principal_ungrant", on_principal, MR_RIGHT_ADMINISTER, MR_SCOPE_ANY, SOMEWHERE},
    {"principal_revoke", on_principal, MR_RIGHT_ADMINISTER, MR_SCOPE_ANY, SOMEWHERE},
    {"principal_restore", on_principal, MR_RIGHT_ADMINISTER, MR_SCOPE_ANY, SOMEWHERE},
    {"principal_rotate", on_principal, MR_RIGHT_ADMINISTER, MR_SCOPE_ANY, SOMEWHERE},
    {"principal_retire", on_principal, MR_RIGHT_ADMINISTER, MR_SCOPE_ANY, SOMEWHERE},
    {"principal_limit", on_principal, MR_RIGHT_ADMINISTER, MR_SCOPE_ANY, SOMEWHERE},
};

/* False: refused, and told so. */
static bool
may_call(struct request *request, const struct method *method)
{
    enum where where = method->where;
    struct mr_span queue =
        where == IN_QUEUE || where == LISTED ? request->args.queue : MR_SPAN_NONE;
    struct mr_span kind = where == LISTED ? request->args.kind : MR_SPAN_NONE;
    struct mr_scope_range range =
        mr_guard_over(request->broker, request->peer, method->right, queue, kind);
    char why[MR_RIGHTS_TEXT_BYTES];

    request->scope = where == SOMEWHERE || where == BY_ID ? range.most : range.least;
    request->is_uneven = where == BY_ID && range.least != range.most;
    if (request->scope >= method->scope)
        return true;
    mr_talk_reply(request->broker, request->peer, request->corr, MR_DENIED,
        mr_guard_refuse(
            request->broker, request->peer, method->right, queue, kind, 1, why));
    return false;
}

enum mr_status
mr_call_on_call(struct mr_broker *broker, uint32_t peer, const struct mr_msg *msg)
{
    struct request request = {.broker = broker, .peer = peer, .corr = msg->corr};
    struct mr_call call;
    enum mr_status status = mr_get_call(msg, &call);

    if (status == MR_OK) {
        request.method = call.method;
        request.raw = call.args;
        status = mr_call_args_read(&call.args, &request.args);
    }
    if (status)
        return status;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (mr_span_is(call.method, methods[i].name)) {
            if (may_call(&request, &methods[i]))
                methods[i].handle(&request);
            return MR_OK;
        }
    }
    answer(&request, MR_NO_METHOD, "there is no such method");
    return MR_OK;
}

/* ---- what the writer brought back ------------------------------------------------------------------ */

static void
explain_stored(const struct request *request, const struct mr_task *task)
{
    char text[MR_WHY_BYTES];

    if (mr_call_why_stored(request->broker, task->ids[0], &task->why,
            may_see(request, task->ids[0]), text))
        tell(request, text);
    else
        answer(request, MR_NO_JOB, "there is no job with this id");
}

static void
answer_value(const struct request *request, const struct mr_task *task)
{
    struct mr_wr *wr = mr_gather_open(request->broker->gather, request->peer, MR_REPLY);

    if (!wr)
        return;
    mr_put_reply_open(wr, request->corr, MR_OK, MR_SPAN_NONE);
    if (task->type == MR_TASK_SHOW)
        mr_call_show_write(request->broker, request->peer, request->scope, wr, task);
    else
        mr_wr_raw(wr, mr_wr_span(&task->out));
    mr_gather_post(request->broker->gather, request->peer);
}

static void
finish_pause(const struct request *request, const struct mr_task *task)
{
    if (mr_core_set_paused(
            request->broker->core, request->broker->now, task->name, task->is_paused))
        answer(request, MR_BUSY, "the broker knows as many queues as it may");
    else
        tell(request, task->is_paused ? "no job of this queue is started any more"
                                      : "jobs of this queue are started again");
}

/* Who asked has gone: nobody would be told, so nothing is done, and that is written, too. */
static void
not_done(struct mr_broker *broker, const struct mr_task *task)
{
    const struct mr_audit_row *row = task->audits;

    if (task->status == MR_OK)
        mr_audit_note(broker, &(struct mr_audit){.principal = row->principal,
                                  .key = row->key,
                                  .action = row->action,
                                  .object = row->object,
                                  .source = row->source,
                                  .detail = mr_span_str("not done: who asked had left"),
                                  .is_allowed = true});
}

void
mr_call_answer(struct mr_broker *broker, const struct mr_task *task)
{
    struct request request = {.broker = broker,
        .peer = task->peer,
        .corr = task->corr,
        .scope = task->reach.is_any ? MR_SCOPE_ANY : MR_SCOPE_OWN};
    const struct mr_session *session = mr_session_at(broker->sessions, task->peer);

    if (task->status == MR_OK && task->type == MR_TASK_PAUSE) {
        finish_pause(&request, task);
        return;
    }
    if (task->status == MR_OK && task->type == MR_TASK_REDRIVE)
        mr_errand_sweep(
            broker->errand); /* new jobs are in the inbox, whoever still listens */
    if (!session || session->nonce != task->nonce) {
        if (task->type == MR_TASK_DEED)
            not_done(broker, task);
        return;
    }
    if (task->status)
        answer(&request, task->status,
            task->err.why[0] ? task->err.why : mr_status_text(task->status));
    else if (task->type == MR_TASK_DEED)
        after_written(&request, task);
    else if (task->type == MR_TASK_EXPLAIN)
        explain_stored(&request, task);
    else
        answer_value(&request, task);
}
