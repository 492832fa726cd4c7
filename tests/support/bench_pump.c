#include "tests/support/bench_limits.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "schemas/base/clock.h"
#include "schemas/wire/msg.h"

enum { IN_FLIGHT = 16384, SILENCE_MS = 60000, ID_MAX = 256, TIMEOUT_MS = 60000 };

/* ---- Messages of millrace, as long as they are for so many jobs ------------------------------- */

enum { SUBMIT, ACK_SUBMIT, JOBS, DONE, ACK_DONE, EVENT, MESSAGES };

struct pump {
    struct mr_wr messages[MESSAGES];
    uint32_t rounds, window; /* messages of jobs: in all, and on their way */
    char front[128], back[128];
    void *context, *front_socket, *back_socket; /* the balancer's */
    bool client_is_good, balancer_is_good, worker_is_good;
};

static void
write_submit(struct mr_wr *wr, uint32_t batch, struct mr_uuid id)
{
    static const uint8_t payload[MR_BENCH_PAYLOAD_BYTES];
    struct mr_job_new job = {.id = id,
        .kind = mr_span_str("bench.answer"),
        .payload = mr_span(payload, sizeof payload),
        .priority = MR_PRIORITY_DEFAULT};
    size_t mark =
        mr_put_submit_open(wr, 1000, mr_span_str(MR_QUEUE_DEFAULT), MR_SUBMIT_WATCH);

    for (uint32_t i = 0; i < batch; i++)
        mr_put_submit_job(wr, &job);
    mr_put_submit_close(wr, mark, batch);
}

static void
write_jobs(struct mr_wr *wr, uint32_t batch, struct mr_uuid id, int64_t now_us)
{
    static const uint8_t payload[MR_BENCH_PAYLOAD_BYTES];
    struct mr_job_sent job = {.id = id,
        .attempt = 1,
        .kind = mr_span_str("bench.answer"),
        .payload = mr_span(payload, sizeof payload),
        .queue = mr_span_str(MR_QUEUE_DEFAULT),
        .timeout_ms = TIMEOUT_MS,
        .submitted_at_us = now_us};
    size_t mark = mr_put_jobs_open(wr, 0);

    for (uint32_t i = 0; i < batch; i++)
        mr_put_job(wr, &job);
    mr_put_jobs_close(wr, mark, batch);
}

static void
write_done(struct mr_wr *wr, uint32_t batch, struct mr_uuid id, int64_t now_us)
{
    static const uint8_t body[MR_BENCH_RESULT_BYTES];
    struct mr_done done = {.id = id,
        .attempt = 1,
        .report = MR_DID_SUCCEED,
        .body = mr_span(body, sizeof body),
        .started_at_us = now_us,
        .finished_at_us = now_us};
    size_t mark = mr_put_dones_open(wr, 1000, 0);

    for (uint32_t i = 0; i < batch; i++)
        mr_put_done(wr, &done);
    mr_put_dones_close(wr, mark, batch);
}

static void
write_event(struct mr_wr *wr, uint32_t batch, struct mr_uuid id)
{
    static const uint8_t body[MR_BENCH_RESULT_BYTES];
    struct mr_event event = {.id = id,
        .type = MR_EVENT_FINISHED,
        .attempt = 1,
        .outcome = MR_SUCCEEDED,
        .body = mr_span(body, sizeof body)};
    size_t mark = mr_put_events_open(wr, 0);

    for (uint32_t i = 0; i < batch; i++)
        mr_put_event(wr, &event);
    mr_put_events_close(wr, mark, batch);
}

static bool
write_messages(struct pump *pump, uint32_t batch)
{
    int64_t now_us = mr_clock_now().wall_us;
    struct mr_uuid id = mr_uuid_new(now_us);
    bool is_good = true;

    for (int i = 0; i < MESSAGES; i++)
        mr_wr_init(&pump->messages[i], MR_MESSAGE_BYTES_MAX);
    write_submit(&pump->messages[SUBMIT], batch, id);
    mr_put_ack(&pump->messages[ACK_SUBMIT], 1000, batch, NULL, 0, 0);
    write_jobs(&pump->messages[JOBS], batch, id, now_us);
    write_done(&pump->messages[DONE], batch, id, now_us);
    mr_put_ack(&pump->messages[ACK_DONE], 1000, batch, NULL, 0, 0);
    write_event(&pump->messages[EVENT], batch, id);
    for (int i = 0; i < MESSAGES; i++)
        is_good = is_good && pump->messages[i].status == MR_OK;
    return is_good;
}

