#include "client/lib_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/clock.h"

#define OPTIONS_BYTES 512 /* what a job needs besides its payload, generously */
#define SLICE_BYTES_MAX (8u * 1024 * 1024)

int
mr_lib_error(struct millrace_error *error, int code, const char *what, const char *why)
{
    if (!error || code == MILLRACE_OK)
        return code;
    *error = (struct millrace_error){.code = code};
    (void)snprintf(error->what, sizeof error->what, "%s", what);
    (void)snprintf(error->why, sizeof error->why, "%s",
        why && why[0] ? why : mr_status_name((enum mr_status)code));
    (void)snprintf(
        error->todo, sizeof error->todo, "%s", mr_status_text((enum mr_status)code));
    return code;
}

/* ---- Life of a request ---------------------------------------------------------------------- */

static int64_t
deadline_of(const struct millrace *mr, int timeout_ms)
{
    if (timeout_ms < 0)
        return MR_LIB_NEVER;
    if (timeout_ms == 0)
        timeout_ms = mr->default_timeout_ms;
    return mr_clock_now().mono_us + (int64_t)timeout_ms * 1000;
}

struct mr_lib_req *
mr_lib_request_new(struct millrace *mr, enum mr_lib_type type, int timeout_ms)
{
    struct mr_lib_req *req = calloc(1, sizeof *req);

    if (!req)
        return NULL;
    if (sem_init(&req->done, 0, 0) != 0) {
        free(req);
        return NULL;
    }
    req->type = type;
    req->deadline_us = deadline_of(mr, timeout_ms);
    mr_wr_init(&req->bytes, SLICE_BYTES_MAX);
    return req;
}

void
mr_lib_request_free(struct mr_lib_req *req)
{
    if (!req)
        return;
    millrace_result_free(&req->result);
    mr_wr_fini(&req->bytes);
    (void)sem_destroy(&req->done);
    free(req->units);
    free(req->waiters);
    free(req);
}

void
mr_lib_request_give(struct millrace *mr, struct mr_lib_req *req)
{
    bool is_async = req->is_async;

    mr_mailbox_give(mr->inbox, &req->node);
    /* From here on an asynchronous one may be gone. */
    while (!is_async && sem_wait(&req->done) != 0)
        MR_ASSERT(errno == EINTR);
}

/* ---- Jobs ------------------------------------------------------------------------------------ */

