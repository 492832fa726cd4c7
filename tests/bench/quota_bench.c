/*
 * One principal at its limit does not slow another: a quiet one submits a job at a time and takes
 * its result, alone and while a noisy one sends ten times its quota of jobs in a second and heeds
 * no hint, in turn, through CURVE. Figures: the quiet one's p99 in both cases, and their ratio.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "schemas/base/clock.h"
#include "schemas/wire/curve.h"
#include "schemas/wire/frames.h"
#include "schemas/wire/msg.h"
#include "tests/support/bench.h"

enum { JOBS_MAX = 100000, JOBS = 2000, WARM_UP = 200, DEADLINE_MS = 10000, TURNS = 5 };
enum { QUOTA = 200, TIMES = 10, TICK_MS = 10, BURST = QUOTA * TIMES * TICK_MS / 1000 };

enum { ALONE_P50, ALONE_P99, WITH_P50, WITH_P99, RATIO, OFFERED, TAKEN, FIGURES };

static struct mr_bench_figure figures[FIGURES + 1] = {
    [ALONE_P50] = {.name = "alone_p50_ms"},
    [ALONE_P99] = {.name = "alone_p99_ms"},
    [WITH_P50] = {.name = "with_p50_ms"},
    [WITH_P99] = {.name = "with_p99_ms"},
    [RATIO] = {.name = "ratio"},
    [OFFERED] = {.name = "noisy_offered_per_s"},
    [TAKEN] = {.name = "noisy_taken_per_s"}};

static struct mr_bench bench;
static int64_t alone_us[JOBS_MAX], with_us[JOBS_MAX];

/* ---- who they are ------------------------------------------------------------------------------- */

static char folder[256], server_key[MR_CURVE_ROOM];

static void
must(enum mr_status status, const struct mr_err *err)
{
    if (status)
        mr_bench_fail(&bench, err->what, err->why);
}

static void
sql(const char *text, const char *a, const char *b)
{
    const char *const params[] = {a, b};
    struct mr_err err = {.why = ""};

    must(mr_pg_run(bench.pg, text, 2, params, NULL, &err), &err);
}

/* A pair of keys in NAME.key; a principal of that name with a role, none for the broker. */
static void
make_key(const char *name, const char *role)
{
    struct mr_err err = {.why = ""};
    struct mr_curve *key = NULL;

    must(mr_curve_new(&key, &err), &err);
    must(mr_curve_write(key, folder, name, &err), &err);
    if (!role) {
        (void)snprintf(server_key, sizeof server_key, "%s", mr_curve_public(key));
    } else {
        sql("select millrace.principal_add($1, $2, null, null, null)", name,
            mr_curve_public(key));
        sql("select millrace.principal_grant_put($1, $2, false, null, null, null)", name,
            role);
    }
    mr_curve_destroy(&key);
}

static void
make_keys(void)
{
    char quota[16];

    (void)snprintf(quota, sizeof quota, "%d", QUOTA);
    make_key("broker", NULL);
    make_key("quiet", "front-end");
    make_key("noisy", "front-end");
    make_key("hand", "worker");
    /* To see when the broker is idle. */
    sql("select millrace.principal_grant_put($1, $2, false, null, null, null)", "quiet",
        "auditor");
    sql("select millrace.principal_limit($1, $2::integer, $2::integer, null, null)",
        "noisy", quota);
}

static const char *
key_file(const char *name)
{
    static char paths[4][300];
    static unsigned next;
    char *path = paths[next++ % 4];

    (void)snprintf(path, sizeof paths[0], "%s/%s.key", folder, name);
    return path;
}

static void
open_all(void)
{
    static const char *broker[3], *worker[5];
    struct mr_bench_setup setup = {
        .workers = 1, .threads = mr_bench_threads(2), .broker = broker, .worker = worker};

    mr_bench_open(&bench, NULL);
    (void)snprintf(folder, sizeof folder, "%.250s", bench.stack.folder);
    make_keys();
    broker[0] = worker[0] = "--key-file";
    broker[1] = key_file("broker");
    worker[1] = key_file("hand");
    worker[2] = "--server-key";
    worker[3] = server_key;
    setenv("MILLRACE_KEY_FILE", key_file("quiet"), 1);
    setenv("MILLRACE_SERVER_KEY", server_key, 1);
    bench.setup = setup;
    mr_bench_start_broker(&bench);
    mr_bench_start_worker(&bench, 0);
    bench.mr = mr_bench_client(&bench);
}

