/*
 * Any bytes as what a worker and the process of an isolated kind say to each other, in frames and
 * not, in pieces: refused, or read and written again as the same.
 */
#include "tests/fuzz/fuzz.h"

#include "worker/child_wire.h"

#include <sys/socket.h>
#include <unistd.h>

const char *const fuzz_seeds[] = {NULL};

enum { SERIAL = 5, STEPS_MAX = 64, SEND_MAX = 60000 };

static const struct millrace_kind kind = {.name = "test.noop"};

static struct {
    int ends[2];
    struct mr_frames frames;
    struct mr_attempt *attempt;
    uint64_t key;
} world;

/* ---- reading ----------------------------------------------------------------------------------- */

enum { HEAD_BYTES = 12 }; /* length and key */

/* The fields of the frame that was written. */
static struct mr_rd
read_again(const struct mr_wr *wr)
{
    struct mr_rd rd;

    MR_ASSERT(wr->status == MR_OK && wr->n > HEAD_BYTES);
    rd = mr_rd_open(mr_span(wr->p + HEAD_BYTES, wr->n - HEAD_BYTES));
    (void)mr_rd_array(&rd, UINT16_MAX);
    (void)mr_rd_uint(&rd, MR_CHILD_LAST);
    return rd;
}

static void
take_start(struct mr_rd *rd)
{
    struct mr_child_start start = {.number = 0}, again = {.number = 0};
    struct mr_arena *arena;
    struct mr_wr wr;

    MR_ASSERT(mr_arena_new(&arena, 1 << 20) == MR_OK);
    if (mr_child_get_start(rd, arena, &start) == MR_OK) {
        mr_wr_init(&wr, MR_FRAME_BYTES_MAX);
        mr_child_put_start(&wr, 1, &start);
        struct mr_rd second = read_again(&wr);
        MR_ASSERT(mr_child_get_start(&second, arena, &again) == MR_OK);
        MR_ASSERT(again.number == start.number && mr_span_eq(again.worker, start.worker));
        MR_ASSERT(strcmp(again.loads, start.loads) == 0 &&
                  strcmp(again.settings.database, start.settings.database) == 0);
        mr_wr_fini(&wr);
    }
    mr_arena_destroy(&arena);
}

static void
take_attempt(struct mr_rd *rd)
{
    struct mr_job_sent sent = {.attempt = 0};
    uint64_t serial;
    enum mr_stop stop;
    uint32_t memory_mib;

    if (mr_child_get_attempt(rd, &sent, &serial, &stop, &memory_mib))
        return;
    MR_ASSERT(stop <= MR_STOP_DRAIN && sent.kind.n <= MR_NAME_BYTES_MAX);
    struct mr_attempt *attempt = mr_attempt_new();
    MR_ASSERT(attempt && mr_attempt_set(attempt, &sent, &kind, serial) == MR_OK);
    MR_ASSERT(mr_span_eq(attempt->payload, sent.payload));
    mr_attempt_destroy(&attempt);
}

static void
take_outcome(struct mr_rd *rd)
{
    struct mr_span worker = mr_span_str("worker");
    const struct mr_done *done = &world.attempt->done;
    enum mr_run_end end, end_again;
    bool is_spent, is_spent_again;
    struct mr_wr wr;

    if (mr_child_get_outcome(rd, world.attempt, worker, &end, &is_spent))
        return;
    MR_ASSERT(done->text.n <= MR_ERROR_BYTES_MAX && done->started_at_us >= 0 &&
              done->finished_at_us >= 0);
    mr_wr_init(&wr, 2 * MR_FRAME_BYTES_MAX);
    mr_child_put_outcome(&wr, world.key, world.attempt, end, is_spent);
    struct mr_rd second = read_again(&wr);
    enum mr_report report = done->report;
    int64_t finished_at_us = done->finished_at_us;
    size_t text_bytes = done->text.n;
    MR_ASSERT(mr_child_get_outcome(
                  &second, world.attempt, worker, &end_again, &is_spent_again) == MR_OK);
    MR_ASSERT(end_again == end && is_spent_again == is_spent);
    MR_ASSERT(end == MR_RUN_TO_STORE ||
              (done->report == report && done->finished_at_us == finished_at_us &&
                  done->text.n == text_bytes));
    mr_wr_fini(&wr);
}

