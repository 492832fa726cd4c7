#include "broker/loop.h"

#include "broker/audit.h"
#include "broker/door.h"
#include "broker/errand.h"
#include "broker/guard.h"
#include "broker/keys.h"
#include "broker/ready.h"
#include "broker/talk.h"
#include "broker/writer.h"
#include "broker/zap.h"
#include "schemas/base/log.h"
#include "schemas/wire/frames.h"

#include <zmq.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define TAKE_MESSAGES 256             /* of one socket in one turn */
#define TAKE_BYTES (8u * 1024 * 1024) /* likewise */
#define HEARTBEATS_MISSED_MAX 3       /* as the core counts */
#define PROBE_US 500000               /* workers that hold jobs */
#define SET_ASIDE_US 5000             /* a full pipe is tried again */
#define OVERSLEPT_US_MIN 250000       /* less may be a turn with much to do */
#define STOP_US 3000000               /* for the writer, beside drain_ms */
#define SLEEP_US_MAX (60 * INT64_C(1000000))

/* ---- taking in ------------------------------------------------------------------------------- */

static bool
receive(zmq_msg_t *msg, void *socket)
{
    int rc;

    do
        rc = zmq_msg_recv(msg, socket, ZMQ_DONTWAIT);
    while (rc < 0 && errno == EINTR);
    MR_ASSERT(rc >= 0 || errno == EAGAIN);
    return rc >= 0;
}

static struct mr_span
bytes_of(zmq_msg_t *msg)
{
    return mr_span(zmq_msg_data(msg), zmq_msg_size(msg));
}

/* Who sent it, as zap.c has found. The routing id does not tell: libzmq forgets it there. */
static struct mr_span
user_of(zmq_msg_t *body)
{
    return mr_span_str(zmq_msg_gets(body, "User-Id"));
}

/* What a frame was on its way: encrypted it has 33 bytes more; then a header. */
static size_t
wire_bytes(zmq_msg_t *frame, bool is_encrypted)
{
    size_t n = zmq_msg_size(frame) + (is_encrypted ? 33 : 0);

    return n + (n > UINT8_MAX ? 9 : 2);
}

/* The first of several frames is in `frame`. */
static size_t
join_frames(
    struct mr_broker *broker, enum mr_side side, zmq_msg_t *routing, zmq_msg_t *frame)
{
    size_t joined = 0, n = 0, wire_n = 0;
    bool is_last, fits = true, is_encrypted = user_of(frame).n == MR_CURVE_TEXT;

    do {
        size_t frame_n = zmq_msg_size(frame);

        is_last = !zmq_msg_more(frame);
        fits = fits && mr_frame_fits(joined, frame_n, is_last);
        if (fits) {
            memcpy(broker->joined + joined, zmq_msg_data(frame), frame_n);
            joined += frame_n;
        }
        n += frame_n;
        wire_n += wire_bytes(frame, is_encrypted);
    } while (!is_last && receive(frame, broker->sockets[side]));
    mr_door_heard(broker, side, zmq_msg_get(frame, ZMQ_SRCFD), bytes_of(routing), wire_n);
    (void)mr_meter_to(&broker->meter, MR_METER_DECODE);
    if (fits)
        mr_talk_message(broker, side, bytes_of(routing), user_of(frame),
            mr_span(broker->joined, joined));
    else
        mr_talk_multipart(broker, side, bytes_of(routing));
    (void)mr_meter_to(&broker->meter, MR_METER_RECEIVE);
    return n;
}

/* The routing id is here; a message comes whole or not at all. */
static size_t
take_body(
    struct mr_broker *broker, enum mr_side side, zmq_msg_t *routing, zmq_msg_t *body)
{
    void *socket = broker->sockets[side];
    size_t n;

    if (!zmq_msg_more(routing) || !receive(body, socket))
        return 0;
    if (!zmq_msg_more(body)) {
        n = zmq_msg_size(body);
        mr_door_heard(broker, side, zmq_msg_get(body, ZMQ_SRCFD), bytes_of(routing),
            wire_bytes(body, user_of(body).n == MR_CURVE_TEXT));
        (void)mr_meter_to(&broker->meter, MR_METER_DECODE);
        mr_talk_message(broker, side, bytes_of(routing), user_of(body), bytes_of(body));
        (void)mr_meter_to(&broker->meter, MR_METER_RECEIVE);
        return n;
    }
    return join_frames(broker, side, routing, body);
}

