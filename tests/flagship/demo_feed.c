#include "tests/flagship/demo_feed.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/base/clock.h"

enum {
    LOOK_US = 100000,         /* at what the database says */
    FAULT_US = 20000,         /* the same, while something is broken */
    LINE_US = 1000000,        /* between two lines of the rush */
    AFTER_LAST_US = 90000000, /* all rides must have ended by then */
    ANSWER_MS = 60000,
    PATIENCE_MS = 600000, /* a rider waits so long for a vehicle */
    DRAIN_POLL_MS = 50,
    AGAIN_EVERY = 10,
    ASKS_OF_ONE = 4,
};

enum ask_kind {
    ASK_RIDE,
    ASK_SAME_JOB, /* the same job id once more: the first job's answer */
    ASK_SAME_KEY, /* another job with the same request key: the same ride */
    ASK_OTHER,    /* the same key for another ride: refused */
};

struct ask {
    enum ask_kind kind;
    uint32_t request;
    struct millrace_id id;
    int64_t asked_us, answered_us;
    bool is_over, is_right;
};

struct play {
    struct mr_demo_feed *feed;
    const struct mr_demo_phase *phase;
    struct ask *asks; /* one for each request, then those who ask again */
    uint32_t asks_n, next, open;
    bool *is_shown; /* by request */
    uint32_t ended;
    int64_t began_us, look_us, line_us;
};

static int64_t
now_us(void)
{
    return mr_clock_now().mono_us;
}

/* ---- Asking --------------------------------------------------------------------------------- */

static int64_t
due_us(const struct play *play, uint32_t request)
{
    const struct mr_demo_plan *plan = play->feed->plan;
    int64_t last_ms = plan->requests[plan->count - 1].depart_ms;

    if (last_ms <= 0)
        return play->began_us;
    return play->began_us +
           plan->requests[request].depart_ms * play->phase->length_ms / last_ms * 1000;
}

static void
pack_request(struct millrace_pack *args, const struct play *play, const struct ask *ask)
{
    const struct mr_demo_plan *plan = play->feed->plan;
    const struct mr_demo_request *request = &plan->requests[ask->request];
    bool is_other = ask->kind == ASK_OTHER;
    char key[64];

    snprintf(key, sizeof key, "%s%" PRIu32, play->phase->prefix, ask->request);
    millrace_pack_map(args, 7);
    millrace_pack_str(args, "rider");
    millrace_pack_str(args, request->rider);
    millrace_pack_str(args, "key");
    millrace_pack_str(args, key);
    millrace_pack_str(args, "from");
    millrace_pack_str(
        args, mr_road_id(plan->road, is_other ? request->to : request->from));
    millrace_pack_str(args, "to");
    millrace_pack_str(
        args, mr_road_id(plan->road, is_other ? request->from : request->to));
    millrace_pack_str(args, "class");
    millrace_pack_str(args, plan->vehicle_class);
    millrace_pack_str(args, "speed");
    millrace_pack_int(args, play->phase->speed);
    millrace_pack_str(args, "patience_ms");
    millrace_pack_int(args, PATIENCE_MS);
}

static enum mr_status
submit(struct play *play, struct ask *ask, struct mr_err *err)
{
    struct millrace_pack args = {.bytes = NULL};
    struct millrace_error error = {.why = ""};
    struct millrace_job job;
    int code;

    pack_request(&args, play, ask);
    millrace_job_init(&job, "ride.request");
    if (ask->kind == ASK_SAME_JOB)
        job.id = ask->id;
    ask->id = job.id;
    job.args = args.bytes;
    job.args_bytes = args.n;
    ask->asked_us = now_us();
    code = args.code ? args.code
                     : millrace_submit_start(play->feed->mr, &job,
                           MILLRACE_UNTIL_FINISHED, ANSWER_MS, ask, &error);
    millrace_pack_free(&args);
    if (code)
        return mr_err_set(
            err, MR_INTERNAL, "A ride could not be requested", error.why, error.todo);
    play->open++;
    return MR_OK;
}

