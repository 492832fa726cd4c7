#include "broker/core/core.h"

#include "broker/core/check.h"
#include "broker/core/core_priv.h"
#include "broker/core/done.h"
#include "broker/core/job.h"
#include "broker/core/lane.h"
#include "broker/core/look.h"
#include "broker/core/match.h"
#include "broker/core/owner.h"
#include "broker/core/recover.h"
#include "broker/core/roster.h"
#include "broker/core/run.h"
#include "broker/core/settle.h"
#include "broker/core/submit.h"
#include "broker/core/watch.h"
#include "broker/core/why.h"

#include <stdlib.h>

/* Room above the payload budget for payloads that are read back to be run: a quarter of the
 * budget, and a few of the largest at least. */
#define READ_ROOM_MIN (UINT64_C(8) * MR_PAYLOAD_BYTES_MAX)
/* Outcomes may wait for their commit beside submits. */
#define CLAIMS_MAX 65536u
#define ENDED_MAX 65536u
#define DONE_SLIPS (16u * MR_ITEMS_PER_MESSAGE_MAX)
#define TIMERS_PER_TICK 100000
#define CELLS_MAX (UINT32_C(1) << 26)

void
mr_core_conf_default(struct mr_core_conf *conf)
{
    *conf = (struct mr_core_conf){
        .jobs_max = 1000000,
        .payload_bytes_max = UINT64_C(512) << 20,
        .storing_max = 65536,
        .storing_bytes_max = UINT64_C(64) << 20,
        .workers_max = 1024,
        .clients_max = 4096,
        .queues_max = 256,
        .kinds_max = 512,
        .lanes_max = 262144,
        .watches_max = 262144,
        .owners_max = 4096,
        .heartbeat_ms = 1000,
        .grace_ms = 2500,
        .age_ms = 10000,
        .busy_retry_ms = 200,
        .attempts_max = 5,
        .timeout_ms = 60000,
        .backoff_base_ms = 1000,
        .backoff_cap_ms = 600000,
        .backoff_factor_percent = 200,
        .backoff_jitter_percent = 20,
        .timeout_slack_ms = 5000,
        .losses_max = 3,
        .id_past_ms = INT64_C(7) * 24 * 3600 * 1000,
        .id_future_ms = 60 * 1000,
        .refuses_unknown_kinds = true,
        .seed = 1,
        .hash_key = {1, 2},
    };
}

static bool
is_good(const struct mr_core_conf *conf)
{
    uint64_t cells = ((uint64_t)conf->queues_max + 1) * ((uint64_t)conf->kinds_max + 1) *
                     MR_PRIORITIES;

    return conf->jobs_max && conf->jobs_max < UINT32_C(1) << 28 && conf->storing_max &&
           conf->storing_max < UINT32_C(1) << 24 && conf->workers_max &&
           conf->clients_max && conf->workers_max < UINT32_C(1) << 20 &&
           conf->clients_max < UINT32_C(1) << 20 &&
           conf->workers_max + conf->clients_max < MR_NO_PEER && conf->owners_max &&
           conf->owners_max <= MR_OWNERS_MAX && conf->queues_max &&
           conf->queues_max <= 16384 && conf->kinds_max && conf->kinds_max <= 16384 &&
           cells <= CELLS_MAX && conf->lanes_max && conf->lanes_max < UINT32_C(1) << 28 &&
           conf->watches_max && conf->watches_max < UINT32_C(1) << 28 &&
           conf->heartbeat_ms && conf->age_ms && conf->attempts_max &&
           conf->attempts_max <= MR_ATTEMPTS_MAX && conf->timeout_ms &&
           conf->losses_max && conf->losses_max <= UINT8_MAX &&
           conf->backoff_factor_percent >= MR_BACKOFF_FACTOR_MIN &&
           conf->backoff_factor_percent <= MR_BACKOFF_FACTOR_MAX &&
           conf->backoff_jitter_percent <= MR_BACKOFF_JITTER_MAX;
}

/* ---- life ------------------------------------------------------------------------------------- */

