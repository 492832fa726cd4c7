#include "schemas/wire/body.h"

#include <stdlib.h>

#include <msgpack.h>

#include "schemas/wire/limits.h"
#include "schemas/wire/pack.h"

#define ZONE_CHUNK_BYTES 4096u

struct mr_body {
    msgpack_zone zone;
    msgpack_object root;
};

enum mr_status
mr_body_new(struct mr_body **out)
{
    struct mr_body *body = calloc(1, sizeof *body);
    *out = NULL;
    if (!body)
        return MR_NO_MEMORY;
    if (!msgpack_zone_init(&body->zone, ZONE_CHUNK_BYTES)) {
        free(body);
        return MR_NO_MEMORY;
    }
    *out = body;
    return MR_OK;
}

void
mr_body_destroy(struct mr_body **body)
{
    if (!*body)
        return;
    msgpack_zone_destroy(&(*body)->zone);
    free(*body);
    *body = NULL;
}

enum mr_status
mr_body_decode(struct mr_body *body, struct mr_span bytes)
{
    body->root = (msgpack_object){.type = MSGPACK_OBJECT_NIL};
    /* The zone is kept and cleared: no allocation for a small body (msgpack_unpack_next would
     * make a zone for each). */
    msgpack_zone_clear(&body->zone);
    if (bytes.n == 0)
        return MR_OK;
    /* The library allocates what a header declares before it looks further; the scan has
     * bounded every count by the bytes that are there. */
    enum mr_status status = mr_pack_scan(bytes, MR_PAYLOAD_DEPTH_MAX);
    if (status != MR_OK)
        return status;
    size_t offset = 0;
    msgpack_unpack_return did =
        msgpack_unpack((const char *)bytes.p, bytes.n, &offset, &body->zone, &body->root);
    if (did == MSGPACK_UNPACK_SUCCESS || did == MSGPACK_UNPACK_EXTRA_BYTES)
        return MR_OK;
    body->root = (msgpack_object){.type = MSGPACK_OBJECT_NIL};
    return did == MSGPACK_UNPACK_NOMEM_ERROR ? MR_NO_MEMORY : MR_MALFORMED;
}

const struct msgpack_object *
mr_body_root(const struct mr_body *body)
{
    return &body->root;
}

static const msgpack_object *
find(const struct mr_body *body, const char *key)
{
    if (body->root.type != MSGPACK_OBJECT_MAP)
        return NULL;
    const msgpack_object_map *map = &body->root.via.map;
    for (uint32_t i = 0; i < map->size; i++) {
        const msgpack_object *name = &map->ptr[i].key;
        if (name->type == MSGPACK_OBJECT_STR &&
            mr_span_is(mr_span(name->via.str.ptr, name->via.str.size), key))
            return &map->ptr[i].val;
    }
    return NULL;
}

static bool
as_int(const msgpack_object *value, int64_t *out)
{
    if (value && value->type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
        value->via.u64 <= INT64_MAX) {
        *out = (int64_t)value->via.u64;
        return true;
    }
    if (value && value->type == MSGPACK_OBJECT_NEGATIVE_INTEGER) {
        *out = value->via.i64;
        return true;
    }
    return false;
}

static bool
as_str(const msgpack_object *value, struct mr_span *out)
{
    if (!value || value->type != MSGPACK_OBJECT_STR)
        return false;
    *out = mr_span(value->via.str.ptr, value->via.str.size);
    return true;
}

bool
mr_body_int(const struct mr_body *body, const char *key, int64_t *out)
{
    return as_int(find(body, key), out);
}

bool
mr_body_double(const struct mr_body *body, const char *key, double *out)
{
    const msgpack_object *value = find(body, key);
    int64_t whole;
    if (as_int(value, &whole)) {
        *out = (double)whole;
        return true;
    }
    if (!value ||
        (value->type != MSGPACK_OBJECT_FLOAT64 && value->type != MSGPACK_OBJECT_FLOAT32))
        return false;
    *out = value->via.f64;
    return true;
}

bool
mr_body_bool(const struct mr_body *body, const char *key, bool *out)
{
    const msgpack_object *value = find(body, key);
    if (!value || value->type != MSGPACK_OBJECT_BOOLEAN)
        return false;
    *out = value->via.boolean;
    return true;
}

bool
mr_body_str(const struct mr_body *body, const char *key, struct mr_span *out)
{
    return as_str(find(body, key), out);
}

static const msgpack_object *
find_item(const struct mr_body *body, const char *key, uint32_t index)
{
    const msgpack_object *value = find(body, key);
    if (!value || value->type != MSGPACK_OBJECT_ARRAY || index >= value->via.array.size)
        return NULL;
    return &value->via.array.ptr[index];
}

bool
mr_body_array(const struct mr_body *body, const char *key, uint32_t *count)
{
    const msgpack_object *value = find(body, key);
    if (!value || value->type != MSGPACK_OBJECT_ARRAY)
        return false;
    *count = value->via.array.size;
    return true;
}

bool
mr_body_array_str(
    const struct mr_body *body, const char *key, uint32_t index, struct mr_span *out)
{
    return as_str(find_item(body, key, index), out);
}

bool
mr_body_array_int(
    const struct mr_body *body, const char *key, uint32_t index, int64_t *out)
{
    return as_int(find_item(body, key, index), out);
}

bool
mr_body_has(const struct mr_body *body, const char *key)
{
    return find(body, key) != NULL;
}
