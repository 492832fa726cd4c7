#include "broker/audit.h"

#include "broker/core/rights.h"
#include "broker/writer.h"
#include "schemas/base/hash.h"
#include "schemas/base/log.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW_US 1000000
#define RETRY_US 1000000      /* after the database refused rows */
#define GATHERED_MAX 64u      /* kinds of refusals in one window */
#define OF_ONE_PRINCIPAL 8u   /* nobody's noise hides what others do */
#define TASKS_WAITING_MAX 16u /* rows that wait for the database: so many tasks full */

#define PRINCIPAL_BYTES 64u
#define KEY_BYTES 40u
#define ACTION_BYTES 32u
#define OBJECT_BYTES 128u
#define DETAIL_BYTES 160u
#define SOURCE_BYTES 64u

/* One kind of refusal of this window. The texts lie one after another in `text`. */
struct gathered {
    uint64_t hash, count;
    int64_t at_us;
    struct mr_audit what;
    uint8_t text[PRINCIPAL_BYTES + KEY_BYTES + ACTION_BYTES + OBJECT_BYTES +
                 DETAIL_BYTES + SOURCE_BYTES];
};

struct mr_auditor {
    struct mr_hash_key hash_key;
    struct gathered gathered[GATHERED_MAX + 1]; /* the last one is for looking */
    uint32_t gathered_count;
    uint64_t others;
    int64_t until_us;             /* when the window ends, monotonic; 0: it is not open */
    struct mr_task *first, *last; /* rows that wait, oldest first */
    uint32_t waiting;
    uint64_t dropped; /* what found no room */
    int64_t retry_us; /* monotonic: nothing is given before it */
    bool is_away;     /* a task is with the writer */
};

enum mr_status
mr_auditor_new(struct mr_auditor **out)
{
    struct mr_auditor *auditor = calloc(1, sizeof *auditor);

    *out = auditor;
    if (!auditor)
        return MR_NO_MEMORY;
    auditor->hash_key = mr_hash_key_random();
    return MR_OK;
}

void
mr_auditor_destroy(struct mr_auditor **auditor)
{
    if (!*auditor)
        return;
    while ((*auditor)->first) {
        struct mr_task *task = (*auditor)->first;

        (*auditor)->first = task->next;
        mr_task_destroy(&task);
    }
    free(*auditor);
    *auditor = NULL;
}

/* ---- rows that wait ------------------------------------------------------------------------------ */

static struct mr_audit
cut(const struct mr_audit *what)
{
    struct mr_audit it = *what;

    it.principal = mr_span_cut(it.principal, PRINCIPAL_BYTES);
    it.key = mr_span_cut(it.key, KEY_BYTES);
    it.action = mr_span_cut(it.action, ACTION_BYTES);
    it.object = mr_span_cut(it.object, OBJECT_BYTES);
    it.detail = mr_span_cut(it.detail, DETAIL_BYTES);
    it.source = mr_span_cut(it.source, SOURCE_BYTES);
    return it;
}

struct mr_audit
mr_audit_act(const struct mr_broker *broker, uint32_t peer, const char *action,
    struct mr_span object)
{
    const struct mr_session *session = mr_session_at(broker->sessions, peer);
    struct mr_span user = mr_span_str(session->user);

    return (struct mr_audit){
        .principal = mr_rights_name(broker->rights, session->principal),
        .key = user.n == MR_KEY_CHARS ? user : MR_SPAN_NONE,
        .action = mr_span_str(action),
        .object = object,
        .source = mr_span_str(mr_side_name(session->side)),
        .is_allowed = true};
}

bool
mr_audit_copy(
    struct mr_arena *arena, const struct mr_audit *what, struct mr_audit_row *row)
{
    struct mr_audit it = cut(what);

    *row = (struct mr_audit_row){.is_allowed = it.is_allowed, .count = 1};
    return mr_arena_copy(arena, it.principal, &row->principal) &&
           mr_arena_copy(arena, it.key, &row->key) &&
           mr_arena_copy(arena, it.action, &row->action) &&
           mr_arena_copy(arena, it.object, &row->object) &&
           mr_arena_copy(arena, it.detail, &row->detail) &&
           mr_arena_copy(arena, it.source, &row->source);
}

