#include "broker/gather.h"

#include "broker/meter.h"
#include "broker/socket.h"

#include <stdlib.h>
#include <string.h>

#define SPARE_MAX 64u /* builders that are kept for the next turn */
#define WAITING_BYTES_MAX (8u * 1024 * 1024) /* set aside for one peer */

struct mr_gathered {
    struct mr_wr wr;
    enum mr_verb verb;
    uint32_t peer, items;
    size_t mark;
    struct mr_gathered *next;
};

struct mr_parcel {
    struct mr_parcel *next;
    enum mr_verb verb;
    size_t n;
    uint8_t bytes[];
};

struct mr_gather {
    struct mr_sessions *sessions;
    void *const *sockets;
    struct mr_meter *meter;
    struct mr_gathered *busy; /* this turn's */
    struct mr_gathered *spare;
    uint32_t spare_count;
    uint32_t waiting; /* sessions with something set aside */
    uint32_t gone;    /* sessions to be reported */
    uint32_t gone_cursor;
    struct mr_gather_counters counters;
};

enum mr_status
mr_gather_new(struct mr_gather **out, struct mr_sessions *sessions,
    void *const sockets[2], struct mr_meter *meter)
{
    struct mr_gather *gather = calloc(1, sizeof *gather);

    *out = gather;
    if (!gather)
        return MR_NO_MEMORY;
    gather->sessions = sessions;
    gather->sockets = sockets;
    gather->meter = meter;
    return MR_OK;
}

static void
free_list(struct mr_gathered *list)
{
    while (list) {
        struct mr_gathered *next = list->next;

        mr_wr_fini(&list->wr);
        free(list);
        list = next;
    }
}

void
mr_gather_destroy(struct mr_gather **gather)
{
    if (!*gather)
        return;
    for (uint32_t i = 0; i < mr_session_max((*gather)->sessions); i++) {
        if (mr_session_at((*gather)->sessions, i))
            mr_gather_drop(*gather, i);
    }
    free_list((*gather)->busy);
    free_list((*gather)->spare);
    free(*gather);
    *gather = NULL;
}

/* ---- sending ------------------------------------------------------------------------------------ */

static void
give_up(struct mr_gather *gather, struct mr_session *session, bool was_slow)
{
    if (session->is_gone)
        return;
    session->is_gone = true;
    session->was_slow = was_slow;
    gather->gone++;
    if (was_slow)
        gather->counters.too_slow++;
    else
        gather->counters.unreachable++;
}

static enum mr_sent
send_now(struct mr_gather *gather, struct mr_session *session, enum mr_verb verb,
    struct mr_span bytes)
{
    enum mr_meter_phase before = mr_meter_to(gather->meter, MR_METER_SEND);
    enum mr_sent sent = mr_socket_send(gather->sockets[session->side],
        mr_span(session->routing, session->routing_bytes), bytes);

    (void)mr_meter_to(gather->meter, before);
    if (sent == MR_SENT) {
        gather->meter->sent[verb]++;
        gather->counters.messages++;
        gather->counters.bytes += bytes.n;
    } else if (sent == MR_SENT_NOBODY) {
        give_up(gather, session, false);
    }
    return sent;
}

static void
set_aside(struct mr_gather *gather, struct mr_session *session, enum mr_verb verb,
    struct mr_span bytes)
{
    struct mr_parcel *parcel = NULL;

    if (session->waiting_bytes + bytes.n <= WAITING_BYTES_MAX)
        parcel = malloc(sizeof *parcel + bytes.n);
    if (!parcel) {
        if (verb == MR_EVENT)
            gather->counters.events_dropped++;
        else
            give_up(gather, session, true);
        return;
    }
    *parcel = (struct mr_parcel){.verb = verb, .n = bytes.n};
    memcpy(parcel->bytes, bytes.p, bytes.n);
    if (session->waiting) {
        session->waiting_last->next = parcel;
    } else {
        session->waiting = parcel;
        gather->waiting++;
    }
    session->waiting_last = parcel;
    session->waiting_bytes += bytes.n;
}

