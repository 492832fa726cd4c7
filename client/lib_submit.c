#include "client/lib_priv.h"

#include "schemas/base/mutant.h"

#include <stdlib.h>
#include <string.h>

#define PASSED_MAX 4096u /* jobs of other queues, when a message is put together */
#define BUSY_BASE_US 20000
#define BUSY_CAP_US 2000000

/* ---- The list of jobs to be sent ------------------------------------------------------------- */

static void
count_in(struct mr_lib_link *link, struct mr_lib_unit *unit)
{
    unit->is_listed = true;
    link->listed_jobs++;
    link->listed_bytes += unit->job.n;
}

static void
append(struct mr_lib_link *link, struct mr_lib_unit *unit)
{
    unit->next = NULL;
    unit->prev = link->last;
    *(link->last ? &link->last->next : &link->first) = unit;
    link->last = unit;
    count_in(link, unit);
}

static void
prepend(struct mr_lib_link *link, struct mr_lib_unit *unit)
{
    unit->prev = NULL;
    unit->next = link->first;
    *(link->first ? &link->first->prev : &link->last) = unit;
    link->first = unit;
    count_in(link, unit);
}

static void
unlist(struct mr_lib_link *link, struct mr_lib_unit *unit)
{
    if (!unit->is_listed)
        return;
    *(unit->prev ? &unit->prev->next : &link->first) = unit->next;
    *(unit->next ? &unit->next->prev : &link->last) = unit->prev;
    unit->is_listed = false;
    link->listed_jobs--;
    link->listed_bytes -= unit->job.n;
}

void
mr_lib_submit_admit(struct mr_lib_link *link, struct mr_lib_req *req)
{
    for (uint32_t i = 0; i < req->unit_count; i++)
        append(link, &req->units[i]);
}

void
mr_lib_submit_forget(struct mr_lib_link *link, struct mr_lib_req *req)
{
    for (uint32_t i = 0; i < req->unit_count; i++) {
        struct mr_lib_unit *unit = &req->units[i];

        unlist(link, unit);
        if (unit->flight) {
            unit->flight->units[unit->flight_index] = NULL;
            link->awaited_flights -= --unit->flight->awaited == 0;
        }
        unit->flight = NULL;
    }
}

/* ---- Send ------------------------------------------------------------------------------------- */

/* How many jobs a message may have now. */
static uint32_t
room_of(const struct mr_lib_link *link)
{
    uint32_t room = link->window_jobs - link->jobs_out;

    return room < MR_JOBS_PER_MESSAGE_MAX ? room : MR_JOBS_PER_MESSAGE_MAX;
}

static bool
is_same_queue(const struct mr_lib_req *a, const struct mr_lib_req *b)
{
    return a == b || a->queue.p == b->queue.p || mr_span_eq(a->queue, b->queue);
}

/* The next one from `unit` on that may travel with `head`. Jobs of other queues are passed over,
 * those of one queue are never overtaken. NULL: there is none near. */
static struct mr_lib_unit *
companion(const struct mr_lib_unit *head, struct mr_lib_unit *unit, uint32_t *passed)
{
    while (unit && !is_same_queue(unit->req, head->req)) {
        if (++*passed > PASSED_MAX)
            return NULL;
        unit = unit->next;
    }
    return unit && !unit->req->waiter_count == !head->req->waiter_count ? unit : NULL;
}

/* Whether the next message is one of the large ones, of which there may be more. */
static bool
is_large(const struct mr_lib_link *link)
{
    uint32_t room = room_of(link), n = 0, passed = 0;
    struct mr_lib_unit *unit = link->first;
    size_t bytes = 0;

    if (link->listed_jobs < MR_LIB_LARGE_JOBS &&
        link->listed_bytes <= MR_MESSAGE_BYTES_GOAL)
        return false;
    for (; unit && n < room; unit = companion(link->first, unit->next, &passed)) {
        bytes += unit->job.n;
        if (++n >= MR_LIB_LARGE_JOBS || (n > 1 && bytes > MR_MESSAGE_BYTES_GOAL))
            return true;
    }
    return false;
}

/* Everybody who was in a message may have given up, while its commit takes its time: then others
 * do not wait for it. */
static bool
has_room(const struct mr_lib_link *link)
{
    return link->jobs_out < link->window_jobs &&
           (link->awaited_flights == 0 ||
               (link->flight_count < MR_LIB_FLIGHTS_MAX && is_large(link)));
}

