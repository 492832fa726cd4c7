#include "client/json.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/uuid.h"
#include "schemas/wire/limits.h"
#include "schemas/wire/seal.h"

#define BIN_KEY "$bin"

static const char digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* ---- From JSON ------------------------------------------------------------------------------ */

/* {"$bin":"..."} stands for bytes. */
static bool
is_bin(const json_t *value)
{
    return json_object_size(value) == 1 &&
           json_is_string(json_object_get(value, BIN_KEY));
}

static bool
is_nested_too_deep(const json_t *value, unsigned left)
{
    const char *key;
    json_t *item;

    if ((!json_is_object(value) && !json_is_array(value)) || is_bin(value))
        return false;
    if (left == 0)
        return true;
    for (size_t i = 0; i < json_array_size(value); i++)
        if (is_nested_too_deep(json_array_get(value, i), left - 1))
            return true;
    json_object_foreach((json_t *)(uintptr_t)value, key, item)
    {
        if (is_nested_too_deep(item, left - 1))
            return true;
    }
    return false;
}

/* jansson quotes what it stumbled over, which is a piece of a payload. */
static size_t
without_words(const char *text)
{
    const char *quoted = strstr(text, " near ");

    return quoted ? (size_t)(quoted - text) : strlen(text);
}

enum mr_status
mr_json_parse(struct mr_span text, const char *name, json_t **out, struct mr_err *err)
{
    json_error_t at;

    *out = json_loadb((const char *)text.p, text.n,
        JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &at);
    if (!*out)
        return mr_err_setf(err, MR_MALFORMED, "The JSON cannot be read.",
            "Mend it at that place.", "%s: line %d, column %d: %.*s.", name, at.line,
            at.column, (int)without_words(at.text), at.text);
    if (!is_nested_too_deep(*out, MR_PAYLOAD_DEPTH_MAX))
        return MR_OK;
    json_decref(*out);
    *out = NULL;
    return mr_err_setf(err, MR_MALFORMED, "The JSON cannot be sent.", "Make it flatter.",
        "%s: it is nested more than %u deep.", name, MR_PAYLOAD_DEPTH_MAX);
}

static int
value_of(char c)
{
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* Strict: padded, nothing else in it. Returns the bytes written, -1 for a fault; `out` has
 * room for three quarters of n. */
static long
base64_decode(const char *text, size_t n, uint8_t *out)
{
    size_t pad = n >= 4 ? (size_t)(text[n - 1] == '=') + (text[n - 2] == '=') : 0;
    long written = 0;

    if (n % 4 != 0)
        return -1;
    for (size_t i = 0; i < n; i += 4) {
        size_t here = i + 4 == n ? 4 - pad : 4;
        uint32_t bits = 0;

        for (size_t j = 0; j < 4; j++) {
            int value = j < here ? value_of(text[i + j]) : 0;

            if (value < 0)
                return -1;
            bits = bits << 6 | (uint32_t)value;
        }
        if ((here == 3 && (bits & 0xff)) || (here == 2 && (bits & 0xffff)))
            return -1; /* bits that would be lost */
        for (size_t j = 0; j + 1 < here; j++)
            out[written++] = (uint8_t)(bits >> (16 - 8 * j));
    }
    return written;
}

static enum mr_status
pack_bin(const json_t *text, struct mr_wr *wr, struct mr_err *err)
{
    size_t n = json_string_length(text);
    uint8_t *bytes = malloc(n + 1);
    long written;

    if (!bytes)
        return mr_err_set(
            err, MR_NO_MEMORY, "The JSON cannot be sent.", "No memory.", NULL);
    written = base64_decode(json_string_value(text), n, bytes);
    if (written >= 0)
        mr_wr_bin(wr, mr_span(bytes, (size_t)written));
    free(bytes);
    return written >= 0 ? MR_OK
                        : mr_err_set(err, MR_MALFORMED, "The JSON cannot be sent.",
                              "What stands behind " BIN_KEY " is not base64.",
                              "Write bytes as {\"$bin\":\"aGk=\"}.");
}

static enum mr_status pack(const json_t *value, struct mr_wr *wr, struct mr_err *err);

static enum mr_status
pack_object(const json_t *value, struct mr_wr *wr, struct mr_err *err)
{
    enum mr_status status = MR_OK;
    const char *key;
    json_t *item;

    if (is_bin(value))
        return pack_bin(json_object_get(value, BIN_KEY), wr, err);
    mr_wr_map(wr, (uint32_t)json_object_size(value));
    json_object_foreach((json_t *)(uintptr_t)value, key, item)
    {
        mr_wr_cstr(wr, key);
        status = pack(item, wr, err);
        if (status)
            break;
    }
    return status;
}

static enum mr_status
pack_array(const json_t *value, struct mr_wr *wr, struct mr_err *err)
{
    enum mr_status status = MR_OK;

    mr_wr_array(wr, (uint32_t)json_array_size(value));
    for (size_t i = 0; i < json_array_size(value) && !status; i++)
        status = pack(json_array_get(value, i), wr, err);
    return status;
}

/* Recursion is bounded: the parser has refused what is nested deeper than 32. */
static enum mr_status
pack(const json_t *value, struct mr_wr *wr, struct mr_err *err)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return pack_object(value, wr, err);
    case JSON_ARRAY:
        return pack_array(value, wr, err);
    case JSON_STRING:
        mr_wr_str(wr, mr_span(json_string_value(value), json_string_length(value)));
        break;
    case JSON_INTEGER:
        mr_wr_int(wr, json_integer_value(value));
        break;
    case JSON_REAL:
        mr_wr_double(wr, json_real_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        mr_wr_bool(wr, json_is_true(value));
        break;
    case JSON_NULL:
        mr_wr_nil(wr);
        break;
    }
    return MR_OK;
}

