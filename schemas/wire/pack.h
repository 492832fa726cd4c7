/*
 * msgpack without allocation: a bounded reader, a bounded writer and the scanner that every
 * message passes first. Format: the msgpack specification (github.com/msgpack/msgpack,
 * spec.md). Pure; any thread.
 */
#ifndef MR_WIRE_PACK_H
#define MR_WIRE_PACK_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/span.h"
#include "schemas/base/status.h"

/*
 * True verdict on bytes before anything decodes them: exactly one value, no trailing bytes,
 * nesting at most depth_max, every declared length and count covered by the bytes that are
 * left, strings valid UTF-8, no ext types, no reserved byte. MR_MALFORMED otherwise, MR_TOO_BIG
 * for nesting. Never allocates, never recurses; linear in bytes.
 */
enum mr_status mr_pack_scan(struct mr_span bytes, unsigned depth_max) MR_MUST_CHECK;

/* ---- reading: a cursor with a sticky error, so that a decoder checks once at its end ---- */

struct mr_rd {
    const uint8_t *p, *end;
    enum mr_status status; /* MR_OK until something does not fit */
};

enum mr_pack_type {
    MR_PACK_END, /* no bytes left, or the cursor has failed */
    MR_PACK_NIL,
    MR_PACK_BOOL,
    MR_PACK_UINT, /* an integer >= 0, whatever its encoding */
    MR_PACK_NEGATIVE,
    MR_PACK_FLOAT,
    MR_PACK_STR,
    MR_PACK_BIN,
    MR_PACK_ARRAY,
    MR_PACK_MAP,
};

struct mr_rd mr_rd_open(struct mr_span bytes);

/* What comes next; does not move. */
enum mr_pack_type mr_rd_peek(const struct mr_rd *rd);

/* Each takes one value and moves. On a type or number that does not fit the cursor fails
 * (MR_MALFORMED, or MR_TOO_BIG for a length or count above its maximum) and 0, false or an
 * empty span comes back. */
uint64_t mr_rd_uint(struct mr_rd *rd, uint64_t max);
int64_t mr_rd_int(struct mr_rd *rd);
bool mr_rd_bool(struct mr_rd *rd);
double mr_rd_double(struct mr_rd *rd); /* integers are accepted too */
struct mr_span mr_rd_str(struct mr_rd *rd, size_t max_bytes);
struct mr_span mr_rd_bin(struct mr_rd *rd, size_t max_bytes);
uint32_t mr_rd_array(struct mr_rd *rd, uint32_t max_count);
uint32_t mr_rd_map(struct mr_rd *rd, uint32_t max_count);
void mr_rd_nil(struct mr_rd *rd);

/* True, and moved past it, if the next value is nil. */
bool mr_rd_skip_nil(struct mr_rd *rd);

/* Move past one whole value of any type (nesting up to 32). */
void mr_rd_skip(struct mr_rd *rd);
void mr_rd_skip_n(struct mr_rd *rd, uint32_t count);

/* The bytes of the next whole value, moved past. */
struct mr_span mr_rd_raw(struct mr_rd *rd);

/* ---- writing: into memory that grows up to a cap; the error is sticky ---- */

struct mr_wr {
    uint8_t *p;
    size_t n, cap, max; /* bytes written, room, the most the room may grow to */
    enum mr_status status;
    bool is_owner; /* grows by realloc; otherwise the caller's fixed memory */
};

/* Growing memory, freed by mr_wr_fini; `max_bytes` is the cap (MR_TOO_BIG beyond it). */
void mr_wr_init(struct mr_wr *wr, size_t max_bytes);
/* The caller's own memory. */
void mr_wr_init_fixed(struct mr_wr *wr, void *memory, size_t bytes);
void mr_wr_fini(struct mr_wr *wr);
/* Forget what was written and the error, keep the memory. */
void mr_wr_reset(struct mr_wr *wr);
struct mr_span mr_wr_span(const struct mr_wr *wr);
/* Pass the memory out (free() it); the writer is empty afterwards. */
uint8_t *mr_wr_take(struct mr_wr *wr, size_t *n);

void mr_wr_nil(struct mr_wr *wr);
void mr_wr_bool(struct mr_wr *wr, bool v);
void mr_wr_uint(struct mr_wr *wr, uint64_t v); /* shortest encoding */
void mr_wr_int(struct mr_wr *wr, int64_t v);   /* shortest encoding */
void mr_wr_double(struct mr_wr *wr, double v);
void mr_wr_str(struct mr_wr *wr, struct mr_span v);
void mr_wr_cstr(struct mr_wr *wr, const char *v); /* NULL is written as nil */
void mr_wr_bin(struct mr_wr *wr, struct mr_span v);
void mr_wr_array(struct mr_wr *wr, uint32_t count);
void mr_wr_map(struct mr_wr *wr, uint32_t count);
void mr_wr_raw(
    struct mr_wr *wr, struct mr_span value); /* bytes that are already msgpack */

/* An array or map whose count is not known yet: returns a mark, always 5 bytes (array32 or
 * map32); close it with the count. */
size_t mr_wr_array_open(struct mr_wr *wr);
size_t mr_wr_map_open(struct mr_wr *wr);
void mr_wr_close(struct mr_wr *wr, size_t mark, uint32_t count);

#endif