bool
mr_lib_submit_is_full(const struct mr_lib_link *link)
{
    return link->first || link->awaited_flights > 0;
}

/* As many as fit from the head of the list. */
static void
take_off(struct mr_lib_link *link, struct mr_lib_flight *flight, uint32_t room)
{
    struct mr_lib_unit *head = link->first, *unit = head, *next;
    struct mr_wr *wr = &link->out;
    /* If any of them was sent before, so was the first. */
    uint32_t flags = (head->req->waiter_count ? MR_SUBMIT_WATCH : 0) |
                     (head->was_sent ? MR_SUBMIT_RESENT : 0);
    size_t mark = mr_put_submit_open(wr, flight->corr, head->req->queue, flags);
    size_t begin = wr->n;
    uint32_t passed = 0;

    for (; unit && flight->count < room; unit = companion(head, next, &passed)) {
        if (unit != head && wr->n - begin + unit->job.n > MR_MESSAGE_BYTES_GOAL)
            break;
        next = unit->next;
        mr_wr_raw(wr, unit->job);
        unlist(link, unit);
        unit->flight = flight;
        unit->flight_index = flight->count;
        unit->code = MR_OK; /* unless the answer says otherwise */
        unit->was_sent = unit->req->was_sent = true;
        flight->units[flight->count++] = unit;
    }
    mr_put_submit_close(wr, mark, flight->count);
    *(link->flights_end ? &link->flights_end->next : &link->flights) = flight;
    link->flights_end = flight;
    link->flight_count++;
    flight->awaited = flight->count;
    link->awaited_flights++;
    link->jobs_out += flight->count;
    mr_lib_link_send(link);
}

void
mr_lib_submit_flush(struct mr_lib_link *link, int64_t now_us)
{
    while (link->first && mr_lib_link_is_free(link) && now_us >= link->resume_us &&
           has_room(link)) {
        struct mr_lib_flight *flight;
        uint32_t room = room_of(link);

        if (room > link->listed_jobs)
            room = link->listed_jobs;
        flight = malloc(sizeof *flight + room * sizeof flight->units[0]);
        if (!flight) {
            link->fall = MR_NO_MEMORY;
            return;
        }
        *flight = (struct mr_lib_flight){.corr = ++link->corr};
        take_off(link, flight, room);
    }
}

/* ---- Answers ---------------------------------------------------------------------------------- */

/* Takes it out of the list; NULL if it is not ours. */
static struct mr_lib_flight *
take_flight(struct mr_lib_link *link, uint64_t corr)
{
    struct mr_lib_flight *before = NULL;
    struct mr_lib_flight *flight = link->flights;

    while (flight && flight->corr != corr) {
        before = flight;
        flight = flight->next;
    }
    if (!flight)
        return NULL;
    *(before ? &before->next : &link->flights) = flight->next;
    if (link->flights_end == flight)
        link->flights_end = before;
    link->flight_count--;
    link->awaited_flights -= flight->awaited > 0;
    link->jobs_out -= flight->count;
    return flight;
}

static bool
is_durable(int code)
{
    return code == MR_OK || code == MR_KNOWN || code == MR_FINISHED;
}

/* May end its request, and with it the unit. */
static void
settle(struct mr_lib_link *link, struct mr_lib_unit *unit, int code)
{
    struct mr_lib_req *req = unit->req;
    bool was_sent_twice = unit->is_resent;

    unit->code = code;
    unit->is_settled = true;
    if (--req->units_left > 0)
        return;
    if (req->waiter_count && is_durable(code))
        mr_lib_watch_arm(link, req, code != MR_OK || was_sent_twice);
    else
        mr_lib_link_end(link, req, req->unit_count == 1 ? code : MR_OK, MR_SPAN_NONE);
}

static bool
is_to_be_repeated(int code)
{
    return mr_status_is_retryable((enum mr_status)code) || (code >= 200 && code < 300) ||
           code == MR_NO_SESSION;
}

/* Those with a verdict that may change go back to the head of the list, in their order. */
static void
put_back(struct mr_lib_link *link, struct mr_lib_flight *flight)
{
    for (uint32_t i = flight->count; i-- > 0;) {
        struct mr_lib_unit *unit = flight->units[i];

        if (!unit || !is_to_be_repeated(unit->code))
            continue;
        unit->flight = NULL;
        unit->is_resent = true;
        prepend(link, unit);
        flight->units[i] = NULL;
    }
}

