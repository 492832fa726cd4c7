#include "client/millrace.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/base/clock.h"
#include "schemas/base/status.h"
#include "schemas/base/uuid.h"
#include "schemas/wire/limits.h"
#include "schemas/wire/msg.h"
#include "schemas/wire/pack.h"

#define PACK_BYTES_MAX (4u * 1024 * 1024)

const char *
millrace_code_name(int code)
{
    return mr_status_name((enum mr_status)code);
}

const char *
millrace_strerror(int code)
{
    return mr_status_text((enum mr_status)code);
}

int
millrace_is_retryable(int code)
{
    return mr_status_is_retryable((enum mr_status)code);
}

const char *
millrace_version(void)
{
    return MILLRACE_VERSION;
}

const char *
millrace_outcome_name(int outcome)
{
    if (outcome < MILLRACE_SUCCEEDED || outcome > MILLRACE_HAS_EXPIRED)
        return "unfinished";
    return mr_outcome_name((enum mr_outcome)outcome);
}

struct millrace_id
millrace_id_new(void)
{
    struct mr_uuid id = mr_uuid_new(mr_clock_wall_us());
    struct millrace_id out;

    memcpy(out.b, id.b, sizeof out.b);
    return out;
}

int
millrace_id_parse(const char *text, struct millrace_id *out)
{
    struct mr_uuid id;

    if (mr_uuid_parse(mr_span_str(text), &id))
        return MILLRACE_BAD_ID;
    memcpy(out->b, id.b, sizeof out->b);
    return MILLRACE_OK;
}

char *
millrace_id_format(const struct millrace_id *id, char out[MILLRACE_ID_TEXT])
{
    struct mr_uuid uuid;

    memcpy(uuid.b, id->b, sizeof uuid.b);
    return mr_uuid_format(uuid, out);
}

void
millrace_job_init(struct millrace_job *job, const char *kind)
{
    *job = (struct millrace_job){
        .id = millrace_id_new(), .kind = kind, .priority = (int)MR_PRIORITY_DEFAULT};
}

void
millrace_result_free(struct millrace_result *result)
{
    if (!result)
        return;
    free(result->body);
    free(result->text);
    *result = (struct millrace_result){.outcome = 0};
}

/* ---- msgpack -------------------------------------------------------------------------------- */

/* The public struct is a writer without its inner parts. */
static struct mr_wr
borrow(const struct millrace_pack *pack)
{
    return (struct mr_wr){.p = pack->bytes,
        .n = pack->n,
        .cap = pack->room,
        .max = PACK_BYTES_MAX,
        .status = (enum mr_status)pack->code,
        .is_owner = true};
}

static void
give_back(struct millrace_pack *pack, const struct mr_wr *wr)
{
    *pack = (struct millrace_pack){
        .bytes = wr->p, .n = wr->n, .room = wr->cap, .code = (int)wr->status};
}

void
millrace_pack_map(struct millrace_pack *pack, uint32_t pairs)
{
    struct mr_wr wr = borrow(pack);

    mr_wr_map(&wr, pairs);
    give_back(pack, &wr);
}

void
millrace_pack_array(struct millrace_pack *pack, uint32_t items)
{
    struct mr_wr wr = borrow(pack);

    mr_wr_array(&wr, items);
    give_back(pack, &wr);
}

void
millrace_pack_str(struct millrace_pack *pack, const char *text)
{
    struct mr_wr wr = borrow(pack);

    mr_wr_cstr(&wr, text);
    give_back(pack, &wr);
}

void
millrace_pack_bin(struct millrace_pack *pack, const void *bytes, size_t n)
{
    struct mr_wr wr = borrow(pack);

    mr_wr_bin(&wr, mr_span(bytes, n));
    give_back(pack, &wr);
}

void
millrace_pack_int(struct millrace_pack *pack, int64_t value)
{
    struct mr_wr wr = borrow(pack);

    mr_wr_int(&wr, value);
    give_back(pack, &wr);
}

void
millrace_pack_double(struct millrace_pack *pack, double value)
{
    struct mr_wr wr = borrow(pack);

    mr_wr_double(&wr, value);
    give_back(pack, &wr);
}

void
millrace_pack_bool(struct millrace_pack *pack, int value)
{
    struct mr_wr wr = borrow(pack);

    mr_wr_bool(&wr, value != 0);
    give_back(pack, &wr);
}

void
millrace_pack_nil(struct millrace_pack *pack)
{
    struct mr_wr wr = borrow(pack);

    mr_wr_nil(&wr);
    give_back(pack, &wr);
}

void
millrace_pack_free(struct millrace_pack *pack)
{
    struct mr_wr wr = borrow(pack);

    mr_wr_fini(&wr);
    *pack = (struct millrace_pack){.bytes = NULL};
}

/* Stands before the value of `key`; false if there is no such key. */
static bool
find_key(const void *body, size_t bytes, const char *key, struct mr_rd *rd)
{
    uint32_t pairs;

    if (mr_pack_scan(mr_span(body, bytes), MR_PAYLOAD_DEPTH_MAX))
        return false;
    *rd = mr_rd_open(mr_span(body, bytes));
    if (mr_rd_peek(rd) != MR_PACK_MAP)
        return false;
    pairs = mr_rd_map(rd, UINT32_MAX);
    for (uint32_t i = 0; i < pairs && !rd->status; i++) {
        bool is_text = mr_rd_peek(rd) == MR_PACK_STR;
        struct mr_span name = mr_rd_raw(rd);
        struct mr_rd name_rd = mr_rd_open(name);

        if (is_text && mr_span_is(mr_rd_str(&name_rd, name.n), key))
            return !rd->status;
        mr_rd_skip(rd);
    }
    return false;
}

int
millrace_get_int(const void *body, size_t bytes, const char *key, int64_t *out)
{
    struct mr_rd rd;
    enum mr_pack_type type;

    if (!find_key(body, bytes, key, &rd))
        return 0;
    type = mr_rd_peek(&rd);
    if (type != MR_PACK_UINT && type != MR_PACK_NEGATIVE)
        return 0;
    *out = mr_rd_int(&rd);
    return rd.status == MR_OK;
}

int
millrace_get_str(
    const void *body, size_t bytes, const char *key, const char **text, size_t *n)
{
    struct mr_span found;
    struct mr_rd rd;

    if (!find_key(body, bytes, key, &rd) || mr_rd_peek(&rd) != MR_PACK_STR)
        return 0;
    found = mr_rd_str(&rd, bytes);
    *text = (const char *)found.p;
    *n = found.n;
    return rd.status == MR_OK;
}
