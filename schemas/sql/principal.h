/*
 * What administrators change and see: principals, keys, grants, limits. The same for the broker's
 * writer and for the command that goes straight to the database. Which of it makes sense is
 * judged by the database, so that rows put in by hand are judged, too.
 */
#ifndef MR_SQL_PRINCIPAL_H
#define MR_SQL_PRINCIPAL_H

#include "schemas/base/arena.h"
#include "schemas/base/span.h"
#include "schemas/base/status.h"
#include "schemas/sql/pg.h"
#include "schemas/wire/pack.h"

enum mr_principal_verb {
    MR_PRINCIPAL_ADD,     /* name, key, role, queue, kind */
    MR_PRINCIPAL_GRANT,   /* name, right, queue, kind, scope */
    MR_PRINCIPAL_DENY,    /* name, right, queue, kind */
    MR_PRINCIPAL_UNGRANT, /* name, right, queue, kind */
    MR_PRINCIPAL_REVOKE,  /* name */
    MR_PRINCIPAL_RESTORE, /* name */
    MR_PRINCIPAL_ROTATE,  /* name, key */
    MR_PRINCIPAL_RETIRE,  /* name, key: the others, or all but the newest */
    MR_PRINCIPAL_LIMIT,   /* name, and the four limits: 0 takes one away */
};
#define MR_PRINCIPAL_VERBS (MR_PRINCIPAL_LIMIT + 1)

/* Also the keys of arguments on the wire, and the names of options. */
enum mr_principal_field {
    MR_PRINCIPAL_NAME,
    MR_PRINCIPAL_KEY,
    MR_PRINCIPAL_ROLE,
    MR_PRINCIPAL_RIGHT, /* a role or an action */
    MR_PRINCIPAL_QUEUE,
    MR_PRINCIPAL_KIND,
    MR_PRINCIPAL_SCOPE,
    MR_PRINCIPAL_JOBS_PER_S,
    MR_PRINCIPAL_WAITING_MAX,
    MR_PRINCIPAL_PAYLOAD_BYTES_MAX,
    MR_PRINCIPAL_CONNECTIONS_MAX,
};
#define MR_PRINCIPAL_FIELDS (MR_PRINCIPAL_CONNECTIONS_MAX + 1)
#define MR_PRINCIPAL_FIELD_BYTES 64u /* none is longer */

struct mr_principal_change {
    enum mr_principal_verb verb;
    const char
        *by; /* the principal who asks; NULL: whoever is connected to the database */
    const char *fields[MR_PRINCIPAL_FIELDS]; /* NULL: not given */
};

/* "add", ... and "name", "jobs_per_s", ... */
const char *mr_principal_verb_name(enum mr_principal_verb verb);
const char *mr_principal_field_name(enum mr_principal_field field);

#define MR_PRINCIPAL_TEXT_BYTES 400
/* One transaction; `text` says what is so now. MR_NOT_FOUND: no such principal or grant.
 * MR_BAD_ARGUMENT: the database refuses it; err->why says why. */
enum mr_status mr_principal_change(struct mr_pg *pg,
    const struct mr_principal_change *change, char text[MR_PRINCIPAL_TEXT_BYTES],
    struct mr_err *err) MR_MUST_CHECK;

/* Writes an array of maps: name, is_revoked, keys (how many are good), rights (in words) and the
 * four limits. With a name, a map of that one: also added_at and revoked_at (text), key_rows (key,
 * added_at, revoked_at) and grant_rows (right, is_denied, queue, kind, scope). Nil: there is none. */
enum mr_status mr_principal_list(
    struct mr_pg *pg, struct mr_wr *out, struct mr_err *err) MR_MUST_CHECK;
enum mr_status mr_principal_show(struct mr_pg *pg, const char *name, struct mr_wr *out,
    struct mr_err *err) MR_MUST_CHECK;

#endif
