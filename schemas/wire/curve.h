/*
 * Who is at the other end of a TCP connection: CURVE keys (RFC 26/CurveZMQ), the files they are
 * kept in, and what a socket has to be told to use them. A principal is known by its public
 * key, 40 characters of Z85; that is what the broker finds as "User-Id" on each message.
 *
 * A secret is read from a file, kept in one page that is locked and left out of core dumps,
 * and wiped with it. It is never part of a setting, a command line, a log line or an error.
 * Any thread; a pair is constant once it is made.
 */
#ifndef MR_WIRE_CURVE_H
#define MR_WIRE_CURVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "schemas/base/status.h"

#define MR_CURVE_TEXT 40u /* characters of a key */
#define MR_CURVE_ROOM (MR_CURVE_TEXT + 1)

/* What the broker calls those who come without a key: see mr_curve_admit. */
#define MR_CURVE_LOCAL "local"
#define MR_CURVE_ANYONE "anyone"

struct mr_curve; /* a pair of keys */

/* ---- keys and their files ------------------------------------------------------------------ */

/* A fresh pair. MR_NO_MEMORY, MR_INTERNAL (a libzmq without CURVE). */
enum mr_status mr_curve_new(struct mr_curve **out, struct mr_err *err) MR_MUST_CHECK;
void mr_curve_destroy(struct mr_curve **curve); /* wipes it; NULL is fine */

/* The public half, terminated. Lives as long as the pair. */
const char *mr_curve_public(const struct mr_curve *curve);

/* DIR/NAME.key (both halves, mode 0600) and DIR/NAME.pub (the public one, 0644). A file that is
 * there already is never written over: MR_CONFLICT. Names: 1 to 64 letters, digits, `.`, `_`
 * and `-`, the first one a letter or digit (MR_BAD_ARGUMENT). MR_DENIED: the folder. */
enum mr_status mr_curve_write(const struct mr_curve *curve, const char *dir,
    const char *name, struct mr_err *err) MR_MUST_CHECK;

/* What stands in a key file, as the section [key] that ends a settings file: such a file, mode 0600, is
 * a key file, too. MR_DENIED: it could not be written. */
enum mr_status mr_curve_print(const struct mr_curve *curve, FILE *out) MR_MUST_CHECK;

/* Can it be the name of a key? MR_BAD_ARGUMENT. */
enum mr_status mr_curve_check_name(const char *name, struct mr_err *err) MR_MUST_CHECK;

/* A NAME.key, or a file with a section [key]. MR_NOT_FOUND; MR_DENIED: group or others may read it (in the folder of
 * systemd's credentials others only: there the group's bits are those of a list of rights), or
 * we may not; MR_BAD_SETTING: it is no key file. */
enum mr_status mr_curve_read(
    struct mr_curve **out, const char *path, struct mr_err *err) MR_MUST_CHECK;

/* The public key in a NAME.pub or NAME.key. Codes as above, but that a file without a secret may be
 * read by everybody. */
enum mr_status mr_curve_read_public(
    const char *path, char out[MR_CURVE_ROOM], struct mr_err *err) MR_MUST_CHECK;

/* True for 40 characters that stand for 32 bytes. */
bool mr_curve_is_public(const char *text);

/* What the settings say: `key_file`, or, if that is empty, $CREDENTIALS_DIRECTORY/millrace.key if
 * it is there. *out is NULL with MR_OK when there is neither. */
enum mr_status mr_curve_load(
    struct mr_curve **out, const char *key_file, struct mr_err *err) MR_MUST_CHECK;

/* ---- those who connect ---------------------------------------------------------------------- */

/* How a client or a worker says who it is, and knows the broker. */
struct mr_curve_peer {
    struct mr_curve *own;       /* NULL: it has no key; belongs to this struct */
    char server[MR_CURVE_ROOM]; /* the broker's public key; "": none */
    bool is_insecure;           /* may speak plain text to other hosts */
};

/* From the settings `key_file` (as mr_curve_load) and `server_key`: a .pub file, or the 40
 * characters themselves. Either of them alone is MR_BAD_SETTING. */
enum mr_status mr_curve_peer_load(struct mr_curve_peer *out, const char *key_file,
    const char *server_key, bool is_insecure, struct mr_err *err) MR_MUST_CHECK;
void mr_curve_peer_fini(struct mr_curve_peer *peer);

/* May it connect there? Without keys only to this host, unless it is insecure.
 * MR_BAD_SETTING. */
enum mr_status mr_curve_peer_check(const struct mr_curve_peer *peer, const char *endpoint,
    struct mr_err *err) MR_MUST_CHECK;

/* Before connect: CURVE for tcp:// if there is a key; ipc:// stays plain. True: CURVE. */
bool mr_curve_peer_apply(
    const struct mr_curve_peer *peer, void *socket, const char *endpoint);

/* ipc://, or tcp:// with a literal address of the loopback or `localhost`: what is said there
 * stays on this host. Judges the place that is connected to, if a source is given, too. */
bool mr_curve_is_local(const char *endpoint);

/* ---- those who listen ----------------------------------------------------------------------- */

/* The three ways in, which are also the ZAP domains: none of them is empty, and each is
 * enforced, so that without a handler nobody gets in. */
enum mr_curve_way { MR_CURVE_BY_KEY, MR_CURVE_BY_HOST, MR_CURVE_BY_ALL };
const char *mr_curve_domain(enum mr_curve_way way);

/* Before each bind; libzmq keeps a copy for that endpoint. `own` is for BY_KEY, else NULL. */
void mr_curve_admit(void *socket, enum mr_curve_way way, const struct mr_curve *own);

/* ---- how the handshake ended ---------------------------------------------------------------- */

enum mr_curve_event {
    MR_CURVE_NOTHING,
    MR_CURVE_LOST,     /* a connection ended */
    MR_CURVE_WELCOME,  /* the handshake succeeded */
    MR_CURVE_REFUSED,  /* the broker does not know our key, or has revoked it */
    MR_CURVE_EARLY,    /* the broker has not read yet whom it knows */
    MR_CURVE_MISMATCH, /* one side wants CURVE and the other one does not */
    MR_CURVE_BROKEN,   /* it ended in the middle: most of all, a wrong server key */
};

/* What libzmq tells of a socket's connections, to be called before connect; NULL if memory or
 * descriptors are out. To be closed with mr_curve_unwatch before the socket is. */
void *mr_curve_watch(void *context, void *socket);
void mr_curve_unwatch(void *socket, void **monitor);

/* The next event without waiting. */
enum mr_curve_event mr_curve_event(void *monitor);

/* What to tell a person; the advice alone has static storage. MR_DENIED for REFUSED and MISMATCH,
 * MR_STARTING for EARLY, else MR_UNREACHABLE. */
const char *mr_curve_advice(enum mr_curve_event event, const struct mr_curve_peer *peer);
enum mr_status mr_curve_explain(enum mr_curve_event event,
    const struct mr_curve_peer *peer, const char *endpoint, struct mr_err *err);

#endif
