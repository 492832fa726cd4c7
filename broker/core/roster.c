#include "broker/core/roster.h"

#include "broker/core/job.h"
#include "broker/core/owner.h"
#include "broker/core/run.h"
#include "broker/core/say.h"
#include "broker/core/settle.h"
#include "broker/core/watch.h"
#include "schemas/base/mutant.h"

#include <stdlib.h>
#include <string.h>

#define BEATS_MISSED 3

struct mr_peer *
mr_roster_find(const struct mr_core *core, uint32_t number, int role)
{
    if (number >= core->peers_max || core->peers[number].role != role)
        return NULL;
    return &core->peers[number];
}

struct mr_span
mr_roster_name(const struct mr_core *core, uint32_t number)
{
    return mr_span(core->peers[number].name, core->peers[number].name_bytes);
}

struct mr_offered *
mr_roster_offer(const struct mr_core *core, uint32_t number, uint16_t kind)
{
    struct mr_peer *peer = &core->peers[number];

    if (peer->offer_last < peer->offer_count &&
        peer->offers[peer->offer_last].kind == kind)
        return &peer->offers[peer->offer_last];
    for (uint32_t i = 0; i < peer->offer_count; i++) {
        if (peer->offers[i].kind == kind) {
            peer->offer_last = i;
            return &peer->offers[i];
        }
    }
    return NULL;
}

struct mr_offered *
mr_roster_any_offer(const struct mr_core *core, uint16_t kind)
{
    uint32_t number = core->turn;

    if (!core->kinds[kind].workers)
        return NULL;
    for (uint32_t i = 0; i < core->workers; i++, number = core->peers[number].next) {
        struct mr_offered *offer = mr_roster_offer(core, number, kind);

        if (offer)
            return offer;
    }
    return NULL;
}

uint16_t
mr_roster_kind(struct mr_core *core, struct mr_span name, bool is_offered)
{
    bool is_new;
    uint16_t kind = mr_names_intern(&core->kind_names, name, &is_new);

    if (!kind)
        return 0;
    if (is_new)
        core->kinds[kind] = (struct mr_kind){0};
    if (is_offered && !core->kinds[kind].is_known) {
        core->kinds[kind].is_known = true;
        core->kind_names.names[kind].is_pinned = true;
        mr_say_add_kind(core, name);
    }
    return kind;
}

/* ---- in the order of hearing --------------------------------------------------------------- */

static void
age_unlink(struct mr_core *core, uint32_t number)
{
    struct mr_peer *peer = &core->peers[number];

    if (peer->older != MR_NO_PEER)
        core->peers[peer->older].newer = peer->newer;
    else
        core->oldest = peer->newer;
    if (peer->newer != MR_NO_PEER)
        core->peers[peer->newer].older = peer->older;
    else
        core->newest = peer->older;
}

static void
age_link(struct mr_core *core, uint32_t number)
{
    struct mr_peer *peer = &core->peers[number];

    peer->heard_us = core->now.mono_us;
    peer->older = core->newest;
    peer->newer = MR_NO_PEER;
    if (core->newest != MR_NO_PEER)
        core->peers[core->newest].newer = number;
    else
        core->oldest = number;
    core->newest = number;
}

void
mr_roster_heard(struct mr_core *core, uint32_t number)
{
    if (number >= core->peers_max || !core->peers[number].role)
        return;
    if (MR_MUTANT(lease_not_renewed) && core->peers[number].role == MR_ROLE_WORKER)
        return;
    age_unlink(core, number);
    age_link(core, number);
}

void
mr_roster_forgive(struct mr_core *core)
{
    for (uint32_t at = core->oldest; at != MR_NO_PEER; at = core->peers[at].newer)
        core->peers[at].heard_us = core->now.mono_us;
}

/* ---- the ring of workers -------------------------------------------------------------------- */

static void
ring_link(struct mr_core *core, uint32_t number)
{
    struct mr_peer *peer = &core->peers[number];

    if (core->turn == MR_NO_PEER) {
        core->turn = peer->prev = peer->next = number;
        return;
    }
    peer->next = core->turn;
    peer->prev = core->peers[core->turn].prev;
    core->peers[peer->prev].next = number;
    core->peers[peer->next].prev = number;
}

static void
ring_unlink(struct mr_core *core, uint32_t number)
{
    struct mr_peer *peer = &core->peers[number];

    if (peer->next == number) {
        core->turn = MR_NO_PEER;
        return;
    }
    core->peers[peer->prev].next = peer->next;
    core->peers[peer->next].prev = peer->prev;
    if (core->turn == number)
        core->turn = peer->next;
}

