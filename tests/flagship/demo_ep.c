#include "tests/flagship/demo_ep.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "schemas/base/clock.h"
#include "schemas/wire/pack.h"

enum { LOG2_PAIRS = 24, BLOCKS = 256, WAIT_MS = 60000, AGAIN_US = 100000, RINGS = 10 };
enum { KEYS_MAX = 32, KEY_BYTES_MAX = 64 };

/* NAS Parallel Benchmarks, EP class S: pairs in each ring; and all that were accepted. */
static const int64_t published[RINGS] = {6140517, 5865300, 1100361, 68546, 1648, 17};
static const int64_t published_pairs = 13176389;

static void
wrong(struct mr_demo_ep *ep, const char *why)
{
    ep->state = MR_DEMO_EP_WRONG;
    ep->ended_us = mr_clock_now().mono_us;
    snprintf(ep->why, sizeof ep->why, "%s", why);
}

void
mr_demo_ep_start(struct mr_demo_ep *ep, struct millrace *mr)
{
    struct millrace_pack args = {.bytes = NULL};
    struct millrace_error error;
    struct millrace_job job;

    *ep =
        (struct mr_demo_ep){.state = MR_DEMO_EP_RUNS, .began_us = mr_clock_now().mono_us};
    millrace_pack_map(&args, 2);
    millrace_pack_str(&args, "m");
    millrace_pack_int(&args, LOG2_PAIRS);
    millrace_pack_str(&args, "blocks");
    millrace_pack_int(&args, BLOCKS);
    millrace_job_init(&job, "calc.ep_run");
    job.args = args.bytes;
    job.args_bytes = args.n;
    if (args.code)
        wrong(ep, millrace_strerror(args.code));
    else if (millrace_submit_start(
                 mr, &job, MILLRACE_UNTIL_FINISHED, WAIT_MS, ep, &error))
        wrong(ep, error.why);
    millrace_pack_free(&args);
}

static void
gather(struct mr_demo_ep *ep, struct millrace *mr)
{
    struct millrace_error error;

    ep->state = MR_DEMO_EP_GATHERS;
    if (millrace_wait_start(mr, &ep->sum, WAIT_MS, ep, &error))
        wrong(ep, error.why);
}

static void
on_run(struct mr_demo_ep *ep, struct millrace *mr, const struct millrace_result *result)
{
    char text[MILLRACE_ID_TEXT];
    const char *sum;
    size_t n;

    if (!millrace_get_str(result->body, result->body_bytes, "sum", &sum, &n) ||
        n != sizeof text - 1) {
        wrong(ep, "calc.ep_run did not name the job that gathers");
        return;
    }
    memcpy(text, sum, n);
    text[n] = '\0';
    if (millrace_id_parse(text, &ep->sum))
        wrong(ep, "calc.ep_run named something that is no job");
    else
        gather(ep, mr);
}

/* The array `counts` of the result's map. */
static bool
read_counts(const struct millrace_result *result, int64_t counts[RINGS])
{
    struct mr_rd rd = mr_rd_open(mr_span(result->body, result->body_bytes));
    uint32_t pairs = mr_rd_map(&rd, KEYS_MAX), items;

    for (uint32_t i = 0; i < pairs && !rd.status; i++) {
        if (!mr_span_is(mr_rd_str(&rd, KEY_BYTES_MAX), "counts")) {
            mr_rd_skip(&rd);
            continue;
        }
        items = mr_rd_array(&rd, RINGS);
        for (uint32_t k = 0; k < items; k++)
            counts[k] = mr_rd_int(&rd);
        return items == RINGS && !rd.status;
    }
    return false;
}

static void
on_sum(struct mr_demo_ep *ep, const struct millrace_result *result)
{
    int64_t counts[RINGS] = {0};

    if (!read_counts(result, counts) ||
        !millrace_get_int(result->body, result->body_bytes, "pairs", &ep->pairs)) {
        wrong(ep, "the gathered result has no counts");
        return;
    }
    for (int i = 0; i < RINGS; i++) {
        if (counts[i] != published[i]) {
            wrong(ep, "the counts are not the published ones");
            snprintf(ep->why, sizeof ep->why,
                "ring %d has %" PRId64 " pairs, published are %" PRId64, i, counts[i],
                published[i]);
            return;
        }
    }
    if (ep->pairs != published_pairs) {
        wrong(ep, "the number of accepted pairs is not the published one");
        return;
    }
    ep->state = MR_DEMO_EP_RIGHT;
    ep->ended_us = mr_clock_now().mono_us;
}

void
mr_demo_ep_on_completion(struct mr_demo_ep *ep, struct millrace *mr,
    const struct millrace_completion *completion)
{
    bool is_waiting = ep->state == MR_DEMO_EP_GATHERS;

    /* Its row is in the inbox, the doorbell is still ringing. */
    if (is_waiting && completion->code == MILLRACE_NO_JOB &&
        mr_clock_now().mono_us - ep->began_us < WAIT_MS * INT64_C(1000)) {
        ep->state = MR_DEMO_EP_ARRIVES;
        ep->again_us = mr_clock_now().mono_us + AGAIN_US;
    } else if (completion->code != MILLRACE_OK) {
        wrong(ep, completion->error.why);
    } else if (completion->result.outcome != MILLRACE_SUCCEEDED) {
        wrong(ep, completion->result.text ? completion->result.text : "the job failed");
    } else if (is_waiting) {
        on_sum(ep, &completion->result);
    } else {
        on_run(ep, mr, &completion->result);
    }
}

void
mr_demo_ep_tick(struct mr_demo_ep *ep, struct millrace *mr)
{
    if (ep->state == MR_DEMO_EP_ARRIVES && mr_clock_now().mono_us >= ep->again_us)
        gather(ep, mr);
}

bool
mr_demo_ep_is_over(const struct mr_demo_ep *ep)
{
    return ep->state == MR_DEMO_EP_IDLE || ep->state == MR_DEMO_EP_RIGHT ||
           ep->state == MR_DEMO_EP_WRONG;
}
