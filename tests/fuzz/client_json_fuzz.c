/*
 * Any bytes as JSON, and as msgpack. What is taken as JSON comes back from msgpack as the same
 * bytes of msgpack, also when it is written as text in between; what is taken as msgpack is
 * shown as JSON that can be read.
 */
#include "tests/fuzz/fuzz.h"

#include "client/json.h"
#include "schemas/wire/limits.h"

const char *const fuzz_seeds[] = {"tests/fuzz/corpus/client_batch/examples.jsonl",
    "schemas/wire/vectors/reply_good.txt", "schemas/wire/vectors/hello_good.txt", NULL};

static struct mr_wr
pack(const json_t *value, enum mr_status *status)
{
    struct mr_err err;
    struct mr_wr wr;

    mr_wr_init(&wr, MR_PAYLOAD_BYTES_MAX);
    *status = mr_json_pack(value, &wr, &err);
    return wr;
}

/* As bytes, to JSON, to text, to JSON, to bytes. */
static void
comes_back(struct mr_span packed)
{
    json_t *shown = mr_json_unpack(packed), *read;
    char *text = shown ? json_dumps(shown, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    enum mr_status status;
    struct mr_err err;

    MR_ASSERT(text);
    MR_ASSERT(mr_json_parse(mr_span_str(text), "text", &read, &err) == MR_OK);
    struct mr_wr again = pack(read, &status);
    MR_ASSERT(status == MR_OK && mr_span_eq(mr_wr_span(&again), packed));
    mr_wr_fini(&again);
    json_decref(read);
    json_decref(shown);
    free(text);
}

static void
as_json(struct mr_span text)
{
    struct mr_err err = {.status = MR_OK};
    json_t *value;
    enum mr_status status = mr_json_parse(text, "input", &value, &err);

    if (status) {
        MR_ASSERT(!value && status == MR_MALFORMED && err.what[0] && err.why[0]);
        return;
    }
    struct mr_wr packed = pack(value, &status);
    MR_ASSERT(status == MR_OK || status == MR_MALFORMED || status == MR_TOO_BIG);
    if (status == MR_OK) {
        MR_ASSERT(mr_pack_scan(mr_wr_span(&packed), MR_PAYLOAD_DEPTH_MAX) == MR_OK);
        comes_back(mr_wr_span(&packed));
    }
    mr_wr_fini(&packed);
    json_decref(value);
}

static void
is_readable(json_t *shown)
{
    char *text = json_dumps(shown, JSON_ENCODE_ANY);
    struct mr_err err;
    json_t *read;

    MR_ASSERT(text);
    MR_ASSERT(mr_json_parse(mr_span_str(text), "shown", &read, &err) == MR_OK);
    json_decref(read);
    json_decref(shown);
    free(text);
}

/* What is unpacked within it nests twice as deep as what may be sent. */
static void
is_json(json_t *reply)
{
    char *text = json_dumps(reply, JSON_ENCODE_ANY);
    json_t *read = text ? json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;

    MR_ASSERT(read);
    json_decref(read);
    json_decref(reply);
    free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct mr_span in = mr_span(bytes, n);
    bool is_value = mr_pack_scan(in, MR_PAYLOAD_DEPTH_MAX) == MR_OK;
    json_t *shown = mr_json_unpack(in), *reply = mr_json_unpack_reply(in);

    MR_ASSERT(!shown == !is_value && !reply == !is_value);
    if (is_value) {
        is_readable(shown);
        is_json(reply);
    }
    as_json(in);
    return 0;
}
