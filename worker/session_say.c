#include "worker/session_priv.h"

#include <stdlib.h>
#include <string.h>

#define ITEM_BYTES_MAX 128u /* of a DONE or BEAT item besides its text and body */
#define GATHERED_MAX 256u   /* outcomes that wait for the answer to those before them */

/* ---- DONE ---------------------------------------------------------------------------------- */

static struct mr_flight *
new_flight(struct mr_session *session)
{
    struct mr_flight *flight = session->free_flights;

    if (flight)
        session->free_flights = flight->next;
    else
        flight = malloc(sizeof *flight);
    if (flight)
        *flight = (struct mr_flight){.corr = ++session->corr};
    return flight;
}

static bool
has_room(const struct mr_wr *wr, uint32_t items, size_t bytes)
{
    return items == 0 || (items < MR_ITEMS_PER_MESSAGE_MAX &&
                             wr->n + bytes + ITEM_BYTES_MAX <= MR_MESSAGE_BYTES_GOAL);
}

/* The flag stands before the items, so it is about those that will fit. */
static uint32_t
flags_of(const struct mr_attempts *list)
{
    for (const struct mr_attempt *attempt = list->first; attempt; attempt = attempt->next)
        if (attempt->rings)
            return MR_DONE_DOORBELL;
    return 0;
}

/* What gathers while the last outcomes are under way is the next message. Not so while those have
 * to be stored, or while the database is away: others need not wait for that. */
static bool
is_time_for_done(const struct mr_session *session, struct mr_now now)
{
    return session->reported.first && now.mono_us >= session->resume_us &&
           (!session->quick_flights || session->was_full ||
               session->reported.count >= GATHERED_MAX);
}

static bool
is_quick(enum mr_report report)
{
    return report == MR_DID_SUCCEED || report == MR_WAS_FINISHED ||
           report == MR_DID_GIVE_BACK;
}

static bool
say_done(struct mr_session *session, struct mr_wr *wr)
{
    struct mr_flight *flight = new_flight(session);
    struct mr_attempts *reported = &session->reported;
    size_t mark;

    if (!flight)
        return false; /* the next turn tries again */
    flight->is_quick = true;
    mark = mr_put_dones_open(wr, flight->corr, flags_of(reported));
    while (reported->first) {
        struct mr_attempt *attempt = reported->first;

        if (!has_room(
                wr, flight->attempts.count, attempt->done.text.n + attempt->done.body.n))
            break;
        mr_put_done(wr, &attempt->done);
        flight->is_quick &= is_quick(attempt->done.report);
        mr_session_list_remove(reported, attempt);
        attempt->place = MR_PLACE_SENT;
        mr_session_list_put(&flight->attempts, attempt);
    }
    mr_put_dones_close(wr, mark, flight->attempts.count);
    session->was_full = reported->first;
    session->quick_flights += flight->is_quick;
    *session->flights_end = flight;
    session->flights_end = &flight->next;
    return true;
}

/* ---- BEAT ---------------------------------------------------------------------------------- */

static void
look_at_progress(struct mr_attempt *attempt)
{
    struct mr_progress *progress = atomic_exchange(&attempt->progress, NULL);

    if (!progress)
        return;
    attempt->permille = progress->permille;
    attempt->note_bytes = progress->bytes;
    memcpy(attempt->note_text, progress->text, progress->bytes);
    free(progress);
}

static void
put_held(struct mr_wr *wr, struct mr_attempt *attempt)
{
    look_at_progress(attempt);
    mr_put_held(wr, &(struct mr_held){.id = attempt->id,
                        .attempt = attempt->number,
                        .permille = attempt->permille,
                        .text = mr_span(attempt->note_text, attempt->note_bytes)});
}

/* Everything that is not acknowledged is held: after a reconnect this is how it is kept. An
 * empty BEAT is a sign of life. */
static void
say_beat(struct mr_session *session, struct mr_now now, struct mr_wr *wr)
{
    size_t mark = mr_put_beat_open(wr, ++session->corr);
    uint32_t items = 0;

    if (!session->is_beating) {
        session->is_beating = true;
        session->beat_next = session->all_first;
        session->beat_us = now.mono_us + session->heartbeat_us;
    }
    while (session->beat_next && has_room(wr, items, MR_PROGRESS_BYTES_MAX)) {
        put_held(wr, session->beat_next);
        session->beat_next = session->beat_next->all_next;
        items++;
    }
    mr_put_beat_close(wr, mark, items);
    if (!session->beat_next)
        session->is_beating = false;
}

/* ---- CREDIT -------------------------------------------------------------------------------- */

static uint64_t
room_for(const struct mr_session *session)
{
    const struct mr_session_conf *conf = &session->conf;
    uint32_t pipeline = conf->threads + mr_pace_ahead(&session->pace);
    uint32_t active = session->queued.count + session->running;
    uint32_t bound = pipeline + conf->results_max;
    uint32_t room, rest;

    if (session->is_draining || active >= pipeline || session->held >= bound ||
        session->held_bytes >= conf->results_bytes_max)
        return 0;
    room = pipeline - active;
    rest = bound - session->held;
    return room < rest ? room : rest;
}

/* A message for each job that ends would cost more than the job: a part of what is fetched ahead
 * may run before the rest is asked for. */
static uint64_t
least_news(const struct mr_session *session)
{
    uint32_t ahead = mr_pace_ahead(&session->pace) / 4;

    return ahead > 1 ? ahead : 1;
}

static bool
say_credit(struct mr_session *session, struct mr_wr *wr)
{
    uint64_t limit = session->taken + room_for(session);

    if (limit < session->announced + least_news(session))
        return false;
    session->announced = limit;
    mr_put_credit(wr, limit);
    return true;
}

bool
mr_session_say(struct mr_session *session, struct mr_now now, struct mr_wr *wr)
{
    if (!session->is_up)
        return false;
    /* The first BEAT comes before the first credit: the broker learns what is kept before it
     * sends more. */
    if (session->is_beating || now.mono_us >= session->beat_us) {
        say_beat(session, now, wr);
        return true;
    }
    if (session->is_draining && !session->has_said_draining) { /* before it gives back */
        session->has_said_draining = true;
        mr_put_bye(wr, 0, mr_span_str("ends in order"), MR_BYE_DRAIN);
        return true;
    }
    if (is_time_for_done(session, now) && say_done(session, wr))
        return true;
    return say_credit(session, wr);
}
