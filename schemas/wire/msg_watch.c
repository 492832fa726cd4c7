#include "schemas/wire/msg_priv.h"

#define EVENT_FIELDS 7u

enum mr_status
mr_get_watch(const struct mr_msg *msg, struct mr_watch *out)
{
    uint32_t fields;
    struct mr_rd rd = mr_msg_body(msg, MR_WATCH, 1, &fields);
    *out = (struct mr_watch){.on = true};
    out->ids = mr_rd_array(&rd, MR_ITEMS_PER_MESSAGE_MAX);
    out->rd = rd;
    if (fields > 1) {
        mr_rd_skip_n(&rd, out->ids);
        out->on = mr_rd_bool(&rd);
    }
    return rd.status;
}

enum mr_status
mr_get_watch_id(struct mr_watch *watch, struct mr_uuid *out)
{
    MR_ASSERT(watch->ids > 0);
    watch->ids--;
    *out = mr_msg_uuid(&watch->rd);
    return watch->rd.status;
}

void
mr_put_watch(
    struct mr_wr *wr, uint64_t corr, const struct mr_uuid *ids, uint32_t count, bool on)
{
    mr_msg_begin(wr, MR_WATCH, corr, 2);
    mr_wr_array(wr, count);
    for (uint32_t i = 0; i < count; i++)
        mr_msg_put_uuid(wr, ids[i]);
    mr_wr_bool(wr, on);
}

enum mr_status
mr_get_events(const struct mr_msg *msg, struct mr_events *out)
{
    return mr_msg_get_list(
        msg, MR_EVENT, MR_ITEMS_PER_MESSAGE_MAX, &out->events, &out->rd);
}

/* The field that is permille for PROGRESS and outcome for FINISHED. */
static void
get_event_number(struct mr_rd *rd, struct mr_event *out)
{
    if (out->type == MR_EVENT_FINISHED) {
        out->outcome = (enum mr_outcome)mr_rd_uint(rd, MR_OUT_EXPIRED);
        if (rd->status == MR_OK && out->outcome < MR_SUCCEEDED)
            rd->status = MR_MALFORMED;
    } else {
        out->permille = (uint32_t)mr_rd_uint(rd, 1000);
    }
}

enum mr_status
mr_get_event(struct mr_events *events, struct mr_event *out)
{
    struct mr_rd *rd = &events->rd;
    MR_ASSERT(events->events > 0);
    events->events--;
    uint32_t fields = mr_msg_item(rd, EVENT_FIELDS);
    *out = (struct mr_event){.id = mr_msg_uuid(rd)};
    out->type = (enum mr_event_type)mr_rd_uint(rd, MR_EVENT_WAITING);
    if (rd->status == MR_OK && out->type < MR_EVENT_PROGRESS)
        rd->status = MR_MALFORMED;
    out->attempt = (uint32_t)mr_rd_uint(rd, UINT32_MAX);
    get_event_number(rd, out);
    out->text = mr_rd_str(rd, MR_ERROR_BYTES_MAX);
    out->body = mr_rd_bin(rd, MR_RESULT_BYTES_MAX);
    out->at_us = mr_msg_time(rd);
    mr_msg_item_end(rd, fields, EVENT_FIELDS);
    return rd->status;
}

size_t
mr_put_events_open(struct mr_wr *wr, uint64_t corr)
{
    return mr_msg_put_list(wr, MR_EVENT, corr);
}

void
mr_put_event(struct mr_wr *wr, const struct mr_event *event)
{
    mr_wr_array(wr, EVENT_FIELDS);
    mr_msg_put_uuid(wr, event->id);
    mr_wr_uint(wr, (uint64_t)event->type);
    mr_wr_uint(wr, event->attempt);
    mr_wr_uint(wr,
        event->type == MR_EVENT_FINISHED ? (uint64_t)event->outcome : event->permille);
    mr_wr_str(wr, event->text);
    mr_wr_bin(wr, event->body);
    mr_wr_int(wr, event->at_us);
}

void
mr_put_events_close(struct mr_wr *wr, size_t mark, uint32_t events)
{
    mr_wr_close(wr, mark, events);
}
