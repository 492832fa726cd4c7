/*
 * The writer thread: the only one in the broker that talks to PostgreSQL, and the only one
 * that may wait for it. It owns the shard (epoch), commits batches, looks things up. One thing
 * at a time, in the order given; while the database is down it keeps the task in hand and
 * tries again, so nothing that was given to it is ever dropped.
 */
#ifndef MR_BROKER_WRITER_H
#define MR_BROKER_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/task.h"
#include "schemas/base/mailbox.h"
#include "schemas/base/status.h"
#include "schemas/base/uuid.h"

struct mr_writer;

/* Constant while the thread runs; borrowed. */
struct mr_writer_conf {
    const char *database;
    const char *endpoints; /* told to others while we own the shard */
    uint32_t shard, lease_ms;
    int retention_days;
    bool waits; /* for a database that is down at start */
    struct mr_uuid instance;
    struct mr_mailbox *answers; /* the loop's */
};

/* Start the thread. It opens the database, waits for the shard to be free, claims it and then
 * says MR_NEWS_CLAIMED; tasks may be given after that. */
enum mr_status mr_writer_new(
    struct mr_writer **out, const struct mr_writer_conf *conf) MR_MUST_CHECK;

void mr_writer_give(struct mr_writer *writer, struct mr_task *task);

/* Ask it to end: what it has been given is answered first (MR_DRAINING, when the database is
 * down), then it says MR_NEWS_STOPPED. */
void mr_writer_stop(struct mr_writer *writer);

/* After MR_NEWS_STOPPED; else it waits for the database. */
void mr_writer_destroy(struct mr_writer **writer);

#endif
