/*
 * Any bytes as what two front ends and three workers do to a broker, one of them in messages of
 * its own making, while the database answers late, loses jobs' rows to others or is down, and the
 * broker is killed. After each step every invariant of the core is checked; besides: nobody is
 * sent a job before its row is stored, or beyond its credit, and only who is there is told
 * anything. The database is a table of SLOTS jobs.
 */
#include "broker/verbs.h"
#include "tests/fuzz/fuzz.h"

const char *const fuzz_seeds[] = {NULL};

enum { CLIENTS = 2, WORKERS = 3, PEERS = CLIENTS + WORKERS, SLOTS = 64, ROWS = 512 };
enum { STEPS_MAX = 400 };

static const struct mr_span owners[2] = {
    {(const uint8_t *)"even", 4}, {(const uint8_t *)"odd", 3}};

struct slot {
    bool is_used, is_stored, is_finished;
    struct mr_uuid id;
    struct mr_stored_job row;
    uint8_t payload[256];
    char queue[MR_NAME_BYTES_MAX], kind[MR_NAME_BYTES_MAX], lane[MR_NAME_BYTES_MAX];
    uint32_t finished_by;
    enum mr_outcome outcome;
};

struct request {
    enum mr_act act;
    bool with_history;
    struct mr_uuid id;
    struct mr_store_op op; /* without its spans, which go to the slot when it is stored */
    struct slot body;
};

static struct {
    struct mr_broker
        broker; /* of which the handlers use core, time, sessions and rights */
    struct mr_core_conf conf;
    struct slot slots[SLOTS];
    struct request requests[ROWS];
    uint32_t first, count; /* of the requests */
    bool is_here[PEERS];
    uint64_t credit[PEERS], sent[PEERS];
} world;

/* ---- the database ----------------------------------------------------------------------------- */

static struct slot *
slot_of(struct mr_uuid id)
{
    struct slot *free_slot = NULL;

    for (uint32_t i = 0; i < SLOTS; i++) {
        struct slot *slot = &world.slots[i];

        if (slot->is_used && mr_uuid_eq(slot->id, id))
            return slot;
        if (!slot->is_used && !free_slot)
            free_slot = slot;
    }
    if (free_slot)
        *free_slot = (struct slot){.is_used = true, .id = id};
    return free_slot;
}

static struct mr_span
keep(void *room, size_t room_bytes, struct mr_span from)
{
    size_t n = from.n < room_bytes ? from.n : room_bytes;

    if (n)
        memcpy(room, from.p, n);
    return mr_span(room, n);
}

/* The row's texts move with the slot. */
static void
set_row(struct slot *slot, const struct mr_store_op *op)
{
    struct mr_job_new *job = &slot->row.job;

    slot->row = (struct mr_stored_job){.job = op->job,
        .submitted_by = owners[mr_span_eq(op->submitted_by, owners[1])],
        .submitted_at_us = op->submitted_at_us};
    job->payload = keep(slot->payload, sizeof slot->payload, op->job.payload);
    job->queue = keep(slot->queue, sizeof slot->queue, op->job.queue);
    job->kind = keep(slot->kind, sizeof slot->kind, op->job.kind);
    job->lane = keep(slot->lane, sizeof slot->lane, op->job.lane);
    job->trace = MR_SPAN_NONE;
}

static void
fill_found(const struct slot *slot, struct mr_store_op *op)
{
    op->status = MR_FINISHED;
    op->found_outcome = slot->outcome;
    op->found_attempt = slot->finished_by;
}

static bool
is_same(const struct mr_job_new *a, const struct mr_job_new *b)
{
    return mr_span_eq(a->payload, b->payload) && mr_span_eq(a->queue, b->queue) &&
           mr_span_eq(a->kind, b->kind);
}

static void
store_job(struct slot *slot, struct request *request)
{
    if (!slot) {
        request->op.status = MR_STORE_FULL;
    } else if (slot->is_stored &&
               !(is_same(&slot->row.job, &request->op.job) &&
                   mr_span_eq(slot->row.submitted_by, request->op.submitted_by))) {
        request->op.status = MR_CONFLICT;
    } else if (slot->is_finished) {
        fill_found(slot, &request->op);
    } else if (slot->is_stored) {
        request->op.status = MR_KNOWN;
    } else {
        set_row(slot, &request->op);
        slot->is_stored = true;
    }
}

