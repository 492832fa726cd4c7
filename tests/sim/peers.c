#include "tests/sim/sim.h"

static uint32_t
peers_max(const struct sim *sim)
{
    return sim->broker.conf.workers_max + sim->broker.conf.clients_max;
}

/* ---- what is said: one message after another is built for each, and sent at the end of a turn - */

static void
flush(struct sim *sim, struct sim_peer *peer)
{
    static void (*const closers[MR_VERB_COUNT])(struct mr_wr *, size_t, uint32_t) = {
        [MR_JOBS] = mr_put_jobs_close,
        [MR_EVENT] = mr_put_events_close,
        [MR_REVOKE] = mr_put_revoke_close,
    };

    if (peer->verb < 0)
        return;
    if (closers[peer->verb])
        closers[peer->verb](&peer->wr, peer->mark, peer->items);
    SIM_MUST(peer->wr.status == MR_OK);
    if (!peer->is_gone)
        peer->is_gone = !sim_send(sim, peer->conn - 1, false, mr_wr_span(&peer->wr));
    mr_wr_reset(&peer->wr);
    peer->verb = -1;
    peer->items = 0;
}

/* NULL: nobody. For JOBS, EVENT and REVOKE the caller puts one item. */
struct mr_wr *
sim_peers_open(struct sim *sim, uint32_t number, enum mr_verb verb)
{
    bool gathers = verb == MR_JOBS || verb == MR_EVENT || verb == MR_REVOKE;
    struct sim_peer *peer;

    SIM_MUST(number < SIM_PEERS_MAX);
    peer = &sim->broker.peers[number];
    if (!peer->conn || peer->is_gone)
        return NULL;
    if (peer->verb != (int)verb || !gathers) {
        flush(sim, peer);
        peer->verb = (int)verb;
        if (verb == MR_JOBS)
            peer->mark = mr_put_jobs_open(&peer->wr, 0);
        else if (verb == MR_EVENT)
            peer->mark = mr_put_events_open(&peer->wr, 0);
        else if (verb == MR_REVOKE)
            peer->mark = mr_put_revoke_open(&peer->wr, 0);
    }
    peer->items++;
    return &peer->wr;
}

void
sim_peers_flush(struct sim *sim)
{
    for (uint32_t i = 0; i < peers_max(sim); i++)
        if (sim->broker.peers[i].conn)
            flush(sim, &sim->broker.peers[i]);
}

void
sim_peers_bye(struct sim *sim)
{
    for (uint32_t i = 0; i < peers_max(sim); i++) {
        struct mr_wr *wr = sim_peers_open(sim, i, MR_BYE);

        if (wr)
            mr_put_bye(wr, 0, mr_span_str("the broker is being stopped"), 0);
    }
}

void
sim_peers_forget(struct sim *sim, uint32_t number)
{
    struct sim_peer *peer = &sim->broker.peers[number];

    if (!peer->conn)
        return;
    flush(sim, peer);
    if (sim->conns[peer->conn - 1].peer == number)
        sim_conn_drop(sim, peer->conn - 1);
    peer->conn = 0;
    peer->is_gone = false;
}

/* A worker may leave before it hears of it. */
void
sim_peers_refuse(struct sim *sim, uint32_t number)
{
    struct mr_uuid instance = sim->broker.peers[number].instance;
    struct sim_worker *worker =
        instance.b[0] > 0 ? &sim->workers[instance.b[0] - 1] : NULL;

    if (worker && mr_uuid_eq(worker->instance, instance))
        worker->was_refused = true;
}

/* Sending happens in the middle of the core's work: who could not be reached leaves now. */
void
sim_peers_reap(struct sim *sim)
{
    for (uint32_t i = 0; i < peers_max(sim); i++) {
        if (!sim->broker.peers[i].conn || !sim->broker.peers[i].is_gone)
            continue;
        mr_core_leaves(sim->broker.core, sim->now, i, mr_span_str("unreachable"));
        SIM_MUST(!sim->broker.peers[i].conn);
    }
}

bool
sim_peer_is_own(const struct sim *sim, uint32_t peer, uint32_t job)
{
    uint32_t conn = sim->broker.peers[peer].conn;

    return conn && sim_is_own(sim, sim->conns[conn - 1].actor - SIM_WORKERS_MAX, job);
}

