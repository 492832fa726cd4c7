/*
 * What more peers cost: the same eight executors in 1, 2, 4 and 8 worker processes, and 10, 100 and
 * 1,000 front ends that are connected and say nothing but that they live (two workers of four
 * threads). The jobs come from one front end. `ratio` is the worst of all against the first
 * of its row.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "schemas/base/clock.h"
#include "schemas/wire/msg.h"
#include "tests/support/bench.h"

enum { JOBS = 50000, WARM_UP = 10000, IN_FLIGHT = 8192, EXECUTORS = 8 };

/* ---- Idle front ends -------------------------------------------------------------------------- */

enum { IDLE_MAX = 1000, PING_MS = 900, REPLY_MS = 20000, MESSAGE_BYTES = 4096 };

static void
send_written(void *socket, struct mr_wr *wr)
{
    (void)zmq_send(socket, wr->p, wr->n, ZMQ_DONTWAIT);
    mr_wr_reset(wr);
}

static void *
connect_one(void *context, const char *endpoint, struct mr_wr *wr)
{
    struct mr_hello hello = {.proto_min = 1,
        .proto_max = 1,
        .role = MR_ROLE_CLIENT,
        .instance = mr_uuid_new(mr_clock_now().wall_us),
        .name = mr_span_str("idle")};
    void *socket = zmq_socket(context, ZMQ_DEALER);
    int timeout_ms = REPLY_MS, none = 0;

    if (!socket ||
        zmq_setsockopt(socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms) != 0 ||
        zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none) != 0 ||
        zmq_connect(socket, endpoint) != 0)
        return NULL;
    mr_put_hello(wr, 1, &hello, NULL);
    (void)zmq_send(socket, wr->p, wr->n, 0);
    mr_wr_reset(wr);
    return socket;
}

static bool
is_welcomed(void *socket)
{
    static unsigned char bytes[MESSAGE_BYTES];
    struct mr_msg msg;
    int n = zmq_recv(socket, bytes, sizeof bytes, 0);

    return n > 0 && n <= MESSAGE_BYTES && !mr_msg_open(mr_span(bytes, (size_t)n), &msg) &&
           msg.verb == MR_WELCOME;
}

/* Each says something in its turn, all of them in PING_MS; what the broker says is not looked at. */
static void
stay(void *const *sockets, int count, struct mr_wr *wr)
{
    int at_once = (count + 99) / 100;
    char bytes[MESSAGE_BYTES];

    for (int i = 0;; i = (i + 1) % count) {
        while (zmq_recv(sockets[i], bytes, sizeof bytes, ZMQ_DONTWAIT) >= 0)
            continue;
        mr_put_ping(wr, 0, false);
        send_written(sockets[i], wr);
        if (i % at_once == 0)
            (void)poll(NULL, 0, PING_MS * at_once / count);
    }
}

static int
be_idle(const char *endpoint, int count, int done)
{
    static void *sockets[IDLE_MAX];
    void *context = zmq_ctx_new();
    struct mr_wr wr;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)zmq_ctx_set(context, ZMQ_MAX_SOCKETS, IDLE_MAX + 8);
    mr_wr_init(&wr, MR_MESSAGE_BYTES_MAX);
    for (int i = 0; i < count; i++) {
        sockets[i] = connect_one(context, endpoint, &wr);
        if (!sockets[i] || !is_welcomed(sockets[i]))
            return EXIT_FAILURE;
    }
    if (write(done, "!", 1) != 1)
        return EXIT_FAILURE;
    stay(sockets, count, &wr);
    return EXIT_SUCCESS;
}

/* A process with all of them, once they are welcomed; 0: there are none. */
static pid_t
connect_idle(struct mr_bench *bench, int count)
{
    int ends[2];
    pid_t pid;
    char byte;

    if (count == 0)
        return 0;
    if (pipe(ends) != 0 || (pid = fork()) < 0)
        mr_bench_fail(bench, "cannot fork", "");
    if (pid == 0)
        _exit(be_idle(bench->stack.front, count, ends[1]));
    (void)close(ends[1]);
    if (read(ends[0], &byte, 1) != 1)
        mr_bench_fail(bench, "a front end is not welcomed", bench->stack.folder);
    (void)close(ends[0]);
    return pid;
}

