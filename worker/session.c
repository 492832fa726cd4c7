#include "worker/session.h"

#include "worker/session_priv.h"

#include <stdlib.h>
#include <string.h>

/* Attempts given back because they came beyond the credit, or disowned, wait beside those that
 * the credit bounds. A broker that sends more than this is not one of ours. */
#define SURPLUS_MAX 4096u

/* ---- lists ---------------------------------------------------------------------------------- */

void
mr_session_list_put(struct mr_attempts *list, struct mr_attempt *attempt)
{
    attempt->prev = list->last;
    attempt->next = NULL;
    if (list->last)
        list->last->next = attempt;
    else
        list->first = attempt;
    list->last = attempt;
    list->count++;
}

void
mr_session_list_remove(struct mr_attempts *list, struct mr_attempt *attempt)
{
    *(attempt->prev ? &attempt->prev->next : &list->first) = attempt->next;
    *(attempt->next ? &attempt->next->prev : &list->last) = attempt->prev;
    attempt->prev = attempt->next = NULL;
    list->count--;
}

void
mr_session_list_move(
    struct mr_attempts *from, struct mr_attempts *to, enum mr_attempt_place place)
{
    if (!from->first)
        return;
    for (struct mr_attempt *attempt = from->first; attempt; attempt = attempt->next)
        attempt->place = place;
    from->last->next = to->first;
    if (to->first)
        to->first->prev = from->last;
    else
        to->last = from->last;
    to->first = from->first;
    to->count += from->count;
    *from = (struct mr_attempts){0};
}

/* ---- the table of ids ------------------------------------------------------------------------ */

static uint32_t
bucket_of(const struct mr_session *session, const struct mr_uuid *id)
{
    uint64_t hash = mr_hash(session->conf.hash_key, mr_span(id->b, sizeof id->b));

    return (uint32_t)hash & session->bucket_mask;
}

static struct mr_attempt *
find(const struct mr_session *session, uint32_t bucket, const struct mr_uuid *id)
{
    struct mr_attempt *attempt = session->buckets[bucket];

    while (attempt && !mr_uuid_eq(attempt->id, *id))
        attempt = attempt->chain;
    return attempt;
}

static void
leave_table(struct mr_session *session, struct mr_attempt *attempt)
{
    struct mr_attempt **at = &session->buckets[attempt->bucket];

    while (*at != attempt)
        at = &(*at)->chain;
    *at = attempt->chain;
    attempt->chain = NULL;
}

/* ---- attempts -------------------------------------------------------------------------------- */

static struct mr_attempt *
new_attempt(struct mr_session *session)
{
    struct mr_attempt *attempt = session->free_first;

    if (session->held >= session->held_max)
        return NULL;
    if (attempt)
        session->free_first = attempt->chain;
    else
        attempt = mr_attempt_new();
    if (attempt)
        attempt->chain = NULL;
    return attempt;
}

void
mr_session_put_free(struct mr_session *session, struct mr_attempt *attempt)
{
    mr_attempt_reset(attempt);
    attempt->chain = session->free_first;
    session->free_first = attempt;
}

static void
enter(struct mr_session *session, uint32_t number, struct mr_attempt *attempt)
{
    struct mr_attempt **bucket = &session->buckets[number];

    attempt->bucket = number;
    attempt->chain = *bucket;
    *bucket = attempt;
    attempt->all_prev = NULL;
    attempt->all_next = session->all_first;
    if (session->all_first)
        session->all_first->all_prev = attempt;
    session->all_first = attempt;
    session->held++;
}

void
mr_session_disown(struct mr_session *session, struct mr_attempt *attempt)
{
    if (attempt->is_disowned)
        return;
    attempt->is_disowned = true;
    leave_table(session, attempt);
    if (session->beat_next == attempt)
        session->beat_next = attempt->all_next;
    *(attempt->all_prev ? &attempt->all_prev->all_next : &session->all_first) =
        attempt->all_next;
    if (attempt->all_next)
        attempt->all_next->all_prev = attempt->all_prev;
    attempt->all_prev = attempt->all_next = NULL;
}

void
mr_session_forget(struct mr_session *session, struct mr_attempt *attempt)
{
    mr_session_disown(session, attempt);
    session->held--;
    session->held_bytes -= attempt->held_bytes;
    mr_session_put_free(session, attempt);
}

void
mr_session_report(struct mr_session *session, struct mr_attempt *attempt)
{
    attempt->place = MR_PLACE_REPORTED;
    mr_session_list_put(&session->reported, attempt);
}

/* ---- new and destroy --------------------------------------------------------------------------- */

