#include "tests/sim/sim.h"

/* ---- what the session says ------------------------------------------------------------------- */

/* What is held is said before anything else. Credit is never less than before, and the broker never
 * sends more. */
static void
judge_said(struct sim *sim, struct sim_worker *worker, struct mr_span bytes)
{
    struct mr_msg msg;
    uint64_t limit;

    SIM_MUST(mr_msg_open(bytes, &msg) == MR_OK);
    SIM_MUST(worker->has_beaten || msg.verb == MR_BEAT);
    worker->has_beaten = true;
    if (msg.verb != MR_CREDIT)
        return;
    SIM_MUST(mr_get_credit(&msg, &limit) == MR_OK);
    SIM_MUST(limit > worker->said_credit);
    worker->said_credit = limit;
}

static void
say_all(struct sim *sim, struct sim_worker *worker)
{
    while (worker->end.state == SIM_LINK_UP && !worker->end.must_fall &&
           mr_session_say(worker->session, sim->now, &sim->wr)) {
        judge_said(sim, worker, mr_wr_span(&sim->wr));
        sim_end_say(sim, &worker->end);
    }
}

static void
say_hello(struct sim *sim, struct sim_worker *worker)
{
    struct mr_offer offers[SIM_KINDS];
    char name[16];
    struct mr_hello hello = {.proto_min = MR_PROTO_VERSION,
        .proto_max = MR_PROTO_VERSION,
        .role = MR_ROLE_WORKER,
        .instance = worker->instance,
        .threads = worker->conf.threads,
        .offers = mr_registry_count(worker->conf.kinds)};

    sim_worker_name(worker->instance, name);
    hello.name = mr_span_str(name);
    mr_registry_offers(worker->conf.kinds, offers);
    mr_put_hello(&sim->wr, ++worker->end.corr, &hello, offers);
    sim_end_say(sim, &worker->end);
}

/* ---- what the broker says -------------------------------------------------------------------- */

static void
on_jobs(struct sim *sim, struct sim_worker *worker, const struct mr_msg *msg)
{
    struct mr_jobs jobs;
    struct mr_job_sent sent;
    struct sim_job *job;

    SIM_MUST(mr_get_jobs(msg, &jobs) == MR_OK);
    while (jobs.jobs) {
        SIM_MUST(mr_get_job(&jobs, &sent) == MR_OK);
        SIM_MUST(++worker->got <= worker->said_credit); /* never overdrawn */
        sim_log(sim, "takes", worker->number, sim_index(sent.id), sent.attempt);
        job = &sim->jobs[sim_index(sent.id)];
        if (job->taken != sent.attempt || !mr_uuid_eq(job->taker, worker->instance))
            job->has_begun = false;
        job->taker = worker->instance;
        job->taken = sent.attempt;
        SIM_MUST(mr_session_job(worker->session, sim->now, &sent) == MR_OK);
    }
}

static void
on_revoke(struct sim *sim, struct sim_worker *worker, const struct mr_msg *msg)
{
    struct mr_revoke revoke;
    struct mr_revoked item;

    SIM_MUST(mr_get_revoke(msg, &revoke) == MR_OK);
    while (revoke.items) {
        SIM_MUST(mr_get_revoked(&revoke, &item) == MR_OK);
        mr_session_revoked(worker->session, sim->now, &item);
    }
}

static void
on_error(struct sim *sim, struct sim_worker *worker, const struct mr_msg *msg)
{
    struct mr_error error;

    SIM_MUST(mr_get_error(msg, &error) == MR_OK);
    SIM_MUST(mr_session_refused(worker->session, sim->now, msg->corr, error.code,
                 error.retry_after_ms) == 0); /* no outcome is ever given up */
}

static void
take(struct sim *sim, struct sim_worker *worker, const struct mr_msg *msg)
{
    if (sim_end_takes(sim, &worker->end, msg))
        return;
    if (msg->verb == MR_WELCOME) {
        worker->said_credit = worker->got = 0;
        worker->has_beaten = false;
        mr_session_welcomed(
            worker->session, sim->now, (uint32_t)(worker->end.heartbeat_us / 1000));
    } else if (msg->verb == MR_JOBS) {
        on_jobs(sim, worker, msg);
    } else if (msg->verb == MR_REVOKE) {
        on_revoke(sim, worker, msg);
    } else if (msg->verb == MR_ACK) {
        mr_session_acked(worker->session, msg->corr);
    } else if (msg->verb == MR_ERROR) {
        on_error(sim, worker, msg);
    }
}

