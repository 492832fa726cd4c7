/*
 * The network of a run. As root: network namespaces that belong to the driver and vanish with it
 * (nothing to clean up, whoever is killed), each a host: one for PostgreSQL, two for workers, two
 * for clients; the broker's is the driver's own. They meet at two bridges, one for messages and one
 * for SQL. A link is cut by disabling its bridge port: silent both ways, and what was on its way
 * arrives late. Elsewhere: loopback and proxies of our own (proxy.h) in front of everything.
 *
 * Main thread only: it is the one that moves between namespaces, and starts children in them.
 */
#ifndef MR_CHAOS_NET_H
#define MR_CHAOS_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "schemas/base/status.h"

#define MR_HOSTS 2 /* of workers, and of clients */

enum mr_place {
    MR_PLACE_BROKER,
    MR_PLACE_DB,
    MR_PLACE_WORKERS_0,
    MR_PLACE_WORKERS_1,
    MR_PLACE_CLIENTS_0,
    MR_PLACE_CLIENTS_1,
    MR_PLACES
};

enum mr_link {
    MR_LINK_WORKERS_0, /* that host and the broker */
    MR_LINK_WORKERS_1,
    MR_LINK_CLIENTS_0,
    MR_LINK_CLIENTS_1,
    MR_LINK_DB,           /* everybody and PostgreSQL */
    MR_LINK_WORKERS_0_DB, /* that host and PostgreSQL */
    MR_LINK_WORKERS_1_DB,
    MR_LINKS
};

/* Where everything listens and how it is reached from each host. */
struct mr_net {
    bool has_namespaces;
    char note[512];           /* why there are none; "" */
    char front[64], back[64]; /* the broker binds these */
    char db_address[64];      /* PostgreSQL binds this */
    uint16_t db_port;
    char db_reach[64]; /* "host=... port=..." from the broker */
    char worker_db_reach[MR_HOSTS][64];
    char worker_endpoint[MR_HOSTS][64];
    char client_endpoint[MR_HOSTS][64];
    struct mr_net_ns *ns;
    struct mr_net_proxy *proxy;
};

/* `folder`: for what the tools say. `avoids_namespaces`: proxies even as root. `program`: this
 * very program, which is the proxy when it is called so. */
enum mr_status mr_net_open(struct mr_net *net, const char *folder, const char *program,
    bool avoids_namespaces, struct mr_err *err) MR_MUST_CHECK;
void mr_net_close(struct mr_net *net);

/* With proxies: where the database listens, from its connection string. */
enum mr_status mr_net_serve_database(
    struct mr_net *net, const char *conninfo, struct mr_err *err) MR_MUST_CHECK;

/* From now on children start there. */
void mr_net_enter(struct mr_net *net, enum mr_place place);

/* `variant`: with proxies a cut is silence, a reset of all connections, delay, or every message
 * twice. Returns what was done, in a word or two. */
const char *mr_net_cut(struct mr_net *net, enum mr_link link, uint32_t variant);
void mr_net_heal(struct mr_net *net, enum mr_link link);

#endif
