/*
 * Any bytes as what front ends and workers send to the sockets of a broker: all of its loop but the
 * sockets and the writer's thread, for which there are stand-ins here. Whatever it says in
 * answer is a message that can be read, of a verb that brokers say, to somebody who has spoken;
 * and after each turn the core's invariants hold.
 */
#include "broker/act.h"
#include "broker/audit.h"
#include "broker/errand.h"
#include "broker/socket.h"
#include "broker/talk.h"
#include "broker/task.h"
#include "broker/writer.h"
#include "schemas/base/log.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/wire_echo.h"

const char *const fuzz_seeds[] = {NULL};

enum { ACTORS = 6, SLOTS = 48, STEPS_MAX = 200, PROBE_US = 1000000 };

struct slot { /* a row of the database */
    struct mr_uuid id;
    bool is_stored, is_finished;
};

static struct {
    struct mr_broker broker;
    struct mr_settings settings;
    struct mr_task *first, *last; /* given to the writer */
    struct slot slots[SLOTS];
    uint32_t slot_count;
    enum mr_sent moods[ACTORS]; /* what becomes of what is sent to them */
    bool has_spoken[ACTORS];
    FILE *nowhere;
    struct mr_wr again;
} world;

/* The first half are front ends; their address is their number. */
static enum mr_side
side_of(uint32_t actor)
{
    return actor < ACTORS / 2 ? MR_FRONT : MR_BACK;
}

/* ---- in the place of socket.c and writer.c ------------------------------------------------------- */

enum mr_sent
mr_socket_send(void *socket, struct mr_span routing, struct mr_span bytes)
{
    static const bool is_said[MR_VERB_COUNT] = {[MR_WELCOME] = true,
        [MR_PING] = true,
        [MR_BYE] = true,
        [MR_ERROR] = true,
        [MR_ACK] = true,
        [MR_EVENT] = true,
        [MR_JOBS] = true,
        [MR_REVOKE] = true,
        [MR_REPLY] = true};
    struct mr_msg msg;
    uint32_t actor = routing.n == 1 ? routing.p[0] : ACTORS;

    MR_ASSERT(actor < ACTORS && world.has_spoken[actor]);
    MR_ASSERT(socket == &world.broker.sockets[side_of(actor)]);
    MR_ASSERT(mr_msg_open(bytes, &msg) == MR_OK && is_said[msg.verb]);
    mr_wr_reset(&world.again);
    MR_ASSERT(echo_message(bytes, world.nowhere, &world.again) == MR_OK);
    return world.moods[actor];
}

void
mr_writer_give(struct mr_writer *writer, struct mr_task *task)
{
    (void)writer;
    task->next = NULL;
    *(world.last ? &world.last->next : &world.first) = task;
    world.last = task;
}

/* ---- the database --------------------------------------------------------------------------------- */

static struct slot *
slot_of(struct mr_uuid id)
{
    for (uint32_t i = 0; i < world.slot_count; i++)
        if (mr_uuid_eq(world.slots[i].id, id))
            return &world.slots[i];
    if (world.slot_count == SLOTS)
        return NULL;
    world.slots[world.slot_count] = (struct slot){.id = id};
    return &world.slots[world.slot_count++];
}

static void
commit(struct mr_store_op *op)
{
    struct slot *slot = slot_of(op->id);

    op->status = MR_OK;
    if (!slot) {
        op->status = MR_STORE_FULL;
    } else if (slot->is_finished && op->type != MR_STORE_ATTEMPT) {
        op->status = MR_FINISHED;
        op->found_outcome = MR_SUCCEEDED;
        op->found_attempt = 1;
        op->found_text = mr_span_str("as it was");
        op->found_body = mr_span_str("\xc3");
    } else if (op->type == MR_STORE_JOB) {
        op->status = slot->is_stored ? MR_KNOWN : MR_OK;
        slot->is_stored = true;
    } else {
        MR_ASSERT(slot->is_stored); /* nothing about a job that was not accepted */
        slot->is_finished = slot->is_finished || op->type == MR_STORE_RESULT;
    }
}

static void
find(struct mr_task *task)
{
    for (uint32_t i = 0; i < task->id_count; i++) {
        const struct slot *slot = slot_of(task->ids[i]);
        struct mr_found found = {.id = task->ids[i],
            .exists = slot && slot->is_stored,
            .is_finished = slot && slot->is_finished,
            .outcome = MR_SUCCEEDED,
            .attempt = 1,
            .text = mr_span_str("as it was"),
            .body = mr_span_str("\xc3")};

        MR_ASSERT(mr_task_add_found(task, &found));
    }
}

