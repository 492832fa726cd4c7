#include "worker/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/clock.h"
#include "schemas/base/log.h"
#include "schemas/base/mutant.h"
#include "schemas/sql/finish.h"
#include "schemas/wire/pack.h"
#include "worker/run_priv.h"

enum verdict { OVER, TO_STORE, AGAIN };

enum mr_status
mr_run_new(struct millrace_job **out, const struct mr_run_conf *conf)
{
    struct millrace_job *job = calloc(1, sizeof *job);

    *out = NULL;
    if (!job)
        return MR_NO_MEMORY;
    job->conf = *conf;
    if (mr_arena_new(&job->arena, MR_RUN_ARENA_BYTES_MAX) || mr_body_new(&job->args) ||
        mr_tx_new(&job->tx)) {
        mr_run_destroy(&job);
        return MR_NO_MEMORY;
    }
    *out = job;
    return MR_OK;
}

void
mr_run_destroy(struct millrace_job **job)
{
    if (!*job)
        return;
    mr_tx_destroy(&(*job)->tx);
    mr_body_destroy(&(*job)->args);
    mr_arena_destroy(&(*job)->arena);
    free(*job);
    *job = NULL;
}

/* ---- the database ---------------------------------------------------------------------------- */

bool
mr_run_has_transaction(const struct millrace_job *job)
{
    return job->conf.db && job->conf.db->pg && mr_pg_in_transaction(job->conf.db->pg);
}

void
mr_run_tell(const struct millrace_job *job)
{
    if (job->conf.on_news)
        job->conf.on_news(job->conf.context);
}

/* The handler and its SQL are through: no cancel and no timeout reaches what follows. */
static void
close_call(struct millrace_job *job)
{
    if (!job->is_open)
        return;
    job->is_open = false;
    atomic_store(&job->attempt->is_handled, true);
    if (job->has_begun) /* what follows may take its time */
        mr_run_tell(job);
    if (job->conf.guard && !mr_canceller_guard_close(job->conf.guard))
        job->conf.await_cancel(job->conf.context);
}

void
mr_run_roll_back(struct millrace_job *job)
{
    close_call(job);
    mr_tx_reset(job->tx);
    if (mr_run_has_transaction(job))
        mr_pg_rollback(job->conf.db->pg);
    /* One that cannot roll back (a COPY that was left open) would keep its locks until the next
     * job needs a connection. */
    if (job->conf.db && job->conf.db->pg && !mr_pg_is_alive(job->conf.db->pg))
        mr_db_close(job->conf.db);
}

void
mr_run_sql_failed(
    struct millrace_job *job, enum mr_status status, const struct mr_err *err)
{
    const char *sqlstate = "";

    if (job->conf.db && job->conf.db->pg)
        sqlstate = mr_pg_sqlstate(job->conf.db->pg);
    if (job->sql_status != MR_OK && strcmp(sqlstate, "25P02") == 0)
        return;
    if (!*sqlstate)
        sqlstate = status == MR_STORE_DOWN  ? "08006"
                   : status == MR_CANCELLED ? "57014"
                                            : "XX000";
    job->err = *err;
    job->sql_status = status;
    (void)snprintf(job->sqlstate, sizeof job->sqlstate, "%s", sqlstate);
    if (status == MR_CANCELLED && atomic_load(&job->attempt->stop) != MR_STOP_NOT)
        job->saw_stop = true;
}

/* A second transaction in one call would commit only half of what the handler wrote. */
static enum mr_status
lost_transaction(const struct millrace_job *job, struct mr_err *err)
{
    if (job->conf.db->pg && mr_pg_is_alive(job->conf.db->pg))
        return mr_err_set(err, MR_BAD_ARGUMENT, "the job's transaction is gone",
            "the handler ended it; that is done for it, with the result", NULL);
    return mr_err_set(err, MR_STORE_DOWN, "the job's transaction is gone",
        "the connection to PostgreSQL was lost in the middle of it", NULL);
}

static enum mr_status
check(struct millrace_job *job, struct mr_err *err)
{
    if (atomic_load(&job->attempt->stop) != MR_STOP_NOT)
        return mr_err_set(
            err, MR_CANCELLED, "SQL statement failed", "the attempt has to stop", NULL);
    if (mr_tx_is_refused(job->tx)) {
        *err = job->err; /* whatever comes, it does not commit */
        return job->sql_status;
    }
    if (mr_run_has_transaction(job))
        return MR_OK;
    if (!job->conf.db)
        return mr_err_set(err, MR_STORE_DOWN, "there is no database here", NULL, NULL);
    if (job->has_begun)
        return lost_transaction(job, err);
    return mr_db_get(job->conf.db, err);
}

bool
mr_run_is_ready(struct millrace_job *job)
{
    struct mr_err err;
    enum mr_status status = check(job, &err);

    if (status)
        mr_run_sql_failed(job, status, &err);
    return status == MR_OK;
}

