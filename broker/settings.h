/*
 * Settings of millrace-broker: one table, read once by main before threads start, constant
 * after that.
 */
#ifndef MR_BROKER_SETTINGS_H
#define MR_BROKER_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/core/core.h"
#include "schemas/base/conf.h"
#include "schemas/base/status.h"

struct mr_settings {
    const char *front, *back; /* endpoints, separated by commas */
    const char *database;     /* connection string of libpq; "" for its own defaults */
    const char *ready_file;   /* "" for none */
    const char *key_file;     /* "": systemd's credential, or none */
    const char *log_level, *unknown_kinds;
    bool is_insecure;      /* may listen in plain text beyond this host */
    const char *user;      /* whom to become; "" for nobody else */
    bool keeps_core_dumps; /* memory may be written to disk by a crash */
    bool does_not_wait;    /* for a database that is down at start */
    int64_t shard, lease_ms, sweep_ms, drain_ms, retention_days;
    int64_t window_jobs;
    int64_t jobs_max, payload_mib_max, storing_max, storing_mib_max, unfinished_mib_max;
    int64_t mute_logins_max;
    int64_t workers_max, clients_max, queues_max, principals_max, kinds_max, lanes_max,
        watches_max;
    int64_t heartbeat_ms, grace_ms, age_ms, busy_retry_ms;
    int64_t attempts_max, timeout_ms, backoff_base_ms, backoff_cap_ms,
        backoff_factor_percent, backoff_jitter_percent;
    int64_t timeout_slack_ms, losses_max, id_past_hours, id_future_ms;
};

/* The table; ends with a row without a name. */
extern const struct mr_conf_row mr_settings_rows[];

/* What a single row cannot say: endpoints that leave this host with neither a key nor
 * `insecure`, two limits that contradict each other. MR_BAD_SETTING. */
enum mr_status mr_settings_check(
    const struct mr_settings *settings, bool has_key, struct mr_err *err) MR_MUST_CHECK;

/* True if an endpoint is open to other hosts in plain text: `insecure` was needed. */
bool mr_settings_is_open(const struct mr_settings *settings, bool has_key);

/* Those that are the core's. Draws the hash key and the seed. */
void mr_settings_core(const struct mr_settings *settings, struct mr_core_conf *out);

/* Walk through a list of endpoints: the next one into `out` (terminated), false at the end or
 * when it does not fit (`*rest` is NULL in the first case). */
bool mr_settings_next_endpoint(const char **rest, char *out, size_t room);

#endif
