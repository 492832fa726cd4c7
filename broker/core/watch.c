#include "broker/core/watch.h"

#include "broker/core/job.h"
#include "broker/core/owner.h"
#include "broker/core/recover.h"
#include "broker/core/roster.h"
#include "broker/core/say.h"
#include "schemas/base/mutant.h"

/* Such a job may be finished without our knowing: what is being stored may have been there
 * before, what is recovered or lost may have been committed by its worker. */
#define TO_BE_ASKED                                                                      \
    (1u << MR_JOB_STORING | 1u << MR_JOB_RECOVERED | 1u << MR_JOB_CHECKING)

static struct mr_watcher *
watcher_at(const struct mr_core *core, uint32_t slot)
{
    return mr_slab_at(&core->watchers, slot);
}

/* Of those who watch the same id as this one. */
static uint32_t
find(const struct mr_core *core, uint32_t peer, uint32_t slot)
{
    while (slot) {
        const struct mr_watcher *watcher = watcher_at(core, slot);

        if (watcher->peer == peer && watcher->type == MR_WATCHES)
            return slot;
        slot = watcher->next;
    }
    return 0;
}

bool
mr_watch_add(struct mr_core *core, uint32_t peer, struct mr_uuid id,
    enum mr_watch_type type, uint64_t corr, enum mr_scope scope, bool *made)
{
    uint32_t first = mr_ids_find(&core->watch_ids, &id);
    uint32_t slot = type == MR_WATCHES ? find(core, peer, first) : 0;
    struct mr_watcher *watcher;

    *made = false;
    if (slot) {
        watcher = watcher_at(core, slot);
        watcher->sees_any = watcher->sees_any || scope == MR_SCOPE_ANY;
        return true;
    }
    slot = mr_slab_take(&core->watchers);
    if (!slot)
        return false;
    watcher = watcher_at(core, slot);
    *watcher = (struct mr_watcher){.id = id,
        .corr = corr,
        .peer = peer,
        .type = (uint8_t)type,
        .sees_any = scope == MR_SCOPE_ANY,
        .is_uneven = mr_owner_is_uneven(
            core, peer, type == MR_WATCHES ? MR_RIGHT_WATCH : MR_RIGHT_CANCEL)};
    if (first) { /* second place, so that the table need not change */
        watcher->prev = first;
        watcher->next = watcher_at(core, first)->next;
        if (watcher->next)
            watcher_at(core, watcher->next)->prev = slot;
        watcher_at(core, first)->next = slot;
    } else {
        mr_ids_add(&core->watch_ids, slot);
    }
    watcher->peer_next = core->peers[peer].watchers;
    if (watcher->peer_next)
        watcher_at(core, watcher->peer_next)->peer_prev = slot;
    core->peers[peer].watchers = slot;
    *made = true;
    return true;
}

static void
drop(struct mr_core *core, uint32_t slot)
{
    const struct mr_watcher *watcher = watcher_at(core, slot);

    if (watcher->prev)
        watcher_at(core, watcher->prev)->next = watcher->next;
    else if (watcher->next)
        mr_ids_replace(&core->watch_ids, slot, watcher->next);
    else
        mr_ids_remove(&core->watch_ids, slot);
    if (watcher->next)
        watcher_at(core, watcher->next)->prev = watcher->prev;
    if (watcher->peer_prev)
        watcher_at(core, watcher->peer_prev)->peer_next = watcher->peer_next;
    else
        core->peers[watcher->peer].watchers = watcher->peer_next;
    if (watcher->peer_next)
        watcher_at(core, watcher->peer_next)->peer_prev = watcher->peer_prev;
    mr_slab_give(&core->watchers, slot);
}

void
mr_watch_remove(struct mr_core *core, uint32_t peer, struct mr_uuid id)
{
    uint32_t slot = find(core, peer, mr_ids_find(&core->watch_ids, &id));

    if (slot)
        drop(core, slot);
}

void
mr_watch_drop_peer(struct mr_core *core, uint32_t peer)
{
    while (core->peers[peer].watchers)
        drop(core, core->peers[peer].watchers);
}

/* By the job's queue and kind, if it depends on them; where these are not known, its own only. */
static enum mr_scope
scope_of(const struct mr_core *core, const struct mr_watcher *watcher)
{
    enum mr_right right = watcher->type == MR_WATCHES ? MR_RIGHT_WATCH : MR_RIGHT_CANCEL;
    uint32_t slot;

    if (!watcher->is_uneven)
        return watcher->sees_any ? MR_SCOPE_ANY : MR_SCOPE_OWN;
    slot = mr_ids_find(&core->job_ids, &watcher->id);
    if (!slot && core->found && core->found->exists && core->rights)
        return mr_rights_may(core->rights, core->peers[watcher->peer].principal, right,
            core->found->queue, core->found->kind);
    return mr_owner_scope(core, watcher->peer, slot, right, MR_SCOPE_OWN);
}