static void
store_attempt(struct slot *slot, const struct mr_store_op *op)
{
    struct mr_stored_job *row = &slot->row;

    row->losses += op->attempt_outcome == MR_ATTEMPT_LOST;
    row->failures += op->attempt_outcome == MR_ATTEMPT_FAILED;
    if (op->attempt > row->attempts)
        row->attempts = op->attempt;
    row->retry_at_us = op->retry_at_us;
}

static void
finish(struct slot *slot, uint32_t attempt, enum mr_outcome outcome)
{
    slot->is_finished = true;
    slot->finished_by = attempt;
    slot->outcome = outcome;
}

static void
store(struct request *request)
{
    struct slot *slot = slot_of(request->op.id);

    request->op.status = MR_OK;
    if (request->op.type == MR_STORE_JOB) {
        store_job(slot, request);
        return;
    }
    MR_ASSERT(slot && slot->is_stored); /* nothing about a job that was not accepted */
    if (request->op.type == MR_STORE_ATTEMPT)
        store_attempt(slot, &request->op);
    else if (slot->is_finished)
        fill_found(slot, &request->op);
    else
        finish(slot, request->op.attempt, request->op.outcome);
}

static void
read_back(const struct request *request, const struct mr_stored_job *row)
{
    struct mr_stored_job payload = {.lacks_history = true};

    if (row && !request->with_history) {
        payload.job.id = row->job.id;
        payload.job.trace = row->job.trace;
        payload.job.payload = row->job.payload;
        row = &payload;
    }
    mr_core_read_back(world.broker.core, world.broker.now, request->id, row);
}

static void
answer_one(void)
{
    struct request *request = &world.requests[world.first];
    const struct slot *slot = slot_of(request->id);
    bool is_there = slot && slot->is_stored && !slot->is_finished;
    struct mr_core *core = world.broker.core;

    world.first = (world.first + 1) % ROWS;
    world.count--;
    if (request->act == MR_ACT_STORE) {
        store(request);
        mr_core_stored(core, world.broker.now, &request->op);
    } else if (request->act == MR_ACT_FIND) {
        mr_core_found(core, world.broker.now,
            &(struct mr_found){.id = request->id,
                .exists = slot && slot->is_stored,
                .is_finished = slot && slot->is_finished,
                .submitted_by =
                    slot && slot->is_stored ? slot->row.submitted_by : MR_SPAN_NONE,
                .outcome = slot ? slot->outcome : MR_SUCCEEDED,
                .attempt = slot ? slot->finished_by : 0});
    } else {
        read_back(request, is_there ? &slot->row : NULL);
    }
}

/* ---- what the core wants ------------------------------------------------------------------------- */

static void
take_request(const struct mr_action *action)
{
    struct request *request = &world.requests[(world.first + world.count) % ROWS];

    MR_ASSERT(world.count++ < ROWS);
    *request = (struct request){.act = action->act,
        .with_history = action->with_history,
        .id = action->op ? action->op->id : action->id};
    if (!action->op)
        return;
    set_row(&request->body, action->op);
    request->op = *action->op;
    request->op.job = request->body.row.job;
    request->op.text = request->op.worker = MR_SPAN_NONE;
    request->op.submitted_by = request->body.row.submitted_by;
}

static void
on_action(void *context, const struct mr_action *action)
{
    (void)context;
    switch (action->act) {
    case MR_ACT_STORE:
    case MR_ACT_FIND:
    case MR_ACT_READ:
        take_request(action);
        return;
    case MR_ACT_END_SESSIONS:
    case MR_ACT_SWEEP:
    case MR_ACT_ADD_KIND:
        return;
    case MR_ACT_JOB:
        MR_ASSERT(action->peer >= CLIENTS && slot_of(action->job->id)->is_stored);
        MR_ASSERT(++world.sent[action->peer] <= world.credit[action->peer]);
        break;
    case MR_ACT_DROP_PEER:
        MR_ASSERT(world.is_here[action->peer]);
        world.is_here[action->peer] = false;
        return;
    default:
        break;
    }
    MR_ASSERT(action->peer < PEERS && world.is_here[action->peer]);
}

/* ---- peers --------------------------------------------------------------------------------------- */

