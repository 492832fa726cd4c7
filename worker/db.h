/*
 * The connection of one thread: made when it is first needed, made again after it was lost.
 * Its application_name carries the worker's instance, so that the broker can end the sessions
 * of a worker that was lost.
 */
#ifndef MR_WORKER_DB_H
#define MR_WORKER_DB_H

#include "schemas/base/status.h"
#include "schemas/base/uuid.h"
#include "schemas/sql/pg.h"
#include "worker/canceller.h"

#define MR_DB_NAME_MAX 48 /* MR_WORKER_SESSION_PREFIX and 32 digits */

struct mr_db {
    const char *conninfo, *name; /* borrowed */
    struct mr_guard *guard;      /* may be NULL: nobody cancels here */
    struct mr_pg *pg;            /* NULL until it is needed */
};

/* "mr:" and the digits of the instance; returns out. */
char *mr_db_name(struct mr_uuid instance, char out[MR_DB_NAME_MAX]);

/* A connection that was alive when it was last used. May block for connect_timeout. */
enum mr_status mr_db_get(struct mr_db *db, struct mr_err *err) MR_MUST_CHECK;
void mr_db_close(struct mr_db *db);

/* Pause before trying again, the `n`th time (from 0): 100 ms, doubled up to 2 s. */
int mr_db_pause_ms(unsigned n);

#endif
