#include "worker/pool.h"

#include <stdlib.h>

#include "worker/canceller.h"
#include "worker/committer.h"

struct mr_pool {
    struct mr_pool_conf conf;
    struct mr_child_conf child;
    struct mr_executor **executors; /* by number */
    struct mr_executor **hung;      /* replaced ones, up to conf.spares */
    uint32_t hung_count;
    struct mr_canceller *canceller;
    struct mr_committer *committer;
};

static enum mr_status
new_executor(struct mr_pool *pool, uint32_t number)
{
    struct mr_executor_conf conf = {.number = number,
        .conninfo = pool->conf.conninfo,
        .db_name = pool->conf.db_name,
        .worker = pool->conf.worker,
        .session = pool->conf.session,
        .opener = pool->conf.opener,
        .child = &pool->child,
        .committer = mr_committer_box(pool->committer)};

    return mr_executor_new(&pool->executors[number], &conf);
}

enum mr_status
mr_pool_new(struct mr_pool **out, const struct mr_pool_conf *conf)
{
    struct mr_pool *pool = calloc(1, sizeof *pool);
    enum mr_status status = MR_NO_MEMORY;

    *out = NULL;
    if (!pool)
        return status;
    pool->conf = *conf;
    pool->child = (struct mr_child_conf){.program = "/proc/self/exe",
        .settings = conf->settings,
        .opener = conf->opener,
        .loads = conf->loads,
        .db_name = conf->db_name};
    pool->executors = calloc(conf->threads, sizeof(struct mr_executor *));
    pool->hung = calloc(conf->spares + 1, sizeof(struct mr_executor *));
    if (!pool->executors || !pool->hung)
        goto fail;
    status = mr_canceller_new(&pool->canceller);
    if (status == MR_OK)
        status = mr_committer_new(
            &pool->committer, conf->conninfo, conf->db_name, conf->session);
    for (uint32_t i = 0; status == MR_OK && i < conf->threads; i++)
        status = new_executor(pool, i);
    if (status)
        goto fail;
    *out = pool;
    return MR_OK;
fail:
    mr_pool_stop(pool); /* they have nothing to do, so they end at once */
    mr_pool_destroy(&pool);
    return status;
}

void
mr_pool_start(struct mr_pool *pool, uint32_t executor, struct mr_batch *batch)
{
    mr_executor_start(pool->executors[executor], batch);
}

void
mr_pool_cancel(struct mr_pool *pool, uint32_t executor, const struct mr_attempt *attempt)
{
    struct mr_executor *its = pool->executors[executor];

    if (attempt->is_isolated)
        mr_executor_nudge(its);
    else
        mr_canceller_ask(pool->canceller, mr_executor_guard(its), attempt->serial);
}

enum mr_status
mr_pool_replace(struct mr_pool *pool, uint32_t executor)
{
    struct mr_executor *hung = pool->executors[executor];
    enum mr_status status;

    MR_ASSERT(pool->hung_count < pool->conf.spares);
    status = new_executor(pool, executor);
    if (status) {
        pool->executors[executor] = hung;
        return status;
    }
    mr_executor_stop(hung);
    pool->hung[pool->hung_count++] = hung;
    return MR_OK;
}

void
mr_pool_hurry(struct mr_pool *pool)
{
    mr_committer_hurry(pool->committer);
}

bool
mr_pool_is_seated(const struct mr_pool *pool, const struct mr_executor *executor)
{
    return pool->executors[mr_executor_number(executor)] == executor;
}

void
mr_pool_stop(struct mr_pool *pool)
{
    for (uint32_t i = 0; pool->executors && i < pool->conf.threads; i++)
        if (pool->executors[i])
            mr_executor_stop(pool->executors[i]);
}

bool
mr_pool_is_ended(const struct mr_pool *pool)
{
    for (uint32_t i = 0; i < pool->conf.threads; i++)
        if (!mr_executor_is_ended(pool->executors[i]))
            return false;
    for (uint32_t i = 0; i < pool->hung_count; i++)
        if (!mr_executor_is_ended(pool->hung[i]))
            return false;
    return true;
}

void
mr_pool_destroy(struct mr_pool **pool)
{
    struct mr_pool *gone = *pool;

    if (!gone)
        return;
    /* The canceller looks at the executors' guards, so it ends before they are freed. But an
     * executor may wait for it: all of them have ended by now. */
    mr_canceller_destroy(&gone->canceller);
    for (uint32_t i = 0; gone->executors && i < gone->conf.threads; i++)
        mr_executor_destroy(&gone->executors[i]);
    for (uint32_t i = 0; i < gone->hung_count; i++)
        mr_executor_destroy(&gone->hung[i]);
    mr_committer_destroy(&gone->committer);
    free(gone->executors);
    free(gone->hung);
    free(gone);
    *pool = NULL;
}