static void
join(uint32_t peer, uint8_t how)
{
    struct mr_offer offers[2] = {
        {.kind = mr_span_str("test.noop"), .running_max = how & 3},
        {.kind = mr_span_str("k"), .attempts_max = how >> 4, .backoff_base_ms = 5}};
    struct mr_hello hello = {.role = MR_ROLE_WORKER,
        .name = mr_span_str("worker"),
        .threads = how & 7,
        .offers = how & 8 ? 1 : 2};
    enum mr_status status;

    if (world.is_here[peer])
        return;
    hello.instance.b[0] = (uint8_t)(1 + (how >> 6)); /* who may be there already */
    world.is_here[peer] = true;
    world.credit[peer] = world.sent[peer] = 0;
    status = peer < CLIENTS ? mr_core_client_joins(world.broker.core, world.broker.now,
                                  peer, 1 + peer % 2, mr_span_str("client"))
                            : mr_core_worker_joins(world.broker.core, world.broker.now,
                                  peer, 1 + peer % 2, &hello, offers);
    if (status)
        world.is_here[peer] = false;
}

/* As talk.c does, with what it answers left out. */
static void
say(uint32_t peer, struct mr_span bytes)
{
    static enum mr_status (*const front[MR_VERB_COUNT])(
        struct mr_broker *, uint32_t, const struct mr_msg *) = {
        [MR_SUBMIT] = mr_front_on_submit, [MR_WATCH] = mr_front_on_watch};
    static enum mr_status (*const back[MR_VERB_COUNT])(struct mr_broker *, uint32_t,
        const struct mr_msg *) = {[MR_CREDIT] = mr_back_on_credit,
        [MR_DONE] = mr_back_on_done,
        [MR_BEAT] = mr_back_on_beat};
    struct mr_msg msg;

    if (!world.is_here[peer] || mr_msg_open(bytes, &msg))
        return;
    mr_core_heard(world.broker.core, world.broker.now, peer);
    uint64_t limit;
    if (msg.verb == MR_CREDIT && mr_get_credit(&msg, &limit) == MR_OK &&
        limit > world.credit[peer])
        world.credit[peer] = limit;
    if ((peer < CLIENTS ? front : back)[msg.verb] &&
        (peer < CLIENTS ? front : back)[msg.verb](&world.broker, peer, &msg) == MR_OK)
        return;
}

/* ---- steps ----------------------------------------------------------------------------------------- */

static uint32_t
front_peer(uint8_t byte)
{
    return byte % CLIENTS;
}

static uint32_t
back_peer(uint8_t byte)
{
    return CLIENTS + byte % WORKERS;
}

/* The n-th id of ours; that of the golden messages is one of them. */
static struct mr_uuid
id_of(uint8_t n)
{
    struct mr_uuid id = {{0x01, 0x7f, 0x22, 0xe2, 0x79, 0xb0, 0x7c, 0xc3, 0x98, 0xc4,
        0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f}};

    id.b[15] ^= n % 16;
    return id;
}

static void
step_frame(struct fuzz_in *in)
{
    uint32_t peer = fuzz_byte(in) % PEERS;
    size_t n;
    uint8_t *bytes = fuzz_chunk(in, &n);

    say(peer, mr_span(bytes, n));
    free(bytes);
}

static void
step_submit(struct fuzz_in *in)
{
    static const char *const kinds[] = {"test.noop", "k", "nobody", "k"};
    uint8_t which = fuzz_byte(in), how = fuzz_byte(in), more = fuzz_byte(in);
    struct mr_job_new job = {.id = id_of(which),
        .queue = mr_span_str(how & 4 ? "default" : "q"),
        .kind = mr_span_str(kinds[how & 3]),
        .payload = mr_span(&kinds[how & 3][0], how >> 7),
        .priority = more % 10,
        .lane = mr_span_str(how & 8 ? "lane" : ""),
        .delay_ms = how & 16 ? more : 0,
        .attempts_max = how & 32 ? 1 + more % 3 : 0,
        .expires_at_us = how & 64 ? world.broker.now.wall_us + more * 1000 : 0};
    uint32_t peer = front_peer(which >> 4);

    if (!world.is_here[peer] || mr_core_submit_open(world.broker.core, world.broker.now,
                                    peer, which, which >> 6, 1))
        return;
    mr_core_submit_job(world.broker.core, world.broker.now, &job);
    mr_core_submit_close(world.broker.core, world.broker.now);
}

