#include "worker/committer.h"

#include <stdlib.h>

#include <czmq.h>

#include "schemas/base/arena.h"
#include "schemas/base/clock.h"
#include "schemas/base/log.h"
#include "schemas/sql/finish.h"
#include "worker/attempt.h"
#include "worker/db.h"
#include "worker/note.h"

#define ROWS_MAX 4096u
#define BYTES_MAX ((size_t)8 * 1024 * 1024)
#define ARENA_BYTES_MAX ((size_t)64 * 1024 * 1024) /* what stands already, read back */
#define REFUSALS_MAX 5 /* of a whole batch, for a reason that waiting may not mend */

struct mr_committer {
    struct mr_mailbox *box, *session;
    struct mr_note hurry, stop;
    zactor_t *actor;

    /* Own thread. */
    struct mr_db db;
    struct mr_arena *arena;
    struct mr_attempt *first, *last; /* waiting, through next */
    struct mr_attempt *batch[ROWS_MAX];
    struct mr_finish *finishes[ROWS_MAX];
    uint32_t count;
    unsigned failures; /* in a row */
    bool is_in_doubt;  /* the last try lost its connection */
    bool is_hurried, is_stopping;
};

/* ---- what comes in ------------------------------------------------------------------------- */

static void
take_notes(struct mr_committer *committer)
{
    struct mr_note *note;

    while ((note = mr_note_take(committer->box))) {
        struct mr_attempt *attempt = (struct mr_attempt *)(void *)note;

        if (note->type == MR_NOTE_HURRY) {
            committer->is_hurried = true;
            continue;
        }
        if (note->type == MR_NOTE_STOP) {
            committer->is_stopping = committer->is_hurried = true;
            continue;
        }
        attempt->store_next = NULL;
        if (committer->last)
            committer->last->store_next = attempt;
        else
            committer->first = attempt;
        committer->last = attempt;
    }
}

static void
fill_batch(struct mr_committer *committer)
{
    size_t bytes = 0;

    while (committer->first && committer->count < ROWS_MAX && bytes < BYTES_MAX) {
        struct mr_attempt *attempt = committer->first;

        committer->first = attempt->store_next;
        if (!committer->first)
            committer->last = NULL;
        bytes += attempt->body.n;
        committer->finishes[committer->count] = &attempt->finish;
        committer->batch[committer->count++] = attempt;
    }
}

/* ---- what goes out ------------------------------------------------------------------------- */

/* Rows that were there before: of a try of ours whose COMMIT was not answered, or of another
 * attempt, which was first. */
static void
tell_found(const struct mr_committer *committer)
{
    uint32_t found = 0, late = 0;

    for (uint32_t i = 0; i < committer->count; i++) {
        const struct mr_finish *finish = &committer->batch[i]->finish;

        found += finish->status == MR_FINISHED;
        late += finish->status == MR_FINISHED && finish->found_attempt != finish->attempt;
    }
    if (committer->is_in_doubt)
        mr_log(MR_LOG_INFO, "settled", "results=%u found=%u", committer->count, found);
    if (late)
        mr_log(MR_LOG_INFO, "late", "results=%u", late);
}

/* A row that met another one under way is kept for the next batch. */
static void
give_stored(struct mr_committer *committer)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < committer->count; i++) {
        struct mr_attempt *attempt = committer->batch[i];

        if (attempt->finish.status == MR_BUSY) {
            committer->finishes[kept] = &attempt->finish;
            committer->batch[kept++] = attempt;
            continue;
        }
        mr_attempt_report_stored(attempt);
        mr_note_push(committer->session, &attempt->note);
    }
    committer->count = kept;
    mr_mailbox_ring(committer->session);
}

static void
give_all(struct mr_committer *committer, enum mr_report report, const struct mr_err *err)
{
    for (uint32_t i = 0; i < committer->count; i++) {
        struct mr_attempt *attempt = committer->batch[i];

        mr_attempt_reportf(attempt, report, "the result could not be stored: %s: %s",
            err->what, err->why);
        mr_note_push(committer->session, &attempt->note);
    }
    committer->count = 0;
    mr_mailbox_ring(committer->session);
}

/* ---- one transaction ------------------------------------------------------------------------- */

