#include "broker/call_why.h"

#include <stdio.h>
#include <string.h>

#define ERROR_SHOWN_MAX 700

bool
mr_call_why_now(const struct mr_broker *broker, struct mr_uuid id, char out[MR_WHY_BYTES],
    bool *wants_more)
{
    struct mr_core_job_info info;

    *wants_more = false;
    if (mr_core_explain(broker->core, broker->now, id, out, MR_WHY_BYTES))
        return false;
    *wants_more = mr_core_job(broker->core, id, &info) == MR_OK && info.attempt > 0 &&
                  strcmp(info.state, "waiting") == 0;
    return true;
}

static int
shown(struct mr_span text)
{
    return text.n < ERROR_SHOWN_MAX ? (int)text.n : ERROR_SHOWN_MAX;
}

/* ---- finished -------------------------------------------------------------------------------------- */

struct ending {
    const char *at; /* when it ended */
    const char *id;
    const struct mr_why_row *row;
    char *out;
};

/* What an operator does about it. */
static void
add_todo(const struct ending *ending, const char *hint)
{
    size_t n = strlen(ending->out);
    char as[MR_UUID_TEXT_MAX];

    if (ending->row->is_redriven)
        (void)snprintf(ending->out + n, MR_WHY_BYTES - n, ". It was redriven as %s",
            mr_uuid_format(ending->row->redriven_as, as));
    else if (hint)
        (void)snprintf(ending->out + n, MR_WHY_BYTES - n,
            ". %s, then submit it anew: millrace redrive %s", hint, ending->id);
}

static void
say_dead(const struct ending *ending)
{
    const struct mr_why_row *row = ending->row;

    (void)snprintf(ending->out, MR_WHY_BYTES, "it failed%s at %s, with attempt %u%s%.*s",
        mr_span_is(row->reason, "for-good")  ? " for good"
        : mr_span_is(row->reason, "used-up") ? ", its attempts are used up,"
                                             : "",
        ending->at, row->attempt, row->error.n ? ": " : "", shown(row->error),
        row->error.n ? (const char *)row->error.p : "");
    /* A quarantine's error says what to do. */
    add_todo(
        ending, mr_span_is(row->reason, "quarantined") ? NULL : "Mend what made it fail");
}

static void
say_finished(const struct ending *ending)
{
    const struct mr_why_row *row = ending->row;

    if (row->outcome == MR_FAILED) {
        say_dead(ending);
        return;
    }
    (void)snprintf(ending->out, MR_WHY_BYTES, "it is finished: %s at %s",
        mr_outcome_name(row->outcome), ending->at);
    if (row->attempt)
        (void)snprintf(ending->out + strlen(ending->out),
            MR_WHY_BYTES - strlen(ending->out), ", with attempt %u", row->attempt);
    else
        (void)snprintf(ending->out + strlen(ending->out),
            MR_WHY_BYTES - strlen(ending->out), ", before it ran");
}

/* ---- not finished, and not in memory ------------------------------------------------------------------ */

static bool
is_full(const struct mr_broker *broker)
{
    struct mr_core_stats stats;

    mr_core_stats(broker->core, &stats);
    return (int64_t)stats.jobs >= broker->settings->jobs_max;
}

static void
say_elsewhere(
    const struct mr_broker *broker, const struct mr_why_row *row, char out[MR_WHY_BYTES])
{
    const char *where = row->is_in_inbox ? "it is in the inbox" : "it is stored";

    if (row->is_job && row->shard != (uint32_t)broker->settings->shard)
        (void)snprintf(out, MR_WHY_BYTES,
            "it belongs to shard %u, and this broker has shard %lld: ask that one's "
            "broker",
            row->shard, (long long)broker->settings->shard);
    else if (is_full(broker))
        (void)snprintf(out, MR_WHY_BYTES,
            "%s, and the broker's memory is full (%lld unfinished jobs): it is taken in "
            "when others have finished; start more workers, or raise jobs_max",
            where, (long long)broker->settings->jobs_max);
    else if (row->is_in_inbox)
        (void)snprintf(out, MR_WHY_BYTES,
            "it is in the inbox: the broker takes it in within %lld s",
            (long long)(broker->settings->sweep_ms + 999) / 1000);
    else
        (void)snprintf(out, MR_WHY_BYTES,
            "it is stored, and not yet in the broker's memory: the broker is loading its "
            "unfinished jobs");
}

bool
mr_call_why_stored(const struct mr_broker *broker, struct mr_uuid id,
    const struct mr_why_row *row, bool may_see_now, char out[MR_WHY_BYTES])
{
    char at[28], text[MR_UUID_TEXT_MAX];
    struct ending ending = {
        mr_clock_format(row->finished_at_us, at), mr_uuid_format(id, text), row, out};
    bool wants_more;
    size_t n;

    if (row->is_finished) {
        say_finished(&ending);
        return true;
    }
    if (may_see_now && mr_call_why_now(broker, id, out, &wants_more)) {
        n = strlen(out);
        if (wants_more && row->error.n)
            (void)snprintf(out + n, MR_WHY_BYTES - n, "; its error was: %.*s",
                shown(row->error), (const char *)row->error.p);
        return true;
    }
    if (!row->is_job && !row->is_in_inbox)
        return false;
    say_elsewhere(broker, row, out);
    return true;
}
