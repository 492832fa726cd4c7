/*
 * Any bytes as a scenario, stops before the first form feed and requests behind it: refused with
 * a reason, or requests whose stops are there.
 */
#include "tests/fuzz/fuzz.h"

#include "worker/road/rides.h"

const char *const fuzz_seeds[] = {NULL};

static void
look_at(const struct mr_rides *rides)
{
    MR_ASSERT(rides->stop_count > 0 && rides->request_count > 0);
    for (uint32_t i = 0; i < rides->stop_count; i++)
        MR_ASSERT(
            rides->stops[i].id[0] && rides->stops[i].name[0] && rides->stops[i].edge[0]);
    for (uint32_t i = 0; i < rides->request_count; i++) {
        const struct mr_rides_request *request = &rides->requests[i];

        MR_ASSERT(request->from < rides->stop_count && request->to < rides->stop_count);
        MR_ASSERT(request->depart_ms >= 0 && request->person[0]);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const uint8_t *feed = n ? memchr(bytes, '\f', n) : NULL;
    size_t stops = feed ? (size_t)(feed - bytes) : n;
    struct mr_span requests = feed ? mr_span(feed + 1, n - stops - 1) : MR_SPAN_NONE;
    const char *stops_path = fuzz_file(0, mr_span(bytes, stops));
    struct mr_err err = {.status = MR_OK};
    struct mr_rides *rides;
    enum mr_status status =
        mr_rides_load(stops_path, fuzz_file(1, requests), &rides, &err);

    if (status) {
        MR_ASSERT(!rides && (status == MR_MALFORMED || status == MR_TOO_BIG));
        MR_ASSERT(err.status == status && err.what[0] && err.why[0] && err.todo[0]);
        return 0;
    }
    look_at(rides);
    mr_rides_destroy(&rides);
    return 0;
}
