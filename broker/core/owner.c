#include "broker/core/owner.h"

enum mr_status
mr_owner_number(struct mr_core *core, struct mr_span principal, uint16_t *number)
{
    bool is_new;

    *number = 0;
    if (!mr_names_is_good(principal))
        return MR_OK;
    *number = mr_names_intern(&core->owner_names, principal, &is_new);
    if (!*number)
        return MR_LIMIT;
    if (is_new)
        core->owners[*number] = (struct mr_owner){0};
    return MR_OK;
}

enum mr_status
mr_owner_of_principal(struct mr_core *core, uint32_t principal, uint16_t *number)
{
    struct mr_span name = mr_span_str(MR_PRINCIPAL_LOCAL);
    enum mr_status status;

    if (core->rights && principal)
        name = mr_rights_name(core->rights, principal);
    status = mr_owner_number(core, name, number);
    if (status)
        return MR_BUSY;
    return *number ? MR_OK : MR_BAD_ARGUMENT;
}

uint16_t
mr_owner_find(struct mr_core *core, struct mr_span principal)
{
    return mr_names_find(&core->owner_names, principal);
}

struct mr_span
mr_owner_name(const struct mr_core *core, uint16_t number)
{
    return number ? mr_names_text(&core->owner_names, number) : MR_SPAN_NONE;
}

void
mr_owner_takes(struct mr_core *core, uint32_t slot, uint16_t number)
{
    mr_job_at(core, slot)->owner = number & MR_OWNERS_MAX;
    core->owner_names.names[number].refs++;
    core->owners[number].use.jobs++;
}

void
mr_owner_lets_go(struct mr_core *core, uint32_t slot)
{
    const struct mr_job *job = mr_job_at(core, slot);

    core->owner_names.names[job->owner].refs--;
    core->owners[job->owner].use.jobs--;
    core->owners[job->owner].use.payload_bytes -= job->payload_bytes;
}

void
mr_owner_resized(
    struct mr_core *core, const struct mr_job *job, uint32_t was, uint32_t is)
{
    core->owners[job->owner].use.payload_bytes += (uint64_t)is - was;
}

static struct mr_quota
quota_of(const struct mr_core *core, uint32_t principal)
{
    return core->rights && principal ? mr_rights_quota(core->rights, principal)
                                     : (struct mr_quota){0};
}

static void
limit(struct mr_core *core, const struct mr_peer *peer)
{
    struct mr_owner *owner = &core->owners[peer->owner];
    struct mr_quota quota = quota_of(core, peer->principal);

    mr_quota_change(&owner->quota, &quota, &owner->use, core->now.mono_us);
    owner->quota = quota;
}

void
mr_owner_limit_all(struct mr_core *core)
{
    for (uint32_t at = core->oldest; at != MR_NO_PEER; at = core->peers[at].newer)
        limit(core, &core->peers[at]);
}

bool
mr_owner_has_session(struct mr_core *core, uint32_t principal, uint16_t number)
{
    struct mr_quota_use *use = &core->owners[number].use;
    struct mr_quota quota = quota_of(core, principal);

    if (mr_quota_has_session(&quota, use))
        return true;
    use->refused[MR_QUOTA_SESSIONS]++;
    return false;
}

void
mr_owner_joins(struct mr_core *core, struct mr_peer *peer, uint16_t number)
{
    peer->owner = number;
    core->owner_names.names[number].refs++;
    core->owners[number].use.sessions++;
    limit(core, peer);
}

void
mr_owner_leaves(struct mr_core *core, const struct mr_peer *peer)
{
    core->owner_names.names[peer->owner].refs--;
    core->owners[peer->owner].use.sessions--;
}

bool
mr_owner_is_uneven(const struct mr_core *core, uint32_t peer, enum mr_right right)
{
    uint32_t principal = core->peers[peer].principal;
    struct mr_scope_range range;

    if (!core->rights || !principal)
        return false;
    range = mr_rights_over(core->rights, principal, right, MR_SPAN_NONE, MR_SPAN_NONE);
    return range.least != range.most;
}

enum mr_scope
mr_owner_scope(const struct mr_core *core, uint32_t peer, uint32_t slot,
    enum mr_right right, enum mr_scope scope)
{
    if (!slot || !mr_owner_is_uneven(core, peer, right))
        return scope;
    return mr_rights_may(core->rights, core->peers[peer].principal, right,
        mr_names_text(&core->queue_names, mr_job_at(core, slot)->queue),
        mr_names_text(&core->kind_names, mr_job_at(core, slot)->kind));
}

bool
mr_owner_may_see(
    const struct mr_core *core, uint32_t peer, uint32_t slot, enum mr_scope scope)
{
    return !slot || scope == MR_SCOPE_ANY ||
           (scope == MR_SCOPE_OWN &&
               mr_job_at(core, slot)->owner == core->peers[peer].owner);
}

/* ---- entry points: see core.h ------------------------------------------------------------------ */

struct mr_span
mr_core_principal(const struct mr_core *core, uint32_t peer)
{
    return mr_owner_name(core, core->peers[peer].owner);
}

bool
mr_core_next_owner(
    const struct mr_core *core, uint32_t *cursor, struct mr_core_owner_info *out)
{
    while (*cursor < core->owner_names.fresh) {
        uint16_t number = (uint16_t)++ * cursor;

        if (!core->owner_names.names[number].bytes)
            continue;
        *out = (struct mr_core_owner_info){.name = mr_owner_name(core, number),
            .quota = core->owners[number].quota,
            .use = core->owners[number].use};
        return true;
    }
    return false;
}

bool
mr_core_may_see(
    const struct mr_core *core, uint32_t peer, struct mr_uuid id, enum mr_scope scope)
{
    uint32_t slot = mr_ids_find(&core->job_ids, &id);

    return mr_owner_may_see(
        core, peer, slot, mr_owner_scope(core, peer, slot, MR_RIGHT_FETCH, scope));
}