static void
answer(uint8_t how)
{
    struct mr_task *task = world.first;
    bool is_cold = task->type > MR_TASK_ADD_KIND;

    world.first = task->next;
    if (!world.first)
        world.last = NULL;
    task->next = NULL;
    task->status = MR_OK;
    if (is_cold && how & 1)
        task->status = mr_err_set(&task->err, MR_STORE_DOWN, "what", "why", "todo");
    else if (task->type == MR_TASK_COMMIT)
        for (uint32_t i = 0; i < task->batch.count; i++)
            commit(&task->batch.ops[i]);
    else if (task->type == MR_TASK_FIND)
        find(task);
    else if (is_cold)
        mr_wr_nil(&task->out);
    mr_mailbox_give(world.broker.answers, &task->node);
}

/* Of the last actor of each socket: it may a little. */
static const char key[] = "abcdefghijklmnopqrstuvwxyzabcdefghijklmn";

static void
add_right(struct mr_rights *rights, enum mr_rights_row_type type, uint32_t principal,
    const char *text, const char *queue)
{
    MR_ASSERT(mr_rights_add(rights, &(struct mr_rights_row){.type = type,
                                        .principal = principal,
                                        .text = mr_span_str(text),
                                        .queue = mr_span_str(queue),
                                        .kind = mr_span_str("*")}) == MR_OK);
}

static struct mr_rights *
rights_new(void)
{
    static const char *const roles[] = {
        "front-end", "worker", "operator", "auditor", "administrator"};
    struct mr_rights *rights;

    MR_ASSERT(mr_rights_new(&rights, (struct mr_hash_key){5, 6}) == MR_OK);
    add_right(rights, MR_ROW_PRINCIPAL, 1, "local", "");
    add_right(rights, MR_ROW_PRINCIPAL, 2, "guest", "");
    add_right(rights, MR_ROW_KEY, 2, key, "");
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        add_right(rights, MR_ROW_GRANT, 1, roles[i], "*");
    add_right(rights, MR_ROW_GRANT, 2, "front-end", "d*");
    add_right(rights, MR_ROW_GRANT, 2, "run", "default");
    MR_ASSERT(mr_rights_seal(rights) == MR_OK);
    return rights;
}

static void
tell_news(enum mr_news news)
{
    struct mr_task *task = mr_task_new(MR_TASK_NEWS);

    MR_ASSERT(task);
    task->news = news;
    task->epoch = 7;
    if (news == MR_NEWS_CLAIMED)
        task->rights = rights_new();
    mr_mailbox_give(world.broker.answers, &task->node);
}

/* ---- steps ------------------------------------------------------------------------------------------ */

static void
say(uint32_t actor, struct mr_span bytes)
{
    uint8_t address = (uint8_t)actor;

    world.has_spoken[actor] = true;
    mr_talk_message(&world.broker, side_of(actor), mr_span(&address, 1),
        mr_span_str(actor % 2 ? key : MR_PRINCIPAL_LOCAL), bytes);
}

static void
step_frame(struct fuzz_in *in)
{
    uint32_t actor = fuzz_byte(in) % ACTORS;
    size_t n;
    uint8_t *bytes = fuzz_chunk(in, &n);

    say(actor, mr_span(bytes, n));
    free(bytes);
}

static void
step_hello(struct fuzz_in *in)
{
    uint8_t which = fuzz_byte(in), how = fuzz_byte(in);
    uint32_t actor = which % ACTORS;
    struct mr_offer offers[2] = {
        {.kind = mr_span_str("test.noop"), .running_max = how & 3},
        {.kind = mr_span_str("route.plan"), .attempts_max = how >> 5}};
    struct mr_hello hello = {.proto_min = 1,
        .proto_max = 1,
        .role = side_of(actor) == MR_FRONT ? MR_ROLE_CLIENT : MR_ROLE_WORKER,
        .instance = {{which}},
        .name = mr_span_str("peer"),
        .threads = how & 7,
        .offers = side_of(actor) == MR_FRONT ? 0 : 2};
    struct mr_wr wr;

    mr_wr_init(&wr, MR_MESSAGE_BYTES_MAX);
    mr_put_hello(&wr, which, &hello, offers);
    say(actor, mr_wr_span(&wr));
    mr_wr_fini(&wr);
}

