#include "broker/core/run.h"

#include "broker/core/roster.h"

enum mr_run
mr_run_over(const struct mr_core *core, uint32_t principal, uint16_t kind)
{
    struct mr_scope_range range;

    if (!principal || !core->rights)
        return MR_RUN_ALL;
    range = mr_rights_over(core->rights, principal, MR_RIGHT_RUN, MR_SPAN_NONE,
        mr_names_text(&core->kind_names, kind));
    if (range.least == MR_SCOPE_ANY)
        return MR_RUN_ALL;
    return range.most == MR_SCOPE_ANY ? MR_RUN_SOME : MR_RUN_NONE;
}

void
mr_run_renamed(struct mr_core *core)
{
    core->run_serial++;
}

void
mr_run_forget(struct mr_core *core)
{
    uint32_t number = core->turn;

    core->run_serial++;
    for (uint32_t i = 0; i < core->workers; i++, number = core->peers[number].next) {
        struct mr_peer *peer = &core->peers[number];

        for (uint32_t k = 0; k < peer->offer_count; k++)
            peer->offers[k].run =
                mr_run_over(core, peer->principal, peer->offers[k].kind);
    }
}

static bool
ask(const struct mr_core *core, uint32_t principal, uint16_t kind, uint16_t queue)
{
    return mr_rights_may(core->rights, principal, MR_RIGHT_RUN,
               mr_names_text(&core->queue_names, queue),
               mr_names_text(&core->kind_names, kind)) == MR_SCOPE_ANY;
}

bool
mr_run_may_now(const struct mr_core *core, uint32_t peer, const struct mr_job *job)
{
    uint32_t principal = core->peers[peer].principal;

    return !principal || !core->rights || ask(core, principal, job->kind, job->queue);
}

bool
mr_run_may(struct mr_core *core, uint32_t principal, uint16_t kind, uint16_t queue)
{
    uint32_t place = (principal * 31u + kind * 7u + queue) % MR_RUN_MEMO;
    struct mr_run_memo *memo = &core->run_memo[place];

    if (!principal || !core->rights)
        return true;
    if (memo->serial == core->run_serial && memo->principal == principal &&
        memo->kind == kind && memo->queue == queue)
        return memo->may;
    *memo = (struct mr_run_memo){.serial = core->run_serial,
        .principal = principal,
        .kind = kind,
        .queue = queue,
        .may = ask(core, principal, kind, queue)};
    return memo->may;
}

bool
mr_run_peer_may(struct mr_core *core, uint32_t peer, const struct mr_job *job)
{
    return mr_run_may(core, core->peers[peer].principal, job->kind, job->queue);
}

uint32_t
mr_run_cell(struct mr_core *core, uint32_t principal, uint16_t kind, uint32_t cell)
{
    uint32_t at = cell;

    do {
        uint32_t lane = core->cells[at].front;

        if (mr_run_may(core, principal, kind, mr_lane_at(core, lane)->queue))
            return at;
        at = core->cells[at].next;
    } while (at != cell);
    return 0;
}
