#include "broker/call_lists.h"

#include "broker/door.h"
#include "broker/zap.h"

#include <stddef.h>
#include <string.h>

/* ---- stats -------------------------------------------------------------------------------------- */

struct number {
    const char *name;
    size_t offset;
    bool is_wide; /* 64 bits, else 32 */
};

#define GAUGE(field)                                                                     \
    {                                                                                    \
#field, offsetof(struct mr_core_stats, field), false                             \
    }
#define TOTAL(field)                                                                     \
    {                                                                                    \
#field, offsetof(struct mr_core_stats, field), true                              \
    }
#define COUNT(field)                                                                     \
    {                                                                                    \
#field, offsetof(struct mr_counters, field), true                                \
    }
#define DOOR(field)                                                                      \
    {                                                                                    \
#field, offsetof(struct mr_door_counters, field), true                           \
    }
#define SENT(name, field)                                                                \
    {                                                                                    \
        name, offsetof(struct mr_gather_counters, field), true                           \
    }

static const struct number of_core[] = {
    GAUGE(jobs),
    GAUGE(storing),
    GAUGE(waiting),
    GAUGE(ready),
    GAUGE(sent),
    GAUGE(settling),
    GAUGE(recovered),
    GAUGE(checking),
    TOTAL(payload_bytes),
    GAUGE(loading),
    GAUGE(workers),
    GAUGE(clients),
    GAUGE(watches),
    GAUGE(lanes),
    TOTAL(submitted),
    TOTAL(known),
    TOTAL(refused),
    TOTAL(dispatched),
    TOTAL(succeeded),
    TOTAL(failed),
    TOTAL(cancelled),
    TOTAL(expired),
    TOTAL(retried),
    TOTAL(snoozed),
    TOTAL(lost),
    TOTAL(crashed),
    TOTAL(timed_out),
    TOTAL(given_back),
    TOTAL(stale),
    TOTAL(adopted),
    TOTAL(quarantined),
    TOTAL(over_quota),
};
static const struct number of_door[] = {
    DOOR(connections),
    DOOR(unheard),
    DOOR(accepted),
    DOOR(logins_refused),
    DOOR(logins_broken),
    DOOR(logins_timed_out),
    DOOR(crowded_out),
    DOOR(silent_out),
    DOOR(claimed_out),
    DOOR(mute_logins),
    DOOR(endless_out),
};
static const struct number of_loop[] = {
    COUNT(received),
    COUNT(received_bytes),
    COUNT(malformed),
    COUNT(multipart),
    COUNT(no_session),
    COUNT(denied),
    COUNT(nameless),
    COUNT(hello_refused),
    COUNT(scolds_withheld),
    COUNT(turns),
    COUNT(batches),
    COUNT(rows),
    COUNT(sweeps),
    COUNT(reads),
    COUNT(audited),
    COUNT(audit_dropped),
};
static const struct number of_gather[] = {
    SENT("messages_sent", messages),
    SENT("bytes_sent", bytes),
    SENT("events_dropped", events_dropped),
    SENT("unreachable", unreachable),
    SENT("too_slow", too_slow),
};
#define LENGTH(array) ((uint32_t)(sizeof(array) / sizeof *(array)))

static void
write_numbers(
    struct mr_wr *wr, const void *from, const struct number *numbers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const char *at = (const char *)from + numbers[i].offset;
        uint64_t wide;
        uint32_t narrow;

        if (numbers[i].is_wide) {
            memcpy(&wide, at, sizeof wide);
        } else {
            memcpy(&narrow, at, sizeof narrow);
            wide = narrow;
        }
        mr_wr_cstr(wr, numbers[i].name);
        mr_wr_uint(wr, wide);
    }
}

