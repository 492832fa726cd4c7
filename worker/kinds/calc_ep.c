#include "worker/kinds/args.h"
#include "worker/kinds/ep.h"
#include "worker/kinds/kinds.h"

enum { PAIRS_LOG_MAX = 28, BLOCKS_MAX = 1 << 20 };

static bool
is_cancelled(const void *job)
{
    return millrace_is_cancelled(job);
}

static void
put(struct millrace_job *job, const struct mr_ep *ep, int64_t k)
{
    millrace_put_map(job, 5);
    millrace_put_str(job, "k");
    millrace_put_int(job, k);
    millrace_put_str(job, "pairs");
    millrace_put_int(job, ep->pairs);
    millrace_put_str(job, "sx");
    millrace_put_double(job, ep->sx);
    millrace_put_str(job, "sy");
    millrace_put_double(job, ep->sy);
    millrace_put_str(job, "counts");
    millrace_put_array(job, MR_EP_RINGS);
    for (int i = 0; i < MR_EP_RINGS; i++)
        millrace_put_int(job, ep->counts[i]);
}

static enum millrace_answer
run(struct millrace_job *job)
{
    int64_t m, k, blocks;
    struct mr_ep ep;

    if (!mr_args_int(job, "m", 24, 1, 40, &m) ||
        !mr_args_int(job, "blocks", 256, 1, BLOCKS_MAX, &blocks) ||
        !mr_args_int(job, "k", 0, 0, blocks - 1, &k))
        return MILLRACE_FAILED_FOR_GOOD;
    if ((blocks & (blocks - 1)) != 0 || blocks > INT64_C(1) << m ||
        (INT64_C(1) << m) / blocks > INT64_C(1) << PAIRS_LOG_MAX)
        return millrace_fail_for_good(job,
            "\"blocks\" must be a power of two, at most 2^m, with at most 2^%d pairs in "
            "each",
            PAIRS_LOG_MAX);
    if (!mr_ep_block((unsigned)m, (uint64_t)k, (uint64_t)blocks, is_cancelled, job, &ep))
        return millrace_fail(job, "told to stop");
    put(job, &ep, k);
    return MILLRACE_SUCCEEDED;
}

const struct millrace_kind mr_kind_calc_ep = {
    .name = "calc.ep",
    .help = "{\"m\":24,\"k\":0,\"blocks\":256} -> {k,pairs,sx,sy,counts}; one block of "
            "NPB EP",
    .run = run,
};
