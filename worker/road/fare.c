#include "worker/road/fare.h"

#include <stddef.h>
#include <string.h>

/* 1/3000 cent: cents a kilometre are 3 of them a metre, 12 cents are 36,000, and an hour's rate
 * in cents is 5/6 of one a second, so rates that are multiples of 6 cents an hour are exact. */
#define PARTS INT64_C(3000)

struct tariff {
    const char *name;
    int64_t base_cents;
    struct {
        int64_t until_m, cents_per_km;
    } tiers[3];
    int64_t waiting_cents_per_h;
    int64_t large_group_cents, bulky_cents, extras_max_cents;
};

static const struct tariff tariffs[] = {
    {MR_FARE_BERLIN, 430, {{3000, 280}, {7000, 260}, {INT64_MAX, 210}}, 3300, 500, 100,
        700},
};

static const struct tariff *
find(const char *name)
{
    for (size_t i = 0; i < sizeof tariffs / sizeof tariffs[0]; i++) {
        if (strcmp(tariffs[i].name, name ? name : MR_FARE_BERLIN) == 0)
            return &tariffs[i];
    }
    return NULL;
}

int64_t
mr_fare_metres(int64_t cm)
{
    return (cm + 50) / 100;
}

static int64_t
distance_parts(const struct tariff *t, int64_t metres)
{
    int64_t from = 0, parts = 0;

    for (size_t i = 0; i < sizeof t->tiers / sizeof t->tiers[0] && metres > from; i++) {
        int64_t until = metres < t->tiers[i].until_m ? metres : t->tiers[i].until_m;

        parts += (until - from) * t->tiers[i].cents_per_km * PARTS / 1000;
        from = until;
    }
    return parts;
}

static int64_t
extras_cents(const struct tariff *t, const struct mr_fare_ask *ask)
{
    int64_t cents = ask->bulky * t->bulky_cents;

    if (ask->passengers > 4)
        cents += t->large_group_cents;
    return cents < t->extras_max_cents ? cents : t->extras_max_cents;
}

static const char *
objection(const struct mr_fare_ask *ask)
{
    if (!find(ask->tariff))
        return "there is no such tariff";
    if (ask->metres < 0 || ask->metres > 10000000)
        return "metres must be 0 to 10000000";
    if (ask->waiting_s < 0 || ask->waiting_s > 604800)
        return "waiting_s must be 0 to 604800";
    if (ask->passengers < 0 || ask->passengers > 8)
        return "passengers must be 0 to 8";
    if (ask->bulky < 0 || ask->bulky > 100)
        return "bulky must be 0 to 100";
    return NULL;
}

bool
mr_fare_quote(const struct mr_fare_ask *ask, struct mr_fare *out, const char **why)
{
    const struct tariff *t = find(ask->tariff);
    int64_t waiting, parts;

    *why = objection(ask);
    if (*why || !t)
        return false;
    waiting = ask->waiting_s * t->waiting_cents_per_h * PARTS / 3600;
    parts = t->base_cents * PARTS + distance_parts(t, ask->metres) + waiting;
    out->tariff = t->name;
    out->base = t->base_cents;
    out->waiting = (waiting + PARTS / 2) / PARTS;
    out->extras = extras_cents(t, ask);
    out->total = (parts + PARTS / 2) / PARTS + out->extras;
    out->distance = out->total - out->base - out->waiting - out->extras;
    return true;
}
