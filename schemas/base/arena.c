#include "schemas/base/arena.h"

#include <stdint.h>
#include <stdlib.h>

#define ALIGN 16
#define CHUNK_BYTES_MIN 4096

struct chunk {
    struct chunk *next;
    size_t room, used; /* bytes after the header */
    _Alignas(ALIGN) uint8_t bytes[];
};

struct mr_arena {
    struct chunk *first, *current;
    size_t bytes_max;
    size_t taken; /* room of all chunks */
    size_t used;
};

enum mr_status
mr_arena_new(struct mr_arena **out, size_t bytes_max)
{
    struct mr_arena *arena = calloc(1, sizeof *arena);

    *out = arena;
    if (!arena)
        return MR_NO_MEMORY;
    arena->bytes_max = bytes_max;
    return MR_OK;
}

static void
free_one(struct mr_arena *arena, struct chunk *chunk)
{
    arena->taken -= chunk->room;
    free(chunk);
}

void
mr_arena_destroy(struct mr_arena **arena)
{
    if (!*arena)
        return;
    while ((*arena)->first) {
        struct chunk *chunk = (*arena)->first;

        (*arena)->first = chunk->next;
        free_one(*arena, chunk);
    }
    free(*arena);
    *arena = NULL;
}

/* What was kept at a reset, and is not in use yet, must not cost anybody a piece. */
static void
drop_unused(struct mr_arena *arena)
{
    if (arena->used > 0 || !arena->first)
        return;
    free_one(arena, arena->first);
    arena->first = arena->current = NULL;
}

/* Chunks double, so that there are few; the last one is what the cap leaves. */
static struct chunk *
grow(struct mr_arena *arena, size_t bytes)
{
    size_t left, room;
    struct chunk *chunk;

    if (bytes > arena->bytes_max - arena->taken)
        drop_unused(arena);
    left = arena->bytes_max - arena->taken;
    room = arena->current ? arena->current->room : CHUNK_BYTES_MIN / 2;
    if (bytes > left)
        return NULL;
    room = room > SIZE_MAX / 2 ? room : room * 2;
    if (room < bytes)
        room = bytes;
    if (room > left)
        room = left;
    if (room > SIZE_MAX - sizeof *chunk)
        return NULL;
    chunk = malloc(sizeof *chunk + room);
    if (!chunk)
        return NULL;
    *chunk = (struct chunk){.room = room};
    if (arena->current)
        arena->current->next = chunk;
    else
        arena->first = chunk;
    arena->current = chunk;
    arena->taken += room;
    return chunk;
}

void *
mr_arena_alloc(struct mr_arena *arena, size_t bytes)
{
    struct chunk *chunk = arena->current;
    size_t start = chunk ? (chunk->used + ALIGN - 1) / ALIGN * ALIGN : 0;

    if (!chunk || start > chunk->room || bytes > chunk->room - start) {
        chunk = grow(arena, bytes);
        start = 0;
        if (!chunk)
            return NULL;
    }
    arena->used += start - chunk->used + bytes;
    chunk->used = start + bytes;
    return chunk->bytes + start;
}

bool
mr_arena_copy(struct mr_arena *arena, struct mr_span from, struct mr_span *out)
{
    void *to;

    if (from.n == 0) {
        *out = MR_SPAN_NONE;
        return true;
    }
    to = mr_arena_alloc(arena, from.n);
    if (!to)
        return false;
    memcpy(to, from.p, from.n);
    *out = mr_span(to, from.n);
    return true;
}

char *
mr_arena_str(struct mr_arena *arena, struct mr_span from)
{
    char *to;

    if (from.n == SIZE_MAX)
        return NULL;
    to = mr_arena_alloc(arena, from.n + 1);
    if (!to)
        return NULL;
    if (from.n > 0)
        memcpy(to, from.p, from.n);
    to[from.n] = '\0';
    return to;
}

/* The largest that is not too large to be kept; NULL if there is none. */
static struct chunk *
chunk_to_keep(const struct mr_arena *arena)
{
    struct chunk *best = NULL;

    for (struct chunk *chunk = arena->first; chunk; chunk = chunk->next)
        if (chunk->room <= MR_ARENA_KEPT_BYTES_MAX && (!best || chunk->room > best->room))
            best = chunk;
    return best;
}

void
mr_arena_reset(struct mr_arena *arena)
{
    struct chunk *kept = chunk_to_keep(arena), *chunk = arena->first;

    while (chunk) {
        struct chunk *next = chunk->next;

        if (chunk != kept)
            free_one(arena, chunk);
        chunk = next;
    }
    if (kept) {
        kept->next = NULL;
        kept->used = 0;
    }
    arena->first = arena->current = kept;
    arena->used = 0;
}

size_t
mr_arena_used(const struct mr_arena *arena)
{
    return arena->used;
}
