#include "schemas/wire/msg_priv.h"

/* Keys of a job's options and of a message's defaults; see README.md. */
enum option {
    OPTION_LANE = 1,
    OPTION_PRIORITY = 2,
    OPTION_DELAY_MS = 3,
    OPTION_RUN_AT_US = 4,
    OPTION_EXPIRES_AT_US = 5,
    OPTION_TIMEOUT_MS = 6,
    OPTION_ATTEMPTS_MAX = 7,
    OPTION_BACKOFF_BASE_MS = 8,
    OPTION_BACKOFF_CAP_MS = 9,
    OPTION_TRACE = 10,
    OPTION_BACKOFF_FACTOR = 11,
    OPTION_BACKOFF_JITTER = 12,
    OPTION_REDRIVE_OF = 13,
};

#define OPTIONS_MAX 32u
#define JOB_FIELDS 4u

static void
get_option(struct mr_rd *rd, uint64_t key, struct mr_job_new *job)
{
    switch (key) {
    case OPTION_LANE:
        job->lane = mr_msg_name(rd);
        return;
    case OPTION_PRIORITY:
        job->priority = (uint8_t)mr_rd_uint(rd, MR_PRIORITY_MAX);
        return;
    case OPTION_DELAY_MS:
        job->delay_ms = (uint32_t)mr_rd_uint(rd, UINT32_MAX);
        return;
    case OPTION_RUN_AT_US:
        job->run_at_us = mr_msg_time(rd);
        return;
    case OPTION_EXPIRES_AT_US:
        job->expires_at_us = mr_msg_time(rd);
        return;
    case OPTION_TIMEOUT_MS:
        job->timeout_ms = (uint32_t)mr_rd_uint(rd, UINT32_MAX);
        return;
    case OPTION_ATTEMPTS_MAX:
        job->attempts_max = (uint32_t)mr_rd_uint(rd, MR_ATTEMPTS_MAX);
        return;
    case OPTION_BACKOFF_BASE_MS:
        job->backoff_base_ms = (uint32_t)mr_rd_uint(rd, UINT32_MAX);
        return;
    case OPTION_BACKOFF_CAP_MS:
        job->backoff_cap_ms = (uint32_t)mr_rd_uint(rd, UINT32_MAX);
        return;
    case OPTION_TRACE:
        job->trace = mr_rd_str(rd, MR_TRACE_BYTES_MAX);
        return;
    case OPTION_BACKOFF_FACTOR:
        job->backoff_factor_percent = mr_msg_factor(rd);
        return;
    case OPTION_BACKOFF_JITTER:
        job->backoff_jitter = mr_msg_jitter(rd);
        return;
    case OPTION_REDRIVE_OF:
        job->redrive_of = mr_msg_uuid(rd);
        return;
    default: /* of a later version */
        mr_rd_skip(rd);
        return;
    }
}

static void
get_options(struct mr_rd *rd, struct mr_job_new *job)
{
    if (mr_rd_skip_nil(rd))
        return;
    for (uint32_t pairs = mr_rd_map(rd, OPTIONS_MAX); pairs > 0; pairs--)
        get_option(rd, mr_rd_uint(rd, UINT64_MAX), job);
}

enum mr_status
mr_get_submit(const struct mr_msg *msg, struct mr_submit *out)
{
    uint32_t fields;
    struct mr_rd rd = mr_msg_body(msg, MR_SUBMIT, 3, &fields);

    *out = (struct mr_submit){.defaults.priority = MR_PRIORITY_DEFAULT};
    out->queue = mr_msg_name(&rd);
    out->defaults.queue = out->queue;
    out->flags = (uint32_t)mr_rd_uint(&rd, UINT32_MAX);
    out->jobs = mr_rd_array(&rd, MR_JOBS_PER_MESSAGE_MAX);
    out->rd = rd;
    if (fields > 3) { /* the defaults stand behind the jobs they are for */
        mr_rd_skip_n(&rd, out->jobs);
        get_options(&rd, &out->defaults);
    }
    return rd.status;
}

enum mr_status
mr_get_submit_job(struct mr_submit *submit, struct mr_job_new *out)
{
    struct mr_rd *rd = &submit->rd;
    MR_ASSERT(submit->jobs > 0);
    submit->jobs--;
    *out = submit->defaults;
    uint32_t fields = mr_msg_item(rd, JOB_FIELDS - 1);
    out->id = mr_msg_uuid(rd);
    out->kind = mr_msg_name(rd);
    out->payload = mr_rd_bin(rd, MR_MESSAGE_BYTES_MAX);
    if (fields >= JOB_FIELDS)
        get_options(rd, out);
    mr_msg_item_end(rd, fields, JOB_FIELDS);
    return rd->status;
}

size_t
mr_put_submit_open(struct mr_wr *wr, uint64_t corr, struct mr_span queue, uint32_t flags)
{
    mr_msg_begin(wr, MR_SUBMIT, corr, 3);
    mr_wr_str(wr, queue);
    mr_wr_uint(wr, flags);
    return mr_wr_array_open(wr);
}

static void
put_number(struct mr_wr *wr, enum option key, uint64_t v)
{
    mr_wr_uint(wr, (uint64_t)key);
    mr_wr_uint(wr, v);
}

