#include "broker/zap.h"

#include "schemas/base/clock.h"
#include "schemas/base/hash.h"
#include "schemas/base/log.h"

#include <czmq.h>
#include <zmq.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define ENDPOINT "inproc://zeromq.zap.01"
#define FRAME_BYTES 256 /* a part of a question; none of libzmq's is longer */
#define NOTES 32        /* refusals that the loop has not looked at */
#define NOTES_PER_SECOND 20u
#define SECOND_US 1000000
#define KEY_BYTES 32 /* as they travel */
#define NOBODY UINT32_MAX

struct part {
    size_t n;
    uint8_t bytes[FRAME_BYTES];
};

/* The parts of a question, in their order. */
enum { VERSION, REQUEST, DOMAIN, ADDRESS, ROUTING, MECHANISM, CREDENTIAL, PARTS };

/* A table of keys. Filled in by two threads, one after the other: first the keys, then slots. */
struct snapshot {
    struct mr_node node;
    struct mr_zap_key *keys;
    uint32_t *slots; /* index of a key, NOBODY if free */
    size_t count;
    uint64_t mask;
};

struct mr_zap {
    void *context;
    struct mr_mailbox *box;   /* snapshots, for the thread */
    struct mr_mailbox *told;  /* refusals, for the loop */
    struct mr_mailbox *spare; /* ... and back */
    struct mr_zap_refusal notes[NOTES];
    zactor_t *actor;
    atomic_uint_fast64_t keys, admitted, refused[MR_ZAP_REASONS];

    /* The thread's own. */
    void *socket;
    struct snapshot *now; /* NULL: none yet */
    struct mr_hash_key hash_key;
    struct part parts[PARTS];
    int64_t window_us;
    uint32_t told_in_window;
    uint64_t withheld;
};

static const char *const reasons[MR_ZAP_REASONS] = {[MR_ZAP_UNKNOWN_KEY] = "unknown key",
    [MR_ZAP_TOO_EARLY] = "keys not read yet",
    [MR_ZAP_MECHANISM] = "wrong mechanism",
    [MR_ZAP_MALFORMED] = "malformed"};

const char *
mr_zap_reason_text(enum mr_zap_reason reason)
{
    return reasons[reason];
}

