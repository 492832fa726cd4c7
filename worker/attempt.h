/*
 * One attempt of one job while this worker has it. The session makes it from an item of JOBS,
 * an executor runs it, the committer stores its result, the session reports it; it belongs to
 * whoever took its note last. The session keeps a pointer all the while, by which it may touch
 * only what is marked as shared.
 */
#ifndef MR_WORKER_ATTEMPT_H
#define MR_WORKER_ATTEMPT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/span.h"
#include "schemas/base/status.h"
#include "schemas/base/uuid.h"
#include "schemas/sql/finish.h"
#include "schemas/wire/msg.h"
#include "schemas/wire/pack.h"
#include "worker/millrace_worker.h"
#include "worker/note.h"

#define MR_PROGRESS_BYTES_MAX 256u

/* Why an attempt should end soon. */
enum mr_stop {
    MR_STOP_NOT = 0,
    MR_STOP_CANCELLED,
    MR_STOP_TIMED_OUT,
    MR_STOP_STALE, /* the broker gave it to another, or it is finished */
    MR_STOP_DRAIN, /* the worker ends */
    MR_STOP_ALONE, /* its group takes too long: it is run again, alone */
};

struct mr_progress {
    uint32_t permille;
    uint32_t bytes;
    char text[MR_PROGRESS_BYTES_MAX];
};

/* Of the session; see session_priv.h. */
enum mr_attempt_place {
    MR_PLACE_NONE,
    MR_PLACE_QUEUED,
    MR_PLACE_RUNNING,
    MR_PLACE_STORING,
    MR_PLACE_REPORTED,
    MR_PLACE_SENT,
};

/* What is touched for every job stands together. */
struct mr_attempt {
    struct mr_note note;

    /* Of the session. */
    enum mr_attempt_place place;
    bool is_disowned;    /* not in the table of ids any more, never reported */
    uint32_t seat, item; /* while it is RUNNING: the executor, its place in the batch */
    uint32_t bucket;     /* of the table of ids */
    struct mr_attempt *prev, *next;         /* in the list of its place */
    struct mr_attempt *all_prev, *all_next; /* of all that are held */
    struct mr_attempt *chain;               /* in its bucket; of free ones */
    size_t held_bytes;
    uint8_t *bytes;
    size_t room;

    /* What is asked; constant while it runs. The spans point into `bytes`. */
    struct mr_uuid id;
    uint32_t number; /* 1, 2, ... */
    const struct millrace_kind *kind;
    uint32_t kind_index; /* in the registry */
    struct mr_span payload, queue, trace;
    uint32_t timeout_ms;
    uint64_t serial;  /* never the same in this process */
    bool is_isolated; /* it runs in a child process */
    bool is_alone;    /* in no group: it was in one that came to nothing */
    bool comes_back;  /* from its executor, to be run again */
    bool is_opened;   /* the payload was sealed; what lies there now is to be wiped */

    /* Shared. */
    _Atomic int stop;       /* enum mr_stop; set by the session, the first one stays */
    atomic_bool is_handled; /* the handler is through; no timeout concerns it any more */
    struct mr_progress *_Atomic progress; /* newest that was not looked at; owned */

    /* What came of it. `done.text` and `done.body` point into the two writers. */
    struct mr_done done;
    bool rings;          /* rows were put into the inbox */
    size_t stored_bytes; /* of the result, when it goes to the committer */
    struct mr_wr text, body;
    struct mr_finish finish;       /* the row for mr_finish_* */
    struct mr_attempt *store_next; /* of the committer */

    /* Of the session, seldom. */
    uint32_t permille, note_bytes; /* progress as last seen */
    char note_text[MR_PROGRESS_BYTES_MAX];
};

/* NULL without memory. */
struct mr_attempt *mr_attempt_new(void);
void mr_attempt_destroy(struct mr_attempt **attempt);

/* Make it the attempt of `sent`, whose spans are copied. */
enum mr_status mr_attempt_set(struct mr_attempt *attempt, const struct mr_job_sent *sent,
    const struct millrace_kind *kind, uint64_t serial) MR_MUST_CHECK;

/* It may be used again: forget what came of it, give large memory back. */
void mr_attempt_reset(struct mr_attempt *attempt);

/* Record what came of it. `text` is cut to MR_ERROR_BYTES_MAX and made valid UTF-8 (whoever
 * sends anything else is not understood); `body` stays as the handler wrote it. */
void mr_attempt_report(
    struct mr_attempt *attempt, enum mr_report report, struct mr_span text);
void mr_attempt_reportf(struct mr_attempt *attempt, enum mr_report report,
    const char *format, ...) MR_PRINTF(3, 4);

/* What became of its result row, from finish->status: succeeded, finished before (what stands
 * is copied), or refused. */
void mr_attempt_report_stored(struct mr_attempt *attempt);

/* Executor: a newer progress in the place of one that nobody looked at. */
void mr_attempt_progress(
    struct mr_attempt *attempt, uint32_t permille, struct mr_span text);

/* Copy at most `room` bytes of `from`, whole characters only, '?' for each byte that is no UTF-8
 * and for control characters but newline and tab; returns the bytes written. */
size_t mr_attempt_clean_text(char *out, size_t room, struct mr_span from);

#endif
