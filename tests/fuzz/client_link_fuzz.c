/*
 * Any bytes as what a broker says to the client library, while submits, waits and calls are
 * under way and the connection breaks. Each request ends once, with what it may end with.
 */
#include "tests/fuzz/fuzz.h"

#include "client/lib_priv.h"

#include <errno.h>
#include <poll.h>

#include <zmq.h>

const char *const fuzz_seeds[] = {NULL};

enum { STEPS_MAX = 200, REQS = 12 };

static struct {
    struct millrace mr;
    struct mr_lib_link link;
    struct mr_lib_req *reqs[REQS];
    int64_t now_us;
} world;

static struct millrace_id
id_of(uint8_t n)
{
    struct millrace_id id = {{0}};

    id.b[15] = n % 8;
    return id;
}

/* ---- requests -------------------------------------------------------------------------------- */

static struct mr_lib_req *
new_submit(uint8_t how)
{
    struct millrace_job jobs[3];
    size_t count = 1 + how % 3, taken;
    struct mr_lib_req *req;

    for (size_t i = 0; i < count; i++)
        jobs[i] = (struct millrace_job){
            .id = id_of((uint8_t)(how + i)), .kind = "k", .priority = 4};
    MR_ASSERT(mr_lib_request_submit(&world.mr, jobs, count, how & 8, 1000, &taken, &req,
                  NULL) == MILLRACE_OK);
    return req;
}

static struct mr_lib_req *
new_of(enum mr_lib_type type, uint8_t how)
{
    struct millrace_id ids[2] = {id_of(how), id_of((uint8_t)(how + 1))};
    struct mr_lib_req *req;

    if (type == MR_LIB_SUBMIT)
        return new_submit(how);
    if (type == MR_LIB_CALL)
        return mr_lib_request_call(&world.mr, "stats", MR_SPAN_NONE, 1000);
    if (type == MR_LIB_READY)
        return mr_lib_request_new(&world.mr, type, 1000);
    req = mr_lib_request_wait(&world.mr, ids, 1 + how % 2, 1000);
    MR_ASSERT(req);
    req->wants_only_a_look = how & 16;
    return req;
}

static void
step_request(struct fuzz_in *in)
{
    static const enum mr_lib_type types[] = {
        MR_LIB_SUBMIT, MR_LIB_WAIT, MR_LIB_CALL, MR_LIB_READY};
    uint8_t how = fuzz_byte(in);
    uint32_t at = 0;

    while (at < REQS && world.reqs[at])
        at++;
    if (at == REQS)
        return;
    world.reqs[at] = new_of(types[how >> 6], how);
    MR_ASSERT(world.reqs[at]);
    world.reqs[at]->deadline_us = world.now_us + (how & 32 ? 3000 : 9000000);
    mr_lib_link_admit(&world.link, world.reqs[at]);
}

/* Those that have ended: nothing of the link leads to them any more. */
static void
collect(void)
{
    for (uint32_t i = 0; i < REQS; i++) {
        struct mr_lib_req *req = world.reqs[i];

        if (!req || sem_trywait(&req->done) != 0)
            continue;
        MR_ASSERT(sem_trywait(&req->done) != 0); /* once */
        MR_ASSERT(mr_status_is_known(req->code));
        for (struct mr_lib_req *open = world.link.open; open; open = open->next)
            MR_ASSERT(open != req);
        mr_lib_request_free(req);
        world.reqs[i] = NULL;
    }
}

/* ---- the connection ---------------------------------------------------------------------------- */

static void
greet(void)
{
    static void *context;
    struct mr_wr wr;

    if (!context)
        context = zmq_ctx_new();
    /* Connected to nobody. There is a limit, and those that were closed go a little later. */
    while (!world.link.socket && !(world.link.socket = zmq_socket(context, ZMQ_DEALER)))
        MR_ASSERT(zmq_errno() == EMFILE && poll(NULL, 0, 1) == 0);

    mr_wr_init(&wr, MR_MESSAGE_BYTES_MAX);
    mr_put_welcome(
        &wr, 1, &(struct mr_welcome){.proto = 1, .heartbeat_ms = 1000, .window_jobs = 5});
    world.link.state = MR_LIB_GREETING;
    mr_lib_link_frame(&world.link, mr_wr_span(&wr), world.now_us);
    MR_ASSERT(world.link.state == MR_LIB_UP);
    mr_wr_fini(&wr);
}

