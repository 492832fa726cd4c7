#include "broker/core/look.h"

#include "broker/core/job.h"
#include "broker/core/roster.h"

#include <stdio.h>

void
mr_look_stats(const struct mr_core *core, struct mr_core_stats *out)
{
    *out = core->stats;
    out->jobs = core->jobs.used;
    out->storing = core->by_state[MR_JOB_STORING];
    out->waiting = core->by_state[MR_JOB_WAITING];
    out->ready = core->by_state[MR_JOB_READY];
    out->sent = core->by_state[MR_JOB_SENT];
    out->settling = core->by_state[MR_JOB_SETTLING];
    out->recovered = core->by_state[MR_JOB_RECOVERED];
    out->checking = core->by_state[MR_JOB_CHECKING];
    out->payload_bytes = core->pool.bytes;
    out->workers = core->workers;
    out->clients = core->clients;
    out->watches = core->watchers.used;
    out->lanes = core->lanes.used;
}

bool
mr_look_next_queue(
    const struct mr_core *core, uint32_t *cursor, struct mr_core_queue_info *out)
{
    while (*cursor < core->queue_names.fresh) {
        uint16_t number = (uint16_t)++ * cursor;
        const struct mr_queue *queue = &core->queues[number];

        if (!core->queue_names.names[number].bytes)
            continue;
        *out =
            (struct mr_core_queue_info){.name = mr_names_text(&core->queue_names, number),
                .is_paused = queue->is_paused,
                .waiting = queue->waiting,
                .ready = queue->ready,
                .sent = queue->sent,
                .finished = queue->finished};
        return true;
    }
    return false;
}

bool
mr_look_next_worker(
    const struct mr_core *core, uint32_t *cursor, struct mr_core_worker_info *out)
{
    while (*cursor < core->peers_max) {
        uint32_t number = (*cursor)++;
        const struct mr_peer *peer = mr_roster_find(core, number, MR_ROLE_WORKER);
        uint64_t credit;

        if (!peer)
            continue;
        credit = peer->credit > peer->sent ? peer->credit - peer->sent : 0;
        *out = (struct mr_core_worker_info){.peer = number,
            .name = mr_roster_name(core, number),
            .instance = peer->instance,
            .threads = peer->threads,
            .sent = peer->held,
            .credit = credit > UINT32_MAX ? UINT32_MAX : (uint32_t)credit,
            .kinds = peer->offer_count,
            .heard_us = peer->heard_us};
        return true;
    }
    return false;
}

bool
mr_look_next_kind(
    const struct mr_core *core, uint32_t *cursor, struct mr_core_kind_info *out)
{
    while (*cursor < core->kind_names.fresh) {
        uint16_t number = (uint16_t)++ * cursor;
        const struct mr_kind *kind = &core->kinds[number];

        if (!core->kind_names.names[number].bytes)
            continue;
        *out =
            (struct mr_core_kind_info){.name = mr_names_text(&core->kind_names, number),
                .workers = kind->workers,
                .ready = kind->ready,
                .sent = kind->sent};
        return true;
    }
    return false;
}

enum mr_status
mr_look_job(const struct mr_core *core, struct mr_uuid id, struct mr_core_job_info *out)
{
    static const char *const names[MR_JOB_STATES] = {
        [MR_JOB_FREE] = "unknown",
        [MR_JOB_STORING] = "storing",
        [MR_JOB_WAITING] = "waiting",
        [MR_JOB_READY] = "ready",
        [MR_JOB_SENT] = "running",
        [MR_JOB_SETTLING] = "settling",
        [MR_JOB_RECOVERED] = "recovered",
        [MR_JOB_CHECKING] = "checking",
    };
    uint32_t slot = mr_ids_find(&core->job_ids, &id);
    const struct mr_job *job;

    if (!slot)
        return MR_NO_JOB;
    job = mr_job_at(core, slot);
    *out = (struct mr_core_job_info){.state = names[job->state],
        .attempt = job->attempt,
        .permille = job->permille,
        .progress = mr_job_note(job)};
    if (job->peer != MR_NO_PEER)
        out->worker = mr_roster_name(core, job->peer);
    return MR_OK;
}

/* ---- why not ------------------------------------------------------------------------------------ */

struct sentence {
    char *out;
    size_t bytes;
    const struct mr_core *core;
    const struct mr_job *job;
    struct mr_now now;
};

static int
len(struct mr_span text)
{
    return (int)text.n;
}

static void
explain_waiting(const struct sentence *s)
{
    const struct mr_job *job = s->job;
    char until[28];

    mr_clock_format(job->due_us - s->now.mono_us + s->now.wall_us, until);
    if (job->flags & MR_JOB_SNOOZED)
        (void)snprintf(
            s->out, s->bytes, "snoozed by attempt %u until %s", job->attempt, until);
    else if (job->failures)
        (void)snprintf(s->out, s->bytes, "in backoff after attempt %u until %s",
            job->attempt, until);
    else
        (void)snprintf(s->out, s->bytes, "waits until %s", until);
}