enum mr_status
mr_json_pack(const json_t *value, struct mr_wr *wr, struct mr_err *err)
{
    enum mr_status status = pack(value, wr, err);

    if (!status && wr->status)
        status = mr_err_set(err, wr->status, "The JSON cannot be sent.",
            wr->status == MR_TOO_BIG ? "It is larger than 1 MiB." : NULL,
            mr_status_text(wr->status));
    return status;
}

/* ---- To JSON --------------------------------------------------------------------------------- */

static json_t *
text_of(struct mr_span text)
{
    return json_stringn((const char *)text.p, text.n);
}

json_t *
mr_json_bin(struct mr_span bytes)
{
    char *text = malloc((bytes.n + 2) / 3 * 4 + 1);
    size_t n = 0;
    json_t *out;

    if (!text)
        return NULL;
    for (size_t i = 0; i < bytes.n; i += 3) {
        uint32_t bits = (uint32_t)bytes.p[i] << 16;

        if (i + 1 < bytes.n)
            bits |= (uint32_t)bytes.p[i + 1] << 8;
        if (i + 2 < bytes.n)
            bits |= bytes.p[i + 2];
        text[n++] = digits[bits >> 18];
        text[n++] = digits[bits >> 12 & 63];
        text[n++] = i + 1 < bytes.n ? digits[bits >> 6 & 63] : '=';
        text[n++] = i + 2 < bytes.n ? digits[bits & 63] : '=';
    }
    out = json_pack("{s:s#}", BIN_KEY, text, (int)n);
    free(text);
    return out;
}

static bool
ends_with(struct mr_span key, const char *end)
{
    size_t n = strlen(end);

    return key.n >= n && memcmp(key.p + key.n - n, end, n) == 0;
}

static bool
is_body(struct mr_span key)
{
    return mr_span_is(key, "payload") || mr_span_is(key, "args") ||
           mr_span_is(key, "body") || mr_span_is(key, "result");
}

