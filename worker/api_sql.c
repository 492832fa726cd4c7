/* millrace_worker.h: the database, in the job's own transaction, and follow-up jobs in it. */
#include "worker/millrace_worker.h"

#include <stdio.h>
#include <string.h>

#include "schemas/base/clock.h"
#include "schemas/base/mutant.h"
#include "schemas/wire/seal.h"
#include "worker/run.h"

struct millrace_rows *
millrace_sql(
    struct millrace_job *job, const char *sql, int count, const char *const *params)
{
    struct millrace_rows *rows;
    enum mr_status status;
    struct mr_err err;

    rows = mr_arena_alloc(job->arena, sizeof *rows);
    if (!rows) {
        status = mr_err_set(&err, MR_NO_MEMORY, "SQL statement failed",
            "the job's arena (16 MiB) is used up", NULL);
        mr_run_sql_failed(job, status, &err);
        return NULL;
    }
    *rows = (struct millrace_rows){0};
    if (!mr_run_sql(job, sql, count, params, &rows->result))
        return NULL;
    rows->next = job->rows;
    job->rows = rows;
    return rows;
}

/* As mr_run_is_ready. A statement that is missing must not let the others commit, whatever the
 * handler makes of it. */
static bool
may_queue(struct millrace_job *job)
{
    bool is_ready = mr_run_is_ready(job);

    if (!is_ready)
        mr_tx_refuse(job->tx);
    return is_ready;
}

/* Sends what waits once it is enough. */
static bool
queued(struct millrace_job *job, enum mr_status status, const struct mr_err *err)
{
    if (status) {
        mr_run_sql_failed(job, status, err);
        mr_tx_refuse(job->tx);
        return false;
    }
    return !mr_tx_is_full(job->tx) || mr_run_sql(job, NULL, 0, NULL, NULL);
}

bool
millrace_sql_expect(struct millrace_job *job, const struct millrace_expect *expect,
    const char *sql, int count, const char *const *params)
{
    struct mr_tx_demand demand;
    enum mr_status status;
    struct mr_err err;

    if (!may_queue(job))
        return false;
    if (!job->attempt->kind->is_transactional) {
        status = mr_err_set(&err, MR_BAD_ARGUMENT, "a statement was not queued",
            "only transactional kinds may; what this one writes is rolled back", NULL);
        return queued(job, status, &err);
    }
    if (expect)
        demand = (struct mr_tx_demand){
            .rows = expect->rows, .text = expect->text, .for_good = expect->for_good};
    status = mr_tx_queue(job->tx, sql, count, params, expect ? &demand : NULL, &err);
    return queued(job, status, &err);
}

bool
millrace_sql_later(
    struct millrace_job *job, const char *sql, int count, const char *const *params)
{
    return millrace_sql_expect(job, NULL, sql, count, params);
}

enum millrace_answer
millrace_sql_failed(struct millrace_job *job)
{
    const struct mr_err *err = &job->err;

    job->says_sql_failed = true;
    if (job->sql_status == MR_OK)
        return millrace_fail(job, "the handler says that a statement failed; none did");
    (void)millrace_fail(job, "%s%s%s", err->what, mr_run_colon(err), err->why);
    return mr_tx_is_refused_for_good(job->tx) ? MILLRACE_FAILED_FOR_GOOD
                                              : MILLRACE_FAILED;
}

const char *
millrace_sqlstate(const struct millrace_job *job)
{
    return job->sqlstate;
}

int
millrace_rows_count(const struct millrace_rows *rows)
{
    return mr_pg_rows(rows->result);
}

long
millrace_rows_affected(const struct millrace_rows *rows)
{
    return mr_pg_affected(rows->result);
}

const char *
millrace_rows_text(const struct millrace_rows *rows, int row, int column)
{
    return mr_pg_text(rows->result, row, column);
}

int64_t
millrace_rows_int(const struct millrace_rows *rows, int row, int column)
{
    return mr_pg_int(rows->result, row, column);
}

struct pg_conn *
millrace_pg(struct millrace_job *job)
{
    return mr_run_sql(job, NULL, 0, NULL, NULL) ? mr_pg_raw(job->conf.db->pg) : NULL;
}

/* ---- follow-up jobs ---------------------------------------------------------------------------- */

static bool
is_name(const char *name)
{
    size_t n = name ? strlen(name) : 0;

    for (size_t i = 0; i < n; i++)
        if (name[i] < '!' || name[i] > '~')
            return false;
    return n >= 1 && n <= MR_NAME_BYTES_MAX;
}