static uint32_t
power_above(uint32_t n)
{
    uint32_t power = 64;

    while (power < n)
        power *= 2;
    return power;
}

enum mr_status
mr_session_new(struct mr_session **out, const struct mr_session_conf *conf,
    mr_session_act_fn act, void *context)
{
    struct mr_session *session = calloc(1, sizeof *session);
    uint32_t bound = conf->threads + conf->prefetch_max + conf->results_max;

    *out = NULL;
    MR_ASSERT(conf->threads > 0 && conf->prefetch <= conf->prefetch_max);
    if (!session)
        return MR_NO_MEMORY;
    session->conf = *conf;
    session->act = act;
    session->context = context;
    session->pace =
        mr_pace_new(conf->threads, conf->prefetch, conf->prefetch_max, conf->guess_us);
    session->held_max = bound + SURPLUS_MAX;
    session->bucket_mask = power_above(2 * bound) - 1;
    session->buckets = calloc(session->bucket_mask + 1, sizeof *session->buckets);
    session->flights_end = &session->flights;
    session->stop_us = session->over_us = MR_NEVER_US;
    if (!session->buckets || mr_session_seats_new(session)) {
        mr_session_destroy(&session);
        return MR_NO_MEMORY;
    }
    *out = session;
    return MR_OK;
}

static void
free_list(struct mr_attempts *list)
{
    while (list->first) {
        struct mr_attempt *attempt = list->first;

        mr_session_list_remove(list, attempt);
        mr_attempt_destroy(&attempt);
    }
}

static void
free_flights(struct mr_flight *flight)
{
    while (flight) {
        struct mr_flight *next = flight->next;

        free_list(&flight->attempts);
        free(flight);
        flight = next;
    }
}

void
mr_session_destroy(struct mr_session **session)
{
    struct mr_session *gone = *session;

    if (!gone)
        return;
    free_list(&gone->queued);
    free_list(&gone->reported);
    free_flights(gone->flights);
    free_flights(gone->free_flights);
    while (gone->free_first) {
        struct mr_attempt *attempt = gone->free_first;

        gone->free_first = attempt->chain;
        mr_attempt_destroy(&attempt);
    }
    free(gone->buckets);
    mr_session_seats_free(gone);
    free(gone);
    *session = NULL;
}

/* ---- the broker --------------------------------------------------------------------------------- */

/* The job is here already. True: this item of JOBS needs nothing more. */
static bool
meets_itself(struct mr_session *session, uint32_t bucket, const struct mr_job_sent *sent)
{
    struct mr_attempt *held = find(session, bucket, &sent->id);

    if (!held)
        return false;
    if (held->number == sent->attempt)
        return true;
    if (held->place == MR_PLACE_RUNNING)
        (void)mr_session_take_back(session, held);
    /* The broker counts the one we hold as lost, or, when its number is the smaller one, was
     * started again and does not know of ours. The new one stands for itself; the old one is
     * told to stop, and whichever commits first is the one that counts. */
    if (held->place == MR_PLACE_QUEUED) {
        mr_session_list_remove(&session->queued, held);
        mr_session_forget(session, held);
    } else {
        mr_session_stop(held, MR_STOP_STALE);
        mr_session_disown(session, held);
    }
    return false;
}

enum mr_status
mr_session_job(
    struct mr_session *session, struct mr_now now, const struct mr_job_sent *sent)
{
    uint32_t index = 0, bucket = bucket_of(session, &sent->id);
    const struct millrace_kind *kind =
        mr_registry_find(session->conf.kinds, sent->kind, &index);
    bool is_over_credit = ++session->taken > session->announced;
    struct mr_attempt *attempt;

    (void)now;
    if (meets_itself(session, bucket, sent))
        return MR_OK;
    attempt = new_attempt(session);
    if (!attempt)
        return MR_NO_MEMORY;
    if (mr_attempt_set(attempt, sent, kind, ++session->serial)) {
        mr_session_put_free(session, attempt);
        return MR_NO_MEMORY;
    }
    attempt->kind_index = index;
    attempt->is_isolated = kind && session->kinds[index].is_isolated;
    enter(session, bucket, attempt);
    if (!kind) {
        mr_attempt_reportf(attempt, MR_DID_FAIL_FOR_GOOD,
            "this worker does not offer the kind %.*s", (int)sent->kind.n,
            (const char *)sent->kind.p);
        mr_session_report(session, attempt);
    } else if (is_over_credit || session->is_draining) {
        mr_attempt_report(attempt, MR_DID_GIVE_BACK, MR_SPAN_NONE);
        mr_session_report(session, attempt);
    } else {
        attempt->place = MR_PLACE_QUEUED;
        mr_session_list_put(&session->queued, attempt);
    }
    return MR_OK;
}

