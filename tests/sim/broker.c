#include "tests/sim/sim.h"

/* ---- actions ------------------------------------------------------------------------------------ */

/* NULL: the connection is gone. */
static struct sim_message *
to_peer(struct sim *sim, uint32_t peer, enum sim_type type)
{
    uint32_t actor;

    SIM_MUST(peer < SIM_PEERS && sim->peers[peer]);
    actor = sim->peers[peer] - 1;
    if (sim->actors[actor].connection != sim->peer_connections[peer])
        return NULL;
    return sim_send(sim, actor, type, false);
}

static void
on_store(struct sim *sim, const struct mr_action *action)
{
    struct sim_request request = {
        .type = SIM_STORE, .job = sim_index(action->op->id), .op = *action->op};
    const struct sim_job *job = &sim->jobs[request.job];
    const struct mr_job_new *row = &action->op->job;

    if (action->op->type == MR_STORE_JOB) {
        request.is_forged = row->payload.n != job->payload_bytes ||
                            memcmp(row->payload.p, job->payload, row->payload.n) != 0;
    }
    request.op.text = request.op.worker = MR_SPAN_NONE; /* borrowed for the call only */
    request.op.job = (struct mr_job_new){0};
    sim_store_request(sim, &request);
}

static void
on_question(struct sim *sim, const struct mr_action *action)
{
    struct sim_request request = {
        .type = action->act == MR_ACT_FIND ? SIM_FIND : SIM_READ,
        .job = sim_index(action->id)};

    sim_store_request(sim, &request);
}

static void
on_ack(struct sim *sim, const struct mr_action *action)
{
    struct sim_message *message = to_peer(sim, action->peer, SIM_ACK);

    sim->acks++;
    if (!message)
        return;
    message->corr = action->corr;
    message->count = action->count;
    SIM_MUST(action->verdict_count <= SIM_ITEMS);
    for (uint32_t i = 0; i < action->verdict_count; i++)
        message->items[message->n++] = (struct sim_item){
            .job = action->verdicts[i].index, .code = (uint32_t)action->verdicts[i].code};
}

static void
on_answer(struct sim *sim, const struct mr_action *action)
{
    struct sim_message *message =
        to_peer(sim, action->peer, action->act == MR_ACT_ERROR ? SIM_ERROR : SIM_REPLY);

    if (!message)
        return;
    message->corr = action->corr;
    message->items[message->n++] = (struct sim_item){.code = (uint32_t)action->code};
}

static void
on_job(struct sim *sim, const struct mr_action *action)
{
    uint32_t index = sim_index(action->job->id);
    const struct sim_job *job = &sim->jobs[index];
    struct sim_message *message = to_peer(sim, action->peer, SIM_JOB);

    SIM_MUST(job->is_stored); /* never before the commit */
    SIM_MUST(action->job->payload.n == job->payload_bytes);
    SIM_MUST(memcmp(action->job->payload.p, job->payload, job->payload_bytes) == 0);
    SIM_MUST(!job->run_at_us || job->run_at_us <= sim->now.wall_us);
    SIM_MUST(!job->expires_at_us || job->expires_at_us > sim->now.wall_us);
    SIM_MUST(action->job->attempt > job->attempts);
    SIM_MUST(!sim->is_store_down);
    sim->jobs_sent++;
    if (message)
        message->items[message->n++] =
            (struct sim_item){.job = index, .attempt = action->job->attempt};
}

static void
on_event(struct sim *sim, const struct mr_action *action)
{
    struct sim_message *message = to_peer(sim, action->peer, SIM_EVENT);
    const struct sim_job *job = &sim->jobs[sim_index(action->event->id)];

    if (action->event->type == MR_EVENT_FINISHED)
        SIM_MUST(job->is_finished && job->outcome == action->event->outcome);
    if (!message)
        return;
    message->items[message->n++] = (struct sim_item){.job = sim_index(action->event->id),
        .code = (uint32_t)action->event->type,
        .outcome = action->event->outcome};
}

static void
on_revoke(struct sim *sim, const struct mr_action *action)
{
    struct sim_message *message = to_peer(sim, action->peer, SIM_REVOKE);

    if (message)
        message->items[message->n++] =
            (struct sim_item){.job = sim_index(action->revoked->id),
                .attempt = action->revoked->attempt,
                .code = (uint32_t)action->revoked->why};
}

