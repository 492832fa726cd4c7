#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/proc.h"
#include "tests/chaos/net_priv.h"
#include "tests/chaos/proxy.h"

enum { OPEN_LOOKS = 1000, LOOK_MS = 10, STOP_MS = 2000 };

struct mr_net_proxy {
    struct mr_proc proc;
    struct mr_proxy_board *board; /* doors by enum mr_link */
};

static uint16_t
port_of(const struct mr_net_proxy *proxy, int link)
{
    return proxy->board->doors[link].port;
}

/* The proxies' doors, and the endpoints behind them. */
static void
set_doors(struct mr_net *net, uint16_t front, uint16_t back)
{
    struct mr_proxy_board *board = net->proxy->board;

    board->count = MR_LINKS;
    for (int i = 0; i < MR_LINKS; i++)
        board->doors[i].port = mr_proc_free_port();
    for (int i = 0; i < MR_HOSTS; i++) {
        board->doors[MR_LINK_WORKERS_0 + i].is_zmtp = true;
        board->doors[MR_LINK_CLIENTS_0 + i].is_zmtp = true;
        board->doors[MR_LINK_WORKERS_0 + i].to_port = back;
        board->doors[MR_LINK_CLIENTS_0 + i].to_port = front;
        board->doors[MR_LINK_WORKERS_0_DB + i].to_port = port_of(net->proxy, MR_LINK_DB);
    }
}

static void
tell_addresses(struct mr_net *net, uint16_t front, uint16_t back)
{
    const struct mr_net_proxy *proxy = net->proxy;

    (void)snprintf(net->front, sizeof net->front, "tcp://127.0.0.1:%d", front);
    (void)snprintf(net->back, sizeof net->back, "tcp://127.0.0.1:%d", back);
    (void)snprintf(net->db_reach, sizeof net->db_reach, "host=127.0.0.1 port=%d",
        port_of(proxy, MR_LINK_DB));
    for (int i = 0; i < MR_HOSTS; i++) {
        (void)snprintf(net->worker_endpoint[i], sizeof net->worker_endpoint[i],
            "tcp://127.0.0.1:%d", port_of(proxy, MR_LINK_WORKERS_0 + i));
        (void)snprintf(net->client_endpoint[i], sizeof net->client_endpoint[i],
            "tcp://127.0.0.1:%d", port_of(proxy, MR_LINK_CLIENTS_0 + i));
        (void)snprintf(net->worker_db_reach[i], sizeof net->worker_db_reach[i],
            "host=127.0.0.1 port=%d", port_of(proxy, MR_LINK_WORKERS_0_DB + i));
    }
}

static enum mr_status
make_board(struct mr_net_proxy *proxy, const char *path, struct mr_err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    proxy->board = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, (off_t)sizeof *proxy->board) == 0)
        proxy->board =
            mmap(NULL, sizeof *proxy->board, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        (void)close(fd);
    if (proxy->board != MAP_FAILED)
        return MR_OK;
    proxy->board = NULL;
    return mr_err_set(err, MR_DENIED, "no board for the proxy", strerror(errno), NULL);
}

static enum mr_status
await_open(struct mr_net_proxy *proxy, struct mr_err *err)
{
    for (int i = 0; i < OPEN_LOOKS && mr_proc_is_alive(&proxy->proc); i++) {
        if (atomic_load(&proxy->board->is_open))
            return MR_OK;
        (void)poll(NULL, 0, LOOK_MS);
    }
    return mr_err_set(err, MR_INTERNAL, "the proxy did not open", "see net.log", NULL);
}

enum mr_status
mr_net_proxy_open(
    struct mr_net *net, const char *folder, const char *program, struct mr_err *err)
{
    struct mr_net_proxy *proxy = calloc(1, sizeof *proxy);
    char path[PATH_MAX], log[PATH_MAX];
    const char *const argv[] = {program, "proxy", path, NULL};
    struct mr_proc_spec spec = {.argv = argv, .output = log};
    uint16_t front = mr_proc_free_port(), back = mr_proc_free_port();
    enum mr_status status;

    if (!proxy)
        return mr_err_set(err, MR_NO_MEMORY, "no network was made", NULL, NULL);
    net->proxy = proxy;
    (void)snprintf(path, sizeof path, "%.4000s/board", folder);
    (void)snprintf(log, sizeof log, "%.4000s/net.log", folder);
    status = make_board(proxy, path, err);
    if (status == MR_OK) {
        set_doors(net, front, back);
        tell_addresses(net, front, back);
        status = mr_proc_start(&proxy->proc, &spec, err);
    }
    return status ? status : await_open(proxy, err);
}

void
mr_net_proxy_close(struct mr_net *net)
{
    (void)mr_proc_stop(&net->proxy->proc, SIGKILL, STOP_MS);
    if (net->proxy->board)
        (void)munmap(net->proxy->board, sizeof *net->proxy->board);
    free(net->proxy);
    net->proxy = NULL;
}

/* "host=/tmp/millrace-x ..." */
enum mr_status
mr_net_serve_database(struct mr_net *net, const char *conninfo, struct mr_err *err)
{
    struct mr_proxy_door *door = &net->proxy->board->doors[MR_LINK_DB];
    const char *host = strstr(conninfo, "host=");
    int n;

    if (!host)
        return mr_err_set(
            err, MR_INTERNAL, "PostgreSQL's socket is not known", conninfo, NULL);
    host += strlen("host=");
    n = snprintf(door->path, sizeof door->path, "%.*s/.s.PGSQL.5432",
        (int)strcspn(host, " "), host);
    return n < (int)sizeof door->path
               ? MR_OK
               : mr_err_set(err, MR_TOO_BIG, "PostgreSQL's socket has too long a name",
                     door->path, NULL);
}

const char *
mr_net_proxy_cut(struct mr_net *net, enum mr_link link, uint32_t variant)
{
    static const struct {
        enum mr_proxy_mode mode;
        const char *words;
    } modes[] = {{MR_PROXY_HOLD, "silence"}, {MR_PROXY_RESET, "reset"},
        {MR_PROXY_DELAY, "delay"}, {MR_PROXY_TWICE, "everything twice"}};
    struct mr_proxy_door *door = &net->proxy->board->doors[link];
    uint32_t i = variant % (door->is_zmtp ? 4 : 3);

    atomic_store(&door->mode, modes[i].mode);
    return modes[i].words;
}

void
mr_net_proxy_heal(struct mr_net *net, enum mr_link link)
{
    atomic_store(&net->proxy->board->doors[link].mode, MR_PROXY_PASS);
}
