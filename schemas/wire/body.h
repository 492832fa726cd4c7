/*
 * Arguments and results of jobs as handlers see them: msgpack-c's object tree behind our
 * scanner. The only part that uses msgpack-c. One thread per body.
 */
#ifndef MR_WIRE_BODY_H
#define MR_WIRE_BODY_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/span.h"
#include "schemas/base/status.h"

struct mr_body;        /* a decoded value and its memory, to be reused for the next */
struct msgpack_object; /* msgpack-c's own, for those who want the tree */

enum mr_status mr_body_new(struct mr_body **out) MR_MUST_CHECK;
void mr_body_destroy(struct mr_body **body);

/* Scan (depth MR_PAYLOAD_DEPTH_MAX) and decode; empty bytes count as nil. Strings point into
 * `bytes`, which must outlive the use of the body. MR_MALFORMED, MR_TOO_BIG, MR_NO_MEMORY. */
enum mr_status mr_body_decode(struct mr_body *body, struct mr_span bytes) MR_MUST_CHECK;

/* Access by key of the top-level map. False if the key is missing or of another type (or out
 * of range, for integers: floats are refused). */
bool mr_body_int(const struct mr_body *body, const char *key, int64_t *out);
bool mr_body_double(const struct mr_body *body, const char *key, double *out);
bool mr_body_bool(const struct mr_body *body, const char *key, bool *out);
bool mr_body_str(const struct mr_body *body, const char *key, struct mr_span *out);
/* Array of strings: count, then each. */
bool mr_body_array(const struct mr_body *body, const char *key, uint32_t *count);
bool mr_body_array_str(
    const struct mr_body *body, const char *key, uint32_t index, struct mr_span *out);
bool mr_body_array_int(
    const struct mr_body *body, const char *key, uint32_t index, int64_t *out);
bool mr_body_has(const struct mr_body *body, const char *key);

const struct msgpack_object *mr_body_root(const struct mr_body *body);

#endif
