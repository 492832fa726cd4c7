#include "worker/canceller.h"

#include <stdlib.h>

#include <czmq.h>

#include "schemas/base/log.h"

/* The two low bits of the phase; the serial stands above them. */
enum {
    CLOSED = 0,
    OPEN = 1,
    CANCELLING = 2,
    AWAITED = 3, /* cancelling, and the executor waits for the end of it */
};
#define PHASE(serial, bits) ((uint64_t)(serial) << 2 | (bits))
#define GROUP (UINT64_MAX >> 2) /* in the place of a serial */

struct request {
    struct mr_note note;
    struct mr_guard *guard;
    uint64_t serial;
};

struct mr_canceller {
    struct mr_mailbox *box;
    struct mr_note stop;
    zactor_t *actor;
};

/* ---- the executor's side ------------------------------------------------------------------ */

void
mr_canceller_guard_init(struct mr_guard *guard, struct mr_mailbox *box)
{
    atomic_init(&guard->phase, CLOSED);
    atomic_init(&guard->handle, NULL);
    atomic_init(&guard->member_count, 0);
    guard->box = box;
    guard->wake.type = MR_NOTE_WAKE;
}

void
mr_canceller_guard_fini(struct mr_guard *guard)
{
    mr_canceller_guard_give(guard, NULL);
}

void
mr_canceller_guard_open(struct mr_guard *guard, uint64_t serial)
{
    atomic_store(&guard->phase, PHASE(serial, OPEN));
}

void
mr_canceller_guard_open_group(
    struct mr_guard *guard, const uint64_t *serials, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        atomic_store_explicit(&guard->members[i], serials[i], memory_order_relaxed);
    atomic_store_explicit(&guard->member_count, count, memory_order_relaxed);
    atomic_store(&guard->phase, PHASE(GROUP, OPEN));
}

bool
mr_canceller_guard_close(struct mr_guard *guard)
{
    uint64_t phase = atomic_load(&guard->phase);

    for (;;) {
        uint64_t serial = phase >> 2;

        if ((phase & 3) == CLOSED)
            return true;
        MR_ASSERT((phase & 3) != AWAITED);
        if ((phase & 3) == OPEN) {
            if (atomic_compare_exchange_strong(&guard->phase, &phase, CLOSED))
                return true;
        } else if (atomic_compare_exchange_strong(
                       &guard->phase, &phase, PHASE(serial, AWAITED))) {
            return false;
        }
    }
}

void
mr_canceller_guard_give(struct mr_guard *guard, struct mr_pg_cancel *handle)
{
    struct mr_pg_cancel *old = atomic_exchange(&guard->handle, handle);

    mr_pg_cancel_free(&old);
}

/* ---- the thread ----------------------------------------------------------------------------- */

static void
cancel_sql(struct mr_guard *guard)
{
    struct mr_pg_cancel *handle = atomic_exchange(&guard->handle, NULL);
    struct mr_pg_cancel *none = NULL;

    if (!handle)
        return;
    if (mr_pg_cancel(handle))
        mr_log(MR_LOG_DEBUG, "cancel_failed", "why=\"the server did not take it\"");
    /* The executor may have connected again meanwhile; then this one is stale. */
    if (!atomic_compare_exchange_strong(&guard->handle, &none, handle))
        mr_pg_cancel_free(&handle);
}

/* While it is being cancelled, and so cannot be closed. */
static bool
is_member(const struct mr_guard *guard, uint64_t serial)
{
    uint32_t count = atomic_load_explicit(&guard->member_count, memory_order_relaxed);

    for (uint32_t i = 0; i < count; i++)
        if (atomic_load_explicit(&guard->members[i], memory_order_relaxed) == serial)
            return true;
    return false;
}

static bool
begin(struct mr_guard *guard, uint64_t serial)
{
    uint64_t phase = PHASE(serial, OPEN);

    return atomic_compare_exchange_strong(
        &guard->phase, &phase, PHASE(serial, CANCELLING));
}

static void
serve(const struct request *request)
{
    struct mr_guard *guard = request->guard;
    uint64_t serial = request->serial, phase;

    if (!begin(guard, serial)) {
        serial = GROUP;
        if (!begin(guard, serial))
            return;
    }
    if (serial != GROUP || is_member(guard, request->serial))
        cancel_sql(guard);
    phase = PHASE(serial, CANCELLING);
    if (atomic_compare_exchange_strong(&guard->phase, &phase, PHASE(serial, OPEN)))
        return;
    atomic_store(&guard->phase, CLOSED);
    mr_note_give(guard->box, &guard->wake);
}

static void
run(zsock_t *pipe, void *argument)
{
    struct mr_canceller *canceller = argument;
    bool is_over = false;

    mr_log_thread("canceller");
    zsock_signal(pipe, 0);
    while (!is_over) {
        struct mr_note *note;

        mr_mailbox_wait(canceller->box, -1);
        while ((note = mr_note_take(canceller->box))) {
            if (note->type == MR_NOTE_STOP) {
                is_over = true;
                continue;
            }
            if (!is_over)
                serve((struct request *)(void *)note);
            free(note);
        }
    }
}

enum mr_status
mr_canceller_new(struct mr_canceller **out)
{
    struct mr_canceller *canceller = calloc(1, sizeof *canceller);

    *out = NULL;
    if (!canceller)
        return MR_NO_MEMORY;
    canceller->stop.type = MR_NOTE_STOP;
    if (mr_mailbox_new(&canceller->box))
        goto fail;
    canceller->actor = zactor_new(run, canceller);
    if (!canceller->actor)
        goto fail;
    *out = canceller;
    return MR_OK;
fail:
    mr_canceller_destroy(&canceller);
    return MR_NO_MEMORY;
}

void
mr_canceller_destroy(struct mr_canceller **canceller)
{
    struct mr_canceller *gone = *canceller;
    struct mr_note *note;

    if (!gone)
        return;
    if (gone->actor) {
        mr_note_give(gone->box, &gone->stop);
        zactor_destroy(&gone->actor);
    }
    while (gone->box && (note = mr_note_take(gone->box)))
        if (note != &gone->stop)
            free(note);
    mr_mailbox_destroy(&gone->box);
    free(gone);
    *canceller = NULL;
}

void
mr_canceller_ask(struct mr_canceller *canceller, struct mr_guard *guard, uint64_t serial)
{
    struct request *request = malloc(sizeof *request);

    if (!request)
        return; /* the session asks again while the attempt runs */
    *request =
        (struct request){.note.type = MR_NOTE_CANCEL, .guard = guard, .serial = serial};
    mr_note_give(canceller->box, &request->note);
}
