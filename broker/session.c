#include "broker/session.h"

#include <stdlib.h>
#include <string.h>

struct mr_sessions {
    struct mr_session *slots;
    uint32_t *buckets; /* number + 1 of the first; 0: empty */
    uint32_t max, mask;
    uint32_t free_first; /* number + 1 */
    struct mr_hash_key key;
};

const char *
mr_side_name(enum mr_side side)
{
    return side == MR_FRONT ? "front" : "back";
}

enum mr_status
mr_session_table_new(
    struct mr_sessions **out, uint32_t sessions_max, struct mr_hash_key key)
{
    struct mr_sessions *sessions = calloc(1, sizeof *sessions);
    uint32_t buckets = 16;

    *out = NULL;
    if (!sessions)
        return MR_NO_MEMORY;
    while (buckets < sessions_max * 2)
        buckets *= 2;
    sessions->slots = calloc(sessions_max, sizeof *sessions->slots);
    sessions->buckets = calloc(buckets, sizeof *sessions->buckets);
    if (!sessions->slots || !sessions->buckets) {
        mr_session_table_destroy(&sessions);
        return MR_NO_MEMORY;
    }
    sessions->max = sessions_max;
    sessions->mask = buckets - 1;
    sessions->key = key;
    for (uint32_t i = 0; i < sessions_max; i++)
        sessions->slots[i].next = i + 1 < sessions_max ? i + 2 : 0;
    sessions->free_first = sessions_max ? 1 : 0;
    *out = sessions;
    return MR_OK;
}

void
mr_session_table_destroy(struct mr_sessions **sessions)
{
    if (!*sessions)
        return;
    free((*sessions)->slots);
    free((*sessions)->buckets);
    free(*sessions);
    *sessions = NULL;
}

static uint32_t *
bucket_of(const struct mr_sessions *sessions, enum mr_side side, struct mr_span routing)
{
    uint64_t hash = mr_hash(sessions->key, routing) ^ (side == MR_BACK);

    return &sessions->buckets[hash & sessions->mask];
}

static struct mr_span
routing_of(const struct mr_session *session)
{
    return mr_span(session->routing, session->routing_bytes);
}

uint32_t
mr_session_find(
    const struct mr_sessions *sessions, enum mr_side side, struct mr_span routing)
{
    uint32_t link = *bucket_of(sessions, side, routing);

    while (link) {
        const struct mr_session *session = &sessions->slots[link - 1];

        if (session->side == side && mr_span_eq(routing_of(session), routing))
            return link - 1;
        link = session->next;
    }
    return MR_NO_SESSION_NUMBER;
}

uint32_t
mr_session_add(struct mr_sessions *sessions, enum mr_side side, struct mr_span routing)
{
    uint32_t link = sessions->free_first;
    struct mr_session *session;
    uint32_t *bucket;

    if (!link || routing.n > MR_ROUTING_BYTES_MAX)
        return MR_NO_SESSION_NUMBER;
    session = &sessions->slots[link - 1];
    sessions->free_first = session->next;
    *session = (struct mr_session){.side = side, .is_listed = true};
    do
        session->nonce = mr_hash_key_random().k0;
    while (session->nonce == 0);
    session->routing_bytes = (uint8_t)routing.n;
    memcpy(session->routing, routing.p, routing.n);
    bucket = bucket_of(sessions, side, routing);
    session->next = *bucket;
    *bucket = link;
    return link - 1;
}

void
mr_session_unlist(struct mr_sessions *sessions, uint32_t number)
{
    struct mr_session *session = &sessions->slots[number];
    uint32_t *link = bucket_of(sessions, session->side, routing_of(session));

    if (!session->is_listed)
        return;
    while (*link != number + 1)
        link = &sessions->slots[*link - 1].next;
    *link = session->next;
    session->is_listed = false;
}

void
mr_session_remove(struct mr_sessions *sessions, uint32_t number)
{
    struct mr_session *session = &sessions->slots[number];

    mr_session_unlist(sessions, number);
    *session = (struct mr_session){.next = sessions->free_first};
    sessions->free_first = number + 1;
}

struct mr_session *
mr_session_at(struct mr_sessions *sessions, uint32_t number)
{
    if (number >= sessions->max || !sessions->slots[number].nonce)
        return NULL;
    return &sessions->slots[number];
}

uint32_t
mr_session_max(const struct mr_sessions *sessions)
{
    return sessions->max;
}
