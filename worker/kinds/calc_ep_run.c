#include "worker/kinds/args.h"
#include "worker/kinds/kinds.h"

#include <stdio.h>

/* The fan-out: all blocks and the one job that gathers them, or none. */

enum { BLOCKS_MAX = 1024, ID_TEXT = 37 };

static bool
submit_block(struct millrace_job *job, int64_t m, int64_t k, int64_t blocks, char *id)
{
    struct millrace_follow_up block = {
        .kind = "calc.ep", .priority = MILLRACE_PRIORITY_DEFAULT};
    struct millrace_pack *pack = millrace_pack_new(job);
    char label[32];

    millrace_pack_map(pack, 3);
    millrace_pack_str(pack, "m");
    millrace_pack_int(pack, m);
    millrace_pack_str(pack, "k");
    millrace_pack_int(pack, k);
    millrace_pack_str(pack, "blocks");
    millrace_pack_int(pack, blocks);
    block.payload = millrace_pack_bytes(pack, &block.payload_bytes);
    snprintf(label, sizeof label, "block-%lld", (long long)k);
    return block.payload && millrace_submit(job, label, &block, id);
}

static enum millrace_answer
run(struct millrace_job *job)
{
    struct millrace_follow_up sum = {
        .kind = "calc.ep_sum", .priority = MILLRACE_PRIORITY_DEFAULT, .delay_ms = 100};
    struct millrace_pack *pack = millrace_pack_new(job);
    char id[ID_TEXT];
    int64_t m, blocks;

    if (!mr_args_int(job, "m", 24, 1, 40, &m) ||
        !mr_args_int(job, "blocks", 256, 1, BLOCKS_MAX, &blocks))
        return MILLRACE_FAILED_FOR_GOOD;
    millrace_pack_map(pack, 1);
    millrace_pack_str(pack, "blocks");
    millrace_pack_array(pack, (uint32_t)blocks);
    for (int64_t k = 0; k < blocks; k++) {
        if (!submit_block(job, m, k, blocks, id))
            return millrace_sql_failed(job);
        millrace_pack_str(pack, id);
    }
    sum.payload = millrace_pack_bytes(pack, &sum.payload_bytes);
    if (!sum.payload || !millrace_submit(job, "sum", &sum, id))
        return millrace_sql_failed(job);
    millrace_put_map(job, 1);
    millrace_put_str(job, "sum");
    millrace_put_str(job, id);
    return MILLRACE_SUCCEEDED;
}

const struct millrace_kind mr_kind_calc_ep_run = {
    .name = "calc.ep_run",
    .help = "{\"m\":24,\"blocks\":256} -> {sum: id of the calc.ep_sum job that gathers "
            "the blocks}",
    .run = run,
    .is_transactional = true,
};
