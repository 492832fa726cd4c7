/*
 * The requests of a SUMO demand-responsive scenario: bus stops (where they are) and persons who
 * want to ride from one to another. Stops are named by lanes ("52036180#4_1"); the edge is the
 * lane's id without the number at its end. One thread.
 */
#ifndef MR_ROAD_RIDES_H
#define MR_ROAD_RIDES_H

#include <stdint.h>

#include "schemas/base/status.h"

struct mr_rides_stop {
    char id[32], name[64], edge[128];
};

struct mr_rides_request {
    int64_t depart_ms; /* since the scenario's start */
    uint32_t from, to; /* stops */
    char person[32];
};

struct mr_rides {
    struct mr_rides_stop *stops;
    struct mr_rides_request *requests;
    uint32_t stop_count, request_count;
};

/* Both files; `err` names file, line and cause (MR_NOT_FOUND, MR_MALFORMED, MR_TOO_BIG above
 * 10,000 stops or a million requests). At least one of each. Requests stay in the order of
 * their file. */
enum mr_status mr_rides_load(const char *stops_path, const char *requests_path,
    struct mr_rides **out, struct mr_err *err) MR_MUST_CHECK;
void mr_rides_destroy(struct mr_rides **rides);

#endif