static bool
may_see(const struct mr_core *core, const struct mr_watcher *watcher, uint32_t owner)
{
    enum mr_scope scope = scope_of(core, watcher);

    return scope == MR_SCOPE_ANY ||
           (scope == MR_SCOPE_OWN && core->peers[watcher->peer].owner == owner);
}

void
mr_watch_tell(struct mr_core *core, const struct mr_event *event, uint32_t owner)
{
    uint32_t slot = mr_ids_find(&core->watch_ids, &event->id);

    for (; slot; slot = watcher_at(core, slot)->next) {
        const struct mr_watcher *watcher = watcher_at(core, slot);

        if (watcher->type == MR_WATCHES && may_see(core, watcher, owner))
            mr_say_event(core, watcher->peer, event);
    }
}

static void
reply(
    struct mr_core *core, const struct mr_watcher *watcher, const struct mr_event *event)
{
    if (event->type == MR_EVENT_NO_JOB)
        mr_say_reply(core, watcher->peer, watcher->corr, MR_NO_JOB,
            "there is no unfinished or finished job with this id");
    else if (event->outcome == MR_OUT_CANCELLED)
        mr_say_reply(core, watcher->peer, watcher->corr, MR_OK, "cancelled");
    else
        mr_say_reply(core, watcher->peer, watcher->corr, MR_FINISHED,
            "the job was finished before it could be cancelled");
}

/* The last that it hears. */
static void
conclude(struct mr_core *core, uint32_t slot, const struct mr_event *event)
{
    const struct mr_watcher *watcher = watcher_at(core, slot);

    if (watcher->type == MR_WATCHES)
        mr_say_event(core, watcher->peer, event);
    else
        reply(core, watcher, event);
    drop(core, slot);
}

static void
conclude_all(struct mr_core *core, const struct mr_event *event, uint32_t owner,
    bool only_who_asked)
{
    struct mr_event unknown = {.id = event->id, .type = MR_EVENT_NO_JOB};
    uint32_t slot, next;

    for (slot = mr_ids_find(&core->watch_ids, &event->id); slot; slot = next) {
        const struct mr_watcher *watcher = watcher_at(core, slot);

        next = watcher->next;
        if (watcher->is_asked || !only_who_asked)
            conclude(core, slot, may_see(core, watcher, owner) ? event : &unknown);
    }
}

void
mr_watch_close(struct mr_core *core, const struct mr_event *event, uint32_t owner)
{
    if (event->type == MR_EVENT_FINISHED)
        mr_recover_note_end(core, event->id, false);
    conclude_all(core, event, owner, false);
}

/* It is not finished. When it is not in memory either, it belongs to another shard or has yet
 * to be loaded: nobody can cancel it here and now. */
static void
found_unfinished(struct mr_core *core, struct mr_uuid id, uint32_t owner)
{
    struct mr_event event = {.id = id, .type = MR_EVENT_WAITING};
    struct mr_event unknown = {.id = id, .type = MR_EVENT_NO_JOB};
    uint32_t job = mr_ids_find(&core->job_ids, &id);
    bool is_wanted = false;
    uint32_t next;

    for (uint32_t slot = mr_ids_find(&core->watch_ids, &id); slot; slot = next) {
        struct mr_watcher *watcher = watcher_at(core, slot);

        next = watcher->next;
        if (!watcher->is_asked)
            continue;
        watcher->is_asked = false;
        if (!may_see(core, watcher, owner)) {
            conclude(core, slot, &unknown);
        } else if (watcher->type == MR_WATCHES) {
            mr_say_event(core, watcher->peer, &event);
        } else if (job) {
            is_wanted = true;
        } else {
            mr_say_reply(core, watcher->peer, watcher->corr, MR_BUSY,
                "the job is not loaded yet; try again");
            drop(core, slot);
        }
    }
    if (is_wanted)
        mr_job_cancel(core, job);
}