static enum mr_status
new_jobs(struct mr_core *core)
{
    const struct mr_core_conf *conf = &core->conf;
    uint64_t read_room = conf->payload_bytes_max / 4;
    enum mr_status status;

    mr_pool_init(
        &core->pool, conf->payload_bytes_max +
                         (read_room > READ_ROOM_MIN ? read_room : READ_ROOM_MIN));
    if ((status = mr_slab_init(&core->jobs, conf->jobs_max, sizeof(struct mr_job))) ||
        (status = mr_slab_init(&core->extras, conf->jobs_max, sizeof(struct mr_extra))) ||
        (status = mr_ids_init(&core->job_ids, &core->jobs, &core->id_hash)) ||
        (status = mr_wheel_init(&core->wheel, conf->jobs_max, 0)) ||
        (status = mr_slab_init(&core->lanes, conf->lanes_max, sizeof(struct mr_lane))))
        return status;
    return mr_ids_init(&core->lane_ids, &core->lanes, &core->id_hash);
}

static enum mr_status
new_names(struct mr_core *core)
{
    const struct mr_core_conf *conf = &core->conf;
    size_t queues = (size_t)conf->queues_max + 1;
    size_t kinds = (size_t)conf->kinds_max + 1;
    enum mr_status status;

    if ((status = mr_names_init(&core->queue_names, conf->queues_max, conf->hash_key)) ||
        (status = mr_names_init(&core->kind_names, conf->kinds_max, conf->hash_key)) ||
        (status = mr_names_init(&core->owner_names, conf->owners_max, conf->hash_key)))
        return status;
    core->owners = calloc((size_t)conf->owners_max + 1, sizeof *core->owners);
    core->queues = calloc(queues, sizeof *core->queues);
    core->kinds = calloc(kinds, sizeof *core->kinds);
    core->cells = calloc(queues * kinds * MR_PRIORITIES, sizeof *core->cells);
    return core->owners && core->queues && core->kinds && core->cells ? MR_OK
                                                                      : MR_NO_MEMORY;
}

static enum mr_status
new_peers(struct mr_core *core)
{
    const struct mr_core_conf *conf = &core->conf;
    enum mr_status status;

    core->submit_slips_max = conf->storing_max > MR_JOBS_PER_MESSAGE_MAX
                                 ? conf->storing_max
                                 : MR_JOBS_PER_MESSAGE_MAX;
    if ((status = mr_slab_init(&core->slips, core->submit_slips_max + DONE_SLIPS,
             sizeof(struct mr_slip))) ||
        (status = mr_slab_init(
             &core->receipts, core->slips.max, sizeof(struct mr_receipt))) ||
        (status = mr_slab_init(
             &core->watchers, conf->watches_max, sizeof(struct mr_watcher))) ||
        (status = mr_ids_init(&core->watch_ids, &core->watchers, &core->id_hash)) ||
        (status = mr_slab_init(&core->claims, CLAIMS_MAX, sizeof(struct mr_claim))) ||
        (status = mr_ids_init(&core->claim_ids, &core->claims, &core->id_hash)) ||
        (status = mr_slab_init(&core->ended, ENDED_MAX, sizeof(struct mr_ended))) ||
        (status = mr_ids_init(&core->ended_ids, &core->ended, &core->id_hash)))
        return status;
    core->peers_max = conf->workers_max + conf->clients_max;
    core->peers = calloc(core->peers_max, sizeof *core->peers);
    core->run_memo = calloc(MR_RUN_MEMO, sizeof *core->run_memo);
    core->verdicts = calloc(MR_JOBS_PER_MESSAGE_MAX > MR_ITEMS_PER_MESSAGE_MAX
                                ? MR_JOBS_PER_MESSAGE_MAX
                                : MR_ITEMS_PER_MESSAGE_MAX,
        sizeof *core->verdicts);
    return core->peers && core->run_memo && core->verdicts ? MR_OK : MR_NO_MEMORY;
}

enum mr_status
mr_core_new(struct mr_core **out, const struct mr_core_conf *conf, mr_core_act_fn act,
    void *context)
{
    struct mr_core *core;
    enum mr_status status;

    *out = NULL;
    if (!is_good(conf))
        return MR_BAD_SETTING;
    core = calloc(1, sizeof *core);
    if (!core)
        return MR_NO_MEMORY;
    *core = (struct mr_core){.conf = *conf,
        .act = act,
        .context = context,
        .random = conf->seed,
        .oldest = MR_NO_PEER,
        .newest = MR_NO_PEER,
        .turn = MR_NO_PEER,
        .run_serial = 1,
        .confirm_us = INT64_MAX,
        .is_loading = true,
        .is_partial = true,
        .is_store_up = true};
    mr_ids_hash_init(&core->id_hash, conf->hash_key);
    if ((status = new_jobs(core)) || (status = new_names(core)) ||
        (status = new_peers(core)))
        goto fail;
    *out = core;
    return MR_OK;
fail:
    mr_core_destroy(&core);
    return status;
}

