#include "tests/chaos/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "schemas/base/clock.h"
#include "tests/chaos/copier.h"

enum { CALLS_MAX = 600, PIECE_BYTES = 32768, LOOK_MS = 10, BACKLOG = 128 };

/* One direction: at most one piece under way. */
struct pipe {
    int from, to;
    size_t n, sent;
    int64_t due_us;
    bool is_over; /* `from` has ended */
    struct mr_copier copier;
    uint8_t bytes[2 * PIECE_BYTES];
};

struct call {
    uint32_t door;
    struct pipe there, back;
};

struct proxy {
    struct mr_proxy_board *board;
    int listeners[MR_PROXY_DOORS_MAX];
    struct call *calls[CALLS_MAX];
    uint32_t count;
    struct pollfd fds[MR_PROXY_DOORS_MAX + 2 * CALLS_MAX];
};

static int
mode_of(const struct proxy *proxy, uint32_t door)
{
    return atomic_load(&proxy->board->doors[door].mode);
}

/* ---- sockets ---------------------------------------------------------------------------------------- */

static struct sockaddr_in
loopback(uint16_t port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static bool
listen_at(int *fd, uint16_t port)
{
    struct sockaddr_in at = loopback(port);
    int one = 1;

    *fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return *fd >= 0 && setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
           bind(*fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(*fd, BACKLOG) == 0;
}

/* Local ones answer at once, or are not there. */
static int
connect_to(const struct mr_proxy_door *door)
{
    struct sockaddr_in at = loopback(door->to_port);
    struct sockaddr_un file = {.sun_family = AF_UNIX};
    int fd = socket(door->to_port ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_there;

    memcpy(file.sun_path, door->path, sizeof door->path);
    is_there = fd >= 0 &&
               (door->to_port ? connect(fd, (struct sockaddr *)&at, sizeof at) == 0
                              : connect(fd, (struct sockaddr *)&file, sizeof file) == 0);
    if (is_there && fcntl(fd, F_SETFL, O_NONBLOCK) == 0)
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

static void
reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    (void)close(fd);
}

/* ---- calls ------------------------------------------------------------------------------------------ */

static void
accept_one(struct proxy *proxy, uint32_t door)
{
    int fd = accept4(proxy->listeners[door], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int one = 1, other;
    struct call *call;

    if (fd < 0)
        return;
    other = mode_of(proxy, door) == MR_PROXY_RESET || proxy->count == CALLS_MAX
                ? -1
                : connect_to(&proxy->board->doors[door]);
    call = other >= 0 ? calloc(1, sizeof *call) : NULL;
    if (!call) {
        reset(fd);
        if (other >= 0)
            (void)close(other);
        return;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(other, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    call->door = door;
    call->there.from = call->back.to = fd;
    call->there.to = call->back.from = other;
    proxy->calls[proxy->count++] = call;
}

static void
hang_up(struct proxy *proxy, uint32_t i)
{
    struct call *call = proxy->calls[i];

    reset(call->there.from);
    reset(call->there.to);
    free(call);
    proxy->calls[i] = proxy->calls[--proxy->count];
}

/* The next piece. False: the connection is broken. */
static bool
take(struct pipe *pipe, int mode, bool is_zmtp, int64_t now_us)
{
    static uint8_t piece[PIECE_BYTES];
    ssize_t n = recv(pipe->from, piece, sizeof piece, 0);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    pipe->is_over = n == 0;
    pipe->sent = 0;
    pipe->due_us =
        now_us + (mode == MR_PROXY_DELAY ? MR_PROXY_DELAY_MS * INT64_C(1000) : 0);
    if (pipe->is_over)
        (void)shutdown(pipe->to, SHUT_WR);
    pipe->n = (size_t)n;
    if (is_zmtp)
        pipe->n = mr_copier_pass(
            &pipe->copier, piece, (size_t)n, pipe->bytes, mode == MR_PROXY_TWICE);
    else
        memcpy(pipe->bytes, piece, (size_t)n);
    return true;
}

/* False: the connection is broken. */
static bool
pump(struct pipe *pipe, int mode, bool is_zmtp)
{
    int64_t now_us = mr_clock_now().mono_us;
    ssize_t n;

    if (pipe->n == 0 && !pipe->is_over && !take(pipe, mode, is_zmtp, now_us))
        return false;
    if (pipe->n == 0 || pipe->due_us > now_us)
        return true;
    n = send(pipe->to, pipe->bytes + pipe->sent, pipe->n - pipe->sent, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    pipe->sent += (size_t)n;
    if (pipe->sent == pipe->n)
        pipe->n = 0;
    return true;
}

static void
serve_calls(struct proxy *proxy)
{
    uint32_t i = 0;

    while (i < proxy->count) {
        struct call *call = proxy->calls[i];
        int mode = mode_of(proxy, call->door);
        bool is_zmtp = proxy->board->doors[call->door].is_zmtp;
        bool is_well = mode != MR_PROXY_RESET;

        if (is_well && mode != MR_PROXY_HOLD)
            is_well = pump(&call->there, mode, is_zmtp) &&
                      pump(&call->back, mode, is_zmtp) &&
                      !(call->there.is_over && call->back.is_over);
        if (is_well)
            i++;
        else
            hang_up(proxy, i);
    }
}

/* ---- the loop --------------------------------------------------------------------------------------- */

static short
wanted(const struct proxy *proxy, const struct call *call, const struct pipe *reads,
    const struct pipe *writes)
{
    int mode = mode_of(proxy, call->door);
    short events = 0;

    if (mode == MR_PROXY_HOLD)
        return 0;
    if (reads->n == 0 && !reads->is_over)
        events |= POLLIN;
    if (writes->n > 0 && writes->due_us <= mr_clock_now().mono_us)
        events |= POLLOUT;
    return events;
}

static void
sleep_until_something(struct proxy *proxy)
{
    nfds_t n = 0;

    for (uint32_t i = 0; i < proxy->board->count; i++)
        proxy->fds[n++] = (struct pollfd){
            .fd = mode_of(proxy, i) == MR_PROXY_HOLD ? -1 : proxy->listeners[i],
            .events = POLLIN};
    for (uint32_t i = 0; i < proxy->count; i++) {
        struct call *call = proxy->calls[i];
        short near = wanted(proxy, call, &call->there, &call->back);
        short far = wanted(proxy, call, &call->back, &call->there);

        /* One that nothing is wanted of would only tell that it hung up, all the time. */
        proxy->fds[n++] =
            (struct pollfd){.fd = near ? call->there.from : -1, .events = near};
        proxy->fds[n++] =
            (struct pollfd){.fd = far ? call->back.from : -1, .events = far};
    }
    (void)poll(proxy->fds, n, LOOK_MS);
}

static struct mr_proxy_board *
map(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct mr_proxy_board *board = MAP_FAILED;

    if (fd >= 0) {
        board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        (void)close(fd);
    }
    return board == MAP_FAILED ? NULL : board;
}

int
mr_proxy_run(const char *path)
{
    static struct proxy proxy;

    proxy.board = map(path);
    if (!proxy.board)
        return EXIT_FAILURE;
    for (uint32_t i = 0; i < proxy.board->count; i++) {
        if (!listen_at(&proxy.listeners[i], proxy.board->doors[i].port)) {
            fprintf(stderr, "proxy: port %d: %s\n", proxy.board->doors[i].port,
                strerror(errno));
            return EXIT_FAILURE;
        }
    }
    atomic_store(&proxy.board->is_open, 1);
    for (;;) {
        sleep_until_something(&proxy);
        for (uint32_t i = 0; i < proxy.board->count; i++) {
            if (proxy.fds[i].revents)
                accept_one(&proxy, i);
        }
        serve_calls(&proxy);
    }
}
