#include "client/lib_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/clock.h"

/* What the encoding of a job needs besides its names, trace and payload: 9 numbers of 9 bytes, two
 * ids, the keys of 13 options, lengths. */
#define JOB_BYTES 160u
#define SLICE_BYTES_MAX (4u * 1024 * 1024)
#define REPLY_BYTES_MAX (8u * 1024 * 1024)

int
mr_lib_error_of(struct millrace_error *error, int code, const char *what,
    const struct mr_lib_req *req)
{
    (void)mr_lib_error(error, code, what, req->text);
    if (error && code && req->advice)
        (void)snprintf(error->todo, sizeof error->todo, "%s", req->advice);
    return code;
}

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
    return mr_clock_mono_us() + (int64_t)timeout_ms * 1000;
}

/* With room for so many units and waiters; *tail is behind them, `bytes` long. */
static struct mr_lib_req *
new_request(const struct millrace *mr, enum mr_lib_type type, int timeout_ms,
    size_t units, size_t waiters, size_t bytes, uint8_t **tail)
{
    size_t units_at = sizeof(struct mr_lib_req);
    size_t waiters_at = units_at + units * sizeof(struct mr_lib_unit);
    size_t tail_at = waiters_at + waiters * sizeof(struct mr_lib_waiter);
    uint8_t *memory = malloc(tail_at + bytes);
    struct mr_lib_req *req = (struct mr_lib_req *)(void *)memory;

    if (!req)
        return NULL;
    *req = (struct mr_lib_req){.type = type,
        .deadline_us = deadline_of(mr, timeout_ms),
        .units = (struct mr_lib_unit *)(void *)(memory + units_at),
        .waiters = (struct mr_lib_waiter *)(void *)(memory + waiters_at)};
    MR_ASSERT(sem_init(&req->done, 0, 0) == 0);
    mr_wr_init(&req->bytes, REPLY_BYTES_MAX);
    *tail = memory + tail_at;
    return req;
}

_Static_assert(sizeof(struct mr_lib_req) % _Alignof(struct mr_lib_unit) == 0 &&
                   sizeof(struct mr_lib_unit) % _Alignof(struct mr_lib_waiter) == 0,
    "they lie behind each other");

struct mr_lib_req *
mr_lib_request_new(const struct millrace *mr, enum mr_lib_type type, int timeout_ms)
{
    uint8_t *tail;

    return new_request(mr, type, timeout_ms, 0, 0, 0, &tail);
}

void
mr_lib_request_free(struct mr_lib_req *req)
{
    if (!req)
        return;
    millrace_result_free(&req->result);
    mr_wr_fini(&req->bytes);
    (void)sem_destroy(&req->done);
    free(req->text);
    free(req);
}

void
mr_lib_request_say(struct mr_lib_req *req, struct mr_span text)
{
    struct mr_span cut = mr_span_cut(text, MR_LIB_TEXT_MAX - 1);

    free(req->text);
    req->text = cut.n ? strndup((const char *)cut.p, cut.n) : NULL;
}

/* Jobs that could not be sent anyway do not wake the thread: it looks for them when it is told
 * of an earlier message's end. Both sides change the gate after and before they touch the
 * mailbox, so one of them sees the other. */
static bool
has_to_ring(struct millrace *mr, uint32_t jobs)
{
    uint32_t before =
        atomic_fetch_add_explicit(&mr->gate, 2 * jobs, memory_order_acq_rel);

    /* Enough for a large message may be sent where a small one is not. */
    return !(before & 1) ||
           (before / 2 + jobs) / MR_LIB_LARGE_JOBS != before / 2 / MR_LIB_LARGE_JOBS;
}

void
mr_lib_request_give(struct millrace *mr, struct mr_lib_req *req)
{
    uint32_t jobs = req->unit_count;

    mr_mailbox_push(mr->inbox, &req->node);
    /* From here on an asynchronous one may be gone. */
    if (!jobs || has_to_ring(mr, jobs))
        mr_mailbox_ring(mr->inbox);
}