/* ---- Sockets ---------------------------------------------------------------------------------- */

static void *
open_socket(void *context, int type)
{
    int none = 0, silence_ms = SILENCE_MS;
    void *socket = zmq_socket(context, type);

    if (socket &&
        (zmq_setsockopt(socket, ZMQ_SNDHWM, &none, sizeof none) != 0 ||
            zmq_setsockopt(socket, ZMQ_RCVHWM, &none, sizeof none) != 0 ||
            zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none) != 0 ||
            zmq_setsockopt(socket, ZMQ_RCVTIMEO, &silence_ms, sizeof silence_ms) != 0)) {
        zmq_close(socket);
        return NULL;
    }
    return socket;
}

static bool
say(void *socket, const struct mr_wr *message)
{
    return zmq_send(socket, message->p, message->n, 0) == (int)message->n;
}

/* An empty message: I am here, or that was all. */
static bool
say_nothing(void *socket)
{
    return zmq_send(socket, "", 0, 0) == 0;
}

/* Length of the next message of a DEALER; -1: none comes. */
static int
hear(void *socket)
{
    zmq_msg_t frame;
    int n;

    zmq_msg_init(&frame);
    n = zmq_msg_recv(&frame, socket, 0);
    zmq_msg_close(&frame);
    return n;
}

struct peer {
    char id[ID_MAX];
    int n; /* 0: nobody has spoken yet */
};

static bool
say_to(void *router, const struct peer *peer, const struct mr_wr *message)
{
    return zmq_send(router, peer->id, (size_t)peer->n, ZMQ_SNDMORE) == peer->n &&
           say(router, message);
}

/* Length of the next message of a ROUTER; -1: there is none now. */
static int
hear_from(void *router, struct peer *peer)
{
    zmq_msg_t frame;
    int n = zmq_recv(router, peer->id, sizeof peer->id, ZMQ_DONTWAIT);

    if (n < 0)
        return -1;
    peer->n = n;
    zmq_msg_init(&frame);
    n = zmq_msg_recv(&frame, router, 0);
    zmq_msg_close(&frame);
    return n;
}

/* ---- Three threads ---------------------------------------------------------------------------- */

static void *
be_client(void *arg)
{
    struct pump *pump = arg;
    void *context = zmq_ctx_new(), *socket = open_socket(context, ZMQ_DEALER);
    uint32_t sent = 0, done = 0;
    bool is_good = socket && zmq_connect(socket, pump->front) == 0;

    while (is_good && done < pump->rounds) {
        int n;

        while (is_good && sent < pump->rounds && sent - done < pump->window) {
            is_good = say(socket, &pump->messages[SUBMIT]);
            sent++;
        }
        n = hear(socket);
        is_good = is_good && n >= 0;
        done += (size_t)n == pump->messages[EVENT].n; /* or it is the ACK */
    }
    pump->client_is_good = is_good && say_nothing(socket) && hear(socket) == 0;
    if (socket)
        zmq_close(socket);
    zmq_ctx_term(context);
    return NULL;
}

static void *
be_worker(void *arg)
{
    struct pump *pump = arg;
    void *context = zmq_ctx_new(), *socket = open_socket(context, ZMQ_DEALER);
    bool is_good = socket && zmq_connect(socket, pump->back) == 0 && say_nothing(socket);
    int n = -1;

    while (is_good && (n = hear(socket)) > 0) {
        if ((size_t)n == pump->messages[JOBS].n) /* or it is the ACK */
            is_good = say(socket, &pump->messages[DONE]);
    }
    pump->worker_is_good = is_good && n == 0;
    if (socket)
        zmq_close(socket);
    zmq_ctx_term(context);
    return NULL;
}

