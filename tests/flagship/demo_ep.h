/*
 * The fan-out beside the replay: NPB EP, class S (2^24 pairs in 256 blocks) as one calc.ep_run
 * job that submits the blocks and the job that gathers them. The counts must be the published
 * ones. Its completions come to whoever runs the client's loop.
 */
#ifndef MR_FLAGSHIP_DEMO_EP_H
#define MR_FLAGSHIP_DEMO_EP_H

#include <stdbool.h>
#include <stdint.h>

#include "client/millrace.h"

enum mr_demo_ep_state {
    MR_DEMO_EP_IDLE,
    MR_DEMO_EP_RUNS,    /* the blocks are being submitted */
    MR_DEMO_EP_ARRIVES, /* they are, the gathering job is not known to the broker yet */
    MR_DEMO_EP_GATHERS,
    MR_DEMO_EP_RIGHT,
    MR_DEMO_EP_WRONG,
};

struct mr_demo_ep {
    enum mr_demo_ep_state state;
    struct millrace_id sum;
    int64_t began_us, ended_us, again_us;
    int64_t pairs;
    char why[512]; /* of WRONG */
};

/* Submit it. Its completions carry `ep` as their tag. */
void mr_demo_ep_start(struct mr_demo_ep *ep, struct millrace *mr);
void mr_demo_ep_on_completion(struct mr_demo_ep *ep, struct millrace *mr,
    const struct millrace_completion *completion);
/* To be called from time to time. */
void mr_demo_ep_tick(struct mr_demo_ep *ep, struct millrace *mr);
bool mr_demo_ep_is_over(const struct mr_demo_ep *ep);

#endif
