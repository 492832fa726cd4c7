/*
 * 64 connections of front ends, each one job at a time, waiting until it is durable; the jobs run
 * meanwhile, nobody asks for their results. The front ends are bare sockets that speak the protocol,
 * all in one thread: 64 handles of the library would bring 128 threads with them, and those would be
 * what is measured. Compared with one connection that inserts and commits one row at a time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <zmq.h>

#include "schemas/base/clock.h"
#include "schemas/wire/msg.h"
#include "tests/support/bench_limits.h"

enum { JOBS = 100000, SOCKETS = 64, COMMITS = 3000, WARM_UP = 20000, SILENCE_MS = 60000 };

enum { RATE, LIMIT, RATIO, CPU, P50, P99, FIGURES };

static struct mr_bench_figure figures[FIGURES + 1] = {[RATE] = {.name = "acks_per_s"},
    [LIMIT] = {.name = "limit_commits_per_s"},
    [RATIO] = {.name = "ratio"},
    [CPU] = {.name = "cpu_s_per_100k"},
    [P50] = {.name = "p50_ms"},
    [P99] = {.name = "p99_ms"}};

struct fronts {
    struct mr_bench *bench;
    void *context;
    zmq_pollitem_t sockets[SOCKETS];
    int64_t began_us[SOCKETS]; /* 0: it waits for nothing */
    struct mr_wr wr;
    int64_t *took_us;
    uint32_t welcomed, sent, done, jobs;
};

/* ---- Messages --------------------------------------------------------------------------------- */

static void
say(struct fronts *fronts, int i)
{
    struct mr_wr *wr = &fronts->wr;

    if (wr->status || zmq_send(fronts->sockets[i].socket, wr->p, wr->n, 0) != (int)wr->n)
        mr_bench_fail(fronts->bench, "a socket cannot send", zmq_strerror(zmq_errno()));
    mr_wr_reset(wr);
}

static void
say_hello(struct fronts *fronts, int i)
{
    struct mr_hello hello = {.proto_min = 1,
        .proto_max = 1,
        .role = MR_ROLE_CLIENT,
        .instance = mr_uuid_new(mr_clock_now().wall_us),
        .name = mr_span_str("bench")};

    mr_put_hello(&fronts->wr, 1, &hello, NULL);
    say(fronts, i);
}

static void
submit(struct fronts *fronts, int i)
{
    static const uint8_t payload[MR_BENCH_PAYLOAD_BYTES] = {
        0xc4, MR_BENCH_PAYLOAD_BYTES - 2};
    struct mr_job_new job = {.id = mr_uuid_new(mr_clock_now().wall_us),
        .kind = mr_span_str("bench.answer"),
        .payload = mr_span(payload, sizeof payload),
        .priority = MR_PRIORITY_DEFAULT};
    size_t mark;

    fronts->began_us[i] = mr_bench_now_us();
    mark = mr_put_submit_open(&fronts->wr, 2, mr_span_str(MR_QUEUE_DEFAULT), 0);
    mr_put_submit_job(&fronts->wr, &job);
    mr_put_submit_close(&fronts->wr, mark, 1);
    say(fronts, i);
    fronts->sent++;
}

static void
on_ack(struct fronts *fronts, int i, const struct mr_msg *msg)
{
    struct mr_ack ack;

    if (mr_get_ack(msg, &ack) || ack.count != 1 || ack.verdicts != 0)
        mr_bench_fail(fronts->bench, "a job was not stored", "see .millrace/bench");
    fronts->took_us[fronts->done++] = mr_bench_now_us() - fronts->began_us[i];
    if (fronts->sent < fronts->jobs)
        submit(fronts, i);
}

static void
on_message(struct fronts *fronts, int i, const struct mr_msg *msg)
{
    bool asks = false;

    switch (msg->verb) {
    case MR_WELCOME:
        fronts->welcomed++;
        break;
    case MR_ACK:
        on_ack(fronts, i, msg);
        break;
    case MR_PING:
        if (mr_get_ping(msg, &asks) || !asks)
            break;
        mr_put_ping(&fronts->wr, msg->corr, false);
        say(fronts, i);
        break;
    default:
        mr_bench_fail(fronts->bench, "the broker said", mr_verb_name(msg->verb));
    }
}

