/*
 * Which statements of handlers a connection has prepared. A text that comes for the second time
 * is worth it, up to a limit; others are sent as they are, so that texts that are made for one job
 * cost nothing here. Not installed, not for others.
 */
#ifndef MR_SQL_KNOWN_H
#define MR_SQL_KNOWN_H

#include <stdbool.h>
#include <stdint.h>

#define MR_KNOWN_MAX 256u
#define MR_KNOWN_TEXT_MAX 16384u

struct mr_known_stmt {
    char name[16];
    char *sql;
    uint64_t hash;
    /* TO_PREPARE: the server does not know it (yet); SENT: under way; READY: it does. */
    enum { MR_KNOWN_TO_PREPARE, MR_KNOWN_SENT, MR_KNOWN_READY } state;
};

struct mr_known;

/* NULL: send it without a name. `*known` is made when it is needed; lives as long as the
 * connection. */
struct mr_known_stmt *mr_known_find(struct mr_known **known, const char *sql);
void mr_known_free(struct mr_known **known);

#endif