/* A worker that is honest writes its result's row first. */
static void
step_done(struct fuzz_in *in)
{
    uint8_t which = fuzz_byte(in), how = fuzz_byte(in);
    struct mr_done done = {.id = id_of(which),
        .attempt = (how >> 4) + 1u,
        .report = (enum mr_report)(1 + (how & 15) % MR_REPORT_LAST),
        .outcome = MR_SUCCEEDED,
        .text = mr_span_str("so it went"),
        .retry_after_ms = which & 128 ? 7 : 0};
    struct slot *slot = slot_of(done.id);
    uint32_t peer = back_peer(which >> 4);

    if (!world.is_here[peer])
        return;
    if (done.report == MR_DID_SUCCEED && slot && slot->is_stored && !slot->is_finished &&
        !(which & 64))
        finish(slot, done.attempt, MR_SUCCEEDED);
    mr_core_done_open(world.broker.core, world.broker.now, peer, how, 0, 1);
    mr_core_done(world.broker.core, world.broker.now, &done);
    mr_core_done_close(world.broker.core, world.broker.now);
}

static void
step_held(struct fuzz_in *in)
{
    uint8_t which = fuzz_byte(in), how = fuzz_byte(in);
    uint32_t peer = back_peer(which >> 4);

    if (world.is_here[peer])
        mr_core_held(world.broker.core, world.broker.now, peer,
            &(struct mr_held){.id = id_of(which), .attempt = how % 8, .permille = how});
}

static void
step_credit(struct fuzz_in *in)
{
    uint8_t which = fuzz_byte(in);
    uint32_t peer = back_peer(which);

    if (!world.is_here[peer])
        return;
    world.credit[peer] += which >> 4;
    mr_core_credit(world.broker.core, world.broker.now, peer, world.credit[peer]);
}

static void
step_ask(struct fuzz_in *in)
{
    uint8_t which = fuzz_byte(in), how = fuzz_byte(in);
    uint32_t peer = front_peer(which >> 4);

    if (!world.is_here[peer])
        return;
    if (how & 1)
        mr_core_cancel(world.broker.core, world.broker.now, peer, how, id_of(which),
            how & 4 ? MR_SCOPE_ANY : MR_SCOPE_OWN);
    else
        mr_core_watch(world.broker.core, world.broker.now, peer, id_of(which), how & 2,
            how & 4 ? MR_SCOPE_ANY : MR_SCOPE_OWN);
}

static void
step_peer(struct fuzz_in *in)
{
    uint8_t which = fuzz_byte(in), how = fuzz_byte(in);
    uint32_t peer = which % PEERS;

    if (which & 128 && world.is_here[peer])
        mr_core_leaves(
            world.broker.core, world.broker.now, peer, mr_span_str("unreachable"));
    join(peer, how);
}

static void
step_store(struct fuzz_in *in)
{
    uint8_t how = fuzz_byte(in);

    if (how >= 0xf0)
        mr_core_store_is_up(world.broker.core, world.broker.now, how & 1);
    for (uint8_t i = 0; i <= how % 16 && world.count > 0; i++)
        answer_one();
}

static void
step_time(struct fuzz_in *in)
{
    uint8_t how = fuzz_byte(in);
    int64_t us = INT64_C(1) << how % 26; /* up to half a minute */

    world.broker.now.mono_us += us;
    world.broker.now.wall_us += how & 128 ? -us : us;
    (void)mr_core_tick(world.broker.core, world.broker.now);
}

static void
step_queue(struct fuzz_in *in)
{
    uint8_t how = fuzz_byte(in);

    if (how == 0xff)
        mr_core_drain(world.broker.core, world.broker.now);
    else if (mr_core_set_paused(world.broker.core, world.broker.now,
                 mr_span_str(how & 1 ? "q" : "default"), how & 2))
        return;
}

