#include "client/millrace.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/lib_priv.h"
#include "schemas/base/clock.h"

#include <zmq.h>

#define ENDPOINT_DEFAULT "tcp://127.0.0.1:7654"
#define TIMEOUT_DEFAULT_MS 30000
#define OUTSTANDING_DEFAULT 65536
#define SLICES_MAX 4 /* of a large submit_many, under way at a time */

/* ---- The handle ------------------------------------------------------------------------- */

/* Commas between, blanks around them allowed. */
static int
split_endpoints(struct millrace *mr, const char *list, struct millrace_error *error)
{
    static const char what[] = "The handle was not opened.";

    while (*list) {
        size_t n = strcspn(list, ",");
        const char *end = list + n;
        const char *begin = list + strspn(list, " ");

        list = end + (*end == ',');
        while (end > begin && end[-1] == ' ')
            end--;
        if (end <= begin)
            continue;
        if (mr->endpoint_count == MR_LIB_ENDPOINTS_MAX)
            return mr_lib_error(
                error, MILLRACE_BAD_ARGUMENT, what, "More than 16 endpoints were given.");
        mr->endpoints[mr->endpoint_count] = strndup(begin, (size_t)(end - begin));
        if (!mr->endpoints[mr->endpoint_count++])
            return mr_lib_error(error, MILLRACE_NO_MEMORY, what, "No memory.");
    }
    return mr->endpoint_count ? MILLRACE_OK
                              : mr_lib_error(error, MILLRACE_BAD_ARGUMENT, what,
                                    "No endpoint was given.");
}

static int
check_endpoints(const struct millrace *mr, struct millrace_error *error)
{
    static const char *const schemes[] = {"tcp://", "ipc://"};

    for (unsigned i = 0; i < mr->endpoint_count; i++) {
        const char *endpoint = mr->endpoints[i];
        char why[256];

        if (strncmp(endpoint, schemes[0], 6) == 0 ||
            strncmp(endpoint, schemes[1], 6) == 0)
            continue;
        (void)snprintf(why, sizeof why,
            "\"%.100s\" is no endpoint: write tcp://HOST:PORT or ipc:///PATH.", endpoint);
        return mr_lib_error(
            error, MILLRACE_BAD_ARGUMENT, "The handle was not opened.", why);
    }
    return MILLRACE_OK;
}

static void
set_name(struct millrace *mr, const char *name)
{
    char host[40] = "";

    (void)gethostname(host, sizeof host - 1);
    if (name)
        (void)snprintf(mr->name, sizeof mr->name, "%s", name);
    else
        (void)snprintf(mr->name, sizeof mr->name, "%s:%ld", host, (long)getpid());
    for (char *c = mr->name; *c; c++)
        if (*c <= ' ' || *c > '~')
            *c = '_';
}

static bool
is_yes(const char *text)
{
    return text && (strcmp(text, "yes") == 0 || strcmp(text, "true") == 0 ||
                       strcmp(text, "1") == 0 || strcmp(text, "on") == 0);
}

static int
said(struct millrace_error *error, const struct mr_err *err)
{
    if (error) {
        error->code = (int)err->status;
        (void)snprintf(error->what, sizeof error->what, "%s", err->what);
        (void)snprintf(error->why, sizeof error->why, "%s", err->why);
        (void)snprintf(error->todo, sizeof error->todo, "%s", err->todo);
    }
    return (int)err->status;
}

static int
load_keys(struct millrace *mr, const struct millrace_options *options,
    struct millrace_error *error)
{
    const char *key_file =
        options->key_file ? options->key_file : getenv("MILLRACE_KEY_FILE");
    const char *server_key =
        options->server_key ? options->server_key : getenv("MILLRACE_SERVER_KEY");
    bool is_insecure = options->is_insecure || is_yes(getenv("MILLRACE_INSECURE"));
    struct mr_err err = {.status = MR_OK};

    if (mr_curve_peer_load(&mr->peer, key_file, server_key, is_insecure, &err))
        return said(error, &err);
    for (unsigned i = 0; i < mr->endpoint_count; i++)
        if (mr_curve_peer_check(&mr->peer, mr->endpoints[i], &err))
            return said(error, &err);
    return MILLRACE_OK;
}

static int
start(struct millrace *mr, struct millrace_error *error)
{
    static const char what[] = "The handle was not opened.";

    mr->context = zmq_ctx_new();
    if (!mr->context || mr_mailbox_new(&mr->inbox) || mr_mailbox_new(&mr->completions))
        return mr_lib_error(error, MILLRACE_NO_MEMORY, what, "No memory or descriptors.");
    (void)zmq_ctx_set(mr->context, ZMQ_BLOCKY, 0);
    /* A thread of libzmq's making: it has all signals blocked from its first moment. */
    mr->thread = zmq_threadstart(mr_lib_link_run, mr);
    return mr->thread ? MILLRACE_OK
                      : mr_lib_error(error, MILLRACE_NO_MEMORY, what, "No thread.");
}