static void
receive(struct sim *sim, struct sim_worker *worker)
{
    struct sim_message *message;
    struct mr_msg msg;

    while (worker->end.conn != SIM_NONE && !worker->end.must_fall &&
           (message = sim_take(sim, worker->end.conn, false)) != NULL) {
        SIM_MUST(mr_msg_open(mr_span(message->bytes, message->n), &msg) == MR_OK);
        take(sim, worker, &msg);
        free(message);
    }
}

/* ---- notes of executors and the committer ------------------------------------------------------ */

void
sim_worker_give(struct sim *sim, struct sim_worker *worker, struct sim_note note)
{
    SIM_MUST(worker->note_count < SIM_NOTES_MAX);
    worker->notes[worker->note_count++] = note;
    sim_wake(sim, worker->number, sim->now.mono_us + 1 + sim_random_us(sim, 200));
}

static void
take_notes(struct sim_worker *worker)
{
    for (uint32_t i = 0; i < worker->note_count; i++) {
        const struct sim_note *note = &worker->notes[i];

        if (note->attempt)
            mr_session_returned(worker->session, note->attempt);
        else
            mr_session_idle(worker->session, note->seat);
    }
    worker->note_count = 0;
}

/* ---- life ---------------------------------------------------------------------------------------- */

void
sim_worker_draw(struct sim *sim, uint32_t number)
{
    struct sim_worker *worker = &sim->workers[number];
    uint32_t prefetch = (uint32_t)sim_random(sim, 6);
    bool offers_all = number == 0 || sim_random(sim, 4);

    worker->number = number;
    worker->end.conn = worker->committer.commit = SIM_NONE;
    worker->conf = (struct mr_session_conf){
        .threads =
            1 + (uint32_t)sim_random(sim, sim_random(sim, 4) ? 3 : SIM_THREADS_MAX),
        .prefetch = prefetch,
        .prefetch_max = prefetch + (uint32_t)sim_random(sim, 2) * 20,
        .guess_us = sim_random(sim, 2) ? 0 : 20 + (uint32_t)sim_random(sim, 400),
        .results_max = 1 + (uint32_t)sim_random(sim, 16),
        .results_bytes_max = sim_random(sim, 3) ? 1 << 20 : 200,
        .hang_grace_ms = 50 + (uint32_t)sim_random(sim, 500),
        .spares = (uint32_t)sim_random(sim, 4),
        .drain_ms = (uint32_t)sim_random(sim, 2000),
        .hash_key = {sim->seed, number},
        .kinds = offers_all ? sim->registry : sim->some};
}

static void
start(struct sim *sim, struct sim_worker *worker)
{
    worker->generation++;
    worker->instance = sim_instance(worker->number, worker->generation);
    worker->is_draining = worker->was_refused = false;
    worker->end = (struct sim_end){.conn = SIM_NONE};
    worker->committer = (struct sim_committer){.commit = SIM_NONE};
    worker->note_count = 0;
    memset(worker->running, 0, sizeof worker->running);
    SIM_MUST(
        mr_session_new(&worker->session, &worker->conf, sim_run_act, worker) == MR_OK);
    sim_log(sim, "worker starts", worker->number, worker->generation, 0);
}

/* Everything in its memory is gone. */
static void
die(struct sim *sim, struct sim_worker *worker, bool closes)
{
    if (!worker->session)
        return;
    sim_run_destroy(sim, worker);
    for (uint32_t i = 0; i < worker->note_count; i++)
        mr_attempt_destroy(&worker->notes[i].attempt);
    worker->note_count = 0;
    mr_session_destroy(&worker->session);
    if (worker->end.conn != SIM_NONE)
        sim_conn_leave(sim, worker->end.conn);
    worker->end.conn = SIM_NONE;
    if (closes)
        sim_store_closed(sim, worker->instance);
    sim->frozen_until_us[worker->number] = 0;
    worker->restarts_us = sim->now.mono_us + 1 + sim_random_us(sim, 1000000);
    if (!sim->is_ending)
        sim_wake(sim, worker->number, worker->restarts_us);
}

