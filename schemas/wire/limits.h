/*
 * What a message may be at most. The page schemas/wire/README.md repeats these numbers and a
 * test compares the two. WELCOME announces those that a peer has to keep.
 */
#ifndef MR_WIRE_LIMITS_H
#define MR_WIRE_LIMITS_H

#define MR_PROTO_VERSION 1

#define MR_MESSAGE_BYTES_MAX (4u * 1024 * 1024)
/* To the broker a message comes in frames of this size, the last may be shorter (frames.h): as
 * much as a stranger can make it keep. CURVE adds 33 bytes to each. */
#define MR_WIRE_FRAME_BYTES_MAX 2048u
#define MR_WIRE_FRAME_BYTES_SPARE 64u
#define MR_PAYLOAD_BYTES_MAX (1u * 1024 * 1024) /* arguments of one job */
#define MR_RESULT_BYTES_MAX (1u * 1024 * 1024)  /* result of one job */
#define MR_JOBS_PER_MESSAGE_MAX 4096u
#define MR_ITEMS_PER_MESSAGE_MAX 4096u /* ids, outcomes, events, revocations */
#define MR_DEPTH_MAX 8u                /* nesting of an envelope */
#define MR_PAYLOAD_DEPTH_MAX 32u       /* nesting of arguments and results */
#define MR_NAME_BYTES_MAX 64u          /* queue, kind, lane key, worker name */
#define MR_ERROR_BYTES_MAX 2000u       /* error text of an attempt */
#define MR_TRACE_BYTES_MAX 128u
#define MR_KINDS_PER_WORKER_MAX 256u
#define MR_PRIORITY_MAX 9u
#define MR_PRIORITY_DEFAULT 4u
#define MR_BACKOFF_FACTOR_MIN 100u /* percent: each pause is as long as the first */
#define MR_BACKOFF_FACTOR_MAX 1000u
#define MR_BACKOFF_JITTER_MAX 100u /* percent */
#define MR_ATTEMPTS_MAX 1000u
#define MR_QUEUE_DEFAULT "default"
/* A sender splits what it has so that a message stays below this, unless one item alone is
 * larger: large enough to amortise, small enough for the high-water marks. */
#define MR_MESSAGE_BYTES_GOAL (256u * 1024)

#endif
