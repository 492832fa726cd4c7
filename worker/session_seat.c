#include "worker/session_priv.h"

#include <stdlib.h>

#include "worker/isolate.h"

#define CANCEL_AGAIN_US 250000

/* What waits so long behind another in its batch may run elsewhere. Longer than a thread that
 * has lost its processor usually takes to get it back. */
#define TAKE_BACK_US 5000

/* ---- new and destroy --------------------------------------------------------------------------- */

enum mr_status
mr_session_seats_new(struct mr_session *session)
{
    const struct mr_session_conf *conf = &session->conf;
    uint32_t kinds = mr_registry_count(conf->kinds);

    session->seats = calloc(conf->threads, sizeof *session->seats);
    session->batches = calloc(conf->threads + conf->spares, sizeof *session->batches);
    session->kinds = calloc(kinds + 1, sizeof *session->kinds);
    if (!session->seats || !session->batches || !session->kinds)
        return MR_NO_MEMORY;
    for (uint32_t i = 0; i < conf->threads; i++) {
        session->seats[i].is_idle = true;
        session->seats[i].batch = &session->batches[i];
    }
    session->idle_seats = conf->threads;
    for (uint32_t i = 0; i < kinds; i++) {
        const struct millrace_kind *kind = mr_registry_at(conf->kinds, i);

        session->kinds[i].is_isolated =
            mr_isolate_is_on(conf->isolate ? conf->isolate : "", kind);
        session->kinds[i].goes_alone = session->kinds[i].is_isolated || kind->running_max;
    }
    return MR_OK;
}

/* What its executor has not claimed is still ours. */
static void
free_unclaimed(struct mr_seat *seat)
{
    for (uint32_t i = 0; !seat->is_idle && i < seat->batch->count; i++) {
        struct mr_batch_item *item = &seat->batch->items[i];

        if (item->attempt && mr_batch_take_back(item))
            mr_attempt_destroy(&item->attempt);
    }
}

void
mr_session_seats_free(struct mr_session *session)
{
    for (uint32_t i = 0; session->seats && i < session->conf.threads; i++)
        if (session->seats[i].batch)
            free_unclaimed(&session->seats[i]);
    free(session->seats);
    free(session->batches);
    free(session->kinds);
}

/* ---- handing over ---------------------------------------------------------------------------------- */

/* The oldest that is queued and whose kind may run once more. */
static struct mr_attempt *
next_queued(const struct mr_session *session)
{
    struct mr_attempt *attempt = session->queued.first;

    while (attempt && attempt->kind->running_max &&
           session->kinds[attempt->kind_index].running >= attempt->kind->running_max)
        attempt = attempt->next;
    return attempt;
}

static void
put_into_batch(struct mr_session *session, struct mr_now now, uint32_t executor,
    struct mr_attempt *attempt)
{
    struct mr_batch *batch = session->seats[executor].batch;

    mr_session_list_remove(&session->queued, attempt);
    attempt->place = MR_PLACE_RUNNING;
    attempt->seat = executor;
    attempt->item = batch->count;
    session->running++;
    mr_batch_add(batch, attempt, now.mono_us);
}

/* A group is one transaction, however long its jobs run; but other threads have a share. */
static uint32_t
most_for(const struct mr_session *session, const struct mr_attempt *attempt)
{
    uint32_t most, share;

    if (session->kinds[attempt->kind_index].goes_alone)
        return 1;
    most = mr_pace_batch(&session->pace, session->queued.count, session->idle_seats);
    if (!mr_batch_group_of(attempt) || most >= attempt->kind->group_max)
        return most;
    share = (session->queued.count + session->idle_seats - 1) / session->idle_seats;
    if (share > attempt->kind->group_max)
        share = attempt->kind->group_max;
    return share > most ? share : most;
}

static void
start_one(struct mr_session *session, struct mr_now now, uint32_t executor,
    struct mr_attempt *attempt)
{
    struct mr_seat *seat = &session->seats[executor];
    uint32_t most = most_for(session, attempt);

    *seat = (struct mr_seat){
        .batch = seat->batch, .limited = MR_NO_LIMIT, .handed_us = now.mono_us};
    session->idle_seats--;
    if (attempt->kind->running_max) {
        seat->limited = attempt->kind_index;
        session->kinds[seat->limited].running++;
    }
    mr_batch_reset(seat->batch);
    put_into_batch(session, now, executor, attempt);
    while (seat->batch->count < most && seat->batch->count < MR_BATCH_MAX &&
           (attempt = next_queued(session)) &&
           !session->kinds[attempt->kind_index].goes_alone)
        put_into_batch(session, now, executor, attempt);
    session->act(session->context, MR_SESSION_START, executor, seat->batch, NULL);
}

