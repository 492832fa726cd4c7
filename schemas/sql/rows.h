/*
 * The rows that the broker exchanges with its store, as plain structs: no connection, no SQL.
 * The core decides on them, the writer writes and reads them. Pure data; whoever holds the
 * batch owns it.
 */
#ifndef MR_SQL_ROWS_H
#define MR_SQL_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/span.h"
#include "schemas/base/status.h"
#include "schemas/base/uuid.h"
#include "schemas/wire/msg.h"

/* What became of an attempt that did not succeed; one row in `attempt`. */
enum mr_attempt_outcome {
    MR_ATTEMPT_FAILED = 1,
    MR_ATTEMPT_LOST = 2,
    MR_ATTEMPT_TIMED_OUT = 3,
    MR_ATTEMPT_SNOOZED = 4,
    MR_ATTEMPT_CRASHED = 5,
};

/* Why a job has failed for ever. `millrace.reason_word` has the words. */
enum mr_dead_reason {
    MR_DEAD_NOT = 0, /* it has not: null */
    MR_DEAD_USED_UP = 1,
    MR_DEAD_FOR_GOOD = 2,
    MR_DEAD_QUARANTINED = 3,
};

enum mr_store_op_type { MR_STORE_JOB, MR_STORE_ATTEMPT, MR_STORE_RESULT };

/* One row to be written and, after the commit, what became of it. Spans borrow from the
 * batch's arena. */
struct mr_store_op {
    enum mr_store_op_type type;
    struct mr_uuid id;
    uint32_t ref; /* of whoever made it; comes back as it was */

    /* MR_STORE_JOB: times as decided by the broker; delay_ms is already in run_at_us. */
    struct mr_job_new job;
    struct mr_span submitted_by;
    int64_t submitted_at_us;
    bool is_resent; /* the client says that it may be there already */

    /* MR_STORE_ATTEMPT and MR_STORE_RESULT */
    uint32_t attempt;
    enum mr_attempt_outcome attempt_outcome;
    enum mr_outcome outcome;
    enum mr_dead_reason reason; /* RESULT */
    struct mr_span text;        /* error */
    struct mr_span worker;
    int64_t started_at_us, finished_at_us, retry_at_us; /* 0: null */

    /*
     * Out. MR_OK: durable now (an attempt row that was there already counts, too).
     * JOB: MR_KNOWN, MR_FINISHED (found_* filled), MR_CONFLICT: was there before.
     * RESULT: MR_FINISHED: somebody else's result stands (found_* filled).
     * MR_BAD_ARGUMENT and the like: this row alone was refused; `found_text` says why.
     */
    enum mr_status status;
    enum mr_outcome found_outcome;
    uint32_t found_attempt;
    struct mr_span found_text, found_body; /* in the batch's arena */
    int64_t found_finished_at_us;
};

/* An unfinished job as it is found at start, in the inbox, or read back. */
struct mr_stored_job {
    struct mr_job_new job;  /* payload empty unless asked for; options as stored */
    uint32_t payload_bytes; /* when it was not asked for: its size */
    struct mr_span submitted_by;
    int64_t submitted_at_us;
    uint32_t attempts;    /* highest attempt number recorded, snoozes included */
    uint32_t failures;    /* attempts that count against attempts_max */
    uint32_t losses;      /* lost or crashed ones that had started */
    uint32_t near_losses; /* lost ones that were only queued */
    int64_t retry_at_us;  /* of the latest attempt row; 0: none */
    bool lacks_history; /* read for its payload: only id, trace and payload are filled */
};

/* A finished job, or one that exists at all. */
struct mr_found {
    struct mr_uuid id;
    bool exists, is_finished;
    enum mr_outcome outcome;
    uint32_t attempt;
    struct mr_span submitted_by; /* exists: whose it is; empty: nobody's */
    struct mr_span queue, kind;  /* exists */
    struct mr_span text, body;   /* during the call only */
    struct mr_span losses;       /* not finished: which attempts, how, on which workers */
    int64_t finished_at_us;
};

/* ---- who may do what: see broker/core/rights.h ------------------------------------------------ */

/* Limits of a principal; 0: none. */
struct mr_quota {
    uint32_t jobs_per_s, waiting_max, connections_max;
    uint64_t payload_bytes_max;
};

enum mr_rights_row_type { MR_ROW_PRINCIPAL, MR_ROW_KEY, MR_ROW_GRANT };

/* One row of `principal`, `principal_key` or `principal_grant`. Spans live during the call. */
struct mr_rights_row {
    enum mr_rights_row_type type;
    uint32_t principal;    /* its number */
    struct mr_span text;   /* PRINCIPAL: name; KEY: in Z85; GRANT: the role or action */
    bool is_revoked;       /* PRINCIPAL, KEY */
    struct mr_quota quota; /* PRINCIPAL */
    struct mr_span queue, kind; /* GRANT: patterns */
    bool is_denied, is_any;     /* GRANT; is_any: of an action, also the jobs of others */
};

#endif