/* What a message is about most of the time: one of eight jobs, that of the golden ones first. */
static struct mr_uuid
id_of(uint8_t n)
{
    struct mr_uuid id = {{0x01, 0x7f, 0x22, 0xe2, 0x79, 0xb0, 0x7c, 0xc3, 0x98, 0xc4,
        0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f}};

    id.b[15] ^= n % 8;
    return id;
}

static void
put_submit(struct mr_wr *wr, uint8_t which, uint8_t how)
{
    size_t mark = mr_put_submit_open(wr, which, mr_span_str("q"), how & 3);

    mr_put_submit_job(wr, &(struct mr_job_new){.id = id_of(which),
                              .queue = mr_span_str("q"),
                              .kind = mr_span_str(how & 4 ? "route.plan" : "test.noop"),
                              .payload = mr_span_str("\xc3"),
                              .priority = MR_PRIORITY_DEFAULT,
                              .lane = mr_span_str(how & 8 ? "lane" : ""),
                              .delay_ms = how & 16 ? how : 0});
    mr_put_submit_close(wr, mark, 1);
}

static void
put_done(struct mr_wr *wr, uint8_t which, uint8_t how)
{
    size_t mark = mr_put_dones_open(wr, which, how >> 7);

    mr_put_done(wr, &(struct mr_done){.id = id_of(which),
                        .attempt = 1 + (how >> 5 & 3),
                        .report = (enum mr_report)(1 + (how & 15) % MR_REPORT_LAST),
                        .outcome = MR_SUCCEEDED,
                        .text = mr_span_str("so it went")});
    mr_put_dones_close(wr, mark, 1);
}

static void
put_beat(struct mr_wr *wr, uint8_t which, uint8_t how)
{
    size_t mark = mr_put_beat_open(wr, 0);

    mr_put_held(wr, &(struct mr_held){.id = id_of(which),
                        .attempt = 1 + (how & 3),
                        .permille = how,
                        .text = mr_span_str("half way")});
    mr_put_beat_close(wr, mark, 1);
}

static void
put_credit(struct mr_wr *wr, uint8_t which, uint8_t how)
{
    (void)which;
    mr_put_credit(wr, how);
}

static void
put_watch(struct mr_wr *wr, uint8_t which, uint8_t how)
{
    struct mr_uuid id = id_of(which);

    mr_put_watch(wr, which, &id, 1, how & 1);
}

static void
put_call(struct mr_wr *wr, uint8_t which, uint8_t how)
{
    static const char *const methods[] = {"cancel", "explain", "show", "jobs", "stats",
        "queues", "workers", "kinds", "pause", "resume", "dead", "redrive"};
    struct mr_uuid id = id_of(which);

    mr_put_call_open(wr, how, methods[how % (sizeof methods / sizeof *methods)]);
    mr_wr_map(wr, 3);
    mr_wr_cstr(wr, "id");
    mr_wr_bin(wr, mr_span(id.b, sizeof id.b));
    mr_wr_cstr(wr, "queue");
    mr_wr_cstr(wr, "q");
    mr_wr_cstr(wr, "limit");
    mr_wr_uint(wr, how);
}

static void
step_usual(struct fuzz_in *in)
{
    static void (*const puts[])(struct mr_wr *, uint8_t, uint8_t) = {
        put_submit, put_watch, put_call, put_credit, put_done, put_beat};
    uint8_t what = fuzz_byte(in), which = fuzz_byte(in), how = fuzz_byte(in);
    uint32_t put = what % 6;
    struct mr_wr wr;

    mr_wr_init(&wr, MR_MESSAGE_BYTES_MAX);
    puts[put](&wr, which, how);
    say(put / 3 * 3 + what / 6 % 3, mr_wr_span(&wr));
    mr_wr_fini(&wr);
}

static void
step_answer(struct fuzz_in *in)
{
    uint8_t how = fuzz_byte(in);

    for (uint8_t i = 0; i <= how / 16 && world.first; i++)
        answer(how);
}

static void
step_mood(struct fuzz_in *in)
{
    uint8_t how = fuzz_byte(in);

    if (how >= 0xfc)
        tell_news(how & 1 ? MR_NEWS_UP : MR_NEWS_DOWN);
    else
        world.moods[how % ACTORS] = (enum mr_sent)(how / ACTORS % 3);
}

static void
step_time(struct fuzz_in *in)
{
    int64_t us = INT64_C(1) << fuzz_byte(in) % 25; /* up to 16 seconds */

    world.broker.now.mono_us += us;
    world.broker.now.wall_us += us;
}

/* ---- the loop ------------------------------------------------------------------------------------------ */

