/*
 * What makes `millrace batch` safe to run again: a small file beside the input that holds the
 * batch's id, from which every line's job id follows. It is written and flushed before the
 * first job is sent.
 */
#ifndef MR_CLIENT_BATCH_STATE_H
#define MR_CLIENT_BATCH_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/span.h"
#include "schemas/base/status.h"
#include "schemas/base/uuid.h"

/* Of the whole input, line by line; begin with all zeroes. */
struct mr_batch_digest {
    uint64_t a, b;
};

void mr_batch_state_digest(struct mr_batch_digest *digest, struct mr_span line);

/*
 * The batch's id: that of the file at `path` if it is there, else a new one, which is stored
 * there first. *was_begun: it was there. MR_CONFLICT when the input is not the one the state
 * was written for; MR_MALFORMED for a file that is no state of ours; MR_DENIED when it cannot
 * be read or written.
 */
enum mr_status mr_batch_state_open(const char *path, const struct mr_batch_digest *digest,
    struct mr_uuid *id, bool *was_begun, struct mr_err *err) MR_MUST_CHECK;

/* The job of line `number`, from 1. The same for the same batch and line, always. */
struct mr_uuid mr_batch_state_job(struct mr_uuid batch, uint64_t number);

#endif