static enum mr_status
ask_again(struct play *play, const struct ask *first, struct mr_err *err)
{
    static const enum ask_kind kinds[] = {ASK_SAME_JOB, ASK_SAME_KEY, ASK_OTHER};
    const struct mr_demo_request *request = &play->feed->plan->requests[first->request];
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && !status; i++) {
        struct ask *ask = &play->asks[play->asks_n];

        /* There and back is the same ride if both ends are. */
        if (kinds[i] == ASK_OTHER && request->from == request->to)
            continue;
        *ask = (struct ask){.kind = kinds[i], .request = first->request, .id = first->id};
        play->asks_n++;
        status = submit(play, ask, err);
    }
    return status;
}

/* ---- Answers -------------------------------------------------------------------------------- */

static bool
names_ride(const struct millrace_result *result, const struct millrace_id *ride)
{
    char text[MILLRACE_ID_TEXT];
    const char *named;
    size_t n;

    return result->outcome == MILLRACE_SUCCEEDED &&
           millrace_get_str(result->body, result->body_bytes, "ride", &named, &n) &&
           n == sizeof text - 1 && memcmp(millrace_id_format(ride, text), named, n) == 0;
}

static enum mr_status
on_answer(struct play *play, struct ask *ask,
    const struct millrace_completion *completion, struct mr_err *err)
{
    const struct millrace_result *result = &completion->result;

    play->open--;
    ask->is_over = true;
    ask->answered_us = now_us();
    if (completion->code)
        return mr_err_set(err, MR_INTERNAL, "A request got no answer",
            completion->error.why, completion->error.todo);
    ask->is_right = ask->kind == ASK_OTHER
                        ? result->outcome == MILLRACE_FAILED
                        : names_ride(result, &play->asks[ask->request].id);
    if (ask->kind == ASK_RIDE && !ask->is_right)
        return mr_err_set(err, MR_INTERNAL, "A request was refused",
            result->text ? result->text : "its result names no ride",
            "See the logs in .millrace.");
    if (ask->kind != ASK_RIDE || !play->phase->asks_again || ask->request % AGAIN_EVERY)
        return MR_OK;
    return ask_again(play, ask, err);
}

static enum mr_status
take_answers(struct play *play, struct mr_err *err)
{
    struct millrace_completion completion;
    enum mr_status status = MR_OK;

    while (!status && millrace_poll(play->feed->mr, &completion) == 1) {
        if (completion.tag == play->phase->ep)
            mr_demo_ep_on_completion(play->phase->ep, play->feed->mr, &completion);
        else
            status = on_answer(play, completion.tag, &completion, err);
        millrace_result_free(&completion.result);
    }
    return status;
}

/* ---- Looking -------------------------------------------------------------------------------- */

enum { COL_KEY, COL_STATE, COL_VEHICLE, COL_PICKUP, COL_ROUTE, COL_CENTS };

/* The street's name; without one that of a stop there; else the edge's id. */
static const char *
street(const struct mr_demo_plan *plan, uint32_t edge)
{
    const char *name = mr_road_name(plan->road, edge), *id = mr_road_id(plan->road, edge);

    for (uint32_t i = 0; !*name && plan->rides && i < plan->rides->stop_count; i++) {
        if (strcmp(plan->rides->stops[i].edge, id) == 0)
            name = plan->rides->stops[i].name;
    }
    return *name ? name : id;
}

static void
show_row(struct play *play, const struct pg_result *rows, int row)
{
    const struct mr_demo_plan *plan = play->feed->plan;
    const char *number = mr_pg_text(rows, row, COL_KEY) + strlen(play->phase->prefix);
    unsigned long request = strtoul(number, NULL, 10);

    if (request >= plan->count || play->is_shown[request])
        return;
    play->is_shown[request] = true;
    play->ended++;
    if (!play->phase->shows_rides)
        return;
    mr_demo_show_one(
        play->feed->show, &(struct mr_demo_show_ride){.n = play->ended,
                              .of = plan->count,
                              .state = mr_pg_text(rows, row, COL_STATE),
                              .from = street(plan, plan->requests[request].from),
                              .to = street(plan, plan->requests[request].to),
                              .vehicle = mr_pg_text(rows, row, COL_VEHICLE),
                              .pickup_ms = mr_pg_int(rows, row, COL_PICKUP),
                              .route_ms = mr_pg_int(rows, row, COL_ROUTE),
                              .fare_cents = mr_pg_int(rows, row, COL_CENTS)});
}