static void
start_queued(struct mr_session *session, struct mr_now now)
{
    for (uint32_t i = 0; i < session->conf.threads && session->idle_seats; i++) {
        struct mr_attempt *attempt;

        if (!session->seats[i].is_idle)
            continue;
        attempt = next_queued(session);
        if (!attempt)
            return;
        start_one(session, now, i, attempt);
    }
}

/* ---- taking back ------------------------------------------------------------------------------------ */

/* It is not on its executor any more, whatever comes next. */
static void
leave_seat(struct mr_session *session, struct mr_attempt *attempt)
{
    session->seats[attempt->seat].batch->items[attempt->item].attempt = NULL;
    session->running--;
}

bool
mr_session_take_back(struct mr_session *session, struct mr_attempt *attempt)
{
    struct mr_batch *batch = session->seats[attempt->seat].batch;
    struct mr_attempts one = {0};

    if (!mr_batch_take_back(&batch->items[attempt->item]))
        return false;
    leave_seat(session, attempt);
    mr_session_list_put(&one, attempt);
    mr_session_list_move(&one, &session->queued, MR_PLACE_QUEUED);
    return true;
}

/* Last ones first, so that they are in their order again. */
static void
take_rest_back(struct mr_session *session, struct mr_seat *seat)
{
    for (uint32_t i = seat->is_idle ? 0 : seat->batch->count; i-- > seat->item;) {
        struct mr_attempt *attempt = seat->batch->items[i].attempt;

        if (attempt && !mr_session_take_back(session, attempt))
            return;
    }
}

void
mr_session_take_all_back(struct mr_session *session)
{
    session->take_back_us = MR_NEVER_US;
    for (uint32_t i = 0; i < session->conf.threads; i++)
        take_rest_back(session, &session->seats[i]);
}

/* ---- what comes back -------------------------------------------------------------------------------- */

/* It went to the committer, whose note may be slower or faster than the executor's. */
static void
await_store(struct mr_session *session, struct mr_attempt *attempt)
{
    leave_seat(session, attempt);
    attempt->place = MR_PLACE_STORING;
    attempt->held_bytes = attempt->stored_bytes;
    session->held_bytes += attempt->held_bytes;
}

static void
await_store_all(struct mr_session *session, const struct mr_batch *batch)
{
    for (uint32_t i = 0; i < batch->count; i++)
        if (batch->items[i].attempt)
            await_store(session, batch->items[i].attempt);
}

static void
set_idle(struct mr_session *session, struct mr_seat *seat)
{
    if (seat->limited != MR_NO_LIMIT)
        session->kinds[seat->limited].running--;
    seat->is_idle = true;
    session->idle_seats++;
}

void
mr_session_idle(struct mr_session *session, uint32_t executor)
{
    struct mr_seat *seat = &session->seats[executor];

    MR_ASSERT(!seat->is_idle);
    take_rest_back(session, seat); /* of one that was told to end */
    await_store_all(session, seat->batch);
    set_idle(session, seat);
}

/* Its group came to nothing: it runs again, alone. */
static void
come_back(struct mr_session *session, struct mr_attempt *attempt)
{
    struct mr_attempts one = {0};
    int alone = MR_STOP_ALONE;

    attempt->comes_back = false;
    if (session->is_draining) {
        mr_attempt_report(attempt, MR_DID_GIVE_BACK, MR_SPAN_NONE);
        mr_session_report(session, attempt);
        return;
    }
    (void)atomic_compare_exchange_strong(&attempt->stop, &alone, MR_STOP_NOT);
    atomic_store(&attempt->is_handled, false);
    mr_session_list_put(&one, attempt);
    mr_session_list_move(&one, &session->queued, MR_PLACE_QUEUED);
}

void
mr_session_returned(struct mr_session *session, struct mr_attempt *attempt)
{
    if (attempt->place == MR_PLACE_NONE) { /* its executor hung, and came round */
        mr_session_put_free(session, attempt);
        return;
    }
    if (attempt->place == MR_PLACE_RUNNING)
        leave_seat(session, attempt);
    if (attempt->comes_back && !attempt->is_disowned) {
        come_back(session, attempt);
        return;
    }
    if (attempt->done.started_at_us)
        mr_pace_ran(
            &session->pace, attempt->done.finished_at_us - attempt->done.started_at_us);
    if (attempt->is_disowned) {
        mr_session_forget(session, attempt);
        return;
    }
    session->held_bytes -= attempt->held_bytes;
    attempt->held_bytes = attempt->done.body.n + attempt->done.text.n;
    session->held_bytes += attempt->held_bytes;
    mr_session_report(session, attempt);
}