void
sim_worker_crash(struct sim *sim, uint32_t number)
{
    struct sim_worker *worker = &sim->workers[number];

    if (!worker->session || worker->is_unplugged)
        return;
    sim_log(sim, "worker dies", number, worker->generation, 0);
    sim_count(sim, SIM_N_WORKER_CRASHES);
    die(sim, worker, true);
}

/* Its host is gone without a word, with what it has open in the database; at the second call
 * another process takes its place. */
void
sim_worker_unplug(struct sim *sim, uint32_t number)
{
    struct sim_worker *worker = &sim->workers[number];

    if (!worker->session)
        return;
    sim_log(sim, "unplugged", number, worker->is_unplugged, 0);
    worker->is_unplugged = !worker->is_unplugged;
    if (!worker->is_unplugged) {
        die(sim, worker, false);
        return;
    }
    sim_count(sim, SIM_N_UNPLUGGED);
    sim->frozen_until_us[number] = SIM_NEVER - 1;
    if (worker->end.conn != SIM_NONE)
        sim_conn_cut(sim, worker->end.conn);
}

void
sim_worker_drain(struct sim *sim, uint32_t number)
{
    struct sim_worker *worker = &sim->workers[number];

    if (!worker->session || worker->is_unplugged)
        return;
    sim_log(sim, "worker drains", number, worker->generation, worker->is_draining);
    sim_count(sim, SIM_N_WORKER_DRAINS);
    worker->is_draining = true;
    mr_session_drain(worker->session, sim->now);
    sim_wake(sim, number, sim->now.mono_us + 1);
}

static void
leave(struct sim *sim, struct sim_worker *worker)
{
    sim_log(sim, "worker leaves", worker->number, mr_session_held(worker->session), 0);
    if (mr_session_is_worn_out(worker->session))
        sim_count(sim, SIM_N_WORN_OUT);
    if (worker->end.state == SIM_LINK_UP) {
        mr_put_bye(&sim->wr, 0, mr_span_str("stopped"), 0);
        sim_end_say(sim, &worker->end);
    }
    die(sim, worker, true);
}

static void
connect_next(struct sim *sim, struct sim_worker *worker)
{
    sim_end_connect(sim, &worker->end, worker->number);
    if (worker->end.conn != SIM_NONE)
        say_hello(sim, worker);
}

/* What it holds is what it permitted: attempts that wait or run, and results that wait. A
 * draining one and one whose job came again under another number hold what they gave up, too. */
static void
judge(struct sim *sim, const struct sim_worker *worker)
{
    const struct mr_session_conf *conf = &worker->conf;

    SIM_MUST(mr_session_running(worker->session) <= conf->threads);
    if (worker->end.state != SIM_LINK_UP || worker->is_draining)
        return;
    SIM_MUST(worker->said_credit - worker->got <=
             conf->threads + conf->prefetch_max + conf->results_max);
}

/* ---- a turn: as the real link's --------------------------------------------------------------------- */

/* What it holds, it keeps: nothing that has to be acknowledged is forgotten. */
static void
fall(struct sim *sim, struct sim_worker *worker)
{
    uint32_t held = mr_session_held(worker->session);

    sim_end_fall(sim, &worker->end, worker->number);
    mr_session_fell(worker->session);
    SIM_MUST(mr_session_held(worker->session) == held);
}

static void
work(struct sim *sim, struct sim_worker *worker)
{
    int64_t due_us, link_us;

    take_notes(worker);
    if (worker->end.state == SIM_LINK_DOWN && sim->now.mono_us >= worker->end.next_try_us)
        connect_next(sim, worker);
    receive(sim, worker);
    due_us = mr_session_tick(worker->session, sim->now);
    say_all(sim, worker);
    sim_end_watch(sim, &worker->end);
    if (worker->end.must_fall)
        fall(sim, worker);
    if (mr_session_is_over(worker->session, sim->now)) {
        leave(sim, worker);
        return;
    }
    judge(sim, worker);
    link_us = sim_end_due_us(&worker->end);
    sim_wake(sim, worker->number, due_us < link_us ? due_us : link_us);
}

void
sim_worker_turn(struct sim *sim, uint32_t number)
{
    struct sim_worker *worker = &sim->workers[number];

    if (!worker->session && (worker->is_unplugged || sim->is_ending))
        return;
    if (!worker->session && sim->now.mono_us < worker->restarts_us) {
        sim_wake(sim, number, worker->restarts_us);
        return;
    }
    if (!worker->session)
        start(sim, worker);
    work(sim, worker);
}
