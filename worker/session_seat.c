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

void
mr_session_seats_free(struct mr_session *session)
{
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

static void
start_one(struct mr_session *session, struct mr_now now, uint32_t executor,
    struct mr_attempt *attempt)
{
    struct mr_seat *seat = &session->seats[executor];
    uint32_t most =
        session->kinds[attempt->kind_index].goes_alone
            ? 1
            : mr_pace_batch(&session->pace, session->queued.count, session->idle_seats);

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
    await_store_all(session, seat->batch);
    set_idle(session, seat);
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
    int not_yet = MR_STOP_NOT;

    (void)atomic_compare_exchange_strong(&attempt->stop, &not_yet, (int)why);
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
write_off(struct mr_session *session, struct mr_now now, uint32_t executor,
    struct mr_attempt *hung)
{
    bool is_owned = !hung->is_disowned;

    take_rest_back(session, &session->seats[executor]);
    mr_session_disown(session, hung);
    if (is_owned)
        report_hung(session, hung);
    leave_seat(session, hung);
    hung->place = MR_PLACE_NONE; /* nobody waits for it */
    session->held--;
    await_store_all(session, session->seats[executor].batch);
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

    if (atomic_load(&attempt->stop) == MR_STOP_NOT)
        return MR_NEVER_US;
    if (now.mono_us >= seat->cancel_us) {
        seat->cancel_us = now.mono_us + CANCEL_AGAIN_US;
        session->act(session->context, MR_SESSION_CANCEL, executor, NULL, attempt);
    }
    return seat->cancel_us;
}

int64_t
mr_session_earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t
deadline_of(const struct mr_seat *seat, const struct mr_attempt *attempt)
{
    if (!attempt->timeout_ms || seat->is_late)
        return MR_NEVER_US;
    return atomic_load_explicit(
               &seat->batch->items[seat->item].started_us, memory_order_relaxed) +
           attempt->timeout_ms * INT64_C(1000);
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
        write_off(session, now, executor, attempt);
        return now.mono_us;
    }
    if (now.mono_us >= deadline_of(seat, attempt)) {
        seat->is_late = true;
        /* A child process is killed by its executor, which never hangs itself. */
        if (!attempt->is_isolated)
            seat->hung_us = now.mono_us + session->conf.hang_grace_ms * INT64_C(1000);
        mr_session_stop(attempt, MR_STOP_TIMED_OUT);
    }
    return mr_session_earlier(cancel_sql(session, now, executor, attempt),
        mr_session_earlier(deadline_of(seat, attempt), seat->hung_us));
}

int64_t
mr_session_seats_watch(struct mr_session *session, struct mr_now now)
{
    int64_t next_us = session->take_back_us;

    for (uint32_t i = 0; i < session->conf.threads; i++)
        next_us = mr_session_earlier(next_us, watch_seat(session, now, i));
    return next_us;
}
