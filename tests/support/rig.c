#include "tests/support/rig.h"

#include "schemas/base/clock.h"
#include "schemas/wire/frames.h"
#include "tests/support/pg_fixture.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#define START_MS 30000
#define STOP_MS 15000

static char program_paths[4][PATH_MAX];

const char *
rig_program(const char *name)
{
    static unsigned next;
    const char *build = getenv("MILLRACE_BUILD");
    char *path = program_paths[next++ % 4];

    snprintf(path, PATH_MAX, "%s/%s", build ? build : "build", name);
    return path;
}

int64_t
rig_now_ms(void)
{
    return mr_clock_now().mono_us / 1000;
}

void
rig_breathe(void)
{
    (void)poll(NULL, 0, 5);
}

/* ---- processes ---------------------------------------------------------------------------------- */

static void
complain(const struct rig *rig, const struct mr_err *err)
{
    char text[4096] = "";
    FILE *file = fopen(rig->output, "r");
    size_t n = 0;

    if (file) {
        if (fseek(file, -(long)sizeof text + 1, SEEK_END) != 0)
            rewind(file);
        n = fread(text, 1, sizeof text - 1, file);
        fclose(file);
    }
    text[n] = '\0';
    ck_abort_msg("%s: %s\n%s", err->what, err->why, text);
}

static void
start(struct rig *rig, struct mr_proc *proc, const char *const *argv, const char *ready)
{
    struct mr_proc_spec spec = {.argv = argv, .output = rig->output};
    struct mr_err err = {0};

    *proc = (struct mr_proc){.pid = 0};
    (void)unlink(ready);
    if (mr_proc_start(proc, &spec, &err) ||
        mr_proc_wait_file(proc, ready, START_MS, &err))
        complain(rig, &err);
}

static int
append(const char **argv, int n, const char *const *more)
{
    for (int i = 0; more && more[i]; i++) {
        ck_assert_int_lt(n, RIG_ARGS_MAX - 1);
        argv[n++] = more[i];
    }
    argv[n] = NULL;
    return n;
}

static void
read_endpoints(struct rig *rig, const char *ready)
{
    FILE *file = fopen(ready, "r");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "front %127s back %127s", rig->front, rig->back), 2);
    fclose(file);
}

void
rig_open_on(struct rig *rig, const char *conninfo)
{
    struct mr_err err = {0};

    *rig = (struct rig){.folder = "/tmp/millrace-rig-XXXXXX"};
    ck_assert_ptr_nonnull(mkdtemp(rig->folder));
    snprintf(rig->output, sizeof rig->output, "%s/output", rig->folder);
    snprintf(rig->conninfo, sizeof rig->conninfo, "%s", conninfo);
    snprintf(rig->front, sizeof rig->front, "tcp://127.0.0.1:*");
    snprintf(rig->back, sizeof rig->back, "tcp://127.0.0.1:*");
    ck_ok(mr_pg_open(&rig->pg, rig->conninfo, "rig", &err), err);
}

void
rig_open(struct rig *rig)
{
    rig_open_on(rig, pg_fixture_database(true));
}

void
rig_close(struct rig *rig)
{
    char path[192];

    for (int i = 0; i < RIG_WORKERS_MAX; i++)
        mr_proc_stop(&rig->workers[i], SIGKILL, STOP_MS);
    /* A broker that cannot end in order would be a bug. */
    if (rig->broker.pid && mr_proc_is_alive(&rig->broker)) {
        bool ended = mr_proc_stop(&rig->broker, SIGTERM, STOP_MS);
        struct mr_err err = {.what = "the broker did not end well"};

        snprintf(
            err.why, sizeof err.why, "exit code %d", mr_proc_exit_code(&rig->broker));
        if (!ended || mr_proc_exit_code(&rig->broker) != 0)
            complain(rig, &err);
    }
    mr_pg_close(&rig->pg);
    for (int i = 0; i < RIG_WORKERS_MAX; i++) {
        snprintf(path, sizeof path, "%s/worker%d", rig->folder, i);
        (void)unlink(path);
    }
    snprintf(path, sizeof path, "%s/broker", rig->folder);
    (void)unlink(path);
    (void)unlink(rig->output);
    (void)rmdir(rig->folder);
}

void
rig_broker(struct rig *rig, const char *const *more)
{
    char ready[128];
    const char *argv[RIG_ARGS_MAX] = {rig_program("millrace-broker"), "--front",
        rig->front, "--back", rig->back, "--database", rig->conninfo, "--ready-file",
        ready};

    snprintf(ready, sizeof ready, "%s/broker", rig->folder);
    (void)append(argv, 9, more);
    start(rig, &rig->broker, argv, ready);
    read_endpoints(rig, ready);
}

