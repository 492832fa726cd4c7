#include <stddef.h>

#include "schemas/wire/msg_priv.h"

/* The cold maps as tables: key, type and place of each value. A key that is not in the table
 * is skipped; one that is missing leaves what was there. */

enum field_type {
    FIELD_U32,
    FIELD_U64,
    FIELD_TIME,
    FIELD_UUID,
    FIELD_TEXT,
    FIELD_NAME,
    FIELD_BOOL,
    FIELD_FACTOR,
    FIELD_JITTER
};

struct field {
    const char *key;
    enum field_type type;
    size_t offset;
};

#define KEYS_MAX 32u
#define COUNT_OF(rows) (sizeof(rows) / sizeof *(rows))

static const struct field hello_fields[] = {
    {"proto_min", FIELD_U32, offsetof(struct mr_hello, proto_min)},
    {"proto_max", FIELD_U32, offsetof(struct mr_hello, proto_max)},
    {"role", FIELD_U32, offsetof(struct mr_hello, role)},
    {"instance", FIELD_UUID, offsetof(struct mr_hello, instance)},
    {"name", FIELD_TEXT, offsetof(struct mr_hello, name)},
    {"threads", FIELD_U32, offsetof(struct mr_hello, threads)},
};

static const struct field offer_fields[] = {
    {"kind", FIELD_NAME, offsetof(struct mr_offer, kind)},
    {"running_max", FIELD_U32, offsetof(struct mr_offer, running_max)},
    {"timeout_ms", FIELD_U32, offsetof(struct mr_offer, timeout_ms)},
    {"attempts_max", FIELD_U32, offsetof(struct mr_offer, attempts_max)},
    {"backoff_base_ms", FIELD_U32, offsetof(struct mr_offer, backoff_base_ms)},
    {"backoff_cap_ms", FIELD_U32, offsetof(struct mr_offer, backoff_cap_ms)},
    {"backoff_factor_percent", FIELD_FACTOR,
        offsetof(struct mr_offer, backoff_factor_percent)},
    {"backoff_jitter_percent", FIELD_JITTER, offsetof(struct mr_offer, backoff_jitter)},
    {"is_transactional", FIELD_BOOL, offsetof(struct mr_offer, is_transactional)},
};

static const struct field welcome_fields[] = {
    {"proto", FIELD_U32, offsetof(struct mr_welcome, proto)},
    {"session", FIELD_U64, offsetof(struct mr_welcome, session)},
    {"instance", FIELD_UUID, offsetof(struct mr_welcome, instance)},
    {"shard", FIELD_U32, offsetof(struct mr_welcome, shard)},
    {"epoch", FIELD_U64, offsetof(struct mr_welcome, epoch)},
    {"heartbeat_ms", FIELD_U32, offsetof(struct mr_welcome, heartbeat_ms)},
    {"payload_bytes_max", FIELD_U32, offsetof(struct mr_welcome, payload_bytes_max)},
    {"result_bytes_max", FIELD_U32, offsetof(struct mr_welcome, result_bytes_max)},
    {"message_bytes_max", FIELD_U32, offsetof(struct mr_welcome, message_bytes_max)},
    {"jobs_per_message_max", FIELD_U32,
        offsetof(struct mr_welcome, jobs_per_message_max)},
    {"window_jobs", FIELD_U32, offsetof(struct mr_welcome, window_jobs)},
    {"wall_us", FIELD_TIME, offsetof(struct mr_welcome, wall_us)},
};

static void
get_field(struct mr_rd *rd, const struct field *field, void *into)
{
    char *at = (char *)into + field->offset;
    switch (field->type) {
    case FIELD_U32:
        *(uint32_t *)(void *)at = (uint32_t)mr_rd_uint(rd, UINT32_MAX);
        return;
    case FIELD_U64:
        *(uint64_t *)(void *)at = mr_rd_uint(rd, UINT64_MAX);
        return;
    case FIELD_TIME:
        *(int64_t *)(void *)at = mr_msg_time(rd);
        return;
    case FIELD_UUID:
        *(struct mr_uuid *)(void *)at = mr_msg_uuid(rd);
        return;
    case FIELD_TEXT:
        *(struct mr_span *)(void *)at = mr_rd_str(rd, MR_NAME_BYTES_MAX);
        return;
    case FIELD_NAME:
        *(struct mr_span *)(void *)at = mr_msg_name(rd);
        return;
    case FIELD_BOOL:
        *(bool *)(void *)at = mr_rd_bool(rd);
        return;
    case FIELD_FACTOR:
        *(uint32_t *)(void *)at = mr_msg_factor(rd);
        return;
    case FIELD_JITTER:
        *(uint32_t *)(void *)at = mr_rd_skip_nil(rd) ? 0 : mr_msg_jitter(rd);
        return;
    }
}

static void
put_jitter(struct mr_wr *wr, uint32_t jitter)
{
    if (jitter)
        mr_wr_uint(wr, mr_jitter_percent(jitter));
    else
        mr_wr_nil(wr);
}

