#include "schemas/wire/msg_priv.h"

#define JOB_FIELDS 8u
#define DONE_FIELDS 9u
#define HELD_FIELDS 4u
#define REVOKED_FIELDS 3u

/* ---- CREDIT ------------------------------------------------------------------------------- */

enum mr_status
mr_get_credit(const struct mr_msg *msg, uint64_t *limit)
{
    uint32_t fields;
    struct mr_rd rd = mr_msg_body(msg, MR_CREDIT, 1, &fields);
    *limit = mr_rd_uint(&rd, UINT64_MAX);
    return rd.status;
}

void
mr_put_credit(struct mr_wr *wr, uint64_t limit)
{
    mr_msg_begin(wr, MR_CREDIT, 0, 1);
    mr_wr_uint(wr, limit);
}

/* ---- JOBS ---------------------------------------------------------------------------------- */

enum mr_status
mr_get_jobs(const struct mr_msg *msg, struct mr_jobs *out)
{
    return mr_msg_get_list(msg, MR_JOBS, MR_JOBS_PER_MESSAGE_MAX, &out->jobs, &out->rd);
}

enum mr_status
mr_get_job(struct mr_jobs *jobs, struct mr_job_sent *out)
{
    struct mr_rd *rd = &jobs->rd;
    MR_ASSERT(jobs->jobs > 0);
    jobs->jobs--;
    uint32_t fields = mr_msg_item(rd, JOB_FIELDS);
    out->id = mr_msg_uuid(rd);
    out->attempt = (uint32_t)mr_rd_uint(rd, UINT32_MAX);
    out->kind = mr_msg_name(rd);
    out->payload = mr_rd_bin(rd, MR_PAYLOAD_BYTES_MAX);
    out->timeout_ms = (uint32_t)mr_rd_uint(rd, UINT32_MAX);
    out->queue = mr_msg_name(rd);
    out->trace = mr_rd_str(rd, MR_TRACE_BYTES_MAX);
    out->submitted_at_us = mr_msg_time(rd);
    mr_msg_item_end(rd, fields, JOB_FIELDS);
    return rd->status;
}

size_t
mr_put_jobs_open(struct mr_wr *wr, uint64_t corr)
{
    return mr_msg_put_list(wr, MR_JOBS, corr);
}

void
mr_put_job(struct mr_wr *wr, const struct mr_job_sent *job)
{
    mr_wr_array(wr, JOB_FIELDS);
    mr_msg_put_uuid(wr, job->id);
    mr_wr_uint(wr, job->attempt);
    mr_wr_str(wr, job->kind);
    mr_wr_bin(wr, job->payload);
    mr_wr_uint(wr, job->timeout_ms);
    mr_wr_str(wr, job->queue);
    mr_wr_str(wr, job->trace);
    mr_wr_int(wr, job->submitted_at_us);
}

void
mr_put_jobs_close(struct mr_wr *wr, size_t mark, uint32_t jobs)
{
    mr_wr_close(wr, mark, jobs);
}

/* ---- DONE ---------------------------------------------------------------------------------- */

enum mr_status
mr_get_dones(const struct mr_msg *msg, struct mr_dones *out)
{
    uint32_t fields;
    struct mr_rd rd = mr_msg_body(msg, MR_DONE, 2, &fields);
    out->flags = (uint32_t)mr_rd_uint(&rd, UINT32_MAX);
    out->dones = mr_rd_array(&rd, MR_ITEMS_PER_MESSAGE_MAX);
    out->rd = rd;
    return rd.status;
}

enum mr_status
mr_get_done(struct mr_dones *dones, struct mr_done *out)
{
    struct mr_rd *rd = &dones->rd;
    MR_ASSERT(dones->dones > 0);
    dones->dones--;
    uint32_t fields = mr_msg_item(rd, DONE_FIELDS);
    *out = (struct mr_done){.id = mr_msg_uuid(rd)};
    out->attempt = (uint32_t)mr_rd_uint(rd, UINT32_MAX);
    out->report = (enum mr_report)mr_rd_uint(rd, MR_REPORT_LAST);
    out->text = mr_rd_str(rd, MR_ERROR_BYTES_MAX);
    out->body = mr_rd_bin(rd, MR_RESULT_BYTES_MAX);
    out->started_at_us = mr_msg_time(rd);
    out->finished_at_us = mr_msg_time(rd);
    out->retry_after_ms = (uint32_t)mr_rd_uint(rd, UINT32_MAX);
    out->outcome = (enum mr_outcome)mr_rd_uint(rd, MR_OUT_EXPIRED);
    mr_msg_item_end(rd, fields, DONE_FIELDS);
    bool needs_outcome = out->report == MR_WAS_FINISHED;
    if (rd->status == MR_OK &&
        (out->report < MR_DID_SUCCEED || needs_outcome != (out->outcome >= MR_SUCCEEDED)))
        rd->status = MR_MALFORMED;
    return rd->status;
}

