#include "worker/kinds/args.h"
#include "worker/kinds/kinds.h"
#include "worker/kinds/ride_map.h"
#include "worker/kinds/ride_step.h"

#include <string.h>

/* The first step: the ride, its route's calculation and the search for a vehicle, all or none. */

/* By then the route is usually there, so that ride.match need not snooze for it. */
enum { MATCH_DELAY_MS = 10 };

struct request {
    const char *rider, *key, *from, *to, *class_name;
    int64_t speed, patience_ms;
};

static bool
read_request(struct millrace_job *job, struct request *r)
{
    uint32_t edge;

    return mr_args_str(job, "rider", NULL, 64, &r->rider) &&
           mr_args_str(job, "key", NULL, 64, &r->key) &&
           mr_args_str(job, "from", NULL, 200, &r->from) &&
           mr_args_str(job, "to", NULL, 200, &r->to) &&
           mr_args_str(job, "class", "bus", 32, &r->class_name) &&
           mr_args_int(job, "speed", 1, 1, 1000000, &r->speed) &&
           mr_args_int(job, "patience_ms", 600000, 1, 86400000, &r->patience_ms) &&
           mr_ride_map_graph_of(job, r->class_name) &&
           mr_ride_map_edge(job, r->from, &edge) && mr_ride_map_edge(job, r->to, &edge);
}

static enum millrace_answer
answer(struct millrace_job *job, const char *ride, bool is_repeat)
{
    millrace_put_map(job, 2);
    millrace_put_str(job, "ride");
    millrace_put_str(job, ride);
    millrace_put_str(job, "is_repeat");
    millrace_put_bool(job, is_repeat);
    return MILLRACE_SUCCEEDED;
}

/* The rider has used that key before: the same request gets the same ride, another one is
 * refused. How fast the drive is simulated is not part of the request. */
static enum millrace_answer
repeat(struct millrace_job *job, const struct request *r)
{
    static const char sql[] = "select id, from_edge, to_edge, class from ride.ride"
                              " where rider = $1 and request_key = $2";
    const char *params[] = {r->rider, r->key};
    const char *wanted[] = {r->from, r->to, r->class_name};
    struct millrace_rows *rows = millrace_sql(job, sql, 2, params);

    if (!rows)
        return millrace_sql_failed(job);
    if (millrace_rows_count(rows) != 1)
        return millrace_fail(job, "the ride of that key has vanished");
    for (int i = 0; i < 3; i++) {
        if (strcmp(millrace_rows_text(rows, 0, 1 + i), wanted[i]) != 0)
            return millrace_fail_for_good(job,
                "rider %s has used the request key %s for another ride (%s); use a new "
                "key",
                r->rider, r->key, millrace_rows_text(rows, 0, 0));
    }
    return answer(job, millrace_rows_text(rows, 0, 0), true);
}

static bool
submit_route(struct millrace_job *job, const struct request *r, char id[MR_RIDE_ID_TEXT])
{
    struct millrace_follow_up next = {
        .kind = "route.plan", .priority = MILLRACE_PRIORITY_DEFAULT};
    struct millrace_pack *pack = millrace_pack_new(job);

    millrace_pack_map(pack, 3);
    millrace_pack_str(pack, "from");
    millrace_pack_str(pack, r->from);
    millrace_pack_str(pack, "to");
    millrace_pack_str(pack, r->to);
    millrace_pack_str(pack, "class");
    millrace_pack_str(pack, r->class_name);
    next.payload = millrace_pack_bytes(pack, &next.payload_bytes);
    return next.payload && millrace_submit(job, next.kind, &next, id);
}

static enum millrace_answer
run(struct millrace_job *job)
{
    static const char sql[] =
        "insert into ride.ride (id, rider, request_key, class, from_edge, to_edge, speed,"
        " patience_ms, state) values ($1, $2, $3, $4, $5, $6, $7, $8, 'requested')"
        " on conflict (rider, request_key) do nothing";
    const char *ride = millrace_job_id(job);
    char route[MR_RIDE_ID_TEXT], match[MR_RIDE_ID_TEXT];
    struct millrace_rows *rows;
    struct request r;

    if (!read_request(job, &r))
        return MILLRACE_FAILED_FOR_GOOD;
    const char *params[] = {ride, r.rider, r.key, r.class_name, r.from, r.to,
        mr_ride_step_text(job, r.speed), mr_ride_step_text(job, r.patience_ms)};
    rows = millrace_sql(job, sql, 8, params);
    if (!rows)
        return millrace_sql_failed(job);
    if (millrace_rows_affected(rows) == 0)
        return repeat(job, &r);
    if (!submit_route(job, &r, route) ||
        !mr_ride_step_follow(
            job, "ride.match", ride, "route", route, MATCH_DELAY_MS, match) ||
        !mr_ride_step_record(job, ride, "requested", route, match))
        return millrace_sql_failed(job);
    return answer(job, ride, false);
}

const struct millrace_kind mr_kind_ride_request = {
    .name = "ride.request",
    .help = "{\"rider\",\"key\",\"from\":edge,\"to\":edge,\"class\",\"speed\",\"patience_"
            "ms\"} -> {ride,is_repeat}",
    .run = run,
    .is_transactional = true,
    .prepare = mr_ride_map_prepare,
    .dispose = mr_ride_map_dispose,
};