/* Messages and jobs that were refused for want of a right, by right. */
static void
write_refused(struct mr_wr *wr, const struct mr_guard *guard)
{
    mr_wr_cstr(wr, "strangers");
    mr_wr_uint(wr, guard->strangers);
    mr_wr_cstr(wr, "identity_thefts");
    mr_wr_uint(wr, guard->thefts);
    mr_wr_cstr(wr, "refused_rights");
    mr_wr_array(wr, MR_RIGHTS);
    for (uint32_t i = 0; i < MR_RIGHTS; i++) {
        mr_wr_map(wr, 2);
        mr_wr_cstr(wr, "right");
        mr_wr_cstr(wr, mr_right_name((enum mr_right)i));
        mr_wr_cstr(wr, "refused");
        mr_wr_uint(wr, guard->refused[i]);
    }
}
#define OF_GUARD 3u

static void
write_phases(struct mr_wr *wr, const struct mr_meter *meter)
{
    mr_wr_cstr(wr, "phases");
    mr_wr_array(wr, MR_METER_PHASES);
    for (uint32_t i = 0; i < MR_METER_PHASES; i++) {
        mr_wr_map(wr, 3);
        mr_wr_cstr(wr, "phase");
        mr_wr_cstr(wr, mr_meter_phase_name((enum mr_meter_phase)i));
        mr_wr_cstr(wr, "times");
        mr_wr_uint(wr, meter->times[i]);
        mr_wr_cstr(wr, "us");
        mr_wr_uint(wr, meter->ns[i] / 1000);
    }
}

static void
write_verbs(struct mr_wr *wr, const struct mr_meter *meter)
{
    mr_wr_cstr(wr, "verbs");
    mr_wr_array(wr, MR_VERB_COUNT);
    for (uint32_t i = 0; i < MR_VERB_COUNT; i++) {
        mr_wr_map(wr, 3);
        mr_wr_cstr(wr, "verb");
        mr_wr_cstr(wr, mr_verb_name((enum mr_verb)i));
        mr_wr_cstr(wr, "received");
        mr_wr_uint(wr, meter->received[i]);
        mr_wr_cstr(wr, "sent");
        mr_wr_uint(wr, meter->sent[i]);
    }
}

static void
write_commits(struct mr_wr *wr, const struct mr_meter *meter)
{
    mr_wr_cstr(wr, "commits");
    mr_wr_array(wr, MR_METER_SIZES);
    for (uint32_t i = 0; i < MR_METER_SIZES; i++) {
        mr_wr_map(wr, 2);
        mr_wr_cstr(wr, "rows_min");
        mr_wr_uint(wr, UINT64_C(1) << i);
        mr_wr_cstr(wr, "commits");
        mr_wr_uint(wr, meter->commits[i]);
    }
}

/* Numbers that are made when they are asked for, and the lists. */
static void
write_meter(struct mr_wr *wr, const struct mr_meter *meter)
{
    mr_wr_cstr(wr, "loop_cpu_us");
    mr_wr_uint(wr, mr_meter_cpu_us());
    mr_wr_cstr(wr, "commit_us");
    mr_wr_uint(wr, meter->commit_ns / 1000);
    write_phases(wr, meter);
    write_verbs(wr, meter);
    write_commits(wr, meter);
}
#define OF_METER 5u

/* Who knocks. */
static void
write_zap(struct mr_wr *wr, const struct mr_broker *broker)
{
    struct mr_zap_counts counts;

    mr_zap_counts(broker->zap, &counts);
    mr_wr_cstr(wr, "is_encrypted");
    mr_wr_bool(wr, broker->key != NULL);
    mr_wr_cstr(wr, "is_insecure");
    mr_wr_bool(wr, broker->is_open);
    mr_wr_cstr(wr, "keys");
    mr_wr_uint(wr, counts.keys);
    mr_wr_cstr(wr, "let_in");
    mr_wr_uint(wr, counts.admitted);
    mr_wr_cstr(wr, "keys_refused");
    mr_wr_uint(wr, counts.refused[MR_ZAP_UNKNOWN_KEY]);
    mr_wr_cstr(wr, "keys_too_early");
    mr_wr_uint(wr, counts.refused[MR_ZAP_TOO_EARLY]);
    mr_wr_cstr(wr, "mechanisms_refused");
    mr_wr_uint(wr, counts.refused[MR_ZAP_MECHANISM] + counts.refused[MR_ZAP_MALFORMED]);
}
#define OF_ZAP 7u