/* ---- HELLO ------------------------------------------------------------------------------------------ */

static void
answer_error(struct sim *sim, uint32_t conn, uint64_t corr, enum mr_status code)
{
    mr_put_error(&sim->wr, corr, &(struct mr_error){.code = code});
    (void)sim_send(sim, conn, false, mr_wr_span(&sim->wr));
    mr_wr_reset(&sim->wr);
}

static uint32_t
free_number(struct sim *sim)
{
    uint32_t max = peers_max(sim);
    uint32_t number = (uint32_t)sim_random(sim, max);

    for (uint32_t i = 0; i < max; i++, number = (number + 1) % max)
        if (!sim->broker.peers[number].conn)
            return number;
    return SIM_NONE; /* sessions that have yet to fall silent */
}

static enum mr_status
join(struct sim *sim, uint32_t number, uint32_t actor, struct mr_hello *hello)
{
    struct mr_offer offers[SIM_KINDS];
    struct mr_hello rest = *hello;

    if (hello->role == MR_ROLE_CLIENT)
        return mr_core_client_joins(sim->broker.core, sim->now, number,
            SIM_PRINCIPAL(actor - SIM_WORKERS_MAX), hello->name);
    SIM_MUST(hello->offers <= SIM_KINDS);
    for (uint32_t i = 0; i < hello->offers; i++)
        SIM_MUST(mr_get_offer(&rest, &offers[i]) == MR_OK);
    return mr_core_worker_joins(
        sim->broker.core, sim->now, number, SIM_CREW, hello, offers);
}

static void
seat(struct sim *sim, uint32_t number, uint32_t conn)
{
    struct sim_peer *peer = &sim->broker.peers[number];

    if (!peer->wr.max)
        mr_wr_init(&peer->wr, MR_MESSAGE_BYTES_MAX);
    peer->conn = conn + 1;
    peer->verb = -1;
    sim->conns[conn].peer = number;
}

static void
take_hello(struct sim *sim, uint32_t conn, const struct mr_msg *msg)
{
    uint32_t number = free_number(sim);
    enum mr_status status = MR_BUSY;
    struct mr_hello hello;
    struct mr_wr *wr;

    SIM_MUST(mr_get_hello(msg, &hello) == MR_OK);
    if (sim->broker.phase != SIM_SERVING) {
        answer_error(sim, conn, msg->corr, MR_DRAINING);
        return;
    }
    if (number != SIM_NONE) {
        seat(sim, number, conn);
        sim->broker.peers[number].instance = hello.instance;
        status = join(sim, number, sim->conns[conn].actor, &hello);
    }
    sim_log(sim, "hello", sim->conns[conn].actor, number, (uint64_t)status);
    if (status) { /* as many as it can: others have to fall silent first */
        SIM_MUST(status == MR_BUSY);
        answer_error(sim, conn, msg->corr, status);
        if (number != SIM_NONE)
            sim_peers_forget(sim, number);
        return;
    }
    if (hello.role == MR_ROLE_WORKER)
        sim->workers[sim->conns[conn].actor].greeted_us = sim->now.mono_us;
    wr = sim_peers_open(sim, number, MR_WELCOME);
    mr_put_welcome(wr, msg->corr,
        &(struct mr_welcome){.proto = MR_PROTO_VERSION,
            .epoch = sim->store.epoch,
            .heartbeat_ms = sim->broker.conf.heartbeat_ms,
            .wall_us = sim->now.wall_us});
}

/* ---- from clients --------------------------------------------------------------------------------------- */

static void
on_submit(struct sim *sim, uint32_t peer, const struct mr_msg *msg)
{
    struct mr_core *core = sim->broker.core;
    struct mr_submit submit;
    struct mr_job_new job;

    SIM_MUST(mr_get_submit(msg, &submit) == MR_OK);
    if (mr_core_submit_open(core, sim->now, peer, msg->corr, submit.flags, submit.jobs))
        return;
    while (submit.jobs) {
        SIM_MUST(mr_get_submit_job(&submit, &job) == MR_OK);
        mr_core_submit_job(core, sim->now, &job);
    }
    mr_core_submit_close(core, sim->now);
}