/* Wait for some, then take all that are there. */
static void
take(struct fronts *fronts)
{
    static uint8_t bytes[4096];

    if (zmq_poll(fronts->sockets, SOCKETS, SILENCE_MS) <= 0)
        mr_bench_fail(fronts->bench, "the broker says nothing", "see .millrace/bench");
    for (int i = 0; i < SOCKETS; i++) {
        struct mr_msg msg;
        int n;

        if (!(fronts->sockets[i].revents & ZMQ_POLLIN))
            continue;
        while ((n = zmq_recv(
                    fronts->sockets[i].socket, bytes, sizeof bytes, ZMQ_DONTWAIT)) >= 0) {
            if ((size_t)n > sizeof bytes || mr_msg_open(mr_span(bytes, (size_t)n), &msg))
                mr_bench_fail(fronts->bench, "that was no message of ours", "");
            on_message(fronts, i, &msg);
        }
    }
}

/* ---- One run ---------------------------------------------------------------------------------- */

/* Connections of their own, since those that are silent between two runs would be forgotten. */
static void
open_fronts(struct fronts *fronts)
{
    int none = 0;

    fronts->context = zmq_ctx_new();
    mr_wr_init(&fronts->wr, MR_MESSAGE_BYTES_MAX);
    for (int i = 0; i < SOCKETS; i++) {
        void *socket = zmq_socket(fronts->context, ZMQ_DEALER);

        if (!socket || zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none) != 0 ||
            zmq_connect(socket, fronts->bench->stack.front) != 0)
            mr_bench_fail(fronts->bench, "no socket", zmq_strerror(zmq_errno()));
        fronts->sockets[i] = (zmq_pollitem_t){.socket = socket, .events = ZMQ_POLLIN};
        say_hello(fronts, i);
    }
    while (fronts->welcomed < SOCKETS)
        take(fronts);
}

static void
close_fronts(struct fronts *fronts)
{
    for (int i = 0; i < SOCKETS; i++)
        zmq_close(fronts->sockets[i].socket);
    zmq_ctx_term(fronts->context);
    mr_wr_fini(&fronts->wr);
}

static void
run(struct mr_bench *bench, uint32_t jobs, int64_t *took_us, int i)
{
    struct fronts fronts = {.bench = bench, .jobs = jobs, .took_us = took_us};
    int64_t began_us;
    double cpu_s;

    mr_bench_begin(bench);
    open_fronts(&fronts);
    cpu_s = mr_bench_cpu_s();
    began_us = mr_bench_now_us();
    for (int k = 0; k < SOCKETS && fronts.sent < jobs; k++)
        submit(&fronts, k);
    while (fronts.done < jobs)
        take(&fronts);
    began_us = mr_bench_now_us() - began_us;
    close_fronts(&fronts);
    mr_bench_await_idle(bench);
    figures[CPU].runs[i] = (mr_bench_cpu_s() - cpu_s) * 100000 / jobs;
    mr_bench_check(bench, jobs, jobs);
    figures[RATE].runs[i] = jobs * 1e6 / (double)began_us;
    figures[RATIO].runs[i] = figures[RATE].runs[i] / figures[LIMIT].runs[i];
    figures[P50].runs[i] = mr_bench_percentile_ms(took_us, jobs, 50);
    figures[P99].runs[i] = mr_bench_percentile_ms(took_us, jobs, 99);
}

int
main(void)
{
    struct mr_bench_setup setup = {
        .workers = mr_bench_workers(1), .threads = mr_bench_threads(2)};
    uint32_t jobs = mr_bench_jobs(JOBS);
    int64_t *took_us = calloc(jobs, sizeof *took_us);
    struct mr_bench bench;
    char about[160];

    mr_bench_open(&bench, &setup);
    if (!took_us)
        mr_bench_fail(&bench, "no memory", "for the times of all jobs");
    (void)mr_bench_flow(
        &bench, &(struct mr_bench_flow){.jobs = WARM_UP, .in_flight = 4096});
    for (int i = 0; i < mr_bench_runs(); i++) {
        figures[LIMIT].runs[i] = mr_bench_commits(&bench, COMMITS, NULL);
        run(&bench, jobs, took_us, i);
    }
    snprintf(about, sizeof about,
        "\"limit\":\"commits of one row\",\"jobs\":%u,\"payload_bytes\":%d,"
        "\"result_bytes\":%d,\"clients\":\"%d bare sockets\"",
        jobs, MR_BENCH_PAYLOAD_BYTES, MR_BENCH_RESULT_BYTES, SOCKETS);
    mr_bench_print(&bench, "sockets-64", about, figures);
    free(took_us);
    return mr_bench_end(&bench);
}
