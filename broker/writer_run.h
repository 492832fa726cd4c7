/*
 * What the writer does with one task: calls the store once and fills the answer in. No
 * waiting, no repeating: that is writer.c.
 */
#ifndef MR_BROKER_WRITER_RUN_H
#define MR_BROKER_WRITER_RUN_H

#include "broker/task.h"
#include "schemas/sql/store.h"

/* The status is the task's; task->err is filled unless it is MR_OK. */
enum mr_status mr_writer_run(struct mr_store *store, struct mr_task *task) MR_MUST_CHECK;

/* Fill an MR_NEWS_CLAIMED with what is known about kinds, queues and rights. */
enum mr_status mr_writer_run_policy(
    struct mr_store *store, struct mr_task *news) MR_MUST_CHECK;

/* Fill news->rights with all principals, keys and grants. */
enum mr_status mr_writer_run_rights(
    struct mr_store *store, struct mr_task *news) MR_MUST_CHECK;

#endif
