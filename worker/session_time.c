#include "worker/session_priv.h"

#define CANCEL_AGAIN_US 250000

static void
start_one(struct mr_session *session, struct mr_now now, uint32_t executor,
    struct mr_attempt *attempt, uint32_t kind)
{
    struct mr_seat *seat = &session->seats[executor];

    mr_session_list_remove(&session->queued, attempt);
    attempt->place = MR_PLACE_RUNNING;
    session->running++;
    session->kind_running[kind]++;
    session->idle_seats--;
    *seat = (struct mr_seat){.attempt = attempt, .kind = kind};
    seat->deadline_us = attempt->timeout_ms
                            ? now.mono_us + attempt->timeout_ms * INT64_C(1000)
                            : MR_NEVER_US;
    seat->hung_us = MR_NEVER_US;
    session->act(session->context, MR_SESSION_START, executor, attempt);
}

/* The oldest that is queued and whose kind may run once more. */
static struct mr_attempt *
next_queued(struct mr_session *session, uint32_t *kind)
{
    struct mr_attempt *attempt = session->queued.first;

    for (; attempt; attempt = attempt->next) {
        const struct millrace_kind *found =
            mr_registry_find(session->conf.kinds, mr_span_str(attempt->kind->name), kind);

        MR_ASSERT(found == attempt->kind);
        if (!found->running_max || session->kind_running[*kind] < found->running_max)
            return attempt;
    }
    return NULL;
}

static void
start_queued(struct mr_session *session, struct mr_now now)
{
    struct mr_attempt *attempt;
    uint32_t kind;

    for (uint32_t i = 0; i < session->conf.threads && session->idle_seats; i++) {
        if (!session->seats[i].is_idle)
            continue;
        attempt = next_queued(session, &kind);
        if (!attempt)
            return;
        start_one(session, now, i, attempt, kind);
    }
}

static uint32_t
seat_of(const struct mr_session *session, const struct mr_attempt *attempt)
{
    uint32_t i = 0;

    while (session->seats[i].attempt != attempt) {
        i++;
        MR_ASSERT(i < session->conf.threads);
    }
    return i;
}

void
mr_session_stop(struct mr_attempt *attempt, enum mr_stop why)
{
    int not_yet = MR_STOP_NOT;

    (void)atomic_compare_exchange_strong(&attempt->stop, &not_yet, (int)why);
}

/* Jobs turned out to be longer than those before them: what would wait long here may run
 * elsewhere. Newest first, since the broker puts each in front of its lane. */
static void
give_back_surplus(struct mr_session *session)
{
    uint32_t most = mr_pace_keep(&session->pace);

    while (session->queued.count > most) {
        struct mr_attempt *attempt = session->queued.last;

        mr_session_list_remove(&session->queued, attempt);
        mr_attempt_report(attempt, MR_DID_GIVE_BACK, MR_SPAN_NONE);
        mr_session_report(session, attempt);
    }
}

/* ---- what comes back -------------------------------------------------------------------------- */

/* The handler is through with it, whatever comes next. */
static void
vacate(struct mr_session *session, struct mr_seat *seat)
{
    seat->attempt = NULL;
    seat->deadline_us = seat->hung_us = MR_NEVER_US;
    session->running--;
}

static void
set_idle(struct mr_session *session, struct mr_seat *seat)
{
    session->kind_running[seat->kind]--;
    seat->is_idle = true;
    session->idle_seats++;
}

void
mr_session_idle(
    struct mr_session *session, struct mr_now now, uint32_t executor, size_t bytes)
{
    struct mr_seat *seat = &session->seats[executor];

