/*
 * PostgreSQL's binary formats, both directions. A field is its length (4 bytes, -1 for null)
 * and its bytes: the same in a row of COPY, in an element of an array and, here, in a
 * parameter. Fills memory that grows up to a cap; being full is sticky. One thread.
 */
#ifndef MR_SQL_BIN_H
#define MR_SQL_BIN_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/span.h"
#include "schemas/base/status.h"
#include "schemas/base/uuid.h"

struct pg_result;

#define MR_BIN_BYTES_MAX (256u * 1024 * 1024)

/* Types as in the server's catalog; they never change. */
enum mr_bin_type {
    MR_BIN_BOOL = 16,
    MR_BIN_BYTEA = 17,
    MR_BIN_INT8 = 20,
    MR_BIN_INT2 = 21,
    MR_BIN_INT4 = 23,
    MR_BIN_TEXT = 25,
    MR_BIN_TIME = 1184, /* timestamptz */
    MR_BIN_UUID = 2950,
    MR_BIN_ARRAY = 0x10000, /* flag: array of */
};

struct mr_bin {
    uint8_t *p;
    size_t n, cap;
    bool is_full; /* the cap is reached or memory is out: do not use the content */
};

/* Zeroed memory is an empty writer. */
void mr_bin_fini(struct mr_bin *bin);
void mr_bin_reset(struct mr_bin *bin);

void mr_bin_raw(struct mr_bin *bin, const void *bytes, size_t n);
void mr_bin_i16(struct mr_bin *bin, int16_t v); /* bare, without a length */

/* ---- fields -------------------------------------------------------------------------------- */

void mr_bin_put_null(struct mr_bin *bin);
void mr_bin_put_uuid(struct mr_bin *bin, struct mr_uuid v);
void mr_bin_put_some_uuid(struct mr_bin *bin, struct mr_uuid v); /* zeros: null */
void mr_bin_put_bool(struct mr_bin *bin, bool v);
void mr_bin_put_int2(struct mr_bin *bin, int16_t v);
void mr_bin_put_int4(struct mr_bin *bin, int32_t v);
void mr_bin_put_int8(struct mr_bin *bin, int64_t v);
void mr_bin_put_some_int2(struct mr_bin *bin, uint32_t v); /* 0: null */
void mr_bin_put_some_int4(struct mr_bin *bin, uint32_t v); /* 0: null */
void mr_bin_put_some_int8(struct mr_bin *bin, int64_t v);  /* 0: null */
void mr_bin_put_some_time(struct mr_bin *bin, int64_t us); /* since 1970; 0: null */
void mr_bin_put_bytes(struct mr_bin *bin, struct mr_span v);
void mr_bin_put_some_bytes(struct mr_bin *bin, struct mr_span v); /* empty: null */
/* Text for people: what a text column would refuse (NUL, invalid UTF-8) becomes '?'. */
void mr_bin_put_some_words(struct mr_bin *bin, struct mr_span v); /* empty: null */

/* As our structs have it (see MR_JITTER_NONE), into a column of percent. */
void mr_bin_put_jitter(struct mr_bin *bin, uint32_t jitter);

/* An array as one field: open, fields, close with their number. */
size_t mr_bin_array_open(struct mr_bin *bin, enum mr_bin_type element);
void mr_bin_array_close(struct mr_bin *bin, size_t mark, uint32_t count);

/* ---- cells of a binary result ----------------------------------------------------------------- */

bool mr_bin_is_null(const struct pg_result *result, int row, int column);
int64_t mr_bin_int(const struct pg_result *result, int row, int column); /* 0: null */
int64_t mr_bin_time(
    const struct pg_result *result, int row, int column); /* us; 0: null */
struct mr_uuid mr_bin_uuid(const struct pg_result *result, int row, int column);
/* A column of percent, as our structs have it. */
uint32_t mr_bin_jitter(const struct pg_result *result, int row, int column);
/* Lives as long as the result. */
struct mr_span mr_bin_span(const struct pg_result *result, int row, int column);

#endif