/* Blocks of the pool belong to jobs and slips. */
static void
free_blocks(struct mr_core *core)
{
    for (uint32_t slot = 1; slot <= core->jobs.fresh; slot++) {
        struct mr_job *job = mr_job_at(core, slot);

        if (job->state == MR_JOB_FREE)
            continue;
        if (!(job->flags & MR_JOB_ABSENT) && job->u.payload)
            mr_pool_free(&core->pool, job->u.payload,
                (size_t)job->payload_bytes + job->trace_bytes);
        if (mr_extra_of(core, job)->note)
            mr_pool_free(&core->pool, mr_extra_of(core, job)->note, MR_NOTE_BYTES);
    }
    for (uint32_t slot = 1; slot <= core->slips.fresh; slot++) {
        struct mr_slip *slip = mr_slab_at(&core->slips, slot);

        if (slip->is_copy)
            mr_pool_free(&core->pool, (void *)(uintptr_t)slip->text, slip->text_bytes);
    }
}

void
mr_core_destroy(struct mr_core **out)
{
    struct mr_core *core = *out;

    if (!core)
        return;
    free_blocks(core);
    mr_pool_fini(&core->pool);
    mr_slab_fini(&core->jobs);
    mr_slab_fini(&core->extras);
    mr_ids_fini(&core->job_ids);
    mr_wheel_fini(&core->wheel);
    mr_slab_fini(&core->lanes);
    mr_ids_fini(&core->lane_ids);
    mr_names_fini(&core->queue_names);
    mr_names_fini(&core->kind_names);
    mr_names_fini(&core->owner_names);
    free(core->owners);
    free(core->queues);
    free(core->kinds);
    free(core->cells);
    mr_roster_fini(core);
    free(core->run_memo);
    mr_slab_fini(&core->slips);
    mr_slab_fini(&core->receipts);
    mr_slab_fini(&core->watchers);
    mr_ids_fini(&core->watch_ids);
    mr_slab_fini(&core->claims);
    mr_ids_fini(&core->claim_ids);
    mr_slab_fini(&core->ended);
    mr_ids_fini(&core->ended_ids);
    free(core->verdicts);
    free(core);
    *out = NULL;
}

/* ---- peers -------------------------------------------------------------------------------------- */

void
mr_core_set_rights(
    struct mr_core *core, struct mr_now now, const struct mr_rights *rights)
{
    core->now = now;
    core->rights = rights;
    mr_run_forget(core);
    mr_owner_limit_all(core);
}

enum mr_status
mr_core_client_joins(struct mr_core *core, struct mr_now now, uint32_t peer,
    uint32_t principal, struct mr_span name)
{
    core->now = now;
    return mr_roster_add_client(core, peer, principal, name);
}

enum mr_status
mr_core_worker_joins(struct mr_core *core, struct mr_now now, uint32_t peer,
    uint32_t principal, const struct mr_hello *hello, const struct mr_offer *offers)
{
    core->now = now;
    return mr_roster_add_worker(core, peer, principal, hello, offers);
}

void
mr_core_heard(struct mr_core *core, struct mr_now now, uint32_t peer)
{
    core->now = now;
    mr_roster_heard(core, peer);
}

void
mr_core_overslept(struct mr_core *core, struct mr_now now)
{
    core->now = now;
    mr_roster_forgive(core);
}

void
mr_core_leaves(
    struct mr_core *core, struct mr_now now, uint32_t peer, struct mr_span reason)
{
    core->now = now;
    mr_roster_remove(core, peer, reason);
}

void
mr_core_says_bye(
    struct mr_core *core, struct mr_now now, uint32_t peer, struct mr_span reason)
{
    core->now = now;
    mr_roster_end(core, peer, reason);
}

/* ---- clients ------------------------------------------------------------------------------------ */

enum mr_status
mr_core_submit_open(struct mr_core *core, struct mr_now now, uint32_t peer, uint64_t corr,
    uint32_t flags, uint32_t jobs)
{
    core->now = now;
    return mr_submit_open(core, peer, corr, flags, jobs);
}