static void
count(atomic_uint_fast64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* ---- the keys --------------------------------------------------------------------------------- */

static uint64_t
home_of(const struct mr_zap *zap, const char *key)
{
    return mr_hash(zap->hash_key, mr_span(key, MR_CURVE_TEXT));
}

/* The same key twice does no harm. At most half of the slots are taken. */
static void
index_keys(const struct mr_zap *zap, struct snapshot *snapshot)
{
    memset(snapshot->slots, 0xff, (snapshot->mask + 1) * sizeof *snapshot->slots);
    for (size_t i = 0; i < snapshot->count; i++) {
        uint64_t at = home_of(zap, snapshot->keys[i].text) & snapshot->mask;

        while (snapshot->slots[at] != NOBODY)
            at = (at + 1) & snapshot->mask;
        snapshot->slots[at] = (uint32_t)i;
    }
}

static bool
is_known(const struct mr_zap *zap, const char *key)
{
    const struct snapshot *now = zap->now;
    uint64_t at = home_of(zap, key) & now->mask;

    for (; now->slots[at] != NOBODY; at = (at + 1) & now->mask) {
        if (memcmp(now->keys[now->slots[at]].text, key, MR_CURVE_TEXT) == 0)
            return true;
    }
    return false;
}

static struct snapshot *
snapshot_new(const struct mr_zap_key *keys, size_t n)
{
    size_t slots = 2;
    struct snapshot *out = calloc(1, sizeof *out);

    while (slots < n * 2)
        slots *= 2;
    if (!out)
        return NULL;
    out->keys = malloc((n ? n : 1) * sizeof *keys);
    out->slots = malloc(slots * sizeof *out->slots);
    out->count = n;
    out->mask = slots - 1;
    if (out->keys && n)
        memcpy(out->keys, keys, n * sizeof *keys);
    return out;
}

static void
snapshot_free(struct snapshot *snapshot)
{
    if (!snapshot)
        return;
    free(snapshot->keys);
    free(snapshot->slots);
    free(snapshot);
}

enum mr_status
mr_zap_publish(struct mr_zap *zap, const struct mr_zap_key *keys, size_t n)
{
    struct snapshot *fresh;

    if (!zap)
        return MR_OK;
    fresh = n < NOBODY ? snapshot_new(keys, n) : NULL;
    if (!fresh || !fresh->keys || !fresh->slots) {
        snapshot_free(fresh);
        return MR_NO_MEMORY;
    }
    mr_mailbox_give(zap->box, &fresh->node);
    return MR_OK;
}

static void
take_snapshots(struct mr_zap *zap)
{
    struct mr_node *node;

    mr_mailbox_hush(zap->box);
    while ((node = mr_mailbox_take(zap->box)) != NULL) {
        struct snapshot *fresh = (struct snapshot *)node;

        index_keys(zap, fresh);
        snapshot_free(zap->now);
        zap->now = fresh;
        atomic_store_explicit(&zap->keys, fresh->count, memory_order_relaxed);
    }
}

/* ---- refusals --------------------------------------------------------------------------------- */

static bool
may_tell(struct mr_zap *zap)
{
    int64_t now_us = mr_clock_mono_us();

    if (now_us - zap->window_us >= SECOND_US) {
        zap->window_us = now_us;
        zap->told_in_window = 0;
    }
    return zap->told_in_window < NOTES_PER_SECOND;
}

static void
tell(struct mr_zap *zap, enum mr_zap_reason reason, const char *key)
{
    const struct part *address = &zap->parts[ADDRESS];
    struct mr_zap_refusal *note;
    size_t n = address->n < MR_ZAP_ADDRESS_BYTES ? address->n : MR_ZAP_ADDRESS_BYTES - 1;

    count(&zap->refused[reason]);
    if (reason == MR_ZAP_TOO_EARLY)
        return; /* nobody's fault */
    note = may_tell(zap) ? (struct mr_zap_refusal *)mr_mailbox_take(zap->spare) : NULL;
    if (!note) {
        zap->withheld++;
        return;
    }
    note->reason = reason;
    memcpy(note->address, address->bytes, n);
    note->address[n] = '\0';
    memcpy(note->key, key, MR_CURVE_ROOM);
    note->withheld = zap->withheld;
    zap->withheld = 0;
    zap->told_in_window++;
    mr_mailbox_give(zap->told, &note->node);
}

/* ---- a question -------------------------------------------------------------------------------- */

static bool
is(const struct part *part, const char *text)
{
    return part->n == strlen(text) && memcmp(part->bytes, text, part->n) == 0;
}

/* All its frames; false if there are too many, too few or too long ones. */
static bool
take_question(struct mr_zap *zap)
{
    size_t more_bytes = sizeof(int);
    uint8_t rest[FRAME_BYTES];
    bool is_good = true;
    int more = 1, parts = 0;

    for (; more; parts++) {
        struct part *part = parts < PARTS ? &zap->parts[parts] : NULL;
        int n;

        do
            n = zmq_recv(zap->socket, part ? part->bytes : rest, FRAME_BYTES, 0);
        while (n < 0 && errno == EINTR);
        MR_ASSERT(n >= 0);
        is_good = is_good && n <= FRAME_BYTES;
        if (part)
            part->n = n < FRAME_BYTES ? (size_t)n : FRAME_BYTES;
        MR_ASSERT(zmq_getsockopt(zap->socket, ZMQ_RCVMORE, &more, &more_bytes) == 0);
    }
    for (int i = parts; i < PARTS; i++)
        zap->parts[i].n = 0;
    return is_good && parts >= CREDENTIAL && is(&zap->parts[VERSION], "1.0");
}

static void
send_part(struct mr_zap *zap, const void *bytes, size_t n, int flags)
{
    int rc;

    do
        rc = zmq_send(zap->socket, bytes, n, flags);
    while (rc < 0 && errno == EINTR);
    MR_ASSERT(rc >= 0);
}

static void
answer(struct mr_zap *zap, const char *code, const char *text, const char *user)
{
    const struct part *request = &zap->parts[REQUEST];

    send_part(zap, "1.0", 3, ZMQ_SNDMORE);
    send_part(zap, request->bytes, request->n, ZMQ_SNDMORE);
    send_part(zap, code, strlen(code), ZMQ_SNDMORE);
    send_part(zap, text, strlen(text), ZMQ_SNDMORE);
    send_part(zap, user, strlen(user), ZMQ_SNDMORE);
    send_part(zap, "", 0, 0);
}

static void
admit(struct mr_zap *zap, const char *user)
{
    count(&zap->admitted);
    answer(zap, "200", "OK", user);
}

static void
refuse(struct mr_zap *zap, enum mr_zap_reason reason, const char *key)
{
    static const char no_key[MR_CURVE_ROOM] = "";

    tell(zap, reason, key ? key : no_key);
    /* 500 is no verdict on the peer, which tries again soon. (300 would be the number for that, but
     * libzmq answers it with silence until the handshake is given up.) */
    if (reason == MR_ZAP_TOO_EARLY)
        answer(zap, "500", "not yet", "");
    else
        answer(zap, "400", "refused", "");
}

static void
judge_key(struct mr_zap *zap)
{
    char key[MR_CURVE_ROOM];

    if (!is(&zap->parts[MECHANISM], "CURVE") || zap->parts[CREDENTIAL].n != KEY_BYTES) {
        refuse(zap, MR_ZAP_MECHANISM, NULL);
        return;
    }
    MR_ASSERT(zmq_z85_encode(key, zap->parts[CREDENTIAL].bytes, KEY_BYTES) == key);
    if (!zap->now)
        refuse(zap, MR_ZAP_TOO_EARLY, key);
    else if (is_known(zap, key))
        admit(zap, key);
    else
        refuse(zap, MR_ZAP_UNKNOWN_KEY, key);
}

static void
judge(struct mr_zap *zap)
{
    const struct part *domain = &zap->parts[DOMAIN];
    bool is_plain = is(&zap->parts[MECHANISM], "NULL");

    if (is(domain, mr_curve_domain(MR_CURVE_BY_KEY)))
        judge_key(zap);
    else if (is_plain && is(domain, mr_curve_domain(MR_CURVE_BY_HOST)))
        admit(zap, MR_CURVE_LOCAL);
    else if (is_plain && is(domain, mr_curve_domain(MR_CURVE_BY_ALL)))
        admit(zap, MR_CURVE_ANYONE);
    else
        refuse(zap, MR_ZAP_MECHANISM, NULL);
}

/* ---- the thread -------------------------------------------------------------------------------- */

static bool
is_told_to_end(zsock_t *pipe)
{
    char *word = zstr_recv(pipe);
    bool is_end = word && strcmp(word, "$TERM") == 0;

    freen(word);
    return is_end;
}

static void
serve(struct mr_zap *zap, zsock_t *pipe)
{
    zmq_pollitem_t items[] = {
        {.socket = zap->socket, .events = ZMQ_POLLIN},
        {.fd = mr_mailbox_fd(zap->box), .events = ZMQ_POLLIN},
        {.socket = zsock_resolve(pipe), .events = ZMQ_POLLIN},
    };

    for (;;) {
        int rc = zmq_poll(items, sizeof items / sizeof *items, -1);

        MR_ASSERT(rc >= 0 || errno == EINTR);
        if (rc < 0)
            continue;
        /* Keys first: who asks now is judged by the newest. */
        if (items[1].revents)
            take_snapshots(zap);
        if (items[0].revents) {
            if (take_question(zap))
                judge(zap);
            else
                refuse(zap, MR_ZAP_MALFORMED, NULL);
        }
        if (items[2].revents && is_told_to_end(pipe))
            return;
    }
}

static void
run(zsock_t *pipe, void *argument)
{
    struct mr_zap *zap = argument;
    int linger_ms = 0;

    mr_log_thread("zap");
    zap->socket = zmq_socket(zap->context, ZMQ_REP);
    MR_ASSERT(zap->socket && zmq_bind(zap->socket, ENDPOINT) == 0);
    (void)zsock_signal(pipe, 0);
    serve(zap, pipe);
    (void)zmq_setsockopt(zap->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    (void)zmq_close(zap->socket);
}

/* ---- from outside ---------------------------------------------------------------------------- */

enum mr_status
mr_zap_new(struct mr_zap **out, void *context)
{
    struct mr_zap *zap = calloc(1, sizeof *zap);

    *out = NULL;
    if (!zap)
        return MR_NO_MEMORY;
    zap->context = context;
    zap->hash_key = mr_hash_key_random();
    if (mr_mailbox_new(&zap->box) || mr_mailbox_new(&zap->told) ||
        mr_mailbox_new(&zap->spare))
        goto fail;
    for (int i = 0; i < NOTES; i++)
        mr_mailbox_push(zap->spare, &zap->notes[i].node);
    zap->actor = zactor_new(run, zap);
    if (!zap->actor)
        goto fail;
    *out = zap;
    return MR_OK;
fail:
    mr_zap_destroy(&zap);
    return MR_NO_MEMORY;
}

void
mr_zap_destroy(struct mr_zap **zap)
{
    struct mr_zap *gone = *zap;
    struct mr_node *node;

    if (!gone)
        return;
    if (gone->actor)
        zactor_destroy(&gone->actor);
    while (gone->box && (node = mr_mailbox_take(gone->box)) != NULL)
        snapshot_free((struct snapshot *)node);
    snapshot_free(gone->now);
    mr_mailbox_destroy(&gone->box);
    mr_mailbox_destroy(&gone->told);
    mr_mailbox_destroy(&gone->spare);
    free(gone);
    *zap = NULL;
}

void
mr_zap_counts(const struct mr_zap *zap, struct mr_zap_counts *out)
{
    *out = (struct mr_zap_counts){0};
    if (!zap)
        return;
    out->keys = atomic_load_explicit(&zap->keys, memory_order_relaxed);
    out->admitted = atomic_load_explicit(&zap->admitted, memory_order_relaxed);
    for (int i = 0; i < MR_ZAP_REASONS; i++)
        out->refused[i] = atomic_load_explicit(&zap->refused[i], memory_order_relaxed);
}

int
mr_zap_fd(const struct mr_zap *zap)
{
    return mr_mailbox_fd(zap->told);
}

void
mr_zap_hush(struct mr_zap *zap)
{
    mr_mailbox_hush(zap->told);
}

struct mr_zap_refusal *
mr_zap_take(struct mr_zap *zap)
{
    return (struct mr_zap_refusal *)mr_mailbox_take(zap->told);
}

void
mr_zap_give_back(struct mr_zap *zap, struct mr_zap_refusal *refusal)
{
    mr_mailbox_push(zap->spare, &refusal->node);
}