/* True: there may be more. */
static bool
take_in(struct mr_broker *broker, enum mr_side side)
{
    zmq_msg_t routing, body;
    size_t bytes = 0;
    bool is_empty = false;

    (void)zmq_msg_init(&routing);
    (void)zmq_msg_init(&body);
    for (int n = 0; n < TAKE_MESSAGES && bytes < TAKE_BYTES && !is_empty; n++) {
        if (receive(&routing, broker->sockets[side]))
            bytes += take_body(broker, side, &routing, &body);
        else
            is_empty = true;
    }
    (void)zmq_msg_close(&routing);
    (void)zmq_msg_close(&body);
    return !is_empty;
}

/* ---- stopping -------------------------------------------------------------------------------- */

static void
drain(struct mr_broker *broker, const char *why)
{
    mr_log(MR_LOG_INFO, "draining", "reason=\"%s\"", why);
    broker->phase = MR_PHASE_DRAINING;
    broker->drain_until_us = broker->now.mono_us + broker->settings->drain_ms * 1000;
    mr_core_drain(broker->core, broker->now);
}

static void
take_signals(struct mr_broker *broker)
{
    struct signalfd_siginfo info;

    while (read(broker->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (broker->phase == MR_PHASE_DRAINING || broker->phase == MR_PHASE_ENDED) {
            broker->is_hurried = true;
            broker->phase = MR_PHASE_ENDED;
        } else {
            drain(broker, info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT or SIGHUP");
        }
    }
}

static bool
has_drained(const struct mr_broker *broker)
{
    struct mr_core_stats stats;

    mr_core_stats(broker->core, &stats);
    return mr_errand_is_idle(broker->errand) && mr_audit_is_idle(broker) &&
           !stats.storing && !stats.settling;
}

static void
step(struct mr_broker *broker)
{
    if (broker->fatal.status && broker->phase != MR_PHASE_ENDED) {
        mr_talk_bye(broker, broker->fatal.what);
        broker->phase = MR_PHASE_ENDED;
    }
    if (broker->phase == MR_PHASE_DRAINING)
        mr_audit_flush(broker);
    if (broker->phase == MR_PHASE_DRAINING &&
        (has_drained(broker) || broker->now.mono_us >= broker->drain_until_us)) {
        mr_talk_bye(broker, "the broker is being stopped");
        broker->phase = MR_PHASE_ENDED;
    }
    if (broker->phase == MR_PHASE_SERVING && !broker->is_announced &&
        !mr_core_is_loading(broker->core)) {
        broker->is_announced = true;
        if (mr_ready_write(broker->settings->ready_file, broker->bound[MR_FRONT],
                broker->bound[MR_BACK], &broker->fatal))
            broker->phase = MR_PHASE_ENDED;
    }
}

/* ---- a turn --------------------------------------------------------------------------------------- */

/* Peers that could not be reached in the last turn leave now: sending happens in the middle
 * of the core's work. */
static void
reap(struct mr_broker *broker)
{
    uint32_t number;

    while ((number = mr_gather_next_gone(broker->gather)) != MR_NO_SESSION_NUMBER) {
        bool was_slow = mr_session_at(broker->sessions, number)->was_slow;

        mr_core_leaves(broker->core, broker->now, number,
            mr_span_str(was_slow ? "does not read what it is sent" : "unreachable"));
        /* The core knew nothing of it: it must not come up for ever. */
        if (mr_session_at(broker->sessions, number) &&
            mr_session_at(broker->sessions, number)->is_gone) {
            mr_gather_drop(broker->gather, number);
            mr_session_remove(broker->sessions, number);
        }
    }
}

static int64_t
sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* What the peers said while we did not run may still be on its way into our sockets. Those that
 * gave up waiting for us are about to connect again: that their old connections are gone says
 * nothing about them, so for a while only silence counts. */
static void
look_at_clock(struct mr_broker *broker)
{
    int64_t late_us = broker->now.mono_us - broker->due_us;

    if (broker->due_us && late_us >= OVERSLEPT_US_MIN &&
        late_us >= broker->settings->heartbeat_ms * 1000) {
        mr_log(MR_LOG_WARN, "overslept", "ms=%lld", (long long)(late_us / 1000));
        mr_core_overslept(broker->core, broker->now);
        broker->probe_us = broker->forgives_until_us =
            broker->now.mono_us +
            HEARTBEATS_MISSED_MAX * broker->settings->heartbeat_ms * 1000;
    }
}

/* Returns when the next one is due. */
static int64_t
turn(struct mr_broker *broker)
{
    int64_t next;
    bool has_more, may_reap;

    broker->now = mr_clock_now();
    broker->counters.turns++;
    (void)mr_meter_to(&broker->meter, MR_METER_RECEIVE);
    look_at_clock(broker);
    may_reap = broker->now.mono_us >= broker->forgives_until_us;
    if (broker->has_signals)
        take_signals(broker);
    if (broker->has_doors) {
        mr_door_look(broker);
        mr_keys_look(broker);
    }
    has_more = take_in(broker, MR_FRONT);
    has_more = take_in(broker, MR_BACK) || has_more;
    (void)mr_meter_to(&broker->meter, MR_METER_SCHEDULE);
    mr_errand_collect(broker->errand);
    mr_errand_dispatch(broker->errand); /* the writer need not wait for us to match */
    if (broker->now.mono_us >= broker->probe_us) {
        broker->probe_us = broker->now.mono_us + PROBE_US;
        mr_talk_probe(broker);
    }
    mr_guard_tick(broker);
    if (may_reap)
        reap(broker);
    next = mr_core_tick(broker->core, broker->now);
    step(broker);
    mr_errand_dispatch(broker->errand);
    mr_audit_dispatch(broker);
    mr_gather_flush(broker->gather);
    next = sooner(next, mr_door_watch(broker, !has_more));
    if (has_more || (may_reap && mr_gather_has_gone(broker->gather)))
        return 0;
    if (mr_gather_is_waiting(broker->gather))
        next = sooner(next, broker->now.mono_us + SET_ASIDE_US);
    if (broker->phase == MR_PHASE_DRAINING)
        next = sooner(next, broker->drain_until_us);
    next = sooner(sooner(next, broker->probe_us), mr_guard_next_us(broker));
    next = sooner(next, mr_audit_next_us(broker));
    return sooner(next, mr_errand_next_us(broker->errand));
}

static void
sleep_until(struct mr_broker *broker, int64_t next_us)
{
    zmq_pollitem_t items[] = {
        {.socket = broker->sockets[MR_FRONT], .events = ZMQ_POLLIN},
        {.socket = broker->sockets[MR_BACK], .events = ZMQ_POLLIN},
        {.fd = mr_mailbox_fd(broker->answers), .events = ZMQ_POLLIN},
        {.fd = broker->signals, .events = ZMQ_POLLIN},
        {.socket = broker->door_events[MR_FRONT], .events = ZMQ_POLLIN},
        {.socket = broker->door_events[MR_BACK], .events = ZMQ_POLLIN},
        {.fd = mr_zap_fd(broker->zap), .events = ZMQ_POLLIN},
    };
    int64_t left_us = next_us - mr_clock_now().mono_us;
    int count;

    broker->has_signals = broker->has_doors = broker->has_answers = true;
    if (left_us <= 0)
        return;
    if (left_us > SLEEP_US_MAX)
        left_us = SLEEP_US_MAX;
    (void)mr_meter_to(&broker->meter, MR_METER_WAIT);
    /* Interrupted: the next turn looks at everything. */
    count = zmq_poll(items, sizeof items / sizeof *items, (long)((left_us + 999) / 1000));
    if (count < 0)
        return;
    broker->has_answers = items[2].revents;
    broker->has_signals = items[3].revents;
    broker->has_doors = items[4].revents || items[5].revents || items[6].revents;
}

/* What is with the writer comes back before we free anything; a database that does not answer
 * must not keep us. */
static void
stop_writer(struct mr_broker *broker)
{
    int64_t until_us = mr_clock_now().mono_us + STOP_US;

    mr_writer_stop(broker->writer);
    while (!broker->writer_has_stopped && mr_clock_now().mono_us < until_us) {
        mr_mailbox_wait(broker->answers, 100);
        broker->now = mr_clock_now();
        mr_errand_collect(broker->errand);
        take_signals(broker);
        if (broker->is_hurried)
            return;
    }
}

enum mr_status
mr_loop_run(struct mr_broker *broker)
{
    broker->has_signals = broker->has_doors = broker->has_answers = true;
    while (broker->phase != MR_PHASE_ENDED) {
        int64_t next_us = turn(broker);

        broker->due_us = sooner(next_us, broker->now.mono_us + SLEEP_US_MAX);
        if (broker->phase != MR_PHASE_ENDED)
            sleep_until(broker, next_us);
    }
    mr_gather_flush(broker->gather);
    if (!broker->is_hurried)
        stop_writer(broker);
    return broker->fatal.status;
}