static const char *
mistake_in(const struct millrace_job *job, const char *label,
    const struct millrace_follow_up *follow_up)
{
    struct mr_span payload = mr_span(follow_up->payload, follow_up->payload_bytes);

    if (!job->attempt->kind->is_transactional)
        return "only transactional kinds may submit follow-up jobs";
    if (!label)
        return "a follow-up job needs a label";
    if (!is_name(follow_up->kind) || (follow_up->queue && !is_name(follow_up->queue)) ||
        (follow_up->lane && !is_name(follow_up->lane)))
        return "kind, queue or lane of a follow-up job is not a name of 1 to 64 "
               "printable "
               "characters";
    if (follow_up->priority > MR_PRIORITY_MAX)
        return "the priority of a follow-up job is above 9";
    if (follow_up->attempts_max > MR_ATTEMPTS_MAX)
        return "attempts_max of a follow-up job is above 1000";
    if (!mr_backoff_is_good(
            follow_up->backoff_factor_percent, follow_up->backoff_jitter_percent))
        return "backoff factor or jitter of a follow-up job is out of range";
    if (payload.n > MR_PAYLOAD_BYTES_MAX)
        return "the payload of a follow-up job is larger than 1 MiB";
    if (payload.n && mr_pack_scan(payload, MR_PAYLOAD_DEPTH_MAX - 1))
        return "the payload of a follow-up job is not one msgpack value";
    return NULL;
}

/* Into the job's arena. */
static enum mr_status
seal(struct millrace_job *job, const char *label, struct mr_job_new *new_job,
    struct mr_err *err)
{
    struct mr_seal_ask ask = {.note.type = MR_NOTE_SEAL,
        .label = mr_span_str(label),
        .kind = new_job->kind,
        .plain = new_job->payload};
    enum mr_status status;

    ask.out = mr_arena_alloc(job->arena, mr_seal_bytes(ask.plain.n));
    status = ask.out ? job->conf.seal(job->conf.context, &ask) : MR_NO_MEMORY;
    new_job->payload = mr_span(ask.out, mr_seal_bytes(ask.plain.n));
    if (status == MR_OK)
        return MR_OK;
    return mr_err_set(err, status, "a follow-up job was refused",
        status == MR_TOO_BIG ? "its payload is larger than 1 MiB when it is sealed"
                             : "its payload could not be sealed",
        NULL);
}

/* Mutant: in a transaction of its own. */
static enum mr_status
put_apart(struct millrace_job *job, const struct mr_job_new *new_job, struct mr_err *err)
{
    struct mr_db db = {.conninfo = job->conf.db->conninfo, .name = job->conf.db->name};
    enum mr_status status = mr_db_get(&db, err);

    if (status == MR_OK)
        status = mr_inbox_put(db.pg, new_job, job->attempt->id, err);
    mr_db_close(&db);
    return status;
}

bool
millrace_submit(struct millrace_job *job, const char *label,
    const struct millrace_follow_up *follow_up, char *id_out)
{
    const char *mistake = mistake_in(job, label, follow_up);
    struct mr_job_new new_job = {
        .id = mr_uuid_derive(job->attempt->id, mr_span_str(label), 0),
        .queue = mr_span_str(follow_up->queue),
        .kind = mr_span_str(follow_up->kind),
        .payload = mr_span(follow_up->payload, follow_up->payload_bytes),
        .priority = follow_up->priority,
        .lane = mr_span_str(follow_up->lane),
        .delay_ms = follow_up->delay_ms,
        .timeout_ms = follow_up->timeout_ms,
        .attempts_max = follow_up->attempts_max,
        .backoff_base_ms = follow_up->backoff_base_ms,
        .backoff_cap_ms = follow_up->backoff_cap_ms,
        .backoff_factor_percent = follow_up->backoff_factor_percent,
        .backoff_jitter = follow_up->backoff_jitter_percent,
        .trace = job->attempt->trace};
    enum mr_status status;
    struct mr_err err;

    if (mistake) {
        status = mr_err_set(
            &err, MR_BAD_ARGUMENT, "a follow-up job was refused", mistake, NULL);
        return queued(job, status, &err);
    }
    if (!may_queue(job))
        return false;
    status = job->conf.seal ? seal(job, label, &new_job, &err) : MR_OK;
    if (status == MR_OK)
        status = MR_MUTANT(child_apart)
                     ? put_apart(job, &new_job, &err)
                     : mr_tx_queue_inbox(job->tx, &new_job, job->attempt->id, &err);
    if (!queued(job, status, &err))
        return false;
    job->attempt->rings = true;
    if (id_out)
        (void)mr_uuid_format(new_job.id, id_out);
    return true;
}