static enum mr_status
look_at_rides(struct play *play, struct mr_err *err)
{
    static const char sql[] =
        "select r.request_key, r.state, r.vehicle_id, r.pickup_ms, r.route_ms,"
        " r.fare_cents from ride.ride r join ride.event e on e.ride_id = r.id and"
        " e.state = r.state where starts_with(r.request_key, $1) and r.state in"
        " ('done', 'refused', 'cancelled') order by e.at";
    struct pg_result *rows = NULL;
    enum mr_status status =
        mr_pg_run(play->feed->pg, sql, 1, &play->phase->prefix, &rows, err);

    for (int i = 0; !status && i < mr_pg_rows(rows); i++)
        show_row(play, rows, i);
    mr_pg_free_result(&rows);
    return status;
}

static enum mr_status
show_crowd(struct play *play, struct mr_err *err)
{
    static const char sql[] =
        "select count(*), count(*) filter (where state = 'requested'),"
        " count(*) filter (where state in ('matched', 'charged')) from ride.ride"
        " where starts_with(request_key, $1)";
    struct pg_result *rows = NULL;
    enum mr_status status =
        mr_pg_run(play->feed->pg, sql, 1, &play->phase->prefix, &rows, err);

    if (!status)
        mr_demo_show_line(play->feed->show,
            "%3" PRId64 " asked, %3" PRId64 " wait for a vehicle, %2" PRId64
            " of %d vehicles busy, %3" PRIu32 " rides done",
            mr_pg_int(rows, 0, 0), mr_pg_int(rows, 0, 1), mr_pg_int(rows, 0, 2),
            MR_DEMO_VEHICLES, play->ended);
    mr_pg_free_result(&rows);
    return status;
}

static bool
is_broken(const struct play *play)
{
    const struct mr_demo_fault *fault = play->phase->fault;

    return fault && fault->state != MR_DEMO_FAULT_WATCHING &&
           fault->state != MR_DEMO_FAULT_OVER;
}

static enum mr_status
break_things(struct play *play, struct mr_err *err)
{
    struct mr_demo_fault_world world = {.show = play->feed->show,
        .stack = play->feed->stack,
        .pg = play->feed->pg,
        .mr = play->feed->mr,
        .ended = play->ended,
        .rides = play->feed->plan->count};

    return play->phase->fault ? mr_demo_fault_tick(play->phase->fault, &world, err)
                              : MR_OK;
}

static enum mr_status
look(struct play *play, struct mr_err *err)
{
    const char *missing = mr_stack_missing(play->feed->stack);
    int64_t now = now_us();
    enum mr_status status;

    if (missing)
        return mr_err_setf(err, MR_INTERNAL, "A program of the flagship has ended",
            "Its log in that folder says why.", "%s is gone (logs: %.400s)", missing,
            play->feed->stack->folder);
    if (play->phase->ep)
        mr_demo_ep_tick(play->phase->ep, play->feed->mr);
    status = look_at_rides(play, err);
    if (!status)
        status = break_things(play, err);
    play->look_us = now + (is_broken(play) ? FAULT_US : LOOK_US);
    if (status || play->phase->shows_rides || now < play->line_us)
        return status;
    play->line_us = now + LINE_US;
    return show_crowd(play, err);
}

/* ---- The loop ------------------------------------------------------------------------------- */

static bool
is_over(const struct play *play)
{
    return play->next == play->feed->plan->count && play->open == 0 &&
           play->ended == play->feed->plan->count && !is_broken(play) &&
           (!play->phase->ep || mr_demo_ep_is_over(play->phase->ep));
}

static enum mr_status
turn(struct play *play, struct mr_err *err)
{
    uint32_t count = play->feed->plan->count;
    int64_t wake = play->look_us;
    struct pollfd fds[] = {{.fd = millrace_fd(play->feed->mr), .events = POLLIN},
        {.fd = play->feed->signals, .events = POLLIN}};
    enum mr_status status = MR_OK;

    while (!status && play->next < count && due_us(play, play->next) <= now_us())
        status = submit(play, &play->asks[play->next++], err);
    if (!status)
        status = take_answers(play, err);
    if (!status && now_us() >= play->look_us)
        status = look(play, err);
    if (status)
        return status;
    if (now_us() > due_us(play, count - 1) + AFTER_LAST_US)
        return mr_err_setf(err, MR_TIMEOUT, "Not all rides have ended in time",
            "See the logs in .millrace.", "%" PRIu32 " of %" PRIu32 " have", play->ended,
            count);
    if (play->next < count && due_us(play, play->next) < wake)
        wake = due_us(play, play->next);
    wake = wake > now_us() ? (wake - now_us() + 999) / 1000 : 0;
    (void)poll(fds, 2, (int)wake);
    return fds[1].revents
               ? mr_err_set(err, MR_CANCELLED, "Stopped", "somebody asked for it", NULL)
               : MR_OK;
}

