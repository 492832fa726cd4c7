#include "broker/call_args.h"

#include <string.h>

#define ARGS_MAX 32u
#define LIST_MAX 1000u

bool
mr_call_args_id(struct mr_rd *rd, struct mr_uuid *id)
{
    struct mr_span bytes;

    if (mr_rd_peek(rd) == MR_PACK_STR) {
        bytes = mr_rd_str(rd, MR_UUID_TEXT_MAX);
        return mr_uuid_parse(bytes, id) == MR_OK;
    }
    bytes = mr_rd_bin(rd, sizeof id->b);
    if (bytes.n != sizeof id->b)
        return false;
    memcpy(id->b, bytes.p, sizeof id->b);
    return true;
}

static void
read_ids(struct mr_rd *rd, struct mr_call_args *args)
{
    args->id_count = mr_rd_array(rd, MR_REDRIVE_MAX);
    args->ids = *rd;
    mr_rd_skip_n(rd, args->id_count);
}

static void
read_one(struct mr_rd *rd, struct mr_span key, struct mr_call_args *args)
{
    if (mr_span_is(key, "id"))
        args->has_id = mr_call_args_id(rd, &args->id);
    else if (mr_span_is(key, "ids"))
        read_ids(rd, args);
    else if (mr_span_is(key, "as"))
        args->has_as = mr_call_args_id(rd, &args->resealed.as);
    else if (mr_span_is(key, "payload"))
        args->resealed.payload = mr_rd_bin(rd, MR_PAYLOAD_BYTES_MAX);
    else if (mr_span_is(key, "queue"))
        args->queue = mr_rd_str(rd, MR_NAME_BYTES_MAX);
    else if (mr_span_is(key, "kind"))
        args->kind = mr_rd_str(rd, MR_NAME_BYTES_MAX);
    else if (mr_span_is(key, "state"))
        args->state = mr_rd_str(rd, MR_NAME_BYTES_MAX);
    else if (mr_span_is(key, "reason"))
        args->reason = mr_rd_str(rd, MR_NAME_BYTES_MAX);
    else if (mr_span_is(key, "before"))
        args->has_before = mr_call_args_id(rd, &args->before);
    else if (mr_span_is(key, "with_redriven"))
        args->with_redriven = mr_rd_bool(rd);
    else if (mr_span_is(key, "with_history"))
        args->with_history = mr_rd_bool(rd);
    else if (mr_span_is(key, "worker"))
        args->worker = mr_rd_str(rd, MR_NAME_BYTES_MAX);
    else if (mr_span_is(key, "since_us"))
        args->since_us = mr_rd_int(rd);
    else if (mr_span_is(key, "until_us"))
        args->until_us = mr_rd_int(rd);
    else if (mr_span_is(key, "limit"))
        args->limit = (uint32_t)mr_rd_uint(rd, LIST_MAX);
    else
        mr_rd_skip(rd);
}

enum mr_status
mr_call_args_read(struct mr_rd *rd, struct mr_call_args *args)
{
    uint32_t count;

    *args = (struct mr_call_args){.limit = MR_CALL_LIST_DEFAULT};
    if (mr_rd_skip_nil(rd))
        return MR_OK;
    count = mr_rd_map(rd, ARGS_MAX);
    for (uint32_t i = 0; i < count && rd->status == MR_OK; i++) {
        struct mr_span key = mr_rd_str(rd, MR_NAME_BYTES_MAX);

        if (mr_rd_skip_nil(rd))
            continue; /* not given */
        read_one(rd, key, args);
    }
    return rd->status;
}