/* ---- held jobs -------------------------------------------------------------------------------- */

void
mr_roster_hold(struct mr_core *core, uint32_t slot)
{
    struct mr_job *job = mr_job_at(core, slot);
    struct mr_peer *peer = &core->peers[job->peer];
    struct mr_offered *offer = mr_roster_offer(core, job->peer, job->kind);

    job->prev = 0;
    job->next = peer->jobs;
    if (peer->jobs)
        mr_job_at(core, peer->jobs)->prev = slot;
    else
        peer->oldest_job = slot;
    peer->jobs = slot;
    peer->held++;
    peer->suspects += mr_job_is_suspect(core, job);
    if (offer)
        offer->running++;
}

static void
unlink_held(struct mr_core *core, struct mr_job *job)
{
    struct mr_peer *peer = &core->peers[job->peer];

    if (job->prev)
        mr_job_at(core, job->prev)->next = job->next;
    else
        peer->jobs = job->next;
    if (job->next)
        mr_job_at(core, job->next)->prev = job->prev;
    else
        peer->oldest_job = job->prev;
    job->prev = job->next = 0;
}

void
mr_roster_set_oldest(struct mr_core *core, uint32_t slot)
{
    struct mr_job *job = mr_job_at(core, slot);
    struct mr_peer *peer = &core->peers[job->peer];

    unlink_held(core, job);
    job->prev = peer->oldest_job;
    if (job->prev)
        mr_job_at(core, job->prev)->next = slot;
    else
        peer->jobs = slot;
    peer->oldest_job = slot;
}

void
mr_roster_release(struct mr_core *core, uint32_t slot)
{
    struct mr_job *job = mr_job_at(core, slot);
    struct mr_peer *peer = &core->peers[job->peer];
    struct mr_offered *offer = mr_roster_offer(core, job->peer, job->kind);

    unlink_held(core, job);
    peer->suspects -= mr_job_is_suspect(core, job);
    if (--peer->held == 0)
        peer->timeout_max_ms = 0;
    if (offer)
        offer->running--;
}

/* ---- joining ------------------------------------------------------------------------------------ */

static void
enter(struct mr_core *core, uint32_t number, int role, uint32_t principal, uint16_t owner,
    struct mr_span name)
{
    struct mr_peer *peer = &core->peers[number];

    *peer =
        (struct mr_peer){.role = role, .principal = principal, .serial = ++core->serial};
    mr_owner_joins(core, peer, owner);
    peer->name_bytes = (uint8_t)(name.n < sizeof peer->name ? name.n : sizeof peer->name);
    if (peer->name_bytes)
        memcpy(peer->name, name.p, peer->name_bytes);
    age_link(core, number);
}

static void
drop_offers(struct mr_core *core, struct mr_peer *peer)
{
    for (uint32_t i = 0; i < peer->offer_count; i++) {
        core->kinds[peer->offers[i].kind].workers--;
        core->kind_names.names[peer->offers[i].kind].refs--;
    }
    free(peer->offers);
    peer->offers = NULL;
    peer->offer_count = 0;
}

/* Everything but what it held, which is gone already or handed on. */
static void
wipe(struct mr_core *core, uint32_t number)
{
    struct mr_peer *peer = &core->peers[number];

    MR_ASSERT(!peer->jobs && peer->held == 0);
    mr_watch_drop_peer(core, number);
    mr_owner_leaves(core, peer);
    age_unlink(core, number);
    if (peer->role == MR_ROLE_WORKER) {
        ring_unlink(core, number);
        drop_offers(core, peer);
        core->workers--;
    } else {
        core->clients--;
    }
    *peer = (struct mr_peer){0};
}

/* What the worker held when it was last heard is taken for lost, newest first, so that the
 * oldest is at the front of its lane in the end. A worker starts attempts in the order in which
 * it was sent them, a thread each: what is behind as many older ones as it has threads was only
 * queued. One that has run and waits for its report's way counts as one of these; so a job may
 * be taken for queued that was running, but only once: afterwards it is sent to a free thread
 * (MR_JOB_AT_ONCE), where there are not so many before it. */
static void
lose_all(struct mr_core *core, uint32_t number, struct mr_span reason)
{
    uint32_t older = core->peers[number].held;
    uint32_t next;

    if (core->peers[number].jobs)
        mr_say_end_sessions(core, core->peers[number].instance);
    for (uint32_t slot = core->peers[number].jobs; slot; slot = next) {
        next = mr_job_at(core, slot)->next;
        older--;
        mr_settle_lost(core, slot, reason, older < core->peers[number].threads);
    }
}