void
mr_call_lists_stats(const struct mr_broker *broker, struct mr_wr *wr)
{
    struct mr_core_stats stats;

    mr_core_stats(broker->core, &stats);
    mr_wr_map(wr, LENGTH(of_core) + LENGTH(of_door) + LENGTH(of_loop) +
                      LENGTH(of_gather) + OF_METER + OF_GUARD + OF_ZAP + 3);
    mr_wr_cstr(wr, "shard");
    mr_wr_int(wr, broker->settings->shard);
    mr_wr_cstr(wr, "epoch");
    mr_wr_uint(wr, broker->epoch);
    mr_wr_cstr(wr, "is_store_up");
    mr_wr_bool(wr, broker->is_store_up);
    write_numbers(wr, &stats, of_core, LENGTH(of_core));
    write_numbers(wr, mr_door_counters(broker), of_door, LENGTH(of_door));
    write_numbers(wr, &broker->counters, of_loop, LENGTH(of_loop));
    write_numbers(wr, mr_gather_counters(broker->gather), of_gather, LENGTH(of_gather));
    write_refused(wr, &broker->guard);
    write_zap(wr, broker);
    write_meter(wr, &broker->meter);
}

/* ---- lists ---------------------------------------------------------------------------------------- */

void
mr_call_lists_queues(const struct mr_broker *broker, struct mr_wr *wr)
{
    struct mr_core_queue_info info;
    uint32_t cursor = 0, count = 0;
    size_t mark = mr_wr_array_open(wr);

    for (; mr_core_next_queue(broker->core, &cursor, &info); count++) {
        mr_wr_map(wr, 6);
        mr_wr_cstr(wr, "name");
        mr_wr_str(wr, info.name);
        mr_wr_cstr(wr, "is_paused");
        mr_wr_bool(wr, info.is_paused);
        mr_wr_cstr(wr, "waiting");
        mr_wr_uint(wr, info.waiting);
        mr_wr_cstr(wr, "ready");
        mr_wr_uint(wr, info.ready);
        mr_wr_cstr(wr, "running");
        mr_wr_uint(wr, info.sent);
        mr_wr_cstr(wr, "finished");
        mr_wr_uint(wr, info.finished);
    }
    mr_wr_close(wr, mark, count);
}

void
mr_call_lists_workers(const struct mr_broker *broker, struct mr_wr *wr)
{
    struct mr_core_worker_info info;
    uint32_t cursor = 0, count = 0;
    size_t mark = mr_wr_array_open(wr);

    for (; mr_core_next_worker(broker->core, &cursor, &info); count++) {
        char instance[MR_UUID_TEXT_MAX];
        int64_t silent_us = broker->now.mono_us - info.heard_us;

        mr_wr_map(wr, 8);
        mr_wr_cstr(wr, "name");
        mr_wr_str(wr, info.name);
        mr_wr_cstr(wr, "instance");
        mr_wr_cstr(wr, mr_uuid_format(info.instance, instance));
        mr_wr_cstr(wr, "threads");
        mr_wr_uint(wr, info.threads);
        mr_wr_cstr(wr, "running");
        mr_wr_uint(wr, info.sent);
        mr_wr_cstr(wr, "credit");
        mr_wr_uint(wr, info.credit);
        mr_wr_cstr(wr, "kinds");
        mr_wr_uint(wr, info.kinds);
        mr_wr_cstr(wr, "silent_ms");
        mr_wr_int(wr, silent_us > 0 ? silent_us / 1000 : 0);
        mr_wr_cstr(wr, "is_draining");
        mr_wr_bool(wr, info.is_draining);
    }
    mr_wr_close(wr, mark, count);
}

