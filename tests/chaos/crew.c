#include "tests/chaos/crew.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schemas/base/clock.h"
#include "schemas/sql/migrate.h"
#include "tests/chaos/check.h"
#include "tests/chaos/jobs.h"

enum {
    AGAIN_US = 200000, /* one that ended by itself is started again after that */
    HBA_MS = 10000,
    BREATH_MS = 20,
    CODE_WORN_OUT = 1, /* of a worker: more handlers hung than it could replace */
    CODE_FENCED = 75,  /* of a broker: another one took its shard */
    ARGS_MAX = 48,
};

static int64_t
now_us(void)
{
    return mr_clock_now().mono_us;
}

/* ---- PostgreSQL ----------------------------------------------------------------------------------- */

static const char *const tables[] = {
    "create table account (id integer primary key, opening bigint not null, "
    "cents bigint not null)",
    "create table ledger (job uuid not null, attempt integer not null, kind text not "
    "null, "
    "source integer, target integer, cents bigint, pid integer, "
    "at timestamptz default clock_timestamp())",
    "create table chain (parent uuid, child uuid, depth integer)",
    /* Ends backends that are committing, for so long or until so many are ended. */
    "create function chaos_hunt(ms integer, most integer) returns integer language "
    "plpgsql as "
    "$$ declare until timestamptz := clock_timestamp() + ms * interval '1 ms'; "
    "n integer := 0; prey integer; begin "
    "while clock_timestamp() < until and n < most loop "
    "perform pg_stat_clear_snapshot(); "
    "for prey in select pid from pg_stat_activity where state = 'active' "
    "and query = 'commit' and pid <> pg_backend_pid() loop "
    "perform pg_terminate_backend(prey); n := n + 1; end loop; end loop; "
    "return n; end $$",
    /* A backend of the broker that is committing, if one is seen in time; else any. */
    "create function chaos_aim(ms integer) returns integer language plpgsql as "
    "$$ declare until timestamptz := clock_timestamp() + ms * interval '1 ms'; "
    "prey integer; begin "
    "while clock_timestamp() < until loop "
    "perform pg_stat_clear_snapshot(); "
    "select pid into prey from pg_stat_activity where state = 'active' "
    "and query = 'commit' and application_name like 'millrace broker %'; "
    "if found then return prey; end if; end loop; "
    "select pid into prey from pg_stat_activity where backend_type = 'client backend' "
    "and pid <> pg_backend_pid() order by state = 'active' desc, random() limit 1; "
    "return prey; end $$",
    NULL};

struct mr_pg *
mr_crew_pg(struct mr_crew *crew)
{
    struct mr_err err;

    if (crew->pg && !mr_pg_is_alive(crew->pg))
        mr_pg_close(&crew->pg);
    if (!crew->pg && !crew->is_db_halted &&
        mr_pg_open(&crew->pg, mr_cluster_conninfo(crew->cluster), "chaos", &err))
        crew->pg = NULL;
    return crew->pg;
}

int64_t
mr_crew_int(struct mr_crew *crew, const char *sql)
{
    struct mr_pg *pg = mr_crew_pg(crew);
    struct pg_result *result = NULL;
    struct mr_err err;
    int64_t value = -1;

    if (pg && mr_pg_run(pg, sql, 0, NULL, &result, &err) == MR_OK &&
        mr_pg_rows(result) > 0)
        value = mr_pg_int(result, 0, 0);
    mr_pg_free_result(&result);
    return value;
}

static enum mr_status
make_tables(struct mr_crew *crew, struct mr_err *err)
{
    char sql[160];
    enum mr_status status = MR_OK;

    for (int i = 0; tables[i] && status == MR_OK; i++)
        status = mr_pg_run(crew->pg, tables[i], 0, NULL, NULL, err);
    (void)snprintf(sql, sizeof sql,
        "insert into account select id, %d, %d from generate_series(0, %d) id",
        MR_CHAOS_OPENING, MR_CHAOS_OPENING, MR_CHAOS_ACCOUNTS - 1);
    return status ? status : mr_pg_run(crew->pg, sql, 0, NULL, NULL, err);
}

