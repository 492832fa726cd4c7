/*
 * Messages that have not been acknowledged yet (receipts), and their items (slips). A slip
 * waits on a job until a row is durable and then is gone, or becomes the verdict on its item.
 * When the last one is settled the ACK goes out, unless the peer left meanwhile.
 */
#ifndef MR_CORE_RECEIPT_H
#define MR_CORE_RECEIPT_H

#include "broker/core/core_priv.h"

/* Room for `count` items is set aside: nothing below can fail. 0: no room. */
uint32_t mr_receipt_open(struct mr_core *core, uint32_t peer, uint64_t corr,
    uint32_t count, uint32_t slips_max);
/* No more items than `count` will come; the ACK may go. */
void mr_receipt_close(struct mr_core *core, uint32_t slot, uint32_t count);

/* The verdict on one item at once. `text` has static storage or is NULL. */
void mr_receipt_verdict(struct mr_core *core, uint32_t slot, uint32_t index,
    enum mr_status code, const char *text);

/* BUSY with a hint of its own, instead of the usual one. */
void mr_receipt_busy(struct mr_core *core, uint32_t slot, uint32_t index,
    const char *text, uint32_t retry_after_ms);

/* The same as mr_receipt_verdict() with a text that is copied. */
void mr_receipt_refuse(struct mr_core *core, uint32_t slot, uint32_t index,
    enum mr_status code, struct mr_span text);

/* The item waits on a job. `digest`: of a payload that cannot be compared yet (AGAIN). */
void mr_receipt_wait(struct mr_core *core, uint32_t slot, uint32_t index,
    enum mr_slip_type type, uint32_t job_slot, uint64_t digest, bool made_watch);

struct mr_slip *mr_receipt_slip(const struct mr_core *core, uint32_t slip);

/* Settle one slip that is in no list any more. `text` is copied. MR_OK needs no verdict. */
void mr_receipt_settle(
    struct mr_core *core, uint32_t slip, enum mr_status code, struct mr_span text);

/* The client whose item it is, MR_NO_PEER if it left. */
uint32_t mr_receipt_peer(const struct mr_core *core, uint32_t slip);

#endif