static void
on_drop_peer(struct sim *sim, const struct mr_action *action)
{
    SIM_MUST(sim->peers[action->peer]);
    sim->peers[action->peer] = 0;
}

static void
on_nothing(struct sim *sim, const struct mr_action *action)
{
    (void)sim;
    (void)action;
}

static void
on_action(void *context, const struct mr_action *action)
{
    static void (*const handlers[])(struct sim *, const struct mr_action *) = {
        [MR_ACT_STORE] = on_store,
        [MR_ACT_END_SESSIONS] = on_nothing,
        [MR_ACT_FIND] = on_question,
        [MR_ACT_READ] = on_question,
        [MR_ACT_SWEEP] = on_nothing,
        [MR_ACT_ADD_KIND] = on_nothing,
        [MR_ACT_ACK] = on_ack,
        [MR_ACT_ERROR] = on_answer,
        [MR_ACT_REPLY] = on_answer,
        [MR_ACT_JOB] = on_job,
        [MR_ACT_EVENT] = on_event,
        [MR_ACT_REVOKE] = on_revoke,
        [MR_ACT_DROP_PEER] = on_drop_peer,
    };

    handlers[action->act](context, action);
}

/* ---- life ---------------------------------------------------------------------------------------- */

void
sim_broker_start(struct sim *sim)
{
    SIM_MUST(mr_core_new(&sim->core, &sim->conf, on_action, sim) == MR_OK);
    sim->is_broker_up = true;
    sim->is_loaded = false;
    sim->load_done_us = sim->now.mono_us + (int64_t)sim_random(sim, 20000);
    SIM_MUST(mr_core_knows_kind(sim->core, mr_span_str("k0")) == MR_OK);
    SIM_MUST(mr_core_knows_kind(sim->core, mr_span_str("k1")) == MR_OK);
}

/* Everything in memory is gone, and every connection with it. */
void
sim_broker_stop(struct sim *sim)
{
    mr_core_check(sim->core);
    mr_core_destroy(&sim->core);
    sim->is_broker_up = false;
    sim->broker_starts_us = sim->now.mono_us + (int64_t)sim_random(sim, 200000);
    sim_store_forget(sim);
    memset(sim->peers, 0, sizeof sim->peers);
    for (uint32_t actor = 0; actor < SIM_ACTORS; actor++)
        sim_lose_connection(sim, actor, false);
}

static void
load(struct sim *sim)
{
    bool is_complete = true;

    for (uint32_t i = 0; i < sim->submitted && is_complete; i++) {
        struct mr_stored_job row = sim_store_row(sim, i, sim_random(sim, 2));

        if (sim->jobs[i].is_stored && !sim->jobs[i].is_finished)
            is_complete = mr_core_loaded(sim->core, sim->now, &row) == MR_OK;
    }
    sim->is_loaded = is_complete;
    if (is_complete)
        mr_core_load_done(sim->core, sim->now);
}

void
sim_broker_step(struct sim *sim)
{
    if (!sim->is_broker_up) {
        if (sim->now.mono_us >= sim->broker_starts_us)
            sim_broker_start(sim);
        return;
    }
    if (!sim->is_loaded && sim->now.mono_us >= sim->load_done_us)
        load(sim);
    sim_store_step(sim);
    SIM_MUST(mr_core_tick(sim->core, sim->now) >= sim->now.mono_us - 1000);
    if (sim_random(sim, 8) == 0)
        mr_core_check(sim->core);
}

/* ---- peers ---------------------------------------------------------------------------------------- */

