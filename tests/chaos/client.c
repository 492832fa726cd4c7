#include "tests/chaos/client.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schemas/base/clock.h"
#include "schemas/base/uuid.h"
#include "tests/chaos/client_book.h"
#include "tests/chaos/dice.h"
#include "tests/chaos/history.h"
#include "tests/chaos/jobs.h"

#define OUTSTANDING_MAX 512
#define LATER_MAX 1024 /* calls that are due soon */
#define LOOK_MS 10
#define SUBMIT_MS 15000
#define HASTY_MS 150 /* of some submits: so that answers are missed */
#define CALL_MS 1500
#define WATCH_MS 20000
#define SETTLE_US INT64_C(60000000)
#define TWIN_US INT64_C(400000)
#define BURST 64 /* new jobs in a turn */

struct later {
    int64_t due_us;
    enum mr_history_op op;
    uint32_t number;
};

struct client {
    const struct mr_chaos_client_options *options;
    struct millrace *mr;
    struct mr_book book;
    int history;
    uint32_t outstanding;
    uint32_t next_twin;
    int64_t begin_us; /* monotonic: when the run's wall time was base_ms */
    int64_t paid_us;  /* jobs are paid for up to here */
    struct mr_dice dice;
    struct later later[LATER_MAX];
    uint32_t later_count;
    bool is_bad; /* the history could not be written */
};

static volatile sig_atomic_t is_stopping;

static void
on_signal(int number)
{
    (void)number;
    is_stopping = 1;
}

static int64_t
now_us(void)
{
    return mr_clock_now().mono_us;
}

/* ---- history ------------------------------------------------------------------------------------ */

struct word {
    enum mr_history_op op;
    enum mr_history_phase phase;
    uint32_t number;
    const char *kind;
    uint64_t digest;
    int code;
    const struct millrace_result *result;
    const char *text;
};

/* An answer's code, NULL-safe text; every line tells the job's number, for the next life. */
static void
note(struct client *client, const struct word *word)
{
    struct mr_book_entry *entry = mr_book_entry(&client->book, word->number);
    char id[MILLRACE_ID_TEXT], text[300];
    struct mr_history_line line = {.client = client->options->number,
        .op = word->op,
        .phase = word->phase,
        .id = mr_span_str(millrace_id_format(&entry->id, id)),
        .kind = mr_span_str(word->kind ? word->kind : ""),
        .digest = word->digest,
        .text = mr_span_str(text)};

    (void)snprintf(text, sizeof text, "n=%" PRIu32 " %.250s", word->number,
        word->text ? word->text : "");
    line.text = mr_span_str(text);
    if (word->phase != MR_HISTORY_INVOKE)
        line.code = mr_span_str(millrace_code_name(word->code));
    if (word->result && word->result->outcome) {
        line.outcome = mr_span_str(millrace_outcome_name(word->result->outcome));
        line.attempt = word->result->attempt;
        line.digest = mr_history_digest(word->result->body, word->result->body_bytes);
    }
    if (mr_history_put(client->history, &line))
        client->is_bad = true;
    mr_book_note(&client->book, word->number, word->op, word->phase);
}

/* ---- what is due later -------------------------------------------------------------------------- */

static void
put_later(struct client *client, enum mr_history_op op, uint32_t number, uint32_t in_ms)
{
    if (client->later_count == LATER_MAX)
        return;
    client->later[client->later_count++] =
        (struct later){now_us() + in_ms * INT64_C(1000), op, number};
}

/* What to do with a job that is durable now. */
static void
plan_more(struct client *client, uint32_t number)
{
    static const struct {
        enum mr_history_op op;
        uint32_t share, max_ms; /* of a thousand; soon or late */
    } plans[] = {{MR_HISTORY_WATCH, 300, 20}, {MR_HISTORY_RESUBMIT, 40, 3000},
        {MR_HISTORY_FORGE, 10, 3000}, {MR_HISTORY_CANCEL, 15, 30},
        {MR_HISTORY_SHOW, 25, 4000}};

    if (is_stopping)
        return;
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        uint32_t side = mr_dice_below(&client->dice, 1000);

        if (side < plans[i].share)
            put_later(client, plans[i].op, number,
                mr_dice_below(&client->dice, plans[i].max_ms));
    }
}

/* ---- calls --------------------------------------------------------------------------------------- */

static void *
tag_of(enum mr_history_op op, uint32_t number)
{
    return (void *)((uintptr_t)number << 3 | (uintptr_t)op); /* NOLINT: never followed */
}

static bool
is_durable(int code)
{
    return code == MILLRACE_OK || code == MILLRACE_KNOWN || code == MILLRACE_FINISHED;
}

