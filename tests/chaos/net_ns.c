#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/proc.h"
#include "tests/chaos/net_priv.h"

#define TOOL_MS 20000
#define PORT_OFF "0" /* states of a bridge port, as `bridge link` takes them */
#define PORT_ON "3"

struct mr_net_ns {
    int home, fds[MR_PLACES]; /* of namespaces */
    char folder[PATH_MAX], log[PATH_MAX];
};

/* Bridge ports, all in the broker's namespace; the other ends are msg and sql in their hosts. */
static const struct {
    enum mr_place host;
    bool has_msg, has_sql;
} cables[] = {{MR_PLACE_DB, false, true}, {MR_PLACE_WORKERS_0, true, true},
    {MR_PLACE_WORKERS_1, true, true}, {MR_PLACE_CLIENTS_0, true, false},
    {MR_PLACE_CLIENTS_1, true, false}};

static const char *const ports[MR_LINKS] = {[MR_LINK_WORKERS_0] = "msg2",
    [MR_LINK_WORKERS_1] = "msg3",
    [MR_LINK_CLIENTS_0] = "msg4",
    [MR_LINK_CLIENTS_1] = "msg5",
    [MR_LINK_DB] = "sql1",
    [MR_LINK_WORKERS_0_DB] = "sql2",
    [MR_LINK_WORKERS_1_DB] = "sql3"};

static enum mr_status
run_tool(struct mr_net_ns *ns, const char *const *argv, struct mr_err *err)
{
    struct mr_proc_spec spec = {.argv = argv, .output = ns->log};

    return mr_proc_run(&spec, TOOL_MS, err);
}

/* Lines for `ip -batch`. */
struct script {
    FILE *file;
    char path[PATH_MAX];
};

static void MR_PRINTF(2, 3) say(struct script *script, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vfprintf(script->file, format, args);
    va_end(args);
    (void)fputc('\n', script->file);
}

static enum mr_status
begin_script(struct mr_net_ns *ns, struct script *script, struct mr_err *err)
{
    (void)snprintf(script->path, sizeof script->path, "%.4000s/net.ip", ns->folder);
    script->file = fopen(script->path, "we");
    if (script->file)
        return MR_OK;
    return mr_err_setf(err, MR_DENIED, "no network was made", NULL, "%.200s: %s",
        script->path, strerror(errno));
}

static enum mr_status
run_script(struct mr_net_ns *ns, struct script *script, struct mr_err *err)
{
    const char *const argv[] = {"ip", "-batch", script->path, NULL};
    enum mr_status status = MR_OK;

    if (fclose(script->file) == 0)
        status = run_tool(ns, argv, err);
    (void)unlink(script->path);
    return status;
}

static void
lay_cable(const struct mr_net_ns *ns, struct script *script, const char *bridge,
    enum mr_place host)
{
    say(script, "link add %s%d type veth peer name %s netns /proc/%d/fd/%d", bridge,
        (int)host, bridge, (int)getpid(), ns->fds[host]);
    say(script, "link set %s%d master %s up", bridge, (int)host, bridge);
}

static enum mr_status
make_hub(struct mr_net_ns *ns, struct mr_err *err)
{
    static const char *const bridges[] = {"msg", "sql"};
    struct script script;
    enum mr_status status = begin_script(ns, &script, err);

    if (status)
        return status;
    say(&script, "link set lo up");
    for (int i = 0; i < 2; i++) {
        say(&script, "link add %s type bridge", bridges[i]);
        say(&script, "addr add 10.77.%d.1/24 dev %s", i, bridges[i]);
        say(&script, "link set %s up", bridges[i]);
    }
    for (size_t i = 0; i < sizeof cables / sizeof *cables; i++) {
        if (cables[i].has_msg)
            lay_cable(ns, &script, "msg", cables[i].host);
        if (cables[i].has_sql)
            lay_cable(ns, &script, "sql", cables[i].host);
    }
    return run_script(ns, &script, err);
}

