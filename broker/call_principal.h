/*
 * The arguments of the methods that administer principals. The loop's thread.
 */
#ifndef MR_BROKER_CALL_PRINCIPAL_H
#define MR_BROKER_CALL_PRINCIPAL_H

#include "broker/task.h"
#include "schemas/wire/pack.h"

/* Of the method `principal_VERB` into an MR_TASK_PRINCIPAL, or of `principals` (perhaps with a name)
 * into an MR_TASK_PRINCIPALS. MR_BAD_ARGUMENT for one that is no word or number. */
enum mr_status mr_call_principal_read(
    struct mr_span method, struct mr_rd args, struct mr_task *task) MR_MUST_CHECK;

#endif