/* The private cluster lets nobody in over TCP; the hosts of a run are let in. */
static enum mr_status
open_doors(struct mr_crew *crew, struct mr_err *err)
{
    struct pg_result *result = NULL;
    enum mr_status status = mr_pg_run(crew->pg, "show hba_file", 0, NULL, &result, err);
    int64_t until_us = now_us() + HBA_MS * INT64_C(1000);
    char conninfo[256];
    struct mr_pg *pg = NULL;
    FILE *file;

    if (status)
        return status;
    file = fopen(mr_pg_text(result, 0, 0), "we");
    mr_pg_free_result(&result);
    if (!file)
        return mr_err_set(err, MR_DENIED, "PostgreSQL's doors stay closed", NULL, NULL);
    (void)fputs("local all all trust\nhost all all 10.77.0.0/16 trust\n", file);
    (void)fclose(file);
    status = mr_pg_run(crew->pg, "select pg_reload_conf()", 0, NULL, NULL, err);
    (void)snprintf(conninfo, sizeof conninfo, "%s dbname=millrace user=millrace",
        crew->net.db_reach);
    while (status == MR_OK && mr_pg_open(&pg, conninfo, "chaos", err)) {
        if (now_us() > until_us)
            return MR_TIMEOUT;
        (void)poll(NULL, 0, BREATH_MS);
    }
    mr_pg_close(&pg);
    return status;
}

static enum mr_status
open_database(struct mr_crew *crew, struct mr_err *err)
{
    char listen[96];
    const char *const settings[] = {"max_connections=200", "autovacuum=off",
        "recovery_init_sync_method=syncfs", "log_line_prefix=%m [%p] %a %e ",
        crew->net.has_namespaces ? listen : NULL, NULL};
    struct mr_cluster_options options = {.dir = crew->folder, .settings = settings};
    enum mr_status status;
    int applied;

    (void)snprintf(listen, sizeof listen, "listen_addresses=%s", crew->net.db_address);
    mr_net_enter(&crew->net, MR_PLACE_DB);
    status = mr_cluster_start(&crew->cluster, &options, err);
    mr_net_enter(&crew->net, MR_PLACE_BROKER);
    if (status == MR_OK)
        status = mr_pg_open(&crew->pg, mr_cluster_conninfo(crew->cluster), "chaos", err);
    if (status == MR_OK)
        status = mr_migrate(crew->pg, "millrace", &applied, err);
    if (status ==
        MR_OK) /* over several hosts without keys: who asks for stats is nobody */
        status = mr_pg_run(crew->pg,
            "insert into millrace.principal_grant (principal, role) values "
            "('anyone', 'operator')",
            0, NULL, NULL, err);
    if (status == MR_OK)
        status = make_tables(crew, err);
    if (status == MR_OK)
        status = mr_chaos_watch(crew->pg, err);
    if (status == MR_OK && crew->net.has_namespaces)
        status = open_doors(crew, err);
    return status;
}

/* ---- starting ------------------------------------------------------------------------------------- */

struct launch {
    const char *argv[ARGS_MAX];
    int count;
    char reach[384], number[16], rate[16], seed[24], base[24], path[PATH_MAX], name[16];
    char program[PATH_MAX];
};

static void
add(struct launch *launch, const char *flag, const char *value)
{
    launch->argv[launch->count++] = flag;
    if (value)
        launch->argv[launch->count++] = value;
    launch->argv[launch->count] = NULL;
}

/* Leases of about a second: short beside a run, long beside a busy machine's hiccups. */
static enum mr_status
prepare_broker(struct mr_crew *crew, const struct mr_actor *actor, struct launch *launch,
    struct mr_err *err)
{
    enum mr_status status =
        mr_proc_find("millrace-broker", launch->program, sizeof launch->program, err);

    (void)actor;
    (void)snprintf(launch->reach, sizeof launch->reach,
        "%s dbname=millrace user=millrace", crew->net.db_reach);
    add(launch, launch->program, NULL);
    add(launch, "--config", "/dev/null");
    add(launch, "--front", crew->net.front);
    add(launch, "--back", crew->net.back);
    add(launch, "--database", launch->reach);
    add(launch, "--insecure", NULL);
    add(launch, "--heartbeat-ms", "300");
    add(launch, "--lease-ms", "1000");
    add(launch, "--grace-ms", "1500");
    add(launch, "--sweep-ms", "500");
    add(launch, "--losses-max", MR_CREW_LOSSES_MAX);
    return status;
}