/* ---- the noisy one: a process of its own ---------------------------------------------------------- */

struct noise {
    uint64_t offered, taken, messages, acks;
};

static void *
connect_noisy(void *context)
{
    void *socket = zmq_socket(context, ZMQ_DEALER);
    struct mr_curve_peer peer = {.own = NULL};
    struct mr_err err;
    int zero = 0;

    if (!socket || zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof zero) ||
        mr_curve_peer_load(&peer, key_file("noisy"), server_key, false, &err) ||
        !mr_curve_peer_apply(&peer, socket, bench.stack.front) ||
        zmq_connect(socket, bench.stack.front))
        _exit(2);
    mr_curve_peer_fini(&peer);
    return socket;
}

static void
hear(void *socket, struct noise *noise)
{
    char bytes[65536];
    struct mr_msg msg;
    struct mr_ack ack;
    int n;

    while ((n = zmq_recv(socket, bytes, sizeof bytes, ZMQ_DONTWAIT)) >= 0) {
        if (n > (int)sizeof bytes || mr_msg_open(mr_span(bytes, (size_t)n), &msg) ||
            msg.verb != MR_ACK || mr_get_ack(&msg, &ack))
            continue;
        noise->taken += ack.count - ack.verdicts;
        noise->acks++;
    }
}

static void
shout(void *socket, struct mr_wr *wr, struct noise *noise)
{
    size_t mark;

    mr_wr_reset(wr);
    mark = mr_put_submit_open(wr, ++noise->messages, mr_span_str("noisy"), 0);
    for (int i = 0; i < BURST; i++) {
        struct mr_job_new job = {.id = mr_uuid_new(mr_clock_now().wall_us),
            .kind = mr_span_str("bench.stamp"),
            .payload = mr_span("\x80", 1),
            .priority = MR_PRIORITY_DEFAULT};

        mr_put_submit_job(wr, &job);
    }
    mr_put_submit_close(wr, mark, BURST);
    if (mr_frames_send(socket, mr_wr_span(wr)))
        noise->messages--; /* the socket is full */
    else
        noise->offered += BURST;
}

/* Until the other end of the pipe is closed; then what it did goes into it. */
static void
be_noisy(int in, int out)
{
    void *context = zmq_ctx_new(), *socket = connect_noisy(context);
    struct mr_hello hello = {.proto_min = 1,
        .proto_max = 1,
        .role = MR_ROLE_CLIENT,
        .name = mr_span_str("noisy")};
    zmq_pollitem_t items[2] = {
        {.fd = in, .events = ZMQ_POLLIN}, {.socket = socket, .events = ZMQ_POLLIN}};
    int64_t next_us = mr_bench_now_us() + 500000; /* welcomed by then */
    struct noise noise = {0};
    struct mr_wr wr;

    mr_wr_init(&wr, MR_MESSAGE_BYTES_MAX);
    mr_put_hello(&wr, 1, &hello, NULL);
    (void)mr_frames_send(socket, mr_wr_span(&wr));
    while (!(items[0].revents & (ZMQ_POLLIN | ZMQ_POLLERR))) {
        int64_t left_ms = (next_us - mr_bench_now_us()) / 1000;

        (void)zmq_poll(items, 2, left_ms > 0 ? (long)left_ms : 0);
        hear(socket, &noise);
        if (mr_bench_now_us() < next_us)
            continue;
        shout(socket, &wr, &noise);
        next_us += TICK_MS * 1000;
    }
    for (int i = 0; i < 500 && noise.acks < noise.messages; i++) {
        (void)zmq_poll(&items[1], 1, 10);
        hear(socket, &noise);
    }
    _exit(write(out, &noise, sizeof noise) != (ssize_t)sizeof noise);
}

struct noisy {
    pid_t pid;
    int to, from;
    int64_t began_us;
};

