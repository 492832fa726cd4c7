/*
 * Any bytes as what a broker says to a worker, while handlers end, hang and time out, the
 * connection breaks and the worker is told to stop. What the session says can be read; what it
 * holds stays within its bounds; an attempt is with one executor at a time.
 */
#include "tests/fuzz/fuzz.h"

#include "schemas/base/log.h"
#include "worker/link_priv.h"
#include "worker/settings.h"

#include <zmq.h>

const char *const fuzz_seeds[] = {NULL};

enum { THREADS = 3, STEPS_MAX = 300, AWAY_MAX = 512 };

struct away {
    struct mr_attempt *attempt;
    uint32_t executor;
    bool is_storing, is_replaced;
};

static struct {
    struct mr_link link;
    struct mr_registry *kinds;
    struct mr_session *session;
    struct mr_now now;
    struct away away[AWAY_MAX]; /* with executors and the committer */
    uint32_t away_count;
    struct mr_batch *batches[THREADS]; /* NULL: idle */
    uint32_t items[THREADS];           /* the next to be claimed */
    uint64_t credit;
} world;

static enum millrace_answer
run(struct millrace_job *job)
{
    (void)job;
    return MILLRACE_SUCCEEDED;
}

static const struct millrace_kind noop = {.name = "test.noop", .run = run};
static const struct millrace_kind alone = {
    .name = "route.plan", .run = run, .running_max = 1};
static const struct millrace_kind *const kinds[] = {&noop, &alone, NULL};

/* ---- executors and the committer ---------------------------------------------------------- */

/* The next of its batch, or it is idle. */
static void
go_on(uint32_t executor)
{
    struct mr_batch *batch = world.batches[executor];

    while (world.items[executor] < batch->count) {
        struct mr_batch_item *item = &batch->items[world.items[executor]++];

        if (!mr_batch_claim(item, world.now.mono_us))
            continue;
        MR_ASSERT(world.away_count < AWAY_MAX);
        for (uint32_t i = 0; i < world.away_count; i++)
            MR_ASSERT(world.away[i].attempt != item->attempt);
        world.away[world.away_count++] =
            (struct away){.attempt = item->attempt, .executor = executor};
        return;
    }
    world.batches[executor] = NULL;
    mr_session_idle(world.session, executor);
}

static void
on_act(void *context, enum mr_session_act act, uint32_t executor, struct mr_batch *batch,
    struct mr_attempt *attempt)
{
    (void)context;
    if (act == MR_SESSION_HURRY)
        return;
    MR_ASSERT(executor < THREADS);
    if (act == MR_SESSION_START) {
        MR_ASSERT(!world.batches[executor] && batch->count);
        world.batches[executor] = batch;
        world.items[executor] = 0;
        go_on(executor);
        return;
    }
    MR_ASSERT(attempt);
    if (act != MR_SESSION_REPLACE)
        return;
    world.batches[executor] = NULL;
    for (uint32_t i = 0; i < world.away_count; i++)
        if (world.away[i].attempt == attempt)
            world.away[i].is_replaced = true;
}

static void
come_back(uint32_t at, uint8_t how)
{
    struct away *away = &world.away[at];
    struct mr_attempt *attempt = away->attempt;
    uint32_t executor = away->executor;
    bool goes_on = !away->is_storing && !away->is_replaced;

    mr_attempt_report(attempt, (enum mr_report)(1 + how % MR_DID_TIME_OUT),
        mr_span_str(how & 64 ? "so it\xffwent" : ""));
    attempt->rings = how & 128;
    attempt->done.started_at_us = world.now.wall_us - how * 8;
    attempt->done.finished_at_us = world.now.wall_us;
    *away = world.away[--world.away_count];
    mr_session_returned(world.session, attempt);
    if (goes_on)
        go_on(executor);
}

static void
step_end(struct fuzz_in *in)
{
    uint8_t which = fuzz_byte(in), how = fuzz_byte(in);

    if (world.away_count)
        come_back(which % world.away_count, how);
}

