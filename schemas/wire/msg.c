#include "schemas/wire/msg.h"

#include "schemas/wire/msg_priv.h"

#define FIELDS_MAX 15u
#define ITEM_FIELDS_MAX 31u
#define CALL_ARGS_MAX 32u
#define TEXT_BYTES_MAX MR_ERROR_BYTES_MAX

static const char *const verb_names[MR_VERB_COUNT] = {"HELLO", "WELCOME", "PING", "BYE",
    "ERROR", "SUBMIT", "ACK", "WATCH", "EVENT", "CREDIT", "JOBS", "DONE", "BEAT",
    "REVOKE", "CALL", "REPLY"};

const char *
mr_verb_name(enum mr_verb verb)
{
    return (unsigned)verb < MR_VERB_COUNT ? verb_names[verb] : "?";
}

const char *
mr_outcome_name(enum mr_outcome outcome)
{
    static const char *const names[] = {"succeeded", "failed", "cancelled", "expired"};
    return outcome >= MR_SUCCEEDED && outcome <= MR_OUT_EXPIRED ? names[outcome - 1]
                                                                : "?";
}

enum mr_status
mr_msg_open(struct mr_span frame, struct mr_msg *out)
{
    *out = (struct mr_msg){.verb = MR_HELLO};
    if (frame.n > MR_MESSAGE_BYTES_MAX)
        return MR_TOO_BIG;
    enum mr_status status = mr_pack_scan(frame, MR_DEPTH_MAX);
    if (status != MR_OK)
        return status;
    struct mr_rd rd = mr_rd_open(frame);
    uint32_t fields = mr_rd_array(&rd, FIELDS_MAX);
    uint64_t verb = mr_rd_uint(&rd, MR_VERB_COUNT - 1);
    out->corr = mr_rd_uint(&rd, UINT64_MAX);
    if (rd.status != MR_OK || fields < 2)
        return MR_MALFORMED;
    out->verb = (enum mr_verb)verb;
    out->fields = fields - 2;
    out->body = rd;
    return MR_OK;
}

struct mr_rd
mr_msg_body(const struct mr_msg *msg, enum mr_verb verb, uint32_t least, uint32_t *fields)
{
    struct mr_rd rd = msg->body;
    MR_ASSERT(msg->verb == verb);
    if (msg->fields < least)
        rd.status = MR_MALFORMED;
    *fields = msg->fields;
    return rd;
}

struct mr_span
mr_msg_name(struct mr_rd *rd)
{
    struct mr_span name = mr_rd_str(rd, MR_NAME_BYTES_MAX);
    bool good = name.n > 0;
    for (size_t i = 0; i < name.n; i++)
        good = good && name.p[i] > 0x20 && name.p[i] < 0x7f;
    if (!good && rd->status == MR_OK)
        rd->status = MR_MALFORMED;
    return name;
}

struct mr_uuid
mr_msg_uuid(struct mr_rd *rd)
{
    struct mr_uuid id = {{0}};
    struct mr_span bytes = mr_rd_bin(rd, MR_MESSAGE_BYTES_MAX);
    if (rd->status == MR_OK && bytes.n != sizeof id.b)
        rd->status = MR_MALFORMED;
    if (rd->status == MR_OK)
        memcpy(id.b, bytes.p, sizeof id.b);
    return id;
}

int64_t
mr_msg_time(struct mr_rd *rd)
{
    return (int64_t)mr_rd_uint(rd, INT64_MAX);
}

uint32_t
mr_msg_factor(struct mr_rd *rd)
{
    uint32_t percent = (uint32_t)mr_rd_uint(rd, MR_BACKOFF_FACTOR_MAX);

    if (rd->status == MR_OK && percent && percent < MR_BACKOFF_FACTOR_MIN)
        rd->status = MR_MALFORMED;
    return percent;
}

uint32_t
mr_msg_jitter(struct mr_rd *rd)
{
    return mr_jitter_of((uint32_t)mr_rd_uint(rd, MR_BACKOFF_JITTER_MAX));
}

uint32_t
mr_msg_item(struct mr_rd *rd, uint32_t least)
{
    uint32_t fields = mr_rd_array(rd, ITEM_FIELDS_MAX);
    if (rd->status == MR_OK && fields < least)
        rd->status = MR_MALFORMED;
    return fields;
}

void
mr_msg_item_end(struct mr_rd *rd, uint32_t fields, uint32_t taken)
{
    if (fields > taken)
        mr_rd_skip_n(rd, fields - taken);
}

void
mr_msg_begin(struct mr_wr *wr, enum mr_verb verb, uint64_t corr, uint32_t fields)
{
    mr_wr_array(wr, fields + 2);
    mr_wr_uint(wr, (uint64_t)verb);
    mr_wr_uint(wr, corr);
}