/* Every unit's code is set; those of `some` may change. Frees the flight. */
static void
land(struct mr_lib_link *link, struct mr_lib_flight *flight, bool some)
{
    if (some)
        put_back(link, flight);
    for (uint32_t i = 0; i < flight->count; i++) {
        struct mr_lib_unit *unit = flight->units[i];

        if (!unit)
            continue;
        unit->flight = NULL;
        settle(link, unit, unit->code);
    }
    free(flight);
}

static void
pause_sending(struct mr_lib_link *link, int64_t now_us, uint32_t hint_ms)
{
    int64_t wait_us =
        mr_lib_link_backoff_us(link, link->busy_in_a_row++, BUSY_BASE_US, BUSY_CAP_US);

    if (wait_us < (int64_t)hint_ms * 1000)
        wait_us = (int64_t)hint_ms * 1000;
    link->resume_us = now_us + wait_us;
}

/* False if the ACK does not fit what it answers. *again: those that are sealed anew. */
static bool
read_verdicts(struct mr_lib_link *link, struct mr_ack *ack, struct mr_lib_flight *flight,
    uint32_t *busy, uint32_t *again)
{
    while (ack->verdicts > 0) {
        struct mr_verdict verdict;
        struct mr_lib_unit *unit;

        if (mr_get_verdict(ack, &verdict) || verdict.index >= flight->count)
            return false;
        unit = flight->units[verdict.index];
        if (is_to_be_repeated((int)verdict.code)) {
            ++*busy;
            mr_lib_link_say(link, verdict.text);
        }
        if (!unit)
            continue;
        unit->code = (int)verdict.code;
        if (unit->code == MR_CONFLICT && mr_lib_seal_again(link->mr, unit)) {
            unit->code = MR_BUSY; /* so it is sent again */
            ++*again;
        } else if (!is_durable(unit->code))
            mr_lib_request_say(unit->req, verdict.text);
    }
    return ack->count == flight->count;
}

/* Nobody knows what became of it. */
static void
lose(struct mr_lib_flight *flight)
{
    for (uint32_t i = 0; i < flight->count; i++) {
        if (!flight->units[i])
            continue;
        flight->units[i]->code = MR_MUTANT(client_assumes) ? MR_OK : MR_NO_SESSION;
        flight->units[i]->is_unsure = true;
    }
}

void
mr_lib_submit_on_ack(struct mr_lib_link *link, const struct mr_msg *msg, int64_t now_us)
{
    struct mr_lib_flight *flight = take_flight(link, msg->corr);
    struct mr_ack ack = {.count = 0};
    bool is_lost = false;
    uint32_t busy = 0, again = 0;

    if (!flight)
        return;
    if (mr_get_ack(msg, &ack) || !read_verdicts(link, &ack, flight, &busy, &again)) {
        lose(flight);
        is_lost = true;
        link->fall = MR_MALFORMED;
    }
    if (busy < flight->count)
        link->busy_in_a_row = 0; /* full, but it goes on */
    if (busy)
        pause_sending(link, now_us, ack.retry_after_ms);
    land(link, flight, busy || again || is_lost);
}

bool
mr_lib_submit_on_error(
    struct mr_lib_link *link, uint64_t corr, const struct mr_error *error, int64_t now_us)
{
    struct mr_lib_flight *flight = take_flight(link, corr);
    bool is_again = is_to_be_repeated((int)error->code);

    if (!flight)
        return false;
    for (uint32_t i = 0; i < flight->count; i++) {
        if (!flight->units[i])
            continue;
        flight->units[i]->code = (int)error->code;
        mr_lib_request_say(flight->units[i]->req, error->text);
    }
    if (is_again) {
        mr_lib_link_say(link, error->text);
        pause_sending(link, now_us, error->retry_after_ms);
    }
    land(link, flight, is_again);
    return true;
}

void
mr_lib_submit_restart(struct mr_lib_link *link)
{
    /* Newest first, so that the oldest ends up at the head. */
    while (link->flights) {
        struct mr_lib_flight *flight = take_flight(link, link->flights_end->corr);

        lose(flight);
        land(link, flight, true);
    }
}