static struct noisy
start_noisy(void)
{
    struct noisy noisy = {.began_us = mr_bench_now_us() + 500000};
    int to[2], from[2];

    if (pipe(to) || pipe(from))
        mr_bench_fail(&bench, "there is no pipe", "");
    noisy.pid = fork();
    if (noisy.pid == 0) {
        (void)close(to[1]);
        be_noisy(to[0], from[1]);
    }
    (void)close(to[0]);
    (void)close(from[1]);
    noisy.to = to[1];
    noisy.from = from[0];
    while (mr_bench_now_us() < noisy.began_us + 500000)
        (void)zmq_poll(NULL, 0, 20); /* until its burst is over */
    return noisy;
}

/* Adds what it did. */
static double
stop_noisy(struct noisy *noisy, struct noise *sum)
{
    double s = (double)(mr_bench_now_us() - noisy->began_us) / 1e6;
    struct noise noise;

    (void)close(noisy->to);
    if (read(noisy->from, &noise, sizeof noise) != (ssize_t)sizeof noise ||
        noise.acks != noise.messages || noise.offered == noise.taken)
        mr_bench_fail(&bench, "the noisy one was not at its limit", "");
    (void)close(noisy->from);
    (void)waitpid(noisy->pid, NULL, 0);
    sum->offered += noise.offered;
    sum->taken += noise.taken;
    return s;
}

/* ---- the quiet one -------------------------------------------------------------------------------- */

static int64_t
one(void)
{
    struct millrace_result result = {.outcome = 0};
    struct millrace_error error;
    struct millrace_job job;
    int64_t began_us = mr_bench_now_us();

    millrace_job_init(&job, "bench.stamp");
    if (millrace_run(bench.mr, &job, DEADLINE_MS, &result, &error))
        mr_bench_fail(&bench, error.what, error.why);
    if (result.outcome != MILLRACE_SUCCEEDED)
        mr_bench_fail(&bench, "a job did not succeed", result.text ? result.text : "");
    millrace_result_free(&result);
    return mr_bench_now_us() - began_us;
}

static void
run(uint32_t jobs, int i)
{
    uint32_t part = jobs / TURNS;
    struct noise noise = {0};
    double noisy_s = 0;

    mr_bench_begin(&bench);
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        struct noisy noisy;

        for (uint32_t k = 0; k < part; k++)
            alone_us[turn * part + k] = one();
        noisy = start_noisy();
        for (uint32_t k = 0; k < part; k++)
            with_us[turn * part + k] = one();
        noisy_s += stop_noisy(&noisy, &noise);
        mr_bench_await_idle(&bench);
    }
    jobs = part * TURNS;
    mr_bench_check(&bench, 2 * jobs + noise.taken, 2 * jobs + noise.taken);
    figures[ALONE_P50].runs[i] = mr_bench_percentile_ms(alone_us, jobs, 50);
    figures[ALONE_P99].runs[i] = mr_bench_percentile_ms(alone_us, jobs, 99);
    figures[WITH_P50].runs[i] = mr_bench_percentile_ms(with_us, jobs, 50);
    figures[WITH_P99].runs[i] = mr_bench_percentile_ms(with_us, jobs, 99);
    figures[RATIO].runs[i] = figures[WITH_P99].runs[i] / figures[ALONE_P99].runs[i];
    figures[OFFERED].runs[i] = (double)noise.offered / noisy_s;
    figures[TAKEN].runs[i] = (double)noise.taken / noisy_s;
}

int
main(void)
{
    uint32_t wanted = mr_bench_jobs(JOBS), jobs = wanted < JOBS_MAX ? wanted : JOBS_MAX;
    char about[96];

    open_all();
    for (int i = 0; i < WARM_UP; i++)
        (void)one();
    for (int i = 0; i < mr_bench_runs(); i++)
        run(jobs < TURNS ? TURNS : jobs, i);
    snprintf(about, sizeof about,
        "\"limit\":\"the same principal alone\",\"jobs\":%u,\"quota_per_s\":%d", jobs,
        QUOTA);
    mr_bench_print(&bench, "quota", about, figures);
    return mr_bench_end(&bench);
}
