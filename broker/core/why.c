#include "broker/core/why.h"

#include "broker/core/job.h"
#include "broker/core/roster.h"
#include "broker/core/run.h"

#include <stdarg.h>
#include <stdio.h>

/* Jobs of a lane that are counted: a lane may hold all there are. */
#define COUNTED_MAX 10000u
#define WORKERS_NAMED 3u

struct sentence {
    char *out;
    size_t bytes, used;
    const struct mr_core *core;
    const struct mr_job *job;
    struct mr_now now;
};

/* Appends; what does not fit is cut. */
static void __attribute__((format(printf, 2, 3)))
say(struct sentence *s, const char *format, ...)
{
    va_list list;
    int n;

    va_start(list, format);
    n = vsnprintf(s->out + s->used, s->bytes - s->used, format, list);
    va_end(list);
    if (n > 0)
        s->used += (size_t)n < s->bytes - s->used ? (size_t)n : s->bytes - s->used - 1;
}

static void
say_span(struct sentence *s, struct mr_span text)
{
    say(s, "%.*s", (int)text.n, text.n ? (const char *)text.p : "");
}

static void
say_kind(struct sentence *s)
{
    say_span(s, mr_names_text(&s->core->kind_names, s->job->kind));
}

static void
say_time(struct sentence *s, int64_t mono_us)
{
    char text[28];

    say(s, "%s", mr_clock_format(mono_us - s->now.mono_us + s->now.wall_us, text));
}

/* ---- ready: what keeps it from being sent --------------------------------------------------- */

/* The workers that offer its kind, and what keeps each from taking it. */
struct supply {
    uint32_t workers, threads, free, at_limit, with_suspect, draining, forbidden;
    uint32_t limit; /* running_max of one that is at its limit */
    uint32_t names[WORKERS_NAMED];
};

static struct supply
supply_of(const struct mr_core *core, const struct mr_job *job)
{
    struct supply supply = {0};
    uint32_t number = core->turn;

    for (uint32_t i = 0; i < core->workers; i++, number = core->peers[number].next) {
        const struct mr_peer *peer = &core->peers[number];
        const struct mr_offered *offer = mr_roster_offer(core, number, job->kind);

        if (!offer)
            continue;
        if (peer->is_draining) {
            supply.draining++;
            continue;
        }
        if (!mr_run_may_now(core, number, job)) {
            supply.forbidden++;
            continue;
        }
        if (supply.workers < WORKERS_NAMED)
            supply.names[supply.workers] = number;
        supply.workers++;
        supply.threads += peer->threads;
        if (offer->running_max && offer->running >= offer->running_max) {
            supply.at_limit++;
            supply.limit = offer->running_max;
        } else if (peer->credit > peer->sent) {
            if (peer->suspects && mr_job_is_suspect(core, job))
                supply.with_suspect++;
            else
                supply.free++;
        }
    }
    return supply;
}

static void
say_workers(struct sentence *s, const struct supply *supply)
{
    for (uint32_t i = 0; i < supply->workers && i < WORKERS_NAMED; i++) {
        say(s, "%s", i ? ", " : " (");
        say_span(s, mr_roster_name(s->core, supply->names[i]));
    }
    say(s, "%s)", supply->workers > WORKERS_NAMED ? ", ..." : "");
}

static void
say_others(struct sentence *s)
{
    const struct mr_core *core = s->core;
    uint32_t before = 0;

    for (uint32_t at = s->job->prev; at && before < COUNTED_MAX; before++)
        at = mr_job_at(core, at)->prev;
    if (core->kinds[s->job->kind].ready <= 1) {
        say(s, "it is the next one: it is about to be sent");
        return;
    }
    say(s, "others are before it: %u%s in its lane, and %u jobs of kind ", before,
        before == COUNTED_MAX ? " at least" : "", core->kinds[s->job->kind].ready);
    say_kind(s);
    say(s, " are ready; more workers would make it sooner");
}

static void
say_supply(struct sentence *s)
{
    struct supply supply = supply_of(s->core, s->job);

    if (!supply.workers && supply.draining) {
        say(s, "every worker that offers kind ");
        say_kind(s);
        say(s, " is ending (%u); start another one", supply.draining);
    } else if (!supply.workers && supply.forbidden) {
        say(s, "the workers that offer kind ");
        say_kind(s);
        say(s,
            " may not run jobs of this queue (%u); grant it to one of them "
            "(\"millrace principal grant\"), or start one that may",
            supply.forbidden);
    } else if (!supply.workers) {
        say(s, "no worker offers kind ");
        say_kind(s);
        say(s, "; start one that does (\"millrace workers\" lists those there are)");
    } else if (supply.free) {
        say_others(s);
    } else if (supply.with_suspect) {
        say(s,
            "%u times its worker or its process ended with it, so it is sent alone: "
            "it "
            "waits for a worker that has no other such job; one more worker would do",
            (unsigned)mr_extra_of(s->core, s->job)->losses +
                mr_extra_of(s->core, s->job)->near_losses);
    } else if (supply.at_limit) {
        say(s, "the limit of kind ");
        say_kind(s);
        say(s, " is reached at %u of %u workers (at most %u at a time in each)",
            supply.at_limit, supply.workers, supply.limit);
        say(s, "; wait, raise the limit or start another worker");
    } else {
        say(s, "no credit: all %u threads of %u workers are busy", supply.threads,
            supply.workers);
        say_workers(s, &supply);
        say(s, "; wait, or start more workers");
    }
}