static void
turn(void)
{
    mr_lib_link_work(&world.link, world.now_us);
    MR_ASSERT(!world.link.fall);
    mr_wr_reset(&world.link.out); /* the socket has taken it */
    collect();
    if (world.link.state == MR_LIB_DOWN)
        greet();
}

static void
step_frame(struct fuzz_in *in)
{
    size_t n;
    uint8_t *bytes = fuzz_chunk(in, &n);

    mr_lib_link_frame(&world.link, mr_span(bytes, n), world.now_us);
    free(bytes);
}

static void
say(const struct mr_wr *wr)
{
    MR_ASSERT(wr->status == MR_OK);
    mr_lib_link_frame(&world.link, mr_wr_span(wr), world.now_us);
}

static void
step_ack(struct fuzz_in *in)
{
    static const enum mr_status codes[] = {MR_KNOWN, MR_FINISHED, MR_BUSY, MR_CONFLICT,
        MR_NO_SESSION, MR_STORE_DOWN, MR_NO_KIND, MR_DRAINING};
    uint8_t corr = fuzz_byte(in), how = fuzz_byte(in);
    struct mr_verdict verdict = {.index = how % 4, .code = codes[how >> 5]};
    struct mr_wr wr;

    mr_wr_init(&wr, MR_MESSAGE_BYTES_MAX);
    if (how & 16)
        mr_put_ack(&wr, corr, 1 + (how >> 2) % 3, &verdict, how & 4 ? 1 : 0, how);
    else
        mr_put_error(&wr, corr,
            &(struct mr_error){.code = codes[how >> 5], .text = mr_span_str("no")});
    say(&wr);
    mr_wr_fini(&wr);
}

static void
step_event(struct fuzz_in *in)
{
    uint8_t which = fuzz_byte(in), how = fuzz_byte(in);
    struct mr_event event = {.type = (enum mr_event_type)(1 + how % 5),
        .attempt = 1,
        .outcome = (enum mr_outcome)(1 + how % 4),
        .text = mr_span_str(how & 64 ? "why" : ""),
        .body = mr_span(&which, how >> 7)};
    struct millrace_id id = id_of(which);
    struct mr_wr wr;

    memcpy(event.id.b, id.b, sizeof event.id.b);
    mr_wr_init(&wr, MR_MESSAGE_BYTES_MAX);
    size_t mark = mr_put_events_open(&wr, 0);
    mr_put_event(&wr, &event);
    mr_put_events_close(&wr, mark, 1);
    say(&wr);
    mr_wr_fini(&wr);
}

static void
step_time(struct fuzz_in *in)
{
    world.now_us += INT64_C(1) << fuzz_byte(in) % 24; /* up to 8 seconds */
}

static void
step_fall(struct fuzz_in *in)
{
    (void)in;
    world.link.fall = MR_UNREACHABLE;
}

/* ---- all of it ------------------------------------------------------------------------------------ */

static void
set_up(void)
{
    static char endpoint[] = "tcp://nowhere";
    void *socket = world.link.socket;

    memset(&world, 0, sizeof world);
    world.now_us = 1000000;
    world.mr.default_timeout_ms = 1000;
    world.mr.endpoint_count = 1;
    world.mr.endpoints[0] = endpoint;
    world.mr.hash_key = (struct mr_hash_key){1, 2};
    world.link.mr = &world.mr;
    world.link.random = 1;
    world.link.next_deadline_us = MR_LIB_NEVER;
    world.link.socket = socket;
    world.link.dropped = calloc(MR_ITEMS_PER_MESSAGE_MAX, sizeof *world.link.dropped);
    MR_ASSERT(world.link.dropped);
    mr_wr_init(&world.link.out, MR_MESSAGE_BYTES_MAX);
    greet();
}

static void
tear_down(void)
{
    while (world.link.open)
        mr_lib_link_end(&world.link, world.link.open, MR_TIMEOUT, mr_span_str("the end"));
    collect();
    for (uint32_t i = 0; i < REQS; i++)
        MR_ASSERT(!world.reqs[i]);
    mr_lib_submit_restart(&world.link);
    free(world.link.dropped);
    free(world.link.buckets);
    mr_wr_fini(&world.link.out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static void (*const steps[])(struct fuzz_in *) = {
        step_request, step_ack, step_event, step_time, step_frame, step_fall};
    struct fuzz_in in = {bytes, bytes + n};

    set_up();
    for (unsigned i = 0; i < STEPS_MAX && in.p < in.end; i++) {
        steps[fuzz_byte(&in) % (sizeof steps / sizeof *steps)](&in);
        turn();
    }
    tear_down();
    return 0;
}