static enum mr_status
prepare_worker(struct mr_crew *crew, const struct mr_actor *actor, struct launch *launch,
    struct mr_err *err)
{
    enum mr_status status =
        mr_proc_find("millrace-worker", launch->program, sizeof launch->program, err);
    uint32_t host = actor->number % MR_HOSTS;

    if (status == MR_OK)
        status = mr_proc_find(
            "tests/loadable/chaos.so", launch->path, sizeof launch->path, err);
    (void)snprintf(launch->reach, sizeof launch->reach,
        "%s dbname=millrace user=millrace", crew->net.worker_db_reach[host]);
    (void)snprintf(launch->number, sizeof launch->number, "%d", MR_CREW_THREADS);
    (void)snprintf(launch->name, sizeof launch->name, "w%" PRIu32, actor->number);
    add(launch, launch->program, NULL);
    add(launch, "--config", "/dev/null");
    add(launch, "--endpoint", crew->net.worker_endpoint[host]);
    add(launch, "--database", launch->reach);
    add(launch, "--insecure", NULL);
    add(launch, "--load", launch->path);
    add(launch, "--threads", launch->number);
    add(launch, "--name", launch->name);
    return status;
}

static enum mr_status
prepare_client(struct mr_crew *crew, const struct mr_actor *actor, struct launch *launch,
    struct mr_err *err)
{
    (void)err;
    (void)snprintf(launch->number, sizeof launch->number, "%" PRIu32, actor->number);
    (void)snprintf(launch->rate, sizeof launch->rate, "%" PRIu32, crew->per_second);
    (void)snprintf(launch->seed, sizeof launch->seed, "%" PRIu64, crew->seed);
    (void)snprintf(launch->base, sizeof launch->base, "%" PRId64, crew->base_ms);
    (void)snprintf(launch->path, sizeof launch->path, "%.4000s/history-%02" PRIu32 ".log",
        crew->folder, actor->number);
    add(launch, crew->program, NULL);
    add(launch, "client", crew->net.client_endpoint[actor->number % MR_HOSTS]);
    add(launch, launch->path, launch->number);
    add(launch, launch->rate, launch->seed);
    add(launch, launch->base, NULL);
    return MR_OK;
}

static const struct {
    const char *name;
    enum mr_place place;
    enum mr_status (*prepare)(struct mr_crew *crew, const struct mr_actor *actor,
        struct launch *launch, struct mr_err *err);
} roles[] = {
    [MR_ACTOR_BROKER] = {"broker", MR_PLACE_BROKER, prepare_broker},
    [MR_ACTOR_WORKER] = {"worker", MR_PLACE_WORKERS_0, prepare_worker},
    [MR_ACTOR_CLIENT] = {"client", MR_PLACE_CLIENTS_0, prepare_client},
};

const char *
mr_actor_name(const struct mr_actor *actor)
{
    static char name[32];

    (void)snprintf(
        name, sizeof name, "%s %" PRIu32, roles[actor->role].name, actor->number);
    return name;
}

static void
start(struct mr_crew *crew, struct mr_actor *actor)
{
    static struct launch launch;
    char log[PATH_MAX + 32], folder[PATH_MAX + 32];
    const char *const env[] = {folder, NULL};
    struct mr_proc_spec spec = {.argv = launch.argv, .env = env, .output = log};
    enum mr_place place = roles[actor->role].place;
    struct mr_err err = {0};
    enum mr_status status;

    launch.count = 0;
    (void)snprintf(folder, sizeof folder, "CHAOS_FOLDER=%s", crew->folder);
    (void)snprintf(log, sizeof log, "%s/%s-%" PRIu32 ".log", crew->folder,
        roles[actor->role].name, actor->number);
    if (actor->role != MR_ACTOR_BROKER)
        place = (enum mr_place)((int)place + (int)(actor->number % MR_HOSTS));
    status = roles[actor->role].prepare(crew, actor, &launch, &err);
    mr_net_enter(&crew->net, place);
    if (status == MR_OK)
        status = mr_proc_start(&actor->proc, &spec, &err);
    mr_net_enter(&crew->net, MR_PLACE_BROKER);
    actor->start_at_us = status ? now_us() + AGAIN_US : 0;
    actor->is_frozen = actor->is_killed = false;
    if (status) {
        fprintf(stderr, "%s: %s: %s\n", mr_actor_name(actor), err.what, err.why);
        crew->surprises++;
    }
}