static void
disconnect(struct mr_bench *bench, pid_t pid, int count)
{
    if (pid == 0)
        return;
    if (mr_bench_stat(bench, "clients") < count)
        mr_bench_fail(bench, "idle front ends were given up", "see .millrace/bench");
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

/* ---- Runs ------------------------------------------------------------------------------------- */

static const struct peers {
    const char *name;
    int workers, clients;
    bool is_first; /* of those that it is compared with */
} all[] = {
    {"workers_1", 1, 0, true},
    {"workers_2", 2, 0, false},
    {"workers_4", 4, 0, false},
    {"workers_8", 8, 0, false},
    {"clients_10", 2, 10, true},
    {"clients_100", 2, 100, false},
    {"clients_1000", 2, 1000, false},
};
enum { CASES = sizeof all / sizeof *all };

struct measure {
    double jobs_per_s, cpu_s_per_100k;
};

static struct measure
measure(struct mr_bench *bench, const struct peers *peers)
{
    struct mr_bench_flow flow = {
        .jobs = WARM_UP, .in_flight = mr_bench_in_flight(IN_FLIGHT)};
    struct measure out;
    double cpu_s;
    pid_t idle;

    bench->setup.threads = EXECUTORS / peers->workers;
    for (int i = 0; i < peers->workers; i++)
        mr_bench_start_worker(bench, i);
    idle = connect_idle(bench, peers->clients);
    (void)mr_bench_flow(bench, &flow);
    flow.jobs = mr_bench_jobs(JOBS);
    mr_bench_begin(bench);
    cpu_s = mr_bench_cpu_s();
    out.jobs_per_s = flow.jobs / mr_bench_flow(bench, &flow);
    out.cpu_s_per_100k = (mr_bench_cpu_s() - cpu_s) * 100000 / flow.jobs;
    mr_bench_check(bench, flow.jobs, flow.jobs);
    disconnect(bench, idle, peers->clients + 1);
    for (int i = 0; i < peers->workers; i++)
        mr_bench_stop_worker(bench, i, SIGTERM);
    return out;
}

/* Two figures for each case, and the ratio before them. */
static void
run_all(struct mr_bench *bench, struct mr_bench_figure *figures, int run)
{
    double first = 0;

    figures[0].runs[run] = 1;
    for (int i = 0; i < CASES; i++) {
        struct measure got = measure(bench, &all[i]);

        if (all[i].is_first)
            first = got.jobs_per_s;
        if (got.jobs_per_s / first < figures[0].runs[run])
            figures[0].runs[run] = got.jobs_per_s / first;
        figures[1 + 2 * i].runs[run] = got.jobs_per_s;
        figures[2 + 2 * i].runs[run] = got.cpu_s_per_100k;
    }
}

int
main(void)
{
    static struct mr_bench bench;
    static char names[2 * CASES][48];
    static struct mr_bench_figure figures[2 + 2 * CASES];
    struct rlimit files;
    char about[64];

    /* A thousand sockets in one process, and as many in the broker. */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    figures[0].name = "ratio";
    for (int i = 0; i < CASES; i++) {
        snprintf(names[2 * i], sizeof *names, "%s_jobs_per_s", all[i].name);
        snprintf(names[2 * i + 1], sizeof *names, "%s_cpu_s_per_100k", all[i].name);
        figures[1 + 2 * i].name = names[2 * i];
        figures[2 + 2 * i].name = names[2 * i + 1];
    }
    mr_bench_open(&bench, &(struct mr_bench_setup){.threads = EXECUTORS});
    for (int run = 0; run < mr_bench_runs(); run++)
        run_all(&bench, figures, run);
    snprintf(about, sizeof about, "\"jobs\":%u,\"executors\":%d", mr_bench_jobs(JOBS),
        EXECUTORS);
    mr_bench_print(&bench, "peers", about, figures);
    return mr_bench_end(&bench);
}