static void
put_field(struct mr_wr *wr, const struct field *field, const void *from)
{
    const char *at = (const char *)from + field->offset;
    mr_wr_str(wr, mr_span_str(field->key));
    switch (field->type) {
    case FIELD_U32:
    case FIELD_FACTOR:
        mr_wr_uint(wr, *(const uint32_t *)(const void *)at);
        return;
    case FIELD_JITTER:
        put_jitter(wr, *(const uint32_t *)(const void *)at);
        return;
    case FIELD_U64:
        mr_wr_uint(wr, *(const uint64_t *)(const void *)at);
        return;
    case FIELD_TIME:
        mr_wr_int(wr, *(const int64_t *)(const void *)at);
        return;
    case FIELD_UUID:
        mr_msg_put_uuid(wr, *(const struct mr_uuid *)(const void *)at);
        return;
    case FIELD_TEXT:
    case FIELD_NAME:
        mr_wr_str(wr, *(const struct mr_span *)(const void *)at);
        return;
    case FIELD_BOOL:
        mr_wr_bool(wr, *(const bool *)(const void *)at);
        return;
    }
}

/* Take the value of `key` into the struct if it is one of the fields; false if it is not. */
static bool
get_known(struct mr_rd *rd, struct mr_span key, const struct field *fields, size_t count,
    void *into)
{
    for (size_t i = 0; i < count; i++) {
        if (mr_span_is(key, fields[i].key)) {
            get_field(rd, &fields[i], into);
            return true;
        }
    }
    return false;
}

static void
put_fields(struct mr_wr *wr, const struct field *fields, size_t count, const void *from)
{
    for (size_t i = 0; i < count; i++)
        put_field(wr, &fields[i], from);
}

enum mr_status
mr_get_hello(const struct mr_msg *msg, struct mr_hello *out)
{
    uint32_t fields;
    struct mr_rd rd = mr_msg_body(msg, MR_HELLO, 1, &fields);
    uint32_t role = 0;

    *out = (struct mr_hello){.proto_min = 0};
    for (uint32_t pairs = mr_rd_map(&rd, KEYS_MAX); pairs > 0; pairs--) {
        struct mr_span key = mr_rd_str(&rd, MR_NAME_BYTES_MAX);
        if (mr_span_is(key, "kinds")) {
            out->offers = mr_rd_array(&rd, MR_KINDS_PER_WORKER_MAX);
            out->offers_rd = rd;
            mr_rd_skip_n(&rd, out->offers);
        } else if (mr_span_is(key, "role")) {
            role = (uint32_t)mr_rd_uint(&rd, UINT32_MAX);
        } else if (!get_known(&rd, key, hello_fields, COUNT_OF(hello_fields), out)) {
            mr_rd_skip(&rd);
        }
    }
    if (rd.status != MR_OK)
        return rd.status;
    if (role != MR_ROLE_CLIENT && role != MR_ROLE_WORKER)
        return MR_MALFORMED;
    out->role = (enum mr_role)role;
    return out->proto_min >= 1 && out->proto_max >= out->proto_min ? MR_OK : MR_MALFORMED;
}

enum mr_status
mr_get_offer(struct mr_hello *hello, struct mr_offer *out)
{
    struct mr_rd *rd = &hello->offers_rd;
    MR_ASSERT(hello->offers > 0);
    hello->offers--;
    *out = (struct mr_offer){.running_max = 0};
    for (uint32_t pairs = mr_rd_map(rd, KEYS_MAX); pairs > 0; pairs--) {
        struct mr_span key = mr_rd_str(rd, MR_NAME_BYTES_MAX);
        if (!get_known(rd, key, offer_fields, COUNT_OF(offer_fields), out))
            mr_rd_skip(rd);
    }
    if (rd->status == MR_OK && out->kind.n == 0)
        rd->status = MR_MALFORMED;
    return rd->status;
}

void
mr_put_hello(struct mr_wr *wr, uint64_t corr, const struct mr_hello *hello,
    const struct mr_offer *offers)
{
    _Static_assert(sizeof hello->role == sizeof(uint32_t), "role is written as a number");
    mr_msg_begin(wr, MR_HELLO, corr, 1);
    mr_wr_map(wr, (uint32_t)COUNT_OF(hello_fields) + 1);
    put_fields(wr, hello_fields, COUNT_OF(hello_fields), hello);
    mr_wr_str(wr, mr_span_str("kinds"));
    mr_wr_array(wr, hello->offers);
    for (uint32_t i = 0; i < hello->offers; i++) {
        mr_wr_map(wr, (uint32_t)COUNT_OF(offer_fields));
        put_fields(wr, offer_fields, COUNT_OF(offer_fields), &offers[i]);
    }
}

enum mr_status
mr_get_welcome(const struct mr_msg *msg, struct mr_welcome *out)
{
    uint32_t fields;
    struct mr_rd rd = mr_msg_body(msg, MR_WELCOME, 1, &fields);
    *out = (struct mr_welcome){.proto = 0};
    for (uint32_t pairs = mr_rd_map(&rd, KEYS_MAX); pairs > 0; pairs--) {
        struct mr_span key = mr_rd_str(&rd, MR_NAME_BYTES_MAX);
        if (!get_known(&rd, key, welcome_fields, COUNT_OF(welcome_fields), out))
            mr_rd_skip(&rd);
    }
    return rd.status;
}

void
mr_put_welcome(struct mr_wr *wr, uint64_t corr, const struct mr_welcome *welcome)
{
    mr_msg_begin(wr, MR_WELCOME, corr, 1);
    mr_wr_map(wr, (uint32_t)COUNT_OF(welcome_fields));
    put_fields(wr, welcome_fields, COUNT_OF(welcome_fields), welcome);
}