struct millrace *
millrace_open(const struct millrace_options *options, struct millrace_error *error)
{
    static const struct millrace_options nothing = {.endpoints = NULL};
    struct millrace *mr = calloc(1, sizeof *mr);
    const char *endpoints;

    if (!options)
        options = &nothing;
    if (!mr) {
        (void)mr_lib_error(
            error, MILLRACE_NO_MEMORY, "The handle was not opened.", "No memory.");
        return NULL;
    }
    endpoints = options->endpoints ? options->endpoints : getenv("MILLRACE_ENDPOINT");
    mr->instance = mr_uuid_new(mr_clock_now().wall_us);
    mr->hash_key = mr_hash_key_random();
    mr->default_timeout_ms =
        options->default_timeout_ms ? options->default_timeout_ms : TIMEOUT_DEFAULT_MS;
    mr->outstanding_max =
        options->outstanding_max ? options->outstanding_max : OUTSTANDING_DEFAULT;
    set_name(mr, options->name);
    if (split_endpoints(mr, endpoints ? endpoints : ENDPOINT_DEFAULT, error) ||
        check_endpoints(mr, error) || load_keys(mr, options, error) ||
        mr_lib_seal_open(mr, options, error) || start(mr, error)) {
        millrace_close(mr);
        return NULL;
    }
    return mr;
}

static struct mr_lib_req *
take_completion(struct millrace *mr)
{
    return (struct mr_lib_req *)(void *)mr_mailbox_take(mr->completions);
}

static void
stop_thread(struct millrace *mr)
{
    struct mr_lib_req stop = {.type = MR_LIB_STOP};

    MR_ASSERT(sem_init(&stop.done, 0, 0) == 0);
    mr_lib_request_give(mr, &stop);
    mr_lib_request_await(&stop);
    zmq_threadclose(mr->thread);
    (void)sem_destroy(&stop.done);
}

void
millrace_close(struct millrace *mr)
{
    struct mr_lib_req *req;

    if (!mr)
        return;
    if (mr->thread)
        stop_thread(mr);
    while (mr->completions && (req = take_completion(mr)))
        mr_lib_request_free(req);
    if (mr->context)
        (void)zmq_ctx_term(mr->context);
    mr_curve_peer_fini(&mr->peer);
    mr_mailbox_destroy(&mr->completions);
    mr_mailbox_destroy(&mr->inbox);
    for (unsigned i = 0; i < mr->endpoint_count; i++)
        free(mr->endpoints[i]);
    mr_seal_ring_destroy(&mr->ring);
    free(mr);
}

/* ---- Blocking calls ----------------------------------------------------------------------- */

static int
no_memory(struct millrace_error *error, const char *what)
{
    return mr_lib_error(error, MILLRACE_NO_MEMORY, what, "No memory.");
}

/* The code of an ended request; KNOWN and FINISHED are no failures, so `error` stays. */
static int
judge(const struct mr_lib_req *req, const char *what, struct millrace_error *error)
{
    if (req->code != MILLRACE_KNOWN && req->code != MILLRACE_FINISHED)
        (void)mr_lib_error_of(error, req->code, what, req);
    return req->code;
}

int
millrace_ready(struct millrace *mr, int timeout_ms, struct millrace_error *error)
{
    static const char what[] = "The broker cannot be reached.";
    struct mr_lib_req *req = mr_lib_request_new(mr, MR_LIB_READY, timeout_ms);
    int code;

    if (!req)
        return no_memory(error, what);
    mr_lib_request_give(mr, req);
    mr_lib_request_await(req);
    code = judge(req, what, error);
    mr_lib_request_free(req);
    return code;
}

static void
take_result(struct mr_lib_req *req, struct millrace_result *result)
{
    if (!result)
        return;
    *result = req->result;
    req->result = (struct millrace_result){.outcome = 0};
}

static int
submit(struct millrace *mr, const struct millrace_job *job, int timeout_ms,
    struct millrace_result *result, bool until_finished, struct millrace_error *error)
{
    static const char what[] = "The job was not submitted.";
    struct mr_lib_req *req;
    size_t taken;
    int code;

    if (result)
        *result = (struct millrace_result){.outcome = 0};
    code = mr_lib_request_submit(
        mr, job, 1, until_finished, timeout_ms, &taken, &req, error);
    if (code)
        return code;
    mr_lib_request_give(mr, req);
    mr_lib_request_await(req);
    code = judge(req,
        req->code == MILLRACE_TIMEOUT && until_finished ? "The job has not ended in time."
                                                        : what,
        error);
    take_result(req, result);
    mr_lib_request_free(req);
    return code;
}

