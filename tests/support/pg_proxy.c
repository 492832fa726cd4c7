#include "tests/support/pg_proxy.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOCKET_NAME ".s.PGSQL.5432"
#define PAIRS_MAX 64
#define ROOM (256 * 1024)
#define HEADER 5 /* a type and a length that counts itself, not the type */
#define ONCE (-1)
#define COMMIT_NAME "mr_commit"

struct shared {
    atomic_int every;
    atomic_long commits, trips, cuts[PG_PROXY_CUTS];
};

struct pg_proxy {
    char folder[64], conninfo[512], target[256];
    struct shared *shared;
    pid_t pid;
};

/* ---- one connection ------------------------------------------------------------------------- */

/* Bytes on their way; the messages in them are looked at before they are sent on. */
struct stream {
    uint8_t bytes[ROOM];
    size_t n;
    size_t skip; /* of a message that was let through before it was whole */
};

struct pair {
    int client, server;  /* -1: free */
    bool has_started;    /* the start-up packet, which has no type, is over */
    bool is_cutting;     /* a COMMIT has come by that is to be cut */
    bool is_mute;        /* answers are swallowed */
    bool ends_in_commit; /* the simple query under way does, behind its COPY */
    enum pg_proxy_cut cut;
    struct stream up, down;
};

enum fate { GOES_ON, ENDS };

struct child {
    struct shared *shared;
    const char *target;
    int listener;
    unsigned turn;
    struct pair *pairs;
};

static size_t
length_at(const uint8_t *p)
{
    return (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
}

static bool
send_all(int fd, const uint8_t *bytes, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);

        if (sent <= 0)
            return false;
        bytes += sent;
        n -= (size_t)sent;
    }
    return true;
}

static void
drop(struct stream *stream, size_t n)
{
    memmove(stream->bytes, stream->bytes + n, stream->n - n);
    stream->n -= n;
}

/* Is this Bind, and of the prepared COMMIT? After the header: portal and statement. */
static bool
is_commit(const uint8_t *message, size_t n)
{
    size_t portal = strnlen((const char *)message + HEADER, n - HEADER);
    size_t at = HEADER + portal + 1;

    return message[0] == 'B' && at + sizeof COMMIT_NAME <= n &&
           memcmp(message + at, COMMIT_NAME, sizeof COMMIT_NAME) == 0;
}

/* A simple query that begins with one and copies: the end of the rows is its COMMIT. */
static bool
does_end_in_commit(const uint8_t *message, size_t n)
{
    static const char end[] = "; commit";

    return n >= HEADER + sizeof end &&
           memcmp(message + n - sizeof end, end, sizeof end) == 0;
}

static void
judge_commit(struct child *child, struct pair *pair)
{
    int every = atomic_load(&child->shared->every);
    long number = atomic_fetch_add(&child->shared->commits, 1);

    if (every == ONCE)
        atomic_store(&child->shared->every, 0);
    else if (every == 0 || number % every != 0)
        return;
    pair->is_cutting = true;
    pair->cut = (enum pg_proxy_cut)(child->turn++ % PG_PROXY_CUTS);
}

static enum fate
cut_now(struct child *child, const struct pair *pair)
{
    atomic_fetch_add(&child->shared->cuts[pair->cut], 1);
    return ENDS;
}

/* A whole message from the program. */
static enum fate
take_up(struct child *child, struct pair *pair, const uint8_t *message, size_t n)
{
    bool is_copied = message[0] == 'c' && pair->ends_in_commit;

    if (message[0] == 'S' || message[0] == 'Q')
        atomic_fetch_add(&child->shared->trips, 1);
    if (message[0] == 'Q')
        pair->ends_in_commit = does_end_in_commit(message, n);
    if (is_copied || is_commit(message, n))
        judge_commit(child, pair);
    if (pair->is_cutting && pair->cut == PG_PROXY_BEFORE_COMMIT)
        return cut_now(child, pair);
    if (is_copied && pair->is_cutting && pair->cut == PG_PROXY_BEFORE_SYNC) {
        (void)send_all(pair->server, message, n); /* there is no sync of its own */
        return cut_now(child, pair);
    }
    if (pair->is_cutting && pair->cut == PG_PROXY_BEFORE_SYNC && message[0] == 'S')
        return cut_now(child, pair);
    if (pair->is_cutting && pair->cut == PG_PROXY_BEFORE_ANSWER)
        pair->is_mute = true;
    return send_all(pair->server, message, n) ? GOES_ON : ENDS;
}