/* Refusals that are about the job itself change nothing; all else may have arrived. */
static bool
is_refusal(int code)
{
    return code >= MILLRACE_MALFORMED && code < MILLRACE_INTERNAL;
}

static enum mr_history_phase
phase_of(enum mr_history_op op, int code)
{
    if (is_durable(code) || (op == MR_HISTORY_SHOW && code == MILLRACE_NO_JOB))
        return MR_HISTORY_OK;
    return is_refusal(code) ? MR_HISTORY_FAIL : MR_HISTORY_UNKNOWN;
}

static void
make_job(struct client *client, enum mr_history_op op, uint32_t number,
    struct mr_chaos_job *job, struct word *word)
{
    const struct mr_chaos_client_options *options = client->options;

    mr_chaos_job_make(job, options->seed, options->number, number, options->base_ms,
        op == MR_HISTORY_FORGE);
    word->kind = job->job.kind;
    word->digest = mr_history_digest(job->job.args, job->job.args_bytes);
}

static void
start_submit(struct client *client, enum mr_history_op op, uint32_t number)
{
    struct mr_book_entry *entry = mr_book_entry(&client->book, number);
    int timeout_ms = mr_dice_below(&client->dice, 20) == 0 ? HASTY_MS : SUBMIT_MS;
    struct millrace_error error;
    struct mr_chaos_job job;
    struct word word = {.op = op, .number = number};

    make_job(client, op, number, &job, &word);
    if (!entry->is_used)
        entry->id = job.job.id;
    entry->is_used = true;
    job.job.id = entry->id;
    note(client, &word);
    word.code = millrace_submit_start(client->mr, &job.job, MILLRACE_UNTIL_DURABLE,
        timeout_ms, tag_of(op, number), &error);
    if (word.code) {
        word.phase = MR_HISTORY_FAIL;
        word.text = error.why;
        note(client, &word);
    } else {
        client->outstanding++;
    }
    mr_chaos_job_free(&job);
}

static void
start_watch(struct client *client, uint32_t number)
{
    struct word word = {.op = MR_HISTORY_WATCH, .number = number};

    note(client, &word);
    word.code = millrace_wait_start(client->mr, &mr_book_entry(&client->book, number)->id,
        WATCH_MS, tag_of(MR_HISTORY_WATCH, number), NULL);
    if (word.code) {
        word.phase = MR_HISTORY_UNKNOWN;
        note(client, &word);
    } else {
        client->outstanding++;
    }
}

static void
call(struct client *client, enum mr_history_op op, uint32_t number)
{
    struct millrace_id id = mr_book_entry(&client->book, number)->id;
    struct word word = {.op = op, .number = number};
    struct millrace_result result = {.outcome = 0};
    struct millrace_error error = {.code = 0};

    note(client, &word);
    word.code = op == MR_HISTORY_CANCEL
                    ? millrace_cancel(client->mr, &id, CALL_MS, &error)
                    : millrace_fetch(client->mr, &id, CALL_MS, &result, &error);
    word.phase = phase_of(op, word.code);
    word.text = word.code ? error.why : NULL;
    word.result = &result;
    note(client, &word);
    millrace_result_free(&result);
}

static void
do_it(struct client *client, enum mr_history_op op, uint32_t number)
{
    if (mr_book_is_under_way(&client->book, number, op))
        return;
    if (op == MR_HISTORY_WATCH)
        start_watch(client, number);
    else if (op == MR_HISTORY_CANCEL || op == MR_HISTORY_SHOW)
        call(client, op, number);
    else
        start_submit(client, op, number);
}

static void
do_what_is_due(struct client *client)
{
    uint32_t i = 0;

    while (i < client->later_count) {
        struct later later = client->later[i];

        if (later.due_us > now_us() || client->outstanding >= OUTSTANDING_MAX) {
            i++;
            continue;
        }
        client->later[i] = client->later[--client->later_count];
        do_it(client, later.op, later.number);
    }
}

/* ---- answers -------------------------------------------------------------------------------------- */

static void
on_submitted(struct client *client, struct word *word)
{
    struct mr_chaos_job job;

    make_job(client, word->op, word->number, &job, word);
    note(client, word);
    mr_chaos_job_free(&job);
    if (is_durable(word->code) && word->op == MR_HISTORY_SUBMIT)
        plan_more(client, word->number);
    if (word->op != MR_HISTORY_FORGE && word->phase == MR_HISTORY_UNKNOWN)
        put_later(client, MR_HISTORY_RESUBMIT, word->number, 100);
}