/* ---- what runs -------------------------------------------------------------------------------------- */

void
mr_session_stop(struct mr_attempt *attempt, enum mr_stop why)
{
    int before = MR_STOP_NOT;

    if (!atomic_compare_exchange_strong(&attempt->stop, &before, (int)why) &&
        before == MR_STOP_ALONE) /* the only one that is taken back */
        (void)atomic_compare_exchange_strong(&attempt->stop, &before, (int)why);
}

void
mr_session_stop_all(struct mr_session *session, enum mr_stop why)
{
    for (uint32_t i = 0; i < session->conf.threads; i++) {
        const struct mr_batch *batch = session->seats[i].batch;

        for (uint32_t k = 0; !session->seats[i].is_idle && k < batch->count; k++)
            if (batch->items[k].attempt)
                mr_session_stop(batch->items[k].attempt, why);
    }
}

/* Find the one that was claimed last; the first, if none was. True: others wait behind it. */
static bool
look_at(struct mr_seat *seat)
{
    const struct mr_batch *batch = seat->batch;

    for (uint32_t i = seat->item; i < batch->count; i++) {
        enum mr_claim claim = mr_batch_claim_of(&batch->items[i]);

        if (claim == MR_CLAIM_OPEN)
            return i > 0 || batch->count > 1;
        if (claim == MR_CLAIM_STARTED)
            seat->item = i;
    }
    return false;
}

/* What waits behind a long one may run elsewhere. Returns when to look again. */
static int64_t
take_back_late(struct mr_session *session, struct mr_now now, struct mr_seat *seat)
{
    int64_t due_us = seat->handed_us + TAKE_BACK_US;

    if (seat->is_idle || !look_at(seat))
        return MR_NEVER_US;
    if (now.mono_us < due_us)
        return due_us;
    if (mr_batch_claim_of(&seat->batch->items[0]) == MR_CLAIM_OPEN)
        return now.mono_us + TAKE_BACK_US; /* its thread has not come to it yet */
    take_rest_back(session, seat);
    return MR_NEVER_US;
}

void
mr_session_seats_start(struct mr_session *session, struct mr_now now)
{
    session->take_back_us = MR_NEVER_US;
    for (uint32_t i = 0; i < session->conf.threads; i++)
        session->take_back_us = mr_session_earlier(
            session->take_back_us, take_back_late(session, now, &session->seats[i]));
    start_queued(session, now);
}

static bool
is_running(const struct mr_seat *seat, uint32_t at)
{
    const struct mr_attempt *attempt = seat->batch->items[at].attempt;

    return attempt && !atomic_load(&attempt->is_handled);
}

/* Of those that are under way with the one that was claimed last: its group, or itself. */
static uint32_t
first_running(const struct mr_seat *seat)
{
    const struct mr_batch *batch = seat->batch;
    uint32_t first = seat->item;

    for (uint32_t i = first; batch->items[first].group && i-- > 0;) {
        if (batch->items[i].group != batch->items[first].group)
            break;
        if (is_running(seat, i))
            first = i;
    }
    return first;
}

/* ---- hanging executors -------------------------------------------------------------------------- */

/* Its thread keeps the attempt, so the report is made from another one. */
static void
report_hung(struct mr_session *session, const struct mr_attempt *hung)
{
    struct mr_job_sent sent = {
        .id = hung->id, .attempt = hung->number, .payload = MR_SPAN_NONE};
    struct mr_attempt *attempt = mr_attempt_new();

    if (!attempt || mr_attempt_set(attempt, &sent, hung->kind, ++session->serial)) {
        mr_attempt_destroy(&attempt);
        return; /* the broker's own clock times it out a little later */
    }
    attempt->is_disowned = true; /* in no table: nothing to find it by */
    session->held++;
    mr_attempt_report(attempt, MR_DID_TIME_OUT,
        mr_span_str("timed out, and did not stop when it was told to"));
    mr_session_report(session, attempt);
}

static void
replace(struct mr_session *session, uint32_t executor, struct mr_attempt *hung)
{
    struct mr_seat *seat = &session->seats[executor];

    /* The thread that hangs still has the old batch. */
    seat->batch = &session->batches[session->conf.threads + session->replaced++];
    set_idle(session, seat);
    session->act(session->context, MR_SESSION_REPLACE, executor, NULL, hung);
}

static void
write_off_one(struct mr_session *session, struct mr_attempt *hung)
{
    bool is_owned = !hung->is_disowned;

    mr_session_disown(session, hung);
    if (is_owned)
        report_hung(session, hung);
    leave_seat(session, hung);
    hung->place = MR_PLACE_NONE; /* nobody waits for it */
    session->held--;
}