static void
revoke_queued(struct mr_session *session, struct mr_attempt *attempt, enum mr_why why)
{
    mr_session_list_remove(&session->queued, attempt);
    if (why == MR_WHY_STALE) {
        mr_session_forget(session, attempt);
        return;
    }
    mr_attempt_report(attempt, why == MR_WHY_CANCELLED ? MR_DID_CANCEL : MR_DID_TIME_OUT,
        mr_span_str(why == MR_WHY_CANCELLED ? "cancelled before it started"
                                            : "timed out before it started"));
    mr_session_report(session, attempt);
}

void
mr_session_revoked(
    struct mr_session *session, struct mr_now now, const struct mr_revoked *revoked)
{
    static const enum mr_stop stops[] = {[MR_WHY_CANCELLED] = MR_STOP_CANCELLED,
        [MR_WHY_TIMED_OUT] = MR_STOP_TIMED_OUT,
        [MR_WHY_STALE] = MR_STOP_STALE};
    struct mr_attempt *attempt =
        find(session, bucket_of(session, &revoked->id), &revoked->id);

    (void)now;
    if (!attempt || attempt->number != revoked->attempt)
        return;
    if (attempt->place == MR_PLACE_RUNNING)
        (void)mr_session_take_back(session, attempt);
    if (attempt->place == MR_PLACE_QUEUED) {
        revoke_queued(session, attempt, revoked->why);
    } else if (attempt->place == MR_PLACE_RUNNING) {
        mr_session_stop(attempt, stops[revoked->why]);
        if (revoked->why == MR_WHY_STALE)
            mr_session_disown(session, attempt);
    }
    /* Whatever has run already: its report or its result says what became of it. */
}

static struct mr_flight *
take_flight(struct mr_session *session, uint64_t corr)
{
    struct mr_flight **at = &session->flights;
    struct mr_flight *flight;

    while (*at && (*at)->corr != corr)
        at = &(*at)->next;
    flight = *at;
    if (!flight)
        return NULL;
    *at = flight->next;
    if (!*at)
        session->flights_end = at;
    session->quick_flights -= flight->is_quick;
    return flight;
}

static void
free_flight(struct mr_session *session, struct mr_flight *flight)
{
    flight->next = session->free_flights;
    session->free_flights = flight;
}

/* All that it reported is done with; returns how many. */
static uint32_t
land(struct mr_session *session, struct mr_flight *flight)
{
    uint32_t count = flight->attempts.count;

    while (flight->attempts.first) {
        struct mr_attempt *attempt = flight->attempts.first;

        mr_session_list_remove(&flight->attempts, attempt);
        mr_session_forget(session, attempt);
    }
    free_flight(session, flight);
    return count;
}

void
mr_session_acked(struct mr_session *session, uint64_t corr)
{
    struct mr_flight *flight = take_flight(session, corr);

    if (flight)
        (void)land(session, flight);
}

uint32_t
mr_session_refused(struct mr_session *session, struct mr_now now, uint64_t corr,
    enum mr_status code, uint32_t retry_after_ms)
{
    struct mr_flight *flight = take_flight(session, corr);

    if (!flight)
        return 0;
    if (!mr_status_is_retryable(code))
        return land(session, flight);
    session->resume_us =
        now.mono_us + (retry_after_ms ? retry_after_ms : 100) * INT64_C(1000);
    mr_session_list_move(&flight->attempts, &session->reported, MR_PLACE_REPORTED);
    free_flight(session, flight);
    return 0;
}

/* ---- the link ------------------------------------------------------------------------------------ */

void
mr_session_fell(struct mr_session *session)
{
    session->is_up = false;
    session->is_beating = false;
    session->beat_next = NULL;
    while (session->flights) {
        struct mr_flight *flight = session->flights;

        session->flights = flight->next;
        mr_session_list_move(&flight->attempts, &session->reported, MR_PLACE_REPORTED);
        free_flight(session, flight);
    }
    session->flights_end = &session->flights;
    session->quick_flights = 0;
}

void
mr_session_welcomed(struct mr_session *session, struct mr_now now, uint32_t heartbeat_ms)
{
    mr_session_fell(session);
    session->is_up = true;
    session->taken = session->announced = 0;
    session->has_said_draining = false;
    session->heartbeat_us = heartbeat_ms * INT64_C(1000);
    session->beat_us = now.mono_us;
    session->resume_us = 0;
}

uint32_t
mr_session_held(const struct mr_session *session)
{
    return session->held;
}

uint32_t
mr_session_running(const struct mr_session *session)
{
    return session->conf.threads - session->idle_seats;
}
