/*
 * The threads behind the session: executors, the committer, the canceller. Made, used and ended
 * by the session's thread.
 */
#ifndef MR_WORKER_POOL_H
#define MR_WORKER_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/mailbox.h"
#include "schemas/base/status.h"
#include "worker/attempt.h"
#include "worker/executor.h"
#include "worker/settings.h"

struct mr_pool;

struct mr_pool_conf {
    uint32_t threads, spares;
    const char *conninfo, *db_name; /* borrowed */
    struct mr_span worker;
    struct mr_mailbox *session;
    const struct mr_opener *opener; /* borrowed */
    const struct mr_settings
        *settings;     /* of children; borrowed, with what it points to */
    const char *loads; /* likewise: shared objects with kinds, by commas */
};

enum mr_status mr_pool_new(
    struct mr_pool **out, const struct mr_pool_conf *conf) MR_MUST_CHECK;

void mr_pool_start(struct mr_pool *pool, uint32_t executor, struct mr_batch *batch);
void mr_pool_cancel(
    struct mr_pool *pool, uint32_t executor, const struct mr_attempt *attempt);
/* The executor hangs: it ends when it comes round; another one takes its number. */
enum mr_status mr_pool_replace(struct mr_pool *pool, uint32_t executor) MR_MUST_CHECK;
void mr_pool_hurry(struct mr_pool *pool);

/* False for one that was replaced. */
bool mr_pool_is_seated(const struct mr_pool *pool, const struct mr_executor *executor);

/* Tell executors to end. Once. */
void mr_pool_stop(struct mr_pool *pool);
/* After stop: true when all of them have. */
bool mr_pool_is_ended(const struct mr_pool *pool);
/* When ended. What the committer still had is in the session's mailbox afterwards. */
void mr_pool_destroy(struct mr_pool **pool);

#endif
