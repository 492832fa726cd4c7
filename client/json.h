/*
 * JSON for people, msgpack for the wire. Only the command line needs this; the library and the
 * broker never see JSON. Pure; any thread.
 *
 * Both ways: objects, arrays, strings, booleans, null; whole numbers stay whole, others are
 * doubles. Bytes are {"$bin":"<base64>"}. Only from msgpack: whole numbers above 2^63-1, not-a-
 * number and infinities become strings, keys that are numbers too.
 */
#ifndef MR_CLIENT_JSON_H
#define MR_CLIENT_JSON_H

#include <jansson.h>
#include <stdbool.h>

#include "schemas/base/span.h"
#include "schemas/base/status.h"
#include "schemas/wire/pack.h"

/*
 * Parse one value, nothing behind it. `name` is what the text is called in errors ("line 7 of
 * jobs.jsonl"). MR_MALFORMED with line, column and what is wrong: also for a key that comes
 * twice, for whole numbers outside of 64 bits, for nesting of more than 32. Owned by the
 * caller (json_decref).
 */
enum mr_status mr_json_parse(struct mr_span text, const char *name, json_t **out,
    struct mr_err *err) MR_MUST_CHECK;

/* Append as one msgpack value. MR_MALFORMED for a "$bin" that is not base64, MR_TOO_BIG. */
enum mr_status mr_json_pack(
    const json_t *value, struct mr_wr *wr, struct mr_err *err) MR_MUST_CHECK;

/* {"$bin":"..."}, which is packed as these bytes. NULL if memory is out. */
json_t *mr_json_bin(struct mr_span bytes);

/* One msgpack value as JSON; NULL if it is none (or memory is out). Owned by the caller. */
json_t *mr_json_unpack(struct mr_span bytes);

/*
 * The same for replies of the broker, made readable: 16 bytes under "id" or "...instance" are
 * a UUID's text; bytes under "payload", "args", "body" and "result" are unpacked in their turn.
 */
json_t *mr_json_unpack_reply(struct mr_span bytes);

#endif
