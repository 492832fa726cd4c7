#include "tests/flagship/demo_plan.h"

#include "tests/flagship/part.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEP_MS = 200000, SEED = 20221220 };

/* splitmix64: the same requests on every machine. */
static uint64_t
draw(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static enum mr_status
load_road(struct mr_demo_plan *plan, struct mr_err *err)
{
    enum mr_status status = mr_road_load(plan->map_path, &plan->road, err);

    if (status)
        return status;
    plan->vehicle_class = "bus";
    status = mr_graph_new(plan->road, plan->vehicle_class, &plan->graph, err);
    if (status || mr_graph_usable_edges(plan->graph) > 1)
        return status;
    /* A map without roads for buses may have some for cars. */
    mr_graph_destroy(&plan->graph);
    plan->vehicle_class = "passenger";
    return mr_graph_new(plan->road, plan->vehicle_class, &plan->graph, err);
}

static enum mr_status
stop_edge(const struct mr_demo_plan *plan, const struct mr_rides *rides, uint32_t stop,
    uint32_t *edge, struct mr_err *err)
{
    const struct mr_rides_stop *s = &rides->stops[stop];

    *edge = mr_road_find(plan->road, s->edge);
    if (*edge != MR_ROAD_NONE)
        return MR_OK;
    return mr_err_setf(err, MR_MALFORMED, "The scenario does not fit its map",
        "Remove the folder .millrace/map and start again.",
        "stop %s is on edge %s, which "
        "the map does not have",
        s->id, s->edge);
}

static enum mr_status
take_requests(struct mr_demo_plan *plan, const struct mr_rides *rides, struct mr_err *err)
{
    enum mr_status status = MR_OK;

    plan->requests = calloc(rides->request_count, sizeof *plan->requests);
    if (!plan->requests)
        return mr_err_set(err, MR_NO_MEMORY, "The requests cannot be read", NULL, NULL);
    plan->count = rides->request_count;
    for (uint32_t i = 0; i < plan->count && !status; i++) {
        struct mr_demo_request *r = &plan->requests[i];

        r->depart_ms = rides->requests[i].depart_ms;
        snprintf(r->rider, sizeof r->rider, "%s", rides->requests[i].person);
        status = stop_edge(plan, rides, rides->requests[i].from, &r->from, err);
        if (!status)
            status = stop_edge(plan, rides, rides->requests[i].to, &r->to, err);
    }
    for (uint32_t i = 0; i < MR_DEMO_VEHICLES && !status; i++)
        status =
            stop_edge(plan, rides, i % rides->stop_count, &plan->vehicle_edges[i], err);
    return status;
}

static bool
is_real(const char *folder)
{
    char path[4200], word[16] = "";
    FILE *file;

    snprintf(path, sizeof path, "%s/source", folder);
    file = fopen(path, "re");
    if (!file)
        return false;
    if (!fgets(word, sizeof word, file))
        word[0] = '\0';
    fclose(file);
    return strcmp(word, "real\n") == 0;
}

enum mr_status
mr_demo_plan_load_scenario(
    struct mr_demo_plan *plan, const char *folder, struct mr_err *err)
{
    char stops[4200], requests[4200];
    enum mr_status status;

    *plan = (struct mr_demo_plan){.is_published = is_real(folder)};
    snprintf(plan->map_path, sizeof plan->map_path, "%.4000s/osm.net.xml", folder);
    snprintf(stops, sizeof stops, "%.4000s/drtstops.xml", folder);
    snprintf(requests, sizeof requests, "%.4000s/rides_demo.xml", folder);
    status = load_road(plan, err);
    if (!status)
        status = mr_rides_load(stops, requests, &plan->rides, err);
    if (!status)
        status = take_requests(plan, plan->rides, err);
    return status;
}

static enum mr_status
draw_requests(struct mr_demo_plan *plan, uint32_t count, const uint32_t *part, uint32_t n)
{
    uint64_t state = SEED;

    plan->requests = calloc(count, sizeof *plan->requests);
    if (!plan->requests)
        return MR_NO_MEMORY;
    plan->count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct mr_demo_request *r = &plan->requests[i];

        r->from = part[draw(&state) % n];
        r->to = part[draw(&state) % n];
        r->depart_ms = (int64_t)i * STEP_MS;
        snprintf(r->rider, sizeof r->rider, "d%u", i);
    }
    for (uint32_t i = 0; i < MR_DEMO_VEHICLES; i++)
        plan->vehicle_edges[i] = part[draw(&state) % n];
    return MR_OK;
}

enum mr_status
mr_demo_plan_load_map(
    struct mr_demo_plan *plan, const char *path, uint32_t count, struct mr_err *err)
{
    uint32_t *part = NULL, n = 0;
    enum mr_status status;

    *plan = (struct mr_demo_plan){.is_generated = true};
    if ((size_t)snprintf(plan->map_path, sizeof plan->map_path, "%s", path) >=
        sizeof plan->map_path)
        return mr_err_set(err, MR_BAD_ARGUMENT, "The map cannot be read",
            "its name is too long", "Give a shorter one.");
    status = load_road(plan, err);
    if (status)
        return status;
    status = mr_part_largest(plan->graph, &part, &n);
    if (!status)
        status = draw_requests(plan, count, part, n);
    free(part);
    if (status)
        return mr_err_setf(err, status, "There is nothing to drive on",
            "Give a map with streets for buses or cars.", "%s: %s", path,
            status == MR_NO_MEMORY ? "out of memory"
                                   : "no street is open to any of them");
    return MR_OK;
}

void
mr_demo_plan_fini(struct mr_demo_plan *plan)
{
    free(plan->requests);
    plan->requests = NULL;
    mr_rides_destroy(&plan->rides);
    mr_graph_destroy(&plan->graph);
    mr_road_destroy(&plan->road);
}