void
mr_call_lists_kinds(const struct mr_broker *broker, struct mr_wr *wr)
{
    struct mr_core_kind_info info;
    uint32_t cursor = 0, count = 0;
    size_t mark = mr_wr_array_open(wr);

    for (; mr_core_next_kind(broker->core, &cursor, &info); count++) {
        mr_wr_map(wr, 4);
        mr_wr_cstr(wr, "name");
        mr_wr_str(wr, info.name);
        mr_wr_cstr(wr, "workers");
        mr_wr_uint(wr, info.workers);
        mr_wr_cstr(wr, "ready");
        mr_wr_uint(wr, info.ready);
        mr_wr_cstr(wr, "running");
        mr_wr_uint(wr, info.sent);
    }
    mr_wr_close(wr, mark, count);
}

/* ---- what principals use ---------------------------------------------------------------------------- */

/* A row takes 400 bytes at most: all that there may be fit into a message. */
#define USAGE_MAX 8000u

static void
write_limit(struct mr_wr *wr, const char *name, uint64_t limit)
{
    mr_wr_cstr(wr, name);
    if (limit)
        mr_wr_uint(wr, limit);
    else
        mr_wr_nil(wr);
}

static void
write_over(struct mr_wr *wr, const struct mr_quota_use *use)
{
    uint64_t bytes = use->refused[MR_QUOTA_BYTES] + use->refused[MR_QUOTA_PAYLOAD];

    mr_wr_cstr(wr, "refused");
    mr_wr_map(wr, 4);
    mr_wr_cstr(wr, mr_quota_name(MR_QUOTA_RATE));
    mr_wr_uint(wr, use->refused[MR_QUOTA_RATE]);
    mr_wr_cstr(wr, mr_quota_name(MR_QUOTA_WAITING));
    mr_wr_uint(wr, use->refused[MR_QUOTA_WAITING]);
    mr_wr_cstr(wr, mr_quota_name(MR_QUOTA_BYTES));
    mr_wr_uint(wr, bytes);
    mr_wr_cstr(wr, mr_quota_name(MR_QUOTA_SESSIONS));
    mr_wr_uint(wr, use->refused[MR_QUOTA_SESSIONS]);
}

void
mr_call_lists_usage(const struct mr_broker *broker, struct mr_wr *wr)
{
    struct mr_core_owner_info info;
    uint32_t cursor = 0, count = 0;
    size_t mark = mr_wr_array_open(wr);

    for (; count < USAGE_MAX && mr_core_next_owner(broker->core, &cursor, &info);
         count++) {
        uint64_t over = 0;

        for (size_t i = 0; i < MR_QUOTA_LIMITS; i++)
            over += info.use.refused[i];
        mr_wr_map(wr, 10);
        mr_wr_cstr(wr, "principal");
        mr_wr_str(wr, info.name);
        mr_wr_cstr(wr, "connections");
        mr_wr_uint(wr, info.use.sessions);
        mr_wr_cstr(wr, "waiting");
        mr_wr_uint(wr, info.use.jobs);
        mr_wr_cstr(wr, "payload_bytes");
        mr_wr_uint(wr, info.use.payload_bytes);
        mr_wr_cstr(wr, "over_quota");
        mr_wr_uint(wr, over);
        write_over(wr, &info.use);
        write_limit(wr, "jobs_per_s", info.quota.jobs_per_s);
        write_limit(wr, "waiting_max", info.quota.waiting_max);
        write_limit(wr, "payload_bytes_max", info.quota.payload_bytes_max);
        write_limit(wr, "connections_max", info.quota.connections_max);
    }
    mr_wr_close(wr, mark, count);
}