static struct mr_task *
with_room(struct mr_auditor *auditor)
{
    struct mr_task *task;

    if (auditor->last && auditor->last->audit_count < MR_AUDIT_ROWS_MAX)
        return auditor->last;
    if (auditor->waiting == TASKS_WAITING_MAX)
        return NULL;
    task = mr_task_new(MR_TASK_AUDIT);
    MR_ASSERT(task); /* out of memory: a restart loses nothing but what it says here */
    if (auditor->first)
        auditor->last->next = task;
    else
        auditor->first = task;
    auditor->last = task;
    auditor->waiting++;
    return task;
}

/* Where there is no room it is counted. */
static void
append(
    struct mr_broker *broker, const struct mr_audit *what, uint64_t count, int64_t at_us)
{
    struct mr_auditor *auditor = broker->auditor;
    struct mr_task *task = with_room(auditor);
    struct mr_audit_row *row;

    if (!task) {
        auditor->dropped += count;
        broker->counters.audit_dropped += count;
        return;
    }
    row = &task->audits[task->audit_count];
    MR_ASSERT(mr_audit_copy(task->arena, what, row)); /* its arena fits so many rows */
    row->count = count;
    row->at_us = at_us;
    task->audit_count++;
}

/* ---- refusals, gathered -------------------------------------------------------------------------- */

static struct mr_span
put(uint8_t **at, struct mr_span text)
{
    struct mr_span copy = mr_span(*at, text.n);

    if (text.n)
        memcpy(*at, text.p, text.n);
    *at += text.n;
    return copy;
}

static struct mr_audit
put_all(uint8_t **at, const struct mr_audit *what)
{
    struct mr_audit it = {.is_allowed = what->is_allowed};

    it.principal = put(at, what->principal);
    it.key = put(at, what->key);
    it.action = put(at, what->action);
    it.object = put(at, what->object);
    it.detail = put(at, what->detail);
    it.source = put(at, what->source);
    return it;
}

static bool
is_same(const struct mr_audit *a, const struct mr_audit *b)
{
    return mr_span_eq(a->principal, b->principal) && mr_span_eq(a->key, b->key) &&
           mr_span_eq(a->action, b->action) && mr_span_eq(a->object, b->object) &&
           mr_span_eq(a->detail, b->detail) && mr_span_eq(a->source, b->source);
}

/* NULL: there is no row like it, and none can be added. Those that nobody knows count as one
 * principal: keys and addresses cost them nothing. */
static struct gathered *
row_for(
    struct mr_auditor *auditor, const struct mr_audit *what, uint32_t of_principal_max)
{
    struct gathered *fresh = &auditor->gathered[auditor->gathered_count];
    uint32_t of_principal = 0;
    uint8_t *end = fresh->text;

    fresh->what = put_all(&end, what);
    fresh->hash =
        mr_hash(auditor->hash_key, mr_span(fresh->text, (size_t)(end - fresh->text)));
    fresh->count = 0;
    for (uint32_t i = 0; i < auditor->gathered_count; i++) {
        struct gathered *row = &auditor->gathered[i];

        if (row->hash == fresh->hash && is_same(&row->what, what))
            return row;
        of_principal += mr_span_eq(row->what.principal, what->principal);
    }
    if (auditor->gathered_count == GATHERED_MAX || of_principal >= of_principal_max)
        return NULL;
    auditor->gathered_count++;
    return fresh;
}

static void
gather(struct mr_broker *broker, const struct mr_audit *what, uint64_t count)
{
    struct mr_auditor *auditor = broker->auditor;
    struct mr_audit others = {.principal = what->principal,
        .action = mr_span_str("several"),
        .detail = mr_span_str("more kinds of refusal in a second than are listed")};
    struct gathered *row = row_for(auditor, what, OF_ONE_PRINCIPAL);

    if (!row)
        row = row_for(auditor, &others, UINT32_MAX);
    if (auditor->until_us == 0)
        auditor->until_us = broker->now.mono_us + WINDOW_US;
    if (!row) {
        auditor->others += count;
        return;
    }
    if (row->count == 0)
        row->at_us = broker->now.wall_us;
    row->count += count;
}

