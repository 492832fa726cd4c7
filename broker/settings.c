#include "broker/settings.h"

#include "broker/socket.h"

#include <stddef.h>
#include <string.h>

#define AT(field) offsetof(struct mr_settings, field)
#define TEXT(name, field, initial, help)                                                 \
    {                                                                                    \
        name, MR_CONF_STRING, AT(field), initial, 0, 0, NULL, help, false                \
    }
#define NUMBER(name, field, initial, min, max, help)                                     \
    {                                                                                    \
        name, MR_CONF_INT, AT(field), initial, min, max, NULL, help, false               \
    }
#define CHOICE(name, field, initial, choices, help)                                      \
    {                                                                                    \
        name, MR_CONF_CHOICE, AT(field), initial, 0, 0, choices, help, false             \
    }
#define SWITCH(name, field, initial, help)                                               \
    {                                                                                    \
        name, MR_CONF_BOOL, AT(field), initial, 0, 0, NULL, help, false                  \
    }
#define ENDPOINT_BYTES 256
#define HOUR_MS INT64_C(3600000)
#define DAY_MS (24 * HOUR_MS)

const struct mr_conf_row mr_settings_rows[] = {
    TEXT("front", front, "tcp://127.0.0.1:*",
        "endpoints for front ends, by commas; port * takes a free one"),
    TEXT("back", back, "tcp://127.0.0.1:*", "endpoints for workers"),
    {"database", MR_CONF_STRING, AT(database), "", 0, 0, NULL,
        "connection string of PostgreSQL", true},
    TEXT("key_file", key_file, "",
        "the broker's key (`millrace key new broker`): with it every tcp:// endpoint is "
        "encrypted, and only registered keys get in"),
    SWITCH("insecure", is_insecure, "false",
        "without a key: listen in plain text beyond this host all the same"),
    SWITCH("no_wait", does_not_wait, "false",
        "end at once when the database is down at start"),
    TEXT("ready_file", ready_file, "", "written with the endpoints when they are served"),
    TEXT("user", user, "",
        "started as root: whom to become once the endpoints are open; root: nobody else"),
    SWITCH("core_dumps", keeps_core_dumps, "false",
        "a crash may write memory to disk, and debuggers of the same user look into it"),
    CHOICE("log_level", log_level, "info", "error|warn|info|debug",
        "what is written to standard error"),
    CHOICE("unknown_kinds", unknown_kinds, "refuse", "refuse|accept",
        "jobs of a kind that no worker has ever offered"),
    NUMBER("shard", shard, "0", 0, 1023, "number of the shard that this broker owns"),
    NUMBER("lease_ms", lease_ms, "7500", 500, HOUR_MS,
        "a standby takes over when the owner is silent so long"),
    NUMBER("sweep_ms", sweep_ms, "2000", 50, HOUR_MS,
        "how often to look for jobs that were submitted by plain SQL"),
    NUMBER("drain_ms", drain_ms, "3000", 0, HOUR_MS,
        "when stopped: how long commits may take to finish"),
    NUMBER("retention_days", retention_days, "7", 1, 3650,
        "finished jobs are kept at least so long"),
    NUMBER("window_jobs", window_jobs, "16384", 1, 1000000,
        "jobs that one client may have unacknowledged"),
    NUMBER("jobs_max", jobs_max, "1000000", 1, 16000000, "unfinished jobs in memory"),
    NUMBER("payload_mib_max", payload_mib_max, "96", 1, 1048576,
        "memory for their payloads; above it they are read back when due"),
    NUMBER("storing_max", storing_max, "65536", 1, 1000000,
        "jobs that wait for their commit"),
    NUMBER("storing_mib_max", storing_mib_max, "64", 1, 65536,
        "payloads that wait for their commit"),
    NUMBER("unfinished_mib_max", unfinished_mib_max, "512", 16, 1048576,
        "memory for messages that have not come whole; above it the largest is refused"),
    NUMBER("mute_logins_max", mute_logins_max, "65536", 100, 16000000,
        "logins without a word; then the broker ends, to be started again"),
    NUMBER("workers_max", workers_max, "1024", 1, 65536, "connected workers"),
    NUMBER("clients_max", clients_max, "4096", 1, 65536, "connected front ends"),
    NUMBER("queues_max", queues_max, "256", 1, 16384, "queues"),
    NUMBER("kinds_max", kinds_max, "512", 1, 16384, "kinds"),
    NUMBER("lanes_max", lanes_max, "262144", 1, 16000000, "lanes with jobs in them"),
    NUMBER("principals_max", principals_max, "4096", 1, 16383,
        "principals with jobs or connections"),
    NUMBER("watches_max", watches_max, "262144", 1, 16000000,
        "jobs that front ends wait for"),
    NUMBER("heartbeat_ms", heartbeat_ms, "1000", 50, 60000,
        "peers say something so often; three missed ones are a loss"),
    NUMBER("grace_ms", grace_ms, "2500", 0, HOUR_MS,
        "after a start: how long workers may claim what they hold"),
    NUMBER("age_ms", age_ms, "10000", 1, DAY_MS,
        "waiting so long raises a job's priority by one"),
    NUMBER("busy_retry_ms", busy_retry_ms, "200", 1, 60000,
        "the hint in a refusal: try again after"),
    NUMBER("attempts_max", attempts_max, "5", 1, 1000, "default attempts of a job"),
    NUMBER("timeout_ms", timeout_ms, "60000", 1, 30 * DAY_MS,
        "default limit of one attempt"),
    NUMBER("backoff_base_ms", backoff_base_ms, "1000", 1, DAY_MS,
        "default wait after the first failure"),
    NUMBER("backoff_cap_ms", backoff_cap_ms, "600000", 1, 7 * DAY_MS,
        "default limit of that wait"),
    NUMBER("backoff_factor_percent", backoff_factor_percent, "200", MR_BACKOFF_FACTOR_MIN,
        MR_BACKOFF_FACTOR_MAX, "default growth of that wait with each failure"),
    NUMBER("backoff_jitter_percent", backoff_jitter_percent, "20", 0,
        MR_BACKOFF_JITTER_MAX, "default chance in that wait, more or less"),
    NUMBER("timeout_slack_ms", timeout_slack_ms, "5000", 0, HOUR_MS,
        "a worker enforces a timeout; so much later the broker does"),
    NUMBER("losses_max", losses_max, "3", 1, 255,
        "a job fails that was running so often when its worker or process ended"),
    NUMBER("id_past_hours", id_past_hours, "24", 1, 8784,
        "how old the time in a new job's id may be"),
    NUMBER("id_future_ms", id_future_ms, "60000", 1, DAY_MS,
        "how far ahead the time in a new job's id may be"),
    {NULL, MR_CONF_STRING, 0, NULL, 0, 0, NULL, NULL, false},
};