static void
send_or_set_aside(struct mr_gather *gather, struct mr_session *session, enum mr_verb verb,
    struct mr_span bytes)
{
    if (session->is_gone)
        return;
    if (session->waiting || send_now(gather, session, verb, bytes) == MR_SENT_FULL)
        set_aside(gather, session, verb, bytes);
}

static void
pop_parcel(struct mr_gather *gather, struct mr_session *session)
{
    struct mr_parcel *parcel = session->waiting;

    session->waiting = parcel->next;
    session->waiting_bytes -= parcel->n;
    free(parcel);
    if (!session->waiting)
        gather->waiting--;
}

static void
send_waiting(struct mr_gather *gather, struct mr_session *session)
{
    while (session->waiting && !session->is_gone) {
        if (send_now(gather, session, session->waiting->verb,
                mr_span(session->waiting->bytes, session->waiting->n)) == MR_SENT_FULL)
            return;
        pop_parcel(gather, session);
    }
}

/* ---- building ------------------------------------------------------------------------------------- */

static void
close_array(struct mr_gathered *gathered)
{
    switch (gathered->verb) {
    case MR_JOBS:
        mr_put_jobs_close(&gathered->wr, gathered->mark, gathered->items);
        break;
    case MR_EVENT:
        mr_put_events_close(&gathered->wr, gathered->mark, gathered->items);
        break;
    case MR_REVOKE:
        mr_put_revoke_close(&gathered->wr, gathered->mark, gathered->items);
        break;
    default:
        break;
    }
}

/* Send what is being built; the builder stays with the session, empty. */
static void
finish(struct mr_gather *gather, struct mr_session *session)
{
    struct mr_gathered *gathered = session->gathered;

    if (!gathered || gathered->wr.n == 0)
        return;
    close_array(gathered);
    if (gathered->wr.status)
        gather->counters.too_big++;
    else
        send_or_set_aside(gather, session, gathered->verb, mr_wr_span(&gathered->wr));
    mr_wr_reset(&gathered->wr);
    gathered->items = 0;
}

static struct mr_gathered *
builder(struct mr_gather *gather, uint32_t peer, struct mr_session *session)
{
    struct mr_gathered *gathered = session->gathered;

    if (gathered)
        return gathered;
    gathered = gather->spare;
    if (gathered) {
        gather->spare = gathered->next;
        gather->spare_count--;
    } else {
        gathered = calloc(1, sizeof *gathered);
        MR_ASSERT(gathered); /* a restart loses nothing */
        mr_wr_init(&gathered->wr, MR_MESSAGE_BYTES_MAX);
    }
    gathered->peer = peer;
    gathered->next = gather->busy;
    gather->busy = gathered;
    session->gathered = gathered;
    return gathered;
}

/* The message for items of this verb; *is_new: it has to be opened. */
static struct mr_gathered *
message_for(struct mr_gather *gather, uint32_t peer, enum mr_verb verb, size_t bytes,
    bool *is_new)
{
    struct mr_session *session = mr_session_at(gather->sessions, peer);
    struct mr_gathered *gathered;

    if (!session || session->is_gone)
        return NULL;
    gathered = builder(gather, peer, session);
    if (gathered->wr.n &&
        (gathered->verb != verb || gathered->items >= MR_ITEMS_PER_MESSAGE_MAX ||
            gathered->wr.n + bytes > MR_MESSAGE_BYTES_GOAL))
        finish(gather, session);
    *is_new = gathered->wr.n == 0;
    gathered->verb = verb;
    return gathered;
}

void
mr_gather_job(struct mr_gather *gather, uint32_t peer, const struct mr_job_sent *job)
{
    int64_t began_ns = mr_meter_item(gather->meter);
    bool is_new;
    struct mr_gathered *to =
        message_for(gather, peer, MR_JOBS, job->payload.n + 256, &is_new);

    if (!to)
        return;
    if (is_new)
        to->mark = mr_put_jobs_open(&to->wr, 0);
    mr_put_job(&to->wr, job);
    to->items++;
    mr_meter_item_done(gather->meter, began_ns);
}