/* It ended in order and had no time to wait for these. Oldest to the front, as above. */
static void
hand_back_all(struct mr_core *core, uint32_t number)
{
    if (core->peers[number].jobs)
        mr_say_end_sessions(core, core->peers[number].instance);
    while (core->peers[number].jobs)
        mr_settle_handed_back(core, core->peers[number].jobs);
}

/* The worker lives and does not have them: JOBS was lost with the connection. */
static void
lose_unconfirmed(struct mr_core *core, uint32_t number)
{
    uint32_t next;

    for (uint32_t slot = core->peers[number].jobs; slot; slot = next) {
        next = mr_job_at(core, slot)->next;
        if (mr_job_at(core, slot)->flags & MR_JOB_UNCONFIRMED)
            mr_settle_lost(core, slot,
                mr_span_str("its worker did not know of it after it connected again"),
                false);
    }
}

enum mr_status
mr_roster_add_client(
    struct mr_core *core, uint32_t number, uint32_t principal, struct mr_span name)
{
    uint16_t owner;
    enum mr_status status;

    if (number >= core->peers_max)
        return MR_BAD_ARGUMENT;
    status = mr_owner_of_principal(core, principal, &owner);
    if (status)
        return status;
    if (core->peers[number].role) {
        lose_all(core, number, mr_span_str("its connection was taken by another peer"));
        wipe(core, number);
    }
    if (core->clients >= core->conf.clients_max)
        return MR_BUSY;
    if (!mr_owner_has_session(core, principal, owner))
        return MR_LIMIT;
    enter(core, number, MR_ROLE_CLIENT, principal, owner, name);
    core->clients++;
    return MR_OK;
}

/* Offers of one kind twice: the first counts. */
static enum mr_status
take_offers(struct mr_core *core, struct mr_peer *peer, const struct mr_offer *offers,
    uint32_t count)
{
    if (count > MR_KINDS_PER_WORKER_MAX)
        return MR_TOO_BIG;
    peer->offers = calloc(count ? count : 1, sizeof *peer->offers);
    if (!peer->offers)
        return MR_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        struct mr_offered *offered = &peer->offers[peer->offer_count];
        uint16_t kind;

        if (!mr_names_is_good(offers[i].kind))
            return MR_MALFORMED;
        kind = mr_roster_kind(core, offers[i].kind, true);
        if (!kind)
            return MR_BUSY;
        if (mr_roster_offer(core, (uint32_t)(peer - core->peers), kind))
            continue;
        *offered = (struct mr_offered){.kind = kind,
            .run = mr_run_over(core, peer->principal, kind),
            .running_max = offers[i].running_max,
            .policy = {.timeout_ms = offers[i].timeout_ms,
                .attempts_max = mr_u32_min(offers[i].attempts_max, MR_ATTEMPTS_MAX),
                .backoff_base_ms = offers[i].backoff_base_ms,
                .backoff_cap_ms = offers[i].backoff_cap_ms,
                .backoff_factor_percent = offers[i].backoff_factor_percent,
                .backoff_jitter = offers[i].backoff_jitter}};
        core->kinds[kind].workers++;
        core->kind_names.names[kind].refs++;
        peer->offer_count++;
    }
    return MR_OK;
}

static uint32_t
find_instance(const struct mr_core *core, struct mr_uuid instance)
{
    uint32_t number = core->turn;

    for (uint32_t i = 0; i < core->workers; i++) {
        if (mr_uuid_eq(core->peers[number].instance, instance))
            return number;
        number = core->peers[number].next;
    }
    return MR_NO_PEER;
}

/* The held jobs of an earlier session become the new one's; the worker has until confirm_us to
 * say which of them it still has. `jobs` is the old list. */
static void
inherit(struct mr_core *core, uint32_t number, uint32_t jobs, uint32_t timeout_max_ms)
{
    struct mr_peer *peer = &core->peers[number];
    uint32_t next, last = 0;

    for (uint32_t slot = jobs; slot; slot = mr_job_at(core, slot)->next)
        last = slot;
    for (uint32_t slot = last; slot; slot = next) { /* oldest first: the order is kept */
        struct mr_job *job = mr_job_at(core, slot);

        next = job->prev;
        mr_job_set_peer(job, number);
        job->flags |= MR_JOB_UNCONFIRMED;
        mr_roster_hold(core, slot);
    }
    if (!jobs)
        return;
    peer->timeout_max_ms = timeout_max_ms;
    peer->confirm_us = core->now.mono_us + core->conf.grace_ms * INT64_C(1000);
    if (peer->confirm_us < core->confirm_us)
        core->confirm_us = peer->confirm_us;
}