/* As in loop.c. */
static void
reap(struct mr_broker *broker)
{
    uint32_t number;

    while ((number = mr_gather_next_gone(broker->gather)) != MR_NO_SESSION_NUMBER) {
        mr_core_leaves(broker->core, broker->now, number, mr_span_str("unreachable"));
        if (mr_session_at(broker->sessions, number) &&
            mr_session_at(broker->sessions, number)->is_gone) {
            mr_gather_drop(broker->gather, number);
            mr_session_remove(broker->sessions, number);
        }
    }
}

static void
turn(void)
{
    struct mr_broker *broker = &world.broker;

    mr_errand_collect(broker->errand);
    MR_ASSERT(!broker->fatal.status);
    if (broker->now.mono_us >= broker->probe_us) {
        broker->probe_us = broker->now.mono_us + PROBE_US;
        mr_talk_probe(broker);
    }
    reap(broker);
    (void)mr_core_tick(broker->core, broker->now);
    mr_errand_dispatch(broker->errand);
    mr_audit_dispatch(broker);
    mr_gather_flush(broker->gather);
    mr_core_check(broker->core);
}

static void
once(void)
{
    if (world.nowhere)
        return;
    mr_log_open("fuzz", MR_LOG_ERROR);
    world.nowhere = fopen("/dev/null", "w");
    mr_wr_init(&world.again, 2 * MR_MESSAGE_BYTES_MAX);
    world.settings = (struct mr_settings){
        .heartbeat_ms = 1000, .busy_retry_ms = 200, .window_jobs = 100, .sweep_ms = 1000};
    MR_ASSERT(world.nowhere && mr_mailbox_new(&world.broker.answers) == MR_OK);
}

static void
configure(struct mr_core_conf *conf)
{
    mr_core_conf_default(conf);
    conf->jobs_max = 24;
    conf->storing_max = 24;
    conf->workers_max = conf->clients_max = 4;
    conf->queues_max = 4;
    conf->kinds_max = 8;
    conf->lanes_max = 8;
    conf->watches_max = 16;
    conf->payload_bytes_max = 16 << 20;
    conf->id_past_ms = conf->id_future_ms = INT64_C(1) << 40;
}

static void
set_up(void)
{
    struct mr_mailbox *answers = world.broker.answers;
    struct mr_broker *broker = &world.broker;
    struct mr_core_conf conf;

    memset(world.moods, 0, sizeof world.moods);
    memset(world.has_spoken, 0, sizeof world.has_spoken);
    world.slot_count = 0;
    *broker = (struct mr_broker){.answers = answers, .settings = &world.settings};
    broker->now = (struct mr_now){1000000000, INT64_C(1645557742000000)};
    for (unsigned side = 0; side < 2; side++)
        broker->sockets[side] = &broker->sockets[side];
    configure(&conf);
    MR_ASSERT(mr_session_table_new(&broker->sessions, conf.workers_max + conf.clients_max,
                  conf.hash_key) == MR_OK);
    MR_ASSERT(mr_gather_new(&broker->gather, broker->sessions, broker->sockets,
                  &broker->meter) == MR_OK);
    MR_ASSERT(mr_errand_new(&broker->errand, broker) == MR_OK);
    MR_ASSERT(mr_auditor_new(&broker->auditor) == MR_OK);
    MR_ASSERT(mr_core_new(&broker->core, &conf, mr_act, broker) == MR_OK);
    tell_news(MR_NEWS_CLAIMED);
}

static void
tear_down(void)
{
    struct mr_broker *broker = &world.broker;

    while (world.first)
        answer(0);
    mr_errand_collect(broker->errand);
    mr_errand_destroy(&broker->errand);
    while (world.first) { /* asked for while these answers were taken */
        struct mr_task *task = world.first;

        world.first = task->next;
        mr_task_destroy(&task);
    }
    world.last = NULL;
    mr_auditor_destroy(&broker->auditor);
    mr_core_destroy(&broker->core);
    mr_rights_destroy(&broker->rights);
    mr_gather_destroy(&broker->gather);
    mr_session_table_destroy(&broker->sessions);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static void (*const steps[])(struct fuzz_in *) = {
        step_usual, step_answer, step_time, step_hello, step_frame, step_mood};
    struct fuzz_in in = {bytes, bytes + n};

    once();
    set_up();
    turn();
    for (unsigned i = 0; i < STEPS_MAX && in.p < in.end; i++) {
        steps[fuzz_byte(&in) % (sizeof steps / sizeof *steps)](&in);
        turn();
    }
    tear_down();
    return 0;
}