void
mr_core_submit_job(struct mr_core *core, struct mr_now now, const struct mr_job_new *job)
{
    core->now = now;
    mr_submit_job(core, job);
}

void
mr_core_submit_denied(struct mr_core *core, struct mr_now now, struct mr_span why)
{
    core->now = now;
    mr_submit_denied(core, why);
}

void
mr_core_submit_close(struct mr_core *core, struct mr_now now)
{
    core->now = now;
    mr_submit_close(core);
}

void
mr_core_watch(struct mr_core *core, struct mr_now now, uint32_t peer, struct mr_uuid id,
    bool on, enum mr_scope scope)
{
    core->now = now;
    mr_watch_request(core, peer, id, on, scope);
}

void
mr_core_cancel(struct mr_core *core, struct mr_now now, uint32_t peer, uint64_t corr,
    struct mr_uuid id, enum mr_scope scope)
{
    core->now = now;
    mr_watch_cancel(core, peer, corr, id, scope);
}

/* ---- workers ------------------------------------------------------------------------------------ */

void
mr_core_credit(struct mr_core *core, struct mr_now now, uint32_t peer, uint64_t limit)
{
    struct mr_peer *worker = mr_roster_find(core, peer, MR_ROLE_WORKER);

    core->now = now;
    if (worker && limit > worker->credit)
        worker->credit = limit;
}

void
mr_core_done_ahead(
    struct mr_core *core, struct mr_now now, uint32_t peer, const struct mr_done *done)
{
    core->now = now;
    mr_done_ahead(core, peer, done);
}

void
mr_core_done_open(struct mr_core *core, struct mr_now now, uint32_t peer, uint64_t corr,
    uint32_t flags, uint32_t dones)
{
    core->now = now;
    mr_done_open(core, peer, corr, flags, dones);
}

void
mr_core_done(struct mr_core *core, struct mr_now now, const struct mr_done *done)
{
    core->now = now;
    mr_done_take(core, done);
}

void
mr_core_done_close(struct mr_core *core, struct mr_now now)
{
    core->now = now;
    mr_done_close(core);
}

void
mr_core_held(
    struct mr_core *core, struct mr_now now, uint32_t peer, const struct mr_held *held)
{
    core->now = now;
    mr_recover_held(core, peer, held);
}

/* ---- the store ------------------------------------------------------------------------------------ */

void
mr_core_stored(struct mr_core *core, struct mr_now now, const struct mr_store_op *op)
{
    core->now = now;
    mr_settle_stored(core, op);
}

enum mr_status
mr_core_loaded(struct mr_core *core, struct mr_now now, const struct mr_stored_job *job)
{
    core->now = now;
    return mr_recover_loaded(core, job);
}

void
mr_core_load_begins(struct mr_core *core, struct mr_now now)
{
    core->now = now;
    if (!core->grace_until_us)
        core->grace_until_us = now.mono_us + core->conf.grace_ms * INT64_C(1000);
}

void
mr_core_load_done(struct mr_core *core, struct mr_now now)
{
    mr_core_load_begins(core, now);
    core->is_loading = core->is_partial = false;
    mr_recover_forget_claims(core);
    mr_recover_forget_ended(core);
}

void
mr_core_load_asks(struct mr_core *core)
{
    mr_recover_forget_ended(core);
}

bool
mr_core_is_loading(const struct mr_core *core)
{
    return core->is_loading;
}

void
mr_core_found(struct mr_core *core, struct mr_now now, const struct mr_found *found)
{
    core->now = now;
    mr_settle_found(core, found);
}

void
mr_core_read_back(struct mr_core *core, struct mr_now now, struct mr_uuid id,
    const struct mr_stored_job *job)
{
    core->now = now;
    mr_settle_read_back(core, id, job);
}

void
mr_core_store_is_up(struct mr_core *core, struct mr_now now, bool is_up)
{
    core->now = now;
    if (is_up && !core->is_store_up)
        core->store_back_us = now.mono_us + MR_STORE_BACK_US;
    core->is_store_up = is_up;
}

/* ---- operators ------------------------------------------------------------------------------------ */

enum mr_status
mr_core_set_paused(
    struct mr_core *core, struct mr_now now, struct mr_span queue, bool is_paused)
{
    uint16_t number;
    bool is_new;

