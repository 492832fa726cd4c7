#include "worker/session_priv.h"

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
    mr_session_take_all_back(session);
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
    mr_session_stop_all(session, MR_STOP_DRAIN);
    session->act(session->context, MR_SESSION_HURRY, 0, NULL, NULL);
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
    int64_t next_us;

    if (!session->is_draining) {
        mr_session_seats_start(session, now); /* before, so that their deadlines count */
        give_back_surplus(session);
    }
    next_us = mr_session_seats_watch(session, now);
    if (session->is_draining) {
        if (!session->has_hurried && now.mono_us >= session->stop_us)
            hurry(session);
        next_us = mr_session_earlier(
            next_us, session->has_hurried ? session->over_us : session->stop_us);
    }
    if (session->is_up) {
        next_us = mr_session_earlier(next_us, session->beat_us);
        if (session->reported.first && session->resume_us > now.mono_us)
            next_us = mr_session_earlier(next_us, session->resume_us);
    }
    return next_us;
}
