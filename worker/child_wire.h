/*
 * What a worker and its child processes say to each other through a socket pair: frames of a
 * length, a key and a msgpack array. The key is drawn for each child: what a handler writes by
 * accident into a descriptor that is not its own is noticed, whatever it is.
 *
 *     worker -> child   START    settings, names          ATTEMPT  run this
 *                       STOP     it has to stop           BYE      end in order
 *                       SEALED   the answer to SEAL
 *     child -> worker   READY    kinds are prepared       REFUSED  they cannot be
 *                       HANDLED  the handler is through, or runs once more
 *                       PROGRESS                          OUTCOME  of the attempt
 *                       SEAL     a follow-up job of it: the worker has the keys
 *
 * One thread per struct.
 */
#ifndef MR_WORKER_CHILD_WIRE_H
#define MR_WORKER_CHILD_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/base/arena.h"
#include "schemas/base/span.h"
#include "schemas/base/status.h"
#include "schemas/wire/limits.h"
#include "schemas/wire/pack.h"
#include "worker/attempt.h"
#include "worker/run.h"
#include "worker/settings.h"

/* Arguments or a result, and everything around them. */
#define MR_FRAME_BYTES_MAX ((size_t)MR_PAYLOAD_BYTES_MAX + MR_RESULT_BYTES_MAX)

enum mr_child_word {
    MR_CHILD_START = 1,
    MR_CHILD_READY,
    MR_CHILD_REFUSED,
    MR_CHILD_ATTEMPT,
    MR_CHILD_STOP,
    MR_CHILD_HANDLED,
    MR_CHILD_PROGRESS,
    MR_CHILD_OUTCOME,
    MR_CHILD_BYE,
    MR_CHILD_SEAL,
    MR_CHILD_SEALED,
    MR_CHILD_LAST = MR_CHILD_SEALED,
};

/* ---- frames ---------------------------------------------------------------------------------- */

/* Begin a frame at the end of `wr`: the mark to close it with. */
size_t mr_frame_open(
    struct mr_wr *wr, uint64_t key, enum mr_child_word word, uint32_t fields);
void mr_frame_close(struct mr_wr *wr, size_t mark);

/* What was received and not taken yet. Zero it before first use, free `bytes` at the end. */
struct mr_frames {
    uint8_t *bytes;
    size_t n, at, room;
    uint64_t key;    /* 0: that of the first frame, which is kept */
    bool is_hung_up; /* the other side has, in order */
};

/* Read what is there without waiting; false when the other side is gone, or without memory. */
bool mr_frames_read(struct mr_frames *frames, int fd) MR_MUST_CHECK;

/* MR_OK: the next one, its fields left in `rd`, valid until the next read. MR_NOT_FOUND: none is
 * whole. MR_MALFORMED: what came is none of ours. */
enum mr_status mr_frames_next(
    struct mr_frames *frames, enum mr_child_word *word, struct mr_rd *rd) MR_MUST_CHECK;

/* ---- messages -------------------------------------------------------------------------------- */

struct mr_child_start {
    uint32_t number;       /* of the executor */
    const char *db_name;   /* as for the worker's own threads */
    struct mr_span worker; /* likewise */
    const char *loads;     /* shared objects, by commas */
    struct mr_settings settings;
    bool seals; /* follow-up jobs are sealed: ask for it */
};

void mr_child_put_start(
    struct mr_wr *wr, uint64_t key, const struct mr_child_start *start);
/* Texts are copied into the arena. */
enum mr_status mr_child_get_start(
    struct mr_rd *rd, struct mr_arena *arena, struct mr_child_start *out) MR_MUST_CHECK;

void mr_child_put_attempt(struct mr_wr *wr, uint64_t key,
    const struct mr_attempt *attempt, uint32_t memory_mib);
/* `stop`: why it has to stop already, or MR_STOP_NOT. */
enum mr_status mr_child_get_attempt(struct mr_rd *rd, struct mr_job_sent *sent,
    uint64_t *serial, enum mr_stop *stop, uint32_t *memory_mib) MR_MUST_CHECK;

/* `is_spent`: the child has grown too large to be used again. */
void mr_child_put_outcome(struct mr_wr *wr, uint64_t key,
    const struct mr_attempt *attempt, enum mr_run_end end, bool is_spent);
/* Into the attempt whose outcome it is; MR_MALFORMED if it is another's, or none. */
enum mr_status mr_child_get_outcome(struct mr_rd *rd, struct mr_attempt *attempt,
    struct mr_span worker, enum mr_run_end *end, bool *is_spent) MR_MUST_CHECK;

/* A follow-up job of the attempt with this number, to be sealed. Spans point into the frame. */
void mr_child_put_seal(
    struct mr_wr *wr, uint64_t key, uint64_t serial, const struct mr_seal_ask *ask);
enum mr_status mr_child_get_seal(
    struct mr_rd *rd, uint64_t *serial, struct mr_seal_ask *ask) MR_MUST_CHECK;

/* A word with at most three fields: numbers, or a text in the place of the last. */
void mr_child_put_words(
    struct mr_wr *wr, uint64_t key, enum mr_child_word word, uint64_t a, uint64_t b);
void mr_child_put_text(struct mr_wr *wr, uint64_t key, enum mr_child_word word,
    uint64_t a, uint64_t b, struct mr_span text);

#endif