void
sim_broker_connect(struct sim *sim, uint32_t number)
{
    const struct sim_actor *actor = &sim->actors[number];
    struct mr_offer offers[2] = {{.kind = mr_span_str("k0")},
        {.kind = mr_span_str("k1"), .running_max = 2, .backoff_base_ms = 5}};
    struct mr_hello hello = {
        .role = MR_ROLE_WORKER, .name = mr_span_str("worker"), .threads = 2, .offers = 2};
    enum mr_status status;
    uint32_t peer = (uint32_t)sim_random(sim, SIM_PEERS);

    for (uint32_t i = 0; i < SIM_PEERS && sim->peers[peer]; i++)
        peer = (peer + 1) % SIM_PEERS;
    if (sim->peers
            [peer]) { /* every number is taken by sessions that have yet to fall silent */
        sim_lose_connection(sim, number, false);
        return;
    }
    sim->peers[peer] = number + 1;
    sim->peer_connections[peer] = actor->connection;
    hello.instance.b[0] = (uint8_t)number;
    hello.instance.b[1] = actor->instance;
    status = actor->is_worker
                 ? mr_core_worker_joins(sim->core, sim->now, peer, &hello, offers)
                 : mr_core_client_joins(sim->core, sim->now, peer, mr_span_str("client"));
    if (status) { /* as many as it can: sessions that are gone have to fall silent first */
        SIM_MUST(status == MR_BUSY);
        sim->peers[peer] = 0;
        sim_lose_connection(sim, number, false);
    }
}

static uint32_t
peer_of(const struct sim *sim, uint32_t actor)
{
    for (uint32_t peer = 0; peer < SIM_PEERS; peer++) {
        if (sim->peers[peer] == actor + 1 &&
            sim->peer_connections[peer] == sim->actors[actor].connection)
            return peer;
    }
    return UINT32_MAX;
}

void
sim_broker_disconnect(struct sim *sim, uint32_t actor, bool hears)
{
    uint32_t peer = peer_of(sim, actor);

    if (hears && sim->is_broker_up && peer != UINT32_MAX)
        mr_core_leaves(sim->core, sim->now, peer, mr_span_str("unreachable"));
}

/* ---- messages --------------------------------------------------------------------------------------- */

static void
receive_submit(struct sim *sim, uint32_t peer, const struct sim_message *message)
{
    if (mr_core_submit_open(
            sim->core, sim->now, peer, message->corr, message->flags, message->n))
        return;
    for (uint32_t i = 0; i < message->n; i++) {
        struct mr_job_new job =
            sim_job_new(sim, message->items[i].job, message->items[i].is_forged);

        mr_core_submit_job(sim->core, sim->now, &job);
    }
    mr_core_submit_close(sim->core, sim->now);
}

static void
receive_done(struct sim *sim, uint32_t peer, const struct sim_message *message)
{
    mr_core_done_open(
        sim->core, sim->now, peer, message->corr, MR_DONE_DOORBELL, message->n);
    for (uint32_t i = 0; i < message->n; i++) {
        const struct sim_item *item = &message->items[i];

        mr_core_done(sim->core, sim->now,
            &(struct mr_done){.id = sim->jobs[item->job].id,
                .attempt = item->attempt,
                .report = item->report,
                .outcome = item->outcome,
                .text = mr_span_str("text"),
                .started_at_us = sim->now.wall_us,
                .finished_at_us = sim->now.wall_us,
                .retry_after_ms = item->report == MR_DID_SNOOZE ? 20 : 0});
    }
    mr_core_done_close(sim->core, sim->now);
}

static void
receive_beat(struct sim *sim, uint32_t peer, const struct sim_message *message)
{
    for (uint32_t i = 0; i < message->n; i++)
        mr_core_held(sim->core, sim->now, peer,
            &(struct mr_held){.id = sim->jobs[message->items[i].job].id,
                .attempt = message->items[i].attempt,
                .permille = (uint32_t)sim_random(sim, 3) * 100});
}

void
sim_broker_receive(struct sim *sim, const struct sim_message *message)
{
    uint32_t peer = peer_of(sim, message->actor);

    if (!sim->is_broker_up)
        return;
    if (peer == UINT32_MAX) {
        (void)sim_send(sim, message->actor, SIM_NO_SESSION, false);
        return;
    }
    mr_core_heard(sim->core, sim->now, peer);
    if (message->type == SIM_SUBMIT)
        receive_submit(sim, peer, message);
    else if (message->type == SIM_DONE)
        receive_done(sim, peer, message);
    else if (message->type == SIM_BEAT)
        receive_beat(sim, peer, message);
    else if (message->type == SIM_CREDIT)
        mr_core_credit(sim->core, sim->now, peer, message->corr);
    else if (message->type == SIM_WATCH)
        mr_core_watch(
            sim->core, sim->now, peer, sim->jobs[message->items[0].job].id, true);
    else if (message->type == SIM_CANCEL)
        mr_core_cancel(sim->core, sim->now, peer, message->corr,
            sim->jobs[message->items[0].job].id);
}
