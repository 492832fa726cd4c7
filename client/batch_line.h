/*
 * One line of a batch: {"kind":"...","args":...,"id"?,"queue"?,"priority"?,"lane"?,"delay_ms"?,
 * "run_at"?,"expires_at"?,"timeout_ms"?,"attempts_max"?,"backoff_base_ms"?,"backoff_cap_ms"?,
 * "backoff_factor_percent"?,"backoff_jitter_percent"?}.
 */
#ifndef MR_CLIENT_BATCH_LINE_H
#define MR_CLIENT_BATCH_LINE_H

#include <jansson.h>

#include "client/millrace.h"
#include "schemas/base/span.h"
#include "schemas/base/status.h"
#include "schemas/wire/pack.h"

struct mr_batch_line {
    struct millrace_job job; /* its texts borrow from `json`, its arguments from `args` */
    bool has_id;
    json_t *json;
    struct mr_wr args;
};

/* `name` is what errors call the line. On failure nothing is held. */
enum mr_status mr_batch_line_parse(struct mr_span text, const char *name,
    struct mr_batch_line *out, struct mr_err *err) MR_MUST_CHECK;
void mr_batch_line_fini(struct mr_batch_line *line);

#endif