    (void)now;
    MR_ASSERT(!seat->is_idle);
    if (seat->attempt) { /* it is at the committer, whose note may be slower or faster */
        seat->attempt->place = MR_PLACE_STORING;
        seat->attempt->held_bytes = bytes;
        session->held_bytes += bytes;
        vacate(session, seat);
    }
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
        vacate(session, &session->seats[seat_of(session, attempt)]);
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
write_off(struct mr_session *session, struct mr_now now, uint32_t executor)
{
    struct mr_seat *seat = &session->seats[executor];
    struct mr_attempt *hung = seat->attempt;
    bool is_owned = !hung->is_disowned;

    mr_session_disown(session, hung);
    if (is_owned)
        report_hung(session, hung);
    vacate(session, seat);
    hung->place = MR_PLACE_NONE; /* nobody waits for it */
    session->held--;
    if (session->replaced < session->conf.spares) {
        session->replaced++;
        set_idle(session, seat);
        session->act(session->context, MR_SESSION_REPLACE, executor, hung);
        return;
    }
    session->is_worn_out = true;
    if (!session->is_draining)
        mr_session_drain(session, now);
}

/* Again and again: a cancel that arrives between two statements stops neither. */
static int64_t
cancel_sql(struct mr_session *session, struct mr_now now, uint32_t executor)
{
    struct mr_seat *seat = &session->seats[executor];

    if (atomic_load(&seat->attempt->stop) == MR_STOP_NOT)
        return MR_NEVER_US;
    if (now.mono_us >= seat->cancel_us) {
        seat->cancel_us = now.mono_us + CANCEL_AGAIN_US;
        session->act(session->context, MR_SESSION_CANCEL, executor, seat->attempt);
    }
    return seat->cancel_us;
}

static int64_t
earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t
watch_seat(struct mr_session *session, struct mr_now now, uint32_t executor)
{
    struct mr_seat *seat = &session->seats[executor];

    if (!seat->attempt || atomic_load(&seat->attempt->is_handled))
        return MR_NEVER_US;
    if (now.mono_us >= seat->hung_us) {
        write_off(session, now, executor);
        return now.mono_us;
    }
    if (now.mono_us >= seat->deadline_us) {
        seat->deadline_us = MR_NEVER_US;
        /* A child process is killed by its executor, which never hangs itself. */
        if (!seat->attempt->is_isolated)
            seat->hung_us = now.mono_us + session->conf.hang_grace_ms * INT64_C(1000);
        mr_session_stop(seat->attempt, MR_STOP_TIMED_OUT);
    }
    return earlier(
        cancel_sql(session, now, executor), earlier(seat->deadline_us, seat->hung_us));
}

/* ---- the end -------------------------------------------------------------------------------------- */

void
mr_session_drain(struct mr_session *session, struct mr_now now)
{
    if (session->is_draining) {
        session->stop_us = session->over_us = now.mono_us;
        return;
    }
    session->is_draining = true;
    session->stop_us = now.mono_us + session->conf.drain_ms * INT64_C(1000);
    session->over_us = session->stop_us + session->conf.hang_grace_ms * INT64_C(1000);
    while (session->queued.first) {
        struct mr_attempt *attempt = session->queued.first;

        mr_session_list_remove(&session->queued, attempt);
        mr_attempt_report(attempt, MR_DID_GIVE_BACK, MR_SPAN_NONE);
        mr_session_report(session, attempt);
    }
}

static void
hurry(struct mr_session *session)
{
    session->has_hurried = true;
    for (uint32_t i = 0; i < session->conf.threads; i++)
        if (session->seats[i].attempt)
            mr_session_stop(session->seats[i].attempt, MR_STOP_DRAIN);
    session->act(session->context, MR_SESSION_HURRY, 0, NULL);
}

bool
mr_session_is_draining(const struct mr_session *session)
{
    return session->is_draining;
}

bool
mr_session_is_over(const struct mr_session *session, struct mr_now now)
{
    return session->is_draining &&
           (session->held == 0 || now.mono_us >= session->over_us);
}

bool
mr_session_is_worn_out(const struct mr_session *session)
{
    return session->is_worn_out;
}

int64_t
mr_session_tick(struct mr_session *session, struct mr_now now)
{
    int64_t next_us = MR_NEVER_US;

    if (!session->is_draining) {
        start_queued(session, now); /* before, so that their deadlines count */
        give_back_surplus(session);
    }
    for (uint32_t i = 0; i < session->conf.threads; i++)
        next_us = earlier(next_us, watch_seat(session, now, i));
    if (session->is_draining) {
        if (!session->has_hurried && now.mono_us >= session->stop_us)
            hurry(session);
        next_us =
            earlier(next_us, session->has_hurried ? session->over_us : session->stop_us);
    }
    if (session->is_up) {
        next_us = earlier(next_us, session->beat_us);
        if (session->reported.first && session->resume_us > now.mono_us)
            next_us = earlier(next_us, session->resume_us);
    }
    return next_us;
}
