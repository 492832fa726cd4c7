#include "tests/flagship/demo_verdict.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/flagship/check.h"
#include "tests/flagship/map_svg.h"

enum { PHASES_MAX = 4, NAME_BYTES = 32 };

/* The 100 requests of the scenario, as two programs that are not ours have computed them. */
#define PUBLISHED_MS INT64_C(6574821)
#define PUBLISHED_CM INT64_C(8334040)
#define PUBLISHED_CENTS INT64_C(66334)

static enum mr_status
show_totals(const struct mr_demo_verdict *v, const char *prefix, struct mr_err *err)
{
    static const char sql[] =
        "select count(*) filter (where state = 'done'), count(*), sum(route_ms),"
        " sum(route_cm), sum(fare_cents) from ride.ride"
        " where starts_with(request_key, $1)";
    struct pg_result *sums = NULL;
    enum mr_status status = mr_pg_run(v->pg, sql, 1, &prefix, &sums, err);
    char ms[32], cm[32];
    int64_t cents;
    bool is_same;

    if (status)
        return status;
    cents = mr_pg_int(sums, 0, 4);
    is_same = mr_pg_int(sums, 0, 2) == PUBLISHED_MS &&
              mr_pg_int(sums, 0, 3) == PUBLISHED_CM && cents == PUBLISHED_CENTS;
    printf("  %.*s: rides %" PRId64 "/%" PRIu32 " · routes %s ms, %s cm · fares %" PRId64
           ".%02" PRId64 " EUR%s\n",
        (int)strcspn(prefix, "-"), prefix, mr_pg_int(sums, 0, 0), v->plan->count,
        mr_demo_show_grouped(mr_pg_int(sums, 0, 2), ms),
        mr_demo_show_grouped(mr_pg_int(sums, 0, 3), cm), cents / 100, cents % 100,
        !v->plan->is_published ? ""
        : is_same              ? " = the expected"
                               : " NOT 6,574,821 ms, 8,334,040 cm, 663.34 EUR");
    mr_pg_free_result(&sums);
    return MR_OK;
}

enum mr_status
mr_demo_verdict_check(const struct mr_demo_verdict *v, bool *held, struct mr_err *err)
{
    struct mr_check_phase phases[PHASES_MAX];
    char names[PHASES_MAX][NAME_BYTES];
    struct mr_check_report report;
    bool knows = v->plan->is_published;
    enum mr_status status;

    *held = false;
    MR_ASSERT(v->phases <= PHASES_MAX);
    for (uint32_t i = 0; i < v->phases; i++) {
        snprintf(names[i], sizeof names[i], "%.*s", (int)strcspn(v->prefixes[i], "-"),
            v->prefixes[i]);
        phases[i] = (struct mr_check_phase){.name = names[i],
            .key_prefix = v->prefixes[i],
            .rides = v->plan->count,
            .route_ms = knows ? PUBLISHED_MS : MR_CHECK_UNKNOWN,
            .route_cm = knows ? PUBLISHED_CM : MR_CHECK_UNKNOWN,
            .fare_cents = knows ? PUBLISHED_CENTS : MR_CHECK_UNKNOWN};
    }
    status = mr_check_run(&(struct mr_check_input){.pg = v->pg,
                              .road = v->plan->road,
                              .provider_log = v->provider_log,
                              .phases = phases,
                              .phase_count = v->phases},
        &report, err);
    if (status)
        return status;
    mr_check_print(&report, stdout);
    printf("\n");
    for (uint32_t i = 0; i < v->phases && !status; i++)
        status = show_totals(v, v->prefixes[i], err);
    if (!knows)
        printf("  No totals are published for this map: routes and fares were worked out"
               " again\n  by the checker and compared ride by ride.\n");
    *held = report.held;
    return status;
}

static const char *
attribution(const struct mr_demo_plan *plan)
{
    if (plan->is_published)
        return "© OpenStreetMap contributors";
    return plan->is_generated ? plan->map_path : "a grid of our own, not real input";
}

enum mr_status
mr_demo_verdict_draw(
    const struct mr_demo_verdict *v, const char *path, struct mr_err *err)
{
    const struct mr_demo_plan *plan = v->plan;
    struct mr_map_svg map = {.graph = plan->graph,
        .title = plan->is_published ? "Rides in Berlin-Adlershof" : "Rides",
        .attribution = attribution(plan)};
    enum mr_status status = mr_map_svg_uses_read(v->pg, plan->graph, &map.uses, err);

    if (status)
        return status;
    if (plan->rides) {
        map.stops = plan->rides->stops;
        map.stop_count = plan->rides->stop_count;
    }
    status = mr_map_svg_write(path, &map, err);
    mr_map_svg_uses_free(&map.uses);
    return status;
}