static void
on_watch(struct sim *sim, uint32_t peer, const struct mr_msg *msg)
{
    struct mr_watch watch;
    struct mr_uuid id;

    SIM_MUST(mr_get_watch(msg, &watch) == MR_OK);
    while (watch.ids) {
        SIM_MUST(mr_get_watch_id(&watch, &id) == MR_OK);
        mr_core_watch(sim->broker.core, sim->now, peer, id, watch.on, MR_SCOPE_OWN);
    }
}

/* The only CALL that a simulated client knows: cancel, with the id alone. */
static void
on_call(struct sim *sim, uint32_t peer, const struct mr_msg *msg)
{
    struct mr_core_job_info info;
    struct mr_call call;
    struct mr_span key, bin;
    struct mr_uuid id;
    bool was_unsettled;

    SIM_MUST(mr_get_call(msg, &call) == MR_OK);
    SIM_MUST(mr_rd_map(&call.args, 1) == 1);
    key = mr_rd_str(&call.args, 2);
    bin = mr_rd_bin(&call.args, sizeof id.b);
    SIM_MUST(call.args.status == MR_OK && key.n == 2 && bin.n == sizeof id.b);
    memcpy(id.b, bin.p, sizeof id.b);
    was_unsettled = mr_core_job(sim->broker.core, id, &info) == MR_OK &&
                    strcmp(info.state, "settling") != 0; /* else it may be over already */
    sim->broker.replied = MR_OK;
    mr_core_cancel(sim->broker.core, sim->now, peer, msg->corr, id, MR_SCOPE_OWN);
    if (was_unsettled && sim->broker.replied != MR_BUSY &&
        sim_peer_is_own(sim, peer, sim_index(id)))
        sim->jobs[sim_index(id)].cancelled_in = sim->broker.instance;
}

/* ---- from workers --------------------------------------------------------------------------------------- */

static void
on_credit(struct sim *sim, uint32_t peer, const struct mr_msg *msg)
{
    uint64_t limit;

    SIM_MUST(mr_get_credit(msg, &limit) == MR_OK);
    mr_core_credit(sim->broker.core, sim->now, peer, limit);
}

static void
take_done(struct sim *sim, const struct mr_done *done)
{
    uint32_t index = sim_index(done->id);
    struct sim_job *job = &sim->jobs[index];
    bool was_sent = sim_job_is(sim, index, "running");

    SIM_MUST(done->report >= MR_DID_SUCCEED && done->report <= MR_REPORT_LAST);
    if (done->attempt < 64)
        job->reported[done->report] |= UINT64_C(1) << done->attempt;
    sim_log(sim, "done", index, done->attempt, done->report);
    mr_core_done(sim->broker.core, sim->now, done);
    if (was_sent && done->report == MR_DID_GIVE_BACK && sim_job_is(sim, index, "ready"))
        sim_job_returns(sim, index);
}

static void
on_done(struct sim *sim, uint32_t peer, const struct mr_msg *msg)
{
    struct mr_core *core = sim->broker.core;
    struct mr_dones dones, ahead;
    struct mr_done done;

    SIM_MUST(mr_get_dones(msg, &dones) == MR_OK);
    for (ahead = dones; ahead.dones;) {
        SIM_MUST(mr_get_done(&ahead, &done) == MR_OK);
        mr_core_done_ahead(core, sim->now, peer, &done);
    }
    sim->broker.reporter = sim->broker.peers[peer].instance;
    sim->broker.is_reporting = true;
    mr_core_done_open(core, sim->now, peer, msg->corr, dones.flags, dones.dones);
    while (dones.dones) {
        SIM_MUST(mr_get_done(&dones, &done) == MR_OK);
        take_done(sim, &done);
    }
    mr_core_done_close(core, sim->now);
    sim->broker.is_reporting = false;
}

