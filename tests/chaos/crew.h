/*
 * Everything that runs: PostgreSQL, the broker, four workers, twenty clients; and the supervisor
 * that starts again what has ended. Nothing here waits for a program to become ready: a run's
 * programs find each other in whatever order they come.
 *
 * Main thread only; all of them end with it.
 */
#ifndef MR_CHAOS_CREW_H
#define MR_CHAOS_CREW_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/cluster.h"
#include "client/proc.h"
#include "schemas/sql/pg.h"
#include "tests/chaos/net.h"

enum {
    MR_CREW_WORKERS = 4,
    MR_CREW_CLIENTS = 20,
    MR_CREW_THREADS = 6,
    MR_CREW_DRAIN_S_MAX = 120, /* C12: from the heal to the end of the last job */
};
#define MR_CREW_LOSSES_MAX "8" /* after so many a job is quarantined */

enum mr_role_of { MR_ACTOR_BROKER, MR_ACTOR_WORKER, MR_ACTOR_CLIENT };

struct mr_actor {
    struct mr_proc proc;
    enum mr_role_of role;
    uint32_t number;     /* among its like */
    int64_t start_at_us; /* monotonic: to be started then; 0: it runs, or is not wanted */
    bool is_frozen;
    bool is_killed;  /* by us: its end is no surprise */
    bool is_leaving; /* was asked to end; not started again */
};

struct mr_crew {
    char folder[PATH_MAX];
    char program[PATH_MAX]; /* this one; it is the clients, too */
    uint64_t seed;
    int64_t base_ms;     /* wall time of the run's begin */
    uint32_t per_second; /* new jobs of each client */
    struct mr_net net;
    struct mr_cluster *cluster;
    bool is_db_halted;
    struct mr_pg *pg; /* by the unix socket, which no fault cuts; NULL while it is down */
    struct mr_actor broker, workers[MR_CREW_WORKERS], clients[MR_CREW_CLIENTS];
    uint32_t surprises; /* ended by themselves, in a way that they must not */
};

/* Network, PostgreSQL, schema, tables. */
enum mr_status mr_crew_open(
    struct mr_crew *crew, bool avoids_namespaces, struct mr_err *err) MR_MUST_CHECK;
/* Kills what is left. */
void mr_crew_close(struct mr_crew *crew);

void mr_crew_start(struct mr_crew *crew);
/* Starts what is due, and what has ended. To be called all the time. */
void mr_crew_tend(struct mr_crew *crew);

/* A connection, or NULL while the database is down. */
struct mr_pg *mr_crew_pg(struct mr_crew *crew);
/* First value of the first row; -1 if there was no answer. */
int64_t mr_crew_int(struct mr_crew *crew, const char *sql);

bool mr_actor_runs(struct mr_actor *actor);
const char *mr_actor_name(
    const struct mr_actor *actor); /* "worker 2"; static memory of one */
/* SIGKILL; to be started again so much later. */
void mr_actor_kill(struct mr_actor *actor, int64_t pause_us);
void mr_actor_freeze(struct mr_actor *actor, bool is_frozen);

/* SIGTERM; true if it ended with code 0 within that time, all the others being tended. */
void mr_actor_ask_to_leave(struct mr_actor *actor);
bool mr_actor_has_left(struct mr_actor *actor);

#endif