/* A whole message from PostgreSQL. */
static enum fate
take_down(struct child *child, struct pair *pair, const uint8_t *message, size_t n)
{
    bool is_answer = pair->is_cutting && message[0] == 'C' && n >= HEADER + 7 &&
                     memcmp(message + HEADER, "COMMIT", 7) == 0;

    if (pair->is_mute && message[0] == 'Z')
        return cut_now(child, pair);
    if (pair->is_mute)
        return GOES_ON;
    if (is_answer && pair->cut == PG_PROXY_IN_ANSWER) {
        (void)send_all(pair->client, message, n / 2);
        return cut_now(child, pair);
    }
    if (pair->is_cutting && pair->cut == PG_PROXY_BEFORE_READY && message[0] == 'Z')
        return cut_now(child, pair);
    /* A transaction that failed answers ROLLBACK: nothing to be cut. */
    if (message[0] == 'Z')
        pair->is_cutting = pair->ends_in_commit = false;
    return send_all(pair->client, message, n) ? GOES_ON : ENDS;
}

typedef enum fate (*take_fn)(
    struct child *child, struct pair *pair, const uint8_t *message, size_t n);

/* More than the room holds goes through as it comes: no COMMIT is that large. */
static enum fate
let_through(struct pair *pair, struct stream *stream, int to, size_t whole)
{
    size_t n = stream->n;

    (void)pair;
    stream->skip = whole - n;
    if (!send_all(to, stream->bytes, n))
        return ENDS;
    stream->n = 0;
    return GOES_ON;
}

static enum fate
take_messages(struct child *child, struct pair *pair, bool is_up)
{
    struct stream *stream = is_up ? &pair->up : &pair->down;
    int to = is_up ? pair->server : pair->client;
    take_fn take = is_up ? take_up : take_down;

    while (stream->n > 0) {
        size_t head = is_up && !pair->has_started ? 0 : 1, whole;
        enum fate fate = GOES_ON;

        if (stream->skip > 0) {
            size_t n = stream->n < stream->skip ? stream->n : stream->skip;

            if (!send_all(to, stream->bytes, n))
                return ENDS;
            stream->skip -= n;
            drop(stream, n);
            continue;
        }
        if (stream->n < head + 4)
            return GOES_ON;
        whole = head + length_at(stream->bytes + head);
        if (whole > ROOM && stream->n == ROOM)
            return let_through(pair, stream, to, whole);
        if (stream->n < whole)
            return GOES_ON;
        if (head == 0) {
            pair->has_started = true;
            fate = send_all(to, stream->bytes, whole) ? GOES_ON : ENDS;
        } else {
            fate = take(child, pair, stream->bytes, whole);
        }
        if (fate == ENDS)
            return ENDS;
        drop(stream, whole);
    }
    return GOES_ON;
}

static enum fate
pump(struct child *child, struct pair *pair, bool is_up)
{
    struct stream *stream = is_up ? &pair->up : &pair->down;
    ssize_t n = recv(is_up ? pair->client : pair->server, stream->bytes + stream->n,
        ROOM - stream->n, 0);

    if (n <= 0)
        return ENDS;
    stream->n += (size_t)n;
    return take_messages(child, pair, is_up);
}

/* ---- the process ------------------------------------------------------------------------------- */

/* Nothing in the process may use check: what it writes beside the test would spoil the test's own
 * messages. */
static struct sockaddr_un
address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    memcpy(address.sun_path, path, strnlen(path, sizeof address.sun_path - 1));
    return address;
}

static void
end(struct pair *pair)
{
    (void)close(pair->client);
    (void)close(pair->server);
    pair->client = pair->server = -1;
}

static void
welcome(struct child *child)
{
    struct sockaddr_un address = address_of(child->target);
    int client = accept4(child->listener, NULL, NULL, SOCK_CLOEXEC), server;
    struct pair *pair = NULL;

    if (client < 0)
        return;
    for (int i = 0; i < PAIRS_MAX && !pair; i++)
        pair = child->pairs[i].client < 0 ? &child->pairs[i] : NULL;
    server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!pair || connect(server, (struct sockaddr *)&address, sizeof address) != 0) {
        (void)close(client);
        (void)close(server);
        return;
    }
    *pair = (struct pair){.client = client, .server = server};
}