static bool
is_name(const char *text, size_t bytes_max)
{
    size_t n = strlen(text);

    for (size_t i = 0; i < n; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return n > 0 && n <= bytes_max;
}

static const char *
queue_of(const struct millrace_job *job)
{
    return job->queue ? job->queue : MR_QUEUE_DEFAULT;
}

/* NULL if it can be sent. */
static const char *
flaw_of(const struct millrace_job *job)
{
    if (!job->kind || !is_name(job->kind, MR_NAME_BYTES_MAX))
        return "The kind is not 1 to 64 printable characters without spaces.";
    if (!is_name(queue_of(job), MR_NAME_BYTES_MAX))
        return "The queue is not 1 to 64 printable characters without spaces.";
    if (job->lane && !is_name(job->lane, MR_NAME_BYTES_MAX))
        return "The lane is not 1 to 64 printable characters without spaces.";
    if (job->trace && strlen(job->trace) > MR_TRACE_BYTES_MAX)
        return "The trace is longer than 128 bytes.";
    if (job->priority < 0 || job->priority > (int)MR_PRIORITY_MAX)
        return "The priority is not from 0 to 9.";
    if (job->args_bytes && !job->args)
        return "There is a length of arguments, but no arguments.";
    if (job->run_at_us && job->delay_ms)
        return "Both a time and a delay are given.";
    if (!mr_backoff_is_good(job->backoff_factor_percent, job->backoff_jitter_percent))
        return "The backoff's factor is not from 100 to 1000 percent, or its jitter not "
               "from 1 to 100 or MILLRACE_NO_JITTER.";
    return NULL;
}

static int
check_job(const struct millrace_job *job, struct millrace_error *error)
{
    static const char what[] = "The job was not submitted.";
    const char *flaw = flaw_of(job);

    if (flaw)
        return mr_lib_error(error, MILLRACE_BAD_ARGUMENT, what, flaw);
    if (job->args_bytes > MR_PAYLOAD_BYTES_MAX)
        return mr_lib_error(
            error, MILLRACE_TOO_BIG, what, "The arguments are larger than 1 MiB.");
    if (mr_pack_scan(mr_span(job->args, job->args_bytes), MR_PAYLOAD_DEPTH_MAX) &&
        job->args_bytes)
        return mr_lib_error(error, MILLRACE_MALFORMED, what,
            "The arguments are not one msgpack value, or nested more than 32 deep.");
    return MILLRACE_OK;
}

_Static_assert(MILLRACE_NO_JITTER == MR_JITTER_NONE, "one number for it");

static void
encode(struct mr_wr *wr, const struct millrace_job *job)
{
    struct mr_job_new row = {.queue = mr_span_str(queue_of(job)),
        .kind = mr_span_str(job->kind),
        .payload = mr_span(job->args, job->args_bytes),
        .priority = (uint8_t)job->priority,
        .lane = mr_span_str(job->lane),
        .run_at_us = job->run_at_us,
        .delay_ms = job->delay_ms,
        .expires_at_us = job->expires_at_us,
        .timeout_ms = job->timeout_ms,
        .attempts_max = job->attempts_max,
        .backoff_base_ms = job->backoff_base_ms,
        .backoff_cap_ms = job->backoff_cap_ms,
        .backoff_factor_percent = job->backoff_factor_percent,
        .backoff_jitter = job->backoff_jitter_percent,
        .trace = mr_span_str(job->trace)};

    memcpy(row.id.b, job->id.b, sizeof row.id.b);
    memcpy(row.redrive_of.b, job->redrive_of.b, sizeof row.redrive_of.b);
    mr_put_submit_job(wr, &row);
}

/* How many of them go into one request: of the same queue, and not more than fits. */
static size_t
slice_of(const struct millrace_job *jobs, size_t count)
{
    size_t bytes = 0;
    size_t n = 0;

    while (n < count && n < MR_JOBS_PER_MESSAGE_MAX) {
        bytes += jobs[n].args_bytes + OPTIONS_BYTES;
        if (n > 0 && (bytes > SLICE_BYTES_MAX / 2 ||
                         strcmp(queue_of(&jobs[n]), queue_of(&jobs[0])) != 0))
            break;
        n++;
    }
    return n;
}

int
mr_lib_request_jobs(struct mr_lib_req *req, const struct millrace_job *jobs, size_t count,
    size_t *taken, bool with_waiters, struct millrace_error *error)
{
    size_t n = slice_of(jobs, count);
    int code = check_job(&jobs[0], error);

    *taken = 1;
    if (code)
        return code;
    /* A bad one among them begins the next request, and is refused alone. */
    for (size_t i = 1; i < n; i++)
        if (check_job(&jobs[i], NULL))
            n = i;
    *taken = n;
    req->units = calloc(n, sizeof *req->units);
    req->waiters = with_waiters ? calloc(n, sizeof *req->waiters) : NULL;
    for (size_t i = 0; req->units && i < n; i++) {
        size_t at = req->bytes.n;

        encode(&req->bytes, &jobs[i]);
        req->units[i] =
            (struct mr_lib_unit){.req = req, .at = at, .bytes = req->bytes.n - at};
        if (!req->waiters)
            continue;
        req->waiters[i].req = req;
        memcpy(req->waiters[i].id.b, jobs[i].id.b, sizeof jobs[i].id.b);
    }
    if (!req->units || (with_waiters && !req->waiters) || req->bytes.status)
        return mr_lib_error(
            error, MILLRACE_NO_MEMORY, "The job was not submitted.", "No memory.");
    req->unit_count = req->units_left = (uint32_t)n;
    req->waiter_count = with_waiters ? (uint32_t)n : 0;
    (void)snprintf(req->queue, sizeof req->queue, "%s", queue_of(&jobs[0]));
    memcpy(req->id.b, jobs[0].id.b, sizeof req->id.b);
    return MILLRACE_OK;
}

int
mr_lib_request_waiters(
    struct mr_lib_req *req, const struct millrace_id *ids, size_t count)
{
    req->waiters = calloc(count, sizeof *req->waiters);
    if (!req->waiters)
        return MILLRACE_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        req->waiters[i].req = req;
        memcpy(req->waiters[i].id.b, ids[i].b, sizeof ids[i].b);
    }
    req->waiter_count = (uint32_t)count;
    memcpy(req->id.b, ids[0].b, sizeof req->id.b);
    return MILLRACE_OK;
}
