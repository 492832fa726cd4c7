/*
 * Any bytes as a frame: the envelope is taken if, and only if, msgpack-c sees one array of 2 to 15
 * elements in it, of which the first is a verb's number and the second one that is not
 * negative; and its fields can be passed one by one up to the last byte.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/support/pack_judge.h"

#include "schemas/wire/msg.h"

const char *const fuzz_seeds[] = {"schemas/wire/vectors/frame_bad.txt",
    "schemas/wire/vectors/hello_good.txt", "schemas/wire/vectors/submit_good.txt",
    "schemas/wire/vectors/ping_good.txt", "schemas/wire/vectors/call_good.txt", NULL};

static bool
is_envelope(const msgpack_object *root)
{
    const msgpack_object_array *array = &root->via.array;

    return root->type == MSGPACK_OBJECT_ARRAY && array->size >= 2 && array->size <= 15 &&
           array->ptr[0].type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
           array->ptr[0].via.u64 < MR_VERB_COUNT &&
           array->ptr[1].type == MSGPACK_OBJECT_POSITIVE_INTEGER;
}

static void
pass_fields(const struct mr_msg *msg)
{
    struct mr_rd raw = msg->body, skip = msg->body;

    for (uint32_t i = 0; i < msg->fields; i++) {
        const uint8_t *from = raw.p;
        struct mr_span field = mr_rd_raw(&raw);

        mr_rd_skip(&skip);
        MR_ASSERT(field.p == from && field.n > 0 && raw.p == skip.p);
    }
    MR_ASSERT(raw.status == MR_OK && skip.status == MR_OK && raw.p == raw.end);
    MR_ASSERT(mr_rd_peek(&raw) == MR_PACK_END);
    mr_rd_skip(&raw);
    MR_ASSERT(raw.status == MR_MALFORMED);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct mr_span frame = mr_span(bytes, n);
    struct mr_msg msg;
    enum mr_status status = mr_msg_open(frame, &msg);
    struct judged judged = judge(frame, MR_DEPTH_MAX);

    if (status == MR_OK)
        pass_fields(&msg);
    MR_ASSERT((status == MR_OK) == (judged.status == MR_OK && is_envelope(&judged.root)));
    if (status == MR_OK)
        MR_ASSERT((uint64_t)msg.verb == judged.root.via.array.ptr[0].via.u64 &&
                  msg.corr == judged.root.via.array.ptr[1].via.u64 &&
                  msg.fields + 2 == judged.root.via.array.size);
    return 0;
}
