/*
 * A process between a program and PostgreSQL that forwards both ways and, when it is told to, loses
 * the connection at a COMMIT: at each of the points below in turn. Unix sockets only. It knows
 * just enough of the protocol to see whole messages. Ends with whoever started it.
 */
#ifndef MR_TESTS_SUPPORT_PG_PROXY_H
#define MR_TESTS_SUPPORT_PG_PROXY_H

#include <stdbool.h>
#include <stdint.h>

enum pg_proxy_cut {
    PG_PROXY_BEFORE_COMMIT, /* the server never sees it */
    PG_PROXY_BEFORE_SYNC,   /* it sees the COMMIT, but not the end of the pipeline */
    PG_PROXY_BEFORE_ANSWER, /* it has committed; not a byte of the answer comes back */
    PG_PROXY_IN_ANSWER,     /* half of the COMMIT's own answer comes back */
    PG_PROXY_BEFORE_READY,  /* the COMMIT's answer comes back, but not the sync's */
    PG_PROXY_CUTS
};

struct pg_proxy;

/* `conninfo`: of a private cluster ("host=FOLDER ..."). Fails the test if it cannot. */
struct pg_proxy *pg_proxy_start(const char *conninfo);
void pg_proxy_stop(struct pg_proxy **proxy);

/* Instead of that one. Lives as long as the proxy. */
const char *pg_proxy_conninfo(const struct pg_proxy *proxy);

/* Every n-th COMMIT from now on; 0: none. */
void pg_proxy_cut_every(struct pg_proxy *proxy, int n);
/* Only the next one. */
void pg_proxy_cut_next(struct pg_proxy *proxy);
/* So many times at that point. */
int64_t pg_proxy_count(const struct pg_proxy *proxy, enum pg_proxy_cut cut);
/* COMMITs that came by. */
int64_t pg_proxy_commits(const struct pg_proxy *proxy);
/* Round trips: Syncs and simple queries that came by. */
int64_t pg_proxy_trips(const struct pg_proxy *proxy);
const char *pg_proxy_cut_name(enum pg_proxy_cut cut);

#endif
