#include "client/lib_priv.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS_MIN 64u
#define IDS_PER_WATCH 1024u /* they lie on the stack */

/* ---- The table of ids that somebody waits for ------------------------------------------------- */

static uint64_t
hash_of(const struct mr_lib_link *link, const struct mr_uuid *id)
{
    return mr_hash(link->mr->hash_key, mr_span(id->b, sizeof id->b));
}

static struct mr_lib_waiter **
bucket_of(const struct mr_lib_link *link, uint64_t hash)
{
    return &link->buckets[hash & (link->bucket_count - 1)];
}

static bool
grow(struct mr_lib_link *link)
{
    uint32_t count = link->bucket_count ? link->bucket_count * 2 : BUCKETS_MIN;
    struct mr_lib_waiter **old = link->buckets;
    uint32_t old_count = link->bucket_count;
    struct mr_lib_waiter **fresh = calloc(count, sizeof(struct mr_lib_waiter *));

    if (!fresh)
        return old != NULL; /* longer chains are slower, not wrong */
    link->buckets = fresh;
    link->bucket_count = count;
    for (uint32_t i = 0; i < old_count; i++) {
        while (old[i]) {
            struct mr_lib_waiter *waiter = old[i];
            struct mr_lib_waiter **bucket = bucket_of(link, waiter->hash);

            old[i] = waiter->next;
            waiter->next = *bucket;
            *bucket = waiter;
        }
    }
    free(old);
    return true;
}

static void
remove_waiter(struct mr_lib_link *link, struct mr_lib_waiter *waiter)
{
    struct mr_lib_waiter **at = bucket_of(link, waiter->hash);

    while (*at != waiter)
        at = &(*at)->next;
    *at = waiter->next;
    waiter->is_listed = false;
    link->waiter_count--;
}

static bool
is_waited_for(const struct mr_lib_link *link, const struct mr_uuid *id)
{
    for (const struct mr_lib_waiter *w = *bucket_of(link, hash_of(link, id)); w;
         w = w->next)
        if (mr_uuid_eq(w->id, *id))
            return true;
    return false;
}

/* ---- Those whose WATCH has to be sent ---------------------------------------------------------- */

static void
ask(struct mr_lib_link *link, struct mr_lib_waiter *waiter)
{
    if (waiter->is_asking || !waiter->is_armed)
        return;
    waiter->ask_next = NULL;
    waiter->ask_prev = link->ask_last;
    *(link->ask_last ? &link->ask_last->ask_next : &link->ask_first) = waiter;
    link->ask_last = waiter;
    waiter->is_asking = true;
}

static void
stop_asking(struct mr_lib_link *link, struct mr_lib_waiter *waiter)
{
    if (!waiter->is_asking)
        return;
    *(waiter->ask_prev ? &waiter->ask_prev->ask_next : &link->ask_first) =
        waiter->ask_next;
    *(waiter->ask_next ? &waiter->ask_next->ask_prev : &link->ask_last) =
        waiter->ask_prev;
    waiter->is_asking = false;
}

bool
mr_lib_watch_admit(struct mr_lib_link *link, struct mr_lib_req *req)
{
    for (uint32_t i = 0; i < req->waiter_count; i++) {
        struct mr_lib_waiter *waiter = &req->waiters[i];
        struct mr_lib_waiter **bucket;

        if (link->waiter_count >= link->bucket_count && !grow(link))
            return false;
        bucket = bucket_of(link, waiter->hash);
        waiter->next = *bucket;
        *bucket = waiter;
        waiter->is_listed = true;
        link->waiter_count++;
        if (req->type == MR_LIB_WAIT) {
            waiter->is_armed = true;
            ask(link, waiter);
        }
    }
    return true;
}

void
mr_lib_watch_arm(struct mr_lib_link *link, struct mr_lib_req *req, bool must_ask)
{
    for (uint32_t i = 0; i < req->waiter_count; i++) {
        req->waiters[i].is_armed = true;
        req->waiters[i].asked_us = link->heard_us;
        if (must_ask)
            ask(link, &req->waiters[i]);
    }
}

void
mr_lib_watch_forget(struct mr_lib_link *link, struct mr_lib_req *req)
{
    for (uint32_t i = 0; i < req->waiter_count; i++) {
        struct mr_lib_waiter *waiter = &req->waiters[i];

        stop_asking(link, waiter);
        if (!waiter->is_listed)
            continue;
        remove_waiter(link, waiter);
        /* The broker forgets finished ones by itself; more than a message's worth is left to
         * the end of the session. */
        if (req->result.outcome && i == req->found)
            continue;
        if (waiter->asked_us && link->dropped_count < MR_ITEMS_PER_MESSAGE_MAX &&
            !is_waited_for(link, &waiter->id))
            link->dropped[link->dropped_count++] = waiter->id;
    }
}