/* The handler is through; its result goes to the committer. */
static void
step_store(struct fuzz_in *in)
{
    uint8_t which = fuzz_byte(in);
    struct away *away = world.away_count ? &world.away[which % world.away_count] : NULL;

    if (!away || away->is_storing || away->is_replaced)
        return;
    away->is_storing = true;
    atomic_store(&away->attempt->is_handled, true);
    away->attempt->stored_bytes = which * 8u;
    go_on(away->executor);
}

static void
step_progress(struct fuzz_in *in)
{
    uint8_t which = fuzz_byte(in);

    if (world.away_count)
        mr_attempt_progress(world.away[which % world.away_count].attempt, which * 3u,
            mr_span_str("half way"));
}

/* ---- the broker -------------------------------------------------------------------------------- */

static void
read_dones(const struct mr_msg *msg)
{
    struct mr_dones dones;
    struct mr_done done;

    MR_ASSERT(mr_get_dones(msg, &dones) == MR_OK && dones.dones > 0);
    while (dones.dones)
        MR_ASSERT(mr_get_done(&dones, &done) == MR_OK);
}

static void
read_beat(const struct mr_msg *msg)
{
    struct mr_beat beat;
    struct mr_held held;

    MR_ASSERT(mr_get_beat(msg, &beat) == MR_OK);
    while (beat.held)
        MR_ASSERT(mr_get_held(&beat, &held) == MR_OK);
}

static void
read_credit(const struct mr_msg *msg)
{
    uint64_t limit;

    MR_ASSERT(mr_get_credit(msg, &limit) == MR_OK && limit > world.credit);
    world.credit = limit;
}

/* Only to say that it drains. */
static void
read_bye(const struct mr_msg *msg)
{
    struct mr_span reason;
    uint32_t flags;

    MR_ASSERT(mr_get_bye(msg, &reason, &flags) == MR_OK && flags == MR_BYE_DRAIN);
    MR_ASSERT(mr_session_is_draining(world.session));
}

static void
step_say(struct fuzz_in *in)
{
    struct mr_wr wr;
    struct mr_msg msg;

    (void)in;
    mr_wr_init(&wr, MR_MESSAGE_BYTES_MAX);
    while (mr_session_say(world.session, world.now, &wr)) {
        MR_ASSERT(wr.status == MR_OK && mr_msg_open(mr_wr_span(&wr), &msg) == MR_OK);
        if (msg.verb == MR_DONE)
            read_dones(&msg);
        else if (msg.verb == MR_BEAT)
            read_beat(&msg);
        else if (msg.verb == MR_BYE)
            read_bye(&msg);
        else
            read_credit(&msg);
        mr_wr_reset(&wr);
    }
    mr_wr_fini(&wr);
}

static void
greet(uint32_t heartbeat_ms)
{
    struct mr_wr wr;

    mr_wr_init(&wr, MR_MESSAGE_BYTES_MAX);
    mr_put_welcome(
        &wr, 1, &(struct mr_welcome){.proto = 1, .heartbeat_ms = heartbeat_ms});
    world.link.state = MR_LINK_GREETING;
    world.credit = 0;
    mr_link_talk_frame(&world.link, mr_wr_span(&wr), world.now);
    MR_ASSERT(world.link.state == MR_LINK_UP);
    mr_wr_fini(&wr);
}

/* As the link does at the end of its turn. */
static void
fall_if_it_must(void)
{
    mr_wr_reset(&world.link.out);
    if (!world.link.must_fall)
        return;
    world.link.must_fall = world.link.is_refused = false;
    mr_session_fell(world.session);
    greet(1000);
}

static void
step_frame(struct fuzz_in *in)
{
    size_t n;
    uint8_t *bytes = fuzz_chunk(in, &n);

    mr_link_talk_frame(&world.link, mr_span(bytes, n), world.now);
    free(bytes);
    fall_if_it_must();
}

static struct mr_uuid
id_of(uint8_t n)
{
    struct mr_uuid id = {{0}};

    id.b[15] = n % 16;
    return id;
}

