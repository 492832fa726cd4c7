/*
 * Any bytes as arguments: the scanner's verdict and msgpack-c's agree, and every accessor can
 * be asked for every key.
 */
#include <msgpack.h>

#include "tests/fuzz/fuzz.h"

#include "schemas/wire/body.h"
#include "schemas/wire/limits.h"
#include "schemas/wire/pack.h"

const char *const fuzz_seeds[] = {"schemas/wire/vectors/submit_good.txt",
    "schemas/wire/vectors/hello_good.txt", "schemas/wire/vectors/reply_good.txt", NULL};

static void
ask_for(const struct mr_body *body, const char *key)
{
    int64_t whole;
    double real;
    bool flag;
    struct mr_span text;
    uint32_t count = 0;
    int answers = mr_body_int(body, key, &whole) + mr_body_bool(body, key, &flag) +
                  mr_body_str(body, key, &text) + mr_body_array(body, key, &count);

    MR_ASSERT(answers <= 1);
    MR_ASSERT(answers == 0 || mr_body_has(body, key));
    MR_ASSERT(!mr_body_int(body, key, &whole) || mr_body_double(body, key, &real));
    for (uint32_t i = 0; i < count; i++)
        MR_ASSERT(mr_body_array_int(body, key, i, &whole) +
                      mr_body_array_str(body, key, i, &text) <=
                  1);
    MR_ASSERT(!mr_body_array_int(body, key, count, &whole));
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static struct mr_body *body;
    struct mr_span in = mr_span(bytes, n);
    enum mr_status scanned = mr_pack_scan(in, MR_PAYLOAD_DEPTH_MAX);

    if (!body)
        MR_ASSERT(mr_body_new(&body) == MR_OK);
    enum mr_status status = mr_body_decode(body, in);
    MR_ASSERT(status == (n == 0 ? MR_OK : scanned));
    struct mr_rd rd = mr_rd_open(in);
    mr_rd_skip(&rd);
    MR_ASSERT(scanned != MR_OK || (rd.status == MR_OK && rd.p == rd.end));
    ask_for(body, "a");
    ask_for(body, "");
    ask_for(body, "id");
    const msgpack_object *root = mr_body_root(body);
    MR_ASSERT(status == MR_OK || root->type == MSGPACK_OBJECT_NIL);
    return 0;
}