static void
flush_dropped(struct mr_lib_link *link)
{
    uint32_t kept = 0;

    if (!link->dropped_count || !mr_lib_link_is_free(link))
        return;
    /* Somebody may wait for it again by now. */
    for (uint32_t i = 0; i < link->dropped_count; i++)
        if (!link->waiter_count || !is_waited_for(link, &link->dropped[i]))
            link->dropped[kept++] = link->dropped[i];
    link->dropped_count = 0;
    if (!kept)
        return;
    mr_put_watch(&link->out, 0, link->dropped, kept, false);
    mr_lib_link_send(link);
}

void
mr_lib_watch_flush(struct mr_lib_link *link, int64_t now_us)
{
    flush_dropped(link);
    while (link->ask_first && mr_lib_link_is_free(link)) {
        struct mr_uuid ids[IDS_PER_WATCH];
        uint32_t n = 0;

        while (link->ask_first && n < IDS_PER_WATCH) {
            struct mr_lib_waiter *waiter = link->ask_first;

            stop_asking(link, waiter);
            waiter->asked_us = now_us;
            waiter->req->was_sent = true;
            ids[n++] = waiter->id;
        }
        mr_put_watch(&link->out, 0, ids, n, true);
        mr_lib_link_send(link);
    }
}

void
mr_lib_watch_again(struct mr_lib_link *link, int64_t before_us)
{
    for (uint32_t i = 0; i < link->bucket_count; i++)
        for (struct mr_lib_waiter *w = link->buckets[i]; w; w = w->next)
            if (w->is_armed && w->asked_us < before_us)
                ask(link, w);
}

/* ---- Events ------------------------------------------------------------------------------------ */

static void *
copy(struct mr_span from, bool is_text)
{
    char *out = malloc(from.n + 1);

    if (!out)
        return NULL;
    if (from.n)
        memcpy(out, from.p, from.n);
    if (is_text)
        out[from.n] = '\0';
    return out;
}

static void
finish(struct mr_lib_link *link, struct mr_lib_req *req, const struct mr_event *event)
{
    struct millrace_result *result = &req->result;

    memcpy(result->id.b, event->id.b, sizeof result->id.b);
    result->outcome = (int)event->outcome;
    result->attempt = event->attempt;
    if (event->body.n) {
        result->body = copy(event->body, false);
        result->body_bytes = result->body ? event->body.n : 0;
    }
    if (event->text.n)
        result->text = copy(event->text, true);
    if ((event->body.n && !result->body) || (event->text.n && !result->text))
        mr_lib_link_end(link, req, MR_NO_MEMORY, mr_span_str("No memory."));
    else
        mr_lib_link_end(link, req, MR_OK, MR_SPAN_NONE);
}

/* The next waiter that this event ends; NULL if there is none (any more). */
static struct mr_lib_waiter *
find(const struct mr_lib_link *link, const struct mr_event *event, uint64_t hash)
{
    struct mr_lib_waiter *w = link->bucket_count ? *bucket_of(link, hash) : NULL;

    for (; w; w = w->next) {
        if (w->hash != hash || !mr_uuid_eq(w->id, event->id))
            continue;
        if (event->type == MR_EVENT_FINISHED ||
            (event->type == MR_EVENT_NO_JOB && w->is_armed) ||
            (event->type == MR_EVENT_WAITING && w->req->wants_only_a_look))
            return w;
    }
    return NULL;
}

static void
on_one(struct mr_lib_link *link, const struct mr_event *event)
{
    uint64_t hash = hash_of(link, &event->id);
    struct mr_lib_waiter *waiter;

    while ((waiter = find(link, event, hash))) {
        struct mr_lib_req *req = waiter->req;

        req->found = (uint32_t)(waiter - req->waiters);
        if (event->type == MR_EVENT_FINISHED)
            finish(link, req, event);
        else if (event->type == MR_EVENT_NO_JOB)
            mr_lib_link_end(link, req, MR_NO_JOB,
                mr_span_str("The broker knows no job with this id."));
        else
            mr_lib_link_end(link, req, MR_KNOWN, MR_SPAN_NONE);
    }
}

void
mr_lib_watch_on_event(struct mr_lib_link *link, const struct mr_msg *msg)
{
    struct mr_events events;
    struct mr_event event;

    if (mr_get_events(msg, &events))
        return;
    while (events.events > 0 && mr_get_event(&events, &event) == MR_OK)
        on_one(link, &event);
}
