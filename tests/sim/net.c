#include "tests/sim/sim.h"

#define GREET_US INT64_C(2000000)
#define RETRY_BASE_US INT64_C(100000)
#define WAKE_US 200 /* from the arrival of a message to its being taken */

/* ---- one direction ----------------------------------------------------------------------------- */

static void
put(struct sim *sim, struct sim_pipe *pipe, struct mr_span bytes)
{
    struct sim_message *message = malloc(sizeof *message + bytes.n);
    int64_t at_us = sim->now.mono_us + sim_random_us(sim, sim->rates.latency_us);

    if (!message)
        abort();
    if (at_us < pipe->stall_until_us)
        at_us = pipe->stall_until_us;
    if (at_us < pipe->last_us)
        at_us = pipe->last_us; /* in order */
    pipe->last_us = at_us;
    *message = (struct sim_message){.at_us = at_us, .n = bytes.n};
    memcpy(message->bytes, bytes.p, bytes.n);
    if (pipe->first)
        pipe->last->next = message;
    else
        pipe->first = message;
    pipe->last = message;
}

/* Keep the first `keep`. */
static void
truncate_pipe(struct sim_pipe *pipe, uint64_t keep)
{
    struct sim_message **at = &pipe->first;
    struct sim_message *last = NULL;

    for (; keep && *at; keep--) {
        last = *at;
        at = &(*at)->next;
    }
    for (struct sim_message *gone = *at; gone;) {
        struct sim_message *next = gone->next;

        free(gone);
        gone = next;
    }
    *at = NULL;
    pipe->last = last;
}

static uint64_t
length(const struct sim_pipe *pipe)
{
    uint64_t n = 0;

    for (const struct sim_message *message = pipe->first; message;
         message = message->next)
        n++;
    return n;
}

/* What was under way when it broke: some of it had arrived. */
static void
lose_some(struct sim *sim, struct sim_pipe *pipe)
{
    truncate_pipe(pipe, sim_random(sim, length(pipe) + 1));
}

/* ---- connections --------------------------------------------------------------------------------- */

void
sim_conn_tidy(struct sim *sim, uint32_t number)
{
    struct sim_conn *conn = &sim->conns[number];

    if (!conn->has_left || conn->peer != SIM_NONE || conn->to_broker.first)
        return;
    truncate_pipe(&conn->to_actor, 0);
    *conn = (struct sim_conn){0};
}

uint32_t
sim_conn_open(struct sim *sim, uint32_t actor)
{
    for (uint32_t i = 0; i < SIM_CONNS_MAX; i++) {
        if (sim->conns[i].is_used)
            continue;
        sim->conns[i] =
            (struct sim_conn){.is_used = true, .actor = actor, .peer = SIM_NONE};
        if (i == sim->conns_used)
            sim->conns_used++;
        return i;
    }
    return SIM_NONE;
}

void
sim_conn_leave(struct sim *sim, uint32_t number)
{
    struct sim_conn *conn = &sim->conns[number];

    conn->has_left = true;
    truncate_pipe(&conn->to_actor, 0);
    lose_some(sim, &conn->to_broker);
    sim_conn_tidy(sim, number);
}

void
sim_conn_drop(struct sim *sim, uint32_t number)
{
    sim->conns[number].peer = SIM_NONE;
    sim_conn_tidy(sim, number);
}

void
sim_conn_stall(struct sim *sim, uint32_t number, int64_t us)
{
    struct sim_conn *conn = &sim->conns[number];

    sim_log(sim, "stall", number, conn->actor, (uint64_t)us);
    conn->to_broker.stall_until_us = conn->to_actor.stall_until_us =
        sim->now.mono_us + us;
}

void
sim_conn_cut(struct sim *sim, uint32_t number)
{
    struct sim_conn *conn = &sim->conns[number];

    sim_log(sim, "cut", number, conn->actor, 0);
    conn->is_cut = true;
    lose_some(sim, &conn->to_broker);
    lose_some(sim, &conn->to_actor);
}

void
sim_conn_lose_all(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->conns_used; i++) {
        if (!sim->conns[i].is_used)
            continue;
        truncate_pipe(&sim->conns[i].to_broker, 0);
        lose_some(sim, &sim->conns[i].to_actor);
        sim_conn_drop(sim, i);
    }
}

void
sim_net_reset(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->conns_used; i++) {
        truncate_pipe(&sim->conns[i].to_broker, 0);
        truncate_pipe(&sim->conns[i].to_actor, 0);
    }
}

bool
sim_send(struct sim *sim, uint32_t number, bool to_broker, struct mr_span bytes)
{
    struct sim_conn *conn = &sim->conns[number];
    struct sim_pipe *pipe = to_broker ? &conn->to_broker : &conn->to_actor;
    uint32_t receiver = to_broker ? (uint32_t)SIM_BROKER : conn->actor;

    SIM_MUST(conn->is_used);
    sim_count(sim, SIM_N_MESSAGES);
    if (conn->has_left)
        return false;
    if (conn->is_cut || (to_broker && sim->broker.phase == SIM_DOWN))
        return true;
    put(sim, pipe, bytes);
    sim_wake(sim, receiver, pipe->last_us + sim_random_us(sim, WAKE_US));
    return true;
}