static void
close_window(struct mr_broker *broker)
{
    struct mr_auditor *auditor = broker->auditor;

    for (uint32_t i = 0; i < auditor->gathered_count; i++) {
        const struct gathered *row = &auditor->gathered[i];

        append(broker, &row->what, row->count, row->at_us);
    }
    if (auditor->others)
        append(broker,
            &(struct mr_audit){.action = mr_span_str("several"),
                .detail = mr_span_str("refusals of more peers in a second than are "
                                      "listed")},
            auditor->others, broker->now.wall_us);
    auditor->gathered_count = 0;
    auditor->others = 0;
    auditor->until_us = 0;
}

/* ---- from outside -------------------------------------------------------------------------------- */

void
mr_audit_note_many(struct mr_broker *broker, const struct mr_audit *what, uint64_t count)
{
    struct mr_audit it = cut(what);

    if (count == 0)
        return;
    if (it.is_allowed)
        append(broker, &it, count, broker->now.wall_us);
    else
        gather(broker, &it, count);
}

void
mr_audit_note(struct mr_broker *broker, const struct mr_audit *what)
{
    mr_audit_note_many(broker, what, 1);
}

/* What found no room is told as soon as there is some. */
static void
tell_dropped(struct mr_broker *broker)
{
    struct mr_auditor *auditor = broker->auditor;
    uint64_t dropped = auditor->dropped;

    if (!dropped || auditor->waiting == TASKS_WAITING_MAX)
        return;
    auditor->dropped = 0;
    append(broker,
        &(struct mr_audit){.action = mr_span_str("dropped"),
            .detail = mr_span_str("entries that could not be kept while the database "
                                  "was away")},
        dropped, broker->now.wall_us);
}

void
mr_audit_dispatch(struct mr_broker *broker)
{
    struct mr_auditor *auditor = broker->auditor;
    struct mr_task *task;

    if (auditor->until_us && broker->now.mono_us >= auditor->until_us)
        close_window(broker);
    if (auditor->is_away || broker->epoch == 0 || broker->writer_has_stopped ||
        broker->now.mono_us < auditor->retry_us)
        return;
    tell_dropped(broker);
    task = auditor->first;
    if (!task)
        return;
    auditor->first = task->next;
    if (!auditor->first)
        auditor->last = NULL;
    auditor->waiting--;
    auditor->is_away = true;
    task->next = NULL;
    mr_writer_give(broker->writer, task);
}

void
mr_audit_flush(struct mr_broker *broker)
{
    close_window(broker);
    mr_audit_dispatch(broker);
}

void
mr_audit_written(struct mr_broker *broker, struct mr_task *task)
{
    struct mr_auditor *auditor = broker->auditor;

    auditor->is_away = false;
    if (task->status == MR_OK) {
        broker->counters.audited += task->audit_count;
    } else if (task->status != MR_DRAINING) {
        /* What may pass does not come back: this is refused for good, a right is missing. */
        mr_log(MR_LOG_ERROR, "audit-failed", "rows=%u status=%s why=\"%s\"",
            task->audit_count, mr_status_name(task->status), task->err.why);
        auditor->dropped += task->audit_count;
        broker->counters.audit_dropped += task->audit_count;
        auditor->retry_us = broker->now.mono_us + RETRY_US;
    }
    mr_task_destroy(&task);
}

int64_t
mr_audit_next_us(const struct mr_broker *broker)
{
    const struct mr_auditor *auditor = broker->auditor;

    if (auditor->until_us)
        return auditor->until_us;
    return auditor->dropped && auditor->retry_us > broker->now.mono_us ? auditor->retry_us
                                                                       : INT64_MAX;
}

bool
mr_audit_is_idle(const struct mr_broker *broker)
{
    const struct mr_auditor *auditor = broker->auditor;

    return broker->epoch == 0 ||
           (!auditor->is_away && !auditor->first && !auditor->until_us);
}
