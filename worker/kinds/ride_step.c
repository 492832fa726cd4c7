#include "worker/kinds/ride_step.h"

#include <stdio.h>

bool
mr_ride_step_follow(struct millrace_job *job, const char *kind, const char *ride,
    const char *key, const char *value, uint32_t delay_ms, char id[MR_RIDE_ID_TEXT])
{
    struct millrace_follow_up next = {
        .kind = kind, .priority = MILLRACE_PRIORITY_DEFAULT, .delay_ms = delay_ms};
    struct millrace_pack *pack = millrace_pack_new(job);

    millrace_pack_map(pack, key ? 2 : 1);
    millrace_pack_str(pack, "ride");
    millrace_pack_str(pack, ride);
    if (key) {
        millrace_pack_str(pack, key);
        millrace_pack_str(pack, value);
    }
    next.payload = millrace_pack_bytes(pack, &next.payload_bytes);
    return next.payload && millrace_submit(job, kind, &next, id);
}

bool
mr_ride_step_record(struct millrace_job *job, const char *ride, const char *state,
    const char *first, const char *second)
{
    static const char sql[] =
        "insert into ride.event (ride_id, n, state, job, attempt, follow_ups)"
        " select $1::uuid, coalesce(max(n), 0) + 1, $2, $3::uuid, $4::int, $5::uuid[]"
        " from ride.event where ride_id = $1::uuid";
    char follow_ups[2 * MR_RIDE_ID_TEXT + 4];
    const char *params[] = {ride, state, millrace_job_id(job),
        mr_ride_step_text(job, millrace_job_attempt(job)), follow_ups};

    snprintf(follow_ups, sizeof follow_ups, "{%s%s%s}", first ? first : "",
        first && second ? "," : "", second ? second : "");
    return millrace_sql(job, sql, 5, params) != NULL;
}

const char *
mr_ride_step_text(struct millrace_job *job, int64_t v)
{
    char *text = millrace_alloc(job, 24);

    if (!text)
        return "";
    snprintf(text, 24, "%lld", (long long)v);
    return text;
}