static void
take_seal(struct mr_rd *rd)
{
    struct mr_seal_ask ask = {.status = MR_OK}, again = {.status = MR_OK};
    uint64_t serial, serial_again;
    struct mr_wr wr;

    if (mr_child_get_seal(rd, &serial, &ask))
        return;
    mr_wr_init(&wr, 2 * MR_FRAME_BYTES_MAX);
    mr_child_put_seal(&wr, world.key, serial, &ask);
    struct mr_rd second = read_again(&wr);
    MR_ASSERT(mr_child_get_seal(&second, &serial_again, &again) == MR_OK);
    MR_ASSERT(serial_again == serial && mr_span_eq(again.label, ask.label) &&
              mr_span_eq(again.kind, ask.kind) && mr_span_eq(again.plain, ask.plain));
    mr_wr_fini(&wr);
}

static void
take_words(struct mr_rd *rd)
{
    (void)mr_rd_uint(rd, UINT64_MAX);
    (void)mr_rd_uint(rd, UINT64_MAX);
    (void)mr_rd_bin(rd, MR_PROGRESS_BYTES_MAX);
}

/* False: what came is none of ours, and the connection is over. */
static bool
take_all(void)
{
    static void (*const takes[])(struct mr_rd *) = {
        [MR_CHILD_START] = take_start,
        [MR_CHILD_READY] = take_words,
        [MR_CHILD_REFUSED] = take_words,
        [MR_CHILD_ATTEMPT] = take_attempt,
        [MR_CHILD_STOP] = take_words,
        [MR_CHILD_HANDLED] = take_words,
        [MR_CHILD_PROGRESS] = take_words,
        [MR_CHILD_OUTCOME] = take_outcome,
        [MR_CHILD_BYE] = take_words,
        [MR_CHILD_SEAL] = take_seal,
        [MR_CHILD_SEALED] = take_words,
    };
    enum mr_child_word word;
    enum mr_status status;
    struct mr_rd rd;

    while ((status = mr_frames_next(&world.frames, &word, &rd)) == MR_OK) {
        MR_ASSERT(word <= MR_CHILD_LAST);
        if (takes[word])
            takes[word](&rd);
    }
    MR_ASSERT(status == MR_NOT_FOUND || status == MR_MALFORMED);
    return status == MR_NOT_FOUND;
}

/* ---- writing ------------------------------------------------------------------------------------ */

/* Half of the pieces as they are, the others as frames of ours. */
static bool
step(struct fuzz_in *in)
{
    uint8_t how = fuzz_byte(in), head[HEAD_BYTES];
    size_t n;
    uint8_t *bytes = fuzz_chunk(in, &n);
    uint32_t length = (uint32_t)n;

    memcpy(head, &length, sizeof length);
    memcpy(head + sizeof length, &world.key, sizeof world.key);
    if (how & 1)
        MR_ASSERT(send(world.ends[0], head, sizeof head, 0) == (ssize_t)sizeof head);
    if (n > SEND_MAX)
        n = SEND_MAX;
    MR_ASSERT(n == 0 || send(world.ends[0], bytes, n, 0) == (ssize_t)n);
    free(bytes);
    MR_ASSERT(mr_frames_read(&world.frames, world.ends[1]));
    return take_all();
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct fuzz_in in = {bytes, bytes + n};
    struct mr_job_sent sent = {.attempt = 1, .kind = mr_span_str("test.noop")};
    bool goes_on = true;

    if (world.ends[0] == 0)
        MR_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, world.ends) == 0);
    world.frames = (struct mr_frames){.bytes = NULL};
    world.key = UINT64_C(0x0102030405060708);
    world.attempt = mr_attempt_new();
    MR_ASSERT(
        world.attempt && mr_attempt_set(world.attempt, &sent, &kind, SERIAL) == MR_OK);
    MR_ASSERT(take_all()); /* nothing is there yet */
    for (unsigned i = 0; i < STEPS_MAX && in.p < in.end && goes_on; i++)
        goes_on = step(&in);
    free(world.frames.bytes);
    mr_attempt_destroy(&world.attempt);
    return 0;
}