bool
mr_run_sql(struct millrace_job *job, const char *sql, int count,
    const char *const *params, struct pg_result **result)
{
    enum mr_status status;
    struct mr_tx_mark mark;
    struct mr_err err;
    struct mr_pg *pg;

    if (!mr_run_is_ready(job))
        return false;
    pg = job->conf.db->pg;
    mark = mr_tx_mark(job->tx);
    status = sql ? mr_tx_run(job->tx, pg, sql, count, params, result, &err)
                 : mr_tx_send(job->tx, pg, &err);
    if (mr_tx_was_sent(job->tx, mark))
        job->has_begun = true;
    if (status)
        mr_run_sql_failed(job, status, &err);
    return status == MR_OK;
}

/* Until the database answers again. Nothing times out meanwhile: it is not the handler's fault.
 * False: somebody does not want to wait any more. */
static bool
await_database(struct millrace_job *job, bool is_settling)
{
    struct mr_err err;

    for (unsigned n = 0;; n++) {
        int stop = atomic_load(&job->attempt->stop);

        if (is_settling ? stop == MR_STOP_DRAIN || stop == MR_STOP_STALE
                        : stop != MR_STOP_NOT)
            return false;
        if (mr_db_get(job->conf.db, &err) == MR_OK)
            return true;
        if (n == 0)
            mr_log(MR_LOG_WARN, "store_down", "why=\"%s: %s\"", err.what, err.why);
        if (!job->conf.pause(job->conf.context, mr_db_pause_ms(n)))
            return false;
    }
}

/* ---- reports --------------------------------------------------------------------------------- */

static enum verdict
report(struct millrace_job *job, enum mr_report report, struct mr_span text)
{
    mr_run_roll_back(job);
    job->attempt->rings = false; /* what was put into the inbox is gone as well */
    mr_attempt_report(job->attempt, report, text);
    return OVER;
}

const char *
mr_run_colon(const struct mr_err *err)
{
    return err->what[0] && err->why[0] ? ": " : "";
}

static enum verdict
report_err(struct millrace_job *job, enum mr_report how, const struct mr_err *err)
{
    mr_run_roll_back(job);
    job->attempt->rings = false;
    mr_attempt_reportf(
        job->attempt, how, "%s%s%s", err->what, mr_run_colon(err), err->why);
    return OVER;
}

static enum verdict
give_back(struct millrace_job *job, const char *why)
{
    return report(job, MR_DID_GIVE_BACK, mr_span_str(why));
}

/* The handler was told to stop, and did. */
static enum verdict
report_stopped(struct millrace_job *job, enum mr_stop stop)
{
    switch (stop) {
    case MR_STOP_CANCELLED:
        return report(job, MR_DID_CANCEL, mr_span_str("cancelled"));
    case MR_STOP_TIMED_OUT:
        return report(job, MR_DID_TIME_OUT, mr_span_str("timed out"));
    case MR_STOP_NOT:
    case MR_STOP_STALE:
    case MR_STOP_DRAIN:
    case MR_STOP_ALONE:
        break;
    }
    return give_back(job, "the worker was stopped");
}

/* ---- success --------------------------------------------------------------------------------- */

void
mr_run_fill_finish(struct mr_attempt *attempt, struct mr_span worker)
{
    attempt->finish = (struct mr_finish){.id = attempt->id,
        .attempt = attempt->number,
        .worker = worker,
        .body = mr_wr_span(&attempt->body),
        .started_at_us = attempt->done.started_at_us,
        .finished_at_us = attempt->done.finished_at_us};
}

static enum verdict
report_stored(struct millrace_job *job)
{
    struct mr_attempt *attempt = job->attempt;

    if (attempt->finish.status == MR_BUSY || attempt->finish.status == MR_NOT_FOUND)
        return AGAIN;
    if (attempt->finish.status != MR_OK)
        attempt->rings = false;
    if (attempt->finish.status == MR_FINISHED)
        mr_log(MR_LOG_INFO, "late", "job=%s attempt=%u stands=%u", job->id,
            attempt->number, attempt->finish.found_attempt);
    mr_attempt_report_stored(attempt);
    return OVER;
}

/* The connection was lost at COMMIT: only the row can tell. */
static enum verdict
settle(struct millrace_job *job)
{
    enum mr_status status = MR_STORE_DOWN;
    struct mr_err err;

    while (status == MR_STORE_DOWN) {
        if (!await_database(job, true))
            return give_back(
                job, "the database is gone; whether it committed is not known");
        mr_arena_reset(job->arena);
        status =
            mr_finish_settle(job->conf.db->pg, &job->attempt->finish, job->arena, &err);
    }
    if (status)
        return report_err(job, MR_DID_GIVE_BACK, &err);
    if (MR_MUTANT(doubt_committed))
        job->attempt->finish.status = MR_OK;
    mr_log(MR_LOG_INFO, "settled", "job=%s attempt=%u found=%s", job->id,
        job->attempt->number, mr_status_name(job->attempt->finish.status));
    job->sql_status =
        MR_STORE_DOWN; /* it is not there: how long we waited is nobody's fault */
    return report_stored(job);
}