static enum mr_status
store(struct mr_committer *committer, struct mr_err *err)
{
    enum mr_status status = mr_db_get(&committer->db, err);

    mr_arena_reset(committer->arena);
    if (status)
        return status;
    status = mr_finish_batch(
        committer->db.pg, committer->finishes, committer->count, committer->arena, err);
    committer->is_in_doubt |= status == MR_STORE_DOWN;
    return status;
}

static void
pause_for(struct mr_committer *committer, int ms)
{
    int64_t until_us = mr_clock_now().mono_us + ms * INT64_C(1000);
    int64_t left_us = ms * INT64_C(1000);

    while (left_us > 0 && !committer->is_hurried) {
        mr_mailbox_wait(committer->box, (int)((left_us + 999) / 1000));
        take_notes(committer);
        left_us = until_us - mr_clock_now().mono_us;
    }
}

static void
on_failure(
    struct mr_committer *committer, enum mr_status status, const struct mr_err *err)
{
    bool may_mend = mr_status_is_retryable(status);

    if (committer->failures == 0)
        mr_log(MR_LOG_WARN, "results_kept", "results=%u status=%s why=\"%s: %s\"",
            committer->count, mr_status_name(status), err->what, err->why);
    committer->failures++;
    if (committer->is_hurried)
        give_all(committer, MR_DID_GIVE_BACK, err);
    else if (!may_mend && committer->failures > REFUSALS_MAX)
        give_all(committer, MR_DID_FAIL, err);
    else if (committer->failures > 1) /* a lost connection is often the only trouble */
        pause_for(committer, mr_db_pause_ms(committer->failures - 2));
}

static void
work(struct mr_committer *committer)
{
    while (committer->first || committer->count) {
        struct mr_err err = {0};
        enum mr_status status;

        fill_batch(committer);
        status = store(committer, &err);
        if (status) {
            on_failure(committer, status, &err);
        } else {
            if (committer->failures)
                mr_log(MR_LOG_INFO, "results_stored", "results=%u", committer->count);
            committer->failures = 0;
            tell_found(committer);
            committer->is_in_doubt = false;
            give_stored(committer);
            if (committer->count) /* somebody's transaction is in the way */
                pause_for(committer, mr_db_pause_ms(0));
        }
        take_notes(committer);
    }
}

static void
run(zsock_t *pipe, void *argument)
{
    struct mr_committer *committer = argument;

    mr_log_thread("committer");
    zsock_signal(pipe, 0);
    while (!committer->is_stopping) {
        mr_mailbox_wait(committer->box, -1);
        take_notes(committer);
        work(committer);
    }
    mr_db_close(&committer->db);
}

/* ---- life -------------------------------------------------------------------------------------- */

enum mr_status
mr_committer_new(struct mr_committer **out, const char *conninfo, const char *db_name,
    struct mr_mailbox *session)
{
    struct mr_committer *committer = calloc(1, sizeof *committer);

    *out = NULL;
    if (!committer)
        return MR_NO_MEMORY;
    committer->session = session;
    committer->db = (struct mr_db){.conninfo = conninfo, .name = db_name};
    committer->hurry.type = MR_NOTE_HURRY;
    committer->stop.type = MR_NOTE_STOP;
    if (mr_mailbox_new(&committer->box) ||
        mr_arena_new(&committer->arena, ARENA_BYTES_MAX))
        goto fail;
    committer->actor = zactor_new(run, committer);
    if (!committer->actor)
        goto fail;
    *out = committer;
    return MR_OK;
fail:
    mr_committer_destroy(&committer);
    return MR_NO_MEMORY;
}

struct mr_mailbox *
mr_committer_box(struct mr_committer *committer)
{
    return committer->box;
}

void
mr_committer_hurry(struct mr_committer *committer)
{
    mr_note_give(committer->box, &committer->hurry);
}

void
mr_committer_destroy(struct mr_committer **committer)
{
    struct mr_committer *gone = *committer;

    if (!gone)
        return;
    if (gone->actor) {
        mr_note_give(gone->box, &gone->stop);
        zactor_destroy(&gone->actor);
    }
    mr_arena_destroy(&gone->arena);
    mr_mailbox_destroy(&gone->box);
    free(gone);
    *committer = NULL;
}