/* False: it cannot be sent, or the client has said goodbye. */
static bool
serve_client(struct pump *pump, struct peer *client, const struct peer *worker, int n)
{
    return n > 0 && say_to(pump->front_socket, client, &pump->messages[ACK_SUBMIT]) &&
           say_to(pump->back_socket, worker, &pump->messages[JOBS]);
}

static bool
serve_worker(struct pump *pump, const struct peer *client, struct peer *worker, int n)
{
    return n == 0 || (say_to(pump->back_socket, worker, &pump->messages[ACK_DONE]) &&
                         say_to(pump->front_socket, client, &pump->messages[EVENT]));
}

static void *
be_balancer(void *arg)
{
    struct pump *pump = arg;
    struct peer client = {.n = 0}, worker = {.n = 0};
    struct mr_wr empty = {.n = 0};
    zmq_pollitem_t items[] = {{.socket = pump->back_socket, .events = ZMQ_POLLIN},
        {.socket = pump->front_socket, .events = ZMQ_POLLIN}};
    bool goes_on = true;
    int n = 0;

    while (goes_on && zmq_poll(items, worker.n ? 2 : 1, SILENCE_MS) > 0) {
        while (goes_on && (n = hear_from(pump->back_socket, &worker)) >= 0)
            goes_on = serve_worker(pump, &client, &worker, n);
        while (goes_on && worker.n && (n = hear_from(pump->front_socket, &client)) >= 0)
            goes_on = serve_client(pump, &client, &worker, n);
    }
    pump->balancer_is_good = !goes_on && n == 0 &&
                             say_to(pump->front_socket, &client, &empty) &&
                             say_to(pump->back_socket, &worker, &empty);
    return NULL;
}

/* ---- One run ---------------------------------------------------------------------------------- */

static bool
open_balancer(struct pump *pump)
{
    size_t front = sizeof pump->front, back = sizeof pump->back;

    pump->context = zmq_ctx_new();
    pump->front_socket = open_socket(pump->context, ZMQ_ROUTER);
    pump->back_socket = open_socket(pump->context, ZMQ_ROUTER);
    return pump->front_socket && pump->back_socket &&
           zmq_bind(pump->front_socket, "tcp://127.0.0.1:*") == 0 &&
           zmq_bind(pump->back_socket, "tcp://127.0.0.1:*") == 0 &&
           zmq_getsockopt(pump->front_socket, ZMQ_LAST_ENDPOINT, pump->front, &front) ==
               0 &&
           zmq_getsockopt(pump->back_socket, ZMQ_LAST_ENDPOINT, pump->back, &back) == 0;
}

/* The last words may still be on their way when everybody has heard them. */
static void
close_pump(struct pump *pump)
{
    zmq_close(pump->front_socket);
    zmq_close(pump->back_socket);
    zmq_ctx_term(pump->context);
    for (int i = 0; i < MESSAGES; i++)
        mr_wr_fini(&pump->messages[i]);
}

double
mr_bench_pump(struct mr_bench *bench, uint32_t batch, uint32_t jobs)
{
    static void *(*const roles[])(void *) = {be_balancer, be_worker, be_client};
    struct pump pump = {.rounds = (jobs + batch - 1) / batch,
        .window = batch * 2 < IN_FLIGHT ? IN_FLIGHT / batch : 2};
    pthread_t threads[3];
    int64_t began_us;

    if (!write_messages(&pump, batch) || !open_balancer(&pump))
        mr_bench_fail(bench, "the pump cannot be opened", zmq_strerror(zmq_errno()));
    began_us = mr_bench_now_us();
    for (int i = 0; i < 3; i++) {
        if (pthread_create(&threads[i], NULL, roles[i], &pump) != 0)
            mr_bench_fail(bench, "the pump cannot run", "no thread");
    }
    for (int i = 0; i < 3; i++)
        (void)pthread_join(threads[i], NULL);
    began_us = mr_bench_now_us() - began_us;
    if (!pump.client_is_good || !pump.balancer_is_good || !pump.worker_is_good)
        mr_bench_fail(bench, "the pump stands still", zmq_strerror(zmq_errno()));
    close_pump(&pump);
    return (double)pump.rounds * batch * 1e6 / (double)began_us;
}