static int
by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* Nearest rank: the smallest that at least so many of a hundred do not exceed. */
static double
percentile_ms(const int64_t *us, uint32_t n, uint32_t percent)
{
    return n ? (double)us[(n * percent + 99) / 100 - 1] / 1e3 : 0;
}

static void
count_up(const struct play *play, struct mr_demo_tally *tally)
{
    int64_t *took = calloc(play->asks_n + 1, sizeof *took);

    *tally = (struct mr_demo_tally){.rides = play->ended};
    for (uint32_t i = 0; i < play->asks_n; i++) {
        const struct ask *ask = &play->asks[i];

        if (ask->kind != ASK_RIDE) {
            tally->again++;
            tally->again_right += ask->is_right;
        } else if (ask->is_over) {
            if (took)
                took[tally->answered] = ask->answered_us - ask->asked_us;
            tally->answered++;
        }
    }
    if (took) {
        qsort(took, tally->answered, sizeof *took, by_time);
        tally->p50_ms = percentile_ms(took, tally->answered, 50);
        tally->p99_ms = percentile_ms(took, tally->answered, 99);
    }
    free(took);
}

enum mr_status
mr_demo_feed_play(struct mr_demo_feed *feed, const struct mr_demo_phase *phase,
    struct mr_demo_tally *tally, struct mr_err *err)
{
    struct play play = {.feed = feed, .phase = phase, .asks_n = feed->plan->count};
    enum mr_status status = MR_OK;

    *tally = (struct mr_demo_tally){.rides = 0};
    play.asks = calloc((size_t)play.asks_n * ASKS_OF_ONE, sizeof *play.asks);
    play.is_shown = calloc(play.asks_n, sizeof *play.is_shown);
    if (!play.asks || !play.is_shown)
        status = mr_err_set(err, MR_NO_MEMORY, "Out of memory", NULL, NULL);
    for (uint32_t i = 0; !status && i < play.asks_n; i++)
        play.asks[i].request = i;
    play.began_us = play.look_us = now_us();
    play.line_us = play.began_us + LINE_US;
    if (!status && phase->ep)
        mr_demo_ep_start(phase->ep, feed->mr);
    while (!status && !is_over(&play))
        status = turn(&play, err);
    if (play.asks)
        count_up(&play, tally);
    free(play.asks);
    free(play.is_shown);
    return status;
}

enum mr_status
mr_demo_feed_drain(struct mr_demo_feed *feed, int timeout_ms, struct mr_err *err)
{
    static const char sql[] =
        "select (select count(*) from millrace.inbox), (select count(*) from "
        "millrace.job j"
        " where not exists (select from millrace.result r where r.id = j.id))";
    int64_t end_us = now_us() + (int64_t)timeout_ms * 1000, inbox = 1, jobs = 1;
    struct pollfd fd = {.fd = feed->signals, .events = POLLIN};
    enum mr_status status;

    while (now_us() < end_us) {
        struct pg_result *rows = NULL;

        status = mr_pg_run(feed->pg, sql, 0, NULL, &rows, err);
        if (status)
            return status;
        inbox = mr_pg_int(rows, 0, 0);
        jobs = mr_pg_int(rows, 0, 1);
        mr_pg_free_result(&rows);
        if (inbox == 0 && jobs == 0)
            return MR_OK;
        if (poll(&fd, 1, DRAIN_POLL_MS) > 0)
            return mr_err_set(
                err, MR_CANCELLED, "Stopped", "somebody asked for it", NULL);
    }
    return mr_err_setf(err, MR_TIMEOUT, "The jobs do not come to an end",
        "See the logs in .millrace.",
        "%" PRId64 " in the inbox, %" PRId64 " without a result", inbox, jobs);
}