    core->now = now;
    if (!mr_names_is_good(queue))
        return MR_BAD_ARGUMENT;
    number = mr_names_intern(&core->queue_names, queue, &is_new);
    if (!number)
        return MR_LIMIT;
    if (is_new) {
        core->queues[number] = (struct mr_queue){0};
        mr_run_renamed(core);
    }
    core->queue_names.names[number].is_pinned = is_paused;
    mr_lane_pause_queue(core, number, is_paused);
    return MR_OK;
}

enum mr_status
mr_core_knows_kind(struct mr_core *core, struct mr_span kind)
{
    uint16_t number;

    if (!mr_names_is_good(kind))
        return MR_BAD_ARGUMENT;
    number = mr_roster_kind(core, kind, false);
    if (!number)
        return MR_LIMIT;
    core->kinds[number].is_known = true;
    core->kind_names.names[number].is_pinned = true;
    return MR_OK;
}

void
mr_core_drain_worker(struct mr_core *core, struct mr_now now, uint32_t peer)
{
    core->now = now;
    if (mr_roster_find(core, peer, MR_ROLE_WORKER))
        mr_roster_drain(core, peer);
}

void
mr_core_worker_ends(struct mr_core *core, struct mr_now now, uint32_t peer)
{
    struct mr_peer *worker = mr_roster_find(core, peer, MR_ROLE_WORKER);

    core->now = now;
    if (worker)
        worker->is_draining = true;
}

void
mr_core_drain(struct mr_core *core, struct mr_now now)
{
    core->now = now;
    core->is_draining = true;
}

/* ---- time ---------------------------------------------------------------------------------------- */

static int64_t
min_us(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* True: some are left for the next turn of the loop. */
static bool
fire_timers(struct mr_core *core)
{
    int64_t now_ms = core->now.mono_us / 1000;

    for (uint32_t n = 0; n < TIMERS_PER_TICK; n++) {
        uint32_t slot = mr_wheel_pop(&core->wheel, now_ms);

        if (!slot)
            return false;
        mr_job_on_timer(core, slot);
    }
    return true;
}

static bool
is_grace_over(const struct mr_core *core)
{
    return core->grace_until_us && core->now.mono_us >= core->grace_until_us;
}

int64_t
mr_core_tick(struct mr_core *core, struct mr_now now)
{
    int64_t next_us, wheel_ms;
    bool has_more;

    core->now = now;
    has_more = fire_timers(core);
    mr_roster_tick(core);
    if (is_grace_over(core)) {
        core->is_loading = false; /* what is still to come is handed out as it comes */
        has_more |= mr_recover_release(core);
    }
    mr_match_run(core);
    if (has_more)
        return now.mono_us;
    wheel_ms = mr_wheel_next_ms(&core->wheel);
    next_us = wheel_ms == INT64_MAX ? INT64_MAX : wheel_ms * 1000;
    next_us = min_us(next_us, mr_roster_next_us(core));
    if (core->grace_until_us && (core->recovered_first || core->is_loading))
        next_us = min_us(next_us, core->grace_until_us);
    if (core->starved && core->reading_bytes == 0 && core->sweep_fetched_us > now.mono_us)
        next_us = min_us(next_us, core->sweep_fetched_us);
    return next_us;
}

/* ---- looking in ----------------------------------------------------------------------------------- */

void
mr_core_stats(const struct mr_core *core, struct mr_core_stats *out)
{
    mr_look_stats(core, out);
}

bool
mr_core_next_queue(
    const struct mr_core *core, uint32_t *cursor, struct mr_core_queue_info *out)
{
    return mr_look_next_queue(core, cursor, out);
}

bool
mr_core_next_worker(
    const struct mr_core *core, uint32_t *cursor, struct mr_core_worker_info *out)
{
    return mr_look_next_worker(core, cursor, out);
}

bool
mr_core_next_kind(
    const struct mr_core *core, uint32_t *cursor, struct mr_core_kind_info *out)
{
    return mr_look_next_kind(core, cursor, out);
}

enum mr_status
mr_core_explain(const struct mr_core *core, struct mr_now now, struct mr_uuid id,
    char *out, size_t out_bytes)
{
    return mr_why_explain(core, now, id, out, out_bytes);
}

enum mr_status
mr_core_job(const struct mr_core *core, struct mr_uuid id, struct mr_core_job_info *out)
{
    return mr_look_job(core, id, out);
}

void
mr_core_check(const struct mr_core *core)
{
    mr_check_all(core);
}