static void
take_found(struct mr_core *core, const struct mr_found *found)
{
    struct mr_event event = {.id = found->id, .type = MR_EVENT_NO_JOB};
    uint32_t job = mr_ids_find(&core->job_ids, &found->id);
    uint32_t owner = mr_owner_find(core, found->submitted_by);

    /* In memory: submitted or loaded after the question was asked. An end that is stored stands,
     * whatever is in memory under that id (a forgery whose verdict is not here yet). */
    if ((!found->is_finished || (MR_MUTANT(end_unseen) && found->id.b[15] % 2 == 0)) &&
        (found->exists || job)) {
        found_unfinished(
            core, found->id, found->exists ? owner : mr_job_at(core, job)->owner);
        return;
    }
    if (found->is_finished) {
        event.type = MR_EVENT_FINISHED;
        event.attempt = found->attempt;
        event.outcome = found->outcome;
        event.text = found->text;
        event.body = found->body;
        event.at_us = found->finished_at_us;
    }
    /* What is in memory goes on as it would if nobody else had asked. */
    if (job && !(TO_BE_ASKED & 1u << mr_job_at(core, job)->state))
        conclude_all(core, &event, owner, true);
    else
        mr_watch_close(core, &event, owner);
}

void
mr_watch_found(struct mr_core *core, const struct mr_found *found)
{
    core->found = found;
    take_found(core, found);
    core->found = NULL;
}

void
mr_watch_ask(struct mr_core *core, struct mr_uuid id)
{
    uint32_t slot = mr_ids_find(&core->watch_ids, &id);
    bool is_asked = slot == 0; /* by nobody: then there is nothing to ask */

    for (; slot; slot = watcher_at(core, slot)->next) {
        is_asked = is_asked || watcher_at(core, slot)->is_asked;
        watcher_at(core, slot)->is_asked = true;
    }
    if (!is_asked)
        mr_say_find(core, id);
}

/* For the sake of one who may not see what is in memory: the others hear nothing of it. */
static void
ask_in_vain(struct mr_core *core, uint32_t peer, struct mr_uuid id)
{
    bool is_asked = false;

    for (uint32_t slot = mr_ids_find(&core->watch_ids, &id); slot;
         slot = watcher_at(core, slot)->next) {
        struct mr_watcher *watcher = watcher_at(core, slot);

        is_asked = is_asked || watcher->is_asked;
        watcher->is_asked = watcher->is_asked || watcher->peer == peer;
    }
    if (!is_asked)
        mr_say_find(core, id);
}

void
mr_watch_ask_anew(struct mr_core *core, struct mr_uuid id)
{
    if (mr_ids_find(&core->watch_ids, &id))
        mr_say_find(core, id);
}

void
mr_watch_request(
    struct mr_core *core, uint32_t peer, struct mr_uuid id, bool on, enum mr_scope scope)
{
    struct mr_event event = {.id = id, .type = MR_EVENT_WAITING};
    uint32_t slot = mr_ids_find(&core->job_ids, &id);
    bool made;

    if (!mr_roster_find(core, peer, MR_ROLE_CLIENT))
        return;
    if (!on) {
        mr_watch_remove(core, peer, id);
        return;
    }
    if (!mr_watch_add(core, peer, id, MR_WATCHES, 0, scope, &made)) {
        mr_say_error(core, peer, 0, MR_BUSY,
            "the broker watches as many jobs as it can; ask again later");
        return;
    }
    scope = mr_owner_scope(core, peer, slot, MR_RIGHT_WATCH, scope);
    if (!mr_owner_may_see(core, peer, slot, scope)) {
        ask_in_vain(core, peer, id); /* as for an id that does not exist */
        return;
    }
    if (!slot || TO_BE_ASKED & 1u << mr_job_at(core, slot)->state) {
        mr_watch_ask(core, id);
        return;
    }
    event.attempt = mr_job_at(core, slot)->attempt;
    event.permille = mr_extra_of(core, mr_job_at(core, slot))->permille;
    mr_say_event(core, peer, &event);
}

void
mr_watch_cancel(struct mr_core *core, uint32_t peer, uint64_t corr, struct mr_uuid id,
    enum mr_scope scope)
{
    uint32_t slot = mr_ids_find(&core->job_ids, &id);
    bool made;

    if (!mr_roster_find(core, peer, MR_ROLE_CLIENT))
        return;
    if (!mr_watch_add(core, peer, id, MR_CANCELS, corr, scope, &made)) {
        mr_say_reply(core, peer, corr, MR_BUSY,
            "the broker watches as many jobs as it can; cancel again later");
        return;
    }
    scope = mr_owner_scope(core, peer, slot, MR_RIGHT_CANCEL, scope);
    if (!mr_owner_may_see(core, peer, slot, scope))
        ask_in_vain(core, peer, id);
    else if (slot && MR_MUTANT(cancel_forgotten))
        mr_say_reply(core, peer, corr, MR_OK, "cancelled");
    else if (slot)
        mr_job_cancel(core, slot);
    else
        mr_watch_ask(core, id);
}