static void
explain_ready(struct sentence *s)
{
    const struct mr_core *core = s->core;
    const struct mr_lane *lane = mr_lane_at(core, s->job->lane);
    struct mr_span queue = mr_names_text(&core->queue_names, s->job->queue);

    if (!core->is_store_up)
        say(s,
            "the store is down: nothing is started until it is back; see to PostgreSQL");
    else if (core->is_draining)
        say(s,
            "the broker is being stopped: nothing is started until it is started again");
    else if (core->queues[s->job->queue].is_paused)
        say(s, "queue %.*s is paused; to go on: millrace resume %.*s", (int)queue.n,
            queue.p, (int)queue.n, queue.p);
    else if (s->job->flags & MR_JOB_READING)
        say(s, "its payload is being read back from the database");
    else if (lane->is_starved)
        say(s, "its lane waits for memory for payloads; raise payload_mib_max, or wait");
    else
        say_supply(s);
}

/* ---- other states ------------------------------------------------------------------------------ */

static void
explain_waiting(struct sentence *s)
{
    const struct mr_job *job = s->job;

    if (job->flags & MR_JOB_SNOOZED)
        say(s, "snoozed by attempt %u until ", job->attempt);
    else if (mr_extra_of(s->core, job)->failures)
        say(s, "in backoff after attempt %u until ", job->attempt);
    else
        say(s, "waits until ");
    say_time(s, job->due_us);
    if (!(job->flags & MR_JOB_SNOOZED) && !mr_extra_of(s->core, job)->failures)
        say(s, ", the time that it was submitted for");
}

static void
explain_sent(struct sentence *s)
{
    const struct mr_job *job = s->job;
    struct mr_span note = mr_job_note(s->core, job);
    unsigned permille = mr_extra_of(s->core, job)->permille;

    say(s, "attempt %u is running on worker ", job->attempt);
    say_span(s, mr_roster_name(s->core, job->peer));
    say(s, " since ");
    say_time(s, job->sent_us);
    if (permille)
        say(s, ", %u.%u%% done", permille / 10u, permille % 10u);
    if (note.n) {
        say(s, ": ");
        say_span(s, note);
    }
    if (job->flags & MR_JOB_CANCEL)
        say(s, "; it was asked to stop, because it is to be cancelled");
    else if (job->flags & MR_JOB_UNCONFIRMED)
        say(s, "; the worker has connected anew and has not confirmed it yet");
}

static void
explain_storing(struct sentence *s)
{
    say(s, "%s",
        s->core->is_store_up
            ? "it is being stored"
            : "the store is down: it is not stored yet; see to PostgreSQL");
}

static void
explain_settling(struct sentence *s)
{
    say(s, "what became of attempt %u is being stored%s", s->job->attempt,
        s->core->is_store_up ? "" : ", and the store is down; see to PostgreSQL");
}

static void
explain_recovered(struct sentence *s)
{
    say(s, "the broker was started again and waits whether a worker still runs it");
    if (s->core->is_loading)
        say(s, "; it is loading its unfinished jobs");
    else if (s->core->grace_until_us > s->now.mono_us) {
        say(s, ", until ");
        say_time(s, s->core->grace_until_us);
    }
}

static void
explain_checking(struct sentence *s)
{
    say(s, "the database is asked whether attempt %u was finished%s", s->job->attempt,
        s->core->is_store_up ? "" : ", and the store is down; see to PostgreSQL");
}

enum mr_status
mr_why_explain(const struct mr_core *core, struct mr_now now, struct mr_uuid id,
    char *out, size_t out_bytes)
{
    static void (*const sentences[MR_JOB_STATES])(struct sentence *) = {
        [MR_JOB_STORING] = explain_storing,
        [MR_JOB_WAITING] = explain_waiting,
        [MR_JOB_READY] = explain_ready,
        [MR_JOB_SENT] = explain_sent,
        [MR_JOB_SETTLING] = explain_settling,
        [MR_JOB_RECOVERED] = explain_recovered,
        [MR_JOB_CHECKING] = explain_checking,
    };
    uint32_t slot = mr_ids_find(&core->job_ids, &id);
    struct sentence sentence = {.out = out, .bytes = out_bytes, .core = core, .now = now};

    if (!slot || !sentences[mr_job_at(core, slot)->state])
        return MR_NO_JOB;
    sentence.job = mr_job_at(core, slot);
    sentences[sentence.job->state](&sentence);
    return MR_OK;
}