size_t
mr_put_dones_open(struct mr_wr *wr, uint64_t corr, uint32_t flags)
{
    mr_msg_begin(wr, MR_DONE, corr, 2);
    mr_wr_uint(wr, flags);
    return mr_wr_array_open(wr);
}

void
mr_put_done(struct mr_wr *wr, const struct mr_done *done)
{
    mr_wr_array(wr, DONE_FIELDS);
    mr_msg_put_uuid(wr, done->id);
    mr_wr_uint(wr, done->attempt);
    mr_wr_uint(wr, (uint64_t)done->report);
    mr_wr_str(wr, done->text);
    mr_wr_bin(wr, done->body);
    mr_wr_int(wr, done->started_at_us);
    mr_wr_int(wr, done->finished_at_us);
    mr_wr_uint(wr, done->retry_after_ms);
    mr_wr_uint(wr, (uint64_t)done->outcome);
}

void
mr_put_dones_close(struct mr_wr *wr, size_t mark, uint32_t dones)
{
    mr_wr_close(wr, mark, dones);
}

/* ---- BEAT ---------------------------------------------------------------------------------- */

enum mr_status
mr_get_beat(const struct mr_msg *msg, struct mr_beat *out)
{
    return mr_msg_get_list(msg, MR_BEAT, MR_ITEMS_PER_MESSAGE_MAX, &out->held, &out->rd);
}

enum mr_status
mr_get_held(struct mr_beat *beat, struct mr_held *out)
{
    struct mr_rd *rd = &beat->rd;
    MR_ASSERT(beat->held > 0);
    beat->held--;
    uint32_t fields = mr_msg_item(rd, HELD_FIELDS);
    out->id = mr_msg_uuid(rd);
    out->attempt = (uint32_t)mr_rd_uint(rd, UINT32_MAX);
    out->permille = (uint32_t)mr_rd_uint(rd, 1000);
    out->text = mr_rd_str(rd, MR_ERROR_BYTES_MAX);
    mr_msg_item_end(rd, fields, HELD_FIELDS);
    return rd->status;
}

size_t
mr_put_beat_open(struct mr_wr *wr, uint64_t corr)
{
    return mr_msg_put_list(wr, MR_BEAT, corr);
}

void
mr_put_held(struct mr_wr *wr, const struct mr_held *held)
{
    mr_wr_array(wr, HELD_FIELDS);
    mr_msg_put_uuid(wr, held->id);
    mr_wr_uint(wr, held->attempt);
    mr_wr_uint(wr, held->permille);
    mr_wr_str(wr, held->text);
}

void
mr_put_beat_close(struct mr_wr *wr, size_t mark, uint32_t held)
{
    mr_wr_close(wr, mark, held);
}

/* ---- REVOKE -------------------------------------------------------------------------------- */

enum mr_status
mr_get_revoke(const struct mr_msg *msg, struct mr_revoke *out)
{
    return mr_msg_get_list(
        msg, MR_REVOKE, MR_ITEMS_PER_MESSAGE_MAX, &out->items, &out->rd);
}

enum mr_status
mr_get_revoked(struct mr_revoke *revoke, struct mr_revoked *out)
{
    struct mr_rd *rd = &revoke->rd;
    MR_ASSERT(revoke->items > 0);
    revoke->items--;
    uint32_t fields = mr_msg_item(rd, REVOKED_FIELDS);
    out->id = mr_msg_uuid(rd);
    out->attempt = (uint32_t)mr_rd_uint(rd, UINT32_MAX);
    out->why = (enum mr_why)mr_rd_uint(rd, MR_WHY_STALE);
    mr_msg_item_end(rd, fields, REVOKED_FIELDS);
    if (rd->status == MR_OK && out->why < MR_WHY_CANCELLED)
        rd->status = MR_MALFORMED;
    return rd->status;
}

size_t
mr_put_revoke_open(struct mr_wr *wr, uint64_t corr)
{
    return mr_msg_put_list(wr, MR_REVOKE, corr);
}

void
mr_put_revoked(struct mr_wr *wr, const struct mr_revoked *item)
{
    mr_wr_array(wr, REVOKED_FIELDS);
    mr_msg_put_uuid(wr, item->id);
    mr_wr_uint(wr, item->attempt);
    mr_wr_uint(wr, (uint64_t)item->why);
}

void
mr_put_revoke_close(struct mr_wr *wr, size_t mark, uint32_t items)
{
    mr_wr_close(wr, mark, items);
}
