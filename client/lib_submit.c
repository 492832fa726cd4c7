#include "client/lib_priv.h"

#include "schemas/base/mutant.h"

#include <stdlib.h>
#include <string.h>

#define SMALL_FLIGHTS_MAX                                                                \
    2 /* under way at a time: what gathers meanwhile is the next one */
#define LARGE_FLIGHTS_MAX 4
#define LARGE_JOBS 1024
#define BUSY_BASE_US 20000
#define BUSY_CAP_US 2000000

/* ---- The list of jobs to be sent ------------------------------------------------------------- */

static void
append(struct mr_lib_link *link, struct mr_lib_unit *unit)
{
    unit->next = NULL;
    unit->prev = link->last;
    *(link->last ? &link->last->next : &link->first) = unit;
    link->last = unit;
    unit->is_listed = true;
}

static void
prepend(struct mr_lib_link *link, struct mr_lib_unit *unit)
{
    unit->prev = NULL;
    unit->next = link->first;
    *(link->first ? &link->first->prev : &link->last) = unit;
    link->first = unit;
    unit->is_listed = true;
}

static void
unlist(struct mr_lib_link *link, struct mr_lib_unit *unit)
{
    if (!unit->is_listed)
        return;
    *(unit->prev ? &unit->prev->next : &link->first) = unit->next;
    *(unit->next ? &unit->next->prev : &link->last) = unit->prev;
    unit->is_listed = false;
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
        if (unit->flight)
            unit->flight->units[unit->flight_index] = NULL;
        unit->flight = NULL;
    }
}

/* ---- Send ------------------------------------------------------------------------------------- */

/* How many from the head of the list go into one message. */
static uint32_t
gather(const struct mr_lib_link *link, bool *is_large)
{
    const struct mr_lib_req *head = link->first->req;
    uint32_t room = link->window_jobs - link->jobs_out;
    size_t bytes = 0;
    uint32_t n = 0;

    if (room > MR_JOBS_PER_MESSAGE_MAX)
        room = MR_JOBS_PER_MESSAGE_MAX;
    *is_large = false;
    for (const struct mr_lib_unit *unit = link->first; unit && n < room;
         unit = unit->next) {
        const struct mr_lib_req *req = unit->req;

        if (req != head && (strcmp(req->queue, head->queue) != 0 ||
                               !req->waiter_count != !head->waiter_count))
            break;
        bytes += unit->bytes;
        if (n > 0 && bytes > MR_MESSAGE_BYTES_GOAL) {
            *is_large = true;
            break;
        }
        n++;
    }
    *is_large = *is_large || n >= LARGE_JOBS;
    return n;
}

static uint32_t
flags_of(const struct mr_lib_link *link, uint32_t count)
{
    uint32_t flags = link->first->req->waiter_count ? MR_SUBMIT_WATCH : 0;
    const struct mr_lib_unit *unit = link->first;

    for (uint32_t i = 0; i < count; i++, unit = unit->next)
        if (unit->was_sent)
            flags |= MR_SUBMIT_RESENT;
    return flags;
}

static void
take_off(struct mr_lib_link *link, struct mr_lib_flight *flight)
{
    struct mr_wr *wr = &link->out;
    size_t mark = mr_put_submit_open(wr, flight->corr,
        mr_span_str(link->first->req->queue), flags_of(link, flight->count));

    for (uint32_t i = 0; i < flight->count; i++) {
        struct mr_lib_unit *unit = link->first;

        mr_wr_raw(wr, mr_span(unit->req->bytes.p + unit->at, unit->bytes));
        unlist(link, unit);
        unit->flight = flight;
        unit->flight_index = i;
        unit->was_sent = unit->req->was_sent = true;
        flight->units[i] = unit;
    }
    mr_put_submit_close(wr, mark, flight->count);
    *(link->flights_end ? &link->flights_end->next : &link->flights) = flight;
    link->flights_end = flight;
    link->flight_count++;
    link->jobs_out += flight->count;
    mr_lib_link_send(link);
}

void
mr_lib_submit_flush(struct mr_lib_link *link, int64_t now_us)
{
    while (link->first && mr_lib_link_is_free(link) && now_us >= link->resume_us &&
           link->jobs_out < link->window_jobs) {
        struct mr_lib_flight *flight;
        bool is_large;
        uint32_t count = gather(link, &is_large);

        if (link->flight_count >= (is_large ? LARGE_FLIGHTS_MAX : SMALL_FLIGHTS_MAX))
            return;
        flight = calloc(1, sizeof *flight + count * sizeof flight->units[0]);
        if (!flight) {
            link->fall = MR_NO_MEMORY;
            return;
        }
        flight->corr = ++link->corr;
        flight->count = count;
        take_off(link, flight);
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

/* Every unit's code is set. Frees the flight. */
static void
land(struct mr_lib_link *link, struct mr_lib_flight *flight)
{
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

static void
keep_text(char out[MR_LIB_TEXT_MAX], struct mr_span text)
{
    size_t n = mr_span_cut(text, MR_LIB_TEXT_MAX - 1).n;

    if (n)
        memcpy(out, text.p, n);
    out[n] = '\0';
}

/* False if the ACK does not fit what it answers. */
static bool
read_verdicts(struct mr_lib_link *link, struct mr_ack *ack, struct mr_lib_flight *flight,
    uint32_t *busy)
{
    while (ack->verdicts > 0) {
        struct mr_verdict verdict;
        struct mr_lib_unit *unit;

        if (mr_get_verdict(ack, &verdict) || verdict.index >= flight->count)
            return false;
        unit = flight->units[verdict.index];
        if (is_to_be_repeated((int)verdict.code)) {
            ++*busy;
            keep_text(link->text, verdict.text);
        }
        if (!unit)
            continue;
        unit->code = (int)verdict.code;
        if (!is_durable(unit->code))
            keep_text(unit->req->text, verdict.text);
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
    uint32_t busy = 0;

    if (!flight)
        return;
    for (uint32_t i = 0; i < flight->count; i++)
        if (flight->units[i])
            flight->units[i]->code = MR_OK;
    if (mr_get_ack(msg, &ack) || !read_verdicts(link, &ack, flight, &busy)) {
        lose(flight);
        link->fall = MR_MALFORMED;
    }
    if (busy < flight->count)
        link->busy_in_a_row = 0; /* full, but it goes on */
    if (busy)
        pause_sending(link, now_us, ack.retry_after_ms);
    land(link, flight);
}

bool
mr_lib_submit_on_error(
    struct mr_lib_link *link, uint64_t corr, const struct mr_error *error, int64_t now_us)
{
    struct mr_lib_flight *flight = take_flight(link, corr);

    if (!flight)
        return false;
    for (uint32_t i = 0; i < flight->count; i++) {
        if (!flight->units[i])
            continue;
        flight->units[i]->code = (int)error->code;
        keep_text(flight->units[i]->req->text, error->text);
    }
    if (is_to_be_repeated((int)error->code)) {
        keep_text(link->text, error->text);
        pause_sending(link, now_us, error->retry_after_ms);
    }
    land(link, flight);
    return true;
}

void
mr_lib_submit_restart(struct mr_lib_link *link)
{
    /* Newest first, so that the oldest ends up at the head. */
    while (link->flights) {
        struct mr_lib_flight *flight = take_flight(link, link->flights_end->corr);

        lose(flight);
        land(link, flight);
    }
}