void
rig_worker(struct rig *rig, int number, int threads, const char *const *more)
{
    char ready[128], count[16], name[16];
    const char *argv[RIG_ARGS_MAX] = {rig_program("millrace-worker"), "--endpoint",
        rig->back, "--database", rig->conninfo, "--ready-file", ready, "--threads", count,
        "--name", name};

    snprintf(ready, sizeof ready, "%s/worker%d", rig->folder, number);
    snprintf(count, sizeof count, "%d", threads);
    snprintf(name, sizeof name, "w%d", number);
    (void)append(argv, 11, more);
    start(rig, &rig->workers[number], argv, ready);
}

int
rig_run(struct rig *rig, const char *const *argv, char *text, size_t room)
{
    char path[128];
    struct mr_proc_spec spec = {.argv = argv, .output = path};
    struct mr_proc proc = {.pid = 0};
    struct mr_err err = {0};
    FILE *file;
    size_t n = 0;

    snprintf(path, sizeof path, "%s/run", rig->folder);
    (void)unlink(path);
    ck_assert_msg(mr_proc_start(&proc, &spec, &err) == MR_OK, "%s", err.why);
    ck_assert_msg(mr_proc_wait(&proc, START_MS), "%s did not end", argv[0]);
    file = fopen(path, "r");
    if (file && text)
        n = fread(text, 1, room - 1, file);
    if (text)
        text[n] = '\0';
    if (file)
        fclose(file);
    (void)unlink(path);
    return mr_proc_exit_code(&proc);
}

int
rig_sh(struct rig *rig, const char *line, char *text, size_t room)
{
    const char *const argv[] = {"/bin/bash", "-c", line, rig_program("millrace"), NULL};

    ck_assert_int_eq(setenv("MILLRACE_ENDPOINT", rig->front, 1), 0);
    return rig_run(rig, argv, text, room);
}

/* ---- clients ------------------------------------------------------------------------------------- */

struct millrace *
rig_client(const struct rig *rig)
{
    struct millrace_options options = {.endpoints = rig->front, .name = "test"};
    struct millrace_error error;
    struct millrace *mr = millrace_open(&options, &error);

    ck_assert_msg(mr != NULL, "%s", error.why);
    return mr;
}

struct millrace_id
rig_submit(struct millrace *mr, const char *kind, const char *key, int64_t value)
{
    struct millrace_job job;
    struct millrace_error error;
    struct millrace_pack pack = {0};
    int code;

    millrace_job_init(&job, kind);
    if (key) {
        millrace_pack_map(&pack, 1);
        millrace_pack_str(&pack, key);
        millrace_pack_int(&pack, value);
        job.args = pack.bytes;
        job.args_bytes = pack.n;
    }
    code = millrace_submit(mr, &job, RIG_WAIT_MS, &error);
    ck_assert_msg(code == 0, "%s: %s", millrace_code_name(code), error.why);
    millrace_pack_free(&pack);
    return job.id;
}

int
rig_verdict(struct millrace *mr, const struct millrace_job *job)
{
    return millrace_submit(mr, job, RIG_WAIT_MS, NULL);
}

void
rig_expect(struct millrace *mr, struct millrace_id id, int outcome)
{
    struct millrace_result result;
    struct millrace_error error;
    int code = millrace_wait(mr, &id, RIG_WAIT_MS, &result, &error);

    ck_assert_msg(code == 0, "%s: %s", millrace_code_name(code), error.why);
    ck_assert_msg(result.outcome == outcome, "%s instead of %s: %s",
        millrace_outcome_name(result.outcome), millrace_outcome_name(outcome),
        result.text ? result.text : "");
    millrace_result_free(&result);
}

int64_t
rig_stat(struct millrace *mr, const char *name)
{
    struct millrace_error error;
    void *reply = NULL;
    size_t n = 0;
    int64_t value = -1;
    int code = millrace_call(mr, "stats", NULL, 0, RIG_WAIT_MS, &reply, &n, &error);

    ck_assert_msg(code == 0, "%s: %s", millrace_code_name(code), error.why);
    ck_assert_msg(millrace_get_int(reply, n, name, &value), "no figure %s", name);
    free(reply);
    return value;
}

void
rig_wait_stat(struct millrace *mr, const char *name, int64_t at_least)
{
    int64_t until = rig_now_ms() + RIG_WAIT_MS, value;

    while ((value = rig_stat(mr, name)) < at_least) {
        ck_assert_msg(rig_now_ms() < until, "%s stays at %lld", name, (long long)value);
        rig_breathe();
    }
}

int64_t
rig_int(struct rig *rig, const char *sql)
{
    return pg_fixture_int(rig->pg, sql);
}