enum mr_status
mr_roster_add_worker(struct mr_core *core, uint32_t number, uint32_t principal,
    const struct mr_hello *hello, const struct mr_offer *offers)
{
    uint32_t jobs = 0, timeout_max_ms = 0, earlier;
    bool is_draining = false;
    struct mr_peer *peer;
    uint16_t owner;
    enum mr_status status;

    if (number >= core->peers_max)
        return MR_BAD_ARGUMENT;
    status = mr_owner_of_principal(core, principal, &owner);
    if (status)
        return status;
    peer = &core->peers[number];
    earlier = find_instance(core, hello->instance);
    /* An instance is no secret: what its worker holds is not for whoever names it. */
    if (earlier != MR_NO_PEER && core->peers[earlier].principal != principal)
        return MR_DENIED;
    if (peer->role && earlier != number) {
        lose_all(core, number, mr_span_str("its connection was taken by another peer"));
        wipe(core, number);
    }
    if (earlier == MR_NO_PEER && core->workers >= core->conf.workers_max)
        return MR_BUSY;
    if (earlier == MR_NO_PEER && !mr_owner_has_session(core, principal, owner))
        return MR_LIMIT;
    if (earlier != MR_NO_PEER) {
        jobs = core->peers[earlier].jobs;
        timeout_max_ms = core->peers[earlier].timeout_max_ms;
        is_draining = core->peers[earlier].is_draining;
        core->peers[earlier].jobs = core->peers[earlier].held = 0;
        wipe(core, earlier);
        if (earlier != number)
            mr_say_drop_peer(core, earlier, mr_span_str("replaced by a newer session"));
    }
    enter(core, number, MR_ROLE_WORKER, principal, owner, hello->name);
    core->workers++;
    peer->instance = hello->instance;
    peer->threads = hello->threads ? hello->threads : 1;
    ring_link(core, number);
    status = take_offers(core, peer, offers, hello->offers);
    inherit(core, number, jobs, timeout_max_ms);
    if (status) {
        lose_all(core, number, mr_span_str("it came back with offers that were refused"));
        wipe(core, number);
    } else if (is_draining) {
        mr_roster_drain(core, number); /* the first word may have been lost */
    }
    return status;
}

/* ---- leaving -------------------------------------------------------------------------------------- */

void
mr_roster_remove(struct mr_core *core, uint32_t number, struct mr_span reason)
{
    if (number >= core->peers_max || !core->peers[number].role)
        return;
    if (core->peers[number].role == MR_ROLE_WORKER)
        lose_all(core, number, reason);
    wipe(core, number);
    mr_say_drop_peer(core, number, reason);
}

void
mr_roster_end(struct mr_core *core, uint32_t number, struct mr_span reason)
{
    if (mr_roster_find(core, number, MR_ROLE_WORKER))
        hand_back_all(core, number);
    mr_roster_remove(core, number, reason);
}

void
mr_roster_drain(struct mr_core *core, uint32_t number)
{
    core->peers[number].is_draining = true;
    mr_say_drain(core, number);
}

static int64_t
silence_us(const struct mr_core *core)
{
    return core->conf.heartbeat_ms * INT64_C(1000) * BEATS_MISSED;
}

static void
give_up_unconfirmed(struct mr_core *core)
{
    int64_t earliest = INT64_MAX;
    uint32_t number = core->turn;

    for (uint32_t i = 0; i < core->workers; i++, number = core->peers[number].next) {
        struct mr_peer *peer = &core->peers[number];

        if (peer->confirm_us && peer->confirm_us <= core->now.mono_us) {
            peer->confirm_us = 0;
            lose_unconfirmed(core, number);
        }
        if (peer->confirm_us && peer->confirm_us < earliest)
            earliest = peer->confirm_us;
    }
    core->confirm_us = earliest;
}

void
mr_roster_tick(struct mr_core *core)
{
    while (core->oldest != MR_NO_PEER &&
           core->now.mono_us - core->peers[core->oldest].heard_us >= silence_us(core))
        mr_roster_remove(core, core->oldest, mr_span_str("silent for three heartbeats"));
    if (core->confirm_us <= core->now.mono_us)
        give_up_unconfirmed(core);
}

int64_t
mr_roster_next_us(const struct mr_core *core)
{
    int64_t next = core->confirm_us;

    if (core->oldest != MR_NO_PEER) {
        int64_t silent = core->peers[core->oldest].heard_us + silence_us(core);

        next = silent < next ? silent : next;
    }
    return next;
}

void
mr_roster_fini(struct mr_core *core)
{
    for (uint32_t i = 0; core->peers && i < core->peers_max; i++)
        free(core->peers[i].offers);
    free(core->peers);
    core->peers = NULL;
}