int
millrace_submit(struct millrace *mr, const struct millrace_job *job, int timeout_ms,
    struct millrace_error *error)
{
    return submit(mr, job, timeout_ms, NULL, false, error);
}

int
millrace_run(struct millrace *mr, const struct millrace_job *job, int timeout_ms,
    struct millrace_result *result, struct millrace_error *error)
{
    return submit(mr, job, timeout_ms, result, true, error);
}

/* A slice of a large submit. */
struct slice {
    struct mr_lib_req *req;
    size_t begin;
};

static bool
is_good(int code)
{
    return code == MILLRACE_OK || code == MILLRACE_KNOWN || code == MILLRACE_FINISHED;
}

/* Waits for the slice; the first bad code goes to *worst. */
static void
take_slice(struct slice *slice, int *codes, int *worst, struct millrace_error *error)
{
    struct mr_lib_req *req = slice->req;

    mr_lib_request_await(req);
    for (uint32_t i = 0; i < req->unit_count; i++) {
        const struct mr_lib_unit *unit = &req->units[i];
        int code = unit->is_settled ? unit->code : req->code;

        if (codes)
            codes[slice->begin + i] = code;
        if (is_good(code) || *worst)
            continue;
        *worst = mr_lib_error_of(error, code, "Some jobs were not submitted.", req);
    }
    mr_lib_request_free(req);
    slice->req = NULL;
}

int
millrace_submit_many(struct millrace *mr, const struct millrace_job *jobs, size_t count,
    int *codes, int timeout_ms, struct millrace_error *error)
{
    struct slice slices[SLICES_MAX] = {{.req = NULL}};
    size_t done = 0;
    size_t turn = 0;
    int worst = MILLRACE_OK;

    while (done < count) {
        struct slice *slice = &slices[turn++ % SLICES_MAX];
        struct millrace_error own = {.code = 0};
        size_t taken;
        int code;

        if (slice->req)
            take_slice(slice, codes, &worst, error);
        slice->begin = done;
        code = mr_lib_request_submit(
            mr, jobs + done, count - done, false, timeout_ms, &taken, &slice->req, &own);
        if (!code)
            mr_lib_request_give(mr, slice->req);
        for (size_t i = 0; code && codes && i < taken; i++)
            codes[done + i] = code;
        if (code && !worst) {
            worst = code;
            if (error)
                *error = own;
        }
        done += taken;
    }
    for (size_t i = 0; i < SLICES_MAX; i++, turn++)
        if (slices[turn % SLICES_MAX].req)
            take_slice(&slices[turn % SLICES_MAX], codes, &worst, error);
    return worst;
}

static int
wait_for(struct millrace *mr, const struct millrace_id *ids, size_t count, int timeout_ms,
    bool only_look, size_t *index, struct millrace_result *result,
    struct millrace_error *error)
{
    static const char what[] = "The job's end was not seen.";
    struct mr_lib_req *req;
    int code;

    if (result)
        *result = (struct millrace_result){.outcome = 0};
    if (count == 0 || count > MR_ITEMS_PER_MESSAGE_MAX)
        return mr_lib_error(
            error, MILLRACE_BAD_ARGUMENT, what, "Give 1 to 4,096 ids to wait for.");
    req = mr_lib_request_wait(mr, ids, (uint32_t)count, timeout_ms);
    if (!req)
        return no_memory(error, what);
    req->wants_only_a_look = only_look;
    mr_lib_request_give(mr, req);
    mr_lib_request_await(req);
    code = judge(req, what, error);
    take_result(req, result);
    if (index)
        *index = req->found;
    mr_lib_request_free(req);
    return code;
}

int
millrace_wait(struct millrace *mr, const struct millrace_id *id, int timeout_ms,
    struct millrace_result *result, struct millrace_error *error)
{
    return wait_for(mr, id, 1, timeout_ms, false, NULL, result, error);
}

int
millrace_wait_any(struct millrace *mr, const struct millrace_id *ids, size_t count,
    int timeout_ms, size_t *index, struct millrace_result *result,
    struct millrace_error *error)
{
    return wait_for(mr, ids, count, timeout_ms, false, index, result, error);
}

int
millrace_fetch(struct millrace *mr, const struct millrace_id *id, int timeout_ms,
    struct millrace_result *result, struct millrace_error *error)
{
    return wait_for(mr, id, 1, timeout_ms, true, NULL, result, error);
}

int
millrace_call(struct millrace *mr, const char *method, const void *args,
    size_t args_bytes, int timeout_ms, void **reply, size_t *reply_bytes,
    struct millrace_error *error)
{
    char what[128];
    struct mr_lib_req *req;
    int code;