struct sim_message *
sim_take(struct sim *sim, uint32_t number, bool to_broker)
{
    struct sim_conn *conn = &sim->conns[number];
    struct sim_pipe *pipe = to_broker ? &conn->to_broker : &conn->to_actor;
    struct sim_message *message = pipe->first;

    if (!message || message->at_us > sim->now.mono_us)
        return NULL;
    pipe->first = message->next;
    return message;
}

/* ---- the other end: what workers and clients do alike ---------------------------------------------- */

void
sim_end_fall(struct sim *sim, struct sim_end *end, uint32_t actor)
{
    int64_t wait_us = RETRY_BASE_US << (end->rounds < 4 ? end->rounds : 4);

    if (end->conn != SIM_NONE)
        sim_conn_leave(sim, end->conn);
    end->conn = SIM_NONE;
    end->state = SIM_LINK_DOWN;
    end->must_fall = false;
    end->rounds++;
    end->next_try_us = sim->now.mono_us + 1 + sim_random_us(sim, wait_us);
    sim_log(sim, "fell", actor, end->rounds, 0);
}

void
sim_end_connect(struct sim *sim, struct sim_end *end, uint32_t actor)
{
    end->conn = sim_conn_open(sim, actor);
    if (end->conn == SIM_NONE) {
        end->next_try_us = sim->now.mono_us + RETRY_BASE_US;
        return;
    }
    end->state = SIM_LINK_GREETS;
    end->greet_until_us = sim->now.mono_us + GREET_US;
    sim_log(sim, "connects", actor, end->conn, 0);
}

/* What is in sim->wr, which is empty again then. */
void
sim_end_say(struct sim *sim, struct sim_end *end)
{
    SIM_MUST(sim->wr.status == MR_OK);
    (void)sim_send(sim, end->conn, true, mr_wr_span(&sim->wr));
    mr_wr_reset(&sim->wr);
}

/* Nobody answers; nothing was heard for three heartbeats; after one, ask. */
void
sim_end_watch(struct sim *sim, struct sim_end *end)
{
    int64_t now = sim->now.mono_us;

    if (end->state == SIM_LINK_GREETS && now >= end->greet_until_us)
        end->must_fall = true;
    if (end->state != SIM_LINK_UP || end->must_fall)
        return;
    if (now - end->heard_us > 3 * end->heartbeat_us) {
        end->must_fall = true;
    } else if (now - end->heard_us >= end->heartbeat_us &&
               now - end->asked_us >= end->heartbeat_us) {
        end->asked_us = now;
        mr_put_ping(&sim->wr, ++end->corr, true);
        sim_end_say(sim, end);
    }
}

int64_t
sim_end_due_us(const struct sim_end *end)
{
    int64_t asks_us;

    if (end->state == SIM_LINK_DOWN)
        return end->next_try_us;
    if (end->state == SIM_LINK_GREETS)
        return end->greet_until_us;
    asks_us = (end->heard_us > end->asked_us ? end->heard_us : end->asked_us) +
              end->heartbeat_us;
    return asks_us;
}

static void
on_error(struct sim_end *end, const struct mr_error *error)
{
    end->must_fall = end->must_fall || end->state == SIM_LINK_GREETS ||
                     error->code == MR_NO_SESSION ||
                     (error->code >= 200 && error->code < 300);
}

bool
sim_end_takes(struct sim *sim, struct sim_end *end, const struct mr_msg *msg)
{
    struct mr_welcome welcome;
    struct mr_error error;
    struct mr_span reason;
    uint32_t flags;
    bool asks;

    end->heard_us = sim->now.mono_us;
    switch (msg->verb) {
    case MR_WELCOME:
        SIM_MUST(mr_get_welcome(msg, &welcome) == MR_OK);
        end->state = SIM_LINK_UP;
        end->rounds = 0;
        end->heartbeat_us = welcome.heartbeat_ms * INT64_C(1000);
        return false; /* not only */
    case MR_PING:
        SIM_MUST(mr_get_ping(msg, &asks) == MR_OK);
        if (asks && end->state == SIM_LINK_UP) {
            mr_put_ping(&sim->wr, msg->corr, false);
            sim_end_say(sim, end);
        }
        return true;
    case MR_BYE: /* a worker that drains is told so when it comes back */
        SIM_MUST(mr_get_bye(msg, &reason, &flags) == MR_OK);
        end->must_fall = end->must_fall || !(flags & MR_BYE_DRAIN);
        return true;
    case MR_ERROR:
        SIM_MUST(mr_get_error(msg, &error) == MR_OK);
        on_error(end, &error);
        return end->must_fall;
    default:
        return end->state != SIM_LINK_UP;
    }
}