void
mr_gather_event(struct mr_gather *gather, uint32_t peer, const struct mr_event *event)
{
    int64_t began_ns = mr_meter_item(gather->meter);
    bool is_new;
    struct mr_gathered *to =
        message_for(gather, peer, MR_EVENT, event->body.n + event->text.n + 64, &is_new);

    if (!to)
        return;
    if (is_new)
        to->mark = mr_put_events_open(&to->wr, 0);
    mr_put_event(&to->wr, event);
    to->items++;
    mr_meter_item_done(gather->meter, began_ns);
}

void
mr_gather_revoke(
    struct mr_gather *gather, uint32_t peer, const struct mr_revoked *revoked)
{
    bool is_new;
    struct mr_gathered *to = message_for(gather, peer, MR_REVOKE, 64, &is_new);

    if (!to)
        return;
    if (is_new)
        to->mark = mr_put_revoke_open(&to->wr, 0);
    mr_put_revoked(&to->wr, revoked);
    to->items++;
}

struct mr_wr *
mr_gather_open(struct mr_gather *gather, uint32_t peer, enum mr_verb verb)
{
    struct mr_session *session = mr_session_at(gather->sessions, peer);
    struct mr_gathered *gathered;

    if (!session || session->is_gone)
        return NULL;
    gathered = builder(gather, peer, session);
    finish(gather, session);
    gathered->verb = verb;
    return &gathered->wr;
}

void
mr_gather_post(struct mr_gather *gather, uint32_t peer)
{
    struct mr_session *session = mr_session_at(gather->sessions, peer);

    if (session)
        finish(gather, session);
}

/* ---- the turn's end ------------------------------------------------------------------------------- */

static void
retire(struct mr_gather *gather, struct mr_gathered *gathered)
{
    if (gather->spare_count < SPARE_MAX) {
        gathered->next = gather->spare;
        gather->spare = gathered;
        gather->spare_count++;
        return;
    }
    mr_wr_fini(&gathered->wr);
    free(gathered);
}

static void
flush_waiting(struct mr_gather *gather)
{
    uint32_t max = mr_session_max(gather->sessions);

    for (uint32_t i = 0; i < max && gather->waiting; i++) {
        struct mr_session *session = mr_session_at(gather->sessions, i);

        if (session && session->waiting)
            send_waiting(gather, session);
    }
}

void
mr_gather_flush(struct mr_gather *gather)
{
    if (gather->waiting)
        flush_waiting(gather);
    while (gather->busy) {
        struct mr_gathered *gathered = gather->busy;
        struct mr_session *session = mr_session_at(gather->sessions, gathered->peer);

        gather->busy = gathered->next;
        if (session && session->gathered == gathered) {
            finish(gather, session);
            session->gathered = NULL;
        }
        retire(gather, gathered);
    }
}

void
mr_gather_drop(struct mr_gather *gather, uint32_t peer)
{
    struct mr_session *session = mr_session_at(gather->sessions, peer);

    finish(gather, session);
    if (session->gathered) {
        mr_wr_reset(&session->gathered->wr);
        session->gathered->peer = MR_NO_SESSION_NUMBER; /* retired by the next flush */
        session->gathered = NULL;
    }
    while (session->waiting)
        pop_parcel(gather, session);
    if (session->is_gone)
        gather->gone--;
    session->is_gone = false;
}

uint32_t
mr_gather_next_gone(struct mr_gather *gather)
{
    uint32_t max = mr_session_max(gather->sessions);

    for (uint32_t i = 0; i < max && gather->gone; i++) {
        uint32_t number = (gather->gone_cursor + i) % max;
        const struct mr_session *session = mr_session_at(gather->sessions, number);

        if (session && session->is_gone) {
            gather->gone_cursor = number;
            return number;
        }
    }
    return MR_NO_SESSION_NUMBER;
}

bool
mr_gather_has_gone(const struct mr_gather *gather)
{
    return gather->gone > 0;
}

bool
mr_gather_is_waiting(const struct mr_gather *gather)
{
    return gather->waiting > 0;
}

const struct mr_gather_counters *
mr_gather_counters(const struct mr_gather *gather)
{
    return &gather->counters;
}