static enum mr_status
make_host(struct mr_net_ns *ns, size_t cable, struct mr_err *err)
{
    int host = (int)cables[cable].host;
    struct script script;
    enum mr_status status = begin_script(ns, &script, err);

    if (status)
        return status;
    say(&script, "link set lo up");
    if (cables[cable].has_msg)
        say(&script, "addr add 10.77.0.%d/24 dev msg\nlink set msg up", 1 + host);
    if (cables[cable].has_sql)
        say(&script, "addr add 10.77.1.%d/24 dev sql\nlink set sql up", 1 + host);
    if (setns(ns->fds[host], CLONE_NEWNET) != 0)
        status = mr_err_set(
            err, MR_DENIED, "a namespace was not entered", strerror(errno), NULL);
    if (status == MR_OK)
        status = run_script(ns, &script, err);
    else
        (void)fclose(script.file);
    (void)setns(ns->fds[MR_PLACE_BROKER], CLONE_NEWNET);
    return status;
}

static int
open_own(void)
{
    return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
}

/* The last one is the broker's, in which we stay. */
static enum mr_status
make_namespaces(struct mr_net_ns *ns, struct mr_err *err)
{
    ns->home = open_own();
    for (int i = MR_PLACES - 1; i >= 0; i--) {
        if (ns->home < 0 || unshare(CLONE_NEWNET) != 0 || (ns->fds[i] = open_own()) < 0)
            return mr_err_set(
                err, MR_DENIED, "no network namespace", strerror(errno), NULL);
    }
    return MR_OK;
}

static void
tell_addresses(struct mr_net *net)
{
    (void)snprintf(net->front, sizeof net->front, "tcp://10.77.0.1:7654");
    (void)snprintf(net->back, sizeof net->back, "tcp://10.77.0.1:7655");
    (void)snprintf(net->db_address, sizeof net->db_address, "10.77.1.2");
    net->db_port = 5432;
    (void)snprintf(net->db_reach, sizeof net->db_reach, "host=10.77.1.2 port=5432");
    for (int i = 0; i < MR_HOSTS; i++) {
        memcpy(net->worker_db_reach[i], net->db_reach, sizeof net->db_reach);
        memcpy(net->worker_endpoint[i], net->back, sizeof net->back);
        memcpy(net->client_endpoint[i], net->front, sizeof net->front);
    }
}

enum mr_status
mr_net_ns_open(struct mr_net *net, const char *folder, struct mr_err *err)
{
    struct mr_net_ns *ns = calloc(1, sizeof *ns);
    enum mr_status status;

    if (!ns)
        return mr_err_set(err, MR_NO_MEMORY, "no network was made", NULL, NULL);
    net->ns = ns;
    for (int i = 0; i < MR_PLACES; i++)
        ns->fds[i] = -1;
    (void)snprintf(ns->folder, sizeof ns->folder, "%s", folder);
    (void)snprintf(ns->log, sizeof ns->log, "%.4000s/net.log", folder);
    status = make_namespaces(ns, err);
    if (status == MR_OK)
        status = make_hub(ns, err);
    for (size_t i = 0; status == MR_OK && i < sizeof cables / sizeof *cables; i++)
        status = make_host(ns, i, err);
    if (status == MR_OK)
        tell_addresses(net);
    else
        mr_net_ns_close(net);
    return status;
}

void
mr_net_ns_close(struct mr_net *net)
{
    struct mr_net_ns *ns = net->ns;

    if (ns->home >= 0) {
        (void)setns(ns->home, CLONE_NEWNET);
        (void)close(ns->home);
    }
    for (int i = 0; i < MR_PLACES; i++) {
        if (ns->fds[i] >= 0)
            (void)close(ns->fds[i]);
    }
    free(ns);
    net->ns = NULL;
}

void
mr_net_ns_enter(struct mr_net *net, enum mr_place place)
{
    MR_ASSERT(setns(net->ns->fds[place], CLONE_NEWNET) == 0);
}

void
mr_net_ns_switch(struct mr_net *net, enum mr_link link, bool is_on)
{
    const char *const argv[] = {"bridge", "link", "set", "dev", ports[link], "state",
        is_on ? PORT_ON : PORT_OFF, NULL};
    struct mr_err err;

    mr_net_ns_enter(net, MR_PLACE_BROKER);
    if (run_tool(net->ns, argv, &err))
        fprintf(stderr, "%s: %s: %s\n", ports[link], err.what, err.why);
}