/* Bytes in a reply, by the name they go under. */
static json_t *
readable_bin(struct mr_span key, struct mr_span bytes)
{
    char text[MR_UUID_TEXT_MAX], key_id[MR_SEAL_ID_TEXT];
    struct mr_uuid id;
    json_t *inner = NULL;

    if (bytes.n == sizeof id.b && (ends_with(key, "id") || ends_with(key, "instance"))) {
        memcpy(id.b, bytes.p, sizeof id.b);
        return json_string(mr_uuid_format(id, text));
    }
    if (is_body(key) && bytes.n == 0)
        return json_null();
    if (is_body(key) && mr_seal_key_of(bytes, key_id))
        return json_pack("{s:s}", "sealed", key_id);
    if (is_body(key))
        inner = mr_json_unpack(bytes);
    return inner ? inner : mr_json_bin(bytes);
}

static json_t *
real_of(double value)
{
    if (isfinite(value))
        return json_real(value);
    return json_string(isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity");
}

static json_t *
uint_of(uint64_t value)
{
    char text[24];

    if (value <= INT64_MAX)
        return json_integer((json_int_t)value);
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return json_string(text);
}

struct unpacking {
    struct mr_rd rd;
    bool is_reply;
};

static json_t *unpack(struct unpacking *from, struct mr_span key);

/* A JSON key of any value: what is no text is written as JSON. */
static char *
key_of(struct unpacking *from)
{
    json_t *value = unpack(from, MR_SPAN_NONE);
    char *out = NULL;

    if (json_is_string(value))
        out = strdup(json_string_value(value));
    else if (value)
        out = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    json_decref(value);
    return out;
}

static json_t *
map_of(struct unpacking *from)
{
    uint32_t pairs = mr_rd_map(&from->rd, UINT32_MAX);
    json_t *out = json_object();

    for (uint32_t i = 0; i < pairs && out; i++) {
        char *key = key_of(from);
        json_t *value = key ? unpack(from, mr_span_str(key)) : NULL;

        if (!value || json_object_set_new(out, key, value) != 0) {
            json_decref(out);
            out = NULL;
        }
        free(key);
    }
    return out;
}

static json_t *
array_of(struct unpacking *from)
{
    uint32_t items = mr_rd_array(&from->rd, UINT32_MAX);
    json_t *out = json_array();

    for (uint32_t i = 0; i < items && out; i++) {
        json_t *value = unpack(from, MR_SPAN_NONE);

        if (!value || json_array_append_new(out, value) != 0) {
            json_decref(out);
            out = NULL;
        }
    }
    return out;
}

/* Recursion is bounded: the bytes were scanned. */
static json_t *
unpack(struct unpacking *from, struct mr_span key)
{
    struct mr_rd *rd = &from->rd;
    struct mr_span bytes;

    switch (mr_rd_peek(rd)) {
    case MR_PACK_NIL:
        mr_rd_nil(rd);
        return json_null();
    case MR_PACK_BOOL:
        return json_boolean(mr_rd_bool(rd));
    case MR_PACK_UINT:
        return uint_of(mr_rd_uint(rd, UINT64_MAX));
    case MR_PACK_NEGATIVE:
        return json_integer(mr_rd_int(rd));
    case MR_PACK_FLOAT:
        return real_of(mr_rd_double(rd));
    case MR_PACK_STR:
        return text_of(mr_rd_str(rd, SIZE_MAX));
    case MR_PACK_BIN:
        bytes = mr_rd_bin(rd, SIZE_MAX);
        return from->is_reply ? readable_bin(key, bytes) : mr_json_bin(bytes);
    case MR_PACK_ARRAY:
        return array_of(from);
    case MR_PACK_MAP:
        return map_of(from);
    case MR_PACK_END:
        break;
    }
    return NULL;
}

static json_t *
unpack_all(struct mr_span bytes, bool is_reply)
{
    struct unpacking from = {.rd = mr_rd_open(bytes), .is_reply = is_reply};
    json_t *out;

    if (mr_pack_scan(bytes, MR_PAYLOAD_DEPTH_MAX))
        return NULL;
    out = unpack(&from, MR_SPAN_NONE);
    if (!from.rd.status)
        return out;
    json_decref(out);
    return NULL;
}

json_t *
mr_json_unpack(struct mr_span bytes)
{
    return unpack_all(bytes, false);
}

json_t *
mr_json_unpack_reply(struct mr_span bytes)
{
    return unpack_all(bytes, true);
}