bool
mr_settings_next_endpoint(const char **rest, char *out, size_t room)
{
    const char *from = *rest;
    size_t n;

    while (from && (*from == ',' || *from == ' '))
        from++;
    if (!from || !*from) {
        *rest = NULL;
        return false;
    }
    n = strcspn(from, ", ");
    if (n >= room)
        return false;
    memcpy(out, from, n);
    out[n] = '\0';
    *rest = from + n;
    return true;
}

/* The first one where nobody has to prove who he is, and everybody on the way may read along. */
static bool
find_open(const char *list, bool has_key, char endpoint[ENDPOINT_BYTES])
{
    const char *rest = list;

    while (mr_settings_next_endpoint(&rest, endpoint, ENDPOINT_BYTES))
        if (mr_socket_way(endpoint, has_key) == MR_CURVE_BY_ALL)
            return true;
    return false;
}

bool
mr_settings_is_open(const struct mr_settings *settings, bool has_key)
{
    char endpoint[ENDPOINT_BYTES];

    return find_open(settings->front, has_key, endpoint) ||
           find_open(settings->back, has_key, endpoint);
}

static enum mr_status
check_endpoints(const char *name, const char *list, struct mr_err *err)
{
    const char *rest = list;
    char endpoint[ENDPOINT_BYTES];
    int count = 0;

    while (mr_settings_next_endpoint(&rest, endpoint, sizeof endpoint)) {
        bool is_known =
            strncmp(endpoint, "tcp://", 6) == 0 || strncmp(endpoint, "ipc://", 6) == 0;

        count++;
        if (!is_known)
            return mr_err_setf(err, MR_BAD_SETTING, "An endpoint cannot be used.",
                "Write tcp://ADDRESS:PORT or ipc://PATH.",
                "`%s` has %s, which is neither tcp:// nor ipc://.", name, endpoint);
    }
    if (rest || count == 0)
        return mr_err_setf(err, MR_BAD_SETTING, "An endpoint cannot be used.",
            "Give at least one, for example tcp://127.0.0.1:7654.",
            "`%s` is empty or has an endpoint of more than 255 bytes.", name);
    return MR_OK;
}