    *reply = NULL;
    *reply_bytes = 0;
    (void)snprintf(what, sizeof what, "The broker did not do \"%.64s\".", method);
    if (strlen(method) > MR_NAME_BYTES_MAX ||
        (args && mr_pack_scan(mr_span(args, args_bytes), MR_DEPTH_MAX)))
        return mr_lib_error(error, MILLRACE_BAD_ARGUMENT, what,
            "The arguments are not one msgpack map, or the name is too long.");
    req = mr_lib_request_call(
        mr, method, args ? mr_span(args, args_bytes) : MR_SPAN_NONE, timeout_ms);
    if (!req)
        return no_memory(error, what);
    mr_lib_request_give(mr, req);
    mr_lib_request_await(req);
    code = mr_lib_error_of(error, req->code, what, req);
    if (!code)
        *reply = mr_wr_take(&req->bytes, reply_bytes);
    mr_lib_request_free(req);
    return code;
}

int
millrace_cancel(struct millrace *mr, const struct millrace_id *id, int timeout_ms,
    struct millrace_error *error)
{
    struct millrace_pack args = {.bytes = NULL};
    size_t reply_bytes;
    void *reply;
    int code;

    millrace_pack_map(&args, 1);
    millrace_pack_str(&args, "id");
    millrace_pack_bin(&args, id->b, sizeof id->b);
    code = args.code ? no_memory(error, "The job was not cancelled.")
                     : millrace_call(mr, "cancel", args.bytes, args.n, timeout_ms, &reply,
                           &reply_bytes, error);
    if (!args.code)
        free(reply);
    millrace_pack_free(&args);
    return code;
}

/* ---- Without blocking --------------------------------------------------------------------- */

/* A place among the outstanding ones, or false. */
static bool
enter(struct millrace *mr)
{
    if (atomic_fetch_add(&mr->outstanding, 1) < mr->outstanding_max)
        return true;
    atomic_fetch_sub(&mr->outstanding, 1);
    return false;
}

static int
give(struct millrace *mr, struct mr_lib_req *req, void *tag, struct millrace_error *error)
{
    if (!enter(mr)) {
        mr_lib_request_free(req);
        return mr_lib_error(error, MILLRACE_BUSY, "Nothing was started.",
            "As many are outstanding as the handle allows; take completions first.");
    }
    req->is_async = true;
    req->tag = tag;
    mr_lib_request_give(mr, req);
    return MILLRACE_OK;
}

int
millrace_submit_start(struct millrace *mr, const struct millrace_job *job, unsigned until,
    int timeout_ms, void *tag, struct millrace_error *error)
{
    struct mr_lib_req *req;
    size_t taken;
    int code = mr_lib_request_submit(
        mr, job, 1, until == MILLRACE_UNTIL_FINISHED, timeout_ms, &taken, &req, error);

    return code ? code : give(mr, req, tag, error);
}

int
millrace_wait_start(struct millrace *mr, const struct millrace_id *id, int timeout_ms,
    void *tag, struct millrace_error *error)
{
    struct mr_lib_req *req = mr_lib_request_wait(mr, id, 1, timeout_ms);

    return req ? give(mr, req, tag, error) : no_memory(error, "Nothing was started.");
}

int
millrace_fd(const struct millrace *mr)
{
    return mr_mailbox_fd(mr->completions);
}

static void
forget(struct millrace_error *error)
{
    error->code = MILLRACE_OK;
    error->what[0] = error->why[0] = error->todo[0] = '\0';
}

int
millrace_poll(struct millrace *mr, struct millrace_completion *out)
{
    struct mr_lib_req *req = take_completion(mr);

    if (!req) {
        mr_mailbox_hush(mr->completions);
        req = take_completion(mr);
    }
    if (!req)
        return 0;
    out->tag = req->tag;
    out->code = req->code;
    forget(&out->error); /* a kilobyte, which is not to be zeroed for each job */
    (void)judge(req,
        req->type == MR_LIB_SUBMIT && req->code != MILLRACE_TIMEOUT
            ? "The job was not submitted."
            : "The job's end was not seen.",
        &out->error);
    take_result(req, &out->result);
    memcpy(out->result.id.b, req->id.b, sizeof out->result.id.b);
    mr_lib_request_free(req);
    atomic_fetch_sub(&mr->outstanding, 1);
    return 1;
}

int
millrace_finish(struct millrace *mr, int timeout_ms, struct millrace_completion *out)
{
    int64_t end_us = mr_clock_now().mono_us +
                     (int64_t)(timeout_ms ? timeout_ms : mr->default_timeout_ms) * 1000;

    for (;;) {
        int64_t left_ms = (end_us - mr_clock_now().mono_us + 999) / 1000;

        if (millrace_poll(mr, out))
            return 1;
        if (timeout_ms >= 0 && left_ms <= 0)
            return 0;
        mr_mailbox_wait(mr->completions, timeout_ms < 0 ? -1 : (int)left_ms);
    }
}
