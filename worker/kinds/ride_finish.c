#include "worker/kinds/args.h"
#include "worker/kinds/kinds.h"
#include "worker/kinds/ride_step.h"

/* The last step: book the fare, free the vehicle where it arrived. */

/* Of each fare, rounded down to cents; the driver gets the rest. */
enum { COMMISSION_PERCENT = 20 };

static bool
book(struct millrace_job *job, const char *ride, const char *rider, const char *vehicle,
    int64_t cents)
{
    static const char sql[] =
        "insert into ride.ledger_entry (txn, account, cents, ride_id)"
        " select $1::uuid, account, cents, $2::uuid from (values ('rider:' || $3::text,"
        " -($5::bigint)), ('driver:' || $4::text, $5::bigint - $6::bigint),"
        " ('commission', $6::bigint)) as e(account, cents) where cents <> 0";
    const char *params[] = {millrace_job_id(job), ride, rider, vehicle,
        mr_ride_step_text(job, cents),
        mr_ride_step_text(job, cents * COMMISSION_PERCENT / 100)};

    return millrace_sql(job, sql, 6, params) != NULL;
}

static bool
free_vehicle(struct millrace_job *job, const char *ride, const char *edge)
{
    static const char sql[] =
        "update ride.vehicle set ride_id = null, edge = $2 where ride_id = $1::uuid";
    const char *params[] = {ride, edge};

    return millrace_sql(job, sql, 2, params) != NULL;
}

static enum millrace_answer
run(struct millrace_job *job)
{
    static const char sql[] =
        "update ride.ride set state = 'done' where id = $1::uuid and state = 'charged'"
        " returning rider, vehicle_id, fare_cents, to_edge";
    struct millrace_rows *rows;
    const char *ride, *vehicle;
    int64_t cents;

    if (!mr_args_id(job, "ride", &ride))
        return MILLRACE_FAILED_FOR_GOOD;
    rows = millrace_sql(job, sql, 1, &ride);
    if (!rows)
        return millrace_sql_failed(job);
    if (millrace_rows_count(rows) != 1)
        return millrace_fail_for_good(job, "ride %s is not there, or not charged", ride);
    vehicle = millrace_rows_text(rows, 0, 1);
    cents = millrace_rows_int(rows, 0, 2);
    if (!book(job, ride, millrace_rows_text(rows, 0, 0), vehicle, cents) ||
        !free_vehicle(job, ride, millrace_rows_text(rows, 0, 3)) ||
        !mr_ride_step_record(job, ride, "done", NULL, NULL))
        return millrace_sql_failed(job);
    millrace_put_map(job, 3);
    millrace_put_str(job, "receipt");
    millrace_put_str(job, millrace_job_id(job));
    millrace_put_str(job, "vehicle");
    millrace_put_str(job, vehicle);
    millrace_put_str(job, "cents");
    millrace_put_int(job, cents);
    return MILLRACE_SUCCEEDED;
}

const struct millrace_kind mr_kind_ride_finish = {
    .name = "ride.finish",
    .help = "{\"ride\":id} -> {receipt,vehicle,cents}; books the fare, frees the vehicle",
    .run = run,
    .is_transactional = true,
};