void
mr_lib_request_await(struct mr_lib_req *req)
{
    while (sem_wait(&req->done) != 0)
        MR_ASSERT(errno == EINTR);
}

/* ---- Jobs ------------------------------------------------------------------------------------ */

static const char *
queue_of(const struct millrace_job *job)
{
    return job->queue ? job->queue : MR_QUEUE_DEFAULT;
}

static struct mr_job_new
row_of(const struct millrace_job *job)
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
    return row;
}

static size_t
room_of(const struct millrace *mr, const struct mr_job_new *row)
{
    return JOB_BYTES + row->kind.n + row->lane.n + row->trace.n + row->payload.n +
           (mr->ring ? MR_SEAL_BYTES_MORE : 0);
}

static bool
is_name(struct mr_span text)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] <= ' ' || text.p[i] > '~')
            return false;
    return text.n > 0 && text.n <= MR_NAME_BYTES_MAX;
}

/* NULL if it can be sent. */
static const char *
flaw_of(const struct millrace_job *job, const struct mr_job_new *row)
{
    if (!is_name(row->kind))
        return "The kind is not 1 to 64 printable characters without spaces.";
    if (!is_name(row->queue))
        return "The queue is not 1 to 64 printable characters without spaces.";
    if (job->lane && !is_name(row->lane))
        return "The lane is not 1 to 64 printable characters without spaces.";
    if (row->trace.n > MR_TRACE_BYTES_MAX)
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
check_job(const struct millrace *mr, const struct millrace_job *job,
    const struct mr_job_new *row, struct millrace_error *error)
{
    static const char what[] = "The job was not submitted.";
    const char *flaw = flaw_of(job, row);

    if (flaw)
        return mr_lib_error(error, MILLRACE_BAD_ARGUMENT, what, flaw);
    if (!mr_lib_seal_fits(mr, job->args_bytes))
        return mr_lib_error(error, MILLRACE_TOO_BIG, what,
            mr->ring ? "The arguments are larger than 1 MiB when they are sealed."
                     : "The arguments are larger than 1 MiB.");
    if (job->args_bytes && mr_pack_scan(row->payload, MR_PAYLOAD_DEPTH_MAX))
        return mr_lib_error(error, MILLRACE_MALFORMED, what,
            "The arguments are not one msgpack value, or nested more than 32 deep.");
    return MILLRACE_OK;
}

_Static_assert(MILLRACE_NO_JITTER == MR_JITTER_NONE, "one number for it");

static bool
is_same_queue(const struct millrace_job *a, const struct millrace_job *b)
{
    return a->queue == b->queue || strcmp(queue_of(a), queue_of(b)) == 0;
}

/* How many of them go into one request, of which the first is good and counted in *room: of the
 * same queue, and not more than fits. A bad one among them begins the next request, and is refused alone. */
static size_t
slice_of(const struct millrace *mr, const struct millrace_job *jobs, size_t count,
    size_t *room)
{
    size_t n = 1;

    for (; n < count && n < MR_JOBS_PER_MESSAGE_MAX; n++) {
        struct mr_job_new row = row_of(&jobs[n]);

        if (*room + room_of(mr, &row) > SLICE_BYTES_MAX ||
            !is_same_queue(&jobs[n], &jobs[0]) || check_job(mr, &jobs[n], &row, NULL))
            break;
        *room += room_of(mr, &row);
    }
    return n;
}

static void
init_waiter(const struct millrace *mr, struct mr_lib_req *req, uint32_t i,
    const struct millrace_id *id)
{
    struct mr_lib_waiter *waiter = &req->waiters[i];

    *waiter = (struct mr_lib_waiter){.req = req};
    memcpy(waiter->id.b, id->b, sizeof waiter->id.b);
    waiter->hash = mr_hash(mr->hash_key, mr_span(id->b, sizeof id->b));
}

/* Room to seal the largest of them in; `count` at least 1. */
static uint8_t *
room_to_seal(const struct millrace_job *jobs, uint32_t count)
{
    size_t most = 0;

    for (uint32_t i = 0; i < count; i++)
        most = jobs[i].args_bytes > most ? jobs[i].args_bytes : most;
    return malloc(mr_seal_bytes(most));
}

/* Everything is large enough for them; `sealed` for one payload, NULL: they are sent as they are. */
static void
encode(const struct millrace *mr, struct mr_lib_req *req, const struct millrace_job *jobs,
    uint8_t *tail, size_t tail_bytes, uint8_t *sealed)
{
    struct mr_wr wr;

    mr_wr_init_fixed(&wr, tail, tail_bytes);
    for (uint32_t i = 0; i < req->unit_count; i++) {
        struct mr_job_new row = row_of(&jobs[i]);
        size_t at = wr.n;

        if (sealed)
            mr_lib_seal_row(mr, &row, sealed);
        mr_put_submit_job(&wr, &row);
        req->units[i] =
            (struct mr_lib_unit){.req = req, .job = mr_span(tail + at, wr.n - at)};
    }
    if (jobs[0].queue) {
        req->queue = mr_span(tail + wr.n, strlen(jobs[0].queue));
        mr_wr_raw(&wr, mr_span_str(jobs[0].queue));
    } else {
        req->queue = mr_span(MR_QUEUE_DEFAULT, sizeof MR_QUEUE_DEFAULT - 1);
    }
    MR_ASSERT(wr.status == MR_OK);
}

int
mr_lib_request_submit(const struct millrace *mr, const struct millrace_job *jobs,
    size_t count, bool with_waiters, int timeout_ms, size_t *taken,
    struct mr_lib_req **out, struct millrace_error *error)
{
    struct mr_job_new first = row_of(&jobs[0]);
    int code = check_job(mr, &jobs[0], &first, error);
    struct mr_lib_req *req;
    uint8_t *tail, *sealed;
    size_t room, n;

    *out = NULL;
    *taken = 1;
    if (code)
        return code;
    room = room_of(mr, &first) + first.queue.n;
    n = slice_of(mr, jobs, count, &room);
    req =
        new_request(mr, MR_LIB_SUBMIT, timeout_ms, n, with_waiters ? n : 0, room, &tail);
    sealed = mr->ring ? room_to_seal(jobs, (uint32_t)n) : NULL;
    if (!req || (mr->ring && !sealed)) {
        mr_lib_request_free(req);
        free(sealed);
        return mr_lib_error(
            error, MILLRACE_NO_MEMORY, "The job was not submitted.", "No memory.");
    }
    req->unit_count = req->units_left = (uint32_t)n;
    req->waiter_count = with_waiters ? (uint32_t)n : 0;
    memcpy(req->id.b, jobs[0].id.b, sizeof req->id.b);
    encode(mr, req, jobs, tail, room, sealed);
    free(sealed);
    for (uint32_t i = 0; i < req->waiter_count; i++)
        init_waiter(mr, req, i, &jobs[i].id);
    *taken = n;
    *out = req;
    return MILLRACE_OK;
}

struct mr_lib_req *
mr_lib_request_wait(const struct millrace *mr, const struct millrace_id *ids,
    uint32_t count, int timeout_ms)
{
    uint8_t *tail;
    struct mr_lib_req *req = new_request(mr, MR_LIB_WAIT, timeout_ms, 0, count, 0, &tail);

    if (!req)
        return NULL;
    for (uint32_t i = 0; i < count; i++)
        init_waiter(mr, req, i, &ids[i]);
    req->waiter_count = count;
    memcpy(req->id.b, ids[0].b, sizeof req->id.b);
    return req;
}

struct mr_lib_req *
mr_lib_request_call(
    const struct millrace *mr, const char *method, struct mr_span args, int timeout_ms)
{
    size_t n = strlen(method) + 1;
    uint8_t *tail;
    struct mr_lib_req *req = new_request(mr, MR_LIB_CALL, timeout_ms, 0, 0, n, &tail);

    if (!req)
        return NULL;
    req->method = memcpy(tail, method, n);
    if (args.n)
        mr_wr_raw(&req->bytes, args);
    else
        mr_wr_map(&req->bytes, 0);
    if (!req->bytes.status)
        return req;
    mr_lib_request_free(req);
    return NULL;
}