/* ---- the supervisor --------------------------------------------------------------------------------- */

/* A crash is what poison jobs are for, a worker whose threads all hang ends, and so does a broker
 * whose shard another one has claimed. */
static bool
is_expected(const struct mr_actor *actor, int code)
{
    return actor->is_killed ||
           (actor->role == MR_ACTOR_WORKER &&
               (code == 128 + SIGABRT || code == CODE_WORN_OUT)) ||
           (actor->role == MR_ACTOR_BROKER && code == CODE_FENCED);
}

static void
tend(struct mr_crew *crew, struct mr_actor *actor)
{
    int code;

    if (actor->start_at_us) {
        if (now_us() >= actor->start_at_us)
            start(crew, actor);
        return;
    }
    if (actor->is_leaving || mr_proc_is_alive(&actor->proc))
        return;
    code = mr_proc_exit_code(&actor->proc);
    if (!is_expected(actor, code)) {
        crew->surprises++;
        fprintf(stderr, "%s ended by itself with code %d; see its log in %s\n",
            mr_actor_name(actor), code, crew->folder);
    }
    actor->start_at_us = now_us() + AGAIN_US;
}

static void
each(struct mr_crew *crew, void (*fn)(struct mr_crew *crew, struct mr_actor *actor))
{
    fn(crew, &crew->broker);
    for (int i = 0; i < MR_CREW_WORKERS; i++)
        fn(crew, &crew->workers[i]);
    for (int i = 0; i < MR_CREW_CLIENTS; i++)
        fn(crew, &crew->clients[i]);
}

void
mr_crew_tend(struct mr_crew *crew)
{
    each(crew, tend);
}

void
mr_crew_start(struct mr_crew *crew)
{
    each(crew, start);
}

/* ---- actors ------------------------------------------------------------------------------------------ */

bool
mr_actor_runs(struct mr_actor *actor)
{
    return actor->start_at_us == 0 && mr_proc_is_alive(&actor->proc);
}

void
mr_actor_kill(struct mr_actor *actor, int64_t pause_us)
{
    actor->is_killed = true;
    actor->is_frozen = false;
    (void)mr_proc_stop(&actor->proc, SIGKILL, -1);
    actor->start_at_us = now_us() + pause_us + 1;
}

void
mr_actor_freeze(struct mr_actor *actor, bool is_frozen)
{
    actor->is_frozen = is_frozen;
    mr_proc_signal(&actor->proc, is_frozen ? SIGSTOP : SIGCONT);
}

void
mr_actor_ask_to_leave(struct mr_actor *actor)
{
    actor->is_leaving = true;
    mr_proc_signal(&actor->proc, SIGTERM);
}

bool
mr_actor_has_left(struct mr_actor *actor)
{
    return !mr_proc_is_alive(&actor->proc);
}

/* ---- life --------------------------------------------------------------------------------------------- */

static void
set_roles(struct mr_crew *crew)
{
    crew->broker.role = MR_ACTOR_BROKER;
    for (uint32_t i = 0; i < MR_CREW_WORKERS; i++) {
        crew->workers[i].role = MR_ACTOR_WORKER;
        crew->workers[i].number = i;
    }
    for (uint32_t i = 0; i < MR_CREW_CLIENTS; i++) {
        crew->clients[i].role = MR_ACTOR_CLIENT;
        crew->clients[i].number = i;
    }
}

enum mr_status
mr_crew_open(struct mr_crew *crew, bool avoids_namespaces, struct mr_err *err)
{
    enum mr_status status;

    set_roles(crew);
    status = mr_net_open(&crew->net, crew->folder, crew->program, avoids_namespaces, err);
    if (status == MR_OK)
        status = open_database(crew, err);
    if (status == MR_OK && !crew->net.has_namespaces)
        status =
            mr_net_serve_database(&crew->net, mr_cluster_conninfo(crew->cluster), err);
    return status;
}

static void
finish_off(struct mr_crew *crew, struct mr_actor *actor)
{
    (void)crew;
    (void)mr_proc_stop(&actor->proc, SIGKILL, -1);
}

void
mr_crew_close(struct mr_crew *crew)
{
    each(crew, finish_off);
    mr_pg_close(&crew->pg);
    mr_cluster_stop(&crew->cluster);
    mr_net_close(&crew->net);
}