/* Two principals that may everything. */
static void
make_rights(void)
{
    static const char *const roles[] = {"front-end", "worker"};

    MR_ASSERT(mr_rights_new(&world.broker.rights, world.conf.hash_key) == MR_OK);
    for (uint32_t i = 0; i < 2; i++) {
        struct mr_rights_row row = {
            .type = MR_ROW_PRINCIPAL, .principal = i + 1, .text = owners[i]};

        MR_ASSERT(mr_rights_add(world.broker.rights, &row) == MR_OK);
        row.type = MR_ROW_GRANT;
        row.queue = row.kind = mr_span_str("*");
        for (size_t k = 0; k < 2; k++) {
            row.text = mr_span_str(roles[k]);
            MR_ASSERT(mr_rights_add(world.broker.rights, &row) == MR_OK);
        }
    }
    MR_ASSERT(mr_rights_seal(world.broker.rights) == MR_OK);
}

/* Numbers as the core has them; they live as long as the world. */
static void
make_sessions(void)
{
    MR_ASSERT(mr_session_table_new(&world.broker.sessions, PEERS, world.conf.hash_key) ==
              MR_OK);
    for (uint32_t i = 0; i < PEERS; i++) {
        uint8_t routing = (uint8_t)i;
        uint32_t number = mr_session_add(world.broker.sessions,
            i < CLIENTS ? MR_FRONT : MR_BACK, mr_span(&routing, 1));

        MR_ASSERT(number == i);
        mr_session_at(world.broker.sessions, i)->principal = 1 + i % 2;
    }
}

static void
start(void)
{
    MR_ASSERT(mr_core_new(&world.broker.core, &world.conf, on_action, NULL) == MR_OK);
    MR_ASSERT(mr_core_knows_kind(world.broker.core, mr_span_str("k")) == MR_OK);
    mr_core_set_rights(world.broker.core, world.broker.now, world.broker.rights);
    world.first = world.count = 0;
    memset(world.is_here, 0, sizeof world.is_here);
}

static void
load(uint8_t how)
{
    for (uint32_t i = 0; i < SLOTS; i++) {
        struct mr_stored_job row = world.slots[i].row;

        if (!world.slots[i].is_stored || world.slots[i].is_finished)
            continue;
        if (how & 1)
            row.job.payload = MR_SPAN_NONE;
        MR_ASSERT(mr_core_loaded(world.broker.core, world.broker.now, &row) == MR_OK);
    }
    mr_core_load_done(world.broker.core, world.broker.now);
}

/* Killed: what was not stored is gone. The peers come back before the rows are loaded. */
static void
step_kill(struct fuzz_in *in)
{
    uint8_t how = fuzz_byte(in);

    mr_core_destroy(&world.broker.core);
    start();
    for (uint32_t peer = 0; peer < PEERS; peer++)
        if (how & 2u << peer)
            join(peer, how);
    load(how);
}

static void
set_up(void)
{
    for (uint32_t i = 0; i < SLOTS; i++)
        world.slots[i].is_used = world.slots[i].is_stored = false;
    world.broker.now = (struct mr_now){1000000000, INT64_C(1645557742000000)};
    mr_core_conf_default(&world.conf);
    world.conf.jobs_max = SLOTS;
    world.conf.storing_max = SLOTS;
    world.conf.workers_max = WORKERS;
    world.conf.clients_max = CLIENTS;
    world.conf.queues_max = 4;
    world.conf.kinds_max = 8;
    world.conf.lanes_max = 8;
    world.conf.watches_max = 16;
    world.conf.payload_bytes_max = 1 << 16;
    world.conf.id_past_ms = world.conf.id_future_ms = INT64_C(1) << 40;
    make_rights();
    make_sessions();
    start();
    mr_core_load_done(world.broker.core, world.broker.now);
    for (uint32_t peer = 0; peer < PEERS; peer++)
        join(peer, (uint8_t)(peer << 6 | 2));
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static void (*const steps[])(struct fuzz_in *) = {step_submit, step_store,
        step_credit, step_time, step_done, step_held, step_ask, step_peer, step_frame,
        step_queue, step_kill};
    struct fuzz_in in = {bytes, bytes + n};

    set_up();
    for (unsigned i = 0; i < STEPS_MAX && in.p < in.end; i++) {
        steps[fuzz_byte(&in) % (sizeof steps / sizeof *steps)](&in);
        mr_core_check(world.broker.core);
    }
    mr_core_destroy(&world.broker.core);
    mr_session_table_destroy(&world.broker.sessions);
    mr_rights_destroy(&world.broker.rights);
    return 0;
}
