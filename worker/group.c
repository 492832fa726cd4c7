/* run.h: several jobs in one transaction. */
#include "worker/run_priv.h"

#include "schemas/base/clock.h"
#include "schemas/base/log.h"

struct group {
    struct millrace_job *job;
    struct mr_attempt *const *attempts;
    uint32_t count;
    /* Whose handlers succeeded: their places in attempts. */
    uint32_t members[MR_GROUP_MAX];
    uint32_t member_count;
};

enum place { IN, LEFT_OUT, BREAKS };

static struct mr_attempt *
member(const struct group *group, uint32_t i)
{
    return group->attempts[group->members[i]];
}

/* ---- handlers --------------------------------------------------------------------------------- */

static bool
is_good(const struct millrace_job *job, enum millrace_answer answer)
{
    return answer == MILLRACE_SUCCEEDED && job->sql_status == MR_OK && !job->saw_stop &&
           !mr_tx_is_refused(job->tx) && !mr_run_mistake_in(&job->attempt->body);
}

static enum place
call(struct group *group, uint32_t at)
{
    struct millrace_job *job = group->job;
    struct mr_attempt *attempt = group->attempts[at];
    struct mr_tx_mark mark = mr_tx_mark(job->tx);
    enum millrace_answer answer;

    job->attempt = attempt;
    if (atomic_load(&attempt->stop) != MR_STOP_NOT || !mr_run_take_arguments(job))
        return LEFT_OUT;
    mr_run_forget_call(job);
    answer = attempt->kind->run(job);
    mr_run_free_rows(job);
    if (!is_good(job, answer))
        return mr_tx_cut(job->tx, mark) ? LEFT_OUT : BREAKS;
    attempt->done.finished_at_us = mr_clock_now().wall_us;
    mr_run_fill_finish(attempt, job->conf.worker);
    group->members[group->member_count++] = at;
    return IN;
}

static bool
call_all(struct group *group)
{
    for (uint32_t i = 0; i < group->count; i++)
        if (call(group, i) == BREAKS)
            return false;
    return group->member_count > 0;
}

/* ---- the end ---------------------------------------------------------------------------------- */

static bool
has_to_stop(const struct group *group)
{
    for (uint32_t i = 0; i < group->member_count; i++)
        if (atomic_load(&member(group, i)->stop) != MR_STOP_NOT)
            return true;
    return false;
}

static void
open_guard(const struct group *group)
{
    uint64_t serials[MR_GROUP_MAX];

    for (uint32_t i = 0; i < group->count; i++)
        serials[i] = group->attempts[i]->serial;
    if (group->job->conf.guard)
        mr_canceller_guard_open_group(group->job->conf.guard, serials, group->count);
}

static void
close_guard(const struct group *group)
{
    const struct mr_run_conf *conf = &group->job->conf;

    for (uint32_t i = 0; i < group->count; i++)
        atomic_store(&group->attempts[i]->is_handled, true);
    if (conf->guard && !mr_canceller_guard_close(conf->guard))
        conf->await_cancel(conf->context);
}

static enum mr_status
commit(const struct group *group, struct mr_err *err)
{
    struct millrace_job *job = group->job;
    struct mr_finish *finishes[MR_GROUP_MAX];

    for (uint32_t i = 0; i < group->member_count; i++)
        finishes[i] = &member(group, i)->finish;
    if (has_to_stop(group))
        return mr_err_set(err, MR_CANCELLED, "the group", "one of it has to stop", NULL);
    if (job->has_begun && !mr_run_has_transaction(job))
        return mr_err_set(err, MR_BAD_ARGUMENT, "the transaction is gone", NULL, NULL);
    return mr_finish_group(job->conf.db->pg, job->tx, finishes, group->member_count, err);
}

/* The connection was lost at COMMIT. All rows are there or none, but for those that others wrote:
 * each has its own verdict. */
static void
settle(const struct group *group, enum mr_run_end *ends)
{
    for (uint32_t i = 0; i < group->member_count; i++) {
        group->job->attempt = member(group, i);
        if (mr_run_settle(group->job))
            ends[group->members[i]] = MR_RUN_OVER;
    }
}

static void
end_all(const struct group *group, enum mr_run_end *ends, enum mr_run_end end)
{
    for (uint32_t i = 0; i < group->member_count; i++) {
        ends[group->members[i]] = end;
        if (end == MR_RUN_OVER)
            mr_attempt_report_stored(member(group, i));
    }
}

static void
finish(const struct group *group, enum mr_run_end *ends)
{
    struct millrace_job *job = group->job;
    bool has_sql = job->has_begun || !mr_tx_is_empty(job->tx);
    struct mr_err err = {0};
    enum mr_status status = has_sql ? commit(group, &err) : MR_OK;

    close_guard(group);
    if (!has_sql)
        end_all(group, ends, MR_RUN_TO_STORE);
    else if (status == MR_OK)
        end_all(group, ends, MR_RUN_OVER);
    else if (status == MR_STORE_DOWN)
        settle(group, ends);
    else
        mr_log(MR_LOG_DEBUG, "group_apart", "kind=%s jobs=%u why=\"%s: %s\"", job->kind,
            group->member_count, err.what, err.why);
    mr_run_roll_back(job);
}

void
mr_run_group(struct millrace_job *job, struct mr_attempt *const *attempts, uint32_t count,
    enum mr_run_end *ends)
{
    struct group group = {.job = job, .attempts = attempts, .count = count};

    MR_ASSERT(count > 0 && count <= MR_GROUP_MAX);
    for (uint32_t i = 0; i < count; i++)
        ends[i] = MR_RUN_ALONE;
    job->is_open = job->has_begun = false;
    mr_tx_reset(job->tx);
    mr_tx_be_impatient(job->tx); /* one that waits keeps all others waiting */
    open_guard(&group);
    if (call_all(&group)) {
        finish(&group, ends);
        return;
    }
    close_guard(&group);
    mr_log(MR_LOG_DEBUG, "group_apart", "kind=%s jobs=%u why=\"job %s does not fit\"",
        job->kind, count, job->id);
    mr_run_roll_back(job);
}