static void
put_text(struct mr_wr *wr, enum option key, struct mr_span v)
{
    mr_wr_uint(wr, (uint64_t)key);
    mr_wr_str(wr, v);
}

static void
put_options(struct mr_wr *wr, const struct mr_job_new *job)
{
    const struct {
        enum option key;
        uint64_t v;
    } numbers[] = {{OPTION_DELAY_MS, job->delay_ms},
        {OPTION_RUN_AT_US, (uint64_t)job->run_at_us},
        {OPTION_EXPIRES_AT_US, (uint64_t)job->expires_at_us},
        {OPTION_TIMEOUT_MS, job->timeout_ms}, {OPTION_ATTEMPTS_MAX, job->attempts_max},
        {OPTION_BACKOFF_BASE_MS, job->backoff_base_ms},
        {OPTION_BACKOFF_CAP_MS, job->backoff_cap_ms},
        {OPTION_BACKOFF_FACTOR, job->backoff_factor_percent}};
    const uint32_t count = sizeof numbers / sizeof *numbers;
    bool has_priority = job->priority != MR_PRIORITY_DEFAULT;
    uint32_t pairs = (job->lane.n > 0 ? 1u : 0u) + (job->trace.n > 0 ? 1u : 0u) +
                     (has_priority ? 1u : 0u) + (job->backoff_jitter ? 1u : 0u) +
                     (mr_uuid_is_none(job->redrive_of) ? 0u : 1u);

    for (uint32_t i = 0; i < count; i++)
        pairs += numbers[i].v != 0;
    if (pairs == 0) {
        mr_wr_nil(wr);
        return;
    }
    mr_wr_map(wr, pairs);
    if (job->lane.n > 0)
        put_text(wr, OPTION_LANE, job->lane);
    if (has_priority)
        put_number(wr, OPTION_PRIORITY, job->priority);
    for (uint32_t i = 0; i < count; i++)
        if (numbers[i].v != 0)
            put_number(wr, numbers[i].key, numbers[i].v);
    if (job->backoff_jitter)
        put_number(wr, OPTION_BACKOFF_JITTER, mr_jitter_percent(job->backoff_jitter));
    if (job->trace.n > 0)
        put_text(wr, OPTION_TRACE, job->trace);
    if (!mr_uuid_is_none(job->redrive_of)) {
        mr_wr_uint(wr, OPTION_REDRIVE_OF);
        mr_msg_put_uuid(wr, job->redrive_of);
    }
}

void
mr_put_submit_job(struct mr_wr *wr, const struct mr_job_new *job)
{
    mr_wr_array(wr, JOB_FIELDS);
    mr_msg_put_uuid(wr, job->id);
    mr_wr_str(wr, job->kind);
    mr_wr_bin(wr, job->payload);
    put_options(wr, job);
}

void
mr_put_submit_close(struct mr_wr *wr, size_t mark, uint32_t jobs)
{
    mr_wr_close(wr, mark, jobs);
}

/* ---- ACK ---------------------------------------------------------------------------------- */

enum mr_status
mr_get_ack(const struct mr_msg *msg, struct mr_ack *out)
{
    uint32_t fields;
    struct mr_rd rd = mr_msg_body(msg, MR_ACK, 1, &fields);
    *out = (struct mr_ack){.count = (uint32_t)mr_rd_uint(&rd, MR_ITEMS_PER_MESSAGE_MAX)};
    if (fields > 1) {
        out->verdicts = mr_rd_array(&rd, MR_ITEMS_PER_MESSAGE_MAX);
        out->rd = rd;
    }
    if (fields > 2) {
        mr_rd_skip_n(&rd, out->verdicts);
        out->retry_after_ms = (uint32_t)mr_rd_uint(&rd, UINT32_MAX);
    }
    return rd.status;
}

enum mr_status
mr_get_verdict(struct mr_ack *ack, struct mr_verdict *out)
{
    struct mr_rd *rd = &ack->rd;
    MR_ASSERT(ack->verdicts > 0);
    ack->verdicts--;
    uint32_t fields = mr_msg_item(rd, 2);
    out->index = (uint32_t)mr_rd_uint(rd, MR_ITEMS_PER_MESSAGE_MAX);
    uint64_t code = mr_rd_uint(rd, UINT16_MAX);
    out->code = mr_status_is_known((long)code) ? (enum mr_status)code : MR_INTERNAL;
    out->text = fields > 2 ? mr_rd_str(rd, MR_ERROR_BYTES_MAX) : MR_SPAN_NONE;
    mr_msg_item_end(rd, fields, 3);
    if (rd->status == MR_OK && out->index >= ack->count)
        rd->status = MR_MALFORMED;
    return rd->status;
}

void
mr_put_ack(struct mr_wr *wr, uint64_t corr, uint32_t count,
    const struct mr_verdict *verdicts, uint32_t verdict_count, uint32_t retry_after_ms)
{
    mr_msg_begin(wr, MR_ACK, corr, 3);
    mr_wr_uint(wr, count);
    mr_wr_array(wr, verdict_count);
    for (uint32_t i = 0; i < verdict_count; i++) {
        mr_wr_array(wr, 3);
        mr_wr_uint(wr, verdicts[i].index);
        mr_wr_uint(wr, (uint64_t)verdicts[i].code);
        mr_wr_str(wr, verdicts[i].text);
    }
    mr_wr_uint(wr, retry_after_ms);
}