static void
take_answers(struct client *client)
{
    struct millrace_completion done;

    while (millrace_poll(client->mr, &done)) {
        uintptr_t tag = (uintptr_t)done.tag;
        struct word word = {.op = (enum mr_history_op)(tag & 7),
            .number = (uint32_t)(tag >> 3),
            .code = done.code,
            .text = done.code && !is_durable(done.code) ? done.error.why : NULL};

        client->outstanding--;
        word.phase = phase_of(word.op, done.code);
        if (word.op == MR_HISTORY_WATCH) {
            word.result = &done.result;
            note(client, &word);
        } else {
            on_submitted(client, &word);
        }
        millrace_result_free(&done.result);
    }
}

/* ---- new jobs --------------------------------------------------------------------------------------- */

/* What could not be submitted in a bad time is made up for afterwards. */
static void
submit_new(struct client *client)
{
    int64_t each_us = INT64_C(1000000) / client->options->per_second;
    int64_t now = now_us();

    for (int i = 0; i < BURST && client->paid_us + each_us <= now &&
                    client->outstanding < OUTSTANDING_MAX;
         i++) {
        uint32_t number = mr_book_next(&client->book);

        if (number == MR_BOOK_FULL)
            return;
        client->paid_us += each_us;
        start_submit(client, MR_HISTORY_SUBMIT, number);
    }
    while (client->begin_us + TWIN_US * client->next_twin <= now) {
        uint32_t number = MR_CHAOS_TWINS + client->next_twin++;

        if (mr_book_entry(&client->book, number) &&
            !mr_book_entry(&client->book, number)->is_used)
            start_submit(client, MR_HISTORY_SUBMIT, number);
    }
}

/* ---- life ----------------------------------------------------------------------------------------- */

/* What was under way when the last life ended. */
static void
resume_one(void *context, uint32_t number, enum mr_history_op op)
{
    struct client *client = context;
    struct word word = {.op = op,
        .phase = MR_HISTORY_UNKNOWN,
        .number = number,
        .code = MILLRACE_TIMEOUT,
        .text = "the client was killed"};

    note(client, &word);
    if (op == MR_HISTORY_SUBMIT || op == MR_HISTORY_RESUBMIT)
        put_later(client, MR_HISTORY_RESUBMIT, number, 0);
}

static bool
open_client(struct client *client, const struct mr_chaos_client_options *options)
{
    char name[32];
    struct millrace_options how = {
        .endpoints = options->endpoint, .name = name, .is_insecure = 1};
    struct mr_now now = mr_clock_now();
    struct sigaction action = {.sa_handler = on_signal};

    (void)snprintf(name, sizeof name, "c%02" PRIu32, options->number);
    (void)sigaction(SIGTERM, &action, NULL);
    client->options = options;
    client->begin_us = now.mono_us - (now.wall_us - options->base_ms * 1000);
    client->paid_us = now.mono_us;
    client->next_twin = (uint32_t)((now.mono_us - client->begin_us) / TWIN_US) + 1;
    client->dice = mr_dice_of(options->seed, options->number, (uint64_t)now.mono_us);
    client->history = mr_history_open(options->history);
    client->mr = millrace_open(&how, NULL);
    if (client->history < 0 || !client->mr ||
        mr_book_open(&client->book, options->history) != MR_OK)
        return false;
    mr_book_each_under_way(&client->book, resume_one, client);
    return true;
}

static bool
is_settled(const struct client *client)
{
    return client->outstanding == 0 && client->later_count == 0;
}

static void
turn(struct client *client)
{
    struct pollfd fd = {.fd = millrace_fd(client->mr), .events = POLLIN};

    (void)poll(&fd, 1, LOOK_MS);
    take_answers(client);
    do_what_is_due(client);
}

int
mr_chaos_client_run(const struct mr_chaos_client_options *options)
{
    struct client *client = calloc(1, sizeof *client);
    int64_t until_us;
    int code = EXIT_FAILURE;

    if (!client || !open_client(client, options))
        goto done;
    while (!is_stopping && !client->is_bad) {
        submit_new(client);
        turn(client);
    }
    until_us = now_us() + SETTLE_US;
    while (!is_settled(client) && !client->is_bad && now_us() < until_us)
        turn(client);
    if (is_settled(client) && !client->is_bad)
        code = EXIT_SUCCESS;
done:
    if (code)
        fprintf(stderr,
            "client %" PRIu32 ": %" PRIu32 " under way, %" PRIu32 " due, %s\n",
            options->number, client ? client->outstanding : 0,
            client ? client->later_count : 0, strerror(errno));
    if (client) {
        millrace_close(client->mr);
        mr_book_close(&client->book);
        if (client->history >= 0)
            (void)close(client->history);
    }
    free(client);
    return code;
}