static void
step_jobs(struct fuzz_in *in)
{
    uint8_t which = fuzz_byte(in), how = fuzz_byte(in);
    struct mr_job_sent sent = {.id = id_of(which),
        .attempt = 1 + (how & 3),
        .kind = mr_span_str(how & 4   ? "test.noop"
                            : how & 8 ? "route.plan"
                                      : "nobody"),
        .payload = mr_span_str("\xc3"),
        .timeout_ms = how & 16 ? 100 : 0};

    if (mr_session_job(world.session, world.now, &sent))
        world.link.must_fall = true;
    fall_if_it_must();
}

static void
step_revoke(struct fuzz_in *in)
{
    uint8_t which = fuzz_byte(in), how = fuzz_byte(in);

    mr_session_revoked(world.session, world.now,
        &(struct mr_revoked){.id = id_of(which),
            .attempt = 1 + (how & 3),
            .why = (enum mr_why)(1 + (how >> 2) % 3)});
}

static void
step_answer(struct fuzz_in *in)
{
    uint8_t corr = fuzz_byte(in), how = fuzz_byte(in);

    if (how < 128)
        mr_session_acked(world.session, corr);
    else
        (void)mr_session_refused(
            world.session, world.now, corr, how & 1 ? MR_BUSY : MR_MALFORMED, how);
}

static void
step_link(struct fuzz_in *in)
{
    uint8_t how = fuzz_byte(in);

    if (how >= 0xf8)
        mr_session_drain(world.session, world.now);
    else
        world.link.must_fall = true;
    fall_if_it_must();
}

static void
step_time(struct fuzz_in *in)
{
    uint8_t how = fuzz_byte(in);
    int64_t us = INT64_C(1) << how % 24; /* up to 8 seconds */

    world.now.mono_us += us;
    world.now.wall_us += how & 128 ? -us : us;
    (void)mr_session_tick(world.session, world.now);
}

/* ---- all of it ------------------------------------------------------------------------------------ */

static void
once(void)
{
    static const struct mr_settings settings = {.ready_file = ""};
    void *context;

    if (world.kinds)
        return;
    context = zmq_ctx_new();
    mr_log_open("fuzz", MR_LOG_ERROR);
    MR_ASSERT(mr_registry_new(&world.kinds) == MR_OK);
    MR_ASSERT(mr_registry_add(world.kinds, kinds, "fuzz", NULL) == MR_OK);
    world.link.conf.settings = &settings;
    world.link.socket = zmq_socket(context, ZMQ_DEALER); /* connected to nobody */
    MR_ASSERT(world.link.socket);
    mr_wr_init(&world.link.out, MR_MESSAGE_BYTES_MAX);
}

static void
set_up(void)
{
    struct mr_session_conf conf = {.threads = THREADS,
        .prefetch = 2,
        .prefetch_max = 6,
        .results_max = 4,
        .results_bytes_max = 1000,
        .hang_grace_ms = 500,
        .spares = 2,
        .drain_ms = 2000,
        .hash_key = {1, 2},
        .kinds = world.kinds};

    world.now = (struct mr_now){1000000, INT64_C(1764000000000000)};
    memset(world.batches, 0, sizeof world.batches);
    MR_ASSERT(mr_session_new(&world.session, &conf, on_act, NULL) == MR_OK);
    world.link.session = world.session;
    greet(1000);
}

static void
check(void)
{
    uint32_t running = 0;

    for (uint32_t i = 0; i < THREADS; i++)
        running += world.batches[i] != NULL;
    MR_ASSERT(mr_session_running(world.session) >= running);
    MR_ASSERT(mr_session_running(world.session) <= THREADS);
    MR_ASSERT(mr_session_held(world.session) < 5000);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static void (*const steps[])(struct fuzz_in *) = {step_jobs, step_time, step_end,
        step_say, step_answer, step_revoke, step_store, step_progress, step_frame,
        step_link};
    struct fuzz_in in = {bytes, bytes + n};

    once();
    set_up();
    for (unsigned i = 0; i < STEPS_MAX && in.p < in.end; i++) {
        steps[fuzz_byte(&in) % (sizeof steps / sizeof *steps)](&in);
        check();
    }
    mr_session_destroy(&world.session);
    while (world.away_count)
        mr_attempt_destroy(&world.away[--world.away_count].attempt);
    return 0;
}