bool
mr_run_settle(struct millrace_job *job)
{
    return settle(job) == OVER;
}

/* It did not commit, and that is known. */
static enum verdict
judge_refusal(struct millrace_job *job, enum mr_status status, const struct mr_err *err)
{
    int stop = atomic_load(&job->attempt->stop);
    bool is_for_good = mr_tx_is_refused_for_good(job->tx);

    if (status == MR_CANCELLED && stop != MR_STOP_NOT)
        return report_stopped(job, (enum mr_stop)stop);
    /* A statement had failed and the handler went on: that one says what is wrong. */
    mr_run_sql_failed(job, status, err);
    if (job->sql_status == MR_BUSY || job->sql_status == MR_STORE_DOWN)
        return AGAIN;
    return report_err(job, is_for_good ? MR_DID_FAIL_FOR_GOOD : MR_DID_FAIL, &job->err);
}

static enum verdict
commit(struct millrace_job *job)
{
    struct mr_attempt *attempt = job->attempt;
    struct mr_pg *pg = job->conf.db->pg;
    struct mr_err err = {0};
    enum mr_status status = mr_finish_one(pg, job->tx, &attempt->finish, &err);

    job->has_begun = true;
    close_call(job);
    mr_arena_reset(job->arena); /* the handler is through: room for what may stand */
    if (status == MR_OK && attempt->finish.status == MR_FINISHED)
        status = mr_finish_found(pg, &attempt->finish, job->arena, &err);
    if (status == MR_OK)
        return report_stored(job);
    if (status == MR_STORE_DOWN && MR_MUTANT(doubt_failed))
        return report_err(job, MR_DID_FAIL, &err);
    if (status == MR_STORE_DOWN) {
        job->err = err;
        return settle(job);
    }
    return judge_refusal(job, status, &err);
}

/* A success whose writes are gone, or were committed without the result, is none. */
static enum verdict
fail_without_transaction(struct millrace_job *job)
{
    struct mr_err err;
    enum mr_status status = lost_transaction(job, &err);

    if (status != MR_STORE_DOWN)
        return report_err(job, MR_DID_FAIL_FOR_GOOD, &err);
    job->sql_status = status;
    job->err = err;
    return AGAIN;
}

/* NULL: the result may be stored. */
const char *
mr_run_mistake_in(const struct mr_wr *body)
{
    if (body->status == MR_NO_MEMORY)
        return "no memory for the result";
    if (body->status)
        return "the result is larger than 1 MiB";
    if (body->n && mr_pack_scan(mr_wr_span(body), MR_PAYLOAD_DEPTH_MAX - 1))
        return "the result is not one whole value: the counts given to put_map "
               "and put_array do not fit what followed, or a text is no UTF-8";
    return NULL;
}

static enum verdict
succeed(struct millrace_job *job)
{
    struct mr_attempt *attempt = job->attempt;
    const char *mistake = mr_run_mistake_in(&attempt->body);
    bool has_sql = job->has_begun || !mr_tx_is_empty(job->tx);
    int stop = atomic_load(&attempt->stop);

    if (mistake)
        return report(job,
            attempt->body.status == MR_NO_MEMORY ? MR_DID_FAIL : MR_DID_FAIL_FOR_GOOD,
            mr_span_str(mistake));
    if (mr_tx_is_refused(job->tx))
        return judge_refusal(job, job->sql_status, &job->err);
    if (stop != MR_STOP_NOT && !mr_tx_is_empty(job->tx))
        return report_stopped(
            job, (enum mr_stop)stop); /* no statement is sent any more */
    attempt->done.finished_at_us = mr_clock_wall_us();
    mr_run_fill_finish(attempt, job->conf.worker);
    if (!attempt->kind->is_transactional || !has_sql) {
        mr_run_roll_back(job);
        return TO_STORE;
    }
    return mr_run_has_transaction(job) || !job->has_begun ? commit(job)
                                                          : fail_without_transaction(job);
}

/* ---- one call of the handler -------------------------------------------------------------------- */

void
mr_run_free_rows(struct millrace_job *job)
{
    while (job->rows) {
        struct millrace_rows *rows = job->rows;

        job->rows = rows->next;
        mr_pg_free_result(&rows->result);
    }
}

void
mr_run_forget_call(struct millrace_job *job)
{
    mr_arena_reset(job->arena);
    mr_wr_reset(&job->attempt->body);
    job->sql_status = MR_OK;
    job->sqlstate[0] = '\0';
    job->says_sql_failed = job->is_text_given = job->saw_stop = false;
    job->retry_after_ms = 0;
    job->attempt->rings = false;
}