/* What it holds is its own, or it is told to let go. */
static void
take_held(struct sim *sim, uint32_t peer, const struct mr_held *held)
{
    struct mr_core_job_info info;
    char name[16];
    bool is_known;

    sim->broker.has_revoked = false;
    mr_core_held(sim->broker.core, sim->now, peer, held);
    sim_worker_name(sim->broker.peers[peer].instance, name);
    is_known = mr_core_job(sim->broker.core, held->id, &info) == MR_OK;
    if (is_known ? strcmp(info.state, "running") != 0 || info.attempt != held->attempt ||
                       !mr_span_is(info.worker, name)
                 : sim->broker.has_loaded)
        SIM_MUST(sim->broker.has_revoked);
}

static void
on_beat(struct sim *sim, uint32_t peer, const struct mr_msg *msg)
{
    struct mr_beat beat;
    struct mr_held held;

    SIM_MUST(mr_get_beat(msg, &beat) == MR_OK);
    while (beat.held) {
        SIM_MUST(mr_get_held(&beat, &held) == MR_OK);
        take_held(sim, peer, &held);
    }
}

/* ---- from both ---------------------------------------------------------------------------------------------- */

static void
on_ping(struct sim *sim, uint32_t peer, const struct mr_msg *msg)
{
    struct mr_wr *wr;
    bool asks;

    SIM_MUST(mr_get_ping(msg, &asks) == MR_OK);
    wr = asks ? sim_peers_open(sim, peer, MR_PING) : NULL;
    if (wr)
        mr_put_ping(wr, msg->corr, false);
}

/* A worker that leaves in order has given back what it had not begun. */
static void
judge_leaving(const struct sim *sim, struct mr_uuid instance)
{
    char name[16];

    SIM_MUST(instance.b[0] > 0); /* clients do not say it */
    sim_worker_name(instance, name);
    if (sim->workers[instance.b[0] - 1].was_refused)
        return; /* it may have to wait before it says it again */
    for (uint32_t i = 0; i < sim->submitted; i++) {
        const struct sim_job *job = &sim->jobs[i];
        struct mr_core_job_info info;

        if (mr_core_job(sim->broker.core, job->id, &info) != MR_OK ||
            !mr_span_is(info.worker, name) || job->taken != info.attempt ||
            !mr_uuid_eq(job->taker, instance))
            continue;
        SIM_MUST(job->has_begun);
    }
}

static void
on_bye(struct sim *sim, uint32_t peer, const struct mr_msg *msg)
{
    struct mr_span reason;
    uint32_t flags;

    SIM_MUST(mr_get_bye(msg, &reason, &flags) == MR_OK);
    if (flags & MR_BYE_DRAIN) {
        mr_core_worker_ends(sim->broker.core, sim->now, peer);
        return;
    }
    judge_leaving(sim, sim->broker.peers[peer].instance);
    mr_core_says_bye(sim->broker.core, sim->now, peer, reason);
}

static void
take(struct sim *sim, uint32_t conn, const struct sim_message *message)
{
    static void (*const handlers[MR_VERB_COUNT])(
        struct sim *, uint32_t, const struct mr_msg *) = {
        [MR_PING] = on_ping,
        [MR_BYE] = on_bye,
        [MR_SUBMIT] = on_submit,
        [MR_WATCH] = on_watch,
        [MR_CALL] = on_call,
        [MR_CREDIT] = on_credit,
        [MR_DONE] = on_done,
        [MR_BEAT] = on_beat,
    };
    uint32_t peer = sim->conns[conn].peer;
    struct mr_msg msg;

    SIM_MUST(mr_msg_open(mr_span(message->bytes, message->n), &msg) == MR_OK);
    if (msg.verb == MR_HELLO) {
        take_hello(sim, conn, &msg);
    } else if (peer == SIM_NONE) {
        if (msg.verb != MR_BYE)
            answer_error(sim, conn, msg.corr, MR_NO_SESSION);
    } else {
        SIM_MUST(handlers[msg.verb]);
        mr_core_heard(sim->broker.core, sim->now, peer);
        handlers[msg.verb](sim, peer, &msg);
    }
}

void
sim_peers_take_in(struct sim *sim)
{
    struct sim_message *message;

    for (uint32_t i = 0; i < sim->conns_used; i++) {
        if (!sim->conns[i].is_used)
            continue;
        while ((message = sim_take(sim, i, true)) != NULL) {
            take(sim, i, message);
            free(message);
        }
        sim_conn_tidy(sim, i);
    }
}