static enum mr_status
check_exposure(const struct mr_settings *settings, struct mr_err *err)
{
    char endpoint[ENDPOINT_BYTES];

    if (!find_open(settings->front, false, endpoint) &&
        !find_open(settings->back, false, endpoint))
        return MR_OK;
    return mr_err_setf(err, MR_BAD_SETTING, "An endpoint would be open to other hosts.",
        "Set `key_file` (`millrace key new broker` makes a key), listen on 127.0.0.1, or "
        "set `insecure = yes` if everybody who can reach that port may do as he likes.",
        "%s leaves this host, and without a key connections are neither encrypted nor "
        "authenticated.",
        endpoint);
}

enum mr_status
mr_settings_check(const struct mr_settings *settings, bool has_key, struct mr_err *err)
{
    enum mr_status status = check_endpoints("front", settings->front, err);

    if (status == MR_OK)
        status = check_endpoints("back", settings->back, err);
    if (status == MR_OK && !settings->is_insecure && !has_key)
        status = check_exposure(settings, err);
    if (status == MR_OK && settings->backoff_base_ms > settings->backoff_cap_ms)
        status = mr_err_setf(err, MR_BAD_SETTING, "Two settings contradict each other.",
            "Raise backoff_cap_ms or lower backoff_base_ms.",
            "backoff_base_ms is %lld and backoff_cap_ms only %lld.",
            (long long)settings->backoff_base_ms, (long long)settings->backoff_cap_ms);
    if (status == MR_OK && settings->id_past_hours > settings->retention_days * 24)
        status = mr_err_setf(err, MR_BAD_SETTING, "Two settings contradict each other.",
            "Raise retention_days or lower id_past_hours.",
            "id_past_hours is %lld and retention_days only %lld: a job that is submitted "
            "again after it was dropped would run again.",
            (long long)settings->id_past_hours, (long long)settings->retention_days);
    return status;
}

void
mr_settings_core(const struct mr_settings *s, struct mr_core_conf *out)
{
    mr_core_conf_default(out);
    out->shard = (uint32_t)s->shard;
    out->jobs_max = (uint32_t)s->jobs_max;
    out->payload_bytes_max = (uint64_t)s->payload_mib_max << 20;
    out->storing_max = (uint32_t)s->storing_max;
    out->storing_bytes_max = (uint64_t)s->storing_mib_max << 20;
    out->workers_max = (uint32_t)s->workers_max;
    out->clients_max = (uint32_t)s->clients_max;
    out->queues_max = (uint32_t)s->queues_max;
    out->owners_max = (uint32_t)s->principals_max;
    out->kinds_max = (uint32_t)s->kinds_max;
    out->lanes_max = (uint32_t)s->lanes_max;
    out->watches_max = (uint32_t)s->watches_max;
    out->heartbeat_ms = (uint32_t)s->heartbeat_ms;
    out->grace_ms = (uint32_t)s->grace_ms;
    out->age_ms = (uint32_t)s->age_ms;
    out->busy_retry_ms = (uint32_t)s->busy_retry_ms;
    out->attempts_max = (uint32_t)s->attempts_max;
    out->timeout_ms = (uint32_t)s->timeout_ms;
    out->backoff_base_ms = (uint32_t)s->backoff_base_ms;
    out->backoff_cap_ms = (uint32_t)s->backoff_cap_ms;
    out->backoff_factor_percent = (uint32_t)s->backoff_factor_percent;
    out->backoff_jitter_percent = (uint32_t)s->backoff_jitter_percent;
    out->timeout_slack_ms = (uint32_t)s->timeout_slack_ms;
    out->losses_max = (uint32_t)s->losses_max;
    out->id_past_ms = s->id_past_hours * HOUR_MS;
    out->id_future_ms = s->id_future_ms;
    out->refuses_unknown_kinds = strcmp(s->unknown_kinds, "refuse") == 0;
    out->hash_key = mr_hash_key_random();
    out->seed = mr_hash_key_random().k0;
}
