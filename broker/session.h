/*
 * Who is at the other end: from a routing id (bytes that a peer may choose) to the number that
 * the core knows it by, and back. Keyed hash, fixed size. A routing id is an address, never
 * an identity: that is the User-Id, which comes with each message. The loop's thread.
 */
#ifndef MR_BROKER_SESSION_H
#define MR_BROKER_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/hash.h"
#include "schemas/base/span.h"
#include "schemas/base/status.h"
#include "schemas/wire/msg.h"

/* libzmq gives ids of 5 bytes to peers that set none, as they should. */
#define MR_ROUTING_BYTES_MAX 32u
#define MR_NO_SESSION_NUMBER UINT32_MAX
#define MR_USER_BYTES 40u /* a public key in Z85, or less: local, anyone */

enum mr_side { MR_FRONT, MR_BACK };

const char *mr_side_name(enum mr_side side); /* "front", "back" */

struct mr_gathered; /* see gather.h */
struct mr_parcel;   /* see gather.h */

struct mr_session {
    uint64_t nonce; /* 0: the slot is free */
    enum mr_side side;
    enum mr_role role;
    uint32_t principal;           /* by number (rights.h) */
    uint64_t rights_digest;       /* ... and what it was granted at HELLO */
    char user[MR_USER_BYTES + 1]; /* User-Id under which it said HELLO */
    uint8_t routing[MR_ROUTING_BYTES_MAX];
    uint8_t routing_bytes;
    bool is_listed; /* found by its routing id */
    bool is_gone;   /* could not be reached: to be reported to the core */
    bool was_slow;  /* ... because it does not read */
    int64_t scolded_us;
    struct mr_gathered *gathered;             /* the message that is being built for it */
    struct mr_parcel *waiting, *waiting_last; /* could not be sent yet */
    size_t waiting_bytes;
    uint32_t next; /* in its bucket, or of the free ones */
    char name[MR_NAME_BYTES_MAX + 1];
};

struct mr_sessions;

enum mr_status mr_session_table_new(struct mr_sessions **out, uint32_t sessions_max,
    struct mr_hash_key key) MR_MUST_CHECK;
void mr_session_table_destroy(struct mr_sessions **sessions);

/* The number behind an address, MR_NO_SESSION_NUMBER if there is none. */
uint32_t mr_session_find(
    const struct mr_sessions *sessions, enum mr_side side, struct mr_span routing);

/* A slot for a new conversation; MR_NO_SESSION_NUMBER when all are taken. */
uint32_t mr_session_add(
    struct mr_sessions *sessions, enum mr_side side, struct mr_span routing);

/* Its address leads nowhere from now on, or to another session. */
void mr_session_unlist(struct mr_sessions *sessions, uint32_t number);

/* Free the slot. What hung on it has been taken off. */
void mr_session_remove(struct mr_sessions *sessions, uint32_t number);

/* NULL if that number is free. */
struct mr_session *mr_session_at(struct mr_sessions *sessions, uint32_t number);

uint32_t mr_session_max(const struct mr_sessions *sessions);

#endif