void
mr_msg_put_uuid(struct mr_wr *wr, struct mr_uuid id)
{
    mr_wr_bin(wr, mr_span(id.b, sizeof id.b));
}

enum mr_status
mr_msg_get_list(const struct mr_msg *msg, enum mr_verb verb, uint32_t max,
    uint32_t *count, struct mr_rd *items)
{
    uint32_t fields;
    *items = mr_msg_body(msg, verb, 1, &fields);
    *count = mr_rd_array(items, max);
    return items->status;
}

size_t
mr_msg_put_list(struct mr_wr *wr, enum mr_verb verb, uint64_t corr)
{
    mr_msg_begin(wr, verb, corr, 1);
    return mr_wr_array_open(wr);
}

/* ---- PING, BYE, ERROR ------------------------------------------------------------------- */

enum mr_status
mr_get_ping(const struct mr_msg *msg, bool *ask)
{
    uint32_t fields;
    struct mr_rd rd = mr_msg_body(msg, MR_PING, 0, &fields);
    *ask = fields > 0 && mr_rd_bool(&rd);
    return rd.status;
}

void
mr_put_ping(struct mr_wr *wr, uint64_t corr, bool ask)
{
    mr_msg_begin(wr, MR_PING, corr, 1);
    mr_wr_bool(wr, ask);
}

enum mr_status
mr_get_bye(const struct mr_msg *msg, struct mr_span *reason, uint32_t *flags)
{
    uint32_t fields;
    struct mr_rd rd = mr_msg_body(msg, MR_BYE, 0, &fields);
    *reason = fields > 0 ? mr_rd_str(&rd, TEXT_BYTES_MAX) : MR_SPAN_NONE;
    *flags = fields > 1 ? (uint32_t)mr_rd_uint(&rd, UINT32_MAX) : 0;
    return rd.status;
}

void
mr_put_bye(struct mr_wr *wr, uint64_t corr, struct mr_span reason, uint32_t flags)
{
    mr_msg_begin(wr, MR_BYE, corr, flags ? 2 : 1);
    mr_wr_str(wr, reason);
    if (flags)
        mr_wr_uint(wr, flags);
}

static enum mr_status
get_code(struct mr_rd *rd)
{
    uint64_t code = mr_rd_uint(rd, UINT16_MAX);
    return mr_status_is_known((long)code) ? (enum mr_status)code : MR_INTERNAL;
}

enum mr_status
mr_get_error(const struct mr_msg *msg, struct mr_error *out)
{
    uint32_t fields;
    struct mr_rd rd = mr_msg_body(msg, MR_ERROR, 1, &fields);
    *out = (struct mr_error){.code = get_code(&rd)};
    if (fields > 1)
        out->text = mr_rd_str(&rd, TEXT_BYTES_MAX);
    if (fields > 2)
        out->retry_after_ms = (uint32_t)mr_rd_uint(&rd, UINT32_MAX);
    return rd.status;
}

void
mr_put_error(struct mr_wr *wr, uint64_t corr, const struct mr_error *error)
{
    mr_msg_begin(wr, MR_ERROR, corr, 3);
    mr_wr_uint(wr, (uint64_t)error->code);
    mr_wr_str(wr, error->text);
    mr_wr_uint(wr, error->retry_after_ms);
}

/* ---- CALL, REPLY -------------------------------------------------------------------------- */

enum mr_status
mr_get_call(const struct mr_msg *msg, struct mr_call *out)
{
    uint32_t fields;
    struct mr_rd rd = mr_msg_body(msg, MR_CALL, 2, &fields);
    out->method = mr_msg_name(&rd);
    out->args = rd;
    (void)mr_rd_map(&rd, CALL_ARGS_MAX);
    return rd.status;
}

void
mr_put_call_open(struct mr_wr *wr, uint64_t corr, const char *method)
{
    mr_msg_begin(wr, MR_CALL, corr, 2);
    mr_wr_str(wr, mr_span_str(method));
}

enum mr_status
mr_get_reply(const struct mr_msg *msg, struct mr_reply *out)
{
    uint32_t fields;
    struct mr_rd rd = mr_msg_body(msg, MR_REPLY, 3, &fields);
    out->code = get_code(&rd);
    out->text = mr_rd_str(&rd, TEXT_BYTES_MAX);
    out->result = mr_rd_raw(&rd);
    return rd.status;
}

void
mr_put_reply_open(
    struct mr_wr *wr, uint64_t corr, enum mr_status code, struct mr_span text)
{
    mr_msg_begin(wr, MR_REPLY, corr, 3);
    mr_wr_uint(wr, (uint64_t)code);
    mr_wr_str(wr, text);
}
