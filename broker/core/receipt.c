#include "broker/core/receipt.h"

#include <string.h>

static struct mr_receipt *
receipt_at(const struct mr_core *core, uint32_t slot)
{
    return mr_slab_at(&core->receipts, slot);
}

struct mr_slip *
mr_receipt_slip(const struct mr_core *core, uint32_t slip)
{
    return mr_slab_at(&core->slips, slip);
}

static uint32_t
peer_of(const struct mr_core *core, const struct mr_receipt *receipt)
{
    const struct mr_peer *peer = &core->peers[receipt->peer];

    return peer->role && peer->serial == receipt->serial ? receipt->peer : MR_NO_PEER;
}

uint32_t
mr_receipt_peer(const struct mr_core *core, uint32_t slip)
{
    return peer_of(core, receipt_at(core, mr_receipt_slip(core, slip)->receipt));
}

uint32_t
mr_receipt_open(struct mr_core *core, uint32_t peer, uint64_t corr, uint32_t count,
    uint32_t slips_max)
{
    uint32_t slot;

    if (count > slips_max || core->slips_reserved > slips_max - count)
        return 0;
    slot = mr_slab_take(&core->receipts);
    if (!slot)
        return 0;
    *receipt_at(core, slot) = (struct mr_receipt){.peer = peer,
        .serial = core->peers[peer].serial,
        .corr = corr,
        .reserved = count,
        .is_open = true};
    core->slips_reserved += count;
    return slot;
}

static void
free_slip(struct mr_core *core, uint32_t slip)
{
    struct mr_slip *item = mr_receipt_slip(core, slip);

    if (item->is_copy)
        mr_pool_free(&core->pool, (void *)(uintptr_t)item->text, item->text_bytes);
    mr_slab_give(&core->slips, slip);
}

static void
acknowledge(struct mr_core *core, const struct mr_receipt *receipt)
{
    struct mr_action action = {.act = MR_ACT_ACK,
        .peer = receipt->peer,
        .corr = receipt->corr,
        .count = receipt->count,
        .verdicts = core->verdicts,
        .verdict_count = receipt->verdicts,
        .retry_after_ms = receipt->retry_after_ms};
    uint32_t n = 0, busy = 0;

    for (uint32_t slip = receipt->first; slip; slip = mr_receipt_slip(core, slip)->next) {
        const struct mr_slip *item = mr_receipt_slip(core, slip);

        core->verdicts[n++] = (struct mr_verdict){.index = item->index,
            .code = (enum mr_status)item->code,
            .text = mr_span(item->text, item->text_bytes)};
        busy += item->code == MR_BUSY;
    }
    if (busy > receipt->hinted && action.retry_after_ms < core->conf.busy_retry_ms)
        action.retry_after_ms = core->conf.busy_retry_ms;
    core->act(core->context, &action);
}

static void
finish(struct mr_core *core, uint32_t slot)
{
    struct mr_receipt *receipt = receipt_at(core, slot);
    uint32_t next;

    if (receipt->is_open || receipt->pending)
        return;
    if (peer_of(core, receipt) != MR_NO_PEER)
        acknowledge(core, receipt);
    for (uint32_t slip = receipt->first; slip; slip = next) {
        next = mr_receipt_slip(core, slip)->next;
        free_slip(core, slip);
    }
    core->slips_reserved -= receipt->reserved;
    mr_slab_give(&core->receipts, slot);
}

void
mr_receipt_close(struct mr_core *core, uint32_t slot, uint32_t count)
{
    receipt_at(core, slot)->count = count;
    receipt_at(core, slot)->is_open = false;
    finish(core, slot);
}

static uint32_t
new_slip(struct mr_core *core, uint32_t slot, uint32_t index, enum mr_slip_type type)
{
    uint32_t slip = mr_slab_take(&core->slips);

    MR_ASSERT(slip && index < receipt_at(core, slot)->reserved);
    *mr_receipt_slip(core, slip) = (struct mr_slip){
        .receipt = slot, .index = (uint16_t)index, .type = (uint8_t)type};
    return slip;
}

static void
append_verdict(struct mr_core *core, struct mr_receipt *receipt, uint32_t slip)
{
    mr_receipt_slip(core, slip)->type = MR_SLIP_VERDICT;
    mr_receipt_slip(core, slip)->next = 0;
    if (receipt->last)
        mr_receipt_slip(core, receipt->last)->next = slip;
    else
        receipt->first = slip;
    receipt->last = slip;
    receipt->verdicts++;
}

/* Without room the code has to speak for itself. */
static void
copy_text(struct mr_core *core, struct mr_slip *item, struct mr_span text)
{
    size_t bytes = mr_span_cut(text, MR_ERROR_BYTES_MAX).n;
    char *copy = bytes ? mr_pool_alloc(&core->pool, bytes) : NULL;

    if (!copy)
        return;
    memcpy(copy, text.p, bytes);
    item->text = copy;
    item->text_bytes = (uint16_t)bytes;
    item->is_copy = true;
}

void
mr_receipt_refuse(struct mr_core *core, uint32_t slot, uint32_t index,
    enum mr_status code, struct mr_span text)
{
    uint32_t slip = new_slip(core, slot, index, MR_SLIP_VERDICT);

    mr_receipt_slip(core, slip)->code = (uint16_t)code;
    copy_text(core, mr_receipt_slip(core, slip), text);
    append_verdict(core, receipt_at(core, slot), slip);
}

void
mr_receipt_verdict(struct mr_core *core, uint32_t slot, uint32_t index,
    enum mr_status code, const char *text)
{
    uint32_t slip = new_slip(core, slot, index, MR_SLIP_VERDICT);
    struct mr_slip *item = mr_receipt_slip(core, slip);

    item->code = (uint16_t)code;
    item->text = text;
    item->text_bytes = (uint16_t)(text ? strlen(text) : 0);
    append_verdict(core, receipt_at(core, slot), slip);
}

void
mr_receipt_busy(struct mr_core *core, uint32_t slot, uint32_t index, const char *text,
    uint32_t retry_after_ms)
{
    struct mr_receipt *receipt = receipt_at(core, slot);

    receipt->hinted++;
    if (retry_after_ms > receipt->retry_after_ms)
        receipt->retry_after_ms = retry_after_ms;
    mr_receipt_verdict(core, slot, index, MR_BUSY, text);
}

void
mr_receipt_wait(struct mr_core *core, uint32_t slot, uint32_t index,
    enum mr_slip_type type, uint32_t job_slot, uint64_t digest, bool made_watch)
{
    uint32_t slip = new_slip(core, slot, index, type);
    struct mr_slip *item = mr_receipt_slip(core, slip);

    item->digest = digest;
    item->made_watch = made_watch;
    item->next = mr_job_at(core, job_slot)->waiters;
    mr_job_at(core, job_slot)->waiters = slip;
    receipt_at(core, slot)->pending++;
}

void
mr_receipt_settle(
    struct mr_core *core, uint32_t slip, enum mr_status code, struct mr_span text)
{
    struct mr_slip *item = mr_receipt_slip(core, slip);
    uint32_t slot = item->receipt;

    receipt_at(core, slot)->pending--;
    if (code == MR_OK) {
        free_slip(core, slip);
    } else {
        item->code = (uint16_t)code;
        copy_text(core, item, text);
        append_verdict(core, receipt_at(core, slot), slip);
    }
    finish(core, slot);
}
