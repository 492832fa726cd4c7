#include "worker/kinds/args.h"
#include "worker/kinds/kinds.h"
#include "worker/road/fare.h"

static void
put(struct millrace_job *job, const struct mr_fare *fare, int64_t metres)
{
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {{"cents", fare->total}, {"base", fare->base},
        {"distance", fare->distance}, {"waiting", fare->waiting},
        {"extras", fare->extras}, {"metres", metres}};

    millrace_put_map(job, 8);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        millrace_put_str(job, numbers[i].name);
        millrace_put_int(job, numbers[i].value);
    }
    millrace_put_str(job, "currency");
    millrace_put_str(job, "EUR");
    millrace_put_str(job, "tariff");
    millrace_put_str(job, fare->tariff);
}

static enum millrace_answer
run(struct millrace_job *job)
{
    struct mr_fare_ask ask = {.tariff = NULL};
    struct mr_fare fare;
    const char *why;
    int64_t cm;

    if (millrace_arg_is_given(job, "cm") == millrace_arg_is_given(job, "metres"))
        return millrace_fail_for_good(job, "give either \"metres\" or \"cm\"");
    if (!mr_args_int(job, "metres", 0, INT64_MIN, INT64_MAX, &ask.metres) ||
        !mr_args_int(job, "cm", -1, 0, INT64_C(1000000000), &cm) ||
        !mr_args_int(job, "waiting_s", 0, INT64_MIN, INT64_MAX, &ask.waiting_s) ||
        !mr_args_int(job, "passengers", 1, INT64_MIN, INT64_MAX, &ask.passengers) ||
        !mr_args_int(job, "bulky", 0, INT64_MIN, INT64_MAX, &ask.bulky) ||
        !mr_args_str(job, "tariff", MR_FARE_BERLIN, 64, &ask.tariff))
        return MILLRACE_FAILED_FOR_GOOD;
    if (cm >= 0)
        ask.metres = mr_fare_metres(cm);
    if (!mr_fare_quote(&ask, &fare, &why))
        return millrace_fail_for_good(job, "%s", why);
    put(job, &fare, ask.metres);
    return MILLRACE_SUCCEEDED;
}

const struct millrace_kind mr_kind_fare_quote = {
    .name = "fare.quote",
    .help = "{\"metres\":m or "
            "\"cm\":c,\"waiting_s\",\"passengers\",\"bulky\",\"tariff\"} -> {cents,...}",
    .run = run,
};
