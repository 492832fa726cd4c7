#include "worker/kinds/args.h"
#include "worker/kinds/kinds.h"
#include "worker/kinds/ride_map.h"
#include "worker/kinds/ride_step.h"

#include <stdlib.h>
#include <string.h>

/*
 * The contended step: take the free vehicle that is there first. Candidates are read without a
 * lock and sorted by the router; the claim then takes the first of them that is still free and
 * that nobody else is about to take (skip locked), so that matchers never wait for each other.
 */

enum { VEHICLES_MAX = 200, ROUTE_SNOOZE_MS = 20, QUOTE_DELAY_MS = 10 };

struct ride {
    const char *id, *class_name, *from;
    int64_t route_ms, route_cm;
};

struct candidate {
    const char *id;
    int64_t pickup_ms;
};

enum {
    COL_STATE,
    COL_CLASS,
    COL_FROM,
    COL_IS_LATE,
    COL_OUTCOME,
    COL_HAS_WAY,
    COL_MS,
    COL_CM,
};

static struct millrace_rows *
read_ride(struct millrace_job *job, const char *ride, const char *route)
{
    static const char sql[] =
        "select r.state, r.class, r.from_edge,"
        " (clock_timestamp() > r.requested_at + r.patience_ms * interval '1 ms')::int,"
        " p.outcome, (jsonb_typeof(p.j) = 'object')::int, (p.j->>'ms')::bigint,"
        " (p.j->>'cm')::bigint from ride.ride r left join lateral (select outcome,"
        " millrace.msgpack_to_jsonb(body) as j from millrace.result where id = $2::uuid) "
        "p"
        " on true where r.id = $1::uuid";
    const char *params[] = {ride, route};

    return millrace_sql(job, sql, 2, params);
}

/* An end without a vehicle. */
static enum millrace_answer
give_up(struct millrace_job *job, const char *ride, const char *state, const char *why)
{
    static const char sql[] =
        "update ride.ride set state = $2 where id = $1::uuid and state = 'requested'";
    const char *params[] = {ride, state};
    struct millrace_rows *rows = millrace_sql(job, sql, 2, params);

    if (!rows || !mr_ride_step_record(job, ride, state, NULL, NULL))
        return millrace_sql_failed(job);
    if (millrace_rows_affected(rows) != 1)
        return millrace_fail(job, "another attempt has moved the ride on");
    millrace_put_map(job, 2);
    millrace_put_str(job, "state");
    millrace_put_str(job, state);
    millrace_put_str(job, "why");
    millrace_put_str(job, why);
    return MILLRACE_SUCCEEDED;
}

static int
by_pickup(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    if (x->pickup_ms != y->pickup_ms)
        return x->pickup_ms < y->pickup_ms ? -1 : 1;
    return strcmp(x->id, y->id);
}

/* Free vehicles that can get there, the quickest first; -1: recorded why not. */
static int
find_candidates(
    struct millrace_job *job, const struct ride *ride, struct candidate out[VEHICLES_MAX])
{
    static const char sql[] =
        "select id, edge from ride.vehicle"
        " where class = $1 and ride_id is null order by id limit $2";
    const char *params[] = {ride->class_name, mr_ride_step_text(job, VEHICLES_MAX)};
    const struct mr_graph *graph = mr_ride_map_graph_of(job, ride->class_name);
    struct millrace_rows *rows = graph ? millrace_sql(job, sql, 2, params) : NULL;
    struct mr_route_search *search = rows ? mr_ride_map_search(job, graph) : NULL;
    struct mr_graph_cost cost;
    uint32_t to, from;
    int count = 0;

    if (!search)
        return -1;
    to = mr_road_find(mr_graph_road(graph), ride->from);
    for (int i = 0; i < millrace_rows_count(rows) && to != MR_ROAD_NONE; i++) {
        from = mr_road_find(mr_graph_road(graph), millrace_rows_text(rows, i, 1));
        if (from != MR_ROAD_NONE &&
            mr_route_costs(search, from, &to, 1, NULL, NULL, &cost) && cost.ms >= 0)
            out[count++] = (struct candidate){millrace_rows_text(rows, i, 0), cost.ms};
    }
    mr_route_search_destroy(&search);
    qsort(out, (size_t)count, sizeof *out, by_pickup);
    return count;
}

/* "{a,b,c}": ids of vehicles are plain words by a constraint. */
static const char *
array_of(struct millrace_job *job, const struct candidate *candidates, int count)
{
    char *text = millrace_alloc(job, (size_t)count * 33 + 3);
    char *p = text;

    if (!text)
        return NULL;
    *p++ = '{';
    for (int i = 0; i < count; i++) {
        size_t n = strlen(candidates[i].id);

        if (i > 0)
            *p++ = ',';
        memcpy(p, candidates[i].id, n);
        p += n;
    }
    memcpy(p, "}", 2);
    return text;
}

/* The vehicle that is ours now; NULL if all were taken meanwhile or, then with *failed, the
 * statement failed. */
static const struct candidate *
claim(struct millrace_job *job, const char *ride, const struct candidate *candidates,
    int count, bool *failed)
{
    static const char sql[] =
        "with free as (select v.id from unnest($2::text[]) with ordinality as c(id, n)"
        " join ride.vehicle v using (id) where v.ride_id is null order by c.n limit 1"
        " for update of v skip locked)"
        " update ride.vehicle v set ride_id = $1::uuid from free where v.id = free.id"
        " returning v.id";
    const char *params[] = {ride, array_of(job, candidates, count)};
    struct millrace_rows *rows = params[1] ? millrace_sql(job, sql, 2, params) : NULL;

    *failed = !rows;
    for (int i = 0; rows && millrace_rows_count(rows) == 1 && i < count; i++) {
        if (strcmp(candidates[i].id, millrace_rows_text(rows, 0, 0)) == 0)
            return &candidates[i];
    }
    return NULL;
}

