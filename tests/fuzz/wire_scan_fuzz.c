/* Any bytes: the scanner's verdict is that of msgpack-c, at the depth of an envelope and at that
 * of a payload. */
#include "tests/fuzz/fuzz.h"
#include "tests/support/pack_judge.h"

#include "schemas/wire/limits.h"
#include "schemas/wire/pack.h"

const char *const fuzz_seeds[] = {"schemas/wire/vectors/frame_bad.txt",
    "schemas/wire/vectors/submit_good.txt", "schemas/wire/vectors/hello_good.txt",
    "schemas/wire/vectors/event_good.txt", "schemas/wire/vectors/reply_good.txt", NULL};

static void
compare(struct mr_span bytes, unsigned depth_max)
{
    enum mr_status scanned = mr_pack_scan(bytes, depth_max);
    struct judged judged = judge(bytes, depth_max);

    /* What is too deep and broken behind that may be called either. */
    MR_ASSERT((scanned == MR_OK) == (judged.status == MR_OK));
    MR_ASSERT(judged.status != MR_TOO_BIG || scanned == MR_TOO_BIG);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct mr_span in = mr_span(bytes, n);
    enum mr_status flat = mr_pack_scan(in, 1),
                   deep = mr_pack_scan(in, MR_PAYLOAD_DEPTH_MAX);

    MR_ASSERT(deep == MR_OK || flat != MR_OK);
    compare(in, MR_DEPTH_MAX);
    compare(in, MR_PAYLOAD_DEPTH_MAX);
    return 0;
}