static void
serve(struct child *child)
{
    struct pollfd fds[2 * PAIRS_MAX + 1];

    for (;;) {
        for (int i = 0; i < PAIRS_MAX; i++) {
            fds[2 * i] = (struct pollfd){.fd = child->pairs[i].client, .events = POLLIN};
            fds[2 * i + 1] =
                (struct pollfd){.fd = child->pairs[i].server, .events = POLLIN};
        }
        fds[2 * PAIRS_MAX] = (struct pollfd){.fd = child->listener, .events = POLLIN};
        if (poll(fds, 2 * PAIRS_MAX + 1, -1) < 0)
            continue;
        for (int i = 0; i < PAIRS_MAX; i++) {
            struct pair *pair = &child->pairs[i];

            if ((fds[2 * i].revents && pump(child, pair, true) == ENDS) ||
                (fds[2 * i + 1].revents && pump(child, pair, false) == ENDS))
                end(pair);
        }
        if (fds[2 * PAIRS_MAX].revents)
            welcome(child);
    }
}

static _Noreturn void
run(struct pg_proxy *proxy, int listener)
{
    struct child child = {
        .shared = proxy->shared, .target = proxy->target, .listener = listener};

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    child.pairs = calloc(PAIRS_MAX, sizeof *child.pairs);
    for (int i = 0; child.pairs && i < PAIRS_MAX; i++)
        child.pairs[i].client = child.pairs[i].server = -1;
    if (child.pairs)
        serve(&child);
    _exit(1);
}

/* ---- from outside ------------------------------------------------------------------------------- */

static int
listen_at(const char *folder)
{
    char path[128];
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(path, sizeof path, "%s/" SOCKET_NAME, folder);
    address = address_of(path);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 128), 0);
    return fd;
}

struct pg_proxy *
pg_proxy_start(const char *conninfo)
{
    struct pg_proxy *proxy = calloc(1, sizeof *proxy);
    const char *rest = strchr(conninfo, ' ');
    int listener;

    ck_assert_ptr_nonnull(proxy);
    ck_assert_ptr_nonnull(rest);
    ck_assert_int_eq(strncmp(conninfo, "host=/", 6), 0);
    snprintf(proxy->folder, sizeof proxy->folder, "/tmp/millrace-proxy-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(proxy->folder));
    snprintf(proxy->target, sizeof proxy->target, "%.*s/" SOCKET_NAME,
        (int)(rest - conninfo - 5), conninfo + 5);
    ck_assert_uint_lt(
        strlen(proxy->target), sizeof((struct sockaddr_un *)NULL)->sun_path);
    snprintf(proxy->conninfo, sizeof proxy->conninfo, "host=%s%s", proxy->folder, rest);
    proxy->shared = mmap(NULL, sizeof *proxy->shared, PROT_READ | PROT_WRITE,
        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(proxy->shared != MAP_FAILED);
    listener = listen_at(proxy->folder);
    proxy->pid = fork();
    if (proxy->pid == 0)
        run(proxy, listener);
    ck_assert_int_gt(proxy->pid, 0);
    (void)close(listener);
    return proxy;
}

void
pg_proxy_stop(struct pg_proxy **proxy)
{
    char path[128];

    if (!*proxy)
        return;
    (void)kill((*proxy)->pid, SIGKILL);
    (void)waitpid((*proxy)->pid, NULL, 0);
    snprintf(path, sizeof path, "%s/" SOCKET_NAME, (*proxy)->folder);
    (void)unlink(path);
    (void)rmdir((*proxy)->folder);
    (void)munmap((*proxy)->shared, sizeof *(*proxy)->shared);
    free(*proxy);
    *proxy = NULL;
}

const char *
pg_proxy_conninfo(const struct pg_proxy *proxy)
{
    return proxy->conninfo;
}

void
pg_proxy_cut_every(struct pg_proxy *proxy, int n)
{
    atomic_store(&proxy->shared->every, n);
}

void
pg_proxy_cut_next(struct pg_proxy *proxy)
{
    atomic_store(&proxy->shared->every, ONCE);
}

int64_t
pg_proxy_count(const struct pg_proxy *proxy, enum pg_proxy_cut cut)
{
    return atomic_load(&proxy->shared->cuts[cut]);
}

int64_t
pg_proxy_commits(const struct pg_proxy *proxy)
{
    return atomic_load(&proxy->shared->commits);
}

int64_t
pg_proxy_trips(const struct pg_proxy *proxy)
{
    return atomic_load(&proxy->shared->trips);
}

const char *
pg_proxy_cut_name(enum pg_proxy_cut cut)
{
    static const char *const names[PG_PROXY_CUTS] = {
        "before commit", "before sync", "before answer", "in answer", "before ready"};

    return names[cut];
}