static bool
submit_quote(struct millrace_job *job, int64_t cm, char id[MR_RIDE_ID_TEXT])
{
    struct millrace_follow_up next = {
        .kind = "fare.quote", .priority = MILLRACE_PRIORITY_DEFAULT};
    struct millrace_pack *pack = millrace_pack_new(job);

    millrace_pack_map(pack, 1);
    millrace_pack_str(pack, "cm");
    millrace_pack_int(pack, cm);
    next.payload = millrace_pack_bytes(pack, &next.payload_bytes);
    return next.payload && millrace_submit(job, next.kind, &next, id);
}

static enum millrace_answer
settle(struct millrace_job *job, const struct ride *ride, const struct candidate *vehicle)
{
    static const char sql[] =
        "update ride.ride set state = 'matched', vehicle_id = $2, pickup_ms = $3,"
        " route_ms = $4, route_cm = $5, matched_at = clock_timestamp()"
        " where id = $1::uuid and state = 'requested'";
    const char *params[] = {ride->id, vehicle->id,
        mr_ride_step_text(job, vehicle->pickup_ms),
        mr_ride_step_text(job, ride->route_ms), mr_ride_step_text(job, ride->route_cm)};
    char quote[MR_RIDE_ID_TEXT], pay[MR_RIDE_ID_TEXT];
    struct millrace_rows *rows = millrace_sql(job, sql, 5, params);

    if (!rows)
        return millrace_sql_failed(job);
    if (millrace_rows_affected(rows) != 1)
        return millrace_fail(job, "another attempt has moved the ride on");
    if (!submit_quote(job, ride->route_cm, quote) ||
        !mr_ride_step_follow(
            job, "pay.charge", ride->id, "fare", quote, QUOTE_DELAY_MS, pay) ||
        !mr_ride_step_record(job, ride->id, "matched", quote, pay))
        return millrace_sql_failed(job);
    millrace_put_map(job, 4);
    millrace_put_str(job, "state");
    millrace_put_str(job, "matched");
    millrace_put_str(job, "vehicle");
    millrace_put_str(job, vehicle->id);
    millrace_put_str(job, "pickup_ms");
    millrace_put_int(job, vehicle->pickup_ms);
    millrace_put_str(job, "route_ms");
    millrace_put_int(job, ride->route_ms);
    return MILLRACE_SUCCEEDED;
}

/* 100 to 500 ms, different for each ride and attempt. */
static uint32_t
patience(const struct millrace_job *job)
{
    uint32_t h = millrace_job_attempt(job) * 2654435761u;

    for (const char *c = millrace_job_id(job); *c; c++)
        h = (h ^ (uint8_t)*c) * 16777619u;
    return 100 + (h >> 8) % 401;
}

static enum millrace_answer
match(struct millrace_job *job, const struct ride *ride)
{
    struct candidate *candidates = millrace_alloc(job, VEHICLES_MAX * sizeof *candidates);
    const struct candidate *vehicle;
    bool failed;
    int count;

    if (!candidates)
        return millrace_fail(job, "out of memory");
    count = find_candidates(job, ride, candidates);
    if (count < 0)
        return millrace_sqlstate(job)[0] ? millrace_sql_failed(job) : MILLRACE_FAILED;
    if (count == 0)
        return millrace_snooze(job, patience(job));
    vehicle = claim(job, ride->id, candidates, count, &failed);
    if (failed)
        return millrace_sql_failed(job);
    return vehicle ? settle(job, ride, vehicle) : millrace_snooze(job, patience(job));
}

static enum millrace_answer
run(struct millrace_job *job)
{
    struct ride ride = {.id = NULL};
    struct millrace_rows *rows;
    const char *route;

    if (!mr_args_id(job, "ride", &ride.id) || !mr_args_id(job, "route", &route))
        return MILLRACE_FAILED_FOR_GOOD;
    rows = read_ride(job, ride.id, route);
    if (!rows)
        return millrace_sql_failed(job);
    if (millrace_rows_count(rows) == 0)
        return millrace_fail_for_good(job, "there is no ride %s", ride.id);
    if (strcmp(millrace_rows_text(rows, 0, COL_STATE), "requested") != 0)
        return millrace_fail_for_good(job, "ride %s is %s already", ride.id,
            millrace_rows_text(rows, 0, COL_STATE));
    if (millrace_rows_int(rows, 0, COL_IS_LATE))
        return give_up(job, ride.id, "cancelled", "no vehicle was free in time");
    if (!millrace_rows_text(rows, 0, COL_OUTCOME))
        return millrace_snooze(job, ROUTE_SNOOZE_MS);
    if (!millrace_rows_int(rows, 0, COL_HAS_WAY))
        return give_up(job, ride.id, "refused", "there is no way");
    ride.class_name = millrace_rows_text(rows, 0, COL_CLASS);
    ride.from = millrace_rows_text(rows, 0, COL_FROM);
    ride.route_ms = millrace_rows_int(rows, 0, COL_MS);
    ride.route_cm = millrace_rows_int(rows, 0, COL_CM);
    return match(job, &ride);
}

const struct millrace_kind mr_kind_ride_match = {
    .name = "ride.match",
    .help =
        "{\"ride\":id,\"route\":id of route.plan} -> {state,vehicle,pickup_ms,route_ms}",
    .run = run,
    .is_transactional = true,
    .prepare = mr_ride_map_prepare,
    .dispose = mr_ride_map_dispose,
};