void
rig_wait_int(struct rig *rig, const char *sql, int64_t wanted)
{
    int64_t until = rig_now_ms() + RIG_WAIT_MS, value;

    while ((value = rig_int(rig, sql)) != wanted) {
        ck_assert_msg(rig_now_ms() < until, "%s stays at %lld, not %lld", sql,
            (long long)value, (long long)wanted);
        rig_breathe();
    }
}

/* ---- raw peers ----------------------------------------------------------------------------------- */

void
rig_peer_open(struct rig_peer *peer, const char *endpoint)
{
    int zero = 0;

    peer->context = zmq_ctx_new();
    peer->socket = zmq_socket(peer->context, ZMQ_DEALER);
    ck_assert_ptr_nonnull(peer->socket);
    ck_assert_int_eq(zmq_setsockopt(peer->socket, ZMQ_LINGER, &zero, sizeof zero), 0);
    ck_assert_int_eq(zmq_connect(peer->socket, endpoint), 0);
    mr_wr_init(&peer->wr, MR_MESSAGE_BYTES_MAX);
}

void
rig_peer_close(struct rig_peer *peer)
{
    zmq_close(peer->socket);
    zmq_ctx_term(peer->context);
    mr_wr_fini(&peer->wr);
}

void
rig_peer_send_bytes(struct rig_peer *peer, const void *bytes, size_t n)
{
    while (mr_frames_send(peer->socket, mr_span(bytes, n)) != 0) {
        ck_assert_int_eq(zmq_errno(), EAGAIN);
        rig_breathe();
    }
}

void
rig_peer_send(struct rig_peer *peer)
{
    ck_assert_int_eq(peer->wr.status, MR_OK);
    rig_peer_send_bytes(peer, peer->wr.p, peer->wr.n);
    mr_wr_reset(&peer->wr);
}

void
rig_peer_expect(struct rig_peer *peer, enum mr_verb verb)
{
    int timeout_ms = RIG_WAIT_MS, n;

    ck_assert_int_eq(
        zmq_setsockopt(peer->socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms), 0);
    do {
        n = zmq_recv(peer->socket, peer->bytes, sizeof peer->bytes, 0);
        ck_assert_msg(n >= 0, "no %s came", mr_verb_name(verb));
        ck_assert_int_le(n, (int)sizeof peer->bytes);
        ck_assert_int_eq(mr_msg_open(mr_span(peer->bytes, (size_t)n), &peer->msg), MR_OK);
    } while (peer->msg.verb == MR_PING && verb != MR_PING);
    ck_assert_msg(peer->msg.verb == verb, "%s came instead of %s",
        mr_verb_name(peer->msg.verb), mr_verb_name(verb));
}

void
rig_peer_expect_error(struct rig_peer *peer, enum mr_status code)
{
    struct mr_error error;

    rig_peer_expect(peer, MR_ERROR);
    ck_assert_int_eq(mr_get_error(&peer->msg, &error), MR_OK);
    ck_assert_msg(error.code == code, "%s (%.*s) instead of %s",
        mr_status_name(error.code), (int)error.text.n, (const char *)error.text.p,
        mr_status_name(code));
}

void
rig_peer_say_hello(struct rig_peer *peer, enum mr_role role, const char *kind)
{
    struct mr_offer offer = {.kind = mr_span_str(kind)};
    struct mr_hello hello = {.proto_min = 1,
        .proto_max = 1,
        .role = role,
        .instance = mr_uuid_new(mr_clock_now().wall_us),
        .name = mr_span_str("raw"),
        .threads = role == MR_ROLE_WORKER ? 1 : 0,
        .offers = kind ? 1 : 0};

    mr_put_hello(&peer->wr, 1, &hello, &offer);
    rig_peer_send(peer);
}

void
rig_peer_hello(struct rig_peer *peer, enum mr_role role, const char *kind)
{
    rig_peer_say_hello(peer, role, kind);
    rig_peer_expect(peer, MR_WELCOME);
}

struct mr_uuid
rig_peer_submit(struct rig_peer *peer, const char *kind)
{
    struct mr_job_new job = {.id = mr_uuid_new(mr_clock_now().wall_us),
        .kind = mr_span_str(kind),
        .payload = mr_span("\xc0", 1),
        .priority = MR_PRIORITY_DEFAULT};
    struct mr_ack ack;
    size_t mark =
        mr_put_submit_open(&peer->wr, 77, mr_span_str(MR_QUEUE_DEFAULT), MR_SUBMIT_WATCH);

    mr_put_submit_job(&peer->wr, &job);
    mr_put_submit_close(&peer->wr, mark, 1);
    rig_peer_send(peer);
    rig_peer_expect(peer, MR_ACK);
    ck_assert_int_eq(mr_get_ack(&peer->msg, &ack), MR_OK);
    ck_assert_uint_eq(ack.count, 1);
    ck_assert_uint_eq(ack.verdicts, 0);
    return job.id;
}