/* All that run there: a group hangs as one. */
static void
write_off(struct mr_session *session, struct mr_now now, uint32_t executor)
{
    struct mr_seat *seat = &session->seats[executor];
    struct mr_attempt *hung = seat->batch->items[seat->item].attempt;

    take_rest_back(session, seat);
    for (uint32_t i = first_running(seat); i <= seat->item; i++)
        if (is_running(seat, i))
            write_off_one(session, seat->batch->items[i].attempt);
    await_store_all(session, seat->batch);
    if (session->replaced < session->conf.spares) {
        replace(session, executor, hung);
        return;
    }
    session->is_worn_out = true;
    if (!session->is_draining)
        mr_session_drain(session, now);
}

/* Again and again: a cancel that arrives between two statements stops neither. */
static int64_t
cancel_sql(struct mr_session *session, struct mr_now now, uint32_t executor,
    struct mr_attempt *attempt)
{
    struct mr_seat *seat = &session->seats[executor];

    if (now.mono_us >= seat->cancel_us) {
        seat->cancel_us = now.mono_us + CANCEL_AGAIN_US;
        session->act(session->context, MR_SESSION_CANCEL, executor, NULL, attempt);
    }
    return seat->cancel_us;
}

/* The first one of them that has to stop will do: nothing of the others is committed without it. */
static int64_t
cancel_any(struct mr_session *session, struct mr_now now, uint32_t executor)
{
    struct mr_seat *seat = &session->seats[executor];

    for (uint32_t i = first_running(seat); i <= seat->item; i++) {
        struct mr_attempt *attempt = seat->batch->items[i].attempt;

        if (is_running(seat, i) && atomic_load(&attempt->stop) != MR_STOP_NOT)
            return cancel_sql(session, now, executor, attempt);
    }
    return MR_NEVER_US;
}

int64_t
mr_session_earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t
deadline_of(const struct mr_seat *seat)
{
    int64_t deadline_us = MR_NEVER_US;

    for (uint32_t i = first_running(seat); !seat->is_late && i <= seat->item; i++) {
        const struct mr_batch_item *item = &seat->batch->items[i];

        if (is_running(seat, i) && item->attempt->timeout_ms)
            deadline_us = mr_session_earlier(deadline_us,
                atomic_load_explicit(&item->started_us, memory_order_relaxed) +
                    item->attempt->timeout_ms * INT64_C(1000));
    }
    return deadline_us;
}

/* Of a group nobody knows whose fault it is: each has its own time when it runs alone. */
static void
stop_late(struct mr_seat *seat)
{
    uint32_t first = first_running(seat);

    if (first == seat->item) {
        mr_session_stop(seat->batch->items[first].attempt, MR_STOP_TIMED_OUT);
        return;
    }
    for (uint32_t i = first; i <= seat->item; i++)
        if (is_running(seat, i))
            mr_session_stop(seat->batch->items[i].attempt, MR_STOP_ALONE);
}

static int64_t
watch_seat(struct mr_session *session, struct mr_now now, uint32_t executor)
{
    struct mr_seat *seat = &session->seats[executor];
    struct mr_attempt *attempt;

    if (seat->is_idle)
        return MR_NEVER_US;
    (void)look_at(seat);
    attempt = seat->batch->items[seat->item].attempt;
    if (!attempt || atomic_load(&attempt->is_handled))
        return MR_NEVER_US;
    if (seat->serial != attempt->serial) {
        seat->serial = attempt->serial;
        seat->is_late = false;
        seat->cancel_us = 0;
        seat->hung_us = MR_NEVER_US;
    }
    if (now.mono_us >= seat->hung_us) {
        write_off(session, now, executor);
        return now.mono_us;
    }
    if (now.mono_us >= deadline_of(seat)) {
        seat->is_late = true;
        /* A child process is killed by its executor, which never hangs itself. */
        if (!attempt->is_isolated)
            seat->hung_us = now.mono_us + session->conf.hang_grace_ms * INT64_C(1000);
        stop_late(seat);
    }
    return mr_session_earlier(cancel_any(session, now, executor),
        mr_session_earlier(deadline_of(seat), seat->hung_us));
}

int64_t
mr_session_seats_watch(struct mr_session *session, struct mr_now now)
{
    int64_t next_us = session->take_back_us;

    for (uint32_t i = 0; i < session->conf.threads; i++)
        next_us = mr_session_earlier(next_us, watch_seat(session, now, i));
    return next_us;
}