static enum millrace_answer
call(struct millrace_job *job)
{
    struct mr_attempt *attempt = job->attempt;
    enum millrace_answer answer;

    mr_run_forget_call(job);
    job->has_begun = false;
    mr_tx_reset(job->tx);
    job->is_open = true;
    if (job->conf.guard)
        mr_canceller_guard_open(job->conf.guard, attempt->serial);
    answer = attempt->kind->run(job);
    /* What is queued is the handler's SQL and goes out with COMMIT. */
    if (answer != MILLRACE_SUCCEEDED || mr_tx_is_empty(job->tx))
        close_call(job);
    mr_run_free_rows(job);
    return answer;
}

static struct mr_span
reason(const struct millrace_job *job)
{
    return mr_span_str(
        job->is_text_given ? job->text : "the handler failed and gave no reason");
}

static enum verdict
judge(struct millrace_job *job, enum millrace_answer answer)
{
    enum mr_stop stop = (enum mr_stop)atomic_load(&job->attempt->stop);

    if (stop != MR_STOP_NOT && job->saw_stop)
        return report_stopped(job, stop);
    switch (answer) {
    case MILLRACE_SUCCEEDED:
        return succeed(job);
    case MILLRACE_FAILED:
        if (job->says_sql_failed &&
            (job->sql_status == MR_BUSY || job->sql_status == MR_STORE_DOWN))
            return AGAIN;
        job->attempt->done.retry_after_ms = job->retry_after_ms;
        return report(job, MR_DID_FAIL, reason(job));
    case MILLRACE_FAILED_FOR_GOOD:
        return report(job, MR_DID_FAIL_FOR_GOOD, reason(job));
    case MILLRACE_SNOOZED:
        job->attempt->done.retry_after_ms = job->retry_after_ms;
        return report(job, MR_DID_SNOOZE, MR_SPAN_NONE);
    }
    mr_run_roll_back(job);
    mr_attempt_reportf(job->attempt, MR_DID_FAIL_FOR_GOOD,
        "the handler returned %d, which is no answer", (int)answer);
    return OVER;
}

static bool
is_late(const struct mr_attempt *attempt)
{
    return attempt->timeout_ms && mr_clock_wall_us() - attempt->done.started_at_us >=
                                      attempt->timeout_ms * INT64_C(1000);
}

/* Before the next try; false if there is none, and it is reported. */
static bool
may_try_again(struct millrace_job *job, int tries)
{
    struct mr_attempt *attempt = job->attempt;
    bool is_back;
    int stop;

    mr_run_roll_back(job);
    if (tries == MR_RUN_TRIES_MAX) {
        (void)report_err(job, MR_DID_FAIL, &job->err);
        return false;
    }
    is_back = job->sql_status != MR_STORE_DOWN ||
              (job->conf.db && await_database(job, false) && !is_late(attempt));
    stop = atomic_load(&attempt->stop);
    if (stop != MR_STOP_NOT) {
        (void)report_stopped(job, (enum mr_stop)stop);
        return false;
    }
    if (!is_back) {
        (void)give_back(job, "the connection to the database was lost");
        return false;
    }
    atomic_store(&attempt->is_handled, false);
    mr_run_tell(job);
    return true;
}

bool
mr_run_take_arguments(struct millrace_job *job)
{
    struct mr_attempt *attempt = job->attempt;
    struct mr_span kind = mr_span_str(attempt->kind->name);

    attempt->done.started_at_us = mr_clock_wall_us();
    attempt->done.retry_after_ms = 0;
    (void)mr_uuid_format(attempt->id, job->id);
    memcpy(job->kind, kind.p, kind.n + 1);
    return mr_body_decode(job->args, attempt->payload) == MR_OK;
}

enum mr_run_end
mr_run_attempt(struct millrace_job *job, struct mr_attempt *attempt)
{
    enum verdict verdict = AGAIN;
    int stop = atomic_load(&attempt->stop);

    job->attempt = attempt;
    if (!mr_run_take_arguments(job)) {
        (void)report(job, MR_DID_FAIL_FOR_GOOD,
            mr_span_str("the arguments are not one msgpack value"));
        return MR_RUN_OVER;
    }
    if (stop != MR_STOP_NOT) { /* revoked on its way here */
        (void)report_stopped(job, (enum mr_stop)stop);
        return MR_RUN_OVER;
    }
    for (int tries = 1; verdict == AGAIN; tries++) {
        verdict = judge(job, call(job));
        if (verdict == AGAIN && !may_try_again(job, tries))
            verdict = OVER;
    }
    return verdict == TO_STORE ? MR_RUN_TO_STORE : MR_RUN_OVER;
}
