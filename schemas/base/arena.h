/*
 * Bump memory with a cap: many small pieces that die together (a batch, a job). One thread.
 */
#ifndef MR_BASE_ARENA_H
#define MR_BASE_ARENA_H

#include <stddef.h>

#include "schemas/base/span.h"
#include "schemas/base/status.h"

struct mr_arena;

#define MR_ARENA_KEPT_BYTES_MAX ((size_t)1 << 20)

/* `bytes_max`: the most it will ever hold; chunks are taken as needed. */
enum mr_status mr_arena_new(struct mr_arena **out, size_t bytes_max) MR_MUST_CHECK;
void mr_arena_destroy(struct mr_arena **arena);

/* NULL when the cap is reached or memory is out. 16-byte aligned, not zeroed. */
void *mr_arena_alloc(struct mr_arena *arena, size_t bytes) MR_MUST_CHECK;

/* Copy into the arena; a zero-length span gives a zero-length span. False when full. */
bool mr_arena_copy(
    struct mr_arena *arena, struct mr_span from, struct mr_span *out) MR_MUST_CHECK;

/* Terminated copy, NULL when full. */
char *mr_arena_str(struct mr_arena *arena, struct mr_span from) MR_MUST_CHECK;

/* Forget everything. The largest chunk up to MR_ARENA_KEPT_BYTES_MAX stays, so that batch after
 * batch of the same size allocates nothing. */
void mr_arena_reset(struct mr_arena *arena);

size_t mr_arena_used(const struct mr_arena *arena);

#endif
