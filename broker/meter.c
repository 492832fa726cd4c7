#include "broker/meter.h"

#include "schemas/base/status.h"

#include <time.h>

#define NS_PER_S INT64_C(1000000000)

static const char *const names[MR_METER_PHASES] = {
    "receive", "decode", "schedule", "encode", "send", "wait"};

const char *
mr_meter_phase_name(enum mr_meter_phase phase)
{
    return names[phase];
}

static int64_t
read_ns(clockid_t clock)
{
    struct timespec t;

    MR_ASSERT(clock_gettime(clock, &t) == 0);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

int64_t
mr_meter_now_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

enum mr_meter_phase
mr_meter_to(struct mr_meter *meter, enum mr_meter_phase phase)
{
    int64_t now_ns = mr_meter_now_ns();
    uint64_t took_ns = meter->at_ns ? (uint64_t)(now_ns - meter->at_ns) : 0;
    uint64_t moved_ns = meter->moved_ns < took_ns ? meter->moved_ns : took_ns;
    enum mr_meter_phase before = meter->phase;

    meter->ns[before] += took_ns - moved_ns;
    meter->ns[MR_METER_ENCODE] += moved_ns;
    meter->moved_ns -= moved_ns;
    meter->times[phase]++;
    meter->phase = phase;
    meter->at_ns = now_ns;
    return before;
}

int64_t
mr_meter_item(struct mr_meter *meter)
{
    if (++meter->items < MR_METER_SAMPLE)
        return 0;
    meter->items = 0;
    return mr_meter_now_ns();
}

void
mr_meter_item_done(struct mr_meter *meter, int64_t began_ns)
{
    meter->times[MR_METER_ENCODE]++;
    if (began_ns)
        meter->moved_ns += (uint64_t)(mr_meter_now_ns() - began_ns) * MR_METER_SAMPLE;
}

void
mr_meter_commit(struct mr_meter *meter, uint32_t rows, int64_t took_ns)
{
    uint32_t size = rows ? (uint32_t)(31 - __builtin_clz(rows)) : 0;

    meter->commits[size < MR_METER_SIZES ? size : MR_METER_SIZES - 1]++;
    meter->commit_ns += (uint64_t)took_ns;
}

uint64_t
mr_meter_cpu_us(void)
{
    return (uint64_t)(read_ns(CLOCK_THREAD_CPUTIME_ID) / 1000);
}
