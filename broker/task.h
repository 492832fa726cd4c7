/*
 * What the loop and the writer hand to each other through their mailboxes. A task belongs to
 * whoever holds it: the loop fills it and gives it away, the writer answers in the same struct
 * and gives it back. Tasks that only carry news are made by the writer and freed by the loop.
 */
#ifndef MR_BROKER_TASK_H
#define MR_BROKER_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/core/rights.h"
#include "schemas/base/arena.h"
#include "schemas/base/mailbox.h"
#include "schemas/base/status.h"
#include "schemas/sql/audit.h"
#include "schemas/sql/store.h"

#define MR_BATCH_ROWS_MAX 4000u
#define MR_BATCH_BYTES_GOAL (8u * 1024 * 1024)
#define MR_TASK_IDS_MAX 64u /* bounds what a look-up can bring back: 1 MiB each */
#define MR_READ_IDS_MAX                                                                  \
    2048u /* what comes back is bounded by bytes: MR_BATCH_BYTES_GOAL */
#define MR_LOAD_ROWS_MAX                                                                 \
    4000u /* ids looked at, jobs without payload: commits wait so long */
#define MR_SWEEP_ROWS_MAX 1000u
#define MR_AUDIT_ROWS_MAX 256u
#define MR_SESSIONS_ENDED_MAX 256u /* worker sessions to be ended with one batch */

enum mr_task_type {
    MR_TASK_COMMIT,
    MR_TASK_FIND,
    MR_TASK_READ,
    MR_TASK_SWEEP,
    MR_TASK_LOAD,
    MR_TASK_ADD_KIND,
    MR_TASK_PAUSE,
    MR_TASK_LIST,
    MR_TASK_SHOW,
    MR_TASK_DEAD,
    MR_TASK_REDRIVE,
    MR_TASK_EXPLAIN,
    MR_TASK_DEED,
    MR_TASK_AUDIT,
    MR_TASK_PRINCIPAL,
    MR_TASK_PRINCIPALS,
    MR_TASK_NEWS,
};
#define MR_TASK_TYPES (MR_TASK_NEWS + 1)

/* Deeds of operators that only the broker's memory knows: written down first, then done. */
enum mr_deed { MR_DEED_CANCEL, MR_DEED_DRAIN, MR_DEED_DRAIN_WORKERS };

enum mr_news {
    MR_NEWS_STANDBY, /* another owner is alive; err.why names it */
    MR_NEWS_CLAIMED, /* epoch, kinds, queues and rights filled: ours now */
    MR_NEWS_RIGHTS,  /* rights filled: they have changed */
    MR_NEWS_DOWN,    /* err says why; the writer goes on trying */
    MR_NEWS_UP,
    MR_NEWS_FATAL,   /* err; the writer does nothing any more */
    MR_NEWS_STOPPED, /* the last thing that is ever said */
};

struct mr_queue_row {
    struct mr_span name;
    bool is_paused;
};

struct mr_task {
    struct mr_node node; /* first */
    enum mr_task_type type;
    struct mr_arena *arena; /* of everything below that is a span or an array */
    enum mr_status status;  /* out */
    struct mr_err err;      /* out, when status is not MR_OK */
    struct mr_task *next;   /* in a list of whoever holds it */

    struct mr_store_batch batch; /* COMMIT */
    const char **ended;          /* COMMIT: room for MR_SESSIONS_ENDED_MAX names */
    int64_t took_ns;             /* COMMIT: out, the writer's time, repeats included */

    struct mr_uuid *ids; /* FIND, READ, SHOW, REDRIVE, EXPLAIN, DEED */
    uint32_t id_count;
    bool with_history;       /* READ: for one of them it is wanted */
    struct mr_found *founds; /* FIND: out */
    uint32_t found_count;
    struct mr_stored_job *jobs; /* READ, SWEEP, LOAD: out */
    uint32_t job_count, jobs_taken;
    struct mr_uuid after; /* LOAD: in, and out for the next one */
    bool has_more;        /* LOAD, SWEEP: out; READ: those that are not in jobs were not
                             looked at, or are gone: ask again */

    uint32_t peer; /* cold ones: who asked, in which conversation */
    uint64_t nonce, corr;
    struct mr_span name; /* ADD_KIND, PAUSE, DEED */
    struct mr_reach
        reach; /* SHOW, REDRIVE, EXPLAIN: whose jobs; LIST, DEAD: in the filter */
    bool is_paused;
    struct mr_job_filter filter;       /* LIST */
    struct mr_dead_filter dead;        /* DEAD */
    struct mr_resealed resealed;       /* REDRIVE */
    struct mr_wr out;                  /* LIST, SHOW, DEAD, REDRIVE: out */
    struct mr_principal_change change; /* PRINCIPAL; PRINCIPALS: whose, or of all */
    struct mr_why_row why;             /* EXPLAIN: out */
    struct mr_audit_row *audits;       /* AUDIT; PAUSE, REDRIVE, DEED: of that, one */
    uint32_t audit_count;
    enum mr_deed deed; /* DEED */

    enum mr_news news;
    uint64_t epoch;
    struct mr_span *kinds;
    uint32_t kind_count;
    struct mr_queue_row *queues;
    uint32_t queue_count;
    struct mr_rights *rights; /* freed with the task unless it was taken out */
};

/* NULL when memory is out. With room for what its type needs. */
struct mr_task *mr_task_new(enum mr_task_type type) MR_MUST_CHECK;
void mr_task_destroy(struct mr_task **task);

/* Empty again, for the next use as the same type. */
void mr_task_reset(struct mr_task *task);

/* Copy a row (op) into a COMMIT; false when it is full: take another one. */
bool mr_task_add_op(struct mr_task *task, const struct mr_store_op *op) MR_MUST_CHECK;

/* End this worker's database sessions before the batch; false when full. */
bool mr_task_end_sessions(struct mr_task *task, struct mr_uuid instance) MR_MUST_CHECK;

/* One more id to look up; false when full. */
bool mr_task_add_id(struct mr_task *task, struct mr_uuid id) MR_MUST_CHECK;

/* Copies of what the store hands out during a call; false when there is no room. */
bool mr_task_add_found(struct mr_task *task, const struct mr_found *found) MR_MUST_CHECK;
bool mr_task_add_job(struct mr_task *task, const struct mr_stored_job *job) MR_MUST_CHECK;

/* By id; then one of them can be found. NULL: it is not there. */
void mr_task_sort_jobs(struct mr_task *task);
const struct mr_stored_job *mr_task_find_job(
    const struct mr_task *task, struct mr_uuid id);

#endif