/* The workers that offer its kind: how many, their threads, and who could take one more. */
struct supply {
    uint32_t workers, threads, with_credit, at_limit;
};

static struct supply
supply_of(const struct mr_core *core, uint16_t kind)
{
    struct supply supply = {0};
    uint32_t number = core->turn;

    for (uint32_t i = 0; i < core->workers; i++, number = core->peers[number].next) {
        const struct mr_peer *peer = &core->peers[number];
        const struct mr_offered *offer = mr_roster_offer(core, number, kind);

        if (!offer)
            continue;
        supply.workers++;
        supply.threads += peer->threads;
        if (offer->running_max && offer->running >= offer->running_max)
            supply.at_limit++;
        else if (peer->credit > peer->sent)
            supply.with_credit++;
    }
    return supply;
}

static void
explain_ready(const struct sentence *s)
{
    const struct mr_core *core = s->core;
    struct mr_span kind = mr_names_text(&core->kind_names, s->job->kind);
    struct mr_span queue = mr_names_text(&core->queue_names, s->job->queue);
    struct supply supply = supply_of(core, s->job->kind);

    if (!core->is_store_up)
        (void)snprintf(
            s->out, s->bytes, "the store is down: nothing is started until it is back");
    else if (core->is_draining)
        (void)snprintf(
            s->out, s->bytes, "the broker is being stopped: nothing is started");
    else if (core->queues[s->job->queue].is_paused)
        (void)snprintf(s->out, s->bytes, "queue %.*s is paused", len(queue), queue.p);
    else if (!supply.workers)
        (void)snprintf(s->out, s->bytes, "no worker offers kind %.*s", len(kind), kind.p);
    else if (s->job->flags & MR_JOB_READING)
        (void)snprintf(
            s->out, s->bytes, "its payload is being read back from the database");
    else if (supply.with_credit)
        (void)snprintf(s->out, s->bytes,
            "others are before it: %u jobs of kind %.*s are ready",
            core->kinds[s->job->kind].ready, len(kind), kind.p);
    else if (supply.at_limit)
        (void)snprintf(s->out, s->bytes,
            "the limit of kind %.*s is reached at %u of %u workers", len(kind), kind.p,
            supply.at_limit, supply.workers);
    else
        (void)snprintf(s->out, s->bytes,
            "no credit: all %u threads of %u workers are busy", supply.threads,
            supply.workers);
}

static void
explain_sent(const struct sentence *s)
{
    struct mr_span worker = mr_roster_name(s->core, s->job->peer);
    char since[28];

    mr_clock_format(s->job->sent_us - s->now.mono_us + s->now.wall_us, since);
    (void)snprintf(s->out, s->bytes, "attempt %u is running on worker %.*s since %s",
        s->job->attempt, len(worker), worker.p, since);
}

static void
explain_storing(const struct sentence *s)
{
    (void)snprintf(s->out, s->bytes, "%s",
        s->core->is_store_up ? "it is being stored"
                             : "the store is down: it is not stored yet");
}

static void
explain_settling(const struct sentence *s)
{
    (void)snprintf(s->out, s->bytes, "what became of attempt %u is being stored%s",
        s->job->attempt, s->core->is_store_up ? "" : ", and the store is down");
}

static void
explain_recovered(const struct sentence *s)
{
    (void)snprintf(s->out, s->bytes,
        "the broker was started again and waits whether a worker still runs it");
}

static void
explain_checking(const struct sentence *s)
{
    (void)snprintf(s->out, s->bytes,
        "the database is asked whether attempt %u was finished", s->job->attempt);
}

enum mr_status
mr_look_explain(const struct mr_core *core, struct mr_now now, struct mr_uuid id,
    char *out, size_t out_bytes)
{
    static void (*const sentences[MR_JOB_STATES])(const struct sentence *) = {
        [MR_JOB_STORING] = explain_storing,
        [MR_JOB_WAITING] = explain_waiting,
        [MR_JOB_READY] = explain_ready,
        [MR_JOB_SENT] = explain_sent,
        [MR_JOB_SETTLING] = explain_settling,
        [MR_JOB_RECOVERED] = explain_recovered,
        [MR_JOB_CHECKING] = explain_checking,
    };
    uint32_t slot = mr_ids_find(&core->job_ids, &id);
    struct sentence sentence = {out, out_bytes, core, NULL, now};

    if (!slot || !sentences[mr_job_at(core, slot)->state])
        return MR_NO_JOB;
    sentence.job = mr_job_at(core, slot);
    sentences[sentence.job->state](&sentence);
    return MR_OK;
}
